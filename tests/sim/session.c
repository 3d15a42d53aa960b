/*
 * A connection of the simulator: events of the engine to answers, with the delays in between.
 *
 * `answer` is decided when the event comes and given when `delay` fires; the engine owes a reply
 * until then and takes nothing further. A message is recorded when its answer is given; one whose
 * link is lost during the delay is accepted or not as `accept-when-cut` says, as real providers do
 * either.
 */
#include "sim/session.h"

#include "base/mem.h"
#include "base/strbuf.h"
#include "sim/answer.h"
#include "sim/scan.h"
#include "smtp/server.h"

#define SESSION_MAGIC 0x53494d53U
#define RECIPIENTS_MAX 1000
#define RECIPIENTS_BYTES (RECIPIENTS_MAX * 1024U)
#define MAIL_FROM_MAX 1024
#define ERRORS_MAX 20
#define MESSAGE_BYTES_MAX 50000000U
#define COMMAND_TIMEOUT_MS 300000
#define DATA_TIMEOUT_MS 180000
#define HANDSHAKE_TIMEOUT_MS 60000
#define IDLE_LOOK_MS 60000

struct session {
    uint32_t magic;
    struct list node; /* in sim->sessions or sim->entering */
    struct sim *sim;
    struct sim_provider *provider;
    struct sim_source *source;
    struct tls_context *tls;
    struct io_conn *conn;
    struct smtp_server *engine;
    uint64_t number;
    char local[IO_ADDRESS_TEXT_MAX];
    char tls_version[16];
    bool admitted;
    bool started;  /* the greeting is out; before, no input is taken */
    bool paused;   /* input was not taken as a whole */
    bool busy;     /* inside the engine */
    bool silent;   /* dropped: input is ignored until the connection has ended */
    bool ended;    /* the engine said CLOSED */
    bool finished; /* io_conn_finish() was called */
    bool released; /* the tarpit lets the output go */
    bool breaking; /* STARTTLS was answered, the handshake will fail */
    bool garbage_due;
    struct timer delay; /* greeting or answer */
    struct timer tarpit;
    struct timer idle;
    struct sim_answer answer; /* given when `delay` fires */

    /* Transaction */
    bool drop_content;
    bool message_due; /* the answer to the content waits for `delay` */
    uint32_t transactions;
    uint32_t rcpt_count;
    uint64_t bytes;
    struct wall_time dot_time;
    size_t mail_from_len;
    size_t rcpt_len;
    struct strbuf rcpts; /* accepted ones, each with a LF */
    struct sim_scan scan;
    char mail_from[MAIL_FROM_MAX];
    char rcpt[MAIL_FROM_MAX]; /* being answered */
};

static const struct io_conn_ops conn_ops;

static void take_events(struct session *session);

static void session_free(struct session *session)
{
    struct wheel *wheel = io_loop_wheel(session->sim->loop);
    CHECK_MAGIC(session, SESSION_MAGIC);
    if (session->admitted) {
        sim_provider_leave(session->provider, session->source);
    }
    wheel_cancel(wheel, &session->delay);
    wheel_cancel(wheel, &session->tarpit);
    wheel_cancel(wheel, &session->idle);
    io_conn_free(&session->conn);
    smtp_server_free(&session->engine);
    strbuf_free(&session->rcpts);
    list_remove(&session->node);
    session->magic = 0;
    mem_free(session);
}

static struct mono_time now_of(const struct session *session)
{
    return io_loop_now(session->sim->loop);
}

static bool tarpitted(struct session *session)
{
    struct iovec piece;
    return session->provider->config->tarpit_ms > 0 && !session->released &&
           smtp_server_output(session->engine, &piece, 1) > 0;
}

/* Closes when all is written; what the tarpit holds comes first. */
static void finish(struct session *session)
{
    if (!session->finished && !tarpitted(session)) {
        session->finished = true;
        io_conn_finish(session->conn);
    }
}

static void drop(struct session *session)
{
    session->silent = true;
    session->released = true;
    finish(session);
}

static struct sim_request request_of(struct session *session)
{
    return (struct sim_request){
        .source = session->source,
        .mail_from = slice_of(session->mail_from, session->mail_from_len),
        .rcpt = slice_of(session->rcpt, session->rcpt_len),
        .rcpts = strbuf_slice(&session->rcpts),
        .rcpt_count = session->rcpt_count,
        .transactions = session->transactions,
        .now = now_of(session),
    };
}

/* In the record before any reply says so. */
static void accept_message(struct session *session, enum sim_acceptance how)
{
    struct sim_record *record = session->sim->record;
    struct sim_record_entry entry = {
        .time = wall_now(),
        .provider = session->provider->name,
        .message_id = sim_scan_id(&session->scan),
        .mail_from = slice_of(session->mail_from, session->mail_from_len),
        .source = session->source->text,
        .local = slice_cstr(session->local),
        .tls_version = slice_cstr(session->tls_version),
        .connection = session->number,
        .bytes = session->bytes,
        .dot_time = session->dot_time,
        .flag = sim_acceptance_flag(how),
    };
    struct slice rest = strbuf_slice(&session->rcpts);
    while (record != NULL && rest.len > 0) {
        sim_record_add(record, &entry, slice_cut(&rest, '\n'));
    }
    sim_provider_accepted(session->provider, session->source, session->rcpt_count, session->bytes,
                          how, now_of(session));
}

static void give_answer(struct session *session)
{
    const struct sim_answer *answer = &session->answer;
    session->message_due = false;
    switch (answer->action) {
    case SIM_ACTION_REPLY: break;
    case SIM_ACTION_ACCEPT: accept_message(session, SIM_ACCEPTED); break;
    case SIM_ACTION_ACCEPT_SILENT:
        accept_message(session, SIM_ACCEPTED_SILENT);
        drop(session);
        return;
    }
    if (session->rcpt_len > 0 && answer->code < 300 &&
        strbuf_add(&session->rcpts, session->rcpt, session->rcpt_len)) {
        strbuf_add_byte(&session->rcpts, '\n');
        session->rcpt_count++;
    }
    session->rcpt_len = 0;
    smtp_server_reply(session->engine, answer->code, answer->enhanced, answer->text);
}

/* Goes on after something was done outside input(). */
static void go_on(struct session *session)
{
    take_events(session);
    if (session->paused) {
        session->paused = false;
        io_conn_resume(session->conn);
    }
    io_conn_flush(session->conn);
}

static void on_answer_due(struct timer *timer, struct mono_time now)
{
    (void)now;
    struct session *session = CONTAINER_OF(timer, struct session, delay);
    CHECK_MAGIC(session, SESSION_MAGIC);
    give_answer(session);
    go_on(session);
}

static void answer_in_phase(struct session *session, enum sim_phase phase)
{
    int64_t latency_ms = session->provider->config->latency_ms[phase];
    if (latency_ms > 0) {
        wheel_set(io_loop_wheel(session->sim->loop), &session->delay,
                  mono_add_ms(now_of(session), latency_ms), on_answer_due);
    } else {
        give_answer(session);
    }
}

static size_t keep_address(char *to, struct slice address)
{
    CHECK(address.len <= MAIL_FROM_MAX); /* the engine takes Mailboxes only */
    if (address.len > 0) {
        memcpy(to, address.ptr, address.len);
    }
    return address.len;
}

static void on_mail(struct session *session, const struct smtp_server_event *event)
{
    session->rcpt_len = 0;
    session->rcpt_count = 0;
    session->bytes = 0;
    session->drop_content = false;
    session->mail_from_len = keep_address(session->mail_from, event->address);
    strbuf_reset(&session->rcpts);
    sim_scan_start(&session->scan);
    struct sim_request request = request_of(session);
    sim_answer_mail(session->provider, &request, &session->answer);
    session->transactions += session->answer.code < 300;
    answer_in_phase(session, SIM_PHASE_MAIL);
}

static void on_rcpt(struct session *session, const struct smtp_server_event *event)
{
    session->rcpt_len = keep_address(session->rcpt, event->address);
    struct sim_request request = request_of(session);
    sim_answer_rcpt(session->provider, &request, &session->answer);
    answer_in_phase(session, SIM_PHASE_RCPT);
}

static void on_data(struct session *session)
{
    struct sim_request request = request_of(session);
    sim_answer_data(session->provider, &request, &session->answer);
    session->drop_content =
        session->answer.code < 400 && sim_answer_drops_content(session->provider);
    answer_in_phase(session, SIM_PHASE_DATA);
}

static void on_content(struct session *session, struct slice piece)
{
    if (session->drop_content) {
        session->provider->counters.dropped_before_dot++;
        drop(session);
        return;
    }
    session->bytes += piece.len;
    if (!session->scan.done) {
        sim_scan_piece(&session->scan, piece);
    }
}

static void on_message(struct session *session)
{
    struct sim_request request = request_of(session);
    sim_answer_message(session->provider, &request, &session->answer);
    session->dot_time = wall_now();
    session->message_due = true;
    answer_in_phase(session, SIM_PHASE_MESSAGE);
}

static void on_starttls(struct session *session)
{
    if (session->provider->config->starttls == SIM_STARTTLS_BREAK) {
        session->provider->counters.starttls_broken++;
        session->breaking = true;
        return;
    }
    io_conn_start_tls(session->conn, session->tls, NULL, HANDSHAKE_TIMEOUT_MS);
}

static void take_event(struct session *session, const struct smtp_server_event *event)
{
    switch (event->type) {
    case SMTP_SERVER_EVENT_MAIL: on_mail(session, event); break;
    case SMTP_SERVER_EVENT_RCPT: on_rcpt(session, event); break;
    case SMTP_SERVER_EVENT_DATA: on_data(session); break;
    case SMTP_SERVER_EVENT_CONTENT: on_content(session, event->content); break;
    case SMTP_SERVER_EVENT_MESSAGE: on_message(session); break;
    case SMTP_SERVER_EVENT_STARTTLS: on_starttls(session); break;
    case SMTP_SERVER_EVENT_CLOSED:
        session->ended = true;
        finish(session);
        break;
    case SMTP_SERVER_EVENT_RESET:
        session->message_due = false;
        wheel_cancel(io_loop_wheel(session->sim->loop), &session->delay);
        break;
    case SMTP_SERVER_EVENT_NONE:
    case SMTP_SERVER_EVENT_EHLO:
    case SMTP_SERVER_EVENT_AUTH: break; /* AUTH is not offered */
    }
}

static void take_events(struct session *session)
{
    struct smtp_server_event event;
    session->busy = true;
    do {
        smtp_server_next_event(session->engine, &event);
        take_event(session, &event);
    } while (event.type != SMTP_SERVER_EVENT_NONE && !session->silent);
    session->busy = false;
}

/* The answer to a ClientHello: half of these connections end at once, the others say what is not
 * TLS. */
static void break_handshake(struct session *session)
{
    session->garbage_due = session->number % 2 == 0;
    drop(session);
}

static size_t on_input(struct io_conn *conn, void *owner, struct slice bytes)
{
    (void)conn;
    struct session *session = owner;
    size_t taken = 0;
    CHECK_MAGIC(session, SESSION_MAGIC);
    if (session->breaking && !session->silent) {
        break_handshake(session);
    }
    while (session->started && !session->silent && taken < bytes.len) {
        size_t len = smtp_server_input(session->engine, slice_skip(bytes, taken), now_of(session));
        take_events(session);
        taken += len;
        if (len == 0) {
            break;
        }
    }
    if (session->silent) {
        return bytes.len;
    }
    session->paused = taken < bytes.len;
    return taken;
}

static void on_tarpit_over(struct timer *timer, struct mono_time now)
{
    (void)now;
    struct session *session = CONTAINER_OF(timer, struct session, tarpit);
    CHECK_MAGIC(session, SESSION_MAGIC);
    session->released = true;
    if (session->ended) {
        finish(session);
    }
    io_conn_flush(session->conn);
}

static size_t on_output(struct io_conn *conn, void *owner, struct iovec *pieces, size_t max)
{
    static char garbage[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    (void)conn;
    struct session *session = owner;
    CHECK_MAGIC(session, SESSION_MAGIC);
    if (session->garbage_due) {
        pieces[0] = (struct iovec){.iov_base = garbage, .iov_len = sizeof(garbage) - 1};
        return 1;
    }
    if (tarpitted(session)) {
        if (!timer_is_set(&session->tarpit)) {
            wheel_set(io_loop_wheel(session->sim->loop), &session->tarpit,
                      mono_add_ms(now_of(session), session->provider->config->tarpit_ms),
                      on_tarpit_over);
        }
        return 0;
    }
    return session->breaking ? 0 : smtp_server_output(session->engine, pieces, max);
}

static void on_sent(struct io_conn *conn, void *owner, size_t len)
{
    (void)conn;
    struct session *session = owner;
    struct iovec piece;
    CHECK_MAGIC(session, SESSION_MAGIC);
    if (session->garbage_due) {
        session->garbage_due = false;
        return;
    }
    smtp_server_sent(session->engine, len, now_of(session));
    session->released = session->silent || smtp_server_output(session->engine, &piece, 1) > 0;
    if (session->busy || session->silent) {
        return;
    }
    take_events(session);
    if (session->paused && !smtp_server_waiting(session->engine)) {
        session->paused = false;
        io_conn_resume(session->conn);
    }
}

static void on_secured(struct io_conn *conn, void *owner, bool ok, const struct fault *fault)
{
    (void)fault;
    struct session *session = owner;
    struct tls_facts facts;
    CHECK_MAGIC(session, SESSION_MAGIC);
    if (!ok) {
        return; /* closed() follows */
    }
    if (io_conn_facts(conn, &facts)) {
        memcpy(session->tls_version, facts.version, sizeof(session->tls_version));
    }
    session->provider->counters.secured++;
    smtp_server_tls_done(session->engine, true, now_of(session));
    take_events(session);
}

static void on_closed(struct io_conn *conn, void *owner, const struct fault *fault)
{
    (void)conn;
    (void)fault;
    struct session *session = owner;
    CHECK_MAGIC(session, SESSION_MAGIC);
    session->conn = NULL; /* frees itself */
    if (session->message_due && session->answer.action != SIM_ACTION_REPLY &&
        sim_answer_accepts_cut(session->provider)) {
        accept_message(session, SIM_ACCEPTED_CUT);
    }
    session_free(session);
}

static const struct io_conn_ops conn_ops = {
    .input = on_input,
    .output = on_output,
    .sent = on_sent,
    .secured = on_secured,
    .closed = on_closed,
};

static void on_idle(struct timer *timer, struct mono_time now)
{
    struct session *session = CONTAINER_OF(timer, struct session, idle);
    CHECK_MAGIC(session, SESSION_MAGIC);
    smtp_server_timeout(session->engine, now);
    struct mono_time due =
        mono_min(smtp_server_deadline(session->engine), mono_add_ms(now, IDLE_LOOK_MS));
    if (mono_before(due, mono_add_ms(now, 1000))) {
        due = mono_add_ms(now, 1000);
    }
    wheel_set(io_loop_wheel(session->sim->loop), timer, due, on_idle);
    go_on(session);
}

/* `refuse`: a whole reply line; absent: the greeting. */
static void start(struct session *session, struct slice refuse)
{
    session->started = true;
    smtp_server_start(session->engine, false, refuse, now_of(session));
    wheel_set(io_loop_wheel(session->sim->loop), &session->idle,
              mono_add_ms(now_of(session), IDLE_LOOK_MS), on_idle);
    go_on(session);
}

static void on_greeting_due(struct timer *timer, struct mono_time now)
{
    (void)now;
    struct session *session = CONTAINER_OF(timer, struct session, delay);
    CHECK_MAGIC(session, SESSION_MAGIC);
    start(session, SLICE_NULL);
}

static void admit(struct session *session)
{
    const struct sim_provider_config *config = session->provider->config;
    char refuse[SIM_REPLY_TEXT_MAX + 32];
    struct sim_request request = request_of(session);
    struct sim_answer *answer = &session->answer;
    session->admitted = sim_answer_connect(session->provider, &request, answer);
    if (!session->admitted) {
        snprintf(refuse, sizeof(refuse), "%u %s%s%s", answer->code,
                 answer->enhanced == NULL ? "" : answer->enhanced,
                 answer->enhanced == NULL ? "" : " ", answer->text);
        start(session, slice_cstr(refuse));
    } else if (config->greeting_delay_ms > 0) {
        wheel_set(io_loop_wheel(session->sim->loop), &session->delay,
                  mono_add_ms(now_of(session), config->greeting_delay_ms), on_greeting_due);
    } else {
        start(session, SLICE_NULL);
    }
}

static void admit_all(struct io_task *task)
{
    struct sim *sim = CONTAINER_OF(task, struct sim, admit);
    struct list *node;
    while ((node = list_pop_front(&sim->entering)) != NULL) {
        list_push_back(&sim->sessions, node);
        admit(CONTAINER_OF(node, struct session, node));
    }
}

static struct smtp_server *make_engine(const struct sim_provider_config *config)
{
    const struct sim_profile_texts *texts = sim_profile_texts((enum sim_profile)config->profile);
    struct smtp_server_config server = {
        .host_name = slice_cstr(config->host_name),
        .greeting = slice_cstr(texts->greeting),
        .capabilities = config->capabilities,
        .max_message_bytes =
            config->max_message_bytes == 0 ? MESSAGE_BYTES_MAX : config->max_message_bytes,
        .max_recipients = RECIPIENTS_MAX,
        .max_errors = ERRORS_MAX,
        .command_timeout_ms = COMMAND_TIMEOUT_MS,
        .data_timeout_ms = DATA_TIMEOUT_MS,
    };
    if (config->starttls == SIM_STARTTLS_REFUSE) {
        server.starttls_refusal = slice_cstr(texts->starttls_refused);
    }
    return smtp_server_create(&server);
}

void sim_accept(struct io_listener *io_listener, void *owner, struct io_conn *conn)
{
    (void)io_listener;
    struct sim_listener *listener = owner;
    struct sim *sim = listener->sim;
    struct sockaddr_storage address;
    char remote[IO_ADDRESS_TEXT_MAX];
    if (!io_conn_remote(conn, &address)) {
        return;
    }
    struct sim_source *source = sim_provider_source(
        listener->provider, io_address_format((const struct sockaddr *)&address, remote));
    if (source == NULL || !io_conn_local(conn, &address)) {
        return; /* closed by the listener */
    }
    struct session *session = mem_zalloc(sizeof(*session));
    session->magic = SESSION_MAGIC;
    session->sim = sim;
    session->provider = listener->provider;
    session->source = source;
    session->tls = listener->tls;
    session->conn = conn;
    session->number = ++sim->connections;
    session->engine = make_engine(listener->provider->config);
    io_address_format((const struct sockaddr *)&address, session->local);
    strbuf_init(&session->rcpts, RECIPIENTS_BYTES);
    list_push_back(&sim->entering, &session->node);
    io_conn_set_owner(conn, &conn_ops, session);
    io_loop_defer(sim->loop, &sim->admit);
}

void sim_init(struct sim *sim, struct io_loop *loop, struct sim_record *record)
{
    *sim = (struct sim){.loop = loop, .record = record, .admit = {.run = admit_all}};
    list_init(&sim->sessions);
    list_init(&sim->entering);
}

void sim_end(struct sim *sim)
{
    io_task_cancel(&sim->admit);
    list_append_all(&sim->sessions, &sim->entering);
    list_foreach_safe (node, after, &sim->sessions) {
        session_free(CONTAINER_OF(node, struct session, node));
    }
}

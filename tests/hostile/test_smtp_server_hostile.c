/*
 * The SMTP server engine against every script of hostile/server/, in all variations: input and
 * output whole and byte by byte, and at every point where the peer speaks a lost link, silence, a
 * NUL, a bare LF, a bare CR and an endless line in its place.
 *
 * Statements of this driver:
 *   config WORD…      lmtp, tls-required, auth-required, auth-in-clear, max-size=N, max-errors=N,
 * max-rcpts=N, max-transactions=N, without=N (a bit of enum smtp_capability) start [secure], refuse
 * TEXT   the link is up answer WHAT CODE  what the owner says from now on to mail, rcpt, data,
 * message, auth (of auth: 235, 535, 454); 0: nothing yet give CODE         the owner gives the
 * answer that he owes tls ok, tls fail, shutdown TEXT expect EVENT…     the next event, as
 * describe() writes it; expect content "…": that much content came; expect nothing; expect closed
 */
#include "hostile/script.h"

#include "base/mem.h"
#include "base/strbuf.h"
#include "smtp/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define CAP_ALL 0x7ffU

enum answer_kind {
    ANSWER_MAIL,
    ANSWER_RCPT,
    ANSWER_DATA,
    ANSWER_MESSAGE,
    ANSWER_AUTH,
    ANSWER_KINDS
};

struct driver {
    struct script_engine engine;
    struct smtp_server_config config;
    struct smtp_server *server;
    struct mono_time now;
    struct strbuf events;  /* a line each */
    struct strbuf content; /* not expected yet */
    struct strbuf held;    /* input that the engine did not take */
    uint16_t answers[ANSWER_KINDS];
    enum smtp_server_event_type owed;
    bool open; /* a transaction */
    bool closed;
    bool unsound; /* events out of order */
};

static struct driver *driver_of(struct script_engine *engine)
{
    return CONTAINER_OF(engine, struct driver, engine);
}

static struct mono_time tick(struct driver *driver)
{
    driver->now = mono_add_us(driver->now, 1000);
    return driver->now;
}

static void give(struct driver *driver, uint16_t code)
{
    enum smtp_server_event_type owed = driver->owed;
    char enhanced[8];
    driver->owed = SMTP_SERVER_EVENT_NONE;
    if (owed == SMTP_SERVER_EVENT_AUTH) {
        smtp_server_auth_result(driver->server, code == 235, code == 454);
        return;
    }
    driver->open = driver->open || (owed == SMTP_SERVER_EVENT_MAIL && code < 300);
    snprintf(enhanced, sizeof(enhanced), "%d.0.0", code / 100);
    smtp_server_reply(driver->server, code, enhanced, "said");
    if (owed == SMTP_SERVER_EVENT_MESSAGE) {
        bool more = smtp_server_waiting(driver->server); /* LMTP */
        driver->owed = more ? owed : SMTP_SERVER_EVENT_NONE;
        driver->open = more;
    }
}

/* Notes the event and says which answer it asks for. */
static enum answer_kind describe(struct driver *driver, const struct smtp_server_event *event)
{
    struct strbuf *to = &driver->events;
    switch (event->type) {
    case SMTP_SERVER_EVENT_EHLO: strbuf_addf(to, "ehlo %.*s\n", SLICE_FMT(event->name)); break;
    case SMTP_SERVER_EVENT_STARTTLS: strbuf_add_cstr(to, "starttls\n"); break;
    case SMTP_SERVER_EVENT_AUTH:
        strbuf_addf(to, "auth %.*s %.*s\n", SLICE_FMT(event->user), SLICE_FMT(event->password));
        return ANSWER_AUTH;
    case SMTP_SERVER_EVENT_MAIL:
        driver->unsound = driver->unsound || driver->open;
        strbuf_addf(to, "mail <%.*s>\n", SLICE_FMT(event->address));
        return ANSWER_MAIL;
    case SMTP_SERVER_EVENT_RCPT:
        driver->unsound = driver->unsound || !driver->open;
        strbuf_addf(to, "rcpt <%.*s>\n", SLICE_FMT(event->address));
        return ANSWER_RCPT;
    case SMTP_SERVER_EVENT_DATA:
        driver->unsound = driver->unsound || !driver->open;
        strbuf_addf(to, "%s\n", event->chunked ? "bdat" : "data");
        return ANSWER_DATA;
    case SMTP_SERVER_EVENT_CONTENT:
        driver->unsound = driver->unsound || !driver->open;
        strbuf_add_slice(&driver->content, event->content);
        break;
    case SMTP_SERVER_EVENT_MESSAGE:
        driver->unsound = driver->unsound || !driver->open;
        strbuf_add_cstr(to, "message\n");
        return ANSWER_MESSAGE;
    case SMTP_SERVER_EVENT_RESET:
        driver->unsound = driver->unsound || !driver->open;
        driver->open = false;
        strbuf_add_cstr(to, "reset\n");
        break;
    case SMTP_SERVER_EVENT_CLOSED:
        driver->closed = true;
        driver->owed = SMTP_SERVER_EVENT_NONE;
        strbuf_add_cstr(to, "closed\n");
        break;
    case SMTP_SERVER_EVENT_NONE: break;
    }
    return ANSWER_KINDS;
}

static void drain(struct driver *driver)
{
    struct smtp_server_event event;
    for (smtp_server_next_event(driver->server, &event); event.type != SMTP_SERVER_EVENT_NONE;
         smtp_server_next_event(driver->server, &event)) {
        driver->unsound = driver->unsound || driver->closed;
        enum answer_kind kind = describe(driver, &event);
        if (kind != ANSWER_KINDS) {
            driver->owed = event.type;
        }
        while (kind != ANSWER_KINDS && driver->owed != SMTP_SERVER_EVENT_NONE &&
               driver->answers[kind] != 0) {
            give(driver, driver->answers[kind]);
        }
    }
}

/* Offers what was held back as long as something is taken. */
static void offer(struct driver *driver)
{
    size_t taken = 1;
    while (driver->held.len > 0 && taken > 0) {
        taken = smtp_server_input(driver->server, strbuf_slice(&driver->held), tick(driver));
        drain(driver);
        strbuf_consume(&driver->held, taken);
    }
    drain(driver);
}

static void driver_input(struct script_engine *engine, struct slice bytes)
{
    struct driver *driver = driver_of(engine);
    strbuf_add_slice(&driver->held, bytes);
    offer(driver);
}

static size_t driver_take(struct script_engine *engine, char *out, size_t max)
{
    struct driver *driver = driver_of(engine);
    struct iovec piece;
    if (driver->server == NULL || smtp_server_output(driver->server, &piece, 1) == 0) {
        return 0;
    }
    size_t len = piece.iov_len < max ? piece.iov_len : max;
    memcpy(out, piece.iov_base, len);
    smtp_server_sent(driver->server, len, tick(driver));
    offer(driver);
    return len;
}

static bool driver_closed(struct script_engine *engine)
{
    return driver_of(engine)->closed;
}

static void driver_lost(struct script_engine *engine)
{
    struct driver *driver = driver_of(engine);
    smtp_server_lost(driver->server, tick(driver));
    drain(driver);
}

static void pass_to(struct driver *driver, struct mono_time when)
{
    driver->now = when;
    smtp_server_timeout(driver->server, when);
    drain(driver);
}

static bool driver_pass_deadline(struct script_engine *engine)
{
    struct driver *driver = driver_of(engine);
    pass_to(driver, driver->now); /* an answer may have left it without the time */
    struct mono_time deadline = smtp_server_deadline(driver->server);
    if (deadline.us == MONO_NEVER.us) {
        return false;
    }
    pass_to(driver, mono_add_us(deadline, -1));
    assert_false(driver->closed);
    pass_to(driver, deadline);
    return true;
}

static void driver_pass_ms(struct script_engine *engine, int64_t ms)
{
    struct driver *driver = driver_of(engine);
    pass_to(driver, driver->now);
    pass_to(driver, mono_add_ms(driver->now, ms));
}

/* ---- statements ---- */

static bool wrong(char *problem, const char *what, struct slice detail)
{
    snprintf(problem, SCRIPT_PROBLEM_MAX, "%s %.*s", what, SLICE_FMT(slice_head(detail, 300)));
    return false;
}

static bool is(struct slice word, const char *text)
{
    return word.ptr != NULL && slice_eq(word, slice_cstr(text));
}

static bool set_number(struct driver *driver, struct slice name, uint64_t value)
{
    struct smtp_server_config *config = &driver->config;
    if (is(name, "max-size")) {
        config->max_message_bytes = value;
    } else if (is(name, "max-errors")) {
        config->max_errors = (uint32_t)value;
    } else if (is(name, "max-rcpts")) {
        config->max_recipients = (uint32_t)value;
    } else if (is(name, "max-transactions")) {
        config->max_transactions = (uint32_t)value;
    } else if (is(name, "without")) {
        config->capabilities &= ~(1U << value);
    } else {
        return false;
    }
    return true;
}

static bool do_config(struct driver *driver, struct slice rest, char *problem)
{
    while (rest.len > 0) {
        struct slice value = slice_cut(&rest, ' ');
        struct slice word = value;
        uint64_t number = 0;
        struct slice name = slice_cut(&value, '=');
        if (is(word, "lmtp")) {
            driver->config.lmtp = true;
        } else if (is(word, "tls-required")) {
            driver->config.tls_required = true;
        } else if (is(word, "auth-required")) {
            driver->config.auth_required = true;
        } else if (is(word, "auth-in-clear")) {
            driver->config.auth_needs_tls = false;
        } else if (!slice_to_u64(value, &number) || !set_number(driver, name, number)) {
            return wrong(problem, "unknown setting", word);
        }
    }
    return true;
}

static bool do_start(struct driver *driver, struct slice rest, char *problem)
{
    (void)problem;
    driver->server = smtp_server_create(&driver->config);
    smtp_server_start(driver->server, is(rest, "secure"), SLICE_NULL, tick(driver));
    drain(driver);
    return true;
}

static bool do_refuse(struct driver *driver, struct slice rest, char *problem)
{
    (void)problem;
    driver->server = smtp_server_create(&driver->config);
    smtp_server_start(driver->server, false, rest, tick(driver));
    drain(driver);
    return true;
}

static bool do_answer(struct driver *driver, struct slice rest, char *problem)
{
    static const char *const kinds[] = {"mail", "rcpt", "data", "message", "auth"};
    struct slice what = slice_cut(&rest, ' ');
    uint64_t code = 0;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (is(what, kinds[i]) && slice_to_u64(rest, &code)) {
            driver->answers[i] = (uint16_t)code;
            return true;
        }
    }
    return wrong(problem, "no such answer:", what);
}

static bool do_give(struct driver *driver, struct slice rest, char *problem)
{
    uint64_t code = 0;
    if (driver->owed == SMTP_SERVER_EVENT_NONE || !slice_to_u64(rest, &code)) {
        return wrong(problem, "no answer is owed", SLICE_NULL);
    }
    give(driver, (uint16_t)code);
    drain(driver);
    offer(driver);
    return true;
}

static bool do_tls(struct driver *driver, struct slice rest, char *problem)
{
    (void)problem;
    smtp_server_tls_done(driver->server, is(rest, "ok"), tick(driver));
    drain(driver);
    return true;
}

static bool do_shutdown(struct driver *driver, struct slice rest, char *problem)
{
    char text[200];
    (void)problem;
    snprintf(text, sizeof(text), "%.*s", SLICE_FMT(rest));
    smtp_server_shutdown(driver->server, text);
    drain(driver);
    return true;
}

static bool do_expect(struct driver *driver, struct slice rest, char *problem)
{
    struct slice content = SLICE("content ");
    struct slice events = strbuf_slice(&driver->events);
    if (slice_starts_with(rest, content)) {
        char room[4096];
        rest = slice_skip(rest, content.len);
        struct slice wanted = script_word(&rest, room, sizeof(room));
        bool ok = slice_eq(wanted, strbuf_slice(&driver->content));
        if (!ok) {
            wrong(problem, "the content is", strbuf_slice(&driver->content));
        }
        strbuf_reset(&driver->content);
        return ok;
    }
    if (is(rest, "nothing")) {
        return (events.len == 0 && driver->content.len == 0) || wrong(problem, "there is", events);
    }
    struct slice first = slice_cut(&events, '\n');
    if (!slice_eq(first, rest)) {
        return wrong(problem, "the event is", first);
    }
    strbuf_consume(&driver->events, driver->events.len - events.len);
    return true;
}

static bool driver_statement(struct script_engine *engine, struct slice words,
                             char problem[SCRIPT_PROBLEM_MAX])
{
    static const struct {
        const char *word;
        bool (*run)(struct driver *driver, struct slice rest, char *problem);
    } statements[] = {
        {"config", do_config},     {"start", do_start},   {"refuse", do_refuse},
        {"answer", do_answer},     {"give", do_give},     {"tls", do_tls},
        {"shutdown", do_shutdown}, {"expect", do_expect},
    };
    struct slice rest = words;
    struct slice word = slice_cut(&rest, ' ');
    for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
        if (is(word, statements[i].word)) {
            return statements[i].run(driver_of(engine), slice_trim(rest), problem);
        }
    }
    return wrong(problem, "unknown statement", words);
}

static bool driver_check(struct script_engine *engine, bool cut, char problem[SCRIPT_PROBLEM_MAX])
{
    struct driver *driver = driver_of(engine);
    if (cut && !driver->closed) {
        return wrong(problem, "the session goes on", SLICE_NULL);
    }
    if (driver->unsound) {
        return wrong(problem, "events out of order", strbuf_slice(&driver->events));
    }
    if (driver->closed && driver->open) {
        return wrong(problem, "a transaction has no end", SLICE_NULL);
    }
    if (driver->closed && smtp_server_deadline(driver->server).us != MONO_NEVER.us) {
        return wrong(problem, "a closed session waits", SLICE_NULL);
    }
    return true;
}

static const struct script_ops driver_ops = {
    .input = driver_input,
    .take = driver_take,
    .closed = driver_closed,
    .lost = driver_lost,
    .pass_deadline = driver_pass_deadline,
    .pass_ms = driver_pass_ms,
    .statement = driver_statement,
    .check = driver_check,
};

static size_t problems;

static size_t run_one(const char *path, const struct script_variation *variation)
{
    struct script_result result;
    struct driver driver = {.engine = {.ops = &driver_ops, .peer = 'C'},
                            .now = {1000000},
                            .answers = {250, 250, 354, 250, 235}};
    driver.config = (struct smtp_server_config){
        .host_name = SLICE("mx.example"),
        .greeting = SLICE("ESMTP"),
        .capabilities = CAP_ALL,
        .auth_needs_tls = true,
        .max_message_bytes = 1000,
        .command_timeout_ms = 300000,
        .data_timeout_ms = 180000,
    };
    strbuf_init(&driver.events, 64 << 20);
    strbuf_init(&driver.content, 64 << 20);
    strbuf_init(&driver.held, 64 << 20);
    bool ok = script_run(path, &driver.engine, variation, &result);
    smtp_server_free(&driver.server);
    strbuf_free(&driver.events);
    strbuf_free(&driver.content);
    strbuf_free(&driver.held);
    if (!ok) {
        problems++;
        print_error("%s (split %zu, take %zu, fault %d at %zu \"%.*s\")\n", result.problem,
                    variation->split_bytes, variation->take_bytes, (int)variation->fault,
                    variation->fault_at, SLICE_FMT(variation->fault_bytes));
    }
    return result.sends;
}

static void run_whole(const char *path, void *context)
{
    size_t *runs = context;
    for (size_t i = 0; i < 4; i++) {
        struct script_variation variation = {.split_bytes = i & 1, .take_bytes = i >> 1};
        run_one(path, &variation);
        (*runs)++;
    }
}

static void run_faults(const char *path, void *context)
{
    static const struct script_variation faults[] = {
        {.fault = SCRIPT_FAULT_CLOSE},
        {.fault = SCRIPT_FAULT_CLOSE, .take_bytes = 1},
        {.fault = SCRIPT_FAULT_TIMEOUT},
        {.fault = SCRIPT_FAULT_SAY, .fault_bytes = {"NO\0OP\r\n", 7}, .split_bytes = 1},
        {.fault = SCRIPT_FAULT_SAY, .fault_bytes = {"NOOP\n", 5}},
        {.fault = SCRIPT_FAULT_SAY, .fault_bytes = {"NO\rOP\r\n", 7}, .split_bytes = 1},
        {.fault = SCRIPT_FAULT_SAY, .fault_bytes = {"x\r\n\n.\r\n", 7}},
    };
    size_t *runs = context;
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        struct script_variation variation = faults[i];
        /* The last one finds no place any more: then the script has run as it stands. */
        for (; run_one(path, &variation) > variation.fault_at; variation.fault_at++) {
            (*runs)++;
        }
    }
}

static void run_folder(void (*each)(const char *path, void *context))
{
    char folder[4096];
    size_t runs = 0;
    const char *root = getenv("SLUICE_SOURCE_DIR");
    assert_non_null(root);
    snprintf(folder, sizeof(folder), "%s/tests/hostile/server", root);
    problems = 0;
    assert_true(script_each_file(folder, ".peer", each, &runs) > 15);
    print_message("%zu runs\n", runs);
    assert_int_equal(problems, 0);
}

static void test_scripts(void **state)
{
    (void)state;
    run_folder(run_whole);
}

static void test_faults_everywhere(void **state)
{
    (void)state;
    run_folder(run_faults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_faults_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "worker/shard.h"

#include "worker/intake.h"
#include "worker/lane.h"
#include "worker/route.h"
#include "worker/session.h"
#include "worker/why.h"
#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"
#include "suppress/follow.h"

#define TICK_MS 1000
#define USAGE_MS 60000
#define UNCHOKE_MS 50
#define CHOKED_TOLD_MS 1000
/* Records that Kafka has not taken, beyond which no mail is begun. */
#define OUTBOX_MAX 1000

struct request {
    struct mail_post post;
    enum shard_request_kind kind;
    int64_t value;
    struct question question; /* WHY */
};

/* Nothing more is begun of it here. */
static bool is_leaving(const struct mail *mail, const void *context)
{
    const struct shard *shard = context;
    return shard_is_leaving(shard, mail);
}

bool shard_is_leaving(const struct shard *shard, const struct mail *mail)
{
    return shard->draining || !tenure_is_owned(&shard->worker->tenures, mail->tenure) ||
           (mail->tenure == 0 && kafka_partition_is_leaving(mail->ticket.partition));
}

/* Without claims what was begun cannot be forgotten: the next owner would know nothing of it. */
static bool is_returned(const struct mail *mail, const void *context)
{
    return (!mail->begun || mail->tenure > 0) && is_leaving(mail, context);
}

static void mail_arrived(struct shard *shard, struct mail *mail)
{
    CHECK_MAGIC(mail, MAIL_MAGIC);
    mail->shard = shard;
    if (is_returned(mail, shard)) {
        shard_return(mail);
        return;
    }
    if (mail->journaled) {
        list_push_back(&shard->journaled, &mail->journal_node);
    }
    route_mail(shard, mail);
}

void shard_return(struct mail *mail)
{
    if (mail->in_flight) {
        journal_writer_left(mail->shard->journal, mail);
    }
    list_remove(&mail->journal_node);
    dns_site_unref(&mail->site);
    mail->shard = NULL;
    mail->post.kind = MAIL_LETTER_RETURNED;
    intake_post(mail->worker->intake, mail);
}

/* Who owns it states what is known of it (lib/ledger/journal.h): while it is in the mailbox nobody
 * else does. */
void shard_hand_over(struct shard *shard, struct shard *to, struct mail *mail)
{
    if (mail->journaled) {
        journal_writer_restate(shard->journal, mail);
        journal_writer_flush(shard->journal);
    }
    list_remove(&mail->journal_node);
    mail->post.kind = MAIL_LETTER_LANE;
    mail->shard = NULL;
    shard_post(to, mail);
}

/* ---- what is asked for ---- */

static void return_mails(struct shard *shard)
{
    struct list out;
    struct list *node;
    size_t cursor = 0;
    struct lane *lane;
    list_init(&out);
    while ((lane = map_next(&shard->lanes, &cursor)) != NULL) {
        lane_extract(lane, is_returned, shard, &out);
    }
    route_extract(shard, is_returned, &out);
    while ((node = list_pop_front(&out)) != NULL) {
        shard_return(CONTAINER_OF(node, struct mail, node));
    }
    /* What was begun and waits for another session, without claims: its rest goes to a tier. */
    cursor = 0;
    while ((lane = map_next(&shard->lanes, &cursor)) != NULL) {
        lane_extract(lane, is_leaving, shard, &out);
    }
    while ((node = list_pop_front(&out)) != NULL) {
        struct mail *mail = CONTAINER_OF(node, struct mail, node);
        const struct report_wait wait = {.due_ms = wall_now().ms, .reason = "leaving"};
        settle_later(&shard->settler, &mail, &wait);
    }
}

/* The time for running transactions is over: better cut than sent again by the next owner. */
static void cut_sessions(struct shard *shard)
{
    struct lane *lane;
    size_t cursor = 0;
    while ((lane = map_next(&shard->lanes, &cursor)) != NULL) {
        lane_cut(lane, is_leaving, shard);
    }
}

static void restate(struct shard *shard)
{
    list_foreach (node, &shard->journaled) {
        journal_writer_restate(shard->journal, CONTAINER_OF(node, struct mail, journal_node));
    }
}

static void note_in_flight(struct mail *mail, void *owner)
{
    struct shard_answer *answer = owner;
    if (!shard_is_leaving(mail->shard, mail)) {
        return;
    }
    mail->in_flight = true;
    answer->in_flight =
        mem_realloc(answer->in_flight, (answer->in_flight_count + 1) * sizeof(*answer->in_flight));
    answer->in_flight[answer->in_flight_count++] = mail->ticket;
}

static void list_in_flight(struct shard *shard, struct shard_answer *answer)
{
    struct lane *lane;
    size_t cursor = 0;
    while ((lane = map_next(&shard->lanes, &cursor)) != NULL) {
        lane_foreach_running(lane, note_in_flight, answer);
    }
}

static void send_answers(struct shard *shard)
{
    list_foreach_safe (node, after, &shard->answers) {
        struct shard_answer *answer = CONTAINER_OF(node, struct shard_answer, node);
        if (journal_writer_is_safe(shard->journal, answer->mark)) {
            list_remove(node);
            intake_answer(shard->worker->intake, answer);
        }
    }
}

static void answer_when_safe(struct shard *shard, const struct request *request)
{
    struct shard_answer *answer = mem_zalloc(sizeof(*answer));
    answer->post.kind = MAIL_LETTER_ANSWER;
    answer->kind = request->kind;
    answer->shard = shard->index;
    answer->number = request->value;
    if (request->kind != SHARD_RESTATE) {
        list_in_flight(shard, answer);
    }
    answer->mark = journal_writer_mark(shard->journal);
    list_push_back(&shard->answers, &answer->node);
    journal_writer_flush(shard->journal);
    send_answers(shard);
}

void shard_answer_free(struct shard_answer **answer)
{
    mem_free((*answer)->in_flight);
    mem_free(*answer);
    *answer = NULL;
}

static void journal_is_safer(void *owner)
{
    struct shard *shard = owner;
    CHECK_MAGIC(shard, SHARD_MAGIC);
    session_release_dots(shard);
    send_answers(shard);
}

static void do_request(struct shard *shard, struct request *request)
{
    mailbox_deliver(shard->urgent); /* what was posted before the request comes before it */
    switch (request->kind) {
    case SHARD_DRAIN:
        shard->draining = true;
        return_mails(shard);
        answer_when_safe(shard, request);
        break;
    case SHARD_RETURN:
        return_mails(shard);
        answer_when_safe(shard, request);
        break;
    case SHARD_RESTATE:
        restate(shard);
        answer_when_safe(shard, request);
        break;
    case SHARD_CUT: cut_sessions(shard); break;
    case SHARD_WHY: why_answer(shard, &request->question); break;
    case SHARD_HOLDERS:
        shard->holders = (unsigned)request->value;
        if (shard->limiter != NULL) {
            redis_limiter_set_holders(shard->limiter, (unsigned)request->value);
        }
        break;
    case SHARD_STOP: io_loop_stop(shard->loop); break;
    }
    mem_free(request);
}

static void letter_arrived(struct letter *letter, void *owner)
{
    struct shard *shard = owner;
    struct mail_post *post = CONTAINER_OF(letter, struct mail_post, letter);
    CHECK_MAGIC(shard, SHARD_MAGIC);
    if (post->kind == MAIL_LETTER_REQUEST) {
        do_request(shard, CONTAINER_OF(post, struct request, post));
    } else {
        mail_arrived(shard, CONTAINER_OF(post, struct mail, post));
    }
}

/* ---- when nothing may be begun ---- */

/* Why; NULL: it is not. */
static const char *choked_by(const struct shard *shard)
{
    struct mono_time now = io_loop_now(shard->loop);
    if (outbox_backlog(shard->outbox) > OUTBOX_MAX) {
        return "Kafka does not take events";
    }
    if (journal_writer_is_stuck(shard->journal, now)) {
        return "Kafka does not acknowledge the journal";
    }
    return tenure_contact_is_fresh(&shard->worker->tenures, now) ? NULL
                                                                 : "no contact with the group";
}

static void unchoke(struct timer *timer, struct mono_time now)
{
    struct shard *shard = CONTAINER_OF(timer, struct shard, unchoke);
    const char *reason = choked_by(shard);
    int64_t since_us = mono_since_us(now, shard->choked_since);
    struct lane *lane;
    size_t cursor = 0;
    CHECK_MAGIC(shard, SHARD_MAGIC);
    if (reason != NULL) {
        if (!shard->choked_told && since_us >= (int64_t)CHOKED_TOLD_MS * 1000) {
            shard->choked_told = true;
            log_warn("nothing-begun", "shard=%u reason=\"%s\"", shard->index, reason);
        }
        wheel_set(io_loop_wheel(shard->loop), timer, mono_add_ms(now, UNCHOKE_MS), unchoke);
        return;
    }
    if (shard->choked_told) {
        log_info("begun-again", "shard=%u after_ms=%lld", shard->index,
                 (long long)(since_us / 1000));
    }
    while ((lane = map_next(&shard->lanes, &cursor)) != NULL) {
        lane_kick(lane);
    }
}

bool shard_is_choked(struct shard *shard)
{
    if (timer_is_set(&shard->unchoke)) {
        return true;
    }
    if (choked_by(shard) == NULL) {
        return false;
    }
    shard->choked_since = io_loop_now(shard->loop);
    shard->choked_told = false;
    wheel_set(io_loop_wheel(shard->loop), &shard->unchoke,
              mono_add_ms(shard->choked_since, UNCHOKE_MS), unchoke);
    return true;
}

/* ---- housekeeping ---- */

static void tell_usage(struct shard *shard, struct mono_time now)
{
    struct usage *usage = reporter_usage(shard->reporter);
    struct lane *lane;
    size_t cursor = 0;
    while ((lane = map_next(&shard->lanes, &cursor)) != NULL) {
        fair_account(lane, usage);
    }
    usage_tell(usage, wall_now());
    shard->usage_told = now;
}

/* Lanes without work go after a while; the others look after their length. */
static void tick(struct timer *timer, struct mono_time now)
{
    struct shard *shard = CONTAINER_OF(timer, struct shard, tick);
    struct lane *lane;
    size_t cursor = 0;
    struct lane *idle[64];
    size_t idle_count = 0;
    CHECK_MAGIC(shard, SHARD_MAGIC);
    while ((lane = map_next(&shard->lanes, &cursor)) != NULL) {
        if (lane_tick(lane, now) && idle_count < ARRAY_LEN(idle)) {
            idle[idle_count++] = lane;
        }
    }
    for (size_t i = 0; i < idle_count; i++) {
        lane_free(&idle[i]);
    }
    if (mono_since_us(now, shard->usage_told) >= (int64_t)USAGE_MS * 1000) {
        tell_usage(shard, now);
    }
    wheel_set(io_loop_wheel(shard->loop), &shard->tick, mono_add_ms(now, TICK_MS), tick);
}

static bool open_services(struct shard *shard, struct fault *fault)
{
    const struct config *config = shard->worker->config;
    struct dns_options dns;
    dns_options_from_config(&dns, &config->dns);
    dns.ipv4 = dns.ipv6 = false;
    for (size_t i = 0; i < shard->worker->vip_count; i++) {
        dns.ipv4 = dns.ipv4 || shard->worker->vips[i].has_ipv4;
        dns.ipv6 = dns.ipv6 || shard->worker->vips[i].has_ipv6;
    }
    shard->sites = dns_sites_create(shard->loop, &dns, fault);
    if (shard->sites == NULL) {
        return fault_prefix(fault, "dns");
    }
    if (config_shares_limits(config)) {
        struct redis_options redis;
        char holder[160];
        redis_options_from_config(&redis, &config->redis);
        snprintf(holder, sizeof(holder), "%s/%u", shard->worker->name, shard->index);
        shard->limiter = redis_limiter_create(shard->loop, &redis, holder, fault);
        if (shard->limiter == NULL) {
            return fault_prefix(fault, "redis");
        }
    }
    shard->return_paths = return_paths_create(shard->worker, shard->outbox);
    shard->suppress = suppress_checker_open(suppress_follow_set(shard->worker->suppress), config);
    struct tls_client_options any = {.verify = TLS_VERIFY_NONE};
    struct tls_client_options verified = {.verify = TLS_VERIFY_NAME};
    shard->tls_any = tls_client_context(&any, fault);
    shard->tls_verified = shard->tls_any == NULL ? NULL : tls_client_context(&verified, fault);
    return shard->tls_verified != NULL;
}

struct shard *shard_create(struct worker *worker, uint32_t index, struct fault *fault)
{
    struct shard *shard = mem_zalloc(sizeof(*shard));
    shard->magic = SHARD_MAGIC;
    shard->worker = worker;
    shard->index = index;
    map_init(&shard->lanes);
    list_init(&shard->routing);
    list_init(&shard->starved);
    list_init(&shard->dying);
    list_init(&shard->journaled);
    list_init(&shard->dot_waiting);
    list_init(&shard->answers);
    shard->loop = io_loop_create(fault);
    if (shard->loop == NULL) {
        mem_free(shard);
        return NULL;
    }
    shard->mailbox = mailbox_create(shard->loop, letter_arrived, shard, fault);
    shard->urgent = mailbox_create(shard->loop, letter_arrived, shard, fault);
    shard->outbox = outbox_create(worker, shard->loop);
    shard->reporter = reporter_create(worker, shard->outbox);
    shard->journal = journal_writer_create(worker, shard->loop, JOURNAL_LINGER_MS, journal_is_safer,
                                           shard, fault);
    shard->settler = (struct settler){worker, shard->reporter, shard->journal};
    if (shard->mailbox == NULL || shard->urgent == NULL || shard->journal == NULL ||
        !open_services(shard, fault)) {
        shard_free(&shard);
        return NULL;
    }
    shard->usage_told = io_loop_now(shard->loop);
    wheel_set(io_loop_wheel(shard->loop), &shard->tick,
              mono_add_ms(io_loop_now(shard->loop), TICK_MS), tick);
    return shard;
}

void shard_close(struct shard *shard)
{
    struct lane *lane;
    size_t cursor = 0;
    CHECK_MAGIC(shard, SHARD_MAGIC);
    shard->draining = true; /* what still comes goes back */
    wheel_cancel(io_loop_wheel(shard->loop), &shard->tick);
    wheel_cancel(io_loop_wheel(shard->loop), &shard->unchoke);
    while ((lane = map_next(&shard->lanes, &cursor)) != NULL) {
        lane_free(&lane);
        cursor = 0;
    }
    session_reap_all(shard);
    if (shard->reporter != NULL && shard->worker->events != NULL) {
        usage_tell(reporter_usage(shard->reporter), wall_now());
    }
    if (shard->journal != NULL) {
        journal_writer_flush(shard->journal);
    }
}

void shard_free(struct shard **handle)
{
    struct shard *shard = *handle;
    struct list *node;
    if (shard == NULL) {
        return;
    }
    shard_close(shard);
    mailbox_free(&shard->mailbox); /* a request in it looks into the other one */
    mailbox_free(&shard->urgent);
    map_free(&shard->lanes);
    dns_sites_free(&shard->sites);
    redis_limiter_free(&shard->limiter);
    tls_context_free(&shard->tls_any);
    tls_context_free(&shard->tls_verified);
    return_paths_free(&shard->return_paths);
    suppress_checker_close(&shard->suppress);
    reporter_free(&shard->reporter);
    outbox_free(&shard->outbox);
    journal_writer_free(&shard->journal);
    while ((node = list_pop_front(&shard->answers)) != NULL) {
        struct shard_answer *answer = CONTAINER_OF(node, struct shard_answer, node);
        shard_answer_free(&answer);
    }
    io_loop_free(&shard->loop);
    shard->magic = 0;
    mem_free(shard);
    *handle = NULL;
}

void shard_run(struct shard *shard)
{
    CHECK_MAGIC(shard, SHARD_MAGIC);
    io_loop_run(shard->loop);
}

void shard_post(struct shard *shard, struct mail *mail)
{
    bool urgent = mail->record.source == KAFKA_SOURCE_TX; /* its class is not known yet */
    mailbox_post(urgent ? shard->urgent : shard->mailbox, &mail->post.letter);
}

static struct request *request_make(enum shard_request_kind kind)
{
    struct request *request = mem_zalloc(sizeof(*request));
    request->kind = kind;
    request->post.kind = MAIL_LETTER_REQUEST;
    return request;
}

void shard_ask(struct shard *shard, enum shard_request_kind kind, int64_t value)
{
    struct request *request = request_make(kind);
    request->value = value;
    mailbox_post(shard->mailbox, &request->post.letter);
}

void shard_ask_why(struct shard *shard, const struct question *question)
{
    struct request *request = request_make(SHARD_WHY);
    request->question = *question;
    mailbox_post(shard->mailbox, &request->post.letter);
}

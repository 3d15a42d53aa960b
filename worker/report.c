#include "worker/report.h"

#include "worker/classify.h"
#include "worker/sender_report.h"
#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"
#include "schema/headers.h"

#include <inttypes.h>

#define REPORTER_MAGIC 0x5245504fu
/* An event is bounded by its schema: texts, addresses and metadata have their maxima. */
#define EVENT_MAX_BYTES ((size_t)256 * 1024)
/* … of an invalid record they may break, then so much of each is told. */
#define EVENT_TEXT_SHORT 1024

struct reporter {
    uint32_t magic;
    struct worker *worker;
    struct outbox *outbox;
    struct classify_reader *rules;
    struct usage *usage;
    struct strbuf encoded;
};

#define CAUSE_KEY_TEXT_MAX 17
/* A permanent refusal is taken for a passing one only where the rules are sure of it. */
#define PASSING_CONFIDENCE 50

/* Texts of an attempt that must live as long as the event is being encoded. */
struct attempt_texts {
    char enhanced[SMTP_ENHANCED_TEXT_MAX];
    char cause_key[CAUSE_KEY_TEXT_MAX];
};

struct reporter *reporter_create(struct worker *worker, struct outbox *outbox)
{
    struct reporter *reporter = mem_zalloc(sizeof(*reporter));
    reporter->magic = REPORTER_MAGIC;
    reporter->worker = worker;
    reporter->outbox = outbox;
    reporter->rules = classify_reader_create(worker->rules);
    reporter->usage = usage_create(worker);
    strbuf_init(&reporter->encoded, EVENT_MAX_BYTES);
    return reporter;
}

struct usage *reporter_usage(struct reporter *reporter)
{
    CHECK_MAGIC(reporter, REPORTER_MAGIC);
    return reporter->usage;
}

void reporter_free(struct reporter **handle)
{
    struct reporter *reporter = *handle;
    if (reporter == NULL) {
        return;
    }
    CHECK_MAGIC(reporter, REPORTER_MAGIC);
    strbuf_free(&reporter->encoded);
    classify_reader_free(&reporter->rules);
    usage_free(&reporter->usage);
    reporter->magic = 0;
    mem_free(reporter);
    *handle = NULL;
}

/* Everything that all events of a mail share. */
static struct event event_of(const struct reporter *reporter, const struct mail *mail,
                             enum event_type type, struct wall_time now)
{
    const struct message *message = &mail->message;
    return (struct event){
        .type = type,
        .time_ms = now.ms,
        .node = slice_cstr(reporter->worker->node),
        .worker = slice_cstr(reporter->worker->name),
        .message_id = message->id,
        .tenant = message->tenant,
        .campaign = message->campaign,
        .klass = mail->klass == CONFIG_CLASS_BULK ? SLICE("bulk") : SLICE("transactional"),
        .mail_from = message->mail_from,
        .stream = mail->stream == NULL ? SLICE_NULL : slice_cstr(mail->stream->name),
        .metadata = message->metadata,
        .metadata_count = message->metadata_count,
        .recipient_count = (uint32_t)message->recipient_count,
    };
}

/* An invalid record may have a megabyte where a name should be, a valid one much metadata: what
 * became of it must be told all the same. */
static void shorten(struct event *event)
{
    struct slice *const texts[] = {
        &event->message_id,      &event->tenant,    &event->campaign,
        &event->mail_from,       &event->recipient, &event->reason,
        &event->detail,          &event->site,      &event->vip,
        &event->received.topic,  &event->stream,    &event->attempt.text,
        &event->postponed.topic,
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        *texts[i] = slice_head(*texts[i], EVENT_TEXT_SHORT);
    }
    event->metadata_count = 0;
    event->recipient_metadata_count = 0;
}

/* The id of what became of a recipient in a round: what is told again after a crash has the same
 * one, so that whoever reads the events can tell. `index` is any number for the mail as a whole. */
static struct uuid outcome_id(const struct mail *mail, enum event_type type, uint32_t index)
{
    char seed[KAFKA_TOPIC_NAME_MAX + 128];
    struct slice origin = slice_head(mail->origin, KAFKA_TOPIC_NAME_MAX + 40);
    int len = snprintf(seed, sizeof(seed), "%s/%.*s/%u/%u", event_type_name(type),
                       SLICE_FMT(origin), index, mail->attempt);
    CHECK(len > 0 && (size_t)len < sizeof(seed));
    return uuid_derive(slice_of(seed, (size_t)len));
}

/* Gives the event its id (derived if `id` is set, else new), encodes and sends it. */
static void emit(struct reporter *reporter, struct mail *mail, struct event *event,
                 const struct uuid *id, bool bounce)
{
    char id_text[UUID_TEXT_LEN + 1];
    struct uuid fresh;
    CHECK_MAGIC(reporter, REPORTER_MAGIC);
    if (id == NULL) {
        fresh = uuid_v7((struct wall_time){event->time_ms});
        id = &fresh;
    }
    uuid_format(id, id_text);
    event->event_id = slice_of(id_text, UUID_TEXT_LEN);
    strbuf_reset(&reporter->encoded);
    if (!event_encode(event, &reporter->encoded)) {
        shorten(event);
        strbuf_reset(&reporter->encoded);
        CHECK(event_encode(event, &reporter->encoded));
    }
    struct slice value = strbuf_slice(&reporter->encoded);
    struct slice key = event->message_id;
    outbox_send_event(reporter->outbox, mail, reporter->worker->topics.log, key, value);
    if (bounce) {
        outbox_send_event(reporter->outbox, mail, reporter->worker->topics.bounces, key, value);
    }
    event->event_id = SLICE_NULL;
}

/* Not the record's place: it may have been moved on. */
static struct message_origin origin_of(const struct mail *mail)
{
    struct message_origin origin;
    if (!header_origin_decode(mail->origin, &origin)) {
        origin = (struct message_origin){slice_cstr(mail->record.topic), mail->record.partition_id,
                                         mail->record.offset};
    }
    return origin;
}

void report_received(struct reporter *reporter, struct mail *mail)
{
    struct event event = event_of(reporter, mail, EVENT_RECEIVED, wall_now());
    char seed[KAFKA_TOPIC_NAME_MAX + 64];
    struct message_origin origin = origin_of(mail);
    event.received.topic = origin.topic;
    event.received.partition = origin.partition;
    event.received.offset = origin.offset;
    event.received.bytes = mail->message.content.len;
    int len = snprintf(seed, sizeof(seed), "received/%.*s", SLICE_FMT(mail->origin));
    struct uuid id =
        uuid_derive(slice_of(seed, (size_t)len < sizeof(seed) ? (size_t)len : sizeof(seed) - 1));
    emit(reporter, mail, &event, &id, false);
}

void report_postponed(struct reporter *reporter, struct mail *mail, const struct report_wait *wait,
                      uint32_t attempt)
{
    struct event event = event_of(reporter, mail, EVENT_POSTPONED, wall_now());
    struct message_origin origin = origin_of(mail);
    event.site = wait->site;
    event.reason = slice_cstr(wait->reason);
    event.postponed.due_ms = wait->due_ms;
    event.postponed.number = attempt;
    event.postponed.topic = origin.topic;
    event.postponed.partition = origin.partition;
    event.postponed.offset = origin.offset;
    event.postponed.route = mail->route;
    emit(reporter, mail, &event, NULL, false);
}

static struct event_attempt attempt_of(const struct mail *mail, const struct smtp_outcome *outcome,
                                       const struct report_facts *facts, struct wall_time now,
                                       struct attempt_texts *texts)
{
    return (struct event_attempt){
        .code = outcome->code,
        .enhanced = smtp_enhanced_format(outcome->enhanced, texts->enhanced),
        .text = outcome->text,
        .phase = (int)outcome->phase,
        .scope = (int)outcome->scope,
        .remote_host = facts->remote_host,
        .remote_address = facts->remote_address,
        .local_address = facts->local_address,
        .tls_version = facts->tls_version,
        .tls_cipher = facts->tls_cipher,
        .tls_verified = facts->tls_verified,
        .number = mail->attempt,
        .queue_time_ms = mail_age_ms(mail, now),
        .connect_us = facts->connect_us,
        .mail_us = facts->mail_us,
        .rcpt_us = facts->rcpt_us,
        .data_us = facts->data_us,
        .dot_us = facts->dot_us,
        .total_us = facts->total_us,
        .bytes = facts->bytes,
    };
}

bool report_may_pass(struct reporter *reporter, const struct mail *mail, uint32_t index,
                     const struct smtp_outcome *outcome, const struct report_facts *facts)
{
    const struct classify_attempt values = {
        .remote_host = facts->remote_host,
        .recipient = mail->message.recipients[index].address,
        .sender = mail->message.mail_from,
    };
    struct classify_verdict verdict;
    CHECK_MAGIC(reporter, REPORTER_MAGIC);
    classify_outcome(reporter->rules, outcome, &values, &verdict);
    return verdict.result.disposition == BOUNCE_DO_TRANSIENT &&
           verdict.result.confidence >= PASSING_CONFIDENCE;
}

/* What the rules say of a failure. */
static void add_verdict(struct reporter *reporter, const struct smtp_outcome *outcome,
                        const struct event *event, struct attempt_texts *texts,
                        struct event_attempt *attempt)
{
    const struct classify_attempt values = {.remote_host = attempt->remote_host,
                                            .recipient = event->recipient,
                                            .sender = event->mail_from};
    struct classify_verdict verdict;
    classify_outcome(reporter->rules, outcome, &values, &verdict);
    const struct classify_result *result = &verdict.result;
    (void)snprintf(texts->cause_key, sizeof(texts->cause_key), "%016" PRIx64, result->cause_key);
    attempt->bounce_class = slice_cstr(bounce_class_name(result->class));
    attempt->disposition = slice_cstr(bounce_disposition_name(result->disposition));
    attempt->blame = slice_cstr(bounce_scope_name(result->scope));
    attempt->rule = slice_cstr(result->rule);
    attempt->cause_key = slice_of(texts->cause_key, CAUSE_KEY_TEXT_MAX - 1);
    attempt->rules_version = slice_cstr(verdict.rules_version);
    attempt->provider = slice_cstr(result->provider);
    attempt->confidence = result->confidence;
}

/* Its time was over: that is the class, whatever the last reply was. Cause, provider and rules stay
 * those of the reply, so that one sees why it did not get through in time. */
static void make_expired(struct event_attempt *attempt)
{
    attempt->bounce_class = slice_cstr(bounce_class_name(BOUNCE_EXPIRED));
    attempt->disposition =
        slice_cstr(bounce_disposition_name(bounce_class_disposition(BOUNCE_EXPIRED, false)));
    attempt->blame = slice_cstr(bounce_scope_name(bounce_class_scope(BOUNCE_EXPIRED)));
    attempt->confidence = 100;
}

void report_attempt(struct reporter *reporter, struct mail *mail,
                    const struct smtp_outcome *outcome, const struct report_facts *facts)
{
    struct attempt_texts texts;
    struct wall_time now = wall_now();
    struct event event = event_of(reporter, mail, EVENT_ATTEMPT, now);
    event.site = facts->site;
    event.vip = facts->vip;
    event.attempt = attempt_of(mail, outcome, facts, now, &texts);
    add_verdict(reporter, outcome, &event, &texts, &event.attempt);
    emit(reporter, mail, &event, NULL, false);
}

static enum worker_counter counter_of(enum event_type type)
{
    switch (type) {
    case EVENT_DELIVERED: return WORKER_DELIVERED;
    case EVENT_DEFERRED: return WORKER_DEFERRED;
    case EVENT_BOUNCED: return WORKER_BOUNCED;
    case EVENT_EXPIRED: return WORKER_EXPIRED;
    case EVENT_UNCERTAIN: return WORKER_UNCERTAIN;
    case EVENT_NONE:
    case EVENT_RECEIVED:
    case EVENT_ATTEMPT:
    case EVENT_DROPPED:
    case EVENT_ADMIN:
    case EVENT_BOUNCED_LATE:
    case EVENT_COMPLAINT:
    case EVENT_UNSUBSCRIBED:
    case EVENT_AUTO_REPLY:
    case EVENT_RETURNED:
    case EVENT_USAGE:
    case EVENT_POSTPONED: break;
    }
    return WORKER_DROPPED;
}

void report_recipient(struct reporter *reporter, struct mail *mail, uint32_t index,
                      enum event_type type, const struct smtp_outcome *outcome,
                      const struct report_facts *facts, int64_t next_attempt_ms)
{
    struct attempt_texts texts;
    struct wall_time now = wall_now();
    const struct message_recipient *recipient = &mail->message.recipients[index];
    struct event event = event_of(reporter, mail, type, now);
    event.recipient = recipient->address;
    event.recipient_metadata = recipient->metadata;
    event.recipient_metadata_count = recipient->metadata_count;
    event.site = facts->site;
    event.vip = facts->vip;
    event.attempt = attempt_of(mail, outcome, facts, now, &texts);
    event.attempt.next_attempt_ms = next_attempt_ms;
    if (type == EVENT_DELIVERED) {
        usage_delivered(reporter->usage, mail->message.tenant, mail->message.content.len);
    } else {
        add_verdict(reporter, outcome, &event, &texts, &event.attempt);
    }
    if (type == EVENT_EXPIRED) {
        make_expired(&event.attempt);
    }
    struct uuid id = outcome_id(mail, type, index);
    bool failed = type == EVENT_BOUNCED || type == EVENT_EXPIRED;
    emit(reporter, mail, &event, &id, failed);
    if (failed && sender_report_is_due(mail, index)) {
        char id_text[UUID_TEXT_LEN + 1];
        uuid_format(&id, id_text);
        sender_report_send(reporter->outbox, mail, index, outcome, facts,
                           slice_of(id_text, UUID_TEXT_LEN), type == EVENT_EXPIRED);
    }
    worker_count(reporter->worker, counter_of(type), 1);
}

void report_dropped_recipient(struct reporter *reporter, struct mail *mail, uint32_t index,
                              struct slice reason, struct slice detail)
{
    const struct message_recipient *recipient = &mail->message.recipients[index];
    struct event event = event_of(reporter, mail, EVENT_DROPPED, wall_now());
    struct uuid id = outcome_id(mail, EVENT_DROPPED, index);
    event.reason = reason;
    event.detail = detail;
    event.recipient = recipient->address;
    event.recipient_metadata = recipient->metadata;
    event.recipient_metadata_count = recipient->metadata_count;
    emit(reporter, mail, &event, &id, false);
    worker_count(reporter->worker, WORKER_DROPPED, 1);
}

void report_dropped(struct reporter *reporter, struct mail *mail, struct slice reason,
                    struct slice detail)
{
    size_t told = 0;
    for (uint32_t i = 0; mail->message.recipients != NULL && i < mail->message.recipient_count;
         i++) {
        if (mail->rcpts == NULL || mail->rcpts[i].state != MAIL_RCPT_SETTLED) {
            report_dropped_recipient(reporter, mail, i, reason, detail);
            told++;
        }
    }
    if (told == 0) {
        struct event event = event_of(reporter, mail, EVENT_DROPPED, wall_now());
        struct uuid id = outcome_id(mail, EVENT_DROPPED, UINT32_MAX);
        event.reason = reason;
        event.detail = detail;
        emit(reporter, mail, &event, &id, false);
        worker_count(reporter->worker, WORKER_DROPPED, 1);
    }
}

void report_admin(struct worker *worker, const char *action, const char *detail)
{
    char id_text[UUID_TEXT_LEN + 1];
    struct strbuf encoded;
    struct fault fault;
    struct wall_time now = wall_now();
    struct uuid id = uuid_v7(now);
    uuid_format(&id, id_text);
    const struct event event = {
        .type = EVENT_ADMIN,
        .event_id = slice_of(id_text, UUID_TEXT_LEN),
        .time_ms = now.ms,
        .node = slice_cstr(worker->node),
        .worker = slice_cstr(worker->name),
        .action = slice_cstr(action),
        .actor = SLICE("sluice-worker"),
        .detail = slice_cstr(detail),
    };
    strbuf_init(&encoded, EVENT_MAX_BYTES);
    CHECK(event_encode(&event, &encoded));
    const struct kafka_record_out record = {
        .topic = worker->topics.log,
        .partition = -1,
        .key = event.worker,
        .value = strbuf_slice(&encoded),
    };
    if (!kafka_producer_send(worker->events, &record, &fault)) {
        log_warn("event-lost", "action=%s reason=\"%s\"", action, fault.text);
    }
    strbuf_free(&encoded);
}

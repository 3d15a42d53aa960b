/*
 * A message goes to Kafka. See mail.h.
 *
 * Records are handed over one after the other while there is memory for copies; at least one is
 * always in flight, since the buffer itself needs none. After the first failure nothing more is
 * handed over: the client gets 451 and sends everything again, so what is not sent is not doubled.
 * The answer comes when the last report is in, or when `give_up` has passed.
 *
 * A mail with a key claims each record first (lib/once): one that is stored already is left out. A
 * claim that is under way counts as in flight.
 */
#include "base/log.h"
#include "base/mem.h"
#include "producer/mail_private.h"
#include "schema/headers.h"

#define COPIES_MAX_BYTES ((size_t)16 * 1024 * 1024)
#define QUEUE_FULL_RETRY_MS 10
#define PATIENCE_MS 2000 /* librdkafka looks for overdue records once a second */
#define CONTENT_TAG 0x32 /* field 6, length-delimited: bytes content */
#define IDS_IN_REPLY 8

static void delivered(struct kafka_delivery *delivery, int32_t partition, int64_t offset,
                      const struct fault *fault);
static void hand_over(struct mail *mail);

static size_t put_content_length(char *at, uint64_t len)
{
    size_t n = 0;
    at[n++] = CONTENT_TAG;
    while (len >= 0x80) {
        at[n++] = (char)(len | 0x80);
        len >>= 7;
    }
    at[n++] = (char)len;
    return n;
}

/* Fields, then the content: `prefix` bytes that end at `content`. Fields of a protobuf message may
 * come in any order. */
static void put_fields(const struct message *message, size_t fields, const char *tag,
                       size_t tag_len, char *content)
{
    memcpy(content - tag_len, tag, tag_len);
    message_encode(message, (uint8_t *)content - tag_len - fields);
}

/* A copy of content with `prefix` bytes before it; NULL: no memory. */
static char *make_copy(struct mail *mail, struct mail_record *record, size_t prefix)
{
    size_t bytes = prefix + mail->len;
    if (mail->copies_bytes + bytes > COPIES_MAX_BYTES && mail->in_flight > 0) {
        return NULL;
    }
    if (!budget_take(&mail->producer->budget, bytes)) {
        return NULL;
    }
    record->copy = mem_try_alloc(bytes);
    if (record->copy == NULL) {
        budget_give(&mail->producer->budget, bytes);
        return NULL;
    }
    record->copy_bytes = bytes;
    mail->charged += bytes;
    mail->copies_bytes += bytes;
    memcpy(record->copy + prefix, mail->buffer + mail->room, mail->len);
    return record->copy + prefix;
}

static void record_release(struct mail *mail, struct mail_record *record)
{
    if (record->copy == NULL) {
        mail->buffer_lent = false;
        return;
    }
    mem_free(record->copy);
    record->copy = NULL;
    mail->copies_bytes -= record->copy_bytes;
    mail->charged -= record->copy_bytes;
    budget_give(&mail->producer->budget, record->copy_bytes);
}

/* False: fault; FAULT_LIMIT: not now. */
static bool send_record(struct mail *mail, struct mail_record *record, struct fault *fault)
{
    char tag[16];
    struct message message = mail_message(mail, record->group, record->id);
    size_t fields = message_encoded_size(&message);
    size_t tag_len = put_content_length(tag, mail->len);
    size_t prefix = fields + tag_len;
    char *content = NULL;
    if (!mail->buffer_lent && prefix <= mail->room) {
        mail->buffer_lent = true;
        content = mail->buffer + mail->room;
    } else {
        content = make_copy(mail, record, prefix);
    }
    if (content == NULL) {
        return fault_set(fault, FAULT_LIMIT, 0, "too many messages in memory");
    }
    put_fields(&message, fields, tag, tag_len, content);
    struct kafka_header header = {HEADER_ID, message.id};
    struct kafka_record_out out = {
        .topic = mail->topic,
        .partition = -1,
        .key = record->group->domain,
        .value = slice_of(content - prefix, prefix + mail->len),
        .borrow_value = true,
        .headers = &header,
        .header_count = 1,
        .delivery = &record->delivery,
    };
    record->delivery.done = delivered;
    if (!kafka_producer_send(mail->producer->kafka, &out, fault)) {
        record_release(mail, record);
        return false;
    }
    return true;
}

static void tell(struct mail *mail, const struct mail_reply *reply)
{
    mail_callback done = mail->done;
    mail->done = NULL;
    if (done != NULL) {
        done(mail->owner, mail, reply);
    }
}

/* "queued as ID ID…": one for each record, as far as they fit. */
static void say_queued(const struct mail *mail, struct mail_reply *reply)
{
    size_t shown = mail->record_count < IDS_IN_REPLY ? mail->record_count : IDS_IN_REPLY;
    mail_reply_set(reply, 250, "2.0.0", "Ok: queued as");
    size_t at = strlen(reply->text);
    for (size_t i = 0; i < shown; i++) {
        at += (size_t)snprintf(reply->text + at, sizeof(reply->text) - at, " %s",
                               mail->records[i].id);
    }
    if (shown < mail->record_count) {
        snprintf(reply->text + at, sizeof(reply->text) - at, " and %zu more",
                 mail->record_count - shown);
    }
}

static void finish(struct mail *mail)
{
    struct producer *producer = mail->producer;
    struct mail_reply reply = mail->failure;
    if (reply.code == 0) {
        say_queued(mail, &reply);
    }
    tell(mail, &reply);
    mail_free(&mail);
    producer_check_drained(producer);
}

static void fail(struct mail *mail, const struct fault *fault)
{
    char quoted[FAULT_TEXT_MAX + 100];
    if (mail->failure.code != 0) {
        return;
    }
    switch (fault->kind) {
    case FAULT_LIMIT:
        mail_reply_set(&mail->failure, 451, "4.3.1", "Too much is on its way, try again later");
        break;
    case FAULT_INVALID:
    case FAULT_REFUSED:
    case FAULT_NOT_FOUND:
        mail_reply_set(&mail->failure, 451, "4.3.5", "Not stored: the queue is not set up");
        break;
    case FAULT_NONE:
    case FAULT_TEMPORARY:
    case FAULT_TIMEOUT:
    case FAULT_CLOSED:
    case FAULT_SYSTEM:
    case FAULT_FATAL:
        mail_reply_set(&mail->failure, 451, "4.3.0", "Not stored, try again later");
        break;
    }
    log_debug("kafka", "id=%s kind=%s reason=%s", mail->records[0].id, fault_kind_name(fault->kind),
              log_quote(quoted, sizeof(quoted), slice_cstr(fault->text)));
}

static void log_recognised(const struct mail *mail, const struct mail_record *record)
{
    char key[3 * MESSAGE_KEY_MAX];
    log_info("recognised", "id=%s key=%s tenant=%.*s peer=%.*s partition=%d offset=%lld",
             record->id, log_quote(key, sizeof(key), mail->key), SLICE_FMT(mail->tenant),
             SLICE_FMT(mail->peer), (int)record->claim.partition, (long long)record->claim.offset);
}

static void log_stored(const struct mail *mail, const struct mail_record *record, int32_t partition,
                       int64_t offset)
{
    char user[200], campaign[200], domain[300];
    struct mono_time now = io_loop_now(mail->producer->loop);
    log_info("accepted",
             "id=%s domain=%s recipients=%zu tenant=%.*s user=%s campaign=%s pool=%.*s stream=%s "
             "bytes=%zu peer=%.*s partition=%d offset=%lld ms=%lld",
             record->id, log_quote(domain, sizeof(domain), record->group->domain),
             record->group->count, SLICE_FMT(mail->tenant),
             log_quote(user, sizeof(user), mail->user),
             log_quote(campaign, sizeof(campaign), mail->campaign), SLICE_FMT(mail->pool),
             mail->stream, mail->len, SLICE_FMT(mail->peer), (int)partition, (long long)offset,
             (long long)(mono_since_us(now, mail->started) / 1000));
}

static void delivered(struct kafka_delivery *delivery, int32_t partition, int64_t offset,
                      const struct fault *fault)
{
    struct mail_record *record = CONTAINER_OF(delivery, struct mail_record, delivery);
    struct mail *mail = record->mail;
    CHECK_MAGIC(mail, MAIL_MAGIC);
    CHECK(mail->in_flight > 0);
    mail->in_flight--;
    record_release(mail, record);
    if (fault == NULL) {
        log_stored(mail, record, partition, offset);
        if (record->claimed) {
            once_stored(mail->producer->once, slice_cstr(record->id), record->claim.token,
                        partition, offset);
        }
    } else {
        fail(mail, fault);
    }
    hand_over(mail);
}

static void too_late(struct timer *timer, struct mono_time now)
{
    struct mail *mail = CONTAINER_OF(timer, struct mail, timer);
    CHECK_MAGIC(mail, MAIL_MAGIC);
    (void)now;
    mail_give_up(mail);
}

static void again(struct timer *timer, struct mono_time now)
{
    struct mail *mail = CONTAINER_OF(timer, struct mail, timer);
    CHECK_MAGIC(mail, MAIL_MAGIC);
    (void)now;
    hand_over(mail);
}

static void not_stored(const struct mail *mail, struct mail_record *record)
{
    if (record->claimed) {
        once_not_stored(mail->producer->once, slice_cstr(record->id), record->claim.token);
        record->claimed = false;
    }
}

static void on_claim(struct once_claim *claim, enum once_result result)
{
    struct mail_record *record = CONTAINER_OF(claim, struct mail_record, claim);
    struct mail *mail = record->mail;
    CHECK_MAGIC(mail, MAIL_MAGIC);
    mail->in_flight--;
    switch (result) {
    case ONCE_YOURS:
    case ONCE_UNGUARDED: record->claimed = true; break;
    case ONCE_STORED:
        log_recognised(mail, record);
        mail->next++;
        break;
    case ONCE_UNKNOWN:
        if (mail->failure.code == 0) {
            mail_reply_set(&mail->failure, 451, "4.3.0",
                           "Not known yet whether it is stored already, try again later");
        }
        break;
    }
    if (mail->failure.code != 0) {
        not_stored(mail, record);
    }
    hand_over(mail);
}

/* False: fault. */
static bool claim(struct mail *mail, struct mail_record *record, struct fault *fault)
{
    int64_t left_us = mono_since_us(mail->give_up, io_loop_now(mail->producer->loop));
    struct once *once = producer_once(mail->producer, fault);
    if (once == NULL) {
        return false;
    }
    record->claim = (struct once_claim){
        .id = slice_cstr(record->id),
        .topic = slice_cstr(mail->topic),
        .key = record->group->domain,
        .patience_ms = left_us > 0 ? left_us / 1000 : 0,
        .answered = on_claim,
    };
    mail->in_flight++;
    once_claim(once, &record->claim);
    return true;
}

/* May free the mail. */
static void hand_over(struct mail *mail)
{
    struct io_loop *loop = mail->producer->loop;
    while (mail->next < mail->record_count && mail->failure.code == 0) {
        struct fault fault = {0};
        struct mail_record *record = &mail->records[mail->next];
        bool unclaimed = mail->key.len > 0 && !record->claimed;
        if (unclaimed && claim(mail, record, &fault)) {
            break; /* its answer calls again */
        }
        if (!unclaimed && send_record(mail, record, &fault)) {
            mail->next++;
            mail->in_flight++;
            continue;
        }
        bool in_time = mono_before(io_loop_now(loop), mail->give_up);
        if (fault.kind == FAULT_LIMIT && mail->in_flight > 0) {
            break; /* its report calls again */
        }
        if (fault.kind == FAULT_LIMIT && in_time) {
            wheel_set(io_loop_wheel(loop), &mail->timer,
                      mono_add_ms(io_loop_now(loop), QUEUE_FULL_RETRY_MS), again);
            return;
        }
        not_stored(mail, record);
        fail(mail, &fault);
    }
    if (mail->in_flight > 0) {
        wheel_set(io_loop_wheel(loop), &mail->timer, mono_add_ms(mail->give_up, PATIENCE_MS),
                  too_late);
        return;
    }
    wheel_cancel(io_loop_wheel(loop), &mail->timer);
    finish(mail);
}

static void first(struct io_task *task)
{
    struct mail *mail = CONTAINER_OF(task, struct mail, task);
    CHECK_MAGIC(mail, MAIL_MAGIC);
    hand_over(mail);
}

void mail_send_start(struct mail *mail)
{
    struct producer *producer = mail->producer;
    struct mono_time now = io_loop_now(producer->loop);
    mail->give_up = mono_add_ms(now, producer->config->producer.kafka_timeout_ms);
    list_push_back(&producer->mails, &mail->node);
    /* `done` must not run before the call that starts the work returns. */
    mail->task.run = first;
    io_loop_defer(producer->loop, &mail->task);
}

void mail_detach(struct mail *mail)
{
    CHECK_MAGIC(mail, MAIL_MAGIC);
    mail->done = NULL;
}

void mail_give_up(struct mail *mail)
{
    struct mail_reply reply;
    CHECK_MAGIC(mail, MAIL_MAGIC);
    mail_reply_set(&reply, 451, "4.3.0", "Not known to be stored, try again later");
    if (mail->failure.code == 0) {
        mail->failure = reply; /* what was not handed over stays here */
    }
    tell(mail, &reply);
}

void mail_abandon(struct mail *mail)
{
    mail_give_up(mail);
    if (mail->in_flight == 0) {
        mail_free(&mail);
    }
}

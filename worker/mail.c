#include "worker/mail.h"

#include "schema/headers.h"
#include "worker/copy.h"
#include "worker/intake.h"
#include "worker/unsubscribe.h"
#include "worker/worker.h"

#include "base/mem.h"

/* Room for the struct, the decoded envelope of a usual mail and its replies. */
#define MAIL_ARENA_FIRST 2048
/* What a record may make us keep beside its payload. */
#define MAIL_ARENA_MAX ((size_t)4 * 1024 * 1024)

struct mail *mail_create(struct worker *worker, struct kafka_record *record)
{
    struct arena *arena = arena_create(MAIL_ARENA_FIRST, MAIL_ARENA_MAX);
    if (arena == NULL) {
        return NULL;
    }
    struct mail *mail = arena_zalloc(arena, sizeof(*mail));
    mail->magic = MAIL_MAGIC;
    mail->worker = worker;
    mail->arena = arena;
    mail->record = *record;
    mail->ticket = kafka_record_ticket(record);
    mail->tenure = worker->tenures.last;
    mail->charged_bytes = record->value.len + arena_size_bytes(arena);
    atomic_init(&mail->holds, 1);
    list_init(&mail->copies);
    atomic_fetch_add_explicit(&worker->messages, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&worker->bytes, (long long)mail->charged_bytes, memory_order_relaxed);
    return mail;
}

void mail_free(struct mail **handle)
{
    struct mail *mail = *handle;
    if (mail == NULL) {
        return;
    }
    CHECK_MAGIC(mail, MAIL_MAGIC);
    CHECK(mail->site == NULL);
    atomic_fetch_sub_explicit(&mail->worker->messages, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&mail->worker->bytes, (long long)mail->charged_bytes,
                              memory_order_relaxed);
    if (mail->record.handle == NULL) {
        mem_free((void *)(uintptr_t)mail->record.value.ptr);
    }
    kafka_record_free(&mail->record);
    copies_free(mail);
    mem_free(mail->inherited);
    mail->magic = 0;
    struct arena *arena = mail->arena;
    arena_free(&arena);
    *handle = NULL;
}

static bool header_number(const struct mail *mail, const char *name, int64_t *value)
{
    struct slice text;
    uint64_t number;
    if (!kafka_record_header(&mail->record, name, &text) || !slice_to_u64(text, &number) ||
        number > INT64_MAX) {
        return false;
    }
    *value = (int64_t)number;
    return true;
}

static struct slice header_copy(const struct mail *mail, const char *name)
{
    struct slice text;
    if (!kafka_record_header(&mail->record, name, &text)) {
        return SLICE_NULL;
    }
    return arena_copy(mail->arena, text);
}

/* Where the record first came from: the header of a delay record, or itself. */
static void read_origin(struct mail *mail, struct message_origin *origin)
{
    struct slice text = header_copy(mail, HEADER_ORIGIN);
    if (text.ptr != NULL && header_origin_decode(text, origin)) {
        mail->origin = text;
        return;
    }
    char own[KAFKA_TOPIC_NAME_MAX + 40];
    int len = snprintf(own, sizeof(own), "%s/%d/%lld", mail->record.topic,
                       mail->record.partition_id, (long long)mail->record.offset);
    mail->origin = arena_copy(mail->arena, slice_of(own, (size_t)len));
    *origin = (struct message_origin){slice_cstr(mail->record.topic), mail->record.partition_id,
                                      mail->record.offset};
}

/* Which stream it came by: the subscription, or for a delay record the header. */
static void read_stream(struct mail *mail)
{
    const struct config *config = mail->worker->config;
    struct slice name;
    mail->stream = NULL;
    if (mail->record.source != KAFKA_SOURCE_TIER) {
        mail->stream = &config->streams[mail->record.index];
    } else if (kafka_record_header(&mail->record, HEADER_STREAM, &name)) {
        mail->stream = config_stream_named(config, name);
    }
    mail->klass = mail->stream == NULL ? CONFIG_CLASS_BULK : mail->stream->class_;
    if (mail->message.klass == MESSAGE_CLASS_TX) {
        mail->klass = CONFIG_CLASS_TRANSACTIONAL;
    } else if (mail->message.klass == MESSAGE_CLASS_MASS) {
        mail->klass = CONFIG_CLASS_BULK;
    }
}

/* All recipients are pending, or only those that the delay record names. */
static bool read_pending(struct mail *mail, struct fault *fault)
{
    size_t count = mail->message.recipient_count;
    struct slice text;
    mail->rcpts = arena_try_alloc(mail->arena, count * sizeof(*mail->rcpts));
    if (mail->rcpts == NULL) {
        return fault_set(fault, FAULT_LIMIT, 0, "recipients: no memory left for them");
    }
    memset(mail->rcpts, 0, count * sizeof(*mail->rcpts));
    mail->pending = (uint32_t)count;
    if (!kafka_record_header(&mail->record, HEADER_PENDING, &text)) {
        return true;
    }
    struct pending_set set;
    if (!pending_decode(text, count, &set, fault)) {
        return fault_prefix(fault, "header " HEADER_PENDING);
    }
    for (size_t i = 0; i < count; i++) {
        if (!pending_has(&set, i)) {
            mail_rcpt_set(mail, (uint32_t)i, MAIL_RCPT_SETTLED);
        }
    }
    return mail->pending > 0 ||
           fault_set(fault, FAULT_INVALID, 0, "header " HEADER_PENDING ": names nobody");
}

bool mail_decode(struct mail *mail, struct fault *fault)
{
    struct message_origin origin;
    struct slice attempt;
    int64_t number = 0;
    read_origin(mail, &origin);
    bool ok = message_decode(mail->record.value, &origin, mail->arena, &mail->message, fault);
    read_stream(mail);
    mail->attempt = 1;
    mail->fresh = mail->record.source != KAFKA_SOURCE_TIER ||
                  !kafka_record_header(&mail->record, HEADER_ATTEMPT, &attempt);
    if (header_number(mail, HEADER_ATTEMPT, &number) && number > 0 && number < 1000000) {
        mail->attempt = (uint32_t)number;
    }
    if (header_number(mail, HEADER_FIRST_SEEN_MS, &number)) {
        mail->first_seen_ms = number;
    } else {
        mail->first_seen_ms =
            mail->record.timestamp_ms > 0 ? mail->record.timestamp_ms : wall_now().ms;
    }
    mail->expires_ms = mail->message.expires_ms;
    if (header_number(mail, HEADER_EXPIRES_MS, &number)) {
        mail->expires_ms = number;
    }
    mail->due_ms = mail->message.not_before_ms;
    if (header_number(mail, HEADER_DUE_MS, &number)) {
        mail->due_ms = number;
    }
    mail->last = header_copy(mail, HEADER_LAST);
    mail->verp_domain = ok ? return_path_domain(mail) : NULL;
    mail->unsubscribe = ok && unsubscribe_wanted(mail);
    return ok && read_pending(mail, fault);
}

bool mail_detach_payload(struct mail *mail)
{
    struct slice old = mail->record.value;
    if (mail->record.handle == NULL || mail->record.copied) {
        return true;
    }
    char *copy = mem_try_alloc(old.len);
    struct slice key = arena_copy(mail->arena, mail->record.key);
    if (copy == NULL || (key.ptr == NULL && mail->record.key.ptr != NULL)) {
        mem_free(copy);
        return false;
    }
    memcpy(copy, old.ptr, old.len);
    if (mail->message.content.ptr != NULL) {
        mail->message.content.ptr = copy + (mail->message.content.ptr - old.ptr);
    }
    kafka_record_free(&mail->record);
    mail->record.value = slice_of(copy, old.len);
    mail->record.key = mail->record.key.ptr == NULL ? SLICE_NULL : key;
    return true;
}

size_t mail_transaction_size(const struct mail *mail, uint64_t most)
{
    most = mail->verp_domain != NULL || mail->unsubscribe ? 1 : most;
    return mail->pending > most ? (size_t)most : mail->pending;
}

size_t mail_pending(const struct mail *mail, uint32_t *indexes, size_t max)
{
    size_t n = 0;
    for (uint32_t i = 0; i < mail->message.recipient_count && n < max; i++) {
        if (mail->rcpts[i].state == MAIL_RCPT_PENDING) {
            indexes[n++] = i;
        }
    }
    return n;
}

void mail_rcpt_set(struct mail *mail, uint32_t index, enum mail_rcpt_state state)
{
    struct mail_rcpt *rcpt = &mail->rcpts[index];
    CHECK(rcpt->state == MAIL_RCPT_PENDING && state != MAIL_RCPT_PENDING);
    rcpt->state = state;
    mail->pending--;
    mail->deferred += state == MAIL_RCPT_DEFERRED ? 1 : 0;
    mail->held += state == MAIL_RCPT_HELD ? 1 : 0;
}

void mail_hold(struct mail *mail)
{
    atomic_fetch_add_explicit(&mail->holds, 1, memory_order_relaxed);
}

void mail_release(struct mail *mail)
{
    int before = atomic_fetch_sub_explicit(&mail->holds, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before == 1) {
        intake_close(mail->worker->intake, mail);
    }
}

void mail_send_home(struct mail *mail)
{
    CHECK(mail->site == NULL && !list_linked(&mail->node));
    list_remove(&mail->journal_node);
    mail->shard = NULL;
    mail->post.kind = MAIL_LETTER_SETTLED;
    intake_post(mail->worker->intake, mail);
}

enum config_duplicates mail_duplicates(const struct mail *mail)
{
    return mail->stream == NULL ? CONFIG_DUPLICATES_RARE : mail->stream->duplicates;
}

int64_t mail_age_ms(const struct mail *mail, struct wall_time now)
{
    int64_t age = now.ms - mail->first_seen_ms;
    return age > 0 ? age : 0;
}

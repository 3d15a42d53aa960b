/*
 * A message comes in: envelope, content, header, the rules. See mail.h.
 */
#include "producer/mail.h"

#include "base/mem.h"
#include "base/strbuf.h"
#include "producer/mail_private.h"
#include "smtp/address.h"
#include "smtp/xtext.h"

#define ARENA_FIRST_BYTES ((size_t)2048)
#define ARENA_FIXED_BYTES ((size_t)65536)
#define ARENA_RECIPIENT_BYTES ((size_t)2048)
#define BUFFER_FIRST_BYTES ((size_t)8192)
#define ENVID_MAX 100
#define ORCPT_MAX 500
#define KEY_TEXT_MAX_BYTES                                                                         \
    ((size_t)MESSAGE_RECIPIENTS_MAX * (SMTP_ADDRESS_MAX + 1) + MESSAGE_KEY_MAX)

void mail_reply_set(struct mail_reply *reply, uint16_t code, const char *enhanced,
                    const char *format, ...)
{
    va_list args;
    reply->code = code;
    reply->enhanced = enhanced;
    va_start(args, format);
    vsnprintf(reply->text, sizeof(reply->text), format, args);
    va_end(args);
}

static bool no_memory(struct mail_reply *reply)
{
    mail_reply_set(reply, 452, "4.3.1", "Too many messages in memory, try again later");
    return false;
}

static bool charge(struct mail *mail, size_t bytes)
{
    if (!budget_take(&mail->producer->budget, bytes)) {
        return false;
    }
    mail->charged += bytes;
    return true;
}

/* What the arena has grown by is charged. */
static bool charge_arena(struct mail *mail, size_t before)
{
    return charge(mail, arena_size_bytes(mail->arena) - before);
}

/* xtext to text in the arena; false: broken or too long. */
static bool decode_xtext(struct arena *arena, struct slice in, size_t max, struct slice *out)
{
    struct strbuf text;
    if (in.len == 0) {
        *out = SLICE_NULL;
        return true;
    }
    strbuf_init(&text, max);
    bool ok = smtp_xtext_decode(in, &text) && !slice_has_control(strbuf_slice(&text));
    *out = ok ? arena_copy(arena, strbuf_slice(&text)) : SLICE_NULL;
    strbuf_free(&text);
    return ok && out->ptr != NULL;
}

struct mail *mail_create(struct producer *producer, const struct mail_open *open,
                         struct mail_reply *reply)
{
    int64_t left = producer->budget.max - producer->budget.used;
    if (open->size_bytes > (uint64_t)(left > 0 ? left : 0)) {
        no_memory(reply);
        return NULL;
    }
    size_t recipients = producer->config->producer.max_recipients;
    struct arena *arena =
        arena_create(ARENA_FIRST_BYTES, ARENA_FIXED_BYTES + recipients * ARENA_RECIPIENT_BYTES);
    struct mail *mail = arena == NULL ? NULL : mem_zalloc(sizeof(*mail));
    if (mail == NULL) {
        no_memory(reply);
        return NULL;
    }
    mail->magic = MAIL_MAGIC;
    mail->producer = producer;
    mail->arena = arena;
    mail->started = io_loop_now(producer->loop);
    groups_init(&mail->groups, arena, MESSAGE_RECIPIENTS_MAX);
    mail->user = open->user.ptr == NULL ? SLICE_NULL : arena_copy(arena, open->user);
    mail->tenant = arena_copy(arena, open->tenant);
    mail->peer = arena_copy(arena, open->peer);
    mail->mail_from = arena_copy(arena, open->mail_from);
    mail->ret = arena_copy(arena, open->ret);
    mail->smtputf8 = open->smtputf8;
    mail->requiretls = open->requiretls;
    if (!decode_xtext(arena, open->envid, ENVID_MAX, &mail->envid) || slice_has_8bit(mail->envid)) {
        mail_reply_set(reply, 501, "5.5.4",
                       "ENVID has more than %d characters, or others than "
                       "printable ASCII",
                       ENVID_MAX);
        mail_free(&mail);
        return NULL;
    }
    if (!charge_arena(mail, 0)) {
        no_memory(reply);
        mail_free(&mail);
        return NULL;
    }
    return mail;
}

void mail_free(struct mail **handle)
{
    struct mail *mail = *handle;
    if (mail == NULL) {
        return;
    }
    CHECK_MAGIC(mail, MAIL_MAGIC);
    CHECK(mail->in_flight == 0);
    *handle = NULL;
    list_remove(&mail->node);
    wheel_cancel(io_loop_wheel(mail->producer->loop), &mail->timer);
    io_task_cancel(&mail->task);
    budget_give(&mail->producer->budget, mail->charged);
    groups_end(&mail->groups);
    mem_free(mail->buffer);
    arena_free(&mail->arena);
    mail->magic = 0;
    mem_free(mail);
}

/* By the tenant's or everybody's list. What its header lines say about lists of the tenant's is not
 * known yet: the worker looks at those. */
static bool is_suppressed(const struct mail *mail, struct slice address, struct slice domain,
                          struct mail_reply *reply)
{
    struct suppress_found found;
    char text[SUPPRESS_FOUND_TEXT_MAX];
    if (!suppress_check_address(mail->producer->suppressed, mail->tenant, address, domain,
                                wall_now().ms, &found)) {
        return false;
    }
    mail_reply_set(reply, 550, "5.7.1", "On the suppression list (%.*s)",
                   SLICE_FMT(suppress_found_text(&found, text)));
    return true;
}

bool mail_add_recipient(struct mail *mail, struct slice address, struct slice notify,
                        struct slice orcpt, struct mail_reply *reply)
{
    char domain[SMTP_DOMAIN_MAX + 1];
    char postmaster[SMTP_DOMAIN_MAX + 16];
    struct smtp_address parsed;
    struct fault fault;
    CHECK_MAGIC(mail, MAIL_MAGIC);
    if (slice_eq_nocase(address, SLICE("postmaster"))) { /* RFC 5321 section 4.5.1: ours */
        int len = snprintf(postmaster, sizeof(postmaster), "postmaster@%.*s",
                           SLICE_FMT(mail->producer->smtpd.host_name));
        address = slice_of(postmaster, (size_t)len);
    }
    if (!smtp_address_parse(address, &parsed, &fault) ||
        !smtp_domain_normalise(parsed.domain, domain, &fault)) {
        mail_reply_set(reply, 553, "5.1.3", "%s", fault.text);
        return false;
    }
    if (is_suppressed(mail, address, slice_cstr(domain), reply)) {
        return false;
    }
    struct message_recipient recipient = {.address = address, .dsn_notify = notify};
    struct slice rest = orcpt;
    struct slice type = slice_cut(&rest, ';');
    struct slice plain;
    if (!decode_xtext(mail->arena, rest, ORCPT_MAX, &plain)) {
        mail_reply_set(reply, 501, "5.5.4", "ORCPT is not valid");
        return false;
    }
    if (orcpt.len > 0) {
        char *text = arena_try_alloc(mail->arena, type.len + 1 + plain.len);
        if (text == NULL || plain.len == 0) {
            return no_memory(reply);
        }
        memcpy(text, type.ptr, type.len);
        text[type.len] = ';';
        memcpy(text + type.len + 1, plain.ptr, plain.len);
        recipient.dsn_orcpt = slice_of(text, type.len + 1 + plain.len);
    }
    /* Charged first: a recipient that was refused must not be in the record. */
    if (!charge(mail, sizeof(recipient) * 2 + address.len + notify.len + orcpt.len) ||
        !groups_add(&mail->groups, slice_cstr(domain), &recipient)) {
        mail_reply_set(reply, 452, "4.5.3", "Too many recipients");
        return false;
    }
    return true;
}

struct message mail_message(const struct mail *mail, const struct group *group, const char *id)
{
    return (struct message){
        .id = slice_cstr(id),
        .tenant = mail->tenant,
        .campaign = mail->campaign,
        .mail_from = mail->mail_from,
        .pool = mail->pool,
        .recipients = group->items,
        .recipient_count = group->count,
        .dsn_ret = mail->ret,
        .dsn_envid = mail->envid,
        .smtputf8 = mail->smtputf8,
        .requiretls = mail->requiretls,
    };
}

/* Room for the largest record's fields and for what the header gains. */
static size_t room_needed(const struct mail *mail)
{
    size_t most = 0;
    for (size_t i = 0; i < mail->groups.count; i++) {
        const struct group *group = mail->groups.items[i];
        struct message only = {.recipients = group->items, .recipient_count = group->count};
        size_t bytes = message_encoded_size(&only);
        most = bytes > most ? bytes : most;
    }
    return most + MAIL_RECORD_FIXED_BYTES + MAIL_ADDED_MAX_BYTES;
}

bool mail_begin_content(struct mail *mail, struct mail_reply *reply)
{
    CHECK_MAGIC(mail, MAIL_MAGIC);
    size_t room = room_needed(mail);
    size_t capacity = room + BUFFER_FIRST_BYTES;
    if (!charge(mail, capacity)) {
        return no_memory(reply);
    }
    mail->buffer = mem_try_alloc(capacity);
    if (mail->buffer == NULL) {
        return no_memory(reply);
    }
    mail->room = room;
    mail->capacity = capacity;
    return true;
}

/* Doubles until `needed` bytes fit, up to the greatest that a message can need. */
static bool grow(struct mail *mail, size_t needed)
{
    size_t most = mail->room + (size_t)mail->producer->max_message_bytes;
    size_t capacity = mail->capacity * 2;
    while (capacity < needed) {
        capacity *= 2;
    }
    capacity = capacity > most && needed <= most ? most : capacity;
    size_t more = capacity - mail->capacity;
    if (!budget_take(&mail->producer->budget, more)) {
        return false;
    }
    char *fresh = realloc(mail->buffer, capacity);
    if (fresh == NULL) {
        budget_give(&mail->producer->budget, more);
        return false;
    }
    mail->buffer = fresh;
    mail->capacity = capacity;
    mail->charged += more;
    return true;
}

static void drop_buffer(struct mail *mail)
{
    mem_free(mail->buffer);
    mail->buffer = NULL;
    budget_give(&mail->producer->budget, mail->capacity);
    mail->charged -= mail->capacity;
    mail->capacity = mail->len = 0;
}

void mail_add_content(struct mail *mail, struct slice piece)
{
    CHECK_MAGIC(mail, MAIL_MAGIC);
    if (mail->failure.code != 0) {
        return;
    }
    size_t needed = mail->room + mail->len + piece.len;
    if (needed > mail->capacity && !grow(mail, needed)) {
        no_memory(&mail->failure);
        drop_buffer(mail);
        return;
    }
    memcpy(mail->buffer + mail->room + mail->len, piece.ptr, piece.len);
    mail->len += piece.len;
}

static bool refused(struct mail_reply *reply, uint16_t code, const char *enhanced,
                    const struct fault *fault)
{
    mail_reply_set(reply, code, enhanced, "%s", fault->text);
    return false;
}

static bool may_use(const struct mail *mail, const struct user *user)
{
    const struct config *config = mail->producer->config;
    if (user != NULL) {
        return user_may_use(user, config, mail->pool);
    }
    return (config_pool_named(config, mail->pool) != NULL ||
            config_vip_named(config, mail->pool) != NULL) &&
           config_tenant_may_use(config, mail->tenant, mail->pool);
}

/* Which pool, campaign and stream: the message's own wishes first. See docs/submission.md. */
static bool take_wishes(struct mail *mail, const struct header_wishes *wishes,
                        struct mail_reply *reply)
{
    const struct producer *producer = mail->producer;
    const struct config *config = producer->config;
    const struct user *user = mail->user.ptr == NULL ? NULL : auth_user(producer->auth, mail->user);
    if (mail->user.ptr != NULL && user == NULL) {
        mail_reply_set(reply, 550, "5.7.1", "Your user does not exist any more");
        return false;
    }
    mail->pool = wishes->pool;
    bool listed = user != NULL && user->pool_count > 0;
    if (mail->pool.len == 0 && listed) {
        mail->pool = arena_copy(mail->arena, slice_cstr(user->pools[0]));
    }
    if (mail->pool.len > 0 && !may_use(mail, user)) {
        mail_reply_set(reply, 550, "5.7.1", "X-Virtual-MTA: no pool or VIP that you may use");
        return false;
    }
    mail->campaign = wishes->campaign;
    mail->key = wishes->key;
    if (mail->key.len > MESSAGE_KEY_MAX) {
        mail_reply_set(reply, 554, "5.6.0", "X-Sluice-Idempotency-Key: is longer than %d bytes",
                       MESSAGE_KEY_MAX);
        return false;
    }
    if (mail->envid.len == 0) {
        mail->envid = wishes->envid;
    }
    struct slice name =
        wishes->stream.ptr != NULL ? wishes->stream : slice_cstr(config->producer.default_stream);
    const struct config_stream *stream = config_stream_named(config, name);
    if (stream == NULL) {
        mail_reply_set(reply, 550, "5.7.1", "X-Sluice-Stream: there is no such stream");
        return false;
    }
    size_t size = strlen(config->kafka.prefix) + strlen(stream->name) + 3;
    char *topic = arena_zalloc(mail->arena, size);
    snprintf(topic, size, "%sq.%s", config->kafka.prefix, stream->name);
    mail->topic = topic;
    mail->stream = stream->name;
    return true;
}

/* Header and trace; afterwards room and len say where the content lies now. */
static void rewrite(struct mail *mail, const struct header *header,
                    const struct header_trace *trace)
{
    char received[HEADER_TRACE_MAX];
    char added[512];
    char date[HEADER_DATE_MAX];
    size_t len = 0;
    if (!header->has_date) {
        struct slice text = header_date(trace->now, date);
        len += (size_t)snprintf(added, sizeof(added), "Date: %.*s\r\n", SLICE_FMT(text));
    }
    if (!header->has_message_id) {
        len += (size_t)snprintf(added + len, sizeof(added) - len, "Message-ID: <%.*s@%.*s>\r\n",
                                SLICE_FMT(trace->id), SLICE_FMT(trace->host_name));
    }
    CHECK(len < sizeof(added));
    char *start = mail->buffer + mail->room;
    char *end = start + mail->len;
    start = header_rewrite(start, header, header_received(trace, received), slice_of(added, len));
    CHECK(start >= mail->buffer);
    mail->room = (size_t)(start - mail->buffer);
    mail->len = (size_t)(end - start);
}

/* The rules of all records; the content is looked through once. */
static bool check_records(struct mail *mail, struct fault *fault)
{
    for (size_t i = 0; i < mail->record_count; i++) {
        struct mail_record *record = &mail->records[i];
        struct message message = mail_message(mail, record->group, record->id);
        message.content =
            i == 0 ? slice_of(mail->buffer + mail->room, mail->len) : SLICE("X: y\r\n\r\n");
        if (!message_validate(&message, mail->arena, fault)) {
            return false;
        }
        mail->smtputf8 = mail->smtputf8 || message.smtputf8;
    }
    return true;
}

/* Of a mail with a key: of the key and the recipients, since a client may send one message in
 * several parts. */
static void id_of_key(const struct mail *mail, const struct group *group,
                      char id[UUID_TEXT_LEN + 1])
{
    struct strbuf text;
    strbuf_init(&text, KEY_TEXT_MAX_BYTES);
    strbuf_add_slice(&text, mail->key);
    for (size_t i = 0; i < group->count; i++) {
        strbuf_add_byte(&text, '\n');
        strbuf_add_slice(&text, group->items[i].address);
    }
    CHECK(!text.overflow);
    message_id_of_key(mail->tenant, strbuf_slice(&text), id);
    strbuf_free(&text);
}

static bool make_records(struct mail *mail)
{
    size_t count = mail->groups.count;
    mail->records = arena_try_alloc(mail->arena, count * sizeof(*mail->records));
    if (mail->records == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct mail_record *record = &mail->records[i];
        *record = (struct mail_record){.mail = mail, .group = mail->groups.items[i]};
        if (mail->key.len > 0) {
            id_of_key(mail, record->group, record->id);
        } else {
            struct uuid id = uuid_v7(wall_now());
            uuid_format(&id, record->id);
        }
    }
    mail->record_count = count;
    return true;
}

bool mail_submit(struct mail *mail, struct header_trace *trace, mail_callback done, void *owner,
                 struct mail_reply *reply)
{
    struct header header;
    struct fault fault;
    CHECK_MAGIC(mail, MAIL_MAGIC);
    size_t before = arena_size_bytes(mail->arena);
    if (mail->failure.code != 0) {
        *reply = mail->failure;
        return false;
    }
    if (!header_read(slice_of(mail->buffer + mail->room, mail->len), mail->arena, &header,
                     &fault)) {
        return refused(reply, 554, "5.6.0", &fault);
    }
    if (!take_wishes(mail, &header.wishes, reply)) {
        return false;
    }
    if (!make_records(mail)) {
        return no_memory(reply);
    }
    trace->id = slice_cstr(mail->records[0].id);
    rewrite(mail, &header, trace);
    if (!check_records(mail, &fault)) {
        return refused(reply, 554, "5.6.0", &fault);
    }
    if (!charge_arena(mail, before)) {
        return no_memory(reply);
    }
    mail->done = done;
    mail->owner = owner;
    mail_send_start(mail);
    return true;
}

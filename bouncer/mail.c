/* A mail comes in. See mail.h. */
#include "bouncer/mail.h"

#include "base/log.h"
#include "base/mem.h"
#include "bouncer/mail_private.h"

#include <stdarg.h>

#define ARENA_FIRST_BYTES ((size_t)1024)
#define ARENA_MAX_BYTES ((size_t)256 * 1024)
#define BUFFER_FIRST_BYTES ((size_t)16384)
#define TRACE_MAX_BYTES 2048
#define FACTS_WAIT_MS 10000
#define MAIL_EVENTS_MAX_BYTES ((size_t)64 * 1024 * 1024)

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

struct mail *mail_of(struct list *node)
{
    struct mail *mail = CONTAINER_OF(node, struct mail, node);
    CHECK_MAGIC(mail, MAIL_MAGIC);
    return mail;
}

static bool no_memory(struct mail_reply *reply)
{
    mail_reply_set(reply, 452, "4.3.1", "Too many messages in memory, try again later");
    return false;
}

bool mail_charge(struct mail *mail, size_t bytes)
{
    if (!budget_take(&mail->bouncer->budget, bytes)) {
        return false;
    }
    mail->charged += bytes;
    return true;
}

struct mail *mail_create(struct bouncer *bouncer, struct slice mail_from, uint64_t size_bytes,
                         struct mail_reply *reply)
{
    int64_t left = bouncer->budget.max - bouncer->budget.used;
    struct arena *arena = arena_create(ARENA_FIRST_BYTES, ARENA_MAX_BYTES);
    if (arena == NULL || size_bytes > (uint64_t)(left > 0 ? left : 0)) {
        arena_free(&arena);
        no_memory(reply);
        return NULL;
    }
    struct mail *mail = mem_zalloc(sizeof(*mail));
    struct uuid id = uuid_v7(wall_now());
    mail->magic = MAIL_MAGIC;
    mail->bouncer = bouncer;
    mail->arena = arena;
    mail->started = io_loop_now(bouncer->loop);
    mail->mail_from = arena_copy(arena, mail_from);
    mail->to = mem_calloc(bouncer->config->bouncer.max_recipients, sizeof(*mail->to));
    uuid_format(&id, mail->id);
    strbuf_init(&mail->encoded, MAIL_EVENTS_MAX_BYTES);
    if (!mail_charge(mail, ARENA_FIRST_BYTES)) {
        no_memory(reply);
        mail_free(&mail);
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
    CHECK(mail->in_flight == 0 && !mail->acting);
    *handle = NULL;
    list_remove(&mail->node);
    wheel_cancel(io_loop_wheel(mail->bouncer->loop), &mail->timer);
    io_task_cancel(&mail->task);
    budget_give(&mail->bouncer->budget, mail->charged);
    strbuf_free(&mail->encoded);
    mem_free(mail->events);
    mem_free(mail->buffer);
    mem_free(mail->to);
    arena_free(&mail->arena);
    mail->magic = 0;
    mem_free(mail);
}

/* What becomes of a mail is decided by the class of its addresses where an action names such: then
 * those of another class are to come in a mail of their own. */
static bool is_of_another_class(const struct mail *mail, enum address_class class)
{
    const struct config_bouncer *config = &mail->bouncer->config->bouncer;
    if (mail->to_count == 0 || mail->to[0].match.class == class) {
        return false;
    }
    for (size_t i = 0; i < config->action_count; i++) {
        if (config->actions[i].address_count > 0) {
            return true;
        }
    }
    return false;
}

bool mail_add_recipient(struct mail *mail, struct slice address, struct mail_reply *reply)
{
    struct bouncer *bouncer = mail->bouncer;
    struct mail_to to;
    CHECK_MAGIC(mail, MAIL_MAGIC);
    if (mail->to_count >= bouncer->config->bouncer.max_recipients) {
        mail_reply_set(reply, 452, "4.5.3", "Too many recipients");
        return false;
    }
    address_find(bouncer->config, bouncer->keys, address, wall_now(), &to.match);
    if (to.match.class == ADDRESS_FOREIGN) {
        mail_reply_set(reply, 550, "5.1.1", "No such address here");
        return false;
    }
    if (is_of_another_class(mail, to.match.class)) {
        mail_reply_set(reply, 452, "4.5.3", "Another kind of address, one kind at a time");
        return false;
    }
    to.address = arena_copy(mail->arena, address);
    if (to.address.ptr == NULL) {
        return no_memory(reply);
    }
    mail->to[mail->to_count++] = to;
    return true;
}

/* Printable, so that it can stand in a header field. */
static void add_clean(struct strbuf *out, struct slice text)
{
    for (size_t i = 0; i < text.len && i < 255; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        strbuf_add_byte(out, c <= ' ' || c == 0x7f ? '?' : (char)c);
    }
}

/* RFC 5321 4.4, and to whom the report was sent, which readers of reports look for. */
static void write_trace(const struct mail *mail, const struct mail_peer *peer, struct strbuf *out)
{
    char date[64];
    time_t now = (time_t)(wall_now().ms / 1000);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &tm);
    strbuf_add_cstr(out, "Return-Path: <");
    add_clean(out, mail->mail_from);
    strbuf_add_cstr(out, ">\r\nX-Original-To: ");
    add_clean(out, mail->to[0].address);
    strbuf_add_cstr(out, "\r\nReceived: from ");
    add_clean(out, peer->name);
    strbuf_addf(out, " ([%.*s])\r\n by %.*s (sluice-bouncer) with ESMTP%s id %s;\r\n %s\r\n",
                SLICE_FMT(peer->address), SLICE_FMT(mail->bouncer->host_name),
                peer->secure ? "S" : "", mail->id, date);
}

bool mail_begin_content(struct mail *mail, const struct mail_peer *peer, struct mail_reply *reply)
{
    struct strbuf trace;
    CHECK_MAGIC(mail, MAIL_MAGIC);
    CHECK(mail->to_count > 0 && mail->buffer == NULL);
    mail->peer_address = arena_copy(mail->arena, peer->address);
    mail->peer_name = arena_copy(mail->arena, peer->name);
    if (!mail_charge(mail, BUFFER_FIRST_BYTES)) {
        return no_memory(reply);
    }
    mail->buffer = mem_try_alloc(BUFFER_FIRST_BYTES);
    if (mail->buffer == NULL) {
        return no_memory(reply);
    }
    mail->capacity = BUFFER_FIRST_BYTES;
    strbuf_init(&trace, TRACE_MAX_BYTES);
    write_trace(mail, peer, &trace);
    memcpy(mail->buffer, trace.ptr, trace.len);
    mail->len = mail->trace_len = trace.len;
    strbuf_free(&trace);
    return true;
}

static bool grow(struct mail *mail, size_t needed)
{
    size_t capacity = mail->capacity;
    while (capacity < needed) {
        capacity *= 2;
    }
    size_t more = capacity - mail->capacity;
    if (!mail_charge(mail, more)) {
        return false;
    }
    char *fresh = realloc(mail->buffer, capacity);
    if (fresh == NULL) {
        return false; /* stays charged until the mail goes, which is now */
    }
    mail->buffer = fresh;
    mail->capacity = capacity;
    return true;
}

void mail_add_content(struct mail *mail, struct slice piece)
{
    CHECK_MAGIC(mail, MAIL_MAGIC);
    if (mail->failure.code != 0 || piece.len == 0) {
        return;
    }
    if (mail->len + piece.len > mail->capacity && !grow(mail, mail->len + piece.len)) {
        no_memory(&mail->failure);
        return;
    }
    memcpy(mail->buffer + mail->len, piece.ptr, piece.len);
    mail->len += piece.len;
}

static void process(struct io_task *task)
{
    struct mail *mail = CONTAINER_OF(task, struct mail, task);
    CHECK_MAGIC(mail, MAIL_MAGIC);
    mail_process(mail);
}

bool mail_submit(struct mail *mail, mail_callback done, void *owner, struct mail_reply *reply)
{
    struct bouncer *bouncer = mail->bouncer;
    struct mono_time now = io_loop_now(bouncer->loop);
    CHECK_MAGIC(mail, MAIL_MAGIC);
    if (mail->failure.code != 0) {
        *reply = mail->failure;
        return false;
    }
    mail->done = done;
    mail->owner = owner;
    mail->submitted = true;
    mail->facts_by = mono_add_ms(now, FACTS_WAIT_MS);
    mail->give_up = mono_add_ms(now, bouncer->config->bouncer.kafka_timeout_ms);
    list_push_back(&bouncer->mails, &mail->node);
    /* `done` must not run before the call that starts the work returns. */
    mail->task.run = process;
    io_loop_defer(bouncer->loop, &mail->task);
    return true;
}

/* ---- the answer ---- */

static void answer(struct mail *mail, const struct mail_reply *reply)
{
    mail_callback done = mail->done;
    mail->done = NULL;
    if (done != NULL) {
        done(mail->owner, mail, reply);
    }
}

void mail_fail(struct mail *mail, uint16_t code, const char *enhanced, const char *text)
{
    if (mail->failure.code == 0) {
        mail_reply_set(&mail->failure, code, enhanced, "%s", text);
    }
}

static void log_result(const struct mail *mail, const struct mail_reply *reply)
{
    char from[300], to[300], name[300];
    struct mono_time now = io_loop_now(mail->bouncer->loop);
    log_info("returned",
             "id=%s code=%u kind=%s events=%zu from=%s to=%s recipients=%zu bytes=%zu peer=%.*s "
             "name=%s ms=%lld",
             mail->id, reply->code, returned_kind_name(mail->kind), mail->event_count,
             log_quote(from, sizeof(from), mail->mail_from),
             log_quote(to, sizeof(to), mail->to[0].address), mail->to_count,
             mail->len - mail->trace_len, SLICE_FMT(mail->peer_address),
             log_quote(name, sizeof(name), mail->peer_name),
             (long long)(mono_since_us(now, mail->started) / 1000));
}

void mail_finish(struct mail *mail)
{
    struct bouncer *bouncer = mail->bouncer;
    struct mail_reply reply = mail->failure;
    if (reply.code == 0 && mail->refused) {
        mail_reply_set(&reply, 554, "5.4.0", "Refused where it was to be handed on");
    } else if (reply.code == 0) {
        mail_reply_set(&reply, 250, "2.0.0", "Ok: queued as %s", mail->id);
    }
    log_result(mail, &reply);
    answer(mail, &reply);
    mail_free(&mail);
    bouncer_check_drained(bouncer);
}

void mail_detach(struct mail *mail)
{
    CHECK_MAGIC(mail, MAIL_MAGIC);
    mail->done = NULL;
}

void mail_give_up(struct mail *mail)
{
    CHECK_MAGIC(mail, MAIL_MAGIC);
    mail_fail(mail, 451, "4.3.0", "Not known to be stored, try again later");
    answer(mail, &mail->failure);
}

void mail_abandon(struct mail *mail)
{
    mail_give_up(mail);
    if (mail->in_flight == 0 && !mail->acting) {
        mail_free(&mail);
    }
}

/* The engine's frame: states, bytes in and out, time, and the ways a session ends. See
 * client_private.h. */
#include "smtp/client_private.h"

#include "base/log.h"
#include "base/mem.h"

static const struct {
    const char *name;
    enum smtp_phase phase;
    const char *doing;
} states[] = {
#define STATE_ROW(name, phase, doing) [CLIENT_##name] = {#name, SMTP_PHASE_##phase, doing},
    CLIENT_STATES(STATE_ROW)
#undef STATE_ROW
};

static const struct {
    const char *word;
    enum smtp_phase phase;
    size_t timeout_at;
} verbs[] = {
#define VERB_ROW(verb, word, phase, timeout, handler)                                              \
    [CLIENT_VERB_##verb] = {word, SMTP_PHASE_##phase, offsetof(struct smtp_timeouts, timeout)},
    CLIENT_VERBS(VERB_ROW)
#undef VERB_ROW
};

void smtp_timeouts_default(struct smtp_timeouts *timeouts)
{
    *timeouts = (struct smtp_timeouts){
        .greeting_ms = 300000,
        .ehlo_ms = 300000,
        .starttls_ms = 120000,
        .mail_ms = 300000,
        .rcpt_ms = 300000,
        .data_ms = 120000,
        .block_ms = 180000,
        .dot_ms = 600000,
        .quit_ms = 5000,
    };
}

void client_set_state(struct smtp_client *client, enum client_state state)
{
    log_debug("smtp-client-state", "session=%p from=%s to=%s", (void *)client,
              states[client->state].name, states[state].name);
    client->state = state;
}

enum smtp_phase client_verb_phase(enum client_verb verb)
{
    return verbs[verb].phase;
}

const char *client_doing(const struct smtp_client *client)
{
    return states[client->state].doing;
}

const char *client_verb_word(enum client_verb verb)
{
    return verbs[verb].word;
}

struct smtp_client *smtp_client_create(const struct smtp_client_config *config)
{
    struct smtp_client *client = mem_zalloc(sizeof(*client));
    client->magic = SMTP_CLIENT_MAGIC;
    client->config = *config;
    client->deadline = MONO_NEVER;
    smtp_reply_init(&client->parser);
    strbuf_init(&client->out, CLIENT_OUT_MAX);
    return client;
}

void smtp_client_free(struct smtp_client **handle)
{
    struct smtp_client *client = *handle;
    if (client == NULL) {
        return;
    }
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    smtp_reply_free(&client->parser);
    strbuf_free(&client->out);
    client->magic = 0;
    mem_free(client);
    *handle = NULL;
}

/* ---- time ---- */

static int64_t verb_timeout_ms(const struct smtp_client *client, enum client_verb verb)
{
    int64_t ms;
    memcpy(&ms, (const char *)&client->config.timeouts + verbs[verb].timeout_at, sizeof(ms));
    return ms;
}

/* Something went forward: how long the next step may take from now on. */
void client_arm_deadline(struct smtp_client *client, struct mono_time now)
{
    int64_t ms = -1;
    if (client->state == CLIENT_HANDSHAKE) {
        ms = client->config.timeouts.starttls_ms;
    } else if (client->state != CLIENT_CLOSED && client->fifo_count > 0) {
        enum client_verb verb = client->fifo[client->fifo_head].verb;
        if (verb != CLIENT_VERB_DOT || client->dot_sent) {
            ms = verb_timeout_ms(client, verb);
        } else if (!smtp_content_held(&client->content)) {
            ms = client->config.timeouts.block_ms;
        }
    }
    if (client->envelope_held) {
        ms = -1; /* nothing was said yet */
    }
    client->deadline = ms < 0 ? MONO_NEVER : mono_add_ms(now, ms);
}

struct mono_time smtp_client_deadline(const struct smtp_client *client)
{
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    return client->deadline;
}

void client_expect(struct smtp_client *client, enum client_verb verb, uint32_t rcpt)
{
    CHECK(client->fifo_count < CLIENT_FIFO_MAX);
    unsigned at = (client->fifo_head + client->fifo_count++) % CLIENT_FIFO_MAX;
    client->fifo[at] = (struct client_expected){
        .verb = verb,
        .end = client->commands_sent + (uint32_t)(client->out.len - client->out_at),
        .rcpt = rcpt,
    };
}

enum smtp_phase smtp_client_phase(const struct smtp_client *client)
{
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    if (client->fifo_count > 0) {
        return verbs[client->fifo[client->fifo_head].verb].phase;
    }
    return states[client->state].phase;
}

void client_become_ready(struct smtp_client *client)
{
    client_set_state(client, CLIENT_READY);
    client->event_ready = true;
}

/* ---- the link ---- */

void smtp_client_start(struct smtp_client *client, bool secure, struct mono_time now)
{
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    CHECK(client->state == CLIENT_CREATED);
    client->secure = secure;
    client_set_state(client, CLIENT_GREETING);
    client_expect(client, CLIENT_VERB_GREETING, 0);
    client_arm_deadline(client, now);
}

void smtp_client_tls_done(struct smtp_client *client, bool ok, struct slice reason,
                          struct mono_time now)
{
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    if (client->state != CLIENT_HANDSHAKE) {
        return; /* the session ended meanwhile */
    }
    if (!ok) {
        client->tls_failed = true;
        client_end_with_text(client, SMTP_PHASE_STARTTLS, (struct smtp_enhanced){4, 7, 5},
                             "TLS failed", reason, now);
        return;
    }
    client->secure = true;
    client->event_starttls = false;
    client->capabilities = (struct smtp_capabilities){0};
    smtp_reply_reset(&client->parser);
    client_say_hello(client, true);
    client_arm_deadline(client, now);
}

void smtp_client_input(struct smtp_client *client, struct slice bytes, struct mono_time now)
{
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    bool answered = false;
    while (bytes.len > 0 && client->state != CLIENT_CLOSED) {
        if (client->state == CLIENT_HANDSHAKE) {
            client_protocol_error(client, SMTP_PHASE_STARTTLS, "bytes behind the reply to STARTTLS",
                                  now);
            return;
        }
        CHECK(client->state != CLIENT_CREATED);
        switch (smtp_reply_take(&client->parser, &bytes)) {
        case SMTP_REPLY_MORE: break;
        case SMTP_REPLY_LINE:
            if (client->state == CLIENT_HELLO && client->parser.lines > 1) {
                smtp_capability_take(&client->capabilities, client->parser.line);
            }
            break;
        case SMTP_REPLY_DONE:
            client_take_reply(client, now);
            answered = true;
            break;
        case SMTP_REPLY_BAD:
            client_protocol_error(client, smtp_client_phase(client), client->parser.problem, now);
            return;
        }
    }
    /* Bytes that complete no reply buy the peer no time. */
    if (answered) {
        client_arm_deadline(client, now);
    }
}

size_t smtp_client_output(struct smtp_client *client, struct iovec *pieces, size_t max)
{
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    size_t count = 0;
    if (client->envelope_held) {
        return 0;
    }
    if (max > 0 && client->out_at < client->out.len) {
        pieces[count++] = (struct iovec){.iov_base = client->out.ptr + client->out_at,
                                         .iov_len = client->out.len - client->out_at};
    }
    if (client->content_active && count < max) {
        count += smtp_content_output(&client->content, pieces + count, max - count);
    }
    return count;
}

/* Commands that went out; returns how many of `len` bytes they were. */
static size_t commands_sent(struct smtp_client *client, size_t len)
{
    size_t left = client->out.len - client->out_at;
    size_t taken = len < left ? len : left;
    client->out_at += taken;
    client->commands_sent += (uint32_t)taken;
    if (taken > 0 && client->out_at == client->out.len) {
        if (client->state == CLIENT_AUTH) {
            explicit_bzero(client->out.ptr, client->out.len);
        }
        client->out_at = 0;
        strbuf_reset(&client->out);
    }
    return taken;
}

static void ask_for_dot(struct smtp_client *client)
{
    bool said = client->envelope_held || client->out_at == client->out.len;
    if (client->content_active && !client->dot_asked && said &&
        smtp_content_held(&client->content)) {
        client->dot_asked = true;
        client->event_dot = true;
    }
}

/* Nothing of what is awaited has been sent. */
static bool is_unsaid(const struct smtp_client *client)
{
    uint32_t end = client->fifo[client->fifo_head].end;
    return client->fifo_count > 0 && client->out_at == 0 &&
           (int32_t)(client->commands_sent - end) < 0;
}

void client_begin_content(struct smtp_client *client, enum smtp_content_form form, bool hold)
{
    bool whole = hold && client->content.size_bytes <= SMTP_CLIENT_HOLD_BYTES;
    smtp_content_begin(&client->content, form,
                       whole  ? SMTP_CONTENT_HOLD_ALL
                       : hold ? SMTP_CONTENT_HOLD_END
                              : SMTP_CONTENT_HOLD_NONE);
    client->content_active = true;
    client->envelope_held = whole && form == SMTP_CONTENT_CHUNK && is_unsaid(client);
    client_set_state(client, CLIENT_CONTENT);
    ask_for_dot(client);
}

static void content_sent(struct smtp_client *client, size_t len, struct mono_time now)
{
    struct smtp_client_transaction *transaction = client->transaction;
    if (len > 0 && client->content.sent_bytes == 0 && transaction->data_replied.us == 0) {
        transaction->data_replied = now;
    }
    smtp_content_sent(&client->content, len);
    if (smtp_content_finished(&client->content)) {
        client->dot_sent = true;
        transaction->dot_sent = now;
        client->content_active = false;
        client_set_state(client, CLIENT_RESULT);
    }
    ask_for_dot(client);
}

bool smtp_client_is_ending(const struct smtp_client *client)
{
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    return client->content_active && smtp_content_is_ending(&client->content);
}

void smtp_client_sent(struct smtp_client *client, size_t len, struct mono_time now)
{
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    size_t commands = commands_sent(client, len);
    if (client->content_active && client->out_at == client->out.len) {
        content_sent(client, len - commands, now);
    } else {
        /* What the transport still took while the session ended is nobody's business any more. */
        CHECK(commands == len || client->state == CLIENT_CLOSED);
    }
    if (client->state == CLIENT_ENVELOPE) {
        client_advance(client, now);
    }
    if (client->state != CLIENT_CLOSED) {
        client_arm_deadline(client, now);
    }
}

void smtp_client_release_dot(struct smtp_client *client, struct mono_time now)
{
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    if (client->transaction == NULL || !client->content_active) {
        return; /* the session ended meanwhile */
    }
    client->event_dot = false;
    client->envelope_held = false;
    smtp_content_release(&client->content);
    client_arm_deadline(client, now);
}

/* ---- events and facts ---- */

void smtp_client_next_event(struct smtp_client *client, struct smtp_client_event *event)
{
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    *event = (struct smtp_client_event){.type = SMTP_CLIENT_EVENT_NONE};
    if (client->event_dot) {
        client->event_dot = false;
        event->type = SMTP_CLIENT_EVENT_DOT;
        event->transaction = client->transaction;
    } else if (client->done != NULL) {
        event->type = SMTP_CLIENT_EVENT_DONE;
        event->transaction = client->done;
        client->done = NULL;
    } else if (client->event_starttls) {
        client->event_starttls = false;
        event->type = SMTP_CLIENT_EVENT_STARTTLS;
    } else if (client->event_ready) {
        client->event_ready = false;
        event->type = SMTP_CLIENT_EVENT_READY;
    } else if (client->event_closed) {
        client->event_closed = false;
        event->type = SMTP_CLIENT_EVENT_CLOSED;
        event->outcome = &client->closed;
    }
}

bool smtp_client_ready(const struct smtp_client *client)
{
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    return client->state == CLIENT_READY && client->done == NULL;
}

uint32_t smtp_client_capabilities(const struct smtp_client *client)
{
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    return client->capabilities.flags;
}

uint64_t smtp_client_peer_size_limit(const struct smtp_client *client)
{
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    return client->capabilities.size_limit_bytes;
}

bool smtp_client_tls_failed(const struct smtp_client *client)
{
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    return client->tls_failed;
}

uint32_t smtp_client_transactions(const struct smtp_client *client)
{
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    return client->transaction_count;
}

/* What the client engine says, and when: the envelope with its extensions, within the window that
 * the peer allows. */
#include "smtp/client_private.h"

/* ---- building ---- */

static void add_u64(struct strbuf *out, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    strbuf_add(out, digits + at, sizeof(digits) - at);
}

static void add_parameter(struct strbuf *out, struct slice keyword, struct slice value)
{
    if (value.len > 0) {
        strbuf_add_slice(out, keyword);
        strbuf_add_slice(out, value);
    }
}

static void end_command(struct smtp_client *client, enum client_verb verb, uint32_t rcpt)
{
    strbuf_add_slice(&client->out, SLICE("\r\n"));
    CHECK(!client->out.overflow);
    client_expect(client, verb, rcpt);
}

void client_say(struct smtp_client *client, enum client_verb verb, struct slice line)
{
    strbuf_add_slice(&client->out, line);
    end_command(client, verb, 0);
}

void client_say_hello(struct smtp_client *client, bool extended)
{
    struct slice verb = client->config.lmtp ? SLICE("LHLO ") : SLICE("EHLO ");
    client_set_state(client, CLIENT_HELLO);
    strbuf_add_slice(&client->out, extended ? verb : SLICE("HELO "));
    strbuf_add_slice(&client->out, client->config.ehlo_name);
    end_command(client, extended ? CLIENT_VERB_EHLO : CLIENT_VERB_HELO, 0);
}

static bool offers(const struct smtp_client *client, enum smtp_capability capability)
{
    return (client->capabilities.flags & (uint32_t)capability) != 0;
}

static bool pipelines(const struct smtp_client *client)
{
    return client->config.use_pipelining && offers(client, SMTP_CAP_PIPELINING);
}

static void say_mail(struct smtp_client *client)
{
    const struct smtp_client_transaction *transaction = client->transaction;
    struct strbuf *out = &client->out;
    strbuf_add_slice(out, SLICE("MAIL FROM:<"));
    strbuf_add_slice(out, transaction->mail_from);
    strbuf_add_byte(out, '>');
    if (offers(client, SMTP_CAP_SIZE)) {
        strbuf_add_slice(out, SLICE(" SIZE="));
        add_u64(out, client->content.size_bytes);
    }
    if (transaction->body_8bit) {
        strbuf_add_slice(out, SLICE(" BODY=8BITMIME"));
    }
    if (transaction->smtputf8) {
        strbuf_add_slice(out, SLICE(" SMTPUTF8"));
    }
    if (offers(client, SMTP_CAP_DSN)) {
        add_parameter(out, SLICE(" RET="), transaction->ret);
        add_parameter(out, SLICE(" ENVID="), transaction->envid);
    }
    if (transaction->requiretls) {
        strbuf_add_slice(out, SLICE(" REQUIRETLS"));
    }
    end_command(client, CLIENT_VERB_MAIL, 0);
}

static void say_rcpt(struct smtp_client *client, uint32_t index)
{
    const struct smtp_client_rcpt *rcpt = &client->transaction->rcpts[index];
    struct strbuf *out = &client->out;
    strbuf_add_slice(out, SLICE("RCPT TO:<"));
    strbuf_add_slice(out, rcpt->address);
    strbuf_add_byte(out, '>');
    if (offers(client, SMTP_CAP_DSN)) {
        add_parameter(out, SLICE(" NOTIFY="), rcpt->notify);
        add_parameter(out, SLICE(" ORCPT="), rcpt->orcpt);
    }
    end_command(client, CLIENT_VERB_RCPT, index);
}

/* ---- the order of things ---- */

/* A chunk is preferred: no stuffing, no round trip. Empty content has no last byte that could be
 * held back. */
static bool wants_chunk(const struct smtp_client *client)
{
    return client->config.use_chunking && offers(client, SMTP_CAP_CHUNKING) &&
           (!client->transaction->hold_dot || client->content.size_bytes > 0);
}

static bool say_content_command(struct smtp_client *client)
{
    if (!wants_chunk(client)) {
        client->step = CLIENT_STEP_END;
        client_say(client, CLIENT_VERB_DATA, SLICE("DATA"));
        return true;
    }
    if (client->fifo_count > 0 && client->content.size_bytes > CLIENT_EAGER_CHUNK_BYTES) {
        return false;
    }
    client->step = CLIENT_STEP_END;
    strbuf_add_slice(&client->out, SLICE("BDAT "));
    add_u64(&client->out, client->content.size_bytes);
    strbuf_add_slice(&client->out, SLICE(" LAST"));
    end_command(client, CLIENT_VERB_DOT, 0);
    client_begin_content(client, SMTP_CONTENT_CHUNK, client->transaction->hold_dot);
    return true;
}

/* Says the next thing; false: nothing may be said now. */
static bool say_next(struct smtp_client *client)
{
    struct smtp_client_transaction *transaction = client->transaction;
    switch (client->step) {
    case CLIENT_STEP_RSET:
        client->step = CLIENT_STEP_MAIL;
        client->needs_reset = false;
        client_say(client, CLIENT_VERB_RSET, SLICE("RSET"));
        return true;
    case CLIENT_STEP_MAIL:
        client->step = CLIENT_STEP_RCPT;
        say_mail(client);
        return true;
    case CLIENT_STEP_RCPT:
        if (client->failed) {
            return false;
        }
        while (client->rcpt_next < transaction->rcpt_count &&
               transaction->rcpts[client->rcpt_next].outcome.result != SMTP_RESULT_NONE) {
            client->rcpt_next++;
        }
        if (client->rcpt_next < transaction->rcpt_count) {
            client->rcpt_pending++;
            say_rcpt(client, (uint32_t)client->rcpt_next++);
            return true;
        }
        client->step = CLIENT_STEP_DATA;
        return true;
    case CLIENT_STEP_DATA:
        if (client->failed || client->accepted + client->rcpt_pending == 0) {
            return false;
        }
        return say_content_command(client);
    case CLIENT_STEP_END: return false;
    }
    return false;
}

static bool has_window(const struct smtp_client *client)
{
    if (!pipelines(client)) {
        return client->fifo_count == 0;
    }
    return client->fifo_count < CLIENT_FIFO_MAX - 1 &&
           client->out.len - client->out_at < CLIENT_OUT_ENOUGH;
}

void client_advance(struct smtp_client *client, struct mono_time now)
{
    while (client->state == CLIENT_ENVELOPE && has_window(client) && say_next(client)) {
    }
    if (client->transaction != NULL && client->fifo_count == 0) {
        client_finish(client, now);
        client_become_ready(client);
    }
}

/* ---- begin of a transaction ---- */

void client_decide_all(struct smtp_client *client, struct smtp_outcome outcome)
{
    struct smtp_client_transaction *transaction = client->transaction;
    bool copied = false;
    for (size_t i = 0; i < transaction->rcpt_count; i++) {
        if (transaction->rcpts[i].outcome.result == SMTP_RESULT_NONE) {
            if (!copied) {
                outcome.text = arena_copy(transaction->arena, outcome.text);
                copied = true;
            }
            transaction->rcpts[i].outcome = outcome;
        }
    }
    client->accepted = 0;
}

/* What goes into a command line must not end it, and must leave room for the rest. The owner has
 * validated; this is the second lock. `blanks`: a quoted local part may hold them. */
static bool sayable(struct slice word, bool blanks)
{
    return word.len <= CLIENT_WORD_MAX && !slice_has_control(word) &&
           (blanks || slice_find_byte(word, ' ') < 0);
}

/* Why this message cannot be sent to this peer at all; class 0: it can. */
static struct smtp_outcome hindrance(const struct smtp_client *client)
{
    const struct smtp_client_transaction *transaction = client->transaction;
    struct smtp_enhanced status = {0};
    struct slice text = SLICE_NULL;
    uint64_t limit = client->capabilities.size_limit_bytes;
    if (!sayable(transaction->mail_from, true) || !sayable(transaction->ret, false) ||
        !sayable(transaction->envid, false)) {
        status = (struct smtp_enhanced){5, 1, 7};
        text = SLICE("the sender cannot be said in SMTP");
    } else if (limit > 0 && client->content.size_bytes > limit) {
        status = (struct smtp_enhanced){5, 3, 4};
        text = SLICE("the message is larger than the server takes");
    } else if (transaction->smtputf8 && !offers(client, SMTP_CAP_SMTPUTF8)) {
        status = (struct smtp_enhanced){5, 6, 7};
        text = SLICE("the server does not offer SMTPUTF8");
    } else if (transaction->body_8bit && !offers(client, SMTP_CAP_8BITMIME)) {
        status = (struct smtp_enhanced){5, 6, 3};
        text = SLICE("the server does not offer 8BITMIME");
    } else if (transaction->requiretls &&
               !(client->secure && offers(client, SMTP_CAP_REQUIRETLS))) {
        status = (struct smtp_enhanced){5, 7, 30};
        text = SLICE("the server does not offer REQUIRETLS");
    }
    return (struct smtp_outcome){
        .result = SMTP_RESULT_BOUNCED,
        .phase = SMTP_PHASE_MAIL,
        .scope = SMTP_SCOPE_MESSAGE,
        .enhanced = status,
        .text = text,
    };
}

/* Recipients start without verdict, unless their address cannot be said. Returns how many can. */
static size_t begin_recipients(struct smtp_client_transaction *transaction)
{
    size_t sayable_count = 0;
    for (size_t i = 0; i < transaction->rcpt_count; i++) {
        struct smtp_client_rcpt *rcpt = &transaction->rcpts[i];
        rcpt->outcome = (struct smtp_outcome){.result = SMTP_RESULT_NONE};
        if (sayable(rcpt->address, true) && sayable(rcpt->notify, false) &&
            sayable(rcpt->orcpt, false) && rcpt->address.len > 0) {
            sayable_count++;
            continue;
        }
        rcpt->outcome = (struct smtp_outcome){
            .result = SMTP_RESULT_BOUNCED,
            .phase = SMTP_PHASE_RCPT,
            .scope = SMTP_SCOPE_RECIPIENT,
            .enhanced = {5, 1, 3},
            .text = SLICE("the address cannot be said in SMTP"),
        };
    }
    return sayable_count;
}

void smtp_client_submit(struct smtp_client *client, struct smtp_client_transaction *transaction,
                        struct mono_time now)
{
    CHECK(smtp_client_ready(client));
    CHECK(transaction->rcpt_count <= UINT32_MAX);
    client->event_ready = false;
    client->transaction = transaction;
    client->rcpt_next = client->rcpt_pending = client->accepted = client->lmtp_next = 0;
    client->failed = client->dot_sent = client->dot_asked = false;
    client->step = client->needs_reset ? CLIENT_STEP_RSET : CLIENT_STEP_MAIL;
    smtp_content_measure(&client->content, transaction->content, transaction->content_count);
    transaction->size_bytes = client->content.size_bytes;
    transaction->started = now;
    transaction->mail_replied = transaction->rcpt_replied = transaction->data_replied =
        transaction->dot_sent = transaction->finished = (struct mono_time){0};
    size_t sayable_count = begin_recipients(transaction);
    struct smtp_outcome hindered = hindrance(client);
    if (hindered.enhanced.klass != 0 || sayable_count == 0) {
        client_decide_all(client, hindered);
        client_finish(client, now);
        client->transaction_count--; /* nothing was said */
        client->event_ready = true;
        return;
    }
    client_set_state(client, CLIENT_ENVELOPE);
    client_advance(client, now);
    client_arm_deadline(client, now);
}

void client_after_hello(struct smtp_client *client, struct mono_time now)
{
    enum smtp_tls_policy policy = client->config.tls;
    if (!client->secure && policy != SMTP_TLS_NEVER && offers(client, SMTP_CAP_STARTTLS)) {
        client_set_state(client, CLIENT_STARTTLS);
        client_say(client, CLIENT_VERB_STARTTLS, SLICE("STARTTLS"));
        return;
    }
    if (!client->secure && policy == SMTP_TLS_REQUIRED) {
        struct smtp_outcome outcome = {
            .result = SMTP_RESULT_DEFERRED,
            .phase = SMTP_PHASE_STARTTLS,
            .scope = SMTP_SCOPE_SITE,
            .enhanced = {4, 7, 10},
            .text = SLICE("TLS is required, but the server does not offer STARTTLS"),
        };
        client_end(client, outcome, SMTP_RESULT_NONE, true, now);
        return;
    }
    if (client->config.auth_user.ptr != NULL) {
        client_auth_begin(client, now);
        return;
    }
    client_become_ready(client);
}

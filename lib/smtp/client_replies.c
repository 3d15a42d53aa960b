/*
 * What a reply means, one function per verb. RFC 5321 section 4.2.1: the first digit decides (2
 * done, 3 go on, 4 later, 5 no); 421 closes whatever was going on (section 3.8).
 */
#include "smtp/client_private.h"

typedef void (*reply_handler)(struct smtp_client *client, struct mono_time now);

void client_answered(struct smtp_client *client)
{
    CHECK(client->fifo_count > 0);
    client->fifo_head = (client->fifo_head + 1) % CLIENT_FIFO_MAX;
    client->fifo_count--;
}

static const struct client_expected *awaited(const struct smtp_client *client)
{
    return &client->fifo[client->fifo_head];
}

static unsigned reply_class(const struct smtp_client *client)
{
    return client->parser.code / 100;
}

/* The reply as an outcome; result by its class. */
static struct smtp_outcome reply_outcome(const struct smtp_client *client, enum smtp_phase phase,
                                         enum smtp_scope scope)
{
    enum smtp_result result = SMTP_RESULT_DELIVERED;
    if (reply_class(client) == 4) {
        result = SMTP_RESULT_DEFERRED;
    } else if (reply_class(client) == 5) {
        result = SMTP_RESULT_BOUNCED;
    }
    return (struct smtp_outcome){
        .result = result,
        .phase = phase,
        .scope = scope,
        .code = client->parser.code,
        .enhanced = client->parser.enhanced,
        .text = smtp_reply_text(&client->parser),
    };
}

/* The peer closes with 421: whoever has no verdict of his own was not tried. */
static void peer_closes(struct smtp_client *client, enum smtp_phase phase, enum smtp_scope scope,
                        struct mono_time now)
{
    client_end(client, reply_outcome(client, phase, scope), SMTP_RESULT_NONE, false, now);
}

static void unexpected(struct smtp_client *client, struct mono_time now)
{
    char problem[80];
    enum client_verb verb = awaited(client)->verb;
    snprintf(problem, sizeof(problem), "reply code %u to %s", client->parser.code,
             client_verb_word(verb));
    client_protocol_error(client, client_verb_phase(verb), problem, now);
}

/* Refusals of the session's beginning. */
static void session_refused(struct smtp_client *client, enum smtp_scope scope, struct mono_time now)
{
    enum smtp_phase phase = client_verb_phase(awaited(client)->verb);
    struct smtp_outcome outcome = reply_outcome(client, phase, scope);
    client_end(client, outcome, SMTP_RESULT_NONE, client->parser.code != 421, now);
}

static bool is_refusal(const struct smtp_client *client)
{
    return reply_class(client) >= 4;
}

static void on_greeting(struct smtp_client *client, struct mono_time now)
{
    if (is_refusal(client)) {
        session_refused(client, SMTP_SCOPE_SITE, now);
    } else if (reply_class(client) == 2) {
        client_answered(client);
        client_say_hello(client, true);
    } else {
        unexpected(client, now);
    }
}

static void on_ehlo(struct smtp_client *client, struct mono_time now)
{
    bool extended = awaited(client)->verb == CLIENT_VERB_EHLO;
    if (reply_class(client) == 2) {
        if (!extended) {
            client->capabilities = (struct smtp_capabilities){0};
        } else if (client->parser.lines > 1) {
            smtp_capability_take(&client->capabilities, client->parser.line);
        }
        client_answered(client);
        client_after_hello(client, now);
    } else if (reply_class(client) == 5 && extended && !client->config.lmtp) {
        /* RFC 5321 section 3.2: an old server. */
        client->capabilities = (struct smtp_capabilities){0};
        client_answered(client);
        client_say_hello(client, false);
    } else if (is_refusal(client)) {
        session_refused(client, SMTP_SCOPE_SITE, now);
    } else {
        unexpected(client, now);
    }
}

static void on_starttls(struct smtp_client *client, struct mono_time now)
{
    if (client->parser.code == 220) {
        client_answered(client);
        client->event_starttls = true;
        client_set_state(client, CLIENT_HANDSHAKE);
    } else if (is_refusal(client)) {
        client->tls_failed = true;
        struct smtp_outcome outcome =
            reply_outcome(client, SMTP_PHASE_STARTTLS, SMTP_SCOPE_SESSION);
        outcome.result = SMTP_RESULT_DEFERRED;
        client_end(client, outcome, SMTP_RESULT_NONE, client->parser.code != 421, now);
    } else {
        unexpected(client, now);
    }
}

/* A refused password says nothing about a recipient: the mail waits until somebody has put it
 * right. */
static void on_auth(struct smtp_client *client, struct mono_time now)
{
    if (reply_class(client) == 2) {
        client_answered(client);
        client_become_ready(client);
    } else if (is_refusal(client)) {
        struct smtp_outcome outcome = reply_outcome(client, SMTP_PHASE_AUTH, SMTP_SCOPE_SITE);
        outcome.result = SMTP_RESULT_DEFERRED;
        client_end(client, outcome, SMTP_RESULT_NONE, client->parser.code != 421, now);
    } else {
        client_answered(client);
        if (client->parser.code != 334 || !client_auth_continue(client)) {
            client_protocol_error(client, SMTP_PHASE_AUTH, "AUTH goes on without end", now);
        }
    }
}

static void on_rset(struct smtp_client *client, struct mono_time now)
{
    if (client->parser.code == 421) {
        peer_closes(client, SMTP_PHASE_RSET, SMTP_SCOPE_SESSION, now);
    } else if (reply_class(client) == 2) {
        client_answered(client);
    } else {
        unexpected(client, now);
    }
}

static void on_mail(struct smtp_client *client, struct mono_time now)
{
    client->transaction->mail_replied = now;
    if (client->parser.code == 421) {
        peer_closes(client, SMTP_PHASE_MAIL, SMTP_SCOPE_SESSION, now);
        return;
    }
    if (reply_class(client) == 3) {
        unexpected(client, now);
        return;
    }
    client_answered(client);
    if (reply_class(client) == 2) {
        client->needs_reset = true;
        return;
    }
    client->failed = true;
    client_decide_all(client, reply_outcome(client, SMTP_PHASE_MAIL, SMTP_SCOPE_MESSAGE));
}

static void decide_one(struct smtp_client *client, struct smtp_client_rcpt *rcpt,
                       struct smtp_outcome outcome)
{
    outcome.text = arena_copy(client->transaction->arena, outcome.text);
    rcpt->outcome = outcome;
}

static void on_rcpt(struct smtp_client *client, struct mono_time now)
{
    struct smtp_client_rcpt *rcpt = &client->transaction->rcpts[awaited(client)->rcpt];
    client->transaction->rcpt_replied = now;
    bool closing = client->parser.code == 421;
    if (reply_class(client) == 3) {
        unexpected(client, now);
        return;
    }
    client_answered(client);
    client->rcpt_pending--;
    if (rcpt->outcome.result == SMTP_RESULT_NONE) {
        if (reply_class(client) == 2) {
            rcpt->outcome =
                (struct smtp_outcome){.phase = SMTP_PHASE_RCPT, .code = client->parser.code};
            client->accepted++;
        } else {
            decide_one(client, rcpt,
                       reply_outcome(client, SMTP_PHASE_RCPT,
                                     closing ? SMTP_SCOPE_SESSION : SMTP_SCOPE_RECIPIENT));
        }
    }
    if (closing) {
        peer_closes(client, SMTP_PHASE_RCPT, SMTP_SCOPE_SESSION, now);
    }
}

static void on_data(struct smtp_client *client, struct mono_time now)
{
    client->transaction->data_replied = now;
    if (client->parser.code == 421) {
        peer_closes(client, SMTP_PHASE_DATA, SMTP_SCOPE_SESSION, now);
    } else if (is_refusal(client)) {
        client_answered(client);
        client_decide_all(client, reply_outcome(client, SMTP_PHASE_DATA, SMTP_SCOPE_MESSAGE));
    } else if (client->parser.code != 354 || (client->accepted == 0 && client->config.lmtp)) {
        /* RFC 2033 section 4.2: LMTP's DATA must fail when there is no recipient to reply for. */
        unexpected(client, now);
    } else {
        client_answered(client);
        client_expect(client, CLIENT_VERB_DOT, 0);
        bool nobody = client->accepted == 0;
        if (nobody) {
            /* RFC 2920 section 3.1: an empty message, whose reply is of no interest. */
            smtp_content_measure(&client->content, NULL, 0);
        }
        client_begin_content(client, SMTP_CONTENT_DOT, client->transaction->hold_dot && !nobody);
    }
}

/* The server replied to the message before it was complete: a refusal is believed, but the dialogue
 * is out of step. */
static void on_early_verdict(struct smtp_client *client, struct mono_time now)
{
    if (!is_refusal(client)) {
        client_protocol_error(client, SMTP_PHASE_MESSAGE, "reply before the end of the message",
                              now);
        return;
    }
    struct smtp_outcome outcome = reply_outcome(client, SMTP_PHASE_MESSAGE, SMTP_SCOPE_MESSAGE);
    if (client->parser.code != 421) {
        client_decide_all(client, outcome);
    }
    outcome.result = SMTP_RESULT_DEFERRED;
    outcome.scope = SMTP_SCOPE_SESSION;
    client_end(client, outcome, SMTP_RESULT_NONE, false, now);
}

/* LMTP: one reply per accepted recipient, in their order (RFC 2033 section 4.2). */
static void on_lmtp_verdict(struct smtp_client *client, struct smtp_outcome outcome)
{
    struct smtp_client_transaction *transaction = client->transaction;
    while (transaction->rcpts[client->lmtp_next].outcome.result != SMTP_RESULT_NONE) {
        client->lmtp_next++;
        CHECK(client->lmtp_next < transaction->rcpt_count);
    }
    if (outcome.scope == SMTP_SCOPE_MESSAGE) {
        outcome.scope = SMTP_SCOPE_RECIPIENT;
    }
    decide_one(client, &transaction->rcpts[client->lmtp_next], outcome);
    client->accepted--;
}

static void on_dot(struct smtp_client *client, struct mono_time now)
{
    bool closing = client->parser.code == 421;
    if (!client->dot_sent) {
        on_early_verdict(client, now);
        return;
    }
    if (reply_class(client) == 3) {
        unexpected(client, now);
        return;
    }
    struct smtp_outcome outcome = reply_outcome(client, SMTP_PHASE_MESSAGE,
                                                closing ? SMTP_SCOPE_SESSION : SMTP_SCOPE_MESSAGE);
    /* RFC 3030 section 3: after a failed BDAT the server's state is not certain. */
    client->needs_reset = !client->content.stuff && is_refusal(client);
    if (client->config.lmtp && client->accepted > 0) {
        on_lmtp_verdict(client, outcome);
    } else {
        client_decide_all(client, outcome);
    }
    if (closing) {
        client_end(client, outcome, SMTP_RESULT_UNCERTAIN, false, now);
    } else if (client->accepted == 0) {
        client_answered(client);
    }
}

static void on_quit(struct smtp_client *client, struct mono_time now)
{
    client_end(client, (struct smtp_outcome){.phase = SMTP_PHASE_QUIT}, SMTP_RESULT_NONE, false,
               now);
}

static const reply_handler handlers[] = {
#define HANDLER_ROW(verb, word, phase, timeout, handler) [CLIENT_VERB_##verb] = on_##handler,
    CLIENT_VERBS(HANDLER_ROW)
#undef HANDLER_ROW
};

/* The peer may close at any time; anything else that answers nothing is an error. */
static void on_unsolicited(struct smtp_client *client, const char *problem, struct mono_time now)
{
    enum smtp_phase phase = smtp_client_phase(client);
    if (client->parser.code == 421) {
        enum smtp_scope scope =
            client->state <= CLIENT_HELLO ? SMTP_SCOPE_SITE : SMTP_SCOPE_SESSION;
        peer_closes(client, phase, scope, now);
    } else {
        client_protocol_error(client, phase, problem, now);
    }
}

void client_take_reply(struct smtp_client *client, struct mono_time now)
{
    if (client->fifo_count == 0) {
        on_unsolicited(client, "reply to nothing", now);
        return;
    }
    const struct client_expected *expected = awaited(client);
    if ((int32_t)(client->commands_sent - expected->end) < 0) {
        on_unsolicited(client, "reply before its command was sent", now);
        return;
    }
    handlers[expected->verb](client, now);
    if (client->state != CLIENT_CLOSED) {
        client_advance(client, now);
    }
}

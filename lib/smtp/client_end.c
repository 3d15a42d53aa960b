/* The ways a session and a transaction of the client engine end, and what then becomes of the
 * recipients. */
#include "smtp/client_private.h"

void client_finish(struct smtp_client *client, struct mono_time now)
{
    struct smtp_client_transaction *transaction = client->transaction;
    transaction->finished = now;
    client->transaction = NULL;
    client->done = transaction;
    client->event_dot = false;
    client->content_active = false;
    client->transaction_count++;
}

/* Recipients without verdict, at the end of the session. */
static void abandon_transaction(struct smtp_client *client, struct smtp_outcome outcome,
                                enum smtp_result lost_result, struct mono_time now)
{
    outcome.result = SMTP_RESULT_NONE;
    if (client->dot_sent && lost_result != SMTP_RESULT_NONE) {
        outcome.result = lost_result;
        outcome.phase = SMTP_PHASE_MESSAGE;
    }
    client_decide_all(client, outcome);
    client_finish(client, now);
}

void client_end(struct smtp_client *client, struct smtp_outcome outcome,
                enum smtp_result lost_result, bool polite, struct mono_time now)
{
    CHECK(client->state != CLIENT_CLOSED);
    if (outcome.text.len > sizeof(client->closed_text)) {
        outcome.text.len = sizeof(client->closed_text);
        while (outcome.text.len > 0 && (outcome.text.ptr[outcome.text.len] & 0xc0) == 0x80) {
            outcome.text.len--; /* not in the middle of a character */
        }
    }
    if (outcome.text.len > 0) {
        memcpy(client->closed_text, outcome.text.ptr, outcome.text.len);
    }
    outcome.text.ptr = client->closed_text;
    client->closed = outcome;
    bool quiet =
        client->envelope_held || (client->out_at == client->out.len && !client->content_active);
    if (client->transaction != NULL) {
        abandon_transaction(client, outcome, lost_result, now);
    }
    client->content_active = client->envelope_held = false;
    client->fifo_count = 0;
    client->out_at = 0;
    strbuf_reset(&client->out);
    if (polite && quiet) {
        strbuf_add_slice(&client->out, SLICE("QUIT\r\n"));
    }
    client->event_starttls = client->event_ready = false;
    client->event_closed = true;
    client_set_state(client, CLIENT_CLOSED);
    client->deadline = MONO_NEVER;
}

/* The end that QUIT asked for, whatever brings it. */
static void end_after_quit(struct smtp_client *client, struct mono_time now)
{
    client_end(client, (struct smtp_outcome){.phase = SMTP_PHASE_QUIT}, SMTP_RESULT_NONE, false,
               now);
}

void client_end_with_text(struct smtp_client *client, enum smtp_phase phase,
                          struct smtp_enhanced enhanced, const char *what, struct slice reason,
                          struct mono_time now)
{
    char text[CLIENT_CLOSED_TEXT_MAX];
    int len = snprintf(text, sizeof(text), "%s %s%s%.*s", what, client_doing(client),
                       reason.len > 0 ? ": " : "", SLICE_FMT(slice_head(reason, 300)));
    struct smtp_outcome outcome = {
        .result = SMTP_RESULT_DEFERRED,
        .phase = phase,
        .scope = client->state <= CLIENT_GREETING ? SMTP_SCOPE_SITE : SMTP_SCOPE_SESSION,
        .enhanced = enhanced,
        .text = slice_of(text, (size_t)len),
    };
    client_end(client, outcome, SMTP_RESULT_UNCERTAIN, false, now);
}

void client_protocol_error(struct smtp_client *client, enum smtp_phase phase, const char *problem,
                           struct mono_time now)
{
    if (client->state == CLIENT_QUIT) {
        end_after_quit(client, now);
        return;
    }
    client_end_with_text(client, phase, (struct smtp_enhanced){5, 5, 0}, "protocol error",
                         slice_cstr(problem), now);
}

void smtp_client_lost(struct smtp_client *client, struct slice reason, struct mono_time now)
{
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    if (client->state == CLIENT_CLOSED) {
        return;
    }
    if (client->state == CLIENT_QUIT) {
        end_after_quit(client, now);
        return;
    }
    if (client->state == CLIENT_CREATED) {
        /* There never was a link: the reason says it all. */
        const struct smtp_outcome outcome = {
            .result = SMTP_RESULT_DEFERRED,
            .phase = SMTP_PHASE_CONNECT,
            .scope = SMTP_SCOPE_SITE,
            .enhanced = {4, 4, 1},
            .text = reason,
        };
        client_end(client, outcome, SMTP_RESULT_UNCERTAIN, false, now);
        return;
    }
    client_end_with_text(client, smtp_client_phase(client), (struct smtp_enhanced){4, 4, 2},
                         "link lost", reason, now);
}

void smtp_client_timeout(struct smtp_client *client, struct mono_time now)
{
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    if (client->deadline.us == MONO_NEVER.us || mono_before(now, client->deadline)) {
        return;
    }
    if (client->state == CLIENT_QUIT) {
        end_after_quit(client, now);
        return;
    }
    struct slice reason = SLICE_NULL;
    if (client->fifo_count > 0) {
        reason = slice_cstr(client_verb_word(client->fifo[client->fifo_head].verb));
    }
    client_end_with_text(client, smtp_client_phase(client), (struct smtp_enhanced){4, 4, 2},
                         "timed out", reason, now);
}

void smtp_client_quit(struct smtp_client *client, struct mono_time now)
{
    CHECK_MAGIC(client, SMTP_CLIENT_MAGIC);
    if (client->state == CLIENT_CLOSED || client->state == CLIENT_QUIT) {
        return;
    }
    if (client->state == CLIENT_READY) {
        client->event_ready = false;
        client_set_state(client, CLIENT_QUIT);
        client_say(client, CLIENT_VERB_QUIT, SLICE("QUIT"));
        client_arm_deadline(client, now);
        return;
    }
    struct smtp_outcome outcome = {
        .phase = smtp_client_phase(client),
        .scope = SMTP_SCOPE_SESSION,
        .text = SLICE("the session was ended on our side"),
    };
    client_end(client, outcome, SMTP_RESULT_UNCERTAIN, false, now);
}

#include "worker/settle.h"

#include "worker/delay.h"
#include "worker/worker.h"

#include "schema/headers.h"

#define LAST_TEXT_MAX 400

bool settle_is_expired(const struct mail *mail, struct wall_time now)
{
    return mail->expires_ms > 0 && now.ms >= mail->expires_ms;
}

/* Keeps what the peer said for the expired event of a later round. */
static void remember(struct mail *mail, const struct smtp_outcome *outcome)
{
    char text[LAST_TEXT_MAX];
    char enhanced[SMTP_ENHANCED_TEXT_MAX];
    smtp_enhanced_format(outcome->enhanced, enhanced);
    int len = snprintf(text, sizeof(text), "%u %s %.*s", outcome->code, enhanced,
                       (int)(outcome->text.len < 300 ? outcome->text.len : 300),
                       outcome->text.ptr == NULL ? "" : outcome->text.ptr);
    struct slice kept = arena_copy(mail->arena, slice_of(text, (size_t)len));
    if (kept.ptr != NULL) {
        mail->last = kept;
    }
}

/* When this mail's deferred recipients are tried again: by the schedule, but not past the expiry,
 * where they end. */
static int64_t next_attempt_ms(struct mail *mail, const struct config_site *site,
                               struct wall_time now)
{
    if (mail->expires_ms == 0) {
        mail->expires_ms = mail->first_seen_ms + site->bounce_after_ms;
    }
    int64_t due = now.ms + delay_retry_wait_ms(site, mail->attempt);
    return due < mail->expires_ms ? due : mail->expires_ms;
}

/* One more recipient is tried again; all of a round at the same time. */
static int64_t defer(struct mail *mail, const struct smtp_outcome *outcome,
                     const struct config_site *site)
{
    if (mail->deferred == 0) {
        mail->due_ms = next_attempt_ms(mail, site, wall_now());
        remember(mail, outcome);
    }
    return mail->due_ms;
}

static enum mail_rcpt_state state_of_uncertain(const struct mail *mail)
{
    switch (mail->stream == NULL ? CONFIG_UNCERTAIN_RESEND : mail->stream->on_uncertain) {
    case CONFIG_UNCERTAIN_RESEND: return MAIL_RCPT_DEFERRED;
    case CONFIG_UNCERTAIN_HOLD: return MAIL_RCPT_HELD;
    case CONFIG_UNCERTAIN_DROP: break;
    }
    return MAIL_RCPT_SETTLED;
}

void settle_recipient(struct settler *settler, struct mail *mail, uint32_t index,
                      const struct smtp_outcome *outcome, const struct report_facts *facts,
                      const struct config_site *site)
{
    enum event_type type = EVENT_NONE;
    enum mail_rcpt_state state = MAIL_RCPT_SETTLED;
    switch (outcome->result) {
    case SMTP_RESULT_DELIVERED: type = EVENT_DELIVERED; break;
    case SMTP_RESULT_BOUNCED: type = EVENT_BOUNCED; break;
    case SMTP_RESULT_UNCERTAIN:
        type = EVENT_UNCERTAIN;
        state = state_of_uncertain(mail);
        break;
    case SMTP_RESULT_DEFERRED:
        type = EVENT_DEFERRED;
        state = MAIL_RCPT_DEFERRED;
        break;
    case SMTP_RESULT_NONE: break;
    }
    CHECK(type != EVENT_NONE);
    int64_t next_ms = state == MAIL_RCPT_DEFERRED ? defer(mail, outcome, site) : 0;
    report_recipient(settler->reporter, mail, index, type, outcome, facts, next_ms);
    mail_rcpt_set(mail, index, state);
}

static void note_again(struct mail_rcpt *rcpt, const struct ledger_outcome *outcome,
                       struct slice text)
{
    rcpt->told = true;
    rcpt->result = outcome->result;
    rcpt->code = outcome->code;
    rcpt->enhanced = outcome->enhanced;
    rcpt->text = text;
    rcpt->due_ms = outcome->due_ms;
}

void settle_again(struct settler *settler, struct mail *mail, uint32_t index,
                  const struct ledger_outcome *outcome)
{
    const struct report_facts facts = {0};
    struct smtp_outcome told = {
        .phase = SMTP_PHASE_MESSAGE,
        .scope = SMTP_SCOPE_RECIPIENT,
        .code = outcome->code,
        .enhanced = outcome->enhanced,
        .text = arena_copy(mail->arena, outcome->text),
    };
    enum event_type type = EVENT_NONE;
    enum mail_rcpt_state state = MAIL_RCPT_SETTLED;
    switch (outcome->result) {
    case LEDGER_UNTRIED: note_again(&mail->rcpts[index], outcome, told.text); return;
    case LEDGER_DELIVERED:
        told.result = SMTP_RESULT_DELIVERED;
        type = EVENT_DELIVERED;
        break;
    case LEDGER_BOUNCED:
        told.result = SMTP_RESULT_BOUNCED;
        type = EVENT_BOUNCED;
        break;
    case LEDGER_EXPIRED:
        told.result = SMTP_RESULT_BOUNCED;
        type = EVENT_EXPIRED;
        break;
    case LEDGER_DROPPED:
        report_dropped_recipient(settler->reporter, mail, index, SLICE("policy"), told.text);
        break;
    case LEDGER_DEFERRED:
        told.result = SMTP_RESULT_DEFERRED;
        type = EVENT_DEFERRED;
        state = MAIL_RCPT_DEFERRED;
        break;
    case LEDGER_UNCERTAIN:
        told.result = SMTP_RESULT_UNCERTAIN;
        type = EVENT_UNCERTAIN;
        state = state_of_uncertain(mail);
        break;
    }
    if (state == MAIL_RCPT_DEFERRED && mail->deferred == 0) {
        mail->due_ms = outcome->due_ms > 0 ? outcome->due_ms : wall_now().ms;
        remember(mail, &told);
    }
    if (type != EVENT_NONE) {
        report_recipient(settler->reporter, mail, index, type, &told, &facts,
                         state == MAIL_RCPT_DEFERRED ? mail->due_ms : 0);
    }
    mail_rcpt_set(mail, index, state);
    note_again(&mail->rcpts[index], outcome, told.text);
}

void settle_pending(struct settler *settler, struct mail *mail, const struct smtp_outcome *outcome,
                    const struct report_facts *facts, const struct config_site *site)
{
    for (uint32_t i = 0; i < mail->message.recipient_count; i++) {
        if (mail->rcpts[i].state == MAIL_RCPT_PENDING) {
            settle_recipient(settler, mail, i, outcome, facts, site);
        }
    }
}

/* The shard's own hold goes; what is on its way to Kafka keeps the ticket open. */
static void let_go(const struct settler *settler, struct mail **handle)
{
    struct mail *mail = *handle;
    CHECK(!list_linked(&mail->node));
    if (mail->held > 0) {
        delay_hold(mail);
    }
    if (mail->in_flight && !list_empty(&mail->copies)) {
        journal_writer_left(settler->journal, mail); /* the next owner writes the copies */
    }
    dns_site_unref(&mail->site);
    *handle = NULL;
    mail_send_home(mail);
}

void settle_round(struct settler *settler, struct mail **handle)
{
    struct mail *mail = *handle;
    CHECK_MAGIC(mail, MAIL_MAGIC);
    CHECK(mail->pending == 0 && mail->worker == settler->worker);
    if (mail->deferred > 0) {
        struct delay_request request = {.due_ms = mail->due_ms,
                                        .attempt = mail->attempt + 1,
                                        .exact = mail->due_ms == mail->expires_ms};
        delay_send(mail, &request);
    }
    let_go(settler, handle);
}

void settle_expired(struct settler *settler, struct mail **handle, const struct report_facts *facts)
{
    struct mail *mail = *handle;
    const struct smtp_outcome outcome = {
        .result = SMTP_RESULT_BOUNCED,
        .scope = SMTP_SCOPE_MESSAGE,
        .enhanced = {4, 4, 7},
        .text = mail->last,
    };
    for (uint32_t i = 0; i < mail->message.recipient_count; i++) {
        if (mail->rcpts[i].state == MAIL_RCPT_PENDING) {
            report_recipient(settler->reporter, mail, i, EVENT_EXPIRED, &outcome, facts, 0);
            mail_rcpt_set(mail, i, MAIL_RCPT_SETTLED);
        }
    }
    settle_round(settler, handle);
}

void settle_dropped(struct settler *settler, struct mail **handle, struct slice reason,
                    struct slice detail, bool dead_letter)
{
    struct mail *mail = *handle;
    report_dropped(settler->reporter, mail, reason, detail);
    if (dead_letter) {
        const struct kafka_header headers[] = {
            {HEADER_REASON, reason},
            {HEADER_DETAIL, detail},
            {HEADER_ORIGIN, mail->origin},
        };
        copy_add(mail, mail->worker->topics.dlq, SLICE_NULL, headers, ARRAY_LEN(headers));
    }
    let_go(settler, handle);
}

bool settle_suppressed(struct settler *settler, struct mail *mail, struct suppress_checker *checker,
                       struct wall_time now)
{
    char text[SUPPRESS_FOUND_TEXT_MAX];
    struct suppress_found found;
    for (uint32_t i = 0; i < mail->message.recipient_count; i++) {
        if (mail->rcpts[i].state == MAIL_RCPT_PENDING &&
            suppress_check_message(checker, &mail->message, i, now.ms, &found)) {
            report_dropped_recipient(settler->reporter, mail, i, SLICE("suppressed"),
                                     suppress_found_text(&found, text));
            mail_rcpt_set(mail, i, MAIL_RCPT_SETTLED);
        }
    }
    return mail->pending > 0;
}

void settle_later(struct settler *settler, struct mail **handle, const struct report_wait *wait)
{
    struct mail *mail = *handle;
    /* Who was deferred in this round has had its attempt. */
    struct delay_request request = {
        .due_ms = wait->due_ms,
        .attempt = mail->attempt + (mail->deferred > 0 ? 1 : 0),
        .exact = wait->exact,
        .spilled = wait->spilled,
        .slow = wait->slow,
    };
    if (wait->reason != NULL) {
        report_postponed(settler->reporter, mail, wait, request.attempt);
    }
    delay_send(mail, &request);
    worker_count(settler->worker, WORKER_SPILLED, 1);
    if (mail->record.source == KAFKA_SOURCE_TIER && mail->deferred == 0) {
        worker_count(settler->worker, WORKER_REWRITTEN, 1);
    }
    let_go(settler, handle);
}

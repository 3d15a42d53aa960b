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

void settle_recipient(struct settler *settler, struct mail *mail, uint32_t index,
                      const struct smtp_outcome *outcome, const struct report_facts *facts,
                      const struct config_site *site)
{
    enum event_type type = EVENT_NONE;
    int64_t next_ms = 0;
    switch (outcome->result) {
    case SMTP_RESULT_DELIVERED: type = EVENT_DELIVERED; break;
    case SMTP_RESULT_BOUNCED: type = EVENT_BOUNCED; break;
    case SMTP_RESULT_UNCERTAIN: type = EVENT_UNCERTAIN; break;
    case SMTP_RESULT_DEFERRED:
        type = EVENT_DEFERRED;
        if (mail->deferred == 0) {
            mail->due_ms = next_attempt_ms(mail, site, wall_now());
            remember(mail, outcome);
        }
        next_ms = mail->due_ms;
        break;
    case SMTP_RESULT_NONE: break;
    }
    CHECK(type != EVENT_NONE);
    report_recipient(settler->reporter, mail, index, type, outcome, facts, next_ms);
    mail_rcpt_set(mail, index, type == EVENT_DEFERRED ? MAIL_RCPT_DEFERRED : MAIL_RCPT_SETTLED);
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
static void let_go(struct mail **handle)
{
    struct mail *mail = *handle;
    CHECK(!list_linked(&mail->node));
    dns_site_unref(&mail->site);
    *handle = NULL;
    mail_release(mail);
}

void settle_round(struct settler *settler, struct mail **handle)
{
    struct mail *mail = *handle;
    CHECK_MAGIC(mail, MAIL_MAGIC);
    CHECK(mail->pending == 0);
    if (mail->deferred > 0) {
        struct delay_request request = {.due_ms = mail->due_ms,
                                        .attempt = mail->attempt + 1,
                                        .exact = mail->due_ms == mail->expires_ms};
        delay_send(settler->outbox, mail, &request);
    }
    let_go(handle);
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
        outbox_send_copy(settler->outbox, mail, mail->worker->topics.dlq, mail->record.partition_id,
                         headers, ARRAY_LEN(headers));
    }
    let_go(handle);
}

void settle_later(struct settler *settler, struct mail **handle, int64_t due_ms, bool exact)
{
    struct mail *mail = *handle;
    struct delay_request request = {.due_ms = due_ms, .attempt = mail->attempt, .exact = exact};
    delay_send(settler->outbox, mail, &request);
    worker_count(mail->worker, WORKER_SPILLED, 1);
    let_go(handle);
}

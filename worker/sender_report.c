#include "worker/sender_report.h"

#include "base/log.h"
#include "base/mem.h"
#include "mail/dsn_write.h"
#include "worker/worker.h"

#define CONTENT_MAX_BYTES ((size_t)64 * 1024)
#define TEXT_MAX_BYTES 700

bool sender_report_is_due(const struct mail *mail, uint32_t index)
{
    const struct config *config = mail->worker->config;
    const struct message *message = &mail->message;
    const struct config_tenant *tenant = config_tenant_named(config, message->tenant);
    struct slice notify = message->recipients[index].dsn_notify;
    ptrdiff_t at = slice_rfind_byte(message->mail_from, '@');
    if (tenant == NULL || !tenant->bounce_to_sender || at <= 0) {
        return false;
    }
    if (config_verp_domain(config, slice_skip(message->mail_from, (size_t)at + 1))) {
        return false; /* an address of the bouncer's: nobody reads there */
    }
    if (notify.len == 0) {
        return true;
    }
    while (notify.ptr != NULL) {
        if (slice_eq_nocase(slice_cut(&notify, ','), SLICE("FAILURE"))) {
            return true;
        }
    }
    return false;
}

/* "550 5.1.1 User unknown": what the peer said, with its codes. */
static struct slice full_text(const struct smtp_outcome *outcome, char room[TEXT_MAX_BYTES])
{
    char enhanced[SMTP_ENHANCED_TEXT_MAX];
    if (outcome->code == 0) {
        return outcome->text;
    }
    smtp_enhanced_format(outcome->enhanced, enhanced);
    int len = snprintf(room, TEXT_MAX_BYTES, "%u %s%s%.*s", outcome->code, enhanced,
                       enhanced[0] == '\0' ? "" : " ", SLICE_FMT(outcome->text));
    return slice_of(room, len < TEXT_MAX_BYTES ? (size_t)len : TEXT_MAX_BYTES - 1);
}

static bool write_content(const struct mail *mail, uint32_t index,
                          const struct smtp_outcome *outcome, const struct report_facts *facts,
                          struct slice id, bool expired, struct strbuf *content)
{
    char room[TEXT_MAX_BYTES];
    char status[SMTP_ENHANCED_TEXT_MAX];
    const struct message_recipient *recipient = &mail->message.recipients[index];
    const struct config_vip *vip = config_vip_named(mail->worker->config, facts->vip);
    struct smtp_enhanced enhanced = outcome->enhanced;
    if (enhanced.klass == 0) {
        enhanced = (struct smtp_enhanced){expired ? 4 : 5, 0, 0};
    }
    const struct dsn_failure failure = {
        .host = slice_cstr(vip != NULL ? vip->ehlo_name : mail->worker->node),
        .id = id,
        .sender = mail->message.mail_from,
        .recipient = recipient->address,
        .original = recipient->dsn_orcpt,
        .envelope = mail->message.dsn_envid,
        .status = smtp_enhanced_format(enhanced, status),
        .text = full_text(outcome, room),
        .remote_mta = facts->remote_host,
        .expired = expired,
        .arrived = {mail->first_seen_ms},
        .now = wall_now(),
        .message = mail->message.content,
    };
    return dsn_write(&failure, content);
}

void sender_report_send(struct outbox *outbox, struct mail *mail, uint32_t index,
                        const struct smtp_outcome *outcome, const struct report_facts *facts,
                        struct slice event_id, bool expired)
{
    char seed[64], id_text[UUID_TEXT_LEN + 1];
    struct strbuf content;
    struct fault fault = {0};
    struct message_recipient to = {.address = mail->message.mail_from};
    struct message_pair about = {SLICE("about"), mail->message.id};
    int len = snprintf(seed, sizeof(seed), "told/%.*s", SLICE_FMT(event_id));
    struct uuid id = uuid_derive(slice_of(seed, (size_t)len));
    uuid_format(&id, id_text);
    strbuf_init(&content, CONTENT_MAX_BYTES);
    bool ok = write_content(mail, index, outcome, facts, slice_of(id_text, UUID_TEXT_LEN), expired,
                            &content);
    struct message message = {
        .id = slice_of(id_text, UUID_TEXT_LEN),
        .tenant = mail->message.tenant,
        .pool = mail->message.pool,
        .recipients = &to,
        .recipient_count = 1,
        .content = strbuf_slice(&content),
        .metadata = &about,
        .metadata_count = 1,
        .klass = MESSAGE_CLASS_TX,
    };
    if (ok && message_validate(&message, mail->arena, &fault)) {
        struct strbuf record;
        size_t size = message_encoded_size(&message);
        strbuf_init(&record, size);
        message_encode(&message, (uint8_t *)strbuf_reserve(&record, size));
        strbuf_commit(&record, size);
        outbox_send_event(outbox, mail, mail->worker->topics.reports, message.domain,
                          strbuf_slice(&record));
        strbuf_free(&record);
    } else {
        log_warn("sender-not-told", "id=%.*s reason=\"%s\"", SLICE_FMT(mail->message.id),
                 fault.text);
    }
    strbuf_free(&content);
}

#include "worker/unsubscribe.h"

#include "mail/unsubscribe.h"
#include "suppress/policy.h"
#include "worker/worker.h"

static bool asks(const struct message *message, bool *answer)
{
    for (size_t i = 0; i < message->metadata_count; i++) {
        if (slice_eq_nocase(message->metadata[i].name, SLICE(UNSUBSCRIBE_METADATA))) {
            *answer = slice_eq_nocase(message->metadata[i].value, SLICE("true"));
            return true;
        }
    }
    return false;
}

bool unsubscribe_wanted(const struct mail *mail)
{
    const struct config *config = mail->worker->config;
    const struct config_tenant *tenant = config_tenant_named(config, mail->message.tenant);
    bool wanted = (tenant != NULL && tenant->list_unsubscribe) ||
                  (mail->stream != NULL && mail->stream->list_unsubscribe);
    (void)asks(&mail->message, &wanted);
    if (!wanted || config->verp.key_count == 0 || unsubscribe_is_there(mail->message.content)) {
        return false;
    }
    return config->unsubscribe.url != NULL ||
           (config->unsubscribe.mailto && config->verp.domain_count > 0);
}

struct slice unsubscribe_fields(struct return_paths *paths, struct mail *mail, uint32_t index,
                                struct slice vip)
{
    const struct config *config = mail->worker->config;
    const struct config_suppression *policy = config_suppression_for(config, mail->message.tenant);
    const struct message_recipient *recipient = &mail->message.recipients[index];
    const char *domain = mail->verp_domain;
    char token[VERP_LOCAL_LEN + 1];
    struct strbuf fields;
    if (domain == NULL && config->verp.domain_count > 0) {
        domain = config->verp.domains[0];
    }
    if (!return_path_token(paths, mail, VERP_UNSUBSCRIBE, recipient, vip, SLICE_NULL, token)) {
        return SLICE_NULL;
    }
    struct slice url = slice_cstr(config->unsubscribe.url);
    while (url.len > 0 && url.ptr[url.len - 1] == '/') {
        url.len--;
    }
    const struct unsubscribe_link link = {
        .token = token,
        .url = url,
        .mailto = config->unsubscribe.mailto ? slice_cstr(domain) : SLICE_NULL,
        .address = recipient->address,
        .list = suppress_list_of(policy, mail->message.metadata, mail->message.metadata_count,
                                 recipient->metadata, recipient->metadata_count),
    };
    strbuf_init(&fields, 4096);
    struct slice written = SLICE_NULL;
    if (unsubscribe_write(&link, &fields)) {
        written = arena_copy(mail->arena, strbuf_slice(&fields));
    }
    strbuf_free(&fields);
    return written;
}

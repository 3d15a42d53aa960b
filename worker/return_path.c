#include "worker/return_path.h"

#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"
#include "schema/facts.h"
#include "suppress/policy.h"
#include "worker/signed_facts.h"

#define RETURN_PATHS_MAGIC 0x52455450u
#define WARN_MS 60000

struct return_paths {
    uint32_t magic;
    struct worker *worker;
    struct outbox *outbox;
    struct signed_facts *written;
    struct strbuf encoded;
    int64_t warned_ms;
};

const char *return_path_domain(const struct mail *mail)
{
    const struct config *config = mail->worker->config;
    const struct message *message = &mail->message;
    const struct config_tenant *tenant = config_tenant_named(config, message->tenant);
    ptrdiff_t at = slice_rfind_byte(message->mail_from, '@');
    if (config->verp.domain_count == 0 || at < 0) {
        return NULL;
    }
    struct slice own = slice_skip(message->mail_from, (size_t)at + 1);
    for (size_t i = 0; i < config->verp.domain_count; i++) {
        if (slice_eq_nocase(slice_cstr(config->verp.domains[i]), own)) {
            return config->verp.domains[i];
        }
    }
    bool wanted = (tenant != NULL && tenant->verp) || (mail->stream != NULL && mail->stream->verp);
    if (!wanted) {
        return NULL;
    }
    return tenant != NULL && tenant->verp_domain != NULL ? tenant->verp_domain
                                                         : config->verp.domains[0];
}

struct return_paths *return_paths_create(struct worker *worker, struct outbox *outbox)
{
    struct return_paths *paths = mem_zalloc(sizeof(*paths));
    paths->magic = RETURN_PATHS_MAGIC;
    paths->worker = worker;
    paths->outbox = outbox;
    paths->written = signed_facts_create();
    strbuf_init(&paths->encoded, 16384);
    return paths;
}

void return_paths_free(struct return_paths **handle)
{
    struct return_paths *paths = *handle;
    if (paths == NULL) {
        return;
    }
    CHECK_MAGIC(paths, RETURN_PATHS_MAGIC);
    signed_facts_free(&paths->written);
    strbuf_free(&paths->encoded);
    paths->magic = 0;
    mem_free(paths);
    *handle = NULL;
}

/* The list that it belongs to for this recipient. */
static struct slice list_of(const struct mail *mail, const struct message_recipient *recipient)
{
    const struct message *message = &mail->message;
    struct slice list = suppress_list_of(
        config_suppression_for(mail->worker->config, message->tenant), message->metadata,
        message->metadata_count, recipient->metadata, recipient->metadata_count);
    return suppress_list_valid(list) ? list : SLICE_NULL;
}

/* The facts' number; they are on their topic, or on the way there. */
static uint32_t publish_facts(struct return_paths *paths, struct mail *mail,
                              const struct message_recipient *recipient, struct slice vip)
{
    char key[FACTS_KEY_LEN + 1];
    const struct message_pair list = {SLICE(FACTS_LIST), list_of(mail, recipient)};
    const struct event facts = {
        .tenant = mail->message.tenant,
        .campaign = mail->message.campaign,
        .klass = mail->klass == CONFIG_CLASS_BULK ? SLICE("bulk") : SLICE("transactional"),
        .stream = mail->stream == NULL ? SLICE_NULL : slice_cstr(mail->stream->name),
        .vip = vip,
        .metadata = &list,
        .metadata_count = list.value.len > 0,
    };
    uint64_t hash = facts_hash(&facts);
    int64_t keep_ms =
        signed_facts_due(paths->written, hash,
                         config_facts_keep_ms(mail->worker->config, mail->unsubscribe), mono_now());
    if (keep_ms == 0) {
        return facts_number(hash);
    }
    strbuf_reset(&paths->encoded);
    CHECK(facts_encode(&facts, keep_ms, key, &paths->encoded)); /* the schema bounds each of them */
    outbox_send_event(paths->outbox, mail, paths->worker->topics.facts,
                      slice_of(key, FACTS_KEY_LEN), strbuf_slice(&paths->encoded));
    return facts_number(hash);
}

static void warn(struct return_paths *paths, struct wall_time now)
{
    if (now.ms - paths->warned_ms >= WARN_MS) {
        paths->warned_ms = now.ms;
        log_warn("no-verp-key", "reason=\"no key of verp.keys signs now; mail goes out "
                                "unsigned\"");
    }
}

int64_t return_path_time(const struct mail *mail, struct wall_time now)
{
    int64_t first_ms = mail->first_seen_ms > mail->message.not_before_ms
                           ? mail->first_seen_ms
                           : mail->message.not_before_ms;
    return first_ms < now.ms ? first_ms : now.ms; /* the publisher's clock may be ahead */
}

bool return_path_token(struct return_paths *paths, struct mail *mail, enum verp_purpose purpose,
                       const struct message_recipient *recipient, struct slice vip,
                       struct slice host, char out[VERP_LOCAL_LEN + 1])
{
    struct wall_time now = wall_now();
    struct verp_token token = {
        .purpose = purpose,
        .sent_ms = return_path_time(mail, now),
        .recipient = verp_recipient(recipient->address),
        .route = verp_route(host),
    };
    CHECK_MAGIC(paths, RETURN_PATHS_MAGIC);
    CHECK(uuid_parse(mail->message.id, &token.message));
    token.facts = publish_facts(paths, mail, recipient, vip);
    if (verp_sign(paths->worker->keys, &token, (struct wall_time){token.sent_ms}, out)) {
        return true;
    }
    token.sent_ms = now.ms; /* all keys are younger than the mail */
    if (!verp_sign(paths->worker->keys, &token, now, out)) {
        warn(paths, now);
        return false;
    }
    return true;
}

struct slice return_path_write(struct return_paths *paths, struct mail *mail,
                               const struct message_recipient *recipient, struct slice vip,
                               struct slice host)
{
    char text[VERP_LOCAL_LEN + 1 + 256];
    CHECK(mail->verp_domain != NULL);
    if (!return_path_token(paths, mail, VERP_RETURN_PATH, recipient, vip, host, text)) {
        return mail->message.mail_from;
    }
    int len =
        snprintf(text + VERP_LOCAL_LEN, sizeof(text) - VERP_LOCAL_LEN, "@%s", mail->verp_domain);
    struct slice written = arena_copy(mail->arena, slice_of(text, VERP_LOCAL_LEN + (size_t)len));
    return written.ptr != NULL ? written : mail->message.mail_from;
}

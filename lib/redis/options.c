/* See options.h. */
#include "redis/options.h"

#include "base/mem.h"
#include "policy/config.h"

void redis_options_default(struct redis_options *options)
{
    *options = (struct redis_options){.host = "127.0.0.1",
                                      .port = REDIS_PORT,
                                      .hash_tags = 16,
                                      .tls_verify = true,
                                      .key_prefix = "sluice:",
                                      .connect_timeout_ms = 1000,
                                      .command_timeout_ms = 500};
}

void redis_options_from_config(struct redis_options *options, const struct config_redis *config)
{
    *options = (struct redis_options){
        .host = config->host,
        .port = config->port,
        .unix_path = config->unix_path,
        .nodes = config->nodes,
        .node_count = config->node_count,
        .cluster = config->cluster,
        .hash_tags = (unsigned)config->hash_tags,
        .user = config->user,
        .password = config->password,
        .database = config->database,
        .tls = config->use_tls,
        .tls_verify = config->tls_verify,
        .ca_file = config->tls_ca_file,
        .certificate_file = config->tls_certificate_file,
        .key_file = config->tls_key_file,
        .server_name = config->tls_server_name,
        .key_prefix = config->key_prefix,
        .connect_timeout_ms = config->connect_timeout_ms,
        .command_timeout_ms = config->command_timeout_ms,
    };
}

bool redis_options_check(const struct redis_options *options, struct fault *fault)
{
    const char *wrong = NULL;
    bool has_server = options->host != NULL && options->port != 0;
    if (options->unix_path == NULL && options->node_count == 0 && !has_server) {
        wrong = "neither a host with a port nor nodes nor a unix_path";
    } else if (options->user != NULL && options->password == NULL) {
        wrong = "a user without a password";
    } else if (options->unix_path != NULL && (options->cluster || options->tls)) {
        wrong = "a cluster, or TLS, by a unix_path";
    } else if (options->node_count > REDIS_HASH_TAGS_MAX) {
        wrong = "too many nodes";
    } else if (options->cluster && options->database != 0) {
        wrong = "a cluster has database 0 only";
    } else if (options->cluster &&
               (options->hash_tags == 0 || options->hash_tags > REDIS_HASH_TAGS_MAX)) {
        wrong = "hash_tags: 1 to 256";
    } else if ((options->certificate_file == NULL) != (options->key_file == NULL)) {
        wrong = "a certificate without a key, or a key without a certificate";
    }
    return wrong == NULL || fault_set(fault, FAULT_INVALID, 0, "redis: %s", wrong);
}

static void own(const char **text)
{
    *text = *text == NULL ? NULL : mem_strdup(*text);
}

static void disown(const char **text)
{
    union {
        const char *given;
        char *own;
    } it = {*text};
    mem_free(it.own);
    *text = NULL;
}

enum { TEXTS = 9 };

static void list_texts(struct redis_options *options, const char **texts[TEXTS])
{
    const char **all[TEXTS] = {
        &options->host,     &options->unix_path,   &options->user,
        &options->password, &options->ca_file,     &options->certificate_file,
        &options->key_file, &options->server_name, &options->key_prefix};
    memcpy(texts, all, sizeof(all));
}

void redis_options_copy(struct redis_options *to, const struct redis_options *from)
{
    const char **texts[TEXTS];
    *to = *from;
    list_texts(to, texts);
    for (size_t i = 0; i < TEXTS; i++) {
        own(texts[i]);
    }
    to->nodes = mem_calloc(from->node_count + 1, sizeof(*to->nodes));
    for (size_t i = 0; i < from->node_count; i++) {
        to->nodes[i] = mem_strdup(from->nodes[i]);
    }
}

void redis_options_end(struct redis_options *options)
{
    const char **texts[TEXTS];
    if (options->password != NULL) {
        union {
            const char *given;
            char *own;
        } secret = {options->password};
        explicit_bzero(secret.own, strlen(secret.own));
    }
    list_texts(options, texts);
    for (size_t i = 0; i < TEXTS; i++) {
        disown(texts[i]);
    }
    for (size_t i = 0; i < options->node_count; i++) {
        disown(&options->nodes[i]);
    }
    mem_free(options->nodes);
    options->nodes = NULL;
    options->node_count = 0;
}

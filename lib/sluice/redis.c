/* Where keys are remembered. What a Redis is reached by is lib/redis's options, as the
 * configuration has them. */
#include "sluice/sluice_private.h"

#include "base/mem.h"
#include "redis/topology.h"

void redis_set(struct sluice *sluice, const struct redis_options *options)
{
    redis_options_end(&sluice->redis);
    redis_options_copy(&sluice->redis, options);
    sluice->has_redis = true;
}

static void take_defaults(const struct sluice_redis *redis, struct redis_options *options)
{
    redis_options_default(options);
    options->host = redis->host == NULL ? options->host : redis->host;
    options->port = redis->port == 0 ? options->port : (uint16_t)redis->port;
    options->hash_tags = redis->hash_tags == 0 ? options->hash_tags : redis->hash_tags;
    options->key_prefix = redis->key_prefix == NULL ? options->key_prefix : redis->key_prefix;
    if (redis->connect_timeout_ms > 0) {
        options->connect_timeout_ms = redis->connect_timeout_ms;
    }
    if (redis->command_timeout_ms > 0) {
        options->command_timeout_ms = redis->command_timeout_ms;
    }
}

/* The texts stay the caller's, the array of nodes is ours. */
static struct redis_options options_of(const struct sluice_redis *redis)
{
    struct redis_options options;
    take_defaults(redis, &options);
    options.unix_path = redis->unix_path;
    options.nodes = mem_calloc(redis->node_count + 1, sizeof(*options.nodes));
    for (size_t i = 0; i < redis->node_count; i++) {
        options.nodes[i] = redis->nodes[i];
    }
    options.node_count = redis->node_count;
    options.cluster = redis->cluster != 0;
    options.user = redis->user;
    options.password = redis->password;
    options.database = redis->database;
    options.tls = redis->use_tls != 0;
    options.tls_verify = redis->tls_no_verify == 0;
    options.server_name = redis->tls_server_name;
    options.ca_file = redis->tls_ca_file;
    options.certificate_file = redis->tls_certificate_file;
    options.key_file = redis->tls_key_file;
    return options;
}

static bool check_given(const struct sluice_redis *redis, struct fault *fault)
{
    struct redis_place place;
    if (redis->struct_size != sizeof(*redis)) {
        return fault_set(fault, FAULT_INVALID, 0,
                         "struct_size: %zu, not that of SLUICE_REDIS_INIT in this version",
                         redis->struct_size);
    }
    if (redis->port > UINT16_MAX) {
        return fault_set(fault, FAULT_INVALID, 0, "port: %u is none", redis->port);
    }
    if (redis->node_count > 0 && (redis->host != NULL || redis->unix_path != NULL)) {
        return fault_set(fault, FAULT_INVALID, 0, "nodes: beside host or unix_path");
    }
    for (size_t i = 0; i < redis->node_count; i++) {
        if (redis->nodes[i] == NULL ||
            !redis_place_parse(slice_cstr(redis->nodes[i]), REDIS_PORT, &place)) {
            return fault_set(fault, FAULT_INVALID, 0, "nodes[%zu]: not host:port", i);
        }
    }
    return true;
}

enum sluice_result sluice_use_redis(struct sluice *sluice, const struct sluice_redis *redis,
                                    struct sluice_error *error)
{
    struct fault fault = {0};
    CHECK_MAGIC(sluice, SLUICE_MAGIC);
    if (!check_given(redis, &fault)) {
        return error_from_fault(error, &fault);
    }
    struct redis_options options = options_of(redis);
    pthread_mutex_lock(&sluice->mutex);
    if (sluice->keeper != NULL) {
        fault_set(&fault, FAULT_INVALID, 0,
                  "redis: messages with a key have been published before");
    } else if (redis_options_check(&options, &fault)) {
        redis_set(sluice, &options);
    }
    pthread_mutex_unlock(&sluice->mutex);
    mem_free(options.nodes);
    return error_from_fault(error, &fault);
}

/* Kafka, Redis and DNS: keys that need or exclude each other. */
#include "policy/config_rules_private.h"

#define REDIS_NODES_MAX 256

static void check_kafka(struct rules *rules)
{
    const struct config_kafka *kafka = &rules->config->kafka;
    static const struct {
        const char *property, *key;
    } ours[] = {{"bootstrap.servers", "bootstrap-servers"},
                {"metadata.broker.list", "bootstrap-servers"},
                {"group.id", "group"}};
    if (kafka->min_insync_replicas > kafka->replication_factor) {
        rules_at(rules, "kafka.min-insync-replicas");
        rules_tell(rules,
                   "%d is more than kafka.replication-factor (%d), so nothing could be written",
                   kafka->min_insync_replicas, kafka->replication_factor);
    }
    for (size_t i = 0; i < kafka->property_count; i++) {
        for (size_t j = 0; j < ARRAY_LEN(ours); j++) {
            if (kafka->properties[i].name != NULL &&
                strcmp(kafka->properties[i].name, ours[j].property) == 0) {
                problems_add(rules->problems, config_source_line(rules->source, "kafka.properties"),
                             "kafka.properties", "%s is given by kafka.%s; take it out here",
                             ours[j].property, ours[j].key);
            }
        }
    }
}

static void check_redis_nodes(struct rules *rules)
{
    const struct config_redis *redis = &rules->config->redis;
    static const char *const others[] = {"redis.host", "redis.port", "redis.unix-path"};
    for (size_t i = 0; i < ARRAY_LEN(others) && redis->node_count > 0; i++) {
        if (rules_has(rules, others[i])) {
            rules_tell(rules, "stands beside redis.nodes; expected one of them");
        }
    }
    for (size_t i = 0; i < redis->node_count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (redis->nodes[i] != NULL && redis->nodes[j] != NULL &&
                strcmp(redis->nodes[i], redis->nodes[j]) == 0) {
                rules_at(rules, "redis.nodes[%zu]", i);
                rules_tell(rules, "\"%s\" has been given already", redis->nodes[i]);
                break;
            }
        }
    }
    rules_at(rules, "redis.nodes");
    if (redis->node_count > REDIS_NODES_MAX && !redis->cluster) {
        rules_tell(rules, "has %zu servers; expected at most %d", redis->node_count,
                   REDIS_NODES_MAX);
    }
    if (rules_has(rules, "redis.unix-path") && redis->cluster) {
        rules_tell(rules,
                   "is given, but the nodes of a cluster (redis.cluster) are reached by TCP");
    }
    if (rules_has(rules, "redis.database") && redis->cluster && redis->database != 0) {
        rules_tell(rules, "is %d, but a cluster (redis.cluster) has database 0 only",
                   redis->database);
    }
    if (rules_has(rules, "redis.hash-tags") && !redis->cluster) {
        rules_tell(rules, "is given, but redis.cluster is not true");
    }
}

static void check_redis(struct rules *rules)
{
    const struct config_redis *redis = &rules->config->redis;
    static const char *const tls[] = {"redis.tls-verify", "redis.tls-server-name",
                                      "redis.tls-ca-file", "redis.tls-certificate-file",
                                      "redis.tls-key-file"};
    check_redis_nodes(rules);
    if (rules_has(rules, "redis.user") && redis->password == NULL &&
        !rules_has(rules, "redis.password")) {
        rules_at(rules, "redis.user");
        rules_tell(rules, "is given without redis.password");
    }
    for (size_t i = 0; i < ARRAY_LEN(tls) && !redis->use_tls; i++) {
        if (rules_has(rules, tls[i])) {
            rules_tell(rules, "is given, but redis.use-tls is not true");
        }
    }
    bool has_key = redis->tls_key_file != NULL;
    if ((redis->tls_certificate_file != NULL) != has_key) {
        rules_at(rules, "redis.%s", has_key ? "tls-key-file" : "tls-certificate-file");
        rules_tell(rules, "is given without redis.%s",
                   has_key ? "tls-certificate-file" : "tls-key-file");
    }
    if (rules_has(rules, "redis.unix-path") && redis->use_tls) {
        rules_tell(rules, "is given, but redis.use-tls is true; TLS is for TCP");
    }
}

static void check_dns(struct rules *rules)
{
    const struct config_dns *dns = &rules->config->dns;
    for (size_t i = 0; i < dns->server_count; i++) {
        if (dns->server_count > 1 && strcmp(dns->servers[i], "recursive") == 0) {
            rules_at(rules, "dns.servers[%zu]", i);
            rules_tell(rules, "\"recursive\" stands beside other servers; expected it alone");
        }
    }
}

void rules_check_services(struct rules *rules)
{
    check_kafka(rules);
    check_redis(rules);
    check_dns(rules);
}

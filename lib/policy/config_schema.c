#include "policy/config_schema_private.h"
#include "policy/config.h"

#define SECOND ((int64_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define MIB ((int64_t)1024 * 1024)

#define ANY_TEXT .min = 1, .max = 1024
#define AT(owner, member)                                                                          \
    .offset = offsetof(struct owner, member), .size = sizeof(((struct owner *)NULL)->member)
#define LIST(owner, member, count)                                                                 \
    .list = true, .offset = offsetof(struct owner, member),                                        \
    .size = sizeof(*((struct owner *)NULL)->member), .count_offset = offsetof(struct owner, count)
#define TYPE(what, table, owner)                                                                   \
    .noun = (what), .fields = (table), .field_count = ARRAY_LEN(table), .size = sizeof(struct owner)

/* One key a line, as a table. */
/* clang-format off */
static const char *const tls_words[] = {"never", "opportunistic", "required", NULL};
static const char *const class_words[] = {"transactional", "bulk", NULL};
static const char *const duplicates_words[] = {"never", "rare", "off", NULL};
static const char *const uncertain_words[] = {"resend", "hold", "drop", NULL};
static const char *const address_words[] = {"feedback", "unsubscribe", "bounce", "role", NULL};
static const char *const class_of_address_words[] = {"verp", "feedback", "unsubscribe", "bounce", "role", NULL};
static const char *const returned_words[] = {"bounce", "delayed", "delivered", "complaint", "auth-report", "auto-reply",
                                             "challenge-response", "unsubscribe", "opt-out", "not-a-bounce", NULL};
static const char *const action_words[] = {"pass", "drop", "quarantine", "forward", "mbox", "maildir", "file", "pipe", "post", NULL};
static const char *const reach_words[] = {"list", "tenant", "global", NULL};
static const char *const level_words[] = {"error", "warn", "info", "debug", NULL};

static const struct schema_field kafka_fields[] = {
    {"bootstrap-servers", SCHEMA_BROKERS, AT(config_kafka, bootstrap_servers), ANY_TEXT, .required = true},
    {"prefix", SCHEMA_TOPIC, AT(config_kafka, prefix), .min = 0, .max = 100, .fallback = "sluice."},
    {"group", SCHEMA_TOPIC, AT(config_kafka, group), .min = 1, .max = 200, .fallback = "sluice-worker"},
    {"properties", SCHEMA_PROPERTIES, LIST(config_kafka, properties, property_count), .min = 0, .max = 4096},
    {"shards", SCHEMA_COUNT, AT(config_kafka, shards), .min = 1, .max = 10000, .fallback = "16"},
    {"slots", SCHEMA_COUNT, AT(config_kafka, slots), .min = 1, .max = 10000, .fallback = "16"},
    {"event-partitions", SCHEMA_COUNT, AT(config_kafka, event_partitions), .min = 1, .max = 10000, .fallback = "16"},
    {"replication-factor", SCHEMA_COUNT, AT(config_kafka, replication_factor), .min = 1, .max = 100, .fallback = "1"},
    {"min-insync-replicas", SCHEMA_COUNT, AT(config_kafka, min_insync_replicas), .min = 1, .max = 100, .fallback = "1"},
    {"tiers", SCHEMA_COUNT, AT(config_kafka, tiers), .min = 1, .max = 12, .fallback = "12"},
    {"tier-unit", SCHEMA_DURATION, AT(config_kafka, tier_unit_ms), .min = 10, .max = HOUR, .fallback = "30s"},
    {"retention", SCHEMA_DURATION, AT(config_kafka, retention_ms), .min = MINUTE, .max = 3650 * DAY, .fallback = "7d"},
};
static const struct schema_type kafka_type = {
    TYPE("the Kafka settings", kafka_fields, config_kafka)};

static const struct schema_field redis_fields[] = {
    {"host", SCHEMA_HOST, AT(config_redis, host), ANY_TEXT, .fallback = "127.0.0.1"},
    {"port", SCHEMA_COUNT, AT(config_redis, port), .min = 1, .max = 65535, .fallback = "6379"},
    {"unix-path", SCHEMA_PATH, AT(config_redis, unix_path), .min = 1, .max = 107},
    {"nodes", SCHEMA_PEER, LIST(config_redis, nodes, node_count), ANY_TEXT},
    {"cluster", SCHEMA_BOOL, AT(config_redis, cluster), .fallback = "false"},
    {"hash-tags", SCHEMA_COUNT, AT(config_redis, hash_tags), .min = 1, .max = 256, .fallback = "16"},
    {"use-tls", SCHEMA_BOOL, AT(config_redis, use_tls), .fallback = "false"},
    {"tls-verify", SCHEMA_BOOL, AT(config_redis, tls_verify), .fallback = "true"},
    {"tls-server-name", SCHEMA_HOST, AT(config_redis, tls_server_name), ANY_TEXT},
    {"tls-ca-file", SCHEMA_PATH, AT(config_redis, tls_ca_file), ANY_TEXT},
    {"tls-certificate-file", SCHEMA_PATH, AT(config_redis, tls_certificate_file), ANY_TEXT},
    {"tls-key-file", SCHEMA_PATH, AT(config_redis, tls_key_file), ANY_TEXT},
    {"user", SCHEMA_TEXT, AT(config_redis, user), ANY_TEXT},
    {"password", SCHEMA_SECRET, AT(config_redis, password), ANY_TEXT},
    {"database", SCHEMA_COUNT, AT(config_redis, database), .min = 0, .max = 65535, .fallback = "0"},
    {"key-prefix", SCHEMA_TEXT, AT(config_redis, key_prefix), .min = 0, .max = 100, .fallback = "sluice:"},
    {"connect-timeout", SCHEMA_DURATION, AT(config_redis, connect_timeout_ms), .min = 1, .max = HOUR, .fallback = "1s"},
    {"command-timeout", SCHEMA_DURATION, AT(config_redis, command_timeout_ms), .min = 1, .max = HOUR, .fallback = "500ms"},
};
static const struct schema_type redis_type = {
    TYPE("the Redis settings", redis_fields, config_redis)};

static const struct schema_field dns_fields[] = {
    {"servers", SCHEMA_RESOLVER, LIST(config_dns, servers, server_count), ANY_TEXT},
    {"timeout", SCHEMA_DURATION, AT(config_dns, timeout_ms), .min = 1, .max = HOUR, .fallback = "10s"},
    {"negative-ttl-max", SCHEMA_DURATION, AT(config_dns, negative_ttl_max_ms), .min = 0, .max = 7 * DAY, .fallback = "60s"},
    {"ttl-max", SCHEMA_DURATION, AT(config_dns, ttl_max_ms), .min = SECOND, .max = 7 * DAY, .fallback = "1h"},
    {"dnssec", SCHEMA_BOOL, AT(config_dns, dnssec), .fallback = "false"},
};
static const struct schema_type dns_type = {TYPE("the DNS settings", dns_fields, config_dns)};

static const struct schema_field vip_fields[] = {
    {"name", SCHEMA_NAME, AT(config_vip, name), .min = 1, .max = 200, .required = true},
    {"source-ipv4", SCHEMA_IPV4, AT(config_vip, source_ipv4), ANY_TEXT},
    {"source-ipv6", SCHEMA_IPV6, AT(config_vip, source_ipv6), ANY_TEXT},
    {"ehlo-name", SCHEMA_EHLO, AT(config_vip, ehlo_name), .min = 1, .max = 255, .required = true},
};
static const struct schema_type vip_type = {TYPE("a VIP", vip_fields, config_vip)};

static const struct schema_field member_fields[] = {
    {"vip", SCHEMA_NAME, AT(config_pool_member, vip), .min = 1, .max = 200, .required = true},
    {"weight", SCHEMA_COUNT, AT(config_pool_member, weight), .min = 1, .max = 1000000, .fallback = "1"},
};
static const struct schema_type member_type = {
    TYPE("a pool member", member_fields, config_pool_member), .shorthand = "vip"};

static const struct schema_field pool_fields[] = {
    {"name", SCHEMA_NAME, AT(config_pool, name), .min = 1, .max = 200, .required = true},
    {"members", SCHEMA_MAPPING, LIST(config_pool, members, member_count), .type = &member_type, .required = true},
};
static const struct schema_type pool_type = {TYPE("a pool", pool_fields, config_pool)};

static const struct schema_field site_fields[] = {
    {"name", SCHEMA_NAME, AT(config_site, name), .min = 1, .max = 255, .required = true, .own = true},
    {"match", SCHEMA_MATCH, LIST(config_site, match, match_count), .min = 1, .max = 255, .own = true},
    {"max-smtp-out", SCHEMA_LIMIT, AT(config_site, max_smtp_out), .max = 1000000, .fallback = "0"},
    {"max-msg-rate", SCHEMA_RATE, AT(config_site, max_msg_rate), .fallback = "unlimited"},
    {"max-msg-per-day", SCHEMA_LIMIT, AT(config_site, max_msg_per_day), .max = 1000000000, .fallback = "0"},
    {"max-connect-rate", SCHEMA_RATE, AT(config_site, max_connect_rate), .fallback = "unlimited"},
    {"max-data-volume-rate", SCHEMA_VOLUME, AT(config_site, max_data_volume_rate), .fallback = "unlimited"},
    {"source-ip-max-smtp-out", SCHEMA_LIMIT, AT(config_site, source_ip_max_smtp_out), .max = 1000000, .fallback = "0"},
    {"source-ip-max-msg-rate", SCHEMA_RATE, AT(config_site, source_ip_max_msg_rate), .fallback = "unlimited"},
    {"source-ip-max-msg-per-day", SCHEMA_LIMIT, AT(config_site, source_ip_max_msg_per_day), .max = 1000000000, .fallback = "0"},
    {"source-ip-max-connect-rate", SCHEMA_RATE, AT(config_site, source_ip_max_connect_rate), .fallback = "unlimited"},
    {"source-ip-max-data-volume-rate", SCHEMA_VOLUME, AT(config_site, source_ip_max_data_volume_rate), .fallback = "unlimited"},
    {"max-msg-per-connection", SCHEMA_LIMIT, AT(config_site, max_msg_per_connection), .max = 1000000, .fallback = "1000"},
    {"max-rcpt-per-transaction", SCHEMA_COUNT, AT(config_site, max_rcpt_per_transaction), .min = 1, .max = 10000, .fallback = "100"},
    {"max-connections-per-lane", SCHEMA_COUNT, AT(config_site, max_connections_per_lane), .min = 1, .max = 100000, .fallback = "20"},
    {"reserved-connections", SCHEMA_PART, AT(config_site, reserved_connections), .min = 0, .max = 100000, .fallback = "10%"},
    {"connection-idle-timeout", SCHEMA_DURATION, AT(config_site, connection_idle_timeout_ms), .min = 0, .max = HOUR, .fallback = "5s"},
    {"retry", SCHEMA_DURATION, LIST(config_site, retry_ms, retry_count), .min = 100, .max = 30 * DAY, .fallback = "15m 30m 1h 2h 4h"},
    {"bounce-after", SCHEMA_DURATION, AT(config_site, bounce_after_ms), .min = 100, .max = 365 * DAY, .fallback = "72h"},
    {"use-starttls", SCHEMA_ENUM, AT(config_site, tls), .words = tls_words, .fallback = "opportunistic"},
    {"tls-verify", SCHEMA_BOOL, AT(config_site, tls_verify), .fallback = "false"},
    {"ignore-pipelining", SCHEMA_BOOL_NOT, AT(config_site, use_pipelining), .fallback = "false"},
    {"ignore-chunking", SCHEMA_BOOL_NOT, AT(config_site, use_chunking), .fallback = "false"},
    {"smtp-hosts", SCHEMA_PEER, LIST(config_site, smtp_hosts, smtp_host_count), ANY_TEXT},
    {"default-smtp-port", SCHEMA_COUNT, AT(config_site, smtp_port), .min = 1, .max = 65535, .fallback = "25"},
    {"connect-timeout", SCHEMA_DURATION, AT(config_site, connect_timeout_ms), .min = 1, .max = HOUR, .fallback = "30s"},
    {"greeting-timeout", SCHEMA_DURATION, AT(config_site, greeting_timeout_ms), .min = 1, .max = HOUR, .fallback = "5m"},
    {"ehlo-timeout", SCHEMA_DURATION, AT(config_site, ehlo_timeout_ms), .min = 1, .max = HOUR, .fallback = "5m"},
    {"starttls-timeout", SCHEMA_DURATION, AT(config_site, starttls_timeout_ms), .min = 1, .max = HOUR, .fallback = "2m"},
    {"mail-timeout", SCHEMA_DURATION, AT(config_site, mail_timeout_ms), .min = 1, .max = HOUR, .fallback = "5m"},
    {"rcpt-timeout", SCHEMA_DURATION, AT(config_site, rcpt_timeout_ms), .min = 1, .max = HOUR, .fallback = "5m"},
    {"data-timeout", SCHEMA_DURATION, AT(config_site, data_timeout_ms), .min = 1, .max = HOUR, .fallback = "2m"},
    {"block-timeout", SCHEMA_DURATION, AT(config_site, block_timeout_ms), .min = 1, .max = HOUR, .fallback = "3m"},
    {"dot-timeout", SCHEMA_DURATION, AT(config_site, dot_timeout_ms), .min = 1, .max = HOUR, .fallback = "10m"},
    {"quit-timeout", SCHEMA_DURATION, AT(config_site, quit_timeout_ms), .min = 1, .max = HOUR, .fallback = "10s"},
    {"dead-host-time", SCHEMA_DURATION, AT(config_site, dead_host_ms), .min = 0, .max = DAY, .fallback = "60s"},
};
static const struct schema_type site_type = {TYPE("a site", site_fields, config_site),
                                             .inherits = true};

static const struct schema_field limit_fields[] = {
    {"site", SCHEMA_NAME, AT(config_limit_entry, site), .min = 1, .max = 255},
    {"vip", SCHEMA_NAME, AT(config_limit_entry, vip), .min = 1, .max = 200},
    {"pool", SCHEMA_NAME, AT(config_limit_entry, pool), .min = 1, .max = 200},
    {"tenant", SCHEMA_NAME, AT(config_limit_entry, tenant), .min = 1, .max = 200},
    {"campaign", SCHEMA_TEXT, AT(config_limit_entry, campaign), .min = 1, .max = 200},
    {"stream", SCHEMA_TOPIC, AT(config_limit_entry, stream), .min = 1, .max = 100},
    {"max-smtp-out", SCHEMA_LIMIT, AT(config_limit_entry, max_smtp_out), .min = 1, .max = 1000000},
    {"reserved-connections", SCHEMA_PART, AT(config_limit_entry, reserved_connections), .min = 0, .max = 100000, .fallback = "10%"},
    {"max-msg-rate", SCHEMA_RATE, LIST(config_limit_entry, max_msg_rates, max_msg_rate_count)},
    {"max-msg-per-day", SCHEMA_LIMIT, AT(config_limit_entry, max_msg_per_day), .min = 1, .max = 1000000000},
    {"max-connect-rate", SCHEMA_RATE, LIST(config_limit_entry, max_connect_rates, max_connect_rate_count)},
    {"max-data-volume-rate", SCHEMA_VOLUME, LIST(config_limit_entry, max_data_volume_rates, max_data_volume_rate_count)},
    {"max-msg-per-connection", SCHEMA_LIMIT, AT(config_limit_entry, max_msg_per_connection), .min = 1, .max = 1000000},
    {"max-rcpt-per-transaction", SCHEMA_COUNT, AT(config_limit_entry, max_rcpt_per_transaction), .min = 1, .max = 10000},
    {"burst", SCHEMA_COUNT, AT(config_limit_entry, burst), .min = 1, .max = 1000000000},
    {"override", SCHEMA_BOOL, AT(config_limit_entry, overrides), .fallback = "false"},
};
static const struct schema_type limit_type = {TYPE("a limit", limit_fields, config_limit_entry)};

static const struct schema_field tenant_fields[] = {
    {"name", SCHEMA_NAME, AT(config_tenant, name), .min = 1, .max = 200, .required = true},
    {"rate", SCHEMA_RATE, AT(config_tenant, rate), .fallback = "unlimited"},
    {"pools", SCHEMA_NAME, LIST(config_tenant, pools, pool_count), .min = 1, .max = 200},
    {"default-pool", SCHEMA_NAME, AT(config_tenant, default_pool), .min = 1, .max = 200},
    {"verp", SCHEMA_BOOL, AT(config_tenant, verp), .fallback = "false"},
    {"verp-domain", SCHEMA_HOST, AT(config_tenant, verp_domain), .min = 1, .max = 189},
    {"bounce-to-sender", SCHEMA_BOOL, AT(config_tenant, bounce_to_sender), .fallback = "false"},
    {"list-unsubscribe", SCHEMA_BOOL, AT(config_tenant, list_unsubscribe), .fallback = "false"},
    {"suspended", SCHEMA_BOOL, AT(config_tenant, suspended), .fallback = "false"},
};
static const struct schema_type tenant_type = {TYPE("a tenant", tenant_fields, config_tenant)};

static const struct schema_field stream_fields[] = {
    {"name", SCHEMA_TOPIC, AT(config_stream, name), .min = 1, .max = 100, .required = true},
    {"class", SCHEMA_ENUM, AT(config_stream, class_), .words = class_words, .required = true},
    {"pool", SCHEMA_NAME, AT(config_stream, pool), .min = 1, .max = 200},
    {"duplicates", SCHEMA_ENUM, AT(config_stream, duplicates), .words = duplicates_words, .fallback = "rare"},
    {"on-uncertain", SCHEMA_ENUM, AT(config_stream, on_uncertain), .words = uncertain_words}, /* absent: config.c, complete() */
    {"verp", SCHEMA_BOOL, AT(config_stream, verp), .fallback = "false"},
    {"list-unsubscribe", SCHEMA_BOOL, AT(config_stream, list_unsubscribe), .fallback = "false"},
};
static const struct schema_type stream_type = {TYPE("a stream", stream_fields, config_stream)};

static const struct schema_field suppression_fields[] = {
    {"name", SCHEMA_NAME, AT(config_suppression, name), .min = 1, .max = 64, .required = true, .own = true},
    {"hard-reach", SCHEMA_ENUM, AT(config_suppression, hard_reach), .words = reach_words, .fallback = "tenant"},
    {"hard-decay", SCHEMA_DURATION, AT(config_suppression, hard_decay_ms), .min = 0, .max = 3650 * DAY, .fallback = "0"},
    {"repeated-count", SCHEMA_COUNT, AT(config_suppression, repeated_count), .min = 0, .max = 20, .fallback = "3"},
    {"repeated-within", SCHEMA_DURATION, AT(config_suppression, repeated_within_ms), .min = SECOND, .max = 365 * DAY, .fallback = "14d"},
    {"repeated-decay", SCHEMA_DURATION, AT(config_suppression, repeated_decay_ms), .min = 0, .max = 3650 * DAY, .fallback = "180d"},
    {"mailbox-full-after", SCHEMA_DURATION, AT(config_suppression, mailbox_full_after_ms), .min = 0, .max = 365 * DAY, .fallback = "30d"},
    {"mailbox-full-decay", SCHEMA_DURATION, AT(config_suppression, mailbox_full_decay_ms), .min = 0, .max = 3650 * DAY, .fallback = "90d"},
    {"complaint-reach", SCHEMA_ENUM, AT(config_suppression, complaint_reach), .words = reach_words, .fallback = "list"},
    {"complaint-decay", SCHEMA_DURATION, AT(config_suppression, complaint_decay_ms), .min = 0, .max = 3650 * DAY, .fallback = "0"},
    {"unsubscribe-reach", SCHEMA_ENUM, AT(config_suppression, unsubscribe_reach), .words = reach_words, .fallback = "list"},
    {"unsubscribe-decay", SCHEMA_DURATION, AT(config_suppression, unsubscribe_decay_ms), .min = 0, .max = 3650 * DAY, .fallback = "0"},
    {"list-metadata", SCHEMA_NAME, AT(config_suppression, list_metadata), .min = 1, .max = 64, .fallback = "list"},
};
static const struct schema_type suppression_type = {
    TYPE("a suppression policy", suppression_fields, config_suppression), .inherits = true};

static const struct schema_field worker_fields[] = {
    {"name", SCHEMA_NAME, AT(config_worker, name), .min = 1, .max = 200},
    {"vips", SCHEMA_NAME, LIST(config_worker, vips, vip_count), .min = 1, .max = 200},
    {"threads", SCHEMA_COUNT, AT(config_worker, threads), .min = 0, .max = 1024, .fallback = "0"},
    {"max-connections", SCHEMA_COUNT, AT(config_worker, max_connections), .min = 1, .max = 1000000, .fallback = "10000"},
    {"memory-max", SCHEMA_SIZE, AT(config_worker, memory_max_bytes), .min = MIB, .max = 1024 * 1024 * MIB, .fallback = "128M"},
    {"max-messages", SCHEMA_COUNT, AT(config_worker, max_messages), .min = 1, .max = 100000000, .fallback = "50000"},
    {"drain-timeout", SCHEMA_DURATION, AT(config_worker, drain_timeout_ms), .min = 0, .max = HOUR, .fallback = "30s"},
    {"session-timeout", SCHEMA_DURATION, AT(config_worker, session_timeout_ms), .min = SECOND, .max = 30 * MINUTE, .fallback = "6s"},
    {"control-socket", SCHEMA_PATH, AT(config_worker, control_socket), .min = 1, .max = 107},
    {"received-events", SCHEMA_BOOL, AT(config_worker, received_events), .fallback = "true"},
    {"log-level", SCHEMA_WORD, AT(config_worker, log_level), .words = level_words, .fallback = "info"},
};
static const struct schema_type worker_type = {
    TYPE("the worker settings", worker_fields, config_worker)};

static const struct schema_field listener_fields[] = {
    {"address", SCHEMA_LISTEN, AT(config_listener, address), ANY_TEXT, .required = true},
    {"implicit-tls", SCHEMA_BOOL, AT(config_listener, implicit_tls), .fallback = "false"},
};
static const struct schema_type listener_type = {
    TYPE("a listener", listener_fields, config_listener), .shorthand = "address"};

static const struct schema_field producer_fields[] = {
    {"listeners", SCHEMA_MAPPING, LIST(config_producer, listeners, listener_count), .type = &listener_type},
    {"host-name", SCHEMA_EHLO, AT(config_producer, host_name), .min = 1, .max = 255},
    {"users-file", SCHEMA_PATH, AT(config_producer, users_file), ANY_TEXT},
    {"tls-certificate-file", SCHEMA_PATH, AT(config_producer, tls_certificate_file), ANY_TEXT},
    {"tls-key-file", SCHEMA_PATH, AT(config_producer, tls_key_file), ANY_TEXT},
    {"auth-required", SCHEMA_BOOL, AT(config_producer, auth_required)}, /* absent: config.c, complete() */
    {"max-message-size", SCHEMA_SIZE, AT(config_producer, max_message_bytes), .min = 1024, .max = 1024 * MIB, .fallback = "25M"},
    {"max-recipients", SCHEMA_COUNT, AT(config_producer, max_recipients), .min = 1, .max = 1000000, .fallback = "1000"},
    {"max-connections", SCHEMA_COUNT, AT(config_producer, max_connections), .min = 1, .max = 1000000, .fallback = "1000"},
    {"max-connections-per-peer", SCHEMA_COUNT, AT(config_producer, max_connections_per_peer), .min = 1, .max = 1000000, .fallback = "100"},
    {"command-timeout", SCHEMA_DURATION, AT(config_producer, command_timeout_ms), .min = 1, .max = HOUR, .fallback = "5m"},
    {"data-timeout", SCHEMA_DURATION, AT(config_producer, data_timeout_ms), .min = 1, .max = HOUR, .fallback = "5m"},
    {"kafka-timeout", SCHEMA_DURATION, AT(config_producer, kafka_timeout_ms), .min = 1, .max = HOUR, .fallback = "30s"},
    {"default-stream", SCHEMA_TOPIC, AT(config_producer, default_stream), .min = 1, .max = 100, .fallback = "bulk"},
    {"default-tenant", SCHEMA_NAME, AT(config_producer, default_tenant), .min = 1, .max = 200},
    {"log-level", SCHEMA_WORD, AT(config_producer, log_level), .words = level_words, .fallback = "info"},
};
static const struct schema_type producer_type = {
    TYPE("the producer settings", producer_fields, config_producer)};

static const struct schema_field verp_key_fields[] = {
    {"id", SCHEMA_COUNT, AT(config_verp_key, id), .min = 0, .max = 15, .required = true},
    {"secret", SCHEMA_SECRET, AT(config_verp_key, secret), .min = 16, .max = 1024, .required = true},
    {"not-before", SCHEMA_DATE, AT(config_verp_key, not_before_ms)},
    {"not-after", SCHEMA_DATE, AT(config_verp_key, not_after_ms)},
};
static const struct schema_type verp_key_type = {
    TYPE("a VERP key", verp_key_fields, config_verp_key)};

static const struct schema_field verp_fields[] = {
    {"domains", SCHEMA_HOST, LIST(config_verp, domains, domain_count), .min = 1, .max = 189},
    {"keys", SCHEMA_MAPPING, LIST(config_verp, keys, key_count), .type = &verp_key_type},
    {"max-age", SCHEMA_DURATION, AT(config_verp, max_age_ms), .min = HOUR, .max = 3650 * DAY, .fallback = "14d"},
    {"facts-retention", SCHEMA_DURATION, AT(config_verp, facts_retention_ms), .min = HOUR, .max = 3650 * DAY},
};
static const struct schema_type verp_type = {TYPE("the VERP settings", verp_fields, config_verp)};

static const struct schema_field unsubscribe_fields[] = {
    {"url", SCHEMA_TEXT, AT(config_unsubscribe, url), .min = 9, .max = 200},
    {"mailto", SCHEMA_BOOL, AT(config_unsubscribe, mailto), .fallback = "true"},
    {"listeners", SCHEMA_MAPPING, LIST(config_unsubscribe, listeners, listener_count), .type = &listener_type},
    {"tls-certificate-file", SCHEMA_PATH, AT(config_unsubscribe, tls_certificate_file), ANY_TEXT},
    {"tls-key-file", SCHEMA_PATH, AT(config_unsubscribe, tls_key_file), ANY_TEXT},
    {"max-age", SCHEMA_DURATION, AT(config_unsubscribe, max_age_ms), .min = DAY, .max = 3650 * DAY, .fallback = "365d"},
    {"max-connections", SCHEMA_COUNT, AT(config_unsubscribe, max_connections), .min = 1, .max = 100000, .fallback = "1000"},
    {"max-connections-per-peer", SCHEMA_COUNT, AT(config_unsubscribe, max_connections_per_peer), .min = 1, .max = 100000, .fallback = "100"},
};
static const struct schema_type unsubscribe_type = {
    TYPE("the settings of unsubscription", unsubscribe_fields, config_unsubscribe)};

static const struct schema_field address_fields[] = {
    {"address", SCHEMA_NAME, AT(config_address, address), .min = 2, .max = 254, .required = true},
    {"kind", SCHEMA_ENUM, AT(config_address, kind), .words = address_words, .required = true},
    {"tenant", SCHEMA_NAME, AT(config_address, tenant), .min = 1, .max = 64},
};
static const struct schema_type address_type = {
    TYPE("an address", address_fields, config_address)};

static const struct schema_field action_fields[] = {
    {"kinds", SCHEMA_WORD, LIST(config_action, kinds, kind_count), .words = returned_words},
    {"addresses", SCHEMA_WORD, LIST(config_action, addresses, address_count), .words = class_of_address_words},
    {"do", SCHEMA_ENUM, AT(config_action, what), .words = action_words, .required = true},
    {"target", SCHEMA_TEXT, AT(config_action, target), ANY_TEXT},
    {"to", SCHEMA_NAME, AT(config_action, to), .min = 3, .max = 254},
    {"timeout", SCHEMA_DURATION, AT(config_action, timeout_ms), .min = 100, .max = HOUR, .fallback = "20s"},
};
static const struct schema_type action_type = {TYPE("an action", action_fields, config_action)};

static const struct schema_field bouncer_fields[] = {
    {"listeners", SCHEMA_MAPPING, LIST(config_bouncer, listeners, listener_count), .type = &listener_type},
    {"host-name", SCHEMA_EHLO, AT(config_bouncer, host_name), .min = 1, .max = 255},
    {"tls-certificate-file", SCHEMA_PATH, AT(config_bouncer, tls_certificate_file), ANY_TEXT},
    {"tls-key-file", SCHEMA_PATH, AT(config_bouncer, tls_key_file), ANY_TEXT},
    {"addresses", SCHEMA_MAPPING, LIST(config_bouncer, addresses, address_count), .type = &address_type},
    {"actions", SCHEMA_MAPPING, LIST(config_bouncer, actions, action_count), .type = &action_type},
    {"rules-folder", SCHEMA_PATH, AT(config_bouncer, rules_folder), ANY_TEXT},
    {"max-message-size", SCHEMA_SIZE, AT(config_bouncer, max_message_bytes), .min = 1024, .max = 1024 * MIB, .fallback = "10M"},
    {"max-recipients", SCHEMA_COUNT, AT(config_bouncer, max_recipients), .min = 1, .max = 1000, .fallback = "100"},
    {"max-connections", SCHEMA_COUNT, AT(config_bouncer, max_connections), .min = 1, .max = 1000000, .fallback = "1000"},
    {"max-connections-per-peer", SCHEMA_COUNT, AT(config_bouncer, max_connections_per_peer), .min = 1, .max = 1000000, .fallback = "50"},
    {"memory-max", SCHEMA_SIZE, AT(config_bouncer, memory_max_bytes), .min = 16 * MIB, .max = 1024 * 1024 * MIB, .fallback = "256M"},
    {"command-timeout", SCHEMA_DURATION, AT(config_bouncer, command_timeout_ms), .min = 1, .max = HOUR, .fallback = "5m"},
    {"data-timeout", SCHEMA_DURATION, AT(config_bouncer, data_timeout_ms), .min = 1, .max = HOUR, .fallback = "3m"},
    {"kafka-timeout", SCHEMA_DURATION, AT(config_bouncer, kafka_timeout_ms), .min = 1, .max = HOUR, .fallback = "30s"},
    {"suppression-database", SCHEMA_TEXT, AT(config_bouncer, suppression_database), .min = 1, .max = 1000},
    {"suppression-table", SCHEMA_TEXT, AT(config_bouncer, suppression_table), .min = 1, .max = 40, .fallback = "sluice_suppression"},
    {"log-level", SCHEMA_WORD, AT(config_bouncer, log_level), .words = level_words, .fallback = "info"},
};
static const struct schema_type bouncer_type = {
    TYPE("the bouncer settings", bouncer_fields, config_bouncer)};

static const struct schema_field config_fields[] = {
    {"kafka", SCHEMA_MAPPING, AT(config, kafka), .type = &kafka_type},
    {"redis", SCHEMA_MAPPING, AT(config, redis), .type = &redis_type},
    {"dns", SCHEMA_MAPPING, AT(config, dns), .type = &dns_type},
    {"vips", SCHEMA_MAPPING, LIST(config, vips, vip_count), .type = &vip_type},
    {"pools", SCHEMA_MAPPING, LIST(config, pools, pool_count), .type = &pool_type},
    {"sites", SCHEMA_MAPPING, LIST(config, sites, site_count), .type = &site_type},
    {"limits", SCHEMA_MAPPING, LIST(config, limit_entries, limit_entry_count), .type = &limit_type},
    {"tenants", SCHEMA_MAPPING, LIST(config, tenants, tenant_count), .type = &tenant_type},
    {"streams", SCHEMA_MAPPING, LIST(config, streams, stream_count), .type = &stream_type,
     /* enum config_class in numbers, as in the normal form */ .fallback = "[{\"name\": \"tx\", \"class\": 0, \"duplicates\": 1}, "
                 "{\"name\": \"bulk\", \"class\": 1, \"duplicates\": 1}]"},
    {"suppression", SCHEMA_MAPPING, LIST(config, suppression, suppression_count), .type = &suppression_type},
    {"worker", SCHEMA_MAPPING, AT(config, worker), .type = &worker_type},
    {"producer", SCHEMA_MAPPING, AT(config, producer), .type = &producer_type},
    {"verp", SCHEMA_MAPPING, AT(config, verp), .type = &verp_type},
    {"unsubscribe", SCHEMA_MAPPING, AT(config, unsubscribe), .type = &unsubscribe_type},
    {"bouncer", SCHEMA_MAPPING, AT(config, bouncer), .type = &bouncer_type},
};
/* clang-format on */

const struct schema_type config_schema = {TYPE("the configuration", config_fields, config)};

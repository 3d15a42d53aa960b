/* What a good configuration becomes: defaults, units, inheritance, secrets, look-ups. Its errors:
 * test_config_errors.c. */
#include "policy/config.h"
#include "unit/temp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#define KAFKA "kafka: {bootstrap-servers: \"localhost:9092\"}\n"

static struct config *good(const char *text)
{
    struct fault fault = {0};
    struct config *config = config_load_text("test.yaml", slice_cstr(text), &fault);
    if (config == NULL) {
        fail_msg("%s", fault.text);
    }
    return config;
}

static void test_least_file_has_all_defaults(void **state)
{
    (void)state;
    struct config *config = good(KAFKA);
    assert_string_equal(config->kafka.bootstrap_servers, "localhost:9092");
    assert_string_equal(config->kafka.prefix, "sluice.");
    assert_string_equal(config->kafka.group, "sluice-worker");
    assert_int_equal(config->kafka.shards, 16);
    assert_int_equal(config->kafka.slots, 16);
    assert_int_equal(config->kafka.event_partitions, 16);
    assert_int_equal(config->kafka.replication_factor, 1);
    assert_int_equal(config->kafka.min_insync_replicas, 1);
    assert_int_equal(config->kafka.tier_unit_ms, 30000);
    assert_int_equal(config->kafka.retention_ms, (int64_t)7 * 86400000);
    assert_int_equal(config->kafka.property_count, 0);
    assert_string_equal(config->redis.host, "127.0.0.1");
    assert_int_equal(config->redis.port, 6379);
    assert_null(config->redis.unix_path);
    assert_null(config->redis.password);
    assert_string_equal(config->redis.key_prefix, "sluice:");
    assert_int_equal(config->redis.connect_timeout_ms, 1000);
    assert_int_equal(config->redis.command_timeout_ms, 500);
    assert_int_equal(config->dns.server_count, 0);
    assert_int_equal(config->dns.timeout_ms, 10000);
    assert_int_equal(config->dns.negative_ttl_max_ms, 60000);
    assert_int_equal(config->dns.ttl_max_ms, 3600000);
    assert_false(config->dns.dnssec);
    assert_int_equal(config->vip_count, 0);
    assert_int_equal(config->stream_count, 2);
    assert_string_equal(config->streams[0].name, "tx");
    assert_int_equal(config->streams[0].class_, CONFIG_CLASS_TRANSACTIONAL);
    assert_string_equal(config->streams[1].name, "bulk");
    assert_int_equal(config->streams[1].class_, CONFIG_CLASS_BULK);
    assert_null(config->streams[1].pool);
    assert_int_equal(config->streams[1].duplicates, CONFIG_DUPLICATES_RARE);
    assert_int_equal(config->streams[1].on_uncertain, CONFIG_UNCERTAIN_RESEND);
    config_free(&config);
    assert_null(config);
    config_free(&config);
}

static void test_default_site(void **state)
{
    (void)state;
    struct config *config = good(KAFKA);
    assert_int_equal(config->site_count, 1);
    const struct config_site *site = &config->sites[0];
    assert_string_equal(site->name, "default");
    assert_int_equal(site->match_count, 0);
    assert_int_equal(site->max_smtp_out, 0);
    assert_int_equal(site->max_msg_rate.amount, 0);
    assert_int_equal(site->max_msg_per_connection, 1000);
    assert_int_equal(site->max_rcpt_per_transaction, 100);
    assert_int_equal(site->max_connections_per_lane, 20);
    assert_int_equal(site->reserved_connections, CONFIG_PERCENT | 10);
    assert_int_equal(site->reserved_per_lane, 2);
    assert_int_equal(site->connection_idle_timeout_ms, 5000);
    assert_int_equal(site->retry_count, 5);
    assert_int_equal(site->retry_ms[0], 900000);
    assert_int_equal(site->retry_ms[4], 4 * 3600000);
    assert_int_equal(site->bounce_after_ms, 72 * (int64_t)3600000);
    assert_int_equal(site->tls, CONFIG_TLS_OPPORTUNISTIC);
    assert_false(site->tls_verify);
    assert_true(site->use_pipelining);
    assert_true(site->use_chunking);
    assert_int_equal(site->smtp_port, 25);
    assert_int_equal(site->connect_timeout_ms, 30000);
    assert_int_equal(site->greeting_timeout_ms, 300000);
    assert_int_equal(site->ehlo_timeout_ms, 300000);
    assert_int_equal(site->mail_timeout_ms, 300000);
    assert_int_equal(site->rcpt_timeout_ms, 300000);
    assert_int_equal(site->data_timeout_ms, 120000);
    assert_int_equal(site->block_timeout_ms, 180000);
    assert_int_equal(site->dot_timeout_ms, 600000);
    assert_int_equal(site->dead_host_ms, 60000);
    config_free(&config);
}

static void test_worker_and_producer_defaults(void **state)
{
    (void)state;
    struct config *config = good(KAFKA);
    assert_null(config->worker.name);
    assert_int_equal(config->worker.vip_count, 0);
    assert_int_equal(config->worker.threads, 0);
    assert_int_equal(config->worker.max_connections, 10000);
    assert_int_equal(config->worker.memory_max_bytes, 128 << 20);
    assert_int_equal(config->worker.max_messages, 50000);
    assert_int_equal(config->worker.drain_timeout_ms, 30000);
    assert_int_equal(config->worker.session_timeout_ms, 6000);
    assert_true(config->worker.received_events);
    assert_null(config->worker.control_socket);
    assert_string_equal(config->worker.log_level, "info");
    assert_int_equal(config->producer.listener_count, 0);
    assert_int_equal(config->producer.max_message_bytes, 25 << 20);
    assert_int_equal(config->producer.max_recipients, 1000);
    assert_int_equal(config->producer.max_connections, 1000);
    assert_int_equal(config->producer.max_connections_per_peer, 100);
    assert_int_equal(config->producer.kafka_timeout_ms, 30000);
    assert_string_equal(config->producer.default_stream, "bulk");
    assert_null(config->producer.default_tenant);
    assert_false(config->producer.auth_required); /* there is no users-file */
    config_free(&config);
}

static void test_auth_is_required_with_users(void **state)
{
    (void)state;
    struct config *config = good(KAFKA "producer: {users-file: users}\n");
    assert_true(config->producer.auth_required);
    assert_string_equal(config->producer.users_file, "users");
    config_free(&config);
    config = good(KAFKA "producer: {users-file: users, auth-required: no}\n");
    assert_false(config->producer.auth_required);
    config_free(&config);
}

static void test_relative_paths_start_from_the_file(void **state)
{
    (void)state;
    struct fault fault;
    struct config *config = config_load_text(
        "/etc/sluice/sluice.yaml",
        SLICE(KAFKA
              "producer: {users-file: users, tls-certificate-file: /c.pem, tls-key-file: k.pem}\n"),
        &fault);
    assert_non_null(config);
    assert_string_equal(config->producer.users_file, "/etc/sluice/users");
    assert_string_equal(config->producer.tls_certificate_file, "/c.pem");
    assert_string_equal(config->producer.tls_key_file, "/etc/sluice/k.pem");
    config_free(&config);
}

static void test_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t amount;
        int64_t interval_ms;
    } rates[] = {
        {"10/s", 10, 1000},      {"300/h", 300, 3600000}, {"1000/15m", 1000, 900000},
        {"5/10", 5, 10000},      {"7 / d", 7, 86400000},  {"1/500ms", 1, 500},
        {"\"Unlimited\"", 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        char text[200];
        (void)snprintf(text, sizeof(text), KAFKA "sites: [{name: default, max-msg-rate: %s}]\n",
                       rates[i].text);
        struct config *config = good(text);
        assert_int_equal(config->sites[0].max_msg_rate.amount, rates[i].amount);
        assert_int_equal(config->sites[0].max_msg_rate.interval_ms, rates[i].interval_ms);
        config_free(&config);
    }
    static const struct {
        const char *text;
        int64_t bytes;
    } sizes[] = {{"65536", 65536}, {"512K", 524288},  {"25M", 25 << 20},
                 {"1g", 1 << 30},  {"2MiB", 2 << 20}, {"4096B", 4096}};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char text[200];
        (void)snprintf(text, sizeof(text), KAFKA "producer: {max-message-size: %s}\n",
                       sizes[i].text);
        struct config *config = good(text);
        assert_int_equal(config->producer.max_message_bytes, sizes[i].bytes);
        config_free(&config);
    }
}

static void test_sites_inherit_from_default(void **state)
{
    (void)state;
    struct config *config =
        good(KAFKA "sites:\n"
                   "  - {name: a, match: a.example, max-smtp-out: 3}\n"
                   "  - {name: b, match: b.example, max-msg-rate: unlimited, retry: 1m}\n"
                   "  - name: default\n"
                   "    max-smtp-out: 7\n"
                   "    max-msg-rate: 10/s\n"
                   "    retry: [2m, 3m]\n"
                   "    ignore-chunking: true\n");
    assert_int_equal(config->site_count, 3);
    const struct config_site *a = &config->sites[0];
    const struct config_site *b = &config->sites[1];
    assert_int_equal(a->max_smtp_out, 3);
    assert_int_equal(a->max_msg_rate.amount, 10);
    assert_int_equal(a->retry_count, 2);
    assert_int_equal(a->retry_ms[1], 180000);
    assert_false(a->use_chunking);
    assert_true(a->use_pipelining);
    assert_int_equal(b->max_smtp_out, 7);
    assert_int_equal(b->max_msg_rate.amount, 0);
    assert_int_equal(b->retry_count, 1);
    assert_int_equal(b->retry_ms[0], 60000);
    assert_string_equal(config->sites[2].name, "default");
    config_free(&config);
}

static void test_site_look_up(void **state)
{
    (void)state;
    struct config *config = good(KAFKA "sites:\n"
                                       "  - {name: one, match: [Google.com, gmail.com]}\n"
                                       "  - {name: two, match: \"*.google.com\"}\n"
                                       "  - {name: three, match: [google.com, \"[127.0.0.1]\"]}\n");
#define FOR(site, mx, domain) config_site_for(config, SLICE(site), SLICE(mx), SLICE(domain))->name
    assert_string_equal(FOR("google.com", "mx.google.com", "x.example"), "one");
    assert_string_equal(FOR("other", "mx.other", "GMAIL.com"), "one");
    assert_string_equal(FOR("other", "aspmx.l.GOOGLE.com", "x.example"), "two");
    assert_string_equal(FOR("other", "google.com", "x.example"),
                        "default"); /* the suffix has a dot before it */
    assert_string_equal(FOR("other", "notgoogle.com", "x.example"), "default");
    assert_string_equal(FOR("[127.0.0.1]", "[127.0.0.1]", "[127.0.0.1]"), "three");
#undef FOR
    assert_string_equal(config_site_for(config, SLICE_NULL, SLICE_NULL, SLICE_NULL)->name,
                        "default");
    config_free(&config);
}

static void test_names(void **state)
{
    (void)state;
    struct config *config = good(
        KAFKA "vips:\n"
              "  - {name: v1, source-ipv4: 192.0.2.1, ehlo-name: a.example}\n"
              "  - {name: v2, source-ipv6: \"2001:db8::1\", ehlo-name: \"[IPv6:2001:db8::1]\"}\n"
              "pools:\n"
              "  - {name: p, members: [v1, {vip: v2, weight: 5}]}\n"
              "  - {name: q, members: [v1]}\n"
              "tenants:\n"
              "  - {name: t, rate: 5/s, pools: [p], default-pool: p}\n"
              "  - {name: all}\n"
              "worker: {vips: v2}\n");
    assert_string_equal(config_vip_named(config, SLICE("v2"))->source_ipv6, "2001:db8::1");
    assert_null(config_vip_named(config, SLICE("v")));
    assert_null(config_vip_named(config, SLICE_NULL));
    const struct config_pool *pool = config_pool_named(config, SLICE("p"));
    assert_int_equal(pool->member_count, 2);
    assert_string_equal(pool->members[0].vip, "v1");
    assert_int_equal(pool->members[0].weight, 1);
    assert_int_equal(pool->members[1].weight, 5);
    assert_int_equal(config_tenant_named(config, SLICE("t"))->rate.amount, 5);
    assert_int_equal(config_stream_named(config, SLICE("tx"))->class_, CONFIG_CLASS_TRANSACTIONAL);
    assert_true(config_tenant_may_use(config, SLICE("t"), SLICE("p")));
    assert_false(config_tenant_may_use(config, SLICE("t"), SLICE("q")));
    assert_true(config_tenant_may_use(config, SLICE("all"), SLICE("q")));
    assert_true(config_tenant_may_use(config, SLICE("unheard-of"), SLICE("q")));
    assert_int_equal(config->worker.vip_count, 1);
    assert_string_equal(config->worker.vips[0], "v2");
    config_free(&config);
}

static void test_text_is_kept_as_it_is(void **state)
{
    (void)state;
    struct config *config =
        good(KAFKA "redis:\n"
                   "  password: \"a\\\"b\\\\c: {d}, \xc3\xa9 \xe2\x82\xac \xf0\x9f\x93\xa7\"\n"
                   "  key-prefix: \"\"\n"
                   "  user: '#no comment'\n");
    assert_string_equal(config->redis.password,
                        "a\"b\\c: {d}, \xc3\xa9 \xe2\x82\xac \xf0\x9f\x93\xa7");
    assert_string_equal(config->redis.key_prefix, "");
    assert_string_equal(config->redis.user, "#no comment");
    config_free(&config);
}

static void test_empty_sections_count_as_absent(void **state)
{
    (void)state;
    struct config *config = good(KAFKA "worker:\nvips:\nredis: ~\nsites: []\nstreams: []\n");
    assert_int_equal(config->worker.max_messages, 50000);
    assert_int_equal(config->redis.port, 6379);
    assert_int_equal(config->site_count, 1);
    config_free(&config);
}

static void test_uncertain_follows_duplicates(void **state)
{
    (void)state;
    struct config *config =
        good(KAFKA "streams:\n"
                   "  - {name: a, class: bulk, duplicates: never}\n"
                   "  - {name: b, class: bulk, duplicates: never, on-uncertain: resend}\n"
                   "  - {name: c, class: bulk, duplicates: off}\n"
                   "  - {name: d, class: bulk, on-uncertain: drop}\n");
    assert_int_equal(config->streams[0].duplicates, CONFIG_DUPLICATES_NEVER);
    assert_int_equal(config->streams[0].on_uncertain, CONFIG_UNCERTAIN_HOLD);
    assert_int_equal(config->streams[1].on_uncertain, CONFIG_UNCERTAIN_RESEND);
    assert_int_equal(config->streams[2].duplicates, CONFIG_DUPLICATES_OFF);
    assert_int_equal(config->streams[2].on_uncertain, CONFIG_UNCERTAIN_RESEND);
    assert_int_equal(config->streams[3].duplicates, CONFIG_DUPLICATES_RARE);
    assert_int_equal(config->streams[3].on_uncertain, CONFIG_UNCERTAIN_DROP);
    config_free(&config);
}

/* Facts are kept as long as what needs them is believed, whatever is said of these times. */
static void test_facts_are_kept(void **state)
{
    const int64_t day = 86400000;
    const struct {
        const char *text;
        int64_t plain, links; /* days */
    } cases[] = {
        {"", 90, 365},
        {"verp:\n  max-age: 120d\n", 120, 365},
        {"verp:\n  facts-retention: 30d\n", 30, 365},
        {"verp:\n  facts-retention: 500d\n", 500, 500},
        {"unsubscribe:\n  max-age: 60d\n", 90, 90},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[200];
        (void)snprintf(text, sizeof(text), "%s%s", KAFKA, cases[i].text);
        struct config *config = good(text);
        assert_true(config_facts_keep_ms(config, false) == cases[i].plain * day);
        assert_true(config_facts_keep_ms(config, true) == cases[i].links * day);
        config_free(&config);
    }
}

static void test_aliases(void **state)
{
    (void)state;
    struct config *config = good(KAFKA "sites:\n"
                                       "  - {name: a, match: a.example, retry: &often [1m, 2m]}\n"
                                       "  - {name: b, match: b.example, retry: *often}\n");
    assert_int_equal(config->sites[1].retry_ms[1], 120000);
    config_free(&config);
}

static void test_secrets_from_files(void **state)
{
    (void)state;
    char folder[TEMP_NAME_MAX];
    char path[TEMP_NAME_MAX + 16];
    char name[TEMP_NAME_MAX + 16];
    struct fault fault;
    assert_non_null(mkdtemp(temp_name(folder)));
    (void)snprintf(path, sizeof(path), "%s/secret", folder);
    (void)snprintf(name, sizeof(name), "%s/sluice.yaml", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs("s3 cr\"et\r\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
    file = fopen(name, "w");
    assert_non_null(file);
    assert_true(fputs("kafka:\n"
                      "  bootstrap-servers: localhost:9092\n"
                      "  properties:\n"
                      "    linger.ms: 5\n"
                      "    sasl.password: {file: secret}\n"
                      "redis: {password: {file: ./secret}}\n",
                      file) >= 0);
    assert_int_equal(fclose(file), 0);
    struct config *config = config_load(name, &fault);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(name), 0);
    assert_int_equal(rmdir(folder), 0);
    if (config == NULL) {
        fail_msg("%s", fault.text);
        return;
    }
    assert_int_equal(config->kafka.property_count, 2);
    assert_string_equal(config->kafka.properties[0].name, "linger.ms");
    assert_string_equal(config->kafka.properties[0].value, "5");
    assert_string_equal(config->kafka.properties[1].name, "sasl.password");
    assert_string_equal(config->kafka.properties[1].value, "s3 cr\"et");
    assert_string_equal(config->redis.password, "s3 cr\"et");
    config_free(&config);
}

static void test_suppression_by_tenant(void **state)
{
    struct fault fault;
    (void)state;
    struct config *config = config_load_text("sluice.yaml",
                                             SLICE("kafka: {bootstrap-servers: 'k:9092'}\n"
                                                   "suppression:\n"
                                                   "  - {name: default, repeated-count: 5}\n"
                                                   "  - {name: shop, hard-reach: global}\n"),
                                             &fault);
    assert_non_null(config);
    const struct config_suppression *shop = config_suppression_for(config, SLICE("shop"));
    const struct config_suppression *other = config_suppression_for(config, SLICE("other"));
    assert_int_equal(shop->hard_reach, CONFIG_REACH_GLOBAL);
    assert_int_equal(shop->repeated_count, 5);
    assert_int_equal(other->hard_reach, CONFIG_REACH_TENANT);
    assert_string_equal(other->name, "default");
    assert_ptr_equal(config_suppression_for(config, SLICE("")), other);
    assert_int_equal(other->mailbox_full_after_ms, (int64_t)30 * 24 * 3600 * 1000);
    config_free(&config);
    assert_null(config_load_text("sluice.yaml",
                                 SLICE("kafka: {bootstrap-servers: 'k:9092'}\n"
                                       "suppression: [{name: shop, hard-reach: list}]\n"),
                                 &fault));
    assert_non_null(strstr(fault.text, "suppression[0].hard-reach"));
}

static void test_example_of_the_documentation(void **state)
{
    (void)state;
    char path[4096];
    struct fault fault;
    const char *source = getenv("SLUICE_SOURCE_DIR");
    assert_non_null(source);
    (void)snprintf(path, sizeof(path), "%s/ops/example/sluice.yaml", source);
    struct config *config = config_load(path, &fault);
    if (config == NULL) {
        fail_msg("%s", fault.text);
        return;
    }
    assert_string_equal(config->sites[config->site_count - 1].name, "default");
    config_free(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_least_file_has_all_defaults),
        cmocka_unit_test(test_default_site),
        cmocka_unit_test(test_worker_and_producer_defaults),
        cmocka_unit_test(test_auth_is_required_with_users),
        cmocka_unit_test(test_relative_paths_start_from_the_file),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_sites_inherit_from_default),
        cmocka_unit_test(test_suppression_by_tenant),
        cmocka_unit_test(test_site_look_up),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_text_is_kept_as_it_is),
        cmocka_unit_test(test_empty_sections_count_as_absent),
        cmocka_unit_test(test_uncertain_follows_duplicates),
        cmocka_unit_test(test_facts_are_kept),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_secrets_from_files),
        cmocka_unit_test(test_example_of_the_documentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

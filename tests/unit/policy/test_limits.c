/* Limits: which apply to whom, which of them bind, under what they are counted, and where they
 * stand in the file. */
#include "policy/limits.h"

#include "base/mem.h"
#include "unit/cmocka_all.h"

static const char file[] =
    "kafka: {bootstrap-servers: \"localhost:9092\"}\n"                        /* 1 */
    "vips:\n"                                                                 /* 2 */
    "  - {name: v1, source-ipv4: 127.0.0.1, ehlo-name: a.example}\n"          /* 3 */
    "  - {name: v2, source-ipv4: 127.0.0.2, ehlo-name: a.example}\n"          /* 4 */
    "pools: [{name: shared, members: [v1, v2]}]\n"                            /* 5 */
    "sites:\n"                                                                /* 6 */
    "  - name: google\n"                                                      /* 7 */
    "    match: [google.com, \"*.google.com\"]\n"                             /* 8 */
    "    max-smtp-out: 50\n"                                                  /* 9 */
    "  - name: default\n"                                                     /* 10 */
    "    max-msg-rate: 100/s\n"                                               /* 11 */
    "    source-ip-max-smtp-out: 5\n"                                         /* 12 */
    "    max-data-volume-rate: 10M/m\n"                                       /* 13 */
    "limits:\n"                                                               /* 14 */
    "  - {max-msg-rate: 20000/s}\n"                                           /* 15 */
    "  - {site: google, max-msg-rate: [1000/s, 2000000/h], override: true}\n" /* 16 */
    "  - {vip: v1, site: each, max-msg-per-day: 50000}\n"                     /* 17 */
    "  - {tenant: each, max-msg-rate: 100000/h}\n"                            /* 18 */
    "  - {tenant: acme, max-msg-rate: 500000/h, override: true}\n"            /* 19 */
    "  - {tenant: acme, site: \"*.google.com\", max-smtp-out: 3}\n"           /* 20 */
    "  - {campaign: each, max-msg-rate: 60/m, burst: 10}\n"                   /* 21 */
    "  - {stream: bulk, site: each, max-rcpt-per-transaction: 7}\n"           /* 22 */
    "  - {pool: each, site: mx.small.example, max-connect-rate: 2/s}\n"       /* 23 */
    "  - {site: each, max-msg-rate: 50/s}\n"                                  /* 24 */
    "  - {site: free.example, max-msg-rate: unlimited, override: true}\n"     /* 25 */
    "  - {tenant: zoo, max-msg-rate: 5/s}\n"                                  /* 26 */
    "  - {tenant: acme2, max-msg-rate: 6/s}\n";                               /* 27 */

static struct config *config;

static int set_up(void **state)
{
    struct fault fault;
    (void)state;
    config = config_load_text("f.yaml", slice_cstr(file), &fault);
    if (config == NULL) {
        print_error("%s\n", fault.text);
    }
    return config == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    config_free(&config);
    return 0;
}

static struct config_subject mail_for(const char *site, const char *mx, const char *domain)
{
    struct config_subject subject = {
        .site = slice_cstr(site), .mx_host = slice_cstr(mx), .domain = slice_cstr(domain)};
    subject.entry = config_site_for(config, subject.site, subject.mx_host, subject.domain);
    return subject;
}

/* The binding limits as lines "LINE NAME=AMOUNT". */
static void check(const struct config_subject *subject, enum config_limit_level level,
                  const char *expected)
{
    struct strbuf out;
    size_t count;
    struct config_binding *bindings = config_limits_for(config, subject, level, &count);
    strbuf_init(&out, 8192);
    (void)strbuf_add_cstr(&out, "");
    for (size_t i = 0; i < count; i++) {
        const struct config_limit *limit = bindings[i].limit;
        if (bindings[i].by == NULL && limit->amount > 0) {
            (void)strbuf_addf(&out, "%u ", limit->line);
            config_limit_name(limit, subject, &out);
            (void)strbuf_addf(&out, "=%llu\n", (unsigned long long)limit->amount);
        }
    }
    assert_string_equal(out.ptr, expected);
    strbuf_free(&out);
    mem_free(bindings);
}

static void an_entry_counts_all_its_sites_together(void **state)
{
    (void)state;
    struct config_subject subject = mail_for("google.com", "mx.google.com", "gmail.com");
    subject.vip = SLICE("v1");
    check(&subject, CONFIG_LEVEL_LANE,
          "9 sites:google:conn=50\n13 sites:google:bytes/60000=10485760\n"
          "0 sites:google:per-connection=1000\n0 sites:google:rcpt=100\n15 all:msg/1000=20000\n"
          "16 sites:google:msg/1000=1000\n16 sites:google:msg/3600000=2000000\n");
    check(&subject, CONFIG_LEVEL_VIP,
          "12 sites:google:vip:v1:conn=5\n17 site:google.com:vip:v1:day=50000\n");
}

static void the_default_counts_each_site(void **state)
{
    (void)state;
    struct config_subject subject = mail_for("mx.small.example", "mx.small.example", "x.example");
    subject.vip = SLICE("v2");
    subject.pool = SLICE("shared");
    /* Of two limits on the same count the stricter one holds. */
    check(&subject, CONFIG_LEVEL_LANE,
          "13 site:mx.small.example:bytes/60000=10485760\n"
          "0 site:mx.small.example:per-connection=1000\n0 site:mx.small.example:rcpt=100\n"
          "15 all:msg/1000=20000\n23 sites:mx.small.example:pool:shared:connect/1000=2\n"
          "24 site:mx.small.example:msg/1000=50\n");
    check(&subject, CONFIG_LEVEL_VIP, "12 site:mx.small.example:vip:v2:conn=5\n");
    subject.pool = SLICE_NULL;
    size_t count;
    struct config_binding *bindings =
        config_limits_for(config, &subject, CONFIG_LEVEL_LANE, &count);
    assert_int_equal(count, 6); /* without the pool's, with the looser one */
    mem_free(bindings);
}

static void unlimited_lifts_what_is_more_general(void **state)
{
    (void)state;
    struct config_subject subject = mail_for("free.example", "mx.free.example", "free.example");
    check(&subject, CONFIG_LEVEL_LANE,
          "13 site:free.example:bytes/60000=10485760\n0 site:free.example:per-connection=1000\n"
          "0 site:free.example:rcpt=100\n15 all:msg/1000=20000\n");
}

static void mail_has_limits_by_tenant_campaign_and_stream(void **state)
{
    (void)state;
    struct config_subject subject = mail_for("google.com", "mx.google.com", "gmail.com");
    subject.tenant = SLICE("acme");
    check(&subject, CONFIG_LEVEL_MAIL,
          "19 tenant:acme:msg/3600000=500000\n20 sites:*.google.com:tenant:acme:conn=3\n");
    subject.stream = SLICE("bulk");
    subject.campaign = SLICE("a: 50%\n");
    check(&subject, CONFIG_LEVEL_MAIL,
          "21 tenant:acme:campaign:a%3A%2050%25%0A:msg/60000=60\n"
          "22 site:google.com:stream:bulk:rcpt=7\n"
          "19 tenant:acme:msg/3600000=500000\n20 sites:*.google.com:tenant:acme:conn=3\n");
    subject = mail_for("other.example", "mx.other.example", "other.example");
    subject.tenant = SLICE("acme");
    check(&subject, CONFIG_LEVEL_MAIL, "19 tenant:acme:msg/3600000=500000\n");
    subject.tenant = SLICE("acme2");
    check(&subject, CONFIG_LEVEL_MAIL,
          "18 tenant:acme2:msg/3600000=100000\n27 tenant:acme2:msg/1000=6\n");
    subject.tenant = SLICE("acm");
    check(&subject, CONFIG_LEVEL_MAIL, "18 tenant:acm:msg/3600000=100000\n");
    subject.tenant = SLICE("zoo");
    check(&subject, CONFIG_LEVEL_MAIL,
          "18 tenant:zoo:msg/3600000=100000\n26 tenant:zoo:msg/1000=5\n");
    subject.tenant = SLICE_NULL;
    check(&subject, CONFIG_LEVEL_MAIL, "");
}

static void long_values_are_counted_by_their_hash(void **state)
{
    (void)state;
    char name[1000];
    memset(name, ':', sizeof(name));
    struct config_subject subject = mail_for("other.example", "mx", "other.example");
    subject.tenant = SLICE("t");
    subject.campaign = slice_of(name, sizeof(name));
    size_t count;
    struct config_binding *bindings =
        config_limits_for(config, &subject, CONFIG_LEVEL_MAIL, &count);
    struct strbuf out;
    strbuf_init(&out, 8192);
    assert_int_equal(count, 2);
    config_limit_name(bindings[1].limit, &subject, &out);
    assert_in_range(out.len, 30, 100);
    assert_true(slice_starts_with(strbuf_slice(&out), SLICE("tenant:t:campaign:~")));
    strbuf_free(&out);
    mem_free(bindings);
}

static void in_words(void **state)
{
    (void)state;
    static const struct {
        unsigned line;
        const char *text;
    } expected[] = {
        {11, "max-msg-rate 100/s; site google"},
        {9, "max-smtp-out 50 reserved 5; site google"},
        {12, "max-smtp-out 5 reserved 1; site google, each vip"},
        {13, "max-data-volume-rate 10M/m; site google"},
        {15, "max-msg-rate 20000/s; all mail"},
        {17, "max-msg-per-day 50000; each site, vip v1"},
        {21, "max-msg-rate 60/m burst 10; each tenant, each campaign"},
        {25, "max-msg-rate unlimited; site free.example"},
    };
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        const struct config_limit *limit = NULL;
        for (size_t k = config->limit_count; k-- > 0;) {
            limit = config->limits[k].line == expected[i].line ? &config->limits[k] : limit;
        }
        assert_non_null(limit);
        struct strbuf out;
        strbuf_init(&out, 1000);
        config_limit_show(limit, &out);
        (void)strbuf_add_cstr(&out, "; ");
        config_limit_show_scopes(limit, &out);
        assert_string_equal(out.ptr, expected[i].text);
        strbuf_free(&out);
    }
    assert_string_equal(config->limits[0].key, "sites[0].max-smtp-out");
    assert_true(config_shares_limits(config));
}

static const struct config_limit *connections_of(const char *text)
{
    struct fault fault;
    config_free(&config);
    config = config_load_text("f.yaml", slice_cstr(text), &fault);
    if (config == NULL) {
        fail_msg("%s", fault.text);
    }
    CHECK(config != NULL);
    const struct config_limit *found = NULL;
    for (size_t i = 0; i < config->limit_count; i++) {
        found = config->limits[i].kind == CONFIG_LIMIT_CONNECTIONS ? &config->limits[i] : found;
    }
    CHECK(found != NULL);
    return found;
}

#define KAFKA "kafka: {bootstrap-servers: \"localhost:9092\"}\n"

static void some_connections_are_kept_for_transactional_mail(void **state)
{
    static const struct {
        const char *text;
        uint64_t reserved;
        uint32_t per_lane;
    } cases[] = {
        {"sites: [{name: default, max-smtp-out: 3}]\n", 0, 2},
        {"sites: [{name: default, max-smtp-out: 4, max-connections-per-lane: 3}]\n", 1, 0},
        {"sites: [{name: default, max-smtp-out: 60}]\n", 6, 2},
        {"sites: [{name: default, max-smtp-out: 60, reserved-connections: 0}]\n", 0, 0},
        {"sites: [{name: default, max-smtp-out: 60, reserved-connections: 0%}]\n", 0, 0},
        {"sites: [{name: default, max-smtp-out: 60, reserved-connections: 4}]\n", 4, 4},
        {"sites: [{name: default, max-smtp-out: 60, reserved-connections: 50%}]\n", 30, 10},
        {"limits: [{site: each, max-smtp-out: 40}]\n", 4, 2},
        {"limits: [{max-smtp-out: 40, reserved-connections: 39}]\n", 39, 2},
        {"limits: [{tenant: a, max-smtp-out: 40}]\n", 0, 2}, /* they carry mail of many */
        {"streams: [{name: bulk, class: bulk}]\nlimits: [{max-smtp-out: 40}]\n", 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[400];
        (void)snprintf(text, sizeof(text), KAFKA "%s", cases[i].text);
        assert_int_equal(connections_of(text)->reserved, cases[i].reserved);
        assert_int_equal(config->sites[0].reserved_per_lane, cases[i].per_lane);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_entry_counts_all_its_sites_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_default_counts_each_site, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unlimited_lifts_what_is_more_general, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mail_has_limits_by_tenant_campaign_and_stream, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(long_values_are_counted_by_their_hash, set_up, tear_down),
        cmocka_unit_test_setup_teardown(in_words, set_up, tear_down),
        cmocka_unit_test_setup_teardown(some_connections_are_kept_for_transactional_mail, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

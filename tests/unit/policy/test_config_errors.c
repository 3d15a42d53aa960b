/* Every kind of error in a configuration file: the exact line, key and text. */
#include "policy/config.h"
#include "unit/temp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#define KAFKA "kafka: {bootstrap-servers: \"localhost:9092\"}\n" /* line 1 */
#define VIP "vips: [{name: v1, source-ipv4: 127.0.0.1, ehlo-name: a.example}]\n"

struct wrong {
    const char *text;
    const char *first; /* of the problems, behind the file's name */
};

static void check_all(const struct wrong *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct fault fault = {0};
        char expected[FAULT_TEXT_MAX];
        struct config *config = config_load_text("f.yaml", slice_cstr(cases[i].text), &fault);
        (void)snprintf(expected, sizeof(expected), "f.yaml%s", cases[i].first);
        if (config != NULL) {
            config_free(&config);
            fail_msg("taken without an error: %s", cases[i].text);
        }
        assert_string_equal(fault.text, expected);
        assert_int_equal(fault.kind, FAULT_INVALID);
    }
}

static void test_syntax(void **state)
{
    (void)state;
    static const struct wrong cases[] = {
        {KAFKA "redis: {port: 1\n", ":3: syntax: did not find expected ',' or '}' (while parsing a "
                                    "flow mapping that begins in line 2)"},
        {KAFKA "redis: [\n", ":3: syntax: did not find expected node content (while parsing a flow "
                             "node that begins in line 3)"},
        {KAFKA "\tredis: 1\n", ":2: syntax: found character that cannot start any token (while "
                               "scanning for the next token that "
                               "begins in line 2)"},
        {KAFKA "---\nredis: {}\n", ":3: syntax: a second document begins; expected one"},
        {KAFKA "redis: *x\n", ":2: syntax: found undefined alias"},
        {"- a\n", ":1: configuration: is a list; expected a mapping of keys and values"},
        {"", ":1: kafka.bootstrap-servers: is missing; expected HOST:PORT, several separated by "
             "commas"},
        {"kafka: \x01\n", ":1: syntax: control characters are not allowed at byte 7"},
        {"kafka: \xff\n", ":1: syntax: invalid leading UTF-8 octet at byte 7"},
    };
    check_all(cases, ARRAY_LEN(cases));
}

static void test_keys(void **state)
{
    (void)state;
    static const struct wrong cases[] = {
        {KAFKA "worker:\n  max-conections: 5\n",
         ":3: worker.max-conections: is not a key of the worker settings; did you mean "
         "\"max-connections\"?"},
        {KAFKA "worker:\n  log_level: info\n",
         ":3: worker.log_level: is not a key of the worker settings; did you mean \"log-level\"?"},
        {KAFKA "dns:\n  colour: blue\n",
         ":3: dns.colour: is not a key of the DNS settings; expected one of servers, timeout, "
         "negative-ttl-max, ttl-max, dnssec"},
        {KAFKA "sits: []\n",
         ":2: sits: is not a key of the configuration; did you mean \"sites\"?"},
        {KAFKA "redis:\n  port: 1\n  port: 2\n",
         ":4: redis.port: stands here a second time; the first is in line 3"},
        {KAFKA "redis:\n  ? [a]\n  : b\n", ":3: redis: has a key that is no name"},
        {KAFKA VIP "pools:\n - members: [v1]\n",
         ":4: pools[0].name: is missing; expected a name without blanks"},
        {KAFKA VIP "pools:\n - name: p\n",
         ":4: pools[0].members: is missing; expected a list of at least one"},
        {KAFKA VIP "pools:\n - name: p\n   members: []\n",
         ":5: pools[0].members: is empty; expected at least one"},
        {KAFKA "streams:\n - name: x\n",
         ":3: streams[0].class: is missing; expected transactional or bulk"},
        {"kafka:\n  bootstrap-servers: a:1\n  properties:\n    linger.ms: 1\n    linger.ms: 2\n",
         ":5: kafka.properties.linger.ms: stands here a second time"},
    };
    check_all(cases, ARRAY_LEN(cases));
}

static void test_shapes(void **state)
{
    (void)state;
    static const struct wrong cases[] = {
        {KAFKA "redis: 127.0.0.1\n",
         ":2: redis: is a single value; expected a mapping of keys and values"},
        {KAFKA "vips: {name: v1}\n", ":2: vips: is a mapping; expected a list"},
        {KAFKA "vips: [v1]\n",
         ":2: vips[0]: is a single value; expected a mapping of keys and values"},
        {KAFKA "redis: {port: [1]}\n", ":2: redis.port: is a list; expected a whole number"},
        {KAFKA "redis:\n  host:\n",
         ":3: redis.host: has no value; expected a host name or an IP address"},
        {KAFKA "redis:\n  port: \"\"\n", ":3: redis.port: has no value; expected a whole number"},
        {KAFKA "sites: [{name: default, retry: {a: b}}]\n",
         ":2: sites[0].retry: is a mapping; expected a list"},
        {"kafka: {bootstrap-servers: \"a:1\", properties: [a]}\n",
         ":1: kafka.properties: is a list; expected a mapping of keys and values"},
        {"kafka: {bootstrap-servers: \"a:1\", properties: {a: [b]}}\n",
         ":1: kafka.properties.a: is a list; expected text, or {file: PATH}"},
    };
    check_all(cases, ARRAY_LEN(cases));
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct wrong cases[] = {
        {KAFKA "redis:\n  port: 70000\n",
         ":3: redis.port: \"70000\" is out of range; expected 1 to 65535"},
        {KAFKA "redis:\n  port: -1\n",
         ":3: redis.port: \"-1\" is negative; expected a whole number"},
        {KAFKA "redis:\n  port: 0x10\n",
         ":3: redis.port: \"0x10\" is not valid; expected a whole number"},
        {KAFKA "redis:\n  port: 99999999999999999999\n",
         ":3: redis.port: \"99999999999999999999\" is not valid; expected a whole number"},
        {KAFKA "sites: [{name: default, max-smtp-out: many}]\n",
         ":2: sites[0].max-smtp-out: \"many\" is not valid; expected a whole number, 0 or "
         "\"unlimited\" for no limit"},
        {KAFKA "worker: {drain-timeout: 5 minutes}\n",
         ":2: worker.drain-timeout: \"5 minutes\" is not valid; expected a duration such as 90s, "
         "15m, 2h or 3d"},
        {KAFKA "worker: {drain-timeout: -5s}\n", ":2: worker.drain-timeout: \"-5s\" is negative; "
                                                 "expected a duration such as 90s, 15m, 2h or 3d"},
        {KAFKA "worker: {drain-timeout: 2d}\n",
         ":2: worker.drain-timeout: \"2d\" is out of range; expected 0ms to 1h"},
        {KAFKA "worker: {memory-max: lots}\n", ":2: worker.memory-max: \"lots\" is not valid; "
                                               "expected a size such as 65536, 512K, 25M or 2G"},
        {KAFKA "worker: {memory-max: -1M}\n", ":2: worker.memory-max: \"-1M\" is negative; "
                                              "expected a size such as 65536, 512K, 25M or 2G"},
        {KAFKA "worker: {memory-max: 1K}\n",
         ":2: worker.memory-max: \"1K\" is out of range; expected 1048576 to 1099511627776 bytes"},
        {KAFKA "worker: {memory-max: 99999999999999T}\n",
         ":2: worker.memory-max: \"99999999999999T\" is out of range; expected 1048576 to "
         "1099511627776 bytes"},
        {KAFKA "worker: {received-events: maybe}\n",
         ":2: worker.received-events: \"maybe\" is not valid; expected true or false"},
        {KAFKA "worker: {log-level: loud}\n",
         ":2: worker.log-level: \"loud\" is not valid; expected error, warn, info or debug"},
    };
    check_all(cases, ARRAY_LEN(cases));
}

static void test_rates(void **state)
{
    (void)state;
#define RATE(text) KAFKA "sites:\n - name: default\n   max-msg-rate: " text "\n"
    static const struct wrong cases[] = {
        {RATE("0/h"), ":4: sites[0].max-msg-rate: \"0/h\" would never send anything; expected at "
                      "least 1 per interval, or "
                      "\"unlimited\" for no limit"},
        {RATE("-3/h"), ":4: sites[0].max-msg-rate: \"-3/h\" is negative; expected a rate such as "
                       "300/h, 10/s or 1000/15m, or "
                       "\"unlimited\""},
        {RATE("300"), ":4: sites[0].max-msg-rate: \"300\" is not valid; expected a rate such as "
                      "300/h, 10/s or 1000/15m, or "
                      "\"unlimited\""},
        {RATE("3/x"), ":4: sites[0].max-msg-rate: \"3/x\" is not valid; expected a rate such as "
                      "300/h, 10/s or 1000/15m, or "
                      "\"unlimited\""},
        {RATE("3/0s"), ":4: sites[0].max-msg-rate: \"3/0s\" is out of range; expected 1 to "
                       "1000000000 per 1ms to 31d"},
    };
#undef RATE
    check_all(cases, ARRAY_LEN(cases));
}

static void test_names(void **state)
{
    (void)state;
    static const struct wrong cases[] = {
        {"kafka: {bootstrap-servers: localhost}\n",
         ":1: kafka.bootstrap-servers: \"localhost\" is not valid; expected HOST:PORT, several "
         "separated by commas"},
        {"kafka: {bootstrap-servers: \"a:1\", prefix: a b}\n",
         ":1: kafka.prefix: \"a b\" is not valid; expected letters, digits, \".\", \"_\" and "
         "\"-\", as in a Kafka topic's name"},
        {KAFKA "streams:\n - {name: a/b, class: bulk}\n",
         ":3: streams[0].name: \"a/b\" is not valid; expected letters, digits, \".\", \"_\" and "
         "\"-\", as in a Kafka topic's name"},
        {KAFKA "streams:\n - {name: a, class: bulk, duplicates: always}\n",
         ":3: streams[0].duplicates: \"always\" is not valid; expected never, rare or off"},
        {KAFKA "streams:\n - {name: a, class: bulk, on-uncertain: retry}\n",
         ":3: streams[0].on-uncertain: \"retry\" is not valid; expected resend, hold or drop"},
        {KAFKA "streams:\n - {name: a, class: slow}\n",
         ":3: streams[0].class: \"slow\" is not valid; expected transactional or bulk"},
        {KAFKA "vips:\n - name: v 1\n   ehlo-name: a\n   source-ipv4: 1.2.3.4\n",
         ":3: vips[0].name: \"v 1\" is not valid; expected a name without blanks"},
        {KAFKA "vips:\n - name: v1\n   ehlo-name: -a\n   source-ipv4: 1.2.3.4\n",
         ":4: vips[0].ehlo-name: \"-a\" is not valid; expected a host name, or an address literal "
         "such as \"[192.0.2.1]\""},
        {KAFKA "vips:\n - name: v1\n   ehlo-name: a\n   source-ipv4: 1.2.3\n",
         ":5: vips[0].source-ipv4: \"1.2.3\" is not valid; expected an IPv4 address such as "
         "192.0.2.1"},
        {KAFKA "vips:\n - name: v1\n   ehlo-name: a\n   source-ipv6: 1.2.3.4\n",
         ":5: vips[0].source-ipv6: \"1.2.3.4\" is not valid; expected an IPv6 address such as "
         "2001:db8::1"},
        {KAFKA "dns: {servers: [ns.example]}\n",
         ":2: dns.servers[0]: \"ns.example\" is not valid; expected an IP address, ADDRESS@PORT, "
         "or \"recursive\""},
        {KAFKA "sites: [{name: default, smtp-hosts: [\"a:0\"]}]\n",
         ":2: sites[0].smtp-hosts[0]: \"a:0\" is not valid; expected HOST or HOST:PORT "
         "(\"[2001:db8::1]:25\" for IPv6)"},
        {KAFKA "sites: [{name: a, match: \"*\"}]\n",
         ":2: sites[0].match: \"*\" is not valid; expected a site name, a recipient domain, or "
         "\"*.suffix\" of an MX host name"},
        {KAFKA "producer: {listeners: [localhost]}\n",
         ":2: producer.listeners[0]: \"localhost\" is not valid; expected ADDRESS:PORT "
         "such as \"127.0.0.1:2525\" or "
         "\"[::1]:2525\""},
        {KAFKA "redis: {user: \"a\\nb\"}\n",
         ":2: redis.user: has control characters or is not UTF-8; expected text"},
    };
    check_all(cases, ARRAY_LEN(cases));
}

static void test_references(void **state)
{
    (void)state;
    static const struct wrong cases[] = {
        {KAFKA VIP "pools:\n - name: p\n   members: [v2]\n",
         ":5: pools[0].members[0].vip: \"v2\" is not a VIP of this file; did you mean \"v1\"?"},
        {KAFKA VIP "pools:\n - name: p\n   members: [{vip: other}]\n",
         ":5: pools[0].members[0].vip: \"other\" is not a VIP of this file"},
        {KAFKA VIP "pools:\n - {name: v1, members: [v1]}\n",
         ":4: pools[0].name: \"v1\" is also the name of a VIP; expected a name of its own"},
        {KAFKA VIP "pools:\n - {name: p, members: [v1]}\n - {name: p, members: [v1]}\n",
         ":5: pools[1].name: \"p\" has been given already in line 4; expected a name of its own"},
        {KAFKA "tenants:\n - name: t\n   pools: [p]\n",
         ":4: tenants[0].pools[0]: \"p\" is neither a pool nor a VIP of this file"},
        {KAFKA VIP "pools:\n - {name: p, members: [v1]}\ntenants:\n - name: t\n   pools: [p]\n   "
                   "default-pool: v1\n",
         ":8: tenants[0].default-pool: \"v1\" is not among the tenant's pools"},
        {KAFKA "streams:\n - name: x\n   class: bulk\n   pool: p\n",
         ":5: streams[0].pool: \"p\" is neither a pool nor a VIP of this file"},
        {KAFKA "worker:\n  vips: [a, b]\n", ":3: worker.vips[0]: \"a\" is not a VIP of this file"},
        {KAFKA "producer:\n  default-stream: x\n",
         ":3: producer.default-stream: \"x\" is not a stream of this file"},
        {KAFKA "vips:\n - {name: v, ehlo-name: a}\n",
         ":3: vips[0]: has no address; expected source-ipv4, source-ipv6 or both"},
    };
    check_all(cases, ARRAY_LEN(cases));
}

static void test_combinations(void **state)
{
    (void)state;
    static const struct wrong cases[] = {
        {"kafka:\n  bootstrap-servers: a:1\n  min-insync-replicas: 2\n",
         ":3: kafka.min-insync-replicas: 2 is more than kafka.replication-factor (1), so nothing "
         "could be written"},
        {"kafka:\n  bootstrap-servers: a:1\n  properties:\n    group.id: x\n",
         ":4: kafka.properties: group.id is given by kafka.group; take it out here"},
        {KAFKA "dns: {servers: [127.0.0.1, recursive]}\n",
         ":2: dns.servers[1]: \"recursive\" stands beside other servers; expected it alone"},
        {KAFKA "sites:\n - name: default\n - {name: a, match: a.example}\n",
         ":3: sites[0].name: \"default\" takes every site that nothing before it matches; expected "
         "it as the last one"},
        {KAFKA "sites:\n - name: default\n   match: a.example\n",
         ":4: sites[0].match: stands in the site \"default\", which matches everything; take it "
         "out"},
        {KAFKA "sites:\n - name: a\n",
         ":3: sites[0].name: \"a\" has no key \"match\", so it would never be used"},
        {KAFKA "sites:\n - {name: default, use-starttls: never, tls-verify: true}\n",
         ":3: sites[0].tls-verify: is true while use-starttls is never; expected opportunistic or "
         "required with it"},
        {KAFKA "unsubscribe:\n  url: http://leave.example\n",
         ":3: unsubscribe.url: \"http://leave.example\" is not valid; expected https://HOST/PATH "
         "(RFC "
         "8058)"},
        {KAFKA "unsubscribe:\n  tls-key-file: a\n",
         ":3: unsubscribe.tls-key-file: stands alone; expected unsubscribe.tls-certificate-file "
         "with "
         "it"},
        {KAFKA "unsubscribe:\n  listeners: [{address: \"0.0.0.0:443\", implicit-tls: true}]\n",
         ":3: unsubscribe.listeners[0]: has implicit-tls, but there is no "
         "unsubscribe.tls-certificate-file"},
        {KAFKA "verp:\n  max-age: 30d\n  facts-retention: 29d\n",
         ":4: verp.facts-retention: is shorter than verp.max-age; a report that is believed needs "
         "its facts"},
        {KAFKA "verp:\n  facts-retention: 3651d\n",
         ":3: verp.facts-retention: \"3651d\" is out of range; expected 1h to 3650d"},
        {KAFKA "tenants:\n - {name: a, list-unsubscribe: true}\n",
         ":3: tenants[0].list-unsubscribe: is true; expected verp.keys, and unsubscribe.url or "
         "verp.domains with it"},
        {KAFKA "producer:\n  tls-certificate-file: a\n",
         ":3: producer.tls-certificate-file: stands alone; expected producer.tls-key-file with it"},
        {KAFKA "producer:\n  listeners: [\"192.0.2.1:25\"]\n",
         ":3: producer.listeners[0]: 192.0.2.1:25 is not a loopback address, so users must log in; "
         "expected producer.users-file"},
        {KAFKA "producer:\n  users-file: u\n  listeners: [\"[2001:db8::1]:25\"]\n",
         ":4: producer.listeners[0]: [2001:db8::1]:25 is not a loopback address, where users can "
         "log in under TLS only; expected "
         "producer.tls-certificate-file"},
        {KAFKA "producer:\n  users-file: u\n  listeners: [{address: \"127.0.0.1:465\", "
               "implicit-tls: true}]\n",
         ":4: producer.listeners[0]: has implicit-tls, but there is no "
         "producer.tls-certificate-file"},
        {KAFKA "producer:\n  listeners: [\"127.0.0.1:25\"]\n  auth-required: true\n",
         ":4: producer.auth-required: is true, but without producer.users-file nobody could log "
         "in"},
        {KAFKA "producer:\n  listeners: [\"127.0.0.1:25\"]\n",
         ":3: producer: takes mail from loopback without login; expected default-tenant, in whose "
         "name it goes"},
    };
    check_all(cases, ARRAY_LEN(cases));
}

#define ACTION KAFKA "bouncer:\n  actions:\n"
#define ADDRESS KAFKA "bouncer:\n  addresses:\n"

static void test_bouncer(void **state)
{
    (void)state;
    static const struct wrong cases[] = {
        {ACTION "   - {do: forward, target: \"mail.example:25\", to: a@b.example}\n",
         ":4: bouncer.actions[0].target: \"mail.example:25\" is not valid; expected "
         "smtp://HOST:PORT"},
        {ACTION "   - {do: forward, target: \"smtp://mail.example\", to: someone}\n",
         ":4: bouncer.actions[0].to: \"someone\" has no domain; expected local@domain"},
        {ACTION "   - {do: post, target: example.net/x}\n",
         ":4: bouncer.actions[0].target: \"example.net/x\" is not valid; expected "
         "https://HOST/PATH"},
        {ACTION "   - {do: pipe, target: cat}\n",
         ":4: bouncer.actions[0].target: \"cat\" is not valid; expected /PATH/OF/A/PROGRAM "
         "ARGUMENT…"},
        {ACTION "   - {do: maildir, target: mail}\n",
         ":4: bouncer.actions[0].target: \"mail\" is not valid; expected an absolute path"},
        {ADDRESS "   - {address: a@b.example, kind: feedback}\n"
                 "   - {address: A@b.example, kind: role}\n",
         ":5: bouncer.addresses[1]: \"A@b.example\" has been given already; expected each address "
         "once"},
        {ADDRESS "   - {address: \"@\", kind: bounce}\n",
         ":4: bouncer.addresses[0]: \"@\" has no domain; expected local@domain, or @domain for all "
         "of it"},
        {ADDRESS "   - {address: leave@b.example, kind: unsubscribe}\n",
         ":4: bouncer.addresses[0]: has no tenant; expected the one whose mail is to end for those "
         "who write there"},
    };
    check_all(cases, ARRAY_LEN(cases));
}

static void test_redis(void **state)
{
    (void)state;
    static const struct wrong cases[] = {
        {KAFKA "redis:\n  nodes: [a, b]\n  host: c\n",
         ":4: redis.host: stands beside redis.nodes; expected one of them"},
        {KAFKA "redis:\n  nodes: [a]\n  unix-path: /tmp/s\n",
         ":4: redis.unix-path: stands beside redis.nodes; expected one of them"},
        {KAFKA "redis:\n  nodes:\n  - a:1\n  - b:1\n  - a:1\n",
         ":6: redis.nodes[2]: \"a:1\" has been given already"},
        {KAFKA "redis:\n  nodes: [a:b]\n",
         ":3: redis.nodes[0]: \"a:b\" is not valid; expected HOST or HOST:PORT "
         "(\"[2001:db8::1]:25\" for IPv6)"},
        {KAFKA "redis:\n  cluster: true\n  unix-path: /tmp/s\n",
         ":4: redis.unix-path: is given, but the nodes of a cluster (redis.cluster) are reached by "
         "TCP"},
        {KAFKA "redis:\n  cluster: true\n  database: 2\n",
         ":4: redis.database: is 2, but a cluster (redis.cluster) has database 0 only"},
        {KAFKA "redis:\n  hash-tags: 32\n",
         ":3: redis.hash-tags: is given, but redis.cluster is not true"},
        {KAFKA "redis:\n  cluster: true\n  hash-tags: 257\n",
         ":4: redis.hash-tags: \"257\" is out of range; expected 1 to 256"},
        {KAFKA "redis:\n  user: u\n", ":3: redis.user: is given without redis.password"},
        {KAFKA "redis:\n  tls-ca-file: a\n",
         ":3: redis.tls-ca-file: is given, but redis.use-tls is not true"},
        {KAFKA "redis:\n  use-tls: true\n  tls-certificate-file: a\n",
         ":4: redis.tls-certificate-file: is given without redis.tls-key-file"},
        {KAFKA "redis:\n  use-tls: true\n  tls-key-file: a\n",
         ":4: redis.tls-key-file: is given without redis.tls-certificate-file"},
        {KAFKA "redis:\n  use-tls: true\n  unix-path: /tmp/s\n",
         ":4: redis.unix-path: is given, but redis.use-tls is true; TLS is for TCP"},
    };
    check_all(cases, ARRAY_LEN(cases));
}

static void test_limits(void **state)
{
    (void)state;
    static const struct wrong cases[] = {
        {KAFKA "limits:\n - {tenant: a}\n",
         ":3: limits[0]: sets no limit; expected one of max-smtp-out, max-msg-rate, "
         "max-msg-per-day, max-connect-rate, max-data-volume-rate, max-msg-per-connection, "
         "max-rcpt-per-transaction"},
        {KAFKA "limits:\n - {max-smtp-out: 0}\n",
         ":3: limits[0].max-smtp-out: \"0\" is out of range; expected 1 to 1000000"},
        {KAFKA "limits:\n - {max-smtp-out: -1}\n",
         ":3: limits[0].max-smtp-out: \"-1\" is out of range; expected 1 to 1000000"},
        {KAFKA "limits:\n - {max-msg-rate: 0/s}\n",
         ":3: limits[0].max-msg-rate: \"0/s\" would never send anything; expected at least 1 per "
         "interval, or \"unlimited\" for no limit"},
        {KAFKA "limits:\n - max-msg-rate:\n   - 5/s\n   - -5/s\n",
         ":5: limits[0].max-msg-rate[1]: \"-5/s\" is negative; expected a rate such as 300/h, 10/s "
         "or 1000/15m, or \"unlimited\""},
        {KAFKA "limits:\n - {max-data-volume-rate: 5X/s}\n",
         ":3: limits[0].max-data-volume-rate: \"5X/s\" is not valid; expected a volume such as "
         "500M/h or 20G/d, or \"unlimited\""},
        {KAFKA "limits:\n - {max-data-volume-rate: 11T/s}\n",
         ":3: limits[0].max-data-volume-rate: \"11T/s\" is out of range; expected 1 to 10T per 1ms "
         "to 31d"},
        {KAFKA "limits:\n - {tennant: a, max-smtp-out: 1}\n",
         ":3: limits[0].tennant: is not a key of a limit; did you mean \"tenant\"?"},
        {KAFKA "sites: [{name: google, match: g.com}]\nlimits:\n - {site: gogle, max-smtp-out: "
               "1}\n",
         ":4: limits[0].site: \"gogle\" is no entry of sites, site name, domain or \"*.suffix\"; "
         "did "
         "you mean \"google\"?"},
        {KAFKA VIP "limits:\n - {vip: v2, max-smtp-out: 1}\n",
         ":4: limits[0].vip: \"v2\" is not a VIP of this file; did you mean \"v1\"?"},
        {KAFKA VIP "limits:\n - {pool: p, max-smtp-out: 1}\n",
         ":4: limits[0].pool: \"p\" is not a pool of this file"},
        {KAFKA "limits:\n - {stream: s, max-msg-rate: 1/s}\n",
         ":3: limits[0].stream: \"s\" is not a stream of this file"},
        {KAFKA "limits:\n - {tenant: a, max-connect-rate: 1/s}\n",
         ":3: limits[0].max-connect-rate: counts connections, which carry mail of many tenants; "
         "expected it without tenant, campaign and stream"},
        {KAFKA "limits:\n - {tenant: a, vip: each, max-msg-rate: 1/s}\n",
         ":3: limits[0].vip: cannot stand beside tenant, campaign or stream; expected pool instead "
         "(a pool may have a single VIP)"},
        {KAFKA "limits:\n - {tenant: a, max-smtp-out: 2, burst: 3}\n",
         ":3: limits[0].burst: is about max-msg-rate, which is not there"},
        {KAFKA "limits:\n - {tenant: each, max-smtp-out: 2, override: true}\n",
         ":3: limits[0].override: is true, but nothing is named, so the limit is not more specific "
         "than any other"},
        {KAFKA "limits:\n - {tenant: a, max-smtp-out: unlimited}\n",
         ":3: limits[0].max-smtp-out: is unlimited, which lifts nothing without \"override: "
         "true\""},
        {KAFKA "limits:\n - {tenant: a, max-msg-rate: 2/s}\n - {tenant: a, max-msg-rate: [3/h, "
               "5/s]}\n",
         ":4: limits[1].max-msg-rate[1]: the same is limited already in line 3; expected it once"},
    };
    check_all(cases, ARRAY_LEN(cases));
}

static void test_reserved_connections(void **state)
{
    (void)state;
    static const struct wrong cases[] = {
        {KAFKA "sites:\n - name: default\n   reserved-connections: 100%\n",
         ":4: sites[0].reserved-connections: \"100%\" is out of range; expected 0% to 99%"},
        {KAFKA "sites:\n - name: default\n   reserved-connections: x%\n",
         ":4: sites[0].reserved-connections: \"x%\" is not valid; expected a whole number, or a "
         "percentage such as 10%"},
        {KAFKA "sites:\n - name: default\n   reserved-connections: -1\n",
         ":4: sites[0].reserved-connections: \"-1\" is negative; expected a whole number, or a "
         "percentage such as 10%"},
        {KAFKA "sites:\n - name: default\n   max-smtp-out: 5\n   reserved-connections: 5\n",
         ":5: sites[0].reserved-connections: 5 of 5 connections (max-smtp-out) are reserved, which "
         "leaves none for bulk mail; expected fewer, or a percentage"},
        {KAFKA "sites:\n - name: default\n   reserved-connections: 20\n",
         ":4: sites[0].reserved-connections: 20 of 20 connections (max-connections-per-lane) are "
         "reserved, which leaves none for bulk mail; expected fewer, or a percentage"},
        {KAFKA "sites:\n - name: a\n   match: a.example\n   max-smtp-out: 3\n - name: default\n"
               "   reserved-connections: 4\n",
         ":5: sites[0].max-smtp-out: 4 of 3 connections (max-smtp-out) are reserved, which leaves "
         "none for bulk mail; expected fewer, or a percentage"},
        {KAFKA "limits:\n - {max-smtp-out: 7, reserved-connections: 8}\n",
         ":3: limits[0].reserved-connections: 8 of 7 connections (max-smtp-out) are reserved, "
         "which leaves none for bulk mail; expected fewer, or a percentage"},
        {KAFKA "limits:\n - {max-msg-rate: 7/s, reserved-connections: 8}\n",
         ":3: limits[0].reserved-connections: is about max-smtp-out of a site, VIP or pool, which "
         "is not there"},
        {KAFKA "limits:\n - {tenant: a, max-smtp-out: 7, reserved-connections: 2}\n",
         ":3: limits[0].reserved-connections: is about max-smtp-out of a site, VIP or pool, which "
         "is not there"},
    };
    check_all(cases, ARRAY_LEN(cases));
}

static void test_secrets(void **state)
{
    (void)state;
    static const struct wrong cases[] = {
        {KAFKA "redis:\n  password: {file: /nowhere/secret}\n",
         ":3: redis.password: the file /nowhere/secret cannot be read: No such file or directory"},
        {KAFKA "redis:\n  password: {file: /tmp}\n",
         ":3: redis.password: /tmp is not a regular file"},
        {KAFKA "redis:\n  password: {file: a, b: c}\n",
         ":3: redis.password: is a mapping; expected text, or {file: PATH} alone"},
        {KAFKA "redis:\n  password: {path: a}\n",
         ":3: redis.password: is a mapping; expected text, or {file: PATH} alone"},
    };
    check_all(cases, ARRAY_LEN(cases));
}

static void test_secret_is_never_repeated(void **state)
{
    (void)state;
    struct fault fault;
    char text[3000] = KAFKA "redis: {password: \"hunter2\\x01\"}\n";
    struct config *config = config_load_text("f.yaml", slice_cstr(text), &fault);
    assert_null(config);
    assert_null(strstr(fault.text, "hunter2"));
    size_t used = (size_t)snprintf(text, sizeof(text), KAFKA "redis: {password: hunter2");
    memset(text + used, 'x', 2000);
    memcpy(text + used + 2000, "}\n", 3);
    config = config_load_text("f.yaml", slice_cstr(text), &fault);
    assert_null(config);
    assert_string_equal(
        fault.text,
        "f.yaml:2: redis.password: is too long (2007 bytes); expected at most 1024 bytes");
}

static void test_aliases_do_not_explode(void **state)
{
    (void)state;
    char text[20000];
    struct fault fault;
    size_t used =
        (size_t)snprintf(text, sizeof(text), KAFKA "sites:\n - name: default\n   retry: &r [");
    for (size_t i = 0; i < 500; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "1h,");
    }
    used += (size_t)snprintf(text + used, sizeof(text) - used, "1h]\nx: [");
    for (size_t i = 0; i < 500; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "*r,");
    }
    (void)snprintf(text + used, sizeof(text) - used, "*r]\n");
    assert_null(config_load_text("f.yaml", slice_cstr(text),
                                 &fault)); /* "x" is no key; nothing was expanded */
    struct config *config = config_load_text(
        "f.yaml", SLICE("kafka: &k\n  bootstrap-servers: a:1\n  properties: *k\n"), &fault);
    assert_null(config); /* a mapping that contains itself ends at the schema's depth */
}

struct told {
    size_t count;
    unsigned lines[20];
};

static void count_problem(void *owner, const char *path, unsigned line, const char *key,
                          const char *problem)
{
    struct told *told = owner;
    assert_non_null(path);
    assert_true(key[0] != '\0' && problem[0] != '\0');
    assert_true(told->count < ARRAY_LEN(told->lines));
    told->lines[told->count++] = line;
}

static void test_check_tells_all_in_order(void **state)
{
    (void)state;
    char path[TEMP_NAME_MAX];
    int fd = mkstemp(temp_name(path));
    static const char text[] = "redis:\n"
                               "  port: none\n" /* 2 */
                               "  hots: a\n"    /* 3 */
                               "vips:\n"
                               "  - name: v\n" /* 5: no ehlo-name; no address */
                               "worker:\n"
                               "  vips: [w]\n" /* not judged: the VIPs have problems */
                               "kafka:\n"
                               "  shards: 0\n" /* 9, twice: bootstrap-servers is missing */
                               "producer:\n"
                               "  default-stream: x\n"; /* 11 */
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    assert_int_equal(close(fd), 0);
    struct told told = {0};
    assert_int_equal(config_check(path, count_problem, &told), 7);
    assert_int_equal(unlink(path), 0);
    static const unsigned lines[] = {2, 3, 5, 5, 9, 9, 11};
    assert_int_equal(told.count, ARRAY_LEN(lines));
    assert_memory_equal(told.lines, lines, sizeof(lines));
}

static void test_no_file(void **state)
{
    (void)state;
    struct fault fault;
    struct told told = {0};
    assert_null(config_load("/nowhere/sluice.yaml", &fault));
    assert_string_equal(fault.text,
                        "/nowhere/sluice.yaml: file: cannot be opened: No such file or directory");
    assert_int_equal(config_check("/nowhere/sluice.yaml", count_problem, &told), 1);
    assert_int_equal(told.lines[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_combinations),
        cmocka_unit_test(test_bouncer),
        cmocka_unit_test(test_redis),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_reserved_connections),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_secret_is_never_repeated),
        cmocka_unit_test(test_aliases_do_not_explode),
        cmocka_unit_test(test_check_tells_all_in_order),
        cmocka_unit_test(test_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The resolver against a real authoritative server; tests/dns/run starts it with the zones in
 * zones/ and sets DNS_SERVER, NSD_STOP and NSD_START. Waiting is bounded by a watchdog; no time is
 * measured.
 */
#include "dns/site.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WATCHDOG_MS 60000

struct bench {
    struct io_loop *loop;
    struct dns_sites *sites;
    size_t open; /* look-ups whose done() is awaited */
    struct timer watchdog;
    struct timer pause;
};

/* One look-up and what came of it. */
struct ask {
    struct dns_lookup lookup;
    struct bench *bench;
    struct dns_site *site;
    struct smtp_outcome outcome;
    char text[512];
    unsigned done;
};

struct ask_addresses {
    struct dns_address_lookup lookup;
    struct bench *bench;
    struct dns_addresses found;
    struct smtp_outcome outcome;
    unsigned done;
};

static void watchdog_bites(struct timer *timer, struct mono_time now)
{
    (void)timer;
    (void)now;
    fprintf(stderr, "no completion for %d ms\n", WATCHDOG_MS);
    abort();
}

static void pause_over(struct timer *timer, struct mono_time now)
{
    (void)now;
    io_loop_stop(CONTAINER_OF(timer, struct bench, pause)->loop);
}

static void bench_open_at(struct bench *bench, const struct dns_options *wanted, const char *server)
{
    struct dns_options options = *wanted;
    struct fault fault;
    *bench = (struct bench){0};
    bench->loop = io_loop_create(&fault);
    assert_non_null(bench->loop);
    options.servers = &server;
    options.server_count = 1;
    bench->sites = dns_sites_create(bench->loop, &options, &fault);
    if (bench->sites == NULL) {
        fail_msg("%s", fault.text);
    }
}

static void bench_open(struct bench *bench)
{
    struct dns_options options;
    dns_options_default(&options);
    bench_open_at(bench, &options, getenv("DNS_SERVER"));
}

static void bench_close(struct bench *bench)
{
    dns_sites_free(&bench->sites);
    assert_null(bench->sites);
    io_loop_free(&bench->loop);
}

static void bench_wait(struct bench *bench)
{
    if (bench->open > 0) {
        wheel_set(io_loop_wheel(bench->loop), &bench->watchdog,
                  mono_add_ms(mono_now(), WATCHDOG_MS), watchdog_bites);
        io_loop_run(bench->loop);
        wheel_cancel(io_loop_wheel(bench->loop), &bench->watchdog);
    }
    assert_int_equal(bench->open, 0);
}

static void bench_pause(struct bench *bench, int64_t ms)
{
    wheel_set(io_loop_wheel(bench->loop), &bench->pause, mono_add_ms(mono_now(), ms), pause_over);
    io_loop_run(bench->loop);
}

static void one_done(struct bench *bench)
{
    assert_true(bench->open > 0);
    if (--bench->open == 0) {
        io_loop_stop(bench->loop);
    }
}

static void site_done(struct dns_lookup *lookup, struct dns_site *site,
                      const struct smtp_outcome *outcome)
{
    struct ask *ask = CONTAINER_OF(lookup, struct ask, lookup);
    ask->done++;
    if (site != NULL) {
        assert_null(outcome);
        ask->site = dns_site_ref(site);
    } else {
        ask->outcome = *outcome;
        (void)snprintf(ask->text, sizeof(ask->text), "%.*s", SLICE_FMT(outcome->text));
        ask->outcome.text = slice_cstr(ask->text);
    }
    one_done(ask->bench);
}

/* True: answered from the cache. */
static bool ask_start(struct bench *bench, struct ask *ask, const char *domain)
{
    struct dns_site *site;
    *ask = (struct ask){.bench = bench, .lookup.done = site_done};
    bench->open++;
    if (dns_site_lookup(bench->sites, slice_cstr(domain), &ask->lookup, &site)) {
        ask->site = dns_site_ref(site);
        bench->open--;
        return true;
    }
    assert_int_equal(ask->done, 0);
    return false;
}

static void ask_site(struct bench *bench, struct ask *ask, const char *domain)
{
    if (!ask_start(bench, ask, domain)) {
        bench_wait(bench);
        assert_int_equal(ask->done, 1);
    }
}

static void ask_free(struct ask *ask)
{
    dns_site_unref(&ask->site);
}

static void addresses_done(struct dns_address_lookup *lookup, struct dns_addresses *addresses,
                           const struct smtp_outcome *outcome)
{
    struct ask_addresses *ask = CONTAINER_OF(lookup, struct ask_addresses, lookup);
    ask->done++;
    if (addresses != NULL) {
        assert_null(outcome);
        assert_true(addresses->count > 0);
        ask->found = *addresses;
        *addresses = (struct dns_addresses){0};
    } else {
        ask->outcome = *outcome;
        ask->outcome.text = SLICE_NULL;
    }
    one_done(ask->bench);
}

static void addresses_start(struct bench *bench, struct ask_addresses *ask, struct dns_site *site)
{
    *ask = (struct ask_addresses){.bench = bench, .lookup.done = addresses_done};
    bench->open++;
    dns_site_addresses(bench->sites, site, &ask->lookup);
    assert_int_equal(ask->done, 0);
}

static void ask_addresses_of(struct bench *bench, struct ask_addresses *ask, struct dns_site *site)
{
    addresses_start(bench, ask, site);
    bench_wait(bench);
    assert_int_equal(ask->done, 1);
}

static const char *address_text(const struct dns_address *address)
{
    static char text[INET6_ADDRSTRLEN];
    const struct sockaddr_storage *storage = &address->address;
    const void *bytes =
        storage->ss_family == AF_INET
            ? (const void *)&((const struct sockaddr_in *)(const void *)storage)->sin_addr
            : (const void *)&((const struct sockaddr_in6 *)(const void *)storage)->sin6_addr;
    assert_non_null(inet_ntop(storage->ss_family, bytes, text, sizeof(text)));
    return text;
}

static void assert_outcome(const struct smtp_outcome *outcome, enum smtp_result result,
                           enum smtp_scope scope, const char *enhanced)
{
    char text[SMTP_ENHANCED_TEXT_MAX];
    assert_int_equal(outcome->result, result);
    assert_int_equal(outcome->phase, SMTP_PHASE_DNS);
    assert_int_equal(outcome->scope, scope);
    assert_int_equal(outcome->code, 0);
    (void)smtp_enhanced_format(outcome->enhanced, text);
    assert_string_equal(text, enhanced);
}

static void assert_bounced(struct bench *bench, const char *domain, const char *enhanced)
{
    /* Twice: from the server, and from the cache. */
    for (int i = 0; i < 2; i++) {
        struct ask ask;
        ask_site(bench, &ask, domain);
        assert_null(ask.site);
        assert_outcome(&ask.outcome, SMTP_RESULT_BOUNCED, SMTP_SCOPE_RECIPIENT, enhanced);
        assert_true(slice_starts_with(ask.outcome.text, slice_cstr(domain)));
    }
}

static void assert_deferred(struct bench *bench, const char *domain)
{
    struct ask ask;
    ask_site(bench, &ask, domain);
    assert_null(ask.site);
    assert_outcome(&ask.outcome, SMTP_RESULT_DEFERRED, SMTP_SCOPE_SITE, "4.4.3");
}

static void test_mx_set(void **state)
{
    (void)state;
    struct bench bench;
    struct ask set;
    struct ask again;
    struct ask same;
    struct ask mixed;
    bench_open(&bench);
    ask_site(&bench, &set, "set.example.test");
    assert_non_null(set.site);
    assert_int_equal(set.site->host_count, 3);
    assert_string_equal(set.site->hosts[0].name, "mx1.example.test");
    assert_string_equal(set.site->hosts[2].name, "mx3.example.test");
    assert_int_equal(set.site->hosts[2].preference, 20);
    assert_string_equal(set.site->name, "example.test");
    assert_true(ask_start(&bench, &again, "set.example.test"));
    assert_ptr_equal(again.site, set.site);
    ask_site(&bench, &same, "sameset.example.test");
    assert_string_equal(same.site->key, set.site->key);
    assert_string_equal(same.site->hosts[0].name, "mx2.example.test");
    ask_site(&bench, &mixed, "mixed.example.test");
    assert_string_not_equal(mixed.site->key, set.site->key);
    assert_string_equal(mixed.site->name, "mx1.example.test");
    ask_free(&set);
    ask_free(&again);
    ask_free(&same);
    ask_free(&mixed);
    bench_close(&bench);
}

static void test_bounces(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench);
    assert_bounced(&bench, "null.example.test", "5.1.10");
    assert_bounced(&bench, "gone.example.test", "5.1.2");
    assert_bounced(&bench, "no-such-top-level", "5.1.2");
    assert_bounced(&bench, "nothing.example.test", "5.1.2");
    assert_bounced(&bench, "dangling.example.test", "5.1.2");
    assert_bounced(&bench, "[192.0.2.300]", "5.1.2");
    assert_bounced(&bench, "[0.0.0.0]", "5.1.2");
    assert_bounced(&bench, "localhost", "5.1.2");
    bench_close(&bench);
}

static void test_deferrals(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench);
    assert_deferred(&bench, "numbers.example.test");
    assert_deferred(&bench, "localhost.example.test");
    assert_deferred(&bench, "loop.example.test");
    /* A referral is not "no data". */
    assert_deferred(&bench, "someone.dead.example.test");
    bench_close(&bench);
}

static void test_odd_sets(void **state)
{
    (void)state;
    struct bench bench;
    struct ask ask;
    bench_open(&bench);
    ask_site(&bench, &ask, "nullmore.example.test");
    assert_int_equal(ask.site->host_count, 1);
    assert_string_equal(ask.site->hosts[0].name, "mx1.example.test");
    ask_free(&ask);
    ask_site(&bench, &ask, "somehost.example.test");
    assert_int_equal(ask.site->host_count, 1);
    assert_string_equal(ask.site->hosts[0].name, "mx2.example.test");
    ask_free(&ask);
    ask_site(&bench, &ask, "brief.example.test");
    assert_true(mono_since_us(ask.site->expires, io_loop_now(bench.loop)) <= 5000000);
    ask_free(&ask);
    bench_close(&bench);
}

static void test_implicit_and_aliases(void **state)
{
    (void)state;
    struct bench bench;
    struct ask ask;
    struct ask direct;
    bench_open(&bench);
    ask_site(&bench, &direct, "implicit.example.test");
    assert_int_equal(direct.site->host_count, 1);
    assert_string_equal(direct.site->name, "implicit.example.test");
    assert_string_equal(direct.site->hosts[0].name, "implicit.example.test");
    ask_site(&bench, &ask, "aliashost.example.test");
    assert_string_equal(ask.site->hosts[0].name, "implicit.example.test");
    assert_string_equal(ask.site->key, direct.site->key);
    ask_free(&ask);
    ask_free(&direct);
    ask_site(&bench, &ask, "implicit6.example.test");
    assert_string_equal(ask.site->name, "implicit6.example.test");
    ask_free(&ask);
    ask_site(&bench, &ask, "alias.example.test");
    assert_int_equal(ask.site->host_count, 3);
    ask_free(&ask);
    struct ask_addresses found;
    ask_site(&bench, &ask, "viacname.example.test");
    assert_string_equal(ask.site->hosts[0].name, "mxalias.example.test");
    ask_addresses_of(&bench, &found, ask.site);
    assert_int_equal(found.found.count, 1);
    assert_string_equal(address_text(&found.found.items[0]), "127.0.0.21");
    dns_addresses_free(&found.found);
    ask_free(&ask);
    bench_close(&bench);
}

static void test_address_order(void **state)
{
    (void)state;
    struct bench bench;
    struct ask ask;
    unsigned first[3] = {0};
    bench_open(&bench);
    ask_site(&bench, &ask, "set.example.test");
    for (int round = 0; round < 60; round++) {
        struct ask_addresses found;
        ask_addresses_of(&bench, &found, ask.site);
        assert_int_equal(found.found.count, 5);
        first[found.found.items[0].host]++;
        assert_int_equal(found.found.items[4].host, 2);
        assert_string_equal(address_text(&found.found.items[4]), "2001:db8::31");
        for (size_t i = 0; i < 4; i++) {
            const struct dns_address *item = &found.found.items[i];
            if (item->host == 0) {
                /* The host's own three stand together: IPv4, IPv6, IPv4. */
                assert_int_equal(item[0].address.ss_family, AF_INET);
                assert_int_equal(item[1].address.ss_family, AF_INET6);
                assert_int_equal(item[2].address.ss_family, AF_INET);
                assert_int_equal(item[2].host, 0);
                break;
            }
        }
        dns_addresses_free(&found.found);
    }
    assert_true(first[0] > 0 && first[1] > 0);
    assert_int_equal(first[2], 0);
    ask_free(&ask);
    bench_close(&bench);
}

static void test_one_family(void **state)
{
    (void)state;
    struct bench bench;
    struct ask ask;
    struct ask_addresses found;
    struct dns_options options;
    dns_options_default(&options);
    options.ipv6 = false;
    bench_open_at(&bench, &options, getenv("DNS_SERVER"));
    ask_site(&bench, &ask, "set.example.test");
    ask_addresses_of(&bench, &found, ask.site);
    assert_int_equal(found.found.count, 3);
    dns_addresses_free(&found.found);
    ask_free(&ask);
    assert_bounced(&bench, "implicit6.example.test", "5.1.2");
    ask_site(&bench, &ask, "[ipv6:2001:db8::1]");
    ask_addresses_of(&bench, &found, ask.site);
    assert_outcome(&found.outcome, SMTP_RESULT_BOUNCED, SMTP_SCOPE_RECIPIENT, "5.1.2");
    ask_free(&ask);
    bench_close(&bench);
}

static void test_hosts_without_addresses(void **state)
{
    (void)state;
    struct bench bench;
    struct ask ask;
    struct ask_addresses found;
    bench_open(&bench);
    const char *const never[] = {"ghost.example.test", "zero.example.test"};
    for (size_t i = 0; i < ARRAY_LEN(never); i++) {
        ask_site(&bench, &ask, never[i]);
        ask_addresses_of(&bench, &found, ask.site);
        assert_outcome(&found.outcome, SMTP_RESULT_BOUNCED, SMTP_SCOPE_RECIPIENT, "5.1.2");
        ask_free(&ask);
    }
    ask_site(&bench, &ask, "halfdead.example.test");
    ask_addresses_of(&bench, &found, ask.site);
    assert_outcome(&found.outcome, SMTP_RESULT_DEFERRED, SMTP_SCOPE_SITE, "4.4.3");
    ask_free(&ask);
    ask_site(&bench, &ask, "halfgood.example.test");
    ask_addresses_of(&bench, &found, ask.site);
    assert_int_equal(found.found.count, 1);
    assert_int_equal(found.found.items[0].host, 1);
    dns_addresses_free(&found.found);
    ask_free(&ask);
    bench_close(&bench);
}

static void test_many_hosts(void **state)
{
    (void)state;
    struct bench bench;
    struct ask ask;
    struct ask_addresses found;
    bench_open(&bench);
    ask_site(&bench, &ask, "fifteen.example.test");
    assert_int_equal(ask.site->host_count, 15);
    ask_addresses_of(&bench, &found, ask.site);
    assert_int_equal(found.found.count, 8);
    dns_addresses_free(&found.found);
    ask_free(&ask);
    ask_site(&bench, &ask, "lastgood.example.test");
    ask_addresses_of(&bench, &found, ask.site);
    assert_int_equal(found.found.count, 1);
    assert_int_equal(found.found.items[0].host, 8);
    dns_addresses_free(&found.found);
    ask_free(&ask);
    bench_close(&bench);
}

static void test_literals(void **state)
{
    (void)state;
    struct bench bench;
    struct ask ask;
    struct ask_addresses found;
    bench_open(&bench);
    assert_true(ask_start(&bench, &ask, "[192.0.2.1]"));
    assert_string_equal(ask.site->name, "[192.0.2.1]");
    ask_addresses_of(&bench, &found, ask.site);
    assert_string_equal(address_text(&found.found.items[0]), "192.0.2.1");
    dns_addresses_free(&found.found);
    ask_free(&ask);
    assert_true(ask_start(&bench, &ask, "[ipv6:2001:db8:0:0::7]"));
    assert_string_equal(ask.site->name, "[ipv6:2001:db8::7]");
    ask_addresses_of(&bench, &found, ask.site);
    assert_int_equal(found.found.count, 1);
    assert_string_equal(address_text(&found.found.items[0]), "2001:db8::7");
    dns_addresses_free(&found.found);
    ask_free(&ask);
    bench_close(&bench);
}

static void test_joined_and_cancelled(void **state)
{
    (void)state;
    struct bench bench;
    struct ask asks[4];
    bench_open(&bench);
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        assert_false(ask_start(&bench, &asks[i], "set.example.test"));
    }
    dns_lookup_cancel(&asks[1].lookup);
    bench.open--;
    bench_wait(&bench);
    assert_int_equal(asks[1].done, 0);
    assert_ptr_equal(asks[0].site, asks[2].site);
    assert_ptr_equal(asks[0].site, asks[3].site);
    struct ask_addresses one;
    struct ask_addresses two;
    struct ask_addresses three;
    addresses_start(&bench, &one, asks[0].site);
    addresses_start(&bench, &two, asks[0].site);
    addresses_start(&bench, &three, asks[0].site);
    dns_address_lookup_cancel(&two.lookup);
    dns_address_lookup_cancel(&two.lookup);
    bench.open--;
    bench_wait(&bench);
    assert_int_equal(one.found.count, 5);
    assert_int_equal(two.done, 0);
    assert_int_equal(three.found.count, 5);
    dns_addresses_free(&one.found);
    dns_addresses_free(&three.found);
    /* Cancelling the only one leaves the look-up to end for the cache. */
    struct ask alone;
    assert_false(ask_start(&bench, &alone, "null.example.test"));
    dns_lookup_cancel(&alone.lookup);
    bench.open--;
    assert_bounced(&bench, "null.example.test", "5.1.10");
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        ask_free(&asks[i]);
    }
    bench_close(&bench);
}

static void test_many_domains_small_cache(void **state)
{
    (void)state;
    enum { DOMAINS = 2500 };
    struct bench bench;
    struct dns_options options;
    dns_options_default(&options);
    options.cache_max = 3;
    options.timeout_ms = WATCHDOG_MS;
    bench_open_at(&bench, &options, getenv("DNS_SERVER"));
    struct ask *asks = mem_calloc(DOMAINS, sizeof(*asks));
    for (size_t i = 0; i < DOMAINS; i++) {
        char domain[64];
        (void)snprintf(domain, sizeof(domain), "d%zu.many.example.test", i);
        assert_false(ask_start(&bench, &asks[i], domain));
    }
    bench_wait(&bench);
    unsigned kept = 0;
    for (size_t i = 0; i < DOMAINS; i++) {
        assert_non_null(asks[i].site);
        assert_string_equal(asks[i].site->key, asks[0].site->key);
        kept += asks[i].site->references > 1 ? 1 : 0;
    }
    assert_int_equal(kept, 3);
    for (size_t i = 0; i < DOMAINS; i++) {
        ask_free(&asks[i]);
    }
    mem_free(asks);
    bench_close(&bench);
}

/* A server that takes questions and never answers. */
static int silent_server(char *out, size_t out_bytes)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)(void *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)(void *)&address, &len), 0);
    (void)snprintf(out, out_bytes, "127.0.0.1@%u", (unsigned)ntohs(address.sin_port));
    return fd;
}

static void test_silent_server(void **state)
{
    (void)state;
    struct bench bench;
    struct dns_options options;
    char server[64];
    int fd = silent_server(server, sizeof(server));
    dns_options_default(&options);
    options.timeout_ms = 200;
    bench_open_at(&bench, &options, server);
    assert_deferred(&bench, "set.example.test");
    assert_deferred(&bench, "set.example.test");
    bench_close(&bench);

    /* Closing with look-ups under way completes them. */
    options.timeout_ms = WATCHDOG_MS;
    bench_open_at(&bench, &options, server);
    struct ask one;
    struct ask two;
    assert_false(ask_start(&bench, &one, "set.example.test"));
    assert_false(ask_start(&bench, &two, "null.example.test"));
    dns_sites_free(&bench.sites);
    assert_int_equal(bench.open, 0);
    assert_outcome(&one.outcome, SMTP_RESULT_DEFERRED, SMTP_SCOPE_SITE, "4.4.3");
    assert_int_equal(one.done + two.done, 2);
    bench_close(&bench);
    assert_int_equal(close(fd), 0);
}

static void test_close_with_addresses_under_way(void **state)
{
    (void)state;
    struct bench good;
    struct bench silent;
    struct ask ask;
    struct ask literal;
    struct dns_options options;
    char server[64];
    int fd = silent_server(server, sizeof(server));
    bench_open(&good);
    ask_site(&good, &ask, "set.example.test");
    dns_options_default(&options);
    bench_open_at(&silent, &options, server);
    struct ask_addresses pending;
    struct ask_addresses complete;
    addresses_start(&silent, &pending, ask.site);
    assert_true(ask_start(&silent, &literal, "[192.0.2.1]"));
    addresses_start(&silent, &complete, literal.site);
    dns_sites_free(&silent.sites);
    assert_int_equal(pending.done, 1);
    assert_outcome(&pending.outcome, SMTP_RESULT_DEFERRED, SMTP_SCOPE_SITE, "4.4.3");
    assert_int_equal(complete.done, 1);
    assert_int_equal(complete.found.count, 1);
    dns_addresses_free(&complete.found);
    ask_free(&ask);
    ask_free(&literal);
    bench_close(&silent);
    bench_close(&good);
    assert_int_equal(close(fd), 0);
}

static void test_server_away(void **state)
{
    (void)state;
    struct bench bench;
    struct ask known;
    struct ask ask;
    bench_open(&bench);
    ask_site(&bench, &known, "set.example.test");
    assert_int_equal(system(getenv("NSD_STOP")), 0);
    assert_deferred(&bench, "sameset.example.test");
    assert_deferred(&bench, "d1.many.example.test");
    assert_deferred(&bench, "d2.many.example.test");
    /* What is cached still serves. */
    assert_true(ask_start(&bench, &ask, "set.example.test"));
    ask_free(&ask);
    assert_int_equal(system(getenv("NSD_START")), 0);
    bool back = false;
    for (int attempt = 0; attempt < 100 && !back; attempt++) {
        ask_site(&bench, &ask, "sameset.example.test");
        back = ask.site != NULL;
        if (!back) {
            assert_int_equal(ask.outcome.result, SMTP_RESULT_DEFERRED);
            bench_pause(&bench, 200);
        }
        ask_free(&ask);
    }
    assert_true(back);
    ask_free(&known);
    bench_close(&bench);
}

static void test_refused_settings(void **state)
{
    (void)state;
    struct fault fault;
    struct dns_options options;
    struct io_loop *loop = io_loop_create(&fault);
    const char *const bad[] = {"not-an-address"};
    const char *const both[] = {"127.0.0.1", "recursive"};
    assert_non_null(loop);
    dns_options_default(&options);
    options.servers = bad;
    options.server_count = 1;
    assert_null(dns_sites_create(loop, &options, &fault));
    assert_int_equal(fault.kind, FAULT_INVALID);
    options.servers = both;
    options.server_count = 2;
    assert_null(dns_sites_create(loop, &options, &fault));
    assert_int_equal(fault.kind, FAULT_INVALID);
    options.servers = both;
    options.server_count = 1;
    options.ipv4 = options.ipv6 = false;
    assert_null(dns_sites_create(loop, &options, &fault));
    assert_int_equal(fault.kind, FAULT_INVALID);
    /* Own recursion is a setting that is taken; no question is asked here. */
    dns_options_default(&options);
    options.servers = both + 1;
    options.server_count = 1;
    struct dns_sites *sites = dns_sites_create(loop, &options, &fault);
    assert_non_null(sites);
    dns_sites_free(&sites);
    io_loop_free(&loop);
}

int main(void)
{
    const char *const needed[] = {"DNS_SERVER", "NSD_STOP", "NSD_START"};
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        if (getenv(needed[i]) == NULL) {
            fprintf(stderr, "%s is not set: start this by tests/dns/run\n", needed[i]);
            return 2;
        }
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mx_set),
        cmocka_unit_test(test_bounces),
        cmocka_unit_test(test_deferrals),
        cmocka_unit_test(test_odd_sets),
        cmocka_unit_test(test_implicit_and_aliases),
        cmocka_unit_test(test_address_order),
        cmocka_unit_test(test_one_family),
        cmocka_unit_test(test_hosts_without_addresses),
        cmocka_unit_test(test_many_hosts),
        cmocka_unit_test(test_literals),
        cmocka_unit_test(test_joined_and_cancelled),
        cmocka_unit_test(test_many_domains_small_cache),
        cmocka_unit_test(test_silent_server),
        cmocka_unit_test(test_close_with_addresses_under_way),
        cmocka_unit_test(test_server_away),
        cmocka_unit_test(test_refused_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

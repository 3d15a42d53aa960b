/* The producer's pure parts: header, users file, passwords, recipients by domain, peers. */
#include "producer/group.h"
#include "producer/header.h"
#include "producer/password.h"
#include "io/peers.h"
#include "producer/users.h"

#include "base/mem.h"
#include "base/random.h"
#include "unit/cmocka_all.h"

#include <netinet/in.h>

#define ROOM 64

/* header_read() and header_rewrite() on a copy with room before it; the result is the caller's. */
static char *rewritten(const char *content, const char *trace, const char *added,
                       struct header *header, struct arena *arena)
{
    static char result[4096];
    char buffer[2048];
    size_t len = strlen(content);
    memcpy(buffer + ROOM, content, len + 1);
    struct fault fault;
    if (!header_read(slice_of(buffer + ROOM, len), arena, header, &fault)) {
        return NULL;
    }
    char *start = header_rewrite(buffer + ROOM, header, slice_cstr(trace), slice_cstr(added));
    assert_true(start >= buffer);
    size_t size = (size_t)(buffer + ROOM + len - start);
    memcpy(result, start, size);
    result[size] = '\0';
    return result;
}

static void our_fields_are_read_and_taken_out(void **state)
{
    struct arena *arena = arena_create(1024, 65536);
    struct header header;
    (void)state;
    const char *got =
        rewritten("X-Virtual-MTA: p1\r\nSubject: s\r\n t\r\nx-job :\tsummer\r\n sale\r\n"
                  "To: a\r\nX-Sluice-Stream: tx\r\nX-Envid: e\r\n\r\nX-Job: body\r\n",
                  "T: 1\r\n", "A: 2\r\n", &header, arena);
    assert_string_equal(got, "T: 1\r\nSubject: s\r\n t\r\nTo: a\r\nA: 2\r\n\r\nX-Job: body\r\n");
    assert_true(slice_eq(header.wishes.pool, SLICE("p1")));
    assert_true(slice_eq(header.wishes.campaign, SLICE("summer sale")));
    assert_true(slice_eq(header.wishes.stream, SLICE("tx")));
    assert_true(slice_eq(header.wishes.envid, SLICE("e")));
    assert_false(header.has_date || header.has_message_id);
    arena_free(&arena);
}

static void headers_of_every_shape(void **state)
{
    static const struct {
        const char *content, *wanted; /* NULL: refused */
    } cases[] = {
        {"\r\nbody\r\n", "T\r\nA\r\n\r\nbody\r\n"},
        {"", "T\r\nA\r\n"},
        {"Date: x\r\nMessage-Id: y\r\n", "T\r\nDate: x\r\nMessage-Id: y\r\nA\r\n"},
        {"X-Job: a\r\n", "T\r\nA\r\n"},
        {"X-Job: a\r\n\r\n", "T\r\nA\r\n\r\n"},
        {"X-Sluice-Campaign: a\r\nX-Job: b\r\nF: c\r\n\r\nz", "T\r\nF: c\r\nA\r\n\r\nz"},
        {"X-Job: a\r\nX-Job: b\r\n\r\n", NULL},
        {"X-Virtual-MTA:\r\n\r\n", NULL},
        {"X-Virtual-MTA: a\x01z\r\n\r\n", NULL},
        {"X-Job: \xff\r\n\r\n", NULL},
        {"no field\r\n\r\n", NULL},
        {"Subject: a\r\nno empty line\r\n", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *arena = arena_create(1024, 65536);
        struct header header;
        const char *got = rewritten(cases[i].content, "T\r\n", "A\r\n", &header, arena);
        if (cases[i].wanted == NULL) {
            assert_null(got);
        } else {
            assert_non_null(got);
            assert_string_equal(got, cases[i].wanted);
        }
        arena_free(&arena);
    }
}

/* Random fields, ours among them, against building the result line by line. */
static void random_headers_against_a_model(void **state)
{
    static const char *const names[] = {"From", "X-Virtual-MTA", "To",      "X-Job",
                                        "Date", "X-Envid",       "Subject", "X-Sluice-Stream"};
    (void)state;
    for (int round = 0; round < 2000; round++) {
        char content[1024] = "", wanted[1024];
        size_t len = 0, wanted_len = (size_t)snprintf(wanted, sizeof(wanted), "T\r\n");
        unsigned seen = 0;
        uint32_t count = random_below(12);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t n = random_below(ARRAY_LEN(names));
            bool ours = n % 2 == 1;
            if (ours && (seen >> n & 1) != 0) {
                continue;
            }
            seen |= 1u << n;
            char line[128];
            int size = snprintf(line, sizeof(line), "%s: v%u%s\r\n", names[n], random_below(1000),
                                random_below(3) == 0 ? "\r\n folded" : "");
            memcpy(content + len, line, (size_t)size + 1);
            len += (size_t)size;
            if (!ours) {
                memcpy(wanted + wanted_len, line, (size_t)size + 1);
                wanted_len += (size_t)size;
            }
        }
        snprintf(content + len, sizeof(content) - len, "\r\nbody");
        snprintf(wanted + wanted_len, sizeof(wanted) - wanted_len, "A\r\n\r\nbody");
        struct arena *arena = arena_create(1024, 65536);
        struct header header;
        assert_string_equal(rewritten(content, "T\r\n", "A\r\n", &header, arena), wanted);
        arena_free(&arena);
    }
}

static void the_trace_is_harmless(void **state)
{
    char out[HEADER_TRACE_MAX];
    char date[HEADER_DATE_MAX];
    (void)state;
    assert_true(slice_eq(header_date((struct wall_time){1795319208123}, date),
                         SLICE("Sun, 22 Nov 2026 03:46:48 +0000")));
    const struct header_trace trace = {
        .ehlo_name = SLICE("evil)\t(\"x y"),
        .client = SLICE("2001:db8::1"),
        .host_name = SLICE("mx.example"),
        .id = SLICE("the-id"),
        .tls_version = SLICE("TLSv1.3"),
        .tls_cipher = SLICE("AES"),
        .authenticated = true,
        .now = {1795319208123},
    };
    struct slice got = header_received(&trace, out);
    assert_string_equal(out, "Received: from evil????x?y ([IPv6:2001:db8::1])\r\n"
                             "\t(TLSv1.3 with cipher AES)\r\n"
                             "\tby mx.example (Sluice) with ESMTPSA id the-id;\r\n"
                             "\tSun, 22 Nov 2026 03:46:48 +0000\r\n");
    assert_int_equal(got.len, strlen(out));
}

static void passwords_match_their_hash_only(void **state)
{
    char hash[PASSWORD_HASH_MAX], other[PASSWORD_HASH_MAX];
    struct fault fault;
    (void)state;
    assert_true(password_hash(SLICE("a secret"), hash, &fault));
    assert_true(password_hash(SLICE("a secret"), other, &fault));
    assert_string_not_equal(hash, other);
    assert_true(password_hash_valid(slice_cstr(hash), &fault));
    assert_true(password_matches(hash, SLICE("a secret")));
    assert_false(password_matches(hash, SLICE("a secreT")));
    assert_false(password_matches(hash, SLICE("")));
    assert_false(password_hash(SLICE(""), hash, &fault));
}

#define SALT "c2FsdHNhbHRzYWx0"
#define DIGEST "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define GOOD_HASH "$argon2id$v=19$m=12288,t=3,p=1$" SALT "$" DIGEST

static void hashes_that_are_none(void **state)
{
    static const char *const wrong[] = {
        "",
        "secret",
        "$argon2i$v=19$m=12288,t=3,p=1$" SALT "$" DIGEST,
        "$argon2id$v=16$m=12288,t=3,p=1$" SALT "$" DIGEST,
        "$argon2id$v=19$m=99999999,t=3,p=1$" SALT "$" DIGEST,
        "$argon2id$v=19$m=12288,t=0,p=1$" SALT "$" DIGEST,
        "$argon2id$v=19$m=12288,t=3,p=1,x=2$" SALT "$" DIGEST,
        "$argon2id$v=19$m=12288,t=3,p=1$" SALT,
        "$argon2id$v=19$m=12288,t=3,p=1$" SALT "$" DIGEST "$x",
        "$argon2id$v=19$m=12288,t=3,p=1$" SALT "$AAAA-AAAAAAAAAAAAA",
    };
    (void)state;
    assert_true(password_hash_valid(SLICE(GOOD_HASH), NULL));
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct fault fault;
        assert_false(password_hash_valid(slice_cstr(wrong[i]), &fault));
        assert_int_equal(fault.kind, FAULT_INVALID);
    }
}

static void users_are_read(void **state)
{
    static const char *acme_pools[] = {"p1", "p2"};
    struct config_pool pools[] = {{.name = "p1"}, {.name = "p2"}, {.name = "p3"}};
    struct config_tenant tenants[] = {{.name = "acme", .pools = acme_pools, .pool_count = 2}};
    const struct config config = {
        .pools = pools, .pool_count = 3, .tenants = tenants, .tenant_count = 1};
    static const struct {
        const char *text, *wanted; /* part of the fault; NULL: good */
    } cases[] = {
        {"", NULL},
        {"# nobody\n\n", NULL},
        {"a:" GOOD_HASH "\r\nb:" GOOD_HASH ":acme\nc:" GOOD_HASH ":acme:p1, p2\nd:" GOOD_HASH
         "::p3",
         NULL},
        {"a:" GOOD_HASH "\na:" GOOD_HASH "\n", "f:2: user \"a\" is there twice"},
        {"a:plain\n", "f:1: user \"a\": not a hash"},
        {":" GOOD_HASH "\n", "f:1: expected NAME:HASH"},
        {"\na@b:" GOOD_HASH "\n", "f:2: user \"a@b\": needs a tenant"},
        {"a:" GOOD_HASH ":no/tenant\n", "needs a tenant"},
        {"a:" GOOD_HASH ":acme:p9\n", "\"p9\" is neither a pool nor a VIP"},
        {"a:" GOOD_HASH ":acme:p3\n", "tenant \"acme\" may not use \"p3\""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fault fault;
        struct users *users = users_parse("f", slice_cstr(cases[i].text), &config, &fault);
        if (cases[i].wanted != NULL) {
            assert_null(users);
            assert_non_null(strstr(fault.text, cases[i].wanted));
        } else {
            assert_non_null(users);
        }
        if (i == 2) {
            const struct user *a = users_named(users, SLICE("a"));
            const struct user *b = users_named(users, SLICE("b"));
            const struct user *c = users_named(users, SLICE("c"));
            const struct user *d = users_named(users, SLICE("d"));
            assert_int_equal(users_count(users), 4);
            assert_null(users_named(users, SLICE("A")));
            assert_string_equal(a->tenant, "a");
            assert_true(user_may_use(a, &config, SLICE("p3")));
            assert_false(user_may_use(a, &config, SLICE("p9")));
            assert_true(user_may_use(b, &config, SLICE("p2")));
            assert_false(user_may_use(b, &config, SLICE("p3")));
            assert_int_equal(c->pool_count, 2);
            assert_false(user_may_use(d, &config, SLICE("p1")));
            assert_string_equal(d->tenant, "d");
        }
        users_free(&users);
    }
}

static void recipients_are_grouped(void **state)
{
    struct arena *arena = arena_create(1024, 1024 * 1024);
    struct groups groups;
    size_t counts[7] = {0}, total = 0;
    (void)state;
    groups_init(&groups, arena, 10);
    for (int i = 0; i < 500; i++) {
        char domain[16], address[32];
        uint32_t n = random_below(7);
        snprintf(domain, sizeof(domain), "d%u.example", n);
        snprintf(address, sizeof(address), "u%d@%s", i, domain);
        const struct message_recipient recipient = {.address = slice_cstr(address),
                                                    .dsn_notify = SLICE("NEVER")};
        assert_true(groups_add(&groups, slice_cstr(domain), &recipient));
        counts[n]++;
    }
    size_t least = 0;
    for (size_t n = 0; n < 7; n++) {
        least += (counts[n] + 9) / 10;
    }
    assert_int_equal(groups.count, least);
    for (size_t i = 0; i < groups.count; i++) {
        const struct group *group = groups.items[i];
        assert_in_range(group->count, 1, 10);
        for (size_t j = 0; j < group->count; j++) {
            assert_true(slice_ends_with_nocase(group->items[j].address, group->domain));
            assert_true(slice_eq(group->items[j].dsn_notify, SLICE("NEVER")));
        }
        total += group->count;
    }
    assert_int_equal(total, 500);
    assert_int_equal(groups.recipients, 500);
    groups_end(&groups);
    arena_free(&arena);
}

static void recipients_end_where_memory_does(void **state)
{
    struct arena *arena = arena_create(1024, 16384);
    struct groups groups;
    size_t taken = 0, total = 0;
    char domain[40];
    (void)state;
    groups_init(&groups, arena, 1000);
    for (;; taken++) {
        snprintf(domain, sizeof(domain), "d%zu.example", taken / 3);
        const struct message_recipient recipient = {.address = slice_cstr(domain)};
        if (!groups_add(&groups, slice_cstr(domain), &recipient)) {
            break;
        }
    }
    for (size_t i = 0; i < groups.count; i++) {
        assert_true(groups.items[i]->items != NULL);
        total += groups.items[i]->count;
    }
    assert_int_equal(total, taken);
    groups_end(&groups);
    arena_free(&arena);
}

static void peers_are_counted(void **state)
{
    struct peers peers;
    struct peer *some[3], *other;
    struct sockaddr_storage address = {.ss_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    (void)state;
    peers_init(&peers);
    for (size_t i = 0; i < 3; i++) {
        some[i] = peers_enter(&peers, &address, 3);
        assert_non_null(some[i]);
    }
    assert_null(peers_enter(&peers, &address, 3));
    /* One /64 is one client. */
    v6.sin6_addr.s6_addr[0] = 0x20;
    memcpy(&address, &v6, sizeof(v6));
    other = peers_enter(&peers, &address, 1);
    assert_non_null(other);
    v6.sin6_addr.s6_addr[15] = 1;
    memcpy(&address, &v6, sizeof(v6));
    assert_null(peers_enter(&peers, &address, 1));
    peers_leave(&peers, &other);
    other = peers_enter(&peers, &address, 1);
    assert_non_null(other);
    peers_leave(&peers, &other);
    for (size_t i = 0; i < 3; i++) {
        peers_leave(&peers, &some[i]);
        assert_null(some[i]);
    }
    peers_end(&peers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_fields_are_read_and_taken_out),
        cmocka_unit_test(headers_of_every_shape),
        cmocka_unit_test(random_headers_against_a_model),
        cmocka_unit_test(the_trace_is_harmless),
        cmocka_unit_test(passwords_match_their_hash_only),
        cmocka_unit_test(hashes_that_are_none),
        cmocka_unit_test(users_are_read),
        cmocka_unit_test(recipients_are_grouped),
        cmocka_unit_test(recipients_end_where_memory_does),
        cmocka_unit_test(peers_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

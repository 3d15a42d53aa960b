/*
 * Signed return paths: what is written is read again, what was changed by a single bit is not
 * believed, keys follow their times. Plus to whom a host belongs.
 */
#include "mail/verp.h"

#include "base/random.h"
#include "mail/organisation.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants the three above it */
#include <cmocka.h>

#define DAY_MS INT64_C(86400000)
static const struct wall_time NOW = {INT64_C(1795500000000)};

static struct verp_keys *two_keys(void)
{
    const struct verp_key keys[] = {
        {.id = 1, .secret = SLICE("0123456789abcdef"), .not_after_ms = NOW.ms - DAY_MS},
        {.id = 15, .secret = SLICE("fedcba9876543210"), .not_before_ms = NOW.ms - 2 * DAY_MS},
    };
    struct verp_keys *made = verp_keys_create(keys, 2, NULL);
    assert_non_null(made);
    return made;
}

static struct verp_token sample(void)
{
    struct verp_token token = {
        .message = uuid_v7(NOW),
        .sent_ms = NOW.ms,
        .recipient = verp_recipient(SLICE("User@Example.COM")),
        .route = verp_route(SLICE("mx1.mail.example.com")),
        .facts = 0xfedcba98,
    };
    return token;
}

static void test_round_trip(void **state)
{
    struct verp_keys *keys = two_keys();
    (void)state;
    for (int round = 0; round < 20000; round++) {
        char local[VERP_LOCAL_LEN + 1], upper[VERP_LOCAL_LEN + 1];
        struct verp_token token = sample();
        struct verp_token back;
        struct uuid id;
        for (size_t i = 0; i < sizeof(id.bytes); i++) {
            id.bytes[i] = (uint8_t)random_u64();
        }
        token.message = id;
        token.purpose = random_below(2) ? VERP_UNSUBSCRIBE : VERP_RETURN_PATH;
        token.sent_ms = (NOW.ms - (int64_t)random_below(86400) * 1000) / 1000 * 1000;
        token.recipient = (uint32_t)random_u64() & 0xfffffff;
        token.route = (uint16_t)(random_u64() & 0x3fff);
        token.facts = (uint32_t)random_u64();
        assert_true(verp_sign(keys, &token, NOW, local));
        assert_int_equal(strlen(local), VERP_LOCAL_LEN);
        assert_true(local[0] >= 'a' && local[0] <= 'z');
        for (size_t i = 0; i <= VERP_LOCAL_LEN; i++) {
            bool small = local[i] >= 'a' && local[i] <= 'z';
            upper[i] = small && random_below(2) ? (char)(local[i] - 32) : local[i];
        }
        assert_int_equal(verp_read(keys, slice_cstr(upper), NOW, 14 * DAY_MS, &back), VERP_GOOD);
        assert_memory_equal(&back.message, &token.message, sizeof(token.message));
        assert_int_equal(back.purpose, token.purpose);
        assert_int_equal(back.sent_ms, token.sent_ms);
        assert_int_equal(back.recipient, token.recipient);
        assert_int_equal(back.route, token.route);
        assert_int_equal(back.facts, token.facts);
    }
    verp_keys_free(&keys);
    assert_null(keys);
}

/* Every single changed character is found. */
static void test_forged(void **state)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
    char local[VERP_LOCAL_LEN + 1];
    struct verp_keys *keys = two_keys();
    struct verp_token token = sample(), back;
    (void)state;
    assert_true(verp_sign(keys, &token, NOW, local));
    for (size_t at = 0; at < VERP_LOCAL_LEN; at++) {
        for (size_t i = 0; i < 32; i++) {
            char kept = local[at];
            if (alphabet[i] == kept) {
                continue;
            }
            local[at] = alphabet[i];
            enum verp_verdict verdict = verp_read(keys, slice_cstr(local), NOW, 14 * DAY_MS, &back);
            assert_int_not_equal(verdict, VERP_GOOD);
            assert_int_not_equal(verdict, VERP_EXPIRED); /* the signature is looked at first */
            local[at] = kept;
        }
    }
    assert_int_equal(verp_read(keys, slice_cstr(local), NOW, 14 * DAY_MS, &back), VERP_GOOD);
    assert_int_equal(verp_read(keys, slice_head(slice_cstr(local), 63), NOW, DAY_MS, &back),
                     VERP_FOREIGN);
    assert_int_equal(verp_read(keys, SLICE("postmaster"), NOW, DAY_MS, &back), VERP_FOREIGN);
    verp_keys_free(&keys);
}

static void test_times(void **state)
{
    char old[VERP_LOCAL_LEN + 1], fresh[VERP_LOCAL_LEN + 1];
    struct verp_keys *keys = two_keys();
    struct verp_token token = sample(), back;
    struct wall_time before = {NOW.ms - 3 * DAY_MS};
    (void)state;
    token.sent_ms = before.ms;
    assert_true(verp_sign(keys, &token, before, old)); /* by key 1 */
    token.sent_ms = NOW.ms;
    assert_true(verp_sign(keys, &token, NOW, fresh)); /* by key 15 */
    assert_int_not_equal(old[1], fresh[1]);
    assert_int_equal(verp_read(keys, slice_cstr(old), NOW, 14 * DAY_MS, &back), VERP_GOOD);
    assert_int_equal(verp_read(keys, slice_cstr(old), NOW, 2 * DAY_MS, &back), VERP_EXPIRED);
    assert_int_equal(verp_read(keys, slice_cstr(fresh), before, 14 * DAY_MS, &back), VERP_EXPIRED);
    verp_keys_free(&keys);

    const struct verp_key one = {.id = 1, .secret = SLICE("0123456789abcdef")};
    keys = verp_keys_create(&one, 1, NULL);
    assert_int_equal(verp_read(keys, slice_cstr(fresh), NOW, DAY_MS, &back), VERP_KEY_UNKNOWN);
    assert_int_equal(back.recipient, token.recipient); /* told, not believed */
    verp_keys_free(&keys);

    /* What a key signed after its time is not believed: it may have been stolen. */
    const struct verp_key gone = {
        .id = 15, .secret = SLICE("fedcba9876543210"), .not_after_ms = NOW.ms - DAY_MS};
    keys = verp_keys_create(&gone, 1, NULL);
    assert_int_equal(verp_read(keys, slice_cstr(fresh), NOW, DAY_MS, &back), VERP_EXPIRED);
    assert_false(verp_sign(keys, &token, NOW, fresh));
    verp_keys_free(&keys);
}

static void test_bad_keys(void **state)
{
    struct fault fault;
    const struct verp_key keys[] = {{.id = 1, .secret = SLICE("0123456789abcdef")},
                                    {.id = 1, .secret = SLICE("0123456789abcdef")},
                                    {.id = 16, .secret = SLICE("0123456789abcdef")},
                                    {.id = 2, .secret = SLICE("0123456789abcde")}};
    (void)state;
    assert_null(verp_keys_create(keys, 2, &fault));
    assert_string_equal(fault.text, "key id 1 stands there twice");
    assert_null(verp_keys_create(keys + 2, 1, &fault));
    assert_string_equal(fault.text, "key id 16 is above 15");
    assert_null(verp_keys_create(keys + 3, 1, &fault));
    assert_string_equal(fault.text, "key id 2 has a secret of less than 16 bytes");
}

static void *sign_many(void *argument)
{
    const struct verp_keys *keys = argument;
    for (int i = 0; i < 2000; i++) {
        char local[VERP_LOCAL_LEN + 1];
        struct verp_token token = sample(), back;
        if (!verp_sign(keys, &token, NOW, local) ||
            verp_read(keys, slice_cstr(local), NOW, DAY_MS, &back) != VERP_GOOD) {
            return argument;
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct verp_keys *keys = two_keys();
    pthread_t threads[4];
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, sign_many, keys), 0);
    }
    for (int i = 0; i < 20; i++) { /* the same keys, read again */
        struct verp_keys *fresh = two_keys();
        verp_keys_replace(keys, &fresh);
        assert_null(fresh);
    }
    for (size_t i = 0; i < 4; i++) {
        void *bad = keys;
        pthread_join(threads[i], &bad);
        assert_null(bad);
    }
    verp_keys_free(&keys);
}

/* Keys that were read again sign at once; what a key that is gone has signed is not believed. */
static void test_replace(void **state)
{
    const struct verp_key one = {.id = 3, .secret = SLICE("0123456789abcdef")};
    char old[VERP_LOCAL_LEN + 1], fresh[VERP_LOCAL_LEN + 1];
    struct verp_keys *keys = two_keys();
    struct verp_keys *others = verp_keys_create(&one, 1, NULL);
    struct verp_token token = sample(), back;
    (void)state;
    assert_true(verp_sign(keys, &token, NOW, old));
    verp_keys_replace(keys, &others);
    assert_true(verp_sign(keys, &token, NOW, fresh));
    assert_int_equal(verp_read(keys, slice_cstr(fresh), NOW, DAY_MS, &back), VERP_GOOD);
    assert_int_equal(verp_read(keys, slice_cstr(old), NOW, DAY_MS, &back), VERP_KEY_UNKNOWN);
    verp_keys_free(&keys);
}

static void test_organisation(void **state)
{
    static const char *const pairs[][2] = {
        {"mail-ej1-f51.google.com", "google.com"},
        {"gmail-smtp-in.l.google.com.", "google.com"},
        {"mx.example.co.uk", "example.co.uk"},
        {"a.b.example.com.br", "example.com.br"},
        {"example.com", "example.com"},
        {"co.uk", "co.uk"},
        {"localhost", "localhost"},
        {"192.0.2.1", "192.0.2.1"},
        {"[192.0.2.1]", "192.0.2.1"},
        {"2001:db8::1", "2001:db8::1"},
        {"mx.web.de", "web.de"},
        {".", ""},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct slice got = mail_organisation(slice_cstr(pairs[i][0]));
        if (!slice_eq(got, slice_cstr(pairs[i][1]))) {
            fail_msg("%s: %.*s", pairs[i][0], SLICE_FMT(got));
        }
    }
    assert_true(mail_organisation_eq(SLICE("MX1.Example.com"), SLICE("out.example.COM")));
    assert_false(mail_organisation_eq(SLICE(""), SLICE("")));
    assert_int_equal(verp_route(SLICE("a.example.com")), verp_route(SLICE("EXAMPLE.com")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_forged),
        cmocka_unit_test(test_times),        cmocka_unit_test(test_bad_keys),
        cmocka_unit_test(test_threads),      cmocka_unit_test(test_replace),
        cmocka_unit_test(test_organisation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The rules: each cause by hand, then random histories (SLUICE_SEED repeats a run) in which events
 * are applied again at random: nothing may change by that, and the outcome is that of a reference
 * which looks at the whole history at once.
 */
#include "suppress/policy.h"

#include "base/hash.h"
#include "base/random.h"

#include <inttypes.h>

#include "unit/cmocka_all.h"

#define HOUR ((int64_t)3600 * 1000)
#define DAY SUPPRESS_DAY_MS
#define START ((int64_t)1764000000000)

static const struct config_suppression policy = {
    .name = "default",
    .hard_reach = CONFIG_REACH_TENANT,
    .hard_decay_ms = 0,
    .repeated_count = 3,
    .repeated_within_ms = 14 * DAY,
    .repeated_decay_ms = 180 * DAY,
    .mailbox_full_after_ms = 30 * DAY,
    .mailbox_full_decay_ms = 90 * DAY,
    .complaint_reach = CONFIG_REACH_LIST,
    .unsubscribe_reach = CONFIG_REACH_LIST,
    .list_metadata = "list",
};

static struct config_suppression policies[2];
static const struct config config = {.suppression = policies, .suppression_count = 2};

static int setup(void **state)
{
    (void)state;
    policies[0] = policies[1] = policy;
    policies[0].name = "wide";
    policies[0].hard_reach = CONFIG_REACH_GLOBAL;
    policies[0].complaint_reach = CONFIG_REACH_TENANT;
    return 0;
}

static struct suppress_fact fact_at(enum suppress_cause cause, int64_t time_ms, uint64_t event)
{
    return (struct suppress_fact){
        .cause = cause, .policy = &policy, .time_ms = time_ms, .event = event};
}

static bool apply(struct suppression *entry, enum suppress_cause cause, int64_t time_ms,
                  uint64_t event)
{
    struct suppress_fact fact = fact_at(cause, time_ms, event);
    return suppress_apply(&fact, entry);
}

static void test_hard_at_once(void **state)
{
    struct suppression entry = {0};
    (void)state;
    assert_true(apply(&entry, SUPPRESS_CAUSE_HARD, START, 1));
    assert_int_equal(entry.reason, SUPPRESSION_HARD);
    assert_true(suppress_in_force(&entry, START + 10000 * DAY));
    assert_false(apply(&entry, SUPPRESS_CAUSE_HARD, START, 1));
    assert_false(apply(&entry, SUPPRESS_CAUSE_COMPLAINT, START + DAY, 2));
    assert_int_equal(entry.reason, SUPPRESSION_HARD);
}

static void test_repeated(void **state)
{
    struct suppression entry = {0};
    (void)state;
    assert_true(apply(&entry, SUPPRESS_CAUSE_STRIKE, START, 1));
    assert_false(apply(&entry, SUPPRESS_CAUSE_STRIKE, START, 1)); /* the same event */
    assert_true(apply(&entry, SUPPRESS_CAUSE_STRIKE, START + 13 * DAY, 2));
    assert_int_equal(entry.reason, SUPPRESSION_NONE);
    /* The first is out of the window by now. */
    assert_true(apply(&entry, SUPPRESS_CAUSE_STRIKE, START + 15 * DAY, 3));
    assert_int_equal(entry.reason, SUPPRESSION_NONE);
    assert_int_equal(entry.strike_count, 2);
    assert_true(apply(&entry, SUPPRESS_CAUSE_STRIKE, START + 14 * DAY, 4)); /* late, between them */
    assert_int_equal(entry.reason, SUPPRESSION_REPEATED);
    assert_int_equal(entry.strike_count, 0);
    int64_t over = entry.expires_ms;
    assert_int_equal(over, START + 194 * DAY);
    assert_false(suppress_in_force(&entry, over));
    /* All of them again, and one while it is in force: nothing. */
    for (uint64_t i = 1; i <= 4; i++) {
        assert_false(apply(&entry, SUPPRESS_CAUSE_STRIKE, START + (int64_t)i, i));
    }
    assert_false(apply(&entry, SUPPRESS_CAUSE_STRIKE, over - 1, 5));
    /* After its time counting begins anew. */
    for (uint64_t i = 6; i <= 8; i++) {
        assert_false(suppress_in_force(&entry, over + (int64_t)i));
        assert_true(apply(&entry, SUPPRESS_CAUSE_STRIKE, over + (int64_t)i, i));
    }
    assert_true(suppress_in_force(&entry, over + DAY));
}

static void test_mailbox_full(void **state)
{
    struct suppression entry = {0};
    (void)state;
    assert_true(apply(&entry, SUPPRESS_CAUSE_FULL, START, 1));
    assert_true(apply(&entry, SUPPRESS_CAUSE_FULL, START + 29 * DAY, 2));
    assert_int_equal(entry.reason, SUPPRESSION_NONE);
    assert_false(apply(&entry, SUPPRESS_CAUSE_FULL, START + DAY, 3)); /* says nothing new */
    assert_true(apply(&entry, SUPPRESS_CAUSE_FULL, START + 30 * DAY, 4));
    assert_int_equal(entry.reason, SUPPRESSION_MAILBOX_FULL);
    assert_int_equal(entry.expires_ms, START + 120 * DAY);
    entry = (struct suppression){0};
    assert_true(apply(&entry, SUPPRESS_CAUSE_FULL, START, 1));
    assert_true(apply(&entry, SUPPRESS_CAUSE_FULL, START + 31 * DAY, 2)); /* another series */
    assert_int_equal(entry.reason, SUPPRESSION_NONE);
    assert_false(apply(&entry, SUPPRESS_CAUSE_FULL, START, 1));
}

static void test_removed_by_hand(void **state)
{
    struct suppression entry = {.removed_ms = START};
    (void)state;
    assert_false(apply(&entry, SUPPRESS_CAUSE_HARD, START, 1));
    assert_false(apply(&entry, SUPPRESS_CAUSE_STRIKE, START - DAY, 2));
    assert_false(suppress_is_spent(&entry, &policy, START + DAY, 7 * DAY));
    assert_true(suppress_is_spent(&entry, &policy, START + 7 * DAY, 7 * DAY));
    assert_true(apply(&entry, SUPPRESS_CAUSE_HARD, START + 1, 3));
    assert_int_equal(entry.removed_ms, START);
    assert_false(suppress_is_spent(&entry, &policy, START + 700 * DAY, 7 * DAY));
}

static void test_longer_wins(void **state)
{
    struct suppression entry = {
        .reason = SUPPRESSION_MAILBOX_FULL, .time_ms = START, .expires_ms = START + 90 * DAY};
    (void)state;
    assert_true(apply(&entry, SUPPRESS_CAUSE_COMPLAINT, START - DAY, 1));
    assert_int_equal(entry.reason, SUPPRESSION_COMPLAINT);
    assert_int_equal(entry.expires_ms, 0);
}

static void test_days(void **state)
{
    (void)state;
    assert_int_equal(suppress_until_day(0), 0);
    assert_int_equal(suppress_until_day(1), 1);
    assert_int_equal(suppress_until_day(DAY), 1);
    assert_int_equal(suppress_until_day(DAY + 1), 2);
    assert_int_equal(suppress_today(DAY - 1), 0);
    assert_int_equal(suppress_today(DAY), 1);
    assert_int_equal(suppress_until_day(INT64_MAX - DAY), 0); /* later than can be told */
}

/* ---- events ---- */

static struct event bounce(const char *class, uint32_t code)
{
    return (struct event){
        .type = EVENT_BOUNCED,
        .event_id = SLICE("0190b3c2-0000-7000-8000-000000000001"),
        .time_ms = START,
        .tenant = SLICE("shop"),
        .recipient = SLICE("Bob.Smith@EXAMPLE.com"),
        .attempt = {.code = code, .bounce_class = slice_cstr(class), .text = SLICE("no")},
    };
}

static void assert_key(const struct suppress_fact *fact, const char *wanted)
{
    char key[SUPPRESS_KEY_MAX + 1];
    size_t len = suppress_key_write(&fact->key, key);
    key[len] = '\0';
    assert_string_equal(key, wanted);
}

static void test_facts_of_bounces(void **state)
{
    static const struct {
        const char *class;
        uint32_t code;
        enum suppress_cause cause;
    } cases[] = {
        {"user-unknown", 550, SUPPRESS_CAUSE_HARD},
        {"user-unknown", 450, SUPPRESS_CAUSE_STRIKE},
        {"mailbox-disabled", 550, SUPPRESS_CAUSE_STRIKE},
        {"domain-no-mail", 556, SUPPRESS_CAUSE_HARD},
        {"mailbox-full", 552, SUPPRESS_CAUSE_FULL},
        {"mailbox-full", 452, SUPPRESS_CAUSE_FULL},
        {"spam-content", 554, SUPPRESS_CAUSE_NONE},
        {"ip-blocked", 554, SUPPRESS_CAUSE_NONE},
        {"policy", 550, SUPPRESS_CAUSE_NONE},
        {"undetermined", 550, SUPPRESS_CAUSE_NONE},
        {"a-later-class", 550, SUPPRESS_CAUSE_NONE},
        {"", 550, SUPPRESS_CAUSE_NONE},
    };
    struct suppress_fact fact;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct event event = bounce(cases[i].class, cases[i].code);
        bool follows = suppress_fact_read(&event, &config, &fact);
        assert_int_equal(follows, cases[i].cause != SUPPRESS_CAUSE_NONE);
        assert_int_equal(fact.cause, cases[i].cause);
        if (follows) {
            assert_key(&fact, "shop//bob.smith@example.com");
        }
    }
    struct event event = bounce("user-unknown", 550);
    event.tenant = SLICE("wide");
    assert_true(suppress_fact_read(&event, &config, &fact));
    assert_key(&fact, "//bob.smith@example.com");
    event.tenant = SLICE("");
    assert_false(suppress_fact_read(&event, &config, &fact));
    event.tenant = SLICE("shop");
    event.attempt.disposition = SLICE("hard-after-n"); /* a rule's word comes before the class's */
    assert_true(suppress_fact_read(&event, &config, &fact));
    assert_int_equal(fact.cause, SUPPRESS_CAUSE_STRIKE);
    event.attempt.disposition = SLICE("soft");
    assert_false(suppress_fact_read(&event, &config, &fact));
    event = bounce("user-unknown", 550);
    event.recipient = SLICE("not an address");
    assert_false(suppress_fact_read(&event, &config, &fact));
    event = bounce("user-unknown", 550);
    event.type = EVENT_DEFERRED;
    assert_false(suppress_fact_read(&event, &config, &fact));
    event.type = EVENT_EXPIRED;
    event.attempt.text = SLICE("452 4.2.2 over quota");
    assert_true(suppress_fact_read(&event, &config, &fact));
    assert_int_equal(fact.cause, SUPPRESS_CAUSE_FULL);
    event.attempt.text = SLICE("451 4.4.1 no answer");
    assert_false(suppress_fact_read(&event, &config, &fact));
}

static void test_facts_of_returned_mail(void **state)
{
    struct suppress_fact fact;
    struct event event = bounce("", 0);
    (void)state;
    event.type = EVENT_COMPLAINT;
    event.returned.bounce_class = SLICE("complaint");
    event.returned.list = SLICE("news/daily");
    assert_true(suppress_fact_read(&event, &config, &fact));
    assert_key(&fact, "shop/news%2Fdaily/bob.smith@example.com");
    event.returned.suspicious = SLICE("signature");
    assert_false(suppress_fact_read(&event, &config, &fact));
    event.returned.suspicious = SLICE_NULL;
    event.tenant = SLICE("wide");
    assert_true(suppress_fact_read(&event, &config, &fact));
    assert_key(&fact, "wide//bob.smith@example.com");
    event.tenant = SLICE("shop");
    event.type = EVENT_UNSUBSCRIBED;
    event.returned.list = SLICE_NULL;
    assert_true(suppress_fact_read(&event, &config, &fact));
    assert_key(&fact, "shop//bob.smith@example.com");
    event.returned.list = SLICE("broken\nname");
    assert_true(suppress_fact_read(&event, &config, &fact));
    assert_key(&fact, "shop//bob.smith@example.com");
    event.returned.list = SLICE("weekly");
    assert_true(suppress_fact_read(&event, &config, &fact));
    assert_key(&fact, "shop/weekly/bob.smith@example.com");
    event.type = EVENT_BOUNCED_LATE;
    event.returned.bounce_class = SLICE("user-unknown");
    event.returned.disposition = SLICE("hard");
    assert_true(suppress_fact_read(&event, &config, &fact));
    assert_int_equal(fact.cause, SUPPRESS_CAUSE_HARD);
    assert_key(&fact, "shop//bob.smith@example.com");
    event.returned.disposition = SLICE("hard-after-n");
    assert_true(suppress_fact_read(&event, &config, &fact));
    assert_int_equal(fact.cause, SUPPRESS_CAUSE_STRIKE);
    event.returned.suspicious = SLICE("route");
    assert_false(suppress_fact_read(&event, &config, &fact));
    event.returned.suspicious = SLICE_NULL;
    event.returned.bounce_class = SLICE("ip-blocked"); /* not about the address */
    event.returned.disposition = SLICE("hard");
    assert_false(suppress_fact_read(&event, &config, &fact));
    event.type = EVENT_AUTO_REPLY;
    assert_false(suppress_fact_read(&event, &config, &fact));
}

/* ---- random histories ---- */

static uint64_t random_state;

static uint64_t next_random(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

#define FACTS_MAX 60

/* The reference for events in the order of their time: when is the address held back? Sees the
 * whole history, keeps nothing between calls. */
static bool held_back(const struct suppress_fact *facts, size_t count, int64_t now)
{
    int64_t until = -1; /* 0: for ever */
    int64_t strikes[FACTS_MAX];
    size_t strike_count = 0;
    int64_t first = 0;
    int64_t last = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t at = facts[i].time_ms;
        bool held = until == 0 || until > at;
        int64_t decay = -1;
        if (facts[i].cause == SUPPRESS_CAUSE_HARD || facts[i].cause == SUPPRESS_CAUSE_COMPLAINT) {
            decay = 0;
        } else if (facts[i].cause == SUPPRESS_CAUSE_STRIKE && !held) {
            size_t recent = 1;
            strikes[strike_count++] = at;
            for (size_t j = 0; j + 1 < strike_count; j++) {
                recent += strikes[j] > at - policy.repeated_within_ms ? 1 : 0;
            }
            decay = recent >= policy.repeated_count ? policy.repeated_decay_ms : -1;
        } else if (facts[i].cause == SUPPRESS_CAUSE_FULL && !held) {
            first = first == 0 || at > last + policy.mailbox_full_after_ms ? at : first;
            last = at;
            decay = at - first >= policy.mailbox_full_after_ms ? policy.mailbox_full_decay_ms : -1;
        }
        if (decay >= 0 && until != 0) {
            until = decay == 0 ? 0 : at + decay > until ? at + decay : until;
            strike_count = 0;
            first = last = 0;
        }
    }
    return until == 0 || until > now;
}

static void test_histories(void **state)
{
    const char *given = getenv("SLUICE_SEED");
    (void)state;
    random_state = given == NULL ? random_u64() : strtoull(given, NULL, 0);
    print_message("SLUICE_SEED=%" PRIu64 "\n", random_state);
    for (int round = 0; round < 20000; round++) {
        struct suppress_fact facts[FACTS_MAX];
        struct suppression entry = {0};
        size_t count = 1 + next_random() % FACTS_MAX;
        int64_t now = START;
        uint64_t pace = 1 + next_random() % 40;
        for (size_t i = 0; i < count; i++) {
            uint64_t what = next_random() % 40;
            now += 1 + (int64_t)(next_random() % (uint64_t)(DAY * (int64_t)pace));
            facts[i] = fact_at(what == 0   ? SUPPRESS_CAUSE_HARD
                               : what < 20 ? SUPPRESS_CAUSE_STRIKE
                                           : SUPPRESS_CAUSE_FULL,
                               now, next_random());
            (void)suppress_apply(&facts[i], &entry);
            struct suppression before = entry;
            for (int again = 0; again < 4; again++) {
                assert_false(suppress_apply(&facts[next_random() % (i + 1)], &entry));
            }
            assert_memory_equal(&before, &entry, sizeof(entry));
            assert_int_equal(suppress_in_force(&entry, now), held_back(facts, i + 1, now));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hard_at_once),     cmocka_unit_test(test_repeated),
        cmocka_unit_test(test_mailbox_full),     cmocka_unit_test(test_removed_by_hand),
        cmocka_unit_test(test_longer_wins),      cmocka_unit_test(test_days),
        cmocka_unit_test(test_facts_of_bounces), cmocka_unit_test(test_facts_of_returned_mail),
        cmocka_unit_test(test_histories),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}

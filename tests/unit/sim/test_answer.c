/* The decisions of a provider, without a network: time is a number here. */
#include "sim/answer.h"

#include "unit/cmocka_all.h"

#define SECOND INT64_C(1000000)

struct rig {
    struct sim_provider_config config;
    struct sim_provider provider;
    struct sim_seen *seen;
    struct sim_request request;
    struct sim_answer answer;
};

static void rig_start(struct rig *rig)
{
    rig->config.name = "p";
    rig->config.host_name = "mx.test";
    rig->seen = sim_seen_create(1024);
    sim_provider_init(&rig->provider, &rig->config, 7, rig->seen);
    rig->request = (struct sim_request){
        .source = sim_provider_source(&rig->provider, SLICE("127.0.0.9")),
        .mail_from = SLICE("s@a.test"),
        .now = {100 * SECOND},
    };
    assert_non_null(rig->request.source);
}

static void rig_end(struct rig *rig)
{
    sim_provider_free(&rig->provider);
    sim_seen_free(&rig->seen);
}

static uint16_t ask_rcpt(struct rig *rig, const char *address)
{
    rig->request.rcpt = slice_cstr(address);
    sim_answer_rcpt(&rig->provider, &rig->request, &rig->answer);
    return rig->answer.code;
}

static uint16_t ask_mail(struct rig *rig)
{
    rig->request.rcpt = SLICE_NULL;
    sim_answer_mail(&rig->provider, &rig->request, &rig->answer);
    return rig->answer.code;
}

static const char *address_of(char out[32], int i)
{
    snprintf(out, 32, "user%d@b.test", i);
    return out;
}

static void test_unknown_is_for_ever(void **state)
{
    (void)state;
    struct rig rig = {.config = {.unknown = 100000, .profile = SIM_MICROSOFT}};
    unsigned unknown = 0;
    rig_start(&rig);
    for (int i = 0; i < 10000; i++) {
        char address[32];
        uint16_t first = ask_rcpt(&rig, address_of(address, i));
        unknown += first >= 500;
        address[0] = 'U'; /* case does not matter */
        assert_int_equal(ask_rcpt(&rig, address), first);
    }
    assert_in_range(unknown, 850, 1150);
    rig_end(&rig);
}

static void test_seed_decides(void **state)
{
    (void)state;
    struct rig a = {.config = {.unknown = 500000}};
    unsigned differ = 0;
    rig_start(&a);
    struct sim_provider other;
    sim_provider_init(&other, &a.config, 8, NULL);
    for (int i = 0; i < 1000; i++) {
        char address[32];
        struct slice s = slice_cstr(address_of(address, i));
        differ += sim_chance_by_hash(&a.provider, s, 0, 500000) !=
                  sim_chance_by_hash(&other, s, 0, 500000);
    }
    assert_in_range(differ, 400, 600);
    sim_provider_free(&other);
    rig_end(&a);
}

static void test_temporary_once(void **state)
{
    (void)state;
    struct rig rig = {.config = {.temporary = SIM_CHANCE_ONE}};
    rig_start(&rig);
    assert_int_equal(ask_rcpt(&rig, "a@b.test") / 100, 4);
    rig.request.now.us++;
    assert_int_equal(ask_rcpt(&rig, "a@b.test"), 250);
    assert_int_equal(ask_rcpt(&rig, "c@b.test") / 100, 4);
    rig_end(&rig);
}

static void test_greylist(void **state)
{
    (void)state;
    struct rig rig = {.config = {.greylist = true, .greylist_ms = 3000, .profile = SIM_GMAIL}};
    rig_start(&rig);
    assert_int_equal(ask_rcpt(&rig, "a@b.test"), 450);
    assert_string_equal(rig.answer.enhanced, "4.7.1");
    rig.request.now.us += 3 * SECOND - 1;
    assert_int_equal(ask_rcpt(&rig, "a@b.test"), 450);
    rig.request.now.us++;
    assert_int_equal(ask_rcpt(&rig, "a@b.test"), 250);
    rig.request.mail_from = SLICE("other@a.test");
    assert_int_equal(ask_rcpt(&rig, "a@b.test"), 450);
    rig.request.mail_from = SLICE("s@a.test");
    rig.request.source = sim_provider_source(&rig.provider, SLICE("127.0.0.10"));
    assert_int_equal(ask_rcpt(&rig, "a@b.test"), 450);
    rig_end(&rig);
}

static void test_rate_in_any_window(void **state)
{
    (void)state;
    struct rig rig = {.config = {.max_rate = {10, 1000}, .burst = 2, .profile = SIM_POSTFIX}};
    rig_start(&rig);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(ask_mail(&rig), 250);
        rig.request.now.us += 1000;
    }
    assert_int_equal(ask_mail(&rig), 450);
    assert_string_equal(rig.answer.text, "Error: too much mail from 127.0.0.9");
    rig.request.now.us = 101 * SECOND - 1;
    assert_int_equal(ask_mail(&rig), 450);
    rig.request.now.us = 101 * SECOND; /* the first one is a second old */
    assert_int_equal(ask_mail(&rig), 250);
    assert_int_equal(ask_mail(&rig), 450);
    assert_int_equal(rig.provider.counters.violations[SIM_VIOLATION_RATE], 3);
    assert_int_equal(rig.provider.counters.rejected[50], 3);
    assert_in_range(rig.provider.arrivals.highest, 14, 16);
    rig_end(&rig);
}

static void test_rate_per_source(void **state)
{
    (void)state;
    struct rig rig = {
        .config = {.max_rate_per_source = {1, 1000}, .rate_counts = SIM_RATE_RECIPIENTS}};
    rig_start(&rig);
    assert_int_equal(ask_mail(&rig), 250);
    assert_int_equal(ask_mail(&rig), 250); /* are not counted */
    assert_int_equal(ask_rcpt(&rig, "a@b.test"), 250);
    assert_int_equal(ask_rcpt(&rig, "b@b.test"), 421);
    rig.request.source = sim_provider_source(&rig.provider, SLICE("127.0.0.10"));
    assert_int_equal(ask_rcpt(&rig, "a@b.test"), 250);
    assert_int_equal(rig.provider.counters.violations[SIM_VIOLATION_RATE_PER_SOURCE], 1);
    rig_end(&rig);
}

static void test_connections(void **state)
{
    (void)state;
    struct rig rig = {.config = {.max_connections = 2, .max_connections_per_source = 1}};
    rig_start(&rig);
    struct sim_source *first = rig.request.source;
    assert_true(sim_answer_connect(&rig.provider, &rig.request, &rig.answer));
    assert_false(sim_answer_connect(&rig.provider, &rig.request, &rig.answer));
    assert_int_equal(rig.answer.code, 421);
    rig.request.source = sim_provider_source(&rig.provider, SLICE("127.0.0.10"));
    assert_true(sim_answer_connect(&rig.provider, &rig.request, &rig.answer));
    rig.request.source = sim_provider_source(&rig.provider, SLICE("127.0.0.11"));
    assert_false(sim_answer_connect(&rig.provider, &rig.request, &rig.answer));
    sim_provider_leave(&rig.provider, first);
    assert_true(sim_answer_connect(&rig.provider, &rig.request, &rig.answer));
    assert_int_equal(rig.provider.most_connections, 2);
    assert_int_equal(rig.provider.counters.connections, 5);
    assert_int_equal(rig.provider.counters.connections_refused, 2);
    assert_int_equal(rig.provider.counters.violations[SIM_VIOLATION_CONNECTIONS], 1);
    assert_int_equal(rig.provider.counters.violations[SIM_VIOLATION_CONNECTIONS_PER_SOURCE], 1);
    rig_end(&rig);
}

static void test_rules(void **state)
{
    (void)state;
    struct sim_rule rules[] = {
        {SIM_PHASE_RCPT, SIM_CHANCE_ONE, "@full.test", {452, "4.2.2", "Full {rcpt}"}},
        {SIM_PHASE_MESSAGE, SIM_CHANCE_ONE, "b@b.test", {554, "", "spam"}},
        {SIM_PHASE_MESSAGE, 500000, NULL, {451, "4.3.0", "later"}},
    };
    struct rig rig = {.config = {.rules = rules, .rule_count = ARRAY_LEN(rules)}};
    unsigned later = 0;
    rig_start(&rig);
    assert_int_equal(ask_rcpt(&rig, "a@FULL.test"), 452);
    assert_string_equal(rig.answer.text, "Full a@FULL.test");
    assert_int_equal(ask_rcpt(&rig, "a@b.test"), 250);
    rig.request.rcpts = SLICE("a@b.test\nb@b.test\n");
    sim_answer_message(&rig.provider, &rig.request, &rig.answer);
    assert_int_equal(rig.answer.code, 554);
    assert_null(rig.answer.enhanced);
    assert_int_equal(rig.answer.action, SIM_ACTION_REPLY);
    rig.request.rcpts = SLICE("a@b.test\n");
    for (int i = 0; i < 1000; i++) { /* drawn anew for each attempt */
        sim_answer_message(&rig.provider, &rig.request, &rig.answer);
        later += rig.answer.code == 451;
        assert_int_equal(rig.answer.action == SIM_ACTION_ACCEPT, rig.answer.code == 250);
    }
    assert_in_range(later, 400, 600);
    rig_end(&rig);
}

static void test_text(void **state)
{
    (void)state;
    const struct sim_names names = {
        .rcpt = SLICE("r@b"), .from = SLICE_NULL, .source = SLICE("::1"), .id = 0xabc};
    char out[64];
    sim_text_expand(out, sizeof(out), "<{rcpt}> <{from}> {source} {id} {what} {", &names);
    assert_string_equal(out, "<r@b> <> ::1 000000000ABC ? {");
    sim_text_expand(out, 6, "12{rcpt}", &names);
    assert_string_equal(out, "12r@b");
    sim_text_expand(out, 4, "12{rcpt}", &names);
    assert_string_equal(out, "12r");
}

/* Every phrase is a reply of the right kind. */
static void test_phrases(void **state)
{
    (void)state;
    for (int profile = SIM_GMAIL; profile <= SIM_POSTFIX; profile++) {
        for (int phrase = 0; phrase < SIM_PHRASE_COUNT; phrase++) {
            struct sim_phrases all =
                sim_profile_phrases((enum sim_profile)profile, (enum sim_phrase)phrase);
            assert_true(all.count > 0);
            for (size_t i = 0; i < all.count; i++) {
                const struct sim_reply *reply = &all.replies[i];
                bool permanent = phrase == SIM_PHRASE_UNKNOWN;
                assert_int_equal(reply->code / 100, permanent ? 5 : 4);
                assert_true(reply->enhanced[0] == '\0' ||
                            reply->enhanced[0] == (permanent ? '5' : '4'));
                assert_in_range(strlen(reply->text), 1, SIM_REPLY_TEXT_MAX - 1);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_is_for_ever),
        cmocka_unit_test(test_seed_decides),
        cmocka_unit_test(test_temporary_once),
        cmocka_unit_test(test_greylist),
        cmocka_unit_test(test_rate_in_any_window),
        cmocka_unit_test(test_rate_per_source),
        cmocka_unit_test(test_connections),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_phrases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

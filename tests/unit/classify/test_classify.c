/* Weighing, views, user rules, reloading, the cache. Small rules of its own, so that the built-in
 * ones may change. */
#include "classify/classify.h"
#include "unit/cmocka_all.h"
#include "unit/temp.h"

#include <sys/stat.h>
#include <unistd.h>

static const char rules[] =
    "providers:\n"
    "  - {name: acme, aliases: [acmemail], hosts: [acme.example], texts: ['acme says']}\n"
    "rules:\n"
    "  - {name: unknown, class: user-unknown, weight: 90, match: 'user unknown', unless: "
    "'sender'}\n"
    "  - {name: also-unknown, class: user-unknown, weight: 90, match: 'unknown'}\n"
    "  - {name: full, class: mailbox-full, weight: 60, match: 'quota'}\n"
    "  - {name: e711, class: policy, weight: 20, enhanced: [x.7.1]}\n"
    "  - {name: e522, class: mailbox-full, weight: 75, enhanced: [x.2.2]}\n"
    "  - {name: vague, class: spam-content, weight: 50, match: 'bad message'}\n"
    "  - {name: c550, class: spam-content, weight: 20, codes: [55x]}\n"
    "  - {name: rcpt, class: user-unknown, weight: 25, phases: [rcpt], codes: [550]}\n"
    "  - {name: there, class: ip-blocked, weight: 80, provider: acme, only_there: yes, match: "
    "'code A17'}\n"
    "  - {name: silent, class: network-error, given_up: expired, weight: 80, match: 'no answer'}\n"
    "  - {name: slow, class: rate-limited, scope: recipient, weight: 90, match: 'too fast'}\n"
    "  - {name: listed, class: ip-blocked, weight: 90, match: 'listed by', capture: 'listed by "
    "(\\S+)'}\n";

static struct classifier *classifier;
static struct classify_scratch *scratch;

static int setup(void **state)
{
    (void)state;
    struct fault fault = {0};
    classifier = classifier_load_text("small.yaml", SLICE(rules), &fault);
    scratch = classify_scratch_create();
    return classifier == NULL;
}

static int teardown(void **state)
{
    (void)state;
    classifier_free(&classifier);
    classify_scratch_free(&scratch);
    return 0;
}

static struct classify_result run(const char *text, enum smtp_phase phase, const char *host)
{
    struct classify_input input = {
        .text = slice_cstr(text), .phase = phase, .remote_host = slice_cstr(host)};
    struct classify_result result;
    classifier_run(classifier, scratch, &input, &result);
    return result;
}

static void test_text_beats_generic_codes(void **state)
{
    (void)state;
    struct classify_result r = run("550 5.7.1 User unknown", SMTP_PHASE_NONE, NULL);
    assert_int_equal(r.class, BOUNCE_USER_UNKNOWN);
    assert_int_equal(r.disposition, BOUNCE_DO_HARD);
    assert_int_equal(r.scope, BOUNCE_SCOPE_RECIPIENT);
    assert_string_equal(r.rule, "unknown");
}

static void test_specific_code_beats_vague_text(void **state)
{
    (void)state;
    assert_int_equal(run("552 5.2.2 bad message", SMTP_PHASE_NONE, NULL).class,
                     BOUNCE_MAILBOX_FULL);
    assert_int_equal(run("550 bad message", SMTP_PHASE_NONE, NULL).class, BOUNCE_SPAM_CONTENT);
}

static void test_kinds_add_up(void **state)
{
    (void)state;
    /* Ten ways to say the same are one piece of evidence: confidence is that of one text rule. */
    uint8_t one = run("unknown", SMTP_PHASE_NONE, NULL).confidence;
    assert_int_equal(run("user unknown", SMTP_PHASE_NONE, NULL).confidence, one);
    /* Text and code together are more than text alone. */
    assert_true(run("552 5.2.2 quota", SMTP_PHASE_NONE, NULL).confidence >
                run("quota", SMTP_PHASE_NONE, NULL).confidence);
    /* The phase tips the balance where nothing else speaks. */
    assert_int_equal(run("550 hm", SMTP_PHASE_RCPT, NULL).class, BOUNCE_USER_UNKNOWN);
    assert_int_equal(run("550 hm", SMTP_PHASE_MESSAGE, NULL).class, BOUNCE_SPAM_CONTENT);
}

static void test_nothing_known(void **state)
{
    (void)state;
    struct classify_result r = run("hm", SMTP_PHASE_NONE, NULL);
    assert_int_equal(r.class, BOUNCE_UNDETERMINED);
    assert_int_equal(r.disposition, BOUNCE_DO_SOFT);
    assert_int_equal(r.confidence, 0);
    assert_string_equal(r.rule, "");
    assert_string_equal(r.provider, "");
}

static void test_unless(void **state)
{
    (void)state;
    assert_string_equal(run("550 sender: user unknown", SMTP_PHASE_NONE, NULL).rule,
                        "also-unknown");
}

static void test_temporary_reply_never_suppresses_at_once(void **state)
{
    (void)state;
    assert_int_equal(run("450 User unknown", SMTP_PHASE_NONE, NULL).disposition,
                     BOUNCE_DO_HARD_AFTER_N);
    assert_int_equal(run("550 too fast", SMTP_PHASE_NONE, NULL).disposition, BOUNCE_DO_TRANSIENT);
    assert_int_equal(run("550 too fast", SMTP_PHASE_NONE, NULL).scope, BOUNCE_SCOPE_RECIPIENT);
}

/* What may pass by itself is final in a report only because the time ran out; not where a code
 * names the way. */
static void test_given_up(void **state)
{
    (void)state;
    struct classify_input input = {.text = SLICE("no answer")};
    struct classify_result r;
    for (int i = 0; i < 2; i++) { /* once more: what is kept of one must not answer for the other */
        input.given_up = false;
        classifier_run(classifier, scratch, &input, &r);
        assert_int_equal(r.class, BOUNCE_NETWORK_ERROR);
        input.given_up = true;
        classifier_run(classifier, scratch, &input, &r);
        assert_int_equal(r.class, BOUNCE_EXPIRED);
        assert_string_equal(r.rule, "silent");
    }
    input.text = SLICE("4.4.4 no answer");
    classifier_run(classifier, scratch, &input, &r);
    assert_int_equal(r.class, BOUNCE_NETWORK_ERROR);
}

/* At MAIL nobody has been named yet, so that "user unknown" is hardly about the recipient. */
static void test_before_rcpt(void **state)
{
    (void)state;
    assert_true(run("550 user unknown", SMTP_PHASE_MAIL, NULL).confidence <
                run("550 user unknown", SMTP_PHASE_RCPT, NULL).confidence / 2);
    assert_int_equal(run("550 5.7.1 bad message, quota", SMTP_PHASE_MAIL, NULL).class,
                     BOUNCE_SPAM_CONTENT);
}

static void test_provider(void **state)
{
    (void)state;
    assert_int_equal(run("550 code A17", SMTP_PHASE_NONE, "mx.acme.example").class,
                     BOUNCE_IP_BLOCKED);
    assert_int_equal(run("550 code A17", SMTP_PHASE_NONE, "mx.notacme.example").class,
                     BOUNCE_SPAM_CONTENT);
    assert_string_equal(run("550 Acme says code A17", SMTP_PHASE_NONE, NULL).provider, "acme");
    assert_string_equal(run("550 see https://help.acme.example/x", SMTP_PHASE_NONE, NULL).provider,
                        "acme");
    assert_string_equal(classifier_provider_of(classifier, SLICE("ACME.example.")), "acme");
    assert_string_equal(classifier_provider_of(classifier, SLICE("badacme.example")), "");
    struct classify_input input = {.text = SLICE("550 code A17"), .provider = SLICE("AcmeMail")};
    struct classify_result r;
    classifier_run(classifier, scratch, &input, &r);
    assert_int_equal(r.class, BOUNCE_IP_BLOCKED);
}

static void test_capture(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) { /* the second time from the cache */
        struct classify_result r =
            run("554 listed by zen.spamhaus.org today", SMTP_PHASE_NONE, NULL);
        assert_true(slice_eq(r.detail, SLICE("zen.spamhaus.org")));
    }
}

static void test_cause_key(void **state)
{
    (void)state;
    uint64_t a =
        run("550 5.1.1 <jo@example.org> User unknown t11si6005099wes.103", SMTP_PHASE_NONE, NULL)
            .cause_key;
    uint64_t b =
        run("550 5.1.1 <al@example.net> user unknown c18si2365148hub.77", SMTP_PHASE_NONE, NULL)
            .cause_key;
    uint64_t c =
        run("551 5.1.1 <al@example.net> user unknown c18si2365148hub.77", SMTP_PHASE_NONE, NULL)
            .cause_key;
    assert_true(a == b);
    assert_true(a != c);
}

static void test_views(void **state)
{
    (void)state;
    assert_string_equal(bounce_class_powermta(BOUNCE_USER_UNKNOWN), "bad-mailbox");
    assert_int_equal(bounce_class_momentum(BOUNCE_USER_UNKNOWN), 10);
    assert_string_equal(bounce_class_powermta(BOUNCE_MAILBOX_FULL), "quota-issues");
    assert_int_equal(bounce_class_momentum(BOUNCE_IP_BLOCKED), 51);
    for (unsigned i = 0; i < BOUNCE_CLASS_COUNT; i++) {
        enum bounce_class class;
        assert_true(
            bounce_class_parse(slice_cstr(bounce_class_name((enum bounce_class)i)), &class));
        assert_int_equal(class, i);
        assert_true(strlen(bounce_class_powermta((enum bounce_class)i)) > 0);
    }
    enum bounce_class class;
    assert_false(bounce_class_parse(SLICE("user-unknow"), &class));
    assert_int_equal(bounce_class_disposition(BOUNCE_IP_BLOCKED, false), BOUNCE_DO_BLOCK);
    assert_int_equal(bounce_class_disposition(BOUNCE_MAILBOX_DISABLED, false),
                     BOUNCE_DO_HARD_AFTER_N);
}

static void write_rule(const char *dir, const char *text)
{
    char path[TEMP_NAME_MAX + 16];
    (void)snprintf(path, sizeof(path), "%s/mine.yaml", dir);
    FILE *out = fopen(path, "we");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static void test_user_rules_and_reload(void **state)
{
    (void)state;
    char dir[TEMP_NAME_MAX];
    char path[TEMP_NAME_MAX + 16];
    assert_non_null(mkdtemp(temp_name(dir)));
    write_rule(dir,
               "rules:\n  - {name: mine, class: recipient-refused, disposition: none, weight: 30, "
               "match: 'user unknown'}\n"
               "  - {name: code-full, class: too-large, enhanced: [5.2.2], provider: google}\n");
    const char *dirs[] = {dir};
    struct classifier_options options = {.user_dirs = dirs, .user_dir_count = 1};
    struct fault fault = {0};
    struct classify_input input = {.text = SLICE("550 5.1.1 User unknown")};
    struct classify_result before;
    struct classify_result after;
    struct classifier *plain = classifier_load(NULL, &fault);
    struct classifier *mine = classifier_load(&options, &fault);
    assert_non_null(plain);
    assert_non_null(mine);
    classifier_run(plain, scratch, &input, &before);
    classifier_run(mine, scratch, &input, &after);
    assert_int_equal(before.class, BOUNCE_USER_UNKNOWN);
    assert_int_equal(after.class, BOUNCE_RECIPIENT_REFUSED);
    assert_int_equal(after.disposition, BOUNCE_DO_NONE);
    assert_string_equal(after.rule, "mine");
    classifier_run(plain, scratch, &input,
                   &before); /* and back: nothing of the other one stays in the cache */
    assert_int_equal(before.class, BOUNCE_USER_UNKNOWN);
    assert_string_not_equal(classifier_version(plain), classifier_version(mine));
    struct classifier *held = classifier_hold(mine);
    classifier_free(&mine);
    classifier_run(held, scratch, &input, &after);
    assert_int_equal(after.class, BOUNCE_RECIPIENT_REFUSED);
    classifier_free(&held);
    classifier_free(&plain);
    (void)snprintf(path, sizeof(path), "%s/mine.yaml", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

/* Words of one's own are for one's own rules: "@absent" of ours stays what it was, and a rule of
 * ours that is replaced no longer speaks although its patterns are in the database. */
static void test_user_words(void **state)
{
    (void)state;
    char dir[TEMP_NAME_MAX];
    char path[TEMP_NAME_MAX + 16];
    assert_non_null(mkdtemp(temp_name(dir)));
    write_rule(dir, "words:\n  absent: [purple, 'dark blue']\nrules:\n"
                    "  - {name: colours, class: policy, weight: 90, match: 'mailbox is @absent$', "
                    "unless: 'green'}\n"
                    "  - {name: full, class: mailbox-full, weight: 1, match: 'no such text'}\n");
    const char *dirs[] = {dir};
    struct classifier_options options = {.user_dirs = dirs, .user_dir_count = 1};
    struct fault fault = {0};
    struct classifier *mine = classifier_load(&options, &fault);
    assert_non_null(mine);
    struct classify_result r;
    struct classify_input input = {.text = SLICE("550 5.1.1 the mailbox is dark blue")};
    classifier_run(mine, scratch, &input, &r);
    assert_string_equal(r.rule, "colours");
    input.text = SLICE("550 5.1.1 green: the mailbox is dark blue");
    classifier_run(mine, scratch, &input, &r);
    assert_string_equal(r.rule, "code-bad-mailbox");
    input.text = SLICE("550 the mailbox does not exist");
    classifier_run(mine, scratch, &input, &r);
    assert_string_equal(r.rule, "user-unknown-plain");
    input.text = SLICE("550 mailbox full");
    classifier_run(mine, scratch, &input, &r);
    assert_string_not_equal(r.rule, "full");
    classifier_free(&mine);
    (void)snprintf(path, sizeof(path), "%s/mine.yaml", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

/* Patterns that make backtracking matchers take exponential time. */
static void test_hostile_patterns_and_texts(void **state)
{
    (void)state;
    struct fault fault = {0};
    static char text[CLASSIFY_TEXT_MAX];
    memset(text, 'a', sizeof(text));
    for (size_t i = 0; i < sizeof(text); i += 50) {
        text[i] = ' ';
    }
    struct classifier *hostile = classifier_load_text(
        "h.yaml",
        SLICE("rules:\n  - {name: h, class: policy, match: '(a+)+ ', capture: '((?:a+)+)+!'}\n"),
        &fault);
    if (hostile == NULL) { /* two groups are refused; the other form has one */
        hostile = classifier_load_text("h.yaml",
                                       SLICE("rules:\n  - {name: h, class: policy, match: '(a+)+ "
                                             "', capture: '((?:a+ ?)+)+!'}\n"),
                                       &fault);
    }
    assert_non_null(hostile);
    struct classify_input input = {.text = slice_of(text, sizeof(text))};
    struct classify_result r;
    classifier_run(hostile, scratch, &input, &r);
    assert_int_equal(r.class, BOUNCE_POLICY);
    assert_int_equal(r.detail.len, 0);
    classifier_free(&hostile);
}

/* PCRE2 counts its steps: what needs too many has no detail, whatever would have been found. */
static void test_capture_gives_up(void **state)
{
    (void)state;
    struct fault fault = {0};
    struct classifier *hostile = classifier_load_text(
        "h.yaml",
        SLICE("rules:\n  - {name: h, class: policy, match: 'aaaa', capture: '(?:a+)+(b)'}\n"),
        &fault);
    assert_non_null(hostile);
    for (size_t count = 8; count <= 512; count *= 4) {
        char text[600];
        memset(text, 'a', count);
        (void)snprintf(text + count, sizeof(text) - count, " ab");
        struct classify_input input = {.text = slice_of(text, count + 3)};
        struct classify_result r;
        classifier_run(hostile, scratch, &input, &r);
        assert_int_equal(r.class, BOUNCE_POLICY);
        assert_true(slice_eq(r.detail, count == 8 ? SLICE("b") : SLICE("")));
    }
    classifier_free(&hostile);
}

/* Patterns that would not be linear in time are refused with file and line, in "match" and in
 * "unless". */
static void test_patterns_refused(void **state)
{
    (void)state;
    static const char *const patterns[] = {"a{1,99999}", "a(b", "(?=a)b", "(a)\\1"};
    for (size_t i = 0; i < 2 * ARRAY_LEN(patterns); i++) {
        char rule[200];
        struct fault fault = {0};
        int len = snprintf(rule, sizeof(rule), "rules:\n  - {name: h, class: policy, %s: '%s'}\n",
                           i % 2 == 0 ? "match" : "match: x, unless", patterns[i / 2]);
        assert_null(classifier_load_text("h.yaml", slice_of(rule, (size_t)len), &fault));
        assert_int_equal(fault.kind, FAULT_INVALID);
        assert_non_null(strstr(fault.text, "h.yaml:2: pattern"));
    }
}

/* An "unless" is asked of its own rule only, in rules of others as in ours. */
static void test_unless_of_its_own(void **state)
{
    (void)state;
    char dir[TEMP_NAME_MAX];
    char path[TEMP_NAME_MAX + 16];
    assert_non_null(mkdtemp(temp_name(dir)));
    write_rule(dir,
               "rules:\n"
               "  - {name: one, class: virus, weight: 90, match: 'blue moon', unless: ['red', "
               "'pink']}\n"
               "  - {name: two, class: policy, weight: 80, match: 'blue moon', unless: green}\n"
               "  - {name: three, class: too-large, weight: 70, match: ['moon', 'blue']}\n");
    const char *dirs[] = {dir};
    struct classifier_options options = {.user_dirs = dirs, .user_dir_count = 1};
    struct fault fault = {0};
    struct classifier *mine = classifier_load(&options, &fault);
    assert_non_null(mine);
    static const struct {
        const char *text, *rule;
    } cases[] = {{"550 blue moon", "one"},
                 {"550 pink blue moon", "two"},
                 {"550 green blue moon", "one"},
                 {"550 red and green: blue moon", "three"},
                 {"550 red user unknown", "user-unknown-plain"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct classify_input input = {.text = slice_cstr(cases[i].text)};
        struct classify_result r;
        classifier_run(mine, scratch, &input, &r);
        assert_string_equal(r.rule, cases[i].rule);
    }
    classifier_free(&mine);
    (void)snprintf(path, sizeof(path), "%s/mine.yaml", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

/* Many causes in turn, more than the cache holds: each has its own result each time. */
static void test_cache_of_many(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3 * 5000; i++) {
        char text[80];
        (void)snprintf(text, sizeof(text), "%s %c%c%c%c", i % 3 == 0 ? "user unknown" : "quota",
                       (char)('a' + i % 5), (char)('a' + i / 5 % 10), (char)('a' + i / 50 % 10),
                       (char)('a' + i / 500 % 10));
        assert_int_equal(run(text, SMTP_PHASE_NONE, NULL).class,
                         i % 3 == 0 ? BOUNCE_USER_UNKNOWN : BOUNCE_MAILBOX_FULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_beats_generic_codes),
        cmocka_unit_test(test_specific_code_beats_vague_text),
        cmocka_unit_test(test_kinds_add_up),
        cmocka_unit_test(test_nothing_known),
        cmocka_unit_test(test_unless),
        cmocka_unit_test(test_temporary_reply_never_suppresses_at_once),
        cmocka_unit_test(test_given_up),
        cmocka_unit_test(test_before_rcpt),
        cmocka_unit_test(test_provider),
        cmocka_unit_test(test_capture),
        cmocka_unit_test(test_cause_key),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_user_rules_and_reload),
        cmocka_unit_test(test_user_words),
        cmocka_unit_test(test_hostile_patterns_and_texts),
        cmocka_unit_test(test_capture_gives_up),
        cmocka_unit_test(test_patterns_refused),
        cmocka_unit_test(test_unless_of_its_own),
        cmocka_unit_test(test_cache_of_many),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

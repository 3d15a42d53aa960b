/* The rules that are built in: they compile, and every sample comes out as its rule says. Rule
 * files: what is refused. */
#include "classify/classify.h"
#include "unit/cmocka_all.h"

static void print_problem(void *context, const char *line)
{
    (void)context;
    print_error("%s\n", line);
}

static void test_built_in_samples(void **state)
{
    (void)state;
    struct fault fault = {0};
    struct classifier *classifier = classifier_load(NULL, &fault);
    if (classifier == NULL) {
        fail_msg("%s", fault.text);
    }
    size_t samples;
    assert_int_equal(classifier_check_samples(classifier, print_problem, NULL, &samples), 0);
    assert_true(samples > 200);
    assert_true(classifier_rule_count(classifier) > 150);
    assert_int_equal(strlen(classifier_version(classifier)), 16);
    classifier_free(&classifier);
    assert_null(classifier);
    classifier_free(&classifier);
}

static void test_folder_of_rules(void **state)
{
    (void)state;
    struct fault fault = {0};
    char dir[400];
    const char *source = getenv("SLUICE_SOURCE_DIR");
    if (source == NULL) {
        skip();
    }
    (void)snprintf(dir, sizeof(dir), "%s/bouncer/rules", source);
    struct classifier_options options = {.base_dir = dir};
    struct classifier *from_dir = classifier_load(&options, &fault);
    struct classifier *built_in = classifier_load(NULL, &fault);
    assert_non_null(from_dir);
    assert_non_null(built_in);
    assert_string_equal(classifier_version(from_dir), classifier_version(built_in));
    classifier_free(&from_dir);
    classifier_free(&built_in);
    options.base_dir = "/nonexistent/rules";
    assert_null(classifier_load(&options, &fault));
}

struct refused {
    const char *text;
    const char *told;
};

static const struct refused refused[] = {
    {"- a\n", "t.yaml:1: a file of rules is a mapping"},
    {"rulez: []\n", "t.yaml:1: a file of rules has no key \"rulez\""},
    {"rules:\n  - {name: a, clas: policy, match: x}\n", "t.yaml:2: a rule has no key \"clas\""},
    {"rules:\n  - {name: a, class: nope, match: x}\n", "t.yaml:2: not a class: \"nope\""},
    {"rules:\n  - {class: policy, match: x}\n", "t.yaml:2: a rule needs a name"},
    {"rules:\n  - {name: a, match: x}\n", "t.yaml:2: no class in rule \"a\""},
    {"rules:\n  - {name: a, class: policy}\n", "t.yaml:2: nothing to match in rule \"a\""},
    {"rules:\n  - {name: a, class: policy, match: '('}\n", "t.yaml:2: pattern \"(\""},
    {"rules:\n  - {name: a, class: policy, match: x, capture: '('}\n", "t.yaml:2: capture \"(\""},
    {"rules:\n  - {name: a, class: policy, match: x, capture: 'y'}\n",
     "t.yaml:2: capture \"y\" must have one group"},
    {"rules:\n  - {name: a, class: policy, match: x, weight: 101}\n", "t.yaml:2: a weight is"},
    {"rules:\n  - {name: a, class: policy, codes: [55]}\n", "t.yaml:2: not a reply code"},
    {"rules:\n  - {name: a, class: policy, enhanced: [5.1]}\n", "t.yaml:2: not an enhanced code"},
    {"rules:\n  - {name: a, class: policy, phases: [dinner]}\n", "t.yaml:2: not a phase"},
    {"rules:\n  - {name: a, class: policy, match: x, provider: who}\n",
     "t.yaml:2: no such provider"},
    {"rules:\n  - {name: a, class: policy, match: x, only_there: yes}\n",
     "t.yaml:2: only_there without a provider"},
    {"rules:\n  - {name: a, class: policy, match: x}\n  - {name: a, class: policy, match: y}\n",
     "t.yaml:3: a second rule has the name \"a\""},
    {"rules:\n  - {name: a, class: policy, match: 'x @nowhere'}\n",
     "t.yaml:2: too long, or words that are not known: \"nowhere\""},
    {"words:\n  a: 'x @nowhere'\n", "t.yaml:2: not words, too long, or words that are not known"},
    {"words: [a]\n", "t.yaml:1: words are a mapping"},
    {"rules: [\n", "t.yaml:2:"},
    {"providers:\n  - {hosts: [a.example]}\n", "t.yaml:2: a provider needs a name"},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct fault fault = {0};
        struct classifier *classifier =
            classifier_load_text("t.yaml", slice_cstr(refused[i].text), &fault);
        assert_null(classifier);
        assert_int_equal(fault.kind, FAULT_INVALID);
        if (strncmp(fault.text, refused[i].told, strlen(refused[i].told)) != 0) {
            fail_msg("\"%s\" expected, \"%s\" told", refused[i].told, fault.text);
        }
    }
}

static void test_samples_can_fail(void **state)
{
    (void)state;
    struct fault fault = {0};
    size_t samples;
    struct classifier *classifier =
        classifier_load_text("t.yaml",
                             SLICE("rules:\n"
                                   "  - {name: a, class: policy, weight: 90, match: apple, "
                                   "samples: ['550 apple', '550 pear']}\n"
                                   "  - {name: b, class: virus, weight: 80, match: 'apple|pie', "
                                   "samples: ['550 apple pie']}\n"),
                             &fault);
    assert_non_null(classifier);
    assert_int_equal(classifier_check_samples(classifier, NULL, NULL, &samples), 2);
    assert_int_equal(samples, 3);
    classifier_free(&classifier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_built_in_samples),
        cmocka_unit_test(test_folder_of_rules),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_samples_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

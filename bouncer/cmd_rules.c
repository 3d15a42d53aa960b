/* sluice-bouncer rules check [DIR]…: do they compile, does every sample come out as its rule says.
 */
#include "bouncer/cmd.h"

#include "base/clock.h"
#include "classify/classify.h"

static void print_problem(void *context, const char *line)
{
    (void)context;
    (void)printf("%s\n", line);
}

static int check(int argc, char **argv)
{
    struct fault fault = {0};
    struct classifier_options options = {.user_dirs = (const char *const *)argv,
                                         .user_dir_count = (size_t)argc};
    struct mono_time start = mono_now();
    struct classifier *classifier = classifier_load(&options, &fault);
    if (classifier == NULL) {
        (void)fprintf(stderr, "sluice-bouncer: %s\n", fault.text);
        return 1;
    }
    int64_t took_us = mono_since_us(mono_now(), start);
    size_t samples;
    size_t wrong = classifier_check_samples(classifier, print_problem, NULL, &samples);
    (void)printf("%zu rules, version %s, compiled in %lld ms; %zu samples, %zu wrong\n",
                 classifier_rule_count(classifier), classifier_version(classifier),
                 (long long)(took_us / 1000), samples, wrong);
    classifier_free(&classifier);
    return wrong == 0 ? 0 : 1;
}

int cmd_rules(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "check") == 0) {
        for (int i = 2; i < argc; i++) {
            if (argv[i][0] == '-') {
                argc = 0;
            }
        }
        if (argc > 0) {
            return check(argc - 2, argv + 2);
        }
    }
    (void)fputs("usage: sluice-bouncer rules check [DIR]…\n\n"
                "Compiles the built-in rules with those of the folders (*.yaml) before them and "
                "runs all samples.\n",
                stderr);
    return 2;
}

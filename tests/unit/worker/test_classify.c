/*
 * The worker's view of the bounce rules: what our own failures (no reply, codes of ours) mean, and
 * new rules while threads are reading.
 */
#include "worker/classify.h"

#include "unit/cmocka_all.h"
#include "unit/temp.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define READERS 3
#define RELOADS 40

static const struct classify_attempt nobody;

static struct classify_rules *load(const char *folder)
{
    struct fault fault;
    struct classify_rules *rules = classify_rules_load(folder, &fault);
    if (rules == NULL) {
        fail_msg("%s", fault.text);
    }
    return rules;
}

struct expected {
    uint16_t code;
    struct smtp_enhanced enhanced;
    enum smtp_phase phase;
    const char *text;
    const char *class;
    const char *disposition;
};

static void check_all(const struct expected *all, size_t count)
{
    struct classify_rules *rules = load(NULL);
    struct classify_reader *reader = classify_reader_create(rules);
    for (size_t i = 0; i < count; i++) {
        const struct smtp_outcome outcome = {.code = all[i].code,
                                             .enhanced = all[i].enhanced,
                                             .phase = all[i].phase,
                                             .text = slice_cstr(all[i].text)};
        struct classify_verdict verdict;
        classify_outcome(reader, &outcome, &nobody, &verdict);
        const char *class = bounce_class_name(verdict.result.class);
        const char *disposition = bounce_disposition_name(verdict.result.disposition);
        if (strcmp(class, all[i].class) != 0 || strcmp(disposition, all[i].disposition) != 0) {
            fail_msg("%u %s: %s, %s; expected %s, %s", all[i].code, all[i].text, class, disposition,
                     all[i].class, all[i].disposition);
        }
        assert_string_equal(verdict.rules_version, classify_rules_version(rules));
    }
    classify_reader_free(&reader);
    classify_rules_free(&rules);
}

static void our_own_failures_have_classes(void **state)
{
    static const struct expected all[] = {
        {0, {5, 1, 2}, SMTP_PHASE_DNS, "example.org: no such domain", "domain-bad", "hard-after-n"},
        {0,
         {5, 1, 2},
         SMTP_PHASE_DNS,
         "x.org: has neither MX nor address records",
         "domain-bad",
         "hard-after-n"},
        {0,
         {5, 1, 2},
         SMTP_PHASE_DNS,
         "-: not a domain that can have mail",
         "domain-bad",
         "hard-after-n"},
        {0,
         {5, 1, 10},
         SMTP_PHASE_DNS,
         "example.org: accepts no mail (null MX)",
         "domain-no-mail",
         "hard"},
        {0,
         {4, 4, 3},
         SMTP_PHASE_DNS,
         "example.org: no answer for its address records",
         "network-error",
         "soft"},
        {0,
         {4, 4, 1},
         SMTP_PHASE_CONNECT,
         "connect to 192.0.2.1:25: Connection refused",
         "network-error",
         "soft"},
        {0,
         {4, 4, 1},
         SMTP_PHASE_CONNECT,
         "connect to 192.0.2.1:25: Network is unreachable",
         "network-error",
         "soft"},
        {0,
         {4, 4, 1},
         SMTP_PHASE_CONNECT,
         "no host of the site has an address that our VIPs can reach",
         "network-error",
         "soft"},
        {0,
         {4, 4, 2},
         SMTP_PHASE_GREETING,
         "timed out while waiting for the greeting",
         "network-error",
         "soft"},
        {0,
         {4, 4, 2},
         SMTP_PHASE_RCPT,
         "timed out while sending the envelope: RCPT",
         "network-error",
         "soft"},
        {0,
         {4, 4, 2},
         SMTP_PHASE_MESSAGE,
         "link lost while waiting for the reply to the message: closed by the peer",
         "network-error",
         "soft"},
        {0,
         {4, 3, 5},
         SMTP_PHASE_CONNECT,
         "this worker holds no VIP of \"main\"",
         "system-error",
         "soft"},
        {0,
         {5, 5, 0},
         SMTP_PHASE_EHLO,
         "protocol error while saying EHLO: reply line is too long",
         "protocol-error",
         "soft"},
        {0,
         {5, 3, 4},
         SMTP_PHASE_MAIL,
         "the message is larger than the server takes",
         "too-large",
         "soft"},
        {0,
         {4, 7, 10},
         SMTP_PHASE_STARTTLS,
         "TLS is required, but the server does not offer STARTTLS",
         "policy",
         "block"},
        {0,
         {5, 1, 3},
         SMTP_PHASE_RCPT,
         "the address cannot be said in SMTP",
         "user-unknown",
         "hard"},
    };
    (void)state;
    check_all(all, ARRAY_LEN(all));
}

static void replies_are_read(void **state)
{
    static const struct expected all[] = {
        {550, {5, 1, 1}, SMTP_PHASE_RCPT, "User unknown", "user-unknown", "hard"},
        {450, {4, 1, 1}, SMTP_PHASE_RCPT, "User unknown", "user-unknown", "hard-after-n"},
        {552, {5, 2, 2}, SMTP_PHASE_RCPT, "", "mailbox-full", "soft"},
        {421, {4, 7, 28}, SMTP_PHASE_MAIL, "", "rate-limited", "transient"},
        {450,
         {4, 7, 1},
         SMTP_PHASE_RCPT,
         "Greylisted, try again in 5 minutes",
         "greylisted",
         "transient"},
        {550,
         {5, 7, 1},
         SMTP_PHASE_RCPT,
         "Too many messages from your IP, try again later",
         "rate-limited",
         "transient"},
        {554, {5, 7, 1}, SMTP_PHASE_MESSAGE, "Message rejected as spam", "spam-content", "block"},
        {500, {5, 5, 2}, SMTP_PHASE_MAIL, "Syntax error", "protocol-error", "soft"},
    };
    (void)state;
    check_all(all, ARRAY_LEN(all));
}

/* ---- a folder of rules that changes ---- */

static char folder[TEMP_NAME_MAX];
static char file[sizeof(folder) + 16];

static void write_rule(const char *class)
{
    FILE *out = fopen(file, "w");
    assert_non_null(out);
    (void)fprintf(out,
                  "rules:\n  - name: mine\n    class: %s\n    match: ['purple hedgehog']\n"
                  "    samples: ['550 purple hedgehog']\n",
                  class);
    assert_int_equal(fclose(out), 0);
}

static int make_folder(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(temp_name(folder)));
    (void)snprintf(file, sizeof(file), "%s/mine.yaml", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    (void)unlink(file);
    return rmdir(folder);
}

static const struct smtp_outcome hedgehog = {
    .code = 550, .phase = SMTP_PHASE_RCPT, .text = {"purple hedgehog", 15}};

static enum bounce_class class_of_hedgehog(struct classify_reader *reader)
{
    struct classify_verdict verdict;
    classify_outcome(reader, &hedgehog, &nobody, &verdict);
    return verdict.result.class;
}

static void new_rules_are_taken_and_broken_ones_refused(void **state)
{
    struct fault fault;
    (void)state;
    write_rule("virus");
    struct classify_rules *rules = load(folder);
    struct classify_reader *reader = classify_reader_create(rules);
    assert_int_equal(class_of_hedgehog(reader), BOUNCE_VIRUS);
    write_rule("too-large");
    assert_int_equal(class_of_hedgehog(reader), BOUNCE_VIRUS);
    assert_true(classify_rules_reload(rules, &fault));
    assert_int_equal(class_of_hedgehog(reader), BOUNCE_TOO_LARGE);
    write_rule("no-such-class");
    assert_false(classify_rules_reload(rules, &fault));
    assert_non_null(strstr(fault.text, "mine.yaml:3"));
    assert_int_equal(class_of_hedgehog(reader), BOUNCE_TOO_LARGE);
    classify_reader_free(&reader);
    classify_rules_free(&rules);
}

struct reading {
    struct classify_rules *rules;
    atomic_bool stop;
    atomic_uint others; /* answers that no rules ever gave */
    atomic_uint rounds;
};

static void *read_on(void *context)
{
    struct reading *reading = context;
    struct classify_reader *reader = classify_reader_create(reading->rules);
    do {
        enum bounce_class class = class_of_hedgehog(reader);
        atomic_fetch_add(&reading->others, class != BOUNCE_VIRUS && class != BOUNCE_TOO_LARGE);
        atomic_fetch_add(&reading->rounds, 1);
    } while (!atomic_load(&reading->stop));
    classify_reader_free(&reader);
    return NULL;
}

static void threads_read_while_rules_change(void **state)
{
    struct fault fault;
    pthread_t threads[READERS];
    (void)state;
    write_rule("virus");
    struct reading reading = {.rules = load(folder)};
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &reading), 0);
    }
    for (int i = 0; i < RELOADS; i++) {
        unsigned before = atomic_load(&reading.rounds);
        write_rule(i % 2 == 0 ? "too-large" : "virus");
        assert_true(classify_rules_reload(reading.rules, &fault));
        while (atomic_load(&reading.rounds) == before) {
            (void)usleep(1000);
        }
    }
    atomic_store(&reading.stop, true);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&reading.others), 0);
    classify_rules_free(&reading.rules);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_own_failures_have_classes),
        cmocka_unit_test(replies_are_read),
        cmocka_unit_test(new_rules_are_taken_and_broken_ones_refused),
        cmocka_unit_test(threads_read_while_rules_change),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

/*
 * The classifier: what a reply of an SMTP server (or a line of a returned message) means.
 *
 * A classifier holds rules compiled to vectorscan databases. It does not change after it is
 * made, so any number of threads may use one, each with a scratch of its own; new rules are a new
 * classifier that takes the old one's place. Rules are judged as evidence: every kind of evidence
 * (text, enhanced code, reply code, phase) speaks once for a class with its strongest rule, and
 * what speaks for a class is added up as independent probabilities. The result depends on nothing
 * but phase, code, enhanced code, provider, whether it was given up, and the normalised text
 * ("cause"), so equal causes always have equal classes. See docs/bounces.md.
 */
#ifndef SLUICE_CLASSIFY_CLASSIFY_H
#define SLUICE_CLASSIFY_CLASSIFY_H

#include "base/fault.h"
#include "classify/class.h"
#include "smtp/outcome.h"

#define CLASSIFY_CAUSE_MAX 1024 /* bytes of a normalised text; what is longer is cut */
#define CLASSIFY_DETAIL_MAX 64  /* bytes of what a rule captured */
#define CLASSIFY_TEXT_MAX 16384 /* bytes of a text that are looked at */

struct classifier;
struct classify_scratch;

/* Where rules come from. All slices and strings are only read during the call. */
struct classifier_options {
    const char *const
        *user_dirs; /* folders of *.yaml that stand before ours, the first one foremost */
    size_t user_dir_count;
    const char *base_dir; /* takes the place of the rules that are built in; NULL: built in */
};

/*
 * Reads and compiles the rules; takes some hundred milliseconds, so not on a shard thread. NULL
 * with fault INVALID
 * ("file:line: …") or SYSTEM when a folder cannot be read. `options` may be NULL. The caller owns
 * the result.
 */
struct classifier *classifier_load(const struct classifier_options *options, struct fault *fault);

/* Only the rules in this text, as if it were a file `name` of base_dir; for tests. */
struct classifier *classifier_load_text(const char *name, struct slice text, struct fault *fault);

/* One more owner; any thread. */
struct classifier *classifier_hold(struct classifier *classifier);
/* Gives up one ownership and nulls the pointer; takes NULL; any thread. */
void classifier_free(struct classifier **classifier);

/* Hash of all rules, 16 hexadecimal digits: the same rules have the same version everywhere. Lives
 * as long as the classifier. */
const char *classifier_version(const struct classifier *classifier);
size_t classifier_rule_count(const struct classifier *classifier);

/*
 * Runs every sample of every rule; `tell` (may be NULL) is called with a line for each that does
 * not come out as its rule says. Returns the number of those; *samples is the number of all.
 */
typedef void (*classifier_problem)(void *context, const char *line);
size_t classifier_check_samples(const struct classifier *classifier, classifier_problem tell,
                                void *context, size_t *samples);

/* One per thread; may be used with any classifier, also with another one after a reload. Never
 * NULL. */
struct classify_scratch *classify_scratch_create(void);
void classify_scratch_free(struct classify_scratch **scratch);

/* What is known. Everything may be absent (0, class 0, SLICE_NULL). */
struct classify_input {
    enum smtp_phase phase;
    uint16_t code;                 /* 0: taken from the front of the text, if it is there */
    struct smtp_enhanced enhanced; /* klass 0: likewise */
    bool given_up;            /* said by who tried and will not again: a final report, no reply */
    struct slice text;        /* any bytes; with or without codes in front, one or many lines */
    struct slice remote_host; /* host name of the MX that spoke: tells the provider */
    struct slice provider;    /* known already: a provider's name or one of its aliases */
    /* Values of the attempt that are taken out of the cause. */
    struct slice recipient;  /* address */
    struct slice sender;     /* address */
    struct slice message_id; /* with or without <> */
    struct slice our_host;   /* our EHLO name */
};

struct classify_result {
    enum bounce_class class;
    enum bounce_disposition disposition;
    enum bounce_scope scope;
    uint8_t confidence; /* 0 … 100: how much speaks for the class, less what speaks against it */
    enum smtp_phase phase; /* as given, or as the text tells ("in reply to RCPT TO command") */
    uint16_t code;         /* as used, also when it was found in the text */
    struct smtp_enhanced enhanced; /* likewise */
    const char *provider;          /* "" when not known; lives as long as the classifier */
    const char *rule;   /* the rule that says most for the class, "" for none; likewise */
    struct slice cause; /* normalised text; in the scratch, until its next use */
    uint64_t cause_key; /* stable hash of phase, code, enhanced code and cause */
    struct slice
        detail; /* what the rule captured (a blocklist's name …) or empty; in the scratch */
};

/* Never fails: what nothing is known about is UNDETERMINED. About 5 µs, less when the cause was
 * seen before. */
void classifier_run(const struct classifier *classifier, struct classify_scratch *scratch,
                    const struct classify_input *input, struct classify_result *result);

/* Provider of a host name by its suffix, "" when none is known; lives as long as the classifier. */
const char *classifier_provider_of(const struct classifier *classifier, struct slice host);

/* All evidence for the last input of this scratch, for people: one line a rule. Not cheap; runs it
 * again. */
typedef void (*classifier_evidence)(void *context, const char *rule, enum bounce_class class,
                                    unsigned weight);
void classifier_explain(const struct classifier *classifier, struct classify_scratch *scratch,
                        const struct classify_input *input, classifier_evidence tell,
                        void *context);

#endif

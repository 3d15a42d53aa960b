/*
 * What a refusal means: the bounce rules of this worker (docs/bounces.md).
 *
 * All threads share one classifier, which never changes; a reload puts another one in its place.
 * Each thread looks with a reader of its own: a relaxed load tells it that there are new rules, and
 * only then it takes a lock to hold them. What it is given back lies in the reader.
 */
#ifndef SLUICE_WORKER_CLASSIFY_H
#define SLUICE_WORKER_CLASSIFY_H

#include "classify/classify.h"

struct classify_rules;

/* `folder` (may be NULL) has rules that stand before the built-in ones. Compiles those, so not on a
 * shard thread. NULL with a fault. */
struct classify_rules *classify_rules_load(const char *folder, struct fault *fault);
/* Reads the folder again; false with a fault: the old rules stay. One thread at a time, any but a
 * shard's. */
bool classify_rules_reload(struct classify_rules *rules, struct fault *fault);
/* All readers are freed before. */
void classify_rules_free(struct classify_rules **rules);
/* Version and number, for the log; the thread that reloads. */
const char *classify_rules_version(const struct classify_rules *rules);
size_t classify_rules_count(const struct classify_rules *rules);

struct classify_reader; /* one thread's */
struct classify_reader *classify_reader_create(struct classify_rules *rules);
void classify_reader_free(struct classify_reader **reader);

/* Values of the attempt: who spoke, and what is taken out of the text. All may be absent. */
struct classify_attempt {
    struct slice remote_host, recipient, sender;
};

struct classify_verdict {
    struct classify_result result;
    const char *rules_version;
};

/* What an outcome that is no success means; slices and strings until the reader's next use. */
void classify_outcome(struct classify_reader *reader, const struct smtp_outcome *outcome,
                      const struct classify_attempt *attempt, struct classify_verdict *verdict);

#endif

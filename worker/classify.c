#include "worker/classify.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>

#define RULES_MAGIC 0x42524c53u
#define READER_MAGIC 0x42525244u

struct classify_rules {
    uint32_t magic;
    const char *folder;
    pthread_mutex_t lock;          /* of `current`, while it is replaced or held once more */
    struct classifier *current;    /* written by the thread that reloads only */
    atomic_uint_fast32_t revision; /* counts the reloads */
};

struct classify_reader {
    uint32_t magic;
    struct classify_rules *rules;
    struct classifier *classifier; /* held */
    struct classify_scratch *scratch;
    uint_fast32_t revision; /* of `classifier` */
};

static struct classifier *load(const char *folder, struct fault *fault)
{
    const struct classifier_options options = {.user_dirs = &folder,
                                               .user_dir_count = folder == NULL ? 0 : 1};
    return classifier_load(&options, fault);
}

struct classify_rules *classify_rules_load(const char *folder, struct fault *fault)
{
    struct classifier *classifier = load(folder, fault);
    if (classifier == NULL) {
        return NULL;
    }
    struct classify_rules *rules = mem_zalloc(sizeof(*rules));
    rules->magic = RULES_MAGIC;
    rules->folder = folder;
    rules->current = classifier;
    CHECK(pthread_mutex_init(&rules->lock, NULL) == 0);
    return rules;
}

bool classify_rules_reload(struct classify_rules *rules, struct fault *fault)
{
    CHECK_MAGIC(rules, RULES_MAGIC);
    struct classifier *fresh = load(rules->folder, fault);
    if (fresh == NULL) {
        return false;
    }
    CHECK(pthread_mutex_lock(&rules->lock) == 0);
    struct classifier *old = rules->current;
    rules->current = fresh;
    atomic_fetch_add_explicit(&rules->revision, 1, memory_order_relaxed);
    CHECK(pthread_mutex_unlock(&rules->lock) == 0);
    classifier_free(&old);
    return true;
}

void classify_rules_free(struct classify_rules **handle)
{
    struct classify_rules *rules = *handle;
    if (rules == NULL) {
        return;
    }
    CHECK_MAGIC(rules, RULES_MAGIC);
    classifier_free(&rules->current);
    CHECK(pthread_mutex_destroy(&rules->lock) == 0);
    rules->magic = 0;
    mem_free(rules);
    *handle = NULL;
}

const char *classify_rules_version(const struct classify_rules *rules)
{
    CHECK_MAGIC(rules, RULES_MAGIC);
    return classifier_version(rules->current);
}

size_t classify_rules_count(const struct classify_rules *rules)
{
    CHECK_MAGIC(rules, RULES_MAGIC);
    return classifier_rule_count(rules->current);
}

/* Takes the rules that are current now. */
static void renew(struct classify_reader *reader)
{
    struct classify_rules *rules = reader->rules;
    CHECK_MAGIC(rules, RULES_MAGIC);
    classifier_free(&reader->classifier);
    CHECK(pthread_mutex_lock(&rules->lock) == 0);
    reader->classifier = classifier_hold(rules->current);
    reader->revision = atomic_load_explicit(&rules->revision, memory_order_relaxed);
    CHECK(pthread_mutex_unlock(&rules->lock) == 0);
}

struct classify_reader *classify_reader_create(struct classify_rules *rules)
{
    struct classify_reader *reader = mem_zalloc(sizeof(*reader));
    reader->magic = READER_MAGIC;
    reader->rules = rules;
    reader->scratch = classify_scratch_create();
    renew(reader);
    return reader;
}

void classify_reader_free(struct classify_reader **handle)
{
    struct classify_reader *reader = *handle;
    if (reader == NULL) {
        return;
    }
    CHECK_MAGIC(reader, READER_MAGIC);
    classify_scratch_free(&reader->scratch);
    classifier_free(&reader->classifier);
    reader->magic = 0;
    mem_free(reader);
    *handle = NULL;
}

void classify_outcome(struct classify_reader *reader, const struct smtp_outcome *outcome,
                      const struct classify_attempt *attempt, struct classify_verdict *verdict)
{
    CHECK_MAGIC(reader, READER_MAGIC);
    if (atomic_load_explicit(&reader->rules->revision, memory_order_relaxed) != reader->revision) {
        renew(reader);
    }
    const struct classify_input input = {
        .phase = outcome->phase,
        .code = outcome->code,
        .enhanced = outcome->enhanced,
        .text = outcome->text,
        .remote_host = attempt->remote_host,
        .recipient = attempt->recipient,
        .sender = attempt->sender,
    };
    classifier_run(reader->classifier, reader->scratch, &input, &verdict->result);
    verdict->rules_version = classifier_version(reader->classifier);
}

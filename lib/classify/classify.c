#include "classify/classify.h"

#include "base/hash.h"
#include "base/mem.h"
#include "classify/classifier_private.h"

/* A pattern of a user's cannot hold a thread: PCRE2 gives up after so many steps, vectorscan is
 * linear. */
#define CAPTURE_STEPS_MAX 20000

#define KEY_HEAD_MAX 64 /* bytes of phase and codes */

#define HARD_CONFIDENCE 32 /* what suppresses an address must be surer than this */

static bool read_pass(struct ruleset *set, enum ruleset_pass pass,
                      const struct classifier_options *options, struct fault *fault)
{
    set->pass = pass;
    set->hash = 0;
    set->built_in_hash = 0;
    for (size_t i = 0; i < options->user_dir_count; i++) {
        if (!ruleset_read_dir(set, (uint16_t)i, options->user_dirs[i], fault)) {
            return false;
        }
    }
    return options->base_dir != NULL
               ? ruleset_read_dir(set, RULE_BUILT_IN, options->base_dir, fault)
               : ruleset_read_built_in(set, fault);
}

static struct classifier *make(void)
{
    static atomic_uint_fast64_t serials;
    struct classifier *classifier = mem_zalloc(sizeof(*classifier));
    classifier->magic = CLASSIFIER_MAGIC;
    classifier->serial = atomic_fetch_add(&serials, 1) + 1;
    atomic_init(&classifier->owners, 1);
    ruleset_init(&classifier->set);
    return classifier;
}

static struct classifier *finish(struct classifier *classifier, bool good, struct fault *fault)
{
    if (!good || !classifier_compile(classifier, fault)) {
        classifier_free(&classifier);
    }
    return classifier;
}

struct classifier *classifier_load(const struct classifier_options *options, struct fault *fault)
{
    const struct classifier_options none = {0};
    const struct classifier_options *used = options == NULL ? &none : options;
    CHECK(used->user_dir_count < RULE_BUILT_IN);
    struct classifier *classifier = make();
    bool good = read_pass(&classifier->set, RULESET_PROVIDERS, used, fault) &&
                read_pass(&classifier->set, RULESET_RULES, used, fault);
    return finish(classifier, good, fault);
}

struct classifier *classifier_load_text(const char *name, struct slice text, struct fault *fault)
{
    struct classifier *classifier = make();
    classifier->set.pass = RULESET_PROVIDERS;
    bool good = ruleset_read_text(&classifier->set, RULE_BUILT_IN, name, text, fault);
    classifier->set.pass = RULESET_RULES;
    good = good && ruleset_read_text(&classifier->set, RULE_BUILT_IN, name, text, fault);
    return finish(classifier, good, fault);
}

struct classifier *classifier_hold(struct classifier *classifier)
{
    CHECK_MAGIC(classifier, CLASSIFIER_MAGIC);
    (void)atomic_fetch_add(&classifier->owners, 1);
    return classifier;
}

void classifier_free(struct classifier **pointer)
{
    struct classifier *classifier = *pointer;
    *pointer = NULL;
    if (classifier == NULL) {
        return;
    }
    CHECK_MAGIC(classifier, CLASSIFIER_MAGIC);
    if (atomic_fetch_sub(&classifier->owners, 1) > 1) {
        return;
    }
    for (size_t i = 0; classifier->captures != NULL && i < classifier->set.rule_count; i++) {
        pcre2_code_free(classifier->captures[i]);
    }
    mem_free(classifier->captures);
    for (size_t i = 0; i < PLAIN_BUCKETS; i++) {
        mem_free(classifier->plain[i].rules);
    }
    mem_free(classifier->by_serial);
    for (size_t i = 0; i < PART_COUNT; i++) {
        (void)hs_free_database(classifier->databases[i]);
    }
    for (size_t i = 0; classifier->doubts != NULL && i < classifier->set.rule_count; i++) {
        (void)hs_free_database(classifier->doubts[i]);
    }
    mem_free(classifier->doubts);
    ruleset_free(&classifier->set);
    classifier->magic = 0;
    mem_free(classifier);
}

const char *classifier_version(const struct classifier *classifier)
{
    CHECK_MAGIC(classifier, CLASSIFIER_MAGIC);
    return classifier->version;
}

size_t classifier_rule_count(const struct classifier *classifier)
{
    CHECK_MAGIC(classifier, CLASSIFIER_MAGIC);
    return classifier->set.rule_count;
}

static const char *provider_name(const struct classifier *classifier, uint16_t provider)
{
    return provider == RULE_NO_PROVIDER ? "" : classifier->set.providers[provider].name;
}

const char *classifier_provider_of(const struct classifier *classifier, struct slice host)
{
    CHECK_MAGIC(classifier, CLASSIFIER_MAGIC);
    return provider_name(classifier, ruleset_provider_of_host(&classifier->set, host));
}

struct classify_scratch *classify_scratch_create(void)
{
    struct classify_scratch *scratch = mem_zalloc(sizeof(*scratch));
    scratch->magic = SCRATCH_MAGIC;
    scratch->match_data = pcre2_match_data_create(4, NULL);
    scratch->match_context = pcre2_match_context_create(NULL);
    CHECK(scratch->match_data != NULL && scratch->match_context != NULL);
    (void)pcre2_set_match_limit(scratch->match_context, CAPTURE_STEPS_MAX);
    (void)pcre2_set_depth_limit(scratch->match_context, CAPTURE_STEPS_MAX);
    (void)pcre2_set_heap_limit(scratch->match_context, 1024);
    return scratch;
}

void classify_scratch_free(struct classify_scratch **pointer)
{
    struct classify_scratch *scratch = *pointer;
    *pointer = NULL;
    if (scratch == NULL) {
        return;
    }
    CHECK_MAGIC(scratch, SCRATCH_MAGIC);
    (void)hs_free_scratch(scratch->hs);
    pcre2_match_data_free(scratch->match_data);
    pcre2_match_context_free(scratch->match_context);
    scratch->magic = 0;
    mem_free(scratch);
}

bool scratch_fit(struct classify_scratch *scratch, const struct classifier *classifier)
{
    if (scratch->serial == classifier->serial) {
        return true;
    }
    for (size_t i = 0; i < PART_COUNT; i++) {
        if (classifier->databases[i] != NULL &&
            hs_alloc_scratch(classifier->databases[i], &scratch->hs) != HS_SUCCESS) {
            return false;
        }
    }
    for (size_t i = 0; i < classifier->set.rule_count; i++) {
        if (classifier->doubts[i] != NULL &&
            hs_alloc_scratch(classifier->doubts[i], &scratch->hs) != HS_SUCCESS) {
            return false;
        }
    }
    memset(scratch->cache, 0, sizeof(scratch->cache));
    scratch->serial = classifier->serial;
    return true;
}

/* Who speaks: told by the caller, by the host that spoke, or by a host named in the text. */
static uint16_t find_provider(const struct ruleset *set, const struct classify_input *input,
                              const struct cause *cause)
{
    uint16_t provider =
        input->provider.len > 0 ? ruleset_provider_named(set, input->provider) : RULE_NO_PROVIDER;
    if (provider == RULE_NO_PROVIDER && input->remote_host.len > 0) {
        provider = ruleset_provider_of_host(set, input->remote_host);
    }
    for (size_t i = 0; provider == RULE_NO_PROVIDER && i < cause->host_count; i++) {
        provider = ruleset_provider_of_host(set, cause->hosts[i]);
    }
    return provider;
}

static size_t put_number(char *out, unsigned number)
{
    char digits[10];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    for (size_t i = 0; i < count; i++) {
        out[i] = digits[count - 1 - i];
    }
    return count;
}

/* The cause's stable key, and one that only this process can foretell, over all that the result
 * depends on: "rcpt 550 5.1.1 user unknown". */
static void make_keys(const struct cause *cause, enum smtp_phase phase, uint16_t provider,
                      uint64_t *key, uint64_t *check)
{
    char bytes[KEY_HEAD_MAX + CLASSIFY_CAUSE_MAX];
    const unsigned numbers[] = {cause->code, cause->enhanced.klass, cause->enhanced.subject,
                                cause->enhanced.detail};
    const char separators[] = {' ', '.', '.', ' '};
    const char *name = smtp_phase_name(phase);
    size_t len = 0;
    for (; len < KEY_HEAD_MAX / 2 && name[len] != '\0'; len++) {
        bytes[len] = name[len];
    }
    bytes[len++] = ' ';
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        len += put_number(bytes + len, numbers[i]);
        bytes[len++] = separators[i];
    }
    memcpy(bytes + len, cause->text, cause->len);
    struct slice all = slice_of(bytes, len + cause->len);
    *key = hash_stable(all);
    *check = (hash_slice(all) ^ ((uint64_t)provider << 48) ^ ((uint64_t)cause->given_up << 47)) | 1;
}

/* The result of an equal cause, or the slot of the set that shall take it. */
static struct cached *find_cached(struct classify_scratch *scratch, uint64_t key, uint64_t check,
                                  bool *found)
{
    size_t set = (check >> 8) % CLASSIFY_CACHE_SETS;
    for (size_t i = 0; i < CLASSIFY_CACHE_WAYS; i++) {
        struct cached *slot = &scratch->cache[set][i];
        if (slot->check == check && slot->key == key) {
            *found = true;
            return slot;
        }
    }
    *found = false;
    return &scratch->cache[set][scratch->cache_turn[set]++ % CLASSIFY_CACHE_WAYS];
}

/* The first group of the rule's capture pattern. */
static void capture_detail(const struct classifier *classifier, struct classify_scratch *scratch,
                           uint32_t rule, struct cached *out)
{
    out->detail_len = 0;
    if (rule == CLASSIFY_NO_RULE || classifier->captures[rule] == NULL) {
        return;
    }
    const struct cause *cause = &scratch->cause;
    if (pcre2_match(classifier->captures[rule], (PCRE2_SPTR)cause->text, cause->len, 0, 0,
                    scratch->match_data, scratch->match_context) < 2) {
        return;
    }
    const size_t *offsets = pcre2_get_ovector_pointer(scratch->match_data);
    if (offsets[2] == PCRE2_UNSET || offsets[3] < offsets[2]) {
        return;
    }
    size_t len = offsets[3] - offsets[2];
    out->detail_len = (uint8_t)(len < CLASSIFY_DETAIL_MAX ? len : CLASSIFY_DETAIL_MAX);
    memcpy(out->detail, cause->text + offsets[2], out->detail_len);
}

/* The class's own, but what suppresses must be sure. */
static enum bounce_disposition disposition_of(enum bounce_class class, bool temporary,
                                              uint8_t confidence)
{
    enum bounce_disposition own = bounce_class_disposition(class, temporary);
    bool suppresses = own == BOUNCE_DO_HARD || own == BOUNCE_DO_HARD_AFTER_N;
    return suppresses && confidence < HARD_CONFIDENCE ? BOUNCE_DO_SOFT : own;
}

static void judge(const struct classifier *classifier, struct classify_scratch *scratch,
                  enum smtp_phase phase, uint16_t provider, struct cached *out)
{
    struct evidence evidence;
    classifier_scan(classifier, scratch, &provider);
    classifier_gather(classifier, scratch, phase, provider, &evidence, NULL, NULL);
    enum bounce_class class = evidence_weigh(&evidence, &out->confidence);
    const struct rule *rule = NULL;
    out->rule = CLASSIFY_NO_RULE;
    if (out->confidence > 0) {
        out->rule = evidence.rule[class];
        rule = &classifier->set.rules[out->rule];
    }
    bool temporary = scratch->cause.code / 100 == 4 ||
                     (scratch->cause.code == 0 && scratch->cause.enhanced.klass == 4);
    out->class = (uint8_t) class;
    out->disposition = rule != NULL && rule->disposition >= 0
                           ? (uint8_t)rule->disposition
                           : (uint8_t)disposition_of(class, temporary, out->confidence);
    out->scope = rule != NULL && rule->scope >= 0 ? (uint8_t)rule->scope
                                                  : (uint8_t)bounce_class_scope(class);
    out->provider = provider;
    capture_detail(classifier, scratch, out->rule, out);
}

void classifier_run(const struct classifier *classifier, struct classify_scratch *scratch,
                    const struct classify_input *input, struct classify_result *result)
{
    CHECK_MAGIC(classifier, CLASSIFIER_MAGIC);
    CHECK_MAGIC(scratch, SCRATCH_MAGIC);
    struct cause *cause = &scratch->cause;
    uint64_t key;
    uint64_t check;
    cause_make(cause, input);
    uint16_t provider = find_provider(&classifier->set, input, cause);
    make_keys(cause, cause->phase, provider, &key, &check);
    bool fits = scratch_fit(scratch, classifier);
    bool found;
    struct cached *slot = find_cached(scratch, key, check, &found);
    if (!fits || !found) {
        judge(classifier, scratch, cause->phase, provider, slot);
        slot->key = key;
        slot->check = fits ? check : 0;
    }
    *result = (struct classify_result){
        .class = (enum bounce_class)slot->class,
        .disposition = (enum bounce_disposition)slot->disposition,
        .scope = (enum bounce_scope)slot->scope,
        .confidence = slot->confidence,
        .phase = cause->phase,
        .code = cause->code,
        .enhanced = cause->enhanced,
        .provider = provider_name(classifier, slot->provider),
        .rule = slot->rule == CLASSIFY_NO_RULE ? "" : classifier->set.rules[slot->rule].name,
        .cause = slice_of(cause->text, cause->len),
        .cause_key = key,
        .detail = slice_of(slot->detail, slot->detail_len),
    };
}

void classifier_explain(const struct classifier *classifier, struct classify_scratch *scratch,
                        const struct classify_input *input, classifier_evidence tell, void *context)
{
    struct evidence evidence;
    CHECK_MAGIC(classifier, CLASSIFIER_MAGIC);
    CHECK_MAGIC(scratch, SCRATCH_MAGIC);
    cause_make(&scratch->cause, input);
    uint16_t provider = find_provider(&classifier->set, input, &scratch->cause);
    if (scratch_fit(scratch, classifier)) {
        classifier_scan(classifier, scratch, &provider);
        classifier_gather(classifier, scratch, scratch->cause.phase, provider, &evidence, tell,
                          context);
    }
}

/*
 * Weighing. Every matching rule is evidence of one kind (text, enhanced code, reply code, phase)
 * for one class. Of a kind only the heaviest counts for a class: ten ways to say "spam" are one
 * piece of evidence. Kinds are taken as independent, so their weights add up like probabilities: 1
 * - (1 - a)(1 - b). A text that is clear weighs 90, a specific enhanced code about 60, a generic
 * one 20 or less, so that a clear text wins over codes that contradict it and a specific code over
 * a vague text.
 */
#include "classify/classifier_private.h"

#define LEAST 0.15 /* what speaks less is nothing */
#define DOUBTED 3  /* one of our rules whose "unless" matches weighs a third; others' are silent */

struct scan {
    const struct classifier *classifier;
    struct classify_scratch *scratch;
    const uint32_t *by_serial; /* NULL: ids are indices */
    uint32_t provider;         /* the first pattern that tells one, or UINT32_MAX */
};

static void note_rule(struct classify_scratch *scratch, uint32_t rule)
{
    for (size_t i = 0; i < scratch->match_count; i++) {
        if (scratch->matches[i] == rule) {
            return;
        }
    }
    scratch->matches[scratch->match_count++] = rule;
}

static int on_match(unsigned id, unsigned long long from, unsigned long long to, unsigned flags,
                    void *context)
{
    struct scan *scan = context;
    (void)from;
    (void)to;
    (void)flags;
    uint32_t index = scan->by_serial == NULL ? id : scan->by_serial[id];
    if (index == PATTERN_NO_SERIAL) {
        return 0;
    }
    const struct pattern *pattern = &scan->classifier->set.patterns[index];
    if (pattern->role == PATTERN_PROVIDER) {
        scan->provider = index < scan->provider ? index : scan->provider;
    } else {
        note_rule(scan->scratch, pattern->owner);
    }
    return scan->scratch->match_count == CLASSIFY_MATCHES_MAX;
}

void classifier_scan(const struct classifier *classifier, struct classify_scratch *scratch,
                     uint16_t *provider)
{
    struct scan scan = {.classifier = classifier, .scratch = scratch, .provider = UINT32_MAX};
    scratch->match_count = 0;
    for (size_t i = 0; i < PART_COUNT && scratch->hs != NULL && scratch->cause.len > 0; i++) {
        scan.by_serial = i == PART_BUILT_IN ? classifier->by_serial : NULL;
        if (classifier->databases[i] != NULL && scratch->match_count < CLASSIFY_MATCHES_MAX) {
            (void)hs_scan(classifier->databases[i], scratch->cause.text,
                          (unsigned)scratch->cause.len, 0, scratch->hs, on_match, &scan);
        }
    }
    if (*provider == RULE_NO_PROVIDER && scan.provider != UINT32_MAX) {
        *provider = (uint16_t)classifier->set.patterns[scan.provider].owner;
    }
}

static int on_doubt(unsigned id, unsigned long long from, unsigned long long to, unsigned flags,
                    void *context)
{
    bool *doubted = context;
    (void)id;
    (void)from;
    (void)to;
    (void)flags;
    *doubted = true;
    return 1;
}

/* Whether an "unless" of the rule matches; they are half of the work when all are always asked. */
static bool is_doubted(const struct classifier *classifier, const struct classify_scratch *scratch,
                       uint32_t rule)
{
    bool doubted = false;
    if (classifier->doubts[rule] != NULL) {
        (void)hs_scan(classifier->doubts[rule], scratch->cause.text, (unsigned)scratch->cause.len,
                      0, scratch->hs, on_doubt, &doubted);
    }
    return doubted;
}

/* The rule's own weight: more where its provider speaks, less where it is not known who does,
 * little where another one does. */
static uint8_t weight_at(const struct rule *rule, uint16_t provider)
{
    if (rule->provider == RULE_NO_PROVIDER) {
        return rule->weight;
    }
    if (rule->provider == provider) {
        return (uint8_t)(rule->weight + (100 - rule->weight) / 4);
    }
    if (rule->only_there) {
        return 0;
    }
    return provider == RULE_NO_PROVIDER ? (uint8_t)(rule->weight * 2 / 3) : rule->weight / 3;
}

/* What may pass by itself (nobody answers) is told as final only when the time ran out; not where a
 * code says that it is the way that is wrong (X.4.3 name server, X.4.4 route, X.4.6 loop). */
static enum bounce_class class_of(const struct rule *rule, const struct cause *cause)
{
    bool way = cause->enhanced.subject == 4 && cause->enhanced.detail > 2;
    return cause->given_up && rule->given_up >= 0 && !way ? (enum bounce_class)rule->given_up
                                                          : rule->class;
}

/* Before RCPT no recipient has been named, so that what is said then is hardly about one. */
static bool is_premature(enum bounce_class class, enum smtp_phase phase)
{
    return bounce_class_scope(class) == BOUNCE_SCOPE_RECIPIENT &&
           (phase == SMTP_PHASE_GREETING || phase == SMTP_PHASE_EHLO || phase == SMTP_PHASE_MAIL);
}

static void add(struct evidence *evidence, const struct rule *rule, enum bounce_class class,
                uint32_t index, uint8_t weight)
{
    if (rule->layer < evidence->layer) {
        *evidence = (struct evidence){.layer = rule->layer};
    } else if (rule->layer > evidence->layer) {
        return;
    }
    uint8_t *slot = &evidence->weight[class][rule->kind];
    if (weight > *slot) {
        *slot = weight;
    }
    bool first = weight == evidence->heaviest[class] && index < evidence->rule[class];
    if (weight > evidence->heaviest[class] || first) {
        evidence->heaviest[class] = weight;
        evidence->rule[class] = index;
    }
}

/* What the rule weighs here, 0 when it does not speak. */
static uint8_t weigh_rule(const struct classifier *classifier,
                          const struct classify_scratch *scratch, enum smtp_phase phase,
                          uint16_t provider, uint32_t index)
{
    const struct rule *rule = &classifier->set.rules[index];
    uint8_t weight = weight_at(rule, provider);
    if (weight == 0 || !rule_admits(rule, phase, scratch->cause.code, scratch->cause.enhanced)) {
        return 0;
    }
    bool built_in = rule->layer == RULE_BUILT_IN;
    if (rule->kind == RULE_TEXT && is_doubted(classifier, scratch, index)) {
        weight = built_in ? weight / DOUBTED : 0;
    }
    return built_in && is_premature(class_of(rule, &scratch->cause), phase) ? weight / DOUBTED
                                                                            : weight;
}

void classifier_gather(const struct classifier *classifier, const struct classify_scratch *scratch,
                       enum smtp_phase phase, uint16_t provider, struct evidence *evidence,
                       classifier_evidence tell, void *context)
{
    const struct plain_rules *plain = &classifier->plain[plain_bucket(scratch->cause.enhanced)];
    *evidence = (struct evidence){.layer = RULE_BUILT_IN};
    for (size_t i = 0; i < scratch->match_count + plain->count; i++) {
        uint32_t index =
            i < scratch->match_count ? scratch->matches[i] : plain->rules[i - scratch->match_count];
        uint8_t weight = weigh_rule(classifier, scratch, phase, provider, index);
        if (weight > 0) {
            const struct rule *rule = &classifier->set.rules[index];
            enum bounce_class class = class_of(rule, &scratch->cause);
            add(evidence, rule, class, index, weight);
            if (tell != NULL) {
                tell(context, rule->name, class, weight);
            }
        }
    }
}

enum bounce_class evidence_weigh(const struct evidence *evidence, uint8_t *confidence)
{
    double best = 0;
    double second = 0;
    enum bounce_class class = BOUNCE_UNDETERMINED;
    for (unsigned c = 0; c < BOUNCE_CLASS_COUNT; c++) {
        double against = 1;
        if (evidence->heaviest[c] == 0) {
            continue;
        }
        for (unsigned kind = 0; kind < RULE_KIND_COUNT; kind++) {
            against *= 1 - evidence->weight[c][kind] / 100.0;
        }
        double score = 1 - against;
        /* Of equals the later class: suppression (the first classes) needs more than a tie. */
        if (score >= best && score > 0) {
            second = best;
            best = score;
            class = (enum bounce_class)c;
        } else if (score > second) {
            second = score;
        }
    }
    if (best < LEAST) {
        *confidence = 0;
        return BOUNCE_UNDETERMINED;
    }
    *confidence = (uint8_t)(100 * best * (1 - second / 2) + 0.5);
    return class;
}

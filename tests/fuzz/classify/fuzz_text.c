/*
 * Any bytes as a reply: first line recipient, second host, the rest is the text. No crash; the same
 * twice (the second time from the cache); the cause is bounded, without controls, and normalising
 * it again does not make it longer.
 */
#include "classify/classify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct classifier *classifier;
    static struct classify_scratch *scratch;
    if (classifier == NULL) {
        struct fault fault = {0};
        classifier = classifier_load(NULL, &fault);
        scratch = classify_scratch_create();
        CHECK(classifier != NULL);
    }
    struct slice rest = slice_of(data, size);
    struct classify_input input = {0};
    input.recipient = slice_cut(&rest, '\n');
    input.remote_host = slice_cut(&rest, '\n');
    input.text = rest;
    input.phase = size > 0 ? (enum smtp_phase)(data[0] % (SMTP_PHASE_IDLE + 1)) : SMTP_PHASE_NONE;
    struct classify_result first;
    struct classify_result second;
    classifier_run(classifier, scratch, &input, &first);
    CHECK((unsigned)first.class < BOUNCE_CLASS_COUNT && first.confidence <= 100);
    CHECK(first.cause.len <= CLASSIFY_CAUSE_MAX && !slice_has_control(first.cause));
    classifier_run(classifier, scratch, &input, &second);
    CHECK(first.class == second.class && first.cause_key == second.cause_key &&
          first.rule == second.rule);
    return 0;
}

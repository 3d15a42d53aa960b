/* Any bytes as a file of rules: no crash, no leak; what is taken can be used. */
#include "classify/classify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fault fault = {0};
    struct classifier *classifier = classifier_load_text("fuzz.yaml", slice_of(data, size), &fault);
    if (classifier == NULL) {
        CHECK(fault.kind != FAULT_NONE && fault.text[0] != '\0');
        return 0;
    }
    size_t samples;
    struct classify_scratch *scratch = classify_scratch_create();
    struct classify_input input = {.text =
                                       SLICE("550 5.1.1 <jo@example.org> user unknown, 7 times")};
    struct classify_result result;
    classifier_run(classifier, scratch, &input, &result);
    CHECK((unsigned)result.class < BOUNCE_CLASS_COUNT);
    (void)classifier_check_samples(classifier, NULL, NULL, &samples);
    classify_scratch_free(&scratch);
    classifier_free(&classifier);
    return 0;
}

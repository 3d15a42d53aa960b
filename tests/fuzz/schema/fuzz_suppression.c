/* Any bytes as a suppression record: what is taken is written, read and written the same. */
#include "schema/suppression.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void see(void *owner, const struct suppression_position *found)
{
    *(int64_t *)owner += found->next_offset & 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct suppression entry;
    struct suppression_progress progress;
    struct strbuf first;
    struct strbuf second;
    int64_t seen = 0;
    strbuf_init(&first, 1 << 20);
    strbuf_init(&second, 1 << 20);
    if (size < 100000 && suppression_decode(slice_of(data, size), &entry, NULL)) {
        CHECK(suppression_encode(&entry, &first));
        CHECK(suppression_decode(strbuf_slice(&first), &entry, NULL));
        CHECK(suppression_encode(&entry, &second));
        CHECK(slice_eq(strbuf_slice(&first), strbuf_slice(&second)));
    }
    (void)suppression_progress_decode(slice_of(data, size), &progress, see, &seen, NULL);
    strbuf_free(&second);
    strbuf_free(&first);
    return 0;
}

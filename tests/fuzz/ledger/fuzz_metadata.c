/* Any bytes as a commit's metadata: what is taken is what is written. */
#include "ledger/metadata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ledger_metadata metadata;
    struct ledger_metadata again;
    char text[LEDGER_METADATA_MAX];
    if (ledger_metadata_parse(slice_of(data, size), &metadata)) {
        struct slice out = ledger_metadata_format(&metadata, text);
        CHECK(out.ptr != NULL && ledger_metadata_parse(out, &again));
        CHECK(again.slot == metadata.slot && again.checkpoint == metadata.checkpoint &&
              again.claim == metadata.claim && again.released == metadata.released &&
              slice_eq(again.writer, metadata.writer));
    }
    return 0;
}

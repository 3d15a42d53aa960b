#include "ledger/metadata.h"

#include "schema/completion.h"

#include <inttypes.h>
#include <stdio.h>

static bool writer_valid(struct slice writer)
{
    for (size_t i = 0; i < writer.len; i++) {
        if (writer.ptr[i] <= ' ' || writer.ptr[i] > '~') {
            return false;
        }
    }
    return writer.len > 0 && writer.len <= LEDGER_NAME_MAX;
}

struct slice ledger_metadata_format(const struct ledger_metadata *metadata,
                                    char out[LEDGER_METADATA_MAX])
{
    if (!writer_valid(metadata->writer) || metadata->slot < 0 || metadata->checkpoint < 0) {
        return SLICE_NULL;
    }
    int len = snprintf(out, LEDGER_METADATA_MAX, "1 %" PRId32 " %" PRId64 " %" PRIu64 " %c %.*s",
                       metadata->slot, metadata->checkpoint, metadata->claim,
                       metadata->released ? 'r' : '-', SLICE_FMT(metadata->writer));
    return slice_of(out, (size_t)len);
}

bool ledger_metadata_parse(struct slice text, struct ledger_metadata *metadata)
{
    uint64_t slot;
    uint64_t checkpoint;
    uint64_t claim;
    if (!slice_eq(slice_cut(&text, ' '), SLICE("1")) ||
        !slice_to_u64(slice_cut(&text, ' '), &slot) || slot > INT32_MAX ||
        !slice_to_u64(slice_cut(&text, ' '), &checkpoint) || checkpoint > INT64_MAX ||
        !slice_to_u64(slice_cut(&text, ' '), &claim)) {
        return false;
    }
    struct slice state = slice_cut(&text, ' ');
    bool released = slice_eq(state, SLICE("r"));
    if ((!released && !slice_eq(state, SLICE("-"))) || !writer_valid(text)) {
        return false;
    }
    *metadata = (struct ledger_metadata){.slot = (int32_t)slot,
                                         .checkpoint = (int64_t)checkpoint,
                                         .claim = claim,
                                         .released = released,
                                         .writer = text};
    return true;
}

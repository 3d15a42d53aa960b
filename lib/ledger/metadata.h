/*
 * The metadata of a committed offset: who owns the partition and where its checkpoint is. ASCII,
 * because librdkafka 2.0.2 breaks NUL bytes, and far below the broker's 4096 bytes.
 *
 *   metadata = "1" SP slot SP checkpoint SP claim SP ( "r" / "-" ) SP writer
 *   slot = 1*DIGIT   checkpoint = 1*DIGIT   claim = 1*DIGIT   writer = 1*249VCHAR
 */
#ifndef SLUICE_LEDGER_METADATA_H
#define SLUICE_LEDGER_METADATA_H

#include "base/slice.h"

#define LEDGER_METADATA_MAX 384

struct ledger_metadata {
    int32_t slot;
    int64_t checkpoint;  /* offset in the slot's partition of moved */
    uint64_t claim;      /* of the owner; the next owner's is one more */
    bool released;       /* given away in good order: its owner lives and is not to be fenced */
    struct slice writer; /* transactional id */
};

/* NUL-terminated. Absent: the writer's name breaks the rule above. */
struct slice ledger_metadata_format(const struct ledger_metadata *metadata,
                                    char out[LEDGER_METADATA_MAX]);
/* The writer points into `text`. False: not ours. */
bool ledger_metadata_parse(struct slice text, struct ledger_metadata *metadata);

#endif

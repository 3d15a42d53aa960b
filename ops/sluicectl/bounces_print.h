/* What sluicectl bounces top prints: a table for people, or JSON lines. */
#ifndef SLUICE_OPS_SLUICECTL_BOUNCES_PRINT_H
#define SLUICE_OPS_SLUICECTL_BOUNCES_PRINT_H

#include "ops/tally/tally.h"

struct bounces_options {
    enum tally_by by;
    size_t limit;  /* groups */
    size_t causes; /* of each group */
    bool json;
};

/* Texts are shown as causes: what changes from message to message is taken out of the example. */
void bounces_print(struct tally *tally, const struct bounces_options *options);

#endif

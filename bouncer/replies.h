/* Reads single replies from a table with one header line, columns separated by tabs, in the order
 * that the header names. */
#ifndef SLUICE_BOUNCER_REPLIES_H
#define SLUICE_BOUNCER_REPLIES_H

#include "classify/classify.h"

enum replies_column {
    REPLIES_ID,
    REPLIES_PHASE,
    REPLIES_CODE,
    REPLIES_ENHANCED,
    REPLIES_TEXT,
    REPLIES_PROVIDER,
    REPLIES_HOST,
    REPLIES_RECIPIENT,
    REPLIES_SENDER,
    REPLIES_COLUMN_COUNT,
};

struct replies_header {
    int at[REPLIES_COLUMN_COUNT]; /* position of the column; -1: absent */
    size_t count;
};

/* False with a fault where there is no column "text". */
bool replies_header_read(struct replies_header *header, struct slice line, struct fault *fault);

/* The columns of one line, which must stay while `input` is used; false where a value is broken:
 * `problem` says how. */
bool replies_line_read(const struct replies_header *header, struct slice line, struct slice *id,
                       struct classify_input *input, const char **problem);

#endif

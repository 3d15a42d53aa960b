/*
 * A batch of rows on their way into PostgreSQL: of each key the last word, in the text form of
 * COPY. Pure.
 */
#ifndef SLUICE_BOUNCER_SINK_ROWS_H
#define SLUICE_BOUNCER_SINK_ROWS_H

#include "base/map.h"
#include "base/strbuf.h"
#include "suppress/key.h"

#define SINK_ROWS_MAX 5000
/* Of the staging table, in the order in which COPY is given them. */
#define SINK_COLUMNS                                                                               \
    "gone, tenant, list, email, reason, since, expires, bounce_class, event_id, message_id, "      \
    "campaign, actor, note"

struct sink_rows {
    struct map last; /* key -> struct sink_row */
    size_t count;
};

void sink_rows_init(struct sink_rows *rows);
/* Also makes it empty again. */
void sink_rows_free(struct sink_rows *rows);

/* A record of the topic: an entry becomes a row, whatever is not suppressed (a deletion, the mark
 * of a removal, bounces being counted) removes it. False: no entry's record, the fault says why. */
bool sink_rows_add(struct sink_rows *rows, struct slice key, struct slice value,
                   struct fault *fault);
bool sink_rows_full(const struct sink_rows *rows);

/* Appends one line for each, at most 100 KB. False: the buffer's maximum. */
bool sink_rows_copy(const struct sink_rows *rows, struct strbuf *out);

#endif

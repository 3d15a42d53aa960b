/*
 * What sluicectl publish reads: the message file and batches of recipients out of the CSV file.
 */
#ifndef SLUICE_OPS_SLUICECTL_PUBLISH_INPUT_H
#define SLUICE_OPS_SLUICECTL_PUBLISH_INPUT_H

#include "base/arena.h"
#include "base/fault.h"
#include "ops/csv/csv.h"
#include "sluice/sluice.h"

#define PUBLISH_BATCH 5000

/* A whole file; the caller frees the buffer, which need not be initialised. */
bool input_read_file(const char *path, size_t max_bytes, struct strbuf *text, struct fault *fault);

/* `text` with every line ending in CRLF, whatever it ended in (CRLF, LF, CR). False: longer than
 * max_bytes. */
bool input_crlf(struct slice text, size_t max_bytes, struct strbuf *out);

/* Recipients, read batch by batch. The first row is the header: the column `email`, or else the
 * first one, is the address; the others are metadata by their names, where they are not empty. */
struct publish_list {
    struct csv csv;
    struct csv_row row;
    char *names[CSV_FIELDS_MAX]; /* owned */
    size_t column_count;
    size_t address_column;
    struct arena *arena; /* of the batch */
    struct sluice_recipient *recipients;
    uint64_t *lines; /* of each */
    size_t count;
};

/* A row that cannot be used, with its line. */
typedef void (*publish_list_wrong)(void *owner, uint64_t line, const char *address,
                                   const char *problem);

/* `text` must outlive it. */
bool publish_list_init(struct publish_list *list, struct slice text, struct fault *fault);
void publish_list_free(struct publish_list *list);
/* The next batch in recipients, lines, count; valid until the next call. False: the end. */
bool publish_list_next(struct publish_list *list, publish_list_wrong wrong, void *owner);

#endif

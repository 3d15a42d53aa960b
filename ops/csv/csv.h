/*
 * Comma-separated values by RFC 4180, row by row from text in memory.
 *
 *   row   = field *( "," field ) ( CRLF / LF / end )
 *   field = DQUOTE *( any but DQUOTE / DQUOTE DQUOTE ) DQUOTE / *( any but "," DQUOTE CR LF )
 *
 * A byte order mark at the start and empty lines are passed over. A row that is wrong is told with
 * its line, and reading goes on behind its line end.
 */
#ifndef SLUICE_OPS_CSV_H
#define SLUICE_OPS_CSV_H

#include "base/strbuf.h"

#define CSV_FIELDS_MAX 64
#define CSV_ROW_MAX_BYTES ((size_t)1024 * 1024)

struct csv {
    struct slice rest;
    uint64_t line;      /* of `rest`, from 1 */
    struct strbuf text; /* of the row's fields, each NUL-terminated */
};

struct csv_row {
    uint64_t line;                      /* where it begins */
    size_t count;                       /* at least 1 */
    const char *fields[CSV_FIELDS_MAX]; /* valid until the next call */
    const char *problem;                /* of CSV_WRONG */
};

enum csv_result { CSV_ROW, CSV_END, CSV_WRONG };

/* `text` must outlive it. */
void csv_init(struct csv *csv, struct slice text);
void csv_free(struct csv *csv);
enum csv_result csv_next(struct csv *csv, struct csv_row *row);

#endif

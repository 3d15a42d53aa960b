#include "ops/csv/csv.h"

/* What ended a field. */
enum field_end { FIELD_COMMA, FIELD_ROW, FIELD_WRONG };

void csv_init(struct csv *csv, struct slice text)
{
    struct slice mark = SLICE("\xef\xbb\xbf");
    csv->rest = slice_starts_with(text, mark) ? slice_skip(text, mark.len) : text;
    csv->line = 1;
    strbuf_init(&csv->text, CSV_ROW_MAX_BYTES);
}

void csv_free(struct csv *csv)
{
    strbuf_free(&csv->text);
}

static void skip(struct csv *csv, size_t bytes)
{
    csv->rest = slice_skip(csv->rest, bytes);
}

static bool next_is(const struct csv *csv, char byte)
{
    return csv->rest.ptr != NULL && csv->rest.len > 0 && csv->rest.ptr[0] == byte;
}

/* True at a line end or the end of the text, and passes over it. */
static bool take_line_end(struct csv *csv)
{
    struct slice rest = csv->rest;
    if (rest.len == 0) {
        return true;
    }
    size_t bytes = rest.ptr[0] == '\n'                                          ? 1
                   : rest.len > 1 && rest.ptr[0] == '\r' && rest.ptr[1] == '\n' ? 2
                                                                                : 0;
    skip(csv, bytes);
    csv->line += bytes > 0 ? 1 : 0;
    return bytes > 0;
}

/* To behind the next line end. */
static void skip_line(struct csv *csv)
{
    ptrdiff_t at = slice_find_byte(csv->rest, '\n');
    skip(csv, at < 0 ? csv->rest.len : (size_t)at + 1);
    csv->line += at < 0 ? 0 : 1;
}

static const char *read_quoted(struct csv *csv)
{
    struct csv start = *csv;
    skip(csv, 1);
    for (;;) {
        ptrdiff_t at = slice_find_byte(csv->rest, '"');
        if (at < 0) {
            csv->rest = start.rest; /* one line is lost, not all that follow */
            csv->line = start.line;
            return "quoted field has no end";
        }
        struct slice part = slice_head(csv->rest, (size_t)at);
        for (struct slice lines = part; slice_find_byte(lines, '\n') >= 0; csv->line++) {
            (void)slice_cut(&lines, '\n');
        }
        strbuf_add_slice(&csv->text, part);
        skip(csv, part.len + 1);
        if (!next_is(csv, '"')) {
            return NULL;
        }
        strbuf_add_byte(&csv->text, '"');
        skip(csv, 1);
    }
}

static const char *read_plain(struct csv *csv)
{
    size_t len = 0;
    while (len < csv->rest.len && csv->rest.ptr[len] != ',' && csv->rest.ptr[len] != '\n' &&
           csv->rest.ptr[len] != '"' && csv->rest.ptr[len] != '\r') {
        len++;
    }
    strbuf_add(&csv->text, csv->rest.ptr, len);
    skip(csv, len);
    return next_is(csv, '"') ? "quote inside of a field that is not quoted" : NULL;
}

static enum field_end read_field(struct csv *csv, struct csv_row *row)
{
    size_t from = csv->text.len;
    bool quoted = next_is(csv, '"');
    row->problem = quoted ? read_quoted(csv) : read_plain(csv);
    if (row->problem != NULL) {
        return FIELD_WRONG;
    }
    if (slice_find_byte(slice_skip(strbuf_slice(&csv->text), from), '\0') >= 0) {
        row->problem = "NUL in a field";
        return FIELD_WRONG;
    }
    strbuf_add_byte(&csv->text, '\0');
    if (csv->text.overflow) {
        row->problem = "row is longer than 1 MB";
        return FIELD_WRONG;
    }
    if (next_is(csv, ',')) {
        skip(csv, 1);
        return FIELD_COMMA;
    }
    if (take_line_end(csv)) {
        return FIELD_ROW;
    }
    row->problem = quoted ? "text behind the closing quote" : "CR without LF";
    return FIELD_WRONG;
}

enum csv_result csv_next(struct csv *csv, struct csv_row *row)
{
    size_t starts[CSV_FIELDS_MAX];
    while (csv->rest.len > 0 && take_line_end(csv)) {
    }
    strbuf_reset(&csv->text);
    *row = (struct csv_row){.line = csv->line};
    if (csv->rest.len == 0) {
        return CSV_END;
    }
    for (enum field_end end = FIELD_COMMA; end == FIELD_COMMA;) {
        if (row->count == CSV_FIELDS_MAX) {
            row->problem = "more than 64 fields";
            end = FIELD_WRONG;
        } else {
            starts[row->count++] = csv->text.len;
            end = read_field(csv, row);
        }
        if (end == FIELD_WRONG) {
            skip_line(csv);
            return CSV_WRONG;
        }
    }
    for (size_t i = 0; i < row->count; i++) {
        row->fields[i] = csv->text.ptr + starts[i];
    }
    return CSV_ROW;
}

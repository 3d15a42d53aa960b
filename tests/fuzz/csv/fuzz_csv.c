/*
 * Any text as CSV: it ends, every row lies behind the one before, fields are strings without NUL.
 */
#include "ops/csv/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct csv csv;
    struct csv_row row;
    enum csv_result result;
    uint64_t line = 0;
    csv_init(&csv, slice_of(data, size));
    while ((result = csv_next(&csv, &row)) != CSV_END) {
        CHECK(row.line > line);
        line = row.line;
        CHECK((result == CSV_WRONG) == (row.problem != NULL));
        for (size_t i = 0; result == CSV_ROW && i < row.count; i++) {
            CHECK(strlen(row.fields[i]) <= size);
        }
    }
    csv_free(&csv);
    return 0;
}

/* sluicectl suppression import: a list of entries, comma-separated. */
#include "ops/sluicectl/publish_input.h"
#include "ops/sluicectl/suppression_write.h"

#include "base/clock.h"
#include "ops/csv/csv.h"

#include <inttypes.h>

#define LIST_MAX_BYTES ((size_t)1024 * 1024 * 1024)
#define FAILURES_SHOWN 20

enum column {
    COLUMN_EMAIL,
    COLUMN_TENANT,
    COLUMN_LIST,
    COLUMN_REASON,
    COLUMN_SINCE,
    COLUMN_EXPIRES,
    COLUMN_CLASS,
    COLUMN_EVENT,
    COLUMN_MESSAGE,
    COLUMN_CAMPAIGN,
    COLUMN_ACTOR,
    COLUMN_NOTE,
    COLUMN_COUNT,
};
static const char *const column_names[COLUMN_COUNT] = {
    "email",        "tenant",   "list",       "reason",   "since", "expires",
    "bounce_class", "event_id", "message_id", "campaign", "actor", "note",
};

/* Which field of a row is which column; SIZE_MAX: there is none. */
struct columns {
    size_t at[COLUMN_COUNT];
};

static bool read_header(const struct csv_row *row, struct columns *columns, struct fault *fault)
{
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        columns->at[i] = SIZE_MAX;
    }
    for (size_t i = 0; i < row->count; i++) {
        struct slice name = slice_trim(slice_cstr(row->fields[i]));
        size_t column = 0;
        while (column < COLUMN_COUNT && !slice_eq_nocase(name, slice_cstr(column_names[column]))) {
            column++;
        }
        if (column == COLUMN_COUNT) {
            return fault_set(fault, FAULT_INVALID, 0, "line %" PRIu64 ": unknown column \"%.*s\"",
                             row->line, SLICE_FMT(name));
        }
        if (columns->at[column] != SIZE_MAX) {
            return fault_set(fault, FAULT_INVALID, 0, "line %" PRIu64 ": column \"%s\" twice",
                             row->line, column_names[column]);
        }
        columns->at[column] = i;
    }
    return columns->at[COLUMN_EMAIL] != SIZE_MAX ||
           fault_set(fault, FAULT_INVALID, 0, "line %" PRIu64 ": no column \"email\"", row->line);
}

static struct slice field_of(const struct csv_row *row, const struct columns *columns,
                             enum column column)
{
    size_t at = columns->at[column];
    return at < row->count ? slice_trim(slice_cstr(row->fields[at])) : SLICE_NULL;
}

static bool wrong(struct fault *fault, enum column column, struct slice value, const char *why)
{
    return fault_set(fault, FAULT_INVALID, 0, "%s: \"%.*s\": %s", column_names[column],
                     SLICE_FMT(value), why);
}

static bool time_of(struct slice value, enum column column, int64_t *ms, struct fault *fault)
{
    struct wall_time time;
    if (value.len == 0) {
        return true;
    }
    if (!wall_time_parse(value, &time) || time.ms <= 0) {
        return wrong(fault, column, value, "not a time such as 2026-11-22 or 2026-11-22T02:26:53Z");
    }
    *ms = time.ms;
    return true;
}

static bool read_row(const struct suppression_change *change, const struct csv_row *row,
                     const struct columns *columns, char room[SUPPRESS_ADDRESS_MAX + 1],
                     struct suppress_key *key, struct suppression *entry, struct fault *fault)
{
    struct slice value[COLUMN_COUNT];
    for (unsigned i = 0; i < COLUMN_COUNT; i++) {
        value[i] = field_of(row, columns, (enum column)i);
    }
    *key = suppression_key_of(change->options, SLICE_NULL);
    key->tenant = columns->at[COLUMN_TENANT] != SIZE_MAX ? value[COLUMN_TENANT] : key->tenant;
    key->list = columns->at[COLUMN_LIST] != SIZE_MAX ? value[COLUMN_LIST] : key->list;
    *entry = suppression_by_hand(change, SUPPRESSION_IMPORTED);
    if (!suppress_address_fold(value[COLUMN_EMAIL], room, &key->address, fault)) {
        return fault_prefix(fault, "email: \"%.*s\"", SLICE_FMT(value[COLUMN_EMAIL]));
    }
    if (!suppress_tenant_valid(key->tenant)) {
        return wrong(fault, COLUMN_TENANT, key->tenant, "not a tenant's name");
    }
    if (!suppress_list_valid(key->list) || (key->list.len > 0 && key->tenant.len == 0)) {
        return wrong(fault, COLUMN_LIST, key->list, "not a list's name, or without a tenant");
    }
    if (value[COLUMN_REASON].len > 0 &&
        (!suppression_reason_parse(value[COLUMN_REASON], &entry->reason) ||
         entry->reason == SUPPRESSION_NONE)) {
        return wrong(fault, COLUMN_REASON, value[COLUMN_REASON], "not a reason");
    }
    entry->bounce_class = value[COLUMN_CLASS];
    entry->event_id = value[COLUMN_EVENT];
    entry->message_id = value[COLUMN_MESSAGE];
    entry->campaign = value[COLUMN_CAMPAIGN];
    entry->actor = value[COLUMN_ACTOR].len > 0 ? value[COLUMN_ACTOR] : entry->actor;
    entry->note = value[COLUMN_NOTE].len > 0 ? value[COLUMN_NOTE] : entry->note;
    return time_of(value[COLUMN_SINCE], COLUMN_SINCE, &entry->time_ms, fault) &&
           time_of(value[COLUMN_EXPIRES], COLUMN_EXPIRES, &entry->expires_ms, fault);
}

static void refuse(struct suppression_change *change, uint64_t line, const char *why)
{
    if (change->failed++ < FAILURES_SHOWN) {
        (void)fprintf(stderr, "%s: line %" PRIu64 ": %s\n", change->options->argument, line, why);
    }
}

/* Returns the number of entries, or -1 (the fault says why). */
static int64_t import_rows(struct suppression_change *change, struct slice text)
{
    char room[SUPPRESS_ADDRESS_MAX + 1];
    struct suppress_key key;
    struct suppression entry;
    struct columns columns = {{0}};
    struct csv csv;
    struct csv_row row;
    struct fault why = {0};
    enum csv_result result;
    int64_t count = 0;
    csv_init(&csv, text);
    bool good = csv_next(&csv, &row) == CSV_ROW
                    ? read_header(&row, &columns, &change->fault)
                    : fault_set(&change->fault, FAULT_INVALID, 0, "a header line is needed");
    if (!good) {
        fault_prefix(&change->fault, "%s", change->options->argument);
    }
    while (good && (result = csv_next(&csv, &row)) != CSV_END) {
        if (result == CSV_WRONG) {
            refuse(change, row.line, row.problem);
        } else if (!read_row(change, &row, &columns, room, &key, &entry, &why)) {
            refuse(change, row.line, why.text);
        } else {
            good = suppression_send_entry(change, &key, &entry);
            count++;
        }
        if (change->producer != NULL && count % 1000 == 0) {
            (void)kafka_producer_poll(change->producer, 0);
        }
    }
    csv_free(&csv);
    return good ? count : -1;
}

int suppression_import(const struct config *config, const struct suppression_options *options)
{
    struct suppression_change change;
    struct strbuf text;
    char detail[600];
    int64_t count = -1;
    struct fault fault = {0};
    if (!input_read_file(options->argument, LIST_MAX_BYTES, &text, &fault)) {
        (void)fprintf(stderr, "sluicectl suppression: %s\n", fault.text);
        strbuf_free(&text);
        return STATUS_FAILED;
    }
    bool done = suppression_change_open(&change, config, options);
    if (done) {
        count = import_rows(&change, strbuf_slice(&text));
    }
    if (change.producer != NULL && count > 0) {
        const struct suppress_key none = {.tenant = SLICE_NULL};
        int len = snprintf(detail, sizeof(detail), "%" PRId64 " entries from %.400s", count,
                           options->argument);
        done = suppression_send_event(&change, "suppression-imported", &none,
                                      slice_of(detail, (size_t)len));
    }
    uint64_t refused = change.failed;
    done = suppression_change_close(&change) && done && count >= 0;
    strbuf_free(&text);
    if (count >= 0) {
        (void)printf("%s: %" PRId64 " entries %s, %" PRIu64 " lines refused\n", options->argument,
                     count, options->check_only ? "are valid" : "written", refused);
    }
    return done && refused == 0 ? STATUS_DONE : STATUS_FAILED;
}

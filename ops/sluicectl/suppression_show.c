/* sluicectl suppression list, export, check, history: nothing is changed. */
#include "ops/sluicectl/suppression.h"

#include "base/mem.h"
#include "kafka/reader.h"
#include "kafka/topics.h"
#include "schema/event.h"
#include "schema/json.h"
#include "suppress/policy.h"

#include <errno.h>
#include <inttypes.h>

#define LINE_MAX_BYTES ((size_t)64 * 1024)
#define JSON_MAX_BYTES ((size_t)8 * 1024 * 1024)
#define ARENA_FIRST_BYTES 4096
#define ARENA_MAX_BYTES ((size_t)64 * 1024 * 1024)
#define POLL_MS 100

struct show {
    const struct suppression_options *options;
    struct slice address; /* only entries about it; ptr NULL: all */
    int64_t now_ms;
    uint64_t shown;
    FILE *out;
    struct strbuf line;
};

/* ---- which ---- */

/* check: of the entries about an address those that hold back the tenant's mail, or that list's. */
static bool concerns(const struct suppression_options *options, const struct suppress_key *key)
{
    bool tenant = options->tenant == NULL || slice_eq(key->tenant, slice_cstr(options->tenant)) ||
                  key->tenant.len == 0;
    bool list = options->list == NULL || slice_eq(key->list, slice_cstr(options->list)) ||
                key->list.len == 0;
    return tenant && list;
}

static bool matches(const struct suppression_options *options, const struct suppress_key *key)
{
    return (options->tenant == NULL || slice_eq(key->tenant, slice_cstr(options->tenant))) &&
           (options->list == NULL || slice_eq(key->list, slice_cstr(options->list)));
}

static bool is_wanted(const struct show *show, const struct suppression_row *row)
{
    const struct suppression_options *options = show->options;
    if (show->address.ptr != NULL) {
        if (!slice_eq(show->address, row->key.address) || !concerns(options, &row->key)) {
            return false;
        }
    } else if (!matches(options, &row->key)) {
        return false;
    }
    if (options->format == SUPPRESSION_CSV && row->entry.reason == SUPPRESSION_NONE) {
        return false; /* import would make an entry of what is none */
    }
    return (options->reason == NULL || options->reason_number == row->entry.reason) &&
           (options->all || suppress_in_force(&row->entry, show->now_ms));
}

/* ---- how ---- */

static void add_time(struct strbuf *line, int64_t ms, const char *none)
{
    char text[WALL_TEXT_MAX];
    if (ms == 0) {
        strbuf_add_cstr(line, none);
    } else {
        strbuf_add_slice(line, wall_time_format((struct wall_time){ms}, text));
    }
}

static void add_csv(struct strbuf *line, struct slice text)
{
    bool plain = true;
    for (size_t i = 0; i < text.len; i++) {
        plain = plain && strchr(",\"\r\n", text.ptr[i]) == NULL;
    }
    if (plain) {
        strbuf_add_slice(line, text);
    } else {
        strbuf_add_byte(line, '"');
        for (size_t i = 0; i < text.len; i++) {
            strbuf_add(line, "\"\"", text.ptr[i] == '"' ? 1 : 0);
            strbuf_add_byte(line, text.ptr[i]);
        }
        strbuf_add_byte(line, '"');
    }
}

static void add_row_csv(struct strbuf *line, const struct suppression_row *row)
{
    const struct suppression *entry = &row->entry;
    const struct slice first[] = {row->key.address, row->key.tenant, row->key.list,
                                  slice_cstr(suppression_reason_name(entry->reason))};
    const struct slice rest[] = {entry->bounce_class, entry->event_id, entry->message_id,
                                 entry->campaign,     entry->actor,    entry->note};
    for (size_t i = 0; i < ARRAY_LEN(first); i++) {
        add_csv(line, first[i]);
        strbuf_add_byte(line, ',');
    }
    add_time(line, entry->time_ms, "");
    strbuf_add_byte(line, ',');
    add_time(line, entry->expires_ms, "");
    for (size_t i = 0; i < ARRAY_LEN(rest); i++) {
        strbuf_add_byte(line, ',');
        add_csv(line, rest[i]);
    }
}

static void add_member_time(struct strbuf *line, const char *name, int64_t ms)
{
    char text[WALL_TEXT_MAX];
    if (ms != 0) {
        json_add_member(line, name, wall_time_format((struct wall_time){ms}, text));
    }
}

static void add_row_json(struct strbuf *line, const struct suppression_row *row)
{
    const struct suppression *entry = &row->entry;
    strbuf_add_cstr(line, "{\"email\":");
    json_add_string(line, row->key.address);
    json_add_member(line, "tenant", row->key.tenant);
    json_add_member(line, "list", row->key.list);
    json_add_member(line, "reason", slice_cstr(suppression_reason_name(entry->reason)));
    add_member_time(line, "since", entry->time_ms);
    add_member_time(line, "expires", entry->expires_ms);
    add_member_time(line, "removed", entry->removed_ms);
    json_add_member(line, "bounce_class", entry->bounce_class);
    json_add_member(line, "event_id", entry->event_id);
    json_add_member(line, "message_id", entry->message_id);
    json_add_member(line, "campaign", entry->campaign);
    json_add_member(line, "actor", entry->actor);
    json_add_member(line, "note", entry->note);
    if (entry->strike_count > 0) {
        strbuf_addf(line, ",\"bounces_counted\":%zu", entry->strike_count);
    }
    add_member_time(line, "mailbox_full_since", entry->full_first_ms);
    strbuf_add_byte(line, '}');
}

/* For a terminal, which must not do what a server's reply says. */
static void add_plain(struct strbuf *line, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        strbuf_add_byte(line, c < ' ' || c == 0x7f ? '?' : (char)c);
    }
}

static void add_row_text(struct strbuf *line, const struct suppression_row *row)
{
    const struct suppression *entry = &row->entry;
    strbuf_addf(line, "%.*s  ", SLICE_FMT(row->key.address));
    if (row->key.tenant.len == 0) {
        strbuf_add_cstr(line, "all tenants");
    } else {
        strbuf_addf(line, "tenant %.*s", SLICE_FMT(row->key.tenant));
    }
    if (row->key.list.len > 0) {
        strbuf_addf(line, ", list %.*s", SLICE_FMT(row->key.list));
    }
    strbuf_addf(line, "  %s since ", suppression_reason_name(entry->reason));
    add_time(line, entry->time_ms, "?");
    if (entry->expires_ms != 0) {
        strbuf_add_cstr(line, " until ");
        add_time(line, entry->expires_ms, "");
    }
    const struct {
        const char *name;
        struct slice text;
    } more[] = {{"class", entry->bounce_class}, {"event", entry->event_id},
                {"message", entry->message_id}, {"campaign", entry->campaign},
                {"by", entry->actor},           {"note", entry->note}};
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        if (more[i].text.len > 0) {
            strbuf_addf(line, "  %s=", more[i].name);
            add_plain(line, more[i].text);
        }
    }
}

static bool show_row(void *owner, const struct suppression_row *row)
{
    struct show *show = owner;
    if (!is_wanted(show, row)) {
        return true;
    }
    strbuf_reset(&show->line);
    switch (show->options->format) {
    case SUPPRESSION_TABLE: add_row_text(&show->line, row); break;
    case SUPPRESSION_JSON: add_row_json(&show->line, row); break;
    case SUPPRESSION_CSV: add_row_csv(&show->line, row); break;
    }
    strbuf_add_byte(&show->line, '\n');
    show->shown++;
    return fwrite(show->line.ptr, 1, show->line.len, show->out) == show->line.len;
}

/* ---- the subcommands ---- */

static int show_entries(const struct config *config, const struct suppression_options *options,
                        struct slice address)
{
    struct show show = {
        .options = options, .address = address, .now_ms = wall_now().ms, .out = stdout};
    struct fault fault = {0};
    if (options->output != NULL && (show.out = fopen(options->output, "wbe")) == NULL) {
        fault_set_errno(&fault, errno, "%s", options->output);
        (void)fprintf(stderr, "sluicectl suppression: %s\n", fault.text);
        return STATUS_FAILED;
    }
    if (options->format == SUPPRESSION_CSV) {
        (void)fputs("email,tenant,list,reason,since,expires,bounce_class,event_id,message_id,"
                    "campaign,actor,note\n",
                    show.out);
    }
    strbuf_init(&show.line, LINE_MAX_BYTES);
    bool done = suppression_each(config, show_row, &show, &fault);
    strbuf_free(&show.line);
    if (!done) {
        (void)fprintf(stderr, "sluicectl suppression: %s\n", fault.text);
    }
    bool written = fflush(show.out) == 0 && ferror(show.out) == 0;
    if (show.out != stdout) {
        written = fclose(show.out) == 0 && written;
    }
    if (!written) {
        (void)fprintf(stderr, "sluicectl suppression: %s: could not be written\n",
                      options->output != NULL ? options->output : "standard output");
    }
    return !done || !written ? STATUS_FAILED : show.shown == 0 ? STATUS_NONE : STATUS_DONE;
}

int suppression_list(const struct config *config, const struct suppression_options *options)
{
    int status = show_entries(config, options, SLICE_NULL);
    return status == STATUS_NONE ? STATUS_DONE : status;
}

int suppression_check(const struct config *config, const struct suppression_options *options)
{
    char room[SUPPRESS_ADDRESS_MAX + 1];
    struct slice address;
    if (!suppression_fold(options->argument, room, &address)) {
        return STATUS_FAILED;
    }
    int status = show_entries(config, options, address);
    if (status == STATUS_NONE && options->format == SUPPRESSION_TABLE) {
        (void)printf("%.*s  not on the list\n", SLICE_FMT(address));
    }
    return status;
}

/* ---- history ---- */

static bool is_of_history(const struct event *event, struct slice given, struct slice folded)
{
    if (!slice_eq_nocase(event->recipient, given) && !slice_eq_nocase(event->recipient, folded)) {
        return false;
    }
    switch (event->type) {
    case EVENT_BOUNCED:
    case EVENT_EXPIRED:
    case EVENT_DROPPED:
    case EVENT_BOUNCED_LATE:
    case EVENT_COMPLAINT:
    case EVENT_UNSUBSCRIBED:
    case EVENT_ADMIN: return true;
    case EVENT_NONE:
    case EVENT_RECEIVED:
    case EVENT_ATTEMPT:
    case EVENT_DELIVERED:
    case EVENT_DEFERRED:
    case EVENT_UNCERTAIN:
    case EVENT_AUTO_REPLY:
    case EVENT_RETURNED:
    case EVENT_USAGE:
    case EVENT_POSTPONED: break;
    }
    return false;
}

static bool print_event(const struct kafka_reader_record *record, struct slice given,
                        struct slice folded, struct strbuf *line)
{
    struct arena *arena = arena_create(ARENA_FIRST_BYTES, ARENA_MAX_BYTES);
    struct event event;
    struct fault fault = {0};
    CHECK(arena != NULL);
    bool good = event_decode(record->value, arena, &event, &fault);
    if (!good) {
        (void)fprintf(stderr, "sluicectl suppression: %s/%" PRId32 "/%" PRId64 ": %s\n",
                      record->topic, record->partition, record->offset, fault.text);
    } else if (is_of_history(&event, given, folded)) {
        strbuf_reset(line);
        (void)event_to_json(&event, line);
        strbuf_add_byte(line, '\n');
        (void)fwrite(line->ptr, 1, line->len, stdout);
    }
    arena_free(&arena);
    return good;
}

/* What was told about the address since then, as JSON lines, and then its entries. */
int suppression_history(const struct config *config, const struct suppression_options *options)
{
    char room[SUPPRESS_ADDRESS_MAX + 1], topic[KAFKA_TOPIC_NAME_MAX + 1];
    const char *topics[] = {topic};
    struct kafka_reader_record record;
    struct slice folded;
    struct strbuf line;
    struct fault fault = {0};
    bool good = true;
    enum kafka_read got = KAFKA_READ_FAILED;
    if (!suppression_fold(options->argument, room, &folded)) {
        return STATUS_FAILED;
    }
    struct kafka_properties properties;
    kafka_properties_from_config(&properties, &config->kafka);
    (void)snprintf(topic, sizeof(topic), "%slog", config->kafka.prefix);
    struct kafka_reader *reader =
        kafka_reader_create(&properties, topics, 1, options->from_ms, &fault);
    strbuf_init(&line, JSON_MAX_BYTES);
    while (reader != NULL) {
        got = kafka_reader_next(reader, POLL_MS, &record, &fault);
        if (got == KAFKA_READ_RECORD) {
            good = print_event(&record, slice_cstr(options->argument), folded, &line) && good;
        } else if (got != KAFKA_READ_NONE) {
            break;
        }
    }
    strbuf_free(&line);
    kafka_reader_free(&reader);
    kafka_properties_free(&properties);
    if (got == KAFKA_READ_FAILED) {
        (void)fprintf(stderr, "sluicectl suppression: %s\n", fault.text);
        return STATUS_FAILED;
    }
    struct suppression_options entries = *options;
    entries.format = SUPPRESSION_JSON;
    entries.all = true;
    int status = show_entries(config, &entries, folded);
    return status == STATUS_FAILED || !good ? STATUS_FAILED : STATUS_DONE;
}

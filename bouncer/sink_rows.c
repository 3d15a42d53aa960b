#include "bouncer/sink_rows.h"

#include "base/clock.h"
#include "base/mem.h"
#include "schema/suppression.h"

struct sink_row {
    size_t key_len, value_len;
    char bytes[]; /* key, value; no value: it is to go */
};

void sink_rows_init(struct sink_rows *rows)
{
    *rows = (struct sink_rows){0};
    map_init(&rows->last);
}

void sink_rows_free(struct sink_rows *rows)
{
    size_t cursor = 0;
    void *row;
    while ((row = map_next(&rows->last, &cursor)) != NULL) {
        mem_free(row);
    }
    map_free(&rows->last);
    sink_rows_init(rows);
}

bool sink_rows_add(struct sink_rows *rows, struct slice key, struct slice value,
                   struct fault *fault)
{
    char list[SUPPRESS_LIST_MAX];
    struct suppress_key parts;
    struct suppression entry;
    if (!suppress_key_read(key, list, &parts)) {
        return fault_set(fault, FAULT_INVALID, 0, "no key of an entry");
    }
    if (value.len > 0 && !suppression_decode(value, &entry, fault)) {
        return false;
    }
    if (value.len > 0 && entry.reason == SUPPRESSION_NONE) {
        value = SLICE_NULL;
    }
    mem_free(map_remove(&rows->last, key));
    struct sink_row *row = mem_zalloc(sizeof(*row) + key.len + value.len);
    row->key_len = key.len;
    row->value_len = value.len;
    memcpy(row->bytes, key.ptr, key.len);
    if (value.len > 0) {
        memcpy(row->bytes + key.len, value.ptr, value.len);
    }
    map_put(&rows->last, slice_of(row->bytes, key.len), row);
    rows->count = rows->last.count;
    return true;
}

bool sink_rows_full(const struct sink_rows *rows)
{
    return rows->count >= SINK_ROWS_MAX;
}

/* In COPY's text form; what PostgreSQL cannot keep (NUL, what is not UTF-8) becomes '?'. */
static void add_text(struct strbuf *out, struct slice text)
{
    bool valid = slice_is_utf8(text);
    strbuf_add_byte(out, '\t');
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        switch (c) {
        case '\t': strbuf_add_cstr(out, "\\t"); break;
        case '\n': strbuf_add_cstr(out, "\\n"); break;
        case '\r': strbuf_add_cstr(out, "\\r"); break;
        case '\\': strbuf_add_cstr(out, "\\\\"); break;
        default:
            strbuf_add_byte(out, c == '\0' || (!valid && ((uint8_t)c & 0x80) != 0) ? '?' : c);
            break;
        }
    }
}

static void add_time(struct strbuf *out, int64_t ms)
{
    char text[WALL_TEXT_MAX];
    strbuf_add_byte(out, '\t');
    if (ms <= 0) {
        strbuf_add_cstr(out, "\\N");
    } else {
        strbuf_add_slice(out, wall_time_format((struct wall_time){ms}, text));
    }
}

static void add_row(struct strbuf *out, const struct sink_row *row)
{
    char list[SUPPRESS_LIST_MAX];
    struct suppress_key key;
    struct suppression entry = {0};
    bool gone = row->value_len == 0;
    CHECK(suppress_key_read(slice_of(row->bytes, row->key_len), list, &key));
    CHECK(gone ||
          suppression_decode(slice_of(row->bytes + row->key_len, row->value_len), &entry, NULL));
    const struct slice rest[] = {entry.bounce_class, entry.event_id, entry.message_id,
                                 entry.campaign,     entry.actor,    entry.note};
    strbuf_add_byte(out, gone ? 't' : 'f');
    add_text(out, key.tenant);
    add_text(out, key.list);
    add_text(out, key.address);
    add_text(out, gone ? SLICE_NULL : slice_cstr(suppression_reason_name(entry.reason)));
    add_time(out, entry.time_ms);
    add_time(out, entry.expires_ms);
    for (size_t i = 0; i < ARRAY_LEN(rest); i++) {
        add_text(out, rest[i]);
    }
    strbuf_add_byte(out, '\n');
}

bool sink_rows_copy(const struct sink_rows *rows, struct strbuf *out)
{
    size_t cursor = 0;
    const struct sink_row *row;
    while ((row = map_next(&rows->last, &cursor)) != NULL) {
        add_row(out, row);
    }
    return !out->overflow;
}

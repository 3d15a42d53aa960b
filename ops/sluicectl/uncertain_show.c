/* sluicectl uncertain list: a line for each held message. */
#include "ops/sluicectl/uncertain.h"

#include "schema/json.h"

#include <inttypes.h>
#include <stdio.h>

#define LINE_MAX_BYTES ((size_t)4 * 1024 * 1024)

struct show {
    const struct uncertain_options *options;
    struct strbuf line;
    int64_t now_ms;
    uint64_t shown;
};

static void add_time(struct strbuf *line, const char *name, int64_t ms)
{
    char text[WALL_TEXT_MAX];
    if (ms > 0) {
        json_add_member(line, name, wall_time_format((struct wall_time){ms}, text));
    }
}

static void add_recipients_json(struct strbuf *line, const struct uncertain_entry *entry)
{
    const char *comma = "";
    strbuf_add_cstr(line, ",\"recipients\":[");
    for (size_t i = 0; i < entry->message.recipient_count; i++) {
        if (pending_has(&entry->recipients, i)) {
            strbuf_add_cstr(line, comma);
            json_add_string(line, entry->message.recipients[i].address);
            comma = ",";
        }
    }
    strbuf_add_byte(line, ']');
}

static void add_json(struct strbuf *line, const struct uncertain_entry *entry)
{
    strbuf_add_cstr(line, "{\"key\":");
    json_add_string(line, entry->key);
    json_add_member(line, "message_id", entry->message.id);
    json_add_member(line, "stream", entry->stream);
    json_add_member(line, "site", entry->site);
    json_add_member(line, "domain", entry->message.domain);
    json_add_member(line, "tenant", entry->message.tenant);
    json_add_member(line, "campaign", entry->message.campaign);
    json_add_member(line, "mail_from", entry->message.mail_from);
    add_recipients_json(line, entry);
    strbuf_addf(line, ",\"next_attempt\":%" PRIu64, entry->attempt);
    add_time(line, "held_since", entry->held_ms);
    add_time(line, "first_seen", entry->first_seen_ms);
    add_time(line, "expires", entry->expires_ms);
    json_add_member(line, "last", entry->last);
    strbuf_add_cstr(line, "}\n");
}

static void add_age(struct strbuf *line, int64_t ms)
{
    int64_t s = ms < 0 ? 0 : ms / 1000;
    if (s < 120) {
        strbuf_addf(line, "%6" PRId64 "s", s);
    } else if (s < 120 * 60) {
        strbuf_addf(line, "%6" PRId64 "m", s / 60);
    } else {
        strbuf_addf(line, "%6" PRId64 "h", s / 3600);
    }
}

/* Bytes that would break the line or the terminal become '?'. */
static void add_plain(struct strbuf *line, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        strbuf_add_byte(line, c < ' ' || c == 127 ? '?' : text.ptr[i]);
    }
}

static void add_row(struct strbuf *line, const struct uncertain_entry *entry, int64_t now_ms)
{
    size_t count = pending_count(&entry->recipients);
    struct slice site = entry->site.len > 0 ? entry->site : entry->message.domain;
    size_t first = 0;
    while (first < entry->message.recipient_count && !pending_has(&entry->recipients, first)) {
        first++;
    }
    add_age(line, now_ms - entry->held_ms);
    strbuf_addf(line, "  %-12.*s %-24.*s %8" PRIu64 "  ", SLICE_FMT(entry->stream), SLICE_FMT(site),
                entry->attempt);
    add_plain(line, entry->key);
    strbuf_add_cstr(line, "  ");
    if (first < entry->message.recipient_count) {
        add_plain(line, entry->message.recipients[first].address);
    }
    if (count > 1) {
        strbuf_addf(line, " and %zu more", count - 1);
    }
    strbuf_add_byte(line, '\n');
}

static bool show_entry(void *owner, const struct uncertain_entry *entry)
{
    struct show *show = owner;
    strbuf_reset(&show->line);
    if (show->options->json) {
        add_json(&show->line, entry);
    } else {
        if (show->shown == 0) {
            strbuf_add_cstr(&show->line,
                            "    AGE  STREAM       SITE                      ATTEMPT  KEY  "
                            "RECIPIENTS\n");
        }
        add_row(&show->line, entry, show->now_ms);
    }
    show->shown++;
    return fwrite(show->line.ptr, 1, show->line.len, stdout) == show->line.len;
}

int uncertain_list(const struct config *config, const struct uncertain_options *options)
{
    struct show show = {.options = options, .now_ms = wall_now().ms};
    struct fault fault = {0};
    strbuf_init(&show.line, LINE_MAX_BYTES);
    bool ok = uncertain_each(config, options, show_entry, &show, &fault);
    strbuf_free(&show.line);
    if (!ok) {
        (void)fprintf(stderr, "sluicectl uncertain: %s\n", fault.text);
    }
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        (void)fputs("sluicectl uncertain: standard output: could not be written\n", stderr);
        return 1;
    }
    return ok ? 0 : 1;
}

/*
 * Notices in running text.
 *
 * No table of systems: what they have in common carries further. A notice ends where the returned
 * message begins (a line that says so, or a block of header fields). In front of it every line with
 * an address is judged by where the address stands: alone on its line, in front of a colon, behind
 * a word for recipients, inside a reply; and by who it is. The best kind of place that occurs
 * decides: all addresses in such places failed. The text of a recipient runs from its line to the
 * next recipient's, or stands in front of it where nothing follows.
 */
#include "mail/notice_private.h"

#include "mail/address.h"
#include "mail/status.h"

static void set_expansion(const struct notice_lines *lines, size_t at, size_t end,
                          struct returned_recipient *recipient)
{
    struct slice own = lines->items[at].text;
    ptrdiff_t from = slice_find(own, SLICE("> (expanded from "));
    if (from >= 0) {
        recipient->original = mail_address_first(slice_skip(own, (size_t)from));
        return;
    }
    for (size_t i = at + 1; i < end && i < at + 4; i++) {
        if (notice_is_expansion(lines->items[i].text)) {
            recipient->original = mail_address_first(lines->items[i].text);
            return;
        }
    }
}

/* "ann@example.org, bob@example.org: unknown": the addresses behind the first, with nothing but
 * separators between. */
static void add_same_line(const struct notice_line *line, struct recipient_list *list)
{
    const char *end = line->text.ptr + line->text.len;
    const char *from = line->address.ptr + line->address.len;
    struct slice rest = slice_of(from, (size_t)(end - from));
    struct slice address = SLICE_NULL;
    while (mail_address_next(&rest, &address)) {
        for (; from < address.ptr; from++) {
            if (strchr(" \t,;<>'\"", *from) == NULL) {
                return;
            }
        }
        from = address.ptr + address.len;
        size_t first = list->count - 1;
        struct returned_recipient *recipient =
            recipient_list_find(list, address) == NULL ? recipient_list_add(list) : NULL;
        if (recipient != NULL) {
            *recipient = list->items[first];
            recipient->address = address;
        }
    }
}

static void add_recipient(struct notice_lines *lines, size_t at, struct recipient_list *list)
{
    struct returned_recipient *recipient = recipient_list_add(list);
    if (recipient == NULL) {
        return;
    }
    size_t end = notice_block_end(lines, at);
    recipient->address = lines->items[at].address;
    set_expansion(lines, at, end, recipient);
    recipient->notice = notice_text_of(list->arena, lines, at, end);
    recipient->text = notice_reply(list->arena, recipient->notice);
    status_read_text(recipient);
    if (recipient->remote_mta.len == 0) {
        recipient->remote_mta = status_find_host(recipient->notice);
    }
    if (recipient->phase == RETURNED_PHASE_UNKNOWN) {
        recipient->phase = status_find_phase(recipient->notice);
    }
    if (lines->items[at].strength >= NAMED) {
        add_same_line(&lines->items[at], list);
    }
}

/* True if an earlier line that is taken has the same address; a bounded look back keeps long lists
 * linear. */
static bool taken_before(const struct notice_lines *lines, size_t at)
{
    size_t from = at > 200 ? at - 200 : 0;
    for (size_t i = from; i < at; i++) {
        if (lines->items[i].taken &&
            mail_address_eq(lines->items[i].address, lines->items[at].address)) {
            return true;
        }
    }
    return false;
}

/* Recipients that X-Failed-Recipients names (Exim writes at most 1024 bytes of them); their texts
 * where the notice names them too. */
static void read_failed(struct notice_lines *lines, struct slice failed,
                        struct recipient_list *list)
{
    struct slice address = SLICE_NULL;
    for (int n = 0; n < RECIPIENT_SEARCH_MAX && mail_address_next(&failed, &address); n++) {
        size_t found = lines->count;
        for (size_t i = 0; i < lines->count; i++) {
            struct notice_line *line = &lines->items[i];
            bool better = found == lines->count || line->strength > lines->items[found].strength;
            if (mail_address_eq(line->address, address) && better) {
                found = i;
            }
        }
        if (found < lines->count) {
            lines->items[found].taken = true;
        } else if (recipient_list_find(list, address) == NULL) {
            struct returned_recipient *recipient = recipient_list_add(list);
            if (recipient != NULL) {
                recipient->address = address;
            }
        }
    }
}

unsigned notice_read(struct slice notice, const struct notice_context *context,
                     struct recipient_list *list)
{
    struct notice_lines lines = notice_lines_read(list->arena, notice, context);
    unsigned best = 0;
    if (context->failed.len > 0) {
        read_failed(&lines, context->failed, list);
        best = ALONE;
    } else {
        for (size_t i = 0; i < lines.count; i++) {
            best = lines.items[i].strength > best ? lines.items[i].strength : best;
        }
        unsigned least = best >= IN_FRONT ? IN_FRONT : best;
        for (size_t i = 0; i < lines.count && best > 1; i++) {
            lines.items[i].taken = lines.items[i].strength >= least && !taken_before(&lines, i);
        }
    }
    for (size_t i = 0; i < lines.count; i++) {
        if (lines.items[i].taken) {
            add_recipient(&lines, i, list);
        }
    }
    return best;
}

struct slice notice_text_for(struct arena *arena, struct slice notice, struct slice address)
{
    struct notice_context context = {0};
    struct notice_lines lines = notice_lines_read(arena, notice, &context);
    size_t found = lines.count;
    for (size_t i = 0; i < lines.count; i++) {
        struct notice_line *line = &lines.items[i];
        line->taken = line->strength >= IN_FRONT && !mail_address_eq(line->address, address);
        if (mail_address_eq(line->address, address) &&
            (found == lines.count || line->strength > lines.items[found].strength)) {
            found = i;
        }
    }
    if (found < lines.count) {
        lines.items[found].taken = true;
        return notice_text_of(arena, &lines, found, notice_block_end(&lines, found));
    }
    struct notice_builder builder;
    builder.len = 0;
    notice_text_before(&lines, lines.count, &builder);
    return arena_copy(arena, notice_builder_text(&builder));
}

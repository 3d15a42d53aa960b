/*
 * What a delivery status report says, and what the notice beside it adds for recipients of whom the
 * report says little.
 */
#include "mail/returned_private.h"

#include "mail/address.h"
#include "mail/dsn.h"
#include "mail/notice.h"
#include "mail/original.h"
#include "mail/status.h"
#include "mail/words.h"

enum {
    DELAY_LOOK_MAX = 16384, /* bytes of a notice in which words of delay are looked for */
};

static bool read_dsn(struct reading *reading)
{
    struct dsn_message_fields message = {0};
    for (size_t i = 0; i < reading->tree.count; i++) {
        const struct mail_part *part = &reading->tree.parts[i];
        if (mail_part_is(part, "message/delivery-status") ||
            mail_part_is(part, "message/global-delivery-status")) {
            dsn_read(returned_fields_of(reading, part), &reading->list, &message);
        }
    }
    if (reading->list.count == 0) {
        struct slice fields = dsn_find_in_text(reading->text);
        if (fields.ptr != NULL) {
            dsn_read(fields, &reading->list, &message);
            if (fields.ptr >= reading->notice.ptr &&
                fields.ptr <= reading->notice.ptr + reading->notice.len) {
                reading->notice.len = (size_t)(fields.ptr - reading->notice.ptr);
            }
        }
    }
    reading->mail->reporting_mta = message.reporting_mta;
    /* A block without any address and text says nothing: the notice may say more. */
    size_t kept = 0;
    for (size_t i = 0; i < reading->list.count; i++) {
        struct returned_recipient *item = &reading->list.items[i];
        if (slice_find_byte(item->address, '@') < 0 && slice_find_byte(item->original, '@') >= 0) {
            item->address = item->original;
        }
        if (slice_find_byte(mail_address_domain(item->address), '.') < 0 &&
            slice_find_byte(mail_address_domain(item->original), '.') >= 0) {
            item->address =
                item->original; /* a name inside the remote system: "@gateway:user@server" */
        }
        if (item->address.len > 0) {
            reading->list.items[kept++] = *item;
        }
    }
    reading->list.count = kept;
    return kept > 0;
}

/* Text of the notice for recipients whose report block says nothing, and as a second opinion for
 * the others. */
static void fill_from_notice(struct reading *reading)
{
    for (size_t i = 0; i < reading->list.count && i < FILL_MAX; i++) {
        struct returned_recipient *item = &reading->list.items[i];
        bool telling = status_is_telling(item->text);
        item->text = notice_whole_reply(reading->arena, reading->notice, item->text);
        if (telling && item->status.len > 0 && reading->list.count > 4) {
            continue;
        }
        item->notice = notice_text_for(reading->arena, reading->notice, item->address);
        if (!telling && status_is_telling(item->notice)) {
            struct slice text = notice_reply(reading->arena, item->notice);
            item->text = text;
        }
    }
}

static enum returned_kind kind_of_actions(const struct recipient_list *list)
{
    bool delayed = false;
    bool delivered = false;
    for (size_t i = 0; i < list->count; i++) {
        switch (list->items[i].action) {
        case RETURNED_ACTION_FAILED:
        case RETURNED_ACTION_NONE: return RETURNED_BOUNCE;
        case RETURNED_ACTION_DELAYED: delayed = true; break;
        case RETURNED_ACTION_DELIVERED: delivered = true; break;
        }
    }
    return delayed ? RETURNED_DELAYED : delivered ? RETURNED_DELIVERED : RETURNED_BOUNCE;
}

/* A local name: of the returned message's recipient when that begins so, else a user of the
 * reporting host. */
static struct slice with_domain(struct reading *reading, struct slice name)
{
    struct slice known = original_recipient(reading->arena, reading->returned);
    struct slice host = reading->mail->reporting_mta;
    if (slice_eq_nocase(mail_address_local(known), name)) {
        return known;
    }
    char *out = arena_try_alloc(reading->arena, name.len + host.len + 2);
    if (out == NULL || name.len == 0 || slice_find_byte(host, '.') < 0 ||
        slice_find_byte(name, ' ') >= 0 || slice_find_byte(name, '/') >= 0) {
        return name;
    }
    CHECK(name.ptr != NULL && host.ptr != NULL);
    memcpy(out, name.ptr, name.len);
    out[name.len] = '@';
    memcpy(out + name.len + 1, host.ptr, host.len);
    out[name.len + 1 + host.len] = '\0';
    return slice_of(out, name.len + 1 + host.len);
}

static void finish_dsn(struct reading *reading)
{
    struct recipient_list *list = &reading->list;
    struct slice lower = words_plain(reading->arena, slice_head(reading->notice, DELAY_LOOK_MAX));
    bool warning = slice_find(reading->fields.subject_lower, SLICE("delay")) >= 0 ||
                   (words_in(WORDS_DELAY, lower) && !words_in(WORDS_FINAL, lower));
    for (size_t i = 0; i < list->count; i++) {
        struct returned_recipient *item = &list->items[i];
        if (item->action == RETURNED_ACTION_NONE) {
            bool success = item->status.len > 0 && item->status.ptr[0] == '2';
            item->action = success                       ? RETURNED_ACTION_DELIVERED
                           : warning || item->will_retry ? RETURNED_ACTION_DELAYED
                                                         : RETURNED_ACTION_FAILED;
        }
        item->reporting_mta = reading->mail->reporting_mta;
        if (slice_find_byte(item->address, '@') < 0 && i < FILL_MAX) {
            item->address = with_domain(reading, item->address);
        }
        if (mail_address_eq(item->original, item->address)) {
            item->original = SLICE_NULL;
        }
    }
    fill_from_notice(reading);
    for (size_t i = 0; i < list->count; i++) {
        status_read_text(&list->items[i]);
    }
    reading->mail->kind = kind_of_actions(list);
}

bool returned_read_dsn(struct reading *reading)
{
    bool found = read_dsn(reading);
    if (found) {
        finish_dsn(reading);
    }
    return found;
}

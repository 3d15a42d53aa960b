/*
 * See feedback.h. Fields of RFC 5965 3, RFC 6591 3.1, RFC 9477 3; Removal-Recipient is Yahoo's
 * older name for the recipient, Original-Recipient and Final-Recipient stand in reports of systems
 * that mix the two formats.
 */
#include "mail/feedback.h"

#include "mail/address.h"
#include "mail/header.h"

enum { FEEDBACK_VALUE_MAX = 1024 };

static bool is_recipient_field(struct slice name)
{
    static const char *const NAMES[] = {"Original-Rcpt-To", "Removal-Recipient",
                                        "Original-Recipient", "Final-Recipient",
                                        "Redacted-Address"};
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if (slice_eq_nocase(name, slice_cstr(NAMES[i]))) {
            return true;
        }
    }
    return false;
}

static void add_recipients(struct slice value, struct recipient_list *list)
{
    struct slice address = SLICE_NULL;
    while (mail_address_next(&value, &address)) {
        if (recipient_list_find(list, address) == NULL) {
            struct returned_recipient *recipient = recipient_list_add(list);
            if (recipient == NULL) {
                return;
            }
            recipient->address = address;
        }
    }
}

void feedback_read(struct slice fields, struct recipient_list *list, struct feedback *feedback)
{
    struct mail_field field;
    while (mail_field_next(&fields, &field)) {
        struct slice value = mail_unfold(list->arena, slice_head(field.value, FEEDBACK_VALUE_MAX));
        if (slice_eq_nocase(field.name, SLICE("Feedback-Type"))) {
            feedback->type = value;
        } else if (slice_eq_nocase(field.name, SLICE("Original-Mail-From"))) {
            feedback->mail_from = mail_address_first(value);
        } else if (slice_eq_nocase(field.name, SLICE("Reporting-MTA"))) {
            ptrdiff_t semicolon = slice_find_byte(value, ';');
            feedback->reporting_mta =
                slice_trim(semicolon < 0 ? value : slice_skip(value, (size_t)semicolon + 1));
        } else if (slice_eq_nocase(field.name, SLICE("Original-Message-ID")) ||
                   slice_eq_nocase(field.name, SLICE("Message-ID"))) {
            feedback->message_id = value;
        } else if (is_recipient_field(field.name)) {
            add_recipients(value, list);
        }
    }
}

enum returned_kind feedback_kind(struct slice type)
{
    if (slice_starts_with_nocase(type, SLICE("auth-failure")) ||
        slice_starts_with_nocase(type, SLICE("dmarc"))) {
        return RETURNED_AUTH_REPORT;
    }
    if (slice_starts_with_nocase(type, SLICE("opt-out"))) {
        return RETURNED_OPT_OUT;
    }
    if (slice_starts_with_nocase(type, SLICE("not-spam"))) {
        return RETURNED_NOT_A_BOUNCE;
    }
    return RETURNED_COMPLAINT;
}

/*
 * See original.h. Feedback-ID is "campaign:customer:mail type:sender" (Google's Feedback Loop
 * documentation).
 */
#include "mail/original.h"

#include "mail/address.h"
#include "mail/decode.h"
#include "mail/header.h"

static void set(struct slice *field, struct slice value)
{
    if (field->len == 0) {
        *field = value;
    }
}

static void read_feedback_id(struct slice value, struct returned_original *original)
{
    set(&original->feedback_id, value);
    struct slice rest = value;
    struct slice campaign = slice_cut(&rest, ':');
    struct slice customer = slice_cut(&rest, ':');
    if (rest.ptr != NULL) { /* four parts, else it means something else */
        set(&original->campaign, campaign);
        set(&original->tenant, customer);
    }
}

/* X-Sluice-Tenant and -Campaign win over the Feedback-ID whatever the order. */
static void read_own_fields(struct arena *arena, struct slice header,
                            struct returned_original *original)
{
    struct slice rest = header;
    struct mail_field field;
    while (mail_field_next(&rest, &field)) {
        if (!slice_starts_with_nocase(field.name, SLICE("X-Sluice-"))) {
            continue;
        }
        struct slice name = slice_skip(field.name, 9);
        if (slice_eq_nocase(name, SLICE("Tenant"))) {
            set(&original->tenant, mail_unfold(arena, field.value));
        } else if (slice_eq_nocase(name, SLICE("Campaign"))) {
            set(&original->campaign, mail_unfold(arena, field.value));
        } else if (slice_eq_nocase(name, SLICE("List"))) {
            set(&original->list, mail_unfold(arena, field.value));
        }
    }
}

void original_read(struct arena *arena, struct slice header, struct returned_original *original)
{
    struct slice rest = header;
    struct mail_field field;
    read_own_fields(arena, header, original);
    while (mail_field_next(&rest, &field)) {
        switch (ascii_lower_byte(field.name.ptr[0])) {
        case 'm':
            if (slice_eq_nocase(field.name, SLICE("Message-ID"))) {
                set(&original->message_id, mail_unfold(arena, field.value));
            }
            break;
        case 'f':
            if (slice_eq_nocase(field.name, SLICE("From"))) {
                set(&original->from, mail_address_first(mail_unfold(arena, field.value)));
            } else if (slice_eq_nocase(field.name, SLICE("Feedback-ID"))) {
                read_feedback_id(mail_unfold(arena, field.value), original);
            }
            break;
        case 't':
            if (slice_eq_nocase(field.name, SLICE("To"))) {
                struct slice to = mail_unfold(arena, field.value);
                struct slice address = SLICE_NULL;
                set(&original->to, mail_address_next(&to, &address) ? address : SLICE_NULL);
            }
            break;
        case 'l':
            if (slice_eq_nocase(field.name, SLICE("List-Unsubscribe"))) {
                set(&original->unsubscribe, mail_unfold(arena, field.value));
            }
            break;
        case 's':
            if (slice_eq_nocase(field.name, SLICE("Subject"))) {
                set(&original->subject, mail_decode_words(arena, mail_unfold(arena, field.value)));
            }
            break;
        case 'r':
            if (slice_eq_nocase(field.name, SLICE("Return-Path"))) {
                set(&original->return_path, mail_address_first(mail_unfold(arena, field.value)));
            }
            break;
        case 'x':
            if (slice_eq_nocase(field.name, SLICE("X-Envelope-From"))) {
                set(&original->return_path, mail_address_first(mail_unfold(arena, field.value)));
            } else if (slice_eq_nocase(field.name, SLICE("X-Feedback-ID"))) {
                read_feedback_id(mail_unfold(arena, field.value), original);
            }
            break;
        default: /* a letter, no enum */ break;
        }
    }
}

/* The address behind " for " in a Received field (RFC 5321 4.4). */
static struct slice received_for(struct slice value)
{
    while (value.ptr != NULL && value.len > 0) {
        ptrdiff_t at = slice_find(value, SLICE("for "));
        if (at < 0) {
            return SLICE_NULL;
        }
        bool word = at > 0 && strchr(" \t\r\n", value.ptr[at - 1]) != NULL;
        value = slice_skip(value, (size_t)at + 4);
        struct slice target = slice_trim(value);
        size_t n = 0;
        while (n < target.len && strchr(" \t\r\n;", target.ptr[n]) == NULL) {
            n++;
        }
        struct slice rest = slice_head(target, n);
        struct slice address = SLICE_NULL;
        if (word && mail_address_next(&rest, &address)) {
            return address;
        }
    }
    return SLICE_NULL;
}

/* The one address of a To field; SLICE_NULL when it names several. */
static struct slice only_address(struct slice value)
{
    struct slice first = SLICE_NULL;
    struct slice next = SLICE_NULL;
    if (!mail_address_next(&value, &first)) {
        return SLICE_NULL;
    }
    while (mail_address_next(&value, &next)) {
        if (!mail_address_eq(first, next)) {
            return SLICE_NULL;
        }
    }
    return first;
}

/* The first of the fields that names one address alone. */
static struct slice first_of(struct arena *arena, struct slice header, const char *const *names,
                             size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct slice address = only_address(mail_header_get(arena, header, names[i]));
        if (address.len > 0) {
            return address;
        }
    }
    return SLICE_NULL;
}

struct slice original_recipient(struct arena *arena, struct slice header)
{
    static const char *const SURE[] = {"X-Failed-Recipients", "X-Actual-Recipient", "X-Envelope-To",
                                       "Envelope-To"};
    static const char *const LIKELY[] = {"To", "X-Original-To", "Delivered-To"};
    struct slice address = first_of(arena, header, SURE, sizeof(SURE) / sizeof(SURE[0]));
    struct slice rest = header;
    struct mail_field field;
    /* The topmost Received fields are of the system that failed; what Delivered-To and To say is
     * older. */
    for (int i = 0; i < 3 && address.len == 0 && mail_field_next(&rest, &field);) {
        if (slice_eq_nocase(field.name, SLICE("Received"))) {
            address = received_for(field.value);
            i++;
        }
    }
    return address.len > 0 ? address
                           : first_of(arena, header, LIKELY, sizeof(LIKELY) / sizeof(LIKELY[0]));
}

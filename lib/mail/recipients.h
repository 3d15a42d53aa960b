/*
 * The growing list of recipients of one report. Its memory is the report's arena; at most
 * RETURNED_RECIPIENTS_MAX.
 */
#ifndef SLUICE_MAIL_RECIPIENTS_H
#define SLUICE_MAIL_RECIPIENTS_H

#include "mail/returned.h"

struct recipient_list {
    struct arena *arena;
    struct returned_recipient *items;
    size_t count;
    size_t capacity;
    bool cut; /* the bound or the arena's end was met */
};

/* A zeroed new last element; NULL past the bound. The pointer is good until the next call. */
struct returned_recipient *recipient_list_add(struct recipient_list *list);

/* The element of this address (mail_address_eq), NULL without one. Looks at no more than
 * `RECIPIENT_SEARCH_MAX`, so that reports of thousands stay linear. */
struct returned_recipient *recipient_list_find(const struct recipient_list *list,
                                               struct slice address);

enum { RECIPIENT_SEARCH_MAX = 64 };

#endif

/*
 * See recipients.h.
 */
#include "mail/recipients.h"

#include "mail/address.h"

struct returned_recipient *recipient_list_add(struct recipient_list *list)
{
    if (list->count == RETURNED_RECIPIENTS_MAX) {
        list->cut = true;
        return NULL;
    }
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 4 : list->capacity * 2;
        struct returned_recipient *items = arena_try_alloc(list->arena, capacity * sizeof(*items));
        if (items == NULL) {
            list->cut = true;
            return NULL;
        }
        if (list->count > 0) {
            memcpy(items, list->items, list->count * sizeof(*items));
        }
        list->items = items;
        list->capacity = capacity;
    }
    struct returned_recipient *item = &list->items[list->count++];
    *item = (struct returned_recipient){0};
    return item;
}

struct returned_recipient *recipient_list_find(const struct recipient_list *list,
                                               struct slice address)
{
    size_t count = list->count < RECIPIENT_SEARCH_MAX ? list->count : RECIPIENT_SEARCH_MAX;
    for (size_t i = 0; i < count; i++) {
        if (mail_address_eq(list->items[i].address, address)) {
            return &list->items[i];
        }
    }
    return NULL;
}

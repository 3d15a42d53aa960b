/*
 * Intrusive doubly linked list with a sentinel. An element is on at most one list by each of its
 * nodes; a node that is on no list has next == NULL, so list_linked() is true exactly while it is
 * on one.
 */
#ifndef SLUICE_BASE_LIST_H
#define SLUICE_BASE_LIST_H

#include "base/check.h"

struct list {
    struct list *next;
    struct list *prev;
};

static inline void list_init(struct list *head)
{
    head->next = head;
    head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_linked(const struct list *node)
{
    return node->next != NULL;
}

static inline void list_insert_between(struct list *node, struct list *prev, struct list *next)
{
    CHECK(node->next == NULL);
    node->prev = prev;
    node->next = next;
    prev->next = node;
    next->prev = node;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    list_insert_between(node, head->prev, head);
}

static inline void list_push_front(struct list *head, struct list *node)
{
    list_insert_between(node, head, head->next);
}

/* Takes NULL-safe unlinked nodes too: then it does nothing. */
static inline void list_remove(struct list *node)
{
    if (node->next == NULL) {
        return;
    }
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = NULL;
    node->prev = NULL;
}

/* First node, removed; NULL when empty. */
static inline struct list *list_pop_front(struct list *head)
{
    if (list_empty(head)) {
        return NULL;
    }
    struct list *node = head->next;
    list_remove(node);
    return node;
}

/* All nodes of `from` go behind those of `to`; `from` is empty afterwards. */
static inline void list_append_all(struct list *to, struct list *from)
{
    if (list_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define list_foreach(node, head)                                                                   \
    for (struct list * (node) = (head)->next; (node) != (head); (node) = (node)->next)

/* The current node may be removed (or freed) in the body. */
#define list_foreach_safe(node, after, head)                                                       \
    for (struct list * (node) = (head)->next, *(after) = (node)->next; (node) != (head);           \
         (node) = (after), (after) = (node)->next)

#endif

/*
 * Looks for messages in the partitions where they must be, from a time on to the end, in a thread
 * of its own: where is the record whose header HEADER_ID says so? Private to this folder.
 */
#ifndef SLUICE_ONCE_SEARCH_H
#define SLUICE_ONCE_SEARCH_H

#include "io/mailbox.h"
#include "kafka/properties.h"

struct once_search;

struct once_item {
    struct list node;
    void *owner; /* the caller's; NULL: nobody wants it any more */
    bool expired;
    char *id, *key;
    bool found;
    int32_t partition;
    int64_t offset;
};

/* `letter` comes to the mailbox when it has ended. */
struct once_search *once_search_create(const struct kafka_properties *properties,
                                       struct slice topic, int64_t from_ms);
struct once_item *once_search_add(struct once_search *search, struct slice id, struct slice key,
                                  void *owner);
/* False: no thread. */
bool once_search_start(struct once_search *search, struct mailbox *mailbox, struct fault *fault);
/* From any thread: it ends soon, incomplete. */
void once_search_stop(struct once_search *search);

/* Until the thread has ended; its letter is in the mailbox then. */
void once_search_wait(struct once_search *search);

struct once_search *once_search_of(struct letter *letter);
size_t once_search_count(const struct once_search *search);
/* Of struct once_item. */
struct list *once_search_items(struct once_search *search);
/* Has read to the end: what was not found is not there. */
bool once_search_complete(const struct once_search *search);
/* After its letter came, or if it was not started. Nulls the pointer. */
void once_search_free(struct once_search **search);

#endif

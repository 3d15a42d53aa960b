/*
 * Which server a key is on. Every key of ours carries one of a few hash tags ("{3}"), and what has
 * the same tag is on the same server, wherever that is: one server has the only tag, several
 * independent ones have one each, and the slots of a Redis Cluster's tags lie evenly over all
 * slots, wherever those move. Nobody else knows about servers: an owner asks for the way of a tag,
 * and hears when it is open and when not. One connection for each server that has a tag. Private to
 * this folder.
 *
 * The number of tags, and of independent servers their order too, is part of a key's name: who
 * shares keys must have the same.
 */
#ifndef SLUICE_REDIS_TAGS_H
#define SLUICE_REDIS_TAGS_H

#include "redis/link.h"

struct redis_tags;
struct redis_tag;

struct redis_tag_owner {
    /* Also when it was open already, and from now on leads to another server. */
    void (*up)(struct redis_tag_owner *owner);
    /* Also after a first attempt that failed; never twice without up() in between. */
    void (*down)(struct redis_tag_owner *owner);
};

/* The options are copied; the script's text must outlive it. NULL: fault says what is wrong with
 * them, or with a file of TLS. Nothing is told before every tag's owner is set, and that from the
 * loop only. */
struct redis_tags *redis_tags_create(struct io_loop *loop, const struct redis_options *options,
                                     struct slice script, struct fault *fault);
/* Waits at most wait_ms for the replies to what was sent, then ends all calls and frees. Not from a
 * callback of it. */
void redis_tags_free(struct redis_tags **tags, int64_t wait_ms);

size_t redis_tags_count(const struct redis_tags *tags);
struct redis_tag *redis_tags_at(struct redis_tags *tags, size_t i);
/* Which tag a key is to have. */
size_t redis_tags_of(const struct redis_tags *tags, struct slice key);
/* Calls made since it was created, for measuring. */
uint64_t redis_tags_calls(const struct redis_tags *tags);

void redis_tag_own(struct redis_tag *tag, struct redis_tag_owner *owner);
/* As it stands in keys, with the braces. */
const char *redis_tag_text(const struct redis_tag *tag);
enum redis_way { REDIS_WAY_UNKNOWN, REDIS_WAY_UP, REDIS_WAY_DOWN };
enum redis_way redis_tag_way(const struct redis_tag *tag);
bool redis_tag_is_up(const struct redis_tag *tag);
/* Which server it leads to (its run id), while it is up. */
struct slice redis_tag_server(const struct redis_tag *tag);

/* As redis_link_call(); all keys must have the tag. A call that is lost may have met a server that
 * has not got the tag any more. */
void redis_tag_call(struct redis_tag *tag, struct redis_call *call, size_t keys,
                    const struct slice *args, size_t count);

#endif

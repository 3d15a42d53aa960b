/*
 * A Redis Cluster: which server has the slot of each tag, by CLUSTER SLOTS of any of them. It is
 * asked at the start, when a server says that a slot has moved, when a link breaks until every tag
 * has a server again, and every 30 s. Connections stand to masters that have a tag; while none
 * stands, the servers that are known (the options', masters, replicas) are tried one after the
 * other.
 */
#include "redis/tags_private.h"

#include "base/log.h"
#include "base/mem.h"

#define LOOK_SOON_MS 50
#define LOOK_MOST_MS 1000
#define LOOK_IDLE_MS 30000

static bool all_open(const struct redis_tags *tags)
{
    for (size_t i = 0; i < tags->count; i++) {
        if (tags->items[i].server == NULL || !server_is_up(tags->items[i].server)) {
            return false;
        }
    }
    return true;
}

/* Connections that found the way and serve no tag, and servers that are no more. */
static void tidy(struct redis_tags *tags)
{
    list_foreach_safe (node, after, &tags->servers) {
        struct server *server = CONTAINER_OF(node, struct server, node);
        if (server_has_tags(server)) {
            continue;
        }
        server_disconnect(server, 0);
        if (!server->named && !server->listed) {
            list_remove(&server->node);
            mem_free(server);
        }
    }
}

/* The next one in turn; each is asked, as one that is cut off from the others knows old things. */
static struct server *next_server(struct redis_tags *tags, bool up)
{
    list_foreach (node, &tags->servers) {
        struct server *server = CONTAINER_OF(node, struct server, node);
        if (up ? server_is_up(server) : server->link == NULL) {
            list_remove(node);
            list_push_back(&tags->servers, node);
            return server;
        }
    }
    return NULL;
}

static void on_look(struct timer *timer, struct mono_time now);

static void look_at(struct redis_tags *tags, struct mono_time when)
{
    tags->look_at = when;
    wheel_set(io_loop_wheel(tags->setup.loop), &tags->look, when, on_look);
}

static void on_look(struct timer *timer, struct mono_time now)
{
    struct redis_tags *tags = CONTAINER_OF(timer, struct redis_tags, look);
    CHECK_MAGIC(tags, TAGS_MAGIC);
    bool open = all_open(tags);
    if (open) {
        tidy(tags);
    }
    struct server *server = next_server(tags, true);
    if (server != NULL) {
        redis_link_ask_slots(server->link);
    } else if ((server = next_server(tags, false)) != NULL) {
        server_connect(server);
    }
    look_at(tags, mono_add_ms(now, open ? LOOK_IDLE_MS : tags->look_ms));
    tags->look_ms = open                               ? LOOK_SOON_MS
                    : tags->look_ms * 2 > LOOK_MOST_MS ? LOOK_MOST_MS
                                                       : tags->look_ms * 2;
}

void cluster_look(struct redis_tags *tags)
{
    struct mono_time soon = mono_add_ms(mono_now(), tags->look_ms);
    if (!tags->freeing && mono_before(soon, tags->look_at)) {
        look_at(tags, soon);
    }
}

static void lose_all(struct redis_tags *tags)
{
    for (size_t i = 0; i < tags->count; i++) {
        tag_lose(&tags->items[i]);
    }
}

void cluster_lost(struct redis_tags *tags)
{
    bool hope = false; /* some server has not been tried yet, or answers */
    list_foreach (node, &tags->servers) {
        const struct server *server = CONTAINER_OF(node, struct server, node);
        hope = hope || server->link == NULL || server_is_up(server);
    }
    if (!hope) {
        lose_all(tags);
    }
    cluster_look(tags);
}

void cluster_begin(struct redis_tags *tags)
{
    tags->look_ms = LOOK_SOON_MS;
    look_at(tags, mono_now());
}

void cluster_end(struct redis_tags *tags)
{
    wheel_cancel(io_loop_wheel(tags->setup.loop), &tags->look);
}

static struct server *listed_server(struct redis_tags *tags, const struct server *teller,
                                    struct redis_place *place)
{
    if (place->host[0] == '\0') {
        memcpy(place->host, teller->place.host, sizeof(place->host));
    }
    struct server *server = tags_server(tags, place);
    server->listed = true;
    return server;
}

void cluster_on_slots(struct redis_link_owner *owner, const struct redisReply *reply)
{
    struct server *teller = CONTAINER_OF(owner, struct server, link_owner);
    struct redis_tags *tags = teller->tags;
    struct redis_range range;
    size_t at = 0;
    CHECK_MAGIC(tags, TAGS_MAGIC);
    if (tags->freeing) {
        return;
    }
    list_foreach (node, &tags->servers) {
        CONTAINER_OF(node, struct server, node)->listed = false;
    }
    while (redis_slots_next(reply, &at, &range)) {
        struct server *master = listed_server(tags, teller, &range.places[0]);
        for (size_t i = 1; i < range.place_count; i++) {
            (void)listed_server(tags, teller, &range.places[i]);
        }
        for (size_t i = 0; i < tags->count; i++) {
            struct redis_tag *tag = &tags->items[i];
            if (tag->slot >= range.first && tag->slot <= range.last) {
                tag_move(tag, master);
            }
        }
    }
    lose_all(tags); /* those whose slots nobody has */
}

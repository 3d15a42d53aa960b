/* What tags.c (ways and servers) and cluster.c (who has which slots) share. */
#ifndef SLUICE_REDIS_TAGS_PRIVATE_H
#define SLUICE_REDIS_TAGS_PRIVATE_H

#include "redis/tags.h"

#define TAGS_MAGIC 0x74616773u

struct server {
    struct list node; /* tags->servers */
    struct redis_tags *tags;
    struct redis_link *link; /* NULL: there is no need for one */
    struct redis_link_owner link_owner;
    struct redis_place place;
    bool named;  /* by the options: stays */
    bool listed; /* by the cluster, when it was asked last */
};

struct redis_tag {
    struct redis_tags *tags;
    struct redis_tag_owner *owner;
    struct server *server; /* NULL: not known */
    char text[8];
    uint16_t slot;
    enum redis_way way;
    struct timer rest; /* set: its server has just said "not now" */
    int64_t rest_ms;
    struct mono_time rested; /* when that was last */
};

struct redis_tags {
    uint32_t magic;
    struct redis_options options;
    struct redis_setup setup;
    struct redis_tag *items;
    size_t count;
    struct list servers;
    uint64_t calls; /* of links that are gone */
    bool freeing;

    /* A cluster. */
    struct timer look;
    struct mono_time look_at;
    int64_t look_ms; /* until the next look, doubling while it does not help */
};

static inline bool server_is_up(const struct server *server)
{
    return server->link != NULL && redis_link_is_up(server->link);
}

/* ---- tags.c ---- */
/* The one at that place; made when there is none. */
struct server *tags_server(struct redis_tags *tags, const struct redis_place *place);
/* So that it has a connection, or will have. */
void server_connect(struct server *server);
void server_disconnect(struct server *server, int64_t wait_ms);
bool server_has_tags(const struct server *server);
/* No server is known to have it. */
void tag_lose(struct redis_tag *tag);
/* From now on its keys are there. */
void tag_move(struct redis_tag *tag, struct server *server);

/* ---- cluster.c ---- */
void cluster_begin(struct redis_tags *tags);
void cluster_end(struct redis_tags *tags);
/* What is known of it is wrong, or has come to be: look soon. */
void cluster_look(struct redis_tags *tags);
/* A connection has gone, or there never was one. */
void cluster_lost(struct redis_tags *tags);
void cluster_on_slots(struct redis_link_owner *owner, const struct redisReply *reply);

#endif

/*
 * See link.h: what the replies mean, to the calls and to the link's own requests. All on the loop's
 * thread.
 */
#include "redis/link_private.h"

enum { MAX_REPLY = 2048 };

static bool all_integers(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements > MAX_REPLY) {
        return false;
    }
    for (size_t i = 0; i < reply->elements; i++) {
        if (reply->element[i]->type != REDIS_REPLY_INTEGER) {
            return false;
        }
    }
    return true;
}

static void take_values(struct redis_call *call, const redisReply *reply)
{
    int64_t values[MAX_REPLY];
    for (size_t i = 0; i < reply->elements; i++) {
        values[i] = reply->element[i]->integer;
    }
    link_end_call(call, values, reply->elements);
}

static void take_error(struct redis_link *link, struct redis_call *call, const redisReply *reply)
{
    struct redis_place place;
    enum redis_astray why = link->setup->options->cluster
                                ? redis_astray_parse(slice_of(reply->str, reply->len), &place)
                                : REDIS_ASTRAY_NOT;
    if (why != REDIS_ASTRAY_NOT) {
        link->owner->astray(link->owner, call, why, &place);
    } else if (strncmp(reply->str, "NOSCRIPT", 8) == 0) {
        if (!link->reloading) {
            link->reloading = true;
            link_load_script(link, &link->unsent);
        }
        link_end_call(call, NULL, 0);
    } else {
        link_end_call(call, NULL, 0);
        link_give_up(link, reply->str);
    }
}

/* Which server it is, and whether it is of the kind that was told. */
static void take_info(struct redis_link *link, const redisReply *reply)
{
    struct slice info = slice_of(reply->str, reply->len);
    struct slice value;
    bool cluster = link->setup->options->cluster;
    (void)snprintf(link->server, sizeof(link->server), "-");
    if (redis_info_find(info, SLICE("run_id"), &value) && value.len > 0) {
        (void)snprintf(link->server, sizeof(link->server), "%.*s", SLICE_FMT(value));
    }
    if (redis_info_find(info, SLICE("redis_mode"), &value) &&
        slice_eq(value, SLICE("cluster")) != cluster) {
        link_give_up(link, cluster ? "it is not a node of a Redis Cluster"
                                   : "it is a node of a Redis Cluster (redis.cluster is not true)");
    }
}

static void take_sha(struct redis_link *link, const redisReply *reply)
{
    link->reloading = false;
    if (reply->len != SHA_LEN) {
        link_give_up(link, "SCRIPT LOAD: not a hash");
        return;
    }
    memcpy(link->sha, reply->str, SHA_LEN);
    if (link->state == LINK_CONNECTING) {
        link_come_up(link);
    }
}

/* A reply to a request of the link's own; its memory is gone already. */
static void take_own(struct redis_link *link, int kind, const redisReply *reply)
{
    static const int types[] = {[KIND_OK] = REDIS_REPLY_STATUS,
                                [KIND_INFO] = REDIS_REPLY_STRING,
                                [KIND_LOAD] = REDIS_REPLY_STRING,
                                [KIND_SLOTS] = REDIS_REPLY_ARRAY};
    if (reply->type != types[kind]) {
        link_give_up(link,
                     reply->type == REDIS_REPLY_ERROR ? reply->str : "a reply of unknown form");
    } else if (kind == KIND_INFO) {
        take_info(link, reply);
    } else if (kind == KIND_LOAD) {
        take_sha(link, reply);
    } else if (kind == KIND_SLOTS) {
        link->owner->slots(link->owner, reply);
    }
}

static void take_reply(struct redis_link *link, const redisReply *reply)
{
    struct list *node = list_pop_front(&link->awaiting);
    if (node == NULL) {
        /* "max number of clients reached", before we said anything */
        link_give_up(link, reply->type == REDIS_REPLY_ERROR ? reply->str : "a reply to nothing");
        return;
    }
    struct redis_call *call = CONTAINER_OF(node, struct redis_call, node);
    link->grace = false;
    if (call->kind != KIND_CALL) {
        int kind = call->kind;
        link_end_call(call, NULL, 0);
        take_own(link, kind, reply);
    } else if (all_integers(reply)) {
        take_values(call, reply);
    } else if (reply->type == REDIS_REPLY_ERROR) {
        take_error(link, call, reply);
    } else {
        link_end_call(call, NULL, 0);
        link_give_up(link, "a reply of unknown form");
    }
}

size_t link_take_input(struct io_conn *conn, void *owner, struct slice bytes)
{
    struct redis_link *link = owner;
    CHECK_MAGIC(link, LINK_MAGIC);
    (void)redisReaderFeed(link->reader, bytes.ptr, bytes.len);
    while (link->conn == conn) {
        void *reply = NULL;
        if (redisReaderGetReply(link->reader, &reply) != REDIS_OK) {
            link_give_up(link, link->reader->errstr);
        } else if (reply == NULL) {
            break;
        } else {
            take_reply(link, reply);
            freeReplyObject(reply);
        }
    }
    return bytes.len;
}

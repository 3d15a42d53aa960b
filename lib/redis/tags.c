/* See tags.h. All on the loop's thread. */
#include "redis/tags_private.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

#define REST_LEAST_MS 50
#define REST_MOST_MS 1000
#define REST_OVER_US 5000000 /* after so long without one it begins anew */
#define HOPS_MOST 5

/* ---- ways ---- */

static void way_opens(struct redis_tag *tag)
{
    tag->way = REDIS_WAY_UP;
    tag->owner->up(tag->owner);
}

static void way_closes(struct redis_tag *tag)
{
    if (tag->way != REDIS_WAY_DOWN) {
        tag->way = REDIS_WAY_DOWN;
        tag->owner->down(tag->owner);
    }
}

static bool can_open(const struct redis_tag *tag)
{
    return tag->server != NULL && server_is_up(tag->server) && !timer_is_set(&tag->rest);
}

static void on_rested(struct timer *timer, struct mono_time now)
{
    struct redis_tag *tag = CONTAINER_OF(timer, struct redis_tag, rest);
    (void)now;
    CHECK_MAGIC(tag->tags, TAGS_MAGIC);
    if (can_open(tag)) {
        way_opens(tag);
    }
}

/* Its server cannot serve it just now: closed for a moment, longer each time. */
static void way_rests(struct redis_tag *tag)
{
    struct mono_time now = mono_now();
    if (timer_is_set(&tag->rest)) {
        return;
    }
    if (mono_since_us(now, tag->rested) > REST_OVER_US) {
        tag->rest_ms = REST_LEAST_MS;
    }
    tag->rested = mono_add_ms(now, tag->rest_ms);
    wheel_set(io_loop_wheel(tag->tags->setup.loop), &tag->rest, tag->rested, on_rested);
    tag->rest_ms = tag->rest_ms * 2 > REST_MOST_MS ? REST_MOST_MS : tag->rest_ms * 2;
    way_closes(tag);
}

void tag_lose(struct redis_tag *tag)
{
    if (tag->server == NULL) {
        way_closes(tag);
    }
}

void tag_move(struct redis_tag *tag, struct server *server)
{
    if (tag->server == server) {
        return;
    }
    log_debug("redis-moved", "tag=%s from=%s:%u to=%s:%u", tag->text,
              tag->server == NULL ? "" : tag->server->place.host,
              tag->server == NULL ? 0 : tag->server->place.port, server->place.host,
              server->place.port);
    tag->server = server;
    tag->rest_ms = REST_LEAST_MS;
    wheel_cancel(io_loop_wheel(tag->tags->setup.loop), &tag->rest);
    server_connect(server);
    if (can_open(tag)) {
        way_opens(tag);
    } else if (tag->way == REDIS_WAY_UP) {
        way_closes(tag);
    }
}

/* ---- servers ---- */

static void on_link_up(struct redis_link_owner *owner)
{
    struct server *server = CONTAINER_OF(owner, struct server, link_owner);
    struct redis_tags *tags = server->tags;
    CHECK_MAGIC(tags, TAGS_MAGIC);
    for (size_t i = 0; i < tags->count; i++) {
        struct redis_tag *tag = &tags->items[i];
        if (tag->server == server && can_open(tag)) {
            way_opens(tag);
        }
    }
    if (tags->options.cluster) {
        cluster_look(tags);
    }
}

static void on_link_down(struct redis_link_owner *owner)
{
    struct server *server = CONTAINER_OF(owner, struct server, link_owner);
    struct redis_tags *tags = server->tags;
    CHECK_MAGIC(tags, TAGS_MAGIC);
    for (size_t i = 0; i < tags->count; i++) {
        struct redis_tag *tag = &tags->items[i];
        if (tag->server == server) {
            way_closes(tag);
        }
    }
    if (tags->options.cluster) {
        cluster_lost(tags);
    }
}

/* To where the server sends it, if it can go there as it is. */
static void send_on(struct redis_call *call, struct server *to, bool asking)
{
    if (to != NULL && call->follows && call->hops++ < HOPS_MOST && !to->tags->freeing) {
        server_connect(to);
        redis_link_resend(to->link, call, asking);
    } else {
        redis_call_lost(call);
    }
}

static void on_astray(struct redis_link_owner *owner, struct redis_call *call,
                      enum redis_astray why, const struct redis_place *place)
{
    struct server *server = CONTAINER_OF(owner, struct server, link_owner);
    struct redis_tags *tags = server->tags;
    struct redis_tag *tag = call->tag;
    struct redis_place there;
    CHECK_MAGIC(tags, TAGS_MAGIC);
    if (why == REDIS_ASTRAY_MOVED || why == REDIS_ASTRAY_ASK) {
        there = *place;
        if (there.host[0] == '\0') {
            memcpy(there.host, server->place.host, sizeof(there.host));
        }
    }
    switch (why) {
    case REDIS_ASTRAY_MOVED:
        cluster_look(tags);
        /* One that was left before knows no better. */
        if (tag->server == server && !tags->freeing) {
            struct server *to = tags_server(tags, &there);
            send_on(call, to, false);
            tag_move(tag, to);
        } else {
            send_on(call, tag->server, false);
        }
        break;
    case REDIS_ASTRAY_ASK:
        if (call->follows) {
            send_on(call, tags_server(tags, &there), true);
        } else {
            redis_call_lost(call);
            way_rests(tag);
        }
        break;
    case REDIS_ASTRAY_DOWN:
        cluster_look(tags);
        redis_call_lost(call);
        way_rests(tag);
        break;
    case REDIS_ASTRAY_NOT:
    case REDIS_ASTRAY_LATER:
        redis_call_lost(call);
        way_rests(tag);
        break;
    }
}

struct server *tags_server(struct redis_tags *tags, const struct redis_place *place)
{
    list_foreach (node, &tags->servers) {
        struct server *server = CONTAINER_OF(node, struct server, node);
        if (server->place.port == place->port && strcmp(server->place.host, place->host) == 0) {
            return server;
        }
    }
    struct server *server = mem_zalloc(sizeof(*server));
    server->tags = tags;
    server->place = *place;
    server->link_owner = (struct redis_link_owner){
        .up = on_link_up, .down = on_link_down, .astray = on_astray, .slots = cluster_on_slots};
    list_push_back(&tags->servers, &server->node);
    return server;
}

void server_connect(struct server *server)
{
    if (server->link == NULL) {
        const char *host = server->place.port == 0 ? NULL : server->place.host;
        server->link =
            redis_link_create(&server->tags->setup, host, server->place.port, &server->link_owner);
    }
}

void server_disconnect(struct server *server, int64_t wait_ms)
{
    if (server->link != NULL) {
        server->tags->calls += redis_link_calls(server->link);
        redis_link_free(&server->link, wait_ms);
    }
}

bool server_has_tags(const struct server *server)
{
    for (size_t i = 0; i < server->tags->count; i++) {
        if (server->tags->items[i].server == server) {
            return true;
        }
    }
    return false;
}

/* ---- making ---- */

/* The least number whose slot lies in the i-th of `count` equal parts of all slots, so that the
 * masters of a cluster have about as many tags each. */
static void name_tag(struct redis_tag *tag, size_t i, size_t count)
{
    for (unsigned number = 0;; number++) {
        int len = snprintf(tag->text, sizeof(tag->text), "{%u}", number);
        CHECK(len > 0 && (size_t)len < sizeof(tag->text));
        tag->slot = redis_slot(slice_of(tag->text, (size_t)len));
        if (tag->slot * count / REDIS_SLOTS == i) {
            return;
        }
    }
}

static void add_tags(struct redis_tags *tags, size_t count)
{
    tags->count = count;
    tags->items = mem_calloc(count, sizeof(*tags->items));
    for (size_t i = 0; i < count; i++) {
        tags->items[i].tags = tags;
        tags->items[i].rest_ms = REST_LEAST_MS;
        name_tag(&tags->items[i], i, count);
    }
}

static bool name_server(struct redis_tags *tags, const struct redis_place *place, size_t i)
{
    struct server *server = tags_server(tags, place);
    server->named = true;
    if (!tags->options.cluster) {
        tags->items[i].server = server;
        server_connect(server);
    }
    return true;
}

/* The servers that the options name. */
static bool add_servers(struct redis_tags *tags, struct fault *fault)
{
    const struct redis_options *options = &tags->options;
    struct redis_place place = {.port = 0}; /* of unix_path */
    if (options->node_count == 0) {
        bool fits = options->unix_path != NULL ||
                    (strlen(options->host) < sizeof(place.host) && options->port != 0);
        if (!fits) {
            return fault_set(fault, FAULT_INVALID, 0, "redis: the host's name is too long");
        }
        if (options->unix_path == NULL) {
            memcpy(place.host, options->host, strlen(options->host) + 1);
            place.port = options->port;
        }
        return name_server(tags, &place, 0);
    }
    for (size_t i = 0; i < options->node_count; i++) {
        if (!redis_place_parse(slice_cstr(options->nodes[i]), REDIS_PORT, &place) ||
            place.host[0] == '\0') {
            return fault_set(fault, FAULT_INVALID, 0, "redis: node \"%s\": expected host:port",
                             options->nodes[i]);
        }
        (void)name_server(tags, &place, i);
    }
    return true;
}

static bool open_tls(struct redis_tags *tags, struct fault *fault)
{
    const struct redis_options *options = &tags->options;
    const struct tls_client_options how = {
        .verify = options->tls_verify ? TLS_VERIFY_NAME : TLS_VERIFY_NONE,
        .ca_file = options->ca_file,
        .certificate_file = options->certificate_file,
        .key_file = options->key_file,
    };
    if (!options->tls) {
        return true;
    }
    tags->setup.tls = tls_client_context(&how, fault);
    return tags->setup.tls != NULL || fault_prefix(fault, "redis");
}

struct redis_tags *redis_tags_create(struct io_loop *loop, const struct redis_options *options,
                                     struct slice script, struct fault *fault)
{
    if (!redis_options_check(options, fault)) {
        return NULL;
    }
    struct redis_tags *tags = mem_zalloc(sizeof(*tags));
    tags->magic = TAGS_MAGIC;
    redis_options_copy(&tags->options, options);
    tags->setup = (struct redis_setup){.loop = loop, .options = &tags->options, .script = script};
    list_init(&tags->servers);
    add_tags(tags, options->cluster          ? options->hash_tags
                   : options->node_count > 0 ? options->node_count
                                             : 1);
    if (!open_tls(tags, fault) || !add_servers(tags, fault)) {
        redis_tags_free(&tags, 0);
        return NULL;
    }
    if (options->cluster) {
        cluster_begin(tags);
    }
    return tags;
}

void redis_tags_free(struct redis_tags **handle, int64_t wait_ms)
{
    struct redis_tags *tags = *handle;
    if (tags == NULL) {
        return;
    }
    CHECK_MAGIC(tags, TAGS_MAGIC);
    tags->freeing = true;
    cluster_end(tags);
    struct mono_time deadline = mono_add_ms(mono_now(), wait_ms);
    list_foreach_safe (node, after, &tags->servers) {
        struct server *server = CONTAINER_OF(node, struct server, node);
        int64_t left_ms = mono_since_us(deadline, mono_now()) / 1000;
        server_disconnect(server, left_ms > 0 ? left_ms : 0);
    }
    struct list *node;
    while ((node = list_pop_front(&tags->servers)) != NULL) {
        mem_free(CONTAINER_OF(node, struct server, node));
    }
    for (size_t i = 0; i < tags->count; i++) {
        wheel_cancel(io_loop_wheel(tags->setup.loop), &tags->items[i].rest);
    }
    tls_context_free(&tags->setup.tls);
    redis_options_end(&tags->options);
    mem_free(tags->items);
    tags->magic = 0;
    mem_free(tags);
    *handle = NULL;
}

/* ---- for the owners ---- */

size_t redis_tags_count(const struct redis_tags *tags)
{
    return tags->count;
}

struct redis_tag *redis_tags_at(struct redis_tags *tags, size_t i)
{
    CHECK(i < tags->count);
    return &tags->items[i];
}

size_t redis_tags_of(const struct redis_tags *tags, struct slice key)
{
    return tags->count == 1 ? 0 : hash_stable(key) % tags->count;
}

uint64_t redis_tags_calls(const struct redis_tags *tags)
{
    uint64_t calls = tags->calls;
    list_foreach (node, &tags->servers) {
        const struct server *server = CONTAINER_OF(node, struct server, node);
        calls += server->link == NULL ? 0 : redis_link_calls(server->link);
    }
    return calls;
}

void redis_tag_own(struct redis_tag *tag, struct redis_tag_owner *owner)
{
    tag->owner = owner;
}

const char *redis_tag_text(const struct redis_tag *tag)
{
    return tag->text;
}

enum redis_way redis_tag_way(const struct redis_tag *tag)
{
    /* A link ends its calls before it says that it is down. */
    bool open = tag->way == REDIS_WAY_UP && server_is_up(tag->server);
    return open || tag->way != REDIS_WAY_UP ? tag->way : REDIS_WAY_DOWN;
}

bool redis_tag_is_up(const struct redis_tag *tag)
{
    return redis_tag_way(tag) == REDIS_WAY_UP;
}

struct slice redis_tag_server(const struct redis_tag *tag)
{
    CHECK(redis_tag_is_up(tag));
    return redis_link_server(tag->server->link);
}

void redis_tag_call(struct redis_tag *tag, struct redis_call *call, size_t keys,
                    const struct slice *args, size_t count)
{
    CHECK(redis_tag_is_up(tag));
    call->tag = tag;
    redis_link_call(tag->server->link, call, keys, args, count);
}

/* See once.h. A call is a block of its own that ends with its reply. */
#include "redis/once.h"

#include "base/mem.h"
#include "redis/tags.h"
#include "redis/script.h"

#include <inttypes.h>

#define ONCE_MAGIC 0x526f6e63u
#define KEEP_SECONDS "86400"
#define KEY_MAX 512
#define NUMBER_MAX 24
#define FREE_WAIT_MS 100
enum { ARGS = 6, REPLY = 4 };

struct redis_once {
    uint32_t magic;
    struct redis_tags *tags;
    struct redis_tag_owner tag_owner; /* of all tags */
    struct redis_once_owner *owner;
    char *prefix;
};

struct call {
    struct redis_call call;
    struct redis_once_ask *ask; /* NULL: nobody wants to know */
};

static void on_way(struct redis_tag_owner *owner)
{
    struct redis_once *once = CONTAINER_OF(owner, struct redis_once, tag_owner);
    CHECK_MAGIC(once, ONCE_MAGIC);
    once->owner->changed(once->owner);
}

struct redis_once *redis_once_create(struct io_loop *loop, const struct redis_options *options,
                                     struct redis_once_owner *owner, struct fault *fault)
{
    struct redis_tags *tags =
        redis_tags_create(loop, options, slice_of(redis_once_lua, redis_once_lua_len), fault);
    if (tags == NULL) {
        return NULL;
    }
    struct redis_once *once = mem_zalloc(sizeof(*once));
    once->magic = ONCE_MAGIC;
    once->owner = owner;
    once->tag_owner = (struct redis_tag_owner){.up = on_way, .down = on_way};
    once->prefix = mem_strdup(options->key_prefix);
    once->tags = tags;
    for (size_t i = 0; i < redis_tags_count(tags); i++) {
        redis_tag_own(redis_tags_at(tags, i), &once->tag_owner);
    }
    return once;
}

void redis_once_free(struct redis_once **handle)
{
    struct redis_once *once = *handle;
    if (once == NULL) {
        return;
    }
    CHECK_MAGIC(once, ONCE_MAGIC);
    redis_tags_free(&once->tags, FREE_WAIT_MS);
    once->magic = 0;
    mem_free(once->prefix);
    mem_free(once);
    *handle = NULL;
}

static struct redis_tag *tag_of(const struct redis_once *once, struct slice id)
{
    return redis_tags_at(once->tags, redis_tags_of(once->tags, id));
}

enum redis_once_way redis_once_way(const struct redis_once *once, struct slice id)
{
    switch (redis_tag_way(tag_of(once, id))) {
    case REDIS_WAY_UNKNOWN: break;
    case REDIS_WAY_UP: return REDIS_ONCE_UP;
    case REDIS_WAY_DOWN: return REDIS_ONCE_DOWN;
    }
    return REDIS_ONCE_UNKNOWN;
}

bool redis_once_is_up(const struct redis_once *once)
{
    bool up = true;
    for (size_t i = 0; i < redis_tags_count(once->tags); i++) {
        up = up && redis_tag_is_up(redis_tags_at(once->tags, i));
    }
    return up;
}

static void on_reply(struct redis_call *redis_call, const int64_t *values, size_t count)
{
    struct call *call = CONTAINER_OF(redis_call, struct call, call);
    struct redis_once_ask *ask = call->ask;
    struct redis_once_answer answer = {.state = REDIS_ONCE_LOST};
    mem_free(call);
    if (values != NULL && count == REPLY) {
        switch (values[0]) {
        case 0: answer.state = REDIS_ONCE_CLAIMED; break;
        case 1:
            answer.state = REDIS_ONCE_STORED;
            answer.partition = values[1];
            answer.offset = values[2];
            break;
        default:
            answer.state = REDIS_ONCE_PENDING;
            answer.token = values[1];
            answer.age_ms = values[2];
            answer.left_ms = values[3];
            break;
        }
    }
    if (ask != NULL) {
        ask->answered(ask, &answer);
    }
}

static void send_call(struct redis_once *once, struct redis_once_ask *ask, const char *op,
                      struct slice id, const int64_t numbers[3])
{
    CHECK_MAGIC(once, ONCE_MAGIC);
    char key[KEY_MAX];
    char texts[3][NUMBER_MAX];
    struct redis_tag *tag = tag_of(once, id);
    int len = snprintf(key, sizeof(key), "%s%s:once:%.*s", once->prefix, redis_tag_text(tag),
                       SLICE_FMT(id));
    CHECK(len > 0 && len < KEY_MAX);
    struct slice args[ARGS] = {slice_of(key, (size_t)len), slice_cstr(op), SLICE(KEEP_SECONDS)};
    for (size_t i = 0; i < 3; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%" PRId64, numbers[i]);
        args[i + 3] = slice_cstr(texts[i]);
    }
    struct call *call = mem_zalloc(sizeof(*call));
    call->call.done = on_reply;
    call->call.follows = true;
    call->ask = ask;
    redis_tag_call(tag, &call->call, 1, args, ARGS);
}

void redis_once_claim(struct redis_once *once, struct redis_once_ask *ask, struct slice id,
                      int64_t token, int64_t hold_ms, int64_t seen)
{
    send_call(once, ask, "claim", id, (const int64_t[]){token, hold_ms, seen});
}

void redis_once_done(struct redis_once *once, struct slice id, int64_t token, int64_t partition,
                     int64_t offset)
{
    send_call(once, NULL, "done", id, (const int64_t[]){token, partition, offset});
}

void redis_once_drop(struct redis_once *once, struct slice id, int64_t token)
{
    send_call(once, NULL, "drop", id, (const int64_t[]){token, 0, 0});
}

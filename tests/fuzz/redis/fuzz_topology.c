/*
 * What a Redis says about where keys are, as bytes of its protocol: errors, CLUSTER SLOTS, INFO.
 * Also checks what must hold of the results.
 */
#include "redis/topology.h"

#include <hiredis/hiredis.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_place(const struct redis_place *place)
{
    CHECK(place->port != 0 && memchr(place->host, '\0', sizeof(place->host)) != NULL);
}

static void read_slots(const redisReply *reply)
{
    struct redis_range range;
    size_t at = 0;
    while (redis_slots_next(reply, &at, &range)) {
        CHECK(range.first <= range.last && range.last < REDIS_SLOTS);
        CHECK(range.place_count >= 1 && range.place_count <= ARRAY_LEN(range.places));
        for (size_t i = 0; i < range.place_count; i++) {
            check_place(&range.places[i]);
        }
    }
}

static void read_text(struct slice text)
{
    struct redis_place place;
    struct slice value;
    enum redis_astray why = redis_astray_parse(text, &place);
    if (why == REDIS_ASTRAY_MOVED || why == REDIS_ASTRAY_ASK) {
        check_place(&place);
    }
    if (redis_place_parse(text, 6379, &place)) {
        check_place(&place);
    }
    CHECK(redis_slot(text) < REDIS_SLOTS);
    if (redis_info_find(text, SLICE("run_id"), &value) && value.len > 0) {
        CHECK(value.ptr >= text.ptr && value.ptr + value.len <= text.ptr + text.len);
    }
}

/* hiredis 0.14 asks for room for as many elements as an array announces, however few follow: pages
 * that nobody touches, but the fuzzer counts them. */
static bool announces_millions(const uint8_t *data, size_t size)
{
    size_t digits = 0;
    bool array = false;
    for (size_t i = 0; i < size; i++) {
        bool digit = data[i] >= '0' && data[i] <= '9';
        array = data[i] == '*' || (array && (digit || data[i] == '+'));
        digits = array && data[i] != '*' ? digits + 1 : 0;
        if (digits > 6) {
            return true;
        }
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (announces_millions(data, size)) {
        return 0;
    }
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    CHECK(reader != NULL);
    read_text(slice_of(data, size));
    (void)redisReaderFeed(reader, (const char *)data, size);
    while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply != NULL) {
        const redisReply *one = reply;
        read_slots(one);
        if (one->type == REDIS_REPLY_ERROR || one->type == REDIS_REPLY_STRING) {
            read_text(slice_of(one->str, one->len));
        }
        freeReplyObject(reply);
    }
    redisReaderFree(reader);
    return 0;
}

/*
 * What a Redis says about where keys are: slots (values from redis-cli CLUSTER KEYSLOT),
 * redirections, CLUSTER SLOTS as hiredis reads it, INFO. And the names of hash tags: evenly over
 * all slots.
 */
#include "redis/topology.h"

#include "redis/tags.h"

#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_slots(void **state)
{
    (void)state;
    assert_int_equal(redis_slot(SLICE("123456789")), 12739); /* 0x31c3 */
    assert_int_equal(redis_slot(SLICE("foo")), 12182);
    assert_int_equal(redis_slot(SLICE("")), 0);
    assert_int_equal(redis_slot(SLICE("a{foo}b{bar}")), 12182);
    assert_int_equal(redis_slot(SLICE("{foo")), redis_slot(SLICE("{foo")));
    assert_int_not_equal(redis_slot(SLICE("{foo")), 12182);
    assert_int_equal(redis_slot(SLICE("{}foo")), 9500); /* an empty tag is none */
    assert_int_equal(redis_slot(SLICE("sluice:{0}:epoch")), redis_slot(SLICE("0")));
}

static void test_places(void **state)
{
    struct redis_place place;
    (void)state;
    assert_true(redis_place_parse(SLICE("redis-1.example:7000"), 6379, &place));
    assert_string_equal(place.host, "redis-1.example");
    assert_int_equal(place.port, 7000);
    assert_true(redis_place_parse(SLICE("10.0.0.1"), 6379, &place));
    assert_int_equal(place.port, 6379);
    assert_true(redis_place_parse(SLICE("[2001:db8::1]:7000"), 6379, &place));
    assert_string_equal(place.host, "2001:db8::1");
    assert_int_equal(place.port, 7000);
    assert_true(redis_place_parse(SLICE("[2001:db8::1]"), 6379, &place));
    assert_string_equal(place.host, "2001:db8::1");
    assert_true(redis_place_parse(SLICE("2001:db8::1"), 6379, &place));
    assert_string_equal(place.host, "2001:db8::1");
    assert_int_equal(place.port, 6379);
    assert_true(redis_place_parse(SLICE("2001:db8::1:7000"), 0, &place)); /* as Redis writes it */
    assert_string_equal(place.host, "2001:db8::1");
    assert_int_equal(place.port, 7000);
    assert_true(redis_place_parse(SLICE(":7000"), 0, &place)); /* where it was said */
    assert_string_equal(place.host, "");
    assert_false(redis_place_parse(SLICE("a:0"), 6379, &place));
    assert_false(redis_place_parse(SLICE("a:65536"), 6379, &place));
    assert_false(redis_place_parse(SLICE("a:"), 6379, &place));
    assert_false(redis_place_parse(SLICE("a"), 0, &place));
    assert_false(redis_place_parse(SLICE("a b:1"), 6379, &place));
    assert_false(redis_place_parse(SLICE("?:1"), 6379, &place));
}

static void test_redirections(void **state)
{
    struct redis_place place;
    (void)state;
    assert_int_equal(redis_astray_parse(SLICE("MOVED 3999 127.0.0.1:6381"), &place),
                     REDIS_ASTRAY_MOVED);
    assert_string_equal(place.host, "127.0.0.1");
    assert_int_equal(place.port, 6381);
    assert_int_equal(redis_astray_parse(SLICE("ASK 16383 ::1:6381"), &place), REDIS_ASTRAY_ASK);
    assert_string_equal(place.host, "::1");
    assert_int_equal(redis_astray_parse(SLICE("MOVED 0 :6381"), &place), REDIS_ASTRAY_MOVED);
    assert_string_equal(place.host, "");
    assert_int_equal(redis_astray_parse(SLICE("TRYAGAIN Multiple keys request"), &place),
                     REDIS_ASTRAY_LATER);
    assert_int_equal(redis_astray_parse(SLICE("CLUSTERDOWN The cluster is down"), &place),
                     REDIS_ASTRAY_DOWN);
    const char *const others[] = {"",
                                  "MOVED",
                                  "MOVED 16384 127.0.0.1:6381",
                                  "MOVED x 127.0.0.1:6381",
                                  "MOVED 1 127.0.0.1",
                                  "MOVED 1 127.0.0.1:x",
                                  "moved 1 127.0.0.1:1",
                                  "READONLY You can't write against a read only replica."};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_int_equal(redis_astray_parse(slice_cstr(others[i]), &place), REDIS_ASTRAY_NOT);
    }
}

static redisReply *reply_of(const char *bytes)
{
    void *reply = NULL;
    redisReader *reader = redisReaderCreate();
    assert_int_equal(redisReaderFeed(reader, bytes, strlen(bytes)), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    assert_non_null(reply);
    redisReaderFree(reader);
    return reply;
}

static void test_cluster_slots(void **state)
{
    struct redis_range range;
    size_t at = 0;
    (void)state;
    /* A master with a replica; an entry of another form; one whose server does not say its host. */
    redisReply *reply = reply_of("*3\r\n"
                                 "*4\r\n:0\r\n:5460\r\n"
                                 "*4\r\n$9\r\n127.0.0.1\r\n:7000\r\n$1\r\na\r\n*0\r\n"
                                 "*3\r\n$9\r\n127.0.0.1\r\n:7003\r\n$1\r\nd\r\n"
                                 "*2\r\n:1\r\n:2\r\n"
                                 "*3\r\n:5461\r\n:16383\r\n*3\r\n$-1\r\n:7001\r\n$1\r\nb\r\n");
    assert_true(redis_slots_next(reply, &at, &range));
    assert_int_equal(range.first, 0);
    assert_int_equal(range.last, 5460);
    assert_int_equal(range.place_count, 2);
    assert_string_equal(range.places[0].host, "127.0.0.1");
    assert_int_equal(range.places[0].port, 7000);
    assert_int_equal(range.places[1].port, 7003);
    assert_true(redis_slots_next(reply, &at, &range));
    assert_int_equal(range.first, 5461);
    assert_string_equal(range.places[0].host, "");
    assert_int_equal(range.places[0].port, 7001);
    assert_false(redis_slots_next(reply, &at, &range));
    freeReplyObject(reply);
    const char *const wrong[] = {"*0\r\n",
                                 "+OK\r\n",
                                 "*1\r\n:1\r\n",
                                 "*1\r\n*3\r\n:5\r\n:4\r\n*2\r\n$1\r\na\r\n:1\r\n",
                                 "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n",
                                 "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:0\r\n",
                                 "*1\r\n*3\r\n:0\r\n:1\r\n$1\r\na\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        at = 0;
        reply = reply_of(wrong[i]);
        assert_false(redis_slots_next(reply, &at, &range));
        freeReplyObject(reply);
    }
}

static void test_info(void **state)
{
    const struct slice info = SLICE("# Server\r\nredis_version:7.0.15\r\nredis_mode:cluster\r\n"
                                    "run_id:0123\r\nempty:\r\n");
    struct slice value;
    (void)state;
    assert_true(redis_info_find(info, SLICE("redis_mode"), &value));
    assert_true(slice_eq(value, SLICE("cluster")));
    assert_true(redis_info_find(info, SLICE("run_id"), &value));
    assert_true(slice_eq(value, SLICE("0123")));
    assert_true(redis_info_find(info, SLICE("empty"), &value));
    assert_int_equal(value.len, 0);
    assert_false(redis_info_find(info, SLICE("run"), &value));
}

/* One of each part of all slots, and the names that one server has always had. */
static void test_tags(void **state)
{
    static const unsigned counts[] = {1, 3, 16, 256};
    struct fault fault;
    (void)state;
    struct io_loop *loop = io_loop_create(&fault);
    for (size_t k = 0; k < ARRAY_LEN(counts); k++) {
        struct redis_options options;
        redis_options_default(&options);
        options.cluster = true;
        options.hash_tags = counts[k];
        struct redis_tags *tags = redis_tags_create(loop, &options, SLICE("return {}"), &fault);
        assert_non_null(tags);
        assert_int_equal(redis_tags_count(tags), counts[k]);
        for (size_t i = 0; i < counts[k]; i++) {
            uint16_t slot = redis_slot(slice_cstr(redis_tag_text(redis_tags_at(tags, i))));
            assert_int_equal(slot * counts[k] / REDIS_SLOTS, i);
        }
        assert_true(counts[k] > 1 || strcmp(redis_tag_text(redis_tags_at(tags, 0)), "{0}") == 0);
        assert_true(redis_tags_of(tags, SLICE("site:gmail.com:msg")) < counts[k]);
        redis_tags_free(&tags, 0);
        assert_null(tags);
    }
    io_loop_free(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots),        cmocka_unit_test(test_places),
        cmocka_unit_test(test_redirections), cmocka_unit_test(test_cluster_slots),
        cmocka_unit_test(test_info),         cmocka_unit_test(test_tags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

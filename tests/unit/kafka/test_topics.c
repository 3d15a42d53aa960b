/*
 * Tiers and the plan of topics.
 */
#include "kafka/topics_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const streams[] = {"tx", "bulk", "news"};

static struct kafka_topic_plan plan(void)
{
    return (struct kafka_topic_plan){
        .prefix = "sluice.",
        .streams = streams,
        .stream_count = 3,
        .shards = 16,
        .event_partitions = 8,
        .slots = 4,
        .replication_factor = 3,
        .min_insync_replicas = 2,
        .max_message_bytes = 26 << 20,
        .retention_ms = 7 * INT64_C(86400000),
    };
}

static const struct topic_wanted *find(const struct topic_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].name, name) == 0) {
            return &list->items[i];
        }
    }
    return NULL;
}

static const char *setting(const struct topic_wanted *topic, const char *name)
{
    CHECK(topic != NULL);
    for (size_t i = 0; i < topic->setting_count; i++) {
        if (strcmp(topic->settings[i].name, name) == 0) {
            return topic->settings[i].value;
        }
    }
    return "";
}

static void test_tiers(void **state)
{
    (void)state;
    assert_int_equal(kafka_tier_delay_ms(0, 30000), 30000);
    assert_int_equal(kafka_tier_delay_ms(11, 30000), 61440000); /* 17 h */
    assert_int_equal(kafka_tier_for(0, 30000), 0);
    assert_int_equal(kafka_tier_for(29999, 30000), 0);
    assert_int_equal(kafka_tier_for(59999, 30000), 0);
    assert_int_equal(kafka_tier_for(60000, 30000), 1);
    assert_int_equal(kafka_tier_for(INT64_MAX, 30000), 11);
    for (unsigned tier = 0; tier < KAFKA_TIERS; tier++) {
        assert_int_equal(kafka_tier_for(kafka_tier_delay_ms(tier, 100), 100), tier);
        assert_int_equal(kafka_tier_for(kafka_tier_delay_ms(tier, 100) + 1, 100), tier);
    }
}

static void test_plan(void **state)
{
    (void)state;
    struct kafka_topic_plan wanted = plan();
    struct topic_list list;
    struct fault fault;
    assert_true(topic_list_make(&list, &wanted, &fault));
    assert_int_equal(list.count, 3 + 12 + 2 + 3 + 2 + 5);
    const struct topic_wanted *tx = find(&list, "sluice.q.tx");
    CHECK(tx != NULL);
    assert_int_equal(tx->partitions, 16);
    assert_string_equal(setting(tx, "cleanup.policy"), "delete");
    assert_string_equal(setting(tx, "message.timestamp.type"), "CreateTime");
    assert_string_equal(setting(tx, "retention.ms"), "604800000");
    assert_string_equal(setting(tx, "max.message.bytes"), "27262976");
    assert_string_equal(setting(tx, "min.insync.replicas"), "2");
    assert_non_null(find(&list, "sluice.q.news"));
    const struct topic_wanted *tier = find(&list, "sluice.d.11");
    CHECK(tier != NULL);
    assert_int_equal(tier->partitions, 16);
    assert_string_equal(setting(tier, "message.timestamp.type"), "LogAppendTime");
    assert_null(find(&list, "sluice.d.12"));
    assert_string_equal(setting(find(&list, "sluice.dlq"), "retention.ms"), "2592000000");
    const struct topic_wanted *config = find(&list, "sluice.config");
    CHECK(config != NULL);
    assert_int_equal(config->partitions, 1);
    assert_string_equal(setting(config, "cleanup.policy"), "compact");
    const struct topic_wanted *done = find(&list, "sluice.done");
    const struct topic_wanted *bounces = find(&list, "sluice.bounces");
    CHECK(done != NULL && bounces != NULL);
    assert_int_equal(done->partitions, 4);
    assert_int_equal(bounces->partitions, 8);
    topic_list_free(&list);
}

static void test_bad_plans(void **state)
{
    (void)state;
    struct topic_list list;
    struct fault fault;
    struct kafka_topic_plan wanted = plan();
    wanted.prefix = "not allowed ";
    assert_false(topic_list_make(&list, &wanted, &fault));
    assert_int_equal(fault.kind, FAULT_INVALID);
    char prefix[260];
    memset(prefix, 'x', sizeof(prefix) - 1);
    prefix[sizeof(prefix) - 1] = '\0';
    wanted.prefix = prefix;
    assert_false(topic_list_make(&list, &wanted, &fault));
    wanted = plan();
    wanted.shards = 0;
    assert_false(topic_list_make(&list, &wanted, &fault));
    wanted = plan();
    wanted.min_insync_replicas = 4;
    assert_false(topic_list_make(&list, &wanted, &fault));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiers),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_bad_plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * What the tests against a real broker share. The broker is $KAFKA_BOOTSTRAP; its folder
 * $SLUICE_KAFKA_DIR serves to stop it. Every test makes topics of its own under a fresh prefix. A
 * record's value is its number in decimal, so that each can be counted.
 */
#ifndef SLUICE_TESTS_KAFKA_LIVE_H
#define SLUICE_TESTS_KAFKA_LIVE_H

#include "base/clock.h"
#include "kafka/consumer.h"
#include "kafka/producer.h"
#include "kafka/reader.h"
#include "kafka/topics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LIVE_TIMEOUT_MS 90000

const struct kafka_properties *live_properties(void);
/* A fresh prefix and all topics of the plan below it. */
void live_make_topics(char prefix[32], int shards);
/* prefix + name, in a static ring of a few. */
const char *live_topic(const char *prefix, const char *name);
struct kafka_producer *live_producer(void);
/* Numbers first … first + count - 1 to partition (or -1: by a key that is the number), flushed. */
void live_send_numbers(const char *topic, int partition, int64_t first, int64_t count);
/* "stop" or "start" of the broker. */
void live_broker(const char *action);
void live_sleep_ms(int ms);

struct live_consumer {
    struct kafka_consumer *consumer;
    struct kafka_partition *partitions[1024];
    size_t partition_count;
    int assigned_calls, revoked_calls, failed_calls;
    struct fault failure;
};
/* Group "g-" + prefix. Streams tx and bulk, and the tiers when wanted. */
void live_consumer_open(struct live_consumer *live, const char *prefix, bool tiers,
                        const char *instance);
/* Serves until an assignment has come. */
void live_consumer_wait(struct live_consumer *live);
/* Takes from any class after serving; false: nothing now (waits a millisecond). */
bool live_take(struct live_consumer *live, struct kafka_record *record);
int64_t live_number(const struct kafka_record *record);

/* kafka_live member PREFIX NAME SESSION_MS: a process of its own, for live_restart.c. */
int live_restart_member(char **argv);

int live_batch_tests(void);
int live_claim_tests(void);
int live_consume_tests(void);
int live_group_tests(void);
int live_join_tests(void);
int live_migrate_tests(void);
int live_outage_tests(void);
int live_produce_tests(void);
int live_reader_tests(void);
int live_restart_tests(void);
int live_tail_tests(void);
int live_txn_tests(void);

#endif

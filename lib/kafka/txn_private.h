/*
 * The transactional producer's inside. txn.c: the owner's side and the thread; txn_run.c: one burst
 * with librdkafka, and finding out what became of it. What is marked «thread» is only touched by
 * the transaction's thread.
 */
#ifndef SLUICE_KAFKA_TXN_PRIVATE_H
#define SLUICE_KAFKA_TXN_PRIVATE_H

#include "kafka/conf_private.h"
#include "kafka/doubt_private.h"

#include <pthread.h>
#include <stdatomic.h>

#define TXN_MAGIC 0x6b74786eu

/* The burst under way: the owner's, with what was taken of the consumer when it was submitted. */
struct txn_work {
    struct kafka_burst *burst;
    struct kafka_consumer *consumer; /* owner's thread */
    uint64_t generation_number;
    uint32_t *epochs; /* of the offsets' partitions: owner's thread */
    rd_kafka_consumer_group_metadata_t *generation;
    rd_kafka_topic_partition_list_t *offsets; /* metadata comes later */
    /* thread, told with the result */
    int64_t checkpoint_offset; /* -1: not known */
    struct fault fault;
    enum kafka_burst_result result;
};

struct kafka_txn {
    uint32_t magic;
    struct kafka_properties properties;
    struct kafka_txn_options options; /* own copies */
    pthread_t thread;
    atomic_bool closing;
    atomic_bool ready;
    atomic_int doubt; /* enum txn_doubt */
    bool busy;        /* owner's thread */

    rd_kafka_t *rk; /* thread; NULL: to be made */
    struct kafka_log_limit log_limit;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct txn_work *wanted;
    struct txn_work *finished;
    struct list fence_wanted; /* of struct kafka_fencing */
    struct list fence_done;
    struct list fence_failed; /* at closing */
    struct kafka_txn_counts counts;
    int event_fd;
};

/* Whether the properties make a client at all. */
bool txn_check(const struct kafka_txn *txn, struct fault *fault);
/* A client with that transactional id, initialised; NULL: closing. Tries until it is done. */
rd_kafka_t *txn_client(struct kafka_txn *txn, const char *transactional_id);
void txn_client_free(rd_kafka_t *rk);
/* Fills work->result. */
void txn_run(struct kafka_txn *txn, struct txn_work *work);

#endif

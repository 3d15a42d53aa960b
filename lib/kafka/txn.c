/*
 * The owner's side of the transactional producer, and its thread. The contract is in txn.h.
 *
 * `lock` guards what goes from one side to the other: the burst that is wanted, the one that is
 * finished, fencings. The thread waits for `wake`; it wakes the owner through the eventfd. An idle
 * client is polled each second, so that its errors are heard.
 */
#include "kafka/txn_private.h"

#include "kafka/consumer_private.h"

#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define IDLE_MS 1000

void kafka_txn_options_default(struct kafka_txn_options *options)
{
    *options = (struct kafka_txn_options){
        .client_id = "sluice",
        .compression = "lz4",
        .transaction_timeout_ms = 10000,
        .max_message_bytes = 26 << 20,
        .queue_max_kbytes = 256 * 1024,
    };
}

static void tell_owner(const struct kafka_txn *txn)
{
    if (txn->event_fd >= 0) {
        uint64_t one = 1;
        ssize_t written = write(txn->event_fd, &one, sizeof(one));
        (void)written; /* a full eventfd is readable already */
    }
}

/* With the lock held. */
static void wait_for_work(struct kafka_txn *txn)
{
    if (txn->wanted != NULL || !list_empty(&txn->fence_wanted) || atomic_load(&txn->closing)) {
        return;
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_MS / 1000;
    pthread_cond_clockwait(&txn->wake, &txn->lock, CLOCK_MONOTONIC, &until);
}

static void run_fencing(struct kafka_txn *txn, struct kafka_fencing *fencing)
{
    struct mono_time from = mono_now();
    rd_kafka_t *rk = txn_client(txn, fencing->transactional_id);
    if (rk != NULL) {
        log_info("owner-fenced", "id=%s ms=%" PRId64, fencing->transactional_id,
                 mono_since_us(mono_now(), from) / 1000);
        txn_client_free(rk);
    }
    pthread_mutex_lock(&txn->lock);
    list_push_back(rk == NULL ? &txn->fence_failed : &txn->fence_done, &fencing->node);
    tell_owner(txn);
    pthread_mutex_unlock(&txn->lock);
}

static void run_burst(struct kafka_txn *txn, struct txn_work *work)
{
    txn_run(txn, work);
    pthread_mutex_lock(&txn->lock);
    txn->counts.committed += work->result == KAFKA_BURST_COMMITTED;
    txn->counts.aborted += work->result == KAFKA_BURST_ABORTED;
    txn->counts.lost += work->result == KAFKA_BURST_LOST;
    txn->finished = work;
    tell_owner(txn);
    pthread_mutex_unlock(&txn->lock);
}

static void *run(void *arg)
{
    struct kafka_txn *txn = arg;
    CHECK_MAGIC(txn, TXN_MAGIC);
    while (!atomic_load(&txn->closing)) {
        if (txn->rk == NULL) {
            txn->rk = txn_client(txn, txn->options.transactional_id);
            if (txn->rk == NULL) {
                break;
            }
            txn_warm_up(txn);
            pthread_mutex_lock(&txn->lock);
            txn->counts.recreated += atomic_load(&txn->ready) ? 1 : 0;
            pthread_mutex_unlock(&txn->lock);
            atomic_store(&txn->ready, true);
            tell_owner(txn);
        }
        pthread_mutex_lock(&txn->lock);
        wait_for_work(txn);
        struct txn_work *work = txn->wanted;
        txn->wanted = NULL;
        struct list *node = list_pop_front(&txn->fence_wanted);
        pthread_mutex_unlock(&txn->lock);
        if (node != NULL) {
            run_fencing(txn, CONTAINER_OF(node, struct kafka_fencing, node));
        }
        if (work != NULL) {
            run_burst(txn, work);
        }
        if (txn->rk != NULL) {
            rd_kafka_poll(txn->rk, 0);
        }
    }
    if (txn->rk != NULL) {
        txn_client_free(txn->rk);
    }
    return NULL;
}

static void release(struct kafka_txn *txn)
{
    kafka_properties_free(&txn->properties);
    kafka_text_free(txn->options.transactional_id);
    kafka_text_free(txn->options.client_id);
    kafka_text_free(txn->options.compression);
    mem_free(txn->topics);
    pthread_cond_destroy(&txn->wake);
    pthread_mutex_destroy(&txn->lock);
    txn->magic = 0;
    mem_free(txn);
}

struct kafka_txn *kafka_txn_create(const struct kafka_properties *properties,
                                   const struct kafka_txn_options *options, struct fault *fault)
{
    struct kafka_txn *txn = mem_zalloc(sizeof(*txn));
    txn->magic = TXN_MAGIC;
    txn->event_fd = -1;
    txn->options = *options;
    txn->options.transactional_id = mem_strdup(options->transactional_id);
    txn->options.client_id = mem_strdup(options->client_id);
    txn->options.compression = mem_strdup(options->compression);
    txn->topics = mem_calloc(options->topic_count + 1, sizeof(*txn->topics));
    for (size_t i = 0; i < options->topic_count; i++) {
        txn->topics[i] = options->topics[i];
    }
    kafka_properties_copy(&txn->properties, properties);
    list_init(&txn->fence_wanted);
    list_init(&txn->fence_done);
    list_init(&txn->fence_failed);
    CHECK(pthread_cond_init(&txn->wake, NULL) == 0);
    CHECK(pthread_mutex_init(&txn->lock, NULL) == 0);
    if (!txn_check(txn, fault)) {
        release(txn);
        return NULL;
    }
    CHECK(pthread_create(&txn->thread, NULL, run, txn) == 0);
    return txn;
}

bool kafka_txn_ready(const struct kafka_txn *txn)
{
    return atomic_load(&txn->ready);
}

bool kafka_txn_busy(const struct kafka_txn *txn)
{
    return txn->busy;
}

static void work_free(struct txn_work *work)
{
    rd_kafka_consumer_group_metadata_destroy(work->generation);
    rd_kafka_topic_partition_list_destroy(work->offsets);
    mem_free(work->epochs);
    mem_free(work);
}

bool kafka_txn_submit(struct kafka_txn *txn, struct kafka_consumer *consumer,
                      struct kafka_burst *burst, struct fault *fault)
{
    CHECK_MAGIC(txn, TXN_MAGIC);
    CHECK(burst->checkpoint->partition >= 0 && burst->checkpoint->delivery == NULL);
    if (txn->busy) {
        return fault_set(fault, FAULT_LIMIT, 0, "a burst is under way");
    }
    if (burst->offset_count == 0) {
        return fault_set(fault, FAULT_INVALID, 0, "a burst without offsets is not fenced");
    }
    uint64_t number;
    rd_kafka_consumer_group_metadata_t *generation = contact_generation(consumer, &number);
    if (generation == NULL) {
        return fault_set(fault, FAULT_CLOSED, 0, "no member of the group");
    }
    struct txn_work *work = mem_zalloc(sizeof(*work));
    work->burst = burst;
    work->consumer = consumer;
    work->generation = generation;
    work->generation_number = number;
    work->epochs = mem_calloc(burst->offset_count, sizeof(*work->epochs));
    work->offsets = rd_kafka_topic_partition_list_new((int)burst->offset_count);
    for (size_t i = 0; i < burst->offset_count; i++) {
        const struct kafka_partition *partition = burst->offsets[i].partition;
        work->epochs[i] = partition->epoch;
        rd_kafka_topic_partition_list_add(work->offsets, partition->topic->name, partition->id)
            ->offset = burst->offsets[i].offset;
    }
    txn->busy = true;
    pthread_mutex_lock(&txn->lock);
    txn->wanted = work;
    pthread_cond_signal(&txn->wake);
    pthread_mutex_unlock(&txn->lock);
    return true;
}

void kafka_txn_fence(struct kafka_txn *txn, struct kafka_fencing *fencing)
{
    CHECK_MAGIC(txn, TXN_MAGIC);
    pthread_mutex_lock(&txn->lock);
    list_push_back(&txn->fence_wanted, &fencing->node);
    pthread_cond_signal(&txn->wake);
    pthread_mutex_unlock(&txn->lock);
}

static void tell_burst(struct kafka_txn *txn, struct txn_work *work)
{
    struct kafka_burst *burst = work->burst;
    if (work->result == KAFKA_BURST_COMMITTED) {
        for (size_t i = 0; i < burst->offset_count; i++) {
            struct kafka_partition *partition = burst->offsets[i].partition;
            if (partition->assigned && partition->epoch == work->epochs[i]) {
                partition->committed = burst->offsets[i].offset;
            }
        }
    } else if (work->result == KAFKA_BURST_LOST) {
        contact_gone(work->consumer, work->generation_number);
    }
    txn->busy = false;
    burst->done(burst, work->result, work->checkpoint_offset,
                work->result == KAFKA_BURST_COMMITTED ? NULL : &work->fault);
    work_free(work);
}

static int tell_fencings(struct list *fencings, const struct fault *fault)
{
    struct list *node;
    int told = 0;
    while ((node = list_pop_front(fencings)) != NULL) {
        struct kafka_fencing *fencing = CONTAINER_OF(node, struct kafka_fencing, node);
        fencing->done(fencing, fault);
        told++;
    }
    return told;
}

int kafka_txn_poll(struct kafka_txn *txn)
{
    CHECK_MAGIC(txn, TXN_MAGIC);
    struct list done;
    list_init(&done);
    pthread_mutex_lock(&txn->lock);
    struct txn_work *work = txn->finished;
    txn->finished = NULL;
    list_append_all(&done, &txn->fence_done);
    pthread_mutex_unlock(&txn->lock);
    int told = tell_fencings(&done, NULL);
    if (work != NULL) {
        tell_burst(txn, work);
        told++;
    }
    return told;
}

void kafka_txn_notify(struct kafka_txn *txn, int event_fd)
{
    pthread_mutex_lock(&txn->lock);
    txn->event_fd = event_fd;
    pthread_mutex_unlock(&txn->lock);
}

void kafka_txn_counts(struct kafka_txn *txn, struct kafka_txn_counts *counts)
{
    pthread_mutex_lock(&txn->lock);
    *counts = txn->counts;
    pthread_mutex_unlock(&txn->lock);
}

void kafka_txn_doubt(struct kafka_txn *txn, enum txn_doubt doubt)
{
    atomic_store(&txn->doubt, (int)doubt);
}

void kafka_txn_free(struct kafka_txn **pointer, int wait_ms)
{
    struct kafka_txn *txn = *pointer;
    if (txn == NULL) {
        return;
    }
    CHECK_MAGIC(txn, TXN_MAGIC);
    *pointer = NULL;
    struct mono_time end = mono_add_ms(mono_now(), wait_ms);
    while (txn->busy && mono_before(mono_now(), end)) {
        if (kafka_txn_poll(txn) == 0) {
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        }
    }
    atomic_store(&txn->closing, true);
    pthread_mutex_lock(&txn->lock);
    pthread_cond_signal(&txn->wake);
    pthread_mutex_unlock(&txn->lock);
    CHECK(pthread_join(txn->thread, NULL) == 0);
    if (txn->wanted != NULL) { /* never begun */
        txn->wanted->result = KAFKA_BURST_ABORTED;
        txn->finished = txn->wanted;
        fault_set(&txn->finished->fault, FAULT_CLOSED, 0, "closing");
    }
    kafka_txn_poll(txn);
    struct fault fault;
    fault_set(&fault, FAULT_CLOSED, 0, "closing");
    tell_fencings(&txn->fence_wanted, &fault);
    tell_fencings(&txn->fence_failed, &fault);
    release(txn);
}

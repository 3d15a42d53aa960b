/*
 * One burst with librdkafka 2.0.2. What its calls' errors mean for the outcome:
 *
 * - Before rd_kafka_commit_transaction() nothing can be committed: whatever fails, the burst is
 *   aborted. An abort that fails is made up for by a new client with the same transactional id.
 * - The commit: `_TIMED_OUT` and other retriable errors mean that it goes on inside and is to be
 *   called again. `_INCONSISTENT` (a record failed) comes before anything was asked of the brokers.
 *   Every other error, and no end after COMMIT_PATIENCE_MS, leaves it open whether the brokers
 *   committed.
 * - Then a new client's init_transactions() ends the old transaction at the brokers: what was to be
 *   committed there is, everything else is aborted, and nothing of the old client's can change that
 *   later (its epoch is over). The checkpoint lies at a known offset: it can be read by then, or it
 *   never will be.
 */
#include "kafka/txn_private.h"

#include "kafka/produce_private.h"
#include "kafka/tail.h"

#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define INIT_SLICE_MS 1000
#define INIT_RETRY_MS 100
#define CALL_SLICE_MS 500
#define OFFSETS_PATIENCE_MS 3000
#define COMMIT_PATIENCE_MS 3000
#define ABORT_PATIENCE_MS 2000
#define POLL_SLICE_MS 20
#define WARM_UP_MS 1000

static bool closing(const struct kafka_txn *txn)
{
    return atomic_load(&txn->closing);
}

static void pause_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000L}, NULL);
}

/* Takes the error. */
static rd_kafka_resp_err_t told(struct fault *fault, const char *what, rd_kafka_error_t *error)
{
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    fault_set(fault, kafka_fault_kind(code), (int)code, "%s: %s", what,
              rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return code;
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct txn_work *work = message->_private;
    (void)rk;
    (void)opaque;
    if (work == NULL) { /* a copy: librdkafka itself counts those that failed */
        return;
    }
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        work->checkpoint_offset = message->offset;
    } else {
        kafka_fault_set(&work->fault, message->err, "checkpoint");
    }
}

static rd_kafka_t *client_create(const struct kafka_txn *txn, const char *transactional_id,
                                 struct fault *fault)
{
    const struct kafka_txn_options *options = &txn->options;
    struct kafka_conf builder;
    kafka_conf_begin(&builder, &txn->properties, fault);
    kafka_conf_set(&builder, "client.id", options->client_id);
    kafka_conf_set(&builder, "partitioner", "murmur2_random");
    kafka_conf_set(&builder, "compression.codec", options->compression);
    kafka_conf_set_int(&builder, "linger.ms", 50); /* ended by the flush */
    kafka_conf_set_int(&builder, "message.max.bytes", options->max_message_bytes);
    kafka_conf_set_int(&builder, "queue.buffering.max.messages", 1000000);
    kafka_conf_set_int(&builder, "queue.buffering.max.kbytes", options->queue_max_kbytes);
    kafka_conf_user(&builder);
    kafka_conf_must_int(&builder, "transaction.timeout.ms", options->transaction_timeout_ms);
    kafka_conf_must_int(&builder, "message.timeout.ms", options->transaction_timeout_ms);
    kafka_conf_must(&builder, "transactional.id", transactional_id);
    rd_kafka_conf_set_dr_msg_cb(builder.conf, delivered);
    return kafka_conf_create_client(&builder, RD_KAFKA_PRODUCER);
}

bool txn_check(const struct kafka_txn *txn, struct fault *fault)
{
    rd_kafka_t *rk = client_create(txn, txn->options.transactional_id, fault);
    if (rk != NULL) {
        rd_kafka_destroy(rk);
    }
    return rk != NULL;
}

void txn_client_free(rd_kafka_t *rk)
{
    rd_kafka_purge(rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    while (rd_kafka_outq_len(rk) > 0) {
        rd_kafka_poll(rk, POLL_SLICE_MS);
    }
    rd_kafka_destroy(rk);
}

/* Works on while init_transactions() of `rk` is to be called again. True: done. */
static bool init_client(struct kafka_txn *txn, rd_kafka_t *rk, struct fault *fault)
{
    while (!closing(txn)) {
        rd_kafka_error_t *error = rd_kafka_init_transactions(rk, INIT_SLICE_MS);
        if (error == NULL) {
            return true;
        }
        bool again = rd_kafka_error_is_retriable(error) != 0;
        told(fault, "initialising", error);
        if (!again) {
            return false;
        }
        rd_kafka_poll(rk, 0);
    }
    return fault_set(fault, FAULT_CLOSED, 0, "closing");
}

rd_kafka_t *txn_client(struct kafka_txn *txn, const char *transactional_id)
{
    struct fault fault;
    unsigned suppressed;
    while (!closing(txn)) {
        rd_kafka_t *rk = client_create(txn, transactional_id, &fault);
        if (rk != NULL && init_client(txn, rk, &fault)) {
            return rk;
        }
        if (rk != NULL) {
            txn_client_free(rk);
        }
        if (!closing(txn) && kafka_log_allowed(&txn->log_limit, 3, &suppressed)) {
            log_warn("transactions-not-ready", "id=%s suppressed=%u reason=\"%s\"",
                     transactional_id, suppressed, fault.text);
        }
        pause_ms(INIT_RETRY_MS);
    }
    return NULL;
}

void txn_warm_up(struct kafka_txn *txn)
{
    struct fault fault;
    for (size_t i = 0; i < txn->options.topic_count && !closing(txn); i++) {
        rd_kafka_topic_t *handle = rd_kafka_topic_new(txn->rk, txn->topics[i], NULL);
        if (handle != NULL) {
            if (!kafka_touch_topic(txn->rk, handle, WARM_UP_MS, &fault)) {
                log_warn("topic-not-ready", "reason=\"%s\"", fault.text);
            }
            rd_kafka_topic_destroy(handle);
        }
    }
}

static bool send_record(struct kafka_txn *txn, const struct kafka_record_out *record,
                        struct txn_work *opaque, struct mono_time end, struct fault *fault)
{
    for (;;) {
        rd_kafka_error_t *error = kafka_produce(txn->rk, NULL, record, false, opaque);
        if (error == NULL) {
            return true;
        }
        if (told(fault, record->topic, error) != RD_KAFKA_RESP_ERR__QUEUE_FULL ||
            !mono_before(mono_now(), end)) {
            return false;
        }
        rd_kafka_poll(txn->rk, POLL_SLICE_MS);
    }
}

static bool produce(struct kafka_txn *txn, struct txn_work *work, struct mono_time end)
{
    const struct kafka_burst *burst = work->burst;
    for (size_t i = 0; i < burst->record_count; i++) {
        CHECK(burst->records[i].delivery == NULL);
        if (!send_record(txn, &burst->records[i], NULL, end, &work->fault)) {
            return false;
        }
    }
    if (!send_record(txn, burst->checkpoint, work, end, &work->fault)) {
        return false;
    }
    while (rd_kafka_flush(txn->rk, CALL_SLICE_MS) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (!mono_before(mono_now(), end) ||
            rd_kafka_fatal_error(txn->rk, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return fault_set(&work->fault, FAULT_TIMEOUT, 0, "the burst's records were not taken");
        }
    }
    return work->checkpoint_offset >= 0;
}

static bool is_group_error(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID ||
           code == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION ||
           code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
}

static bool send_offsets(struct kafka_txn *txn, struct txn_work *work)
{
    struct mono_time end = mono_add_ms(mono_now(), OFFSETS_PATIENCE_MS);
    char text[KAFKA_METADATA_MAX];
    for (int i = 0; i < work->offsets->cnt; i++) {
        rd_kafka_topic_partition_t *one = &work->offsets->elems[i];
        text[0] = '\0';
        work->burst->metadata(work->burst, (size_t)i, work->checkpoint_offset, text, sizeof(text));
        size_t len = strnlen(text, sizeof(text));
        CHECK(len < sizeof(text));
        one->metadata = mem_strndup(text, len); /* the list frees it */
        one->metadata_size = len;
    }
    for (;;) {
        rd_kafka_error_t *error = rd_kafka_send_offsets_to_transaction(
            txn->rk, work->offsets, work->generation, OFFSETS_PATIENCE_MS);
        if (error == NULL) {
            return true;
        }
        bool again = rd_kafka_error_is_retriable(error) && !rd_kafka_error_is_fatal(error) &&
                     !rd_kafka_error_txn_requires_abort(error);
        if (is_group_error(told(&work->fault, "offsets", error))) {
            work->result = KAFKA_BURST_LOST;
        }
        if (!again || !mono_before(mono_now(), end)) {
            return false;
        }
        rd_kafka_poll(txn->rk, POLL_SLICE_MS);
    }
}

enum commit_end { COMMIT_DONE, COMMIT_NOT_BEGUN, COMMIT_UNKNOWN };

static enum commit_end commit(struct kafka_txn *txn, struct txn_work *work)
{
    struct mono_time end = mono_add_ms(mono_now(), COMMIT_PATIENCE_MS);
    enum txn_doubt doubt = (enum txn_doubt)atomic_exchange(&txn->doubt, TXN_DOUBT_NONE);
    if (doubt == TXN_DOUBT_UNCOMMITTED) {
        return COMMIT_UNKNOWN;
    }
    for (;;) {
        rd_kafka_error_t *error = rd_kafka_commit_transaction(txn->rk, CALL_SLICE_MS);
        if (error == NULL) {
            return doubt == TXN_DOUBT_COMMITTED ? COMMIT_UNKNOWN : COMMIT_DONE;
        }
        bool again = rd_kafka_error_is_retriable(error) && !rd_kafka_error_is_fatal(error);
        bool aborts = rd_kafka_error_txn_requires_abort(error) != 0;
        rd_kafka_resp_err_t code = told(&work->fault, "commit", error);
        if (aborts && code == RD_KAFKA_RESP_ERR__INCONSISTENT) {
            return COMMIT_NOT_BEGUN;
        }
        if (!again || closing(txn) || !mono_before(mono_now(), end)) {
            return COMMIT_UNKNOWN;
        }
    }
}

/* After it nothing of the burst is used any more; the client may be gone. */
static void abort_burst(struct kafka_txn *txn)
{
    struct mono_time end = mono_add_ms(mono_now(), ABORT_PATIENCE_MS);
    struct fault fault;
    for (;;) {
        rd_kafka_error_t *error = rd_kafka_abort_transaction(txn->rk, CALL_SLICE_MS);
        if (error == NULL) {
            return;
        }
        bool again = rd_kafka_error_is_retriable(error) && !rd_kafka_error_is_fatal(error);
        told(&fault, "abort", error);
        if (!again || closing(txn) || !mono_before(mono_now(), end)) {
            break;
        }
    }
    log_warn("transactions-anew", "id=%s reason=\"%s\"", txn->options.transactional_id, fault.text);
    txn_client_free(txn->rk);
    txn->rk = NULL;
}

/* NULL: closing. The properties were good for the producer, but the system may have no thread to
 * give, or its clock was set while librdkafka waited for one. */
static struct kafka_tail *tail_create(struct kafka_txn *txn)
{
    struct fault fault;
    struct kafka_tail *tail = NULL;
    while (!closing(txn) && (tail = kafka_tail_create(&txn->properties, txn->options.client_id,
                                                      true, &fault)) == NULL) {
        log_warn("tail-not-ready", "reason=\"%s\"", fault.text);
        pause_ms(INIT_RETRY_MS);
    }
    return tail;
}

/* Whether the record at the checkpoint's offset is there for readers of committed records. */
static enum kafka_burst_result look(struct kafka_txn *txn, const struct txn_work *work)
{
    const struct kafka_record_out *checkpoint = work->burst->checkpoint;
    struct fault fault;
    struct kafka_reader_record record;
    enum kafka_burst_result result = KAFKA_BURST_UNKNOWN;
    struct kafka_tail *tail = tail_create(txn);
    if (tail == NULL) {
        return KAFKA_BURST_UNKNOWN;
    }
    bool started = kafka_tail_start(tail, checkpoint->topic, checkpoint->partition,
                                    work->checkpoint_offset, &fault);
    CHECK(started);
    while (result == KAFKA_BURST_UNKNOWN && !closing(txn)) {
        switch (kafka_tail_next(tail, CALL_SLICE_MS, &record, &fault)) {
        case KAFKA_TAIL_RECORD:
            result = record.offset == work->checkpoint_offset ? KAFKA_BURST_COMMITTED
                                                              : KAFKA_BURST_ABORTED;
            break;
        case KAFKA_TAIL_END: result = KAFKA_BURST_ABORTED; break;
        case KAFKA_TAIL_FAILED: pause_ms(INIT_RETRY_MS); break;
        case KAFKA_TAIL_NONE: break;
        }
    }
    kafka_tail_free(&tail);
    return result;
}

static enum kafka_burst_result resolve(struct kafka_txn *txn, struct txn_work *work)
{
    log_warn("burst-unknown", "id=%s checkpoint=%" PRId64 " reason=\"%s\"",
             txn->options.transactional_id, work->checkpoint_offset, work->fault.text);
    txn_client_free(txn->rk);
    txn->rk = txn_client(txn, txn->options.transactional_id);
    enum kafka_burst_result result = txn->rk == NULL ? KAFKA_BURST_UNKNOWN : look(txn, work);
    log_warn("burst-resolved", "id=%s checkpoint=%" PRId64 " committed=%d",
             txn->options.transactional_id, work->checkpoint_offset,
             result == KAFKA_BURST_COMMITTED);
    pthread_mutex_lock(&txn->lock);
    txn->counts.resolved += result == KAFKA_BURST_UNKNOWN ? 0 : 1;
    pthread_mutex_unlock(&txn->lock);
    return result;
}

void txn_run(struct kafka_txn *txn, struct txn_work *work)
{
    struct mono_time end = mono_add_ms(mono_now(), txn->options.transaction_timeout_ms);
    work->result = KAFKA_BURST_ABORTED;
    work->checkpoint_offset = -1;
    rd_kafka_error_t *error = rd_kafka_begin_transaction(txn->rk);
    if (error != NULL) {
        told(&work->fault, "begin", error);
        txn_client_free(txn->rk);
        txn->rk = NULL;
        return;
    }
    if (!produce(txn, work, end) || !send_offsets(txn, work)) {
        abort_burst(txn);
        return;
    }
    switch (commit(txn, work)) {
    case COMMIT_DONE: work->result = KAFKA_BURST_COMMITTED; break;
    case COMMIT_NOT_BEGUN: abort_burst(txn); break;
    case COMMIT_UNKNOWN: work->result = resolve(txn, work); break;
    }
}

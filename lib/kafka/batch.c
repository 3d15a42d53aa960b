#include "kafka/batch.h"

#include "kafka/conf_private.h"
#include "kafka/produce_private.h"

#include "base/clock.h"
#include "base/mem.h"

#include <time.h>

#define BATCH_MAGIC 0x6b626174u
#define CALL_SLICE_MS 500
#define POLL_SLICE_MS 20
#define ABORT_TIMEOUT_MS 2000
#define OPEN_RETRY_MS 100
#define QUEUE_MAX_KBYTES (256 * 1024)
#define MESSAGE_MAX_BYTES (26 << 20)

struct kafka_batch {
    uint32_t magic;
    rd_kafka_t *rk;
    int timeout_ms;
    bool begun;
};

/* Takes the error. True: the call may be repeated. */
static bool told(struct fault *fault, const char *what, rd_kafka_error_t *error)
{
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    bool again = rd_kafka_error_is_retriable(error) && !rd_kafka_error_is_fatal(error) &&
                 !rd_kafka_error_txn_requires_abort(error);
    if (code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
        code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH) {
        fault_set(fault, FAULT_CLOSED, (int)code, "another process does the same now");
    } else {
        fault_set(fault, kafka_fault_kind(code), (int)code, "%s: %s", what,
                  rd_kafka_error_string(error));
    }
    rd_kafka_error_destroy(error);
    return again;
}

/* Initialises; the client is of no use any more when it fails. */
static bool init(rd_kafka_t *rk, struct mono_time end, struct fault *fault)
{
    for (;;) {
        rd_kafka_error_t *error = rd_kafka_init_transactions(rk, CALL_SLICE_MS);
        if (error == NULL) {
            return true;
        }
        if (!told(fault, "initialising", error) || !mono_before(mono_now(), end)) {
            return false;
        }
        rd_kafka_poll(rk, 0);
    }
}

static rd_kafka_t *create_client(const struct kafka_properties *properties,
                                 const char *transactional_id, const char *client_id,
                                 int timeout_ms, struct fault *fault)
{
    struct kafka_conf builder;
    kafka_conf_begin(&builder, properties, fault);
    kafka_conf_set(&builder, "client.id", client_id);
    kafka_conf_set(&builder, "partitioner", "murmur2_random");
    kafka_conf_set(&builder, "compression.codec", "lz4");
    kafka_conf_set_int(&builder, "linger.ms", 20);
    kafka_conf_set_int(&builder, "message.max.bytes", MESSAGE_MAX_BYTES);
    kafka_conf_set_int(&builder, "queue.buffering.max.kbytes", QUEUE_MAX_KBYTES);
    kafka_conf_user(&builder);
    kafka_conf_must_int(&builder, "transaction.timeout.ms", timeout_ms);
    kafka_conf_must_int(&builder, "message.timeout.ms", timeout_ms);
    kafka_conf_must(&builder, "transactional.id", transactional_id);
    return kafka_conf_create_client(&builder, RD_KAFKA_PRODUCER);
}

/* Whatever goes wrong while another process has the id, or opens it at the same time, passes. */
struct kafka_batch *kafka_batch_open(const struct kafka_properties *properties,
                                     const char *transactional_id, const char *client_id,
                                     int timeout_ms, struct fault *fault)
{
    struct mono_time end = mono_add_ms(mono_now(), timeout_ms);
    for (;;) {
        rd_kafka_t *rk = create_client(properties, transactional_id, client_id, timeout_ms, fault);
        if (rk == NULL) {
            return NULL;
        }
        if (init(rk, end, fault)) {
            struct kafka_batch *batch = mem_zalloc(sizeof(*batch));
            *batch = (struct kafka_batch){.magic = BATCH_MAGIC, .rk = rk, .timeout_ms = timeout_ms};
            return batch;
        }
        rd_kafka_destroy(rk);
        if (fault->kind == FAULT_REFUSED || !mono_before(mono_now(), end)) {
            return NULL;
        }
        nanosleep(&(struct timespec){.tv_nsec = OPEN_RETRY_MS * 1000000L}, NULL);
    }
}

void kafka_batch_free(struct kafka_batch **pointer)
{
    struct kafka_batch *batch = *pointer;
    if (batch == NULL) {
        return;
    }
    CHECK_MAGIC(batch, BATCH_MAGIC);
    *pointer = NULL;
    if (batch->begun) { /* else the next one to open it does so */
        rd_kafka_error_t *error = rd_kafka_abort_transaction(batch->rk, ABORT_TIMEOUT_MS);
        if (error != NULL) {
            rd_kafka_error_destroy(error);
        }
    }
    rd_kafka_purge(batch->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    while (rd_kafka_outq_len(batch->rk) > 0) {
        rd_kafka_poll(batch->rk, POLL_SLICE_MS);
    }
    rd_kafka_destroy(batch->rk);
    batch->magic = 0;
    mem_free(batch);
}

static bool begin(struct kafka_batch *batch, struct fault *fault)
{
    if (!batch->begun) {
        rd_kafka_error_t *error = rd_kafka_begin_transaction(batch->rk);
        if (error != NULL) {
            told(fault, "begin", error);
            return false;
        }
        batch->begun = true;
    }
    return true;
}

bool kafka_batch_add(struct kafka_batch *batch, const struct kafka_record_out *record,
                     struct fault *fault)
{
    CHECK_MAGIC(batch, BATCH_MAGIC);
    CHECK(record->delivery == NULL);
    struct mono_time end = mono_add_ms(mono_now(), batch->timeout_ms);
    if (!begin(batch, fault)) {
        return false;
    }
    for (;;) {
        rd_kafka_error_t *error = kafka_produce(batch->rk, NULL, record, true, NULL);
        if (error == NULL) {
            rd_kafka_poll(batch->rk, 0);
            return true;
        }
        bool full = rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__QUEUE_FULL;
        told(fault, record->topic, error);
        if (!full || !mono_before(mono_now(), end)) {
            return false;
        }
        rd_kafka_poll(batch->rk, POLL_SLICE_MS);
    }
}

/* All records are at the brokers. */
static bool flush(struct kafka_batch *batch, struct mono_time end, struct fault *fault)
{
    char text[FAULT_TEXT_MAX];
    while (rd_kafka_flush(batch->rk, CALL_SLICE_MS) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(batch->rk, text, sizeof(text));
        if (fatal != RD_KAFKA_RESP_ERR_NO_ERROR) {
            bool fenced = fatal == RD_KAFKA_RESP_ERR__FENCED ||
                          fatal == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
                          fatal == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
            return fault_set(fault, fenced ? FAULT_CLOSED : FAULT_TEMPORARY, (int)fatal, "%s",
                             fenced ? "another process does the same now" : text);
        }
        if (!mono_before(mono_now(), end)) {
            return fault_set(fault, FAULT_TIMEOUT, 0, "the brokers did not take the records");
        }
    }
    return true;
}

enum kafka_batch_result kafka_batch_commit(struct kafka_batch *batch, int timeout_ms,
                                           struct fault *fault)
{
    CHECK_MAGIC(batch, BATCH_MAGIC);
    struct mono_time end = mono_add_ms(mono_now(), timeout_ms);
    if (!batch->begun) {
        return KAFKA_BATCH_COMMITTED;
    }
    if (!flush(batch, end, fault)) {
        return KAFKA_BATCH_ABORTED;
    }
    for (;;) {
        rd_kafka_error_t *error = rd_kafka_commit_transaction(batch->rk, CALL_SLICE_MS);
        if (error == NULL) {
            batch->begun = false;
            return KAFKA_BATCH_COMMITTED;
        }
        /* A record failed: librdkafka says so before it asks the brokers for anything. */
        bool inconsistent = rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__INCONSISTENT;
        bool again = told(fault, "commit", error);
        if (inconsistent) {
            return KAFKA_BATCH_ABORTED;
        }
        if (!again || !mono_before(mono_now(), end)) {
            return KAFKA_BATCH_UNKNOWN;
        }
    }
}

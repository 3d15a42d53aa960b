/*
 * Claim mode: the group's generation and contact with it.
 *
 * Bursts carry the group's generation. librdkafka resets it to -1 as soon as it learns that we are
 * no member any more, which is before we are told; brokers accept offsets under -1 from anybody. So
 * it is taken once, when partitions are given, and looked at.
 *
 * Contact is a commit of offset 0 to a partition that nobody reads, each second: it cannot undo
 * what a burst commits, whichever comes first. While the coordinator is away librdkafka keeps such
 * a commit for as long as a session, and sends it with the member id of then: none, if our session
 * ended meanwhile, which the coordinator takes for another holder of our name and fences us. So no
 * more than two are ever under way: what is kept is over soon after our session.
 */
#include "kafka/consumer_private.h"

#include "base/log.h"

#include <string.h>

#define PULSE_MS 1000
#define PULSES_OPEN_MAX 2
#define LOOK_MS 200

/* How rd_kafka_consumer_group_metadata_write() begins: this, then the generation (int32_t). */
#define GENERATION_MAGIC "CGMDv2:"
#define GENERATION_MAGIC_LEN (sizeof(GENERATION_MAGIC) - 1)

static bool is_member(const void *bytes, size_t size)
{
    int32_t generation = -1;
    if (size > GENERATION_MAGIC_LEN + sizeof(generation) &&
        memcmp(bytes, GENERATION_MAGIC, GENERATION_MAGIC_LEN) == 0) {
        memcpy(&generation, (const char *)bytes + GENERATION_MAGIC_LEN, sizeof(generation));
    } else {
        log_error("generation-unreadable", "bytes=%zu", size);
    }
    return generation >= 0;
}

static void generation_drop(struct consumer_claim *claim)
{
    if (claim->generation != NULL) {
        rd_kafka_mem_free(NULL, claim->generation);
        claim->generation = NULL;
    }
    atomic_store(&claim->contact_us, 0);
}

/* librdkafka's present view; the caller's to free, NULL: none. */
static void *generation_read(struct kafka_consumer *consumer, size_t *size)
{
    void *bytes = NULL;
    rd_kafka_consumer_group_metadata_t *now = rd_kafka_consumer_group_metadata(consumer->rk);
    if (now != NULL) {
        rd_kafka_error_t *error = rd_kafka_consumer_group_metadata_write(now, &bytes, size);
        CHECK(error == NULL);
        rd_kafka_consumer_group_metadata_destroy(now);
    }
    return bytes;
}

void contact_begin(struct kafka_consumer *consumer)
{
    struct consumer_claim *claim = &consumer->claim;
    generation_drop(claim);
    claim->generation_number++;
    claim->next_pulse = mono_now();
    claim->pulses_open = 0;
    claim->generation = generation_read(consumer, &claim->generation_size);
    if (claim->generation != NULL && !is_member(claim->generation, claim->generation_size)) {
        generation_drop(claim);
    }
}

rd_kafka_consumer_group_metadata_t *contact_generation(const struct kafka_consumer *consumer,
                                                       uint64_t *number)
{
    const struct consumer_claim *claim = &consumer->claim;
    rd_kafka_consumer_group_metadata_t *copy = NULL;
    *number = claim->generation_number;
    if (claim->generation != NULL) {
        rd_kafka_error_t *error =
            rd_kafka_consumer_group_metadata_read(&copy, claim->generation, claim->generation_size);
        CHECK(error == NULL);
    }
    return copy;
}

/* Only these commits are contact: they prolong the membership at the broker, which a commit in a
 * transaction does not. */
static void keep_contact(struct kafka_consumer *consumer, uint64_t generation_number,
                         int64_t sent_us)
{
    struct consumer_claim *claim = &consumer->claim;
    if (claim->generation != NULL && claim->generation_number == generation_number &&
        sent_us > atomic_load(&claim->contact_us)) {
        atomic_store(&claim->contact_us, sent_us);
    }
}

void contact_gone(struct kafka_consumer *consumer, uint64_t generation_number)
{
    if (consumer->claim.generation_number == generation_number &&
        consumer->claim.generation != NULL) {
        log_warn("generation-gone", "reason=\"the group does not know us any more\"");
        generation_drop(&consumer->claim);
    }
}

void contact_end(struct kafka_consumer *consumer)
{
    generation_drop(&consumer->claim);
}

/* Whether it is the same still: a member that was thrown out learns it here before it is told. The
 * question also wakes librdkafka's main thread, which otherwise sleeps for up to a second and sends
 * heartbeats, by which members hear of a rebalance, only when it is awake. */
static void generation_look(struct kafka_consumer *consumer, struct mono_time now)
{
    struct consumer_claim *claim = &consumer->claim;
    size_t size;
    claim->next_look = mono_add_ms(now, LOOK_MS);
    void *bytes = generation_read(consumer, &size);
    if (bytes == NULL || size != claim->generation_size ||
        memcmp(bytes, claim->generation, size) != 0) {
        contact_gone(consumer, claim->generation_number);
    }
    if (bytes != NULL) {
        rd_kafka_mem_free(NULL, bytes);
    }
}

static void pulse_send(struct kafka_consumer *consumer, struct mono_time now)
{
    struct consumer_claim *claim = &consumer->claim;
    claim->next_pulse = mono_add_ms(now, PULSE_MS);
    uintptr_t number = ++claim->pulse;
    claim->pulses_open++;
    claim->pulses[number % CONTACT_PULSES].sent_us = mono_now().us;
    claim->pulses[number % CONTACT_PULSES].generation_number = claim->generation_number;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, claim->contact_topic, claim->contact_partition)
        ->offset = 0;
    rd_kafka_commit_queue(consumer->rk, list, claim->answers, NULL,
                          (void *)number); /* NOLINT(performance-no-int-to-ptr): a number */
    rd_kafka_topic_partition_list_destroy(list);
}

void contact_answered(struct kafka_consumer *consumer, rd_kafka_event_t *event)
{
    struct consumer_claim *claim = &consumer->claim;
    uintptr_t number = (uintptr_t)rd_kafka_event_opaque(event);
    if (claim->pulse - number >= CONTACT_PULSES) {
        return; /* its place was taken since */
    }
    uint64_t generation_number = claim->pulses[number % CONTACT_PULSES].generation_number;
    if (claim->generation_number == generation_number) {
        claim->pulses_open--;
    }
    rd_kafka_resp_err_t error = rd_kafka_event_error(event);
    const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR && list != NULL && list->cnt == 1) {
        error = list->elems[0].err;
    }
    switch ((int)error) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        keep_contact(consumer, generation_number, claim->pulses[number % CONTACT_PULSES].sent_us);
        break;
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID: contact_gone(consumer, generation_number); break;
    default: {
        unsigned suppressed;
        if (error != RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS &&
            kafka_log_allowed(&consumer->commit_limit, 3, &suppressed)) {
            log_warn("contact-failed", "suppressed=%u reason=\"%s\"", suppressed,
                     rd_kafka_err2str(error));
        }
        break;
    }
    }
}

int64_t kafka_consumer_contact_us(const struct kafka_consumer *consumer)
{
    return atomic_load(&consumer->claim.contact_us);
}

void contact_serve(struct kafka_consumer *consumer, struct mono_time now)
{
    const struct consumer_claim *claim = &consumer->claim;
    if (claim->generation != NULL && !mono_before(now, claim->next_look)) {
        generation_look(consumer, now);
    }
    if (claim->generation != NULL && claim->contact_topic != NULL &&
        claim->pulses_open < PULSES_OPEN_MAX && !mono_before(now, claim->next_pulse)) {
        pulse_send(consumer, now);
    }
}

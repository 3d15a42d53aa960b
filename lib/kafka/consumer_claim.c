/*
 * Claim mode: what the group gives is told with what was committed for it, and the owner says where
 * to begin.
 *
 * What is committed is asked for with OffsetFetch for the whole group. First as it stands
 * (`settled` false): an offset with a transaction pending would be refused otherwise until that
 * ends, and who has it open is only known from the metadata. Then, after the owner has fenced whom
 * it had to, stable offsets only (`settled` true).
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
#include "base/mem.h"

#include <inttypes.h>
#include <string.h>

#define ASK_RETRY_MS 50
#define LOWEST_TIMEOUT_MS 1000
#define PULSE_MS 1000
#define PULSES_OPEN_MAX 2
#define LOOK_MS 200

/* How rd_kafka_consumer_group_metadata_write() begins: this, then the generation (int32_t). */
#define GENERATION_MAGIC "CGMDv2:"
#define GENERATION_MAGIC_LEN (sizeof(GENERATION_MAGIC) - 1)

void claim_init(struct kafka_consumer *consumer, const struct kafka_consumer_options *options)
{
    struct consumer_claim *claim = &consumer->claim;
    claim->group_id = mem_strdup(options->group_id);
    claim->contact_topic =
        options->contact_topic == NULL ? NULL : mem_strdup(options->contact_topic);
    claim->contact_partition = options->contact_partition;
    claim->session_timeout_ms = options->session_timeout_ms;
}

void claim_release(struct kafka_consumer *consumer)
{
    struct consumer_claim *claim = &consumer->claim;
    claim_revoked(consumer);
    mem_free(claim->group_id);
    mem_free(claim->contact_topic);
}

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

static void generation_take(struct kafka_consumer *consumer)
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

rd_kafka_consumer_group_metadata_t *claim_generation(const struct kafka_consumer *consumer,
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

void claim_generation_gone(struct kafka_consumer *consumer, uint64_t generation_number)
{
    if (consumer->claim.generation_number == generation_number &&
        consumer->claim.generation != NULL) {
        log_warn("generation-gone", "reason=\"the group does not know us any more\"");
        generation_drop(&consumer->claim);
    }
}

void claim_revoked(struct kafka_consumer *consumer)
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
        claim_generation_gone(consumer, claim->generation_number);
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

static void pulse_answered(struct kafka_consumer *consumer, rd_kafka_event_t *event)
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
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
        claim_generation_gone(consumer, generation_number);
        break;
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

static void ask(struct kafka_consumer *consumer)
{
    struct consumer_claim *claim = &consumer->claim;
    rd_kafka_ListConsumerGroupOffsets_t *group =
        rd_kafka_ListConsumerGroupOffsets_new(claim->group_id, NULL);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(consumer->rk, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
    rd_kafka_AdminOptions_set_request_timeout(options, KAFKA_ASK_TIMEOUT_MS, NULL, 0);
    rd_kafka_error_t *error =
        rd_kafka_AdminOptions_set_require_stable_offsets(options, claim->settled);
    CHECK(error == NULL);
    rd_kafka_AdminOptions_set_opaque(
        options, (void *)++claim->asking); /* NOLINT(performance-no-int-to-ptr): a number */
    rd_kafka_ListConsumerGroupOffsets(consumer->rk, &group, 1, options, claim->answers);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ListConsumerGroupOffsets_destroy(group);
    claim->phase = CLAIM_ASKED;
}

static void ask_later(struct kafka_consumer *consumer, const char *why)
{
    unsigned suppressed;
    if (kafka_log_allowed(&consumer->error_limit, 5, &suppressed)) {
        log_warn("assignment-waits", "suppressed=%u reason=\"%s\"", suppressed, why);
    }
    consumer->claim.phase = CLAIM_ASK;
    consumer->claim.ask_at = mono_add_ms(mono_now(), ASK_RETRY_MS);
}

/* librdkafka's own look-up goes through the whole list. */
static const rd_kafka_topic_partition_t *find(const rd_kafka_topic_partition_list_t *sorted,
                                              const char *topic, int32_t partition)
{
    int low = 0;
    int high = sorted->cnt;
    while (low < high) {
        int middle = low + (high - low) / 2;
        const rd_kafka_topic_partition_t *one = &sorted->elems[middle];
        int order = strcmp(one->topic, topic);
        if (order == 0 && one->partition == partition) {
            return one;
        }
        if (order < 0 || (order == 0 && one->partition < partition)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

/* The text is NUL-terminated by librdkafka's copy only up to its size. */
static char *metadata_text(const rd_kafka_topic_partition_t *one)
{
    return one == NULL || one->metadata == NULL ? mem_strdup("")
                                                : mem_strndup(one->metadata, one->metadata_size);
}

static void add_given(struct kafka_consumer *consumer, struct kafka_given *given, size_t *count,
                      const char *name, int32_t id, const rd_kafka_topic_partition_t *committed)
{
    struct kafka_topic *topic = consumer_topic(consumer, name);
    if (topic == NULL) {
        return; /* the contact's, or of a stream that was */
    }
    given[(*count)++] = (struct kafka_given){
        .partition = consumer_partition(topic, id),
        .committed = committed == NULL || committed->offset < 0 ? -1 : committed->offset,
        .lowest = -1,
        .metadata = metadata_text(committed),
    };
}

/* Those that are ours, then the others; all lists are sorted. */
static void tell_given(struct kafka_consumer *consumer,
                       const rd_kafka_topic_partition_list_t *committed,
                       const rd_kafka_topic_partition_list_t *lowest,
                       const rd_kafka_topic_partition_list_t *highest)
{
    const rd_kafka_topic_partition_list_t *mine = consumer->pending;
    struct kafka_given *given =
        mem_calloc((size_t)mine->cnt + (size_t)committed->cnt, sizeof(*given));
    size_t count = 0;
    for (int i = 0; i < mine->cnt; i++) {
        const rd_kafka_topic_partition_t *one = &mine->elems[i];
        add_given(consumer, given, &count, one->topic, one->partition,
                  find(committed, one->topic, one->partition));
        CHECK(count == (size_t)i + 1);
        given[i].mine = true;
        given[i].lowest = find(lowest, one->topic, one->partition)->offset;
        given[i].highest = find(highest, one->topic, one->partition)->offset;
    }
    for (int i = 0; i < committed->cnt; i++) {
        const rd_kafka_topic_partition_t *one = &committed->elems[i];
        if (one->err == RD_KAFKA_RESP_ERR_NO_ERROR && one->offset >= 0 &&
            find(mine, one->topic, one->partition) == NULL) {
            add_given(consumer, given, &count, one->topic, one->partition, one);
        }
    }
    consumer->claim.phase = CLAIM_TOLD;
    consumer->ops->given(consumer->owner, given, count, consumer->claim.settled);
    for (size_t i = 0; i < count; i++) {
        kafka_text_free(given[i].metadata);
    }
    mem_free(given);
}

/* RD_KAFKA_OFFSET_BEGINNING or _END of all that is pending, sorted; NULL: later. */
static rd_kafka_topic_partition_list_t *ends_of(struct kafka_consumer *consumer, int64_t which)
{
    struct fault fault;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_copy(consumer->pending);
    for (int i = 0; i < list->cnt; i++) {
        list->elems[i].offset = which;
    }
    if (!kafka_list_offsets(consumer->rk, list, LOWEST_TIMEOUT_MS, &fault)) {
        ask_later(consumer, fault.text);
        rd_kafka_topic_partition_list_destroy(list);
        return NULL;
    }
    rd_kafka_topic_partition_list_sort(list, NULL, NULL);
    return list;
}

/* False: the brokers would not say of one of them. */
static bool all_told(struct kafka_consumer *consumer,
                     const rd_kafka_topic_partition_list_t *committed)
{
    for (int i = 0; i < consumer->pending->cnt; i++) {
        const rd_kafka_topic_partition_t *one = &consumer->pending->elems[i];
        const rd_kafka_topic_partition_t *told = find(committed, one->topic, one->partition);
        if (told != NULL && told->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            ask_later(consumer, rd_kafka_err2str(told->err));
            return false;
        }
    }
    return true;
}

static void answered(struct kafka_consumer *consumer, rd_kafka_event_t *event)
{
    struct consumer_claim *claim = &consumer->claim;
    if (claim->phase != CLAIM_ASKED || (uintptr_t)rd_kafka_event_opaque(event) != claim->asking) {
        return;
    }
    if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        ask_later(consumer, rd_kafka_event_error_string(event));
        return;
    }
    size_t count;
    const rd_kafka_group_result_t **groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
        rd_kafka_event_ListConsumerGroupOffsets_result(event), &count);
    const rd_kafka_error_t *error = count == 1 ? rd_kafka_group_result_error(groups[0]) : NULL;
    if (count != 1 || error != NULL) {
        ask_later(consumer,
                  error == NULL ? "no answer for the group" : rd_kafka_error_string(error));
        return;
    }
    rd_kafka_topic_partition_list_t *committed =
        rd_kafka_topic_partition_list_copy(rd_kafka_group_result_partitions(groups[0]));
    rd_kafka_topic_partition_list_sort(committed, NULL, NULL);
    rd_kafka_topic_partition_list_t *lowest = NULL;
    rd_kafka_topic_partition_list_t *highest = NULL;
    if (all_told(consumer, committed)) {
        lowest = ends_of(consumer, RD_KAFKA_OFFSET_BEGINNING);
        highest = lowest == NULL ? NULL : ends_of(consumer, RD_KAFKA_OFFSET_END);
    }
    if (highest != NULL) {
        tell_given(consumer, committed, lowest, highest);
        rd_kafka_topic_partition_list_destroy(highest);
    }
    if (lowest != NULL) {
        rd_kafka_topic_partition_list_destroy(lowest);
    }
    rd_kafka_topic_partition_list_destroy(committed);
}

void claim_given(struct kafka_consumer *consumer)
{
    rd_kafka_topic_partition_list_sort(consumer->pending, NULL, NULL);
    generation_take(consumer);
    consumer->claim.settled = false;
    /* As long as librdkafka waits for our assign() a rebalance waits for us, and the whole group
     * with it. So it gets one, of nothing for now. */
    rd_kafka_topic_partition_list_t *nothing = rd_kafka_topic_partition_list_new(1);
    rd_kafka_assign(consumer->rk, nothing);
    rd_kafka_topic_partition_list_destroy(nothing);
    ask(consumer);
}

void claim_given_back(struct kafka_consumer *consumer)
{
    if (consumer->claim.phase != CLAIM_NONE) {
        consumer->claim.phase = CLAIM_NONE;
        if (!consumer->closing && consumer->ops->given_back != NULL) {
            consumer->ops->given_back(consumer->owner);
        }
    }
}

void claim_serve(struct kafka_consumer *consumer, struct mono_time now)
{
    struct consumer_claim *claim = &consumer->claim;
    rd_kafka_event_t *event;
    while ((event = rd_kafka_queue_poll(claim->answers, 0)) != NULL) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_OFFSET_COMMIT) {
            pulse_answered(consumer, event);
        } else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_LISTCONSUMERGROUPOFFSETS_RESULT) {
            answered(consumer, event);
        }
        rd_kafka_event_destroy(event);
    }
    if (claim->phase == CLAIM_ASK && !mono_before(now, claim->ask_at)) {
        ask(consumer);
    }
    if (claim->generation != NULL && !mono_before(now, claim->next_look)) {
        generation_look(consumer, now);
    }
    if (claim->generation != NULL && claim->contact_topic != NULL &&
        claim->pulses_open < PULSES_OPEN_MAX && !mono_before(now, claim->next_pulse)) {
        pulse_send(consumer, now);
    }
}

void kafka_consumer_look(struct kafka_consumer *consumer)
{
    CHECK_MAGIC(consumer, CONSUMER_MAGIC);
    if (consumer->claim.phase == CLAIM_TOLD) {
        consumer->claim.settled = true;
        ask(consumer);
    }
}

/* All of `pending`, each once. */
static bool starts_fit(const struct kafka_consumer *consumer, const struct kafka_start *starts,
                       size_t count)
{
    if (consumer->claim.phase != CLAIM_TOLD || consumer->pending == NULL ||
        count != (size_t)consumer->pending->cnt) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const struct kafka_partition *one = starts[i].partition;
        CHECK_MAGIC(one, PARTITION_MAGIC);
        if (find(consumer->pending, one->topic->name, one->id) == NULL) {
            return false;
        }
    }
    return true;
}

bool kafka_consumer_begin(struct kafka_consumer *consumer, const struct kafka_start *starts,
                          size_t count)
{
    CHECK_MAGIC(consumer, CONSUMER_MAGIC);
    if (!starts_fit(consumer, starts, count)) {
        return false;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        struct kafka_partition *partition = starts[i].partition;
        consumer_partition_begin(consumer, partition, starts[i].offset);
        partition->claim = starts[i].claim;
        bool sorted = offsets_import(&partition->offsets, starts[i].runs, starts[i].run_count);
        CHECK(sorted);
        rd_kafka_topic_partition_list_add(list, partition->topic->name, partition->id)->offset =
            starts[i].offset;
    }
    rd_kafka_topic_partition_list_destroy(consumer->pending);
    consumer->pending = NULL;
    consumer->claim.phase = CLAIM_NONE;
    consumer_assign(consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    return true;
}

int64_t kafka_consumer_contact_us(const struct kafka_consumer *consumer)
{
    return atomic_load(&consumer->claim.contact_us);
}

const struct offsets *kafka_partition_offsets(const struct kafka_partition *partition)
{
    CHECK_MAGIC(partition, PARTITION_MAGIC);
    CHECK(partition->assigned);
    return &partition->offsets;
}

uint64_t kafka_partition_claim(const struct kafka_partition *partition)
{
    return partition->claim;
}

int64_t kafka_partition_committed(const struct kafka_partition *partition)
{
    return partition->committed;
}

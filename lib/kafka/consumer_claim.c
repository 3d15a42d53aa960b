/*
 * Claim mode: what the group gives is told with what was committed for it, and the owner says where
 * to begin.
 *
 * What is committed is asked for with OffsetFetch for the whole group. First as it stands
 * (`settled` false): an offset with a transaction pending would be refused otherwise until that
 * ends, and who has it open is only known from the metadata. Then, after the owner has fenced whom
 * it had to, stable offsets only (`settled` true).
 */
#include "kafka/consumer_private.h"

#include "base/log.h"
#include "base/mem.h"

#include <string.h>

#define ASK_RETRY_MS 50
#define LOWEST_TIMEOUT_MS 1000

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
    contact_end(consumer);
    mem_free(claim->group_id);
    mem_free(claim->contact_topic);
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
    contact_begin(consumer);
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
            contact_answered(consumer, event);
        } else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_LISTCONSUMERGROUPOFFSETS_RESULT) {
            answered(consumer, event);
        }
        rd_kafka_event_destroy(event);
    }
    if (claim->phase == CLAIM_ASK && !mono_before(now, claim->ask_at)) {
        ask(consumer);
    }
    contact_serve(consumer, now);
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

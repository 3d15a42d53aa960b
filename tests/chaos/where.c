/*
 * sluice-where --config FILE: reads addresses from its standard input and tells where records that
 * have them as a recipient lie in the queues, the delay tiers, the dead letter queue and the topic
 * of uncertain mail. For ops/chaos, which asks before it calls anything lost.
 *
 *   out:  ADDRESS TAB TOPIC TAB PARTITION TAB OFFSET TAB COMMITTED TAB TIME-MS TAB ATTEMPT TAB
 * DUE-MS
 *
 * TOPIC without the prefix; COMMITTED is the group's offset of that partition, -1: none. An address
 * that is no longer among a copy's pending recipients is not told.
 */
#include "base/map.h"
#include "base/mem.h"
#include "kafka/reader.h"
#include "policy/config.h"
#include "schema/headers.h"

#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIERS 12
#define ADDRESS_MAX 400
#define ARENA_FIRST_BYTES ((size_t)16384)
#define ARENA_MAX_BYTES ((size_t)64 << 20)
#define COMMITTED_MS 20000
#define WAIT_MS 1000

static struct map wanted; /* of the addresses, in lower case */
static const struct config *config;
static rd_kafka_topic_partition_list_t *committed;

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "sluice-where: %s: %s\n", what, why);
    exit(1);
}

static void read_wanted(void)
{
    char line[ADDRESS_MAX];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        char *address = mem_strdup(line);
        if (map_get(&wanted, slice_cstr(address)) == NULL) {
            map_put(&wanted, slice_cstr(address), address);
        }
    }
}

static char *topic_name(const char *name)
{
    char whole[300];
    snprintf(whole, sizeof(whole), "%s%s", config->kafka.prefix, name);
    return mem_strdup(whole);
}

static size_t list_topics(char **topics)
{
    char name[100];
    size_t count = 0;
    for (size_t i = 0; i < config->stream_count; i++) {
        snprintf(name, sizeof(name), "q.%s", config->streams[i].name);
        topics[count++] = topic_name(name);
    }
    for (int i = 0; i < TIERS; i++) {
        snprintf(name, sizeof(name), "d.%02d", i);
        topics[count++] = topic_name(name);
    }
    topics[count++] = topic_name("dlq");
    topics[count++] = topic_name("uncertain");
    return count;
}

/* All of the group's offsets. */
static void ask_committed(const char *const *topics, size_t count)
{
    char text[300];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "group.id", config->kafka.group, text, sizeof(text));
    if (rd_kafka_conf_set(conf, "bootstrap.servers", config->kafka.bootstrap_servers, text,
                          sizeof(text)) != RD_KAFKA_CONF_OK) {
        die("bootstrap.servers", text);
    }
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    if (rk == NULL) {
        die("client", text);
    }
    committed = rd_kafka_topic_partition_list_new(256);
    for (size_t i = 0; i < count; i++) {
        for (int32_t shard = 0; shard < (int32_t)config->kafka.shards; shard++) {
            rd_kafka_topic_partition_list_add(committed, topics[i], shard);
        }
    }
    rd_kafka_resp_err_t error = rd_kafka_committed(rk, committed, COMMITTED_MS);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        die("committed offsets", rd_kafka_err2str(error));
    }
    rd_kafka_destroy(rk);
}

static int64_t committed_of(const char *topic, int32_t partition)
{
    const rd_kafka_topic_partition_t *one =
        rd_kafka_topic_partition_list_find(committed, topic, partition);
    return one == NULL || one->offset < 0 ? -1 : one->offset;
}

static struct slice header(const struct kafka_reader_record *record, const char *name)
{
    struct slice value;
    return kafka_reader_header(record, name, &value) ? value : SLICE("");
}

static bool is_pending(const struct kafka_reader_record *record, size_t index, size_t count)
{
    struct pending_set set;
    struct slice text;
    if (!kafka_reader_header(record, HEADER_PENDING, &text) ||
        !pending_decode(text, count, &set, NULL)) {
        return true;
    }
    return pending_has(&set, index);
}

static void tell(const struct kafka_reader_record *record)
{
    struct arena *arena = arena_create(ARENA_FIRST_BYTES, ARENA_MAX_BYTES);
    struct message_origin origin = {slice_cstr(record->topic), record->partition, record->offset};
    struct message message = {0};
    struct fault fault;
    (void)message_decode(record->value, &origin, arena, &message, &fault);
    for (size_t i = 0; i < message.recipient_count; i++) {
        char *address = arena_zalloc(arena, message.recipients[i].address.len + 1);
        for (size_t j = 0; j < message.recipients[i].address.len; j++) {
            address[j] = (char)ascii_lower_byte(message.recipients[i].address.ptr[j]);
        }
        if (map_get(&wanted, slice_cstr(address)) == NULL ||
            !is_pending(record, i, message.recipient_count)) {
            continue;
        }
        printf("%s\t%s\t%d\t%" PRId64 "\t%" PRId64 "\t%" PRId64 "\t%.*s\t%.*s\n", address,
               record->topic + strlen(config->kafka.prefix), (int)record->partition, record->offset,
               committed_of(record->topic, record->partition), record->timestamp_ms,
               SLICE_FMT(header(record, HEADER_ATTEMPT)), SLICE_FMT(header(record, HEADER_DUE_MS)));
    }
    arena_free(&arena);
}

int main(int argc, char **argv)
{
    struct fault fault;
    if (argc != 3 || strcmp(argv[1], "--config") != 0) {
        fprintf(stderr, "usage: sluice-where --config FILE\n");
        return 2;
    }
    struct config *loaded = config_load(argv[2], &fault);
    if (loaded == NULL) {
        die(argv[2], fault.text);
    }
    config = loaded;
    map_init(&wanted);
    read_wanted();
    char **topics = mem_calloc(config->stream_count + TIERS + 2, sizeof(*topics));
    size_t count = list_topics(topics);
    const char *const *names = (const char *const *)topics;
    ask_committed(names, count);
    struct kafka_property bootstrap = {"bootstrap.servers", config->kafka.bootstrap_servers};
    struct kafka_properties properties = {&bootstrap, 1};
    struct kafka_reader *reader = kafka_reader_create(&properties, names, count, -2, &fault);
    struct kafka_reader_record record;
    enum kafka_read got = reader == NULL ? KAFKA_READ_FAILED : KAFKA_READ_NONE;
    while (got != KAFKA_READ_END && got != KAFKA_READ_FAILED) {
        got = kafka_reader_next(reader, WAIT_MS, &record, &fault);
        if (got == KAFKA_READ_RECORD) {
            tell(&record);
        }
    }
    if (got == KAFKA_READ_FAILED) {
        die("reading", fault.text);
    }
    kafka_reader_free(&reader);
    for (size_t i = 0; i < count; i++) {
        mem_free(topics[i]);
    }
    mem_free(topics);
    size_t cursor = 0;
    for (char *address; (address = map_next(&wanted, &cursor)) != NULL;) {
        mem_free(address);
    }
    map_free(&wanted);
    rd_kafka_topic_partition_list_destroy(committed);
    config_free(&loaded);
    return 0;
}

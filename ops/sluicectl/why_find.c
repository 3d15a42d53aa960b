/*
 * Finding the record of one message. Nowhere is a topic read through: the log tells partition and
 * time, ListOffsets the offset to begin at, and a window of a minute is enough.
 */
#include "ops/sluicectl/why.h"

#include "base/arena.h"
#include "base/mem.h"
#include "kafka/topics.h"
#include "schema/headers.h"

#include <stdio.h>
#include <string.h>

#define ASK_MS 3000
#define SKEW_MS 5000    /* clocks of machines; a burst before it is on Kafka */
#define WINDOW_MS 60000 /* … and a burst that had to be tried again */
#define DUE_SKEW_MS 1000
#define ARENA_FIRST_BYTES 4096
#define ARENA_MAX_BYTES ((size_t)64 * 1024 * 1024)

struct search {
    const char *message_id;
    int64_t due_ms, to_ms;
    struct why_place *place;
};

static int64_t header_number(const struct kafka_reader_record *record, const char *name)
{
    struct slice text;
    uint64_t number;
    return kafka_reader_header(record, name, &text) && slice_to_u64(text, &number) &&
                   number <= INT64_MAX
               ? (int64_t)number
               : 0;
}

static bool has_id(const struct kafka_reader_record *record, const char *message_id)
{
    struct slice id;
    return kafka_reader_header(record, HEADER_ID, &id) &&
           slice_eq_nocase(id, slice_cstr(message_id));
}

static void copy_text(char *out, size_t size, struct slice text)
{
    (void)snprintf(out, size, "%.*s", (int)(text.len < size ? text.len : size - 1),
                   text.ptr == NULL ? "" : text.ptr);
}

static void note(struct why_place *place, const struct kafka_reader_record *record)
{
    struct slice last = SLICE_NULL;
    (void)kafka_reader_header(record, HEADER_LAST, &last);
    place->found = true;
    place->partition = record->partition;
    place->offset = record->offset;
    place->timestamp_ms = record->timestamp_ms;
    place->due_ms = header_number(record, HEADER_DUE_MS);
    place->attempt = (uint64_t)header_number(record, HEADER_ATTEMPT);
    copy_text(place->topic, sizeof(place->topic), slice_cstr(record->topic));
    copy_text(place->last, sizeof(place->last), last);
    copy_text(place->key, sizeof(place->key), record->key);
}

/* The partition, or all of the topic. */
static struct kafka_reader_place *places_of(struct kafka_finder *finder, const char *topic,
                                            int32_t partition, size_t *count, struct fault *fault)
{
    int partitions = kafka_finder_partitions(finder, topic, ASK_MS, fault);
    if (partitions < 0) {
        return NULL;
    }
    *count = partition >= 0 ? 1 : (size_t)partitions;
    struct kafka_reader_place *places = mem_calloc(*count + 1, sizeof(*places));
    for (size_t i = 0; i < *count; i++) {
        places[i] = (struct kafka_reader_place){
            .topic = topic, .partition = partition >= 0 ? partition : (int32_t)i};
    }
    return places;
}

/* ---- tiers ---- */

static enum kafka_finder_verdict look_in_tier(void *owner, const struct kafka_reader_record *record)
{
    struct search *search = owner;
    if (has_id(record, search->message_id)) {
        int64_t off_ms = header_number(record, HEADER_DUE_MS) - search->due_ms;
        if (off_ms > -DUE_SKEW_MS && off_ms < DUE_SKEW_MS) {
            note(search->place, record);
            return KAFKA_FINDER_STOP;
        }
    }
    return record->timestamp_ms > search->to_ms ? KAFKA_FINDER_ENOUGH : KAFKA_FINDER_ON;
}

/* Where its partition is read next. */
static bool note_next(struct kafka_finder *finder, const struct why_answers *answers,
                      struct why_place *place, struct fault *fault)
{
    struct kafka_reader_place one = {.topic = place->topic, .partition = place->partition};
    int64_t position = why_position(answers, place->topic, place->partition, &place->rate);
    if (!kafka_finder_committed(finder, &one, 1, ASK_MS, fault)) {
        return false;
    }
    place->next = position > one.offset ? position : one.offset;
    return true;
}

bool why_find_in_tier(struct kafka_finder *finder, const struct why_answers *answers,
                      const char *topic, int32_t partition, const char *message_id,
                      int64_t since_ms, int64_t due_ms, struct mono_time deadline,
                      struct why_place *place, struct fault *fault)
{
    struct search search = {message_id, due_ms, since_ms + WINDOW_MS, place};
    size_t count = 0;
    struct kafka_reader_place *places = places_of(finder, topic, partition, &count, fault);
    *place = (struct why_place){0};
    bool good = places != NULL &&
                kafka_finder_times(finder, places, count, since_ms - SKEW_MS, ASK_MS, fault);
    if (good) {
        enum kafka_finder_over over =
            kafka_finder_read(finder, places, count, deadline, look_in_tier, &search, fault);
        place->searched_all = over == KAFKA_FINDER_DONE;
        good = over != KAFKA_FINDER_FAILED &&
               (!place->found || note_next(finder, answers, place, fault));
    }
    mem_free(places);
    return good;
}

/* ---- held ones ---- */

static enum kafka_finder_verdict look_among_held(void *owner,
                                                 const struct kafka_reader_record *record)
{
    struct search *search = owner;
    struct why_place *place = search->place;
    if (record->value.ptr == NULL) {
        place->decided =
            place->decided || (place->found && slice_eq(record->key, slice_cstr(place->key)));
    } else if (has_id(record, search->message_id)) {
        note(place, record);
        place->decided = false;
    }
    return KAFKA_FINDER_ON;
}

bool why_find_held(struct kafka_finder *finder, const char *topic, int32_t partition,
                   const char *message_id, int64_t since_ms, struct mono_time deadline,
                   struct why_place *place, struct fault *fault)
{
    struct search search = {.message_id = message_id, .place = place};
    size_t count = 0;
    struct kafka_reader_place *places = places_of(finder, topic, partition, &count, fault);
    *place = (struct why_place){0};
    bool good = places != NULL &&
                kafka_finder_times(finder, places, count, since_ms - SKEW_MS, ASK_MS, fault);
    if (good) {
        enum kafka_finder_over over =
            kafka_finder_read(finder, places, count, deadline, look_among_held, &search, fault);
        place->searched_all = over == KAFKA_FINDER_DONE;
        good = over != KAFKA_FINDER_FAILED;
    }
    mem_free(places);
    return good;
}

/* ---- unread ones ---- */

static enum kafka_finder_verdict look_in_stream(void *owner,
                                                const struct kafka_reader_record *record)
{
    struct search *search = owner;
    struct message message = {0};
    struct fault fault;
    struct message_origin origin = {slice_cstr(record->topic), record->partition, record->offset};
    struct arena *arena = arena_create(ARENA_FIRST_BYTES, ARENA_MAX_BYTES);
    CHECK(arena != NULL);
    (void)message_decode(record->value, &origin, arena, &message, &fault);
    bool found = slice_eq_nocase(message.id, slice_cstr(search->message_id));
    arena_free(&arena);
    if (found) {
        note(search->place, record);
        return KAFKA_FINDER_STOP;
    }
    return search->to_ms > 0 && record->timestamp_ms > search->to_ms ? KAFKA_FINDER_ENOUGH
                                                                     : KAFKA_FINDER_ON;
}

/* Partitions of the stream in which it may be unread: beginning at the time when it was written. */
static bool candidates(struct kafka_finder *finder, const struct why_query *query, int64_t from_ms,
                       struct why_unread *unread, struct kafka_reader_place *places, size_t *count,
                       struct fault *fault)
{
    const char *at = query->recipient == NULL ? NULL : strrchr(query->recipient, '@');
    int32_t only =
        at == NULL ? -1 : kafka_finder_partition_of(slice_cstr(at + 1), (int)unread->count);
    *count = 0;
    for (size_t i = 0; i < unread->count; i++) {
        if (unread->next[i].offset < unread->end[i] && (only < 0 || only == (int32_t)i)) {
            places[(*count)++] = unread->next[i];
        }
    }
    if (*count == 0 || from_ms == 0) {
        return true;
    }
    if (!kafka_finder_times(finder, places, *count, from_ms, ASK_MS, fault)) {
        return false;
    }
    for (size_t i = 0; i < *count; i++) {
        int64_t next = unread->next[places[i].partition].offset;
        places[i].offset = places[i].offset > next ? places[i].offset : next;
    }
    return true;
}

static bool search_stream(struct kafka_finder *finder, const char *topic,
                          const struct why_query *query, const struct why_answers *answers,
                          int64_t from_ms, struct search *search, struct mono_time deadline,
                          struct fault *fault)
{
    struct why_unread unread;
    size_t count = 0;
    bool good = why_unread_get(finder, answers, topic, &unread, fault);
    struct kafka_reader_place *places = mem_calloc(unread.count + 1, sizeof(*places));
    good = good && candidates(finder, query, from_ms, &unread, places, &count, fault);
    if (good && count > 0) {
        enum kafka_finder_over over =
            kafka_finder_read(finder, places, count, deadline, look_in_stream, search, fault);
        good = over != KAFKA_FINDER_FAILED;
        search->place->searched_all = search->place->searched_all && over != KAFKA_FINDER_LATE;
    }
    if (good && search->place->found) {
        search->place->next = unread.next[search->place->partition].offset;
        search->place->rate = unread.rate[search->place->partition];
    }
    mem_free(places);
    why_unread_free(&unread);
    return good;
}

static bool search_streams(struct kafka_finder *finder, const struct config *config,
                           const struct why_query *query, const struct why_answers *answers,
                           int64_t from_ms, int64_t to_ms, struct mono_time deadline,
                           struct why_place *place, struct fault *fault)
{
    struct search search = {.message_id = query->message_id, .to_ms = to_ms, .place = place};
    *place = (struct why_place){.searched_all = true};
    for (size_t i = 0; i < config->stream_count && !place->found; i++) {
        char topic[KAFKA_TOPIC_NAME_MAX + 1];
        (void)snprintf(topic, sizeof(topic), "%sq.%s", config->kafka.prefix,
                       config->streams[i].name);
        if (!search_stream(finder, topic, query, answers, from_ms, &search, deadline, fault)) {
            return false;
        }
    }
    return true;
}

/* The domain's partition first; who published with another key, or none, put it elsewhere. */
bool why_find_unread(struct kafka_finder *finder, const struct config *config,
                     const struct why_query *query, const struct why_answers *answers,
                     int64_t from_ms, int64_t to_ms, struct mono_time deadline,
                     struct why_place *place, struct fault *fault)
{
    struct why_query wide = *query;
    wide.recipient = NULL;
    if (query->recipient != NULL &&
        (!search_streams(finder, config, query, answers, from_ms, to_ms, deadline, place, fault) ||
         place->found)) {
        return place->found;
    }
    return search_streams(finder, config, &wide, answers, from_ms, to_ms, deadline, place, fault);
}

/*
 * Finding the record of one message, while the workers are asked. Nowhere is a topic read through:
 * the log tells partition and time, ListOffsets the offset to begin at, and a window of a minute is
 * enough. It ends early when a worker has said that it has the message.
 */
#include "ops/sluicectl/why_find.h"

#include "base/arena.h"
#include "base/mem.h"
#include "schema/headers.h"
#include "schema/message.h"

#include <stdio.h>
#include <string.h>

#define SKEW_MS 5000    /* clocks of machines; a burst before it is on Kafka */
#define WINDOW_MS 60000 /* … and a burst that had to be tried again */
#define DUE_SKEW_MS 1000
#define ARENA_FIRST_BYTES 4096
#define ARENA_MAX_BYTES ((size_t)64 * 1024 * 1024)

typedef enum kafka_finder_verdict (*why_visit)(void *owner,
                                               const struct kafka_reader_record *record);

struct looking {
    const struct why_search *search;
    const char *message_id;
    int64_t due_ms, to_ms;
    struct why_place *place;
};

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
    place->due_ms = kafka_reader_number(record, HEADER_DUE_MS);
    place->attempt = (uint64_t)kafka_reader_number(record, HEADER_ATTEMPT);
    copy_text(place->topic, sizeof(place->topic), slice_cstr(record->topic));
    copy_text(place->last, sizeof(place->last), last);
    copy_text(place->key, sizeof(place->key), record->key);
}

/* Reads the places until the visitor has it, all is read, or the time is over. */
static bool read_places(const struct why_search *search, const struct kafka_reader_place *places,
                        size_t count, why_visit visit, struct looking *looking, struct fault *fault)
{
    enum kafka_finder_over over = kafka_finder_read(search->finder, places, count,
                                                    search->query->deadline, visit, looking, fault);
    looking->place->searched_all = over == KAFKA_FINDER_DONE || looking->place->found;
    return over != KAFKA_FINDER_FAILED;
}

/* A partition (-1: all) of a topic, from what came at about since_ms on. */
static bool read_since(const struct why_search *search, const char *topic, int32_t partition,
                       int64_t since_ms, why_visit visit, struct looking *looking,
                       struct fault *fault)
{
    struct mono_time deadline = search->query->deadline;
    *looking->place = (struct why_place){0};
    int partitions = kafka_finder_partitions(search->finder, topic, why_left_ms(deadline), fault);
    if (partitions < 0) {
        return false;
    }
    size_t count = partition >= 0 ? 1 : (size_t)partitions;
    struct kafka_reader_place *places = mem_calloc(count + 1, sizeof(*places));
    for (size_t i = 0; i < count; i++) {
        places[i] = (struct kafka_reader_place){
            .topic = topic, .partition = partition >= 0 ? partition : (int32_t)i};
    }
    bool good = kafka_finder_times(search->finder, places, count, since_ms - SKEW_MS,
                                   why_left_ms(deadline), fault) &&
                read_places(search, places, count, visit, looking, fault);
    mem_free(places);
    return good;
}

/* ---- tiers ---- */

static enum kafka_finder_verdict look_in_tier(void *owner, const struct kafka_reader_record *record)
{
    struct looking *looking = owner;
    if (has_id(record, looking->message_id)) {
        int64_t off_ms = kafka_reader_number(record, HEADER_DUE_MS) - looking->due_ms;
        if (off_ms > -DUE_SKEW_MS && off_ms < DUE_SKEW_MS) {
            note(looking->place, record);
            return KAFKA_FINDER_STOP;
        }
    }
    return record->timestamp_ms > looking->to_ms ? KAFKA_FINDER_ENOUGH : KAFKA_FINDER_ON;
}

bool why_find_in_tier(const struct why_search *search, const char *topic, int32_t partition,
                      int64_t since_ms, int64_t due_ms, struct why_place *place,
                      struct fault *fault)
{
    struct looking looking = {search, search->query->message_id, due_ms, since_ms + WINDOW_MS,
                              place};
    if (!read_since(search, topic, partition, since_ms, look_in_tier, &looking, fault)) {
        return false;
    }
    struct kafka_reader_place next = {.topic = place->topic, .partition = place->partition};
    bool good =
        !place->found || kafka_finder_committed(search->finder, &next, 1,
                                                why_left_ms(search->query->deadline), fault);
    place->next = next.offset;
    return good;
}

/* ---- held ones ---- */

static enum kafka_finder_verdict look_among_held(void *owner,
                                                 const struct kafka_reader_record *record)
{
    struct looking *looking = owner;
    struct why_place *place = looking->place;
    if (record->value.ptr == NULL) {
        place->decided =
            place->decided || (place->found && slice_eq(record->key, slice_cstr(place->key)));
    } else if (has_id(record, looking->message_id)) {
        note(place, record);
        place->decided = false;
    }
    return KAFKA_FINDER_ON;
}

bool why_find_held(const struct why_search *search, const char *topic, int32_t partition,
                   int64_t since_ms, struct why_place *place, struct fault *fault)
{
    struct looking looking = {.message_id = search->query->message_id, .place = place};
    return read_since(search, topic, partition, since_ms, look_among_held, &looking, fault);
}

/* ---- unread ones ---- */

/* Who publishes with libsluice or by SMTP tells the id in a header. */
static bool is_in(const struct kafka_reader_record *record, const char *message_id)
{
    struct slice id;
    if (kafka_reader_header(record, HEADER_ID, &id)) {
        return slice_eq_nocase(id, slice_cstr(message_id));
    }
    struct message message = {0};
    struct fault fault;
    struct message_origin origin = {slice_cstr(record->topic), record->partition, record->offset};
    struct arena *arena = arena_create(ARENA_FIRST_BYTES, ARENA_MAX_BYTES);
    CHECK(arena != NULL);
    (void)message_decode(record->value, &origin, arena, &message, &fault);
    bool found = slice_eq_nocase(message.id, slice_cstr(message_id));
    arena_free(&arena);
    return found;
}

static enum kafka_finder_verdict look_in_stream(void *owner,
                                                const struct kafka_reader_record *record)
{
    struct looking *looking = owner;
    if (is_in(record, looking->message_id)) {
        note(looking->place, record);
        return KAFKA_FINDER_STOP;
    }
    if (why_ask_found(looking->search->asking)) {
        return KAFKA_FINDER_STOP;
    }
    return looking->to_ms > 0 && record->timestamp_ms > looking->to_ms ? KAFKA_FINDER_ENOUGH
                                                                       : KAFKA_FINDER_ON;
}

/* Where it may be unread: in partitions of its domain, or in all; from the time when it was
 * written. */
static bool candidates(const struct why_search *search, const struct why_unread *unread,
                       struct slice domain, int64_t from_ms, struct kafka_reader_place *places,
                       size_t *count, struct fault *fault)
{
    size_t *at = mem_calloc(unread->count + 1, sizeof(*at));
    *count = 0;
    for (size_t t = 0; t < unread->topic_count; t++) {
        const struct why_topic *topic = &unread->topics[t];
        int32_t only = domain.len == 0 ? -1 : kafka_finder_partition_of(domain, (int)topic->count);
        for (size_t i = topic->first; i < topic->first + topic->count; i++) {
            if (why_unread_of(unread, i) > 0 && (only < 0 || only == unread->next[i].partition)) {
                at[*count] = i;
                places[(*count)++] = unread->next[i];
            }
        }
    }
    bool good = *count == 0 || from_ms == 0 ||
                kafka_finder_times(search->finder, places, *count, from_ms,
                                   why_left_ms(search->query->deadline), fault);
    for (size_t i = 0; good && i < *count; i++) {
        int64_t next = unread->next[at[i]].offset;
        places[i].offset = places[i].offset > next ? places[i].offset : next;
    }
    mem_free(at);
    return good;
}

static bool look_in_streams(const struct why_search *search, const struct why_unread *unread,
                            struct slice domain, int64_t from_ms, int64_t to_ms,
                            struct why_place *place, struct fault *fault)
{
    struct looking looking = {
        .search = search, .message_id = search->query->message_id, .to_ms = to_ms, .place = place};
    struct kafka_reader_place *places = mem_calloc(unread->count + 1, sizeof(*places));
    size_t count = 0;
    *place = (struct why_place){.searched_all = true};
    bool good = candidates(search, unread, domain, from_ms, places, &count, fault) &&
                (count == 0 || read_places(search, places, count, look_in_stream, &looking, fault));
    mem_free(places);
    return good;
}

/* The domain's partition first; who published with another key, or none, put it elsewhere. */
bool why_find_unread(const struct why_search *search, const struct config *config, int64_t from_ms,
                     int64_t to_ms, struct why_place *place, struct fault *fault)
{
    struct why_unread unread;
    const char *recipient = search->query->recipient;
    const char *at = recipient == NULL ? NULL : strrchr(recipient, '@');
    bool good =
        why_unread_get(search->finder, config, false, search->query->deadline, &unread, fault);
    *place = (struct why_place){0};
    if (good && at != NULL) {
        good = look_in_streams(search, &unread, slice_cstr(at + 1), from_ms, to_ms, place, fault);
    }
    if (good && !place->found) {
        good = look_in_streams(search, &unread, SLICE_NULL, from_ms, to_ms, place, fault);
    }
    for (size_t i = 0; place->found && i < unread.count; i++) {
        if (unread.next[i].partition == place->partition &&
            strcmp(unread.next[i].topic, place->topic) == 0) {
            place->next = unread.next[i].offset;
        }
    }
    why_unread_free(&unread);
    return good;
}

/*
 * What no worker has read yet, in streams and in delay tiers, counted by offsets: an upper bound,
 * as the marks of transactions have offsets, too. Kafka is asked about all topics at once, without
 * the workers' answers; how far they have read is put in when they are there.
 */
#include "ops/sluicectl/why.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

int64_t why_position(const struct why_answers *answers, const char *topic, int32_t partition,
                     double *rate)
{
    *rate = 0;
    for (size_t i = 0; i < answers->count; i++) {
        size_t k;
        const json_t *one;
        json_array_foreach(json_object_get(answers->items[i], "partitions"), k, one)
        {
            if (why_number(one, "partition") == partition &&
                strcmp(why_text(one, "topic"), topic) == 0) {
                *rate = json_real_value(json_object_get(one, "rate"));
                return why_number(one, "position");
            }
        }
    }
    return -1;
}

void why_unread_free(struct why_unread *unread)
{
    mem_free(unread->topics);
    mem_free(unread->next);
    mem_free(unread->end);
    mem_free(unread->rate);
    *unread = (struct why_unread){0};
}

static void name_topics(struct why_unread *unread, const struct config *config, bool with_tiers)
{
    size_t tiers = with_tiers ? (size_t)config->kafka.tiers : 0;
    unread->topic_count = config->stream_count + tiers;
    unread->topics = mem_calloc(unread->topic_count + 1, sizeof(*unread->topics));
    for (size_t i = 0; i < unread->topic_count; i++) {
        struct why_topic *topic = &unread->topics[i];
        topic->tier = i >= config->stream_count;
        if (topic->tier) {
            (void)snprintf(topic->name, sizeof(topic->name), "%sd.%02zu", config->kafka.prefix,
                           i - config->stream_count);
        } else {
            (void)snprintf(topic->name, sizeof(topic->name), "%sq.%s", config->kafka.prefix,
                           config->streams[i].name);
        }
    }
}

static bool count_partitions(struct kafka_finder *finder, struct why_unread *unread,
                             struct mono_time deadline, struct fault *fault)
{
    for (size_t i = 0; i < unread->topic_count; i++) {
        struct why_topic *topic = &unread->topics[i];
        int count = kafka_finder_partitions(finder, topic->name, why_left_ms(deadline), fault);
        if (count < 0) {
            return false;
        }
        topic->first = unread->count;
        topic->count = (size_t)count;
        unread->count += topic->count;
    }
    return true;
}

static void fill_places(const struct why_unread *unread, struct kafka_reader_place *places)
{
    for (size_t i = 0; i < unread->topic_count; i++) {
        const struct why_topic *topic = &unread->topics[i];
        for (size_t k = 0; k < topic->count; k++) {
            places[topic->first + k] =
                (struct kafka_reader_place){.topic = topic->name, .partition = (int32_t)k};
        }
    }
}

/* From where the group has committed; nobody has, or what lay there is gone: from the first one. */
static bool ask_offsets(struct kafka_finder *finder, struct why_unread *unread,
                        struct mono_time deadline, struct fault *fault)
{
    size_t n = unread->count;
    struct kafka_reader_place *places = mem_calloc(n + 1, sizeof(*places));
    fill_places(unread, places);
    fill_places(unread, unread->next);
    bool good =
        kafka_finder_times(finder, places, n, KAFKA_FINDER_END, why_left_ms(deadline), fault);
    for (size_t i = 0; good && i < n; i++) {
        unread->end[i] = places[i].offset;
    }
    good = good &&
           kafka_finder_times(finder, places, n, KAFKA_FINDER_BEGINNING, why_left_ms(deadline),
                              fault) &&
           kafka_finder_committed(finder, unread->next, n, why_left_ms(deadline), fault);
    for (size_t i = 0; good && i < n; i++) {
        struct kafka_reader_place *next = &unread->next[i];
        next->offset = next->offset < places[i].offset ? places[i].offset : next->offset;
    }
    mem_free(places);
    return good;
}

bool why_unread_get(struct kafka_finder *finder, const struct config *config, bool with_tiers,
                    struct mono_time deadline, struct why_unread *unread, struct fault *fault)
{
    *unread = (struct why_unread){0};
    name_topics(unread, config, with_tiers);
    if (!count_partitions(finder, unread, deadline, fault)) {
        return false;
    }
    unread->next = mem_calloc(unread->count + 1, sizeof(*unread->next));
    unread->end = mem_calloc(unread->count + 1, sizeof(*unread->end));
    unread->rate = mem_calloc(unread->count + 1, sizeof(*unread->rate));
    return ask_offsets(finder, unread, deadline, fault);
}

void why_unread_settle(struct why_unread *unread, const struct why_answers *answers)
{
    for (size_t i = 0; i < unread->count; i++) {
        struct kafka_reader_place *next = &unread->next[i];
        int64_t position = why_position(answers, next->topic, next->partition, &unread->rate[i]);
        next->offset = position > next->offset ? position : next->offset;
    }
}

int64_t why_unread_of(const struct why_unread *unread, size_t place)
{
    int64_t left = unread->end[place] - unread->next[place].offset;
    return left > 0 ? left : 0;
}

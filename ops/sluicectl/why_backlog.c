/*
 * What no worker has read yet, in streams and in delay tiers. Counted by offsets, so it is an upper
 * bound: the marks of transactions have offsets, too. Whose mail it is cannot be told without
 * reading it.
 */
#include "ops/sluicectl/why.h"

#include "base/mem.h"
#include "kafka/topics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ASK_MS 3000

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
    mem_free(unread->next);
    mem_free(unread->end);
    mem_free(unread->rate);
    *unread = (struct why_unread){0};
}

/* Where reading goes on: by the owner's word, which is ahead of the commit; nobody has committed:
 * at the first one. */
static void settle_next(const struct why_answers *answers, const struct kafka_reader_place *lowest,
                        struct kafka_reader_place *next, double *rate)
{
    int64_t position = why_position(answers, next->topic, next->partition, rate);
    next->offset = position > next->offset ? position : next->offset;
    next->offset = next->offset < lowest->offset ? lowest->offset : next->offset;
}

bool why_unread_get(struct kafka_finder *finder, const struct why_answers *answers,
                    const char *topic, struct why_unread *unread, struct fault *fault)
{
    int count = kafka_finder_partitions(finder, topic, ASK_MS, fault);
    *unread = (struct why_unread){0};
    if (count < 0) {
        return false;
    }
    size_t n = (size_t)count;
    struct kafka_reader_place *places = mem_calloc(n + 1, sizeof(*places));
    *unread = (struct why_unread){.next = mem_calloc(n + 1, sizeof(*unread->next)),
                                  .end = mem_calloc(n + 1, sizeof(*unread->end)),
                                  .rate = mem_calloc(n + 1, sizeof(*unread->rate)),
                                  .count = n};
    for (size_t i = 0; i < n; i++) {
        places[i] = unread->next[i] =
            (struct kafka_reader_place){.topic = topic, .partition = (int32_t)i};
    }
    bool good = kafka_finder_times(finder, places, n, KAFKA_FINDER_END, ASK_MS, fault);
    for (size_t i = 0; good && i < n; i++) {
        unread->end[i] = places[i].offset;
    }
    good = good && kafka_finder_times(finder, places, n, KAFKA_FINDER_BEGINNING, ASK_MS, fault) &&
           kafka_finder_committed(finder, unread->next, n, ASK_MS, fault);
    for (size_t i = 0; good && i < n; i++) {
        settle_next(answers, &places[i], &unread->next[i], &unread->rate[i]);
    }
    mem_free(places);
    return good;
}

/* Of one topic; the longest time that a partition needs at its present pace, -1: one stands still.
 */
static bool count_topic(struct kafka_finder *finder, const struct why_answers *answers,
                        const char *topic, int64_t *records, double *seconds, struct fault *fault)
{
    struct why_unread unread;
    *records = 0;
    *seconds = 0;
    bool good = why_unread_get(finder, answers, topic, &unread, fault);
    for (size_t i = 0; good && i < unread.count; i++) {
        int64_t left = unread.end[i] - unread.next[i].offset;
        if (left <= 0) {
            continue;
        }
        *records += left;
        double needs = unread.rate[i] > 0 ? (double)left / unread.rate[i] : -1;
        *seconds = needs < 0 || *seconds < 0 ? -1 : needs > *seconds ? needs : *seconds;
    }
    why_unread_free(&unread);
    return good;
}

static const char *of_whom(const struct why_query *query)
{
    return query->site != NULL || query->route != NULL || query->tenant != NULL ||
                   query->campaign != NULL
               ? " of all sites, VIPs, tenants and campaigns"
               : "";
}

static bool print_streams(struct kafka_finder *finder, const struct config *config,
                          const struct why_query *query, const struct why_answers *answers,
                          struct fault *fault)
{
    char topic[KAFKA_TOPIC_NAME_MAX + 1];
    for (size_t i = 0; i < config->stream_count; i++) {
        int64_t records;
        double seconds;
        (void)snprintf(topic, sizeof(topic), "%sq.%s", config->kafka.prefix,
                       config->streams[i].name);
        if (!count_topic(finder, answers, topic, &records, &seconds, fault)) {
            return false;
        }
        printf("unread in %s: at most %" PRId64 " records%s", topic, records, of_whom(query));
        if (records > 0 && seconds >= 0) {
            why_print_time(", read by ", (long long)wall_now().ms + (long long)(seconds * 1000));
        } else if (records > 0) {
            printf(", nothing is read there at present");
        }
        printf("\n");
    }
    return true;
}

static bool print_tiers(struct kafka_finder *finder, const struct config *config,
                        const struct why_query *query, const struct why_answers *answers,
                        struct fault *fault)
{
    char topic[KAFKA_TOPIC_NAME_MAX + 1];
    int64_t sum = 0;
    unsigned longest = 0;
    for (int i = 0; i < config->kafka.tiers; i++) {
        int64_t records;
        double seconds;
        (void)snprintf(topic, sizeof(topic), "%sd.%02d", config->kafka.prefix, i);
        if (!count_topic(finder, answers, topic, &records, &seconds, fault)) {
            return false;
        }
        sum += records;
        longest = records > 0 ? (unsigned)i : longest;
    }
    printf("in delay tiers (deferred or spilled): at most %" PRId64 " records%s", sum,
           of_whom(query));
    if (sum > 0) {
        printf(", the last in d.%02u", longest);
    }
    printf("\n");
    return true;
}

bool why_print_backlog(const struct config *config, const struct kafka_properties *properties,
                       const struct why_query *query, const struct why_answers *answers,
                       struct fault *fault)
{
    struct kafka_finder *finder = kafka_finder_create(properties, config->kafka.group, fault);
    bool good = finder != NULL && print_streams(finder, config, query, answers, fault) &&
                print_tiers(finder, config, query, answers, fault);
    kafka_finder_free(&finder);
    return good;
}

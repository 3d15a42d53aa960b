/* What is told of what no worker has read yet (why_unread.c). */
#include "ops/sluicectl/why.h"

#include <inttypes.h>
#include <stdio.h>

/* Of one topic; the longest time that a partition needs at its present pace, -1: one stands still.
 */
static int64_t count_topic(const struct why_unread *unread, const struct why_topic *topic,
                           double *seconds)
{
    int64_t records = 0;
    *seconds = 0;
    for (size_t i = topic->first; i < topic->first + topic->count; i++) {
        int64_t left = why_unread_of(unread, i);
        if (left == 0) {
            continue;
        }
        records += left;
        double needs = unread->rate[i] > 0 ? (double)left / unread->rate[i] : -1;
        *seconds = needs < 0 || *seconds < 0 ? -1 : needs > *seconds ? needs : *seconds;
    }
    return records;
}

static const char *of_whom(const struct why_query *query)
{
    return query->site != NULL || query->route != NULL || query->tenant != NULL ||
                   query->campaign != NULL
               ? " of all sites, VIPs, tenants and campaigns"
               : "";
}

static void print_stream(const struct why_query *query, const struct why_topic *topic,
                         int64_t records, double seconds)
{
    printf("unread in %s: at most %" PRId64 " records%s", topic->name, records, of_whom(query));
    if (records > 0 && seconds >= 0) {
        why_print_time(", read by ", (long long)wall_now().ms + (long long)(seconds * 1000));
    } else if (records > 0) {
        printf(", nothing is read there at present");
    }
    printf("\n");
}

void why_print_backlog(const struct why_query *query, const struct why_unread *unread)
{
    int64_t sum = 0;
    const struct why_topic *longest = NULL;
    for (size_t i = 0; i < unread->topic_count; i++) {
        const struct why_topic *topic = &unread->topics[i];
        double seconds;
        int64_t records = count_topic(unread, topic, &seconds);
        if (!topic->tier) {
            print_stream(query, topic, records, seconds);
        } else if (records > 0) {
            sum += records;
            longest = topic;
        }
    }
    printf("in delay tiers (deferred or spilled): at most %" PRId64 " records%s", sum,
           of_whom(query));
    printf(longest != NULL ? ", the last in %s\n" : "\n", longest != NULL ? longest->name : "");
}

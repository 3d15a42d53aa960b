/* What is told of lanes: what they wait for, or by when they will have been emptied. */
#include "ops/sluicectl/why.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

const char *why_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text == NULL ? "" : text;
}

long long why_number(const json_t *object, const char *name)
{
    return (long long)json_integer_value(json_object_get(object, name));
}

static bool is(const char *wanted, const char *text)
{
    return wanted == NULL || strcmp(wanted, text) == 0;
}

long long why_waiting(const struct why_query *query, const json_t *lane)
{
    long long sum = 0;
    size_t i;
    const json_t *flow;
    if (query->tenant == NULL && query->campaign == NULL) {
        return why_number(lane, "waiting");
    }
    json_array_foreach(json_object_get(lane, "flows"), i, flow)
    {
        bool wanted = is(query->tenant, why_text(flow, "tenant")) &&
                      is(query->campaign, why_text(flow, "campaign"));
        sum += wanted ? why_number(flow, "waiting") : 0;
    }
    return sum;
}

void why_print_time(const char *before, long long ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm broken;
    char text[32];
    if (ms > 0 && gmtime_r(&seconds, &broken) != NULL) {
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &broken);
        printf("%s%s", before, text);
    }
}

void why_print_reasons(const json_t *object)
{
    size_t i;
    const json_t *reason;
    json_array_foreach(json_object_get(object, "reasons"), i, reason)
    {
        printf("    %s", why_text(reason, "reason"));
        if (json_object_get(reason, "limit") != NULL) {
            printf(" %s", why_text(reason, "limit"));
        }
        why_print_time(" until ", why_number(reason, "until_ms"));
        if (json_object_get(reason, "detail") != NULL) {
            printf(" (%s)", why_text(reason, "detail"));
        }
        printf("\n");
    }
}

/* When the last mail of the lane will have been sent; 0: nobody knows. */
static long long end_of(const json_t *lane, long long now_ms)
{
    double rate = json_real_value(json_object_get(lane, "rate"));
    long long spilled = why_number(lane, "spilled_until_ms");
    double ms = rate > 0 ? (double)why_number(lane, "waiting") * 1000 / rate : 0;
    if (rate <= 0) {
        return 0;
    }
    long long end = now_ms + (long long)ms + 1;
    return spilled > end ? spilled : end;
}

static void print_lane(const struct why_query *query, const json_t *answer, const json_t *lane)
{
    printf("%s %s at %s: %lld waiting, %lld being sent, %lld connections", why_text(lane, "site"),
           why_text(lane, "route"), why_text(answer, "worker"), why_waiting(query, lane),
           why_number(lane, "running"), why_number(lane, "sessions"));
    double rate = json_real_value(json_object_get(lane, "rate"));
    if (rate > 0) {
        printf(", at most %.4g/s", rate);
    }
    long long end = end_of(lane, (long long)wall_now().ms);
    why_print_time(query->eta ? ", gone by " : ", spilled up to ",
                   query->eta ? end : why_number(lane, "spilled_until_ms"));
    printf(query->eta && end == 0 ? ", no rate is known yet\n" : "\n");
    if (!query->eta) {
        why_print_reasons(lane);
    }
}

/* A lane without mail may have something to say: what comes to it is deferred at once. */
static bool has_verdict(const json_t *lane)
{
    size_t i;
    const json_t *reason;
    json_array_foreach(json_object_get(lane, "reasons"), i, reason)
    {
        const char *name = why_text(reason, "reason");
        if (strcmp(name, "no-vip") == 0 || strcmp(name, "suspended") == 0 ||
            strcmp(name, "spill") == 0) {
            return true;
        }
    }
    return false;
}

static bool is_wanted(const struct why_query *query, const json_t *lane)
{
    bool named =
        is(query->site, why_text(lane, "site")) && is(query->route, why_text(lane, "route"));
    bool whole = query->tenant == NULL && query->campaign == NULL;
    bool mail = why_waiting(query, lane) > 0 || (whole && why_number(lane, "running") > 0);
    return named && (mail || (!query->eta && whole && has_verdict(lane)) ||
                     why_number(lane, "spilled_until_ms") > (long long)wall_now().ms);
}

void why_print_lanes(const struct why_query *query, const struct why_answers *answers)
{
    size_t printed = 0;
    for (size_t i = 0; i < answers->count; i++) {
        const json_t *lane;
        size_t k;
        json_array_foreach(json_object_get(answers->items[i], "lanes"), k, lane)
        {
            if (is_wanted(query, lane)) {
                print_lane(query, answers->items[i], lane);
                printed++;
            }
        }
    }
    if (printed == 0) {
        printf("in no worker's memory: nothing%s\n", query->site != NULL || query->route != NULL ||
                                                             query->tenant != NULL ||
                                                             query->campaign != NULL
                                                         ? " of that"
                                                         : "");
    }
}

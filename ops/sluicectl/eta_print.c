/* What the sample says: the campaign's own part of what is unread, by sites, and by when it will
 * have been sent. */
#include "ops/sluicectl/eta.h"

#include "base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SITES_PRINTED 20

/* A site, or all domains whose site is not known. */
struct group {
    const char *name; /* NULL: these */
    struct estimate own, all;
    /* In the workers' memory. */
    long long own_waiting, all_waiting, spilled_until_ms;
    double rate;
};

struct forecast {
    const struct why_query *query;
    const struct eta_sample *sample;
    struct group *groups;
    size_t count;
    size_t *group_of; /* by domain */
    struct estimate_point *points;
};

static size_t group_named(struct forecast *forecast, const char *name)
{
    size_t i = 0;
    while (i < forecast->count && (name == NULL || forecast->groups[i].name == NULL
                                       ? forecast->groups[i].name != name
                                       : strcmp(forecast->groups[i].name, name) != 0)) {
        i++;
    }
    if (i == forecast->count) {
        forecast->groups[forecast->count++] = (struct group){.name = name};
    }
    return i;
}

/* The points' hits: records of a group (forecast->count: of all), `own`: its own only. */
static struct estimate estimate_group(struct forecast *forecast, size_t group, bool own)
{
    const struct eta_sample *sample = forecast->sample;
    memcpy(forecast->points, sample->points, sample->point_count * sizeof(*sample->points));
    for (size_t i = 0; i < sample->record_count; i++) {
        const struct eta_record *record = &sample->records[i];
        bool counts = group == forecast->count || forecast->group_of[record->domain] == group;
        forecast->points[record->point].hits += counts && (record->own || !own);
    }
    return estimate_of(forecast->points, sample->point_count, (double)sample->total,
                       sample->all_read);
}

static void add_lane(struct forecast *forecast, const json_t *lane)
{
    for (size_t i = 0; i < forecast->count; i++) {
        struct group *group = &forecast->groups[i];
        if (group->name != NULL && strcmp(group->name, why_text(lane, "site")) == 0) {
            long long until_ms = why_number(lane, "spilled_until_ms");
            group->own_waiting += why_waiting(forecast->query, lane);
            group->all_waiting += why_number(lane, "waiting");
            group->rate += json_real_value(json_object_get(lane, "rate"));
            group->spilled_until_ms =
                until_ms > group->spilled_until_ms ? until_ms : group->spilled_until_ms;
        }
    }
}

static void make(struct forecast *forecast, const struct why_answers *answers)
{
    const struct eta_sample *sample = forecast->sample;
    forecast->groups = mem_calloc(sample->domain_count + 1, sizeof(*forecast->groups));
    forecast->group_of = mem_calloc(sample->domain_count + 1, sizeof(*forecast->group_of));
    forecast->points = mem_calloc(sample->point_count + 1, sizeof(*forecast->points));
    for (size_t i = 0; i < sample->domain_count; i++) {
        forecast->group_of[i] = group_named(forecast, sample->domains[i]->site);
    }
    for (size_t i = 0; i < forecast->count; i++) {
        forecast->groups[i].own = estimate_group(forecast, i, true);
        forecast->groups[i].all = estimate_group(forecast, i, false);
    }
    for (size_t i = 0; i < answers->count; i++) {
        size_t k;
        const json_t *lane;
        json_array_foreach(json_object_get(answers->items[i], "lanes"), k, lane)
        {
            add_lane(forecast, lane);
        }
    }
}

static int most_first(const void *a, const void *b)
{
    const struct group *one = a;
    const struct group *other = b;
    return one->own.likely < other->own.likely ? 1 : one->own.likely > other->own.likely ? -1 : 0;
}

/* When the last one of so many will have been sent. */
static long long gone_ms(const struct group *group, double mails)
{
    return (long long)wall_now().ms + (long long)(mails * 1000 / group->rate) + 1;
}

/* If its own mail is sent first, and if all that waits for the site is sent before. */
static long long earliest_ms(const struct group *group)
{
    return gone_ms(group, (double)group->own_waiting + group->own.least);
}

static long long latest_ms(const struct group *group)
{
    long long ms = gone_ms(group, (double)group->all_waiting + group->all.most);
    return group->spilled_until_ms > ms ? group->spilled_until_ms : ms;
}

static bool is_wanted(const struct forecast *forecast, const struct group *group)
{
    const char *site = forecast->query->site;
    return group->own.likely >= 0.5 &&
           (site == NULL || (group->name != NULL && strcmp(site, group->name) == 0));
}

/* ---- for people ---- */

/* Three digits are more than an estimate knows. */
static double rounded(double number, double (*round_off)(double))
{
    double unit = 1;
    while (number / unit >= 1000) {
        unit *= 10;
    }
    return round_off(number / unit) * unit;
}

static void print_estimate(const struct estimate *estimate, bool all_read)
{
    if (all_read) {
        printf("%.0f", estimate->likely);
    } else {
        printf("about %.0f (%.0f to %.0f)", rounded(estimate->likely, round),
               rounded(estimate->least, floor), rounded(estimate->most, ceil));
    }
}

static void print_head(struct forecast *forecast)
{
    const struct why_query *query = forecast->query;
    const struct eta_sample *sample = forecast->sample;
    struct estimate own = estimate_group(forecast, forecast->count, true);
    printf("of what is unread or in delay tiers");
    if (query->tenant != NULL) {
        printf(", tenant %s", query->tenant);
    }
    if (query->campaign != NULL) {
        printf(", campaign %s", query->campaign);
    }
    if (query->route != NULL) {
        printf(", all VIPs");
    }
    printf(": ");
    print_estimate(&own, sample->all_read);
    if (sample->all_read) {
        printf(" mails, all were read\n");
    } else {
        printf(" mails with 95 %% certainty, by %zu records at %zu places of %" PRId64 "\n",
               sample->record_count, sample->point_count, sample->total);
    }
}

static void print_group(const struct forecast *forecast, const struct group *group)
{
    printf("    %s: ", group->name == NULL ? "sites that were not found" : group->name);
    print_estimate(&group->own, forecast->sample->all_read);
    if (group->name == NULL) {
        printf("\n");
    } else if (group->rate <= 0) {
        printf(", no rate is known yet\n");
    } else {
        why_print_time(", with what workers have gone between ", earliest_ms(group));
        why_print_time(" and ", latest_ms(group));
        printf("\n");
    }
}

static void print_text(struct forecast *forecast)
{
    size_t printed = 0, left = 0;
    double others = 0;
    print_head(forecast);
    for (size_t i = 0; i < forecast->count; i++) {
        const struct group *group = &forecast->groups[i];
        if (!is_wanted(forecast, group)) {
            continue;
        }
        if (printed < SITES_PRINTED) {
            print_group(forecast, group);
            printed++;
        } else {
            others += group->own.likely;
            left++;
        }
    }
    if (left > 0) {
        printf("    %zu other sites: about %.0f\n", left, rounded(others, round));
    }
}

/* ---- for programs ---- */

static json_t *estimate_object(const struct estimate *estimate)
{
    return json_pack("{s:f, s:f, s:f}", "likely", estimate->likely, "least", estimate->least,
                     "most", estimate->most);
}

static void print_json(struct forecast *forecast)
{
    const struct eta_sample *sample = forecast->sample;
    struct estimate own = estimate_group(forecast, forecast->count, true);
    json_t *sites = json_array();
    for (size_t i = 0; i < forecast->count; i++) {
        const struct group *group = &forecast->groups[i];
        if (!is_wanted(forecast, group)) {
            continue;
        }
        json_t *site = estimate_object(&group->own);
        (void)json_object_set_new(site, "site",
                                  group->name == NULL ? json_null() : json_string(group->name));
        if (group->name != NULL && group->rate > 0) {
            (void)json_object_set_new(site, "earliest_ms", json_integer(earliest_ms(group)));
            (void)json_object_set_new(site, "latest_ms", json_integer(latest_ms(group)));
        }
        (void)json_array_append_new(sites, site);
    }
    json_t *line = json_pack("{s:{s:I, s:I, s:I, s:b, s:o, s:o}}", "estimate", "unread",
                             (json_int_t)sample->total, "records", (json_int_t)sample->record_count,
                             "places", (json_int_t)sample->point_count, "all_read",
                             (int)sample->all_read, "mails", estimate_object(&own), "sites", sites);
    (void)json_dumpf(line, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(line);
}

void eta_print(const struct why_query *query, const struct why_answers *answers,
               const struct eta_sample *sample)
{
    struct forecast forecast = {.query = query, .sample = sample};
    make(&forecast, answers);
    /* From here on the domains' groups are not looked at any more. */
    qsort(forecast.groups, forecast.count, sizeof(*forecast.groups), most_first);
    if (query->json) {
        print_json(&forecast);
    } else {
        print_text(&forecast);
    }
    mem_free(forecast.groups);
    mem_free(forecast.group_of);
    mem_free(forecast.points);
}

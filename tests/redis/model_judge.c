/*
 * See model.h. The exact model, which counts as the provider does: no interval sees more than the
 * amount, there are never more connections than slots, no day has more than its cap. What holders
 * took that had no link for longer than a lease is told apart: nobody else can know of it, and each
 * keeps to its 0.7 / n of the rate.
 */
#include "tests/redis/model.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define ALONE_PART 0.7
#define ALONE_EARLY 0.05    /* of an interval */
#define MIDNIGHT_US 1000000 /* after its clock was set Redis knows no better when that is */

struct taken {
    int64_t at_us;
    uint64_t n;
    int alone; /* holder; -1: with a link */
};

struct episode {
    bool lasts;
    int64_t since_us;
    uint64_t sum;
};

static struct episode episodes[HOLDERS_MAX];
static struct taken *takes;
static size_t count, room, measured_from;
static uint64_t in_use, day_sum;
static int64_t day_now;
static uint64_t problems;

bool tracing;

void trace(const char *what)
{
    if (tracing) {
        printf("    %.3f %s\n", (double)sim.now_us / 1e6, what);
    }
}

static void complain(const char *what, uint64_t seen, uint64_t amount)
{
    if (problems++ < 5) {
        printf("%s: %s: %llu of %llu after %.3f s\n", scene->name, what, (unsigned long long)seen,
               (unsigned long long)amount, (double)sim.now_us / 1e6);
    }
}

bool judge_is_content(void)
{
    return problems == 0;
}

/* ---- without a link ---- */

void judge_alone(unsigned holder, bool is_alone)
{
    struct episode *episode = &episodes[holder];
    if (is_alone && !episode->lasts) {
        *episode = (struct episode){.lasts = true, .since_us = sim.now_us};
    } else if (!is_alone) {
        episode->lasts = false;
    }
}

/* Its share of the time since, and a take, which may be early and is of its part at most. */
static void count_alone(const struct limit_rule *rule, unsigned holder, uint64_t n)
{
    struct episode *episode = &episodes[holder];
    double share = ALONE_PART * (double)rule->amount / scene->holders;
    double intervals =
        (double)(sim.now_us - episode->since_us) / 1000.0 / (double)rule->interval_ms;
    double part = share > 1 ? share : 1;
    uint64_t most = (uint64_t)(share * (intervals + ALONE_EARLY) + part) + 1;
    episode->sum += n;
    if (episode->sum > most) {
        complain("taken alone", episode->sum, most);
    }
}

/* ---- what is counted at once ---- */

static void count_day(const struct limit_rule *rule, uint64_t n)
{
    int64_t true_us = sim.start_us + sim.now_us;
    int64_t today = true_us / DAY_US;
    int64_t into_us = true_us % DAY_US;
    if (scene->faults && (into_us < MIDNIGHT_US || into_us > DAY_US - MIDNIGHT_US)) {
        return;
    }
    day_sum = (today == day_now ? day_sum : 0) + n;
    day_now = today;
    if (day_sum > rule->amount) {
        complain("a day", day_sum, rule->amount);
    }
}

void judge_take(uint64_t n, int alone)
{
    if (count == room) {
        room = room == 0 ? 1024 : 2 * room;
        takes = mem_realloc(takes, room * sizeof(*takes));
    }
    takes[count++] = (struct taken){sim.now_us, n, alone};
    for (size_t i = 0; i < scene->rule_count; i++) {
        const struct limit_rule *rule = &scene->rules[i];
        if (rule->kind == LIMIT_SLOTS && ++in_use > rule->amount) {
            complain("connections", in_use, rule->amount);
        }
        if (i == 0 && alone >= 0) {
            count_alone(rule, (unsigned)alone, n);
        }
        if (rule->kind == LIMIT_DAILY) {
            count_day(rule, n);
        }
    }
}

void judge_slot_is_free(void)
{
    in_use--;
}

/* ---- windows ---- */

/* `whose`: -1 of those with a link; -2: of all. */
static uint64_t most_within(const struct limit_rule *rule, int whose, int64_t *when_us)
{
    uint64_t within = 0;
    uint64_t most = 0;
    size_t first = 0;
    for (size_t i = 0; i < count; i++) {
        within += whose == -2 || takes[i].alone == whose ? takes[i].n : 0;
        for (; takes[first].at_us <= takes[i].at_us - rule->interval_ms * 1000; first++) {
            within -= whose == -2 || takes[first].alone == whose ? takes[first].n : 0;
        }
        if (within > most) {
            most = within;
            *when_us = takes[i].at_us;
        }
    }
    return most;
}

static void check_window(const struct limit_rule *rule, int whose, uint64_t amount)
{
    int64_t when_us = 0;
    uint64_t most = most_within(rule, whose, &when_us);
    if (most > amount) {
        if (tracing) {
            printf("    most at %.3f\n", (double)when_us / 1e6);
        }
        complain("an interval", most, amount);
    }
}

static void check_windows(const struct limit_rule *rule)
{
    if (!scene->unheard) {
        check_window(rule, -2, rule->amount);
        return;
    }
    check_window(rule, -1, rule->amount);
}

/* ---- a scene ---- */

void judge_begin(void)
{
    count = measured_from = 0;
    in_use = day_sum = 0;
    memset(episodes, 0, sizeof(episodes));
}

void judge_measure(void)
{
    measured_from = count;
}

static double use_percent(void)
{
    const struct limit_rule *rule = &scene->rules[0];
    uint64_t sum = 0;
    for (size_t i = measured_from; i < count; i++) {
        sum += takes[i].n;
    }
    double intervals = (double)scene->seconds * 1000.0 / (double)rule->interval_ms;
    return 100.0 * (double)sum / ((double)rule->amount * intervals);
}

void judge_end(void)
{
    bool rate = scene->rules[0].kind == LIMIT_RATE;
    uint64_t by_alone = 0;
    for (size_t k = 0; k < scene->rule_count; k++) {
        if (scene->rules[k].kind == LIMIT_RATE) {
            check_windows(&scene->rules[k]);
        }
    }
    if (scene->least > 0 && use_percent() < scene->least) {
        complain("used in percent", (uint64_t)use_percent(), (uint64_t)scene->least);
    }
    for (size_t i = 0; i < count; i++) {
        by_alone += takes[i].alone >= 0 ? takes[i].n : 0;
    }
    printf("  %-44s %zu takes", scene->name, count - measured_from);
    if (rate) {
        printf(", use %.1f %%, %llu without a link", use_percent(), (unsigned long long)by_alone);
    }
    puts("");
    if (count == 0) {
        complain("takes", 0, 1);
    }
}

void judge_close(void)
{
    mem_free(takes);
}

/* See lease.h. Pure; used by one thread. Times in µs, divisions in double: 2^53 µs are 285 years.
 */
#include "redis/lease.h"

#define SECOND_US 1000000.0
#define LINGER_MOST_US 500000.0
/* A holder wakes within this time after a token has come. */
#define WAKE_US 5000.0
#define STEP_MOST_US 3.0e14 /* ten years: never */
/* Clocks of two machines drift apart by less than this. */
#define DRIFT_PPM 100

static uint32_t clamp_count(double value)
{
    return value < 1.0 ? 1 : value > 1e9 ? 1000000000u : (uint32_t)value;
}

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static void pace_of(struct lease_pace *pace, double amount, int64_t interval_ms, double burst)
{
    double interval_us = (double)(interval_ms > 0 ? interval_ms : 1) * 1000.0;
    double step = amount > 0 ? smaller(interval_us / amount, STEP_MOST_US) : STEP_MOST_US;
    double tolerance = smaller(interval_us / 100.0, LINGER_MOST_US);
    double burst_us = smaller((burst - 1.0) * step, STEP_MOST_US);
    double linger = larger(burst_us, tolerance);
    /* What the burst does not cover is taken from the rate. */
    pace->step_us = step * (interval_us + linger - burst_us) / interval_us;
    pace->linger_us = (int64_t)linger;
    pace->slack_us = (int64_t)larger(0, linger - tolerance);
    pace->at_once = clamp_count(larger(burst / 2.0, burst - 1.0 - WAKE_US / pace->step_us));
    pace->largest = 1;
}

static double burst_of(uint64_t amount, int64_t interval_ms, uint64_t burst)
{
    if (burst > 0) {
        return (double)burst;
    }
    return larger(1.0, (double)amount * 1000.0 / (double)(interval_ms > 0 ? interval_ms : 1));
}

void lease_pace_set(struct lease_pace *pace, uint64_t amount, int64_t interval_ms, uint64_t burst,
                    unsigned holders)
{
    CHECK(holders > 0);
    pace_of(pace, (double)amount, interval_ms, burst_of(amount, interval_ms, burst));
    pace->largest = clamp_count(SECOND_US / pace->step_us / (2.0 * holders));
}

void lease_pace_share(struct lease_pace *pace, uint64_t amount, int64_t interval_ms, uint64_t burst,
                      unsigned holders)
{
    CHECK(holders > 0);
    double part = 0.7 / holders;
    pace_of(pace, (double)amount * part, interval_ms,
            larger(1.0, burst_of(amount, interval_ms, burst) * part));
}

bool lease_clock_learn(struct lease_clock *clock, struct mono_time sent, struct mono_time received,
                       int64_t theirs_us)
{
    int64_t least = sent.us - theirs_us;
    int64_t most = received.us - theirs_us;
    bool agrees = true;
    if (clock->known) {
        int64_t drift = mono_since_us(received, clock->at) * DRIFT_PPM / 1000000 + 1;
        int64_t old_least = clock->least_us - drift;
        int64_t old_most = clock->most_us + drift;
        int64_t both_least = least > old_least ? least : old_least;
        int64_t both_most = most < old_most ? most : old_most;
        agrees = both_least <= both_most;
        if (agrees) {
            least = both_least;
            most = both_most;
        }
    }
    *clock = (struct lease_clock){true, least, most, received};
    return agrees;
}

struct mono_time lease_clock_latest(const struct lease_clock *clock, int64_t theirs_us)
{
    return (struct mono_time){theirs_us + clock->most_us};
}

struct mono_time lease_clock_earliest(const struct lease_clock *clock, int64_t theirs_us)
{
    return (struct mono_time){theirs_us + clock->least_us};
}

/* Tokens of the part whose time is at or before `us` after its start. */
static uint32_t tokens_by(const struct lease_part *part, int64_t us)
{
    if (us < 0) {
        return 0;
    }
    double n = (double)us / part->step_us + 1.0;
    return n >= (double)part->count ? part->count : (uint32_t)n;
}

static struct mono_time token_time(const struct lease_part *part, uint32_t index)
{
    double after = (double)index * part->step_us;
    int64_t us = (int64_t)after;
    return mono_add_us(part->start, (double)us < after ? us + 1 : us);
}

static void lapse(struct lease_part *part, struct mono_time now)
{
    /* Those whose time + linger is before now. */
    uint32_t gone = tokens_by(part, mono_since_us(now, part->start) - part->linger_us - 1);
    if (gone > part->used) {
        part->used = gone;
    }
}

/* Lapses, and drops the parts that are used up. */
static void tidy(struct lease *lease, struct mono_time now)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < lease->count; i++) {
        struct lease_part *part = &lease->parts[i];
        lapse(part, now);
        if (part->used < part->count) {
            if (kept != i) {
                lease->parts[kept] = *part;
            }
            kept++;
        }
    }
    lease->count = kept;
}

static struct lease_part *new_part(struct lease *lease)
{
    if (lease->count == LEASE_PARTS) {
        return NULL;
    }
    struct lease_part *part = &lease->parts[lease->count++];
    *part = (struct lease_part){0};
    return part;
}

bool lease_add(struct lease *lease, const struct lease_pace *pace, const struct lease_clock *clock,
               uint32_t count, int64_t first_us, int64_t length_us)
{
    int64_t linger = pace->linger_us - (clock->most_us - clock->least_us);
    if (count == 0 || length_us <= 0 || linger < 0 || !clock->known) {
        return false;
    }
    struct lease_part *part = new_part(lease);
    if (part == NULL) {
        return false;
    }
    part->start = lease_clock_latest(clock, first_us);
    part->step_us = (double)length_us / (double)count;
    part->linger_us = linger;
    part->count = count;
    part->redis_end_us = first_us + length_us;
    return true;
}

static uint32_t share_count(const struct lease_part *part, struct mono_time end)
{
    return end.us == INT64_MAX ? UINT32_MAX : tokens_by(part, mono_since_us(end, part->start));
}

void lease_add_share(struct lease *lease, const struct lease_pace *share, struct mono_time start,
                     struct mono_time end, double phase)
{
    for (unsigned i = 0; i < lease->count; i++) {
        struct lease_part *part = &lease->parts[i];
        if (part->share && part->step_us >= share->step_us && part->step_us <= share->step_us) {
            part->count = UINT32_MAX; /* so that it is counted anew */
            part->count = share_count(part, end);
            part->used = part->used < part->count ? part->used : part->count;
            return;
        }
    }
    lease_drop_share(lease);
    struct mono_time first = mono_add_us(start, (int64_t)(phase * share->step_us));
    if (!mono_before(first, end)) {
        return;
    }
    if (lease->count == LEASE_PARTS) {
        lease->count--; /* the furthest away; it lapses */
    }
    struct lease_part *part = new_part(lease);
    CHECK(part != NULL);
    part->start = first;
    part->step_us = share->step_us;
    part->linger_us = share->linger_us;
    part->share = true;
    part->count = UINT32_MAX;
    part->count = share_count(part, end);
}

void lease_drop_share(struct lease *lease)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < lease->count; i++) {
        if (!lease->parts[i].share) {
            lease->parts[kept++] = lease->parts[i];
        }
    }
    lease->count = kept;
}

bool lease_has_share(const struct lease *lease)
{
    for (unsigned i = 0; i < lease->count; i++) {
        if (lease->parts[i].share) {
            return true;
        }
    }
    return false;
}

void lease_clear(struct lease *lease)
{
    lease->count = 0;
}

static uint32_t part_ready(const struct lease_part *part, struct mono_time now)
{
    uint32_t due = tokens_by(part, mono_since_us(now, part->start));
    return due > part->used ? due - part->used : 0;
}

static uint64_t consume(struct lease *lease, struct mono_time now, uint64_t n)
{
    uint64_t taken = 0;
    for (unsigned i = 0; i < lease->count && taken < n; i++) {
        uint32_t here = part_ready(&lease->parts[i], now);
        if (here > n - taken) {
            here = (uint32_t)(n - taken);
        }
        lease->parts[i].used += here;
        taken += here;
    }
    return taken;
}

uint64_t lease_ready(struct lease *lease, struct mono_time now)
{
    tidy(lease, now);
    if (lease->debt > 0) {
        lease->debt -= consume(lease, now, lease->debt);
        if (lease->debt > 0) {
            return 0;
        }
    }
    uint64_t ready = 0;
    for (unsigned i = 0; i < lease->count; i++) {
        ready += part_ready(&lease->parts[i], now);
    }
    return ready;
}

uint32_t lease_needed(const struct lease_pace *pace, uint32_t n)
{
    return n < pace->at_once ? n : pace->at_once;
}

bool lease_take(struct lease *lease, const struct lease_pace *pace, struct mono_time now,
                uint32_t n)
{
    if (lease_ready(lease, now) < lease_needed(pace, n)) {
        return false;
    }
    lease->debt += n - consume(lease, now, n);
    return true;
}

void lease_untake(struct lease *lease, uint32_t n)
{
    uint64_t rest = n;
    uint64_t paid = rest < lease->debt ? rest : lease->debt;
    lease->debt -= paid;
    rest -= paid;
    for (unsigned i = 0; i < lease->count && rest > 0; i++) {
        uint64_t here = rest < lease->parts[i].used ? rest : lease->parts[i].used;
        lease->parts[i].used -= (uint32_t)here;
        rest -= here;
    }
}

struct mono_time lease_when(struct lease *lease, struct mono_time now, uint64_t n)
{
    if (lease_ready(lease, now) >= n) {
        return now;
    }
    uint64_t missing = n + lease->debt;
    struct mono_time when = now;
    for (unsigned i = 0; i < lease->count; i++) {
        const struct lease_part *part = &lease->parts[i];
        uint32_t here = part->count - part->used;
        if (here == 0) {
            continue;
        }
        uint64_t from_here = here < missing ? here : missing;
        struct mono_time last = token_time(part, part->used + (uint32_t)from_here - 1);
        when = mono_before(when, last) ? last : when;
        missing -= from_here;
        if (missing == 0) {
            return when;
        }
    }
    return MONO_NEVER;
}

uint64_t lease_left(struct lease *lease, struct mono_time now)
{
    tidy(lease, now);
    uint64_t left = 0;
    for (unsigned i = 0; i < lease->count; i++) {
        if (!lease->parts[i].share) {
            left += lease->parts[i].count - lease->parts[i].used;
        }
    }
    return left;
}

struct mono_time lease_end(const struct lease *lease, struct mono_time now)
{
    struct mono_time end = now;
    for (unsigned i = 0; i < lease->count; i++) {
        const struct lease_part *part = &lease->parts[i];
        if (!part->share && part->used < part->count) {
            struct mono_time last = token_time(part, part->count - 1);
            end = mono_before(end, last) ? last : end;
        }
    }
    return end;
}

bool lease_cut_tail(struct lease *lease, struct mono_time now, int64_t *end_us, int64_t *length_us)
{
    tidy(lease, now);
    for (unsigned i = lease->count; i > 0; i--) {
        struct lease_part *part = &lease->parts[i - 1];
        if (part->share) {
            continue;
        }
        /* Rounded down: what is given back is never more than what was not used. */
        *end_us = part->redis_end_us;
        *length_us = (int64_t)((double)(part->count - part->used) * part->step_us);
        part->count = part->used;
        tidy(lease, now);
        return *length_us > 0;
    }
    return false;
}

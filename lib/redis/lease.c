/* See lease.h. Pure; used by one thread. */
#include "redis/lease.h"

#include "base/mem.h"

#define GUARD_PERCENT 1
#define GUARD_MOST_US 500000
/* The ring grows up to this; then neighbours are put together. */
#define BUSY_MOST 256
/* By which the pace may be behind: parts of the interval. Redis may be late with slots of longer
 * ones, and what is not caught up with is lost. */
#define SLOP_PARTS 20
#define SLOP_PARTS_LONG 5
#define SLOP_LONG_US 2000000.0
/* Fewer slots than these in two seconds are not paced by the holder. */
#define PACED_LEAST 4.0
#define PACED_US 2e6
#define STEP_MOST_US 3.0e14 /* ten years: never */
#define ALONE_PART 0.7
/* Clocks of two machines drift apart by less than this. */
#define DRIFT_PPM 100

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- clocks ---- */

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

int64_t lease_clock_theirs(const struct lease_clock *clock, struct mono_time ours)
{
    return ours.us - clock->least_us;
}

/* ---- the ring of busy slots ---- */

static struct lease_busy *busy_at(const struct lease *lease, uint32_t i)
{
    return &lease->busy[(lease->first + i) % lease->room];
}

static void grow(struct lease *lease)
{
    uint32_t room = lease->room == 0 ? 4 : lease->room * 2;
    struct lease_busy *wider = mem_calloc(room, sizeof(*wider));
    for (uint32_t i = 0; i < lease->count; i++) {
        wider[i] = *busy_at(lease, i);
    }
    mem_free(lease->busy);
    lease->busy = wider;
    lease->room = room;
    lease->first = 0;
}

/* At most one entry for each 1/250 of the interval: so the ring spans it, and the delay is little.
 */
static bool join(struct lease *lease, struct lease_busy *entry, struct mono_time at, uint64_t count)
{
    int64_t width = lease->interval_us / (BUSY_MOST - 6);
    bool near = at.us >= entry->first_us && at.us - entry->first_us <= width;
    if (near || lease->count == BUSY_MOST) {
        entry->count += count;
        entry->free_at.us = at.us > entry->free_at.us ? at.us : entry->free_at.us;
        return true;
    }
    return false;
}

static void add_busy(struct lease *lease, struct mono_time at, uint64_t count)
{
    uint32_t i = lease->count;
    while (i > 0 && mono_before(at, busy_at(lease, i - 1)->free_at)) {
        i--;
    }
    uint32_t beside = i > 0 ? i - 1 : 0;
    if (lease->count > 0 && join(lease, busy_at(lease, beside), at, count)) {
        return;
    }
    if (lease->count == lease->room) {
        grow(lease);
    }
    for (uint32_t k = lease->count++; k > i; k--) {
        *busy_at(lease, k) = *busy_at(lease, k - 1);
    }
    *busy_at(lease, i) = (struct lease_busy){at, at.us, count};
}

/* What has become free by now, and the end of the lease. */
static void tidy(struct lease *lease, struct mono_time now)
{
    if (!lease->alone && lease->held > 0 && !mono_before(now, lease->until)) {
        lease->lapsed = lease->held;
        lease->held = lease->free = 0;
        lease->past = true;
    }
    while (lease->count > 0 && !mono_before(now, busy_at(lease, 0)->free_at)) {
        uint64_t n = busy_at(lease, 0)->count;
        if (lease->alone) {
            lease->held -= n;
            lease->released += n;
        } else if (!lease->past) {
            lease->free += n;
        }
        lease->first = (lease->first + 1) % lease->room;
        lease->count--;
    }
}

/* ---- rule, renewal ---- */

/* `share` slots in an interval. */
static void set_pace(struct lease *lease, double share)
{
    double interval = (double)lease->interval_us;
    double burst = share <= 0 ? 0 : (double)lease->burst * interval / (double)lease->amount;
    lease->step_us = share > 0 ? smaller(interval / share, STEP_MOST_US) : STEP_MOST_US;
    double parts = interval > SLOP_LONG_US ? SLOP_PARTS_LONG : SLOP_PARTS;
    double slop = smaller(larger(interval / parts, lease->step_us), interval / 4);
    lease->tolerance_us = larger(smaller(slop, SLOP_LONG_US), burst - lease->step_us);
}

void lease_set_rule(struct lease *lease, uint64_t amount, int64_t interval_us, uint64_t burst)
{
    CHECK(interval_us > 0);
    int64_t guard = interval_us * GUARD_PERCENT / 100;
    lease_lapse(lease);
    lease->amount = amount;
    lease->interval_us = interval_us;
    lease->burst = lesser(burst, amount);
    lease->guard_us = guard < GUARD_MOST_US ? guard : GUARD_MOST_US;
    lease->step_us = 0;
    lease->alone = lease->stopped = false;
}

void lease_free(struct lease *lease)
{
    mem_free(lease->busy);
    *lease = (struct lease){0};
}

void lease_renew(struct lease *lease, struct mono_time now, struct mono_time until, double share)
{
    lease->until = until;
    if (share * PACED_US / (double)lease->interval_us < PACED_LEAST) {
        lease->step_us = 0;
        return;
    }
    if (lease->step_us <= 0) {
        lease->next_us = (double)now.us;
    }
    set_pace(lease, share);
}

void lease_grant(struct lease *lease, uint64_t count, struct mono_time now, struct mono_time at)
{
    if (lease->past) {
        lease_lapse(lease);
    }
    lease->held += count;
    if (mono_before(now, at)) {
        add_busy(lease, at, count);
    } else {
        lease->free += count;
    }
}

void lease_lapse(struct lease *lease)
{
    lease->held = lease->free = lease->released = 0;
    lease->count = 0;
    lease->past = false;
}

void lease_go_alone(struct lease *lease, unsigned holders, struct mono_time from, double phase)
{
    CHECK(holders > 0);
    bool before = lease->alone;
    double part = ALONE_PART * (double)lease->amount / holders;
    lease->alone = true;
    set_pace(lease, part);
    if (!before) {
        uint64_t had = lease->past ? lease->lapsed : lease->held;
        lease->most = (uint64_t)part + 1 > had ? (uint64_t)part + 1 : had;
        lease->free = lease->held = lease->released = 0;
        for (uint32_t i = 0; i < lease->count; i++) {
            lease->held += busy_at(lease, i)->count;
        }
        lease->past = lease->stopped = false;
        lease->next_us = (double)from.us + phase * lease->step_us + lease->tolerance_us;
    }
}

uint64_t lease_part_alone(const struct lease *lease)
{
    if (!lease->alone) {
        return UINT64_MAX;
    }
    uint64_t part = (uint64_t)((double)lease->interval_us / lease->step_us);
    return part > 1 ? part : 1;
}

void lease_end_alone(struct lease *lease)
{
    if (lease->alone) {
        lease->alone = lease->stopped = false;
        lease->step_us = 0;
    }
}

uint64_t lease_released(struct lease *lease, struct mono_time now)
{
    tidy(lease, now);
    uint64_t n = lease->released;
    lease->released = 0;
    return n;
}

/* ---- use ---- */

static bool in_pace(const struct lease *lease, struct mono_time now)
{
    return lease->step_us <= 0 || lease->next_us - lease->tolerance_us <= (double)now.us;
}

/* How many more may be used in this interval; the first may be a take of any size. */
static uint64_t alone_room(const struct lease *lease)
{
    if (lease->held == 0) {
        return UINT64_MAX;
    }
    return lease->most > lease->held ? lease->most - lease->held : 0;
}

bool lease_can(struct lease *lease, struct mono_time now, uint64_t n)
{
    tidy(lease, now);
    bool there = lease->alone ? !lease->stopped && alone_room(lease) >= n : lease->free >= n;
    return there && in_pace(lease, now);
}

bool lease_take(struct lease *lease, struct mono_time now, uint64_t n)
{
    if (!lease_can(lease, now, n)) {
        return false;
    }
    lease->next_us = larger(lease->next_us, (double)now.us) + (double)n * lease->step_us;
    if (lease->alone) {
        lease->held += n;
    } else {
        lease->free -= n;
    }
    if (n > 0) {
        add_busy(lease, mono_add_us(now, lease->interval_us + lease->guard_us), n);
    }
    return true;
}

void lease_untake(struct lease *lease, uint64_t n)
{
    lease->next_us -= (double)n * lease->step_us;
    while (n > 0 && lease->count > 0) {
        struct lease_busy *last = busy_at(lease, lease->count - 1);
        uint64_t here = lesser(n, last->count);
        last->count -= here;
        lease->free += lease->alone || lease->past ? 0 : here;
        lease->held -= lease->alone ? here : 0;
        n -= here;
        lease->count -= last->count == 0 ? 1 : 0;
    }
}

uint64_t lease_ready(struct lease *lease, struct mono_time now)
{
    if (!lease_can(lease, now, lease->alone ? 0 : 1)) {
        return 0;
    }
    if (lease->step_us <= 0) {
        return lease->free;
    }
    double next = larger(lease->next_us, (double)now.us);
    double paced = ((double)now.us + lease->tolerance_us - next) / lease->step_us + 1;
    uint64_t most = paced > 1e15 ? (uint64_t)1e15 : (uint64_t)paced;
    return lesser(most, lease->alone ? alone_room(lease) : lease->free);
}

struct mono_time lease_when(struct lease *lease, struct mono_time now, uint64_t n)
{
    tidy(lease, now);
    if (lease->alone && lease->stopped) {
        return MONO_NEVER;
    }
    struct mono_time when = now;
    if (!in_pace(lease, now)) {
        double due = lease->next_us - lease->tolerance_us;
        when.us = due < 9e15 ? (int64_t)due + 1 : INT64_MAX;
    }
    uint64_t there = lease->alone ? alone_room(lease) : lease->free;
    n = lease->alone ? lesser(n, lease->most) : n;
    for (uint32_t i = 0; i < lease->count && there < n && !lease->past; i++) {
        there += busy_at(lease, i)->count;
        if (there >= n && mono_before(when, busy_at(lease, i)->free_at)) {
            when = busy_at(lease, i)->free_at;
        }
    }
    return there >= n ? when : MONO_NEVER;
}

uint64_t lease_unused(struct lease *lease, struct mono_time now)
{
    tidy(lease, now);
    return lease->free;
}

/* ---- giving up ---- */

uint64_t lease_give_free(struct lease *lease, struct mono_time now, uint64_t n)
{
    tidy(lease, now);
    uint64_t given = lesser(n, lease->free);
    lease->free -= given;
    lease->held -= given;
    return given;
}

size_t lease_give_busy(struct lease *lease, struct mono_time beyond, uint64_t n,
                       struct lease_busy *out, size_t max)
{
    size_t given = 0;
    while (n > 0 && given < max && lease->count > 0 && !lease->past) {
        struct lease_busy *last = busy_at(lease, lease->count - 1);
        if (mono_before(last->free_at, beyond)) {
            break;
        }
        uint64_t here = lesser(n, last->count);
        out[given++] = (struct lease_busy){last->free_at, last->first_us, here};
        last->count -= here;
        lease->held -= here;
        n -= here;
        lease->count -= last->count == 0 ? 1 : 0;
    }
    return given;
}

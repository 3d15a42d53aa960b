/*
 * Going on without Redis, and coming back to it. Who hears nothing from Redis for as long as a
 * lease lasts takes its part of each rate; when Redis is back, it learns from all holders what they
 * have used before it grants (limiter.lua). Then each has to stop in time, to report all that it
 * used until then, and to say so. Who has said that, and loses Redis again, uses nothing until a
 * lease's time has passed, as Redis may be granting to others. All on the loop's thread.
 */
#include "redis/limiter_private.h"

#include "base/log.h"
#include "base/random.h"

/* So that not all holders begin in the same moment. */
static double random_phase(void)
{
    return (double)random_below(1000000) / 1e6;
}

/* When all leases have ended. Who finds Redis gone only after a while, as it had nothing to ask,
 * waits for as long as those who did: they are back before they go on alone, or say that they were
 * away. Who has never heard of Redis lets an interval pass, too: who was here before may just have
 * used its share. */
static bool share_begins(const struct limit *limit, struct mono_time now)
{
    const struct limiter_node *node = limit->on;
    int64_t interval_us = limit->rule.interval_ms * 1000;
    int64_t wait_us = interval_us < LIMITER_STRANGER_US ? interval_us : LIMITER_STRANGER_US;
    struct mono_time from = mono_add_us(node->heard, LIMITER_LEASE_US);
    from = mono_add_us(from, node->epoch == 0 ? wait_us : 0);
    return node->state == REDIS_DOWN && !mono_before(now, from) &&
           !mono_before(now, mono_add_us(node->lost, LIMITER_LEASE_US));
}

/* Redis is about to grant. Once it has heard that, it is to stop even if Redis learns anew: others
 * may have been granted something meanwhile. */
static bool is_to_stop(const struct limit *limit, bool begins, struct mono_time now)
{
    const struct limiter_node *node = limit->on;
    if (begins || limit->lease.stopped || node->state != REDIS_LEARNING) {
        return limit->lease.stopped && !begins;
    }
    struct mono_time till = lease_clock_earliest(&node->clock, node->till_us);
    return mono_since_us(till, now) < LIMITER_STOP_US;
}

/* A share without Redis goes on while Redis learns. */
void limit_refresh_share(struct limit *limit, struct mono_time now)
{
    struct limiter_node *node = limit->on;
    if (limit->rule.kind != LIMIT_RATE) {
        return;
    }
    bool begins = share_begins(limit, now);
    if (begins) {
        node->was_alone = true;
    }
    if (node->state == REDIS_UP) {
        lease_end_alone(&limit->lease);
    } else if (begins || limit->lease.alone) {
        lease_go_alone(&limit->lease, limit->limiter->holders, now, random_phase());
        limit->lease.stopped = is_to_stop(limit, begins, now);
    }
    limit->settled = limit->settled && limit->lease.stopped;
}

void limiter_refresh_shares(struct limiter_node *node)
{
    struct mono_time now = mono_now();
    list_foreach (entry, &node->limiter->limits) {
        struct limit *limit = CONTAINER_OF(entry, struct limit, node);
        if (limit->on == node) {
            limit_refresh_share(limit, now);
            limit_pump(limit);
        }
    }
}

static const char *state_name(enum redis_state state)
{
    switch (state) {
    case REDIS_CONNECTING: return "connecting";
    case REDIS_UP: return "up";
    case REDIS_LEARNING: return "learning";
    case REDIS_DOWN: return "down";
    }
    return "?";
}

void limiter_set_state(struct limiter_node *node, enum redis_state state)
{
    if (node->state == state) {
        return;
    }
    log_debug("redis-state", "holder=%s tag=%s from=%s to=%s", node->limiter->holder, node->prefix,
              state_name(node->state), state_name(state));
    node->state = state;
    if (state == REDIS_DOWN) {
        node->lost = mono_now();
    }
    limiter_refresh_shares(node);
}

void limiter_stop_for_good(struct limiter_node *node)
{
    list_foreach (entry, &node->limiter->limits) {
        struct limit *limit = CONTAINER_OF(entry, struct limit, node);
        if (limit->on == node && limit->lease.alone) {
            limit->lease.stopped = limit->settled = true;
        }
    }
}

/* ---- what Redis is told of it ---- */

static bool all_is_reported(const struct limiter_node *node)
{
    if (node->epoch == 0) {
        return false;
    }
    list_foreach (entry, &node->limiter->limits) {
        const struct limit *limit = CONTAINER_OF(entry, struct limit, node);
        bool holds = limit->held > 0 || limit->lease.held > 0 || limit->day_granted > 0;
        if (limit->on == node && holds && limit->epoch != node->epoch) {
            return false;
        }
    }
    return true;
}

static bool all_have_stopped(const struct limiter_node *node)
{
    list_foreach (entry, &node->limiter->limits) {
        const struct limit *limit = CONTAINER_OF(entry, struct limit, node);
        const struct lease *lease = &limit->lease;
        bool done = lease->stopped && (limit->settled || lease->held == 0);
        if (limit->on == node && lease->alone && !done) {
            return false;
        }
    }
    return true;
}

/* Others may be alone: Redis stood still, say, and we are the first whom it answers again. */
static bool was_away(const struct limiter_node *node, struct mono_time now)
{
    return mono_before(node->heard, node->lost) &&
           mono_since_us(now, node->heard) >= LIMITER_LEASE_US - LIMITER_LEASE_MARGIN_US;
}

char limiter_word(const struct limiter_node *node, struct mono_time now)
{
    if (node->was_alone || was_away(node, now)) {
        return LIMITER_WORD_ALONE;
    }
    return !all_is_reported(node) ? '0' : all_have_stopped(node) ? LIMITER_WORD_STOPPED : '1';
}

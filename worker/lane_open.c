#include "worker/lane.h"

#include "worker/lane_private.h"
#include "worker/session.h"
#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"

#include <netinet/in.h>

#define VIP_DEAD_MS 60000

/* ---- addresses ---- */

static void addresses_found(struct dns_address_lookup *lookup, struct dns_addresses *addresses,
                            const struct smtp_outcome *outcome)
{
    struct lane *lane = CONTAINER_OF(lookup, struct lane, lookup);
    CHECK_MAGIC(lane, LANE_MAGIC);
    struct mono_time now = io_loop_now(lane->shard->loop);
    lane->resolving = false;
    if (addresses == NULL || addresses->count == 0) {
        dns_site_unref(&lane->looked_up);
        lane->trouble_host[0] = '\0';
        lane_suspend(lane, outcome);
        return;
    }
    struct host_state *fresh = mem_calloc(addresses->count, sizeof(*fresh));
    for (size_t i = 0; i < addresses->count; i++) {
        const struct dns_address *from = &addresses->items[i];
        const struct dns_host *host = &lane->looked_up->hosts[from->host];
        fresh[i].address = from->address;
        fresh[i].len = from->len;
        fresh[i].preference = host->preference;
        memcpy(fresh[i].name, host->name, sizeof(fresh[i].name));
        if (from->address.ss_family == AF_INET) {
            ((struct sockaddr_in *)&fresh[i].address)->sin_port = htons(lane->config->smtp_port);
        } else {
            ((struct sockaddr_in6 *)&fresh[i].address)->sin6_port = htons(lane->config->smtp_port);
        }
    }
    hosts_set(&lane->hosts, fresh, addresses->count);
    mem_free(fresh);
    dns_addresses_free(addresses);
    dns_site_unref(&lane->looked_up);
    struct mono_time soonest = mono_add_ms(now, 5000);
    lane->hosts_until = mono_before(lane->site->expires, soonest) ? soonest : lane->site->expires;
    lane_kick(lane);
}

/* False: they are being looked up. */
static bool have_hosts(struct lane *lane, struct mono_time now)
{
    if (lane->resolving) {
        return false;
    }
    if (lane->site != NULL && (lane->hosts.count == 0 || !mono_before(now, lane->hosts_until))) {
        lane->resolving = true;
        lane->looked_up = dns_site_ref(lane->site);
        lane->lookup.done = addresses_found;
        dns_site_addresses(lane->shard->sites, lane->looked_up, &lane->lookup);
        return false;
    }
    return true;
}

/* ---- sessions ---- */

/* Mail that may go by a session of the share. */
static size_t mail_for(const struct lane_share *share)
{
    const struct queue *queue = &share->lane->queue;
    bool reserved = share == &share->lane->shares[LANE_RESERVED];
    return reserved ? queue_ready_of(queue, CONFIG_CLASS_TRANSACTIONAL) : queue->ready;
}

static void slot_ready(struct limit_waiter *waiter)
{
    struct lane_share *share = CONTAINER_OF(waiter, struct lane_share, waiter);
    struct lane *lane = share->lane;
    CHECK_MAGIC(lane, LANE_MAGIC);
    share->waiting = false;
    /* Here, not later: whoever takes outside of this call stands behind those that wait. */
    if (mail_for(share) > 0) {
        lane_open_sessions(lane);
    } else {
        waiter->turn = NULL;
    }
}

struct limit_want *lane_want_room(struct lane *lane, const struct bounds *a, const struct bounds *b)
{
    size_t room = lane->bounds.count + (a == NULL ? 0 : a->count) + (b == NULL ? 0 : b->count);
    if (room > lane->want_room) {
        lane->wants = mem_realloc(lane->wants, room * sizeof(*lane->wants));
        lane->want_room = room;
    }
    return lane->wants;
}

/* What a connection from this VIP takes. */
static size_t wanted_slots(const struct lane_share *share, struct lane_vip *vip)
{
    static const struct bounds_need one = {1, 1};
    struct lane *lane = share->lane;
    bool reserved = share == &lane->shares[LANE_RESERVED];
    unsigned kinds = BOUNDS_OPENING | (reserved ? BOUNDS_RESERVED : 0);
    struct limit_want *wants = lane_want_room(lane, &vip->bounds, NULL);
    size_t count = bounds_wants(&lane->bounds, kinds, &one, NULL, wants);
    return count + bounds_wants(&vip->bounds, kinds, &one, NULL, wants + count);
}

static bool take_slots(struct lane_share *share, struct lane_vip *vip)
{
    struct lane *lane = share->lane;
    size_t count = wanted_slots(share, vip);
    if (count == 0) {
        return true;
    }
    if (share->waiting) {
        redis_limit_wait_cancel(lane->shard->limiter, &share->waiter);
    }
    share->waiter.ready = slot_ready;
    share->waiting = !redis_limits_take(lane->shard->limiter, lane->wants, count, &share->waiter);
    return !share->waiting;
}

static void give_slots(const struct lane_share *share, struct lane_vip *vip)
{
    size_t count = wanted_slots(share, vip);
    if (count > 0) {
        redis_limits_return(share->lane->shard->limiter, share->lane->wants, count);
    }
}

/* A VIP by weight among those alive, beginning anew at each call; `tried` marks those that were
 * looked at. */
static struct lane_vip *pick_vip(struct lane *lane, bool *tried, struct mono_time now)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < lane->vip_count; i++) {
        if (!tried[i] && !mono_before(now, lane->vips[i].dead_until)) {
            sum += lane->vips[i].weight;
        }
    }
    if (sum == 0) {
        return NULL;
    }
    uint32_t at = random_below(sum);
    for (size_t i = 0; i < lane->vip_count; i++) {
        if (!tried[i] && !mono_before(now, lane->vips[i].dead_until)) {
            if (at < lane->vips[i].weight) {
                tried[i] = true;
                return &lane->vips[i];
            }
            at -= lane->vips[i].weight;
        }
    }
    return NULL;
}

/* The worker has no connection to spare: until one ends. */
static void wait_for_connection(struct lane *lane)
{
    if (!list_linked(&lane->starved_node)) {
        list_push_back(&lane->shard->starved, &lane->starved_node);
    }
}

enum open_result { OPEN_DONE, OPEN_WAIT, OPEN_NO_HOST };

/* One session, from the first VIP by weight that has a slot and a host alive. */
static enum open_result open_one(struct lane_share *share, struct mono_time now)
{
    struct lane *lane = share->lane;
    bool *tried = mem_calloc(lane->vip_count, sizeof(*tried));
    enum open_result result = OPEN_NO_HOST;
    struct lane_vip *vip;
    while (result != OPEN_DONE && (vip = pick_vip(lane, tried, now)) != NULL) {
        struct fault fault;
        struct host_state *host =
            hosts_pick(&lane->hosts, vip->vip->has_ipv4, vip->vip->has_ipv6, now);
        if (host == NULL) {
            continue;
        }
        if (!take_slots(share, vip)) {
            result = OPEN_WAIT;
            continue;
        }
        if (session_open(share, vip, host, mono_before(now, host->clear_until), &fault) != NULL) {
            result = OPEN_DONE;
            continue;
        }
        give_slots(share, vip);
        if (fault.kind == FAULT_LIMIT) {
            wait_for_connection(lane); /* no descriptors: not the VIP's fault */
            result = OPEN_WAIT;
            break;
        }
        log_warn("vip-unusable", "vip=%s reason=\"%s\"", vip->vip->config->name, fault.text);
        vip->dead_until = mono_add_ms(now, VIP_DEAD_MS);
        if (lane->trouble.text.len == 0) {
            const struct smtp_outcome outcome = {.phase = SMTP_PHASE_CONNECT,
                                                 .text = slice_cstr(fault.text)};
            lane_remember_trouble(lane, &outcome);
        }
    }
    mem_free(tried);
    return result;
}

/* No host can be tried now. If sessions are alive they go on; else the site is out of reach. */
static void no_host(struct lane *lane)
{
    if (lane->session_count > 0) {
        return;
    }
    struct smtp_outcome outcome = lane->trouble;
    if (outcome.text.len == 0) {
        outcome = (struct smtp_outcome){
            .phase = SMTP_PHASE_CONNECT,
            .text = SLICE("no host of the site has an address that our VIPs can reach")};
    }
    lane_suspend(lane, &outcome);
}

/* The last tenth of the worker's connections is for lanes that have none yet, or sites that let
 * every connection hang would have them all. */
static bool no_connection_to_spare(const struct lane *lane)
{
    const struct worker *worker = lane->shard->worker;
    uint32_t most = worker->config->worker.max_connections;
    most -= lane->session_count > 0 ? most / 10 : 0;
    return atomic_load_explicit(&worker->connections, memory_order_relaxed) >= most;
}

/* Sessions of the share until that many of the lane are on their way. */
static enum open_result open_share(struct lane_share *share, size_t opening, size_t wanted,
                                   struct mono_time now)
{
    struct lane *lane = share->lane;
    enum open_result result = OPEN_DONE;
    /* A session that waits for tokens shows that more sessions would not help. */
    while (result == OPEN_DONE && lane->throttled == 0 && opening++ < wanted &&
           share->count < share->most &&
           lane->session_count < lane->config->max_connections_per_lane) {
        if (no_connection_to_spare(lane)) {
            wait_for_connection(lane);
            return OPEN_WAIT;
        }
        result = open_one(share, now);
    }
    return result;
}

static bool has_reserve(const struct bounds *bounds, const struct limit *limit)
{
    for (size_t i = 0; i < bounds->count; i++) {
        if (bounds->items[i].limit == limit && bounds->items[i].reserved != NULL) {
            return true;
        }
    }
    return false;
}

/* Is what keeps the lane from opening more sessions for all mail a maximum of which some are
 * reserved? */
static bool is_kept_back(const struct lane *lane)
{
    const struct lane_share *open = &lane->shares[LANE_OPEN];
    if (!open->waiting) {
        return open->count >= open->most;
    }
    bool reserve = has_reserve(&lane->bounds, open->waiter.blocking);
    for (size_t i = 0; i < lane->vip_count; i++) {
        reserve = reserve || has_reserve(&lane->vips[i].bounds, open->waiter.blocking);
    }
    return reserve;
}

void lane_open_sessions(struct lane *lane)
{
    struct mono_time now = io_loop_now(lane->shard->loop);
    struct lane_share *open = &lane->shares[LANE_OPEN];
    struct lane_share *reserved = &lane->shares[LANE_RESERVED];
    if (!have_hosts(lane, now)) {
        return;
    }
    enum open_result result = open_share(open, open->opening, lane->queue.ready, now);
    if (open->waiting && lane->session_count == 0 && lane->slotless_since.us == 0) {
        lane->slotless_since = now;
    }
    if (result != OPEN_NO_HOST && mail_for(reserved) > 0 && is_kept_back(lane)) {
        result = open_share(reserved, open->opening + reserved->opening, mail_for(reserved), now);
    }
    if (result == OPEN_NO_HOST) {
        no_host(lane);
    }
}

/* A lane that has no connection before all others. */
void lane_wake_starved(struct shard *shard)
{
    struct lane *first = NULL;
    list_foreach (node, &shard->starved) {
        struct lane *lane = CONTAINER_OF(node, struct lane, starved_node);
        if (first == NULL || lane->session_count == 0) {
            first = lane;
        }
        if (lane->session_count == 0) {
            break;
        }
    }
    if (first != NULL) {
        list_remove(&first->starved_node);
        lane_kick(first);
    }
}

#include "worker/lane_private.h"

#include "worker/session.h"
#include "worker/worker.h"

#include "base/mem.h"

static const struct worker_vip *held_vip(const struct worker *worker, struct slice name)
{
    for (size_t i = 0; i < worker->vip_count; i++) {
        if (slice_eq(name, slice_cstr(worker->vips[i].config->name))) {
            return &worker->vips[i];
        }
    }
    return NULL;
}

void lane_subject(const struct lane *lane, struct config_subject *subject)
{
    *subject = (struct config_subject){
        .entry = lane->config,
        .site = lane->site_name,
        .mx_host = slice_cstr(lane->mx_host),
        .domain = slice_cstr(lane->domain),
    };
    if (config_pool_named(lane->shard->worker->config, lane->route) != NULL) {
        subject->pool = lane->route;
    }
}

static void add_vip(struct lane *lane, const struct worker_vip *vip, uint32_t weight)
{
    struct lane_vip *entry = &lane->vips[lane->vip_count++];
    struct config_subject subject;
    *entry = (struct lane_vip){.vip = vip, .weight = weight};
    lane_subject(lane, &subject);
    subject.vip = slice_cstr(vip->config->name);
    bounds_make(&entry->bounds, lane->shard->limiter, lane->shard->worker->config, &subject,
                CONFIG_LEVEL_VIP);
}

/* The VIPs of the lane's pool (or the VIP of that name) that this worker holds. */
static void find_vips(struct lane *lane)
{
    const struct worker *worker = lane->shard->worker;
    const struct config_pool *pool = config_pool_named(worker->config, lane->route);
    size_t most = pool == NULL ? 1 : pool->member_count;
    lane->vips = mem_calloc(most, sizeof(*lane->vips));
    if (pool == NULL) {
        const struct worker_vip *vip = held_vip(worker, lane->route);
        if (vip != NULL) {
            add_vip(lane, vip, 1);
        }
        return;
    }
    for (size_t i = 0; i < pool->member_count; i++) {
        const struct worker_vip *vip = held_vip(worker, slice_cstr(pool->members[i].vip));
        if (vip != NULL) {
            add_vip(lane, vip, pool->members[i].weight);
        }
    }
}

/* Hosts that the configuration names instead of a look-up. */
static void fixed_hosts(struct lane *lane)
{
    const struct config_site *site = lane->config;
    struct host_state *fresh = mem_calloc(site->smtp_host_count, sizeof(*fresh));
    size_t count = 0;
    for (size_t i = 0; i < site->smtp_host_count; i++) {
        struct host_state *host = &fresh[count];
        struct fault fault;
        if (io_address_parse(slice_cstr(site->smtp_hosts[i]), site->smtp_port, &host->address,
                             &host->len, &fault)) {
            host->preference = (uint16_t)i;
            snprintf(host->name, sizeof(host->name), "%s", site->smtp_hosts[i]);
            count++;
        }
    }
    hosts_set(&lane->hosts, fresh, count);
    lane->hosts_until = MONO_NEVER;
    mem_free(fresh);
}

static void flow_gone(struct queue *queue, struct queue_flow *flow)
{
    (void)queue;
    if (flow->limits != NULL) {
        flow_limits_leave(flow->limits);
    }
}

static void make_shares(struct lane *lane)
{
    const struct config_site *site = lane->config;
    for (size_t i = 0; i < LANE_SHARES; i++) {
        lane->shares[i].lane = lane;
        list_init(&lane->shares[i].idle);
    }
    /* Those that are reserved in the cluster are of use even where none of the lane's own is. */
    lane->shares[LANE_OPEN].most = site->max_connections_per_lane - site->reserved_per_lane;
    lane->shares[LANE_RESERVED].most = site->max_connections_per_lane;
}

static struct lane *lane_create(struct shard *shard, struct mail *mail, struct slice key,
                                const struct config_site *fixed)
{
    struct lane *lane = mem_zalloc(sizeof(*lane));
    lane->magic = LANE_MAGIC;
    lane->shard = shard;
    lane->names = mem_strndup(key.ptr, key.len);
    lane->key = slice_of(lane->names, key.len);
    lane->route = slice_head(lane->key, mail->route.len);
    queue_init(&lane->queue);
    lane->queue.flow_gone = flow_gone;
    map_init(&lane->flows);
    hosts_init(&lane->hosts);
    list_init(&lane->sessions);
    lane->idle_since = io_loop_now(shard->loop);
    lane->domain = mem_strndup(mail->message.domain.ptr, mail->message.domain.len);
    if (fixed != NULL) {
        lane->mx_host = mem_strdup("");
        lane->config = fixed;
        lane->site_name = slice_cstr(fixed->name);
        fixed_hosts(lane);
    } else {
        struct slice mx = slice_cstr(mail->site->host_count > 0 ? mail->site->hosts[0].name : "");
        lane->mx_host = mem_strndup(mx.ptr, mx.len);
        lane->site = dns_site_ref(mail->site);
        lane->site_name = slice_cstr(lane->site->name);
        lane->config =
            config_site_for(shard->worker->config, lane->site_name, mx, mail->message.domain);
    }
    make_shares(lane);
    struct config_subject subject;
    lane_subject(lane, &subject);
    bounds_make(&lane->bounds, shard->limiter, shard->worker->config, &subject, CONFIG_LEVEL_LANE);
    lane->limits_mail = config_has_limits(shard->worker->config, CONFIG_LEVEL_MAIL);
    find_vips(lane);
    fair_begin(lane);
    map_put(&shard->lanes, lane->key, lane);
    return lane;
}

struct lane *lane_for(struct shard *shard, struct mail *mail, const struct config_site *fixed)
{
    char key[1024];
    const char *site = mail->site != NULL ? mail->site->key : fixed->name;
    int len = snprintf(key, sizeof(key), "%.*s %s", SLICE_FMT(mail->route), site);
    CHECK(len > 0 && (size_t)len < sizeof(key));
    struct lane *lane = map_get(&shard->lanes, slice_of(key, (size_t)len));
    if (lane == NULL) {
        lane = lane_create(shard, mail, slice_of(key, (size_t)len), fixed);
    } else if (mail->site != NULL && lane->site != mail->site) {
        /* A younger answer for the same set of hosts. */
        dns_site_unref(&lane->site);
        lane->site = dns_site_ref(mail->site);
        lane->site_name = slice_cstr(lane->site->name);
    }
    return lane;
}

void lane_free(struct lane **handle)
{
    struct lane *lane = *handle;
    struct list left;
    struct list *node;
    CHECK_MAGIC(lane, LANE_MAGIC);
    map_remove(&lane->shard->lanes, lane->key);
    list_foreach_safe (session_node, after, &lane->sessions) {
        session_close(CONTAINER_OF(session_node, struct session, node));
    }
    list_init(&left);
    queue_extract_all(&lane->queue, &left);
    while ((node = list_pop_front(&left)) != NULL) {
        struct mail *mail = CONTAINER_OF(node, struct mail, node);
        dns_site_unref(&mail->site);
        mail->forget = true; /* of an unclean stop */
        mail_send_home(mail);
    }
    if (lane->resolving) {
        dns_address_lookup_cancel(&lane->lookup);
        dns_site_unref(&lane->looked_up);
    }
    if (lane->kick_set) {
        io_task_cancel(&lane->kick);
    }
    for (size_t i = 0; i < LANE_SHARES; i++) {
        if (lane->shares[i].waiting) {
            redis_limit_wait_cancel(lane->shard->limiter, &lane->shares[i].waiter);
        }
    }
    list_remove(&lane->starved_node);
    fair_end(lane);
    for (size_t i = 0; i < lane->vip_count; i++) {
        bounds_free(&lane->vips[i].bounds);
    }
    bounds_free(&lane->bounds);
    flow_limits_sweep(lane, io_loop_now(lane->shard->loop), true);
    map_free(&lane->flows);
    queue_free(&lane->queue);
    hosts_free(&lane->hosts);
    dns_site_unref(&lane->site);
    mem_free(lane->vips);
    mem_free(lane->wants);
    mem_free(lane->mx_host);
    mem_free(lane->domain);
    mem_free(lane->names);
    lane->magic = 0;
    mem_free(lane);
    *handle = NULL;
}

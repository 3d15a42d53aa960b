#include "worker/hosts.h"

#include "base/mem.h"
#include "io/conn.h"

#include <netinet/in.h>

#define BREAKS_TO_DEAD 3

void hosts_init(struct hosts *hosts)
{
    *hosts = (struct hosts){0};
}

void hosts_free(struct hosts *hosts)
{
    mem_free(hosts->items);
    hosts_init(hosts);
}

static bool same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family) {
        return false;
    }
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *x = (const struct sockaddr_in *)a;
        const struct sockaddr_in *y = (const struct sockaddr_in *)b;
        return x->sin_addr.s_addr == y->sin_addr.s_addr && x->sin_port == y->sin_port;
    }
    const struct sockaddr_in6 *x = (const struct sockaddr_in6 *)a;
    const struct sockaddr_in6 *y = (const struct sockaddr_in6 *)b;
    return memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) == 0 &&
           x->sin6_port == y->sin6_port;
}

struct host_state *hosts_find(struct hosts *hosts, const struct sockaddr_storage *address)
{
    for (size_t i = 0; i < hosts->count; i++) {
        if (same_address(&hosts->items[i].address, address)) {
            return &hosts->items[i];
        }
    }
    return NULL;
}

void hosts_set(struct hosts *hosts, const struct host_state *fresh, size_t count)
{
    struct host_state *items = count == 0 ? NULL : mem_calloc(count, sizeof(*items));
    for (size_t i = 0; i < count; i++) {
        const struct host_state *known = hosts_find(hosts, &fresh[i].address);
        items[i] = fresh[i];
        if (known != NULL) {
            items[i].failures = known->failures;
            items[i].dead_until = known->dead_until;
            items[i].clear_until = known->clear_until;
        }
    }
    mem_free(hosts->items);
    *hosts = (struct hosts){.items = items, .count = count};
}

static bool usable(const struct host_state *host, bool ipv4, bool ipv6)
{
    return host->address.ss_family == AF_INET ? ipv4 : ipv6;
}

struct host_state *hosts_pick(struct hosts *hosts, bool ipv4, bool ipv6, struct mono_time now)
{
    uint32_t best = UINT32_MAX;
    for (size_t i = 0; i < hosts->count; i++) {
        const struct host_state *host = &hosts->items[i];
        if (usable(host, ipv4, ipv6) && !mono_before(now, host->dead_until) &&
            host->preference < best) {
            best = host->preference;
        }
    }
    for (size_t i = 0; best != UINT32_MAX && i < hosts->count; i++) {
        struct host_state *host = &hosts->items[(hosts->next + i) % hosts->count];
        if (usable(host, ipv4, ipv6) && !mono_before(now, host->dead_until) &&
            host->preference == best) {
            hosts->next = (size_t)(host - hosts->items) + 1;
            return host;
        }
    }
    return NULL;
}

bool hosts_none_of(const struct hosts *hosts, bool ipv4, bool ipv6)
{
    for (size_t i = 0; i < hosts->count; i++) {
        if (usable(&hosts->items[i], ipv4, ipv6)) {
            return false;
        }
    }
    return true;
}

void host_unreachable(struct host_state *host, struct mono_time now, int64_t dead_ms)
{
    host->failures = 0;
    host->dead_until = mono_add_ms(now, dead_ms);
}

void host_broke(struct host_state *host, struct mono_time now, int64_t dead_ms)
{
    if (++host->failures >= BREAKS_TO_DEAD) {
        host_unreachable(host, now, dead_ms);
    }
}

void host_good(struct host_state *host)
{
    host->failures = 0;
}

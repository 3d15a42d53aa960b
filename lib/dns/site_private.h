/*
 * What the files of the resolver share: queries to libunbound (query.c), hosts with their addresses
 * (host.c), domains with their sites (site.c), address lists for a delivery (addresses.c). One
 * thread: the loop's.
 */
#ifndef SLUICE_DNS_SITE_PRIVATE_H
#define SLUICE_DNS_SITE_PRIVATE_H

#include "dns/cache.h"
#include "dns/record.h"
#include "dns/site_set.h"

#define DNS_SITES_MAGIC 0x44534954u
#define DNS_QUERY_MAGIC 0x44515259u
#define DNS_DOMAIN_MAGIC 0x44444f4du
#define DNS_HOST_MAGIC 0x44484f53u
#define DNS_GATHER_MAGIC 0x44474154u

#define DNS_TYPE_A 1
#define DNS_TYPE_MX 15
#define DNS_TYPE_AAAA 28

/* Handed to libunbound at the same time; more wait here. */
#define DNS_QUERIES_MAX 1000
/* No answer is remembered for less, so that TTL 0 does not mean one query per message. */
#define DNS_TTL_MIN_MS 5000
/* A failure is remembered this long; libunbound remembers its own for up to 5 s. */
#define DNS_FAILURE_TTL_MS 2000
/* One address family answered, the other failed. */
#define DNS_PARTIAL_TTL_MS 60000
/* With addresses of one family at hand, how long the other one is waited for. */
#define DNS_SECOND_FAMILY_WAIT_MS 2000
#define DNS_TEXT_MAX (DNS_NAME_MAX + 145)

struct ub_ctx;

enum dns_answer_kind {
    DNS_ANSWER_NONE = 0, /* none yet */
    DNS_ANSWER_DATA,
    DNS_ANSWER_EMPTY,   /* the name exists, without records of this type */
    DNS_ANSWER_NO_NAME, /* NXDOMAIN */
    DNS_ANSWER_FAILED,  /* SERVFAIL, refused, bogus, no answer in time */
};

/* Lent for the time of the callback. */
struct dns_answer {
    enum dns_answer_kind kind;
    char *const *data; /* rdata of the records */
    const int *len;
    size_t count;
    const char *canonical; /* name at the end of a CNAME chain, or NULL */
    int64_t ttl_ms;
    const char *why; /* of a failure */
};

enum dns_query_state { DNS_QUERY_IDLE = 0, DNS_QUERY_QUEUED, DNS_QUERY_RUNNING };

/* One question to libunbound; lies in its owner, zeroed before the first use. */
struct dns_query {
    uint32_t magic;
    struct list node; /* in dns_sites.queued */
    struct dns_sites *sites;
    const char *name; /* the owner's */
    int type;
    int async_id;
    enum dns_query_state state;
    void (*done)(struct dns_query *query, const struct dns_answer *answer);
};

struct dns_sites {
    uint32_t magic;
    struct io_loop *loop;
    struct dns_options options; /* without the servers */
    struct ub_ctx *unbound;
    struct io_watch *watch;
    struct list queued; /* queries that wait for a place */
    size_t running;
    struct dns_cache domains;
    struct dns_cache hosts;
    struct list ready_domains; /* with waiters to be told at the end of the turn */
    struct list gathers;       /* address look-ups under way */
    struct list ready_gathers; /* complete, to be told at the end of the turn */
    struct io_task task;
    struct dns_site *literal; /* the last address literal's, lent to the caller */
    bool closing;
};

/* query.c. The callback never runs before dns_query_start() returns, and not after
 * dns_query_cancel(). */
struct ub_ctx *dns_unbound_create(const struct dns_options *options, struct fault *fault);
void dns_unbound_readable(struct io_watch *watch, void *owner, unsigned events);
void dns_query_start(struct dns_sites *sites, struct dns_query *query, const char *name, int type,
                     void (*done)(struct dns_query *, const struct dns_answer *));
void dns_query_cancel(struct dns_query *query);

/* host.c: a host's addresses of all families that we can send from, cached. */
enum { DNS_FAMILY_V4, DNS_FAMILY_V6, DNS_FAMILY_COUNT };

struct dns_host_record {
    uint32_t magic;
    struct dns_cache_entry entry;
    struct dns_sites *sites;
    struct list waiters; /* struct dns_host_wait */
    struct timer timer;
    struct mono_time deadline;
    struct dns_query queries[DNS_FAMILY_COUNT];
    enum dns_answer_kind answers[DNS_FAMILY_COUNT]; /* NONE: asked, no answer yet */
    bool asked[DNS_FAMILY_COUNT];
    int64_t ttl_ms;
    enum dns_answer_kind kind; /* of the whole; NONE while under way */
    struct dns_ip *ips[DNS_FAMILY_COUNT];
    size_t counts[DNS_FAMILY_COUNT];
    char name[]; /* NUL-terminated */
};

struct dns_host_wait {
    struct list node;
    void (*done)(struct dns_host_wait *wait, const struct dns_host_record *record);
};

/* The record when it is known; else NULL, and wait->done() comes later unless the wait is taken off
 * its list. */
const struct dns_host_record *dns_host_find(struct dns_sites *sites, const char *name,
                                            struct dns_host_wait *wait);
void dns_host_drop(struct dns_cache_entry *entry);
/* Completes all that is under way as failed. */
void dns_hosts_abandon(struct dns_sites *sites);

/* site.c */
/* `ttl_ms` within our bounds, for the kind of answer. */
int64_t dns_bounded_ttl(const struct dns_options *options, enum dns_answer_kind kind,
                        int64_t ttl_ms);
struct smtp_outcome dns_outcome(enum smtp_result result, struct smtp_enhanced enhanced,
                                const char *text);
#define DNS_STATUS_NO_SUCH_SYSTEM ((struct smtp_enhanced){5, 1, 2})
#define DNS_STATUS_NULL_MX ((struct smtp_enhanced){5, 1, 10})
#define DNS_STATUS_NO_ANSWER ((struct smtp_enhanced){4, 4, 3})

/* addresses.c */
void dns_gathers_tell(struct dns_sites *sites);
void dns_gathers_abandon(struct dns_sites *sites);

#endif

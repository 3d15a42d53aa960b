/*
 * A lane: the queue of one VIP or pool for one site, and the sessions that empty it. A lane that
 * gets stuck costs memory only: its excess is spilled to the delay tiers, other lanes never wait
 * for it.
 *
 * Lifetime: made by the first mail, freed by its shard when it has had nothing to do for a minute.
 */
#ifndef SLUICE_WORKER_LANE_H
#define SLUICE_WORKER_LANE_H

#include "worker/fair.h"
#include "worker/flow.h"
#include "worker/hosts.h"
#include "worker/queue.h"
#include "worker/shard.h"

#define LANE_MAGIC 0x4c414e45u

struct session;
struct worker_vip;

/* One VIP that the lane may send from. */
struct lane_vip {
    const struct worker_vip *vip;
    uint32_t weight;
    struct mono_time dead_until; /* its source address could not be bound */
    struct bounds bounds;        /* beside those of the lane */
};

/* Sessions for all mail, and those that are reserved for transactional mail. */
enum lane_share_of { LANE_OPEN, LANE_RESERVED, LANE_SHARES };

struct lane_share {
    struct lane *lane;
    uint32_t most; /* sessions of this lane */
    uint32_t count;
    uint32_t opening; /* not ready for the first time yet */
    struct list idle; /* those that are ready and have nothing to do, longest idle last */
    struct limit_waiter waiter;
    bool waiting; /* for a slot */
};

struct lane {
    uint32_t magic;
    struct shard *shard;
    struct slice key;   /* in `names` */
    struct slice route; /* VIP or pool */
    char *names;
    struct dns_site *site; /* NULL: hosts are named by the configuration */
    struct slice site_name;
    const struct config_site *config;

    struct lane_vip *vips;
    size_t vip_count;
    struct bounds bounds;
    struct fair fair;
    char *mx_host, *domain;   /* by which limits are looked up */
    bool limits_mail;         /* there are limits by tenant, campaign or stream */
    struct map flows;         /* key of the queue's flow -> struct flow_limits */
    struct limit_want *wants; /* room for a take */
    size_t want_room;

    struct queue queue;
    struct hosts hosts;
    struct mono_time hosts_until; /* they are looked up again after that */
    bool resolving;
    struct dns_address_lookup lookup;
    struct dns_site *looked_up; /* whose hosts the answer is about: `site` may change meanwhile */

    struct list sessions; /* all */
    struct lane_share shares[LANE_SHARES];
    uint32_t session_count;
    uint32_t throttled;       /* sessions that wait for rate tokens */
    struct list starved_node; /* in shard.starved */
    struct io_task kick;
    bool kick_set;

    struct mono_time suspended_until; /* nothing of the site can be reached before that */
    struct smtp_outcome trouble;      /* why; text in trouble_text */
    char trouble_text[256];
    char trouble_host[DNS_NAME_MAX + 1];

    struct mono_time busy_since;     /* mail has been ready since; us 0: none is */
    struct mono_time slotless_since; /* no session is ready as it waits for a slot; us 0: not so */
    uint64_t busy_taken;             /* mails taken since then */
    /* Wall clock up to which spilled mail has been given its time; bulk mail's backlog is none of
     * transactional mail, which goes before it. */
    int64_t spill_until_ms[QUEUE_CLASSES];
    struct mono_time idle_since;
};

/* The mail joins its lane, which is made if need be. `fixed`: the entry that names the site's
 * hosts, when mail->site is NULL. */
void lane_push(struct shard *shard, struct mail *mail, const struct config_site *fixed);
/* Closes its sessions, cancels its look-ups. The queue must be empty (mails of an unclean stop are
 * dropped unsettled). */
void lane_free(struct lane **lane);

/* Housekeeping each second; true: idle, may be freed. */
bool lane_tick(struct lane *lane, struct mono_time now);
void lane_extract(struct lane *lane, bool (*wanted)(const struct mail *mail, const void *context),
                  const void *context, struct list *out);
/* Calls that for each mail in a transaction. */
void lane_foreach_running(struct lane *lane, void (*found)(struct mail *mail, void *owner),
                          void *owner);
/* Ends the sessions whose transaction is about such a mail; what is left of it is settled. */
void lane_cut(struct lane *lane, bool (*wanted)(const struct mail *mail, const void *context),
              const void *context);

/* From sessions: */
/* The session may take a mail: gives it one, lets it wait for tokens, or makes it idle. */
void lane_feed(struct lane *lane, struct session *session);
/* A transaction is over, whatever became of it. */
void lane_session_rests(struct lane *lane, struct session *session);
/* It became ready for the first time: time without a slot is over. */
void lane_session_ready(struct lane *lane);
/* A mail comes back unfinished: first in turn again. */
void lane_push_back(struct lane *lane, struct mail *mail);
/* It could not be made ready: the host is left out for a while; when no host is left the lane is
 * suspended. */
void lane_session_failed(struct lane *lane, struct session *session,
                         const struct smtp_outcome *outcome);
/* It is gone for whatever reason (after lane_session_failed, if that applies). */
void lane_session_gone(struct lane *lane, struct session *session);
/* Looks at the end of this turn whether sessions are to be used or opened. */
void lane_kick(struct lane *lane);

/* Whose limits hold for the lane's mail; VIP, tenant, campaign and stream are left empty. */
void lane_subject(const struct lane *lane, struct config_subject *subject);
/* Mails a second that it is expected to send; 0: nothing is known against it. */
double lane_rate(const struct lane *lane, struct mono_time now);
/* Mails that the lane may hold before it spills, beside those that are parked: 60 s of its rate, at
 * least 64; SIZE_MAX while nothing is known against it. */
size_t lane_capacity(const struct lane *lane, struct mono_time now);

#endif

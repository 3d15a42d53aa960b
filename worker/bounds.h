/*
 * The limits that bind a lane, one of its VIPs, or a flow of mail in it: what policy/limits.h says
 * applies, as handles of the limiter. One thread.
 */
#ifndef SLUICE_WORKER_BOUNDS_H
#define SLUICE_WORKER_BOUNDS_H

#include "policy/limits.h"
#include "redis/limiter.h"

/* Kinds that one take is about. */
#define BOUNDS_OPENING                                                                             \
    (1u << CONFIG_LIMIT_CONNECTIONS | 1u << CONFIG_LIMIT_CONNECTS) /* a connection */
#define BOUNDS_HELD (1u << CONFIG_LIMIT_CONNECTIONS)
/* Beside these: of what is reserved for transactional mail, where something is. */
#define BOUNDS_RESERVED (1u << CONFIG_LIMIT_KINDS)
#define BOUNDS_SENDING                                                                             \
    (1u << CONFIG_LIMIT_RECIPIENTS | 1u << CONFIG_LIMIT_DAILY | 1u << CONFIG_LIMIT_BYTES)

struct bound {
    struct limit *limit;
    struct limit *reserved; /* connections that only transactional mail may use; NULL: none */
    enum config_limit_kind kind;
    struct limit_line line, reserved_line; /* of all that want it by these bounds */
};

struct bounds {
    struct bound *items;
    size_t count;
    uint64_t per_connection, per_transaction; /* UINT64_MAX: no limit */
    double rate;                              /* recipients in a second; 0: no limit */
};

/* What is wanted for a transaction (or a connection, for which the numbers do not matter). */
struct bounds_need {
    uint64_t recipients, bytes;
};

/* `limiter` may be NULL if config_shares_limits() says no. */
void bounds_make(struct bounds *bounds, struct redis_limiter *limiter, const struct config *config,
                 const struct config_subject *subject, enum config_limit_level level);
void bounds_free(struct bounds *bounds);

/* Recipients that a transaction may have, so that none of them is exceeded: the amount, and less
 * while Redis is away. UINT64_MAX: as many as there are. */
uint64_t bounds_at_once(const struct bounds *bounds);

/* Appends the wants of these kinds to `out`, which has room for bounds->count more; returns how
 * many. `waiter` as in struct limit_want. */
size_t bounds_wants(struct bounds *bounds, unsigned kinds, const struct bounds_need *need,
                    struct limit_waiter *waiter, struct limit_want *out);

/* What `rate` says, and what of it is this worker's share as far as known. */
double bounds_rate(const struct bounds *bounds);
double bounds_share(const struct bounds *bounds);

/* The one of the two that a connection holds. */
struct limit *bound_slots(const struct bound *bound, bool reserved);

#endif

/*
 * The limits of sluice.yaml in one form, whether they stand in `sites` or in `limits`, and which of
 * them apply to a mail. Workers and `sluicectl explain` ask here, so that what is explained is what
 * is done. Immutable once loaded; any thread.
 *
 * A limit has a kind (what is counted), an amount, and scopes (whose mail it is counted for). A
 * scope is absent (whoever it is), `each` (every value has a count of its own) or one value. All
 * that apply bind together, but for those that a more specific one says it overrides.
 */
#ifndef SLUICE_POLICY_LIMITS_H
#define SLUICE_POLICY_LIMITS_H

#include "base/strbuf.h"
#include "policy/config.h"

enum config_limit_kind {
    CONFIG_LIMIT_CONNECTIONS,     /* max-smtp-out: at the same time */
    CONFIG_LIMIT_CONNECTS,        /* max-connect-rate: new ones */
    CONFIG_LIMIT_RECIPIENTS,      /* max-msg-rate */
    CONFIG_LIMIT_DAILY,           /* max-msg-per-day: recipients in a day of UTC */
    CONFIG_LIMIT_BYTES,           /* max-data-volume-rate: of messages */
    CONFIG_LIMIT_PER_CONNECTION,  /* max-msg-per-connection: transactions */
    CONFIG_LIMIT_PER_TRANSACTION, /* max-rcpt-per-transaction */
    CONFIG_LIMIT_KINDS,
};

enum config_scope_of {
    CONFIG_SCOPE_SITE,
    CONFIG_SCOPE_VIP,
    CONFIG_SCOPE_POOL,
    CONFIG_SCOPE_TENANT,
    CONFIG_SCOPE_CAMPAIGN,
    CONFIG_SCOPE_STREAM,
    CONFIG_SCOPES,
};

enum config_scope_how { CONFIG_SCOPE_ANY, CONFIG_SCOPE_EACH, CONFIG_SCOPE_ONE };

/* What a limit can be looked up by: by the lane alone, by its VIP too, or by each mail. */
enum config_limit_level { CONFIG_LEVEL_LANE, CONFIG_LEVEL_VIP, CONFIG_LEVEL_MAIL, CONFIG_LEVELS };

struct config_scope {
    enum config_scope_how how;
    const char *name; /* CONFIG_SCOPE_ONE */
};

struct config_limit {
    enum config_limit_kind kind;
    enum config_limit_level level;
    struct config_scope scopes[CONFIG_SCOPES];
    const struct config_site *entry; /* its sites; NULL: all, or those that the name matches */
    uint64_t amount;                 /* 0: lifts what it overrides */
    int64_t interval_ms;             /* of rates */
    uint64_t burst;                  /* of max-msg-rate */
    uint64_t reserved;               /* of max-smtp-out: for transactional mail alone */
    bool overrides;
    bool of_sites; /* stands in `sites` */
    size_t order;  /* in the file */
    unsigned line; /* 0: built in */
    char key[96];  /* "limits[3].max-msg-rate" */
};

/* Whom a mail concerns; empty where not known. */
struct config_subject {
    const struct config_site *entry; /* config_site_for() of it */
    struct slice site, mx_host, domain;
    struct slice vip, pool, tenant, campaign, stream;
};

struct config_binding {
    const struct config_limit *limit;
    const struct config_limit *by; /* takes its place; NULL: it binds */
};

/* The limits of that level that apply to the subject, in the order of the file. Freed by mem_free;
 * NULL: none. */
struct config_binding *config_limits_for(const struct config *config,
                                         const struct config_subject *subject,
                                         enum config_limit_level level, size_t *count);
/* How many connections of a maximum a `reserved-connections` keeps: of a percentage at least one
 * from four connections on. */
uint64_t config_part_of(uint32_t reserved, uint64_t maximum);
bool config_has_limits(const struct config *config, enum config_limit_level level);
/* Is there one that is counted in Redis? */
bool config_shares_limits(const struct config *config);

/* What the cluster counts it under: "site:google.com:msg/1000". Of the same text is the same
 * count. */
void config_limit_name(const struct config_limit *limit, const struct config_subject *subject,
                       struct strbuf *out);
/* "max-msg-rate 300/h", "max-smtp-out 20 reserved 2" */
void config_limit_show(const struct config_limit *limit, struct strbuf *out);
/* "vip v1, each site"; "all mail" without a scope. */
void config_limit_show_scopes(const struct config_limit *limit, struct strbuf *out);

#endif

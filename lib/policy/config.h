/*
 * sluice.yaml: one file for all programs, read once into an immutable tree (libcyaml). Vocabulary
 * of PowerMTA and KumoMTA where they have a word. Durations are text in the file ("15m") and
 * milliseconds here; sizes ("25M") are bytes here; rates ("300/h") are amount and interval. Absent
 * values have their defaults filled in after loading, so users of this struct never see "unset"
 * except where said.
 */
#ifndef SLUICE_POLICY_CONFIG_H
#define SLUICE_POLICY_CONFIG_H

#include "base/fault.h"
#include "base/slice.h"

/* "300/h": amount per interval. amount 0: no limit. */
struct config_rate {
    uint64_t amount;
    int64_t interval_ms;
};

struct config_property { /* kafka.properties: any librdkafka property */
    const char *name;
    const char *value;
};

struct config_kafka {
    const char *bootstrap_servers;
    const char *prefix;                 /* "sluice." */
    const char *group;                  /* "sluice-worker" */
    struct config_property *properties; /* secrets already read; without bootstrap.servers */
    size_t property_count;
    int shards;              /* 16 */
    int slots;               /* 16 */
    int event_partitions;    /* 16 */
    int replication_factor;  /* 1 */
    int min_insync_replicas; /* 1 */
    int tiers;               /* 12: delay topics written to, d.00 first */
    int64_t tier_unit_ms;    /* 30000: delay of d.00 */
    int64_t retention_ms;    /* 7d */
};

struct config_redis {
    const char *host;                        /* "127.0.0.1" */
    uint16_t port;                           /* 6379 */
    const char *unix_path, *user, *password; /* NULL: none */
    const char **nodes;                      /* "host[:port]", in place of these; none */
    size_t node_count;
    bool cluster;
    int hash_tags; /* 16 */
    bool use_tls, tls_verify;
    const char *tls_server_name, *tls_ca_file;       /* NULL: as it is connected to; the system's */
    const char *tls_certificate_file, *tls_key_file; /* NULL: none */
    int database;
    const char *key_prefix; /* "sluice:" */
    int64_t connect_timeout_ms, command_timeout_ms;
};

struct config_dns {
    const char **servers; /* "127.0.0.1@5353", "recursive"; none: resolv.conf */
    size_t server_count;
    int64_t timeout_ms, negative_ttl_max_ms, ttl_max_ms;
    bool dnssec;
};

struct config_vip { /* PowerMTA virtual-mta, KumoMTA egress source */
    const char *name;
    const char *source_ipv4, *source_ipv6; /* NULL: none; at least one */
    const char *ehlo_name;
};

struct config_pool_member {
    const char *vip;
    uint32_t weight; /* 1 */
};

struct config_pool {
    const char *name;
    struct config_pool_member *members;
    size_t member_count;
};

enum config_tls { CONFIG_TLS_NEVER, CONFIG_TLS_OPPORTUNISTIC, CONFIG_TLS_REQUIRED };

/* Set in a number that is a percentage. */
#define CONFIG_PERCENT 0x80000000u

/* What applies to a site; the first matching entry of `sites` wins, `default` last. */
struct config_site {
    const char *name;   /* for people; "default" */
    const char **match; /* site names, recipient domains or "*.suffix" of an MX host name */
    size_t match_count;
    uint32_t max_smtp_out;           /* connections of the cluster to the site; 0: no limit */
    struct config_rate max_msg_rate; /* recipients of the cluster to the site */
    uint64_t max_msg_per_day;        /* recipients in a day of UTC */
    struct config_rate max_connect_rate;
    struct config_rate max_data_volume_rate; /* bytes */
    uint32_t source_ip_max_smtp_out;         /* the same per VIP and site */
    struct config_rate source_ip_max_msg_rate;
    uint64_t source_ip_max_msg_per_day;
    struct config_rate source_ip_max_connect_rate;
    struct config_rate source_ip_max_data_volume_rate;
    uint32_t max_msg_per_connection;    /* 0: no limit; default 1000 */
    uint32_t max_rcpt_per_transaction;  /* 100 */
    uint32_t max_connections_per_lane;  /* of one worker for one VIP × site; 20 */
    uint32_t reserved_connections;      /* of each of these; 10%. See config_part_of() */
    uint32_t reserved_per_lane;         /* of max_connections_per_lane; worked out */
    int64_t connection_idle_timeout_ms; /* 5s */
    int64_t *retry_ms;                  /* 15m, 30m, 1h, 2h…; the last repeats */
    size_t retry_count;
    int64_t bounce_after_ms; /* 72h: expiry when the message names none (PowerMTA bounce-after) */
    enum config_tls tls;     /* use-starttls */
    bool tls_verify;
    bool use_pipelining, use_chunking; /* ignore-pipelining, ignore-chunking turned round */
    const char *
        *smtp_hosts; /* "127.0.1.2:2525": instead of MX look-up (PowerMTA smtp-hosts); none: MX */
    size_t smtp_host_count;
    uint16_t smtp_port;         /* default-smtp-port: 25 */
    int64_t connect_timeout_ms; /* 30s; then RFC 5321 4.5.3.2 per phase: */
    int64_t greeting_timeout_ms, ehlo_timeout_ms, starttls_timeout_ms, mail_timeout_ms,
        rcpt_timeout_ms, data_timeout_ms, block_timeout_ms, dot_timeout_ms, quit_timeout_ms;
    int64_t dead_host_ms; /* how long a host that did not answer is left out: 60s */
};

/* An entry of `limits`. Whom it is for: a name, "each", or NULL: whoever it is. What holds is in
 * limits.h. */
struct config_limit_entry {
    const char *site, *vip, *pool, *tenant, *campaign, *stream;
    uint32_t max_smtp_out, reserved_connections;
    struct config_rate *max_msg_rates;
    size_t max_msg_rate_count;
    uint64_t max_msg_per_day;
    struct config_rate *max_connect_rates;
    size_t max_connect_rate_count;
    struct config_rate *max_data_volume_rates;
    size_t max_data_volume_rate_count;
    uint32_t max_msg_per_connection, max_rcpt_per_transaction;
    uint32_t burst; /* of max_msg_rates; 0: hardly any */
    bool overrides;
};

struct config_limit; /* limits.h */

struct config_tenant {
    const char *name;
    struct config_rate rate; /* contracted: the weight in fair sharing */
    const char **pools;      /* pools and VIPs that it may use; none: all */
    size_t pool_count;
    const char *default_pool; /* NULL: streams' or first pool */
    bool verp;                /* its mail gets signed return paths */
    const char *verp_domain;  /* NULL: the first of verp.domains */
    bool bounce_to_sender;    /* final failures are told to the envelope sender (RFC 3464) */
    bool list_unsubscribe;    /* its mail gets List-Unsubscribe fields */
    bool suspended;           /* its mail waits */
};

enum config_class { CONFIG_CLASS_TRANSACTIONAL, CONFIG_CLASS_BULK };

/* May a mail whose worker dies be sent twice? docs/guarantees.md */
enum config_duplicates {
    CONFIG_DUPLICATES_NEVER, /* the end of a message waits until the record of it is safe */
    CONFIG_DUPLICATES_RARE,  /* the record is written, but not waited for */
    CONFIG_DUPLICATES_OFF,   /* there is none: for comparison only */
};

/* What becomes of a recipient of whom nobody knows whether the server took the message. */
enum config_on_uncertain { CONFIG_UNCERTAIN_RESEND, CONFIG_UNCERTAIN_HOLD, CONFIG_UNCERTAIN_DROP };

struct config_stream { /* topic q.<name> */
    const char *name;
    enum config_class class_;
    const char *pool;                      /* NULL: none */
    enum config_duplicates duplicates;     /* rare */
    enum config_on_uncertain on_uncertain; /* rare: resend; never: hold */
    bool verp;                             /* its mail gets signed return paths */
    bool list_unsubscribe;                 /* and List-Unsubscribe fields */
};

struct config_verp_key {
    uint32_t id; /* 0 to 15 */
    const char *secret;
    int64_t not_before_ms; /* wall clock; 0: always */
    int64_t not_after_ms;  /* 0: no end */
};

struct config_verp { /* signed return paths */
    const char **domains;
    size_t domain_count;
    struct config_verp_key *keys;
    size_t key_count;
    int64_t max_age_ms;         /* 14d: how long a report is believed */
    int64_t facts_retention_ms; /* 0: see config_facts_keep_ms() */
};

struct config_unsubscribe {            /* List-Unsubscribe (RFC 2369), with one click (RFC 8058) */
    const char *url;                   /* "https://leave.example.net/u"; NULL: no link */
    bool mailto;                       /* also by mail; true */
    struct config_listener *listeners; /* HTTP, of sluice-bouncer */
    size_t listener_count;
    const char *tls_certificate_file, *tls_key_file;    /* NULL: no implicit-tls */
    int64_t max_age_ms;                                 /* 365d: how long a link works */
    uint32_t max_connections, max_connections_per_peer; /* 1000, 100 */
};

/* To whom a suppression applies. */
enum config_reach { CONFIG_REACH_LIST, CONFIG_REACH_TENANT, CONFIG_REACH_GLOBAL };

/* When an address gets no more mail; by the tenant's name, `default` for all others. Times of 0:
 * never. */
struct config_suppression {
    const char *name;
    enum config_reach hard_reach; /* tenant or global */
    int64_t hard_decay_ms;
    uint32_t repeated_count; /* 0: bounces are not counted */
    int64_t repeated_within_ms, repeated_decay_ms;
    int64_t mailbox_full_after_ms, mailbox_full_decay_ms;
    enum config_reach complaint_reach, unsubscribe_reach;
    int64_t complaint_decay_ms, unsubscribe_decay_ms;
    const char *list_metadata; /* name of the metadata entry that names a message's list */
};

struct config_worker {
    const char *name;  /* NULL: host name and process id */
    const char **vips; /* those that this worker holds; none: all whose address it can bind */
    size_t vip_count;
    uint32_t threads;           /* shard threads; 0: cores - 1, at least 1 */
    uint32_t max_connections;   /* of the worker: 10000 */
    int64_t memory_max_bytes;   /* of messages: 128M */
    uint32_t max_messages;      /* in memory: 50000 */
    int64_t drain_timeout_ms;   /* 30s after SIGTERM */
    int64_t session_timeout_ms; /* 6s: without a sign of life its partitions go to others */
    bool received_events;       /* true */
    const char *control_socket; /* path, %n: the worker's name; NULL: none */
    const char *log_level;      /* "info" */
};

struct config_listener {
    const char *address; /* "127.0.0.1:2525" */
    bool implicit_tls;
};

struct config_producer {
    struct config_listener *listeners;
    size_t listener_count;
    const char *host_name;                           /* in greetings; NULL: the host's */
    const char *users_file;                          /* NULL: no AUTH, loopback only */
    const char *tls_certificate_file, *tls_key_file; /* NULL: no TLS */
    bool auth_required; /* true when there is a users_file; false is taken for loopback listeners
                           only */
    int64_t max_message_bytes;         /* 25M */
    uint32_t max_recipients;           /* 1000 */
    uint32_t max_connections;          /* 1000 */
    uint32_t max_connections_per_peer; /* 100 */
    int64_t command_timeout_ms, data_timeout_ms;
    int64_t kafka_timeout_ms; /* 30s: how long an acknowledgement is waited for before 451 4.3.0 */
    const char *default_stream; /* "bulk" */
    const char
        *default_tenant; /* NULL: the user's name; for loopback listeners without AUTH: required */
    const char *log_level;
};

enum config_address_kind {
    CONFIG_ADDRESS_FEEDBACK,
    CONFIG_ADDRESS_UNSUBSCRIBE,
    CONFIG_ADDRESS_BOUNCE, /* return paths without signature */
    CONFIG_ADDRESS_ROLE,   /* postmaster, abuse: for people */
};

struct config_address {  /* that the bouncer takes mail for, beside signed ones */
    const char *address; /* "fbl@example.com", "@example.com": all of the domain */
    enum config_address_kind kind;
    const char *tenant; /* NULL: any */
};

enum config_action_do {
    CONFIG_DO_PASS,       /* the event alone */
    CONFIG_DO_DROP,       /* not even that */
    CONFIG_DO_QUARANTINE, /* into a maildir, and the event is not to be believed */
    CONFIG_DO_FORWARD,
    CONFIG_DO_MBOX,
    CONFIG_DO_MAILDIR,
    CONFIG_DO_FILE,
    CONFIG_DO_PIPE,
    CONFIG_DO_POST,
};

struct config_action {  /* what becomes of the returned mail itself */
    const char **kinds; /* "bounce", "complaint"…; none: all */
    size_t kind_count;
    const char **addresses; /* "verp", "feedback"…; none: all */
    size_t address_count;
    enum config_action_do what;
    const char *target; /* path, command, URL or host:port; NULL for pass and drop */
    const char *to;     /* forward: the address */
    int64_t timeout_ms; /* 20s: pipe, post, forward */
};

struct config_bouncer {
    struct config_listener *listeners;
    size_t listener_count;
    const char *host_name;                           /* NULL: the host's */
    const char *tls_certificate_file, *tls_key_file; /* NULL: no STARTTLS */
    struct config_address *addresses;
    size_t address_count;
    struct config_action *actions; /* the first that matches counts; none: pass */
    size_t action_count;
    const char *rules_folder;          /* of the classifier, before the built-in ones; NULL: none */
    int64_t max_message_bytes;         /* 10M */
    uint32_t max_recipients;           /* 100 */
    uint32_t max_connections;          /* 1000 */
    uint32_t max_connections_per_peer; /* 50 */
    int64_t memory_max_bytes;          /* 256M: of mails that are being received */
    int64_t command_timeout_ms, data_timeout_ms;
    int64_t kafka_timeout_ms;         /* 30s */
    const char *suppression_database; /* libpq's connection string; NULL: none */
    const char *suppression_table;
    const char *log_level;
};

struct config {
    struct config_kafka kafka;
    struct config_redis redis;
    struct config_dns dns;
    struct config_vip *vips;
    size_t vip_count;
    struct config_pool *pools;
    size_t pool_count;
    struct config_site
        *sites; /* in file order; the last is "default" (added when the file has none) */
    size_t site_count;
    struct config_limit_entry *limit_entries;
    size_t limit_entry_count;
    struct config_limit *limits; /* of sites and limit_entries; see limits.h */
    size_t limit_count;
    size_t mail_limits;  /* from here on they are of CONFIG_LEVEL_MAIL … */
    size_t named_limits; /* … and from here on of one tenant, by its name */
    struct config_tenant *tenants;
    size_t tenant_count;
    struct config_stream *streams; /* default: tx (transactional), bulk */
    size_t stream_count;
    struct config_suppression *suppression; /* "default" is always there */
    size_t suppression_count;
    struct config_worker worker;
    struct config_producer producer;
    struct config_verp verp;
    struct config_unsubscribe unsubscribe;
    struct config_bouncer bouncer;
};

/* Reads and checks. NULL: fault->text is "FILE:LINE: key.path: what was wrong, what was expected"
 * (one problem, the first). */
struct config *config_load(const char *path, struct fault *fault);
/* The same from bytes in memory; `path` stands in messages and gives the folder for relative paths.
 */
struct config *config_load_text(const char *path, struct slice text, struct fault *fault);
/* Nulls the pointer; takes NULL. */
void config_free(struct config **config);

/* All problems instead of the first, in the order of their lines (line 0: the file as a whole):
 * calls report for each; returns how many. */
typedef void (*config_report)(void *owner, const char *path, unsigned line, const char *key,
                              const char *problem);
size_t config_check(const char *path, config_report report, void *owner);

/* The site entry for a site: `site_name` (dns_site.name), its most preferred MX host, the recipient
 * domain. Never NULL. */
const struct config_site *config_site_for(const struct config *config, struct slice site_name,
                                          struct slice mx_host, struct slice domain);
const struct config_vip *config_vip_named(const struct config *config,
                                          struct slice name); /* NULL: none */
const struct config_pool *config_pool_named(const struct config *config,
                                            struct slice name); /* NULL: none */
const struct config_tenant *config_tenant_named(const struct config *config,
                                                struct slice name); /* NULL: none */
const struct config_stream *config_stream_named(const struct config *config,
                                                struct slice name); /* NULL: none */
/* Is it one of verp.domains? */
bool config_verp_domain(const struct config *config, struct slice domain);
/* How long a set of facts (schema/facts.h) is kept after mail has last used it:
 * verp.facts-retention (absent: 90 days, or verp.max-age if that is longer), with `links` for
 * leaving in the mail at least for as long as these work. */
int64_t config_facts_keep_ms(const struct config *config, bool links);
/* The tenant's entry, else "default". Never NULL. */
const struct config_suppression *config_suppression_for(const struct config *config,
                                                        struct slice tenant);
/* May this tenant use that pool or VIP? A tenant that is not in the file may use all. */
bool config_tenant_may_use(const struct config *config, struct slice tenant,
                           struct slice pool_or_vip);

#endif

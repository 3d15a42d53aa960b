/*
 * libsluice: publish mail to Sluice through Kafka. See libsluice(3).
 *
 * Threads: one struct sluice may be used by many threads at once, with two exceptions:
 * sluice_poll() and sluice_flush() are called by one thread at a time, and sluice_close() when no
 * other call is running. Callbacks run inside sluice_poll(), sluice_flush() and sluice_close(), on
 * the thread that called them, never inside sluice_publish(); they may publish, not poll.
 *
 * Strings are NUL-terminated UTF-8 and are copied: nothing that is passed in has to live longer
 * than the call.
 */
#ifndef SLUICE_H
#define SLUICE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sluice;

enum sluice_result {
    SLUICE_OK = 0,
    SLUICE_INVALID,   /* what was given breaks a rule: the text names the field; trying again cannot
                         help */
    SLUICE_FULL,      /* too much is on its way: poll, then try again */
    SLUICE_TEMPORARY, /* Kafka failed; publishing it again may succeed (and may make a second copy)
                       */
    SLUICE_TIMEOUT,   /* not acknowledged in time; it may or may not be in the topic */
    SLUICE_FAILED,    /* Kafka refused, or the handle is of no use any more */
    SLUICE_SUPPRESSED, /* a recipient is on the suppression list: the text names it; publish without
                          it */
};

/* "ok", "invalid", "full", "temporary", "timeout", "failed", "suppressed". */
const char *sluice_result_name(enum sluice_result result);

struct sluice_error {
    enum sluice_result result;
    char text[400]; /* one line for people; of INVALID: "field: what is wrong" */
};

/* A librdkafka property. */
struct sluice_property {
    const char *name;
    const char *value;
};

/* Metadata that every event repeats. */
struct sluice_pair {
    const char *name;
    const char *value;
};

struct sluice_recipient {
    const char *address;    /* mailbox without angle brackets */
    const char *dsn_notify; /* RFC 3461 NOTIFY, NULL: none */
    const char
        *dsn_orcpt; /* RFC 3461 ORCPT "rfc822;a@example.com", not xtext-encoded, NULL: none */
    const struct sluice_pair *metadata;
    size_t metadata_count;
};

enum sluice_class {
    SLUICE_CLASS_OF_STREAM = 0,
    SLUICE_CLASS_TRANSACTIONAL = 1,
    SLUICE_CLASS_BULK = 2
};

#define SLUICE_REQUIRETLS 1u /* RFC 8689 */
#define SLUICE_SMTPUTF8 2u   /* RFC 6531; assumed when an address needs it */

/* One mail to one or more recipients of ONE domain: one record. Start with SLUICE_MESSAGE_INIT. */
struct sluice_message {
    size_t struct_size;    /* set by SLUICE_MESSAGE_INIT: later versions may append members */
    const char *stream;    /* topic PREFIXq.STREAM; NULL: "bulk" */
    const char *id;        /* UUID; NULL: a version 7 is made */
    const char *tenant;    /* required */
    const char *campaign;  /* NULL: none */
    const char *mail_from; /* NULL or "": the null reverse-path */
    const struct sluice_recipient *recipients;
    size_t recipient_count; /* 1 to 1000 */
    const void *content;    /* the RFC 5322 message; lines end in CRLF (bare LF is sent as CRLF) */
    size_t content_bytes;   /* 1 to 25 MB */
    const char *pool;       /* VIP or pool, NULL: the tenant's or stream's */
    int64_t not_before_ms;  /* not tried before, milliseconds since 1970; 0: at once */
    int64_t expires_ms;     /* given up at, milliseconds since 1970; 0: as configured */
    const char *dsn_ret;    /* RFC 3461 RET "FULL" or "HDRS", NULL: none */
    const char *dsn_envid;  /* RFC 3461 ENVID, not xtext-encoded, NULL: none */
    unsigned flags;         /* SLUICE_REQUIRETLS, SLUICE_SMTPUTF8 */
    const struct sluice_pair *signing; /* name: domain, value: selector */
    size_t signing_count;
    const struct sluice_pair *metadata;
    size_t metadata_count;
    enum sluice_class class_;
    /* The publisher's own name for it ("order 4711 receipt"), at most 200 bytes; NULL: none.
     * Published again within 24 hours it is recognised and not stored again, whatever has died
     * meanwhile, as long as Redis is there. It makes the id, which must be NULL. */
    const char *idempotency_key;
};
/* Every member is listed, so that no compiler warns, C++ neither. */
#define SLUICE_MESSAGE_INIT                                                                        \
    {                                                                                              \
        sizeof(struct sluice_message), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    \
            SLUICE_CLASS_OF_STREAM, 0                                                              \
    }

/* What became of one published record. Valid during the callback. */
struct sluice_delivery {
    enum sluice_result result; /* OK: Kafka has it on all in-sync replicas */
    const char *text;          /* why not; "" when OK */
    const char *id;            /* the message's */
    int32_t partition;         /* where it is; -1 when not OK */
    int64_t offset;
    int recognised; /* by its idempotency key: it was there already, since an earlier publication */
    int unguarded;  /* it has a key, but without Redis nobody can tell whether it is the first */
};
typedef void (*sluice_delivered)(void *opaque, const struct sluice_delivery *delivery);

/* By a sluice.yaml: its section `kafka`. NULL: *error (may be NULL) says why. Kafka need not be
 * reachable yet. */
struct sluice *sluice_open_config(const char *path, struct sluice_error *error);

/* By librdkafka properties, "bootstrap.servers" among them. topic_prefix NULL: "sluice.". */
struct sluice *sluice_open(const struct sluice_property *properties, size_t count,
                           const char *topic_prefix, struct sluice_error *error);

/* Where keys are remembered, for a handle of sluice_open() (sluice_open_config() takes the section
 * `redis`). Members are named and mean what the keys of that section do (docs/configuration.md),
 * and must be the same for all who publish: nodes and their order, hash_tags, key_prefix. Before
 * the first message with a key. Start with SLUICE_REDIS_INIT. */
struct sluice_redis {
    size_t struct_size;    /* set by SLUICE_REDIS_INIT: later versions may append members */
    const char *host;      /* an address; NULL: "127.0.0.1" */
    unsigned port;         /* 0: 6379 */
    const char *unix_path; /* in place of host and port; NULL: none */
    /* "host:port", in place of host and port: servers that share the keys, or nodes of a cluster.
     */
    const char *const *nodes;
    size_t node_count;
    int cluster;                 /* not 0: Redis Cluster */
    unsigned hash_tags;          /* of a cluster; 0: 16 */
    const char *user, *password; /* of an ACL; NULL: none */
    int database;
    int use_tls;       /* not 0: by TLS 1.2 or newer */
    int tls_no_verify; /* not 0: whatever certificate the server has */
    const char
        *tls_server_name;    /* what certificates are for; NULL: the host that is connected to */
    const char *tls_ca_file; /* PEM; NULL: the system's */
    const char *tls_certificate_file, *tls_key_file; /* ours, PEM; NULL: none */
    const char *key_prefix;                          /* NULL: "sluice:" */
    int connect_timeout_ms;                          /* 0: 1000 */
    int command_timeout_ms;                          /* 0: 500 */
};
#define SLUICE_REDIS_INIT                                                                          \
    {                                                                                              \
        sizeof(struct sluice_redis), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0       \
    }
enum sluice_result sluice_use_redis(struct sluice *sluice, const struct sluice_redis *redis,
                                    struct sluice_error *error);

/*
 * Checks the message and gives it to Kafka's client. OK: the callback (may be NULL) will be called
 * exactly once. Anything else: it will not be, and *error (may be NULL) says why.
 */
enum sluice_result sluice_publish(struct sluice *sluice, const struct sluice_message *message,
                                  sluice_delivered callback, void *opaque,
                                  struct sluice_error *error);

/*
 * Reads the suppression list (topic PREFIXsuppression) and follows it from then on in a thread of
 * its own: sluice_publish() refuses a message with SLUICE_SUPPRESSED if one of its recipients is on
 * it. For publishers that live long and want to hear at once; without it the worker drops such
 * recipients, and an event tells of it. Takes about 13 bytes of memory for each entry.
 *
 * OK: the whole list is there. TIMEOUT: not within timeout_ms; reading goes on, nothing is refused
 * yet, call it again. A handle of sluice_open() knows no lists (they are told by the
 * configuration's section `suppression`): it looks at entries of the tenant and of all tenants.
 */
enum sluice_result sluice_follow_suppression(struct sluice *sluice, int timeout_ms,
                                             struct sluice_error *error);
typedef void (*sluice_refused)(void *opaque, size_t index, const struct sluice_error *error);
/* Calls refused(opaque, index, error) for each recipient of the message who is on the list, and
 * returns how many there are. 0 before sluice_follow_suppression() has returned OK, and for a
 * message that sluice_check() refuses. */
size_t sluice_suppressed(struct sluice *sluice, const struct sluice_message *message,
                         sluice_refused refused, void *opaque);

/* The rules alone. */
enum sluice_result sluice_check(const struct sluice_message *message, struct sluice_error *error);

/* Runs callbacks, waiting up to timeout_ms for the first. Returns how many. */
int sluice_poll(struct sluice *sluice, int timeout_ms);

/* Runs callbacks until nothing is on its way or the time is over. Returns how many records still
 * are. */
int sluice_flush(struct sluice *sluice, int timeout_ms);

/* Flushes for up to timeout_ms, calls back with an error for the rest, frees, and sets *sluice to
 * NULL. Takes NULL. */
void sluice_close(struct sluice **sluice, int timeout_ms);

/*
 * Recipients of many domains put together by domain, at most `most` (1 to 1000) in a group: one
 * sluice_publish() each. For every recipient whose address is no good, refused(opaque, its index,
 * error) is called and it is left out. NULL: out of memory, or `most` is wrong. The groups copy the
 * array, not what it points to.
 */
struct sluice_groups;
struct sluice_groups *sluice_group(const struct sluice_recipient *recipients, size_t count,
                                   size_t most, sluice_refused refused, void *opaque);
size_t sluice_groups_count(const struct sluice_groups *groups);
/* *indexes (may be NULL): the places that they had in the array given to sluice_group(). */
const struct sluice_recipient *sluice_groups_get(const struct sluice_groups *groups, size_t group,
                                                 size_t *count, const size_t **indexes);
void sluice_groups_free(struct sluice_groups **groups);

/* A version 7 UUID, NUL-terminated. */
void sluice_new_id(char id[37]);

/* "0.1.0" */
const char *sluice_version(void);

#ifdef __cplusplus
}
#endif

#endif

/*
 * Where Redis is and how to get in: one server, several that know nothing of each other, or a Redis
 * Cluster; from sluice.yaml's section `redis`, or by hand. Plain values.
 */
#ifndef SLUICE_REDIS_OPTIONS_H
#define SLUICE_REDIS_OPTIONS_H

#include "base/fault.h"

#include <stddef.h>
#include <stdint.h>

struct config_redis;

#define REDIS_PORT 6379
enum { REDIS_HASH_TAGS_MAX = 256 };

struct redis_options {
    const char *host;      /* address or name: the one server, or one of the cluster */
    uint16_t port;         /* 6379 */
    const char *unix_path; /* instead of host and port, NULL: none */
    /* Instead of all three: "host:port" of servers that share the keys, in the same order
     * everywhere, or of a cluster's nodes to begin with. */
    const char **nodes;
    size_t node_count;
    bool cluster;                /* Redis Cluster */
    unsigned hash_tags;          /* 16, of a cluster's keys: the same for all who use it */
    const char *user, *password; /* NULL: none */
    int database;
    bool tls;                                /* over TCP */
    bool tls_verify;                         /* true: the certificate is for the server's name */
    const char *ca_file;                     /* NULL: the system's */
    const char *certificate_file, *key_file; /* ours; NULL: none */
    const char *server_name;    /* that certificates are for; NULL: as it is connected to */
    const char *key_prefix;     /* "sluice:" */
    int64_t connect_timeout_ms; /* 1000; with the log-in */
    int64_t command_timeout_ms; /* 500: later the link counts as dead */
};
void redis_options_default(struct redis_options *options);
/* Lends the texts of the configuration. */
void redis_options_from_config(struct redis_options *options, const struct config_redis *config);
/* False: they contradict each other, fault says how. Reads no file. */
bool redis_options_check(const struct redis_options *options, struct fault *fault);
/* Texts of its own; redis_options_end() frees (and wipes the password), also when zeroed. */
void redis_options_copy(struct redis_options *to, const struct redis_options *from);
void redis_options_end(struct redis_options *options);

#endif

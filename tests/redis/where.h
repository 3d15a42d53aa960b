/* Where the Redis of a test is, by its environment: see where(). */
#ifndef SLUICE_TESTS_REDIS_WHERE_H
#define SLUICE_TESTS_REDIS_WHERE_H

#include "redis/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* REDIS_NODES=host:port,…  REDIS_CLUSTER=1  REDIS_USER, REDIS_PASSWORD, REDIS_UNIX, REDIS_DATABASE
 * REDIS_CA (then by TLS), REDIS_CERTIFICATE, REDIS_KEY, REDIS_SERVER_NAME */
static inline void where(struct redis_options *options, uint16_t port)
{
    static char text[1024];
    static const char *nodes[16];
    redis_options_default(options);
    options->port = port;
    options->user = getenv("REDIS_USER");
    options->password = getenv("REDIS_PASSWORD");
    options->unix_path = getenv("REDIS_UNIX");
    options->database = getenv("REDIS_DATABASE") != NULL ? 3 : 0;
    options->cluster = getenv("REDIS_CLUSTER") != NULL;
    options->ca_file = getenv("REDIS_CA");
    options->tls = options->ca_file != NULL;
    options->certificate_file = getenv("REDIS_CERTIFICATE");
    options->key_file = getenv("REDIS_KEY");
    options->server_name = getenv("REDIS_SERVER_NAME");
    if (getenv("REDIS_NODES") == NULL) {
        return;
    }
    options->nodes = nodes;
    if (nodes[0] == NULL) { /* by the first call, before there are threads */
        char *next = text;
        (void)snprintf(text, sizeof(text), "%s", getenv("REDIS_NODES"));
        for (size_t i = 0; i < 16 && next != NULL; i++) {
            nodes[i] = next;
            next = strchr(next, ',');
            if (next != NULL) {
                *next++ = '\0';
            }
        }
    }
    while (options->node_count < 16 && nodes[options->node_count] != NULL) {
        options->node_count++;
    }
}

#endif

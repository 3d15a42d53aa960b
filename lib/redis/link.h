/*
 * The connection to one Redis server. The protocol is hiredis' (0.14: it has neither TLS nor time
 * limits, and wants the socket for itself); the bytes go by our own connection (io/conn.h), with
 * TLS where that is wanted, time limits for connecting and for commands, and coming back (100 ms to
 * 2 s, doubling, with jitter). It logs in (AUTH with or without a user), chooses the database, asks
 * which server this is and loads the script before it says that it is up. Private to this folder.
 *
 * Every call ends exactly once, by its `done`, and never before redis_link_call() returned: with
 * the reply's integers, or with NULL when it was lost (whether Redis ran it is then unknown). After
 * NOSCRIPT the script is loaded again; what a Redis Cluster says about a key's place is for the
 * owner; any other error reply (LOADING, READONLY, OOM…) ends the connection, as a fresh one may do
 * better.
 */
#ifndef SLUICE_REDIS_LINK_H
#define SLUICE_REDIS_LINK_H

#include "io/conn.h"
#include "redis/options.h"
#include "redis/topology.h"

struct redis_link;
struct redis_tag;

enum { REDIS_LINK_ARGS = 512 };

/* What all links of one owner share. Must outlive them. */
struct redis_setup {
    struct io_loop *loop;
    const struct redis_options *options; /* where the server is does not count */
    struct slice script;
    struct tls_context *tls; /* NULL: none */
};

struct redis_call {
    struct list node;
    struct mono_time sent;
    /* `values` live until it returns. It owns the call from here on. */
    void (*done)(struct redis_call *call, const int64_t *values, size_t count);
    /* It means the same on another server, so it follows its key there. */
    bool follows;

    /* Of the link and of tags.c. */
    struct redis_tag *tag;
    unsigned hops;
    int kind;
    char *bytes;
    size_t len;
    struct mono_time queued; /* at this link */
};

struct redis_link_owner {
    void (*up)(struct redis_link_owner *owner);
    /* Also after a first attempt that failed; all calls have ended before. Not called by
     * redis_link_free(). */
    void (*down)(struct redis_link_owner *owner);
    /* The server says that the call's key is elsewhere, or cannot be had now. Ends the call, or
     * gives it to another link. Of a cluster's node only. */
    void (*astray)(struct redis_link_owner *owner, struct redis_call *call, enum redis_astray why,
                   const struct redis_place *place);
    /* The reply to redis_link_ask_slots(); lives until it returns. */
    void (*slots)(struct redis_link_owner *owner, const struct redisReply *reply);
};

/* Starts connecting. `host` NULL: to the options' unix_path. */
struct redis_link *redis_link_create(const struct redis_setup *setup, const char *host,
                                     uint16_t port, struct redis_link_owner *owner);
/* Waits at most wait_ms for the replies to what was sent, then ends all calls and frees. Not from a
 * callback of it. */
void redis_link_free(struct redis_link **link, int64_t wait_ms);

bool redis_link_is_up(const struct redis_link *link);
/* Which server it is, by its run id, while it is up; "-": it does not say. */
struct slice redis_link_server(const struct redis_link *link);

/* EVALSHA of the script with these arguments: `keys` of them are keys. Only while it is up; at most
 * REDIS_LINK_ARGS arguments, which are copied. */
void redis_link_call(struct redis_link *link, struct redis_call *call, size_t keys,
                     const struct slice *args, size_t count);
/* A call that came back by astray(); `asking`: behind ASKING. Also while it is not up: it waits for
 * that, or ends with the attempt. */
void redis_link_resend(struct redis_link *link, struct redis_call *call, bool asking);
/* CLUSTER SLOTS. Only while it is up. */
void redis_link_ask_slots(struct redis_link *link);
/* An end that astray() decides. */
void redis_call_lost(struct redis_call *call);

/* Calls made since it was created, for measuring. */
uint64_t redis_link_calls(const struct redis_link *link);

#endif

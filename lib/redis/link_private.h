/*
 * What link.c (the connection, requests, time limits), link_address.c (where it goes) and
 * link_reply.c (what replies mean) share.
 */
#ifndef SLUICE_REDIS_LINK_PRIVATE_H
#define SLUICE_REDIS_LINK_PRIVATE_H

#include "redis/link.h"

#include <hiredis/hiredis.h>

#define LINK_MAGIC 0x524c4e4bu
#define SHA_LEN 40
#define SERVER_MAX 64

enum link_state { LINK_WAITING, LINK_CONNECTING, LINK_UP };

/* What a request is, by which its reply is read. All but a call are the link's own. */
enum { KIND_CALL, KIND_OK, KIND_INFO, KIND_LOAD, KIND_SLOTS };

struct redis_link {
    uint32_t magic;
    const struct redis_setup *setup;
    struct redis_link_owner *owner;
    char *host; /* NULL: the options' unix_path */
    uint16_t port;

    enum link_state state;
    struct io_conn *conn; /* NULL while waiting */
    redisReader *reader;
    bool greeted; /* bytes may go: TCP and TLS stand */
    struct list unsent, awaiting;
    size_t written; /* of the first of `unsent` */
    struct io_task flush;
    struct timer timer; /* connecting: the time limit; waiting: the next attempt */
    struct timer command_timer;
    bool grace; /* the command timer came late once */
    int64_t backoff_ms;
    unsigned attempts; /* since it was up, at most a few */
    char sha[SHA_LEN + 1];
    char server[SERVER_MAX];
    bool reloading;
    bool told; /* the owner was told that it is down */
    bool freeing;
    uint64_t call_count;
};

/* ---- link.c ---- */
/* Takes the call's bytes away and ends it; one of the link's own is gone then. */
void link_end_call(struct redis_call *call, const int64_t *values, size_t count);
/* Puts SCRIPT LOAD on a list of requests. */
void link_load_script(struct redis_link *link, struct list *to);
/* The script is there, for the first time on this connection. */
void link_come_up(struct redis_link *link);
/* Ends the connection from our side. `why` may lie in what is freed here. */
void link_give_up(struct redis_link *link, const char *why);

/* ---- link_address.c ---- */
/* An address as it is, a name by the system's resolver, which blocks. */
bool link_find_address(const struct redis_link *link, struct sockaddr_storage *address,
                       socklen_t *len, struct fault *fault);

/* ---- link_reply.c ---- */
/* The connection's input(). */
size_t link_take_input(struct io_conn *conn, void *owner, struct slice bytes);

#endif

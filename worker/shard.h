/*
 * A shard: one thread with its own loop, resolver, limiter, TLS contexts, lanes and sessions.
 * Shared-nothing: other threads reach it by its mailbox only. Mail comes in to be routed; a mail
 * whose lane belongs to another shard is handed over there.
 */
#ifndef SLUICE_WORKER_SHARD_H
#define SLUICE_WORKER_SHARD_H

#include "base/map.h"
#include "io/tls.h"
#include "redis/limiter.h"
#include "worker/return_path.h"
#include "worker/settle.h"

#define SHARD_MAGIC 0x53484152u

struct shard {
    uint32_t magic;
    uint32_t index;
    struct worker *worker;
    struct io_loop *loop;
    struct mailbox *mailbox;  /* mails */
    struct mailbox *requests; /* what intake and main ask for */
    struct outbox *outbox;
    struct reporter *reporter;
    struct settler settler;
    struct return_paths *return_paths;
    struct suppress_checker *suppress;
    struct dns_sites *sites;
    struct redis_limiter *limiter;    /* NULL: no limit is configured at all */
    struct tls_context *tls_any;      /* certificates are not checked */
    struct tls_context *tls_verified; /* … are checked against the host's name */
    struct map lanes;                 /* key -> struct lane */
    struct list routing;              /* mails whose site is being looked up */
    struct list dying;                /* sessions that are gone, until the end of the turn */
    struct list starved;              /* lanes that wait for a connection of the worker */
    struct timer tick;                /* each second: spilling, idle lanes */
    bool draining;
};

/* Asks a shard for something, from any thread. */
enum shard_request_kind {
    SHARD_RETURN,  /* send back (MAIL_LETTER_RETURNED) all mail of revoked partitions that was not
                      begun */
    SHARD_DRAIN,   /* the same for all mail, and take none on any more */
    SHARD_CUT,     /* end the sessions whose mail would have been to return had it not begun */
    SHARD_STOP,    /* close sessions, leave the loop */
    SHARD_HOLDERS, /* number of lease holders has changed */
};

struct shard *shard_create(struct worker *worker, uint32_t index, struct fault *fault);
void shard_free(struct shard **shard);
/* Body of the thread. */
void shard_run(struct shard *shard);

/* Any thread; hands the mail over. */
void shard_post(struct shard *shard, struct mail *mail);
/* On the shard's thread: the mail goes back to intake, which decides whether it can be forgotten or
 * must be moved. */
void shard_return(struct mail *mail);
/* Any thread. */
void shard_ask(struct shard *shard, enum shard_request_kind kind, unsigned holders);

#endif

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
#include "worker/journal.h"
#include "worker/question.h"
#include "worker/return_path.h"
#include "worker/settle.h"

#define SHARD_MAGIC 0x53484152u

struct shard {
    uint32_t magic;
    uint32_t index;
    struct worker *worker;
    struct io_loop *loop;
    struct mailbox *mailbox; /* mails, and what intake and main ask for */
    struct mailbox *urgent;  /* transactional mails, which go before thousands of others */
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
    struct journal_writer *journal;
    struct list journaled;       /* mails here of which the journal has entries */
    struct list dot_waiting;     /* sessions that wait until an INTENT is on Kafka */
    struct list answers;         /* struct shard_answer, until what the journal says is on Kafka */
    struct timer tick;           /* each second: spilling, idle lanes */
    struct mono_time usage_told; /* what tenants used, each minute */
    struct timer unchoke;        /* set while it is choked */
    struct mono_time choked_since;
    bool choked_told;
    bool draining;
    unsigned holders; /* shards in the cluster, as far as known */
};

/* Asks a shard for something, from any thread. */
enum shard_request_kind {
    /* Send back (MAIL_LETTER_RETURNED) all mail of partitions that go and that is in no
     * transaction; the rest is in flight. Answered. */
    SHARD_RETURN,
    SHARD_DRAIN,   /* the same for all mail, and take none on any more. Answered */
    SHARD_RESTATE, /* the journal says again what is open here. Answered */
    SHARD_CUT,     /* end the sessions whose mail is in flight */
    SHARD_STOP,    /* close sessions, leave the loop */
    SHARD_HOLDERS, /* number of lease holders has changed */
    SHARD_WHY,     /* tell why mail waits (worker/why.h): shard_ask_why() */
};

struct shard *shard_create(struct worker *worker, uint32_t index, struct fault *fault);
/* When no thread runs any more: ends what there is. Its journal has said all then. */
void shard_close(struct shard *shard);
/* After the producers were freed. */
void shard_free(struct shard **shard);
/* Body of the thread. */
void shard_run(struct shard *shard);

/* Any thread; hands the mail over. */
void shard_post(struct shard *shard, struct mail *mail);
/* On the shard's thread: nothing more is to be begun of it. */
bool shard_is_leaving(const struct shard *shard, const struct mail *mail);
/* On the shard's thread: nothing at all is to be begun now, because Kafka does not take what we
 * already have to say, or the group does not answer. All lanes are kicked when that is over. */
bool shard_is_choked(struct shard *shard);
/* On the shard's thread: the mail goes back to intake, which decides whether it can be forgotten or
 * must be moved. */
void shard_return(struct mail *mail);
/* On the shard's thread: the mail goes to the shard that has its lane. */
void shard_hand_over(struct shard *shard, struct shard *to, struct mail *mail);
/* Any thread. `value`: the number of holders; of what is answered a number that comes back. */
void shard_ask(struct shard *shard, enum shard_request_kind kind, int64_t value);
void shard_ask_why(struct shard *shard, const struct question *question);

/* Comes to the intake thread (intake_answer) when the request has been dealt with and everything
 * that the shard's journal had said by then is on Kafka; behind all mails that the shard had sent
 * home before it dealt with the request.
 *
 * Stating again: remember E = worker->journal_end; state what the intake thread has and will post
 * to shards (inherited); ask all shards; when all have answered state what came home and is not
 * over (in this order: a mail that came home meanwhile was stated by nobody else); when that is
 * safe in the intake's own journal, E is where a reader of our slot may begin. */
struct shard_answer {
    struct mail_post post;
    enum shard_request_kind kind;
    uint32_t shard;
    int64_t number;
    struct list node; /* in shard.answers until everything is on Kafka */
    uint64_t mark;
    struct kafka_ticket *in_flight; /* RETURN, DRAIN: of leaving mails in transactions */
    size_t in_flight_count;
};
void shard_answer_free(struct shard_answer **answer);

#endif

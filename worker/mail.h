/*
 * One mail on its way through the worker: a record, what was decoded from it, what is still to do,
 * and what keeps its ticket open.
 *
 * Ownership: the intake thread makes it, posts it to a shard, which owns it (one thread at a time,
 * handed over by mailbox) until it has been settled and goes home to the intake thread. Settling
 * gives away events, each of which holds the mail until Kafka has acknowledged it (which is told on
 * the intake thread). When the last hold goes, copies of the record are written, the ticket is
 * closed and the mail freed. So a ticket closes only after everything that follows from its record
 * is on Kafka.
 */
#ifndef SLUICE_WORKER_MAIL_H
#define SLUICE_WORKER_MAIL_H

#include "base/arena.h"
#include "base/list.h"
#include "dns/site.h"
#include "io/mailbox.h"
#include "kafka/consumer.h"
#include "ledger/journal.h"
#include "policy/config.h"
#include "schema/message.h"
#include "smtp/client.h"

#include <stdatomic.h>

struct worker;
struct shard;

#define MAIL_MAGIC 0x4d41494cu

enum mail_rcpt_state {
    MAIL_RCPT_PENDING,  /* to be tried in this round */
    MAIL_RCPT_DEFERRED, /* had its try; goes into the delay record */
    MAIL_RCPT_HELD,     /* nobody knows what became of it; kept for people to decide */
    MAIL_RCPT_SETTLED,  /* has its final outcome, or was settled in an earlier round */
};

struct mail_rcpt {
    enum mail_rcpt_state state;
    /* As the journal knows it (worker/journal.h). */
    bool in_doubt;             /* in a transaction that is not over */
    bool told;                 /* was in one, and became what follows */
    enum ledger_result result; /* UNTRIED: nothing */
    uint16_t code;
    struct smtp_enhanced enhanced;
    struct slice text; /* in the arena */
    int64_t due_ms;    /* when it is tried again */
};

/* What a letter to a shard or to the intake thread asks for. */
enum mail_letter {
    MAIL_LETTER_ROUTE,    /* to a shard: decode, find the site */
    MAIL_LETTER_LANE,     /* to the shard that owns the site's lanes */
    MAIL_LETTER_REQUEST,  /* to a shard: no mail but what shard_ask() wants */
    MAIL_LETTER_SETTLED,  /* to intake: its shard is through with it */
    MAIL_LETTER_RETURNED, /* to intake: its partition is going away and nothing of it runs */
    MAIL_LETTER_ANSWER,   /* to intake: no mail but a struct shard_answer */
    MAIL_LETTER_QUESTION, /* to intake: no mail but what intake_ask_why() wants */
};

/* What goes to a thread goes into one box, so that a request comes behind the mails that were given
 * before, and an answer behind those that were sent home before. */
struct mail_post {
    struct letter letter;
    enum mail_letter kind;
};

struct mail {
    uint32_t magic;
    struct mail_post post;
    struct list node; /* in a lane's queue, among the route's look-ups, or in a list of intake's */
    struct worker *worker;
    struct shard *shard; /* owner at the moment; NULL: the intake thread */

    struct arena *arena;
    struct kafka_record record;
    struct kafka_ticket ticket;
    size_t charged_bytes; /* counted against the memory budget */
    atomic_int holds;

    struct message message;
    enum config_class klass;
    const struct config_stream *stream;
    struct slice origin;   /* "topic/partition/offset" where it first came from */
    uint32_t attempt;      /* of the round that is under way or comes next, from 1 */
    int64_t first_seen_ms; /* wall clock */
    int64_t expires_ms;    /* wall clock; 0 until the site's bounce-after is known */
    int64_t due_ms;        /* wall clock: not before; 0: now */
    bool early;            /* it is offered to its lane before that */
    struct slice last;     /* what the last attempt met, for the expired event */

    struct mail_rcpt *rcpts;
    bool journaled;           /* the journal has entries of it */
    struct list journal_node; /* in its shard's list of such */
    uint32_t turn;            /* number of its last transaction */
    uint32_t tenure;          /* in which it was taken (worker/tenure.h) */
    bool in_flight;           /* it was in a transaction when its tenure ended: what its partition's
                                 next owner waits for */
    struct ledger_state *inherited; /* what earlier owners did of it (worker/inherited.h), until it
                                       is decoded */
    bool suspect;                   /* … and whatever is not named there may have been sent */
    uint32_t pending;               /* rcpts in state PENDING */
    uint32_t deferred;              /* rcpts in state DEFERRED */
    uint32_t held;                  /* rcpts in state HELD */
    struct list copies;     /* of its record, to be written when nothing holds it any more */
    uint32_t lost_sessions; /* sessions that broke under it in this round */
    struct timer hold;      /* intake: not due yet */
    int64_t hold_until_ms;  /* by the wall clock, while it is held */
    bool tier_head;         /* … and its partition is paused meanwhile */
    bool forget; /* its ticket is not to be completed: the next owner of the partition reads it
                    again */
    bool fresh;  /* nobody has decoded its record before: it comes from a stream, or was moved on
                    before anybody looked */
    bool begun;  /* something was said to a server, so it must be settled by us */

    struct mono_time queued; /* when it joined its lane */
    const char *verp_domain; /* of its signed return paths, one for each recipient; NULL: none */
    bool unsubscribe;        /* it goes out with List-Unsubscribe fields, one set for each */
    struct slice route;      /* name of the VIP or pool it is sent from */
    struct dns_lookup lookup;
    struct dns_site *site; /* referenced while the shard owns it and the site is known */
};

/* Wraps a record just taken; takes over its payload and ticket. NULL: no memory (nothing taken
 * over). Intake thread. */
struct mail *mail_create(struct worker *worker, struct kafka_record *record);

/* Decodes payload and headers. False: the record is invalid, fault says why; id, tenant… are set as
 * far as they could be read. */
bool mail_decode(struct mail *mail, struct fault *fault);

/* Copies the payload into memory of our own and gives librdkafka's back, which pins a whole fetch
 * response. False: no memory, everything stays as it is. */
bool mail_detach_payload(struct mail *mail);

/* Recipients that are to be tried, in order, at most `max`: indexes into message.recipients.
 * Returns their number. */
size_t mail_pending(const struct mail *mail, uint32_t *indexes, size_t max);
/* How many of them the next transaction takes, which may have so many at most. */
size_t mail_transaction_size(const struct mail *mail, uint64_t most);
void mail_rcpt_set(struct mail *mail, uint32_t index, enum mail_rcpt_state state);

/* One more reason why the ticket stays open; any thread that owns the mail. */
void mail_hold(struct mail *mail);
/* One less, on the intake thread: the last one closes the mail. */
void mail_release(struct mail *mail);
/* Its shard is through with it: the shard's own hold goes with it. */
void mail_send_home(struct mail *mail);

/* Frees everything. Intake thread, after the ticket was dealt with. */
void mail_free(struct mail **mail);

/* What its stream wants; the usual where its stream is not known (any more). */
enum config_duplicates mail_duplicates(const struct mail *mail);

/* Milliseconds since the mail was first seen. */
int64_t mail_age_ms(const struct mail *mail, struct wall_time now);

#endif

/*
 * One submitted message: its envelope, its content in one growing buffer, and its way to Kafka.
 *
 * The buffer is [room | content]. At the end the header is rewritten in place, and the protobuf
 * fields of the record are written into the room right before the content, so that a record is a
 * part of this buffer and Kafka borrows it. Recipients of several domains make several records: all
 * but one are copies, as many at a time as COPIES_MAX_BYTES and the memory budget allow.
 *
 * Owner: the session until mail_submit(), then the mail itself, which frees itself when Kafka has
 * reported on every record. The session is told once, unless it let go before.
 */
#ifndef SLUICE_PRODUCER_MAIL_H
#define SLUICE_PRODUCER_MAIL_H

#include "producer/group.h"
#include "producer/header.h"
#include "producer/producer.h"

#define MAIL_REPLY_MAX 400
#define MAIL_ADDED_MAX_BYTES 4096 /* what header_rewrite() may add */

/* The answer to a command. */
struct mail_reply {
    uint16_t code;
    const char *enhanced;
    char text[MAIL_REPLY_MAX];
};
void mail_reply_set(struct mail_reply *reply, uint16_t code, const char *enhanced,
                    const char *format, ...) PRINTF_LIKE(4, 5);

struct mail_record;
struct mail;
typedef void (*mail_callback)(void *owner, struct mail *mail, const struct mail_reply *reply);

struct mail {
    uint32_t magic;
    struct producer *producer;
    struct list node; /* on producer->mails once submitted */
    struct arena *arena;
    struct groups groups;

    /* Envelope and origin; texts in the arena. */
    struct slice user; /* absent: not logged in */
    struct slice tenant, mail_from, ret, envid;
    bool smtputf8, requiretls;
    struct slice peer;

    /* Content */
    char *buffer;
    size_t capacity, room, len; /* content: buffer + room, len */
    size_t charged;             /* to the budget, all in all */
    struct mail_reply failure;  /* code 0: none so far */
    const char *topic;          /* in the arena */
    const char *stream;
    struct slice pool, campaign;
    struct slice key; /* the client's own name for it; absent: none */

    /* In flight */
    mail_callback done; /* NULL: nobody waits any more */
    void *owner;
    struct mail_record *records;
    size_t record_count, next, in_flight, copies_bytes;
    bool buffer_lent;
    struct io_task task; /* begins */
    struct timer timer;  /* queue full: again; else the end of waiting */
    struct mono_time started, give_up;
};

struct mail_open {
    struct slice user, tenant, peer;    /* user absent: none */
    struct slice mail_from, ret, envid; /* envid xtext */
    bool smtputf8, requiretls;
    uint64_t size_bytes; /* as announced */
};
/* NULL: *reply says why not. */
struct mail *mail_create(struct producer *producer, const struct mail_open *open,
                         struct mail_reply *reply);
/* Before mail_submit(). Takes NULL, nulls the pointer. */
void mail_free(struct mail **mail);

/* `orcpt` is "type;xtext". False: *reply says why not. */
bool mail_add_recipient(struct mail *mail, struct slice address, struct slice notify,
                        struct slice orcpt, struct mail_reply *reply);
/* All recipients are known: makes room. False: *reply says why not. */
bool mail_begin_content(struct mail *mail, struct mail_reply *reply);
/* What cannot be kept is remembered and told by mail_submit(). */
void mail_add_content(struct mail *mail, struct slice piece);

/* Content is complete. False: *reply is the answer, the mail is still the caller's. True: it is
 * not; `done` is called once, later, unless mail_detach() comes before. */
bool mail_submit(struct mail *mail, struct header_trace *trace, mail_callback done, void *owner,
                 struct mail_reply *reply);
/* Nobody waits for the answer any more. */
void mail_detach(struct mail *mail);
/* The answer now, whatever Kafka will say: 451. */
void mail_give_up(struct mail *mail);
/* The program ends: hands no more over. Freed at once when Kafka has nothing of it. */
void mail_abandon(struct mail *mail);

#endif

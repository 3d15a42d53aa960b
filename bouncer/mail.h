/*
 * One mail that comes back: its envelope, its content in one growing buffer, what is done with it,
 * and its events on their way to Kafka. Nothing of it is ever written to our own disk.
 *
 * Owner: the session until mail_submit(), then the mail itself, which frees itself when everything
 * has been reported on. The session is told once, unless it let go before. 250 is said only after
 * the action has succeeded and Kafka has acknowledged every event; otherwise 451, and the sender
 * tries again: the events are derived from the report, so they are the same then. Where the action
 * can never succeed, 554 is said when Kafka has the events.
 */
#ifndef SLUICE_BOUNCER_MAIL_H
#define SLUICE_BOUNCER_MAIL_H

#include "bouncer/daemon.h"

#define MAIL_REPLY_MAX 200

/* The answer to a command. */
struct mail_reply {
    uint16_t code;
    const char *enhanced;
    char text[MAIL_REPLY_MAX];
};
void mail_reply_set(struct mail_reply *reply, uint16_t code, const char *enhanced,
                    const char *format, ...) PRINTF_LIKE(4, 5);

struct mail;
typedef void (*mail_callback)(void *owner, struct mail *mail, const struct mail_reply *reply);

/* Who brings it; slices are copied. */
struct mail_peer {
    struct slice address, name;
    bool secure;
};

/* NULL: *reply says why not. `size_bytes` as announced. */
struct mail *mail_create(struct bouncer *bouncer, struct slice mail_from, uint64_t size_bytes,
                         struct mail_reply *reply);
/* Before mail_submit(). Takes NULL, nulls the pointer. */
void mail_free(struct mail **mail);

/* False: *reply says why not, 550 5.1.1 when it is not an address of ours. */
bool mail_add_recipient(struct mail *mail, struct slice address, struct mail_reply *reply);
/* All recipients are known. False: *reply says why not. */
bool mail_begin_content(struct mail *mail, const struct mail_peer *peer, struct mail_reply *reply);
/* What cannot be kept is remembered and told by mail_submit(). */
void mail_add_content(struct mail *mail, struct slice piece);

/* Content is complete. False: *reply is the answer, the mail is still the caller's. True: it is
 * not; `done` is called once, later, unless mail_detach() comes before. */
bool mail_submit(struct mail *mail, mail_callback done, void *owner, struct mail_reply *reply);
/* Nobody waits for the answer any more. */
void mail_detach(struct mail *mail);
/* The answer now, whatever Kafka will say: 451. */
void mail_give_up(struct mail *mail);
/* The program ends: hands no more over. Freed at once when nothing of it is under way. */
void mail_abandon(struct mail *mail);

struct mail *mail_of(struct list *node);

#endif

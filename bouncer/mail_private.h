/*
 * Between mail.c (a mail comes in) and mail_events.c (it is understood, and its events go to
 * Kafka).
 */
#ifndef SLUICE_BOUNCER_MAIL_PRIVATE_H
#define SLUICE_BOUNCER_MAIL_PRIVATE_H

#include "bouncer/actions.h"
#include "bouncer/mail.h"

#define MAIL_MAGIC 0x626d6c31u

struct mail_event {
    struct kafka_delivery delivery;
    struct mail *mail;
    const char *topic;
    size_t at, len; /* of the record in mail->encoded */
    size_t key_at, key_len;
};

struct mail_to {
    struct slice address; /* in the arena */
    struct address_match match;
};

struct mail {
    uint32_t magic;
    struct bouncer *bouncer;
    struct list node; /* on bouncer->mails once submitted */
    struct arena *arena;
    struct slice mail_from;
    struct slice peer_address, peer_name;
    struct mail_to *to;
    size_t to_count;
    char id[UUID_TEXT_LEN + 1];

    /* Content: our trace fields, then what came */
    char *buffer;
    size_t capacity, len;
    size_t trace_len;
    size_t charged; /* to the budget, all in all */
    struct mail_reply failure;

    /* Understood */
    enum returned_kind kind;
    const struct config_action *action; /* NULL: pass */
    struct action_job job;
    struct strbuf encoded;
    struct mail_event *events;
    size_t event_count, event_room, next, in_flight;
    bool too_many;

    mail_callback done; /* NULL: nobody waits any more */
    void *owner;
    bool submitted, acting;
    bool refused; /* the action's target will not have it: the events are told all the same */
    struct io_task task;
    struct timer timer;
    struct mono_time started, give_up, facts_by;
};

/* Submitted: understands it, acts, and sends the events. */
void mail_process(struct mail *mail);
void mail_fail(struct mail *mail, uint16_t code, const char *enhanced, const char *text);
/* Answers and frees; nothing is under way. */
void mail_finish(struct mail *mail);
bool mail_charge(struct mail *mail, size_t bytes);

#endif

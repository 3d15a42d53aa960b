/*
 * What a provider says to each question: pure decisions over the configuration, the clock and the
 * provider's memory, without I/O.
 *
 * What is for ever (5xx, unknown) goes by a hash of the address, so that a retry gets the same
 * answer. What passes (4xx, drops) is drawn anew for each attempt from a seeded generator, or
 * (temporary, greylist) remembered, so that retries come to an end.
 */
#ifndef SLUICE_SIM_ANSWER_H
#define SLUICE_SIM_ANSWER_H

#include "sim/profile.h"
#include "sim/provider.h"

enum sim_action {
    SIM_ACTION_REPLY,
    SIM_ACTION_ACCEPT,        /* record, then reply */
    SIM_ACTION_ACCEPT_SILENT, /* record, then close without a word */
};

struct sim_answer {
    enum sim_action action;
    uint16_t code;
    const char *enhanced; /* NULL: none */
    char text[SIM_REPLY_TEXT_MAX];
};

/* Where a transaction stands. */
struct sim_request {
    struct sim_source *source;
    struct slice mail_from;
    struct slice rcpt;     /* RCPT */
    struct slice rcpts;    /* DATA, MESSAGE: accepted ones, each with a LF behind it */
    uint32_t rcpt_count;   /* accepted so far */
    uint32_t transactions; /* on this connection before this one */
    struct mono_time now;
};

/* True: admitted, and sim_provider_enter() was done. Else `answer` is why not. */
bool sim_answer_connect(struct sim_provider *provider, const struct sim_request *request,
                        struct sim_answer *answer);
void sim_answer_mail(struct sim_provider *provider, const struct sim_request *request,
                     struct sim_answer *answer);
void sim_answer_rcpt(struct sim_provider *provider, const struct sim_request *request,
                     struct sim_answer *answer);
void sim_answer_data(struct sim_provider *provider, const struct sim_request *request,
                     struct sim_answer *answer);
/* Whether to close in the middle of this message's content. */
bool sim_answer_drops_content(struct sim_provider *provider);
/* The link was lost before the answer to the final dot, which was to be 250: was it accepted? */
bool sim_answer_accepts_cut(struct sim_provider *provider);
void sim_answer_message(struct sim_provider *provider, const struct sim_request *request,
                        struct sim_answer *answer);

/* The share of addresses, or the chance of an attempt, that `chance` (of SIM_CHANCE_ONE) names. */
bool sim_chance_by_hash(const struct sim_provider *provider, struct slice address, uint64_t purpose,
                        uint32_t chance);
bool sim_chance_by_attempt(struct sim_provider *provider, uint32_t chance);

#endif

/*
 * How four kinds of mailbox provider speak: our own wording in the manner of their public
 * documentation. {rcpt}, {from}, {source}, {host} and {id} stand for the address, the sender, the
 * peer's address, our host name and a queue id.
 */
#ifndef SLUICE_SIM_PROFILE_H
#define SLUICE_SIM_PROFILE_H

#include "sim/config.h"

enum sim_phrase {
    SIM_PHRASE_UNKNOWN,
    SIM_PHRASE_TEMPORARY,
    SIM_PHRASE_GREYLIST,
    SIM_PHRASE_RATE,
    SIM_PHRASE_CONNECTIONS,
    SIM_PHRASE_MESSAGES,   /* too many messages on one connection */
    SIM_PHRASE_RECIPIENTS, /* too many recipients in one message */
    SIM_PHRASE_COUNT
};

struct sim_phrases {
    const struct sim_reply *replies;
    size_t count;
};

/* One or more wordings. */
struct sim_phrases sim_profile_phrases(enum sim_profile profile, enum sim_phrase phrase);

struct sim_profile_texts {
    const char *greeting;
    struct sim_reply mail_ok, rcpt_ok, data_ok, message_ok;
    const char *starttls_refused; /* a whole reply line */
};
const struct sim_profile_texts *sim_profile_texts(enum sim_profile profile);

struct sim_names {
    struct slice rcpt, from, source, host;
    uint64_t id;
};
/* Puts the names into the text; cut to fit, NUL-terminated. */
void sim_text_expand(char *out, size_t out_bytes, const char *text, const struct sim_names *names);

#endif

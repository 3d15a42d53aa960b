/*
 * Phrases of notices in many languages, by what they tell. Constant tables; all comparisons on
 * ASCII-lower-cased UTF-8.
 */
#ifndef SLUICE_MAIL_WORDS_H
#define SLUICE_MAIL_WORDS_H

#include "base/arena.h"
#include "base/slice.h"

enum words_set {
    WORDS_SUBJECT_BOUNCE, /* subjects of non-delivery notices */
    WORDS_OPENING,        /* … with which a notice begins: only at the front of a line */
    WORDS_TEXT_BOUNCE,    /* sentences that say that something was not delivered */
    WORDS_DELAY,          /* … not yet */
    WORDS_WARNING,        /* … not yet, and nobody has to do anything: whatever else is said */
    WORDS_FINAL,          /* … for good */
    WORDS_DELIVERED,      /* that it was delivered */
    WORDS_SUBJECT_AUTO,   /* subjects of automatic answers */
    WORDS_TEXT_AUTO,      /* sentences of automatic answers */
    WORDS_CHALLENGE_ASK,  /* "click here", "reply to confirm" */
    WORDS_CHALLENGE_WHY,  /* "protected by", "allowed list" */
    WORDS_DAEMON,         /* names of mail systems in From */
    WORDS_SEPARATOR,      /* what stands on the line in front of the returned message */
    WORDS_RECIPIENT,      /* what stands in front of the address that failed */
    WORDS_NOT_RECIPIENT,  /* what stands in front of other addresses */
    WORDS_BOILERPLATE,    /* lines that say nothing of the cause */
    WORDS_QUOTED_FIELD,   /* fields of the message that a notice quotes, at the front of a line */
    WORDS_LABEL,          /* what announces the other side's words on the next line */
    WORDS_FOOTER,         /* beginnings of paragraphs that tell whom to ask */
    WORDS_SET_COUNT,
};

/* True if one of the phrases stands in the text, which must be lower case already (words_plain()).
 */
bool words_in(enum words_set set, struct slice lower);

/* True if the text, in lower case, begins with one of the phrases. */
bool words_begin(enum words_set set, struct slice lower);

/* A copy in one line and lower case (Latin and Cyrillic letters of two bytes too), its blanks
 * single and its apostrophes straight, for sentences that lines are wrapped in; empty when the
 * arena is full. */
struct slice words_plain(struct arena *arena, struct slice text);

/* A copy in ASCII lower case; empty when the arena is full. */
struct slice words_lower(struct arena *arena, struct slice text);

#endif

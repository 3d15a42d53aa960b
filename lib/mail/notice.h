/*
 * The human part of a report: who failed and why, from running text. See notice.c for how.
 */
#ifndef SLUICE_MAIL_NOTICE_H
#define SLUICE_MAIL_NOTICE_H

#include "mail/recipients.h"

/* What the rest of the message tells about addresses. */
struct notice_context {
    struct slice failed;   /* value of X-Failed-Recipients: exactly those failed */
    struct slice reporter; /* From of the report */
    struct slice sender; /* From of the original, or To of the report: does not fail unless the text
                            says so plainly */
    struct slice envelope; /* its envelope sender */
};

/* Cuts a text into the notice and the returned message behind it (absent when there is none). */
void notice_split(struct slice text, struct slice *notice, struct slice *returned);

/* Appends the recipients that the text names, each with the text that stands for it. Returns how
 * sure that is, 0 … 10: 9 and more when addresses stand in the places where systems put them. */
unsigned notice_read(struct slice notice, const struct notice_context *context,
                     struct recipient_list *list);

/* The text that stands for one address (SLICE_NULL: for all), where a report names it without a
 * telling text. */
struct slice notice_text_for(struct arena *arena, struct slice notice, struct slice address);

/* A notice without the fields that it quotes, its signature and (unless `phrases`) its set phrases,
 * at most RETURNED_TEXT_MAX bytes; the notice itself where nothing is left. */
struct slice notice_essence(struct arena *arena, struct slice notice, bool phrases);

/* A reply of several lines of which a report has the first only ("550-…"): all of them, from the
 * transcript in the notice. */
struct slice notice_whole_reply(struct arena *arena, struct slice notice, struct slice text);

/* The reply inside a text: from its code to its end, lines of the same reply joined; the whole text
 * without a code. */
struct slice notice_reply(struct arena *arena, struct slice text);

#endif

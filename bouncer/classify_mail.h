/*
 * sluice-bouncer classify FILE|DIR|-…: what returned messages say, one JSON object or a few table
 * lines for each.
 */
#ifndef SLUICE_BOUNCER_CLASSIFY_MAIL_H
#define SLUICE_BOUNCER_CLASSIFY_MAIL_H

#include "classify/classify.h"
#include "mail/returned.h"

struct classify_mail {
    const struct classifier *classifier;
    struct classify_scratch *scratch;
    bool json;
};

/* Reads one path: a message, "-" for one on standard input, or a folder of messages in the order of
 * their names. What cannot be read gives an object with "error". False when there was such a one.
 */
bool classify_mail_path(const struct classify_mail *how, const char *path);

/* One message that is in memory; `name` is what the object calls it. */
bool classify_mail_bytes(const struct classify_mail *how, const char *name, struct slice bytes);

/* The class of one recipient: of its action, else of its texts. `result` as in classifier_run(). */
void classify_mail_recipient(const struct classify_mail *how, const struct returned_mail *mail,
                             const struct returned_recipient *recipient,
                             struct classify_result *result);

#endif

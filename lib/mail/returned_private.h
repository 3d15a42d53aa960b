/*
 * Between returned.c (what a mail is, by all that it has) and returned_dsn.c (delivery status
 * reports).
 */
#ifndef SLUICE_MAIL_RETURNED_PRIVATE_H
#define SLUICE_MAIL_RETURNED_PRIVATE_H

#include "mail/kind.h"
#include "mail/part.h"
#include "mail/recipients.h"
#include "mail/returned.h"

enum {
    FILL_MAX = 64, /* recipients whose text or phase is looked up in the notice */
};

/* One mail that is being read. */
struct reading {
    struct arena *arena;
    struct returned_mail *mail;
    struct mail_tree tree;
    struct kind_fields fields;
    struct recipient_list list;
    struct slice text;     /* all human parts before the returned message */
    struct slice notice;   /* of it, the part in front of a returned message */
    struct slice returned; /* header block of the returned message */
    bool bare;             /* no header of its own: all that there is is its body */
    bool has_field;        /* some field stands at its front all the same */
};

/* The report fields of that part, decoded. */
struct slice returned_fields_of(struct reading *reading, const struct mail_part *part);

/* False: there is no report that names anybody; the reporting host is known nevertheless. */
bool returned_read_dsn(struct reading *reading);

#endif

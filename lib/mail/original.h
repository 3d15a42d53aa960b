/*
 * Facts of the message of ours that came back, from its returned header fields.
 */
#ifndef SLUICE_MAIL_ORIGINAL_H
#define SLUICE_MAIL_ORIGINAL_H

#include "mail/returned.h"

/* Fills what is not known yet from a header block of the returned message. */
void original_read(struct arena *arena, struct slice header, struct returned_original *original);

/* What else a returned header says of the recipient, best first: X-Failed-Recipients and its kin,
 * "for <…>" of the topmost Received fields, Delivered-To, To. SLICE_NULL when there is none, or To
 * names several. */
struct slice original_recipient(struct arena *arena, struct slice header);

#endif

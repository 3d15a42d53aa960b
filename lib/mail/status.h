/*
 * Reply codes, enhanced status codes, host names and SMTP phases in the texts of reports. Cursors,
 * no allocation.
 */
#ifndef SLUICE_MAIL_STATUS_H
#define SLUICE_MAIL_STATUS_H

#include "mail/returned.h"

/* The first "x.y.z" with x of 2, 4, 5 that is no part of an IP address or version; SLICE_NULL
 * without one. */
struct slice status_find_enhanced(struct slice text);

/* The first reply code (RFC 5321 4.2): three digits 2yz, 4yz or 5yz that stand alone, behind
 * nothing or behind "said:" and the like. 0 without one. *at (may be NULL) is where the reply
 * begins. */
uint16_t status_find_code(struct slice text, size_t *at);

/* True if the text says something: three letters in a row at least, apart from codes and addresses.
 */
bool status_is_telling(struct slice text);

/* What the text around a reply says of the phase, also from the forms of Postfix, Exim, qmail,
 * and DMA; transcripts are read in transcript.h. */
enum returned_phase status_find_phase(struct slice text);

/* The host that replied: "host mx.example.org [192.0.2.1]", "while talking to mx.example.org", …
 * SLICE_NULL without one. */
struct slice status_find_host(struct slice text);

/* Fills code, enhanced, phase and remote MTA from the text where they are not known yet. */
void status_read_text(struct returned_recipient *recipient);

#endif

/*
 * To whom a host belongs, as far as its name tells: "mail-ej1-f51.google.com" and
 * "gmail-smtp-in.l.google.com" are both google.com's.
 *
 * Without the public suffix list: two labels, three where the top one is a country's and the second
 * is one of those that countries use for groups (co.uk, com.br, ne.jp). Where this is wrong it is
 * too wide, never too narrow for hosts of one owner.
 */
#ifndef SLUICE_MAIL_ORGANISATION_H
#define SLUICE_MAIL_ORGANISATION_H

#include "base/slice.h"

/* A view on the name, without a trailing dot; an address literal or a name of one label is its own.
 */
struct slice mail_organisation(struct slice host);

/* True if both belong to the same. Empty names belong to nobody. */
bool mail_organisation_eq(struct slice a, struct slice b);

#endif

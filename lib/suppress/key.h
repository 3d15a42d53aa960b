/*
 * What an entry is about, and its key on the topic suppression and in the set:
 *
 *   key     = [ tenant ] "/" [ list ] "/" address
 *   tenant  = 1*64( ALPHA / DIGIT / "." / "_" / "-" )     none: all tenants
 *   list    = 1*128 bytes of UTF-8, "%" and "/" as %25 and %2F, no control characters
 *                                                          none: all mail of the tenant
 *   address = local part in lower case "@" domain in lower case as A-label
 *
 * The local part is folded too, although RFC 5321 section 2.4 lets receivers tell Bob from bob: no
 * receiver of weight does, and who asked not to be written to must not be for the sake of a
 * capital.
 */
#ifndef SLUICE_SUPPRESS_KEY_H
#define SLUICE_SUPPRESS_KEY_H

#include "base/fault.h"
#include "base/slice.h"

#define SUPPRESS_TENANT_MAX 64
#define SUPPRESS_LIST_MAX 128
#define SUPPRESS_ADDRESS_MAX 320 /* 64 + "@" + 255 */
#define SUPPRESS_KEY_MAX (SUPPRESS_TENANT_MAX + 3 * SUPPRESS_LIST_MAX + SUPPRESS_ADDRESS_MAX + 2)

struct suppress_key {
    struct slice tenant, list, address; /* len 0: none */
};

/* The address as it stands in keys. False: not a mailbox, the fault says why. */
bool suppress_address_fold(struct slice address, char out[SUPPRESS_ADDRESS_MAX + 1],
                           struct slice *folded, struct fault *fault);
/* The same where the domain is known as an A-label already; false: too long for a key. */
bool suppress_address_fold_known(struct slice address, struct slice domain,
                                 char out[SUPPRESS_ADDRESS_MAX + 1], struct slice *folded);

bool suppress_tenant_valid(struct slice tenant); /* the empty one too */
bool suppress_list_valid(struct slice list);     /* the empty one too */

/* Parts must be valid and the address folded; returns the key's length. A list without a tenant is
 * nobody's: CHECKed. */
size_t suppress_key_write(const struct suppress_key *key, char out[SUPPRESS_KEY_MAX]);
/* False: not such a key. The list is decoded into `list_room`; other parts point into `text`. */
bool suppress_key_read(struct slice text, char list_room[SUPPRESS_LIST_MAX],
                       struct suppress_key *key);

#endif

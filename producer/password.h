/*
 * Passwords as argon2id hashes (RFC 9106) in the usual text form:
 *   $argon2id$v=19$m=KIB,t=PASSES,p=LANES$SALT$HASH      SALT, HASH: base64 without padding
 * Slow by purpose (tens of milliseconds): never on a loop. Any thread.
 */
#ifndef SLUICE_PRODUCER_PASSWORD_H
#define SLUICE_PRODUCER_PASSWORD_H

#include "base/fault.h"
#include "base/slice.h"

#define PASSWORD_HASH_MAX 256
#define PASSWORD_MAX 512

/* Is it such a hash, with costs that a server can pay (64 KiB … 256 MiB, 1 … 32 passes, 1 … 8
 * lanes)? */
bool password_hash_valid(struct slice hash, struct fault *fault);

/* A hash with our costs (12 MiB, 3 passes, 1 lane) and a random salt. */
bool password_hash(struct slice password, char out[PASSWORD_HASH_MAX], struct fault *fault);

bool password_matches(const char *hash, struct slice password);

#endif

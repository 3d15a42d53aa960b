/*
 * Signed return paths: VERP (variable envelope return path) whose local part says which message to
 * which recipient a report is about, and that it was us who wrote it.
 *
 *   local part = 64 characters of base32 (RFC 4648 6, lower case, read in either case) = 40 bytes:
 *
 *   0       version (2 bits), purpose (2), key id (4)
 *   1-16    message id, a UUID
 *   17-25   seconds since 2020 (30 bits), recipient (28), route (14)
 *   26-29   facts
 *   30-39   HMAC-SHA-256 of bytes 0 to 29, its first 80 bits (RFC 2104 5)
 *
 * 64 octets is what RFC 5321 4.5.3.1.1 lets a local part have. 80 bits of signature: a forger has
 * to try each guess on us by SMTP, so 2^80 tries are out of reach, and the room that more would
 * take is better used. A token tells nothing in clear but the message id and the time; recipient,
 * route and facts are hashes. It may be replayed by who has seen it, which is why an event made
 * from it is always the same event.
 *
 * Everything here may be used by several threads at once.
 */
#ifndef SLUICE_MAIL_VERP_H
#define SLUICE_MAIL_VERP_H

#include "base/fault.h"
#include "base/uuid.h"

#define VERP_LOCAL_LEN 64
#define VERP_KEYS_MAX 16 /* ids 0 to 15 */
#define VERP_SECRET_MIN 16

enum verp_purpose { VERP_RETURN_PATH, VERP_UNSUBSCRIBE };

struct verp_key {
    uint8_t id;
    struct slice secret;   /* at least VERP_SECRET_MIN bytes */
    int64_t not_before_ms; /* signs from then … */
    int64_t not_after_ms; /* … until then; 0: no end. Signatures are read as long as they are young
                             enough. */
};

/* NULL: an id twice or above 15, a short secret. */
struct verp_keys;
struct verp_keys *verp_keys_create(const struct verp_key *keys, size_t count, struct fault *fault);
void verp_keys_free(struct verp_keys **keys);
/* Takes the keys of *fresh, which is freed; others may sign and read meanwhile, with these or
 * those. */
void verp_keys_replace(struct verp_keys *keys, struct verp_keys **fresh);

struct verp_token {
    enum verp_purpose purpose;
    struct uuid message;
    int64_t sent_ms;    /* whole seconds */
    uint32_t recipient; /* verp_recipient() */
    uint16_t route;     /* verp_route() */
    uint32_t facts;     /* number of what many messages share, see lib/schema/facts.h */
};

/* Of the address as we wrote to it, without case. */
uint32_t verp_recipient(struct slice address);
/* Of the organisation that a host or domain belongs to. */
uint16_t verp_route(struct slice host);

/* Writes the local part with the key that began to sign last. False: no key signs now. */
bool verp_sign(const struct verp_keys *keys, const struct verp_token *token, struct wall_time now,
               char out[VERP_LOCAL_LEN + 1]);

enum verp_verdict {
    VERP_FOREIGN, /* not of this form at all */
    VERP_GOOD,
    VERP_FORGED,      /* the signature is not that of the key it names */
    VERP_KEY_UNKNOWN, /* we have no such key (any more) */
    VERP_EXPIRED,     /* older than max_age_ms, signed outside the key's time, or of the future */
};

/* The token is filled for every verdict but FOREIGN; believe it only when GOOD. */
enum verp_verdict verp_read(const struct verp_keys *keys, struct slice local, struct wall_time now,
                            int64_t max_age_ms, struct verp_token *token);

#endif

/*
 * Signed return paths (mail/verp.h): who gets them, and writing them. The facts that a return path
 * can only number (schema/facts.h) are put on their topic the first time that this thread uses
 * them, and again each day that it does; that mail's ticket waits for it: so no report can come
 * back whose facts nobody knows.
 *
 * One struct return_paths for each shard thread.
 */
#ifndef SLUICE_WORKER_RETURN_PATH_H
#define SLUICE_WORKER_RETURN_PATH_H

#include "mail/verp.h"
#include "worker/outbox.h"

/* The domain of the mail's return paths; NULL: its own MAIL FROM is used. A mail asks by its
 * stream, its tenant, or by a MAIL FROM in one of the domains; one without MAIL FROM never does. */
const char *return_path_domain(const struct mail *mail);

struct return_paths;
struct return_paths *return_paths_create(struct worker *worker, struct outbox *outbox);
void return_paths_free(struct return_paths **paths);

/* The time in a mail's tokens: when it could be sent first, and not that of an attempt. So every
 * attempt has the same return path, which greylisting (RFC 6647) waits for, also when a key has
 * begun to sign since. */
int64_t return_path_time(const struct mail *mail, struct wall_time now);

/* A token for this recipient by this VIP to this host. False: no key signs now. */
bool return_path_token(struct return_paths *paths, struct mail *mail, enum verp_purpose purpose,
                       const struct message_recipient *recipient, struct slice vip,
                       struct slice host, char out[VERP_LOCAL_LEN + 1]);

/* MAIL FROM for this recipient by this VIP to this host, in the mail's arena; the mail has a return
 * path domain. The mail's own where no key signs now. */
struct slice return_path_write(struct return_paths *paths, struct mail *mail,
                               const struct message_recipient *recipient, struct slice vip,
                               struct slice host);

#endif

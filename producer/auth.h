/*
 * Checking logins off the loop: a bounded queue, two threads that do nothing but argon2, and the
 * answers back by a mailbox. Everything here is called on the loop's thread.
 *
 * An unknown user costs as much as a known one with the wrong password: a made-up hash of the same
 * costs is checked. A password that was right is remembered for a minute, as a hash by keys that
 * never leave this process, so that clients which log in for each message do not cost 30 ms each.
 */
#ifndef SLUICE_PRODUCER_AUTH_H
#define SLUICE_PRODUCER_AUTH_H

#include "io/loop.h"
#include "producer/users.h"

#define AUTH_QUEUE_MAX 256

struct auth;
struct auth_job;

/* `ok`: name and password are right and were so when the answer came. Exactly once per
 * auth_start() unless cancelled. */
typedef void (*auth_callback)(void *owner, bool ok);

/* Takes the table over. NULL and fault: no descriptors or threads; then the table is freed. */
struct auth *auth_create(struct io_loop *loop, struct users **users, struct fault *fault);
/* Waits for what is being checked; its callbacks do not run. Takes NULL, nulls the pointer. */
void auth_free(struct auth **auth);

/* Another table from now on; takes it over. */
void auth_set_users(struct auth *auth, struct users **users);
/* NULL: nobody of that name (any more). Valid until the loop's next turn. */
const struct user *auth_user(const struct auth *auth, struct slice name);

/* True: that login was right within the last minute. */
bool auth_recent(struct auth *auth, struct slice name, struct slice password);
/* Copies name and password. NULL: too many wait already. */
struct auth_job *auth_start(struct auth *auth, struct slice name, struct slice password,
                            auth_callback callback, void *owner);
/* The callback does not run. Takes NULL, nulls the pointer. */
void auth_cancel(struct auth_job **job);

#endif

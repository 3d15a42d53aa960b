/*
 * The users file: who may log in, in whose name, to send from which pools. Read as a whole into an
 * immutable table (but for the mark of a recent login, which auth.c keeps in it).
 *
 *   user = name ":" argon2id-hash [ ":" [ tenant ] [ ":" [ pool *( "," pool ) ] ] ]
 * One a line; empty lines and lines that begin with "#" are left out. Without a tenant the name is
 * the tenant; without pools the user may use all that the tenant may.
 */
#ifndef SLUICE_PRODUCER_USERS_H
#define SLUICE_PRODUCER_USERS_H

#include "base/clock.h"
#include "base/fault.h"
#include "base/map.h"
#include "policy/config.h"

struct user {
    char *name, *hash, *tenant;
    char **pools;
    size_t pool_count;
    uint64_t recent[2]; /* keyed hash of the password that was right last */
    struct mono_time recent_until;
};

struct users;

/* NULL: "PATH:LINE: what". `path` NULL gives an empty table. */
struct users *users_load(const char *path, const struct config *config, struct fault *fault);
/* The same from bytes in memory; `path` stands in messages. */
struct users *users_parse(const char *path, struct slice text, const struct config *config,
                          struct fault *fault);
/* Takes NULL, nulls the pointer. */
void users_free(struct users **users);

/* NULL: nobody of that name. Valid while the table is. */
struct user *users_named(const struct users *users, struct slice name);
/* One of them, NULL when there is none. */
const struct user *users_any(const struct users *users);
size_t users_count(const struct users *users);

/* May the user send from this pool or VIP? It must exist, too. */
bool user_may_use(const struct user *user, const struct config *config, struct slice pool);

#endif

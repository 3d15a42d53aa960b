/*
 * One client's connection: the SMTP server engine on an io_conn, with what the engine leaves to its
 * owner: what is taken, and how long a slow client may take in all.
 *
 * A session frees itself when its link is closed, and takes itself off bouncer->sessions.
 */
#ifndef SLUICE_BOUNCER_SESSION_H
#define SLUICE_BOUNCER_SESSION_H

#include "bouncer/daemon.h"

struct session;

/* A connection was accepted: starts a session, or refuses politely when there are too many. */
void session_accept(struct bouncer_listener *listener, struct io_conn *conn);
/* The bouncer drains: ends the session at once when it is idle, else after what it is doing. */
void session_drain(struct session *session);
/* The end now, without a word if need be. */
void session_abort(struct session *session);

/* The session on that list node. */
struct session *session_of(struct list *node);

#endif

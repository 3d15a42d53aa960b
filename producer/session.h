/*
 * One client's connection: the SMTP server engine on an io_conn, with what the engine leaves to its
 * owner: who may log in, what is taken, and how long a slow client may take in all.
 *
 * A session frees itself when its link is closed, and takes itself off producer->sessions.
 */
#ifndef SLUICE_PRODUCER_SESSION_H
#define SLUICE_PRODUCER_SESSION_H

#include "producer/producer.h"

struct session;

/* A connection was accepted: starts a session, or refuses politely when there are too many. */
void session_accept(struct producer_listener *listener, struct io_conn *conn);
/* The producer drains: ends the session at once when it is idle, else after what it is doing. */
void session_drain(struct session *session);
/* The end now, without a word if need be. */
void session_abort(struct session *session);

/* The session on that list node. */
struct session *session_of(struct list *node);

#endif

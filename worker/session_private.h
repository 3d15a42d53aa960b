/*
 * Between session.c (the connection and its engine) and session_txn.c (its transactions).
 */
#ifndef SLUICE_WORKER_SESSION_PRIVATE_H
#define SLUICE_WORKER_SESSION_PRIVATE_H

#include "worker/session.h"

static inline struct wheel *session_wheel(const struct session *session)
{
    return io_loop_wheel(session->lane->shard->loop);
}

static inline struct mono_time session_now(const struct session *session)
{
    return io_loop_now(session->lane->shard->loop);
}

/* The engine says DOT: the message may not end before its INTENT is on Kafka. */
void session_txn_hold_dot(struct session *session);
/* The INTENT of the message before is on Kafka, so that another may be begun: what a crash can
 * repeat without a word is one message for each session. False: session_go_on() will be called. */
bool session_txn_is_said(struct session *session);
void session_go_on(struct session *session);
/* The zombie gate, right before the end of a message goes out. */
bool session_txn_may_end(const struct session *session);
/* The engine says DONE: every recipient of the transaction has its outcome. */
void session_txn_done(struct session *session);

#endif

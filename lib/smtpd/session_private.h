/*
 * Between smtpd.c (listeners and who may come) and session.c (one client).
 */
#ifndef SLUICE_SMTPD_SESSION_PRIVATE_H
#define SLUICE_SMTPD_SESSION_PRIVATE_H

#include "smtpd/smtpd.h"

/* A client that was accepted; `peer` NULL: it is only told to go away, because the server is `full`
 * or has enough from there. */
void smtpd_session_open(struct smtpd_listener *listener, struct io_conn *conn,
                        const struct sockaddr_storage *address, struct peer *peer, bool full);
/* Ends it at once when it is idle, else after what it is doing. */
void smtpd_session_drain(struct smtpd_session *session);
/* The end now, without a word if need be. */
void smtpd_session_abort(struct smtpd_session *session);

/* The session on that list node. */
struct smtpd_session *smtpd_session_of(struct list *node);

#endif

/*
 * The running simulator and its connections: one thread, one loop. A session owns its connection,
 * its engine and its timers; it ends in closed() of the connection or by session_free().
 *
 * Connections that came in a turn of the loop are admitted at its end, when the ends of others that
 * arrived before have been seen: a sender that closes one connection and then opens another is not
 * accused of having two.
 */
#ifndef SLUICE_SIM_SESSION_H
#define SLUICE_SIM_SESSION_H

#include "io/conn.h"
#include "sim/provider.h"
#include "sim/record.h"

struct sim_listener {
    struct sim *sim;
    struct sim_provider *provider;
    struct io_listener *listener;
    struct tls_context *tls; /* the provider's, lent; NULL: no STARTTLS */
};

struct sim {
    struct io_loop *loop;
    struct sim_record *record; /* NULL: none */
    struct list sessions;
    struct list entering; /* not admitted yet */
    struct io_task admit;
    uint64_t connections; /* numbers given so far */
};

void sim_init(struct sim *sim, struct io_loop *loop, struct sim_record *record);
/* Ends all sessions at once. */
void sim_end(struct sim *sim);
/* For io_listen(); the owner is a struct sim_listener. */
void sim_accept(struct io_listener *listener, void *owner, struct io_conn *conn);

#endif

/*
 * Between lane.c (queue and housekeeping) and lane_open.c (making lanes, choosing VIPs and hosts,
 * opening sessions).
 */
#ifndef SLUICE_WORKER_LANE_PRIVATE_H
#define SLUICE_WORKER_LANE_PRIVATE_H

#include "worker/lane.h"

/* The mail's lane; made if it is not there. */
struct lane *lane_for(struct shard *shard, struct mail *mail, const struct config_site *fixed);
/* Begins or ends the time in which mail is ready, after each change of the queue. */
void lane_note_ready(struct lane *lane);
/* Room for the wants of a take with these bounds beside the lane's; NULL ones count nothing. */
struct limit_want *lane_want_room(struct lane *lane, const struct bounds *a,
                                  const struct bounds *b);
/* Sessions that others are to have the slots of end, if they are in no transaction: those that are
 * look for themselves when it is over. */
void lane_yield_unused(struct lane *lane);
/* Opens as many sessions as the queue wants and limits allow. */
void lane_open_sessions(struct lane *lane);
/* Why the last session could not be made, with a copy of the text: what is told if no other can be.
 */
void lane_remember_trouble(struct lane *lane, const struct smtp_outcome *outcome);
/* Nothing can be reached: everything waiting is deferred, and what comes within dead-host time too.
 */
void lane_suspend(struct lane *lane, const struct smtp_outcome *outcome);
/* A connection of the worker became free. */
void lane_wake_starved(struct shard *shard);

#endif

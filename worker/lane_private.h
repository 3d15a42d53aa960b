/*
 * Between lane_make.c (lanes come and go), lane.c (mail that comes, trouble, housekeeping),
 * lane_spill.c (what a lane holds), lane_open.c (choosing VIPs and hosts, opening sessions) and
 * lane_feed.c (mail for sessions).
 */
#ifndef SLUICE_WORKER_LANE_PRIVATE_H
#define SLUICE_WORKER_LANE_PRIVATE_H

#include "worker/lane.h"

#define LANE_MIN_CAPACITY 64 /* mails */

/* The mail's lane; made if it is not there. */
struct lane *lane_for(struct shard *shard, struct mail *mail, const struct config_site *fixed);
/* Begins or ends the time in which mail is ready, after each change of the queue. */
void lane_note_ready(struct lane *lane);
/* To a tier, with the time at which its turn will have come. */
void lane_spill(struct lane *lane, struct mail *mail, struct mono_time now);
/* What a parked flow holds beyond 60 s of its own limits, or has held for so long. */
void lane_spill_parked(struct lane *lane, struct queue_flow *flow, struct mono_time now);
/* What has waited for too long. */
void lane_spill_older(struct lane *lane, struct mono_time now);
/* Is a spilled mail whose time has not come to be taken nevertheless? */
bool lane_is_hungry(const struct lane *lane, const struct mail *mail, struct mono_time now);
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

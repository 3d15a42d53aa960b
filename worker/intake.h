/*
 * Intake: the Kafka thread. Takes records while the memory budget allows (transactional streams
 * first), holds the heads of delay tiers until they are due, posts mail to the shards, runs
 * delivery reports, closes tickets, and empties partitions that go to another worker.
 *
 * A partition goes (rebalance, drain): the shards return what was not begun, what runs may finish
 * for a bounded time. Returned mail above everything that was completed is simply forgotten: the
 * next owner reads it again. What lies below something completed is moved to a tier, because only
 * the low watermark is committed.
 */
#ifndef SLUICE_WORKER_INTAKE_H
#define SLUICE_WORKER_INTAKE_H

#include "worker/outbox.h"

struct intake;
struct question;
struct shard_answer;

struct intake *intake_create(struct worker *worker, struct fault *fault);
/* After its thread and those of the shards have ended, and after the producers were freed: what
 * they still had to say comes here. */
void intake_free(struct intake **intake);
/* Body of the thread: until intake_drain() was asked for and is over, or the group failed for good
 * (then false). */
bool intake_run(struct intake *intake);

/* Any thread: what a shard was asked for is done. */
void intake_answer(struct intake *intake, struct shard_answer *answer);
/* Any thread: a mail comes home (settled or returned). */
void intake_post(struct intake *intake, struct mail *mail);
/* Nothing holds the mail any more: its copies are written, then its ticket closes. */
void intake_close(struct intake *intake, struct mail *mail);
/* Any thread: stop intake, finish or move what is open within the configured time, leave. */
void intake_drain(struct intake *intake);
/* Any thread: tell why mail waits (worker/why.h). */
void intake_ask_why(struct intake *intake, const struct question *question);
/* The intake thread's own, for deliveries that failed. */
struct outbox *intake_outbox(struct intake *intake);

#endif

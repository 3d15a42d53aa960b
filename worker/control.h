/*
 * What operators ask (`sluicectl why`, `eta`): a thread of its own follows the topic `control` from
 * its end and hands each question to all shards, which answer there themselves (worker/why.h). The
 * worker's other threads never wait for it, and it goes on trying when Kafka is away (when only
 * worker/console.h answers).
 *
 * A question is a record with the key "why" and a value as question_parse_value() says; answers
 * have keys "why/WORKER/SHARD" and "why/WORKER/intake", so that compaction leaves one of each.
 */
#ifndef SLUICE_WORKER_CONTROL_H
#define SLUICE_WORKER_CONTROL_H

struct control;
struct worker;

/* When the shards are there. */
struct control *control_start(struct worker *worker);
/* Before they go; waits for the thread. */
void control_stop(struct control **control);

#endif

/*
 * What operators ask (`sluicectl why`, `eta`): a thread of its own follows the topic `control` from
 * its end and hands each question to all shards, which answer there themselves (worker/why.h). The
 * worker's other threads never wait for it, and it goes on trying when Kafka is away.
 *
 * A question is a record with the key "why" and the value "NUMBER" or "NUMBER MESSAGE-ID"; answers
 * have keys "why/WORKER/SHARD", so that compaction leaves one of each.
 */
#ifndef SLUICE_WORKER_CONTROL_H
#define SLUICE_WORKER_CONTROL_H

#include "base/slice.h"

struct control;
struct worker;

/* When the shards are there. */
struct control *control_start(struct worker *worker);
/* Before they go; waits for the thread. */
void control_stop(struct control **control);

/* The value of a question: its number, which is never 0, and whose message it is about (empty:
 * none). False: it is no question. */
bool control_question(struct slice value, uint64_t *number, struct slice *message_id);

#endif

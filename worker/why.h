/*
 * Why mail waits: each lane of a shard with its backlog, what it waits for, until when, and the
 * rate that it is held to; said when it is asked, from the state that decides, so it cannot be
 * stale. The answer is one JSON object on the topic `control`:
 *
 *   {"request":N, "worker":…, "shard":…, "answers":how many there will be in the cluster,
 *    "lanes":[{"site":…, "route":…, "waiting":…, "ready":…, "running":…, "sessions":…, "rate":…,
 *              "spilled_until_ms":…, "reasons":[{"reason":…, "limit":…, "until_ms":…, "detail":…}],
 *              "flows":[{"tenant":…, "campaign":…, "waiting":…, "parked":true}]}…],
 *    "message":{"state":"waiting"|"sending", "site":…, "route":…}}
 */
#ifndef SLUICE_WORKER_WHY_H
#define SLUICE_WORKER_WHY_H

#include "worker/shard.h"

/* On the shard's thread. `about`: hash of the message's id, 0: none. */
void why_answer(struct shard *shard, uint64_t number, uint64_t about);

#endif

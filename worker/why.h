/*
 * Why mail waits: each lane of a shard with its backlog, what it waits for, until when, and the
 * rate that it is held to; and where one message is, with the whole chain of what it waits for.
 * Said when it is asked, from the state that decides, so it cannot be stale. Each shard answers,
 * and the intake thread for what it holds and for how far it has read. An answer is one JSON
 * object:
 *
 *   {"request":N, "worker":…, "shard":number or "intake", "answers":how many there will be,
 *    "lanes":[{"site":…, "route":…, "waiting":…, "ready":…, "transactional":… (of the ready ones),
 *              "running":…, "sessions":…, "rate":…, "spilled_until_ms":…, "reasons":[REASON…],
 *              "flows":[{"tenant":…, "campaign":…, "class":…, "waiting":…, "parked":true}…]}…],
 *    "message":{"state":…, "site":…, "route":…, "tenant":…, "campaign":…, "class":…, "attempt":N,
 *               "before":…, "expected_ms":…, "last":…, "reasons":[REASON…]},
 *    "partitions":[{"topic":…, "partition":…, "position":…, "rate":…}…]}
 *
 * The lanes are left out when it is asked for a message.
 *
 *   REASON = {"reason":…, "limit":…, "until_ms":…, "detail":…}
 *
 * Reasons, of lanes and messages: "limit" (a rate or daily cap is used up), "connection" (the limit
 * says that none may be opened), "suspended", "dns", "no-vip", "spill" (what does not fit the lane
 * has been given times up to then), "priority" (bulk waits as transactional mail is ready),
 * "worker-connections", "worker-choked", "connecting", "turn" (every session is busy).
 * States of a message: "sending", "waiting", and "dns" (its site is looked up) at a shard; at
 * intake "retry" (its time has not come), "takeover" (who had its partition before may be sending
 * it still), "settling" (it is done but for what Kafka has to acknowledge).
 */
#ifndef SLUICE_WORKER_WHY_H
#define SLUICE_WORKER_WHY_H

#include "worker/pace.h"
#include "worker/question.h"
#include "worker/shard.h"

/* On the shard's thread. */
void why_answer(struct shard *shard, const struct question *question);

/* On the intake thread. */
struct why_intake {
    struct worker *worker;
    unsigned workers;        /* in the cluster, as far as known */
    const struct list *held; /* mails by their node */
    const struct list *awaited, *settled;
    const struct pace *pace;
    struct mono_time now;
};
void why_answer_intake(const struct why_intake *intake, const struct question *question);

#endif

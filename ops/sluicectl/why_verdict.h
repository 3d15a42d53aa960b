/*
 * The verdict about one message: an object with the members of worker/why.h's messages and
 *
 *   "state": also "tier", "unread", "held", "finished", "between", "taken", "unfound", "unknown",
 *   "elsewhere",
 *   "topic", "partition", "offset", "before": where its record is, and how many are read before it,
 *   "expected_ms", "attempt": of what comes next, "events": the last one of each recipient,
 *   "searched": [{"what": "log", "workers", "unread", "tier" or "held", "complete": …, …}…].
 */
#ifndef SLUICE_OPS_SLUICECTL_WHY_VERDICT_H
#define SLUICE_OPS_SLUICECTL_WHY_VERDICT_H

#include "ops/trace/trace.h"

#include <jansson.h>

void verdict_text(json_t *verdict, const char *name, struct slice text); /* empty: nothing */
void verdict_number(json_t *verdict, const char *name, int64_t number);  /* 0: nothing */
void verdict_state(json_t *verdict, const char *state);
/* `next`: where its partition is read next; rate: records a second, 0: not known. */
void verdict_place(json_t *verdict, const char *topic, int32_t partition, int64_t offset,
                   int64_t next, double rate);
/* Why it waits in a tier. */
void verdict_wait(json_t *verdict, const struct trace_fact *wait);
/* What the log tells of it. */
void verdict_history(json_t *verdict, const struct trace *trace);
/* A member more of "searched"; borrowed. */
json_t *verdict_searched(json_t *verdict, const char *what, bool complete);
/* On stdout. Exit status: 0, 1: it is not known where the message is, WHY_INCOMPLETE: not all was
 * looked at that may have it. */
int verdict_print(json_t *verdict, bool json);

#endif

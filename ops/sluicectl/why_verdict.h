/*
 * The verdict about one message: an object with the members of worker/why.h's messages and
 *
 *   "state": also "tier", "unread", "held", "finished", "between", "taken", "unknown", "elsewhere",
 *   "topic", "partition", "offset", "before": where its record is, and how many are read before it,
 *   "expected_ms", "attempt": of what comes next, "events": the last one of each recipient.
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
/* On stdout. False: it is not known where the message is. */
bool verdict_print(json_t *verdict, bool json);

#endif

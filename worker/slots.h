/*
 * Slots of one topic (done or moved) while they are read for a takeover: each once, from the lowest
 * offset that somebody wants, to its end and beyond. Intake thread; nothing blocks.
 */
#ifndef SLUICE_WORKER_SLOTS_H
#define SLUICE_WORKER_SLOTS_H

#include "kafka/tail.h"

struct worker;
struct slots;

/* `committed`: only what committed transactions wrote. The topic's name must outlive it. */
struct slots *slots_create(const struct worker *worker, const char *topic, bool committed,
                           int event_fd, struct fault *fault);
void slots_free(struct slots **slots);

/* Between slots_stop() and slots_start(). */
void slots_want(struct slots *slots, int32_t slot, int64_t from);
bool slots_start(struct slots *slots, struct fault *fault);
/* From where it has come to, to what is the end now. */
bool slots_start_again(struct slots *slots, struct fault *fault);
void slots_stop(struct slots *slots);

/* Hands some records to `take`, without waiting. False: cannot be read (fault). */
bool slots_read(struct slots *slots,
                void (*take)(void *owner, int32_t slot, int64_t offset, struct slice value),
                void *owner, struct fault *fault);
/* Every one has been read to what was its end when it was started. */
bool slots_ended(const struct slots *slots);

#endif

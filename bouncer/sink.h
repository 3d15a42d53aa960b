/*
 * The suppression list in PostgreSQL, for those who keep their addresses there: a thread follows
 * the topic suppression and mirrors its entries into a table. How far it has come stands in the
 * same database and changes in the same transaction, so whatever dies, and however long the
 * database is away, each record counts once.
 *
 * However many bouncers run, one writes: it holds an advisory lock, which goes with its connection.
 */
#ifndef SLUICE_BOUNCER_SINK_H
#define SLUICE_BOUNCER_SINK_H

#include "base/fault.h"
#include "kafka/properties.h"
#include "policy/config.h"

struct sink;

/* Starts the thread, which tries to reach both until it can. NULL: bouncer.suppression-database is
 * no connection string (fault). The configuration must outlive it. */
struct sink *sink_start(const struct config *config, const struct kafka_properties *properties,
                        struct fault *fault);
/* What was read and not yet written is read again next time. Nulls, takes NULL. */
void sink_stop(struct sink **sink);

#endif

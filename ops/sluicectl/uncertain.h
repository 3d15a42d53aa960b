/*
 * What the subcommands of sluicectl uncertain share: options, and what is held. The compacted topic
 * `uncertain` has a record for each message of which nobody knows whether the server took it: key
 * origin/attempt, value and headers as of a delay tier's record, HEADER_PENDING for the recipients
 * concerned. A tombstone means that it was decided.
 */
#ifndef SLUICE_OPS_SLUICECTL_UNCERTAIN_H
#define SLUICE_OPS_SLUICECTL_UNCERTAIN_H

#include "kafka/tail.h"
#include "policy/config.h"
#include "schema/headers.h"
#include "schema/message.h"

struct uncertain_options {
    const char *config, *actor;
    struct slice stream, site, tenant, recipient, message_id; /* filters; ptr NULL: any */
    int64_t older_than_ms;                                    /* held for so long at least */
    bool all, json;
    char **keys; /* only these; none: what the filters say */
    size_t key_count;
};

struct uncertain_entry {
    struct slice key;
    int32_t partition;
    int64_t held_ms; /* since when */
    struct slice origin, stream, site, last;
    uint64_t attempt; /* number of the one that would follow */
    int64_t first_seen_ms, expires_ms;
    struct message message;
    struct pending_set recipients; /* those concerned */
    const struct kafka_reader_record *record;
};

/* Slices live as long as the call. False: enough. */
typedef bool uncertain_visit(void *owner, const struct uncertain_entry *entry);

/* Calls for each held message that the options mean, partition by partition, oldest first; memory
 * for the keys of one partition. What cannot be read is told on stderr by its key and makes the
 * result false, as do keys of the options that are not held. */
bool uncertain_each(const struct config *config, const struct uncertain_options *options,
                    uncertain_visit *visit, void *owner, struct fault *fault);

int uncertain_list(const struct config *config, const struct uncertain_options *options);
int uncertain_resend(const struct config *config, const struct uncertain_options *options);
int uncertain_drop(const struct config *config, const struct uncertain_options *options);

#endif

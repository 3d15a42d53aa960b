/*
 * Where the record of one message lies: in a delay tier, among held ones, unread in its stream.
 * Looked for while the workers are asked, so without their answers.
 */
#ifndef SLUICE_OPS_SLUICECTL_WHY_FIND_H
#define SLUICE_OPS_SLUICECTL_WHY_FIND_H

#include "ops/sluicectl/why.h"

/* Lent. */
struct why_search {
    struct kafka_finder *finder;
    const struct why_query *query; /* message_id, recipient, deadline */
    const struct why_asking *asking;
};

struct why_place {
    bool found;
    bool searched_all; /* found, or all that was to be read was read */
    char topic[KAFKA_TOPIC_NAME_MAX + 1];
    int32_t partition;
    int64_t offset;
    int64_t next; /* committed there: it is read next, or after what a worker has read by now */
    int64_t due_ms, timestamp_ms;
    uint64_t attempt;
    char last[400];
    char key[400];
    bool decided; /* of a held one: a tombstone came after it */
};

/* Its copy in a tier that it came to at about since_ms and that waits until due_ms; partition -1:
 * in all. */
bool why_find_in_tier(const struct why_search *search, const char *topic, int32_t partition,
                      int64_t since_ms, int64_t due_ms, struct why_place *place,
                      struct fault *fault);
/* Among held ones. */
bool why_find_held(const struct why_search *search, const char *topic, int32_t partition,
                   int64_t since_ms, struct why_place *place, struct fault *fault);
/* In what is unread of the streams. from_ms, to_ms: when it may have been written; 0: at any time.
 */
bool why_find_unread(const struct why_search *search, const struct config *config, int64_t from_ms,
                     int64_t to_ms, struct why_place *place, struct fault *fault);

#endif

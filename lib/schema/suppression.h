/*
 * Records of the topic suppression: our structs to sluice.v1.Suppression and SuppressionProgress,
 * and back.
 */
#ifndef SLUICE_SCHEMA_SUPPRESSION_H
#define SLUICE_SCHEMA_SUPPRESSION_H

#include "base/fault.h"
#include "base/strbuf.h"

#define SUPPRESSION_PROGRESS_KEY "builder"
#define SUPPRESSION_STRIKES_MAX 20
#define SUPPRESSION_POSITIONS_MAX 20000
#define SUPPRESSION_ENCODED_MAX ((size_t)16 * 1024)

/* Numbers are the schema's. */
enum suppression_reason {
    SUPPRESSION_NONE = 0,
    SUPPRESSION_HARD,
    SUPPRESSION_REPEATED,
    SUPPRESSION_MAILBOX_FULL,
    SUPPRESSION_COMPLAINT,
    SUPPRESSION_UNSUBSCRIBED,
    SUPPRESSION_MANUAL,
    SUPPRESSION_IMPORTED,
    SUPPRESSION_REASON_COUNT,
};
/* "none", "hard", "repeated", "mailbox-full", "complaint", "unsubscribed", "manual", "imported";
 * "other" for numbers of a later version. */
const char *suppression_reason_name(int reason);
bool suppression_reason_parse(struct slice name, int *reason);

struct suppression_strike {
    int64_t time_ms;
    uint64_t event;
};

struct suppression {
    int reason; /* enum suppression_reason, or a later version's */
    int64_t time_ms, expires_ms;
    struct slice bounce_class, event_id, message_id, campaign, actor, note;
    int64_t removed_ms;
    struct suppression_strike strikes[SUPPRESSION_STRIKES_MAX]; /* oldest first */
    size_t strike_count;
    int64_t full_first_ms, full_last_ms;
    uint64_t epoch;
};

/* Appends; false: the buffer's maximum. Texts are cut to 500 bytes, so that SUPPRESSION_ENCODED_MAX
 * has room for every entry. */
bool suppression_encode(const struct suppression *entry, struct strbuf *out);
/* Slices point into `record`. More strikes than there is room for: the youngest are kept. */
bool suppression_decode(struct slice record, struct suppression *entry, struct fault *fault);

struct suppression_position {
    struct slice topic;
    int32_t partition;
    int64_t next_offset;
};

struct suppression_progress {
    struct slice builder;
    uint64_t epoch;
    int64_t time_ms;
};

bool suppression_progress_encode(const struct suppression_progress *progress,
                                 const struct suppression_position *positions, size_t count,
                                 struct strbuf *out);
/* `found` is called for each position; slices point into `record`. */
typedef void (*suppression_position_found)(void *owner, const struct suppression_position *found);
bool suppression_progress_decode(struct slice record, struct suppression_progress *progress,
                                 suppression_position_found found, void *owner,
                                 struct fault *fault);

#endif

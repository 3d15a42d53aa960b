/*
 * What follows from an event for an address: pure rules, no state of their own, no clock. All
 * numbers come from the configuration's `suppression`.
 *
 * Applying is idempotent: an event that was applied before changes nothing, whatever was applied in
 * between. So events may be read twice (after a crash) and nothing counts or is suppressed twice.
 *   - A count holds the hashes of its events.
 *   - Times of expiry follow from the event's time, and only a later one replaces an earlier.
 *   - What happened before an entry was removed by hand is over.
 */
#ifndef SLUICE_SUPPRESS_POLICY_H
#define SLUICE_SUPPRESS_POLICY_H

#include "policy/config.h"
#include "schema/event.h"
#include "schema/suppression.h"
#include "suppress/key.h"
#include "suppress/set.h"

#define SUPPRESS_DAY_MS ((int64_t)24 * 3600 * 1000)

enum suppress_cause {
    SUPPRESS_CAUSE_NONE = 0,
    SUPPRESS_CAUSE_HARD,
    SUPPRESS_CAUSE_STRIKE, /* hard when repeated */
    SUPPRESS_CAUSE_FULL,   /* mailbox full */
    SUPPRESS_CAUSE_COMPLAINT,
    SUPPRESS_CAUSE_UNSUBSCRIBE,
};

/* What an event says; slices point into the event, or into the fact itself: do not copy it. */
struct suppress_fact {
    enum suppress_cause cause;
    const struct config_suppression *policy;
    struct suppress_key key;
    int64_t time_ms;
    uint64_t event;
    struct slice event_id, message_id, campaign, bounce_class, note;
    char address_room[SUPPRESS_ADDRESS_MAX + 1];
};

/* False: nothing follows from it: another kind of event, suspicious, not about an address, without
 * a tenant. */
bool suppress_fact_read(const struct event *event, const struct config *config,
                        struct suppress_fact *fact);

/* The list that mail with this metadata belongs to; len 0: none. The recipient's entry wins. */
struct slice suppress_list_of(const struct config_suppression *policy,
                              const struct message_pair *metadata, size_t count,
                              const struct message_pair *recipient_metadata,
                              size_t recipient_count);

/* True: the entry has changed, and is to be written. Slices of the entry then point where the
 * fact's do. */
bool suppress_apply(const struct suppress_fact *fact, struct suppression *entry);

/* True: mail is held back at that time. */
bool suppress_in_force(const struct suppression *entry, int64_t now_ms);
/* True: nothing in the entry can matter any more, so it can be deleted. `kept_ms` is how long an
 * entry that was removed by hand goes on telling so. */
bool suppress_is_spent(const struct suppression *entry, const struct config_suppression *policy,
                       int64_t now_ms, int64_t kept_ms);

/* For the set: what it keeps of an entry that is in force. */
struct suppress_mark suppress_mark_of(const struct suppression *entry);
/* The first day on which it holds no more; 0: for ever. */
uint16_t suppress_until_day(int64_t expires_ms);
uint16_t suppress_today(int64_t now_ms);

#endif

#include "suppress/policy.h"

#include "base/hash.h"
#include "classify/class.h"

/* ---- what an event says ---- */

static struct slice pair_value(const struct message_pair *pairs, size_t count, struct slice name)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(pairs[i].name, name)) {
            return pairs[i].value;
        }
    }
    return SLICE_NULL;
}

struct slice suppress_list_of(const struct config_suppression *policy,
                              const struct message_pair *metadata, size_t count,
                              const struct message_pair *recipient_metadata, size_t recipient_count)
{
    struct slice name = slice_cstr(policy->list_metadata);
    struct slice list = pair_value(recipient_metadata, recipient_count, name);
    if (list.ptr == NULL) {
        list = pair_value(metadata, count, name);
    }
    return suppress_list_valid(list) ? list : SLICE_NULL;
}

static enum suppress_cause cause_of_class(enum bounce_class class,
                                          enum bounce_disposition disposition)
{
    if (class == BOUNCE_MAILBOX_FULL) {
        return SUPPRESS_CAUSE_FULL;
    }
    if (bounce_class_scope(class) != BOUNCE_SCOPE_RECIPIENT) {
        return SUPPRESS_CAUSE_NONE; /* whatever a rule says: it is not about the address */
    }
    switch (disposition) {
    case BOUNCE_DO_HARD: return SUPPRESS_CAUSE_HARD;
    case BOUNCE_DO_HARD_AFTER_N: return SUPPRESS_CAUSE_STRIKE;
    case BOUNCE_DO_NONE:
    case BOUNCE_DO_SOFT:
    case BOUNCE_DO_TRANSIENT:
    case BOUNCE_DO_BLOCK:
    case BOUNCE_DISPOSITION_COUNT: break;
    }
    return SUPPRESS_CAUSE_NONE;
}

static enum suppress_cause cause_of_attempt(const struct event_attempt *attempt)
{
    enum bounce_class class;
    enum bounce_disposition disposition;
    if (!bounce_class_parse(attempt->bounce_class, &class)) {
        return SUPPRESS_CAUSE_NONE;
    }
    if (!bounce_disposition_parse(attempt->disposition, &disposition)) { /* of an older worker */
        disposition = bounce_class_disposition(class, attempt->code / 100 == 4);
    }
    return cause_of_class(class, disposition);
}

/* An expired event tells the last reply as "452 4.2.2 text" (worker/settle.c): the mailbox was full
 * all the time. */
static enum suppress_cause cause_of_expiry(struct slice text)
{
    struct slice rest = text;
    (void)slice_cut(&rest, ' ');
    struct slice enhanced = slice_cut(&rest, ' ');
    bool full = enhanced.len == 5 && slice_ends_with_nocase(enhanced, SLICE(".2.2"));
    return full ? SUPPRESS_CAUSE_FULL : SUPPRESS_CAUSE_NONE;
}

static enum suppress_cause cause_of_returned(const struct event *event)
{
    const struct event_returned *returned = &event->returned;
    enum bounce_class class;
    enum bounce_disposition disposition;
    if (returned->suspicious.len > 0) {
        return SUPPRESS_CAUSE_NONE;
    }
    if (event->type == EVENT_COMPLAINT) {
        return SUPPRESS_CAUSE_COMPLAINT;
    }
    if (event->type == EVENT_UNSUBSCRIBED) {
        return SUPPRESS_CAUSE_UNSUBSCRIBE;
    }
    if (!bounce_class_parse(returned->bounce_class, &class) ||
        !bounce_disposition_parse(returned->disposition, &disposition)) {
        return SUPPRESS_CAUSE_NONE;
    }
    return cause_of_class(class, disposition);
}

static enum suppress_cause cause_of(const struct event *event)
{
    switch (event->type) {
    case EVENT_BOUNCED: return cause_of_attempt(&event->attempt);
    case EVENT_EXPIRED: return cause_of_expiry(event->attempt.text);
    case EVENT_BOUNCED_LATE:
    case EVENT_COMPLAINT:
    case EVENT_UNSUBSCRIBED: return cause_of_returned(event);
    case EVENT_NONE:
    case EVENT_RECEIVED:
    case EVENT_ATTEMPT:
    case EVENT_DELIVERED:
    case EVENT_DEFERRED:
    case EVENT_DROPPED:
    case EVENT_UNCERTAIN:
    case EVENT_ADMIN:
    case EVENT_AUTO_REPLY:
    case EVENT_RETURNED:
    case EVENT_USAGE:
    case EVENT_POSTPONED: break;
    }
    return SUPPRESS_CAUSE_NONE;
}

static enum config_reach reach_of(const struct suppress_fact *fact)
{
    switch (fact->cause) {
    case SUPPRESS_CAUSE_COMPLAINT: return fact->policy->complaint_reach;
    case SUPPRESS_CAUSE_UNSUBSCRIBE: return fact->policy->unsubscribe_reach;
    case SUPPRESS_CAUSE_NONE:
    case SUPPRESS_CAUSE_HARD:
    case SUPPRESS_CAUSE_STRIKE:
    case SUPPRESS_CAUSE_FULL: break;
    }
    return fact->policy->hard_reach;
}

static void set_key(struct suppress_fact *fact, const struct event *event)
{
    fact->key.tenant = event->tenant;
    fact->key.list = SLICE_NULL;
    switch (reach_of(fact)) {
    case CONFIG_REACH_LIST: /* of what came back only */
        if (suppress_list_valid(event->returned.list)) {
            fact->key.list = event->returned.list;
        }
        break;
    case CONFIG_REACH_TENANT: break;
    case CONFIG_REACH_GLOBAL: fact->key.tenant = SLICE_NULL; break;
    }
}

bool suppress_fact_read(const struct event *event, const struct config *config,
                        struct suppress_fact *fact)
{
    bool attempted = event->type == EVENT_BOUNCED || event->type == EVENT_EXPIRED;
    fact->cause = cause_of(event);
    if (fact->cause == SUPPRESS_CAUSE_NONE || event->tenant.len == 0 ||
        !suppress_tenant_valid(event->tenant) || event->event_id.len == 0 || event->time_ms <= 0 ||
        !suppress_address_fold(event->recipient, fact->address_room, &fact->key.address, NULL)) {
        return false;
    }
    fact->policy = config_suppression_for(config, event->tenant);
    set_key(fact, event);
    fact->time_ms = event->time_ms;
    fact->event = hash_stable(event->event_id);
    fact->event_id = event->event_id;
    fact->message_id = event->message_id;
    fact->campaign = event->campaign;
    fact->bounce_class = attempted ? event->attempt.bounce_class : event->returned.bounce_class;
    fact->note = attempted ? event->attempt.text : event->returned.text;
    return true;
}

/* ---- what becomes of the entry ---- */

bool suppress_in_force(const struct suppression *entry, int64_t now_ms)
{
    return entry->reason != SUPPRESSION_NONE &&
           (entry->expires_ms == 0 || entry->expires_ms > now_ms);
}

static bool suppress(const struct suppress_fact *fact, struct suppression *entry, int reason,
                     int64_t decay_ms)
{
    int64_t expires_ms = decay_ms == 0 ? 0 : fact->time_ms + decay_ms;
    bool later = entry->expires_ms != 0 && (expires_ms == 0 || expires_ms > entry->expires_ms);
    if (entry->reason != SUPPRESSION_NONE && !later) {
        return false;
    }
    *entry = (struct suppression){
        .reason = reason,
        .time_ms = fact->time_ms,
        .expires_ms = expires_ms,
        .bounce_class = fact->bounce_class,
        .event_id = fact->event_id,
        .message_id = fact->message_id,
        .campaign = fact->campaign,
        .note = fact->note,
        .removed_ms = entry->removed_ms,
    };
    return true;
}

/* Those that are out of the window go; the new one takes its place by time. False: it is one of
 * them, or too old. */
static bool add_strike(const struct suppress_fact *fact, struct suppression *entry)
{
    struct suppression_strike *strikes = entry->strikes;
    int64_t within_ms = fact->policy->repeated_within_ms;
    int64_t youngest = fact->time_ms;
    size_t kept = 0;
    for (size_t i = 0; i < entry->strike_count; i++) {
        if (strikes[i].event == fact->event) {
            return false;
        }
        youngest = strikes[i].time_ms > youngest ? strikes[i].time_ms : youngest;
    }
    if (fact->time_ms <= youngest - within_ms) {
        return false;
    }
    for (size_t i = 0; i < entry->strike_count; i++) {
        if (strikes[i].time_ms > youngest - within_ms) {
            strikes[kept++] = strikes[i];
        }
    }
    if (kept == SUPPRESSION_STRIKES_MAX) { /* the count was lowered in the configuration */
        memmove(&strikes[0], &strikes[1], --kept * sizeof(strikes[0]));
    }
    size_t at = kept;
    while (at > 0 && strikes[at - 1].time_ms > fact->time_ms) {
        strikes[at] = strikes[at - 1];
        at--;
    }
    strikes[at] = (struct suppression_strike){fact->time_ms, fact->event};
    entry->strike_count = kept + 1;
    return true;
}

static bool strike(const struct suppress_fact *fact, struct suppression *entry)
{
    const struct config_suppression *policy = fact->policy;
    if (policy->repeated_count == 0 || !add_strike(fact, entry)) {
        return false;
    }
    if (entry->strike_count >= policy->repeated_count) {
        (void)suppress(fact, entry, SUPPRESSION_REPEATED, policy->repeated_decay_ms);
    }
    return true;
}

/* A series ends when nothing was heard of it for as long as it has to last. */
static bool full(const struct suppress_fact *fact, struct suppression *entry)
{
    const struct config_suppression *policy = fact->policy;
    int64_t after_ms = policy->mailbox_full_after_ms;
    int64_t first = entry->full_first_ms;
    int64_t last = entry->full_last_ms;
    if (after_ms == 0 || (first != 0 && fact->time_ms < first - after_ms)) {
        return false;
    }
    if (first == 0 || fact->time_ms > last + after_ms) {
        first = last = fact->time_ms;
    }
    first = fact->time_ms < first ? fact->time_ms : first;
    last = fact->time_ms > last ? fact->time_ms : last;
    if (first == entry->full_first_ms && last == entry->full_last_ms) {
        return false;
    }
    entry->full_first_ms = first;
    entry->full_last_ms = last;
    if (last - first >= after_ms) {
        (void)suppress(fact, entry, SUPPRESSION_MAILBOX_FULL, policy->mailbox_full_decay_ms);
    }
    return true;
}

bool suppress_apply(const struct suppress_fact *fact, struct suppression *entry)
{
    const struct config_suppression *policy = fact->policy;
    bool counts = fact->cause == SUPPRESS_CAUSE_STRIKE || fact->cause == SUPPRESS_CAUSE_FULL;
    if (fact->time_ms <= entry->removed_ms) {
        return false;
    }
    /* What led to an entry, or came while it was in force, does not count after it. */
    if (counts && entry->reason != SUPPRESSION_NONE &&
        (fact->time_ms <= entry->time_ms || suppress_in_force(entry, fact->time_ms))) {
        return false;
    }
    switch (fact->cause) {
    case SUPPRESS_CAUSE_HARD: return suppress(fact, entry, SUPPRESSION_HARD, policy->hard_decay_ms);
    case SUPPRESS_CAUSE_COMPLAINT:
        return suppress(fact, entry, SUPPRESSION_COMPLAINT, policy->complaint_decay_ms);
    case SUPPRESS_CAUSE_UNSUBSCRIBE:
        return suppress(fact, entry, SUPPRESSION_UNSUBSCRIBED, policy->unsubscribe_decay_ms);
    case SUPPRESS_CAUSE_STRIKE: return strike(fact, entry);
    case SUPPRESS_CAUSE_FULL: return full(fact, entry);
    case SUPPRESS_CAUSE_NONE: break;
    }
    return false;
}

bool suppress_is_spent(const struct suppression *entry, const struct config_suppression *policy,
                       int64_t now_ms, int64_t kept_ms)
{
    int64_t strike_ms =
        entry->strike_count > 0 ? entry->strikes[entry->strike_count - 1].time_ms : 0;
    return !suppress_in_force(entry, now_ms) && entry->removed_ms + kept_ms <= now_ms &&
           strike_ms + policy->repeated_within_ms <= now_ms &&
           entry->full_last_ms + policy->mailbox_full_after_ms <= now_ms;
}

struct suppress_mark suppress_mark_of(const struct suppression *entry)
{
    bool known = entry->reason >= 0 && entry->reason <= UINT8_MAX;
    return (struct suppress_mark){.reason = known ? (uint8_t)entry->reason : UINT8_MAX,
                                  .until_day = suppress_until_day(entry->expires_ms)};
}

uint16_t suppress_until_day(int64_t expires_ms)
{
    int64_t day = (expires_ms + SUPPRESS_DAY_MS - 1) / SUPPRESS_DAY_MS;
    return expires_ms <= 0 || day > UINT16_MAX ? 0 : (uint16_t)day;
}

uint16_t suppress_today(int64_t now_ms)
{
    int64_t day = now_ms / SUPPRESS_DAY_MS;
    return day < 0 || day > UINT16_MAX ? UINT16_MAX : (uint16_t)day;
}

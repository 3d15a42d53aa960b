/*
 * Failures counted by what they have in common: site, class, cause, tenant, campaign, VIP or
 * provider; and within each by cause. Equal causes have equal cause keys (docs/bounces.md), so a
 * million different texts are a few rows. An event that comes twice (same id) counts once.
 *
 * Memory is bounded: when there are too many groups or causes, what is new is counted under
 * TALLY_OTHERS. One thread.
 */
#ifndef SLUICE_OPS_TALLY_TALLY_H
#define SLUICE_OPS_TALLY_TALLY_H

#include "classify/class.h"
#include "schema/event.h"
#include "smtp/outcome.h"

#define TALLY_GROUPS_MAX 20000
#define TALLY_CAUSES_MAX 200000     /* of all groups together */
#define TALLY_EVENTS_MAX (4u << 20) /* whose ids are remembered; later ones are not compared */
#define TALLY_NAME_MAX 256          /* bytes of a group's name; longer ones are cut */
#define TALLY_EXAMPLE_MAX 600       /* bytes of an example's text */
#define TALLY_OTHERS "(others)"
#define TALLY_NONE "(none)" /* the event does not say */

enum tally_by {
    TALLY_BY_SITE,
    TALLY_BY_CLASS,
    TALLY_BY_CAUSE,
    TALLY_BY_TENANT,
    TALLY_BY_CAMPAIGN,
    TALLY_BY_VIP,
    TALLY_BY_PROVIDER,
    TALLY_BY_COUNT,
};
/* "site" … */
const char *tally_by_name(enum tally_by by);
bool tally_by_parse(struct slice name, enum tally_by *by);

/* Whose names classes have. */
enum tally_view { TALLY_VIEW_SLUICE, TALLY_VIEW_POWERMTA, TALLY_VIEW_MOMENTUM };
bool tally_view_parse(struct slice name, enum tally_view *view);

/* One of the texts of a cause, with what is needed to see what changes in it. */
struct tally_example {
    uint16_t code;
    struct smtp_enhanced enhanced;
    enum smtp_phase phase;
    struct slice text, recipient, sender;
};

struct tally_cause {
    uint64_t count;
    char key[17]; /* empty: events of before there were keys, or the others */
    const char *class_name;
    const char *disposition;
    struct tally_example example; /* of the first event */
};

struct tally_group {
    uint64_t count;
    uint64_t of[BOUNCE_DISPOSITION_COUNT];
    struct slice name;
    struct tally_cause *const *causes; /* most frequent first; valid once sorted */
    size_t cause_count;
};

struct tally;
struct tally *tally_create(enum tally_by by, enum tally_view view);
void tally_free(struct tally **tally);

/* Counts a failure: types DEFERRED, BOUNCED, EXPIRED, BOUNCED_LATE. What has come before (same
 * event id) is not counted again. */
void tally_add(struct tally *tally, const struct event *event);

/* The groups, most frequent first, their causes likewise; valid until the next call. */
const struct tally_group *const *tally_sorted(struct tally *tally, size_t *count);
uint64_t tally_total(const struct tally *tally);
size_t tally_cause_total(const struct tally *tally);

/* Class of a failure, in Sluice's own words; empty: none. */
struct slice tally_class_of(const struct event *event);

#endif

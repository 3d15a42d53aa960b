#include "ops/tally/tally.h"

#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"

#include <stdlib.h>

#define TALLY_MAGIC 0x54414c59u
#define SEEN_FIRST 4096

/* A group as it is kept; `shown` first, so that one is the other. */
struct group {
    struct tally_group shown;
    struct map causes; /* by key and class */
    struct tally_cause **list;
    char name[TALLY_NAME_MAX];
};

struct cause {
    struct tally_cause shown;
    char id[64]; /* key and class: rules may have changed in between */
    char class_name[40];
    char disposition[24];
    char *texts; /* of the example */
};

struct tally {
    uint32_t magic;
    enum tally_by by;
    enum tally_view view;
    struct map groups;
    const struct tally_group **list;
    size_t cause_count;
    uint64_t total;
    uint64_t *seen; /* open addressing; 0: free */
    size_t seen_capacity, seen_count;
};

/* What both kinds of failure say. */
struct failure {
    struct slice class_name, disposition, key, provider, enhanced, text;
    uint32_t code;
    int phase;
};

static const char *const by_names[TALLY_BY_COUNT] = {
    [TALLY_BY_SITE] = "site",         [TALLY_BY_CLASS] = "class",       [TALLY_BY_CAUSE] = "cause",
    [TALLY_BY_TENANT] = "tenant",     [TALLY_BY_CAMPAIGN] = "campaign", [TALLY_BY_VIP] = "vip",
    [TALLY_BY_PROVIDER] = "provider",
};

const char *tally_by_name(enum tally_by by)
{
    return by_names[by];
}

bool tally_by_parse(struct slice name, enum tally_by *by)
{
    for (unsigned i = 0; i < TALLY_BY_COUNT; i++) {
        if (slice_eq(name, slice_cstr(by_names[i]))) {
            *by = (enum tally_by)i;
            return true;
        }
    }
    return false;
}

bool tally_view_parse(struct slice name, enum tally_view *view)
{
    static const char *const names[] = {"sluice", "powermta", "momentum"};
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_eq(name, slice_cstr(names[i]))) {
            *view = (enum tally_view)i;
            return true;
        }
    }
    return false;
}

struct tally *tally_create(enum tally_by by, enum tally_view view)
{
    struct tally *tally = mem_zalloc(sizeof(*tally));
    tally->magic = TALLY_MAGIC;
    tally->by = by;
    tally->view = view;
    map_init(&tally->groups);
    return tally;
}

static void group_free(struct group *group)
{
    size_t cursor = 0;
    struct cause *cause;
    while ((cause = map_next(&group->causes, &cursor)) != NULL) {
        mem_free(cause->texts);
        mem_free(cause);
    }
    map_free(&group->causes);
    mem_free(group->list);
    mem_free(group);
}

void tally_free(struct tally **handle)
{
    struct tally *tally = *handle;
    struct group *group;
    size_t cursor = 0;
    if (tally == NULL) {
        return;
    }
    CHECK_MAGIC(tally, TALLY_MAGIC);
    while ((group = map_next(&tally->groups, &cursor)) != NULL) {
        group_free(group);
    }
    map_free(&tally->groups);
    mem_free(tally->list);
    mem_free(tally->seen);
    tally->magic = 0;
    mem_free(tally);
    *handle = NULL;
}

/* ---- events that come twice ---- */

static bool seen_put(uint64_t *table, size_t capacity, uint64_t value)
{
    size_t at = (size_t)value & (capacity - 1);
    while (table[at] != 0) {
        if (table[at] == value) {
            return false;
        }
        at = (at + 1) & (capacity - 1);
    }
    table[at] = value;
    return true;
}

static void seen_grow(struct tally *tally)
{
    size_t capacity = tally->seen_capacity == 0 ? SEEN_FIRST : tally->seen_capacity * 2;
    uint64_t *fresh = mem_calloc(capacity, sizeof(*fresh));
    for (size_t i = 0; i < tally->seen_capacity; i++) {
        if (tally->seen[i] != 0) {
            (void)seen_put(fresh, capacity, tally->seen[i]);
        }
    }
    mem_free(tally->seen);
    tally->seen = fresh;
    tally->seen_capacity = capacity;
}

static bool is_new(struct tally *tally, struct slice event_id)
{
    uint64_t hash = hash_slice(event_id) | 1;
    if (event_id.len == 0 || tally->seen_count >= TALLY_EVENTS_MAX) {
        return true;
    }
    if (tally->seen_count * 2 >= tally->seen_capacity) {
        seen_grow(tally);
    }
    bool fresh = seen_put(tally->seen, tally->seen_capacity, hash);
    tally->seen_count += fresh;
    return fresh;
}

/* ---- counting ---- */

static struct failure failure_of(const struct event *event)
{
    const struct event_attempt *attempt = &event->attempt;
    const struct event_returned *returned = &event->returned;
    if (event->type == EVENT_BOUNCED_LATE) {
        return (struct failure){
            .class_name = returned->bounce_class,
            .disposition = returned->disposition,
            .key = returned->cause_key,
            .provider = returned->provider,
            .enhanced = returned->enhanced,
            .text = returned->text,
            .code = returned->code,
        };
    }
    return (struct failure){
        .class_name = attempt->bounce_class,
        .disposition = attempt->disposition,
        .key = attempt->cause_key,
        .provider = attempt->provider,
        .enhanced = attempt->enhanced,
        .text = attempt->text,
        .code = attempt->code,
        .phase = attempt->phase,
    };
}

struct slice tally_class_of(const struct event *event)
{
    return failure_of(event).class_name;
}

/* In the words of the view; a class that we do not know keeps its name. */
static struct slice class_name(enum tally_view view, struct slice name, char number[8])
{
    enum bounce_class class;
    if (view == TALLY_VIEW_SLUICE || !bounce_class_parse(name, &class)) {
        return name;
    }
    if (view == TALLY_VIEW_POWERMTA) {
        return slice_cstr(bounce_class_powermta(class));
    }
    (void)snprintf(number, 8, "%u", bounce_class_momentum(class));
    return slice_cstr(number);
}

static struct slice group_name(const struct tally *tally, const struct event *event,
                               const struct failure *failure, struct slice class)
{
    struct slice name = SLICE_NULL;
    switch (tally->by) {
    case TALLY_BY_SITE: name = event->site; break;
    case TALLY_BY_CLASS: name = class; break;
    case TALLY_BY_CAUSE: name = failure->key; break;
    case TALLY_BY_TENANT: name = event->tenant; break;
    case TALLY_BY_CAMPAIGN: name = event->campaign; break;
    case TALLY_BY_VIP: name = event->vip; break;
    case TALLY_BY_PROVIDER: name = failure->provider; break;
    case TALLY_BY_COUNT: break;
    }
    return name.len > 0 ? slice_head(name, TALLY_NAME_MAX) : SLICE(TALLY_NONE);
}

static struct group *group_for(struct tally *tally, struct slice name)
{
    struct group *group = map_get(&tally->groups, name);
    if (group == NULL && tally->groups.count >= TALLY_GROUPS_MAX) {
        name = SLICE(TALLY_OTHERS);
        group = map_get(&tally->groups, name);
    }
    if (group == NULL) {
        group = mem_zalloc(sizeof(*group));
        memcpy(group->name, name.ptr, name.len);
        group->shown.name = slice_of(group->name, name.len);
        map_init(&group->causes);
        map_put(&tally->groups, group->shown.name, group);
    }
    return group;
}

static struct slice put_text(char **at, struct slice text)
{
    struct slice copy = slice_of(*at, text.len);
    memcpy(*at, text.ptr == NULL ? "" : text.ptr, text.len);
    *at += text.len;
    return copy;
}

static void keep_example(struct cause *cause, const struct event *event,
                         const struct failure *failure)
{
    struct tally_example *example = &cause->shown.example;
    struct slice text = slice_head(failure->text, TALLY_EXAMPLE_MAX);
    struct slice recipient = slice_head(event->recipient, TALLY_NAME_MAX);
    struct slice sender = slice_head(event->mail_from, TALLY_NAME_MAX);
    struct slice enhanced = failure->enhanced;
    char *at = mem_zalloc(text.len + recipient.len + sender.len + 1);
    cause->texts = at;
    example->code = (uint16_t)failure->code;
    example->phase = (enum smtp_phase)failure->phase;
    (void)smtp_enhanced_take(&enhanced, &example->enhanced);
    example->text = put_text(&at, text);
    example->recipient = put_text(&at, recipient);
    example->sender = put_text(&at, sender);
}

static struct cause *cause_for(struct tally *tally, struct group *group, const struct event *event,
                               const struct failure *failure, struct slice class)
{
    char id[sizeof(((struct cause *)NULL)->id)];
    int len = snprintf(id, sizeof(id), "%.*s %.*s", SLICE_FMT(slice_head(failure->key, 16)),
                       SLICE_FMT(slice_head(class, 39)));
    bool full = tally->cause_count >= TALLY_CAUSES_MAX;
    struct cause *cause = map_get(&group->causes, slice_of(id, (size_t)len));
    if (cause == NULL && full) {
        len = snprintf(id, sizeof(id), "%s", TALLY_OTHERS);
        cause = map_get(&group->causes, slice_of(id, (size_t)len));
    }
    if (cause != NULL) {
        return cause;
    }
    cause = mem_zalloc(sizeof(*cause));
    memcpy(cause->id, id, (size_t)len + 1);
    cause->shown.class_name = cause->class_name;
    cause->shown.disposition = cause->disposition;
    if (full) {
        (void)snprintf(cause->class_name, sizeof(cause->class_name), "%s", TALLY_OTHERS);
    } else {
        (void)snprintf(cause->shown.key, sizeof(cause->shown.key), "%.*s", SLICE_FMT(failure->key));
        (void)snprintf(cause->class_name, sizeof(cause->class_name), "%.*s", SLICE_FMT(class));
        (void)snprintf(cause->disposition, sizeof(cause->disposition), "%.*s",
                       SLICE_FMT(failure->disposition));
        keep_example(cause, event, failure);
        tally->cause_count++;
    }
    map_put(&group->causes, slice_of(cause->id, (size_t)len), cause);
    return cause;
}

void tally_add(struct tally *tally, const struct event *event)
{
    char number[8];
    CHECK_MAGIC(tally, TALLY_MAGIC);
    if (!is_new(tally, event->event_id)) {
        return;
    }
    const struct failure failure = failure_of(event);
    struct slice class = class_name(tally->view, failure.class_name, number);
    struct group *group = group_for(tally, group_name(tally, event, &failure, class));
    enum bounce_disposition disposition;
    if (!bounce_disposition_parse(failure.disposition, &disposition)) {
        disposition = BOUNCE_DO_NONE;
    }
    tally->total++;
    group->shown.count++;
    group->shown.of[disposition]++;
    cause_for(tally, group, event, &failure, class)->shown.count++;
}

/* ---- the answer ---- */

static int by_count(uint64_t a, uint64_t b)
{
    return a < b ? 1 : a > b ? -1 : 0;
}

static int compare_groups(const void *a, const void *b)
{
    const struct tally_group *const *x = a;
    const struct tally_group *const *y = b;
    int order = by_count((*x)->count, (*y)->count);
    size_t common = (*x)->name.len < (*y)->name.len ? (*x)->name.len : (*y)->name.len;
    order = order != 0 ? order : memcmp((*x)->name.ptr, (*y)->name.ptr, common);
    return order != 0 ? order : by_count((*y)->name.len, (*x)->name.len);
}

static int compare_causes(const void *a, const void *b)
{
    const struct tally_cause *const *x = a;
    const struct tally_cause *const *y = b;
    int order = by_count((*x)->count, (*y)->count);
    return order != 0 ? order : strcmp((*x)->key, (*y)->key);
}

static void sort_causes(struct group *group)
{
    struct cause *cause;
    size_t cursor = 0;
    size_t count = 0;
    mem_free(group->list);
    group->list = mem_calloc(group->causes.count + 1, sizeof(struct tally_cause *));
    while ((cause = map_next(&group->causes, &cursor)) != NULL) {
        group->list[count++] = &cause->shown;
    }
    qsort(group->list, count, sizeof(struct tally_cause *), compare_causes);
    group->shown.causes = group->list;
    group->shown.cause_count = count;
}

const struct tally_group *const *tally_sorted(struct tally *tally, size_t *count)
{
    struct group *group;
    size_t cursor = 0;
    CHECK_MAGIC(tally, TALLY_MAGIC);
    mem_free(tally->list);
    tally->list = mem_calloc(tally->groups.count + 1, sizeof(struct tally_group *));
    *count = 0;
    while ((group = map_next(&tally->groups, &cursor)) != NULL) {
        sort_causes(group);
        tally->list[(*count)++] = &group->shown;
    }
    qsort(tally->list, *count, sizeof(struct tally_group *), compare_groups);
    return tally->list;
}

uint64_t tally_total(const struct tally *tally)
{
    CHECK_MAGIC(tally, TALLY_MAGIC);
    return tally->total;
}

size_t tally_cause_total(const struct tally *tally)
{
    CHECK_MAGIC(tally, TALLY_MAGIC);
    return tally->cause_count;
}

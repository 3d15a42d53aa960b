/*
 * Recipients by domain: a map from domain to its open group; each group is a chain of recipients in
 * the order in which they were given, and at the end all are laid out one behind the other.
 */
#include "sluice/sluice_private.h"

#include "base/map.h"
#include "base/mem.h"
#include "smtp/address.h"

#define GROUPS_MAGIC 0x67727073u
#define NO_INDEX SIZE_MAX

struct group {
    size_t first, last; /* chain of indexes by next[] */
    size_t count;
    size_t start; /* in the laid out array */
};

struct sluice_groups {
    uint32_t magic;
    struct group *items;
    size_t count;
    struct sluice_recipient *recipients; /* laid out by group */
    size_t *indexes;
};

struct grouping {
    struct sluice_groups *groups;
    struct map open; /* domain -> struct open_group */
    size_t *next;    /* by recipient */
    size_t most;
};

/* The group of a domain that still has room. */
struct open_group {
    size_t index; /* in groups->items */
    char name[SMTP_DOMAIN_MAX + 1];
};

static size_t group_add(struct sluice_groups *groups)
{
    groups->items[groups->count] = (struct group){.first = NO_INDEX, .last = NO_INDEX};
    return groups->count++;
}

static bool place(struct grouping *grouping, size_t index, const char *address, struct fault *fault)
{
    struct smtp_address parsed;
    char name[SMTP_DOMAIN_MAX + 1];
    struct slice text = slice_cstr(address);
    if (text.len == 0) {
        return fault_set(fault, FAULT_INVALID, 0, "address: missing");
    }
    if (!smtp_address_parse(text, &parsed, fault) ||
        !smtp_domain_normalise(parsed.domain, name, fault)) {
        return fault_prefix(fault, "address");
    }
    struct open_group *open = map_get(&grouping->open, slice_cstr(name));
    if (open == NULL) {
        open = mem_zalloc(sizeof(*open));
        memcpy(open->name, name, sizeof(name));
        open->index = group_add(grouping->groups);
        map_put(&grouping->open, slice_cstr(open->name), open);
    } else if (grouping->groups->items[open->index].count == grouping->most) {
        open->index = group_add(grouping->groups);
    }
    struct group *group = &grouping->groups->items[open->index];
    if (group->first == NO_INDEX) {
        group->first = index;
    } else {
        grouping->next[group->last] = index;
    }
    group->last = index;
    group->count++;
    return true;
}

static void lay_out(struct grouping *grouping, const struct sluice_recipient *recipients)
{
    struct sluice_groups *groups = grouping->groups;
    size_t at = 0;
    for (size_t i = 0; i < groups->count; i++) {
        struct group *group = &groups->items[i];
        group->start = at;
        for (size_t n = group->first; n != NO_INDEX; n = grouping->next[n]) {
            groups->recipients[at] = recipients[n];
            groups->indexes[at++] = n;
        }
    }
}

static void free_open(struct map *open)
{
    size_t cursor = 0;
    for (void *value; (value = map_next(open, &cursor)) != NULL;) {
        mem_free(value);
    }
    map_free(open);
}

/* Arrays for `count` recipients; false: no memory. */
static bool groups_room(struct grouping *grouping, size_t count)
{
    struct sluice_groups *groups = grouping->groups;
    if (count >= SIZE_MAX / sizeof(*groups->items) - 1) {
        return false;
    }
    groups->items = mem_try_alloc((count + 1) * sizeof(*groups->items));
    groups->recipients = mem_try_alloc((count + 1) * sizeof(*groups->recipients));
    groups->indexes = mem_try_alloc((count + 1) * sizeof(*groups->indexes));
    grouping->next = mem_try_alloc((count + 1) * sizeof(*grouping->next));
    return groups->items != NULL && groups->recipients != NULL && groups->indexes != NULL &&
           grouping->next != NULL;
}

struct sluice_groups *sluice_group(const struct sluice_recipient *recipients, size_t count,
                                   size_t most, sluice_refused refused, void *opaque)
{
    if (most == 0 || most > MESSAGE_RECIPIENTS_MAX) {
        return NULL;
    }
    struct grouping grouping = {.groups = mem_zalloc(sizeof(*grouping.groups)), .most = most};
    grouping.groups->magic = GROUPS_MAGIC;
    map_init(&grouping.open);
    if (!groups_room(&grouping, count)) {
        sluice_groups_free(&grouping.groups);
        mem_free(grouping.next);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        struct fault fault = {0};
        grouping.next[i] = NO_INDEX;
        if (!place(&grouping, i, recipients[i].address, &fault) && refused != NULL) {
            struct sluice_error error;
            (void)error_from_fault(&error, &fault);
            refused(opaque, i, &error);
        }
    }
    lay_out(&grouping, recipients);
    free_open(&grouping.open);
    mem_free(grouping.next);
    return grouping.groups;
}

size_t sluice_groups_count(const struct sluice_groups *groups)
{
    CHECK_MAGIC(groups, GROUPS_MAGIC);
    return groups->count;
}

const struct sluice_recipient *sluice_groups_get(const struct sluice_groups *groups, size_t group,
                                                 size_t *count, const size_t **indexes)
{
    CHECK_MAGIC(groups, GROUPS_MAGIC);
    CHECK(group < groups->count);
    const struct group *item = &groups->items[group];
    *count = item->count;
    if (indexes != NULL) {
        *indexes = groups->indexes + item->start;
    }
    return groups->recipients + item->start;
}

void sluice_groups_free(struct sluice_groups **handle)
{
    struct sluice_groups *groups = *handle;
    if (groups == NULL) {
        return;
    }
    CHECK_MAGIC(groups, GROUPS_MAGIC);
    mem_free(groups->items);
    mem_free(groups->recipients);
    mem_free(groups->indexes);
    groups->magic = 0;
    mem_free(groups);
    *handle = NULL;
}

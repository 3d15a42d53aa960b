#include "producer/group.h"

#define FIRST_CAPACITY 4

void groups_init(struct groups *groups, struct arena *arena, size_t most)
{
    CHECK(most > 0);
    *groups = (struct groups){.arena = arena, .most = most};
    map_init(&groups->open);
}

void groups_end(struct groups *groups)
{
    map_free(&groups->open);
}

/* An array of twice the size; NULL: no room. */
static void *grow(struct arena *arena, const void *old, size_t count, size_t *capacity, size_t size)
{
    size_t more = *capacity == 0 ? FIRST_CAPACITY : *capacity * 2;
    void *fresh = arena_try_alloc(arena, more * size);
    if (fresh == NULL) {
        return NULL;
    }
    if (count > 0) {
        memcpy(fresh, old, count * size);
    }
    *capacity = more;
    return fresh;
}

static struct group *open_group(struct groups *groups, struct slice domain)
{
    if (groups->count == groups->capacity) {
        void *items = grow(groups->arena, groups->items, groups->count, &groups->capacity,
                           sizeof(struct group *));
        if (items == NULL) {
            return NULL;
        }
        groups->items = items;
    }
    struct group *group = arena_try_alloc(groups->arena, sizeof(*group));
    struct slice name = arena_copy(groups->arena, domain);
    if (group == NULL || name.ptr == NULL) {
        return NULL;
    }
    *group = (struct group){.domain = name};
    group->items = grow(groups->arena, NULL, 0, &group->capacity, sizeof(*group->items));
    if (group->items == NULL) {
        return NULL;
    }
    map_remove(&groups->open, name);
    map_put(&groups->open, group->domain, group);
    groups->items[groups->count++] = group;
    return group;
}

static bool copy_text(struct arena *arena, struct slice *text)
{
    if (text->len == 0) {
        return true;
    }
    *text = arena_copy(arena, *text);
    return text->ptr != NULL;
}

bool groups_add(struct groups *groups, struct slice domain,
                const struct message_recipient *recipient)
{
    struct message_recipient copy = *recipient;
    if (!copy_text(groups->arena, &copy.address) || !copy_text(groups->arena, &copy.dsn_notify) ||
        !copy_text(groups->arena, &copy.dsn_orcpt)) {
        return false;
    }
    struct group *group = map_get(&groups->open, domain);
    if (group == NULL || group->count == groups->most) {
        group = open_group(groups, domain);
        if (group == NULL) {
            return false;
        }
    }
    if (group->count == group->capacity) {
        void *items = grow(groups->arena, group->items, group->count, &group->capacity,
                           sizeof(struct message_recipient));
        if (items == NULL) {
            return false;
        }
        group->items = items;
    }
    group->items[group->count++] = copy;
    groups->recipients++;
    return true;
}

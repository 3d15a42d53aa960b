#include "base/clock.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/tls_private.h"

struct session_entry {
    struct list node;
    SSL_SESSION *session;
    size_t key_len;
    char key[];
};

struct tls_sessions {
    size_t max;
    struct map by_key;
    struct list by_use; /* the last used first */
};

struct tls_sessions *tls_sessions_create(size_t max)
{
    struct tls_sessions *sessions = mem_zalloc(sizeof(*sessions));
    CHECK(max > 0);
    sessions->max = max;
    map_init(&sessions->by_key);
    list_init(&sessions->by_use);
    return sessions;
}

static void entry_drop(struct tls_sessions *sessions, struct session_entry *entry)
{
    CHECK(map_remove(&sessions->by_key, slice_of(entry->key, entry->key_len)) == entry);
    list_remove(&entry->node);
    SSL_SESSION_free(entry->session);
    mem_free(entry);
}

void tls_sessions_free(struct tls_sessions **handle)
{
    struct tls_sessions *sessions = *handle;
    if (sessions == NULL) {
        return;
    }
    list_foreach_safe (node, after, &sessions->by_use) {
        entry_drop(sessions, CONTAINER_OF(node, struct session_entry, node));
    }
    map_free(&sessions->by_key);
    mem_free(sessions);
    *handle = NULL;
}

void tls_sessions_put(struct tls_sessions *sessions, struct slice key, SSL_SESSION *session)
{
    struct session_entry *entry = map_get(&sessions->by_key, key);
    if (entry != NULL) {
        SSL_SESSION_free(entry->session);
        entry->session = session;
        list_remove(&entry->node);
        list_push_front(&sessions->by_use, &entry->node);
        return;
    }
    if (sessions->by_key.count >= sessions->max) {
        entry_drop(sessions, CONTAINER_OF(sessions->by_use.prev, struct session_entry, node));
    }
    entry = mem_zalloc(sizeof(*entry) + key.len);
    entry->session = session;
    entry->key_len = key.len;
    memcpy(entry->key, key.ptr, key.len);
    map_put(&sessions->by_key, slice_of(entry->key, entry->key_len), entry);
    list_push_front(&sessions->by_use, &entry->node);
}

SSL_SESSION *tls_sessions_get(struct tls_sessions *sessions, struct slice key)
{
    struct session_entry *entry = map_get(&sessions->by_key, key);
    if (entry == NULL) {
        return NULL;
    }
    int64_t ends_s = (int64_t)SSL_SESSION_get_time(entry->session) +
                     (int64_t)SSL_SESSION_get_timeout(entry->session);
    if (!SSL_SESSION_is_resumable(entry->session) || ends_s <= wall_now().ms / 1000) {
        entry_drop(sessions, entry);
        return NULL;
    }
    list_remove(&entry->node);
    list_push_front(&sessions->by_use, &entry->node);
    return entry->session;
}

void tls_sessions_drop(struct tls_sessions *sessions, struct slice key)
{
    struct session_entry *entry = map_get(&sessions->by_key, key);
    if (entry != NULL) {
        entry_drop(sessions, entry);
    }
}

size_t tls_sessions_count(const struct tls_sessions *sessions)
{
    return sessions->by_key.count;
}

#include "io/peers.h"

#include "base/mem.h"

#include <netinet/in.h>

#define KEY_BYTES 9

struct peer {
    uint32_t count;
    char key[KEY_BYTES]; /* family, then the address or its first 64 bits */
};

void peers_init(struct peers *peers)
{
    map_init(&peers->by_address);
}

void peers_end(struct peers *peers)
{
    CHECK(peers->by_address.count == 0);
    map_free(&peers->by_address);
}

static void make_key(const struct sockaddr_storage *address, char key[KEY_BYTES])
{
    memset(key, 0, KEY_BYTES);
    if (address->ss_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof(v4));
        key[0] = 4;
        memcpy(key + 1, &v4.sin_addr, 4);
    } else if (address->ss_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof(v6));
        key[0] = 6;
        memcpy(key + 1, &v6.sin6_addr, 8);
    }
}

struct peer *peers_enter(struct peers *peers, const struct sockaddr_storage *address, uint32_t max)
{
    char key[KEY_BYTES];
    make_key(address, key);
    struct peer *peer = map_get(&peers->by_address, slice_of(key, KEY_BYTES));
    if (peer != NULL && peer->count >= max) {
        return NULL;
    }
    if (peer == NULL) {
        peer = mem_zalloc(sizeof(*peer));
        memcpy(peer->key, key, KEY_BYTES);
        map_put(&peers->by_address, slice_of(peer->key, KEY_BYTES), peer);
    }
    peer->count++;
    return peer;
}

void peers_leave(struct peers *peers, struct peer **handle)
{
    struct peer *peer = *handle;
    if (peer == NULL) {
        return;
    }
    *handle = NULL;
    CHECK(peer->count > 0);
    if (--peer->count == 0) {
        CHECK(map_remove(&peers->by_address, slice_of(peer->key, KEY_BYTES)) == peer);
        mem_free(peer);
    }
}

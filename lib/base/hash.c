#include "base/hash.h"

#include <pthread.h>
#include <sys/random.h>

static uint64_t process_key[2];
static pthread_once_t process_key_once = PTHREAD_ONCE_INIT;

static void draw_process_key(void)
{
    CHECK(getrandom(process_key, sizeof(process_key), 0) == (ssize_t)sizeof(process_key));
}

static uint64_t rotate(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

uint64_t hash_sip(struct slice s, uint64_t key0, uint64_t key1)
{
    uint64_t v[4] = {key0 ^ 0x736f6d6570736575u, key1 ^ 0x646f72616e646f6du,
                     key0 ^ 0x6c7967656e657261u, key1 ^ 0x7465646279746573u};
    size_t whole = s.len / 8;
    uint64_t word;
    for (size_t i = 0; i < whole; i++) {
        memcpy(&word, s.ptr + i * 8, 8);
        v[3] ^= word;
        sip_round(v);
        sip_round(v);
        v[0] ^= word;
    }
    word = (uint64_t)(s.len & 0xff) << 56;
    for (size_t i = 0; i < s.len % 8; i++) {
        word |= (uint64_t)(unsigned char)s.ptr[whole * 8 + i] << (8 * i);
    }
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++) {
        sip_round(v);
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t hash_slice(struct slice s)
{
    pthread_once(&process_key_once, draw_process_key);
    return hash_sip(s, process_key[0], process_key[1]);
}

uint64_t hash_stable(struct slice s)
{
    return hash_sip(s, 0x736c756963650001u, 0x7374617274757001u);
}

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

struct sip {
    uint64_t a, b, c, d;
};

/* By value, so that it stays in registers. */
static inline struct sip sip_round(struct sip v)
{
    v.a += v.b;
    v.c += v.d;
    v.b = rotate(v.b, 13) ^ v.a;
    v.d = rotate(v.d, 16) ^ v.c;
    v.a = rotate(v.a, 32);
    v.c += v.b;
    v.a += v.d;
    v.b = rotate(v.b, 17) ^ v.c;
    v.d = rotate(v.d, 21) ^ v.a;
    v.c = rotate(v.c, 32);
    return v;
}

static inline struct sip sip_word(struct sip v, uint64_t word)
{
    v.d ^= word;
    v = sip_round(sip_round(v));
    v.a ^= word;
    return v;
}

uint64_t hash_sip(struct slice s, uint64_t key0, uint64_t key1)
{
    struct sip v = {key0 ^ 0x736f6d6570736575u, key1 ^ 0x646f72616e646f6du,
                    key0 ^ 0x6c7967656e657261u, key1 ^ 0x7465646279746573u};
    size_t whole = s.len / 8;
    uint64_t word;
    for (size_t i = 0; i < whole; i++) {
        memcpy(&word, s.ptr + i * 8, 8);
        v = sip_word(v, word);
    }
    word = (uint64_t)(s.len & 0xff) << 56;
    for (size_t i = 0; i < s.len % 8; i++) {
        word |= (uint64_t)(unsigned char)s.ptr[whole * 8 + i] << (8 * i);
    }
    v = sip_word(v, word);
    v.c ^= 0xff;
    v = sip_round(sip_round(sip_round(sip_round(v))));
    return v.a ^ v.b ^ v.c ^ v.d;
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

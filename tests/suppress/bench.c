/*
 * suppress_bench set ENTRIES: fills a set, looks up keys that are in and that are not, and prints
 * one JSON object. Nothing is asserted about time.
 */
#include "suppress/set.h"

#include "base/clock.h"

#include <inttypes.h>

#define LOOKS 4000000

static uint64_t scrambled(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* "shop//0123456789abcdef@example.com" */
static struct slice key_of(uint64_t number, char out[64])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t value = scrambled(number);
    char name[17];
    for (size_t i = 0; i < 16; i++) {
        name[i] = digits[value >> (60 - 4 * i) & 15];
    }
    name[16] = '\0';
    int len = snprintf(out, 64, "shop//%s@example.com", name);
    return slice_of(out, (size_t)len);
}

static double ns_per(struct mono_time from, uint64_t count)
{
    return (double)mono_since_us(mono_now(), from) * 1000.0 / (double)count;
}

#define BATCH 1000

/* Keys from `first` on in random order; returns how many are in. Making and hashing the key is
 * timed apart from the look. */
static uint64_t look(struct suppress_set *set, struct suppress_reader *reader, uint64_t first,
                     uint64_t range, double *hash_ns, double *look_ns)
{
    char text[64];
    uint64_t hashes[BATCH];
    struct suppress_mark mark;
    uint64_t found = 0;
    double hash_sum = 0;
    double look_sum = 0;
    for (uint64_t round = 0; round < LOOKS / BATCH; round++) {
        struct mono_time from = mono_now();
        for (uint64_t i = 0; i < BATCH; i++) {
            uint64_t number = first + scrambled((round * BATCH + i) * 2654435761u + 1) % range;
            hashes[i] = suppress_set_hash(set, key_of(number, text));
        }
        hash_sum += ns_per(from, BATCH);
        from = mono_now();
        for (uint64_t i = 0; i < BATCH; i++) {
            found += suppress_reader_look(reader, hashes[i], 20000, &mark) ? 1 : 0;
        }
        look_sum += ns_per(from, BATCH);
    }
    *hash_ns = hash_sum * BATCH / LOOKS;
    *look_ns = look_sum * BATCH / LOOKS;
    return found;
}

int main(int argc, char **argv)
{
    uint64_t entries;
    char text[64];
    double hash_ns;
    double hit_ns;
    double miss_ns;
    if (argc != 3 || strcmp(argv[1], "set") != 0 || !slice_to_u64(slice_cstr(argv[2]), &entries) ||
        entries == 0) {
        (void)fputs("usage: suppress_bench set ENTRIES\n", stderr);
        return 2;
    }
    struct suppress_set *set = suppress_set_create();
    struct suppress_reader *reader = suppress_reader_open(set);
    struct mono_time from = mono_now();
    uint64_t most_bytes = 0;
    double most_per_entry = 0;
    for (uint64_t i = 0; i < entries; i++) {
        suppress_set_put(set, suppress_set_hash(set, key_of(i, text)),
                         (struct suppress_mark){(uint8_t)(1 + i % 7), 0}, 20000);
        if (i % 4096 == 0) {
            uint64_t bytes = suppress_set_bytes(set);
            most_bytes = bytes > most_bytes ? bytes : most_bytes;
            double each = (double)bytes / (double)(i + 1);
            most_per_entry = i >= entries / 2 && each > most_per_entry ? each : most_per_entry;
        }
    }
    double put_ns = ns_per(from, entries);
    uint64_t in = look(set, reader, 0, entries, &hash_ns, &hit_ns);
    uint64_t out = look(set, reader, entries, UINT64_MAX - entries, &hash_ns, &miss_ns);
    printf("{\"entries\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"most_bytes\": %" PRIu64
           ", \"bytes_per_entry\": %.2f, \"most_bytes_per_entry\": %.2f, \"put_ns\": %.0f, "
           "\"hash_ns\": %.0f, \"look_in_ns\": %.0f, \"look_out_ns\": %.0f, \"wrong\": %" PRIu64
           "}\n",
           suppress_set_count(set), suppress_set_bytes(set), most_bytes,
           (double)suppress_set_bytes(set) / (double)suppress_set_count(set), most_per_entry,
           put_ns, hash_ns, hit_ns, miss_ns, LOOKS - in + out);
    suppress_reader_close(&reader);
    suppress_set_free(&set);
    return in == LOOKS && out == 0 ? 0 : 1;
}

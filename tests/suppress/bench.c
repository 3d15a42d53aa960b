/*
 * suppress_bench set ENTRIES: fills a set, looks up keys that are in and that are not, and prints
 * one JSON object. Nothing is asserted about time.
 */
#include "suppress/set.h"

#include "base/check.h"
#include "base/clock.h"

#include <inttypes.h>
#include <sys/mman.h>

#define LOOKS 4000000
#define LINE_WORDS 8

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
            found += suppress_reader_look(reader, &hashes[i], 1, 20000, &mark) == 0 ? 1 : 0;
        }
        look_sum += ns_per(from, BATCH);
    }
    *hash_ns = hash_sum * BATCH / LOOKS;
    *look_ns = look_sum * BATCH / LOOKS;
    return found;
}

/* As a worker asks for a recipient: three keys at once, none of them in. Returns how many are. */
static uint64_t look_at_three(struct suppress_reader *reader, double *look_ns)
{
    struct suppress_mark mark;
    uint64_t found = 0;
    struct mono_time from = mono_now();
    for (uint64_t i = 0; i < LOOKS; i++) {
        const uint64_t hashes[] = {scrambled(3 * i), scrambled(3 * i + 1), scrambled(3 * i + 2)};
        found += suppress_reader_look(reader, hashes, 3, 20000, &mark) < 3 ? 1 : 0;
    }
    *look_ns = ns_per(from, LOOKS);
    return found;
}

/* What the machine itself takes for one read at a random place of as much memory, each after the
 * one before: a key that is in costs two of them. */
static double bare_read_ns(uint64_t bytes)
{
    uint64_t lines = bytes / (LINE_WORDS * sizeof(uint64_t)) + 1;
    uint64_t *words = mmap(NULL, lines * LINE_WORDS * sizeof(uint64_t), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(words != MAP_FAILED);
    (void)madvise(words, lines * LINE_WORDS * sizeof(uint64_t), MADV_HUGEPAGE);
    for (uint64_t i = 0; i < lines; i++) {
        words[i * LINE_WORDS] = scrambled(i);
    }
    CHECK(lines > 0);
    uint64_t next = 1;
    struct mono_time from = mono_now();
    for (uint64_t i = 0; i < LOOKS; i++) {
        next = scrambled(words[next % lines * LINE_WORDS] + i);
    }
    double read_ns = ns_per(from, LOOKS);
    CHECK(next != 0); /* the reads are needed */
    CHECK(munmap(words, lines * LINE_WORDS * sizeof(uint64_t)) == 0);
    return read_ns;
}

int main(int argc, char **argv)
{
    uint64_t entries;
    char text[64];
    double hash_ns;
    double hit_ns;
    double miss_ns;
    double three_ns;
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
    uint64_t out = look(set, reader, entries, UINT64_MAX - entries, &hash_ns, &miss_ns) +
                   look_at_three(reader, &three_ns);
    double read_ns = bare_read_ns(suppress_set_bytes(set));
    printf("{\"entries\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"most_bytes\": %" PRIu64
           ", \"bytes_per_entry\": %.2f, \"most_bytes_per_entry\": %.2f, \"put_ns\": %.0f, "
           "\"hash_ns\": %.0f, \"look_in_ns\": %.0f, \"look_out_ns\": %.0f, "
           "\"look_three_ns\": %.0f, \"bare_read_ns\": %.0f, \"wrong\": %" PRIu64 "}\n",
           suppress_set_count(set), suppress_set_bytes(set), most_bytes,
           (double)suppress_set_bytes(set) / (double)suppress_set_count(set), most_per_entry,
           put_ns, hash_ns, hit_ns, miss_ns, three_ns, read_ns, LOOKS - in + out);
    suppress_reader_close(&reader);
    suppress_set_free(&set);
    return in == LOOKS && out == 0 ? 0 : 1;
}

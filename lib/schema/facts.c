#include "schema/facts.h"

#include "base/hash.h"

#include <inttypes.h>

#define RENEW_MAX_MS INT64_C(86400000)

static struct slice metadata_of(const struct event *facts, struct slice name)
{
    for (size_t i = 0; i < facts->metadata_count; i++) {
        if (slice_eq(facts->metadata[i].name, name)) {
            return facts->metadata[i].value;
        }
    }
    return SLICE_NULL;
}

struct slice facts_list(const struct event *facts)
{
    return metadata_of(facts, SLICE(FACTS_LIST));
}

int64_t facts_keep_ms(const struct event *facts)
{
    uint64_t seconds;
    bool told = slice_to_u64(metadata_of(facts, SLICE(FACTS_KEEP)), &seconds);
    return told && seconds <= UINT32_MAX ? (int64_t)seconds * 1000 : 0;
}

int64_t facts_renew_ms(int64_t keep_ms)
{
    return keep_ms / 4 < RENEW_MAX_MS ? keep_ms / 4 : RENEW_MAX_MS;
}

uint64_t facts_hash(const struct event *event)
{
    const struct slice texts[] = {event->tenant, event->campaign, event->klass,
                                  event->stream, event->vip,      facts_list(event)};
    size_t count = ARRAY_LEN(texts) - (texts[ARRAY_LEN(texts) - 1].len == 0);
    uint8_t hashes[ARRAY_LEN(texts) * 8];
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = hash_stable(texts[i]);
        for (size_t byte = 0; byte < 8; byte++) {
            hashes[i * 8 + byte] = (uint8_t)(hash >> 8 * byte);
        }
    }
    return hash_stable(slice_of(hashes, count * 8));
}

bool facts_encode(const struct event *event, int64_t keep_ms, char key[FACTS_KEY_LEN + 1],
                  struct strbuf *value)
{
    struct message_pair metadata[2];
    char keep[24];
    struct event facts = {
        .tenant = event->tenant,
        .campaign = event->campaign,
        .klass = event->klass,
        .stream = event->stream,
        .vip = event->vip,
        .metadata = metadata,
    };
    struct slice list = facts_list(event);
    if (list.len > 0) {
        metadata[facts.metadata_count++] = (struct message_pair){SLICE(FACTS_LIST), list};
    }
    if (keep_ms > 0) {
        snprintf(keep, sizeof(keep), "%" PRId64, (keep_ms + 999) / 1000);
        metadata[facts.metadata_count++] =
            (struct message_pair){SLICE(FACTS_KEEP), slice_cstr(keep)};
    }
    snprintf(key, FACTS_KEY_LEN + 1, "%016" PRIx64, facts_hash(event));
    return event_encode(&facts, value);
}

bool facts_key_read(struct slice key, uint64_t *hash)
{
    const struct slice digits = SLICE("0123456789abcdef");
    uint64_t read = 0;
    if (key.len != FACTS_KEY_LEN) {
        return false;
    }
    for (size_t i = 0; i < key.len; i++) {
        ptrdiff_t digit = slice_find_byte(digits, key.ptr[i]);
        if (digit < 0) {
            return false;
        }
        read = read << 4 | (uint64_t)digit;
    }
    *hash = read;
    return true;
}

bool facts_decode(struct slice key, struct slice value, struct arena *arena, uint64_t *hash,
                  struct event *facts)
{
    struct fault fault;
    return facts_key_read(key, hash) && event_decode(value, arena, facts, &fault) &&
           facts_hash(facts) == *hash;
}

#include "schema/facts.h"

#include "base/hash.h"

struct slice facts_list(const struct event *facts)
{
    for (size_t i = 0; i < facts->metadata_count; i++) {
        if (slice_eq(facts->metadata[i].name, SLICE(FACTS_LIST))) {
            return facts->metadata[i].value;
        }
    }
    return SLICE_NULL;
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

bool facts_encode(const struct event *event, char key[FACTS_KEY_LEN + 1], struct strbuf *value)
{
    const struct message_pair list = {SLICE(FACTS_LIST), facts_list(event)};
    const struct event facts = {
        .tenant = event->tenant,
        .campaign = event->campaign,
        .klass = event->klass,
        .stream = event->stream,
        .vip = event->vip,
        .metadata = &list,
        .metadata_count = list.value.len > 0,
    };
    snprintf(key, FACTS_KEY_LEN + 1, "%016llx", (unsigned long long)facts_hash(event));
    return event_encode(&facts, value);
}

bool facts_decode(struct slice key, struct slice value, struct arena *arena, uint64_t *hash,
                  struct event *facts)
{
    const struct slice digits = SLICE("0123456789abcdef");
    struct fault fault;
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
    return event_decode(value, arena, facts, &fault) && facts_hash(facts) == read;
}

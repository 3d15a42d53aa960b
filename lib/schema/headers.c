#include "schema/headers.h"

#include <inttypes.h>

#define INDEX_DIGITS_MAX 4
#define ORIGIN_TOPIC_MAX 249

size_t pending_count(const struct pending_set *set)
{
    size_t sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(set->words); i++) {
        sum += (size_t)__builtin_popcountll(set->words[i]);
    }
    return sum;
}

bool pending_encode(const struct pending_set *set, struct strbuf *out)
{
    const char *separator = "";
    for (size_t from = 0; from < MESSAGE_RECIPIENTS_MAX; from++) {
        if (!pending_has(set, from)) {
            continue;
        }
        size_t to = from;
        while (to + 1 < MESSAGE_RECIPIENTS_MAX && pending_has(set, to + 1)) {
            to++;
        }
        strbuf_addf(out, "%s%zu", separator, from);
        if (to > from) {
            strbuf_addf(out, "-%zu", to);
        }
        separator = ",";
        from = to;
    }
    return !out->overflow;
}

static bool read_index(struct slice text, size_t recipient_count, size_t *index)
{
    uint64_t value;
    if (text.len > INDEX_DIGITS_MAX || !slice_to_u64(text, &value) || value >= recipient_count ||
        value >= MESSAGE_RECIPIENTS_MAX) {
        return false;
    }
    *index = (size_t)value;
    return true;
}

static bool wrong(struct pending_set *set, struct fault *fault, const char *what)
{
    *set = (struct pending_set){0};
    return fault_set(fault, FAULT_INVALID, 0, HEADER_PENDING ": %s", what);
}

bool pending_decode(struct slice text, size_t recipient_count, struct pending_set *set,
                    struct fault *fault)
{
    size_t least = 0; /* that the next range may begin with */
    *set = (struct pending_set){0};
    if (text.len == 0) {
        return true;
    }
    for (struct slice rest = text; rest.ptr != NULL;) {
        struct slice last = slice_cut(&rest, ',');
        struct slice first = slice_cut(&last, '-');
        size_t from;
        size_t to;
        if (!read_index(first, recipient_count, &from)) {
            return wrong(set, fault, "not an index of a recipient");
        }
        to = from;
        if (last.ptr != NULL && !read_index(last, recipient_count, &to)) {
            return wrong(set, fault, "not an index of a recipient");
        }
        if (from < least || to < from) {
            return wrong(set, fault, "not ascending");
        }
        least = to + 1;
        for (size_t i = from; i <= to; i++) {
            pending_add(set, i);
        }
    }
    return true;
}

bool header_origin_encode(const struct message_origin *origin, struct strbuf *out)
{
    strbuf_add_slice(out, origin->topic);
    return strbuf_addf(out, "/%" PRId32 "/%" PRId64, origin->partition, origin->offset);
}

bool header_origin_decode(struct slice text, struct message_origin *origin)
{
    struct slice rest = text;
    uint64_t partition;
    uint64_t offset;
    struct slice topic = slice_cut(&rest, '/');
    struct slice middle = slice_cut(&rest, '/');
    if (topic.len == 0 || topic.len > ORIGIN_TOPIC_MAX || !slice_to_u64(middle, &partition) ||
        partition > INT32_MAX || !slice_to_u64(rest, &offset) || offset > INT64_MAX) {
        return false;
    }
    *origin = (struct message_origin){topic, (int32_t)partition, (int64_t)offset};
    return true;
}

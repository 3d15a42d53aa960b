/* See topology.h. */
#include "redis/topology.h"

#include <hiredis/hiredis.h>

/* ---- slots ---- */

static uint16_t crc16(struct slice text)
{
    uint32_t crc = 0;
    CHECK(text.len == 0 || text.ptr != NULL);
    for (size_t i = 0; i < text.len; i++) {
        crc ^= (uint32_t)(unsigned char)text.ptr[i] << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1;
        }
    }
    return (uint16_t)crc;
}

uint16_t redis_slot(struct slice key)
{
    ptrdiff_t open = slice_find_byte(key, '{');
    if (open >= 0) {
        struct slice rest = slice_skip(key, (size_t)open + 1);
        ptrdiff_t close = slice_find_byte(rest, '}');
        if (close > 0) {
            key = slice_head(rest, (size_t)close);
        }
    }
    return crc16(key) % REDIS_SLOTS;
}

/* ---- places ---- */

static bool set_host(struct redis_place *place, struct slice host)
{
    if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']') {
        host = slice_of(host.ptr + 1, host.len - 2);
    }
    /* "?": the server does not know its own name. */
    if (host.len >= sizeof(place->host) || slice_has_control(host) || slice_eq(host, SLICE("?")) ||
        slice_find_byte(host, ' ') >= 0) {
        return false;
    }
    if (host.len > 0) {
        memcpy(place->host, host.ptr, host.len);
    }
    place->host[host.len] = '\0';
    return true;
}

bool redis_place_parse(struct slice text, uint16_t port, struct redis_place *place)
{
    ptrdiff_t colon = slice_rfind_byte(text, ':');
    ptrdiff_t bracket = slice_rfind_byte(text, ']');
    uint64_t number = port;
    struct slice host = text;
    bool bare = port != 0 && bracket < 0 && slice_find_byte(text, ':') != colon; /* IPv6 */
    if (colon > bracket && !bare) {
        struct slice digits = slice_skip(text, (size_t)colon + 1);
        host = slice_head(text, (size_t)colon);
        if (digits.len > 5 || !slice_to_u64(digits, &number)) {
            return false;
        }
    }
    if (number == 0 || number > UINT16_MAX) {
        return false;
    }
    place->port = (uint16_t)number;
    return set_host(place, host);
}

/* error = "MOVED" SP slot SP host ":" port / "ASK" … / "TRYAGAIN" … / "CLUSTERDOWN" … */
enum redis_astray redis_astray_parse(struct slice error, struct redis_place *place)
{
    struct slice rest = error;
    struct slice word = slice_cut(&rest, ' ');
    bool moved = slice_eq(word, SLICE("MOVED"));
    if (moved || slice_eq(word, SLICE("ASK"))) {
        uint64_t slot = 0;
        struct slice number = slice_cut(&rest, ' ');
        if (!slice_to_u64(number, &slot) || slot >= REDIS_SLOTS || slice_find_byte(rest, ':') < 0 ||
            !redis_place_parse(rest, 0, place)) {
            return REDIS_ASTRAY_NOT;
        }
        return moved ? REDIS_ASTRAY_MOVED : REDIS_ASTRAY_ASK;
    }
    if (slice_eq(word, SLICE("TRYAGAIN"))) {
        return REDIS_ASTRAY_LATER;
    }
    return slice_eq(word, SLICE("CLUSTERDOWN")) ? REDIS_ASTRAY_DOWN : REDIS_ASTRAY_NOT;
}

/* ---- CLUSTER SLOTS ---- */

static bool is_integer(const redisReply *reply, long long least, long long most)
{
    return reply->type == REDIS_REPLY_INTEGER && reply->integer >= least && reply->integer <= most;
}

/* [host or nil, port, id, …] */
static bool read_place(const redisReply *reply, struct redis_place *place)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2 ||
        !is_integer(reply->element[1], 1, UINT16_MAX)) {
        return false;
    }
    const redisReply *host = reply->element[0];
    place->port = (uint16_t)reply->element[1]->integer;
    if (host->type == REDIS_REPLY_NIL) {
        return set_host(place, SLICE_NULL);
    }
    return host->type == REDIS_REPLY_STRING && set_host(place, slice_of(host->str, host->len));
}

/* [first, last, master, replica…] */
static bool read_range(const redisReply *entry, struct redis_range *range)
{
    if (entry->type != REDIS_REPLY_ARRAY || entry->elements < 3 ||
        !is_integer(entry->element[0], 0, REDIS_SLOTS - 1) ||
        !is_integer(entry->element[1], entry->element[0]->integer, REDIS_SLOTS - 1) ||
        !read_place(entry->element[2], &range->places[0])) {
        return false;
    }
    range->first = (uint16_t)entry->element[0]->integer;
    range->last = (uint16_t)entry->element[1]->integer;
    range->place_count = 1;
    for (size_t i = 3; i < entry->elements && range->place_count < ARRAY_LEN(range->places); i++) {
        range->place_count +=
            read_place(entry->element[i], &range->places[range->place_count]) ? 1 : 0;
    }
    return true;
}

bool redis_slots_next(const struct redisReply *reply, size_t *at, struct redis_range *range)
{
    while (reply->type == REDIS_REPLY_ARRAY && *at < reply->elements) {
        if (read_range(reply->element[(*at)++], range)) {
            return true;
        }
    }
    return false;
}

/* ---- INFO ---- */

/* Lines of "field:value", each with CRLF. */
bool redis_info_find(struct slice info, struct slice field, struct slice *value)
{
    while (info.len > 0) {
        struct slice text = slice_cut(&info, '\n');
        struct slice line = slice_cut(&text, '\r');
        struct slice name = slice_cut(&line, ':');
        if (slice_eq(name, field)) {
            *value = line;
            return true;
        }
    }
    return false;
}

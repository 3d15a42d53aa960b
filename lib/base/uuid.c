#include "base/uuid.h"

#include "base/hash.h"
#include "base/random.h"

static void set_version(struct uuid *uuid, uint8_t version)
{
    uuid->bytes[6] = (uint8_t)((uuid->bytes[6] & 0x0f) | (version << 4));
    uuid->bytes[8] = (uint8_t)((uuid->bytes[8] & 0x3f) | 0x80);
}

struct uuid uuid_v7(struct wall_time now)
{
    struct uuid uuid;
    uint64_t random[2] = {random_u64(), random_u64()};
    memcpy(uuid.bytes, random, sizeof(uuid.bytes));
    for (int i = 0; i < 6; i++) {
        uuid.bytes[i] = (uint8_t)((uint64_t)now.ms >> (8 * (5 - i)));
    }
    set_version(&uuid, 7);
    return uuid;
}

struct uuid uuid_derive(struct slice data)
{
    struct uuid uuid;
    uint64_t halves[2] = {hash_sip(data, 0x736c756963652d31u, 1),
                          hash_sip(data, 0x736c756963652d32u, 2)};
    memcpy(uuid.bytes, halves, sizeof(uuid.bytes));
    set_version(&uuid, 8);
    return uuid;
}

void uuid_format(const struct uuid *uuid, char out[UUID_TEXT_LEN + 1])
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            out[at++] = '-';
        }
        out[at++] = hex[uuid->bytes[i] >> 4];
        out[at++] = hex[uuid->bytes[i] & 15];
    }
    out[at] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = ascii_lower_byte(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool uuid_parse(struct slice text, struct uuid *uuid)
{
    size_t at = 0;
    if (text.len != UUID_TEXT_LEN) {
        return false;
    }
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            if (text.ptr[at++] != '-') {
                return false;
            }
        }
        int high = hex_value(text.ptr[at]);
        int low = hex_value(text.ptr[at + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        uuid->bytes[i] = (uint8_t)(high * 16 + low);
        at += 2;
    }
    return true;
}

int64_t uuid_v7_time_ms(const struct uuid *uuid)
{
    uint64_t ms = 0;
    if (uuid->bytes[6] >> 4 != 7) {
        return 0;
    }
    for (int i = 0; i < 6; i++) {
        ms = ms << 8 | uuid->bytes[i];
    }
    return (int64_t)ms;
}

#include "policy/config_value_private.h"

#include "base/clock.h"

#include <time.h>

const char *config_shown(char out[CONFIG_SHOWN_MAX], struct slice text)
{
    size_t keep = text.len < CONFIG_SHOWN_MAX - 8 ? text.len : CONFIG_SHOWN_MAX - 8;
    size_t at = 0;
    out[at++] = '"';
    for (size_t i = 0; i < keep; i++) {
        unsigned char byte = (unsigned char)text.ptr[i];
        out[at++] = (byte < 0x20 || byte == 0x7f) ? '?' : (char)byte;
    }
    if (keep < text.len) {
        while (at > 1 && ((unsigned char)out[at - 1] & 0xc0) == 0x80) {
            at--; /* do not cut inside a UTF-8 sequence */
        }
        memcpy(out + at, "...", 3);
        at += 3;
    }
    out[at++] = '"';
    out[at] = '\0';
    return out;
}

const char *config_kind_wanted(enum schema_kind kind)
{
    switch (kind) {
    case SCHEMA_TEXT: return "text";
    case SCHEMA_SECRET: return "text, or {file: PATH}";
    case SCHEMA_PATH: return "a path";
    case SCHEMA_NAME: return "a name without blanks";
    case SCHEMA_TOPIC: return "letters, digits, \".\", \"_\" and \"-\", as in a Kafka topic's name";
    case SCHEMA_HOST: return "a host name or an IP address";
    case SCHEMA_EHLO: return "a host name, or an address literal such as \"[192.0.2.1]\"";
    case SCHEMA_IPV4: return "an IPv4 address such as 192.0.2.1";
    case SCHEMA_IPV6: return "an IPv6 address such as 2001:db8::1";
    case SCHEMA_PEER: return "HOST or HOST:PORT (\"[2001:db8::1]:25\" for IPv6)";
    case SCHEMA_LISTEN: return "ADDRESS:PORT such as \"127.0.0.1:2525\" or \"[::1]:2525\"";
    case SCHEMA_BROKERS: return "HOST:PORT, several separated by commas";
    case SCHEMA_RESOLVER: return "an IP address, ADDRESS@PORT, or \"recursive\"";
    case SCHEMA_MATCH: return "a site name, a recipient domain, or \"*.suffix\" of an MX host name";
    case SCHEMA_WORD:
    case SCHEMA_ENUM: return "a word";
    case SCHEMA_BOOL:
    case SCHEMA_BOOL_NOT: return "true or false";
    case SCHEMA_COUNT: return "a whole number";
    case SCHEMA_LIMIT: return "a whole number, 0 or \"unlimited\" for no limit";
    case SCHEMA_PART: return "a whole number, or a percentage such as 10%";
    case SCHEMA_DURATION: return "a duration such as 90s, 15m, 2h or 3d";
    case SCHEMA_DATE: return "a day or a time in UTC such as 2026-11-25 or 2026-11-25T06:00:00Z";
    case SCHEMA_SIZE: return "a size such as 65536, 512K, 25M or 2G";
    case SCHEMA_RATE: return "a rate such as 300/h, 10/s or 1000/15m, or \"unlimited\"";
    case SCHEMA_VOLUME: return "a volume such as 500M/h or 20G/d, or \"unlimited\"";
    case SCHEMA_MAPPING:
    case SCHEMA_PROPERTIES: return "a mapping of keys and values";
    }
    return "";
}

const char *config_field_wanted(const struct schema_field *field, char out[CONFIG_WANTED_MAX])
{
    size_t used = 0;
    if (field->words == NULL) {
        return config_kind_wanted(field->kind);
    }
    for (size_t i = 0; field->words[i] != NULL; i++) {
        bool last = field->words[i + 1] == NULL;
        const char *joint = i == 0 ? "" : last ? " or " : ", ";
        int more = snprintf(out + used, CONFIG_WANTED_MAX - used, "%s%s", joint, field->words[i]);
        CHECK(more > 0 && (size_t)more < CONFIG_WANTED_MAX - used);
        used += (size_t)more;
    }
    return out;
}

static bool refuse(const struct schema_field *field, struct slice text, struct fault *why)
{
    char shown[CONFIG_SHOWN_MAX];
    return fault_set(why, FAULT_INVALID, 0, "%s is not valid; expected %s",
                     config_shown(shown, text), config_kind_wanted(field->kind));
}

static bool refuse_negative(const struct schema_field *field, struct slice text, struct fault *why)
{
    char shown[CONFIG_SHOWN_MAX];
    return fault_set(why, FAULT_INVALID, 0, "%s is negative; expected %s",
                     config_shown(shown, text), config_kind_wanted(field->kind));
}

static bool is_word(struct slice text, const char *word)
{
    return slice_eq_nocase(text, slice_cstr(word));
}

static bool in_range(const struct schema_field *field, uint64_t number, struct slice text,
                     const char *unit, struct fault *why)
{
    char shown[CONFIG_SHOWN_MAX];
    if (number >= (uint64_t)field->min && number <= (uint64_t)field->max) {
        return true;
    }
    return fault_set(why, FAULT_INVALID, 0, "%s is out of range; expected %lld to %lld%s",
                     config_shown(shown, text), (long long)field->min, (long long)field->max, unit);
}

static bool read_count(const struct schema_field *field, struct slice text,
                       struct config_value *value, struct fault *why)
{
    value->form = CONFIG_FORM_NUMBER;
    if (field->kind == SCHEMA_LIMIT && is_word(text, "unlimited")) {
        value->number = 0;
        return true;
    }
    if (!slice_to_u64(text, &value->number)) {
        bool negative = text.len > 1 && text.ptr[0] == '-';
        if (negative && field->kind == SCHEMA_LIMIT && field->min > 0) {
            return in_range(field, 0, text, "", why);
        }
        return negative ? refuse_negative(field, text, why) : refuse(field, text, why);
    }
    return in_range(field, value->number, text, "", why);
}

static bool read_part(const struct schema_field *field, struct slice text,
                      struct config_value *value, struct fault *why)
{
    if (text.len == 0 || text.ptr[text.len - 1] != '%') {
        return read_count(field, text, value, why);
    }
    value->form = CONFIG_FORM_NUMBER;
    if (!slice_to_u64(slice_head(text, text.len - 1), &value->number)) {
        return refuse(field, text, why);
    }
    if (value->number > 99) {
        char shown[CONFIG_SHOWN_MAX];
        return fault_set(why, FAULT_INVALID, 0, "%s is out of range; expected 0%% to 99%%",
                         config_shown(shown, text));
    }
    value->number |= CONFIG_PERCENT;
    return true;
}

/* A duration for messages, in the largest unit that divides it. */
static void show_duration(char *out, size_t out_bytes, int64_t ms)
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (ms > 0 && ms % units[i].ms == 0) {
            (void)snprintf(out, out_bytes, "%lld%s", (long long)(ms / units[i].ms), units[i].unit);
            return;
        }
    }
    (void)snprintf(out, out_bytes, "%lldms", (long long)ms);
}

static bool read_duration(const struct schema_field *field, struct slice text,
                          struct config_value *value, struct fault *why)
{
    int64_t ms;
    value->form = CONFIG_FORM_NUMBER;
    if (text.len > 0 && text.ptr[0] == '-') {
        return refuse_negative(field, text, why);
    }
    if (!duration_parse_ms(text, &ms)) {
        return refuse(field, text, why);
    }
    if (ms < field->min || ms > field->max) {
        char shown[CONFIG_SHOWN_MAX];
        char least[32];
        char most[32];
        show_duration(least, sizeof(least), field->min);
        show_duration(most, sizeof(most), field->max);
        return fault_set(why, FAULT_INVALID, 0, "%s is out of range; expected %s to %s",
                         config_shown(shown, text), least, most);
    }
    value->number = (uint64_t)ms;
    return true;
}

/* Digits, then K, M, G or T (powers of 1024), then perhaps "B" or "iB". */
static bool parse_size(struct slice text, uint64_t *size)
{
    static const char units[] = "KMGT";
    size_t digits = 0;
    unsigned shift = 0;
    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9') {
        digits++;
    }
    struct slice unit = slice_skip(text, digits);
    if (unit.len > 0) {
        const char *at = strchr(units, ascii_lower_byte(unit.ptr[0]) - ('a' - 'A'));
        if (at != NULL && *at != '\0') {
            shift = 10 * (unsigned)(at - units + 1);
            unit = slice_skip(unit, 1);
        }
        if (!(unit.len == 0 || is_word(unit, "b") || (shift > 0 && is_word(unit, "ib")))) {
            return false;
        }
    }
    if (!slice_to_u64(slice_head(text, digits), size)) {
        return false;
    }
    *size = *size > (UINT64_MAX >> shift) ? UINT64_MAX : *size << shift;
    return true;
}

static bool read_size(const struct schema_field *field, struct slice text,
                      struct config_value *value, struct fault *why)
{
    value->form = CONFIG_FORM_NUMBER;
    if (text.len > 0 && text.ptr[0] == '-') {
        return refuse_negative(field, text, why);
    }
    return parse_size(text, &value->number) ? in_range(field, value->number, text, " bytes", why)
                                            : refuse(field, text, why);
}

static bool read_interval(struct slice text, int64_t *ms)
{
    char with_number[32];
    if (text.len == 0 || text.len > sizeof(with_number) - 2) {
        return false;
    }
    if (text.ptr[0] >= '0' && text.ptr[0] <= '9') {
        return duration_parse_ms(text, ms);
    }
    with_number[0] = '1';
    memcpy(with_number + 1, text.ptr, text.len);
    return duration_parse_ms(slice_of(with_number, text.len + 1), ms);
}

static bool read_rate(const struct schema_field *field, struct slice text,
                      struct config_value *value, struct fault *why)
{
    const int64_t longest_ms = (int64_t)31 * 86400 * 1000;
    const bool volume = field->kind == SCHEMA_VOLUME;
    const uint64_t most = volume ? (uint64_t)10 << 40 : 1000000000;
    value->form = CONFIG_FORM_RATE;
    value->rate = (struct config_rate){0, 0};
    if (is_word(text, "unlimited")) {
        return true;
    }
    if (text.len > 0 && text.ptr[0] == '-') {
        return refuse_negative(field, text, why);
    }
    struct slice rest = text;
    struct slice amount = slice_trim(slice_cut(&rest, '/'));
    if (!(volume ? parse_size(amount, &value->rate.amount)
                 : slice_to_u64(amount, &value->rate.amount)) ||
        !read_interval(slice_trim(rest), &value->rate.interval_ms)) {
        return refuse(field, text, why);
    }
    char shown[CONFIG_SHOWN_MAX];
    if (value->rate.amount == 0) {
        return fault_set(why, FAULT_INVALID, 0,
                         "%s would never send anything; expected at least 1 per interval, or "
                         "\"unlimited\" for no limit",
                         config_shown(shown, text));
    }
    if (value->rate.amount > most || value->rate.interval_ms < 1 ||
        value->rate.interval_ms > longest_ms) {
        return fault_set(why, FAULT_INVALID, 0,
                         "%s is out of range; expected 1 to %s per 1ms to 31d",
                         config_shown(shown, text), volume ? "10T" : "1000000000");
    }
    return true;
}

/* RFC 3339 without fractions, in UTC; a day alone is its beginning. */
static bool read_date(const struct schema_field *field, struct slice text,
                      struct config_value *value, struct fault *why)
{
    char copy[32];
    struct tm day = {0};
    if (text.len >= sizeof(copy)) {
        return refuse(field, text, why);
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    const char *end = strptime(copy, "%Y-%m-%d", &day);
    if (end != NULL && *end == 'T') {
        end = strptime(end, "T%H:%M:%SZ", &day);
    }
    if (end == NULL || *end != '\0' || day.tm_year < 70) {
        return refuse(field, text, why);
    }
    value->form = CONFIG_FORM_NUMBER;
    value->number = (uint64_t)timegm(&day) * 1000;
    return true;
}

static bool read_bool(const struct schema_field *field, struct slice text,
                      struct config_value *value, struct fault *why)
{
    value->form = CONFIG_FORM_BOOL;
    if (is_word(text, "true") || is_word(text, "yes") || is_word(text, "on")) {
        value->truth = field->kind == SCHEMA_BOOL;
        return true;
    }
    if (is_word(text, "false") || is_word(text, "no") || is_word(text, "off")) {
        value->truth = field->kind != SCHEMA_BOOL;
        return true;
    }
    return refuse(field, text, why);
}

static bool read_word(const struct schema_field *field, struct slice text,
                      struct config_value *value, struct fault *why)
{
    char shown[CONFIG_SHOWN_MAX];
    char wanted[CONFIG_WANTED_MAX];
    for (size_t i = 0; field->words[i] != NULL; i++) {
        if (is_word(text, field->words[i])) {
            value->form = field->kind == SCHEMA_ENUM ? CONFIG_FORM_NUMBER : CONFIG_FORM_TEXT;
            value->number = i;
            value->text = slice_cstr(field->words[i]);
            return true;
        }
    }
    return fault_set(why, FAULT_INVALID, 0, "%s is not valid; expected %s",
                     config_shown(shown, text), config_field_wanted(field, wanted));
}

/* What holds for every text: length, UTF-8, no control characters. */
static bool read_text(const struct schema_field *field, struct slice text,
                      struct config_value *value, struct fault *why)
{
    value->form = CONFIG_FORM_TEXT;
    value->text = text;
    if (text.len == 0 && field->min > 0) {
        return fault_set(why, FAULT_INVALID, 0, "has no value; expected %s",
                         config_kind_wanted(field->kind));
    }
    if (text.len > (size_t)field->max) {
        return fault_set(why, FAULT_INVALID, 0,
                         "is too long (%zu bytes); expected at most %lld bytes", text.len,
                         (long long)field->max);
    }
    if (slice_has_control(text) || !slice_is_utf8(text)) {
        return fault_set(why, FAULT_INVALID, 0,
                         "has control characters or is not UTF-8; expected %s",
                         config_kind_wanted(field->kind));
    }
    return text.len == 0 || config_name_check(field->kind, text) ? true : refuse(field, text, why);
}

bool config_value_read(const struct schema_field *field, struct slice text,
                       struct config_value *value, struct fault *why)
{
    *value = (struct config_value){.form = CONFIG_FORM_TEXT, .text = text};
    switch (field->kind) {
    case SCHEMA_WORD:
    case SCHEMA_ENUM: return read_word(field, text, value, why);
    case SCHEMA_BOOL:
    case SCHEMA_BOOL_NOT: return read_bool(field, text, value, why);
    case SCHEMA_COUNT:
    case SCHEMA_LIMIT: return read_count(field, text, value, why);
    case SCHEMA_PART: return read_part(field, text, value, why);
    case SCHEMA_DURATION: return read_duration(field, text, value, why);
    case SCHEMA_DATE: return read_date(field, text, value, why);
    case SCHEMA_SIZE: return read_size(field, text, value, why);
    case SCHEMA_RATE:
    case SCHEMA_VOLUME: return read_rate(field, text, value, why);
    case SCHEMA_TEXT:
    case SCHEMA_SECRET:
    case SCHEMA_PATH:
    case SCHEMA_NAME:
    case SCHEMA_TOPIC:
    case SCHEMA_HOST:
    case SCHEMA_EHLO:
    case SCHEMA_IPV4:
    case SCHEMA_IPV6:
    case SCHEMA_PEER:
    case SCHEMA_LISTEN:
    case SCHEMA_BROKERS:
    case SCHEMA_RESOLVER:
    case SCHEMA_MATCH: return read_text(field, text, value, why);
    case SCHEMA_MAPPING:
    case SCHEMA_PROPERTIES: break;
    }
    return refuse(field, text, why);
}

#include "base/clock.h"

#define DURATION_MAX_MS ((int64_t)10 * 366 * 86400 * 1000)

struct mono_time mono_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (struct mono_time){(int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000};
}

struct wall_time wall_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (struct wall_time){(int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000};
}

struct slice wall_time_format(struct wall_time t, char out[WALL_TEXT_MAX])
{
    time_t seconds = (time_t)(t.ms / 1000);
    int ms = (int)(t.ms % 1000);
    struct tm tm;
    if (ms < 0) {
        ms += 1000;
        seconds--;
    }
    if (gmtime_r(&seconds, &tm) == NULL) {
        memset(&tm, 0, sizeof(tm));
    }
    size_t used = strftime(out, WALL_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    int more = snprintf(out + used, WALL_TEXT_MAX - used, ".%03dZ", ms);
    return slice_of(out, used + (size_t)more);
}

/* The day of the month as the calendar has it: the 31st of February is none. */
static int day_of(const struct tm *tm)
{
    struct tm copy = *tm;
    (void)timegm(&copy);
    return copy.tm_mday;
}

bool wall_time_parse(struct slice text, struct wall_time *t)
{
    static const char *const forms[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"};
    char room[WALL_TEXT_MAX];
    uint64_t ms = 0;
    if (text.len < 10 || text.len >= sizeof(room)) {
        return false;
    }
    memcpy(room, text.ptr, text.len);
    room[text.len] = '\0';
    bool has_time = text.len > 10;
    struct tm tm = {0};
    const char *rest = strptime(room, forms[has_time ? 0 : 1], &tm);
    if (rest == NULL || tm.tm_mday != day_of(&tm)) {
        return false;
    }
    if (has_time && rest[0] == '.') {
        const struct slice digits = slice_of(rest + 1, strspn(rest + 1, "0123456789"));
        if (digits.len != 3 || !slice_to_u64(digits, &ms)) {
            return false;
        }
        rest += 4;
    }
    if (strcmp(rest, has_time ? "Z" : "") != 0) {
        return false;
    }
    t->ms = (int64_t)timegm(&tm) * 1000 + (int64_t)ms;
    return true;
}

/* Milliseconds of the unit at the start of *rest, which is moved behind it; 0 when there is none.
 */
static int64_t take_unit(struct slice *rest)
{
    static const struct {
        struct slice name;
        int64_t ms;
    } units[] = {
        {{"ms", 2}, 1},      {{"s", 1}, 1000},     {{"m", 1}, 60000},
        {{"h", 1}, 3600000}, {{"d", 1}, 86400000}, {{"w", 1}, 7 * (int64_t)86400000},
    };
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (slice_starts_with_nocase(*rest, units[i].name)) {
            *rest = slice_skip(*rest, units[i].name.len);
            return units[i].ms;
        }
    }
    return 0;
}

bool duration_parse_ms(struct slice text, int64_t *ms)
{
    struct slice rest = slice_trim(text);
    int64_t sum = 0;
    uint64_t number;
    if (slice_to_u64(rest, &number)) {
        if (number > (uint64_t)DURATION_MAX_MS / 1000) {
            return false;
        }
        *ms = (int64_t)number * 1000;
        return true;
    }
    if (rest.len == 0) {
        return false;
    }
    while (rest.len > 0) {
        size_t digits = 0;
        while (digits < rest.len && rest.ptr[digits] >= '0' && rest.ptr[digits] <= '9') {
            digits++;
        }
        if (!slice_to_u64(slice_head(rest, digits), &number)) {
            return false;
        }
        rest = slice_skip(rest, digits);
        int64_t unit = take_unit(&rest);
        if (unit == 0 || number > (uint64_t)(DURATION_MAX_MS / unit)) {
            return false;
        }
        sum += (int64_t)number * unit;
        if (sum > DURATION_MAX_MS) {
            return false;
        }
    }
    *ms = sum;
    return true;
}

#include "base/log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static const char *log_program = "sluice";
static enum log_level log_threshold = LOG_LEVEL_INFO;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_setup(const char *program, enum log_level level)
{
    log_program = program;
    log_threshold = level;
}

bool log_level_parse(struct slice name, enum log_level *level)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (slice_eq(name, slice_cstr(level_names[i]))) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_enabled(enum log_level level)
{
    return level <= log_threshold;
}

void log_write(enum log_level level, const char *event, const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    char time_text[WALL_TEXT_MAX];
    va_list args;
    if (!log_enabled(level)) {
        return;
    }
    struct slice time = wall_time_format(wall_now(), time_text);
    int used = snprintf(line, sizeof(line), "%.*s %s %s event=%s ", SLICE_FMT(time),
                        level_names[level], log_program, event);
    size_t at = (size_t)used;
    va_start(args, format);
    int more = vsnprintf(line + at, sizeof(line) - at, format, args);
    va_end(args);
    at += more > 0 ? (size_t)more : 0;
    at = at < sizeof(line) - 1 ? at : sizeof(line) - 2;
    for (size_t i = 0; i < at; i++) {
        line[i] = (unsigned char)line[i] < 0x20 ? '?' : line[i];
    }
    line[at] = '\n';
    ssize_t written = write(STDERR_FILENO, line, at + 1);
    (void)written; /* nowhere left to complain */
}

static bool plain(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c <= 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '=') {
            return false;
        }
    }
    return s.len > 0;
}

const char *log_quote(char *out, size_t out_bytes, struct slice s)
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0;
    CHECK(out_bytes >= 8);
    if (plain(s)) {
        size_t len = s.len < out_bytes - 1 ? s.len : out_bytes - 1;
        memcpy(out, s.ptr, len);
        out[len] = '\0';
        return out;
    }
    out[at++] = '"';
    for (size_t i = 0; i < s.len && at + 6 < out_bytes; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c == '"' || c == '\\') {
            out[at++] = '\\';
            out[at++] = (char)c;
        } else if (c < 0x20 || c == 0x7f) {
            out[at++] = '\\';
            out[at++] = 'x';
            out[at++] = hex[c >> 4];
            out[at++] = hex[c & 15];
        } else {
            out[at++] = (char)c;
        }
    }
    out[at++] = '"';
    out[at] = '\0';
    return out;
}

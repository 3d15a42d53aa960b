/*
 * Log lines on stderr: time, level, program and thread, event, then key=value pairs, one line per
 * fact: 2026-11-22T02:26:53.123Z info worker event=session-open site=gmail.com … Values with
 * blanks, quotes or controls are quoted and escaped, so a peer's text can never forge a line.
 * Thread-safe (one write(2) per line). Secrets never go in.
 */
#ifndef SLUICE_BASE_LOG_H
#define SLUICE_BASE_LOG_H

#include "base/slice.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Before threads start. `program` must stay alive. */
void log_setup(const char *program, enum log_level level);
/* "error", "warn", "info", "debug". */
bool log_level_parse(struct slice name, enum log_level *level);
bool log_enabled(enum log_level level);

/*
 * Keys and values in one format string; values that come from outside go through log_quote():
 *   log_info("session-closed", "site=%s reason=%s", site, log_quote(buf, sizeof(buf), text));
 */
void log_write(enum log_level level, const char *event, const char *format, ...) PRINTF_LIKE(3, 4);

#define log_error(event, ...) log_write(LOG_LEVEL_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...) log_write(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define log_info(event, ...) log_write(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_debug(event, ...)                                                                      \
    do {                                                                                           \
        if (log_enabled(LOG_LEVEL_DEBUG)) {                                                        \
            log_write(LOG_LEVEL_DEBUG, event, __VA_ARGS__);                                        \
        }                                                                                          \
    } while (0)

/* `s` as one log value: as it is when it is a plain word, else quoted with \", \\ and \xNN; cut to
 * fit. */
const char *log_quote(char *out, size_t out_bytes, struct slice s);

#endif

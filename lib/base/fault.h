/*
 * How an error is told. A function returns an enum (or bool) that its caller branches on and fills
 * a struct fault for people; nobody ever parses the text. A fault is a value: no ownership, no
 * allocation.
 */
#ifndef SLUICE_BASE_FAULT_H
#define SLUICE_BASE_FAULT_H

#include "base/check.h"

enum fault_kind {
    FAULT_NONE = 0,
    FAULT_INVALID,   /* the input breaks a rule; trying again cannot help */
    FAULT_NOT_FOUND, /* what was asked for does not exist */
    FAULT_LIMIT,     /* a bound of ours was reached (size, count, memory) */
    FAULT_TEMPORARY, /* a peer or service failed; the same call may succeed later */
    FAULT_TIMEOUT,   /* no answer in time */
    FAULT_CLOSED,    /* the other side or the owner closed */
    FAULT_REFUSED,   /* the other side said no (authentication, permission, policy) */
    FAULT_SYSTEM,    /* an errno that fits nothing above; code holds it */
    FAULT_FATAL,     /* the object cannot be used any more and must be made anew */
};

#define FAULT_TEXT_MAX 400

struct fault {
    enum fault_kind kind;
    int code;                  /* errno, library error or 0 */
    char text[FAULT_TEXT_MAX]; /* one line, NUL-terminated, no trailing full stop */
};

/* Fills `fault` (which may be NULL) and returns false, so that `return fault_set(…)` reads well. */
bool fault_set(struct fault *fault, enum fault_kind kind, int code, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* Puts "prefix: " before the text that is there; returns false. */
bool fault_prefix(struct fault *fault, const char *format, ...) PRINTF_LIKE(2, 3);

/* FAULT_SYSTEM (or TEMPORARY, TIMEOUT, REFUSED where errno says so) with strerror's text behind the
 * message. */
bool fault_set_errno(struct fault *fault, int error, const char *format, ...) PRINTF_LIKE(3, 4);

void fault_clear(struct fault *fault);

/* Lower-case word for logs: "invalid", "timeout"… */
const char *fault_kind_name(enum fault_kind kind);

#endif

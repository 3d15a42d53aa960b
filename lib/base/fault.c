#include "base/fault.h"

#include <errno.h>
#include <stdarg.h>

bool fault_set(struct fault *fault, enum fault_kind kind, int code, const char *format, ...)
{
    if (fault != NULL) {
        va_list args;
        fault->kind = kind;
        fault->code = code;
        va_start(args, format);
        vsnprintf(fault->text, sizeof(fault->text), format, args);
        va_end(args);
    }
    return false;
}

bool fault_prefix(struct fault *fault, const char *format, ...)
{
    if (fault != NULL) {
        char old[FAULT_TEXT_MAX];
        va_list args;
        memcpy(old, fault->text, sizeof(old));
        va_start(args, format);
        int used = vsnprintf(fault->text, sizeof(fault->text), format, args);
        va_end(args);
        if (used >= 0 && (size_t)used < sizeof(fault->text)) {
            snprintf(fault->text + used, sizeof(fault->text) - (size_t)used, ": %.*s",
                     FAULT_TEXT_MAX - used - 3, old);
        }
    }
    return false;
}

static enum fault_kind kind_of_errno(int error)
{
    switch (error) {
    case ETIMEDOUT: return FAULT_TIMEOUT;
    case EACCES:
    case EPERM:
    case ECONNREFUSED: return FAULT_REFUSED;
    case ENOENT: return FAULT_NOT_FOUND;
    case EPIPE:
    case ECONNRESET: return FAULT_CLOSED;
    case EAGAIN:
    case EINTR:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EADDRNOTAVAIL: return FAULT_TEMPORARY;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case ENOSPC: return FAULT_LIMIT;
    default: return FAULT_SYSTEM;
    }
}

bool fault_set_errno(struct fault *fault, int error, const char *format, ...)
{
    if (fault != NULL) {
        va_list args;
        char reason[128];
        fault->kind = kind_of_errno(error);
        fault->code = error;
        va_start(args, format);
        int used = vsnprintf(fault->text, sizeof(fault->text), format, args);
        va_end(args);
        if (used >= 0 && (size_t)used < sizeof(fault->text)) {
            const char *text = strerror_r(error, reason, sizeof(reason));
            snprintf(fault->text + used, sizeof(fault->text) - (size_t)used, ": %s", text);
        }
    }
    return false;
}

void fault_clear(struct fault *fault)
{
    if (fault != NULL) {
        fault->kind = FAULT_NONE;
        fault->code = 0;
        fault->text[0] = '\0';
    }
}

const char *fault_kind_name(enum fault_kind kind)
{
    switch (kind) {
    case FAULT_NONE: return "none";
    case FAULT_INVALID: return "invalid";
    case FAULT_NOT_FOUND: return "not-found";
    case FAULT_LIMIT: return "limit";
    case FAULT_TEMPORARY: return "temporary";
    case FAULT_TIMEOUT: return "timeout";
    case FAULT_CLOSED: return "closed";
    case FAULT_REFUSED: return "refused";
    case FAULT_SYSTEM: return "system";
    case FAULT_FATAL: return "fatal";
    }
    return "unknown";
}

#include "smtp/outcome.h"

/* The names stand in events, logs and configuration: they are part of the interface and never
 * change. */

const char *smtp_result_name(enum smtp_result result)
{
    switch (result) {
    case SMTP_RESULT_NONE: return "none";
    case SMTP_RESULT_DELIVERED: return "delivered";
    case SMTP_RESULT_DEFERRED: return "deferred";
    case SMTP_RESULT_BOUNCED: return "bounced";
    case SMTP_RESULT_UNCERTAIN: return "uncertain";
    }
    return "unknown";
}

const char *smtp_phase_name(enum smtp_phase phase)
{
    switch (phase) {
    case SMTP_PHASE_NONE: return "none";
    case SMTP_PHASE_DNS: return "dns";
    case SMTP_PHASE_CONNECT: return "connect";
    case SMTP_PHASE_GREETING: return "greeting";
    case SMTP_PHASE_EHLO: return "ehlo";
    case SMTP_PHASE_STARTTLS: return "starttls";
    case SMTP_PHASE_AUTH: return "auth";
    case SMTP_PHASE_MAIL: return "mail";
    case SMTP_PHASE_RCPT: return "rcpt";
    case SMTP_PHASE_DATA: return "data";
    case SMTP_PHASE_MESSAGE: return "message";
    case SMTP_PHASE_RSET: return "rset";
    case SMTP_PHASE_QUIT: return "quit";
    case SMTP_PHASE_IDLE: return "idle";
    }
    return "unknown";
}

const char *smtp_scope_name(enum smtp_scope scope)
{
    switch (scope) {
    case SMTP_SCOPE_NONE: return "none";
    case SMTP_SCOPE_RECIPIENT: return "recipient";
    case SMTP_SCOPE_MESSAGE: return "message";
    case SMTP_SCOPE_SESSION: return "session";
    case SMTP_SCOPE_SITE: return "site";
    }
    return "unknown";
}

#include "classify/class.h"

struct class_row {
    const char *name;
    enum bounce_disposition disposition;
    enum bounce_scope scope;
    const char *powermta;
    uint8_t momentum;
};

static const struct class_row classes[BOUNCE_CLASS_COUNT] = {
    [BOUNCE_UNDETERMINED] = {"undetermined", BOUNCE_DO_SOFT, BOUNCE_SCOPE_NONE, "other", 1},
    [BOUNCE_USER_UNKNOWN] = {"user-unknown", BOUNCE_DO_HARD, BOUNCE_SCOPE_RECIPIENT, "bad-mailbox",
                             10},
    [BOUNCE_MAILBOX_MOVED] = {"mailbox-moved", BOUNCE_DO_HARD, BOUNCE_SCOPE_RECIPIENT,
                              "bad-mailbox", 10},
    [BOUNCE_MAILBOX_DISABLED] = {"mailbox-disabled", BOUNCE_DO_HARD_AFTER_N, BOUNCE_SCOPE_RECIPIENT,
                                 "inactive-mailbox", 10},
    [BOUNCE_DOMAIN_NO_MAIL] = {"domain-no-mail", BOUNCE_DO_HARD, BOUNCE_SCOPE_RECIPIENT,
                               "bad-domain", 10},
    [BOUNCE_DOMAIN_BAD] = {"domain-bad", BOUNCE_DO_HARD_AFTER_N, BOUNCE_SCOPE_RECIPIENT,
                           "bad-domain", 10},
    [BOUNCE_MAILBOX_FULL] = {"mailbox-full", BOUNCE_DO_SOFT, BOUNCE_SCOPE_RECIPIENT, "quota-issues",
                             22},
    [BOUNCE_RECIPIENT_REFUSED] = {"recipient-refused", BOUNCE_DO_BLOCK, BOUNCE_SCOPE_RECIPIENT,
                                  "policy-related", 50},
    [BOUNCE_IP_BLOCKED] = {"ip-blocked", BOUNCE_DO_BLOCK, BOUNCE_SCOPE_VIP, "spam-related", 51},
    [BOUNCE_SENDER_REJECTED] = {"sender-rejected", BOUNCE_DO_BLOCK, BOUNCE_SCOPE_SENDER,
                                "invalid-sender", 50},
    [BOUNCE_AUTH_FAILED] = {"auth-failed", BOUNCE_DO_BLOCK, BOUNCE_SCOPE_SENDER, "policy-related",
                            50},
    [BOUNCE_RELAY_DENIED] = {"relay-denied", BOUNCE_DO_BLOCK, BOUNCE_SCOPE_SITE, "relaying-issues",
                             54},
    [BOUNCE_SPAM_CONTENT] = {"spam-content", BOUNCE_DO_BLOCK, BOUNCE_SCOPE_MESSAGE, "spam-related",
                             52},
    [BOUNCE_CONTENT_REJECTED] = {"content-rejected", BOUNCE_DO_BLOCK, BOUNCE_SCOPE_MESSAGE,
                                 "content-related", 53},
    [BOUNCE_VIRUS] = {"virus", BOUNCE_DO_BLOCK, BOUNCE_SCOPE_MESSAGE, "virus-related", 53},
    [BOUNCE_TOO_LARGE] = {"too-large", BOUNCE_DO_SOFT, BOUNCE_SCOPE_MESSAGE, "content-related", 23},
    [BOUNCE_POLICY] = {"policy", BOUNCE_DO_BLOCK, BOUNCE_SCOPE_SENDER, "policy-related", 50},
    [BOUNCE_RATE_LIMITED] = {"rate-limited", BOUNCE_DO_TRANSIENT, BOUNCE_SCOPE_VIP,
                             "policy-related", 70},
    [BOUNCE_GREYLISTED] = {"greylisted", BOUNCE_DO_TRANSIENT, BOUNCE_SCOPE_SITE, "other", 70},
    [BOUNCE_NETWORK_ERROR] = {"network-error", BOUNCE_DO_SOFT, BOUNCE_SCOPE_SITE, "bad-connection",
                              21},
    [BOUNCE_EXPIRED] = {"expired", BOUNCE_DO_SOFT, BOUNCE_SCOPE_SITE, "message-expired", 24},
    [BOUNCE_SYSTEM_ERROR] = {"system-error", BOUNCE_DO_SOFT, BOUNCE_SCOPE_SITE, "bad-configuration",
                             20},
    [BOUNCE_PROTOCOL_ERROR] = {"protocol-error", BOUNCE_DO_SOFT, BOUNCE_SCOPE_SITE,
                               "protocol-errors", 40},
    [BOUNCE_DELIVERED] = {"delivered", BOUNCE_DO_NONE, BOUNCE_SCOPE_NONE, "success", 0},
    [BOUNCE_DELAYED] = {"delayed", BOUNCE_DO_NONE, BOUNCE_SCOPE_NONE, "other", 70},
    [BOUNCE_COMPLAINT] = {"complaint", BOUNCE_DO_HARD, BOUNCE_SCOPE_RECIPIENT, "spam-related", 52},
    [BOUNCE_AUTH_REPORT] = {"auth-report", BOUNCE_DO_NONE, BOUNCE_SCOPE_NONE, "other", 1},
    [BOUNCE_OPT_OUT] = {"opt-out", BOUNCE_DO_HARD, BOUNCE_SCOPE_RECIPIENT, "other", 90},
    [BOUNCE_UNSUBSCRIBE] = {"unsubscribe", BOUNCE_DO_HARD, BOUNCE_SCOPE_RECIPIENT, "other", 90},
    [BOUNCE_AUTO_REPLY] = {"auto-reply", BOUNCE_DO_NONE, BOUNCE_SCOPE_NONE, "other", 60},
    [BOUNCE_CHALLENGE_RESPONSE] = {"challenge-response", BOUNCE_DO_NONE, BOUNCE_SCOPE_NONE, "other",
                                   100},
    [BOUNCE_NOT_A_BOUNCE] = {"not-a-bounce", BOUNCE_DO_NONE, BOUNCE_SCOPE_NONE, "other", 1},
};

static const char *const dispositions[BOUNCE_DISPOSITION_COUNT] = {
    "none", "hard", "hard-after-n", "soft", "transient", "block",
};

static const char *const scopes[BOUNCE_SCOPE_COUNT] = {
    "none", "recipient", "message", "sender", "vip", "site",
};

static const struct class_row *row_of(enum bounce_class class)
{
    CHECK((unsigned)class < BOUNCE_CLASS_COUNT);
    return &classes[class];
}

static bool find_name(const char *const *names, size_t count, struct slice name, size_t *at)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(slice_cstr(names[i]), name)) {
            *at = i;
            return true;
        }
    }
    return false;
}

const char *bounce_class_name(enum bounce_class class)
{
    return row_of(class)->name;
}

bool bounce_class_parse(struct slice name, enum bounce_class *class)
{
    for (size_t i = 0; i < BOUNCE_CLASS_COUNT; i++) {
        if (slice_eq(slice_cstr(classes[i].name), name)) {
            *class = (enum bounce_class)i;
            return true;
        }
    }
    return false;
}

const char *bounce_disposition_name(enum bounce_disposition disposition)
{
    CHECK((unsigned)disposition < BOUNCE_DISPOSITION_COUNT);
    return dispositions[disposition];
}

bool bounce_disposition_parse(struct slice name, enum bounce_disposition *disposition)
{
    size_t at;
    if (!find_name(dispositions, ARRAY_LEN(dispositions), name, &at)) {
        return false;
    }
    *disposition = (enum bounce_disposition)at;
    return true;
}

const char *bounce_scope_name(enum bounce_scope scope)
{
    CHECK((unsigned)scope < BOUNCE_SCOPE_COUNT);
    return scopes[scope];
}

bool bounce_scope_parse(struct slice name, enum bounce_scope *scope)
{
    size_t at;
    if (!find_name(scopes, ARRAY_LEN(scopes), name, &at)) {
        return false;
    }
    *scope = (enum bounce_scope)at;
    return true;
}

enum bounce_disposition bounce_class_disposition(enum bounce_class class, bool temporary_reply)
{
    enum bounce_disposition disposition = row_of(class)->disposition;
    return disposition == BOUNCE_DO_HARD && temporary_reply ? BOUNCE_DO_HARD_AFTER_N : disposition;
}

enum bounce_scope bounce_class_scope(enum bounce_class class)
{
    return row_of(class)->scope;
}

const char *bounce_class_powermta(enum bounce_class class)
{
    return row_of(class)->powermta;
}

uint8_t bounce_class_momentum(enum bounce_class class)
{
    return row_of(class)->momentum;
}

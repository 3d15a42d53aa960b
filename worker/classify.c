#include "worker/classify.h"

struct rule {
    uint16_t subject;
    uint16_t detail;
    const char *name;
};

/* RFC 3463, 7372, 7504, 7505, 8616 as registered with IANA; class digit left out. */
static const struct rule rules[] = {
    {1, 0, "user-unknown"},     {1, 1, "user-unknown"},      {1, 2, "domain-bad"},
    {1, 3, "user-unknown"},     {1, 4, "user-unknown"},      {1, 6, "mailbox-moved"},
    {1, 7, "sender-rejected"},  {1, 8, "sender-rejected"},   {1, 9, "network-error"},
    {1, 10, "domain-no-mail"},  {2, 0, "recipient-refused"}, {2, 1, "mailbox-disabled"},
    {2, 2, "mailbox-full"},     {2, 3, "too-large"},         {2, 4, "system-error"},
    {3, 0, "system-error"},     {3, 1, "system-error"},      {3, 2, "system-error"},
    {3, 3, "system-error"},     {3, 4, "too-large"},         {3, 5, "system-error"},
    {4, 1, "network-error"},    {4, 2, "network-error"},     {4, 3, "network-error"},
    {4, 4, "network-error"},    {4, 5, "rate-limited"},      {4, 6, "network-error"},
    {4, 7, "expired"},          {5, 3, "rate-limited"},      {6, 0, "content-rejected"},
    {6, 1, "content-rejected"}, {6, 2, "content-rejected"},  {6, 3, "content-rejected"},
    {6, 6, "content-rejected"}, {6, 7, "content-rejected"},  {6, 8, "content-rejected"},
    {6, 9, "content-rejected"}, {7, 8, "auth-failed"},       {7, 13, "mailbox-disabled"},
    {7, 17, "mailbox-moved"},   {7, 18, "domain-bad"},       {7, 20, "auth-failed"},
    {7, 21, "auth-failed"},     {7, 22, "auth-failed"},      {7, 23, "auth-failed"},
    {7, 24, "auth-failed"},     {7, 25, "ip-blocked"},       {7, 26, "auth-failed"},
    {7, 27, "sender-rejected"}, {7, 28, "rate-limited"},     {7, 29, "auth-failed"},
    {7, 30, "policy"},
};

static const char *by_reply_code(const struct smtp_outcome *outcome)
{
    switch (outcome->code) {
    case 421: return "rate-limited";
    case 450: return "greylisted";
    case 451: return "system-error";
    case 452: return "rate-limited";
    case 500:
    case 501:
    case 502:
    case 503:
    case 504:
    case 555: return "protocol-error";
    case 521:
    case 556: return "domain-no-mail";
    case 551: return "mailbox-moved";
    case 552: return outcome->phase == SMTP_PHASE_RCPT ? "mailbox-full" : "too-large";
    case 553: return outcome->phase == SMTP_PHASE_RCPT ? "user-unknown" : "sender-rejected";
    case 550: return outcome->phase == SMTP_PHASE_RCPT ? "user-unknown" : "policy";
    default: return "undetermined";
    }
}

const char *classify_outcome(const struct smtp_outcome *outcome)
{
    const struct smtp_enhanced *enhanced = &outcome->enhanced;
    if (enhanced->klass != 0) {
        for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
            if (rules[i].subject == enhanced->subject && rules[i].detail == enhanced->detail) {
                return rules[i].name;
            }
        }
        switch (enhanced->subject) {
        case 3: return "system-error";
        case 4: return "network-error";
        case 5: return "protocol-error";
        case 6: return "content-rejected";
        case 7: return enhanced->klass == 4 && outcome->code == 450 ? "greylisted" : "policy";
        default: break;
        }
    }
    if (outcome->code == 0 && outcome->phase <= SMTP_PHASE_CONNECT) {
        return "network-error";
    }
    return by_reply_code(outcome);
}

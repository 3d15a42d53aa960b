/* The wording of each profile, and the names that are put into it. */
#include "sim/profile.h"

static const struct sim_reply gmail_unknown[] = {
    {550, "5.1.1",
     "The email account that you tried to reach does not exist. Please check the recipient's "
     "address for typos or spaces. {id} - gsmtp"},
    {550, "5.2.1", "The email account that you tried to reach is disabled. {id} - gsmtp"},
};
static const struct sim_reply gmail_temporary[] = {
    {451, "4.3.0", "Mail server temporarily rejected message, try again later. {id} - gsmtp"},
    {452, "4.2.2",
     "The recipient's inbox is out of storage space; direct the recipient to free some. {id} - "
     "gsmtp"},
    {450, "4.2.1",
     "The user you are trying to contact is receiving mail at a rate that keeps further messages "
     "out for now. {id} - gsmtp"},
};
static const struct sim_reply gmail_greylist[] = {
    {450, "4.7.1", "This sender is new to us, please try again in a while. {id} - gsmtp"},
};
static const struct sim_reply gmail_rate[] = {
    {421, "4.7.28",
     "Gmail has detected an unusual rate of mail from your IP address [{source}]; it is limited "
     "for the time being to protect our users. {id} - gsmtp"},
    {421, "4.7.0",
     "Our system has seen an unusual rate of email from [{source}], try again later, closing "
     "connection. {id} - gsmtp"},
};
static const struct sim_reply gmail_connections[] = {
    {421, "4.7.0",
     "Too many connections from [{source}], try again later, closing connection. {id} - gsmtp"},
};
static const struct sim_reply gmail_messages[] = {
    {421, "4.7.0", "Too many messages in this session, open a new connection. {id} - gsmtp"},
};
static const struct sim_reply gmail_recipients[] = {
    {452, "4.5.3", "Your message has too many recipients. {id} - gsmtp"},
};

static const struct sim_reply microsoft_unknown[] = {
    {550, "5.5.0", "Requested action not taken: mailbox unavailable (S2017062302) [{host}]"},
    {550, "5.4.1", "Recipient address rejected: Access denied [{host}]"},
    {550, "5.1.10",
     "RESOLVER.ADR.RecipientNotFound; recipient {rcpt} was not found by address lookup"},
};
static const struct sim_reply microsoft_temporary[] = {
    {451, "4.7.500", "Server busy, please retry later (S77714) [{host}]"},
    {452, "4.2.2", "Mailbox full; the quota of {rcpt} is used up for now [{host}]"},
    {451, "4.3.2", "Temporary server error, please try again later ATTR17 [{host}]"},
};
static const struct sim_reply microsoft_greylist[] = {
    {451, "4.7.650",
     "The mail server [{source}] has been temporarily rate limited because of its IP reputation "
     "(S775) [{host}]"},
};
static const struct sim_reply microsoft_rate[] = {
    {451, "4.7.652",
     "The mail server [{source}] has exceeded the maximum rate of messages allowed (S3115) "
     "[{host}]"},
    {421, "",
     "RP-001 Unfortunately, some messages from {source} were not sent, since it exceeded the rate "
     "limit for messages [{host}]"},
};
static const struct sim_reply microsoft_connections[] = {
    {421, "4.7.0",
     "RP-003 The mail server [{source}] has exceeded the maximum number of connections (S3114) "
     "[{host}]"},
};
static const struct sim_reply microsoft_messages[] = {
    {421, "4.7.0",
     "Service closing transmission channel: message limit of the session reached [{host}]"},
};
static const struct sim_reply microsoft_recipients[] = {
    {452, "4.5.3", "Too many recipients (AS780090) [{host}]"},
};

static const struct sim_reply yahoo_unknown[] = {
    {554, "5.7.1",
     "delivery error: dd This user doesn't have a yahoo account ({rcpt}) [0] - {host}"},
    {552, "", "1 Requested mail action aborted, mailbox not found"},
    {554, "", "delivery error: dd Not a valid recipient - {host}"},
};
static const struct sim_reply yahoo_temporary[] = {
    {451, "4.3.2", "Resources temporarily unavailable, please try again later. {host}"},
    {452, "4.2.2", "Mailbox of {rcpt} is over its quota, delivery is put off. {host}"},
};
static const struct sim_reply yahoo_greylist[] = {
    {421, "4.7.0",
     "[TSS04] Messages from {source} temporarily deferred due to unexpected volume or user "
     "complaints"},
    {450, "4.7.1", "[GL01] Message from ({source}) temporarily deferred"},
};
static const struct sim_reply yahoo_rate[] = {
    {421, "4.7.0", "[TSS05] Messages from {source} temporarily deferred because of their rate"},
    {451, "4.7.1", "Message temporarily deferred - [160] {source}"},
};
static const struct sim_reply yahoo_connections[] = {
    {421, "4.7.0", "Too many concurrent SMTP connections from {source}; please try again later."},
};
static const struct sim_reply yahoo_messages[] = {
    {421, "4.7.0", "Max message per connection reached, closing transmission channel"},
};
static const struct sim_reply yahoo_recipients[] = {
    {452, "4.5.3", "Too many recipients"},
};

static const struct sim_reply postfix_unknown[] = {
    {550, "5.1.1", "<{rcpt}>: Recipient address rejected: User unknown in virtual mailbox table"},
    {550, "5.1.1", "<{rcpt}>: Recipient address rejected: User unknown in local recipient table"},
};
static const struct sim_reply postfix_temporary[] = {
    {451, "4.3.0", "<{rcpt}>: Temporary lookup failure"},
    {450, "4.1.1",
     "<{rcpt}>: Recipient address rejected: unverified address: delivery temporarily suspended"},
    {452, "4.2.2", "<{rcpt}>: Recipient address rejected: mailbox is full"},
    {452, "4.3.1", "Insufficient system storage"},
};
static const struct sim_reply postfix_greylist[] = {
    {450, "4.7.1", "<{rcpt}>: Recipient address rejected: Greylisted, please come back later"},
    {450, "4.2.0", "<{rcpt}>: Recipient address rejected: Greylisted"},
};
static const struct sim_reply postfix_rate[] = {
    {450, "4.7.1", "Error: too much mail from {source}"},
};
static const struct sim_reply postfix_connections[] = {
    {421, "4.7.0", "{host} Error: too many connections from {source}"},
};
static const struct sim_reply postfix_messages[] = {
    {421, "4.7.0", "{host} Error: too many messages in one session"},
};
static const struct sim_reply postfix_recipients[] = {
    {452, "4.5.3", "Error: too many recipients"},
};

#define PHRASES(array)                                                                             \
    {                                                                                              \
        (array), ARRAY_LEN(array)                                                                  \
    }
#define PROFILE(name)                                                                              \
    {                                                                                              \
        [SIM_PHRASE_UNKNOWN] = PHRASES(name##_unknown),                                            \
        [SIM_PHRASE_TEMPORARY] = PHRASES(name##_temporary),                                        \
        [SIM_PHRASE_GREYLIST] = PHRASES(name##_greylist),                                          \
        [SIM_PHRASE_RATE] = PHRASES(name##_rate),                                                  \
        [SIM_PHRASE_CONNECTIONS] = PHRASES(name##_connections),                                    \
        [SIM_PHRASE_MESSAGES] = PHRASES(name##_messages),                                          \
        [SIM_PHRASE_RECIPIENTS] = PHRASES(name##_recipients),                                      \
    }

static const struct sim_phrases phrases[][SIM_PHRASE_COUNT] = {
    [SIM_GMAIL] = PROFILE(gmail),
    [SIM_MICROSOFT] = PROFILE(microsoft),
    [SIM_YAHOO] = PROFILE(yahoo),
    [SIM_POSTFIX] = PROFILE(postfix),
};

static const struct sim_profile_texts texts[] = {
    [SIM_GMAIL] = {"ESMTP - gsmtp",
                   {250, "2.1.0", "OK {id} - gsmtp"},
                   {250, "2.1.5", "OK {id} - gsmtp"},
                   {354, "", "Go ahead {id} - gsmtp"},
                   {250, "2.0.0", "OK {id} - gsmtp"},
                   "454 4.7.0 TLS not available due to temporary reason"},
    [SIM_MICROSOFT] = {"Microsoft ESMTP MAIL Service ready",
                       {250, "2.1.0", "Sender OK"},
                       {250, "2.1.5", "Recipient OK"},
                       {354, "", "Start mail input; end with <CRLF>.<CRLF>"},
                       {250, "2.6.0", "<{id}@{host}> Queued mail for delivery"},
                       "454 4.7.0 TLS not available due to temporary reason"},
    [SIM_YAHOO] = {"ESMTP ready",
                   {250, "2.1.0", "sender <{from}> ok"},
                   {250, "2.1.5", "recipient <{rcpt}> ok"},
                   {354, "", "go ahead"},
                   {250, "2.0.0", "ok dirdel {id}"},
                   "454 4.3.0 TLS not available at the moment"},
    [SIM_POSTFIX] = {"ESMTP Postfix",
                     {250, "2.1.0", "Ok"},
                     {250, "2.1.5", "Ok"},
                     {354, "", "End data with <CR><LF>.<CR><LF>"},
                     {250, "2.0.0", "Ok: queued as {id}"},
                     "454 4.7.0 TLS not available due to local problem"},
};

struct sim_phrases sim_profile_phrases(enum sim_profile profile, enum sim_phrase phrase)
{
    CHECK(profile < ARRAY_LEN(phrases) && phrase < SIM_PHRASE_COUNT);
    return phrases[profile][phrase];
}

const struct sim_profile_texts *sim_profile_texts(enum sim_profile profile)
{
    CHECK(profile < ARRAY_LEN(texts));
    return &texts[profile];
}

static struct slice value_of(struct slice name, const struct sim_names *names, struct slice id)
{
    if (slice_eq(name, SLICE("rcpt"))) {
        return names->rcpt;
    }
    if (slice_eq(name, SLICE("from"))) {
        return names->from;
    }
    if (slice_eq(name, SLICE("source"))) {
        return names->source;
    }
    if (slice_eq(name, SLICE("host"))) {
        return names->host;
    }
    return slice_eq(name, SLICE("id")) ? id : SLICE("?");
}

static size_t put(char *out, size_t room, size_t at, struct slice s)
{
    s = slice_head(s, room - at);
    if (s.len > 0) {
        memcpy(out + at, s.ptr, s.len);
    }
    return at + s.len;
}

static struct slice hex_id(uint64_t id, char out[16])
{
    static const char digits[] = "0123456789ABCDEF";
    for (int i = 0; i < 12; i++) {
        out[i] = digits[id >> (44 - 4 * i) & 15];
    }
    return slice_of(out, 12);
}

void sim_text_expand(char *out, size_t out_bytes, const char *text, const struct sim_names *names)
{
    struct slice rest = slice_cstr(text);
    char id[16];
    size_t at = 0;
    CHECK(out_bytes > 0);
    while (rest.len > 0) {
        ptrdiff_t open = slice_find_byte(rest, '{');
        ptrdiff_t close = slice_find_byte(rest, '}');
        if (open < 0 || close < open) {
            break;
        }
        struct slice name = slice_of(rest.ptr + open + 1, (size_t)(close - open - 1));
        at = put(out, out_bytes - 1, at, slice_head(rest, (size_t)open));
        at = put(out, out_bytes - 1, at, value_of(name, names, hex_id(names->id, id)));
        rest = slice_skip(rest, (size_t)close + 1);
    }
    at = put(out, out_bytes - 1, at, rest);
    out[at] = '\0';
}

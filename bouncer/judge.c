#include "bouncer/judge.h"

#include "base/hash.h"
#include "bouncer/classify_mail.h"
#include "mail/address.h"
#include "mail/organisation.h"

#include <inttypes.h>

/* What was found of the original; slices lie in the mail or in `id`. */
struct origin {
    const char *matched; /* "" … */
    const char *suspicious;
    bool has_token; /* a good one, or the one that is not believed */
    bool token_good;
    struct verp_token token;
    char id[UUID_TEXT_LEN + 1];
    struct slice message_id, tenant, campaign, list;
    const struct event *facts; /* NULL: none; else `known`, whose texts lie in the arena */
    struct event known;
    struct arena *arena;
};

#define FACTS_FIRST_BYTES 1024
#define FACTS_MAX_BYTES ((size_t)256 * 1024) /* sets that share a number among them */

/* ---- which mail of ours ---- */

static const char *why_not(enum verp_verdict verdict)
{
    switch (verdict) {
    case VERP_FORGED: return "signature";
    case VERP_KEY_UNKNOWN: return "key";
    case VERP_EXPIRED: return "expired";
    case VERP_GOOD:
    case VERP_FOREIGN: break;
    }
    return "";
}

static void take_token(struct origin *origin, const struct verp_token *token, bool good)
{
    origin->has_token = true;
    origin->token_good = good;
    origin->token = *token;
    uuid_format(&token->message, origin->id);
    origin->message_id = slice_of(origin->id, UUID_TEXT_LEN);
    origin->matched = good ? "verp" : "returned";
}

/* What its token's number stands for; origin_end() gives it back. */
static enum table_found find_facts(const struct judge *judge, struct origin *origin)
{
    origin->arena = arena_create(FACTS_FIRST_BYTES, FACTS_MAX_BYTES);
    if (origin->arena == NULL) {
        return TABLE_UNKNOWN;
    }
    enum table_found found = table_facts(judge->table, origin->token.facts, origin->token.sent_ms,
                                         origin->arena, &origin->known);
    origin->facts = found == TABLE_FOUND ? &origin->known : NULL;
    return found;
}

static void origin_end(struct origin *origin)
{
    arena_free(&origin->arena);
}

/* The token in the links of List-Unsubscribe, for reports that leave the return path out. */
static bool find_link_token(const struct judge *judge, const struct judge_input *input,
                            struct origin *origin)
{
    struct slice rest = input->mail->original.unsubscribe;
    while (rest.len >= VERP_LOCAL_LEN) {
        size_t len = 0;
        while (len < rest.len && strchr("/<>@:?, ", rest.ptr[len]) == NULL) {
            len++;
        }
        struct verp_token token;
        if (verp_read(judge->keys, slice_head(rest, len), input->now,
                      judge->config->verp.max_age_ms, &token) == VERP_GOOD) {
            take_token(origin, &token, true);
            return true;
        }
        rest = slice_skip(rest, len + 1);
    }
    return false;
}

/* A signed address among those that the report returns. */
static bool find_returned_token(const struct judge *judge, const struct judge_input *input,
                                struct origin *origin)
{
    const struct returned_original *original = &input->mail->original;
    const struct slice addresses[] = {original->return_path, original->verp, original->from};
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        struct address_match match;
        address_find(judge->config, judge->keys, addresses[i], input->now, &match);
        if (match.has_token && match.verdict == VERP_GOOD) {
            take_token(origin, &match.token, true);
            return true;
        }
    }
    return find_link_token(judge, input, origin);
}

/* The Message-ID that sluice-producer gives to mail that has none: <UUID@host>. */
static bool find_message_id(const struct judge_input *input, struct origin *origin)
{
    struct slice text = input->mail->original.message_id;
    struct uuid id;
    if (text.len > 2 && text.ptr[0] == '<') {
        text = slice_skip(text, 1);
    }
    if (text.len < UUID_TEXT_LEN || !uuid_parse(slice_head(text, UUID_TEXT_LEN), &id)) {
        return false;
    }
    uuid_format(&id, origin->id);
    origin->message_id = slice_of(origin->id, UUID_TEXT_LEN);
    return true;
}

static void find_origin(const struct judge *judge, const struct judge_input *input,
                        struct origin *origin)
{
    const struct returned_original *original = &input->mail->original;
    const struct address_match *to = input->to;
    *origin = (struct origin){.matched = "", .suspicious = ""};
    if (to->has_token) {
        take_token(origin, &to->token, to->verdict == VERP_GOOD);
        origin->suspicious = why_not(to->verdict);
    } else if (find_returned_token(judge, input, origin)) {
        return;
    } else if (find_message_id(input, origin)) {
        origin->matched = "message-id";
    } else if (original->tenant.len > 0) {
        origin->matched = "header";
    } else if (original->to.len > 0 || original->from.len > 0) {
        origin->matched = "returned";
    }
    if (!origin->token_good) {
        origin->tenant = original->tenant;
        origin->campaign = original->campaign;
        origin->list = original->list;
    }
    if (origin->tenant.len == 0 && to->tenant != NULL) {
        origin->tenant = slice_cstr(to->tenant);
    }
}

/* ---- what follows ---- */

/* The kind of mail, or what the address that it came to makes of it. */
static enum event_type type_of(const struct judge_input *input,
                               const struct returned_recipient *recipient)
{
    switch (input->mail->kind) {
    case RETURNED_BOUNCE:
        return recipient->action == RETURNED_ACTION_DELAYED ||
                       recipient->action == RETURNED_ACTION_DELIVERED
                   ? EVENT_RETURNED
                   : EVENT_BOUNCED_LATE;
    case RETURNED_COMPLAINT: return EVENT_COMPLAINT;
    case RETURNED_UNSUBSCRIBE:
    case RETURNED_OPT_OUT: return EVENT_UNSUBSCRIBED;
    case RETURNED_AUTO_REPLY:
    case RETURNED_CHALLENGE_RESPONSE: return EVENT_AUTO_REPLY;
    case RETURNED_NOT_A_BOUNCE:
        /* Whatever a person writes to that address means the same. */
        return input->to->class == ADDRESS_UNSUBSCRIBE ? EVENT_UNSUBSCRIBED : EVENT_RETURNED;
    case RETURNED_DELAYED:
    case RETURNED_DELIVERED:
    case RETURNED_AUTH_REPORT: break;
    }
    return EVENT_RETURNED;
}

/* Is one of the hosts that speak here of the organisation that we sent to? */
static bool on_route(const struct judge_input *input, const struct origin *origin,
                     const struct returned_recipient *recipient, struct slice address)
{
    const struct slice hosts[] = {input->peer_name, recipient->reporting_mta,
                                  input->mail->reporting_mta};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        if (hosts[i].len == 0) {
            continue;
        }
        if ((origin->token_good && verp_route(hosts[i]) == origin->token.route) ||
            mail_organisation_eq(hosts[i], mail_address_domain(address))) {
            return true;
        }
    }
    return false;
}

/* Somebody who writes to an address for leaving says all that is needed: who, and by the address
 * of which tenant. */
static bool is_request(const struct judge_input *input, const struct origin *origin,
                       enum event_type type, struct slice address)
{
    return type == EVENT_UNSUBSCRIBED && input->to->class == ADDRESS_UNSUBSCRIBE &&
           origin->tenant.len > 0 && address.len > 0;
}

/* Anybody can write a report about anybody. One without our signature is believed only at an
 * address that the configuration gives to such reports. */
static bool is_at_its_address(enum event_type type, enum address_class class)
{
    if (type == EVENT_BOUNCED_LATE) {
        return class == ADDRESS_BOUNCE;
    }
    return class == ADDRESS_FEEDBACK ||
           (type == EVENT_UNSUBSCRIBED && class == ADDRESS_UNSUBSCRIBE);
}

/* Why this event must not be believed; "": it may. */
static const char *suspicion(const struct judge_input *input, const struct origin *origin,
                             const struct returned_recipient *recipient, enum event_type type,
                             const struct classify_result *class, struct slice address)
{
    if (origin->suspicious[0] != '\0') {
        return origin->suspicious;
    }
    if (input->quarantined) {
        return "quarantine";
    }
    if (type == EVENT_RETURNED || type == EVENT_AUTO_REPLY) {
        return "";
    }
    /* Where our return paths and links are signed, a true one brings them back. */
    if (!origin->token_good && !is_at_its_address(type, input->to->class)) {
        return origin->matched[0] == '\0' ? "unmatched" : "unsigned";
    }
    if (origin->matched[0] == '\0' && !is_request(input, origin, type, address)) {
        return "unmatched";
    }
    bool hard =
        class->disposition == BOUNCE_DO_HARD || class->disposition == BOUNCE_DO_HARD_AFTER_N;
    if (type == EVENT_BOUNCED_LATE && hard && !on_route(input, origin, recipient, address)) {
        return "route";
    }
    return "";
}

/* Whether the address is the one that the token was written for. */
static bool proves(const struct origin *origin, struct slice address)
{
    return address.len > 0 && verp_recipient(address) == origin->token.recipient;
}

/* Who writes to an address for leaving means himself, however he puts it. */
static struct slice who_writes(const struct judge_input *input)
{
    return input->to->class == ADDRESS_UNSUBSCRIBE ? input->sender : SLICE_NULL;
}

/* The recipient as we wrote to him: with a good token only the one that it proves. */
static struct slice recipient_address(const struct judge_input *input, const struct origin *origin,
                                      const struct returned_recipient *recipient)
{
    const struct slice names[] = {recipient->original, recipient->address, input->mail->original.to,
                                  who_writes(input)};
    if (origin->token_good) {
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            if (proves(origin, names[i])) {
                return names[i];
            }
        }
        return SLICE_NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_find_byte(names[i], '@') > 0) {
            return names[i];
        }
    }
    return SLICE_NULL;
}

/* The same report about the same mail is the same event, whoever brings it how often. */
static struct uuid event_id_of(const struct judge_input *input, const struct origin *origin,
                               const struct event *event)
{
    char seed[1200];
    int len = 0;
    if (origin->token_good) {
        len = snprintf(seed, sizeof(seed), "returned/%s/%s/%08x/%.*s%.*s",
                       event_type_name(event->type), origin->id, origin->token.recipient,
                       SLICE_FMT(event->returned.bounce_class), SLICE_FMT(event->returned.list));
    } else {
        len = snprintf(seed, sizeof(seed), "returned/%s/%016llx/%.*s/%.*s/%.*s",
                       event_type_name(event->type), (unsigned long long)input->content_hash,
                       SLICE_FMT(event->returned.bounce_class), SLICE_FMT(event->recipient),
                       SLICE_FMT(event->returned.reported_recipient));
    }
    return uuid_derive(slice_of(seed, (size_t)len < sizeof(seed) ? (size_t)len : sizeof(seed) - 1));
}

static void add_facts(const struct judge *judge, const struct origin *origin, struct event *event)
{
    event->message_id = origin->message_id;
    event->tenant = origin->tenant;
    event->campaign = origin->campaign;
    if (origin->facts != NULL) {
        event->tenant = origin->facts->tenant;
        event->campaign = origin->facts->campaign;
        event->klass = origin->facts->klass;
        event->stream = origin->facts->stream;
        event->vip = origin->facts->vip;
    }
    event->returned.was_uncertain = table_is_uncertain(judge->table, event->message_id);
}

/* Texts that must live as long as the event. */
struct report_texts {
    char enhanced[SMTP_ENHANCED_TEXT_MAX];
    char cause_key[17];
};

static void add_report(const struct judge *judge, const struct judge_input *input,
                       const struct returned_recipient *recipient,
                       const struct classify_result *class, struct report_texts *texts,
                       struct event_returned *returned)
{
    (void)snprintf(texts->cause_key, sizeof(texts->cause_key), "%016" PRIx64, class->cause_key);
    *returned = (struct event_returned){
        .bounce_class = slice_cstr(bounce_class_name(class->class)),
        .disposition = slice_cstr(bounce_disposition_name(class->disposition)),
        .confidence = class->confidence,
        .rule = slice_cstr(class->rule),
        .code = class->code,
        .enhanced = smtp_enhanced_format(class->enhanced, texts->enhanced),
        .text = recipient->text,
        .reporting_mta = recipient->reporting_mta.len > 0 ? recipient->reporting_mta
                                                          : input->mail->reporting_mta,
        .remote_mta = recipient->remote_mta,
        .feedback_type = input->mail->feedback_type,
        .source = SLICE("smtp"),
        .peer_address = input->peer_address,
        .peer_name = input->peer_name,
        .received_by = input->received_by,
        .report_id = input->report_id,
        .bytes = input->bytes,
        .blame = slice_cstr(bounce_scope_name(class->scope)),
        .cause_key = slice_cstr(texts->cause_key),
        .rules_version = slice_cstr(classifier_version(judge->classifier)),
        .provider = slice_cstr(class->provider),
    };
}

/* What a person meant by writing there needs no rule; everything else is classified. */
static void classify(const struct judge *judge, const struct judge_input *input,
                     const struct returned_recipient *recipient, enum event_type type,
                     struct classify_result *class)
{
    const struct classify_mail how = {.classifier = judge->classifier, .scratch = judge->scratch};
    classify_mail_recipient(&how, input->mail, recipient, class);
    if (type == EVENT_UNSUBSCRIBED && class->class == BOUNCE_NOT_A_BOUNCE) {
        class->class = BOUNCE_UNSUBSCRIBE;
        class->disposition = bounce_class_disposition(BOUNCE_UNSUBSCRIBE, false);
    }
}

static void tell(const struct judge *judge, const struct judge_input *input,
                 const struct origin *origin, const struct returned_recipient *recipient,
                 judge_emit emit, void *owner)
{
    struct classify_result class;
    struct report_texts texts;
    char id_text[UUID_TEXT_LEN + 1];
    struct event event = {
        .type = type_of(input, recipient),
        .time_ms = input->now.ms,
        .node = judge->node,
        .worker = SLICE("sluice-bouncer"),
        .recipient = recipient_address(input, origin, recipient),
    };
    classify(judge, input, recipient, event.type, &class);
    add_report(judge, input, recipient, &class, &texts, &event.returned);
    add_facts(judge, origin, &event);
    struct slice reported = recipient->address;
    if (reported.len > 0 && !mail_address_eq(reported, event.recipient)) {
        event.returned.reported_recipient = reported;
    }
    event.returned.matched = slice_cstr(origin->matched);
    event.returned.suspicious =
        slice_cstr(suspicion(input, origin, recipient, event.type, &class, event.recipient));
    if (origin->token_good) {
        event.returned.sent_ms = origin->token.sent_ms;
        event.returned.age_ms = input->now.ms - origin->token.sent_ms;
    }
    struct uuid id = event_id_of(input, origin, &event);
    uuid_format(&id, id_text);
    event.event_id = slice_of(id_text, UUID_TEXT_LEN);
    event.returned.list = origin->facts != NULL ? facts_list(origin->facts) : origin->list;
    emit(owner, &event);
}

/* A signed return path is about one recipient: the one of the report that it was written for, else
 * the first. */
static const struct returned_recipient *proven(const struct returned_mail *mail,
                                               const struct origin *origin)
{
    for (size_t i = 0; i < mail->recipient_count; i++) {
        if (proves(origin, mail->recipients[i].original) ||
            proves(origin, mail->recipients[i].address)) {
            return &mail->recipients[i];
        }
    }
    return &mail->recipients[0];
}

enum judge_verdict judge_mail(const struct judge *judge, const struct judge_input *input,
                              bool wait_for_facts, judge_emit emit, void *owner)
{
    static const struct returned_recipient nobody = {.action = RETURNED_ACTION_NONE};
    const struct returned_mail *mail = input->mail;
    struct origin origin;
    find_origin(judge, input, &origin);
    if (origin.token_good && find_facts(judge, &origin) == TABLE_UNKNOWN && wait_for_facts) {
        origin_end(&origin);
        return JUDGE_FACTS_MISSING;
    }
    if (mail->recipient_count == 0) {
        tell(judge, input, &origin, &nobody, emit, owner);
    } else if (origin.token_good) {
        tell(judge, input, &origin, proven(mail, &origin), emit, owner);
    } else {
        for (size_t i = 0; i < mail->recipient_count; i++) {
            tell(judge, input, &origin, &mail->recipients[i], emit, owner);
        }
    }
    origin_end(&origin);
    return JUDGE_DONE;
}

/* ---- by link ---- */

/* The caller ends the origin. */
static enum judge_link read_link(const struct judge *judge, const struct judge_leave *leave,
                                 struct origin *origin)
{
    struct verp_token token;
    enum verp_verdict verdict = verp_read(judge->keys, leave->token, leave->now,
                                          judge->config->unsubscribe.max_age_ms, &token);
    *origin = (struct origin){.matched = "", .suspicious = ""};
    if (verdict != VERP_GOOD || token.purpose != VERP_UNSUBSCRIBE) {
        return JUDGE_LINK_UNKNOWN;
    }
    take_token(origin, &token, true);
    if (!proves(origin, leave->address)) {
        return JUDGE_LINK_UNKNOWN;
    }
    return find_facts(judge, origin) == TABLE_FOUND ? JUDGE_LINK_GOOD : JUDGE_LINK_LATER;
}

enum judge_link judge_link(const struct judge *judge, const struct judge_leave *leave)
{
    struct origin origin;
    enum judge_link link = read_link(judge, leave, &origin);
    origin_end(&origin);
    return link;
}

enum judge_link judge_leave(const struct judge *judge, const struct judge_leave *leave,
                            judge_emit emit, void *owner)
{
    static const enum bounce_class class = BOUNCE_UNSUBSCRIBE;
    struct origin origin;
    char id_text[UUID_TEXT_LEN + 1];
    enum judge_link link = read_link(judge, leave, &origin);
    if (link != JUDGE_LINK_GOOD) {
        origin_end(&origin);
        return link;
    }
    struct event event = {
        .type = EVENT_UNSUBSCRIBED,
        .time_ms = leave->now.ms,
        .node = judge->node,
        .worker = SLICE("sluice-bouncer"),
        .recipient = leave->address,
        .returned =
            {
                .bounce_class = slice_cstr(bounce_class_name(class)),
                .disposition =
                    slice_cstr(bounce_disposition_name(bounce_class_disposition(class, false))),
                .confidence = 100,
                .list = leave->list,
                .source = SLICE("http"),
                .peer_address = leave->peer_address,
                .report_id = leave->report_id,
                .matched = SLICE("verp"),
                .sent_ms = origin.token.sent_ms,
                .age_ms = leave->now.ms - origin.token.sent_ms,
            },
    };
    add_facts(judge, &origin, &event);
    struct judge_input none = {.now = leave->now};
    struct uuid id = event_id_of(&none, &origin, &event);
    uuid_format(&id, id_text);
    event.event_id = slice_of(id_text, UUID_TEXT_LEN);
    emit(owner, &event);
    origin_end(&origin);
    return JUDGE_LINK_GOOD;
}

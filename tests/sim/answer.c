/* The order of the questions: limits first, then what is for ever, rules, what passes. */
#include "sim/answer.h"

#include "base/hash.h"

#define ADDRESS_MAX 512 /* more of an address is not looked at */

enum purpose {
    PURPOSE_UNKNOWN,
    PURPOSE_TEMPORARY,
    PURPOSE_PHRASE,
    PURPOSE_GREYLIST,
    PURPOSE_RULE, /* and what follows: one for each */
};

/* The address without regard to case. */
static uint64_t address_hash(const struct sim_provider *provider, struct slice address,
                             uint64_t purpose)
{
    char lower[ADDRESS_MAX];
    address = slice_head(address, sizeof(lower));
    if (address.len > 0) {
        memcpy(lower, address.ptr, address.len);
        ascii_lower(lower, address.len);
    }
    return hash_sip(slice_of(lower, address.len), provider->seed, purpose);
}

bool sim_chance_by_hash(const struct sim_provider *provider, struct slice address, uint64_t purpose,
                        uint32_t chance)
{
    return chance > 0 && address_hash(provider, address, purpose) % SIM_CHANCE_ONE < chance;
}

/* splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

bool sim_chance_by_attempt(struct sim_provider *provider, uint32_t chance)
{
    return chance > 0 && next_random(&provider->random) % SIM_CHANCE_ONE < chance;
}

static void say(struct sim_provider *provider, const struct sim_request *request,
                const struct sim_reply *reply, struct sim_answer *answer)
{
    const struct sim_names names = {
        .rcpt = request->rcpt,
        .from = request->mail_from,
        .source = request->source->text,
        .host = slice_cstr(provider->config->host_name),
        .id = provider->next_id++,
    };
    answer->action = SIM_ACTION_REPLY;
    answer->code = reply->code;
    answer->enhanced = reply->enhanced[0] == '\0' ? NULL : reply->enhanced;
    sim_text_expand(answer->text, sizeof(answer->text), reply->text, &names);
    if (reply->code >= 400) {
        sim_provider_rejected(provider, reply->code);
    }
}

static const struct sim_profile_texts *texts_of(const struct sim_provider *provider)
{
    return sim_profile_texts((enum sim_profile)provider->config->profile);
}

/* The same address hears the same phrase. */
static void say_phrase(struct sim_provider *provider, const struct sim_request *request,
                       enum sim_phrase phrase, struct sim_answer *answer)
{
    struct sim_phrases phrases =
        sim_profile_phrases((enum sim_profile)provider->config->profile, phrase);
    struct slice who = request->rcpt.len > 0 ? request->rcpt : request->mail_from;
    uint64_t hash = address_hash(provider, who, PURPOSE_PHRASE);
    say(provider, request, &phrases.replies[hash % phrases.count], answer);
}

static bool violates(struct sim_provider *provider, const struct sim_request *request,
                     enum sim_violation violation, enum sim_phrase phrase,
                     struct sim_answer *answer)
{
    sim_provider_violation(provider, violation, request->source, request->now);
    say_phrase(provider, request, phrase, answer);
    return true;
}

static bool address_matches(const char *match, struct slice address)
{
    struct slice wanted = slice_cstr(match);
    return match[0] == '@' ? slice_ends_with_nocase(address, wanted)
                           : slice_eq_nocase(address, wanted);
}

static bool rule_matches(const struct sim_rule *rule, const struct sim_request *request)
{
    struct slice rest = request->rcpts;
    if (rule->match == NULL) {
        return true;
    }
    if (rule->phase == SIM_PHASE_RCPT) {
        return address_matches(rule->match, request->rcpt);
    }
    if (address_matches(rule->match, request->mail_from)) {
        return true;
    }
    while (rest.len > 0) {
        if (address_matches(rule->match, slice_cut(&rest, '\n'))) {
            return true;
        }
    }
    return false;
}

/* Whose hash decides about a 5xx. */
static struct slice rule_subject(const struct sim_rule *rule, const struct sim_request *request)
{
    struct slice rest = request->rcpts;
    switch ((enum sim_phase)rule->phase) {
    case SIM_PHASE_CONNECT: return request->source->text;
    case SIM_PHASE_MAIL: return request->mail_from;
    case SIM_PHASE_RCPT: return request->rcpt;
    case SIM_PHASE_DATA:
    case SIM_PHASE_MESSAGE:
    case SIM_PHASE_COUNT: break;
    }
    return slice_cut(&rest, '\n'); /* the first recipient */
}

static bool apply_rules(struct sim_provider *provider, const struct sim_request *request,
                        enum sim_phase phase, struct sim_answer *answer)
{
    for (size_t i = 0; i < provider->config->rule_count; i++) {
        const struct sim_rule *rule = &provider->config->rules[i];
        if (rule->phase != (uint32_t)phase || !rule_matches(rule, request)) {
            continue;
        }
        bool hit = rule->reply.code >= 500
                       ? sim_chance_by_hash(provider, rule_subject(rule, request), PURPOSE_RULE + i,
                                            rule->chance)
                       : sim_chance_by_attempt(provider, rule->chance);
        if (hit) {
            say(provider, request, &rule->reply, answer);
            return true;
        }
    }
    return false;
}

/* One more of what max-rate counts. True: too much. */
static bool rate_exceeded(struct sim_provider *provider, const struct sim_request *request,
                          enum sim_rate_unit unit, struct sim_answer *answer)
{
    int64_t now_us = request->now.us;
    if (provider->config->rate_counts != (uint32_t)unit) {
        return false;
    }
    sim_meter_add(&provider->arrivals, now_us, 1);
    if (!sim_window_take(&request->source->rate, now_us)) {
        return violates(provider, request, SIM_VIOLATION_RATE_PER_SOURCE, SIM_PHRASE_RATE, answer);
    }
    if (!sim_window_take(&provider->rate, now_us)) {
        return violates(provider, request, SIM_VIOLATION_RATE, SIM_PHRASE_RATE, answer);
    }
    return false;
}

static bool refuse_connection(struct sim_provider *provider, const struct sim_request *request,
                              struct sim_answer *answer)
{
    const struct sim_provider_config *config = provider->config;
    if (config->max_connections != 0 && provider->connections >= config->max_connections) {
        return violates(provider, request, SIM_VIOLATION_CONNECTIONS, SIM_PHRASE_CONNECTIONS,
                        answer);
    }
    if (config->max_connections_per_source != 0 &&
        request->source->connections >= config->max_connections_per_source) {
        return violates(provider, request, SIM_VIOLATION_CONNECTIONS_PER_SOURCE,
                        SIM_PHRASE_CONNECTIONS, answer);
    }
    if (!sim_window_take(&provider->connection_rate, request->now.us)) {
        return violates(provider, request, SIM_VIOLATION_CONNECTION_RATE, SIM_PHRASE_CONNECTIONS,
                        answer);
    }
    return apply_rules(provider, request, SIM_PHASE_CONNECT, answer);
}

bool sim_answer_connect(struct sim_provider *provider, const struct sim_request *request,
                        struct sim_answer *answer)
{
    provider->counters.connections++;
    if (refuse_connection(provider, request, answer)) {
        provider->counters.connections_refused++;
        return false;
    }
    sim_provider_enter(provider, request->source);
    return true;
}

void sim_answer_mail(struct sim_provider *provider, const struct sim_request *request,
                     struct sim_answer *answer)
{
    uint32_t max = provider->config->max_messages_per_connection;
    sim_meter_add(&provider->transactions_1s, request->now.us, 1);
    if (max != 0 && request->transactions >= max) {
        violates(provider, request, SIM_VIOLATION_MESSAGES_PER_CONNECTION, SIM_PHRASE_MESSAGES,
                 answer);
    } else if (!rate_exceeded(provider, request, SIM_RATE_TRANSACTIONS, answer) &&
               !apply_rules(provider, request, SIM_PHASE_MAIL, answer)) {
        say(provider, request, &texts_of(provider)->mail_ok, answer);
    }
}

/* Remembered by source, sender and recipient, as greylisting does. */
static bool greylisted(struct sim_provider *provider, const struct sim_request *request)
{
    char source_key[8];
    uint64_t pair = address_hash(provider, request->mail_from, PURPOSE_GREYLIST) ^
                    hash_sip(request->source->text, provider->seed, PURPOSE_GREYLIST);
    memcpy(source_key, &pair, sizeof(source_key));
    uint64_t key = hash_sip(slice_of(source_key, sizeof(source_key)), provider->seed,
                            address_hash(provider, request->rcpt, PURPOSE_GREYLIST));
    int64_t first_us = sim_seen_first(provider->seen, key, request->now.us);
    return first_us == request->now.us ||
           request->now.us - first_us < provider->config->greylist_ms * 1000;
}

static bool first_attempt(struct sim_provider *provider, const struct sim_request *request)
{
    uint64_t key = address_hash(provider, request->rcpt, PURPOSE_TEMPORARY);
    return sim_seen_first(provider->seen, key, request->now.us) == request->now.us;
}

void sim_answer_rcpt(struct sim_provider *provider, const struct sim_request *request,
                     struct sim_answer *answer)
{
    const struct sim_provider_config *config = provider->config;
    if (config->max_recipients_per_message != 0 &&
        request->rcpt_count >= config->max_recipients_per_message) {
        violates(provider, request, SIM_VIOLATION_RECIPIENTS_PER_MESSAGE, SIM_PHRASE_RECIPIENTS,
                 answer);
        return;
    }
    if (rate_exceeded(provider, request, SIM_RATE_RECIPIENTS, answer)) {
        return;
    }
    if (sim_chance_by_hash(provider, request->rcpt, PURPOSE_UNKNOWN, config->unknown)) {
        say_phrase(provider, request, SIM_PHRASE_UNKNOWN, answer);
        return;
    }
    if (apply_rules(provider, request, SIM_PHASE_RCPT, answer)) {
        return;
    }
    if (sim_chance_by_hash(provider, request->rcpt, PURPOSE_TEMPORARY, config->temporary) &&
        first_attempt(provider, request)) {
        say_phrase(provider, request, SIM_PHRASE_TEMPORARY, answer);
    } else if (config->greylist && greylisted(provider, request)) {
        say_phrase(provider, request, SIM_PHRASE_GREYLIST, answer);
    } else {
        say(provider, request, &texts_of(provider)->rcpt_ok, answer);
    }
}

void sim_answer_data(struct sim_provider *provider, const struct sim_request *request,
                     struct sim_answer *answer)
{
    if (!apply_rules(provider, request, SIM_PHASE_DATA, answer)) {
        say(provider, request, &texts_of(provider)->data_ok, answer);
    }
}

bool sim_answer_drops_content(struct sim_provider *provider)
{
    return sim_chance_by_attempt(provider, provider->config->drop_before_dot);
}

bool sim_answer_accepts_cut(struct sim_provider *provider)
{
    return sim_chance_by_attempt(provider, provider->config->accept_when_cut);
}

void sim_answer_message(struct sim_provider *provider, const struct sim_request *request,
                        struct sim_answer *answer)
{
    if (rate_exceeded(provider, request, SIM_RATE_MESSAGES, answer) ||
        apply_rules(provider, request, SIM_PHASE_MESSAGE, answer)) {
        return;
    }
    say(provider, request, &texts_of(provider)->message_ok, answer);
    answer->action = sim_chance_by_attempt(provider, provider->config->drop_after_dot)
                         ? SIM_ACTION_ACCEPT_SILENT
                         : SIM_ACTION_ACCEPT;
}

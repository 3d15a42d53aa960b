/*
 * sluicectl why MESSAGE-ID: what the log tells, what the workers have, and the record itself put
 * together to one verdict, within one deadline. The workers are asked by a thread of its own, while
 * the log is read and what it tells of is looked for; when all is there it is judged.
 */
#include "ops/sluicectl/why.h"
#include "ops/sluicectl/why_find.h"
#include "ops/sluicectl/why_trace.h"
#include "ops/sluicectl/why_verdict.h"

#include "base/mem.h"
#include "base/uuid.h"
#include "smtp/outcome.h"

#include <stdio.h>
#include <string.h>

#define SKEW_MS 60000       /* clocks of publishers */
#define PUBLISHED_MS 600000 /* an id is made at most so long before its record is written */

struct finding {
    const struct config *config;
    const struct why_query *query;
    struct why_search search;
    struct why_answers *answers;
    struct trace trace;
    struct why_log log;
    enum trace_state looked; /* for what `place` was looked for, by what the log told then */
    char topic[KAFKA_TOPIC_NAME_MAX + 1];
    struct why_place place;
    int64_t now_ms, id_ms;
    json_t *verdict;
};

static const char *topic_of(const struct finding *finding, const char *name,
                            char room[KAFKA_TOPIC_NAME_MAX + 1])
{
    (void)snprintf(room, KAFKA_TOPIC_NAME_MAX + 1, "%s%s", finding->config->kafka.prefix, name);
    return room;
}

static int32_t partition_of(const struct trace *trace)
{
    return trace->topic.len > 0 ? trace->partition : -1;
}

/* ---- looking, while the workers are asked ---- */

static bool look_unread(struct finding *finding, struct fault *fault)
{
    int64_t from_ms = finding->id_ms > 0 ? finding->id_ms - SKEW_MS : 0;
    int64_t to_ms = finding->id_ms > 0 ? finding->id_ms + PUBLISHED_MS : 0;
    if (finding->query->since_ms > 0) {
        from_ms = finding->query->since_ms;
        to_ms = 0;
    }
    return why_find_unread(&finding->search, finding->config, from_ms, to_ms, &finding->place,
                           fault);
}

/* Up to where the partition of its first record has been read. */
static bool look_taken(struct finding *finding, struct fault *fault)
{
    const struct trace *trace = &finding->trace;
    struct why_place *place = &finding->place;
    (void)snprintf(place->topic, sizeof(place->topic), "%.*s", SLICE_FMT(trace->topic));
    struct kafka_reader_place one = {.topic = place->topic, .partition = trace->partition};
    bool good = kafka_finder_committed(finding->search.finder, &one, 1,
                                       why_left_ms(finding->query->deadline), fault);
    place->found = place->searched_all = good;
    place->partition = trace->partition;
    place->offset = trace->offset;
    place->next = one.offset;
    return good;
}

/* The tier where it must be now; if it is not there its time there is given two chances, as a
 * retry's tier depends on whether it ends at its expiry. */
static bool look_in_tiers(struct finding *finding, struct fault *fault)
{
    const struct config_kafka *kafka = &finding->config->kafka;
    const struct trace_fact *wait = trace_wait(&finding->trace);
    struct trace_tier tier = {0};
    char name[16];
    for (int exact = 0; exact < 2 && !finding->place.found; exact++) {
        unsigned before = tier.tier;
        trace_tier_at(wait->time_ms, wait->next_ms, exact != 0, finding->now_ms,
                      kafka->tier_unit_ms, (unsigned)kafka->tiers, &tier);
        if (exact != 0 && tier.tier == before) {
            break;
        }
        (void)snprintf(name, sizeof(name), "d.%02u", tier.tier);
        if (!why_find_in_tier(&finding->search, topic_of(finding, name, finding->topic),
                              partition_of(&finding->trace), tier.since_ms, wait->next_ms,
                              &finding->place, fault)) {
            return false;
        }
    }
    return true;
}

static bool look_held(struct finding *finding, struct fault *fault)
{
    return why_find_held(&finding->search, topic_of(finding, "uncertain", finding->topic),
                         partition_of(&finding->trace), finding->trace.last.time_ms,
                         &finding->place, fault);
}

/* For its record, where the log says that it must be. */
static bool look_for_record(struct finding *finding, struct fault *fault)
{
    finding->place = (struct why_place){0};
    finding->looked = trace_state(&finding->trace);
    switch (finding->looked) {
    case TRACE_NOTHING: return look_unread(finding, fault);
    case TRACE_TAKEN: return look_taken(finding, fault);
    case TRACE_WAITS: return look_in_tiers(finding, fault);
    case TRACE_HELD: return look_held(finding, fault);
    case TRACE_FINISHED: break;
    }
    return true;
}

/* Before anything is known of it the log may have half of the time: it may just be unread. */
static bool look_through(struct finding *finding, struct fault *fault)
{
    struct why_log *log = &finding->log;
    struct kafka_finder *finder = finding->search.finder;
    struct mono_time deadline = finding->query->deadline;
    int64_t left_ms = mono_since_us(deadline, mono_now()) / 1000;
    if (!why_log_read(log, finder, mono_add_ms(mono_now(), left_ms / 2), fault)) {
        return false;
    }
    if (trace_state(&finding->trace) == TRACE_NOTHING && !log->complete) {
        if (!look_for_record(finding, fault)) {
            return false;
        }
        bool asked = why_ask_over(finding->search.asking);
        if ((finding->place.found && asked) || why_ask_found(finding->search.asking)) {
            return true;
        }
    }
    if (!log->complete && !why_log_read(log, finder, deadline, fault)) {
        return false;
    }
    enum trace_state state = trace_state(&finding->trace);
    return state == finding->looked || (state != TRACE_NOTHING && !log->complete) ||
           look_for_record(finding, fault);
}

/* ---- verdicts ---- */

/* In a worker's memory. A record of a tier that is next to be due is held there, too: of that the
 * log knows more. */
static bool judge_memory(struct finding *finding)
{
    bool known = finding->log.complete && trace_state(&finding->trace) == TRACE_WAITS;
    for (size_t i = 0; i < finding->answers->count; i++) {
        const json_t *answer = finding->answers->items[i];
        json_t *message = json_object_get(answer, "message");
        if (message != NULL && !(known && strcmp(why_text(message, "state"), "retry") == 0)) {
            (void)json_object_update(finding->verdict, message);
            verdict_text(finding->verdict, "worker", slice_cstr(why_text(answer, "worker")));
            return true;
        }
    }
    return false;
}

/* Between its last event and the next one nobody can see it but by asking again; or it is where
 * nobody has looked, or who has not answered has it. */
static void judge_between(struct finding *finding)
{
    bool all = finding->place.searched_all && why_answers_complete(finding->answers);
    verdict_state(finding->verdict, all ? "between" : "taken");
}

/* By where it lies, and how far its partition has been read. */
static void judge_unread(struct finding *finding, double rate)
{
    const struct why_place *place = &finding->place;
    if (!place->found || place->next > place->offset) {
        judge_between(finding);
        return;
    }
    verdict_state(finding->verdict, "unread");
    verdict_place(finding->verdict, place->topic, place->partition, place->offset, place->next,
                  rate);
}

static void tell_wait(struct finding *finding, const struct trace_fact *wait)
{
    verdict_wait(finding->verdict, wait);
    verdict_text(finding->verdict, "site", wait->site);
    verdict_text(finding->verdict, "route", wait->vip);
    verdict_number(finding->verdict, "attempt",
                   wait->number + (wait->type == EVENT_POSTPONED ? 0 : 1));
    verdict_number(finding->verdict, "expected_ms", wait->next_ms);
}

static void judge_tier(struct finding *finding)
{
    const struct why_place *place = &finding->place;
    const struct trace_fact *wait = trace_wait(&finding->trace);
    bool waits = wait->next_ms > finding->now_ms;
    if (place->found && (waits || place->offset >= place->next)) {
        verdict_state(finding->verdict, "tier");
        verdict_place(finding->verdict, place->topic, place->partition, place->offset, place->next,
                      0);
    } else if (waits) {
        verdict_state(finding->verdict, "tier"); /* by what the log tells */
        verdict_text(finding->verdict, "topic", slice_cstr(finding->topic));
    } else {
        judge_between(finding);
    }
    tell_wait(finding, wait);
}

static void judge_held(struct finding *finding)
{
    const struct why_place *place = &finding->place;
    verdict_state(finding->verdict, place->found && !place->decided ? "held"
                                    : place->found                  ? "between"
                                    : place->searched_all ? "finished" /* on-uncertain: drop */
                                                          : "unfound");
    if (place->found && !place->decided) {
        verdict_text(finding->verdict, "key", slice_cstr(place->key));
        verdict_number(finding->verdict, "attempt", (int64_t)place->attempt);
        verdict_number(finding->verdict, "held_ms", place->timestamp_ms);
    }
}

static void judge_nothing(struct finding *finding, double rate)
{
    bool answered = why_answers_complete(finding->answers);
    if (finding->place.found && (answered || finding->log.complete)) {
        judge_unread(finding, rate);
        return;
    }
    bool all = finding->log.complete && finding->place.searched_all && answered;
    verdict_state(finding->verdict, all ? "unknown" : "unfound");
}

static void judge(struct finding *finding)
{
    enum trace_state state = trace_state(&finding->trace);
    struct why_place *place = &finding->place;
    double rate = 0;
    if (state == TRACE_FINISHED) {
        verdict_state(finding->verdict, "finished");
        return;
    }
    if (judge_memory(finding)) {
        return;
    }
    if (place->found) {
        int64_t position = why_position(finding->answers, place->topic, place->partition, &rate);
        place->next = position > place->next ? position : place->next;
    }
    if (state != TRACE_NOTHING && !finding->log.complete) {
        verdict_state(finding->verdict, "taken"); /* more may have come of it */
        return;
    }
    switch (state) {
    case TRACE_NOTHING: judge_nothing(finding, rate); break;
    case TRACE_TAKEN: judge_unread(finding, rate); break;
    case TRACE_WAITS: judge_tier(finding); break;
    case TRACE_HELD: judge_held(finding); break;
    case TRACE_FINISHED: break;
    }
}

/* What was looked at, and what was not. */
static void tell_searched(struct finding *finding)
{
    static const char *const places[] = {
        [TRACE_NOTHING] = "unread", [TRACE_TAKEN] = NULL,    [TRACE_WAITS] = "tier",
        [TRACE_HELD] = "held",      [TRACE_FINISHED] = NULL,
    };
    const struct why_log *log = &finding->log;
    const struct why_answers *answers = finding->answers;
    json_t *entry = verdict_searched(finding->verdict, "log", log->complete);
    verdict_number(entry, "from_ms", log->from_ms > 0 ? log->from_ms : 0);
    verdict_number(entry, "until_ms", log->read_ms);
    verdict_number(finding->verdict, "answers", (int64_t)answers->count);
    verdict_number(finding->verdict, "answers_expected", (int64_t)answers->expected);
    if (finding->looked == TRACE_FINISHED) {
        return;
    }
    entry = verdict_searched(finding->verdict, "workers", why_answers_complete(answers));
    (void)json_object_set_new(entry, "answers", json_integer((json_int_t)answers->count));
    (void)json_object_set_new(entry, "expected", json_integer((json_int_t)answers->expected));
    if (places[finding->looked] != NULL) {
        entry = verdict_searched(finding->verdict, places[finding->looked],
                                 finding->place.searched_all);
        verdict_text(entry, "topic", slice_cstr(finding->topic));
    }
}

/* ---- finding ---- */

static bool look(struct finding *finding, const struct kafka_properties *properties,
                 struct fault *fault)
{
    const struct why_query *query = finding->query;
    char topic[KAFKA_TOPIC_NAME_MAX + 1];
    struct fault unasked = {0};
    int64_t from_ms = query->since_ms > 0  ? query->since_ms
                      : finding->id_ms > 0 ? finding->id_ms - SKEW_MS
                                           : KAFKA_FINDER_BEGINNING;
    struct why_asking *asking = why_ask(properties, topic_of(finding, "control", topic),
                                        query->message_id, query->deadline, finding->answers);
    finding->search.asking = asking;
    finding->search.finder = kafka_finder_create(properties, finding->config->kafka.group, fault);
    bool good =
        finding->search.finder != NULL &&
        why_log_begin(&finding->log, finding->search.finder, topic_of(finding, "log", topic),
                      from_ms, query->deadline, &finding->trace, fault) &&
        (look_through(finding, fault) || fault->kind == FAULT_TIMEOUT);
    if (!good || trace_state(&finding->trace) == TRACE_FINISHED) {
        why_ask_enough(asking);
    }
    if (!why_ask_end(&asking, &unasked) && good) {
        (void)fprintf(stderr, "sluicectl why: the workers could not be asked: %s\n", unasked.text);
    }
    finding->search.asking = NULL;
    return good;
}

/* The id as events have it. */
static bool parse_id(const char *text, char id[UUID_TEXT_LEN + 1], int64_t *time_ms)
{
    struct uuid uuid;
    if (!uuid_parse(slice_cstr(text), &uuid)) {
        (void)fprintf(stderr, "sluicectl why: \"%s\" is no message id (a UUID)\n", text);
        return false;
    }
    uuid_format(&uuid, id);
    *time_ms = uuid_v7_time_ms(&uuid);
    return true;
}

int why_message(const struct config *config, const struct kafka_properties *properties,
                const struct why_query *query)
{
    char id[UUID_TEXT_LEN + 1];
    struct why_query canonical = *query;
    struct fault fault = {0};
    struct finding finding = {.config = config,
                              .query = &canonical,
                              .search.query = &canonical,
                              .looked = TRACE_FINISHED,
                              .now_ms = wall_now().ms};
    if (!parse_id(query->message_id, id, &finding.id_ms)) {
        return WHY_USAGE;
    }
    canonical.message_id = id;
    finding.answers = mem_zalloc(sizeof(*finding.answers));
    finding.verdict = json_object();
    trace_init(&finding.trace, slice_cstr(id));
    verdict_text(finding.verdict, "message_id", slice_cstr(id));
    int status = 1;
    if (look(&finding, properties, &fault)) {
        judge(&finding);
        verdict_history(finding.verdict, &finding.trace);
        tell_searched(&finding);
        status = verdict_print(finding.verdict, query->json);
    } else {
        (void)fprintf(stderr, "sluicectl why: %s\n", fault.text);
    }
    kafka_finder_free(&finding.search.finder);
    trace_free(&finding.trace);
    json_decref(finding.verdict);
    why_answers_free(finding.answers);
    mem_free(finding.answers);
    return status;
}

int why_message_here(const struct why_query *query, const struct why_answers *answers)
{
    char id[UUID_TEXT_LEN + 1];
    int64_t time_ms;
    if (!parse_id(query->message_id, id, &time_ms)) {
        return WHY_USAGE;
    }
    struct finding finding = {.query = query, .verdict = json_object()};
    struct why_answers copy = *answers;
    finding.answers = &copy;
    verdict_text(finding.verdict, "message_id", slice_cstr(id));
    if (!judge_memory(&finding)) {
        verdict_state(finding.verdict, "elsewhere");
    }
    int status = verdict_print(finding.verdict, query->json);
    json_decref(finding.verdict);
    return status;
}

/*
 * sluicectl why MESSAGE-ID: what the log tells, what the workers have, and the record itself put
 * together to one verdict. The question is asked first, so that the workers answer while the log is
 * read.
 */
#include "ops/sluicectl/why.h"
#include "ops/sluicectl/why_trace.h"
#include "ops/sluicectl/why_verdict.h"

#include "base/mem.h"
#include "base/uuid.h"
#include "kafka/topics.h"
#include "smtp/outcome.h"

#include <stdio.h>
#include <string.h>

#define SKEW_MS 60000       /* clocks of publishers */
#define PUBLISHED_MS 600000 /* an id is made at most so long before its record is written */
#define FIND_MS 1000

struct finding {
    const struct config *config;
    const struct why_query *query;
    struct kafka_finder *finder;
    struct why_answers *answers;
    struct trace trace;
    bool complete; /* the log was read as far as it matters */
    int64_t read_ms, id_ms;
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

static struct mono_time find_deadline(const struct finding *finding)
{
    int64_t budget = finding->query->timeout_ms;
    return mono_add_ms(mono_now(), budget > FIND_MS ? budget : FIND_MS);
}

/* ---- verdicts ---- */

/* In a worker's memory. A record of a tier that is next to be due is held there, too: of that the
 * log knows more. */
static bool judge_memory(struct finding *finding)
{
    bool known = finding->complete && trace_state(&finding->trace) == TRACE_WAITS;
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

static bool have_all_answered(const struct finding *finding)
{
    return finding->answers->expected > 0 && finding->answers->count >= finding->answers->expected;
}

/* Between its last event and the next one nobody can see it but by asking again; or a worker that
 * has not answered has it. */
static void judge_between(struct finding *finding)
{
    verdict_state(finding->verdict, have_all_answered(finding) ? "between" : "taken");
}

static bool judge_unread_again(struct finding *finding, struct fault *fault)
{
    char topic[KAFKA_TOPIC_NAME_MAX + 1];
    const struct trace *trace = &finding->trace;
    struct kafka_reader_place one = {.topic = topic, .partition = trace->partition};
    double rate;
    (void)snprintf(topic, sizeof(topic), "%.*s", SLICE_FMT(trace->topic));
    int64_t position = why_position(finding->answers, topic, one.partition, &rate);
    if (!kafka_finder_committed(finding->finder, &one, 1, FIND_MS, fault)) {
        return false;
    }
    int64_t next = position > one.offset ? position : one.offset;
    if (next > trace->offset) {
        judge_between(finding);
        return true;
    }
    verdict_state(finding->verdict, "unread");
    verdict_place(finding->verdict, topic, one.partition, trace->offset, next, rate);
    return true;
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

/* The tier where it must be now; if it is not there its time there is given two chances, as a
 * retry's tier depends on whether it ends at its expiry. */
static bool judge_tier(struct finding *finding, struct fault *fault)
{
    const struct config_kafka *kafka = &finding->config->kafka;
    const struct trace_fact *wait = trace_wait(&finding->trace);
    struct why_place place = {0};
    struct trace_tier tier = {0};
    int64_t now_ms = wall_now().ms;
    char name[16];
    char topic[KAFKA_TOPIC_NAME_MAX + 1];
    for (int exact = 0; exact < 2 && !place.found; exact++) {
        unsigned before = tier.tier;
        trace_tier_at(wait->time_ms, wait->next_ms, exact != 0, now_ms, kafka->tier_unit_ms,
                      (unsigned)kafka->tiers, &tier);
        if (exact != 0 && tier.tier == before) {
            break;
        }
        (void)snprintf(name, sizeof(name), "d.%02u", tier.tier);
        if (!why_find_in_tier(finding->finder, finding->answers, topic_of(finding, name, topic),
                              partition_of(&finding->trace), finding->query->message_id,
                              tier.since_ms, wait->next_ms, find_deadline(finding), &place,
                              fault)) {
            return false;
        }
    }
    if (place.found && (wait->next_ms > now_ms || place.offset >= place.next)) {
        verdict_state(finding->verdict, "tier");
        verdict_place(finding->verdict, place.topic, place.partition, place.offset, place.next, 0);
        tell_wait(finding, wait);
    } else if (wait->next_ms > now_ms) {
        verdict_state(finding->verdict, "tier"); /* by what the log tells */
        verdict_text(finding->verdict, "topic", slice_cstr(topic));
        tell_wait(finding, wait);
    } else {
        judge_between(finding);
        tell_wait(finding, wait);
    }
    return true;
}

static bool judge_held(struct finding *finding, struct fault *fault)
{
    char topic[KAFKA_TOPIC_NAME_MAX + 1];
    struct why_place place;
    const struct trace_fact *last = &finding->trace.last;
    if (!why_find_held(finding->finder, topic_of(finding, "uncertain", topic),
                       partition_of(&finding->trace), finding->query->message_id, last->time_ms,
                       find_deadline(finding), &place, fault)) {
        return false;
    }
    verdict_state(finding->verdict, !place.found    ? "finished" /* on-uncertain: drop */
                                    : place.decided ? "between"
                                                    : "held");
    if (place.found && !place.decided) {
        verdict_text(finding->verdict, "key", slice_cstr(place.key));
        verdict_number(finding->verdict, "attempt", (int64_t)place.attempt);
        verdict_number(finding->verdict, "held_ms", place.timestamp_ms);
    }
    return true;
}

static bool judge_unseen(struct finding *finding, struct fault *fault)
{
    struct why_place place;
    int64_t from_ms = finding->id_ms > 0 ? finding->id_ms - SKEW_MS : 0;
    int64_t to_ms = finding->id_ms > 0 ? finding->id_ms + PUBLISHED_MS : 0;
    if (finding->query->since_ms > 0) {
        from_ms = finding->query->since_ms;
        to_ms = 0;
    }
    if (!why_find_unread(finding->finder, finding->config, finding->query, finding->answers,
                         from_ms, to_ms, find_deadline(finding), &place, fault)) {
        return false;
    }
    if (place.found) {
        verdict_state(finding->verdict, "unread");
        verdict_place(finding->verdict, place.topic, place.partition, place.offset, place.next,
                      place.rate);
    } else {
        verdict_state(finding->verdict, "unknown");
        finding->complete = finding->complete && place.searched_all;
    }
    return true;
}

static bool judge(struct finding *finding, struct fault *fault)
{
    enum trace_state state = trace_state(&finding->trace);
    if (state != TRACE_FINISHED && judge_memory(finding)) {
        return true;
    }
    if (state != TRACE_FINISHED && state != TRACE_NOTHING && !finding->complete) {
        verdict_state(finding->verdict, "taken"); /* more may have come of it */
        return true;
    }
    switch (state) {
    case TRACE_NOTHING: return judge_unseen(finding, fault);
    case TRACE_TAKEN: return judge_unread_again(finding, fault);
    case TRACE_WAITS: return judge_tier(finding, fault);
    case TRACE_HELD: return judge_held(finding, fault);
    case TRACE_FINISHED: break;
    }
    verdict_state(finding->verdict, "finished");
    return true;
}

/* ---- finding ---- */

static bool look(struct finding *finding, const struct kafka_properties *properties,
                 struct fault *fault)
{
    const struct why_query *query = finding->query;
    char topic[KAFKA_TOPIC_NAME_MAX + 1];
    int64_t from_ms = query->since_ms > 0  ? query->since_ms
                      : finding->id_ms > 0 ? finding->id_ms - SKEW_MS
                                           : KAFKA_FINDER_BEGINNING;
    struct why_asking *asking =
        why_ask(properties, topic_of(finding, "control", topic), query->message_id, fault);
    if (asking == NULL) {
        return false;
    }
    finding->finder = kafka_finder_create(properties, finding->config->kafka.group, fault);
    bool good = finding->finder != NULL &&
                why_trace_read(finding->finder, topic_of(finding, "log", topic), from_ms,
                               mono_add_ms(mono_now(), query->timeout_ms), &finding->trace,
                               &finding->complete, &finding->read_ms, fault);
    if (good && trace_state(&finding->trace) != TRACE_FINISHED) {
        good = why_gather(asking, query->timeout_ms, finding->answers, fault);
    }
    why_asking_free(&asking);
    return good && judge(finding, fault);
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
    struct finding finding = {.config = config, .query = &canonical};
    if (!parse_id(query->message_id, id, &finding.id_ms)) {
        return 2;
    }
    canonical.message_id = id;
    finding.answers = mem_zalloc(sizeof(*finding.answers));
    finding.verdict = json_object();
    trace_init(&finding.trace, slice_cstr(id));
    verdict_text(finding.verdict, "message_id", slice_cstr(id));
    bool good = look(&finding, properties, &fault);
    int status = 1;
    if (good) {
        verdict_history(finding.verdict, &finding.trace);
        verdict_number(finding.verdict, "answers", (int64_t)finding.answers->count);
        verdict_number(finding.verdict, "answers_expected", (int64_t)finding.answers->expected);
        if (!finding.complete) {
            verdict_number(finding.verdict, "log_read_until_ms", finding.read_ms);
        }
        status = verdict_print(finding.verdict, query->json) ? 0 : 1;
    } else {
        (void)fprintf(stderr, "sluicectl why: %s\n", fault.text);
    }
    kafka_finder_free(&finding.finder);
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
        return 2;
    }
    struct finding finding = {.query = query, .verdict = json_object()};
    struct why_answers copy = *answers;
    finding.answers = &copy;
    verdict_text(finding.verdict, "message_id", slice_cstr(id));
    if (!judge_memory(&finding)) {
        verdict_state(finding.verdict, "elsewhere");
    }
    int status = verdict_print(finding.verdict, query->json) ? 0 : 1;
    json_decref(finding.verdict);
    return status;
}

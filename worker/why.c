#include "worker/why.h"

#include "worker/console.h"
#include "worker/why_private.h"
#include "worker/worker.h"

#include "base/log.h"
#include "schema/json.h"

int64_t why_wall_ms(const struct why_writer *writer, struct mono_time at)
{
    return wall_now().ms + mono_since_us(at, writer->now) / 1000;
}

void why_add_text(struct strbuf *out, const char *name, struct slice value)
{
    (void)strbuf_addf(out, "\"%s\":", name);
    json_add_string(out, value);
}

void why_add_reason(struct why_writer *writer, const char *reason, const struct limit *limit,
                    struct mono_time until, struct slice detail)
{
    strbuf_add_cstr(writer->out, writer->count++ > 0 ? ",{" : "{");
    why_add_text(writer->out, "reason", slice_cstr(reason));
    if (limit != NULL) {
        strbuf_add_cstr(writer->out, ",");
        why_add_text(writer->out, "limit", redis_limit_key(limit));
    }
    if (mono_before(writer->now, until) && until.us != INT64_MAX) {
        (void)strbuf_addf(writer->out, ",\"until_ms\":%lld", (long long)why_wall_ms(writer, until));
    }
    if (detail.len > 0) {
        strbuf_add_cstr(writer->out, ",");
        why_add_text(writer->out, "detail", detail);
    }
    strbuf_add_cstr(writer->out, "}");
}

void why_add_waiter(struct why_writer *writer, const char *reason,
                    const struct limit_waiter *waiter, struct slice detail)
{
    if (list_linked(&waiter->node) && waiter->blocking != NULL) {
        why_add_reason(writer, reason, waiter->blocking, waiter->until, detail);
    }
}

/* By the socket only this worker answers. */
void why_begin(struct strbuf *answer, const struct worker *worker, const struct question *question,
               const char *shard, unsigned workers)
{
    unsigned here = worker->shard_count + 1;
    (void)strbuf_addf(answer, "{\"request\":%llu,", (unsigned long long)question->number);
    why_add_text(answer, "worker", slice_cstr(worker->name));
    (void)strbuf_addf(answer, ",\"shard\":%s,\"answers\":%u", shard,
                      question->console != NULL ? here : here * (workers == 0 ? 1 : workers));
}

void why_send(struct worker *worker, const struct question *question, const char *part,
              const struct strbuf *answer)
{
    char key[sizeof(worker->name) + 32];
    struct fault fault;
    CHECK(!answer->overflow);
    if (worker->events == NULL) {
        return; /* the worker is ending */
    }
    if (question->console != NULL) {
        console_answer(question->console, question->link, strbuf_slice(answer));
        return;
    }
    int len = snprintf(key, sizeof(key), "why/%s/%s", worker->name, part);
    const struct kafka_record_out record = {.topic = worker->topics.control,
                                            .partition = -1,
                                            .key = slice_of(key, (size_t)len),
                                            .value = strbuf_slice(answer)};
    if (!kafka_producer_send(worker->events, &record, &fault)) {
        log_warn("why-unanswered", "part=%s reason=\"%s\"", part, fault.text);
    }
}

void why_answer(struct shard *shard, const struct question *question)
{
    struct strbuf answer, entry;
    struct worker *worker = shard->worker;
    struct lane *lane;
    size_t cursor = 0, count = 0;
    char part[16];
    struct why_writer writer = {.out = &entry, .now = io_loop_now(shard->loop)};
    strbuf_init(&answer, WHY_ANSWER_MAX + 2 * WHY_ENTRY_MAX);
    strbuf_init(&entry, WHY_ENTRY_MAX);
    snprintf(part, sizeof(part), "%u", shard->index);
    why_begin(&answer, worker, question, part, shard->holders / worker->shard_count);
    why_add_message(&writer, shard, question);
    if (!entry.overflow) {
        (void)strbuf_add_slice(&answer, strbuf_slice(&entry));
    }
    strbuf_add_cstr(&answer, ",\"lanes\":[");
    while (question->message_id[0] == '\0' && (lane = map_next(&shard->lanes, &cursor)) != NULL &&
           answer.len < WHY_ANSWER_MAX) {
        strbuf_reset(&entry);
        strbuf_add_cstr(&entry, count > 0 ? "," : "");
        why_add_lane(&writer, lane);
        if (!entry.overflow) {
            (void)strbuf_add_slice(&answer, strbuf_slice(&entry));
            count++;
        }
    }
    strbuf_add_cstr(&answer, "]}");
    why_send(worker, question, part, &answer);
    strbuf_free(&entry);
    strbuf_free(&answer);
}

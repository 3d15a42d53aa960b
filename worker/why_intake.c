/* What the intake thread has: mails that are held back or not quite over, and how far it has read.
 */
#include "worker/why_private.h"

#include "worker/worker.h"

#include "schema/headers.h"

/* Most of what is here was not decoded; records of tiers tell their id in a header. */
static bool is_about(const struct question *question, const struct mail *mail)
{
    struct slice id = mail->message.id;
    return why_is_about(question, id) ||
           (id.len == 0 && mail->record.handle != NULL &&
            kafka_record_header(&mail->record, HEADER_ID, &id) && why_is_about(question, id));
}

static const struct mail *find(const struct list *list, const struct question *question)
{
    list_foreach (node, list) {
        const struct mail *mail = CONTAINER_OF(node, struct mail, node);
        if (is_about(question, mail)) {
            return mail;
        }
    }
    return NULL;
}

/* When it may be tried, as its tier's record promised. */
static int64_t due_ms(const struct mail *mail)
{
    struct slice text;
    uint64_t due = 0;
    bool told = mail->record.handle != NULL &&
                kafka_record_header(&mail->record, HEADER_DUE_MS, &text) &&
                slice_to_u64(text, &due) && due <= INT64_MAX;
    return told && (int64_t)due > mail->hold_until_ms ? (int64_t)due : mail->hold_until_ms;
}

static void add_held(struct why_writer *writer, const struct mail *mail)
{
    struct slice text = SLICE_NULL;
    int64_t due = due_ms(mail);
    strbuf_add_cstr(writer->out, ",\"expected_ms\":");
    (void)strbuf_addf(writer->out, "%lld", (long long)due);
    if (kafka_record_header(&mail->record, HEADER_LAST, &text)) {
        strbuf_add_cstr(writer->out, ",");
        why_add_text(writer->out, "last", text);
    }
    strbuf_add_cstr(writer->out, ",\"reasons\":[");
    writer->count = 0;
    why_add_reason(writer, "retry", NULL, mono_add_ms(writer->now, due - wall_now().ms), text);
    strbuf_add_cstr(writer->out, "]");
}

static void add_message(struct why_writer *writer, const struct why_intake *intake,
                        const struct question *question)
{
    const struct {
        const char *state;
        const struct list *list;
    } places[] = {
        {"retry", intake->held}, {"takeover", intake->awaited}, {"settling", intake->settled}};
    for (size_t i = 0; i < ARRAY_LEN(places) && question->message_id[0] != '\0'; i++) {
        const struct mail *mail = find(places[i].list, question);
        if (mail == NULL) {
            continue;
        }
        strbuf_add_cstr(writer->out, ",\"message\":{");
        why_add_text(writer->out, "state", slice_cstr(places[i].state));
        strbuf_add_cstr(writer->out, ",");
        why_add_text(writer->out, "topic", slice_cstr(mail->record.topic));
        (void)strbuf_addf(writer->out, ",\"partition\":%d,\"offset\":%lld",
                          mail->record.partition_id, (long long)mail->record.offset);
        if (i == 0) {
            add_held(writer, mail);
        }
        strbuf_add_cstr(writer->out, "}");
        return;
    }
}

void why_answer_intake(const struct why_intake *intake, const struct question *question)
{
    struct strbuf answer;
    struct worker *worker = intake->worker;
    struct why_writer writer = {.out = &answer, .now = intake->now};
    strbuf_init(&answer, WHY_ANSWER_MAX + 2 * WHY_ENTRY_MAX);
    why_begin(&answer, worker, question, "\"intake\"", intake->workers);
    add_message(&writer, intake, question);
    strbuf_add_cstr(&answer, ",\"lanes\":[],\"partitions\":[");
    for (size_t i = 0; i < intake->pace->count && answer.len < WHY_ANSWER_MAX; i++) {
        const struct kafka_partition *partition = intake->pace->items[i].partition;
        strbuf_add_cstr(&answer, i > 0 ? ",{" : "{");
        why_add_text(&answer, "topic", slice_cstr(kafka_partition_topic(partition)));
        (void)strbuf_addf(&answer, ",\"partition\":%d,\"position\":%lld,\"rate\":%.3f}",
                          kafka_partition_id(partition), (long long)pace_position(partition),
                          pace_rate(intake->pace, i, intake->now));
    }
    strbuf_add_cstr(&answer, "]}");
    why_send(worker, question, "intake", &answer);
    strbuf_free(&answer);
}

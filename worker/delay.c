#include "worker/delay.h"

#include "kafka/topics.h"
#include "schema/headers.h"
#include "worker/worker.h"

int64_t delay_retry_wait_ms(const struct config_site *site, uint32_t attempt)
{
    CHECK(site->retry_count > 0 && attempt > 0);
    size_t i = attempt - 1;
    return site->retry_ms[i < site->retry_count ? i : site->retry_count - 1];
}

bool delay_is_short(int64_t rest_ms, int64_t unit_ms)
{
    return rest_ms < unit_ms;
}

static struct slice number_text(char *out, size_t size, int64_t value)
{
    int len = snprintf(out, size, "%lld", (long long)value);
    return slice_of(out, (size_t)len);
}

/* Which recipients the copy is for, when not for all. */
static bool recipients_text(const struct mail *mail, bool held, struct strbuf *out)
{
    struct pending_set set = {0};
    size_t count = mail->message.recipient_count;
    for (size_t i = 0; i < count; i++) {
        enum mail_rcpt_state state = mail->rcpts[i].state;
        if (held ? state == MAIL_RCPT_HELD
                 : state == MAIL_RCPT_PENDING || state == MAIL_RCPT_DEFERRED) {
            pending_add(&set, i);
        }
    }
    return pending_count(&set) < count && pending_encode(&set, out);
}

/* The copy for those recipients, which begins the round `attempt` at due_ms. */
static void send_copy(struct mail *mail, const char *topic, struct slice key, bool held,
                      const struct delay_request *request)
{
    char numbers[5][24];
    struct strbuf recipients;
    struct kafka_header headers[COPY_HEADERS_MAX];
    size_t n = 0;

    strbuf_init(&recipients, (size_t)8 * MESSAGE_RECIPIENTS_MAX);
    headers[n++] = (struct kafka_header){HEADER_ID, mail->message.id};
    headers[n++] = (struct kafka_header){HEADER_ORIGIN, mail->origin};
    headers[n++] = (struct kafka_header){
        HEADER_ATTEMPT, number_text(numbers[0], sizeof(numbers[0]), request->attempt)};
    headers[n++] = (struct kafka_header){
        HEADER_FIRST_SEEN_MS, number_text(numbers[1], sizeof(numbers[1]), mail->first_seen_ms)};
    headers[n++] = (struct kafka_header){
        HEADER_DUE_MS, number_text(numbers[2], sizeof(numbers[2]), request->due_ms)};
    if (request->spilled) {
        headers[n++] =
            (struct kafka_header){HEADER_SPILLED, number_text(numbers[4], sizeof(numbers[4]),
                                                              request->slow ? SPILLED_SLOW : 1)};
    }
    if (mail->expires_ms > 0) {
        headers[n++] = (struct kafka_header){
            HEADER_EXPIRES_MS, number_text(numbers[3], sizeof(numbers[3]), mail->expires_ms)};
    }
    if (mail->stream != NULL) {
        headers[n++] = (struct kafka_header){HEADER_STREAM, slice_cstr(mail->stream->name)};
    }
    if (mail->last.len > 0) {
        headers[n++] = (struct kafka_header){HEADER_LAST, mail->last};
    }
    if (held && mail->site != NULL) {
        headers[n++] = (struct kafka_header){HEADER_SITE, slice_cstr(mail->site->name)};
    }
    if (recipients_text(mail, held, &recipients)) {
        headers[n++] = (struct kafka_header){HEADER_PENDING, strbuf_slice(&recipients)};
    }
    copy_add(mail, topic, key, headers, n);
    strbuf_free(&recipients);
}

void delay_send(struct mail *mail, const struct delay_request *request)
{
    const struct worker *worker = mail->worker;
    int64_t wait_ms = request->due_ms - wall_now().ms;
    const struct config_kafka *kafka = &worker->config->kafka;
    unsigned tier =
        kafka_tier_chosen(wait_ms, kafka->tier_unit_ms, (unsigned)kafka->tiers, request->exact);
    send_copy(mail, worker->topics.tiers[tier], SLICE_NULL, false, request);
}

void delay_hold(struct mail *mail)
{
    /* The key names the record and its round: told again after a crash it replaces itself. */
    char key[KAFKA_TOPIC_NAME_MAX + 64];
    struct slice origin = slice_head(mail->origin, KAFKA_TOPIC_NAME_MAX + 40);
    int len = snprintf(key, sizeof(key), "%.*s/%u", SLICE_FMT(origin), mail->attempt);
    struct delay_request request = {.due_ms = wall_now().ms, .attempt = mail->attempt + 1};
    CHECK(len > 0 && (size_t)len < sizeof(key));
    send_copy(mail, mail->worker->topics.uncertain, slice_of(key, (size_t)len), true, &request);
}

/* Headers of a delay record that go along unchanged. */
static const char *const forwarded[] = {
    HEADER_ID,   HEADER_ATTEMPT, HEADER_FIRST_SEEN_MS, HEADER_EXPIRES_MS, HEADER_STREAM,
    HEADER_LAST, HEADER_PENDING, HEADER_ORIGIN,        HEADER_SPILLED,
};

void delay_forward(struct mail *mail, int64_t due_ms)
{
    struct worker *worker = mail->worker;
    struct kafka_header headers[COPY_HEADERS_MAX];
    char numbers[2][24];
    char origin[KAFKA_TOPIC_NAME_MAX + 40];
    size_t n = 0;
    struct slice value;

    if (mail->record.source == KAFKA_SOURCE_TIER) {
        worker_count(worker, WORKER_REWRITTEN, 1);
    }
    if (mail->rcpts != NULL) {
        struct delay_request request = {.due_ms = due_ms, .attempt = mail->attempt, .exact = true};
        delay_send(mail, &request);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(forwarded); i++) {
        if (kafka_record_header(&mail->record, forwarded[i], &value)) {
            headers[n++] = (struct kafka_header){forwarded[i], value};
        }
    }
    if (due_ms > 0) {
        headers[n++] = (struct kafka_header){HEADER_DUE_MS,
                                             number_text(numbers[0], sizeof(numbers[0]), due_ms)};
    } else if (kafka_record_header(&mail->record, HEADER_DUE_MS, &value)) {
        headers[n++] = (struct kafka_header){HEADER_DUE_MS, value};
    }
    if (mail->record.source != KAFKA_SOURCE_TIER) {
        const struct config_stream *stream = &worker->config->streams[mail->record.index];
        int len = snprintf(origin, sizeof(origin), "%s/%d/%lld", mail->record.topic,
                           mail->record.partition_id, (long long)mail->record.offset);
        headers[n++] = (struct kafka_header){HEADER_ORIGIN, slice_of(origin, (size_t)len)};
        headers[n++] = (struct kafka_header){HEADER_STREAM, slice_cstr(stream->name)};
        headers[n++] =
            (struct kafka_header){HEADER_FIRST_SEEN_MS, number_text(numbers[1], sizeof(numbers[1]),
                                                                    mail->record.timestamp_ms)};
    }
    const struct config_kafka *kafka = &worker->config->kafka;
    unsigned tier = kafka_tier_chosen(due_ms - wall_now().ms, kafka->tier_unit_ms,
                                      (unsigned)kafka->tiers, true);
    copy_add(mail, worker->topics.tiers[tier], SLICE_NULL, headers, n);
}

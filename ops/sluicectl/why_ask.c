/* Asking workers: by the topic `control`, or one of them by its local socket. */
#include "ops/sluicectl/why.h"

#include "base/mem.h"
#include "base/random.h"
#include "base/strbuf.h"
#include "kafka/producer.h"
#include "kafka/reader.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define POLL_MS 50
#define FLUSH_MS 2000
#define LOOK_BACK_MS 60000
#define SOCKET_ANSWER_MAX ((size_t)64 * 1024 * 1024)

struct why_asking {
    struct kafka_reader *reader;
    uint64_t number;
    struct mono_time asked;
};

void why_answers_free(struct why_answers *answers)
{
    for (size_t i = 0; i < answers->count; i++) {
        json_decref(answers->items[i]);
    }
    answers->count = 0;
}

static bool send_question(const struct kafka_properties *properties, const char *topic,
                          uint64_t number, const char *message_id, struct fault *fault)
{
    struct kafka_producer_options options;
    char value[512];
    int len = snprintf(value, sizeof(value), "%llu%s%s", (unsigned long long)number,
                       message_id == NULL ? "" : " ", message_id == NULL ? "" : message_id);
    if (len < 0 || (size_t)len >= sizeof(value)) {
        return fault_set(fault, FAULT_INVALID, 0, "the message id is too long");
    }
    kafka_producer_options_default(&options);
    options.client_id = "sluicectl";
    struct kafka_producer *producer = kafka_producer_create(properties, &options, fault);
    if (producer == NULL) {
        return false;
    }
    const struct kafka_record_out record = {.topic = topic,
                                            .partition = -1,
                                            .key = SLICE("why"),
                                            .value = slice_of(value, (size_t)len)};
    bool sent = kafka_producer_send(producer, &record, fault);
    if (sent && !kafka_producer_flush(producer, FLUSH_MS)) {
        sent = fault_set(fault, FAULT_TIMEOUT, 0, "%s: Kafka does not take the question", topic);
    }
    kafka_producer_free(&producer, 0);
    return sent;
}

struct why_asking *why_ask(const struct kafka_properties *properties, const char *topic,
                           const char *message_id, struct fault *fault)
{
    struct why_asking *asking = mem_zalloc(sizeof(*asking));
    asking->number = random_u64() >> 12 | 1; /* exact in every JSON reader */
    /* From a while ago: where the end is might be found out only when answers are there. */
    asking->reader =
        kafka_reader_create(properties, &topic, 1, wall_now().ms - LOOK_BACK_MS, fault);
    if (asking->reader == NULL ||
        !send_question(properties, topic, asking->number, message_id, fault)) {
        why_asking_free(&asking);
        return NULL;
    }
    asking->asked = mono_now();
    return asking;
}

void why_asking_free(struct why_asking **asking)
{
    if (*asking != NULL) {
        kafka_reader_free(&(*asking)->reader);
        mem_free(*asking);
        *asking = NULL;
    }
}

static void take(struct why_answers *answers, struct slice text, uint64_t number)
{
    json_t *answer =
        answers->count == WHY_ANSWERS_MAX ? NULL : json_loadb(text.ptr, text.len, 0, NULL);
    if (number != 0 && (uint64_t)json_integer_value(json_object_get(answer, "request")) != number) {
        json_decref(answer);
        return;
    }
    if (answer != NULL) {
        size_t expected = (size_t)json_integer_value(json_object_get(answer, "answers"));
        answers->expected = expected > answers->expected ? expected : answers->expected;
        answers->items[answers->count++] = answer;
    }
}

bool why_gather(struct why_asking *asking, int64_t timeout_ms, struct why_answers *answers,
                struct fault *fault)
{
    struct mono_time end = mono_add_ms(asking->asked, timeout_ms);
    bool behind = false; /* what is there already is read in any case */
    while ((!behind || mono_before(mono_now(), end)) &&
           (answers->expected == 0 || answers->count < answers->expected)) {
        struct kafka_reader_record record;
        switch (kafka_reader_next(asking->reader, POLL_MS, &record, fault)) {
        case KAFKA_READ_RECORD:
            if (slice_starts_with(record.key, SLICE("why/"))) {
                take(answers, record.value, asking->number);
            }
            break;
        case KAFKA_READ_NONE:
        case KAFKA_READ_END: behind = true; break;
        case KAFKA_READ_FAILED: return false;
        }
    }
    return true;
}

/* ---- the socket ---- */

static int connect_to(const char *path, struct fault *fault)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len >= sizeof(address.sun_path)) {
        fault_set(fault, FAULT_INVALID, 0, "%s: too long for a socket", path);
        return -1;
    }
    memcpy(address.sun_path, path, len);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        fault_set_errno(fault, errno, "%s", path);
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

static void take_lines(struct slice text, struct why_answers *answers, struct fault *fault)
{
    while (text.len > 0) {
        struct slice line = slice_cut(&text, '\n');
        take(answers, line, 0);
    }
    if (answers->count > 0 && json_object_get(answers->items[0], "error") != NULL) {
        fault_set(fault, FAULT_INVALID, 0, "%s",
                  json_string_value(json_object_get(answers->items[0], "error")));
        why_answers_free(answers);
    }
}

bool why_ask_socket(const struct why_query *query, struct why_answers *answers, struct fault *fault)
{
    char line[512];
    char bytes[16384];
    ssize_t got;
    struct strbuf text;
    const struct timeval patience = {query->timeout_ms / 1000, query->timeout_ms % 1000 * 1000};
    int len = snprintf(line, sizeof(line), "why%s%s\n", query->message_id == NULL ? "" : " ",
                       query->message_id == NULL ? "" : query->message_id);
    int fd = len > 0 && (size_t)len < sizeof(line) ? connect_to(query->socket, fault) : -1;
    if (fd < 0) {
        return false;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    strbuf_init(&text, SOCKET_ANSWER_MAX);
    bool good = send(fd, line, (size_t)len, MSG_NOSIGNAL) == len ||
                fault_set_errno(fault, errno, "%s", query->socket);
    while (good && (got = recv(fd, bytes, sizeof(bytes), 0)) > 0) {
        good = strbuf_add(&text, bytes, (size_t)got) ||
               fault_set(fault, FAULT_LIMIT, 0, "%s: too much", query->socket);
    }
    if (good) {
        take_lines(strbuf_slice(&text), answers, fault);
    }
    strbuf_free(&text);
    close(fd);
    return good;
}

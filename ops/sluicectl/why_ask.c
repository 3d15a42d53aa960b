/*
 * Asking workers: by the topic `control`, or one of them by its local socket. The topic's question
 * is a thread of its own, so that the answers come while Kafka is searched: the answers are the
 * thread's until why_ask_end(), what it shares with the others are flags.
 */
#include "ops/sluicectl/why.h"

#include "base/mem.h"
#include "base/random.h"
#include "base/strbuf.h"
#include "kafka/producer.h"
#include "kafka/reader.h"
#include "kafka/topics.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define POLL_MS 50
#define SOCKET_ANSWER_MAX ((size_t)64 * 1024 * 1024)

struct why_asking {
    const struct kafka_properties *properties;
    const char *message_id;
    char topic[KAFKA_TOPIC_NAME_MAX + 1];
    struct mono_time deadline;
    uint64_t number;
    struct why_answers *answers;
    pthread_t thread;
    bool good;
    struct fault fault;
    atomic_bool found, over, unwanted;
};

/* The question on its way. */
struct why_sending {
    struct kafka_delivery delivery;
    bool stored;
    struct kafka_reader_place place;
    struct fault fault;
};

void why_answers_free(struct why_answers *answers)
{
    for (size_t i = 0; i < answers->count; i++) {
        json_decref(answers->items[i]);
    }
    answers->count = 0;
}

int why_left_ms(struct mono_time deadline)
{
    int64_t left_ms = mono_since_us(deadline, mono_now()) / 1000;
    return left_ms < WHY_LEFT_LEAST_MS ? WHY_LEFT_LEAST_MS : (int)left_ms;
}

static void on_delivery(struct kafka_delivery *delivery, int32_t partition, int64_t offset,
                        const struct fault *fault)
{
    struct why_sending *sending = CONTAINER_OF(delivery, struct why_sending, delivery);
    sending->stored = fault == NULL;
    sending->place.partition = partition;
    sending->place.offset = offset;
    if (fault != NULL) {
        sending->fault = *fault;
    }
}

/* Where it lies is told, as the answers come behind it. */
static bool send_question(const struct why_asking *asking, struct kafka_producer *producer,
                          struct why_sending *sending, struct fault *fault)
{
    char value[512];
    bool about = asking->message_id != NULL;
    int len = snprintf(value, sizeof(value), "%llu%s%s", (unsigned long long)asking->number,
                       about ? " " : "", about ? asking->message_id : "");
    if (len < 0 || (size_t)len >= sizeof(value)) {
        return fault_set(fault, FAULT_INVALID, 0, "the message id is too long");
    }
    sending->delivery.done = on_delivery;
    const struct kafka_record_out record = {.topic = asking->topic,
                                            .partition = -1,
                                            .key = SLICE("why"),
                                            .value = slice_of(value, (size_t)len),
                                            .delivery = &sending->delivery};
    if (!kafka_producer_send(producer, &record, fault)) {
        return false;
    }
    if (!kafka_producer_flush(producer, why_left_ms(asking->deadline))) {
        return fault_set(fault, FAULT_TIMEOUT, 0, "%s: Kafka does not take the question",
                         asking->topic);
    }
    *fault = sending->fault;
    return sending->stored;
}

static bool take(struct why_answers *answers, struct slice text, uint64_t number)
{
    json_t *answer =
        answers->count == WHY_ANSWERS_MAX ? NULL : json_loadb(text.ptr, text.len, 0, NULL);
    if (answer == NULL || (number != 0 && (uint64_t)json_integer_value(
                                              json_object_get(answer, "request")) != number)) {
        json_decref(answer);
        return false;
    }
    size_t expected = (size_t)json_integer_value(json_object_get(answer, "answers"));
    answers->expected = expected > answers->expected ? expected : answers->expected;
    answers->items[answers->count++] = answer;
    return json_object_get(answer, "message") != NULL;
}

bool why_answers_complete(const struct why_answers *answers)
{
    return answers->expected > 0 && answers->count >= answers->expected;
}

/* Until all have answered, one has the message, nobody wants to know any more, or the deadline. */
static bool gather(struct why_asking *asking, struct kafka_reader *reader)
{
    while (mono_before(mono_now(), asking->deadline) && !why_answers_complete(asking->answers) &&
           !atomic_load(&asking->found) && !atomic_load(&asking->unwanted)) {
        struct kafka_reader_record record;
        switch (kafka_reader_next(reader, POLL_MS, &record, &asking->fault)) {
        case KAFKA_READ_RECORD:
            if (slice_starts_with(record.key, SLICE("why/")) &&
                take(asking->answers, record.value, asking->number)) {
                atomic_store(&asking->found, true);
            }
            break;
        case KAFKA_READ_NONE:
        case KAFKA_READ_END: break;
        case KAFKA_READ_FAILED: return false;
        }
    }
    return true;
}

static bool ask(struct why_asking *asking)
{
    const char *topic = asking->topic;
    struct kafka_producer_options options;
    struct why_sending sending = {.place.topic = topic};
    kafka_producer_options_default(&options);
    options.client_id = "sluicectl";
    options.linger_ms = 0;
    struct kafka_producer *producer =
        kafka_producer_create(asking->properties, &options, &asking->fault);
    if (producer == NULL) {
        return false;
    }
    struct kafka_reader *reader = NULL;
    bool good = send_question(asking, producer, &sending, &asking->fault);
    if (good) {
        reader = kafka_reader_create_at(asking->properties, &topic, 1, &sending.place, 1,
                                        &asking->fault);
        good = reader != NULL && gather(asking, reader);
    }
    atomic_store(&asking->over, true);
    kafka_reader_free(&reader);
    kafka_producer_free(&producer, 0);
    return good;
}

static void *run(void *argument)
{
    struct why_asking *asking = argument;
    asking->good = ask(asking);
    return NULL;
}

struct why_asking *why_ask(const struct kafka_properties *properties, const char *topic,
                           const char *message_id, struct mono_time deadline,
                           struct why_answers *answers)
{
    struct why_asking *asking = mem_zalloc(sizeof(*asking));
    asking->properties = properties;
    asking->message_id = message_id;
    (void)snprintf(asking->topic, sizeof(asking->topic), "%s", topic);
    asking->deadline = deadline;
    asking->number = random_u64() >> 12 | 1; /* exact in every JSON reader */
    asking->answers = answers;
    CHECK(pthread_create(&asking->thread, NULL, run, asking) == 0);
    return asking;
}

bool why_ask_found(const struct why_asking *asking)
{
    return atomic_load(&asking->found);
}

bool why_ask_over(const struct why_asking *asking)
{
    return atomic_load(&asking->over);
}

void why_ask_enough(struct why_asking *asking)
{
    atomic_store(&asking->unwanted, true);
}

bool why_ask_end(struct why_asking **handle, struct fault *fault)
{
    struct why_asking *asking = *handle;
    *handle = NULL;
    CHECK(pthread_join(asking->thread, NULL) == 0);
    bool good = asking->good;
    if (!good) {
        *fault = asking->fault;
    }
    mem_free(asking);
    return good;
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
        (void)take(answers, line, 0);
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

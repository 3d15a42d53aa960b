#include "worker/control.h"

#include "worker/question.h"
#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"
#include "kafka/reader.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define POLL_MS 100
#define RETRY_MS 2000

struct control {
    struct worker *worker;
    pthread_t thread;
    atomic_bool ending;
};

static void ask(struct worker *worker, const struct kafka_reader_record *record)
{
    struct question question = {0};
    if (slice_eq(record->key, SLICE("why")) && question_parse_value(record->value, &question)) {
        (void)question_ask(worker, &question);
    }
}

static void pause_ms(struct control *control, int ms)
{
    const struct timespec step = {0, POLL_MS * 1000000L};
    for (int waited = 0; waited < ms && !atomic_load(&control->ending); waited += POLL_MS) {
        (void)nanosleep(&step, NULL);
    }
}

/* Until the end, or a failure. */
static void follow(struct control *control, struct kafka_reader *reader)
{
    struct kafka_reader_record record;
    struct fault fault;
    while (!atomic_load(&control->ending)) {
        switch (kafka_reader_next(reader, POLL_MS, &record, &fault)) {
        case KAFKA_READ_RECORD: ask(control->worker, &record); break;
        case KAFKA_READ_NONE:
        case KAFKA_READ_END: break;
        case KAFKA_READ_FAILED: return;
        }
    }
}

static void *run(void *argument)
{
    struct control *control = argument;
    const struct worker *worker = control->worker;
    const char *topic = worker->topics.control;
    struct kafka_properties properties;
    kafka_properties_from_config(&properties, &worker->config->kafka);
    while (!atomic_load(&control->ending)) {
        struct fault fault;
        struct kafka_reader *reader = kafka_reader_create(&properties, &topic, 1, -1, &fault);
        if (reader != NULL) {
            follow(control, reader);
        } else {
            char quoted[FAULT_TEXT_MAX];
            log_debug("control-unread", "reason=%s",
                      log_quote(quoted, sizeof(quoted), slice_cstr(fault.text)));
        }
        kafka_reader_free(&reader);
        pause_ms(control, RETRY_MS);
    }
    kafka_properties_free(&properties);
    return NULL;
}

struct control *control_start(struct worker *worker)
{
    struct control *control = mem_zalloc(sizeof(*control));
    control->worker = worker;
    atomic_init(&control->ending, false);
    CHECK(pthread_create(&control->thread, NULL, run, control) == 0);
    return control;
}

void control_stop(struct control **handle)
{
    struct control *control = *handle;
    atomic_store(&control->ending, true);
    pthread_join(control->thread, NULL);
    mem_free(control);
    *handle = NULL;
}

/*
 * Publications with an idempotency key: claimed first (lib/once), then given to Kafka's client.
 * That is done by the keeper, a thread with a loop of its own; it is made with the first of them.
 *
 * A publication belongs to the keeper from keyed_publish() until Kafka's client has it, or until it
 * ended without: then it is put on `ended`, which the polling thread empties. Its struct keyed is
 * the keeper's for longer: until Kafka's report has come by letter and has been told to Redis.
 */
#include "sluice/sluice_private.h"

#include "base/mem.h"
#include "io/mailbox.h"
#include "once/once.h"

#include <stdatomic.h>
#include <stdlib.h>

#define KEEPER_MAGIC 0x6b656570u
#define OPEN_MAX 100000
#define FULL_RETRY_MS 10
#define DELIVERY_TIMEOUT_MS 120000 /* lib/kafka's default */
#define HOLD_MARGIN_MS 5000        /* librdkafka looks for overdue records once a second */
/* Never: whoever published it polls for as long as it likes. */
#define PATIENCE_MS (INT64_C(365) * 86400 * 1000)

enum keyed_state { KEYED_NEW, KEYED_SENT, KEYED_STORED, KEYED_FAILED };

struct keyed {
    struct letter letter;
    struct keeper *keeper;
    struct publication *publication; /* NULL: Kafka's client has it */
    struct once_claim claim;
    struct list node; /* on `full` or `ended` */
    enum keyed_state state;
    bool recognised;
    struct fault fault; /* of one that ended without Kafka */
    int32_t partition;
    int64_t offset;
    char id[UUID_TEXT_LEN + 1];
    char *topic, *key;
};

struct keeper {
    uint32_t magic;
    struct sluice *sluice;
    struct io_loop *loop;
    struct once *once;
    struct mailbox *mailbox;
    pthread_t thread;
    bool running;
    struct list full; /* claimed, but Kafka's client had no room */
    struct timer full_timer;
    struct letter stop_letter;
    bool stopping;
    atomic_int open;

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t stopped_cond;
    bool stopped;
    struct list ended;
};

static void keyed_end(struct keyed *keyed)
{
    mem_free(keyed->topic);
    mem_free(keyed->key);
    mem_free(keyed);
}

/* On the keeper's thread: to the polling thread with it. */
static void end_without_kafka(struct keeper *keeper, struct keyed *keyed)
{
    pthread_mutex_lock(&keeper->mutex);
    list_push_back(&keeper->ended, &keyed->node);
    pthread_mutex_unlock(&keeper->mutex);
    kafka_producer_wake(keeper->sluice->producer);
}

/* ---- the keeper's thread ---- */

static void full_over(struct timer *timer, struct mono_time now);

/* It is claimed. */
static void give_to_kafka(struct keeper *keeper, struct keyed *keyed)
{
    struct publication *publication = keyed->publication;
    keyed->publication = NULL;
    keyed->state = KEYED_SENT;
    if (!keeper->stopping && publication_send(keeper->sluice, publication, keyed->topic,
                                              slice_cstr(keyed->key), &keyed->fault)) {
        atomic_fetch_sub(&keeper->open, 1); /* from here on it is counted by Kafka's client */
        return;
    }
    keyed->publication = publication;
    if (keeper->stopping) {
        fault_set(&keyed->fault, FAULT_CLOSED, 0, "not published: the handle was closed");
    } else if (keyed->fault.kind == FAULT_LIMIT) {
        list_push_back(&keeper->full, &keyed->node);
        if (!timer_is_set(&keeper->full_timer)) {
            wheel_set(io_loop_wheel(keeper->loop), &keeper->full_timer,
                      mono_add_ms(io_loop_now(keeper->loop), FULL_RETRY_MS), full_over);
        }
        return;
    }
    once_not_stored(keeper->once, slice_cstr(keyed->id), keyed->claim.token);
    end_without_kafka(keeper, keyed);
}

static void full_over(struct timer *timer, struct mono_time now)
{
    struct keeper *keeper = CONTAINER_OF(timer, struct keeper, full_timer);
    struct list again;
    (void)now;
    CHECK_MAGIC(keeper, KEEPER_MAGIC);
    list_init(&again);
    list_append_all(&again, &keeper->full);
    struct list *node;
    while ((node = list_pop_front(&again)) != NULL) {
        give_to_kafka(keeper, CONTAINER_OF(node, struct keyed, node));
    }
}

static void on_claim(struct once_claim *claim, enum once_result result)
{
    struct keyed *keyed = CONTAINER_OF(claim, struct keyed, claim);
    struct keeper *keeper = keyed->keeper;
    switch (result) {
    case ONCE_YOURS: give_to_kafka(keeper, keyed); return;
    case ONCE_UNGUARDED:
        keyed->publication->unguarded = true;
        give_to_kafka(keeper, keyed);
        return;
    case ONCE_STORED:
        keyed->recognised = true;
        keyed->partition = claim->partition;
        keyed->offset = claim->offset;
        break;
    case ONCE_UNKNOWN:
        fault_set(&keyed->fault, FAULT_TEMPORARY, 0,
                  "not known yet whether it was published before: publish it again");
        break;
    }
    end_without_kafka(keeper, keyed);
}

static void stop_now(struct keeper *keeper)
{
    keeper->stopping = true;
    once_give_up(keeper->once);
    wheel_cancel(io_loop_wheel(keeper->loop), &keeper->full_timer);
    full_over(&keeper->full_timer, io_loop_now(keeper->loop));
    pthread_mutex_lock(&keeper->mutex);
    keeper->stopped = true;
    pthread_cond_signal(&keeper->stopped_cond);
    pthread_mutex_unlock(&keeper->mutex);
}

static void on_letter(struct letter *letter, void *owner)
{
    struct keeper *keeper = owner;
    CHECK_MAGIC(keeper, KEEPER_MAGIC);
    if (letter == &keeper->stop_letter) {
        stop_now(keeper);
        return;
    }
    struct keyed *keyed = CONTAINER_OF(letter, struct keyed, letter);
    switch (keyed->state) {
    case KEYED_NEW: once_claim(keeper->once, &keyed->claim); return;
    case KEYED_STORED:
        once_stored(keeper->once, slice_cstr(keyed->id), keyed->claim.token, keyed->partition,
                    keyed->offset);
        break;
    case KEYED_SENT:
    case KEYED_FAILED: break; /* it may be there nevertheless: the claim stays until it runs out */
    }
    keyed_end(keyed);
}

static void *run(void *argument)
{
    struct keeper *keeper = argument;
    CHECK_MAGIC(keeper, KEEPER_MAGIC);
    io_loop_run(keeper->loop);
    return NULL;
}

/* ---- life ---- */

/* For how long Kafka's client may try to store one record. */
static int64_t delivery_timeout_ms(const struct kafka_properties *properties)
{
    int64_t ms = DELIVERY_TIMEOUT_MS;
    for (size_t i = 0; i < properties->count; i++) {
        const char *name = properties->items[i].name;
        if (strcmp(name, "message.timeout.ms") == 0 || strcmp(name, "delivery.timeout.ms") == 0) {
            ms = strtoll(properties->items[i].value, NULL, 10); /* checked by librdkafka */
        }
    }
    return ms;
}

static void keeper_free(struct keeper *keeper)
{
    mailbox_free(&keeper->mailbox);
    once_free(&keeper->once);
    io_loop_free(&keeper->loop);
    pthread_mutex_destroy(&keeper->mutex);
    pthread_cond_destroy(&keeper->stopped_cond);
    keeper->magic = 0;
    mem_free(keeper);
}

/* NULL: the fault says why. */
static struct keeper *keeper_create(struct sluice *sluice, struct fault *fault)
{
    struct keeper *keeper = mem_zalloc(sizeof(*keeper));
    keeper->magic = KEEPER_MAGIC;
    keeper->sluice = sluice;
    list_init(&keeper->full);
    list_init(&keeper->ended);
    CHECK(pthread_mutex_init(&keeper->mutex, NULL) == 0);
    CHECK(pthread_cond_init(&keeper->stopped_cond, NULL) == 0);
    const struct once_options options = {
        .redis = sluice->redis,
        .kafka = sluice->properties,
        .hold_ms = delivery_timeout_ms(&sluice->properties) + HOLD_MARGIN_MS,
    };
    keeper->loop = io_loop_create(fault);
    keeper->once = keeper->loop == NULL ? NULL : once_create(keeper->loop, &options, fault);
    keeper->mailbox =
        keeper->once == NULL ? NULL : mailbox_create(keeper->loop, on_letter, keeper, fault);
    if (keeper->mailbox != NULL) {
        int error = pthread_create(&keeper->thread, NULL, run, keeper);
        keeper->running = error == 0;
        if (error != 0) {
            fault_set_errno(fault, error, "thread");
        }
    }
    if (!keeper->running) {
        keeper_free(keeper);
        return NULL;
    }
    return keeper;
}

static struct keeper *keeper_of(struct sluice *sluice, struct fault *fault)
{
    pthread_mutex_lock(&sluice->mutex);
    if (sluice->keeper == NULL) {
        sluice->keeper = keeper_create(sluice, fault);
    }
    struct keeper *keeper = sluice->keeper;
    pthread_mutex_unlock(&sluice->mutex);
    return keeper;
}

/* NULL: no message with a key has been published. */
static struct keeper *present_keeper(struct sluice *sluice)
{
    pthread_mutex_lock(&sluice->mutex);
    struct keeper *keeper = sluice->keeper;
    pthread_mutex_unlock(&sluice->mutex);
    return keeper;
}

/* ---- any thread ---- */

bool keyed_publish(struct sluice *sluice, struct publication *publication, const char *topic,
                   struct slice key, struct fault *fault)
{
    struct keeper *keeper = keeper_of(sluice, fault);
    if (keeper == NULL) {
        return false;
    }
    if (atomic_fetch_add(&keeper->open, 1) >= OPEN_MAX) {
        atomic_fetch_sub(&keeper->open, 1);
        return fault_set(fault, FAULT_LIMIT, 0, "%d messages with a key are on their way",
                         OPEN_MAX);
    }
    struct keyed *keyed = mem_zalloc(sizeof(*keyed));
    keyed->keeper = keeper;
    keyed->publication = publication;
    keyed->topic = mem_strdup(topic);
    keyed->key = mem_strndup(key.ptr, key.len);
    memcpy(keyed->id, publication->id, sizeof(keyed->id));
    keyed->claim = (struct once_claim){
        .id = slice_of(keyed->id, UUID_TEXT_LEN),
        .topic = slice_cstr(keyed->topic),
        .key = slice_cstr(keyed->key),
        .patience_ms = PATIENCE_MS,
        .answered = on_claim,
    };
    publication->keyed = keyed;
    mailbox_post(keeper->mailbox, &keyed->letter);
    return true;
}

void keyed_reported(struct publication *publication, int32_t partition, int64_t offset, bool stored)
{
    struct keyed *keyed = publication->keyed;
    keyed->state = stored ? KEYED_STORED : KEYED_FAILED;
    keyed->partition = partition;
    keyed->offset = offset;
    mailbox_post(keyed->keeper->mailbox, &keyed->letter);
}

int keyed_poll(struct sluice *sluice)
{
    struct keeper *keeper = present_keeper(sluice);
    if (keeper == NULL) {
        return 0;
    }
    struct list now;
    struct list *node;
    int count = 0;
    list_init(&now);
    pthread_mutex_lock(&keeper->mutex);
    list_append_all(&now, &keeper->ended);
    pthread_mutex_unlock(&keeper->mutex);
    while ((node = list_pop_front(&now)) != NULL) {
        struct keyed *keyed = CONTAINER_OF(node, struct keyed, node);
        publication_end(keyed->publication, keyed->partition, keyed->offset, keyed->recognised,
                        keyed->recognised ? NULL : &keyed->fault);
        keyed_end(keyed);
        atomic_fetch_sub(&keeper->open, 1);
        count++;
    }
    return count;
}

int keyed_open(struct sluice *sluice)
{
    const struct keeper *keeper = present_keeper(sluice);
    return keeper == NULL ? 0 : atomic_load(&keeper->open);
}

void keyed_stop(struct sluice *sluice)
{
    struct keeper *keeper = sluice->keeper;
    if (keeper == NULL) {
        return;
    }
    mailbox_post(keeper->mailbox, &keeper->stop_letter);
    pthread_mutex_lock(&keeper->mutex);
    while (!keeper->stopped) {
        pthread_cond_wait(&keeper->stopped_cond, &keeper->mutex);
    }
    pthread_mutex_unlock(&keeper->mutex);
}

void keyed_free(struct sluice *sluice)
{
    struct keeper *keeper = sluice->keeper;
    if (keeper == NULL) {
        return;
    }
    io_loop_stop(keeper->loop);
    CHECK(pthread_join(keeper->thread, NULL) == 0);
    keeper_free(keeper);
    sluice->keeper = NULL;
}

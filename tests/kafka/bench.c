/*
 * kafka_bench produce N SIZE | backlog N SIZE [slow] | idle SECONDS: CPU per record of our side and
 * memory, against $KAFKA_BOOTSTRAP. produce  from one thread at full speed, linger 50 ms: µs of
 * this process's CPU per record backlog  N records of SIZE bytes over all 14 queue topics with 16
 * partitions each; takes the streams while every tier head is held: resident memory and pace; slow:
 * at most 100 records per 5 ms and class idle nothing to do: CPU per second of a consumer of 224
 * empty partitions
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"
#include "kafka/consumer.h"
#include "kafka/producer.h"
#include "kafka/topics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct kafka_property property = {"bootstrap.servers", NULL};
static struct kafka_properties properties = {&property, 1};
static char names[14][40];
static const char *const streams[] = {"tx", "bulk"};

static double cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static long rss_kb(const char *field)
{
    char line[256];
    long value = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, field, strlen(field)) == 0) {
            value = strtol(line + strlen(field) + 1, NULL, 10);
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return value;
}

static void make_topics(const char *prefix)
{
    struct fault fault;
    struct kafka_topic_plan plan = {prefix, streams, 2, 16, 16, 16, 1, 1, 26 << 20, 86400000};
    if (!kafka_topics_create(&properties, &plan, NULL, NULL, &fault)) {
        (void)fprintf(stderr, "%s\n", fault.text);
        exit(1);
    }
}

static void name_topics(const char *prefix)
{
    for (int i = 0; i < 14; i++) {
        if (i < 2) {
            snprintf(names[i], sizeof(names[i]), "%sq.%s", prefix, streams[i]);
        } else {
            snprintf(names[i], sizeof(names[i]), "%sd.%02d", prefix, i - 2);
        }
    }
}

static void produce(long count, size_t size, int topics)
{
    struct fault fault;
    struct kafka_producer_options options;
    kafka_producer_options_default(&options);
    options.linger_ms = 50;
    struct kafka_producer *producer = kafka_producer_create(&properties, &options, &fault);
    char *bytes = mem_zalloc(size + 4096);
    for (size_t i = 0; i < size + 4096; i++) {
        bytes[i] = (char)('a' + random_below(16));
    }
    struct kafka_header headers[2] = {{"id", SLICE("0190a1b2c3d4")}, {"tenant", SLICE("shop")}};
    const char *first[] = {names[0]};
    if (!kafka_producer_warm_up(producer, first, 1, 10000, &fault)) {
        (void)fprintf(stderr, "%s\n", fault.text);
        exit(1);
    }
    double before = cpu_us();
    struct mono_time start = mono_now();
    for (long i = 0; i < count;) {
        struct kafka_record_out record = {.topic = names[topics == 1 ? 0 : i % topics],
                                          .partition = -1,
                                          .key = slice_of(bytes + i % 4000, 12),
                                          .value = slice_of(bytes + i % 4096, size),
                                          .borrow_value = true,
                                          .headers = headers,
                                          .header_count = 2};
        if (kafka_producer_send(producer, &record, &fault)) {
            i++;
        } else {
            kafka_producer_poll(producer, 10);
        }
        if (i % 1000 == 0) {
            kafka_producer_poll(producer, 0);
        }
    }
    kafka_producer_flush(producer, 60000);
    double seconds = (double)mono_since_us(mono_now(), start) / 1e6;
    (void)printf("produce: %ld records of %zu bytes, %.2f us CPU per record, %.0f records/s\n",
                 count, size, (cpu_us() - before) / (double)count, (double)count / seconds);
    kafka_producer_free(&producer, 1000);
    mem_free(bytes);
}

static size_t assigned_total;

static void assigned(void *owner, struct kafka_partition *const *partitions, size_t count)
{
    (void)owner;
    (void)partitions;
    assigned_total = count;
}

static void consume(long count, int hold, int seconds, bool slow)
{
    static const struct kafka_consumer_ops ops = {.assigned = assigned};
    struct kafka_subscription subscriptions[14];
    struct fault fault;
    for (int i = 0; i < 14; i++) {
        subscriptions[i] = (struct kafka_subscription){names[i],
                                                       i == 0   ? KAFKA_SOURCE_TX
                                                       : i == 1 ? KAFKA_SOURCE_BULK
                                                                : KAFKA_SOURCE_TIER,
                                                       i};
    }
    struct kafka_consumer_options options;
    kafka_consumer_options_default(&options);
    if (getenv("QUEUED_KBYTES") != NULL) {
        options.queued_max_kbytes = strtol(getenv("QUEUED_KBYTES"), NULL, 10);
    }
    options.group_id = "bench";
    options.subscriptions = subscriptions;
    options.subscription_count = 14;
    struct kafka_consumer *consumer =
        kafka_consumer_create(&properties, &options, &ops, NULL, &fault);
    while (assigned_total == 0) {
        kafka_consumer_serve(consumer, mono_now());
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    double before = cpu_us();
    struct mono_time start = mono_now();
    struct mono_time end = mono_add_ms(start, seconds * 1000);
    long taken = 0;
    long held = 0;
    while ((count == 0 || taken < count) && mono_before(mono_now(), end)) {
        bool any = false;
        kafka_consumer_serve(consumer, mono_now());
        for (int source = 0; source < KAFKA_SOURCES; source++) {
            struct kafka_record record;
            for (int i = 0;
                 i < 100 && kafka_consumer_take(consumer, (enum kafka_source)source, &record);
                 i++) {
                any = true;
                if (source == KAFKA_SOURCE_TIER && hold) {
                    kafka_partition_pause(consumer,
                                          record.partition); /* its head stays with the owner */
                    held++;
                } else {
                    kafka_ticket_complete(consumer, kafka_record_ticket(&record));
                    taken++;
                }
                kafka_record_free(&record);
            }
        }
        if (!any || slow) {
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        }
    }
    double elapsed = (double)mono_since_us(mono_now(), start) / 1e6;
    (void)printf("consume: %ld taken, %ld held, %.2f us CPU per record, %.0f records/s, %.2f%% of "
                 "a CPU, RSS %ld MB, peak %ld MB\n",
                 taken, held, taken == 0 ? 0.0 : (cpu_us() - before) / (double)taken,
                 (double)taken / elapsed, (cpu_us() - before) / elapsed / 1e4,
                 rss_kb("VmRSS") / 1024, rss_kb("VmHWM") / 1024);
    kafka_consumer_free(&consumer);
}

int main(int argc, char **argv)
{
    property.value = getenv("KAFKA_BOOTSTRAP");
    const char *what = argc > 1 ? argv[1] : "";
    long count = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    size_t size = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
    if (property.value == NULL || count <= 0) {
        (void)fprintf(stderr, "usage: kafka_bench produce|backlog N SIZE, or idle SECONDS\n");
        return 2;
    }
    char prefix[24];
    snprintf(prefix, sizeof(prefix), "b%08" PRIx32 ".", (uint32_t)random_u64());
    name_topics(prefix);
    if (strcmp(what, "backlog") != 0) {
        make_topics(prefix);
    }
    if (strcmp(what, "produce") == 0) {
        produce(count, size, 1);
    } else if (strcmp(what, "backlog") == 0) {
        /* By a process of its own: its memory is not the consumer's. */
        pid_t child = fork();
        if (child == 0) {
            make_topics(prefix);
            produce(count, size, 14);
            (void)fflush(stdout);
            _exit(0);
        }
        int status;
        if (waitpid(child, &status, 0) != child || status != 0) {
            return 1;
        }
        consume(count / 14 * 2, 1, 30, argc > 4);
    } else {
        consume(0, 0, (int)count, false);
    }
    return 0;
}

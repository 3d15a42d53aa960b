/*
 * sluicectl why, sluicectl eta: what mail waits for, and when it will be gone. A question goes to
 * the topic `control`, every shard of every worker answers there (worker/why.h says how), and each
 * answer says how many there will be.
 */
#include "ops/sluicectl/cmd.h"
#include "ops/sluicectl/kafka_setup.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "kafka/producer.h"
#include "kafka/reader.h"
#include "kafka/topics.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define POLL_MS 50
#define ANSWERS_MAX 4096
#define FLUSH_MS 2000
#define LOOK_BACK_MS 60000
#define DEFAULT_TIMEOUT_MS 3000

struct query {
    const char *config;
    const char *site, *route, *tenant, *campaign, *message_id;
    int64_t timeout_ms;
    bool eta, json;
};

struct answers {
    json_t *items[ANSWERS_MAX];
    size_t count, expected; /* 0: nobody has said */
};

static int usage(void)
{
    (void)fputs(
        "usage: sluicectl why --config FILE [--site NAME] [--vip NAME] [--tenant NAME]\n"
        "                     [--campaign NAME] [--timeout TIME] [--json] [MESSAGE-ID]\n"
        "       sluicectl eta --config FILE (the same, without MESSAGE-ID)\n"
        "\n"
        "why asks all workers what their mail waits for: for each site and VIP (or pool) the\n"
        "backlog, the reasons with the limit that is used up and until when, or the one lane that\n"
        "has the message. eta: by when what the workers have or have spilled will have been sent,\n"
        "at the rate of each site. What nobody has read yet from Kafka is not counted.\n"
        "--timeout: how long answers are waited for (3s). Exit status 1: not all have answered,\n"
        "or no worker has the message.\n",
        stderr);
    return 2;
}

static bool parse(int argc, char **argv, struct query *query)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'C'},   {"site", required_argument, NULL, 's'},
        {"vip", required_argument, NULL, 'v'},      {"tenant", required_argument, NULL, 't'},
        {"campaign", required_argument, NULL, 'c'}, {"timeout", required_argument, NULL, 'T'},
        {"json", no_argument, NULL, 'j'},           {NULL, 0, NULL, 0},
    };
    int letter;
    query->eta = strcmp(argv[0], "eta") == 0;
    query->timeout_ms = DEFAULT_TIMEOUT_MS;
    optind = 1;
    while ((letter = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (letter) {
        case 'C': query->config = optarg; break;
        case 's': query->site = optarg; break;
        case 'v': query->route = optarg; break;
        case 't': query->tenant = optarg; break;
        case 'c': query->campaign = optarg; break;
        case 'j': query->json = true; break;
        case 'T':
            if (!duration_parse_ms(slice_cstr(optarg), &query->timeout_ms)) {
                (void)fprintf(stderr, "sluicectl: --timeout: \"%s\" is no duration\n", optarg);
                return false;
            }
            break;
        default: return false;
        }
    }
    if (optind < argc && !query->eta) {
        query->message_id = argv[optind++];
    }
    return query->config != NULL && optind == argc;
}

/* ---- asking ---- */

static bool ask(const struct kafka_properties *properties, const char *topic, uint64_t number,
                const char *message_id, struct fault *fault)
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

static void take(struct answers *answers, const struct kafka_reader_record *record, uint64_t number)
{
    if (!slice_starts_with(record->key, SLICE("why/")) || answers->count == ANSWERS_MAX) {
        return;
    }
    json_t *answer = json_loadb(record->value.ptr, record->value.len, 0, NULL);
    if ((uint64_t)json_integer_value(json_object_get(answer, "request")) != number) {
        json_decref(answer);
        return;
    }
    size_t expected = (size_t)json_integer_value(json_object_get(answer, "answers"));
    answers->expected = expected > answers->expected ? expected : answers->expected;
    answers->items[answers->count++] = answer;
}

static bool gather(const struct config *config, const struct query *query, struct answers *answers,
                   struct fault *fault)
{
    char topic[KAFKA_TOPIC_NAME_MAX + 1];
    const char *name = topic;
    uint64_t number = random_u64() >> 12 | 1; /* exact in every JSON reader */
    struct kafka_properties properties = kafka_setup_properties(config);
    (void)snprintf(topic, sizeof(topic), "%scontrol", config->kafka.prefix);
    /* From a while ago: where the end is might be found out only when answers are there. */
    struct kafka_reader *reader =
        kafka_reader_create(&properties, &name, 1, wall_now().ms - LOOK_BACK_MS, fault);
    bool good = reader != NULL && ask(&properties, topic, number, query->message_id, fault);
    struct mono_time end = mono_add_ms(mono_now(), query->timeout_ms);
    while (good && mono_before(mono_now(), end) &&
           (answers->expected == 0 || answers->count < answers->expected)) {
        struct kafka_reader_record record;
        switch (kafka_reader_next(reader, POLL_MS, &record, fault)) {
        case KAFKA_READ_RECORD: take(answers, &record, number); break;
        case KAFKA_READ_NONE:
        case KAFKA_READ_END: break;
        case KAFKA_READ_FAILED: good = false; break;
        }
    }
    kafka_reader_free(&reader);
    kafka_setup_free(&properties);
    return good;
}

/* ---- telling ---- */

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text == NULL ? "" : text;
}

static long long number_of(const json_t *object, const char *name)
{
    return (long long)json_integer_value(json_object_get(object, name));
}

static bool is(const char *wanted, const char *text)
{
    return wanted == NULL || strcmp(wanted, text) == 0;
}

/* Mails of the lane that are asked for. */
static long long waiting(const struct query *query, const json_t *lane)
{
    long long sum = 0;
    size_t i;
    const json_t *flow;
    if (query->tenant == NULL && query->campaign == NULL) {
        return number_of(lane, "waiting");
    }
    json_array_foreach(json_object_get(lane, "flows"), i, flow)
    {
        bool wanted = is(query->tenant, text_of(flow, "tenant")) &&
                      is(query->campaign, text_of(flow, "campaign"));
        sum += wanted ? number_of(flow, "waiting") : 0;
    }
    return sum;
}

static void print_time(const char *before, long long ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm broken;
    char text[32];
    if (ms > 0 && gmtime_r(&seconds, &broken) != NULL) {
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &broken);
        printf("%s%s", before, text);
    }
}

static void print_reasons(const json_t *lane)
{
    size_t i;
    const json_t *reason;
    json_array_foreach(json_object_get(lane, "reasons"), i, reason)
    {
        printf("    %s", text_of(reason, "reason"));
        if (json_object_get(reason, "limit") != NULL) {
            printf(" %s", text_of(reason, "limit"));
        }
        print_time(" until ", number_of(reason, "until_ms"));
        if (json_object_get(reason, "detail") != NULL) {
            printf(" (%s)", text_of(reason, "detail"));
        }
        printf("\n");
    }
}

/* When the last mail of the lane will have been sent; 0: nobody knows. */
static long long end_of(const json_t *lane, long long now_ms)
{
    double rate = json_real_value(json_object_get(lane, "rate"));
    long long spilled = number_of(lane, "spilled_until_ms");
    double ms = rate > 0 ? (double)number_of(lane, "waiting") * 1000 / rate : 0;
    if (rate <= 0) {
        return 0;
    }
    long long end = now_ms + (long long)ms + 1;
    return spilled > end ? spilled : end;
}

static void print_lane(const struct query *query, const json_t *answer, const json_t *lane)
{
    printf("%s %s at %s: %lld waiting, %lld being sent, %lld connections", text_of(lane, "site"),
           text_of(lane, "route"), text_of(answer, "worker"), waiting(query, lane),
           number_of(lane, "running"), number_of(lane, "sessions"));
    double rate = json_real_value(json_object_get(lane, "rate"));
    if (rate > 0) {
        printf(", at most %.4g/s", rate);
    }
    long long end = end_of(lane, (long long)wall_now().ms);
    print_time(query->eta ? ", gone by " : ", spilled up to ",
               query->eta ? end : number_of(lane, "spilled_until_ms"));
    printf(query->eta && end == 0 ? ", no rate is known yet\n" : "\n");
    if (!query->eta) {
        print_reasons(lane);
    }
}

static bool is_wanted(const struct query *query, const json_t *answer, const json_t *lane)
{
    const json_t *message = json_object_get(answer, "message");
    bool here = message != NULL && strcmp(text_of(message, "site"), text_of(lane, "site")) == 0 &&
                strcmp(text_of(message, "route"), text_of(lane, "route")) == 0;
    bool named = is(query->site, text_of(lane, "site")) && is(query->route, text_of(lane, "route"));
    bool mail = waiting(query, lane) > 0 || number_of(lane, "running") > 0 ||
                number_of(lane, "spilled_until_ms") > (long long)wall_now().ms;
    return query->message_id != NULL ? here : named && mail;
}

/* False: no worker has the message. */
static bool print_answers(const struct query *query, const struct answers *answers)
{
    bool found = query->message_id == NULL;
    for (size_t i = 0; i < answers->count; i++) {
        const json_t *answer = answers->items[i];
        const json_t *message = json_object_get(answer, "message");
        const json_t *lane;
        size_t k;
        if (message != NULL) {
            found = true;
            printf("%s: %s\n", query->message_id,
                   strcmp(text_of(message, "state"), "sending") == 0 ? "being sent" : "waiting");
        }
        json_array_foreach(json_object_get(answer, "lanes"), k, lane)
        {
            if (is_wanted(query, answer, lane)) {
                print_lane(query, answer, lane);
            }
        }
    }
    if (!found) {
        printf("%s: in no worker's memory: not read yet, in a delay tier, or finished; see "
               "sluicectl log --message-id\n",
               query->message_id);
    }
    return found;
}

int cmd_why(int argc, char **argv)
{
    struct query query = {0};
    struct fault fault = {0};
    if (!parse(argc, argv, &query)) {
        return usage();
    }
    log_setup("sluicectl", LOG_LEVEL_WARN);
    struct config *config = config_load(query.config, &fault);
    if (config == NULL) {
        (void)fprintf(stderr, "sluicectl %s: %s\n", argv[0], fault.text);
        return 1;
    }
    struct answers *answers = mem_zalloc(sizeof(*answers));
    bool good = gather(config, &query, answers, &fault);
    if (!good) {
        (void)fprintf(stderr, "sluicectl %s: %s\n", argv[0], fault.text);
    } else if (query.json) {
        for (size_t i = 0; i < answers->count; i++) {
            (void)json_dumpf(answers->items[i], stdout, JSON_COMPACT);
            printf("\n");
        }
    } else {
        good = print_answers(&query, answers);
    }
    if (answers->count == 0 || answers->count < answers->expected) {
        (void)fprintf(stderr, "sluicectl %s: %zu of %zu threads of workers have answered\n",
                      argv[0], answers->count, answers->expected);
        good = false;
    }
    for (size_t i = 0; i < answers->count; i++) {
        json_decref(answers->items[i]);
    }
    mem_free(answers);
    config_free(&config);
    return good ? 0 : 1;
}

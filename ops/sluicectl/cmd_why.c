/*
 * sluicectl why, sluicectl eta: what mail waits for, and when it will be gone; where one message
 * is. Workers are asked by the topic `control` or by a local socket (worker/why.h says what they
 * answer), and what is in no worker's memory is looked up in Kafka.
 */
#include "ops/sluicectl/cmd.h"
#include "ops/sluicectl/eta.h"
#include "ops/sluicectl/why.h"

#include "base/log.h"
#include "base/mem.h"
#include "kafka/topics.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_TIMEOUT_MS 1500 /* with what starting and ending costs, less than 2 s */

static int usage(void)
{
    (void)fputs(
        "usage: sluicectl why --config FILE [--site NAME] [--vip NAME] [--tenant NAME]\n"
        "                     [--campaign NAME] [--timeout TIME] [--json]\n"
        "       sluicectl why --config FILE [--recipient ADDRESS] [--since TIME-ago]\n"
        "                     [--timeout TIME] [--json] MESSAGE-ID\n"
        "       sluicectl why --socket PATH [the same] [MESSAGE-ID]\n"
        "       sluicectl eta --config FILE | --socket PATH [the same, without MESSAGE-ID]\n"
        "\n"
        "why asks all workers what their mail waits for: for each site and VIP (or pool) the\n"
        "backlog, the reasons with the limit that is used up and until when; and tells how much "
        "is\n"
        "unread and in delay tiers. eta: by when it will have been sent, at the rate of each "
        "site;\n"
        "of what is unread or in delay tiers an estimate of what is of the tenant or campaign, by\n"
        "site, from records read all over it.\n"
        "With a MESSAGE-ID: where that message is (at a worker, in a delay tier, unread, held,\n"
        "finished), what it waits for, and when its turn is expected. --recipient and --since\n"
        "narrow the search where the id does not tell its time, or much is unread.\n"
        "--socket asks the one worker that listens there (worker.control-socket), without Kafka.\n"
        "--timeout: how long all of it may take (1500ms).\n"
        "Exit status 1: it is not known where the message is. 3: not all workers have answered in\n"
        "time, or not all was looked at where the message may be; what was not is said.\n",
        stderr);
    return WHY_USAGE;
}

static bool parse_duration(const char *option, const char *text, int64_t *ms)
{
    struct slice value = slice_cstr(text);
    if (slice_ends_with_nocase(value, SLICE("-ago"))) {
        value.len -= 4;
    }
    if (!duration_parse_ms(value, ms)) {
        (void)fprintf(stderr, "sluicectl: %s: \"%s\" is no duration\n", option, text);
        return false;
    }
    return true;
}

static bool parse(int argc, char **argv, struct why_query *query)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'C'},
        {"site", required_argument, NULL, 's'},
        {"vip", required_argument, NULL, 'v'},
        {"tenant", required_argument, NULL, 't'},
        {"campaign", required_argument, NULL, 'c'},
        {"timeout", required_argument, NULL, 'T'},
        {"json", no_argument, NULL, 'j'},
        {"socket", required_argument, NULL, 'S'},
        {"recipient", required_argument, NULL, 'r'},
        {"since", required_argument, NULL, 'f'},
        {NULL, 0, NULL, 0},
    };
    int letter;
    int64_t ago_ms = 0;
    query->command = argv[0];
    query->eta = strcmp(argv[0], "eta") == 0;
    optind = 1;
    while ((letter = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        bool good = true;
        switch (letter) {
        case 'C': query->config_path = optarg; break;
        case 'S': query->socket = optarg; break;
        case 's': query->site = optarg; break;
        case 'v': query->route = optarg; break;
        case 't': query->tenant = optarg; break;
        case 'c': query->campaign = optarg; break;
        case 'r': query->recipient = optarg; break;
        case 'j': query->json = true; break;
        case 'T': good = parse_duration("--timeout", optarg, &query->timeout_ms); break;
        case 'f': good = parse_duration("--since", optarg, &ago_ms); break;
        default: return false;
        }
        if (!good) {
            return false;
        }
    }
    query->since_ms = ago_ms > 0 ? wall_now().ms - ago_ms : 0;
    query->message_id = optind < argc && !query->eta ? argv[optind++] : NULL;
    query->timeout_ms = query->timeout_ms == 0 ? DEFAULT_TIMEOUT_MS : query->timeout_ms;
    query->deadline = mono_add_ms(mono_now(), query->timeout_ms);
    return (query->config_path != NULL) != (query->socket != NULL) && optind == argc;
}

static void print_json(const struct why_answers *answers)
{
    for (size_t i = 0; i < answers->count; i++) {
        (void)json_dumpf(answers->items[i], stdout, JSON_COMPACT);
        printf("\n");
    }
}

/* Exit status. */
static int tell_missing(const struct why_query *query, const struct why_answers *answers)
{
    if (why_answers_complete(answers)) {
        return 0;
    }
    (void)fprintf(stderr, "sluicectl %s: %zu of %zu threads of workers have answered\n",
                  query->command, answers->count, answers->expected);
    return WHY_INCOMPLETE;
}

static int failed(const struct why_query *query, const struct fault *fault)
{
    (void)fprintf(stderr, "sluicectl %s: %s\n", query->command, fault->text);
    return 1;
}

static int run_socket(const struct why_query *query, struct why_answers *answers)
{
    struct fault fault = {0};
    if (!why_ask_socket(query, answers, &fault)) {
        return failed(query, &fault);
    }
    int missing = tell_missing(query, answers);
    if (query->message_id != NULL) {
        int status = why_message_here(query, answers);
        return status != 0 ? status : missing;
    }
    if (query->json) {
        print_json(answers);
    } else {
        why_print_lanes(query, answers);
    }
    return missing;
}

/* Three quarters of the time are for reading, as the names of the sites come fast. *told: there was
 * time for it. */
static bool tell_estimate(const struct config *config, struct kafka_finder *finder,
                          const struct why_query *query, const struct why_answers *answers,
                          const struct why_unread *unread, bool *told, struct fault *fault)
{
    struct eta_sample sample = {0};
    struct mono_time reading = mono_add_ms(query->deadline, -query->timeout_ms / 4);
    bool good = eta_sample_draw(finder, query, unread, reading, &sample, fault) &&
                eta_sites_find(config, query->deadline, &sample, fault);
    *told = sample.all_read || sample.point_count > 0;
    if (good && !*told) {
        (void)fprintf(stderr, "sluicectl eta: whose it is was not found out in time\n");
    } else if (good && (sample.total > 0 || query->json)) {
        eta_print(query, answers, &sample);
    }
    eta_sample_free(&sample);
    return good;
}

/* By the workers' answers and by what is unread, of which Kafka was asked meanwhile. */
static bool tell_unread(const struct config *config, struct kafka_finder *finder,
                        const struct why_query *query, const struct why_answers *answers,
                        struct why_unread *unread, bool *told, struct fault *fault)
{
    *told = true;
    why_unread_settle(unread, answers);
    if (!query->json) {
        why_print_backlog(query, unread);
    }
    return !query->eta || tell_estimate(config, finder, query, answers, unread, told, fault);
}

static int run_topic(const struct config *config, const struct kafka_properties *properties,
                     const struct why_query *query, struct why_answers *answers)
{
    struct fault fault = {0}, uncounted = {0};
    char topic[KAFKA_TOPIC_NAME_MAX + 1];
    struct why_unread unread = {0};
    struct mono_time asking_end =
        mono_add_ms(query->deadline, query->eta ? -query->timeout_ms / 2 : 0);
    (void)snprintf(topic, sizeof(topic), "%scontrol", config->kafka.prefix);
    struct why_asking *asking = why_ask(properties, topic, NULL, asking_end, answers);
    struct kafka_finder *finder =
        query->eta    ? kafka_finder_create_sampling(properties, config->kafka.group, &uncounted)
        : query->json ? NULL
                      : kafka_finder_create(properties, config->kafka.group, &uncounted);
    bool counted = finder != NULL &&
                   why_unread_get(finder, config, true, query->deadline, &unread, &uncounted);
    bool good = why_ask_end(&asking, &fault);
    bool told = true;
    if (good && query->json) {
        print_json(answers);
    } else if (good) {
        why_print_lanes(query, answers);
    }
    if (good && finder != NULL &&
        !(counted && tell_unread(config, finder, query, answers, &unread, &told, &uncounted))) {
        good = false;
        fault = uncounted;
    }
    why_unread_free(&unread);
    kafka_finder_free(&finder);
    int missing = good ? tell_missing(query, answers) : failed(query, &fault);
    return missing == 0 && !told ? WHY_INCOMPLETE : missing;
}

static int run(const struct why_query *query)
{
    struct fault fault = {0};
    struct why_answers *answers = mem_zalloc(sizeof(*answers));
    int status = 1;
    if (query->socket != NULL) {
        status = run_socket(query, answers);
        why_answers_free(answers);
        mem_free(answers);
        return status;
    }
    struct config *config = config_load(query->config_path, &fault);
    if (config == NULL) {
        status = failed(query, &fault);
    } else {
        struct kafka_properties properties;
        kafka_properties_from_config(&properties, &config->kafka);
        status = query->message_id != NULL ? why_message(config, &properties, query)
                                           : run_topic(config, &properties, query, answers);
        kafka_properties_free(&properties);
    }
    why_answers_free(answers);
    mem_free(answers);
    config_free(&config);
    return status;
}

int cmd_why(int argc, char **argv)
{
    struct why_query query = {0};
    if (!parse(argc, argv, &query)) {
        return usage();
    }
    log_setup("sluicectl", LOG_LEVEL_WARN);
    return run(&query);
}

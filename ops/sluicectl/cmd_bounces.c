/*
 * sluicectl bounces top: what is refused most, by whom, of whom, and why. Reads the topic bounces
 * (what failed for good, also what came back later), with --deferred also what is tried again.
 */
#include "ops/sluicectl/bounces_print.h"
#include "ops/sluicectl/cmd.h"
#include "ops/sluicectl/interrupt.h"

#include "base/log.h"
#include "kafka/reader.h"
#include "policy/config.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>

#define FROM_BEGINNING (-2)
#define SINCE_MS ((int64_t)3600 * 1000)
#define POLL_MS 100
#define GROUPS_SHOWN 20
#define CAUSES_SHOWN 3
#define SHOWN_MAX 100000
#define ARENA_FIRST_BYTES 4096
#define ARENA_MAX_BYTES ((size_t)64 * 1024 * 1024)
#define FILTERS 4

struct options {
    const char *config;
    struct bounces_options print;
    enum tally_view view;
    int64_t from_ms;
    bool deferred;
    struct {
        size_t offset; /* of the slice in struct event */
        struct slice wanted;
    } filters[FILTERS];
    struct slice class_name;
};

struct counts {
    uint64_t suspicious; /* late bounces that must not be believed */
    uint64_t broken;     /* records that are no events */
};

static bool is_failure(const struct options *options, const struct event *event)
{
    return event->type == EVENT_BOUNCED || event->type == EVENT_EXPIRED ||
           event->type == EVENT_BOUNCED_LATE ||
           (options->deferred && event->type == EVENT_DEFERRED);
}

static bool wanted(const struct options *options, const struct event *event)
{
    for (size_t i = 0; i < FILTERS; i++) {
        struct slice member;
        memcpy(&member, (const char *)event + options->filters[i].offset, sizeof(member));
        if (options->filters[i].wanted.ptr != NULL &&
            !slice_eq_nocase(member, options->filters[i].wanted)) {
            return false;
        }
    }
    return options->class_name.ptr == NULL || slice_eq(tally_class_of(event), options->class_name);
}

static void count_record(const struct options *options, const struct kafka_reader_record *record,
                         struct tally *tally, struct counts *counts)
{
    struct arena *arena = arena_create(ARENA_FIRST_BYTES, ARENA_MAX_BYTES);
    struct event event;
    struct fault fault = {0};
    CHECK(arena != NULL);
    if (!event_decode(record->value, arena, &event, &fault)) {
        (void)fprintf(stderr, "sluicectl bounces: %s/%" PRId32 "/%" PRId64 ": %s\n", record->topic,
                      record->partition, record->offset, fault.text);
        counts->broken++;
    } else if (is_failure(options, &event) && wanted(options, &event)) {
        if (event.returned.suspicious.len > 0) {
            counts->suspicious++;
        } else {
            tally_add(tally, &event);
        }
    }
    arena_free(&arena);
}

/* False: the topic could not be read. */
static bool count_all(const struct options *options, struct kafka_reader *reader,
                      struct tally *tally, struct counts *counts)
{
    struct kafka_reader_record record;
    struct fault fault = {0};
    while (!interrupt_came()) {
        switch (kafka_reader_next(reader, POLL_MS, &record, &fault)) {
        case KAFKA_READ_RECORD: count_record(options, &record, tally, counts); break;
        case KAFKA_READ_NONE: break;
        case KAFKA_READ_END: return true;
        case KAFKA_READ_FAILED:
            (void)fprintf(stderr, "sluicectl bounces: %s\n", fault.text);
            return false;
        }
    }
    return true; /* what was read until then is shown */
}

static int run(const struct options *options)
{
    char topic[256];
    struct fault fault = {0};
    struct counts counts = {0};
    struct config *config = config_load(options->config, &fault);
    if (config == NULL) {
        (void)fprintf(stderr, "%s\n", fault.text);
        return 1;
    }
    (void)snprintf(topic, sizeof(topic), "%s%s", config->kafka.prefix,
                   options->deferred ? "log" : "bounces");
    const char *topics[] = {topic};
    struct kafka_properties properties;
    kafka_properties_from_config(&properties, &config->kafka);
    struct kafka_reader *reader =
        kafka_reader_create(&properties, topics, 1, options->from_ms, &fault);
    struct tally *tally = tally_create(options->print.by, options->view);
    bool good = reader != NULL;
    if (!good) {
        (void)fprintf(stderr, "sluicectl bounces: %s\n", fault.text);
    } else if ((good = count_all(options, reader, tally, &counts))) {
        bounces_print(tally, &options->print);
        if (counts.suspicious > 0 && !options->print.json) {
            (void)printf("%10" PRIu64 " reports that must not be believed are left out\n",
                         counts.suspicious);
        }
    }
    tally_free(&tally);
    kafka_reader_free(&reader);
    kafka_properties_free(&properties);
    config_free(&config);
    return good && counts.broken == 0 && fflush(stdout) == 0 ? 0 : 1;
}

static int usage(void)
{
    (void)fputs(
        "usage: sluicectl bounces top --config FILE [--by "
        "site|class|cause|tenant|campaign|vip|provider]\n"
        "         [--since DURATION|beginning] [--deferred] [--view sluice|powermta|momentum]\n"
        "         [--tenant NAME] [--campaign NAME] [--site NAME] [--vip NAME] [--class CLASS]\n"
        "         [--limit GROUPS] [--causes NUMBER] [--json]\n"
        "\n"
        "Counts what failed for good (topic bounces: refused, expired, returned later) in the last "
        "hour, by site,\n"
        "and shows the most frequent groups with their causes: texts without what changes from "
        "message to message\n"
        "(docs/bounces.md). --deferred counts what is tried again too. A site is the set of MX "
        "hosts of a domain,\n"
        "so all domains of one provider count as one.\n",
        stderr);
    return 2;
}

static bool parse_since(const char *text, int64_t *from_ms)
{
    int64_t ago_ms;
    if (strcmp(text, "beginning") == 0) {
        *from_ms = FROM_BEGINNING;
        return true;
    }
    if (!duration_parse_ms(slice_cstr(text), &ago_ms)) {
        return false;
    }
    *from_ms = wall_now().ms - ago_ms;
    return true;
}

static bool parse_count(const char *text, size_t *count)
{
    uint64_t number;
    if (!slice_to_u64(slice_cstr(text), &number) || number > SHOWN_MAX) {
        return false;
    }
    *count = (size_t)number;
    return true;
}

static bool parse_class(const char *text, struct slice *name)
{
    enum bounce_class class;
    *name = slice_cstr(text);
    return bounce_class_parse(*name, &class);
}

static bool take_option(int option, struct options *options)
{
    switch (option) {
    case 'c': options->config = optarg; return true;
    case 'b': return tally_by_parse(slice_cstr(optarg), &options->print.by);
    case 's': return parse_since(optarg, &options->from_ms);
    case 'd': options->deferred = true; return true;
    case 'v': return tally_view_parse(slice_cstr(optarg), &options->view);
    case 'C': return parse_class(optarg, &options->class_name);
    case 'l': return parse_count(optarg, &options->print.limit);
    case 'n': return parse_count(optarg, &options->print.causes);
    case 'j': options->print.json = true; return true;
    default: options->filters[option - '0'].wanted = slice_cstr(optarg); return true;
    }
}

/* Exit status: 0, or 2 when it was told what is wrong. */
static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},   {"by", required_argument, NULL, 'b'},
        {"since", required_argument, NULL, 's'},    {"deferred", no_argument, NULL, 'd'},
        {"view", required_argument, NULL, 'v'},     {"class", required_argument, NULL, 'C'},
        {"limit", required_argument, NULL, 'l'},    {"causes", required_argument, NULL, 'n'},
        {"json", no_argument, NULL, 'j'},           {"tenant", required_argument, NULL, '0'},
        {"campaign", required_argument, NULL, '1'}, {"site", required_argument, NULL, '2'},
        {"vip", required_argument, NULL, '3'},      {NULL, 0, NULL, 0},
    };
    int option;
    int at = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, "", longs, &at)) != -1) {
        if (option == '?') {
            return usage();
        }
        if (!take_option(option, options)) {
            (void)fprintf(stderr, "sluicectl: --%s cannot be \"%s\"\n", longs[at].name, optarg);
            return 2;
        }
    }
    return optind == argc && options->config != NULL ? 0 : usage();
}

int cmd_bounces(int argc, char **argv)
{
    struct options options = {
        .print = {.by = TALLY_BY_SITE, .limit = GROUPS_SHOWN, .causes = CAUSES_SHOWN},
        .from_ms = wall_now().ms - SINCE_MS,
        .filters = {{offsetof(struct event, tenant), SLICE_NULL},
                    {offsetof(struct event, campaign), SLICE_NULL},
                    {offsetof(struct event, site), SLICE_NULL},
                    {offsetof(struct event, vip), SLICE_NULL}},
    };
    if (argc < 2 || strcmp(argv[1], "top") != 0) {
        return usage();
    }
    int status = parse_options(argc - 1, argv + 1, &options);
    if (status != 0) {
        return status;
    }
    log_setup("sluicectl", LOG_LEVEL_WARN);
    interrupt_catch();
    (void)signal(SIGPIPE, SIG_IGN);
    return run(&options);
}

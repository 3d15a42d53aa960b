/*
 * sluicectl log: the events of a topic as JSON lines on stdout, from a point in time to the end of
 * the topic, or on and on. Accountings are made from it, so a record that is no event is told on
 * stderr and makes the exit status 1; it is never passed over in silence.
 */
#include "ops/sluicectl/cmd.h"
#include "ops/sluicectl/interrupt.h"

#include "base/log.h"
#include "base/strbuf.h"
#include "kafka/reader.h"
#include "policy/config.h"
#include "schema/event.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>

#define FROM_BEGINNING (-2)
#define FROM_END (-1)
#define POLL_MS 100
#define LINE_MAX_BYTES ((size_t)8 * 1024 * 1024)
#define ARENA_FIRST_BYTES 4096
#define ARENA_MAX_BYTES ((size_t)64 * 1024 * 1024)
#define FILTERS_MAX 5

/* An option that an event's member must equal. */
struct log_filter {
    size_t offset;
    struct slice wanted; /* ptr NULL: not asked for */
};

struct log_options {
    const char *config;
    const char *topic;
    int64_t from_ms;
    bool follow;
    unsigned types; /* bits by enum event_type; 0: all */
    struct log_filter filters[FILTERS_MAX];
};

static bool wanted(const struct log_options *options, const struct event *event)
{
    if (options->types != 0 && (options->types >> event->type & 1u) == 0) {
        return false;
    }
    for (size_t i = 0; i < FILTERS_MAX; i++) {
        struct slice member;
        if (options->filters[i].wanted.ptr == NULL) {
            continue;
        }
        memcpy(&member, (const char *)event + options->filters[i].offset, sizeof(member));
        if (!slice_eq_nocase(member, options->filters[i].wanted)) {
            return false;
        }
    }
    return true;
}

/* False: the record is no event. */
static bool print_record(const struct log_options *options,
                         const struct kafka_reader_record *record, struct strbuf *line)
{
    struct arena *arena = arena_create(ARENA_FIRST_BYTES, ARENA_MAX_BYTES);
    struct event event;
    struct fault fault = {0};
    CHECK(arena != NULL);
    bool ok = event_decode(record->value, arena, &event, &fault);
    strbuf_reset(line);
    if (ok && wanted(options, &event)) {
        ok = event_to_json(&event, line) && strbuf_add_byte(line, '\n');
        if (ok) {
            (void)fwrite(line->ptr, 1, line->len, stdout);
        } else {
            fault_set(&fault, FAULT_LIMIT, 0, "too long");
        }
    }
    if (!ok) {
        (void)fprintf(stderr, "sluicectl log: %s/%" PRId32 "/%" PRId64 ": %s\n", record->topic,
                      record->partition, record->offset, fault.text);
    }
    arena_free(&arena);
    return ok;
}

static int read_all(const struct log_options *options, struct kafka_reader *reader)
{
    struct kafka_reader_record record;
    struct strbuf line;
    struct fault fault = {0};
    int status = 0;
    strbuf_init(&line, LINE_MAX_BYTES);
    while (!interrupt_came() && ferror(stdout) == 0) {
        enum kafka_read got = kafka_reader_next(reader, POLL_MS, &record, &fault);
        if (got == KAFKA_READ_RECORD) {
            status = print_record(options, &record, &line) ? status : 1;
            continue;
        }
        (void)fflush(stdout);
        if (got == KAFKA_READ_FAILED) {
            (void)fprintf(stderr, "sluicectl log: %s\n", fault.text);
            status = 1;
            break;
        }
        if (got == KAFKA_READ_END && !options->follow) {
            break;
        }
    }
    strbuf_free(&line);
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        return 1; /* the reader of our pipe has gone, or the disk is full */
    }
    return status;
}

static int run(const struct log_options *options)
{
    char topic[256];
    struct fault fault = {0};
    int status = 1;
    struct config *config = config_load(options->config, &fault);
    if (config == NULL) {
        (void)fprintf(stderr, "%s\n", fault.text);
        return 1;
    }
    (void)snprintf(topic, sizeof(topic), "%s%s", config->kafka.prefix, options->topic);
    const char *topics[] = {topic};
    struct kafka_properties properties;
    kafka_properties_from_config(&properties, &config->kafka);
    struct kafka_reader *reader =
        kafka_reader_create(&properties, topics, 1, options->from_ms, &fault);
    if (reader == NULL) {
        (void)fprintf(stderr, "sluicectl log: %s\n", fault.text);
    } else {
        status = read_all(options, reader);
    }
    kafka_reader_free(&reader);
    kafka_properties_free(&properties);
    config_free(&config);
    return status;
}

/* "beginning", "end", "15m" or "15m-ago". */
static bool parse_from(const char *text, int64_t *from_ms)
{
    struct slice from = slice_cstr(text);
    int64_t ago_ms;
    if (slice_eq(from, SLICE("beginning"))) {
        *from_ms = FROM_BEGINNING;
        return true;
    }
    if (slice_eq(from, SLICE("end"))) {
        *from_ms = FROM_END;
        return true;
    }
    if (slice_ends_with_nocase(from, SLICE("-ago"))) {
        from.len -= 4;
    }
    if (!duration_parse_ms(from, &ago_ms)) {
        return false;
    }
    *from_ms = wall_now().ms - ago_ms;
    return true;
}

/* Names joined by commas; the option may be given again. */
static bool parse_types(const char *text, unsigned *types)
{
    for (struct slice rest = slice_cstr(text); rest.ptr != NULL;) {
        struct slice name = slice_cut(&rest, ',');
        unsigned bit = 0;
        for (unsigned type = EVENT_RECEIVED; type <= EVENT_LAST; type++) {
            bit |=
                slice_eq(name, slice_cstr(event_type_name((enum event_type)type))) ? 1u << type : 0;
        }
        if (bit == 0) {
            return false;
        }
        *types |= bit;
    }
    return true;
}

static int usage(void)
{
    (void)fputs(
        "usage: sluicectl log --config FILE [--topic log|bounces|feedback] [--from "
        "beginning|end|DURATION-ago] [--follow]\n"
        "         [--type NAME[,NAME…]] [--campaign NAME] [--message-id ID] [--recipient ADDRESS]\n"
        "         [--tenant NAME] [--site NAME]\n"
        "\n"
        "Prints events as JSON lines (docs/schemas.md), by default all of the topic log. Types: "
        "received, attempt,\n"
        "delivered, deferred, bounced, expired, dropped, uncertain, admin, bounced_late, "
        "complaint, "
        "unsubscribed,\n"
        "auto_reply, returned, usage, postponed. Order holds within one message id.\n",
        stderr);
    return 2;
}

static bool is_topic(const char *name)
{
    return strcmp(name, "log") == 0 || strcmp(name, "bounces") == 0 ||
           strcmp(name, "feedback") == 0;
}

int cmd_log(int argc, char **argv)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"topic", required_argument, NULL, 't'},
        {"from", required_argument, NULL, 'f'},
        {"follow", no_argument, NULL, 'F'},
        {"type", required_argument, NULL, 'y'},
        {"campaign", required_argument, NULL, '0'},
        {"message-id", required_argument, NULL, '1'},
        {"recipient", required_argument, NULL, '2'},
        {"tenant", required_argument, NULL, '3'},
        {"site", required_argument, NULL, '4'},
        {NULL, 0, NULL, 0},
    };
    struct log_options options = {
        .topic = "log",
        .from_ms = FROM_BEGINNING,
        .filters = {{offsetof(struct event, campaign), SLICE_NULL},
                    {offsetof(struct event, message_id), SLICE_NULL},
                    {offsetof(struct event, recipient), SLICE_NULL},
                    {offsetof(struct event, tenant), SLICE_NULL},
                    {offsetof(struct event, site), SLICE_NULL}},
    };
    bool good = true;
    int option;
    optind = 1;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (option) {
        case 'c': options.config = optarg; break;
        case 't': options.topic = optarg; break;
        case 'f': good = good && parse_from(optarg, &options.from_ms); break;
        case 'F': options.follow = true; break;
        case 'y': good = good && parse_types(optarg, &options.types); break;
        case '0':
        case '1':
        case '2':
        case '3':
        case '4': options.filters[option - '0'].wanted = slice_cstr(optarg); break;
        default: good = false; break;
        }
    }
    if (!good || optind != argc || options.config == NULL || !is_topic(options.topic)) {
        return usage();
    }
    log_setup("sluicectl", LOG_LEVEL_WARN);
    interrupt_catch();
    (void)signal(SIGPIPE, SIG_IGN);
    return run(&options);
}

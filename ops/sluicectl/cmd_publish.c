/*
 * sluicectl publish: one message to a list of recipients, through libsluice like any other client.
 * Recipients are read in batches and grouped by domain, by default one to a record. Everything runs
 * on this thread: callbacks come while it polls.
 */
#include "ops/sluicectl/cmd.h"
#include "ops/sluicectl/interrupt.h"

#include "ops/sluicectl/publish_input.h"
#include "ops/sluicectl/publish_report.h"

#include "base/log.h"
#include "base/mem.h"

#include <getopt.h>

#define LIST_MAX_BYTES ((size_t)1024 * 1024 * 1024)
#define CONTENT_MAX_BYTES ((size_t)25 * 1024 * 1024)
#define FLUSH_STEP_MS 100
#define STOP_FLUSH_MS 10000
#define BURST_US INT64_C(50000)
#define GROUP_MOST 1000

struct publish_options {
    const char *config, *from, *recipients, *message, *tenant, *campaign, *klass, *stream, *pool;
    uint64_t rate; /* recipients per second; 0: as fast as it goes */
    uint64_t group;
    int64_t not_before_ms; /* from now; 0: at once */
    bool json;
};

struct publish_run {
    const struct publish_options *options;
    struct sluice *sluice;
    struct publish_report report;
    struct publish_list list;
    struct sluice_message message; /* all but the recipients */
    struct mono_time due;          /* of the next record, with --rate */
};

/* A record on its way: which lines it stands for. */
struct on_its_way {
    struct publish_run *run;
    size_t count;
    uint64_t lines[];
};

static void on_delivered(void *opaque, const struct sluice_delivery *delivery)
{
    struct on_its_way *record = opaque;
    struct publish_report *report = &record->run->report;
    report->waiting -= record->count;
    if (delivery->result == SLUICE_OK) {
        report->published += record->count;
        report->records++;
    } else {
        for (size_t i = 0; i < record->count; i++) {
            publish_report_failure(report, record->lines[i], "", delivery->text);
        }
    }
    mem_free(record);
}

static void on_wrong_row(void *owner, uint64_t line, const char *address, const char *problem)
{
    struct publish_run *run = owner;
    publish_report_failure(&run->report, line, address, problem);
}

static void on_wrong_address(void *opaque, size_t index, const struct sluice_error *error)
{
    struct publish_run *run = opaque;
    const char *address = run->list.recipients[index].address;
    publish_report_failure(&run->report, run->list.lines[index], address, error->text);
}

/* Waits, serving callbacks, until the rate allows `count` more. */
static void wait_for_rate(struct publish_run *run, size_t count)
{
    uint64_t rate = run->options->rate;
    struct mono_time now = mono_now();
    if (rate == 0) {
        return;
    }
    if (mono_before(run->due, mono_add_us(now, -BURST_US))) {
        run->due = mono_add_us(now, -BURST_US);
    }
    while (mono_before(now, run->due) && !interrupt_came()) {
        int64_t left_ms = (mono_since_us(run->due, now) + 999) / 1000;
        (void)sluice_poll(run->sluice, left_ms > FLUSH_STEP_MS ? FLUSH_STEP_MS : (int)left_ms);
        publish_report_progress(&run->report);
        now = mono_now();
    }
    run->due = mono_add_us(run->due, (int64_t)(count * 1000000 / rate));
}

static void publish_group(struct publish_run *run, const struct sluice_recipient *recipients,
                          size_t count, const size_t *indexes)
{
    struct on_its_way *record = mem_zalloc(sizeof(*record) + count * sizeof(record->lines[0]));
    struct sluice_message message = run->message;
    struct sluice_error error;
    enum sluice_result result;
    record->run = run;
    record->count = count;
    for (size_t i = 0; i < count; i++) {
        record->lines[i] = run->list.lines[indexes[i]];
    }
    message.recipients = recipients;
    message.recipient_count = count;
    wait_for_rate(run, count);
    do {
        result = interrupt_came()
                     ? SLUICE_FAILED
                     : sluice_publish(run->sluice, &message, on_delivered, record, &error);
        if (result == SLUICE_FULL) {
            (void)sluice_poll(run->sluice, FLUSH_STEP_MS);
            publish_report_progress(&run->report);
        }
    } while (result == SLUICE_FULL);
    if (result == SLUICE_OK) {
        run->report.waiting += count;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        publish_report_failure(&run->report, record->lines[i], recipients[i].address,
                               interrupt_came() ? "interrupted" : error.text);
    }
    mem_free(record);
}

static void publish_batch(struct publish_run *run)
{
    struct sluice_groups *groups = sluice_group(run->list.recipients, run->list.count,
                                                run->options->group, on_wrong_address, run);
    CHECK(groups != NULL);
    for (size_t i = 0; i < sluice_groups_count(groups); i++) {
        size_t count;
        const size_t *indexes;
        const struct sluice_recipient *recipients = sluice_groups_get(groups, i, &count, &indexes);
        publish_group(run, recipients, count, indexes);
        (void)sluice_poll(run->sluice, 0);
        publish_report_progress(&run->report);
    }
    sluice_groups_free(&groups);
}

/* Until all is acknowledged or has failed; after an interrupt only for a while. */
static void flush_all(struct publish_run *run)
{
    int waited_ms = 0;
    while (sluice_flush(run->sluice, FLUSH_STEP_MS) > 0) {
        publish_report_progress(&run->report);
        waited_ms = interrupt_came() ? waited_ms + FLUSH_STEP_MS : 0;
        if (waited_ms >= STOP_FLUSH_MS) {
            break;
        }
    }
    sluice_close(&run->sluice, 0); /* what is left is reported as failed */
}

static bool parse_class(const char *name, enum sluice_class *klass)
{
    if (name == NULL) {
        *klass = SLUICE_CLASS_OF_STREAM;
    } else if (strcmp(name, "bulk") == 0) {
        *klass = SLUICE_CLASS_BULK;
    } else if (strcmp(name, "transactional") == 0) {
        *klass = SLUICE_CLASS_TRANSACTIONAL;
    } else {
        return false;
    }
    return true;
}

/* What is wrong with the message itself is said once, not for each recipient. */
static bool prepare_message(struct publish_run *run, struct slice content,
                            struct sluice_error *error)
{
    const struct publish_options *options = run->options;
    const struct sluice_recipient somebody = {.address = "somebody@example.com"};
    struct sluice_message message = SLUICE_MESSAGE_INIT;
    if (!parse_class(options->klass, &message.class_)) {
        snprintf(error->text, sizeof(error->text), "--class: neither bulk nor transactional");
        return false;
    }
    message.stream = options->stream;
    if (message.stream == NULL && message.class_ == SLUICE_CLASS_TRANSACTIONAL) {
        message.stream = "tx";
    }
    message.tenant = options->tenant;
    message.campaign = options->campaign;
    message.mail_from = options->from;
    message.pool = options->pool;
    message.not_before_ms =
        options->not_before_ms == 0 ? 0 : wall_now().ms + options->not_before_ms;
    message.content = content.ptr;
    message.content_bytes = content.len;
    message.recipients = &somebody;
    message.recipient_count = 1;
    bool ok = sluice_check(&message, error) == SLUICE_OK;
    message.recipients = NULL;
    message.recipient_count = 0;
    run->message = message;
    return ok;
}

static int publish_all(struct publish_run *run)
{
    publish_report_init(&run->report, run->options->recipients, run->options->json);
    run->due = mono_now();
    while (!interrupt_came() && publish_list_next(&run->list, on_wrong_row, run)) {
        publish_batch(run);
    }
    flush_all(run);
    publish_report_end(&run->report);
    int status = run->report.failed > 0 ? 1 : interrupt_came() ? 130 : 0;
    publish_report_free(&run->report);
    return status;
}

static int publish_with(const struct publish_options *options, struct slice list,
                        struct slice content)
{
    struct publish_run run = {.options = options};
    struct sluice_error error = {SLUICE_OK, ""};
    struct fault fault = {0};
    int status = 1;
    if (!publish_list_init(&run.list, list, &fault)) {
        (void)fprintf(stderr, "sluicectl publish: %s: %s\n", options->recipients, fault.text);
    } else if (!prepare_message(&run, content, &error) ||
               (run.sluice = sluice_open_config(options->config, &error)) == NULL) {
        (void)fprintf(stderr, "sluicectl publish: %s\n", error.text);
    } else {
        interrupt_catch();
        status = publish_all(&run);
    }
    publish_list_free(&run.list);
    return status;
}

static int publish(const struct publish_options *options)
{
    struct strbuf list, raw, content;
    struct fault fault = {0};
    int status = 1;
    strbuf_init(&raw, 0);
    strbuf_init(&content, 0);
    if (!input_read_file(options->recipients, LIST_MAX_BYTES, &list, &fault) ||
        !input_read_file(options->message, CONTENT_MAX_BYTES, &raw, &fault)) {
        (void)fprintf(stderr, "sluicectl publish: %s\n", fault.text);
    } else if (!input_crlf(strbuf_slice(&raw), CONTENT_MAX_BYTES, &content)) {
        (void)fprintf(stderr, "sluicectl publish: %s: larger than 25 MB\n", options->message);
    } else {
        status = publish_with(options, strbuf_slice(&list), strbuf_slice(&content));
    }
    strbuf_free(&content);
    strbuf_free(&raw);
    strbuf_free(&list);
    return status;
}

static int usage(void)
{
    (void)fputs(
        "usage: sluicectl publish --config FILE --from ADDRESS --recipients LIST.csv --message "
        "FILE --tenant NAME\n"
        "         [--campaign NAME] [--class bulk|transactional] [--stream NAME] [--pool NAME]\n"
        "         [--rate RECIPIENTS-PER-SECOND] [--group N] [--not-before DURATION] [--json]\n"
        "\n"
        "LIST.csv has a header line; the column \"email\" (or the first) is the address, the "
        "others become metadata\n"
        "of the recipient. --from \"\" is the null sender. --group N puts up to N recipients of a "
        "domain into one\n"
        "message (default 1). --not-before 2h: nothing is tried before that time from now. Exit "
        "status:\n"
        "0 all published, 1 some were not, 2 wrong usage.\n",
        stderr);
    return 2;
}

static bool parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *value)
{
    return slice_to_u64(slice_cstr(text), value) && *value >= least && *value <= most;
}

int cmd_publish(int argc, char **argv)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"from", required_argument, NULL, 'f'},
        {"recipients", required_argument, NULL, 'r'},
        {"message", required_argument, NULL, 'm'},
        {"tenant", required_argument, NULL, 't'},
        {"campaign", required_argument, NULL, 'C'},
        {"class", required_argument, NULL, 'k'},
        {"stream", required_argument, NULL, 's'},
        {"pool", required_argument, NULL, 'p'},
        {"rate", required_argument, NULL, 'R'},
        {"group", required_argument, NULL, 'g'},
        {"not-before", required_argument, NULL, 'b'},
        {"json", no_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    struct publish_options options = {.group = 1};
    bool good = true;
    int option;
    optind = 1;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (option) {
        case 'c': options.config = optarg; break;
        case 'f': options.from = optarg; break;
        case 'r': options.recipients = optarg; break;
        case 'm': options.message = optarg; break;
        case 't': options.tenant = optarg; break;
        case 'C': options.campaign = optarg; break;
        case 'k': options.klass = optarg; break;
        case 's': options.stream = optarg; break;
        case 'p': options.pool = optarg; break;
        case 'R': good = good && parse_number(optarg, 1, 1000000, &options.rate); break;
        case 'g': good = good && parse_number(optarg, 1, GROUP_MOST, &options.group); break;
        case 'b':
            good = good && duration_parse_ms(slice_cstr(optarg), &options.not_before_ms);
            break;
        case 'j': options.json = true; break;
        default: good = false; break;
        }
    }
    if (!good || optind != argc || options.config == NULL || options.from == NULL ||
        options.recipients == NULL || options.message == NULL || options.tenant == NULL) {
        return usage();
    }
    log_setup("sluicectl", LOG_LEVEL_WARN);
    return publish(&options);
}

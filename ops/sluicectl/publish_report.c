#include "ops/sluicectl/publish_report.h"

#include "schema/json.h"

#include <inttypes.h>
#include <unistd.h>

#define FAILURES_KEPT_MAX 1000
#define FAILURES_MAX_BYTES ((size_t)4 * 1024 * 1024)
#define TERMINAL_INTERVAL_US INT64_C(200000)
#define PLAIN_INTERVAL_US INT64_C(5000000)

void publish_report_init(struct publish_report *report, const char *list_name, bool json)
{
    *report = (struct publish_report){.list_name = list_name, .json = json};
    report->terminal = isatty(STDERR_FILENO) == 1;
    report->start = mono_now();
    report->last_shown = report->start;
    strbuf_init(&report->failures, FAILURES_MAX_BYTES);
}

void publish_report_free(struct publish_report *report)
{
    strbuf_free(&report->failures);
}

static void clear_line(const struct publish_report *report)
{
    if (report->terminal) {
        (void)fputs("\r\033[K", stderr);
    }
}

/* Without what a terminal could take for an order. */
static void print_clean(const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        (void)fputc(c < ' ' || c == 0x7f ? '?' : c, stderr);
    }
}

void publish_report_failure(struct publish_report *report, uint64_t line, const char *address,
                            const char *problem)
{
    report->failed++;
    if (report->failures_kept == FAILURES_KEPT_MAX) {
        clear_line(report);
        (void)fprintf(stderr, "%s: further failures are only counted\n", report->list_name);
        report->failures_kept++;
    }
    if (report->failures_kept > FAILURES_KEPT_MAX) {
        return;
    }
    report->failures_kept++;
    clear_line(report);
    (void)fprintf(stderr, "%s:%" PRIu64 ": ", report->list_name, line);
    print_clean(address);
    (void)fputs(address[0] == '\0' ? "" : ": ", stderr);
    print_clean(problem);
    (void)fputc('\n', stderr);
    struct strbuf *out = &report->failures;
    strbuf_add_cstr(out, out->len > 0 ? ",{\"line\":" : "{\"line\":");
    json_add_unsigned(out, line);
    strbuf_add_cstr(out, ",\"address\":");
    json_add_string(out, slice_cstr(address));
    strbuf_add_cstr(out, ",\"error\":");
    json_add_string(out, slice_cstr(problem));
    strbuf_add_byte(out, '}');
}

static double seconds_of(const struct publish_report *report)
{
    return (double)mono_since_us(mono_now(), report->start) / 1e6;
}

static double rate_of(const struct publish_report *report, double seconds)
{
    return seconds > 0 ? (double)report->published / seconds : 0;
}

void publish_report_progress(struct publish_report *report)
{
    struct mono_time now = mono_now();
    int64_t interval = report->terminal ? TERMINAL_INTERVAL_US : PLAIN_INTERVAL_US;
    if (mono_since_us(now, report->last_shown) < interval) {
        return;
    }
    report->last_shown = now;
    clear_line(report);
    (void)fprintf(stderr,
                  "published %" PRIu64 ", waiting %" PRIu64 ", failed %" PRIu64 ", %.0f/s%s",
                  report->published, report->waiting, report->failed,
                  rate_of(report, seconds_of(report)), report->terminal ? "" : "\n");
    (void)fflush(stderr);
}

void publish_report_end(struct publish_report *report)
{
    double seconds = seconds_of(report);
    clear_line(report);
    (void)fflush(stderr);
    if (report->json) {
        (void)printf(
            "{\"recipients\":%" PRIu64 ",\"published\":%" PRIu64 ",\"failed\":%" PRIu64
            ",\"records\":%" PRIu64 ",\"seconds\":%.3f,\"per_second\":%.1f,\"failures\":[%.*s]}\n",
            report->published + report->failed, report->published, report->failed, report->records,
            seconds, rate_of(report, seconds), SLICE_FMT(strbuf_slice(&report->failures)));
        return;
    }
    (void)printf("%" PRIu64 " recipients published in %" PRIu64 " records, %" PRIu64
                 " failed, %.1f s, %.0f/s\n",
                 report->published, report->records, report->failed, seconds,
                 rate_of(report, seconds));
}

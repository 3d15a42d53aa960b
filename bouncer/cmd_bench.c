/*
 * sluice-bouncer bench FILE.tsv: how fast replies and reports are understood on one core. "new"
 * texts carry a word that none had before, so that nothing comes from the cache; "varied" ones
 * are in known words, as nearly all replies are, each with an address, a host, an IP address and a
 * queue id of its own; "known" ones are the same texts again and again. Reports are delivery status
 * notifications of 10 KB (RFC 3464) whose texts are those of the file, each with another recipient
 * and a word of its own.
 */
#include "bouncer/cmd.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"
#include "bouncer/classify_mail.h"
#include "bouncer/replies.h"

#include <errno.h>
#include <sys/resource.h>

#define BENCH_ROWS_MAX 10000
#define BENCH_TEXT_MAX 2048
#define BENCH_DETAILS_MAX 128
#define BENCH_RUNS 300000
#define REPORT_BYTES 10240
#define REPORT_RUNS 20000
#define REPORT_ARENA_BYTES ((size_t)96 * 1024) /* as the daemon's */

struct row {
    char *line;
    struct classify_input input;
};

static size_t read_rows(FILE *in, struct row *rows)
{
    struct replies_header header;
    struct fault fault;
    char *line = NULL;
    size_t size = 0;
    size_t count = 0;
    ssize_t len = getline(&line, &size, in);
    bool good = len > 0 &&
                replies_header_read(&header, slice_trim(slice_of(line, (size_t)len - 1)), &fault);
    while (good && count < BENCH_ROWS_MAX && (len = getline(&line, &size, in)) > 1) {
        struct row *row = &rows[count];
        struct slice id;
        const char *problem;
        row->line = mem_strndup(line, (size_t)len - 1);
        if (replies_line_read(&header, slice_cstr(row->line), &id, &row->input, &problem)) {
            count++;
        } else {
            mem_free(row->line);
        }
    }
    free(line);
    return count;
}

/* Of this thread, so that what else runs on the machine does not count. */
static double cpu_seconds(void)
{
    struct timespec t;
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A word that no text had before. */
static size_t add_fresh_word(char *out)
{
    size_t len = 0;
    out[len++] = ' ';
    for (uint64_t r = random_u64(), letters = 0; letters < 12; letters++, r /= 26) {
        out[len++] = (char)('a' + r % 26);
    }
    return len;
}

/* What servers put into a reply, of which none had the same before. */
static size_t add_details(char *out, size_t size)
{
    uint64_t r = random_u64();
    int len = snprintf(out, size, " <u%llu@r%llu.example> mx%llu.example [10.%u.%u.%u] id=%012llX",
                       (unsigned long long)(r % 1000000007), (unsigned long long)(r % 100003),
                       (unsigned long long)(r % 1009), (unsigned)(r >> 8 & 255),
                       (unsigned)(r >> 16 & 255), (unsigned)(r >> 24 & 255),
                       (unsigned long long)(r >> 16));
    return len < 0 || (size_t)len >= size ? 0 : (size_t)len;
}

enum texts { TEXTS_NEW, TEXTS_VARIED, TEXTS_KNOWN };

/* Replies a second of CPU. */
static double measure(const struct classifier *classifier, struct row *rows, size_t count,
                      enum texts texts)
{
    struct classify_scratch *scratch = classify_scratch_create();
    char *text = mem_zalloc(BENCH_TEXT_MAX + BENCH_DETAILS_MAX);
    double start = cpu_seconds();
    for (size_t i = 0; i < BENCH_RUNS; i++) {
        struct classify_input input = rows[i % count].input;
        struct classify_result result;
        if (texts != TEXTS_KNOWN) {
            struct slice old = slice_head(input.text, BENCH_TEXT_MAX);
            memcpy(text, old.ptr, old.len);
            input.text =
                slice_of(text, old.len + (texts == TEXTS_NEW
                                              ? add_fresh_word(text + old.len)
                                              : add_details(text + old.len, BENCH_DETAILS_MAX)));
        }
        classifier_run(classifier, scratch, &input, &result);
    }
    double took = cpu_seconds() - start;
    mem_free(text);
    classify_scratch_free(&scratch);
    return took > 0 ? BENCH_RUNS / took : 0;
}

/* A report about the row, filled up with the message that it returns. */
static size_t write_report(char *out, const struct row *row, unsigned number)
{
    char text[400];
    struct slice reply = slice_head(row->input.text, sizeof(text) - 64);
    size_t text_len = reply.len;
    memcpy(text, reply.ptr, reply.len);
    for (size_t i = 0; i < text_len; i++) {
        text[i] = text[i] < ' ' ? ' ' : text[i];
    }
    text_len += add_fresh_word(text + text_len);
    int len = snprintf(
        out, REPORT_BYTES,
        "From: MAILER-DAEMON@mx.example.net\r\nTo: news@sender.example\r\n"
        "Subject: Undelivered Mail Returned to Sender\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=\"b1\"\r\n\r\n"
        "--b1\r\nContent-Type: text/plain\r\n\r\n"
        "This is the mail system at host mx.example.net.\r\n\r\nI'm sorry to have to inform you "
        "that your message could not\r\nbe delivered to one or more recipients.\r\n\r\n"
        "<user%u@example.org>: %.*s\r\n\r\n"
        "--b1\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx.example.net\r\n\r\n"
        "Final-Recipient: rfc822; user%u@example.org\r\nAction: failed\r\nStatus: 5.0.0\r\n"
        "Diagnostic-Code: smtp; %.*s\r\n\r\n"
        "--b1\r\nContent-Type: message/rfc822\r\n\r\n"
        "From: news@sender.example\r\nTo: user%u@example.org\r\nSubject: Spring\r\n"
        "Message-ID: <%u@sender.example>\r\n\r\n",
        number, (int)text_len, text, number, (int)text_len, text, number, number);
    CHECK(len > 0 && len < REPORT_BYTES);
    size_t at = (size_t)len;
    for (; at + 10 < REPORT_BYTES; at++) {
        out[at] = at % 76 == 74 ? '\r' : at % 76 == 75 ? '\n' : 'x';
    }
    const struct slice end = SLICE("\r\n--b1--\r\n");
    memcpy(out + at, end.ptr, end.len);
    return at + end.len;
}

/* Reports a second of CPU, from bytes to class. */
static double measure_reports(struct classifier *classifier, const struct row *rows, size_t count)
{
    const struct classify_mail how = {.classifier = classifier,
                                      .scratch = classify_scratch_create()};
    struct classify_scratch *scratch = how.scratch;
    char *report = mem_zalloc(REPORT_BYTES + 16);
    double took = 0;
    size_t understood = 0;
    for (unsigned i = 0; i < REPORT_RUNS; i++) {
        size_t len = write_report(report, &rows[i % count], i);
        struct returned_mail mail;
        struct classify_result result;
        double start = cpu_seconds();
        struct arena *arena = arena_create(REPORT_ARENA_BYTES, RETURNED_ARENA_MAX);
        CHECK(arena != NULL);
        if (returned_mail_read(arena, slice_of(report, len), &mail, NULL) &&
            mail.recipient_count == 1) {
            classify_mail_recipient(&how, &mail, &mail.recipients[0], &result);
            understood += result.class != BOUNCE_UNDETERMINED;
        }
        arena_free(&arena);
        took += cpu_seconds() - start;
    }
    mem_free(report);
    classify_scratch_free(&scratch);
    if (understood < REPORT_RUNS / 2) {
        (void)fprintf(stderr, "sluice-bouncer: only %zu of %d reports were understood\n",
                      understood, REPORT_RUNS);
        return 0;
    }
    return took > 0 ? REPORT_RUNS / took : 0;
}

static void print_figures(const struct classifier *classifier, size_t count, int64_t load_us,
                          double fresh, double varied, double known, double reports)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    (void)printf("{\"texts\":%zu,\"rules\":%zu,\"rules_open_ms\":%.1f,\"new_replies_per_second\":"
                 "%.0f,\"varied_replies_per_second\":%.0f,\"known_replies_per_second\":%.0f,"
                 "\"reports_per_second\":%.0f,"
                 "\"report_bytes\":%d,\"peak_rss_mb\":%ld}\n",
                 count, classifier_rule_count(classifier), (double)load_us / 1000, fresh, varied,
                 known, reports, REPORT_BYTES, usage.ru_maxrss / 1024);
}

int cmd_bench(int argc, char **argv)
{
    if (argc != 2 || argv[1][0] == '-') {
        (void)fputs("usage: sluice-bouncer bench FILE.tsv\n", stderr);
        return 2;
    }
    struct fault fault = {0};
    FILE *in = fopen(argv[1], "re");
    if (in == NULL) {
        (void)fprintf(stderr, "sluice-bouncer: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    struct row *rows = mem_calloc(BENCH_ROWS_MAX, sizeof(*rows));
    size_t count = read_rows(in, rows);
    (void)fclose(in);
    struct mono_time start = mono_now();
    struct classifier *classifier = classifier_load(NULL, &fault);
    int64_t load_us = mono_since_us(mono_now(), start);
    bool good = classifier != NULL && count > 0;
    if (good) {
        double fresh = measure(classifier, rows, count, TEXTS_NEW);
        double varied = measure(classifier, rows, count, TEXTS_VARIED);
        double known = measure(classifier, rows, count, TEXTS_KNOWN);
        double reports = measure_reports(classifier, rows, count);
        good = reports > 0;
        print_figures(classifier, count, load_us, fresh, varied, known, reports);
    } else {
        (void)fprintf(stderr, "sluice-bouncer: %s\n",
                      classifier == NULL ? fault.text : "no replies in the file");
    }
    classifier_free(&classifier);
    for (size_t i = 0; i < count; i++) {
        mem_free(rows[i].line);
    }
    mem_free(rows);
    return good ? 0 : 1;
}

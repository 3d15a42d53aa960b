/*
 * sluice-bouncer bench FILE.tsv: how fast replies are classified on one core. "new" texts carry a
 * word that none had before, so that nothing comes from the cache; "known" ones are the same texts
 * again and again.
 */
#include "bouncer/cmd.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"
#include "bouncer/replies.h"

#include <errno.h>
#include <sys/resource.h>

#define BENCH_ROWS_MAX 10000
#define BENCH_TEXT_MAX 2048
#define BENCH_RUNS 300000

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

/* Replies a second of CPU. */
static double measure(const struct classifier *classifier, struct row *rows, size_t count,
                      bool fresh)
{
    struct classify_scratch *scratch = classify_scratch_create();
    char *text = mem_zalloc(BENCH_TEXT_MAX + 32);
    double start = cpu_seconds();
    for (size_t i = 0; i < BENCH_RUNS; i++) {
        struct classify_input input = rows[i % count].input;
        struct classify_result result;
        if (fresh) {
            struct slice old = slice_head(input.text, BENCH_TEXT_MAX);
            memcpy(text, old.ptr, old.len);
            size_t len = old.len;
            text[len++] = ' ';
            for (uint64_t r = random_u64(), letters = 0; letters < 12; letters++, r /= 26) {
                text[len++] = (char)('a' + r % 26);
            }
            input.text = slice_of(text, len);
        }
        classifier_run(classifier, scratch, &input, &result);
    }
    double took = cpu_seconds() - start;
    mem_free(text);
    classify_scratch_free(&scratch);
    return took > 0 ? BENCH_RUNS / took : 0;
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
        double fresh = measure(classifier, rows, count, true);
        double known = measure(classifier, rows, count, false);
        struct rusage usage;
        (void)getrusage(RUSAGE_SELF, &usage);
        (void)printf("%zu texts: %.0f new replies/s, %.0f known replies/s; rules compiled in %lld "
                     "ms; %ld MB at most\n",
                     count, fresh, known, (long long)(load_us / 1000), usage.ru_maxrss / 1024);
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

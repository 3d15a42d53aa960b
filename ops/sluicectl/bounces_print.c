#include "ops/sluicectl/bounces_print.h"

#include "classify/classify.h"

#include <inttypes.h>
#include <jansson.h>

#define TABLE_TEXT_MAX 100 /* bytes of a cause in the table */

struct printer {
    const struct bounces_options *options;
    struct classifier *classifier; /* only for its normalising; NULL: texts as they came */
    struct classify_scratch *scratch;
    uint64_t total;
};

/* The example without what changes; in the scratch. */
static struct slice cause_text(const struct printer *printer, const struct tally_cause *cause)
{
    const struct tally_example *example = &cause->example;
    const struct classify_input input = {
        .phase = example->phase,
        .code = example->code,
        .enhanced = example->enhanced,
        .text = example->text,
        .recipient = example->recipient,
        .sender = example->sender,
    };
    struct classify_result result;
    if (printer->classifier == NULL) {
        return example->text;
    }
    classifier_run(printer->classifier, printer->scratch, &input, &result);
    return result.cause;
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : 100.0 * (double)part / (double)whole;
}

/* A stranger's text must not steer the terminal; at most `most` bytes, whole characters. */
static void print_clean(struct slice text, size_t most)
{
    size_t len = text.len;
    if (len > most) {
        len = most;
        while (len > 0 && ((unsigned char)text.ptr[len] & 0xc0) == 0x80) {
            len--;
        }
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        (void)putchar(c < ' ' || c == 0x7f ? ' ' : c);
    }
    (void)fputs(len < text.len ? "…" : "", stdout);
}

static void print_cause(const struct printer *printer, const struct tally_cause *cause)
{
    char enhanced[SMTP_ENHANCED_TEXT_MAX];
    (void)printf("  %10" PRIu64 "         %-18s %-12s %3u %.*s ", cause->count, cause->class_name,
                 cause->disposition, cause->example.code,
                 SLICE_FMT(smtp_enhanced_format(cause->example.enhanced, enhanced)));
    print_clean(cause_text(printer, cause), TABLE_TEXT_MAX);
    (void)putchar('\n');
}

static void print_group(const struct printer *printer, const struct tally_group *group)
{
    uint64_t hard = group->of[BOUNCE_DO_HARD] + group->of[BOUNCE_DO_HARD_AFTER_N];
    uint64_t block = group->of[BOUNCE_DO_BLOCK];
    (void)printf("%10" PRIu64 " %5.1f%%  hard %" PRIu64 ", block %" PRIu64 ", other %" PRIu64 "  ",
                 group->count, percent(group->count, printer->total), hard, block,
                 group->count - hard - block);
    print_clean(group->name, TALLY_NAME_MAX);
    (void)putchar('\n');
    for (size_t i = 0; i < group->cause_count && i < printer->options->causes; i++) {
        print_cause(printer, group->causes[i]);
    }
}

/* By cause each group is one cause: a line is enough. */
static void print_only_cause(const struct printer *printer, const struct tally_group *group)
{
    const struct tally_cause *cause = group->causes[0];
    (void)printf("%10" PRIu64 " %5.1f%%  %-16.*s  %-18s %-12s ", group->count,
                 percent(group->count, printer->total), SLICE_FMT(group->name), cause->class_name,
                 cause->disposition);
    print_clean(cause_text(printer, cause), TABLE_TEXT_MAX);
    (void)putchar('\n');
}

static void set_text(json_t *object, const char *key, struct slice text)
{
    json_t *value = json_stringn(text.ptr == NULL ? "" : text.ptr, text.len);
    if (value == NULL) { /* cut inside a character */
        struct slice shorter = text;
        while (value == NULL && shorter.len > 0) {
            shorter.len--;
            value = json_stringn(shorter.ptr, shorter.len);
        }
    }
    CHECK(json_object_set_new(object, key, value) == 0);
}

static void set_number(json_t *object, const char *key, uint64_t number)
{
    CHECK(json_object_set_new(object, key, json_integer((json_int_t)number)) == 0);
}

static json_t *json_of_cause(const struct printer *printer, const struct tally_cause *cause)
{
    char enhanced[SMTP_ENHANCED_TEXT_MAX];
    json_t *object = json_object();
    set_text(object, "cause_key", slice_cstr(cause->key));
    set_number(object, "count", cause->count);
    set_text(object, "class", slice_cstr(cause->class_name));
    set_text(object, "disposition", slice_cstr(cause->disposition));
    set_number(object, "code", cause->example.code);
    set_text(object, "enhanced", smtp_enhanced_format(cause->example.enhanced, enhanced));
    set_text(object, "cause", cause_text(printer, cause));
    set_text(object, "example", cause->example.text);
    return object;
}

static void print_json(const struct printer *printer, const struct tally_group *group)
{
    json_t *object = json_object();
    json_t *dispositions = json_object();
    json_t *causes = json_array();
    set_text(object, "by", slice_cstr(tally_by_name(printer->options->by)));
    set_text(object, "group", group->name);
    set_number(object, "count", group->count);
    set_number(object, "of", printer->total);
    for (unsigned i = 0; i < BOUNCE_DISPOSITION_COUNT; i++) {
        if (group->of[i] > 0) {
            set_number(dispositions, bounce_disposition_name((enum bounce_disposition)i),
                       group->of[i]);
        }
    }
    CHECK(json_object_set_new(object, "dispositions", dispositions) == 0);
    for (size_t i = 0; i < group->cause_count && i < printer->options->causes; i++) {
        CHECK(json_array_append_new(causes, json_of_cause(printer, group->causes[i])) == 0);
    }
    CHECK(json_object_set_new(object, "causes", causes) == 0);
    char *line = json_dumps(object, JSON_COMPACT);
    CHECK(line != NULL);
    (void)puts(line);
    free(line);
    json_decref(object);
}

void bounces_print(struct tally *tally, const struct bounces_options *options)
{
    size_t count;
    struct fault fault;
    struct printer printer = {.options = options,
                              .classifier = classifier_load(NULL, &fault),
                              .scratch = classify_scratch_create(),
                              .total = tally_total(tally)};
    const struct tally_group *const *groups = tally_sorted(tally, &count);
    for (size_t i = 0; i < count && i < options->limit; i++) {
        if (options->json) {
            print_json(&printer, groups[i]);
        } else if (options->by == TALLY_BY_CAUSE) {
            print_only_cause(&printer, groups[i]);
        } else {
            print_group(&printer, groups[i]);
        }
    }
    if (!options->json) {
        (void)printf("%10" PRIu64 " failures of %zu causes in %zu groups\n", printer.total,
                     tally_cause_total(tally), count);
    }
    classify_scratch_free(&printer.scratch);
    classifier_free(&printer.classifier);
}

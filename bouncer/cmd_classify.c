/*
 * sluice-bouncer classify: classes of single replies, as a table or as one JSON object a line. A
 * line that cannot be read gives an object with "error"; the rest goes on.
 */
#include "bouncer/cmd.h"

#include "base/mem.h"
#include "bouncer/classify_mail.h"
#include "bouncer/replies.h"

#include <errno.h>
#include <jansson.h>

struct options {
    bool json;
    bool explain;
    const char *replies;
    const char *text;
    const char *base_dir;
    const char *user_dirs[16];
    size_t user_dir_count;
    char **paths; /* of messages; the front of argv */
    size_t path_count;
};

static const char usage[] =
    "usage: sluice-bouncer classify [--json] [--rules DIR]… [--base-rules DIR] [FILE|DIR|-]…\n"
    "       sluice-bouncer classify [--json] --replies FILE.tsv\n"
    "       sluice-bouncer classify [--json] [--explain] --text REPLY\n\n"
    "  --replies FILE.tsv  one reply a line; the first line names the columns: text, and any of "
    "id, phase, code,\n"
    "                      enhanced, provider, remote_host, recipient, sender; \"-\" is standard "
    "input\n"
    "  --text REPLY        one reply\n"
    "  --rules DIR         rules of yours, which stand before ours; also SLUICE_BOUNCE_RULES\n"
    "  --base-rules DIR    takes the place of the built-in rules\n"
    "  --explain           also every rule that speaks, with its weight\n";

static bool take_option(struct options *options, const char *name, const char *value)
{
    if (strcmp(name, "--replies") == 0) {
        options->replies = value;
    } else if (strcmp(name, "--text") == 0) {
        options->text = value;
    } else if (strcmp(name, "--base-rules") == 0) {
        options->base_dir = value;
    } else if (strcmp(name, "--rules") == 0 &&
               options->user_dir_count < ARRAY_LEN(options->user_dirs)) {
        options->user_dirs[options->user_dir_count++] = value;
    } else {
        return false;
    }
    return true;
}

static bool read_options(struct options *options, int argc, char **argv)
{
    *options = (struct options){.paths = argv + 1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            options->json = true;
        } else if (strcmp(argv[i], "--explain") == 0) {
            options->explain = true;
        } else if (argv[i][0] != '-' || argv[i][1] == '\0') {
            options->paths[options->path_count++] = argv[i];
        } else if (i + 1 >= argc || !take_option(options, argv[i], argv[i + 1])) {
            return false;
        } else {
            i++;
        }
    }
    const char *more = getenv("SLUICE_BOUNCE_RULES");
    if (more != NULL && more[0] != '\0' &&
        options->user_dir_count < ARRAY_LEN(options->user_dirs)) {
        options->user_dirs[options->user_dir_count++] = more;
    }
    return (options->replies != NULL) + (options->text != NULL) + (options->path_count > 0) == 1;
}

/* Bytes as a JSON text; what is no UTF-8 becomes "?". */
static json_t *json_of(struct slice s)
{
    if (s.ptr == NULL) {
        return json_string("");
    }
    json_t *text = json_stringn(s.ptr, s.len);
    if (text != NULL) {
        return text;
    }
    char *copy = mem_strndup(s.ptr, s.len);
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)copy[i] >= 0x80 || copy[i] == '\0') {
            copy[i] = '?';
        }
    }
    text = json_stringn(copy, s.len);
    mem_free(copy);
    return text;
}

static void print_object(json_t *object)
{
    char *line = json_dumps(object, JSON_COMPACT);
    CHECK(line != NULL);
    (void)puts(line);
    free(line);
    json_decref(object);
}

static void print_error(const struct options *options, struct slice id, const char *problem)
{
    if (!options->json) {
        (void)printf("%-8.*s error: %s\n", SLICE_FMT(id), problem);
        return;
    }
    json_t *object = json_object();
    json_object_set_new(object, "id", json_of(id));
    json_object_set_new(object, "error", json_string(problem));
    print_object(object);
}

static void print_result(const struct options *options, struct slice id,
                         const struct classify_result *r)
{
    if (!options->json) {
        (void)printf("%-8.*s %-18s %-13s %3u %-12s %-28s %.*s\n", SLICE_FMT(id),
                     bounce_class_name(r->class), bounce_disposition_name(r->disposition),
                     r->confidence, r->provider, r->rule, SLICE_FMT(r->cause));
        return;
    }
    char key[20];
    (void)snprintf(key, sizeof(key), "%016llx", (unsigned long long)r->cause_key);
    json_t *object = json_object();
    json_object_set_new(object, "id", json_of(id));
    json_object_set_new(object, "class", json_string(bounce_class_name(r->class)));
    json_object_set_new(object, "disposition",
                        json_string(bounce_disposition_name(r->disposition)));
    json_object_set_new(object, "scope", json_string(bounce_scope_name(r->scope)));
    json_object_set_new(object, "cause", json_of(r->cause));
    json_object_set_new(object, "cause_key", json_string(key));
    json_object_set_new(object, "provider", json_string(r->provider));
    json_object_set_new(object, "rule", json_string(r->rule));
    json_object_set_new(object, "confidence", json_integer(r->confidence));
    json_object_set_new(object, "powermta", json_string(bounce_class_powermta(r->class)));
    json_object_set_new(object, "momentum", json_integer(bounce_class_momentum(r->class)));
    if (r->detail.len > 0) {
        json_object_set_new(object, "detail", json_of(r->detail));
    }
    print_object(object);
}

static void print_evidence(void *context, const char *rule, enum bounce_class class,
                           unsigned weight)
{
    (void)context;
    (void)printf("  %3u %-18s %s\n", weight, bounce_class_name(class), rule);
}

static void classify_text(const struct options *options, const struct classifier *classifier,
                          struct classify_scratch *scratch)
{
    struct classify_input input = {.text = slice_cstr(options->text)};
    struct classify_result result;
    classifier_run(classifier, scratch, &input, &result);
    print_result(options, SLICE("-"), &result);
    if (options->explain) {
        classifier_explain(classifier, scratch, &input, print_evidence, NULL);
    }
}

static void classify_line(const struct options *options, const struct classifier *classifier,
                          struct classify_scratch *scratch, const struct replies_header *header,
                          struct slice line)
{
    struct slice id = SLICE_NULL;
    struct classify_input input;
    struct classify_result result;
    const char *problem = NULL;
    if (!replies_line_read(header, line, &id, &input, &problem)) {
        print_error(options, id, problem);
        return;
    }
    classifier_run(classifier, scratch, &input, &result);
    print_result(options, id, &result);
}

static struct slice without_end(char *line, ssize_t len)
{
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r')) {
        len--;
    }
    return slice_of(line, (size_t)len);
}

static int classify_file(const struct options *options, const struct classifier *classifier,
                         struct classify_scratch *scratch)
{
    struct fault fault = {0};
    struct replies_header header;
    bool standard = strcmp(options->replies, "-") == 0;
    FILE *in = standard ? stdin : fopen(options->replies, "re");
    if (in == NULL) {
        (void)fprintf(stderr, "sluice-bouncer: %s: %s\n", options->replies, strerror(errno));
        return 1;
    }
    char *line = NULL;
    size_t size = 0;
    ssize_t len = getline(&line, &size, in);
    bool good = len > 0 && replies_header_read(&header, without_end(line, len), &fault);
    if (!good) {
        print_error(options, SLICE_NULL,
                    len > 0 ? fault.text : "there is no first line with names of columns");
    }
    while (good && (len = getline(&line, &size, in)) > 0) {
        struct slice text = without_end(line, len);
        if (text.len > 0) {
            classify_line(options, classifier, scratch, &header, text);
        }
    }
    free(line);
    if (!standard) {
        (void)fclose(in);
    }
    return good ? 0 : 1;
}

/* What cannot be read has told so in its line; the exit status says it again. */
static int classify_messages(const struct options *options, const struct classifier *classifier,
                             struct classify_scratch *scratch)
{
    struct classify_mail how = {classifier, scratch, options->json};
    int status = 0;
    for (size_t i = 0; i < options->path_count; i++) {
        status = classify_mail_path(&how, options->paths[i]) ? status : 1;
    }
    return status;
}

int cmd_classify(int argc, char **argv)
{
    struct options options;
    struct fault fault = {0};
    if (!read_options(&options, argc, argv)) {
        (void)fputs(usage, stderr);
        return 2;
    }
    struct classifier_options rules = {options.user_dirs, options.user_dir_count, options.base_dir};
    struct classifier *classifier = classifier_load(&rules, &fault);
    if (classifier == NULL) {
        (void)fprintf(stderr, "sluice-bouncer: %s\n", fault.text);
        return 1;
    }
    struct classify_scratch *scratch = classify_scratch_create();
    int status = 0;
    if (options.text != NULL) {
        classify_text(&options, classifier, scratch);
    } else if (options.path_count > 0) {
        status = classify_messages(&options, classifier, scratch);
    } else {
        status = classify_file(&options, classifier, scratch);
    }
    classify_scratch_free(&scratch);
    classifier_free(&classifier);
    return status;
}

#include "hostile/script.h"

#include "base/mem.h"
#include "base/strbuf.h"

#include <dirent.h>

#define SCRIPT_FILE_MAX 262144
#define SCRIPT_OUTPUT_MAX 4194304
#define SCRIPT_STRING_MAX 65536
#define PASSED "passed by a fault"

struct script_run {
    struct script_engine *engine;
    const struct script_variation *variation;
    struct script_result *result;
    struct strbuf received; /* output of the engine that no statement has taken */
    size_t split_bytes;
    bool manual;
    bool cut; /* the fault was put in */
    uint64_t fed;
    char string[SCRIPT_STRING_MAX];
};

/* ---- words and strings ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = ascii_lower_byte(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character behind a backslash, from *rest. */
static char unescape(struct slice *rest)
{
    char c = rest->len > 0 ? rest->ptr[0] : '\\';
    *rest = slice_skip(*rest, 1);
    switch (c) {
    case 'r': return '\r';
    case 'n': return '\n';
    case 't': return '\t';
    case 'x':
        if (rest->len >= 2 && hex_digit(rest->ptr[0]) >= 0 && hex_digit(rest->ptr[1]) >= 0) {
            int value = hex_digit(rest->ptr[0]) * 16 + hex_digit(rest->ptr[1]);
            *rest = slice_skip(*rest, 2);
            return (char)value;
        }
        return 'x';
    default: return c;
    }
}

struct slice script_word(struct slice *rest, char *room, size_t room_bytes)
{
    *rest = slice_trim(*rest);
    if (rest->len == 0) {
        return SLICE_NULL;
    }
    if (rest->ptr[0] != '"') {
        return slice_cut(rest, ' ');
    }
    size_t len = 0;
    *rest = slice_skip(*rest, 1);
    while (rest->len > 0 && rest->ptr[0] != '"') {
        char c = rest->ptr[0];
        *rest = slice_skip(*rest, 1);
        c = c == '\\' ? unescape(rest) : c;
        CHECK(len < room_bytes);
        room[len++] = c;
    }
    *rest = slice_skip(*rest, 1);
    return slice_of(room, len);
}

/* "*" stands for any bytes, also none. */
static bool matches(struct slice pattern, struct slice text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, resume = 0;
    while (t < text.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.len && pattern.ptr[p] == text.ptr[t]) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*') {
        p++;
    }
    return p == pattern.len;
}

/* ---- the transport ---- */

static size_t pull(struct script_run *run, size_t max)
{
    char *room = strbuf_reserve(&run->received, max);
    CHECK(room != NULL);
    size_t len = run->engine->ops->take(run->engine, room, max);
    strbuf_commit(&run->received, len);
    return len;
}

static void pull_all(struct script_run *run)
{
    size_t step = run->variation->take_bytes == 0 ? 65536 : run->variation->take_bytes;
    while (!run->manual && pull(run, step) > 0) {
    }
}

static void feed(struct script_run *run, struct slice bytes)
{
    size_t step = run->split_bytes == 0 ? bytes.len : run->split_bytes;
    while (bytes.len > 0) {
        /* A copy of exact size, so that reading beyond it is found. */
        struct slice part = slice_head(bytes, step);
        char *copy = mem_strndup(part.ptr, part.len);
        run->engine->ops->input(run->engine, slice_of(copy, part.len));
        mem_free(copy);
        bytes = slice_skip(bytes, part.len);
        run->fed += part.len;
        pull_all(run);
    }
}

/* Something that the peer does; true: the variation's fault came in its place and the script is
 * over. */
static bool fault_instead(struct script_run *run)
{
    const struct script_variation *variation = run->variation;
    if (variation->fault == SCRIPT_FAULT_NONE || run->result->sends++ != variation->fault_at) {
        return false;
    }
    switch (variation->fault) {
    case SCRIPT_FAULT_NONE: return false;
    case SCRIPT_FAULT_CLOSE: run->engine->ops->lost(run->engine); break;
    case SCRIPT_FAULT_TIMEOUT: run->engine->ops->pass_deadline(run->engine); break;
    case SCRIPT_FAULT_SAY: feed(run, variation->fault_bytes); break;
    }
    run->manual = false;
    pull_all(run);
    run->cut = true;
    return true;
}

/* ---- statements; each returns NULL or what is wrong ---- */

static const char *problem_text(struct script_run *run, const char *what, struct slice detail)
{
    snprintf(run->string, sizeof(run->string), "%s: \"%.*s\"", what,
             SLICE_FMT(slice_head(detail, 300)));
    return run->string;
}

static const char *expect_line(struct script_run *run, struct slice pattern)
{
    struct slice all = strbuf_slice(&run->received);
    ptrdiff_t end = slice_find(all, SLICE("\r\n"));
    if (end < 0) {
        return problem_text(run, "no line of output, but", all);
    }
    struct slice line = slice_head(all, (size_t)end);
    if (!matches(pattern, line)) {
        return problem_text(run, "output does not match", line);
    }
    strbuf_consume(&run->received, (size_t)end + 2);
    return NULL;
}

static const char *send_line(struct script_run *run, struct slice text)
{
    if (fault_instead(run)) {
        return PASSED;
    }
    size_t len = text.len < SCRIPT_STRING_MAX - 2 ? text.len : SCRIPT_STRING_MAX - 2;
    memcpy(run->string, text.ptr, len);
    memcpy(run->string + len, "\r\n", 2);
    feed(run, slice_of(run->string, len + 2));
    return NULL;
}

static const char *on_bytes(struct script_run *run, struct slice rest)
{
    if (fault_instead(run)) {
        return PASSED;
    }
    feed(run, script_word(&rest, run->string, sizeof(run->string)));
    return NULL;
}

static const char *on_repeat(struct script_run *run, struct slice rest)
{
    uint64_t count;
    char unused[1];
    if (!slice_to_u64(script_word(&rest, unused, sizeof(unused)), &count)) {
        return "repeat needs a number";
    }
    if (fault_instead(run)) {
        return PASSED;
    }
    struct slice bytes = script_word(&rest, run->string, sizeof(run->string));
    run->fed = 0;
    while (count-- > 0 && !run->engine->ops->closed(run->engine)) {
        feed(run, bytes);
    }
    return NULL;
}

static const char *on_fed(struct script_run *run, struct slice rest)
{
    uint64_t bound;
    slice_cut(&rest, ' ');
    if (!slice_to_u64(slice_trim(rest), &bound)) {
        return "fed needs a number";
    }
    return run->fed < bound ? NULL : "the engine took too much";
}

static const char *on_split(struct script_run *run, struct slice rest)
{
    uint64_t bytes;
    if (!slice_to_u64(slice_trim(rest), &bytes)) {
        return "split needs a number";
    }
    run->split_bytes = (size_t)bytes;
    return NULL;
}

static const char *on_output(struct script_run *run, struct slice rest)
{
    struct slice all = strbuf_slice(&run->received);
    if (slice_eq(slice_trim(rest), SLICE("none"))) {
        return all.len == 0 ? NULL : problem_text(run, "unexpected output", all);
    }
    struct slice wanted = script_word(&rest, run->string, sizeof(run->string));
    if (!slice_eq(wanted, all)) {
        return problem_text(run, "other output", all);
    }
    strbuf_reset(&run->received);
    return NULL;
}

static const char *on_skip(struct script_run *run, struct slice rest)
{
    uint64_t bytes;
    if (!slice_to_u64(slice_trim(rest), &bytes) || bytes > run->received.len) {
        return "not so much output";
    }
    strbuf_consume(&run->received, (size_t)bytes);
    return NULL;
}

static const char *on_pull(struct script_run *run, struct slice rest)
{
    uint64_t bytes;
    rest = slice_trim(rest);
    if (slice_to_u64(rest, &bytes)) {
        while (bytes > 0) {
            size_t len = pull(run, (size_t)bytes);
            if (len == 0) {
                return "the engine has not so much output";
            }
            bytes -= len;
        }
        return NULL;
    }
    run->manual = slice_eq(rest, SLICE("manual"));
    return NULL;
}

static const char *on_close(struct script_run *run, struct slice rest)
{
    (void)rest;
    run->engine->ops->lost(run->engine);
    return NULL;
}

static const char *on_wait(struct script_run *run, struct slice rest)
{
    uint64_t ms;
    if (slice_to_u64(slice_trim(rest), &ms)) {
        run->engine->ops->pass_ms(run->engine, (int64_t)ms);
        return NULL;
    }
    return run->engine->ops->pass_deadline(run->engine) ? NULL : "the engine waits for nothing";
}

static const struct {
    const char *word;
    const char *(*run)(struct script_run *run, struct slice rest);
} statements[] = {
    {"bytes", on_bytes}, {"repeat", on_repeat}, {"fed", on_fed},
    {"split", on_split}, {"output", on_output}, {"skip", on_skip},
    {"pull", on_pull},   {"close", on_close},   {"wait", on_wait},
};

static const char *run_statement(struct script_run *run, struct slice line)
{
    if (line.len >= 2 && line.ptr[1] == ':' && (line.ptr[0] == 'S' || line.ptr[0] == 'C')) {
        struct slice text = slice_skip(line, 2);
        text = slice_starts_with(text, SLICE(" ")) ? slice_skip(text, 1) : text;
        return line.ptr[0] == run->engine->peer ? send_line(run, text) : expect_line(run, text);
    }
    struct slice rest = line;
    struct slice word = slice_cut(&rest, ' ');
    for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
        if (slice_eq(word, slice_cstr(statements[i].word))) {
            const char *problem = statements[i].run(run, rest);
            pull_all(run);
            return problem;
        }
    }
    bool ok = run->engine->ops->statement(run->engine, line, run->result->problem);
    pull_all(run);
    if (!ok) {
        snprintf(run->string, sizeof(run->string), "%s", run->result->problem);
    }
    return ok ? NULL : run->string;
}

/* ---- the whole ---- */

static bool read_file(const char *path, struct strbuf *out)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    char *room = strbuf_reserve(out, SCRIPT_FILE_MAX);
    size_t len = fread(room, 1, SCRIPT_FILE_MAX, file);
    strbuf_commit(out, len);
    return fclose(file) == 0 && len < SCRIPT_FILE_MAX;
}

static bool run_lines(struct script_run *run, const char *path, struct slice text)
{
    unsigned number = 0;
    while (text.len > 0) {
        struct slice line = slice_cut(&text, '\n');
        number++;
        if (line.len == 0 || line.ptr[0] == '#') {
            continue;
        }
        const char *problem = run_statement(run, line);
        if (problem != NULL && run->cut) {
            return true;
        }
        if (problem != NULL) {
            char place[SCRIPT_PROBLEM_MAX];
            snprintf(place, sizeof(place), "%s:%u: %.*s: ", path, number,
                     SLICE_FMT(slice_head(line, 100)));
            snprintf(run->result->problem, sizeof(run->result->problem), "%.*s%.*s", 500, place,
                     400, problem);
            return false;
        }
    }
    return true;
}

bool script_run(const char *path, struct script_engine *engine,
                const struct script_variation *variation, struct script_result *result)
{
    struct strbuf file;
    struct script_run *run = mem_zalloc(sizeof(*run));
    *result = (struct script_result){0};
    run->engine = engine;
    run->variation = variation;
    run->result = result;
    run->split_bytes = variation->split_bytes;
    strbuf_init(&run->received, SCRIPT_OUTPUT_MAX);
    strbuf_init(&file, SCRIPT_FILE_MAX);
    bool ok = read_file(path, &file);
    if (!ok) {
        snprintf(result->problem, sizeof(result->problem), "%s: cannot be read", path);
    } else {
        ok = run_lines(run, path, strbuf_slice(&file));
    }
    if (ok) {
        char problem[SCRIPT_PROBLEM_MAX] = "";
        bool must_end = run->cut && variation->fault != SCRIPT_FAULT_TIMEOUT;
        ok = engine->ops->check(engine, must_end, problem);
        if (!ok) {
            snprintf(result->problem, sizeof(result->problem), "%.400s: at the end: %.500s", path,
                     problem);
        }
    }
    strbuf_free(&file);
    strbuf_free(&run->received);
    mem_free(run);
    return ok;
}

size_t script_each_file(const char *folder, const char *suffix,
                        void (*each)(const char *path, void *context), void *context)
{
    struct dirent **entries;
    size_t done = 0;
    int count = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char path[4096];
        if (slice_ends_with_nocase(slice_cstr(entries[i]->d_name), slice_cstr(suffix))) {
            snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
            each(path, context);
            done++;
        }
        free(entries[i]);
    }
    if (count >= 0) {
        free(entries);
    }
    return done;
}

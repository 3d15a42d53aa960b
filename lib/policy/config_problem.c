#include "policy/config_problem_private.h"

#include "base/mem.h"

#include <stdarg.h>

#define TEXT_MAX 400
#define WORD_MAX 64

void problems_add(struct problems *problems, unsigned line, const char *key, const char *format,
                  ...)
{
    char text[TEXT_MAX];
    va_list args;
    if (problems->count == PROBLEMS_MAX) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (problems->count == problems->capacity) {
        problems->capacity = problems->capacity == 0 ? 8 : 2 * problems->capacity;
        problems->items = mem_realloc(problems->items, problems->capacity * sizeof(struct problem));
    }
    problems->items[problems->count] = (struct problem){.line = line,
                                                        .order = (unsigned)problems->count,
                                                        .key = mem_strdup(key),
                                                        .text = mem_strdup(text)};
    problems->count++;
}

static int problem_compare(const void *left, const void *right)
{
    const struct problem *a = left;
    const struct problem *b = right;
    if (a->line != b->line) {
        return a->line < b->line ? -1 : 1;
    }
    return a->order < b->order ? -1 : a->order > b->order;
}

void problems_sort(struct problems *problems)
{
    if (problems->count > 1) {
        qsort(problems->items, problems->count, sizeof(struct problem), problem_compare);
    }
}

bool problems_in(const struct problems *problems, const char *section)
{
    size_t len = strlen(section);
    for (size_t i = 0; i < problems->count; i++) {
        const char *key = problems->items[i].key;
        if (strncmp(key, section, len) == 0 &&
            (key[len] == '\0' || key[len] == '.' || key[len] == '[')) {
            return true;
        }
    }
    return false;
}

void problems_free(struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        mem_free(problems->items[i].key);
        mem_free(problems->items[i].text);
    }
    mem_free(problems->items);
    *problems = (struct problems){0};
}

/* How many letters must be put in, left out or replaced (Levenshtein), "_" being as good as "-". */
static unsigned distance(struct slice a, const char *b, size_t b_len)
{
    unsigned row[WORD_MAX + 1];
    for (size_t j = 0; j <= b_len; j++) {
        row[j] = (unsigned)j;
    }
    for (size_t i = 0; i < a.len; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i + 1;
        char left = a.ptr[i] == '_' ? '-' : ascii_lower_byte(a.ptr[i]);
        for (size_t j = 0; j < b_len; j++) {
            unsigned replaced = diagonal + (left != b[j]);
            unsigned inserted = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;
            diagonal = row[j + 1];
            row[j + 1] = replaced < inserted ? replaced : inserted;
        }
    }
    return row[b_len];
}

const char *problems_suggest(struct slice wrong, const char *const *words, size_t count)
{
    const char *best = NULL;
    unsigned best_distance = 0;
    if (wrong.len > WORD_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(words[i]);
        CHECK(len <= WORD_MAX);
        unsigned found = distance(wrong, words[i], len);
        unsigned allowed = (unsigned)(len < wrong.len ? len : wrong.len) / 3 + 1;
        if (found <= allowed && (best == NULL || found < best_distance)) {
            best = words[i];
            best_distance = found;
        }
    }
    return best;
}

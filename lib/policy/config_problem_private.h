/*
 * The problems found in one configuration file, gathered in any order and told in the order of
 * their lines.
 */
#ifndef SLUICE_POLICY_CONFIG_PROBLEM_PRIVATE_H
#define SLUICE_POLICY_CONFIG_PROBLEM_PRIVATE_H

#include "base/slice.h"

struct problem {
    unsigned line; /* from 1; 0: the file as a whole */
    unsigned order;
    char *key;
    char *text;
};

struct problems {
    struct problem *items;
    size_t count; /* at most PROBLEMS_MAX are kept */
    size_t capacity;
};

#define PROBLEMS_MAX 200

void problems_add(struct problems *problems, unsigned line, const char *key, const char *format,
                  ...) PRINTF_LIKE(4, 5);
/* By line, then in the order in which they were found. */
void problems_sort(struct problems *problems);
/* Is there one whose key is `section` or begins with "section." or "section["? */
bool problems_in(const struct problems *problems, const char *section);
void problems_free(struct problems *problems);

/* The word nearest to `wrong` if it is near enough to be a slip of the pen, else NULL. */
const char *problems_suggest(struct slice wrong, const char *const *words, size_t count);

#endif

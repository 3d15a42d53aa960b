/*
 * A YAML document as a tree of typed values: a table says which keys a mapping may have and which
 * function reads each. Every problem is remembered with file and line, so that one run shows them
 * all. Values live in the arena.
 */
#ifndef SLUICE_SIM_YAML_READER_H
#define SLUICE_SIM_YAML_READER_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"

#include <yaml.h>

struct yaml_reader {
    yaml_document_t document;
    const char *file;
    struct arena *arena;
    struct strbuf *problems; /* "file:line: what\n" for each */
    unsigned problem_count;
};

/* Reads one value into `field`; says its problems itself. */
typedef void (*yaml_value_parser)(struct yaml_reader *reader, const yaml_node_t *node, void *field);

struct yaml_key {
    const char *name;
    yaml_value_parser parse;
    size_t offset; /* of the field in the object */
    bool required;
};

void yaml_problem(struct yaml_reader *reader, const yaml_node_t *node, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* Parses `text`; false: a syntax error, which is told. Otherwise yaml_reader_close() is due. */
bool yaml_reader_open(struct yaml_reader *reader, struct slice text);
void yaml_reader_close(struct yaml_reader *reader);
/* NULL: the document is empty. */
const yaml_node_t *yaml_reader_root(struct yaml_reader *reader);

void yaml_read_mapping(struct yaml_reader *reader, const yaml_node_t *node,
                       const struct yaml_key *keys, size_t key_count, void *object);
/* Reads an array of objects of `size` bytes; NULL and a count of 0 when it is not a list or empty.
 */
void *yaml_read_list(struct yaml_reader *reader, const yaml_node_t *node, yaml_value_parser item,
                     size_t size, size_t *count);
/* False (and told): not a scalar. The slice is NUL-terminated. */
bool yaml_scalar(struct yaml_reader *reader, const yaml_node_t *node, struct slice *text);
/* The index of the word among `words`; -1 (and told): none of them. */
int yaml_word(struct yaml_reader *reader, const yaml_node_t *node, const char *const *words,
              size_t count);

/* Parsers of usual values. */
void yaml_parse_text(struct yaml_reader *reader, const yaml_node_t *node,
                     void *field); /* const char * */
void yaml_parse_duration(struct yaml_reader *reader, const yaml_node_t *node,
                         void *field); /* int64_t, ms */
void yaml_parse_count(struct yaml_reader *reader, const yaml_node_t *node,
                      void *field); /* uint32_t */
void yaml_parse_bool(struct yaml_reader *reader, const yaml_node_t *node, void *field); /* bool */

#endif

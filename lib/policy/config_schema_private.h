/*
 * The schema of sluice.yaml: one table of keys per mapping. Everything else is derived from these
 * tables: the check of the file with its lines (config_normal.c), the defaults, and libcyaml's own
 * schema that fills the structs (config_tree.c).
 */
#ifndef SLUICE_POLICY_CONFIG_SCHEMA_PRIVATE_H
#define SLUICE_POLICY_CONFIG_SCHEMA_PRIVATE_H

#include "base/slice.h"

/* What a value is, and by which parser of config_value.c it is read. The kinds that are text come
 * first, up to MATCH. */
enum schema_kind {
    SCHEMA_TEXT,   /* any text of min to max bytes without control characters */
    SCHEMA_SECRET, /* TEXT, or {file: PATH}: the file's content */
    SCHEMA_PATH,   /* TEXT; relative paths are taken from the folder of the configuration */
    SCHEMA_NAME,   /* TEXT without blanks: what other keys refer to */
    SCHEMA_TOPIC,  /* a piece of a Kafka topic's name */
    SCHEMA_HOST,   /* host name or address */
    SCHEMA_EHLO,   /* host name or address literal in brackets */
    SCHEMA_IPV4,
    SCHEMA_IPV6,
    SCHEMA_PEER,     /* host[:port] */
    SCHEMA_LISTEN,   /* address:port */
    SCHEMA_BROKERS,  /* host:port,… */
    SCHEMA_RESOLVER, /* address[@port] or "recursive" */
    SCHEMA_MATCH,    /* domain, address literal or "*.suffix" */
    SCHEMA_WORD,     /* one of `words`, kept as text */
    SCHEMA_ENUM,     /* one of `words`, kept as its position */
    SCHEMA_BOOL,
    SCHEMA_BOOL_NOT,   /* BOOL whose struct member says the opposite (ignore-x: use_x) */
    SCHEMA_COUNT,      /* whole number of min to max */
    SCHEMA_LIMIT,      /* COUNT for which 0 or "unlimited" means no limit */
    SCHEMA_PART,       /* COUNT, or a percentage: CONFIG_PERCENT and 0 to 99 */
    SCHEMA_DURATION,   /* milliseconds, min to max */
    SCHEMA_DATE,       /* milliseconds since 1970 */
    SCHEMA_SIZE,       /* bytes, min to max */
    SCHEMA_RATE,       /* struct config_rate */
    SCHEMA_VOLUME,     /* the same in bytes */
    SCHEMA_MAPPING,    /* a struct by `type` */
    SCHEMA_PROPERTIES, /* mapping of any keys to SECRET values -> array of struct config_property */
};

struct schema_type;

struct schema_field {
    const char *key;
    enum schema_kind kind;
    bool list; /* a sequence of `kind`; one scalar alone counts as a sequence of one */
    bool required;
    bool own;            /* not taken over from the entry "default" (schema_type.inherits) */
    size_t offset, size; /* of the member; for a list, of its pointer and of one element */
    size_t count_offset; /* lists: of the size_t that counts */
    int64_t min, max;
    /* When the key is absent: a value as it would stand in the file (lists of scalars: separated by
     * blanks; lists of mappings: normal form). NULL: the member stays zero. */
    const char *fallback;
    const char *const *words;       /* WORD, ENUM: NULL-terminated */
    const struct schema_type *type; /* MAPPING */
};

struct schema_type {
    const char *noun; /* "a VIP" */
    const struct schema_field *fields;
    size_t field_count;
    size_t size;
    const char
        *shorthand; /* a scalar in place of the mapping stands for this key; NULL: not allowed */
    /* Entries of such a list take keys they do not have from the entry whose name is "default", and
     * that entry is added at the end when the file has none. */
    bool inherits;
};

/* struct config */
extern const struct schema_type config_schema;

#endif

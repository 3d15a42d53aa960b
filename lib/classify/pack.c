/*
 * The database of our own rules as bytes: a tool writes it while the program is built, the program
 * opens it at start in a few milliseconds. In front stands of what it was made: magic, hash of the
 * files, number of patterns.
 */
#include "classify/classifier_private.h"

#include "base/hash.h"

#include <stdlib.h>

#define PACK_MAGIC 0x31627273u /* "srb1" */

struct pack_head {
    uint32_t magic;
    uint32_t patterns;
    uint64_t hash;
};

uint64_t pack_key(const struct ruleset *set)
{
    uint64_t key = set->built_in_hash;
    for (size_t i = 0; i < set->pattern_count; i++) {
        const struct pattern *pattern = &set->patterns[i];
        if (pattern->serial != PATTERN_NO_SERIAL) {
            key = hash_sip(slice_cstr(pattern->text), key, pattern->serial);
        }
    }
    return hash_sip(slice_cstr(hs_version()), key, PATTERN_FLAGS);
}

bool pack_write(const struct classifier *classifier, FILE *out)
{
    CHECK_MAGIC(classifier, CLASSIFIER_MAGIC);
    const struct ruleset *set = &classifier->set;
    const struct pack_head head = {PACK_MAGIC, set->serial_count, set->built_in_hash};
    char *bytes = NULL;
    size_t len = 0;
    if (classifier->databases[PART_BUILT_IN] == NULL ||
        hs_serialize_database(classifier->databases[PART_BUILT_IN], &bytes, &len) != HS_SUCCESS) {
        return false;
    }
    bool good = fwrite(&head, sizeof(head), 1, out) == 1 && fwrite(bytes, 1, len, out) == len;
    free(bytes);
    return good;
}

hs_database_t *pack_open(const struct ruleset *set)
{
    struct pack_head head;
    hs_database_t *database = NULL;
    if (rules_database_len <= sizeof(head)) {
        return NULL;
    }
    memcpy(&head, rules_database, sizeof(head));
    if (head.magic != PACK_MAGIC || head.patterns != set->serial_count ||
        head.hash != set->built_in_hash ||
        hs_deserialize_database(rules_database + sizeof(head), rules_database_len - sizeof(head),
                                &database) != HS_SUCCESS) {
        return NULL;
    }
    return database;
}

/*
 * The databases of our own rules as bytes: a tool writes them while the program is built, the
 * program opens them at start in a few milliseconds. In front stands of what they were made: magic,
 * hash of the files, number of patterns. Then come the databases, each behind its length and the
 * serial of the rule whose "unless" it is; first the one of all other patterns.
 */
#include "classify/classifier_private.h"

#include "base/hash.h"

#include <stdlib.h>

#define PACK_MAGIC 0x32627273u /* "srb2" */

struct pack_head {
    uint32_t magic;
    uint32_t patterns;
    uint64_t hash;
};

struct pack_entry {
    uint32_t serial;
    uint32_t len;
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
    return hash_sip(slice_cstr(hs_version()), key, PATTERN_FLAGS ^ (uint64_t)PACK_MAGIC << 32);
}

static bool write_database(const hs_database_t *database, uint32_t serial, FILE *out)
{
    char *bytes = NULL;
    size_t len = 0;
    if (hs_serialize_database(database, &bytes, &len) != HS_SUCCESS) {
        return false;
    }
    const struct pack_entry entry = {serial, (uint32_t)len};
    bool good = fwrite(&entry, sizeof(entry), 1, out) == 1 && fwrite(bytes, 1, len, out) == len;
    free(bytes);
    return good;
}

bool pack_write(const struct classifier *classifier, FILE *out)
{
    CHECK_MAGIC(classifier, CLASSIFIER_MAGIC);
    const struct ruleset *set = &classifier->set;
    const struct pack_head head = {PACK_MAGIC, set->serial_count, set->built_in_hash};
    bool good = classifier->databases[PART_BUILT_IN] != NULL &&
                fwrite(&head, sizeof(head), 1, out) == 1 &&
                write_database(classifier->databases[PART_BUILT_IN], RULE_NO_SERIAL, out);
    for (size_t i = 0; good && i < set->rule_count; i++) {
        good = classifier->doubts[i] == NULL ||
               write_database(classifier->doubts[i], set->rules[i].serial, out);
    }
    return good;
}

/* Takes one database off the front of *rest. */
static bool open_database(struct slice *rest, uint32_t *serial, hs_database_t **database)
{
    struct pack_entry entry;
    if (rest->len < sizeof(entry)) {
        return false;
    }
    memcpy(&entry, rest->ptr, sizeof(entry));
    *rest = slice_skip(*rest, sizeof(entry));
    *serial = entry.serial;
    if (entry.len > rest->len ||
        hs_deserialize_database(rest->ptr, entry.len, database) != HS_SUCCESS) {
        return false;
    }
    *rest = slice_skip(*rest, entry.len);
    return true;
}

/* The rules' databases, which are in the order of the rules; one of a rule that somebody has
 * replaced is dropped. */
static bool open_doubts(struct classifier *classifier, struct slice rest)
{
    const struct ruleset *set = &classifier->set;
    size_t at = 0;
    while (rest.len > 0) {
        uint32_t serial;
        hs_database_t *database;
        if (!open_database(&rest, &serial, &database)) {
            return false;
        }
        while (at < set->rule_count &&
               (set->rules[at].serial == RULE_NO_SERIAL || set->rules[at].serial < serial)) {
            at++;
        }
        if (at < set->rule_count && set->rules[at].serial == serial) {
            classifier->doubts[at] = database;
        } else {
            (void)hs_free_database(database);
        }
    }
    return true;
}

bool pack_open(struct classifier *classifier)
{
    const struct ruleset *set = &classifier->set;
    struct pack_head head;
    uint32_t serial;
    if (rules_database_len <= sizeof(head)) {
        return false;
    }
    memcpy(&head, rules_database, sizeof(head));
    if (head.magic != PACK_MAGIC || head.patterns != set->serial_count ||
        head.hash != set->built_in_hash) {
        return false;
    }
    struct slice rest = slice_of(rules_database + sizeof(head), rules_database_len - sizeof(head));
    if (open_database(&rest, &serial, &classifier->databases[PART_BUILT_IN]) &&
        open_doubts(classifier, rest)) {
        return true;
    }
    (void)hs_free_database(classifier->databases[PART_BUILT_IN]);
    classifier->databases[PART_BUILT_IN] = NULL;
    for (size_t i = 0; i < set->rule_count; i++) {
        (void)hs_free_database(classifier->doubts[i]);
        classifier->doubts[i] = NULL;
    }
    return false;
}

/*
 * classify-pack OUT [CACHE]: compiles the built-in rules, see pack.c. Runs only while the project
 * is built. What was compiled is kept in the folder CACHE under a name made of the patterns and of
 * vectorscan's version, so that of several builds of one tree only the first takes the seconds.
 */
#include "base/strbuf.h"
#include "classify/classifier_private.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

const char rules_database[] = {0};
const size_t rules_database_len = 0;

/* The built-in files once more, without compiling them. */
static bool find_key(uint64_t *key, struct fault *fault)
{
    struct ruleset set;
    ruleset_init(&set);
    set.pass = RULESET_PROVIDERS;
    bool good = ruleset_read_built_in(&set, fault);
    set.pass = RULESET_RULES;
    set.hash = 0;
    set.built_in_hash = 0;
    good = good && ruleset_read_built_in(&set, fault);
    *key = good ? pack_key(&set) : 0;
    ruleset_free(&set);
    return good;
}

static bool compile(const char *path, struct fault *fault)
{
    struct classifier *classifier = classifier_load(NULL, fault);
    if (classifier == NULL) {
        return false;
    }
    FILE *out = fopen(path, "wb");
    bool good = out != NULL && pack_write(classifier, out);
    good = out != NULL && fclose(out) == 0 && good;
    classifier_free(&classifier);
    return good || fault_set_errno(fault, errno, "%s", path);
}

static bool copy(const char *from, const char *to)
{
    FILE *in = fopen(from, "rb");
    FILE *out = in == NULL ? NULL : fopen(to, "wb");
    bool good = out != NULL;
    char piece[65536];
    for (size_t len; good && (len = fread(piece, 1, sizeof(piece), in)) > 0;) {
        good = fwrite(piece, 1, len, out) == len;
    }
    good = good && ferror(in) == 0;
    if (in != NULL) {
        (void)fclose(in);
    }
    return out != NULL && fclose(out) == 0 && good;
}

/* Other builds may do the same now: a file gets its name when it is whole. A cache that cannot be
 * written costs time only. */
static void keep(const char *path, const char *kept)
{
    struct strbuf draft;
    strbuf_init(&draft, 4096);
    if (strbuf_addf(&draft, "%s.%ld", kept, (long)getpid()) && copy(path, draft.ptr)) {
        (void)rename(draft.ptr, kept);
    }
    strbuf_free(&draft);
}

static bool make(const char *path, const char *cache, struct fault *fault)
{
    uint64_t key;
    struct strbuf kept;
    if (cache == NULL) {
        return compile(path, fault);
    }
    strbuf_init(&kept, 4000);
    (void)mkdir(cache, 0777);
    bool good = find_key(&key, fault) &&
                (strbuf_addf(&kept, "%s/%016llx.pack", cache, (unsigned long long)key) ||
                 fault_set(fault, FAULT_LIMIT, 0, "%s: path is too long", cache));
    if (good && !copy(kept.ptr, path)) {
        good = compile(path, fault);
        if (good) {
            keep(path, kept.ptr);
        }
    }
    strbuf_free(&kept);
    return good;
}

int main(int argc, char **argv)
{
    struct fault fault = {0};
    if (argc < 2 || argc > 3) {
        (void)fprintf(stderr, "usage: classify-pack OUT [CACHE]\n");
        return 2;
    }
    if (!make(argv[1], argc == 3 ? argv[2] : NULL, &fault)) {
        (void)fprintf(stderr, "classify-pack: %s\n", fault.text);
        return 1;
    }
    return 0;
}

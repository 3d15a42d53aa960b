#include "classify/rules_private.h"

#include "base/mem.h"
#include "base/strbuf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define ARENA_FIRST ((size_t)64 * 1024)
#define ARENA_MAX ((size_t)32 * 1024 * 1024)

void ruleset_init(struct ruleset *set)
{
    *set = (struct ruleset){.arena = arena_create(ARENA_FIRST, ARENA_MAX)};
    CHECK(set->arena != NULL);
}

void ruleset_free(struct ruleset *set)
{
    mem_free(set->rules);
    mem_free(set->patterns);
    mem_free(set->samples);
    mem_free(set->providers);
    mem_free(set->names);
    mem_free(set->hosts);
    mem_free(set->words);
    arena_free(&set->arena);
    *set = (struct ruleset){0};
}

/* One digit, or "x" for 0 … 9. */
static bool take_digit(char c, uint16_t *from, uint16_t *to)
{
    if (c == 'x') {
        *from = (uint16_t)(*from * 10);
        *to = (uint16_t)(*to * 10 + 9);
        return true;
    }
    if (c < '0' || c > '9') {
        return false;
    }
    *from = (uint16_t)(*from * 10 + (c - '0'));
    *to = (uint16_t)(*to * 10 + (c - '0'));
    return true;
}

bool rule_codes_parse(struct slice text, struct rule_codes *codes)
{
    *codes = (struct rule_codes){0};
    if (text.len != 3 || text.ptr[0] < '2' || text.ptr[0] > '5') {
        return false;
    }
    for (size_t i = 0; i < 3; i++) {
        if (!take_digit(text.ptr[i], &codes->from, &codes->to)) {
            return false;
        }
    }
    return true;
}

static bool parse_part(struct slice part, uint16_t *value)
{
    if (slice_eq(part, SLICE("x"))) {
        *value = RULES_ANY;
        return true;
    }
    uint64_t number;
    if (!slice_to_u64(part, &number) || number > 999) {
        return false;
    }
    *value = (uint16_t)number;
    return true;
}

bool rule_enhanced_parse(struct slice text, struct rule_enhanced *enhanced)
{
    uint16_t klass;
    struct slice first = slice_cut(&text, '.');
    struct slice second = slice_cut(&text, '.');
    *enhanced = (struct rule_enhanced){0};
    if (!parse_part(first, &klass) || !parse_part(second, &enhanced->subject) ||
        !parse_part(text, &enhanced->detail)) {
        return false;
    }
    enhanced->klass = klass == RULES_ANY ? 0 : (uint8_t)klass;
    return klass == RULES_ANY || klass == 2 || klass == 4 || klass == 5;
}

static bool admits_code(const struct rule *rule, uint16_t code)
{
    for (size_t i = 0; i < rule->code_count; i++) {
        if (code >= rule->codes[i].from && code <= rule->codes[i].to) {
            return true;
        }
    }
    return rule->code_count == 0;
}

static bool admits_enhanced(const struct rule *rule, struct smtp_enhanced status)
{
    for (size_t i = 0; i < rule->enhanced_count; i++) {
        const struct rule_enhanced *wanted = &rule->enhanced[i];
        if (status.klass != 0 && (wanted->klass == 0 || wanted->klass == status.klass) &&
            (wanted->subject == RULES_ANY || wanted->subject == status.subject) &&
            (wanted->detail == RULES_ANY || wanted->detail == status.detail)) {
            return true;
        }
    }
    return rule->enhanced_count == 0;
}

bool rule_admits(const struct rule *rule, enum smtp_phase phase, uint16_t code,
                 struct smtp_enhanced enhanced)
{
    return (rule->phases == 0 || (rule->phases & (1u << phase)) != 0) && admits_code(rule, code) &&
           admits_enhanced(rule, enhanced);
}

static const struct rule_words *words_named(const struct ruleset *set, uint16_t layer,
                                            struct slice name)
{
    for (size_t i = 0; i < set->words_count; i++) {
        bool seen = layer != RULE_BUILT_IN || set->words[i].layer == RULE_BUILT_IN;
        if (seen && slice_eq(set->words[i].name, name)) {
            return &set->words[i];
        }
    }
    return NULL;
}

static size_t word_name_len(struct slice s)
{
    size_t len = 0;
    while (len < s.len && ((s.ptr[len] >= 'a' && s.ptr[len] <= 'z') || s.ptr[len] == '_')) {
        len++;
    }
    return len;
}

bool ruleset_expand(const struct ruleset *set, uint16_t layer, struct slice pattern,
                    struct strbuf *out, struct slice *unknown)
{
    const struct slice gap = SLICE("\xE2\x80\xA6");
    bool fits = true;
    *unknown = SLICE_NULL;
    while (pattern.len > 0 && fits) {
        size_t len = pattern.ptr[0] == '@' ? word_name_len(slice_skip(pattern, 1)) : 0;
        if (len > 0) {
            struct slice name = slice_of(pattern.ptr + 1, len);
            const struct rule_words *words = words_named(set, layer, name);
            if (words == NULL) {
                *unknown = name;
                return false;
            }
            fits = strbuf_add_cstr(out, "(?:") && strbuf_add_slice(out, words->pattern) &&
                   strbuf_add_cstr(out, ")");
            pattern = slice_skip(pattern, len + 1);
        } else if (slice_starts_with_nocase(pattern, gap)) {
            fits = strbuf_add_cstr(out, "[^.;]*");
            pattern = slice_skip(pattern, gap.len);
        } else {
            fits = strbuf_add(out, pattern.ptr, 1);
            pattern = slice_skip(pattern, 1);
        }
    }
    return fits;
}

uint16_t ruleset_provider_named(const struct ruleset *set, struct slice name)
{
    for (size_t i = 0; i < set->name_count; i++) {
        if (slice_eq_nocase(set->names[i].text, name)) {
            return set->names[i].provider;
        }
    }
    return RULE_NO_PROVIDER;
}

uint16_t ruleset_provider_of_host(const struct ruleset *set, struct slice host)
{
    uint16_t found = RULE_NO_PROVIDER;
    size_t longest = 0;
    if (host.len > 0 && host.ptr[host.len - 1] == '.') {
        host.len--;
    }
    for (size_t i = 0; i < set->host_count; i++) {
        struct slice end = set->hosts[i].text;
        if (end.len > longest && end.len <= host.len &&
            (end.len == host.len || host.ptr[host.len - end.len - 1] == '.') &&
            slice_ends_with_nocase(host, end)) {
            longest = end.len;
            found = set->hosts[i].provider;
        }
    }
    return found;
}

static bool read_file(struct ruleset *set, uint16_t layer, const char *path, struct fault *fault)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return fault_set_errno(fault, errno, "%s", path);
    }
    struct strbuf text;
    strbuf_init(&text, RULES_FILE_MAX);
    bool good = strbuf_add_file(&text, fd);
    if (!good && text.overflow) {
        (void)fault_set(fault, FAULT_LIMIT, 0, "%s: longer than %zu bytes", path, RULES_FILE_MAX);
    } else if (!good) {
        (void)fault_set_errno(fault, errno, "%s", path);
    }
    (void)close(fd);
    good = good && ruleset_read_text(set, layer, path, strbuf_slice(&text), fault);
    strbuf_free(&text);
    return good;
}

static int is_rules_file(const struct dirent *entry)
{
    struct slice name = slice_cstr(entry->d_name);
    return name.ptr[0] != '.' && slice_ends_with_nocase(name, SLICE(".yaml"));
}

bool ruleset_read_dir(struct ruleset *set, uint16_t layer, const char *dir, struct fault *fault)
{
    struct dirent **entries;
    int count = scandir(dir, &entries, is_rules_file, alphasort);
    if (count < 0) {
        return fault_set_errno(fault, errno, "%s", dir);
    }
    bool good = true;
    for (int i = 0; i < count; i++) {
        if (good) {
            struct strbuf path;
            strbuf_init(&path, 4096);
            good = strbuf_addf(&path, "%s/%s", dir, entries[i]->d_name)
                       ? read_file(set, layer, path.ptr, fault)
                       : fault_set(fault, FAULT_LIMIT, 0, "%s: path is too long", dir);
            strbuf_free(&path);
        }
        free(entries[i]);
    }
    free(entries);
    return good;
}

bool ruleset_read_built_in(struct ruleset *set, struct fault *fault)
{
    for (size_t i = 0; i < rules_built_in_count; i++) {
        const struct rules_file *file = &rules_built_in[i];
        if (!ruleset_read_text(set, RULE_BUILT_IN, file->name, slice_of(file->text, file->len),
                               fault)) {
            return false;
        }
    }
    return true;
}

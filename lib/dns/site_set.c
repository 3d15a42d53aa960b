/*
 * Order, key and name of a set of MX hosts: see site_set.h.
 *
 * The key is 128 bits of SipHash with fixed keys over the sorted names, so it is the same in every
 * process. The name is made without the public suffix list: it is a label for people and
 * configuration, never a security border, and the second-level endings below two-letter country
 * codes are few.
 */
#include "dns/site_set.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/strbuf.h"

#define KEY_TEXT_MAX (DNS_SITE_HOSTS_MAX * (DNS_NAME_MAX + 1))

static int compare_names(const void *a, const void *b)
{
    const struct dns_host *left = a;
    const struct dns_host *right = b;
    int order = strcmp(left->name, right->name);
    return order != 0 ? order : (int)left->preference - (int)right->preference;
}

static int compare_preferences(const void *a, const void *b)
{
    const struct dns_host *left = a;
    const struct dns_host *right = b;
    int order = (int)left->preference - (int)right->preference;
    return order != 0 ? order : strcmp(left->name, right->name);
}

struct slice dns_registered_suffix(struct slice host)
{
    static const char *const second_level[] = {"ac",  "co",  "com", "edu", "go",  "gob", "gov",
                                               "gv",  "id",  "ltd", "me",  "mil", "ne",  "net",
                                               "nhs", "nom", "or",  "org", "plc", "sch"};
    ptrdiff_t top = slice_rfind_byte(host, '.');
    if (top < 0) {
        return host;
    }
    ptrdiff_t second = slice_rfind_byte(slice_head(host, (size_t)top), '.');
    if (second < 0) {
        return host;
    }
    struct slice label = slice_of(host.ptr + second + 1, (size_t)(top - second - 1));
    if (host.len - (size_t)top - 1 == 2) {
        for (size_t i = 0; i < ARRAY_LEN(second_level); i++) {
            if (slice_eq(label, slice_cstr(second_level[i]))) {
                ptrdiff_t third = slice_rfind_byte(slice_head(host, (size_t)second), '.');
                return third < 0 ? host : slice_skip(host, (size_t)third + 1);
            }
        }
    }
    return slice_skip(host, (size_t)second + 1);
}

/* `names` sorted by name, each once. */
static void make_key(const struct dns_host *names, size_t count, char out[33])
{
    struct strbuf text;
    strbuf_init(&text, KEY_TEXT_MAX);
    for (size_t i = 0; i < count; i++) {
        strbuf_add_cstr(&text, names[i].name);
        strbuf_add_byte(&text, '\n');
    }
    CHECK(!text.overflow);
    uint64_t high = hash_sip(strbuf_slice(&text), 0x736c756963652d73, 0x6974652d6b657931);
    uint64_t low = hash_sip(strbuf_slice(&text), 0x736c756963652d73, 0x6974652d6b657932);
    (void)snprintf(out, 33, "%016llx%016llx", (unsigned long long)high, (unsigned long long)low);
    strbuf_free(&text);
}

static void make_name(struct dns_site *site)
{
    struct slice suffix = dns_registered_suffix(slice_cstr(site->hosts[0].name));
    bool shared = slice_find_byte(suffix, '.') >= 0;
    for (size_t i = 1; i < site->host_count && shared; i++) {
        shared = slice_eq(suffix, dns_registered_suffix(slice_cstr(site->hosts[i].name)));
    }
    if (!shared) {
        suffix = slice_cstr(site->hosts[0].name);
    }
    (void)snprintf(site->name, sizeof(site->name), "%.*s", SLICE_FMT(suffix));
}

struct dns_site *dns_site_make(const struct dns_host *hosts, size_t count, const char *name,
                               struct mono_time expires)
{
    CHECK(count > 0);
    struct dns_host *all = mem_calloc(count, sizeof(*all));
    memcpy(all, hosts, count * sizeof(*all));
    qsort(all, count, sizeof(*all), compare_names);
    size_t kept = 1;
    for (size_t i = 1; i < count; i++) {
        if (strcmp(all[kept - 1].name, all[i].name) != 0) {
            all[kept++] = all[i];
        }
    }
    if (kept > DNS_SITE_HOSTS_MAX) {
        qsort(all, kept, sizeof(*all), compare_preferences);
        kept = DNS_SITE_HOSTS_MAX;
        qsort(all, kept, sizeof(*all), compare_names);
    }
    struct dns_site *site = mem_zalloc(sizeof(*site));
    site->references = 1;
    site->expires = expires;
    make_key(all, kept, site->key);
    qsort(all, kept, sizeof(*all), compare_preferences);
    site->hosts = mem_realloc(all, kept * sizeof(*all));
    site->host_count = kept;
    if (name != NULL) {
        (void)snprintf(site->name, sizeof(site->name), "%s", name);
    } else {
        make_name(site);
    }
    return site;
}

struct dns_site *dns_site_ref(struct dns_site *site)
{
    CHECK(site->references > 0);
    site->references++;
    return site;
}

void dns_site_unref(struct dns_site **site)
{
    struct dns_site *old = *site;
    *site = NULL;
    if (old == NULL) {
        return;
    }
    CHECK(old->references > 0);
    if (--old->references == 0) {
        mem_free(old->hosts);
        mem_free(old);
    }
}

void dns_site_order(const struct dns_site *site, uint32_t *order)
{
    for (size_t i = 0; i < site->host_count; i++) {
        order[i] = (uint32_t)i;
    }
    size_t start = 0;
    while (start < site->host_count) {
        size_t end = start + 1;
        while (end < site->host_count &&
               site->hosts[end].preference == site->hosts[start].preference) {
            end++;
        }
        for (size_t i = end - 1; i > start; i--) {
            size_t j = start + random_below((uint32_t)(i - start + 1));
            uint32_t swap = order[i];
            order[i] = order[j];
            order[j] = swap;
        }
        start = end;
    }
}

/*
 * From a recipient domain to a site: the set of MX hosts that serve it, and their addresses (RFC
 * 5321 section 5, RFC 7505).
 *
 * One struct dns_sites per loop (thread). Answers are cached by TTL (negative ones too), look-ups
 * for the same name that run at the same time are joined. Domains with the same set of MX hosts
 * give the same site, so all Google Workspace domains share gmail's lanes; a site's name is the
 * longest common suffix that tells people what it is (see dns_site.name).
 */
#ifndef SLUICE_DNS_SITE_H
#define SLUICE_DNS_SITE_H

#include "base/slice.h"
#include "io/loop.h"
#include "smtp/outcome.h"

#include <sys/socket.h>

#define DNS_NAME_MAX 255

/* A host of a site with its addresses; in the order in which they are to be tried. */
struct dns_host {
    char name[DNS_NAME_MAX + 1]; /* lower case, no trailing dot; "[192.0.2.1]" for a literal */
    uint16_t preference;
};

struct dns_address {
    struct sockaddr_storage address; /* port 0 */
    socklen_t len;
    uint32_t host; /* index into hosts */
};

/* Immutable and reference-counted within its loop: take a reference to keep it longer than the
 * callback. */
struct dns_site {
    uint32_t references;
    char key[33]; /* hex hash of the sorted set of MX host names (and preferences are left out);
                     same set, same key */
    char name[DNS_NAME_MAX +
              1]; /* for people and the configuration: the registered-looking common suffix of the
                     hosts' names when all share one of at least two labels ("google.com" for
                     *.google.com), else the most preferred host's name; for an implicit MX the
                     domain itself; for a literal the literal */
    struct dns_host *hosts;
    size_t host_count;
    struct mono_time expires; /* shortest TTL, at least 5 s */
};
struct dns_site *dns_site_ref(struct dns_site *site);
void dns_site_unref(struct dns_site **site);

struct dns_sites;

struct config_dns;

struct dns_options {
    const char *const *servers; /* "127.0.0.1@5353" forwarders; count 0: the system's resolv.conf;
                                   "recursive": own recursion */
    size_t server_count;
    int64_t timeout_ms;          /* for one look-up as a whole: 10000 */
    int64_t negative_ttl_max_ms; /* 60000 */
    int64_t ttl_max_ms;          /* 3600000 */
    size_t cache_max;            /* entries: 100000 */
    bool ipv4, ipv6;             /* address families that we can send from */
    bool dnssec;                 /* validate with the system's root anchor */
};
void dns_options_default(struct dns_options *options);
/* Lends the texts of the configuration. */
void dns_options_from_config(struct dns_options *options, const struct config_dns *config);

struct dns_sites *dns_sites_create(struct io_loop *loop, const struct dns_options *options,
                                   struct fault *fault);
/* Pending look-ups are completed with DEFERRED first; their done() must not start new ones. Not
 * from within a done(). */
void dns_sites_free(struct dns_sites **sites);

/* A look-up under way; lies in the caller's struct, which is zeroed before the first use. */
struct dns_lookup {
    struct list node;
    /* Exactly once, never before dns_site_lookup() returns unless it returned true. `site` NULL:
     * outcome (phase DNS) says DEFERRED 4.4.3 (no answer, SERVFAIL), BOUNCED 5.1.2 (no such domain,
     * or no address), 5.1.10 (null MX, RFC 7505), 4.4.3 for answers that make no sense; the
     * outcome and its text are lent until done() returns. With a site outcome is NULL. */
    void (*done)(struct dns_lookup *lookup, struct dns_site *site,
                 const struct smtp_outcome *outcome);
};

/* `domain`: lower-case A-label form, or an address literal with brackets. True: *site was in the
 * cache (borrowed: ref it to keep it) and `lookup` is not used; false: done() will come. */
bool dns_site_lookup(struct dns_sites *sites, struct slice domain, struct dns_lookup *lookup,
                     struct dns_site **site);
/* done() does not come any more. Nothing happens when the look-up is not under way. */
void dns_lookup_cancel(struct dns_lookup *lookup);

/* Addresses of a site's hosts, in the order to try: by preference, equal preference shuffled anew
 * for each call (RFC 5321 5.1), A and AAAA interleaved per host as the families allow. Hosts that
 * do not resolve are skipped; 8 hosts are asked at a time, more only if these have no address.
 * done() comes exactly once, always after dns_site_addresses() returned. */
struct dns_addresses {
    struct dns_address *items; /* freed by dns_addresses_free */
    size_t count;
};
struct dns_address_lookup {
    struct list node;
    /* `addresses` NULL: outcome as above, BOUNCED 5.1.2 only when it is certain that no host has an
     * address. Else outcome is NULL, count > 0, and the items are the callee's if it takes them
     * (moves them out and zeroes *addresses); what it leaves is freed. */
    void (*done)(struct dns_address_lookup *lookup, struct dns_addresses *addresses,
                 const struct smtp_outcome *outcome);
    void *state; /* the resolver's */
};
void dns_site_addresses(struct dns_sites *sites, struct dns_site *site,
                        struct dns_address_lookup *lookup);
/* done() does not come any more. Nothing happens when the look-up is not under way (and state is
 * NULL). */
void dns_address_lookup_cancel(struct dns_address_lookup *lookup);
void dns_addresses_free(struct dns_addresses *addresses);

#endif

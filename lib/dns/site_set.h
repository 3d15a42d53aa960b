/*
 * From a list of MX hosts to a site: order, key, name; and the order in which one delivery tries
 * the hosts. Pure.
 */
#ifndef SLUICE_DNS_SITE_SET_H
#define SLUICE_DNS_SITE_SET_H

#include "dns/site.h"

/* More MX hosts than this are cut off, the least preferred ones. */
#define DNS_SITE_HOSTS_MAX 64

/* A site with one reference. `hosts` (at least 1) is copied, sorted by preference and name, each
 * name kept once with its best preference. `name` fixes the site's name (implicit MX, literal);
 * NULL: it is found from the hosts' names. */
struct dns_site *dns_site_make(const struct dns_host *hosts, size_t count, const char *name,
                               struct mono_time expires);

/* The last two labels, or three below endings like "co.uk"; a shorter name as a whole. Points into
 * `host`. */
struct slice dns_registered_suffix(struct slice host);

/* Fills order[site->host_count] with host indices: by preference, equal ones shuffled (RFC 5321
 * section 5.1). */
void dns_site_order(const struct dns_site *site, uint32_t *order);

#endif

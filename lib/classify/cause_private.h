/*
 * Normalised texts: what stays of a reply when everything that changes from message to message is
 * taken out, so that equal causes are equal bytes. In this order: lines are joined and repeated
 * codes dropped; values known for the attempt become {rcpt} {sender} {domain} {us} {id}; other
 * addresses, IPs, times and UUIDs become {addr} {ip} {time} {id}; URLs keep host, path and words;
 * opaque tokens of seven and more mixed characters become {id}, numbers {n}, host names {host};
 * codes of providers (S3150), names of blocklists and words such as RecipNotFound stay. Case and
 * accents are folded. One pass, no allocation.
 */
#ifndef SLUICE_CLASSIFY_CAUSE_PRIVATE_H
#define SLUICE_CLASSIFY_CAUSE_PRIVATE_H

#include "classify/classify.h"

#define CAUSE_FLAT_MAX 4096
#define CAUSE_HOSTS_MAX 6

struct cause {
    char text[CLASSIFY_CAUSE_MAX + 8];
    size_t len;
    uint16_t code;
    struct smtp_enhanced enhanced;
    enum smtp_phase phase;               /* as given, else as the text says */
    struct slice hosts[CAUSE_HOSTS_MAX]; /* host names met, within flat */
    size_t host_count;
    bool given_up; /* as given */
    char flat[CAUSE_FLAT_MAX];
    size_t flat_len;
};

/* Fills `cause`, which needs no initialisation; valid until the next call. */
void cause_make(struct cause *cause, const struct classify_input *input);

/* Joins the lines and takes the codes; first half of cause_make. */
void cause_unfold(struct cause *cause, const struct classify_input *input);

/* "5.1.1" at the start of s, not followed by a digit or by "." and a digit; its length or 0. */
size_t cause_enhanced_at(struct slice s, struct smtp_enhanced *out);

/* Writes one character of s[*at…] folded (lower case, no accents, UTF-8 or else Latin-1) and moves
 * *at; at most 4 bytes. */
size_t cause_fold(struct slice s, size_t *at, char out[4]);

/* The kinds of words; see cause_token.c. */
bool cause_is_ip(struct slice s);
bool cause_is_time(struct slice s);
bool cause_is_uuid(struct slice s);
bool cause_is_number(struct slice s);
bool cause_is_host(struct slice s);
bool cause_is_blocklist(struct slice host);
bool cause_is_opaque(struct slice s);

#endif

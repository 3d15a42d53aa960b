#include "smtp/capability.h"

/*
 * RFC 5321 section 4.1.1.1:
 *   ehlo-line    = ehlo-keyword *( SP ehlo-param )
 *   ehlo-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
 * Besides, "AUTH=LOGIN PLAIN", from before RFC 2554, is still sent by servers next to "AUTH LOGIN
 * PLAIN".
 */

static const struct {
    const char *keyword;
    enum smtp_capability flag;
} plain_keywords[] = {
    {"PIPELINING", SMTP_CAP_PIPELINING},
    {"CHUNKING", SMTP_CAP_CHUNKING},
    {"8BITMIME", SMTP_CAP_8BITMIME},
    {"SMTPUTF8", SMTP_CAP_SMTPUTF8},
    {"DSN", SMTP_CAP_DSN},
    {"STARTTLS", SMTP_CAP_STARTTLS},
    {"REQUIRETLS", SMTP_CAP_REQUIRETLS},
    {"ENHANCEDSTATUSCODES", SMTP_CAP_ENHANCEDSTATUSCODES},
};

/* RFC 1870 section 3: "SIZE" alone or with 0 says that there is no fixed limit. */
static void take_size(struct smtp_capabilities *capabilities, struct slice value)
{
    capabilities->flags |= SMTP_CAP_SIZE;
    if (!slice_to_u64(slice_trim(value), &capabilities->size_limit_bytes)) {
        capabilities->size_limit_bytes = 0;
    }
}

static void take_auth(struct smtp_capabilities *capabilities, struct slice mechanisms)
{
    while (mechanisms.len > 0) {
        struct slice mechanism = slice_cut(&mechanisms, ' ');
        if (slice_eq_nocase(mechanism, SLICE("PLAIN"))) {
            capabilities->flags |= SMTP_CAP_AUTH_PLAIN;
        } else if (slice_eq_nocase(mechanism, SLICE("LOGIN"))) {
            capabilities->flags |= SMTP_CAP_AUTH_LOGIN;
        }
    }
}

void smtp_capability_take(struct smtp_capabilities *capabilities, struct slice line)
{
    struct slice rest = slice_trim(line);
    if (slice_starts_with_nocase(rest, SLICE("AUTH="))) {
        take_auth(capabilities, slice_skip(rest, 5));
        return;
    }
    struct slice keyword = slice_cut(&rest, ' ');
    if (slice_eq_nocase(keyword, SLICE("SIZE"))) {
        take_size(capabilities, rest);
        return;
    }
    if (slice_eq_nocase(keyword, SLICE("AUTH"))) {
        take_auth(capabilities, rest);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(plain_keywords); i++) {
        if (slice_eq_nocase(keyword, slice_cstr(plain_keywords[i].keyword))) {
            capabilities->flags |= (uint32_t)plain_keywords[i].flag;
            return;
        }
    }
}

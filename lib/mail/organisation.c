#include "mail/organisation.h"

/* Of s: what stands behind the last dot before `end`; *dot is that dot's place or -1. */
static struct slice label_before(struct slice s, size_t end, ptrdiff_t *dot)
{
    struct slice front = slice_head(s, end);
    *dot = slice_rfind_byte(front, '.');
    return slice_skip(front, (size_t)(*dot + 1));
}

static bool is_group(struct slice label)
{
    static const char *const GROUPS[] = {"com", "net", "org", "gov", "edu", "mil", "gob", "gouv"};
    for (size_t i = 0; i < sizeof(GROUPS) / sizeof(GROUPS[0]); i++) {
        if (slice_eq_nocase(label, slice_cstr(GROUPS[i]))) {
            return true;
        }
    }
    return label.len <= 2; /* co, ac, or, ne, go … */
}

static bool is_address(struct slice host)
{
    bool digits = true;
    for (size_t i = 0; i < host.len; i++) {
        digits = digits && ((host.ptr[i] >= '0' && host.ptr[i] <= '9') || host.ptr[i] == '.');
    }
    return digits || slice_find_byte(host, ':') >= 0;
}

struct slice mail_organisation(struct slice host)
{
    ptrdiff_t dot = -1;
    if (host.len > 0 && host.ptr[host.len - 1] == '.') {
        host.len--;
    }
    if (host.len > 1 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']') {
        return slice_head(slice_skip(host, 1), host.len - 2);
    }
    if (is_address(host)) {
        return host;
    }
    struct slice top = label_before(host, host.len, &dot);
    if (dot <= 0) {
        return host;
    }
    struct slice second = label_before(host, (size_t)dot, &dot);
    if (dot <= 0) {
        return host;
    }
    if (top.len == 2 && is_group(second)) {
        (void)label_before(host, (size_t)dot, &dot);
    }
    return slice_skip(host, (size_t)(dot + 1));
}

bool mail_organisation_eq(struct slice a, struct slice b)
{
    struct slice left = mail_organisation(a);
    return left.len > 0 && slice_eq_nocase(left, mail_organisation(b));
}

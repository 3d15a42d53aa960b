#include "smtp/enhanced.h"

/*
 * RFC 3463 section 2:
 *   status-code = class "." subject "." detail
 *   class       = "2" / "4" / "5"
 *   subject     = 1*3digit
 *   detail      = 1*3digit
 */

/* One number of at most three digits; 0 digits: false. */
static bool take_number(struct slice s, size_t *at, uint16_t *value)
{
    uint16_t sum = 0;
    size_t digits = 0;
    while (*at < s.len && s.ptr[*at] >= '0' && s.ptr[*at] <= '9') {
        if (++digits > 3) {
            return false;
        }
        sum = (uint16_t)(sum * 10 + (s.ptr[*at] - '0'));
        (*at)++;
    }
    *value = sum;
    return digits > 0;
}

bool smtp_enhanced_take(struct slice *rest, struct smtp_enhanced *out)
{
    struct slice s = *rest;
    struct smtp_enhanced status;
    size_t at = 2;
    if (s.len < 5 || (s.ptr[0] != '2' && s.ptr[0] != '4' && s.ptr[0] != '5') || s.ptr[1] != '.') {
        return false;
    }
    status.klass = (uint8_t)(s.ptr[0] - '0');
    if (!take_number(s, &at, &status.subject) || at >= s.len || s.ptr[at++] != '.' ||
        !take_number(s, &at, &status.detail)) {
        return false;
    }
    if (at < s.len && s.ptr[at] != ' ') {
        return false;
    }
    *out = status;
    *rest = slice_skip(s, at + 1);
    return true;
}

struct slice smtp_enhanced_format(struct smtp_enhanced status, char out[SMTP_ENHANCED_TEXT_MAX])
{
    out[0] = '\0';
    if (status.klass == 0) {
        return slice_of(out, 0);
    }
    int len = snprintf(out, SMTP_ENHANCED_TEXT_MAX, "%u.%u.%u", status.klass % 10u,
                       status.subject % 1000u, status.detail % 1000u);
    return slice_of(out, (size_t)len);
}

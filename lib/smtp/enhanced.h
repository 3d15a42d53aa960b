/*
 * Enhanced mail system status codes, class.subject.detail (RFC 3463 section 2, RFC 2034 section 4).
 */
#ifndef SLUICE_SMTP_ENHANCED_H
#define SLUICE_SMTP_ENHANCED_H

#include "base/slice.h"

struct smtp_enhanced {
    uint8_t klass;    /* 2, 4, 5; 0: none given */
    uint16_t subject; /* 0 … 999 */
    uint16_t detail;
};

#define SMTP_ENHANCED_TEXT_MAX 16

/* Takes "5.1.1" from the start of *rest and moves *rest behind it and one blank; false: none there,
 * untouched. */
bool smtp_enhanced_take(struct slice *rest, struct smtp_enhanced *out);

/* "5.1.1", or "" when none is given; NUL-terminated. */
struct slice smtp_enhanced_format(struct smtp_enhanced status, char out[SMTP_ENHANCED_TEXT_MAX]);

#endif

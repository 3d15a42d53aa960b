/*
 * Writing a delivery status notification (RFC 3464 in the multipart/report of RFC 6522; RFC 6533
 * where an address is not ASCII) about one recipient who could not be reached. The returned message
 * is its header only.
 */
#ifndef SLUICE_MAIL_DSN_WRITE_H
#define SLUICE_MAIL_DSN_WRITE_H

#include "base/clock.h"
#include "base/strbuf.h"

struct dsn_failure {
    struct slice host;       /* ours: Reporting-MTA, domain of From and Message-ID */
    struct slice id;         /* of the notification: left side of its Message-ID */
    struct slice sender;     /* to whom it goes */
    struct slice recipient;  /* who could not be reached */
    struct slice original;   /* ORCPT, "type;address"; len 0: none */
    struct slice envelope;   /* ENVID; len 0: none */
    struct slice status;     /* "5.1.1" */
    struct slice text;       /* the reply, its code in front; any bytes */
    struct slice remote_mta; /* host that refused; len 0: none */
    bool expired;            /* was tried until its time was over */
    struct wall_time arrived, now;
    struct slice message; /* the original: its header is returned */
};

/* Appends the message. False: the buffer's maximum. */
bool dsn_write(const struct dsn_failure *failure, struct strbuf *out);

#endif

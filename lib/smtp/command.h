/*
 * Parser of one SMTP command line: verb, argument, ESMTP parameters. It knows syntax only; what is
 * offered and what the session allows is the server engine's business. No allocation: slices point
 * into the line.
 *
 * RFC 5321 section 4.1 (grammar), 1870 (SIZE), 6152 (BODY), 6531 (SMTPUTF8), 3461 (NOTIFY, ORCPT,
 * RET, ENVID), 4954 (AUTH), 3030 (BDAT), 3207 (STARTTLS), 2033 (LHLO), 8689 (REQUIRETLS).
 */
#ifndef SLUICE_SMTP_COMMAND_H
#define SLUICE_SMTP_COMMAND_H

#include "base/slice.h"

enum smtp_command_verb {
    SMTP_COMMAND_UNKNOWN,
    SMTP_COMMAND_EHLO,
    SMTP_COMMAND_HELO,
    SMTP_COMMAND_LHLO,
    SMTP_COMMAND_MAIL,
    SMTP_COMMAND_RCPT,
    SMTP_COMMAND_DATA,
    SMTP_COMMAND_BDAT,
    SMTP_COMMAND_RSET,
    SMTP_COMMAND_NOOP,
    SMTP_COMMAND_QUIT,
    SMTP_COMMAND_VRFY,
    SMTP_COMMAND_EXPN,
    SMTP_COMMAND_HELP,
    SMTP_COMMAND_STARTTLS,
    SMTP_COMMAND_AUTH,
};

struct smtp_command {
    enum smtp_command_verb verb;
    struct slice argument; /* all behind the verb, trimmed; EHLO, HELO, LHLO: the name */
    struct slice address;  /* MAIL (empty: <>), RCPT; without angle brackets and source route;
                              "postmaster" may lack a domain */
    bool address_utf8;     /* address or ORCPT has bytes >= 0x80 */
    uint32_t needs; /* enum smtp_capability: the extensions that the given parameters belong to */
    uint64_t size_bytes;    /* MAIL SIZE=, UINT64_MAX when it does not fit; 0: none */
    bool body_8bit;         /* MAIL BODY=8BITMIME */
    bool smtputf8;          /* MAIL */
    bool requiretls;        /* MAIL */
    struct slice ret;       /* MAIL RET=: FULL or HDRS */
    struct slice envid;     /* MAIL ENVID=, xtext */
    struct slice notify;    /* RCPT NOTIFY= */
    struct slice orcpt;     /* RCPT ORCPT=, type;xtext */
    uint64_t chunk_bytes;   /* BDAT */
    bool last;              /* BDAT */
    struct slice mechanism; /* AUTH */
    struct slice initial;   /* AUTH: initial response; absent: none, empty: "=" */
};

/* The reply that a wrong command gets; all texts are static. */
struct smtp_command_error {
    uint16_t code;
    const char *enhanced;
    const char *text;
};

/* Parses a line without its CRLF. False: `error` is the reply; command->verb is set when it was
 * known. */
bool smtp_command_parse(struct slice line, struct smtp_command *command,
                        struct smtp_command_error *error);

#endif

/*
 * Reading one scalar of the configuration by the kind that the schema gives it. No allocation; the
 * reasons are for people and say what was expected. Values of secrets are never repeated in a
 * reason.
 */
#ifndef SLUICE_POLICY_CONFIG_VALUE_PRIVATE_H
#define SLUICE_POLICY_CONFIG_VALUE_PRIVATE_H

#include "policy/config_schema_private.h"
#include "policy/config.h"

enum config_form { CONFIG_FORM_TEXT, CONFIG_FORM_NUMBER, CONFIG_FORM_BOOL, CONFIG_FORM_RATE };

struct config_value {
    enum config_form form;
    struct slice text; /* borrowed from the input */
    uint64_t number;   /* count, milliseconds or bytes */
    bool truth;
    struct config_rate rate;
};

/* False: `why` has the reason. `field->kind` is none of MAPPING and PROPERTIES. */
bool config_value_read(const struct schema_field *field, struct slice text,
                       struct config_value *value, struct fault *why);

/* "a duration such as 90s, 15m or 2h": what the kind wants, for messages. */
const char *config_kind_wanted(enum schema_kind kind);

#define CONFIG_WANTED_MAX 128
/* The same for a field: its words, if it has some ("never, opportunistic or required"). */
const char *config_field_wanted(const struct schema_field *field, char out[CONFIG_WANTED_MAX]);

/* The pieces of names and addresses (config_names.c). */
bool config_is_ipv4(struct slice text);
bool config_is_ipv6(struct slice text);
bool config_is_loopback(struct slice address); /* 127/8 or ::1 */
/* A host name of LDH labels (underscore allowed inside: real MX hosts have it), at most 253 bytes,
 * no trailing dot. */
bool config_is_host_name(struct slice text);
/* "[192.0.2.1]" or "[IPv6:2001:db8::1]" (RFC 5321 4.1.3). */
bool config_is_literal(struct slice text);
/* "host:port", "[::1]:port"; without a port when `port_needed` is false. The host is given without
 * brackets. */
bool config_split_port(struct slice text, bool port_needed, struct slice *host, uint16_t *port);
/* Checks a text of the kinds HOST to MATCH, TOPIC and NAME. */
bool config_name_check(enum schema_kind kind, struct slice text);

#define CONFIG_SHOWN_MAX 96
/* The value in quotes for a message: cut, without control characters. */
const char *config_shown(char out[CONFIG_SHOWN_MAX], struct slice text);

#endif

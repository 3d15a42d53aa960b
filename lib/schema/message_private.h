/*
 * The field tables of message.proto, shared by reading and writing. A unit test holds them against
 * the .proto file.
 */
#ifndef SLUICE_SCHEMA_MESSAGE_PRIVATE_H
#define SLUICE_SCHEMA_MESSAGE_PRIVATE_H

#include "schema/message.h"
#include "schema/wire.h"

enum {
    MESSAGE_FIELD_RECIPIENTS = 5,
    MESSAGE_FIELD_CONTENT = 6,
    MESSAGE_FIELD_SIGNING = 14,
    MESSAGE_FIELD_METADATA = 15,
    RECIPIENT_FIELD_METADATA = 4,
};

extern const struct wire_table message_table;
extern const struct wire_table message_recipient_table;
/* struct message_pair: a map entry (key, value) and a SigningIdentity (domain, selector) have the
 * same form. */
extern const struct wire_table message_pair_table;

/* Puts "recipients[INDEX]." before the field's name that the fault begins with; returns false. */
bool message_recipient_fault(struct fault *fault, size_t index);

#endif

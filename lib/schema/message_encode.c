/*
 * struct message to sluice.v1.Message. What is written was checked before by message_validate(), so
 * nothing is changed here.
 */
#include "schema/message_private.h"

static size_t recipient_size(const struct message_recipient *recipient)
{
    size_t sum = wire_size(&message_recipient_table, recipient);
    for (size_t i = 0; i < recipient->metadata_count; i++) {
        sum += wire_pair_size(RECIPIENT_FIELD_METADATA, recipient->metadata[i].name,
                              recipient->metadata[i].value);
    }
    return sum;
}

size_t message_encoded_size(const struct message *message)
{
    size_t sum = wire_size(&message_table, message);
    for (size_t i = 0; i < message->recipient_count; i++) {
        sum += wire_child_size(MESSAGE_FIELD_RECIPIENTS, recipient_size(&message->recipients[i]));
    }
    for (size_t i = 0; i < message->signing_count; i++) {
        sum += wire_child_size(MESSAGE_FIELD_SIGNING,
                               wire_size(&message_pair_table, &message->signing[i]));
    }
    for (size_t i = 0; i < message->metadata_count; i++) {
        sum += wire_pair_size(MESSAGE_FIELD_METADATA, message->metadata[i].name,
                              message->metadata[i].value);
    }
    return sum;
}

void message_encode(const struct message *message, uint8_t *out)
{
    char *at = wire_put(&message_table, message, false, (char *)out);
    for (size_t i = 0; i < message->recipient_count; i++) {
        const struct message_recipient *recipient = &message->recipients[i];
        at = wire_put_child(at, MESSAGE_FIELD_RECIPIENTS, recipient_size(recipient));
        at = wire_put(&message_recipient_table, recipient, false, at);
        for (size_t j = 0; j < recipient->metadata_count; j++) {
            at = wire_put_pair(at, RECIPIENT_FIELD_METADATA, recipient->metadata[j].name,
                               recipient->metadata[j].value, false);
        }
    }
    for (size_t i = 0; i < message->signing_count; i++) {
        const struct message_pair *identity = &message->signing[i];
        at = wire_put_child(at, MESSAGE_FIELD_SIGNING, wire_size(&message_pair_table, identity));
        at = wire_put(&message_pair_table, identity, false, at);
    }
    for (size_t i = 0; i < message->metadata_count; i++) {
        at = wire_put_pair(at, MESSAGE_FIELD_METADATA, message->metadata[i].name,
                           message->metadata[i].value, false);
    }
}

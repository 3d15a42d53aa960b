#include "schema/message_private.h"

#define MESSAGE_RULE(member, kind)                                                                 \
    {                                                                                              \
#member, kind, offsetof(struct message, member)                                            \
    }

static const struct wire_rule message_rules[] = {
    [1] = MESSAGE_RULE(id, WIRE_KIND_TEXT),
    [2] = MESSAGE_RULE(tenant, WIRE_KIND_TEXT),
    [3] = MESSAGE_RULE(campaign, WIRE_KIND_TEXT),
    [4] = MESSAGE_RULE(mail_from, WIRE_KIND_TEXT),
    [MESSAGE_FIELD_RECIPIENTS] = {"recipients", WIRE_KIND_CHILD, 0},
    [MESSAGE_FIELD_CONTENT] = MESSAGE_RULE(content, WIRE_KIND_BLOB),
    [7] = MESSAGE_RULE(pool, WIRE_KIND_TEXT),
    [8] = MESSAGE_RULE(not_before_ms, WIRE_KIND_INT64),
    [9] = MESSAGE_RULE(expires_ms, WIRE_KIND_INT64),
    [10] = MESSAGE_RULE(dsn_ret, WIRE_KIND_TEXT),
    [11] = MESSAGE_RULE(dsn_envid, WIRE_KIND_TEXT),
    [12] = MESSAGE_RULE(smtputf8, WIRE_KIND_BOOL),
    [13] = MESSAGE_RULE(requiretls, WIRE_KIND_BOOL),
    [MESSAGE_FIELD_SIGNING] = {"signing", WIRE_KIND_CHILD, 0},
    [MESSAGE_FIELD_METADATA] = {"metadata", WIRE_KIND_CHILD, 0},
    [16] = {"class", WIRE_KIND_ENUM, offsetof(struct message, klass)},
    [17] = MESSAGE_RULE(idempotency_key, WIRE_KIND_TEXT),
};
const struct wire_table message_table = {message_rules, ARRAY_LEN(message_rules)};

static const struct wire_rule recipient_rules[] = {
    [1] = {"address", WIRE_KIND_TEXT, offsetof(struct message_recipient, address)},
    [2] = {"dsn_notify", WIRE_KIND_TEXT, offsetof(struct message_recipient, dsn_notify)},
    [3] = {"dsn_orcpt", WIRE_KIND_TEXT, offsetof(struct message_recipient, dsn_orcpt)},
    [RECIPIENT_FIELD_METADATA] = {"metadata", WIRE_KIND_CHILD, 0},
};
const struct wire_table message_recipient_table = {recipient_rules, ARRAY_LEN(recipient_rules)};

static const struct wire_rule pair_rules[] = {
    [1] = {"name", WIRE_KIND_TEXT, offsetof(struct message_pair, name)},
    [2] = {"value", WIRE_KIND_TEXT, offsetof(struct message_pair, value)},
};
const struct wire_table message_pair_table = {pair_rules, ARRAY_LEN(pair_rules)};

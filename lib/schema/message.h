/*
 * A mail as the worker and the tools hold it, decoded from and encoded to sluice.v1.Message. The
 * content is never copied: decoding walks the top-level fields of the record, leaves `content`
 * where it lies and unpacks the rest into the arena. RFC 5321/5322/3461 rules that a record must
 * keep are checked here once, for all programs.
 */
#ifndef SLUICE_SCHEMA_MESSAGE_H
#define SLUICE_SCHEMA_MESSAGE_H

#include "base/arena.h"
#include "base/fault.h"
#include "base/uuid.h"

#define MESSAGE_RECIPIENTS_MAX 1000
#define MESSAGE_CONTENT_MAX_BYTES ((size_t)25 * 1024 * 1024)

struct message_pair {
    struct slice name, value;
};

#define MESSAGE_TENANT_MAX 64
#define MESSAGE_KEY_MAX 200

struct message_recipient {
    struct slice address;
    struct slice dsn_notify, dsn_orcpt; /* len 0: none */
    const struct message_pair *metadata;
    size_t metadata_count;
};

enum message_class { MESSAGE_CLASS_DEFAULT, MESSAGE_CLASS_TX, MESSAGE_CLASS_MASS };

struct message {
    struct slice id; /* UUID text, always set after decoding */
    struct slice tenant, campaign, mail_from, pool;
    struct slice idempotency_key;
    struct slice domain; /* of the recipients: lower-case A-label; set by decoding */
    struct message_recipient *recipients;
    size_t recipient_count;
    struct slice content; /* points into the record */
    int64_t not_before_ms, expires_ms;
    struct slice dsn_ret, dsn_envid;
    bool smtputf8, requiretls;
    bool content_8bit;                  /* set by decoding: content has bytes >= 0x80 */
    const struct message_pair *signing; /* domain, selector */
    size_t signing_count;
    const struct message_pair *metadata;
    size_t metadata_count;
    enum message_class klass;
};

/* Where a record came from, for messages with neither id nor idempotency key. */
struct message_origin {
    struct slice topic;
    int32_t partition;
    int64_t offset;
};

/* Takes plain protobuf, and protobuf in Confluent's framing (byte 0, schema id, message indexes).
 * The slices of *message point into the arena, content points into `record`. False: fault says
 * which field breaks which rule ("recipients[2].address: …"); what could be read (id, tenant,
 * campaign, recipients) is left in *message for the dropped event, absent slices otherwise. */
bool message_decode(struct slice record, const struct message_origin *origin, struct arena *arena,
                    struct message *message, struct fault *fault);

/* The rules alone, for those who build a message (libsluice): fills domain and content_8bit. */
bool message_validate(struct message *message, struct arena *arena, struct fault *fault);

/* The id of a message that has an idempotency key and no id of its own. */
void message_id_of_key(struct slice tenant, struct slice key, char out[UUID_TEXT_LEN + 1]);

/* Size of the encoded record, and encoding into a buffer of that size. */
size_t message_encoded_size(const struct message *message);
void message_encode(const struct message *message, uint8_t *out);

#endif

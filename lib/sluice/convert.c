#include "sluice/sluice_private.h"

#include "base/clock.h"

#define PAIRS_MOST 64 /* more than the rules allow, so that the rule's own text is told */

static enum sluice_result result_of(enum fault_kind kind)
{
    switch (kind) {
    case FAULT_NONE: return SLUICE_OK;
    case FAULT_INVALID:
    case FAULT_NOT_FOUND: return SLUICE_INVALID;
    case FAULT_LIMIT: return SLUICE_FULL;
    case FAULT_TEMPORARY:
    case FAULT_CLOSED: return SLUICE_TEMPORARY;
    case FAULT_TIMEOUT: return SLUICE_TIMEOUT;
    case FAULT_REFUSED:
    case FAULT_SYSTEM:
    case FAULT_FATAL: break;
    }
    return SLUICE_FAILED;
}

enum sluice_result error_from_fault(struct sluice_error *error, const struct fault *fault)
{
    enum sluice_result result = result_of(fault->kind);
    if (error != NULL) {
        error->result = result;
        snprintf(error->text, sizeof(error->text), "%s", fault->text);
    }
    return result;
}

const char *sluice_result_name(enum sluice_result result)
{
    switch (result) {
    case SLUICE_OK: return "ok";
    case SLUICE_INVALID: return "invalid";
    case SLUICE_FULL: return "full";
    case SLUICE_TEMPORARY: return "temporary";
    case SLUICE_TIMEOUT: return "timeout";
    case SLUICE_FAILED: return "failed";
    case SLUICE_SUPPRESSED: return "suppressed";
    }
    return "?";
}

void sluice_new_id(char id[37])
{
    struct uuid uuid = uuid_v7(wall_now());
    uuid_format(&uuid, id);
}

const char *sluice_version(void)
{
    return SLUICE_VERSION;
}

static bool no_room(struct fault *fault)
{
    return fault_set(fault, FAULT_LIMIT, 0, "out of memory");
}

static bool convert_pairs(const struct sluice_pair *given, size_t count, const char *field,
                          struct arena *arena, const struct message_pair **pairs,
                          struct fault *fault)
{
    if (count > PAIRS_MOST) {
        return fault_set(fault, FAULT_INVALID, 0, "%s: %zu entries are too many", field, count);
    }
    if (count == 0) {
        return true;
    }
    struct message_pair *copy = arena_try_alloc(arena, count * sizeof(*copy));
    if (copy == NULL) {
        return no_room(fault);
    }
    for (size_t i = 0; i < count; i++) {
        copy[i] = (struct message_pair){slice_cstr(given[i].name), slice_cstr(given[i].value)};
        for (size_t j = 0; j < i; j++) {
            if (slice_eq(copy[j].name, copy[i].name) && strcmp(field, "signing") != 0) {
                return fault_set(fault, FAULT_INVALID, 0, "%s: \"%.60s\" is given twice", field,
                                 given[i].name == NULL ? "" : given[i].name);
            }
        }
    }
    *pairs = copy;
    return true;
}

static bool convert_recipients(const struct sluice_message *given, struct arena *arena,
                               struct message *message, struct fault *fault)
{
    size_t count = given->recipient_count;
    if (count > MESSAGE_RECIPIENTS_MAX) {
        return fault_set(fault, FAULT_INVALID, 0, "recipients: more than %d",
                         MESSAGE_RECIPIENTS_MAX);
    }
    message->recipients = arena_try_alloc(arena, count * sizeof(*message->recipients));
    if (message->recipients == NULL) {
        return no_room(fault);
    }
    message->recipient_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct sluice_recipient *from = &given->recipients[i];
        struct message_recipient *to = &message->recipients[i];
        *to = (struct message_recipient){
            .address = slice_cstr(from->address),
            .dsn_notify = slice_cstr(from->dsn_notify),
            .dsn_orcpt = slice_cstr(from->dsn_orcpt),
            .metadata_count = from->metadata_count,
        };
        if (!convert_pairs(from->metadata, from->metadata_count, "metadata", arena, &to->metadata,
                           fault)) {
            return fault_prefix(fault, "recipients[%zu]", i);
        }
    }
    return true;
}

bool convert_message(const struct sluice_message *given, struct arena *arena,
                     struct message *message, struct fault *fault)
{
    if (given->struct_size != sizeof(*given)) {
        return fault_set(fault, FAULT_INVALID, 0,
                         "struct_size: %zu, not that of SLUICE_MESSAGE_INIT in this version",
                         given->struct_size);
    }
    if (given->id != NULL && given->idempotency_key != NULL) {
        return fault_set(fault, FAULT_INVALID, 0, "id: an idempotency_key makes it, give only one");
    }
    if (given->idempotency_key != NULL && given->idempotency_key[0] == '\0') {
        return fault_set(fault, FAULT_INVALID, 0, "idempotency_key: empty");
    }
    *message = (struct message){
        .id = slice_cstr(given->id),
        .idempotency_key = slice_cstr(given->idempotency_key),
        .tenant = slice_cstr(given->tenant),
        .campaign = slice_cstr(given->campaign),
        .mail_from = slice_cstr(given->mail_from),
        .pool = slice_cstr(given->pool),
        .content = slice_of(given->content, given->content_bytes),
        .not_before_ms = given->not_before_ms,
        .expires_ms = given->expires_ms,
        .dsn_ret = slice_cstr(given->dsn_ret),
        .dsn_envid = slice_cstr(given->dsn_envid),
        .smtputf8 = (given->flags & SLUICE_SMTPUTF8) != 0,
        .requiretls = (given->flags & SLUICE_REQUIRETLS) != 0,
        .signing_count = given->signing_count,
        .metadata_count = given->metadata_count,
        .klass = (enum message_class)given->class_,
    };
    return convert_recipients(given, arena, message, fault) &&
           convert_pairs(given->signing, given->signing_count, "signing", arena, &message->signing,
                         fault) &&
           convert_pairs(given->metadata, given->metadata_count, "metadata", arena,
                         &message->metadata, fault) &&
           message_validate(message, arena, fault);
}

enum sluice_result sluice_check(const struct sluice_message *message, struct sluice_error *error)
{
    struct arena *arena = arena_create(CONVERT_FIRST_BYTES, CONVERT_MAX_BYTES);
    struct message converted;
    struct fault fault = {0};
    if (arena == NULL) {
        no_room(&fault);
    } else {
        convert_message(message, arena, &converted, &fault);
    }
    arena_free(&arena);
    return error_from_fault(error, &fault);
}

/*
 * ESMTP parameters of MAIL and RCPT.
 *
 *   esmtp-param   = esmtp-keyword ["=" esmtp-value]
 *   esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
 *   esmtp-value   = 1*(%d33-60 / %d62-126)              (RFC 5321 section 4.1.2; UTF-8 by RFC 6531)
 */
#include "smtp/command_private.h"

#include "smtp/client.h" /* enum smtp_capability */
#include "smtp/xtext.h"

#define ENVID_MAX 100 /* RFC 3461 section 4.4 */
#define ORCPT_MAX 500 /* section 4.2 */

struct param {
    struct slice keyword;
    bool rcpt; /* of RCPT, else of MAIL */
    bool has_value;
    uint32_t needs; /* enum smtp_capability, one of them is enough */
    bool (*take)(struct smtp_command *command, struct slice value);
};

static bool take_size(struct smtp_command *command, struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9') {
            return false;
        }
    }
    if (value.len > 20) { /* RFC 1870 section 4 */
        return false;
    }
    if (!slice_to_u64(value, &command->size_bytes)) {
        command->size_bytes = UINT64_MAX;
    }
    return true;
}

/* BINARYMIME (RFC 3030) is not offered, so it is refused here. */
static bool take_body(struct smtp_command *command, struct slice value)
{
    command->body_8bit = slice_eq_nocase(value, SLICE("8BITMIME"));
    return command->body_8bit || slice_eq_nocase(value, SLICE("7BIT"));
}

static bool take_smtputf8(struct smtp_command *command, struct slice value)
{
    (void)value;
    command->smtputf8 = true;
    return true;
}

static bool take_requiretls(struct smtp_command *command, struct slice value)
{
    (void)value;
    command->requiretls = true;
    return true;
}

/* RFC 4954 section 5: who submitted it first; believed from nobody, so only its form matters. */
static bool take_auth(struct smtp_command *command, struct slice value)
{
    (void)command;
    return slice_eq(value, SLICE("<>")) || smtp_xtext_valid(value);
}

static bool take_ret(struct smtp_command *command, struct slice value)
{
    command->ret = value;
    return slice_eq_nocase(value, SLICE("FULL")) || slice_eq_nocase(value, SLICE("HDRS"));
}

static bool take_envid(struct smtp_command *command, struct slice value)
{
    command->envid = value;
    return value.len <= ENVID_MAX && smtp_xtext_valid(value);
}

/* notify-esmtp-value = "NEVER" / 1#notify-list-element           (RFC 3461 section 4.1) */
static bool take_notify(struct smtp_command *command, struct slice value)
{
    command->notify = value;
    if (slice_eq_nocase(value, SLICE("NEVER"))) {
        return true;
    }
    do {
        struct slice word = slice_cut(&value, ',');
        if (!slice_eq_nocase(word, SLICE("SUCCESS")) && !slice_eq_nocase(word, SLICE("FAILURE")) &&
            !slice_eq_nocase(word, SLICE("DELAY"))) {
            return false;
        }
    } while (value.ptr != NULL);
    return true;
}

/* original-recipient-address = addr-type ";" xtext                (RFC 3461 section 4.2; UTF-8: RFC
 * 6533 section 3) */
static bool take_orcpt(struct smtp_command *command, struct slice value)
{
    command->orcpt = value;
    if (value.len > ORCPT_MAX) {
        return false;
    }
    struct slice type = slice_cut(&value, ';');
    if (type.len == 0 || value.len == 0 || !smtp_xtext_valid(type)) {
        return false;
    }
    if (slice_eq_nocase(type, SLICE("utf-8")) && slice_has_8bit(value)) {
        command->address_utf8 = true;
        return slice_is_utf8(value);
    }
    return smtp_xtext_valid(value);
}

static const struct param params[] = {
    {{"SIZE", 4}, false, true, SMTP_CAP_SIZE, take_size},
    {{"BODY", 4}, false, true, SMTP_CAP_8BITMIME, take_body},
    {{"SMTPUTF8", 8}, false, false, SMTP_CAP_SMTPUTF8, take_smtputf8},
    {{"REQUIRETLS", 10}, false, false, SMTP_CAP_REQUIRETLS, take_requiretls},
    {{"AUTH", 4}, false, true, SMTP_CAP_AUTH_PLAIN | SMTP_CAP_AUTH_LOGIN, take_auth},
    {{"RET", 3}, false, true, SMTP_CAP_DSN, take_ret},
    {{"ENVID", 5}, false, true, SMTP_CAP_DSN, take_envid},
    {{"NOTIFY", 6}, true, true, SMTP_CAP_DSN, take_notify},
    {{"ORCPT", 5}, true, true, SMTP_CAP_DSN, take_orcpt},
};

static bool value_is_valid(struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c <= ' ' || c == '=' || c == 0x7f) {
            return false;
        }
    }
    return value.len > 0;
}

static const struct param *find_param(struct slice keyword, bool rcpt, size_t *index)
{
    for (size_t i = 0; i < ARRAY_LEN(params); i++) {
        if (params[i].rcpt == rcpt && slice_eq_nocase(params[i].keyword, keyword)) {
            *index = i;
            return &params[i];
        }
    }
    return NULL;
}

bool smtp_command_parse_params(struct slice rest, struct smtp_command *command,
                               struct smtp_command_error *error)
{
    uint32_t seen = 0; /* a bit per row of params */
    if (rest.len > 0 && rest.ptr[0] != ' ') {
        return smtp_command_wrong(error, 501, "5.5.4", "A blank is needed behind the address");
    }
    while (rest.len > 0) {
        size_t index = 0;
        struct slice value = slice_cut(&rest, ' ');
        if (value.len == 0) {
            continue;
        }
        struct slice keyword = slice_cut(&value, '=');
        const struct param *param = find_param(keyword, command->verb == SMTP_COMMAND_RCPT, &index);
        if (param == NULL) {
            return smtp_command_wrong(error, 555, "5.5.4", "Parameter not recognised");
        }
        bool value_fits = param->has_value ? value_is_valid(value) : value.ptr == NULL;
        if ((seen & 1U << index) != 0 || !value_fits || !param->take(command, value)) {
            return smtp_command_wrong(error, 501, "5.5.4", "Parameter is not valid");
        }
        seen |= 1U << index;
        command->needs |= param->needs;
    }
    return true;
}

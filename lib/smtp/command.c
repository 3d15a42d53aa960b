/*
 * Command lines. The verb is looked up in a table whose rows name the argument's parser; MAIL and
 * RCPT share the path parser and go on with the ESMTP parameters in command_param.c.
 */
#include "smtp/command_private.h"

#include "smtp/address.h"

static struct slice trim_blanks(struct slice s)
{
    while (s.len > 0 && s.ptr[0] == ' ') {
        s = slice_skip(s, 1);
    }
    while (s.len > 0 && s.ptr[s.len - 1] == ' ') {
        s.len--;
    }
    return s;
}

static bool parse_nothing(struct smtp_command *command, struct smtp_command_error *error)
{
    return command->argument.len == 0 ||
           smtp_command_wrong(error, 501, "5.5.4", "No argument is allowed");
}

static bool parse_anything(struct smtp_command *command, struct smtp_command_error *error)
{
    (void)command;
    (void)error;
    return true;
}

static bool parse_something(struct smtp_command *command, struct smtp_command_error *error)
{
    return command->argument.len > 0 ||
           smtp_command_wrong(error, 501, "5.5.4", "An argument is needed");
}

/* EHLO SP ( Domain / address-literal ). What real clients call themselves is often neither, so any
 * printable word is taken. */
static bool parse_name(struct smtp_command *command, struct smtp_command_error *error)
{
    struct slice name = command->argument;
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] <= ' ' ||
            name.ptr[i] >= 0x7f) { /* char may be signed: then 8-bit is below */
            return smtp_command_wrong(error, 501, "5.5.4", "Not a host name");
        }
    }
    if (name.len == 0 || name.len > SMTP_DOMAIN_MAX) {
        return smtp_command_wrong(error, 501, "5.5.4", "A host name is needed");
    }
    return true;
}

/* bdat-cmd = "BDAT" SP 1*DIGIT [ SP "LAST" ]                     (RFC 3030 section 2) */
static bool parse_bdat(struct smtp_command *command, struct smtp_command_error *error)
{
    struct slice rest = command->argument;
    struct slice size = slice_cut(&rest, ' ');
    rest = slice_trim(rest);
    command->last = slice_eq_nocase(rest, SLICE("LAST"));
    if (!slice_to_u64(size, &command->chunk_bytes) || (rest.len > 0 && !command->last)) {
        return smtp_command_wrong(error, 501, "5.5.4", "BDAT needs a size");
    }
    return true;
}

/* AUTH SP sasl-mech [SP initial-response]                        (RFC 4954 section 4) */
static bool parse_auth(struct smtp_command *command, struct smtp_command_error *error)
{
    struct slice rest = command->argument;
    command->mechanism = slice_cut(&rest, ' ');
    rest = slice_trim(rest);
    if (command->mechanism.len == 0) {
        return smtp_command_wrong(error, 501, "5.5.4", "A mechanism is needed");
    }
    if (rest.len > 0) {
        command->initial = slice_eq(rest, SLICE("=")) ? slice_head(rest, 0) : rest;
    }
    return true;
}

/* End of the path that starts at rest[0] == '<': position of its '>', or 0. Quoted strings may hold
 * one. */
static size_t find_path_end(struct slice rest)
{
    bool quoted = false;
    for (size_t at = 1; at < rest.len; at++) {
        char c = rest.ptr[at];
        if (quoted && c == '\\') {
            at++;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (c == '>' && !quoted) {
            return at;
        }
    }
    return 0;
}

/* Source routes are taken and ignored (RFC 5321 appendix C): "@a,@b:user@c". */
static bool skip_source_route(struct slice *path)
{
    if (path->len == 0 || path->ptr[0] != '@') {
        return true;
    }
    ptrdiff_t colon = slice_find_byte(*path, ':');
    if (colon < 0 || slice_find_byte(slice_head(*path, (size_t)colon), '"') >= 0) {
        return false;
    }
    *path = slice_skip(*path, (size_t)colon + 1);
    return true;
}

/* Reverse-path and Forward-path of RFC 5321 section 4.1.2; blanks behind the colon are tolerated.
 */
static bool parse_path(struct slice *rest, struct slice keyword, struct smtp_command *command,
                       struct smtp_command_error *error)
{
    bool rcpt = command->verb == SMTP_COMMAND_RCPT;
    struct smtp_address address;
    if (!slice_starts_with_nocase(*rest, keyword)) {
        return smtp_command_wrong(error, 501, "5.5.4",
                                  rcpt ? "Syntax: RCPT TO:<address>"
                                       : "Syntax: MAIL FROM:<address>");
    }
    *rest = trim_blanks(slice_skip(*rest, keyword.len));
    size_t end = rest->len > 0 && rest->ptr[0] == '<' ? find_path_end(*rest) : 0;
    if (end == 0) {
        return smtp_command_wrong(error, 501, "5.5.4", "Angle brackets are needed");
    }
    struct slice path = slice_of(rest->ptr + 1, end - 1);
    *rest = slice_skip(*rest, end + 1);
    bool ok = skip_source_route(&path);
    if (path.len == 0 && !rcpt) { /* the null reverse-path */
        command->address = path;
        return ok;
    }
    /* RFC 5321 section 4.1.1.3: the one recipient without a domain. */
    bool postmaster = rcpt && slice_eq_nocase(path, SLICE("postmaster"));
    if (!ok || (!postmaster && !smtp_address_parse(path, &address, NULL))) {
        return smtp_command_wrong(error, 553, rcpt ? "5.1.3" : "5.1.7", "Address is not valid");
    }
    command->address = path;
    command->address_utf8 = slice_has_8bit(path);
    return true;
}

static bool parse_mail(struct smtp_command *command, struct smtp_command_error *error)
{
    struct slice rest = command->argument;
    return parse_path(&rest, SLICE("FROM:"), command, error) &&
           smtp_command_parse_params(rest, command, error);
}

static bool parse_rcpt(struct smtp_command *command, struct smtp_command_error *error)
{
    struct slice rest = command->argument;
    return parse_path(&rest, SLICE("TO:"), command, error) &&
           smtp_command_parse_params(rest, command, error);
}

static const struct {
    struct slice name;
    enum smtp_command_verb verb;
    bool (*parse)(struct smtp_command *command, struct smtp_command_error *error);
} verbs[] = {
    {{"RCPT", 4}, SMTP_COMMAND_RCPT, parse_rcpt},
    {{"MAIL", 4}, SMTP_COMMAND_MAIL, parse_mail},
    {{"DATA", 4}, SMTP_COMMAND_DATA, parse_nothing},
    {{"BDAT", 4}, SMTP_COMMAND_BDAT, parse_bdat},
    {{"RSET", 4}, SMTP_COMMAND_RSET, parse_nothing},
    {{"EHLO", 4}, SMTP_COMMAND_EHLO, parse_name},
    {{"HELO", 4}, SMTP_COMMAND_HELO, parse_name},
    {{"LHLO", 4}, SMTP_COMMAND_LHLO, parse_name},
    {{"QUIT", 4}, SMTP_COMMAND_QUIT, parse_nothing},
    {{"NOOP", 4}, SMTP_COMMAND_NOOP, parse_anything},
    {{"STARTTLS", 8}, SMTP_COMMAND_STARTTLS, parse_nothing},
    {{"AUTH", 4}, SMTP_COMMAND_AUTH, parse_auth},
    {{"VRFY", 4}, SMTP_COMMAND_VRFY, parse_something},
    {{"EXPN", 4}, SMTP_COMMAND_EXPN, parse_something},
    {{"HELP", 4}, SMTP_COMMAND_HELP, parse_anything},
};

bool smtp_command_wrong(struct smtp_command_error *error, uint16_t code, const char *enhanced,
                        const char *text)
{
    *error = (struct smtp_command_error){.code = code, .enhanced = enhanced, .text = text};
    return false;
}

bool smtp_command_parse(struct slice line, struct smtp_command *command,
                        struct smtp_command_error *error)
{
    *command = (struct smtp_command){.verb = SMTP_COMMAND_UNKNOWN};
    if (slice_has_control(line)) {
        return smtp_command_wrong(error, 500, "5.5.2", "Control character in a command");
    }
    struct slice rest = line;
    struct slice name = slice_cut(&rest, ' ');
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (slice_eq_nocase(name, verbs[i].name)) {
            command->verb = verbs[i].verb;
            command->argument = trim_blanks(rest);
            return verbs[i].parse(command, error);
        }
    }
    return smtp_command_wrong(error, 500, "5.5.2", "Command not recognised");
}

/*
 * Server engine: one function per verb, found by table. Who may say what when is decided here; the
 * syntax was checked by command.c.
 */
#include "smtp/server_private.h"

#define CAP_AUTH (SMTP_CAP_AUTH_PLAIN | SMTP_CAP_AUTH_LOGIN)

static uint32_t capabilities_now(const struct smtp_server *server)
{
    uint32_t offered = server->config.capabilities;
    if (server->secure) {
        offered &= ~(uint32_t)SMTP_CAP_STARTTLS;
    } else {
        offered &= ~(uint32_t)SMTP_CAP_REQUIRETLS; /* RFC 8689 section 2 */
        offered &= server->config.auth_needs_tls ? ~(uint32_t)CAP_AUTH : UINT32_MAX;
    }
    return offered;
}

static void ehlo_reply(struct smtp_server *server)
{
    static const struct {
        uint32_t capability;
        struct slice keyword;
    } plain[] = {
        {SMTP_CAP_PIPELINING, {"PIPELINING", 10}},
        {SMTP_CAP_8BITMIME, {"8BITMIME", 8}},
        {SMTP_CAP_SMTPUTF8, {"SMTPUTF8", 8}},
        {SMTP_CAP_DSN, {"DSN", 3}},
        {SMTP_CAP_CHUNKING, {"CHUNKING", 8}},
        {SMTP_CAP_STARTTLS, {"STARTTLS", 8}},
        {SMTP_CAP_REQUIRETLS, {"REQUIRETLS", 10}},
        {SMTP_CAP_ENHANCEDSTATUSCODES, {"ENHANCEDSTATUSCODES", 19}},
    };
    struct strbuf *out = &server->out;
    size_t start = out->len;
    size_t last = start; /* of the last line */
    strbuf_add_cstr(out, "250-");
    strbuf_add_slice(out, server->config.host_name);
    strbuf_add_cstr(out, "\r\n");
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        if ((server->offered & plain[i].capability) != 0) {
            last = out->len;
            strbuf_add_cstr(out, "250-");
            strbuf_add_slice(out, plain[i].keyword);
            strbuf_add_cstr(out, "\r\n");
        }
    }
    if ((server->offered & SMTP_CAP_SIZE) != 0) {
        last = out->len;
        strbuf_addf(out, "250-SIZE %llu\r\n", (unsigned long long)server->config.max_message_bytes);
    }
    if ((server->offered & CAP_AUTH) != 0) {
        last = out->len;
        strbuf_addf(out, "250-AUTH%s%s\r\n",
                    (server->offered & SMTP_CAP_AUTH_PLAIN) != 0 ? " PLAIN" : "",
                    (server->offered & SMTP_CAP_AUTH_LOGIN) != 0 ? " LOGIN" : "");
    }
    if (out->overflow) {
        server_end(server);
        return;
    }
    out->ptr[last + 3] = ' ';
}

static void do_hello(struct smtp_server *server)
{
    bool lhlo = server->command.verb == SMTP_COMMAND_LHLO;
    if (lhlo != server->config.lmtp) { /* RFC 2033 section 4.1 */
        server_error(server, 500, "5.5.1", lhlo ? "This is not LMTP" : "This is LMTP, say LHLO");
        return;
    }
    server_drop_transaction(server);
    server->lenient = false;
    server->hello = true;
    server_push(server, SMTP_SERVER_EVENT_EHLO, server->command.argument);
    if (server->command.verb != SMTP_COMMAND_HELO) {
        server->offered = capabilities_now(server);
        ehlo_reply(server);
        return;
    }
    server->offered = 0;
    server_write_raw(server, SLICE("250 "));
    server_write_raw(server, server->config.host_name);
    server_write_raw(server, SLICE("\r\n"));
}

/* Parameters of extensions that were not offered; false: replied. */
static bool params_allowed(struct smtp_server *server)
{
    uint32_t missing = server->command.needs & ~server->offered;
    if ((server->offered & CAP_AUTH) != 0) {
        missing &= ~(uint32_t)CAP_AUTH;
    }
    if (missing == SMTP_CAP_REQUIRETLS && !server->secure &&
        (server->config.capabilities & SMTP_CAP_REQUIRETLS) != 0) {
        server_error(server, 530, "5.7.10", "REQUIRETLS needs TLS");
        return false;
    }
    if (missing != 0) {
        server_error(server, 555, "5.5.4", "Parameter is not offered");
    }
    return missing == 0;
}

static bool mail_allowed(struct smtp_server *server)
{
    const struct smtp_server_config *config = &server->config;
    const struct smtp_command *command = &server->command;
    if (server->mail_open) {
        server_error(server, 503, "5.5.1", "A transaction is open already");
    } else if (config->tls_required && !server->secure) {
        server_error(server, 530, "5.7.0", "STARTTLS is needed first");
    } else if (config->auth_required && !server->authenticated) {
        server_error(server, 530, "5.7.0", "Authentication is needed first");
    } else if (config->max_transactions != 0 && server->transactions >= config->max_transactions) {
        server_bye(server, 421, "4.7.0", "Enough messages for one session");
    } else if (!params_allowed(server)) {
        return false;
    } else if (command->address_utf8 && !command->smtputf8) {
        server_error(server, 553, "5.6.7", "Address needs SMTPUTF8");
    } else if (config->max_message_bytes != 0 && command->size_bytes > config->max_message_bytes) {
        server_write(server, 552, "5.3.4", "Message is too big");
    } else {
        return true;
    }
    return false;
}

static void do_mail(struct smtp_server *server)
{
    if (mail_allowed(server)) {
        server_ask(server, SERVER_AWAIT_MAIL, SMTP_SERVER_EVENT_MAIL);
    } else {
        server->lenient = !server->mail_open;
    }
}

static void do_rcpt(struct smtp_server *server)
{
    uint32_t max = server->config.max_recipients;
    if (!server->mail_open || server->chunking) {
        server_out_of_sequence(server, 503,
                               server->mail_open ? "Content has begun" : "Need MAIL before RCPT");
    } else if (max != 0 && server->rcpt_count >= max) {
        server_write(server, 452, "4.5.3", "Too many recipients");
    } else if (!params_allowed(server)) {
        return;
    } else if (server->command.address_utf8 && !server->smtputf8) {
        server_error(server, 553, "5.6.7", "Address needs SMTPUTF8");
    } else {
        server_ask(server, SERVER_AWAIT_RCPT, SMTP_SERVER_EVENT_RCPT);
    }
}

static void do_rset(struct smtp_server *server)
{
    server_drop_transaction(server);
    server->lenient = false;
    server_write(server, 250, "2.0.0", "Ok");
}

static void do_noop(struct smtp_server *server)
{
    server_write(server, 250, "2.0.0", "Ok");
}

static void do_quit(struct smtp_server *server)
{
    server_bye(server, 221, "2.0.0", "Bye");
}

/* RFC 5321 section 7.3 allows not to tell. */
static void do_vrfy(struct smtp_server *server)
{
    server_write(server, 252, "2.5.0", "Not verified; send a message and see");
}

static void do_expn(struct smtp_server *server)
{
    server_error(server, 502, "5.5.1", "EXPN is not offered");
}

static void do_help(struct smtp_server *server)
{
    server_write(server, 214, "2.0.0", "RFC 5321");
}

/* Whatever was sent behind STARTTLS in the clear may have been put there by somebody else: RFC 3207
 * section 6, CVE-2011-0411. */
static void do_starttls(struct smtp_server *server)
{
    if ((server->config.capabilities & SMTP_CAP_STARTTLS) == 0) {
        server_error(server, 502, "5.5.1", "STARTTLS is not offered");
    } else if (server->secure) {
        server_error(server, 503, "5.5.1", "TLS is active already");
    } else if (server->config.starttls_refusal.ptr != NULL) {
        server_write_raw(server, server->config.starttls_refusal);
        server_write_raw(server, SLICE("\r\n"));
    } else if (server_more_input(server)) {
        server_bye(server, 554, "5.5.0", "Commands were sent behind STARTTLS");
    } else {
        server_drop_transaction(server);
        server_write(server, 220, "2.0.0", "Ready to start TLS");
        server_set_state(server, SERVER_TLS_REPLY);
    }
}

static const struct {
    void (*run)(struct smtp_server *server);
    bool needs_hello;
} handlers[] = {
    [SMTP_COMMAND_UNKNOWN] = {NULL, false},
    [SMTP_COMMAND_EHLO] = {do_hello, false},
    [SMTP_COMMAND_HELO] = {do_hello, false},
    [SMTP_COMMAND_LHLO] = {do_hello, false},
    [SMTP_COMMAND_MAIL] = {do_mail, true},
    [SMTP_COMMAND_RCPT] = {do_rcpt, true},
    [SMTP_COMMAND_DATA] = {server_data_start, true},
    [SMTP_COMMAND_BDAT] = {server_bdat_start, false}, /* its bytes must be taken in any case */
    [SMTP_COMMAND_RSET] = {do_rset, false},
    [SMTP_COMMAND_NOOP] = {do_noop, false},
    [SMTP_COMMAND_QUIT] = {do_quit, false},
    [SMTP_COMMAND_VRFY] = {do_vrfy, false},
    [SMTP_COMMAND_EXPN] = {do_expn, false},
    [SMTP_COMMAND_HELP] = {do_help, false},
    [SMTP_COMMAND_STARTTLS] = {do_starttls, true},
    [SMTP_COMMAND_AUTH] = {server_auth_start, true},
};

void server_take_command(struct smtp_server *server, struct slice line)
{
    struct smtp_command_error error;
    if (!smtp_command_parse(line, &server->command, &error)) {
        if (server->command.verb == SMTP_COMMAND_BDAT) { /* nobody knows where its chunk ends */
            server_bye(server, error.code, error.enhanced, error.text);
            return;
        }
        if (server->command.verb == SMTP_COMMAND_MAIL && !server->mail_open) {
            server->lenient = true;
        }
        server_error(server, error.code, error.enhanced, error.text);
        return;
    }
    if (handlers[server->command.verb].needs_hello && !server->hello) {
        if (server->command.verb == SMTP_COMMAND_MAIL) {
            server->lenient = true;
            server_error(server, 503, "5.5.1", "Say EHLO first");
            return;
        }
        server_out_of_sequence(server, 503, "Say EHLO first");
        return;
    }
    handlers[server->command.verb].run(server);
}

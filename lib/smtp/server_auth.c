/*
 * Server engine: AUTH PLAIN (RFC 4616) and LOGIN, with or without an initial response (RFC 4954
 * section 4). User and password are decoded into secret[], lent to the owner with the AUTH event,
 * and wiped together with all traces in the input buffer when the answer is there.
 */
#include "smtp/server_private.h"

#include "smtp/base64.h"

void server_auth_wipe(struct smtp_server *server)
{
    explicit_bzero(server->secret, sizeof(server->secret));
    explicit_bzero(server->hold, server->hold_start);
    explicit_bzero(server->hold + server->hold_end, sizeof(server->hold) - server->hold_end);
    server->user = server->password = SLICE_NULL;
}

static void give_up(struct smtp_server *server, uint16_t code, const char *enhanced,
                    const char *text)
{
    server_auth_wipe(server);
    server_set_state(server, SERVER_COMMAND);
    server_error(server, code, enhanced, text);
}

static void ask_owner(struct smtp_server *server)
{
    server_set_state(server, SERVER_COMMAND);
    server_ask(server, SERVER_AWAIT_AUTH, SMTP_SERVER_EVENT_AUTH);
}

/* Decodes behind what secret[] holds already. */
static bool decode(struct smtp_server *server, struct slice response, size_t offset,
                   struct slice *out)
{
    size_t len = 0;
    char *at = server->secret + offset;
    if (!smtp_base64_decode(response, at, sizeof(server->secret) - offset, &len)) {
        give_up(server, 501, "5.5.2", "Response is not base64");
        return false;
    }
    *out = slice_of(at, len);
    return true;
}

/* message = [authzid] UTF8NUL authcid UTF8NUL passwd */
static void take_plain(struct smtp_server *server, struct slice response)
{
    struct slice rest;
    if (!decode(server, response, 0, &rest)) {
        return;
    }
    struct slice authzid = slice_cut(&rest, '\0');
    server->user = slice_cut(&rest, '\0');
    server->password = rest;
    if (server->user.len == 0 || rest.len == 0 || slice_find_byte(rest, '\0') >= 0) {
        give_up(server, 501, "5.5.2", "Response is not of AUTH PLAIN");
    } else if (authzid.len > 0 && !slice_eq(authzid, server->user)) {
        give_up(server, 535, "5.7.8", "Nobody may act for another user");
    } else {
        ask_owner(server);
    }
}

static void take_user(struct smtp_server *server, struct slice response)
{
    if (!decode(server, response, 0, &server->user)) {
        return;
    }
    if (server->user.len == 0 || slice_find_byte(server->user, '\0') >= 0) {
        give_up(server, 501, "5.5.2", "User name is not valid");
        return;
    }
    server_write(server, 334, NULL, "UGFzc3dvcmQ6"); /* "Password:" */
    server_set_state(server, SERVER_AUTH_PASSWORD);
}

static void take_password(struct smtp_server *server, struct slice response)
{
    if (!decode(server, response, server->user.len, &server->password)) {
        return;
    }
    if (server->password.len == 0 || slice_find_byte(server->password, '\0') >= 0) {
        give_up(server, 501, "5.5.2", "Password is not valid");
        return;
    }
    ask_owner(server);
}

void server_auth_line(struct smtp_server *server, struct slice line)
{
    if (slice_eq(line, SLICE("*"))) {
        give_up(server, 501, "5.7.0", "Authentication was given up");
    } else if (server->state == SERVER_AUTH_PLAIN) {
        take_plain(server, line);
    } else if (server->state == SERVER_AUTH_USER) {
        take_user(server, line);
    } else {
        take_password(server, line);
    }
}

static void start_plain(struct smtp_server *server)
{
    if (server->command.initial.ptr != NULL) {
        take_plain(server, server->command.initial);
    } else {
        server_write(server, 334, NULL, NULL);
        server_set_state(server, SERVER_AUTH_PLAIN);
    }
}

static void start_login(struct smtp_server *server)
{
    if (server->command.initial.ptr != NULL) {
        take_user(server, server->command.initial);
    } else {
        server_write(server, 334, NULL, "VXNlcm5hbWU6"); /* "Username:" */
        server_set_state(server, SERVER_AUTH_USER);
    }
}

void server_auth_start(struct smtp_server *server)
{
    uint32_t capabilities = server->config.capabilities;
    struct slice mechanism = server->command.mechanism;
    if ((capabilities & (SMTP_CAP_AUTH_PLAIN | SMTP_CAP_AUTH_LOGIN)) == 0) {
        server_error(server, 502, "5.5.1", "AUTH is not offered");
    } else if (server->config.auth_needs_tls && !server->secure) {
        server_error(server, 538, "5.7.11", "Encryption is needed for AUTH");
    } else if (server->authenticated) {
        server_error(server, 503, "5.5.1", "Already authenticated");
    } else if (server->mail_open) {
        server_error(server, 503, "5.5.1", "AUTH is not allowed in a transaction");
    } else if ((capabilities & SMTP_CAP_AUTH_PLAIN) != 0 &&
               slice_eq_nocase(mechanism, SLICE("PLAIN"))) {
        start_plain(server);
    } else if ((capabilities & SMTP_CAP_AUTH_LOGIN) != 0 &&
               slice_eq_nocase(mechanism, SLICE("LOGIN"))) {
        start_login(server);
    } else {
        server_error(server, 504, "5.5.4", "Mechanism is not offered");
    }
}

void smtp_server_auth_result(struct smtp_server *server, bool ok, bool temporary_failure)
{
    CHECK_MAGIC(server, SMTP_SERVER_MAGIC);
    if (server->state == SERVER_CLOSED) {
        return;
    }
    CHECK(server->await == SERVER_AWAIT_AUTH);
    server->await = SERVER_AWAIT_NONE;
    server->stale = true;
    server_auth_wipe(server);
    if (ok) {
        server->authenticated = true;
        server_write(server, 235, "2.7.0", "Authentication succeeded");
    } else if (temporary_failure) {
        server_write(server, 454, "4.7.0", "Authentication failed for a reason of ours");
    } else {
        server_error(server, 535, "5.7.8", "Authentication failed");
    }
}

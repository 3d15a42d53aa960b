/* AUTH PLAIN (RFC 4616) and AUTH LOGIN of the client engine (RFC 4954). */
#include "smtp/client_private.h"

#include "smtp/base64.h"

#define CREDENTIAL_MAX 1024
/* RFC 4954 section 4: an initial response that would make the line too long is sent as an answer of
 * its own. */
#define INITIAL_RESPONSE_MAX 480

enum auth_step { AUTH_STEP_PLAIN, AUTH_STEP_LOGIN_USER, AUTH_STEP_LOGIN_PASSWORD, AUTH_STEP_END };

/* The bytes of PLAIN: NUL user NUL password, in base64. */
static void add_plain(struct smtp_client *client)
{
    char message[2 * CREDENTIAL_MAX + 2];
    struct slice user = client->config.auth_user, password = client->config.auth_password;
    size_t len = 2 + user.len + password.len;
    message[0] = '\0';
    memcpy(message + 1, user.ptr, user.len);
    message[1 + user.len] = '\0';
    if (password.len > 0) {
        memcpy(message + 2 + user.len, password.ptr, password.len);
    }
    smtp_base64_encode(slice_of(message, len), &client->out);
    explicit_bzero(message, sizeof(message));
}

static void refuse(struct smtp_client *client, struct smtp_enhanced enhanced, struct slice text,
                   struct mono_time now)
{
    struct smtp_outcome outcome = {
        .result = SMTP_RESULT_DEFERRED,
        .phase = SMTP_PHASE_AUTH,
        .scope = SMTP_SCOPE_SITE,
        .enhanced = enhanced,
        .text = text,
    };
    client_end(client, outcome, SMTP_RESULT_NONE, true, now);
}

void client_auth_begin(struct smtp_client *client, struct mono_time now)
{
    struct slice user = client->config.auth_user, password = client->config.auth_password;
    uint32_t offered = client->capabilities.flags;
    if (user.len > CREDENTIAL_MAX || password.len > CREDENTIAL_MAX) {
        refuse(client, (struct smtp_enhanced){4, 7, 8}, SLICE("user name or password is too long"),
               now);
        return;
    }
    /* Without TLS only where the configuration says that there is to be none. */
    if (!client->secure && client->config.tls != SMTP_TLS_NEVER) {
        refuse(client, (struct smtp_enhanced){4, 7, 11},
               SLICE("AUTH needs TLS, which the server does not offer"), now);
        return;
    }
    if ((offered & (SMTP_CAP_AUTH_PLAIN | SMTP_CAP_AUTH_LOGIN)) == 0) {
        refuse(client, (struct smtp_enhanced){4, 7, 0},
               SLICE("the server offers neither AUTH PLAIN nor AUTH LOGIN"), now);
        return;
    }
    client_set_state(client, CLIENT_AUTH);
    /* All that AUTH will ever write, so that growing leaves no copy of a secret behind. */
    strbuf_reserve(&client->out, 4 * CREDENTIAL_MAX);
    if ((offered & SMTP_CAP_AUTH_PLAIN) == 0) {
        client->auth_step = AUTH_STEP_LOGIN_USER;
        client_say(client, CLIENT_VERB_AUTH, SLICE("AUTH LOGIN"));
        return;
    }
    client->auth_step = AUTH_STEP_PLAIN;
    if ((2 + user.len + password.len) / 3 * 4 > INITIAL_RESPONSE_MAX) {
        client_say(client, CLIENT_VERB_AUTH, SLICE("AUTH PLAIN"));
        return;
    }
    strbuf_add_slice(&client->out, SLICE("AUTH PLAIN "));
    add_plain(client);
    client->auth_step = AUTH_STEP_END;
    client_say(client, CLIENT_VERB_AUTH, SLICE_NULL);
}

bool client_auth_continue(struct smtp_client *client)
{
    switch ((enum auth_step)client->auth_step) {
    case AUTH_STEP_PLAIN:
        add_plain(client);
        client->auth_step = AUTH_STEP_END;
        break;
    case AUTH_STEP_LOGIN_USER:
        smtp_base64_encode(client->config.auth_user, &client->out);
        client->auth_step = AUTH_STEP_LOGIN_PASSWORD;
        break;
    case AUTH_STEP_LOGIN_PASSWORD:
        smtp_base64_encode(client->config.auth_password, &client->out);
        client->auth_step = AUTH_STEP_END;
        break;
    case AUTH_STEP_END: return false;
    }
    client_say(client, CLIENT_VERB_AUTH, SLICE_NULL);
    return true;
}

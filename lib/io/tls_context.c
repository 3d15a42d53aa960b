/*
 * TLS settings.
 *
 * Opportunistic clients (RFC 7435) take any certificate and weak keys as well, since the
 * alternative is plain text; the chain and name are checked all the same, for the facts.
 * Renegotiation and compression are off. A stream that ends without close_notify is an end of
 * stream: SMTP knows by itself whether its dialogue is complete.
 */
#include "base/mem.h"
#include "io/tls_private.h"

#include <errno.h>
#include <openssl/err.h>

#define CONTEXT_MAGIC 0x544c5343u
#define SESSIONS_MAX 1024

bool tls_fault(struct fault *fault, enum fault_kind kind, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    int saved_errno = errno;
    if (code == 0) {
        return fault_set_errno(fault, saved_errno == 0 ? EPROTO : saved_errno, "%s", what);
    }
    const char *reason = ERR_reason_error_string(code);
    if (ERR_SYSTEM_ERROR(code)) {
        fault_set_errno(fault, ERR_GET_REASON(code), "%s", what);
    } else {
        fault_set(fault, kind, ERR_GET_REASON(code), "%s: %s", what,
                  reason == NULL ? "unknown OpenSSL error" : reason);
    }
    ERR_clear_error();
    return false;
}

static bool set_min_version(SSL_CTX *ssl_ctx, const char *text, struct fault *fault)
{
    static const struct {
        const char *text;
        int version;
    } versions[] = {{"1.0", TLS1_VERSION},
                    {"1.1", TLS1_1_VERSION},
                    {"1.2", TLS1_2_VERSION},
                    {"1.3", TLS1_3_VERSION}};
    struct slice wanted = slice_cstr(text == NULL ? "1.2" : text);
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        if (!slice_eq(wanted, slice_cstr(versions[i].text))) {
            continue;
        }
        if (versions[i].version < TLS1_2_VERSION) {
            /* Their signatures by MD5 and SHA-1 are below level 1. */
            SSL_CTX_set_security_level(ssl_ctx, 0);
        }
        return SSL_CTX_set_min_proto_version(ssl_ctx, versions[i].version) == 1 ||
               tls_fault(fault, FAULT_INVALID, "least TLS version");
    }
    return fault_set(fault, FAULT_INVALID, 0,
                     "least TLS version \"%.16s\": expected 1.0, 1.1, 1.2 or 1.3", text);
}

static struct tls_context *context_new(bool client, const char *min_version, struct fault *fault)
{
    ERR_clear_error();
    SSL_CTX *ssl_ctx = SSL_CTX_new(client ? TLS_client_method() : TLS_server_method());
    if (ssl_ctx == NULL) {
        tls_fault(fault, FAULT_FATAL, "TLS context");
        return NULL;
    }
    struct tls_context *context = mem_zalloc(sizeof(*context));
    context->magic = CONTEXT_MAGIC;
    context->owners = 1;
    context->client = client;
    context->ssl_ctx = ssl_ctx;
    SSL_CTX_set_mode(ssl_ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ssl_ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* A record's head and body by one read(2). */
    SSL_CTX_set_read_ahead(ssl_ctx, 1);
    if (!set_min_version(ssl_ctx, min_version, fault)) {
        tls_context_free(&context);
    }
    return context;
}

static bool use_certificate(SSL_CTX *ssl_ctx, const char *certificate_file, const char *key_file,
                            struct fault *fault)
{
    if (SSL_CTX_use_certificate_chain_file(ssl_ctx, certificate_file) != 1) {
        tls_fault(fault, FAULT_INVALID, "certificate");
        return fault_prefix(fault, "%s", certificate_file);
    }
    if (SSL_CTX_use_PrivateKey_file(ssl_ctx, key_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ssl_ctx) != 1) {
        tls_fault(fault, FAULT_INVALID, "private key");
        return fault_prefix(fault, "%s", key_file);
    }
    return true;
}

struct tls_context *tls_client_context(const struct tls_client_options *options,
                                       struct fault *fault)
{
    struct tls_context *context = context_new(true, options->min_version, fault);
    if (context == NULL) {
        return NULL;
    }
    SSL_CTX *ssl_ctx = context->ssl_ctx;
    context->verify = options->verify;
    switch (options->verify) {
    case TLS_VERIFY_NONE:
        SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_NONE, NULL);
        SSL_CTX_set_security_level(ssl_ctx, 0);
        break;
    case TLS_VERIFY_NAME: SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_PEER, NULL); break;
    }
    int loaded = options->ca_file == NULL ? SSL_CTX_set_default_verify_paths(ssl_ctx)
                                          : SSL_CTX_load_verify_file(ssl_ctx, options->ca_file);
    if (loaded != 1) {
        tls_fault(fault, FAULT_INVALID, "certificates of the authorities");
        fault_prefix(fault, "%s", options->ca_file == NULL ? "system" : options->ca_file);
        tls_context_free(&context);
        return NULL;
    }
    if (options->certificate_file != NULL &&
        !use_certificate(ssl_ctx, options->certificate_file, options->key_file, fault)) {
        tls_context_free(&context);
        return NULL;
    }
    context->sessions = tls_sessions_create(SESSIONS_MAX);
    SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ssl_ctx, tls_link_new_session);
    return context;
}

struct tls_context *tls_server_context(const struct tls_server_options *options,
                                       struct fault *fault)
{
    static const unsigned char session_context[] = "sluice";
    struct tls_context *context = context_new(false, options->min_version, fault);
    if (context == NULL) {
        return NULL;
    }
    SSL_CTX *ssl_ctx = context->ssl_ctx;
    if (!use_certificate(ssl_ctx, options->certificate_file, options->key_file, fault)) {
        tls_context_free(&context);
        return NULL;
    }
    /* Sessions are resumed by tickets, so nothing is kept here. */
    SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_OFF);
    CHECK(SSL_CTX_set_session_id_context(ssl_ctx, session_context, sizeof(session_context)) == 1);
    return context;
}

struct tls_context *tls_context_hold(struct tls_context *context)
{
    CHECK_MAGIC(context, CONTEXT_MAGIC);
    context->owners++;
    return context;
}

void tls_context_free(struct tls_context **handle)
{
    struct tls_context *context = *handle;
    if (context == NULL) {
        return;
    }
    CHECK_MAGIC(context, CONTEXT_MAGIC);
    *handle = NULL;
    if (--context->owners > 0) {
        return;
    }
    tls_sessions_free(&context->sessions);
    SSL_CTX_free(context->ssl_ctx);
    context->magic = 0;
    mem_free(context);
}

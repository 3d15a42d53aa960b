/*
 * One TLS connection over a non-blocking socket that OpenSSL reads and writes itself. OpenSSL's
 * error queue is empty before each operation, because SSL_get_error() looks at it.
 */
#include "base/mem.h"
#include "base/strbuf.h"
#include "io/tls_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#define LINK_MAGIC 0x544c534cu
#define SERVER_NAME_MAX 255

struct tls_link {
    uint32_t magic;
    SSL *ssl;
    struct tls_context *context;
    struct strbuf session_key; /* clients: name and remote address */
    bool named;                /* the certificate is compared with a name */
    bool established;
    size_t retry_len;
};

int tls_link_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_link *link = SSL_get_app_data(ssl);
    CHECK_MAGIC(link, LINK_MAGIC);
    if (!SSL_SESSION_is_resumable(session)) {
        return 0;
    }
    tls_sessions_put(link->context->sessions, strbuf_slice(&link->session_key), session);
    return 1;
}

/* SNI (RFC 6066 3: no addresses) and the reference identity (RFC 6125). */
static bool set_name(struct tls_link *link, const char *server_name, struct fault *fault)
{
    unsigned char binary[sizeof(struct in6_addr)];
    char name[SERVER_NAME_MAX + 1];
    size_t len = strlen(server_name);
    if (len > 0 && server_name[len - 1] == '.') {
        len--;
    }
    if (len == 0 || len > SERVER_NAME_MAX) {
        return fault_set(fault, FAULT_INVALID, 0, "TLS server name of %zu bytes", len);
    }
    memcpy(name, server_name, len);
    name[len] = '\0';
    ascii_lower(name, len);
    strbuf_add(&link->session_key, name, len);
    link->named = true;
    if (inet_pton(AF_INET, name, binary) == 1 || inet_pton(AF_INET6, name, binary) == 1) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(link->ssl), name) == 1 ||
               tls_fault(fault, FAULT_INVALID, "TLS server address");
    }
    SSL_set_hostflags(link->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return (SSL_set_tlsext_host_name(link->ssl, name) == 1 &&
            SSL_set1_host(link->ssl, name) == 1) ||
           tls_fault(fault, FAULT_INVALID, "TLS server name");
}

static bool client_setup(struct tls_link *link, const char *server_name,
                         const struct sockaddr *remote, socklen_t remote_len, struct fault *fault)
{
    SSL_set_connect_state(link->ssl);
    strbuf_init(&link->session_key, SERVER_NAME_MAX + 1 + sizeof(struct sockaddr_storage));
    if (server_name != NULL) {
        if (!set_name(link, server_name, fault)) {
            return false;
        }
    } else if (link->context->verify == TLS_VERIFY_NAME) {
        return fault_set(fault, FAULT_INVALID, 0, "TLS needs a server name to verify");
    }
    strbuf_add_byte(&link->session_key, '\0');
    CHECK(strbuf_add(&link->session_key, remote, remote_len));
    SSL_SESSION *session =
        tls_sessions_get(link->context->sessions, strbuf_slice(&link->session_key));
    if (session != NULL && SSL_set_session(link->ssl, session) != 1) {
        return tls_fault(fault, FAULT_FATAL, "TLS session");
    }
    return true;
}

struct tls_link *tls_link_create(struct tls_context *context, int fd, const char *server_name,
                                 const struct sockaddr *remote, socklen_t remote_len,
                                 struct fault *fault)
{
    ERR_clear_error();
    SSL *ssl = SSL_new(context->ssl_ctx);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
        tls_fault(fault, FAULT_FATAL, "TLS connection");
        SSL_free(ssl);
        return NULL;
    }
    struct tls_link *link = mem_zalloc(sizeof(*link));
    link->magic = LINK_MAGIC;
    link->ssl = ssl;
    link->context = tls_context_hold(context);
    SSL_set_app_data(ssl, link);
    if (!context->client) {
        SSL_set_accept_state(ssl);
    } else if (!client_setup(link, server_name, remote, remote_len, fault)) {
        tls_link_free(&link);
    }
    return link;
}

void tls_link_free(struct tls_link **handle)
{
    struct tls_link *link = *handle;
    if (link == NULL) {
        return;
    }
    CHECK_MAGIC(link, LINK_MAGIC);
    *handle = NULL;
    if (link->established) {
        /* Else OpenSSL marks the session of a link cut short as not resumable. */
        SSL_set_shutdown(link->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
    SSL_free(link->ssl);
    strbuf_free(&link->session_key);
    tls_context_free(&link->context);
    link->magic = 0;
    mem_free(link);
}

bool tls_link_is_client(const struct tls_link *link)
{
    CHECK_MAGIC(link, LINK_MAGIC);
    return link->context->client;
}

static void operation_begin(struct tls_link *link)
{
    CHECK_MAGIC(link, LINK_MAGIC);
    ERR_clear_error();
    errno = 0;
}

static enum tls_step operation_end(struct tls_link *link, int result, const char *what,
                                   struct fault *fault)
{
    int error = SSL_get_error(link->ssl, result);
    switch (error) {
    case SSL_ERROR_NONE: return TLS_STEP_DONE;
    case SSL_ERROR_WANT_READ: return TLS_STEP_WANT_READ;
    case SSL_ERROR_WANT_WRITE: return TLS_STEP_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        fault_set(fault, FAULT_CLOSED, 0, "%s: closed by the peer", what);
        return TLS_STEP_CLOSED;
    case SSL_ERROR_SYSCALL:
        if (ERR_peek_error() == 0 && errno == 0) {
            fault_set(fault, FAULT_CLOSED, 0, "%s: closed by the peer", what);
            return TLS_STEP_CLOSED;
        }
        break;
    default: break;
    }
    tls_fault(fault, FAULT_INVALID, what);
    return TLS_STEP_FAILED;
}

enum tls_step tls_link_handshake(struct tls_link *link, struct fault *fault)
{
    operation_begin(link);
    enum tls_step step = operation_end(link, SSL_do_handshake(link->ssl), "TLS handshake", fault);
    if (step == TLS_STEP_DONE) {
        link->established = true;
    } else if (step == TLS_STEP_FAILED || step == TLS_STEP_CLOSED) {
        long verified = SSL_get_verify_result(link->ssl);
        if (link->context->client && link->context->verify != TLS_VERIFY_NONE &&
            verified != X509_V_OK) {
            fault_set(fault, FAULT_REFUSED, (int)verified, "certificate not accepted: %s",
                      X509_verify_cert_error_string(verified));
        }
        if (link->context->client) {
            /* Should the peer have choked on the resumption, the next attempt goes without. */
            tls_sessions_drop(link->context->sessions, strbuf_slice(&link->session_key));
        }
    }
    return step;
}

enum tls_step tls_link_read(struct tls_link *link, void *buffer, size_t size, size_t *got,
                            struct fault *fault)
{
    operation_begin(link);
    *got = 0;
    return operation_end(link, SSL_read_ex(link->ssl, buffer, size, got), "TLS read", fault);
}

enum tls_step tls_link_write(struct tls_link *link, const void *bytes, size_t len, size_t *sent,
                             struct fault *fault)
{
    operation_begin(link);
    *sent = 0;
    enum tls_step step =
        operation_end(link, SSL_write_ex(link->ssl, bytes, len, sent), "TLS write", fault);
    bool again = step == TLS_STEP_WANT_READ || step == TLS_STEP_WANT_WRITE;
    link->retry_len = again ? len : 0;
    return step;
}

size_t tls_link_retry_len(const struct tls_link *link)
{
    return link->retry_len;
}

bool tls_link_pending(const struct tls_link *link)
{
    return SSL_has_pending(link->ssl) == 1;
}

enum tls_step tls_link_close(struct tls_link *link)
{
    operation_begin(link);
    int result = SSL_shutdown(link->ssl);
    return result >= 0 ? TLS_STEP_DONE : operation_end(link, result, "TLS close", NULL);
}

static void subject_text(const SSL *ssl, char *out, size_t size)
{
    out[0] = '\0';
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    BIO *bio = certificate == NULL ? NULL : BIO_new(BIO_s_mem());
    if (bio == NULL) {
        return;
    }
    if (X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0) {
        int len = BIO_read(bio, out, (int)size - 1);
        out[len < 0 ? 0 : len] = '\0';
    }
    BIO_free(bio);
}

bool tls_link_facts(const struct tls_link *link, struct tls_facts *facts)
{
    CHECK_MAGIC(link, LINK_MAGIC);
    memset(facts, 0, sizeof(*facts));
    if (!link->established) {
        return false;
    }
    snprintf(facts->version, sizeof(facts->version), "%s", SSL_get_version(link->ssl));
    snprintf(facts->cipher, sizeof(facts->cipher), "%s", SSL_get_cipher_name(link->ssl));
    facts->resumed = SSL_session_reused(link->ssl) == 1;
    facts->verified = link->named && SSL_get0_peer_certificate(link->ssl) != NULL &&
                      SSL_get_verify_result(link->ssl) == X509_V_OK;
    subject_text(link->ssl, facts->peer_subject, sizeof(facts->peer_subject));
    return true;
}

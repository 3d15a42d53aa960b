/*
 * TLS inside this room: one tls_link per secured connection over its socket, and the cache of a
 * client context's sessions. Contexts are counted, because a connection outlives the configuration
 * that it was made with; all owners of one context run on one thread, so the count is plain.
 */
#ifndef SLUICE_IO_TLS_PRIVATE_H
#define SLUICE_IO_TLS_PRIVATE_H

#include "io/tls.h"

#include <openssl/ssl.h>
#include <sys/socket.h>

struct tls_link;
struct tls_sessions;

enum tls_step {
    TLS_STEP_DONE,
    TLS_STEP_WANT_READ,
    TLS_STEP_WANT_WRITE,
    TLS_STEP_CLOSED, /* close_notify, or the stream ended without one */
    TLS_STEP_FAILED, /* fault is filled */
};

struct tls_context {
    uint32_t magic;
    uint32_t owners;
    SSL_CTX *ssl_ctx;
    bool client;
    enum tls_verify verify;
    struct tls_sessions *sessions; /* clients only */
};

struct tls_context *tls_context_hold(struct tls_context *context);

/* Prepares TLS on the descriptor without touching it. `server_name` is for clients, `remote` for
 * the session cache; both are copied. NULL and fault: the name cannot be used. */
struct tls_link *tls_link_create(struct tls_context *context, int fd, const char *server_name,
                                 const struct sockaddr *remote, socklen_t remote_len,
                                 struct fault *fault);
/* Sends nothing. */
void tls_link_free(struct tls_link **link);

bool tls_link_is_client(const struct tls_link *link);
enum tls_step tls_link_handshake(struct tls_link *link, struct fault *fault);
enum tls_step tls_link_read(struct tls_link *link, void *buffer, size_t size, size_t *got,
                            struct fault *fault);
/* After WANT_*, the call must be repeated with the same bytes (at any place): tls_link_retry_len()
 * of them. */
enum tls_step tls_link_write(struct tls_link *link, const void *bytes, size_t len, size_t *sent,
                             struct fault *fault);
size_t tls_link_retry_len(const struct tls_link *link);
/* True if bytes lie inside that no readiness of the socket will announce. */
bool tls_link_pending(const struct tls_link *link);
/* Sends close_notify; does not wait for the peer's. */
enum tls_step tls_link_close(struct tls_link *link);
bool tls_link_facts(const struct tls_link *link, struct tls_facts *facts);

/* Sessions of a client by key, at most `max`; the one unused for longest goes first. */
struct tls_sessions *tls_sessions_create(size_t max);
void tls_sessions_free(struct tls_sessions **sessions);
/* Takes over the reference; replaces what is there. */
void tls_sessions_put(struct tls_sessions *sessions, struct slice key, SSL_SESSION *session);
/* Lent; NULL when there is none that can still be resumed. */
SSL_SESSION *tls_sessions_get(struct tls_sessions *sessions, struct slice key);
void tls_sessions_drop(struct tls_sessions *sessions, struct slice key);
size_t tls_sessions_count(const struct tls_sessions *sessions);

/* Called by OpenSSL with a reference that 1 keeps. */
int tls_link_new_session(SSL *ssl, SSL_SESSION *session);

/* Fault from OpenSSL's queue (and errno); empties the queue. Returns false. */
bool tls_fault(struct fault *fault, enum fault_kind kind, const char *what);

#endif

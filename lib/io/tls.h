/*
 * TLS settings by OpenSSL 3: one context per policy, shared by the connections of one thread. A
 * client context remembers the sessions of up to 1024 servers (by name and address) and resumes
 * them.
 */
#ifndef SLUICE_IO_TLS_H
#define SLUICE_IO_TLS_H

#include "base/fault.h"
#include "base/slice.h"

struct tls_context;

enum tls_verify {
    TLS_VERIFY_NONE, /* opportunistic: any certificate (RFC 7435) */
    TLS_VERIFY_NAME, /* PKIX with host name (RFC 6125) */
};

struct tls_client_options {
    enum tls_verify verify;
    const char *ca_file;                     /* NULL: the system's */
    const char *certificate_file, *key_file; /* ours, PEM; NULL: none is shown */
    const char *min_version;                 /* "1.2" (default when NULL), "1.3", "1.0" */
};
/* NULL and fault (FAULT_INVALID: a file or version is wrong). Texts are read during the call. */
struct tls_context *tls_client_context(const struct tls_client_options *options,
                                       struct fault *fault);

struct tls_server_options {
    const char *certificate_file; /* PEM chain */
    const char *key_file;         /* PEM */
    const char *min_version;
};
struct tls_context *tls_server_context(const struct tls_server_options *options,
                                       struct fault *fault);
/* Connections that use it keep it alive. Takes NULL, nulls the pointer. */
void tls_context_free(struct tls_context **context);

/* What was negotiated; all NUL-terminated, empty when not secure. */
struct tls_facts {
    char version[16]; /* "TLSv1.3" */
    char cipher[64];
    bool resumed;
    bool verified; /* the chain and name were checked and hold */
    char peer_subject[128];
};

#endif

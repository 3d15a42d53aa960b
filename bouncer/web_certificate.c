#include "bouncer/web_certificate.h"

#include "base/mem.h"
#include "io/tls.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define FILE_MAX_BYTES ((size_t)1 << 20)
#define CHAIN_MAX 16

struct certificate {
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned count;
    gnutls_privkey_t key;
    char *text; /* of the certificate's file */
    struct certificate *before;
};

static _Atomic(struct certificate *) current;

/* NUL-terminated. */
static char *read_file(const char *path, size_t *len, struct fault *fault)
{
    char *text = mem_zalloc(FILE_MAX_BYTES);
    FILE *file = fopen(path, "rb");
    *len = file == NULL ? 0 : fread(text, 1, FILE_MAX_BYTES - 1, file);
    bool whole = file != NULL && ferror(file) == 0 && feof(file) != 0;
    if (file != NULL) {
        (void)fclose(file);
    }
    if (!whole || *len == 0) {
        mem_free(text);
        fault_set(fault, FAULT_INVALID, 0, "%s: cannot be read", path);
        return NULL;
    }
    return text;
}

static void certificate_free(struct certificate *certificate)
{
    for (unsigned i = 0; i < certificate->count; i++) {
        gnutls_pcert_deinit(&certificate->chain[i]);
    }
    if (certificate->key != NULL) {
        gnutls_privkey_deinit(certificate->key);
    }
    mem_free(certificate->text);
    mem_free(certificate);
}

static bool take_chain(struct certificate *certificate, const char *path, size_t len,
                       struct fault *fault)
{
    const gnutls_datum_t pem = {(unsigned char *)certificate->text, (unsigned)len};
    certificate->count = CHAIN_MAX;
    int error = gnutls_pcert_list_import_x509_raw(certificate->chain, &certificate->count, &pem,
                                                  GNUTLS_X509_FMT_PEM, 0);
    if (error < 0) {
        certificate->count = 0;
        return fault_set(fault, FAULT_INVALID, error, "%s: %s", path, gnutls_strerror(error));
    }
    return true;
}

static bool take_key(struct certificate *certificate, const char *path, struct fault *fault)
{
    size_t len;
    char *text = read_file(path, &len, fault);
    if (text == NULL) {
        return false;
    }
    const gnutls_datum_t pem = {(unsigned char *)text, (unsigned)len};
    int error = gnutls_privkey_init(&certificate->key);
    if (error >= 0) {
        error =
            gnutls_privkey_import_x509_raw(certificate->key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    }
    explicit_bzero(text, len);
    mem_free(text);
    return error >= 0 ||
           fault_set(fault, FAULT_INVALID, error, "%s: %s", path, gnutls_strerror(error));
}

/* The same checks, in the same words, as for the certificates of SMTP: both can be read, and the
 * key is that of the certificate. */
static bool check(const char *certificate_file, const char *key_file, struct fault *fault)
{
    const struct tls_server_options options = {.certificate_file = certificate_file,
                                               .key_file = key_file};
    struct tls_context *context = tls_server_context(&options, fault);
    bool good = context != NULL;
    tls_context_free(&context);
    return good;
}

bool web_certificate_load(const char *certificate_file, const char *key_file, struct fault *fault)
{
    struct certificate *before = atomic_load(&current);
    size_t len;
    if (!check(certificate_file, key_file, fault)) {
        return false;
    }
    char *text = read_file(certificate_file, &len, fault);
    if (text == NULL) {
        return false;
    }
    if (before != NULL && strcmp(before->text, text) == 0) {
        mem_free(text); /* and it has no other key */
        return true;
    }
    struct certificate *fresh = mem_zalloc(sizeof(*fresh));
    fresh->text = text;
    if (!take_chain(fresh, certificate_file, len, fault) || !take_key(fresh, key_file, fault)) {
        certificate_free(fresh);
        return false;
    }
    fresh->before = before;
    atomic_store(&current, fresh);
    return true;
}

void web_certificate_end(void)
{
    struct certificate *certificate = atomic_exchange(&current, NULL);
    while (certificate != NULL) {
        struct certificate *before = certificate->before;
        certificate_free(certificate);
        certificate = before;
    }
}

int web_certificate_choose(gnutls_session_t session, const gnutls_datum_t *authorities,
                           int authority_count, const gnutls_pk_algorithm_t *algorithms,
                           int algorithm_count, gnutls_pcert_st **chain, unsigned int *count,
                           gnutls_privkey_t *key)
{
    struct certificate *certificate = atomic_load(&current);
    (void)session;
    (void)authorities;
    (void)authority_count;
    (void)algorithms;
    (void)algorithm_count;
    if (certificate == NULL) {
        return -1;
    }
    *chain = certificate->chain;
    *count = certificate->count;
    *key = certificate->key;
    return 0;
}

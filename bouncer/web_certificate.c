#include "bouncer/web_certificate.h"

#include "base/mem.h"
#include "base/strbuf.h"
#include "io/tls.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX_BYTES ((size_t)1 << 20)
#define CHAIN_MAX 16

struct certificate {
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned count;
    gnutls_privkey_t key;
    struct strbuf text; /* of the certificate's file */
    struct certificate *before;
};

static _Atomic(struct certificate *) current;

static bool read_file(const char *path, struct strbuf *text, struct fault *fault)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    strbuf_init(text, FILE_MAX_BYTES);
    bool good = fd >= 0 && strbuf_add_file(text, fd) && text->len > 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return good || fault_set(fault, FAULT_INVALID, 0, "%s: cannot be read", path);
}

static void certificate_free(struct certificate *certificate)
{
    for (unsigned i = 0; i < certificate->count; i++) {
        gnutls_pcert_deinit(&certificate->chain[i]);
    }
    if (certificate->key != NULL) {
        gnutls_privkey_deinit(certificate->key);
    }
    strbuf_free(&certificate->text);
    mem_free(certificate);
}

static gnutls_datum_t pem_of(const struct strbuf *text)
{
    return (gnutls_datum_t){(unsigned char *)text->ptr, (unsigned)text->len};
}

static bool take_chain(struct certificate *certificate, const char *path, struct fault *fault)
{
    const gnutls_datum_t pem = pem_of(&certificate->text);
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
    struct strbuf text;
    if (!read_file(path, &text, fault)) {
        strbuf_free(&text);
        return false;
    }
    const gnutls_datum_t pem = pem_of(&text);
    int error = gnutls_privkey_init(&certificate->key);
    if (error >= 0) {
        error =
            gnutls_privkey_import_x509_raw(certificate->key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    }
    explicit_bzero(text.ptr, text.len);
    strbuf_free(&text);
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
    if (!check(certificate_file, key_file, fault)) {
        return false;
    }
    struct certificate *fresh = mem_zalloc(sizeof(*fresh));
    if (!read_file(certificate_file, &fresh->text, fault)) {
        certificate_free(fresh);
        return false;
    }
    if (before != NULL && slice_eq(strbuf_slice(&before->text), strbuf_slice(&fresh->text))) {
        certificate_free(fresh); /* and it has no other key */
        return true;
    }
    if (!take_chain(fresh, certificate_file, fault) || !take_key(fresh, key_file, fault)) {
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

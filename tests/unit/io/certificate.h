/*
 * Self-signed certificates made on the spot, so that no test depends on a stored file or its
 * expiry.
 */
#ifndef SLUICE_TESTS_IO_CERTIFICATE_H
#define SLUICE_TESTS_IO_CERTIFICATE_H

#include "unit/io/harness.h"
#include "unit/temp.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct certificate {
    char certificate_file[TEMP_NAME_MAX];
    char key_file[TEMP_NAME_MAX];
};

static inline FILE *certificate_open(char path[TEMP_NAME_MAX])
{
    int fd = mkstemp(temp_name(path));
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    assert_non_null(file);
    return file;
}

static inline void certificate_extend(X509 *x509, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, x509, x509, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(x509, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* `alt_names` as in openssl.cnf: "DNS:mx.example.test,IP:127.0.0.1". */
static inline void certificate_make(struct certificate *certificate, const char *alt_names)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *x509 = X509_new();
    assert_non_null(key);
    assert_non_null(x509);
    X509_set_version(x509, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
    X509_set_pubkey(x509, key);
    X509_NAME *name = X509_get_subject_name(x509);
    X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"Sluice test", -1,
                               -1, 0);
    X509_set_issuer_name(x509, name);
    certificate_extend(x509, NID_basic_constraints, "critical,CA:TRUE");
    certificate_extend(x509, NID_subject_alt_name, alt_names);
    assert_true(X509_sign(x509, key, EVP_sha256()) > 0);

    FILE *file = certificate_open(certificate->certificate_file);
    assert_int_equal(PEM_write_X509(file, x509), 1);
    fclose(file);
    file = certificate_open(certificate->key_file);
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    X509_free(x509);
    EVP_PKEY_free(key);
}

static inline void certificate_remove(struct certificate *certificate)
{
    unlink(certificate->certificate_file);
    unlink(certificate->key_file);
}

#endif

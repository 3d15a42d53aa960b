/*
 * Certificate and key of the HTTPS listeners, which may be replaced while these run: GnuTLS, which
 * libmicrohttpd speaks TLS with, asks for them at each handshake. It does so without saying for
 * which listener, so there is one for the process. One that was replaced stays in memory until the
 * end, as a handshake may still use it: some kilobytes each time that the files are other ones.
 */
#ifndef SLUICE_BOUNCER_WEB_CERTIFICATE_H
#define SLUICE_BOUNCER_WEB_CERTIFICATE_H

#include "base/fault.h"

#include <gnutls/abstract.h>

/* Reads the PEM files and shows them from now on. False: the fault names the file, and what was
 * shown before stays. One thread at a time. */
bool web_certificate_load(const char *certificate_file, const char *key_file, struct fault *fault);
/* When no listener runs any more. */
void web_certificate_end(void);

/* For MHD_OPTION_HTTPS_CERT_CALLBACK; any thread. */
gnutls_certificate_retrieve_function2 web_certificate_choose;

#endif

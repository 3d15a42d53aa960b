/*
 * Secrets that stand in files of their own, so that the configuration itself may be read by many.
 */
#ifndef SLUICE_POLICY_CONFIG_SECRET_PRIVATE_H
#define SLUICE_POLICY_CONFIG_SECRET_PRIVATE_H

#include "base/fault.h"
#include "base/strbuf.h"

#define CONFIG_SECRET_MAX ((size_t)64 * 1024)

/* What the file holds, without line ends behind it. A relative path starts from `folder` ("" or
 * with a slash at its end). `out` is empty. False: `why` names the file and what went wrong, never
 * its content. */
bool config_secret_read(const char *folder, struct slice path, struct strbuf *out,
                        struct fault *why);

#endif

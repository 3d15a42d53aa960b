/* The configuration's VERP keys, ready to sign and to read. */
#ifndef SLUICE_POLICY_VERP_KEYS_H
#define SLUICE_POLICY_VERP_KEYS_H

#include "mail/verp.h"
#include "policy/config.h"

/* NULL and fault: two keys of one id. Without keys: a set that signs nothing. */
struct verp_keys *config_verp_keys(const struct config *config, struct fault *fault);
/* Reads the configuration's file again, of which only verp.keys count. False and fault: it is wrong
 * somewhere, and the keys stay as they are. */
bool config_verp_keys_reload(struct verp_keys *keys, const char *path, struct fault *fault);

#endif

#include "policy/verp_keys.h"

struct verp_keys *config_verp_keys(const struct config *config, struct fault *fault)
{
    const struct config_verp *verp = &config->verp;
    struct verp_key keys[VERP_KEYS_MAX];
    if (verp->key_count > ARRAY_LEN(keys)) {
        fault_set(fault, FAULT_INVALID, 0, "verp.keys: more than %d", VERP_KEYS_MAX);
        return NULL;
    }
    for (size_t i = 0; i < verp->key_count; i++) {
        keys[i] = (struct verp_key){
            .id = (uint8_t)verp->keys[i].id,
            .secret = slice_cstr(verp->keys[i].secret),
            .not_before_ms = verp->keys[i].not_before_ms,
            .not_after_ms = verp->keys[i].not_after_ms,
        };
    }
    struct verp_keys *made = verp_keys_create(keys, verp->key_count, fault);
    if (made == NULL) {
        fault_prefix(fault, "verp.keys");
    }
    return made;
}

bool config_verp_keys_reload(struct verp_keys *keys, const char *path, struct fault *fault)
{
    struct config *config = config_load(path, fault);
    struct verp_keys *fresh = config == NULL ? NULL : config_verp_keys(config, fault);
    config_free(&config);
    if (fresh == NULL) {
        return false;
    }
    verp_keys_replace(keys, &fresh);
    return true;
}

#include "producer/password.h"

#include <argon2.h>
#include <errno.h>
#include <sys/random.h>

#define COST_KIB 12288
#define COST_PASSES 3
#define COST_LANES 1
#define SALT_BYTES 16
#define HASH_BYTES 32
#define ENCODED_MIN 11 /* 8 bytes, the least that argon2 takes as salt */
#define ENCODED_MAX 86 /* 64 bytes */

/* "name=" digits, within bounds; *rest goes behind the comma. */
static bool take_cost(struct slice *rest, struct slice name, uint64_t least, uint64_t most)
{
    uint64_t value;
    struct slice item = slice_cut(rest, ',');
    return slice_starts_with(item, name) && slice_to_u64(slice_skip(item, name.len), &value) &&
           value >= least && value <= most;
}

static bool is_base64(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = ascii_lower_byte(s.ptr[i]);
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '+' && c != '/') {
            return false;
        }
    }
    return s.len >= ENCODED_MIN && s.len <= ENCODED_MAX;
}

bool password_hash_valid(struct slice hash, struct fault *fault)
{
    struct slice rest = hash;
    if (hash.len >= PASSWORD_HASH_MAX || slice_cut(&rest, '$').len != 0 ||
        !slice_eq(slice_cut(&rest, '$'), SLICE("argon2id")) ||
        !slice_eq(slice_cut(&rest, '$'), SLICE("v=19"))) {
        return fault_set(fault, FAULT_INVALID, 0,
                         "not a hash of argon2id; sluice-producer --hash-password makes one");
    }
    struct slice costs = slice_cut(&rest, '$');
    if (!take_cost(&costs, SLICE("m="), 64, 262144) || !take_cost(&costs, SLICE("t="), 1, 32) ||
        !take_cost(&costs, SLICE("p="), 1, 8) || costs.ptr != NULL) {
        return fault_set(fault, FAULT_INVALID, 0,
                         "costs of the hash not within m=64…262144,t=1…32,p=1…8");
    }
    struct slice salt = slice_cut(&rest, '$');
    struct slice digest = slice_cut(&rest, '$');
    return (rest.ptr == NULL && is_base64(salt) && is_base64(digest)) ||
           fault_set(fault, FAULT_INVALID, 0, "salt or digest of the hash is damaged");
}

bool password_hash(struct slice password, char out[PASSWORD_HASH_MAX], struct fault *fault)
{
    uint8_t salt[SALT_BYTES];
    if (password.len == 0 || password.len > PASSWORD_MAX) {
        return fault_set(fault, FAULT_INVALID, 0, "a password has 1 to %d bytes", PASSWORD_MAX);
    }
    if (getrandom(salt, sizeof(salt), 0) != (ssize_t)sizeof(salt)) {
        return fault_set_errno(fault, errno, "random numbers");
    }
    int result =
        argon2id_hash_encoded(COST_PASSES, COST_KIB, COST_LANES, password.ptr, password.len, salt,
                              sizeof(salt), HASH_BYTES, out, PASSWORD_HASH_MAX);
    return result == ARGON2_OK ||
           fault_set(fault, FAULT_SYSTEM, result, "argon2: %s", argon2_error_message(result));
}

bool password_matches(const char *hash, struct slice password)
{
    return password.len <= PASSWORD_MAX &&
           argon2id_verify(hash, password.ptr, password.len) == ARGON2_OK;
}

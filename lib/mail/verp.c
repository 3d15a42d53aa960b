/*
 * See verp.h. The HMAC contexts are made once for each key and copied for each use: setting up a
 * key costs OpenSSL ten times what the hash itself does.
 */
#include "mail/verp.h"

#include "base/hash.h"
#include "base/mem.h"
#include "mail/organisation.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <openssl/params.h>

#define VERP_MAGIC 0x56455250u
#define VERSION 1
#define EPOCH_S INT64_C(1577836800) /* 2020-01-01T00:00:00Z */
#define FUTURE_MS INT64_C(3600000)  /* clocks differ */
#define RECIPIENT_BITS 28
#define ROUTE_BITS 14

enum { AT_ID = 1, AT_BITS = 17, AT_FACTS = 26, AT_MAC = 30, TOKEN_BYTES = 40, MAC_BYTES = 10 };

struct key {
    EVP_MAC_CTX *mac; /* NULL: there is none of this id */
    int64_t not_before_ms, not_after_ms;
};

struct verp_keys {
    uint32_t magic;
    pthread_rwlock_t *lock; /* of `keys` */
    struct key *keys;       /* VERP_KEYS_MAX, by id */
};

/* ---- keys ---- */

static EVP_MAC_CTX *make_mac(struct slice secret)
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *mac = algorithm == NULL ? NULL : EVP_MAC_CTX_new(algorithm);
    EVP_MAC_free(algorithm);
    CHECK(mac != NULL);
    CHECK(EVP_MAC_init(mac, (const unsigned char *)secret.ptr, secret.len, params) == 1);
    return mac;
}

struct verp_keys *verp_keys_create(const struct verp_key *keys, size_t count, struct fault *fault)
{
    struct verp_keys *made = mem_zalloc(sizeof(*made));
    made->magic = VERP_MAGIC;
    made->lock = mem_zalloc(sizeof(*made->lock));
    CHECK(pthread_rwlock_init(made->lock, NULL) == 0);
    made->keys = mem_calloc(VERP_KEYS_MAX, sizeof(*made->keys));
    for (size_t i = 0; i < count; i++) {
        const struct verp_key *key = &keys[i];
        const char *problem = NULL;
        if (key->id >= VERP_KEYS_MAX) {
            problem = "is above 15";
        } else if (made->keys[key->id].mac != NULL) {
            problem = "stands there twice";
        } else if (key->secret.len < VERP_SECRET_MIN) {
            problem = "has a secret of less than 16 bytes";
        }
        if (problem != NULL) {
            verp_keys_free(&made);
            fault_set(fault, FAULT_INVALID, 0, "key id %u %s", key->id, problem);
            return NULL;
        }
        made->keys[key->id] =
            (struct key){make_mac(key->secret), key->not_before_ms, key->not_after_ms};
    }
    return made;
}

void verp_keys_free(struct verp_keys **handle)
{
    struct verp_keys *keys = *handle;
    if (keys == NULL) {
        return;
    }
    CHECK_MAGIC(keys, VERP_MAGIC);
    for (size_t i = 0; i < VERP_KEYS_MAX; i++) {
        EVP_MAC_CTX_free(keys->keys[i].mac);
    }
    pthread_rwlock_destroy(keys->lock);
    mem_free(keys->lock);
    mem_free(keys->keys);
    keys->magic = 0;
    mem_free(keys);
    *handle = NULL;
}

void verp_keys_replace(struct verp_keys *keys, struct verp_keys **fresh)
{
    CHECK_MAGIC(keys, VERP_MAGIC);
    CHECK_MAGIC(*fresh, VERP_MAGIC);
    struct key *old = keys->keys;
    CHECK(pthread_rwlock_wrlock(keys->lock) == 0);
    keys->keys = (*fresh)->keys;
    CHECK(pthread_rwlock_unlock(keys->lock) == 0);
    (*fresh)->keys = old;
    verp_keys_free(fresh);
}

static bool signs_at(const struct key *key, int64_t ms)
{
    return key->mac != NULL && ms >= key->not_before_ms &&
           (key->not_after_ms == 0 || ms < key->not_after_ms);
}

static void compute_mac(const struct key *key, const uint8_t token[TOKEN_BYTES],
                        uint8_t out[MAC_BYTES])
{
    uint8_t whole[32];
    size_t len = 0;
    EVP_MAC_CTX *mac = EVP_MAC_CTX_dup(key->mac);
    CHECK(mac != NULL);
    CHECK(EVP_MAC_update(mac, token, AT_MAC) == 1);
    CHECK(EVP_MAC_final(mac, whole, &len, sizeof(whole)) == 1 && len == sizeof(whole));
    EVP_MAC_CTX_free(mac);
    memcpy(out, whole, MAC_BYTES);
}

/* ---- base32 ---- */

static void encode(const uint8_t bytes[TOKEN_BYTES], char out[VERP_LOCAL_LEN + 1])
{
    static const char ALPHABET[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint32_t bits = 0;
    unsigned held = 0;
    size_t at = 0;
    for (size_t i = 0; i < TOKEN_BYTES; i++) {
        bits = bits << 8 | bytes[i];
        held += 8;
        while (held >= 5) {
            held -= 5;
            out[at++] = ALPHABET[bits >> held & 31u];
        }
    }
    out[at] = '\0';
}

static int value_of(char c)
{
    char lower = ascii_lower_byte(c);
    if (lower >= 'a' && lower <= 'z') {
        return lower - 'a';
    }
    return c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

static bool decode(struct slice local, uint8_t bytes[TOKEN_BYTES])
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t at = 0;
    if (local.len != VERP_LOCAL_LEN) {
        return false;
    }
    for (size_t i = 0; i < local.len; i++) {
        int value = value_of(local.ptr[i]);
        if (value < 0) {
            return false;
        }
        bits = bits << 5 | (uint32_t)value;
        held += 5;
        if (held >= 8) {
            held -= 8;
            bytes[at++] = (uint8_t)(bits >> held);
        }
    }
    return true;
}

/* ---- tokens ---- */

static void put(uint8_t *at, size_t bytes, uint64_t value)
{
    for (size_t i = bytes; i > 0; i--, value >>= 8) {
        at[i - 1] = (uint8_t)value;
    }
}

static uint64_t get(const uint8_t *at, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

uint32_t verp_recipient(struct slice address)
{
    char lower[320]; /* longer ones are no addresses */
    struct slice text = slice_head(address, sizeof(lower));
    if (text.len > 0) {
        memcpy(lower, text.ptr, text.len);
    }
    ascii_lower(lower, text.len);
    return (uint32_t)hash_stable(slice_of(lower, text.len)) & ((1u << RECIPIENT_BITS) - 1);
}

uint16_t verp_route(struct slice host)
{
    char lower[256];
    struct slice text = slice_head(mail_organisation(host), sizeof(lower));
    if (text.len > 0) {
        memcpy(lower, text.ptr, text.len);
    }
    ascii_lower(lower, text.len);
    return (uint16_t)(hash_stable(slice_of(lower, text.len)) & ((1u << ROUTE_BITS) - 1));
}

static bool sign(const struct key *keys, const struct verp_token *token, struct wall_time now,
                 char out[VERP_LOCAL_LEN + 1])
{
    const struct key *key = NULL;
    uint8_t bytes[TOKEN_BYTES];
    for (size_t i = 0; i < VERP_KEYS_MAX; i++) {
        const struct key *other = &keys[i];
        if (signs_at(other, now.ms) && (key == NULL || other->not_before_ms > key->not_before_ms)) {
            key = other;
        }
    }
    if (key == NULL) {
        return false;
    }
    uint64_t seconds = (uint64_t)(token->sent_ms / 1000 - EPOCH_S) & ((1u << 30) - 1);
    bytes[0] = (uint8_t)(VERSION << 6 | (unsigned)token->purpose << 4 | (unsigned)(key - keys));
    memcpy(bytes + AT_ID, token->message.bytes, sizeof(token->message.bytes));
    put(bytes + AT_BITS, 1, seconds >> 22);
    put(bytes + AT_BITS + 1, 8, seconds << 42 | (uint64_t)token->recipient << 14 | token->route);
    put(bytes + AT_FACTS, 4, token->facts);
    compute_mac(key, bytes, bytes + AT_MAC);
    encode(bytes, out);
    return true;
}

bool verp_sign(const struct verp_keys *keys, const struct verp_token *token, struct wall_time now,
               char out[VERP_LOCAL_LEN + 1])
{
    CHECK_MAGIC(keys, VERP_MAGIC);
    CHECK(pthread_rwlock_rdlock(keys->lock) == 0);
    bool signed_ = sign(keys->keys, token, now, out);
    CHECK(pthread_rwlock_unlock(keys->lock) == 0);
    return signed_;
}

/* The token is read; was it signed by its key? */
static enum verp_verdict judge(const struct key *key, const uint8_t bytes[TOKEN_BYTES],
                               struct wall_time now, int64_t max_age_ms,
                               const struct verp_token *token)
{
    uint8_t mac[MAC_BYTES];
    if (key->mac == NULL) {
        return VERP_KEY_UNKNOWN;
    }
    compute_mac(key, bytes, mac);
    if (CRYPTO_memcmp(mac, bytes + AT_MAC, MAC_BYTES) != 0) {
        return VERP_FORGED;
    }
    if (token->sent_ms > now.ms + FUTURE_MS || token->sent_ms < now.ms - max_age_ms ||
        token->sent_ms + 1000 <= key->not_before_ms ||
        (key->not_after_ms != 0 && token->sent_ms >= key->not_after_ms)) {
        return VERP_EXPIRED;
    }
    return VERP_GOOD;
}

enum verp_verdict verp_read(const struct verp_keys *keys, struct slice local, struct wall_time now,
                            int64_t max_age_ms, struct verp_token *token)
{
    uint8_t bytes[TOKEN_BYTES];
    CHECK_MAGIC(keys, VERP_MAGIC);
    if (!decode(local, bytes) || bytes[0] >> 6 != VERSION ||
        (bytes[0] >> 4 & 3) > VERP_UNSUBSCRIBE) {
        return VERP_FOREIGN;
    }
    uint64_t low = get(bytes + AT_BITS + 1, 8);
    uint64_t seconds = get(bytes + AT_BITS, 1) << 22 | low >> 42;
    *token = (struct verp_token){
        .purpose = (enum verp_purpose)(bytes[0] >> 4 & 3),
        .sent_ms = ((int64_t)seconds + EPOCH_S) * 1000,
        .recipient = (uint32_t)(low >> 14) & ((1u << RECIPIENT_BITS) - 1),
        .route = (uint16_t)(low & ((1u << ROUTE_BITS) - 1)),
        .facts = (uint32_t)get(bytes + AT_FACTS, 4),
    };
    memcpy(token->message.bytes, bytes + AT_ID, sizeof(token->message.bytes));
    CHECK(pthread_rwlock_rdlock(keys->lock) == 0);
    enum verp_verdict verdict = judge(&keys->keys[bytes[0] & 15], bytes, now, max_age_ms, token);
    CHECK(pthread_rwlock_unlock(keys->lock) == 0);
    return verdict;
}

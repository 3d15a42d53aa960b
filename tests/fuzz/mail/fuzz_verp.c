/* Local parts of strangers: none is believed, and reading one twice says the same. */
#include "mail/organisation.h"
#include "mail/verp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct verp_keys *keys;
    const struct wall_time now = {INT64_C(1795500000000)};
    struct slice local = slice_of(data, size);
    struct verp_token first, second;
    if (keys == NULL) {
        const struct verp_key key = {.id = 0, .secret = SLICE("a secret that nobody knows")};
        keys = verp_keys_create(&key, 1, NULL);
    }
    enum verp_verdict verdict = verp_read(keys, local, now, INT64_C(86400000), &first);
    CHECK(verdict != VERP_GOOD);
    CHECK(verp_read(keys, local, now, INT64_C(86400000), &second) == verdict);
    struct slice organisation = mail_organisation(local);
    CHECK(organisation.len <= local.len);
    (void)verp_route(local);
    (void)verp_recipient(local);
    return 0;
}

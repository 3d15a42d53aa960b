#include "suppress/check.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "schema/suppression.h"
#include "suppress/policy.h"

#define CHECKER_MAGIC 0x53555043u

struct suppress_checker {
    uint32_t magic;
    const struct suppress_set *set;
    struct suppress_reader *reader;
    const struct config *config;
};

struct suppress_checker *suppress_checker_open(struct suppress_set *set,
                                               const struct config *config)
{
    struct suppress_checker *checker = mem_zalloc(sizeof(*checker));
    checker->magic = CHECKER_MAGIC;
    checker->set = set;
    checker->reader = suppress_reader_open(set);
    checker->config = config;
    return checker;
}

void suppress_checker_close(struct suppress_checker **handle)
{
    struct suppress_checker *checker = *handle;
    if (checker == NULL) {
        return;
    }
    CHECK_MAGIC(checker, CHECKER_MAGIC);
    suppress_reader_close(&checker->reader);
    checker->magic = 0;
    mem_free(checker);
    *handle = NULL;
}

#define KEYS_MAX 3

static uint64_t hash_of(const struct suppress_checker *checker, const struct suppress_key *key)
{
    char text[SUPPRESS_KEY_MAX];
    return suppress_set_hash(checker->set, slice_of(text, suppress_key_write(key, text)));
}

/* For all tenants, for the tenant, for the list, as far as there are such. */
static bool look_up(struct suppress_checker *checker, struct slice tenant, struct slice list,
                    struct slice address, struct slice domain, int64_t now_ms,
                    struct suppress_found *found)
{
    char room[SUPPRESS_ADDRESS_MAX + 1];
    struct suppress_key key = {.address = SLICE_NULL};
    uint64_t hashes[KEYS_MAX];
    size_t count = 0;
    CHECK_MAGIC(checker, CHECKER_MAGIC);
    if (suppress_set_count(checker->set) == 0) {
        return false;
    }
    if (!suppress_address_fold_known(address, domain, room, &key.address)) {
        return false; /* no entry can be about it */
    }
    hashes[count++] = hash_of(checker, &key);
    if (tenant.len > 0 && suppress_tenant_valid(tenant)) {
        key.tenant = tenant;
        hashes[count++] = hash_of(checker, &key);
        if (list.len > 0) {
            key.list = list;
            hashes[count++] = hash_of(checker, &key);
        }
    }
    size_t first =
        suppress_reader_look(checker->reader, hashes, count, suppress_today(now_ms), &found->mark);
    found->key = (struct suppress_key){
        .tenant = first > 0 ? key.tenant : SLICE_NULL,
        .list = first > 1 ? key.list : SLICE_NULL,
        .address = address,
    };
    return first < count;
}

bool suppress_check_address(struct suppress_checker *checker, struct slice tenant,
                            struct slice address, struct slice domain, int64_t now_ms,
                            struct suppress_found *found)
{
    return look_up(checker, tenant, SLICE_NULL, address, domain, now_ms, found);
}

bool suppress_check_message(struct suppress_checker *checker, const struct message *message,
                            size_t recipient, int64_t now_ms, struct suppress_found *found)
{
    const struct message_recipient *one = &message->recipients[recipient];
    const struct config_suppression *policy =
        config_suppression_for(checker->config, message->tenant);
    struct slice list = suppress_list_of(policy, message->metadata, message->metadata_count,
                                         one->metadata, one->metadata_count);
    return look_up(checker, message->tenant, list, one->address, message->domain, now_ms, found);
}

struct slice suppress_found_text(const struct suppress_found *found,
                                 char out[SUPPRESS_FOUND_TEXT_MAX])
{
    char date[WALL_TEXT_MAX];
    const struct suppress_key *key = &found->key;
    struct strbuf text;
    strbuf_init(&text, SUPPRESS_FOUND_TEXT_MAX - 1);
    strbuf_add_cstr(&text, suppression_reason_name(found->mark.reason));
    if (key->tenant.len == 0) {
        strbuf_add_cstr(&text, ", all tenants");
    } else {
        strbuf_addf(&text, ", tenant %.*s", SLICE_FMT(key->tenant));
    }
    if (key->list.len > 0) {
        strbuf_addf(&text, ", list %.*s", SLICE_FMT(key->list));
    }
    if (found->mark.until_day > 0) {
        const struct wall_time until = {found->mark.until_day * SUPPRESS_DAY_MS};
        strbuf_addf(&text, ", until %.10s", wall_time_format(until, date).ptr);
    }
    memcpy(out, text.ptr, text.len + 1);
    struct slice result = slice_of(out, text.len);
    strbuf_free(&text);
    return result;
}

/* Which mail gets List-Unsubscribe fields. */
#include "worker/unsubscribe.h"

#include "unit/cmocka_all.h"
#include "worker/worker.h"

static const char *domain = "back.test";
static struct config_verp_key key = {.id = 0, .secret = "long enough to be a secret"};
static struct config_tenant tenants[] = {{.name = "shop", .list_unsubscribe = true},
                                         {.name = "other"}};
static struct config_stream streams[] = {{.name = "tx"},
                                         {.name = "news", .list_unsubscribe = true}};

static struct config config;
static struct worker worker = {.config = &config};
static struct message_pair word = {{UNSUBSCRIBE_METADATA, sizeof(UNSUBSCRIBE_METADATA) - 1}, {0}};

static bool wanted(const char *tenant, const struct config_stream *stream, const char *said)
{
    struct mail mail = {.worker = &worker, .stream = stream};
    mail.message.tenant = slice_cstr(tenant);
    mail.message.content = SLICE("Subject: x\r\n\r\nList-Unsubscribe: no field\r\n");
    word.value = slice_cstr(said);
    mail.message.metadata = &word;
    mail.message.metadata_count = said != NULL;
    return unsubscribe_wanted(&mail);
}

static int set_up(void **state)
{
    (void)state;
    config = (struct config){
        .tenants = tenants,
        .tenant_count = ARRAY_LEN(tenants),
        .verp = {.domains = &domain, .domain_count = 1, .keys = &key, .key_count = 1},
        .unsubscribe = {.mailto = true}};
    return 0;
}

static void who_asks(void **state)
{
    (void)state;
    assert_true(wanted("shop", &streams[0], NULL));
    assert_false(wanted("other", &streams[0], NULL));
    assert_false(wanted("unknown", NULL, NULL));
    assert_true(wanted("other", &streams[1], NULL));
    assert_true(wanted("other", &streams[0], "TRUE"));
    assert_false(wanted("shop", &streams[1], "false"));
}

static void own_field(void **state)
{
    struct mail mail = {.worker = &worker, .stream = &streams[1]};
    (void)state;
    mail.message.content = SLICE("list-unsubscribe: <https://own.example>\r\n\r\n");
    assert_false(unsubscribe_wanted(&mail));
}

static void no_way(void **state)
{
    (void)state;
    config.unsubscribe.mailto = false;
    assert_false(wanted("shop", NULL, NULL));
    config.unsubscribe.url = "https://leave.example";
    assert_true(wanted("shop", NULL, NULL));
    config.verp.domain_count = 0; /* a link needs none */
    assert_true(wanted("shop", NULL, NULL));
    config.verp.key_count = 0;
    assert_false(wanted("shop", NULL, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(who_asks, set_up),
        cmocka_unit_test_setup(own_field, set_up),
        cmocka_unit_test_setup(no_way, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

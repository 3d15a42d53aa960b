/* From returned mail to events: whose it is, and when it is not believed. */
#include "bouncer/judge.h"

#include "base/mem.h"

#include "unit/cmocka_all.h"

#define DAY_MS INT64_C(86400000)
static const struct wall_time NOW = {INT64_C(1795500000000)};
static const char *domains[] = {"r.example.com"};
static const struct config config = {
    .verp = {.domains = domains, .domain_count = 1, .max_age_ms = 14 * DAY_MS}};

static struct verp_keys *keys;
static struct classifier *classifier;
static struct classify_scratch *scratch;
static struct table *table;
static struct verp_token token;
static char address[VERP_LOCAL_LEN + 40];

/* What was emitted; texts are copied, as they live as long as the call. */
static struct {
    size_t count;
    enum event_type type;
    char id[50], matched[30], suspicious[30], tenant[30], recipient[60], reported[60], klass[30],
        list[30];
} seen;

static void copy(char *out, size_t size, struct slice text)
{
    snprintf(out, size, "%.*s", SLICE_FMT(text));
}

static void keep(void *owner, const struct event *event)
{
    (void)owner;
    seen.count++;
    seen.type = event->type;
    copy(seen.id, sizeof(seen.id), event->event_id);
    copy(seen.matched, sizeof(seen.matched), event->returned.matched);
    copy(seen.suspicious, sizeof(seen.suspicious), event->returned.suspicious);
    copy(seen.tenant, sizeof(seen.tenant), event->tenant);
    copy(seen.recipient, sizeof(seen.recipient), event->recipient);
    copy(seen.reported, sizeof(seen.reported), event->returned.reported_recipient);
    copy(seen.klass, sizeof(seen.klass), event->returned.bounce_class);
    copy(seen.list, sizeof(seen.list), event->returned.list);
}

static struct returned_recipient refused(const char *who)
{
    return (struct returned_recipient){
        .address = slice_cstr(who),
        .action = RETURNED_ACTION_FAILED,
        .phase = RETURNED_PHASE_RCPT,
        .code = 550,
        .status = SLICE("5.1.1"),
        .diagnostic_type = SLICE("smtp"),
        .text = SLICE("550 5.1.1 User unknown"),
    };
}

static enum judge_verdict judge_one(struct returned_recipient *recipients, size_t count,
                                    const char *to, const char *peer_name, bool wait)
{
    const struct judge judge = {.config = &config,
                                .keys = keys,
                                .classifier = classifier,
                                .scratch = scratch,
                                .table = table,
                                .node = SLICE("node")};
    const struct returned_mail mail = {
        .kind = RETURNED_BOUNCE, .recipients = recipients, .recipient_count = count};
    struct address_match match;
    address_find(&config, keys, slice_cstr(to), NOW, &match);
    const struct judge_input input = {
        .mail = &mail, .to = &match, .peer_name = slice_cstr(peer_name), .now = NOW};
    memset(&seen, 0, sizeof(seen));
    return judge_mail(&judge, &input, wait, keep, NULL);
}

static void facts_are_waited_for(void **state)
{
    struct returned_recipient one = refused("user@example.org");
    const struct event facts = {.tenant = SLICE("shop"), .klass = SLICE("bulk")};
    char key[FACTS_KEY_LEN + 1];
    struct strbuf value;
    (void)state;
    assert_int_equal(judge_one(&one, 1, address, "mx.example.org", true), JUDGE_FACTS_MISSING);
    assert_int_equal(seen.count, 0);
    assert_int_equal(judge_one(&one, 1, address, "mx.example.org", false), JUDGE_DONE);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.tenant, "");
    strbuf_init(&value, 4096);
    assert_true(facts_encode(&facts, 0, key, &value));
    table_add_facts(table, slice_cstr(key), strbuf_slice(&value));
    strbuf_free(&value);
    assert_int_equal(judge_one(&one, 1, address, "mx.example.org", true), JUDGE_DONE);
    assert_string_equal(seen.tenant, "shop");
    assert_int_equal(seen.type, EVENT_BOUNCED_LATE);
    assert_string_equal(seen.klass, "user-unknown");
    assert_string_equal(seen.matched, "verp");
    assert_string_equal(seen.suspicious, "");
    assert_string_equal(seen.recipient, "user@example.org");
}

/* Of many recipients only the one that the token was written for; the same event each time. */
static void one_recipient_is_proven(void **state)
{
    struct returned_recipient many[] = {refused("victim@example.org"), refused("user@example.org")};
    char first[50];
    (void)state;
    (void)judge_one(many, 2, address, "mx.example.org", false);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.recipient, "user@example.org");
    memcpy(first, seen.id, sizeof(first));
    (void)judge_one(&many[1], 1, address, "mx2.example.org", false);
    assert_string_equal(seen.id, first);
    /* Nobody whom the token does not prove is named as our recipient. */
    (void)judge_one(&many[0], 1, address, "mx.example.org", false);
    assert_string_equal(seen.recipient, "");
    assert_string_equal(seen.reported, "victim@example.org");
}

/* The facts name the list that the mail was for; without a signature the returned header may. */
static void the_list_is_told(void **state)
{
    const struct message_pair list = {SLICE("list"), SLICE("news")};
    const struct event facts = {.tenant = SLICE("shop"), .metadata = &list, .metadata_count = 1};
    const struct judge judge = {.config = &config,
                                .keys = keys,
                                .classifier = classifier,
                                .scratch = scratch,
                                .table = table,
                                .node = SLICE("node")};
    struct returned_mail mail = {.kind = RETURNED_COMPLAINT};
    struct verp_token of_list = token;
    struct address_match match = {.class = ADDRESS_FEEDBACK};
    struct judge_input input = {.mail = &mail, .to = &match, .now = NOW};
    char key[FACTS_KEY_LEN + 1], local[VERP_LOCAL_LEN + 1], path[sizeof(address)];
    struct strbuf value;
    (void)state;
    strbuf_init(&value, 4096);
    assert_true(facts_encode(&facts, 0, key, &value));
    table_add_facts(table, slice_cstr(key), strbuf_slice(&value));
    strbuf_free(&value);
    of_list.facts = facts_number(facts_hash(&facts));
    assert_true(verp_sign(keys, &of_list, NOW, local));
    snprintf(path, sizeof(path), "%s@r.example.com", local);
    mail.original.return_path = slice_cstr(path);
    mail.original.list = SLICE("forged");
    memset(&seen, 0, sizeof(seen));
    assert_int_equal(judge_mail(&judge, &input, true, keep, NULL), JUDGE_DONE);
    assert_int_equal(seen.type, EVENT_COMPLAINT);
    assert_string_equal(seen.matched, "verp");
    assert_string_equal(seen.list, "news");
    mail.original = (struct returned_original){.tenant = SLICE("shop"), .list = SLICE("offers")};
    assert_int_equal(judge_mail(&judge, &input, true, keep, NULL), JUDGE_DONE);
    assert_string_equal(seen.matched, "header");
    assert_string_equal(seen.list, "offers");
}

static void doubts(void **state)
{
    struct returned_recipient one = refused("user@example.org");
    char forged[sizeof(address)];
    (void)state;
    (void)judge_one(&one, 1, address, "mx.evil.example", false);
    assert_string_equal(seen.suspicious, "route");
    (void)judge_one(&one, 1, "postmaster@r.example.com", "mx.example.org", false);
    assert_string_equal(seen.suspicious, "unmatched");
    memcpy(forged, address, sizeof(forged));
    forged[40] = forged[40] == 'a' ? 'b' : 'a';
    (void)judge_one(&one, 1, forged, "mx.example.org", false);
    assert_string_equal(seen.suspicious, "signature");
    assert_string_equal(seen.matched, "returned");
}

/* A report that only names a tenant, as everybody can write one: its kind and the address that it
 * came to. */
static void unsigned_reports(void **state)
{
    static const struct {
        enum returned_kind kind;
        enum address_class class;
        const char *suspicious;
    } cases[] = {
        {RETURNED_BOUNCE, ADDRESS_BOUNCE, ""},
        {RETURNED_BOUNCE, ADDRESS_FEEDBACK, "unsigned"},
        {RETURNED_BOUNCE, ADDRESS_ROLE, "unsigned"},
        {RETURNED_COMPLAINT, ADDRESS_FEEDBACK, ""},
        {RETURNED_COMPLAINT, ADDRESS_ROLE, "unsigned"},
        {RETURNED_COMPLAINT, ADDRESS_BOUNCE, "unsigned"},
        {RETURNED_COMPLAINT, ADDRESS_UNSUBSCRIBE, "unsigned"},
        {RETURNED_UNSUBSCRIBE, ADDRESS_UNSUBSCRIBE, ""},
        {RETURNED_OPT_OUT, ADDRESS_FEEDBACK, ""},
        {RETURNED_OPT_OUT, ADDRESS_ROLE, "unsigned"},
        {RETURNED_UNSUBSCRIBE, ADDRESS_BOUNCE, "unsigned"},
    };
    const struct judge judge = {.config = &config,
                                .keys = keys,
                                .classifier = classifier,
                                .scratch = scratch,
                                .table = table,
                                .node = SLICE("node")};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct returned_recipient one = refused("user@example.org");
        const struct returned_mail mail = {
            .kind = cases[i].kind,
            .recipients = &one,
            .recipient_count = 1,
            .original = {.tenant = SLICE("shop"), .to = SLICE("user@example.org")}};
        const struct address_match match = {.class = cases[i].class};
        const struct judge_input input = {
            .mail = &mail, .to = &match, .peer_name = SLICE("mx.example.org"), .now = NOW};
        memset(&seen, 0, sizeof(seen));
        assert_int_equal(judge_mail(&judge, &input, true, keep, NULL), JUDGE_DONE);
        assert_string_equal(seen.matched, "header");
        if (strcmp(seen.suspicious, cases[i].suspicious) != 0) {
            fail_msg("case %zu: \"%s\"", i, seen.suspicious);
        }
    }
}

static int open_all(void **state)
{
    const struct verp_key key = {.id = 3, .secret = SLICE("0123456789abcdef")};
    const struct event facts = {.tenant = SLICE("shop"), .klass = SLICE("bulk")};
    char local[VERP_LOCAL_LEN + 1];
    (void)state;
    keys = verp_keys_create(&key, 1, NULL);
    classifier = classifier_load(NULL, NULL);
    scratch = classify_scratch_create();
    table = table_create_empty();
    token = (struct verp_token){
        .message = uuid_v7(NOW),
        .sent_ms = NOW.ms - 60000,
        .recipient = verp_recipient(SLICE("user@example.org")),
        .route = verp_route(SLICE("mx.example.org")),
        .facts = facts_number(facts_hash(&facts)),
    };
    if (keys == NULL || classifier == NULL || !verp_sign(keys, &token, NOW, local)) {
        return 1;
    }
    snprintf(address, sizeof(address), "%s@r.example.com", local);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    table_free(&table);
    classify_scratch_free(&scratch);
    classifier_free(&classifier);
    verp_keys_free(&keys);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_are_waited_for), cmocka_unit_test(one_recipient_is_proven),
        cmocka_unit_test(the_list_is_told),     cmocka_unit_test(doubts),
        cmocka_unit_test(unsigned_reports),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}

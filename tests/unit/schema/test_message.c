/*
 * Messages: the rules one by one, and the codec against protobuf-c.
 */
#include "schema/message.h"

#include "base/random.h"
#include "base/strbuf.h"
#include "message.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants the three above it */
#include <cmocka.h>

#define CONTENT "From: a@example.org\r\nSubject: x\r\n\r\nHello\r\n"

static const struct message_origin origin = {{"sluice.q.bulk", 13}, 3, 42};

/* A good message, for tests to spoil. */
struct sample {
    struct message message;
    struct message_recipient recipients[3];
    struct message_pair metadata[40];
    struct message_pair recipient_metadata[40];
    struct message_pair signing[10];
};

static void sample_init(struct sample *sample)
{
    *sample = (struct sample){0};
    struct message *message = &sample->message;
    message->id = SLICE("018F0000-0000-7000-8000-00000000000a");
    message->tenant = SLICE("acme");
    message->campaign = SLICE("spring sale");
    message->mail_from = SLICE("bounce+1@acme.example");
    message->pool = SLICE("pool-a");
    message->recipients = sample->recipients;
    message->recipient_count = 3;
    sample->recipients[0].address = SLICE("a@Example.COM");
    sample->recipients[1].address = SLICE("b@example.com");
    sample->recipients[1].dsn_notify = SLICE("SUCCESS,failure");
    sample->recipients[1].dsn_orcpt = SLICE("rfc822;b@old.example");
    sample->recipients[2].address = SLICE("\"c d\"@example.com");
    sample->recipients[2].metadata = sample->recipient_metadata;
    sample->recipients[2].metadata_count = 1;
    sample->recipient_metadata[0] = (struct message_pair){SLICE("name"), SLICE("J\xc3\xb6rg")};
    message->content = SLICE(CONTENT);
    message->not_before_ms = 1000;
    message->expires_ms = 2000;
    message->dsn_ret = SLICE("HDRS");
    message->dsn_envid = SLICE("env 1");
    message->requiretls = true;
    message->signing = sample->signing;
    message->signing_count = 1;
    sample->signing[0] = (struct message_pair){SLICE("acme.example"), SLICE("s1")};
    message->metadata = sample->metadata;
    message->metadata_count = 2;
    for (size_t i = 0; i < ARRAY_LEN(sample->metadata); i++) {
        static char names[40][8];
        snprintf(names[i], sizeof(names[i]), "k%zu", i);
        sample->metadata[i] = (struct message_pair){slice_cstr(names[i]), SLICE("v\n2")};
        sample->recipient_metadata[i] =
            i == 0 ? sample->recipient_metadata[0] : sample->metadata[i];
        sample->signing[i % 10] = sample->signing[0];
    }
    message->klass = MESSAGE_CLASS_TX;
    message->idempotency_key = SLICE("order 7/receipt");
}

static uint8_t *encode(const struct message *message, size_t *len)
{
    *len = message_encoded_size(message);
    uint8_t *bytes = malloc(*len + 1);
    assert_non_null(bytes);
    message_encode(message, bytes);
    return bytes;
}

static void assert_slice(struct slice got, struct slice wanted)
{
    if (!slice_eq(got, wanted)) {
        fail_msg("got '%.*s', wanted '%.*s'", SLICE_FMT(got), SLICE_FMT(wanted));
    }
}

static void assert_pairs(const struct message_pair *got, size_t got_count,
                         const struct message_pair *wanted, size_t wanted_count)
{
    assert_int_equal(got_count, wanted_count);
    for (size_t i = 0; i < got_count; i++) {
        assert_slice(got[i].name, wanted[i].name);
        assert_slice(got[i].value, wanted[i].value);
    }
}

static void assert_same(const struct message *got, const struct message *wanted)
{
    assert_slice(got->id, wanted->id);
    assert_slice(got->tenant, wanted->tenant);
    assert_slice(got->campaign, wanted->campaign);
    assert_slice(got->mail_from, wanted->mail_from);
    assert_slice(got->pool, wanted->pool);
    assert_slice(got->content, wanted->content);
    assert_slice(got->idempotency_key, wanted->idempotency_key);
    assert_slice(got->dsn_ret, wanted->dsn_ret);
    assert_slice(got->dsn_envid, wanted->dsn_envid);
    assert_true(got->not_before_ms == wanted->not_before_ms &&
                got->expires_ms == wanted->expires_ms);
    assert_int_equal(got->smtputf8, wanted->smtputf8);
    assert_int_equal(got->requiretls, wanted->requiretls);
    assert_int_equal(got->klass, wanted->klass);
    assert_int_equal(got->recipient_count, wanted->recipient_count);
    for (size_t i = 0; i < got->recipient_count; i++) {
        assert_slice(got->recipients[i].address, wanted->recipients[i].address);
        assert_slice(got->recipients[i].dsn_notify, wanted->recipients[i].dsn_notify);
        assert_slice(got->recipients[i].dsn_orcpt, wanted->recipients[i].dsn_orcpt);
        assert_pairs(got->recipients[i].metadata, got->recipients[i].metadata_count,
                     wanted->recipients[i].metadata, wanted->recipients[i].metadata_count);
    }
    assert_pairs(got->signing, got->signing_count, wanted->signing, wanted->signing_count);
    assert_pairs(got->metadata, got->metadata_count, wanted->metadata, wanted->metadata_count);
}

static void test_round_trip(void **state)
{
    struct sample sample;
    struct message back;
    struct fault fault = {0};
    struct arena *arena = arena_create(1024, 1 << 20);
    size_t len;
    (void)state;
    sample_init(&sample);
    uint8_t *bytes = encode(&sample.message, &len);
    if (!message_decode(slice_of(bytes, len), &origin, arena, &back, &fault)) {
        fail_msg("%s", fault.text);
    }
    assert_same(&back, &sample.message);
    assert_slice(back.domain, SLICE("example.com"));
    assert_false(back.content_8bit);
    /* The content lies in the record, everything else does not. */
    assert_true(back.content.ptr > (char *)bytes && back.content.ptr < (char *)bytes + len);
    memset(bytes, 'x', len);
    assert_slice(back.tenant, SLICE("acme"));
    assert_slice(back.metadata[1].name, SLICE("k1"));
    free(bytes);
    arena_free(&arena);
}

/* Our bytes as protobuf-c reads them, and protobuf-c's as we read them. */
static void test_against_protobuf_c(void **state)
{
    struct sample sample;
    struct message back;
    struct fault fault = {0};
    struct arena *arena = arena_create(1024, 1 << 20);
    size_t len;
    (void)state;
    assert_int_equal(sluice__v1__message__descriptor.n_fields, 17);
    assert_int_equal(sluice__v1__recipient__descriptor.n_fields, 4);
    assert_int_equal(sluice__v1__signing_identity__descriptor.n_fields, 2);
    sample_init(&sample);
    sample.message.smtputf8 = true;
    uint8_t *bytes = encode(&sample.message, &len);
    Sluice__V1__Message *theirs = sluice__v1__message__unpack(NULL, len, bytes);
    free(bytes);
    assert_non_null(theirs);
    assert_null(theirs->base.unknown_fields);
    assert_string_equal(theirs->mail_from, "bounce+1@acme.example");
    assert_string_equal(theirs->recipients[2]->metadata[0]->value, "J\xc3\xb6rg");
    assert_string_equal(theirs->signing[0]->selector, "s1");
    assert_int_equal(theirs->class_, SLUICE__V1__MESSAGE_CLASS__MESSAGE_CLASS_TRANSACTIONAL);
    len = sluice__v1__message__get_packed_size(theirs);
    bytes = malloc(len);
    assert_non_null(bytes);
    sluice__v1__message__pack(theirs, bytes);
    sluice__v1__message__free_unpacked(theirs, NULL);
    if (!message_decode(slice_of(bytes, len), &origin, arena, &back, &fault)) {
        fail_msg("%s", fault.text);
    }
    assert_same(&back, &sample.message);
    free(bytes);
    arena_free(&arena);
}

static void test_framed(void **state)
{
    const struct slice frames[] = {SLICE("\0\0\0\0\x07\0"), SLICE("\0\0\0\0\x07\x02\x04")};
    struct sample sample;
    size_t len;
    (void)state;
    sample_init(&sample);
    uint8_t *bytes = encode(&sample.message, &len);
    for (size_t i = 0; i < ARRAY_LEN(frames); i++) {
        struct strbuf record;
        struct message back;
        struct arena *arena = arena_create(1024, 1 << 20);
        strbuf_init(&record, 65536);
        strbuf_add_slice(&record, frames[i]);
        strbuf_add(&record, bytes, len);
        assert_true(message_decode(strbuf_slice(&record), &origin, arena, &back, NULL));
        assert_same(&back, &sample.message);
        strbuf_free(&record);
        arena_free(&arena);
    }
    free(bytes);
}

static void test_id_is_derived(void **state)
{
    char ids[3][UUID_TEXT_LEN + 1];
    struct sample sample;
    size_t len;
    (void)state;
    sample_init(&sample);
    sample.message.id = SLICE_NULL;
    sample.message.idempotency_key = SLICE_NULL;
    uint8_t *bytes = encode(&sample.message, &len);
    for (int i = 0; i < 3; i++) {
        struct message_origin from = origin;
        struct message back;
        struct uuid id;
        struct arena *arena = arena_create(1024, 1 << 20);
        from.offset += i == 2 ? 1 : 0;
        assert_true(message_decode(slice_of(bytes, len), &from, arena, &back, NULL));
        assert_true(uuid_parse(back.id, &id));
        snprintf(ids[i], sizeof(ids[i]), "%.*s", SLICE_FMT(back.id));
        arena_free(&arena);
    }
    assert_string_equal(ids[0], ids[1]);
    assert_string_not_equal(ids[0], ids[2]);
    free(bytes);
}

/* Content between, before and after the other fields, and given twice: the last wins. Maps too. */
static void test_field_order(void **state)
{
    const struct slice record = SLICE("\x32\x05wrong\x12\x01t\x2a\x0c\x0a\x0a"
                                      "a@b.exampl\x32\x06S: \xc3\xa9x\x7a\x06\x0a\x01k\x12\x01"
                                      "1\x7a\x06\x0a\x01k\x12\x01"
                                      "2\x80\x01\x07\xf8\x07\x01");
    struct message back;
    struct fault fault = {0};
    struct arena *arena = arena_create(64, 1 << 20);
    (void)state;
    if (!message_decode(record, &origin, arena, &back, &fault)) {
        fail_msg("%s", fault.text);
    }
    assert_slice(back.content, SLICE("S: \xc3\xa9x"));
    assert_true(back.content_8bit);
    assert_int_equal(back.metadata_count, 1);
    assert_slice(back.metadata[0].value, SLICE("2"));
    assert_int_equal(back.klass, MESSAGE_CLASS_DEFAULT); /* 7 is a later version's */
    arena_free(&arena);
}

struct rule_case {
    const char *fault; /* begins with; NULL: it is taken */
    size_t offset;     /* of a slice in struct sample */
    struct slice value;
};
#define AT(member) offsetof(struct sample, member)

static char long_text[40000];

static void check_case(const struct rule_case *rule)
{
    struct sample sample;
    struct message back;
    struct fault fault = {0};
    struct arena *arena = arena_create(1024, 1 << 20);
    size_t len;
    sample_init(&sample);
    memcpy((char *)&sample + rule->offset, &rule->value, sizeof(rule->value));
    uint8_t *bytes = encode(&sample.message, &len);
    bool ok = message_decode(slice_of(bytes, len), &origin, arena, &back, &fault);
    if (ok != (rule->fault == NULL) ||
        (!ok && (strncmp(fault.text, rule->fault, strlen(rule->fault)) != 0 ||
                 fault.kind != FAULT_INVALID))) {
        fail_msg("'%.*s': %s, wanted %s", (int)(rule->value.len < 60 ? rule->value.len : 60),
                 rule->value.ptr, ok ? "taken" : fault.text,
                 rule->fault == NULL ? "taken" : rule->fault);
    }
    struct uuid id;
    assert_true(uuid_parse(back.id, &id)); /* also of a refused one */
    free(bytes);
    arena_free(&arena);
}

/* Without an id: by tenant and key, wherever the record lies; a key that breaks a rule has no say.
 */
static void test_id_of_key(void **state)
{
    static const struct {
        const char *tenant, *key;
        int32_t partition;
        bool by_key;
    } cases[] = {
        {"acme", "k1", 3, true},    {"acme", "k1", 4, true}, {"acme", "k2", 3, true},
        {"bcme", "k1", 3, true},    {"acm", "ek1", 3, true}, {"acme", "", 3, false},
        {"acme", "a\nb", 3, false},
    };
    char seen[ARRAY_LEN(cases)][UUID_TEXT_LEN + 1];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sample sample;
        struct message back;
        struct fault fault = {0};
        size_t len;
        struct arena *arena = arena_create(1024, 1 << 20);
        struct message_origin place = origin;
        place.partition = cases[i].partition;
        sample_init(&sample);
        sample.message.id = SLICE_NULL;
        sample.message.tenant = slice_cstr(cases[i].tenant);
        sample.message.idempotency_key = slice_cstr(cases[i].key);
        uint8_t *bytes = encode(&sample.message, &len);
        (void)message_decode(slice_of(bytes, len), &place, arena, &back, &fault);
        snprintf(seen[i], sizeof(seen[i]), "%.*s", SLICE_FMT(back.id));
        char of_key[UUID_TEXT_LEN + 1];
        message_id_of_key(sample.message.tenant, sample.message.idempotency_key, of_key);
        assert_int_equal(strcmp(of_key, seen[i]) == 0, cases[i].by_key);
        for (size_t j = 0; j < i; j++) {
            /* Only the second is the first one again; what has no good key goes by its place. */
            bool same = (i == 1 && j == 0) || (!cases[i].by_key && !cases[j].by_key);
            assert_int_equal(strcmp(seen[i], seen[j]) == 0, same);
        }
        free(bytes);
        arena_free(&arena);
    }
}

static void test_rules(void **state)
{
    const struct rule_case cases[] = {
        {"id: ", AT(message.id), SLICE("12345")},
        {"tenant: missing", AT(message.tenant), SLICE("")},
        {"tenant: ", AT(message.tenant), SLICE("a b")},
        {"tenant: ", AT(message.tenant), slice_of(long_text, 65)},
        {NULL, AT(message.tenant), slice_of(long_text, 64)},
        {"campaign: ", AT(message.campaign), SLICE("a\nb")},
        {"campaign: ", AT(message.campaign), SLICE("a\xff")},
        {"campaign: ", AT(message.campaign), slice_of(long_text, 129)},
        {NULL, AT(message.campaign), SLICE("")},
        {"idempotency_key: ", AT(message.idempotency_key), SLICE("a\nb")},
        {"idempotency_key: ", AT(message.idempotency_key), SLICE("a\xff")},
        {"idempotency_key: ", AT(message.idempotency_key), slice_of(long_text, 201)},
        {NULL, AT(message.idempotency_key), slice_of(long_text, 200)},
        {"pool: ", AT(message.pool), SLICE("a/b")},
        {NULL, AT(message.mail_from), SLICE("")},
        {"mail_from: ", AT(message.mail_from), SLICE("a@b.example\r\nRCPT TO:<x@y.example>")},
        {"mail_from: ", AT(message.mail_from), SLICE("a@b.example\0x")},
        {"mail_from: ", AT(message.mail_from), SLICE("<a@b.example>")},
        {"mail_from: ", AT(message.mail_from), SLICE("nobody")},
        {"recipients[0].address: missing", AT(recipients[0].address), SLICE("")},
        {"recipients[1].address: ", AT(recipients[1].address), SLICE("b@example.com>")},
        {"recipients[1].address: control", AT(recipients[1].address), SLICE("b@example.com\0")},
        {"recipients[1].address: domain other.example", AT(recipients[1].address),
         SLICE("b@other.example")},
        {"recipients[2].address: ", AT(recipients[2].address), SLICE("\xff@example.com")},
        {"recipients[1].dsn_notify: ", AT(recipients[1].dsn_notify), SLICE("NEVER,SUCCESS")},
        {"recipients[1].dsn_notify: ", AT(recipients[1].dsn_notify), SLICE("DELAY,DELAY")},
        {"recipients[1].dsn_notify: ", AT(recipients[1].dsn_notify), SLICE("SUCCESS,")},
        {NULL, AT(recipients[1].dsn_notify), SLICE("never")},
        {NULL, AT(recipients[1].dsn_notify), SLICE("DELAY,FAILURE,SUCCESS")},
        {"recipients[1].dsn_orcpt: ", AT(recipients[1].dsn_orcpt), SLICE("rfc822")},
        {"recipients[1].dsn_orcpt: ", AT(recipients[1].dsn_orcpt), SLICE("rfc822;")},
        {"recipients[1].dsn_orcpt: ", AT(recipients[1].dsn_orcpt), SLICE("rfc822;a\r\n")},
        {"recipients[1].dsn_orcpt: ", AT(recipients[1].dsn_orcpt), SLICE("a b;c")},
        {"recipients[2].metadata: ", AT(recipient_metadata[0].name), SLICE("")},
        {"recipients[2].metadata: ", AT(recipient_metadata[0].value), SLICE("\xff")},
        {"dsn_ret: ", AT(message.dsn_ret), SLICE("ALL")},
        {"dsn_envid: ", AT(message.dsn_envid), SLICE("\xc3\xa9")},
        {"dsn_envid: ", AT(message.dsn_envid), slice_of(long_text, 101)},
        {"signing[0].domain: ", AT(signing[0].name), SLICE("a..b")},
        {"signing[0].selector: ", AT(signing[0].value), SLICE("")},
        {"metadata: control", AT(metadata[0].name), SLICE("a\tb")},
        {"metadata: longer", AT(metadata[0].value), slice_of(long_text, 5000)},
        {"metadata: NUL", AT(metadata[0].value), SLICE("a\0b")},
        {"content: missing", AT(message.content), SLICE("")},
        {"content: NUL in header line 2", AT(message.content), SLICE("A: b\r\nC: \0d\r\n\r\nx")},
        {"content: line 1 is no header", AT(message.content),
         SLICE("From a@b Mon\r\nA: b\r\n\r\nx")},
        {"content: line 1 is no header", AT(message.content), SLICE(" A: b\r\n\r\nx")},
        {"content: line 2 is no header", AT(message.content), SLICE("A: b\rhello\n\nx")},
        {"content: line 3 is no header", AT(message.content), SLICE("A: b\n c\nh\xc3\xa9: x\n\nx")},
        {"content: header line 1 is longer", AT(message.content), slice_of(long_text, 8193)},
        {NULL, AT(message.content),
         SLICE("A: b\r\n\tc\r\nD : e\n\nNUL in the body\0 is the peer's affair")},
        {NULL, AT(message.content), SLICE("\r\nno header at all")},
        {NULL, AT(message.content), SLICE("A:")},
    };
    (void)state;
    memset(long_text, 'x', sizeof(long_text));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        check_case(&cases[i]);
    }
}

static void check_fault(struct sample *sample, const char *begins)
{
    struct fault fault = {0};
    struct arena *arena = arena_create(1024, 1 << 20);
    bool ok = message_validate(&sample->message, arena, &fault);
    if (ok || strncmp(fault.text, begins, strlen(begins)) != 0) {
        fail_msg("%s, wanted %s", ok ? "taken" : fault.text, begins);
    }
    arena_free(&arena);
}

static void test_counts_and_times(void **state)
{
    static struct message_recipient many[MESSAGE_RECIPIENTS_MAX + 1];
    struct sample sample;
    (void)state;
    sample_init(&sample);
    sample.message.recipient_count = 0;
    check_fault(&sample, "recipients: none");
    sample_init(&sample);
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        many[i] = sample.recipients[0];
    }
    sample.message.recipients = many;
    sample.message.recipient_count = ARRAY_LEN(many);
    check_fault(&sample, "recipients: more than 1000");
    size_t len;
    uint8_t *bytes = encode(&sample.message, &len);
    struct message back;
    struct fault fault = {0};
    struct arena *arena = arena_create(1024, 1 << 20);
    assert_false(message_decode(slice_of(bytes, len), &origin, arena, &back, &fault));
    assert_string_equal(fault.text, "recipients: more than 1000");
    assert_slice(back.tenant, SLICE("acme")); /* for the dropped event */
    assert_int_equal(back.recipient_count, MESSAGE_RECIPIENTS_MAX);
    arena_free(&arena);
    free(bytes);
    sample_init(&sample);
    sample.message.metadata_count = 33;
    check_fault(&sample, "metadata: more than 32");
    sample_init(&sample);
    sample.message.signing_count = 9;
    check_fault(&sample, "signing: more than 8");
    sample_init(&sample);
    sample.message.not_before_ms = 2000;
    check_fault(&sample, "expires_ms: not after");
    sample.message.not_before_ms = -1;
    check_fault(&sample, "not_before_ms: negative");
    sample.message.not_before_ms = 0;
    sample.message.expires_ms = -1;
    check_fault(&sample, "expires_ms: negative");
}

static void put(char *at, struct slice bytes)
{
    memcpy(at, bytes.ptr, bytes.len);
}

static void test_sizes(void **state)
{
    size_t most = MESSAGE_CONTENT_MAX_BYTES;
    char *content = malloc(most + 1);
    struct sample sample;
    struct fault fault = {0};
    struct arena *arena = arena_create(1024, 1 << 20);
    (void)state;
    assert_non_null(content);
    memset(content, 'x', most + 1);
    put(content, SLICE("A: b\n\n"));
    sample_init(&sample);
    sample.message.content = slice_of(content, most);
    assert_true(message_validate(&sample.message, arena, &fault));
    sample.message.content.len++;
    check_fault(&sample, "content: longer");
    memset(content, 'x', 300000);
    for (size_t i = 0; i < 300000; i += 100) {
        put(content + i, SLICE("A: b"));
        content[i + 99] = '\r'; /* also quick when no LF is near */
    }
    sample.message.content.len = 300000;
    check_fault(&sample, "content: header longer");
    free(content);
    arena_free(&arena);
}

static void test_utf8_addresses(void **state)
{
    struct sample sample;
    struct arena *arena = arena_create(1024, 1 << 20);
    (void)state;
    sample_init(&sample);
    sample.recipients[0].address = SLICE("a@b\xc3\xbc"
                                         "cher.example");
    sample.recipients[1].address = SLICE("b@xn--bcher-kva.example");
    sample.recipients[2].address = SLICE("j\xc3\xb6rg@XN--bcher-kva.Example");
    assert_true(message_validate(&sample.message, arena, NULL));
    assert_true(sample.message.smtputf8);
    assert_slice(sample.message.domain, SLICE("xn--bcher-kva.example"));
    arena_free(&arena);
}

/* Truncated at every byte, and with random bytes changed: refused or taken, never a wrong read;
 * what is taken encodes to the same. */
static void test_mutations(void **state)
{
    struct sample sample;
    size_t len;
    (void)state;
    sample_init(&sample);
    uint8_t *good = encode(&sample.message, &len);
    for (size_t round = 0; round < len + 20000; round++) {
        size_t size = round < len ? round : len;
        uint8_t *copy = malloc(size + 1);
        assert_non_null(copy);
        memcpy(copy, good, size);
        for (uint32_t i = random_below(4); round >= len && i > 0; i--) {
            copy[random_below((uint32_t)size)] = (uint8_t)random_u64();
        }
        struct arena *arena = arena_create(512, 1 << 16);
        struct message message, again;
        struct fault fault = {0};
        bool ok = message_decode(slice_of(copy, size), &origin, arena, &message, &fault);
        assert_true(ok || fault.text[0] != '\0');
        if (ok) {
            size_t back_len;
            uint8_t *back = encode(&message, &back_len);
            assert_true(message_decode(slice_of(back, back_len), &origin, arena, &again, &fault));
            assert_same(&again, &message);
            free(back);
        }
        arena_free(&arena);
        free(copy);
    }
    free(good);
}

static void test_no_memory(void **state)
{
    struct sample sample;
    size_t len;
    (void)state;
    sample_init(&sample);
    sample.message.id = SLICE_NULL;
    uint8_t *bytes = encode(&sample.message, &len);
    bool taken = false;
    for (size_t room = 0; !taken; room += 16) {
        struct arena *arena = arena_create(room, 0);
        struct message back;
        struct fault fault = {0};
        assert_non_null(arena);
        taken = message_decode(slice_of(bytes, len), &origin, arena, &back, &fault);
        assert_true(taken || fault.kind == FAULT_LIMIT);
        arena_free(&arena);
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),  cmocka_unit_test(test_against_protobuf_c),
        cmocka_unit_test(test_framed),      cmocka_unit_test(test_id_is_derived),
        cmocka_unit_test(test_field_order), cmocka_unit_test(test_id_of_key),
        cmocka_unit_test(test_rules),       cmocka_unit_test(test_counts_and_times),
        cmocka_unit_test(test_sizes),       cmocka_unit_test(test_utf8_addresses),
        cmocka_unit_test(test_mutations),   cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * libsluice against the cluster that librdkafka plays in memory: what is refused, what is reported,
 * who may do what.
 */
#include "sluice/sluice.h"

#include "base/uuid.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants the three above it */
#include <cmocka.h>

static const struct sluice_property mock[] = {
    {"bootstrap.servers", "127.0.0.1:1"}, /* the mock cluster replaces it */
    {"test.mock.num.brokers", "1"},
};
static const struct sluice_recipient one[] = {{.address = "a@Example.com"}};

static struct sluice_message good(void)
{
    struct sluice_message message = SLUICE_MESSAGE_INIT;
    static const char content[] = "Subject: x\r\n\r\nHello\r\n";
    message.tenant = "acme";
    message.recipients = one;
    message.recipient_count = 1;
    message.content = content;
    message.content_bytes = sizeof(content) - 1;
    return message;
}

struct seen {
    int calls, good, unguarded, recognised;
    char id[37];
    struct sluice *again; /* publish once more from inside the callback */
};

static void on_delivered(void *opaque, const struct sluice_delivery *delivery)
{
    struct seen *seen = opaque;
    seen->calls++;
    seen->unguarded += delivery->unguarded;
    seen->recognised += delivery->recognised;
    seen->good += delivery->result == SLUICE_OK && delivery->offset >= 0 &&
                  delivery->partition >= 0 && delivery->text[0] == '\0';
    snprintf(seen->id, sizeof(seen->id), "%s", delivery->id);
    if (seen->again != NULL) {
        struct sluice_message message = good();
        struct sluice *sluice = seen->again;
        seen->again = NULL;
        assert_int_equal(sluice_publish(sluice, &message, on_delivered, seen, NULL), SLUICE_OK);
    }
}

static void test_publish(void **state)
{
    struct sluice_error error;
    struct sluice *sluice = sluice_open(mock, ARRAY_LEN(mock), NULL, &error);
    struct sluice_message message = good();
    struct seen seen = {.again = sluice};
    struct uuid id;
    (void)state;
    assert_non_null(sluice);
    assert_int_equal(sluice_publish(sluice, &message, on_delivered, &seen, &error), SLUICE_OK);
    assert_int_equal(seen.calls, 0); /* never inside the call */
    assert_int_equal(sluice_flush(sluice, 60000), 0);
    assert_int_equal(seen.calls, 2);
    assert_int_equal(seen.good, 2);
    assert_true(uuid_parse(slice_cstr(seen.id), &id));
    message.id = "018f0000-0000-7000-8000-000000000001";
    assert_int_equal(sluice_publish(sluice, &message, on_delivered, &seen, &error), SLUICE_OK);
    assert_int_equal(sluice_flush(sluice, 60000), 0);
    assert_string_equal(seen.id, message.id);
    assert_int_equal(sluice_publish(sluice, &message, NULL, NULL, NULL), SLUICE_OK);
    sluice_close(&sluice, 60000);
    assert_null(sluice);
    sluice_close(&sluice, 0);
}

struct publisher {
    struct sluice *sluice;
    struct seen *seen;
};

static void *publish_many(void *argument)
{
    struct publisher *publisher = argument;
    for (int i = 0; i < 500; i++) {
        struct sluice_message message = good();
        assert_int_equal(
            sluice_publish(publisher->sluice, &message, on_delivered, publisher->seen, NULL),
            SLUICE_OK);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct seen seen = {0};
    struct sluice *sluice = sluice_open(mock, ARRAY_LEN(mock), "x.", NULL);
    struct publisher publisher = {sluice, &seen};
    pthread_t threads[4];
    (void)state;
    assert_non_null(sluice);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, publish_many, &publisher), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        sluice_poll(sluice, 10);
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(sluice_flush(sluice, 60000), 0);
    assert_int_equal(seen.calls, 2000);
    assert_int_equal(seen.good, 2000);
    sluice_close(&sluice, 1000);
}

/* Each refusal names the field. */
static void test_refused(void **state)
{
    const struct sluice_recipient bad[] = {{.address = "a@example.com"},
                                           {.address = "x@y.example\r\nDATA"}};
    const struct sluice_recipient mixed[] = {{.address = "a@example.com"},
                                             {.address = "x@other.example"}};
    const struct sluice_pair twice[] = {{"k", "1"}, {"k", "2"}};
    struct sluice_pair many[70];
    struct sluice_error error;
    struct sluice_message message = good();
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        many[i] = (struct sluice_pair){"k", "v"};
    }
#define REFUSED(begins)                                                                            \
    assert_int_equal(sluice_check(&message, &error), SLUICE_INVALID);                              \
    assert_memory_equal(error.text, begins, strlen(begins));                                       \
    message = good()

    assert_int_equal(sluice_check(&message, &error), SLUICE_OK);
    message.tenant = NULL;
    REFUSED("tenant: ");
    message.recipients = bad;
    message.recipient_count = 2;
    REFUSED("recipients[1].address: ");
    message.recipients = mixed;
    message.recipient_count = 2;
    REFUSED("recipients[1].address: domain other.example");
    message.recipient_count = 0;
    REFUSED("recipients: none");
    message.recipient_count = 1001;
    REFUSED("recipients: more than 1000");
    message.content_bytes = 0;
    REFUSED("content: ");
    message.metadata = twice;
    message.metadata_count = 2;
    REFUSED("metadata: \"k\" is given twice");
    message.metadata = many;
    message.metadata_count = 70;
    REFUSED("metadata: ");
    message.mail_from = "a b@example.com";
    REFUSED("mail_from: ");
    message.struct_size = 0;
    REFUSED("struct_size: ");
    message.idempotency_key = "order 7";
    assert_int_equal(sluice_check(&message, &error), SLUICE_OK);
    message.id = "018f0000-0000-7000-8000-000000000001";
    REFUSED("id: an idempotency_key makes it");
    message.idempotency_key = "";
    REFUSED("idempotency_key: empty");
    message.idempotency_key = "a\nb";
    REFUSED("idempotency_key: ");
}

/* Without Redis a key still makes the id; the mail is taken, and whoever asks is told. */
static void test_key_without_redis(void **state)
{
    struct sluice_redis nowhere = SLUICE_REDIS_INIT;
    struct sluice_message message = good();
    (void)state;
    nowhere.port = 1;
    message.idempotency_key = "order 7";
    for (int with_redis = 0; with_redis < 2; with_redis++) {
        struct sluice *sluice = sluice_open(mock, ARRAY_LEN(mock), NULL, NULL);
        struct seen seen = {0};
        char id[37];
        assert_non_null(sluice);
        if (with_redis) {
            assert_int_equal(sluice_use_redis(sluice, &nowhere, NULL), SLUICE_OK);
        }
        assert_int_equal(sluice_publish(sluice, &message, on_delivered, &seen, NULL), SLUICE_OK);
        assert_int_equal(sluice_flush(sluice, 60000), 0);
        snprintf(id, sizeof(id), "%s", seen.id);
        assert_int_equal(sluice_publish(sluice, &message, on_delivered, &seen, NULL), SLUICE_OK);
        assert_int_equal(sluice_flush(sluice, 60000), 0);
        assert_int_equal(seen.good, 2);
        assert_int_equal(seen.unguarded, 2);
        assert_int_equal(seen.recognised, 0);
        assert_string_equal(seen.id, id);
        if (with_redis) {
            assert_int_equal(sluice_use_redis(sluice, &nowhere, NULL), SLUICE_INVALID);
        }
        /* Open when it closes: still called back. */
        assert_int_equal(sluice_publish(sluice, &message, on_delivered, &seen, NULL), SLUICE_OK);
        sluice_close(&sluice, 0);
        assert_int_equal(seen.calls, 3);
    }
}

/* What cannot be meant is refused at once, and the text says what it is. */
static void test_redis_refused(void **state)
{
    static const char *const nodes[] = {"127.0.0.1:7000", "127.0.0.1:0x"};
    struct sluice *sluice = sluice_open(mock, ARRAY_LEN(mock), NULL, NULL);
    struct sluice_redis redis = SLUICE_REDIS_INIT;
    struct sluice_error error;
    (void)state;
    assert_non_null(sluice);
#define REDIS_REFUSED(begins)                                                                      \
    do {                                                                                           \
        const struct sluice_redis fresh = SLUICE_REDIS_INIT;                                       \
        assert_int_equal(sluice_use_redis(sluice, &redis, &error), SLUICE_INVALID);                \
        assert_memory_equal(error.text, begins, strlen(begins));                                   \
        redis = fresh;                                                                             \
    } while (0)

    assert_int_equal(sluice_use_redis(sluice, &redis, &error), SLUICE_OK);
    redis.struct_size = 0;
    REDIS_REFUSED("struct_size: ");
    redis.port = 70000;
    REDIS_REFUSED("port: 70000");
    redis.nodes = nodes;
    redis.node_count = 2;
    REDIS_REFUSED("nodes[1]: ");
    redis.nodes = nodes;
    redis.node_count = 1;
    redis.host = "127.0.0.1";
    REDIS_REFUSED("nodes: beside host");
    redis.user = "mailer";
    REDIS_REFUSED("redis: a user without a password");
    redis.cluster = 1;
    redis.database = 2;
    REDIS_REFUSED("redis: a cluster has database 0 only");
    redis.use_tls = 1;
    redis.tls_certificate_file = "client.pem";
    REDIS_REFUSED("redis: a certificate without a key");
    redis.unix_path = "/run/redis.sock";
    redis.use_tls = 1;
    REDIS_REFUSED("redis: a cluster, or TLS, by a unix_path");
    sluice_close(&sluice, 0);
}

static void test_stream_and_open(void **state)
{
    struct sluice_error error;
    struct sluice *sluice = sluice_open(mock, ARRAY_LEN(mock), NULL, &error);
    struct sluice_message message = good();
    const struct sluice_property wrong[] = {{"no.such.property", "1"}};
    (void)state;
    message.stream = "a/b";
    assert_int_equal(sluice_publish(sluice, &message, NULL, NULL, &error), SLUICE_INVALID);
    assert_memory_equal(error.text, "stream: ", 8);
    sluice_close(&sluice, 0);
    assert_null(sluice_open(wrong, 1, NULL, &error));
    assert_non_null(strstr(error.text, "no.such.property"));
    assert_null(sluice_open_config("/nonexistent/sluice.yaml", &error));
    assert_int_not_equal(error.result, SLUICE_OK);
    assert_string_equal(sluice_version(), SLUICE_VERSION);
}

/* Nobody listens: the callback still comes, once, with the reason. */
static void test_no_kafka(void **state)
{
    const struct sluice_property dead[] = {{"bootstrap.servers", "127.0.0.1:1"}};
    struct sluice *sluice = sluice_open(dead, 1, NULL, NULL);
    struct sluice_message message = good();
    struct seen seen = {0};
    (void)state;
    assert_non_null(sluice);
    assert_int_equal(sluice_publish(sluice, &message, on_delivered, &seen, NULL), SLUICE_OK);
    assert_int_equal(sluice_flush(sluice, 50), 1);
    sluice_close(&sluice, 50);
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.good, 0);
}

/* A list that cannot be read refuses nobody, and says so. */
static void test_no_list(void **state)
{
    const struct sluice_property dead[] = {{"bootstrap.servers", "127.0.0.1:1"}};
    struct sluice *sluice = sluice_open(dead, 1, "pre.", NULL);
    struct sluice_message message = good();
    struct sluice_error error;
    (void)state;
    assert_non_null(sluice);
    assert_int_equal(sluice_suppressed(sluice, &message, NULL, NULL), 0);
    assert_int_equal(sluice_follow_suppression(sluice, 20, &error), SLUICE_TIMEOUT);
    assert_string_equal(error.text, "pre.suppression: 0 records read, more to come");
    assert_int_equal(sluice_follow_suppression(sluice, 0, NULL), SLUICE_TIMEOUT);
    assert_int_equal(sluice_suppressed(sluice, &message, NULL, NULL), 0);
    assert_int_equal(sluice_publish(sluice, &message, NULL, NULL, &error), SLUICE_OK);
    sluice_close(&sluice, 0);
    assert_string_equal(sluice_result_name(SLUICE_SUPPRESSED), "suppressed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publish),           cmocka_unit_test(test_threads),
        cmocka_unit_test(test_refused),           cmocka_unit_test(test_stream_and_open),
        cmocka_unit_test(test_key_without_redis), cmocka_unit_test(test_redis_refused),
        cmocka_unit_test(test_no_kafka),          cmocka_unit_test(test_no_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

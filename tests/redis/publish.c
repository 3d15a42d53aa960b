/*
 * redis_publish PORT KEYS [out]: libsluice's way to a Redis (sluice_use_redis), which is where
 * where.h says. Publishes messages with keys to the cluster that librdkafka plays in memory, then
 * the same again by another handle: that one must recognise all of them. With `out` it must not get
 * in, so all are unguarded.
 */
#include "redis/where.h"
#include "sluice/sluice.h"

#include <time.h>

#define FLUSH_MS 30000
#define ATTEMPTS 5

struct counts {
    unsigned good, recognised, unguarded;
};

static void on_delivered(void *opaque, const struct sluice_delivery *delivery)
{
    struct counts *counts = opaque;
    counts->good += delivery->result == SLUICE_OK;
    counts->recognised += delivery->recognised != 0;
    counts->unguarded += delivery->unguarded != 0;
}

static struct sluice_redis redis_of(const struct redis_options *options)
{
    struct sluice_redis redis = SLUICE_REDIS_INIT;
    redis.host = options->node_count > 0 || options->unix_path != NULL ? NULL : options->host;
    redis.port = options->port;
    redis.unix_path = options->unix_path;
    redis.nodes = options->nodes;
    redis.node_count = options->node_count;
    redis.cluster = options->cluster;
    redis.user = options->user;
    redis.password = options->password;
    redis.database = options->database;
    redis.use_tls = options->tls;
    redis.tls_server_name = options->server_name;
    redis.tls_ca_file = options->ca_file;
    redis.tls_certificate_file = options->certificate_file;
    redis.tls_key_file = options->key_file;
    return redis;
}

/* False: not even begun. */
static int publish(const struct sluice_redis *redis, const char *run, unsigned keys,
                   struct counts *counts)
{
    static const struct sluice_property mock[] = {{"bootstrap.servers", "127.0.0.1:1"},
                                                  {"test.mock.num.brokers", "1"}};
    static const struct sluice_recipient to[] = {{.address = "a@example.com"}};
    struct sluice_error error;
    struct sluice *sluice = sluice_open(mock, 2, NULL, &error);
    int good = sluice != NULL && sluice_use_redis(sluice, redis, &error) == SLUICE_OK;
    for (unsigned i = 0; good && i < keys; i++) {
        char key[64];
        struct sluice_message message = SLUICE_MESSAGE_INIT;
        (void)snprintf(key, sizeof(key), "%s %u", run, i);
        message.tenant = "acme";
        message.recipients = to;
        message.recipient_count = 1;
        message.content = "Subject: x\r\n\r\nHello\r\n";
        message.content_bytes = strlen(message.content);
        message.idempotency_key = key;
        good = sluice_publish(sluice, &message, on_delivered, counts, &error) == SLUICE_OK;
    }
    if (!good) {
        (void)fprintf(stderr, "redis_publish: %s\n", error.text);
    } else if (sluice_flush(sluice, FLUSH_MS) != 0) {
        (void)fprintf(stderr, "redis_publish: not all was over in %d ms\n", FLUSH_MS);
        good = 0;
    }
    sluice_close(&sluice, 0);
    return good;
}

/* Publishes twice. *unguarded: how many went without being remembered, as Redis was away. */
static bool publish_twice(const struct sluice_redis *redis, unsigned keys, bool out,
                          unsigned *unguarded)
{
    struct counts first = {0}, again = {0};
    char run[32];
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)snprintf(run, sizeof(run), "%lld.%ld", (long long)now.tv_sec, now.tv_nsec);
    bool good = publish(redis, run, keys, &first) && publish(redis, run, keys, &again);
    *unguarded = first.unguarded + again.unguarded;
    printf("  libsluice%s: %u published, %u recognised when published again, %u unguarded\n",
           out ? ", not let in" : "", first.good, again.recognised, *unguarded);
    return good && first.good == keys && again.good == keys && first.recognised == 0 &&
           again.recognised == (out ? 0 : keys) && *unguarded == (out ? 2 * keys : 0);
}

int main(int argc, char **argv)
{
    struct redis_options options;
    unsigned unguarded = 0;
    bool good = false;
    if (argc < 3) {
        (void)fprintf(stderr, "usage: redis_publish PORT KEYS [out]\n");
        return 2;
    }
    unsigned keys = (unsigned)strtoul(argv[2], NULL, 10);
    bool out = argc > 3 && strcmp(argv[3], "out") == 0;
    where(&options, (uint16_t)strtoul(argv[1], NULL, 10));
    const struct sluice_redis redis = redis_of(&options);
    /* Where everything is slow a connection may take longer than libsluice waits for it. */
    for (unsigned left = ATTEMPTS; left > 0 && !good; left--) {
        good = publish_twice(&redis, keys, out, &unguarded);
        if (out || unguarded == 0) {
            break;
        }
    }
    return good ? 0 : 1;
}

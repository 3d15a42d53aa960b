/*
 * sluicectl unsubscribe: the List-Unsubscribe fields of mails that are to be signed by DKIM (RFC
 * 8058 section 4) before they come to Sluice: whoever signs puts them into the header first, and
 * the worker, which finds such a field there, adds none.
 *
 * One JSON object for each address. What they have in common stands on the topic `facts` before the
 * first is printed, so that a link works as soon as it is known.
 */
#include "ops/sluicectl/cmd.h"

#include "base/clock.h"
#include "base/log.h"
#include "kafka/producer.h"
#include "kafka/topics.h"
#include "mail/unsubscribe.h"
#include "policy/verp_keys.h"
#include "schema/facts.h"
#include "smtp/address.h"
#include "suppress/key.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>

#define FLUSH_MS 30000
#define WARM_UP_MS 15000
#define VALUE_MAX_BYTES ((size_t)16384)
#define FIELDS_MAX_BYTES ((size_t)4096)
#define LINE_MAX_BYTES 1024

struct wish {
    const char *config_path, *tenant, *campaign, *list, *stream;
    const struct config *config;
    const struct config_stream *config_stream;
    struct verp_keys *keys;
    uint32_t facts;
};

static int usage(void)
{
    (void)fputs(
        "usage: sluicectl unsubscribe --config FILE --tenant NAME [--campaign NAME] [--list NAME]\n"
        "                             [--stream NAME] ADDRESS…|-\n"
        "\n"
        "Prints the List-Unsubscribe fields for mail to each address (of standard input's lines: "
        "-), as\n"
        "JSON objects with email, id and fields. For mail that is signed by DKIM before it comes "
        "to\n"
        "Sluice: put the fields into its header, sign, publish it with that id.\n",
        stderr);
    return 2;
}

static bool parse(int argc, char **argv, struct wish *wish)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'C'},   {"tenant", required_argument, NULL, 't'},
        {"campaign", required_argument, NULL, 'c'}, {"list", required_argument, NULL, 'l'},
        {"stream", required_argument, NULL, 's'},   {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 'C': wish->config_path = optarg; break;
        case 't': wish->tenant = optarg; break;
        case 'c': wish->campaign = optarg; break;
        case 'l': wish->list = optarg; break;
        case 's': wish->stream = optarg; break;
        default: return false;
        }
    }
    return wish->config_path != NULL && wish->tenant != NULL && optind < argc;
}

/* Can there be such links, and is all that was said of the right form? */
static bool check(struct wish *wish, struct fault *fault)
{
    const struct config *config = wish->config;
    const char *stream = wish->stream == NULL ? "bulk" : wish->stream;
    bool mailto = config->unsubscribe.mailto && config->verp.domain_count > 0;
    wish->config_stream = config_stream_named(config, slice_cstr(stream));
    if (config->verp.key_count == 0 || (config->unsubscribe.url == NULL && !mailto)) {
        return fault_set(fault, FAULT_INVALID, 0,
                         "%s: verp.keys, and unsubscribe.url or verp.domains are needed",
                         wish->config_path);
    }
    if (wish->config_stream == NULL) {
        return fault_set(fault, FAULT_INVALID, 0, "--stream: there is no stream \"%s\"", stream);
    }
    if (wish->tenant[0] == '\0' || !suppress_tenant_valid(slice_cstr(wish->tenant))) {
        return fault_set(fault, FAULT_INVALID, 0, "--tenant: not the name of a tenant");
    }
    if (!suppress_list_valid(slice_cstr(wish->list))) {
        return fault_set(fault, FAULT_INVALID, 0, "--list: not the name of a list");
    }
    return true;
}

/* ---- facts ---- */

struct sending {
    struct kafka_delivery delivery;
    struct fault fault;
    bool done;
};

static void on_delivery(struct kafka_delivery *delivery, int32_t partition, int64_t offset,
                        const struct fault *fault)
{
    struct sending *sending = CONTAINER_OF(delivery, struct sending, delivery);
    (void)partition;
    (void)offset;
    sending->done = fault == NULL;
    sending->fault = fault == NULL ? (struct fault){0} : *fault;
}

static bool send_record(const struct config *config, const char *key, struct slice value,
                        struct fault *fault)
{
    char topic[KAFKA_TOPIC_NAME_MAX + 1];
    const char *topics[] = {topic};
    struct kafka_producer_options options;
    struct sending sending = {.delivery.done = on_delivery};
    struct kafka_properties properties;
    kafka_properties_from_config(&properties, &config->kafka);
    (void)snprintf(topic, sizeof(topic), "%sfacts", config->kafka.prefix);
    kafka_producer_options_default(&options);
    options.client_id = "sluicectl";
    options.delivery_timeout_ms = FLUSH_MS;
    struct kafka_producer *producer = kafka_producer_create(&properties, &options, fault);
    kafka_properties_free(&properties);
    if (producer == NULL) {
        return false;
    }
    const struct kafka_record_out record = {.topic = topic,
                                            .partition = -1,
                                            .key = slice_cstr(key),
                                            .value = value,
                                            .delivery = &sending.delivery};
    bool sent = kafka_producer_warm_up(producer, topics, 1, WARM_UP_MS, fault) &&
                kafka_producer_send(producer, &record, fault);
    if (sent) {
        (void)kafka_producer_flush(producer, FLUSH_MS);
    }
    kafka_producer_free(&producer, 0);
    if (sent && !sending.done) {
        *fault = sending.fault;
    }
    return sending.done;
}

static bool publish_facts(struct wish *wish, struct fault *fault)
{
    char key[FACTS_KEY_LEN + 1];
    const struct message_pair list = {SLICE(FACTS_LIST), slice_cstr(wish->list)};
    const bool bulk = wish->config_stream->class_ == CONFIG_CLASS_BULK;
    const struct event facts = {
        .tenant = slice_cstr(wish->tenant),
        .campaign = slice_cstr(wish->campaign),
        .klass = bulk ? SLICE("bulk") : SLICE("transactional"),
        .stream = slice_cstr(wish->config_stream->name),
        .metadata = &list,
        .metadata_count = wish->list != NULL,
    };
    struct strbuf value;
    strbuf_init(&value, VALUE_MAX_BYTES);
    wish->facts = facts_number(facts_hash(&facts));
    bool ok = facts_encode(&facts, config_facts_keep_ms(wish->config, true), key, &value)
                  ? send_record(wish->config, key, strbuf_slice(&value), fault)
                  : fault_set(fault, FAULT_INVALID, 0, "--campaign: too long");
    strbuf_free(&value);
    return ok;
}

/* ---- fields ---- */

static bool print_fields(const struct wish *wish, const char *address, struct fault *fault)
{
    const struct config *config = wish->config;
    struct smtp_address parsed;
    struct wall_time now = wall_now();
    char token_text[VERP_LOCAL_LEN + 1], id[UUID_TEXT_LEN + 1];
    const struct verp_token token = {.purpose = VERP_UNSUBSCRIBE,
                                     .message = uuid_v7(now),
                                     .sent_ms = now.ms,
                                     .recipient = verp_recipient(slice_cstr(address)),
                                     .route = verp_route(SLICE_NULL),
                                     .facts = wish->facts};
    struct slice url = slice_cstr(config->unsubscribe.url);
    if (!smtp_address_parse(slice_cstr(address), &parsed, fault)) {
        return fault_prefix(fault, "%s", address);
    }
    if (!verp_sign(wish->keys, &token, now, token_text)) {
        return fault_set(fault, FAULT_INVALID, 0, "no key of verp.keys signs now");
    }
    while (url.len > 0 && url.ptr[url.len - 1] == '/') {
        url.len--;
    }
    const struct unsubscribe_link link = {
        .token = token_text,
        .url = url,
        .mailto = config->unsubscribe.mailto && config->verp.domain_count > 0
                      ? slice_cstr(config->verp.domains[0])
                      : SLICE_NULL,
        .address = slice_cstr(address),
        .list = slice_cstr(wish->list),
    };
    struct strbuf fields;
    strbuf_init(&fields, FIELDS_MAX_BYTES);
    bool ok = unsubscribe_write(&link, &fields);
    if (ok) {
        uuid_format(&token.message, id);
        json_t *object = json_pack("{s:s, s:s, s:s%}", "email", address, "id", id, "fields",
                                   fields.ptr, fields.len);
        ok = object != NULL && json_dumpf(object, stdout, JSON_COMPACT) == 0;
        json_decref(object);
        (void)putchar('\n');
    }
    strbuf_free(&fields);
    return ok || fault_set(fault, FAULT_INVALID, 0, "%s: no such fields can be written", address);
}

static bool print_input(const struct wish *wish, struct fault *fault)
{
    char line[LINE_MAX_BYTES];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] != '\0' && !print_fields(wish, line, fault)) {
            return false;
        }
    }
    return true;
}

static bool print_all(const struct wish *wish, char **addresses, struct fault *fault)
{
    for (; *addresses != NULL; addresses++) {
        bool ok = strcmp(*addresses, "-") == 0 ? print_input(wish, fault)
                                               : print_fields(wish, *addresses, fault);
        if (!ok) {
            return false;
        }
    }
    return true;
}

int cmd_unsubscribe(int argc, char **argv)
{
    struct wish wish = {0};
    struct fault fault = {0};
    if (!parse(argc, argv, &wish)) {
        return usage();
    }
    log_setup("sluicectl", LOG_LEVEL_ERROR);
    struct config *config = config_load(wish.config_path, &fault);
    wish.config = config;
    bool good = config != NULL && check(&wish, &fault);
    int status = good ? 1 : 2;
    wish.keys = good ? config_verp_keys(config, &fault) : NULL;
    if (wish.keys != NULL && publish_facts(&wish, &fault) &&
        print_all(&wish, argv + optind, &fault)) {
        status = 0;
    } else {
        (void)fprintf(stderr, "sluicectl unsubscribe: %s\n", fault.text);
    }
    verp_keys_free(&wish.keys);
    config_free(&config);
    return status;
}

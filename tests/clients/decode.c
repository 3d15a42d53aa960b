/*
 * clients_decode BOOTSTRAP TOPIC: every record of the topic, decoded and checked as the worker does
 * it, as JSON lines: where it is, its key, and either the message's fields or "error". For
 * tests/clients/run.
 */
#include "base/arena.h"
#include "base/strbuf.h"
#include "kafka/reader.h"
#include "schema/json.h"
#include "schema/message.h"

#define LINE_MAX_BYTES ((size_t)64 * 1024 * 1024)

static void add_key(struct strbuf *out, const char *name)
{
    strbuf_add_cstr(out, out->ptr[out->len - 1] == '{' ? "" : ",");
    json_add_string(out, slice_cstr(name));
    strbuf_add_byte(out, ':');
}

static void add_text(struct strbuf *out, const char *name, struct slice text)
{
    add_key(out, name);
    json_add_string(out, text);
}

static void add_number(struct strbuf *out, const char *name, int64_t value)
{
    add_key(out, name);
    json_add_signed(out, value);
}

static void add_pairs(struct strbuf *out, const char *name, const struct message_pair *pairs,
                      size_t count)
{
    add_key(out, name);
    strbuf_add_byte(out, '{');
    for (size_t i = 0; i < count; i++) {
        strbuf_add_cstr(out, i > 0 ? "," : "");
        json_add_string(out, pairs[i].name);
        strbuf_add_byte(out, ':');
        json_add_string(out, pairs[i].value);
    }
    strbuf_add_byte(out, '}');
}

static void add_recipients(struct strbuf *out, const struct message *message)
{
    add_key(out, "recipients");
    strbuf_add_byte(out, '[');
    for (size_t i = 0; i < message->recipient_count; i++) {
        const struct message_recipient *recipient = &message->recipients[i];
        strbuf_add_cstr(out, i > 0 ? ",{" : "{");
        add_text(out, "address", recipient->address);
        add_text(out, "dsn_notify", recipient->dsn_notify);
        add_text(out, "dsn_orcpt", recipient->dsn_orcpt);
        add_pairs(out, "metadata", recipient->metadata, recipient->metadata_count);
        strbuf_add_byte(out, '}');
    }
    strbuf_add_byte(out, ']');
}

static void add_message(struct strbuf *out, const struct message *message)
{
    add_text(out, "id", message->id);
    add_text(out, "tenant", message->tenant);
    add_text(out, "campaign", message->campaign);
    add_text(out, "mail_from", message->mail_from);
    add_text(out, "domain", message->domain);
    add_recipients(out, message);
    add_text(out, "content", message->content);
    add_text(out, "pool", message->pool);
    add_number(out, "not_before_ms", message->not_before_ms);
    add_number(out, "expires_ms", message->expires_ms);
    add_text(out, "dsn_ret", message->dsn_ret);
    add_text(out, "dsn_envid", message->dsn_envid);
    add_number(out, "smtputf8", message->smtputf8 ? 1 : 0);
    add_number(out, "requiretls", message->requiretls ? 1 : 0);
    add_pairs(out, "signing", message->signing, message->signing_count);
    add_pairs(out, "metadata", message->metadata, message->metadata_count);
    add_number(out, "class", (int64_t)message->klass);
    add_number(out, "content_8bit", message->content_8bit ? 1 : 0);
}

static void print_record(const struct kafka_reader_record *record)
{
    struct message_origin origin = {slice_cstr(record->topic), record->partition, record->offset};
    struct arena *arena = arena_create(4096, 16 << 20);
    struct message message;
    struct fault fault = {0};
    struct strbuf out;
    CHECK(arena != NULL);
    strbuf_init(&out, LINE_MAX_BYTES);
    strbuf_add_byte(&out, '{');
    add_number(&out, "partition", record->partition);
    add_number(&out, "offset", record->offset);
    add_text(&out, "key", record->key);
    add_number(&out, "framed", record->value.len > 0 && record->value.ptr[0] == '\0');
    if (message_decode(record->value, &origin, arena, &message, &fault)) {
        add_message(&out, &message);
    } else {
        add_text(&out, "error", slice_cstr(fault.text));
    }
    strbuf_add_cstr(&out, "}\n");
    CHECK(!out.overflow);
    (void)fwrite(out.ptr, 1, out.len, stdout);
    strbuf_free(&out);
    arena_free(&arena);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        (void)fputs("usage: clients_decode BOOTSTRAP TOPIC\n", stderr);
        return 2;
    }
    const struct kafka_property bootstrap = {"bootstrap.servers", argv[1]};
    const struct kafka_properties properties = {&bootstrap, 1};
    const char *topics[] = {argv[2]};
    struct fault fault = {0};
    struct kafka_reader_record record;
    enum kafka_read got = KAFKA_READ_FAILED;
    struct kafka_reader *reader = kafka_reader_create(&properties, topics, 1, -2, &fault);
    while (reader != NULL &&
           ((got = kafka_reader_next(reader, 1000, &record, &fault)) == KAFKA_READ_RECORD ||
            got == KAFKA_READ_NONE)) {
        if (got == KAFKA_READ_RECORD) {
            print_record(&record);
        }
    }
    kafka_reader_free(&reader);
    if (got != KAFKA_READ_END) {
        (void)fprintf(stderr, "clients_decode: %s\n", fault.text);
        return 1;
    }
    return 0;
}

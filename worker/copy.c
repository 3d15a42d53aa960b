#include "worker/copy.h"

#include "base/mem.h"
#include "worker/worker.h"

/* A record of a size that the queue's topic took fits the others too, which have the same bound,
 * but for headers that it had not. A dead letter may be at that bound, and is for people to look
 * at: it is cut. A valid message is smaller (MESSAGE_CONTENT_MAX_BYTES). */
#define DEAD_LETTER_MAX MESSAGE_CONTENT_MAX_BYTES
#define DEAD_LETTER_SHORT ((size_t)64 * 1024)

void copy_add(struct mail *mail, const char *topic, struct slice key,
              const struct kafka_header *headers, size_t header_count)
{
    CHECK_MAGIC(mail, MAIL_MAGIC);
    CHECK(header_count <= COPY_HEADERS_MAX);
    size_t size = sizeof(struct copy) + header_count * sizeof(struct kafka_header);
    size_t extra = key.len;
    for (size_t i = 0; i < header_count; i++) {
        extra += headers[i].value.len;
    }
    struct copy *copy = mem_zalloc(size + extra);
    char *at = (char *)copy + size;
    copy->topic = topic;
    copy->key = slice_place(&at, key);
    copy->value_len = mail->record.value.len;
    if (strcmp(topic, mail->worker->topics.dlq) == 0 && copy->value_len > DEAD_LETTER_MAX) {
        copy->value_len = DEAD_LETTER_SHORT;
    }
    copy->header_count = header_count;
    for (size_t i = 0; i < header_count; i++) {
        copy->headers[i].name = headers[i].name;
        copy->headers[i].value = slice_place(&at, headers[i].value);
    }
    list_push_back(&mail->copies, &copy->node);
}

struct kafka_record_out copy_record(const struct mail *mail, const struct copy *copy)
{
    return (struct kafka_record_out){
        .topic = copy->topic,
        .partition = mail->record.partition_id,
        .key = copy->key.ptr != NULL ? copy->key : mail->record.key,
        .value = slice_head(mail->record.value, copy->value_len),
        .borrow_value = true,
        .headers = copy->headers,
        .header_count = copy->header_count,
    };
}

void copies_free(struct mail *mail)
{
    struct list *node;
    while ((node = list_pop_front(&mail->copies)) != NULL) {
        mem_free(CONTAINER_OF(node, struct copy, node));
    }
}

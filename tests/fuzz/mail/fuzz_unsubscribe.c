/* Paths of strangers' requests: what is read of one can be written, and read again the same. */
#include "mail/unsubscribe.h"

#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct unsubscribe_request first, second;
    struct strbuf out;
    struct slice text = slice_of(data, size);
    (void)unsubscribe_is_there(text);
    if (!unsubscribe_read(text, &first)) {
        return 0;
    }
    char *token = mem_strndup(first.token.ptr, first.token.len);
    const struct unsubscribe_link link = {
        .token = token, .url = SLICE("https://h"), .address = first.address, .list = first.list};
    strbuf_init(&out, 8192);
    if (memchr(first.token.ptr, '>', first.token.len) == NULL &&
        memchr(first.token.ptr, '\0', first.token.len) == NULL && unsubscribe_write(&link, &out)) {
        struct slice line = strbuf_slice(&out);
        struct slice path = slice_skip(line, (size_t)slice_find_byte(line, '<') + 10);
        CHECK(unsubscribe_read(slice_head(path, (size_t)slice_find_byte(path, '>')), &second));
        CHECK(slice_eq(first.address, second.address) && slice_eq(first.list, second.list));
    }
    strbuf_free(&out);
    mem_free(token);
    return 0;
}

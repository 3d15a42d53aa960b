#include "ops/sluicectl/publish_input.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define BATCH_MAX_BYTES ((size_t)1024 * 1024 * 1024)

bool input_read_file(const char *path, size_t max_bytes, struct strbuf *text, struct fault *fault)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    strbuf_init(text, max_bytes);
    if (fd < 0) {
        return fault_set_errno(fault, errno, "%s", path);
    }
    bool good = strbuf_add_file(text, fd);
    (void)close(fd);
    if (!good && text->overflow) {
        return fault_set(fault, FAULT_INVALID, 0, "%s: larger than %zu bytes", path, max_bytes);
    }
    return good || fault_set(fault, FAULT_SYSTEM, 0, "%s: reading failed", path);
}

bool input_crlf(struct slice text, size_t max_bytes, struct strbuf *out)
{
    strbuf_init(out, max_bytes);
    while (text.len > 0) {
        size_t len = 0;
        while (len < text.len && text.ptr[len] != '\r' && text.ptr[len] != '\n') {
            len++;
        }
        strbuf_add(out, text.ptr, len);
        if (len == text.len) {
            break; /* no line end is made up at the end */
        }
        bool pair = text.ptr[len] == '\r' && len + 1 < text.len && text.ptr[len + 1] == '\n';
        strbuf_add(out, "\r\n", 2);
        text = slice_skip(text, len + (pair ? 2 : 1));
    }
    return !out->overflow;
}

static void keep_header(struct publish_list *list)
{
    list->column_count = list->row.count;
    for (size_t i = 0; i < list->row.count; i++) {
        struct slice name = slice_trim(slice_cstr(list->row.fields[i]));
        list->names[i] = mem_strndup(name.ptr, name.len);
    }
    for (size_t i = list->row.count; i-- > 0;) {
        list->address_column =
            slice_eq_nocase(slice_cstr(list->names[i]), SLICE("email")) ? i : list->address_column;
    }
}

bool publish_list_init(struct publish_list *list, struct slice text, struct fault *fault)
{
    *list = (struct publish_list){0};
    csv_init(&list->csv, text);
    enum csv_result result = csv_next(&list->csv, &list->row);
    if (result == CSV_END) {
        return fault_set(fault, FAULT_INVALID, 0, "empty: a header line is needed");
    }
    if (result == CSV_WRONG) {
        return fault_set(fault, FAULT_INVALID, 0, "line %llu: %s",
                         (unsigned long long)list->row.line, list->row.problem);
    }
    keep_header(list);
    if (strchr(list->names[list->address_column], '@') != NULL) {
        return fault_set(fault, FAULT_INVALID, 0,
                         "line %llu: \"%s\" is an address, but the first line names the columns",
                         (unsigned long long)list->row.line, list->names[list->address_column]);
    }
    list->recipients = mem_calloc(PUBLISH_BATCH, sizeof(*list->recipients));
    list->lines = mem_calloc(PUBLISH_BATCH, sizeof(*list->lines));
    return true;
}

void publish_list_free(struct publish_list *list)
{
    csv_free(&list->csv);
    for (size_t i = 0; i < list->column_count; i++) {
        mem_free(list->names[i]);
    }
    arena_free(&list->arena);
    mem_free(list->recipients);
    mem_free(list->lines);
    *list = (struct publish_list){0};
}

/* The row's address and metadata, in the batch's arena. False: no memory. */
static bool keep_row(struct publish_list *list, struct sluice_recipient *recipient)
{
    const struct csv_row *row = &list->row;
    struct sluice_pair *pairs = arena_try_alloc(list->arena, row->count * sizeof(*pairs));
    struct slice address = slice_trim(slice_cstr(row->fields[list->address_column]));
    size_t count = 0;
    address = arena_copy(list->arena, address);
    if (pairs == NULL || address.ptr == NULL) {
        return false;
    }
    for (size_t i = 0; i < row->count; i++) {
        struct slice value = slice_cstr(row->fields[i]);
        if (i == list->address_column || value.len == 0) {
            continue;
        }
        value = arena_copy(list->arena, value);
        if (value.ptr == NULL) {
            return false;
        }
        pairs[count++] = (struct sluice_pair){list->names[i], value.ptr};
    }
    *recipient = (struct sluice_recipient){
        .address = address.ptr, .metadata = pairs, .metadata_count = count};
    return true;
}

bool publish_list_next(struct publish_list *list, publish_list_wrong wrong, void *owner)
{
    enum csv_result result = CSV_END;
    arena_free(&list->arena);
    list->arena = arena_create(65536, BATCH_MAX_BYTES);
    CHECK(list->arena != NULL);
    list->count = 0;
    while (list->count < PUBLISH_BATCH && (result = csv_next(&list->csv, &list->row)) != CSV_END) {
        const char *problem = list->row.problem;
        if (result == CSV_ROW && list->row.count != list->column_count) {
            problem = "not as many columns as the header line";
        }
        if (problem == NULL && !keep_row(list, &list->recipients[list->count])) {
            problem = "out of memory";
        }
        if (problem != NULL) {
            wrong(owner, list->row.line, "", problem);
            continue;
        }
        list->lines[list->count++] = list->row.line;
    }
    return list->count > 0 || result != CSV_END;
}

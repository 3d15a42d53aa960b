#include "base/mem.h"

static void *must(void *pointer)
{
    CHECK(pointer != NULL);
    return pointer;
}

void *mem_zalloc(size_t size_bytes)
{
    return must(calloc(1, size_bytes > 0 ? size_bytes : 1));
}

void *mem_calloc(size_t count, size_t size_bytes)
{
    return must(calloc(count > 0 ? count : 1, size_bytes > 0 ? size_bytes : 1));
}

void *mem_realloc(void *old, size_t size_bytes)
{
    return must(realloc(old, size_bytes > 0 ? size_bytes : 1));
}

void *mem_try_alloc(size_t size_bytes)
{
    return malloc(size_bytes > 0 ? size_bytes : 1);
}

char *mem_strndup(const char *ptr, size_t len)
{
    char *copy = must(malloc(len + 1));
    if (len > 0) {
        memcpy(copy, ptr, len);
    }
    copy[len] = '\0';
    return copy;
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

void mem_free(void *pointer)
{
    free(pointer);
}

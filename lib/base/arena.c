#include "base/arena.h"

#include "base/mem.h"

#define ARENA_MAGIC 0x41524e41u
#define ARENA_ALIGN ((size_t)16)
#define ARENA_BLOCK_MIN ((size_t)1024)

struct block {
    struct block *next;
    size_t used;
    size_t room;
};

struct arena {
    uint32_t magic;
    size_t total_bytes;
    size_t max_bytes;
    struct block *current; /* newest first; the last of the chain is `first` */
    struct block first;    /* its bytes follow the struct */
};

static size_t round_up(size_t n)
{
    return (n + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
}

#define FIRST_HEADER round_up(sizeof(struct arena))
#define BLOCK_HEADER round_up(sizeof(struct block))

static char *block_bytes(struct arena *arena, struct block *block)
{
    if (block == &arena->first) {
        return (char *)arena + FIRST_HEADER;
    }
    return (char *)block + BLOCK_HEADER;
}

struct arena *arena_create(size_t first_bytes, size_t max_bytes)
{
    size_t room = round_up(first_bytes);
    struct arena *arena = malloc(FIRST_HEADER + room);
    if (arena == NULL) {
        return NULL;
    }
    arena->magic = ARENA_MAGIC;
    arena->total_bytes = FIRST_HEADER + room;
    arena->max_bytes = max_bytes;
    arena->first = (struct block){.room = room};
    arena->current = &arena->first;
    return arena;
}

void arena_free(struct arena **handle)
{
    struct arena *arena = *handle;
    if (arena == NULL) {
        return;
    }
    CHECK_MAGIC(arena, ARENA_MAGIC);
    for (struct block *block = arena->current; block != &arena->first;) {
        struct block *next = block->next;
        mem_free(block);
        block = next;
    }
    arena->magic = 0;
    mem_free(arena);
    *handle = NULL;
}

static struct block *block_add(struct arena *arena, size_t need)
{
    size_t room = arena->current->room * 2;
    room = room < ARENA_BLOCK_MIN ? ARENA_BLOCK_MIN : room;
    room = room < need ? need : room;
    if (room > arena->max_bytes || arena->total_bytes > arena->max_bytes - room) {
        room = need;
        if (room > arena->max_bytes || arena->total_bytes > arena->max_bytes - room) {
            return NULL;
        }
    }
    struct block *block = malloc(BLOCK_HEADER + room);
    if (block == NULL) {
        return NULL;
    }
    *block = (struct block){.next = arena->current, .room = room};
    arena->total_bytes += BLOCK_HEADER + room;
    arena->current = block;
    return block;
}

void *arena_try_alloc(struct arena *arena, size_t size_bytes)
{
    CHECK_MAGIC(arena, ARENA_MAGIC);
    if (size_bytes > SIZE_MAX / 4) {
        return NULL;
    }
    size_t need = round_up(size_bytes > 0 ? size_bytes : 1);
    struct block *block = arena->current;
    if (need > block->room - block->used) {
        block = block_add(arena, need);
        if (block == NULL) {
            return NULL;
        }
    }
    void *result = block_bytes(arena, block) + block->used;
    block->used += need;
    return result;
}

void *arena_zalloc(struct arena *arena, size_t size_bytes)
{
    void *result = arena_try_alloc(arena, size_bytes);
    CHECK(result != NULL);
    memset(result, 0, size_bytes);
    return result;
}

struct slice arena_copy(struct arena *arena, struct slice s)
{
    char *copy = arena_try_alloc(arena, s.len + 1);
    if (copy == NULL) {
        return SLICE_NULL;
    }
    if (s.len > 0) {
        memcpy(copy, s.ptr, s.len);
    }
    copy[s.len] = '\0';
    return slice_of(copy, s.len);
}

size_t arena_size_bytes(const struct arena *arena)
{
    return arena->total_bytes;
}

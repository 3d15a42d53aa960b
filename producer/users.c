#include "producer/users.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "producer/password.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define USERS_MAGIC 0x75736572u
#define FILE_MAX_BYTES ((size_t)16 * 1024 * 1024)
#define NAME_MAX_BYTES 128
#define TENANT_MAX 64
#define POOLS_MAX 1000

struct users {
    uint32_t magic;
    struct map by_name;
};

static void user_free(struct user *user)
{
    mem_free(user->name);
    mem_free(user->hash);
    mem_free(user->tenant);
    for (size_t i = 0; i < user->pool_count; i++) {
        mem_free(user->pools[i]);
    }
    mem_free(user->pools);
    mem_free(user);
}

void users_free(struct users **handle)
{
    struct users *users = *handle;
    size_t cursor = 0;
    struct user *user;
    if (users == NULL) {
        return;
    }
    CHECK_MAGIC(users, USERS_MAGIC);
    while ((user = map_next(&users->by_name, &cursor)) != NULL) {
        user_free(user);
    }
    map_free(&users->by_name);
    users->magic = 0;
    mem_free(users);
    *handle = NULL;
}

static bool is_tenant(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = ascii_lower_byte(s.ptr[i]);
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-') {
            return false;
        }
    }
    return s.len > 0 && s.len <= TENANT_MAX;
}

static bool take_pools(struct user *user, struct slice list, const struct config *config,
                       struct fault *fault)
{
    if (list.len == 0) {
        return true;
    }
    for (struct slice rest = list; rest.ptr != NULL;) {
        struct slice pool = slice_trim(slice_cut(&rest, ','));
        if (config_pool_named(config, pool) == NULL && config_vip_named(config, pool) == NULL) {
            return fault_set(fault, FAULT_INVALID, 0,
                             "\"%.*s\" is neither a pool nor a VIP of the configuration",
                             SLICE_FMT(pool));
        }
        if (!config_tenant_may_use(config, slice_cstr(user->tenant), pool)) {
            return fault_set(fault, FAULT_INVALID, 0, "tenant \"%s\" may not use \"%.*s\"",
                             user->tenant, SLICE_FMT(pool));
        }
        if (user->pool_count == POOLS_MAX) {
            return fault_set(fault, FAULT_INVALID, 0, "more than %d pools", POOLS_MAX);
        }
        user->pools = mem_realloc(user->pools, (user->pool_count + 1) * sizeof(*user->pools));
        user->pools[user->pool_count++] = mem_strndup(pool.ptr, pool.len);
    }
    return true;
}

static bool take_user(struct user *user, struct slice line, const struct config *config,
                      struct fault *fault)
{
    struct slice rest = line;
    struct slice name = slice_cut(&rest, ':');
    struct slice hash = slice_trim(slice_cut(&rest, ':'));
    struct slice tenant = slice_trim(slice_cut(&rest, ':'));
    if (name.len == 0 || name.len > NAME_MAX_BYTES || slice_has_control(name)) {
        return fault_set(fault, FAULT_INVALID, 0,
                         "expected NAME:HASH[:TENANT[:POOL,POOL]], NAME of 1 to %d bytes",
                         NAME_MAX_BYTES);
    }
    if (!password_hash_valid(hash, fault)) {
        return fault_prefix(fault, "user \"%.*s\"", SLICE_FMT(name));
    }
    tenant = tenant.len == 0 ? name : tenant;
    if (!is_tenant(tenant)) {
        return fault_set(fault, FAULT_INVALID, 0,
                         "user \"%.*s\": needs a tenant, of 1 to %d characters of [A-Za-z0-9._-]",
                         SLICE_FMT(name), TENANT_MAX);
    }
    user->name = mem_strndup(name.ptr, name.len);
    user->hash = mem_strndup(hash.ptr, hash.len);
    user->tenant = mem_strndup(tenant.ptr, tenant.len);
    if (!take_pools(user, slice_trim(rest), config, fault)) {
        return fault_prefix(fault, "user \"%s\"", user->name);
    }
    return true;
}

static bool take_line(struct users *users, struct slice line, const struct config *config,
                      struct fault *fault)
{
    struct user *user = mem_zalloc(sizeof(*user));
    if (!take_user(user, line, config, fault)) {
        user_free(user);
        return false;
    }
    if (map_get(&users->by_name, slice_cstr(user->name)) != NULL) {
        fault_set(fault, FAULT_INVALID, 0, "user \"%s\" is there twice", user->name);
        user_free(user);
        return false;
    }
    map_put(&users->by_name, slice_cstr(user->name), user);
    return true;
}

struct users *users_parse(const char *path, struct slice text, const struct config *config,
                          struct fault *fault)
{
    struct users *users = mem_zalloc(sizeof(*users));
    users->magic = USERS_MAGIC;
    map_init(&users->by_name);
    unsigned number = 1;
    for (struct slice rest = text; rest.ptr != NULL; number++) {
        struct slice line = slice_cut(&rest, '\n');
        line.len -= line.len > 0 && line.ptr[line.len - 1] == '\r' ? 1 : 0;
        if (slice_trim(line).len == 0 || line.ptr[0] == '#') {
            continue;
        }
        if (!take_line(users, line, config, fault)) {
            fault_prefix(fault, "%s:%u", path, number);
            users_free(&users);
            return NULL;
        }
    }
    return users;
}

static bool read_file(const char *path, struct strbuf *text, struct fault *fault)
{
    struct stat facts;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return fault_set_errno(fault, errno, "users file %s", path);
    }
    if (fstat(fd, &facts) == 0 && (facts.st_mode & S_IROTH) != 0) {
        log_warn("users-file", "path=\"%s\" reason=\"everybody on this machine can read it\"",
                 path);
    }
    bool good = strbuf_add_file(text, fd) || fault_set_errno(fault, errno, "users file %s", path);
    close(fd);
    return good;
}

struct users *users_load(const char *path, const struct config *config, struct fault *fault)
{
    struct strbuf text;
    struct users *users = NULL;
    if (path == NULL) {
        return users_parse("", SLICE_NULL, config, fault);
    }
    strbuf_init(&text, FILE_MAX_BYTES);
    if (read_file(path, &text, fault)) {
        users = users_parse(path, strbuf_slice(&text), config, fault);
    }
    strbuf_free(&text);
    return users;
}

struct user *users_named(const struct users *users, struct slice name)
{
    CHECK_MAGIC(users, USERS_MAGIC);
    return map_get(&users->by_name, name);
}

const struct user *users_any(const struct users *users)
{
    size_t cursor = 0;
    CHECK_MAGIC(users, USERS_MAGIC);
    return map_next(&users->by_name, &cursor);
}

size_t users_count(const struct users *users)
{
    CHECK_MAGIC(users, USERS_MAGIC);
    return users->by_name.count;
}

bool user_may_use(const struct user *user, const struct config *config, struct slice pool)
{
    bool listed = user->pool_count == 0;
    for (size_t i = 0; i < user->pool_count; i++) {
        listed = listed || slice_eq(pool, slice_cstr(user->pools[i]));
    }
    return listed &&
           (config_pool_named(config, pool) != NULL || config_vip_named(config, pool) != NULL) &&
           config_tenant_may_use(config, slice_cstr(user->tenant), pool);
}

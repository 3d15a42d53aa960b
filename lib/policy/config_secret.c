#include "policy/config_secret_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

static bool read_regular(int fd, const char *path, struct strbuf *out, struct fault *why)
{
    struct stat facts;
    if (fstat(fd, &facts) != 0) {
        return fault_set_errno(why, errno, "the file %s cannot be read", path);
    }
    if (!S_ISREG(facts.st_mode)) {
        return fault_set(why, FAULT_INVALID, 0, "%s is not a regular file", path);
    }
    for (;;) {
        char part[4096];
        ssize_t got = read(fd, part, sizeof(part));
        bool kept = got <= 0 || strbuf_add(out, part, (size_t)got);
        explicit_bzero(part, sizeof(part));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return fault_set_errno(why, errno, "the file %s cannot be read", path);
        }
        if (!kept) {
            return fault_set(why, FAULT_LIMIT, 0, "the file %s has more than %zu bytes", path,
                             out->max);
        }
        if (got == 0) {
            return true;
        }
    }
}

bool config_secret_read(const char *folder, struct slice path, struct strbuf *out,
                        struct fault *why)
{
    char whole[PATH_MAX];
    bool relative = path.len > 0 && path.ptr[0] != '/';
    int used = snprintf(whole, sizeof(whole), "%s%.*s", relative ? folder : "", SLICE_FMT(path));
    if (path.len == 0 || slice_has_control(path) || used < 0 || (size_t)used >= sizeof(whole)) {
        return fault_set(why, FAULT_INVALID, 0,
                         "the path of the file is empty, too long or has control characters");
    }
    int fd = open(whole, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return fault_set_errno(why, errno, "the file %s cannot be read", whole);
    }
    bool good = read_regular(fd, whole, out, why);
    (void)close(fd);
    while (good && out->len > 0 &&
           (out->ptr[out->len - 1] == '\n' || out->ptr[out->len - 1] == '\r')) {
        out->len--;
        out->ptr[out->len] = '\0';
    }
    return good;
}

#include "io/unix.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* False: somebody listens, or it cannot be known. */
static bool is_left_over(const struct sockaddr_un *address, struct fault *fault)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return fault_set_errno(fault, errno, "socket");
    }
    int result = connect(fd, (const struct sockaddr *)address, sizeof(*address));
    int error = result == 0 ? EADDRINUSE : errno;
    close(fd);
    return error == ECONNREFUSED || fault_set_errno(fault, EADDRINUSE, "%s", address->sun_path);
}

static bool make_room(const struct sockaddr_un *address, struct fault *fault)
{
    struct stat status;
    const char *path = address->sun_path;
    if (lstat(path, &status) != 0) {
        return errno == ENOENT || fault_set_errno(fault, errno, "%s", path);
    }
    if (!S_ISSOCK(status.st_mode)) {
        return fault_set(fault, FAULT_INVALID, 0, "%s: is there and no socket", path);
    }
    return is_left_over(address, fault) &&
           (unlink(path) == 0 || fault_set_errno(fault, errno, "%s", path));
}

struct io_listener *io_unix_listen(struct io_loop *loop, const char *path, uint32_t max_connections,
                                   io_accept_callback accepted, void *owner, struct fault *fault)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    _Static_assert(IO_UNIX_PATH_MAX < sizeof(address.sun_path), "the kernel's bound");
    if (len == 0 || len > IO_UNIX_PATH_MAX) {
        fault_set(fault, FAULT_INVALID, 0, "a socket's path has 1 to %d bytes", IO_UNIX_PATH_MAX);
        return NULL;
    }
    memcpy(address.sun_path, path, len);
    if (!make_room(&address, fault)) {
        return NULL;
    }
    const struct io_listener_options options = {
        .local = (const struct sockaddr *)&address,
        .local_len = sizeof(address),
        .max_connections = max_connections,
    };
    return io_listen(loop, &options, accepted, owner, fault);
}

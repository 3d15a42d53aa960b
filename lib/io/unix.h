/*
 * Listening on a path of this machine (AF_UNIX). Whoever may write to the socket's file may
 * connect: its owner and its group (mode 0660, from the first moment on).
 */
#ifndef SLUICE_IO_UNIX_H
#define SLUICE_IO_UNIX_H

#include "io/conn.h"

#define IO_UNIX_PATH_MAX 107

/* A socket that lies there and that nobody listens to is taken away before; anything else is a
 * fault. The file stays when the listener is freed. */
struct io_listener *io_unix_listen(struct io_loop *loop, const char *path, uint32_t max_connections,
                                   io_accept_callback accepted, void *owner, struct fault *fault);

#endif

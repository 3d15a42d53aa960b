/*
 * See link.h: where the server is. All on the loop's thread.
 */
#include "redis/link_private.h"

#include <netdb.h>
#include <sys/un.h>

static bool unix_address(const char *path, struct sockaddr_storage *address, socklen_t *len)
{
    struct sockaddr_un *local = (struct sockaddr_un *)address;
    *local = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(local->sun_path)) {
        return false;
    }
    memcpy(local->sun_path, path, strlen(path) + 1);
    *len = sizeof(*local);
    return true;
}

/* IPv4 if there is such an address; of several each attempt takes the next one. */
static int look_up(const struct redis_link *link, struct sockaddr_storage *address, socklen_t *len)
{
    char port[8];
    struct addrinfo *found = NULL;
    struct addrinfo hints = {
        .ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    (void)snprintf(port, sizeof(port), "%u", link->port);
    if (getaddrinfo(link->host, port, &hints, &found) != 0) {
        hints.ai_family = AF_INET6;
        int error = getaddrinfo(link->host, port, &hints, &found);
        if (error != 0) {
            return error;
        }
    }
    const struct addrinfo *one = found;
    for (unsigned i = 0; i < link->attempts; i++) {
        one = one->ai_next != NULL ? one->ai_next : found;
    }
    memcpy(address, one->ai_addr, one->ai_addrlen);
    *len = one->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

bool link_find_address(const struct redis_link *link, struct sockaddr_storage *address,
                       socklen_t *len, struct fault *fault)
{
    if (link->host == NULL) {
        return unix_address(link->setup->options->unix_path, address, len) ||
               fault_set(fault, FAULT_INVALID, 0, "the path is too long");
    }
    int error = look_up(link, address, len);
    return error == 0 ||
           fault_set(fault, FAULT_TEMPORARY, error, "%s: %s", link->host, gai_strerror(error));
}

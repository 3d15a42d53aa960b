#include "tests/kafka/live_proxy.h"

#include "tests/kafka/live.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAIRS = 64, JOINS = 16, JOIN_GROUP = 11, FRAME_HEAD = 4, FRAME_MAX = 8 << 20 };

/* One direction: whole frames go on, a rest of one waits. */
struct flow {
    int from, to;
    char *bytes;
    size_t len;
};

struct pair {
    bool used;
    struct flow asks, answers;
    uint32_t joins[JOINS]; /* correlation ids whose answers are swallowed */
    size_t join_count;
};

static struct {
    char name[32];
    uint16_t broker_port;
    int listener, end[2];
    pthread_t thread;
    struct pair pairs[PAIRS];
} proxy;

static atomic_int port; /* 0: nothing goes through it */
static atomic_int to_swallow, swallowed, joins;

static int connect_directly(int fd, const struct sockaddr *address, socklen_t len)
{
    return (int)syscall(SYS_connect, fd, address, len);
}

int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t len)
{
    struct sockaddr_in to;
    const struct sockaddr *wanted = address.__sockaddr__;
    if (atomic_load(&port) != 0 && wanted->sa_family == AF_INET) {
        memcpy(&to, wanted, sizeof(to));
        if (ntohs(to.sin_port) == proxy.broker_port) {
            to.sin_port = htons((uint16_t)atomic_load(&port));
            return connect_directly(fd, (const struct sockaddr *)&to, sizeof(to));
        }
    }
    return connect_directly(fd, wanted, len);
}

static uint32_t number_at(const char *bytes)
{
    uint32_t number;
    memcpy(&number, bytes, sizeof(number));
    return ntohl(number);
}

/* size, then: api key (2), version (2), correlation id (4), the rest. */
static void look_at_ask(struct pair *pair, const char *frame, size_t len)
{
    if (len < 12 || (number_at(frame + 4) >> 16) != JOIN_GROUP ||
        memmem(frame, len, proxy.name, strlen(proxy.name)) == NULL) {
        return;
    }
    atomic_fetch_add(&joins, 1);
    if (atomic_load(&to_swallow) > 0 && pair->join_count < JOINS) {
        atomic_fetch_sub(&to_swallow, 1);
        pair->joins[pair->join_count++] = number_at(frame + 8);
    }
}

/* size, then: correlation id (4). */
static bool swallows(struct pair *pair, const char *frame, size_t len)
{
    for (size_t i = 0; len >= 8 && i < pair->join_count; i++) {
        if (pair->joins[i] == number_at(frame + 4)) {
            pair->joins[i] = pair->joins[--pair->join_count];
            atomic_fetch_add(&swallowed, 1);
            return true;
        }
    }
    return false;
}

static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t done = send(fd, bytes, len, MSG_NOSIGNAL);
        if (done <= 0) {
            return false;
        }
        bytes += done;
        len -= (size_t)done;
    }
    return true;
}

/* False: the connection is over. */
static bool pass(struct pair *pair, struct flow *flow)
{
    ssize_t got = recv(flow->from, flow->bytes + flow->len, FRAME_MAX - flow->len, 0);
    size_t at = 0;
    if (got <= 0) {
        return false;
    }
    flow->len += (size_t)got;
    while (flow->len - at >= FRAME_HEAD) {
        const char *frame = flow->bytes + at;
        size_t len = FRAME_HEAD + number_at(frame);
        if (len > flow->len - at) {
            break;
        }
        if (flow == &pair->asks) {
            look_at_ask(pair, frame, len);
        }
        if ((flow == &pair->asks || !swallows(pair, frame, len)) &&
            !write_all(flow->to, frame, len)) {
            return false;
        }
        at += len;
    }
    memmove(flow->bytes, flow->bytes + at, flow->len - at);
    flow->len -= at;
    return flow->len < FRAME_MAX;
}

static void close_pair(struct pair *pair)
{
    close(pair->asks.from);
    close(pair->asks.to);
    mem_free(pair->asks.bytes);
    mem_free(pair->answers.bytes);
    *pair = (struct pair){0};
}

static void accept_one(void)
{
    struct sockaddr_in broker = {.sin_family = AF_INET,
                                 .sin_port = htons(proxy.broker_port),
                                 .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int yes = 1;
    int client = accept(proxy.listener, NULL, NULL);
    int server = socket(AF_INET, SOCK_STREAM, 0);
    size_t i = 0;
    while (i < PAIRS && proxy.pairs[i].used) {
        i++;
    }
    if (client < 0 || i == PAIRS ||
        connect_directly(server, (const struct sockaddr *)&broker, sizeof(broker)) != 0) {
        close(client); /* the broker is down, for all that the client can see */
        close(server);
        return;
    }
    (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    (void)setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    proxy.pairs[i] =
        (struct pair){.used = true,
                      .asks = {.from = client, .to = server, .bytes = mem_calloc(1, FRAME_MAX)},
                      .answers = {.from = server, .to = client, .bytes = mem_calloc(1, FRAME_MAX)}};
}

static void *serve(void *argument)
{
    (void)argument;
    for (;;) {
        struct pollfd ready[2 + 2 * PAIRS];
        ready[0] = (struct pollfd){.fd = proxy.end[0], .events = POLLIN};
        ready[1] = (struct pollfd){.fd = proxy.listener, .events = POLLIN};
        for (size_t i = 0; i < PAIRS; i++) {
            const struct pair *pair = &proxy.pairs[i];
            ready[2 + 2 * i] =
                (struct pollfd){.fd = pair->used ? pair->asks.from : -1, .events = POLLIN};
            ready[3 + 2 * i] =
                (struct pollfd){.fd = pair->used ? pair->asks.to : -1, .events = POLLIN};
        }
        (void)poll(ready, ARRAY_LEN(ready), -1);
        if (ready[0].revents != 0) {
            return NULL;
        }
        for (size_t i = 0; i < PAIRS; i++) {
            struct pair *pair = &proxy.pairs[i];
            bool good = (ready[2 + 2 * i].revents == 0 || pass(pair, &pair->asks)) &&
                        (ready[3 + 2 * i].revents == 0 || pass(pair, &pair->answers));
            if (!good) {
                close_pair(pair);
            }
        }
        if (ready[1].revents != 0) {
            accept_one();
        }
    }
}

void live_proxy_start(const char *name)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(here);
    struct slice broker = slice_cstr(getenv("KAFKA_BOOTSTRAP"));
    ptrdiff_t colon = slice_rfind_byte(broker, ':');
    uint64_t broker_port = 0;
    assert_true(colon >= 0 && slice_to_u64(slice_skip(broker, (size_t)colon + 1), &broker_port));
    proxy.broker_port = (uint16_t)broker_port;
    snprintf(proxy.name, sizeof(proxy.name), "%s", name);
    proxy.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(proxy.listener, (const struct sockaddr *)&here, len), 0);
    assert_int_equal(listen(proxy.listener, PAIRS), 0);
    assert_int_equal(getsockname(proxy.listener, (struct sockaddr *)&here, &len), 0);
    assert_int_equal(pipe(proxy.end), 0);
    atomic_store(&to_swallow, 0);
    atomic_store(&swallowed, 0);
    atomic_store(&joins, 0);
    assert_int_equal(pthread_create(&proxy.thread, NULL, serve, NULL), 0);
    atomic_store(&port, ntohs(here.sin_port));
}

void live_proxy_stop(void)
{
    atomic_store(&port, 0);
    assert_int_equal(write(proxy.end[1], "", 1), 1);
    pthread_join(proxy.thread, NULL);
    for (size_t i = 0; i < PAIRS; i++) {
        if (proxy.pairs[i].used) {
            close_pair(&proxy.pairs[i]);
        }
    }
    close(proxy.listener);
    close(proxy.end[0]);
    close(proxy.end[1]);
}

void live_proxy_swallow(int count)
{
    atomic_store(&to_swallow, count);
}

int live_proxy_swallowed(void)
{
    return atomic_load(&swallowed);
}

int live_proxy_joins(void)
{
    return atomic_load(&joins);
}

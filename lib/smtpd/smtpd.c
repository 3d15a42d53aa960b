#include "smtpd/smtpd.h"

#include "smtpd/session_private.h"

#include "base/log.h"
#include "base/mem.h"

#include <netinet/in.h>
#include <unistd.h>

/* Connections that are only told to go away. */
#define TURNED_AWAY_MAX 64
#define WARN_EVERY_MS 10000

struct slice smtpd_host_name(const char *configured, char out[SMTPD_HOST_NAME_MAX])
{
    if (configured != NULL) {
        snprintf(out, SMTPD_HOST_NAME_MAX, "%s", configured);
    } else if (gethostname(out, SMTPD_HOST_NAME_MAX - 1) != 0) {
        snprintf(out, SMTPD_HOST_NAME_MAX, "localhost");
    }
    return slice_cstr(out);
}

void smtpd_init(struct smtpd *smtpd)
{
    list_init(&smtpd->sessions);
    peers_init(&smtpd->peers);
}

bool smtpd_load_tls(struct smtpd *smtpd, const char *certificate_file, const char *key_file,
                    struct fault *fault)
{
    const struct tls_server_options options = {
        .certificate_file = certificate_file,
        .key_file = key_file,
    };
    if (certificate_file == NULL) {
        return true;
    }
    struct tls_context *fresh = tls_server_context(&options, fault);
    if (fresh == NULL) {
        return fault_prefix(fault, "%s.tls-certificate-file, %s.tls-key-file", smtpd->section,
                            smtpd->section);
    }
    tls_context_free(&smtpd->tls);
    smtpd->tls = fresh;
    return true;
}

/* ---- who may come ---- */

/* Says so, but not for each one of a flood. */
static void count_turned_away(struct smtpd *smtpd, const struct sockaddr_storage *address)
{
    char text[IO_ADDRESS_TEXT_MAX];
    struct mono_time now = io_loop_now(smtpd->loop);
    smtpd->refused_connections++;
    if (mono_before(now, smtpd->next_warning)) {
        return;
    }
    smtpd->next_warning = mono_add_ms(now, WARN_EVERY_MS);
    struct slice name = io_address_format((const struct sockaddr *)address, text);
    log_warn("too-many-connections", "sessions=%zu peer=%.*s refused_connections=%llu",
             smtpd->session_count, SLICE_FMT(name), (unsigned long long)smtpd->refused_connections);
}

/* Starts a session, or refuses politely when there are too many. Without an owner the connection
 * is closed. */
static void accepted(struct io_listener *io, void *owner, struct io_conn *conn)
{
    struct smtpd_listener *listener = owner;
    struct smtpd *smtpd = listener->smtpd;
    struct sockaddr_storage address;
    bool full = smtpd->session_count >= smtpd->max_connections;
    (void)io;
    smtpd->connections++;
    if (!io_conn_remote(conn, &address) ||
        smtpd->session_count >= smtpd->max_connections + (size_t)TURNED_AWAY_MAX) {
        return;
    }
    struct peer *peer =
        full ? NULL : peers_enter(&smtpd->peers, &address, smtpd->max_connections_per_peer);
    if (peer == NULL) {
        count_turned_away(smtpd, &address);
    }
    if (peer == NULL && listener->implicit_tls) {
        return; /* no handshake for a refusal */
    }
    smtpd_session_open(listener, conn, &address, peer, full);
}

/* ---- listeners ---- */

/* 127/8 or ::1. */
static bool is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof(v4));
        return (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
    }
    struct sockaddr_in6 v6;
    memcpy(&v6, address, sizeof(v6));
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

static bool listen_on(struct smtpd *smtpd, const struct config_listener *config,
                      struct smtpd_listener *listener, struct fault *fault)
{
    struct sockaddr_storage address;
    socklen_t len;
    char text[IO_ADDRESS_TEXT_MAX];
    if (!io_address_parse(slice_cstr(config->address), 0, &address, &len, fault)) {
        return fault_prefix(fault, "%s.listeners: %s", smtpd->section, config->address);
    }
    const struct io_listener_options options = {
        .local = (const struct sockaddr *)&address,
        .local_len = len,
    };
    listener->smtpd = smtpd;
    listener->implicit_tls = config->implicit_tls;
    listener->loopback = is_loopback(&address);
    listener->io = io_listen(smtpd->loop, &options, accepted, listener, fault);
    if (listener->io == NULL) {
        return false;
    }
    io_listener_local(listener->io, &address);
    struct slice name = io_address_format((const struct sockaddr *)&address, text);
    log_info("listening", "address=%.*s port=%u implicit_tls=%d", SLICE_FMT(name),
             io_address_port((const struct sockaddr *)&address), listener->implicit_tls);
    return true;
}

bool smtpd_listen(struct smtpd *smtpd, const struct config_listener *listeners, size_t count,
                  struct fault *fault)
{
    if (count == 0) {
        return fault_set(fault, FAULT_INVALID, 0, "%s.listeners: there are none", smtpd->section);
    }
    smtpd->listeners = mem_calloc(count, sizeof(*smtpd->listeners));
    for (size_t i = 0; i < count; i++) {
        if (!listen_on(smtpd, &listeners[i], &smtpd->listeners[i], fault)) {
            return false;
        }
        smtpd->listener_count++;
    }
    return true;
}

static void close_listeners(struct smtpd *smtpd)
{
    for (size_t i = 0; i < smtpd->listener_count; i++) {
        io_listener_free(&smtpd->listeners[i].io);
    }
}

/* ---- the end ---- */

void smtpd_drain(struct smtpd *smtpd)
{
    smtpd->draining = true;
    close_listeners(smtpd);
    list_foreach_safe (node, after, &smtpd->sessions) {
        smtpd_session_drain(smtpd_session_of(node));
    }
}

void smtpd_close(struct smtpd *smtpd)
{
    smtpd->draining = true;
    close_listeners(smtpd);
    list_foreach_safe (node, after, &smtpd->sessions) {
        smtpd_session_abort(smtpd_session_of(node));
    }
}

void smtpd_free(struct smtpd *smtpd)
{
    tls_context_free(&smtpd->tls);
    peers_end(&smtpd->peers);
    mem_free(smtpd->listeners);
    smtpd->listeners = NULL;
}

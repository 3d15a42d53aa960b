/*
 * See web.h. A request is read and refused on its HTTP thread. One that is good is suspended there
 * and posted to the loop's thread, which alone makes events and talks to Kafka; when Kafka has
 * reported, it is resumed with its status, and answered on the HTTP thread again.
 */
#include "bouncer/web.h"

#include "base/log.h"
#include "base/mem.h"
#include "bouncer/web_certificate.h"
#include "io/mailbox.h"
#include "mail/unsubscribe.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define WEB_MAGIC 0x57454221u
#define BODY_MAX_BYTES ((size_t)1024)
#define EVENT_MAX_BYTES ((size_t)64 * 1024)
#define IDLE_SECONDS 30u
#define CONNECTION_BYTES ((size_t)16 * 1024)

struct web_server {
    struct web *web;
    struct MHD_Daemon *daemon;
    MHD_socket quiet; /* the listening socket after web_drain() */
};

struct web {
    uint32_t magic;
    struct bouncer *bouncer;
    struct mailbox *mailbox;
    pthread_mutex_t lock; /* of `closing`: nothing is posted once it is set */
    bool closing;
    size_t waiting; /* for Kafka; the loop's thread */
    struct web_server *servers;
    size_t server_count;
};

struct web_record {
    struct kafka_delivery delivery;
    struct web_request *request;
};

struct web_request {
    struct web *web;
    struct MHD_Connection *connection;
    struct letter letter;
    bool begun; /* its header has been seen */
    bool too_large;
    char body[BODY_MAX_BYTES];
    size_t body_len;
    char peer[IO_ADDRESS_TEXT_MAX];
    struct slice peer_name;
    struct unsubscribe_request link; /* `token` points into `path` */
    char *path;
    char id[UUID_TEXT_LEN + 1];

    /* The loop's thread. */
    struct strbuf encoded;
    struct slice key; /* in `id` or in `message_id` */
    char message_id[UUID_TEXT_LEN + 1];
    struct web_record records[2];
    unsigned in_flight;
    bool failed;
    atomic_uint status; /* 0: not known yet */
};

/* ---- answers, on HTTP threads ---- */

static const char page_head[] =
    "<!DOCTYPE html><html lang=en><meta charset=utf-8><meta name=viewport "
    "content=\"width=device-width\"><title>Unsubscribe</title>"
    "<body style=\"font-family:sans-serif;max-width:30em;margin:4em auto;padding:0 1em\">";
static const char page_ask[] =
    "<h1>Unsubscribe</h1><p>Do you want to receive no more of these mails?</p>"
    "<form method=post><button name=List-Unsubscribe value=One-Click "
    "style=\"font-size:1.2em;padding:.5em 1em\">Unsubscribe</button></form>";
static const char page_done[] = "<h1>Done</h1><p>You will receive no more of these mails.</p>";
static const char page_unknown[] =
    "<h1>This link is not valid</h1><p>It is too old, or was cut.</p>";
static const char page_later[] = "<h1>Not now</h1><p>Please try again in a few minutes.</p>";
static const char page_wrong[] = "<h1>This is not understood</h1>";

static const char *page_of(unsigned status)
{
    switch (status) {
    case MHD_HTTP_OK: return page_done;
    case MHD_HTTP_NOT_FOUND: return page_unknown;
    case MHD_HTTP_SERVICE_UNAVAILABLE: return page_later;
    default: return page_wrong;
    }
}

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *page)
{
    char text[2048];
    int len = snprintf(text, sizeof(text), "%s%s</body></html>\n", page_head, page);
    CHECK(len > 0 && (size_t)len < sizeof(text));
    struct MHD_Response *response =
        MHD_create_response_from_buffer((size_t)len, text, MHD_RESPMEM_MUST_COPY);
    if (response == NULL) {
        return MHD_NO;
    }
    (void)MHD_add_response_header(response, "Content-Type", "text/html; charset=utf-8");
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    (void)MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    (void)MHD_add_response_header(response, "Content-Security-Policy",
                                  "default-src 'none'; style-src 'unsafe-inline'");
    if (status == MHD_HTTP_SERVICE_UNAVAILABLE) {
        (void)MHD_add_response_header(response, "Retry-After", "300");
    } else if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        (void)MHD_add_response_header(response, "Allow", "GET, HEAD, POST");
    }
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- to Kafka, on the loop's thread ---- */

static void finish(struct web_request *request, unsigned status)
{
    struct web *web = request->web;
    log_info("unsubscribed", "id=%s code=%u peer=%.*s message=%s", request->id, status,
             SLICE_FMT(request->peer_name), request->message_id);
    CHECK(web->waiting > 0);
    web->waiting--;
    atomic_store(&request->status, status);
    MHD_resume_connection(request->connection); /* from here on it is the HTTP thread's */
    bouncer_check_drained(web->bouncer);
}

static void delivered(struct kafka_delivery *delivery, int32_t partition, int64_t offset,
                      const struct fault *fault)
{
    struct web_record *record = CONTAINER_OF(delivery, struct web_record, delivery);
    struct web_request *request = record->request;
    (void)partition;
    (void)offset;
    request->failed = request->failed || fault != NULL;
    CHECK(request->in_flight > 0);
    if (--request->in_flight == 0) {
        finish(request, request->failed ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK);
    }
}

static void encode(void *owner, const struct event *event)
{
    struct web_request *request = owner;
    snprintf(request->message_id, sizeof(request->message_id), "%.*s",
             SLICE_FMT(event->message_id));
    request->key = slice_cstr(request->message_id);
    request->failed = !event_encode(event, &request->encoded);
    request->web->bouncer->counters.events++;
}

static void send_event(struct web_request *request)
{
    struct bouncer *bouncer = request->web->bouncer;
    const char *const topics[] = {bouncer->log, bouncer->feedback};
    struct fault fault = {0};
    for (size_t i = 0; i < ARRAY_LEN(topics) && !request->failed; i++) {
        request->records[i] = (struct web_record){{delivered}, request};
        const struct kafka_record_out out = {
            .topic = topics[i],
            .partition = -1,
            .key = request->key,
            .value = strbuf_slice(&request->encoded),
            .borrow_value = true,
            .delivery = &request->records[i].delivery,
        };
        if (kafka_producer_send(bouncer->kafka, &out, &fault)) {
            request->in_flight++;
        } else {
            request->failed = true;
        }
    }
    if (request->in_flight == 0) {
        finish(request, MHD_HTTP_SERVICE_UNAVAILABLE);
    }
}

static struct judge_leave leave_of(const struct web_request *request)
{
    return (struct judge_leave){
        .token = request->link.token,
        .address = request->link.address,
        .list = request->link.list,
        .peer_address = request->peer_name,
        .report_id = slice_cstr(request->id),
        .now = wall_now(),
    };
}

static void take(struct letter *letter, void *owner)
{
    struct web_request *request = CONTAINER_OF(letter, struct web_request, letter);
    struct web *web = owner;
    CHECK_MAGIC(web, WEB_MAGIC);
    struct judge_leave leave = leave_of(request);
    web->waiting++;
    switch (judge_leave(&web->bouncer->judge, &leave, encode, request)) {
    case JUDGE_LINK_GOOD: send_event(request); break;
    case JUDGE_LINK_UNKNOWN: finish(request, MHD_HTTP_NOT_FOUND); break;
    case JUDGE_LINK_LATER: finish(request, MHD_HTTP_SERVICE_UNAVAILABLE); break;
    }
}

/* ---- requests, on HTTP threads ---- */

/* False: nothing is taken any more. */
static bool post(struct web_request *request)
{
    struct web *web = request->web;
    pthread_mutex_lock(&web->lock);
    bool open = !web->closing;
    if (open) {
        MHD_suspend_connection(request->connection);
        mailbox_post(web->mailbox, &request->letter);
    }
    pthread_mutex_unlock(&web->lock);
    return open;
}

static struct web_request *begin(struct web *web, struct MHD_Connection *connection,
                                 const char *path)
{
    struct web_request *request = mem_zalloc(sizeof(*request));
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct uuid id = uuid_v7(wall_now());
    request->web = web;
    request->connection = connection;
    request->path = mem_strdup(path);
    request->peer_name =
        info == NULL ? SLICE_NULL : io_address_format(info->client_addr, request->peer);
    uuid_format(&id, request->id);
    strbuf_init(&request->encoded, EVENT_MAX_BYTES);
    return request;
}

static void completed(void *owner, struct MHD_Connection *connection, void **context,
                      enum MHD_RequestTerminationCode code)
{
    struct web_request *request = *context;
    (void)owner;
    (void)connection;
    (void)code;
    if (request != NULL) {
        CHECK(request->in_flight == 0);
        strbuf_free(&request->encoded);
        mem_free(request->path);
        mem_free(request);
        *context = NULL;
    }
}

static void add_body(struct web_request *request, const char *bytes, size_t len)
{
    size_t room = sizeof(request->body) - request->body_len;
    request->too_large = request->too_large || len > room;
    len = len < room ? len : room;
    memcpy(request->body + request->body_len, bytes, len);
    request->body_len += len;
}

static enum MHD_Result on_get(struct web_request *request)
{
    const struct judge_leave leave = leave_of(request);
    switch (judge_link(&request->web->bouncer->judge, &leave)) {
    case JUDGE_LINK_GOOD: return answer(request->connection, MHD_HTTP_OK, page_ask);
    case JUDGE_LINK_UNKNOWN: return answer(request->connection, MHD_HTTP_NOT_FOUND, page_unknown);
    case JUDGE_LINK_LATER: break;
    }
    return answer(request->connection, MHD_HTTP_SERVICE_UNAVAILABLE, page_later);
}

/* The body is read. */
static enum MHD_Result on_post(struct web_request *request)
{
    unsigned status = MHD_HTTP_SERVICE_UNAVAILABLE;
    const struct judge_leave leave = leave_of(request);
    if (request->too_large) {
        status = MHD_HTTP_CONTENT_TOO_LARGE;
    } else if (slice_find(slice_of(request->body, request->body_len), SLICE("One-Click")) < 0) {
        status = MHD_HTTP_BAD_REQUEST; /* RFC 8058 3.1 */
    } else if (judge_link(&request->web->bouncer->judge, &leave) == JUDGE_LINK_UNKNOWN) {
        status = MHD_HTTP_NOT_FOUND; /* no need to trouble the loop */
    } else if (post(request)) {
        return MHD_YES;
    }
    return answer(request->connection, status, page_of(status));
}

static enum MHD_Result on_request(void *owner, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_len, void **context)
{
    struct web_server *server = owner;
    struct web_request *request = *context;
    (void)version;
    if (request == NULL) {
        *context = begin(server->web, connection, path);
        return MHD_YES;
    }
    unsigned status = atomic_load(&request->status);
    if (status != 0) {
        return answer(connection, status, page_of(status));
    }
    if (*upload_len > 0) {
        add_body(request, upload, *upload_len);
        *upload_len = 0;
        return MHD_YES;
    }
    if (!unsubscribe_read(slice_cstr(request->path), &request->link)) {
        return answer(connection, MHD_HTTP_NOT_FOUND, page_unknown);
    }
    if (strcmp(method, MHD_HTTP_METHOD_POST) == 0) {
        return on_post(request);
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0) {
        return on_get(request);
    }
    return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, page_wrong);
}

/* The path stays as it came: an escaped "/" is no separator. */
static size_t keep_escapes(void *owner, struct MHD_Connection *connection, char *text)
{
    (void)owner;
    (void)connection;
    return strlen(text);
}

/* ---- start and end ---- */

bool web_reload(struct web *web, struct fault *fault)
{
    const struct config_unsubscribe *config = &web->bouncer->config->unsubscribe;
    CHECK_MAGIC(web, WEB_MAGIC);
    return config->tls_certificate_file == NULL ||
           web_certificate_load(config->tls_certificate_file, config->tls_key_file, fault) ||
           fault_prefix(fault, "unsubscribe.tls-certificate-file, unsubscribe.tls-key-file");
}

static bool listen_on(struct web_server *server, const struct config_listener *listener,
                      struct fault *fault)
{
    struct web *web = server->web;
    const struct config_unsubscribe *config = &web->bouncer->config->unsubscribe;
    struct sockaddr_storage address;
    socklen_t len;
    if (!io_address_parse(slice_cstr(listener->address), 0, &address, &len, fault)) {
        return fault_prefix(fault, "unsubscribe.listeners: %s", listener->address);
    }
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(intptr_t)web_certificate_choose},
        {MHD_OPTION_END, 0, NULL},
    };
    if (!listener->implicit_tls) {
        tls[0] = tls[1];
    }
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                     (address.ss_family == AF_INET6 ? (unsigned)MHD_USE_IPv6 : 0u) |
                     (listener->implicit_tls ? (unsigned)MHD_USE_TLS : 0u);
    server->daemon = MHD_start_daemon(
        flags, io_address_port((const struct sockaddr *)&address), NULL, NULL, on_request, server,
        MHD_OPTION_SOCK_ADDR, (const struct sockaddr *)&address, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)config->max_connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)config->max_connections_per_peer, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES, MHD_OPTION_NOTIFY_COMPLETED,
        completed, NULL, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_ARRAY, tls,
        MHD_OPTION_END);
    if (server->daemon == NULL) {
        return fault_set(fault, FAULT_SYSTEM, 0,
                         "unsubscribe.listeners: %s: in use, or not an address of this machine",
                         listener->address);
    }
    log_info("listening", "http=%s tls=%d", listener->address, listener->implicit_tls);
    return true;
}

struct web *web_create(struct bouncer *bouncer, struct fault *fault)
{
    const struct config_unsubscribe *config = &bouncer->config->unsubscribe;
    struct web *web = mem_zalloc(sizeof(*web));
    web->magic = WEB_MAGIC;
    web->bouncer = bouncer;
    CHECK(pthread_mutex_init(&web->lock, NULL) == 0);
    web->servers = mem_calloc(config->listener_count, sizeof(*web->servers));
    web->mailbox = mailbox_create(bouncer->loop, take, web, fault);
    bool ok = web->mailbox != NULL && web_reload(web, fault);
    for (size_t i = 0; ok && i < config->listener_count; i++) {
        web->servers[i] = (struct web_server){.web = web, .quiet = MHD_INVALID_SOCKET};
        ok = listen_on(&web->servers[i], &config->listeners[i], fault);
        web->server_count += ok;
    }
    if (!ok) {
        web_stop(web);
        web_free(&web);
    }
    return web;
}

void web_drain(struct web *web)
{
    CHECK_MAGIC(web, WEB_MAGIC);
    pthread_mutex_lock(&web->lock);
    web->closing = true;
    pthread_mutex_unlock(&web->lock);
    for (size_t i = 0; i < web->server_count; i++) {
        if (web->servers[i].quiet == MHD_INVALID_SOCKET) {
            web->servers[i].quiet = MHD_quiesce_daemon(web->servers[i].daemon);
        }
    }
}

bool web_is_idle(const struct web *web)
{
    return web->waiting == 0;
}

void web_stop(struct web *web)
{
    if (web == NULL) {
        return;
    }
    web_drain(web);
    if (web->mailbox != NULL) {
        mailbox_free(&web->mailbox);
    }
}

void web_free(struct web **handle)
{
    struct web *web = *handle;
    if (web == NULL) {
        return;
    }
    CHECK_MAGIC(web, WEB_MAGIC);
    CHECK(web->waiting == 0);
    for (size_t i = 0; i < web->server_count; i++) {
        MHD_stop_daemon(web->servers[i].daemon);
        if (web->servers[i].quiet != MHD_INVALID_SOCKET) {
            (void)close(web->servers[i].quiet);
        }
    }
    web_certificate_end();
    mem_free(web->servers);
    pthread_mutex_destroy(&web->lock);
    web->magic = 0;
    mem_free(web);
    *handle = NULL;
}

/*
 * The server engine against any bytes, in any split, with any answers. The first four bytes choose
 * configuration, split and answers; the rest is what the peer sends. Checked: transactions begin
 * and end in order, nothing follows CLOSED, every reply is well-formed, and the engine does not
 * stand still while nothing is owed.
 */
#include "smtp/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_MESSAGE 300

struct fuzz {
    struct smtp_server *server;
    uint32_t choice; /* shifted for each answer */
    bool open, content_allowed, closed;
    uint64_t content_bytes;
    size_t rcpts;
};

static void answer(struct fuzz *fuzz, uint16_t good)
{
    static const uint16_t bad[] = {421, 450, 550, 554};
    fuzz->choice = fuzz->choice * 1664525U + 1013904223U;
    uint32_t roll = fuzz->choice >> 24;
    smtp_server_reply(fuzz->server, roll < 40 ? bad[roll % 4] : good, roll < 40 ? "4.0.0" : "2.0.0",
                      "text\r\n with line end");
}

static void take(struct fuzz *fuzz, const struct smtp_server_event *event)
{
    CHECK(!fuzz->closed || event->type == SMTP_SERVER_EVENT_NONE);
    switch (event->type) {
    case SMTP_SERVER_EVENT_MAIL:
        CHECK(!fuzz->open && !slice_has_control(event->address));
        answer(fuzz, 250);
        fuzz->open = (fuzz->choice >> 24) >= 40;
        fuzz->rcpts = 0;
        fuzz->content_bytes = 0;
        fuzz->content_allowed = false;
        break;
    case SMTP_SERVER_EVENT_RCPT:
        CHECK(fuzz->open && !fuzz->content_allowed && event->address.len > 0);
        answer(fuzz, 250);
        fuzz->rcpts += (fuzz->choice >> 24) >= 40;
        CHECK(fuzz->rcpts <= 5);
        break;
    case SMTP_SERVER_EVENT_DATA:
        CHECK(fuzz->open && fuzz->rcpts > 0);
        answer(fuzz, 354);
        fuzz->content_allowed = true;
        break;
    case SMTP_SERVER_EVENT_CONTENT:
        CHECK(fuzz->open && fuzz->content_allowed && event->content.len > 0);
        fuzz->content_bytes += event->content.len;
        CHECK(fuzz->content_bytes <= MAX_MESSAGE);
        break;
    case SMTP_SERVER_EVENT_MESSAGE:
        CHECK(fuzz->open && fuzz->content_allowed);
        do {
            answer(fuzz, 250);
        } while (smtp_server_waiting(fuzz->server));
        fuzz->open = false;
        break;
    case SMTP_SERVER_EVENT_RESET:
        CHECK(fuzz->open);
        fuzz->open = false;
        break;
    case SMTP_SERVER_EVENT_CLOSED:
        CHECK(!fuzz->open);
        fuzz->closed = true;
        break;
    case SMTP_SERVER_EVENT_AUTH:
        CHECK(event->user.len > 0 && event->password.len > 0);
        smtp_server_auth_result(fuzz->server, (fuzz->choice & 1) != 0, false);
        break;
    case SMTP_SERVER_EVENT_STARTTLS:
        smtp_server_tls_done(fuzz->server, true, (struct mono_time){2});
        break;
    case SMTP_SERVER_EVENT_EHLO: CHECK(event->name.len > 0); break;
    case SMTP_SERVER_EVENT_NONE: break;
    }
}

static void drain(struct fuzz *fuzz)
{
    struct smtp_server_event event;
    do {
        smtp_server_next_event(fuzz->server, &event);
        take(fuzz, &event);
    } while (event.type != SMTP_SERVER_EVENT_NONE);
}

/* Reply-line: three digits, blank or hyphen, no control characters, at most 512 bytes (RFC 5321
 * section 4.5.3.1.5). */
static void check_replies(struct slice out)
{
    while (out.len > 0) {
        struct slice line = slice_cut(&out, '\n');
        CHECK(line.len >= 4 && line.len < 512 && line.ptr[line.len - 1] == '\r');
        CHECK(line.ptr[0] >= '2' && line.ptr[0] <= '5' &&
              (line.ptr[3] == ' ' || line.ptr[3] == '-'));
        CHECK(!slice_has_control(slice_head(line, line.len - 1)));
    }
}

static void write_out(struct fuzz *fuzz)
{
    struct iovec piece;
    while (smtp_server_output(fuzz->server, &piece, 1) > 0) {
        check_replies(slice_of(piece.iov_base, piece.iov_len));
        smtp_server_sent(fuzz->server, piece.iov_len, (struct mono_time){3});
        drain(fuzz);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {.open = false};
    if (size < 4) {
        return 0;
    }
    struct smtp_server_config config = {
        .host_name = SLICE("mx.example"),
        .capabilities = (data[0] & 1) != 0 ? 0x7ff : data[0] * 8U,
        .lmtp = (data[0] & 2) != 0,
        .max_message_bytes = MAX_MESSAGE,
        .max_recipients = 5,
        .max_errors = data[1] & 7U,
        .command_timeout_ms = 1000,
        .data_timeout_ms = 1000,
    };
    size_t step = data[2] == 0 ? SIZE_MAX : data[2];
    struct slice rest = slice_of(data + 4, size - 4);
    fuzz.choice = data[3] * 16777619U;
    fuzz.server = smtp_server_create(&config);
    smtp_server_start(fuzz.server, (data[0] & 4) != 0, SLICE_NULL, (struct mono_time){1});
    write_out(&fuzz);
    while (rest.len > 0) {
        size_t taken =
            smtp_server_input(fuzz.server, slice_head(rest, step), (struct mono_time){1});
        drain(&fuzz);
        write_out(&fuzz);
        CHECK(taken > 0); /* nothing is owed and all output left */
        rest = slice_skip(rest, taken);
    }
    smtp_server_timeout(fuzz.server,
                        (struct mono_time){10}); /* it may have to learn the time first */
    smtp_server_timeout(fuzz.server, (struct mono_time){10000000});
    drain(&fuzz);
    write_out(&fuzz);
    CHECK(fuzz.closed);
    smtp_server_free(&fuzz.server);
    return 0;
}

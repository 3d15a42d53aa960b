#include "smtp/reply.h"

/*
 * RFC 5321 section 4.2:
 *   Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
 *   Reply-code = %x32-35 %x30-35 %x30-39
 * RFC 2034 section 4: the text of a 2xx, 4xx or 5xx line may begin with an enhanced status code and
 * a blank.
 */

void smtp_reply_init(struct smtp_reply_parser *parser)
{
    *parser = (struct smtp_reply_parser){0};
    strbuf_init(&parser->text, SMTP_REPLY_TEXT_MAX);
    strbuf_init(&parser->partial, SMTP_REPLY_LINE_MAX);
}

void smtp_reply_free(struct smtp_reply_parser *parser)
{
    strbuf_free(&parser->text);
    strbuf_free(&parser->partial);
}

static void begin_reply(struct smtp_reply_parser *parser)
{
    parser->code = 0;
    parser->lines = 0;
    parser->enhanced = (struct smtp_enhanced){0};
    parser->bytes = 0;
    parser->reply_complete = false;
    strbuf_reset(&parser->text);
}

void smtp_reply_reset(struct smtp_reply_parser *parser)
{
    begin_reply(parser);
    parser->line = SLICE_NULL;
    parser->line_complete = false;
    parser->problem = NULL;
    strbuf_reset(&parser->partial);
}

static enum smtp_reply_status bad(struct smtp_reply_parser *parser, const char *problem)
{
    parser->problem = problem;
    return SMTP_REPLY_BAD;
}

/* As much of `s` as the buffer's maximum leaves room for. */
static void add_bounded(struct strbuf *buf, struct slice s)
{
    strbuf_add_slice(buf, slice_head(s, buf->max - buf->len));
}

/* Controls and tabs become blanks, and if the whole is not UTF-8, then every byte >= 0x80 becomes
 * '?'. */
static void clean_text(struct strbuf *text)
{
    bool ascii = true;
    for (size_t i = 0; i < text->len; i++) {
        unsigned char c = (unsigned char)text->ptr[i];
        if (c < 0x20 || c == 0x7f) {
            text->ptr[i] = ' ';
        }
        ascii = ascii && c < 0x80;
    }
    if (ascii) {
        return;
    }
    /* The bound may have cut the last character. */
    for (size_t cut = 0; cut < 4 && cut < text->len && text->len == text->max; cut++) {
        if (slice_is_utf8(slice_head(strbuf_slice(text), text->len - cut))) {
            text->len -= cut;
            text->ptr[text->len] = '\0';
            return;
        }
    }
    if (!slice_is_utf8(strbuf_slice(text))) {
        for (size_t i = 0; i < text->len; i++) {
            text->ptr[i] = (unsigned char)text->ptr[i] >= 0x80 ? '?' : text->ptr[i];
        }
    }
}

static void add_line_text(struct smtp_reply_parser *parser, struct slice text)
{
    struct smtp_enhanced enhanced;
    if (parser->code / 100 != 3 && smtp_enhanced_take(&text, &enhanced) &&
        parser->enhanced.klass == 0) {
        parser->enhanced = enhanced;
    }
    text = slice_trim(text);
    if (text.len == 0) {
        return;
    }
    if (parser->text.len > 0) {
        add_bounded(&parser->text, SLICE(" "));
    }
    add_bounded(&parser->text, text);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* `line` is without its line end and within the bound. */
static enum smtp_reply_status parse_line(struct smtp_reply_parser *parser, struct slice line)
{
    if (line.len < 3 || line.ptr[0] < '2' || line.ptr[0] > '5' || !is_digit(line.ptr[1]) ||
        !is_digit(line.ptr[2])) {
        return bad(parser, "reply does not begin with a reply code");
    }
    uint16_t code =
        (uint16_t)((line.ptr[0] - '0') * 100 + (line.ptr[1] - '0') * 10 + (line.ptr[2] - '0'));
    char separator = line.len > 3 ? line.ptr[3] : ' ';
    if (separator != ' ' && separator != '-') {
        return bad(parser, "reply code is not followed by a blank or hyphen");
    }
    if (parser->lines > 0 && code != parser->code) {
        return bad(parser, "reply code changes within a reply");
    }
    if (parser->lines >= SMTP_REPLY_LINES_MAX) {
        return bad(parser, "reply has too many lines");
    }
    parser->code = code;
    parser->lines++;
    parser->line = slice_skip(line, 4);
    add_line_text(parser, parser->line);
    if (separator == '-') {
        return SMTP_REPLY_LINE;
    }
    clean_text(&parser->text);
    parser->reply_complete = true;
    return SMTP_REPLY_DONE;
}

enum smtp_reply_status smtp_reply_take(struct smtp_reply_parser *parser, struct slice *bytes)
{
    if (parser->reply_complete) {
        begin_reply(parser);
    }
    if (parser->line_complete) {
        parser->line_complete = false;
        strbuf_reset(&parser->partial);
    }
    /* One byte beyond the bound is enough to know; never search more than that. */
    struct slice chunk = slice_head(*bytes, SMTP_REPLY_BYTES_MAX + 1 - parser->bytes);
    ptrdiff_t end = slice_find_byte(chunk, '\n');
    chunk = end < 0 ? chunk : slice_head(chunk, (size_t)end + 1);
    *bytes = slice_skip(*bytes, chunk.len);
    parser->bytes += (uint32_t)chunk.len;
    if (slice_find_byte(chunk, '\0') >= 0) {
        return bad(parser, "reply contains a NUL byte");
    }
    if (parser->bytes > SMTP_REPLY_BYTES_MAX) {
        return bad(parser, "reply is too long");
    }
    if (end < 0) {
        add_bounded(&parser->partial, chunk);
        return SMTP_REPLY_MORE;
    }
    struct slice line = slice_head(chunk, chunk.len - 1);
    if (parser->partial.len > 0) {
        add_bounded(&parser->partial, line);
        line = strbuf_slice(&parser->partial);
    }
    CHECK(line.ptr != NULL);
    if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
        line.len--;
    }
    parser->line_complete = true;
    return parse_line(parser, slice_head(line, SMTP_REPLY_LINE_MAX));
}

#include "smtp/content.h"

/* Bytes that are looked at for one piece, so that one call never scans a 25 MB body. */
#define WINDOW_BYTES 65536
/* Bytes that are made in advance. */
#define QUEUE_BYTES_ENOUGH 262144
/* A multiple of any vector's width, below 256 so that the sums fit in a byte. */
#define BLOCK_BYTES 128

static const struct slice dot_line = {".\r\n", 3};

struct counts {
    uint64_t insertions; /* bytes that the line ends need */
    uint64_t bare_cr;
    uint64_t dots;
};

/* Counts over the neighbours (p[i-1], p[i]) for i in 0 … len - 1; p[-1] must be readable. A block's
 * length is constant so that the compiler makes vector code of it. */
static void count_block(const unsigned char *p, struct counts *counts)
{
    uint8_t insertions = 0, bare_cr = 0, dots = 0;
    for (size_t i = 0; i < BLOCK_BYTES; i++) {
        uint8_t was_cr = p[(ptrdiff_t)i - 1] == '\r';
        uint8_t was_lf = p[(ptrdiff_t)i - 1] == '\n';
        uint8_t is_lf = p[i] == '\n';
        uint8_t is_dot = p[i] == '.';
        insertions = (uint8_t)(insertions + (was_cr ^ is_lf));
        bare_cr = (uint8_t)(bare_cr + (was_cr & (is_lf ^ 1)));
        dots = (uint8_t)(dots + ((was_cr | was_lf) & is_dot));
    }
    counts->insertions += insertions;
    counts->bare_cr += bare_cr;
    counts->dots += dots;
}

static void count_pair(char previous, char c, struct counts *counts)
{
    bool was_cr = previous == '\r', is_lf = c == '\n';
    counts->insertions += was_cr != is_lf;
    counts->bare_cr += was_cr && !is_lf;
    counts->dots += (was_cr || previous == '\n') && c == '.';
}

static void count_slice(struct slice s, char previous, struct counts *counts)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t i = 1;
    count_pair(previous, s.ptr[0], counts);
    for (; s.len - i >= BLOCK_BYTES; i += BLOCK_BYTES) {
        count_block(p + i, counts);
    }
    for (; i < s.len; i++) {
        count_pair(s.ptr[i - 1], s.ptr[i], counts);
    }
}

void smtp_content_measure(struct smtp_content *content, const struct slice *slices, size_t count)
{
    struct counts counts = {0};
    uint64_t raw_bytes = 0;
    char previous = '\n';
    for (size_t i = 0; i < count; i++) {
        if (slices[i].len > 0) {
            count_slice(slices[i], previous, &counts);
            previous = slices[i].ptr[slices[i].len - 1];
            raw_bytes += slices[i].len;
        }
    }
    /* Before the first byte stands a virtual LF, so that an LF there counts as one without CR: it
     * is one. */
    content->slices = slices;
    content->slice_count = count;
    content->dots = counts.dots;
    content->bare_cr = counts.bare_cr > 0;
    content->broken_lines = counts.insertions > 0;
    content->size_bytes = raw_bytes + counts.insertions;
    if (previous == '\r') {
        content->size_bytes += 1;
    } else if (previous != '\n') {
        content->size_bytes += 2;
    }
}

void smtp_content_begin(struct smtp_content *content, enum smtp_content_form form,
                        enum smtp_content_hold hold)
{
    uint64_t held = content->size_bytes < 2 ? content->size_bytes : 2;
    content->stuff = form == SMTP_CONTENT_DOT;
    content->final_dot = form == SMTP_CONTENT_DOT;
    content->wire_bytes = content->size_bytes;
    if (form == SMTP_CONTENT_DOT) {
        content->wire_bytes += content->dots + dot_line.len;
        held = dot_line.len;
    }
    content->verbatim = !content->broken_lines && (content->dots == 0 || !content->stuff);
    switch (hold) {
    case SMTP_CONTENT_HOLD_NONE: held = 0; break;
    case SMTP_CONTENT_HOLD_END: break;
    case SMTP_CONTENT_HOLD_ALL: held = content->wire_bytes; break;
    }
    content->limit_bytes = content->wire_bytes - held;
    content->previous = '\n';
    content->slice_at = content->byte_at = 0;
    content->stash = SLICE_NULL;
    content->queued_bytes = content->sent_bytes = 0;
    content->queue_head = content->queue_count = 0;
}

/* What must stand between the byte before and `c`, if anything. */
static struct slice insertion(const struct smtp_content *content, char c)
{
    if ((content->previous == '\r') != (c == '\n')) {
        return c == '\n' ? SLICE("\r") : SLICE("\n");
    }
    if (content->stuff && content->previous == '\n' && c == '.') {
        return SLICE(".");
    }
    return SLICE_NULL;
}

static bool must_cut(const struct smtp_content *content, char before, char c)
{
    return (before == '\r') != (c == '\n') || (content->stuff && before == '\n' && c == '.');
}

/* How many of the bytes at p, whose first one needs no insertion before it, may go as they are. */
static size_t run_length(const struct smtp_content *content, const char *p, size_t len)
{
    size_t i = 1;
    while (i < len && !must_cut(content, p[i - 1], p[i])) {
        i++;
        if (!content->bare_cr && p[i - 1] != '\n' && i < len) {
            /* Nothing can happen before the next LF. */
            const char *lf = memchr(p + i, '\n', len - i);
            i = lf == NULL ? len : (size_t)(lf - p);
        }
    }
    return i;
}

/* The next piece of the stream; false at its end. */
static bool make_piece(struct smtp_content *content, struct slice *piece)
{
    while (content->slice_at < content->slice_count &&
           content->byte_at == content->slices[content->slice_at].len) {
        content->slice_at++;
        content->byte_at = 0;
    }
    if (content->slice_at == content->slice_count) {
        if (content->previous != '\n') {
            *piece = content->previous == '\r' ? SLICE("\n") : SLICE("\r\n");
        } else if (content->final_dot) {
            content->final_dot = false;
            *piece = dot_line;
        } else {
            return false;
        }
        content->previous = '\n';
        return true;
    }
    struct slice rest = slice_skip(content->slices[content->slice_at], content->byte_at);
    CHECK(rest.ptr != NULL && rest.len > 0);
    if (!content->verbatim) {
        struct slice inserted = insertion(content, rest.ptr[0]);
        if (inserted.len > 0) {
            content->previous = inserted.ptr[0];
            *piece = inserted;
            return true;
        }
        rest = slice_head(rest, WINDOW_BYTES);
        rest.len = run_length(content, rest.ptr, rest.len);
    }
    content->byte_at += rest.len;
    content->previous = rest.ptr[rest.len - 1];
    *piece = rest;
    return true;
}

static void fill_queue(struct smtp_content *content)
{
    while (content->queue_count < SMTP_CONTENT_QUEUE &&
           content->queued_bytes < content->limit_bytes &&
           content->queued_bytes - content->sent_bytes < QUEUE_BYTES_ENOUGH) {
        struct slice piece = content->stash;
        if (piece.len == 0) {
            bool more = make_piece(content, &piece);
            CHECK(more);
        }
        struct slice now = slice_head(piece, content->limit_bytes - content->queued_bytes);
        content->stash = slice_skip(piece, now.len);
        unsigned at = (content->queue_head + content->queue_count) % SMTP_CONTENT_QUEUE;
        /* iovec has no const; nobody writes through it. */
        content->queue[at] =
            (struct iovec){.iov_base = (void *)(uintptr_t)now.ptr, .iov_len = now.len};
        content->queue_count++;
        content->queued_bytes += now.len;
    }
}

size_t smtp_content_output(struct smtp_content *content, struct iovec *pieces, size_t max)
{
    fill_queue(content);
    size_t count = content->queue_count < max ? content->queue_count : max;
    for (size_t i = 0; i < count; i++) {
        pieces[i] = content->queue[(content->queue_head + i) % SMTP_CONTENT_QUEUE];
    }
    return count;
}

void smtp_content_sent(struct smtp_content *content, uint64_t len)
{
    CHECK(len <= content->queued_bytes - content->sent_bytes);
    content->sent_bytes += len;
    while (len > 0) {
        struct iovec *first = &content->queue[content->queue_head];
        if (len < first->iov_len) {
            first->iov_base = (char *)first->iov_base + len;
            first->iov_len -= (size_t)len;
            return;
        }
        len -= first->iov_len;
        content->queue_head = (content->queue_head + 1) % SMTP_CONTENT_QUEUE;
        content->queue_count--;
    }
}

void smtp_content_release(struct smtp_content *content)
{
    content->limit_bytes = content->wire_bytes;
}

/* Lines are put together in the buffer itself; the time of day is formatted once per millisecond.
 */
#include "sim/record.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

struct sim_record {
    int fd;
    struct strbuf lines;
    struct wall_time time; /* what time_text says */
    char time_text[WALL_TEXT_MAX];
    struct slice time_slice;
};

struct sim_record *sim_record_create(const char *path, struct fault *fault)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) {
        fault_set_errno(fault, errno, "%s", path);
        return NULL;
    }
    struct sim_record *record = mem_zalloc(sizeof(*record));
    record->fd = fd;
    strbuf_init(&record->lines, SIM_RECORD_BYTES + LINE_MAX_BYTES);
    strbuf_add_cstr(&record->lines,
                    "time\tprovider\tmessage_id\trecipient\tmail_from\tsource\tlocal\t"
                    "connection\tbytes\ttls\tflag\tdot_time\n");
    sim_record_flush(record);
    return record;
}

void sim_record_free(struct sim_record **record)
{
    if (*record != NULL) {
        sim_record_flush(*record);
        close((*record)->fd);
        strbuf_free(&(*record)->lines);
        mem_free(*record);
        *record = NULL;
    }
}

void sim_record_flush(struct sim_record *record)
{
    struct slice rest = strbuf_slice(&record->lines);
    CHECK(!record->lines.overflow);
    while (rest.len > 0) {
        ssize_t wrote = write(record->fd, rest.ptr, rest.len);
        if (wrote < 0 && errno != EINTR) {
            char reason[64];
            log_error("record-failed", "reason=\"%s\"", strerror_r(errno, reason, sizeof(reason)));
            exit(3);
        }
        rest = slice_skip(rest, wrote < 0 ? 0 : (size_t)wrote);
    }
    strbuf_reset(&record->lines);
}

static char *put(char *at, struct slice s, char end)
{
    if (s.len > 0) {
        memcpy(at, s.ptr, s.len);
    }
    at[s.len] = end;
    return at + s.len + 1;
}

static char *put_number(char *at, uint64_t value)
{
    char digits[24];
    size_t start = sizeof(digits);
    do {
        digits[--start] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return put(at, slice_of(digits + start, sizeof(digits) - start), '\t');
}

void sim_record_add(struct sim_record *record, const struct sim_record_entry *entry,
                    struct slice recipient)
{
    if (record->time_slice.ptr == NULL || entry->time.ms != record->time.ms) {
        record->time = entry->time;
        record->time_slice = wall_time_format(entry->time, record->time_text);
    }
    size_t need = record->time_slice.len + entry->provider.len + entry->message_id.len +
                  recipient.len + entry->mail_from.len + entry->source.len + entry->local.len +
                  entry->tls_version.len + entry->flag.len + WALL_TEXT_MAX + 80;
    if (record->lines.len + need > SIM_RECORD_BYTES) {
        sim_record_flush(record);
    }
    char *start = strbuf_reserve(&record->lines, need);
    CHECK(start != NULL); /* every part of a line is bounded: addresses by the engine */
    char *at = put(start, record->time_slice, '\t');
    at = put(at, entry->provider, '\t');
    at = put(at, entry->message_id, '\t');
    at = put(at, recipient, '\t');
    at = put(at, entry->mail_from, '\t');
    at = put(at, entry->source, '\t');
    at = put(at, entry->local, '\t');
    at = put_number(at, entry->connection);
    at = put_number(at, entry->bytes);
    at = put(at, entry->tls_version, '\t');
    at = put(at, entry->flag, '\t');
    char dot_text[WALL_TEXT_MAX];
    at = put(at, wall_time_format(entry->dot_time, dot_text), '\n');
    strbuf_commit(&record->lines, (size_t)(at - start));
}

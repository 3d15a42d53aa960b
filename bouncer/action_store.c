/*
 * mbox (mboxrd: "From " lines quoted with ">", locked with fcntl), maildir (tmp, fsync, rename into
 * new), file (one file for each mail, named by its id). All are on disk before the sender is
 * answered. Line ends become LF, as programs that read such files expect.
 */
#include "bouncer/actions_private.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH_BYTES 4096
#define LOCK_TRIES 100
#define LOCK_WAIT_US 100000

static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = write(fd, bytes, len);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) {
            return false;
        }
        bytes += sent;
        len -= (size_t)sent;
    }
    return true;
}

/* True if mboxrd quotes the line: ">"*, then "From ". */
static bool needs_quote(struct slice line)
{
    while (line.len > 0 && line.ptr[0] == '>') {
        line = slice_skip(line, 1);
    }
    return slice_starts_with(line, SLICE("From "));
}

/* With LF ends; `mbox` quotes and ends with an empty line. Room for all: a line grows by one ">"
 * and loses its CR. */
static size_t convert(struct slice content, bool mbox, char *out)
{
    size_t at = 0;
    struct slice rest = content;
    while (rest.ptr != NULL && rest.len > 0) {
        struct slice line = slice_cut(&rest, '\n');
        if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
            line.len--;
        }
        if (mbox && needs_quote(line)) {
            out[at++] = '>';
        }
        if (line.len > 0) {
            memcpy(out + at, line.ptr, line.len);
        }
        at += line.len;
        out[at++] = '\n';
    }
    if (mbox) {
        out[at++] = '\n';
    }
    return at;
}

static bool lock_file(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (fcntl(fd, F_OFD_SETLK, &lock) == 0) {
            return true;
        }
        if (errno != EAGAIN && errno != EACCES && errno != EINTR) {
            return false;
        }
        usleep(LOCK_WAIT_US);
    }
    return false;
}

/* What could be written in part only is cut off again. */
static bool append_mbox(struct action_job *job, const char *bytes, size_t len)
{
    const char *path = job->action->target;
    char head[400], date[64];
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(date, sizeof(date), "%a %b %e %H:%M:%S %Y", &tm);
    bool null_sender = job->mail_from.len == 0;
    int head_len =
        snprintf(head, sizeof(head), "From %.*s %s\n",
                 null_sender ? 13 : (int)(job->mail_from.len < 300 ? job->mail_from.len : 300),
                 null_sender ? "MAILER-DAEMON" : job->mail_from.ptr, date);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND, 0640);
    if (fd < 0) {
        return action_failed(job, "%s: %s", path, strerror(errno));
    }
    if (!lock_file(fd)) {
        int error = errno;
        (void)close(fd);
        return action_failed(job, "%s: not locked: %s", path, strerror(error));
    }
    off_t end = lseek(fd, 0, SEEK_END);
    bool ok = write_all(fd, head, (size_t)head_len) && write_all(fd, bytes, len) && fsync(fd) == 0;
    int error = errno;
    if (!ok && end >= 0 && ftruncate(fd, end) != 0) {
        error = errno;
    }
    (void)close(fd);
    return ok || action_failed(job, "%s: %s", path, strerror(error));
}

static bool sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return ok;
}

/* Written as `draft`, then renamed to `final` in `folder`. */
static bool write_file(struct action_job *job, const char *draft, const char *final,
                       const char *folder, const char *bytes, size_t len)
{
    int fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0) {
        return action_failed(job, "%s: %s", draft, strerror(errno));
    }
    bool ok = write_all(fd, bytes, len) && fsync(fd) == 0;
    int error = errno;
    ok = close(fd) == 0 && ok;
    if (ok && (rename(draft, final) != 0 || !sync_folder(folder))) {
        error = errno;
        ok = false;
    }
    if (!ok) {
        (void)unlink(draft);
        return action_failed(job, "%s: %s", final, strerror(error));
    }
    return true;
}

static bool store_maildir(struct action_job *job, const char *host_name, const char *bytes,
                          size_t len)
{
    static const char *const parts[] = {"", "/tmp", "/new", "/cur"};
    char folder[PATH_BYTES], draft[PATH_BYTES], final[PATH_BYTES];
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        snprintf(folder, sizeof(folder), "%s%s", job->action->target, parts[i]);
        if (mkdir(folder, 0750) != 0 && errno != EEXIST) {
            return action_failed(job, "%s: %s", folder, strerror(errno));
        }
    }
    long long now = (long long)time(NULL);
    snprintf(folder, sizeof(folder), "%s/new", job->action->target);
    int a = snprintf(draft, sizeof(draft), "%s/tmp/%lld.%s.%s", job->action->target, now, job->id,
                     host_name);
    int b = snprintf(final, sizeof(final), "%s/new/%lld.%s.%s", job->action->target, now, job->id,
                     host_name);
    if (a >= (int)sizeof(draft) || b >= (int)sizeof(final)) {
        return action_failed(job, "%s: too long", job->action->target);
    }
    return write_file(job, draft, final, folder, bytes, len);
}

static bool store_file(struct action_job *job, const char *bytes, size_t len)
{
    char draft[PATH_BYTES], final[PATH_BYTES];
    int a = snprintf(draft, sizeof(draft), "%s/.%s.part", job->action->target, job->id);
    int b = snprintf(final, sizeof(final), "%s/%s.eml", job->action->target, job->id);
    if (a >= (int)sizeof(draft) || b >= (int)sizeof(final)) {
        return action_failed(job, "%s: too long", job->action->target);
    }
    return write_file(job, draft, final, job->action->target, bytes, len);
}

bool action_store(struct action_job *job, const char *host_name)
{
    bool mbox = job->action->what == CONFIG_DO_MBOX;
    char *bytes = mem_try_alloc(job->content.len * 2 + 2);
    if (bytes == NULL) {
        return action_failed(job, "no memory");
    }
    size_t len = convert(job->content, mbox, bytes);
    bool ok = false;
    if (mbox) {
        ok = append_mbox(job, bytes, len);
    } else if (job->action->what == CONFIG_DO_FILE) {
        ok = store_file(job, bytes, len);
    } else {
        ok = store_maildir(job, host_name, bytes, len);
    }
    mem_free(bytes);
    return ok;
}

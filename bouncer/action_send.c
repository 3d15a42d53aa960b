/*
 * post: the mail as the body of an HTTP(S) POST (message/rfc822), tried three times; any 2xx is
 * success. forward: by SMTP to one host, to one address, with the null sender, so that what cannot
 * be delivered there never comes back to us. Both with libcurl, which knows redirects to be
 * refused, certificates and time-outs.
 *
 * A forwarded mail carries X-Sluice-Bouncer fields; one that comes in with ours has come round in a
 * circle.
 */
#include "bouncer/actions_private.h"

#include "base/clock.h"
#include "base/mem.h"

#include <curl/curl.h>
#include <pthread.h>
#include <unistd.h>

#define TRIES 3
#define WAIT_US 500000
#define MARK "X-Sluice-Bouncer: "
#define HEADER_MAX_BYTES 65536

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start_curl(void)
{
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == 0);
}

struct upload {
    struct slice mark, content;
};

static size_t give(char *out, size_t size, size_t count, void *owner)
{
    struct upload *upload = owner;
    struct slice *from = upload->mark.len > 0 ? &upload->mark : &upload->content;
    size_t len = size * count < from->len ? size * count : from->len;
    memcpy(out, from->ptr, len);
    *from = slice_skip(*from, len);
    return len;
}

static size_t ignore(char *bytes, size_t size, size_t count, void *owner)
{
    (void)bytes;
    (void)owner;
    return size * count;
}

static CURL *make_handle(const struct action_job *job, const char *url, long timeout_ms,
                         char error[CURL_ERROR_SIZE])
{
    pthread_once(&once, start_curl);
    CURL *curl = curl_easy_init();
    CHECK(curl != NULL);
    error[0] = '\0';
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR,
                     job->action->what == CONFIG_DO_POST ? "http,https" : "smtp,smtps");
    return curl;
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, struct slice value)
{
    char line[500];
    for (size_t i = 0; i < value.len; i++) {
        if ((unsigned char)value.ptr[i] < ' ' || (unsigned char)value.ptr[i] >= 0x7f) {
            return list; /* nothing that could break the header */
        }
    }
    snprintf(line, sizeof(line), "%s: %.*s", name, SLICE_FMT(value));
    return curl_slist_append(list, line);
}

/* False with the problem; *again: worth another try. */
static bool post_once(struct action_job *job, long timeout_ms, bool *again)
{
    char error[CURL_ERROR_SIZE];
    long code = 0;
    CURL *curl = make_handle(job, job->action->target, timeout_ms, error);
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: message/rfc822");
    headers = curl_slist_append(headers, "Expect:");
    headers = add_header(headers, "X-Sluice-Id", slice_cstr(job->id));
    headers = add_header(headers, "X-Sluice-Kind", slice_cstr(job->kind));
    headers = add_header(headers, "X-Sluice-Recipient", job->address);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, job->content.ptr);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)job->content.len);
    CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    if (result == CURLE_OK && code >= 200 && code < 300) {
        return true;
    }
    *again = result != CURLE_OK || code >= 500 || code == 429 || code == 408;
    return result == CURLE_OK
               ? action_failed(job, "%s: HTTP status %ld", job->action->target, code)
               : action_failed(job, "%s: %s", job->action->target,
                               error[0] != '\0' ? error : curl_easy_strerror(result));
}

/* The time-out holds for all tries together. */
static bool post(struct action_job *job)
{
    struct mono_time end = mono_add_ms(mono_now(), job->action->timeout_ms);
    bool again = true;
    for (int i = 0; i < TRIES && again; i++) {
        if (i > 0) {
            usleep((useconds_t)(WAIT_US << (i - 1)));
        }
        int64_t left_ms = mono_since_us(end, mono_now()) / 1000;
        if (left_ms <= 0) {
            return false; /* the problem is the last try's */
        }
        if (post_once(job, (long)left_ms, &again)) {
            return true;
        }
    }
    return false;
}

bool action_came_round(struct slice content, const char *host_name)
{
    char text[400];
    int len = snprintf(text, sizeof(text), MARK "%s", host_name);
    struct slice mark = slice_of(text, (size_t)len);
    struct slice rest = slice_head(content, HEADER_MAX_BYTES);
    while (rest.ptr != NULL && rest.len > 0) {
        struct slice line = slice_cut(&rest, '\n');
        if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
            line.len--;
        }
        if (line.len == 0) {
            return false; /* the header's end */
        }
        if (slice_eq_nocase(line, mark)) {
            return true;
        }
    }
    return false;
}

static bool forward(struct action_job *job, const char *host_name)
{
    char error[CURL_ERROR_SIZE];
    char mark[400], url[1400];
    /* A path behind the host is what libcurl says in EHLO. */
    snprintf(url, sizeof(url), "%s/%s", job->action->target, host_name);
    snprintf(mark, sizeof(mark), MARK "%s\r\n", host_name);
    struct upload upload = {slice_cstr(mark), job->content};
    CURL *curl = make_handle(job, url, (long)job->action->timeout_ms, error);
    struct curl_slist *to = curl_slist_append(NULL, job->action->to);
    curl_easy_setopt(curl, CURLOPT_MAIL_FROM, "");
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, to);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, give);
    curl_easy_setopt(curl, CURLOPT_READDATA, &upload);
    curl_easy_setopt(curl, CURLOPT_USE_SSL, (long)CURLUSESSL_TRY);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER,
                     0L); /* opportunistic: SMTP within one's own net */
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    long code = 0;
    CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    job->permanent = result != CURLE_OK && code >= 500 && code < 600;
    curl_easy_cleanup(curl);
    curl_slist_free_all(to);
    return result == CURLE_OK ||
           action_failed(job, "%s: %s", job->action->target,
                         error[0] != '\0' ? error : curl_easy_strerror(result));
}

bool action_send(struct action_job *job, const char *host_name)
{
    return job->action->what == CONFIG_DO_POST ? post(job) : forward(job, host_name);
}

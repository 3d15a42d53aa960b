/*
 * sluice-feed --config FILE [--follow-suppression]: publishes what its standard input says through
 * libsluice and tells what became of it. For ops/chaos and ops/bench, which kill it now and then.
 *
 *   in:   TEST-ID TAB STREAM TAB TENANT TAB BYTES TAB RECIPIENT[,RECIPIENT…]
 *   out:  TEST-ID TAB RESULT TAB ID TAB PARTITION TAB OFFSET TAB HOW TAB TEXT
 *
 * TEST-ID is the idempotency key. RESULT is a name of enum sluice_result, HOW one of "new",
 * "recognised", "unguarded". The content is about BYTES long and carries
 * X-Sluice-Test-ID, so that the record of the simulated providers knows the message. At the end of
 * the input it waits for what is on its way, then exits with 0; 1 when something is left.
 */
#include "base/mem.h"
#include "base/slice.h"
#include "sluice/sluice.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIELDS 5
#define TEST_ID_MAX 64
#define RECIPIENTS_MAX 100
#define INPUT_MAX ((size_t)64 * 1024)
#define CONTENT_MAX ((size_t)64 * 1024)
#define WAIT_MS 5
#define LAST_WAIT_MS 120000

struct feed {
    struct sluice *sluice;
    size_t used;
    bool ended;
    char input[INPUT_MAX];
    char content[CONTENT_MAX];
};

struct item {
    char test_id[TEST_ID_MAX];
};

static void tell(const char *test_id, const struct sluice_delivery *delivery)
{
    const char *how = delivery->recognised  ? "recognised"
                      : delivery->unguarded ? "unguarded"
                                            : "new";
    printf("%s\t%s\t%s\t%d\t%lld\t%s\t%s\n", test_id, sluice_result_name(delivery->result),
           delivery->id, (int)delivery->partition, (long long)delivery->offset, how,
           delivery->text);
}

static void on_delivered(void *opaque, const struct sluice_delivery *delivery)
{
    struct item *item = opaque;
    tell(item->test_id, delivery);
    mem_free(item);
}

/* Header and filling; the number of bytes. */
static size_t make_content(struct feed *feed, const char *test_id, size_t wanted)
{
    int head = snprintf(feed->content, CONTENT_MAX,
                        "From: News <news@sender.test>\r\nSubject: chaos\r\n"
                        "X-Sluice-Test-ID: %s\r\n\r\n",
                        test_id);
    size_t used = head < 0 ? 0 : (size_t)head;
    while (used + 64 <= wanted && used + 64 <= CONTENT_MAX) {
        memset(feed->content + used, 'a' + (int)(used / 64 % 26), 62);
        memcpy(feed->content + used + 62, "\r\n", 2);
        used += 64;
    }
    return used;
}

/* FULL is waited out here: what was read is not lost. */
static enum sluice_result publish(struct feed *feed, const struct sluice_message *message,
                                  struct item *item, struct sluice_error *error)
{
    enum sluice_result result;
    while ((result = sluice_publish(feed->sluice, message, on_delivered, item, error)) ==
           SLUICE_FULL) {
        (void)sluice_poll(feed->sluice, WAIT_MS);
    }
    return result;
}

static void take_line(struct feed *feed, char *line)
{
    char *field[FIELDS];
    struct sluice_recipient recipients[RECIPIENTS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < FIELDS; i++) {
        field[i] = strsep(&line, "\t");
        if (field[i] == NULL) {
            fprintf(stderr, "sluice-feed: a line of %zu fields instead of %d\n", i, FIELDS);
            exit(2);
        }
    }
    for (char *address; count < RECIPIENTS_MAX && (address = strsep(&field[4], ",")) != NULL;) {
        recipients[count++] = (struct sluice_recipient){.address = address};
    }
    struct sluice_message message = SLUICE_MESSAGE_INIT;
    message.idempotency_key = field[0];
    message.stream = field[1];
    message.tenant = field[2];
    message.mail_from = "bounces@sender.test";
    message.recipients = recipients;
    message.recipient_count = count;
    message.content = feed->content;
    message.content_bytes = make_content(feed, field[0], strtoul(field[3], NULL, 10));
    struct item *item = mem_zalloc(sizeof(*item));
    struct sluice_error error;
    snprintf(item->test_id, sizeof(item->test_id), "%s", field[0]);
    enum sluice_result result = publish(feed, &message, item, &error);
    if (result != SLUICE_OK) {
        tell(field[0], &(struct sluice_delivery){result, error.text, "", -1, -1, 0, 0});
        mem_free(item);
    }
}

static void take_input(struct feed *feed)
{
    ssize_t got = read(STDIN_FILENO, feed->input + feed->used, INPUT_MAX - feed->used);
    if (got <= 0) {
        feed->ended = got == 0 || errno != EINTR;
        return;
    }
    feed->used += (size_t)got;
    char *start = feed->input;
    for (char *end;
         (end = memchr(start, '\n', feed->used - (size_t)(start - feed->input))) != NULL;) {
        *end = '\0';
        take_line(feed, start);
        start = end + 1;
    }
    feed->used -= (size_t)(start - feed->input);
    memmove(feed->input, start, feed->used);
    if (feed->used == INPUT_MAX) {
        fprintf(stderr, "sluice-feed: a line is longer than %zu bytes\n", INPUT_MAX);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static struct feed feed;
    struct sluice_error error;
    bool follow = argc == 4 && strcmp(argv[3], "--follow-suppression") == 0;
    if ((argc != 3 && !follow) || strcmp(argv[1], "--config") != 0) {
        fprintf(stderr, "usage: sluice-feed --config FILE [--follow-suppression]\n");
        return 2;
    }
    feed.sluice = sluice_open_config(argv[2], &error);
    if (feed.sluice == NULL) {
        fprintf(stderr, "sluice-feed: %s\n", error.text);
        return 1;
    }
    if (follow && sluice_follow_suppression(feed.sluice, LAST_WAIT_MS, &error) != SLUICE_OK) {
        fprintf(stderr, "sluice-feed: %s\n", error.text);
        sluice_close(&feed.sluice, 0);
        return 1;
    }
    while (!feed.ended) {
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        if (poll(&input, 1, 0) > 0) {
            take_input(&feed);
        }
        (void)sluice_poll(feed.sluice, WAIT_MS);
        fflush(stdout);
    }
    int left = sluice_flush(feed.sluice, LAST_WAIT_MS);
    sluice_close(&feed.sluice, 0);
    return left == 0 ? 0 : 1;
}

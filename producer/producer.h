/*
 * What all sessions of one sluice-producer share. Everything runs on the thread of its loop, but
 * librdkafka's own threads and the two of auth.c.
 *
 * Life: producer_open() … producer_run() until drained … producer_close(). Sessions and messages
 * are on lists here: a session is freed when its link is closed, a message when Kafka has reported
 * on all its records, even if its session is long gone, since Kafka borrows its bytes.
 */
#ifndef SLUICE_PRODUCER_PRODUCER_H
#define SLUICE_PRODUCER_PRODUCER_H

#include "base/budget.h"
#include "kafka/reports.h"
#include "kafka/topics.h"
#include "once/once.h"
#include "policy/config.h"
#include "producer/auth.h"
#include "smtpd/smtpd.h"
#include "suppress/check.h"

#define PRODUCER_MEMORY_MAX_BYTES ((int64_t)256 * 1024 * 1024)

struct producer_counters {
    uint64_t accepted, deferred, refused, logins, bad_logins;
};

struct producer {
    uint32_t magic;
    const struct config *config;
    char host_name[SMTPD_HOST_NAME_MAX];
    int64_t max_message_bytes; /* of content as it comes in */

    struct io_loop *loop;
    struct auth *auth;
    struct smtpd smtpd;
    struct kafka_producer *kafka;
    char suppression_topic[KAFKA_TOPIC_NAME_MAX + 1];
    struct suppress_follow *suppress; /* workers look again, so nobody waits until it is loaded */
    struct suppress_checker *suppressed;
    struct kafka_properties properties; /* of the configuration */
    struct once *once;                  /* made with the first mail that has a key */
    struct kafka_reports reports;
    struct io_signal *signals[3];

    struct list mails; /* handed to Kafka */
    struct budget budget;
    struct producer_counters counters;

    struct timer drain; /* the end of patience */
};

/* False: the fault says what cannot be had. Call producer_close() in either case. */
bool producer_open(struct producer *producer, const struct config *config, struct fault *fault);
/* Until SIGTERM or SIGINT, and then until drained. */
void producer_run(struct producer *producer);
void producer_close(struct producer *producer);

/* NULL: the fault says why. */
struct once *producer_once(struct producer *producer, struct fault *fault);
/* A session or message is gone: when draining, was it the last? */
void producer_check_drained(struct producer *producer);

#endif

/*
 * sluice-bouncer serve: what all its sessions share. Everything runs on the thread of its loop, but
 * librdkafka's own threads, the table's reader and the threads that carry out actions.
 */
#ifndef SLUICE_BOUNCER_DAEMON_H
#define SLUICE_BOUNCER_DAEMON_H

#include "base/budget.h"
#include "bouncer/judge.h"
#include "kafka/reports.h"
#include "kafka/topics.h"
#include "smtpd/smtpd.h"

struct bouncer_counters {
    uint64_t accepted, deferred, refused, events, suspicious;
};

struct bouncer {
    uint32_t magic;
    const struct config *config;
    const char *config_path;
    struct slice host_name;
    char host_name_text[SMTPD_HOST_NAME_MAX];

    struct io_loop *loop;
    struct smtpd smtpd;
    struct kafka_producer *kafka;
    struct kafka_reports reports;
    struct io_signal *signals[3];
    char log[KAFKA_TOPIC_NAME_MAX + 1];
    char bounces[KAFKA_TOPIC_NAME_MAX + 1];
    char feedback[KAFKA_TOPIC_NAME_MAX + 1];

    struct verp_keys *keys;
    struct classifier *classifier;
    struct table *table;
    struct builder *builder; /* of the suppression list */
    struct sink *sink;       /* … into a database; NULL: none is configured */
    struct judge judge;
    struct actions *actions; /* NULL: none is configured */
    struct web *web;         /* NULL: no listeners */

    struct list mails; /* complete, not yet answered or not yet reported on by Kafka */
    struct budget budget;
    struct bouncer_counters counters;

    struct timer drain; /* the end of patience */
};

/* False: the fault says what cannot be had. Call bouncer_close() in either case. */
bool bouncer_open(struct bouncer *bouncer, const struct config *config, const char *config_path,
                  struct fault *fault);
/* Until SIGTERM or SIGINT, and then until drained. */
void bouncer_run(struct bouncer *bouncer);
void bouncer_close(struct bouncer *bouncer);

/* A session or mail is gone: when draining, was it the last? */
void bouncer_check_drained(struct bouncer *bouncer);

#endif

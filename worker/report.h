/*
 * Events of a mail. Every function here holds the mail until Kafka has acknowledged what it
 * produced. Shard threads (dropped also from wherever a record turns out invalid).
 */
#ifndef SLUICE_WORKER_REPORT_H
#define SLUICE_WORKER_REPORT_H

#include "schema/event.h"
#include "worker/outbox.h"
#include "worker/usage.h"

/* What is known of an attempt beside its outcome; slices live as long as the call. */
struct report_facts {
    struct slice site, vip;
    struct slice remote_host, remote_address, local_address;
    struct slice tls_version, tls_cipher;
    bool tls_verified;
    int64_t connect_us, mail_us, rcpt_us, data_us, dot_us, total_us;
    uint64_t bytes;
};

struct reporter; /* scratch buffers of one thread */
struct reporter *reporter_create(struct worker *worker, struct outbox *outbox);
void reporter_free(struct reporter **reporter);
/* What was reported as delivered is counted there. */
struct usage *reporter_usage(struct reporter *reporter);

void report_received(struct reporter *reporter, struct mail *mail);

/* Why a mail goes to a delay tier without having been tried. */
struct report_wait {
    int64_t due_ms;     /* wall clock */
    bool exact;         /* not later than that */
    bool spilled;       /* it waits for its turn, and may come earlier */
    bool slow;          /* … to a lane that sends little in the shortest tier's time */
    const char *reason; /* as in event.proto; NULL: has been told before */
    struct slice site;  /* where it is known */
};
void report_postponed(struct reporter *reporter, struct mail *mail, const struct report_wait *wait,
                      uint32_t attempt);

/* The session broke before recipients had an answer; the mail is tried again at once elsewhere. */
void report_attempt(struct reporter *reporter, struct mail *mail,
                    const struct smtp_outcome *outcome, const struct report_facts *facts);

/* What became of one recipient: delivered, deferred (with the next attempt's time), bounced,
 * uncertain, expired. */
void report_recipient(struct reporter *reporter, struct mail *mail, uint32_t index,
                      enum event_type type, const struct smtp_outcome *outcome,
                      const struct report_facts *facts, int64_t next_attempt_ms);

/* One recipient is not to be tried ("suppressed"). */
void report_dropped_recipient(struct reporter *reporter, struct mail *mail, uint32_t index,
                              struct slice reason, struct slice detail);
/* Whether the bounce rules call a permanent refusal (5xx) of this recipient one that passes: "too
 * many messages", "greylisted, come back". Then it is to be tried again by the schedule. */
bool report_may_pass(struct reporter *reporter, const struct mail *mail, uint32_t index,
                     const struct smtp_outcome *outcome, const struct report_facts *facts);

/* All recipients that are pending or deferred, or the mail as a whole if none could be read. */
void report_dropped(struct reporter *reporter, struct mail *mail, struct slice reason,
                    struct slice detail);

/* "worker-started", "worker-stopped": an admin event of this worker; any thread, nobody waits for
 * it. */
void report_admin(struct worker *worker, const char *action, const char *detail);

#endif

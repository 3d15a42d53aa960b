/*
 * Between why.c (answers), why_lane.c (lanes and their reasons), why_message.c (one message) and
 * why_intake.c (what the intake thread has).
 */
#ifndef SLUICE_WORKER_WHY_PRIVATE_H
#define SLUICE_WORKER_WHY_PRIVATE_H

#include "worker/lane.h"
#include "worker/why.h"

#include "base/strbuf.h"

#define WHY_ANSWER_MAX ((size_t)900 * 1024) /* a record's default maximum is a megabyte */
#define WHY_ENTRY_MAX ((size_t)64 * 1024)   /* what there is no room for is left out */

struct why_writer {
    struct strbuf *out;
    struct mono_time now;
    size_t count; /* in the list that is being written */
};

/* Our monotonic time as the wall's. */
int64_t why_wall_ms(const struct why_writer *writer, struct mono_time at);
/* "name":"value" */
void why_add_text(struct strbuf *out, const char *name, struct slice value);
/* The next object of a list; `until` before now: nobody knows. */
void why_add_reason(struct why_writer *writer, const char *reason, const struct limit *limit,
                    struct mono_time until, struct slice detail);
/* … of a waiter, if it waits. */
void why_add_waiter(struct why_writer *writer, const char *reason,
                    const struct limit_waiter *waiter, struct slice detail);
/* What keeps the lane's mail that is not parked; nothing of a lane without mail that sends. */
void why_add_lane_reasons(struct why_writer *writer, const struct lane *lane);
/* The lane as a member of a list. */
void why_add_lane(struct why_writer *writer, const struct lane *lane);

static inline bool why_is_about(const struct question *question, struct slice id)
{
    return id.len > 0 && slice_eq_nocase(id, slice_cstr(question->message_id));
}

/* ,"message":{…}: if the shard has it. */
void why_add_message(struct why_writer *writer, const struct shard *shard,
                     const struct question *question);
/* Members of a message that do not depend on where it is. */
void why_add_mail(struct strbuf *out, const struct mail *mail);

/* The beginning of an answer; `shard`: JSON. */
void why_begin(struct strbuf *answer, const struct worker *worker, const struct question *question,
               const char *shard, unsigned workers);
/* To whoever asked. */
void why_send(struct worker *worker, const struct question *question, const char *part,
              const struct strbuf *answer);

#endif

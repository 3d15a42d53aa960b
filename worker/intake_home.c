/*
 * What comes to the intake by letter: mail that is through or was not begun, answers of the shards,
 * questions. A mail with copies goes into a burst before its ticket closes.
 */
#include "worker/intake_private.h"

#include "worker/shard.h"
#include "worker/why.h"
#include "worker/worker.h"

#include "base/mem.h"

#define BULK_PRESSURE_AGAIN                                                                        \
    90 /* percent: below it bulk mail is taken again                                               \
        */

/* The shards have done what they were asked for, and it is on Kafka. */
static void shard_answered(struct intake *intake, struct shard_answer *answer)
{
    if (answer->kind == SHARD_RESTATE) {
        restate_answered(intake->restate);
    } else {
        evict_answered(intake, answer);
    }
    shard_answer_free(&answer);
}

struct asked {
    struct mail_post post;
    struct question question;
};

void intake_ask_why(struct intake *intake, const struct question *question)
{
    struct asked *asked = mem_zalloc(sizeof(*asked));
    asked->post.kind = MAIL_LETTER_QUESTION;
    asked->question = *question;
    mailbox_post(intake->mailbox, &asked->post.letter);
}

static void answer_why(struct intake *intake, struct asked *asked)
{
    const struct why_intake what = {
        .worker = intake->worker,
        .workers = intake->workers,
        .held = &intake->held,
        .awaited = &intake->awaited,
        .settled = &intake->settled,
        .pace = &intake->pace,
        .now = io_loop_now(intake->loop),
    };
    why_answer_intake(&what, &asked->question);
    mem_free(asked);
}

void intake_letter_arrived(struct letter *letter, void *owner)
{
    struct intake *intake = owner;
    struct mail_post *post = CONTAINER_OF(letter, struct mail_post, letter);
    CHECK_MAGIC(intake, INTAKE_MAGIC);
    if (post->kind == MAIL_LETTER_ANSWER) {
        shard_answered(intake, CONTAINER_OF(post, struct shard_answer, post));
        return;
    }
    if (post->kind == MAIL_LETTER_QUESTION) {
        answer_why(intake, CONTAINER_OF(post, struct asked, post));
        return;
    }
    struct mail *mail = CONTAINER_OF(post, struct mail, post);
    CHECK_MAGIC(mail, MAIL_MAGIC);
    CHECK(post->kind == MAIL_LETTER_SETTLED || post->kind == MAIL_LETTER_RETURNED);
    mail->forget = post->kind == MAIL_LETTER_RETURNED; /* the next owner reads it */
    list_push_back(&intake->settled, &mail->node);
    mail_release(mail);
}

void intake_mail_over(struct intake *intake, struct mail *mail)
{
    mail_free(&mail);
    if (intake->blocked && worker_pressure_percent(intake->worker) < BULK_PRESSURE_AGAIN) {
        intake->blocked = false;
        intake_wake(intake);
    }
}

/* Everything that follows from its record is on Kafka. */
static void mail_complete(struct intake *intake, struct mail *mail)
{
    kafka_ticket_complete(intake->consumer, mail->ticket);
    burst_note(intake->burst);
    if (mail_duplicates(mail) != CONFIG_DUPLICATES_OFF) {
        journal_writer_closed(intake->journal, mail);
    }
}

/* Of a partition that has gone only what its next owner waits for is of interest; where copies are
 * left, its shard has said so. */
void intake_close(struct intake *intake, struct mail *mail)
{
    CHECK_MAGIC(intake, INTAKE_MAGIC);
    bool ours = kafka_ticket_valid(&mail->ticket);
    list_remove(&mail->node);
    if (ours && !mail->forget && !list_empty(&mail->copies)) {
        burst_add(intake->burst, mail);
        return;
    }
    if (ours && !mail->forget) {
        mail_complete(intake, mail);
    } else if (mail->in_flight && !mail->forget && list_empty(&mail->copies)) {
        journal_writer_closed(intake->journal, mail);
    }
    intake_mail_over(intake, mail);
}

static void mail_moved(void *owner, struct mail *mail)
{
    struct intake *intake = owner;
    CHECK_MAGIC(intake, INTAKE_MAGIC);
    if (kafka_ticket_valid(&mail->ticket)) {
        mail_complete(intake, mail);
    }
    intake_mail_over(intake, mail);
}

static void mail_gone(void *owner, struct mail *mail)
{
    intake_mail_over(owner, mail);
}

static void burst_over(void *owner, enum burst_kind kind, enum kafka_burst_result result)
{
    struct intake *intake = owner;
    switch (kind) {
    case BURST_USUAL: return;
    case BURST_CLAIM: claims_burst_over(intake->claims, result); return;
    case BURST_RELEASE: evict_burst_over(intake, result); return;
    }
}

const struct burst_ops intake_burst_ops = {
    .moved = mail_moved,
    .gone = mail_gone,
    .over = burst_over,
};

void intake_post(struct intake *intake, struct mail *mail)
{
    mailbox_post(intake->mailbox, &mail->post.letter);
}

void intake_answer(struct intake *intake, struct shard_answer *answer)
{
    mailbox_post(intake->mailbox, &answer->post.letter);
}

/*
 * A mail is understood, acted on, and its events go to Kafka. See mail.h.
 *
 * Events are encoded one behind the other into one buffer, then handed over in order; Kafka's queue
 * being full is waited for. After the first failure nothing more is handed over.
 */
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "bouncer/mail_private.h"

#define READ_FIRST_BYTES ((size_t)96 * 1024)
#define FACTS_RETRY_MS 100
#define QUEUE_FULL_RETRY_MS 10
#define ACTION_WAIT_MS 60000 /* RFC 5321 4.5.3.2.6: the client waits ten minutes */
#define PATIENCE_MS 2000     /* librdkafka looks for overdue records once a second */

static void hand_over(struct mail *mail);

/* ---- understanding ---- */

static void add_record(struct mail *mail, const char *topic, size_t at, size_t len,
                       struct slice key)
{
    if (mail->event_count == mail->event_room) {
        mail->event_room = mail->event_room == 0 ? 4 : mail->event_room * 2;
        mail->events = mem_realloc(mail->events, mail->event_room * sizeof(*mail->events));
    }
    size_t key_at = mail->encoded.len;
    if (!strbuf_add_slice(&mail->encoded, key)) {
        mail->too_many = true;
        return;
    }
    mail->events[mail->event_count++] = (struct mail_event){
        .mail = mail, .topic = topic, .at = at, .len = len, .key_at = key_at, .key_len = key.len};
}

static void keep_event(void *owner, const struct event *event)
{
    struct mail *mail = owner;
    struct bouncer *bouncer = mail->bouncer;
    size_t at = mail->encoded.len;
    if (mail->too_many || !event_encode(event, &mail->encoded)) {
        mail->too_many = true;
        return;
    }
    struct slice key = event->message_id.len > 0 ? event->message_id : slice_cstr(mail->id);
    size_t len = mail->encoded.len - at;
    add_record(mail, bouncer->log, at, len, key);
    add_record(mail, event->type == EVENT_BOUNCED_LATE ? bouncer->bounces : bouncer->feedback, at,
               len, key);
    bouncer->counters.events++;
    bouncer->counters.suspicious += event->returned.suspicious.len > 0;
}

static bool names(const char *const *list, size_t count, const char *wanted)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i], wanted) == 0) {
            return true;
        }
    }
    return count == 0;
}

/* The first action that fits the kind and the class of the first address. */
static const struct config_action *find_action(const struct mail *mail)
{
    const struct config_bouncer *config = &mail->bouncer->config->bouncer;
    for (size_t i = 0; i < config->action_count; i++) {
        const struct config_action *action = &config->actions[i];
        if (names(action->kinds, action->kind_count, returned_kind_name(mail->kind)) &&
            names(action->addresses, action->address_count,
                  address_class_name(mail->to[0].match.class))) {
            return action;
        }
    }
    return NULL;
}

/* Each address that it was sent to has events of its own: it is about another mail of ours. False:
 * to be asked again. */
static bool judge_all(struct mail *mail, const struct returned_mail *returned)
{
    struct bouncer *bouncer = mail->bouncer;
    bool wait = mono_before(io_loop_now(bouncer->loop), mail->facts_by);
    struct judge_input input = {
        .mail = returned,
        .peer_address = mail->peer_address,
        .peer_name = mail->peer_name,
        .report_id = slice_cstr(mail->id),
        .content_hash =
            hash_stable(slice_of(mail->buffer + mail->trace_len, mail->len - mail->trace_len)),
        .bytes = mail->len - mail->trace_len,
        .quarantined = mail->action != NULL && mail->action->what == CONFIG_DO_QUARANTINE,
        .now = wall_now(),
    };
    for (size_t i = 0; i < mail->to_count; i++) {
        input.to = &mail->to[i].match;
        input.received_by = mail->to[i].address;
        if (judge_mail(&bouncer->judge, &input, wait, keep_event, mail) == JUDGE_FACTS_MISSING) {
            return false;
        }
    }
    return true;
}

/* False: to be asked again. */
static bool understand(struct mail *mail)
{
    struct fault fault;
    struct returned_mail returned;
    struct arena *arena = arena_create(READ_FIRST_BYTES, RETURNED_ARENA_MAX);
    bool done = true;
    strbuf_reset(&mail->encoded);
    mail->event_count = 0;
    struct slice content = slice_of(mail->buffer + mail->trace_len, mail->len - mail->trace_len);
    if (action_came_round(content, mail->bouncer->host_name_text)) {
        mail_fail(mail, 554, "5.4.6", "This was forwarded from here before: a loop");
    } else if (arena == NULL) {
        mail_fail(mail, 452, "4.3.1", "No memory, try again later");
    } else if (!returned_mail_read(arena, slice_of(mail->buffer, mail->len), &returned, &fault)) {
        mail_fail(mail, 554, "5.6.0", "This is not a message");
    } else {
        mail->kind = returned.kind;
        mail->action = find_action(mail);
        if (mail->action == NULL || mail->action->what != CONFIG_DO_DROP) {
            done = judge_all(mail, &returned);
        }
    }
    arena_free(&arena);
    if (mail->too_many) {
        mail_fail(mail, 554, "5.3.4", "The report tells of too many recipients");
    }
    return done;
}

/* ---- to Kafka ---- */

static void fail_by(struct mail *mail, const struct fault *fault)
{
    char quoted[FAULT_TEXT_MAX + 100];
    mail_fail(mail, 451, "4.3.0", "Not stored, try again later");
    log_debug("kafka", "id=%s kind=%s reason=%s", mail->id, fault_kind_name(fault->kind),
              log_quote(quoted, sizeof(quoted), slice_cstr(fault->text)));
}

static void delivered(struct kafka_delivery *delivery, int32_t partition, int64_t offset,
                      const struct fault *fault)
{
    struct mail_event *event = CONTAINER_OF(delivery, struct mail_event, delivery);
    struct mail *mail = event->mail;
    (void)partition;
    (void)offset;
    CHECK_MAGIC(mail, MAIL_MAGIC);
    CHECK(mail->in_flight > 0);
    mail->in_flight--;
    if (fault != NULL) {
        fail_by(mail, fault);
    }
    hand_over(mail);
}

static void too_late(struct timer *timer, struct mono_time now)
{
    struct mail *mail = CONTAINER_OF(timer, struct mail, timer);
    CHECK_MAGIC(mail, MAIL_MAGIC);
    (void)now;
    mail_give_up(mail);
}

static void again(struct timer *timer, struct mono_time now)
{
    struct mail *mail = CONTAINER_OF(timer, struct mail, timer);
    CHECK_MAGIC(mail, MAIL_MAGIC);
    (void)now;
    hand_over(mail);
}

static bool send_event(struct mail *mail, struct mail_event *event, struct fault *fault)
{
    const struct kafka_record_out out = {
        .topic = event->topic,
        .partition = -1,
        .key = slice_of(mail->encoded.ptr + event->key_at, event->key_len),
        .value = slice_of(mail->encoded.ptr + event->at, event->len),
        .borrow_value = true,
        .delivery = &event->delivery,
    };
    event->delivery.done = delivered;
    return kafka_producer_send(mail->bouncer->kafka, &out, fault);
}

/* May free the mail. */
static void hand_over(struct mail *mail)
{
    struct io_loop *loop = mail->bouncer->loop;
    while (mail->next < mail->event_count && mail->failure.code == 0) {
        struct fault fault = {0};
        if (send_event(mail, &mail->events[mail->next], &fault)) {
            mail->next++;
            mail->in_flight++;
            continue;
        }
        if (fault.kind == FAULT_LIMIT && mail->in_flight > 0) {
            break; /* its report calls again */
        }
        if (fault.kind == FAULT_LIMIT && mono_before(io_loop_now(loop), mail->give_up)) {
            wheel_set(io_loop_wheel(loop), &mail->timer,
                      mono_add_ms(io_loop_now(loop), QUEUE_FULL_RETRY_MS), again);
            return;
        }
        fail_by(mail, &fault);
    }
    if (mail->in_flight > 0) {
        wheel_set(io_loop_wheel(loop), &mail->timer, mono_add_ms(mail->give_up, PATIENCE_MS),
                  too_late);
        return;
    }
    wheel_cancel(io_loop_wheel(loop), &mail->timer);
    mail_finish(mail);
}

/* ---- the way ---- */

static void acted(struct action_job *job, bool ok, const char *problem)
{
    struct mail *mail = CONTAINER_OF(job, struct mail, job);
    char quoted[FAULT_TEXT_MAX + 100];
    CHECK_MAGIC(mail, MAIL_MAGIC);
    mail->acting = false;
    if (!ok) {
        log_warn("action-failed", "id=%s do=%s target=%s reason=%s", mail->id,
                 action_name(mail->action->what), mail->action->target,
                 log_quote(quoted, sizeof(quoted), slice_cstr(problem)));
        if (job->permanent) {
            mail->refused = true;
        } else {
            mail_fail(mail, 451, "4.3.0", "Not handed on, try again later");
        }
    }
    hand_over(mail);
}

static void ask_again(struct timer *timer, struct mono_time now)
{
    struct mail *mail = CONTAINER_OF(timer, struct mail, timer);
    CHECK_MAGIC(mail, MAIL_MAGIC);
    (void)now;
    mail_process(mail);
}

void mail_process(struct mail *mail)
{
    struct io_loop *loop = mail->bouncer->loop;
    if (mail->failure.code == 0 && !understand(mail) && mail->failure.code == 0) {
        wheel_set(io_loop_wheel(loop), &mail->timer, mono_add_ms(io_loop_now(loop), FACTS_RETRY_MS),
                  ask_again);
        return;
    }
    if (mail->failure.code == 0 && !mail_charge(mail, mail->encoded.capacity)) {
        mail_fail(mail, 452, "4.3.1", "Too many messages in memory, try again later");
    }
    if (mail->failure.code == 0 && mail->action != NULL && action_has_work(mail->action)) {
        mail->acting = true;
        mail->job = (struct action_job){
            .action = mail->action,
            .content = slice_of(mail->buffer, mail->len),
            .mail_from = mail->mail_from,
            .address = mail->to[0].address,
            .start_by = mono_add_ms(io_loop_now(loop), ACTION_WAIT_MS),
            .id = mail->id,
            .kind = returned_kind_name(mail->kind),
            .done = acted,
        };
        actions_start(mail->bouncer->actions, &mail->job);
        return;
    }
    hand_over(mail);
}

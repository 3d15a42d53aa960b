/* Where one message is at a shard, and the chain of what it waits for. */
#include "worker/why_private.h"

#include "worker/session.h"
#include "worker/worker.h"

struct search {
    const struct question *question;
    const struct queue_flow *flow;
    const struct mail *mail; /* NULL: not found */
    size_t ahead;            /* mails of its flow before it */
};

static void look(void *owner, const struct queue_flow *flow)
{
    struct search *search = owner;
    size_t ahead = 0;
    if (search->mail != NULL) {
        return;
    }
    list_foreach (node, &flow->mails) {
        const struct mail *mail = CONTAINER_OF(node, struct mail, node);
        if (why_is_about(search->question, mail->message.id)) {
            search->mail = mail;
            search->flow = flow;
            search->ahead = ahead;
            return;
        }
        ahead++;
    }
}

void why_add_mail(struct strbuf *out, const struct mail *mail)
{
    strbuf_add_cstr(out, ",");
    why_add_text(out, "tenant", mail->message.tenant);
    strbuf_add_cstr(out, ",");
    why_add_text(out, "campaign", mail->message.campaign);
    (void)strbuf_addf(out, ",\"class\":\"%s\",\"attempt\":%u,",
                      mail->klass == CONFIG_CLASS_BULK ? "bulk" : "transactional", mail->attempt);
    why_add_text(out, "last", mail->last);
}

static void begin(struct why_writer *writer, const char *state, struct slice site,
                  const struct mail *mail)
{
    strbuf_add_cstr(writer->out, ",\"message\":{");
    why_add_text(writer->out, "state", slice_cstr(state));
    strbuf_add_cstr(writer->out, ",");
    why_add_text(writer->out, "site", site);
    strbuf_add_cstr(writer->out, ",");
    why_add_text(writer->out, "route", mail->route);
    why_add_mail(writer->out, mail);
}

/* How many of those that are ready may go before it, at most: of its own class and above, but for
 * those behind it in its flow. */
static size_t before(const struct lane *lane, const struct search *search)
{
    size_t behind = search->flow->length - search->ahead;
    size_t ready = search->mail->klass == CONFIG_CLASS_TRANSACTIONAL
                       ? lane->queue.classes[CONFIG_CLASS_TRANSACTIONAL].ready
                       : lane->queue.ready;
    return search->flow->parked ? search->ahead : ready - behind;
}

/* By when it is sent at the rate that its lane, or its flow's limits, let it; the limit that it
 * waits for opens before that. */
static void add_expected(struct why_writer *writer, const struct lane *lane,
                         const struct search *search, size_t ahead)
{
    const struct limit_waiter *waiter = search->flow->parked ? &search->flow->limits->waiter : NULL;
    double rate = waiter == NULL ? lane_rate(lane, writer->now) : search->flow->limits->bounds.rate;
    if (rate <= 0) {
        return;
    }
    double wait_ms = ((double)ahead + 1) * 1000.0 / rate;
    struct mono_time from = writer->now;
    if (waiter != NULL && list_linked(&waiter->node) && waiter->until.us != INT64_MAX &&
        mono_before(from, waiter->until)) {
        from = waiter->until;
    }
    if (wait_ms < 1e12) {
        int64_t expected_ms = why_wall_ms(writer, from) + (int64_t)wait_ms;
        (void)strbuf_addf(writer->out, ",\"expected_ms\":%lld", (long long)expected_ms);
    }
}

static void add_waiting(struct why_writer *writer, const struct lane *lane,
                        const struct search *search)
{
    size_t ahead = before(lane, search);
    bool parked = search->flow->parked && search->flow->limits != NULL;
    char text[64];
    begin(writer, "waiting", lane->site_name, search->mail);
    (void)strbuf_addf(writer->out, ",\"before\":%zu", ahead);
    add_expected(writer, lane, search, ahead);
    strbuf_add_cstr(writer->out, ",\"reasons\":[");
    writer->count = 0;
    if (parked) {
        why_add_waiter(writer, "limit", &search->flow->limits->waiter,
                       search->mail->message.tenant);
    } else {
        why_add_lane_reasons(writer, lane);
    }
    if (ahead > 0 || writer->count == 0) {
        int len = snprintf(text, sizeof(text), "at most %zu go before it", ahead);
        why_add_reason(writer, "turn", NULL, writer->now, slice_of(text, (size_t)len));
    }
    strbuf_add_cstr(writer->out, "]}");
}

/* False: no session of the lane has it. */
static bool add_sending(struct why_writer *writer, const struct lane *lane,
                        const struct question *question)
{
    list_foreach (node, &lane->sessions) {
        const struct session *session = CONTAINER_OF(node, struct session, node);
        if (session->mail != NULL && why_is_about(question, session->mail->message.id)) {
            begin(writer, "sending", lane->site_name, session->mail);
            strbuf_add_cstr(writer->out, ",");
            why_add_text(writer->out, "host", slice_cstr(session->host));
            strbuf_add_cstr(writer->out, "}");
            return true;
        }
    }
    return false;
}

static void add_routing(struct why_writer *writer, const struct mail *mail)
{
    begin(writer, "dns", mail->message.domain, mail);
    strbuf_add_cstr(writer->out, ",\"reasons\":[");
    writer->count = 0;
    why_add_reason(writer, "dns", NULL, writer->now, mail->message.domain);
    strbuf_add_cstr(writer->out, "]}");
}

void why_add_message(struct why_writer *writer, const struct shard *shard,
                     const struct question *question)
{
    struct lane *lane;
    size_t cursor = 0;
    if (question->message_id[0] == '\0') {
        return;
    }
    while ((lane = map_next(&shard->lanes, &cursor)) != NULL) {
        struct search search = {.question = question};
        if (add_sending(writer, lane, question)) {
            return;
        }
        queue_foreach_flow(&lane->queue, look, &search);
        if (search.mail != NULL) {
            add_waiting(writer, lane, &search);
            return;
        }
    }
    list_foreach (node, &shard->routing) {
        const struct mail *mail = CONTAINER_OF(node, struct mail, node);
        if (why_is_about(question, mail->message.id)) {
            add_routing(writer, mail);
            return;
        }
    }
}

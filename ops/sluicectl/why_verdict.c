#include "ops/sluicectl/why_verdict.h"
#include "ops/sluicectl/why.h"

#include "smtp/outcome.h"

#include <stdio.h>
#include <string.h>

#define EVENTS_PRINTED 5

void verdict_text(json_t *verdict, const char *name, struct slice text)
{
    if (text.len > 0) {
        (void)json_object_set_new(verdict, name, json_stringn(text.ptr, text.len));
    }
}

void verdict_number(json_t *verdict, const char *name, int64_t number)
{
    if (number != 0) {
        (void)json_object_set_new(verdict, name, json_integer((json_int_t)number));
    }
}

void verdict_state(json_t *verdict, const char *state)
{
    verdict_text(verdict, "state", slice_cstr(state));
}

void verdict_place(json_t *verdict, const char *topic, int32_t partition, int64_t offset,
                   int64_t next, double rate)
{
    int64_t before = next >= 0 && offset > next ? offset - next : 0;
    verdict_text(verdict, "topic", slice_cstr(topic));
    (void)json_object_set_new(verdict, "partition", json_integer(partition));
    (void)json_object_set_new(verdict, "offset", json_integer((json_int_t)offset));
    (void)json_object_set_new(verdict, "before", json_integer((json_int_t)before));
    if (rate > 0) {
        (void)json_object_set_new(verdict, "rate", json_real(rate));
        verdict_number(verdict, "expected_ms",
                       wall_now().ms + (int64_t)((double)before * 1000.0 / rate));
    }
}

/* ---- why it waits in a tier ---- */

static void add_reason(json_t *reasons, const char *name, int64_t until_ms, struct slice detail)
{
    json_t *reason = json_object();
    verdict_text(reason, "reason", slice_cstr(name));
    verdict_number(reason, "until_ms", until_ms);
    verdict_text(reason, "detail", detail);
    (void)json_array_append_new(reasons, reason);
}

/* "451 4.7.1 text" */
static struct slice reply_of(const struct trace_fact *fact, char *room, size_t size)
{
    char code[16] = "";
    if (fact->code > 0) {
        (void)snprintf(code, sizeof(code), "%u ", fact->code);
    }
    int len = snprintf(room, size, "%s%.*s%s%.*s", code, SLICE_FMT(fact->enhanced),
                       fact->enhanced.len > 0 ? " " : "", SLICE_FMT(fact->text));
    return slice_of(room, len < 0 ? 0 : (size_t)len < size ? (size_t)len : size - 1);
}

static bool is_spilled(struct slice reason)
{
    return slice_eq(reason, SLICE("lane-full")) || slice_eq(reason, SLICE("limit-full"));
}

void verdict_wait(json_t *verdict, const struct trace_fact *wait)
{
    char room[512];
    json_t *reasons = json_array();
    if (wait->type == EVENT_POSTPONED && is_spilled(wait->reason)) {
        int len = snprintf(room, sizeof(room), "%s of %.*s by %.*s",
                           slice_eq(wait->reason, SLICE("lane-full"))
                               ? "more waits than is sent in a minute: the lane"
                               : "more waits than its tenant's, campaign's or stream's limit lets "
                                 "go in a minute: the lane",
                           SLICE_FMT(wait->site), SLICE_FMT(wait->vip));
        add_reason(reasons, "spill", wait->next_ms,
                   slice_of(room, (size_t)len < sizeof(room) ? (size_t)len : sizeof(room) - 1));
    } else if (wait->type == EVENT_POSTPONED) {
        char name[32];
        (void)snprintf(name, sizeof(name), "%.*s", SLICE_FMT(slice_head(wait->reason, 31)));
        add_reason(reasons, name, wait->next_ms,
                   strcmp(name, "suspended") == 0
                       ? SLICE("its tenant's mail waits (tenants, suspended)")
                       : SLICE_NULL);
    } else {
        struct slice reply = reply_of(wait, room, sizeof(room));
        bool no_vip = wait->code == 0 && slice_eq(wait->enhanced, SLICE("4.3.5"));
        add_reason(reasons, "retry", wait->next_ms, reply);
        if (no_vip) {
            add_reason(reasons, "no-vip", 0, wait->text);
        } else if (wait->type == EVENT_UNCERTAIN) {
            add_reason(reasons, "uncertain", 0, SLICE("nobody knows whether it was delivered"));
        } else if (wait->scope == SMTP_SCOPE_SITE) {
            add_reason(reasons, "suspended", 0, SLICE("the site as a whole could not be reached"));
        }
    }
    (void)json_object_set_new(verdict, "reasons", reasons);
}

/* ---- history ---- */

static void add_event(json_t *events, const struct trace_fact *fact)
{
    char room[2400];
    json_t *event = json_object();
    verdict_text(event, "type", slice_cstr(event_type_name(fact->type)));
    verdict_text(event, "recipient", fact->recipient);
    verdict_number(event, "time_ms", fact->time_ms);
    verdict_text(event, "event_id", fact->event_id);
    verdict_number(event, "attempt", fact->number);
    verdict_text(event, "reason", fact->reason);
    verdict_text(event, "reply", reply_of(fact, room, sizeof(room)));
    verdict_text(event, "host", fact->host);
    (void)json_array_append_new(events, event);
}

void verdict_history(json_t *verdict, const struct trace *trace)
{
    json_t *events = json_array();
    for (size_t i = 0; i < trace->known; i++) {
        add_event(events, &trace->recipients[i]);
    }
    (void)json_object_set_new(verdict, "events", events);
    verdict_number(verdict, "received_ms", trace->received_ms);
    if (json_object_get(verdict, "tenant") == NULL) {
        verdict_text(verdict, "tenant", trace->tenant);
        verdict_text(verdict, "campaign", trace->campaign);
        verdict_text(verdict, "class", trace->klass);
    }
}

/* ---- printing ---- */

static const struct words {
    const char *state, *text;
    int status;
} words[] = {
    {"sending", "is being sent", 0},
    {"waiting", "waits at a worker for its turn", 0},
    {"dns", "waits at a worker for the look-up of its site", 0},
    {"retry", "waits at a worker for its time", 0},
    {"takeover", "waits at a worker: who had its partition before may be sending it still", 0},
    {"settling", "is done, but for what Kafka has to acknowledge", 0},
    {"tier", "waits in a delay tier", 0},
    {"unread", "waits unread in its stream", 0},
    {"held", "is held: nobody knows whether it was delivered (sluicectl uncertain)", 0},
    {"finished", "is finished", 0},
    {"between", "was taken from Kafka and is in no worker's memory: between two of them, ask again",
     1},
    {"taken", "was taken by a worker; what came of it was not found in time", WHY_INCOMPLETE},
    {"unfound", "was not found in what could be looked at in time", WHY_INCOMPLETE},
    {"elsewhere", "is not in this worker's memory", 1},
    {"unknown", "is not known", 1},
};

static const struct words *words_of(const char *state)
{
    for (size_t i = 0; i + 1 < sizeof(words) / sizeof(*words); i++) {
        if (strcmp(words[i].state, state) == 0) {
            return &words[i];
        }
    }
    return &words[sizeof(words) / sizeof(*words) - 1];
}

static void print_text(const json_t *object, const char *before, const char *name)
{
    const char *text = why_text(object, name);
    if (*text != '\0') {
        printf("%s%s", before, text);
    }
}

static void print_where(const json_t *verdict)
{
    print_text(verdict, " by ", "worker");
    print_text(verdict, ", site ", "site");
    print_text(verdict, ", route ", "route");
    print_text(verdict, ", at ", "topic");
    if (json_object_get(verdict, "offset") != NULL) {
        printf("/%lld/%lld", why_number(verdict, "partition"), why_number(verdict, "offset"));
    }
    if (json_object_get(verdict, "before") != NULL) {
        printf(", at most %lld before it", why_number(verdict, "before"));
    }
    printf("\n");
}

static void print_events(const json_t *verdict)
{
    size_t i;
    const json_t *event;
    const json_t *events = json_object_get(verdict, "events");
    json_array_foreach(events, i, event)
    {
        if (i == EVENTS_PRINTED) {
            printf("    and %zu more recipients\n", json_array_size(events) - i);
            return;
        }
        printf("    %s", why_text(event, "type"));
        print_text(event, " ", "recipient");
        why_print_time(" ", why_number(event, "time_ms"));
        if (why_number(event, "attempt") > 0) {
            printf(", attempt %lld", why_number(event, "attempt"));
        }
        print_text(event, ", ", "reason");
        print_text(event, ": ", "reply");
        print_text(event, ", event ", "event_id");
        printf("\n");
    }
}

/* ---- what was looked at ---- */

json_t *verdict_searched(json_t *verdict, const char *what, bool complete)
{
    json_t *list = json_object_get(verdict, "searched");
    json_t *entry = json_pack("{s:s, s:b}", "what", what, "complete", (int)complete);
    if (list == NULL) {
        list = json_array();
        (void)json_object_set_new(verdict, "searched", list);
    }
    (void)json_array_append_new(list, entry);
    return entry;
}

static void print_log(const json_t *entry, bool complete)
{
    long long until_ms = why_number(entry, "until_ms");
    printf(complete ? "    looked at: the log" : "    not looked at: the log");
    if (complete) {
        why_print_time(" from ", why_number(entry, "from_ms"));
        printf(" to its end\n");
        return;
    }
    why_print_time(until_ms > 0 ? " after " : " from ",
                   until_ms > 0 ? until_ms : why_number(entry, "from_ms"));
    printf("; --timeout gives it more time, --since names a later beginning\n");
}

static void print_workers(const json_t *entry, bool complete)
{
    long long answers = why_number(entry, "answers");
    long long expected = why_number(entry, "expected");
    if (complete) {
        printf("    looked at: the memory of all workers\n");
    } else if (expected == 0) {
        printf("    not looked at: the memory of workers, none has answered\n");
    } else {
        printf("    not looked at: the memory of some workers, %lld of %lld threads have "
               "answered\n",
               answers, expected);
    }
}

static void print_searched(const json_t *verdict)
{
    static const struct {
        const char *what, *text;
    } places[] = {{"unread", "what is unread in streams"},
                  {"tier", "its delay tier"},
                  {"held", "what is held as uncertain"}};
    size_t i;
    const json_t *entry;
    json_array_foreach(json_object_get(verdict, "searched"), i, entry)
    {
        const char *what = why_text(entry, "what");
        bool complete = json_is_true(json_object_get(entry, "complete"));
        if (strcmp(what, "log") == 0) {
            print_log(entry, complete);
        } else if (strcmp(what, "workers") == 0) {
            print_workers(entry, complete);
        }
        for (size_t k = 0; k < sizeof(places) / sizeof(*places); k++) {
            if (strcmp(what, places[k].what) == 0) {
                printf("    %s: %s%s\n", complete ? "looked at" : "not looked at",
                       complete ? "" : "all of ", places[k].text);
            }
        }
    }
}

int verdict_print(json_t *verdict, bool json)
{
    const struct words *found = words_of(why_text(verdict, "state"));
    if (json) {
        (void)json_dumpf(verdict, stdout, JSON_COMPACT);
        printf("\n");
        return found->status;
    }
    printf("%s: %s", why_text(verdict, "message_id"), found->text);
    print_where(verdict);
    why_print_reasons(verdict);
    if (why_number(verdict, "attempt") > 0) {
        printf("    next is attempt %lld\n", why_number(verdict, "attempt"));
    }
    print_text(verdict, "    held as ", "key");
    printf("%s", json_object_get(verdict, "key") != NULL ? "\n" : "");
    if (why_number(verdict, "expected_ms") > 0) {
        why_print_time("    expected ", why_number(verdict, "expected_ms"));
        printf("\n");
    }
    print_events(verdict);
    if (found->status != 0) {
        print_searched(verdict);
    }
    return found->status;
}

/*
 * See once.h. A claim is on exactly one list: `early` until Redis' state is known, `late` when it
 * will be answered at the end of this turn, `asked` while Redis or a search has it, `wanted` while
 * it waits for the next search, `paused` with its timer set. What Redis and the searches answer
 * goes to blocks of their own that point to the claim, so that a claim may end before them.
 */
#include "once/once.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "once/search.h"
#include "redis/once.h"

#include <inttypes.h>

#define ONCE_MAGIC 0x6f6e6365u
#define YOUNG_MS                                                                                   \
    2000               /* a claim as young as that: its holder is most likely alive and soon done  \
                        */
#define PAUSE_MS 300   /* between two looks at a claim that stands in the way */
#define FAILED_MS 1000 /* after a search that did not come to its end */
#define SLACK_MS 60000 /* for clocks that are not set alike, in what is read of a partition */

struct once_ask {
    struct redis_once_ask ask;
    struct once *once;
    struct once_claim *claim; /* NULL: ended meanwhile */
};

struct once {
    uint32_t magic;
    struct io_loop *loop;
    struct redis_once *redis;
    struct redis_once_owner redis_owner;
    struct kafka_properties properties;
    int64_t hold_ms;
    struct mailbox *mailbox;
    struct once_search *search; /* the one that runs */
    struct list early, late, asked, wanted, paused;
    struct io_task answer_late;
    bool whole; /* all servers are there, or nothing is known yet */
    bool given_up;
    uint64_t unguarded_since; /* counters.unguarded when Redis went away */
    struct once_counters counters;
};

static void ask(struct once *once, struct once_claim *claim);

/* The claim is the caller's again. */
static void answer(struct once *once, struct once_claim *claim, enum once_result result)
{
    list_remove(&claim->node);
    wheel_cancel(io_loop_wheel(once->loop), &claim->timer);
    if (claim->ask != NULL) {
        claim->ask->claim = NULL;
        claim->ask = NULL;
    }
    if (claim->item != NULL) {
        claim->item->owner = NULL;
        claim->item = NULL;
    }
    once->counters.recognised += result == ONCE_STORED;
    once->counters.unguarded += result == ONCE_UNGUARDED;
    once->counters.unknown += result == ONCE_UNKNOWN;
    claim->answered(claim, result);
}

/* Redis cannot be asked. Who has met another's claim does not go past it. */
static void answer_without(struct once *once, struct once_claim *claim)
{
    answer(once, claim, once->given_up || claim->other != 0 ? ONCE_UNKNOWN : ONCE_UNGUARDED);
}

static void answer_list(struct once *once, struct list *list)
{
    while (!list_empty(list)) {
        answer_without(once, CONTAINER_OF(list->next, struct once_claim, node));
    }
}

/* ---- looking ---- */

static void move(struct once_claim *claim, struct list *list)
{
    list_remove(&claim->node);
    list_push_back(list, &claim->node);
}

static void pause_over(struct timer *timer, struct mono_time now)
{
    struct once_claim *claim = CONTAINER_OF(timer, struct once_claim, timer);
    (void)now;
    ask(claim->once, claim);
}

static void pause(struct once *once, struct once_claim *claim, int64_t ms)
{
    move(claim, &once->paused);
    wheel_set(io_loop_wheel(once->loop), &claim->timer, mono_add_ms(io_loop_now(once->loop), ms),
              pause_over);
}

/* All that are wanted of one topic, in one reading. */
static void start_search(struct once *once)
{
    if (once->search != NULL || list_empty(&once->wanted)) {
        return;
    }
    struct slice topic = CONTAINER_OF(once->wanted.next, struct once_claim, node)->topic;
    int64_t oldest_ms = 0;
    list_foreach (node, &once->wanted) {
        const struct once_claim *claim = CONTAINER_OF(node, struct once_claim, node);
        if (slice_eq(claim->topic, topic) && claim->age_ms > oldest_ms) {
            oldest_ms = claim->age_ms;
        }
    }
    struct fault fault;
    once->search =
        once_search_create(&once->properties, topic, wall_now().ms - oldest_ms - SLACK_MS);
    list_foreach_safe (node, after, &once->wanted) {
        struct once_claim *claim = CONTAINER_OF(node, struct once_claim, node);
        if (slice_eq(claim->topic, topic)) {
            claim->item = once_search_add(once->search, claim->id, claim->key, claim);
            claim->item->expired = claim->left_ms == 0;
            move(claim, &once->asked);
        }
    }
    once->counters.searches++;
    log_info("looking-for", "topic=%s messages=%zu back_ms=%" PRId64, topic.ptr,
             once_search_count(once->search), oldest_ms + SLACK_MS);
    if (!once_search_start(once->search, once->mailbox, &fault)) {
        log_error("not-looked-for", "reason=\"%s\"", fault.text);
        list_foreach (item, once_search_items(once->search)) {
            struct once_claim *claim = CONTAINER_OF(item, struct once_item, node)->owner;
            claim->item = NULL;
            pause(once, claim, FAILED_MS);
        }
        once_search_free(&once->search);
    }
}

static void take_result(struct once *once, struct once_item *item, bool complete)
{
    struct once_claim *claim = item->owner;
    if (claim == NULL) {
        return;
    }
    claim->item = NULL;
    if (item->found) {
        claim->partition = item->partition;
        claim->offset = item->offset;
        once_stored(once, claim->id, claim->other, item->partition, item->offset);
        answer(once, claim, ONCE_STORED);
        return;
    }
    if (!complete) {
        pause(once, claim, FAILED_MS);
        return;
    }
    claim->looked = claim->other;
    if (item->expired) {
        claim->looked_after = claim->other;
    }
    ask(once, claim);
}

static void search_ended(struct letter *letter, void *owner)
{
    struct once *once = owner;
    CHECK_MAGIC(once, ONCE_MAGIC);
    struct once_search *search = once_search_of(letter);
    CHECK(search == once->search);
    once->search = NULL;
    list_foreach (node, once_search_items(search)) {
        take_result(once, CONTAINER_OF(node, struct once_item, node), once_search_complete(search));
    }
    once_search_free(&search);
    start_search(once);
}

/* ---- asking ---- */

/* Another publisher's claim stands in the way. */
static void in_the_way(struct once *once, struct once_claim *claim,
                       const struct redis_once_answer *reply)
{
    claim->other = reply->token;
    claim->age_ms = reply->age_ms;
    claim->left_ms = reply->left_ms;
    if (!mono_before(io_loop_now(once->loop), claim->until)) {
        answer(once, claim, ONCE_UNKNOWN);
        return;
    }
    bool look = claim->left_ms == 0 || (claim->looked != claim->other && claim->age_ms >= YOUNG_MS);
    if (look) {
        move(claim, &once->wanted);
        start_search(once);
        return;
    }
    pause(once, claim, claim->left_ms < PAUSE_MS ? claim->left_ms + 1 : PAUSE_MS);
}

static void on_answer(struct redis_once_ask *redis_ask, const struct redis_once_answer *reply)
{
    struct once_ask *one = CONTAINER_OF(redis_ask, struct once_ask, ask);
    struct once *once = one->once;
    struct once_claim *claim = one->claim;
    mem_free(one);
    CHECK_MAGIC(once, ONCE_MAGIC);
    if (claim == NULL) {
        return;
    }
    claim->ask = NULL;
    switch (reply->state) {
    case REDIS_ONCE_LOST: answer_without(once, claim); break;
    case REDIS_ONCE_CLAIMED: answer(once, claim, ONCE_YOURS); break;
    case REDIS_ONCE_STORED:
        claim->partition = (int32_t)reply->partition;
        claim->offset = reply->offset;
        answer(once, claim, ONCE_STORED);
        break;
    case REDIS_ONCE_PENDING: in_the_way(once, claim, reply); break;
    }
}

static void ask(struct once *once, struct once_claim *claim)
{
    if (redis_once_way(once->redis, claim->id) != REDIS_ONCE_UP) {
        answer_without(once, claim);
        return;
    }
    struct once_ask *one = mem_zalloc(sizeof(*one));
    *one = (struct once_ask){.ask.answered = on_answer, .once = once, .claim = claim};
    claim->ask = one;
    move(claim, &once->asked);
    redis_once_claim(once->redis, &one->ask, claim->id, claim->token, once->hold_ms,
                     claim->looked_after);
}

/* Those that came before it was known whether their server is there. */
static void ask_early(struct once *once)
{
    struct list now;
    list_init(&now);
    list_append_all(&now, &once->early);
    while (!list_empty(&now)) {
        struct once_claim *claim = CONTAINER_OF(now.next, struct once_claim, node);
        if (redis_once_way(once->redis, claim->id) == REDIS_ONCE_UNKNOWN) {
            move(claim, &once->early);
        } else {
            ask(once, claim);
        }
    }
}

static void on_redis(struct redis_once_owner *owner)
{
    struct once *once = CONTAINER_OF(owner, struct once, redis_owner);
    CHECK_MAGIC(once, ONCE_MAGIC);
    bool up = redis_once_is_up(once->redis);
    if (!up && once->whole) {
        once->unguarded_since = once->counters.unguarded;
        log_warn("resends-not-recognised", "reason=\"Redis is away\"");
    } else if (up && once->counters.unguarded > once->unguarded_since) {
        log_warn("resends-recognised-again", "unguarded=%" PRIu64,
                 once->counters.unguarded - once->unguarded_since);
        once->unguarded_since = once->counters.unguarded;
    }
    once->whole = up;
    ask_early(once);
}

static void answer_at_end(struct io_task *task)
{
    struct once *once = CONTAINER_OF(task, struct once, answer_late);
    CHECK_MAGIC(once, ONCE_MAGIC);
    struct list now;
    list_init(&now);
    list_append_all(&now, &once->late); /* those that their answers bring are for the next turn */
    answer_list(once, &now);
}

void once_claim(struct once *once, struct once_claim *claim)
{
    CHECK_MAGIC(once, ONCE_MAGIC);
    claim->once = once;
    claim->token = (int64_t)(random_u64() & REDIS_ONCE_TOKEN_MAX) | 1;
    claim->until = mono_add_ms(io_loop_now(once->loop), claim->patience_ms);
    once->counters.claims++;
    enum redis_once_way way = redis_once_way(once->redis, claim->id);
    if (once->given_up || way == REDIS_ONCE_DOWN) {
        list_push_back(&once->late, &claim->node);
        io_loop_defer(once->loop, &once->answer_late);
    } else if (way == REDIS_ONCE_UNKNOWN) {
        list_push_back(&once->early, &claim->node);
    } else {
        list_push_back(&once->asked, &claim->node);
        ask(once, claim);
    }
}

void once_stored(struct once *once, struct slice id, int64_t token, int32_t partition,
                 int64_t offset)
{
    if (redis_once_way(once->redis, id) == REDIS_ONCE_UP) {
        redis_once_done(once->redis, id, token, partition, offset);
    }
}

void once_not_stored(struct once *once, struct slice id, int64_t token)
{
    if (redis_once_way(once->redis, id) == REDIS_ONCE_UP) {
        redis_once_drop(once->redis, id, token);
    }
}

const struct once_counters *once_counters(const struct once *once)
{
    return &once->counters;
}

/* ---- life ---- */

struct once *once_create(struct io_loop *loop, const struct once_options *options,
                         struct fault *fault)
{
    struct once *once = mem_zalloc(sizeof(*once));
    once->magic = ONCE_MAGIC;
    once->loop = loop;
    once->properties = options->kafka;
    once->hold_ms = options->hold_ms;
    once->whole = true;
    once->redis_owner.changed = on_redis;
    once->answer_late.run = answer_at_end;
    struct list *lists[] = {&once->early, &once->late, &once->asked, &once->wanted, &once->paused};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        list_init(lists[i]);
    }
    once->mailbox = mailbox_create(loop, search_ended, once, fault);
    once->redis = once->mailbox == NULL
                      ? NULL
                      : redis_once_create(loop, &options->redis, &once->redis_owner, fault);
    if (once->redis == NULL) {
        once_free(&once);
    }
    return once;
}

void once_give_up(struct once *once)
{
    CHECK_MAGIC(once, ONCE_MAGIC);
    once->given_up = true;
    struct list *lists[] = {&once->early, &once->late, &once->asked, &once->wanted, &once->paused};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        answer_list(once, lists[i]);
    }
}

void once_free(struct once **handle)
{
    struct once *once = *handle;
    if (once == NULL) {
        return;
    }
    CHECK_MAGIC(once, ONCE_MAGIC);
    *handle = NULL;
    once_give_up(once);
    if (once->search != NULL) {
        once_search_stop(once->search);
        once_search_wait(once->search);
    }
    mailbox_free(&once->mailbox); /* takes the search's letter */
    redis_once_free(&once->redis);
    io_task_cancel(&once->answer_late);
    once->magic = 0;
    mem_free(once);
}

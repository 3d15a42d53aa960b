/*
 * The builder's knowledge: each rule by hand, then random histories (SLUICE_SEED repeats a run)
 * over a topic played here: what is written arrives later, administrators write in between,
 * builders die and others read the topic and some of the events again.
 */
#include "suppress/build.h"

#include "base/mem.h"
#include "base/random.h"
#include "schema/suppression.h"
#include "suppress/policy.h"

#include <inttypes.h>
#include <stdlib.h>

#include "unit/cmocka_all.h"

#define DAY SUPPRESS_DAY_MS
#define START ((int64_t)1764000000000)
#define KEY "shop//ann@x.test"

static struct config_suppression policies[] = {{
    .name = "default",
    .hard_reach = CONFIG_REACH_TENANT,
    .repeated_count = 3,
    .repeated_within_ms = 2 * DAY,
    .repeated_decay_ms = 10 * DAY,
    .mailbox_full_after_ms = 5 * DAY,
    .mailbox_full_decay_ms = 9 * DAY,
    .complaint_reach = CONFIG_REACH_LIST,
    .unsubscribe_reach = CONFIG_REACH_LIST,
    .list_metadata = "list",
}};
static const struct config config = {.suppression = policies, .suppression_count = 1};

/* ---- a topic ---- */

#define TOPIC_MAX 4096
#define EVENTS_MAX 400
#define ADDRESSES 6

struct record {
    size_t key_len, value_len;
    char bytes[SUPPRESS_KEY_MAX + 2000];
};

static struct {
    struct record *records;
    size_t count;     /* on the topic */
    size_t in_flight; /* behind them: written, not there yet */
} topic;

static void topic_add(struct slice key, struct slice value, bool at_once)
{
    CHECK(topic.count + topic.in_flight < TOPIC_MAX);
    size_t at = topic.count + topic.in_flight;
    if (at_once) { /* before what is in flight */
        memmove(&topic.records[topic.count + 1], &topic.records[topic.count],
                topic.in_flight * sizeof(*topic.records));
        at = topic.count++;
    } else {
        topic.in_flight++;
    }
    struct record *record = &topic.records[at];
    *record = (struct record){key.len, value.len, ""};
    CHECK(key.len + value.len <= sizeof(record->bytes));
    memcpy(record->bytes, key.ptr, key.len);
    if (value.len > 0) {
        memcpy(record->bytes + key.len, value.ptr, value.len);
    }
}

static struct slice key_of(const struct record *record)
{
    return slice_of(record->bytes, record->key_len);
}

static struct slice value_of(const struct record *record)
{
    return slice_of(record->bytes + record->key_len, record->value_len);
}

/* What a reader of the whole topic makes of a key; an entry ends at a midnight. */
static bool topic_holds(struct slice key, int64_t now_ms)
{
    struct suppression entry = {0};
    for (size_t i = topic.count; i-- > 0;) {
        if (slice_eq(key_of(&topic.records[i]), key)) {
            struct slice value = value_of(&topic.records[i]);
            if (value.len == 0 || !suppression_decode(value, &entry, NULL)) {
                return false;
            }
            uint16_t until_day = suppress_mark_of(&entry).until_day;
            return entry.reason != SUPPRESSION_NONE &&
                   (until_day == 0 || until_day > suppress_today(now_ms));
        }
    }
    return false;
}

static int set_up(void **state)
{
    (void)state;
    topic.records = mem_calloc(TOPIC_MAX, sizeof(*topic.records));
    topic.count = topic.in_flight = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mem_free(topic.records);
    return 0;
}

/* ---- events ---- */

static struct event event_of(enum event_type type, const char *class, int64_t time_ms,
                             const char *id, const char *address)
{
    struct event event = {.type = type,
                          .event_id = slice_cstr(id),
                          .time_ms = time_ms,
                          .tenant = SLICE("shop"),
                          .recipient = slice_cstr(address)};
    if (type == EVENT_BOUNCED) {
        event.attempt.bounce_class = slice_cstr(class);
        event.attempt.code = 550;
    }
    return event;
}

static struct event hard_at(int64_t time_ms, const char *id)
{
    return event_of(EVENT_BOUNCED, "user-unknown", time_ms, id, "Ann@X.test");
}

static void by_hand(struct suppress_build *build, int reason, int64_t time_ms, bool expect_again)
{
    struct suppression entry = {.reason = reason, .time_ms = time_ms, .actor = SLICE("ann")};
    struct suppress_write out;
    struct strbuf value;
    entry.removed_ms = reason == SUPPRESSION_NONE ? time_ms : 0;
    strbuf_init(&value, SUPPRESSION_ENCODED_MAX);
    assert_true(suppression_encode(&entry, &value));
    bool again = suppress_build_record(build, SLICE(KEY), strbuf_slice(&value), time_ms, &out);
    assert_int_equal(again, expect_again);
    if (again) {
        struct suppression written;
        assert_true(slice_eq(out.key, SLICE(KEY)));
        assert_true(suppression_decode(out.value, &written, NULL));
        assert_int_equal(written.reason, reason);
        assert_true(slice_eq(written.actor, SLICE("ann")));
    }
    strbuf_free(&value);
}

/* ---- by hand ---- */

static void a_hard_bounce_is_written_once(void **state)
{
    struct suppress_build *build = suppress_build_create(&config);
    struct event event = hard_at(START, "e1");
    struct suppress_write out;
    struct suppression entry;
    struct suppress_build_counts counts;
    (void)state;
    suppress_build_claim(build, 7);
    assert_true(suppress_build_event(build, &event, START, &out));
    assert_true(slice_eq(out.key, SLICE(KEY)));
    assert_true(suppression_decode(out.value, &entry, NULL));
    assert_int_equal(entry.reason, SUPPRESSION_HARD);
    assert_int_equal(entry.epoch, 7);
    assert_true(slice_eq(entry.event_id, SLICE("e1")));
    assert_true(slice_eq(entry.actor, SLICE("sluice-bouncer")));
    assert_true(suppress_build_holds(build, SLICE(KEY), START));
    assert_false(suppress_build_event(build, &event, START, &out));
    event.type = EVENT_DEFERRED;
    assert_false(suppress_build_event(build, &event, START, &out));
    suppress_build_counts(build, &counts);
    assert_int_equal(counts.in_force, 1);
    assert_int_equal(counts.outstanding, 1);
    suppress_build_free(&build);
    assert_null(build);
}

/* A report returns a header that its sender has written: no length of it may stop the builder. */
static void long_words_of_a_stranger(void **state)
{
    static char text[60000];
    struct suppress_build *build = suppress_build_create(&config);
    struct event event = event_of(EVENT_COMPLAINT, "", START, "e1", "ann@x.test");
    struct suppress_write out;
    struct suppression entry;
    (void)state;
    memset(text, 'x', sizeof(text));
    event.campaign = event.message_id = slice_of(text, sizeof(text));
    event.returned.text = event.returned.list = event.campaign;
    suppress_build_claim(build, 1);
    assert_true(suppress_build_event(build, &event, START, &out));
    assert_true(slice_eq(out.key, SLICE(KEY))); /* no list has such a name */
    assert_true(suppression_decode(out.value, &entry, NULL));
    assert_int_equal(entry.reason, SUPPRESSION_COMPLAINT);
    assert_true(out.value.len <= SUPPRESSION_ENCODED_MAX);
    assert_true(suppress_build_holds(build, SLICE(KEY), START));
    suppress_build_free(&build);
}

static void what_an_administrator_wrote_before_ours_stands(void **state)
{
    struct suppress_build *build = suppress_build_create(&config);
    struct event event = hard_at(START - 1, "e1");
    struct suppress_write out;
    struct strbuf own;
    (void)state;
    suppress_build_claim(build, 1);
    assert_true(suppress_build_event(build, &event, START, &out));
    strbuf_init(&own, SUPPRESSION_ENCODED_MAX);
    strbuf_add_slice(&own, out.value);
    by_hand(build, SUPPRESSION_NONE, START, true); /* removed after the bounce */
    assert_false(suppress_build_holds(build, SLICE(KEY), START));
    assert_false(suppress_build_record(build, SLICE(KEY), strbuf_slice(&own), START, &out));
    assert_false(suppress_build_holds(build, SLICE(KEY), START));
    assert_false(suppress_build_event(build, &event, START, &out));
    strbuf_free(&own);
    suppress_build_free(&build);
}

static void what_happened_after_a_removal_stands(void **state)
{
    struct suppress_build *build = suppress_build_create(&config);
    struct event event = hard_at(START + 1, "e1");
    struct suppress_write out;
    (void)state;
    suppress_build_claim(build, 1);
    assert_true(suppress_build_event(build, &event, START + 1, &out));
    by_hand(build, SUPPRESSION_NONE, START, false);
    assert_true(suppress_build_holds(build, SLICE(KEY), START + 1));
    /* Once ours were read back, whatever comes is newer. */
    struct suppression entry = {.reason = SUPPRESSION_HARD, .epoch = 1};
    struct strbuf own;
    strbuf_init(&own, SUPPRESSION_ENCODED_MAX);
    assert_true(suppression_encode(&entry, &own));
    assert_false(suppress_build_record(build, SLICE(KEY), strbuf_slice(&own), START, &out));
    strbuf_free(&own);
    by_hand(build, SUPPRESSION_NONE, START, false);
    assert_false(suppress_build_holds(build, SLICE(KEY), START + 1));
    suppress_build_free(&build);
}

static void counts_go_on_after_a_start(void **state)
{
    struct suppress_build *build = suppress_build_create(&config);
    struct suppress_write out;
    (void)state;
    suppress_build_claim(build, 1);
    static const char *const ids[] = {"e1", "e2", "e3"};
    for (size_t i = 0; i < 3; i++) {
        const struct event event =
            event_of(EVENT_BOUNCED, "mailbox-disabled", START + (int64_t)i, ids[i], "ann@x.test");
        assert_true(suppress_build_event(build, &event, START, &out));
        assert_int_equal(suppress_build_holds(build, SLICE(KEY), START), i == 2);
        struct suppress_build *next = suppress_build_create(&config);
        assert_false(suppress_build_record(next, out.key, out.value, START, &out));
        suppress_build_claim(next, i + 2);
        assert_false(suppress_build_event(next, &event, START, &out)); /* counted already */
        suppress_build_free(&build);
        build = next;
    }
    suppress_build_free(&build);
}

static void what_is_over_is_deleted(void **state)
{
    struct suppress_build *build = suppress_build_create(&config);
    struct suppression entry = {
        .reason = SUPPRESSION_HARD, .time_ms = START - 9 * DAY, .expires_ms = START - 3 * DAY};
    struct suppress_write out;
    struct strbuf value;
    (void)state;
    strbuf_init(&value, SUPPRESSION_ENCODED_MAX);
    assert_true(suppression_encode(&entry, &value));
    assert_false(suppress_build_record(build, SLICE(KEY), strbuf_slice(&value), START, &out));
    entry = (struct suppression){.removed_ms = START};
    strbuf_reset(&value);
    assert_true(suppression_encode(&entry, &value));
    assert_false(
        suppress_build_record(build, SLICE("shop//b@x.test"), strbuf_slice(&value), START, &out));
    assert_false(suppress_build_record(build, SLICE("no key"), SLICE_NULL, START, &out));
    suppress_build_claim(build, 1);
    assert_true(suppress_build_spent(build, START, &out));
    assert_true(slice_eq(out.key, SLICE(KEY)));
    assert_int_equal(out.value.len, 0);
    assert_false(suppress_build_record(build, out.key, out.value, START, &out));
    assert_false(suppress_build_spent(build, START + 29 * DAY, &out));
    assert_true(suppress_build_spent(build, START + 32 * DAY, &out));
    assert_true(slice_eq(out.key, SLICE("shop//b@x.test")));
    assert_false(suppress_build_spent(build, START + 32 * DAY, &out));
    struct suppress_build_counts counts;
    suppress_build_counts(build, &counts);
    assert_int_equal(counts.counted, 0);
    assert_int_equal(counts.invalid, 1);
    strbuf_free(&value);
    suppress_build_free(&build);
}

/* ---- histories ---- */

static uint64_t random_state;

static size_t below(size_t n)
{
    random_state ^= random_state << 13; /* xorshift64 (Marsaglia 2003) */
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state % n);
}

static void seed(void)
{
    const char *given = getenv("SLUICE_SEED");
    random_state = given == NULL ? random_u64() | 1 : strtoull(given, NULL, 0);
    print_message("SLUICE_SEED=%" PRIu64 "\n", random_state);
}

struct story {
    struct event events[EVENTS_MAX];
    char ids[EVENTS_MAX][32];
    char addresses[EVENTS_MAX][32];
    size_t count;
    int64_t now_ms;
};

static void make_story(struct story *story)
{
    static const char *const classes[] = {"user-unknown", "mailbox-disabled", "mailbox-full",
                                          "content-rejected"};
    memset(story, 0, sizeof(*story));
    story->count = 1 + below(EVENTS_MAX - 1);
    story->now_ms = START;
    for (size_t i = 0; i < story->count; i++) {
        size_t class = below(20) == 0 ? 0 : 1 + below(3);
        story->now_ms += (int64_t)below((size_t)DAY / 8);
        (void)snprintf(story->ids[i], sizeof(story->ids[i]), "e%zu", i);
        (void)snprintf(story->addresses[i], sizeof(story->addresses[i]), "a%zu@x.test",
                       below(ADDRESSES));
        story->events[i] = event_of(EVENT_BOUNCED, classes[class], story->now_ms, story->ids[i],
                                    story->addresses[i]);
    }
}

struct player {
    struct suppress_build *build;
    size_t read;     /* records of the topic */
    size_t position; /* events */
    uint64_t epoch;
};

/* A builder reads the topic from its beginning and claims it. */
static void player_start(struct player *player, int64_t now_ms)
{
    struct suppress_write out;
    player->build = suppress_build_create(&config);
    for (player->read = 0; player->read < topic.count; player->read++) {
        const struct record *record = &topic.records[player->read];
        assert_false(
            suppress_build_record(player->build, key_of(record), value_of(record), now_ms, &out));
    }
    suppress_build_claim(player->build, ++player->epoch);
}

static void player_reads_one(struct player *player, int64_t now_ms)
{
    struct suppress_write out;
    if (player->read < topic.count) {
        const struct record *record = &topic.records[player->read++];
        if (suppress_build_record(player->build, key_of(record), value_of(record), now_ms, &out)) {
            topic_add(out.key, out.value, false);
        }
    }
}

static void arrive(size_t count)
{
    size_t now = count < topic.in_flight ? count : topic.in_flight;
    topic.count += now;
    topic.in_flight -= now;
}

static struct slice key_number(size_t i, char room[40])
{
    return slice_of(room, (size_t)snprintf(room, 40, "shop//a%zu@x.test", i));
}

/* Every event once, without deaths and without anything between. */
static void expected(const struct story *story, bool held[ADDRESSES])
{
    struct suppress_build *build = suppress_build_create(&config);
    struct suppress_write out;
    suppress_build_claim(build, 1);
    for (size_t i = 0; i < story->count; i++) {
        (void)suppress_build_event(build, &story->events[i], story->events[i].time_ms, &out);
    }
    for (size_t i = 0; i < ADDRESSES; i++) {
        char room[40];
        held[i] = suppress_build_holds(build, key_number(i, room), story->now_ms);
    }
    suppress_build_free(&build);
}

static void drain(struct player *player, int64_t now_ms)
{
    while (topic.in_flight > 0 || player->read < topic.count) {
        arrive(1 + below(3));
        player_reads_one(player, now_ms);
    }
}

static void expect_held(const struct player *player, const bool held[ADDRESSES], int64_t now_ms)
{
    struct suppress_build_counts counts;
    for (size_t i = 0; i < ADDRESSES; i++) {
        char room[40];
        struct slice key = key_number(i, room);
        bool in_topic = topic_holds(key, now_ms);
        bool known = suppress_build_holds(player->build, key, now_ms);
        if (in_topic != held[i] || known != held[i]) {
            fail_msg("%s: topic %d, builder %d, expected %d", key.ptr, in_topic, known, held[i]);
        }
    }
    suppress_build_counts(player->build, &counts);
    assert_int_equal(counts.outstanding, 0);
}

/* The story with deaths: the next builder begins at the last event before which all was written. */
static void play(const struct story *story, struct player *player)
{
    size_t safe = 0;
    struct suppress_write out;
    topic.count = topic.in_flight = 0;
    player_start(player, START);
    while (player->position < story->count) {
        const struct event *event = &story->events[player->position];
        switch (below(12)) {
        case 0:
            topic.in_flight = 0;
            suppress_build_free(&player->build);
            player->position = safe;
            player_start(player, event->time_ms);
            break;
        case 1: arrive(topic.in_flight); break;
        case 2: arrive(below(3)); break;
        case 3:
        case 4: player_reads_one(player, event->time_ms); break;
        default:
            if (suppress_build_event(player->build, event, event->time_ms, &out)) {
                topic_add(out.key, out.value, false);
            }
            player->position++;
            break;
        }
        safe = topic.in_flight == 0 ? player->position : safe;
    }
}

static void deaths_change_nothing(void **state)
{
    static struct story story;
    (void)state;
    seed();
    for (int round = 0; round < 300; round++) {
        struct player player = {.epoch = 0};
        bool held[ADDRESSES];
        make_story(&story);
        expected(&story, held);
        play(&story, &player);
        drain(&player, story.now_ms);
        expect_held(&player, held, story.now_ms);
        suppress_build_free(&player.build);
    }
}

static void administrators_have_the_last_word(void **state)
{
    static struct story story;
    (void)state;
    seed();
    for (int round = 0; round < 300; round++) {
        struct player player = {.epoch = 0};
        bool held[ADDRESSES];
        make_story(&story);
        play(&story, &player);
        for (size_t i = 0; i < ADDRESSES; i++) { /* with writes of ours still on their way */
            char room[40];
            struct suppression entry = {.time_ms = story.now_ms + 1, .actor = SLICE("ann")};
            struct strbuf value;
            held[i] = below(2) == 0;
            entry.reason = held[i] ? SUPPRESSION_MANUAL : SUPPRESSION_NONE;
            entry.removed_ms = held[i] ? 0 : entry.time_ms;
            strbuf_init(&value, SUPPRESSION_ENCODED_MAX);
            assert_true(suppression_encode(&entry, &value));
            topic_add(key_number(i, room), strbuf_slice(&value), true);
            strbuf_free(&value);
            arrive(below(3));
        }
        drain(&player, story.now_ms + 1);
        expect_held(&player, held, story.now_ms + 1);
        suppress_build_free(&player.build);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_hard_bounce_is_written_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_words_of_a_stranger, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_an_administrator_wrote_before_ours_stands, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_happened_after_a_removal_stands, set_up, tear_down),
        cmocka_unit_test_setup_teardown(counts_go_on_after_a_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_over_is_deleted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deaths_change_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(administrators_have_the_last_word, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

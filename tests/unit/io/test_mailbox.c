#include "base/mem.h"
#include "io/mailbox.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define POSTERS 4
#define LETTERS 100000

struct note {
    struct letter letter;
    unsigned poster;
    unsigned number;
};

struct office {
    struct io_loop *loop;
    struct mailbox *mailbox;
    unsigned seen[POSTERS];
    unsigned total;
    unsigned stop_at;
    bool free_inside;
};

struct poster {
    pthread_t thread;
    struct mailbox *mailbox;
    unsigned number;
};

static void on_letter(struct letter *letter, void *owner)
{
    struct office *office = owner;
    struct note *note = CONTAINER_OF(letter, struct note, letter);
    assert_int_equal(note->number, office->seen[note->poster]); /* in order, none lost or doubled */
    office->seen[note->poster]++;
    mem_free(note);
    if (++office->total == office->stop_at) {
        io_loop_stop(office->loop);
        if (office->free_inside) {
            mailbox_free(&office->mailbox);
        }
    }
}

static void post(struct mailbox *mailbox, unsigned poster, unsigned number)
{
    struct note *note = mem_zalloc(sizeof(*note));
    note->poster = poster;
    note->number = number;
    mailbox_post(mailbox, &note->letter);
}

static void *post_all(void *argument)
{
    struct poster *poster = argument;
    for (unsigned i = 0; i < LETTERS; i++) {
        post(poster->mailbox, poster->number, i);
    }
    return NULL;
}

static void office_open(struct office *office)
{
    struct fault fault;
    memset(office, 0, sizeof(*office));
    office->loop = io_loop_create(&fault);
    assert_non_null(office->loop);
    office->mailbox = mailbox_create(office->loop, on_letter, office, &fault);
    assert_non_null(office->mailbox);
}

static void many_threads_lose_nothing(void **state)
{
    struct office office;
    struct poster posters[POSTERS];
    (void)state;
    office_open(&office);
    office.stop_at = POSTERS * LETTERS;
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i].mailbox = office.mailbox;
        posters[i].number = i;
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]), 0);
    }
    io_loop_run(office.loop); /* a lost wake-up or letter would make this wait for ever */
    for (unsigned i = 0; i < POSTERS; i++) {
        assert_int_equal(pthread_join(posters[i].thread, NULL), 0);
        assert_int_equal(office.seen[i], LETTERS);
    }
    mailbox_free(&office.mailbox);
    assert_int_equal(office.total, POSTERS * LETTERS);
    io_loop_free(&office.loop);
}

static void free_delivers_the_rest(void **state)
{
    struct office office;
    (void)state;
    office_open(&office);
    for (unsigned i = 0; i < 10; i++) {
        post(office.mailbox, 0, i);
    }
    assert_int_equal(office.total, 0); /* never inside the post */
    mailbox_free(&office.mailbox);
    assert_null(office.mailbox);
    assert_int_equal(office.total, 10);
    mailbox_free(&office.mailbox);
    io_loop_free(&office.loop);
}

static void free_inside_the_callback(void **state)
{
    struct office office;
    (void)state;
    office_open(&office);
    office.stop_at = 3;
    office.free_inside = true;
    for (unsigned i = 0; i < 10; i++) {
        post(office.mailbox, 0, i);
    }
    io_loop_run(office.loop);
    assert_null(office.mailbox);
    assert_int_equal(office.total, 10);
    io_loop_free(&office.loop);
}

/* Thousands in one box do not keep the loop from another one. */
static void a_turn_has_an_end(void **state)
{
    struct office office, other;
    struct fault fault;
    (void)state;
    office_open(&office);
    memset(&other, 0, sizeof(other));
    other.loop = office.loop;
    other.mailbox = mailbox_create(office.loop, on_letter, &other, &fault);
    assert_non_null(other.mailbox);
    for (unsigned i = 0; i < 20 * MAILBOX_TURN_MAX; i++) {
        post(office.mailbox, 0, i);
    }
    post(other.mailbox, 0, 0);
    other.stop_at = 1;
    io_loop_run(office.loop);
    assert_int_equal(other.total, 1);
    assert_true(office.total <= 2 * MAILBOX_TURN_MAX);
    other.stop_at = 0;
    office.stop_at = 20 * MAILBOX_TURN_MAX;
    io_loop_run(office.loop); /* it wakes itself for the rest */
    assert_int_equal(office.total, 20 * MAILBOX_TURN_MAX);
    mailbox_free(&other.mailbox);
    mailbox_free(&office.mailbox);
    io_loop_free(&office.loop);
}

static void deliver_leaves_nothing(void **state)
{
    struct office office;
    (void)state;
    office_open(&office);
    for (unsigned i = 0; i < 3 * MAILBOX_TURN_MAX; i++) {
        post(office.mailbox, 0, i);
    }
    mailbox_deliver(office.mailbox);
    assert_int_equal(office.total, 3 * MAILBOX_TURN_MAX);
    mailbox_deliver(office.mailbox);
    assert_int_equal(office.total, 3 * MAILBOX_TURN_MAX);
    mailbox_free(&office.mailbox);
    io_loop_free(&office.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_threads_lose_nothing), cmocka_unit_test(free_delivers_the_rest),
        cmocka_unit_test(free_inside_the_callback),  cmocka_unit_test(a_turn_has_an_end),
        cmocka_unit_test(deliver_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

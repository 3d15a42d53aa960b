/*
 * The SMTP client engine against every script of hostile/client/, in all variations: input and
 * output whole and byte by byte, and at every point where the peer speaks a lost link, silence,
 * 421, a NUL, garbage and a reply too many in its place.
 *
 * Statements of this driver:
 *   config WORD…      lmtp, tls=never|opportunistic|required, no-pipelining, no-chunking, hold,
 * auth=USER:PASSWORD start [secure]    the link is up from ADDRESS      of the next message;  ret=…
 * envid=…  8bit  smtputf8  requiretls may follow rcpt ADDRESS      one more recipient;  notify=…
 * orcpt=… may follow content "…" [N]   one more slice of the body, repeated N times submit starts
 * the transaction release, quit, tls ok, tls fail REASON expect EVENT      starttls, ready, dot,
 * done: the next event;  expect nothing: there is none expect closed RESULT FACT…       likewise;
 * facts: a code, an enhanced code, phase=…, scope=…, text="…" (a part) expect rcpt N RESULT FACT…
 * of the latest transaction expect size N, limit N, transactions N, tls-failed, no-deadline,
 * deadline N (ms from now)
 */
#include "hostile/script.h"

#include "base/arena.h"
#include "base/mem.h"
#include "smtp/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define EVENTS_MAX 64
#define RCPTS_MAX 1200
#define SLICES_MAX 16

struct driver {
    struct script_engine engine;
    struct smtp_client_config config;
    bool holds; /* transactions ask before they end */
    struct smtp_client *client;
    struct mono_time now;
    struct smtp_client_event events[EVENTS_MAX];
    size_t event_count;
    size_t submitted, finished;
    bool closed;

    struct arena *arena; /* the script's words and the reply texts */
    struct slice mail_from;
    struct smtp_client_transaction transaction;
    struct smtp_client_rcpt rcpts[RCPTS_MAX];
    struct slice slices[SLICES_MAX];
};

static struct driver *driver_of(struct script_engine *engine)
{
    return CONTAINER_OF(engine, struct driver, engine);
}

static struct mono_time tick(struct driver *driver)
{
    driver->now = mono_add_us(driver->now, 1000);
    return driver->now;
}

static void drain(struct driver *driver)
{
    struct smtp_client_event event;
    for (smtp_client_next_event(driver->client, &event); event.type != SMTP_CLIENT_EVENT_NONE;
         smtp_client_next_event(driver->client, &event)) {
        assert_false(driver->closed);
        driver->finished += event.type == SMTP_CLIENT_EVENT_DONE;
        driver->closed = event.type == SMTP_CLIENT_EVENT_CLOSED;
        assert_true(driver->event_count < EVENTS_MAX);
        driver->events[driver->event_count++] = event;
    }
}

static void driver_input(struct script_engine *engine, struct slice bytes)
{
    struct driver *driver = driver_of(engine);
    smtp_client_input(driver->client, bytes, tick(driver));
    drain(driver);
}

static size_t driver_take(struct script_engine *engine, char *out, size_t max)
{
    struct driver *driver = driver_of(engine);
    struct iovec pieces[8], again[8];
    size_t len = 0;
    if (driver->client == NULL) {
        return 0;
    }
    size_t count = smtp_client_output(driver->client, pieces, ARRAY_LEN(pieces));
    assert_int_equal(smtp_client_output(driver->client, again, ARRAY_LEN(again)), count);
    for (size_t i = 0; i < count && len < max; i++) {
        assert_ptr_equal(pieces[i].iov_base, again[i].iov_base);
        assert_true(pieces[i].iov_len > 0);
        size_t part = pieces[i].iov_len < max - len ? pieces[i].iov_len : max - len;
        memcpy(out + len, pieces[i].iov_base, part);
        len += part;
    }
    if (len > 0) {
        smtp_client_sent(driver->client, len, tick(driver));
        drain(driver);
    }
    return len;
}

static bool driver_closed(struct script_engine *engine)
{
    return driver_of(engine)->closed;
}

static void driver_lost(struct script_engine *engine)
{
    struct driver *driver = driver_of(engine);
    smtp_client_lost(driver->client, SLICE("connection reset"), tick(driver));
    drain(driver);
}

static bool driver_pass_deadline(struct script_engine *engine)
{
    struct driver *driver = driver_of(engine);
    struct mono_time deadline = smtp_client_deadline(driver->client);
    if (deadline.us == MONO_NEVER.us) {
        return false;
    }
    /* Just before nothing may happen. */
    size_t before = driver->event_count;
    smtp_client_timeout(driver->client, mono_add_us(deadline, -1));
    drain(driver);
    assert_int_equal(driver->event_count, before);
    driver->now = deadline;
    smtp_client_timeout(driver->client, driver->now);
    drain(driver);
    return true;
}

static void driver_pass_ms(struct script_engine *engine, int64_t ms)
{
    struct driver *driver = driver_of(engine);
    driver->now = mono_add_ms(driver->now, ms);
    if (!mono_before(driver->now, smtp_client_deadline(driver->client))) {
        smtp_client_timeout(driver->client, driver->now);
        drain(driver);
    }
}

/* ---- statements ---- */

static bool wrong(char *problem, const char *what, struct slice detail)
{
    snprintf(problem, SCRIPT_PROBLEM_MAX, "%s %.*s", what, SLICE_FMT(slice_head(detail, 300)));
    return false;
}

/* The next word, kept until the driver's end. */
static struct slice next_word(struct driver *driver, struct slice *rest)
{
    char room[8192];
    struct slice word = script_word(rest, room, sizeof(room));
    return word.ptr == NULL ? word : arena_copy(driver->arena, word);
}

/* "name=value": the value when the word begins with `name`. */
static bool value_of(struct slice word, const char *name, struct slice *value)
{
    struct slice prefix = slice_cstr(name);
    if (!slice_starts_with(word, prefix)) {
        return false;
    }
    *value = slice_skip(word, prefix.len);
    return true;
}

static bool is(struct slice word, const char *text)
{
    return word.ptr != NULL && slice_eq(word, slice_cstr(text));
}

static bool do_config(struct driver *driver, struct slice rest, char *problem)
{
    for (struct slice word = next_word(driver, &rest); word.ptr != NULL;
         word = next_word(driver, &rest)) {
        struct slice value;
        if (is(word, "lmtp")) {
            driver->config.lmtp = true;
        } else if (is(word, "hold")) {
            driver->holds = true;
        } else if (is(word, "no-pipelining")) {
            driver->config.use_pipelining = false;
        } else if (is(word, "no-chunking")) {
            driver->config.use_chunking = false;
        } else if (is(word, "tls=never")) {
            driver->config.tls = SMTP_TLS_NEVER;
        } else if (is(word, "tls=opportunistic")) {
            driver->config.tls = SMTP_TLS_OPPORTUNISTIC;
        } else if (is(word, "tls=required")) {
            driver->config.tls = SMTP_TLS_REQUIRED;
        } else if (value_of(word, "auth=", &value)) {
            driver->config.auth_user = slice_cut(&value, ':');
            driver->config.auth_password = value;
        } else {
            return wrong(problem, "unknown setting", word);
        }
    }
    return true;
}

static bool do_start(struct driver *driver, struct slice rest, char *problem)
{
    (void)problem;
    driver->client = smtp_client_create(&driver->config);
    smtp_client_start(driver->client, is(slice_trim(rest), "secure"), tick(driver));
    return true;
}

static bool do_from(struct driver *driver, struct slice rest, char *problem)
{
    struct smtp_client_transaction *transaction = &driver->transaction;
    *transaction = (struct smtp_client_transaction){
        .arena = driver->arena, .content = driver->slices, .rcpts = driver->rcpts};
    transaction->mail_from = next_word(driver, &rest);
    for (struct slice word = next_word(driver, &rest); word.ptr != NULL;
         word = next_word(driver, &rest)) {
        if (is(word, "8bit")) {
            transaction->body_8bit = true;
        } else if (is(word, "smtputf8")) {
            transaction->smtputf8 = true;
        } else if (is(word, "requiretls")) {
            transaction->requiretls = true;
        } else if (!value_of(word, "ret=", &transaction->ret) &&
                   !value_of(word, "envid=", &transaction->envid)) {
            return wrong(problem, "unknown parameter", word);
        }
    }
    return true;
}

static bool do_rcpt(struct driver *driver, struct slice rest, char *problem)
{
    assert_true(driver->transaction.rcpt_count < RCPTS_MAX);
    struct smtp_client_rcpt *rcpt = &driver->rcpts[driver->transaction.rcpt_count++];
    *rcpt = (struct smtp_client_rcpt){.address = next_word(driver, &rest)};
    for (struct slice word = next_word(driver, &rest); word.ptr != NULL;
         word = next_word(driver, &rest)) {
        if (!value_of(word, "notify=", &rcpt->notify) && !value_of(word, "orcpt=", &rcpt->orcpt)) {
            return wrong(problem, "unknown parameter", word);
        }
    }
    return true;
}

/* rcpts N: that many, uN@example.org. */
static bool do_rcpts(struct driver *driver, struct slice rest, char *problem)
{
    uint64_t count;
    if (!slice_to_u64(slice_trim(rest), &count)) {
        return wrong(problem, "not a number:", rest);
    }
    for (uint64_t i = 0; i < count; i++) {
        char address[64];
        snprintf(address, sizeof(address), "u%llu@example.org", (unsigned long long)i);
        do_rcpt(driver, slice_cstr(address), problem);
    }
    return true;
}

static bool do_content(struct driver *driver, struct slice rest, char *problem)
{
    uint64_t times = 1;
    struct slice text = next_word(driver, &rest);
    if (slice_trim(rest).len > 0 && !slice_to_u64(slice_trim(rest), &times)) {
        return wrong(problem, "not a number:", rest);
    }
    char *bytes = arena_try_alloc(driver->arena, text.len * times + 1);
    assert_non_null(bytes);
    for (uint64_t i = 0; i < times; i++) {
        memcpy(bytes + i * text.len, text.ptr, text.len);
    }
    assert_true(driver->transaction.content_count < SLICES_MAX);
    driver->slices[driver->transaction.content_count++] = slice_of(bytes, text.len * times);
    return true;
}

static bool do_submit(struct driver *driver, struct slice rest, char *problem)
{
    (void)rest;
    if (!smtp_client_ready(driver->client)) {
        return wrong(problem, "the engine is not ready", SLICE_NULL);
    }
    driver->submitted++;
    driver->transaction.hold_dot = driver->holds;
    smtp_client_submit(driver->client, &driver->transaction, tick(driver));
    drain(driver);
    return true;
}

static bool do_release(struct driver *driver, struct slice rest, char *problem)
{
    (void)rest;
    (void)problem;
    smtp_client_release_dot(driver->client, tick(driver));
    drain(driver);
    return true;
}

static bool do_quit(struct driver *driver, struct slice rest, char *problem)
{
    (void)rest;
    (void)problem;
    smtp_client_quit(driver->client, tick(driver));
    drain(driver);
    return true;
}

static bool do_tls(struct driver *driver, struct slice rest, char *problem)
{
    (void)problem;
    struct slice word = next_word(driver, &rest);
    smtp_client_tls_done(driver->client, is(word, "ok"), slice_trim(rest), tick(driver));
    drain(driver);
    return true;
}

/* ---- expect ---- */

static bool fact_holds(const struct smtp_outcome *outcome, struct slice fact)
{
    char enhanced[SMTP_ENHANCED_TEXT_MAX];
    struct slice value;
    uint64_t code;
    if (value_of(fact, "phase=", &value)) {
        return is(value, smtp_phase_name(outcome->phase));
    }
    if (value_of(fact, "scope=", &value)) {
        return is(value, smtp_scope_name(outcome->scope));
    }
    if (slice_to_u64(fact, &code)) {
        return outcome->code == code;
    }
    return slice_eq(fact, smtp_enhanced_format(outcome->enhanced, enhanced));
}

static bool expect_outcome(struct driver *driver, const struct smtp_outcome *outcome,
                           struct slice rest, char *problem)
{
    char enhanced[SMTP_ENHANCED_TEXT_MAX];
    bool ok = true;
    ok = is(next_word(driver, &rest), smtp_result_name(outcome->result));
    while (ok && slice_trim(rest).len > 0) {
        rest = slice_trim(rest);
        if (slice_starts_with(rest, SLICE("text="))) {
            rest = slice_skip(rest, 5);
            struct slice part = next_word(driver, &rest);
            ok = slice_find(outcome->text, part) >= 0;
        } else {
            ok = fact_holds(outcome, next_word(driver, &rest));
        }
    }
    if (!ok) {
        smtp_enhanced_format(outcome->enhanced, enhanced);
        snprintf(problem, SCRIPT_PROBLEM_MAX, "it is %s %u %s phase=%s scope=%s text=\"%.*s\"",
                 smtp_result_name(outcome->result), outcome->code, enhanced,
                 smtp_phase_name(outcome->phase), smtp_scope_name(outcome->scope),
                 SLICE_FMT(slice_head(outcome->text, 300)));
    }
    return ok;
}

static const char *const event_names[] = {"none", "starttls", "ready", "dot", "done", "closed"};

static bool expect_event(struct driver *driver, struct slice name, struct slice rest, char *problem)
{
    struct smtp_client_event event = driver->events[0];
    if (driver->event_count == 0) {
        return wrong(problem, "there is no event", SLICE_NULL);
    }
    if (!is(name, event_names[event.type])) {
        return wrong(problem, "the event is", slice_cstr(event_names[event.type]));
    }
    driver->event_count--;
    memmove(driver->events, driver->events + 1, driver->event_count * sizeof(event));
    return event.outcome == NULL || expect_outcome(driver, event.outcome, rest, problem);
}

static bool expect_number(uint64_t value, struct slice rest, char *problem)
{
    uint64_t wanted;
    char text[32];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    return (slice_to_u64(slice_trim(rest), &wanted) && wanted == value) ||
           wrong(problem, "it is", slice_cstr(text));
}

static bool do_expect(struct driver *driver, struct slice rest, char *problem)
{
    struct slice what = next_word(driver, &rest);
    for (size_t i = 1; i < ARRAY_LEN(event_names); i++) {
        if (is(what, event_names[i])) {
            return expect_event(driver, what, rest, problem);
        }
    }
    if (is(what, "nothing")) {
        return driver->event_count == 0 ||
               wrong(problem,
                     "there is an event:", slice_cstr(event_names[driver->events[0].type]));
    }
    if (is(what, "rcpt")) {
        uint64_t index;
        return (slice_to_u64(next_word(driver, &rest), &index) &&
                index < driver->transaction.rcpt_count &&
                expect_outcome(driver, &driver->rcpts[index].outcome, rest, problem));
    }
    if (is(what, "size")) {
        return expect_number(driver->transaction.size_bytes, rest, problem);
    }
    if (is(what, "limit")) {
        return expect_number(smtp_client_peer_size_limit(driver->client), rest, problem);
    }
    if (is(what, "transactions")) {
        return expect_number(smtp_client_transactions(driver->client), rest, problem);
    }
    if (is(what, "tls-failed")) {
        return smtp_client_tls_failed(driver->client) || wrong(problem, "it is not", SLICE_NULL);
    }
    struct mono_time deadline = smtp_client_deadline(driver->client);
    if (is(what, "no-deadline")) {
        return deadline.us == MONO_NEVER.us || wrong(problem, "there is one", SLICE_NULL);
    }
    if (is(what, "deadline")) {
        return expect_number((uint64_t)(mono_since_us(deadline, driver->now) / 1000), rest,
                             problem);
    }
    return wrong(problem, "unknown expectation", what);
}

static const struct {
    const char *word;
    bool (*run)(struct driver *driver, struct slice rest, char *problem);
} statements[] = {
    {"config", do_config}, {"start", do_start},     {"from", do_from},     {"rcpt", do_rcpt},
    {"rcpts", do_rcpts},   {"content", do_content}, {"submit", do_submit}, {"release", do_release},
    {"quit", do_quit},     {"tls", do_tls},         {"expect", do_expect},
};

static bool driver_statement(struct script_engine *engine, struct slice words,
                             char problem[SCRIPT_PROBLEM_MAX])
{
    struct slice word = slice_cut(&words, ' ');
    for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
        if (is(word, statements[i].word)) {
            return statements[i].run(driver_of(engine), words, problem);
        }
    }
    return wrong(problem, "unknown statement", word);
}

/* ---- what is always true ---- */

static bool rcpt_is_sound(const struct driver *driver, const struct smtp_client_rcpt *rcpt)
{
    const struct smtp_outcome *outcome = &rcpt->outcome;
    bool past_dot = driver->transaction.dot_sent.us != 0;
    switch (outcome->result) {
    case SMTP_RESULT_NONE:
        /* Not tried: only where the session ended, and never when the server may have taken it. */
        return driver->closed && outcome->scope >= SMTP_SCOPE_SESSION;
    case SMTP_RESULT_DELIVERED: return past_dot && outcome->code / 100 == 2;
    case SMTP_RESULT_DEFERRED: return outcome->code / 100 == 4;
    case SMTP_RESULT_BOUNCED: return outcome->code == 0 || outcome->code / 100 == 5;
    case SMTP_RESULT_UNCERTAIN: return past_dot && driver->closed;
    }
    return false;
}

static bool driver_check(struct script_engine *engine, bool cut, char problem[SCRIPT_PROBLEM_MAX])
{
    struct driver *driver = driver_of(engine);
    if (cut && !driver->closed) {
        return wrong(problem, "the session goes on", SLICE_NULL);
    }
    if (driver->closed && driver->finished != driver->submitted) {
        return wrong(problem, "a transaction has no end", SLICE_NULL);
    }
    for (size_t i = 0; driver->finished == driver->submitted && driver->submitted > 0 &&
                       i < driver->transaction.rcpt_count;
         i++) {
        if (!rcpt_is_sound(driver, &driver->rcpts[i])) {
            expect_outcome(driver, &driver->rcpts[i].outcome, SLICE("sound"), problem);
            return false;
        }
    }
    if (driver->closed && smtp_client_deadline(driver->client).us != MONO_NEVER.us) {
        return wrong(problem, "a closed session waits", SLICE_NULL);
    }
    return true;
}

static const struct script_ops driver_ops = {
    .input = driver_input,
    .take = driver_take,
    .closed = driver_closed,
    .lost = driver_lost,
    .pass_deadline = driver_pass_deadline,
    .pass_ms = driver_pass_ms,
    .statement = driver_statement,
    .check = driver_check,
};

static size_t problems;

static size_t run_one(const char *path, const struct script_variation *variation)
{
    struct script_result result;
    struct driver *driver = mem_zalloc(sizeof(*driver));
    driver->engine = (struct script_engine){.ops = &driver_ops, .peer = 'S'};
    driver->now = (struct mono_time){1000000};
    driver->arena = arena_create(65536, 64 << 20);
    driver->config = (struct smtp_client_config){.ehlo_name = SLICE("client.example"),
                                                 .tls = SMTP_TLS_NEVER,
                                                 .use_pipelining = true,
                                                 .use_chunking = true};
    smtp_timeouts_default(&driver->config.timeouts);
    bool ok = script_run(path, &driver->engine, variation, &result);
    smtp_client_free(&driver->client);
    arena_free(&driver->arena);
    mem_free(driver);
    if (!ok) {
        problems++;
        print_error("%s (split %zu, take %zu, fault %d at %zu \"%.*s\")\n", result.problem,
                    variation->split_bytes, variation->take_bytes, (int)variation->fault,
                    variation->fault_at, SLICE_FMT(variation->fault_bytes));
    }
    return result.sends;
}

static void run_whole(const char *path, void *context)
{
    size_t *runs = context;
    for (size_t i = 0; i < 4; i++) {
        struct script_variation variation = {.split_bytes = i & 1, .take_bytes = i >> 1};
        run_one(path, &variation);
        (*runs)++;
    }
}

static void run_faults(const char *path, void *context)
{
    static const struct script_variation faults[] = {
        {.fault = SCRIPT_FAULT_CLOSE},
        {.fault = SCRIPT_FAULT_CLOSE, .take_bytes = 1},
        {.fault = SCRIPT_FAULT_TIMEOUT},
        {.fault = SCRIPT_FAULT_SAY, .fault_bytes = {"421 4.3.2 going down\r\n", 22}},
        {.fault = SCRIPT_FAULT_SAY, .fault_bytes = {"25\0 ok\r\n", 8}, .split_bytes = 1},
        {.fault = SCRIPT_FAULT_SAY, .fault_bytes = {"ok, go ahead\r\n", 14}},
        {.fault = SCRIPT_FAULT_SAY, .fault_bytes = {"199 what\r\n", 10}},
        {.fault = SCRIPT_FAULT_SAY, .fault_bytes = {"250-a\r\n251 b\r\n", 14}},
        {.fault = SCRIPT_FAULT_SAY, .fault_bytes = {"399 hm\r\n399 hm\r\n", 16}},
    };
    size_t *runs = context;
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        struct script_variation variation = faults[i];
        /* The last one finds no place any more: then the script has run as it stands. */
        for (; run_one(path, &variation) > variation.fault_at; variation.fault_at++) {
            (*runs)++;
        }
    }
}

static void folder_of_scripts(char path[4096])
{
    const char *root = getenv("SLUICE_SOURCE_DIR");
    assert_non_null(root);
    snprintf(path, 4096, "%s/tests/hostile/client", root);
}

static void test_scripts(void **state)
{
    (void)state;
    char folder[4096];
    size_t runs = 0;
    problems = 0;
    folder_of_scripts(folder);
    assert_true(script_each_file(folder, ".peer", run_whole, &runs) > 20);
    print_message("%zu runs\n", runs);
    assert_int_equal(problems, 0);
}

static void test_faults_everywhere(void **state)
{
    (void)state;
    char folder[4096];
    size_t runs = 0;
    problems = 0;
    folder_of_scripts(folder);
    assert_true(script_each_file(folder, ".peer", run_faults, &runs) > 20);
    print_message("%zu runs\n", runs);
    assert_int_equal(problems, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_faults_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

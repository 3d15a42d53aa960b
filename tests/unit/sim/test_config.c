/* The configuration: what it gives, and that each mistake is told with its line. */
#include "sim/config.h"
#include "smtp/client.h"

#include "unit/cmocka_all.h"

#define PROBLEMS_BYTES 65536

static struct sim_config *parse(const char *text, struct strbuf *problems)
{
    strbuf_init(problems, PROBLEMS_BYTES);
    return sim_config_parse("dir/sim.yaml", slice_cstr(text), problems);
}

static void test_everything(void **state)
{
    (void)state;
    struct strbuf problems;
    struct sim_config *config =
        parse("record: out.tsv\n"
              "providers:\n"
              "  - name: big\n"
              "    listen: [\"127.0.1.1:2525\", \"[::1]:2526\"]\n"
              "    host-name: mx.big.test\n"
              "    profile: yahoo\n"
              "    latency: {rcpt: 5ms, message: 20ms}\n"
              "    greeting-delay: 1s\n"
              "    tarpit: 10s\n"
              "    capabilities: [PIPELINING, SMTPUTF8, STARTTLS, REQUIRETLS]\n"
              "    max-message-size: 25M\n"
              "    tls: {certificate: x.pem, key: /y.pem}\n"
              "    starttls: ok\n"
              "    max-connections: 20\n"
              "    max-rate: 30/min\n"
              "    max-connection-rate: 7 / 10s\n"
              "    rate-counts: recipients\n"
              "    burst: 3\n"
              "    greylist: 3s\n"
              "    unknown: 5%\n"
              "    temporary: 0.05%\n"
              "    drop-after-dot: 100%\n"
              "    replies:\n"
              "      - {phase: rcpt, chance: 0.1234%, reply: \"452 4.2.2 Mailbox full\"}\n"
              "      - {phase: mail, match: \"x@y\", reply: \"521 no\"}\n"
              "    down: true\n"
              "  - {name: small, listen: [\"127.0.1.2\"], latency: 7ms}\n",
              &problems);
    assert_non_null(config);
    assert_int_equal(config->provider_count, 2);
    assert_string_equal(config->record, "dir/out.tsv");
    const struct sim_provider_config *big = &config->providers[0];
    assert_int_equal(big->listen_count, 2);
    assert_int_equal(big->listen[1].address.ss_family, AF_INET6);
    assert_int_equal(big->profile, SIM_YAHOO);
    assert_int_equal(big->latency_ms[SIM_PHASE_MAIL], 0);
    assert_int_equal(big->latency_ms[SIM_PHASE_RCPT], 5);
    assert_int_equal(big->latency_ms[SIM_PHASE_MESSAGE], 20);
    assert_int_equal(big->tarpit_ms, 10000);
    assert_int_equal(big->capabilities, SMTP_CAP_PIPELINING | SMTP_CAP_SMTPUTF8 |
                                            SMTP_CAP_STARTTLS | SMTP_CAP_REQUIRETLS);
    assert_int_equal(big->max_message_bytes, 25000000);
    assert_string_equal(big->certificate, "dir/x.pem");
    assert_string_equal(big->key, "/y.pem");
    assert_int_equal(big->max_rate.count, 30);
    assert_int_equal(big->max_rate.period_ms, 60000);
    assert_int_equal(big->max_connection_rate.period_ms, 10000);
    assert_int_equal(big->rate_counts, SIM_RATE_RECIPIENTS);
    assert_true(big->greylist && big->greylist_ms == 3000);
    assert_int_equal(big->unknown, 50000);
    assert_int_equal(big->temporary, 500);
    assert_int_equal(big->drop_after_dot, SIM_CHANCE_ONE);
    assert_int_equal(big->rule_count, 2);
    assert_int_equal(big->rules[0].chance, 1234);
    assert_int_equal(big->rules[0].reply.code, 452);
    assert_string_equal(big->rules[0].reply.enhanced, "4.2.2");
    assert_string_equal(big->rules[0].reply.text, "Mailbox full");
    assert_int_equal(big->rules[1].chance, SIM_CHANCE_ONE);
    assert_string_equal(big->rules[1].reply.enhanced, "");
    assert_true(big->down);
    const struct sim_provider_config *small = &config->providers[1];
    assert_string_equal(small->host_name, "small");
    assert_int_equal(small->latency_ms[SIM_PHASE_MAIL], 7);
    assert_int_equal(small->latency_ms[SIM_PHASE_MESSAGE], 7);
    assert_true((small->capabilities & SMTP_CAP_CHUNKING) != 0);
    assert_true((small->capabilities & SMTP_CAP_STARTTLS) == 0);
    sim_config_free(&config);
    assert_null(config);
    strbuf_free(&problems);
}

/* The provider's lines stand from line 4 on. */
static void test_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *problem;
    } cases[] = {
        {"latancy: 3s", ":4: unknown key \"latancy\""},
        {"latency: soon", ":4: \"soon\": expected a duration"},
        {"latency: {dot: 3s}", ":4: unknown key \"dot\""},
        {"unknown: 5", ":4: \"5\": expected a share"},
        {"unknown: 101%", ":4: \"101%\": expected a share"},
        {"unknown: -1%", ":4: \"-1%\": expected a share"},
        {"unknown: 0.00001%", ":4: "},
        {"max-rate: 0/s", ":4: \"0/s\": expected a rate"},
        {"max-rate: 10/0s", ":4: \"10/0s\": expected a rate"},
        {"max-rate: 10/10x", ":4: \"10/10x\": expected a rate"},
        {"max-rate: 10/week", ":4: \"10/week\": expected a rate"},
        {"max-rate: 99999999/s", ":4: "},
        {"max-connections: 0", ":4: \"0\": expected a number above 0"},
        {"max-connections: [1]", ":4: expected a single value"},
        {"profile: hotmail", ":4: \"hotmail\": expected one of gmail"},
        {"capabilities: [EVERYTHING]", ":4: \"EVERYTHING\": expected one of"},
        {"capabilities: [STARTTLS]", ":2: tls: STARTTLS is offered"},
        {"tls: {key: a}", ":4: certificate: missing"},
        {"down: perhaps", ":4: \"perhaps\": expected one of false, true"},
        {"down: false\n    down: true", ":5: down: given twice"},
        {"replies: [{phase: rcpt}]", ":4: reply: missing"},
        {"replies: [{phase: lunch, reply: \"452 x\"}]", ":4: \"lunch\""},
        {"replies: [{phase: rcpt, reply: \"250 Ok\"}]", ":4: \"250 Ok\": expected a 4xx or 5xx"},
        {"replies: [{phase: rcpt, reply: \"450 5.1.1 mixed\"}]", ":4: "},
        {"replies: [{phase: connect, match: a@b, reply: \"554 x\"}]", ":4: match: "},
        {"replies: []", ":4: the list is empty"},
        {"host-name: \"a b\"", ":4: \"a b\": a name has"},
        {"max-message-size: 1G", ":4: "},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[512];
        struct strbuf problems;
        snprintf(text, sizeof(text),
                 "providers:\n  - name: a\n    listen: [\"127.0.0.1:1\"]\n    %s\n", cases[i].line);
        struct sim_config *config = parse(text, &problems);
        assert_null(config);
        assert_non_null(problems.ptr);
        if (strstr(problems.ptr, cases[i].problem) == NULL) {
            fail_msg("%s: said %s", cases[i].line, problems.ptr);
        }
        assert_int_equal(strncmp(problems.ptr, "dir/sim.yaml:", 13), 0);
        strbuf_free(&problems);
    }
}

static void test_mistakes_of_the_file(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *problem;
    } cases[] = {
        {"", ":1: the file is empty"},
        {"providers: [", ":"},
        {"- a", ":1: expected a mapping"},
        {"record: x", ":1: providers: missing"},
        {"providers: []", ":1: the list is empty"},
        {"providers: [3]", ":1: expected a mapping"},
        {"providers:\n- {listen: [x]}", ":2: name: missing"},
        {"providers:\n- {name: a, listen: [\"127.0.0.1:99999\"]}", ":2: "},
        {"providers:\n- {name: a, listen: [\"127.0.0.1:1\"]}\n- {name: a, listen: "
         "[\"127.0.0.1:2\"]}",
         "two providers are called a"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct strbuf problems;
        struct sim_config *config = parse(cases[i].text, &problems);
        assert_null(config);
        assert_non_null(strstr(problems.ptr, cases[i].problem));
        strbuf_free(&problems);
    }
}

static void test_no_file(void **state)
{
    (void)state;
    struct strbuf problems;
    strbuf_init(&problems, PROBLEMS_BYTES);
    assert_null(sim_config_load("/nonexistent/sim.yaml", &problems));
    assert_non_null(strstr(problems.ptr, "/nonexistent/sim.yaml: "));
    strbuf_free(&problems);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_mistakes_of_the_file),
        cmocka_unit_test(test_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

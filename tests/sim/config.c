/* The keys of the configuration, and what each value may be. */
#include "sim/config.h"

#include "base/mem.h"
#include "io/conn.h"
#include "sim/yaml_reader.h"
#include "smtp/client.h"

#include <errno.h>

#define ARENA_MAX (64U << 20)
#define FILE_MAX (16U << 20)
#define DEFAULT_PORT 25

static const char *const phase_words[] = {
#define X(name, word) word,
    SIM_PHASES(X)
#undef X
};

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* status-code = class "." subject "." detail   (RFC 3463 section 2), for 4 and 5 only */
static size_t enhanced_len(struct slice text)
{
    size_t at = 0;
    for (int part = 0; part < 3; part++) {
        size_t start = at;
        while (at < text.len && digit(text.ptr[at])) {
            at++;
        }
        if (at == start || at - start > 3 || (part == 0 && at != 1)) {
            return 0;
        }
        if (part < 2 && (at == text.len || text.ptr[at++] != '.')) {
            return 0;
        }
    }
    return at == text.len || text.ptr[at] == ' ' ? at : 0;
}

bool sim_reply_parse(struct slice line, struct sim_reply *reply, struct slice *text)
{
    uint64_t code;
    if (line.len < 5 || line.ptr[3] != ' ' || !slice_to_u64(slice_head(line, 3), &code) ||
        code < 400 || code > 599) {
        return false;
    }
    struct slice rest = slice_trim(slice_skip(line, 4));
    size_t len = enhanced_len(rest);
    if (len > 0 && rest.ptr[0] != line.ptr[0]) {
        return false;
    }
    reply->code = (uint16_t)code;
    memcpy(reply->enhanced, rest.ptr, len);
    reply->enhanced[len] = '\0';
    *text = slice_trim(slice_skip(rest, len));
    return text->len > 0 && text->len < SIM_REPLY_TEXT_MAX;
}

static void parse_reply(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    struct sim_reply *reply = field;
    struct slice line;
    struct slice text;
    if (!yaml_scalar(reader, node, &line)) {
        return;
    }
    if (slice_has_control(line) || !sim_reply_parse(line, reply, &text)) {
        yaml_problem(reader, node,
                     "\"%.*s\": expected a 4xx or 5xx reply such as \"452 4.2.2 Mailbox full\"",
                     SLICE_FMT(line));
        return;
    }
    reply->text = arena_copy(reader->arena, text).ptr;
}

/* chance = 1*3DIGIT [ "." 1*4DIGIT ] "%" */
static void parse_chance(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    struct slice text;
    uint64_t whole = 0;
    uint64_t part = 0;
    if (!yaml_scalar(reader, node, &text)) {
        return;
    }
    bool good = text.len > 1 && text.ptr[text.len - 1] == '%';
    struct slice rest = good ? slice_head(text, text.len - 1) : text;
    struct slice before = slice_cut(&rest, '.');
    good = good && before.len <= 3 && slice_to_u64(before, &whole);
    if (good && rest.ptr != NULL) {
        good = rest.len <= 4 && slice_to_u64(rest, &part);
        for (size_t i = rest.len; i < 4; i++) {
            part *= 10;
        }
    }
    uint64_t value = whole * 10000 + part;
    if (!good || value > SIM_CHANCE_ONE) {
        yaml_problem(reader, node, "\"%.*s\": expected a share such as 5%% or 0.5%%, at most 100%%",
                     SLICE_FMT(text));
        return;
    }
    *(uint32_t *)field = (uint32_t)value;
}

static int64_t period_of(struct slice unit)
{
    static const struct {
        const char *word;
        int64_t ms;
    } units[] = {
        {"s", 1000},    {"sec", 1000},     {"m", 60000},    {"min", 60000},
        {"h", 3600000}, {"hour", 3600000}, {"d", 86400000}, {"day", 86400000},
    };
    int64_t ms;
    if (unit.len > 0 && unit.ptr[0] >= '0' && unit.ptr[0] <= '9') {
        return duration_parse_ms(unit, &ms) ? ms : 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (slice_eq(unit, slice_cstr(units[i].word))) {
            return units[i].ms;
        }
    }
    return 0;
}

static void parse_rate(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    struct sim_rate *rate = field;
    struct slice text;
    uint64_t count;
    if (!yaml_scalar(reader, node, &text)) {
        return;
    }
    struct slice unit = text;
    bool number = slice_to_u64(slice_trim(slice_cut(&unit, '/')), &count);
    int64_t period_ms = period_of(slice_trim(unit));
    if (!number || count == 0 || count > SIM_RATE_MAX || period_ms == 0) {
        yaml_problem(
            reader, node,
            "\"%.*s\": expected a rate such as 1000/s, 30/min, 40/10s, up to %u in a window",
            SLICE_FMT(text), SIM_RATE_MAX);
        return;
    }
    *rate = (struct sim_rate){.count = (uint32_t)count, .period_ms = period_ms};
}

static void parse_size(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    struct slice text;
    uint64_t value;
    uint64_t factor = 1;
    if (!yaml_scalar(reader, node, &text)) {
        return;
    }
    struct slice digits = text;
    char last = text.len == 0 ? '\0' : text.ptr[text.len - 1];
    if (last == 'k' || last == 'M') {
        factor = last == 'k' ? 1000 : 1000000;
        digits.len--;
    }
    if (!slice_to_u64(digits, &value) || value == 0 || value > 1000000000000U) {
        yaml_problem(reader, node, "\"%.*s\": expected a size in bytes such as 500k, 25M",
                     SLICE_FMT(text));
        return;
    }
    *(uint64_t *)field = value * factor;
}

static void parse_word(struct yaml_reader *reader, const yaml_node_t *node, uint32_t *field,
                       const char *const *words, size_t count)
{
    int word = yaml_word(reader, node, words, count);
    if (word >= 0) {
        *field = (uint32_t)word;
    }
}

static void parse_profile(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    static const char *const words[] = {"gmail", "microsoft", "yahoo", "postfix"};
    parse_word(reader, node, field, words, ARRAY_LEN(words));
}

static void parse_starttls(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    static const char *const words[] = {"ok", "refuse", "break"};
    parse_word(reader, node, field, words, ARRAY_LEN(words));
}

static void parse_rate_counts(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    static const char *const words[] = {"transactions", "recipients", "messages"};
    parse_word(reader, node, field, words, ARRAY_LEN(words));
}

static void parse_phase(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    parse_word(reader, node, field, phase_words, ARRAY_LEN(phase_words));
}

static void parse_name(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    const char **name = field;
    yaml_parse_text(reader, node, field);
    for (const char *c = *name; c != NULL && *c != '\0'; c++) {
        bool good = digit(*c) || (ascii_lower_byte(*c) >= 'a' && ascii_lower_byte(*c) <= 'z') ||
                    *c == '.' || *c == '-' || *c == '_';
        if (!good) {
            yaml_problem(reader, node, "\"%s\": a name has letters, digits, \".\", \"-\" and \"_\"",
                         *name);
            return;
        }
    }
}

static void parse_path(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    const char **path = field;
    struct slice text;
    yaml_parse_text(reader, node, field);
    ptrdiff_t slash = slice_rfind_byte(slice_cstr(reader->file), '/');
    if (*path == NULL || (*path)[0] == '/' || slash < 0) {
        return;
    }
    text = slice_cstr(*path);
    char *joined = arena_zalloc(reader->arena, (size_t)slash + text.len + 2);
    memcpy(joined, reader->file, (size_t)slash + 1);
    memcpy(joined + slash + 1, text.ptr, text.len);
    *path = joined;
}

static void parse_address(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    struct sim_address *address = field;
    struct fault fault;
    struct slice text;
    if (yaml_scalar(reader, node, &text) &&
        !io_address_parse(text, DEFAULT_PORT, &address->address, &address->len, &fault)) {
        yaml_problem(reader, node, "%s", fault.text);
    }
}

static void parse_latency(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    static const struct yaml_key keys[] = {
        {"mail", yaml_parse_duration, SIM_PHASE_MAIL * sizeof(int64_t), false},
        {"rcpt", yaml_parse_duration, SIM_PHASE_RCPT * sizeof(int64_t), false},
        {"data", yaml_parse_duration, SIM_PHASE_DATA * sizeof(int64_t), false},
        {"message", yaml_parse_duration, SIM_PHASE_MESSAGE * sizeof(int64_t), false},
    };
    int64_t *latency_ms = field;
    if (node->type == YAML_MAPPING_NODE) {
        yaml_read_mapping(reader, node, keys, ARRAY_LEN(keys), field);
        return;
    }
    yaml_parse_duration(reader, node, &latency_ms[SIM_PHASE_MAIL]);
    for (int phase = SIM_PHASE_RCPT; phase < SIM_PHASE_COUNT; phase++) {
        latency_ms[phase] = latency_ms[SIM_PHASE_MAIL];
    }
}

static void parse_capability(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    static const char *const words[] = {"PIPELINING", "CHUNKING", "SIZE",     "8BITMIME",
                                        "SMTPUTF8",   "DSN",      "STARTTLS", "ENHANCEDSTATUSCODES",
                                        "REQUIRETLS"};
    int word = yaml_word(reader, node, words, ARRAY_LEN(words));
    if (word >= 0) {
        *(uint32_t *)field = 1U << word; /* the order of enum smtp_capability */
    }
}

_Static_assert(SMTP_CAP_PIPELINING == 1 << 0 && SMTP_CAP_STARTTLS == 1 << 6 &&
                   SMTP_CAP_REQUIRETLS == 1 << 8,
               "parse_capability() has their names in this order");

/* The functions below are for keys whose value fills several fields of the provider: offset 0. */
static void parse_capabilities(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    struct sim_provider_config *provider = field;
    size_t count = 0;
    provider->capabilities_given = true;
    if (node->type == YAML_SEQUENCE_NODE &&
        node->data.sequence.items.start == node->data.sequence.items.top) {
        return; /* none */
    }
    const uint32_t *bits = yaml_read_list(reader, node, parse_capability, sizeof(*bits), &count);
    for (size_t i = 0; i < count; i++) {
        provider->capabilities |= bits[i];
    }
}

static void parse_listen(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    struct sim_provider_config *provider = field;
    provider->listen = yaml_read_list(reader, node, parse_address, sizeof(*provider->listen),
                                      &provider->listen_count);
}

static void parse_tls(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    static const struct yaml_key keys[] = {
        {"certificate", parse_path, offsetof(struct sim_provider_config, certificate), true},
        {"key", parse_path, offsetof(struct sim_provider_config, key), true},
    };
    yaml_read_mapping(reader, node, keys, ARRAY_LEN(keys), field);
}

static void parse_greylist(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    struct sim_provider_config *provider = field;
    provider->greylist = true;
    yaml_parse_duration(reader, node, &provider->greylist_ms);
}

static void parse_rule(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
#define KEY(name, parse, member, required)                                                         \
    {                                                                                              \
        name, parse, offsetof(struct sim_rule, member), required                                   \
    }
    static const struct yaml_key keys[] = {
        KEY("phase", parse_phase, phase, true),
        KEY("chance", parse_chance, chance, false),
        KEY("match", yaml_parse_text, match, false),
        KEY("reply", parse_reply, reply, true),
    };
#undef KEY
    struct sim_rule *rule = field;
    rule->chance = SIM_CHANCE_ONE;
    yaml_read_mapping(reader, node, keys, ARRAY_LEN(keys), field);
    if (rule->match != NULL && rule->phase == SIM_PHASE_CONNECT) {
        yaml_problem(reader, node, "match: nobody has been named yet in phase connect");
    }
}

static void parse_rules(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    struct sim_provider_config *provider = field;
    provider->rules =
        yaml_read_list(reader, node, parse_rule, sizeof(*provider->rules), &provider->rule_count);
}

static void check_provider(struct yaml_reader *reader, const yaml_node_t *node,
                           struct sim_provider_config *provider)
{
    if (!provider->capabilities_given) {
        provider->capabilities = SMTP_CAP_PIPELINING | SMTP_CAP_CHUNKING | SMTP_CAP_SIZE |
                                 SMTP_CAP_8BITMIME | SMTP_CAP_SMTPUTF8 | SMTP_CAP_DSN |
                                 SMTP_CAP_ENHANCEDSTATUSCODES;
        provider->capabilities |= provider->certificate != NULL ? SMTP_CAP_STARTTLS : 0;
    }
    if (provider->host_name == NULL) {
        provider->host_name = provider->name;
    }
    bool handshake =
        (provider->capabilities & SMTP_CAP_STARTTLS) != 0 && provider->starttls == SIM_STARTTLS_OK;
    if (handshake && provider->certificate == NULL) {
        yaml_problem(reader, node, "tls: STARTTLS is offered, so certificate and key are needed");
    }
    if (provider->burst > SIM_RATE_MAX) {
        yaml_problem(reader, node, "burst: at most %u", SIM_RATE_MAX);
    }
}

static void parse_provider(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
#define KEY(name, parse, member)                                                                   \
    {                                                                                              \
        name, parse, offsetof(struct sim_provider_config, member), false                           \
    }
    static const struct yaml_key keys[] = {
        {"name", parse_name, offsetof(struct sim_provider_config, name), true},
        {"listen", parse_listen, 0, true},
        KEY("host-name", parse_name, host_name),
        KEY("profile", parse_profile, profile),
        KEY("latency", parse_latency, latency_ms),
        KEY("greeting-delay", yaml_parse_duration, greeting_delay_ms),
        KEY("tarpit", yaml_parse_duration, tarpit_ms),
        {"capabilities", parse_capabilities, 0, false},
        KEY("max-message-size", parse_size, max_message_bytes),
        {"tls", parse_tls, 0, false},
        KEY("starttls", parse_starttls, starttls),
        KEY("max-connections", yaml_parse_count, max_connections),
        KEY("max-connections-per-source", yaml_parse_count, max_connections_per_source),
        KEY("max-messages-per-connection", yaml_parse_count, max_messages_per_connection),
        KEY("max-recipients-per-message", yaml_parse_count, max_recipients_per_message),
        KEY("max-rate", parse_rate, max_rate),
        KEY("max-rate-per-source", parse_rate, max_rate_per_source),
        KEY("max-connection-rate", parse_rate, max_connection_rate),
        KEY("rate-counts", parse_rate_counts, rate_counts),
        KEY("burst", yaml_parse_count, burst),
        {"greylist", parse_greylist, 0, false},
        KEY("unknown", parse_chance, unknown),
        KEY("temporary", parse_chance, temporary),
        {"replies", parse_rules, 0, false},
        KEY("drop-before-dot", parse_chance, drop_before_dot),
        KEY("drop-after-dot", parse_chance, drop_after_dot),
        KEY("accept-when-cut", parse_chance, accept_when_cut),
        KEY("down", yaml_parse_bool, down),
    };
#undef KEY
    yaml_read_mapping(reader, node, keys, ARRAY_LEN(keys), field);
    if (node->type == YAML_MAPPING_NODE) {
        check_provider(reader, node, field);
    }
}

static void parse_providers(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    struct sim_config *config = field;
    config->providers = yaml_read_list(reader, node, parse_provider, sizeof(*config->providers),
                                       &config->provider_count);
    for (size_t i = 0; i < config->provider_count; i++) {
        for (size_t j = 0; j < i; j++) {
            const char *name = config->providers[i].name;
            if (name != NULL && config->providers[j].name != NULL &&
                strcmp(name, config->providers[j].name) == 0) {
                yaml_problem(reader, node, "name: two providers are called %s", name);
            }
        }
    }
}

struct sim_config *sim_config_parse(const char *file, struct slice text, struct strbuf *problems)
{
    static const struct yaml_key keys[] = {
        {"record", parse_path, offsetof(struct sim_config, record), false},
        {"providers", parse_providers, 0, true},
    };
    struct yaml_reader reader = {.file = file, .problems = problems};
    struct sim_config *config = mem_zalloc(sizeof(*config));
    config->arena = reader.arena = arena_create(16384, ARENA_MAX);
    CHECK(config->arena != NULL);
    if (yaml_reader_open(&reader, text)) {
        const yaml_node_t *root = yaml_reader_root(&reader);
        if (root == NULL) {
            strbuf_addf(problems, "%s:1: the file is empty\n", file);
            reader.problem_count++;
        } else {
            yaml_read_mapping(&reader, root, keys, ARRAY_LEN(keys), config);
        }
        yaml_reader_close(&reader);
    }
    if (reader.problem_count > 0) {
        sim_config_free(&config);
    }
    return config;
}

struct sim_config *sim_config_load(const char *file, struct strbuf *problems)
{
    struct sim_config *config = NULL;
    char reason[64];
    FILE *stream = fopen(file, "re");
    struct strbuf text;
    size_t got = 1;
    strbuf_init(&text, FILE_MAX);
    while (stream != NULL && got > 0 && !text.overflow) {
        char block[4096];
        got = fread(block, 1, sizeof(block), stream);
        strbuf_add(&text, block, got);
    }
    if (stream == NULL || ferror(stream)) {
        strbuf_addf(problems, "%s: %s\n", file, strerror_r(errno, reason, sizeof(reason)));
    } else if (text.overflow) {
        strbuf_addf(problems, "%s: the file is too big\n", file);
    } else {
        config = sim_config_parse(file, text.len == 0 ? SLICE("") : strbuf_slice(&text), problems);
    }
    if (stream != NULL) {
        fclose(stream);
    }
    strbuf_free(&text);
    return config;
}

void sim_config_free(struct sim_config **config)
{
    if (*config != NULL) {
        arena_free(&(*config)->arena);
        mem_free(*config);
        *config = NULL;
    }
}

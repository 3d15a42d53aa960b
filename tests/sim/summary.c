/* Names and addresses in it need no escapes: the configuration and the address format see to that.
 */
#include "sim/summary.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

typedef unsigned long long ull;

static void add_number(struct strbuf *out, const char *name, uint64_t value, bool last)
{
    strbuf_addf(out, "\"%s\": %llu%s", name, (ull)value, last ? "" : ", ");
}

static void add_rejected(struct strbuf *out, const struct sim_counters *counters)
{
    const char *between = "";
    strbuf_add_cstr(out, "\"rejected\": {");
    for (size_t i = 0; i < ARRAY_LEN(counters->rejected); i++) {
        if (counters->rejected[i] > 0) {
            strbuf_addf(out, "%s\"%zu\": %llu", between, i + 400, (ull)counters->rejected[i]);
            between = ", ";
        }
    }
    strbuf_add_cstr(out, "}, ");
}

static void add_violations(struct strbuf *out, const struct sim_counters *counters)
{
    strbuf_add_cstr(out, "\"violations\": {");
    for (int i = 0; i < SIM_VIOLATION_COUNT; i++) {
        add_number(out, sim_violation_word((enum sim_violation)i), counters->violations[i],
                   i == SIM_VIOLATION_COUNT - 1);
    }
    strbuf_add_cstr(out, "}, ");
}

static void add_sources(struct strbuf *out, const struct sim_provider *provider)
{
    size_t cursor = 0;
    const struct sim_source *source;
    const char *between = "";
    strbuf_add_cstr(out, "\"sources\": {");
    while ((source = map_next(&provider->sources, &cursor)) != NULL) {
        strbuf_addf(out, "%s\"%.*s\": {\"messages\": %llu, \"most_connections\": %u}", between,
                    SLICE_FMT(source->text), (ull)source->messages, source->most_connections);
        between = ", ";
    }
    strbuf_add_cstr(out, "}}");
}

static void add_provider(struct strbuf *out, const struct sim_provider *provider)
{
    const struct sim_counters *counters = &provider->counters;
    const struct sim_rate *rate = &provider->config->max_rate;
    strbuf_addf(out, "{\"name\": \"%s\", ", provider->config->name);
    add_number(out, "connections", counters->connections, false);
    add_number(out, "connections_refused", counters->connections_refused, false);
    add_number(out, "connections_now", provider->connections, false);
    add_number(out, "most_connections", provider->most_connections, false);
    add_number(out, "secured", counters->secured, false);
    add_number(out, "messages", counters->messages, false);
    add_number(out, "recipients", counters->recipients, false);
    add_number(out, "bytes", counters->bytes, false);
    add_number(out, "no_reply", counters->no_reply, false);
    add_number(out, "cut", counters->cut, false);
    add_rejected(out, counters);
    add_violations(out, counters);
    strbuf_add_cstr(out, "\"drops\": {");
    add_number(out, "before_dot", counters->dropped_before_dot, false);
    add_number(out, "after_dot", counters->no_reply, false);
    add_number(out, "starttls", counters->starttls_broken, true);
    strbuf_add_cstr(out, "}, \"highest_1s\": {");
    add_number(out, "transactions", provider->transactions_1s.highest, false);
    add_number(out, "messages", provider->messages_1s.highest, false);
    add_number(out, "recipients", provider->recipients_1s.highest, true);
    strbuf_add_cstr(out, "}, ");
    if (rate->count > 0) {
        strbuf_addf(out,
                    "\"rate_window\": {\"limit\": %u, \"burst\": %u, \"period_ms\": %lld, "
                    "\"highest\": %llu}, ",
                    rate->count, provider->config->burst, (long long)rate->period_ms,
                    (ull)provider->arrivals.highest);
    }
    add_sources(out, provider);
}

void sim_summary_json(struct strbuf *out, const struct sim_provider *providers, size_t count)
{
    char now[WALL_TEXT_MAX];
    struct slice time = wall_time_format(wall_now(), now);
    uint64_t messages = 0;
    uint64_t recipients = 0;
    uint64_t violations = 0;
    strbuf_addf(out, "{\"time\": \"%.*s\", \"providers\": [", SLICE_FMT(time));
    for (size_t i = 0; i < count; i++) {
        strbuf_add_cstr(out, i == 0 ? "\n" : ",\n");
        add_provider(out, &providers[i]);
        messages += providers[i].counters.messages;
        recipients += providers[i].counters.recipients;
        for (int v = 0; v < SIM_VIOLATION_COUNT; v++) {
            violations += providers[i].counters.violations[v];
        }
    }
    strbuf_addf(out, "\n], \"messages\": %llu, \"recipients\": %llu, \"violations\": %llu}\n",
                (ull)messages, (ull)recipients, (ull)violations);
}

void sim_summary_lines(struct strbuf *out, const struct sim_provider *providers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct sim_provider *provider = &providers[i];
        const struct sim_counters *counters = &provider->counters;
        uint64_t rejected = 0;
        uint64_t violations = 0;
        uint64_t drops = counters->dropped_before_dot + counters->no_reply;
        for (size_t code = 0; code < ARRAY_LEN(counters->rejected); code++) {
            rejected += counters->rejected[code];
        }
        for (int v = 0; v < SIM_VIOLATION_COUNT; v++) {
            violations += counters->violations[v];
        }
        strbuf_addf(out,
                    "%s: connections=%llu open=%u most_open=%u messages=%llu recipients=%llu "
                    "rejected=%llu violations=%llu drops=%llu highest_1s=%llu\n",
                    provider->config->name, (ull)counters->connections, provider->connections,
                    provider->most_connections, (ull)counters->messages, (ull)counters->recipients,
                    (ull)rejected, (ull)violations, (ull)drops, (ull)provider->messages_1s.highest);
    }
}

static bool write_all(int fd, struct slice text)
{
    while (text.len > 0) {
        ssize_t wrote = write(fd, text.ptr, text.len);
        if (wrote < 0 && errno != EINTR) {
            return false;
        }
        text = slice_skip(text, wrote < 0 ? 0 : (size_t)wrote);
    }
    return true;
}

bool sim_file_replace(const char *path, struct slice text, struct fault *fault)
{
    struct strbuf temporary;
    strbuf_init(&temporary, 4096);
    strbuf_addf(&temporary, "%s.new", path);
    int fd = temporary.overflow
                 ? -1
                 : open(temporary.ptr, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool good = fd >= 0 && write_all(fd, text);
    if (fd >= 0) {
        good = close(fd) == 0 && good;
    }
    good = good && rename(temporary.ptr, path) == 0;
    if (!good) {
        fault_set_errno(fault, errno, "%s", path);
    }
    strbuf_free(&temporary);
    return good;
}

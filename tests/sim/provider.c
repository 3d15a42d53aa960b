/* Counting, and who came from where. */
#include "sim/provider.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

#define SOURCES_MAX 65536
#define TELL_EVERY_US 1000000

const char *sim_violation_word(enum sim_violation violation)
{
    static const char *const words[] = {
#define X(name, word) word,
        SIM_VIOLATIONS(X)
#undef X
    };
    CHECK(violation < SIM_VIOLATION_COUNT);
    return words[violation];
}

static void window_of(struct sim_window *window, const struct sim_rate *rate, uint32_t burst)
{
    sim_window_init(window, rate->count == 0 ? 0 : rate->count + burst, rate->period_ms * 1000);
}

void sim_provider_init(struct sim_provider *provider, const struct sim_provider_config *config,
                       uint64_t seed, struct sim_seen *seen)
{
    *provider = (struct sim_provider){.config = config, .seen = seen};
    provider->name = slice_cstr(config->name);
    provider->seed = hash_sip(provider->name, seed, 0);
    provider->random = hash_sip(provider->name, seed, 1);
    provider->next_id = hash_sip(provider->name, seed, 2) >> 20;
    window_of(&provider->rate, &config->max_rate, config->burst);
    window_of(&provider->connection_rate, &config->max_connection_rate, config->burst);
    sim_meter_init(&provider->transactions_1s, 1000000);
    sim_meter_init(&provider->messages_1s, 1000000);
    sim_meter_init(&provider->recipients_1s, 1000000);
    sim_meter_init(&provider->arrivals,
                   config->max_rate.count == 0 ? 1000000 : config->max_rate.period_ms * 1000);
    map_init(&provider->sources);
}

void sim_provider_free(struct sim_provider *provider)
{
    size_t cursor = 0;
    struct sim_source *source;
    while ((source = map_next(&provider->sources, &cursor)) != NULL) {
        sim_window_free(&source->rate);
        mem_free(source);
    }
    map_free(&provider->sources);
    sim_window_free(&provider->rate);
    sim_window_free(&provider->connection_rate);
}

bool sim_provider_wants_seen(const struct sim_provider_config *config)
{
    return config->greylist || config->temporary > 0;
}

struct sim_source *sim_provider_source(struct sim_provider *provider, struct slice address)
{
    struct sim_source *source = map_get(&provider->sources, address);
    if (source != NULL || provider->sources.count >= SOURCES_MAX ||
        address.len > sizeof(source->address)) {
        return source;
    }
    source = mem_zalloc(sizeof(*source));
    memcpy(source->address, address.ptr, address.len);
    source->text = slice_of(source->address, address.len);
    window_of(&source->rate, &provider->config->max_rate_per_source, provider->config->burst);
    map_put(&provider->sources, source->text, source);
    return source;
}

void sim_provider_violation(struct sim_provider *provider, enum sim_violation violation,
                            const struct sim_source *source, struct mono_time now)
{
    uint64_t count = ++provider->counters.violations[violation];
    int64_t *told_us = &provider->told_us[violation];
    if (*told_us != 0 && now.us - *told_us < TELL_EVERY_US) {
        return;
    }
    log_warn("violation", "provider=%s limit=%s source=%.*s count=%llu since_last=%llu",
             provider->config->name, sim_violation_word(violation), SLICE_FMT(source->text),
             (unsigned long long)count, (unsigned long long)(count - provider->told[violation]));
    *told_us = now.us;
    provider->told[violation] = count;
}

void sim_provider_enter(struct sim_provider *provider, struct sim_source *source)
{
    provider->connections++;
    source->connections++;
    if (provider->connections > provider->most_connections) {
        provider->most_connections = provider->connections;
    }
    if (source->connections > source->most_connections) {
        source->most_connections = source->connections;
    }
}

void sim_provider_leave(struct sim_provider *provider, struct sim_source *source)
{
    CHECK(provider->connections > 0 && source->connections > 0);
    provider->connections--;
    source->connections--;
}

struct slice sim_acceptance_flag(enum sim_acceptance how)
{
    switch (how) {
    case SIM_ACCEPTED: return SLICE("ok");
    case SIM_ACCEPTED_SILENT: return SLICE("no-reply");
    case SIM_ACCEPTED_CUT: break;
    }
    return SLICE("cut");
}

void sim_provider_accepted(struct sim_provider *provider, struct sim_source *source,
                           uint32_t recipients, uint64_t bytes, enum sim_acceptance how,
                           struct mono_time now)
{
    struct sim_counters *counters = &provider->counters;
    counters->messages++;
    counters->recipients += recipients;
    counters->bytes += bytes;
    counters->no_reply += how == SIM_ACCEPTED_SILENT;
    counters->cut += how == SIM_ACCEPTED_CUT;
    source->messages++;
    sim_meter_add(&provider->messages_1s, now.us, 1);
    sim_meter_add(&provider->recipients_1s, now.us, recipients);
}

void sim_provider_rejected(struct sim_provider *provider, uint16_t code)
{
    CHECK(code >= 400 && code < 600);
    provider->counters.rejected[code - 400]++;
}

/*
 * A provider at work: its limits, its memory of sources, and what it counted. No I/O here.
 */
#ifndef SLUICE_SIM_PROVIDER_H
#define SLUICE_SIM_PROVIDER_H

#include "base/clock.h"
#include "base/map.h"
#include "sim/config.h"
#include "sim/seen.h"
#include "sim/window.h"

/* Limits that a sender may violate. name, word */
#define SIM_VIOLATIONS(X)                                                                          \
    X(CONNECTIONS, "connections")                                                                  \
    X(CONNECTIONS_PER_SOURCE, "connections-per-source")                                            \
    X(CONNECTION_RATE, "connection-rate")                                                          \
    X(RATE, "rate")                                                                                \
    X(RATE_PER_SOURCE, "rate-per-source")                                                          \
    X(MESSAGES_PER_CONNECTION, "messages-per-connection")                                          \
    X(RECIPIENTS_PER_MESSAGE, "recipients-per-message")

enum sim_violation {
#define X(name, word) SIM_VIOLATION_##name,
    SIM_VIOLATIONS(X)
#undef X
        SIM_VIOLATION_COUNT
};
const char *sim_violation_word(enum sim_violation violation);

/* A peer's address; lives as long as the provider. */
struct sim_source {
    char address[64]; /* without port */
    struct slice text;
    uint32_t connections;
    uint32_t most_connections;
    uint64_t messages; /* accepted */
    struct sim_window rate;
};

/* How the answer to a message that was accepted went. */
enum sim_acceptance {
    SIM_ACCEPTED,        /* given to the connection */
    SIM_ACCEPTED_SILENT, /* drop-after-dot: none was meant to be given */
    SIM_ACCEPTED_CUT,    /* accept-when-cut: the link was lost before it was given */
};
struct slice sim_acceptance_flag(enum sim_acceptance how);

struct sim_counters {
    uint64_t connections; /* all that came, refused ones too */
    uint64_t connections_refused;
    uint64_t secured;
    uint64_t messages; /* accepted, without a reply too */
    uint64_t recipients;
    uint64_t bytes;
    uint64_t no_reply;
    uint64_t cut; /* accepted though the link was lost before the answer */
    uint64_t dropped_before_dot;
    uint64_t starttls_refused;
    uint64_t starttls_broken;
    uint64_t rejected[200]; /* by code - 400 */
    uint64_t violations[SIM_VIOLATION_COUNT];
};

struct sim_provider {
    const struct sim_provider_config *config;
    struct slice name;
    uint64_t seed;   /* for choices by hash: the same for the same address */
    uint64_t random; /* state, for choices by attempt */
    uint64_t next_id;
    struct sim_seen *seen; /* lent; NULL: nothing needs it */
    uint32_t connections;  /* now */
    uint32_t most_connections;
    struct sim_window rate;
    struct sim_window connection_rate;
    struct sim_meter transactions_1s; /* MAIL commands */
    struct sim_meter messages_1s;     /* accepted */
    struct sim_meter recipients_1s;   /* accepted */
    struct sim_meter
        arrivals; /* what max-rate counts, refused too, in its period; unless there is none */
    struct sim_counters counters;
    int64_t told_us[SIM_VIOLATION_COUNT]; /* when a violation was last logged */
    uint64_t told[SIM_VIOLATION_COUNT];   /* and how many there were then */
    struct map sources;
};

/* `config` and `seen` must stay. */
void sim_provider_init(struct sim_provider *provider, const struct sim_provider_config *config,
                       uint64_t seed, struct sim_seen *seen);
void sim_provider_free(struct sim_provider *provider);
/* True if the configuration needs struct sim_seen. */
bool sim_provider_wants_seen(const struct sim_provider_config *config);

/* Finds or makes; NULL: too many sources. */
struct sim_source *sim_provider_source(struct sim_provider *provider, struct slice address);
void sim_provider_violation(struct sim_provider *provider, enum sim_violation violation,
                            const struct sim_source *source, struct mono_time now);
/* A connection that was admitted. */
void sim_provider_enter(struct sim_provider *provider, struct sim_source *source);
void sim_provider_leave(struct sim_provider *provider, struct sim_source *source);
/* What is due when a message was accepted. */
void sim_provider_accepted(struct sim_provider *provider, struct sim_source *source,
                           uint32_t recipients, uint64_t bytes, enum sim_acceptance how,
                           struct mono_time now);
void sim_provider_rejected(struct sim_provider *provider, uint16_t code);

#endif

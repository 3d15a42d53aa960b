/*
 * What sluice-sim plays: a YAML file with a list of providers, explained key by key in README.md.
 * Durations are milliseconds, chances parts per million.
 */
#ifndef SLUICE_SIM_CONFIG_H
#define SLUICE_SIM_CONFIG_H

#include "base/fault.h"
#include "base/slice.h"
#include "base/strbuf.h"

#include <sys/socket.h>

#define SIM_CHANCE_ONE 1000000U
#define SIM_REPLY_TEXT_MAX 400
#define SIM_RATE_MAX 1000000U /* messages in one window: it remembers the time of each */

/* name, word in the file */
#define SIM_PHASES(X)                                                                              \
    X(CONNECT, "connect")                                                                          \
    X(MAIL, "mail")                                                                                \
    X(RCPT, "rcpt")                                                                                \
    X(DATA, "data")                                                                                \
    X(MESSAGE, "message")

enum sim_phase {
#define X(name, word) SIM_PHASE_##name,
    SIM_PHASES(X)
#undef X
        SIM_PHASE_COUNT
};

enum sim_profile { SIM_GMAIL, SIM_MICROSOFT, SIM_YAHOO, SIM_POSTFIX };
enum sim_starttls { SIM_STARTTLS_OK, SIM_STARTTLS_REFUSE, SIM_STARTTLS_BREAK };
/* What max-rate counts. */
enum sim_rate_unit { SIM_RATE_TRANSACTIONS, SIM_RATE_RECIPIENTS, SIM_RATE_MESSAGES };

struct sim_reply {
    uint16_t code;
    char enhanced[12]; /* empty: none */
    const char *text;
};

struct sim_rule {
    uint32_t phase;    /* enum sim_phase */
    uint32_t chance;   /* SIM_CHANCE_ONE: always */
    const char *match; /* address, "@domain", or NULL: all */
    struct sim_reply reply;
};

struct sim_rate {
    uint32_t count; /* 0: no limit */
    int64_t period_ms;
};

struct sim_address {
    struct sockaddr_storage address;
    socklen_t len;
};

struct sim_provider_config {
    const char *name;
    struct sim_address *listen;
    size_t listen_count;
    const char *host_name;
    uint32_t profile; /* enum sim_profile */
    int64_t latency_ms[SIM_PHASE_COUNT];
    int64_t greeting_delay_ms;
    int64_t tarpit_ms;
    uint32_t capabilities; /* enum smtp_capability */
    bool capabilities_given;
    uint64_t max_message_bytes;
    const char *certificate; /* path, NULL: none */
    const char *key;
    uint32_t starttls;        /* enum sim_starttls */
    uint32_t max_connections; /* 0: no limit, as in the following */
    uint32_t max_connections_per_source;
    uint32_t max_messages_per_connection;
    uint32_t max_recipients_per_message;
    struct sim_rate max_rate;
    struct sim_rate max_rate_per_source;
    struct sim_rate max_connection_rate;
    uint32_t rate_counts; /* enum sim_rate_unit */
    uint32_t burst;       /* so many more in each window are no violation */
    bool greylist;
    int64_t greylist_ms;
    uint32_t unknown;
    uint32_t temporary;
    struct sim_rule *rules;
    size_t rule_count;
    uint32_t drop_before_dot;
    uint32_t drop_after_dot;
    uint32_t accept_when_cut;
    bool down;
};

struct sim_config {
    struct arena *arena;
    const char *record; /* path, NULL: none */
    struct sim_provider_config *providers;
    size_t provider_count;
};

/* Reads `text`, which came from `file`; relative paths in it are taken from that file's folder.
 * NULL: every problem is in `problems`, a line each, "file:line: what". */
struct sim_config *sim_config_parse(const char *file, struct slice text, struct strbuf *problems);
struct sim_config *sim_config_load(const char *file, struct strbuf *problems);
void sim_config_free(struct sim_config **config);

/* "452 4.2.2 The text", "421 text"; the text lies in the input. False: not a reply, or not 4xx or
 * 5xx. */
bool sim_reply_parse(struct slice line, struct sim_reply *reply, struct slice *text);

#endif

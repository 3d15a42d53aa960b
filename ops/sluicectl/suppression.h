/*
 * What the subcommands of sluicectl suppression share: options, and the entries as the topic has
 * them.
 */
#ifndef SLUICE_OPS_SLUICECTL_SUPPRESSION_H
#define SLUICE_OPS_SLUICECTL_SUPPRESSION_H

#include "policy/config.h"
#include "schema/suppression.h"
#include "suppress/key.h"

enum suppression_format { SUPPRESSION_TABLE, SUPPRESSION_JSON, SUPPRESSION_CSV };

struct suppression_options {
    const char *config;
    const char *tenant, *list, *reason, *note, *actor, *output; /* NULL: not given */
    int reason_number;                                          /* of `reason` */
    int64_t lasting_ms;                                         /* --for; 0: for ever */
    int64_t from_ms; /* history: the first time that matters */
    bool all;        /* also what is no longer in force */
    bool check_only; /* import: change nothing */
    enum suppression_format format;
    const char *argument; /* address or file; NULL: none */
};

/* An entry, each key once, as it was last written. */
struct suppression_row {
    struct suppress_key key;
    struct slice key_text;
    struct suppression entry;
};
/* Slices live as long as the call. False: enough. */
typedef bool suppression_visit(void *owner, const struct suppression_row *row);

/* Reads the topic twice: once to know which record of a key is the last one, once to tell those.
 * 32 bytes of memory a key. Records that are no entries are told on stderr and make the result
 * false. */
bool suppression_each(const struct config *config, suppression_visit *visit, void *owner,
                      struct fault *fault);

/* An address as it stands in keys. False: it is none, which was told. `room` holds the result. */
bool suppression_fold(const char *text, char room[SUPPRESS_ADDRESS_MAX + 1], struct slice *address);

enum suppression_status { STATUS_DONE = 0, STATUS_FAILED = 1, STATUS_NONE = 3 };
/* Give the exit status. */
int suppression_list(const struct config *config, const struct suppression_options *options);
int suppression_check(const struct config *config, const struct suppression_options *options);
int suppression_history(const struct config *config, const struct suppression_options *options);
int suppression_add(const struct config *config, const struct suppression_options *options);
int suppression_remove(const struct config *config, const struct suppression_options *options);
int suppression_import(const struct config *config, const struct suppression_options *options);

#endif

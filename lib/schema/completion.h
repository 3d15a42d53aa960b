/*
 * The records of the topics done (journal) and moved (checkpoint), schemas/control.proto, written
 * and read without protobuf-c: an entry costs tens of nanoseconds and no allocation. Names begin
 * with ledger_ because lib/ledger is what they are for; what they mean is said there.
 *
 * Written are fields in the order of their numbers, except that a journal's places stand in between
 * its entries, each before its first use. Read is whatever protobuf allows, with bounds.
 */
#ifndef SLUICE_SCHEMA_COMPLETION_H
#define SLUICE_SCHEMA_COMPLETION_H

#include "base/strbuf.h"
#include "schema/message.h"
#include "schema/wire.h"
#include "smtp/enhanced.h"

#define LEDGER_TEXT_MAX 200
#define LEDGER_NAME_MAX 249 /* topics and transactional ids */
#define LEDGER_PLACES_MAX 65536
/* Bytes that one entry takes at most, with the place it may bring along. */
#define LEDGER_ENTRY_MAX ((size_t)MESSAGE_RECIPIENTS_MAX * (LEDGER_TEXT_MAX + 48) + 1024)

enum ledger_result {
    LEDGER_UNTRIED = 0, /* nothing came of the intent: to be tried again */
    LEDGER_DELIVERED,
    LEDGER_DEFERRED,
    LEDGER_BOUNCED,
    LEDGER_EXPIRED,
    LEDGER_DROPPED,
    LEDGER_UNCERTAIN, /* was told as uncertain, and the policy decided */
};

/* The same outcome for some recipients of a message. */
struct ledger_outcome {
    const uint32_t *recipients; /* indexes */
    size_t recipient_count;
    enum ledger_result result;
    uint16_t code; /* SMTP reply; 0: none */
    struct smtp_enhanced enhanced;
    struct slice text; /* written: the first LEDGER_TEXT_MAX bytes */
    int64_t due_ms;    /* DEFERRED, UNCERTAIN: wall clock */
};

enum ledger_kind {
    LEDGER_NOTHING = 0, /* of a later version: to be passed over */
    LEDGER_INTENT,
    LEDGER_DONE,
    LEDGER_CLOSED,
    LEDGER_LEFT,
};

struct ledger_entry {
    enum ledger_kind kind;
    uint32_t place; /* index in the journal's places */
    int64_t offset;
    uint32_t length;            /* CLOSED: offsets, at least 1 */
    uint32_t turn;              /* INTENT, DONE; LEFT: the last, 0: none */
    const uint32_t *recipients; /* INTENT */
    size_t recipient_count;
    const struct ledger_outcome *outcomes; /* DONE */
    size_t outcome_count;
};

struct ledger_partition {
    struct slice topic;
    int32_t partition;
    uint64_t claim;
};

/* ---- writing a journal ---- */

/* False: the buffer's maximum; it is then as it was before (no overflow is remembered). */
bool completion_put_writer(struct strbuf *out, struct slice writer);
bool completion_put_place(struct strbuf *out, const struct ledger_partition *place);
bool completion_put_entry(struct strbuf *out, const struct ledger_entry *entry);

/* ---- reading a journal ---- */

struct completion_reader;

/* Keeps room for one entry of the largest size; may read any number of records. */
struct completion_reader *completion_reader_create(void);
void completion_reader_free(struct completion_reader **reader);

/* The writer's name first, so that records of others can be passed over cheaply. False: there is
 * none, or the record is broken before it. */
bool completion_writer(struct slice record, struct slice *writer);

enum completion_next {
    COMPLETION_ENTRY,
    COMPLETION_END,
    COMPLETION_BROKEN_ENTRY, /* this one; more may follow */
    COMPLETION_BROKEN,       /* the rest of the record cannot be read */
};
/* Begins a record, which must outlive the reading. */
void completion_read(struct completion_reader *reader, struct slice record);
/* *entry and *place are valid until the next call; slices point into the record. */
enum completion_next completion_next(struct completion_reader *reader, struct ledger_entry *entry,
                                     struct ledger_partition *place);

/* ---- checkpoints ---- */

struct ledger_checkpoint {
    struct slice writer, worker;
    int32_t slot;
    int64_t done_offset;
    int64_t time_ms;
};

/* first … last, both complete. */
struct offsets_run {
    int64_t first;
    int64_t last;
};

/* Records that somebody may still be sending; see schemas/control.proto. */
struct ledger_awaited {
    struct slice writer; /* len 0: the checkpoint's own */
    int32_t slot;
    int64_t done_offset;
    uint64_t claim;
    int64_t wait_ms;
    const int64_t *offsets; /* ascending, each once */
    size_t offset_count;
};

/* False: the buffer's maximum (its overflow is set). */
bool completion_put_checkpoint(struct strbuf *out, const struct ledger_checkpoint *checkpoint);
bool completion_put_partition(struct strbuf *out, const struct ledger_partition *partition,
                              int64_t base, const struct offsets_run *runs, size_t run_count,
                              const struct ledger_awaited *awaited, size_t awaited_count);

/* What a reader of a checkpoint is told, in the order of the record. Any may be NULL. False from
 * one of them stops the reading (and is no fault of the record). */
struct completion_sink {
    void *owner;
    bool (*partition)(void *owner, const struct ledger_partition *partition, int64_t base);
    bool (*run)(void *owner, int64_t first, int64_t last);              /* ascending, apart */
    bool (*awaited)(void *owner, const struct ledger_awaited *awaited); /* without its offsets */
    bool (*offset)(void *owner, int64_t offset);                        /* of the awaited before */
};
/* Header fields alone are read with a NULL sink. False: the record is broken; the sink may have
 * been told a part: check first with a NULL-member sink where that matters. */
bool completion_read_checkpoint(struct slice record, struct ledger_checkpoint *checkpoint,
                                const struct completion_sink *sink, struct fault *fault);

#endif

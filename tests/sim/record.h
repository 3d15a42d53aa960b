/*
 * The record of what was accepted: TSV with a header line, one line per message and recipient.
 * Lines wait in memory for at most SIM_RECORD_FLUSH_MS (the owner's timer) or SIM_RECORD_BYTES. A
 * record that cannot be written is worthless to who judges by it, so that ends the process with
 * status 3.
 */
#ifndef SLUICE_SIM_RECORD_H
#define SLUICE_SIM_RECORD_H

#include "base/clock.h"
#include "base/fault.h"
#include "base/slice.h"

#define SIM_RECORD_FLUSH_MS 100
#define SIM_RECORD_BYTES (256U << 10)

struct sim_record;

struct sim_record_entry {
    struct wall_time time;
    struct slice provider, message_id, mail_from, source, local, tls_version;
    uint64_t connection;
    uint64_t bytes;
    struct wall_time dot_time; /* when the content was complete */
    struct slice flag;
};

/* Truncates the file. */
struct sim_record *sim_record_create(const char *path, struct fault *fault);
/* Flushes and closes. */
void sim_record_free(struct sim_record **record);
void sim_record_add(struct sim_record *record, const struct sim_record_entry *entry,
                    struct slice recipient);
void sim_record_flush(struct sim_record *record);

#endif

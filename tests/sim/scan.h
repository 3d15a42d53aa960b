/*
 * Finds the id of a test message in its header while the content comes in pieces: X-Sluice-Test-ID,
 * else Message-ID (RFC 5322 section 3.6.4; one fold before the value is understood). Bounded: 64
 * KiB of header, ids cut at 250 bytes. The id is safe for a TSV field: what is not printable
 * becomes "?".
 */
#ifndef SLUICE_SIM_SCAN_H
#define SLUICE_SIM_SCAN_H

#include "base/slice.h"

#define SIM_ID_MAX 250

enum sim_scan_name { SIM_SCAN_OTHER, SIM_SCAN_MESSAGE_ID, SIM_SCAN_TEST_ID };

struct sim_scan {
    bool done;
    enum sim_scan_name found; /* whose value `id` is */
    enum sim_scan_name fold;  /* the last line was this name without a value */
    size_t header_bytes;
    size_t line_len;
    size_t id_len;
    char line[SIM_ID_MAX + 32]; /* the start of a line that began in an earlier piece */
    char id[SIM_ID_MAX];
};

void sim_scan_start(struct sim_scan *scan);
void sim_scan_piece(struct sim_scan *scan, struct slice piece);
/* Empty: none was found. */
struct slice sim_scan_id(const struct sim_scan *scan);

#endif

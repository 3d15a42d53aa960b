/* Lines that lie whole in a piece are looked at in place; only a line across pieces is copied. */
#include "sim/scan.h"

#define HEADER_MAX 65536

void sim_scan_start(struct sim_scan *scan)
{
    scan->done = false;
    scan->found = scan->fold = SIM_SCAN_OTHER;
    scan->header_bytes = scan->line_len = scan->id_len = 0;
}

static void take_value(struct sim_scan *scan, enum sim_scan_name name, struct slice value)
{
    value = slice_trim(value);
    scan->fold = value.len == 0 ? name : SIM_SCAN_OTHER;
    if (value.len == 0 || name <= scan->found) {
        return;
    }
    value = slice_head(value, sizeof(scan->id));
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        scan->id[i] = c > ' ' && c < 0x7f ? c : '?';
    }
    scan->id_len = value.len;
    scan->found = name;
    scan->done = name == SIM_SCAN_TEST_ID;
}

/* field = field-name *WSP ":" body; without its line end, cut to what an id needs. */
static void take_line(struct sim_scan *scan, struct slice line)
{
    if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
        line.len--;
    }
    if (line.len == 0) {
        scan->done = true;
        return;
    }
    if (line.ptr[0] == ' ' || line.ptr[0] == '\t') {
        if (scan->fold != SIM_SCAN_OTHER) {
            take_value(scan, scan->fold, line);
        }
        return;
    }
    scan->fold = SIM_SCAN_OTHER;
    char first = ascii_lower_byte(line.ptr[0]);
    if (first != 'm' && first != 'x') {
        return;
    }
    struct slice rest = line;
    struct slice name = slice_trim(slice_cut(&rest, ':'));
    if (rest.ptr == NULL) {
        return;
    }
    if (slice_eq_nocase(name, SLICE("X-Sluice-Test-ID"))) {
        take_value(scan, SIM_SCAN_TEST_ID, rest);
    } else if (slice_eq_nocase(name, SLICE("Message-ID"))) {
        take_value(scan, SIM_SCAN_MESSAGE_ID, rest);
    }
}

static void keep(struct sim_scan *scan, struct slice part)
{
    part = slice_head(part, sizeof(scan->line) - scan->line_len);
    if (part.len > 0) {
        memcpy(scan->line + scan->line_len, part.ptr, part.len);
        scan->line_len += part.len;
    }
}

void sim_scan_piece(struct sim_scan *scan, struct slice piece)
{
    while (!scan->done && piece.len > 0) {
        const char *lf = memchr(piece.ptr, '\n', piece.len);
        size_t len = lf == NULL ? piece.len : (size_t)(lf - piece.ptr);
        struct slice part = slice_head(piece, len);
        scan->header_bytes += len + 1;
        if (scan->header_bytes > HEADER_MAX) {
            scan->done = true;
        } else if (lf == NULL) {
            keep(scan, part);
            return;
        } else if (scan->line_len > 0) {
            keep(scan, part);
            part = slice_of(scan->line, scan->line_len);
            scan->line_len = 0;
            take_line(scan, part);
        } else {
            take_line(scan, part);
        }
        piece = slice_skip(piece, len + 1);
    }
}

struct slice sim_scan_id(const struct sim_scan *scan)
{
    return slice_of(scan->id, scan->id_len);
}

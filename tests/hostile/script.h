/*
 * Hostile peers as plain text. A script plays one side of an SMTP session against an engine (client
 * or server) and says what the engine must do. One statement a line; "#" begins a comment line.
 * Which side the script plays is the engine's `peer` letter: 'S' when the engine is a client, 'C'
 * when it is a server.
 *
 *   S: text          in the peer's letter: sends text and CRLF
 *   C: pattern       in the engine's letter: its next line of output must match; "*" stands for any
 * bytes bytes "…"        sends exactly these; escapes: \r \n \t \\ \" \xNN repeat N "…"     sends
 * them N times, or until the session is over fed < N          fewer than N bytes were sent by the
 * latest `repeat` split N          feeds whatever is sent N bytes at a time (0: whole), overriding
 * the variation output "…"       these bytes, and nothing else, are the engine's output that no
 * statement has taken yet output none      there is none skip N           takes N bytes of output
 * unseen pull manual      the transport takes nothing by itself any more;  pull auto: it does pull
 * N           the transport takes N bytes now close            the link is lost wait timeout time
 * passes until the engine's deadline; there must be one wait N           N milliseconds pass, and
 * the engine is told if that passes its deadline anything else    is given to the engine's driver:
 * setting it up, `expect …`, and so on
 *
 * The same script runs in many variations: input split, output taken in small pieces, and a fault
 * put in place of the n-th thing that the peer sends; then only the driver's check() judges.
 */
#ifndef SLUICE_HOSTILE_SCRIPT_H
#define SLUICE_HOSTILE_SCRIPT_H

#include "base/slice.h"

#define SCRIPT_PROBLEM_MAX 1024

struct script_engine;

struct script_ops {
    void (*input)(struct script_engine *engine, struct slice bytes);
    /* Takes up to `max` bytes of output from the engine as a transport would, and tells it so. */
    size_t (*take)(struct script_engine *engine, char *out, size_t max);
    bool (*closed)(struct script_engine *engine);
    void (*lost)(struct script_engine *engine);
    /* Until the deadline; false: the engine has none. */
    bool (*pass_deadline)(struct script_engine *engine);
    void (*pass_ms)(struct script_engine *engine, int64_t ms);
    /* A statement that is the driver's; false with a text in `problem`. */
    bool (*statement)(struct script_engine *engine, struct slice words,
                      char problem[SCRIPT_PROBLEM_MAX]);
    /* At the end: what must be true however the session went; `cut`: a fault that must end it was
     * put in. */
    bool (*check)(struct script_engine *engine, bool cut, char problem[SCRIPT_PROBLEM_MAX]);
};

/* Embedded in the driver's own struct. */
struct script_engine {
    const struct script_ops *ops;
    char peer;
};

enum script_fault {
    SCRIPT_FAULT_NONE,
    SCRIPT_FAULT_CLOSE,   /* the link is lost */
    SCRIPT_FAULT_TIMEOUT, /* nothing comes any more */
    SCRIPT_FAULT_SAY,     /* fault_bytes are sent */
};

struct script_variation {
    size_t split_bytes; /* input is fed so many bytes at a time; 0: whole */
    size_t take_bytes;  /* output is taken so many bytes at a time; 0: whole */
    enum script_fault fault;
    size_t fault_at; /* instead of the n-th thing sent, from 0; the script ends there */
    struct slice fault_bytes;
};

struct script_result {
    size_t sends; /* things sent by the peer */
    char problem[SCRIPT_PROBLEM_MAX];
};

/* Runs the file; false: result->problem says "file:line: what". */
bool script_run(const char *path, struct script_engine *engine,
                const struct script_variation *variation, struct script_result *result);

/* Calls `each` for every file of the folder that ends in `suffix`, by name; returns how many. */
size_t script_each_file(const char *folder, const char *suffix,
                        void (*each)(const char *path, void *context), void *context);

/* For drivers: the next word (or "quoted string", without its quotes and with escapes resolved into
 * `room`). Absent at the end. */
struct slice script_word(struct slice *rest, char *room, size_t room_bytes);

#endif

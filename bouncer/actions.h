/*
 * What is done with the returned mail itself, beside its events: stored, handed to a program, sent
 * on. Actions block, so a few threads of their own carry them out; the mail waits for the result
 * and is refused with 451 when it is bad, so the sender's queue is our queue: an action may be
 * carried out twice, never not at all.
 *
 * actions_create() to actions_free() on the loop's thread; `done` runs there too.
 */
#ifndef SLUICE_BOUNCER_ACTIONS_H
#define SLUICE_BOUNCER_ACTIONS_H

#include "io/mailbox.h"
#include "policy/config.h"

#define ACTION_PROBLEM_MAX 300

struct actions;

struct action_job {
    const struct config_action *action;
    struct slice content; /* with our trace fields in front; stays until done() */
    struct slice mail_from, address;
    struct mono_time start_by; /* later it is not begun any more, and has failed */
    const char *id;            /* of the mail */
    const char *kind;          /* "bounce" … */
    /* Once, on the loop's thread. */
    void (*done)(struct action_job *job, bool ok, const char *problem);

    struct letter letter; /* ours from here on */
    struct list node;
    bool ok;
    bool permanent; /* not ok, and trying again is of no use */
    char problem[ACTION_PROBLEM_MAX];
};

/* `host_name`: ours, for protocols and files. */
struct actions *actions_create(struct io_loop *loop, const char *host_name, struct fault *fault);
/* Finishes what runs; what waits is done() with a failure. */
void actions_free(struct actions **actions);
void actions_start(struct actions *actions, struct action_job *job);

/* False for those that are nothing to carry out (pass, drop). */
bool action_has_work(const struct config_action *action);
/* Has this mail been forwarded by us before? */
bool action_came_round(struct slice content, const char *host_name);
const char *action_name(enum config_action_do what);

#endif

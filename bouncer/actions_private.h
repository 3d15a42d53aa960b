/* The actions themselves: each runs on an action thread, blocks, and fills job->problem when it
 * returns false. */
#ifndef SLUICE_BOUNCER_ACTIONS_PRIVATE_H
#define SLUICE_BOUNCER_ACTIONS_PRIVATE_H

#include "bouncer/actions.h"

bool action_store(struct action_job *job, const char *host_name); /* mbox, maildir, file */
bool action_pipe(struct action_job *job);
/* In a child that has given up new privileges. False: errno. */
bool action_sandbox_enter(void);
bool action_send(struct action_job *job, const char *host_name); /* post, forward */

/* Fills job->problem and returns false. */
bool action_failed(struct action_job *job, const char *format, ...) PRINTF_LIKE(2, 3);

#endif

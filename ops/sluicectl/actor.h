/* By whose hand: for events about what an operator did. */
#ifndef SLUICE_OPS_SLUICECTL_ACTOR_H
#define SLUICE_OPS_SLUICECTL_ACTOR_H

/* The user that runs us, before sudo; else "sluicectl". */
const char *actor_default(void);

#endif

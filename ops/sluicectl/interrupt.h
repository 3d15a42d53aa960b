/*
 * A command that runs until it is told to end: by Ctrl-C or SIGTERM it comes to its own end, with
 * what it has so far.
 */
#ifndef SLUICE_OPS_SLUICECTL_INTERRUPT_H
#define SLUICE_OPS_SLUICECTL_INTERRUPT_H

#include <stdbool.h>

/* From now on. */
void interrupt_catch(void);
bool interrupt_came(void);

#endif

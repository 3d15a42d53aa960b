/* What the two files of the completion codec share. */
#ifndef SLUICE_SCHEMA_COMPLETION_PRIVATE_H
#define SLUICE_SCHEMA_COMPLETION_PRIVATE_H

#include "schema/wire.h"

/* Reads the fields that `table` knows into `base`. False: broken. */
bool completion_members(const struct wire_table *table, struct slice bytes, void *base);

#endif

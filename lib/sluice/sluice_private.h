/*
 * From the public structs of sluice.h to those of lib/schema.
 */
#ifndef SLUICE_SLUICE_PRIVATE_H
#define SLUICE_SLUICE_PRIVATE_H

#include "base/arena.h"
#include "base/fault.h"
#include "schema/message.h"
#include "sluice/sluice.h"

/* Fills *error (may be NULL) from a fault and returns its result. */
enum sluice_result error_from_fault(struct sluice_error *error, const struct fault *fault);

/* The message in schema's form, its arrays in the arena, its text still the caller's; and checked.
 */
bool convert_message(const struct sluice_message *given, struct arena *arena,
                     struct message *message, struct fault *fault);

/* Room for the arrays of one message. */
#define CONVERT_FIRST_BYTES ((size_t)2048)
#define CONVERT_MAX_BYTES ((size_t)4 * 1024 * 1024)

#endif

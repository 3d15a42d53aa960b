/*
 * The frame that Confluent's protobuf serializer puts before the message (docs.confluent.io, "Wire
 * format"):
 *
 *   frame   = %x00 schema-id indexes message        schema-id = 4 bytes, big endian
 *   indexes = %x00 / ( count count*index )          zigzag varints; a single 0 stands for [0]
 *
 * Byte 0 never starts a protobuf message, so both forms can be told apart. The schema id is not
 * looked up: the topic says what its records are.
 */
#ifndef SLUICE_SCHEMA_FRAMING_H
#define SLUICE_SCHEMA_FRAMING_H

#include "base/slice.h"

#define FRAMING_INDEXES_MAX 16

/* The message inside. `schema_id` is 0 when there is no frame. False: the frame is broken. */
bool framing_strip(struct slice record, struct slice *message, uint32_t *schema_id);

#endif

/*
 * List-Unsubscribe (mail/unsubscribe.h): which mail gets the fields, and writing them for one
 * recipient. They stand in front of the content as it goes out; the record stays as it is.
 */
#ifndef SLUICE_WORKER_UNSUBSCRIBE_H
#define SLUICE_WORKER_UNSUBSCRIBE_H

#include "worker/return_path.h"

/* Name of the metadata entry by which a message asks for them ("true") or declines ("false"). */
#define UNSUBSCRIBE_METADATA "list-unsubscribe"

/* A mail asks by its metadata, else by its stream or tenant; one that has such a field of its own
 * gets none. Such mail goes out with one recipient in a transaction. */
bool unsubscribe_wanted(const struct mail *mail);

/* The fields for this recipient, in the mail's arena; empty where none can be written. */
struct slice unsubscribe_fields(struct return_paths *paths, struct mail *mail, uint32_t index,
                                struct slice vip);

#endif

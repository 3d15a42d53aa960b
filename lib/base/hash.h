/*
 * SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF") with a key drawn once per
 * process for tables that outsiders can fill, and a fixed key where the same value is needed in
 * every process.
 */
#ifndef SLUICE_BASE_HASH_H
#define SLUICE_BASE_HASH_H

#include "base/slice.h"

/* Keyed per process: for hash tables. */
uint64_t hash_slice(struct slice s);

/* The same in every process and version: for shards, slots, ids. */
uint64_t hash_stable(struct slice s);

uint64_t hash_sip(struct slice s, uint64_t key0, uint64_t key1);

#endif

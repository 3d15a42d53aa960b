/*
 * Between this process and its broker: what a client connects to while the proxy runs goes through
 * it (the test's connect() stands before libc's). It passes everything but the answers to JOINs
 * that it is told to swallow; the connection lives on, as when a coordinator loses a JOIN.
 */
#ifndef SLUICE_TESTS_KAFKA_LIVE_PROXY_H
#define SLUICE_TESTS_KAFKA_LIVE_PROXY_H

/* Counts and swallows JOINs that have `name` in them. */
void live_proxy_start(const char *name);
void live_proxy_stop(void);
/* The answers to the next `count` of these JOINs. */
void live_proxy_swallow(int count);
int live_proxy_swallowed(void);
/* How many there were. */
int live_proxy_joins(void);

#endif

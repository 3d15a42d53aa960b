/*
 * The local control socket (worker.control-socket): the questions of the topic `control`, asked and
 * answered on this machine and for this worker alone, also while Kafka is away. A thread with a
 * loop of its own, so that neither mail nor the topic's questions wait for it.
 *
 * One question a connection, a line as question_parse_line() says. The answers come as they are
 * given, a line of JSON each, then the connection ends; what is no question is answered by
 * {"error":…}. Who connects is bounded in number, in bytes and in time; the socket's mode 0660 says
 * who may.
 */
#ifndef SLUICE_WORKER_CONSOLE_H
#define SLUICE_WORKER_CONSOLE_H

#include "base/fault.h"
#include "base/slice.h"

struct console;
struct worker;

/* When the shards are there. In the path %n stands for the worker's name. What lies there is taken
 * away if it is a socket that nobody listens to. */
struct console *console_start(struct worker *worker, const char *path, struct fault *fault);
/* No more questions; the socket goes. Waits for the thread. Takes NULL. */
void console_stop(struct console *console);
/* When nobody can answer any more. Takes NULL, nulls the pointer. */
void console_free(struct console **console);

/* Any thread: an answer for that connection, copied. */
void console_answer(struct console *console, uint64_t link, struct slice answer);

#endif

/*
 * What operators ask a worker, by the topic `control` (worker/control.h) or by the local socket
 * (worker/console.h): why mail waits, and where one message is. Each shard and the intake thread
 * answer for what they have (worker/why.h).
 */
#ifndef SLUICE_WORKER_QUESTION_H
#define SLUICE_WORKER_QUESTION_H

#include "base/slice.h"

#define QUESTION_ID_MAX 200

struct console;
struct worker;

struct question {
    uint64_t number;                      /* comes back in each answer; never 0 */
    char message_id[QUESTION_ID_MAX + 1]; /* "": about no message */
    struct console *console;              /* who asked; NULL: the topic */
    uint64_t link;                        /* … by which connection */
};

/*   value = number [ SP message-id ]    ; by the topic
 *   line  = "why" [ SP message-id ]     ; by the socket, without its line end
 * A number is decimal and not 0, an id 1 to QUESTION_ID_MAX bytes without control characters.
 * False: it is no question. The rest of *question is left as it is. */
bool question_parse_value(struct slice value, struct question *question);
bool question_parse_line(struct slice line, struct question *question);

/* Any thread; copied for all that answer. Returns how many will. */
unsigned question_ask(struct worker *worker, const struct question *question);

#endif

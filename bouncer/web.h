/*
 * HTTP(S) for those who leave a list: POST to the link of a List-Unsubscribe field unsubscribes at
 * once (RFC 8058), GET shows a page with a button that does the same, since programs that look at
 * every link of a mail must not unsubscribe anybody. libmicrohttpd, one thread for each listener.
 *
 * A POST is answered when Kafka has acknowledged its event: 200; or 503, and the client may come
 * again. What is not signed by us is 404.
 */
#ifndef SLUICE_BOUNCER_WEB_H
#define SLUICE_BOUNCER_WEB_H

#include "bouncer/daemon.h"

struct web;

/* Listens on all of unsubscribe.listeners. NULL and fault: an address in use, a certificate. */
struct web *web_create(struct bouncer *bouncer, struct fault *fault);
/* Reads the certificate and its key again. False: the fault names the file, and what there was
 * stays.
 */
bool web_reload(struct web *web, struct fault *fault);
/* Takes no more requests: they get 503. */
void web_drain(struct web *web);
/* None is waiting for Kafka. */
bool web_is_idle(const struct web *web);
/* Before the Kafka producer goes: nothing comes from the HTTP threads any more. Takes NULL. */
void web_stop(struct web *web);
/* After the Kafka producer has gone, and so has reported on everything. Nulls the pointer; takes
 * NULL. */
void web_free(struct web **web);

#endif

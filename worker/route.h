/*
 * From a mail to its lane: decode, choose the VIP or pool, find the site, hand over to the shard
 * that owns the lane.
 *
 * Pool: the message's own; else the tenant's default; else the stream's; else the first pool or VIP
 * of the configuration. A tenant that may not use it gets the mail dropped with that reason.
 */
#ifndef SLUICE_WORKER_ROUTE_H
#define SLUICE_WORKER_ROUTE_H

#include "worker/shard.h"

/* The mail has just been handed to this shard. */
void route_mail(struct shard *shard, struct mail *mail);

/* Takes mails whose site is still being looked up. */
void route_extract(struct shard *shard,
                   bool (*wanted)(const struct mail *mail, const void *context), struct list *out);

/* Name of the VIP or pool to send from; false: fault says which rule forbids it. Pure. */
bool route_choose_pool(const struct config *config, const struct mail *mail, struct slice *name,
                       struct fault *fault);

#endif

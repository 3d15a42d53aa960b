/*
 * For tests of the transactional producer only.
 */
#ifndef SLUICE_KAFKA_DOUBT_PRIVATE_H
#define SLUICE_KAFKA_DOUBT_PRIVATE_H

#include "kafka/txn.h"

enum txn_doubt { TXN_DOUBT_NONE, TXN_DOUBT_COMMITTED, TXN_DOUBT_UNCOMMITTED };

/* As if the answer to the next burst's commit got lost: after the brokers had it, or on its way to
 * them. */
void kafka_txn_doubt(struct kafka_txn *txn, enum txn_doubt doubt);

#endif

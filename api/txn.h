// SPDX-License-Identifier: Apache-2.0
// A transaction under construction, and on its way (txn.c, commit.c).
#ifndef RQCI_TXN_H
#define RQCI_TXN_H

#include "api/engine.h"

// Who a transaction belongs to. It goes from IDLE to IN_FLIGHT when it is submitted, and back when
// its completion is given; rqc_txn_free in between makes it ABANDONED, and whoever ends it frees
// it.
enum { RQCI_TXN_IDLE, RQCI_TXN_IN_FLIGHT, RQCI_TXN_ABANDONED };

struct rqc_txn {
    rqc_db *db;
    struct rqci_block *blocks; // newest first
    rqci_write *writes;
    size_t n, cap;
    size_t failed;
    uint8_t key[RQC_KEY_MAX];
    size_t key_len;
    rqci_job job; // while it is committed
    _Atomic int state;
    rqc_completed_fn *completed; // NULL: to the queue
    rqc_completion completion;
    rqc_txn *next; // in the queue
    rqci_errbuf err;
};

void rqci_txn_empty(rqc_txn *t);  // forgets its writes and its key
void rqci_txn_delete(rqc_txn *t); // frees it, whatever its state
bool rqci_txn_let_go(rqc_txn *t); // false when it is not in flight: it is the caller's to free
// RQC_INVALID, with the detail untouched, while it is in flight.
rqc_err rqci_txn_mine(rqc_txn *t);

#endif

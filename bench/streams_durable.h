// SPDX-License-Identifier: Apache-2.0
#ifndef RQC_BENCH_STREAMS_DURABLE_H
#define RQC_BENCH_STREAMS_DURABLE_H

struct rqci_store;

// From now on `fn` is called whenever the store has made a transaction durable, before the view
// begins to follow. One store at a time, before its first write.
void streams_watch_commits(struct rqci_store *store, void (*fn)(void));

#endif

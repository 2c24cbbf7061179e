// SPDX-License-Identifier: Apache-2.0
//
// Apart from the rest, for the names inside persist/ are not those of cache/.
#include "bench/streams_durable.h"

#include "persist/internal.h"

static rqc_err (*follow)(void *ctx, uint64_t head, const rqci_source *source, bool prepared);
static void (*tell)(void);

static rqc_err committed(void *ctx, uint64_t head, const rqci_source *source, bool prepared)
{
    tell();
    return follow(ctx, head, source, prepared);
}

void streams_watch_commits(struct rqci_store *store, void (*fn)(void))
{
    tell = fn;
    follow = store->committed;
    store->committed = committed;
}

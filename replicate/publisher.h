// SPDX-License-Identifier: Apache-2.0
// The publisher: one thread that makes frames of what the view applied, and sends them.
//
//   poke ─► thread: pins the view ─► each topic: what changed since its last frame ─► PUB
//
// It reads the view, as any reader does. Writers do no more than poke it, or send a small frame to
// few subscribers themselves, which takes less time than the thread needs to wake up. When it is
// slower than they are, one frame holds several of their transactions, each record once, at its
// latest state.
#ifndef RQCI_PUBLISHER_H
#define RQCI_PUBLISHER_H

#include "cache/view.h"
#include "replicate/frame.h"
#include "replicate/net.h"

typedef struct rqci_publisher rqci_publisher;

typedef struct rqci_publisher_options {
    rqci_net *net;
    const char *path; // the stream of all is ipc://PATH.all, a workspace's ipc://PATH.HASH
    unsigned mode;    // permissions of these
    const char *host; // NULL: no tcp
    uint16_t port;    // of the stream of all; 0: any
    unsigned topics_max;
    unsigned idle_ms; // a workspace's stream without a subscriber for so long is closed
    rqci_log log;
    // Pins the view for the publisher's thread, and lets it go.
    void *ctx;
    rqc_err (*pin)(void *ctx, rqci_reader **ret_reader);
    void (*unpin)(void *ctx);
    bool (*lags)(void *ctx); // the view cannot follow now
} rqci_publisher_options;

#define RQCI_PUBLISHER_PATH_MAX 80u

rqc_err rqci_publisher_start(const rqci_publisher_options *opt, rqci_publisher **ret_publisher,
                             rqci_errbuf *err);
// Sends what is there yet, then ends. NULL-safe.
void rqci_publisher_stop(rqci_publisher *p);

// The view has moved. Any thread; never waits. The first only wakes the publisher's thread; the
// second may send a little by itself, and calls pin and unpin then: not from within a read session.
void rqci_publisher_poke(rqci_publisher *p);
void rqci_publisher_moved(rqci_publisher *p);

// The stream of a topic (id NULL: all), opened when it is not there. RQC_TOO_LARGE: too many;
// RQC_INVALID: tcp is not served.
rqc_err rqci_publisher_topic(rqci_publisher *p, const uint8_t *id, bool tcp, char *ret_url,
                             size_t size, rqci_errbuf *err);
// A bookmark of the topic, soon.
void rqci_publisher_nudge(rqci_publisher *p, const uint8_t *id);

typedef struct rqci_publisher_stats {
    uint64_t frames, gap_frames, bookmarks, changes;
    uint64_t seq; // up to which the topic of all was sent
    unsigned topics;
} rqci_publisher_stats;
rqci_publisher_stats rqci_publisher_stats_of(rqci_publisher *p);

#endif

// SPDX-License-Identifier: Apache-2.0
// A subscriber: follows one topic of a sidecar. It owns no thread and never waits; whoever uses it
// waits for its descriptor and calls rqci_sub_step until there is nothing to do.
//
//   WAIT ─► HELLO ─► ATTACH ─────► LIVE ◄──┐
//    ▲      asks     connects,     │ gap   │ up to date
//    │      where    waits for     ▼       │
//    │      the      a frame      CATCHUP ─┘
//    │      stream is             asks for pages of changes
//    └── whatever fails
//
// Frames that come while pages are asked for stay where they are: in the socket, and in the
// sidecar's queue. What does not fit there is a gap, and gaps are repaired. So memory is bounded,
// and an application that is slow gets each record once, at its latest state.
#ifndef RQCI_SUBSCRIBER_H
#define RQCI_SUBSCRIBER_H

#include "replicate/message.h"

typedef struct rqci_sub rqci_sub;

typedef struct rqci_place {
    rqci_epoch epoch; // term 0: of any history
    rqc_cursor cursor;
} rqci_place;

typedef enum rqci_sub_kind {
    RQCI_SUB_CHANGES = 1,
    RQCI_SUB_BOOKMARK = 2,
    RQCI_SUB_RESET = 3,
    RQCI_SUB_STATE = 4
} rqci_sub_kind;

typedef struct rqci_sub_event {
    rqci_sub_kind kind;
    bool more;        // CHANGES: the state is whole only with the next one that says false
    rqc_err reason;   // RESET, STATE
    const char *text; // of the reason
    rqci_place place; // when this was applied
    uint64_t head;    // newest position that is known
    const rqc_change *items;
    size_t n;
    uint64_t records; // BOOKMARK: of the topic
    rqci_digest digest;
} rqci_sub_event;

typedef struct rqci_sub_stats {
    uint64_t frames, changes, bookmarks; // that were applied
    uint64_t gaps;                       // that were noticed
    uint64_t duplicates;                 // frames that held nothing new
    uint64_t bad;                        // frames and answers that were no such
    uint64_t pages;
    uint64_t connects; // streams that were attached
    uint64_t resets;
    uint64_t compared, different; // digests
    uint64_t mends, buckets;      // differences that were mended, and the buckets fetched for it
} rqci_sub_stats;

typedef struct rqci_sub_options {
    bool all;
    uint8_t workspace[16];
    rqci_place since;
    bool from_now;  // begins at the head, whatever it is
    bool bookmarks; // tells them, too
    bool digest;    // keeps it and compares: since must be the beginning
} rqci_sub_options;

// RQC_INVALID, RQC_NOT_FOUND (a host's name), RQC_NO_MEMORY, RQC_IO. Connects later, by itself.
rqc_err rqci_sub_new(const char *url, const rqci_sub_options *opt, rqci_sub **ret_sub,
                     rqci_errbuf *err);
// Never waits. NULL-safe.
void rqci_sub_free(rqci_sub *s);
// Readable when a step has something to do.
int rqci_sub_fd(const rqci_sub *s);
// Does what can be done now. RQC_OK: an event, valid until the next call. RQC_TIMEOUT: none; wait
// for the descriptor. RQC_NO_MEMORY: nothing is lost, try again.
rqc_err rqci_sub_step(rqci_sub *s, rqci_sub_event *ret_event);
rqci_sub_stats rqci_sub_stats_of(const rqci_sub *s);

#endif

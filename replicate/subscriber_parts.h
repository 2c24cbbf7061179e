// SPDX-License-Identifier: Apache-2.0
// What the files of the subscriber share: subscriber.c connects and asks, follow.c judges what
// came, mend.c puts right what the digests say is wrong.
#ifndef RQCI_SUBSCRIBER_PARTS_H
#define RQCI_SUBSCRIBER_PARTS_H

#include "replicate/known.h"
#include "replicate/sp.h"
#include "replicate/subscriber.h"

typedef enum rqci_sub_phase {
    RQCI_PHASE_WAIT,
    RQCI_PHASE_HELLO,
    RQCI_PHASE_ATTACH,
    RQCI_PHASE_CATCHUP,
    RQCI_PHASE_LIVE
} rqci_sub_phase;

// What became of a piece of work.
typedef enum rqci_sub_turn {
    RQCI_TURN_EVENT, // there is an event
    RQCI_TURN_ON,    // go on
    RQCI_TURN_IDLE   // nothing can be done now
} rqci_sub_turn;

// How far the mending of differing buckets is.
//   DIGESTS ─► WALK ─► NONE, and changes since the place, as in any catch-up
typedef enum rqci_sub_mend {
    RQCI_MEND_NONE,
    RQCI_MEND_DIGESTS, // those of the sidecar's buckets are asked for
    RQCI_MEND_WALK     // over everything in the buckets that differ
} rqci_sub_mend;

#define RQCI_SUB_GONE_MOST 1024u // vanished records in one event

struct rqci_sub {
    rqci_sub_options opt;
    rqci_sp_addr addr; // of the sidecar's questions
    rqci_sp ask, stream;
    rqci_buf message;
    int epoll, timer;
    struct {
        int fd; // -1: not in the epoll set
        uint32_t events;
    } armed[2];
    int64_t armed_ms;

    rqci_sub_phase phase;
    int64_t until_ms; // end of the phase's patience
    int64_t nudge_ms;
    uint32_t request; // id of the newest question
    bool asked;       // its answer is awaited
    unsigned attempts;
    uint64_t random;

    rqci_place place;
    uint64_t head;
    bool first;     // the next frame is the stream's first
    bool staged;    // the application holds a state that is not whole
    bool tell_live; // that it follows is to be told
    bool told_down;
    bool walking;  // over everything: what is not seen is gone
    bool sweeping; // what the walk did not see is being told
    size_t sweep;
    rqc_cursor swept; // where the walk ended

    rqci_sub_mend mend; // only in CATCHUP, or on the way back there
    bool mended;        // it was done, and no bookmark has agreed since
    rqci_bucket_set buckets;
    rqc_cursor mend_cursor; // of the walk over them; `place` stays where it was

    rqc_change *items;
    size_t items_cap;
    uint8_t gone[RQCI_SUB_GONE_MOST][16];
    rqci_known known;
    rqci_sub_stats stats;
    rqci_errbuf err;
};

// Gives up what is connected, and tries again later.
rqci_sub_turn rqci_sub_fail(rqci_sub *s, rqc_err code, rqci_sub_event *ev);
void rqci_sub_catch_up(rqci_sub *s);
void rqci_sub_live(rqci_sub *s);
// Everything anew, from the beginning: an event.
rqci_sub_turn rqci_sub_start_over(rqci_sub *s, rqc_err reason, rqci_sub_event *ev);

// Where pages go on.
static inline rqc_cursor *rqci_sub_cursor(rqci_sub *s)
{
    return s->mend == RQCI_MEND_WALK ? &s->mend_cursor : &s->place.cursor;
}

// mend.c
// The digests differ: an event.
rqci_sub_turn rqci_sub_mend_begin(rqci_sub *s, rqci_sub_event *ev);
// The question for the digests, into s->message; and its answer.
rqc_err rqci_sub_mend_ask(rqci_sub *s);
rqci_sub_turn rqci_sub_mend_answer(rqci_sub *s, const rqci_message *m, rqci_sub_event *ev);

// follow.c
rqci_sub_turn rqci_sub_frame(rqci_sub *s, const uint8_t *p, size_t n, rqci_sub_event *ev);
rqci_sub_turn rqci_sub_page(rqci_sub *s, const rqci_message *m, rqci_sub_event *ev);
rqci_sub_turn rqci_sub_sweep(rqci_sub *s, rqci_sub_event *ev);

#endif

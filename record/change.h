// SPDX-License-Identifier: Apache-2.0
// A row of change_log, and where a view reads the truth: the seam between persist (which implements
// it) and cache (which calls it).
#ifndef RQCI_CHANGE_H
#define RQCI_CHANGE_H

#include "base/buf.h"
#include "record/record.h"

// What a trigger saw. A log row says which key was touched; whether the record exists is told by
// the next row of the same key or, for the newest one, by the table (see docs/format.md,
// change_log).
enum {
    RQCI_OP_INSERT = 1,
    RQCI_OP_UPDATE = 2, // or: is about to be replaced in place by an insert of the same id
    RQCI_OP_DELETE = 3, // deleted, or may have been: a conflicting row of a REPLACE, a BEFORE
                        // DELETE; or (before a MOVE) the old owner
    RQCI_OP_MOVE = 4 // an update that changed the owner column; its DELETE row with the old owner
                     // stands just before it
};

typedef struct rqci_change {
    uint64_t seq;
    uint8_t entity; // a known entity code
    uint8_t op;
    uint8_t id[16];
    uint8_t owner[16]; // the owner column (workspace_id, http_id, response_id) as the row had or
                       // has it; zero when that is no id
} rqci_change;

// Facts of the store at the source's snapshot.
typedef struct rqci_source_state {
    uint8_t store_id[16];
    uint32_t term;
    uint64_t head;     // highest seq in change_log (or the baseline when it is empty)
    uint64_t baseline; // seq of rows that were there before capture began
    uint64_t
        horizon; // history behind this seq may be compacted; tombstones at or below it are gone
} rqci_source_state;

// One consistent snapshot of the truth. All calls of one source come from one thread; begin opens
// the snapshot (of everything committed before the call), end closes it.
typedef struct rqci_source {
    void *ctx;
    rqc_err (*begin)(void *ctx, rqci_source_state *ret_state, rqci_errbuf *err);
    void (*end)(void *ctx);
    // Calls fn for every log row with after < seq ≤ upto in order of seq. A non-zero result of fn
    // ends the walk and is returned.
    rqc_err (*changes)(void *ctx, uint64_t after, uint64_t upto,
                       rqc_err (*fn)(void *arg, const rqci_change *c), void *arg, rqci_errbuf *err);
    // Appends the packed record of one row (seq as given) to out; RQC_NOT_FOUND when there is no
    // such row or it cannot be mirrored.
    rqc_err (*row)(void *ctx, uint8_t entity, const uint8_t id[16], uint64_t seq, rqci_buf *out,
                   rqci_errbuf *err);
    // Calls fn for every row of one table in order of id, packed with seq 0; the record is valid
    // during the call and may be changed by it.
    rqc_err (*scan)(void *ctx, uint8_t entity, rqc_err (*fn)(void *arg, rqc_record *r), void *arg,
                    rqci_errbuf *err);
    // Number of rows of all mirrored tables, for progress; 0 when unknown.
    uint64_t (*count)(void *ctx);
} rqci_source;

#endif

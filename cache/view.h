// SPDX-License-Identifier: Apache-2.0
// The view: an LMDB mirror of the store in shared memory, read in place by any process of the host.
// docs/format.md specifies it.
//
// Directory of a view (0750):   control          one page of memory, mapped by everybody:
// generation, position, identity
//                               gen-N/data.mdb   the environment of generation N; its map never
//                               changes size
// The owner is the only writer. A rebuild or a larger map makes a new generation beside the old one
// and then switches the control page; readers notice at their next session and move by themselves.
#ifndef RQCI_VIEW_H
#define RQCI_VIEW_H

#include "base/err.h"
#include "base/log.h"
#include "record/change.h"
#include "record/resolve.h"

typedef struct rqci_view
    rqci_view; // the owner's handle: one thread at a time may call the functions that change it
typedef struct rqci_mirror
    rqci_mirror; // a reader's handle on the same directory: any thread, owner's process or another
typedef struct rqci_reader rqci_reader; // a session of a mirror: one thread at a time

#define RQCI_VIEW_LAYOUT 5u

typedef struct rqci_view_options {
    const char *dir; // directory of this view; made when missing, its parent must exist
    uint64_t
        map_bytes; // first size of the map; 0: 256 GiB, less where the address space is limited
    rqci_log log;
    void (*progress)(void *ctx, const char *what, uint64_t done, uint64_t total);
    void *progress_ctx;
} rqci_view_options;

// ---- Owner ----

// Opens the directory as the owner. A view of this boot, store, term, schema and layout that was
// closed cleanly is used as it is; one that was not closed cleanly is walked in a child process
// first; anything else is built anew by the first rqci_view_apply. RQC_NO_SPACE, RQC_IO,
// RQC_NO_MEMORY.
rqc_err rqci_view_open(const rqci_view_options *opt, const rqci_source_state *identity,
                       rqci_view **ret_view, rqci_errbuf *err);
// Ends the calls of opt->progress.
void rqci_view_no_progress(rqci_view *v);

// Brings the view to the source's head: applies the log rows behind its position in one LMDB
// transaction, or rebuilds when it has none, when it is too far behind, or when the source's
// identity changed. On failure the view keeps its old position (RQC_NO_SPACE …) and can be called
// again. *ret_seq: position now.
rqc_err rqci_view_apply(rqci_view *v, const rqci_source *src, uint64_t *ret_seq, rqci_errbuf *err);

// The same in two steps, for a source that shows what is not durable yet: rqci_view_prepare applies
// it without showing it, rqci_view_reveal shows it once it is durable, rqci_view_undo gives it up
// when it was undone. False: nothing is prepared, for whatever reason (there is no view, it would
// take long, …): rqci_view_apply does it afterwards, or says why not. After a reveal that fails,
// too. Between the two steps nothing else may be called, and all on one thread. *ret_state: what
// the source said.
#define RQCI_PREPARE_MAX 256u // positions, and records, or KiB of them: a millisecond or two
bool rqci_view_prepare(rqci_view *v, const rqci_source *src, rqci_source_state *ret_state);
rqc_err rqci_view_reveal(rqci_view *v, uint64_t *ret_seq, rqci_errbuf *err);
void rqci_view_undo(rqci_view *v);

// Builds a new generation from the source and switches to it.
rqc_err rqci_view_rebuild(rqci_view *v, const rqci_source *src, uint64_t *ret_seq,
                          rqci_errbuf *err);

// Gives up what it holds, files too: there is no view until the next rqci_view_apply, which builds
// one. Sessions that have the old one open keep it.
void rqci_view_drop(rqci_view *v);

// True when somebody removed or replaced the files that are shown.
bool rqci_view_lost(const rqci_view *v);
// Makes directory and control page anew, without a view until the next rqci_view_apply.
rqc_err rqci_view_remake(rqci_view *v, rqci_errbuf *err);

// For compaction: true when this log row (seq ≤ the horizon) is still needed: it is the newest of
// its record, or the newest arrival of a request. Reads the view's newest state; owner's thread
// only, between applies.
bool rqci_view_needs(rqci_view *v, const rqci_change *c, uint64_t horizon);

// Removes stale readers of dead processes; cheap, call it about once a second.
void rqci_view_tidy(rqci_view *v);

// Removes a view that its owner left, if it belongs to this user. Readers that have it open find no
// view at their next session, instead of one that stands still.
void rqci_view_remove(const char *dir);

// Marks the view clean and closes it. NULL-safe.
void rqci_view_close(rqci_view *v);

// ---- Readers ----

// RQC_UNAVAILABLE when there is no view (yet) in dir.
rqc_err rqci_mirror_open(const char *dir, const rqci_log *log, rqci_mirror **ret_mirror,
                         rqci_errbuf *err);
void rqci_mirror_close(rqci_mirror *m); // every reader must have been freed

// What the control page shows, without a session: a few loads. A session that begins afterwards
// sees at least this.
typedef struct rqci_shown {
    uint64_t generation; // 0: there is no view now
    uint64_t seq;
    uint8_t store_id[16];
    uint32_t term;
    uint32_t turn; // changes with any of them
} rqci_shown;
void rqci_mirror_shown(rqci_mirror *m, rqci_shown *ret_shown);
// Sleeps until the page has another turn, but at most for ms, and for a second: the view may come
// back elsewhere. May return early.
void rqci_mirror_sleep(rqci_mirror *m, uint32_t turn, int64_t ms);
// Lets all sleepers, of any process, look again.
void rqci_mirror_wake(rqci_mirror *m);

rqc_err rqci_reader_new(rqci_mirror *m, rqci_reader **ret_reader, rqci_errbuf *err);
void rqci_reader_free(rqci_reader *r);
// now_ms: CLOCK_MONOTONIC_COARSE, in milliseconds; the caller has just read it. RQC_UNAVAILABLE,
// RQC_NO_MEMORY, RQC_BUSY (more than 1,022 sessions).
rqc_err rqci_reader_begin(rqci_reader *r, int64_t now_ms, rqci_errbuf *err);
void rqci_reader_end(rqci_reader *r);

// What the pinned view is: identity, position, horizon. Valid from begin to end. All zeros where
// the view is damaged.
typedef struct rqci_view_state {
    uint8_t store_id[16];
    uint32_t term;
    uint64_t seq, horizon, baseline;
    uint64_t records, tombstones, workspaces;
    uint64_t generation;
} rqci_view_state;
const rqci_view_state *rqci_reader_state(rqci_reader *r);

// Queries as in api/reqcast.h, which documents them; arguments are checked there. Lists are emptied
// first.
rqc_err rqci_get(rqci_reader *r, uint8_t entity, const uint8_t id[16],
                 const rqc_record **ret_record);
rqc_err rqci_workspaces(rqci_reader *r, rqci_list *ret_list);
rqc_err rqci_page(rqci_reader *r, const uint8_t workspace[16], int64_t until, const char *method,
                  uint32_t limit, rqc_page_cursor *cursor, rqci_list *ret_list);
rqc_err rqci_updates(rqci_reader *r, const uint8_t workspace[16], int64_t since, int64_t until,
                     const char *method, uint32_t limit, rqc_page_cursor *cursor,
                     rqci_list *ret_list);
rqc_err rqci_batch(rqci_reader *r, const uint8_t (*ids)[16], size_t n, int64_t until,
                   rqci_list *ret_list);
rqc_err rqci_deltas(rqci_reader *r, const uint8_t (*parents)[16], size_t n, int64_t since,
                    int64_t until, rqci_list *ret_list);
rqc_err rqci_count(rqci_reader *r, const uint8_t workspace[16], int64_t until, uint64_t *ret_count);
rqc_err rqci_children(rqci_reader *r, uint8_t entity, const uint8_t (*ids)[16], size_t n,
                      int64_t until, bool all, rqci_list *ret_list);
// Children of one owner, of the entities `first` to `end` - 1, each appended to its list (lists[0]
// is that of `first`) in order of id, without a filter.
rqc_err rqci_children_of(rqci_reader *r, const uint8_t owner[16], uint8_t first, uint8_t end,
                         rqci_list *lists);
rqc_err rqci_changes(rqci_reader *r, const uint8_t *workspace, rqc_cursor *cursor, uint32_t limit,
                     rqc_changes_list *ret_list, bool *ret_up_to_date);
rqc_err rqci_chain(rqci_reader *r, const uint8_t base[16], int64_t until, rqci_list *ret_chain);
rqc_err rqci_metrics(rqci_reader *r, const uint8_t workspace[16], int64_t since,
                     rqc_metrics *ret_metrics);
rqc_err rqci_activity(rqci_reader *r, const uint8_t workspace[16], int64_t since,
                      rqc_activity *ret_days, size_t max, size_t *ret_n);
// Home workspace of a record (zero: unknown owner). RQC_NOT_FOUND.
rqc_err rqci_home(rqci_reader *r, uint8_t entity, const uint8_t id[16], uint8_t ret_workspace[16]);

// Counters and digests of one workspace; zeros for an unknown one.
typedef struct rqci_ws_state {
    uint8_t id[16];
    rqci_digest digest;
    uint64_t seq;                          // newest change of the workspace
    uint64_t records[RQCI_ENTITY_MAX + 1]; // by entity code; [0] all
    uint64_t http[4];                      // bases, deltas, snapshots, both flags
} rqci_ws_state;
rqc_err rqci_ws(rqci_reader *r, const uint8_t workspace[16], rqci_ws_state *ret_state);
rqc_err rqci_ws_buckets(rqci_reader *r, const uint8_t workspace[16], rqci_digest ret_buckets[256]);
// Every workspace that has or had records, in order of id. A non-zero result of fn ends the walk
// and is returned.
rqc_err rqci_ws_each(rqci_reader *r, rqc_err (*fn)(void *ctx, const rqci_ws_state *s), void *ctx);

// Every record of the view, in no special order, checked deeply. A non-zero result of fn ends the
// walk and is returned.
rqc_err rqci_each(rqci_reader *r, rqc_err (*fn)(void *ctx, const rqc_record *rec), void *ctx);

// Walks everything: record check values, and that every index, counter and digest agrees with the
// records. RQC_CORRUPT with the first fault.
rqc_err rqci_reader_check(rqci_reader *r, rqci_errbuf *err);

typedef struct rqci_view_sizes {
    uint64_t used_bytes, map_bytes;
    uint32_t readers;
} rqci_view_sizes;
void rqci_reader_sizes(rqci_reader *r, rqci_view_sizes *ret_sizes);

#endif

// SPDX-License-Identifier: Apache-2.0
// The durable truth: one SQLite file, one writer at a time with group commit, change capture by
// triggers.
//
// Flow of a write: submit → the writer thread takes every job that waits (a caller of
// rqci_store_run that finds nobody at work does its own) → BEGIN IMMEDIATE → one SAVEPOINT per job
// → prepare() (the view's next state, unseen) → COMMIT (fsync) → committed() (the view shows it, or
// catches up) → done() of each job. Nothing is visible before it is durable.
#ifndef RQCI_STORE_H
#define RQCI_STORE_H

#include "base/err.h"
#include "base/log.h"
#include "record/change.h"

typedef struct rqci_store rqci_store;

enum {
    RQCI_WRITE_PUT = 1,   // insert, or replace every column of the row with this id; ABSENT columns
                          // take their default
    RQCI_WRITE_ADD = 2,   // insert; does nothing when the id is there already
    RQCI_WRITE_PATCH = 3, // change the columns that are not ABSENT, and the update time: to now
                          // when it is ABSENT. RQC_NOT_FOUND when there is no such row
    RQCI_WRITE_DELETE = 4 // RQC_NOT_FOUND when there is no such row
};

typedef struct rqci_write {
    uint8_t kind; // RQCI_WRITE_…
    uint8_t entity;
    bool if_seq; // only when the row's newest change is not above `seq`, else RQC_CHANGED
    uint64_t seq;
    uint8_t id[16];
    const rqc_value *row; // nfields values, checked by rqci_row_check; the key entry is ignored.
                          // NULL for a delete
} rqci_write;

// One caller's transaction: all of its writes or none, in any order as far as foreign keys go. The
// caller owns it and everything it points to until done() was called.
typedef struct rqci_job {
    const rqci_write *writes;
    size_t nwrites;
    const void *key; // idempotency key, with key_len 0: none; a job whose key was used for the same
    size_t key_len;  // request does nothing and has the results of then
    uint8_t request[16];                // rqci_writes_hash, with a key
    void (*done)(struct rqci_job *job); // called once, on the thread that wrote, after commit and
                                        // committed(); must not block
    void *ctx;
    // Results, valid in and after done():
    rqc_err err; // RQC_OK: durable. Another code: nothing of this job was stored
    rqci_errbuf detail;
    size_t failed;        // index of the write that failed, nwrites when none is to blame
    uint8_t store_id[16]; // history that seq belongs to
    uint32_t term;
    bool replayed;    // the results are those of an earlier job with this key
    uint64_t seq;     // position after this job (unchanged head when the job changed nothing)
    uint64_t written; // rows inserted or changed by its puts, adds and patches
    uint64_t skipped; // adds whose id was there
    uint64_t deleted; // rows deleted, cascades counted
    bool visible; // the view shows it; false when the view lags or is being mended: the write is
                  // durable all the same
    struct rqci_job *next; // internal
} rqci_job;

typedef struct rqci_store_options {
    bool create;    // create the file and its schema when missing; without it a missing file is
                    // RQC_NOT_FOUND
    bool read_only; // no writer thread, no lock, no schema change: for processes that attach (large
                    // values, verify)
    rqci_store *of; // of a read-only one: the store of the same file that this process owns
                    // and that lives longer: what is shown is made durable first, as there
    uint64_t retain; // positions of history kept for cursors and tombstones; used when the store is
                     // created. 0: default
    int busy_ms;     // how long to wait for another process's SQLite lock; 0: default 5,000
    rqci_log log;
    // Called on the thread that wrote after every durable commit, own or foreign, and once for
    // rqci_store_sync. Returns RQC_OK when the view shows `head`. `source` is for the time of the
    // call: it reads on the connection that wrote, which has the pages at hand.
    // prepare() is called before that, inside the transaction, with a source of what will be
    // durable if the COMMIT succeeds: nothing of it may be shown. It must not wait, nor take long,
    // since other programs wait for the end of the transaction; it is not called within ten seconds
    // of a commit of theirs. When it returns true the next call, on the same thread, is committed()
    // with `prepared`, or undone(). NULL, both: nothing is prepared.
    bool (*prepare)(void *ctx, const rqci_source *source);
    void (*undone)(void *ctx);
    rqc_err (*committed)(void *ctx, uint64_t head, const rqci_source *source, bool prepared);
    // Called with what each begin() of a source of this store found; NULL: nobody wants to know.
    void (*seen)(void *ctx, const rqci_source_state *state);
    void *ctx;
} rqci_store_options;

#define RQCI_RETAIN_DEFAULT  131072u
#define RQCI_BUSY_MS_DEFAULT 5000
#define RQCI_JOB_WRITES_MAX  10000000u

// Opens as the owner (takes FILE.rqc-lock, RQC_BUSY naming the holder's pid and program when it is
// held; the lock lives as long as the process), sets WAL, synchronous=FULL, foreign_keys=ON,
// creates or checks the schema and the capture triggers, decides the term (store.c says how). The
// writer thread starts with rqci_store_start, so that the owner can build its view first.
// RQC_NOT_FOUND, RQC_BUSY, RQC_CORRUPT (not a database), RQC_VERSION (a newer schema of ours),
// RQC_NO_SPACE, RQC_IO, RQC_READ_ONLY.
rqc_err rqci_store_open(const char *path, const rqci_store_options *opt, rqci_store **ret_store,
                        rqci_errbuf *err);
rqc_err rqci_store_start(rqci_store *s, rqci_errbuf *err);
// Finishes queued jobs, stops the writer, checkpoints, closes. NULL-safe; valid after a failed
// start.
void rqci_store_close(rqci_store *s);

// Queues a job; any thread. RQC_CLOSED after close began, RQC_READ_ONLY, RQC_TOO_LARGE. When it
// returns RQC_OK done() will be called.
rqc_err rqci_store_submit(rqci_store *s, rqci_job *job);
// Submits and waits. Returns job->err. `done` and `ctx` of the job are used by it. Never call it
// from done() or committed().
rqc_err rqci_store_run(rqci_store *s, rqci_job *job);
// Picks up what other connections committed (their commits are made durable first), calls
// committed(), waits. Returns committed()'s result.
rqc_err rqci_store_sync(rqci_store *s, rqci_errbuf *err);

// The source for views. At most one user at a time (one read connection behind it). begin() makes
// foreign commits durable before they are shown. ctx stays valid until close.
void rqci_store_source(rqci_store *s, rqci_source *ret_source);

// One column of one row, for large values: appends its bytes to out. RQC_NOT_FOUND. Any thread (own
// connection, serialised).
rqc_err rqci_store_value(rqci_store *s, uint8_t entity, const uint8_t id[16], int field,
                         rqci_buf *out, rqci_errbuf *err);

// XXH3-128 of writes, as docs/format.md has it.
void rqci_writes_hash(const rqci_write *writes, size_t n, uint8_t ret_hash[16]);
// Forgets the oldest idempotency keys: those older than RQCI_KEYS_SECONDS, and all but the newest
// RQCI_KEYS_MAX; a chunk of them. `now` in UNIX seconds. *ret_more: call it again.
#define RQCI_KEYS_SECONDS 86400
#define RQCI_KEYS_MAX     100000
rqc_err rqci_store_forget_keys(rqci_store *s, int64_t now, bool *ret_more, rqci_errbuf *err);

// Snapshots of runs in a workspace, as rqci_snapshot_ref appended to out, in order of id: all but
// the newest `keep` of each request (-1: all), and of these only the ones that were made before
// that UNIX second (INT64_MAX: whenever; snapshots without a time are not old).
typedef struct rqci_snapshot_ref {
    uint8_t id[16];
    bool version; // there is a version with this id
} rqci_snapshot_ref;
rqc_err rqci_store_old_snapshots(rqci_store *s, const uint8_t workspace[16], int64_t keep,
                                 int64_t before, rqci_buf *out, rqci_errbuf *err);

// Deletes rows of change_log with seq ≤ the horizon for which keep() is false, never the highest
// row; a chunk of at most 2,000 rows examined per call, so that writers wait only shortly. keep()
// is called on the calling thread. *ret_more is false when the horizon is reached.
rqc_err rqci_store_compact(rqci_store *s, bool (*keep)(void *ctx, const rqci_change *c), void *ctx,
                           bool *ret_more, rqci_errbuf *err);

// SQLite's check of the file, on a connection of its own; fn is told each fault.
rqc_err rqci_store_integrity(const char *db_path, bool read_only, bool quick,
                             void (*fn)(void *ctx, const char *fault), void *ctx,
                             uint64_t *ret_faults, rqci_errbuf *err);

// ---- What is ours in a database of an application (attach.c) ----

typedef struct rqci_part {
    const char *kind; // "table", "trigger", "setting"
    const char *name;
    const char *table; // of a trigger, else NULL
    bool there;
} rqci_part;

// Tells all that an owner's start adds; reads only. RQC_NOT_FOUND for an empty database,
// RQC_INVALID for one of another program.
rqc_err rqci_store_plan(const char *path, void (*fn)(void *ctx, const rqci_part *p), void *ctx,
                        rqci_errbuf *err);
// Takes all of it out in one transaction, then the files beside the database; fn is told what.
// `gone` is called before the lock is given up. RQC_BUSY while an owner lives, RQC_VERSION.
rqc_err rqci_store_detach(const char *path, void (*fn)(void *ctx, const rqci_part *p), void *ctx,
                          void (*gone)(const char *path), rqci_errbuf *err);

// ---- Backup and restore (backup.c, restore.c) ----

typedef struct rqci_progress {
    void (*fn)(void *ctx, const char *what, uint64_t done, uint64_t total); // NULL: none
    void *ctx;
} rqci_progress;

typedef struct rqci_copied {
    struct {
        uint8_t store_id[16];
        uint32_t term;
        uint64_t seq;
    } at;
    uint64_t bytes;
    char kept[4096]; // name of the file that a restore replaced, "" when there was none
} rqci_copied;

// A copy at one position, durable when it returns; writers go on meanwhile. RQC_INVALID when `path`
// is there (unless `replace`) or is the database, RQC_BUSY when another process makes it.
rqc_err rqci_store_backup(const char *db_path, bool read_only, const char *path, bool replace,
                          const rqci_progress *p, rqci_copied *ret_copied, rqci_errbuf *err);

// Puts the backup `from` in the place of the database `path`, which nobody has open; the next owner
// begins a new term. RQC_BUSY, RQC_INVALID (no backup), RQC_CORRUPT, RQC_VERSION; the database is
// as it was then.
rqc_err rqci_store_restore(const char *path, const char *from, const rqci_progress *p,
                           rqci_copied *ret_copied, rqci_errbuf *err);

// The horizon that belongs to a head: a multiple of retain / 4, at least retain behind the head; 0
// while the head is below that.
uint64_t rqci_horizon(uint64_t head, uint64_t retain);

// Term and highest position of the database, as far as the owner knows it. Any thread.
void rqci_store_head(rqci_store *s, uint32_t *ret_term, uint64_t *ret_head);

typedef struct rqci_store_stats {
    uint8_t store_id[16];
    uint32_t term;
    uint64_t head, horizon, baseline, retain;
    uint64_t db_bytes, wal_bytes, log_rows;
    uint64_t groups, jobs, jobs_failed; // since open
    uint64_t checkpoints;
    uint64_t unmirrored; // rows or log rows met that cannot be mirrored (ids that are not 16
                         // bytes), since open
} rqci_store_stats;
rqc_err rqci_store_stats_read(rqci_store *s, rqci_store_stats *ret_stats, rqci_errbuf *err);

#endif

// SPDX-License-Identifier: Apache-2.0
// The engine joins the rooms: the store (truth), the view that follows it, and the sessions that
// read the view.
//
//   rqc_commit ─► store (this thread, or the writer thread) ─► rows ─► prepare(): next view, unseen
//              ─► COMMIT ─► committed(): it is shown ─► done ─► rqc_commit returns
//
//   keeper thread, once a second: clears dead readers, retries a view that lags, compacts the log
//
// Locks, in the order in which they may be taken:
//   (the store's own) → apply → lock
// `apply` guards the view and the store's source: whoever changes the view holds it. The store
// calls committed() and keep() with its own locks held, so nobody calls the store with `apply`
// held, but for its source. From prepare() to committed() the store's thread holds it.
#ifndef RQCI_ENGINE_H
#define RQCI_ENGINE_H

#include "api/reqcast.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "cache/view.h"
#include "persist/store.h"
#include "replicate/sp.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

// A mirror and the sessions on it. An attached handle opens another one when the owner's view
// moved.
typedef struct rqci_mirror_ref {
    rqci_mirror *mirror;
    char *dir;
    unsigned refs;                // sessions, and 1 of the handle; guarded by rqc_db.lock
    bool spare;                   // of the spare view
    struct rqci_mirror_ref *past; // the one that was current before
} rqci_mirror_ref;

// One thread for all watches of a handle, from the first one on (watch.c).
typedef struct rqci_watching {
    pthread_mutex_t lock;
    rqc_watch *first; // guarded by lock
    size_t n;
    rqci_shown seen; // the thread's own, once it runs
    pthread_t thread;
    bool runs;
    _Atomic bool stop, ended;
} rqci_watching;

// Completions of asynchronous commits that nobody fetched yet (commit.c).
typedef struct rqci_completions {
    pthread_mutex_t lock; // guards first, last, fd
    rqc_txn *first, *last;
    int fd; // readable while there are any; -1: nobody asked for it
    _Atomic uint32_t in_flight;
} rqci_completions;

// Asynchronous commits of an attached handle: one thread, from the first one on, sends them to the
// sidecar one after the other (errands.c).
typedef struct rqci_errands {
    pthread_mutex_t lock; // guards first, last, runs, stop
    pthread_cond_t wake;
    rqci_job *first, *last; // by rqci_job.next
    pthread_t thread;
    bool runs, stop;
} rqci_errands;

// Where an owner's sessions read while the shared view has no room (spare.c).
typedef struct rqci_spare {
    pthread_mutex_t lock; // guards all of it; held while the spare is built
    rqci_store *store;    // a connection of its own: the owner's source is free meanwhile
    rqci_source source;
    rqci_view *view;
    rqci_mirror_ref *ref; // of its mirror, kept until close once there is one
    rqc_err code;         // why the last attempt failed
    _Atomic bool behind;  // it did: the spare stands still, too. Anybody may look
    int64_t again_ms;     // when the next one may come
    bool closed;
} rqci_spare;

// The connection to the sidecar that an attached handle's last commit left open (remote.c).
typedef struct rqci_line {
    pthread_mutex_t lock;
    rqci_sp sp;
    char *url; // NULL: there is none
} rqci_line;

struct rqc_db {
    bool owner;
    unsigned forks; // forks of this process when it was opened
    char *path;     // the database file, symbolic links resolved
    uint32_t max_age_ms;
    uint64_t retain; // positions of history that the store keeps
    rqci_log log;

    rqci_store *
        store; // owner: the truth; attached: opened for reading when first needed (guarded by lock)
    rqci_source source; // the store's

    pthread_mutex_t apply;
    rqci_view *view;            // owner only; guarded by apply
    _Atomic bool lagging;       // is cleared with spare.lock held
    _Atomic bool no_room;       // and that is for want of room
    rqci_source_state prepared; // guarded by apply, as what follows
    rqci_errbuf lag_why;
    rqc_err lag_code;
    int64_t lag_until_ms;       // when it tries to follow again
    void (*applied)(void *ctx); // told that the view moved
    void *applied_ctx;

    pthread_mutex_t lock;
    rqci_source_state state; // newest seen by the source
    rqci_mirror_ref *mirror; // of the shared view: the current one, and through it all before: they
                             // stay until close, so that whoever only looks at a position needs no
                             // lock
    rqci_mirror_ref *reads;  // where sessions begin: `mirror`, or the spare's
    _Atomic(rqci_mirror *) shown; // of `reads`
    _Atomic uint64_t mirrors;     // how often `reads` changed: sessions notice
    _Atomic int64_t next_look_ms;

    pthread_t keeper;
    bool keeper_runs;
    bool stop; // guarded by lock
    pthread_cond_t wake;
    uint64_t compacted; // horizon up to which the log was compacted; keeper's own
    rqc_err lost_code;  // why a view that was taken away is not back; keeper's own

    rqci_spare spare;
    rqci_watching watching;
    rqci_completions completions;
    rqci_errands errands;
    rqci_line line;
};

struct rqc_read {
    rqci_reader *reader;
    rqc_db *db;
    int64_t until_ms; // end of its life, while begun
    bool begun;
    uint64_t mirrors; // value of rqc_db.mirrors when its reader was made
    rqci_mirror_ref *ref;
    rqci_errbuf err;
};

// Copies a detail to a public error. `err` may be NULL. Returns code.
rqc_err rqci_report(rqc_error *err, rqc_err code, const rqci_errbuf *detail);

extern _Atomic unsigned rqci_fork_count; // how often this process and its parents forked
// True in a child of the process that opened the handle.
static inline bool rqci_forked(const rqc_db *db)
{
    return atomic_load_explicit(&rqci_fork_count, memory_order_relaxed) != db->forks;
}

// txn.c: which write the last failed commit was refused for, counted from 0 in the order of the
// calls; SIZE_MAX: none of them.
size_t rqci_txn_failed(const rqc_txn *t);

// db.c
rqc_err rqci_mirror_ref_open(rqc_db *db, const char *dir, rqci_mirror_ref **ret_ref,
                             rqci_errbuf *err);
void rqci_mirror_ref_drop(rqc_db *db, rqci_mirror_ref *ref);
// The one in which sessions begin; and that of the shared view, which may be another.
rqci_mirror_ref *rqci_mirror_ref_take(rqc_db *db, uint64_t *ret_mirrors);
rqci_mirror_ref *rqci_mirror_ref_shared(rqc_db *db);
// Sessions begin there from now on. With `lock` held.
void rqci_read_from(rqc_db *db, rqci_mirror_ref *ref);
// Attached: looks where the owner's view is now; a no-op while it has not moved. RQC_UNAVAILABLE …
rqc_err rqci_mirror_find(rqc_db *db, rqci_errbuf *err);
// The store to read from: the owner's, or one opened for reading.
rqc_err rqci_reading_store(rqc_db *db, rqci_store **ret_store, rqci_errbuf *err);

// commit.c: gives up what nobody fetched; when the store is closed.
void rqci_completions_end(rqc_db *db);

// errands.c: rqci_remote_run on another thread, in the order of the calls; then job->done, which
// must not block. RQC_NO_MEMORY: no thread.
rqc_err rqci_errand(rqc_db *db, rqci_job *job, rqci_errbuf *err);
// Returns when all were run; no more may come.
void rqci_errands_end(rqc_db *db);

// watch.c
void rqci_watching_stop(rqc_db *db);

// spare.c
// Brings the spare view to the head of the database and lets sessions begin there, if the shared
// view has no room to follow; else nothing. The first time it is built, which takes its time.
// Without `wait` nothing is built, and nothing is done while another thread is at it. Failures are
// logged: sessions go on where they are then.
void rqci_spare_follow(rqc_db *db, bool wait);
// The shared view is at `seq` again: sessions return to it, and the spare's files go. False: not
// now, ask again. With `apply` held.
bool rqci_spare_leave(rqc_db *db, uint64_t seq);
void rqci_spare_close(rqc_db *db); // before the store is closed

// keeper.c
rqc_err rqci_keeper_start(rqc_db *db, rqci_errbuf *err);
void rqci_keeper_stop(rqc_db *db);
// For rqci_store_compact, with the database as its context: the view needs this row of the log.
bool rqci_keeper_needs(void *db, const rqci_change *c);
// The store's callbacks. The first makes the view's next state, and then holds `apply` until the
// same thread calls one of the others; it only tries to get it, since it is within the store's
// transaction. The last one shows it, or brings the view to the head that `source` shows.
bool rqci_prepare(void *ctx, const rqci_source *source);
void rqci_undone(void *ctx);
rqc_err rqci_committed(void *ctx, uint64_t head, const rqci_source *source, bool prepared);
// Calls fn whenever the view may have moved, on the thread that moved it; it must not wait. NULL:
// no more, and none is running.
void rqci_watch_applied(rqc_db *db, void (*fn)(void *ctx), void *ctx);

// remote.c: an attached handle writes through the sidecar that owns its database.
bool rqci_remote_there(const rqc_db *db);
// The job's writes as one transaction; its results are those of the sidecar. Returns job->err. With
// a key it is asked again when the answer is lost.
rqc_err rqci_remote_run(rqc_db *db, rqci_job *job);
void rqci_remote_hang_up(rqc_db *db); // when no commit runs
// What the sidecar says of itself, JSON; appended to out.
rqc_err rqci_remote_stats(const char *url, rqci_buf *out, rqci_errbuf *err);

// An errno that says that a file is not there for us; not that nobody knows.
bool rqci_absent(int why);

// paths.c: where a view lives. Paths are at most RQCI_PATH_MAX bytes long, with their NUL.
#define RQCI_PATH_MAX 4096
// The database's file with symbolic links resolved; one that does not exist yet: its directory's.
rqc_err rqci_path_of(const char *path, char ret_path[RQCI_PATH_MAX], rqci_errbuf *err);
// Directory of the view, its parent made and checked. view_dir NULL: /dev/shm, where it is large
// enough, else beside the database. `beside` forces the latter.
rqc_err rqci_view_dir(const char *db_path, const char *view_dir, bool beside, const rqci_log *log,
                      char ret_dir[RQCI_PATH_MAX], rqci_errbuf *err);
// Directory of the owner's spare view, beside the database; made and checked.
rqc_err rqci_spare_dir(const char *db_path, char ret_dir[RQCI_PATH_MAX], rqci_errbuf *err);
// The note beside the database that tells attached processes where its view is.
rqc_err rqci_note_write(const char *db_path, const char *dir, rqci_errbuf *err);
// Reads and checks it: the note and the view's directory belong to this user, to root, or to the
// database's owner. RQC_UNAVAILABLE, RQC_INVALID.
rqc_err rqci_note_read(const char *db_path, char ret_dir[RQCI_PATH_MAX], rqci_errbuf *err);
// The database's view is in `dir` from now on: removes what it left in shared memory or beside the
// database, and a spare view.
void rqci_views_leave(const char *db_path, const char *dir);
// Removes the view of a database that nobody owns, and the note of it.
void rqci_view_forget(const char *db_path);
// The note that tells where the sidecar of a database answers: an URL. "" takes it away.
rqc_err rqci_sidecar_note_write(const char *db_path, const char *url, rqci_errbuf *err);
// RQC_UNAVAILABLE: there is none, or nobody to trust wrote it.
rqc_err rqci_sidecar_note_read(const char *db_path, char ret_url[RQCI_PATH_MAX], rqci_errbuf *err);
// The private directory for sockets of this user, made and checked. dir NULL: in shared memory.
rqc_err rqci_socket_dir(const char *dir, char ret_dir[RQCI_PATH_MAX], rqci_errbuf *err);
// Removes views in the same parent directory whose databases are gone.
void rqci_views_sweep(const char *dir, const rqci_log *log);

#endif

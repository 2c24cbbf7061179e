// SPDX-License-Identifier: Apache-2.0
// The engine joins the rooms: the store (truth), the view that follows it, and the sessions that
// read the view.
//
//   rqc_commit ─► store (writer thread) ─► committed(): view apply ─► done ─► rqc_commit returns
//   keeper thread, once a second: clears dead readers, retries a view that lags, compacts the log
//
// Locks, in the order in which they may be taken:
//   (the store's own) → apply → lock
// `apply` guards the view and the store's source: whoever changes the view holds it. The store
// calls committed() and keep() with its own locks held, so nobody calls the store with `apply`
// held, but for its source.
#ifndef RQCI_ENGINE_H
#define RQCI_ENGINE_H

#include "api/reqcast.h"

#include "base/log.h"
#include "cache/view.h"
#include "persist/store.h"
#include "replicate/sp.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

// A mirror and the sessions on it. An attached handle opens another one when the owner's view
// moved.
typedef struct rqci_mirror_ref {
    rqci_mirror *mirror;
    char *dir;
    unsigned refs;                // sessions, and 1 of the handle; guarded by rqc_db.lock
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
    rqci_source inner;  // the store's source
    rqci_source source; // the same, noting its state

    pthread_mutex_t apply;
    rqci_view *view; // owner only; guarded by apply
    _Atomic bool lagging;
    rqci_errbuf lag_why; // guarded by apply, as what follows
    rqc_err lag_code;
    int64_t lag_until_ms;       // when it tries to follow again
    void (*applied)(void *ctx); // told that the view moved
    void *applied_ctx;

    pthread_mutex_t lock;
    rqci_source_state state; // newest seen by the source
    rqci_mirror_ref *mirror; // current one, and through it all before: they stay until close, so
                             // that whoever only looks at a position needs no lock
    _Atomic(rqci_mirror *) shown; // of the current one
    _Atomic uint64_t mirrors;     // how many there were: sessions notice a new one
    _Atomic int64_t next_look_ms;

    pthread_t keeper;
    bool keeper_runs;
    bool stop; // guarded by lock
    pthread_cond_t wake;
    uint64_t compacted; // horizon up to which the log was compacted; keeper's own

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

// True in a child of the process that opened the handle.
bool rqci_forked(const rqc_db *db);

int64_t rqci_now_ms(void); // monotonic, coarse

// txn.c: which write the last failed commit was refused for, counted from 0 in the order of the
// calls; SIZE_MAX: none of them.
size_t rqci_txn_failed(const rqc_txn *t);

// db.c
void rqci_mirror_ref_drop(rqc_db *db, rqci_mirror_ref *ref);
rqci_mirror_ref *rqci_mirror_ref_take(rqc_db *db, uint64_t *ret_mirrors);
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

// keeper.c
rqc_err rqci_keeper_start(rqc_db *db, rqci_errbuf *err);
void rqci_keeper_stop(rqc_db *db);
// The store's callback: brings the view to the head.
rqc_err rqci_committed(void *ctx, uint64_t head);
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

// paths.c: where a view lives. Paths are at most RQCI_PATH_MAX bytes long, with their NUL.
#define RQCI_PATH_MAX 4096
// The database's file with symbolic links resolved; one that does not exist yet: its directory's.
rqc_err rqci_path_of(const char *path, char ret_path[RQCI_PATH_MAX], rqci_errbuf *err);
// Directory of the view, its parent made and checked. view_dir NULL: /dev/shm, where it is large
// enough, else beside the database. `small` forces the latter.
rqc_err rqci_view_dir(const char *db_path, const char *view_dir, bool beside, const rqci_log *log,
                      char ret_dir[RQCI_PATH_MAX], rqci_errbuf *err);
// The note beside the database that tells attached processes where its view is.
rqc_err rqci_note_write(const char *db_path, const char *dir, rqci_errbuf *err);
// Reads and checks it: the note and the view's directory belong to this user, to root, or to the
// database's owner. RQC_UNAVAILABLE, RQC_INVALID.
rqc_err rqci_note_read(const char *db_path, char ret_dir[RQCI_PATH_MAX], rqci_errbuf *err);
// The database's view is in `dir` from now on: removes what it left in shared memory or beside the
// database.
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

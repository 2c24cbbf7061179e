// SPDX-License-Identifier: Apache-2.0
// What the files of this room share.
#ifndef RQCI_PERSIST_INTERNAL_H
#define RQCI_PERSIST_INTERNAL_H

#include "base/buf.h"
#include "persist/sqlite_dep.h"
#include "persist/store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#define RQCI_STORE_FORMAT 2 // of change_log, reqcast_meta and what else is ours: see migrate.c

// ---- Connections (db.c) ----
enum {
    RQCI_DB_WRITE = 1,
    RQCI_DB_CREATE = 2,
    RQCI_DB_READ_ONLY = 4,
    RQCI_DB_IMMUTABLE = 8 // nothing can change it: no locks, no side files
};                        // none: writable file, query_only

// Opens a connection with everything set that all of ours have. `path` is canonical. One that
// writes calls rqci_db_wal before it does.
rqc_err rqci_db_open(const char *path, unsigned flags, int busy_ms, sqlite3 **ret_db,
                     rqci_errbuf *err);
// The same for one look. Who may not write the file reads it where nothing can be left beside it.
rqc_err rqci_db_open_look(const char *path, sqlite3 **ret_db, rqci_errbuf *err);
// Makes the database use a write-ahead log; ret_before (may be NULL) is what it used.
rqc_err rqci_db_wal(sqlite3 *db, char ret_before[12], rqci_errbuf *err);
// Sets (unless `wanted` is NULL) and tells the journal mode: the one in force may be another.
rqc_err rqci_db_mode(sqlite3 *db, const char *wanted, char ret_mode[12], rqci_errbuf *err);
rqc_err rqci_db_exec(sqlite3 *db, const char *sql, rqci_errbuf *err);
// `keep`: the statement lives long. Only one statement in sql.
rqc_err rqci_db_prepare(sqlite3 *db, const char *sql, bool keep, sqlite3_stmt **ret_stmt,
                        rqci_errbuf *err);
// First column of the first row as an integer; RQC_NOT_FOUND when there is no row or it is NULL.
rqc_err rqci_db_int(sqlite3 *db, const char *sql, int64_t *ret_value, rqci_errbuf *err);
// The same with a statement that *stmt keeps from call to call (NULL at first).
rqc_err rqci_db_int_kept(sqlite3 *db, const char *sql, sqlite3_stmt **stmt, int64_t *ret_value,
                         rqci_errbuf *err);
// Runs a statement without rows that *stmt keeps likewise.
rqc_err rqci_db_step_kept(sqlite3 *db, const char *sql, sqlite3_stmt **stmt, rqci_errbuf *err);
void rqci_db_finalize(sqlite3_stmt **stmt); // and sets it to NULL
// Makes everything that this connection can see durable: the -wal file, then the database file.
rqc_err rqci_db_sync(sqlite3 *db, rqci_errbuf *err);
rqc_err rqci_db_has_table(sqlite3 *db, const char *name, bool *ret_there, rqci_errbuf *err);
// A text for a parameter, which must stay as it is until the statement was run.
rqc_err rqci_db_bind_text(sqlite3_stmt *st, int at, const char *text, rqci_errbuf *err);
// A column of the row that the statement stands on, valid until it moves. SQLite gives NULL for a
// NULL and for a lack of memory; here the latter is RQC_NO_MEMORY. (Who steps on to the end of the
// rows need not ask: that step fails then.)
rqc_err rqci_db_text(sqlite3_stmt *st, int column, const char **ret_text, rqci_errbuf *err);

// ---- Files (newfile.c) ----
typedef struct rqci_newfile {
    char *path, *temp;
    int fd;
    bool locked, placed;
} rqci_newfile;
// `path` is canonical; f->temp is empty then. RQC_BUSY when another process makes it. Always
// followed by rqci_newfile_end, which takes away what was not placed.
rqc_err rqci_newfile_begin(const char *path, rqci_newfile *f, rqci_errbuf *err);
rqc_err rqci_newfile_sync(rqci_newfile *f, unsigned mode, rqci_errbuf *err);
// RQC_INVALID when there is a file of this name and `replace` is not set.
rqc_err rqci_newfile_place(rqci_newfile *f, bool replace, rqci_errbuf *err);
void rqci_newfile_end(rqci_newfile *f);
// The code and text that belong to errno.
rqc_err rqci_file_failed(const char *path, rqci_errbuf *err);
// Whether this process may use a file as `mode` (R_OK, W_OK) says; one that is not there it may.
rqc_err rqci_file_allowed(const char *path, int mode, rqci_errbuf *err);
// The same for the folder that path is in; false also when memory ran out.
bool rqci_folder_allowed(const char *path, int mode);
// Syncs the folder that path is in.
rqc_err rqci_dir_sync(const char *path, rqci_errbuf *err);
rqc_err rqci_file_beside(const char *path, const char *suffix, bool *ret_there, rqci_errbuf *err);
// Absolute, without links, so that two names of one file meet the same lock. *ret_there is false
// for a file that is to be made; RQC_NOT_FOUND for one that is not there unless `create`.
rqc_err rqci_path_canonical(const char *path, bool create, char **ret_path, bool *ret_there,
                            rqci_errbuf *err);
// Refuses what is no plain file, without opening it.
rqc_err rqci_check_file(const char *path, const rqci_log *log, rqci_errbuf *err);

// SQLite's checks tell a page that could not be read for a lack of memory, or because of the disk,
// like damage. The error that it is; RQC_OK where `fault` tells of real damage.
rqc_err rqci_integrity_fault(const char *fault, const char *what, rqci_errbuf *err);

// ---- Copies (backup.c) ----
// All pages of `from`, in whose read transaction they hold still, into the empty file `temp`.
rqc_err rqci_copy_db(sqlite3 *from, const char *temp, const rqci_progress *p, uint64_t *ret_bytes,
                     rqci_errbuf *err);
bool rqci_same_file(const char *a, const char *b);

// ---- Facts in reqcast_meta (facts.c) ----
typedef struct rqci_facts {
    uint8_t store_id[16];
    uint8_t nonce[16];
    uint32_t term;
    uint64_t forked_at; // head when the term began
    uint64_t baseline, retain, horizon;
    uint64_t capture; // signature of the capture as it was installed
    int format;       // as it was read; what is written is RQCI_STORE_FORMAT
    char journal[12]; // journal mode before the capture, "" when that is not known
} rqci_facts;

// RQC_NOT_FOUND when there is no table reqcast_meta, RQC_VERSION for a newer format, RQC_CORRUPT
// when a value is missing or of another kind. *stmt as in rqci_db_int_kept.
rqc_err rqci_facts_read(sqlite3 *db, sqlite3_stmt **stmt, rqci_facts *ret_facts, rqci_errbuf *err);
// Writes all of them; inside the caller's transaction.
rqc_err rqci_facts_write(sqlite3 *db, const rqci_facts *f, rqci_errbuf *err);
rqc_err rqci_facts_set_horizon(sqlite3 *db, uint64_t horizon, rqci_errbuf *err);
// Makes our tables where they are missing. RQC_INVALID when the name of change_log or reqcast_keys
// belongs to a table that is not ours.
rqc_err rqci_facts_tables(sqlite3 *db, rqci_errbuf *err);
// RQC_INVALID: it belongs to another program, or there is none.
rqc_err rqci_log_check(sqlite3 *db, rqci_errbuf *err);
rqc_err rqci_facts_add_term(sqlite3 *db, const rqci_facts *f, const char *reason, rqci_errbuf *err);
// Highest seq; `baseline` when the log is empty.
rqc_err rqci_head_read(sqlite3 *db, sqlite3_stmt **stmt, uint64_t baseline, uint64_t *ret_head,
                       rqci_errbuf *err);

// ---- Idempotency keys (keys.c) ----
rqc_err rqci_keys_table(sqlite3 *db, rqci_errbuf *err);
// In the open transaction of a job with a key. Found: the job has its results from then;
// RQC_CONFLICT when the key was used for another request.
rqc_err rqci_keys_find(struct rqci_store *s, rqci_job *job, bool *ret_found);
// Stores the job's results under its key.
rqc_err rqci_keys_add(struct rqci_store *s, rqci_job *job, int64_t now);

// ---- Versions of our tables (migrate.c) ----
typedef struct rqci_migration {
    int to;
    const char *sql;
} rqci_migration;
// From version `from` to the newest, inside the caller's transaction.
rqc_err rqci_migrate(sqlite3 *db, int from, rqci_errbuf *err);
rqc_err rqci_migrate_by(sqlite3 *db, const rqci_migration *list, size_t n, int from,
                        rqci_errbuf *err);

// ---- What the tables of a database really have (shape.c) ----
typedef struct rqci_table {
    bool there;                    // a real table with a column id that is unique by itself
    uint32_t columns;              // bit i: field i is a column
    uint8_t older[RQCI_FIELD_MAX]; // 0, or the column is called rqci_aliases[older - 1].name
    char rowid[8];                 // a name that reaches the rowid, "" when there is none
} rqci_table;
typedef struct rqci_shape {
    int64_t version; // PRAGMA schema_version that it belongs to
    rqci_table t[RQCI_ENTITY_MAX + 1];
} rqci_shape;
// Logs (log may be NULL) what cannot be mirrored, and why.
rqc_err rqci_shape_read(sqlite3 *db, const rqci_log *log, rqci_shape *ret_shape, rqci_errbuf *err);

// What the column of a field that is there is called.
const char *rqci_column(const rqci_table *t, const rqci_entity *e, int field);

// ---- Capture (capture.c) ----
typedef struct rqci_capture {
    uint64_t signature; // of what is there now: triggers, unique indexes, columns
    bool complete;      // the triggers are those that this version makes for these tables
    bool rebuilt; // a mirrored table was made anew behind our back (it comes after reqcast_meta in
                  // the schema)
} rqci_capture;
rqc_err rqci_capture_read(sqlite3 *db, const rqci_shape *shape, const rqci_log *log,
                          rqci_capture *ret_capture, rqci_errbuf *err);
// Replaces all triggers of ours; inside the caller's transaction, in which it writes all facts
// afterwards.
rqc_err rqci_capture_install(sqlite3 *db, const rqci_shape *shape, rqci_errbuf *err);

typedef void rqci_trigger_fn(void *ctx, const char *name, const char *table, bool there);
// Tells the triggers that this version makes for these tables, and which are there.
rqc_err rqci_capture_each(sqlite3 *db, const rqci_shape *shape, rqci_trigger_fn *fn, void *ctx,
                          rqci_errbuf *err);
// Drops all triggers of ours and tells them; inside the caller's transaction.
rqc_err rqci_capture_drop(sqlite3 *db, rqci_trigger_fn *fn, void *ctx, rqci_errbuf *err);

// ---- The owner's lock (lock.c) ----
typedef struct rqci_lock {
    int fd;
    atomic_bool forked; // this process is a child of the owner
    struct rqci_lock *next;
} rqci_lock;
// `l` must stay where it is until released. RQC_BUSY with the holder's pid and program.
rqc_err rqci_lock_take(const char *db_path, rqci_lock *l, rqci_errbuf *err);
// The holder takes the file away, and still holds it.
void rqci_lock_remove(const char *db_path, const rqci_lock *l);
void rqci_lock_release(rqci_lock *l);

// ---- The side file (side.c) ----
// What the owner last knew, beside the database. A start is: write {nonce = the database's, next =
// a new one} here, commit the new one in the database, write {nonce = the new one} here. Whatever
// happens in between, the database holds `nonce` or `next`; `term` goes with `next` where there is
// one, so a term that was decided and not committed is above the database's.
typedef struct rqci_side {
    uint8_t store_id[16];
    uint8_t nonce[16];
    uint8_t next[16]; // zeros: none
    uint32_t term;
    uint64_t head;
    bool same_path; // written for the path it was read for
} rqci_side;
// RQC_NOT_FOUND when it is missing or damaged (which is the same: it proves nothing).
rqc_err rqci_side_read(const char *db_path, rqci_side *ret_side, rqci_errbuf *err);
// Durable when it returns RQC_OK; *fd (-1 at first) becomes the descriptor for rqci_side_head.
// `same_path` is not used.
rqc_err rqci_side_write(const char *db_path, const rqci_side *side, int *fd, rqci_errbuf *err);
// Notes a new head in place, without waiting for the disk. A failure only makes the record older,
// so there is none to report.
void rqci_side_head(int fd, uint64_t head);
void rqci_side_flush(int fd);

// ---- Statements that write (sql.c) ----
#define RQCI_PATCH_CACHE 64
#define RQCI_ROWS_SIZES  4 // inserts of 2, 4, 8 and 16 rows
#define RQCI_ROWS_MAX    (1u << RQCI_ROWS_SIZES)
// What the rows of a table point to, as its foreign keys say.
typedef struct rqci_points {
    bool known;
    bool plain; // each is one field with the id of a record
    uint8_t n;
    struct {
        uint8_t field, parent; // entity code
    } to[RQCI_FIELD_MAX];
} rqci_points;
typedef struct rqci_sql {
    sqlite3 *db;
    const rqci_shape *shape;
    sqlite3_stmt *insert[RQCI_ENTITY_MAX + 1], *update[RQCI_ENTITY_MAX + 1],
        *remove[RQCI_ENTITY_MAX + 1], *exists[RQCI_ENTITY_MAX + 1], *refs[RQCI_ENTITY_MAX + 1];
    struct {
        sqlite3_stmt *stmt;
        uint32_t mask;
        uint8_t entity;
    } patch[RQCI_PATCH_CACHE];
    sqlite3_stmt *rows[RQCI_ENTITY_MAX + 1][RQCI_ROWS_SIZES];
    sqlite3_stmt *changed, *gone, *head;
    bool rows_failed; // an insert of several rows did, and may have left some of them
    // Of the job that is applied:
    rqci_buf inserted; // a bit for each of its writes: it made a row
    bool updated;      // another one changed or deleted rows
    rqci_points points[RQCI_ENTITY_MAX + 1];
} rqci_sql;
void rqci_sql_clear(rqci_sql *q); // finalizes everything
// Before the first write of a job. RQC_NO_MEMORY.
rqc_err rqci_sql_begin(rqci_sql *q, const rqci_job *job, rqci_errbuf *err);
static inline bool rqci_sql_inserted(const rqci_sql *q, size_t i)
{
    return q->inserted.data[i / 8] >> i % 8 & 1u;
}
rqc_err rqci_sql_exists(rqci_sql *q, const rqci_entity *e, const uint8_t id[16], bool *ret_there,
                        rqci_errbuf *err);
// Applies one write in the open transaction and adds to the job's counts. `base`: head when the job
// began; `now` in UNIX seconds.
rqc_err rqci_sql_apply(rqci_sql *q, const rqci_write *w, uint64_t base, int64_t now, rqci_job *job);
// Applies the first writes of a list as one statement, where they are puts or adds of new rows of
// one entity: that takes half the time, because each statement with triggers and foreign keys has a
// journal of its own. *ret_done: how many, 0 when the next one must go by itself. What another
// order of statements would refuse is left to them. When it fails rows_failed is set: the whole job
// must be undone, and done again one by one, to know what is to blame.
rqc_err rqci_sql_apply_rows(rqci_sql *q, const rqci_write *w, size_t n, int64_t now, rqci_job *job,
                            size_t *ret_done);

// ---- References (refs.c) ----
// In the open transaction foreign keys are looked at when it commits.
rqc_err rqci_refs_defer(sqlite3 *db, rqci_errbuf *err);
// True while a row points to one that is not there (as far as SQLite counts).
bool rqci_refs_open(sqlite3 *db);
// When the job is complete: RQC_CONSTRAINT, with job->failed, when a row that it made points to
// nothing; with `open` (a reference was open at some time) any row that it wrote.
rqc_err rqci_refs_check(rqci_sql *q, rqci_job *job, bool open);

// ---- Reading rows (source.c) ----
typedef struct rqci_reader {
    rqci_store *store;
    sqlite3 *db;
    rqci_shape shape;
    bool inside; // between begin and end
    bool within; // the writer's transaction, which is open and whose head is `within_head`
    uint64_t within_head;
    uint64_t within_unmirrored; // rows of it that cannot be mirrored
    sqlite3_stmt *row[RQCI_ENTITY_MAX + 1], *scan[RQCI_ENTITY_MAX + 1];
    sqlite3_stmt *begin, *rollback, *version, *facts, *head, *changes;
    rqci_buf buf;
} rqci_reader;
void rqci_reader_close(rqci_reader *r); // statements, and the connection unless it is the writer's
rqci_source rqci_reader_source(rqci_reader *r);

// ---- The store ----
typedef struct rqci_call { // something to be done on the writer thread for a caller that waits
    rqc_err (*fn)(struct rqci_store *s, void *arg, rqci_errbuf *err);
    void *arg;
    rqci_errbuf *err;
    rqc_err result;
    bool done;
    struct rqci_call *next;
} rqci_call;

struct rqci_store {
    char *path; // canonical
    char *wal_path;
    bool read_only;
    rqci_store *of; // of a read-only one: the owner's, NULL: another process has it
    int busy_ms;
    uint64_t retain_wanted;
    char journal[12]; // journal mode in which the owner found the database
    rqci_log log;
    bool (*prepare)(void *ctx, const rqci_source *source);
    void (*undone)(void *ctx);
    rqc_err (*committed)(void *ctx, uint64_t head, const rqci_source *source, bool prepared);
    void (*seen)(void *ctx, const rqci_source_state *state);
    void *ctx;
    rqci_lock lock;

    // Used by the opening thread until start, then by whoever has the turn, then by the closing
    // thread.
    sqlite3 *db;
    rqci_sql sql;
    rqci_shape shape; // as verified; shape.version is compared at every transaction
    sqlite3_stmt *begin, *commit, *rollback, *savepoint, *release, *rollback_to;
    sqlite3_stmt *version, *data_version, *nonce, *head_stmt, *facts_stmt;
    sqlite3_stmt *key_find, *key_add;
    int64_t seen_data_version;
    int64_t foreign_ms; // when others were last seen to have committed; 0: never
    bool unsynced;      // others committed since the last sync of both files
    bool wal_foreign;   // and since our last commit: wal_frames is not all
    int side_fd;
    rqci_side side;   // as last written
    rqci_facts facts; // as committed; others read it under `mu`
    uint64_t head;    // as last seen here; others read it under `mu`
    uint64_t ckpt_from,
        ckpt_at_ms;        // size of the -wal and time of the last attempt that did not empty it
    _Atomic bool wal_used; // something to checkpoint when idle
    rqci_reader after;     // reads on `db` what was just committed: its pages are in its cache
    uint64_t wal_frames;   // in the -wal after our last commit
    uint64_t frame_bytes;

    pthread_mutex_t mu; // queue, calls, flags, counters
    pthread_cond_t wake, called;
    rqci_job *first, *last;
    rqci_call *calls, *calls_last;
    bool started, closing;
    bool turn_taken;  // somebody uses the connection
    bool ckpt_wanted; // the -wal has grown large
    bool sleeps_long; // the writer thread, until it is woken
    bool ready;       // opened completely
    pthread_t thread;
    uint64_t n_touched, idle_touched; // writes to the -wal; how many when idle_until was set
    struct timespec idle_until;       // the writer thread's: empty the -wal then
    uint64_t n_groups, n_jobs, n_failed, n_checkpoints;

    _Atomic uint64_t durable_head; // everything up to here is on the disk
    _Atomic uint64_t unmirrored;

    rqci_reader reader;
    pthread_mutex_t value_mu;
    sqlite3 *value_db;
    pthread_mutex_t compact_mu;
    uint64_t compact_next; // where the pass stands; 0: a new one begins
};

// ---- History (history.c) ----
// Opens a write transaction in which the capture is whole and the history is the one that we know;
// starts a new term when it is not. *ret_head is the head in it.
rqc_err rqci_history_begin(rqci_store *s, uint64_t *ret_head, rqci_errbuf *err);
// Ends it on the writer thread, outside of a group of jobs: commits at this head, or undoes
// everything when `e` says that something failed.
rqc_err rqci_history_end(rqci_store *s, rqc_err e, uint64_t head, rqci_errbuf *err);
// Before the owner's start, reading only: RQC_NOT_FOUND for an empty database that is not to be
// filled, RQC_INVALID for one of another program, RQC_VERSION, RQC_CORRUPT. Nothing was changed.
rqc_err rqci_history_look(sqlite3 *db, const char *path, bool create, rqci_errbuf *err);
// The same for the owner's start: creates schema and capture where they are missing, decides the
// term, leaves no transaction open.
rqc_err rqci_history_start(rqci_store *s, bool create, rqci_errbuf *err);
// Writes a new nonce, so that a copy made before is not taken for the store. Failures are logged
// only.
void rqci_history_close(rqci_store *s);
// Compares only, in or outside a transaction; *ret_head is set when *ret_ok is true.
rqc_err rqci_history_check(rqci_store *s, bool *ret_ok, uint64_t *ret_head, rqci_errbuf *err);
// Notes that everything up to head is durable.
void rqci_history_reached(rqci_store *s, uint64_t head);

// ---- One transaction (group.c) ----
void rqci_job_clear(rqci_job *job); // no result yet
// By whoever has the turn: does the jobs, linked by `next`, and calls done() of each.
void rqci_group_run(rqci_store *s, rqci_job *first);
// The view is brought to `head`, which is durable.
rqc_err rqci_view_follows(rqci_store *s, uint64_t head, bool prepared);

// ---- Writer (writer.c, checkpoint.c) ----
void *rqci_writer_main(void *store);
// Runs fn on the writer thread and waits. RQC_CLOSED, RQC_READ_ONLY.
rqc_err rqci_writer_call(rqci_store *s, rqc_err (*fn)(rqci_store *s, void *arg, rqci_errbuf *err),
                         void *arg, rqci_errbuf *err);
// Inside a transaction of ours nobody else can commit. True when another connection committed since
// the last call.
bool rqci_foreign_commits(rqci_store *s);
// Our FULL commit made all of the -wal durable. What another connection moved into the database
// file before may not be: this waits for both files when there may be such a thing. Failures are
// logged.
void rqci_sync_foreign(rqci_store *s);
void rqci_wal_touched(rqci_store *s); // there is something in the -wal, from now
// Ends an open transaction of the writer. Needs no memory once rqci_store_rollback_ready has been
// called; where it fails, the next transaction begins with it.
void rqci_store_rollback(rqci_store *s);
rqc_err rqci_store_rollback_ready(rqci_store *s, rqci_errbuf *err);
bool rqci_checkpoint_due(const rqci_store *s); // the -wal has grown large
// Now; false when a reader keeps the -wal from being emptied. With `keep` its file may stay as long
// as it is, to be written over.
bool rqci_checkpoint(rqci_store *s, bool keep);
int rqci_wal_noted(void *store, sqlite3 *db, const char *name, int frames); // sqlite3_wal_hook

#endif

// SPDX-License-Identifier: Apache-2.0
// Is the history of this database the one that we know? Positions are promises: whoever holds one
// may ask what came after it. When that can no longer be answered (another copy of the file, lost
// log rows, changes made while triggers were missing) a new term begins; views are then rebuilt and
// cursors start over.
//
// How the term is decided at the owner's start, with a head that is not below the side file's
// (side.c):
//
//   missing, damaged, written for another path: new
//   `nonce` is the database's: the same, unless `next` is set for a higher term
//   `next` is the database's: the same; a start or a close was cut off after its commit
//   neither is: new
//
// A head below the side file's is a new term too.
//
// While it runs the owner compares nonce and head in every transaction of its own with what it saw
// last.
#include "base/id.h"
#include "persist/internal.h"
#include "persist/schema_sql.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

// One look at the database inside a write transaction, and what follows from it.
typedef struct look {
    bool starting;
    bool fresh;         // captured for the first time
    bool made;          // its tables were made just now
    const char *reason; // why a new term begins, NULL when none does
    uint32_t above;     // the new term is above this
    rqci_facts f;
    uint64_t head;
    rqci_shape shape;
    rqci_capture capture;
} look;

static rqc_err random_id(uint8_t ret_id[16], rqci_errbuf *err)
{
    ssize_t n;
    do
        n = getrandom(ret_id, 16, 0);
    while (n < 0 && errno == EINTR);
    return n == 16 ? RQC_OK : rqci_fail(err, RQC_IO, "the system gives no random numbers");
}

static rqc_err begin(rqci_store *s, rqci_errbuf *err)
{
    const rqc_err e = rqci_store_rollback_ready(s, err);
    if (e)
        return e;
    rqci_store_rollback(s); // the last one could not be undone then
    return rqci_db_step_kept(s->db, "BEGIN IMMEDIATE", &s->begin, err);
}

static rqc_err commit(rqci_store *s, rqci_errbuf *err)
{
    return rqci_db_step_kept(s->db, "COMMIT", &s->commit, err);
}

void rqci_history_reached(rqci_store *s, uint64_t head)
{
    pthread_mutex_lock(&s->mu);
    s->head = head;
    pthread_mutex_unlock(&s->mu);
    atomic_store(&s->durable_head, head);
    rqci_side_head(s->side_fd, head);
}

// ---- Judging ----

static bool is_zero(const uint8_t id[16])
{
    return rqci_id_zero(id);
}

static rqc_err judge_start(rqci_store *s, look *l, rqci_errbuf *err)
{
    rqci_side side;
    const rqc_err e = rqci_side_read(s->path, &side, err);
    if (e && e != RQC_NOT_FOUND)
        return e;
    l->above = l->f.term;
    if (e) {
        l->reason = "its state file is missing or damaged";
        return RQC_OK;
    }
    const bool same_store = memcmp(side.store_id, l->f.store_id, 16) == 0;
    const bool now = memcmp(side.nonce, l->f.nonce, 16) == 0;
    const bool next = !is_zero(side.next) && memcmp(side.next, l->f.nonce, 16) == 0;
    if (same_store && side.term > l->above)
        l->above = side.term;
    if (!same_store || !(now || next))
        l->reason = "it is not the file that was open here last (restored or replaced)";
    else if (!side.same_path)
        l->reason = "it was moved or copied from another place";
    else if (l->head < side.head)
        l->reason = "it is older than the file that was open here last";
    else if (next                 ? side.term != l->f.term
             : is_zero(side.next) ? side.term != l->f.term
                                  : side.term < l->f.term)
        l->reason = "its state file belongs to another term";
    else if (!next && side.term > l->f.term)
        l->reason = "a new term was decided and the start was cut off";
    return RQC_OK;
}

static void judge_running(rqci_store *s, look *l)
{
    l->above = l->f.term;
    const bool same_store = memcmp(s->facts.store_id, l->f.store_id, 16) == 0;
    if (same_store && s->facts.term > l->above)
        l->above = s->facts.term;
    if (!same_store || memcmp(s->facts.nonce, l->f.nonce, 16) != 0)
        l->reason = "another copy of the database was put in its place while it was open";
    else if (l->head < s->head)
        l->reason = "change_log lost its newest rows";
}

static rqc_err judge_capture(rqci_store *s, look *l, rqci_errbuf *err)
{
    const rqc_err e = rqci_capture_read(s->db, &l->shape, &s->log, &l->capture, err);
    if (e || l->fresh || l->reason || l->made)
        return e;
    if (l->capture.signature != l->f.capture)
        l->reason = "tables, unique indexes or capture triggers were changed, and what happened "
                    "meanwhile is unknown";
    else if (l->capture.rebuilt)
        l->reason = "a table was made anew, and what happened meanwhile is unknown";
    return RQC_OK;
}

// ---- Writing ----

// Tables, views and triggers that are neither ours nor SQLite's own.
static rqc_err count_foreign(sqlite3 *db, int64_t *ret_objects, rqci_errbuf *err)
{
    return rqci_db_int(db,
                       "SELECT count(*) FROM sqlite_master WHERE substr(name, 1, 7) <> 'sqlite_'"
                       " AND substr(tbl_name, 1, 8) <> 'reqcast_' AND tbl_name <> 'change_log'",
                       ret_objects, err);
}

// Into a database without tables only: those of an application are never added to.
static rqc_err apply_schema(rqci_store *s, look *l, rqci_errbuf *err)
{
    int64_t objects;
    rqc_err e = count_foreign(s->db, &objects, err);
    if (e || objects > 0)
        return e;
    l->made = true;
    e = rqci_db_exec(s->db, rqci_schema_sql, err);
    return e ? e : rqci_shape_read(s->db, &s->log, &l->shape, err);
}

// The marker takes the seq that rows without a log row count as changed at; it also keeps an empty
// log from giving a position twice.
static rqc_err add_marker(rqci_store *s, look *l, rqci_errbuf *err)
{
    const rqc_err e = rqci_db_exec(s->db, "INSERT INTO change_log (entity, op) VALUES (0, 0)", err);
    return e ? e : rqci_head_read(s->db, &s->head_stmt, 0, &l->head, err);
}

static rqc_err first_facts(rqci_store *s, look *l, rqci_errbuf *err)
{
    memset(&l->f, 0, sizeof l->f);
    l->f.term = 1;
    l->f.retain = s->retain_wanted;
    memcpy(l->f.journal, s->journal, sizeof l->f.journal);
    rqc_err e = rqci_facts_tables(s->db, err);
    if (!e)
        e = random_id(l->f.store_id, err);
    if (!e)
        e = add_marker(s, l, err);
    l->f.baseline = l->head;
    l->f.forked_at = l->head;
    return e;
}

static rqc_err read_facts(rqci_store *s, look *l, bool create, rqci_errbuf *err)
{
    rqci_db_finalize(&s->facts_stmt);
    rqci_db_finalize(&s->head_stmt);
    rqc_err e = rqci_facts_read(s->db, &s->facts_stmt, &l->f, err);
    l->fresh = e == RQC_NOT_FOUND;
    if ((!e || l->fresh) && create) {
        const rqc_err made = apply_schema(s, l, err);
        e = made ? made : e;
    }
    if (l->fresh)
        return e == RQC_NOT_FOUND ? first_facts(s, l, err) : e;
    if (!e)
        e = rqci_migrate(s->db, l->f.format, err);
    if (!e)
        e = rqci_facts_tables(s->db, err); // change_log alone may have been dropped
    uint64_t rows = 0;
    if (!e)
        e = rqci_head_read(s->db, &s->head_stmt, 0, &rows, err);
    l->head = rows;
    if (!e && rows == 0)
        e = add_marker(s, l, err);
    if (e)
        return e;
    if (!l->starting)
        judge_running(s, l);
    else
        e = judge_start(s, l, err);
    if (!e && !l->reason && rows == 0)
        l->reason = "change_log lost its rows";
    return e;
}

// Writes a new nonce: first beside the database, then in it. See rqci_side for what a crash leaves.
static rqc_err write_facts(rqci_store *s, rqci_facts *f, uint64_t head, bool fresh,
                           rqci_errbuf *err)
{
    rqci_side side = {.term = f->term, .head = head};
    memcpy(side.store_id, f->store_id, 16);
    if (!fresh)
        memcpy(side.nonce, f->nonce, 16);
    // The side file is durable before our commit is: it must not tell of what another program
    // committed without waiting for the disk, or a power cut makes the database look older.
    rqc_err e = RQC_OK;
    if (head > atomic_load(&s->durable_head))
        e = rqci_db_sync(s->db, err);
    if (!e)
        e = random_id(f->nonce, err);
    if (e)
        return e;
    memcpy(side.next, f->nonce, 16);
    e = rqci_side_write(s->path, &side, &s->side_fd, err);
    return e ? e : rqci_facts_write(s->db, f, err);
}

// After the commit of what write_facts wrote.
static rqc_err settle(rqci_store *s, const rqci_facts *f, uint64_t head, rqci_errbuf *err)
{
    rqci_side side = {.term = f->term, .head = head};
    memcpy(side.store_id, f->store_id, 16);
    memcpy(side.nonce, f->nonce, 16);
    return rqci_side_write(s->path, &side, &s->side_fd, err);
}

static rqc_err write_look(rqci_store *s, look *l, rqci_errbuf *err)
{
    rqc_err e = RQC_OK;
    if (l->reason) {
        if (l->above == UINT32_MAX)
            return rqci_fail(err, RQC_VERSION, "no further term is possible");
        l->f.term = l->above + 1;
        l->f.forked_at = l->head;
    }
    if (!l->capture.complete || l->capture.rebuilt) {
        e = rqci_capture_install(s->db, &l->shape, err);
        if (!e)
            e = rqci_capture_read(s->db, &l->shape, NULL, &l->capture, err);
        if (!e && (!l->capture.complete || l->capture.rebuilt))
            e = rqci_fail(err, RQC_INTERNAL, "the capture triggers are not as they were made");
    }
    l->f.capture = l->capture.signature;
    if (!e && (l->reason || l->fresh))
        e = rqci_facts_add_term(s->db, &l->f, l->reason ? l->reason : "the first", err);
    return e ? e : write_facts(s, &l->f, l->head, l->fresh, err);
}

static void adopt(rqci_store *s, const look *l)
{
    rqci_sql_clear(&s->sql);
    s->shape = l->shape;
    s->sql.db = s->db;
    s->sql.shape = &s->shape;
    pthread_mutex_lock(&s->mu);
    s->facts = l->f;
    pthread_mutex_unlock(&s->mu);
}

// Inside a write transaction; leaves it open on failure only.
static rqc_err attend(rqci_store *s, bool starting, bool create, rqci_errbuf *err)
{
    look l;
    memset(&l, 0, sizeof l);
    l.starting = starting;
    rqc_err e = rqci_shape_read(s->db, &s->log, &l.shape, err);
    if (!e)
        e = read_facts(s, &l, create, err);
    if (!e)
        e = judge_capture(s, &l, err);
    const bool write = starting || l.fresh || l.reason || !l.capture.complete;
    if (!e && write)
        e = write_look(s, &l, err);
    if (!e) // as it is after our own statements
        e = rqci_db_int(s->db, "PRAGMA schema_version", &l.shape.version, err);
    if (!e)
        e = commit(s, err);
    if (!e && l.head > atomic_load(&s->durable_head)) // a commit that wrote nothing syncs nothing
        e = rqci_db_sync(s->db, err);
    if (e)
        return e;
    adopt(s, &l);
    rqci_history_reached(s, l.head);
    if (l.fresh)
        rqci_logf(&s->log, RQCI_INFO, "%s: changes are captured from now on", s->path);
    else if (l.reason)
        rqci_logf(&s->log, RQCI_WARN, "%s: term %u begins at position %llu: %s", s->path,
                  (unsigned)l.f.term, (unsigned long long)l.f.forked_at, l.reason);
    return write ? settle(s, &l.f, l.head, err) : RQC_OK;
}

rqc_err rqci_history_look(sqlite3 *db, const char *path, bool create, rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    rqci_facts f;
    rqc_err e = rqci_facts_read(db, &st, &f, err);
    sqlite3_finalize(st);
    if (e != RQC_NOT_FOUND)
        return e;
    rqci_shape shape;
    int64_t objects;
    e = rqci_shape_read(db, NULL, &shape, err);
    if (e)
        return e;
    for (unsigned code = 1; code <= RQCI_ENTITY_MAX; code++) {
        if (shape.t[code].there)
            return RQC_OK;
    }
    e = count_foreign(db, &objects, err);
    if (e || (objects == 0 && create))
        return e;
    if (objects == 0)
        return rqci_fail(err, RQC_NOT_FOUND, "%s is empty: it has no tables yet", path);
    return rqci_fail(err, RQC_INVALID,
                     "%s is another program's database: it has tables, but none that hold "
                     "records; nothing was changed",
                     path);
}

rqc_err rqci_history_start(rqci_store *s, bool create, rqci_errbuf *err)
{
    rqc_err e = begin(s, err);
    if (e)
        return e;
    e = attend(s, true, create, err);
    if (e)
        rqci_store_rollback(s);
    return e;
}

// ---- While running ----

rqc_err rqci_history_check(rqci_store *s, bool *ret_ok, uint64_t *ret_head, rqci_errbuf *err)
{
    int64_t version;
    *ret_ok = false;
    rqc_err e = rqci_db_int_kept(s->db, "PRAGMA schema_version", &s->version, &version, err);
    if (e || version != s->shape.version)
        return e;
    if (!s->nonce) {
        e = rqci_db_prepare(s->db, "SELECT value FROM reqcast_meta WHERE key = 'nonce'", true,
                            &s->nonce, err);
        if (e)
            return e;
    }
    const int rc = sqlite3_step(s->nonce);
    const bool same = rc == SQLITE_ROW && sqlite3_column_bytes(s->nonce, 0) == 16 &&
                      memcmp(sqlite3_column_blob(s->nonce, 0), s->facts.nonce, 16) == 0;
    sqlite3_reset(s->nonce);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return rqci_sqlite_err(s->db, rc, "reqcast_meta", err);
    uint64_t head;
    e = rqci_head_read(s->db, &s->head_stmt, 0, &head, err);
    if (e)
        return e;
    *ret_ok = same && head >= s->head;
    *ret_head = head;
    return RQC_OK;
}

rqc_err rqci_history_begin(rqci_store *s, uint64_t *ret_head, rqci_errbuf *err)
{
    for (int tries = 0; tries < 3; tries++) {
        rqc_err e = begin(s, err);
        if (e)
            return e;
        bool ok;
        e = rqci_history_check(s, &ok, ret_head, err);
        if (!e && ok)
            return RQC_OK;
        if (!e)
            e = attend(s, false, false, err);
        if (e) {
            rqci_store_rollback(s);
            return e;
        }
    }
    return rqci_fail(err, RQC_UNAVAILABLE, "the schema of the database keeps changing");
}

rqc_err rqci_history_end(rqci_store *s, rqc_err e, uint64_t head, rqci_errbuf *err)
{
    (void)rqci_foreign_commits(s);
    if (!e)
        e = rqci_db_exec(s->db, "COMMIT", err);
    if (e) {
        rqci_store_rollback(s);
        return e;
    }
    rqci_sync_foreign(s);
    rqci_wal_touched(s);
    rqci_history_reached(s, head);
    return RQC_OK;
}

void rqci_history_close(rqci_store *s)
{
    rqci_errbuf err = {{0}};
    uint64_t head;
    rqc_err e = rqci_history_begin(s, &head, &err);
    if (!e) {
        rqci_facts f = s->facts;
        e = write_facts(s, &f, head, false, &err);
        if (!e)
            e = commit(s, &err);
        if (!e)
            e = settle(s, &f, head, &err);
    }
    if (e) {
        rqci_store_rollback(s);
        rqci_logf(&s->log, RQCI_WARN, "%s: the state file could not be renewed: %s", s->path,
                  err.text);
    }
}

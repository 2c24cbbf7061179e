// SPDX-License-Identifier: Apache-2.0
// A backup takes the database's place. It is copied beside it and looked at first; the old file
// keeps a name. In the copy the nonce is another one and the term the highest known, so that the
// owner's next start begins a new one (history.c).
#include "persist/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEPT_MAX 1000

typedef struct job {
    char *path, *from;
    bool there; // the database that is replaced
    rqci_lock lock;
    rqci_newfile f;
    sqlite3 *old; // holds everybody off until the new file is there
    rqci_facts known;
    bool known_old; // facts of the file that is replaced
    rqci_copied out;
} job;

static rqc_err first_text(sqlite3 *db, const char *sql, char *ret_text, size_t size,
                          rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    const char *text = NULL;
    rqc_err e = rqci_db_prepare(db, sql, false, &st, err);
    if (e)
        return e;
    const int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        e = rqci_db_text(st, 0, &text, err);
    else if (rc != SQLITE_DONE)
        e = rqci_sqlite_err(db, rc, "database", err);
    snprintf(ret_text, size, "%s", text ? text : "");
    sqlite3_finalize(st);
    return e;
}

// ---- The copy ----

static rqc_err copy(job *r, const rqci_progress *p, rqci_errbuf *err)
{
    sqlite3 *db = NULL;
    bool wal = true, journal = true;
    rqc_err e = rqci_db_open_look(r->from, &db, err);
    // On a medium that cannot be written SQLite has no place for its lock; nobody writes there.
    if (e && e != RQC_CORRUPT && e != RQC_BUSY && !rqci_file_beside(r->from, "-wal", &wal, NULL) &&
        !rqci_file_beside(r->from, "-journal", &journal, NULL) && !wal && !journal)
        e = rqci_db_open(r->from, RQCI_DB_IMMUTABLE, 0, &db, err);
    if (!e)
        e = rqci_db_exec(db, "BEGIN; SELECT count(*) FROM sqlite_master", err);
    if (!e)
        e = rqci_copy_db(db, r->f.temp, p, &r->out.bytes, err);
    sqlite3_close_v2(db);
    return e;
}

static rqc_err check_tables(sqlite3 *db, const char *from, rqci_errbuf *err)
{
    rqci_shape shape;
    rqc_err e = rqci_shape_read(db, NULL, &shape, err);
    bool any = false, log = false;
    for (unsigned code = 1; !e && code <= RQCI_ENTITY_MAX; code++)
        any = any || shape.t[code].there;
    if (!e)
        e = rqci_db_has_table(db, "change_log", &log, err);
    if (!e && (!any || !log))
        e = rqci_fail(err, RQC_INVALID, "%s is no database of records", from);
    return e;
}

static rqc_err check_copy(job *r, sqlite3 *db, const rqci_progress *p, rqci_facts *ret_facts,
                          rqci_errbuf *err)
{
    char text[256];
    sqlite3_stmt *facts = NULL, *head = NULL;
    rqc_err e = rqci_facts_read(db, &facts, ret_facts, err);
    if (e == RQC_NOT_FOUND)
        e = rqci_fail(err, RQC_INVALID,
                      "%s is no backup of a database: it has no capture of changes", r->from);
    if (!e)
        e = check_tables(db, r->from, err);
    if (!e)
        e = rqci_head_read(db, &head, ret_facts->baseline, &r->out.at.seq, err);
    sqlite3_finalize(facts);
    sqlite3_finalize(head);
    if (e)
        return e;
    if (p->fn)
        p->fn(p->ctx, "checking", 0, 0);
    e = first_text(db, "PRAGMA integrity_check(1)", text, sizeof text, err);
    if (!e)
        e = rqci_integrity_fault(text, r->from, err);
    if (!e && strcmp(text, "ok") != 0)
        e = rqci_fail(err, RQC_CORRUPT, "%s is damaged: %s", r->from, text);
    return e;
}

// In one file, so that the rename takes all of it.
static rqc_err single_file(sqlite3 *db, rqci_errbuf *err)
{
    char mode[12];
    rqc_err e = rqci_db_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", err);
    if (e)
        return e;
    e = rqci_db_mode(db, "DELETE", mode, err);
    return e ? e
           : strcmp(mode, "delete") == 0
               ? RQC_OK
               : rqci_fail(err, RQC_BUSY, "the write-ahead log is in use");
}

static rqc_err stamp(job *r, sqlite3 *db, rqci_facts *f, rqci_errbuf *err)
{
    rqci_side side;
    const rqc_err known = rqci_side_read(r->path, &side, err);
    if (known && known != RQC_NOT_FOUND)
        return known;
    if (!known && memcmp(side.store_id, f->store_id, 16) == 0 && side.term > f->term)
        f->term = side.term;
    if (r->known_old && memcmp(r->known.store_id, f->store_id, 16) == 0 && r->known.term > f->term)
        f->term = r->known.term;
    if (getrandom(f->nonce, 16, 0) != 16)
        return rqci_fail(err, RQC_IO, "the system gives no random numbers");
    rqc_err e = rqci_db_exec(db, "BEGIN IMMEDIATE", err);
    if (!e)
        e = rqci_migrate(db, f->format, err);
    if (!e)
        e = rqci_facts_write(db, f, err);
    if (!e)
        e = rqci_db_exec(db, "COMMIT", err);
    memcpy(r->out.at.store_id, f->store_id, 16);
    r->out.at.term = f->term;
    return e;
}

// Complete, sound and of ours. What is written into it later is written into `db`.
static rqc_err prepare_copy(job *r, const rqci_progress *p, sqlite3 **ret_db, rqci_facts *ret_facts,
                            rqci_errbuf *err)
{
    rqc_err e = copy(r, p, err);
    if (!e)
        e = rqci_db_open(r->f.temp, RQCI_DB_WRITE, 0, ret_db, err);
    if (!e)
        e = single_file(*ret_db, err);
    return e ? e : check_copy(r, *ret_db, p, ret_facts, err);
}

// ---- The old file ----

// Folds its log into it and keeps others away. One that SQLite cannot read is kept as it is.
static rqc_err hold_old(job *r, rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    rqci_errbuf why = {{0}};
    rqc_err e = rqci_db_open(r->path, RQCI_DB_WRITE, 0, &r->old, &why);
    if (!e) {
        // Its term counts: without it one could be given twice.
        e = rqci_facts_read(r->old, &st, &r->known, &why);
        r->known_old = !e;
        sqlite3_finalize(st);
        if (!e || e == RQC_NOT_FOUND || e == RQC_CORRUPT || e == RQC_VERSION)
            e = single_file(r->old, &why);
    }
    if (!e)
        e = rqci_db_exec(r->old, "BEGIN EXCLUSIVE", &why);
    if (e == RQC_BUSY)
        return rqci_fail(err, RQC_BUSY, "%s is open in another program; nothing was changed",
                         r->path);
    if (e == RQC_CORRUPT) {
        sqlite3_close_v2(r->old);
        r->old = NULL;
        return RQC_OK;
    }
    return e ? rqci_fail(err, e, "%s", why.text) : RQC_OK;
}

// A second name for it, so that there is a database at any time.
static rqc_err keep_old(job *r, rqci_errbuf *err)
{
    const size_t size = strlen(r->path) + 32;
    char *name = malloc(size);
    if (!name)
        return RQC_NO_MEMORY;
    int rc = -1;
    for (int i = 1; i < KEPT_MAX && rc != 0; i++) {
        if (i == 1)
            snprintf(name, size, "%s.before-restore", r->path);
        else
            snprintf(name, size, "%s.before-restore-%d", r->path, i);
        rc = link(r->path, name);
        if (rc != 0 && errno != EEXIST)
            break;
        if (rc != 0 && rqci_same_file(r->path, name)) // a restore was cut off here
            rc = 0;
    }
    if (rc != 0) {
        const rqc_err e = rqci_file_failed(name, err);
        free(name);
        return e;
    }
    snprintf(r->out.kept, sizeof r->out.kept, "%s", name);
    free(name);
    return rqci_dir_sync(r->path, err);
}

// What is left beside a file that SQLite could not read, or that is gone, must not be taken for the
// new file's.
static rqc_err clear_companion(job *r, const char *suffix, rqci_errbuf *err)
{
    char *old = NULL, *kept = NULL;
    rqc_err e = RQC_NO_MEMORY;
    if (asprintf(&old, "%s%s", r->path, suffix) < 0)
        old = NULL;
    if (old && asprintf(&kept, "%s%s", r->out.kept[0] ? r->out.kept : r->path,
                        r->out.kept[0] ? suffix : ".before-restore-log") < 0)
        kept = NULL;
    if (old && kept) {
        const int rc = strcmp(suffix, "-shm") == 0 ? unlink(old) : rename(old, kept);
        e = rc == 0 || errno == ENOENT ? RQC_OK : rqci_file_failed(old, err);
    }
    free(old);
    free(kept);
    return e;
}

static rqc_err replace(job *r, rqci_errbuf *err)
{
    static const char *const companions[] = {"-wal", "-shm", "-journal"};
    struct stat st = {.st_mode = 0600};
    (void)stat(r->there ? r->path : r->from, &st);
    // A backup is often kept where it cannot be written.
    rqc_err e = rqci_newfile_sync(&r->f, st.st_mode | S_IRUSR | S_IWUSR, err);
    if (!e && r->there)
        e = keep_old(r, err);
    for (size_t i = 0; !e && !r->old && i < 3; i++)
        e = clear_companion(r, companions[i], err);
    if (!e)
        e = rqci_newfile_place(&r->f, true, err);
    if (e && r->out.kept[0] && !r->f.placed)
        (void)unlink(r->out.kept);
    return e;
}

static void release_old(job *r)
{
    if (r->old && !r->f.placed) {
        (void)rqci_db_exec(r->old, "ROLLBACK", NULL);
        (void)rqci_db_wal(r->old, NULL, NULL);
    }
    sqlite3_close_v2(r->old);
}

// ----

static rqc_err begin(job *r, const char *path, const char *from, rqci_errbuf *err)
{
    bool from_there = false;
    rqc_err e = rqci_path_canonical(from, false, &r->from, &from_there, err);
    if (!e)
        e = rqci_path_canonical(path, true, &r->path, &r->there, err);
    if (!e && rqci_same_file(r->path, r->from))
        e = rqci_fail(err, RQC_INVALID, "%s is the database itself", from);
    if (!e)
        e = rqci_check_file(r->from, NULL, err);
    if (!e && r->there)
        e = rqci_check_file(r->path, NULL, err);
    if (!e)
        e = rqci_lock_take(r->path, &r->lock, err);
    return e;
}

rqc_err rqci_store_restore(const char *path, const char *from, const rqci_progress *p,
                           rqci_copied *ret_copied, rqci_errbuf *err)
{
    job *r = calloc(1, sizeof *r);
    if (!r)
        return RQC_NO_MEMORY;
    r->lock.fd = r->f.fd = -1;
    sqlite3 *db = NULL;
    rqci_facts facts;
    rqc_err e = begin(r, path, from, err);
    if (!e)
        e = rqci_newfile_begin(r->path, &r->f, err);
    if (!e)
        e = prepare_copy(r, p, &db, &facts, err);
    if (!e && r->there)
        e = hold_old(r, err);
    if (!e)
        e = stamp(r, db, &facts, err);
    sqlite3_close_v2(db);
    if (!e)
        e = replace(r, err);
    release_old(r);
    rqci_newfile_end(&r->f);
    rqci_lock_release(&r->lock);
    if (!e)
        *ret_copied = r->out;
    free(r->path);
    free(r->from);
    free(r);
    return e;
}

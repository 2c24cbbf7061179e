// SPDX-License-Identifier: Apache-2.0
// Copies of the database while others write. One read transaction holds still what is copied; in
// WAL mode no writer waits for it.
#include "persist/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define STEP_PAGES 1024

static rqc_err copy_into(sqlite3 *from, sqlite3 *to, const rqci_progress *p, uint64_t *ret_bytes,
                         rqci_errbuf *err)
{
    sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
    if (!b)
        return rqci_sqlite_err(to, sqlite3_errcode(to), "copy", err);
    int rc;
    do {
        rc = sqlite3_backup_step(b, STEP_PAGES);
        const int all = sqlite3_backup_pagecount(b);
        if (p->fn && all > 0)
            p->fn(p->ctx, "copying", (uint64_t)(all - sqlite3_backup_remaining(b)), (uint64_t)all);
    } while (rc == SQLITE_OK);
    const int pages = sqlite3_backup_pagecount(b);
    const int end = sqlite3_backup_finish(b);
    rc = rc == SQLITE_DONE ? end : rc;
    if (rc != SQLITE_OK && rc != SQLITE_DONE)
        return rqci_sqlite_err(to, rc, "copy", err);
    int64_t size = 0;
    const rqc_err e = rqci_db_int(to, "PRAGMA page_size", &size, err);
    *ret_bytes = (uint64_t)pages * (uint64_t)size;
    return e;
}

rqc_err rqci_copy_db(sqlite3 *from, const char *temp, const rqci_progress *p, uint64_t *ret_bytes,
                     rqci_errbuf *err)
{
    sqlite3 *to = NULL;
    rqc_err e = rqci_db_open(temp, RQCI_DB_WRITE, 0, &to, err);
    // Nobody looks at it, and it is synced as a whole.
    if (!e)
        e = rqci_db_exec(to, "PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY", err);
    if (!e)
        e = copy_into(from, to, p, ret_bytes, err);
    sqlite3_close_v2(to);
    return e ? rqci_fail_within(err, e, "%s", temp) : RQC_OK;
}

bool rqci_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static rqc_err check_target(const char *db_path, const char *path, bool there, bool replace,
                            rqci_errbuf *err)
{
    if (rqci_same_file(db_path, path))
        return rqci_fail(err, RQC_INVALID, "%s is the database itself", path);
    if (there && !replace)
        return rqci_fail(err, RQC_INVALID, "%s is there already", path);
    // SQLite would take them for the copy's own.
    bool wal = false, journal = false;
    rqc_err e = rqci_file_beside(path, "-wal", &wal, err);
    if (!e)
        e = rqci_file_beside(path, "-journal", &journal, err);
    if (!e && (wal || journal))
        e = rqci_fail(err, RQC_INVALID,
                      "%s-wal or %s-journal is there: a database of this name is in use, or was "
                      "not closed",
                      path, path);
    return e;
}

static rqc_err pinned(sqlite3 *db, rqci_copied *out, rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL, *head = NULL;
    rqci_facts f;
    rqc_err e = rqci_db_exec(db, "BEGIN", err);
    if (!e)
        e = rqci_facts_read(db, &st, &f, err);
    if (!e)
        e = rqci_head_read(db, &head, f.baseline, &out->at.seq, err);
    sqlite3_finalize(st);
    sqlite3_finalize(head);
    if (e)
        return e;
    memcpy(out->at.store_id, f.store_id, 16);
    out->at.term = f.term;
    return RQC_OK;
}

rqc_err rqci_store_backup(const char *db_path, bool read_only, const char *path, bool replace,
                          const rqci_progress *p, rqci_copied *ret_copied, rqci_errbuf *err)
{
    char *real = NULL;
    bool there = false;
    struct stat st = {.st_mode = 0600};
    sqlite3 *db = NULL;
    rqci_copied out;
    memset(&out, 0, sizeof out);
    rqci_newfile f = {.fd = -1};
    rqc_err e = rqci_path_canonical(path, true, &real, &there, err);
    if (!e)
        e = check_target(db_path, real, there, replace, err);
    if (!e)
        e = rqci_newfile_begin(real, &f, err);
    if (!e)
        e = rqci_db_open(db_path, read_only ? RQCI_DB_READ_ONLY : 0, RQCI_BUSY_MS_DEFAULT, &db,
                         err);
    if (!e)
        e = pinned(db, &out, err);
    if (!e)
        e = rqci_copy_db(db, f.temp, p, &out.bytes, err);
    sqlite3_close_v2(db);
    if (!e && stat(db_path, &st) == 0)
        e = rqci_newfile_sync(&f, st.st_mode, err);
    if (!e)
        e = rqci_newfile_place(&f, replace, err);
    rqci_newfile_end(&f);
    free(real);
    if (!e)
        *ret_copied = out;
    return e;
}

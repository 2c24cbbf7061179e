// SPDX-License-Identifier: Apache-2.0
#include "persist/internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// SQLITE_OPEN_NOFOLLOW: the path is the one that realpath gave and that we locked; a link put there
// since is refused. The other way, O_NOFOLLOW on a descriptor of our own, is closed: closing it
// would drop the POSIX locks of every connection in the process. NOMUTEX, because each connection
// has one user at a time by construction. Names that begin with "file:" cannot come in, for a
// canonical path begins with a slash.
static int open_flags(unsigned flags)
{
    int f = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_PRIVATECACHE;
    if (flags & RQCI_DB_IMMUTABLE)
        return f | SQLITE_OPEN_READONLY | SQLITE_OPEN_URI;
    if (flags & RQCI_DB_READ_ONLY)
        return f | SQLITE_OPEN_READONLY;
    f |= SQLITE_OPEN_READWRITE;
    return flags & RQCI_DB_CREATE ? f | SQLITE_OPEN_CREATE : f;
}

static char *immutable_uri(const char *path)
{
    sqlite3_str *s = sqlite3_str_new(NULL);
    sqlite3_str_appendall(s, "file:");
    for (const char *c = path; *c; c++) {
        if (*c == '%' || *c == '?' || *c == '#')
            sqlite3_str_appendf(s, "%%%02X", (unsigned)*c);
        else
            sqlite3_str_append(s, c, 1);
    }
    sqlite3_str_appendall(s, "?immutable=1");
    return sqlite3_str_finish(s);
}

rqc_err rqci_db_mode(sqlite3 *db, const char *wanted, char ret_mode[12], rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    char sql[48];
    snprintf(sql, sizeof sql, "PRAGMA journal_mode%s%.12s", wanted ? " = " : "",
             wanted ? wanted : "");
    rqc_err e = rqci_db_prepare(db, sql, false, &st, err);
    if (e)
        return e;
    const int rc = sqlite3_step(st);
    const char *mode = NULL;
    e = rc == SQLITE_ROW ? rqci_db_text(st, 0, &mode, err) : rqci_sqlite_err(db, rc, sql, err);
    snprintf(ret_mode, 12, "%s", mode ? mode : "");
    // The row comes before the change is committed.
    const int end = sqlite3_finalize(st);
    return e ? e : rqci_sqlite_err(db, end, sql, err);
}

rqc_err rqci_db_wal(sqlite3 *db, char ret_before[12], rqci_errbuf *err)
{
    char mode[12] = "";
    rqc_err e = ret_before ? rqci_db_mode(db, NULL, ret_before, err) : RQC_OK;
    if (!e)
        e = rqci_db_mode(db, "WAL", mode, err);
    if (!e && strcmp(mode, "wal") != 0)
        e = rqci_fail(err, RQC_IO,
                      "the database cannot use a write-ahead log here (journal mode %s)", mode);
    return e;
}

// Foreign schemas are not trusted: no functions of theirs with side effects, no shadow tables
// written, cells checked.
static rqc_err configure(sqlite3 *db, unsigned flags, int busy_ms, rqci_errbuf *err)
{
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, busy_ms);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    rqc_err e = rqci_db_exec(
        db,
        "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;"
        "PRAGMA recursive_triggers = OFF; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL;"
        "PRAGMA wal_autocheckpoint = 0;",
        err);
    int64_t version;
    if (!e)
        e = rqci_db_int(db, "PRAGMA schema_version", &version, err);
    if (!e)
        e = rqci_db_exec(db,
                         flags & RQCI_DB_WRITE ? "PRAGMA cache_size = -16384"
                                               : "PRAGMA query_only = ON",
                         err);
    return e;
}

rqc_err rqci_db_open(const char *path, unsigned flags, int busy_ms, sqlite3 **ret_db,
                     rqci_errbuf *err)
{
    sqlite3 *db = NULL;
    // SQLite opens for reading what it may not write, and leaves files beside it.
    const bool reads = flags & (RQCI_DB_READ_ONLY | RQCI_DB_IMMUTABLE);
    const rqc_err allowed = rqci_file_allowed(path, reads ? R_OK : R_OK | W_OK, err);
    if (allowed != RQC_OK)
        return allowed;
    char *uri = flags & RQCI_DB_IMMUTABLE ? immutable_uri(path) : NULL;
    if ((flags & RQCI_DB_IMMUTABLE) && !uri)
        return RQC_NO_MEMORY;
    const int rc = sqlite3_open_v2(uri ? uri : path, &db, open_flags(flags), NULL);
    sqlite3_free(uri);
    rqc_err e = rqci_sqlite_err(db, rc, "open", err);
    // The records hold credentials: not for everybody. Before there is anything in it, and -wal and
    // -shm take after it.
    struct stat st;
    if (!e && (flags & RQCI_DB_CREATE) && stat(path, &st) == 0 && st.st_size == 0)
        (void)chmod(path, st.st_mode & 0660);
    if (!e)
        e = configure(db, flags, busy_ms, err);
    if (e) {
        sqlite3_close_v2(db);
        return rqci_fail_within(err, e, "%s", path);
    }
    *ret_db = db;
    return RQC_OK;
}

rqc_err rqci_db_open_look(const char *path, sqlite3 **ret_db, rqci_errbuf *err)
{
    bool shm = false;
    unsigned flags = 0;
    if (rqci_file_allowed(path, R_OK | W_OK, NULL) != RQC_OK &&
        rqci_file_beside(path, "-shm", &shm, NULL) == RQC_OK &&
        (shm || !rqci_folder_allowed(path, W_OK)))
        flags = RQCI_DB_READ_ONLY;
    return rqci_db_open(path, flags, RQCI_BUSY_MS_DEFAULT, ret_db, err);
}

rqc_err rqci_db_exec(sqlite3 *db, const char *sql, rqci_errbuf *err)
{
    const int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        return RQC_OK;
    return rqci_sqlite_err(db, rc, "database", err);
}

rqc_err rqci_db_prepare(sqlite3 *db, const char *sql, bool keep, sqlite3_stmt **ret_stmt,
                        rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    const int rc = sqlite3_prepare_v3(db, sql, -1, keep ? SQLITE_PREPARE_PERSISTENT : 0, &st, NULL);
    if (rc != SQLITE_OK)
        return rqci_sqlite_err(db, rc, "database", err);
    *ret_stmt = st;
    return RQC_OK;
}

void rqci_db_finalize(sqlite3_stmt **stmt)
{
    sqlite3_finalize(*stmt);
    *stmt = NULL;
}

rqc_err rqci_db_int_kept(sqlite3 *db, const char *sql, sqlite3_stmt **stmt, int64_t *ret_value,
                         rqci_errbuf *err)
{
    if (!*stmt) {
        const rqc_err e = rqci_db_prepare(db, sql, true, stmt, err);
        if (e)
            return e;
    }
    const int rc = sqlite3_step(*stmt);
    rqc_err e = RQC_NOT_FOUND;
    if (rc == SQLITE_ROW && sqlite3_column_type(*stmt, 0) != SQLITE_NULL) {
        *ret_value = sqlite3_column_int64(*stmt, 0);
        e = RQC_OK;
    } else if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        e = rqci_sqlite_err(db, rc, "database", err);
    }
    sqlite3_reset(*stmt);
    return e;
}

rqc_err rqci_db_step_kept(sqlite3 *db, const char *sql, sqlite3_stmt **stmt, rqci_errbuf *err)
{
    if (!*stmt) {
        const rqc_err e = rqci_db_prepare(db, sql, true, stmt, err);
        if (e)
            return e;
    }
    const int rc = sqlite3_step(*stmt);
    const rqc_err e = rc == SQLITE_DONE ? RQC_OK : rqci_sqlite_err(db, rc, sql, err);
    sqlite3_reset(*stmt);
    return e;
}

rqc_err rqci_db_int(sqlite3 *db, const char *sql, int64_t *ret_value, rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    const rqc_err e = rqci_db_int_kept(db, sql, &st, ret_value, err);
    sqlite3_finalize(st);
    return e;
}

static rqc_err sync_file(sqlite3 *db, int op, rqci_errbuf *err)
{
    sqlite3_file *f = NULL;
    int rc = sqlite3_file_control(db, "main", op, &f);
    if (rc == SQLITE_OK && f && f->pMethods)
        rc = f->pMethods->xSync(f, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
    return rc == SQLITE_OK ? RQC_OK : rqci_sqlite_err(NULL, rc, "sync", err);
}

// Through SQLite's own descriptors, see open_flags. The database file too: a connection with
// synchronous=OFF may have checkpointed its commits into it without waiting for the disk.
rqc_err rqci_db_sync(sqlite3 *db, rqci_errbuf *err)
{
    const rqc_err e = sync_file(db, SQLITE_FCNTL_JOURNAL_POINTER, err);
    return e ? e : sync_file(db, SQLITE_FCNTL_FILE_POINTER, err);
}

rqc_err rqci_db_bind_text(sqlite3_stmt *st, int at, const char *text, rqci_errbuf *err)
{
    const int rc = sqlite3_bind_text(st, at, text, -1, SQLITE_STATIC);
    return rc == SQLITE_OK ? RQC_OK : rqci_sqlite_err(sqlite3_db_handle(st), rc, "database", err);
}

rqc_err rqci_db_text(sqlite3_stmt *st, int column, const char **ret_text, rqci_errbuf *err)
{
    const char *text = (const char *)sqlite3_column_text(st, column);
    if (!text && sqlite3_column_type(st, column) != SQLITE_NULL)
        return rqci_sqlite_err(sqlite3_db_handle(st), SQLITE_NOMEM, "database", err);
    *ret_text = text;
    return RQC_OK;
}

rqc_err rqci_db_has_table(sqlite3 *db, const char *name, bool *ret_there, rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    rqc_err e = rqci_db_prepare(
        db, "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1 COLLATE NOCASE", false,
        &st, err);
    if (!e)
        e = rqci_db_bind_text(st, 1, name, err);
    if (!e) {
        const int rc = sqlite3_step(st);
        *ret_there = rc == SQLITE_ROW;
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
            e = rqci_sqlite_err(db, rc, "sqlite_master", err);
    }
    sqlite3_finalize(st);
    return e;
}

// SPDX-License-Identifier: Apache-2.0
#include "persist/sqlite_dep.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

// A full quota or a file at its size limit is a full disk to whoever reads the message.
static bool lacks_room(int system_errno)
{
    return system_errno == ENOSPC || system_errno == EDQUOT || system_errno == EFBIG;
}

// What the system last said of the database's file, and of the -wal.
static void files_errno(sqlite3 *db, int *ret_main, int *ret_wal)
{
    sqlite3_file *wal = NULL;
    (void)sqlite3_file_control(db, "main", SQLITE_FCNTL_LAST_ERRNO, ret_main);
    if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal) == SQLITE_OK && wal &&
        wal->pMethods)
        (void)wal->pMethods->xFileControl(wal, SQLITE_FCNTL_LAST_ERRNO, ret_wal);
}

// Before 3.42 SQLite does not keep the reason of a commit that failed, but its files do: that of
// the database, and the -wal.
static int errno_of(sqlite3 *db, int rc)
{
    int e = sqlite3_system_errno(db), main_errno = 0, wal_errno = 0;
    if (e != 0 || rc != SQLITE_IOERR_WRITE)
        return e;
    files_errno(db, &main_errno, &wal_errno);
    return lacks_room(wal_errno) ? wal_errno : main_errno;
}

// SQLite takes a file system that cannot read its own blocks for a damaged database. It is not the
// database that is.
static bool unreadable(sqlite3 *db)
{
    int main_errno = 0, wal_errno = 0;
    files_errno(db, &main_errno, &wal_errno);
    return main_errno == EIO || wal_errno == EIO;
}

static rqc_err code_of(int rc, int system_errno)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return RQC_OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return RQC_BUSY;
    case SQLITE_CONSTRAINT: return RQC_CONSTRAINT;
    case SQLITE_TOOBIG: return RQC_TOO_LARGE;
    case SQLITE_FULL: return RQC_NO_SPACE;
    case SQLITE_NOMEM: return RQC_NO_MEMORY;
    case SQLITE_READONLY:
        // The folder lets no -wal and no -shm be made; the file was moved, or cannot be looked at.
        if (rc == SQLITE_READONLY_DIRECTORY || rc == SQLITE_READONLY_CANTINIT ||
            rc == SQLITE_READONLY_DBMOVED)
            return RQC_IO;
        return RQC_READ_ONLY;
    case SQLITE_PERM:
    case SQLITE_AUTH: return RQC_READ_ONLY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT: return RQC_CORRUPT;
    case SQLITE_IOERR:
        if (lacks_room(system_errno))
            return RQC_NO_SPACE;
        return rc == SQLITE_IOERR_NOMEM ? RQC_NO_MEMORY : RQC_IO;
    case SQLITE_CANTOPEN:
    case SQLITE_NOLFS:
    case SQLITE_PROTOCOL: return system_errno == ENOSPC ? RQC_NO_SPACE : RQC_IO;
    default: return RQC_INTERNAL;
    }
}

rqc_err rqci_sqlite_err(sqlite3 *db, int rc, const char *what, rqci_errbuf *err)
{
    const rqc_err code = code_of(rc, db ? errno_of(db, rc) : 0);
    if (code == RQC_OK)
        return RQC_OK;
    if (db && (rc & 0xff) == SQLITE_CORRUPT && unreadable(db))
        return rqci_fail(err, RQC_IO, "%s: %s", what, strerror(EIO));
    // The connection's text is more exact than the code's, but only while it speaks of the same
    // failure.
    const char *text = sqlite3_errstr(rc);
    if (db && (sqlite3_errcode(db) & 0xff) == (rc & 0xff))
        text = sqlite3_errmsg(db);
    return rqci_fail(err, code, "%s: %s", what, text);
}

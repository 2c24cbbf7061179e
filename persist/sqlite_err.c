// SPDX-License-Identifier: Apache-2.0
#include "persist/sqlite_dep.h"

#include <errno.h>

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
    case SQLITE_PERM:
    case SQLITE_AUTH: return RQC_READ_ONLY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT: return RQC_CORRUPT;
    case SQLITE_IOERR:
        // A full quota or a file at its size limit is a full disk to whoever reads the message.
        if (system_errno == ENOSPC || system_errno == EDQUOT || system_errno == EFBIG)
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
    const rqc_err code = code_of(rc, db ? sqlite3_system_errno(db) : 0);
    if (code == RQC_OK)
        return RQC_OK;
    // The connection's text is more exact than the code's, but only while it speaks of the same
    // failure.
    const char *text = sqlite3_errstr(rc);
    if (db && (sqlite3_errcode(db) & 0xff) == (rc & 0xff))
        text = sqlite3_errmsg(db);
    return rqci_fail(err, code, "%s: %s", what, text);
}

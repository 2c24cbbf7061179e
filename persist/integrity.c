// SPDX-License-Identifier: Apache-2.0
// SQLite's own look at the file, in a read transaction that nobody waits for.
#include "persist/internal.h"

#include <stdlib.h>
#include <string.h>

rqc_err rqci_integrity_fault(const char *fault, const char *what, rqci_errbuf *err)
{
    static const char mark[] = "error code=";
    const char *at = strstr(fault, mark);
    int rc = at ? atoi(at + sizeof mark - 1) : SQLITE_CORRUPT;
    // Said without a code, and of numbers only that the file can have.
    if (!at && strstr(fault, "failed to get page"))
        rc = SQLITE_IOERR;
    return (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_NOMEM
               ? rqci_sqlite_err(NULL, rc, what, err)
               : RQC_OK;
}

rqc_err rqci_store_integrity(const char *db_path, bool read_only, bool quick,
                             void (*fn)(void *ctx, const char *fault), void *ctx,
                             uint64_t *ret_faults, rqci_errbuf *err)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    uint64_t n = 0;
    rqc_err e =
        rqci_db_open(db_path, read_only ? RQCI_DB_READ_ONLY : 0, RQCI_BUSY_MS_DEFAULT, &db, err);
    if (!e)
        e = rqci_db_prepare(db, quick ? "PRAGMA main.quick_check" : "PRAGMA main.integrity_check",
                            false, &st, err);
    int rc = SQLITE_DONE;
    while (!e && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *fault = (const char *)sqlite3_column_text(st, 0);
        if (!fault || strcmp(fault, "ok") == 0)
            continue;
        e = rqci_integrity_fault(fault, "integrity_check", err);
        n += !e;
        if (!e && fn)
            fn(ctx, fault);
    }
    if (!e && rc != SQLITE_DONE)
        e = rqci_sqlite_err(db, rc, "integrity_check", err);
    sqlite3_finalize(st);
    sqlite3_close_v2(db);
    if (!e)
        *ret_faults = n;
    return e;
}

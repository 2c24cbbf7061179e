// SPDX-License-Identifier: Apache-2.0
// The database of store_db.h as another program has it: through SQLite alone.
#ifndef RQC_TESTS_STORE_SQL_H
#define RQC_TESTS_STORE_SQL_H

#include "tests/store_db.h"

#include <sqlite3.h>

static inline sqlite3 *sdb_foreign(const char *path)
{
    sqlite3 *s = NULL;
    if (sqlite3_open(path, &s) != SQLITE_OK)
        bail("%s: %s", path, sqlite3_errmsg(s));
    sqlite3_busy_timeout(s, 10000);
    return s;
}

static inline void sdb_exec(sqlite3 *s, const char *text)
{
    if (sqlite3_exec(s, text, NULL, NULL, NULL) != SQLITE_OK)
        bail("%s: %s", text, sqlite3_errmsg(s));
}

// The first column of the first row, which must be there.
static inline int64_t sdb_number(sqlite3 *s, const char *text)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(s, text, -1, &st, NULL) != SQLITE_OK || sqlite3_step(st) != SQLITE_ROW)
        bail("%s: %s", text, sqlite3_errmsg(s));
    const int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}

#endif

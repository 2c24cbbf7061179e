// SPDX-License-Identifier: Apache-2.0
//
// Looks at a value of SQLite's as a reader would. Inline: nothing of this project is to stand
// between SQLite and its time.
#ifndef RQC_BENCH_SQLITE_COLUMN_H
#define RQC_BENCH_SQLITE_COLUMN_H

#include <sqlite3.h>
#include <stdint.h>

static inline uint64_t floor_read_column(sqlite3_stmt *st, int i)
{
    switch (sqlite3_column_type(st, i)) {
    case SQLITE_INTEGER: return (uint64_t)sqlite3_column_int64(st, i);
    case SQLITE_FLOAT: return sqlite3_column_double(st, i) > 0;
    case SQLITE_TEXT: return sqlite3_column_text(st, i)[0] + (unsigned)sqlite3_column_bytes(st, i);
    case SQLITE_BLOB:
        return *(const uint8_t *)sqlite3_column_blob(st, i) + (unsigned)sqlite3_column_bytes(st, i);
    default: return 0;
    }
}

#endif

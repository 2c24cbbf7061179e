// SPDX-License-Identifier: Apache-2.0
// The only includer of <sqlite3.h>; sqlite_err.c is the only translator of its codes.
#ifndef RQCI_SQLITE_DEP_H
#define RQCI_SQLITE_DEP_H

#include "base/err.h"

#include <sqlite3.h>

// RQC_OK for SQLITE_OK, SQLITE_ROW and SQLITE_DONE; else the code that belongs to rc (primary or
// extended), with "what: SQLite's text" as the detail. db may be NULL.
rqc_err rqci_sqlite_err(sqlite3 *db, int rc, const char *what, rqci_errbuf *err);

#endif

// SPDX-License-Identifier: Apache-2.0
// The only includer of <lmdb.h>, and the only translator of its codes.
#ifndef RQCI_LMDB_DEP_H
#define RQCI_LMDB_DEP_H

#include "base/err.h"

#include <lmdb.h>

// RQC_OK for 0; else the detail is set to "what: LMDB's text". MDB_NOTFOUND becomes RQC_NOT_FOUND
// without a detail.
rqc_err rqci_lmdb_err(int rc, const char *what, rqci_errbuf *err);

#endif

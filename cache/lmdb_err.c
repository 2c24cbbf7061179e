// SPDX-License-Identifier: Apache-2.0
#include "cache/internal.h"

#include <errno.h>

static rqc_err code_of(int rc)
{
    switch (rc) {
    case MDB_MAP_FULL: return RQCI_MAP_FULL;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return RQC_NO_SPACE;
    case MDB_READERS_FULL: return RQC_BUSY;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_BAD_TXN:
    case MDB_PANIC: return RQC_CORRUPT;
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE: return RQC_VERSION;
    case ENOENT:
    case EACCES:
    case MDB_MAP_RESIZED: return RQC_UNAVAILABLE;
    case ENOMEM: return RQC_NO_MEMORY;
    default: return rc > 0 ? RQC_IO : RQC_INTERNAL;
    }
}

rqc_err rqci_lmdb_err(int rc, const char *what, rqci_errbuf *err)
{
    if (rc == 0)
        return RQC_OK;
    if (rc == MDB_NOTFOUND)
        return RQC_NOT_FOUND;
    return rqci_fail(err, code_of(rc), "view: %s: %s", what, mdb_strerror(rc));
}

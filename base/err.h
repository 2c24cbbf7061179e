// SPDX-License-Identifier: Apache-2.0
// Errors inside the library: the public codes, one text table, and a buffer for the detail.
#ifndef RQCI_ERR_H
#define RQCI_ERR_H

#include "base/errcodes.h"

#include <stdarg.h>
#include <stddef.h>

// Detail of one failure, for one operation. Owned by the caller, no allocation, never shared
// between threads. An empty text means that the code says it all.
typedef struct rqci_errbuf {
    char text[512];
} rqci_errbuf;

// Writes the detail (truncated when too long) and returns `code`, so that callers can say
// `return rqci_fail(e, RQC_INVALID, "…")`. `e` may be NULL.
rqc_err rqci_fail(rqci_errbuf *e, rqc_err code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

// Puts "prefix: " before the detail that is there. `e` may be NULL. Returns `code`.
rqc_err rqci_fail_within(rqci_errbuf *e, rqc_err code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif

// SPDX-License-Identifier: Apache-2.0
// A workspace as a HAR 1.2 file. docs/semantics.md, section Export, says what it carries.
#ifndef RQCI_HAR_EXPORT_H
#define RQCI_HAR_EXPORT_H

#include "api/reqcast.h"

#include "base/buf.h"

#include <stdbool.h>

typedef struct rqci_har_sink {
    rqc_err (*write)(void *ctx, const void *p, size_t n);
    void (*progress)(void *ctx, uint64_t done, uint64_t total); // in requests; may be NULL
    void *ctx;
    bool one_line; // else an entry a line
} rqci_har_sink;

// What was written, and what HAR cannot carry and was left out.
typedef struct rqci_har_counts {
    uint64_t requests, responses;
    uint64_t deltas, snapshots, asserts, versions, response_asserts;
    uint64_t folders; // requests that lie in one
    uint64_t bodies;  // beside the one that the request sends
    uint64_t mended;  // texts that were no UTF-8
} rqci_har_counts;

// Writes the base requests of a workspace, oldest first, at the session's position (it must be
// begun). What write returned, RQC_NO_MEMORY, RQC_EXPIRED, RQC_CHANGED (a large value changed
// meanwhile), RQC_CORRUPT.
rqc_err rqci_har_export(rqc_read *r, const uint8_t workspace[16], const rqci_har_sink *sink,
                        rqci_har_counts *ret_counts, rqci_errbuf *err);

#endif

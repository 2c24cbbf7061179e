// SPDX-License-Identifier: Apache-2.0
// HAR files (HTTP Archive 1.1 and 1.2) as rows. docs/semantics.md, section Import, says what
// becomes what.
#ifndef RQCI_HAR_H
#define RQCI_HAR_H

#include "api/reqcast.h"

#include "base/buf.h"

#define RQCI_HAR_BYTES_MAX   ((size_t)512 << 20)
#define RQCI_HAR_ENTRIES_MAX 1000000u

// Where the rows go. `add` has the meaning of rqc_add and copies what it is given; its failure ends
// the reading.
typedef struct rqci_har_sink {
    rqc_err (*add)(void *ctx, rqc_entity entity, const uint8_t id[16], const rqc_value *row);
    void (*warn)(void *ctx, const char *text); // one line, without the file's name; may be NULL
    void (*progress)(void *ctx, uint64_t done, uint64_t total); // in entries; may be NULL
    void *ctx;
} rqci_har_sink;

typedef struct rqci_har_counts {
    uint64_t requests, responses;
    uint64_t records; // rows given to add
    uint64_t warnings;
} rqci_har_counts;

// Reads a whole regular file or pipe, "-" is standard input. RQC_NOT_FOUND, RQC_TOO_LARGE,
// RQC_INVALID (a directory …), RQC_IO.
rqc_err rqci_har_load(const char *path, rqci_buf *ret_text, rqci_errbuf *err);

// Gives the rows of every entry to the sink. The text is changed in place where it is not valid
// Unicode. `now` (UNIX seconds) stands in for missing times. RQC_INVALID when the text is not JSON
// (with line and column) or not a HAR file; RQC_TOO_LARGE; what `add` returned. A broken entry is a
// warning, not an error.
rqc_err rqci_har_read(char *text, size_t len, const uint8_t workspace[16], int64_t now,
                      const rqci_har_sink *sink, rqci_har_counts *ret_counts, rqci_errbuf *err);

// The workspace's name for a file: its base name without .har.
void rqci_har_workspace_name(const char *path, char *ret_name, size_t size);

#endif

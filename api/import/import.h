// SPDX-License-Identifier: Apache-2.0
// Files of other programs as rows: HAR (HTTP Archive 1.1 and 1.2), Postman collections (2.0
// and 2.1), curl command lines. docs/semantics.md, section Import, says what becomes what.
#ifndef RQCI_IMPORT_H
#define RQCI_IMPORT_H

#include "api/reqcast.h"

#include "base/buf.h"

#include <stdbool.h>

#define RQCI_IMPORT_BYTES_MAX ((size_t)512 << 20)
#define RQCI_IMPORT_ITEMS_MAX 1000000u // entries, requests and folders, commands
#define RQCI_IMPORT_DEPTH_MAX 100u     // of folders in folders

// Where the rows go. `add` has the meaning of rqc_add and copies what it is given; its failure ends
// the reading. Rows come in an order that foreign keys allow: what a row points to came before it.
typedef struct rqci_import_sink {
    rqc_err (*add)(void *ctx, rqc_entity entity, const uint8_t id[16], const rqc_value *row);
    void (*warn)(void *ctx, const char *text); // one line, without the file's name; may be NULL
    void (*progress)(void *ctx, uint64_t done, uint64_t total); // in requests; may be NULL
    void *ctx;
} rqci_import_sink;

typedef struct rqci_import_counts {
    uint64_t requests, responses;
    uint64_t records; // rows given to add
    uint64_t warnings;
} rqci_import_counts;

typedef enum rqci_import_format {
    RQCI_IMPORT_UNKNOWN,
    RQCI_IMPORT_HAR,
    RQCI_IMPORT_POSTMAN,
    RQCI_IMPORT_CURL
} rqci_import_format;

// "har", "postman", "curl"; and back, RQCI_IMPORT_UNKNOWN for other names.
const char *rqci_import_format_name(rqci_import_format format);
rqci_import_format rqci_import_format_named(const char *name);

// What a text is, by its first words alone: a text that is damaged further on is still told by its
// kind. When it is RQCI_IMPORT_UNKNOWN, err says what the text seems to be.
rqci_import_format rqci_import_detect(const char *text, size_t len, rqci_errbuf *err);

// Reads a whole regular file or pipe, "-" is standard input. RQC_NOT_FOUND, RQC_TOO_LARGE,
// RQC_INVALID (a directory …), RQC_IO.
rqc_err rqci_import_load(const char *path, rqci_buf *ret_text, rqci_errbuf *err);

// One file that was read. Its text must live as long, and is changed in place where it is not valid
// Unicode.
typedef struct rqci_import rqci_import;

// RQCI_IMPORT_UNKNOWN as format: find out. RQC_INVALID when the text is not what it should be
// (JSON: with line and column); RQC_TOO_LARGE, RQC_NO_MEMORY.
rqc_err rqci_import_open(char *text, size_t len, rqci_import_format format,
                         rqci_import **ret_import, rqci_errbuf *err);
void rqci_import_free(rqci_import *m);
rqci_import_format rqci_import_format_of(const rqci_import *m);

// The name for the file's workspace: the one that it gives itself, else the file's base name
// without .har, .json ….
void rqci_import_name(const rqci_import *m, const char *path, char *ret_name, size_t size);
// The id of the workspace that an own export is of. False for other files.
bool rqci_import_workspace_id(const rqci_import *m, uint8_t ret_id[16]);

// Gives all rows to the sink; once only. `now` (UNIX seconds) stands in for missing times. What
// `add` returned, RQC_TOO_LARGE, RQC_NO_MEMORY, RQC_INVALID. What cannot be read or kept is a
// warning, not an error.
rqc_err rqci_import_run(rqci_import *m, const uint8_t workspace[16], int64_t now,
                        const rqci_import_sink *sink, rqci_import_counts *ret_counts,
                        rqci_errbuf *err);

// `now` as the importers write it where a text must be and the file has no time.
#define RQCI_IMPORT_TIME_TEXT 32
void rqci_import_time_text(int64_t now, char ret_text[RQCI_IMPORT_TIME_TEXT]);

#endif

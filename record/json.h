// SPDX-License-Identifier: Apache-2.0
// Records as JSON and back (jansson inside): column names as keys, `entity`, `seq`, `id`; booleans
// true/false; NULL null; ids as ULID text; bytes {"$base64": "…"}; text that is not valid UTF-8
// {"$base64": "…", "$text": true}; a large value {"$large": {"length": n, "xxh3": "32 hex
// digits"}}. REAL as JSON number with as many significant digits as it takes to read back the same
// (15 to 17; integral ones with ".0"); infinities (NaN cannot be in SQLite) as {"$real": "inf"} or
// "-inf".
#ifndef RQCI_JSON_H
#define RQCI_JSON_H

#include "base/buf.h"
#include "record/record.h"
#include "record/resolve.h"

// Fetches a value that is too large for its record: text or bytes in *v, valid until the next call.
typedef struct rqci_json_whole {
    rqc_err (*fetch)(void *ctx, const rqc_record *r, int field, rqc_value *v);
    void *ctx;
} rqci_json_whole;

// Appends one JSON value in text form to a buffer. All of them: RQC_NO_MEMORY (or RQC_TOO_LARGE
// past the address space), or what `whole` gives; a failed call may have appended a part. `whole`
// NULL: large values stay {"$large":…}. `seq` of an item and of a chain is the highest of the
// records that it was made from.
rqc_err rqci_json_text(rqci_buf *out, const char *p,
                       size_t n); // a JSON string, or the $base64 form when not valid UTF-8
rqc_err rqci_json_value(rqci_buf *out, const rqc_value *v);
// {"entity":…,"seq":…,"id":…,columns in schema order}
rqc_err rqci_json_record(rqci_buf *out, const rqc_record *r, const rqci_json_whole *whole);
// The same of a merged item, with "origin": "base" | "override" | "addition".
rqc_err rqci_json_item(rqci_buf *out, const rqc_item *m, const rqci_json_whole *whole);
rqc_err rqci_json_chain(rqci_buf *out, const rqc_record *const *chain, size_t n,
                        const rqci_json_whole *whole);

// What an object is: answers of ours also have lines that are no records.
typedef enum rqci_json_kind {
    RQCI_JSON_RECORD,
    RQCI_JSON_DELETION, // {"op":"delete","entity":…,"id":…,"seq":…}
    RQCI_JSON_END,      // {"next":…,…} behind a page or changes
} rqci_json_kind;

// A parsed JSON record: row[i] point into memory owned by `doc`. Of a deletion only the kind and
// the entity are set, of an end only the kind.
typedef struct rqci_json_row {
    rqci_json_kind kind;
    const rqci_entity *entity;
    bool has_id;
    uint8_t id[16];
    rqc_value row[RQCI_FIELD_MAX];
    void *doc; // owned
} rqci_json_row;

// Parses one JSON object of a record as above (ids as ULID text or 32 hex digits; `seq`,
// `position`, `op` ("upsert") and `origin` of answers are ignored; every other unknown key,
// duplicate keys, wrong types and depth over 32 are RQC_INVALID with the place). `entity` is
// required, `id` is not. BOOL also as 0 or 1, REAL also as integer. Missing columns are ABSENT.
// rqci_row_check says whether the row can be stored. Free with rqci_json_row_free. RQC_NO_MEMORY,
// RQC_TOO_LARGE (4 GiB).
rqc_err rqci_json_parse_row(const char *text, size_t len, rqci_json_row *ret_row, rqci_errbuf *err);
void rqci_json_row_free(rqci_json_row *r);

// JSON Lines: one record a line, as `put` reads them. A byte order mark in front is left out, blank
// lines are passed over; a carriage return belongs to the line (JSON takes it for a blank).
typedef struct rqci_json_lines {
    const char *p, *end; // what is left
    uint64_t number;     // of the line that was given last, from 1
} rqci_json_lines;
// `text` must live as long as the lines are used; NULL where n is 0.
void rqci_json_lines_init(rqci_json_lines *l, const char *text, size_t n);
// The next line that is not blank, without its newline; false at the end.
bool rqci_json_lines_next(rqci_json_lines *l, const char **ret_text, size_t *ret_n);

// One field given as text on the command line (FIELD=VALUE): INT, REAL, BOOL (true/false/0/1), ID,
// TEXT as it is, BYTES as it is, ANY as text. The value may point into `text` or into `scratch`
// (owned by the caller, emptied first: one for each value that is kept). RQC_INVALID,
// RQC_NO_MEMORY.
rqc_err rqci_text_field(const rqci_entity *e, int field, const char *text, size_t len,
                        rqci_buf *scratch, rqc_value *ret_value, rqci_errbuf *err);

#endif

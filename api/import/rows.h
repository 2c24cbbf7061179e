// SPDX-License-Identifier: Apache-2.0
// What the importers share: the rows of one file in the making. One thread.
#ifndef RQCI_ROWS_H
#define RQCI_ROWS_H

#include "api/import/import.h"

#include <jansson.h>

#define RQCI_ROWS_TEXTS 12 // texts of one row that may need a buffer of their own

typedef struct rqci_rows {
    const rqci_import_sink *sink;
    rqci_import_counts counts;
    uint8_t workspace[16];
    int64_t now; // seconds
    rqci_errbuf *err;
    rqci_buf place; // what stands before warnings, NUL-terminated; empty for the file as a whole
    rqci_buf texts[RQCI_ROWS_TEXTS];
    size_t used; // texts taken by the row that is made
    struct rqci_rows_seen *seen;
    size_t nseen, seen_cap;
} rqci_rows;

// The strings are not owned; free with rqci_rows_free, which leaves the counts.
void rqci_rows_init(rqci_rows *r, const uint8_t workspace[16], int64_t now,
                    const rqci_import_sink *sink, rqci_errbuf *err);
void rqci_rows_free(rqci_rows *r);

// Where the reading is, for warnings. `fmt` NULL: the file as a whole.
rqc_err rqci_rows_place(rqci_rows *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// One warning, with the place. Control characters are taken out: it stays one line.
void rqci_rows_warn(rqci_rows *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// A row is made between start and add. Texts made for it live until the next start.
void rqci_rows_start(rqci_rows *r, rqc_value ret_row[RQC_FIELD_MAX]);
rqc_err rqci_rows_add(rqci_rows *r, rqc_entity entity, const uint8_t id[16], const rqc_value *row);
// An empty buffer that lives until the next start.
rqci_buf *rqci_rows_scratch(rqci_rows *r);
// Bytes as the text of a column: NUL and what is not UTF-8 becomes U+FFFD, with a warning. `text`
// must live until the row is added.
rqc_err rqci_rows_textn(rqci_rows *r, const char *text, size_t len, rqc_value *ret_value);
// The same of a JSON value: strings as they are, numbers and booleans as they are written, null and
// NULL as "", lists and objects as JSON.
rqc_err rqci_rows_text(rqci_rows *r, const json_t *v, rqc_value *ret_value);
// The same into a buffer of the caller's, which it replaces. The value points into the buffer.
rqc_err rqci_rows_keep(rqci_rows *r, const json_t *v, rqci_buf *store, rqc_value *ret_value);
// Bytes as a value that may not be longer than 4 GiB.
rqc_err rqci_rows_bytes(rqci_rows *r, const void *p, size_t len, rqc_value *ret_value);

// Ids. Two things of one file may be equal in all that makes their id: counted, they are told
// apart. The same file gives the same ids. `ms` in front makes ids sort by time; 0 where there is
// none.
rqc_err rqci_rows_ordinal(rqci_rows *r, const uint8_t hash[16], uint32_t *ret_ordinal);
// The id of the n-th row of an entity that belongs to `owner`: it sorts by time, then by n.
void rqci_rows_child_id(const uint8_t owner[16], rqc_entity entity, uint32_t n, uint8_t ret_id[16]);
// 48 bits of milliseconds in front of hash bits: the shape of a ULID.
void rqci_rows_time_prefix(int64_t ms, uint8_t id[16]);

// A name with a value: header, parameter, form field. Texts live until the row is added.
typedef struct rqci_rows_pair {
    rqc_value key, value;
    rqc_value description; // ABSENT: none
    bool disabled;
    int64_t seconds;   // its times
    const uint8_t *id; // NULL: made of owner and n
    bool has_order;    // else its order is n
    double order;
} rqci_rows_pair;
// Adds the n-th of its kind. Begin with rqci_rows_start (the row given there may be thrown away).
// Response headers have no description and are never disabled: both are lost.
rqc_err rqci_rows_pair_add(rqci_rows *r, rqc_entity entity, const uint8_t owner[16], uint32_t n,
                           const rqci_rows_pair *pair);
// The raw body of a request. `codec`: 0, or how the bytes are compressed. `id` NULL: made of owner.
rqc_err rqci_rows_raw_add(rqci_rows *r, const uint8_t owner[16], const uint8_t *id,
                          const rqci_buf *bytes, int64_t codec, int64_t seconds);
// "Basic …" for "user:password"; appended to out. Where that holds a template ({{…}}), or
// `variable` says that it holds something else that is to be replaced, it stays readable, with a
// warning, because base64 must come after that.
rqc_err rqci_rows_basic(rqci_rows *r, const char *plain, size_t len, bool variable, rqci_buf *out);

// What one item of the file has and no table can hold: named once each, counted, and reported in
// one warning.
#define RQCI_LOSSES_MAX 16
typedef struct rqci_losses {
    rqci_buf text; // the names, one behind the other
    struct {
        size_t at, len;
        uint32_t count;
    } kinds[RQCI_LOSSES_MAX];
    size_t n;
    uint32_t others; // of kinds that found no room
} rqci_losses;
rqc_err rqci_losses_add(rqci_losses *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// "intro: this, 3 × that" as a warning, when there is anything; then it is empty again.
rqc_err rqci_losses_report(rqci_losses *l, rqci_rows *r, const char *intro);
void rqci_losses_free(rqci_losses *l);

// Parses JSON text (with or without a byte order mark; not UTF-16, not compressed), which is
// changed in place where it is not valid Unicode. *ret_mended: how many characters were.
// RQC_INVALID with line and column.
rqc_err rqci_rows_parse(char *text, size_t len, json_t **ret_root, uint64_t *ret_mended,
                        rqci_errbuf *err);
// A string member, or NULL. Its length in *ret_len, 0 when there is none.
const char *rqci_rows_string(const json_t *object, const char *key, size_t *ret_len);
// A finite number, or a text that is one. False for anything else.
bool rqci_rows_number(const json_t *v, double *ret_number);
// A number as an integer within ±2^53, rounded; `otherwise` when it is none.
int64_t rqci_rows_integer(const json_t *v, int64_t otherwise);

// Appends to a buffer, remembering the first failure: for texts made of many pieces.
typedef struct rqci_pieces {
    rqci_buf *out;
    rqc_err err;
} rqci_pieces;
void rqci_piece(rqci_pieces *p, const char *text, size_t len);
void rqci_piece_text(rqci_pieces *p, const char *text);

#endif

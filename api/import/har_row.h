// SPDX-License-Identifier: Apache-2.0
// What the files of the HAR import share: one reading of one file.
#ifndef RQCI_HAR_ROW_H
#define RQCI_HAR_ROW_H

#include "api/import/har.h"

#include <jansson.h>
#include <stdbool.h>

#define RQCI_HAR_TEXTS 8 // texts of one row that may need a buffer of their own

typedef struct rqci_har {
    const rqci_har_sink *sink;
    rqci_har_counts counts;
    uint8_t workspace[16];
    int64_t now; // seconds
    rqci_errbuf *err;
    // The entry that is read.
    size_t entry;        // counted from 1
    uint8_t request[16]; // its id
    int64_t seconds;     // its start
    const char *label;   // method and url, for warnings; "" before they are known
    rqci_buf label_text;
    rqci_buf texts[RQCI_HAR_TEXTS];
    size_t used; // texts taken by the row that is made
    struct rqci_har_seen *seen;
    size_t nseen, seen_cap;
} rqci_har;

// One warning about the current entry.
void rqci_har_warn(rqci_har *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// A row is made between start and add. Texts made by rqci_har_text live until the next start.
void rqci_har_row(rqci_har *h, rqc_value *ret_row);
rqc_err rqci_har_add(rqci_har *h, rqc_entity entity, const uint8_t id[16], const rqc_value *row);

// A JSON value as the text of a column: strings as they are (NUL and what is not UTF-8 becomes
// U+FFFD), numbers and booleans as they are written, NULL and others as "".
rqc_err rqci_har_text(rqci_har *h, const json_t *v, rqc_value *ret_value);
// The same of bytes. `text` must live until the row is added.
rqc_err rqci_har_textn(rqci_har *h, const char *text, size_t len, rqc_value *ret_value);
// An empty buffer that lives until the next start.
rqci_buf *rqci_har_scratch(rqci_har *h);

// A number, or a text that is one. False for anything else.
bool rqci_har_number(const json_t *v, double *ret_number);
// A string member, or NULL. Its length in *ret_len.
const char *rqci_har_string(const json_t *object, const char *key, size_t *ret_len);

// The id of the n-th row of an entity that belongs to `owner`: it sorts by time, then by n. The
// same input gives the same id.
void rqci_har_child_id(const uint8_t owner[16], rqc_entity entity, uint32_t n, uint8_t ret_id[16]);

// What a request's postData is: body kind 0 none, 1 multipart, 2 urlencoded, 3 raw; the text to
// keep for kind 3.
typedef struct rqci_har_body {
    int kind;
    const json_t *params; // used for kinds 1 and 2 when not NULL
    rqci_buf bytes;       // the body's text; owned
    rqci_buf boundary;    // kind 1 without params; owned
} rqci_har_body;
rqc_err rqci_har_body_read(rqci_har *h, const json_t *post, rqci_har_body *ret_body);
rqc_err rqci_har_body_add(rqci_har *h, const rqci_har_body *body);
void rqci_har_body_free(rqci_har_body *body);

// Rows of an array of {name, value} objects (headers, parameters).
rqc_err rqci_har_pairs(rqci_har *h, rqc_entity entity, const uint8_t owner[16], const json_t *array,
                       const char *what);
// Rows of an urlencoded text.
rqc_err rqci_har_urlencoded(rqci_har *h, rqc_entity entity, const char *text, size_t len);

#endif

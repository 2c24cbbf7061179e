// SPDX-License-Identifier: Apache-2.0
// What the files of the export share: one writing of one file.
#ifndef RQCI_HAR_EXPORT_ROW_H
#define RQCI_HAR_EXPORT_ROW_H

#include "api/export/har_export.h"

#include "record/schema.h"

// Children of the requests (or responses) of a batch, by owner, in effective order.
typedef struct rqci_export_kids {
    rqc_entity entity;
    rqc_list list;
} rqci_export_kids;

typedef struct rqci_export {
    rqc_read *read;
    const rqci_har_sink *sink;
    rqci_har_counts counts;
    rqci_errbuf *err;
    rqci_buf out;   // what is not written yet
    rqci_buf clean; // of a text that is no UTF-8
    rqc_err failed; // the first failure of a put
    bool comma;     // a value stands before the next one
    rqci_export_kids headers, params, form, urlencoded, raw, responses, response_headers;
} rqci_export;

// ---- JSON (har_json.c): commas come by themselves; the first failure is remembered. ----

void rqci_put_key(rqci_export *x, const char *key);
void rqci_put_open(rqci_export *x, char bracket);  // { or [
void rqci_put_close(rqci_export *x, char bracket); // } or ]
void rqci_put_text(rqci_export *x, const char *p, size_t n);
void rqci_put_int(rqci_export *x, int64_t n);
void rqci_put_real(rqci_export *x, double d);
void rqci_put_bool(rqci_export *x, bool b);
void rqci_put_base64(rqci_export *x, const void *p, size_t n);
void rqci_put_id(rqci_export *x, const uint8_t id[16]);
static inline void rqci_put_literal(rqci_export *x, const char *text)
{
    rqci_put_text(x, text, __builtin_strlen(text));
}

// ---- Records ----

// A value with its bytes, also where the view has only their hash. *ret_owned: free it.
rqc_value rqci_whole(rqci_export *x, const rqc_record *r, int field, void **ret_owned);
// A field as a text; "" for NULL.
void rqci_put_field(rqci_export *x, const rqc_record *r, int field);
int64_t rqci_int_of(const rqc_record *r, int field, int64_t otherwise);
// The children of an owner: how many, and the first.
size_t rqci_kids_of(const rqci_export_kids *kids, const uint8_t owner[16],
                    const rqc_record *const **ret_first);
// One entry (har_entry.c).
void rqci_put_entry(rqci_export *x, const rqc_record *http);

#endif

// SPDX-License-Identifier: Apache-2.0
// What the files of the HAR import share: one reading of one file.
#ifndef RQCI_HAR_ROW_H
#define RQCI_HAR_ROW_H

#include "api/import/har.h"

typedef struct rqci_har {
    rqci_rows *rows;
    rqci_losses losses; // of the entry that is read
    // The entry that is read.
    uint8_t request[16]; // its id
    int64_t seconds;     // its start
    json_t *own;         // what an own export says beside HAR, NULL: another program's file
    bool same_workspace; // it is of the workspace that is imported into: its ids are valid here
    rqci_buf url_text, method_text, start_text;
    rqc_value url, method, start;
    bool start_known;
    int64_t start_ms;
} rqci_har;

// What a request's postData is: body kind 0 none, 1 multipart, 2 urlencoded, 3 raw; the text to
// keep for kind 3.
typedef struct rqci_har_body {
    int kind;
    bool has_raw;
    json_t *params;    // used for kinds 1 and 2 when not NULL
    rqci_buf bytes;    // the body's text; owned
    rqci_buf boundary; // kind 1 without params; owned
} rqci_har_body;
rqc_err rqci_har_body_read(rqci_har *h, json_t *post, rqci_har_body *ret_body);
rqc_err rqci_har_body_add(rqci_har *h, const rqci_har_body *body);
void rqci_har_body_free(rqci_har_body *body);

// The text of a content or postData object with its encoding undone; appended to out. *ret_there:
// it has one. `what` is for warnings.
rqc_err rqci_har_content(rqci_har *h, json_t *holder, const char *what, rqci_buf *out,
                         bool *ret_there);

// Rows of an array of {name, value} objects (headers, parameters). `kind` names the array in what
// an own export says about disabled ones, NULL: it has none.
rqc_err rqci_har_pairs(rqci_har *h, rqc_entity entity, const uint8_t owner[16], json_t *array,
                       const char *what, const char *kind);
// Rows of an urlencoded text.
rqc_err rqci_har_urlencoded(rqci_har *h, rqc_entity entity, const char *text, size_t len);

// The id that an own export gives a record. False: none that is valid here, or one that another
// record of the file has.
rqc_err rqci_har_own_id(rqci_har *h, json_t *v, uint8_t ret_id[16], bool *ret_given);

// Is there a header of this name, in any case?
bool rqci_har_has_header(json_t *list, const char *name);

// The responses of the current entry (har_response.c).
rqc_err rqci_har_responses(rqci_har *h, json_t *entry);

#endif

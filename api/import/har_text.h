// SPDX-License-Identifier: Apache-2.0
// Small readers of the texts that HAR files hold. No state; any thread.
#ifndef RQCI_HAR_TEXT_H
#define RQCI_HAR_TEXT_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Makes JSON text acceptable to a strict parser: bytes that are not UTF-8 become '?', escapes of
// lone surrogates \ufffd. Returns how many.
uint64_t rqci_har_mend(char *text, size_t len);

// ISO 8601 (2025-10-09T08:53:20.125Z, offsets with or without colon, blank instead of T, without a
// zone: UTC) as milliseconds since 1970.
bool rqci_har_time(const char *text, size_t len, int64_t *ret_ms);

// Percent decoding, with '+' as a blank. When the result would not be UTF-8 text without NUL the
// input is appended as it is.
rqc_err rqci_har_unescape(const char *text, size_t len, rqci_buf *out);

// Base64 in either alphabet, with line ends and with or without padding. RQC_INVALID: nothing was
// appended.
rqc_err rqci_har_base64(const char *text, size_t len, rqci_buf *out);

// The base type of a media type ("text/html" of "Text/HTML; charset=x"), lower case, cut to the
// buffer.
void rqci_har_media_type(const char *text, size_t len, char *ret_type, size_t size);

// A parameter of a header value (boundary, name, filename), without quotes; appended to out. False
// when there is none.
bool rqci_har_parameter(const char *text, size_t len, const char *name, rqci_buf *out);

// The part of an url between '?' and '#'. False when there is none.
bool rqci_har_query(const char *url, size_t len, const char **ret_query, size_t *ret_len);

// "METHOD last/part", as in a list of requests; appended to out.
rqc_err rqci_har_name(const char *method, size_t method_len, const char *url, size_t len,
                      rqci_buf *out);

// One pair of an urlencoded text: moves *text behind it. False at the end.
typedef struct rqci_har_pair {
    const char *name, *value;
    size_t name_len, value_len;
} rqci_har_pair;
bool rqci_har_next_pair(const char **text, size_t *len, rqci_har_pair *ret_pair);

#endif

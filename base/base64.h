// SPDX-License-Identifier: Apache-2.0
// Base 64 as RFC 4648, section 4: the standard alphabet, with padding, nothing else between.
#ifndef RQCI_BASE64_H
#define RQCI_BASE64_H

#include "base/buf.h"

// Appends the text of n bytes. RQC_NO_MEMORY, RQC_TOO_LARGE.
rqc_err rqci_base64_encode(rqci_buf *out, const void *p, size_t n);

// Appends the bytes of a text. RQC_INVALID (nothing appended) for any other character, a wrong
// length, or bits that no byte uses: each run of bytes has one spelling.
rqc_err rqci_base64_decode(rqci_buf *out, const char *text, size_t len);

#endif

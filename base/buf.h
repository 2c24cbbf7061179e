// SPDX-License-Identifier: Apache-2.0
// A growable byte buffer. Zero-initialise it; free it with rqci_buf_free. Not thread-safe.
#ifndef RQCI_BUF_H
#define RQCI_BUF_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct rqci_buf {
    uint8_t *data; // owned, NULL when cap is 0; aligned for any type
    size_t len;    // bytes used
    size_t cap;    // bytes allocated
} rqci_buf;

// Room for `more` bytes behind len. RQC_NO_MEMORY (nothing changed) or RQC_TOO_LARGE past
// SIZE_MAX/2.
rqc_err rqci_buf_reserve(rqci_buf *b, size_t more);
// Appends n bytes (p may be NULL when n is 0).
rqc_err rqci_buf_add(rqci_buf *b, const void *p, size_t n);
// Frees the memory and makes it an empty buffer again. NULL is allowed.
void rqci_buf_free(rqci_buf *b);

#endif

// SPDX-License-Identifier: Apache-2.0
#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

#define SMALLEST 256u

rqc_err rqci_buf_reserve(rqci_buf *b, size_t more)
{
    if (more <= b->cap - b->len)
        return RQC_OK;
    if (more > SIZE_MAX / 2 - b->len)
        return RQC_TOO_LARGE;
    const size_t need = b->len + more;
    size_t cap = b->cap < SMALLEST ? SMALLEST : b->cap;
    while (cap < need)
        cap += cap / 2; // need is at most half of SIZE_MAX: no overflow
    uint8_t *data = realloc(b->data, cap);
    if (!data)
        return RQC_NO_MEMORY;
    b->data = data;
    b->cap = cap;
    return RQC_OK;
}

rqc_err rqci_buf_add(rqci_buf *b, const void *p, size_t n)
{
    if (n == 0)
        return RQC_OK;
    const rqc_err rc = rqci_buf_reserve(b, n);
    if (rc != RQC_OK)
        return rc;
    memcpy(b->data + b->len, p, n);
    b->len += n;
    return RQC_OK;
}

void rqci_buf_free(rqci_buf *b)
{
    if (!b)
        return;
    free(b->data);
    *b = (rqci_buf){0};
}

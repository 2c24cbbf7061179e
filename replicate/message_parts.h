// SPDX-License-Identifier: Apache-2.0
// What the files of the messages share: message_write.c has transactions, message.c all others.
#ifndef RQCI_MESSAGE_PARTS_H
#define RQCI_MESSAGE_PARTS_H

#include "replicate/message.h"

static inline size_t rqci_padded(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

static inline bool rqci_zeros(const uint8_t *p, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= p[i];
    return any == 0;
}

static inline rqc_err rqci_message_bad(rqci_errbuf *err, const char *what)
{
    return rqci_fail(err, RQC_CORRUPT, "message: %s", what);
}

// Room for n more bytes, zeros.
rqc_err rqci_message_extend(rqci_buf *out, size_t n, uint8_t **ret);
// A message with n bytes of body, zeros; and its end, when the body is there.
rqc_err rqci_message_begin(rqci_buf *out, uint32_t magic, uint32_t what, size_t n,
                           uint8_t **ret_body);
void rqci_message_end(rqci_buf *out);

#endif

// SPDX-License-Identifier: Apache-2.0
// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
#ifndef RQCI_UTF8_H
#define RQCI_UTF8_H

#include <stdbool.h>
#include <stddef.h>

// Length of the longest valid beginning of n bytes: n when all of it is valid. U+0000 is valid. p
// may be NULL when n is 0.
size_t rqci_utf8_span(const void *p, size_t n);

static inline bool rqci_utf8_valid(const void *p, size_t n)
{
    return rqci_utf8_span(p, n) == n;
}

#endif

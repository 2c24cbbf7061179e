// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

#include "base/bytes.h"

// Length of the character at p (n ≥ 1 bytes there), 0 when it is not valid.
static size_t one(const uint8_t *p, size_t n)
{
    const uint8_t c = p[0];
    if (c < 0x80)
        return 1;
    if (c < 0xc2 || c > 0xf4)
        return 0;
    const size_t len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (len > n)
        return 0;
    // The second byte alone decides about overlong forms, surrogates and the end of Unicode.
    const uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return len;
}

size_t rqci_utf8_span(const void *p, size_t n)
{
    const uint8_t *s = p;
    size_t i = 0;
    while (i < n) {
        // Most texts are ASCII: eight bytes at a time.
        if (n - i >= 8 && (rqci_get64(s + i) & UINT64_C(0x8080808080808080)) == 0) {
            i += 8;
            continue;
        }
        const size_t len = one(s + i, n - i);
        if (len == 0)
            return i;
        i += len;
    }
    return n;
}

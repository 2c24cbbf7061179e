// SPDX-License-Identifier: Apache-2.0
// Ids: 16-byte ULIDs (https://github.com/ulid/spec): 48 bits of milliseconds, 80 random bits,
// compared as unsigned bytes.
#ifndef RQCI_ID_H
#define RQCI_ID_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define RQCI_ID_TEXT 26

// A new id, greater than every id this process made before (monotonic within a millisecond and when
// the clock steps back). Safe from any thread; a child after fork draws fresh randomness, so it
// never repeats its parent's. RQC_IO when the system gives no randomness.
rqc_err rqci_id_new(uint8_t ret_id[16]);

// The two rules behind it, without clock and state: a fresh id (ms beyond 48 bits count as the
// highest), and the id that follows one in the same millisecond (a carry goes into the time).
// ret_id may be id.
void rqci_id_make(uint64_t ms, const uint8_t random[10], uint8_t ret_id[16]);
void rqci_id_after(const uint8_t id[16], uint8_t ret_id[16]);

// 26 characters of Crockford's base 32 and a final NUL.
void rqci_id_format(const uint8_t id[16], char ret_text[RQCI_ID_TEXT + 1]);

// Reads 26 characters of Crockford's base 32 or 32 hex digits, in either case. RQC_INVALID for
// anything else (I, L, O and U are no digits), and for a 26-character text beyond 2^128-1.
rqc_err rqci_id_parse(const char *text, size_t len, uint8_t ret_id[16]);

static inline bool rqci_id_equal(const uint8_t a[16], const uint8_t b[16])
{
    return memcmp(a, b, 16) == 0;
}

static inline bool rqci_id_zero(const uint8_t a[16])
{
    static const uint8_t zero[16];
    return memcmp(a, zero, 16) == 0;
}

#endif

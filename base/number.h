// SPDX-License-Identifier: Apache-2.0
// Numbers as text, the same in every locale. No allocation, any thread.
#ifndef RQCI_NUMBER_H
#define RQCI_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RQCI_REAL_TEXT 32

// A finite or infinite double with `digits` significant digits (1 to 17; 0: the fewest of 15 to 17
// that read back as the same number), without trailing zeros but always with a decimal point: 1.0,
// 0.25, -1.5e-07, 1.0e+20, Inf, -Inf. Returns its length; a final NUL is written.
size_t rqci_real_format(double d, int digits, char ret_text[RQCI_REAL_TEXT]);

// The number that n bytes begin with: blanks, a sign, digits with at most one point and at least
// one digit, an exponent. The nearest double (infinite beyond the range), 0.0 when there is no
// number. *ret_used: bytes read, 0 when there is none.
double rqci_real_prefix(const char *text, size_t n, size_t *ret_used);

// The same of an integer: blanks, a sign, digits. Beyond 64 bits: the nearest end of the range, and
// *ret_clamped.
int64_t rqci_int_prefix(const char *text, size_t n, size_t *ret_used, bool *ret_clamped);

#endif

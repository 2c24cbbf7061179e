// SPDX-License-Identifier: Apache-2.0
#include "base/number.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The application may have set a locale with another decimal point; it must not reach what is
// stored.
static pthread_once_t once = PTHREAD_ONCE_INIT;
static locale_t plain;

static void make_locale(void)
{
    plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static double to_double(const char *text)
{
    pthread_once(&once, make_locale);
    return plain ? strtod_l(text, NULL, plain) : strtod(text, NULL);
}

static size_t print(double d, int digits, char ret_text[RQCI_REAL_TEXT])
{
    pthread_once(&once, make_locale);
    const locale_t before = plain ? uselocale(plain) : (locale_t)0;
    const int n = snprintf(ret_text, RQCI_REAL_TEXT, "%.*g", digits, d);
    if (plain)
        uselocale(before);
    return n < 0 ? 0 : (size_t)n;
}

size_t rqci_real_format(double d, int digits, char ret_text[RQCI_REAL_TEXT])
{
    if (isinf(d)) {
        strcpy(ret_text, d < 0 ? "-Inf" : "Inf");
        return strlen(ret_text);
    }
    size_t n = 0;
    if (digits > 0) {
        n = print(d, digits, ret_text);
    } else {
        for (digits = 15; digits <= 17; digits++) {
            n = print(d, digits, ret_text);
            if (digits == 17 || to_double(ret_text) == d)
                break;
        }
    }
    if (memchr(ret_text, '.', n))
        return n;
    // 24 characters at most so far: there is room for two more.
    char *exponent = memchr(ret_text, 'e', n);
    char *at = exponent ? exponent : ret_text + n;
    memmove(at + 2, at, (size_t)(ret_text + n - at) + 1);
    memcpy(at, ".0", 2);
    return n + 2;
}

static bool is_digit(const char *text, size_t n, size_t at)
{
    return at < n && text[at] >= '0' && text[at] <= '9';
}

static size_t skip_blanks(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n && (text[i] == ' ' || (text[i] >= '\t' && text[i] <= '\r')))
        i++;
    return i;
}

static bool sign(const char *text, size_t n, size_t *at)
{
    if (*at >= n || (text[*at] != '-' && text[*at] != '+'))
        return false;
    return text[(*at)++] == '-';
}

int64_t rqci_int_prefix(const char *text, size_t n, size_t *ret_used, bool *ret_clamped)
{
    size_t i = skip_blanks(text, n);
    const bool negative = sign(text, n, &i);
    const size_t first = i;
    const uint64_t limit = (uint64_t)INT64_MAX + negative;
    uint64_t v = 0;
    bool clamped = false;
    for (; is_digit(text, n, i); i++) {
        const uint64_t d = (uint64_t)(text[i] - '0');
        if (clamped || v > (limit - d) / 10)
            clamped = true;
        else
            v = v * 10 + d;
    }
    if (clamped)
        v = limit;
    *ret_used = i > first ? i : 0;
    *ret_clamped = clamped;
    return negative ? (int64_t)(0 - v) : (int64_t)v;
}

// Significant digits that are kept: no double needs more than 767 to be told from its neighbours.
#define DIGITS_MAX 800

// The digits of a number without its leading zeros, and the power of ten of its last kept digit.
struct decimal {
    char digits[DIGITS_MAX + 1];
    size_t n;
    int64_t exponent;
};

// One digit more; `scale` is -1 behind the decimal point, else 0.
static void add_digit(struct decimal *d, char digit, int scale)
{
    if (d->n == 0 && digit == '0') {
        d->exponent += scale;
    } else if (d->n < DIGITS_MAX) {
        d->digits[d->n++] = digit;
        d->exponent += scale;
    } else {
        // Dropped, but it still decides which way a tie is rounded.
        d->exponent += scale + 1;
        if (digit != '0')
            d->digits[DIGITS_MAX - 1] =
                d->digits[DIGITS_MAX - 1] == '0' ? '1' : d->digits[DIGITS_MAX - 1];
    }
}

static int64_t exponent_of(const char *text, size_t n, size_t *at)
{
    size_t i = *at;
    if (i >= n || (text[i] != 'e' && text[i] != 'E'))
        return 0;
    i++;
    const bool negative = sign(text, n, &i);
    if (!is_digit(text, n, i))
        return 0;
    int64_t e = 0;
    for (; is_digit(text, n, i); i++)
        e = e < (INT64_C(1) << 40) ? e * 10 + (text[i] - '0') : e;
    *at = i;
    return negative ? -e : e;
}

double rqci_real_prefix(const char *text, size_t n, size_t *ret_used)
{
    struct decimal d;
    d.n = 0;
    d.exponent = 0;
    size_t i = skip_blanks(text, n);
    const bool negative = sign(text, n, &i);
    const size_t first = i;
    for (; is_digit(text, n, i); i++)
        add_digit(&d, text[i], 0);
    size_t digits = i - first;
    if (i < n && text[i] == '.') {
        const size_t point = i++;
        for (; is_digit(text, n, i); i++)
            add_digit(&d, text[i], -1);
        digits += i - point - 1;
    }
    *ret_used = 0;
    if (digits == 0)
        return 0.0;
    d.exponent += exponent_of(text, n, &i);
    *ret_used = i;
    double v = 0.0;
    if (d.n > 0) {
        const int64_t bound = 100000;
        const int64_t e = d.exponent > bound ? bound : d.exponent < -bound ? -bound : d.exponent;
        char plain_text[DIGITS_MAX + 32];
        memcpy(plain_text, d.digits, d.n);
        snprintf(plain_text + d.n, sizeof plain_text - d.n, "e%d", (int)e);
        v = to_double(plain_text);
    }
    return negative ? -v : v;
}

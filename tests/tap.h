// SPDX-License-Identifier: Apache-2.0
//
// A test program's half of the Test Anything Protocol: every check is one line that tools/run-tests
// counts. A program ends with `return tap_done();`, which prints the plan; one that dies before
// that has no plan and counts as failed.
//
//   ok(cond, name, …)              cond is true
//   is(got, want, name, …)         equal; integers, bool, double, strings (NULL allowed), pointers.
//                                  The type of `got` decides; `want` is converted to it.
//   is_mem(got, want, len, name…)  equal bytes
//   pass(name, …), fail(name, …)   where the decision was made elsewhere
//   skip(why, …)                   counts as one skipped check
//   skip_all(why, …)               nothing to check on this machine: leaves the program, status 0
//   bail(why, …)                   cannot go on: leaves the program, status 1
//   tap_note(text, …)              a comment in the log
//   tap_scaled(n)                  n shortened by RQC_TEST_SCALE (a percentage), at least 1
//
// The checks return their verdict. A name is a printf format. They may be called from any thread.
// They may not be called in a forked child: a child reports by its exit status.
// A loop over many values should check once for all of them and name the first that was wrong.
#ifndef RQC_TESTS_TAP_H
#define RQC_TESTS_TAP_H

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ok(cond, ...)        tap_ok_(__FILE__, __LINE__, #cond, (cond), __VA_ARGS__)
#define is_mem(g, w, n, ...) tap_is_mem_(__FILE__, __LINE__, (g), (w), (n), __VA_ARGS__)
#define pass(...)            tap_ok_(__FILE__, __LINE__, "pass", true, __VA_ARGS__)
#define fail(...)            tap_ok_(__FILE__, __LINE__, "fail", false, __VA_ARGS__)
#define skip(...)            tap_skip_(__VA_ARGS__)
#define skip_all(...)        tap_skip_all_(__VA_ARGS__)
#define bail(...)            tap_bail_(__FILE__, __LINE__, __VA_ARGS__)

#define is(got, want, ...) \
    _Generic((got),                                                                                \
        _Bool: tap_is_bool_,                                                                       \
        char: tap_is_int_,                                                                         \
        signed char: tap_is_int_,                                                                  \
        short: tap_is_int_,                                                                        \
        int: tap_is_int_,                                                                          \
        long: tap_is_int_,                                                                         \
        long long: tap_is_int_,                                                                    \
        unsigned char: tap_is_uint_,                                                               \
        unsigned short: tap_is_uint_,                                                              \
        unsigned: tap_is_uint_,                                                                    \
        unsigned long: tap_is_uint_,                                                               \
        unsigned long long: tap_is_uint_,                                                          \
        double: tap_is_double_,                                                                    \
        char *: tap_is_str_,                                                                       \
        const char *: tap_is_str_,                                                                 \
        default: tap_is_ptr_)(__FILE__, __LINE__, (got), (want), __VA_ARGS__)

#define TAP_PRINTF_(fmt, args) __attribute__((format(printf, fmt, args)))

// A check prints several lines that belong together; the lock keeps them so.
static pthread_mutex_t tap_lock_ = PTHREAD_MUTEX_INITIALIZER;
static unsigned tap_count_;
static unsigned tap_failed_;

// A name is one line. A '#' in it would begin a directive, and meson does not know TAP's own way of
// escaping one.
static inline void tap_text_(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '\\')
            printf("\\\\");
        else if (c < 0x20 || c == 0x7f || c == '#')
            printf("\\x%02x", c);
        else
            putchar(c);
    }
}

TAP_PRINTF_(1, 0) static inline void tap_vname_(const char *fmt, va_list ap)
{
    char name[512];
    int len = vsnprintf(name, sizeof name, fmt, ap);
    if (len > 0)
        tap_text_(name, strlen(name));
}

// Opens a verdict; the caller holds no lock before and holds it afterwards, until tap_end_.
TAP_PRINTF_(4, 0)
static inline void tap_begin_(const char *file, int line, bool good, const char *fmt, va_list ap)
{
    pthread_mutex_lock(&tap_lock_);
    tap_count_++;
    if (!good)
        tap_failed_++;
    printf("%sok %u - ", good ? "" : "not ", tap_count_);
    tap_vname_(fmt, ap);
    putchar('\n');
    if (!good)
        printf("#   at %s:%d\n", file, line);
}

// Flushed each time, so that a crash loses nothing that was decided before it.
static inline bool tap_end_(bool good)
{
    fflush(stdout);
    pthread_mutex_unlock(&tap_lock_);
    return good;
}

TAP_PRINTF_(5, 6)
static inline bool tap_ok_(const char *file, int line, const char *expr, bool good, const char *fmt,
                           ...)
{
    va_list ap;
    va_start(ap, fmt);
    tap_begin_(file, line, good, fmt, ap);
    va_end(ap);
    if (!good)
        printf("#   false: %s\n", expr);
    return tap_end_(good);
}

#define TAP_DEFINE_IS_(name, type, format, shown_type)                                             \
    TAP_PRINTF_(5, 6)                                                                              \
    static inline bool name(const char *file, int line, type got, type want, const char *fmt, ...) \
    {                                                                                              \
        bool good = got == want;                                                                   \
        va_list ap;                                                                                \
        va_start(ap, fmt);                                                                         \
        tap_begin_(file, line, good, fmt, ap);                                                     \
        va_end(ap);                                                                                \
        if (!good)                                                                                 \
            printf("#    got: " format "\n#   want: " format "\n", (shown_type)got,                \
                   (shown_type)want);                                                              \
        return tap_end_(good);                                                                     \
    }
TAP_DEFINE_IS_(tap_is_bool_, bool, "%d", int)
TAP_DEFINE_IS_(tap_is_int_, intmax_t, "%" PRIdMAX, intmax_t)
TAP_DEFINE_IS_(tap_is_uint_, uintmax_t, "%" PRIuMAX, uintmax_t)
TAP_DEFINE_IS_(tap_is_double_, double, "%.17g", double)
TAP_DEFINE_IS_(tap_is_ptr_, const volatile void *, "0x%" PRIxPTR, uintptr_t)
#undef TAP_DEFINE_IS_

static inline void tap_show_str_(const char *label, const char *s)
{
    printf("# %6s: ", label);
    if (!s) {
        printf("NULL\n");
        return;
    }
    putchar('"');
    tap_text_(s, strlen(s));
    printf("\"\n");
}

TAP_PRINTF_(5, 6)
static inline bool tap_is_str_(const char *file, int line, const char *got, const char *want,
                               const char *fmt, ...)
{
    bool good = got && want ? strcmp(got, want) == 0 : got == want;
    va_list ap;
    va_start(ap, fmt);
    tap_begin_(file, line, good, fmt, ap);
    va_end(ap);
    if (!good) {
        tap_show_str_("got", got);
        tap_show_str_("want", want);
    }
    return tap_end_(good);
}

// Shows the sixteen bytes around the first difference.
static inline void tap_show_mem_(const char *label, const unsigned char *p, size_t from, size_t to)
{
    printf("# %6s:", label);
    for (size_t i = from; i < to; i++)
        printf(" %02x", p[i]);
    putchar('\n');
}

TAP_PRINTF_(6, 7)
static inline bool tap_is_mem_(const char *file, int line, const void *got, const void *want,
                               size_t len, const char *fmt, ...)
{
    bool good = len == 0 || (got && want && memcmp(got, want, len) == 0);
    va_list ap;
    va_start(ap, fmt);
    tap_begin_(file, line, good, fmt, ap);
    va_end(ap);
    if (!good && got && want) {
        const unsigned char *g = (const unsigned char *)got;
        const unsigned char *w = (const unsigned char *)want;
        size_t at = 0;
        while (g[at] == w[at])
            at++;
        size_t from = at < 8 ? 0 : at - 8;
        size_t to = len - from < 16 ? len : from + 16;
        printf("#   differ at byte %zu of %zu; from byte %zu:\n", at, len, from);
        tap_show_mem_("got", g, from, to);
        tap_show_mem_("want", w, from, to);
    } else if (!good) {
        printf("#    got: %s\n#   want: %s\n", got ? "bytes" : "NULL", want ? "bytes" : "NULL");
    }
    return tap_end_(good);
}

TAP_PRINTF_(1, 2) static inline void tap_skip_(const char *fmt, ...)
{
    pthread_mutex_lock(&tap_lock_);
    tap_count_++;
    printf("ok %u # SKIP ", tap_count_);
    va_list ap;
    va_start(ap, fmt);
    tap_vname_(fmt, ap);
    va_end(ap);
    putchar('\n');
    tap_end_(true);
}

TAP_PRINTF_(1, 2) _Noreturn static inline void tap_skip_all_(const char *fmt, ...)
{
    pthread_mutex_lock(&tap_lock_);
    printf("1..0 # SKIP ");
    va_list ap;
    va_start(ap, fmt);
    tap_vname_(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
    _Exit(0);
}

TAP_PRINTF_(3, 4)
_Noreturn static inline void tap_bail_(const char *file, int line, const char *fmt, ...)
{
    pthread_mutex_lock(&tap_lock_);
    printf("Bail out! %s:%d: ", file, line);
    va_list ap;
    va_start(ap, fmt);
    tap_vname_(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
    _Exit(1);
}

TAP_PRINTF_(1, 2) static inline void tap_note(const char *fmt, ...)
{
    pthread_mutex_lock(&tap_lock_);
    printf("# ");
    va_list ap;
    va_start(ap, fmt);
    tap_vname_(fmt, ap);
    va_end(ap);
    putchar('\n');
    tap_end_(true);
}

static inline uint64_t tap_scaled(uint64_t n)
{
    const char *text = getenv("RQC_TEST_SCALE");
    unsigned long percent = text ? strtoul(text, NULL, 10) : 100;
    if (percent == 0 || percent > 100000)
        percent = 100;
    uint64_t scaled = n / 100 * percent + n % 100 * percent / 100;
    return scaled ? scaled : 1;
}

// Prints the plan and returns the exit status of main. A program that checked nothing has failed.
static inline int tap_done(void)
{
    pthread_mutex_lock(&tap_lock_);
    if (tap_count_ == 0) {
        printf("not ok 1 - the program checked nothing\n1..1\n");
        fflush(stdout);
        pthread_mutex_unlock(&tap_lock_);
        return 1;
    }
    printf("1..%u\n", tap_count_);
    if (tap_failed_ > 0)
        printf("# %u of %u failed\n", tap_failed_, tap_count_);
    fflush(stdout);
    pthread_mutex_unlock(&tap_lock_);
    return tap_failed_ > 0;
}

#endif

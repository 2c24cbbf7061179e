// SPDX-License-Identifier: Apache-2.0
//
// Rows of values for tests: by hand, and at random from a seed.
#ifndef RQC_TESTS_ROWS_H
#define RQC_TESTS_ROWS_H

#include "record/record.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Values at random point into one run of bytes that never moves.
#define ROWS_POOL 65536

typedef struct rows_random {
    uint64_t state;
    uint8_t pool[ROWS_POOL];
} rows_random;

static inline uint64_t rows_next(rows_random *x)
{
    uint64_t z = x->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline uint32_t rows_below(rows_random *x, uint32_t n)
{
    return (uint32_t)(rows_next(x) % n);
}

static inline void rows_seed(rows_random *x, uint64_t seed)
{
    x->state = seed;
    for (size_t i = 0; i < ROWS_POOL; i++)
        x->pool[i] = (uint8_t)rows_next(x);
}

static inline rqc_value rows_int(int64_t i)
{
    return (rqc_value){.type = RQC_INT, .u.i = i};
}

static inline rqc_value rows_real(double d)
{
    return (rqc_value){.type = RQC_REAL, .u.d = d};
}

static inline rqc_value rows_bool(bool b)
{
    return (rqc_value){.type = RQC_BOOL, .u.i = b};
}

static inline rqc_value rows_null(void)
{
    return (rqc_value){.type = RQC_NULL};
}

static inline rqc_value rows_id(const void *p)
{
    return (rqc_value){.type = RQC_ID, .n = 16, .p = p};
}

static inline rqc_value rows_text(const char *text)
{
    return (rqc_value){.type = RQC_TEXT, .n = (uint32_t)strlen(text), .p = text};
}

static inline rqc_value rows_bytes(const void *p, uint32_t n)
{
    return (rqc_value){.type = RQC_BYTES, .n = n, .p = p};
}

static inline const uint8_t *rows_random_bytes(rows_random *x, uint32_t n)
{
    return x->pool + rows_below(x, ROWS_POOL - n + 1);
}

static inline rqc_value rows_random_real(rows_random *x)
{
    static const double some[] = {0.0, -0.0, 1.5, -1.0, 1e300, 5e-324};
    const uint32_t i = rows_below(x, 8);
    if (i < 6)
        return rows_real(some[i]);
    if (i == 6)
        return rows_real(rows_below(x, 2) ? (double)INFINITY : -(double)INFINITY);
    return rows_real((double)(int64_t)rows_next(x) / 1024.0);
}

static inline rqc_value rows_random_int(rows_random *x)
{
    static const int64_t some[] = {0, 1, -1, INT64_MAX, INT64_MIN, 1760000000};
    const uint32_t i = rows_below(x, 7);
    return rows_int(i < 6 ? some[i] : (int64_t)rows_next(x));
}

static inline rqc_value rows_random_text(rows_random *x, rqc_type type)
{
    static const uint32_t some[] = {
        0, 0, 1, 7, 8, 9, 100, 1000, RQCI_LARGE_BYTES, RQCI_LARGE_BYTES + 1, 60000};
    // Long ones rarely: they cost more than all others.
    const uint32_t n = rows_below(x, 8) == 0 ? some[rows_below(x, 11)] : rows_below(x, 40);
    return (rqc_value){.type = type, .n = n, .p = rows_random_bytes(x, n)};
}

// A value of the field's own type, or NULL (never for the key).
static inline rqc_value rows_random_value(rows_random *x, const rqci_entity *e, int field)
{
    if (field > 0 && rows_below(x, 4) == 0)
        return rows_null();
    switch ((rqci_ftype)e->types[field]) {
    case RQCI_T_ID: return rows_id(rows_random_bytes(x, 16));
    case RQCI_T_TEXT: return rows_random_text(x, RQC_TEXT);
    case RQCI_T_BYTES: return rows_random_text(x, RQC_BYTES);
    case RQCI_T_INT: return rows_random_int(x);
    case RQCI_T_BOOL: return rows_bool(rows_below(x, 2));
    case RQCI_T_REAL: return rows_random_real(x);
    case RQCI_T_ANY: break;
    }
    switch (rows_below(x, 4)) {
    case 0: return rows_random_int(x);
    case 1: return rows_random_real(x);
    case 2: return rows_random_text(x, RQC_TEXT);
    default: return rows_random_text(x, RQC_BYTES);
    }
}

static inline void rows_random_row(rows_random *x, const rqci_entity *e, rqc_value *ret_row)
{
    for (int i = 0; i < e->nfields; i++)
        ret_row[i] = rows_random_value(x, e, i);
}

// The same value, bit for bit.
static inline bool rows_equal(const rqc_value *a, const rqc_value *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case RQC_ABSENT:
    case RQC_NULL: return true;
    case RQC_INT:
    case RQC_BOOL: return a->u.i == b->u.i;
    case RQC_REAL: return memcmp(&a->u.d, &b->u.d, sizeof a->u.d) == 0;
    case RQC_LARGE:
        if (a->u.length != b->u.length)
            return false;
        break;
    case RQC_TEXT:
    case RQC_BYTES:
    case RQC_ID: break;
    }
    return a->n == b->n && (a->n == 0 || memcmp(a->p, b->p, a->n) == 0);
}

// Text between a line "```NAME" and the next "```" of a page in docs/, NULL when there is none.
// Free it.
static inline char *rows_from_docs(const char *page, const char *name)
{
    char path[1024];
    const char *root = getenv("RQC_SOURCE_ROOT");
    snprintf(path, sizeof path, "%s/docs/%s", root ? root : ".", page);
    FILE *f = fopen(path, "r");
    if (!f)
        return NULL;
    char line[512], mark[64];
    snprintf(mark, sizeof mark, "```%s\n", name);
    char *text = NULL;
    size_t len = 0;
    FILE *out = NULL;
    while (fgets(line, sizeof line, f)) {
        if (!out && strcmp(line, mark) == 0)
            out = open_memstream(&text, &len);
        else if (out && strncmp(line, "```", 3) == 0)
            break;
        else if (out)
            fputs(line, out);
    }
    if (out)
        fclose(out);
    fclose(f);
    return text;
}

// Hex digits with blanks between; returns the number of bytes, at most max.
static inline size_t rows_hex(const char *text, uint8_t *ret_bytes, size_t max)
{
    size_t n = 0;
    int used;
    for (unsigned v; n < max && sscanf(text, " %2x%n", &v, &used) == 1; text += used)
        ret_bytes[n++] = (uint8_t)v;
    return n;
}

#endif

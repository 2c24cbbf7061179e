// SPDX-License-Identifier: Apache-2.0
// Loads and stores of integers at any alignment: little-endian in formats, big-endian in keys.
#ifndef RQCI_BYTES_H
#define RQCI_BYTES_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define RQCI_LE16(v) (v)
#define RQCI_LE32(v) (v)
#define RQCI_LE64(v) (v)
#define RQCI_BE32(v) __builtin_bswap32(v)
#define RQCI_BE64(v) __builtin_bswap64(v)
#else
#define RQCI_LE16(v) __builtin_bswap16(v)
#define RQCI_LE32(v) __builtin_bswap32(v)
#define RQCI_LE64(v) __builtin_bswap64(v)
#define RQCI_BE32(v) (v)
#define RQCI_BE64(v) (v)
#endif

static inline uint16_t rqci_get16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return RQCI_LE16(v);
}

static inline uint32_t rqci_get32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return RQCI_LE32(v);
}

static inline uint64_t rqci_get64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return RQCI_LE64(v);
}

static inline void rqci_put16(void *p, uint16_t v)
{
    v = RQCI_LE16(v);
    memcpy(p, &v, sizeof v);
}

static inline void rqci_put32(void *p, uint32_t v)
{
    v = RQCI_LE32(v);
    memcpy(p, &v, sizeof v);
}

static inline void rqci_put64(void *p, uint64_t v)
{
    v = RQCI_LE64(v);
    memcpy(p, &v, sizeof v);
}

static inline uint32_t rqci_get32be(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return RQCI_BE32(v);
}

static inline uint64_t rqci_get64be(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return RQCI_BE64(v);
}

static inline void rqci_put32be(void *p, uint32_t v)
{
    v = RQCI_BE32(v);
    memcpy(p, &v, sizeof v);
}

static inline void rqci_put64be(void *p, uint64_t v)
{
    v = RQCI_BE64(v);
    memcpy(p, &v, sizeof v);
}

#endif

// SPDX-License-Identifier: Apache-2.0
// XXH3 (https://github.com/Cyan4973/xxHash), seed 0. Finds faults, not forgers. This room's hash.c
// is the one includer of the library. No errors, no allocation, any thread.
#ifndef RQCI_HASH_H
#define RQCI_HASH_H

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

// A 128-bit number in two halves.
typedef struct rqci_hash128 {
    uint64_t lo, hi;
} rqci_hash128;

// XXH3-64 and XXH3-128 of n bytes (p may be NULL when n is 0).
uint64_t rqci_xxh64(const void *p, size_t n);
rqci_hash128 rqci_xxh128(const void *p, size_t n);
// XXH3-128 in its canonical form: 16 bytes, big-endian, high half first.
void rqci_xxh128_bytes(const void *p, size_t n, uint8_t ret_hash[16]);

// The same in pieces. A plain value: no clean-up; must not be copied to an address of another
// alignment.
typedef struct rqci_hasher {
    alignas(64) uint8_t state[576];
} rqci_hasher;
void rqci_hasher_init(rqci_hasher *h);
void rqci_hasher_add(rqci_hasher *h, const void *p, size_t n);
uint64_t rqci_hasher_end64(const rqci_hasher *h);
rqci_hash128 rqci_hasher_end128(const rqci_hasher *h);

#endif

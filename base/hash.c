// SPDX-License-Identifier: Apache-2.0
// Inlined, because most inputs are short (ids, records) and then the length switch costs more than
// the hash.
#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(sizeof(XXH3_state_t) <= sizeof(rqci_hasher), "rqci_hasher is too small");
_Static_assert(_Alignof(XXH3_state_t) <= _Alignof(rqci_hasher), "rqci_hasher is not aligned");

uint64_t rqci_xxh64(const void *p, size_t n)
{
    return XXH3_64bits(n ? p : "", n);
}

rqci_hash128 rqci_xxh128(const void *p, size_t n)
{
    const XXH128_hash_t h = XXH3_128bits(n ? p : "", n);
    return (rqci_hash128){h.low64, h.high64};
}

void rqci_xxh128_bytes(const void *p, size_t n, uint8_t ret_hash[16])
{
    XXH128_canonical_t bytes;
    XXH128_canonicalFromHash(&bytes, XXH3_128bits(n ? p : "", n));
    memcpy(ret_hash, bytes.digest, sizeof bytes.digest);
}

void rqci_hasher_init(rqci_hasher *h)
{
    // The library wants a state that was never used to be zero; reset alone leaves parts of it
    // unset.
    memset(h, 0, sizeof *h);
    (void)XXH3_128bits_reset((XXH3_state_t *)(void *)h->state);
}

void rqci_hasher_add(rqci_hasher *h, const void *p, size_t n)
{
    if (n > 0)
        (void)XXH3_128bits_update((XXH3_state_t *)(void *)h->state, p, n);
}

uint64_t rqci_hasher_end64(const rqci_hasher *h)
{
    return XXH3_64bits_digest((const XXH3_state_t *)(const void *)h->state);
}

rqci_hash128 rqci_hasher_end128(const rqci_hasher *h)
{
    const XXH128_hash_t r = XXH3_128bits_digest((const XXH3_state_t *)(const void *)h->state);
    return (rqci_hash128){r.low64, r.high64};
}

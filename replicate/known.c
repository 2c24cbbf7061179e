// SPDX-License-Identifier: Apache-2.0
#include "replicate/known.h"

#include "base/id.h"

#include <stdlib.h>

#define SMALLEST 1024u

static size_t home(const rqci_known *k, uint8_t entity, const uint8_t id[16])
{
    uint8_t key[17] = {entity};
    memcpy(key + 1, id, 16);
    return (size_t)rqci_xxh64(key, sizeof key) & (k->cap - 1);
}

// The record's place; NULL when it has none, then *ret_free is one that it may have.
static rqci_known_record *find(const rqci_known *k, uint8_t entity, const uint8_t id[16],
                               rqci_known_record **ret_free)
{
    *ret_free = NULL;
    if (k->cap == 0)
        return NULL;
    for (size_t i = home(k, entity, id);; i = (i + 1) & (k->cap - 1)) {
        rqci_known_record *p = &k->places[i];
        if (p->entity == entity && !p->gone && rqci_id_equal(p->id, id))
            return p;
        if ((p->entity == 0 || p->gone) && !*ret_free)
            *ret_free = p;
        if (p->entity == 0)
            return NULL;
    }
}

static rqc_err grow(rqci_known *k)
{
    rqci_known bigger = {.cap = SMALLEST, .walk = k->walk, .n = k->n, .used = k->n, .sum = k->sum};
    while (bigger.cap < 4 * k->n)
        bigger.cap *= 2;
    bigger.places = calloc(bigger.cap, sizeof *bigger.places);
    if (!bigger.places)
        return RQC_NO_MEMORY;
    for (size_t i = 0; i < k->cap; i++) {
        const rqci_known_record *p = &k->places[i];
        if (p->entity == 0 || p->gone)
            continue;
        size_t at = home(&bigger, p->entity, p->id);
        while (bigger.places[at].entity != 0)
            at = (at + 1) & (bigger.cap - 1);
        bigger.places[at] = *p;
    }
    free(k->places);
    *k = bigger;
    return RQC_OK;
}

rqc_err rqci_known_put(rqci_known *k, const rqc_record *r)
{
    if (2 * (k->used + 1) > k->cap) {
        const rqc_err rc = grow(k);
        if (rc != RQC_OK)
            return rc;
    }
    const uint8_t entity = rqci_rec_entity(r);
    rqci_known_record *place, *p = find(k, entity, rqci_rec_id(r), &place);
    if (p) {
        rqci_digest_sub(&k->sum, p->digest);
    } else {
        p = place;
        k->used += p->entity == 0;
        k->n++;
        p->entity = entity;
        p->gone = false;
        memcpy(p->id, rqci_rec_id(r), 16);
    }
    p->walk = k->walk;
    rqci_rec_digest(r, &p->digest);
    rqci_digest_add(&k->sum, p->digest);
    return RQC_OK;
}

static void take_away(rqci_known *k, rqci_known_record *p)
{
    rqci_digest_sub(&k->sum, p->digest);
    p->gone = true;
    k->n--;
}

void rqci_known_del(rqci_known *k, uint8_t entity, const uint8_t id[16])
{
    rqci_known_record *place, *p = find(k, entity, id, &place);
    if (p)
        take_away(k, p);
}

void rqci_known_walk(rqci_known *k)
{
    k->walk++;
}

bool rqci_known_unseen(rqci_known *k, const rqci_bucket_set *within, size_t *at,
                       uint8_t *ret_entity, uint8_t ret_id[16])
{
    for (; *at < k->cap; (*at)++) {
        rqci_known_record *p = &k->places[*at];
        if (p->entity == 0 || p->gone || p->walk == k->walk ||
            (within && !rqci_bucket_in(within, rqci_id_bucket(p->id))))
            continue;
        *ret_entity = p->entity;
        memcpy(ret_id, p->id, 16);
        take_away(k, p);
        return true;
    }
    return false;
}

unsigned rqci_known_differing(const rqci_known *k, const rqci_digest digests[256],
                              rqci_bucket_set *ret_set)
{
    rqci_digest mine[256] = {{0, 0}};
    unsigned n = 0;
    for (size_t i = 0; i < k->cap; i++) {
        const rqci_known_record *p = &k->places[i];
        if (p->entity != 0 && !p->gone)
            rqci_digest_add(&mine[rqci_id_bucket(p->id)], p->digest);
    }
    memset(ret_set, 0, sizeof *ret_set);
    for (unsigned i = 0; i < 256; i++) {
        if (mine[i].lo == digests[i].lo && mine[i].hi == digests[i].hi)
            continue;
        ret_set->bits[i / 8] |= (uint8_t)(1u << i % 8);
        n++;
    }
    return n;
}

void rqci_known_free(rqci_known *k)
{
    free(k->places);
    memset(k, 0, sizeof *k);
}

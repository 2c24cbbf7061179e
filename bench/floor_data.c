// SPDX-License-Identifier: Apache-2.0
//
// The records: everything follows from the record number, so nothing but ids and orders is stored.
#include "bench/floor.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SECOND = 1700000000 };

uint64_t floor_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

uint64_t floor_next(uint64_t *rng)
{
    *rng += 0x9e3779b97f4a7c15U;
    return floor_mix(*rng);
}

uint32_t floor_below(uint64_t *rng, uint32_t n)
{
    return (uint32_t)(((floor_next(rng) >> 32) * n) >> 32);
}

uint32_t floor_ws(const struct floor_data *d, uint32_t req)
{
    return req % d->workspaces;
}

int64_t floor_updated_at(uint32_t req)
{
    return FIRST_SECOND + (int64_t)req * 60;
}

enum floor_entity floor_entity_of(const struct floor_data *d, uint32_t rec)
{
    uint32_t k = rec % d->per_request;

    if (k == 0)
        return FLOOR_HTTP;
    return k <= d->children ? FLOOR_HEADER : FLOOR_PARAM;
}

static void make_id(const struct floor_data *d, uint32_t rec, uint8_t *id)
{
    uint64_t lo = floor_mix(rec * 2ULL), hi = floor_mix(rec * 2ULL + 1);
    uint64_t ms = (uint64_t)floor_updated_at(rec / d->per_request) * 1000 + rec % d->per_request;

    memcpy(id + 8, &lo, 8);
    if (d->random_ids)
        memcpy(id, &hi, 8);
    else
        floor_put_be64(id, ms << 16 | (hi & 0xffff));
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, FLOOR_ID);
}

// Record numbers of siblings ascend with their ids, random or not.
static void make_ids(struct floor_data *d)
{
    d->ids = floor_alloc(d->records, sizeof *d->ids);
    for (uint32_t rec = 0; rec < d->records; rec++)
        make_id(d, rec, d->ids[rec]);
    for (uint32_t rec = 1; rec < d->records && d->random_ids; rec += d->per_request) {
        qsort(d->ids + rec, d->children, FLOOR_ID, compare_ids);
        qsort(d->ids + rec + d->children, d->children, FLOOR_ID, compare_ids);
    }
}

struct sort_item {
    uint64_t word[3];
    uint32_t number;
};

static int compare_items(const void *a, const void *b)
{
    const struct sort_item *x = a, *y = b;

    for (int i = 0; i < 3; i++) {
        if (x->word[i] != y->word[i])
            return x->word[i] < y->word[i] ? -1 : 1;
    }
    return 0;
}

// Sorts by (major, id of record number * step).
static void sort_by_id(const struct floor_data *d, uint32_t *numbers, uint32_t n, uint32_t step,
                       uint64_t (*major)(const struct floor_data *, uint32_t))
{
    struct sort_item *items = floor_alloc(n, sizeof *items);

    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *id = d->ids[(size_t)numbers[i] * step];
        items[i] =
            (struct sort_item){{major(d, numbers[i]), floor_get_be64(id), floor_get_be64(id + 8)},
                               numbers[i]};
    }
    qsort(items, n, sizeof *items, compare_items);
    for (uint32_t i = 0; i < n; i++)
        numbers[i] = items[i].number;
    free(items);
}

static uint64_t major_none(const struct floor_data *d, uint32_t req)
{
    (void)d;
    (void)req;
    return 0;
}

static uint64_t major_ws(const struct floor_data *d, uint32_t req)
{
    return floor_ws(d, req);
}

static uint64_t major_entity(const struct floor_data *d, uint32_t rec)
{
    return floor_entity_of(d, rec);
}

static uint32_t *iota(uint32_t n)
{
    uint32_t *v = floor_alloc(n, sizeof *v);

    for (uint32_t i = 0; i < n; i++)
        v[i] = i;
    return v;
}

static void shuffle(uint32_t *v, uint32_t n, uint64_t seed)
{
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = floor_below(&seed, i), keep = v[i - 1];
        v[i - 1] = v[j];
        v[j] = keep;
    }
}

// The older half of the records has its seqs in the order of import, a request with its children;
// the newer half in random order, as if each record had been edited once, long after.
static void make_seqs(struct floor_data *d)
{
    uint32_t half = d->requests / 2 * d->per_request, at = 0;
    uint32_t *at_seq = iota(d->records);

    shuffle(at_seq + half, d->records - half, 7);
    d->seq_of = floor_alloc(d->records, sizeof *d->seq_of);
    d->records_by_seq = floor_alloc(d->records, sizeof *d->records_by_seq);
    uint32_t *start = floor_alloc(d->workspaces + 1, sizeof *start);
    for (uint32_t rec = 0; rec < d->records; rec++)
        start[floor_ws(d, rec / d->per_request) + 1]++;
    for (uint32_t w = 0; w < d->workspaces; w++)
        start[w + 1] += start[w];
    for (; at < d->records; at++) {
        d->seq_of[at_seq[at]] = at;
        d->records_by_seq[start[floor_ws(d, at_seq[at] / d->per_request)]++] = at_seq[at];
    }
    free(start);
    free(at_seq);
}

void floor_data_make(struct floor_data *d)
{
    d->per_request = 1 + 2 * d->children;
    d->records = d->requests * d->per_request;
    make_ids(d);
    d->by_id = iota(d->requests);
    d->by_ws_id = iota(d->requests);
    d->shuffled = iota(d->requests);
    d->records_by_id = iota(d->records);
    sort_by_id(d, d->by_id, d->requests, d->per_request, major_none);
    sort_by_id(d, d->by_ws_id, d->requests, d->per_request, major_ws);
    sort_by_id(d, d->records_by_id, d->records, 1, major_entity);
    shuffle(d->shuffled, d->requests, 3);
    d->by_ws_oldest = floor_alloc(d->requests, sizeof *d->by_ws_oldest);
    for (uint32_t w = 0, at = 0; w < d->workspaces; w++) {
        for (uint64_t i = w; i < d->requests; i += d->workspaces)
            d->by_ws_oldest[at++] = (uint32_t)i;
    }
    d->by_ws_newest = floor_alloc(d->requests, sizeof *d->by_ws_newest);
    for (uint32_t w = 0, at = 0; w < d->workspaces; w++) {
        uint32_t last = d->requests - 1 - (d->requests - 1 - w) % d->workspaces;
        for (int64_t i = last; i >= 0; i -= d->workspaces)
            d->by_ws_newest[at++] = (uint32_t)i;
    }
    make_seqs(d);
}

void floor_data_free(struct floor_data *d)
{
    free(d->ids);
    free(d->by_id);
    free(d->by_ws_id);
    free(d->by_ws_oldest);
    free(d->by_ws_newest);
    free(d->shuffled);
    free(d->records_by_id);
    free(d->seq_of);
    free(d->records_by_seq);
}

uint32_t floor_child(const struct floor_data *d, uint32_t req, enum floor_entity e, uint32_t k)
{
    return req * d->per_request + 1 + (e == FLOOR_PARAM ? d->children : 0) + k;
}

size_t floor_text_offset(enum floor_entity e)
{
    // Head, owner, presence bitmap, two slots; http: folder, parent and body kind besides.
    return sizeof(struct floor_head) + 40 + (e == FLOOR_HTTP ? 48 : 0);
}

uint32_t floor_record(const struct floor_data *d, uint32_t rec, uint32_t version, uint8_t *buf)
{
    enum floor_entity e = floor_entity_of(d, rec);
    uint32_t req = rec / d->per_request, at = (uint32_t)floor_text_offset(e);
    uint64_t rng = rec + ((uint64_t)version << 32);
    uint32_t text = (e == FLOOR_HTTP ? 80 : 24) + (uint32_t)(floor_mix(rec) % 8) * 8;
    struct floor_head head = {
        .seq = d->seq_of[rec],
        .updated_at = floor_updated_at(req),
        .len = at + text,
        .flags = (uint16_t)(1 + version),
        .entity = (uint8_t)e,
    };

    memcpy(head.id, d->ids[rec], FLOOR_ID);
    memcpy(buf, &head, sizeof head);
    memset(buf + sizeof head, 0, at - sizeof head);
    memcpy(buf + sizeof head, d->ids[req * d->per_request], FLOOR_ID);
    for (; at < head.len; at += 8) {
        uint64_t letters = (floor_next(&rng) & 0x0f0f0f0f0f0f0f0fU) + 0x6161616161616161U;
        memcpy(buf + at, &letters, 8);
    }
    return head.len;
}

// SPDX-License-Identifier: Apache-2.0
#include "record/resolve.h"

#include "base/hash.h"

#include <stdlib.h>

#define NONE UINT32_MAX
// Up to this many comparisons finding the overridden rows one by one is faster than a table of
// their ids.
#define FEW 512

rqc_err rqci_list_add(rqci_list *l, const rqc_record *r)
{
    if (l->n == l->cap) {
        const size_t cap = l->cap ? l->cap * 2 : 64;
        if (cap > SIZE_MAX / 2 / sizeof *l->items)
            return RQC_TOO_LARGE;
        const rqc_record **items = realloc(l->items, cap * sizeof *items);
        if (!items)
            return RQC_NO_MEMORY;
        l->items = items;
        l->cap = cap;
    }
    l->items[l->n++] = r;
    return RQC_OK;
}

void rqci_list_free(rqci_list *l)
{
    if (!l)
        return;
    free(l->items);
    *l = (rqci_list){0};
}

void rqci_items_free(rqci_items *m)
{
    if (!m)
        return;
    free(m->items);
    free(m->over);
    free(m->scratch);
    *m = (rqci_items){0};
}

// ---- Fields of merged records ----

rqci_field_place rqci_item_place(const rqc_item *m, int field)
{
    if (m->nover == 0)
        return (rqci_field_place){m->record, field};
    const rqci_entity *e = &rqci_entities[rqci_rec_entity(m->record)];
    if (e->delta_mask >> field & 1 || field == e->is_delta)
        return (rqci_field_place){NULL, field};
    const int override = field == e->order ? 0 : rqci_override_of(e, field);
    for (uint32_t i = m->nover; override > 0 && i-- > 0;)
        if (rqci_rec_present(m->over[i]) >> override & 1)
            return (rqci_field_place){m->over[i], override};
    return (rqci_field_place){m->record, field};
}

void rqci_item_field(const rqc_item *m, int field, rqc_value *ret_value)
{
    const rqci_field_place at = rqci_item_place(m, field);
    if (at.record)
        rqci_rec_field(at.record, at.field, ret_value);
    else if (field == rqci_entities[rqci_rec_entity(m->record)].is_delta)
        *ret_value = (rqc_value){.type = RQC_BOOL};
    else
        *ret_value = (rqc_value){.type = RQC_NULL};
}

rqci_field_place rqci_chain_place(const rqc_record *const *chain, size_t n, int field)
{
    const rqci_entity *e = &rqci_entities[rqci_rec_entity(chain[0])];
    const int override = rqci_override_of(e, field);
    const bool hash = e->code == RQCI_HTTP && field == RQCI_HTTP_CONTENT_HASH;
    if (override == 0 && !hash)
        return (rqci_field_place){chain[n - 1], field};
    const int from = hash ? field : override;
    size_t i = n - 1;
    while (i > 0 && !(rqci_rec_present(chain[i]) >> from & 1))
        i--;
    return (rqci_field_place){chain[i], i > 0 ? from : field};
}

void rqci_chain_field(const rqc_record *const *chain, size_t n, int field, rqc_value *ret_value)
{
    if (n == 0) {
        *ret_value = (rqc_value){.type = RQC_ABSENT};
        return;
    }
    const rqci_field_place at = rqci_chain_place(chain, n, field);
    rqci_rec_field(at.record, at.field, ret_value);
}

// ---- Children ----

// Makes room for n elements of `size` bytes at *p.
static rqc_err fit(void *p_of_array, size_t *cap, size_t n, size_t size)
{
    if (n <= *cap)
        return RQC_OK;
    if (n > SIZE_MAX / 4 / size)
        return RQC_TOO_LARGE;
    void *array;
    memcpy(&array, p_of_array, sizeof array);
    array = realloc(array, (n + n / 2) * size);
    if (!array)
        return RQC_NO_MEMORY;
    memcpy(p_of_array, &array, sizeof array);
    *cap = n + n / 2;
    return RQC_OK;
}

// An open-addressed table of the base rows' ids; size 0: no table, look through them all.
struct index {
    const rqci_list *base;
    uint32_t *slots;
    size_t size;
};

static size_t table_size(size_t nbase, size_t noverrides)
{
    if (nbase * noverrides <= FEW)
        return 0;
    size_t size = 16;
    while (size < 2 * nbase)
        size *= 2;
    return size;
}

static void index_fill(struct index *x)
{
    for (size_t i = 0; i < x->size; i++)
        x->slots[i] = NONE;
    for (size_t i = 0; x->size > 0 && i < x->base->n; i++) {
        size_t at = rqci_xxh64(rqci_rec_id(x->base->items[i]), 16) & (x->size - 1);
        while (x->slots[at] != NONE)
            at = (at + 1) & (x->size - 1);
        x->slots[at] = (uint32_t)i;
    }
}

static uint32_t index_find(const struct index *x, const uint8_t id[16])
{
    if (x->size == 0) {
        for (size_t i = 0; i < x->base->n; i++) {
            if (memcmp(rqci_rec_id(x->base->items[i]), id, 16) == 0)
                return (uint32_t)i;
        }
        return NONE;
    }
    size_t at = rqci_xxh64(id, 16) & (x->size - 1);
    for (; x->slots[at] != NONE; at = (at + 1) & (x->size - 1)) {
        if (memcmp(rqci_rec_id(x->base->items[x->slots[at]]), id, 16) == 0)
            break;
    }
    return x->slots[at];
}

// Finds the base row of each override (match[i], NONE for the others) and counts them in the items.
// Where overrides do not accumulate the last one alone stays.
static void match_overrides(const rqci_entity *e, const struct index *x, const rqci_list *delta,
                            uint32_t *match, rqc_item *items)
{
    const bool accumulate = e->code == RQCI_HTTP_ASSERT;
    for (size_t i = delta->n; i-- > 0;) {
        const uint8_t *parent = rqci_rec_id_field(delta->items[i], e->parent);
        match[i] = parent ? index_find(x, parent) : NONE;
        if (match[i] == NONE)
            continue;
        if (items[match[i]].nover > 0 && !accumulate)
            match[i] = NONE;
        else
            items[match[i]].nover++;
    }
}

// Gives each item its part of `over` and fills it in the order of the list.
static void place_overrides(const rqci_list *delta, const uint32_t *match, rqci_items *m,
                            size_t nbase)
{
    size_t used = 0;
    for (size_t i = 0; i < nbase; i++) {
        rqc_item *item = &m->items[i];
        if (item->nover == 0)
            continue;
        item->over = m->over + used;
        item->origin = RQC_ORIGIN_OVERRIDE;
        used += item->nover;
        item->nover = 0;
    }
    for (size_t i = 0; i < delta->n; i++) {
        if (match[i] == NONE)
            continue;
        rqc_item *item = &m->items[match[i]];
        m->over[(size_t)(item->over - m->over) + item->nover++] = delta->items[i];
    }
}

static size_t count_overrides(const rqci_entity *e, const rqci_list *delta)
{
    size_t n = 0;
    for (size_t i = 0; i < delta->n; i++)
        n += rqci_rec_present(delta->items[i]) >> e->parent & 1;
    return n;
}

rqc_err rqci_merge_children(const rqci_entity *e, rqci_list *base, rqci_list *delta,
                            rqci_items *ret_items)
{
    rqci_list none = {0};
    if (!delta || delta->n == 0)
        delta = &none;
    rqci_items *m = ret_items;
    m->n = 0;
    if (base->n == 0 && delta->n == 0)
        return RQC_OK;
    if (base->n >= NONE / 4 || delta->n >= NONE / 4)
        return RQC_TOO_LARGE;
    const size_t noverrides = count_overrides(e, delta);
    struct index x = {base, NULL, table_size(base->n, noverrides)};
    rqc_err rc = fit(&m->items, &m->cap, base->n + delta->n, sizeof *m->items);
    if (rc == RQC_OK)
        rc = fit(&m->over, &m->over_cap, noverrides, sizeof *m->over);
    if (rc == RQC_OK && noverrides > 0)
        rc = fit(&m->scratch, &m->scratch_cap, x.size + delta->n, sizeof *m->scratch);
    if (rc != RQC_OK)
        return rc;
    rqci_sort_by_order(e, base->items, base->n);
    rqci_sort_by_order(e, delta->items, delta->n);
    for (size_t i = 0; i < base->n; i++)
        m->items[i] = (rqc_item){.record = base->items[i], .origin = RQC_ORIGIN_BASE};
    m->n = base->n;
    if (noverrides > 0) {
        uint32_t *match = m->scratch;
        x.slots = match + delta->n;
        index_fill(&x);
        match_overrides(e, &x, delta, match, m->items);
        place_overrides(delta, match, m, base->n);
    }
    for (size_t i = 0; i < delta->n; i++) {
        if (!(rqci_rec_present(delta->items[i]) >> e->parent & 1))
            m->items[m->n++] = (rqc_item){.record = delta->items[i], .origin = RQC_ORIGIN_ADDITION};
    }
    return RQC_OK;
}

// ---- Body ----

// Takes the bytes of one column when there are any.
static bool take_bytes(const rqc_record *r, int field, int codec_field, rqci_body *ret_body)
{
    rqc_value bytes, codec;
    rqci_rec_field(r, field, &bytes);
    if (bytes.type != RQC_LARGE && (bytes.type != RQC_BYTES || bytes.n == 0))
        return false;
    rqci_rec_field(r, codec_field, &codec);
    ret_body->bytes = bytes;
    ret_body->compression = codec.type == RQC_INT ? codec.u.i : 0;
    ret_body->source = r;
    ret_body->source_field = field;
    return true;
}

void rqci_merge_body(const rqc_record *base, const rqc_record *delta, rqci_body *ret_body)
{
    rqci_body b = {.record = base ? base : delta, .bytes = {.type = RQC_NULL}};
    if (b.record) {
        b.id = base ? rqci_rec_id(base) : NULL;
        b.origin = base ? RQC_ORIGIN_BASE : RQC_ORIGIN_ADDITION;
        b.source = b.record;
        b.source_field = RQCI_HTTP_BODY_RAW_RAW_DATA;
    }
    const bool overridden = delta && (take_bytes(delta, RQCI_HTTP_BODY_RAW_DELTA_RAW_DATA,
                                                 RQCI_HTTP_BODY_RAW_DELTA_COMPRESSION_TYPE, &b) ||
                                      take_bytes(delta, RQCI_HTTP_BODY_RAW_RAW_DATA,
                                                 RQCI_HTTP_BODY_RAW_COMPRESSION_TYPE, &b));
    if (overridden && base) {
        b.origin = RQC_ORIGIN_OVERRIDE;
    } else if (!overridden && b.record &&
               !take_bytes(b.record, RQCI_HTTP_BODY_RAW_RAW_DATA,
                           RQCI_HTTP_BODY_RAW_COMPRESSION_TYPE, &b)) {
        // Nothing anywhere: as the row has it, empty or NULL.
        rqci_rec_field(b.record, RQCI_HTTP_BODY_RAW_RAW_DATA, &b.bytes);
    }
    *ret_body = b;
}

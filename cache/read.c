// SPDX-License-Identifier: Apache-2.0
// Point reads and lists of children, workspaces and their counters.
#include "cache/internal.h"

#include <stdlib.h>

static rqc_err damaged(void)
{
    return RQC_CORRUPT;
}

rqc_err rqci_list_fit(rqci_list *l, size_t more)
{
    if (l->cap - l->n >= more)
        return RQC_OK;
    size_t cap = l->cap < 64 ? 64 : l->cap;
    while (cap - l->n < more) {
        if (cap > SIZE_MAX / 2 / sizeof *l->items)
            return RQC_NO_MEMORY;
        cap *= 2;
    }
    const rqc_record **items = realloc(l->items, cap * sizeof *items);
    if (items == NULL)
        return RQC_NO_MEMORY;
    l->items = items;
    l->cap = cap;
    return RQC_OK;
}

static inline rqc_err get(rqci_reader *r, enum rqci_dbi db, const void *k, size_t n, MDB_val *val)
{
    MDB_val key = {n, (void *)(uintptr_t)k};
    return rqci_lmdb_err(mdb_get(r->txn, r->env->dbi[db], &key, val), "read", NULL);
}

// A workspace keeps its number as long as the environment lives.
rqc_err rqci_read_ws_number(rqci_reader *r, const uint8_t id[16], uint32_t *ret_number)
{
    uint8_t k[17] = {'i'};
    MDB_val val;
    rqci_ws_known *ws = &r->ws[id[15]];
    if (ws->known && rqci_id_equal(ws->id, id)) {
        *ret_number = ws->number;
        return RQC_OK;
    }
    if (rqci_id_zero(id)) {
        *ret_number = 0;
        return RQC_OK;
    }
    memcpy(k + 1, id, 16);
    const rqc_err rc = get(r, RQCI_DB_WS, k, sizeof k, &val);
    if (rc != RQC_OK)
        return rc;
    if (val.mv_size != 4)
        return damaged();
    memcpy(ws->id, id, 16);
    ws->number = *ret_number = rqci_get32(val.mv_data);
    ws->known = true;
    return RQC_OK;
}

// Small records stand behind their place.
static inline bool behind_place(const MDB_val *place, const rqc_record **ret_record)
{
    if (place->mv_size < RQCI_PLACE_HTTP + RQCI_REC_HEADER)
        return false;
    const rqc_record *rec = (const rqc_record *)((const uint8_t *)place->mv_data + RQCI_PLACE_HTTP);
    *ret_record = rec;
    return rqci_rec_size(rec) == place->mv_size - RQCI_PLACE_HTTP;
}

static rqc_err http_at(rqci_reader *r, const MDB_val *at, const uint8_t id[16],
                       const rqc_record **ret_record)
{
    uint8_t k[RQCI_KEY_HTTP];
    const uint8_t *place = at->mv_data;
    MDB_val val;
    if (at->mv_size != RQCI_PLACE_HTTP)
        return damaged();
    rqci_key_http(k, rqci_get32(place), place[4], (int64_t)rqci_get64(place + 8), id);
    const rqc_err rc = get(r, RQCI_DB_HTTP, k, sizeof k, &val);
    if (rc != RQC_OK)
        return rc == RQC_NOT_FOUND ? damaged() : rc;
    if (val.mv_size < RQCI_REC_HEADER || rqci_rec_size(val.mv_data) != val.mv_size)
        return damaged();
    *ret_record = val.mv_data;
    return RQC_OK;
}

rqc_err rqci_get(rqci_reader *r, uint8_t entity, const uint8_t id[16],
                 const rqc_record **ret_record)
{
    uint8_t k[RQCI_KEY_ID];
    MDB_val val;
    if (entity == RQCI_HTTP) {
        const rqc_err found = get(r, RQCI_DB_REQUEST, id, 16, &val);
        return found != RQC_OK || behind_place(&val, ret_record) ? found
                                                                 : http_at(r, &val, id, ret_record);
    }
    rqci_key_id(k, entity, id);
    rqc_err rc = get(r, RQCI_DB_ID, k, sizeof k, &val);
    if (rc != RQC_OK)
        return rc;
    if (val.mv_size < RQCI_PLACE_CHILD)
        return damaged();
    MDB_cursor *c;
    rc = rqci_cursor(r, RQCI_DB_KIDS, &c);
    if (rc == RQC_OK)
        rc = rqci_kids_get(c, val.mv_data, entity, id, ret_record, NULL);
    return rc == RQC_NOT_FOUND ? damaged() : rc;
}

static inline bool wanted(const rqc_record *rec, const rqci_entity *e, int64_t until, bool all)
{
    if (!all && e->enabled >= 0 && !rqci_rec_bool(rec, e->enabled))
        return false;
    return rqci_rec_updated(rec) <= until || e->updated < 0;
}

// Adds a chunk's records, which come in order of their ids. Clears *newest_first where one is newer
// than the one before.
static rqc_err append_chunk(const MDB_val *chunk, const rqci_entity *e, int64_t until, bool all,
                            rqci_list *list, int64_t *last, bool *newest_first)
{
    bool bad = false;
    const rqc_err rc = rqci_list_fit(list, chunk->mv_size / RQCI_REC_HEADER);
    if (rc != RQC_OK)
        return rc;
    size_t offset = 0;
    for (const rqc_record *rec; (rec = rqci_chunk_next(chunk, &offset, &bad)) != NULL;) {
        if (!wanted(rec, e, until, all))
            continue;
        const int64_t updated = rqci_rec_updated(rec);
        if (updated > *last)
            *newest_first = false;
        *last = updated;
        list->items[list->n++] = rec;
    }
    return bad ? damaged() : RQC_OK;
}

// The children of one owner, by id. *ret_newest_first tells whether they are in the order of
// rqci_sort_newest already.
static rqc_err append_children(rqci_reader *r, const rqci_entity *e, const uint8_t owner[16],
                               int64_t until, bool all, rqci_list *list, bool *ret_newest_first)
{
    static const uint8_t zero[16];
    uint8_t k[RQCI_KEY_KIDS];
    int64_t last = INT64_MAX;
    MDB_cursor *c;
    rqc_err rc = rqci_cursor(r, RQCI_DB_KIDS, &c);
    if (rc != RQC_OK)
        return rc;
    *ret_newest_first = true;
    rqci_key_kids(k, owner, e->code, zero);
    MDB_val key = {RQCI_KEY_KIDS_LAST, k}, val;
    int got = mdb_cursor_get(c, &key, &val, MDB_SET_RANGE);
    while (got == 0 && key.mv_size >= RQCI_KEY_KIDS_LAST &&
           memcmp(key.mv_data, k, RQCI_KEY_KIDS_PREFIX) == 0) {
        const bool end = ((const uint8_t *)key.mv_data)[RQCI_KEY_KIDS_PREFIX] == RQCI_CHUNK_LAST;
        rc = append_chunk(&val, e, until, all, list, &last, ret_newest_first);
        if (rc != RQC_OK || end)
            return rc;
        got = mdb_cursor_get(c, &key, &val, MDB_NEXT);
    }
    return got == 0 || got == MDB_NOTFOUND ? RQC_OK : rqci_lmdb_err(got, "children", NULL);
}

rqc_err rqci_children_of(rqci_reader *r, const uint8_t owner[16], uint8_t first, uint8_t end,
                         rqci_list *lists)
{
    static const uint8_t zero[16];
    uint8_t k[RQCI_KEY_KIDS];
    MDB_cursor *c;
    rqc_err rc = rqci_cursor(r, RQCI_DB_KIDS, &c);
    if (rc != RQC_OK)
        return rc;
    rqci_key_kids(k, owner, first, zero);
    MDB_val key = {RQCI_KEY_KIDS_LAST, k}, val;
    int got = mdb_cursor_get(c, &key, &val, MDB_SET_RANGE);
    while (got == 0 && key.mv_size >= RQCI_KEY_KIDS_LAST && memcmp(key.mv_data, k, 16) == 0) {
        const uint8_t entity = ((const uint8_t *)key.mv_data)[16];
        if (entity >= end)
            return RQC_OK;
        int64_t last = 0;
        bool order;
        rc = append_chunk(&val, rqci_entity_of(entity), INT64_MAX, true, &lists[entity - first],
                          &last, &order);
        if (rc != RQC_OK)
            return rc;
        got = mdb_cursor_get(c, &key, &val, MDB_NEXT);
    }
    return got == 0 || got == MDB_NOTFOUND ? RQC_OK : rqci_lmdb_err(got, "children", NULL);
}

static inline bool id_less(const uint8_t a[16], const uint8_t b[16])
{
    const uint64_t x = rqci_get64be(a), y = rqci_get64be(b);
    return x != y ? x < y : rqci_get64be(a + 8) < rqci_get64be(b + 8);
}

// Merges two sorted runs, a[0 … m - 1] and a[m … n - 1], into `to`.
static void merge_ids(uint8_t (*to)[16], uint8_t (*a)[16], size_t m, size_t n)
{
    size_t i = 0, j = m;
    for (size_t k = 0; k < n; k++)
        memcpy(to[k], j >= n || (i < m && !id_less(a[j], a[i])) ? a[i++] : a[j++], 16);
}

// A merge sort in memory of the reader's: qsort() would allocate. Returns where the result is.
static uint8_t (*sort_ids(uint8_t (*a)[16], uint8_t (*spare)[16], size_t n))[16]
{
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t at = 0; at < n; at += 2 * width) {
            const size_t left = n - at;
            merge_ids(spare + at, a + at, left < width ? left : width,
                      left < 2 * width ? left : 2 * width);
        }
        uint8_t(*swap)[16] = a;
        a = spare;
        spare = swap;
    }
    return a;
}

// Mostly they come sorted, or as pages give them: newest first.
rqc_err rqci_sorted_ids(rqci_reader *r, const uint8_t (**ids)[16], size_t n)
{
    const uint8_t(*given)[16] = *ids;
    size_t up = 1, down = 1;
    while (up < n && !id_less(given[up], given[up - 1]))
        up++;
    if (up >= n)
        return RQC_OK;
    while (down < n && !id_less(given[down - 1], given[down]))
        down++;
    r->scratch.len = 0;
    const rqc_err rc = rqci_buf_reserve(&r->scratch, 2 * n * 16);
    if (rc != RQC_OK)
        return rc;
    uint8_t(*copy)[16] = (uint8_t(*)[16])(void *)r->scratch.data;
    if (down < n) {
        memcpy(copy, given, n * 16);
        copy = sort_ids(copy, copy + n, n);
    } else {
        for (size_t i = 0; i < n; i++)
            memcpy(copy[i], given[n - 1 - i], 16);
    }
    *ids = (const uint8_t(*)[16])copy;
    return RQC_OK;
}

rqc_err rqci_children(rqci_reader *r, uint8_t entity, const uint8_t (*ids)[16], size_t n,
                      int64_t until, bool all, rqci_list *ret_list)
{
    const rqci_entity *e = rqci_entity_of(entity);
    ret_list->n = 0;
    rqc_err rc = rqci_sorted_ids(r, &ids, n);
    for (size_t i = 0; rc == RQC_OK && i < n; i++) {
        if (i > 0 && rqci_id_equal(ids[i - 1], ids[i]))
            continue;
        const size_t from = ret_list->n;
        bool newest_first;
        rc = append_children(r, e, ids[i], until, all, ret_list, &newest_first);
        if (rc == RQC_OK && !newest_first)
            rqci_sort_newest(ret_list->items + from, ret_list->n - from);
    }
    return rc;
}

rqc_err rqci_workspaces(rqci_reader *r, rqci_list *ret_list)
{
    static const uint8_t zero[16];
    bool newest_first;
    ret_list->n = 0;
    return append_children(r, rqci_entity_of(RQCI_WORKSPACES), zero, INT64_MAX, true, ret_list,
                           &newest_first);
}

rqc_err rqci_home(rqci_reader *r, uint8_t entity, const uint8_t id[16], uint8_t ret_workspace[16])
{
    const rqci_entity *e = rqci_entity_of(entity);
    uint8_t at[16];
    rqc_err rc;
    if (e->owner_code == 0) {
        rc = rqci_owner_of(r->txn, r->env, entity, id, at, NULL);
        if (rc == RQC_OK)
            memcpy(ret_workspace, id, 16);
        return rc;
    }
    rc = rqci_owner_of(r->txn, r->env, entity, id, at, NULL);
    // Up the chain: a request's owner is its workspace. A missing link means the zero workspace.
    for (uint8_t code = e->owner_code; rc == RQC_OK && code != RQCI_WORKSPACES;
         code = rqci_entity_of(code)->owner_code) {
        rc = rqci_owner_of(r->txn, r->env, code, at, at, NULL);
        if (rc == RQC_NOT_FOUND) {
            memset(ret_workspace, 0, 16);
            return RQC_OK;
        }
    }
    if (rc == RQC_OK)
        memcpy(ret_workspace, at, 16);
    return rc;
}

static rqc_err ws_read(rqci_reader *r, uint32_t number, rqci_ws_state *ret_state)
{
    uint8_t k[RQCI_KEY_NUMBERS];
    MDB_val val;
    rqci_key_numbers(k, number);
    const rqc_err rc = get(r, RQCI_DB_MAIN, k, sizeof k, &val);
    if (rc == RQC_NOT_FOUND) {
        memset(ret_state, 0, sizeof *ret_state);
        return RQC_OK;
    }
    if (rc != RQC_OK || val.mv_size != RQCI_WS_BYTES)
        return rc != RQC_OK ? rc : damaged();
    uint64_t tombs;
    rqci_ws_decode(val.mv_data, ret_state, &tombs);
    return RQC_OK;
}

rqc_err rqci_ws_class(rqci_reader *r, const uint8_t workspace[16], uint8_t class,
                      uint64_t *ret_count)
{
    uint8_t k[RQCI_KEY_NUMBERS];
    uint32_t number;
    MDB_val val;
    rqc_err rc = rqci_read_ws_number(r, workspace, &number);
    if (rc == RQC_OK) {
        rqci_key_numbers(k, number);
        rc = get(r, RQCI_DB_MAIN, k, sizeof k, &val);
    }
    if (rc == RQC_NOT_FOUND) {
        *ret_count = 0;
        return RQC_OK;
    }
    if (rc != RQC_OK || val.mv_size != RQCI_WS_BYTES)
        return rc != RQC_OK ? rc : damaged();
    *ret_count = rqci_get64((const uint8_t *)val.mv_data + RQCI_WS_BYTES - 8 * RQCI_CLASSES +
                            8 * (size_t) class);
    return RQC_OK;
}

rqc_err rqci_ws(rqci_reader *r, const uint8_t workspace[16], rqci_ws_state *ret_state)
{
    uint32_t number;
    const rqc_err rc = rqci_read_ws_number(r, workspace, &number);
    if (rc == RQC_NOT_FOUND) {
        memset(ret_state, 0, sizeof *ret_state);
        memcpy(ret_state->id, workspace, 16);
        return RQC_OK;
    }
    return rc != RQC_OK ? rc : ws_read(r, number, ret_state);
}

rqc_err rqci_ws_buckets(rqci_reader *r, const uint8_t workspace[16], rqci_digest ret_buckets[256])
{
    uint32_t number;
    rqc_err rc = rqci_read_ws_number(r, workspace, &number);
    if (rc != RQC_OK && rc != RQC_NOT_FOUND)
        return rc;
    memset(ret_buckets, 0, 256 * sizeof *ret_buckets);
    if (rc == RQC_NOT_FOUND)
        return RQC_OK;
    for (unsigned part = 0; part < RQCI_BUCKET_PARTS; part++) {
        uint8_t k[RQCI_KEY_BUCKET];
        MDB_val val;
        rqci_key_bucket(k, number, part);
        rc = get(r, RQCI_DB_BUCKET, k, sizeof k, &val);
        if (rc == RQC_NOT_FOUND)
            continue;
        if (rc != RQC_OK || val.mv_size != RQCI_BUCKETS_PER_PART * 16)
            return rc != RQC_OK ? rc : damaged();
        for (unsigned i = 0; i < RQCI_BUCKETS_PER_PART; i++) {
            ret_buckets[part * RQCI_BUCKETS_PER_PART + i].lo =
                rqci_get64((const uint8_t *)val.mv_data + i * 16);
            ret_buckets[part * RQCI_BUCKETS_PER_PART + i].hi =
                rqci_get64((const uint8_t *)val.mv_data + i * 16 + 8);
        }
    }
    return RQC_OK;
}

rqc_err rqci_ws_each(rqci_reader *r, rqc_err (*fn)(void *ctx, const rqci_ws_state *s), void *ctx)
{
    MDB_cursor *c;
    rqci_ws_state s;
    rqc_err rc = rqci_cursor(r, RQCI_DB_WS, &c);
    if (rc == RQC_OK)
        rc = ws_read(r, 0, &s);
    if (rc == RQC_OK && s.seq != 0)
        rc = fn(ctx, &s);
    uint8_t first = 'i';
    MDB_val key = {1, &first}, val;
    int got = rc == RQC_OK ? mdb_cursor_get(c, &key, &val, MDB_SET_RANGE) : MDB_NOTFOUND;
    for (; rc == RQC_OK && got == 0 && key.mv_size == 17 && *(uint8_t *)key.mv_data == 'i';
         got = mdb_cursor_get(c, &key, &val, MDB_NEXT)) {
        rc = val.mv_size == 4 ? ws_read(r, rqci_get32(val.mv_data), &s) : damaged();
        if (rc == RQC_OK && s.seq != 0)
            rc = fn(ctx, &s);
    }
    return rc != RQC_OK || got == 0 || got == MDB_NOTFOUND ? rc
                                                           : rqci_lmdb_err(got, "workspaces", NULL);
}

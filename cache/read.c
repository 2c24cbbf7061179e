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

rqc_err rqci_read_ws_number(rqci_reader *r, const uint8_t id[16], uint32_t *ret_number)
{
    uint8_t k[17] = {'i'};
    MDB_val val;
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
    *ret_number = rqci_get32(val.mv_data);
    return RQC_OK;
}

static rqc_err http_at(rqci_reader *r, const uint8_t *place, const uint8_t id[16],
                       const rqc_record **ret_record)
{
    uint8_t k[RQCI_KEY_HTTP];
    MDB_val val;
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
    rqci_key_id(k, entity, id);
    rqc_err rc = get(r, RQCI_DB_ID, k, sizeof k, &val);
    if (rc != RQC_OK)
        return rc;
    if (entity == RQCI_HTTP)
        return val.mv_size == RQCI_PLACE_HTTP ? http_at(r, val.mv_data, id, ret_record) : damaged();
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
    return e->updated < 0 || rqci_rec_updated(rec) <= until;
}

static rqc_err append_children(rqci_reader *r, const rqci_entity *e, const uint8_t owner[16],
                               int64_t until, bool all, rqci_list *list)
{
    static const uint8_t zero[16];
    uint8_t k[RQCI_KEY_KIDS];
    MDB_cursor *c;
    rqc_err rc = rqci_cursor(r, RQCI_DB_KIDS, &c);
    if (rc != RQC_OK)
        return rc;
    rqci_key_kids(k, owner, e->code, zero);
    MDB_val key = {RQCI_KEY_KIDS_LAST, k}, val;
    int got = mdb_cursor_get(c, &key, &val, MDB_SET_RANGE);
    while (got == 0 && key.mv_size >= RQCI_KEY_KIDS_LAST &&
           memcmp(key.mv_data, k, RQCI_KEY_KIDS_PREFIX) == 0) {
        const bool last = ((const uint8_t *)key.mv_data)[RQCI_KEY_KIDS_PREFIX] == RQCI_CHUNK_LAST;
        bool bad = false;
        rc = rqci_list_fit(list, val.mv_size / RQCI_REC_HEADER);
        if (rc != RQC_OK)
            return rc;
        size_t offset = 0;
        for (const rqc_record *rec; (rec = rqci_chunk_next(&val, &offset, &bad)) != NULL;)
            if (wanted(rec, e, until, all))
                list->items[list->n++] = rec;
        if (bad)
            return damaged();
        if (last)
            return RQC_OK;
        got = mdb_cursor_get(c, &key, &val, MDB_NEXT);
    }
    return got == 0 || got == MDB_NOTFOUND ? RQC_OK : rqci_lmdb_err(got, "children", NULL);
}

rqc_err rqci_children_of(rqci_reader *r, uint8_t entity, const uint8_t owner[16],
                         rqci_list *ret_list)
{
    return append_children(r, rqci_entity_of(entity), owner, INT64_MAX, true, ret_list);
}

static int id_order(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

rqc_err rqci_sorted_ids(rqci_reader *r, const uint8_t (**ids)[16], size_t n)
{
    bool sorted = true;
    for (size_t i = 1; i < n && sorted; i++)
        sorted = memcmp((*ids)[i - 1], (*ids)[i], 16) <= 0;
    if (sorted)
        return RQC_OK;
    r->scratch.len = 0;
    const rqc_err rc = rqci_buf_add(&r->scratch, *ids, n * 16);
    if (rc != RQC_OK)
        return rc;
    uint8_t(*copy)[16] = (uint8_t(*)[16])(void *)r->scratch.data;
    qsort(copy, n, 16, id_order);
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
        rc = append_children(r, e, ids[i], until, all, ret_list);
        if (rc == RQC_OK && ret_list->n > from)
            rqci_sort_newest(ret_list->items + from, ret_list->n - from);
    }
    return rc;
}

rqc_err rqci_workspaces(rqci_reader *r, rqci_list *ret_list)
{
    static const uint8_t zero[16];
    ret_list->n = 0;
    return append_children(r, rqci_entity_of(RQCI_WORKSPACES), zero, INT64_MAX, true, ret_list);
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
    uint8_t k[5] = {'n'};
    MDB_val val;
    rqci_put32be(k + 1, number);
    const rqc_err rc = get(r, RQCI_DB_WS, k, sizeof k, &val);
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
        uint8_t k[6] = {'b'};
        MDB_val val;
        rqci_put32be(k + 1, number);
        k[5] = (uint8_t)part;
        rc = get(r, RQCI_DB_WS, k, sizeof k, &val);
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

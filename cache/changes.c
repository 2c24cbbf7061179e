// SPDX-License-Identifier: Apache-2.0
// What changed since a position: scans of the by-seq index, of one workspace or of all.
#include "cache/internal.h"

#include <stdlib.h>

static rqc_err change_add(rqc_changes_list *l, const rqc_change *c)
{
    if (l->n == l->cap) {
        const size_t cap = l->cap == 0 ? 256 : l->cap * 2;
        rqc_change *items = realloc(l->items, cap * sizeof *items);
        if (items == NULL)
            return RQC_NO_MEMORY;
        l->items = items;
        l->cap = cap;
    }
    l->items[l->n++] = *c;
    return RQC_OK;
}

// True when the record left a newer tombstone in another workspace: it moved on before it was
// deleted.
static rqc_err left_newer(rqci_reader *r, uint8_t entity, const uint8_t id[16], uint64_t seq,
                          bool *ret_newer)
{
    uint8_t k[RQCI_KEY_TOMB];
    MDB_cursor *c;
    rqc_err rc = rqci_cursor(r, RQCI_DB_TOMB, &c);
    if (rc != RQC_OK)
        return rc;
    rqci_key_tomb(k, 0, entity, id);
    MDB_val key = {sizeof k, k}, val;
    int got = mdb_cursor_get(c, &key, &val, MDB_SET_RANGE);
    *ret_newer = false;
    while (got == 0 && !*ret_newer && key.mv_size == sizeof k &&
           memcmp(key.mv_data, k, RQCI_KEY_TOMB_PREFIX) == 0) {
        if (val.mv_size != 8)
            return RQC_CORRUPT;
        *ret_newer = rqci_get64(val.mv_data) > seq;
        got = mdb_cursor_get(c, &key, &val, MDB_NEXT);
    }
    return got == 0 || got == MDB_NOTFOUND ? RQC_OK : rqci_lmdb_err(got, "changes", NULL);
}

// Where the scan stands in the chunk that it met last, of each kind: what was written together is
// announced in the order in which it lies there.
typedef struct spot {
    const uint8_t *owner; // NULL: none yet
    MDB_val chunk;
    size_t offset; // of the record behind the one that was found last
} spot;

typedef struct scan {
    rqci_reader *r;
    spot spots[RQCI_ENTITY_MAX + 1];
} scan;

static rqc_err child_at(scan *s, uint8_t entity, const uint8_t *owner, const uint8_t *id,
                        const rqc_record **ret)
{
    spot *at = &s->spots[entity];
    bool bad = false;
    if (at->owner != NULL && memcmp(at->owner, owner, 16) == 0) {
        const rqc_record *r = rqci_chunk_next(&at->chunk, &at->offset, &bad);
        if (r != NULL && rqci_id_equal(rqci_rec_id(r), id)) {
            *ret = r;
            return RQC_OK;
        }
    }
    MDB_cursor *c;
    rqc_err rc = rqci_cursor(s->r, RQCI_DB_KIDS, &c);
    if (rc == RQC_OK)
        rc = rqci_kids_find(c, owner, entity, id, &at->chunk, &at->offset, ret, NULL);
    at->owner = rc == RQC_OK ? owner : NULL;
    return rc;
}

// The record that an entry announces: the entry has its place.
static rqc_err record_at(scan *s, const MDB_val *key, const MDB_val *val, const rqc_record **ret)
{
    const uint8_t *k = key->mv_data, *place = val->mv_data;
    const uint8_t entity = k[12], *id = k + 13;
    if (entity != RQCI_HTTP)
        return child_at(s, entity, place, id, ret);
    uint8_t h[RQCI_KEY_HTTP];
    MDB_cursor *c;
    rqc_err rc = rqci_cursor(s->r, RQCI_DB_HTTP, &c);
    if (rc != RQC_OK)
        return rc;
    rqci_key_http(h, rqci_get32be(k), place[0], (int64_t)rqci_get64(place + 8), id);
    MDB_val hkey = {sizeof h, h}, record;
    rc = rqci_lmdb_err(mdb_cursor_get(c, &hkey, &record, MDB_SET), "changes", NULL);
    if (rc != RQC_OK)
        return rc;
    if (record.mv_size < RQCI_REC_HEADER || rqci_rec_size(record.mv_data) != record.mv_size)
        return RQC_CORRUPT;
    *ret = record.mv_data;
    return RQC_OK;
}

// One entry of the by-seq index as a change. In the topic of all workspaces a tombstone of a record
// that lives elsewhere does not count (*skip), nor one that is not its newest.
static rqc_err change_of(scan *s, const MDB_val *key, const MDB_val *val, bool all, rqc_change *ret,
                         bool *skip)
{
    const uint8_t *k = key->mv_data;
    ret->seq = rqci_get64be(k + 4);
    ret->entity = k[12];
    ret->id = k + 13;
    ret->record = NULL;
    ret->op = val->mv_size == RQCI_SEQ_HERE ? 1 : 2;
    *skip = false;
    if (rqci_entity_of(ret->entity) == NULL)
        return RQC_CORRUPT;
    if (ret->op == 1) {
        const rqc_err rc = record_at(s, key, val, &ret->record);
        return rc == RQC_NOT_FOUND ? RQC_CORRUPT : rc;
    }
    if (!all)
        return RQC_OK;
    const rqc_record *there;
    const rqc_err rc = rqci_get(s->r, ret->entity, ret->id, &there);
    *skip = rc == RQC_OK;
    return rc == RQC_NOT_FOUND ? left_newer(s->r, ret->entity, ret->id, ret->seq, skip) : rc;
}

static rqc_err seek_changes(MDB_cursor *c, uint32_t ws, const rqc_cursor *from, MDB_val *key,
                            MDB_val *val, int *ret_got)
{
    uint8_t k[RQCI_KEY_SEQ];
    // entity 0: everything at seq was seen.
    rqci_key_seq(k, ws, from->entity == 0 ? from->seq + 1 : from->seq, from->entity, from->id);
    *key = (MDB_val){sizeof k, k};
    int got = mdb_cursor_get(c, key, val, MDB_SET_RANGE);
    if (got == 0 && from->entity != 0 && key->mv_size == sizeof k &&
        memcmp(key->mv_data, k, sizeof k) == 0)
        got = mdb_cursor_get(c, key, val, MDB_NEXT);
    if (got != 0 && got != MDB_NOTFOUND)
        return rqci_lmdb_err(got, "changes", NULL);
    if (got == 0 && (key->mv_size != sizeof k || rqci_get32be(key->mv_data) != ws))
        got = MDB_NOTFOUND;
    *ret_got = got;
    return RQC_OK;
}

static void cursor_set(rqc_cursor *cursor, const rqc_change *c)
{
    cursor->seq = c->seq;
    cursor->entity = c->entity;
    memcpy(cursor->id, c->id, 16);
}

static rqc_err changes_one(scan *s, uint32_t ws, const rqc_cursor *cursor, uint32_t limit,
                           rqc_changes_list *list, bool *ret_more)
{
    MDB_cursor *c;
    MDB_val key, val;
    int got = MDB_NOTFOUND;
    rqc_err rc = rqci_cursor(s->r, RQCI_DB_SEQ, &c);
    if (rc == RQC_OK)
        rc = seek_changes(c, ws, cursor, &key, &val, &got);
    while (rc == RQC_OK && got == 0 && key.mv_size == RQCI_KEY_SEQ &&
           rqci_get32be(key.mv_data) == ws) {
        rqc_change change;
        bool skip;
        if (list->n == limit) {
            *ret_more = true;
            return RQC_OK;
        }
        rc = change_of(s, &key, &val, false, &change, &skip);
        if (rc == RQC_OK)
            rc = change_add(list, &change);
        if (rc == RQC_OK)
            got = mdb_cursor_get(c, &key, &val, MDB_NEXT);
    }
    return rc != RQC_OK || got == 0 || got == MDB_NOTFOUND ? rc
                                                           : rqci_lmdb_err(got, "changes", NULL);
}

// ---- All workspaces: a merge of their by-seq indexes ----

typedef struct lane {
    MDB_cursor *c;
    MDB_val key, val;
} lane;

static bool lane_less(const lane *a, const lane *b)
{
    // seq, entity, id; an upsert before the tombstones that the same event left elsewhere
    const int order = memcmp((const uint8_t *)a->key.mv_data + 4,
                             (const uint8_t *)b->key.mv_data + 4, RQCI_KEY_SEQ - 4);
    return order != 0 ? order < 0 : a->val.mv_size < b->val.mv_size;
}

static void sift(lane *heap, size_t n, size_t i)
{
    for (;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
            if (lane_less(&heap[child], &heap[least]))
                least = child;
        if (least == i)
            return;
        const lane t = heap[i];
        heap[i] = heap[least];
        heap[least] = t;
        i = least;
    }
}

// A workspace's index at the cursor; *n is not changed where there is nothing behind it.
static rqc_err lane_open(rqci_reader *r, uint32_t ws, const rqc_cursor *cursor, lane *heap,
                         size_t *n)
{
    lane *l = &heap[*n];
    int got;
    const int rc = mdb_cursor_open(r->txn, r->env->dbi[RQCI_DB_SEQ], &l->c);
    if (rc != 0)
        return rqci_lmdb_err(rc, "changes", NULL);
    const rqc_err sought = seek_changes(l->c, ws, cursor, &l->key, &l->val, &got);
    if (sought == RQC_OK && got == 0) {
        (*n)++;
        return RQC_OK;
    }
    mdb_cursor_close(l->c);
    l->c = NULL;
    return sought;
}

// Only workspaces that changed since the cursor are looked into: their counters tell.
static rqc_err lanes_open(rqci_reader *r, const rqc_cursor *cursor, lane *heap, size_t *n)
{
    uint8_t first[RQCI_KEY_NUMBERS];
    MDB_cursor *c;
    rqci_key_numbers(first, 0);
    rqc_err rc = rqci_cursor(r, RQCI_DB_MAIN, &c);
    MDB_val key = {sizeof first, first}, val;
    int got = rc == RQC_OK ? mdb_cursor_get(c, &key, &val, MDB_SET_RANGE) : MDB_NOTFOUND;
    for (; rc == RQC_OK && got == 0 && key.mv_size == sizeof first &&
           *(const uint8_t *)key.mv_data == first[0];
         got = mdb_cursor_get(c, &key, &val, MDB_NEXT)) {
        const uint32_t ws = rqci_get32be((const uint8_t *)key.mv_data + 1);
        rqci_ws_state state;
        uint64_t tombs;
        if (val.mv_size != RQCI_WS_BYTES || ws > r->state.workspaces)
            return RQC_CORRUPT;
        rqci_ws_decode(val.mv_data, &state, &tombs);
        if (state.seq >= cursor->seq)
            rc = lane_open(r, ws, cursor, heap, n);
    }
    if (rc == RQC_OK && got != 0 && got != MDB_NOTFOUND)
        rc = rqci_lmdb_err(got, "changes", NULL);
    for (size_t i = *n / 2; i-- > 0;)
        sift(heap, *n, i);
    return rc;
}

static rqc_err changes_merge(scan *s, const rqc_cursor *cursor, uint32_t limit,
                             rqc_changes_list *list, bool *ret_more)
{
    rqci_reader *r = s->r;
    lane *heap = calloc((size_t)r->state.workspaces + 1, sizeof *heap);
    size_t n = 0;
    if (heap == NULL)
        return RQC_NO_MEMORY;
    rqc_err rc = lanes_open(r, cursor, heap, &n);
    const uint8_t *last =
        NULL; // seq, entity, id of the entry before: one event may stand in several workspaces
    while (rc == RQC_OK && n > 0) {
        lane *top = &heap[0];
        const uint32_t ws = rqci_get32be(top->key.mv_data);
        const uint8_t *what = (const uint8_t *)top->key.mv_data + 4;
        rqc_change change;
        bool skip = last != NULL && memcmp(last, what, RQCI_KEY_SEQ - 4) == 0;
        if (!skip)
            rc = change_of(s, &top->key, &top->val, true, &change, &skip);
        if (rc == RQC_OK && !skip) {
            if (list->n == limit) {
                *ret_more = true;
                break;
            }
            rc = change_add(list, &change);
            last = what;
        }
        if (rc != RQC_OK)
            break;
        const int got = mdb_cursor_get(top->c, &top->key, &top->val, MDB_NEXT);
        if (got != 0 && got != MDB_NOTFOUND)
            rc = rqci_lmdb_err(got, "changes", NULL);
        if (got != 0 || rqci_get32be(top->key.mv_data) != ws) {
            mdb_cursor_close(top->c);
            *top = heap[--n];
            heap[n].c = NULL;
        }
        sift(heap, n, 0);
    }
    for (size_t i = 0; i < n; i++)
        if (heap[i].c != NULL)
            mdb_cursor_close(heap[i].c);
    free(heap);
    return rc;
}

rqc_err rqci_changes(rqci_reader *r, const uint8_t *workspace, rqc_cursor *cursor, uint32_t limit,
                     rqc_changes_list *ret_list, bool *ret_up_to_date)
{
    const rqci_view_state *s = &r->state;
    scan scan_ = {.r = r};
    rqc_err rc = rqci_state(r, NULL);
    if (rc != RQC_OK)
        return rc;
    ret_list->n = 0;
    // A walk that began at 0 sees every record there is; it needs history only from where it began.
    // A cursor between the records of one seq has not seen that seq's tombstones yet.
    const bool fresh = cursor->seq == 0 && cursor->started == 0;
    const uint64_t needs =
        cursor->started != 0 ? cursor->started : cursor->seq - (cursor->entity != 0);
    if (cursor->seq > s->seq || cursor->started > s->seq)
        return RQC_FUTURE;
    if (!fresh && needs < s->horizon)
        return RQC_TOO_OLD;
    bool more = false;
    uint32_t ws = 0;
    if (workspace == NULL)
        rc = changes_merge(&scan_, cursor, limit, ret_list, &more);
    else if ((rc = rqci_read_ws_number(r, workspace, &ws)) != RQC_NOT_FOUND)
        rc = rc == RQC_OK ? changes_one(&scan_, ws, cursor, limit, ret_list, &more) : rc;
    else
        rc = RQC_OK;
    if (rc != RQC_OK)
        return rc;
    if (more) {
        if (cursor->started == 0 && cursor->seq == 0 && cursor->entity == 0)
            cursor->started = s->seq;
        if (ret_list->n > 0)
            cursor_set(cursor, &ret_list->items[ret_list->n - 1]);
    } else {
        *cursor = (rqc_cursor){.seq = s->seq};
    }
    *ret_up_to_date = !more;
    return RQC_OK;
}

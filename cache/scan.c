// SPDX-License-Identifier: Apache-2.0
// Ordered scans: pages, counts, changes, chains of deltas.
#include "cache/internal.h"

#include <stdlib.h>

static const uint8_t zero_id[16];

// ---- Pages ----

// Compares the record's method with a filter: the method index holds only its first 8 bytes, padded
// with zeros that a method may have too.
static bool method_is(const rqc_record *r, const char *method, size_t n)
{
    rqc_value v;
    rqci_rec_field(r, RQCI_HTTP_METHOD, &v);
    return v.type == RQC_TEXT && v.n == n && memcmp(v.p, method, n) == 0;
}

typedef struct page_walk {
    rqci_reader *r;
    MDB_cursor *c;
    enum rqci_dbi db;
    uint32_t ws;
    const char *method; // NULL: all
    size_t method_len;
    uint8_t key[RQCI_KEY_METHOD];
    size_t prefix, klen; // the key's part before the time; its length
} page_walk;

static void page_walk_init(page_walk *p, rqci_reader *r, const char *method)
{
    *p =
        (page_walk){.r = r, .db = method == NULL ? RQCI_DB_HTTP : RQCI_DB_METHOD, .method = method};
    p->method_len = method == NULL ? 0 : strlen(method);
    p->prefix = method == NULL ? 5 : 13;
    p->klen = method == NULL ? RQCI_KEY_HTTP : RQCI_KEY_METHOD;
}

static bool page_inside(const page_walk *p, const MDB_val *key)
{
    return key->mv_size == p->klen && memcmp(key->mv_data, p->key, p->prefix) == 0;
}

// Finds the newest entry that is not newer than `until`, or the one behind the cursor's place.
// MDB_NOTFOUND when there is none.
static rqc_err page_seek(page_walk *p, int64_t until, const rqc_page_cursor *cursor, MDB_val *key,
                         MDB_val *val, int *ret_got)
{
    const rqc_err rc = rqci_cursor(p->r, p->db, &p->c);
    if (rc != RQC_OK)
        return rc;
    const bool behind = cursor != NULL && cursor->state == 1 && cursor->updated_at <= until;
    const int64_t time = behind ? cursor->updated_at : until;
    const uint8_t *id = behind ? cursor->id : zero_id; // of a time, id 0 sorts last
    if (p->method == NULL)
        rqci_key_http(p->key, p->ws, RQCI_CLASS_BASE, time, id);
    else
        rqci_key_method(p->key, p->ws, RQCI_CLASS_BASE, p->method, p->method_len, time, id);
    *key = (MDB_val){p->klen, p->key};
    int got = mdb_cursor_get(p->c, key, val, MDB_SET_RANGE);
    if (got == MDB_NOTFOUND)
        got = mdb_cursor_get(p->c, key, val, MDB_LAST);
    else if (got == 0 &&
             (behind || key->mv_size != p->klen || memcmp(key->mv_data, p->key, p->klen) != 0))
        got = mdb_cursor_get(p->c, key, val, MDB_PREV);
    *ret_got = got;
    return RQC_OK;
}

static rqc_err page_record(page_walk *p, const MDB_val *key, const MDB_val *val,
                           const rqc_record **ret)
{
    MDB_val record = *val;
    if (p->method != NULL) {
        uint8_t h[RQCI_KEY_HTTP];
        rqci_put32be(h, p->ws);
        h[4] = RQCI_CLASS_BASE;
        memcpy(h + 5, (const uint8_t *)key->mv_data + 13, 24);
        MDB_val hkey = {sizeof h, h};
        const int rc = mdb_get(p->r->txn, p->r->env->dbi[RQCI_DB_HTTP], &hkey, &record);
        if (rc != 0)
            return rc == MDB_NOTFOUND ? RQC_CORRUPT : rqci_lmdb_err(rc, "page", NULL);
    }
    if (record.mv_size < RQCI_REC_HEADER || rqci_rec_size(record.mv_data) != record.mv_size)
        return RQC_CORRUPT;
    *ret = record.mv_data;
    return RQC_OK;
}

rqc_err rqci_page(rqci_reader *r, const uint8_t workspace[16], int64_t until, const char *method,
                  uint32_t limit, rqc_page_cursor *cursor, rqci_list *ret_list)
{
    page_walk p;
    page_walk_init(&p, r, method);
    ret_list->n = 0;
    if (limit == 0 || (cursor != NULL && cursor->state == 2))
        return RQC_OK;
    rqc_err rc = rqci_read_ws_number(r, workspace, &p.ws);
    if (rc == RQC_NOT_FOUND) {
        if (cursor != NULL)
            cursor->state = 2;
        return RQC_OK;
    }
    MDB_val key, val;
    int got = 0;
    if (rc == RQC_OK)
        rc = rqci_list_fit(ret_list, limit);
    if (rc == RQC_OK)
        rc = page_seek(&p, until, cursor, &key, &val, &got);
    bool more = false;
    while (rc == RQC_OK && got == 0 && page_inside(&p, &key)) {
        const rqc_record *rec = NULL;
        rc = page_record(&p, &key, &val, &rec);
        if (rc != RQC_OK)
            break;
        if (method == NULL || method_is(rec, method, p.method_len)) {
            if (ret_list->n == limit) {
                more = true;
                break;
            }
            ret_list->items[ret_list->n++] = rec;
        }
        got = mdb_cursor_get(p.c, &key, &val, MDB_PREV);
    }
    if (rc == RQC_OK && got != 0 && got != MDB_NOTFOUND)
        rc = rqci_lmdb_err(got, "page", NULL);
    if (rc == RQC_OK && cursor != NULL) {
        cursor->state = more ? 1 : 2;
        if (ret_list->n > 0) {
            const rqc_record *last = ret_list->items[ret_list->n - 1];
            cursor->updated_at = rqci_rec_updated(last);
            memcpy(cursor->id, rqci_rec_id(last), 16);
        }
    }
    return rc;
}

rqc_err rqci_count(rqci_reader *r, const uint8_t workspace[16], int64_t until, uint64_t *ret_count)
{
    rqci_ws_state s;
    rqc_err rc = rqci_ws(r, workspace, &s);
    if (rc != RQC_OK)
        return rc;
    uint64_t newer = 0;
    if (until < INT64_MAX && s.http[RQCI_CLASS_BASE] > 0) {
        // All bases are counted; only those newer than `until` have to be walked.
        page_walk p;
        page_walk_init(&p, r, NULL);
        rc = rqci_read_ws_number(r, workspace, &p.ws);
        MDB_val key, val;
        int got = 0;
        if (rc == RQC_OK)
            rc = page_seek(&p, INT64_MAX, NULL, &key, &val, &got);
        while (rc == RQC_OK && got == 0 && page_inside(&p, &key) &&
               rqci_from_ascending(rqci_get64be((const uint8_t *)key.mv_data + 5)) > until) {
            newer++;
            got = mdb_cursor_get(p.c, &key, &val, MDB_PREV);
        }
        if (rc == RQC_OK && got != 0 && got != MDB_NOTFOUND)
            rc = rqci_lmdb_err(got, "count", NULL);
    }
    if (rc == RQC_OK)
        *ret_count = s.http[RQCI_CLASS_BASE] - newer;
    return rc;
}

// ---- Changes ----

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

// One entry of the by-seq index as a change. In the topic of all workspaces a tombstone of a record
// that lives elsewhere does not count (*skip), nor one that is not its newest.
static rqc_err change_of(rqci_reader *r, const MDB_val *key, const MDB_val *val, bool all,
                         rqc_change *ret, bool *skip)
{
    const uint8_t *k = key->mv_data;
    ret->seq = rqci_get64be(k + 4);
    ret->entity = k[12];
    ret->id = k + 13;
    ret->record = NULL;
    ret->op = val->mv_size == 0 ? 1 : 2;
    *skip = false;
    if (rqci_entity_of(ret->entity) == NULL)
        return RQC_CORRUPT;
    if (ret->op == 2 && !all)
        return RQC_OK;
    rqc_err rc = rqci_get(r, ret->entity, ret->id, &ret->record);
    if (ret->op == 1)
        return rc == RQC_NOT_FOUND ? RQC_CORRUPT : rc;
    *skip = rc == RQC_OK;
    ret->record = NULL;
    return rc == RQC_NOT_FOUND ? left_newer(r, ret->entity, ret->id, ret->seq, skip) : rc;
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

static rqc_err changes_one(rqci_reader *r, uint32_t ws, const rqc_cursor *cursor, uint32_t limit,
                           rqc_changes_list *list, bool *ret_more)
{
    MDB_cursor *c;
    MDB_val key, val;
    int got = MDB_NOTFOUND;
    rqc_err rc = rqci_cursor(r, RQCI_DB_SEQ, &c);
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
        rc = change_of(r, &key, &val, false, &change, &skip);
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

static rqc_err lanes_open(rqci_reader *r, const rqc_cursor *cursor, lane *heap, size_t *n)
{
    for (uint32_t ws = 0; ws <= r->state.workspaces; ws++) {
        lane *l = &heap[*n];
        int got;
        int rc = mdb_cursor_open(r->txn, r->env->dbi[RQCI_DB_SEQ], &l->c);
        if (rc != 0)
            return rqci_lmdb_err(rc, "changes", NULL);
        const rqc_err sought = seek_changes(l->c, ws, cursor, &l->key, &l->val, &got);
        if (sought != RQC_OK || got != 0) {
            mdb_cursor_close(l->c);
            l->c = NULL;
            if (sought != RQC_OK)
                return sought;
            continue;
        }
        (*n)++;
    }
    for (size_t i = *n / 2; i-- > 0;)
        sift(heap, *n, i);
    return RQC_OK;
}

static rqc_err changes_merge(rqci_reader *r, const rqc_cursor *cursor, uint32_t limit,
                             rqc_changes_list *list, bool *ret_more)
{
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
            rc = change_of(r, &top->key, &top->val, true, &change, &skip);
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
    rqc_err rc = RQC_OK;
    if (workspace == NULL)
        rc = changes_merge(r, cursor, limit, ret_list, &more);
    else if ((rc = rqci_read_ws_number(r, workspace, &ws)) != RQC_NOT_FOUND)
        rc = rc == RQC_OK ? changes_one(r, ws, cursor, limit, ret_list, &more) : rc;
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

// ---- Chains ----

// A request reached on the way down, and which one it was reached from.
typedef struct step {
    const rqc_record *record;
    uint32_t from; // index of its parent in the walk
    uint32_t depth;
} step;

static bool better(const step *a, const step *b)
{
    if (a->depth != b->depth)
        return a->depth > b->depth;
    if (rqci_rec_updated(a->record) != rqci_rec_updated(b->record))
        return rqci_rec_updated(a->record) > rqci_rec_updated(b->record);
    return memcmp(rqci_rec_id(a->record), rqci_rec_id(b->record), 16) > 0;
}

static rqc_err walk_add(rqci_buf *walk, const rqc_record *rec, uint32_t from, uint32_t depth)
{
    const step s = {rec, from, depth};
    return rqci_buf_add(walk, &s, sizeof s);
}

static rqc_err chain_children(rqci_reader *r, rqci_buf *walk, uint32_t i, int64_t until)
{
    uint8_t k[RQCI_KEY_DELTA], h[RQCI_KEY_HTTP];
    const step here = ((const step *)(const void *)walk->data)[i];
    MDB_cursor *c;
    rqc_err rc = rqci_cursor(r, RQCI_DB_DELTA, &c);
    if (rc != RQC_OK)
        return rc;
    memcpy(k, rqci_rec_id(here.record), 16);
    memset(k + 16, 0, sizeof k - 16);
    MDB_val key = {sizeof k, k}, val;
    int got = mdb_cursor_get(c, &key, &val, MDB_SET_RANGE);
    while (got == 0 && rc == RQC_OK && key.mv_size == RQCI_KEY_DELTA &&
           memcmp(key.mv_data, k, 16) == 0) {
        const uint8_t *at = key.mv_data, *place = val.mv_data;
        if (val.mv_size != 8)
            return RQC_CORRUPT;
        if (rqci_from_ascending(rqci_get64be(at + 16)) > until)
            return RQC_OK;
        rqci_put32be(h, rqci_get32(place));
        h[4] = place[4];
        memcpy(h + 5, at + 16, 24);
        MDB_val hkey = {sizeof h, h}, record;
        const int found = mdb_get(r->txn, r->env->dbi[RQCI_DB_HTTP], &hkey, &record);
        if (found != 0)
            return found == MDB_NOTFOUND ? RQC_CORRUPT : rqci_lmdb_err(found, "chain", NULL);
        rc = walk_add(walk, record.mv_data, i, here.depth + 1);
        got = mdb_cursor_get(c, &key, &val, MDB_NEXT);
    }
    return rc != RQC_OK || got == 0 || got == MDB_NOTFOUND ? rc : rqci_lmdb_err(got, "chain", NULL);
}

rqc_err rqci_chain(rqci_reader *r, const uint8_t base[16], int64_t until, rqci_list *ret_chain)
{
    const rqc_record *rec;
    ret_chain->n = 0;
    rqc_err rc = rqci_get(r, RQCI_HTTP, base, &rec);
    if (rc == RQC_NOT_FOUND)
        return RQC_OK;
    if (rc != RQC_OK || rqci_rec_bool(rec, RQCI_HTTP_IS_DELTA))
        return rc;
    rqci_buf *walk = &r->scratch;
    walk->len = 0;
    rc = walk_add(walk, rec, 0, 0);
    // A base is never anybody's delta, and every delta has one parent: the walk ends without a
    // check for cycles.
    uint32_t best = 0;
    for (uint32_t i = 0; rc == RQC_OK && i < walk->len / sizeof(step); i++) {
        const step *steps = (const step *)(const void *)walk->data;
        if (better(&steps[i], &steps[best]))
            best = i;
        rc = chain_children(r, walk, i, until);
    }
    if (rc != RQC_OK)
        return rc;
    const step *steps = (const step *)(const void *)walk->data;
    const size_t n = steps[best].depth + 1;
    rc = rqci_list_fit(ret_chain, n);
    if (rc != RQC_OK)
        return rc;
    ret_chain->n = n;
    for (size_t i = n; i-- > 0; best = steps[best].from)
        ret_chain->items[i] = steps[best].record;
    return RQC_OK;
}

// SPDX-License-Identifier: Apache-2.0
// Ordered scans: pages, counts, chains of deltas.
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

static inline bool page_inside(const page_walk *p, const MDB_val *key)
{
    if (key->mv_size != p->klen)
        return false;
    // Of a constant length, so that it is no call: it is made for every record.
    const uint8_t *k = key->mv_data;
    return memcmp(k, p->key, 4) == 0 && k[4] == p->key[4] &&
           (p->prefix == 5 || memcmp(k + 5, p->key + 5, 8) == 0);
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
    uint64_t all;
    rqc_err rc = rqci_ws_class(r, workspace, RQCI_CLASS_BASE, &all);
    if (rc != RQC_OK)
        return rc;
    uint64_t newer = 0;
    if (until < INT64_MAX && all > 0) {
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
        *ret_count = all - newer;
    return rc;
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

rqc_err rqci_delta_record(rqci_reader *r, const MDB_val *key, const MDB_val *val,
                          const rqc_record **ret_record)
{
    const uint8_t *place = val->mv_data;
    MDB_val record = {val->mv_size - RQCI_PLACE_DELTA,
                      (void *)(uintptr_t)(place + RQCI_PLACE_DELTA)};
    if (val->mv_size < RQCI_PLACE_DELTA)
        return RQC_CORRUPT;
    if (val->mv_size == RQCI_PLACE_DELTA) {
        uint8_t h[RQCI_KEY_HTTP];
        rqci_put32be(h, rqci_get32(place));
        h[4] = place[4];
        memcpy(h + 5, (const uint8_t *)key->mv_data + 16, 24);
        MDB_val hkey = {sizeof h, h};
        const int found = mdb_get(r->txn, r->env->dbi[RQCI_DB_HTTP], &hkey, &record);
        if (found != 0)
            return found == MDB_NOTFOUND ? RQC_CORRUPT : rqci_lmdb_err(found, "deltas", NULL);
    }
    if (record.mv_size < RQCI_REC_HEADER || rqci_rec_size(record.mv_data) != record.mv_size)
        return RQC_CORRUPT;
    *ret_record = record.mv_data;
    return RQC_OK;
}

static rqc_err walk_add(rqci_buf *walk, const rqc_record *rec, uint32_t from, uint32_t depth)
{
    const step s = {rec, from, depth};
    return rqci_buf_add(walk, &s, sizeof s);
}

static rqc_err chain_children(rqci_reader *r, rqci_buf *walk, uint32_t i, int64_t until)
{
    uint8_t k[RQCI_KEY_DELTA];
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
        if (rqci_from_ascending(rqci_get64be((const uint8_t *)key.mv_data + 16)) > until)
            return RQC_OK;
        const rqc_record *rec;
        rc = rqci_delta_record(r, &key, &val, &rec);
        if (rc == RQC_OK)
            rc = walk_add(walk, rec, i, here.depth + 1);
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

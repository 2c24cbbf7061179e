// SPDX-License-Identifier: Apache-2.0
// Membership: putting a record into the view and taking it out, with every index, counter and
// tombstone that goes with it.
//
// A record lives in the workspace that its chain of owners leads to, number 0 while the chain is
// broken. When an owner arrives, moves or departs, what it owns goes with it, at the seq of that
// event: a tombstone where it was, an upsert where it is.
#include "cache/internal.h"

#include <stdlib.h>

// Where a record is now.
typedef struct place {
    uint32_t ws;       // of a request
    uint8_t class;     // of a request
    int64_t updated;   // of a request
    uint64_t arrived;  // of a request or response
    uint8_t owner[16]; // of everything else
} place;

static rqc_err place_decode(uint8_t entity, const MDB_val *val, place *ret)
{
    const uint8_t *p = val->mv_data;
    memset(ret, 0, sizeof *ret);
    if (entity == RQCI_HTTP && val->mv_size >= RQCI_PLACE_HTTP) {
        ret->ws = rqci_get32(p);
        ret->class = p[4];
        ret->updated = (int64_t)rqci_get64(p + 8);
        ret->arrived = rqci_get64(p + 16);
    } else if (entity == RQCI_HTTP_RESPONSE && val->mv_size == RQCI_PLACE_RESPONSE) {
        memcpy(ret->owner, p, 16);
        ret->arrived = rqci_get64(p + 16);
    } else if (entity != RQCI_HTTP && entity != RQCI_HTTP_RESPONSE &&
               val->mv_size == RQCI_PLACE_CHILD) {
        memcpy(ret->owner, p, 16);
    } else {
        return RQC_CORRUPT;
    }
    return RQC_OK;
}

static rqc_err place_get(const rqci_wtxn *w, uint8_t entity, const uint8_t id[16], place *ret)
{
    uint8_t k[RQCI_KEY_ID];
    MDB_val val;
    const size_t n = rqci_key_place(k, entity, id);
    const int rc = rqci_wtxn_get(w, rqci_place_db(entity), k, n, &val);
    return rc != 0 ? rqci_lmdb_err(rc, "id", w->err) : place_decode(entity, &val, ret);
}

// A place of a request, followed by a copy of its record unless that is large: a read that comes
// here needs no other lookup.
static rqc_err with_record(rqci_wtxn *w, enum rqci_dbi db, const void *k, size_t klen,
                           const void *v, size_t n, const rqc_record *r)
{
    if (!rqci_place_has_record(rqci_rec_size(r)))
        return rqci_wtxn_put(w, db, k, klen, v, n);
    w->place.len = 0;
    rqc_err rc = rqci_buf_add(&w->place, v, n);
    if (rc == RQC_OK)
        rc = rqci_buf_add(&w->place, r, rqci_rec_size(r));
    return rc == RQC_OK ? rqci_wtxn_put(w, db, k, klen, w->place.data, w->place.len) : rc;
}

static rqc_err place_put(rqci_wtxn *w, const rqc_record *r, const place *p)
{
    const uint8_t entity = rqci_rec_entity(r);
    const enum rqci_dbi db = rqci_place_db(entity);
    uint8_t k[RQCI_KEY_ID], v[RQCI_PLACE_HTTP] = {0};
    const size_t klen = rqci_key_place(k, entity, rqci_rec_id(r));
    size_t n = RQCI_PLACE_CHILD;
    if (entity == RQCI_HTTP) {
        rqci_put32(v, p->ws);
        v[4] = p->class;
        rqci_put64(v + 8, (uint64_t)p->updated);
        rqci_put64(v + 16, p->arrived);
        n = RQCI_PLACE_HTTP;
    } else {
        memcpy(v, p->owner, 16);
        if (entity == RQCI_HTTP_RESPONSE) {
            rqci_put64(v + 16, p->arrived);
            n = RQCI_PLACE_RESPONSE;
        }
    }
    return entity == RQCI_HTTP ? with_record(w, db, k, klen, v, n, r)
                               : rqci_wtxn_put(w, db, k, klen, v, n);
}

// Notes an arrival in the place of a request or response.
static rqc_err place_arrive(rqci_wtxn *w, uint8_t entity, const uint8_t id[16], uint64_t seq)
{
    const enum rqci_dbi db = rqci_place_db(entity);
    uint8_t k[RQCI_KEY_ID];
    MDB_val val;
    const size_t klen = rqci_key_place(k, entity, id);
    const int got = rqci_wtxn_get(w, db, k, klen, &val);
    if (got != 0)
        return rqci_lmdb_err(got, "id", w->err);
    w->place.len = 0;
    const rqc_err rc = rqci_buf_add(&w->place, val.mv_data, val.mv_size);
    if (rc != RQC_OK)
        return rc;
    rqci_put64(w->place.data + 16, seq);
    return rqci_wtxn_put(w, db, k, klen, w->place.data, w->place.len);
}

rqc_err rqci_home_number(rqci_wtxn *w, uint8_t entity, const uint8_t id[16],
                         const uint8_t owner[16], uint32_t *ret_number)
{
    const rqci_entity *e = rqci_entity_of(entity);
    if (e->owner_code == 0)
        return rqci_ws_number(w, id, ret_number);
    if (e->owner_code == RQCI_WORKSPACES)
        return rqci_ws_number(w, owner, ret_number);
    place p;
    rqc_err rc = place_get(w, e->owner_code, owner, &p);
    if (rc == RQC_OK && e->owner_code == RQCI_HTTP_RESPONSE)
        rc = place_get(w, RQCI_HTTP, p.owner, &p);
    if (rc != RQC_OK && rc != RQC_NOT_FOUND)
        return rc;
    *ret_number = rc == RQC_OK ? p.ws : 0;
    return RQC_OK;
}

static void place_in_seq(uint8_t entity, const place *p, uint8_t v[RQCI_SEQ_HERE])
{
    memset(v, 0, RQCI_SEQ_HERE);
    if (entity == RQCI_HTTP) {
        v[0] = p->class;
        rqci_put64(v + 8, (uint64_t)p->updated);
    } else {
        memcpy(v, p->owner, 16);
    }
}

// The workspace of a record whose place is known.
static rqc_err home_at(rqci_wtxn *w, uint8_t entity, const uint8_t id[16], const place *p,
                       uint32_t *ret_number)
{
    if (entity != RQCI_HTTP)
        return rqci_home_number(w, entity, id, p->owner, ret_number);
    *ret_number = p->ws;
    return RQC_OK;
}

// ---- A request's own indexes ----

static rqc_err http_keys(rqci_wtxn *w, const rqc_record *r, const place *p, bool add)
{
    uint8_t m[RQCI_KEY_METHOD], d[RQCI_KEY_DELTA], v[RQCI_PLACE_DELTA] = {0};
    rqc_value method;
    rqci_rec_field(r, RQCI_HTTP_METHOD, &method);
    const size_t n = method.type == RQC_TEXT ? method.n : 0;
    rqci_key_method(m, p->ws, p->class, method.p, n, p->updated, rqci_rec_id(r));
    rqc_err rc = add ? rqci_wtxn_put(w, RQCI_DB_METHOD, m, sizeof m, NULL, 0)
                     : rqci_wtxn_del(w, RQCI_DB_METHOD, m, sizeof m);
    const uint8_t *parent = rqci_rec_id_field(r, RQCI_HTTP_PARENT_HTTP_ID);
    if (rc != RQC_OK || parent == NULL || !(p->class & RQCI_CLASS_DELTA))
        return rc;
    rqci_key_delta(d, parent, p->updated, rqci_rec_id(r));
    if (!add)
        return rqci_wtxn_del(w, RQCI_DB_DELTA, d, sizeof d);
    rqci_put32(v, p->ws);
    v[4] = p->class;
    return with_record(w, RQCI_DB_DELTA, d, sizeof d, v, sizeof v, r);
}

static rqc_err http_record(rqci_wtxn *w, const uint8_t id[16], const place *p,
                           const rqc_record **ret)
{
    uint8_t k[RQCI_KEY_HTTP];
    MDB_val val;
    rqci_key_http(k, p->ws, p->class, p->updated, id);
    const int rc = rqci_wtxn_get(w, RQCI_DB_HTTP, k, sizeof k, &val);
    if (rc == MDB_NOTFOUND ||
        (rc == 0 && (val.mv_size < RQCI_REC_HEADER || rqci_rec_size(val.mv_data) != val.mv_size)))
        return rqci_fail(w->err, RQC_CORRUPT, "view: a request is missing or damaged");
    if (rc != 0)
        return rqci_lmdb_err(rc, "request", w->err);
    *ret = val.mv_data;
    return RQC_OK;
}

static rqc_err record_get(rqci_wtxn *w, uint8_t entity, const uint8_t id[16], const place *p,
                          const rqc_record **ret)
{
    if (entity == RQCI_HTTP)
        return http_record(w, id, p, ret);
    const rqc_err rc = rqci_kids_get(w->kids, p->owner, entity, id, ret, w->err);
    return rc == RQC_NOT_FOUND ? rqci_fail(w->err, RQC_CORRUPT, "view: a record is missing") : rc;
}

// ---- What an owner owns follows it ----

static rqc_err reseat(rqci_wtxn *w, uint8_t owner_entity, const uint8_t owner[16], uint32_t from,
                      uint32_t to, uint64_t seq);

// One position may touch any number of records: those that somebody who moves owns.
static rqc_err spend(rqci_wtxn *w, const rqc_record *r)
{
    const uint64_t cost = 1 + rqci_rec_size(r) / 1024;
    if (!w->bounded)
        return RQC_OK;
    if (cost > w->left)
        return RQC_TOO_LARGE;
    w->left -= cost;
    return RQC_OK;
}

// One record of a private copy of a chunk.
static rqc_err reseat_one(rqci_wtxn *w, rqc_record *r, const uint8_t owner[16], uint32_t from,
                          uint32_t to, uint64_t seq)
{
    const uint8_t entity = rqci_rec_entity(r);
    rqc_err rc = spend(w, r);
    if (rc == RQC_OK)
        rc = rqci_seq_del(w, from, rqci_rec_seq(r), entity, rqci_rec_id(r));
    if (rc == RQC_OK && from != to) {
        rc = rqci_tomb_put(w, from, seq, entity, rqci_rec_id(r), owner);
        if (rc == RQC_OK)
            rc = rqci_tomb_drop(w, to, entity, rqci_rec_id(r));
        if (rc == RQC_OK)
            rc = rqci_ws_count(w, from, r, -1);
        if (rc == RQC_OK)
            rc = rqci_ws_count(w, to, r, 1);
    }
    if (rc != RQC_OK)
        return rc;
    rqci_rec_set_seq(r, seq);
    return rqci_seq_put(w, to, seq, entity, rqci_rec_id(r), owner, RQCI_SEQ_HERE);
}

// A copy of one chunk in `seat`: rewritten record by record, then stored; then what its responses
// own.
static rqc_err reseat_chunk(rqci_wtxn *w, rqci_buf *seat, const uint8_t owner[16], uint32_t from,
                            uint32_t to, uint64_t seq)
{
    const MDB_val copy = {seat->len, seat->data};
    bool bad = false;
    size_t offset = 0;
    rqc_err rc = RQC_OK;
    for (const rqc_record *r;
         rc == RQC_OK && (r = rqci_chunk_next(&copy, &offset, &bad)) != NULL;) {
        rqc_record *mine = (rqc_record *)(seat->data + ((const uint8_t *)r - seat->data));
        rc = reseat_one(w, mine, owner, from, to, seq);
        if (rc == RQC_OK && rqci_rec_entity(r) == RQCI_HTTP_RESPONSE)
            rc = reseat(w, RQCI_HTTP_RESPONSE, rqci_rec_id(r), from, to, seq);
    }
    return bad ? rqci_fail(w->err, RQC_CORRUPT, "view: a chunk of children is damaged") : rc;
}

// Everything that `owner` owns goes from one workspace to another (or stays) and gets the seq of
// the event.
static rqc_err reseat(rqci_wtxn *w, uint8_t owner_entity, const uint8_t owner[16], uint32_t from,
                      uint32_t to, uint64_t seq)
{
    rqci_buf *seat = &w->seat[owner_entity == RQCI_HTTP_RESPONSE];
    uint8_t k[RQCI_KEY_KIDS];
    static const uint8_t zero[16];
    rqci_key_kids(k, owner, 0, zero);
    size_t klen = RQCI_KEY_KIDS_PREFIX;
    for (;;) {
        MDB_val key = {klen, k}, val;
        const int got = mdb_cursor_get(w->kids, &key, &val, MDB_SET_RANGE);
        if (got == MDB_NOTFOUND)
            return RQC_OK;
        if (got != 0)
            return rqci_lmdb_err(got, "children", w->err);
        if (key.mv_size < RQCI_KEY_KIDS_LAST || memcmp(key.mv_data, owner, 16) != 0)
            return RQC_OK;
        klen = key.mv_size;
        memcpy(k, key.mv_data, klen);
        const rqci_entity *e = rqci_entity_of(k[16]);
        if (e == NULL)
            return rqci_fail(w->err, RQC_CORRUPT, "view: unknown children");
        if (e->owner_code == owner_entity) {
            seat->len = 0;
            rqc_err rc = rqci_buf_add(seat, val.mv_data, val.mv_size);
            if (rc == RQC_OK)
                rc = reseat_chunk(w, seat, owner, from, to, seq);
            if (rc != RQC_OK)
                return rc;
            key = (MDB_val){klen, k};
            val = (MDB_val){seat->len, seat->data};
            const int put = mdb_cursor_put(w->kids, &key, &val, 0);
            if (put != 0)
                return rqci_lmdb_err(put, "children", w->err);
        }
        // The smallest key behind this one.
        if (klen == RQCI_KEY_KIDS) {
            for (size_t i = RQCI_KEY_KIDS; i-- > RQCI_KEY_KIDS_LAST;)
                if (++k[i] != 0)
                    break;
                else if (i == RQCI_KEY_KIDS_LAST) {
                    k[17] = RQCI_CHUNK_LAST;
                    klen = RQCI_KEY_KIDS_LAST;
                }
        } else {
            k[17] = RQCI_CHUNK_LAST + 1;
        }
    }
}

// ---- Put, delete, arrive ----

// Takes the old copy out of its indexes. What stays: the place, and a child's bytes (its chunk is
// written once by the caller).
static rqc_err unindex(rqci_wtxn *w, const rqc_record *old, const place *p, uint32_t ws)
{
    const uint8_t entity = rqci_rec_entity(old);
    rqc_err rc = rqci_ws_count(w, ws, old, -1);
    if (rc == RQC_OK)
        rc = rqci_seq_del(w, ws, rqci_rec_seq(old), entity, rqci_rec_id(old));
    if (rc != RQC_OK || entity != RQCI_HTTP)
        return rc;
    return http_keys(w, old, p, false);
}

static rqc_err remove_http(rqci_wtxn *w, const uint8_t id[16], const place *p)
{
    uint8_t k[RQCI_KEY_HTTP];
    rqci_key_http(k, p->ws, p->class, p->updated, id);
    return rqci_wtxn_del(w, RQCI_DB_HTTP, k, sizeof k);
}

// unindex() writes, which may move the pages that `old` points into, so it works on a copy.
static rqc_err take_out(rqci_wtxn *w, uint8_t entity, const uint8_t id[16], const place *p,
                        uint32_t ws)
{
    const rqc_record *old;
    rqc_err rc = record_get(w, entity, id, p, &old);
    if (rc != RQC_OK)
        return rc;
    w->rec.len = 0;
    rc = rqci_buf_add(&w->rec, old, rqci_rec_size(old));
    return rc == RQC_OK ? unindex(w, (const rqc_record *)w->rec.data, p, ws) : rc;
}

static rqc_err store_http(rqci_wtxn *w, const rqc_record *r, const place *p)
{
    uint8_t k[RQCI_KEY_HTTP];
    rqci_key_http(k, p->ws, p->class, p->updated, rqci_rec_id(r));
    const rqc_err rc = rqci_wtxn_put(w, RQCI_DB_HTTP, k, sizeof k, r, rqci_rec_size(r));
    return rc == RQC_OK ? http_keys(w, r, p, true) : rc;
}

static void new_place(const rqc_record *r, uint32_t ws, place *ret)
{
    const rqci_entity *e = rqci_entity_of(rqci_rec_entity(r));
    memset(ret, 0, sizeof *ret);
    const uint8_t *owner = e->owner >= 0 ? rqci_rec_id_field(r, e->owner) : NULL;
    if (owner != NULL)
        memcpy(ret->owner, owner, 16);
    if (e->code == RQCI_HTTP) {
        ret->ws = ws;
        ret->updated = rqci_rec_updated(r);
        ret->class = (uint8_t)(rqci_rec_bool(r, RQCI_HTTP_IS_DELTA) |
                               rqci_rec_bool(r, RQCI_HTTP_IS_SNAPSHOT) << 1);
    }
}

rqc_err rqci_put(rqci_wtxn *w, rqc_record *r, bool arrives)
{
    const uint8_t entity = rqci_rec_entity(r), *id = rqci_rec_id(r);
    const uint64_t seq = rqci_rec_seq(r);
    place old = {0}, now;
    uint32_t from = 0, to;
    rqc_err rc = spend(w, r);
    if (rc != RQC_OK)
        return rc;
    rc = w->bulk ? RQC_NOT_FOUND : place_get(w, entity, id, &old);
    const bool was = rc == RQC_OK;
    if (rc == RQC_NOT_FOUND)
        rc = RQC_OK;
    new_place(r, 0, &now);
    if (rc == RQC_OK)
        rc = rqci_home_number(w, entity, id, now.owner, &to);
    if (rc == RQC_OK && was)
        rc = home_at(w, entity, id, &old, &from);
    if (rc != RQC_OK)
        return rc;
    if (entity == RQCI_HTTP)
        now.ws = to;
    now.arrived = w->bulk ? w->arrived : !was || arrives || from != to ? seq : old.arrived;
    if (was) {
        rc = take_out(w, entity, id, &old, from);
        const bool same_key =
            entity == RQCI_HTTP ? from == to && old.class == now.class && old.updated == now.updated
                                : memcmp(old.owner, now.owner, 16) == 0;
        if (rc == RQC_OK && !same_key)
            rc = entity == RQCI_HTTP ? remove_http(w, id, &old)
                                     : rqci_kids_del(w, old.owner, entity, id);
        if (rc == RQC_OK && from != to)
            rc = rqci_tomb_put(w, from, seq, entity, id,
                               entity == RQCI_HTTP ? (const uint8_t[16]){0} : old.owner);
    }
    if (rc == RQC_OK && (!was || from != to))
        rc = rqci_tomb_drop(w, to, entity, id);
    if (rc == RQC_OK)
        rc = entity == RQCI_HTTP ? store_http(w, r, &now) : rqci_kids_put(w, now.owner, r);
    if (rc == RQC_OK)
        rc = place_put(w, r, &now);
    uint8_t here[RQCI_SEQ_HERE];
    place_in_seq(entity, &now, here);
    if (rc == RQC_OK)
        rc = rqci_seq_put(w, to, seq, entity, id, here, sizeof here);
    if (rc == RQC_OK)
        rc = rqci_ws_count(w, to, r, 1);
    const bool owns = entity == RQCI_HTTP || entity == RQCI_HTTP_RESPONSE;
    if (rc == RQC_OK && owns && !w->bulk && (!was || arrives || from != to))
        rc = reseat(w, entity, id, from, to, seq);
    return rc;
}

rqc_err rqci_arrive(rqci_wtxn *w, uint8_t entity, const uint8_t id[16], uint64_t seq)
{
    if (entity != RQCI_HTTP && entity != RQCI_HTTP_RESPONSE)
        return RQC_OK;
    place p;
    uint32_t ws = 0;
    rqc_err rc = place_get(w, entity, id, &p);
    if (rc == RQC_OK)
        rc = home_at(w, entity, id, &p, &ws);
    if (rc == RQC_OK)
        rc = place_arrive(w, entity, id, seq);
    return rc == RQC_OK ? reseat(w, entity, id, ws, ws, seq) : rc;
}

rqc_err rqci_del(rqci_wtxn *w, uint8_t entity, const uint8_t id[16], uint64_t seq)
{
    place p;
    uint32_t ws = 0;
    rqc_err rc = place_get(w, entity, id, &p);
    if (rc == RQC_NOT_FOUND)
        return RQC_OK; // it never was in the view
    if (rc == RQC_OK)
        rc = home_at(w, entity, id, &p, &ws);
    if (rc == RQC_OK)
        rc = take_out(w, entity, id, &p, ws);
    if (rc == RQC_OK)
        rc = entity == RQCI_HTTP ? remove_http(w, id, &p) : rqci_kids_del(w, p.owner, entity, id);
    uint8_t k[RQCI_KEY_ID];
    const size_t klen = rqci_key_place(k, entity, id);
    if (rc == RQC_OK)
        rc = rqci_wtxn_del(w, rqci_place_db(entity), k, klen);
    if (rc == RQC_OK)
        rc = rqci_tomb_put(w, ws, seq, entity, id, p.owner);
    if (rc == RQC_OK && (entity == RQCI_HTTP || entity == RQCI_HTTP_RESPONSE))
        rc = reseat(w, entity, id, ws, 0, seq);
    return rc;
}

rqc_err rqci_owner_of(MDB_txn *txn, const rqci_env *e, uint8_t entity, const uint8_t id[16],
                      uint8_t ret_owner[16], rqci_errbuf *err)
{
    uint8_t k[RQCI_KEY_ID];
    MDB_val key = {rqci_key_place(k, entity, id), k}, val;
    int rc = mdb_get(txn, e->dbi[rqci_place_db(entity)], &key, &val);
    if (rc != 0)
        return rqci_lmdb_err(rc, "id", err);
    place p;
    rqc_err got = place_decode(entity, &val, &p);
    if (got != RQC_OK || entity != RQCI_HTTP) {
        if (got == RQC_OK)
            memcpy(ret_owner, p.owner, 16);
        return got;
    }
    uint8_t n[RQCI_KEY_NUMBERS];
    rqci_key_numbers(n, p.ws);
    key = (MDB_val){sizeof n, n};
    rc = mdb_get(txn, e->dbi[RQCI_DB_MAIN], &key, &val);
    memset(ret_owner, 0, 16);
    if (rc == 0 && val.mv_size == RQCI_WS_BYTES)
        memcpy(ret_owner, val.mv_data, 16);
    return rc == 0 || rc == MDB_NOTFOUND ? RQC_OK : rqci_lmdb_err(rc, "workspace", err);
}

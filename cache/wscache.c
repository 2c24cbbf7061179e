// SPDX-License-Identifier: Apache-2.0
// Counters and digests of the workspaces that a write transaction touches: loaded once, written
// back at its end.
#include "cache/internal.h"

#include <stdlib.h>

void rqci_ws_decode(const uint8_t *p, rqci_ws_state *ret_state, uint64_t *ret_tombs)
{
    memcpy(ret_state->id, p, 16);
    ret_state->digest.lo = rqci_get64(p + 16);
    ret_state->digest.hi = rqci_get64(p + 24);
    ret_state->seq = rqci_get64(p + 32);
    *ret_tombs = rqci_get64(p + 40);
    p += 48;
    for (int i = 0; i <= RQCI_ENTITY_MAX; i++, p += 8)
        ret_state->records[i] = rqci_get64(p);
    for (int i = 0; i < RQCI_CLASSES; i++, p += 8)
        ret_state->http[i] = rqci_get64(p);
}

static void encode(uint8_t *p, const rqci_wsent *w)
{
    memcpy(p, w->state.id, 16);
    rqci_put64(p + 16, w->state.digest.lo);
    rqci_put64(p + 24, w->state.digest.hi);
    rqci_put64(p + 32, w->state.seq);
    rqci_put64(p + 40, w->tombs);
    p += 48;
    for (int i = 0; i <= RQCI_ENTITY_MAX; i++, p += 8)
        rqci_put64(p, w->state.records[i]);
    for (int i = 0; i < RQCI_CLASSES; i++, p += 8)
        rqci_put64(p, w->state.http[i]);
}

static rqci_wsent **slot_of(rqci_wsent **table, size_t cap, uint32_t number)
{
    size_t i = (number * UINT32_C(2654435761)) & (cap - 1);
    while (table[i] != NULL && table[i]->number != number)
        i = (i + 1) & (cap - 1);
    return &table[i];
}

static rqc_err grow(rqci_wtxn *w)
{
    const size_t cap = w->ws_cap == 0 ? 64 : w->ws_cap * 2;
    rqci_wsent **table = calloc(cap, sizeof(rqci_wsent *));
    if (table == NULL)
        return RQC_NO_MEMORY;
    for (size_t i = 0; i < w->ws_cap; i++)
        if (w->ws[i] != NULL)
            *slot_of(table, cap, w->ws[i]->number) = w->ws[i];
    free(w->ws);
    w->ws = table;
    w->ws_cap = cap;
    return RQC_OK;
}

rqc_err rqci_ws_load(rqci_wtxn *w, uint32_t number, rqci_wsent **ret_ws)
{
    if (w->last_ws != NULL && w->last_ws->number == number) {
        *ret_ws = w->last_ws;
        return RQC_OK;
    }
    if (2 * (w->ws_n + 1) > w->ws_cap) {
        const rqc_err rc = grow(w);
        if (rc != RQC_OK)
            return rc;
    }
    rqci_wsent **slot = slot_of(w->ws, w->ws_cap, number);
    if (*slot == NULL) {
        uint8_t k[RQCI_KEY_NUMBERS];
        rqci_key_numbers(k, number);
        MDB_val key = {sizeof k, k}, val;
        const int rc = mdb_get(w->txn, w->env->dbi[RQCI_DB_MAIN], &key, &val);
        if (rc != 0 && rc != MDB_NOTFOUND)
            return rqci_lmdb_err(rc, "workspace", w->err);
        rqci_wsent *s = calloc(1, sizeof *s);
        if (s == NULL)
            return RQC_NO_MEMORY;
        s->number = number;
        if (rc == 0 && val.mv_size == RQCI_WS_BYTES)
            rqci_ws_decode(val.mv_data, &s->state, &s->tombs);
        *slot = s;
        w->ws_n++;
    }
    w->last_ws = *slot;
    *ret_ws = *slot;
    return RQC_OK;
}

rqc_err rqci_ws_number(rqci_wtxn *w, const uint8_t id[16], uint32_t *ret_number)
{
    if (w->last_ws_valid && rqci_id_equal(w->last_ws_id, id)) {
        *ret_number = w->last_ws_number;
        return RQC_OK;
    }
    uint32_t number = 0;
    if (!rqci_id_zero(id)) {
        uint8_t k[17] = {'i'}, v[4];
        memcpy(k + 1, id, 16);
        MDB_val key = {sizeof k, k}, val;
        int rc = mdb_get(w->txn, w->env->dbi[RQCI_DB_WS], &key, &val);
        if (rc == 0 && val.mv_size == 4) {
            number = rqci_get32(val.mv_data);
        } else if (rc == MDB_NOTFOUND) {
            number = w->meta.workspaces + 1;
            rqci_put32(v, number);
            val = (MDB_val){sizeof v, v};
            rc = mdb_put(w->txn, w->env->dbi[RQCI_DB_WS], &key, &val, 0);
            if (rc != 0)
                return rqci_lmdb_err(rc, "workspace", w->err);
            w->meta.workspaces = number;
            rqci_wsent *s;
            const rqc_err e = rqci_ws_load(w, number, &s);
            if (e != RQC_OK)
                return e;
            memcpy(s->state.id, id, 16);
            // At once: rqci_owner_of() finds the id of a request's workspace here.
            uint8_t n[RQCI_KEY_NUMBERS], state[RQCI_WS_BYTES];
            rqci_key_numbers(n, number);
            encode(state, s);
            key = (MDB_val){sizeof n, n};
            val = (MDB_val){sizeof state, state};
            rc = mdb_put(w->txn, w->env->dbi[RQCI_DB_MAIN], &key, &val, 0);
            if (rc != 0)
                return rqci_lmdb_err(rc, "workspace", w->err);
            s->dirty = true;
        } else {
            return rc == 0 ? RQC_CORRUPT : rqci_lmdb_err(rc, "workspace", w->err);
        }
    }
    memcpy(w->last_ws_id, id, 16);
    w->last_ws_number = number;
    w->last_ws_valid = true;
    *ret_number = number;
    return RQC_OK;
}

static rqc_err load_part(rqci_wtxn *w, rqci_wsent *s, unsigned part)
{
    uint8_t k[RQCI_KEY_BUCKET];
    rqci_key_bucket(k, s->number, part);
    MDB_val key = {sizeof k, k}, val;
    const int rc = mdb_get(w->txn, w->env->dbi[RQCI_DB_BUCKET], &key, &val);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return rqci_lmdb_err(rc, "buckets", w->err);
    if (rc == 0 && val.mv_size == RQCI_BUCKETS_PER_PART * 16) {
        const uint8_t *p = val.mv_data;
        for (unsigned i = 0; i < RQCI_BUCKETS_PER_PART; i++, p += 16) {
            s->buckets[part * RQCI_BUCKETS_PER_PART + i].lo = rqci_get64(p);
            s->buckets[part * RQCI_BUCKETS_PER_PART + i].hi = rqci_get64(p + 8);
        }
    }
    s->parts_loaded |= (uint16_t)(1u << part);
    return RQC_OK;
}

rqc_err rqci_ws_count(rqci_wtxn *w, uint32_t number, const rqc_record *r, int sign)
{
    rqci_wsent *s;
    rqc_err rc = rqci_ws_load(w, number, &s);
    if (rc != RQC_OK)
        return rc;
    const unsigned bucket = rqci_id_bucket(rqci_rec_id(r)), part = bucket / RQCI_BUCKETS_PER_PART;
    if (!(s->parts_loaded & (1u << part)) && (rc = load_part(w, s, part)) != RQC_OK)
        return rc;
    rqci_digest d;
    rqci_rec_digest(r, &d);
    const uint8_t entity = rqci_rec_entity(r);
    const uint64_t step = sign > 0 ? 1 : UINT64_MAX; // modulo 2^64: adds or takes away one
    s->state.records[0] += step;
    s->state.records[entity] += step;
    w->meta.records += step;
    if (entity == RQCI_HTTP) {
        const uint8_t class = (uint8_t)(rqci_rec_bool(r, RQCI_HTTP_IS_DELTA) |
                                        rqci_rec_bool(r, RQCI_HTTP_IS_SNAPSHOT) << 1);
        s->state.http[class] += step;
        rc = rqci_day_count(w, number, rqci_rec_updated(r), class, sign);
        if (rc != RQC_OK)
            return rc;
    }
    if (sign > 0) {
        rqci_digest_add(&s->state.digest, d);
        rqci_digest_add(&s->buckets[bucket], d);
    } else {
        rqci_digest_sub(&s->state.digest, d);
        rqci_digest_sub(&s->buckets[bucket], d);
    }
    s->parts_dirty |= (uint16_t)(1u << part);
    s->dirty = true;
    return RQC_OK;
}

static rqc_err flush_one(rqci_wtxn *w, rqci_wsent *s)
{
    uint8_t k[RQCI_KEY_NUMBERS], v[RQCI_WS_BYTES];
    rqci_key_numbers(k, s->number);
    encode(v, s);
    MDB_val key = {sizeof k, k}, val = {sizeof v, v};
    int rc = mdb_put(w->txn, w->env->dbi[RQCI_DB_MAIN], &key, &val, 0);
    for (unsigned part = 0; rc == 0 && part < RQCI_BUCKET_PARTS; part++) {
        if (!(s->parts_dirty & (1u << part)))
            continue;
        uint8_t b[RQCI_BUCKETS_PER_PART * 16];
        for (unsigned i = 0; i < RQCI_BUCKETS_PER_PART; i++) {
            rqci_put64(b + i * 16, s->buckets[part * RQCI_BUCKETS_PER_PART + i].lo);
            rqci_put64(b + i * 16 + 8, s->buckets[part * RQCI_BUCKETS_PER_PART + i].hi);
        }
        uint8_t p[RQCI_KEY_BUCKET];
        rqci_key_bucket(p, s->number, part);
        key = (MDB_val){sizeof p, p};
        val = (MDB_val){sizeof b, b};
        rc = mdb_put(w->txn, w->env->dbi[RQCI_DB_BUCKET], &key, &val, 0);
    }
    s->dirty = false;
    s->parts_dirty = 0;
    return rqci_lmdb_err(rc, "workspace", w->err);
}

rqc_err rqci_ws_flush(rqci_wtxn *w)
{
    rqc_err rc = RQC_OK;
    for (size_t i = 0; i < w->ws_cap && rc == RQC_OK; i++)
        if (w->ws[i] != NULL && w->ws[i]->dirty)
            rc = flush_one(w, w->ws[i]);
    return rc == RQC_OK ? rqci_days_flush(w) : rc;
}

void rqci_ws_drop(rqci_wtxn *w)
{
    rqci_days_drop(w);
    for (size_t i = 0; i < w->ws_cap; i++)
        free(w->ws[i]);
    free(w->ws);
    w->ws = NULL;
    w->ws_cap = w->ws_n = 0;
    w->last_ws = NULL;
    w->last_ws_valid = false;
}

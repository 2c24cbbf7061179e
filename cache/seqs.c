// SPDX-License-Identifier: Apache-2.0
// The order of changes of a workspace: where each record stands in it, and the tombstones of those
// that left.
#include "cache/internal.h"

rqc_err rqci_seq_put(rqci_wtxn *w, uint32_t ws, uint64_t seq, uint8_t entity, const uint8_t id[16],
                     const uint8_t *v, size_t vlen)
{
    uint8_t k[RQCI_KEY_SEQ];
    rqci_wsent *s;
    rqc_err rc = rqci_ws_load(w, ws, &s);
    if (rc != RQC_OK)
        return rc;
    if (seq > s->state.seq) {
        s->state.seq = seq;
        s->dirty = true;
    }
    rqci_key_seq(k, ws, seq, entity, id);
    return rqci_wtxn_put(w, RQCI_DB_SEQ, k, sizeof k, v, vlen);
}

rqc_err rqci_seq_del(rqci_wtxn *w, uint32_t ws, uint64_t seq, uint8_t entity, const uint8_t id[16])
{
    uint8_t k[RQCI_KEY_SEQ];
    rqci_key_seq(k, ws, seq, entity, id);
    return rqci_wtxn_del(w, RQCI_DB_SEQ, k, sizeof k);
}

rqc_err rqci_tomb_drop(rqci_wtxn *w, uint32_t ws, uint8_t entity, const uint8_t id[16])
{
    rqci_wsent *s;
    rqc_err rc = rqci_ws_load(w, ws, &s);
    if (rc != RQC_OK || s->tombs == 0)
        return rc;
    uint8_t k[RQCI_KEY_TOMB];
    MDB_val val;
    rqci_key_tomb(k, ws, entity, id);
    const int got = rqci_wtxn_get(w, RQCI_DB_TOMB, k, sizeof k, &val);
    if (got == MDB_NOTFOUND)
        return RQC_OK;
    if (got != 0 || val.mv_size != 8)
        return got != 0 ? rqci_lmdb_err(got, "tombstone", w->err) : RQC_CORRUPT;
    rc = rqci_seq_del(w, ws, rqci_get64(val.mv_data), entity, id);
    if (rc == RQC_OK)
        rc = rqci_wtxn_del(w, RQCI_DB_TOMB, k, sizeof k);
    s->tombs--;
    s->dirty = true;
    w->meta.tombstones--;
    return rc;
}

rqc_err rqci_tomb_put(rqci_wtxn *w, uint32_t ws, uint64_t seq, uint8_t entity, const uint8_t id[16],
                      const uint8_t owner[16])
{
    uint8_t k[RQCI_KEY_TOMB], v[8];
    rqci_wsent *s;
    rqc_err rc = rqci_tomb_drop(w, ws, entity, id);
    if (rc == RQC_OK)
        rc = rqci_ws_load(w, ws, &s);
    if (rc != RQC_OK || seq <= w->meta.horizon)
        return rc; // behind the horizon nobody may ask for it
    rqci_key_tomb(k, ws, entity, id);
    rqci_put64(v, seq);
    rc = rqci_wtxn_put(w, RQCI_DB_TOMB, k, sizeof k, v, sizeof v);
    uint8_t tomb[RQCI_SEQ_TOMB] = {0};
    memcpy(tomb, owner, 16);
    if (rc == RQC_OK)
        rc = rqci_seq_put(w, ws, seq, entity, id, tomb, sizeof tomb);
    s->tombs++;
    s->dirty = true;
    w->meta.tombstones++;
    return rc;
}

rqc_err rqci_prune_tombs(rqci_wtxn *w, uint64_t from, uint64_t to)
{
    MDB_cursor *c = NULL;
    rqc_err rc =
        rqci_lmdb_err(mdb_cursor_open(w->txn, w->env->dbi[RQCI_DB_SEQ], &c), "tombstones", w->err);
    static const uint8_t zero[16];
    for (uint32_t ws = 0; rc == RQC_OK && ws <= w->meta.workspaces; ws++) {
        rqci_wsent *s;
        rc = rqci_ws_load(w, ws, &s);
        if (rc != RQC_OK || s->tombs == 0)
            continue;
        uint8_t k[RQCI_KEY_SEQ];
        rqci_key_seq(k, ws, from + 1, 0, zero);
        MDB_val key = {sizeof k, k}, val;
        int got = mdb_cursor_get(c, &key, &val, MDB_SET_RANGE);
        while (got == 0 && rc == RQC_OK && rqci_get32be(key.mv_data) == ws &&
               rqci_get64be((uint8_t *)key.mv_data + 4) <= to) {
            if (val.mv_size == RQCI_SEQ_TOMB) {
                uint8_t t[RQCI_KEY_TOMB];
                rqci_key_tomb(t, ws, ((uint8_t *)key.mv_data)[12], (uint8_t *)key.mv_data + 13);
                got = mdb_cursor_del(c, 0);
                rc = got == 0 ? rqci_wtxn_del(w, RQCI_DB_TOMB, t, sizeof t) : RQC_OK;
                s->tombs--;
                s->dirty = true;
                w->meta.tombstones--;
                if (got ==
                    0) // MDB_NEXT knows that the cursor stands on the entry behind the deleted one
                    got = mdb_cursor_get(c, &key, &val, MDB_NEXT);
            } else {
                got = mdb_cursor_get(c, &key, &val, MDB_NEXT);
            }
        }
        if (rc == RQC_OK && got != 0 && got != MDB_NOTFOUND)
            rc = rqci_lmdb_err(got, "tombstones", w->err);
    }
    mdb_cursor_close(c);
    return rc;
}

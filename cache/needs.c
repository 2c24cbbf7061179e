// SPDX-License-Identifier: Apache-2.0
// Which rows of the log the view cannot do without.
#include "cache/view_parts.h"

// Log rows of records that are gone, or changed after the horizon, are kept for so many positions
// behind it, since one statement may log several rows of a key and the horizon may stand between
// them.
#define KEEP_BEHIND UINT64_C(128)

// True when a deleted owner still has orphans.
static bool has_orphans(const rqci_view *v, const rqci_change *c)
{
    MDB_cursor *cur = NULL;
    if ((c->entity != RQCI_HTTP && c->entity != RQCI_HTTP_RESPONSE) ||
        mdb_cursor_open(v->lookup, v->env->dbi[RQCI_DB_KIDS], &cur) != 0)
        return false;
    static const uint8_t zero[16];
    uint8_t k[RQCI_KEY_KIDS];
    rqci_key_kids(k, c->id, 0, zero);
    MDB_val key = {RQCI_KEY_KIDS_PREFIX, k}, val;
    const bool found = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE) == 0 && key.mv_size >= 16 &&
                       memcmp(key.mv_data, c->id, 16) == 0;
    mdb_cursor_close(cur);
    return found;
}

static bool needs(const rqci_view *v, const rqci_change *c, uint64_t horizon)
{
    uint8_t k[RQCI_KEY_ID];
    MDB_val key = {rqci_key_place(k, c->entity, c->id), k}, val;
    const int rc = mdb_get(v->lookup, v->env->dbi[rqci_place_db(c->entity)], &key, &val);
    if (rc == MDB_NOTFOUND)
        return c->seq + KEEP_BEHIND > horizon || has_orphans(v, c);
    if (rc != 0)
        return true;
    const uint8_t *p = val.mv_data;
    const rqc_record *r = NULL;
    if (c->entity == RQCI_HTTP && val.mv_size >= RQCI_PLACE_HTTP) {
        if (rqci_get64(p + 16) == c->seq)
            return true;
        uint8_t h[RQCI_KEY_HTTP];
        rqci_key_http(h, rqci_get32(p), p[4], (int64_t)rqci_get64(p + 8), c->id);
        key = (MDB_val){sizeof h, h};
        if (mdb_get(v->lookup, v->env->dbi[RQCI_DB_HTTP], &key, &val) != 0)
            return true;
        r = val.mv_data;
    } else {
        if (c->entity == RQCI_HTTP_RESPONSE && val.mv_size == RQCI_PLACE_RESPONSE &&
            rqci_get64(p + 16) == c->seq)
            return true;
        MDB_cursor *cur = NULL;
        if (mdb_cursor_open(v->lookup, v->env->dbi[RQCI_DB_KIDS], &cur) != 0)
            return true;
        const rqc_err got = rqci_kids_get(cur, p, c->entity, c->id, &r, NULL);
        mdb_cursor_close(cur);
        if (got != RQC_OK)
            return true;
    }
    // One that changed after the horizon keeps the rows close behind it: they tell where it was
    // then.
    return rqci_rec_seq(r) == c->seq ||
           (rqci_rec_seq(r) > horizon && c->seq + KEEP_BEHIND > horizon);
}

bool rqci_view_needs(rqci_view *v, const rqci_change *c, uint64_t horizon)
{
    if (v->env == NULL || c->seq > v->seq)
        return true;
    int rc = v->lookup == NULL ? mdb_txn_begin(v->env->env, NULL, MDB_RDONLY, &v->lookup)
                               : mdb_txn_renew(v->lookup);
    if (rc != 0)
        return true;
    const bool needed = needs(v, c, horizon);
    mdb_txn_reset(v->lookup);
    return needed;
}

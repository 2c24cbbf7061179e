// SPDX-License-Identifier: Apache-2.0
// Replay of the change log. The outcome depends on the log rows and on the tables at the end of the
// batch, never on how the log was cut into batches: a view that was built anew is equal to one that
// followed change by change.
#include "base/hash.h"
#include "cache/internal.h"

#include <stdlib.h>

rqc_err rqci_wtxn_begin(rqci_wtxn *w, rqci_env *e, rqci_errbuf *err)
{
    w->env = e;
    w->err = err;
    int rc = mdb_txn_begin(e->env, NULL, 0, &w->txn);
    if (rc == 0)
        rc = mdb_cursor_open(w->txn, e->dbi[RQCI_DB_KIDS], &w->kids);
    if (rc != 0) {
        rqci_wtxn_abort(w);
        return rqci_lmdb_err(rc, "begin", err);
    }
    const rqc_err got = rqci_meta_get(w->txn, e, &w->meta, err);
    if (got == RQC_UNAVAILABLE) { // a new environment
        memset(&w->meta, 0, sizeof w->meta);
        return RQC_OK;
    }
    if (got != RQC_OK)
        rqci_wtxn_abort(w);
    return got;
}

void rqci_wtxn_abort(rqci_wtxn *w)
{
    rqci_ws_drop(w);
    if (w->kids != NULL)
        mdb_cursor_close(w->kids);
    if (w->txn != NULL)
        mdb_txn_abort(w->txn);
    w->kids = NULL;
    w->txn = NULL;
}

rqc_err rqci_wtxn_commit(rqci_wtxn *w)
{
    rqc_err rc = rqci_ws_flush(w);
    if (rc == RQC_OK)
        rc = rqci_meta_put(w->txn, w->env, &w->meta, w->err);
    if (rc == RQC_OK) {
        mdb_cursor_close(w->kids);
        w->kids = NULL;
        rc = rqci_lmdb_err(mdb_txn_commit(w->txn), "commit", w->err);
        w->txn = NULL; // gone in either case
        // Where that fails, new readers get a clear error until the next commit; the commit stands.
        if (rc == RQC_OK)
            (void)rqci_env_fill(w->env, NULL);
    }
    rqci_wtxn_abort(w);
    return rc;
}

void rqci_wtxn_free(rqci_wtxn *w)
{
    rqci_wtxn_abort(w);
    rqci_buf_free(&w->chunk);
    rqci_buf_free(&w->rec);
    rqci_buf_free(&w->place);
    rqci_buf_free(&w->seat[0]);
    rqci_buf_free(&w->seat[1]);
}

int rqci_wtxn_get(const rqci_wtxn *w, enum rqci_dbi db, const void *k, size_t klen, MDB_val *val)
{
    MDB_val key = {klen, (void *)(uintptr_t)k};
    return mdb_get(w->txn, w->env->dbi[db], &key, val);
}

rqc_err rqci_wtxn_put(rqci_wtxn *w, enum rqci_dbi db, const void *k, size_t klen, const void *v,
                      size_t vlen)
{
    MDB_val key = {klen, (void *)(uintptr_t)k}, val = {vlen, (void *)(uintptr_t)v};
    return rqci_lmdb_err(mdb_put(w->txn, w->env->dbi[db], &key, &val, 0), "write", w->err);
}

rqc_err rqci_wtxn_del(rqci_wtxn *w, enum rqci_dbi db, const void *k, size_t klen)
{
    MDB_val key = {klen, (void *)(uintptr_t)k};
    const int rc = mdb_del(w->txn, w->env->dbi[db], &key, NULL);
    if (rc == MDB_NOTFOUND)
        return rqci_fail(w->err, RQC_CORRUPT, "view: an index entry is missing");
    return rqci_lmdb_err(rc, "delete", w->err);
}

// ---- The rows of the log, linked by key ----

typedef struct load {
    rqci_log_rows *log;
    size_t max;
} load;

static rqc_err load_row(void *arg, const rqci_change *c)
{
    load *l = arg;
    rqci_log_rows *log = l->log;
    if (log->n == l->max)
        return RQC_TOO_LARGE;
    if (log->n == log->cap) {
        const size_t cap = log->cap == 0 ? 256 : log->cap * 2;
        rqci_change *rows = realloc(log->rows, cap * sizeof *rows);
        if (rows == NULL)
            return RQC_NO_MEMORY;
        log->rows = rows;
        log->cap = cap;
    }
    log->rows[log->n++] = *c;
    return RQC_OK;
}

static size_t key_slot(const rqci_log_rows *l, uint8_t entity, const uint8_t id[16])
{
    uint8_t k[RQCI_KEY_ID];
    rqci_key_id(k, entity, id);
    size_t i = (size_t)rqci_xxh64(k, sizeof k) & (l->table_cap - 1);
    while (l->table[i] != 0) {
        const rqci_change *c = &l->rows[l->table[i] - 1];
        if (c->entity == entity && rqci_id_equal(c->id, id))
            break;
        i = (i + 1) & (l->table_cap - 1);
    }
    return i;
}

rqc_err rqci_log_load(rqci_log_rows *l, const rqci_source *src, uint64_t after, uint64_t upto,
                      size_t max, rqci_errbuf *err)
{
    memset(l, 0, sizeof *l);
    load arg = {l, max};
    rqc_err rc = src->changes(src->ctx, after, upto, load_row, &arg, err);
    if (rc != RQC_OK)
        return rc;
    l->table_cap = 64;
    while (l->table_cap < 2 * l->n)
        l->table_cap *= 2;
    l->next = calloc(l->n + 1, sizeof *l->next);
    l->table = calloc(l->table_cap, sizeof *l->table);
    if (l->next == NULL || l->table == NULL)
        return RQC_NO_MEMORY;
    for (size_t i = l->n; i-- > 0;) { // backwards: the table ends with the first row of each key
        const size_t slot = key_slot(l, l->rows[i].entity, l->rows[i].id);
        l->next[i] = l->table[slot];
        l->table[slot] = (uint32_t)(i + 1);
    }
    return RQC_OK;
}

const rqci_change *rqci_log_first(const rqci_log_rows *l, uint8_t entity, const uint8_t id[16])
{
    const uint32_t i = l->n == 0 ? 0 : l->table[key_slot(l, entity, id)];
    return i == 0 ? NULL : &l->rows[i - 1];
}

void rqci_log_free(rqci_log_rows *l)
{
    free(l->rows);
    free(l->next);
    free(l->table);
    memset(l, 0, sizeof *l);
}

// ---- Replay ----

static bool arrival(const rqci_change *c)
{
    return c->op == RQCI_OP_INSERT || c->op == RQCI_OP_MOVE;
}

// The newest row of a key: what the table says is true.
static rqc_err settle(rqci_wtxn *w, const rqci_source *src, const rqci_change *c, rqci_buf *row)
{
    row->len = 0;
    rqc_err rc = src->row(src->ctx, c->entity, c->id, c->seq, row, w->err);
    if (rc == RQC_NOT_FOUND)
        return rqci_del(w, c->entity, c->id, c->seq);
    return rc != RQC_OK ? rc : rqci_put(w, (rqc_record *)row->data, arrival(c));
}

// A row of a key that comes again later in the batch: only what it says about membership matters.
static rqc_err pass(rqci_wtxn *w, const rqci_change *c, uint8_t next_op, rqci_buf *row)
{
    if (c->op == RQCI_OP_DELETE) // the key is inserted next: it was gone; otherwise it was there
                                 // all the time
        return next_op == RQCI_OP_INSERT ? rqci_del(w, c->entity, c->id, c->seq) : RQC_OK;
    uint8_t owner[16];
    rqc_err rc = rqci_owner_of(w->txn, w->env, c->entity, c->id, owner, w->err);
    if (rc == RQC_OK &&
        (rqci_entity_of(c->entity)->owner_code == 0 || rqci_id_equal(owner, c->owner)))
        return arrival(c) ? rqci_arrive(w, c->entity, c->id, c->seq) : RQC_OK;
    if (rc != RQC_OK && rc != RQC_NOT_FOUND)
        return rc;
    row->len = 0;
    rc = rqci_rec_pack_placeholder(rqci_entity_of(c->entity), c->id, c->owner, c->seq, row);
    return rc != RQC_OK ? rc : rqci_put(w, (rqc_record *)row->data, arrival(c));
}

rqc_err rqci_replay(rqci_wtxn *w, const rqci_source *src, const rqci_log_rows *log,
                    rqc_err (*tick)(void *ctx), void *ctx)
{
    rqci_buf row = {0};
    rqc_err rc = RQC_OK;
    for (size_t i = 0; rc == RQC_OK && i < log->n; i++) {
        const rqci_change *c = &log->rows[i];
        rc = log->next[i] == 0 ? settle(w, src, c, &row)
                               : pass(w, c, log->rows[log->next[i] - 1].op, &row);
        if (rc == RQC_OK && tick != NULL)
            rc = tick(ctx);
    }
    rqci_buf_free(&row);
    return rc;
}

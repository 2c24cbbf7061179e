// SPDX-License-Identifier: Apache-2.0
// Building a view from the truth alone: first the state at a cut, from the tables and what the log
// tells of each record's place then; after it the log is replayed as always. Behind the cut only
// the newest row of each record counts, and the newest arrival of each owner. The cut is the
// horizon, or later: as long as the log behind the horizon tells of new and changed records only,
// no tombstone comes from it.
#include "base/hash.h"
#include "cache/internal.h"

#include <stdlib.h>

#define PUTS_PER_TXN 100000u
#define SCAN_AHEAD   10000u // so many records are worth a thread

// What the log rows up to the cut say of a key.
typedef struct known {
    uint8_t entity; // 0: free slot
    uint8_t id[16];
    bool deleted;      // the newest row is a DELETE
    uint8_t owner[16]; // in the newest row
    uint64_t born;     // seq of its INSERT behind the horizon, 0 for a record that may be older
    uint64_t newest;   // seq of the newest row
    uint64_t arrived;  // seq of the newest INSERT or MOVE
} known;

typedef struct build {
    rqci_wtxn w;
    rqci_env *env;
    const rqci_source *src;
    const rqci_source_state *state;
    const rqci_view_options *opt;
    rqci_errbuf *err;
    rqci_log_rows log; // behind the cut
    known *known;      // up to the cut
    size_t known_cap, known_n;
    uint64_t cut;
    bool late_cut; // try to cut behind the horizon
    rqci_buf placeholder;
    uint64_t done, total;
    unsigned in_txn;
} build;

static known *known_slot(known *table, size_t cap, uint8_t entity, const uint8_t id[16])
{
    uint8_t k[RQCI_KEY_ID];
    rqci_key_id(k, entity, id);
    size_t i = (size_t)rqci_xxh64(k, sizeof k) & (cap - 1);
    while (table[i].entity != 0 && (table[i].entity != entity || !rqci_id_equal(table[i].id, id)))
        i = (i + 1) & (cap - 1);
    return &table[i];
}

static rqc_err known_add(void *arg, const rqci_change *c)
{
    build *b = arg;
    if (2 * (b->known_n + 1) > b->known_cap) {
        const size_t cap = b->known_cap == 0 ? 1024 : b->known_cap * 2;
        known *table = calloc(cap, sizeof *table);
        if (table == NULL)
            return RQC_NO_MEMORY;
        for (size_t i = 0; i < b->known_cap; i++)
            if (b->known[i].entity != 0)
                *known_slot(table, cap, b->known[i].entity, b->known[i].id) = b->known[i];
        free(b->known);
        b->known = table;
        b->known_cap = cap;
    }
    known *k = known_slot(b->known, b->known_cap, c->entity, c->id);
    if (k->entity == 0) {
        k->entity = c->entity;
        memcpy(k->id, c->id, 16);
        b->known_n++;
    }
    k->newest = c->seq;
    k->deleted = c->op == RQCI_OP_DELETE;
    memcpy(k->owner, c->owner, 16);
    if (c->op == RQCI_OP_INSERT || c->op == RQCI_OP_MOVE)
        k->arrived = c->seq;
    if (c->op == RQCI_OP_INSERT && c->seq > b->state->horizon)
        k->born = c->seq;
    return RQC_OK;
}

static const known *known_get(const build *b, uint8_t entity, const uint8_t id[16])
{
    if (b->known_cap == 0)
        return NULL;
    const known *k = known_slot(b->known, b->known_cap, entity, id);
    return k->entity == 0 ? NULL : k;
}

// Finds the cut while the log above the horizon is read; rows below it are known.
static rqc_err find_cut(void *arg, const rqci_change *c)
{
    build *b = arg;
    if (c->op == RQCI_OP_DELETE || c->op == RQCI_OP_MOVE)
        return RQC_DIFFERENT;
    const known *k = c->op == RQCI_OP_INSERT ? known_get(b, c->entity, c->id) : NULL;
    if (k != NULL && !k->deleted) // replaced in place
        return RQC_DIFFERENT;
    b->cut = c->seq;
    return known_add(b, c);
}

// Seq of the last event that moved what this owner owns: its arrival, or its departure when it is
// not there.
static uint64_t event_of(const build *b, uint8_t entity, const uint8_t id[16], bool there)
{
    const known *k = known_get(b, entity, id);
    if (k == NULL)
        return 0;
    return there ? k->arrived : k->deleted ? k->newest : 0;
}

// Seq of a record at the cut: its own newest change, or the newest event of an owner above it.
static rqc_err seq_at_cut(build *b, const rqc_record *r, uint64_t *ret_seq)
{
    const rqci_entity *e = rqci_entity_of(rqci_rec_entity(r));
    const known *k = known_get(b, e->code, rqci_rec_id(r));
    uint64_t seq = k != NULL ? k->newest : b->state->baseline;
    const uint8_t *owner = e->owner >= 0 ? rqci_rec_id_field(r, e->owner) : NULL;
    uint8_t id[16] = {0}, above[16];
    if (owner != NULL)
        memcpy(id, owner, 16);
    for (uint8_t code = e->owner_code; code == RQCI_HTTP || code == RQCI_HTTP_RESPONSE;
         code = RQCI_HTTP) {
        const rqc_err rc = rqci_owner_of(b->w.txn, b->env, code, id, above, b->err);
        if (rc != RQC_OK && rc != RQC_NOT_FOUND)
            return rc;
        const uint64_t event = event_of(b, code, id, rc == RQC_OK);
        // An orphan whose owner arrived behind the horizon left a tombstone, which only the replay
        // makes.
        if (event > b->state->horizon && (k == NULL || k->born < event))
            return RQC_DIFFERENT;
        seq = event > seq ? event : seq;
        if (rc != RQC_OK || code == RQCI_HTTP)
            break;
        memcpy(id, above, 16);
    }
    *ret_seq = seq;
    return RQC_OK;
}

static rqc_err next_txn(build *b)
{
    b->in_txn = 0;
    rqc_err rc = rqci_wtxn_commit(&b->w);
    if (rc == RQC_OK)
        rc = rqci_wtxn_begin(&b->w, b->env, b->err);
    if (b->opt->progress != NULL)
        b->opt->progress(b->opt->progress_ctx, "building the view", b->done, b->total);
    return rc;
}

static rqc_err tick(void *ctx)
{
    build *b = ctx;
    b->done++;
    return ++b->in_txn < PUTS_PER_TXN ? RQC_OK : next_txn(b);
}

// With the arrival that rqci_put cannot know: the newest one up to the cut.
static rqc_err put_at_cut(build *b, rqc_record *r)
{
    const uint8_t entity = rqci_rec_entity(r);
    const bool arrives = entity == RQCI_HTTP || entity == RQCI_HTTP_RESPONSE;
    b->w.arrived = arrives ? event_of(b, entity, rqci_rec_id(r), true) : 0;
    const rqc_err rc = rqci_put(&b->w, r, false);
    return rc == RQC_OK ? tick(b) : rc;
}

static rqc_err scan_row(void *arg, rqc_record *r)
{
    build *b = arg;
    if (rqci_log_first(&b->log, rqci_rec_entity(r), rqci_rec_id(r)) != NULL)
        return RQC_OK; // the log tells what it was at the cut
    uint64_t seq;
    const rqc_err rc = seq_at_cut(b, r, &seq);
    if (rc != RQC_OK)
        return rc;
    rqci_rec_set_seq(r, seq);
    return put_at_cut(b, r);
}

// Whether a key that the log touches was there at the cut, and with which owner. Its first row
// tells; where the cut stands between the two rows that one statement logged (UPDATE and INSERT of
// a replace in place, DELETE and MOVE), the row before it tells.
static bool at_cut(const build *b, const rqci_change *first, const uint8_t **ret_owner)
{
    const known *k = known_get(b, first->entity, first->id);
    *ret_owner = first->owner;
    if (first->op == RQCI_OP_MOVE && k != NULL)
        *ret_owner = k->owner;
    if (first->op != RQCI_OP_INSERT)
        return true;
    if (k == NULL || k->deleted)
        return false;
    *ret_owner = k->owner;
    return true;
}

// Records that the log touches and that were there at the cut: only their place matters, their
// content is that of the end.
static rqc_err put_touched(build *b, const rqci_entity *e)
{
    for (size_t i = 0; i < b->log.n; i++) {
        const rqci_change *c = &b->log.rows[i];
        const uint8_t *owner;
        if (c->entity != e->code || rqci_log_first(&b->log, c->entity, c->id) != c ||
            !at_cut(b, c, &owner))
            continue;
        b->placeholder.len = 0;
        uint64_t seq;
        rqc_err rc =
            rqci_rec_pack_placeholder(e, c->id, owner, b->state->baseline, &b->placeholder);
        if (rc == RQC_OK)
            rc = seq_at_cut(b, (rqc_record *)b->placeholder.data, &seq);
        if (rc == RQC_OK)
            rc = put_at_cut(b, (rqc_record *)b->placeholder.data);
        if (rc != RQC_OK)
            return rc;
    }
    return RQC_OK;
}

static rqc_err build_all(build *b)
{
    // Owners before what they own.
    static const uint8_t order[RQCI_ENTITY_MAX] = {RQCI_WORKSPACES,
                                                   RQCI_FILES,
                                                   RQCI_HTTP,
                                                   RQCI_HTTP_RESPONSE,
                                                   RQCI_HTTP_HEADER,
                                                   RQCI_HTTP_SEARCH_PARAM,
                                                   RQCI_HTTP_BODY_FORM,
                                                   RQCI_HTTP_BODY_URLENCODED,
                                                   RQCI_HTTP_BODY_RAW,
                                                   RQCI_HTTP_ASSERT,
                                                   RQCI_HTTP_VERSION,
                                                   RQCI_HTTP_RESPONSE_HEADER,
                                                   RQCI_HTTP_RESPONSE_ASSERT};
    const uint64_t horizon = b->state->horizon;
    rqc_err rc = b->src->changes(b->src->ctx, 0, horizon, known_add, b, b->err);
    b->cut = horizon;
    if (rc == RQC_OK && b->late_cut)
        rc = b->src->changes(b->src->ctx, horizon, b->state->head, find_cut, b, b->err);
    if (rc == RQC_OK || rc == RQC_DIFFERENT)
        rc = rqci_log_load(&b->log, b->src, b->cut, b->state->head, SIZE_MAX, b->err);
    b->total = b->src->count(b->src->ctx) + b->log.n;
    const bool ahead = b->total >= SCAN_AHEAD;
    if (rc == RQC_OK)
        rc = rqci_wtxn_begin(&b->w, b->env, b->err);
    b->w.bulk = true;
    rqci_meta *m = &b->w.meta;
    m->layout = RQCI_VIEW_LAYOUT;
    m->schema_hash = rqci_schema_hash();
    memcpy(m->store_id, b->state->store_id, 16);
    m->term = b->state->term;
    m->baseline = b->state->baseline;
    m->horizon = horizon;
    for (int i = 0; rc == RQC_OK && i < RQCI_ENTITY_MAX; i++) {
        rc = ahead ? rqci_scan_ahead(b->src, order[i], scan_row, b, b->err)
                   : b->src->scan(b->src->ctx, order[i], scan_row, b, b->err);
        if (rc == RQC_OK)
            rc = put_touched(b, rqci_entity_of(order[i]));
    }
    b->w.bulk = false;
    if (rc == RQC_OK)
        rc = rqci_replay(&b->w, b->src, &b->log, tick, b);
    b->w.meta.seq = b->state->head;
    if (rc == RQC_OK)
        rc = rqci_wtxn_commit(&b->w);
    if (rc == RQC_OK && b->opt->progress != NULL)
        b->opt->progress(b->opt->progress_ctx, "building the view", b->total, b->total);
    return rc;
}

static rqc_err build_once(rqci_env *e, const rqci_source *src, const rqci_source_state *state,
                          const rqci_view_options *opt, bool late_cut, rqci_errbuf *err)
{
    build *b = calloc(1, sizeof *b);
    if (b == NULL)
        return RQC_NO_MEMORY;
    *b =
        (build){.env = e, .src = src, .state = state, .opt = opt, .err = err, .late_cut = late_cut};
    const rqc_err rc = build_all(b);
    rqci_wtxn_free(&b->w);
    rqci_log_free(&b->log);
    rqci_buf_free(&b->placeholder);
    free(b->known);
    free(b);
    return rc;
}

// To drop the main database would be to drop the others, too.
static int empty_main(MDB_txn *txn, MDB_dbi main)
{
    MDB_cursor *c;
    MDB_val key, val;
    int rc = mdb_cursor_open(txn, main, &c);
    if (rc != 0)
        return rc;
    while ((rc = mdb_cursor_get(c, &key, &val, MDB_NEXT)) == 0)
        if (rqci_main_entry(&key) && (rc = mdb_cursor_del(c, 0)) != 0)
            break;
    mdb_cursor_close(c);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static rqc_err empty(rqci_env *e, rqci_errbuf *err)
{
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(e->env, NULL, 0, &txn);
    for (int i = RQCI_DB_MAIN + 1; rc == 0 && i < RQCI_DB_COUNT; i++)
        rc = mdb_drop(txn, e->dbi[i], 0);
    if (rc == 0)
        rc = empty_main(txn, e->dbi[RQCI_DB_MAIN]);
    if (rc != 0 && txn != NULL)
        mdb_txn_abort(txn);
    return rqci_lmdb_err(rc == 0 ? mdb_txn_commit(txn) : rc, "start over", err);
}

rqc_err rqci_build(rqci_env *e, const rqci_source *src, const rqci_source_state *state,
                   const rqci_view_options *opt, rqci_errbuf *err)
{
    rqc_err rc = build_once(e, src, state, opt, true, err);
    if (rc != RQC_DIFFERENT)
        return rc;
    rc = empty(e, err);
    return rc == RQC_OK ? build_once(e, src, state, opt, false, err) : rc;
}

// SPDX-License-Identifier: Apache-2.0
//
// The indexes beside the children, and a walk over everything.
#include "bench/floor.h"

#include <string.h>

enum { INDEX_TXN = 20000 };

struct entry {
    uint8_t key[FLOOR_KEY_MAX];
    uint8_t value[FLOOR_RECORD_MAX];
    size_t key_len, value_len;
};

// Where a record is found: http by its place in the page index, a child by its owner.
static size_t put_place(const struct floor_data *d, uint32_t rec, uint8_t *value)
{
    uint32_t req = rec / d->per_request;

    if (floor_entity_of(d, rec) != FLOOR_HTTP) {
        memcpy(value, d->ids[req * d->per_request], FLOOR_ID);
        return FLOOR_ID;
    }
    uint8_t key[FLOOR_KEY_MAX];
    size_t n = floor_key_page(key, 0, floor_updated_at(req), d->ids[rec]) - FLOOR_ID;
    memcpy(value, key + 4, n - 4);
    return n - 4;
}

static void make_entry(const struct floor_data *d, enum floor_db db, uint32_t rec, uint64_t seq,
                       struct entry *e)
{
    uint32_t req = rec / d->per_request, ws = floor_ws(d, req);
    enum floor_entity entity = floor_entity_of(d, rec);
    const uint8_t *id = d->ids[rec];

    e->value_len = 0;
    switch (db) {
    case DB_ID:
    case DB_ID_UP:
        e->key_len = floor_key_id(e->key, entity, id);
        if (db == DB_ID_UP) {
            memcpy(e->key, id, FLOOR_ID);
            e->key[FLOOR_ID] = (uint8_t)entity;
        }
        floor_put_be32(e->value, ws);
        e->value_len = 4 + put_place(d, rec, e->value + 4);
        break;
    case DB_P1:
        e->key_len = floor_key_page(e->key, ws, floor_updated_at(req), id);
        e->value_len = floor_record(d, rec, 0, e->value);
        break;
    case DB_P1_UP:
        e->key_len = floor_key_page_up(e->key, ws, floor_updated_at(req), id);
        e->value_len = floor_record(d, rec, 0, e->value);
        break;
    case DB_P2: e->key_len = floor_key_page(e->key, ws, floor_updated_at(req), id); break;
    case DB_HTTP:
        e->key_len = floor_key_id(e->key, entity, id);
        e->value_len = floor_record(d, rec, 0, e->value);
        break;
    case DB_SEQ:
    case DB_SEQV:
        e->key_len = floor_key_seq(e->key, ws, seq, entity, id);
        if (db == DB_SEQV)
            e->value_len = put_place(d, rec, e->value);
        break;
    case DB_CHILD:
    case DB_DELTA:
    case DB_NUMBER:
    case DB_COUNT: floor_die(floor_db_name[db], "is not an index");
    }
}

bool floor_index_is_full(enum floor_db db)
{
    return db == DB_ID || db == DB_ID_UP || db == DB_SEQ || db == DB_SEQV;
}

// By arrival the record number stands for the seq, so that seqs ascend as they do in life.
double floor_build_index(struct floor_view *v, const struct floor_data *d, enum floor_db db,
                         enum floor_order order)
{
    bool all = floor_index_is_full(db), sorted = order == FLOOR_SORTED;
    const uint32_t *of = db == DB_ID      ? d->records_by_id
                         : all            ? d->records_by_seq
                         : db == DB_HTTP  ? d->by_id
                         : db == DB_P1_UP ? d->by_ws_oldest
                                          : d->by_ws_newest;
    uint32_t n = sorted && !all ? d->requests : d->records, scale = all ? 1 : d->per_request;
    MDB_dbi dbi = floor_view_db(v, db);
    double start = floor_now();

    for (uint32_t i = 0; i < n;) {
        uint32_t end = n - i < INDEX_TXN ? n : i + INDEX_TXN;
        MDB_txn *txn;
        MDB_cursor *cur;
        floor_mdb(mdb_txn_begin(v->env, NULL, 0, &txn), "mdb_txn_begin");
        floor_mdb(mdb_cursor_open(txn, dbi, &cur), "mdb_cursor_open");
        for (; i < end; i++) {
            struct entry e;
            uint32_t rec = sorted ? of[i] * scale : i;
            if (!all && rec % d->per_request != 0)
                continue;
            make_entry(d, db, rec, sorted ? d->seq_of[rec] : i, &e);
            MDB_val k = {e.key_len, e.key}, val = {e.value_len, e.value};
            floor_mdb(mdb_cursor_put(cur, &k, &val, sorted ? MDB_APPEND : 0), "mdb_cursor_put");
        }
        mdb_cursor_close(cur);
        floor_mdb(mdb_txn_commit(txn), "mdb_txn_commit");
    }
    return floor_now() - start;
}

static void touch_value(const struct floor_view *v, enum floor_db db, const MDB_val *val,
                        struct floor_tally *t)
{
    if (db == DB_P1 || db == DB_P1_UP || db == DB_HTTP) {
        floor_touch(t, val->mv_data);
    } else if (db != DB_CHILD) {
        t->count++;
        t->rest += val->mv_size > 0 ? *(const uint8_t *)val->mv_data : 0U;
    } else if (v->layout == FLOOR_ADJ || v->layout == FLOOR_ADJ_WS) {
        floor_touch(t, val->mv_data);
    } else if (v->layout == FLOOR_WHOLE) {
        struct floor_whole w;
        const uint8_t *p = val->mv_data;
        memcpy(&w, p, sizeof w);
        floor_touch_chunk(t, p + w.off[1], w.off[3] - w.off[1]);
    } else {
        floor_touch_chunk(t, val->mv_data, val->mv_size);
    }
}

double floor_walk(struct floor_view *v, enum floor_db db, struct floor_tally *t)
{
    MDB_txn *txn;
    MDB_cursor *cur;
    MDB_val k, val;
    double start = floor_now();
    int rc;

    floor_mdb(mdb_txn_begin(v->env, NULL, MDB_RDONLY, &txn), "mdb_txn_begin");
    floor_mdb(mdb_cursor_open(txn, v->dbi[db], &cur), "mdb_cursor_open");
    for (rc = mdb_cursor_get(cur, &k, &val, MDB_FIRST); rc == 0;
         rc = mdb_cursor_get(cur, &k, &val, MDB_NEXT))
        touch_value(v, db, &val, t);
    if (rc != MDB_NOTFOUND)
        floor_mdb(rc, "mdb_cursor_get");
    mdb_cursor_close(cur);
    mdb_txn_abort(txn);
    return floor_now() - start;
}

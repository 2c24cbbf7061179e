// SPDX-License-Identifier: Apache-2.0
//
// The floor for the same records: LMDB by hand, in the layouts that were the fastest, with nothing
// checked. The records are the view's own bytes.
#include "bench/reads.h"
#include "record/record.h"

#include <stdlib.h>
#include <string.h>

struct reads_floor {
    struct floor_view view;
};

enum {
    CHUNK_ROOM = 64 * 1024,
    COPY_CHANGES = 10000,
    COPY_TXN = 50000,
    TIME_ID = 24,
    PLACE_HTTP = 13
};

static void put(MDB_txn *txn, MDB_dbi dbi, const void *key, size_t n, const void *value,
                size_t size)
{
    MDB_val k = {n, (void *)(uintptr_t)key}, v = {size, (void *)(uintptr_t)value};

    floor_mdb(mdb_put(txn, dbi, &k, &v, 0), "mdb_put");
}

// ---- building -----------------------------------------------------------------------------------

static size_t page_key(uint8_t *k, uint32_t ws, uint8_t class, int64_t time, const uint8_t *id)
{
    size_t n = floor_key_page_up(k, ws, time, id);

    k[4] = class;
    return n;
}

static int by_id(const void *a, const void *b)
{
    const rqc_record *const *x = a, *const *y = b;

    return memcmp(rqci_rec_id(*x), rqci_rec_id(*y), 16);
}

// The children of a kind as one value, or several when they are many.
static void copy_children(struct floor_view *v, MDB_txn *txn, rqc_read *r, rqc_entity e,
                          const uint8_t *owner, rqc_list *list)
{
    static uint8_t chunk[CHUNK_ROOM];
    uint8_t key[FLOOR_KEY_MAX];
    size_t at = 0, n = floor_key_children(FLOOR_CHUNK, key, 0, owner, FLOOR_HTTP);

    bench_check(rqc_children(r, e, (void *)(uintptr_t)owner, 1, RQC_ANY_TIME, 1, list),
                "rqc_children", rqc_read_error(r));
    if (list->n == 0)
        return;
    qsort(list->items, list->n, sizeof *list->items, by_id);
    key[n - 1] = (uint8_t)e;
    for (size_t i = 0; i < list->n; i++) {
        size_t size = rqci_rec_size(list->items[i]);
        if (at > 0 && at + size > FLOOR_CHUNK_LIMIT) {
            key[n] = FLOOR_MARK_FULL;
            memcpy(key + n + 1, rqci_rec_id(list->items[i - 1]), 16);
            put(txn, v->dbi[DB_CHILD], key, n + 17, chunk, at);
            at = 0;
        }
        memcpy(chunk + at, list->items[i], size);
        at += size;
    }
    key[n] = FLOOR_MARK_LAST;
    put(txn, v->dbi[DB_CHILD], key, n + 1, chunk, at);
}

static void copy_request(struct floor_view *v, MDB_txn *txn, uint32_t ws, const rqc_record *r,
                         uint8_t *place)
{
    uint8_t key[FLOOR_KEY_MAX], delta[16 + TIME_ID];
    bool is_delta = rqci_rec_bool(r, RQC_HTTP_IS_DELTA);
    const uint8_t *parent = rqci_rec_id_field(r, RQC_HTTP_PARENT_HTTP_ID);
    size_t n = page_key(key, ws, is_delta, rqci_rec_updated(r), rqci_rec_id(r));

    put(txn, v->dbi[DB_P1_UP], key, n, r, rqci_rec_size(r));
    memcpy(place, key, PLACE_HTTP); // its key without the id
    if (is_delta && parent != NULL) {
        memcpy(delta, parent, 16);
        memcpy(delta + 16, key + 5, TIME_ID);
        put(txn, v->dbi[DB_DELTA], delta, sizeof delta, r, rqci_rec_size(r));
    }
    put(txn, v->dbi[DB_HTTP], rqci_rec_id(r), 16, r, rqci_rec_size(r));
}

static void copy_record(struct floor_view *v, MDB_txn *txn, uint32_t ws, const rqc_change *c)
{
    uint8_t id[FLOOR_KEY_MAX], seq[FLOOR_KEY_MAX], place[FLOOR_KEY_MAX] = {0};
    const rqci_entity *e = rqci_entity_of(c->entity);
    size_t n = floor_key_id(id, (enum floor_entity)c->entity, c->id), size = 16;

    if (c->entity == RQC_HTTP) {
        copy_request(v, txn, ws, c->record, place);
        size = PLACE_HTTP;
    } else if (e->owner >= 0) {
        memcpy(place, rqci_rec_id_field(c->record, e->owner), 16);
    }
    put(txn, v->dbi[DB_ID], id, n, place, size);
    n = floor_key_seq(seq, ws, c->seq, (enum floor_entity)c->entity, c->id);
    put(txn, v->dbi[DB_SEQV], seq, n, place, size);
}

// All records of a workspace, in order of their positions.
static void copy_workspace(struct floor_view *v, rqc_read *r, uint32_t ws,
                           rqc_changes_list *changes, rqc_list *list)
{
    rqc_cursor cursor = RQC_CURSOR_INIT(0);
    int up_to_date = 0;
    uint64_t of_class[2] = {0};
    uint8_t id[16], key[4], value[16];
    MDB_txn *txn;

    bench_workspace_id(ws, id);
    floor_put_be32(key, ws);
    while (!up_to_date) {
        bench_check(rqc_read_begin(r), "rqc_read_begin", rqc_read_error(r));
        bench_check(rqc_changes(r, id, &cursor, COPY_CHANGES, changes, &up_to_date), "rqc_changes",
                    rqc_read_error(r));
        floor_mdb(mdb_txn_begin(v->env, NULL, 0, &txn), "mdb_txn_begin");
        for (size_t i = 0; i < changes->n; i++) {
            const rqc_change *c = &changes->items[i];
            copy_record(v, txn, ws, c);
            if (c->entity == RQC_HTTP) {
                of_class[rqci_rec_bool(c->record, RQC_HTTP_IS_DELTA)]++;
                copy_children(v, txn, r, RQC_HTTP_HEADER, c->id, list);
                copy_children(v, txn, r, RQC_HTTP_SEARCH_PARAM, c->id, list);
            } else if (c->entity == RQC_WORKSPACES) {
                put(txn, v->dbi[DB_HTTP], c->id, 16, c->record, rqci_rec_size(c->record));
            }
        }
        floor_put_be64(value, of_class[0]);
        floor_put_be64(value + 8, of_class[1]);
        put(txn, v->dbi[DB_NUMBER], key, sizeof key, value, sizeof value);
        floor_mdb(mdb_txn_commit(txn), "mdb_txn_commit");
        rqc_read_end(r);
    }
}

struct reads_floor *reads_floor_make(const struct bench_data *d, rqc_db *db, const char *root)
{
    static const enum floor_db use[] = {DB_ID, DB_P1_UP, DB_HTTP, DB_SEQV, DB_DELTA, DB_NUMBER};
    struct reads_floor *f = floor_alloc(1, sizeof *f);
    rqc_changes_list changes = RQC_CHANGES_INIT;
    rqc_list list = RQC_LIST_INIT;
    rqc_error err = {RQC_OK, ""};
    rqc_read *r;

    floor_view_open(&f->view, FLOOR_CHUNK, root, "floor");
    for (size_t i = 0; i < sizeof use / sizeof use[0]; i++)
        (void)floor_view_db(&f->view, use[i]);
    bench_check(rqc_read_new(db, &r, &err), "rqc_read_new", err.text);
    for (uint32_t ws = 0; ws < d->floor.workspaces; ws++)
        copy_workspace(&f->view, r, ws, &changes, &list);
    rqc_read_free(r);
    rqc_changes_free(&changes);
    rqc_list_free(&list);
    floor_view_reader(&f->view);
    return f;
}

void reads_floor_free(struct reads_floor *f)
{
    if (f != NULL)
        floor_view_close(&f->view, true);
    free(f);
}

// ---- reading ------------------------------------------------------------------------------------

static inline void touch(read_tally *t, const void *record)
{
    const rqc_record *r = record;
    const rqci_entity *e = &rqci_entities[rqci_rec_entity(r)];
    const uint8_t *slot = rqci_rec_slot(r, e, read_text_field(e->code));
    uint64_t word;

    memcpy(&word, rqci_rec_id(r) + 8, sizeof word);
    t->count++;
    t->ids += word;
    t->times += (uint64_t)rqci_rec_updated(r);
    t->rest += rqci_get32(slot + 4) + ((const uint8_t *)r)[rqci_get32(slot)];
}

static void touch_chunk(read_tally *t, const MDB_val *chunk)
{
    const uint8_t *p = chunk->mv_data, *end = p + chunk->mv_size;

    for (; p < end; p += rqci_rec_size((const rqc_record *)p))
        touch(t, p);
}

static void find(struct floor_view *v, enum floor_db db, const void *key, size_t n, MDB_val *ret)
{
    MDB_val k = {n, (void *)(uintptr_t)key};

    floor_mdb(mdb_get(v->txn, v->dbi[db], &k, ret), "mdb_get");
}

static void get(struct floor_view *v, const uint8_t *id, read_tally *t)
{
    MDB_val val;

    find(v, DB_HTTP, id, 16, &val);
    touch(t, val.mv_data);
}

static void page(struct floor_view *v, const struct read_target *t, read_tally *tally)
{
    static const uint8_t no_id[16];
    uint8_t key[FLOOR_KEY_MAX];
    MDB_cursor *cur = v->cur[DB_P1_UP];
    MDB_val k = {page_key(key, t->ws, 0, t->until, no_id), key}, val;

    // No key is above this one and of the same time, so the page begins one before what is found.
    int rc = mdb_cursor_get(cur, &k, &val, MDB_SET_RANGE);
    rc = mdb_cursor_get(cur, &k, &val, rc == 0 ? MDB_PREV : MDB_LAST);
    for (int i = 0; i < READ_PAGE && rc == 0 && memcmp(k.mv_data, key, 5) == 0; i++) {
        touch(tally, val.mv_data);
        rc = i + 1 < READ_PAGE ? mdb_cursor_get(cur, &k, &val, MDB_PREV) : 0;
    }
}

// Headers of a request; with `all` whatever stands behind them and is its child too.
static void children(struct floor_view *v, const uint8_t *owner, bool all, read_tally *tally)
{
    uint8_t key[17];
    MDB_val k = {sizeof key, key}, val;

    memcpy(key, owner, 16);
    key[16] = RQC_HTTP_HEADER;
    int rc = mdb_cursor_get(v->cur[DB_CHILD], &k, &val, MDB_SET_RANGE);
    while (rc == 0 && memcmp(k.mv_data, key, all ? 16 : 17) == 0) {
        const uint8_t *at = k.mv_data;
        touch_chunk(tally, &val);
        if (at[17] == FLOOR_MARK_LAST && (!all || at[16] == RQC_HTTP_SEARCH_PARAM))
            break;
        rc = mdb_cursor_get(v->cur[DB_CHILD], &k, &val, MDB_NEXT);
    }
}

static void change(struct floor_view *v, const uint8_t *at, const MDB_val *place, read_tally *t)
{
    uint8_t key[FLOOR_KEY_MAX];
    MDB_val k = {0, key}, val;

    if (at[0] == RQC_HTTP) {
        memcpy(key, place->mv_data, 13);
        for (int i = 0; i < 16; i++)
            key[13 + i] = (uint8_t)~at[1 + i];
        k.mv_size = 29;
        floor_mdb(mdb_cursor_get(v->cur[DB_P1_UP], &k, &val, MDB_SET), "mdb_cursor_get");
        touch(t, val.mv_data);
        return;
    }
    if (at[0] == RQC_WORKSPACES) {
        find(v, DB_HTTP, at + 1, 16, &val);
        touch(t, val.mv_data);
        return;
    }
    memcpy(key, place->mv_data, 16);
    key[16] = at[0];
    key[17] = FLOOR_MARK_FULL;
    memcpy(key + 18, at + 1, 16);
    k.mv_size = 34;
    floor_mdb(mdb_cursor_get(v->cur[DB_CHILD], &k, &val, MDB_SET_RANGE), "mdb_cursor_get");
    const uint8_t *p = val.mv_data;
    while (memcmp(rqci_rec_id((const rqc_record *)p), at + 1, 16) != 0)
        p += rqci_rec_size((const rqc_record *)p);
    touch(t, p);
}

static void changes(struct floor_view *v, const struct read_target *t, read_tally *tally)
{
    uint8_t key[FLOOR_KEY_MAX];
    MDB_cursor *cur = v->cur[DB_SEQV];
    size_t n =
        floor_key_seq(key, t->ws, t->cursor.seq, (enum floor_entity)t->cursor.entity, t->cursor.id);
    MDB_val k = {n, key}, val;

    int rc = mdb_cursor_get(cur, &k, &val, MDB_SET_RANGE);
    if (rc == 0 && memcmp(k.mv_data, key, n) == 0)
        rc = mdb_cursor_get(cur, &k, &val, MDB_NEXT);
    for (int i = 0; i < READ_CHANGES && rc == 0 && memcmp(k.mv_data, key, 4) == 0; i++) {
        change(v, (const uint8_t *)k.mv_data + 12, &val, tally);
        rc = mdb_cursor_get(cur, &k, &val, MDB_NEXT);
    }
}

// Down the chain: of several deltas the newest. (That the longest way wins needs a search, which
// these chains do not.)
static void chain(struct floor_view *v, const uint8_t *base, read_tally *tally)
{
    uint8_t key[16];
    MDB_cursor *cur = v->cur[DB_DELTA];
    MDB_val k = {sizeof key, key}, val;

    get(v, base, tally);
    memcpy(key, base, 16);
    while (mdb_cursor_get(cur, &k, &val, MDB_SET_RANGE) == 0 && memcmp(k.mv_data, key, 16) == 0) {
        memcpy(key, rqci_rec_id(val.mv_data), 16);
        touch(tally, val.mv_data);
        k = (MDB_val){sizeof key, key};
    }
}

static int64_t time_of(const MDB_val *key)
{
    return (int64_t)(floor_get_be64((const uint8_t *)key->mv_data + 5) ^ UINT64_C(1) << 63);
}

// The first entry behind a moment.
static int seek_behind(MDB_cursor *cur, uint8_t *key, uint32_t ws, uint8_t class, int64_t time,
                       MDB_val *k, MDB_val *val)
{
    static const uint8_t highest[16] = {255, 255, 255, 255, 255, 255, 255, 255,
                                        255, 255, 255, 255, 255, 255, 255, 255};

    *k = (MDB_val){page_key(key, ws, class, time + 1, highest), key};
    return mdb_cursor_get(cur, k, val, MDB_SET_RANGE);
}

static void updates(struct floor_view *v, const struct read_target *t, read_tally *tally)
{
    uint8_t key[FLOOR_KEY_MAX];
    MDB_cursor *cur = v->cur[DB_P1_UP];
    MDB_val k, val;

    for (uint8_t class = 0; class < 2; class ++) {
        int rc = seek_behind(cur, key, t->ws, class, t->since, &k, &val);
        while (rc == 0 && memcmp(k.mv_data, key, 5) == 0 && time_of(&k) <= t->until) {
            touch(tally, val.mv_data);
            rc = mdb_cursor_get(cur, &k, &val, MDB_NEXT);
        }
    }
}

static void deltas(struct floor_view *v, const struct read_target *t, read_tally *tally)
{
    uint8_t key[16];
    MDB_cursor *cur = v->cur[DB_DELTA];
    MDB_val k = {sizeof key, key}, val;

    memcpy(key, t->id[0], 16);
    int rc = mdb_cursor_get(cur, &k, &val, MDB_SET_RANGE);
    for (; rc == 0 && memcmp(k.mv_data, key, 16) == 0;
         rc = mdb_cursor_get(cur, &k, &val, MDB_NEXT)) {
        const int64_t time = rqci_rec_updated(val.mv_data);
        if (time > t->since && time <= t->until)
            touch(tally, val.mv_data);
    }
}

static void metrics(struct floor_view *v, const struct read_target *t, read_tally *tally)
{
    uint8_t key[FLOOR_KEY_MAX], number[4];
    MDB_cursor *cur = v->cur[DB_P1_UP];
    int64_t latest = INT64_MIN, earliest = INT64_MAX;
    uint64_t recent = 0;
    MDB_val k, val;

    floor_put_be32(number, t->ws);
    find(v, DB_NUMBER, number, sizeof number, &val);
    tally->count += floor_get_be64(val.mv_data) + floor_get_be64((uint8_t *)val.mv_data + 8);
    for (uint8_t class = 0; class < 2; class ++) {
        int rc = seek_behind(cur, key, t->ws, class, t->since, &k, &val);
        for (; rc == 0 && memcmp(k.mv_data, key, 5) == 0;
             rc = mdb_cursor_get(cur, &k, &val, MDB_NEXT)) {
            latest = time_of(&k) > latest ? time_of(&k) : latest;
            recent++;
        }
        rc = seek_behind(cur, key, t->ws, class, -1, &k, &val);
        if (rc == 0 && memcmp(k.mv_data, key, 5) == 0 && time_of(&k) < earliest)
            earliest = time_of(&k);
    }
    tally->ids += recent;
    tally->times += (uint64_t)(latest + earliest);
}

void reads_floor_run(void *floor, enum read_op op, const struct read_target *t, read_tally *tally)
{
    static const enum floor_db use[OP_COUNT_OF_OPS][3] = {
        [OP_BEGIN] = {DB_P1_UP, DB_COUNT, DB_COUNT},
        [OP_GET] = {DB_COUNT, DB_COUNT, DB_COUNT},
        [OP_PAGE_FIRST] = {DB_P1_UP, DB_COUNT, DB_COUNT},
        [OP_PAGE_MIDDLE] = {DB_P1_UP, DB_COUNT, DB_COUNT},
        [OP_COUNT] = {DB_COUNT, DB_COUNT, DB_COUNT},
        [OP_HEADERS_NEWEST] = {DB_CHILD, DB_COUNT, DB_COUNT},
        [OP_HEADERS_RANDOM] = {DB_CHILD, DB_COUNT, DB_COUNT},
        [OP_CHILDREN] = {DB_CHILD, DB_COUNT, DB_COUNT},
        [OP_CHANGES] = {DB_SEQV, DB_CHILD, DB_P1_UP},
        [OP_RESOLVE] = {DB_CHILD, DB_COUNT, DB_COUNT},
        [OP_CHAIN] = {DB_DELTA, DB_COUNT, DB_COUNT},
        [OP_UPDATES] = {DB_P1_UP, DB_COUNT, DB_COUNT},
        [OP_DELTAS] = {DB_DELTA, DB_COUNT, DB_COUNT},
        [OP_METRICS] = {DB_P1_UP, DB_COUNT, DB_COUNT},
    };
    struct floor_view *v = &((struct reads_floor *)floor)->view;
    uint8_t key[4];
    MDB_val val;

    floor_view_begin(v, use[op][0], use[op][1], use[op][2]);
    switch (op) {
    case OP_GET: get(v, t->id[0], tally); break;
    case OP_PAGE_FIRST:
    case OP_PAGE_MIDDLE: page(v, t, tally); break;
    case OP_COUNT:
        floor_put_be32(key, t->ws);
        find(v, DB_NUMBER, key, sizeof key, &val);
        tally->count += floor_get_be64(val.mv_data);
        break;
    case OP_HEADERS_NEWEST:
    case OP_HEADERS_RANDOM:
    case OP_CHILDREN:
        for (uint32_t i = 0; i < t->n; i++)
            children(v, t->id[i], op == OP_CHILDREN, tally);
        break;
    case OP_CHANGES: changes(v, t, tally); break;
    case OP_RESOLVE:
        for (int i = 0; i < 2; i++) {
            get(v, t->id[i], tally);
            children(v, t->id[i], true, tally);
        }
        break;
    case OP_CHAIN: chain(v, t->id[0], tally); break;
    case OP_UPDATES: updates(v, t, tally); break;
    case OP_DELTAS: deltas(v, t, tally); break;
    case OP_METRICS: metrics(v, t, tally); break;
    case OP_BEGIN:
    case OP_COUNT_OF_OPS: break;
    }
    floor_view_end(v);
}

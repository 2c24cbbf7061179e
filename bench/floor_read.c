// SPDX-License-Identifier: Apache-2.0
//
// The operations that are measured, for each layout.
#include "bench/floor.h"

#include <string.h>

void floor_touch(struct floor_tally *t, const void *rec)
{
    struct floor_head h;
    uint64_t word;

    memcpy(&h, rec, sizeof h);
    memcpy(&word, h.id + 8, sizeof word);
    t->last[t->count++ % 64] = rec;
    t->ids += word;
    t->times += (uint64_t)h.updated_at;
    t->rest += h.seq + h.len + h.flags;
}

void floor_touch_chunk(struct floor_tally *t, const void *data, size_t size)
{
    const uint8_t *p = data, *end = p + size;

    while (p < end) {
        uint64_t len;
        memcpy(&len, p, sizeof len);
        floor_touch(t, p + 8);
        p += 8 + len;
    }
}

static void find(const struct floor_view *v, enum floor_db db, uint8_t *key, size_t n,
                 MDB_val *ret_value)
{
    MDB_val k = {n, key};

    floor_mdb(mdb_get(v->txn, v->dbi[db], &k, ret_value), "mdb_get");
}

// ---- pages --------------------------------------------------------------------------------------

static void aim_first_page(const struct floor_data *d, uint64_t *rng, struct floor_target *t)
{
    t->ws = floor_below(rng, d->workspaces);
    t->until = INT64_MAX;
}

static void aim_middle_page(const struct floor_data *d, uint64_t *rng, struct floor_target *t)
{
    uint32_t req = d->requests / 4 + floor_below(rng, d->requests / 2);

    t->ws = floor_ws(d, req);
    t->until = floor_updated_at(req);
}

static void run_page(const struct floor_case *c, const struct floor_target *t,
                     struct floor_tally *tally)
{
    static const uint8_t no_id[FLOOR_ID];
    struct floor_view *v = c->view;
    enum floor_db db = v->has[DB_P1] && c->self == NULL ? DB_P1 : DB_P2;
    uint8_t key[FLOOR_KEY_MAX], by_id[FLOOR_KEY_MAX];
    MDB_val k = {floor_key_page(key, t->ws, t->until, no_id), key}, val;

    floor_view_begin(v, db, DB_COUNT, DB_COUNT);
    int rc = mdb_cursor_get(v->cur[db], &k, &val, MDB_SET_RANGE);
    for (int i = 0; i < FLOOR_PAGE && rc == 0 && memcmp(k.mv_data, key, 5) == 0; i++) {
        const uint8_t *id = (const uint8_t *)k.mv_data + 13, *rec = val.mv_data;
        if (db == DB_P2 && v->layout == FLOOR_WHOLE) {
            memcpy(by_id, id, FLOOR_ID);
            find(v, DB_CHILD, by_id, FLOOR_ID, &val);
            rec = (const uint8_t *)val.mv_data + sizeof(struct floor_whole) + 8;
        } else if (db == DB_P2) {
            find(v, DB_HTTP, by_id, floor_key_id(by_id, FLOOR_HTTP, id), &val);
            rec = val.mv_data;
        }
        floor_touch(tally, rec);
        rc = i + 1 < FLOOR_PAGE ? mdb_cursor_get(v->cur[db], &k, &val, MDB_NEXT) : 0;
    }
    floor_view_end(v);
}

static void run_page_up(const struct floor_case *c, const struct floor_target *t,
                        struct floor_tally *tally)
{
    static const uint8_t no_id[FLOOR_ID];
    struct floor_view *v = c->view;
    MDB_cursor *cur = v->cur[DB_P1_UP];
    uint8_t key[FLOOR_KEY_MAX];
    MDB_val k = {floor_key_page_up(key, t->ws, t->until, no_id), key}, val;

    floor_view_begin(v, DB_P1_UP, DB_COUNT, DB_COUNT);
    // No key is above this one and of the same time, so the page begins one before what is found.
    int rc = mdb_cursor_get(cur, &k, &val, MDB_SET_RANGE);
    rc = mdb_cursor_get(cur, &k, &val, rc == 0 ? MDB_PREV : MDB_LAST);
    for (int i = 0; i < FLOOR_PAGE && rc == 0 && memcmp(k.mv_data, key, 5) == 0; i++) {
        floor_touch(tally, val.mv_data);
        rc = i + 1 < FLOOR_PAGE ? mdb_cursor_get(cur, &k, &val, MDB_PREV) : 0;
    }
    floor_view_end(v);
}

// ---- children -----------------------------------------------------------------------------------

static void add_request(const struct floor_data *d, struct floor_target *t, uint32_t req)
{
    t->rec[t->n] = req * d->per_request;
    t->ws_of[t->n] = floor_ws(d, req);
    memcpy(t->id[t->n++], d->ids[req * d->per_request], FLOOR_ID);
}

static void aim_newest(const struct floor_data *d, uint64_t *rng, struct floor_target *t)
{
    uint32_t ws = floor_below(rng, d->workspaces);
    int64_t req = d->requests - 1 - (d->requests - 1 - ws) % d->workspaces;

    for (t->n = 0; t->n < FLOOR_BATCH && req >= 0; req -= d->workspaces)
        add_request(d, t, (uint32_t)req);
}

static void aim_random(const struct floor_data *d, uint64_t *rng, struct floor_target *t)
{
    for (t->n = 0; t->n < FLOOR_BATCH && t->n < d->requests;) {
        uint32_t req = floor_below(rng, d->requests), i = 0;
        while (i < t->n && t->rec[i] != req * d->per_request)
            i++;
        if (i == t->n)
            add_request(d, t, req);
    }
}

static void aim_one(const struct floor_data *d, uint64_t *rng, struct floor_target *t)
{
    t->n = 0;
    add_request(d, t, floor_below(rng, d->requests));
}

// Touches the children of one kind, or of both kinds in one range.
static void touch_children(struct floor_view *v, uint32_t ws, const uint8_t *http, bool both,
                           struct floor_tally *tally)
{
    bool chunks = v->layout == FLOOR_CHUNK || v->layout == FLOOR_CHUNK_WS;
    uint8_t prefix[FLOOR_KEY_MAX];
    size_t n = floor_key_children(v->layout, prefix, ws, http, FLOOR_HEADER);
    MDB_val k = {n, prefix}, val;
    MDB_cursor *cur = v->cur[DB_CHILD];
    size_t same = both ? n - 1 : n;
    uint8_t last = both ? FLOOR_PARAM : FLOOR_HEADER;

    int rc = mdb_cursor_get(cur, &k, &val, MDB_SET_RANGE);
    while (rc == 0 && k.mv_size > n && memcmp(k.mv_data, prefix, same) == 0) {
        const uint8_t *key = k.mv_data;
        if (!chunks) {
            floor_touch(tally, val.mv_data);
        } else {
            floor_touch_chunk(tally, val.mv_data, val.mv_size);
            if (key[n - 1] == last && key[n] == FLOOR_MARK_LAST)
                break;
        }
        rc = mdb_cursor_get(cur, &k, &val, MDB_NEXT);
    }
    if (rc != 0 && rc != MDB_NOTFOUND)
        floor_mdb(rc, "mdb_cursor_get");
}

static void touch_whole(struct floor_view *v, uint8_t *id, bool both, struct floor_tally *tally)
{
    MDB_val k = {FLOOR_ID, id}, val;
    struct floor_whole w;

    floor_mdb(mdb_cursor_get(v->cur[DB_CHILD], &k, &val, MDB_SET), "mdb_cursor_get");
    const uint8_t *p = val.mv_data;
    memcpy(&w, p, sizeof w);
    floor_touch_chunk(tally, p + w.off[1], (both ? w.off[3] : w.off[2]) - w.off[1]);
}

static void read_children(const struct floor_case *c, const struct floor_target *t, bool both,
                          struct floor_tally *tally)
{
    struct floor_view *v = c->view;
    bool by_id = c->self != NULL;

    floor_view_begin(v, DB_CHILD, by_id ? DB_ID : DB_COUNT, DB_COUNT);
    for (uint32_t i = 0; i < t->n; i++) {
        uint8_t id[FLOOR_ID], key[FLOOR_KEY_MAX];
        uint32_t ws = t->ws_of[i];
        memcpy(id, t->id[i], FLOOR_ID);
        if (by_id) {
            MDB_val k = {floor_key_id(key, FLOOR_HTTP, id), key}, val;
            floor_mdb(mdb_cursor_get(v->cur[DB_ID], &k, &val, MDB_SET), "mdb_cursor_get");
            ws = floor_get_be32(val.mv_data);
        }
        if (v->layout == FLOOR_WHOLE)
            touch_whole(v, id, both, tally);
        else
            touch_children(v, ws, id, both, tally);
    }
    floor_view_end(v);
}

static void run_headers(const struct floor_case *c, const struct floor_target *t,
                        struct floor_tally *tally)
{
    read_children(c, t, false, tally);
}

static void run_both(const struct floor_case *c, const struct floor_target *t,
                     struct floor_tally *tally)
{
    read_children(c, t, true, tally);
}

// ---- one record by id ---------------------------------------------------------------------------

static void aim_child(const struct floor_data *d, uint64_t *rng, struct floor_target *t)
{
    t->n = 1;
    t->rec[0] =
        floor_below(rng, d->requests) * d->per_request + 1 + floor_below(rng, d->per_request - 1);
    t->ws_of[0] = floor_ws(d, t->rec[0] / d->per_request);
    memcpy(t->id[0], d->ids[t->rec[0]], FLOOR_ID);
}

static void run_begin_only(const struct floor_case *c, const struct floor_target *t,
                           struct floor_tally *tally)
{
    (void)t;
    (void)tally;
    floor_view_begin(c->view, DB_CHILD, DB_COUNT, DB_COUNT);
    floor_view_end(c->view);
}

static void run_get_by_index(const struct floor_case *c, const struct floor_target *t,
                             struct floor_tally *tally)
{
    uint8_t key[FLOOR_KEY_MAX], place[FLOOR_KEY_MAX];
    MDB_val val;

    floor_view_begin(c->view, DB_COUNT, DB_COUNT, DB_COUNT);
    find(c->view, DB_ID, key, floor_key_id(key, FLOOR_HTTP, t->id[0]), &val);
    size_t n = val.mv_size;
    memcpy(place, val.mv_data, n);
    memcpy(place + n, t->id[0], FLOOR_ID);
    find(c->view, DB_P1, place, n + FLOOR_ID, &val);
    floor_touch(tally, val.mv_data);
    floor_view_end(c->view);
}

static void run_get_direct(const struct floor_case *c, const struct floor_target *t,
                           struct floor_tally *tally)
{
    uint8_t key[FLOOR_KEY_MAX];
    MDB_val val;
    bool whole = c->view->layout == FLOOR_WHOLE;
    size_t n = floor_key_id(key, FLOOR_HTTP, t->id[0]);

    floor_view_begin(c->view, DB_COUNT, DB_COUNT, DB_COUNT);
    if (whole)
        find(c->view, DB_CHILD, key + 1, n - 1, &val);
    else
        find(c->view, DB_HTTP, key, n, &val);
    const uint8_t *rec = val.mv_data;
    floor_touch(tally, whole ? rec + sizeof(struct floor_whole) + 8 : rec);
    floor_view_end(c->view);
}

// ---- changes ------------------------------------------------------------------------------------

static void aim_imported(const struct floor_data *d, uint64_t *rng, struct floor_target *t)
{
    uint32_t span = FLOOR_CHANGES / d->per_request * d->workspaces, half = d->requests / 2;
    uint32_t room = half > span ? half - span : 1;

    t->ws = floor_below(rng, d->workspaces);
    t->since = (uint64_t)floor_below(rng, room) * d->per_request;
}

static void aim_scattered(const struct floor_data *d, uint64_t *rng, struct floor_target *t)
{
    uint32_t half = d->requests / 2 * d->per_request, span = FLOOR_CHANGES * d->workspaces;
    uint32_t room = d->records - half > span ? d->records - half - span : 1;

    t->ws = floor_below(rng, d->workspaces);
    t->since = half + floor_below(rng, room);
}

// Touches a child whose owner is known.
static void touch_child(struct floor_view *v, uint32_t ws, const uint8_t *owner,
                        enum floor_entity e, const uint8_t *id, struct floor_tally *tally)
{
    uint8_t key[FLOOR_KEY_MAX];
    size_t n = floor_key_children(v->layout, key, ws, owner, e);
    bool chunks = v->layout == FLOOR_CHUNK || v->layout == FLOOR_CHUNK_WS;

    if (chunks)
        key[n++] = FLOOR_MARK_FULL;
    memcpy(key + n, id, FLOOR_ID);
    MDB_val k = {n + FLOOR_ID, key}, val;
    floor_mdb(mdb_cursor_get(v->cur[DB_CHILD], &k, &val, chunks ? MDB_SET_RANGE : MDB_SET),
              "mdb_cursor_get");
    const uint8_t *rec = chunks ? floor_chunk_find(&val, id) : val.mv_data;
    if (rec == NULL)
        floor_die("changes", "a child is missing in its chunk");
    floor_touch(tally, rec);
}

static void touch_change(struct floor_view *v, uint32_t ws, enum floor_entity e, const uint8_t *id,
                         const uint8_t *place, struct floor_tally *tally)
{
    uint8_t key[FLOOR_KEY_MAX];

    if (e != FLOOR_HTTP) {
        touch_child(v, ws, place, e, id, tally);
        return;
    }
    floor_put_be32(key, ws);
    memcpy(key + 4, place, 9);
    memcpy(key + 13, id, FLOOR_ID);
    MDB_val k = {13 + FLOOR_ID, key}, val;
    floor_mdb(mdb_cursor_get(v->cur[DB_P1], &k, &val, MDB_SET), "mdb_cursor_get");
    floor_touch(tally, val.mv_data);
}

static void run_changes(const struct floor_case *c, const struct floor_target *t,
                        struct floor_tally *tally)
{
    static const uint8_t no_id[FLOOR_ID];
    struct floor_view *v = c->view;
    enum floor_db db = c->self != NULL ? DB_SEQ : DB_SEQV;
    uint8_t key[FLOOR_KEY_MAX], by_id[FLOOR_KEY_MAX];
    MDB_val k = {floor_key_seq(key, t->ws, t->since, FLOOR_HTTP, no_id), key}, val;

    floor_view_begin(v, db, DB_CHILD, DB_P1);
    if (db == DB_SEQ)
        floor_mdb(mdb_cursor_renew(v->txn, v->cur[DB_ID]), "mdb_cursor_renew");
    int rc = mdb_cursor_get(v->cur[db], &k, &val, MDB_SET_RANGE);
    for (int i = 0; i < FLOOR_CHANGES && rc == 0 && memcmp(k.mv_data, key, 4) == 0; i++) {
        const uint8_t *at = (const uint8_t *)k.mv_data + 12, *place = val.mv_data;
        if (db == DB_SEQ) {
            memcpy(by_id, at, 1 + FLOOR_ID);
            MDB_val id_key = {1 + FLOOR_ID, by_id}, found;
            floor_mdb(mdb_cursor_get(v->cur[DB_ID], &id_key, &found, MDB_SET), "mdb_cursor_get");
            place = (const uint8_t *)found.mv_data + 4;
        }
        touch_change(v, t->ws, (enum floor_entity)at[0], at + 1, place, tally);
        rc = mdb_cursor_get(v->cur[db], &k, &val, MDB_NEXT);
    }
    floor_view_end(v);
}

static void run_child_by_index(const struct floor_case *c, const struct floor_target *t,
                               struct floor_tally *tally)
{
    uint8_t key[FLOOR_KEY_MAX];
    MDB_val val;
    enum floor_entity e = floor_entity_of(c->data, t->rec[0]);

    floor_view_begin(c->view, DB_CHILD, DB_COUNT, DB_COUNT);
    find(c->view, DB_ID, key, floor_key_id(key, e, t->id[0]), &val);
    const uint8_t *place = val.mv_data;
    touch_child(c->view, floor_get_be32(place), place + 4, e, t->id[0], tally);
    floor_view_end(c->view);
}

// ---- all of them --------------------------------------------------------------------------------

static void add(struct floor_group *g, const char *name, floor_run_fn *run, struct floor_view *v,
                void *self)
{
    g->cases[g->n++] = (struct floor_case){.name = name, .run = run, .view = v, .self = self};
}

static void add_sqlite(struct floor_bench *b, struct floor_group *g, floor_run_fn *run)
{
    if (b->sqlite == NULL)
        return;
    add(g, "SQLite", run, NULL, b->sqlite);
    g->cases[g->n - 1].sqlite = true;
}

static void page_group(struct floor_bench *b, const char *name, floor_aim_fn *aim)
{
    struct floor_group g = {.name = name, .aim = aim, .inner = 4};

    add(&g, "P1 record in the index", run_page, &b->view[FLOOR_CHUNK_WS], NULL);
    add(&g, "P1 ascending, backwards", run_page_up, &b->view[FLOOR_CHUNK_WS], NULL);
    add(&g, "P2 key, then http by id", run_page, &b->view[FLOOR_CHUNK_WS], b);
    add(&g, "P2 key, then F by id", run_page, &b->view[FLOOR_WHOLE], b);
    add_sqlite(b, &g, floor_sqlite_page);
    floor_run_group(b, &g);
}

static void children_group(struct floor_bench *b, const char *name, floor_aim_fn *aim,
                           unsigned inner, floor_run_fn *run, floor_run_fn *run_sqlite)
{
    struct floor_group g = {.name = name, .aim = aim, .inner = inner};

    for (int l = 0; l < FLOOR_LAYOUTS; l++) {
        add(&g, floor_layout_name[l], run, &b->view[l], NULL);
        if (l == FLOOR_CHUNK_WS)
            add(&g, "E id index, then D", run, &b->view[l], b);
    }
    add_sqlite(b, &g, run_sqlite);
    floor_run_group(b, &g);
}

static void changes_group(struct floor_bench *b, const char *name, floor_aim_fn *aim)
{
    struct floor_group g = {.name = name, .aim = aim, .inner = 1};

    add(&g, "seq, id index, D", run_changes, &b->view[FLOOR_CHUNK_WS], b);
    add(&g, "seq with owner, D", run_changes, &b->view[FLOOR_CHUNK_WS], NULL);
    if (b->view[FLOOR_ADJ_WS].has[DB_SEQV])
        add(&g, "seq with owner, A", run_changes, &b->view[FLOOR_ADJ_WS], NULL);
    floor_run_group(b, &g);
}

void floor_read_groups(struct floor_bench *b)
{
    struct floor_view *d = &b->view[FLOOR_CHUNK_WS];
    struct floor_group begin = {.name = "renew and reset", .aim = aim_one, .inner = 64};
    struct floor_group get = {.name = "get http by id", .aim = aim_one, .inner = 32};
    struct floor_group child = {.name = "get child by id", .aim = aim_child, .inner = 32};

    add(&begin, "txn and one cursor", run_begin_only, d, NULL);
    floor_run_group(b, &begin);
    page_group(b, "page of 50, first", aim_first_page);
    page_group(b, "page of 50, middle", aim_middle_page);
    children_group(b, "headers of newest 100", aim_newest, 1, run_headers, floor_sqlite_headers);
    children_group(b, "headers of random 100", aim_random, 1, run_headers, floor_sqlite_headers);
    children_group(b, "headers+params of 1", aim_one, 32, run_both, floor_sqlite_both);
    add(&get, "id index, then P1", run_get_by_index, d, NULL);
    add(&get, "direct key", run_get_direct, d, NULL);
    add(&get, "direct key, F", run_get_direct, &b->view[FLOOR_WHOLE], NULL);
    add_sqlite(b, &get, floor_sqlite_get);
    floor_run_group(b, &get);
    add(&child, "id index, then D", run_child_by_index, d, NULL);
    for (unsigned i = 0; i < child.n; i++)
        child.cases[i].data = &b->data;
    floor_run_group(b, &child);
    changes_group(b, "changes 1000, as imported", aim_imported);
    changes_group(b, "changes 1000, scattered", aim_scattered);
}

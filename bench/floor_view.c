// SPDX-License-Identifier: Apache-2.0
//
// The layouts: their keys, how children are put into them and found in them.
#include "bench/floor.h"

#include <string.h>
#include <sys/stat.h>

enum { PAGE_BYTES = 4096, BUILD_TXN = 1000 };

const char *const floor_layout_name[FLOOR_LAYOUTS] = {
    "A adjacent, ws prefix", "B adjacent", "C chunk", "D chunk, ws prefix", "F whole request",
};

const char *const floor_db_name[DB_COUNT] = {
    "child", "id",      "page_record", "page_key", "page_record_up", "http",
    "id_up", "seq_key", "seq_owner",   "delta",    "number",
};

void floor_put_be32(uint8_t *p, uint32_t x)
{
    x = __builtin_bswap32(x);
    memcpy(p, &x, sizeof x);
}

void floor_put_be64(uint8_t *p, uint64_t x)
{
    x = __builtin_bswap64(x);
    memcpy(p, &x, sizeof x);
}

uint64_t floor_get_be64(const uint8_t *p)
{
    uint64_t x;

    memcpy(&x, p, sizeof x);
    return __builtin_bswap64(x);
}

uint32_t floor_get_be32(const uint8_t *p)
{
    uint32_t x;

    memcpy(&x, p, sizeof x);
    return __builtin_bswap32(x);
}

size_t floor_key_children(enum floor_layout l, uint8_t *k, uint32_t ws, const uint8_t *http,
                          enum floor_entity e)
{
    size_t n = 0;

    if (l == FLOOR_ADJ_WS || l == FLOOR_CHUNK_WS) {
        floor_put_be32(k, ws);
        n = 4;
    }
    memcpy(k + n, http, FLOOR_ID);
    n += FLOOR_ID;
    if (l != FLOOR_WHOLE)
        k[n++] = (uint8_t)e;
    return n;
}

size_t floor_key_id(uint8_t *k, enum floor_entity e, const uint8_t *id)
{
    k[0] = (uint8_t)e;
    memcpy(k + 1, id, FLOOR_ID);
    return 1 + FLOOR_ID;
}

size_t floor_key_page(uint8_t *k, uint32_t ws, int64_t updated_at, const uint8_t *id)
{
    floor_put_be32(k, ws);
    k[4] = 0; // class: a base request
    floor_put_be64(k + 5, ~((uint64_t)updated_at ^ 1ULL << 63));
    memcpy(k + 13, id, FLOOR_ID);
    return 13 + FLOOR_ID;
}

// The same order, read backwards: what is new comes last, where LMDB fills its pages.
size_t floor_key_page_up(uint8_t *k, uint32_t ws, int64_t updated_at, const uint8_t *id)
{
    (void)floor_key_page(k, ws, ~updated_at, id);
    for (int i = 13; i < 13 + FLOOR_ID; i++)
        k[i] = (uint8_t)~k[i];
    return 13 + FLOOR_ID;
}

size_t floor_key_seq(uint8_t *k, uint32_t ws, uint64_t seq, enum floor_entity e, const uint8_t *id)
{
    floor_put_be32(k, ws);
    floor_put_be64(k + 4, seq);
    return 12 + floor_key_id(k + 12, e, id);
}

static void open_env(struct floor_view *v)
{
    floor_mdb(mdb_env_create(&v->env), "mdb_env_create");
    floor_mdb(mdb_env_set_mapsize(v->env, (size_t)16 << 30), "mdb_env_set_mapsize");
    floor_mdb(mdb_env_set_maxdbs(v->env, DB_COUNT), "mdb_env_set_maxdbs");
    floor_mdb(mdb_env_open(v->env, v->dir, MDB_NOSYNC | MDB_NOTLS | MDB_NORDAHEAD, 0600),
              "mdb_env_open");
}

void floor_view_open(struct floor_view *v, enum floor_layout layout, const char *root,
                     const char *name)
{
    *v = (struct floor_view){.layout = layout};
    snprintf(v->dir, sizeof v->dir, "%s/%s", root, name);
    if (mkdir(v->dir, 0700) != 0)
        floor_die(v->dir, "cannot be made");
    open_env(v);
    (void)floor_view_db(v, DB_CHILD);
}

void floor_view_reopen(struct floor_view *v)
{
    struct floor_view old = *v;

    floor_view_close(v, false);
    *v = (struct floor_view){.layout = old.layout};
    memcpy(v->dir, old.dir, sizeof v->dir);
    open_env(v);
    for (int db = 0; db < DB_COUNT; db++) {
        if (old.has[db])
            (void)floor_view_db(v, (enum floor_db)db);
    }
}

MDB_dbi floor_view_db(struct floor_view *v, enum floor_db db)
{
    MDB_txn *txn;

    if (!v->has[db]) {
        floor_mdb(mdb_txn_begin(v->env, NULL, 0, &txn), "mdb_txn_begin");
        floor_mdb(mdb_dbi_open(txn, floor_db_name[db], MDB_CREATE, &v->dbi[db]), "mdb_dbi_open");
        floor_mdb(mdb_txn_commit(txn), "mdb_txn_commit");
        v->has[db] = true;
    }
    return v->dbi[db];
}

void floor_view_reader(struct floor_view *v)
{
    floor_mdb(mdb_txn_begin(v->env, NULL, MDB_RDONLY, &v->txn), "mdb_txn_begin");
    for (int db = 0; db < DB_COUNT; db++) {
        if (v->has[db])
            floor_mdb(mdb_cursor_open(v->txn, v->dbi[db], &v->cur[db]), "mdb_cursor_open");
    }
    mdb_txn_reset(v->txn);
}

// Begins an operation; only the cursors it names (DB_COUNT: none) are renewed.
void floor_view_begin(struct floor_view *v, enum floor_db a, enum floor_db b, enum floor_db c)
{
    const enum floor_db use[3] = {a, b, c};

    floor_mdb(mdb_txn_renew(v->txn), "mdb_txn_renew");
    for (int i = 0; i < 3; i++) {
        if (use[i] != DB_COUNT)
            floor_mdb(mdb_cursor_renew(v->txn, v->cur[use[i]]), "mdb_cursor_renew");
    }
}

void floor_view_end(struct floor_view *v)
{
    mdb_txn_reset(v->txn);
}

void floor_view_close(struct floor_view *v, bool remove_files)
{
    if (v->env == NULL)
        return;
    for (int db = 0; db < DB_COUNT; db++) {
        if (v->cur[db] != NULL)
            mdb_cursor_close(v->cur[db]);
    }
    if (v->txn != NULL)
        mdb_txn_abort(v->txn);
    mdb_env_close(v->env);
    if (remove_files)
        floor_remove_tree(v->dir);
    *v = (struct floor_view){0};
}

static void put(MDB_cursor *cur, uint8_t *key, size_t key_len, void *data, size_t len,
                unsigned flags)
{
    MDB_val k = {key_len, key}, val = {len, data};

    floor_mdb(mdb_cursor_put(cur, &k, &val, flags), "mdb_cursor_put");
}

// Appends a record with its length to a chunk; returns the new size of the chunk.
static size_t chunk_add(uint8_t *chunk, size_t at, const uint8_t *rec, uint32_t len)
{
    uint64_t prefix = len;

    memcpy(chunk + at, &prefix, sizeof prefix);
    memcpy(chunk + at + sizeof prefix, rec, len);
    return at + sizeof prefix + len;
}

const uint8_t *floor_chunk_find(const MDB_val *chunk, const uint8_t *id)
{
    const uint8_t *p = chunk->mv_data, *end = p + chunk->mv_size;

    while (p < end) {
        uint64_t len;
        memcpy(&len, p, sizeof len);
        if (memcmp(p + 8, id, FLOOR_ID) == 0)
            return p + 8;
        p += 8 + len;
    }
    return NULL;
}

static void append_chunks(struct floor_view *v, const struct floor_data *d, MDB_cursor *cur,
                          uint32_t req, enum floor_entity e)
{
    uint8_t key[FLOOR_KEY_MAX], chunk[FLOOR_CHUNK_LIMIT + FLOOR_RECORD_MAX], rec[FLOOR_RECORD_MAX];
    const uint8_t *http = d->ids[req * d->per_request], *last = http;
    size_t n = floor_key_children(v->layout, key, floor_ws(d, req), http, e), at = 0;

    for (uint32_t k = 0; k < d->children; k++) {
        uint32_t number = floor_child(d, req, e, k), len = floor_record(d, number, 0, rec);
        if (at > 0 && at + 8 + len > FLOOR_CHUNK_LIMIT) {
            key[n] = FLOOR_MARK_FULL;
            memcpy(key + n + 1, last, FLOOR_ID);
            put(cur, key, n + 1 + FLOOR_ID, chunk, at, MDB_APPEND);
            at = 0;
        }
        at = chunk_add(chunk, at, rec, len);
        last = d->ids[number];
    }
    key[n] = FLOOR_MARK_LAST;
    put(cur, key, n + 1, chunk, at, MDB_APPEND);
}

static void append_nodes(struct floor_view *v, const struct floor_data *d, MDB_cursor *cur,
                         uint32_t req, enum floor_entity e)
{
    uint8_t key[FLOOR_KEY_MAX], rec[FLOOR_RECORD_MAX];
    size_t n =
        floor_key_children(v->layout, key, floor_ws(d, req), d->ids[req * d->per_request], e);

    for (uint32_t k = 0; k < d->children; k++) {
        uint32_t number = floor_child(d, req, e, k), len = floor_record(d, number, 0, rec);
        memcpy(key + n, d->ids[number], FLOOR_ID);
        put(cur, key, n + FLOOR_ID, rec, len, MDB_APPEND);
    }
}

// Puts the request record and the first `children` of each kind.
static void put_whole(const struct floor_data *d, MDB_cursor *cur, uint32_t req, uint32_t children,
                      unsigned flags)
{
    uint8_t value[FLOOR_WHOLE_MAX], rec[FLOOR_RECORD_MAX];
    uint32_t first = req * d->per_request;
    struct floor_whole w = {{sizeof w}};
    size_t at = chunk_add(value, sizeof w, rec, floor_record(d, first, 0, rec));

    for (uint32_t e = FLOOR_HEADER; e <= FLOOR_PARAM; e++) {
        w.off[e] = (uint32_t)at;
        for (uint32_t k = 0; k < children; k++) {
            uint32_t number = floor_child(d, req, (enum floor_entity)e, k);
            at = chunk_add(value, at, rec, floor_record(d, number, 0, rec));
        }
    }
    w.off[3] = (uint32_t)at;
    memcpy(value, &w, sizeof w);
    put(cur, d->ids[first], FLOOR_ID, value, at, flags);
}

// Copies a run of records, with `rec` put in or replaced at its place; returns the new size.
static size_t merge(uint8_t *to, const uint8_t *from, size_t size, const uint8_t *rec, uint32_t len,
                    size_t *ret_cut)
{
    const uint8_t *p = from, *end = from + size;
    size_t at;
    uint64_t step = 0;
    int order = 1;

    for (; p < end; p += 8 + step) {
        memcpy(&step, p, sizeof step);
        order = memcmp(p + 8, rec, FLOOR_ID);
        if (order >= 0)
            break;
    }
    at = (size_t)(p - from);
    memcpy(to, from, at);
    *ret_cut = at;
    at = chunk_add(to, at, rec, len);
    if (p < end && order == 0)
        p += 8 + step;
    memcpy(to + at, p, (size_t)(end - p));
    return at + (size_t)(end - p);
}

// Where to cut a chunk that became too large: before a record appended to the last chunk, since
// more will follow it; else in the middle. *ret_last: the id before the cut.
static size_t chunk_cut(const uint8_t *chunk, size_t size, size_t inserted, bool last_chunk,
                        const uint8_t **ret_last)
{
    uint64_t len;
    size_t at = 0, next = 0;

    memcpy(&len, chunk + inserted, sizeof len);
    size_t goal = last_chunk && inserted + 8 + len == size ? inserted : size / 2;
    do {
        at = next;
        memcpy(&len, chunk + at, sizeof len);
        next = at + 8 + len;
    } while (next < goal);
    *ret_last = chunk + at + 8;
    return next;
}

static void upsert_chunk(struct floor_view *v, const struct floor_data *d, MDB_cursor *cur,
                         uint32_t number, const uint8_t *rec, uint32_t len)
{
    uint8_t key[FLOOR_KEY_MAX], found[FLOOR_KEY_MAX];
    uint8_t chunk[FLOOR_CHUNK_LIMIT + 2 * FLOOR_RECORD_MAX];
    const uint8_t *last;
    uint32_t req = number / d->per_request;
    size_t n = floor_key_children(v->layout, key, floor_ws(d, req), d->ids[req * d->per_request],
                                  floor_entity_of(d, number));
    size_t cut, size, found_len = n + 1;
    MDB_val k = {n + 1 + FLOOR_ID, key}, val = {0, NULL};

    key[n] = FLOOR_MARK_FULL;
    memcpy(key + n + 1, rec, FLOOR_ID);
    int rc = mdb_cursor_get(cur, &k, &val, MDB_SET_RANGE);
    if (rc != MDB_NOTFOUND)
        floor_mdb(rc, "mdb_cursor_get");
    if (rc == 0 && k.mv_size > n && memcmp(k.mv_data, key, n) == 0) {
        found_len = k.mv_size;
        memcpy(found, k.mv_data, found_len);
    } else {
        memcpy(found, key, n);
        found[n] = FLOOR_MARK_LAST;
        val.mv_size = 0;
    }
    size = merge(chunk, val.mv_data, val.mv_size, rec, len, &cut);
    if (size > FLOOR_CHUNK_LIMIT && val.mv_size > 0) {
        cut = chunk_cut(chunk, size, cut, found[n] == FLOOR_MARK_LAST, &last);
        memcpy(key + n + 1, last, FLOOR_ID);
        put(cur, key, n + 1 + FLOOR_ID, chunk, cut, 0);
        put(cur, found, found_len, chunk + cut, size - cut, 0);
    } else {
        put(cur, found, found_len, chunk, size, 0);
    }
}

static void upsert_whole(const struct floor_data *d, MDB_cursor *cur, uint32_t number,
                         const uint8_t *rec, uint32_t len)
{
    uint32_t req = number / d->per_request;
    enum floor_entity e = floor_entity_of(d, number);
    struct floor_whole w;
    uint8_t to[FLOOR_WHOLE_MAX];
    MDB_val k = {FLOOR_ID, d->ids[req * d->per_request]}, val;
    size_t cut;

    floor_mdb(mdb_cursor_get(cur, &k, &val, MDB_SET), "mdb_cursor_get");
    const uint8_t *from = val.mv_data;
    memcpy(&w, from, sizeof w);
    memcpy(to, from, w.off[e]);
    size_t size = merge(to + w.off[e], from + w.off[e], w.off[e + 1] - w.off[e], rec, len, &cut);
    uint32_t grown = (uint32_t)size - (w.off[e + 1] - w.off[e]);
    memcpy(to + w.off[e] + size, from + w.off[e + 1], w.off[3] - w.off[e + 1]);
    for (uint32_t i = e + 1; i <= 3; i++)
        w.off[i] += grown;
    memcpy(to, &w, sizeof w);
    put(cur, d->ids[req * d->per_request], FLOOR_ID, to, w.off[3], 0);
}

void floor_upsert(struct floor_view *v, const struct floor_data *d, MDB_cursor *cur, uint32_t rec,
                  uint32_t version)
{
    uint8_t buf[FLOOR_RECORD_MAX], key[FLOOR_KEY_MAX];
    uint32_t req = rec / d->per_request, len = floor_record(d, rec, version, buf);

    if (v->layout == FLOOR_WHOLE) {
        upsert_whole(d, cur, rec, buf, len);
    } else if (v->layout == FLOOR_CHUNK || v->layout == FLOOR_CHUNK_WS) {
        upsert_chunk(v, d, cur, rec, buf, len);
    } else {
        size_t n = floor_key_children(v->layout, key, floor_ws(d, req),
                                      d->ids[req * d->per_request], floor_entity_of(d, rec));
        memcpy(key + n, d->ids[rec], FLOOR_ID);
        put(cur, key, n + FLOOR_ID, buf, len, 0);
    }
}

static void append_request(struct floor_view *v, const struct floor_data *d, MDB_cursor *cur,
                           uint32_t req)
{
    if (v->layout == FLOOR_WHOLE)
        put_whole(d, cur, req, d->children, MDB_APPEND);
    for (uint32_t e = FLOOR_HEADER; e <= FLOOR_PARAM && v->layout != FLOOR_WHOLE; e++) {
        if (v->layout == FLOOR_CHUNK || v->layout == FLOOR_CHUNK_WS)
            append_chunks(v, d, cur, req, (enum floor_entity)e);
        else
            append_nodes(v, d, cur, req, (enum floor_entity)e);
    }
}

static void insert_request(struct floor_view *v, const struct floor_data *d, MDB_cursor *cur,
                           uint32_t req)
{
    if (v->layout == FLOOR_WHOLE)
        put_whole(d, cur, req, 0, 0);
    for (uint32_t k = 1; k < d->per_request; k++)
        floor_upsert(v, d, cur, req * d->per_request + k, 0);
}

double floor_build(struct floor_view *v, const struct floor_data *d, enum floor_order order)
{
    bool by_ws = v->layout == FLOOR_ADJ_WS || v->layout == FLOOR_CHUNK_WS;
    const uint32_t *sorted = by_ws ? d->by_ws_id : d->by_id;
    double start = floor_now();

    for (uint32_t i = 0; i < d->requests;) {
        uint32_t end = d->requests - i < BUILD_TXN ? d->requests : i + BUILD_TXN;
        MDB_txn *txn;
        MDB_cursor *cur;
        floor_mdb(mdb_txn_begin(v->env, NULL, 0, &txn), "mdb_txn_begin");
        floor_mdb(mdb_cursor_open(txn, v->dbi[DB_CHILD], &cur), "mdb_cursor_open");
        for (; i < end; i++) {
            if (order == FLOOR_SORTED)
                append_request(v, d, cur, sorted[i]);
            else
                insert_request(v, d, cur, order == FLOOR_ARRIVAL ? i : d->shuffled[i]);
        }
        mdb_cursor_close(cur);
        floor_mdb(mdb_txn_commit(txn), "mdb_txn_commit");
    }
    return floor_now() - start;
}

uint64_t floor_env_pages(struct floor_view *v)
{
    MDB_envinfo info;

    floor_mdb(mdb_env_info(v->env, &info), "mdb_env_info");
    return info.me_last_pgno + 1;
}

uint64_t floor_db_pages(struct floor_view *v, enum floor_db db)
{
    MDB_txn *txn;
    MDB_stat s;

    floor_mdb(mdb_txn_begin(v->env, NULL, MDB_RDONLY, &txn), "mdb_txn_begin");
    floor_mdb(mdb_stat(txn, v->dbi[db], &s), "mdb_stat");
    mdb_txn_abort(txn);
    if (s.ms_psize != PAGE_BYTES)
        floor_die("mdb_stat", "pages are not of 4096 bytes");
    return s.ms_branch_pages + s.ms_leaf_pages + s.ms_overflow_pages;
}

// SPDX-License-Identifier: Apache-2.0
//
// Building, memory and updates.
#include "bench/floor.h"

#include <string.h>

enum { RANDOM_MAX = 300000 }; // requests

// What is reported of each order of insertion.
static const struct {
    const char *build, *memory, *file;
} names[FLOOR_ORDERS] = {
    {"build, append", "memory, append", "file, append"},
    {"build, by arrival", "memory, by arrival", "file, by arrival"},
    {"build, random", "memory, random", "file, random"},
};

static double records_of(const struct floor_data *d, enum floor_layout l)
{
    return (double)d->requests * (l == FLOOR_WHOLE ? d->per_request : d->per_request - 1);
}

static void check_walk(const struct floor_bench *b, struct floor_view *v, bool versions_differ)
{
    const struct floor_tally *want = &b->children;
    struct floor_tally got = {0};

    (void)floor_walk(v, DB_CHILD, &got);
    if (got.count != want->count || got.ids != want->ids || got.times != want->times ||
        (!versions_differ && got.rest != want->rest))
        floor_die(floor_layout_name[v->layout], "does not hold the children it should");
}

static void build_one(struct floor_bench *b, enum floor_layout l, enum floor_order order)
{
    struct floor_view temporary, *v = order == FLOOR_SORTED ? &b->view[l] : &temporary;
    const struct floor_data *d = &b->data;
    char name[32];

    snprintf(name, sizeof name, "%c%d", floor_layout_name[l][0], order);
    floor_view_open(v, l, b->root, name);
    double seconds = floor_build(v, d, order), n = records_of(d, l);
    floor_note(b, names[order].build, floor_layout_name[l], "records/s", n / seconds);
    floor_note(b, names[order].memory, floor_layout_name[l], "bytes/record",
               (double)floor_db_pages(v, DB_CHILD) * 4096 / n);
    floor_note(b, names[order].file, floor_layout_name[l], "bytes/record",
               (double)floor_env_pages(v) * 4096 / n);
    check_walk(b, v, false);
    if (order != FLOOR_SORTED)
        floor_view_close(v, true);
    fflush(stdout);
}

static void index_one(struct floor_bench *b, enum floor_db db, enum floor_order order)
{
    struct floor_view temporary, *v = &b->view[FLOOR_CHUNK_WS];
    double n = floor_index_is_full(db) ? b->data.records : b->data.requests;

    if (order != FLOOR_SORTED) {
        v = &temporary;
        floor_view_open(v, FLOOR_CHUNK_WS, b->root, "index");
    }
    double seconds = floor_build_index(v, &b->data, db, order);
    floor_note(b, names[order].build, floor_db_name[db], "records/s", n / seconds);
    floor_note(b, names[order].memory, floor_db_name[db], "bytes/record",
               (double)floor_db_pages(v, db) * 4096 / n);
    if (order != FLOOR_SORTED)
        floor_view_close(v, true);
    fflush(stdout);
}

// The first walk faults the pages in, as a reader that has just attached would.
static void walk_one(struct floor_bench *b, struct floor_view *v)
{
    double first = 0, second = 0;
    struct floor_tally t = {0};

    floor_view_reopen(v);
    for (int db = 0; db < DB_COUNT; db++) {
        if (!v->has[db])
            continue;
        first += floor_walk(v, (enum floor_db)db, &t);
        second += floor_walk(v, (enum floor_db)db, &t);
    }
    double n = (double)t.count / 2;
    floor_note(b, "walk, first touch", floor_layout_name[v->layout], "ns/record", first * 1e9 / n);
    floor_note(b, "walk, again", floor_layout_name[v->layout], "ns/record", second * 1e9 / n);
}

void floor_builds(struct floor_bench *b)
{
    const struct floor_data *d = &b->data;
    uint8_t rec[FLOOR_RECORD_MAX];
    uint64_t bytes = 0;
    double start = floor_now(), http = 0;

    for (uint32_t i = 0; i < d->records; i++) {
        uint32_t len = floor_record(d, i, 0, rec);
        bytes += len;
        if (floor_entity_of(d, i) == FLOOR_HTTP)
            http += len;
        else
            floor_touch(&b->children, rec);
    }
    floor_note(b, "records", "packing one", "ns", (floor_now() - start) * 1e9 / d->records);
    floor_note(b, "records", "mean http", "bytes", http / d->requests);
    floor_note(b, "records", "mean child", "bytes",
               ((double)bytes - http) / (d->records - d->requests));
    floor_settle_memory(b->root, bytes * 10);
    // Random insertion fills pages as well at any size, and takes minutes for the largest.
    int order = d->requests > RANDOM_MAX ? FLOOR_ARRIVAL : FLOOR_SHUFFLED;
    for (; order >= FLOOR_SORTED; order--) {
        for (int l = 0; l < FLOOR_LAYOUTS; l++)
            build_one(b, (enum floor_layout)l, (enum floor_order)order);
    }
    for (int db = DB_ID; db < DB_INDEXES; db++) {
        index_one(b, (enum floor_db)db, FLOOR_ARRIVAL);
        if (db != DB_ID_UP)
            index_one(b, (enum floor_db)db, FLOOR_SORTED);
    }
    (void)floor_build_index(&b->view[FLOOR_ADJ_WS], d, DB_P1, FLOOR_SORTED);
    (void)floor_build_index(&b->view[FLOOR_ADJ_WS], d, DB_SEQV, FLOOR_SORTED);
    (void)floor_build_index(&b->view[FLOOR_WHOLE], d, DB_P2, FLOOR_SORTED);
    for (int l = 0; l < FLOOR_LAYOUTS; l++) {
        walk_one(b, &b->view[l]);
        floor_view_reader(&b->view[l]);
    }
}

// ---- updates ------------------------------------------------------------------------------------

static void aim_updates(const struct floor_data *d, uint64_t *rng, struct floor_target *t)
{
    for (t->n = 0; t->n < FLOOR_BATCH; t->n++)
        t->rec[t->n] = floor_below(rng, d->requests) * d->per_request + 1 +
                       floor_below(rng, d->per_request - 1);
}

static void aim_update(const struct floor_data *d, uint64_t *rng, struct floor_target *t)
{
    aim_updates(d, rng, t);
    t->n = 1;
}

static void run_updates(const struct floor_case *c, const struct floor_target *t,
                        struct floor_tally *tally)
{
    static uint32_t version;
    MDB_txn *txn;
    MDB_cursor *cur;

    version = version % 1000 + 1;
    floor_mdb(mdb_txn_begin(c->view->env, NULL, 0, &txn), "mdb_txn_begin");
    floor_mdb(mdb_cursor_open(txn, c->view->dbi[DB_CHILD], &cur), "mdb_cursor_open");
    for (uint32_t i = 0; i < t->n; i++)
        floor_upsert(c->view, c->data, cur, t->rec[i], version);
    mdb_cursor_close(cur);
    floor_mdb(mdb_txn_commit(txn), "mdb_txn_commit");
    tally->count += t->n;
}

static void update_group(struct floor_bench *b, const char *name, floor_aim_fn *aim)
{
    struct floor_group g = {.name = name, .aim = aim, .inner = 1, .writes = true};

    for (; g.n < FLOOR_LAYOUTS; g.n++)
        g.cases[g.n] = (struct floor_case){.name = floor_layout_name[g.n],
                                           .run = run_updates,
                                           .view = &b->view[g.n],
                                           .data = &b->data};
    floor_run_group(b, &g);
}

void floor_updates(struct floor_bench *b)
{
    update_group(b, "update 1 child, 1 a txn", aim_update);
    update_group(b, "update 100 children a txn", aim_updates);
    for (int l = 0; l < FLOOR_LAYOUTS; l++)
        check_walk(b, &b->view[l], true);
}

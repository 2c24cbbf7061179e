// SPDX-License-Identifier: Apache-2.0
//
// Databases with the benchmarks' rows in them.
#include "bench/bench.h"
#include "persist/schema_sql.h"

#include <stdlib.h>
#include <string.h>

enum { SQL_BYTES = 2048, ADD_ROWS = 20000, LOAD_ROWS = 200000 };

// ---- plain SQLite -------------------------------------------------------------------------------

void bench_sqlite_check(struct bench_sqlite *s, int rc, const char *what)
{
    if (rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE)
        floor_die(what, s->db != NULL ? sqlite3_errmsg(s->db) : "sqlite3_open failed");
}

void bench_sqlite_run(struct bench_sqlite *s, const char *sql)
{
    bench_sqlite_check(s, sqlite3_exec(s->db, sql, NULL, NULL, NULL), sql);
}

sqlite3_stmt *bench_sqlite_prepare(struct bench_sqlite *s, const char *sql)
{
    sqlite3_stmt *st = NULL;

    bench_sqlite_check(s, sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL),
                       sql);
    return st;
}

void bench_sqlite_step(struct bench_sqlite *s, sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);

    bench_sqlite_check(s, rc, sqlite3_sql(st));
    (void)sqlite3_reset(st);
}

void bench_sqlite_open(struct bench_sqlite *s, const char *path)
{
    memset(s, 0, sizeof *s);
    bench_sqlite_check(s, sqlite3_open(path, &s->db), path);
    bench_sqlite_run(s, "PRAGMA busy_timeout=10000; PRAGMA journal_mode=WAL;"
                        "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                        "PRAGMA cache_size=-16384; PRAGMA temp_store=MEMORY");
    s->begin = bench_sqlite_prepare(s, "BEGIN IMMEDIATE");
    s->commit = bench_sqlite_prepare(s, "COMMIT");
}

void bench_sqlite_close(struct bench_sqlite *s)
{
    if (s->db == NULL)
        return;
    (void)sqlite3_finalize(s->begin);
    (void)sqlite3_finalize(s->commit);
    for (int e = 0; e < 16; e++) {
        (void)sqlite3_finalize(s->insert[e]);
        (void)sqlite3_finalize(s->update[e]);
    }
    (void)sqlite3_close(s->db);
    s->db = NULL;
}

static int fields_of(rqc_entity e)
{
    int n = 0;

    while (rqc_field_name(e, n) != NULL)
        n++;
    return n;
}

// Field i is parameter i + 1.
static sqlite3_stmt *prepare_put(struct bench_sqlite *s, rqc_entity e, bool update)
{
    char fields[SQL_BYTES] = "", values[SQL_BYTES] = "", sql[2 * SQL_BYTES + 128];
    int n = fields_of(e);
    size_t at = 0;

    for (int i = update ? 1 : 0; i < n; i++) {
        const char *comma = i + 1 < n ? "," : "", *name = rqc_field_name(e, i);
        int more = update
                       ? snprintf(fields + at, sizeof fields - at, "%s=?%d%s", name, i + 1, comma)
                       : snprintf(fields + at, sizeof fields - at, "%s%s", name, comma);
        at += (size_t)more;
        strcat(values, i == 0 ? "?" : ",?");
    }
    if (update)
        snprintf(sql, sizeof sql, "UPDATE %s SET %s WHERE id=?1", rqc_entity_name(e), fields);
    else
        snprintf(sql, sizeof sql, "INSERT INTO %s (%s) VALUES (%s)", rqc_entity_name(e), fields,
                 values);
    return bench_sqlite_prepare(s, sql);
}

static void bind(sqlite3_stmt *st, int i, const rqc_value *v)
{
    switch (v->type) {
    case RQC_INT:
    case RQC_BOOL: (void)sqlite3_bind_int64(st, i, v->u.i); break;
    case RQC_REAL: (void)sqlite3_bind_double(st, i, v->u.d); break;
    case RQC_TEXT: (void)sqlite3_bind_text(st, i, v->p, (int)v->n, SQLITE_STATIC); break;
    case RQC_BYTES:
    case RQC_ID: (void)sqlite3_bind_blob(st, i, v->p, (int)v->n, SQLITE_STATIC); break;
    default: (void)sqlite3_bind_null(st, i); break;
    }
}

void bench_sqlite_put(struct bench_sqlite *s, const struct bench_row *row, bool update)
{
    sqlite3_stmt **st = update ? &s->update[row->entity] : &s->insert[row->entity];

    if (*st == NULL)
        *st = prepare_put(s, row->entity, update);
    int n = sqlite3_bind_parameter_count(*st);
    for (int i = 0; i < n; i++)
        bind(*st, i + 1, &row->value[i]);
    bench_sqlite_step(s, *st);
}

struct loading {
    struct bench_sqlite s;
    uint32_t rows, batch;
};

static void load_row(void *ctx, const struct bench_row *row)
{
    struct loading *l = ctx;

    bench_sqlite_put(&l->s, row, false);
    if (++l->rows % l->batch == 0) {
        bench_sqlite_step(&l->s, l->s.commit);
        bench_sqlite_step(&l->s, l->s.begin);
    }
}

double bench_load_sqlite(const struct bench_data *d, const char *path)
{
    struct loading l = {.batch = LOAD_ROWS};
    double start = floor_now();

    bench_sqlite_open(&l.s, path);
    // The load is not what is measured.
    bench_sqlite_run(&l.s, "PRAGMA synchronous=OFF; PRAGMA cache_size=-1048576;"
                           "PRAGMA foreign_keys=OFF");
    bench_sqlite_run(&l.s, rqci_schema_sql);
    bench_sqlite_step(&l.s, l.s.begin);
    bench_each_row(d, load_row, &l);
    bench_sqlite_step(&l.s, l.s.commit);
    bench_sqlite_run(&l.s, "PRAGMA wal_checkpoint(TRUNCATE)");
    bench_sqlite_close(&l.s);
    return floor_now() - start;
}

double bench_load_durable(const struct bench_data *d, const char *path, uint32_t rows)
{
    struct loading l = {.batch = rows};

    bench_sqlite_open(&l.s, path);
    bench_sqlite_run(&l.s, rqci_schema_sql);
    double start = floor_now();
    bench_sqlite_step(&l.s, l.s.begin);
    bench_each_row(d, load_row, &l);
    bench_sqlite_step(&l.s, l.s.commit);
    double seconds = floor_now() - start;
    bench_sqlite_close(&l.s);
    return seconds;
}

// ---- reqcast ------------------------------------------------------------------------------------

void bench_check(rqc_err rc, const char *what, const char *detail)
{
    if (rc != RQC_OK)
        floor_die(what, detail != NULL && *detail != '\0' ? detail : rqc_err_text(rc));
}

rqc_db *bench_open(const char *path, const char *view_dir, bool create)
{
    rqc_options o = RQC_OPTIONS_INIT;
    rqc_error err = {RQC_OK, ""};
    rqc_db *db = NULL;

    o.view_dir = view_dir;
    o.create = create;
    bench_check(rqc_open(path, &o, &db, &err), path, err.text);
    return db;
}

struct adding {
    rqc_txn *txn;
    uint32_t rows;
};

static void add_row(void *ctx, const struct bench_row *row)
{
    struct adding *a = ctx;

    bench_check(rqc_add(a->txn, row->entity, row->id, row->value), "rqc_add",
                rqc_txn_error(a->txn));
    if (++a->rows % ADD_ROWS == 0)
        bench_check(rqc_commit(a->txn, NULL), "rqc_commit", rqc_txn_error(a->txn));
}

double bench_load_add(const struct bench_data *d, rqc_db *db)
{
    struct adding a = {.rows = 0};
    rqc_error err = {RQC_OK, ""};
    double start = floor_now();

    bench_check(rqc_txn_new(db, &a.txn, &err), "rqc_txn_new", err.text);
    bench_each_row(d, add_row, &a);
    bench_check(rqc_commit(a.txn, NULL), "rqc_commit", rqc_txn_error(a.txn));
    rqc_txn_free(a.txn);
    return floor_now() - start;
}

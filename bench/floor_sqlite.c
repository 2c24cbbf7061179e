// SPDX-License-Identifier: Apache-2.0
//
// The same questions to SQLite: prepared statements, a warm cache, each column of each row read.
#include "bench/floor.h"
#include "bench/sqlite_column.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

struct floor_sqlite {
    sqlite3 *db;
    sqlite3_stmt *page, *headers, *both[2], *get;
};

static const char schema[] =
    "CREATE TABLE http (id BLOB PRIMARY KEY, workspace_id BLOB NOT NULL, folder_id BLOB,"
    " name TEXT NOT NULL, url TEXT NOT NULL, method TEXT NOT NULL, body_kind INT8 NOT NULL,"
    " description TEXT NOT NULL, content_hash TEXT, parent_http_id BLOB,"
    " is_delta BOOLEAN NOT NULL, is_snapshot BOOLEAN NOT NULL, delta_name TEXT, delta_url TEXT,"
    " delta_method TEXT, delta_body_kind INT8, delta_description TEXT, last_run_at BIGINT,"
    " created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL);"
    "CREATE TABLE http_header (id BLOB PRIMARY KEY, http_id BLOB NOT NULL,"
    " header_key TEXT NOT NULL, header_value TEXT NOT NULL, description TEXT NOT NULL,"
    " enabled BOOLEAN NOT NULL, parent_header_id BLOB, is_delta BOOLEAN NOT NULL,"
    " delta_header_key TEXT, delta_header_value TEXT, delta_description TEXT,"
    " delta_enabled BOOLEAN, delta_display_order REAL, display_order REAL NOT NULL,"
    " created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL);"
    "CREATE TABLE http_search_param (id BLOB PRIMARY KEY, http_id BLOB NOT NULL,"
    " key TEXT NOT NULL, value TEXT NOT NULL, description TEXT NOT NULL,"
    " enabled BOOLEAN NOT NULL, parent_http_search_param_id BLOB, is_delta BOOLEAN NOT NULL,"
    " delta_key TEXT, delta_value TEXT, delta_description TEXT,"
    " delta_enabled BOOLEAN, delta_display_order REAL, display_order REAL NOT NULL,"
    " created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL);";

static const char indexes[] =
    "CREATE INDEX http_workspace_streaming_idx ON http(workspace_id, updated_at DESC);"
    "CREATE INDEX http_active_streaming_idx ON http(workspace_id, updated_at DESC)"
    " WHERE is_delta = FALSE;"
    "CREATE INDEX http_header_http_idx ON http_header(http_id);"
    "CREATE INDEX http_search_param_http_idx ON http_search_param(http_id);";

static void check(struct floor_sqlite *s, int rc, const char *what)
{
    if (rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE)
        floor_die(what, s->db != NULL ? sqlite3_errmsg(s->db) : "sqlite3_open failed");
}

static void run_sql(struct floor_sqlite *s, const char *sql)
{
    check(s, sqlite3_exec(s->db, sql, NULL, NULL, NULL), sql);
}

static sqlite3_stmt *prepare(struct floor_sqlite *s, const char *sql)
{
    sqlite3_stmt *st = NULL;

    check(s, sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL), sql);
    return st;
}

static void bind_blob(sqlite3_stmt *st, int i, const void *p)
{
    (void)sqlite3_bind_blob(st, i, p, FLOOR_ID, SQLITE_STATIC);
}

static void bind_text(sqlite3_stmt *st, int i, const uint8_t *p, size_t n)
{
    (void)sqlite3_bind_text(st, i, (const char *)p, (int)n, SQLITE_STATIC);
}

static void workspace_id(uint32_t ws, uint8_t *id)
{
    memset(id, 0xab, FLOOR_ID);
    floor_put_be32(id, ws);
}

static void insert_http(struct floor_sqlite *s, const struct floor_data *d, sqlite3_stmt *st,
                        uint32_t rec)
{
    uint8_t buf[FLOOR_RECORD_MAX], ws[FLOOR_ID];
    uint32_t req = rec / d->per_request, n = floor_record(d, rec, 0, buf);
    size_t at = floor_text_offset(FLOOR_HTTP), text = n - at;

    workspace_id(floor_ws(d, req), ws);
    bind_blob(st, 1, d->ids[rec]);
    bind_blob(st, 2, ws);
    bind_text(st, 3, buf + at, text / 4);
    bind_text(st, 4, buf + at + text / 4, text - text / 4);
    (void)sqlite3_bind_int64(st, 5, floor_updated_at(req));
    check(s, sqlite3_step(st), "insert http");
    check(s, sqlite3_reset(st), "insert http");
}

static void insert_child(struct floor_sqlite *s, const struct floor_data *d, sqlite3_stmt *st,
                         uint32_t rec)
{
    uint8_t buf[FLOOR_RECORD_MAX];
    uint32_t req = rec / d->per_request, n = floor_record(d, rec, 0, buf);
    size_t at = floor_text_offset(FLOOR_HEADER), text = n - at;

    bind_blob(st, 1, d->ids[rec]);
    bind_blob(st, 2, d->ids[req * d->per_request]);
    bind_text(st, 3, buf + at, text / 3);
    bind_text(st, 4, buf + at + text / 3, text - text / 3);
    (void)sqlite3_bind_double(st, 5, rec % d->per_request);
    (void)sqlite3_bind_int64(st, 6, floor_updated_at(req));
    check(s, sqlite3_step(st), "insert child");
    check(s, sqlite3_reset(st), "insert child");
}

static void fill(struct floor_sqlite *s, const struct floor_data *d)
{
    sqlite3_stmt *http = prepare(s, "INSERT INTO http VALUES(?1,?2,NULL,?3,?4,'GET',2,'',NULL,NULL,"
                                    "0,0,NULL,NULL,NULL,NULL,NULL,NULL,?5,?5)");
    sqlite3_stmt *child[2] = {
        prepare(s, "INSERT INTO http_header VALUES(?1,?2,?3,?4,'',1,NULL,0,NULL,NULL,NULL,NULL,"
                   "NULL,?5,?6,?6)"),
        prepare(s, "INSERT INTO http_search_param VALUES(?1,?2,?3,?4,'',1,NULL,0,NULL,NULL,NULL,"
                   "NULL,NULL,?5,?6,?6)"),
    };

    run_sql(s, "BEGIN");
    for (uint32_t rec = 0; rec < d->records; rec++) {
        enum floor_entity e = floor_entity_of(d, rec);
        if (e == FLOOR_HTTP)
            insert_http(s, d, http, rec);
        else
            insert_child(s, d, child[e - FLOOR_HEADER], rec);
    }
    run_sql(s, "COMMIT");
    (void)sqlite3_finalize(http);
    (void)sqlite3_finalize(child[0]);
    (void)sqlite3_finalize(child[1]);
}

static uint64_t file_bytes(struct floor_sqlite *s)
{
    sqlite3_stmt *st = prepare(s, "SELECT page_count * page_size FROM pragma_page_count,"
                                  " pragma_page_size");

    check(s, sqlite3_step(st), "page_count");
    uint64_t bytes = (uint64_t)sqlite3_column_int64(st, 0);
    (void)sqlite3_finalize(st);
    return bytes;
}

static void prepare_reads(struct floor_sqlite *s)
{
    char sql[512] = "SELECT * FROM http_header WHERE http_id IN (?";
    size_t n = strlen(sql);

    for (int i = 1; i < FLOOR_BATCH; i++) {
        memcpy(sql + n, ",?", 3);
        n += 2;
    }
    memcpy(sql + n, ")", 2);
    s->headers = prepare(s, sql);
    s->page = prepare(s, "SELECT * FROM http WHERE workspace_id=? AND is_delta=0 AND"
                         " is_snapshot=0 AND updated_at<=? ORDER BY updated_at DESC, id LIMIT 50");
    s->both[0] = prepare(s, "SELECT * FROM http_header WHERE http_id=?");
    s->both[1] = prepare(s, "SELECT * FROM http_search_param WHERE http_id=?");
    s->get = prepare(s, "SELECT * FROM http WHERE id=?");
}

struct floor_sqlite *floor_sqlite_make(const struct floor_data *d, const char *root,
                                       double *ret_seconds, uint64_t *ret_bytes)
{
    struct floor_sqlite *s = floor_alloc(1, sizeof *s);
    char path[256];

    snprintf(path, sizeof path, "%s/floor.sqlite", root);
    check(s, sqlite3_open(path, &s->db), "sqlite3_open");
    // The load is not what is measured: no journal, indexes afterwards.
    run_sql(s, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-524288");
    run_sql(s, schema);
    double start = floor_now();
    fill(s, d);
    run_sql(s, indexes);
    *ret_seconds = floor_now() - start;
    run_sql(s, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL");
    *ret_bytes = file_bytes(s);
    prepare_reads(s);
    return s;
}

void floor_sqlite_close(struct floor_sqlite *s)
{
    if (s == NULL)
        return;
    sqlite3_stmt *all[] = {s->page, s->headers, s->both[0], s->both[1], s->get};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        (void)sqlite3_finalize(all[i]);
    (void)sqlite3_close(s->db);
    free(s);
}

static void read_rows(struct floor_sqlite *s, sqlite3_stmt *st, struct floor_tally *t)
{
    int rc, columns = sqlite3_column_count(st);

    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        uint64_t word;
        const uint8_t *id = sqlite3_column_blob(st, 0);
        memcpy(&word, id + 8, sizeof word);
        t->ids += word;
        t->times += (uint64_t)sqlite3_column_int64(st, columns - 1);
        for (int i = 0; i < columns; i++)
            t->rest += floor_read_column(st, i);
        t->count++;
    }
    check(s, rc, "sqlite3_step");
    (void)sqlite3_reset(st);
}

void floor_sqlite_page(const struct floor_case *c, const struct floor_target *t,
                       struct floor_tally *tally)
{
    struct floor_sqlite *s = c->self;
    uint8_t ws[FLOOR_ID];

    workspace_id(t->ws, ws);
    bind_blob(s->page, 1, ws);
    (void)sqlite3_bind_int64(s->page, 2, t->until);
    read_rows(s, s->page, tally);
}

void floor_sqlite_headers(const struct floor_case *c, const struct floor_target *t,
                          struct floor_tally *tally)
{
    struct floor_sqlite *s = c->self;

    for (uint32_t i = 0; i < FLOOR_BATCH; i++) {
        if (i < t->n)
            bind_blob(s->headers, (int)i + 1, t->id[i]);
        else
            (void)sqlite3_bind_null(s->headers, (int)i + 1);
    }
    read_rows(s, s->headers, tally);
}

void floor_sqlite_both(const struct floor_case *c, const struct floor_target *t,
                       struct floor_tally *tally)
{
    struct floor_sqlite *s = c->self;

    for (int i = 0; i < 2; i++) {
        bind_blob(s->both[i], 1, t->id[0]);
        read_rows(s, s->both[i], tally);
    }
}

void floor_sqlite_get(const struct floor_case *c, const struct floor_target *t,
                      struct floor_tally *tally)
{
    struct floor_sqlite *s = c->self;

    bind_blob(s->get, 1, t->id[0]);
    read_rows(s, s->get, tally);
}

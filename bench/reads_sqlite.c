// SPDX-License-Identifier: Apache-2.0
//
// The same questions to SQLite, on the same database file: prepared statements, a cache that holds
// everything, each column of each row read, rows in any order where reqcast sorts.
#include "bench/reads.h"
#include "bench/sqlite_column.h"

#include <stdlib.h>
#include <string.h>

enum { TABLES = 6, LOG_ENTITY = 1, LOG_ID = 2 };

static const rqc_entity kinds[TABLES] = {RQC_HTTP_HEADER,    RQC_HTTP_SEARCH_PARAM,
                                         RQC_HTTP_BODY_FORM, RQC_HTTP_BODY_URLENCODED,
                                         RQC_HTTP_ASSERT,    RQC_HTTP_BODY_RAW};

struct reads_sqlite {
    struct bench_sqlite s;
    sqlite3_stmt *get, *page, *count, *headers, *chain, *log, *updates, *deltas, *metrics;
    sqlite3_stmt *of[TABLES]; // children of one request
    sqlite3_stmt *by_id[RQC_HTTP_RESPONSE_ASSERT + 1];
    uint32_t limit;
    bool whole_log; // of one workspace
};

static sqlite3_stmt *from_table(struct reads_sqlite *q, rqc_entity e, const char *where)
{
    char sql[256];

    snprintf(sql, sizeof sql, "SELECT * FROM %s WHERE %s", rqc_entity_name(e), where);
    return bench_sqlite_prepare(&q->s, sql);
}

// The log does not say workspaces, and has no rows for what was there before it. A database that
// reqcast never saw has none.
static bool log_is_whole(struct reads_sqlite *q, const struct bench_data *d)
{
    if (sqlite3_table_column_metadata(q->s.db, NULL, "change_log", "seq", NULL, NULL, NULL, NULL,
                                      NULL) != SQLITE_OK)
        return false;
    sqlite3_stmt *st = bench_sqlite_prepare(&q->s, "SELECT count(*) FROM change_log");

    bench_sqlite_check(&q->s, sqlite3_step(st), "change_log");
    bool whole = sqlite3_column_int64(st, 0) >= d->rows && d->floor.workspaces == 1;
    (void)sqlite3_finalize(st);
    return whole;
}

// The whole database, into one that is in memory.
static void copy_to_memory(struct bench_sqlite *s, const char *path)
{
    sqlite3 *from = NULL;

    bench_sqlite_check(s, sqlite3_open_v2(path, &from, SQLITE_OPEN_READONLY, NULL), path);
    sqlite3_backup *b = sqlite3_backup_init(s->db, "main", from, "main");
    if (b == NULL || sqlite3_backup_step(b, -1) != SQLITE_DONE)
        floor_die("backup", sqlite3_errmsg(s->db));
    (void)sqlite3_backup_finish(b);
    (void)sqlite3_close(from);
}

static void prepare_windows(struct reads_sqlite *q)
{
    q->updates = from_table(q, RQC_HTTP,
                            "workspace_id=? AND updated_at>? AND updated_at<=? AND"
                            " is_snapshot=FALSE ORDER BY updated_at");
    q->deltas = from_table(q, RQC_HTTP,
                           "parent_http_id=? AND is_delta=TRUE AND updated_at>? AND"
                           " updated_at<=? ORDER BY updated_at");
    q->metrics =
        bench_sqlite_prepare(&q->s,
                             "SELECT count(*), sum(is_delta), max(updated_at), min(updated_at),"
                             " sum(updated_at>?2) FROM http WHERE workspace_id=?1");
}

struct reads_sqlite *reads_sqlite_open(const struct bench_data *d, const char *path, bool memory)
{
    struct reads_sqlite *q = floor_alloc(1, sizeof *q);
    char in[3 * READ_IDS + 64] = "http_id IN (?";

    q->limit = READ_PAGE;
    bench_sqlite_open(&q->s, memory ? ":memory:" : path);
    if (memory)
        copy_to_memory(&q->s, path);
    prepare_windows(q);
    bench_sqlite_run(&q->s, "PRAGMA query_only=ON; PRAGMA cache_size=-4194304");
    for (int i = 1; i < READ_IDS; i++)
        strcat(in, ",?");
    strcat(in, ")");
    q->headers = from_table(q, RQC_HTTP_HEADER, in);
    q->get = from_table(q, RQC_HTTP, "id=?");
    q->page = from_table(q, RQC_HTTP,
                         "workspace_id=? AND is_delta=FALSE AND is_snapshot=FALSE AND"
                         " updated_at<=? ORDER BY updated_at DESC, id LIMIT ?");
    q->count = bench_sqlite_prepare(&q->s, "SELECT count(*) FROM http WHERE workspace_id=? AND"
                                           " is_delta=FALSE AND is_snapshot=FALSE");
    q->chain = bench_sqlite_prepare(
        &q->s, "WITH RECURSIVE c(at) AS (VALUES(?) UNION ALL SELECT h.id FROM c JOIN http h ON"
               " h.parent_http_id=c.at AND h.is_delta=TRUE) SELECT http.* FROM c CROSS JOIN http"
               " ON http.id=c.at");
    q->whole_log = log_is_whole(q, d);
    if (q->whole_log)
        q->log = bench_sqlite_prepare(&q->s, "SELECT seq, entity, id FROM change_log WHERE seq>?"
                                             " ORDER BY seq LIMIT 1000");
    for (int k = 0; k < TABLES; k++)
        q->of[k] = from_table(q, kinds[k], "http_id=?");
    for (int e = RQC_WORKSPACES; e <= RQC_HTTP_RESPONSE_ASSERT; e++)
        q->by_id[e] = from_table(q, (rqc_entity)e, "id=?");
    return q;
}

void reads_sqlite_limit(struct reads_sqlite *q, uint32_t n)
{
    q->limit = n;
}

void reads_sqlite_close(struct reads_sqlite *q)
{
    if (q == NULL)
        return;
    sqlite3_stmt *all[] = {q->get, q->page,    q->count,  q->headers, q->chain,
                           q->log, q->updates, q->deltas, q->metrics};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        (void)sqlite3_finalize(all[i]);
    for (int k = 0; k < TABLES; k++)
        (void)sqlite3_finalize(q->of[k]);
    for (int e = 0; e <= RQC_HTTP_RESPONSE_ASSERT; e++)
        (void)sqlite3_finalize(q->by_id[e]);
    bench_sqlite_close(&q->s);
    free(q);
}

// `time` is the column of the row's time.
static void read_rows(struct reads_sqlite *q, sqlite3_stmt *st, int time, read_tally *t)
{
    int rc, columns = sqlite3_column_count(st);

    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        uint64_t word;
        const uint8_t *id = sqlite3_column_blob(st, 0);
        memcpy(&word, id + 8, sizeof word);
        t->ids += word;
        t->times += (uint64_t)sqlite3_column_int64(st, time);
        for (int i = 0; i < columns; i++)
            t->rest += floor_read_column(st, i);
        t->count++;
    }
    bench_sqlite_check(&q->s, rc, "sqlite3_step");
    (void)sqlite3_reset(st);
}

static int last(sqlite3_stmt *st)
{
    return sqlite3_column_count(st) - 1;
}

static void bind_id(sqlite3_stmt *st, int i, const uint8_t *id)
{
    (void)sqlite3_bind_blob(st, i, id, 16, SQLITE_STATIC);
}

static void read_by_id(struct reads_sqlite *q, sqlite3_stmt *st, const uint8_t *id, read_tally *t)
{
    bind_id(st, 1, id);
    read_rows(q, st, last(st), t);
}

static void read_changes(struct reads_sqlite *q, const struct read_target *t, read_tally *tally)
{
    int rc;

    (void)sqlite3_bind_int64(q->log, 1, (sqlite3_int64)t->cursor.seq);
    while ((rc = sqlite3_step(q->log)) == SQLITE_ROW) {
        int e = sqlite3_column_int(q->log, LOG_ENTITY);
        sqlite3_stmt *st = q->by_id[e];
        (void)sqlite3_bind_value(st, 1, sqlite3_column_value(q->log, LOG_ID));
        read_rows(q, st, e == RQC_WORKSPACES ? RQC_WORKSPACES_UPDATED : last(st), tally);
    }
    bench_sqlite_check(&q->s, rc, "sqlite3_step");
    (void)sqlite3_reset(q->log);
}

static void read_children(struct reads_sqlite *q, const struct read_target *t, read_tally *tally)
{
    for (uint32_t i = 0; i < READ_IDS; i++) {
        if (i < t->n)
            bind_id(q->headers, (int)i + 1, t->id[i]);
        else
            (void)sqlite3_bind_null(q->headers, (int)i + 1);
    }
    read_rows(q, q->headers, last(q->headers), tally);
}

static void read_window(struct reads_sqlite *q, sqlite3_stmt *st, const uint8_t *id,
                        const struct read_target *t, read_tally *tally)
{
    (void)sqlite3_bind_int64(st, 2, t->since);
    (void)sqlite3_bind_int64(st, 3, t->until);
    read_by_id(q, st, id, tally);
}

static void read_metrics(struct reads_sqlite *q, const struct read_target *t, read_tally *tally)
{
    bind_id(q->metrics, 1, t->ws_id);
    (void)sqlite3_bind_int64(q->metrics, 2, t->since);
    bench_sqlite_check(&q->s, sqlite3_step(q->metrics), "metrics");
    tally->count += (uint64_t)sqlite3_column_int64(q->metrics, 0);
    tally->rest += (uint64_t)sqlite3_column_int64(q->metrics, 1);
    tally->times +=
        (uint64_t)(sqlite3_column_int64(q->metrics, 2) + sqlite3_column_int64(q->metrics, 3));
    tally->ids += (uint64_t)sqlite3_column_int64(q->metrics, 4);
    (void)sqlite3_reset(q->metrics);
}

bool reads_sqlite_can(void *sqlite, enum read_op op)
{
    if (sqlite == NULL)
        return false;
    return op == OP_CHANGES ? ((struct reads_sqlite *)sqlite)->whole_log : op != OP_BEGIN;
}

void reads_sqlite_run(void *sqlite, enum read_op op, const struct read_target *t, read_tally *tally)
{
    struct reads_sqlite *q = sqlite;

    switch (op) {
    case OP_GET: read_by_id(q, q->get, t->id[0], tally); break;
    case OP_PAGE_FIRST:
    case OP_PAGE_MIDDLE:
        (void)sqlite3_bind_int64(q->page, 2, t->until);
        (void)sqlite3_bind_int64(q->page, 3, q->limit);
        read_by_id(q, q->page, t->ws_id, tally);
        break;
    case OP_COUNT:
        bind_id(q->count, 1, t->ws_id);
        bench_sqlite_check(&q->s, sqlite3_step(q->count), "count");
        tally->count += (uint64_t)sqlite3_column_int64(q->count, 0);
        (void)sqlite3_reset(q->count);
        break;
    case OP_HEADERS_NEWEST:
    case OP_HEADERS_RANDOM: read_children(q, t, tally); break;
    case OP_CHILDREN:
        read_by_id(q, q->of[0], t->id[0], tally);
        read_by_id(q, q->of[1], t->id[0], tally);
        break;
    case OP_CHANGES: read_changes(q, t, tally); break;
    case OP_RESOLVE:
        bench_sqlite_run(&q->s, "BEGIN"); // one position for all of it
        for (int i = 0; i < 2; i++) {
            read_by_id(q, q->get, t->id[i], tally);
            for (int k = 0; k < TABLES; k++)
                read_by_id(q, q->of[k], t->id[i], tally);
        }
        bench_sqlite_run(&q->s, "COMMIT");
        break;
    case OP_CHAIN: read_by_id(q, q->chain, t->id[0], tally); break;
    case OP_UPDATES: read_window(q, q->updates, t->ws_id, t, tally); break;
    case OP_DELTAS: read_window(q, q->deltas, t->id[0], t, tally); break;
    case OP_METRICS: read_metrics(q, t, tally); break;
    case OP_BEGIN:
    case OP_COUNT_OF_OPS: break;
    }
}

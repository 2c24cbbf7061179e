// SPDX-License-Identifier: Apache-2.0
// Rows for tests of full file systems. Requests are numbered and written in order, each once: a
// session must see the first so many, whole, and nothing of the rest. The database needs more room
// than the view: some bodies are large values, which are not in it.
#ifndef RQC_TESTS_FULL_ROWS_H
#define RQC_TESTS_FULL_ROWS_H

#include "tests/fault_check.h"
#include "tests/fault_mount.h"

#define ROWS_TEXT     700u
#define ROWS_LARGE    40000u
#define ROWS_LARGE_AT 16u // each so-many-th request has a large body

static const uint8_t rows_workspace[16] = {9};

static inline void rows_id(uint8_t id[16], uint8_t kind, uint64_t n)
{
    memset(id, 0, 16);
    id[0] = kind;
    for (int i = 0; i < 8; i++)
        id[8 + i] = (uint8_t)(n >> (56 - 8 * i));
}

static inline rqc_err rows_put(rqc_txn *t, uint64_t n)
{
    rqc_value http[RQC_FIELD_MAX] = {{.type = RQC_ABSENT}},
              header[RQC_FIELD_MAX] = {{.type = RQC_ABSENT}},
              raw[RQC_FIELD_MAX] = {{.type = RQC_ABSENT}},
              home[RQC_FIELD_MAX] = {{.type = RQC_ABSENT}};
    uint8_t id[16], child[16];
    char name[32];
    snprintf(name, sizeof name, "%" PRIu64, n);
    rows_id(id, 1, n);
    http[RQC_HTTP_WORKSPACE_ID] = rqc_id(rows_workspace);
    http[RQC_HTTP_NAME] = rqc_text(name);
    http[RQC_HTTP_URL] = rqc_textn(work_text(n), ROWS_TEXT);
    http[RQC_HTTP_METHOD] = rqc_text("GET");
    http[RQC_HTTP_UPDATED_AT] = rqc_int((int64_t)n);
    home[RQC_WORKSPACES_NAME] = rqc_text("rows");
    rqc_err rc = rqc_add(t, RQC_WORKSPACES, rows_workspace, home);
    if (rc == RQC_OK)
        rc = rqc_put(t, RQC_HTTP, id, http);
    rows_id(child, 2, n);
    header[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(id);
    header[RQC_HTTP_HEADER_HEADER_KEY] = rqc_text("n");
    header[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_text(name);
    if (rc == RQC_OK)
        rc = rqc_put(t, RQC_HTTP_HEADER, child, header);
    if (rc != RQC_OK || n % ROWS_LARGE_AT != 0)
        return rc;
    rows_id(child, 3, n);
    raw[RQC_HTTP_BODY_RAW_HTTP_ID] = rqc_id(id);
    raw[RQC_HTTP_BODY_RAW_RAW_DATA] = rqc_bytes(work_text(n), ROWS_LARGE);
    return rqc_put(t, RQC_HTTP_BODY_RAW, child, raw);
}

static inline bool rows_text(const rqc_record *rec, int field, const char *want, size_t n)
{
    const rqc_value v = rqc_field(rec, field);
    return v.type == RQC_TEXT && v.n == n && memcmp(v.p, want, n) == 0;
}

static inline bool rows_large(rqc_read *r, uint64_t n, check_text *why)
{
    uint8_t id[16];
    const rqc_record *rec = NULL;
    void *bytes = NULL;
    size_t size = 0;
    rows_id(id, 3, n);
    rqc_err rc = rqc_get(r, RQC_HTTP_BODY_RAW, id, &rec);
    if (rc == RQC_OK)
        rc = rqc_large(r, rec, RQC_HTTP_BODY_RAW_RAW_DATA, &bytes, &size);
    if (rc != RQC_OK)
        return check_no(why, "large value %" PRIu64 ": %s: %.100s", n, rqc_err_text(rc),
                        rqc_read_error(r));
    const bool same = size == ROWS_LARGE && memcmp(bytes, work_text(n), size) == 0;
    free(bytes);
    return same || check_no(why, "large value %" PRIu64 " is another", n);
}

// The session sees *ret_count requests: the first ones. Large values are read from the database.
static inline bool rows_check(rqc_read *r, bool large, uint64_t *ret_count, check_text *why)
{
    uint64_t count;
    uint8_t id[16];
    const rqc_record *rec = NULL;
    rqc_err rc = rqc_count(r, rows_workspace, RQC_ANY_TIME, &count);
    if (rc != RQC_OK)
        return check_no(why, "count: %s", rqc_err_text(rc));
    for (uint64_t n = 1; n <= count; n++) {
        char name[32];
        const size_t len = (size_t)snprintf(name, sizeof name, "%" PRIu64, n);
        rows_id(id, 1, n);
        if (rqc_get(r, RQC_HTTP, id, &rec) != RQC_OK || !rows_text(rec, RQC_HTTP_NAME, name, len) ||
            !rows_text(rec, RQC_HTTP_URL, work_text(n), ROWS_TEXT))
            return check_no(why, "request %" PRIu64 " of %" PRIu64 " is wrong", n, count);
        rows_id(id, 2, n);
        if (rqc_get(r, RQC_HTTP_HEADER, id, &rec) != RQC_OK ||
            !rows_text(rec, RQC_HTTP_HEADER_HEADER_VALUE, name, len))
            return check_no(why, "header %" PRIu64 " of %" PRIu64 " is wrong", n, count);
        if (large && n % ROWS_LARGE_AT == 0 && !rows_large(r, n, why))
            return false;
    }
    for (uint8_t kind = 1; kind <= 2; kind++) {
        rows_id(id, kind, count + 1);
        rc = rqc_get(r, kind == 1 ? RQC_HTTP : RQC_HTTP_HEADER, id, &rec);
        if (rc != RQC_NOT_FOUND)
            return check_no(why, "part %d of request %" PRIu64 " of %" PRIu64 ": %s", kind,
                            count + 1, count, rqc_err_text(rc));
    }
    *ret_count = count;
    return true;
}

// How many requests a new session sees; ends the test when they are wrong.
static inline uint64_t rows_seen(rqc_db *db, bool large)
{
    rqc_read *r = NULL;
    rqc_error err = {.text = ""};
    check_text why = {""};
    uint64_t count = 0;
    if (rqc_read_new(db, &r, &err) != RQC_OK)
        die("session: %s", err.text);
    if (rqc_read_begin(r) != RQC_OK)
        die("begin: %s", rqc_read_error(r));
    if (!rows_check(r, large, &count, &why))
        die("%s", why.text);
    rqc_read_free(r);
    return count;
}

// A database under test, and what was acknowledged.
typedef struct rows {
    char path[FAULT_PATH];
    rqc_options options;
    rqc_db *db;
    rqc_txn *txn;
    uint64_t count;
    rqc_position position;
} rows;

// A database of this name on this disk, its view in that folder.
static inline void rows_new(rows *w, const char *disk, const char *name, const char *view)
{
    memset(w, 0, sizeof *w);
    w->options = (rqc_options)RQC_OPTIONS_INIT;
    w->options.create = 1;
    w->options.view_dir = view;
    w->options.log = fault_log;
    fault_path(w->path, "%s/%s.db", disk, name);
}

static inline rqc_err rows_try_open(rows *w, rqc_error *err)
{
    const rqc_err rc = rqc_open(w->path, &w->options, &w->db, err);
    if (rc == RQC_OK && rqc_txn_new(w->db, &w->txn, err) != RQC_OK)
        die("transaction: %s", err->text);
    return rc;
}

static inline void rows_open(rows *w)
{
    rqc_error err = {.text = ""};
    if (rows_try_open(w, &err) != RQC_OK)
        die("open %s: %s", w->path, err.text);
}

static inline void rows_close(rows *w)
{
    rqc_txn_free(w->txn);
    rqc_close(w->db);
    w->db = NULL;
    w->txn = NULL;
}

// The next so many requests in one transaction. After a failure the transaction is empty.
static inline rqc_err rows_commit(rows *w, uint64_t more, rqc_result *ret_result)
{
    rqc_result res = {.visible = 0};
    for (uint64_t i = 1; i <= more; i++)
        if (rows_put(w->txn, w->count + i) != RQC_OK)
            die("put: %s", rqc_txn_error(w->txn));
    const rqc_err rc = rqc_commit(w->txn, &res);
    if (rc != RQC_OK)
        return rc;
    if (w->position.term != 0 && (res.position.term != w->position.term ||
                                  memcmp(res.position.store_id, w->position.store_id, 16) != 0))
        die("another history: term %u after %u", res.position.term, w->position.term);
    w->count += more;
    w->position = res.position;
    *ret_result = res;
    return RQC_OK;
}

static inline void rows_renew(rows *w) // gives up what the transaction kept
{
    rqc_txn_free(w->txn);
    if (rqc_txn_new(w->db, &w->txn, NULL) != RQC_OK)
        die("no transaction");
}

// So many transactions of one request; all must be acknowledged and visible.
static inline void rows_write(rows *w, uint64_t transactions)
{
    rqc_result res = {.visible = 0};
    for (uint64_t i = 0; i < transactions; i++) {
        const rqc_err rc = rows_commit(w, 1, &res);
        if (rc != RQC_OK || !res.visible)
            die("commit %" PRIu64 ": %s, visible %d: %s", w->count, rqc_err_text(rc), res.visible,
                rqc_txn_error(w->txn));
    }
}

static inline rqc_stats rows_stats(rows *w)
{
    rqc_stats s = {.size = sizeof s};
    rqc_error err = {.text = ""};
    if (rqc_stats_read(w->db, &s, &err) != RQC_OK)
        die("stats: %s", err.text);
    return s;
}

// Everything that was acknowledged is there and visible; nothing else is. Also in plain SQL.
static inline bool rows_whole(rows *w, check_text *why)
{
    const rqc_stats s = rows_stats(w);
    const uint64_t seen = rows_seen(w->db, true);
    if (seen != w->count || s.view_lagging || s.position.seq != s.head)
        return check_no(why,
                        "%" PRIu64 " acknowledged, %" PRIu64 " seen, lagging %d, position %" PRIu64
                        " of %" PRIu64,
                        w->count, seen, s.view_lagging, s.position.seq, s.head);
    return check_verify(w->db, why) && check_sql(w->db, w->path, why);
}

// SQLite's own opinion of the file; nobody may have it open.
static inline bool rows_sound(const char *path, check_text *why)
{
    sqlite3 *db = work_sql_open(path);
    sqlite3_stmt *q = NULL;
    const bool good = sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &q, NULL) == SQLITE_OK &&
                      sqlite3_step(q) == SQLITE_ROW &&
                      strcmp((const char *)sqlite3_column_text(q, 0), "ok") == 0;
    if (!good)
        check_no(why, "%s: %s", path, sqlite3_errmsg(db));
    sqlite3_finalize(q);
    sqlite3_close(db);
    return good;
}

// ---- A reader in another process: checks a new session each time it is asked --------------------

static inline void rows_watch_many(rqc_db *db, unsigned n, fault_msg *m)
{
    rqc_read *r[256];
    check_text why = {""};
    rqc_error err = {.text = ""};
    for (unsigned i = 0; i < n; i++) {
        if (rqc_read_new(db, &r[i], &err) != RQC_OK)
            fault_bad("session: %.150s", err.text);
        if (rqc_read_begin(r[i]) != RQC_OK)
            fault_bad("begin: %.150s", rqc_read_error(r[i]));
    }
    if (!rows_check(r[n - 1], true, &m->value, &why))
        fault_bad("%.170s", why.text);
    m->position = rqc_read_position(r[n - 1]);
    for (unsigned i = 0; i < n; i++)
        rqc_read_free(r[i]);
}

static inline int rows_watch_role(const char *path)
{
    rqc_options o = RQC_OPTIONS_INIT;
    rqc_db *db = NULL;
    rqc_error err = {.text = ""};
    char what;
    o.log = fault_log;
    if (rqc_attach(path, &o, &db, &err) != RQC_OK)
        fault_bad("attach: %.150s", err.text);
    fault_tell(FAULT_READY, 0);
    while (fault_asked(&what)) {
        fault_msg m = {.kind = FAULT_TOLD};
        rows_watch_many(db, what == 'm' ? 200 : 1, &m);
        fault_send(&m);
    }
    rqc_close(db);
    return 0;
}

static inline fault_child rows_watch(const rows *w)
{
    fault_child c = fault_spawn("watch", w->path, NULL, NULL);
    fault_expect(&c, FAULT_READY, NULL);
    return c;
}

static inline uint64_t rows_watched(const fault_child *c, char what)
{
    fault_msg m;
    fault_ask(c, what);
    fault_expect(c, FAULT_TOLD, &m);
    return m.value;
}

#endif

// SPDX-License-Identifier: Apache-2.0
// The statements that write rows, made from the description and from the columns that the database
// has.
//
// OR FAIL instead of the default ABORT spares a statement journal for each statement that cannot
// violate an immediate foreign key (those keep theirs). What a failed statement leaves behind (log
// rows of its BEFORE triggers) goes with the job's savepoint.
#include "persist/internal.h"

#include <string.h>

static rqc_err prepare(rqci_sql *q, const char *sql, sqlite3_stmt **stmt, rqci_errbuf *err)
{
    return rqci_db_prepare(q->db, sql, true, stmt, err);
}

void rqci_sql_clear(rqci_sql *q)
{
    for (unsigned c = 0; c <= RQCI_ENTITY_MAX; c++) {
        rqci_db_finalize(&q->insert[c]);
        rqci_db_finalize(&q->update[c]);
        rqci_db_finalize(&q->remove[c]);
        rqci_db_finalize(&q->exists[c]);
        for (unsigned i = 0; i < RQCI_ROWS_SIZES; i++)
            rqci_db_finalize(&q->rows[c][i]);
        rqci_db_finalize(&q->refs[c]);
    }
    for (unsigned i = 0; i < RQCI_PATCH_CACHE; i++) {
        rqci_db_finalize(&q->patch[i].stmt);
        q->patch[i].mask = 0;
        q->patch[i].entity = 0;
    }
    rqci_db_finalize(&q->changed);
    rqci_db_finalize(&q->gone);
    rqci_db_finalize(&q->head);
    rqci_buf_free(&q->inserted);
    memset(q->points, 0, sizeof q->points);
}

rqc_err rqci_sql_begin(rqci_sql *q, const rqci_job *job, rqci_errbuf *err)
{
    const size_t bytes = job->nwrites / 8 + 1;
    q->updated = false;
    q->inserted.len = 0;
    if (rqci_buf_reserve(&q->inserted, bytes) != RQC_OK)
        return rqci_fail(err, RQC_NO_MEMORY, "no memory for %zu writes", job->nwrites);
    memset(q->inserted.data, 0, bytes);
    return RQC_OK;
}

static void note_inserted(rqci_sql *q, size_t first, size_t n)
{
    for (size_t i = first; i < first + n; i++)
        q->inserted.data[i / 8] |= (uint8_t)(1u << i % 8);
}

// ---- Statements ----
// Field i is parameter i + 1 everywhere; the id is parameter 1.

static bool is_field(const rqci_sql *q, const rqci_entity *e, const char *name)
{
    const rqci_table *t = &q->shape->t[e->code];
    for (int i = 0; i < e->nfields; i++) {
        if ((t->columns >> i & 1u) && sqlite3_stricmp(rqci_column(t, e, i), name) == 0)
            return true;
    }
    return false;
}

// Columns that we do not know and that must have a value get an empty one.
static rqc_err add_unknown(rqci_sql *q, const rqci_entity *e, sqlite3_str *columns,
                           sqlite3_str *values, rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    rqc_err rc = rqci_db_prepare(
        q->db,
        "SELECT name, CASE WHEN type LIKE '%INT%' THEN '0' WHEN type LIKE '%CHAR%' OR type LIKE"
        " '%CLOB%' OR type LIKE '%TEXT%' THEN '''''' WHEN type = '' OR type LIKE '%BLOB%' THEN"
        " 'x''''' ELSE '0' END FROM pragma_table_xinfo(?1)"
        " WHERE \"notnull\" AND dflt_value IS NULL AND hidden = 0",
        false, &st, err);
    if (!rc)
        rc = rqci_db_bind_text(st, 1, e->table, err);
    if (rc) {
        sqlite3_finalize(st);
        return rc;
    }
    int step;
    while ((step = sqlite3_step(st)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(st, 0);
        if (!name || is_field(q, e, name))
            continue;
        sqlite3_str_appendf(columns, ", \"%w\"", name);
        sqlite3_str_appendf(values, ", %s", (const char *)sqlite3_column_text(st, 1));
    }
    rc = step == SQLITE_DONE ? RQC_OK : rqci_sqlite_err(q->db, step, e->table, err);
    sqlite3_finalize(st);
    return rc;
}

static rqc_err insert_stmt(rqci_sql *q, const rqci_entity *e, rqci_errbuf *err)
{
    if (q->insert[e->code])
        return RQC_OK;
    const rqci_table *t = &q->shape->t[e->code];
    sqlite3_str *s = sqlite3_str_new(q->db), *v = sqlite3_str_new(q->db);
    sqlite3_str_appendf(s, "INSERT OR FAIL INTO \"%w\" (", e->table);
    const char *comma = "";
    for (int i = 0; i < e->nfields; i++) {
        if (!(t->columns >> i & 1u))
            continue;
        sqlite3_str_appendf(s, "%s\"%w\"", comma, rqci_column(t, e, i));
        sqlite3_str_appendf(v, "%s?%d", comma, i + 1);
        comma = ", ";
    }
    rqc_err rc = add_unknown(q, e, s, v, err);
    char *values = sqlite3_str_finish(v);
    sqlite3_str_appendf(s, ") VALUES (%s)", values ? values : "");
    char *sql = sqlite3_str_finish(s);
    if (!rc)
        rc = values && sql ? prepare(q, sql, &q->insert[e->code], err) : RQC_NO_MEMORY;
    sqlite3_free(values);
    sqlite3_free(sql);
    return rc;
}

// `mask`: the fields to set; never the key.
static rqc_err update_stmt(rqci_sql *q, const rqci_entity *e, uint32_t mask, sqlite3_stmt **stmt,
                           rqci_errbuf *err)
{
    sqlite3_str *s = sqlite3_str_new(q->db);
    sqlite3_str_appendf(s, "UPDATE OR FAIL \"%w\" SET ", e->table);
    const char *comma = "";
    for (int i = 1; i < e->nfields; i++) {
        if (!(mask >> i & 1u))
            continue;
        sqlite3_str_appendf(s, "%s\"%w\" = ?%d", comma, rqci_column(&q->shape->t[e->code], e, i),
                            i + 1);
        comma = ", ";
    }
    // A patch without fields still touches the row, so that it is found, and logged.
    sqlite3_str_appendf(s, "%s WHERE id = ?1", comma[0] ? "" : "id = id");
    char *sql = sqlite3_str_finish(s);
    const rqc_err rc = sql ? prepare(q, sql, stmt, err) : RQC_NO_MEMORY;
    sqlite3_free(sql);
    return rc;
}

static rqc_err simple_stmt(rqci_sql *q, const rqci_entity *e, const char *format,
                           sqlite3_stmt **stmt, rqci_errbuf *err)
{
    if (*stmt)
        return RQC_OK;
    char *sql = sqlite3_mprintf(format, e->table);
    const rqc_err rc = sql ? prepare(q, sql, stmt, err) : RQC_NO_MEMORY;
    sqlite3_free(sql);
    return rc;
}

static rqc_err patch_stmt(rqci_sql *q, const rqci_entity *e, uint32_t mask, sqlite3_stmt **ret_stmt,
                          rqci_errbuf *err)
{
    const unsigned slot =
        (unsigned)((mask * 2654435761u ^ e->code * 40503u) >> 8) % RQCI_PATCH_CACHE;
    if (!q->patch[slot].stmt || q->patch[slot].mask != mask || q->patch[slot].entity != e->code) {
        rqci_db_finalize(&q->patch[slot].stmt);
        const rqc_err rc = update_stmt(q, e, mask, &q->patch[slot].stmt, err);
        if (rc)
            return rc;
        q->patch[slot].mask = mask;
        q->patch[slot].entity = e->code;
    }
    *ret_stmt = q->patch[slot].stmt;
    return RQC_OK;
}

// ---- Values ----

// Pointers stay valid until the step: the job's owner keeps them.
static int bind(sqlite3_stmt *st, int at, const rqc_value *v)
{
    switch (v->type) {
    case RQC_ABSENT:
    case RQC_NULL: return sqlite3_bind_null(st, at);
    case RQC_INT:
    case RQC_BOOL: return sqlite3_bind_int64(st, at, v->u.i);
    case RQC_REAL: return sqlite3_bind_double(st, at, v->u.d);
    case RQC_TEXT:
        return sqlite3_bind_text64(st, at, v->n ? v->p : "", v->n, SQLITE_STATIC, SQLITE_UTF8);
    case RQC_BYTES: return sqlite3_bind_blob64(st, at, v->n ? v->p : "", v->n, SQLITE_STATIC);
    case RQC_ID: return sqlite3_bind_blob(st, at, v->p, 16, SQLITE_STATIC);
    case RQC_LARGE: break;
    }
    return SQLITE_MISUSE;
}

static rqc_err run(rqci_sql *q, const rqci_entity *e, sqlite3_stmt *st, const uint8_t id[16],
                   const rqc_value *row, uint32_t mask, rqci_errbuf *err)
{
    int rc = sqlite3_bind_blob(st, 1, id, 16, SQLITE_STATIC);
    for (int i = 1; rc == SQLITE_OK && row && i < e->nfields; i++) {
        if (mask >> i & 1u)
            rc = bind(st, i + 1, &row[i]);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(st);
        rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
    }
    const rqc_err code = rc == SQLITE_OK ? RQC_OK : rqci_sqlite_err(q->db, rc, e->table, err);
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return code;
}

// True when a database without the column says the same as one with this value in it.
static bool same_as_missing(const rqci_field *f, const rqc_value *v)
{
    if (v->type == RQC_ABSENT || v->type == RQC_NULL)
        return true;
    switch (f->def) {
    case RQCI_D_NONE: return false;
    case RQCI_D_NOW: return true;
    case RQCI_D_EMPTY: return v->type == RQC_TEXT && v->n == 0;
    case RQCI_D_ZERO:
        return v->type == RQC_REAL ? v->u.d == 0
                                   : (v->type == RQC_INT || v->type == RQC_BOOL) && v->u.i == 0;
    case RQCI_D_TRUE: return (v->type == RQC_INT || v->type == RQC_BOOL) && v->u.i == 1;
    case RQCI_D_TWO: return v->type == RQC_INT && v->u.i == 2;
    }
    return false;
}

static rqc_err check_row(const rqci_sql *q, const rqci_entity *e, const rqc_value *row,
                         rqci_errbuf *err)
{
    const uint32_t later = rqci_later_mask(e->code);
    for (int i = 1; i < e->nfields; i++) {
        if (row[i].type > RQC_ID)
            return rqci_fail(err, RQC_INVALID, "%s.%s: a large value cannot be written by its hash",
                             e->table, e->fields[i].name);
        if (!((q->shape->t[e->code].columns | later) >> i & 1u) &&
            !same_as_missing(&e->fields[i], &row[i]))
            return rqci_fail(err, RQC_VERSION, "this database has no column %s.%s", e->table,
                             e->fields[i].name);
    }
    return RQC_OK;
}

// ---- The four kinds ----

static rqc_err insert(rqci_sql *q, const rqci_entity *e, const rqci_write *w, const rqc_value *row,
                      rqci_job *job)
{
    rqc_err rc = insert_stmt(q, e, &job->detail);
    if (!rc)
        rc = run(q, e, q->insert[e->code], w->id, row, q->shape->t[e->code].columns, &job->detail);
    if (!rc) {
        note_inserted(q, (size_t)(w - job->writes), 1);
        job->written++;
    }
    return rc;
}

// An update where the row is there, so that its triggers log one row and nothing is replaced.
static rqc_err put(rqci_sql *q, const rqci_entity *e, const rqci_write *w, const rqc_value *row,
                   rqci_job *job)
{
    const uint32_t mask = q->shape->t[e->code].columns & ~1u;
    rqc_err rc =
        q->update[e->code] ? RQC_OK : update_stmt(q, e, mask, &q->update[e->code], &job->detail);
    if (!rc)
        rc = run(q, e, q->update[e->code], w->id, row, mask, &job->detail);
    if (rc)
        return rc;
    if (sqlite3_changes(q->db) == 0)
        return insert(q, e, w, row, job);
    q->updated = true;
    job->written++;
    return RQC_OK;
}

rqc_err rqci_sql_exists(rqci_sql *q, const rqci_entity *e, const uint8_t id[16], bool *ret_there,
                        rqci_errbuf *err)
{
    rqc_err rc = simple_stmt(q, e, "SELECT 1 FROM \"%w\" WHERE id = ?1", &q->exists[e->code], err);
    if (rc)
        return rc;
    sqlite3_stmt *st = q->exists[e->code];
    sqlite3_bind_blob(st, 1, id, 16, SQLITE_STATIC);
    const int step = sqlite3_step(st);
    if (step != SQLITE_ROW && step != SQLITE_DONE)
        rc = rqci_sqlite_err(q->db, step, e->table, err);
    sqlite3_reset(st);
    *ret_there = step == SQLITE_ROW;
    return rc;
}

static rqc_err add(rqci_sql *q, const rqci_entity *e, const rqci_write *w, const rqc_value *row,
                   rqci_job *job)
{
    bool there;
    const rqc_err rc = rqci_sql_exists(q, e, w->id, &there, &job->detail);
    if (rc)
        return rc;
    if (!there)
        return insert(q, e, w, row, job);
    job->skipped++;
    return RQC_OK;
}

static rqc_err patch(rqci_sql *q, const rqci_entity *e, const rqci_write *w, const rqc_value *row,
                     rqci_job *job)
{
    uint32_t mask = 0;
    for (int i = 1; i < e->nfields; i++) {
        if (row[i].type != RQC_ABSENT)
            mask |= 1u << i;
    }
    mask &= q->shape->t[e->code].columns;
    sqlite3_stmt *st;
    rqc_err rc = patch_stmt(q, e, mask, &st, &job->detail);
    if (!rc)
        rc = run(q, e, st, w->id, row, mask, &job->detail);
    if (rc)
        return rc;
    if (sqlite3_changes(q->db) == 0)
        return rqci_fail(&job->detail, RQC_NOT_FOUND, "%s: no such row", e->table);
    q->updated = true;
    job->written++;
    return RQC_OK;
}

// Counts through the log, which has one row for each deleted one, cascades included.
static rqc_err remove_row(rqci_sql *q, const rqci_entity *e, const rqci_write *w, rqci_job *job)
{
    int64_t before = 0, gone = 0;
    rqc_err rc = rqci_db_int_kept(q->db, "SELECT coalesce(max(seq), 0) FROM change_log", &q->head,
                                  &before, &job->detail);
    if (!rc)
        rc = simple_stmt(q, e, "DELETE FROM \"%w\" WHERE id = ?1", &q->remove[e->code],
                         &job->detail);
    if (!rc)
        rc = run(q, e, q->remove[e->code], w->id, NULL, 0, &job->detail);
    if (rc)
        return rc;
    if (sqlite3_changes(q->db) == 0)
        return rqci_fail(&job->detail, RQC_NOT_FOUND, "%s: no such row", e->table);
    q->updated = true;
    static const char sql[] = "SELECT count(*) FROM change_log WHERE seq > ?1 AND op = 3";
    if (!q->gone && (rc = rqci_db_prepare(q->db, sql, true, &q->gone, &job->detail)))
        return rc;
    sqlite3_bind_int64(q->gone, 1, before);
    rc = rqci_db_int_kept(q->db, sql, &q->gone, &gone, &job->detail);
    if (!rc)
        job->deleted += (uint64_t)gone;
    return rc;
}

// Changes of the job itself do not count: its caller knows them. The walk is as long as the
// caller's position is old.
static rqc_err check_seq(rqci_sql *q, const rqci_write *w, uint64_t base, rqci_job *job)
{
    static const char sql[] = "SELECT seq FROM change_log WHERE seq > ?1 AND seq <= ?2 AND entity "
                              "= ?3 AND id = ?4 LIMIT 1";
    rqc_err rc;
    if (!q->changed && (rc = rqci_db_prepare(q->db, sql, true, &q->changed, &job->detail)))
        return rc;
    sqlite3_bind_int64(q->changed, 1, w->seq > INT64_MAX ? INT64_MAX : (int64_t)w->seq);
    sqlite3_bind_int64(q->changed, 2, (int64_t)base);
    sqlite3_bind_int(q->changed, 3, w->entity);
    sqlite3_bind_blob(q->changed, 4, w->id, 16, SQLITE_STATIC);
    int64_t seq = 0;
    rc = rqci_db_int_kept(q->db, sql, &q->changed, &seq, &job->detail);
    if (rc == RQC_NOT_FOUND)
        return RQC_OK;
    if (rc)
        return rc;
    return rqci_fail(&job->detail, RQC_CHANGED, "%s: changed at position %lld",
                     rqci_entity_of(w->entity)->table, (long long)seq);
}

rqc_err rqci_sql_apply(rqci_sql *q, const rqci_write *w, uint64_t base, int64_t now, rqci_job *job)
{
    const rqci_entity *e = rqci_entity_of(w->entity);
    if (!e || w->kind < RQCI_WRITE_PUT || w->kind > RQCI_WRITE_DELETE ||
        (w->kind != RQCI_WRITE_DELETE && !w->row))
        return rqci_fail(&job->detail, RQC_INVALID, "not a write");
    if (!q->shape->t[e->code].there)
        return rqci_fail(&job->detail, RQC_VERSION, "this database has no table %s", e->table);
    rqc_err rc = w->if_seq ? check_seq(q, w, base, job) : RQC_OK;
    if (!rc && w->kind != RQCI_WRITE_DELETE)
        rc = check_row(q, e, w->row, &job->detail);
    if (rc)
        return rc;
    if (w->kind == RQCI_WRITE_DELETE)
        return remove_row(q, e, w, job);
    rqc_value row[RQCI_FIELD_MAX];
    memcpy(row, w->row, e->nfields * sizeof row[0]);
    if (w->kind == RQCI_WRITE_PATCH) {
        if (e->updated >= 0 && row[e->updated].type == RQC_ABSENT)
            row[e->updated] = (rqc_value){.type = RQC_INT, .u.i = now};
        return patch(q, e, w, row, job);
    }
    row[0] = (rqc_value){.type = RQC_ID, .n = 16, .p = w->id};
    rqci_row_defaults(e, row, now);
    return w->kind == RQCI_WRITE_PUT ? put(q, e, w, row, job) : add(q, e, w, row, job);
}

// ---- Several rows in one statement ----
// Field i of row r is parameter r * nfields + i + 1.

static rqc_err rows_stmt(rqci_sql *q, const rqci_entity *e, unsigned n, sqlite3_stmt **stmt,
                         rqci_errbuf *err)
{
    if (*stmt)
        return RQC_OK;
    const uint32_t columns = q->shape->t[e->code].columns;
    sqlite3_str *s = sqlite3_str_new(q->db);
    sqlite3_str_appendf(s, "INSERT OR FAIL INTO \"%w\"", e->table);
    for (unsigned r = 0; r <= n; r++) { // the first list is that of the columns
        sqlite3_str_appendall(s, r == 0 ? " (" : r == 1 ? " VALUES (" : ", (");
        const char *comma = "";
        for (unsigned i = 0; i < e->nfields; i++) {
            if (!(columns >> i & 1u))
                continue;
            if (r == 0)
                sqlite3_str_appendf(s, "%s\"%w\"", comma, e->fields[i].name);
            else
                sqlite3_str_appendf(s, "%s?%u", comma, (r - 1) * e->nfields + i + 1);
            comma = ", ";
        }
        sqlite3_str_appendchar(s, 1, ')');
    }
    char *sql = sqlite3_str_finish(s);
    const rqc_err rc = sql ? rqci_db_prepare(q->db, sql, true, stmt, err) : RQC_NO_MEMORY;
    sqlite3_free(sql);
    return rc;
}

// A row that refers to a later one is refused when it stands alone.
static bool refers(const rqci_entity *e, const rqc_value *row, const uint8_t id[16])
{
    for (int i = 1; i < e->nfields; i++) {
        if (row[i].type == RQC_ID && memcmp(row[i].p, id, 16) == 0)
            return true;
    }
    return false;
}

// How many of the writes may go together. A lookup that fails may have ended the transaction: what
// came after it would be committed by itself.
static rqc_err alike(rqci_sql *q, const rqci_entity *e, const rqci_write *w, size_t n,
                     size_t *ret_len, rqci_errbuf *err)
{
    size_t len = 0;
    for (; len < n && len < RQCI_ROWS_MAX; len++) {
        const rqci_write *v = &w[len];
        bool there = true;
        *ret_len = len;
        if (v->entity != e->code || v->if_seq || !v->row ||
            (v->kind != RQCI_WRITE_PUT && v->kind != RQCI_WRITE_ADD) ||
            (len == 0 && (n < 2 || w[1].entity != e->code)) ||
            check_row(q, e, v->row, NULL) != RQC_OK)
            return RQC_OK;
        const rqc_err rc = rqci_sql_exists(q, e, v->id, &there, err);
        if (rc || there)
            return rc;
        for (size_t i = 0; i < len; i++) {
            if (memcmp(w[i].id, v->id, 16) == 0 || refers(e, w[i].row, v->id))
                return RQC_OK;
        }
    }
    *ret_len = len;
    return RQC_OK;
}

static int bind_rows(sqlite3_stmt *st, const rqci_entity *e, uint32_t columns, const rqci_write *w,
                     unsigned n, int64_t now)
{
    int rc = SQLITE_OK;
    for (unsigned r = 0; r < n; r++) {
        rqc_value row[RQCI_FIELD_MAX];
        memcpy(row, w[r].row, e->nfields * sizeof row[0]);
        row[0] = (rqc_value){.type = RQC_ID, .n = 16, .p = w[r].id};
        rqci_row_defaults(e, row, now);
        for (int i = 0; rc == SQLITE_OK && i < e->nfields; i++) {
            if (columns >> i & 1u)
                rc = bind(st, (int)r * e->nfields + i + 1, &row[i]);
        }
    }
    return rc;
}

rqc_err rqci_sql_apply_rows(rqci_sql *q, const rqci_write *w, size_t n, int64_t now, rqci_job *job,
                            size_t *ret_done)
{
    const rqci_entity *e = rqci_entity_of(w->entity);
    *ret_done = 0;
    if (!e || !q->shape->t[e->code].there)
        return RQC_OK;
    size_t len = 0;
    rqc_err rc = alike(q, e, w, n, &len, &job->detail);
    if (rc || len < 2)
        return rc;
    unsigned size = 0;
    while ((size_t)4 << size <= len)
        size++;
    const unsigned rows = 2u << size;
    sqlite3_stmt **stmt = &q->rows[e->code][size];
    rc = rows_stmt(q, e, rows, stmt, &job->detail);
    if (rc)
        return rc;
    int step = bind_rows(*stmt, e, q->shape->t[e->code].columns, w, rows, now);
    if (step == SQLITE_OK)
        step = sqlite3_step(*stmt);
    if (step != SQLITE_DONE) {
        rc = rqci_sqlite_err(q->db, step, e->table, &job->detail);
        q->rows_failed = true;
    }
    sqlite3_reset(*stmt);
    sqlite3_clear_bindings(*stmt);
    if (rc)
        return rc;
    note_inserted(q, (size_t)(w - job->writes), rows);
    job->written += rows;
    *ret_done = rows;
    return RQC_OK;
}

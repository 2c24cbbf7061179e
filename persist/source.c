// SPDX-License-Identifier: Apache-2.0
// Rows for the view, straight from SQLite's columns into packed records.
#include "persist/internal.h"

#include <string.h>

// ---- Statements ----

static void clear(rqci_reader *r)
{
    for (unsigned c = 0; c <= RQCI_ENTITY_MAX; c++) {
        rqci_db_finalize(&r->row[c]);
        rqci_db_finalize(&r->scan[c]);
    }
    rqci_db_finalize(&r->facts);
    rqci_db_finalize(&r->head);
    rqci_db_finalize(&r->changes);
}

void rqci_reader_close(rqci_reader *r)
{
    clear(r);
    rqci_db_finalize(&r->begin);
    rqci_db_finalize(&r->rollback);
    rqci_db_finalize(&r->version);
    if (r->db != r->store->db)
        sqlite3_close_v2(r->db);
    r->db = NULL;
    rqci_buf_free(&r->buf);
}

// The columns that are there, in order of the fields.
static rqc_err select_stmt(rqci_reader *r, const rqci_entity *e, const char *tail,
                           sqlite3_stmt **stmt, rqci_errbuf *err)
{
    if (*stmt)
        return RQC_OK;
    sqlite3_str *s = sqlite3_str_new(r->db);
    const char *comma = "SELECT ";
    for (int i = 0; i < e->nfields; i++) {
        if (!(r->shape.t[e->code].columns >> i & 1u))
            continue;
        sqlite3_str_appendf(s, "%s\"%w\"", comma, rqci_column(&r->shape.t[e->code], e, i));
        comma = ", ";
    }
    sqlite3_str_appendf(s, " FROM \"%w\" %s", e->table, tail);
    char *sql = sqlite3_str_finish(s);
    const rqc_err rc = sql ? rqci_db_prepare(r->db, sql, true, stmt, err) : RQC_NO_MEMORY;
    sqlite3_free(sql);
    return rc;
}

// ---- Values ----

// A column that the database does not have: what the newest schema would have filled in, except
// that a time is unknown, and so is which body a request has.
static void missing_value(const rqci_field *f, rqc_value *v)
{
    *v = (rqc_value){.type = RQC_NULL};
    if (f->null || f->type == RQCI_T_ID || f->def == RQCI_D_TWO)
        return;
    switch (f->type) {
    case RQCI_T_TEXT:
    case RQCI_T_ANY: *v = (rqc_value){.type = RQC_TEXT, .p = ""}; break;
    case RQCI_T_BYTES: *v = (rqc_value){.type = RQC_BYTES, .p = ""}; break;
    case RQCI_T_REAL:
        v->type = RQC_REAL;
        v->u.d = 0;
        break;
    case RQCI_T_BOOL:
        v->type = RQC_BOOL;
        v->u.i = f->def == RQCI_D_TRUE;
        break;
    case RQCI_T_INT:
        v->type = RQC_INT;
        v->u.i = f->def == RQCI_D_TRUE;
        break;
    case RQCI_T_ID: break;
    }
}

// The storage class that the row has; rqci_rec_pack converts where it is not the field's. False
// when memory ran out.
static bool column_value(sqlite3_stmt *st, int column, const rqci_field *f, rqc_value *v)
{
    memset(v, 0, sizeof *v);
    switch (sqlite3_column_type(st, column)) {
    case SQLITE_INTEGER:
        v->u.i = sqlite3_column_int64(st, column);
        v->type = f->type == RQCI_T_BOOL && (v->u.i == 0 || v->u.i == 1) ? RQC_BOOL : RQC_INT;
        return true;
    case SQLITE_FLOAT:
        v->type = RQC_REAL;
        v->u.d = sqlite3_column_double(st, column);
        return true;
    case SQLITE_TEXT:
        v->type = RQC_TEXT;
        v->p = sqlite3_column_text(st, column);
        v->n = (uint32_t)sqlite3_column_bytes(st, column);
        return v->p != NULL;
    case SQLITE_BLOB:
        v->p = sqlite3_column_blob(st, column);
        v->n = (uint32_t)sqlite3_column_bytes(st, column);
        v->type = f->type == RQCI_T_ID && v->n == 16 ? RQC_ID : RQC_BYTES;
        return v->p != NULL || v->n == 0;
    default: v->type = RQC_NULL; return true;
    }
}

// What is within a transaction counts when that is durable.
static void count_unmirrored(rqci_reader *r)
{
    if (r->within)
        r->within_unmirrored++;
    else
        atomic_fetch_add(&r->store->unmirrored, 1);
}

// Appends the record of the row that st stands on. RQC_NOT_FOUND when it cannot be mirrored.
static rqc_err pack_row(rqci_reader *r, const rqci_entity *e, sqlite3_stmt *st, uint64_t seq,
                        rqci_buf *out, rqci_errbuf *err)
{
    rqc_value row[RQCI_FIELD_MAX];
    int column = 0;
    for (int i = 0; i < e->nfields; i++) {
        if (!(r->shape.t[e->code].columns >> i & 1u))
            missing_value(&e->fields[i], &row[i]);
        else if (!column_value(st, column++, &e->fields[i], &row[i]))
            return rqci_fail(err, RQC_NO_MEMORY, "%s", e->table);
    }
    rqci_errbuf detail = {{0}};
    const rqc_err rc =
        row[0].type == RQC_ID ? rqci_rec_pack(e, row, seq, 0, out, &detail) : RQC_INVALID;
    if (rc == RQC_INVALID) {
        count_unmirrored(r);
        return RQC_NOT_FOUND;
    }
    return rc ? rqci_fail(err, rc, "%s: %s", e->table, detail.text) : RQC_OK;
}

// ---- The source ----

static void end_read(rqci_reader *r)
{
    (void)sqlite3_step(r->rollback);
    sqlite3_reset(r->rollback);
}

static rqc_err begin_read(rqci_reader *r, rqci_errbuf *err)
{
    // What ends it comes first: a transaction that nothing ends sees the same rows for ever.
    rqc_err e = RQC_OK;
    if (!r->rollback)
        e = rqci_db_prepare(r->db, "ROLLBACK", true, &r->rollback, err);
    if (!e && !r->begin)
        e = rqci_db_prepare(r->db, "BEGIN", true, &r->begin, err);
    if (e)
        return e;
    if (!sqlite3_get_autocommit(r->db))
        end_read(r);
    const int rc = sqlite3_step(r->begin);
    sqlite3_reset(r->begin);
    if (rc != SQLITE_DONE)
        return rqci_sqlite_err(r->db, rc, "read", err);
    // The first read fixes what the transaction sees.
    int64_t version;
    e = rqci_db_int_kept(r->db, "PRAGMA schema_version", &r->version, &version, err);
    if (!e && version != r->shape.version) {
        clear(r);
        e = rqci_shape_read(r->db, NULL, &r->shape, err);
    }
    return e;
}

// The writer's own transaction looked at the schema and at the facts when it began, and read the
// head when its jobs were done.
static rqc_err begin_within(rqci_reader *r, rqci_source_state *ret_state, rqci_errbuf *err)
{
    const rqci_store *s = r->store;
    if (r->shape.version != s->shape.version) {
        clear(r);
        const rqc_err e = rqci_shape_read(r->db, NULL, &r->shape, err);
        if (e)
            return e;
    }
    *ret_state = (rqci_source_state){.term = s->facts.term,
                                     .head = r->within_head,
                                     .baseline = s->facts.baseline,
                                     .horizon = s->facts.horizon};
    memcpy(ret_state->store_id, s->facts.store_id, 16);
    r->inside = true;
    return RQC_OK;
}

static void source_end(void *ctx)
{
    rqci_reader *r = ctx;
    if (!r->within && !sqlite3_get_autocommit(r->db))
        end_read(r);
    r->inside = false;
}

// What this transaction sees may come from a connection that does not wait for the disk. Nothing of
// it is shown before it is durable: everything up to its head is on the disk, or is brought there
// now. (Rows that changed without the log are not known to anybody yet.)
static rqc_err make_durable(const rqci_reader *r, uint64_t head, rqci_errbuf *err)
{
    rqci_store *s = r->store;
    uint64_t known = atomic_load(&s->durable_head);
    if ((s->read_only && !s->of) || head <= known ||
        (s->of && head <= atomic_load(&s->of->durable_head)))
        return RQC_OK;
    const rqc_err e = rqci_db_sync(r->db, err);
    while (!e && known < head && !atomic_compare_exchange_weak(&s->durable_head, &known, head))
        continue;
    return e;
}

static rqc_err source_begin(void *ctx, rqci_source_state *ret_state, rqci_errbuf *err)
{
    rqci_reader *r = ctx;
    const rqci_store *s = r->store;
    if (atomic_load(&s->lock.forked))
        return rqci_fail(err, RQC_CLOSED, "%s was opened before fork", s->path);
    if (r->inside)
        return rqci_fail(err, RQC_INTERNAL, "a source has one user at a time");
    if (r->within)
        return begin_within(r, ret_state, err);
    r->inside = true;
    rqci_facts f;
    uint64_t head;
    rqc_err e = begin_read(r, err);
    if (!e)
        e = rqci_facts_read(r->db, &r->facts, &f, err);
    if (!e)
        e = rqci_head_read(r->db, &r->head, f.baseline, &head, err);
    if (!e)
        e = make_durable(r, head, err);
    if (e) {
        source_end(r);
        return e;
    }
    *ret_state = (rqci_source_state){.term = f.term,
                                     .head = head,
                                     .baseline = f.baseline,
                                     .horizon = f.horizon};
    memcpy(ret_state->store_id, f.store_id, 16);
    if (s->seen)
        s->seen(s->ctx, ret_state);
    return RQC_OK;
}

// False for a row that no view can use: a marker, an entity of another version, an id that is none.
static bool change_of(rqci_reader *r, sqlite3_stmt *st, rqci_change *c)
{
    memset(c, 0, sizeof *c);
    const int64_t entity = sqlite3_column_int64(st, 1), op = sqlite3_column_int64(st, 2);
    if (entity < 1 || entity > RQCI_ENTITY_MAX)
        return false;
    if (sqlite3_column_type(st, 3) != SQLITE_BLOB || sqlite3_column_bytes(st, 3) != 16) {
        count_unmirrored(r);
        return false;
    }
    c->seq = (uint64_t)sqlite3_column_int64(st, 0);
    c->entity = (uint8_t)entity;
    c->op = op >= RQCI_OP_INSERT && op <= RQCI_OP_MOVE ? (uint8_t)op : (uint8_t)RQCI_OP_UPDATE;
    memcpy(c->id, sqlite3_column_blob(st, 3), 16);
    if (sqlite3_column_type(st, 4) == SQLITE_BLOB && sqlite3_column_bytes(st, 4) == 16)
        memcpy(c->owner, sqlite3_column_blob(st, 4), 16);
    return true;
}

static rqc_err source_changes(void *ctx, uint64_t after, uint64_t upto,
                              rqc_err (*fn)(void *arg, const rqci_change *c), void *arg,
                              rqci_errbuf *err)
{
    rqci_reader *r = ctx;
    if (!r->changes) {
        const rqc_err e = rqci_db_prepare(r->db,
                                          "SELECT seq, entity, op, id, owner FROM change_log WHERE "
                                          "seq > ?1 AND seq <= ?2 ORDER BY seq",
                                          true, &r->changes, err);
        if (e)
            return e;
    }
    sqlite3_bind_int64(r->changes, 1, after > INT64_MAX ? INT64_MAX : (int64_t)after);
    sqlite3_bind_int64(r->changes, 2, upto > INT64_MAX ? INT64_MAX : (int64_t)upto);
    rqc_err e = RQC_OK;
    int rc = SQLITE_DONE;
    while (!e && (rc = sqlite3_step(r->changes)) == SQLITE_ROW) {
        rqci_change c;
        if (change_of(r, r->changes, &c))
            e = fn(arg, &c);
    }
    if (!e && rc != SQLITE_DONE)
        e = rqci_sqlite_err(r->db, rc, "change_log", err);
    sqlite3_reset(r->changes);
    return e;
}

static rqc_err source_row(void *ctx, uint8_t entity, const uint8_t id[16], uint64_t seq,
                          rqci_buf *out, rqci_errbuf *err)
{
    rqci_reader *r = ctx;
    const rqci_entity *e = rqci_entity_of(entity);
    if (!e || !r->shape.t[entity].there)
        return RQC_NOT_FOUND;
    rqc_err rc = select_stmt(r, e, "WHERE id = ?1", &r->row[entity], err);
    if (rc)
        return rc;
    sqlite3_stmt *st = r->row[entity];
    sqlite3_bind_blob(st, 1, id, 16, SQLITE_STATIC);
    const int step = sqlite3_step(st);
    if (step == SQLITE_ROW)
        rc = pack_row(r, e, st, seq, out, err);
    else
        rc = step == SQLITE_DONE ? RQC_NOT_FOUND : rqci_sqlite_err(r->db, step, e->table, err);
    sqlite3_reset(st);
    return rc;
}

static rqc_err source_scan(void *ctx, uint8_t entity, rqc_err (*fn)(void *arg, rqc_record *r),
                           void *arg, rqci_errbuf *err)
{
    rqci_reader *r = ctx;
    const rqci_entity *e = rqci_entity_of(entity);
    if (!e || !r->shape.t[entity].there)
        return RQC_OK;
    rqc_err rc = select_stmt(r, e, "ORDER BY id", &r->scan[entity], err);
    if (rc)
        return rc;
    sqlite3_stmt *st = r->scan[entity];
    int step = SQLITE_DONE;
    while (!rc && (step = sqlite3_step(st)) == SQLITE_ROW) {
        r->buf.len = 0;
        rc = pack_row(r, e, st, 0, &r->buf, err);
        if (!rc)
            rc = fn(arg, (rqc_record *)(void *)r->buf.data);
        else if (rc == RQC_NOT_FOUND)
            rc = RQC_OK;
    }
    if (!rc && step != SQLITE_DONE)
        rc = rqci_sqlite_err(r->db, step, e->table, err);
    sqlite3_reset(st);
    return rc;
}

static uint64_t source_count(void *ctx)
{
    rqci_reader *r = ctx;
    uint64_t sum = 0;
    for (unsigned c = 1; c <= RQCI_ENTITY_MAX; c++) {
        int64_t n = 0;
        char *sql = r->shape.t[c].there
                        ? sqlite3_mprintf("SELECT count(*) FROM \"%w\"", rqci_entity_of(c)->table)
                        : NULL;
        if (sql && rqci_db_int(r->db, sql, &n, NULL) == RQC_OK)
            sum += (uint64_t)n;
        sqlite3_free(sql);
    }
    return sum;
}

rqci_source rqci_reader_source(rqci_reader *r)
{
    return (rqci_source){.ctx = r,
                         .begin = source_begin,
                         .end = source_end,
                         .changes = source_changes,
                         .row = source_row,
                         .scan = source_scan,
                         .count = source_count};
}

void rqci_store_source(rqci_store *s, rqci_source *ret_source)
{
    *ret_source = rqci_reader_source(&s->reader);
}

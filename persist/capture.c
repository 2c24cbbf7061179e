// SPDX-License-Identifier: Apache-2.0
// The triggers that write change_log. They are made from the description of the entities and from
// the unique indexes that the database really has, for REPLACE removes the rows in its way without
// firing a delete trigger: the triggers before the statement log them instead. A log row says "this
// key was touched"; one too many is harmless, one too few is a lost change.
//
// What binds the trigger bodies (docs/format.md, change_log):
// - They name OLD, NEW, their own table and change_log, so that no migration of the application
// fails because of them.
// - They run in foreign programs: old built-ins only.
// - INSERT OR FAIL: the log row by itself is no reason for a statement journal. An OR clause of the
// outer statement takes its place; a new seq never conflicts, so that changes nothing.
#include "base/hash.h"
#include "persist/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIGGERS_MAX (RQCI_ENTITY_MAX * 5)
#define LOG_INTO     "INSERT OR FAIL INTO change_log (entity, op, id, owner) "

typedef struct trigger {
    char name[48];
    const char *table;
    size_t at; // in `text`, NUL-terminated
} trigger;

// What one table needs, while its triggers are written.
typedef struct table_parts {
    const rqci_entity *e;
    const rqci_table *t;
    const char *owner;  // owner column as an identifier, NULL when there is none
    char rowid[12];     // quoted rowid, "" when there is none
    rqci_buf conflicts; // conditions on NEW, one NUL-terminated text after the other
    rqci_buf watched;   // columns whose change may conflict, ", "-separated
    bool watch_all;     // … or all of them
} table_parts;

typedef struct maker {
    sqlite3 *db;
    const rqci_log *log;
    sqlite3_stmt *indexes, *columns;
    rqci_buf text;
    trigger list[TRIGGERS_MAX];
    size_t n;
    rqc_err failed; // of the first append that failed
    rqci_hasher
        keys; // everything of the tables that the triggers and the reading of rows depend on
} maker;

// SQLite's formats: %w doubles the quotes of an identifier, %Q makes a literal.
static void add(maker *m, rqci_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *s = sqlite3_vmprintf(fmt, ap);
    va_end(ap);
    if (!s)
        m->failed = m->failed ? m->failed : RQC_NO_MEMORY;
    else if (!m->failed)
        m->failed = rqci_buf_add(b, s, strlen(s));
    sqlite3_free(s);
}

static void end_text(maker *m, rqci_buf *b)
{
    if (!m->failed)
        m->failed = rqci_buf_add(b, "", 1);
}

// An identifier in quotes; free with sqlite3_free.
static char *quoted(const char *name)
{
    return sqlite3_mprintf("\"%w\"", name);
}

// ---- Conditions under which a row is in the way of NEW ----

// REPLACE stores the default where NEW gives NULL for a NOT NULL column, after the triggers have
// seen the NULL.
static void add_condition(maker *m, table_parts *p, bool first)
{
    const char *name = (const char *)sqlite3_column_text(m->columns, 0);
    const char *coll = (const char *)sqlite3_column_text(m->columns, 1);
    const bool not_null = sqlite3_column_int(m->columns, 2) != 0;
    const char *dflt = (const char *)sqlite3_column_text(m->columns, 3);
    char *col = quoted(name ? name : "");
    if (!col) {
        m->failed = RQC_NO_MEMORY;
        return;
    }
    const char *and = first ? "" : " AND ";
    if (not_null && dflt)
        add(m, &p->conflicts, "%s%s = coalesce(NEW.%s, (%s))", and, col, col, dflt);
    else
        add(m, &p->conflicts, "%s%s = NEW.%s", and, col, col);
    if (coll && sqlite3_stricmp(coll, "BINARY") != 0)
        add(m, &p->conflicts, " COLLATE \"%w\"", coll);
    add(m, &p->watched, ", %s", col);
    sqlite3_free(col);
}

static rqc_err add_index(maker *m, table_parts *p, const char *index, rqci_errbuf *err)
{
    const size_t begin = p->conflicts.len, watched = p->watched.len;
    // An index whose columns are not seen would leave out what it makes REPLACE remove.
    rqc_err e = rqci_db_bind_text(m->columns, 1, index, err);
    if (!e)
        e = rqci_db_bind_text(m->columns, 2, p->e->table, err);
    if (e)
        return e;
    int rc, n = 0;
    bool expression = false, is_id = false;
    while ((rc = sqlite3_step(m->columns)) == SQLITE_ROW) {
        const int cid = sqlite3_column_int(m->columns, 4);
        expression = expression || cid < -1;
        p->watch_all = p->watch_all || sqlite3_column_int(m->columns, 5) !=
                                           0; // a generated column is in no SET list
        const char *name = (const char *)sqlite3_column_text(m->columns, 0);
        is_id = n == 0 && name && sqlite3_stricmp(name, "id") == 0;
        if (!expression && name)
            add_condition(m, p, n == 0);
        n++;
    }
    sqlite3_reset(m->columns);
    if (rc != SQLITE_DONE)
        return rqci_sqlite_err(m->db, rc, index, err);
    if (expression)
        rqci_logf(m->log, RQCI_WARN,
                  "%s: index %s is on an expression; rows that REPLACE removes because of it "
                  "cannot be seen",
                  p->e->table, index);
    if (expression || (n == 1 && is_id)) { // the id has a condition of its own
        p->conflicts.len = begin;
        p->watched.len = watched;
        return RQC_OK;
    }
    end_text(m, &p->conflicts);
    return m->failed;
}

// The condition of a partial index is left out: that logs too much, never too little.
static rqc_err add_indexes(maker *m, table_parts *p, rqci_errbuf *err)
{
    rqc_err e = rqci_db_bind_text(m->indexes, 1, p->e->table, err);
    int rc = SQLITE_DONE;
    while (!e && (rc = sqlite3_step(m->indexes)) == SQLITE_ROW) {
        const char *index;
        e = rqci_db_text(m->indexes, 0, &index, err);
        if (!e)
            e = add_index(m, p, index, err);
    }
    sqlite3_reset(m->indexes);
    return e ? e : rc == SQLITE_DONE ? RQC_OK : rqci_sqlite_err(m->db, rc, p->e->table, err);
}

// ---- The triggers of one table ----

static void begin_trigger(maker *m, const table_parts *p, const char *suffix, const char *when)
{
    trigger *t = &m->list[m->n++];
    snprintf(t->name, sizeof t->name, "reqcast_%s_%s", p->e->table, suffix);
    t->table = p->e->table;
    t->at = m->text.len;
    add(m, &m->text, "CREATE TRIGGER %s %s ON \"%w\" BEGIN ", t->name, when, p->e->table);
}

static void end_trigger(maker *m)
{
    add(m, &m->text, "END");
    end_text(m, &m->text);
}

// The row's owner column in a body: `of` is "", "OLD." or "NEW.".
static void add_owner(maker *m, const table_parts *p, const char *of)
{
    if (p->owner)
        add(m, &m->text, "%s%s", of, p->owner);
    else
        add(m, &m->text, "NULL");
}

static void add_values(maker *m, const table_parts *p, int op, const char *of)
{
    add(m, &m->text, LOG_INTO "VALUES (%d, %d, %sid, ", p->e->code, op, of);
    add_owner(m, p, of);
    add(m, &m->text, "); ");
}

static void add_select(maker *m, const table_parts *p, int op, const char *where, const char *other)
{
    add(m, &m->text, LOG_INTO "SELECT %d, %d, id, ", p->e->code, op);
    add_owner(m, p, "");
    add(m, &m->text, " FROM \"%w\" WHERE %s%s; ", p->e->table, where, other);
}

// `other` narrows to rows that are not the statement's own.
static void add_conflicts(maker *m, const table_parts *p, const char *other)
{
    const char *c = (const char *)p->conflicts.data;
    for (size_t at = 0; at < p->conflicts.len; at += strlen(c + at) + 1)
        add_select(m, p, RQCI_OP_DELETE, c + at, other);
    if (p->rowid[0]) {
        char where[64];
        snprintf(where, sizeof where, "%s = NEW.%s", p->rowid, p->rowid);
        add_select(m, p, RQCI_OP_DELETE, where, other);
    }
}

static void make_insert(maker *m, const table_parts *p)
{
    begin_trigger(m, p, "bi", "BEFORE INSERT");
    add_select(m, p, RQCI_OP_UPDATE, "id = NEW.id", "");
    add_conflicts(m, p, " AND id IS NOT NEW.id");
    end_trigger(m);
    begin_trigger(m, p, "ai", "AFTER INSERT");
    add_values(m, p, RQCI_OP_INSERT, "NEW.");
    end_trigger(m);
}

// Before an update SQLite computes the generated columns of NEW from those columns only that the
// triggers name, and from NULL for the rest. Where an index depends on one, all columns are named.
static rqc_err name_all(maker *m, const table_parts *p, rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    rqc_err e = rqci_db_prepare(m->db, "SELECT name FROM pragma_table_xinfo(?1)", false, &st, err);
    if (!e)
        e = rqci_db_bind_text(st, 1, p->e->table, err);
    if (e) {
        sqlite3_finalize(st);
        return e;
    }
    int rc;
    const char *comma = "SELECT ";
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        add(m, &m->text, "%sNEW.\"%w\"", comma, (const char *)sqlite3_column_text(st, 0));
        comma = ", ";
    }
    add(m, &m->text, "; ");
    sqlite3_finalize(st);
    return rc == SQLITE_DONE ? RQC_OK : rqci_sqlite_err(m->db, rc, p->e->table, err);
}

// SQLite compares the names of UPDATE OF with those in the SET list, so the rowid's names can stand
// there too.
static rqc_err make_update(maker *m, const table_parts *p, rqci_errbuf *err)
{
    char other[64];
    if (p->rowid[0])
        snprintf(other, sizeof other, " AND %s <> OLD.%s", p->rowid, p->rowid);
    else
        snprintf(other, sizeof other, " AND id IS NOT OLD.id");
    char *when =
        p->watch_all || m->failed
            ? sqlite3_mprintf("BEFORE UPDATE")
            : sqlite3_mprintf("BEFORE UPDATE OF id%s%.*s",
                              p->rowid[0] ? ", rowid, _rowid_, oid" : "", (int)p->watched.len,
                              p->watched.len ? (const char *)p->watched.data : "");
    if (!when) {
        return RQC_NO_MEMORY;
    }
    begin_trigger(m, p, "bu", when);
    sqlite3_free(when);
    const rqc_err e = p->watch_all ? name_all(m, p, err) : RQC_OK;
    if (e)
        return e;
    add_select(m, p, RQCI_OP_DELETE, "id = NEW.id", other);
    add_conflicts(m, p, other);
    end_trigger(m);

    begin_trigger(m, p, "au", "AFTER UPDATE");
    add(m, &m->text, LOG_INTO "SELECT %d, %d, OLD.id, ", p->e->code, RQCI_OP_DELETE);
    add_owner(m, p, "OLD.");
    add(m, &m->text, " WHERE OLD.id IS NOT NEW.id");
    if (p->owner)
        add(m, &m->text, " OR OLD.%s IS NOT NEW.%s", p->owner, p->owner);
    add(m, &m->text, "; " LOG_INTO "VALUES (%d, CASE WHEN OLD.id IS NOT NEW.id THEN %d ",
        p->e->code, RQCI_OP_INSERT);
    if (p->owner)
        add(m, &m->text, "WHEN OLD.%s IS NOT NEW.%s THEN %d ", p->owner, p->owner, RQCI_OP_MOVE);
    add(m, &m->text, "ELSE %d END, NEW.id, ", RQCI_OP_UPDATE);
    add_owner(m, p, "NEW.");
    add(m, &m->text, "); ");
    end_trigger(m);
    return m->failed;
}

// A request is logged before its cascade, so that its row comes before those of its children.
static void make_delete(maker *m, const table_parts *p)
{
    const bool before = p->e->code == RQCI_HTTP;
    begin_trigger(m, p, before ? "bd" : "ad", before ? "BEFORE DELETE" : "AFTER DELETE");
    add_values(m, p, RQCI_OP_DELETE, "OLD.");
    end_trigger(m);
}

static rqc_err make_table(maker *m, const rqci_entity *e, const rqci_table *t, rqci_errbuf *err)
{
    table_parts p = {.e = e, .t = t};
    if (e->owner >= 0 && (t->columns >> e->owner & 1u))
        p.owner = rqci_column(t, e, e->owner);
    strcpy(p.rowid, t->rowid);
    rqc_err rc = add_indexes(m, &p, err);
    if (!rc) {
        rqci_hasher_add(&m->keys, p.conflicts.data, p.conflicts.len);
        make_insert(m, &p);
        rc = make_update(m, &p, err);
        make_delete(m, &p);
        rc = rc ? rc : m->failed;
    }
    rqci_buf_free(&p.conflicts);
    rqci_buf_free(&p.watched);
    return rc;
}

static void maker_free(maker *m)
{
    if (!m)
        return;
    sqlite3_finalize(m->indexes);
    sqlite3_finalize(m->columns);
    rqci_buf_free(&m->text);
    free(m);
}

// Writes the triggers of all tables that are there.
static rqc_err make_all(sqlite3 *db, const rqci_shape *shape, const rqci_log *log,
                        maker **ret_maker, rqci_errbuf *err)
{
    maker *m = calloc(1, sizeof *m);
    if (!m)
        return RQC_NO_MEMORY;
    m->db = db;
    m->log = log;
    rqci_hasher_init(&m->keys);
    rqc_err e =
        rqci_db_prepare(db, "SELECT name FROM pragma_index_list(?1) WHERE \"unique\" ORDER BY name",
                        false, &m->indexes, err);
    if (!e)
        e = rqci_db_prepare(
            db,
            "SELECT i.name, i.coll, c.\"notnull\", c.dflt_value, i.cid, coalesce(c.hidden, 0) > 1"
            " FROM pragma_index_xinfo(?1) AS i LEFT JOIN pragma_table_xinfo(?2) AS c ON c.cid = "
            "i.cid"
            " WHERE i.key ORDER BY i.seqno",
            false, &m->columns, err);
    for (unsigned code = 1; !e && code <= RQCI_ENTITY_MAX; code++) {
        const rqci_table *t = &shape->t[code];
        const uint32_t columns = t->there ? t->columns : 0;
        uint8_t key[8];
        memcpy(key, &code, 4);
        memcpy(key + 4, &columns, 4);
        rqci_hasher_add(&m->keys, key, sizeof key);
        for (unsigned i = 0; t->there && i < RQCI_FIELD_MAX; i++) {
            if (t->older[i])
                rqci_hasher_add(&m->keys, rqci_aliases[t->older[i] - 1].name,
                                strlen(rqci_aliases[t->older[i] - 1].name) + 1);
        }
        if (t->there)
            e = make_table(m, rqci_entity_of(code), t, err);
    }
    if (e) {
        maker_free(m);
        return e;
    }
    *ret_maker = m;
    return RQC_OK;
}

// ---- What is installed ----

static const char *text_at(sqlite3_stmt *st, int column)
{
    const char *s = (const char *)sqlite3_column_text(st, column);
    return s ? s : "";
}

static bool is_wanted(const maker *m, const char *name, const char *table, const char *sql)
{
    for (size_t i = 0; i < m->n; i++) {
        if (strcmp(m->list[i].name, name) == 0)
            return sqlite3_stricmp(m->list[i].table, table) == 0 &&
                   strcmp((const char *)m->text.data + m->list[i].at, sql) == 0;
    }
    return false;
}

#define OUR_TRIGGERS \
    "FROM sqlite_master WHERE type = 'trigger' AND substr(name, 1, 8) = 'reqcast_' ORDER BY name"

static rqc_err read_triggers(maker *m, rqci_capture *c, rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    rqc_err e = rqci_db_prepare(m->db, "SELECT name, tbl_name, sql " OUR_TRIGGERS, false, &st, err);
    if (e)
        return e;
    size_t good = 0, all = 0;
    int rc;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *part[3] = {text_at(st, 0), text_at(st, 1), text_at(st, 2)};
        for (int i = 0; i < 3; i++)
            rqci_hasher_add(&m->keys, part[i], strlen(part[i]) + 1);
        good += is_wanted(m, part[0], part[1], part[2]);
        all++;
    }
    e = rc == SQLITE_DONE ? RQC_OK : rqci_sqlite_err(m->db, rc, "sqlite_master", err);
    sqlite3_finalize(st);
    c->complete = good == m->n && all == m->n;
    return e;
}

// The schema table lists objects in the order in which they were made, and VACUUM keeps that order.
// A table that was made anew (copy, drop, rename) comes after reqcast_meta, even when its triggers
// were put back carefully.
static rqc_err read_order(sqlite3 *db, const rqci_shape *shape, bool *ret_rebuilt, rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    rqc_err e = rqci_db_prepare(
        db,
        "SELECT name FROM sqlite_master WHERE type = 'table' AND rowid >"
        " (SELECT rowid FROM sqlite_master WHERE type = 'table' AND name = 'reqcast_meta')",
        false, &st, err);
    if (e)
        return e;
    bool rebuilt = false;
    int rc;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *name = text_at(st, 0);
        for (unsigned code = 1; code <= RQCI_ENTITY_MAX; code++)
            rebuilt = rebuilt || (shape->t[code].there &&
                                  sqlite3_stricmp(name, rqci_entity_of(code)->table) == 0);
    }
    sqlite3_finalize(st);
    if (rc != SQLITE_DONE)
        return rqci_sqlite_err(db, rc, "sqlite_master", err);
    *ret_rebuilt = rebuilt;
    return RQC_OK;
}

rqc_err rqci_capture_read(sqlite3 *db, const rqci_shape *shape, const rqci_log *log,
                          rqci_capture *ret_capture, rqci_errbuf *err)
{
    maker *m;
    rqc_err e = make_all(db, shape, log, &m, err);
    if (e)
        return e;
    rqci_capture c = {0};
    e = read_triggers(m, &c, err);
    if (!e)
        e = read_order(db, shape, &c.rebuilt, err);
    c.signature = rqci_hasher_end64(&m->keys);
    maker_free(m);
    if (!e)
        *ret_capture = c;
    return e;
}

rqc_err rqci_capture_each(sqlite3 *db, const rqci_shape *shape, rqci_trigger_fn *fn, void *ctx,
                          rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    maker *m;
    rqc_err e = make_all(db, shape, NULL, &m, err);
    if (e)
        return e;
    e = rqci_db_prepare(db, "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = ?1",
                        false, &st, err);
    for (size_t i = 0; !e && i < m->n; i++) {
        const char *text = NULL;
        e = rqci_db_bind_text(st, 1, m->list[i].name, err);
        const int rc = e ? SQLITE_DONE : sqlite3_step(st);
        if (rc == SQLITE_ROW)
            e = rqci_db_text(st, 0, &text, err);
        else if (rc != SQLITE_DONE)
            e = rqci_sqlite_err(db, rc, "sqlite_master", err);
        const bool there = text && strcmp((const char *)m->text.data + m->list[i].at, text) == 0;
        sqlite3_reset(st);
        if (!e)
            fn(ctx, m->list[i].name, m->list[i].table, there);
    }
    sqlite3_finalize(st);
    maker_free(m);
    return e;
}

rqc_err rqci_capture_drop(sqlite3 *db, rqci_trigger_fn *fn, void *ctx, rqci_errbuf *err)
{
    for (;;) {
        sqlite3_stmt *st = NULL;
        rqc_err e =
            rqci_db_prepare(db, "SELECT name, tbl_name " OUR_TRIGGERS " LIMIT 1", false, &st, err);
        if (e)
            return e;
        const int rc = sqlite3_step(st);
        const char *name = NULL, *table = NULL;
        if (rc == SQLITE_ROW)
            e = rqci_db_text(st, 0, &name, err);
        if (rc == SQLITE_ROW && !e)
            e = rqci_db_text(st, 1, &table, err);
        char *sql = name && table ? sqlite3_mprintf("DROP TRIGGER \"%w\"", name) : NULL;
        if (sql && fn)
            fn(ctx, name, table, true);
        sqlite3_finalize(st);
        if (rc == SQLITE_DONE)
            return RQC_OK;
        if (rc != SQLITE_ROW)
            return rqci_sqlite_err(db, rc, "sqlite_master", err);
        if (!e)
            e = sql ? rqci_db_exec(db, sql, err) : RQC_NO_MEMORY;
        sqlite3_free(sql);
        if (e)
            return e;
    }
}

// reqcast_meta goes to the end of the schema table again, see read_order. (Not by ALTER TABLE
// RENAME, which fails when the application has a view that is out of order.)
static rqc_err renew_order(sqlite3 *db, rqci_errbuf *err)
{
    const rqc_err e = rqci_db_exec(db, "DROP TABLE reqcast_meta", err);
    return e ? e : rqci_facts_tables(db, err);
}

rqc_err rqci_capture_install(sqlite3 *db, const rqci_shape *shape, rqci_errbuf *err)
{
    maker *m;
    rqc_err e = make_all(db, shape, NULL, &m, err);
    if (e)
        return e;
    bool rebuilt = false;
    e = rqci_capture_drop(db, NULL, NULL, err);
    for (size_t i = 0; !e && i < m->n; i++)
        e = rqci_db_exec(db, (const char *)m->text.data + m->list[i].at, err);
    if (!e)
        e = read_order(db, shape, &rebuilt, err);
    if (!e && rebuilt)
        e = renew_order(db, err);
    maker_free(m);
    return e;
}

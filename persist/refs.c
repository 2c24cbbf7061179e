// SPDX-License-Identifier: Apache-2.0
// References are judged when a job is complete, not row by row: a parent may come after its
// children. SQLite counts what is unresolved; where something was on the way, each row that the job
// wrote is looked at, to name it. That count alone cannot be trusted in a database that has orphans
// already: a parent that comes for one of those is counted too, and a new row that points to
// nothing would pass. So new rows are looked at in any case, which costs little: most of them stand
// beside others of the same parent.
#include "persist/internal.h"

#include <string.h>

// Set when the statement is compiled. It is never stepped: that would make SQLite compile every
// other statement of the connection anew, in each transaction.
rqc_err rqci_refs_defer(sqlite3 *db, rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    const rqc_err e = rqci_db_prepare(db, "PRAGMA defer_foreign_keys = ON", false, &st, err);
    sqlite3_finalize(st);
    return e;
}

bool rqci_refs_open(sqlite3 *db)
{
    int now = 0, high = 0;
    return sqlite3_db_status(db, SQLITE_DBSTATUS_DEFERRED_FKS, &now, &high, 0) == SQLITE_OK &&
           now != 0;
}

// A condition for each reference of the table: set, and nothing there. The parent's key is its
// primary key where no column is named.
#define REFERENCES                                                                              \
    "SELECT l.id, l.\"table\", l.\"from\", coalesce(l.\"to\","                                  \
    " (SELECT name FROM pragma_table_info(l.\"table\") WHERE pk = l.seq + 1)), l.seq"           \
    " FROM pragma_foreign_key_list(?1) AS l WHERE EXISTS"                                       \
    " (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = l.\"table\" COLLATE NOCASE)" \
    " ORDER BY l.id, l.seq"

static const char *text_at(sqlite3_stmt *st, int column)
{
    const char *s = (const char *)sqlite3_column_text(st, column);
    return s ? s : "";
}

static void end_reference(sqlite3_str *out, char **set, char **same, const char *parent,
                          const char *column)
{
    if (*set && *same)
        sqlite3_str_appendf(
            out, " WHEN %s AND NOT EXISTS (SELECT 1 FROM \"%w\" AS p WHERE %s) THEN '%q'", *set,
            parent, *same, column);
    sqlite3_free(*set);
    sqlite3_free(*same);
    *set = *same = NULL;
}

static rqc_err write_conditions(sqlite3 *db, const char *table, sqlite3_str *out, rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    rqc_err e = rqci_db_prepare(db, REFERENCES, false, &st, err);
    if (e)
        return e;
    e = rqci_db_bind_text(st, 1, table, err);
    if (e) {
        sqlite3_finalize(st);
        return e;
    }
    char *set = NULL, *same = NULL, *parent = NULL, *column = NULL;
    bool lacks = false; // a condition that memory was too short for
    int rc, last = -1;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *from = text_at(st, 2);
        if (sqlite3_column_int(st, 0) != last) {
            if (last >= 0)
                end_reference(out, &set, &same, parent, column);
            sqlite3_free(parent);
            sqlite3_free(column);
            parent = sqlite3_mprintf("%s", text_at(st, 1));
            column = sqlite3_mprintf("%s", from);
            last = sqlite3_column_int(st, 0);
        }
        char *more = sqlite3_mprintf("%z%sc.\"%w\" IS NOT NULL", set, set ? " AND " : "", from);
        set = more;
        more = sqlite3_mprintf("%z%sp.\"%w\" = c.\"%w\"", same, same ? " AND " : "", text_at(st, 3),
                               from);
        same = more;
        lacks = lacks || !set || !same || !parent || !column;
    }
    if (last >= 0)
        end_reference(out, &set, &same, parent, column);
    sqlite3_free(parent);
    sqlite3_free(column);
    sqlite3_finalize(st);
    if (rc != SQLITE_DONE)
        return rqci_sqlite_err(db, rc, table, err);
    return lacks ? RQC_NO_MEMORY : RQC_OK;
}

static rqc_err refs_stmt(rqci_sql *q, const rqci_entity *e, rqci_errbuf *err)
{
    if (q->refs[e->code])
        return RQC_OK;
    sqlite3_str *s = sqlite3_str_new(q->db);
    sqlite3_str_appendall(s, "SELECT CASE WHEN 0 THEN ''");
    const rqc_err rc = write_conditions(q->db, e->table, s, err);
    sqlite3_str_appendf(s, " END FROM \"%w\" AS c WHERE c.id = ?1", e->table);
    char *sql = sqlite3_str_finish(s);
    rqc_err made = rc;
    if (!rc)
        made = sql ? rqci_db_prepare(q->db, sql, true, &q->refs[e->code], err) : RQC_NO_MEMORY;
    sqlite3_free(sql);
    return made;
}

static rqc_err check_row(rqci_sql *q, const rqci_write *w, rqci_errbuf *err)
{
    const rqci_entity *e = rqci_entity_of(w->entity);
    const rqc_err made = refs_stmt(q, e, err);
    if (made)
        return made;
    sqlite3_stmt *st = q->refs[e->code];
    sqlite3_bind_blob(st, 1, w->id, 16, SQLITE_STATIC);
    const int rc = sqlite3_step(st);
    rqc_err code = RQC_OK;
    if (rc == SQLITE_ROW && sqlite3_column_type(st, 0) != SQLITE_NULL)
        code = rqci_fail(err, RQC_CONSTRAINT,
                         "FOREIGN KEY constraint failed: %s.%s points to "
                         "nothing",
                         e->table, text_at(st, 0));
    else if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        code = rqci_sqlite_err(q->db, rc, e->table, err);
    sqlite3_reset(st);
    return code;
}

// ---- New rows ----

static int field_of_column(const rqci_sql *q, const rqci_entity *e, const char *column)
{
    for (int i = 1; i < e->nfields; i++) {
        if ((q->shape->t[e->code].columns >> i & 1u) && e->fields[i].type == RQCI_T_ID &&
            sqlite3_stricmp(rqci_column(&q->shape->t[e->code], e, i), column) == 0)
            return i;
    }
    return -1;
}

// One row of REFERENCES.
static void add_point(const rqci_sql *q, const rqci_entity *e, sqlite3_stmt *st, rqci_points *p)
{
    const char *table = text_at(st, 1);
    const rqci_entity *parent = rqci_entity_named(table, strlen(table));
    const int field = field_of_column(q, e, text_at(st, 2));
    p->plain =
        p->plain && sqlite3_column_int(st, 4) == 0 && parent && field > 0 &&
        p->n < RQCI_FIELD_MAX && q->shape->t[parent->code].there &&
        sqlite3_stricmp(text_at(st, 3), rqci_column(&q->shape->t[parent->code], parent, 0)) == 0;
    if (!p->plain)
        return;
    p->to[p->n].field = (uint8_t)field;
    p->to[p->n++].parent = parent->code;
}

static rqc_err learn(rqci_sql *q, const rqci_entity *e, rqci_errbuf *err)
{
    rqci_points p = {.known = true, .plain = true};
    sqlite3_stmt *st = NULL;
    int rc = SQLITE_DONE;
    rqc_err made = rqci_db_prepare(q->db, REFERENCES, false, &st, err);
    if (!made)
        made = rqci_db_bind_text(st, 1, e->table, err);
    while (!made && (rc = sqlite3_step(st)) == SQLITE_ROW)
        add_point(q, e, st, &p);
    if (!made && rc != SQLITE_DONE)
        made = rqci_sqlite_err(q->db, rc, e->table, err);
    sqlite3_finalize(st);
    if (!made)
        q->points[e->code] = p;
    return made;
}

typedef struct parents { // the last one of each entity that was found
    bool found[RQCI_ENTITY_MAX + 1];
    uint8_t id[RQCI_ENTITY_MAX + 1][16];
} parents;

// True when the row that was written, if nothing changed it later, points to nothing but what is
// there.
static rqc_err points_well(rqci_sql *q, const rqci_write *w, parents *last, bool *ret_well,
                           rqci_errbuf *err)
{
    const rqci_points *p = &q->points[w->entity];
    const rqci_entity *e = rqci_entity_of(w->entity);
    *ret_well = p->plain;
    for (unsigned i = 0; i < p->n && *ret_well; i++) {
        const uint8_t parent = p->to[i].parent;
        const rqc_value *v = &w->row[p->to[i].field];
        if (v->type == RQC_NULL || (v->type == RQC_ABSENT && e->fields[p->to[i].field].null) ||
            (v->type == RQC_ID && last->found[parent] && memcmp(last->id[parent], v->p, 16) == 0))
            continue;
        *ret_well = v->type == RQC_ID;
        if (!*ret_well)
            break;
        const rqc_err rc = rqci_sql_exists(q, rqci_entity_of(parent), v->p, ret_well, err);
        if (rc)
            return rc;
        last->found[parent] = *ret_well;
        memcpy(last->id[parent], v->p, 16);
    }
    return RQC_OK;
}

static rqc_err check_new(rqci_sql *q, const rqci_write *w, parents *last, rqci_errbuf *err)
{
    bool well = false;
    rqc_err e = q->points[w->entity].known ? RQC_OK : learn(q, rqci_entity_of(w->entity), err);
    if (!e && !q->updated)
        e = points_well(q, w, last, &well, err);
    return e || well ? e : check_row(q, w, err);
}

// ---- A job ----

rqc_err rqci_refs_check(rqci_sql *q, rqci_job *job, bool open)
{
    parents last = {.found = {false}};
    for (size_t i = 0; i < job->nwrites; i++) {
        const rqci_write *w = &job->writes[i];
        rqc_err e = RQC_OK;
        if (open && w->kind != RQCI_WRITE_DELETE)
            e = check_row(q, w, &job->detail);
        else if (rqci_sql_inserted(q, i))
            e = check_new(q, w, &last, &job->detail);
        if (e) {
            job->failed = i;
            return e;
        }
    }
    if (!open || !rqci_refs_open(q->db))
        return RQC_OK;
    return rqci_fail(&job->detail, RQC_CONSTRAINT,
                     "FOREIGN KEY constraint failed: rows that stay point to one that would go");
}

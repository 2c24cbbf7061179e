// SPDX-License-Identifier: Apache-2.0
// References are judged when a job is complete, not row by row: a parent may come after its
// children. SQLite counts what is unresolved; where something was on the way, each row that the job
// wrote is looked at, for the count alone cannot be trusted in a database that has orphans already
// (a parent that comes for one of those is counted too), and to name the row.
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
    " (SELECT name FROM pragma_table_info(l.\"table\") WHERE pk = l.seq + 1))"                  \
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

rqc_err rqci_refs_check(rqci_sql *q, rqci_job *job)
{
    for (size_t i = 0; i < job->nwrites; i++) {
        if (job->writes[i].kind == RQCI_WRITE_DELETE)
            continue;
        const rqc_err e = check_row(q, &job->writes[i], &job->detail);
        if (e) {
            job->failed = i;
            return e;
        }
    }
    if (!rqci_refs_open(q->db))
        return RQC_OK;
    return rqci_fail(&job->detail, RQC_CONSTRAINT,
                     "FOREIGN KEY constraint failed: rows that stay point to one that would go");
}

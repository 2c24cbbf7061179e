// SPDX-License-Identifier: Apache-2.0
// Which of the described tables and columns a database has. Databases come in several generations;
// what is missing is read as its default, what is unknown is ignored.
#include "persist/internal.h"

#include <string.h>

typedef struct finder {
    sqlite3 *db;
    sqlite3_stmt *kind, *columns, *unique;
} finder;

static void finder_close(finder *f)
{
    sqlite3_finalize(f->kind);
    sqlite3_finalize(f->columns);
    sqlite3_finalize(f->unique);
}

static rqc_err finder_open(finder *f, rqci_errbuf *err)
{
    rqc_err e = rqci_db_prepare(
        f->db,
        "SELECT type, wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE",
        false, &f->kind, err);
    if (!e)
        e = rqci_db_prepare(f->db, "SELECT name FROM pragma_table_xinfo(?1)", false, &f->columns,
                            err);
    // Unique indexes of exactly one column, which is id. Partial ones prove nothing.
    if (!e)
        e = rqci_db_prepare(
            f->db,
            "SELECT count(*) FROM pragma_index_list(?1) AS l WHERE l.\"unique\" AND NOT l.partial "
            "AND"
            " (SELECT group_concat(lower(i.name)) FROM pragma_index_info(l.name) AS i) = 'id'",
            false, &f->unique, err);
    return e;
}

static void shadowed(const char *column, bool taken[3])
{
    static const char *const names[3] = {"rowid", "_rowid_", "oid"};
    for (int i = 0; i < 3; i++)
        taken[i] = taken[i] || sqlite3_stricmp(column, names[i]) == 0;
}

static void find_older(const rqci_entity *e, const char *name, uint8_t older[RQCI_FIELD_MAX])
{
    for (unsigned a = 0; a < RQCI_ALIASES; a++) {
        const rqci_alias *alias = &rqci_aliases[a];
        if (alias->entity == e->code && sqlite3_stricmp(name, alias->name) == 0 &&
            (older[alias->field] == 0 || a + 1 < older[alias->field]))
            older[alias->field] = (uint8_t)(a + 1);
    }
}

const char *rqci_column(const rqci_table *t, const rqci_entity *e, int field)
{
    return t->older[field] ? rqci_aliases[t->older[field] - 1].name : e->fields[field].name;
}

static rqc_err read_columns(finder *f, const rqci_entity *e, bool with_rowid, rqci_table *t,
                            rqci_errbuf *err)
{
    bool taken[3] = {!with_rowid, !with_rowid, !with_rowid};
    const rqc_err bound = rqci_db_bind_text(f->columns, 1, e->table, err);
    if (bound)
        return bound;
    int rc;
    while ((rc = sqlite3_step(f->columns)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(f->columns, 0);
        if (!name)
            continue;
        shadowed(name, taken);
        for (int i = 0; i < e->nfields; i++) {
            if (sqlite3_stricmp(name, e->fields[i].name) == 0)
                t->columns |= 1u << i;
        }
        find_older(e, name, t->older);
    }
    sqlite3_reset(f->columns);
    if (rc != SQLITE_DONE)
        return rqci_sqlite_err(f->db, rc, e->table, err);
    for (int i = 0; i < e->nfields; i++) {
        if (t->columns >> i & 1u)
            t->older[i] = 0;
        else if (t->older[i])
            t->columns |= 1u << i;
    }
    strcpy(t->rowid, !taken[0] ? "rowid" : !taken[1] ? "_rowid_" : !taken[2] ? "oid" : "");
    return RQC_OK;
}

static rqc_err read_table(finder *f, const rqci_entity *e, const rqci_log *log, rqci_table *t,
                          rqci_errbuf *err)
{
    const char *type = NULL;
    rqc_err failed = rqci_db_bind_text(f->kind, 1, e->table, err);
    if (failed)
        return failed;
    int rc = sqlite3_step(f->kind);
    if (rc == SQLITE_ROW)
        failed = rqci_db_text(f->kind, 0, &type, err);
    const bool real = type && strcmp(type, "table") == 0;
    const bool with_rowid = rc == SQLITE_ROW && sqlite3_column_int(f->kind, 1) == 0;
    sqlite3_reset(f->kind);
    if (failed || rc == SQLITE_DONE)
        return failed;
    if (rc != SQLITE_ROW)
        return rqci_sqlite_err(f->db, rc, e->table, err);
    if (!real) {
        rqci_logf(log, RQCI_WARN, "%s is not an ordinary table: it is not mirrored", e->table);
        return RQC_OK;
    }
    failed = read_columns(f, e, with_rowid, t, err);
    if (!failed)
        failed = rqci_db_bind_text(f->unique, 1, e->table, err);
    if (failed)
        return failed;
    rc = sqlite3_step(f->unique);
    t->there = (t->columns & 1u) && rc == SQLITE_ROW && sqlite3_column_int(f->unique, 0) > 0;
    sqlite3_reset(f->unique);
    if (rc != SQLITE_ROW)
        return rqci_sqlite_err(f->db, rc, e->table, err);
    if (!t->there)
        rqci_logf(log, RQCI_WARN, "%s has no column id that is unique: it is not mirrored",
                  e->table);
    return RQC_OK;
}

rqc_err rqci_shape_read(sqlite3 *db, const rqci_log *log, rqci_shape *ret_shape, rqci_errbuf *err)
{
    rqci_shape shape;
    memset(&shape, 0, sizeof shape);
    finder f = {.db = db};
    rqc_err e = rqci_db_int(db, "PRAGMA schema_version", &shape.version, err);
    if (!e)
        e = finder_open(&f, err);
    for (unsigned code = 1; !e && code <= RQCI_ENTITY_MAX; code++)
        e = read_table(&f, rqci_entity_of(code), log, &shape.t[code], err);
    finder_close(&f);
    if (!e)
        *ret_shape = shape;
    return e;
}

// SPDX-License-Identifier: Apache-2.0
// schema.sql and the description of the entities say the same, and the constraints do what they
// should, tried through a foreign connection.
#include "tests/store_fixture.h"

static sqlite3 *made(const char *name)
{
    char path[FIX_PATH];
    fix_path(path, "%s", name);
    rqci_store_close(fix_open(path));
    return fix_foreign(path);
}

// ---- The description ----------------------------------------------------------------------------

static bool type_fits(rqci_ftype type, const char *declared)
{
    static const char *const names[][6] = {
        [RQCI_T_ID] = {"BLOB"},      [RQCI_T_TEXT] = {"TEXT"},
        [RQCI_T_BYTES] = {"BLOB"},   [RQCI_T_INT] = {"BIGINT", "INT", "INT8", "INT32"},
        [RQCI_T_BOOL] = {"BOOLEAN"}, [RQCI_T_REAL] = {"REAL"},
        [RQCI_T_ANY] = {"DATETIME"},
    };
    for (int i = 0; i < 6 && names[type][i]; i++) {
        if (strcmp(names[type][i], declared) == 0)
            return true;
    }
    return false;
}

static bool default_fits(rqci_default def, const char *sql)
{
    static const char *const texts[] = {
        [RQCI_D_NONE] = "",  [RQCI_D_NOW] = "unixepoch()", [RQCI_D_EMPTY] = "''",
        [RQCI_D_ZERO] = "0", [RQCI_D_TRUE] = "TRUE",       [RQCI_D_TWO] = "2",
    };
    if (def == RQCI_D_NONE)
        return sql[0] == '\0' || strcmp(sql, "NULL") == 0;
    return strcmp(sql, texts[def]) == 0 || (def == RQCI_D_ZERO && strcmp(sql, "FALSE") == 0);
}

// The first difference, "" when there is none. Columns in order, none more, none less.
static const char *compare_table(sqlite3 *db, const rqci_entity *e)
{
    static char wrong[256];
    wrong[0] = '\0';
    sqlite3_stmt *st = NULL;
    sqlite3_prepare_v2(db,
                       "SELECT name, type, \"notnull\", coalesce(dflt_value, ''), pk FROM "
                       "pragma_table_info(?1) ORDER BY cid",
                       -1, &st, NULL);
    sqlite3_bind_text(st, 1, e->table, -1, SQLITE_STATIC);
    int i = 0;
    for (; sqlite3_step(st) == SQLITE_ROW && !wrong[0]; i++) {
        const char *name = (const char *)sqlite3_column_text(st, 0),
                   *type = (const char *)sqlite3_column_text(st, 1);
        const bool not_null = sqlite3_column_int(st, 2), key = sqlite3_column_int(st, 4);
        const char *def = (const char *)sqlite3_column_text(st, 3);
        if (i >= e->nfields) {
            snprintf(wrong, sizeof wrong, "column %s is not described", name);
            break;
        }
        const rqci_field *f = &e->fields[i];
        if (strcmp(name, f->name) != 0)
            snprintf(wrong, sizeof wrong, "column %d is %s, described is %s", i, name, f->name);
        else if (!type_fits(f->type, type))
            snprintf(wrong, sizeof wrong, "%s has type %s", name, type);
        else if (not_null == f->null)
            snprintf(wrong, sizeof wrong, "%s: NULL", name);
        else if (!default_fits(f->def, def))
            snprintf(wrong, sizeof wrong, "%s has default %s", name, def);
        else if (key != (f->role == RQCI_R_KEY))
            snprintf(wrong, sizeof wrong, "%s: key", name);
    }
    if (!wrong[0] && i != e->nfields)
        snprintf(wrong, sizeof wrong, "%d columns, %d described", i, e->nfields);
    sqlite3_finalize(st);
    return wrong;
}

// "table(from) action" of the reference of a column, "" without one.
static const char *reference(sqlite3 *db, const char *table, const char *column)
{
    const char *t = fix_text(db,
                             "SELECT \"table\" || '(' || \"to\" || ') ' || on_delete FROM "
                             "pragma_foreign_key_list(%Q) WHERE \"from\" = %Q",
                             table, column);
    return strcmp(t, "(none)") == 0 ? "" : t;
}

static void test_description(void)
{
    sqlite3 *db = made("description.db");
    for (unsigned code = 1; code <= RQCI_ENTITY_MAX; code++) {
        const rqci_entity *e = rqci_entity_of(code);
        is(compare_table(db, e), "", "%s is as it is described", e->table);
        char want[128];
        if (e->owner >= 0) {
            snprintf(want, sizeof want, "%s(id) CASCADE", rqci_entity_of(e->owner_code)->table);
            is(reference(db, e->table, e->fields[e->owner].name), want, "%s goes with its owner",
               e->table);
        }
        if (e->parent >= 0) {
            snprintf(want, sizeof want, "%s(id) CASCADE", e->table);
            is(reference(db, e->table, e->fields[e->parent].name), want,
               "%s goes with what it overrides", e->table);
        }
    }
    is(fix_int(db, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT IN"
                   " ('users', 'workspaces_users', 'change_log', 'reqcast_meta', 'reqcast_keys',"
                   " 'reqcast_terms')"),
       RQCI_ENTITY_MAX, "no other tables");
    static const char *const more[][3] = {{"files", "parent_id", "files(id) SET NULL"},
                                          {"http", "folder_id", "files(id) SET NULL"},
                                          {"http_version", "created_by", "users(id) SET NULL"},
                                          {"workspaces_users", "workspace_id",
                                           "workspaces(id) CASCADE"},
                                          {"workspaces_users", "user_id", "users(id) CASCADE"},
                                          {"files", "content_id", ""}};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        is(reference(db, more[i][0], more[i][1]), more[i][2], "reference of %s.%s", more[i][0],
           more[i][1]);
    sqlite3_close(db);
}

static void test_indexes(void)
{
    sqlite3 *db = made("indexes.db");
    static const char *const streaming[][2] = {
        {"http_workspace_streaming_idx", "http: workspace_id, updated_at DESC"},
        {"http_delta_resolution_idx", "http: parent_http_id, is_delta, updated_at DESC"},
        {"http_workspace_method_streaming_idx", "http: workspace_id, method, updated_at DESC"},
        {"http_active_streaming_idx", "http: workspace_id, updated_at DESC, partial"},
        {"http_header_streaming_idx", "http_header: http_id, enabled, updated_at DESC, partial"},
        {"http_search_param_streaming_idx",
         "http_search_param: http_id, enabled, updated_at DESC, partial"},
    };
    for (size_t i = 0; i < sizeof streaming / sizeof *streaming; i++)
        is(fix_text(db,
                    "SELECT m.tbl_name || ': ' || (SELECT group_concat(name || iif(\"desc\", ' "
                    "DESC', ''), ', ') FROM pragma_index_xinfo(m.name) WHERE key)"
                    " || iif(l.partial, ', partial', '') FROM sqlite_master AS m, "
                    "pragma_index_list(m.tbl_name) AS l WHERE m.name = %Q AND l.name = m.name",
                    streaming[i][0]),
           streaming[i][1], "%s", streaming[i][0]);
    is(fix_text(db, "SELECT group_concat(m.name || ' ' || l.name) FROM sqlite_master AS m, "
                    "pragma_index_list(m.name) AS l"
                    " WHERE m.type = 'table' AND l.\"unique\" AND l.origin = 'c'"),
       "files files_path_hash_idx", "one unique index that is no constraint");
    // Every column that a cascade looks up has an index that it can use.
    is(fix_text(db,
                "SELECT group_concat(m.name || '.' || f.\"from\") FROM sqlite_master AS m, "
                "pragma_foreign_key_list(m.name) AS f"
                " WHERE m.type = 'table' AND m.name <> 'workspaces_users' AND NOT EXISTS (SELECT 1 "
                "FROM pragma_index_list(m.name) AS l, sqlite_master AS i"
                " WHERE i.name = l.name AND (SELECT name FROM pragma_index_info(l.name) WHERE "
                "seqno = 0) = f.\"from\""
                " AND (NOT l.partial OR i.sql LIKE '%%WHERE ' || f.\"from\" || ' IS NOT NULL%%'))"),
       "", "no cascade scans a table");
    // The statements may be run again.
    size_t n;
    char path[FIX_PATH];
    snprintf(path, sizeof path, "%s/persist/schema.sql",
             getenv("RQC_SOURCE_ROOT") ? getenv("RQC_SOURCE_ROOT") : ".");
    char *sql = fix_read(path, &n);
    ok(sql && sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "schema.sql twice");
    free(sql);
    sqlite3_close(db);
}

// ---- Constraints --------------------------------------------------------------------------------

static void test_constraints(void)
{
    sqlite3 *db = made("constraints.db");
    fix_exec(db, "PRAGMA foreign_keys = ON");
    fix_exec(db, "CREATE TEMP TABLE i AS SELECT CAST(zeroblob(15) || x'01' AS BLOB) AS a, "
                 "CAST(zeroblob(15) || x'02' AS BLOB) AS b,"
                 " CAST(zeroblob(15) || x'03' AS BLOB) AS c");
    fix_exec(
        db,
        "INSERT INTO workspaces (id, name) SELECT a, 'w' FROM i; INSERT INTO workspaces (id, name) "
        "SELECT b, 'x' FROM i;"
        "INSERT INTO users (id, email) SELECT a, 'e' FROM i;"
        "INSERT INTO http (id, workspace_id, name, url, method) SELECT a, a, '', '', '' FROM i");
    static const struct {
        const char *sql, *what;
        bool accept;
    } list[] = {
        {"INSERT INTO http (id, workspace_id, name, url, method, is_delta) SELECT b, a, '', '', "
         "'', TRUE FROM i",
         "delta without parent", false},
        {"INSERT INTO http (id, workspace_id, name, url, method, is_delta, is_snapshot, "
         "parent_http_id) SELECT b, a, '', '', '', TRUE, TRUE, a FROM i",
         "delta and snapshot at once", false},
        {"INSERT INTO http (id, workspace_id, name, url, method, is_delta, parent_http_id) SELECT "
         "b, a, '', '', '', TRUE, a FROM i",
         "delta", true},
        {"INSERT INTO http (id, workspace_id, name, url, method, is_delta, parent_http_id) SELECT "
         "c, a, '', '', '', TRUE, b FROM i",
         "delta of a delta", true},
        {"INSERT INTO http (id, workspace_id, name, url, method) SELECT a, a, '', '', '' FROM i",
         "the same id", false},
        {"INSERT INTO http (id, workspace_id, name, url, method) SELECT x'0102', c, '', '', '' "
         "FROM i",
         "unknown workspace", false},
        {"INSERT INTO http (id, workspace_id, name, url, method) SELECT x'0102', a, '', '', '' "
         "FROM i",
         "an id of another length", true},
        {"INSERT INTO http_header (id, http_id, header_key, header_value, is_delta) SELECT a, a, "
         "'', '', TRUE FROM i",
         "header override without parent", false},
        {"INSERT INTO http_search_param (id, http_id, key, value, is_delta) SELECT a, a, '', '', "
         "TRUE FROM i",
         "parameter override without parent", true},
        {"INSERT INTO http_body_form (id, http_id, key, value, is_delta) SELECT a, a, '', '', TRUE "
         "FROM i",
         "form override without parent", true},
        {"INSERT INTO http_body_urlencoded (id, http_id, key, value, is_delta) SELECT a, a, '', "
         "'', TRUE FROM i",
         "urlencoded override without parent", false},
        {"INSERT INTO http_assert (id, http_id, value, is_delta) SELECT a, a, '', TRUE FROM i",
         "assert override without parent", false},
        {"INSERT INTO http_body_raw (id, http_id, is_delta) SELECT a, a, TRUE FROM i",
         "raw body override without parent", false},
        {"INSERT INTO http_body_raw (id, http_id) SELECT a, a FROM i", "raw body", true},
        {"INSERT INTO http_body_raw (id, http_id) SELECT b, a FROM i", "second raw body", false},
        {"INSERT INTO http_version (id, http_id, version_name) SELECT a, a, 'v1' FROM i", "version",
         true},
        {"INSERT INTO http_version (id, http_id, version_name) SELECT b, a, 'v1' FROM i",
         "the same version name", false},
        {"INSERT INTO files (id, workspace_id, name, path_hash) SELECT a, a, '', 'p' FROM i",
         "file", true},
        {"INSERT INTO files (id, workspace_id, name, path_hash) SELECT b, a, '', 'p' FROM i",
         "the same path", false},
        {"INSERT INTO files (id, workspace_id, name, path_hash) SELECT b, b, '', 'p' FROM i",
         "the same path in another workspace", true},
        {"INSERT INTO files (id, workspace_id, name, content_kind) SELECT c, a, '', 8 FROM i",
         "unknown content kind", false},
        {"INSERT INTO files (id, workspace_id, name) SELECT zeroblob(15), a, '' FROM i",
         "file id of 15 bytes", false},
        {"INSERT INTO workspaces_users (id, workspace_id, user_id, role) SELECT a, a, a, 4 FROM i",
         "unknown role", false},
        {"INSERT INTO workspaces_users (id, workspace_id, user_id, role) SELECT zeroblob(15), a, "
         "a, 3 FROM i",
         "member id of 15 bytes", false},
        {"INSERT INTO workspaces_users (id, workspace_id, user_id, role) SELECT a, a, a, 3 FROM i",
         "member", true},
        {"INSERT INTO workspaces_users (id, workspace_id, user_id, role) SELECT b, a, a, 1 FROM i",
         "the same member", false},
        {"INSERT INTO http_response_assert (id, response_id, value, success) SELECT a, a, '', TRUE "
         "FROM i",
         "unknown response", false},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        is(fix_try(db, "%s", list[i].sql) == SQLITE_OK, list[i].accept, "%s: %s",
           list[i].accept ? "accepted" : "refused", list[i].what);
    sqlite3_close(db);
}

int main(void)
{
    fix_begin();
    test_description();
    test_indexes();
    test_constraints();
    return tap_done();
}

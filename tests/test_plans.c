// SPDX-License-Identifier: Apache-2.0
// No statement of ours walks through a table, but for those that are meant to. The statements are
// those that SQLite runs while a database is used in every way; SQLite says how it runs them.
#include "api/reqcast.h"
#include "tests/store_fixture.h"

#include <ctype.h>

#define STATEMENTS 512

static char *statements[STATEMENTS];
static unsigned nstatements;
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static char path[FIX_PATH], views[FIX_PATH];

// ---- Listening ----------------------------------------------------------------------------------

static int note(unsigned type, void *ctx, void *p, void *x)
{
    (void)type;
    (void)ctx;
    const char *sql = sqlite3_sql(p);
    if (!sql || strncmp(x, "--", 2) == 0)
        return 0;
    pthread_mutex_lock(&mu);
    unsigned i = 0;
    while (i < nstatements && strcmp(statements[i], sql) != 0)
        i++;
    if (i == nstatements && nstatements < STATEMENTS)
        statements[nstatements++] = strdup(sql);
    pthread_mutex_unlock(&mu);
    return 0;
}

static int listen_to(sqlite3 *db, const char **error, const void *api)
{
    (void)error;
    (void)api;
    return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, note, NULL);
}

// ---- Using --------------------------------------------------------------------------------------

static void fill_row(const rqci_entity *e, rqc_value *row)
{
    for (int i = 1; i < e->nfields; i++) {
        const rqci_field *f = &e->fields[i];
        row[i] = i == e->owner            ? rqc_id(fix_id(e->owner_code, 1))
                 : f->null || f->def      ? (rqc_value){0}
                 : f->type == RQCI_T_TEXT ? rqc_text("text")
                 : f->type == RQCI_T_BOOL ? rqc_bool(0)
                                          : rqc_int(1);
    }
}

static void commit(rqc_txn *t, rqc_err want, const char *what)
{
    rqc_result r;
    is(rqc_commit(t, &r), want, "%s: %s", what, rqc_txn_error(t));
}

static void write_all(rqc_db *db)
{
    rqc_txn *t;
    rqc_value row[RQC_FIELD_MAX] = {{0}};
    if (rqc_txn_new(db, &t, NULL))
        bail("txn");
    for (unsigned code = RQCI_ENTITY_MAX; code >= 1; code--) { // children first
        fill_row(rqci_entity_of(code), row);
        if (rqc_put(t, (rqc_entity)code, fix_id((uint8_t)code, 1), row) != RQC_OK)
            bail("put: %s", rqc_txn_error(t));
    }
    commit(t, RQC_OK, "puts");
    for (unsigned code = 1; code <= RQCI_ENTITY_MAX; code++) {
        fill_row(rqci_entity_of(code), row);
        rqc_add(t, (rqc_entity)code, fix_id((uint8_t)code, 1), row);
        rqc_patch(t, (rqc_entity)code, fix_id((uint8_t)code, 1), row, 100000);
    }
    commit(t, RQC_OK, "adds and patches");
    static char large[RQC_LARGE_BYTES + 1];
    memset(large, 'x', sizeof large);
    memset(row, 0, sizeof row);
    row[RQC_HTTP_RESPONSE_BODY] = rqc_bytes(large, sizeof large);
    rqc_patch(t, RQC_HTTP_RESPONSE, fix_id(RQC_HTTP_RESPONSE, 1), row, 0);
    commit(t, RQC_OK, "a large value");
    for (unsigned code = RQCI_ENTITY_MAX; code >= 1; code--)
        rqc_delete(t, (rqc_entity)code, fix_id((uint8_t)code, 1), 0);
    commit(t, RQC_OK, "deletes");
    rqc_txn_free(t);
}

static void use(void)
{
    rqc_options o = RQC_OPTIONS_INIT;
    rqc_error e = {RQC_OK, ""};
    o.create = 1;
    o.retain = 8;
    o.view_dir = views;
    char copy[FIX_PATH];
    for (int round = 0; round < 2; round++) {
        rqc_db *db = NULL;
        if (rqc_open(path, &o, &db, &e))
            bail("open: %s", e.text);
        write_all(db);
        rqc_verified v;
        rqc_stats s = {.size = sizeof s};
        is(rqc_sync(db, &e), RQC_OK, "sync");
        is(rqc_verify(db, 0, NULL, NULL, &v, &e), RQC_OK, "verify");
        is(rqc_stats_read(db, &s, &e), RQC_OK, "stats");
        is(rqc_backup(db, fix_path(copy, "copy%d.db", round), 0, NULL, NULL, NULL, &e), RQC_OK,
           "backup");
        usleep(1500000); // compaction comes by itself, once a second
        rqc_close(db);
    }
}

// ---- Looking ------------------------------------------------------------------------------------

// What may be walked through: whole tables for views and checks, facts of a few rows, and the
// schema.
static bool meant(const char *sql)
{
    static const char *const parts[] = {"FROM reqcast_meta", "sqlite_master", "pragma_",
                                        "SELECT count(*) FROM ", "sqlite_schema"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strstr(sql, parts[i]))
            return true;
    }
    const size_t n = strlen(sql);
    return n > 11 && strncmp(sql, "SELECT ", 7) == 0 && strcmp(sql + n - 11, "ORDER BY id") == 0 &&
           !strstr(sql, "WHERE");
}

// The step that is a walk, "" when there is none.
static const char *walk(sqlite3 *db, const char *sql)
{
    static char found[512];
    found[0] = '\0';
    char *explain = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sql);
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(db, explain, -1, &st, NULL) != SQLITE_OK)
        snprintf(found, sizeof found, "%s", sqlite3_errmsg(db));
    while (!found[0] && sqlite3_step(st) == SQLITE_ROW) {
        const char *step = (const char *)sqlite3_column_text(st, 3);
        if (strncmp(step, "SCAN ", 5) == 0 && !strstr(step, "CONSTANT ROW"))
            snprintf(found, sizeof found, "%s", step);
    }
    sqlite3_finalize(st);
    sqlite3_free(explain);
    return found;
}

static bool reads_rows(const char *sql)
{
    return strncmp(sql, "SELECT", 6) == 0 || strncmp(sql, "INSERT", 6) == 0 ||
           strncmp(sql, "UPDATE", 6) == 0 || strncmp(sql, "DELETE", 6) == 0;
}

static void test_statements(sqlite3 *db)
{
    unsigned looked = 0, allowed = 0;
    bool seen[4] = {false};
    static const char *const must[4] = {"INSERT OR FAIL INTO \"http\"", "UPDATE OR FAIL \"http\"",
                                        "DELETE FROM change_log", "SELECT CASE WHEN 0"};
    for (unsigned i = 0; i < nstatements; i++) {
        const char *sql = statements[i];
        for (int k = 0; k < 4; k++)
            seen[k] = seen[k] || strncmp(sql, must[k], strlen(must[k])) == 0;
        if (!reads_rows(sql))
            continue;
        if (meant(sql)) {
            allowed++;
            continue;
        }
        looked++;
        is(walk(db, sql), "", "%.150s", sql);
    }
    for (int k = 0; k < 4; k++)
        ok(seen[k], "seen: %s", must[k]);
    ok(looked > 60 && allowed > 5 && nstatements < STATEMENTS, "%u of %u statements were looked at",
       looked, nstatements);
}

// A body's statements with parameters in the place of NEW and OLD.
static void test_trigger(sqlite3 *db, const char *name, const char *sql)
{
    char text[8192];
    size_t n = 0;
    const char *c = strstr(sql, " BEGIN ") + 7;
    unsigned count = 0;
    for (; *c && strcmp(c, "END") != 0 && n < sizeof text - 2; c++) {
        if (strncmp(c, "NEW.", 4) == 0 || strncmp(c, "OLD.", 4) == 0) {
            c += 4;
            if (*c == '"')
                c = strchr(c + 1, '"');
            else
                while (isalnum((unsigned char)c[1]) || c[1] == '_')
                    c++;
            text[n++] = '?';
            continue;
        }
        text[n++] = *c;
        if (*c != ';')
            continue;
        text[n - 1] = '\0';
        count++;
        is(walk(db, text), "", "%s: %.120s", name, text);
        n = 0;
        c += c[1] == ' ';
    }
    ok(count > 0, "%s has statements", name);
}

static void test_triggers(sqlite3 *db)
{
    sqlite3_stmt *st = NULL;
    unsigned n = 0;
    sqlite3_prepare_v2(db,
                       "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE "
                       "'reqcast%'",
                       -1, &st, NULL);
    for (; sqlite3_step(st) == SQLITE_ROW; n++)
        test_trigger(db, (const char *)sqlite3_column_text(st, 0),
                     (const char *)sqlite3_column_text(st, 1));
    sqlite3_finalize(st);
    is(n, 5u * RQCI_ENTITY_MAX, "all triggers were looked at");
}

// Cascades, and parents that come after their children, look for the children. Members of a
// workspace are looked for by user only when a user is deleted, which is not ours to do.
static void test_references(sqlite3 *db)
{
    sqlite3_stmt *st = NULL;
    unsigned n = 0;
    sqlite3_prepare_v2(db,
                       "SELECT m.name, f.\"from\" FROM sqlite_master AS m,"
                       " pragma_foreign_key_list(m.name) AS f WHERE m.type = 'table'"
                       " AND NOT (m.name = 'workspaces_users' AND f.\"from\" = 'user_id')",
                       -1, &st, NULL);
    for (; sqlite3_step(st) == SQLITE_ROW; n++) {
        char sql[256];
        snprintf(sql, sizeof sql, "SELECT rowid FROM \"%s\" WHERE \"%s\" = ?",
                 (const char *)sqlite3_column_text(st, 0),
                 (const char *)sqlite3_column_text(st, 1));
        is(walk(db, sql), "", "%s", sql);
    }
    sqlite3_finalize(st);
    ok(n > 20, "%u references", n);
}

int main(void)
{
    fix_begin();
    fix_path(path, "plans.db");
    if (mkdir(fix_path(views, "views"), 0700) != 0)
        bail("mkdir");
    if (sqlite3_auto_extension((void (*)(void))listen_to) != SQLITE_OK)
        bail("auto_extension");
    use();
    sqlite3_reset_auto_extension();
    sqlite3 *db = fix_foreign(path);
    test_statements(db);
    test_triggers(db);
    test_references(db);
    ok(walk(db, "SELECT * FROM http WHERE url = 'x'")[0] != '\0', "a walk is seen");
    sqlite3_close(db);
    for (unsigned i = 0; i < nstatements; i++)
        free(statements[i]);
    return tap_done();
}

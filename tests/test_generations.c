// SPDX-License-Identifier: Apache-2.0
// Databases as the application had them over time: each is opened, mirrored under today's names,
// and written by both sides. And older versions of our own tables.
#include "api/reqcast.h"
#include "persist/internal.h"
#include "record/record.h"
#include "tests/store_fixture.h"

// 1: 2025-11-03 (linked lists, names with a prefix) · 2: later that day ("order", responses' rows
// hang on requests) · 3: 2025-11-22 · 4: 2025-11-27 · 5: 2025-12-03 · 6: 2025-12-15 · 7: 2025-12-22
// · 8: 2026-02-09, today's names
#define GENERATIONS 8

// Up to this generation the column has this name, or is missing (NULL).
static const struct rule {
    uint8_t entity, field;
    int until;
    const char *name;
} rules[] = {
    {RQC_WORKSPACES, RQC_WORKSPACES_DISPLAY_ORDER, 5, NULL},
    {RQC_FILES, RQC_FILES_PARENT_ID, 3, "folder_id"},
    {RQC_FILES, RQC_FILES_PATH_HASH, 6, NULL},
    {RQC_HTTP, RQC_HTTP_BODY_KIND, 2, NULL},
    {RQC_HTTP, RQC_HTTP_DELTA_BODY_KIND, 2, NULL},
    {RQC_HTTP, RQC_HTTP_LAST_RUN_AT, 2, NULL},
    {RQC_HTTP, RQC_HTTP_CONTENT_HASH, 6, NULL},
    {RQC_HTTP, RQC_HTTP_IS_SNAPSHOT, 7, NULL},
    {RQC_HTTP_HEADER, RQC_HTTP_HEADER_DISPLAY_ORDER, 4, NULL},
    {RQC_HTTP_HEADER, RQC_HTTP_HEADER_DELTA_DISPLAY_ORDER, 4, NULL},
#define PAIRS(E, P, PARENT)                                                           \
    {RQC_##E, RQC_##E##_KEY, 1, P "_key"}, {RQC_##E, RQC_##E##_VALUE, 1, P "_value"}, \
        {RQC_##E, RQC_##E##_DELTA_KEY, 1, "delta_" P "_key"},                         \
        {RQC_##E, RQC_##E##_DELTA_VALUE, 1, "delta_" P "_value"},                     \
    {                                                                                 \
        RQC_##E, RQC_##E##_PARENT_##E##_ID, 1, "parent_" PARENT "_id"                 \
    }
#define ORDERS(E)                                                                                \
    {RQC_##E, RQC_##E##_DISPLAY_ORDER, 1, NULL}, {RQC_##E, RQC_##E##_DISPLAY_ORDER, 5, "order"}, \
        {RQC_##E, RQC_##E##_DELTA_DISPLAY_ORDER, 1, NULL},                                       \
    {                                                                                            \
        RQC_##E, RQC_##E##_DELTA_DISPLAY_ORDER, 5, "delta_order"                                 \
    }
    PAIRS(HTTP_SEARCH_PARAM, "param", "search_param"),
    ORDERS(HTTP_SEARCH_PARAM),
    PAIRS(HTTP_BODY_FORM, "form", "body_form"),
    ORDERS(HTTP_BODY_FORM),
    PAIRS(HTTP_BODY_URLENCODED, "urlencoded", "body_urlencoded"),
    ORDERS(HTTP_BODY_URLENCODED),
    ORDERS(HTTP_ASSERT),
    {RQC_HTTP_ASSERT, RQC_HTTP_ASSERT_VALUE, 1, "assert_expression"},
    {RQC_HTTP_ASSERT, RQC_HTTP_ASSERT_DESCRIPTION, 1, "assert_description"},
    {RQC_HTTP_ASSERT, RQC_HTTP_ASSERT_DELTA_VALUE, 1, "delta_assert_expression"},
    {RQC_HTTP_ASSERT, RQC_HTTP_ASSERT_DELTA_DESCRIPTION, 1, "delta_assert_description"},
    {RQC_HTTP_ASSERT, RQC_HTTP_ASSERT_PARENT_HTTP_ASSERT_ID, 1, "parent_assert_id"},
    {RQC_HTTP_RESPONSE, RQC_HTTP_RESPONSE_STATUS, 1, "status_code"},
    {RQC_HTTP_RESPONSE, RQC_HTTP_RESPONSE_BODY, 1, "response_body"},
    {RQC_HTTP_RESPONSE, RQC_HTTP_RESPONSE_TIME, 1, "executed_at"},
    {RQC_HTTP_RESPONSE, RQC_HTTP_RESPONSE_DURATION, 1, "response_time_ms"},
    {RQC_HTTP_RESPONSE, RQC_HTTP_RESPONSE_SIZE, 1, "response_size_bytes"},
    {RQC_HTTP_RESPONSE, RQC_HTTP_RESPONSE_CREATED_AT, 1, NULL},
    {RQC_HTTP_RESPONSE_HEADER, RQC_HTTP_RESPONSE_HEADER_KEY, 1, "header_key"},
    {RQC_HTTP_RESPONSE_HEADER, RQC_HTTP_RESPONSE_HEADER_VALUE, 1, "header_value"},
    {RQC_HTTP_RESPONSE_HEADER, RQC_HTTP_RESPONSE_HEADER_CREATED_AT, 1, NULL},
};

// Columns that today's tables do not have.
static const struct {
    uint8_t entity;
    int from, until;
    const char *column;
} extras[] = {
    {RQC_WORKSPACES, 1, 5, "prev BLOB, next BLOB"},
    {RQC_HTTP_HEADER, 1, 4, "prev BLOB, next BLOB"},
    {RQC_HTTP_SEARCH_PARAM, 1, 1, "prev BLOB, next BLOB"},
    {RQC_HTTP_ASSERT, 2, 4, "key TEXT NOT NULL, delta_key TEXT"},
    {RQC_HTTP_BODY_RAW, 1, 5, "content_type TEXT NOT NULL DEFAULT ''"},
    {RQC_HTTP_RESPONSE, 1, 1, "response_compression_type INT8 NOT NULL DEFAULT 0"},
    {RQC_HTTP_RESPONSE_HEADER, 2, 2,
     "http_id BLOB NOT NULL REFERENCES http (id) ON DELETE CASCADE"},
    {RQC_HTTP_RESPONSE_ASSERT, 2, 2,
     "http_id BLOB NOT NULL REFERENCES http (id) ON DELETE CASCADE"},
    {RQC_WORKSPACES, 8, 8, "sync_path TEXT, sync_enabled BOOLEAN NOT NULL DEFAULT FALSE"},
};

static bool has_table(int g, unsigned entity)
{
    return g > 1 || entity != RQC_HTTP_RESPONSE_ASSERT;
}

// NULL: missing.
static const char *column(int g, const rqci_entity *e, int field)
{
    if (g == 2 && e->owner == field && e->owner_code == RQC_HTTP_RESPONSE)
        return NULL;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (rules[i].entity == e->code && rules[i].field == field && g <= rules[i].until)
            return rules[i].name;
    }
    return e->fields[field].name;
}

// ---- Making one ---------------------------------------------------------------------------------

static const char *const types[] = {
    [RQCI_T_ID] = "BLOB",     [RQCI_T_TEXT] = "TEXT",    [RQCI_T_BYTES] = "BLOB",
    [RQCI_T_INT] = "INT",     [RQCI_T_BOOL] = "BOOLEAN", [RQCI_T_REAL] = "REAL",
    [RQCI_T_ANY] = "DATETIME"};
static const char *const defaults[] = {
    [RQCI_D_NONE] = "",           [RQCI_D_NOW] = " DEFAULT 7",     [RQCI_D_EMPTY] = " DEFAULT ''",
    [RQCI_D_ZERO] = " DEFAULT 0", [RQCI_D_TRUE] = " DEFAULT TRUE", [RQCI_D_TWO] = " DEFAULT 2"};

static void make_table(sqlite3 *db, int g, const rqci_entity *e)
{
    char sql[4096];
    int n = snprintf(sql, sizeof sql, "CREATE TABLE %s (id BLOB NOT NULL PRIMARY KEY", e->table);
    for (int i = 1; i < e->nfields; i++) {
        const rqci_field *f = &e->fields[i];
        if (!column(g, e, i))
            continue;
        n += snprintf(sql + n, sizeof sql - (size_t)n, ", \"%s\" %s%s%s", column(g, e, i),
                      types[f->type], f->null ? "" : " NOT NULL", defaults[f->def]);
        if (i == e->owner || i == e->parent)
            n += snprintf(sql + n, sizeof sql - (size_t)n, " REFERENCES %s (id) ON DELETE CASCADE",
                          i == e->owner ? rqci_entity_of(e->owner_code)->table : e->table);
    }
    for (size_t i = 0; i < sizeof extras / sizeof *extras; i++) {
        if (extras[i].entity == e->code && g >= extras[i].from && g <= extras[i].until)
            n += snprintf(sql + n, sizeof sql - (size_t)n, ", %s", extras[i].column);
    }
    fix_exec(db, "%s)", sql);
}

// A value of a field that a test can foresee; `salt` makes another one.
static rqc_value sample(const rqci_entity *e, int field, int salt)
{
    static char ring[64][40];
    static unsigned at;
    const rqci_field *f = &e->fields[field];
    char *text = ring[at++ % 64];
    snprintf(text, 40, "%s %d", f->name, salt);
    if (field == e->owner)
        return rqc_id(fix_id(e->owner_code, 1));
    switch (f->type) {
    case RQCI_T_ID: return rqc_null();
    case RQCI_T_TEXT: return rqc_text(text);
    case RQCI_T_BYTES: return rqc_bytes(text, (uint32_t)strlen(text));
    case RQCI_T_REAL: return rqc_real(field + 0.5 + salt);
    case RQCI_T_BOOL: return rqc_bool(f->role == RQCI_R_ENABLED);
    case RQCI_T_ANY: return rqc_int(1760000000 + salt);
    case RQCI_T_INT: return rqc_int(e->code == RQC_FILES && !f->def ? 0 : field % 8 + salt % 2);
    }
    return rqc_null();
}

static void bind_sample(sqlite3_stmt *st, int at, const rqc_value *v)
{
    switch (v->type) {
    case RQC_TEXT: sqlite3_bind_text(st, at, v->p, (int)v->n, SQLITE_TRANSIENT); break;
    case RQC_BYTES:
    case RQC_ID: sqlite3_bind_blob(st, at, v->p, (int)v->n, SQLITE_TRANSIENT); break;
    case RQC_REAL: sqlite3_bind_double(st, at, v->u.d); break;
    case RQC_INT:
    case RQC_BOOL: sqlite3_bind_int64(st, at, v->u.i); break;
    default: sqlite3_bind_null(st, at); break;
    }
}

static void foreign_insert(sqlite3 *db, int g, const rqci_entity *e, const uint8_t *id, int salt)
{
    char sql[4096], values[512] = "?1";
    int n = snprintf(sql, sizeof sql, "INSERT INTO %s (id", e->table);
    for (int i = 1; i < e->nfields; i++) {
        if (!column(g, e, i))
            continue;
        n += snprintf(sql + n, sizeof sql - (size_t)n, ", \"%s\"", column(g, e, i));
        snprintf(values + strlen(values), 16, ", ?%d", i + 1);
    }
    const bool key = e->code == RQC_HTTP_ASSERT && g >= 2 && g <= 4;
    const bool request = e->owner_code == RQC_HTTP_RESPONSE && g == 2;
    snprintf(sql + n, sizeof sql - (size_t)n, "%s%s) VALUES (%s%s%s)", key ? ", key" : "",
             request ? ", http_id" : "", values, key ? ", ''" : "",
             request ? ", (SELECT id FROM http)" : "");
    sqlite3_stmt *st;
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
        bail("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_bind_blob(st, 1, id, 16, SQLITE_TRANSIENT);
    for (int i = 1; i < e->nfields; i++) {
        const rqc_value v = sample(e, i, salt);
        if (column(g, e, i))
            bind_sample(st, i + 1, &v);
    }
    if (sqlite3_step(st) != SQLITE_DONE)
        bail("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_finalize(st);
}

static void make(int g, const char *path)
{
    sqlite3 *db = fix_foreign(path);
    fix_exec(db, "CREATE TABLE users (id BLOB PRIMARY KEY, email TEXT)");
    for (unsigned code = 1; code <= RQCI_ENTITY_MAX; code++) {
        if (has_table(g, code))
            make_table(db, g, rqci_entity_of(code));
    }
    for (unsigned code = 1; code <= RQCI_ENTITY_MAX; code++) {
        if (has_table(g, code))
            foreign_insert(db, g, rqci_entity_of(code), fix_id((uint8_t)code, 1), 0);
    }
    sqlite3_close(db);
}

// ---- Reading ------------------------------------------------------------------------------------

static bool same(const rqc_value *a, const rqc_value *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case RQC_TEXT:
    case RQC_BYTES: return a->n == b->n && memcmp(a->p, b->p, a->n) == 0;
    case RQC_ID: return memcmp(a->p, b->p, 16) == 0;
    case RQC_REAL: return a->u.d >= b->u.d && a->u.d <= b->u.d;
    case RQC_INT:
    case RQC_BOOL: return a->u.i == b->u.i;
    default: return true;
    }
}

// What a column that is missing reads as.
static rqc_value missing(const rqci_entity *e, int field)
{
    const rqci_field *f = &e->fields[field];
    if (f->null || f->type == RQCI_T_ID || (e->code == RQC_HTTP && field == RQC_HTTP_BODY_KIND))
        return rqc_null();
    return f->type == RQCI_T_REAL   ? rqc_real(0)
           : f->type == RQCI_T_BOOL ? rqc_bool(0)
           : f->type == RQCI_T_INT  ? rqc_int(0)
                                    : rqc_text("");
}

// The first field of the record that is not as it should be, "" when all are.
static const char *wrong_field(int g, const rqci_entity *e, const rqc_record *r, int salt)
{
    for (int i = 1; i < e->nfields; i++) {
        const rqc_value want = column(g, e, i) ? sample(e, i, salt) : missing(e, i);
        rqc_value got;
        rqci_rec_field(r, i, &got);
        if (!same(&want, &got))
            return e->fields[i].name;
    }
    return "";
}

static void check_records(rqci_store *s, int g, unsigned number, int salt, const char *what)
{
    rqci_source src;
    rqci_source_state state;
    rqci_buf buf = {0};
    rqci_store_source(s, &src);
    if (src.begin(src.ctx, &state, NULL))
        bail("source");
    for (unsigned code = 1; code <= RQCI_ENTITY_MAX; code++) {
        const rqci_entity *e = rqci_entity_of(code);
        buf.len = 0;
        const rqc_err rc =
            src.row(src.ctx, (uint8_t)code, fix_id((uint8_t)code, number), 0, &buf, NULL);
        const bool refused = g == 2 && e->owner_code == RQC_HTTP_RESPONSE && number > 1;
        if (!has_table(g, code) || refused)
            is(rc, RQC_NOT_FOUND, "generation %d: no %s %s", g, e->table, what);
        else if (is(rc, RQC_OK, "generation %d: %s %s", g, e->table, what))
            is(wrong_field(g, e, (const rqc_record *)(void *)buf.data, salt), "",
               "with its fields under today's names");
    }
    src.end(src.ctx);
    rqci_buf_free(&buf);
}

// ---- Writing ------------------------------------------------------------------------------------

static void full_row(const rqci_entity *e, rqc_value *row, int salt)
{
    row[0] = (rqc_value){0};
    for (int i = 1; i < e->nfields; i++)
        row[i] = sample(e, i, salt);
}

static void own_writes(rqci_store *s, int g)
{
    rqci_job j;
    rqc_value row[RQCI_FIELD_MAX];
    for (unsigned code = 1; code <= RQCI_ENTITY_MAX; code++) {
        const rqci_entity *e = rqci_entity_of(code);
        full_row(e, row, 3);
        if (code == RQC_HTTP && g <= 2)
            row[RQC_HTTP_LAST_RUN_AT] = rqc_null();
        const rqc_err rc =
            fix_one(s, RQCI_WRITE_PUT, (uint8_t)code, fix_id((uint8_t)code, 2), row, &j);
        if (!has_table(g, code) || (g == 2 && e->owner_code == RQC_HTTP_RESPONSE))
            is(rc, RQC_VERSION, "generation %d: %s cannot be written: %s", g, e->table,
               j.detail.text);
        else
            is(rc, RQC_OK, "generation %d: %s is written: %s", g, e->table, j.detail.text);
    }
    check_records(s, g, 2, 3, "of our own");
    // What would mean something else without its column is refused.
    const rqci_entity *http = rqci_entity_of(RQC_HTTP);
    full_row(http, row, 3);
    row[RQC_HTTP_IS_SNAPSHOT] = rqc_bool(1);
    is(fix_one(s, RQCI_WRITE_PUT, RQC_HTTP, fix_id(RQC_HTTP, 3), row, &j),
       g < 8 ? RQC_VERSION : RQC_OK, "generation %d: a snapshot: %s", g, j.detail.text);
    memset(row, 0, sizeof row);
    row[RQC_HTTP_SEARCH_PARAM_VALUE] = rqc_text("patched");
    row[RQC_HTTP_SEARCH_PARAM_DISPLAY_ORDER] = rqc_real(99);
    is(fix_one(s, RQCI_WRITE_PATCH, RQC_HTTP_SEARCH_PARAM, fix_id(RQC_HTTP_SEARCH_PARAM, 2), row,
               &j),
       RQC_OK, "generation %d: a patch: %s", g, j.detail.text);
    rqci_buf out = {0};
    is(rqci_store_value(s, RQC_HTTP_SEARCH_PARAM, fix_id(RQC_HTTP_SEARCH_PARAM, 2),
                        RQC_HTTP_SEARCH_PARAM_VALUE, &out, NULL),
       RQC_OK, "a single value");
    ok(out.len == 7 && memcmp(out.data, "patched", 7) == 0, "is what was patched");
    rqci_buf_free(&out);
}

static const char *schema_of(sqlite3 *db)
{
    return fix_text(db, "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_master WHERE"
                        " tbl_name NOT LIKE 'reqcast%%' AND tbl_name <> 'change_log' AND name NOT"
                        " LIKE 'reqcast%%' ORDER BY rowid)");
}

static void test_generation(int g)
{
    static char before[65536];
    char path[FIX_PATH];
    fix_path(path, "generation%d.db", g);
    make(g, path);
    sqlite3 *db = fix_foreign(path);
    snprintf(before, sizeof before, "%s", schema_of(db));
    rqci_store_options opt = fix_options();
    rqci_store *s = fix_open_with(path, &opt);
    fix_start(s);
    check_records(s, g, 1, 0, "of the application");
    own_writes(s, g);
    // The application goes on with its names.
    const rqci_entity *p = rqci_entity_of(RQC_HTTP_SEARCH_PARAM);
    const int64_t head = fix_int(db, "SELECT max(seq) FROM change_log");
    fix_exec(db, "UPDATE http_search_param SET \"%w\" = 'changed', updated_at = 5 WHERE id = %s",
             column(g, p, RQC_HTTP_SEARCH_PARAM_KEY), fix_hex(fix_id(RQC_HTTP_SEARCH_PARAM, 1)));
    is(fix_int(db, "SELECT count(*) FROM change_log WHERE seq > %lld AND entity = %d",
               (long long)head, RQC_HTTP_SEARCH_PARAM),
       1, "generation %d: a foreign update is captured", g);
    is(schema_of(db), before, "no table of the application was altered");
    sqlite3_close(db);
    rqci_store_close(s);
}

static void test_view(int g)
{
    char path[FIX_PATH], views[FIX_PATH];
    fix_path(path, "generation%d.db", g);
    mkdir(fix_path(views, "views"), 0700);
    rqc_options o = RQC_OPTIONS_INIT;
    o.view_dir = views;
    rqc_db *db = NULL;
    rqc_error e = {RQC_OK, ""};
    if (!is(rqc_open(path, &o, &db, &e), RQC_OK, "generation %d: a view: %s", g, e.text))
        return;
    rqc_verified v;
    is(rqc_verify(db, 0, NULL, NULL, &v, &e), RQC_OK, "verify");
    is(v.differences, 0u, "finds no difference in %llu records", (unsigned long long)v.records);
    // A cascade in the application.
    sqlite3 *foreign = fix_foreign(path);
    const int64_t head = fix_int(foreign, "SELECT max(seq) FROM change_log");
    fix_exec(foreign, "PRAGMA foreign_keys = ON; DELETE FROM http WHERE id = %s",
             fix_hex(fix_id(RQC_HTTP, 1)));
    ok(fix_int(foreign, "SELECT count(*) FROM change_log WHERE seq > %lld AND op = 3",
               (long long)head) > 10,
       "generation %d: a foreign cascade is captured", g);
    sqlite3_close(foreign);
    is(rqc_sync(db, &e), RQC_OK, "sync");
    is(rqc_verify(db, 0, NULL, NULL, &v, &e), RQC_OK, "verify");
    is(v.differences, 0u, "finds no difference in %llu records", (unsigned long long)v.records);
    rqc_close(db);
}

// A table that has both names: the newer one counts. When the older one is renamed away, a new term
// begins, for what its rows say may have changed.
static void test_rename(void)
{
    char path[FIX_PATH];
    fix_path(path, "generation1.db");
    sqlite3 *db = fix_foreign(path);
    rqci_store *s = fix_open(path);
    const uint32_t term = fix_stats(s).term;
    rqci_store_close(s);
    fix_exec(db, "ALTER TABLE files ADD COLUMN parent_id BLOB");
    s = fix_open(path);
    ok(fix_stats(s).term > term, "a migration of the application begins a new term");
    rqci_source src;
    rqci_source_state state;
    rqci_buf buf = {0};
    rqci_store_source(s, &src);
    src.begin(src.ctx, &state, NULL);
    is(src.row(src.ctx, RQC_FILES, fix_id(RQC_FILES, 1), 0, &buf, NULL), RQC_OK, "a file");
    src.end(src.ctx);
    rqci_store_close(s);
    fix_exec(db, "UPDATE files SET folder_id = %s, parent_id = %s WHERE id = %s",
             fix_hex(fix_id(2, 8)), fix_hex(fix_id(2, 9)), fix_hex(fix_id(2, 1)));
    s = fix_open(path);
    rqci_store_source(s, &src);
    src.begin(src.ctx, &state, NULL);
    buf.len = 0;
    src.row(src.ctx, RQC_FILES, fix_id(RQC_FILES, 1), 0, &buf, NULL);
    rqc_value v;
    rqci_rec_field((const rqc_record *)(void *)buf.data, RQC_FILES_PARENT_ID, &v);
    ok(v.type == RQC_ID && memcmp(v.p, fix_id(2, 9), 16) == 0, "the newer name counts");
    src.end(src.ctx);
    rqci_buf_free(&buf);
    sqlite3_close(db);
    rqci_store_close(s);
}

static void test_aliases(void)
{
    unsigned bad = 0;
    for (unsigned i = 0; i < RQCI_ALIASES; i++) {
        const rqci_alias *a = &rqci_aliases[i];
        const rqci_entity *e = rqci_entity_of(a->entity);
        bad += rqci_field_named(e, a->name, strlen(a->name)) >= 0;
        for (unsigned k = 0; k < i; k++)
            bad +=
                rqci_aliases[k].entity == a->entity && strcmp(rqci_aliases[k].name, a->name) == 0;
    }
    is(bad, 0u, "no older name stands for two columns");
}

// ---- Our own tables -----------------------------------------------------------------------------

// As version 1 left it.
static void test_version_1(void)
{
    char path[FIX_PATH];
    fix_path(path, "version1.db");
    rqci_store *s = fix_started(path);
    rqc_value w[RQCI_FIELD_MAX];
    rqci_job j;
    fix_workspace_row(w, "w");
    fix_one(s, RQCI_WRITE_PUT, RQCI_WORKSPACES, fix_id(1, 1), w, &j);
    rqci_store_close(s);
    sqlite3 *db = fix_foreign(path);
    fix_exec(db, "DROP TABLE reqcast_terms; UPDATE reqcast_meta SET value = 1 WHERE key = 'format';"
                 "DELETE FROM reqcast_meta WHERE key = 'journal'");
    s = fix_open(path);
    is(fix_stats(s).term, 1u, "version 1 is brought to today's, in the same term");
    is(fix_stats(s).head, j.seq, "with its history");
    is(fix_int(db, "SELECT value FROM reqcast_meta WHERE key = 'format'"), RQCI_STORE_FORMAT,
       "the version is noted");
    is(fix_text(db, "SELECT term || ' ' || forked_at FROM reqcast_terms"), "1 1",
       "the step was taken");
    rqci_store_close(s);

    // A step that fails leaves everything as it was.
    fix_exec(db, "DROP TABLE reqcast_terms; CREATE TABLE reqcast_terms (mine);"
                 "UPDATE reqcast_meta SET value = 1 WHERE key = 'format'");
    rqci_errbuf err = {{0}};
    const rqci_store_options opt = fix_options();
    is(rqci_store_open(path, &opt, &s, &err) != RQC_OK, true, "a step that fails: %s", err.text);
    is(fix_int(db, "SELECT value FROM reqcast_meta WHERE key = 'format'"), 1,
       "leaves the version as it was");
    fix_exec(db, "DROP TABLE reqcast_terms");

    fix_exec(db, "UPDATE reqcast_meta SET value = %d WHERE key = 'format'", RQCI_STORE_FORMAT + 1);
    const int64_t schema = fix_int(db, "PRAGMA schema_version");
    is(rqci_store_open(path, &opt, &s, &err), RQC_VERSION, "a newer version is refused: %s",
       err.text);
    is(fix_int(db, "PRAGMA schema_version"), schema, "and nothing changed");
    is(fix_text(db, "SELECT count(*) FROM reqcast_meta WHERE key = 'nonce'"), "1", "at all");
    sqlite3_close(db);
}

// There never was a version below 1: no step leads from it, and no guess is made.
static void test_version_0(void)
{
    static const char *const values[] = {"0", "-1", "'2'", "NULL"};
    char path[FIX_PATH];
    fix_path(path, "version0.db");
    rqci_store_close(fix_started(path));
    const rqci_store_options opt = fix_options();
    rqci_store *s = NULL;
    rqci_errbuf err = {{0}};
    sqlite3 *db = fix_foreign(path);
    char before[512];
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        fix_exec(db, "UPDATE reqcast_meta SET value = %s WHERE key = 'format'", values[i]);
        snprintf(before, sizeof before, "%s",
                 fix_text(db, "SELECT group_concat(key || quote(value)) FROM reqcast_meta"));
        const int64_t schema = fix_int(db, "PRAGMA schema_version");
        is(rqci_store_open(path, &opt, &s, &err), RQC_CORRUPT, "version %s: %s", values[i],
           err.text);
        ok(strstr(err.text, "format") != NULL, "says which value it is");
        is(fix_text(db, "SELECT group_concat(key || quote(value)) FROM reqcast_meta"), before,
           "and changes none");
        is(fix_int(db, "PRAGMA schema_version"), schema, "nor a table");
    }
    is(rqci_migrate(db, 0, &err), RQC_INTERNAL, "no step leads from it: %s", err.text);
    fix_exec(db, "UPDATE reqcast_meta SET value = %d WHERE key = 'format'", RQCI_STORE_FORMAT);
    is(rqci_store_open(path, &opt, &s, &err), RQC_OK, "the right version is opened again");
    rqci_store_close(s);
    sqlite3_close(db);
}

// Steps that were never: in order, only those that are missing, and no hole among them.
static void test_steps(void)
{
    static const rqci_migration list[] = {{2, "CREATE TABLE a (x)"},
                                          {3, "INSERT INTO a VALUES (3)"},
                                          {4, "ALTER TABLE a ADD COLUMN y DEFAULT 4"},
                                          {6, "DROP TABLE a"}};
    char path[FIX_PATH];
    sqlite3 *db = fix_foreign(fix_path(path, "steps.db"));
    rqci_errbuf err = {{0}};
    is(rqci_migrate_by(db, list, 2, 1, &err), RQC_OK, "from 1 to 3");
    is(fix_int(db, "SELECT x FROM a"), 3, "in order");
    is(rqci_migrate_by(db, list, 3, 3, &err), RQC_OK, "from 3 to 4");
    is(fix_int(db, "SELECT count(*) FROM a WHERE y = 4"), 1, "nothing twice");
    is(rqci_migrate_by(db, list, 3, 4, &err), RQC_OK, "nothing to do");
    is(rqci_migrate_by(db, list, 4, 4, &err), RQC_INTERNAL, "a hole: %s", err.text);
    is(fix_int(db, "SELECT count(*) FROM a"), 1, "is not jumped over");
    sqlite3_close(db);
}

int main(void)
{
    fix_begin();
    test_aliases();
    for (int g = 1; g <= GENERATIONS; g++) {
        test_generation(g);
        test_view(g);
    }
    test_rename();
    test_version_1();
    test_version_0();
    test_steps();
    return tap_done();
}

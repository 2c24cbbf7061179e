// SPDX-License-Identifier: Apache-2.0
// Whatever statement a foreign program runs, the log names every row that it touched, with the
// owner that the row had and the one that it has.
#include "tests/store_fixture.h"

// ---- An oracle ----------------------------------------------------------------------------------
// Copies of the tables as they were before a statement, in the temporary schema of the same
// connection. The difference must be in the log.

typedef struct table {
    uint8_t code;
    const char *name, *owner;
    // Columns that statements set: name and kind of value, see value_sql.
    struct {
        const char *name;
        char kind;
    } columns[8];
} table;

static const table tables[] = {
    {RQCI_WORKSPACES, "workspaces", NULL, {{"id", 'i'}, {"name", 't'}, {"collection_count", 'n'}}},
    {RQCI_FILES,
     "files",
     "workspace_id",
     {{"id", 'i'}, {"workspace_id", 'w'}, {"parent_id", 'f'}, {"name", 't'}, {"path_hash", 'o'}}},
    {RQCI_HTTP,
     "http",
     "workspace_id",
     {{"id", 'i'},
      {"workspace_id", 'w'},
      {"folder_id", 'f'},
      {"name", 't'},
      {"url", 't'},
      {"method", 't'},
      {"parent_http_id", 'p'}}},
    {RQCI_HTTP_HEADER,
     "http_header",
     "http_id",
     {{"id", 'i'},
      {"http_id", 'h'},
      {"header_key", 't'},
      {"header_value", 't'},
      {"parent_header_id", 'p'}}},
    {RQCI_HTTP_BODY_RAW,
     "http_body_raw",
     "http_id",
     {{"id", 'i'}, {"http_id", 'h'}, {"raw_data", 't'}}},
    {RQCI_HTTP_VERSION,
     "http_version",
     "http_id",
     {{"id", 'i'}, {"http_id", 'h'}, {"version_name", 't'}, {"is_active", 'n'}}},
    {RQCI_HTTP_RESPONSE,
     "http_response",
     "http_id",
     {{"id", 'i'},
      {"http_id", 'h'},
      {"status", 'n'},
      {"time", 't'},
      {"duration", 'n'},
      {"size", 'n'}}},
    {RQCI_HTTP_RESPONSE_HEADER,
     "http_response_header",
     "response_id",
     {{"id", 'i'}, {"response_id", 'r'}, {"key", 't'}, {"value", 't'}}},
};
#define TABLES (sizeof tables / sizeof *tables)

static rows_random rnd;

static void oracle_begin(sqlite3 *db)
{
    for (size_t i = 0; i < TABLES; i++)
        fix_exec(db, "CREATE TEMP TABLE was_%s AS SELECT * FROM main.%s", tables[i].name,
                 tables[i].name);
}

// What the log lacks after `since`, "" when nothing.
static const char *oracle_check(sqlite3 *db, int64_t since, unsigned *ret_changed)
{
    static char wrong[512];
    wrong[0] = '\0';
    *ret_changed = 0;
    for (size_t i = 0; i < TABLES; i++) {
        const table *t = &tables[i];
        const char *owner = t->owner ? t->owner : "NULL";
        const int64_t changed = fix_int(
            db,
            "SELECT count(*) FROM (SELECT * FROM (SELECT * FROM main.%s EXCEPT SELECT * FROM "
            "temp.was_%s) "
            "UNION ALL SELECT * FROM (SELECT * FROM temp.was_%s EXCEPT SELECT * FROM main.%s))",
            t->name, t->name, t->name, t->name);
        if (changed == 0)
            continue;
        *ret_changed += (unsigned)changed;
        // Both sides: each row that is new or different must be logged with the owner it has, each
        // that is gone or was different with the owner it had.
        const char *sides[2][2] = {{"main.", "temp.was_"}, {"temp.was_", "main."}};
        for (int side = 0; side < 2; side++) {
            const char *found = fix_text(db,
                                         "SELECT quote(id) FROM (SELECT * FROM %s%s EXCEPT SELECT "
                                         "* FROM %s%s) AS d WHERE NOT EXISTS"
                                         " (SELECT 1 FROM main.change_log AS l WHERE l.seq > %lld "
                                         "AND l.entity = %d AND l.id IS d.id AND l.owner IS %s%s)",
                                         sides[side][0], t->name, sides[side][1], t->name,
                                         (long long)since, t->code, t->owner ? "d." : "", owner);
            if (strcmp(found, "(none)") != 0)
                snprintf(wrong, sizeof wrong, "%s %.100s is not logged (%s)", t->name, found,
                         side ? "as it was" : "as it is");
        }
        fix_exec(db, "DELETE FROM temp.was_%s; INSERT INTO temp.was_%s SELECT * FROM main.%s",
                 t->name, t->name, t->name);
    }
    return wrong;
}

// ---- Statements at random -----------------------------------------------------------------------

static const char *or_clause(void)
{
    static const char *const all[] = {"",           "",           "OR REPLACE",
                                      "OR REPLACE", "OR REPLACE", "OR IGNORE",
                                      "OR FAIL",    "OR ABORT",   "OR ROLLBACK"};
    return all[rows_below(&rnd, 9)];
}

// Few different values, so that statements get in each other's way.
static const char *value_sql(const table *t, char kind)
{
    static char ring[32][64];
    static unsigned at;
    static const char *const texts[] = {"'a'", "'b'", "'A'", "'c'"};
    char *out = ring[at++ % 32];
    const uint8_t few = (uint8_t)rows_below(&rnd, 4), some = (uint8_t)rows_below(&rnd, 7);
    switch (kind) {
    case 'i': return strcpy(out, fix_hex(fix_id(t->code, some)));
    case 'w': return strcpy(out, fix_hex(fix_id(RQCI_WORKSPACES, few)));
    case 'h': return strcpy(out, fix_hex(fix_id(RQCI_HTTP, few)));
    case 'r': return strcpy(out, fix_hex(fix_id(RQCI_HTTP_RESPONSE, few)));
    case 'f': return few ? "NULL" : strcpy(out, fix_hex(fix_id(RQCI_FILES, some)));
    case 'p': return few > 1 ? "NULL" : strcpy(out, fix_hex(fix_id(t->code, some)));
    case 'o': return few ? texts[few] : "NULL";
    case 'n': sprintf(out, "%u", some); return out;
    default: return texts[few];
    }
}

static unsigned columns_of(const table *t)
{
    unsigned n = 0;
    while (n < 8 && t->columns[n].name)
        n++;
    return n;
}

__attribute__((format(printf, 2, 3))) static void add(char *sql, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    const size_t n = strlen(sql);
    vsnprintf(sql + n, 4096 - n, format, ap);
    va_end(ap);
}

static void add_assignments(char *sql, const table *t, bool with_rowid)
{
    const unsigned n = columns_of(t), first = rows_below(&rnd, n), count = 1 + rows_below(&rnd, 2);
    for (unsigned i = 0; i < count; i++) {
        const unsigned c = (first + i) % n;
        add(sql, "%s%s = %s", i ? ", " : "", t->columns[c].name, value_sql(t, t->columns[c].kind));
    }
    if (with_rowid && rows_below(&rnd, 6) == 0)
        add(sql, ", rowid = %u", 1 + rows_below(&rnd, 9));
}

static void make_insert(char *sql, const table *t, bool rowids)
{
    const bool rowid = rowids && rows_below(&rnd, 4) == 0;
    const unsigned n = columns_of(t), rows = 1 + rows_below(&rnd, 3);
    add(sql, "INSERT %s INTO %s (%s", or_clause(), t->name, rowid ? "rowid, " : "");
    for (unsigned c = 0; c < n; c++)
        add(sql, "%s%s", c ? ", " : "", t->columns[c].name);
    add(sql, ") VALUES ");
    for (unsigned r = 0; r < rows; r++) {
        add(sql, "%s(", r ? ", " : "");
        if (rowid)
            add(sql, "%u, ", 1 + rows_below(&rnd, 9));
        for (unsigned c = 0; c < n; c++)
            add(sql, "%s%s", c ? ", " : "", value_sql(t, t->columns[c].kind));
        add(sql, ")");
    }
    const unsigned upsert = rows_below(&rnd, 6);
    if (upsert == 0)
        add(sql, " ON CONFLICT DO NOTHING");
    if (upsert == 1) {
        add(sql, " ON CONFLICT (id) DO UPDATE SET ");
        add_assignments(sql, t, false);
    }
}

static void make_statement(char *sql, bool rowids)
{
    const table *t = &tables[rows_below(&rnd, TABLES)];
    sql[0] = '\0';
    const unsigned kind = rows_below(&rnd, 16);
    if (kind < 9) {
        make_insert(sql, t, rowids);
    } else if (kind < 14) {
        add(sql, "UPDATE %s %s SET ", or_clause(), t->name);
        add_assignments(sql, t, rowids);
        if (rows_below(&rnd, 3))
            add(sql, " WHERE id = %s", value_sql(t, 'i'));
    } else {
        add(sql, "DELETE FROM %s", t->name);
        if (rows_below(&rnd, 8))
            add(sql, " WHERE id = %s", value_sql(t, 'i'));
    }
}

// Statements in transactions of one or a few, some rolled back.
static void run_random(const char *path, bool keys, bool recursive, bool rowids, const char *what)
{
    sqlite3 *db = fix_foreign(path);
    fix_exec(db,
             "PRAGMA synchronous = OFF; PRAGMA foreign_keys = %d; PRAGMA recursive_triggers = %d",
             keys, recursive);
    oracle_begin(db);
    const unsigned n = (unsigned)tap_scaled(1500);
    unsigned bad = 0, changed = 0, good = 0;
    char first[4700] = "", sql[4096];
    for (unsigned i = 0; i < n; i++) {
        const int64_t since = fix_int(db, "SELECT coalesce(max(seq), 0) FROM change_log");
        const bool several = rows_below(&rnd, 8) == 0;
        if (several)
            fix_exec(db, "BEGIN");
        for (unsigned k = several ? 1 + rows_below(&rnd, 4) : 1; k > 0; k--) {
            make_statement(sql, rowids);
            good += fix_try(db, "%s", sql) == SQLITE_OK;
        }
        if (!sqlite3_get_autocommit(db))
            fix_exec(db, rows_below(&rnd, 4) ? "COMMIT" : "ROLLBACK");
        unsigned more;
        const char *wrong = oracle_check(db, since, &more);
        changed += more;
        if (wrong[0] && bad++ == 0)
            snprintf(first, sizeof first, "%s: %s", wrong, sql);
    }
    is(bad, 0u, "%s: foreign keys %s, recursive triggers %s: all is logged", what,
       keys ? "on" : "off", recursive ? "on" : "off");
    if (bad)
        tap_note("%s", first);
    ok(good > n / 4 && changed > n / 5, "the statements were worth it (%u good, %u rows changed)",
       good, changed);
    sqlite3_close(db);
}

static void test_random(void)
{
    char path[FIX_PATH];
    for (int i = 0; i < 4; i++) {
        fix_path(path, "random%d.db", i);
        rqci_store_close(fix_open(path));
        run_random(path, i & 1, i & 2, true, "our schema");
    }
}

// The same tables as somebody else might have made them: without rowid, with columns called rowid,
// other collations, defaults that REPLACE fills in, generated columns, partial indexes.
static const char odd_schema[] =
    "CREATE TABLE workspaces (id BLOB PRIMARY KEY NOT NULL, name TEXT, collection_count INT) "
    "WITHOUT ROWID;"
    "CREATE UNIQUE INDEX w1 ON workspaces (name, collection_count);"
    "CREATE TABLE files (id BLOB UNIQUE NOT NULL, workspace_id BLOB, parent_id BLOB, name TEXT NOT "
    "NULL DEFAULT 'a',"
    " path_hash TEXT NOT NULL DEFAULT 'b' COLLATE NOCASE, UNIQUE (workspace_id, path_hash));"
    "CREATE TABLE http (id BLOB PRIMARY KEY NOT NULL, rowid INT, workspace_id BLOB, folder_id "
    "BLOB, name TEXT, url TEXT,"
    " method TEXT, parent_http_id BLOB REFERENCES http (id) ON DELETE CASCADE ON UPDATE CASCADE,"
    " both TEXT GENERATED ALWAYS AS (name || url) VIRTUAL);"
    "CREATE UNIQUE INDEX h1 ON http (workspace_id, both);"
    "CREATE UNIQUE INDEX h2 ON http (method) WHERE name = 'a';"
    "CREATE TABLE http_header (num INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, http_id BLOB "
    "REFERENCES http (id) ON DELETE SET NULL,"
    " header_key TEXT, header_value TEXT, parent_header_id BLOB, UNIQUE (header_key COLLATE "
    "NOCASE, http_id));"
    "CREATE TABLE http_body_raw (id BLOB PRIMARY KEY NOT NULL, http_id BLOB UNIQUE REFERENCES http "
    "(id) ON DELETE CASCADE, raw_data);"
    "CREATE TABLE http_version (id BLOB, http_id BLOB, version_name TEXT, is_active, PRIMARY KEY "
    "(http_id, version_name), UNIQUE (id)) WITHOUT ROWID;"
    "CREATE TABLE http_response (id BLOB PRIMARY KEY, http_id BLOB, status, time, duration, size, "
    "rowid, oid);"
    "CREATE TABLE http_response_header (id BLOB PRIMARY KEY, response_id BLOB REFERENCES "
    "http_response (id) ON DELETE CASCADE, key TEXT, value TEXT);"
    // An application's own triggers go on working.
    "CREATE TABLE notes (n INTEGER PRIMARY KEY, what TEXT);"
    "CREATE TRIGGER app_touch AFTER UPDATE OF name ON http BEGIN"
    "  UPDATE http SET url = 'touched' WHERE parent_http_id = NEW.id; INSERT INTO notes (what) "
    "VALUES ('http'); END;"
    "CREATE TRIGGER app_guard BEFORE DELETE ON files WHEN OLD.name = 'c' BEGIN SELECT "
    "RAISE(IGNORE); END;";

static void test_odd_schema(void)
{
    char path[FIX_PATH];
    for (int i = 0; i < 4; i++) {
        fix_path(path, "odd%d.db", i);
        sqlite3 *db = fix_foreign(path);
        fix_exec(db, "%s", odd_schema);
        sqlite3_close(db);
        rqci_store_close(fix_open(path));
        run_random(path, i & 1, i & 2, false, "another schema");
    }
    // NULL where REPLACE fills in a default that is in the way.
    fix_path(path, "odd0.db");
    sqlite3 *db = fix_foreign(path);
    const char *w = fix_hex(fix_id(RQCI_WORKSPACES, 1));
    fix_exec(db,
             "DELETE FROM files WHERE name <> 'c'; UPDATE files SET path_hash = hex(id), name = "
             "'x'; DELETE FROM files;"
             "INSERT INTO files (id, workspace_id, path_hash) VALUES (%s, %s, 'B')",
             fix_hex(fix_id(2, 1)), w);
    const int64_t since = fix_int(db, "SELECT max(seq) FROM change_log");
    fix_exec(db, "INSERT OR REPLACE INTO files (id, workspace_id, path_hash) VALUES (%s, %s, NULL)",
             fix_hex(fix_id(2, 2)), w);
    is(fix_int(db, "SELECT count(*) FROM files"), 1, "a default replaced a row");
    is(fix_int(db, "SELECT count(*) FROM change_log WHERE seq > %lld AND op = 3 AND id = %s",
               (long long)since, fix_hex(fix_id(2, 1))),
       1, "which is logged");
    sqlite3_close(db);
}

// ---- What exactly is logged ---------------------------------------------------------------------

// "entity:op:number:owner " of every log row after since, with the last byte of ids.
static const char *logged(sqlite3 *db, int64_t since)
{
    return fix_text(db,
                    "SELECT group_concat(entity || ':' || op || ':' || ltrim(substr(hex(id), 31), "
                    "'0') || ':' ||"
                    " CASE WHEN owner IS NULL THEN '-' ELSE ltrim(substr(hex(owner), 31), '0') "
                    "END, ' ') FROM (SELECT * FROM change_log WHERE seq > %lld ORDER BY seq)",
                    (long long)since);
}

#define LOGS(want, name, ...)                                                  \
    do {                                                                       \
        const int64_t since_ = fix_int(db, "SELECT max(seq) FROM change_log"); \
        fix_exec(db, __VA_ARGS__);                                             \
        is(logged(db, since_), want, name);                                    \
    } while (0)

static const char *W(unsigned n)
{
    return fix_hex(fix_id(RQCI_WORKSPACES, n));
}
static const char *H(unsigned n)
{
    return fix_hex(fix_id(RQCI_HTTP, n));
}
static const char *B(unsigned n)
{
    return fix_hex(fix_id(RQCI_HTTP_BODY_RAW, n));
}
static const char *X(unsigned n)
{
    return fix_hex(fix_id(RQCI_HTTP_HEADER, n));
}
static const char *F(unsigned n)
{
    return fix_hex(fix_id(RQCI_FILES, n));
}

static void test_exact(void)
{
    char path[FIX_PATH];
    fix_path(path, "exact.db");
    rqci_store_close(fix_open(path));
    sqlite3 *db = fix_foreign(path);
    fix_exec(db, "PRAGMA foreign_keys = ON");
    is(fix_text(db, "SELECT seq || ' ' || entity || ' ' || op FROM change_log"), "1 0 0",
       "the marker has seq 1");
    LOGS("1:1:1:- 1:1:2:-", "insert",
         "INSERT INTO workspaces (id, name) VALUES (%s, 'a'), (%s, 'b')", W(1), W(2));
    LOGS("3:1:1:1 3:1:2:1 3:1:3:1", "insert with owner",
         "INSERT INTO http (id, workspace_id, name, url, method) VALUES (%s, %s, '', '', ''), (%s, "
         "%s, '', '', ''), (%s, %s, '', '', '')",
         H(1), W(1), H(2), W(1), H(3), W(1));
    LOGS("4:1:1:1 4:1:2:1", "children",
         "INSERT INTO http_header (id, http_id, header_key, header_value) VALUES (%s, %s, '', ''), "
         "(%s, %s, '', '')",
         X(1), H(1), X(2), H(1));
    LOGS("8:1:1:1", "raw body", "INSERT INTO http_body_raw (id, http_id) VALUES (%s, %s)", B(1),
         H(1));
    LOGS("3:2:1:1", "update", "UPDATE http SET name = 'x' WHERE id = %s", H(1));
    LOGS("3:3:1:1 3:4:1:2", "move", "UPDATE http SET workspace_id = %s WHERE id = %s", W(2), H(1));
    LOGS("3:3:3:1 3:1:4:1", "new id", "UPDATE http SET id = %s WHERE id = %s", H(4), H(3));
    LOGS("3:3:4:1 3:1:3:2", "new id and owner",
         "UPDATE http SET id = %s, workspace_id = %s WHERE id = %s", H(3), W(2), H(4));
    LOGS("3:2:2:1 3:2:2:1", "upsert, twice",
         "INSERT INTO http (id, workspace_id, name, url, method) VALUES (%s, %s, '', '', '') ON "
         "CONFLICT (id) DO UPDATE SET name = ''",
         H(2), W(1));
    LOGS("8:3:1:1 8:1:2:1", "a row replaced through another index",
         "INSERT OR REPLACE INTO http_body_raw (id, http_id) VALUES (%s, %s)", B(2), H(1));
    LOGS("8:2:2:1 8:1:2:2", "a row replaced in place, with another owner",
         "INSERT OR REPLACE INTO http_body_raw (id, http_id) VALUES (%s, %s)", B(2), H(2));
    LOGS("8:1:1:1", "insert", "INSERT INTO http_body_raw (id, http_id) VALUES (%s, %s)", B(1),
         H(1));
    LOGS("8:3:1:1 8:3:2:2 8:4:2:1", "update that replaces",
         "UPDATE OR REPLACE http_body_raw SET http_id = %s WHERE id = %s", H(1), B(2));
    LOGS("8:3:2:1 8:1:5:2", "a row replaced through its rowid",
         "INSERT OR REPLACE INTO http_body_raw (rowid, id, http_id) VALUES ((SELECT rowid FROM "
         "http_body_raw WHERE id = %s), %s, %s)",
         B(2), B(5), H(2));
    LOGS("", "nothing touched", "UPDATE http SET name = '' WHERE id = %s", H(9));
    LOGS("8:2:5:2", "ignored, and logged all the same",
         "INSERT OR IGNORE INTO http_body_raw (id, http_id) VALUES (%s, %s)", B(5), H(3));
    LOGS("2:1:1:1 2:1:2:1", "files",
         "INSERT INTO files (id, workspace_id, parent_id, name) VALUES (%s, %s, NULL, ''), (%s, "
         "%s, %s, '')",
         F(1), W(1), F(2), W(1), F(1));
    fix_exec(db, "UPDATE http SET folder_id = %s WHERE id = %s", F(1), H(2));
    LOGS("3:2:2:1 2:2:2:1 2:3:1:1", "set null", "DELETE FROM files WHERE id = %s", F(1));
    LOGS("3:3:1:2 4:3:1:1 4:3:2:1", "the request comes before its cascade",
         "DELETE FROM http WHERE id = %s", H(1));
    fix_exec(db, "PRAGMA foreign_keys = OFF; PRAGMA recursive_triggers = ON");
    LOGS("3:2:2:1 3:3:2:1 3:1:2:2", "replace with recursive triggers",
         "INSERT OR REPLACE INTO http (id, workspace_id, name, url, method) VALUES (%s, %s, '', "
         "'', '')",
         H(2), W(2));
    LOGS("3:3:3:2 3:3:2:2", "all rows, without cascade", "DELETE FROM http");
    is(fix_int(db, "SELECT count(*) FROM http_body_raw"), 1, "an orphan stays");
    sqlite3_close(db);
}

int main(void)
{
    fix_begin();
    const char *seed = getenv("RQC_TEST_SEED");
    rows_seed(&rnd, seed ? strtoull(seed, NULL, 10) : 20240607);
    test_exact();
    test_random();
    test_odd_schema();
    return tap_done();
}

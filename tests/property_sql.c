// SPDX-License-Identifier: Apache-2.0
// What another program might do to the database: random statements in every form that SQLite has
// for changing rows.
#include "tests/property.h"

// ---- Values ----

static void lit_id(text *t, const uint8_t *id, size_t n)
{
    text_add(t, "x'");
    for (size_t i = 0; i < n; i++)
        text_add(t, "%02x", id[i]);
    text_add(t, "'");
}

static void some_id(text *t, uint32_t number)
{
    if (g.short_ids && below(60) == 0)
        lit_id(t, g.ids[number], 15);
    else if (g.short_ids && below(300) == 0)
        text_add(t, "'0123456789abcdef'"); // sixteen bytes, but a text
    else
        lit_id(t, g.ids[number], 16);
}

// Number of an id, mostly one that has a row of this entity.
static uint32_t live_id(int entity)
{
    uint32_t n = below(NIDS);
    if (chance(25))
        return n;
    for (unsigned i = 0; i < NIDS && !g.now->rows[entity][n].live; i++)
        n = (n + 1) % NIDS;
    return n;
}

static uint32_t owner_id(const prop_table *t)
{
    if (t->owner_entity == RQC_WORKSPACES && chance(90))
        return g.ws[below(NWS)];
    return live_id(t->owner_entity);
}

static void some_text(text *t)
{
    static const char *const few[] = {"''",
                                      "'a'",
                                      "'b'",
                                      "'Accept'",
                                      "'text/html'",
                                      "'é'",
                                      "CAST(x'fffe41' AS TEXT)",
                                      "CAST(x'c3' AS TEXT)",
                                      "CAST(x'610062' AS TEXT)"};
    const uint32_t kind = below(100);
    if (kind < 85)
        text_add(t, "%s", few[below(sizeof few / sizeof *few)]);
    else if (kind < 97)
        text_add(t, "printf('%%.*c', %u, '%c')", 1 + below(2500), (int)('a' + below(26)));
    else if (kind < 98)
        text_add(t, "printf('%%.*c', %u, 'x')", RQC_LARGE_BYTES - 1 + below(3));
    else
        text_add(t, "printf('%%.*c', %u, 'y')", RQC_LARGE_BYTES + 1 + below(9000));
}

static void some_blob(text *t)
{
    switch (below(8)) {
    case 0: text_add(t, "NULL"); break;
    case 1: text_add(t, "x''"); break;
    case 2: text_add(t, "x'00'"); break;
    case 3: text_add(t, "zeroblob(%u)", 1 + below(3000)); break;
    case 4:
        text_add(t, "CAST(printf('%%.*c', %u, '%c') AS BLOB)", RQC_LARGE_BYTES - 1 + below(3),
                 (int)('p' + below(3)));
        break;
    case 5:
        text_add(t, "CAST(printf('%%.*c', %u, 'q') AS BLOB)", RQC_LARGE_BYTES + below(9000));
        break;
    default: text_add(t, "x'1f8b08%02x'", below(256)); break;
    }
}

static const char *const numbers[] = {"0",
                                      "1",
                                      "2",
                                      "3",
                                      "-1",
                                      "200",
                                      "404",
                                      "1234567890123",
                                      "9223372036854775807",
                                      "-9223372036854775808"};
static const char *const times[] = {"0",
                                    "1",
                                    "1000",
                                    "1000",
                                    "1001",
                                    "1001",
                                    "1002",
                                    "1003",
                                    "1004",
                                    "-3",
                                    "1700000000",
                                    "1700000001",
                                    "1700090000",
                                    "1700000000000",
                                    "1700000000001",
                                    "-9223372036854775808",
                                    "9223372036854775807",
                                    "unixepoch()"};
static const char *const reals[] = {"0",     "0.0",    "-0.0", "1",          "1.5",
                                    "2",     "2",      "3.25", "-1",         "1e300",
                                    "9e999", "-9e999", "0.1",  "16777217.0", "16777216.0"};
static const char *const odd[] = {"'abc'", "'12x'",   "' 7'",  "3.75",   "-2.5",
                                  "1e300", "x'3132'", "x''",   "''",     "'1e2'",
                                  "2",     "0.5",     "'0.5'", "-9e999", "'true'"};

#define ANY_OF(list) list[below(sizeof(list) / sizeof *(list))]

const char *some_method(void)
{
    static const char *const methods[] = {"GET",       "GET",       "GET",     "POST",
                                          "POST",      "get",       "",        "PROPFIND",
                                          "PROPFINDX", "PROPFINDY", "PROPFIN", "G"};
    return ANY_OF(methods);
}

int64_t some_time(void)
{
    static const int64_t some[] = {
        0,        1,  999,        1000,       1001,       1002,          1003,      1004,
        -3,       -4, 1700000000, 1700000001, 1700089999, 1700000000000, INT64_MIN, INT64_MAX - 1,
        INT64_MAX};
    int64_t t = ANY_OF(some);
    if (chance(30)) {
        const prop_row *r = &g.now->rows[RQC_HTTP][below(NIDS)];
        t = r->live ? r->updated : t;
        if (t > INT64_MIN && t < INT64_MAX && chance(50))
            t += chance(50) ? 1 : -1;
    }
    return t;
}

static void any_value(text *t)
{
    switch (below(8)) {
    case 0: text_add(t, "%s", ANY_OF(numbers)); break;
    case 1: text_add(t, "2.5"); break;
    case 2: some_blob(t); break;
    case 3: some_text(t); break;
    default: text_add(t, "'2025-11-03 12:00:0%u +0100'", below(10)); break;
    }
}

static void ordinary(text *t, const prop_table *tab, const prop_column *c)
{
    switch (c->kind) {
    case 'i': some_id(t, below(NIDS)); break;
    case 'o': some_id(t, owner_id(tab)); break;
    case 'P':
        if (chance(50))
            text_add(t, "NULL");
        else
            some_id(t, live_id(tab->entity));
        break;
    case 'F':
        if (chance(70))
            text_add(t, "NULL");
        else
            some_id(t, live_id(RQC_FILES));
        break;
    case 'X':
    case 'V':
        if (chance(60))
            text_add(t, "NULL");
        else
            some_id(t, below(NIDS));
        break;
    case 't':
    case 'e': some_text(t); break;
    case 'T':
        if (chance(50))
            text_add(t, "NULL");
        else
            some_text(t);
        break;
    case 'v': text_add(t, "'v%u'", below(3)); break;
    case 'H':
        if (chance(30))
            text_add(t, "NULL");
        else
            text_add(t, "'%s'", &"p3\0p2\0p1\0"[3 * below(4)]);
        break;
    case 'm':
        if (chance(4))
            text_add(t, "CAST(x'47455400' AS TEXT)"); // GET and a zero byte
        else
            text_add(t, "'%s'", some_method());
        break;
    case 'M':
        if (chance(50))
            text_add(t, "NULL");
        else
            text_add(t, "'%s'", some_method());
        break;
    case 'k': text_add(t, "%u", below(chance(5) ? 10 : 8)); break;
    case 'N':
        if (chance(50)) {
            text_add(t, "NULL");
            break;
        }
        text_add(t, "%s", ANY_OF(numbers));
        break;
    case 'n':
    case 'q':
    case 'w': text_add(t, "%s", ANY_OF(numbers)); break;
    case 'c':
    case 'u': text_add(t, "%s", ANY_OF(times)); break;
    case 'z': text_add(t, "%d", chance(30)); break;
    case 'b': text_add(t, "%d", chance(70)); break;
    case 's': text_add(t, "%d", chance(50)); break;
    case 'B': text_add(t, "%s", chance(50) ? "NULL" : chance(50) ? "1" : "0"); break;
    case 'R':
        if (chance(50)) {
            text_add(t, "NULL");
            break;
        }
        text_add(t, "%s", ANY_OF(reals));
        break;
    case 'r': text_add(t, "%s", ANY_OF(reals)); break;
    case 'd': some_blob(t); break;
    default: any_value(t); break;
    }
}

static void value(text *t, const prop_table *tab, const prop_column *c)
{
    const bool id = c->type == 'U';
    if (g.hostile && !id && below(30) == 0)
        text_add(t, "%s", ANY_OF(odd));
    else if (g.hostile && g.short_ids && id && c->kind != 'i' && c->kind != 'o' && below(150) == 0)
        text_add(t, "%s", chance(50) ? "''" : "7");
    else if (chance(1))
        text_add(t, "NULL");
    else
        ordinary(t, tab, c);
}

// ---- Statements ----

static const prop_table *some_table(void)
{
    static const uint8_t often[] = {RQC_HTTP,          RQC_HTTP,          RQC_HTTP,
                                    RQC_HTTP,          RQC_HTTP,          RQC_HTTP,
                                    RQC_HTTP,          RQC_HTTP_HEADER,   RQC_HTTP_HEADER,
                                    RQC_HTTP_HEADER,   RQC_HTTP_BODY_RAW, RQC_HTTP_BODY_RAW,
                                    RQC_HTTP_RESPONSE, RQC_HTTP_RESPONSE, RQC_HTTP_RESPONSE_HEADER,
                                    RQC_HTTP_VERSION,  RQC_FILES};
    return &prop_tables[chance(70) ? often[below(sizeof often)] : 1 + below(NENTITIES - 1)];
}

static const char *or_what(void)
{
    static const char *const all[] = {
        "",           "",         "",          " OR REPLACE", " OR REPLACE", " OR REPLACE",
        " OR IGNORE", " OR FAIL", " OR ABORT", " OR ROLLBACK"};
    return ANY_OF(all);
}

// One row of values for the columns in `use`; a delta gets a parent, mostly.
static void row_values(text *t, const prop_table *tab, uint32_t use)
{
    text one = {0};
    bool delta = tab->is_delta >= 0 && chance(35);
    const char *sep = "(";
    for (int i = 0; i < tab->n; i++) {
        if (!(use >> i & 1))
            continue;
        const prop_column *c = &tab->col[i];
        one.len = 0;
        value(&one, tab, c);
        if (i == tab->is_delta && chance(97)) {
            one.len = 0;
            text_add(&one, "%d", delta);
        } else if (delta && i == tab->parent && strcmp(one.p, "NULL") == 0 && chance(95)) {
            one.len = 0;
            some_id(&one, live_id(tab->entity));
        } else if (delta && strcmp(c->name, "is_snapshot") == 0 && chance(95)) {
            one.len = 0;
            text_add(&one, "0");
        }
        text_add(t, "%s%s", sep, one.p);
        sep = ", ";
    }
    text_add(t, ")");
    text_free(&one);
}

// The columns that are given; those with a default may be left out.
static uint32_t some_columns(const prop_table *tab)
{
    uint32_t use = 0;
    for (int i = 0; i < tab->n; i++)
        if (strchr("iotvmqsa", tab->col[i].kind) != NULL || i == tab->parent ||
            i == tab->is_delta || chance(75))
            use |= 1u << i;
    return use;
}

static void column_list(text *t, const prop_table *tab, uint32_t use)
{
    const char *sep = "(";
    for (int i = 0; i < tab->n; i++)
        if (use >> i & 1) {
            text_add(t, "%s%s", sep, tab->col[i].name);
            sep = ", ";
        }
    text_add(t, ")");
}

static void upsert(text *t, const prop_table *tab, uint32_t use)
{
    const char *target = tab->entity == RQC_HTTP_BODY_RAW && chance(50)  ? "(http_id)"
                         : tab->entity == RQC_HTTP_VERSION && chance(50) ? "(http_id, version_name)"
                                                                         : "(id)";
    if (chance(20)) {
        text_add(t, " ON CONFLICT DO NOTHING");
        return;
    }
    text_add(t, " ON CONFLICT %s DO ", target);
    if (chance(20)) {
        text_add(t, "NOTHING");
        return;
    }
    text_add(t, "UPDATE SET ");
    const char *sep = "";
    for (int i = 1; i < tab->n; i++)
        if ((use >> i & 1) && chance(60)) {
            text_add(t, "%s%s = excluded.%s", sep, tab->col[i].name, tab->col[i].name);
            sep = ", ";
        }
    if (*sep == 0)
        text_add(t, "%s = %s", tab->col[1].name, tab->col[1].name);
    if (chance(8))
        text_add(t, ", id = excluded.id");
    if (chance(15))
        text_add(t, " WHERE excluded.%s IS NOT NULL", tab->col[1].name);
}

static void insert(text *t, const prop_table *tab)
{
    const uint32_t use = some_columns(tab);
    const bool conflict = chance(25);
    text_add(t, "INSERT%s INTO %s ", conflict ? "" : or_what(), tab->name);
    column_list(t, tab, use);
    text_add(t, " VALUES ");
    for (uint32_t n = chance(75) ? 1 : 1 + below(4); n > 0; n--) {
        row_values(t, tab, use);
        text_add(t, n > 1 ? ", " : "");
    }
    if (conflict)
        upsert(t, tab, use);
}

// A row again under another id, or many under theirs.
static void insert_select(text *t, const prop_table *tab)
{
    text_add(t, "INSERT%s INTO %s ", or_what(), tab->name);
    column_list(t, tab, (1u << tab->n) - 1);
    text_add(t, " SELECT ");
    for (int i = 0; i < tab->n; i++) {
        const bool fresh = i == 0 ? chance(70) : i == tab->owner ? chance(40) : chance(10);
        if (fresh)
            value(t, tab, &tab->col[i]);
        else
            text_add(t, "%s", tab->col[i].name);
        text_add(t, i + 1 < tab->n ? ", " : "");
    }
    text_add(t, " FROM %s", tab->name);
    if (chance(90)) {
        text_add(t, " WHERE id = ");
        some_id(t, live_id(tab->entity));
    } else {
        text_add(t, " ORDER BY id LIMIT 3");
    }
}

static void insert_rowid(text *t, const prop_table *tab)
{
    const uint32_t use = some_columns(tab);
    text_add(t, "INSERT%s INTO %s (rowid, ", or_what(), tab->name);
    text cols = {0}, vals = {0};
    column_list(&cols, tab, use);
    row_values(&vals, tab, use);
    text_add(t, "%s VALUES (%u, %s", cols.p + 1, 1 + below(24), vals.p + 1);
    text_free(&cols);
    text_free(&vals);
}

static void where(text *t, const prop_table *tab)
{
    const uint32_t kind = below(100);
    text_add(t, " WHERE ");
    if (kind < 78 || tab->owner < 0) {
        text_add(t, "id = ");
        some_id(t, live_id(tab->entity));
    } else if (kind < 90) {
        text_add(t, "%s = ", tab->col[tab->owner].name);
        some_id(t, owner_id(tab));
    } else if (kind < 94) {
        text_add(t, "id > ");
        some_id(t, below(NIDS));
        text_add(t, " AND rowid %% 3 = 0");
    } else if (kind < 97) {
        text_add(t, "rowid = %u", 1 + below(24));
    } else {
        text_add(t, "id IN (SELECT id FROM %s ORDER BY id DESC LIMIT 4)", tab->name);
    }
}

static void update(text *t, const prop_table *tab)
{
    const uint32_t what = below(100);
    text_add(t, "UPDATE%s %s SET ", or_what(), tab->name);
    if (what < 8) { // another key
        text_add(t, "id = ");
        some_id(t, below(NIDS));
    } else if (what < 30 && tab->owner >= 0) { // another owner
        text_add(t, "%s = ", tab->col[tab->owner].name);
        some_id(t, owner_id(tab));
    } else if (what < 34) { // nothing new
        const char *c = tab->col[below((uint32_t)tab->n)].name;
        text_add(t, "%s = %s", c, c);
    } else if (what < 36) {
        text_add(t, "rowid = %u", 1 + below(24));
    } else {
        const char *sep = "";
        uint32_t used = 0;
        for (uint32_t n = 1 + below(4); n > 0; n--) {
            const uint32_t i = 1 + below((uint32_t)tab->n - 1);
            if ((used >> i & 1) || ((int)i == tab->owner && chance(80)))
                continue;
            used |= 1u << i;
            text_add(t, "%s%s = ", sep, tab->col[i].name);
            value(t, tab, &tab->col[i]);
            sep = ", ";
        }
        if (used == 0)
            text_add(t, "%s = %s", tab->col[1].name, tab->col[1].name);
        if (tab->updated >= 0 && !(used >> tab->updated & 1) && chance(40)) {
            text_add(t, ", %s = ", tab->col[tab->updated].name);
            value(t, tab, &tab->col[tab->updated]);
        }
        if (chance(4)) {
            text_add(t, ", id = ");
            some_id(t, below(NIDS));
        }
    }
    where(t, tab);
}

static void users(text *t)
{
    text_add(t, chance(50) ? "DELETE FROM users WHERE id = "
                           : "INSERT OR IGNORE INTO users (email, id) SELECT 'x', ");
    lit_id(t, g.ids[below(NIDS)], 16);
}

// A whole request moves, or its family comes and goes: what random columns seldom do.
static void family(text *t)
{
    const uint32_t id = live_id(RQC_HTTP), ws = g.ws[below(NWS)];
    switch (below(5)) {
    case 0:
    case 1:
        text_add(t, "UPDATE http SET workspace_id = ");
        lit_id(t, g.ids[ws], 16);
        text_add(t, " WHERE id = ");
        break;
    case 2:
        text_add(t, "UPDATE http_response SET http_id = ");
        lit_id(t, g.ids[live_id(RQC_HTTP)], 16);
        text_add(t, " WHERE http_id = ");
        break;
    case 3:
        text_add(t,
                 "INSERT OR REPLACE INTO http (id, workspace_id, name, url, method) SELECT id, ");
        lit_id(t, g.ids[ws], 16);
        text_add(t, ", name, url, method FROM http WHERE id = ");
        break;
    default: text_add(t, "DELETE FROM http WHERE id = "); break;
    }
    lit_id(t, g.ids[id], 16);
}

static void statement(text *t)
{
    const prop_table *tab = some_table();
    const uint32_t kind = below(1000);
    if (kind < 360)
        insert(t, tab);
    else if (kind < 420)
        insert_select(t, tab);
    else if (kind < 450)
        insert_rowid(t, tab);
    else if (kind < 740)
        update(t, tab);
    else if (kind < 820)
        family(t);
    else if (kind < 985) {
        text_add(t, "DELETE FROM %s", tab->name);
        where(t, tab);
    } else if (kind < 995)
        users(t);
    else if (kind < 997)
        text_add(t, "DELETE FROM %s", tab->name);
    else
        text_add(t, "UPDATE %s SET %s = %s", tab->name, tab->col[1].name, tab->col[1].name);
    text_bytes(t, "", 1);
}

static unsigned pragmas(text *t)
{
    unsigned n = 0;
    const char *const set[] = {
        chance(g.dangling ? 80 : 30) ? "PRAGMA foreign_keys = OFF" : "PRAGMA foreign_keys = ON",
        chance(50) ? "PRAGMA recursive_triggers = OFF" : "PRAGMA recursive_triggers = ON",
        g.hostile && chance(20) ? "PRAGMA ignore_check_constraints = ON"
                                : "PRAGMA ignore_check_constraints = OFF",
    };
    for (; n < sizeof set / sizeof *set; n++)
        text_bytes(t, set[n], strlen(set[n]) + 1);
    return n;
}

static unsigned one(text *t, const char *s)
{
    text_bytes(t, s, strlen(s) + 1);
    return 1;
}

unsigned sql_transaction(text *t)
{
    unsigned n = pragmas(t), depth = 0;
    const bool alone = chance(20); // each statement a transaction of its own
    if (below(400) == 0)
        return n + one(t, "VACUUM");
    if (below(100) == 0)
        return n + one(t, "PRAGMA wal_checkpoint(TRUNCATE)");
    if (!alone)
        n += one(t, chance(50) ? "BEGIN IMMEDIATE" : "BEGIN");
    if (!alone && chance(5))
        n += one(t, "PRAGMA defer_foreign_keys = ON");
    for (uint32_t i = 1 + below(chance(10) ? 25 : 6); i > 0; i--) {
        statement(t);
        n++;
        if (!alone && chance(12)) {
            n += one(t, "SAVEPOINT s");
            depth++;
        } else if (depth > 0 && chance(30)) {
            n += one(t, chance(50) ? "ROLLBACK TO s" : "RELEASE s");
        }
    }
    if (!alone)
        n += one(t, chance(8) ? "ROLLBACK" : "COMMIT");
    return n;
}

void sql_setup(void)
{
    char fault[256];
    text t = {0};
    for (unsigned i = 0; i < NIDS; i++) {
        text_add(&t, "INSERT INTO users (id, email) VALUES (");
        lit_id(&t, g.ids[i], 16);
        text_add(&t, ", 'u%u')", i);
        text_bytes(&t, "", 1);
    }
    for (unsigned i = 0; i < NWS; i++) {
        text_add(&t, "INSERT INTO workspaces (id, name) VALUES (");
        lit_id(&t, g.ids[g.ws[i]], 16);
        text_add(&t, ", 'w%u')", i);
        text_bytes(&t, "", 1);
    }
    for (unsigned i = below(60); i > 0; i--)
        statement(&t);
    uint64_t refused = 0;
    story_begin("rows that were there before");
    for (const char *s = t.p; s < t.p + t.len; s += strlen(s) + 1)
        story_add(s);
    if (!foreign_exec(g.foreign, t.p, t.len, &refused, fault))
        bail("setup: %s", fault);
    text_free(&t);
}

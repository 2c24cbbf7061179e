// SPDX-License-Identifier: Apache-2.0
// The oracle: what the reads must tell, from plain SQL on a connection of its own.
#include "tests/property.h"

#define STATEMENTS 160

static struct {
    char *sql;
    sqlite3_stmt *stmt;
} cache[STATEMENTS];
static unsigned ncache;

// A view m_TABLE for each table: the rows that can be mirrored, every column as its declared type.
static void make_view(const prop_table *t)
{
    text sql = {0};
    text_add(&sql, "CREATE TEMP VIEW m_%s AS SELECT ", t->name);
    for (int i = 0; i < t->n; i++) {
        const char *c = t->col[i].name;
        switch (t->col[i].type) {
        case 'U':
            text_add(&sql, "CASE WHEN typeof(%s) = 'blob' AND length(%s) = 16 THEN %s END", c, c,
                     c);
            break;
        case 'A': text_add(&sql, "%s", c); break;
        case 'T': text_add(&sql, "CAST(%s AS TEXT)", c); break;
        case 'Y': text_add(&sql, "CAST(%s AS BLOB)", c); break;
        case 'I': text_add(&sql, "CAST(%s AS INTEGER)", c); break;
        case 'R': text_add(&sql, "CAST(%s AS REAL)", c); break;
        default: text_add(&sql, "(CAST(%s AS REAL) <> 0)", c); break;
        }
        text_add(&sql, " AS %s%s", c, i + 1 < t->n ? ", " : "");
    }
    text_add(&sql, " FROM main.%s WHERE typeof(id) = 'blob' AND length(id) = 16", t->name);
    if (sqlite3_exec(g.oracle, sql.p, NULL, NULL, NULL) != SQLITE_OK)
        bail("%s: %s", sql.p, sqlite3_errmsg(g.oracle));
    text_free(&sql);
}

void oracle_open(void)
{
    if (sqlite3_open(g.path, &g.oracle) != SQLITE_OK)
        bail("oracle: %s", sqlite3_errmsg(g.oracle));
    sqlite3_busy_timeout(g.oracle, 5000);
    sqlite3_exec(g.oracle,
                 "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint "
                 "= 0; PRAGMA synchronous = OFF",
                 NULL, NULL, NULL);
    for (unsigned e = 1; e < NENTITIES; e++)
        make_view(&prop_tables[e]);
}

void oracle_close(void)
{
    for (unsigned i = 0; i < ncache; i++) {
        sqlite3_finalize(cache[i].stmt);
        free(cache[i].sql);
    }
    ncache = 0;
    sqlite3_close(g.oracle);
    g.oracle = NULL;
}

sqlite3_stmt *oracle_sql(const char *sql)
{
    for (unsigned i = 0; i < ncache; i++)
        if (strcmp(cache[i].sql, sql) == 0) {
            sqlite3_reset(cache[i].stmt);
            sqlite3_clear_bindings(cache[i].stmt);
            return cache[i].stmt;
        }
    if (ncache == STATEMENTS)
        bail("more statements than expected");
    if (sqlite3_prepare_v2(g.oracle, sql, -1, &cache[ncache].stmt, NULL) != SQLITE_OK)
        bail("%s: %s", sql, sqlite3_errmsg(g.oracle));
    cache[ncache].sql = strdup(sql);
    return cache[ncache++].stmt;
}

int64_t oracle_number(const char *sql)
{
    sqlite3_stmt *s = oracle_sql(sql);
    const int rc = sqlite3_step(s);
    if (rc != SQLITE_ROW)
        bail("%s: %s", sql, sqlite3_errmsg(g.oracle));
    const int64_t n = sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    return n;
}

// ---- Canonical forms ----

static void form_long(text *t, char tag, const void *p, size_t n)
{
    if (n > RQC_LARGE_BYTES) {
        XXH128_canonical_t h;
        const uint64_t length = n;
        XXH128_canonicalFromHash(&h, XXH3_128bits(p, n));
        text_bytes(t, "L", 1);
        text_bytes(t, &length, sizeof length);
        text_bytes(t, h.digest, 16);
        return;
    }
    const uint32_t length = (uint32_t)n;
    text_bytes(t, &tag, 1);
    text_bytes(t, &length, sizeof length);
    text_bytes(t, p, n);
}

static void form_int(text *t, int64_t i)
{
    text_bytes(t, "I", 1);
    text_bytes(t, &i, sizeof i);
}

static void form_real(text *t, double d)
{
    text_bytes(t, "R", 1);
    text_bytes(t, &d, sizeof d);
}

static void form_bool(text *t, bool b)
{
    text_bytes(t, "B", 1);
    text_bytes(t, b ? "\1" : "\0", 1);
}

static void form_sql(text *t, sqlite3_stmt *s, int i, char type)
{
    const int class = sqlite3_column_type(s, i);
    const void *p = class == SQLITE_TEXT   ? (const void *)sqlite3_column_text(s, i)
                    : class == SQLITE_BLOB ? sqlite3_column_blob(s, i)
                                           : NULL;
    const size_t n = p != NULL ? (size_t)sqlite3_column_bytes(s, i) : 0;
    if (class == SQLITE_NULL) {
        text_bytes(t, "N", 1);
        return;
    }
    switch (type) {
    case 'U':
        text_bytes(t, "U", 1);
        text_bytes(t, p, 16);
        return;
    case 'T':
    case 'Y': form_long(t, type, p, n); return;
    case 'I': form_int(t, sqlite3_column_int64(s, i)); return;
    case 'R': form_real(t, sqlite3_column_double(s, i)); return;
    case 'B': form_bool(t, sqlite3_column_int(s, i) != 0); return;
    default: break;
    }
    if (class == SQLITE_INTEGER)
        form_int(t, sqlite3_column_int64(s, i));
    else if (class == SQLITE_FLOAT)
        form_real(t, sqlite3_column_double(s, i));
    else
        form_long(t, class == SQLITE_TEXT ? 'T' : 'Y', p, n);
}

void form_value(text *t, const rqc_value *v)
{
    switch (v->type) {
    case RQC_NULL: text_bytes(t, "N", 1); return;
    case RQC_INT: form_int(t, v->u.i); return;
    case RQC_REAL: form_real(t, v->u.d); return;
    case RQC_BOOL: form_bool(t, v->u.i != 0); return;
    case RQC_TEXT: form_long(t, 'T', v->p, v->n); return;
    case RQC_BYTES: form_long(t, 'Y', v->p, v->n); return;
    case RQC_ID:
        text_bytes(t, "U", 1);
        text_bytes(t, v->p, 16);
        return;
    case RQC_LARGE:
        text_bytes(t, "L", 1);
        text_bytes(t, &v->u.length, sizeof v->u.length);
        text_bytes(t, v->p, 16);
        return;
    case RQC_ABSENT:
    default: text_bytes(t, "X", 1); return;
    }
}

void form_record(text *t, const rqc_record *r)
{
    const prop_table *tab = &prop_tables[rqc_record_entity(r)];
    for (int i = 0; i < tab->n; i++) {
        const rqc_value v = rqc_field(r, tab->col[i].field);
        form_value(t, &v);
    }
}

static size_t form_size(const uint8_t *p)
{
    uint32_t n;
    switch (*p) {
    case 'I':
    case 'R': return 9;
    case 'B': return 2;
    case 'U': return 17;
    case 'L': return 25;
    case 'T':
    case 'Y': memcpy(&n, p + 1, sizeof n); return 5 + (size_t)n;
    default: return 1;
    }
}

const uint8_t *form_column(const uint8_t *form, size_t len, int column, size_t *ret_len)
{
    const uint8_t *end = form + len;
    for (; form < end && column > 0; column--)
        form += form_size(form);
    *ret_len = form < end ? form_size(form) : 0;
    return form;
}

static void show(char *out, size_t room, const uint8_t *p, size_t n)
{
    size_t at = 0;
    int64_t i;
    double d;
    memcpy(&i, n >= 9 ? p + 1 : (const uint8_t *)"\0\0\0\0\0\0\0\0", 8);
    memcpy(&d, &i, sizeof d);
    if (n == 9) {
        if (*p == 'I')
            snprintf(out, room, "I %" PRId64, i);
        else
            snprintf(out, room, "R %.17g", d);
        return;
    }
    out[0] = 0;
    for (size_t k = 0; k < n && k < 24 && at + 4 < room; k++)
        at += (size_t)snprintf(out + at, room - at, k == 0 ? "%c " : "%02x", p[k]);
    if (n > 24)
        snprintf(out + at, room - at, "… (%zu)", n);
}

const char *form_difference(const prop_table *t, const uint8_t *got, size_t ngot,
                            const uint8_t *want, size_t nwant)
{
    static char out[400];
    for (int i = 0; i < t->n; i++) {
        size_t a, b;
        char shown[2][100];
        const uint8_t *p = form_column(got, ngot, i, &a), *q = form_column(want, nwant, i, &b);
        if (a == b && memcmp(p, q, a) == 0)
            continue;
        show(shown[0], sizeof shown[0], p, a);
        show(shown[1], sizeof shown[1], q, b);
        snprintf(out, sizeof out, "%s.%s is %s, SQL says %s", t->name, t->col[i].name, shown[0],
                 shown[1]);
        return out;
    }
    return "no difference";
}

// ---- The whole database ----

static const char *load_sql(const prop_table *t)
{
    static text sql[NENTITIES];
    text *s = &sql[t->entity];
    if (s->len > 0)
        return s->p;
    const char *home = "coalesce(x.workspace_id, zeroblob(16))";
    if (t->owner_entity == 0)
        home = "x.id";
    else if (t->owner_entity == RQC_HTTP)
        home = "coalesce((SELECT h.workspace_id FROM m_http h WHERE h.id = coalesce(x.http_id, "
               "zeroblob(16))), zeroblob(16))";
    else if (t->owner_entity == RQC_HTTP_RESPONSE)
        home = "coalesce((SELECT h.workspace_id FROM m_http_response p JOIN m_http h ON h.id = "
               "coalesce(p.http_id, zeroblob(16)) WHERE p.id = coalesce(x.response_id, "
               "zeroblob(16))), zeroblob(16))";
    text_add(s, "SELECT ");
    for (int i = 0; i < t->n; i++)
        text_add(s, "x.%s, ", t->col[i].name);
    text_add(s, "%s FROM m_%s x ORDER BY x.id", home, t->name);
    return s->p;
}

static void load_row(prop_state *s, const prop_table *t, sqlite3_stmt *q)
{
    const uint8_t *id = sqlite3_column_blob(q, 0);
    const int number = id_number(id);
    if (number == NO_ID)
        bail("%s: an id that nobody made", t->name);
    prop_row *r = &s->rows[t->entity][number];
    text form = {(char *)s->bytes, s->len, s->cap};
    r->at = s->len;
    for (int i = 0; i < t->n; i++)
        form_sql(&form, q, i, t->col[i].type);
    s->bytes = (uint8_t *)form.p;
    s->cap = form.cap;
    s->len = form.len;
    r->len = s->len - r->at;
    r->hash = XXH3_128bits(s->bytes + r->at, r->len);
    r->live = true;
    r->owner = NO_ID;
    if (t->owner >= 0) { // an owner that is no id counts as the zero id
        if (sqlite3_column_type(q, t->owner) != SQLITE_NULL)
            memcpy(r->owner_id, sqlite3_column_blob(q, t->owner), 16);
        r->owner = id_number(r->owner_id);
    }
    memcpy(r->home, sqlite3_column_blob(q, t->n), 16);
    r->updated = t->updated >= 0 ? sqlite3_column_int64(q, t->updated) : 0;
    r->enabled = t->enabled < 0 || sqlite3_column_int(q, t->enabled) != 0;
}

void oracle_load(prop_state *s)
{
    memset(s->rows, 0, sizeof s->rows);
    s->len = 0;
    s->total = 0;
    for (unsigned e = 1; e < NENTITIES; e++) {
        char count[80];
        sqlite3_stmt *q = oracle_sql(load_sql(&prop_tables[e]));
        int rc;
        while ((rc = sqlite3_step(q)) == SQLITE_ROW)
            load_row(s, &prop_tables[e], q);
        if (rc != SQLITE_DONE)
            bail("%s: %s", prop_tables[e].name, sqlite3_errmsg(g.oracle));
        sqlite3_reset(q);
        snprintf(count, sizeof count, "SELECT count(*) FROM %s", prop_tables[e].name);
        s->total += (uint64_t)oracle_number(count);
    }
    s->head = (uint64_t)oracle_number("SELECT coalesce(max(seq), 1) FROM change_log");
}

void state_free(prop_state *s)
{
    free(s->bytes);
    memset(s, 0, sizeof *s);
}

// SPDX-License-Identifier: Apache-2.0
// Chains and overlays against a resolution of this test's own, over rows that SQL gives.
#include "tests/property.h"

#define DEEP (NIDS + 1u)

// A row of SQL in canonical form.
typedef struct sql_row {
    int id;
    const uint8_t *form;
    size_t len;
} sql_row;

static sql_row row_of(int entity, int id)
{
    const prop_row *r = &g.now->rows[entity][id];
    return (sql_row){id, g.now->bytes + r->at, r->len};
}

static bool column_null(const prop_table *t, const sql_row *r, const char *name)
{
    size_t n;
    return *form_column(r->form, r->len, prop_column_of(t, name), &n) == 'N';
}

// The override column of a column, -1 without one.
static int override_of(const prop_table *t, int column)
{
    char name[48];
    snprintf(name, sizeof name, "delta_%s", t->col[column].name);
    for (int i = 0; i < t->n; i++)
        if (strcmp(t->col[i].name, name) == 0)
            return i;
    return -1;
}

static bool is_override(const prop_column *c)
{
    return strncmp(c->name, "delta_", 6) == 0;
}

static void compare_value(int check, const prop_table *t, int column, const rqc_value *got,
                          const uint8_t *want, size_t n, const char *what)
{
    static text form;
    form.len = 0;
    form_value(&form, got);
    CHECK(check, form.len == n && memcmp(form.p, want, n) == 0,
          "%s: %s.%s is %c (%zu bytes), SQL says %c (%zu bytes)", what, t->name,
          t->col[column].name, *form.p, form.len, (char)*want, n);
}

// ---- Chains ----

static unsigned hex_digit(unsigned char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

static unsigned sql_chain(const uint8_t *base, int64_t until, int ids[DEEP])
{
    sqlite3_stmt *s = oracle_sql("WITH RECURSIVE c (id, depth, updated, path) AS (SELECT id, 0, "
                                 "updated_at, hex(id) FROM m_http WHERE id = ?1 AND NOT is_delta "
                                 "UNION ALL SELECT h.id, c.depth + 1, h.updated_at, c.path || "
                                 "hex(h.id) FROM m_http h JOIN c ON h.parent_http_id = c.id "
                                 "WHERE h.is_delta AND h.updated_at <= ?2) SELECT path FROM c "
                                 "ORDER BY depth DESC, updated DESC, id DESC LIMIT 1");
    sqlite3_bind_blob(s, 1, base, 16, SQLITE_TRANSIENT);
    sqlite3_bind_int64(s, 2, until);
    unsigned n = 0;
    if (sqlite3_step(s) == SQLITE_ROW) {
        const unsigned char *p = sqlite3_column_text(s, 0);
        for (; p[32 * n] != 0; n++) {
            uint8_t id[16];
            for (unsigned i = 0; i < 16; i++)
                id[i] =
                    (uint8_t)(hex_digit(p[32 * n + 2 * i]) << 4 | hex_digit(p[32 * n + 2 * i + 1]));
            ids[n] = id_number(id);
        }
    }
    sqlite3_reset(s);
    return n;
}

static void check_chain_fields(const rqc_list *chain, const int *ids, unsigned n)
{
    const prop_table *t = &prop_tables[RQC_HTTP];
    for (int c = 0; c < t->n; c++) {
        const int over = override_of(t, c);
        const bool hash = strcmp(t->col[c].name, "content_hash") == 0;
        const sql_row base = row_of(RQC_HTTP, ids[0]), last = row_of(RQC_HTTP, ids[n - 1]);
        size_t len;
        const uint8_t *want = form_column(over >= 0 || hash ? base.form : last.form,
                                          over >= 0 || hash ? base.len : last.len, c, &len);
        for (unsigned i = 1; i < n && (over >= 0 || hash); i++) {
            const sql_row delta = row_of(RQC_HTTP, ids[i]);
            size_t m;
            const uint8_t *own = form_column(delta.form, delta.len, hash ? c : over, &m);
            if (*own != 'N') {
                want = own;
                len = m;
            }
        }
        const rqc_value v = rqc_chain_field(chain, t->col[c].field);
        compare_value(C_CHAIN, t, c, &v, want, len, "chain");
    }
}

static void check_chain(rqc_read *r)
{
    static rqc_list list = RQC_LIST_INIT;
    const uint8_t *base = g.ids[below(NIDS)];
    const int64_t until = chance(60) ? RQC_ANY_TIME : some_time();
    int ids[DEEP];
    const unsigned n = sql_chain(base, until, ids);
    CHECK(C_CHAIN, rqc_chain(r, base, until, &list) == RQC_OK, "chain: %s", rqc_read_error(r));
    bool same = list.n == n;
    for (unsigned i = 0; i < n && same; i++)
        same = id_number(rqc_record_id(list.items[i])) == ids[i];
    CHECK(C_CHAIN, same,
          "the chain of %s until %" PRId64 " has %zu records and ends with %s, SQL says %u and %s",
          id_name(base), until, list.n,
          list.n > 0 ? id_name(rqc_record_id(list.items[list.n - 1])) : "nothing", n,
          n > 0 ? id_name(g.ids[ids[n - 1]]) : "nothing");
    if (n > 0)
        check_chain_fields(&list, ids, n);
    g.cover.deep_chains += n > 2;
}

// ---- Overlays ----

static unsigned sql_children(const prop_table *t, const uint8_t *owner, sql_row rows[NIDS])
{
    char sql[200];
    snprintf(sql, sizeof sql,
             "SELECT id FROM m_%s WHERE coalesce(%s, zeroblob(16)) = ?1 ORDER BY %s, id", t->name,
             t->col[t->owner].name, t->order >= 0 ? t->col[t->order].name : "1");
    sqlite3_stmt *s = oracle_sql(sql);
    sqlite3_bind_blob(s, 1, owner, 16, SQLITE_TRANSIENT);
    unsigned n = 0;
    while (sqlite3_step(s) == SQLITE_ROW)
        rows[n++] = row_of(t->entity, id_number(sqlite3_column_blob(s, 0)));
    sqlite3_reset(s);
    return n;
}

// One resolved record: `row` overridden by `over`, the last first in force.
static void check_item(const prop_table *t, const rqc_item *item, const sql_row *row,
                       const sql_row *over, unsigned nover, rqc_origin origin, const char *what)
{
    CHECK(C_RESOLVE,
          id_number(rqc_record_id(item->record)) == row->id && item->origin == origin &&
              item->nover == nover,
          "%s: record %s origin %d with %u overrides, SQL says %s origin %d with %u", what,
          id_name(rqc_record_id(item->record)), (int)item->origin, item->nover,
          id_name(g.ids[row->id]), (int)origin, nover);
    for (int c = 0; c < t->n; c++) {
        size_t len;
        const uint8_t *want = form_column(row->form, row->len, c, &len);
        if (nover > 0 && is_override(&t->col[c])) {
            want = (const uint8_t *)"N";
            len = 1;
        } else if (nover > 0 && c == t->is_delta) {
            want = (const uint8_t *)"B";
            len = 2; // and the zero behind it
        } else if (nover > 0 && c != t->order) {
            const int column = override_of(t, c);
            for (unsigned i = 0; column >= 0 && i < nover; i++) {
                size_t n;
                const uint8_t *own = form_column(over[i].form, over[i].len, column, &n);
                if (*own != 'N') {
                    want = own;
                    len = n;
                }
            }
        }
        const rqc_value v = rqc_item_field(item, t->col[c].field);
        compare_value(C_RESOLVE, t, c, &v, want, len, what);
    }
}

static int parent_number(const prop_table *t, const sql_row *r)
{
    size_t n;
    const uint8_t *p = form_column(r->form, r->len, t->parent, &n);
    return *p == 'U' ? id_number(p + 1) : NO_ID;
}

static void check_overlay(const prop_table *t, const rqc_items *got, const uint8_t *base,
                          const uint8_t *delta)
{
    sql_row rows[NIDS], more[NIDS];
    const unsigned n = sql_children(t, base, rows),
                   m = delta != NULL ? sql_children(t, delta, more) : 0;
    unsigned at = 0;
    for (unsigned i = 0; i < n; i++, at++) {
        sql_row over[NIDS];
        unsigned nover = 0;
        for (unsigned k = 0; k < m; k++)
            if (parent_number(t, &more[k]) == rows[i].id) {
                nover = t->entity == RQC_HTTP_ASSERT ? nover : 0; // of several the last wins whole
                over[nover++] = more[k];
            }
        CHECK(C_RESOLVE, at < got->n, "resolved %s end early", t->name);
        check_item(t, &got->items[at], &rows[i], over, nover,
                   nover > 0 ? RQC_ORIGIN_OVERRIDE : RQC_ORIGIN_BASE, "overlay");
        g.cover.overrides += nover;
    }
    for (unsigned k = 0; k < m; k++)
        if (column_null(t, &more[k], t->col[t->parent].name)) {
            CHECK(C_RESOLVE, at < got->n, "resolved %s lack an addition", t->name);
            check_item(t, &got->items[at++], &more[k], NULL, 0, RQC_ORIGIN_ADDITION, "addition");
        }
    CHECK(C_RESOLVE, at == got->n, "%zu resolved %s, SQL says %u", got->n, t->name, at);
}

// True where the column holds bytes, and not none.
static bool has_bytes(const sql_row *r, const char *name, const uint8_t **ret, size_t *ret_len)
{
    *ret = form_column(r->form, r->len, prop_column_of(&prop_tables[RQC_HTTP_BODY_RAW], name),
                       ret_len);
    return **ret == 'L' || (**ret == 'Y' && *ret_len > 5);
}

static void check_body(const rqc_resolved *m, const uint8_t *base, const uint8_t *delta)
{
    const prop_table *t = &prop_tables[RQC_HTTP_BODY_RAW];
    sql_row b[NIDS], d[NIDS];
    const bool has_base = sql_children(t, base, b) > 0,
               has_delta = delta != NULL && sql_children(t, delta, d) > 0;
    CHECK(C_RESOLVE, m->raw.present == (has_base || has_delta), "a body is %s",
          m->raw.present ? "there" : "missing");
    if (!has_base && !has_delta)
        return;
    CHECK(C_RESOLVE,
          has_base ? m->raw.id != NULL && id_number(m->raw.id) == b->id : m->raw.id == NULL,
          "the body has another id");
    const uint8_t *want;
    size_t len, n;
    const char *codec = "compression_type";
    const sql_row *from = d;
    bool some = has_delta && has_bytes(d, "delta_raw_data", &want, &len);
    if (some)
        codec = "delta_compression_type";
    else
        some = has_delta && has_bytes(d, "raw_data", &want, &len);
    const bool overridden = some;
    if (!some) {
        from = has_base ? b : d;
        some = has_bytes(from, "raw_data", &want, &len);
    }
    compare_value(C_RESOLVE, t, prop_column_of(t, "raw_data"), &m->raw.bytes, want, len, "body");
    const rqc_origin origin = !has_base    ? RQC_ORIGIN_ADDITION
                              : overridden ? RQC_ORIGIN_OVERRIDE
                                           : RQC_ORIGIN_BASE;
    CHECK(C_RESOLVE, m->raw.origin == origin, "the body's origin is %d, not %d", (int)m->raw.origin,
          (int)origin);
    if (!some)
        return;
    int64_t compression = 0;
    const uint8_t *p = form_column(from->form, from->len, prop_column_of(t, codec), &n);
    if (*p == 'I')
        memcpy(&compression, p + 1, sizeof compression);
    CHECK(C_RESOLVE, m->raw.compression == compression,
          "the body's codec is %" PRId64 ", not %" PRId64, m->raw.compression, compression);
    const rqc_value v = rqc_field(m->raw.source, m->raw.source_field);
    compare_value(C_RESOLVE, t, prop_column_of(t, "raw_data"), &v, want, len, "source of the body");
}

static rqc_err sql_verdict(int base, int delta)
{
    const prop_table *t = &prop_tables[RQC_HTTP];
    if (!g.now->rows[RQC_HTTP][base].live || (delta != NO_ID && !g.now->rows[RQC_HTTP][delta].live))
        return RQC_NOT_FOUND;
    if (delta == NO_ID)
        return RQC_OK;
    const sql_row d = row_of(RQC_HTTP, delta);
    size_t n;
    const bool is_delta = form_column(d.form, d.len, t->is_delta, &n)[1] == 1;
    return is_delta && parent_number(t, &d) == base ? RQC_OK : RQC_INVALID;
}

static void check_overlays(rqc_read *r)
{
    static rqc_resolved m = RQC_RESOLVED_INIT;
    const prop_table *t = &prop_tables[RQC_HTTP];
    int base = (int)below(NIDS), delta = chance(20) ? NO_ID : (int)below(NIDS);
    if (delta != NO_ID && g.now->rows[RQC_HTTP][delta].live && chance(90)) {
        const sql_row d = row_of(RQC_HTTP, delta);
        base = parent_number(t, &d) != NO_ID ? parent_number(t, &d) : base;
    }
    const uint8_t *base_id = g.ids[base], *delta_id = delta != NO_ID ? g.ids[delta] : NULL;
    const rqc_err rc = rqc_resolve(r, base_id, delta_id, &m), want = sql_verdict(base, delta);
    CHECK(C_RESOLVE, rc == want, "resolve of %s with %s gives %d, not %d", id_name(base_id),
          delta_id != NULL ? id_name(delta_id) : "nothing", (int)rc, (int)want);
    if (rc != RQC_OK)
        return;
    story_blame(base);
    const sql_row b = row_of(RQC_HTTP, base), d = row_of(RQC_HTTP, delta != NO_ID ? delta : base);
    check_item(t, &m.http, &b, &d, delta != NO_ID,
               delta != NO_ID ? RQC_ORIGIN_OVERRIDE : RQC_ORIGIN_BASE, "resolved request");
    check_overlay(&prop_tables[RQC_HTTP_HEADER], &m.headers, base_id, delta_id);
    check_overlay(&prop_tables[RQC_HTTP_SEARCH_PARAM], &m.params, base_id, delta_id);
    check_overlay(&prop_tables[RQC_HTTP_BODY_FORM], &m.form, base_id, delta_id);
    check_overlay(&prop_tables[RQC_HTTP_BODY_URLENCODED], &m.urlencoded, base_id, delta_id);
    check_overlay(&prop_tables[RQC_HTTP_ASSERT], &m.asserts, base_id, delta_id);
    check_body(&m, base_id, delta_id);
    story_blame(NO_ID);
    if (chance(5))
        rqc_resolved_free(&m);
}

void check_resolve(rqc_read *r)
{
    for (unsigned i = 0; i < 3; i++) {
        check_chain(r);
        check_overlays(r);
    }
}

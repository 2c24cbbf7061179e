// SPDX-License-Identifier: Apache-2.0
// Our own transactions. What each should do is tried first in SQL, by the oracle's connection, and
// taken back.
#include "tests/property.h"

#include <math.h>
#include <time.h>

#define WRITES      6
#define CLOCK_SLACK 5 // seconds between the trial and the commit

enum { PUT, ADD, PATCH, DELETE };
static const char *const names[] = {"put", "add", "patch", "delete"};

typedef struct own_write {
    int kind;
    const prop_table *tab;
    uint32_t id;
    uint64_t if_seq;
    rqc_value row[RQC_FIELD_MAX]; // by column
} own_write;

typedef struct outcome {
    rqc_err err;
    uint64_t written, skipped, deleted, head;
    uint64_t base;     // head before it
    bool clock;        // columns took the time of the trial
    uint32_t inserted; // a bit for each write that made a row
} outcome;

// Long values point into this; built once.
static char pool[RQC_LARGE_BYTES + 10001];

// ---- Rows ----

static rqc_value own_text(bool null)
{
    static const char *const few[] = {"",       "a",         "b",
                                      "Accept", "text/html", "\xc3\xa9\xf0\x9f\x98\x80"};
    const uint32_t kind = below(100);
    if (null && chance(40))
        return rqc_null();
    if (kind < 85)
        return rqc_text(few[below(sizeof few / sizeof *few)]);
    if (kind < 97)
        return rqc_textn(pool, 1 + below(2500));
    return rqc_textn(pool, RQC_LARGE_BYTES - 1 + below(kind < 98 ? 3 : 9000));
}

static rqc_value own_id(uint32_t n)
{
    return rqc_id(g.ids[n]);
}

static uint32_t live(int entity)
{
    uint32_t n = below(NIDS);
    if (chance(15))
        return n;
    for (unsigned i = 0; i < NIDS && !g.now->rows[entity][n].live; i++)
        n = (n + 1) % NIDS;
    return n;
}

static int64_t own_number(void)
{
    static const int64_t some[] = {0,         1,        2, 3, -1, 200, 404, INT64_C(1234567890123),
                                   INT64_MAX, INT64_MIN};
    return some[below(sizeof some / sizeof *some)];
}

static rqc_value own_bool(bool b)
{
    return chance(80) ? rqc_bool(b) : rqc_int(b);
}

static rqc_value own_real(void)
{
    static const double some[] = {0,  -0.0,  1,   1.5,      2,        2,
                                  -1, 1e300, 0.1, 16777217, INFINITY, -INFINITY};
    return chance(20) ? rqc_int((int64_t)below(4))
                      : rqc_real(some[below(sizeof some / sizeof *some)]);
}

static rqc_value own_value(const prop_table *t, const prop_column *c)
{
    static const char *const hashes[] = {"", "p1", "p2", "p3"};
    static const char *const versions[] = {"v0", "v1", "v2"};
    switch (c->kind) {
    case 'o':
        return own_id(t->owner_entity == RQC_WORKSPACES && chance(90) ? g.ws[below(NWS)]
                                                                      : live(t->owner_entity));
    case 'P': return chance(50) ? rqc_null() : own_id(live(t->entity));
    case 'F': return chance(70) ? rqc_null() : own_id(live(RQC_FILES));
    case 'X':
    case 'V': return chance(60) ? rqc_null() : own_id(below(NIDS));
    case 't':
    case 'e': return own_text(false);
    case 'T': return own_text(true);
    case 'v': return rqc_text(versions[below(3)]);
    case 'H': return chance(30) ? rqc_null() : rqc_text(hashes[below(4)]);
    case 'm': return rqc_text(some_method());
    case 'M': return chance(50) ? rqc_null() : rqc_text(some_method());
    case 'k': return rqc_int((int64_t)below(8));
    case 'N': return chance(50) ? rqc_null() : rqc_int(own_number());
    case 'n':
    case 'q':
    case 'w': return rqc_int(own_number());
    case 'c':
    case 'u': return rqc_int(some_time());
    case 'z': return own_bool(chance(20));
    case 'b': return own_bool(chance(70));
    case 's': return own_bool(chance(50));
    case 'B': return chance(50) ? rqc_null() : own_bool(chance(50));
    case 'r': return own_real();
    case 'R': return chance(50) ? rqc_null() : own_real();
    case 'd':
        return chance(30) ? rqc_null() : rqc_bytes(pool, below(chance(10) ? sizeof pool : 60));
    case 'a':
        switch (below(5)) {
        case 0: return rqc_int(own_number());
        case 1: return rqc_real(2.5);
        case 2: return rqc_bytes(pool, below(40));
        case 3: return rqc_text("123"); // becomes an integer in this column
        default: return rqc_text("2025-11-03 12:00:00 +0100");
        }
    default: return (rqc_value){.type = RQC_ABSENT};
    }
}

static bool is_type(const rqc_value *v, rqc_type type)
{
    return v->type == type;
}

static bool is_true(const rqc_value *v)
{
    return (v->type == RQC_BOOL || v->type == RQC_INT) && v->u.i != 0;
}

// The rules that a row must keep by itself: what rqc_put refuses at once.
static bool lawful(const own_write *w)
{
    const prop_table *t = w->tab;
    if (t->is_delta < 0 || !is_true(&w->row[t->is_delta]))
        return true;
    const rqc_value *parent = &w->row[t->parent];
    const bool parent_needed =
        t->entity != RQC_HTTP_SEARCH_PARAM && t->entity != RQC_HTTP_BODY_FORM;
    if (parent_needed &&
        (is_type(parent, RQC_NULL) || (is_type(parent, RQC_ABSENT) && w->kind != PATCH)))
        return false;
    return t->entity != RQC_HTTP || !is_true(&w->row[prop_column_of(t, "is_snapshot")]);
}

static void make_write(own_write *w)
{
    static const uint8_t often[] = {RQC_HTTP,        RQC_HTTP,          RQC_HTTP,
                                    RQC_HTTP_HEADER, RQC_HTTP_BODY_RAW, RQC_HTTP_RESPONSE,
                                    RQC_WORKSPACES};
    memset(w, 0, sizeof *w);
    w->tab = &prop_tables[chance(60) ? often[below(sizeof often)] : 1 + below(NENTITIES - 1)];
    const uint32_t kind = below(100);
    w->kind = kind < 45 ? PUT : kind < 60 ? ADD : kind < 85 ? PATCH : DELETE;
    w->id = w->kind == PUT || w->kind == ADD ? below(NIDS) : live(w->tab->entity);
    if (w->tab->entity == RQC_WORKSPACES && chance(80))
        w->id = g.ws[below(NWS)];
    if (w->kind == DELETE)
        return;
    for (int i = 1; i < w->tab->n; i++) {
        const bool needed = w->kind != PATCH && strchr("otvmqsa", w->tab->col[i].kind) != NULL;
        if (needed || chance(w->kind == PATCH ? 20 : 80))
            w->row[i] = own_value(w->tab, &w->tab->col[i]);
    }
    const prop_table *t = w->tab;
    if (t->is_delta >= 0 && is_true(&w->row[t->is_delta]) && !is_type(&w->row[t->parent], RQC_ID) &&
        chance(90))
        w->row[t->parent] = own_id(live(t->entity));
}

// ---- The trial ----

static void bind(sqlite3_stmt *s, int i, const rqc_value *v)
{
    switch (v->type) {
    case RQC_INT:
    case RQC_BOOL: sqlite3_bind_int64(s, i, v->u.i); break;
    case RQC_REAL: sqlite3_bind_double(s, i, v->u.d); break;
    case RQC_TEXT: sqlite3_bind_text(s, i, v->p, (int)v->n, SQLITE_STATIC); break;
    case RQC_BYTES:
    case RQC_ID: sqlite3_bind_blob(s, i, v->n > 0 ? v->p : "", (int)v->n, SQLITE_STATIC); break;
    default: sqlite3_bind_null(s, i); break;
    }
}

// What a column holds when a put does not give it.
static rqc_value fallback(const prop_column *c, outcome *o)
{
    switch (c->kind) {
    case 'e': return rqc_text("");
    case 'n':
    case 'k':
    case 'z': return rqc_int(0);
    case 'w': return rqc_int(2);
    case 'b': return rqc_int(1);
    case 'r': return rqc_real(0);
    case 'c':
    case 'u': o->clock = true; return rqc_int((int64_t)time(NULL));
    default: return rqc_null();
    }
}

static bool there(const own_write *w)
{
    char sql[100];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM %s WHERE id = ?1", w->tab->name);
    sqlite3_stmt *s = oracle_sql(sql);
    sqlite3_bind_blob(s, 1, g.ids[w->id], 16, SQLITE_STATIC);
    sqlite3_step(s);
    const bool is = sqlite3_column_int(s, 0) > 0;
    sqlite3_reset(s);
    return is;
}

// Changes by others: the transaction knows its own.
static bool changed_after(const own_write *w, uint64_t base)
{
    sqlite3_stmt *s = oracle_sql(
        "SELECT count(*) FROM change_log WHERE entity = ?1 AND id = ?2 AND seq > ?3 AND seq <= ?4");
    sqlite3_bind_int(s, 1, w->tab->entity);
    sqlite3_bind_blob(s, 2, g.ids[w->id], 16, SQLITE_STATIC);
    sqlite3_bind_int64(s, 3, (int64_t)w->if_seq);
    sqlite3_bind_int64(s, 4, (int64_t)base);
    sqlite3_step(s);
    const bool is = sqlite3_column_int(s, 0) > 0;
    sqlite3_reset(s);
    return is;
}

static uint64_t count_rows(void)
{
    uint64_t n = 0;
    for (unsigned e = 1; e < NENTITIES; e++) {
        char sql[80];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", prop_tables[e].name);
        n += (uint64_t)oracle_number(sql);
    }
    return n;
}

static rqc_err run(const own_write *w, const char *sql, const rqc_value *row, uint32_t use)
{
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(g.oracle, sql, -1, &s, NULL) != SQLITE_OK)
        bail("%s: %s", sql, sqlite3_errmsg(g.oracle));
    sqlite3_bind_blob(s, 1, g.ids[w->id], 16, SQLITE_STATIC);
    for (int i = 1; i < w->tab->n; i++)
        if (use >> i & 1)
            bind(s, i + 1, &row[i]);
    const int rc = sqlite3_step(s);
    sqlite3_finalize(s);
    return rc == SQLITE_DONE ? RQC_OK : rc == SQLITE_CONSTRAINT ? RQC_CONSTRAINT : RQC_INTERNAL;
}

static rqc_err try_insert(const own_write *w, const rqc_value *row)
{
    text sql = {0};
    text_add(&sql, "INSERT INTO %s (id", w->tab->name);
    for (int i = 1; i < w->tab->n; i++)
        text_add(&sql, ", %s", w->tab->col[i].name);
    text_add(&sql, ") VALUES (?1");
    for (int i = 1; i < w->tab->n; i++)
        text_add(&sql, ", ?%d", i + 1);
    text_add(&sql, ")");
    const rqc_err rc = run(w, sql.p, row, UINT32_MAX);
    text_free(&sql);
    return rc;
}

static rqc_err try_update(const own_write *w, const rqc_value *row, uint32_t use)
{
    text sql = {0};
    const char *sep = " ";
    text_add(&sql, "UPDATE %s SET", w->tab->name);
    for (int i = 1; i < w->tab->n; i++)
        if (use >> i & 1) {
            text_add(&sql, "%s%s = ?%d", sep, w->tab->col[i].name, i + 1);
            sep = ", ";
        }
    if (*sep == ' ')
        text_add(&sql, " id = id");
    text_add(&sql, " WHERE id = ?1");
    const rqc_err rc = run(w, sql.p, row, use);
    text_free(&sql);
    return rc;
}

static rqc_err try_write(const own_write *w, unsigned at, outcome *o)
{
    rqc_value row[RQC_FIELD_MAX];
    uint32_t use = 0;
    memcpy(row, w->row, sizeof row);
    const bool is = there(w);
    if (w->if_seq != 0 && changed_after(w, o->base))
        return RQC_CHANGED;
    if ((w->kind == PATCH || w->kind == DELETE) && !is)
        return RQC_NOT_FOUND;
    if (w->kind == DELETE) {
        const uint64_t before = count_rows();
        char sql[100];
        snprintf(sql, sizeof sql, "DELETE FROM %s WHERE id = ?1", w->tab->name);
        const rqc_err rc = run(w, sql, row, 0);
        o->deleted += before - count_rows();
        return rc;
    }
    if (w->kind == ADD && is) {
        o->skipped++;
        return RQC_OK;
    }
    o->written++;
    o->inserted |= (uint32_t)!is << at;
    if (w->kind == PATCH) {
        for (int i = 1; i < w->tab->n; i++)
            use |= (uint32_t)(row[i].type != RQC_ABSENT) << i;
        if (w->tab->updated >= 0 && !(use >> w->tab->updated & 1)) {
            row[w->tab->updated] = rqc_int((int64_t)time(NULL));
            use |= 1u << w->tab->updated;
            o->clock = true;
        }
        return try_update(w, row, use);
    }
    for (int i = 1; i < w->tab->n; i++)
        if (row[i].type == RQC_ABSENT)
            row[i] = fallback(&w->tab->col[i], o);
    return is ? try_update(w, row, UINT32_MAX) : try_insert(w, row);
}

// ---- References: judged when all of the writes are there ----

static bool unresolved(void)
{
    int now = 0, high = 0;
    sqlite3_db_status(g.oracle, SQLITE_DBSTATUS_DEFERRED_FKS, &now, &high, 0);
    return now != 0;
}

static bool points_to_nothing(const own_write *w)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM pragma_foreign_key_check('%s') AS f JOIN %s AS t"
             " ON t.rowid = f.rowid WHERE t.id = ?1",
             w->tab->name, w->tab->name);
    sqlite3_stmt *s = oracle_sql(sql);
    sqlite3_bind_blob(s, 1, g.ids[w->id], 16, SQLITE_STATIC);
    sqlite3_step(s);
    const bool is = sqlite3_column_int(s, 0) > 0;
    sqlite3_reset(s);
    return is;
}

// All rows that were written where a reference was open, else those that are new.
static rqc_err judge_references(const own_write *writes, unsigned n, bool open, uint32_t inserted)
{
    bool bad = unresolved();
    for (unsigned i = 0; i < n && !bad; i++)
        bad = (open ? writes[i].kind != DELETE : (inserted >> i & 1u) != 0) &&
              points_to_nothing(&writes[i]);
    return bad ? RQC_CONSTRAINT : RQC_OK;
}

// Tries the writes; *expect is the database after them.
static outcome trial(const own_write *writes, unsigned n, prop_state *expect)
{
    outcome o = {.err = RQC_OK};
    if (sqlite3_exec(g.oracle, "BEGIN IMMEDIATE; PRAGMA defer_foreign_keys = ON", NULL, NULL,
                     NULL) != SQLITE_OK)
        bail("trial: %s", sqlite3_errmsg(g.oracle));
    bool open = false;
    o.base = (uint64_t)oracle_number("SELECT coalesce(max(seq), 0) FROM change_log");
    for (unsigned i = 0; i < n && o.err == RQC_OK; i++) {
        o.err = try_write(&writes[i], i, &o);
        open = open || unresolved();
    }
    if (o.err == RQC_OK)
        o.err = judge_references(writes, n, open, o.inserted);
    if (o.err == RQC_OK)
        oracle_load(expect);
    if (sqlite3_exec(g.oracle, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
        bail("trial: %s", sqlite3_errmsg(g.oracle));
    if (o.err != RQC_OK)
        oracle_load(expect);
    o.head = expect->head;
    return o;
}

// ---- Comparison ----

static bool near(const uint8_t *a, size_t na, const uint8_t *b, size_t nb)
{
    int64_t i, j;
    if (na != 9 || nb != 9 || *a != 'I' || *b != 'I')
        return false;
    memcpy(&i, a + 1, 8);
    memcpy(&j, b + 1, 8);
    return i >= j && i - j <= CLOCK_SLACK && j > 1700000002;
}

static void compare_row(const prop_table *t, unsigned id, const prop_state *got,
                        const prop_state *want, bool clock)
{
    const prop_row *a = &got->rows[t->entity][id], *b = &want->rows[t->entity][id];
    story_blame((int)id);
    CHECK(C_OWN, a->live == b->live, "%s %s is %s after an own transaction", t->name,
          id_name(g.ids[id]), a->live ? "there" : "not there");
    if (!a->live || XXH128_isEqual(a->hash, b->hash))
        return;
    for (int i = 0; i < t->n; i++) {
        size_t n, m;
        const uint8_t *p = form_column(got->bytes + a->at, a->len, i, &n),
                      *q = form_column(want->bytes + b->at, b->len, i, &m);
        if (n == m && memcmp(p, q, n) == 0)
            continue;
        CHECK(C_OWN, clock && near(p, n, q, m), "after an own transaction %s: %s",
              id_name(g.ids[id]),
              form_difference(t, got->bytes + a->at, a->len, want->bytes + b->at, b->len));
    }
}

static void compare(const prop_state *got, const prop_state *want, bool clock)
{
    for (unsigned e = 1; e < NENTITIES; e++)
        for (unsigned i = 0; i < NIDS; i++)
            compare_row(&prop_tables[e], i, got, want, clock);
    story_blame(NO_ID);
}

// ---- What the library does ----

static void tell(const own_write *w)
{
    text t = {0};
    text_add(&t, "%s %s x'", names[w->kind], w->tab->name);
    for (unsigned i = 0; i < 16; i++)
        text_add(&t, "%02x", g.ids[w->id][i]);
    text_add(&t, "'%s", w->if_seq != 0 ? " if unchanged" : "");
    for (int i = 1; w->kind != DELETE && i < w->tab->n; i++) {
        const rqc_value *v = &w->row[i];
        const char *name = w->tab->col[i].name;
        switch (v->type) {
        case RQC_ABSENT: break;
        case RQC_NULL: text_add(&t, " %s=NULL", name); break;
        case RQC_INT:
        case RQC_BOOL: text_add(&t, " %s=%" PRId64, name, v->u.i); break;
        case RQC_REAL: text_add(&t, " %s=%g", name, v->u.d); break;
        case RQC_ID:
            text_add(&t, " %s=x'", name);
            for (unsigned k = 0; k < 16; k++)
                text_add(&t, "%02x", ((const uint8_t *)v->p)[k]);
            text_add(&t, "'");
            break;
        default:
            text_add(&t, " %s='%.*s'(%u)", name, v->n < 20 ? (int)v->n : 20, (const char *)v->p,
                     v->n);
            break;
        }
    }
    story_add(t.p);
    text_free(&t);
}

static rqc_err give(rqc_txn *t, const own_write *w)
{
    rqc_value row[RQC_FIELD_MAX] = {{RQC_ABSENT, 0, NULL, {0}}};
    for (int i = 1; i < w->tab->n; i++)
        row[w->tab->col[i].field] = w->row[i];
    const rqc_entity e = (rqc_entity)w->tab->entity;
    switch (w->kind) {
    case PUT: return rqc_put(t, e, g.ids[w->id], row);
    case ADD: return rqc_add(t, e, g.ids[w->id], row);
    case PATCH: return rqc_patch(t, e, g.ids[w->id], row, w->if_seq);
    default: return rqc_delete(t, e, g.ids[w->id], w->if_seq);
    }
}

// A write that no database needs to see to be refused.
static void offend(rqc_txn *t)
{
    own_write w;
    do
        make_write(&w);
    while (w.kind == DELETE);
    const int i = 1 + (int)below((uint32_t)w.tab->n - 1);
    const prop_column *c = &w.tab->col[i];
    rqc_value *v = &w.row[i];
    switch (below(5)) {
    case 0: *v = (rqc_value){.type = RQC_LARGE, .n = 16, .p = pool, .u.length = 40000}; break;
    case 1: *v = c->type == 'T' || c->type == 'A' ? rqc_textn("a\0b", 3) : rqc_text("x"); break;
    case 2: *v = c->type == 'T' || c->type == 'A' ? rqc_text("\xff\xfe") : rqc_real(NAN); break;
    case 3: *v = c->type == 'U' ? rqc_bytes(pool, 15) : rqc_id(g.ids[0]); break;
    default:
        *v = strchr("PFXVTMNBRHd", c->kind) == NULL ? rqc_null()
             : c->type == 'B'                       ? rqc_int(2)
                              : (rqc_value){.type = RQC_LARGE, .n = 16, .p = pool, .u.length = 1};
        break;
    }
    const rqc_err rc = give(t, &w);
    CHECK(C_OWN, rc == RQC_INVALID, "%s of %s with a wrong %s gives %d", names[w.kind], w.tab->name,
          c->name, (int)rc);
    g.cover.invalid++;
}

static void check_result(const rqc_result *r, const outcome *o)
{
    CHECK(C_OWN, r->written == o->written && r->skipped == o->skipped && r->deleted == o->deleted,
          "written %" PRIu64 " skipped %" PRIu64 " deleted %" PRIu64 ", SQL says %" PRIu64
          " %" PRIu64 " %" PRIu64,
          r->written, r->skipped, r->deleted, o->written, o->skipped, o->deleted);
    CHECK(C_POSITION, r->position.seq >= (uint64_t)oracle_number("SELECT max(seq) FROM change_log"),
          "position %" PRIu64 " is behind the log", r->position.seq);
    CHECK(C_POSITION, r->visible == !g.lagging, "the view lags, or not");
    CHECK(C_POSITION,
          rqc_read_begin(g.read[0]) == RQC_OK &&
              rqc_read_position(g.read[0]).seq >= r->position.seq,
          "a read at %" PRIu64 " does not see its own write at %" PRIu64,
          rqc_read_position(g.read[0]).seq, r->position.seq);
    rqc_read_end(g.read[0]);
}

static void commit(rqc_txn *t, const outcome *o, const prop_state *expect, prop_state *got)
{
    rqc_result r = {.position = {.seq = 77}};
    const rqc_err rc = rqc_commit(t, &r);
    CHECK(C_OWN, rc == o->err, "commit gives %d (%s), SQL says %d", (int)rc, rqc_txn_error(t),
          (int)o->err);
    oracle_load(got);
    compare(got, expect, o->clock);
    if (rc == RQC_OK) {
        g.cover.own_ok++;
        check_result(&r, o);
        return;
    }
    g.cover.own_failed++;
    CHECK(C_OWN, r.position.seq == 77, "a failed commit changed its result");
    CHECK(C_OWN, got->head == expect->head,
          "a failed commit left the log at %" PRIu64 ", it was %" PRIu64, got->head, expect->head);
    if (chance(20)) // it keeps its writes
        CHECK(C_OWN, rqc_commit(t, NULL) == o->err,
              "the second try of a failed commit ends differently");
}

void own_transaction(void)
{
    own_write writes[WRITES];
    rqc_txn *t;
    rqc_error err;
    unsigned n = 1 + below(WRITES);
    if (pool[0] == 0)
        memset(pool, 'z', sizeof pool - 1);
    story_begin("own transaction");
    if (rqc_txn_new(g.db, &t, &err) != RQC_OK)
        broken(C_OWN, "no transaction: %s", err.text);
    for (unsigned i = 0; i < n;) {
        own_write *w = &writes[i];
        make_write(w);
        if ((w->kind == PATCH || w->kind == DELETE) && chance(40)) {
            const rqc_record *rec;
            if (rqc_read_begin(g.read[0]) == RQC_OK &&
                rqc_get(g.read[0], (rqc_entity)w->tab->entity, g.ids[w->id], &rec) == RQC_OK)
                w->if_seq = rqc_record_seq(rec) - (chance(20) ? 1u : 0u);
            rqc_read_end(g.read[0]);
        }
        tell(w);
        const rqc_err rc = give(t, w);
        const rqc_err want = w->kind == DELETE || lawful(w) ? RQC_OK : RQC_INVALID;
        CHECK(C_OWN, rc == want, "%s of %s gives %d (%s), not %d", names[w->kind], w->tab->name,
              (int)rc, rqc_txn_error(t), (int)want);
        if (rc != RQC_OK) { // the transaction is as it was
            n--;
            g.cover.invalid++;
            continue;
        }
        i++;
        if (chance(10))
            offend(t);
    }
    const outcome o = trial(writes, n, g.spare);
    static prop_state got;
    commit(t, &o, g.spare, &got);
    rqc_txn_free(t);
}

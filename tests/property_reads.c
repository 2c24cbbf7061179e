// SPDX-License-Identifier: Apache-2.0
// Every read of the public header against SQL.
#include "tests/property.h"

#define MANY (NIDS * 2u)

typedef struct numbers { // ids by their numbers
    int id[NIDS * NIDS];
    unsigned n;
} numbers;

static const char *numbers_text(const numbers *l)
{
    static char out[4][NIDS * NIDS * 3];
    static unsigned next;
    char *p = out[next++ % 4];
    size_t at = 0;
    p[0] = 0;
    for (unsigned i = 0; i < l->n; i++)
        at += (size_t)snprintf(p + at, sizeof out[0] - at, "%s%d", i > 0 ? " " : "", l->id[i]);
    return p;
}

static void add_number(numbers *l, const uint8_t *id)
{
    if (l->n == NIDS * NIDS)
        bail("a list without end");
    l->id[l->n++] = id_number(id);
}

static void add_list(numbers *l, const rqc_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        add_number(l, rqc_record_id(list->items[i]));
}

static void sql_numbers(sqlite3_stmt *s, numbers *l)
{
    int rc;
    l->n = 0;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW)
        add_number(l, sqlite3_column_blob(s, 0));
    if (rc != SQLITE_DONE)
        bail("%s: %s", sqlite3_sql(s), sqlite3_errmsg(g.oracle));
    sqlite3_reset(s);
}

static void compare(int check, const numbers *got, const numbers *want, const char *what)
{
    CHECK(check, got->n == want->n && memcmp(got->id, want->id, got->n * sizeof *got->id) == 0,
          "%s gives %s, SQL says %s", what, numbers_text(got), numbers_text(want));
}

static void bind_id(sqlite3_stmt *s, int i, const uint8_t *id)
{
    sqlite3_bind_blob(s, i, id, 16, SQLITE_TRANSIENT);
}

static const uint8_t *some_workspace(void)
{
    return chance(95) ? g.topics[below(NTOPICS - 1)] : g.ids[below(NIDS)];
}

// ---- Records ----

static void check_get(rqc_read *r, const prop_state *s, int check, int e, unsigned i)
{
    static text form;
    const prop_row *want = &s->rows[e][i];
    const rqc_record *rec = NULL;
    const rqc_err rc = rqc_get(r, (rqc_entity)e, g.ids[i], &rec);
    CHECK(check, rc == (want->live ? RQC_OK : RQC_NOT_FOUND),
          "get of %s %s gives %d, SQL says it is %s", prop_tables[e].name, id_name(g.ids[i]),
          (int)rc, want->live ? "there" : "not there");
    if (rc != RQC_OK)
        return;
    form.len = 0;
    form_record(&form, rec);
    CHECK(check, form.len == want->len && memcmp(form.p, s->bytes + want->at, want->len) == 0,
          "get of %s: %s", id_name(g.ids[i]),
          form_difference(&prop_tables[e], (const uint8_t *)form.p, form.len, s->bytes + want->at,
                          want->len));
    CHECK(check,
          rqc_record_entity(rec) == (rqc_entity)e && memcmp(rqc_record_id(rec), g.ids[i], 16) == 0,
          "%s has another name", id_name(g.ids[i]));
    CHECK(check, rqc_record_updated(rec) == want->updated,
          "update time %" PRId64 ", SQL says %" PRId64, rqc_record_updated(rec), want->updated);
    const uint64_t seq = rqc_record_seq(rec);
    CHECK(check, seq > 0 && seq <= rqc_read_position(r).seq, "%s has seq %" PRIu64 " at %" PRIu64,
          id_name(g.ids[i]), seq, rqc_read_position(r).seq);
}

void check_gets(rqc_read *r, const prop_state *s, int check)
{
    for (int e = 1; e < (int)NENTITIES; e++)
        for (unsigned i = 0; i < NIDS; i++) {
            story_blame((int)i);
            check_get(r, s, check, e, i);
        }
    story_blame(NO_ID);
    const rqc_record *rec;
    static const uint8_t nobody[16] = "nobody has this";
    CHECK(check, rqc_get(r, (rqc_entity)(1 + below(NENTITIES - 1)), nobody, &rec) == RQC_NOT_FOUND,
          "an id that nobody has was found");
}

// Large values: the bytes from the file are those that the record's hash is of.
static void check_large(rqc_read *r)
{
    const int e = 1 + (int)below(NENTITIES - 1);
    const prop_table *t = &prop_tables[e];
    for (unsigned i = 0; i < NIDS; i++) {
        const rqc_record *rec;
        if (rqc_get(r, (rqc_entity)e, g.ids[i], &rec) != RQC_OK)
            continue;
        for (int c = 0; c < t->n; c++) {
            const rqc_value v = rqc_field(rec, t->col[c].field);
            void *p = NULL;
            size_t n = 0;
            if (v.type != RQC_LARGE && (v.type != RQC_TEXT || below(50) != 0))
                continue;
            char sql[200];
            snprintf(sql, sizeof sql, "SELECT %s FROM m_%s WHERE id = ?1", t->col[c].name, t->name);
            sqlite3_stmt *s = oracle_sql(sql);
            bind_id(s, 1, g.ids[i]);
            sqlite3_step(s);
            const rqc_err rc = rqc_large(r, rec, t->col[c].field, &p, &n);
            story_blame((int)i);
            CHECK(C_LARGE, rc == RQC_OK, "%s.%s of %s cannot be fetched: %d (%s)", t->name,
                  t->col[c].name, id_name(g.ids[i]), (int)rc, rqc_read_error(r));
            const size_t want = (size_t)sqlite3_column_bytes(s, 0);
            CHECK(C_LARGE, n == want && (n == 0 || memcmp(p, sqlite3_column_blob(s, 0), n) == 0),
                  "%s.%s: %zu bytes, SQL has %zu", t->name, t->col[c].name, n, want);
            g.cover.large += v.type == RQC_LARGE;
            free(p);
            sqlite3_reset(s);
        }
    }
    story_blame(NO_ID);
}

static void check_workspaces(rqc_read *r)
{
    static rqc_list list = RQC_LIST_INIT;
    numbers got = {.n = 0}, want;
    CHECK(C_WORKSPACES, rqc_workspaces(r, &list) == RQC_OK, "workspaces: %s", rqc_read_error(r));
    add_list(&got, &list);
    sql_numbers(oracle_sql("SELECT id FROM m_workspaces ORDER BY id"), &want);
    compare(C_WORKSPACES, &got, &want, "workspaces");
    rqc_list_free(&list);
}

// ---- Requests by time ----

static const char *walk_text(const char *what, const uint8_t *ws, int64_t since, int64_t until,
                             const char *method, uint32_t limit)
{
    static char out[200];
    snprintf(out, sizeof out, "%s of %s, %" PRId64 " to %" PRId64 ", method %s, limit %u", what,
             id_name(ws), since, until, method != NULL ? method : "any", limit);
    return out;
}

// `updates` false: rqc_page; true: rqc_updates. A walk by pages, and its first page without a
// cursor.
static void check_walk(rqc_read *r, bool updates)
{
    static rqc_list list = RQC_LIST_INIT;
    const uint8_t *ws = some_workspace();
    const int64_t until = chance(50) ? RQC_ANY_TIME : some_time(),
                  since = chance(50) ? INT64_MIN : some_time();
    const char *method = chance(50) ? NULL : some_method();
    const uint32_t limit = chance(50) ? 1 + below(4) : chance(80) ? NIDS : RQC_PAGE_MAX;
    const int check = updates ? C_UPDATES : C_PAGE;
    const char *what = walk_text(updates ? "updates" : "pages", ws, since, until, method, limit);
    sqlite3_stmt *s =
        oracle_sql(updates ? "SELECT id FROM m_http WHERE coalesce(workspace_id, zeroblob(16)) = "
                             "?1 AND NOT is_snapshot AND updated_at > ?4 AND updated_at <= ?2 "
                             "AND (?3 IS NULL OR method = ?3) ORDER BY updated_at, id"
                           : "SELECT id FROM m_http WHERE coalesce(workspace_id, zeroblob(16)) = "
                             "?1 AND NOT is_snapshot AND NOT is_delta AND updated_at <= ?2 "
                             "AND (?3 IS NULL OR method = ?3) ORDER BY updated_at DESC, id");
    bind_id(s, 1, ws);
    sqlite3_bind_int64(s, 2, until);
    if (method != NULL)
        sqlite3_bind_text(s, 3, method, -1, SQLITE_STATIC);
    if (updates)
        sqlite3_bind_int64(s, 4, since);
    numbers want, got = {.n = 0}, first = {.n = 0};
    sql_numbers(s, &want);
    rqc_page_cursor cursor = RQC_PAGE_CURSOR_INIT;
    while (cursor.state != 2) {
        const unsigned before = got.n;
        const rqc_err rc = updates ? rqc_updates(r, ws, since, until, method, limit, &cursor, &list)
                                   : rqc_page(r, ws, until, method, limit, &cursor, &list);
        CHECK(check, rc == RQC_OK, "%s: %s", what, rqc_read_error(r));
        add_list(&got, &list);
        CHECK(check, list.n <= limit && (list.n == limit || cursor.state == 2) && got.n <= want.n,
              "%s: %zu in a page, %u of %u altogether: %s", what, list.n, got.n, want.n,
              numbers_text(&got));
        CHECK(check, cursor.state == 2 || (cursor.state == 1 && got.n > before),
              "%s does not go on", what);
    }
    compare(check, &got, &want, what);
    const rqc_err rc = updates ? rqc_updates(r, ws, since, until, method, limit, NULL, &list)
                               : rqc_page(r, ws, until, method, limit, NULL, &list);
    CHECK(check, rc == RQC_OK, "%s: %s", what, rqc_read_error(r));
    add_list(&first, &list);
    want.n = want.n < limit ? want.n : limit;
    compare(check, &first, &want, what);
    rqc_list_free(&list);
}

static int64_t http_number(const char *sql, const uint8_t *ws, int64_t time)
{
    sqlite3_stmt *s = oracle_sql(sql);
    bind_id(s, 1, ws);
    sqlite3_bind_int64(s, 2, time);
    if (sqlite3_step(s) != SQLITE_ROW)
        bail("%s: %s", sql, sqlite3_errmsg(g.oracle));
    const int64_t n = sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    return n;
}

static void check_counts(rqc_read *r)
{
    const uint8_t *ws = some_workspace();
    const int64_t time = chance(30) ? RQC_ANY_TIME : some_time();
    uint64_t n = UINT64_MAX;
    CHECK(C_COUNT, rqc_count(r, ws, time, &n) == RQC_OK, "count: %s", rqc_read_error(r));
    const int64_t want =
        http_number("SELECT count(*) FROM m_http WHERE coalesce(workspace_id, zeroblob(16)) = ?1 "
                    "AND NOT is_snapshot AND NOT is_delta AND updated_at <= ?2",
                    ws, time);
    CHECK(C_COUNT, n == (uint64_t)want,
          "count of %s until %" PRId64 " is %" PRIu64 ", SQL says %" PRId64, id_name(ws), time, n,
          want);
    rqc_metrics m = {0};
    CHECK(C_METRICS, rqc_metrics_read(r, ws, time, &m) == RQC_OK, "metrics: %s", rqc_read_error(r));
    sqlite3_stmt *s =
        oracle_sql("SELECT count(*), total(is_delta), total(updated_at > ?2), max(updated_at), "
                   "min(updated_at) FROM m_http WHERE coalesce(workspace_id, zeroblob(16)) = ?1");
    bind_id(s, 1, ws);
    sqlite3_bind_int64(s, 2, time);
    sqlite3_step(s);
    const uint64_t total = (uint64_t)sqlite3_column_int64(s, 0),
                   delta = (uint64_t)sqlite3_column_int64(s, 1);
    CHECK(C_METRICS,
          m.total == total && m.delta == delta && m.base == total - delta &&
              m.recent == (uint64_t)sqlite3_column_int64(s, 2) &&
              (m.has_times != 0) == (total > 0) && m.latest == sqlite3_column_int64(s, 3) &&
              m.earliest == sqlite3_column_int64(s, 4),
          "metrics of %s since %" PRId64 ": %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
          " %" PRId64 " %" PRId64 ", SQL says %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64
          " %" PRId64 " %" PRId64,
          id_name(ws), time, m.total, m.base, m.delta, m.recent, m.latest, m.earliest, total,
          total - delta, delta, (int64_t)sqlite3_column_int64(s, 2),
          (int64_t)sqlite3_column_int64(s, 3), (int64_t)sqlite3_column_int64(s, 4));
    sqlite3_reset(s);
}

// A day exists where SQLite has a date for it.
static void check_activity(rqc_read *r)
{
    const uint8_t *ws = some_workspace();
    const int64_t since = chance(40) ? INT64_MIN : some_time();
    const size_t max = 1 + below(4);
    rqc_activity days[5];
    size_t n = 99;
    CHECK(C_ACTIVITY, rqc_activity_read(r, ws, since, days, max, &n) == RQC_OK, "activity: %s",
          rqc_read_error(r));
    sqlite3_stmt *s =
        oracle_sql("SELECT CAST(strftime('%s', d) AS INTEGER) / 86400, count(*), total(is_delta) "
                   "FROM (SELECT date(updated_at, 'unixepoch') AS d, is_delta FROM m_http "
                   "WHERE coalesce(workspace_id, zeroblob(16)) = ?1 AND updated_at >= ?2) WHERE d "
                   "IS NOT NULL GROUP BY d ORDER BY 1 DESC LIMIT ?3");
    bind_id(s, 1, ws);
    sqlite3_bind_int64(s, 2, since);
    sqlite3_bind_int64(s, 3, (int64_t)max);
    size_t i = 0;
    for (; sqlite3_step(s) == SQLITE_ROW; i++) {
        const uint64_t all = (uint64_t)sqlite3_column_int64(s, 1),
                       deltas = (uint64_t)sqlite3_column_int64(s, 2);
        CHECK(C_ACTIVITY,
              i < n && days[i].day == sqlite3_column_int64(s, 0) && days[i].changes == all &&
                  days[i].deltas == deltas && days[i].bases == all - deltas,
              "activity of %s since %" PRId64 ": day %zu of %zu is wrong", id_name(ws), since, i,
              n);
    }
    sqlite3_reset(s);
    CHECK(C_ACTIVITY, i == n, "activity of %s since %" PRId64 " has %zu days, SQL says %zu",
          id_name(ws), since, n, i);
}

// ---- Lists of ids ----

static size_t some_ids(uint8_t ids[MANY][16], bool twice)
{
    const size_t n = below(MANY);
    for (size_t i = 0; i < n; i++) {
        memcpy(ids[i], g.ids[below(NIDS)], 16);
        if (chance(5))
            ids[i][7] ^= 0x55; // nobody's
        if (twice && i > 0 && chance(10))
            memcpy(ids[i], ids[i - 1], 16);
    }
    return n;
}

// SQL with the ids in place of %s.
static sqlite3_stmt *with_ids(const char *before, const uint8_t (*ids)[16], size_t n,
                              const char *after)
{
    sqlite3_stmt *s;
    text sql = {0};
    text_add(&sql, "%s (", before);
    for (size_t i = 0; i < n; i++) {
        text_add(&sql, i > 0 ? ", x'" : "x'");
        for (unsigned k = 0; k < 16; k++)
            text_add(&sql, "%02x", ids[i][k]);
        text_add(&sql, "'");
    }
    text_add(&sql, ") %s", after);
    if (sqlite3_prepare_v2(g.oracle, sql.p, -1, &s, NULL) != SQLITE_OK)
        bail("%s: %s", sql.p, sqlite3_errmsg(g.oracle));
    text_free(&sql);
    return s;
}

static void check_lists(rqc_read *r)
{
    static rqc_list list = RQC_LIST_INIT;
    uint8_t ids[MANY][16];
    const size_t n = some_ids(ids, true);
    const int64_t until = chance(50) ? RQC_ANY_TIME : some_time(),
                  since = chance(50) ? INT64_MIN : some_time();
    const uint8_t(*const list_of)[16] = (const uint8_t(*)[16])ids;
    numbers want, got = {.n = 0};
    CHECK(C_BATCH, rqc_batch(r, list_of, n, until, &list) == RQC_OK, "batch: %s",
          rqc_read_error(r));
    add_list(&got, &list);
    sqlite3_stmt *s = with_ids("SELECT id FROM m_http WHERE id IN", list_of, n,
                               "AND updated_at <= ?1 ORDER BY updated_at DESC, id");
    sqlite3_bind_int64(s, 1, until);
    sql_numbers(s, &want);
    compare(C_BATCH, &got, &want, "batch");
    sqlite3_finalize(s);
    got.n = 0;
    CHECK(C_DELTAS, rqc_deltas(r, list_of, n, since, until, &list) == RQC_OK, "deltas: %s",
          rqc_read_error(r));
    add_list(&got, &list);
    s = with_ids("SELECT id FROM m_http WHERE parent_http_id IN", list_of, n,
                 "AND is_delta AND updated_at > ?1 AND updated_at <= ?2 ORDER BY parent_http_id, "
                 "updated_at, id");
    sqlite3_bind_int64(s, 1, since);
    sqlite3_bind_int64(s, 2, until);
    sql_numbers(s, &want);
    compare(C_DELTAS, &got, &want, "deltas");
    sqlite3_finalize(s);
    rqc_list_free(&list);
}

static void check_children(rqc_read *r)
{
    static rqc_list list = RQC_LIST_INIT;
    const int e = RQC_HTTP_HEADER + (int)below(NENTITIES - RQC_HTTP_HEADER);
    const prop_table *t = &prop_tables[e];
    uint8_t ids[MANY][16];
    const size_t n = some_ids(ids, true);
    const uint8_t(*const list_of)[16] = (const uint8_t(*)[16])ids;
    const int64_t until = chance(50) ? RQC_ANY_TIME : some_time();
    const bool all = chance(50);
    char before[120], after[200], what[120];
    snprintf(before, sizeof before, "SELECT id FROM m_%s WHERE coalesce(%s, zeroblob(16)) IN",
             t->name, t->col[t->owner].name);
    const char *time =
        t->updated >= 0 ? t->col[t->updated].name : "NULL"; // without one nothing is too new
    snprintf(after, sizeof after,
             "AND (%s IS NULL OR %s <= ?1) AND (?2 OR %s) ORDER BY coalesce(%s, zeroblob(16)), %s "
             "DESC, id",
             time, time, t->enabled >= 0 ? t->col[t->enabled].name : "1", t->col[t->owner].name,
             time);
    snprintf(what, sizeof what, "children %s until %" PRId64 "%s", t->name, until,
             all ? " all" : "");
    sqlite3_stmt *s = with_ids(before, list_of, n, after);
    sqlite3_bind_int64(s, 1, until);
    sqlite3_bind_int(s, 2, all);
    numbers want, got = {.n = 0};
    sql_numbers(s, &want);
    sqlite3_finalize(s);
    CHECK(C_CHILDREN, rqc_children(r, (rqc_entity)e, list_of, n, until, all, &list) == RQC_OK,
          "%s: %s", what, rqc_read_error(r));
    add_list(&got, &list);
    compare(C_CHILDREN, &got, &want, what);
    rqc_list_free(&list);
}

void check_reads(rqc_read *r, unsigned effort)
{
    check_workspaces(r);
    if (chance(20))
        check_large(r);
    for (unsigned i = 0; i < effort; i++) {
        check_walk(r, false);
        check_walk(r, true);
        check_counts(r);
        check_activity(r);
        check_lists(r);
        check_children(r);
        check_children(r);
    }
}

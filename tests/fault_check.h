// SPDX-License-Identifier: Apache-2.0
// What must hold for a database after a fault. The checks write what is wrong into a text and
// return false; they may run in a test or in one of its children.
#ifndef RQC_TESTS_FAULT_CHECK_H
#define RQC_TESTS_FAULT_CHECK_H

#include "tests/fault_work.h"

typedef struct check_text {
    char text[180];
} check_text;

__attribute__((format(printf, 2, 3))) static inline bool check_no(check_text *why,
                                                                  const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(why->text, sizeof why->text, format, ap);
    va_end(ap);
    return false;
}

// Others write meanwhile: large values, which are read from the database, may be gone already.
static bool check_moving;

// Is the field what the row said? Large values are fetched.
static inline bool check_field(rqc_read *r, const rqc_record *rec, int field, const rqc_value *want)
{
    const rqc_value v = rqc_field(rec, field);
    if (v.type == RQC_LARGE && (want->type == RQC_TEXT || want->type == RQC_BYTES)) {
        void *bytes;
        size_t n;
        if (v.u.length != want->n)
            return false;
        const rqc_err rc = rqc_large(r, rec, field, &bytes, &n);
        if (rc != RQC_OK)
            return rc == RQC_CHANGED && check_moving;
        const bool same = n == want->n && memcmp(bytes, want->p, n) == 0;
        free(bytes);
        return same;
    }
    if (v.type != want->type)
        return false;
    if (v.type == RQC_INT || v.type == RQC_BOOL)
        return v.u.i == want->u.i;
    if (v.type == RQC_REAL)
        return v.u.d == want->u.d;
    return v.type == RQC_NULL || (v.n == want->n && (v.n == 0 || memcmp(v.p, want->p, v.n) == 0));
}

// ---- All changes, page by page ----------------------------------------------------------------

typedef struct check_change {
    uint8_t key[17]; // entity, id
    uint8_t op;
    uint64_t seq;
    const rqc_record *record;
} check_change;

typedef struct check_changes {
    check_change *items;
    size_t n, cap;
} check_changes;

static inline int check_order(const void *a, const void *b)
{
    return memcmp(((const check_change *)a)->key, ((const check_change *)b)->key, 17);
}

static inline const check_change *check_find(const check_changes *l, rqc_entity entity,
                                             const uint8_t id[16])
{
    check_change want;
    want.key[0] = (uint8_t)entity;
    memcpy(want.key + 1, id, 16);
    return l->n == 0 ? NULL : bsearch(&want, l->items, l->n, sizeof want, check_order);
}

// Everything behind `since`, sorted by key. A key that comes twice is a fault: nothing moves while
// a session is pinned.
static inline rqc_err check_collect(rqc_read *r, uint64_t since, check_changes *ret,
                                    check_text *why)
{
    rqc_cursor cursor = RQC_CURSOR_INIT(since);
    rqc_changes_list l = RQC_CHANGES_INIT;
    uint64_t last = since;
    int done = 0;
    ret->n = 0;
    while (!done) {
        const rqc_err rc = rqc_changes(r, NULL, &cursor, 777, &l, &done);
        if (rc != RQC_OK) {
            check_no(why, "changes since %" PRIu64 ": %s", since, rqc_err_text(rc));
            rqc_changes_free(&l);
            return rc;
        }
        for (size_t i = 0; i < l.n; i++) {
            if (ret->n == ret->cap) {
                ret->cap = ret->cap > 0 ? 2 * ret->cap : 1024;
                ret->items = realloc(ret->items, ret->cap * sizeof *ret->items);
                if (!ret->items)
                    bail("no memory");
            }
            const rqc_change *c = &l.items[i];
            check_change *out = &ret->items[ret->n++];
            *out = (check_change){.op = c->op, .seq = c->seq, .record = c->record};
            out->key[0] = c->entity;
            memcpy(out->key + 1, c->id, 16);
            if (c->seq < last || c->seq <= since || (c->op == 1) != (c->record != NULL) ||
                (c->record && rqc_record_seq(c->record) != c->seq)) {
                rqc_changes_free(&l);
                check_no(why, "changes since %" PRIu64 ": seq %" PRIu64 " after %" PRIu64 ", op %d",
                         since, c->seq, last, c->op);
                return RQC_CORRUPT;
            }
            last = c->seq;
        }
    }
    rqc_changes_free(&l);
    if (cursor.seq != rqc_read_position(r).seq) {
        check_no(why, "changes are up to date at %" PRIu64 ", the session at %" PRIu64, cursor.seq,
                 rqc_read_position(r).seq);
        return RQC_CORRUPT;
    }
    if (ret->n > 0)
        qsort(ret->items, ret->n, sizeof *ret->items, check_order);
    for (size_t i = 1; i < ret->n; i++)
        if (check_order(&ret->items[i - 1], &ret->items[i]) == 0 && ret->items[i].op == 1 &&
            ret->items[i - 1].op == 1) {
            check_no(why, "changes since %" PRIu64 " tell a record of entity %d twice", since,
                     ret->items[i].key[0]);
            return RQC_CORRUPT;
        }
    return RQC_OK;
}

// ---- The view against plain SQL
// ------------------------------------------------------------------

static inline bool check_cell(rqc_read *r, const rqc_record *rec, int field, sqlite3_stmt *q)
{
    const rqc_value seen = rqc_field(rec, field);
    rqc_value want = {.type = seen.type};
    switch (sqlite3_column_type(q, field)) {
    case SQLITE_NULL: return seen.type == RQC_NULL;
    case SQLITE_INTEGER:
        want.u.i = sqlite3_column_int64(q, field);
        return (seen.type == RQC_INT || seen.type == RQC_BOOL) && check_field(r, rec, field, &want);
    case SQLITE_FLOAT:
        want.u.d = sqlite3_column_double(q, field);
        return seen.type == RQC_REAL && check_field(r, rec, field, &want);
    default:
        want.p = sqlite3_column_blob(q, field);
        want.n = (uint32_t)sqlite3_column_bytes(q, field);
        if (seen.type == RQC_LARGE)
            want.type = RQC_BYTES;
        return seen.type >= RQC_TEXT && check_field(r, rec, field, &want);
    }
}

static inline bool check_table(rqc_read *r, sqlite3 *db, rqc_entity e, uint64_t *rows,
                               check_text *why)
{
    char sql[2048] = "SELECT ";
    int fields = 0;
    for (; rqc_field_name(e, fields); fields++)
        snprintf(sql + strlen(sql), sizeof sql - strlen(sql), "%s%s", fields > 0 ? ", " : "",
                 rqc_field_name(e, fields));
    snprintf(sql + strlen(sql), sizeof sql - strlen(sql), " FROM %s", rqc_entity_name(e));
    sqlite3_stmt *q = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) != SQLITE_OK)
        return check_no(why, "%s: %s", rqc_entity_name(e), sqlite3_errmsg(db));
    bool good = true;
    int rc;
    while (good && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        const rqc_record *rec;
        const rqc_err got = sqlite3_column_bytes(q, 0) == 16
                                ? rqc_get(r, e, sqlite3_column_blob(q, 0), &rec)
                                : RQC_INVALID;
        if (got != RQC_OK) {
            good = check_no(why, "a row of %s: get says %s", rqc_entity_name(e), rqc_err_text(got));
            break;
        }
        for (int i = 0; i < fields && good; i++)
            if (!check_cell(r, rec, i, q))
                good = check_no(why, "%s.%s differs from the database", rqc_entity_name(e),
                                rqc_field_name(e, i));
        ++*rows;
    }
    if (good && rc != SQLITE_DONE)
        good = check_no(why, "%s: %s", rqc_entity_name(e), sqlite3_errmsg(db));
    sqlite3_finalize(q);
    return good;
}

// Every row of the database is in the view, field by field, and nothing else is. Nobody may write
// meanwhile.
static inline bool check_sql(rqc_db *db, const char *path, check_text *why)
{
    sqlite3 *sql = work_sql_open(path);
    rqc_read *r = NULL;
    check_changes l = {NULL, 0, 0};
    uint64_t rows = 0, live = 0;
    bool good = true;
    if (rqc_read_new(db, &r, NULL) != RQC_OK || rqc_read_begin(r) != RQC_OK)
        good = check_no(why, "no session: %s", r ? rqc_read_error(r) : "");
    for (int e = 1; e <= RQC_HTTP_RESPONSE_ASSERT && good; e++)
        good = check_table(r, sql, (rqc_entity)e, &rows, why);
    good = good && check_collect(r, 0, &l, why) == RQC_OK;
    for (size_t i = 0; i < l.n; i++)
        live += l.items[i].op == 1;
    if (good && live != rows)
        good = check_no(why, "the view has %" PRIu64 " records, the database %" PRIu64 " rows",
                        live, rows);
    free(l.items);
    rqc_read_free(r);
    sqlite3_close(sql);
    return good;
}

static inline void check_note_difference(void *ctx, const rqc_difference *d)
{
    check_text *why = ctx;
    if (!*why->text)
        check_no(why, "verify: %s, entity %d", d->what, d->entity);
}

// verify's own opinion.
static inline bool check_verify(rqc_db *db, check_text *why)
{
    rqc_verified v;
    rqc_error err = {.text = ""};
    check_text first = {""};
    const rqc_err rc = rqc_verify(db, 0, check_note_difference, &first, &v, &err);
    if (rc != RQC_OK)
        return check_no(why, "verify: %.150s", err.text);
    return v.differences == 0 || check_no(why, "%.170s", first.text);
}

// ---- The view against the model
// ------------------------------------------------------------------

// Which transaction last wrote the record of this part, at number n of its writer; false when there
// is no such record. `m` tells fresh ones apart.
static inline bool check_written(unsigned part, unsigned who, uint64_t n, uint64_t m,
                                 uint64_t *ret_by)
{
    if (part == WORK_MARKER) {
        *ret_by = work_done(who, n);
        return true;
    }
    if (part <= WORK_HEADER_3) { // m: the slot
        for (uint64_t back = n; back > 0; back--)
            if (back % WORK_SLOTS == m && !work_refused(who, back)) {
                *ret_by = back;
                return true;
            }
        return false;
    }
    *ret_by = m;
    if (m == 0 || m > n || work_refused(who, m))
        return false;
    return m + WORK_LIFE > n || work_refused(who, m + WORK_LIFE);
}

static inline bool check_row(rqc_read *r, const rqc_record *rec, const work_row *want)
{
    for (int i = 0; i < RQC_FIELD_MAX; i++)
        if (want->v[i].type != RQC_ABSENT && !check_field(r, rec, i, &want->v[i]))
            return false;
    return true;
}

// A live record that the view shows: is it one that must be there, with the right content?
static inline bool check_live(rqc_read *r, const check_change *c, const uint64_t *numbers,
                              check_text *why)
{
    const unsigned part = (unsigned)c->key[1] - 1, who = (unsigned)c->key[2] - 1;
    uint64_t m = 0, by = 0;
    work_row want;
    for (int i = 0; i < 8; i++)
        m = m << 8 | c->key[9 + i];
    const bool shared = part == WORK_WORKSPACE && who == 0; // made by whoever comes first
    if (part > WORK_WORKSPACE || who >= WORK_WRITERS || (numbers[who] == UINT64_MAX && !shared) ||
        c->key[0] != work_entity[part])
        return check_no(why, "a record that nobody wrote: part %u of writer %u", part, who);
    if (part != WORK_WORKSPACE && !check_written(part, who, numbers[who], m, &by))
        return check_no(why,
                        "part %u of transaction %" PRIu64
                        " of writer %u must not be there at %" PRIu64,
                        part, m, who, numbers[who]);
    work_make(part, who, by, &want);
    return check_row(r, c->record, &want) ||
           check_no(why, "part %u of transaction %" PRIu64 " of writer %u has another content",
                    part, by, who);
}

// How many records there must be.
static inline uint64_t check_count(const uint64_t *numbers)
{
    uint64_t count = 0, by;
    bool any = false;
    for (unsigned who = 0; who < WORK_WRITERS; who++) {
        if (numbers[who] == UINT64_MAX)
            continue;
        any = true;
        count += who == 0 ? 1 : 2;
        for (uint64_t slot = 0; slot < WORK_SLOTS; slot++)
            count += check_written(WORK_SLOT, who, numbers[who], slot, &by) ? 4 : 0;
        for (uint64_t m = 1; m <= numbers[who]; m++)
            count += check_written(WORK_FRESH, who, numbers[who], m, &by) ? 3 : 0;
    }
    return count + any;
}

// Everything that the writers' transactions up to `numbers` made, nothing else. UINT64_MAX: that
// writer never began.
static inline bool check_model(rqc_read *r, const uint64_t *numbers, check_text *why)
{
    check_changes l = {NULL, 0, 0};
    uint64_t live = 0;
    bool good = check_collect(r, 0, &l, why) == RQC_OK;
    for (size_t i = 0; i < l.n && good; i++)
        if (l.items[i].op == 1) {
            live++;
            good = check_live(r, &l.items[i], numbers, why);
        }
    free(l.items);
    if (good && live != check_count(numbers))
        good = check_no(why, "%" PRIu64 " records, there must be %" PRIu64, live,
                        check_count(numbers));
    return good;
}

// Does the list of changes tell all that transaction n of a writer did?
static inline bool check_told(const check_changes *l, unsigned who, uint64_t n, check_text *why)
{
    for (unsigned part = 0; part < WORK_PARTS; part++) {
        uint8_t id[16];
        work_id(part, who, n, id);
        if (!check_find(l, work_entity[part], id))
            return check_no(why,
                            "changes do not tell part %u of transaction %" PRIu64 " of writer %u",
                            part, n, who);
        if (part < WORK_FRESH || !work_deletes(who, n))
            continue;
        work_id(part, who, n - WORK_LIFE, id);
        const check_change *c = check_find(l, work_entity[part], id);
        if (!c || c->op != 2)
            return check_no(why,
                            "changes do not tell that transaction %" PRIu64
                            " of writer %u deleted part %u",
                            n, who, part);
    }
    return true;
}

#endif

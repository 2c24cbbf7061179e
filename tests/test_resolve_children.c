// SPDX-License-Identifier: Apache-2.0
//
// Delta resolution of children: rule by rule, against a plain model on lists at random, and the
// sorting of such lists.
#include "tests/resolve_rows.h"

// A header row with everything that matters here.
static rqc_record *header(unsigned number, double order, unsigned parent, const char *key,
                          const char *delta_value)
{
    return MAKE(RQCI_HTTP_HEADER, number, {RQCI_HTTP_HEADER_DISPLAY_ORDER, rows_real(order)},
                {RQCI_HTTP_HEADER_PARENT_HEADER_ID, id(parent)},
                {RQCI_HTTP_HEADER_IS_DELTA, rows_bool(parent != 0)},
                {RQCI_HTTP_HEADER_HEADER_KEY, rows_text(key)},
                {RQCI_HTTP_HEADER_HEADER_VALUE, rows_text("v")},
                {RQCI_HTTP_HEADER_DELTA_HEADER_VALUE,
                 delta_value ? rows_text(delta_value) : rows_null()});
}

// "7b 3o 9a": number of the row and origin, in order.
static const char *shape(const rqci_items *m)
{
    static char text[512];
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < m->n && n < sizeof text - 8; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%d%c", i ? " " : "",
                              rqci_rec_id(m->items[i].record)[15], "boa"[m->items[i].origin]);
    return text;
}

static void merge(unsigned code, rqci_list *base, rqci_list *delta, rqci_items *m)
{
    if (rqci_merge_children(rqci_entity_of(code), base, delta, m) != RQC_OK)
        bail("merge");
}

// ---- Rule by rule ----

static void test_children(void)
{
    rqci_list base = {0}, delta = {0};
    rqci_items m = {0};
    add(&base, header(3, 2.0, 0, "B", NULL));
    add(&base, header(2, 1.0, 0, "A", NULL));
    add(&base, header(5, 2.0, 0, "C", NULL));
    merge(RQCI_HTTP_HEADER, &base, NULL, &m);
    is(shape(&m), "2b 3b 5b", "base rows by order, then id");
    merge(RQCI_HTTP_HEADER, &base, &delta, &m);
    is(shape(&m), "2b 3b 5b", "an empty delta changes nothing");
    ok(m.items[0].over == NULL && m.items[0].nover == 0, "no overrides");

    add(&delta, header(12, -5.0, 0, "X", NULL));
    add(&delta, header(11, -9.0, 0, "Y", NULL));
    add(&delta, header(13, 0.0, 3, "other", "text/csv"));
    add(&delta, header(14, 0.0, 99, "stray", "z"));
    merge(RQCI_HTTP_HEADER, &base, &delta, &m);
    is(shape(&m), "2b 3o 5b 11a 12a",
       "override in place, additions last by their order, strays left out");
    ok(item_text(&m.items[1], RQCI_HTTP_HEADER_HEADER_VALUE, "text/csv"),
       "the value is the override's");
    ok(item_text(&m.items[1], RQCI_HTTP_HEADER_HEADER_KEY, "B"), "the key is inherited");
    ok(item_text(&m.items[1], RQCI_HTTP_HEADER_DELTA_HEADER_VALUE, NULL),
       "override columns read NULL");
    rqc_value v;
    rqci_item_field(&m.items[1], RQCI_HTTP_HEADER_ID, &v);
    ok(v.type == RQC_ID && rqci_id_bucket(v.p) == rqci_id_bucket(id_bytes(3)),
       "the id is the base row's");
    rqci_item_field(&m.items[1], RQCI_HTTP_HEADER_PARENT_HEADER_ID, &v);
    is(v.type, RQC_NULL, "the parent is the base row's");
    rqci_item_field(&m.items[1], RQCI_HTTP_HEADER_IS_DELTA, &v);
    ok(v.type == RQC_BOOL && v.u.i == 0, "it is no delta");

    add(&delta, header(15, 7.0, 3, "", "last"));
    add(&delta, header(16, -1.0, 3, "", "first"));
    merge(RQCI_HTTP_HEADER, &base, &delta, &m);
    is(m.items[1].nover, 1, "several overrides: one alone wins");
    ok(item_text(&m.items[1], RQCI_HTTP_HEADER_HEADER_VALUE, "last"), "the last in order");
    add(&delta, header(17, 7.0, 3, "", ""));
    merge(RQCI_HTTP_HEADER, &base, &delta, &m);
    ok(item_text(&m.items[1], RQCI_HTTP_HEADER_HEADER_VALUE, ""),
       "a tie goes to the higher id; an empty text is a value");
    add(&delta, header(18, 8.0, 3, "", NULL));
    merge(RQCI_HTTP_HEADER, &base, &delta, &m);
    ok(item_text(&m.items[1], RQCI_HTTP_HEADER_HEADER_VALUE, "v"),
       "it wins whole: what it does not set is the base's");
    is(m.items[1].origin, RQC_ORIGIN_OVERRIDE, "an override that sets nothing is one");
    free_list(&base);
    free_list(&delta);
    rqci_items_free(&m);
    rqci_items_free(&m);
    rqci_items_free(NULL);
    rqci_list_free(NULL);
}

static void test_columns(void)
{
    rqci_list base = {0}, delta = {0};
    rqci_items m = {0};
    add(&base, MAKE(RQCI_HTTP_HEADER, 1, {RQCI_HTTP_HEADER_ENABLED, rows_bool(false)},
                    {RQCI_HTTP_HEADER_DISPLAY_ORDER, rows_real(1)},
                    {RQCI_HTTP_HEADER_DESCRIPTION, rows_text("d")},
                    {RQCI_HTTP_HEADER_DELTA_DESCRIPTION, rows_text("stray")}));
    add(&base, MAKE(RQCI_HTTP_HEADER, 2, {RQCI_HTTP_HEADER_DISPLAY_ORDER, rows_real(2)},
                    {RQCI_HTTP_HEADER_DELTA_DESCRIPTION, rows_text("stray")},
                    {RQCI_HTTP_HEADER_IS_DELTA, rows_bool(true)}));
    add(&delta, MAKE(RQCI_HTTP_HEADER, 3, {RQCI_HTTP_HEADER_PARENT_HEADER_ID, id(1)},
                     {RQCI_HTTP_HEADER_DELTA_ENABLED, rows_bool(true)},
                     {RQCI_HTTP_HEADER_DELTA_DISPLAY_ORDER, rows_real(9)},
                     {RQCI_HTTP_HEADER_DELTA_HEADER_KEY, rows_text("K")}));
    add(&delta, MAKE(RQCI_HTTP_HEADER, 4, {RQCI_HTTP_HEADER_HEADER_KEY, rows_text("plain")},
                     {RQCI_HTTP_HEADER_DELTA_HEADER_KEY, rows_text("delta")},
                     {RQCI_HTTP_HEADER_IS_DELTA, rows_bool(true)}));
    merge(RQCI_HTTP_HEADER, &base, &delta, &m);
    is(shape(&m), "1o 2b 4a",
       "delta_display_order moves nothing; no parent: an addition, delta or not");
    rqc_value v;
    rqci_item_field(&m.items[0], RQCI_HTTP_HEADER_ENABLED, &v);
    ok(v.type == RQC_BOOL && v.u.i == 1, "an override enables");
    rqci_item_field(&m.items[0], RQCI_HTTP_HEADER_DISPLAY_ORDER, &v);
    ok(v.type == RQC_REAL && v.u.d == 1.0, "the order that is shown is the one that counts");
    ok(item_text(&m.items[0], RQCI_HTTP_HEADER_HEADER_KEY, "K"), "key");
    ok(item_text(&m.items[0], RQCI_HTTP_HEADER_DESCRIPTION, "d"),
       "a stray override column of the base row is not applied");
    ok(item_text(&m.items[0], RQCI_HTTP_HEADER_DELTA_DESCRIPTION, NULL), "and not shown");
    ok(item_text(&m.items[1], RQCI_HTTP_HEADER_DELTA_DESCRIPTION, "stray"),
       "without override it is shown as stored");
    rqci_item_field(&m.items[1], RQCI_HTTP_HEADER_IS_DELTA, &v);
    ok(v.type == RQC_BOOL && v.u.i == 1, "as is the flag");
    ok(item_text(&m.items[2], RQCI_HTTP_HEADER_HEADER_KEY, "plain"),
       "an addition's plain column counts");
    ok(item_text(&m.items[2], RQCI_HTTP_HEADER_DELTA_HEADER_KEY, "delta"),
       "its override column is as stored");
    free_list(&base);
    free_list(&delta);
    rqci_items_free(&m);
}

static rqc_record *assert_row(unsigned number, double order, unsigned parent, const char *value,
                              int enabled)
{
    return MAKE(RQCI_HTTP_ASSERT, number, {RQCI_HTTP_ASSERT_DISPLAY_ORDER, rows_real(order)},
                {RQCI_HTTP_ASSERT_PARENT_HTTP_ASSERT_ID, id(parent)},
                {RQCI_HTTP_ASSERT_VALUE, rows_text("base")},
                {RQCI_HTTP_ASSERT_DELTA_VALUE, value ? rows_text(value) : rows_null()},
                {RQCI_HTTP_ASSERT_DELTA_ENABLED, enabled >= 0 ? rows_bool(enabled) : rows_null()});
}

static void test_asserts(void)
{
    rqci_list base = {0}, delta = {0};
    rqci_items m = {0};
    add(&base, assert_row(1, 0.1, 0, NULL, -1));
    add(&base, assert_row(2, -3, 0, NULL, -1));
    add(&base, assert_row(3, 0, 0, NULL, -1));
    add(&delta, assert_row(12, 2, 1, NULL, 0));
    add(&delta, assert_row(11, 1, 1, "first", 1));
    add(&delta, assert_row(10, 3, 3, "", -1));
    add(&delta, assert_row(13, -100, 0, NULL, -1));
    merge(RQCI_HTTP_ASSERT, &base, &delta, &m);
    is(shape(&m), "2b 3o 1o 13a", "asserts by order");
    is(m.items[2].nover, 2, "both overrides count");
    ok(item_text(&m.items[2], RQCI_HTTP_ASSERT_VALUE, "first"),
       "the value of the first, because the second sets none");
    rqc_value v;
    rqci_item_field(&m.items[2], RQCI_HTTP_ASSERT_ENABLED, &v);
    ok(v.type == RQC_BOOL && v.u.i == 0, "enabled of the second");
    ok(item_text(&m.items[1], RQCI_HTTP_ASSERT_VALUE, ""), "an empty text is a value");
    free_list(&base);
    free_list(&delta);
    rqci_items_free(&m);
}

// Every entity with overrides, by its description: one override sets all its columns.
static void test_entities(void)
{
    static const unsigned codes[] = {RQCI_HTTP_HEADER, RQCI_HTTP_SEARCH_PARAM, RQCI_HTTP_BODY_FORM,
                                     RQCI_HTTP_BODY_URLENCODED, RQCI_HTTP_ASSERT};
    for (size_t k = 0; k < sizeof codes / sizeof *codes; k++) {
        const rqci_entity *e = rqci_entity_of(codes[k]);
        struct set sets[RQCI_FIELD_MAX];
        size_t n = 0;
        sets[n++] = (struct set){e->parent, id(1)};
        for (int i = 0; i < e->nfields; i++) {
            if (e->fields[i].partner < 0)
                continue;
            const rqc_value values[] = {[RQCI_T_TEXT] = rows_text(e->fields[i].name),
                                        [RQCI_T_BOOL] = rows_bool(false),
                                        [RQCI_T_REAL] = rows_real(77)};
            sets[n++] = (struct set){i, values[e->fields[i].type]};
        }
        rqci_list base = {0}, delta = {0};
        rqci_items m = {0};
        add(&base, make(codes[k], 1, NULL, 0));
        add(&delta, make(codes[k], 2, sets, n));
        merge(codes[k], &base, &delta, &m);
        bool good = m.n == 1;
        for (int i = 0; good && i < e->nfields; i++) {
            rqc_value got, want;
            rqci_item_field(&m.items[0], i, &got);
            const int override = rqci_override_of(e, i);
            if (e->fields[i].partner >= 0)
                want = rows_null();
            else if (override && i != e->order)
                rqci_rec_field(delta.items[0], override, &want);
            else
                rqci_rec_field(base.items[0], i, &want);
            good = rows_equal(&got, &want);
        }
        ok(good, "%s: all columns", e->table);
        free_list(&base);
        free_list(&delta);
        rqci_items_free(&m);
    }
}

// ---- Against a model ----

static int by_order(const void *a, const void *b)
{
    const rqc_record *r = *(const rqc_record *const *)a, *s = *(const rqc_record *const *)b;
    const rqci_entity *e = rqci_entity_of(rqci_rec_entity(r));
    rqc_value v, w;
    rqci_rec_field(r, e->order, &v);
    rqci_rec_field(s, e->order, &w);
    // NULL first, as SQLite sorts.
    if ((v.type == RQC_NULL) != (w.type == RQC_NULL))
        return v.type == RQC_NULL ? -1 : 1;
    if (v.type == RQC_REAL && v.u.d != w.u.d)
        return v.u.d < w.u.d ? -1 : 1;
    return memcmp(rqci_rec_id(r), rqci_rec_id(s), 16);
}

static void shuffled(rows_random *x, unsigned code, size_t n, const rqci_list *parents,
                     uint64_t first, rqci_list *ret_list)
{
    const rqci_entity *e = rqci_entity_of(code);
    for (size_t i = 0; i < n; i++) {
        uint8_t key[16] = {0};
        rqci_put64be(key + 8, first + i * 7919 % n);
        uint8_t stray[16] = {0xff};
        rqc_value row[RQCI_FIELD_MAX] = {0};
        row[0] = rows_id(key);
        if (rows_below(x, 20))
            row[e->order] = rows_real((double)rows_below(x, 5) - 2);
        if (parents && rows_below(x, 3))
            row[e->parent] =
                rows_id(parents->n && rows_below(x, 10)
                            ? rqci_rec_id(parents->items[rows_below(x, (uint32_t)parents->n)])
                            : stray);
        rqci_buf buf = {0};
        if (rqci_rec_pack(e, row, 1, 0, &buf, NULL) != RQC_OK)
            bail("pack");
        add(ret_list, (rqc_record *)buf.data);
    }
}

// The rules, written again without any cleverness; both lists sorted.
static bool as_the_model(unsigned code, const rqci_list *base, const rqci_list *delta,
                         const rqci_items *m)
{
    const rqci_entity *e = rqci_entity_of(code);
    size_t at = 0;
    for (size_t i = 0; i < base->n; i++, at++) {
        const rqc_record *over[1000];
        uint32_t n = 0;
        for (size_t k = 0; k < delta->n; k++) {
            const uint8_t *parent = rqci_rec_id_field(delta->items[k], e->parent);
            if (!parent || memcmp(parent, rqci_rec_id(base->items[i]), 16) != 0)
                continue;
            if (code != RQCI_HTTP_ASSERT)
                n = 0;
            over[n++] = delta->items[k];
        }
        const rqc_item *item = &m->items[at];
        if (at >= m->n || item->record != base->items[i] || item->nover != n ||
            item->origin != (n ? RQC_ORIGIN_OVERRIDE : RQC_ORIGIN_BASE) ||
            (n && memcmp(item->over, over, n * sizeof *over) != 0))
            return false;
    }
    for (size_t k = 0; k < delta->n; k++) {
        if (rqci_rec_id_field(delta->items[k], e->parent))
            continue;
        if (at >= m->n || m->items[at].record != delta->items[k] || m->items[at].nover != 0 ||
            m->items[at].origin != RQC_ORIGIN_ADDITION)
            return false;
        at++;
    }
    return at == m->n;
}

static void test_model(void)
{
    rows_random *x = malloc(sizeof *x);
    if (!x)
        bail("no memory");
    rows_seed(x, 3);
    rqci_items m = {0};
    const uint64_t n = tap_scaled(2000);
    uint64_t i = 0;
    for (; i < n; i++) {
        const unsigned code = rows_below(x, 2) ? RQCI_HTTP_ASSERT : RQCI_HTTP_SEARCH_PARAM;
        const uint32_t most = rows_below(x, 8) ? 12 : 300;
        rqci_list base = {0}, delta = {0};
        shuffled(x, code, rows_below(x, most), NULL, 1, &base);
        shuffled(x, code, rows_below(x, most), &base, 100000, &delta);
        merge(code, &base, &delta, &m);
        bool good = as_the_model(code, &base, &delta, &m);
        for (size_t k = 1; good && k < base.n; k++)
            good = by_order(&base.items[k - 1], &base.items[k]) < 0;
        for (size_t k = 1; good && k < delta.n; k++)
            good = by_order(&delta.items[k - 1], &delta.items[k]) < 0;
        free_list(&base);
        free_list(&delta);
        if (!good)
            break;
    }
    is(i, n, "merges of lists at random are the model's");
    rqci_items_free(&m);
    free(x);
}

static int by_time(const void *a, const void *b)
{
    const rqc_record *r = *(const rqc_record *const *)a, *s = *(const rqc_record *const *)b;
    if (rqci_rec_updated(r) != rqci_rec_updated(s))
        return rqci_rec_updated(r) > rqci_rec_updated(s) ? -1 : 1;
    return memcmp(rqci_rec_id(r), rqci_rec_id(s), 16);
}

static void test_sort_newest(void)
{
    rows_random *x = malloc(sizeof *x);
    if (!x)
        bail("no memory");
    rows_seed(x, 5);
    bool good = true;
    for (size_t n = 0; good && n < 200; n++) {
        rqci_list l = {0};
        for (size_t i = 0; i < n; i++) {
            uint8_t key[16] = {0};
            rqci_put32be(key, (uint32_t)(n - i));
            rqc_value row[RQCI_HTTP_NFIELDS] = {0};
            row[RQCI_HTTP_ID] = rows_id(key);
            row[RQCI_HTTP_UPDATED_AT] =
                rows_int(rows_below(x, 2) ? (int64_t)rows_below(x, 9) - 4 : (int64_t)rows_next(x));
            rqci_buf buf = {0};
            if (rqci_rec_pack(rqci_entity_of(RQCI_HTTP), row, 1, 0, &buf, NULL) != RQC_OK)
                bail("pack");
            add(&l, (rqc_record *)buf.data);
        }
        const rqc_record **want = malloc((n + 1) * sizeof *want);
        if (!want)
            bail("no memory");
        if (n > 0) {
            memcpy(want, l.items, n * sizeof *want);
            qsort(want, n, sizeof *want, by_time);
        }
        rqci_sort_newest(l.items, n);
        good = n == 0 || memcmp(want, l.items, n * sizeof *want) == 0;
        // Once more, as it is now: sorted.
        rqci_sort_newest(l.items, n);
        good = good && (n == 0 || memcmp(want, l.items, n * sizeof *want) == 0);
        free(want);
        free_list(&l);
    }
    ok(good, "newest first, ties by id");
    free(x);
}

int main(void)
{
    test_children();
    test_columns();
    test_asserts();
    test_entities();
    test_model();
    test_sort_newest();
    return tap_done();
}

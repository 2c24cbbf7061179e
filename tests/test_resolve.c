// SPDX-License-Identifier: Apache-2.0
//
// Delta resolution, rule by rule, and against a plain model on lists at random.
#include "tap.h"

#include "record/resolve.h"
#include "rows.h"

// ---- Records by hand ----

struct set {
    int field;
    rqc_value value;
};

static uint8_t ids[256][16]; // an id for each number below 256, in order

static rqc_value id(unsigned n)
{
    return n ? rows_id(ids[n]) : rows_null();
}

static rqc_record *make(unsigned code, unsigned number, const struct set *sets, size_t n)
{
    const rqci_entity *e = rqci_entity_of(code);
    rqc_value row[RQCI_FIELD_MAX] = {0};
    rqci_row_defaults(e, row, 1000);
    row[0] = id(number);
    for (size_t i = 0; i < n; i++)
        row[sets[i].field] = sets[i].value;
    rqci_buf buf = {0};
    rqci_errbuf err = {""};
    if (rqci_rec_pack(e, row, number, 0, &buf, &err) != RQC_OK)
        bail("pack: %s", err.text);
    return (rqc_record *)buf.data;
}

#define MAKE(code, number, ...)                           \
    make(code, number, (const struct set[]){__VA_ARGS__}, \
         sizeof((const struct set[]){__VA_ARGS__}) / sizeof(struct set))

static void free_list(rqci_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free((rqc_record *)(uintptr_t)l->items[i]);
    rqci_list_free(l);
}

static void add(rqci_list *l, rqc_record *r)
{
    if (rqci_list_add(l, r) != RQC_OK)
        bail("no memory");
}

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

static bool is_text(const rqc_value *v, const char *text)
{
    return text ? v->type == RQC_TEXT && v->n == strlen(text) && memcmp(v->p, text, v->n) == 0
                : v->type == RQC_NULL;
}

static bool item_text(const rqc_item *m, int field, const char *text)
{
    rqc_value v;
    rqci_item_field(m, field, &v);
    return is_text(&v, text);
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

// ---- Children ----

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
    ok(v.type == RQC_ID && rqci_id_bucket(v.p) == rqci_id_bucket(ids[3]),
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

// ---- Scalars, chains ----

static rqc_record *request(unsigned number, unsigned parent, const char *hash, const char *name,
                           const char *delta_name, rqc_value delta_kind)
{
    return MAKE(RQCI_HTTP, number, {RQCI_HTTP_WORKSPACE_ID, id(200 + number)},
                {RQCI_HTTP_NAME, rows_text(name)}, {RQCI_HTTP_URL, rows_text("u")},
                {RQCI_HTTP_METHOD, rows_text("GET")}, {RQCI_HTTP_BODY_KIND, rows_int(3)},
                {RQCI_HTTP_PARENT_HTTP_ID, id(parent)},
                {RQCI_HTTP_IS_DELTA, rows_bool(parent != 0)},
                {RQCI_HTTP_DELTA_NAME, delta_name ? rows_text(delta_name) : rows_null()},
                {RQCI_HTTP_DELTA_BODY_KIND, delta_kind},
                {RQCI_HTTP_CONTENT_HASH, hash ? rows_text(hash) : rows_null()});
}

static void test_overlay(void)
{
    rqc_record *base = request(1, 0, "hash", "base", NULL, rows_null());
    rqc_record *delta = request(2, 1, "other", "plain", "delta", rows_int(0));
    rqc_record *inner = request(3, 2, NULL, "inner plain", NULL, rows_null());
    const rqc_record *over = delta;
    rqc_item m = {.record = base, .over = &over, .nover = 1, .origin = RQC_ORIGIN_OVERRIDE};
    rqc_value v;
    ok(item_text(&m, RQCI_HTTP_NAME, "delta"), "overlay: name");
    ok(item_text(&m, RQCI_HTTP_URL, "u"), "overlay: inherited url");
    rqci_item_field(&m, RQCI_HTTP_BODY_KIND, &v);
    ok(v.type == RQC_INT && v.u.i == 0, "overlay: body_kind 0 is a value");
    rqci_item_field(&m, RQCI_HTTP_ID, &v);
    ok(v.type == RQC_ID && memcmp(v.p, ids[1], 16) == 0, "overlay: id of the base");
    rqci_item_field(&m, RQCI_HTTP_WORKSPACE_ID, &v);
    ok(v.type == RQC_ID && memcmp(v.p, ids[201], 16) == 0, "overlay: workspace of the base");
    ok(item_text(&m, RQCI_HTTP_CONTENT_HASH, "hash"), "overlay: content_hash of the base");
    ok(item_text(&m, RQCI_HTTP_DELTA_NAME, NULL), "overlay: overrides cleared");
    rqci_item_field(&m, RQCI_HTTP_IS_DELTA, &v);
    ok(v.type == RQC_BOOL && v.u.i == 0, "overlay: no delta");
    m = (rqc_item){.record = base};
    ok(item_text(&m, RQCI_HTTP_NAME, "base"), "no delta: the base");
    // One level: the delta as base contributes its plain columns.
    over = inner;
    m = (rqc_item){.record = delta, .over = &over, .nover = 1, .origin = RQC_ORIGIN_OVERRIDE};
    ok(item_text(&m, RQCI_HTTP_NAME, "plain"), "a delta as base gives its plain columns");
    rqci_item_field(&m, RQCI_HTTP_IS_DELTA, &v);
    ok(v.type == RQC_BOOL && v.u.i == 0, "and is no delta in the result");
    free(base);
    free(delta);
    free(inner);
}

static void test_chain(void)
{
    rqc_record *r[4] = {request(1, 0, "h0", "base", NULL, rows_null()),
                        request(2, 1, NULL, "p1", "n1", rows_int(1)),
                        request(3, 2, "h2", "p2", NULL, rows_int(0)),
                        request(4, 3, NULL, "p3", NULL, rows_null())};
    const rqc_record *chain[4] = {r[0], r[1], r[2], r[3]};
    rqc_value v;
    rqci_chain_field(chain, 4, RQCI_HTTP_NAME, &v);
    ok(is_text(&v, "n1"), "chain: the nearest override");
    rqci_chain_field(chain, 4, RQCI_HTTP_BODY_KIND, &v);
    ok(v.type == RQC_INT && v.u.i == 0, "chain: a deeper override wins, 0 is a value");
    rqci_chain_field(chain, 4, RQCI_HTTP_METHOD, &v);
    ok(is_text(&v, "GET"), "chain: inherited from the base");
    rqci_chain_field(chain, 4, RQCI_HTTP_CONTENT_HASH, &v);
    ok(is_text(&v, "h2"), "chain: the deepest content_hash that is there");
    rqci_chain_field(chain, 2, RQCI_HTTP_CONTENT_HASH, &v);
    ok(is_text(&v, "h0"), "chain: else the base's");
    rqci_chain_field(chain, 4, RQCI_HTTP_ID, &v);
    ok(v.type == RQC_ID && memcmp(v.p, ids[4], 16) == 0, "chain: id of the deepest");
    rqci_chain_field(chain, 4, RQCI_HTTP_PARENT_HTTP_ID, &v);
    ok(v.type == RQC_ID && memcmp(v.p, ids[3], 16) == 0, "chain: parent of the deepest");
    rqci_chain_field(chain, 4, RQCI_HTTP_IS_DELTA, &v);
    is(v.u.i, 1, "chain: the deepest is a delta");
    rqci_chain_field(chain, 4, RQCI_HTTP_DELTA_NAME, &v);
    is(v.type, RQC_NULL, "chain: override columns of the deepest");
    rqci_chain_field(chain, 2, RQCI_HTTP_DELTA_NAME, &v);
    ok(is_text(&v, "n1"), "chain: as stored");
    bool good = true;
    for (int i = 0; i < RQCI_HTTP_NFIELDS; i++) {
        rqc_value want;
        rqci_rec_field(r[0], i, &want);
        rqci_chain_field(chain, 1, i, &v);
        good = good && rows_equal(&v, &want);
    }
    ok(good, "chain: of the base alone it is the base");
    rqci_chain_field(chain, 0, RQCI_HTTP_NAME, &v);
    is(v.type, RQC_ABSENT, "chain: of nothing it is nothing");
    for (int i = 0; i < 4; i++)
        free(r[i]);
}

// ---- Body ----

#define RAW   RQCI_HTTP_BODY_RAW_RAW_DATA
#define DELTA RQCI_HTTP_BODY_RAW_DELTA_RAW_DATA

static rqc_value some(const char *text)
{
    return text ? rows_bytes(text, (uint32_t)strlen(text)) : rows_null();
}

static rqc_record *body(unsigned number, const char *raw, int64_t codec, const char *delta,
                        rqc_value delta_codec)
{
    return MAKE(RQCI_HTTP_BODY_RAW, number, {RAW, some(raw)},
                {RQCI_HTTP_BODY_RAW_COMPRESSION_TYPE, rows_int(codec)}, {DELTA, some(delta)},
                {RQCI_HTTP_BODY_RAW_DELTA_COMPRESSION_TYPE, delta_codec});
}

static void test_body(void)
{
    static const struct {
        const char *what;
        struct {
            bool there;
            const char *raw;
            int codec;
            const char *delta;
            int delta_codec; // -1: NULL
        } base, over;
        const char *bytes;
        int codec;
        bool has_id;
        int source, source_field; // 1 base, 2 delta
        rqc_origin origin;
    } rows[] = {
        {"no delta", {1, "B", 2, NULL, -1}, {0}, "B", 2, true, 1, RAW, RQC_ORIGIN_BASE},
        {"override",
         {1, "B", 0, NULL, -1},
         {1, NULL, 0, "D", -1},
         "D",
         0,
         true,
         2,
         DELTA,
         RQC_ORIGIN_OVERRIDE},
        {"override with its codec",
         {1, "B", 0, NULL, -1},
         {1, NULL, 0, "D", 2},
         "D",
         2,
         true,
         2,
         DELTA,
         RQC_ORIGIN_OVERRIDE},
        {"override without a codec is not compressed",
         {1, "B", 2, NULL, -1},
         {1, NULL, 1, "D", -1},
         "D",
         0,
         true,
         2,
         DELTA,
         RQC_ORIGIN_OVERRIDE},
        {"empty override inherits",
         {1, "B", 1, NULL, -1},
         {1, "", 0, "", 3},
         "B",
         1,
         true,
         1,
         RAW,
         RQC_ORIGIN_BASE},
        {"codec without bytes is not applied",
         {1, "B", 1, NULL, -1},
         {1, NULL, 0, NULL, 3},
         "B",
         1,
         true,
         1,
         RAW,
         RQC_ORIGIN_BASE},
        {"plain bytes of the delta",
         {1, "B", 0, NULL, -1},
         {1, "P", 3, NULL, 2},
         "P",
         3,
         true,
         2,
         RAW,
         RQC_ORIGIN_OVERRIDE},
        {"override before plain bytes",
         {1, "B", 0, NULL, -1},
         {1, "P", 3, "D", 1},
         "D",
         1,
         true,
         2,
         DELTA,
         RQC_ORIGIN_OVERRIDE},
        {"the base's override columns do not count",
         {1, "B", 0, "X", 1},
         {0},
         "B",
         0,
         true,
         1,
         RAW,
         RQC_ORIGIN_BASE},
        {"only the delta has a body",
         {0},
         {1, "P", 1, NULL, -1},
         "P",
         1,
         false,
         2,
         RAW,
         RQC_ORIGIN_ADDITION},
        {"only the delta, by override",
         {0},
         {1, "P", 1, "D", -1},
         "D",
         0,
         false,
         2,
         DELTA,
         RQC_ORIGIN_ADDITION},
        {"only an empty delta",
         {0},
         {1, "", 1, NULL, -1},
         "",
         0,
         false,
         2,
         RAW,
         RQC_ORIGIN_ADDITION},
        {"an empty body", {1, "", 0, NULL, -1}, {0}, "", 0, true, 1, RAW, RQC_ORIGIN_BASE},
        {"NULL",
         {1, NULL, 0, NULL, -1},
         {1, NULL, 0, "", -1},
         NULL,
         0,
         true,
         1,
         RAW,
         RQC_ORIGIN_BASE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rqc_record *r[3] = {NULL, NULL, NULL};
        if (rows[i].base.there)
            r[1] = body(1, rows[i].base.raw, rows[i].base.codec, rows[i].base.delta,
                        rows[i].base.delta_codec < 0 ? rows_null()
                                                     : rows_int(rows[i].base.delta_codec));
        if (rows[i].over.there)
            r[2] = body(2, rows[i].over.raw, rows[i].over.codec, rows[i].over.delta,
                        rows[i].over.delta_codec < 0 ? rows_null()
                                                     : rows_int(rows[i].over.delta_codec));
        rqci_body b;
        rqci_merge_body(r[1], r[2], &b);
        const rqc_value want = some(rows[i].bytes);
        rqc_value from;
        rqci_rec_field(b.source, b.source_field, &from);
        ok(rows_equal(&b.bytes, &want) && b.compression == rows[i].codec &&
               b.origin == rows[i].origin && (b.id != NULL) == rows[i].has_id &&
               b.source == r[rows[i].source] && b.source_field == rows[i].source_field &&
               rows_equal(&from, &want) && b.record == (r[1] ? r[1] : r[2]) &&
               (!b.id || memcmp(b.id, ids[1], 16) == 0),
           "body: %s", rows[i].what);
        free(r[1]);
        free(r[2]);
    }
    rqci_body none;
    rqci_merge_body(NULL, NULL, &none);
    ok(!none.record && !none.id && none.bytes.type == RQC_NULL && !none.source,
       "body: none at all");
    static uint8_t bytes[40000];
    rqc_record *large = MAKE(RQCI_HTTP_BODY_RAW, 2, {DELTA, rows_bytes(bytes, sizeof bytes)});
    rqc_record *base = body(1, "B", 0, NULL, rows_null());
    rqci_merge_body(base, large, &none);
    ok(none.bytes.type == RQC_LARGE && none.bytes.u.length == sizeof bytes &&
           none.source == large && none.source_field == DELTA,
       "body: a large override is one");
    free(large);
    free(base);
}

int main(void)
{
    for (unsigned i = 0; i < 256; i++)
        ids[i][15] = (uint8_t)i;
    test_children();
    test_columns();
    test_asserts();
    test_entities();
    test_model();
    test_sort_newest();
    test_overlay();
    test_chain();
    test_body();
    return tap_done();
}

// SPDX-License-Identifier: Apache-2.0
//
// Delta resolution of a request itself, rule by rule: its scalars, chains of deltas, the body.
#include "tests/resolve_rows.h"

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
    ok(v.type == RQC_ID && memcmp(v.p, id_bytes(1), 16) == 0, "overlay: id of the base");
    rqci_item_field(&m, RQCI_HTTP_WORKSPACE_ID, &v);
    ok(v.type == RQC_ID && memcmp(v.p, id_bytes(201), 16) == 0, "overlay: workspace of the base");
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
    ok(v.type == RQC_ID && memcmp(v.p, id_bytes(4), 16) == 0, "chain: id of the deepest");
    rqci_chain_field(chain, 4, RQCI_HTTP_PARENT_HTTP_ID, &v);
    ok(v.type == RQC_ID && memcmp(v.p, id_bytes(3), 16) == 0, "chain: parent of the deepest");
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
               (!b.id || memcmp(b.id, id_bytes(1), 16) == 0),
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
    test_overlay();
    test_chain();
    test_body();
    return tap_done();
}

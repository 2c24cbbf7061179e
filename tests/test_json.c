// SPDX-License-Identifier: Apache-2.0
//
// Records as JSON: exact text, there and back, and everything that must be refused.
#include "tap.h"

#include "base/id.h"
#include "record/json.h"
#include "rows.h"

#include <jansson.h>

static const char id_a[] = "\x01\x99\xc8\x2c\xc0\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a";
#define ID_A "01K742SG00041061050R3GG28A"

static char *text_of(rqci_buf *b)
{
    if (rqci_buf_add(b, "", 1) != RQC_OK)
        bail("no memory");
    b->len--;
    return (char *)b->data;
}

// ---- Single values ----

static void test_values(void)
{
    static const uint8_t hash[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255};
    static const struct {
        rqc_value v;
        const char *text;
    } rows[] = {
        {{.type = RQC_NULL}, "null"},
        {{.type = RQC_ABSENT}, "null"},
        {{.type = RQC_INT, .u.i = INT64_MIN}, "-9223372036854775808"},
        {{.type = RQC_INT, .u.i = INT64_MAX}, "9223372036854775807"},
        {{.type = RQC_BOOL, .u.i = 1}, "true"},
        {{.type = RQC_BOOL}, "false"},
        {{.type = RQC_REAL, .u.d = 1}, "1.0"},
        {{.type = RQC_REAL, .u.d = -0.0}, "-0.0"},
        {{.type = RQC_REAL, .u.d = 0.1}, "0.1"},
        {{.type = RQC_REAL, .u.d = 1.0 / 3}, "0.3333333333333333"},
        {{.type = RQC_REAL, .u.d = 1e300}, "1.0e+300"},
        {{.type = RQC_REAL, .u.d = 5e-324}, "4.94065645841247e-324"},
        {{.type = RQC_REAL, .u.d = (double)INFINITY}, "{\"$real\":\"inf\"}"},
        {{.type = RQC_REAL, .u.d = -(double)INFINITY}, "{\"$real\":\"-inf\"}"},
        {{.type = RQC_TEXT, .n = 0, .p = ""}, "\"\""},
        {{.type = RQC_TEXT, .n = 5, .p = "\xc3\xa4\"\\/"}, "\"\xc3\xa4\\\"\\\\/\""},
        {{.type = RQC_TEXT, .n = 8, .p = "\b\f\n\r\t\0\x1f\x7f"},
         "\"\\b\\f\\n\\r\\t\\u0000\\u001f\\u007f\""},
        {{.type = RQC_TEXT, .n = 2, .p = "a\xff"}, "{\"$base64\":\"Yf8=\",\"$text\":true}"},
        {{.type = RQC_BYTES, .n = 2, .p = "a\xff"}, "{\"$base64\":\"Yf8=\"}"},
        {{.type = RQC_BYTES, .n = 0, .p = ""}, "{\"$base64\":\"\"}"},
        {{.type = RQC_ID, .n = 16, .p = id_a}, "\"" ID_A "\""},
        {{.type = RQC_LARGE, .n = 16, .p = hash, .u.length = UINT64_C(12345678901)},
         "{\"$large\":{\"length\":12345678901,\"xxh3\":\"000102030405060708090a0b0c0d0eff\"}}"},
    };
    rqci_buf b = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        b.len = 0;
        if (rqci_json_value(&b, &rows[i].v) != RQC_OK)
            bail("no memory");
        is(text_of(&b), rows[i].text, "value: %s", rows[i].text);
    }
    rqci_buf_free(&b);
}

// ---- Records ----

static rqc_record *make(unsigned code, const rqc_value *row, uint64_t seq)
{
    rqci_buf b = {0};
    rqci_errbuf err = {""};
    if (rqci_rec_pack(rqci_entity_of(code), row, seq, 0, &b, &err) != RQC_OK)
        bail("pack: %s", err.text);
    return (rqc_record *)b.data;
}

static void test_record(void)
{
    rqc_value row[RQCI_FIELD_MAX] = {0};
    row[RQCI_HTTP_RESPONSE_ASSERT_ID] = rows_id(id_a);
    row[RQCI_HTTP_RESPONSE_ASSERT_VALUE] = rows_text("a == b");
    row[RQCI_HTTP_RESPONSE_ASSERT_SUCCESS] = rows_bool(true);
    row[RQCI_HTTP_RESPONSE_ASSERT_CREATED_AT] = rows_int(7);
    rqc_record *r = make(RQCI_HTTP_RESPONSE_ASSERT, row, UINT64_MAX);
    rqci_buf b = {0};
    is(rqci_json_record(&b, r, NULL), RQC_OK, "a record");
    is(text_of(&b),
       "{\"entity\":\"http_response_assert\",\"seq\":18446744073709551615,\"id\":\"" ID_A
       "\",\"response_id\":null,\"value\":\"a == b\",\"success\":true,\"created_at\":7}",
       "in schema order");
    free(r);
    rqci_buf_free(&b);
}

static void test_merged(void)
{
    rqc_value row[RQCI_FIELD_MAX] = {0};
    row[RQCI_HTTP_ASSERT_ID] = rows_id(id_a);
    row[RQCI_HTTP_ASSERT_VALUE] = rows_text("base");
    rqc_record *base = make(RQCI_HTTP_ASSERT, row, 5);
    row[RQCI_HTTP_ASSERT_DELTA_VALUE] = rows_text("new");
    rqc_record *delta = make(RQCI_HTTP_ASSERT, row, 9);
    const rqc_record *over = delta;
    rqc_item m = {.record = base, .over = &over, .nover = 1, .origin = RQC_ORIGIN_OVERRIDE};
    rqci_buf b = {0};
    is(rqci_json_item(&b, &m, NULL), RQC_OK, "an item");
    const char *text = text_of(&b);
    ok(strstr(text, "\"value\":\"new\"") && strstr(text, "\"delta_value\":null") &&
           strstr(text, ",\"origin\":\"override\"}"),
       "merged, with its origin: %s", text);
    ok(strstr(text, "\"seq\":9,"), "the seq is the highest");
    b.len = 0;
    m = (rqc_item){.record = delta, .origin = RQC_ORIGIN_ADDITION};
    (void)rqci_json_item(&b, &m, NULL);
    text = text_of(&b);
    ok(strstr(text, "\"value\":\"base\"") && strstr(text, "\"delta_value\":\"new\"") &&
           strstr(text, ",\"origin\":\"addition\"}"),
       "an addition as stored");
    free(base);
    free(delta);

    memset(row, 0, sizeof row);
    row[RQCI_HTTP_ID] = rows_id(id_a);
    row[RQCI_HTTP_NAME] = rows_text("base");
    base = make(RQCI_HTTP, row, 12);
    row[RQCI_HTTP_DELTA_NAME] = rows_text("deep");
    row[RQCI_HTTP_NAME] = rows_text("plain");
    delta = make(RQCI_HTTP, row, 11);
    const rqc_record *chain[] = {base, delta};
    b.len = 0;
    is(rqci_json_chain(&b, chain, 2, NULL), RQC_OK, "a chain");
    text = text_of(&b);
    ok(strstr(text, "\"seq\":12,") && strstr(text, ",\"name\":\"deep\"") &&
           strstr(text, "\"delta_name\":\"deep\"") && !strstr(text, "origin"),
       "merged: %s", text);
    b.len = 0;
    (void)rqci_json_chain(&b, NULL, 0, NULL);
    is(text_of(&b), "null", "of nothing");
    free(base);
    free(delta);
    rqci_buf_free(&b);
}

// ---- There and back ----

static int first_difference(const rqci_entity *e, const rqc_value *a, const rqc_value *b)
{
    for (int i = 0; i < e->nfields; i++) {
        if (!rows_equal(&a[i], &b[i]))
            return i;
    }
    return -1;
}

static void test_round_trip(void)
{
    rows_random *x = malloc(sizeof *x);
    if (!x)
        bail("no memory");
    rows_seed(x, 6);
    rqci_buf b = {0};
    const uint64_t n = tap_scaled(10000);
    uint64_t i = 0;
    for (; i < n; i++) {
        const rqci_entity *e = rqci_entity_of(1 + rows_below(x, RQCI_ENTITY_MAX));
        rqc_value row[RQCI_FIELD_MAX];
        for (int k = 0; k < e->nfields; k++) {
            do {
                row[k] = rows_random_value(x, e, k);
            } while (row[k].n > 2000);
        }
        rqc_record *r = make(e->code, row, i);
        b.len = 0;
        if (rqci_json_record(&b, r, NULL) != RQC_OK)
            bail("no memory");
        free(r);
        rqci_json_row back;
        rqci_errbuf err = {""};
        const rqc_err rc = rqci_json_parse_row((char *)b.data, b.len, &back, &err);
        const int wrong = rc == RQC_OK ? first_difference(e, row, back.row) : 0;
        const bool good = rc == RQC_OK && wrong < 0 && back.entity == e && back.has_id &&
                          memcmp(back.id, row[0].p, 16) == 0;
        if (rc == RQC_OK)
            rqci_json_row_free(&back);
        if (!good) {
            tap_note("%s field %d: %s in %.*s", e->table, wrong, err.text,
                     (int)(b.len < 300 ? b.len : 300), (char *)b.data);
            break;
        }
    }
    is(i, n, "records at random go there and back, bit by bit");
    rqci_buf_free(&b);
    free(x);
}

static rqc_err parse(const char *text, rqci_json_row *ret_row, rqci_errbuf *err)
{
    // A copy without a final NUL, so that the sanitizer sees one byte too far.
    const size_t len = strlen(text);
    char *copy = malloc(len ? len : 1);
    if (!copy)
        bail("no memory");
    memcpy(copy, text, len);
    const rqc_err rc = rqci_json_parse_row(copy, len, ret_row, err);
    // The row must not point into the text.
    memset(copy, '#', len);
    free(copy);
    return rc;
}

static void test_accepted(void)
{
    rqci_json_row r;
    rqci_errbuf err = {""};
    is(parse(" {\"seq\": 5, \"position\": \"1@x:5\", \"url\": \"\\u0061\\ud83d\\ude00\", "
             "\"entity\": \"http\",\"delta_url\":null}\n",
             &r, &err),
       RQC_OK, "a record without id (%s)", err.text);
    is(r.has_id, false, "has none");
    ok(r.entity == rqci_entity_of(RQCI_HTTP), "entity");
    const rqc_value url = rows_text("a\xf0\x9f\x98\x80");
    ok(rows_equal(&r.row[RQCI_HTTP_URL], &url), "escapes are read");
    is(r.row[RQCI_HTTP_DELTA_URL].type, RQC_NULL, "null is NULL");
    is(r.row[RQCI_HTTP_NAME].type, RQC_ABSENT, "what is not there is absent");
    rqci_json_row_free(&r);
    rqci_json_row_free(&r);
    rqci_json_row_free(NULL);

    is(parse("{\"entity\":\"http_header\",\"id\":\"0199c82cc0000102030405060708090A\",\"http_id\":"
             "\"" ID_A "\",\"enabled\":1,\"is_delta\":false,\"display_order\":3,\"delta_display_"
             "order\":{\"$real\":\"-inf\"},\"created_at\":-5}",
             &r, &err),
       RQC_OK, "ids in both forms, numbers (%s)", err.text);
    ok(r.has_id && memcmp(r.id, id_a, 16) == 0 && r.row[0].type == RQC_ID &&
           memcmp(r.row[1].p, id_a, 16) == 0,
       "the same id");
    const rqc_value yes = rows_bool(true), three = rows_real(3.0),
                    low = rows_real(-(double)INFINITY), minus = rows_int(-5);
    ok(rows_equal(&r.row[RQCI_HTTP_HEADER_ENABLED], &yes), "1 is true");
    ok(rows_equal(&r.row[RQCI_HTTP_HEADER_DISPLAY_ORDER], &three), "an integer is a real");
    ok(rows_equal(&r.row[RQCI_HTTP_HEADER_DELTA_DISPLAY_ORDER], &low), "an infinity");
    ok(rows_equal(&r.row[RQCI_HTTP_HEADER_CREATED_AT], &minus), "a negative integer");
    rqci_json_row_free(&r);

    is(parse("{\"entity\":\"http_response\",\"time\":1.0,\"body\":{\"$base64\":\"AP8=\"}}", &r,
             &err),
       RQC_OK, "bytes, any (%s)", err.text);
    const rqc_value one = rows_real(1.0), bytes = rows_bytes("\0\xff", 2);
    ok(rows_equal(&r.row[RQCI_HTTP_RESPONSE_TIME], &one), "1.0 is a real");
    ok(rows_equal(&r.row[RQCI_HTTP_RESPONSE_BODY], &bytes), "bytes");
    rqci_json_row_free(&r);
    is(parse("{\"entity\":\"http\",\"url\":{\"$text\":true,\"$base64\":\"YQBi\"}}", &r, &err),
       RQC_OK, "text in base 64 (%s)", err.text);
    const rqc_value zero = {.type = RQC_TEXT, .n = 3, .p = "a\0b"};
    ok(rows_equal(&r.row[RQCI_HTTP_URL], &zero), "with a zero byte");
    rqci_json_row_free(&r);
}

// ---- No memory ----

static size_t allocations, fails_at;

static void *failing_malloc(size_t n)
{
    return ++allocations == fails_at ? NULL : malloc(n);
}

// jansson leaves out bytes without a word then, or calls the text wrong.
static void test_no_memory(void)
{
#define LONG "longer than what the parser has room for at first "
    static const char text[] = "{\"entity\":\"http\",\"url\":\"" LONG "\\u00e4\",\"name\":\"x\"}";
    const rqc_value url = rows_text(LONG "\xc3\xa4");
    rqci_json_row r;
    rqci_errbuf err = {""};
    size_t refused = 0, wrong = 0;
    do {
        fails_at++;
        allocations = 0;
        const rqc_err rc = rqci_json_parse_row(text, strlen(text), &r, &err);
        const bool failed = allocations >= fails_at;
        refused += rc == RQC_NO_MEMORY;
        wrong += rc != (failed ? RQC_NO_MEMORY : RQC_OK) ||
                 (rc == RQC_OK && !rows_equal(&r.row[RQCI_HTTP_URL], &url));
        if (rc == RQC_OK)
            rqci_json_row_free(&r);
    } while (allocations >= fails_at);
    fails_at = 0;
    ok(refused > 10, "%zu allocations of the parser fail, one by one", refused);
    is(wrong, 0u, "which is never an error of the text, nor another text");
}

static void test_refused(void)
{
    static const struct {
        const char *what, *text, *says;
    } rows[] = {
        {"nothing", "", "JSON: column"},
        {"blanks", "  \n", "JSON: line"},
        {"an array", "[]", "a record is an object"},
        {"a string", "\"x\"", "JSON"},
        {"cut off", "{\"entity\":\"http\"", "JSON: column"},
        {"two objects", "{\"entity\":\"http\"}{}", "JSON: column"},
        {"something behind it", "{\"entity\":\"http\"} x", "JSON: column"},
        {"no entity", "{\"url\":\"x\"}", "entity"},
        {"entity of another type", "{\"entity\":3}", "entity"},
        {"unknown entity", "{\"entity\":\"https\"}", "unknown entity \"https\""},
        {"unknown column", "{\"entity\":\"http\",\"uri\":\"x\"}", "http: unknown column \"uri\""},
        {"another origin", "{\"entity\":\"http\",\"origin\":\"delta\"}", "origin"},
        {"an origin that is no text", "{\"entity\":\"http\",\"origin\":null}", "origin"},
        {"another op", "{\"entity\":\"http\",\"op\":\"insert\"}", "op"},
        {"an op that is no text", "{\"entity\":\"http\",\"op\":1}", "op"},
        {"a deletion with a column", "{\"op\":\"delete\",\"entity\":\"http\",\"url\":\"x\"}", "op"},
        {"a deletion of nothing", "{\"op\":\"delete\",\"id\":\"x\"}", "entity"},
        {"an end with something else", "{\"next\":5,\"url\":\"x\"}", "entity"},
        {"an end of a record", "{\"next\":5,\"entity\":\"http\"}", "unknown column \"next\""},
        {"a zero byte in a key", "{\"entity\":\"http\",\"url\\u0000x\":\"x\"}", "JSON"},
        {"duplicate column", "{\"entity\":\"http\",\"url\":\"a\",\"url\":\"b\"}", "duplicate"},
        {"duplicate entity", "{\"entity\":\"http\",\"entity\":\"http\"}", "duplicate"},
        {"duplicate inside", "{\"entity\":\"http\",\"url\":{\"$base64\":\"\",\"$base64\":\"\"}}",
         "duplicate"},
        {"id null", "{\"entity\":\"http\",\"id\":null}", "http.id"},
        {"id as integer", "{\"entity\":\"http\",\"id\":5}", "http.id"},
        {"id too short", "{\"entity\":\"http\",\"id\":\"abc\"}", "http.id"},
        {"id beyond 128 bits", "{\"entity\":\"http\",\"id\":\"8ZZZZZZZZZZZZZZZZZZZZZZZZZ\"}",
         "http.id"},
        {"owner not an id", "{\"entity\":\"http\",\"workspace_id\":\"\"}", "http.workspace_id"},
        {"text as integer", "{\"entity\":\"http\",\"url\":5}", "http.url: not a text"},
        {"text as bytes", "{\"entity\":\"http\",\"url\":{\"$base64\":\"YQ==\"}}", "http.url"},
        {"text as bytes, said so",
         "{\"entity\":\"http\",\"url\":{\"$base64\":\"YQ==\",\"$text\":false}}", "http.url"},
        {"text as list", "{\"entity\":\"http\",\"url\":[]}", "http.url"},
        {"text as boolean", "{\"entity\":\"http\",\"url\":true}", "http.url"},
        {"bytes as text", "{\"entity\":\"http_body_raw\",\"raw_data\":\"x\"}",
         "http_body_raw.raw_data"},
        {"bytes that are text",
         "{\"entity\":\"http_body_raw\",\"raw_data\":{\"$base64\":\"\",\"$text\":true}}",
         "raw_data"},
        {"bytes with an extra key",
         "{\"entity\":\"http_body_raw\",\"raw_data\":{\"$base64\":\"\",\"x\":1}}", "raw_data"},
        {"bad base 64", "{\"entity\":\"http_body_raw\",\"raw_data\":{\"$base64\":\"YQ=\"}}",
         "raw_data"},
        {"base 64 of another type", "{\"entity\":\"http_body_raw\",\"raw_data\":{\"$base64\":1}}",
         "raw_data"},
        {"an empty object", "{\"entity\":\"http_body_raw\",\"raw_data\":{}}", "raw_data"},
        {"a hash",
         "{\"entity\":\"http_body_raw\",\"raw_data\":{\"$large\":{\"length\":99999,\"xxh3\":\"00\"}"
         "}}",
         "large"},
        {"integer as real", "{\"entity\":\"http\",\"body_kind\":1.0}",
         "http.body_kind: not an integer"},
        {"integer as text", "{\"entity\":\"http\",\"body_kind\":\"1\"}", "http.body_kind"},
        {"integer as boolean", "{\"entity\":\"http\",\"body_kind\":true}", "http.body_kind"},
        {"integer as infinity", "{\"entity\":\"http\",\"body_kind\":{\"$real\":\"inf\"}}",
         "http.body_kind"},
        {"integer of 65 bits", "{\"entity\":\"http\",\"body_kind\":9223372036854775808}",
         "big integer"},
        {"integer of many digits",
         "{\"entity\":\"http\",\"body_kind\":-99999999999999999999999999999999}",
         "big negative integer"},
        {"real beyond the range", "{\"entity\":\"http_header\",\"display_order\":1e999}",
         "real number overflow"},
        {"real as text", "{\"entity\":\"http_header\",\"display_order\":\"1\"}",
         "http_header.display_order"},
        {"another infinity", "{\"entity\":\"http_header\",\"display_order\":{\"$real\":\"nan\"}}",
         "http_header.display_order"},
        {"NaN", "{\"entity\":\"http_header\",\"display_order\":NaN}", "JSON: column"},
        {"boolean 2", "{\"entity\":\"http\",\"is_delta\":2}", "http.is_delta"},
        {"boolean as text", "{\"entity\":\"http\",\"is_delta\":\"true\"}", "http.is_delta"},
        {"any as boolean", "{\"entity\":\"http_response\",\"time\":true}", "http_response.time"},
        {"any as list", "{\"entity\":\"http_response\",\"time\":[1]}", "http_response.time"},
        {"invalid UTF-8", "{\"entity\":\"http\",\"url\":\"\xff\"}", "unable to decode"},
        {"overlong UTF-8", "{\"entity\":\"http\",\"url\":\"\xc0\x80\"}", "unable to decode"},
        {"a surrogate in UTF-8", "{\"entity\":\"http\",\"url\":\"\xed\xa0\x80\"}",
         "unable to decode"},
        {"half a surrogate pair", "{\"entity\":\"http\",\"url\":\"\\ud800\"}", "JSON"},
        {"a control character", "{\"entity\":\"http\",\"url\":\"a\tb\"}", "control character"},
        {"a comment", "{\"entity\":\"http\" /* x */}", "JSON"},
        {"a comma too many", "{\"entity\":\"http\",}", "JSON"},
        {"single quotes", "{'entity':'http'}", "JSON"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rqci_json_row r;
        rqci_errbuf err = {""};
        const rqc_err rc = parse(rows[i].text, &r, &err);
        if (rc == RQC_OK)
            rqci_json_row_free(&r);
        ok(rc == RQC_INVALID && strstr(err.text, rows[i].says), "refused: %s (%s)", rows[i].what,
           err.text);
    }
}

static void test_deep(void)
{
    char text[200100];
    rqci_json_row r;
    for (int depth = 1; depth <= 100000; depth = depth < 30   ? 30
                                                 : depth < 31 ? 31
                                                 : depth < 32 ? 32
                                                              : depth * 50) {
        size_t n = (size_t)sprintf(text, "{\"entity\":\"http\",\"url\":");
        memset(text + n, '[', (size_t)depth);
        memset(text + n + depth, ']', (size_t)depth);
        strcpy(text + n + 2 * depth, "}");
        rqci_errbuf err = {""};
        const rqc_err rc = parse(text, &r, &err);
        ok(rc == RQC_INVALID && (strstr(err.text, "deeper than 32") != NULL) == (depth > 31),
           "%d levels: %s", depth + 1, err.text);
    }
    rqci_errbuf err = {""};
    memset(text, '[', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ok(parse(text, &r, &err) == RQC_INVALID && strstr(err.text, "byte 33:"),
       "the place is told: %s", err.text);
    // Brackets in strings are no levels.
    int n = sprintf(text, "{\"entity\":\"http\",\"url\":\"\\\"");
    memset(text + n, '{', 1000);
    strcpy(text + n + 1000, "\\\\\"}");
    is(parse(text, &r, &err), RQC_OK, "brackets in a string");
    is(r.row[RQCI_HTTP_URL].n, 1002, "are its bytes");
    rqci_json_row_free(&r);
}

// A record's text with damage, or cut off: refused, or a row that can be read.
static void test_damage(void)
{
    static const char text[] =
        "{\"entity\":\"http_response\",\"seq\":1,\"id\":\"" ID_A
        "\",\"http_id\":null,\"status\":200,\"body\":{\"$base64\":\"AAEC\"},"
        "\"time\":\"2025-01-01 \\u00e4\",\"duration\":-1,\"size\":0,\"created_at\":1760000000}";
    static const char marks[] = "{}[]\",:\\u0019e.-+$tfn \n\xc3\xff";
    rows_random *x = malloc(sizeof *x);
    if (!x)
        bail("no memory");
    rows_seed(x, 8);
    uint64_t passed = 0;
    const uint64_t n = tap_scaled(50000);
    for (uint64_t i = 0; i < n; i++) {
        const size_t len = sizeof text - 1 - (rows_below(x, 4) ? 0 : rows_below(x, sizeof text));
        char *copy = malloc(len ? len : 1);
        if (!copy)
            bail("no memory");
        memcpy(copy, text, len);
        for (uint32_t k = 1 + rows_below(x, 3); len > 0 && k > 0; k--)
            copy[rows_below(x, (uint32_t)len)] = marks[rows_below(x, sizeof marks - 1)];
        rqci_json_row r;
        if (rqci_json_parse_row(copy, len, &r, NULL) == RQC_OK) {
            passed++;
            rqc_value row[RQCI_FIELD_MAX];
            memcpy(row, r.row, sizeof row);
            row[0] = rows_id(id_a);
            rqci_buf b = {0};
            if (rqci_rec_pack(r.entity, row, 1, 0, &b, NULL) != RQC_OK)
                bail("a parsed row cannot be packed: %.*s", (int)len, copy);
            rqci_buf_free(&b);
            rqci_json_row_free(&r);
        }
        free(copy);
    }
    ok(passed > 0 && passed < n,
       "damaged text is refused or harmless (%" PRIu64 " of %" PRIu64 " passed)", passed, n);
    free(x);
}

// ---- Fields as text ----

#define KIND  RQCI_HTTP, RQCI_HTTP_BODY_KIND
#define FLAG  RQCI_HTTP, RQCI_HTTP_IS_DELTA
#define NAME  RQCI_HTTP, RQCI_HTTP_NAME
#define OWNER RQCI_HTTP, RQCI_HTTP_WORKSPACE_ID
#define ORDER RQCI_HTTP_HEADER, RQCI_HTTP_HEADER_DISPLAY_ORDER
#define BODY  RQCI_HTTP_BODY_RAW, RQCI_HTTP_BODY_RAW_RAW_DATA
#define TIME  RQCI_HTTP_RESPONSE, RQCI_HTTP_RESPONSE_TIME

static void test_text_fields(void)
{
    static const struct {
        unsigned code;
        int field;
        const char *text;
        rqc_value want; // ABSENT: refused
    } rows[] = {
        {KIND, "5", {.type = RQC_INT, .u.i = 5}},
        {KIND, "-0", {.type = RQC_INT}},
        {KIND, "+7", {.type = RQC_INT, .u.i = 7}},
        {KIND, "9223372036854775807", {.type = RQC_INT, .u.i = INT64_MAX}},
        {KIND, "9223372036854775808", {0}},
        {KIND, "", {0}},
        {KIND, "-", {0}},
        {KIND, " 5", {0}},
        {KIND, "5 ", {0}},
        {KIND, "\t5", {0}},
        {KIND, "5.0", {0}},
        {KIND, "0x5", {0}},
        {FLAG, "true", {.type = RQC_BOOL, .u.i = 1}},
        {FLAG, "0", {.type = RQC_BOOL}},
        {FLAG, "1", {.type = RQC_BOOL, .u.i = 1}},
        {FLAG, "false", {.type = RQC_BOOL}},
        {FLAG, "True", {0}},
        {FLAG, "", {0}},
        {FLAG, "2", {0}},
        {ORDER, "1", {.type = RQC_REAL, .u.d = 1}},
        {ORDER, "-1.5e3", {.type = RQC_REAL, .u.d = -1500}},
        {ORDER, "inf", {.type = RQC_REAL, .u.d = (double)INFINITY}},
        {ORDER, "-inf", {.type = RQC_REAL, .u.d = -(double)INFINITY}},
        {ORDER, "1e999", {0}},
        {ORDER, "nan", {0}},
        {ORDER, "", {0}},
        {ORDER, "1,5", {0}},
        {ORDER, " 1", {0}},
        {NAME, "", {.type = RQC_TEXT, .n = 0, .p = ""}},
        {NAME, "a=b", {.type = RQC_TEXT, .n = 3, .p = "a=b"}},
        {BODY, "\xff", {.type = RQC_BYTES, .n = 1, .p = "\xff"}},
        {TIME, "5", {.type = RQC_TEXT, .n = 1, .p = "5"}},
        {OWNER, ID_A, {.type = RQC_ID, .n = 16, .p = id_a}},
        {OWNER, "0199c82cc0000102030405060708090a", {.type = RQC_ID, .n = 16, .p = id_a}},
        {OWNER, "", {0}},
        {OWNER, "x", {0}},
    };
    rqci_buf scratch = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rqc_value v = {.type = RQC_ABSENT};
        rqci_errbuf err = {""};
        const rqci_entity *e = rqci_entity_of(rows[i].code);
        const rqc_err rc = rqci_text_field(e, rows[i].field, rows[i].text, strlen(rows[i].text),
                                           &scratch, &v, &err);
        const bool accepted = rows[i].want.type != RQC_ABSENT;
        ok(rc == (accepted ? RQC_OK : RQC_INVALID) && rows_equal(&v, &rows[i].want) &&
               (accepted || strstr(err.text, e->fields[rows[i].field].name)),
           "%s=%s is %s", e->fields[rows[i].field].name, rows[i].text,
           accepted ? "accepted" : "refused");
    }
    rqci_buf_free(&scratch);
}

int main(void)
{
    json_set_alloc_funcs(failing_malloc, free);
    test_values();
    test_record();
    test_merged();
    test_round_trip();
    test_accepted();
    test_no_memory();
    test_refused();
    test_deep();
    test_damage();
    test_text_fields();
    return tap_done();
}

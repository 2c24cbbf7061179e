// SPDX-License-Identifier: Apache-2.0
//
// Packing: conversions of foreign storage classes, large values, zeros, placeholders, refusals.
#include "tap.h"

#include "base/number.h"
#include "rows.h"
#include "value_literals.h"

#include <errno.h>
#include <locale.h>
#include <unistd.h>

static const char id_text[] = "0123456789abcdef";
static const char owner_text[] = "fedcba9876543210";

// An http row with nothing but id and workspace.
static void bare(rqc_value row[RQCI_HTTP_NFIELDS])
{
    for (int i = 0; i < RQCI_HTTP_NFIELDS; i++)
        row[i] = rows_null();
    row[RQCI_HTTP_ID] = rows_id(id_text);
    row[RQCI_HTTP_WORKSPACE_ID] = rows_id(owner_text);
}

// One value through one field of an entity; bail when it cannot be packed.
static uint8_t pack_one(unsigned code, int field, rqc_value in, rqc_value *ret_value, rqci_buf *buf)
{
    const rqci_entity *e = rqci_entity_of(code);
    rqc_value row[RQCI_FIELD_MAX];
    for (int i = 0; i < e->nfields; i++)
        row[i] = rows_null();
    row[0] = rows_id(id_text);
    row[field] = in;
    buf->len = 0;
    rqci_errbuf err = {""};
    if (rqci_rec_pack(e, row, 1, 0, buf, &err) != RQC_OK)
        bail("pack: %s", err.text);
    if (rqci_rec_verify(buf->data, buf->len, true, &err) != RQC_OK)
        bail("verify: %s", err.text);
    rqci_rec_field((const rqc_record *)buf->data, field, ret_value);
    return rqci_rec_flags((const rqc_record *)buf->data);
}

#define URL     RQCI_HTTP, RQCI_HTTP_URL
#define KIND    RQCI_HTTP, RQCI_HTTP_BODY_KIND
#define DELTA   RQCI_HTTP, RQCI_HTTP_IS_DELTA
#define UPDATED RQCI_HTTP, RQCI_HTTP_UPDATED_AT
#define ORDER   RQCI_HTTP_HEADER, RQCI_HTTP_HEADER_DISPLAY_ORDER
#define RAW     RQCI_HTTP_BODY_RAW, RQCI_HTTP_BODY_RAW_RAW_DATA
#define TIME    RQCI_HTTP_RESPONSE, RQCI_HTTP_RESPONSE_TIME

static const struct {
    const char *what;
    unsigned code;
    int field;
    rqc_value in, want;
    bool flagged;
} conversions[] = {
    {"text stays", URL, T("a"), T("a"), false},
    {"blob to text", URL, BY("a\0\xff"), T("a\0\xff"), true},
    {"integer to text", URL, I(-42), T("-42"), true},
    {"lowest integer to text", URL, I(INT64_MIN), T("-9223372036854775808"), true},
    {"real to text", URL, R(1.0), T("1.0"), true},
    {"real to text, fraction", URL, R(0.1), T("0.1"), true},
    {"real to text, 15 digits", URL, R(1.0 / 3), T("0.333333333333333"), true},
    {"real to text, exponent", URL, R(1e20), T("1.0e+20"), true},
    {"real to text, small", URL, R(-2.5e-7), T("-2.5e-07"), true},
    {"real to text, 15 places before the point", URL, R(123456789012345.0), T("123456789012345.0"),
     true},
    {"real to text, 16 places", URL, R(1234567890123456.0), T("1.23456789012346e+15"), true},
    {"real to text, largest", URL, R(1.7976931348623157e308), T("1.79769313486232e+308"), true},
    {"infinity to text", URL, R((double)INFINITY), T("Inf"), true},
    {"-infinity to text", URL, R(-(double)INFINITY), T("-Inf"), true},
    {"boolean to text", URL, BO(1), T("1"), true},
    {"id to text", URL, {.type = RQC_ID, .n = 16, .p = id_text}, T("0123456789abcdef"), true},
    {"NaN is NULL", URL, R((double)NAN), NUL, false},
    {"NULL stays NULL in a NOT NULL column", URL, NUL, NUL, false},
    {"empty blob to text", URL, BY(""), T(""), true},

    {"integer stays", KIND, I(7), I(7), false},
    {"boolean is an integer", KIND, BO(1), I(1), false},
    {"text to integer", KIND, T("42"), I(42), true},
    {"text to integer, beginning", KIND, T(" \t-12abc"), I(-12), true},
    {"text to integer, plus", KIND, T("+3"), I(3), true},
    {"text to integer, fraction", KIND, T("3.9"), I(3), true},
    {"text to integer, hex is no number", KIND, T("0x10"), I(0), true},
    {"text to integer, none", KIND, T("abc"), I(0), true},
    {"text to integer, sign alone", KIND, T("-"), I(0), true},
    {"text to integer, empty", KIND, T(""), I(0), true},
    {"text to integer, end of range", KIND, T("9223372036854775807"), I(INT64_MAX), true},
    {"text to integer, beyond", KIND, T("9223372036854775808"), I(INT64_MAX), true},
    {"text to integer, far beyond", KIND, T("99999999999999999999999999"), I(INT64_MAX), true},
    {"text to integer, low end", KIND, T("-9223372036854775808"), I(INT64_MIN), true},
    {"text to integer, below", KIND, T("-9223372036854775809"), I(INT64_MIN), true},
    {"blob to integer", KIND, BY("5\0"), I(5), true},
    {"real to integer", KIND, R(2.9), I(2), true},
    {"real to integer, negative", KIND, R(-2.9), I(-2), true},
    {"real to integer, too large", KIND, R(1e300), I(INT64_MAX), true},
    {"real to integer, 2^63", KIND, R(0x1p63), I(INT64_MAX), true},
    {"real to integer, -2^63", KIND, R(-0x1p63), I(INT64_MIN), true},
    {"real to integer, too low", KIND, R(-1e300), I(INT64_MIN), true},
    {"infinity to integer", KIND, R((double)INFINITY), I(INT64_MAX), true},
    {"text to update time", UPDATED, T("1760000000"), I(1760000000), true},
    {"text to update time 0", UPDATED, T("now"), I(0), true},

    {"boolean stays", DELTA, BO(1), BO(1), false},
    {"0 is false", DELTA, I(0), BO(0), false},
    {"1 is true", DELTA, I(1), BO(1), false},
    {"2 is true", DELTA, I(2), BO(1), true},
    {"-1 is true", DELTA, I(-1), BO(1), true},
    {"0.0 is false", DELTA, R(0.0), BO(0), true},
    {"-0.0 is false", DELTA, R(-0.0), BO(0), true},
    {"0.1 is true", DELTA, R(0.1), BO(1), true},
    {"text 0.5 is true", DELTA, T("0.5"), BO(1), true},
    {"text true is false", DELTA, T("true"), BO(0), true},
    {"blob 1 is true", DELTA, BY("1"), BO(1), true},

    {"real stays", ORDER, R(-0.0), R(-0.0), false},
    {"integer to real", ORDER, I(3), R(3.0), true},
    {"integer to real, rounded", ORDER, I(INT64_MAX), R(0x1p63), true},
    {"text to real", ORDER, T("  1.5e1x"), R(15.0), true},
    {"text to real, no digits before the point", ORDER, T(".5"), R(0.5), true},
    {"text to real, none behind it", ORDER, T("5."), R(5.0), true},
    {"text to real, exponent without digits", ORDER, T("2e"), R(2.0), true},
    {"text to real, exponent with a sign only", ORDER, T("2e+"), R(2.0), true},
    {"text to real, point alone", ORDER, T("."), R(0.0), true},
    {"text to real, inf is no number", ORDER, T("inf"), R(0.0), true},
    {"text to real, nan is no number", ORDER, T("nan"), R(0.0), true},
    {"text to real, hex is no number", ORDER, T("0x1p3"), R(0.0), true},
    {"text to real, beyond", ORDER, T("1e999"), R((double)INFINITY), true},
    {"text to real, tiny", ORDER, T("-1e-999"), R(-0.0), true},
    {"text to real, exponent of many digits", ORDER, T("1e99999999999999999999"),
     R((double)INFINITY), true},
    {"text to real, nearest", ORDER, T("0.1000000000000000055511151231257827"), R(0.1), true},
    {"NaN in a real column is NULL", ORDER, R((double)NAN), NUL, false},

    {"blob stays", RAW, BY("\0\1"), BY("\0\1"), false},
    {"id is a blob", RAW, {.type = RQC_ID, .n = 16, .p = id_text}, BY("0123456789abcdef"), false},
    {"text to blob", RAW, T("x"), BY("x"), true},
    {"integer to blob", RAW, I(12), BY("12"), true},
    {"real to blob", RAW, R(0.5), BY("0.5"), true},

    {"any: text", TIME, T("2025"), T("2025"), false},
    {"any: empty text", TIME, T(""), T(""), false},
    {"any: empty blob", TIME, BY(""), BY(""), false},
    {"any: integer", TIME, I(0), I(0), false},
    {"any: real", TIME, R(0.0), R(0.0), false},
    {"any: boolean", TIME, BO(1), I(1), false},
    {"any: NULL", TIME, NUL, NUL, false},
    {"blob of 16 bytes is an id",
     RQCI_HTTP,
     RQCI_HTTP_FOLDER_ID,
     BY("0123456789abcdef"),
     {.type = RQC_ID, .n = 16, .p = id_text},
     false},
    {"id of 17 bytes", RQCI_HTTP, RQCI_HTTP_FOLDER_ID, BY("0123456789abcdefg"), NUL, true},
    {"empty id", RQCI_HTTP, RQCI_HTTP_FOLDER_ID, BY(""), NUL, true},
    {"id as text", RQCI_HTTP, RQCI_HTTP_FOLDER_ID, T("0123456789abcdef"), NUL, true},
    {"id as integer", RQCI_HTTP, RQCI_HTTP_PARENT_HTTP_ID, I(0), NUL, true},
};

static void test_conversions(void)
{
    rqci_buf buf = {0};
    for (size_t i = 0; i < sizeof conversions / sizeof *conversions; i++) {
        rqc_value got;
        const uint8_t flags =
            pack_one(conversions[i].code, conversions[i].field, conversions[i].in, &got, &buf);
        const bool good = rows_equal(&got, &conversions[i].want);
        ok(good && (flags == RQCI_REC_COERCED) == conversions[i].flagged,
           "convert: %s (%s, flags %d)", conversions[i].what, good ? "as wanted" : "another value",
           flags);
    }
    rqci_buf_free(&buf);
}

// Compiles a locale with a decimal comma, of which few machines have one, into a folder of its own.
static bool comma_locale(void)
{
    static const char source[] = "LC_NUMERIC\ndecimal_point \"<U002C>\"\nthousands_sep \"\"\n"
                                 "grouping -1\nEND LC_NUMERIC\n";
    char folder[] = "/tmp/reqcast-test-XXXXXX", command[256], file[64];
    if (!mkdtemp(folder))
        bail("mkdtemp: %s", strerror(errno));
    snprintf(file, sizeof file, "%s/source", folder);
    FILE *f = fopen(file, "we");
    if (!f || fputs(source, f) < 0 || fclose(f) != 0)
        bail("%s: %s", file, strerror(errno));
    // It complains of the categories that are not there, and makes the one that is.
    snprintf(command, sizeof command, "localedef -c -i %s -f UTF-8 %s/comma >%s/said 2>&1", file,
             folder, folder);
    (void)!system(command);
    setenv("LOCPATH", folder, 1);
    const bool there = setlocale(LC_NUMERIC, "comma") != NULL;
    unsetenv("LOCPATH");
    snprintf(command, sizeof command, "rm -rf %s", folder);
    (void)!system(command);
    return there;
}

// The decimal point of the application's locale must not matter.
static void test_locale(void)
{
    if (!comma_locale()) {
        skip("NO LOCALE WITH A DECIMAL COMMA: localedef, or the package locales, is missing");
        return;
    }
    char text[RQCI_REAL_TEXT];
    snprintf(text, sizeof text, "%.2f", 0.25);
    is(text, "0,25", "the C library writes a comma");
    rqci_real_format(0.25, 15, text);
    is(text, "0.25", "a real in a locale with a comma");
    size_t used;
    is(rqci_real_prefix("0.25", 4, &used), 0.25, "and back");
    setlocale(LC_NUMERIC, "C");
}

static void test_numbers(void)
{
    rows_random *x = malloc(sizeof *x);
    if (!x)
        bail("no memory");
    rows_seed(x, 4);
    const uint64_t n = tap_scaled(50000);
    uint64_t i = 0;
    for (; i < n; i++) {
        const uint64_t bits = rows_next(x);
        double d;
        memcpy(&d, &bits, sizeof d);
        if (isnan(d) || isinf(d))
            continue;
        char text[RQCI_REAL_TEXT];
        const size_t len = rqci_real_format(d, 0, text);
        size_t used;
        const double back = rqci_real_prefix(text, len, &used);
        char *end;
        if (used != len || memcmp(&back, &d, sizeof d) != 0 || strtod(text, &end) != d || *end ||
            !strchr(text, '.'))
            break;
    }
    is(i, n, "reals as text read back the same");
    // A tie between two doubles that only the 900th digit decides.
    char digits[1000];
    snprintf(digits, sizeof digits, "9007199254740993.%0*d1", 900, 0);
    size_t used;
    is(rqci_real_prefix(digits, strlen(digits), &used), 9007199254740994.0,
       "a digit far behind decides a tie");
    is(used, strlen(digits), "all of it was read");
    is(rqci_real_prefix("9007199254740993", 16, &used), 9007199254740992.0, "a tie goes to even");
    free(x);
}

static void test_large(void)
{
    rqci_buf buf = {0}, again = {0};
    char *text = malloc(RQCI_LARGE_BYTES + 1);
    if (!text)
        bail("no memory");
    memset(text, 'x', RQCI_LARGE_BYTES + 1);
    rqc_value got, in = {.type = RQC_TEXT, .n = RQCI_LARGE_BYTES, .p = text};
    pack_one(URL, in, &got, &buf);
    ok(rows_equal(&got, &in), "32,768 bytes stay");
    in.n++;
    const uint8_t flags = pack_one(URL, in, &got, &buf);
    is(got.type, RQC_LARGE, "one more is large");
    is(got.u.length, 32769, "its length");
    is(got.n, 16, "its hash has 16 bytes");
    is(flags, 0, "large is no conversion");
    is(buf.len, 48 + 8 + 24, "and small");
    // The canonical XXH3-128 of 32,769 letters x, from another program.
    static const uint8_t hash[16] = {0x29, 0xad, 0x3e, 0xc6, 0x1b, 0xa4, 0x35, 0x64,
                                     0x10, 0x3c, 0xa2, 0x99, 0xcb, 0xe8, 0x66, 0x91};
    is_mem(got.p, hash, 16, "its hash");
    in.type = RQC_BYTES;
    is(pack_one(URL, in, &got, &buf), RQCI_REC_COERCED, "a large blob in a text column is marked");
    is(got.type, RQC_LARGE, "and large");
    pack_one(TIME, in, &got, &buf);
    is(got.type, RQC_LARGE, "a large ANY");

    // Taken out and packed again it is the same record.
    rqc_value row[RQCI_FIELD_MAX];
    const rqc_record *r = (const rqc_record *)buf.data;
    rqci_rec_unpack(r, row);
    is(rqci_rec_pack(rqci_entity_of(RQCI_HTTP_RESPONSE), row, 9, 0, &again, NULL), RQC_OK,
       "a hash can be packed again");
    ok(rqci_rec_same(r, (const rqc_record *)again.data), "to the same record");
    free(text);
    rqci_buf_free(&buf);
    rqci_buf_free(&again);
}

static size_t size_with(int field, rqc_value v)
{
    rqc_value row[RQCI_HTTP_NFIELDS];
    bare(row);
    row[field] = v;
    rqci_buf buf = {0};
    if (rqci_rec_pack(rqci_entity_of(RQCI_HTTP), row, 1, 0, &buf, NULL) != RQC_OK)
        bail("pack");
    const size_t size = buf.len;
    rqci_buf_free(&buf);
    return size;
}

static void test_zeros(void)
{
    is(size_with(RQCI_HTTP_URL, rows_null()), 64, "NULL takes no room");
    is(size_with(RQCI_HTTP_URL, rows_text("")), 64, "an empty text takes no room");
    is(size_with(RQCI_HTTP_URL, rows_text("x")), 80, "a text takes a slot and its bytes");
    is(size_with(RQCI_HTTP_BODY_KIND, rows_int(0)), 64, "0 takes no room");
    is(size_with(RQCI_HTTP_BODY_KIND, rows_int(1)), 72, "1 takes a slot");
    is(size_with(RQCI_HTTP_IS_DELTA, rows_bool(true)), 64, "a boolean takes no room");
    is(size_with(RQCI_HTTP_UPDATED_AT, rows_int(5)), 64, "the update time takes no room");
    is(size_with(RQCI_HTTP_FOLDER_ID, rows_id(id_text)), 80, "an id takes 16 bytes");

    rqci_buf a = {0}, b = {0};
    rqc_value got;
    pack_one(ORDER, rows_real(0.0), &got, &a);
    pack_one(ORDER, rows_real(-0.0), &got, &b);
    ok(got.type == RQC_REAL && signbit(got.u.d), "-0.0 keeps its sign");
    is(a.len, 48, "0.0 has no slot");
    is(b.len, 56, "-0.0 has one");
    pack_one(URL, rows_text(""), &got, &a);
    ok(got.type == RQC_TEXT && got.n == 0, "an empty text is a text");
    pack_one(URL, rows_null(), &got, &b);
    is(got.type, RQC_NULL, "NULL is none");
    const rqc_record *r = (const rqc_record *)a.data, *s = (const rqc_record *)b.data;
    rqci_digest d, f;
    rqci_rec_digest(r, &d);
    rqci_rec_digest(s, &f);
    ok(!rqci_rec_same(r, s) && d.lo != f.lo, "empty and NULL are two different things");
    pack_one(UPDATED, rows_int(0), &got, &a);
    ok(got.type == RQC_INT && got.u.i == 0, "update time 0 is a time");
    pack_one(UPDATED, rows_null(), &got, &a);
    is(got.type, RQC_NULL, "update time NULL is none");
    rqci_buf_free(&a);
    rqci_buf_free(&b);
}

static void test_refusals(void)
{
    static const uint8_t hash[16];
    static const struct {
        const char *what;
        int field;
        rqc_value v;
    } rows[] = {
        {"no key", RQCI_HTTP_ID, NUL},
        {"key of 17 bytes", RQCI_HTTP_ID, BY("0123456789abcdefg")},
        {"empty key", RQCI_HTTP_ID, BY("")},
        {"key not given", RQCI_HTTP_ID, {.type = RQC_ABSENT}},
        {"key as text", RQCI_HTTP_ID, T("0123456789abcdef")},
        {"key of 15 bytes", RQCI_HTTP_ID, BY("0123456789abcde")},
        {"a hash as integer",
         RQCI_HTTP_BODY_KIND,
         {.type = RQC_LARGE, .n = 16, .p = hash, .u.length = 99999}},
        {"a hash as boolean",
         RQCI_HTTP_IS_DELTA,
         {.type = RQC_LARGE, .n = 16, .p = hash, .u.length = 99999}},
        {"a large value that is not large",
         RQCI_HTTP_URL,
         {.type = RQC_LARGE, .n = 16, .p = hash, .u.length = 32768}},
        {"half a hash", RQCI_HTTP_URL, {.type = RQC_LARGE, .n = 8, .p = hash, .u.length = 99999}},
        {"an unknown type", RQCI_HTTP_URL, {.type = (rqc_type)9}},
    };
    rqci_buf buf = {0};
    if (rqci_buf_add(&buf, "before", 6) != RQC_OK)
        bail("no memory");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rqc_value row[RQCI_HTTP_NFIELDS];
        bare(row);
        row[rows[i].field] = rows[i].v;
        rqci_errbuf err = {""};
        const rqc_err rc = rqci_rec_pack(rqci_entity_of(RQCI_HTTP), row, 1, 0, &buf, &err);
        char name[64];
        snprintf(name, sizeof name,
                 "http.%s:", rqci_entity_of(RQCI_HTTP)->fields[rows[i].field].name);
        ok(rc == RQC_INVALID && strncmp(err.text, name, strlen(name)) == 0, "refused: %s (%s)",
           rows[i].what, err.text);
    }
    ok(buf.len == 6 && memcmp(buf.data, "before", 6) == 0, "a refusal leaves the buffer alone");
    rqci_buf_free(&buf);
}

static void test_placeholders(void)
{
    bool good = true;
    for (unsigned code = 1; good && code <= RQCI_ENTITY_MAX; code++) {
        const rqci_entity *e = rqci_entity_of(code);
        rqci_buf buf = {0};
        good = rqci_rec_pack_placeholder(e, (const uint8_t *)id_text, (const uint8_t *)owner_text,
                                         77, &buf) == RQC_OK &&
               rqci_rec_verify(buf.data, buf.len, true, NULL) == RQC_OK;
        const rqc_record *r = (const rqc_record *)buf.data;
        good = good && rqci_rec_flags(r) == RQCI_REC_PLACEHOLDER && rqci_rec_seq(r) == 77 &&
               memcmp(rqci_rec_id(r), id_text, 16) == 0;
        const uint32_t want = e->owner >= 0 ? 1u | 1u << e->owner : 1;
        good = good && rqci_rec_present(r) == want;
        if (good && e->owner >= 0)
            good = memcmp(rqci_rec_id_field(r, e->owner), owner_text, 16) == 0;
        rqci_buf_free(&buf);
    }
    ok(good, "placeholders of all entities have id and owner");
    rqci_buf buf = {0};
    is(rqci_rec_pack_placeholder(rqci_entity_of(RQCI_HTTP), (const uint8_t *)id_text, NULL, 1,
                                 &buf),
       RQC_OK, "a placeholder without owner");
    is(rqci_rec_present((const rqc_record *)buf.data), 1, "has the id alone");
    rqci_buf_free(&buf);
}

int main(void)
{
    test_conversions();
    test_numbers();
    test_locale();
    test_large();
    test_zeros();
    test_refusals();
    test_placeholders();
    return tap_done();
}

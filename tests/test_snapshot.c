// SPDX-License-Identifier: Apache-2.0
// Snapshots of runs: the frozen copy resolves to what was run.
#include "api/reqcast.h"
#include "tests/store_db.h"

#include <sqlite3.h>

#define LARGE 100000

static uint8_t base[16], delta[16], other[16];
static char large_text[LARGE + 1];
static uint8_t large_bytes[LARGE];

static void must(rqc_err rc, const rqc_txn *t)
{
    if (rc != RQC_OK)
        bail("%d: %s", (int)rc, rqc_txn_error(t));
}

static void put_header(rqc_txn *t, uint64_t n, const uint8_t http[16], double order,
                       const char *key, const char *value, int enabled)
{
    uint8_t id[16];
    rqc_value row[RQC_HTTP_HEADER_NFIELDS] = {{0}};
    sdb_id(id, 4, n);
    row[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(http);
    row[RQC_HTTP_HEADER_HEADER_KEY] = rqc_text(key);
    row[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_text(value);
    row[RQC_HTTP_HEADER_ENABLED] = rqc_bool(enabled);
    row[RQC_HTTP_HEADER_DISPLAY_ORDER] = rqc_real(order);
    must(rqc_put(t, RQC_HTTP_HEADER, id, row), t);
}

static void override_header(rqc_txn *t, uint64_t n, uint64_t parent, const char *value)
{
    uint8_t id[16], parent_id[16];
    rqc_value row[RQC_HTTP_HEADER_NFIELDS] = {{0}};
    sdb_id(id, 4, n);
    sdb_id(parent_id, 4, parent);
    row[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(delta);
    row[RQC_HTTP_HEADER_HEADER_KEY] = row[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_text("");
    row[RQC_HTTP_HEADER_IS_DELTA] = rqc_bool(1);
    row[RQC_HTTP_HEADER_PARENT_HEADER_ID] = rqc_id(parent_id);
    row[RQC_HTTP_HEADER_DELTA_HEADER_VALUE] = rqc_text(value);
    must(rqc_put(t, RQC_HTTP_HEADER, id, row), t);
}

static void put_others(rqc_txn *t)
{
    uint8_t id[16];
    rqc_value p[RQC_HTTP_SEARCH_PARAM_NFIELDS] = {{0}}, f[RQC_HTTP_BODY_FORM_NFIELDS] = {{0}},
              u[RQC_HTTP_BODY_URLENCODED_NFIELDS] = {{0}}, a[RQC_HTTP_ASSERT_NFIELDS] = {{0}},
              b[RQC_HTTP_BODY_RAW_NFIELDS] = {{0}};
    sdb_id(id, 5, 1);
    p[RQC_HTTP_SEARCH_PARAM_HTTP_ID] = f[RQC_HTTP_BODY_FORM_HTTP_ID] =
        u[RQC_HTTP_BODY_URLENCODED_HTTP_ID] = a[RQC_HTTP_ASSERT_HTTP_ID] =
            b[RQC_HTTP_BODY_RAW_HTTP_ID] = rqc_id(base);
    p[RQC_HTTP_SEARCH_PARAM_KEY] = f[RQC_HTTP_BODY_FORM_KEY] = u[RQC_HTTP_BODY_URLENCODED_KEY] =
        rqc_text("k");
    p[RQC_HTTP_SEARCH_PARAM_VALUE] = f[RQC_HTTP_BODY_FORM_VALUE] =
        u[RQC_HTTP_BODY_URLENCODED_VALUE] = rqc_text("v");
    a[RQC_HTTP_ASSERT_VALUE] = rqc_text("response.status == 200");
    a[RQC_HTTP_ASSERT_DESCRIPTION] = rqc_text("fine");
    b[RQC_HTTP_BODY_RAW_RAW_DATA] = rqc_bytes(large_bytes, LARGE);
    b[RQC_HTTP_BODY_RAW_COMPRESSION_TYPE] = rqc_int(2);
    must(rqc_put(t, RQC_HTTP_SEARCH_PARAM, id, p), t);
    must(rqc_put(t, RQC_HTTP_BODY_FORM, id, f), t);
    must(rqc_put(t, RQC_HTTP_BODY_URLENCODED, id, u), t);
    must(rqc_put(t, RQC_HTTP_ASSERT, id, a), t);
    must(rqc_put(t, RQC_HTTP_BODY_RAW, id, b), t);
}

// Headers 1 to 4 of the base, 2 and 3 at one place, 4 disabled; the delta overrides 1 and 2 (2 with
// a large value) and adds 7, whose order would put it first.
static void fill(rqc_db *db)
{
    rqc_txn *t = sdb_txn(db);
    rqc_value row[RQC_HTTP_NFIELDS] = {{0}};
    memset(large_text, 'x', LARGE);
    for (size_t i = 0; i < LARGE; i++)
        large_bytes[i] = (uint8_t)(i * 7);
    sdb_id(base, 2, 1);
    sdb_id(delta, 2, 2);
    sdb_id(other, 2, 3);
    must(sdb_put_workspace(t), t);
    must(sdb_put_http(t, other, "other", 1), t);
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(sdb_workspace);
    row[RQC_HTTP_NAME] = rqc_text("base");
    row[RQC_HTTP_URL] = rqc_text("https://example.com/");
    row[RQC_HTTP_METHOD] = rqc_text("POST");
    row[RQC_HTTP_BODY_KIND] = rqc_int(1);
    row[RQC_HTTP_CONTENT_HASH] = rqc_text("hash");
    row[RQC_HTTP_LAST_RUN_AT] = rqc_int(5);
    row[RQC_HTTP_DESCRIPTION] = rqc_text(large_text);
    must(rqc_put(t, RQC_HTTP, base, row), t);
    row[RQC_HTTP_IS_DELTA] = rqc_bool(1);
    row[RQC_HTTP_PARENT_HTTP_ID] = rqc_id(base);
    row[RQC_HTTP_DELTA_URL] = rqc_text("https://staging.example.com/");
    must(rqc_put(t, RQC_HTTP, delta, row), t);
    put_header(t, 1, base, 2, "A", "1", 1);
    put_header(t, 3, base, 1, "B", "3", 1);
    put_header(t, 2, base, 1, "B", "2", 1);
    put_header(t, 4, base, 3, "C", "4", 0);
    put_header(t, 7, delta, -5, "D", "7", 1);
    override_header(t, 8, 1, "one");
    override_header(t, 9, 2, large_text);
    put_others(t);
    must(rqc_commit(t, NULL), t);
    rqc_txn_free(t);
}

static bool same_value(rqc_value a, rqc_value b)
{
    if (a.type != b.type)
        return false;
    if (a.type == RQC_TEXT || a.type == RQC_BYTES || a.type == RQC_ID)
        return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
    if (a.type == RQC_LARGE)
        return a.u.length == b.u.length && memcmp(a.p, b.p, 16) == 0;
    return a.u.i == b.u.i;
}

static bool same_items(const rqc_items *a, const rqc_items *b, const int *fields, size_t n)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        for (size_t f = 0; f < n; f++)
            if (!same_value(rqc_item_field(&a->items[i], fields[f]),
                            rqc_item_field(&b->items[i], fields[f])))
                return false;
    return true;
}

static bool plain(const rqc_items *list, int parent, int is_delta)
{
    for (size_t i = 0; i < list->n; i++)
        if (rqc_field(list->items[i].record, parent).type != RQC_NULL ||
            rqc_field(list->items[i].record, is_delta).u.i != 0)
            return false;
    return true;
}

static void compare(const rqc_resolved *run, const rqc_resolved *copy)
{
    static const int http[] = {RQC_HTTP_WORKSPACE_ID, RQC_HTTP_NAME,      RQC_HTTP_URL,
                               RQC_HTTP_METHOD,       RQC_HTTP_BODY_KIND, RQC_HTTP_DESCRIPTION},
                     headers[] = {RQC_HTTP_HEADER_HEADER_KEY, RQC_HTTP_HEADER_HEADER_VALUE,
                                  RQC_HTTP_HEADER_DESCRIPTION, RQC_HTTP_HEADER_ENABLED},
                     params[] = {RQC_HTTP_SEARCH_PARAM_KEY, RQC_HTTP_SEARCH_PARAM_VALUE},
                     form[] = {RQC_HTTP_BODY_FORM_KEY, RQC_HTTP_BODY_FORM_VALUE},
                     url[] = {RQC_HTTP_BODY_URLENCODED_KEY, RQC_HTTP_BODY_URLENCODED_VALUE},
                     asserts[] = {RQC_HTTP_ASSERT_VALUE, RQC_HTTP_ASSERT_DESCRIPTION};
    for (size_t i = 0; i < sizeof http / sizeof *http; i++)
        ok(same_value(rqc_item_field(&run->http, http[i]), rqc_item_field(&copy->http, http[i])),
           "%s is that of the run", rqc_field_name(RQC_HTTP, http[i]));
    ok(same_items(&run->headers, &copy->headers, headers, 4), "the same headers in order");
    ok(same_items(&run->params, &copy->params, params, 2), "the same parameters");
    ok(same_items(&run->form, &copy->form, form, 2), "the same form");
    ok(same_items(&run->urlencoded, &copy->urlencoded, url, 2), "the same urlencoded form");
    ok(same_items(&run->asserts, &copy->asserts, asserts, 2), "the same asserts");
    ok(plain(&copy->headers, RQC_HTTP_HEADER_PARENT_HEADER_ID, RQC_HTTP_HEADER_IS_DELTA),
       "without overrides");
    ok(copy->raw.present == run->raw.present && same_value(run->raw.bytes, copy->raw.bytes) &&
           run->raw.compression == copy->raw.compression,
       "the same body");
}

static void test_copy(rqc_db *db)
{
    rqc_txn *t = sdb_txn(db);
    rqc_read *r = sdb_read(db);
    rqc_resolved run = RQC_RESOLVED_INIT, copy = RQC_RESOLVED_INIT;
    rqc_run given = RQC_RUN_INIT;
    rqc_value response[RQC_HTTP_RESPONSE_NFIELDS] = {{0}};
    rqc_value headers[2][RQC_HTTP_RESPONSE_HEADER_NFIELDS] = {{{0}}};
    rqc_value asserts[1][RQC_HTTP_RESPONSE_ASSERT_NFIELDS] = {{{0}}};
    rqc_result result;
    uint8_t version[16], ids[1][16];
    response[RQC_HTTP_RESPONSE_STATUS] = rqc_int(201);
    response[RQC_HTTP_RESPONSE_TIME] = rqc_text("now");
    response[RQC_HTTP_RESPONSE_BODY] = rqc_bytes(large_bytes, LARGE);
    response[RQC_HTTP_RESPONSE_DURATION] = response[RQC_HTTP_RESPONSE_SIZE] = rqc_int(9);
    for (size_t i = 0; i < 2; i++)
        headers[i][RQC_HTTP_RESPONSE_HEADER_KEY] = headers[i][RQC_HTTP_RESPONSE_HEADER_VALUE] =
            rqc_text(i ? "b" : "a");
    asserts[0][RQC_HTTP_RESPONSE_ASSERT_VALUE] = rqc_text("x");
    asserts[0][RQC_HTTP_RESPONSE_ASSERT_SUCCESS] = rqc_bool(1);
    given.response = response;
    given.headers = (const rqc_value(*)[RQC_HTTP_RESPONSE_HEADER_NFIELDS])headers;
    given.nheaders = 2;
    given.asserts = (const rqc_value(*)[RQC_HTTP_RESPONSE_ASSERT_NFIELDS])asserts;
    given.nasserts = 1;
    given.version_name = "first";
    given.at = 1234;
    is(rqc_snapshot(t, r, base, delta, &given, version), RQC_OK, "a snapshot of a delta's run: %s",
       rqc_txn_error(t));
    is(rqc_commit(t, &result), RQC_OK, "committed: %s", rqc_txn_error(t));
    is(result.written, 1 + 5 + 4 + 1 + 1 + 1 + 2 + 1, "all rows, in one transaction");
    is(rqc_resolve(r, base, delta, &run), RQC_OK, "what was run");
    rqc_read *after = sdb_read(db);
    is(rqc_resolve(after, version, NULL, &copy), RQC_OK, "its copy");
    compare(&run, &copy);
    const rqc_record *h = copy.http.record;
    ok(rqc_field(h, RQC_HTTP_IS_SNAPSHOT).u.i == 1 && rqc_field(h, RQC_HTTP_IS_DELTA).u.i == 0 &&
           rqc_field(h, RQC_HTTP_PARENT_HTTP_ID).type == RQC_NULL &&
           rqc_field(h, RQC_HTTP_CONTENT_HASH).type == RQC_NULL &&
           rqc_field(h, RQC_HTTP_DELTA_URL).type == RQC_NULL &&
           rqc_field(h, RQC_HTTP_LAST_RUN_AT).type == RQC_NULL,
       "is a snapshot and nothing else");
    ok(rqc_record_updated(h) == 1234 && rqc_field(h, RQC_HTTP_CREATED_AT).u.i == 1234,
       "of the time that was given");
    const rqc_record *v = NULL;
    is(rqc_get(after, RQC_HTTP_VERSION, version, &v), RQC_OK, "a version with its id");
    const rqc_value of = rqc_field(v, RQC_HTTP_VERSION_HTTP_ID);
    is_mem(of.p, delta, 16, "of the request that was run");
    ok(sdb_text_is(v, RQC_HTTP_VERSION_VERSION_NAME, "first") &&
           rqc_field(v, RQC_HTTP_VERSION_IS_ACTIVE).u.i == 1,
       "with the name that was given");
    rqc_list list = RQC_LIST_INIT;
    memcpy(ids[0], version, 16);
    is(rqc_children(after, RQC_HTTP_RESPONSE, (const uint8_t(*)[16])ids, 1, RQC_ANY_TIME, 1, &list),
       RQC_OK, "responses");
    is(list.n, 1, "the one of the run");
    is(rqc_field(list.items[0], RQC_HTTP_RESPONSE_STATUS).u.i, 201, "as it was given");
    is(rqc_field(list.items[0], RQC_HTTP_RESPONSE_CREATED_AT).u.i, 1234, "of that time");
    memcpy(ids[0], rqc_record_id(list.items[0]), 16);
    rqc_children(after, RQC_HTTP_RESPONSE_HEADER, (const uint8_t(*)[16])ids, 1, RQC_ANY_TIME, 1,
                 &list);
    is(list.n, 2, "its headers");
    rqc_children(after, RQC_HTTP_RESPONSE_ASSERT, (const uint8_t(*)[16])ids, 1, RQC_ANY_TIME, 1,
                 &list);
    is(list.n, 1, "and asserts");
    rqc_list_free(&list);
    rqc_resolved_free(&run);
    rqc_resolved_free(&copy);
    rqc_read_free(after);
    rqc_read_free(r);
    rqc_txn_free(t);
}

static void test_base(rqc_db *db)
{
    rqc_txn *t = sdb_txn(db);
    rqc_read *r = sdb_read(db);
    uint8_t a[16], b[16];
    rqc_result result;
    is(rqc_snapshot(t, r, other, NULL, NULL, a), RQC_OK, "of a base without anything");
    is(rqc_snapshot(t, r, other, NULL, NULL, b), RQC_OK, "and once more");
    ok(memcmp(a, b, 16) < 0, "under another id");
    is(rqc_commit(t, &result), RQC_OK, "in one transaction, with names of their own");
    is(result.written, 4, "two requests, two versions, no body");
    rqc_read_end(r);
    rqc_read_begin(r);
    const rqc_record *v = NULL;
    is(rqc_get(r, RQC_HTTP_VERSION, b, &v), RQC_OK, "the version");
    is_mem(rqc_field(v, RQC_HTTP_VERSION_HTTP_ID).p, other, 16, "is the base's");
    rqc_value name = rqc_field(v, RQC_HTTP_VERSION_VERSION_NAME);
    ok(name.n == 20 && *(const char *)name.p == 'v', "named after the time");
    rqc_read_free(r);
    rqc_txn_free(t);
}

// What fails leaves the transaction as it was: with one write.
static void refused(rqc_txn *t, rqc_err got, rqc_err want, const char *name)
{
    is(got, want, "%s: %s", name, rqc_txn_error(t));
}

static void test_failures(rqc_db *db)
{
    rqc_txn *t = sdb_txn(db);
    rqc_read *r = sdb_read(db);
    rqc_db *attached = sdb_attach();
    rqc_read *foreign = sdb_read(attached);
    rqc_run run = RQC_RUN_INIT;
    rqc_value response[RQC_HTTP_RESPONSE_NFIELDS] = {{0}};
    uint8_t version[16] = {77}, unknown[16] = {5};
    rqc_result result;
    must(sdb_put_http(t, other, "other", 2), t);
    refused(t, rqc_snapshot(t, r, unknown, NULL, NULL, version), RQC_NOT_FOUND, "no such base");
    refused(t, rqc_snapshot(t, r, base, unknown, NULL, version), RQC_NOT_FOUND, "no such delta");
    refused(t, rqc_snapshot(t, r, other, delta, NULL, version), RQC_INVALID, "another's delta");
    refused(t, rqc_snapshot(t, NULL, base, NULL, NULL, version), RQC_INVALID, "no session");
    refused(t, rqc_snapshot(t, foreign, base, NULL, NULL, version), RQC_INVALID,
            "another handle's session");
    run.size = 1;
    refused(t, rqc_snapshot(t, r, base, NULL, &run, version), RQC_INVALID, "without its size");
    run.size = sizeof run;
    run.nheaders = 1;
    refused(t, rqc_snapshot(t, r, base, NULL, &run, version), RQC_INVALID, "rows that are missing");
    run.nheaders = 0;
    run.response = response;
    refused(t, rqc_snapshot(t, r, base, delta, &run, version), RQC_INVALID, "half a response");
    run.response = NULL;
    run.version_name = "first";
    is(version[0], 77, "results are untouched");
    sqlite3 *s = NULL;
    if (sqlite3_open(sdb_path, &s) != SQLITE_OK ||
        sqlite3_exec(s, "UPDATE http_body_raw SET raw_data = zeroblob(50000)", NULL, NULL, NULL) !=
            SQLITE_OK)
        bail("sqlite: %s", sqlite3_errmsg(s));
    refused(t, rqc_snapshot(t, r, base, delta, &run, version), RQC_CHANGED,
            "a large value that is gone");
    is(rqc_commit(t, &result), RQC_OK, "the transaction");
    is(result.written, 1, "has what it had before");
    rqc_read_end(r);
    refused(t, rqc_snapshot(t, r, base, delta, &run, version), RQC_INVALID,
            "a session that was not begun");
    rqc_read_begin(r);
    is(rqc_snapshot(t, r, base, delta, &run, version), RQC_OK, "a name that is taken");
    is(rqc_commit(t, &result), RQC_CONSTRAINT, "is refused by the database: %s", rqc_txn_error(t));
    sqlite3_close(s);
    rqc_read_free(foreign);
    rqc_close(attached);
    rqc_read_free(r);
    rqc_txn_free(t);
}

int main(void)
{
    sdb_begin("snapshot");
    rqc_db *db = sdb_open();
    fill(db);
    test_copy(db);
    test_base(db);
    test_failures(db);
    rqc_close(db);
    sdb_end();
    return tap_done();
}

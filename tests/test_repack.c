// SPDX-License-Identifier: Apache-2.0
// A view that is built anew has full pages: it is smaller than one that followed the same writes,
// whose keys came in between each other, and says the same. A build that has to start over leaves
// nothing of its first attempt.
#include "api/reqcast.h"

#include "tests/store_sql.h"

enum { WORKSPACES = 16, REQUESTS = 60, MANY = 100100 }; // more than a transaction of a build has

static void put(rqc_txn *t, rqc_entity e, const uint8_t id[16], rqc_value *row)
{
    if (rqc_put(t, e, id, row) != RQC_OK)
        bail("put: %s", rqc_txn_error(t));
}

static void write_rows(rqc_db *db)
{
    uint8_t ws[16], id[16];
    rqc_txn *t = sdb_txn(db);
    for (uint64_t i = 0; i < REQUESTS; i++) {
        for (uint64_t w = 0; w < WORKSPACES; w++) {
            rqc_value workspace[RQC_WORKSPACES_NFIELDS] = {{0}};
            rqc_value http[RQC_HTTP_NFIELDS] = {{0}};
            sdb_id(ws, 1, w);
            workspace[RQC_WORKSPACES_NAME] = rqc_text("workspace");
            if (i == 0)
                put(t, RQC_WORKSPACES, ws, workspace);
            sdb_id(id, 2, i * WORKSPACES + w);
            http[RQC_HTTP_WORKSPACE_ID] = rqc_id(ws);
            http[RQC_HTTP_NAME] = rqc_text("request");
            http[RQC_HTTP_URL] = rqc_text("https://api.example.com/v1/items/of/a/shop");
            http[RQC_HTTP_METHOD] = rqc_text("GET");
            http[RQC_HTTP_UPDATED_AT] = rqc_int((int64_t)i);
            put(t, RQC_HTTP, id, http);
            for (uint64_t k = 0; k < 4; k++) {
                rqc_value header[RQC_HTTP_HEADER_NFIELDS] = {{0}};
                uint8_t child[16];
                sdb_id(child, 3, (i * WORKSPACES + w) * 4 + k);
                header[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(id);
                header[RQC_HTTP_HEADER_HEADER_KEY] = rqc_text("Accept");
                header[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_text("application/json");
                put(t, RQC_HTTP_HEADER, child, header);
            }
        }
        rqc_result result;
        if (rqc_commit(t, &result) != RQC_OK)
            bail("commit: %s", rqc_txn_error(t));
    }
    rqc_txn_free(t);
}

static rqc_stats look(rqc_db *db, uint8_t digest[16])
{
    rqc_stats s = {.size = sizeof s};
    rqc_verified v;
    rqc_error e = {RQC_OK, ""};
    if (rqc_stats_read(db, &s, &e) != RQC_OK || rqc_verify(db, 0, NULL, NULL, &v, &e) != RQC_OK)
        bail("stats or verify: %s", e.text);
    is(v.differences, (uint64_t)0, "no difference from SQLite");
    memcpy(digest, v.digest, 16);
    return s;
}

// A header that was there before its request: when the log is looked at, the build cannot begin
// where it had hoped. A transaction of the build has been committed by then.
static void test_start_over(void)
{
    char text[700];
    uint8_t digest[16];
    sdb_begin("start-over");
    rqc_close(sdb_open());
    sqlite3 *s = sdb_foreign(sdb_path);
    snprintf(text, sizeof text,
             "BEGIN;"
             "INSERT INTO workspaces (id, name) VALUES (CAST('0000000000000001' AS BLOB), 'w');"
             "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
             " INSERT INTO files (id, workspace_id, name)"
             " SELECT CAST(printf('%%016d', i) AS BLOB), CAST('0000000000000001' AS BLOB), 'f'"
             " FROM n;"
             "INSERT INTO http_header (id, http_id, header_key, header_value)"
             " VALUES (CAST('0000000000000002' AS BLOB), CAST('0000000000000003' AS BLOB), '', '');"
             "INSERT INTO http (id, workspace_id, name, url, method) VALUES"
             " (CAST('0000000000000003' AS BLOB), CAST('0000000000000001' AS BLOB), '', '', 'GET');"
             "COMMIT",
             MANY);
    sdb_exec(s, text);
    sqlite3_close(s);
    rqc_options o = sdb_options();
    o.view_dir = sdb_other_views;
    rqc_db *db;
    if (rqc_open(sdb_path, &o, &db, NULL) != RQC_OK)
        bail("cannot open again");
    is(look(db, digest).records, (uint64_t)MANY + 3,
       "a build that starts over has each record once");
    rqc_close(db);
    sdb_end();
}

int main(void)
{
    uint8_t followed_digest[16], built_digest[16];
    sdb_begin("repack");
    rqc_db *db = sdb_open();
    write_rows(db);
    const rqc_stats followed = look(db, followed_digest);
    rqc_close(db);

    // Elsewhere there is no view yet.
    rqc_options o = sdb_options();
    o.view_dir = sdb_other_views;
    if (rqc_open(sdb_path, &o, &db, NULL) != RQC_OK)
        bail("cannot open again");
    const rqc_stats built = look(db, built_digest);
    is(built.records, (uint64_t)(WORKSPACES + WORKSPACES * REQUESTS * 5), "all records");
    is(built.records, followed.records, "as many as before");
    ok(memcmp(built_digest, followed_digest, 16) == 0, "and the same");
    ok(built.view_bytes * 5 <= followed.view_bytes * 3, "the pages are full: %llu bytes, not %llu",
       (unsigned long long)built.view_bytes, (unsigned long long)followed.view_bytes);
    rqc_close(db);
    sdb_end();
    test_start_over();
    return tap_done();
}

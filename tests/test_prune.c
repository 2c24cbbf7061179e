// SPDX-License-Identifier: Apache-2.0
// Pruning: which snapshots of runs go, and that nothing else does.
#include "api/reqcast.h"
#include "tests/store_db.h"

#include <sqlite3.h>

#define NOW ((int64_t)time(NULL))
#define DAY INT64_C(86400)

static const uint8_t other_workspace[16] = {9};

static void put_base(rqc_txn *t, const uint8_t id[16], const uint8_t ws[16], bool snapshot,
                     int64_t created)
{
    rqc_value row[RQC_HTTP_NFIELDS] = {{0}};
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(ws);
    row[RQC_HTTP_NAME] = row[RQC_HTTP_URL] = rqc_text("x");
    row[RQC_HTTP_METHOD] = rqc_text("GET");
    row[RQC_HTTP_IS_SNAPSHOT] = rqc_bool(snapshot);
    row[RQC_HTTP_CREATED_AT] = rqc_int(created);
    if (rqc_put(t, RQC_HTTP, id, row) != RQC_OK)
        bail("%s", rqc_txn_error(t));
}

static rqc_err put_version(rqc_txn *t, const uint8_t id[16], const uint8_t request[16])
{
    char name[27];
    rqc_value row[RQC_HTTP_VERSION_NFIELDS] = {{0}};
    rqc_id_format(id, name);
    row[RQC_HTTP_VERSION_HTTP_ID] = rqc_id(request);
    row[RQC_HTTP_VERSION_VERSION_NAME] = rqc_text(name);
    return rqc_put(t, RQC_HTTP_VERSION, id, row);
}

// Six rows: the snapshot, its version unless `request` is NULL, a header, a response with a header
// and an assert.
static void put_run(rqc_txn *t, uint64_t n, const uint8_t ws[16], const uint8_t *request,
                    int64_t created)
{
    uint8_t id[16], header[16], response[16], part[16];
    sdb_id(id, 3, n);
    sdb_id(header, 4, n);
    sdb_id(response, 11, n);
    sdb_id(part, 12, n);
    rqc_value h[RQC_HTTP_HEADER_NFIELDS] = {{0}}, r[RQC_HTTP_RESPONSE_NFIELDS] = {{0}};
    rqc_value rh[RQC_HTTP_RESPONSE_HEADER_NFIELDS] = {{0}},
              ra[RQC_HTTP_RESPONSE_ASSERT_NFIELDS] = {{0}};
    put_base(t, id, ws, true, created);
    h[RQC_HTTP_HEADER_HTTP_ID] = r[RQC_HTTP_RESPONSE_HTTP_ID] = rqc_id(id);
    h[RQC_HTTP_HEADER_HEADER_KEY] = h[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_text("h");
    r[RQC_HTTP_RESPONSE_STATUS] = rqc_int(200);
    r[RQC_HTTP_RESPONSE_TIME] = rqc_text("2026-01-01T00:00:00Z");
    r[RQC_HTTP_RESPONSE_DURATION] = r[RQC_HTTP_RESPONSE_SIZE] = rqc_int(1);
    rh[RQC_HTTP_RESPONSE_HEADER_RESPONSE_ID] = ra[RQC_HTTP_RESPONSE_ASSERT_RESPONSE_ID] =
        rqc_id(response);
    rh[RQC_HTTP_RESPONSE_HEADER_KEY] = rh[RQC_HTTP_RESPONSE_HEADER_VALUE] =
        ra[RQC_HTTP_RESPONSE_ASSERT_VALUE] = rqc_text("v");
    ra[RQC_HTTP_RESPONSE_ASSERT_SUCCESS] = rqc_bool(1);
    rqc_err rc = rqc_put(t, RQC_HTTP_HEADER, header, h);
    if (rc == RQC_OK)
        rc = rqc_put(t, RQC_HTTP_RESPONSE, response, r);
    if (rc == RQC_OK)
        rc = rqc_put(t, RQC_HTTP_RESPONSE_HEADER, part, rh);
    part[1] = 13;
    if (rc == RQC_OK)
        rc = rqc_put(t, RQC_HTTP_RESPONSE_ASSERT, part, ra);
    if (rc == RQC_OK && request)
        rc = put_version(t, id, request);
    if (rc != RQC_OK)
        bail("%s", rqc_txn_error(t));
}

static void commit(rqc_txn *t)
{
    if (rqc_commit(t, NULL) != RQC_OK)
        bail("%s", rqc_txn_error(t));
}

// Of the runs 0 … 31 those that are there, as bits.
static uint32_t there(rqc_db *db)
{
    rqc_read *r = sdb_read(db);
    const rqc_record *rec;
    uint32_t bits = 0;
    uint8_t id[16];
    for (unsigned n = 0; n < 32; n++) {
        sdb_id(id, 3, n);
        bits |= (uint32_t)(rqc_get(r, RQC_HTTP, id, &rec) == RQC_OK) << n;
    }
    rqc_read_free(r);
    return bits;
}

static uint64_t records(rqc_db *db)
{
    rqc_stats s = {.size = sizeof s};
    return rqc_stats_read(db, &s, NULL) == RQC_OK ? s.records : 0;
}

// Runs 0-4 of request A: 0 the oldest, 3 in milliseconds, 4 without a time; 5-7 of B, all of one
// second; 8-10 of requests that are gone; 11-12 in another workspace.
static void fill(rqc_db *db)
{
    uint8_t a[16], b[16];
    rqc_value row[RQC_WORKSPACES_NFIELDS] = {{0}};
    rqc_txn *t = sdb_txn(db);
    row[RQC_WORKSPACES_NAME] = rqc_text("w");
    if (sdb_put_workspace(t) != RQC_OK || rqc_put(t, RQC_WORKSPACES, other_workspace, row))
        bail("%s", rqc_txn_error(t));
    sdb_id(a, 2, 1);
    sdb_id(b, 2, 2);
    put_base(t, a, sdb_workspace, false, 1);
    put_base(t, b, sdb_workspace, false, 1);
    for (unsigned n = 0; n < 3; n++)
        put_run(t, n, sdb_workspace, a, NOW - (10 - n) * DAY + DAY / 2);
    put_run(t, 3, sdb_workspace, a, (NOW - 5 * DAY) * 1000);
    put_run(t, 4, sdb_workspace, a, 0);
    for (unsigned n = 5; n < 8; n++)
        put_run(t, n, sdb_workspace, b, NOW - 3 * DAY);
    for (unsigned n = 8; n < 11; n++)
        put_run(t, n, sdb_workspace, NULL, NOW - 20 * DAY + n);
    for (unsigned n = 11; n < 13; n++)
        put_run(t, n, other_workspace, a, NOW - 100 * DAY);
    commit(t);
    rqc_txn_free(t);
}

static rqc_err prune(rqc_db *db, int64_t keep, int64_t days, rqc_pruned *ret)
{
    rqc_prune_options o = RQC_PRUNE_OPTIONS_INIT;
    rqc_error e = {RQC_OK, ""};
    o.keep = keep;
    o.older_than_s = days < 0 ? days : days * DAY;
    const rqc_err rc = rqc_prune(db, sdb_workspace, &o, ret, &e);
    if (rc != RQC_OK)
        tap_note("%s", e.text);
    return rc;
}

static void test_which(rqc_db *db)
{
    rqc_pruned p;
    is(there(db), 0x1fff, "thirteen runs");
    is(prune(db, 100, -1, &p), RQC_OK, "keep more than there are");
    ok(p.snapshots == 0 && p.deleted == 0 && p.position.seq == rqc_position_now(db).seq,
       "removes nothing");
    is(prune(db, -1, 30, &p), RQC_OK, "older than all");
    is(p.snapshots, 0, "removes nothing, not in other workspaces either");
    is(prune(db, 2, 15, &p), RQC_OK, "keep 2, and what is younger than 15 days");
    is(there(db), 0x1eff, "the oldest of those whose requests are gone goes");
    ok(p.snapshots == 1 && p.versions == 0 && p.deleted == 5, "it had no version");
    const uint64_t before = records(db);
    is(prune(db, -1, 8, &p), RQC_OK, "older than 8 days");
    is(there(db), 0x1efc & ~0x600u, "by age alone");
    ok(p.snapshots == 4 && p.versions == 2, "two of them had versions");
    is(p.deleted, 4 * 5 + 2, "children and responses go with them");
    is(records(db), before - 22, "and nothing else");
    is(p.position.seq, rqc_position_now(db).seq, "the position is told");
    is(prune(db, 2, -1, &p), RQC_OK, "keep 2");
    is(there(db), 0x18cc, "milliseconds count as such, no time is the oldest, ties go by id");
    is(prune(db, -1, 0, &p), RQC_OK, "older than now");
    is(there(db), 0x1800, "all but those of another workspace");
    rqc_verified v = {0};
    is(rqc_verify(db, 0, NULL, NULL, &v, NULL), RQC_OK, "verify");
    is(v.differences, 0, "finds no difference");
    is(records(db), 2 + 2 + 12, "workspaces, requests and the other workspace's runs are left");
}

static void test_no_age(rqc_db *db)
{
    rqc_txn *t = sdb_txn(db);
    rqc_pruned p;
    put_run(t, 20, sdb_workspace, NULL, 0);
    put_run(t, 21, sdb_workspace, NULL, -5);
    put_run(t, 22, sdb_workspace, NULL, NOW + DAY);
    commit(t);
    rqc_txn_free(t);
    is(prune(db, -1, 0, &p), RQC_OK, "older than now");
    is(there(db) & 0x700000, 0x700000, "is nothing without a time, and nothing of tomorrow");
    is(prune(db, 0, -1, NULL), RQC_OK, "keep none");
    is(there(db) & 0x700000, 0, "removes them");
}

static void test_arguments(rqc_db *db)
{
    rqc_prune_options o = RQC_PRUNE_OPTIONS_INIT;
    rqc_pruned p = {.snapshots = 77};
    rqc_error e;
    is(rqc_prune(db, sdb_workspace, &o, &p, &e), RQC_INVALID, "no limit: %s", e.text);
    o.keep = 1;
    is(rqc_prune(db, NULL, &o, &p, &e), RQC_INVALID, "no workspace: %s", e.text);
    is(rqc_prune(db, sdb_workspace, NULL, &p, &e), RQC_INVALID, "no options: %s", e.text);
    o.older_than_s = RQC_AGE_MAX_S + 1;
    is(rqc_prune(db, sdb_workspace, &o, &p, &e), RQC_INVALID, "too old: %s", e.text);
    o.older_than_s = RQC_AGE_MAX_S;
    o.size = 1;
    is(rqc_prune(db, sdb_workspace, &o, &p, &e), RQC_INVALID, "without their size: %s", e.text);
    o.size = sizeof o;
    is(p.snapshots, 77, "results are untouched");
    is(rqc_prune(db, (const uint8_t[16]){7}, &o, &p, &e), RQC_OK, "an unknown workspace");
    is(p.snapshots, 0, "has no snapshots");
    rqc_db *attached = sdb_attach();
    is(rqc_prune(attached, sdb_workspace, &o, &p, &e), RQC_READ_ONLY, "attached: %s", e.text);
    rqc_close(attached);
}

// Somebody else deletes the same snapshots at the same time.
static void *delete_too(void *arg)
{
    rqc_txn *t = sdb_txn(arg);
    uint8_t id[16];
    for (uint64_t n = 999; n > 100; n -= 3) {
        sdb_id(id, 3, n);
        rqc_delete(t, RQC_HTTP, id, 0);
        const rqc_err rc = rqc_commit(t, NULL);
        if (rc != RQC_OK && rc != RQC_NOT_FOUND)
            bail("%s", rqc_txn_error(t));
        if (rc != RQC_OK) {
            rqc_txn_free(t);
            t = sdb_txn(arg);
        }
    }
    rqc_txn_free(t);
    return NULL;
}

static void test_concurrent(rqc_db *db)
{
    rqc_txn *t = sdb_txn(db);
    rqc_pruned p;
    pthread_t thread;
    rqc_err rc = RQC_BUSY;
    for (uint64_t n = 100; n < 1000; n++)
        put_run(t, n, sdb_workspace, NULL, NOW);
    commit(t);
    rqc_txn_free(t);
    pthread_create(&thread, NULL, delete_too, db);
    while (rc == RQC_BUSY)
        rc = prune(db, 0, -1, &p);
    pthread_join(thread, NULL);
    is(rc, RQC_OK, "others may delete the same at the same time");
    is(records(db), 2 + 2 + 12, "all of them are gone");
}

// An older generation of the schema: no snapshots, no versions.
static void test_old_schema(void)
{
    char other[160];
    sqlite3 *s = NULL;
    rqc_db *db = NULL;
    rqc_pruned p = {.snapshots = 7};
    const rqc_options o = sdb_options();
    snprintf(other, sizeof other, "%s/old.db", sdb_folder);
    if (sqlite3_open(other, &s) != SQLITE_OK ||
        sqlite3_exec(s,
                     "CREATE TABLE http (id BLOB PRIMARY KEY, workspace_id BLOB, name TEXT, url "
                     "TEXT, method TEXT); INSERT INTO http VALUES (zeroblob(16), "
                     "x'01020300000000000000000000000000', 'n', 'u', 'm')",
                     NULL, NULL, NULL) != SQLITE_OK)
        bail("sqlite: %s", sqlite3_errmsg(s));
    is(rqc_open(other, &o, &db, NULL), RQC_OK, "a database without snapshots");
    is(prune(db, 0, -1, &p), RQC_OK, "is pruned");
    is(p.snapshots, 0, "of nothing");
    if (sqlite3_exec(s, "ALTER TABLE http ADD is_snapshot BOOLEAN; UPDATE http SET is_snapshot = 1",
                     NULL, NULL, NULL) != SQLITE_OK)
        bail("sqlite: %s", sqlite3_errmsg(s));
    is(prune(db, 0, 0, &p), RQC_OK, "with snapshots, but without times and versions");
    is(p.snapshots, 0, "nothing is old");
    is(prune(db, 0, -1, &p), RQC_OK, "keep none");
    is(p.snapshots, 1, "goes by number");
    sqlite3_close(s);
    rqc_close(db);
}

int main(void)
{
    sdb_begin("prune");
    rqc_db *db = sdb_open();
    fill(db);
    test_which(db);
    test_no_age(db);
    test_arguments(db);
    test_concurrent(db);
    rqc_close(db);
    test_old_schema();
    sdb_end();
    return tap_done();
}

// SPDX-License-Identifier: Apache-2.0
// What other programs write, a view that differs from the database, and how long history is kept.
#include "api/reqcast.h"

#include "tests/store_sql.h"

typedef struct found {
    int records, others;
} found;

static void note_difference(void *ctx, const rqc_difference *d)
{
    found *f = ctx;
    if (d->entity == RQC_HTTP && strcmp(d->what, "different") == 0)
        f->records++;
    else
        f->others++;
}

static void test_foreign(void)
{
    uint8_t id[16];
    sdb_id(id, 9, 1);
    rqc_db *db = sdb_open();
    sqlite3 *s = sdb_foreign(sdb_path);
    sdb_exec(s,
             "UPDATE http SET name = 'foreign' WHERE hex(id) = '01090000000000000000000000000001'");
    is(rqc_sync(db, NULL), RQC_OK, "sync");
    rqc_read *r = sdb_read(db);
    const rqc_record *rec = NULL;
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "the record");
    ok(sdb_text_is(rec, RQC_HTTP_NAME, "foreign"), "shows what another program wrote");
    rqc_read_end(r);
    // A change whose trace was wiped out: nothing tells the view.
    sdb_exec(
        s,
        "BEGIN; UPDATE http SET name = 'hidden' WHERE hex(id) = '01090000000000000000000000000001';"
        "DELETE FROM change_log WHERE seq = (SELECT max(seq) FROM change_log); COMMIT");
    rqc_verified v = {0};
    found f = {0, 0};
    rqc_error e = {RQC_OK, ""};
    is(rqc_verify(db, 0, note_difference, &f, &v, &e), RQC_OK, "verify: %s", e.text);
    is(f.records, 1, "finds the record that differs");
    is(f.others, 1, "and the digest of its workspace");
    is(v.differences, 2, "and counts them");
    is(rqc_verify(db, 1, NULL, NULL, &v, &e), RQC_OK, "repair: %s", e.text);
    is(rqc_verify(db, 0, NULL, NULL, &v, &e), RQC_OK, "verify again");
    is(v.differences, 0, "finds none any more");
    rqc_read_begin(r);
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "the record");
    ok(sdb_text_is(rec, RQC_HTTP_NAME, "hidden"), "is what the database has");
    rqc_read_free(r);
    sqlite3_close(s);
    rqc_close(db);
}

// ---- History is kept for a while, then the log is compacted ----

static void test_compaction(void)
{
    char other_path[150];
    uint8_t id[16];
    rqc_options o = sdb_options();
    rqc_db *db = NULL;
    snprintf(other_path, sizeof other_path, "%s/compact.db", sdb_folder);
    o.retain = 100;
    if (rqc_open(other_path, &o, &db, NULL) != RQC_OK)
        bail("open");
    sqlite3 *s = sdb_foreign(other_path);
    rqc_txn *t = sdb_txn(db);
    sdb_put_workspace(t);
    for (uint64_t i = 0; i < 1000; i++) {
        sdb_id(id, 8, i % 10);
        sdb_put_http(t, id, "again", (int64_t)i);
    }
    is(rqc_commit(t, NULL), RQC_OK, "ten requests, written a hundred times each");
    int64_t rows = sdb_number(s, "SELECT count(*) FROM change_log");
    ok(rows > 1000, "are %" PRId64 " rows of the log", rows);
    // Rows of records that change again above the horizon are kept, so that a view can be built as
    // of the horizon.
    for (uint64_t i = 0; i < 150; i++) {
        sdb_id(id, 9, i);
        sdb_put_http(t, id, "later", (int64_t)i);
    }
    is(rqc_commit(t, NULL), RQC_OK, "others are written after them");
    for (int i = 0; i < 500 && rows > 300; i++) {
        sdb_pause_ms(20);
        rows = sdb_number(s, "SELECT count(*) FROM change_log");
    }
    ok(rows <= 300, "which is compacted by itself, to %" PRId64, rows);
    sdb_id(id, 8, 0);
    sdb_put_http(t, id, "after", 1);
    is(rqc_commit(t, NULL), RQC_OK, "after it, writes go on");
    rqc_stats st = {.size = sizeof st};
    is(rqc_stats_read(db, &st, NULL), RQC_OK, "stats");
    ok(st.horizon > 0 && st.horizon <= st.head - 100, "the horizon is %" PRIu64 " of %" PRIu64,
       st.horizon, st.head);
    rqc_read *r = sdb_read(db);
    rqc_changes_list list = RQC_CHANGES_INIT;
    int up_to_date = 0;
    rqc_cursor at = RQC_CURSOR_INIT(1);
    is(rqc_changes(r, sdb_workspace, &at, 100, &list, &up_to_date), RQC_TOO_OLD,
       "a cursor behind it is too old");
    at = (rqc_cursor)RQC_CURSOR_INIT(0);
    is(rqc_changes(r, sdb_workspace, &at, 1000, &list, &up_to_date), RQC_OK,
       "from 0 there is everything");
    is(list.n, 161, "each record once");
    is(up_to_date, 1, "up to date");
    rqc_verified v = {0};
    is(rqc_verify(db, 0, NULL, NULL, &v, NULL), RQC_OK, "verify");
    is(v.differences, 0, "no difference");
    rqc_changes_free(&list);
    rqc_read_free(r);
    rqc_txn_free(t);
    sqlite3_close(s);
    rqc_close(db);
}

int main(void)
{
    sdb_begin("foreign");
    sdb_make();
    test_foreign();
    test_compaction();
    sdb_end();
    return tap_done();
}

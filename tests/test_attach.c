// SPDX-License-Identifier: Apache-2.0
// Attached handles: what they see of an owner that writes, dies, moves its view or is this process.
#include "api/reqcast.h"

#include "tests/store_db.h"

// ---- The other process: o opens as the owner, O with its view elsewhere, w writes, b writes much,
// c closes ----

static char command(char c)
{
    static rqc_db *db;
    static uint64_t n;
    rqc_options o = sdb_options();
    if (n == 0)
        n = (uint64_t)getpid() << 20; // requests of its own
    if (c == 'o' || c == 'O') {
        o.view_dir = c == 'O' ? sdb_other_views : sdb_views;
        return (char)rqc_open(sdb_path, &o, &db, NULL);
    }
    if (c == 'w' || c == 'b') {
        uint8_t id[16];
        rqc_txn *t = NULL;
        rqc_err rc = rqc_txn_new(db, &t, NULL);
        for (int i = 0; i < (c == 'b' ? 1000 : 1) && rc == RQC_OK; i++) {
            sdb_id(id, 9, n++);
            rc = sdb_put_workspace(t);
            if (rc == RQC_OK)
                rc = sdb_put_http(t, id, "other", 5);
        }
        if (rc == RQC_OK)
            rc = rqc_commit(t, NULL);
        rqc_txn_free(t);
        return (char)rc;
    }
    rqc_close(db);
    db = NULL;
    return RQC_OK;
}

// ---- Tests ----

static uint64_t count_now(rqc_read *r)
{
    uint64_t n = UINT64_MAX;
    rqc_read_end(r);
    // The owner may be just switching.
    for (int i = 0; i < 100 && rqc_read_begin(r) != RQC_OK; i++)
        sdb_pause_ms(20);
    if (rqc_count(r, sdb_workspace, RQC_ANY_TIME, &n) != RQC_OK)
        return UINT64_MAX;
    return n;
}

// Waits until the attached session counts this many: commits are visible at once, a moved view
// within seconds.
static bool comes_to(rqc_read *r, uint64_t want)
{
    for (int i = 0; i < 500; i++) {
        if (count_now(r) == want)
            return true;
        sdb_pause_ms(20);
    }
    return false;
}

static void test_attach(sdb_other *p)
{
    is(sdb_ask(p, 'o'), RQC_OK, "another process owns the database");
    const rqc_options o = sdb_options();
    rqc_db *db = NULL;
    rqc_error e = {RQC_OK, ""};
    is(rqc_attach(sdb_path, &o, &db, &e), RQC_OK, "attached: %s", e.text);
    rqc_txn *t = NULL;
    is(rqc_txn_new(db, &t, &e), RQC_READ_ONLY, "an attached handle cannot write");
    is(rqc_sync(db, &e), RQC_READ_ONLY, "nor sync");
    is(rqc_verify(db, 1, NULL, NULL, NULL, &e), RQC_READ_ONLY, "nor repair");
    rqc_read *r = NULL;
    is(rqc_read_new(db, &r, NULL), RQC_OK, "a session");
    const uint64_t before = count_now(r);
    ok(before != UINT64_MAX && before > 0, "that sees the requests");
    is(sdb_ask(p, 'w'), RQC_OK, "the owner writes");
    is(count_now(r), before + 1, "a session that begins after it sees it");
    rqc_verified v = {0};
    is(rqc_verify(db, 0, NULL, NULL, &v, &e), RQC_OK, "verify through an attached handle: %s",
       e.text);
    is(v.differences, 0, "without a difference");
    ok(v.records > before, "over all records");
    rqc_stats s = {.size = sizeof s};
    is(rqc_stats_read(db, &s, &e), RQC_OK, "stats");
    is(s.owner, 0, "of no owner");
    // A session that is held sees its position while the owner goes on.
    rqc_read_end(r);
    rqc_read_begin(r);
    is(sdb_ask(p, 'b'), RQC_OK, "the owner writes 1,000 more");
    uint64_t n = 0;
    rqc_count(r, sdb_workspace, RQC_ANY_TIME, &n);
    is(n, before + 1, "a session that was begun before sees nothing of it");
    is(count_now(r), before + 1001, "the next one sees all");
    sdb_other_stop(p, SIGKILL);
    is(count_now(r), before + 1001, "the owner was killed: the view can still be read");
    *p = sdb_other_start(command);
    is(sdb_ask(p, 'o'), RQC_OK, "a new owner takes over");
    is(count_now(r), before + 1001, "the attached session sees the same");
    is(sdb_ask(p, 'w'), RQC_OK, "the new owner writes");
    is(count_now(r), before + 1002, "and is seen");
    is(sdb_ask(p, 'c'), RQC_OK, "the owner closes");
    is(sdb_ask(p, 'O'), RQC_OK, "and comes back with the view in another place");
    is(sdb_ask(p, 'b'), RQC_OK, "writes");
    ok(comes_to(r, before + 2002), "the session finds the new place by itself");
    rqc_read *fresh = NULL;
    is(rqc_read_new(db, &fresh, NULL), RQC_OK, "a new session");
    is(count_now(fresh), before + 2002, "is there too");
    rqc_read_free(fresh);
    rqc_read_free(r);
    rqc_close(db);
    is(sdb_ask(p, 'c'), RQC_OK, "closed");
}

// One process that was attached becomes the owner, and stays attached.
static void test_both(sdb_other *p)
{
    uint8_t id[16];
    sdb_id(id, 7, 1);
    const rqc_options o = sdb_options();
    rqc_db *attached = NULL;
    rqc_read *r = NULL;
    is(sdb_ask(p, 'o'), RQC_OK, "another process owns the database");
    is(rqc_attach(sdb_path, &o, &attached, NULL), RQC_OK, "this one attaches");
    is(rqc_read_new(attached, &r, NULL), RQC_OK, "with a session");
    const uint64_t before = count_now(r);
    is(sdb_ask(p, 'c'), RQC_OK, "the other one closes");
    rqc_db *db = sdb_open();
    rqc_txn *t = sdb_txn(db);
    rqc_result result = {.visible = 0};
    sdb_put_http(t, id, "both", 1);
    is(rqc_commit(t, &result), RQC_OK, "this one owns it now, and writes");
    is(result.visible, 1, "visibly");
    ok(comes_to(r, before + 1), "the attached session sees it");
    rqc_txn_free(t);
    rqc_close(db);
    is(count_now(r), before + 1, "also when the owner has closed");
    db = sdb_open();
    rqc_read_free(r);
    rqc_close(attached);
    r = sdb_read(db);
    is(count_now(r), before + 1, "the next owner goes on when the attached handle is closed");
    rqc_read_free(r);
    rqc_close(db);
    is(sdb_ask(p, 'o'), RQC_OK, "and another process can own it again");
    is(sdb_ask(p, 'c'), RQC_OK, "closed");
}

int main(void)
{
    sdb_begin("attach");
    sdb_other p = sdb_other_start(command); // before there are threads
    sdb_make();
    test_attach(&p);
    test_both(&p);
    sdb_other_stop(&p, SIGTERM);
    sdb_end();
    return tap_done();
}

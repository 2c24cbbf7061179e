// SPDX-License-Identifier: Apache-2.0
// The view's next state is made within the writer's transaction, before it is durable: nobody sees
// it until then, and nothing is left of it when the transaction is undone.
#include "api/engine.h"
#include "persist/internal.h"
#include "tests/store_db.h"

static struct {
    rqc_db *db, *attached;
    rqc_read *own, *other; // sessions of both: used before, so that nothing is opened at the commit
    uint64_t request;      // looked for at the commit
    int refuse;            // 1: the commit fails
    int calls, prepared, seen;
} at; // what the writer's thread does at the commit

static bool there(rqc_read *r, uint64_t n)
{
    uint8_t id[16];
    const rqc_record *rec;
    sdb_id(id, 9, n);
    rqc_err rc = rqc_read_begin(r);
    if (rc == RQC_OK)
        rc = rqc_get(r, RQC_HTTP, id, &rec);
    if (rc != RQC_OK && rc != RQC_NOT_FOUND)
        bail("get: %s", rqc_read_error(r));
    rqc_read_end(r);
    return rc == RQC_OK;
}

static uint64_t state_head(void)
{
    pthread_mutex_lock(&at.db->lock);
    const uint64_t head = at.db->state.head;
    pthread_mutex_unlock(&at.db->lock);
    return head;
}

// The writer holds the view: its next state is made.
static int apply_is_held(void *count)
{
    const bool prepared = pthread_mutex_trylock(&at.db->apply) != 0;
    if (!prepared)
        pthread_mutex_unlock(&at.db->apply);
    *(int *)count += prepared;
    return 0;
}

// Runs when everything of the transaction is there but its durability.
static int at_commit(void *arg)
{
    const rqc_position before = *(const rqc_position *)arg;
    const rqc_position own = rqc_position_now(at.db), other = rqc_position_now(at.attached);
    at.calls++;
    (void)apply_is_held(&at.prepared);
    at.seen += there(at.own, at.request) || there(at.other, at.request);
    at.seen += own.seq != before.seq || other.seq != before.seq;
    at.seen += state_head() != before.seq;
    return at.refuse;
}

static rqc_err commit_at(uint64_t n, int refuse, rqc_result *ret_result)
{
    static rqc_position before; // kept for the hook, which outlives the call
    before = rqc_position_now(at.db);
    at.request = n;
    at.refuse = refuse;
    at.calls = at.prepared = at.seen = 0;
    sqlite3_commit_hook(at.db->store->db, at_commit, &before);
    const rqc_err rc = sdb_commit_one(at.db, n, ret_result);
    sqlite3_commit_hook(at.db->store->db, NULL, NULL);
    return rc;
}

static void test_unseen_until_durable(void)
{
    rqc_result r = {.visible = 0};
    is(commit_at(2, 0, &r), RQC_OK, "a commit");
    is(at.calls, 1, "was looked at, once,");
    is(at.prepared, 1, "with the view's next state made");
    is(at.seen, 0, "and nobody saw anything of it");
    ok(r.visible && there(at.own, 2) && there(at.other, 2), "afterwards all do");
    ok(rqc_position_now(at.db).seq == r.position.seq && state_head() == r.position.seq,
       "at its position");
}

static void test_undone(void)
{
    rqc_result r = {.visible = 0};
    const rqc_position before = rqc_position_now(at.db);
    ok(commit_at(3, 1, &r) != RQC_OK, "a commit that fails");
    is(at.prepared, 1, "when the view's next state was made");
    is(at.seen, 0, "was not seen");
    ok(!there(at.own, 3) && !there(at.other, 3), "and is not there");
    ok(rqc_position_now(at.db).seq == before.seq, "nor did the position move");
    ok(pthread_mutex_trylock(&at.db->apply) == 0, "nobody holds the view");
    pthread_mutex_unlock(&at.db->apply);
    is(commit_at(4, 0, &r), RQC_OK, "the next one");
    ok(at.prepared == 1 && at.seen == 0 && r.visible && there(at.own, 4) && !there(at.own, 3),
       "is what it would have been,");
    rqc_verified v = {.records = 0};
    ok(rqc_verify(at.db, 0, NULL, NULL, &v, NULL) == RQC_OK && v.differences == 0 && v.records > 0,
       "and the view is what SQLite has");
}

static void *commits(void *ret_result)
{
    return (void *)(intptr_t)sdb_commit_one(at.db, 5, ret_result);
}

// Somebody is at the view for long: the transaction does not wait for that, so neither do other
// programs for its end.
static void test_view_in_use(void)
{
    pthread_t thread;
    rqc_result r = {.visible = 0};
    sqlite3 *foreign;
    uint64_t head = 0;
    void *rc;
    pthread_mutex_lock(&at.db->apply);
    if (pthread_create(&thread, NULL, commits, &r) != 0 ||
        sqlite3_open(sdb_path, &foreign) != SQLITE_OK)
        bail("no thread, or no database");
    for (int i = 0; i < 10000 && head <= state_head(); i++) {
        pthread_mutex_lock(&at.db->store->mu);
        head = at.db->store->head;
        pthread_mutex_unlock(&at.db->store->mu);
        sdb_pause_ms(1);
    }
    ok(head > state_head(), "a transaction becomes durable while the view is in use");
    is(sqlite3_exec(foreign, "UPDATE http SET name = 'foreign'", NULL, NULL, NULL), SQLITE_OK,
       "and others may write");
    ok(!there(at.own, 5), "the view does not show it yet");
    pthread_mutex_unlock(&at.db->apply);
    pthread_join(thread, &rc);
    ok((rqc_err)(intptr_t)rc == RQC_OK && r.visible && there(at.own, 5), "then it does");
    sqlite3_close(foreign);
}

// While others write, too, they must find the database free.
static void test_others_write(void)
{
    rqc_result r = {.visible = 0};
    sqlite3 *foreign;
    if (sqlite3_open(sdb_path, &foreign) != SQLITE_OK ||
        sqlite3_exec(foreign, "UPDATE http SET name = 'again'", NULL, NULL, NULL) != SQLITE_OK)
        bail("no foreign commit");
    is(rqc_sync(at.db, NULL), RQC_OK, "others wrote");
    ok(commit_at(6, 0, &r) == RQC_OK && at.calls == 1 && at.prepared == 0,
       "then nothing is made before the commit");
    ok(at.seen == 0 && r.visible && there(at.own, 6), "and all is seen after it");
    at.db->store->foreign_ms -= 20000; // nobody else is at the store
    ok(commit_at(7, 0, &r) == RQC_OK && at.prepared == 1, "but a while later it is");
    sqlite3_close(foreign);
}

static rqc_err commit_looked_at(rqc_txn *t, uint64_t request, rqc_result *ret_result)
{
    static rqc_position before;
    before = rqc_position_now(at.db);
    at.calls = at.prepared = at.seen = 0;
    at.request = request;
    sqlite3_commit_hook(at.db->store->db, at_commit, &before);
    const rqc_err rc = rqc_commit(t, ret_result);
    sqlite3_commit_hook(at.db->store->db, NULL, NULL);
    return rc;
}

// More than is made before the commit is made afterwards.
static void test_large(void)
{
    rqc_result r = {.visible = 0};
    rqc_txn *t = sdb_txn(at.db);
    uint8_t id[16];
    for (uint64_t n = 0; n <= RQCI_PREPARE_MAX; n++) {
        sdb_id(id, 9, 100 + n);
        if (sdb_put_http(t, id, "many", 1) != RQC_OK)
            bail("%s", rqc_txn_error(t));
    }
    is(commit_looked_at(t, 100, &r), RQC_OK, "a large transaction");
    rqc_txn_free(t);
    ok(at.calls == 1 && at.prepared == 0 && at.seen == 0, "is not made before its commit");
    ok(r.visible && there(at.own, 100 + RQCI_PREPARE_MAX), "and is seen after it");
}

static void put_headers(uint64_t first, uint64_t n)
{
    rqc_txn *t = sdb_txn(at.db);
    uint8_t http[16], id[16];
    sdb_id(http, 9, 100);
    for (uint64_t i = first; i < first + n; i++) {
        sdb_id(id, 4, i);
        if (sdb_put_header(t, id, http, "value") != RQC_OK)
            bail("%s", rqc_txn_error(t));
    }
    if (rqc_commit(t, NULL) != RQC_OK)
        bail("%s", rqc_txn_error(t));
    rqc_txn_free(t);
}

static rqc_err move_request(const uint8_t workspace[16], rqc_result *ret_result)
{
    rqc_value row[RQC_HTTP_NFIELDS] = {{0}};
    uint8_t http[16];
    rqc_txn *t = sdb_txn(at.db);
    sdb_id(http, 9, 100);
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(workspace);
    if (rqc_patch(t, RQC_HTTP, http, row, 0) != RQC_OK)
        bail("%s", rqc_txn_error(t));
    const rqc_err rc = commit_looked_at(t, 0, ret_result);
    rqc_txn_free(t);
    return rc;
}

// One position may touch many records: what a request owns moves with it.
static void test_heavy(void)
{
    static const uint8_t other[16] = {7};
    rqc_result r = {.visible = 0};
    rqc_value row[RQC_WORKSPACES_NFIELDS] = {{0}};
    rqc_txn *t = sdb_txn(at.db);
    row[RQC_WORKSPACES_NAME] = rqc_text("other");
    if (rqc_put(t, RQC_WORKSPACES, other, row) != RQC_OK || rqc_commit(t, NULL) != RQC_OK)
        bail("no workspace");
    rqc_txn_free(t);
    put_headers(0, RQCI_PREPARE_MAX / 2);
    ok(move_request(other, &r) == RQC_OK && at.prepared == 1, "a request that owns some moves");
    put_headers(RQCI_PREPARE_MAX / 2, RQCI_PREPARE_MAX / 2);
    ok(move_request(sdb_workspace, &r) == RQC_OK && at.prepared == 0,
       "with more of them it is not made before the commit");
    ok(r.visible && at.seen == 0, "and is seen after it");
    rqc_verified v = {.records = 0};
    ok(rqc_verify(at.db, 0, NULL, NULL, &v, NULL) == RQC_OK && v.differences == 0,
       "as SQLite has it");
}

// Many positions of one record, and few large records.
static void test_positions_and_bytes(void)
{
    rqc_result r = {.visible = 0};
    uint8_t id[16];
    rqc_txn *t = sdb_txn(at.db);
    sdb_id(id, 9, 4);
    for (unsigned n = 0; n <= RQCI_PREPARE_MAX; n++) {
        rqc_value row[RQC_HTTP_NFIELDS] = {{0}};
        row[RQC_HTTP_UPDATED_AT] = rqc_int(1000 + n);
        if (rqc_patch(t, RQC_HTTP, id, row, 0) != RQC_OK)
            bail("%s", rqc_txn_error(t));
    }
    ok(commit_looked_at(t, 0, &r) == RQC_OK && at.calls == 1 && at.prepared == 0 && r.visible,
       "one record that changes often is not made before the commit");
    rqc_txn_free(t);
    static char value[30001];
    memset(value, 'v', sizeof value - 1);
    t = sdb_txn(at.db);
    for (unsigned n = 0; n < 10; n++) {
        sdb_id(id, 4, 1000 + n);
        uint8_t http[16];
        sdb_id(http, 9, 4);
        if (sdb_put_header(t, id, http, value) != RQC_OK)
            bail("%s", rqc_txn_error(t));
    }
    ok(commit_looked_at(t, 0, &r) == RQC_OK && at.calls == 1 && at.prepared == 0 && r.visible,
       "nor are ten large ones");
    rqc_txn_free(t);
}

static uint64_t unmirrored(void)
{
    rqc_stats s = {.size = sizeof s};
    if (rqc_stats_read(at.db, &s, NULL) != RQC_OK)
        bail("no statistics");
    return s.unmirrored;
}

static rqc_err delete_request(uint64_t n, int refuse)
{
    uint8_t id[16];
    rqc_txn *t = sdb_txn(at.db);
    sdb_id(id, 9, n);
    at.refuse = refuse;
    if (rqc_delete(t, RQC_HTTP, id, 0) != RQC_OK)
        bail("%s", rqc_txn_error(t));
    const rqc_err rc = commit_looked_at(t, 0, NULL);
    at.refuse = 0;
    rqc_txn_free(t);
    return rc;
}

// What a transaction has that cannot be mirrored counts when it is durable.
static void test_unmirrored(void)
{
    rqc_result r;
    sqlite3 *foreign;
    if (commit_at(8, 0, &r) != RQC_OK || sqlite3_open(sdb_path, &foreign) != SQLITE_OK ||
        sqlite3_exec(foreign,
                     "INSERT INTO http_header (id, http_id, header_key, header_value)"
                     " SELECT 'no id', id, '', '' FROM http WHERE updated_at = 8",
                     NULL, NULL, NULL) != SQLITE_OK ||
        rqc_sync(at.db, NULL) != RQC_OK)
        bail("no row without an id");
    sqlite3_close(foreign);
    at.db->store->foreign_ms -= 20000;
    const uint64_t before = unmirrored();
    ok(before > 0, "a row that cannot be mirrored");
    ok(delete_request(8, 1) != RQC_OK && at.prepared == 1, "its request is deleted in vain");
    is(unmirrored(), before, "which does not count");
    ok(delete_request(8, 0) == RQC_OK && at.prepared == 1, "and deleted");
    ok(unmirrored() > before, "which does");
}

// Where the horizon moved there may be many tombstones to remove.
static void test_horizon(void)
{
    rqc_options o = sdb_options();
    rqc_db *before = at.db;
    rqc_result r;
    bool more = true;
    o.retain = 8;
    strcat(sdb_path, "2");
    if (rqc_open(sdb_path, &o, &at.db, NULL) != RQC_OK)
        bail("no second database");
    rqci_keeper_stop(at.db);
    for (uint64_t n = 1; n <= 40; n++)
        if (sdb_commit_one(at.db, n, NULL) != RQC_OK)
            bail("no request");
    while (more)
        if (rqci_store_compact(at.db->store, rqci_keeper_needs, at.db, &more, NULL) != RQC_OK)
            bail("no compaction");
    ok(at.db->store->facts.horizon > 0, "the horizon moved");
    rqc_txn *t = sdb_txn(at.db);
    uint8_t id[16];
    sdb_id(id, 9, 41);
    if (sdb_put_http(t, id, "horizon", 41) != RQC_OK)
        bail("%s", rqc_txn_error(t));
    static int prepared;
    prepared = 0;
    sqlite3_commit_hook(at.db->store->db, apply_is_held, &prepared);
    ok(rqc_commit(t, &r) == RQC_OK && r.visible && prepared == 0,
       "the first commit after it is not made before");
    sdb_id(id, 9, 42);
    rqc_txn_free(t);
    t = sdb_txn(at.db);
    if (sdb_put_http(t, id, "horizon", 42) != RQC_OK)
        bail("%s", rqc_txn_error(t));
    ok(rqc_commit(t, &r) == RQC_OK && r.visible && prepared == 1, "the next one is");
    sqlite3_commit_hook(at.db->store->db, NULL, NULL);
    rqc_txn_free(t);
    rqc_verified v = {.records = 0};
    ok(rqc_verify(at.db, 0, NULL, NULL, &v, NULL) == RQC_OK && v.differences == 0,
       "and the view is what SQLite has");
    rqc_close(at.db);
    at.db = before;
}

int main(void)
{
    sdb_begin("prepare");
    at.db = sdb_open();
    if (sdb_commit_one(at.db, 1, NULL) != RQC_OK)
        bail("no request");
    at.attached = sdb_attach();
    at.own = sdb_read(at.db);
    at.other = sdb_read(at.attached);
    rqc_read_end(at.own);
    rqc_read_end(at.other);
    test_unseen_until_durable();
    test_undone();
    test_view_in_use();
    test_others_write();
    test_large();
    test_heavy();
    test_positions_and_bytes();
    test_unmirrored();
    test_horizon();
    rqc_read_free(at.own);
    rqc_read_free(at.other);
    rqc_close(at.attached);
    rqc_close(at.db);
    sdb_end();
    return tap_done();
}

// SPDX-License-Identifier: Apache-2.0
// Writes that go together in one statement give what they would give one by one: counts, the write
// that is to blame, order, and neighbours in a group.
#include "api/engine.h"
#include "tests/store_db.h"

enum { MANY = 37 }; // 16 + 16 + 4 + 1

static void fill(rqc_txn *t, uint64_t first, uint64_t n)
{
    uint8_t id[16];
    for (uint64_t i = 0; i < n; i++) {
        sdb_id(id, 9, first + i);
        if (sdb_put_http(t, id, "row", (int64_t)i) != RQC_OK)
            bail("%s", rqc_txn_error(t));
    }
}

static rqc_err header(rqc_txn *t, uint64_t n, uint64_t http)
{
    uint8_t id[16], owner[16];
    rqc_value row[RQC_HTTP_HEADER_NFIELDS] = {{0}};
    sdb_id(id, 4, n);
    sdb_id(owner, 9, http);
    row[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(owner);
    row[RQC_HTTP_HEADER_HEADER_KEY] = row[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_text("h");
    return rqc_put(t, RQC_HTTP_HEADER, id, row);
}

static void delta(rqc_txn *t, uint64_t n, uint64_t parent)
{
    uint8_t id[16], parent_id[16];
    rqc_value row[RQC_HTTP_NFIELDS] = {{0}};
    sdb_id(id, 9, n);
    sdb_id(parent_id, 9, parent);
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(sdb_workspace);
    row[RQC_HTTP_NAME] = row[RQC_HTTP_URL] = row[RQC_HTTP_METHOD] = rqc_text("d");
    row[RQC_HTTP_IS_DELTA] = rqc_bool(1);
    row[RQC_HTTP_PARENT_HTTP_ID] = rqc_id(parent_id);
    if (rqc_put(t, RQC_HTTP, id, row) != RQC_OK)
        bail("%s", rqc_txn_error(t));
}

static uint64_t stored(rqc_db *db)
{
    rqc_read *r = sdb_read(db);
    uint64_t n = 0;
    if (rqc_count(r, sdb_workspace, RQC_ANY_TIME, &n) != RQC_OK)
        bail("count");
    rqc_read_free(r);
    return n;
}

static void test_counts(rqc_db *db)
{
    rqc_txn *t = sdb_txn(db);
    rqc_result result;
    uint8_t id[16];
    sdb_put_workspace(t);
    is(rqc_commit(t, &result), RQC_OK, "a workspace");
    const uint64_t head = result.position.seq;
    fill(t, 0, MANY);
    is(rqc_commit(t, &result), RQC_OK, "new rows");
    ok(result.written == MANY && result.position.seq == head + MANY, "are written and logged once");
    is(stored(db), MANY, "and shown");
    fill(t, MANY - 5, 12);
    is(rqc_commit(t, &result), RQC_OK, "rows of which some are there");
    ok(result.written == 12 && result.position.seq == head + MANY + 12, "are logged once each");
    fill(t, 100, 3);
    fill(t, 101, 3);
    is(rqc_commit(t, &result), RQC_OK, "the same row twice");
    is(result.written, 6, "is written twice");
    rqc_value row[RQC_HTTP_NFIELDS] = {{0}};
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(sdb_workspace);
    row[RQC_HTTP_NAME] = row[RQC_HTTP_URL] = row[RQC_HTTP_METHOD] = rqc_text("a");
    for (uint64_t i = 0; i < 8; i++) {
        sdb_id(id, 9, 100 + i / 2 * 2);
        rqc_add(t, RQC_HTTP, id, row);
    }
    is(rqc_commit(t, &result), RQC_OK, "adds, each of them twice");
    ok(result.written == 2 && result.skipped == 6, "leave alone what is there, and each other");
    rqc_verified v = {0};
    is(rqc_verify(db, 0, NULL, NULL, &v, NULL), RQC_OK, "verify");
    is(v.differences, 0, "finds no difference");
    rqc_txn_free(t);
}

static void test_blame(rqc_db *db)
{
    const uint64_t before = stored(db), head = rqc_position_now(db).seq;
    static const unsigned bad[] = {0, 1, 7, 15, 16, 36};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rqc_txn *t = sdb_txn(db);
        fill(t, 200, 1);
        for (unsigned n = 0; n < MANY; n++)
            header(t, n, n == bad[i] ? 999 : 200);
        is(rqc_commit(t, NULL), RQC_CONSTRAINT, "a header without a request among others");
        is(rqci_txn_failed(t), 1 + bad[i], "is named: %s", rqc_txn_error(t));
        rqc_txn_free(t);
    }
    ok(stored(db) == before && rqc_position_now(db).seq == head, "nothing of it is stored");
    // What a transaction holds in the end counts, not the order.
    rqc_txn *t = sdb_txn(db);
    delta(t, 301, 302);
    fill(t, 302, 2);
    is(rqc_commit(t, NULL), RQC_OK, "a delta before its base");
    rqc_txn_free(t);
    t = sdb_txn(db);
    delta(t, 303, 304);
    fill(t, 305, 2);
    is(rqc_commit(t, NULL), RQC_CONSTRAINT, "one without a base");
    is(rqci_txn_failed(t), 0, "is to blame");
    rqc_txn_free(t);
}

// One that fails together with others in a group.
static _Atomic uint64_t good, refused, strange;

static void count(const rqc_completion *c)
{
    if (c->code == RQC_OK && c->result.written == 9)
        atomic_fetch_add(&good, 1);
    else if (c->code == RQC_CONSTRAINT && rqci_txn_failed(c->txn) == 5)
        atomic_fetch_add(&refused, 1);
    else
        atomic_fetch_add(&strange, 1);
    rqc_txn_free(c->txn);
}

static void test_neighbours(rqc_db *db)
{
    enum { JOBS = 30 };
    pthread_mutex_lock(&db->apply); // the first waits there, the others become one group
    for (uint64_t i = 0; i < JOBS; i++) {
        rqc_txn *t = sdb_txn(db);
        fill(t, 1000 + 10 * i, 1);
        for (uint64_t n = 0; n < 8; n++)
            header(t, 1000 + 10 * i + n, i % 3 == 1 && n == 4 ? 999 : 1000 + 10 * i);
        if (rqc_commit_async(t, count, NULL) != RQC_OK)
            bail("async");
    }
    pthread_mutex_unlock(&db->apply);
    rqc_txn *t = sdb_txn(db);
    is(rqc_commit(t, NULL), RQC_OK, "a group");
    rqc_txn_free(t);
    is(atomic_load(&good), JOBS / 3 * 2, "those that are right are stored whole");
    is(atomic_load(&refused), JOBS / 3, "those that are not name their write");
    is(atomic_load(&strange), 0, "and nothing else happens");
    rqc_verified v = {0};
    is(rqc_verify(db, 0, NULL, NULL, &v, NULL), RQC_OK, "verify");
    is(v.differences, 0, "finds no difference");
}

int main(void)
{
    sdb_begin("rows");
    rqc_db *db = sdb_open();
    test_counts(db);
    test_blame(db);
    test_neighbours(db);
    rqc_close(db);
    sdb_end();
    return tap_done();
}

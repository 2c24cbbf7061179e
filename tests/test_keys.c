// SPDX-License-Identifier: Apache-2.0
// Idempotency keys: the same request twice is one, whatever happened to its answer.
#include "api/engine.h"
#include "tests/store_sql.h"

static void test_replay(void)
{
    rqc_db *db = sdb_open();
    rqc_txn *t = sdb_txn(db);
    rqc_result first, again;
    sdb_put_keyed(t, 1, "first", "a");
    is(rqc_commit(t, &first), RQC_OK, "a commit with a key");
    ok(first.written == 2 && first.replayed == 0, "writes");
    sdb_put_keyed(t, 1, "second", "b");
    is(rqc_commit(t, NULL), RQC_OK, "another key, another request");
    const uint64_t head = rqc_position_now(db).seq;
    sdb_put_keyed(t, 1, "first", "a");
    is(rqc_commit(t, &again), RQC_OK, "the first request again");
    is(again.replayed, 1, "is answered from memory");
    ok(sdb_same_result(&first, &again), "with the same result");
    is(again.visible, 1, "which can be seen");
    is(rqc_position_now(db).seq, head, "nothing was written");
    ok(sdb_name_is(db, 1, "second"), "what came in between stays");
    sdb_put_keyed(t, 1, "first", "a");
    is(rqc_txn_key(t, NULL, 0), RQC_OK, "the key is taken away");
    is(rqc_commit(t, &again), RQC_OK, "then the same writes");
    ok(again.replayed == 0 && again.position.seq > head && sdb_name_is(db, 1, "first"), "are done");
    sdb_put_keyed(t, 1, "x", "c");
    is(rqc_commit(t, NULL), RQC_OK, "a commit with a key");
    sdb_put_keyed(t, 1, "y", "");
    is(rqc_commit(t, &again), RQC_OK, "took it along");
    is(again.replayed, 0, "the next one has none");
    rqc_txn_free(t);
    rqc_close(db);
    db = sdb_open();
    t = sdb_txn(db);
    sdb_put_keyed(t, 1, "first", "a");
    is(rqc_commit(t, &again), RQC_OK, "after closing and opening");
    ok(again.replayed == 1 && sdb_same_result(&first, &again), "the key is still known");
    rqc_txn_free(t);
    rqc_close(db);
}

static void test_conflict(void)
{
    rqc_db *db = sdb_open();
    rqc_txn *t = sdb_txn(db);
    rqc_result result;
    uint8_t id[16];
    sdb_id(id, 9, 1);
    const uint64_t head = rqc_position_now(db).seq;
    sdb_put_keyed(t, 1, "other", "a");
    is(rqc_commit(t, &result), RQC_CONFLICT, "the key with another request: %s", rqc_txn_error(t));
    is(rqc_position_now(db).seq, head, "writes nothing");
    is(rqc_txn_key(t, "d", 1), RQC_OK, "with a key of its own");
    is(rqc_commit(t, &result), RQC_OK, "the request, which was kept, is done");
    is(result.written, 2, "whole");
    // What makes a request another one, beside values: kind, id, order, if_seq, an absent field.
    const rqc_value empty[RQC_HTTP_NFIELDS] = {{0}};
    rqc_value null[RQC_HTTP_NFIELDS] = {{0}};
    null[RQC_HTTP_DELTA_NAME] = rqc_null();
    rqc_patch(t, RQC_HTTP, id, empty, 0);
    rqc_txn_key(t, "e", 1);
    is(rqc_commit(t, &result), RQC_OK, "a patch");
    rqc_patch(t, RQC_HTTP, id, empty, result.position.seq);
    rqc_txn_key(t, "e", 1);
    is(rqc_commit(t, NULL), RQC_CONFLICT, "with an expected seq it is another");
    rqc_txn_free(t);
    t = sdb_txn(db);
    rqc_patch(t, RQC_HTTP, id, null, 0);
    rqc_txn_key(t, "e", 1);
    is(rqc_commit(t, NULL), RQC_CONFLICT, "and with a NULL for nothing");
    rqc_txn_free(t);
    t = sdb_txn(db);
    rqc_txn_key(t, "e", 1);
    is(rqc_commit(t, NULL), RQC_CONFLICT, "and without any write");
    rqc_delete(t, RQC_HTTP, id, 0);
    is(rqc_commit(t, NULL), RQC_CONFLICT, "and as a delete");
    rqc_txn_key(t, "f", 1);
    is(rqc_commit(t, &result), RQC_OK, "a delete");
    rqc_result again;
    rqc_delete(t, RQC_HTTP, id, 0);
    rqc_txn_key(t, "f", 1);
    is(rqc_commit(t, &again), RQC_OK, "the same again, though the row is gone");
    ok(again.replayed && again.deleted == 1 && sdb_same_result(&result, &again), "has its result");
    rqc_txn_free(t);
    rqc_close(db);
}

static void test_arguments(void)
{
    rqc_db *db = sdb_open();
    rqc_txn *t = sdb_txn(db);
    rqc_result result;
    char key[RQC_KEY_MAX + 1];
    memset(key, 0, sizeof key);
    is(rqc_txn_key(t, key, sizeof key), RQC_INVALID, "too long: %s", rqc_txn_error(t));
    is(rqc_txn_key(t, NULL, 1), RQC_INVALID, "no bytes");
    is(rqc_txn_key(t, key, RQC_KEY_MAX), RQC_OK, "the longest, of zeros");
    is(rqc_commit(t, &result), RQC_OK, "without any write");
    is(result.replayed, 0, "for the first time");
    rqc_txn_key(t, key, RQC_KEY_MAX);
    is(rqc_commit(t, &result), RQC_OK, "and again");
    is(result.replayed, 1, "known");
    rqc_txn_key(t, key, RQC_KEY_MAX - 1);
    is(rqc_commit(t, &result), RQC_OK, "one byte less");
    is(result.replayed, 0, "is another key");
    // A failure leaves no key.
    uint8_t id[16];
    rqc_value row[RQC_HTTP_HEADER_NFIELDS] = {{0}};
    sdb_id(id, 4, 1);
    row[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(id);
    row[RQC_HTTP_HEADER_HEADER_KEY] = row[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_text("");
    rqc_put(t, RQC_HTTP_HEADER, id, row);
    rqc_txn_key(t, "g", 1);
    is(rqc_commit(t, NULL), RQC_CONSTRAINT, "a header without a request is refused");
    rqc_txn_free(t);
    t = sdb_txn(db);
    sdb_put_keyed(t, 1, "first", "g");
    is(rqc_commit(t, &result), RQC_OK, "its key is free");
    is(result.replayed, 0, "and used now");
    rqc_txn_free(t);
    rqc_close(db);
}

// ---- Neighbours in a group ----

typedef struct worker {
    pthread_t thread;
    rqc_db *db;
    unsigned number;
    uint64_t rounds;
    _Atomic uint64_t *done, *conflicts; // per round: how many were not replayed, how many refused
    rqc_result *results;                // per round
    uint64_t faults;
} worker;

enum { WORKERS = 6 };

// Even workers ask the same, number 1 asks otherwise under the same key, others have no key.
static void *work(void *arg)
{
    worker *w = arg;
    rqc_txn *t = sdb_txn(w->db);
    for (uint64_t i = 0; i < w->rounds; i++) {
        char key[32];
        snprintf(key, sizeof key, "round %" PRIu64, i);
        if (w->number % 2 == 0)
            sdb_put_keyed(t, 100, "even", key);
        else if (w->number == 1)
            sdb_put_keyed(t, 100, "odd", key);
        else
            sdb_put_keyed(t, 100 + w->number, "free", "");
        rqc_result result = {.replayed = 0};
        const rqc_err rc = rqc_commit(t, &result);
        if (rc == RQC_CONFLICT && w->number < 5 && w->number != 3) {
            atomic_fetch_add(&w->conflicts[i], 1);
            rqc_txn_free(t);
            t = sdb_txn(w->db);
        } else if (rc != RQC_OK) {
            w->faults++;
        } else if (w->number % 2 == 0 || w->number == 1) {
            atomic_fetch_add(&w->done[i], !result.replayed);
            w->results[i] = result;
        }
    }
    rqc_txn_free(t);
    return NULL;
}

static void test_neighbours(void)
{
    rqc_db *db = sdb_open();
    const uint64_t rounds = tap_scaled(200);
    static worker w[WORKERS];
    _Atomic uint64_t *done = calloc(rounds, sizeof *done),
                     *conflicts = calloc(rounds, sizeof *conflicts);
    for (unsigned i = 0; i < WORKERS; i++) {
        w[i] = (worker){.db = db,
                        .number = i,
                        .rounds = rounds,
                        .done = done,
                        .conflicts = conflicts,
                        .results = calloc(rounds, sizeof(rqc_result))};
        pthread_create(&w[i].thread, NULL, work, &w[i]);
    }
    uint64_t faults = 0, once = 0, equal = 0, sides = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        pthread_join(w[i].thread, NULL);
        faults += w[i].faults;
    }
    for (uint64_t i = 0; i < rounds; i++) {
        once += atomic_load(&done[i]) == 1;
        // Either number 1 came first and all others conflict, or it alone does.
        const uint64_t refused = atomic_load(&conflicts[i]);
        sides += refused == 1 || refused == 3;
        equal += refused == 3 || (sdb_same_result(&w[0].results[i], &w[2].results[i]) &&
                                  sdb_same_result(&w[0].results[i], &w[4].results[i]));
    }
    is(faults, 0, "neighbours without a key are not touched");
    is(once, rounds, "of those that ask the same at the same time one writes");
    is(sides, rounds, "who asks otherwise under the key is refused");
    is(equal, rounds, "and all others have its result");
    for (unsigned i = 0; i < WORKERS; i++)
        free(w[i].results);
    free(done);
    free(conflicts);
    rqc_close(db);
}

// ---- Retention ----

static void test_retention(void)
{
    rqc_db *db = sdb_open();
    sqlite3 *s = sdb_foreign(sdb_path);
    rqc_txn *t = sdb_txn(db);
    rqc_result result;
    sdb_put_keyed(t, 1, "first", "young");
    is(rqc_commit(t, NULL), RQC_OK, "a key");
    sdb_exec(s, "UPDATE reqcast_keys SET at = unixepoch() - 86300");
    sdb_exec(s,
             "UPDATE reqcast_keys SET at = unixepoch() - 86500 WHERE key <> CAST('young' AS BLOB)");
    int64_t n = 0;
    for (int i = 0; i < 1000 && n != 1; i++) {
        sdb_pause_ms(20);
        n = sdb_number(s, "SELECT count(*) FROM reqcast_keys");
    }
    is(n, 1, "old keys are forgotten by themselves");
    sdb_put_keyed(t, 1, "first", "young");
    is(rqc_commit(t, &result), RQC_OK, "a younger one");
    is(result.replayed, 1, "is not");
    sdb_put_keyed(t, 1, "first", "a");
    is(rqc_commit(t, &result), RQC_OK, "an old one");
    is(result.replayed, 0, "is new again");
    sdb_exec(s, "UPDATE reqcast_keys SET at = unixepoch() + 200000");
    for (int i = 0; i < 1000 && n != 0; i++) {
        sdb_pause_ms(20);
        n = sdb_number(s, "SELECT count(*) FROM reqcast_keys");
    }
    is(n, 0, "keys from a clock that was wrong are forgotten");
    sdb_exec(s, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 104500)"
                " INSERT INTO reqcast_keys (at, key, request, reply)"
                " SELECT unixepoch(), CAST('k' || i AS BLOB), zeroblob(16), zeroblob(52) FROM c");
    n = 0;
    for (int i = 0; i < 1000 && n != RQC_KEYS_MAX; i++) {
        sdb_pause_ms(20);
        n = sdb_number(s, "SELECT count(*) FROM reqcast_keys");
    }
    is(n, RQC_KEYS_MAX, "too many keys: the newest are kept");
    is(sdb_number(s, "SELECT count(*) FROM reqcast_keys WHERE key = CAST('k4501' AS BLOB)"), 1,
       "all of them");
    sdb_exec(s, "UPDATE reqcast_keys SET reply = x'00' WHERE key = CAST('k104500' AS BLOB)");
    rqc_txn_key(t, "k104500", 7);
    is(rqc_commit(t, NULL), RQC_CORRUPT, "a reply that cannot be: %s", rqc_txn_error(t));
    sdb_exec(s, "DROP TABLE reqcast_keys");
    sdb_put_keyed(t, 1, "first", "young");
    is(rqc_commit(t, &result), RQC_OK, "the table is made again where it was dropped");
    is(result.replayed, 0, "and knows nothing");
    rqc_txn_free(t);
    sqlite3_close(s);
    rqc_close(db);
}

static void test_not_ours(void)
{
    char other[160];
    rqc_options o = sdb_options();
    rqc_error e;
    rqc_db *db = NULL;
    sqlite3 *s = NULL;
    snprintf(other, sizeof other, "%s/other.db", sdb_folder);
    if (sqlite3_open(other, &s) != SQLITE_OK)
        bail("sqlite3_open");
    sdb_exec(s, "CREATE TABLE reqcast_keys (key TEXT)");
    is(rqc_open(other, &o, &db, &e), RQC_INVALID, "a table that only has the name: %s", e.text);
    is(sdb_number(s, "SELECT count(*) FROM sqlite_master"), 1, "nothing was added");
    sqlite3_close(s);
}

// ---- Crashes ----

// o opens, k commits with a key, K does so while the view is kept from following, so that the
// answer never comes.
static char command(char c)
{
    static rqc_db *db;
    if (c == 'o') {
        const rqc_options o = sdb_options();
        return (char)rqc_open(sdb_path, &o, &db, NULL);
    }
    rqc_txn *t = sdb_txn(db);
    sdb_put_keyed(t, 500, "crash", "crash");
    if (c == 'K')
        pthread_mutex_lock(&db->apply);
    return (char)rqc_commit(t, NULL);
}

static void test_crash(sdb_other *p, bool durable)
{
    static const char there[] =
        "SELECT count(*) FROM http WHERE hex(id) = '010900000000000000000000000001F4'";
    rqc_result result;
    sqlite3 *s = sdb_foreign(sdb_path);
    is(sdb_ask(p, 'o'), RQC_OK, "an owner in another process");
    if (!durable)
        sdb_exec(s, "BEGIN IMMEDIATE");
    sdb_tell(p, durable ? 'K' : 'k');
    for (int i = 0; i < 1000 && durable && sdb_number(s, there) == 0; i++)
        sdb_pause_ms(10);
    if (!durable)
        sdb_pause_ms(100);
    is(sdb_number(s, there), durable, durable ? "its commit is durable" : "its commit is stuck");
    sdb_other_stop(p, SIGKILL);
    if (!durable)
        sdb_exec(s, "ROLLBACK");
    rqc_db *db = sdb_open();
    rqc_txn *t = sdb_txn(db);
    const uint64_t head = rqc_position_now(db).seq;
    sdb_put_keyed(t, 500, "crash", "crash");
    is(rqc_commit(t, &result), RQC_OK, "killed before it could answer: asked again");
    is(result.replayed, durable, durable ? "the answer was kept" : "it is done now");
    is(result.written, 2, "two rows");
    ok(durable ? result.position.seq == head && rqc_position_now(db).seq == head
               : result.position.seq > head,
       "the position is that of the commit");
    ok(sdb_name_is(db, 500, "crash"), "the request is there");
    uint8_t id[16];
    sdb_id(id, 9, 500);
    rqc_delete(t, RQC_HTTP, id, 0);
    is(rqc_commit(t, NULL), RQC_OK, "cleared");
    rqc_txn_free(t);
    sdb_exec(s, "DELETE FROM reqcast_keys");
    sqlite3_close(s);
    rqc_close(db);
}

int main(void)
{
    sdb_begin("keys");
    sdb_other first = sdb_other_start(command), second = sdb_other_start(command);
    test_replay();
    test_conflict();
    test_arguments();
    test_neighbours();
    test_retention();
    test_not_ours();
    test_crash(&first, false);
    test_crash(&second, true);
    sdb_end();
    return tap_done();
}

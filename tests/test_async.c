// SPDX-License-Identifier: Apache-2.0
// Commits that nobody waits for: completions by callback and from the queue, ownership, order, and
// what closing does.
#include "api/engine.h"
#include "tests/store_db.h"

static rqc_txn *one(rqc_db *db, uint64_t n)
{
    uint8_t id[16];
    sdb_id(id, 9, n);
    rqc_txn *t = sdb_txn(db);
    if (sdb_put_workspace(t) != RQC_OK || sdb_put_http(t, id, "async", (int64_t)n) != RQC_OK)
        bail("%s", rqc_txn_error(t));
    return t;
}

// The database refuses it.
static rqc_txn *orphan(rqc_db *db)
{
    uint8_t id[16];
    rqc_value row[RQC_HTTP_HEADER_NFIELDS] = {{0}};
    sdb_id(id, 4, 1);
    row[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(id);
    row[RQC_HTTP_HEADER_HEADER_KEY] = row[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_text("");
    rqc_txn *t = sdb_txn(db);
    if (rqc_put(t, RQC_HTTP_HEADER, id, row) != RQC_OK)
        bail("%s", rqc_txn_error(t));
    return t;
}

// ---- Callbacks ----

typedef struct seen {
    _Atomic uint64_t calls, failures, faults;
    uint64_t seq; // the callback's own
    rqc_db *db;
    uint64_t again; // how often a callback submits its transaction anew
} seen;

static void note(const rqc_completion *c)
{
    seen *s = c->ctx;
    if (c->code != RQC_OK) {
        if (*rqc_txn_error(c->txn) == 0)
            atomic_fetch_add(&s->faults, 1);
        atomic_fetch_add(&s->failures, 1);
    } else if (c->result.position.seq <= s->seq || !c->result.visible ||
               rqc_position_now(s->db).seq < c->result.position.seq) {
        atomic_fetch_add(&s->faults, 1);
    } else {
        s->seq = c->result.position.seq;
    }
    rqc_txn_free(c->txn);
    atomic_fetch_add(&s->calls, 1);
}

static void again(const rqc_completion *c)
{
    seen *s = c->ctx;
    uint8_t id[16];
    sdb_id(id, 9, 1);
    if (s->again == 0) {
        rqc_txn_free(c->txn);
    } else {
        s->again--;
        if (sdb_put_http(c->txn, id, "again", (int64_t)s->again) != RQC_OK ||
            rqc_commit_async(c->txn, again, s) != RQC_OK)
            atomic_fetch_add(&s->faults, 1);
    }
    atomic_fetch_add(&s->calls, 1);
}

static void test_callbacks(void)
{
    rqc_db *db = sdb_open();
    seen s = {.db = db};
    const uint64_t n = tap_scaled(500);
    rqc_err rc = RQC_OK;
    for (uint64_t i = 0; i < n && rc == RQC_OK; i++)
        rc = rqc_commit_async(i % 10 == 3 ? orphan(db) : one(db, i), note, &s);
    is(rc, RQC_OK, "%" PRIu64 " transactions are submitted", n);
    ok(sdb_wait_for(&s.calls, n), "each is completed once");
    is(atomic_load(&s.failures), n / 10 + (n % 10 > 3), "those that fail do so alone");
    is(atomic_load(&s.faults), 0, "the others can be seen, in the order of the calls");
    seen more = {.db = db, .again = 20};
    is(rqc_commit_async(one(db, 1), again, &more), RQC_OK, "one that is submitted again");
    ok(sdb_wait_for(&more.calls, 21), "by its own callback");
    is(atomic_load(&more.faults), 0, "is taken");
    rqc_close(db);
}

// ---- The queue ----

static void test_refused(rqc_txn *t)
{
    uint8_t id[16];
    sdb_id(id, 9, 1);
    is(sdb_put_http(t, id, "late", 1), RQC_INVALID, "in flight it takes no writes");
    is(rqc_txn_key(t, "a", 1), RQC_INVALID, "no key");
    is(rqc_commit(t, NULL), RQC_INVALID, "no commit");
    is(rqc_commit_async(t, NULL, NULL), RQC_INVALID, "and none of this kind");
}

static void test_queue(void)
{
    rqc_db *db = sdb_open();
    rqc_completion c = {.code = RQC_INTERNAL};
    uint8_t id[16];
    sdb_id(id, 9, 1);
    is(rqc_completions_next(db, &c), RQC_NOT_FOUND, "nothing is completed yet");
    is(c.code, RQC_INTERNAL, "results are untouched");
    pthread_mutex_lock(&db->apply); // in flight until the view may follow
    rqc_txn *t = one(db, 1), *gone = one(db, 2);
    is(rqc_commit_async(t, NULL, &c), RQC_OK, "submitted for the queue");
    test_refused(t);
    is(rqc_commit_async(gone, NULL, NULL), RQC_OK, "another, which is let go");
    rqc_txn_free(gone);
    int fd = -1;
    is(rqc_completions_fd(db, &fd, NULL), RQC_OK, "the descriptor");
    struct pollfd p = {.fd = fd, .events = POLLIN};
    is(poll(&p, 1, 100), 0, "is quiet while they are in flight");
    pthread_mutex_unlock(&db->apply);
    is(poll(&p, 1, 30000), 1, "readable when one is completed");
    is(rqc_completions_next(db, &c), RQC_OK, "it is fetched");
    ok(c.txn == t && c.ctx == &c && c.code == RQC_OK, "with what belongs to it");
    is(c.result.written, 2, "and its result");
    is(sdb_put_http(t, id, "mine", 1), RQC_OK, "now it is the caller's again");
    is(rqc_commit(t, NULL), RQC_OK, "and can be committed");
    is(rqc_completions_next(db, &c), RQC_NOT_FOUND, "what was let go has no completion");
    is(poll(&p, 1, 0), 0, "the descriptor is quiet");
    rqc_read *r = sdb_read(db);
    const rqc_record *rec;
    sdb_id(id, 9, 2);
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "but it is stored");
    rqc_read_free(r);
    rqc_txn_free(t);
    t = orphan(db);
    is(rqc_commit_async(t, NULL, NULL), RQC_OK, "one that will fail");
    is(poll(&p, 1, 30000), 1, "is told too");
    is(rqc_completions_next(db, &c), RQC_OK, "fetched");
    is(c.code, RQC_CONSTRAINT, "with its error: %s", rqc_txn_error(t));
    is(rqc_commit(t, NULL), RQC_CONSTRAINT, "it has kept its writes");
    rqc_txn_free(t);
    rqc_db *attached = sdb_attach();
    is(rqc_completions_fd(attached, &fd, NULL), RQC_OK, "attached there is a descriptor, too");
    rqc_close(attached);
    rqc_close(db);
}

static void test_many(void)
{
    rqc_db *db = sdb_open();
    rqc_txn **all = calloc(RQC_IN_FLIGHT_MAX + 1, sizeof *all);
    rqc_completion c;
    uint32_t n = 0;
    pthread_mutex_lock(&db->apply);
    rqc_err rc = RQC_OK;
    for (; n <= RQC_IN_FLIGHT_MAX; n++) {
        all[n] = sdb_txn(db);
        rc = rqc_commit_async(all[n], NULL, NULL);
        if (rc != RQC_OK)
            break;
    }
    is(rc, RQC_BUSY, "too many in flight: %s", rqc_txn_error(all[n]));
    is(n, RQC_IN_FLIGHT_MAX, "the limit is exact");
    pthread_mutex_unlock(&db->apply);
    rqc_txn_free(all[n]);
    uint32_t in_order = 0;
    for (uint32_t got = 0; got < n;) {
        if (rqc_completions_next(db, &c) != RQC_OK) {
            sdb_pause_ms(1);
            continue;
        }
        in_order += c.txn == all[got++] && c.code == RQC_OK;
        rqc_txn_free(c.txn);
    }
    is(in_order, n, "all are completed in order");
    is(rqc_completions_next(db, &c), RQC_NOT_FOUND, "and then no more");
    free(all);
    rqc_close(db);
}

// A transaction that is let go leaves nothing behind, whoever fetches completions or does not.
static void test_let_go(void)
{
    rqc_db *db = sdb_open();
    rqc_txn *a = one(db, 1), *b = one(db, 2), *last = one(db, 3);
    rqc_completion c;
    int fd = -1;
    if (rqc_completions_fd(db, &fd, NULL) != RQC_OK || rqc_commit_async(a, NULL, NULL) != RQC_OK ||
        rqc_commit_async(b, NULL, NULL) != RQC_OK || rqc_commit(last, NULL) != RQC_OK)
        bail("async");
    struct pollfd p = {.fd = fd, .events = POLLIN};
    rqc_txn_free(a);
    is(poll(&p, 1, 0), 1, "one of two that are completed is let go: the other is there");
    ok(rqc_completions_next(db, &c) == RQC_OK && c.txn == b, "it is fetched");
    is(poll(&p, 1, 0), 0, "then the descriptor is quiet");
    if (rqc_commit_async(b, NULL, NULL) != RQC_OK || rqc_commit(last, NULL) != RQC_OK)
        bail("async");
    rqc_txn_free(b);
    is(poll(&p, 1, 0), 0, "so it is when the only one is let go");
    uint32_t busy = 0;
    for (uint32_t i = 0; i < RQC_IN_FLIGHT_MAX + 100 && busy < 5000; i++) {
        rqc_txn *t = sdb_txn(db);
        while (rqc_commit_async(t, NULL, NULL) == RQC_BUSY && busy++ < 5000)
            sdb_pause_ms(1);
        rqc_txn_free(t);
    }
    ok(busy < 5000, "any number is let go");
    is(rqc_commit(last, NULL), RQC_OK, "a commit behind them");
    is(atomic_load(&db->completions.in_flight), 0, "none is in flight");
    is(poll(&p, 1, 0), 0, "and none is told");
    rqc_txn_free(last);
    rqc_close(db);
}

// ---- Closing ----

static void test_close(void)
{
    rqc_db *db = sdb_open();
    seen s = {.db = db};
    for (uint64_t i = 0; i < 50; i++) {
        if (rqc_commit_async(one(db, 1000 + i), i % 2 ? note : NULL, &s) != RQC_OK)
            bail("async");
    }
    rqc_close(db);
    is(atomic_load(&s.calls), 25, "closing waits for callbacks");
    is(atomic_load(&s.faults), 0, "which see what they should");
    db = sdb_open();
    rqc_read *r = sdb_read(db);
    const rqc_record *rec;
    uint64_t there = 0;
    uint8_t id[16];
    for (uint64_t i = 0; i < 50; i++) {
        sdb_id(id, 9, 1000 + i);
        there += rqc_get(r, RQC_HTTP, id, &rec) == RQC_OK;
    }
    is(there, 50, "and everything is stored");
    rqc_read_free(r);
    rqc_close(db);
}

// ---- Threads ----

typedef struct crowd {
    rqc_db *db;
    uint64_t rounds;
    _Atomic uint64_t submitted, fetched, faults;
    _Atomic uint64_t next;
    _Atomic bool stop;
} crowd;

static void nothing(const rqc_completion *c)
{
    (void)c;
}

// Every fifth is let go at once, whether it is in flight, being completed or done.
static void *submit_thread(void *arg)
{
    crowd *c = arg;
    for (uint64_t i = 0; i < c->rounds; i++) {
        const bool let_go = i % 5 == 0;
        rqc_txn *t = one(c->db, atomic_fetch_add(&c->next, 1));
        if (rqc_commit_async(t, let_go ? nothing : NULL, NULL) != RQC_OK)
            atomic_fetch_add(&c->faults, 1);
        if (let_go)
            rqc_txn_free(t);
        else
            atomic_fetch_add(&c->submitted, 1);
    }
    return NULL;
}

static void *fetch_thread(void *arg)
{
    crowd *c = arg;
    int fd = -1;
    if (rqc_completions_fd(c->db, &fd, NULL) != RQC_OK)
        bail("no descriptor");
    struct pollfd p = {.fd = fd, .events = POLLIN};
    rqc_completion done;
    while (!atomic_load(&c->stop)) {
        (void)poll(&p, 1, 20);
        while (rqc_completions_next(c->db, &done) == RQC_OK) {
            if (done.code != RQC_OK || done.result.written != 2)
                atomic_fetch_add(&c->faults, 1);
            rqc_txn_free(done.txn);
            atomic_fetch_add(&c->fetched, 1);
        }
    }
    return NULL;
}

static void test_threads(void)
{
    crowd c = {.db = sdb_open(), .rounds = tap_scaled(500), .next = 2000};
    pthread_t submit[3], fetch[2];
    for (size_t i = 0; i < 2; i++)
        pthread_create(&fetch[i], NULL, fetch_thread, &c);
    for (size_t i = 0; i < 3; i++)
        pthread_create(&submit[i], NULL, submit_thread, &c);
    for (size_t i = 0; i < 3; i++)
        pthread_join(submit[i], NULL);
    ok(sdb_wait_for(&c.fetched, atomic_load(&c.submitted)), "what three threads submit two fetch");
    atomic_store(&c.stop, true);
    for (size_t i = 0; i < 2; i++)
        pthread_join(fetch[i], NULL);
    is(atomic_load(&c.faults), 0, "without a fault");
    rqc_txn *t = sdb_txn(c.db);
    is(rqc_commit(t, NULL), RQC_OK, "one more comes after all of them");
    rqc_txn_free(t);
    is(atomic_load(&c.db->completions.in_flight), 0, "nothing stays in flight");
    rqc_read *r = sdb_read(c.db);
    uint64_t n = 0;
    is(rqc_count(r, sdb_workspace, RQC_ANY_TIME, &n), RQC_OK, "count");
    ok(n >= 3 * c.rounds, "all are stored, those that were let go too");
    rqc_read_free(r);
    rqc_close(c.db);
}

int main(void)
{
    sdb_begin("async");
    test_callbacks();
    test_queue();
    test_many();
    test_let_go();
    test_close();
    test_threads();
    sdb_end();
    return tap_done();
}

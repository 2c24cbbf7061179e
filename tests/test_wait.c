// SPDX-License-Identifier: Apache-2.0
// Positions without sessions: looked at, waited for, watched; in one process and across two.
#include "api/engine.h"
#include "cache/internal.h"
#include "tests/store_db.h"

#define LONG_MS 30000u // nobody waits so long unless something is wrong

static bool same(const rqc_position *a, const rqc_position *b)
{
    return a->seq == b->seq && a->term == b->term && memcmp(a->store_id, b->store_id, 16) == 0;
}

// ---- The other process: o opens as the owner, O with its view elsewhere, w writes, c closes;
// a attaches, n waits for the next change, p polls for it, s sleeps until it is woken, d lets go
// ----

static char command(char c)
{
    static rqc_db *db, *attached;
    static rqc_watch *w;
    static uint64_t n;
    rqc_options o = sdb_options();
    rqc_position p;
    switch (c) {
    case 'O': o.view_dir = sdb_other_views; return (char)rqc_open(sdb_path, &o, &db, NULL);
    case 'o': return (char)rqc_open(sdb_path, &o, &db, NULL);
    case 'w': return (char)sdb_commit_one(db, ((uint64_t)getpid() << 20) + n++, NULL);
    case 'c': rqc_close(db); return RQC_OK;
    case 'a': attached = sdb_attach(); return (char)rqc_watch_new(attached, &w, NULL);
    case 'n':
        p = rqc_position_now(attached);
        p.seq++;
        return (char)rqc_wait(attached, &p, LONG_MS, NULL, NULL);
    case 'p': {
        struct pollfd poll_fd = {.fd = rqc_watch_fd(w), .events = POLLIN};
        return poll(&poll_fd, 1, (int)LONG_MS) == 1 && rqc_watch_clear(w).seq > 0 ? RQC_OK
                                                                                  : RQC_TIMEOUT;
    }
    case 's': {
        // Without the look that everybody takes once a second: who is not woken sleeps too long.
        const rqci_control *page = atomic_load(&atomic_load(&attached->shown)->control);
        const uint32_t turn = atomic_load(&page->turn);
        alarm(50);
        while (atomic_load(&page->turn) == turn)
            rqci_control_sleep(page, turn, 600000);
        alarm(0);
        return RQC_OK;
    }
    default:
        rqc_watch_free(w);
        rqc_close(attached);
        return RQC_OK;
    }
}

// ---- Tests ----

static void test_now(void)
{
    rqc_db *db = sdb_open();
    rqc_result result;
    rqc_position now = rqc_position_now(db);
    ok(now.term == 1 && now.seq > 0, "a new database has a position");
    is(sdb_commit_one(db, 1, &result), RQC_OK, "a commit");
    now = rqc_position_now(db);
    ok(same(&now, &result.position), "moves it to where it says");
    rqc_read *r = sdb_read(db);
    rqc_position pinned = rqc_read_position(r);
    ok(same(&now, &pinned), "a session sees the same");
    rqc_db *attached = sdb_attach();
    pinned = rqc_position_now(attached);
    ok(same(&now, &pinned), "and so does an attached handle");
    is(sdb_commit_one(db, 2, &result), RQC_OK, "another commit");
    pinned = rqc_position_now(attached);
    ok(same(&pinned, &result.position), "is seen there at once");
    ok(rqc_read_position(r).seq < pinned.seq, "while the session keeps its own");
    rqc_read_free(r);
    rqc_close(attached);
    rqc_close(db);
}

static void test_answers(void)
{
    rqc_db *db = sdb_open(), *attached = sdb_attach();
    rqc_error e;
    const rqc_position now = rqc_position_now(db);
    rqc_position want = now, got = {.seq = 77};
    is(rqc_wait(db, &want, 0, &got, &e), RQC_OK, "what is shown needs no wait");
    ok(same(&got, &now), "and is told");
    want.seq = 1;
    is(rqc_wait(db, &want, 0, NULL, NULL), RQC_OK, "nor does an older position");
    got.seq = 77;
    want.seq = now.seq + 1;
    is(rqc_wait(db, &want, 0, &got, &e), RQC_FUTURE, "the next one is not there: %s", e.text);
    is(rqc_wait(db, &want, 10, &got, &e), RQC_FUTURE, "not after a while either");
    is(rqc_wait(attached, &want, 10, &got, &e), RQC_TIMEOUT, "attached it is only late: %s",
       e.text);
    is(got.seq, 77, "results are untouched");
    want = now;
    want.term++;
    is(rqc_wait(db, &want, 0, NULL, &e), RQC_FUTURE, "a term that has not begun: %s", e.text);
    want = now;
    want.store_id[3] ^= 1;
    is(rqc_wait(db, &want, LONG_MS, NULL, &e), RQC_EPOCH_CHANGED, "another store: %s", e.text);
    is(rqc_wait(attached, &want, LONG_MS, NULL, &e), RQC_EPOCH_CHANGED, "attached too");
    want.term = 0;
    is(rqc_wait(db, &want, 0, NULL, NULL), RQC_OK, "with term 0 the seq alone counts");
    is(rqc_wait(db, NULL, 0, NULL, NULL), RQC_INVALID, "no position");
    is(rqc_wait(db, &now, RQC_WAIT_MS_MAX + 1, NULL, NULL), RQC_INVALID, "too long");
    is(rqc_wait(db, &now, RQC_WAIT_MS_MAX, NULL, NULL), RQC_OK, "the longest");
    rqc_close(attached);
    rqc_close(db);
    // Without its state file the database begins a new term.
    char state[200];
    snprintf(state, sizeof state, "%s.rqc-state", sdb_path);
    unlink(state);
    db = sdb_open();
    is(rqc_position_now(db).term, 2, "a new term");
    is(rqc_wait(db, &now, LONG_MS, NULL, &e), RQC_EPOCH_CHANGED,
       "makes positions of the old one void: %s", e.text);
    rqc_close(db);
}

// Durable and not shown: the view is kept from following.
static void *commit_blocked(void *arg)
{
    rqc_result result = {.visible = 0};
    const rqc_err rc = sdb_commit_one(arg, 3, &result);
    return rc == RQC_OK && result.visible ? arg : NULL;
}

static void test_lag(void)
{
    rqc_db *db = sdb_open();
    rqc_position next = rqc_position_now(db);
    pthread_t thread;
    void *done = NULL;
    rqc_err rc = RQC_FUTURE;
    next.seq++;
    pthread_mutex_lock(&db->apply);
    pthread_create(&thread, NULL, commit_blocked, db);
    for (int i = 0; i < 1000 && rc == RQC_FUTURE; i++)
        rc = rqc_wait(db, &next, 10, NULL, NULL);
    is(rc, RQC_TIMEOUT, "what is durable and not shown yet is late, not of the future");
    pthread_mutex_unlock(&db->apply);
    is(rqc_wait(db, &next, LONG_MS, NULL, NULL), RQC_OK, "and comes");
    pthread_join(thread, &done);
    ok(done != NULL, "with its commit");
    rqc_close(db);
}

// Waits in another process while this one writes, and the other way round.
static void test_processes(sdb_other *p)
{
    rqc_db *db = sdb_open();
    is(sdb_ask(p, 'a'), RQC_OK, "another process attaches");
    const char how[] = {'n', 'p', 's', 'n', 'p', 's'};
    for (size_t i = 0; i < sizeof how; i++) {
        sdb_tell(p, how[i]);
        sdb_pause_ms(20);
        is(sdb_commit_one(db, 10 + i, NULL), RQC_OK, "a commit here");
        is(sdb_answer(p), RQC_OK, "ends its %s",
           how[i] == 'n'   ? "wait"
           : how[i] == 'p' ? "poll"
                           : "sleep");
    }
    is(sdb_ask(p, 'd'), RQC_OK, "it lets go");
    rqc_close(db);
    is(sdb_ask(p, 'o'), RQC_OK, "now it owns the database");
    rqc_db *attached = sdb_attach();
    rqc_position next = rqc_position_now(attached), got;
    next.seq++;
    sdb_tell(p, 'w');
    is(rqc_wait(attached, &next, LONG_MS, &got, NULL), RQC_OK, "its commit ends a wait here");
    is(sdb_answer(p), RQC_OK, "committed");
    ok(got.seq >= next.seq, "at the position or behind it");
    rqc_read *r = sdb_read(attached);
    ok(rqc_read_position(r).seq >= next.seq, "a session sees at least that");
    rqc_read_free(r);
    rqc_close(attached);
    is(sdb_ask(p, 'c'), RQC_OK, "it closes");
}

// The owner dies, another one comes with the view elsewhere; the attached handle stays.
static void test_owner_dies(sdb_other *first, sdb_other *second)
{
    is(sdb_ask(first, 'o'), RQC_OK, "an owner");
    rqc_db *attached = sdb_attach();
    rqc_watch *w = NULL;
    is(rqc_watch_new(attached, &w, NULL), RQC_OK, "watched");
    struct pollfd p = {.fd = rqc_watch_fd(w), .events = POLLIN};
    is(sdb_ask(first, 'w'), RQC_OK, "it writes");
    is(poll(&p, 1, (int)LONG_MS), 1, "which is told");
    rqc_position next = rqc_watch_clear(w);
    sdb_other_stop(first, SIGKILL);
    is(sdb_ask(second, 'O'), RQC_OK, "it is killed, and the next owner has its view elsewhere");
    next.seq++;
    sdb_tell(second, 'w');
    is(rqc_wait(attached, &next, LONG_MS, NULL, NULL), RQC_OK, "a wait finds the new view");
    is(sdb_answer(second), RQC_OK, "committed");
    is(poll(&p, 1, (int)LONG_MS), 1, "and so does the watch");
    ok(rqc_watch_clear(w).seq >= next.seq, "with the position");
    rqc_watch_free(w);
    rqc_close(attached);
    is(sdb_ask(second, 'c'), RQC_OK, "closed");
}

static void test_watch(void)
{
    rqc_db *db = sdb_open();
    rqc_watch *a = NULL, *b = NULL, *many[RQC_WATCH_MAX];
    rqc_error e;
    is(rqc_watch_new(db, &a, NULL), RQC_OK, "a watch");
    is(rqc_watch_new(db, &b, NULL), RQC_OK, "and another");
    struct pollfd p[2] = {{.fd = rqc_watch_fd(a), .events = POLLIN},
                          {.fd = rqc_watch_fd(b), .events = POLLIN}};
    rqc_result result;
    bool told = true, right = true;
    for (uint64_t i = 0; i < 50; i++) {
        const rqc_err rc = sdb_commit_one(db, 100 + i, &result);
        told = told && rc == RQC_OK && poll(p, 1, (int)LONG_MS) == 1 &&
               poll(p + 1, 1, (int)LONG_MS) == 1;
        right = right && rqc_watch_clear(a).seq == result.position.seq &&
                rqc_watch_clear(b).seq == result.position.seq;
    }
    ok(told, "each of 50 commits makes both readable");
    ok(right, "with its position");
    is(poll(p, 2, 300), 0, "and nothing else does");
    size_t n = 0;
    while (n < RQC_WATCH_MAX - 2 && rqc_watch_new(db, &many[n], &e) == RQC_OK)
        n++;
    rqc_watch *more = NULL;
    if (n == RQC_WATCH_MAX - 2)
        is(rqc_watch_new(db, &more, &e), RQC_TOO_LARGE, "more than can be: %s", e.text);
    else
        is(e.code, RQC_NO_MEMORY, "no more descriptors after %zu: %s", n, e.text);
    while (n > 0)
        rqc_watch_free(many[--n]);
    rqc_watch_free(a);
    is(sdb_commit_one(db, 200, NULL), RQC_OK, "one is freed");
    is(poll(p + 1, 1, (int)LONG_MS), 1, "the other is told");
    rqc_watch_free(b);
    rqc_watch_free(NULL);
    rqc_close(db);
}

// ---- Threads ----

typedef struct crowd {
    rqc_db *db;
    uint64_t first, last;
    _Atomic uint64_t faults, waits;
} crowd;

static void *wait_thread(void *arg)
{
    crowd *c = arg;
    rqc_position p = {.seq = c->first};
    while (p.seq < c->last) {
        const uint64_t before = p.seq;
        p.term = 0;
        p.seq++;
        if (rqc_wait(c->db, &p, LONG_MS, &p, NULL) != RQC_OK || p.seq <= before) {
            atomic_fetch_add(&c->faults, 1);
            break;
        }
        atomic_fetch_add(&c->waits, 1);
    }
    return NULL;
}

static void *look_thread(void *arg)
{
    crowd *c = arg;
    uint64_t seq = 0;
    while (seq < c->last) {
        const rqc_position p = rqc_position_now(c->db);
        if (p.seq < seq || p.term == 0)
            atomic_fetch_add(&c->faults, 1);
        seq = p.seq;
    }
    return NULL;
}

static void *watch_thread(void *arg)
{
    crowd *c = arg;
    rqc_watch *w = NULL;
    if (rqc_watch_new(c->db, &w, NULL) != RQC_OK)
        bail("no watch");
    struct pollfd p = {.fd = rqc_watch_fd(w), .events = POLLIN};
    for (uint64_t seq = rqc_position_now(c->db).seq; seq < c->last;) {
        if (poll(&p, 1, (int)LONG_MS) != 1) {
            atomic_fetch_add(&c->faults, 1);
            break;
        }
        seq = rqc_watch_clear(w).seq;
    }
    rqc_watch_free(w);
    return NULL;
}

static void test_threads(void)
{
    rqc_db *db = sdb_open(), *attached = sdb_attach();
    const uint64_t rounds = tap_scaled(500);
    crowd own = {.db = db, .first = rqc_position_now(db).seq}, other = {.db = attached};
    own.last = own.first + rounds;
    other.first = own.first;
    other.last = own.last;
    void *(*const kinds[])(void *) = {wait_thread, look_thread, watch_thread};
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, kinds[i % 3], i < 4 ? &own : &other);
    rqc_txn *t = sdb_txn(db);
    uint8_t id[16];
    sdb_id(id, 9, 1);
    rqc_err rc = RQC_OK;
    for (uint64_t i = 0; i < rounds && rc == RQC_OK; i++) {
        sdb_put_http(t, id, "again", (int64_t)i);
        rc = rqc_commit(t, NULL);
    }
    is(rc, RQC_OK, "%" PRIu64 " commits while eight threads look, wait and watch", rounds);
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    is(atomic_load(&own.faults) + atomic_load(&other.faults), 0,
       "none waited in vain, and positions never went back");
    ok(atomic_load(&own.waits) > 0 && atomic_load(&other.waits) > 0, "waits ended");
    rqc_txn_free(t);
    rqc_close(attached);
    rqc_close(db);
}

int main(void)
{
    sdb_begin("wait");
    sdb_other first = sdb_other_start(command), second = sdb_other_start(command);
    test_now();
    test_answers();
    test_lag();
    test_processes(&first);
    test_owner_dies(&first, &second);
    test_watch();
    test_threads();
    sdb_other_stop(&second, SIGTERM);
    sdb_end();
    return tap_done();
}

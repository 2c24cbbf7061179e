// SPDX-License-Identifier: Apache-2.0
//
// Commits of an attached handle through the sidecar: idempotency keys, also when the sidecar is
// killed between its commit and its answer, or anywhere else; commits that nobody waits for.
#include "api/engine.h"

#include "tests/shim.h"
#include "tests/store_sidecar.h"

#include <sys/syscall.h>

static void restart(int signal)
{
    (void)sidecar_end(&sdb_sidecar, signal);
    sdb_sidecar_start();
}

static rqc_txn *named(rqc_db *db, uint64_t n, const char *name, const char *key)
{
    rqc_txn *t = sdb_txn(db);
    sdb_put_keyed(t, n, name, key);
    return t;
}

static rqc_err commit_named(rqc_db *db, uint64_t n, const char *name, const char *key,
                            rqc_result *ret_result)
{
    rqc_txn *t = named(db, n, name, key);
    const rqc_err rc = rqc_commit(t, ret_result);
    if (rc != RQC_OK)
        tap_note("%s", rqc_txn_error(t));
    rqc_txn_free(t);
    return rc;
}

// ---- The helper itself --------------------------------------------------------------------------

// A test that is killed takes its sidecar along.
static void test_mortal(void)
{
    int ends[2];
    pid_t grandchild = 0;
    if (pipe(ends) != 0)
        bail("pipe");
    const pid_t child = fork();
    if (child == 0) {
        sdb_sidecar_start();
        (void)!write(ends[1], &sdb_sidecar, sizeof sdb_sidecar);
        for (;;)
            pause();
    }
    if (read(ends[0], &grandchild, sizeof grandchild) != (ssize_t)sizeof grandchild)
        bail("no sidecar in a child");
    const int fd = (int)syscall(SYS_pidfd_open, grandchild, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ok(fd >= 0 && poll(&p, 1, 0) == 0, "a test that is killed has a sidecar");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    is(poll(&p, 1, 30000), 1, "which ends with it");
    close(fd);
    close(ends[0]);
    close(ends[1]);
}

// ---- Keys ---------------------------------------------------------------------------------------

static void test_keys(rqc_db *db)
{
    rqc_result first, again;
    is(commit_named(db, 1, "first", "a", &first), RQC_OK, "a commit with a key");
    ok(first.written == 2 && first.replayed == 0 && first.visible == 1, "writes");
    is(commit_named(db, 1, "second", "b", NULL), RQC_OK, "another key, another request");
    is(commit_named(db, 1, "first", "a", &again), RQC_OK, "the first again");
    ok(again.replayed == 1 && sdb_same_result(&first, &again), "has the answer of then");
    ok(sdb_name_is(db, 1, "second"), "and is not done again");
    is(commit_named(db, 1, "third", "a", &again), RQC_CONFLICT, "its key for another request");
    restart(SIGKILL);
    is(commit_named(db, 1, "first", "a", &again), RQC_OK, "again, of the next process");
    ok(again.replayed == 1 && sdb_same_result(&first, &again) && sdb_name_is(db, 1, "second"),
       "as before");
    rqc_txn *t = named(db, 2, "kept", "c");
    restart(SIGTERM);
    is(rqc_commit(t, &first), RQC_OK, "a key survives a commit that is late");
    is(rqc_commit(t, &again), RQC_OK, "and goes with it");
    ok(first.replayed == 0 && again.replayed == 0 && again.written == 0, "so that none is left");
    rqc_txn_free(t);
}

// ---- Killed between commit and answer -----------------------------------------------------------

// Stands where the note says the sidecar is. Armed, it kills the sidecar when the answer to a
// transaction comes, and does not pass it on.
typedef struct gate {
    int listener;
    pthread_t thread;
    _Atomic bool armed;
    _Atomic unsigned killed;
} gate;

static bool relay(int from, int to, uint8_t *body, size_t size, size_t *ret_n)
{
    uint8_t head[9];
    if (!shim_read(from, head, 9))
        return false;
    *ret_n = (size_t)rqci_get64be(head + 1);
    if (*ret_n > size || !shim_read(from, body, *ret_n))
        return false;
    return to < 0 || shim_message(to, body, *ret_n);
}

static void serve_peer(gate *g, int peer, int server)
{
    static uint8_t body[1 << 16];
    uint8_t head[8];
    rqci_message m;
    size_t n;
    if (!shim_read(peer, head, 8) || !shim_write(server, head, 8) || !shim_read(server, head, 8) ||
        !shim_write(peer, head, 8))
        return;
    while (relay(peer, server, body, sizeof body, &n)) {
        const bool writes =
            n > 4 && rqci_message_decode(body + 4, n - 4, RQCI_ASK_MAGIC, &m, NULL) == RQC_OK &&
            m.what == RQCI_ASK_WRITE;
        const bool kills = writes && atomic_load(&g->armed);
        if (!relay(server, kills ? -1 : peer, body, sizeof body, &n))
            return;
        if (!kills)
            continue;
        kill(sdb_sidecar, SIGKILL);
        atomic_store(&g->armed, false);
        atomic_fetch_add(&g->killed, 1);
        return;
    }
}

static void *keep_gate(void *arg)
{
    gate *g = arg;
    for (int peer; (peer = accept(g->listener, NULL, NULL)) >= 0; close(peer)) {
        const int server = shim_connect(sdb_ask_path);
        if (server < 0)
            continue;
        serve_peer(g, peer, server);
        close(server);
    }
    return NULL;
}

static void test_gate(rqc_db *db)
{
    char path[108], where[128];
    gate g = {.killed = 0};
    rqc_result result, again;
    snprintf(path, sizeof path, "%s/gate", sdb_folder);
    snprintf(where, sizeof where, "ipc://%s", path);
    g.listener = shim_listen(path);
    if (pthread_create(&g.thread, NULL, keep_gate, &g) != 0)
        bail("no thread");
    for (unsigned i = 0; i < 3; i++) {
        char key[16];
        snprintf(key, sizeof key, "gate %u", i);
        if (rqci_sidecar_note_write(sdb_path, where, NULL) != RQC_OK)
            bail("no note");
        rqc_txn *t = named(db, 100 + i, "first", key);
        atomic_store(&g.armed, true);
        const rqc_err rc = rqc_commit(t, &result);
        is(rc, RQC_UNAVAILABLE, "killed between commit and answer: %s", rqc_txn_error(t));
        is(atomic_load(&g.killed), i + 1, "the answer was on its way");
        waitpid(sdb_sidecar, NULL, 0);
        sdb_sidecar_start();
        is(commit_named(db, 100 + i, "second", "", NULL), RQC_OK, "somebody else comes first");
        is(rqc_commit(t, &result), RQC_OK, "tried again: %s", rqc_txn_error(t));
        ok(result.replayed == 1 && result.written >= 1, "it is answered from memory");
        ok(sdb_name_is(db, 100 + i, "second"), "and not done twice");
        is(commit_named(db, 100 + i, "first", key, &again), RQC_OK, "and again");
        ok(again.replayed == 1 && sdb_same_result(&result, &again), "the same answer");
        rqc_txn_free(t);
    }
    shutdown(g.listener, SHUT_RDWR);
    pthread_join(g.thread, NULL);
    close(g.listener);
}

// ---- Killed anywhere ----------------------------------------------------------------------------

static void *kill_soon(void *arg)
{
    const struct timespec t = {0, (long)(uintptr_t)arg * 1000};
    nanosleep(&t, NULL);
    kill(sdb_sidecar, SIGKILL);
    return NULL;
}

// A delete cannot be done twice: the second one would find nothing.
static void test_anywhere(rqc_db *db)
{
    const uint64_t rounds = tap_scaled(30);
    uint64_t failed = 0, replayed = 0, lost = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        uint8_t id[16];
        char key[32];
        pthread_t killer;
        rqc_result r = {.deleted = 0};
        sdb_id(id, 9, 1000 + i);
        snprintf(key, sizeof key, "anywhere %" PRIu64, i);
        if (sdb_commit_one(db, 1000 + i, NULL) != RQC_OK)
            bail("a request to delete");
        rqc_txn *t = sdb_txn(db);
        if (rqc_delete(t, RQC_HTTP, id, 0) != RQC_OK || rqc_txn_key(t, key, strlen(key)) != RQC_OK)
            bail("%s", rqc_txn_error(t));
        if (pthread_create(&killer, NULL, kill_soon, (void *)(uintptr_t)(i * 7919 % 1500)) != 0)
            bail("no thread");
        rqc_err rc = rqc_commit(t, &r);
        failed += rc != RQC_OK;
        pthread_join(killer, NULL);
        waitpid(sdb_sidecar, NULL, 0);
        sdb_sidecar_start();
        if (rc != RQC_OK)
            rc = rqc_commit(t, &r);
        if (rc != RQC_OK)
            tap_note("%s", rqc_txn_error(t));
        lost += rc != RQC_OK || r.deleted != 1;
        replayed += r.replayed != 0;
        rqc_txn_free(t);
    }
    tap_note("%" PRIu64 " of %" PRIu64 " failed, %" PRIu64 " of these had been done", failed,
             rounds, replayed);
    is(lost, 0u, "killed anywhere, each is done once and says so");
}

// ---- Without waiting ----------------------------------------------------------------------------

typedef struct seen {
    rqc_db *db;
    _Atomic uint64_t calls, failures, faults;
    uint64_t seq;
} seen;

static void note(const rqc_completion *c)
{
    seen *s = c->ctx;
    if (c->code != RQC_OK) {
        if (*rqc_txn_error(c->txn) == 0)
            atomic_fetch_add(&s->faults, 1);
        atomic_fetch_add(&s->failures, 1);
    } else if (c->result.position.seq <= s->seq || !c->result.visible) {
        atomic_fetch_add(&s->faults, 1);
    } else {
        s->seq = c->result.position.seq;
    }
    rqc_txn_free(c->txn);
    atomic_fetch_add(&s->calls, 1);
}

static rqc_txn *one(rqc_db *db, uint64_t n)
{
    uint8_t id[16];
    char name[24];
    sdb_id(id, 9, n);
    snprintf(name, sizeof name, "%" PRIu64, n);
    rqc_txn *t = sdb_txn(db);
    if (sdb_put_http(t, id, name, (int64_t)n) != RQC_OK)
        bail("%s", rqc_txn_error(t));
    return t;
}

static rqc_txn *missing(rqc_db *db)
{
    uint8_t id[16];
    sdb_id(id, 8, 1);
    rqc_txn *t = sdb_txn(db);
    if (rqc_delete(t, RQC_HTTP, id, 0) != RQC_OK)
        bail("%s", rqc_txn_error(t));
    return t;
}

static void test_callbacks(void)
{
    rqc_db *db = sdb_attach();
    seen s = {.db = db};
    const uint64_t n = tap_scaled(200);
    rqc_err rc = RQC_OK;
    for (uint64_t i = 0; i < n && rc == RQC_OK; i++)
        rc = rqc_commit_async(i % 10 == 3 ? missing(db) : one(db, 5000 + i), note, &s);
    is(rc, RQC_OK, "%" PRIu64 " transactions are submitted", n);
    ok(sdb_wait_for(&s.calls, n), "each is completed once");
    is(atomic_load(&s.failures), n / 10 + (n % 10 > 3), "those that fail do so alone");
    is(atomic_load(&s.faults), 0u, "in the order of the calls");
    for (uint64_t i = 0; i < 20; i++)
        if (rqc_commit_async(one(db, 6000 + i), i % 2 ? note : NULL, &s) != RQC_OK)
            bail("async");
    rqc_close(db);
    is(atomic_load(&s.calls), n + 10, "closing waits for them");
    db = sdb_attach();
    ok(sdb_name_is(db, 6018, "6018") && sdb_name_is(db, 6019, "6019"), "and all are stored");
    rqc_close(db);
}

static void test_queue(rqc_db *db)
{
    rqc_completion c;
    int fd = -1;
    rqc_result first;
    is(commit_named(db, 7000, "a", "queue", &first), RQC_OK, "a commit that is waited for");
    is(rqc_completions_fd(db, &fd, NULL), RQC_OK, "a descriptor for those that are not");
    struct pollfd p = {.fd = fd, .events = POLLIN};
    is(poll(&p, 1, 0), 0, "is quiet");
    rqc_txn *t = named(db, 7000, "a", "queue");
    is(rqc_commit_async(t, NULL, &c), RQC_OK, "the same request, not waited for");
    is(rqc_txn_key(t, "x", 1), RQC_INVALID, "belongs to the library");
    is(poll(&p, 1, 30000), 1, "readable when it is completed");
    is(rqc_completions_next(db, &c), RQC_OK, "fetched");
    ok(c.txn == t && c.code == RQC_OK && c.result.replayed == 1 &&
           sdb_same_result(&first, &c.result),
       "with the answer of the first");
    rqc_txn_free(t);
    t = missing(db);
    is(rqc_commit_async(t, NULL, NULL), RQC_OK, "one that will fail");
    is(poll(&p, 1, 30000), 1, "is told");
    is(rqc_completions_next(db, &c), RQC_OK, "fetched");
    ok(c.code == RQC_NOT_FOUND && *rqc_txn_error(t), "with its error: %s", rqc_txn_error(t));
    is(rqci_txn_failed(t), 0u, "which write it was");
    rqc_txn_free(t);
}

typedef struct waiter {
    rqc_db *db;
    _Atomic bool began;
    rqc_err rc;
} waiter;

static void *commit_and_end(void *arg)
{
    waiter *w = arg;
    atomic_store(&w->began, true);
    w->rc = commit_named(w->db, 7000, "in time", "cancelled", NULL);
    return NULL;
}

// A thread that is cancelled while the sidecar is at its commit hears the answer first.
static void test_cancelled(rqc_db *db)
{
    waiter w = {.db = db, .rc = RQC_INTERNAL};
    pthread_t thread;
    kill(sdb_sidecar, SIGSTOP);
    if (pthread_create(&thread, NULL, commit_and_end, &w) != 0)
        bail("no thread");
    while (!atomic_load(&w.began))
        sdb_pause_ms(1);
    sdb_pause_ms(50);
    pthread_cancel(thread);
    sdb_pause_ms(50);
    kill(sdb_sidecar, SIGCONT);
    pthread_join(thread, NULL);
    is(w.rc, RQC_OK, "a commit whose thread is cancelled");
    ok(sdb_name_is(db, 7000, "in time"), "is there");
}

// Without a sidecar they fail; closing does not take longer for each of them.
static void test_gone(void)
{
    rqc_db *db = sdb_attach();
    seen s = {.db = db};
    rqc_txn *all[500];
    const uint64_t n = sizeof all / sizeof *all;
    for (uint64_t i = 0; i < n; i++)
        all[i] = one(db, 8000 + i);
    (void)sidecar_end(&sdb_sidecar, SIGKILL);
    for (uint64_t i = 0; i < n; i++)
        if (rqc_commit_async(all[i], note, &s) != RQC_OK)
            bail("async");
    rqc_close(db);
    is(atomic_load(&s.calls), n, "the sidecar is gone: each is completed");
    ok(atomic_load(&s.failures) == n && atomic_load(&s.faults) == 0, "and says why not");
}

int main(void)
{
    sdb_sidecar_begin("remote");
    test_mortal();
    sdb_sidecar_start();
    rqc_db *db = sdb_attach();
    test_keys(db);
    test_gate(db);
    test_anywhere(db);
    test_callbacks();
    test_queue(db);
    test_cancelled(db);
    test_gone();
    rqc_close(db);
    return tap_done();
}

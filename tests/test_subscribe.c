// SPDX-License-Identifier: Apache-2.0
//
// The library's subscriber: ten thousand of them opened and closed under traffic, one that is slow,
// what is refused, and what a server that is none does to it.
#include "api/reqcast.h"

#include "tests/entries.h"
#include "tests/shim.h"
#include "tests/sidecar.h"
#include "tests/store_fixture.h"

#include <poll.h>
#include <signal.h>

static char db_path[FIX_PATH], ask_path[FIX_PATH], url[FIX_PATH + 8];
static pid_t sidecar;
static _Atomic bool stop;
static uint8_t workspace[16] = {1, 2, 3};

static void pause_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static void kill_at_exit(void)
{
    (void)sidecar_end(&sidecar, SIGKILL);
}

static void start_sidecar(void)
{
    char log[FIX_PATH];
    snprintf(log, sizeof log, "%.400s/log", fix_dir);
    const char *const words[] = {"--create",   "--db",  db_path,      "--listen", url,
                                 "--view-dir", fix_dir, "--log-file", log,        NULL};
    sidecar = sidecar_start(words);
    if (sidecar == 0)
        bail("the sidecar is not ready");
}

static rqc_db *attach(void)
{
    rqc_options o = RQC_OPTIONS_INIT;
    rqc_db *db;
    rqc_error e;
    o.view_dir = fix_dir;
    if (rqc_attach(db_path, &o, &db, &e) != RQC_OK)
        bail("attach: %s", e.text);
    return db;
}

static uint64_t put_one(rqc_db *db, uint8_t n, const char *name)
{
    const uint8_t id[16] = {9, n};
    rqc_value row[RQC_HTTP_NFIELDS] = {0};
    rqc_result r = {.written = 0};
    rqc_txn *t;
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(workspace);
    row[RQC_HTTP_NAME] = rqc_text(name);
    row[RQC_HTTP_URL] = rqc_text("u");
    row[RQC_HTTP_METHOD] = rqc_text("GET");
    if (rqc_txn_new(db, &t, NULL) != RQC_OK)
        return 0;
    if (rqc_put(t, RQC_HTTP, id, row) != RQC_OK || rqc_commit(t, &r) != RQC_OK)
        tap_note("put: %s", rqc_txn_error(t));
    rqc_txn_free(t);
    return r.position.seq;
}

static void put_workspace(rqc_db *db)
{
    rqc_value row[RQC_WORKSPACES_NFIELDS] = {0};
    rqc_txn *t;
    row[RQC_WORKSPACES_NAME] = rqc_text("w");
    if (rqc_txn_new(db, &t, NULL) != RQC_OK ||
        rqc_put(t, RQC_WORKSPACES, workspace, row) != RQC_OK || rqc_commit(t, NULL) != RQC_OK)
        bail("no workspace");
    rqc_txn_free(t);
}

static void *traffic(void *arg)
{
    rqc_db *db = arg;
    for (unsigned n = 0; !atomic_load(&stop); n++) {
        char name[16];
        snprintf(name, sizeof name, "%u", n);
        (void)put_one(db, (uint8_t)n, name);
        pause_ms(1);
    }
    return NULL;
}

static void ignore(void *ctx, const rqc_event *e)
{
    atomic_fetch_add((_Atomic uint64_t *)ctx, e->n);
}

static void check_ten_thousand(rqc_db *db)
{
    _Atomic uint64_t changes = 0;
    rqc_sub *open[50] = {NULL};
    const unsigned before = entries("/proc/self/fd");
    const size_t rounds = tap_scaled(10000);
    size_t refused = 0;
    pthread_t t;
    if (pthread_create(&t, NULL, traffic, db) != 0)
        bail("no thread");
    for (size_t i = 0; i < rounds; i++) {
        rqc_sub **s = &open[i % 50];
        rqc_sub_options o = RQC_SUB_OPTIONS_INIT;
        rqc_unsubscribe(*s);
        *s = NULL;
        o.workspace = i % 3 == 0 ? workspace : NULL;
        o.from_now = i % 2 == 0;
        o.digest = i % 4 == 1;
        o.event = i % 5 == 0 ? NULL : ignore;
        o.ctx = &changes;
        refused += rqc_subscribe(url, &o, s, NULL) != RQC_OK;
        rqc_event e;
        if (*s && !o.event)
            (void)rqc_sub_next(*s, i % 7 == 0 ? 5 : 0, &e);
        if (i % 50 == 0)
            pause_ms(10);
    }
    for (size_t i = 0; i < 50; i++)
        rqc_unsubscribe(open[i]);
    atomic_store(&stop, true);
    pthread_join(t, NULL);
    is(refused, 0u, "%zu subscribers were opened and closed under traffic", rounds);
    ok(atomic_load(&changes) > 0, "some of them were told changes");
    is(entries("/proc/self/fd"), before, "no descriptor is lost");
}

// What a slow application is told: each record at its latest state, and all of them.
static void check_slow(rqc_db *db)
{
    rqc_sub_options o = RQC_SUB_OPTIONS_INIT;
    rqc_sub *s;
    rqc_event e = {.kind = RQC_EVENT_STATE};
    rqc_place place = {.term = 0};
    o.bookmarks = 1;
    if (rqc_subscribe(url, &o, &s, NULL) != RQC_OK)
        bail("subscribe");
    ok(rqc_sub_fd(s) >= 0, "there is a descriptor to wait for");
    for (int i = 0; i < 200 && !(e.kind == RQC_EVENT_STATE && e.reason == RQC_OK && e.place.term);
         i++)
        (void)rqc_sub_next(s, 100, &e);
    ok(e.place.term > 0, "it follows");
    uint64_t last = 0;
    for (unsigned i = 0; i < 200; i++)
        last = put_one(db, (uint8_t)(i % 4), "slow");
    pause_ms(50);
    bool ready = false;
    for (int i = 0; i < 300 && place.cursor.seq < last; i++) {
        struct pollfd fd = {.fd = rqc_sub_fd(s), .events = POLLIN};
        ready = poll(&fd, 1, 100) > 0 || ready;
        while (rqc_sub_next(s, 0, &e) == RQC_OK)
            if (e.kind == RQC_EVENT_CHANGES || e.kind == RQC_EVENT_BOOKMARK)
                place = e.place;
    }
    ok(ready && place.cursor.seq >= last, "it has everything up to %llu", (unsigned long long)last);
    rqc_unsubscribe(s);

    // From the place that was stored.
    const uint64_t next = put_one(db, 200, "later");
    o.since = place;
    if (rqc_subscribe(url, &o, &s, NULL) != RQC_OK)
        bail("subscribe");
    size_t n = 0;
    bool seen = false;
    for (int i = 0; i < 200 && !seen; i++)
        if (rqc_sub_next(s, 100, &e) == RQC_OK && e.kind == RQC_EVENT_CHANGES) {
            n += e.n;
            for (size_t k = 0; k < e.n; k++)
                seen = seen || e.items[k].seq == next;
        }
    ok(seen, "it goes on from the place that was stored");
    is(n, 1u, "with what came after it only");
    rqc_unsubscribe(s);
}

static void check_reset(void)
{
    rqc_sub_options o = RQC_SUB_OPTIONS_INIT;
    rqc_sub *s;
    rqc_event e;
    rqc_err reason = RQC_OK;
    bool whole = false;
    memset(o.since.store_id, 'x', 16);
    o.since.term = 9;
    o.since.cursor.seq = 3;
    if (rqc_subscribe(url, &o, &s, NULL) != RQC_OK)
        bail("subscribe");
    for (int i = 0; i < 200 && !whole; i++) {
        if (rqc_sub_next(s, 100, &e) != RQC_OK)
            continue;
        if (e.kind == RQC_EVENT_RESET)
            reason = e.reason;
        whole = e.kind == RQC_EVENT_CHANGES && !e.more && e.n > 0;
    }
    is(reason, RQC_EPOCH_CHANGED, "another history: it starts over, and says so");
    ok(whole, "and tells all there is");
    rqc_unsubscribe(s);
}

static void check_refused(void)
{
    static const char *const bad[] = {"", "http://x", "ipc://", "tcp://127.0.0.1", "tcp://:1"};
    rqc_sub_options o = RQC_SUB_OPTIONS_INIT;
    rqc_sub *s = NULL;
    rqc_error e;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        is(rqc_subscribe(bad[i], &o, &s, &e), RQC_INVALID, "refused: \"%s\": %s", bad[i], e.text);
    o.digest = 1;
    o.since.cursor.seq = 5;
    is(rqc_subscribe(url, &o, &s, &e), RQC_INVALID, "a digest from the middle");
    o.size = 1;
    is(rqc_subscribe(url, &o, &s, &e), RQC_INVALID, "options of no known size");
    ok(s == NULL, "and nothing was made");
    rqc_unsubscribe(NULL);
}

// A server that answers with anything but what it should.
static void *liar(void *arg)
{
    const int listener = *(const int *)arg;
    rows_random *x = calloc(1, sizeof *x);
    rows_seed(x, 5);
    for (int peer; (peer = accept(listener, NULL, NULL)) >= 0; close(peer)) {
        uint8_t bytes[256];
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)rows_next(x);
        if (rows_below(x, 4) > 0)
            memcpy(bytes, "\0SP\0\0\x31\0\0", 8);
        if (rows_below(x, 2))
            memcpy(bytes + 8, "\1\0\0\0\0\0\0\0\x40", 9);
        (void)shim_write(peer, bytes, rows_below(x, 256));
    }
    free(x);
    return NULL;
}

static void check_liar(void)
{
    char path[FIX_PATH], where[FIX_PATH + 8];
    pthread_t t;
    rqc_sub_options o = RQC_SUB_OPTIONS_INIT;
    rqc_sub *s;
    rqc_event e;
    size_t told = 0;
    snprintf(path, sizeof path, "%.80s/liar", fix_dir);
    snprintf(where, sizeof where, "ipc://%s", path);
    int listener = shim_listen(path);
    if (pthread_create(&t, NULL, liar, &listener) != 0 ||
        rqc_subscribe(where, &o, &s, NULL) != RQC_OK)
        bail("no liar");
    for (int i = 0; i < 20; i++)
        told += rqc_sub_next(s, 50, &e) == RQC_OK && e.kind == RQC_EVENT_STATE && e.reason;
    ok(told >= 1, "a server that is none: it says so, and tries again");
    rqc_unsubscribe(s);
    shutdown(listener, SHUT_RDWR);
    pthread_join(t, NULL);
    close(listener);
}

static _Atomic int blocked = -1;

static void look_at_mask(void *ctx, const rqc_event *e)
{
    sigset_t mask;
    (void)ctx;
    (void)e;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    atomic_store(&blocked, sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGUSR1) == 1);
}

// A handler of the application's must not run on a thread that it does not know of, and what waits
// on its own threads must be woken.
static void check_signals(void)
{
    char where[FIX_PATH + 8];
    rqc_sub_options o = RQC_SUB_OPTIONS_INIT;
    rqc_sub *s;
    o.event = look_at_mask;
    snprintf(where, sizeof where, "ipc://%.80s/nobody", fix_dir);
    if (rqc_subscribe(where, &o, &s, NULL) != RQC_OK)
        bail("no subscriber");
    for (int i = 0; i < 1000 && atomic_load(&blocked) < 0; i++)
        pause_ms(10);
    rqc_unsubscribe(s);
    is(atomic_load(&blocked), 1, "the application's signals are not for a subscriber's thread");
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    ok(!sigismember(&mask, SIGTERM), "the caller's mask is as it was");
}

// Threads and connections stay the parent's.
static void check_fork(void)
{
    rqc_sub_options o = RQC_SUB_OPTIONS_INIT;
    rqc_sub *with, *without;
    rqc_event e;
    if (rqc_subscribe(url, &o, &without, NULL) != RQC_OK)
        bail("no subscriber");
    o.event = look_at_mask;
    if (rqc_subscribe(url, &o, &with, NULL) != RQC_OK)
        bail("no subscriber");
    const pid_t child = fork();
    if (child == 0) {
        alarm(10);
        rqc_sub_stats stats = {.size = sizeof stats};
        const bool closed = rqc_sub_next(without, 0, &e) == RQC_CLOSED &&
                            rqc_sub_stats_read(with, &stats) == RQC_CLOSED;
        rqc_unsubscribe(with);
        rqc_unsubscribe(without);
        _exit(closed ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a forked child cannot use a subscriber");
    bool follows = false;
    for (int i = 0; i < 200 && !follows; i++)
        follows = rqc_sub_next(without, 50, &e) == RQC_OK && e.kind == RQC_EVENT_STATE &&
                  e.reason == RQC_OK && e.place.term > 0;
    ok(follows, "and leaves the parent's alone");
    rqc_unsubscribe(with);
    rqc_unsubscribe(without);
}

int main(void)
{
    if (!getenv("REQCASTD"))
        skip_all("REQCASTD is not set: no sidecar to test");
    fix_begin();
    atexit(kill_at_exit);
    snprintf(db_path, sizeof db_path, "%.400s/t.db", fix_dir);
    snprintf(ask_path, sizeof ask_path, "%.60s/s", fix_dir);
    snprintf(url, sizeof url, "ipc://%s", ask_path);
    start_sidecar();
    rqc_db *db = attach();
    put_workspace(db);
    check_refused();
    check_ten_thousand(db);
    check_slow(db);
    check_reset();
    check_liar();
    check_signals();
    check_fork();
    rqc_close(db);
    const int status = sidecar_end(&sidecar, SIGTERM);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the sidecar ends cleanly");
    return tap_done();
}

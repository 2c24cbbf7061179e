// SPDX-License-Identifier: Apache-2.0
// No room for the database: on a full file system and at a limit of the file size. What does not
// fit is refused with a clear error, what was acknowledged stays, neighbours in a group are not
// harmed, reads go on, and writes work again when there is room.
#include "api/engine.h"
#include "persist/internal.h"
#include "tests/full_rows.h"

#include <sys/resource.h>

// Writes until one is refused; that one must say why and leave no trace.
static void write_until_refused(rows *w, const char *disk)
{
    rqc_result res = {.visible = 0};
    for (int i = 0; i < 5000; i++) {
        const rqc_err rc = rows_commit(w, 1, &res);
        if (rc == RQC_OK && res.visible)
            continue;
        if (rc != RQC_NO_SPACE || !strstr(rqc_txn_error(w->txn), disk))
            die("commit %" PRIu64 " on a full disk: %s, visible %d: %s", w->count + 1,
                rqc_err_text(rc), res.visible, rqc_txn_error(w->txn));
        return;
    }
    die("the disk is never full");
}

static void check_full(rows *w, const fault_child *watch, const char *when)
{
    const rqc_stats s = rows_stats(w);
    is(s.view_lagging, 0, "%s: the view does not lag", when);
    is(rows_seen(w->db, true), w->count, "%s: a session sees what was acknowledged", when);
    is(rows_watched(watch, 'm'), w->count, "%s: so does another process", when);
    fault_child late = rows_watch(w);
    is(rows_watched(&late, 'l'), w->count, "%s: and one that attaches now", when);
    ok(fault_stop(&late), "%s: which ends well", when);
}

static void test_disk_full(const char *disk)
{
    rows w;
    check_text why = {""};
    rqc_result res = {.visible = 0};
    rows_new(&w, disk, "disk", fault_memory);
    rows_open(&w);
    rows_write(&w, 40);
    fault_child watch = rows_watch(&w);
    for (int round = 0; round < 3; round++) {
        mount_fill(disk, round == 0 ? 0 : (uint64_t)round * 50 * MOUNT_PAGE);
        write_until_refused(&w, disk);
        ok(*rqc_txn_error(w.txn), "a write is refused: %s", rqc_txn_error(w.txn));
        check_full(&w, &watch, "full disk");
        is(rqc_commit(w.txn, &res), RQC_NO_SPACE, "again: refused");
        mount_make_room(disk);
        is(rqc_commit(w.txn, &res), RQC_OK, "with room the same transaction is stored: %s",
           rqc_txn_error(w.txn));
        ok(res.visible, "visibly");
        w.count++;
        rows_write(&w, 10);
        is(rows_watched(&watch, 'l'), w.count, "other processes see it");
        ok(rows_whole(&w, &why), "nothing is lost: %s", why.text);
    }
    ok(fault_stop(&watch), "the reader ends well");
    rows_close(&w);
    ok(rows_sound(w.path, &why), "the database is sound: %s", why.text);
    rows_open(&w);
    ok(rows_whole(&w, &why), "and opens as it was: %s", why.text);
    rows_close(&w);
}

// ---- A group with one that does not fit ---------------------------------------------------------

typedef struct gate {
    rqc_db *db;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool closed, reached;
    pthread_t thread;
} gate;

static rqc_err wait_at(rqci_store *s, void *arg, rqci_errbuf *err)
{
    gate *g = arg;
    (void)s;
    (void)err;
    pthread_mutex_lock(&g->mu);
    g->reached = true;
    pthread_cond_broadcast(&g->cond);
    while (g->closed)
        pthread_cond_wait(&g->cond, &g->mu);
    pthread_mutex_unlock(&g->mu);
    return RQC_OK;
}

static void *gate_main(void *arg)
{
    gate *g = arg;
    (void)rqci_writer_call(g->db->store, wait_at, g, NULL);
    return NULL;
}

// The writer thread stands still until it is released.
static void hold_writer(gate *g, rqc_db *db)
{
    *g = (gate){.db = db, .closed = true};
    pthread_mutex_init(&g->mu, NULL);
    pthread_cond_init(&g->cond, NULL);
    if (pthread_create(&g->thread, NULL, gate_main, g) != 0)
        die("no thread");
    pthread_mutex_lock(&g->mu);
    while (!g->reached)
        pthread_cond_wait(&g->cond, &g->mu);
    pthread_mutex_unlock(&g->mu);
}

static void release_writer(gate *g)
{
    pthread_mutex_lock(&g->mu);
    g->closed = false;
    pthread_cond_broadcast(&g->cond);
    pthread_mutex_unlock(&g->mu);
    pthread_join(g->thread, NULL);
    pthread_cond_destroy(&g->cond);
    pthread_mutex_destroy(&g->mu);
}

typedef struct member {
    rqc_db *db;
    uint64_t first, n;
    rqc_err rc;
    rqc_result res;
    pthread_t thread;
} member;

static void *member_main(void *arg)
{
    member *m = arg;
    rqc_txn *t;
    m->rc = rqc_txn_new(m->db, &t, NULL);
    for (uint64_t i = 0; i < m->n && m->rc == RQC_OK; i++)
        m->rc = rows_put(t, m->first + i);
    if (m->rc == RQC_OK)
        m->rc = rqc_commit(t, &m->res);
    rqc_txn_free(t);
    return NULL;
}

static unsigned waiting(rqci_store *s)
{
    unsigned n = 0;
    pthread_mutex_lock(&s->mu);
    for (const rqci_job *j = s->first; j; j = j->next)
        n++;
    pthread_mutex_unlock(&s->mu);
    return n;
}

#define MEMBERS 7

// The writer is held until all wait: then they are one group. Those that fit write the next
// requests, the one that does not writes others.
static void run_members(rows *w, member *m, size_t large, uint64_t rows_of_large)
{
    gate g;
    hold_writer(&g, w->db);
    for (size_t i = 0; i < MEMBERS; i++) {
        m[i] = (member){.db = w->db,
                        .first = i == large ? 1000000 : ++w->count,
                        .n = i == large ? rows_of_large : 1};
        if (pthread_create(&m[i].thread, NULL, member_main, &m[i]) != 0)
            die("no thread");
    }
    while (waiting(w->db->store) < MEMBERS)
        fault_sleep_us(1000);
    release_writer(&g);
    for (size_t i = 0; i < MEMBERS; i++)
        pthread_join(m[i].thread, NULL);
}

static void test_group(const char *disk)
{
    rows w;
    check_text why = {""};
    member m[MEMBERS];
    rows_new(&w, disk, "group", fault_memory);
    rows_open(&w);
    rows_write(&w, 20);
    for (size_t large = 0; large < MEMBERS; large += 3) {
        mount_fill(disk, 2 << 20);
        run_members(&w, m, large, 4000);
        unsigned good = 0;
        for (size_t i = 0; i < MEMBERS; i++)
            good += i != large && m[i].rc == RQC_OK && m[i].res.visible == 1;
        is(m[large].rc, RQC_NO_SPACE, "the one of a group that does not fit is refused");
        is(good, MEMBERS - 1, "its neighbours are stored");
        mount_make_room(disk);
        ok(rows_whole(&w, &why), "and nothing else: %s", why.text);
    }
    rows_close(&w);
}

// ---- A checkpoint that fails --------------------------------------------------------------------

static rqc_err checkpoint_call(rqci_store *s, void *arg, rqci_errbuf *err)
{
    (void)err;
    *(bool *)arg = rqci_checkpoint(s, false);
    return RQC_OK;
}

static bool checkpoint(rows *w)
{
    bool done = false;
    if (rqci_writer_call(w->db->store, checkpoint_call, &done, NULL) != RQC_OK)
        die("checkpoint");
    return done;
}

static void test_checkpoint(const char *disk)
{
    rows w;
    check_text why = {""};
    rqc_result res = {.visible = 0};
    rows_new(&w, disk, "checkpoint", fault_memory);
    rows_open(&w);
    ok(checkpoint(&w), "a checkpoint");
    if (rows_commit(&w, 300, &res) != RQC_OK)
        die("commit: %s", rqc_txn_error(w.txn));
    fault_child watch = rows_watch(&w);
    mount_fill(disk, 20 * MOUNT_PAGE);
    ok(!checkpoint(&w), "one that finds no room for the database's file fails");
    check_full(&w, &watch, "after it");
    write_until_refused(&w, disk);
    check_full(&w, &watch, "and with a full -wal");
    ok(!checkpoint(&w), "it fails again");
    mount_make_room(disk);
    ok(checkpoint(&w), "with room it succeeds");
    is(rows_stats(&w).wal_bytes, 0, "and empties the -wal");
    rows_renew(&w);
    rows_write(&w, 5);
    ok(rows_whole(&w, &why), "nothing is lost: %s", why.text);
    ok(fault_stop(&watch), "the reader ends well");
    rows_close(&w);
}

// A -wal that is much larger than what is in it must not take the room of the database.
static void test_wal_bounded(const char *disk)
{
    rows w;
    check_text why = {""};
    rows_new(&w, disk, "wal", fault_memory);
    rows_open(&w);
    rows_write(&w, 300);
    pass("small transactions with far more -wal than the disk has room are stored");
    ok(rows_whole(&w, &why), "all of them: %s", why.text);
    rows_close(&w);
}

// Writes again what is there: the -wal grows, its content does not.
static void write_again(rows *w, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        for (uint64_t n = 1; n <= 8; n++)
            if (rows_put(w->txn, n) != RQC_OK)
                die("put: %s", rqc_txn_error(w->txn));
        if (rqc_commit(w->txn, NULL) != RQC_OK)
            die("commit: %s", rqc_txn_error(w->txn));
    }
}

// Leaves a -wal behind that nobody closed.
static int leave_role(const char *path, const char *disk)
{
    rows w;
    rqc_error err = {.text = ""};
    rows_new(&w, disk, "", fault_memory);
    fault_path(w.path, "%s", path);
    w.options.view_dir = getenv("RQC_TEST_VIEW");
    if (rows_try_open(&w, &err) != RQC_OK)
        fault_bad("open: %.150s", err.text);
    write_again(&w, 20);
    fault_tell(FAULT_READY, rows_stats(&w).wal_bytes);
    kill(getpid(), SIGKILL);
    return 1;
}

// A database whose file has free pages: it need not grow.
static void make_roomy(const char *path)
{
    sqlite3 *db = work_sql_open(path);
    if (sqlite3_exec(db,
                     "CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(1000000)); DROP TABLE t",
                     NULL, NULL, NULL) != SQLITE_OK)
        die("%s: %s", path, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static void test_wal_gives_room(const char *disk)
{
    rows w;
    check_text why = {""};
    fault_msg m;
    rows_new(&w, disk, "room", fault_memory);
    make_roomy(w.path);
    rows_open(&w);
    rows_write(&w, 20);
    if (!checkpoint(&w))
        die("checkpoint");
    write_again(&w, 20);
    gate g;
    hold_writer(&g, w.db); // or it empties the -wal while the disk is being filled
    mount_fill(disk, 0);
    release_writer(&g);
    write_again(&w, 10);
    pass("where the -wal fills the disk, writes go on");
    ok(rows_whole(&w, &why), "nothing is lost: %s", why.text);
    mount_make_room(disk);
    rows_close(&w);
    fault_child c = fault_spawn("leave", w.path, disk, NULL);
    fault_expect(&c, FAULT_READY, &m);
    (void)fault_reap(&c);
    mount_fill(disk, 0);
    rows_open(&w);
    pass("so does an owner that finds one of %" PRIu64 " bytes", m.value);
    ok(rows_whole(&w, &why), "nothing is lost: %s", why.text);
    mount_make_room(disk);
    rows_close(&w);
}

// ---- Opening and closing ------------------------------------------------------------------------

// From no room to enough: closes, opens, writes and closes with so much left. Whatever fails, the
// history must be the same afterwards (rows_commit looks) and nothing acknowledged be lost.
static bool reopen_with(rows *w, const char *disk, uint64_t leave, check_text *why)
{
    rqc_error err = {.text = ""};
    rqc_result res = {.visible = 0};
    mount_fill(disk, leave);
    rows_close(w);
    const rqc_err rc = rows_try_open(w, &err);
    bool wrote = false;
    if (rc == RQC_OK) {
        const rqc_err got = rows_commit(w, 1, &res);
        wrote = got == RQC_OK;
        if (!wrote && got != RQC_NO_SPACE)
            die("commit with %" PRIu64 " bytes left: %s: %s", leave, rqc_err_text(got),
                rqc_txn_error(w->txn));
        if (rows_seen(w->db, true) != w->count)
            die("with %" PRIu64 " bytes left another number of requests is seen", leave);
        rows_close(w);
    } else if (rc != RQC_NO_SPACE || !strstr(err.text, disk)) {
        die("open with %" PRIu64 " bytes left: %s: %s", leave, rqc_err_text(rc), err.text);
    } else {
        snprintf(why->text, sizeof why->text, "%.170s", err.text);
    }
    mount_make_room(disk);
    rows_open(w);
    rows_write(w, 1);
    return wrote;
}

static void test_open_full(const char *disk)
{
    rows w;
    check_text refusal = {""}, why = {""};
    unsigned refused = 0, wrote = 0;
    rows_new(&w, disk, "open", fault_memory);
    rows_open(&w);
    rows_write(&w, 10);
    const uint64_t step = MOUNT_PAGE * (1 + 4 / tap_scaled(4));
    for (uint64_t leave = 0; wrote < 4 && leave < (1 << 20); leave += step)
        if (reopen_with(&w, disk, leave, &refusal))
            wrote++;
        else
            refused++;
    ok(refused > 0, "%u times there was no room to open or to write: %s", refused, refusal.text);
    is(wrote, 4, "with room it opens and writes");
    ok(rows_whole(&w, &why), "the history is the same, nothing is lost: %s", why.text);
    rows_close(&w);
    ok(rows_sound(w.path, &why), "the database is sound: %s", why.text);
}

// A database that is to be made where there is no room.
static void test_create_full(const char *disk)
{
    rows w;
    rqc_error err = {.text = ""};
    check_text why = {""};
    unsigned refused = 0;
    rqc_err rc = RQC_NO_SPACE;
    for (uint64_t leave = 0; rc != RQC_OK && leave < (2 << 20); leave += 5 * MOUNT_PAGE) {
        rows_new(&w, disk, "new", fault_memory);
        mount_fill(disk, leave);
        rc = rows_try_open(&w, &err);
        if (rc != RQC_OK && (rc != RQC_NO_SPACE || !strstr(err.text, disk)))
            die("made with %" PRIu64 " bytes left: %s: %s", leave, rqc_err_text(rc), err.text);
        refused += rc != RQC_OK;
        mount_make_room(disk);
    }
    ok(refused > 0, "%u times there was no room for a new database: %s", refused, err.text);
    is(rc, RQC_OK, "with room what was left of it is used");
    rows_write(&w, 5);
    ok(rows_whole(&w, &why), "and whole: %s", why.text);
    rows_close(&w);
}

// ---- A limit of the file size -------------------------------------------------------------------

static void limit_files(uint64_t bytes)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_FSIZE, &l) != 0)
        fault_bad("getrlimit: %s", strerror(errno));
    l.rlim_cur = bytes > 0 && bytes < l.rlim_max ? bytes : l.rlim_max;
    if (setrlimit(RLIMIT_FSIZE, &l) != 0)
        fault_bad("setrlimit: %s", strerror(errno));
}

static void limit_whole(rows *w, const char *when)
{
    check_text why = {""};
    if (!rows_whole(w, &why))
        fault_bad("%s: %.140s", when, why.text);
}

// The -wal meets the limit.
static void limit_database(rows *w)
{
    rqc_result res = {.visible = 0};
    rqc_err rc = RQC_OK;
    const uint64_t before = w->count;
    limit_files(rows_stats(w).wal_bytes + 100000);
    while (rc == RQC_OK && w->count < before + 1000)
        rc = rows_commit(w, 1, &res);
    if (rc != RQC_NO_SPACE)
        fault_bad("at the limit: %s: %.120s", rqc_err_text(rc), rqc_txn_error(w->txn));
    limit_whole(w, "at the limit");
    limit_files(0);
    if ((rc = rqc_commit(w->txn, &res)) != RQC_OK)
        fault_bad("without the limit: %s: %.120s", rqc_err_text(rc), rqc_txn_error(w->txn));
    w->count++;
    limit_whole(w, "without the limit");
    fault_tell(FAULT_TOLD, w->count - before);
}

// The view meets it: the keeper tries again and again.
static void limit_view(rows *w)
{
    rqc_result res = {.visible = 1};
    const uint64_t before = w->count;
    while (rows_commit(w, 60, &res) == RQC_OK && w->count < before + 3000)
        ; // the view becomes larger than the -wal that is left after a checkpoint
    if (!checkpoint(w))
        fault_bad("checkpoint");
    limit_files(rows_stats(w).view_bytes + 16 * MOUNT_PAGE);
    for (int i = 0; i < 200 && res.visible; i++)
        if (rows_commit(w, 1, &res) != RQC_OK)
            fault_bad("at the view's limit: %.120s", rqc_txn_error(w->txn));
    if (res.visible)
        fault_bad("the view never meets the limit");
    fault_sleep_us(2200000); // two rounds of the keeper
    if (rows_stats(w).view_lagging != 1)
        fault_bad("the view does not lag at its limit");
    limit_files(0);
    for (int i = 0; i < 1000 && rows_stats(w).view_lagging; i++)
        fault_sleep_us(10000);
    limit_whole(w, "without the view's limit");
    fault_tell(FAULT_TOLD, w->count - before);
}

// Nothing is done about SIGXFSZ: its default is to kill. The library's threads must not be hit by
// it, nor take a signal that is meant for the program.
static int limit_role(const char *path)
{
    rows w;
    sigset_t set;
    rows_new(&w, "", "", fault_memory);
    fault_path(w.path, "%s", path);
    w.options.view_dir = getenv("RQC_TEST_VIEW");
    rqc_error err = {.text = ""};
    if (rows_try_open(&w, &err) != RQC_OK)
        fault_bad("open: %.150s", err.text);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGUSR1);
    fault_sleep_us(10000);
    if (sigpending(&set) != 0 || sigismember(&set, SIGUSR1) != 1)
        fault_bad("a thread of the library took the program's signal");
    rqc_result res = {.visible = 0};
    if (rows_commit(&w, 10, &res) != RQC_OK)
        fault_bad("commit: %.150s", rqc_txn_error(w.txn));
    limit_database(&w);
    limit_view(&w);
    rows_close(&w);
    return 0;
}

static void test_limit(void)
{
    char path[FAULT_PATH];
    fault_msg m;
    fault_child c = fault_spawn("limit", fault_path(path, "%s/limit.db", fault_disk), NULL, NULL);
    const char *const what[] = {"the database", "the view"};
    for (size_t i = 0; i < 2; i++) {
        int got = fault_next(&c, FAULT_PATIENCE_MS, &m);
        if (got == 0)
            die("the child hangs at the limit of %s", what[i]);
        ok(got == 1 && m.value > 0, "%s meets the limit of the file size, and goes on without it",
           what[i]);
    }
    is(fault_reap(&c), 0, "the program lives");
}

int main(int argc, char **argv)
{
    if (argc > 2) {
        fault_child_begin();
        return strcmp(argv[1], "limit") == 0   ? limit_role(argv[2])
               : strcmp(argv[1], "leave") == 0 ? leave_role(argv[2], argv[3])
                                               : rows_watch_role(argv[2]);
    }
    char disk[FAULT_PATH];
    mount_begin();
    fault_begin();
    setenv("RQC_TEST_VIEW", fault_memory, 1);
    mount_small(fault_path(disk, "%s/disk", fault_disk), "size=8m");
    test_wal_gives_room(disk);
    test_wal_bounded(disk);
    test_disk_full(disk);
    mount_gone(disk);
    mount_small(disk, "size=8m");
    test_group(disk);
    mount_gone(disk);
    mount_small(disk, "size=8m");
    test_checkpoint(disk);
    mount_gone(disk);
    mount_small(disk, "size=8m");
    test_open_full(disk);
    test_create_full(disk);
    test_limit();
    fault_end();
    return tap_done();
}

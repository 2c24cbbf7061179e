// SPDX-License-Identifier: Apache-2.0
// One owner at a time, and the readers of other processes beside it. A second owner is told who
// holds the database; after kill -9 the next one succeeds at once. Attached readers live through
// the death of owners, restarts and rebuilds with right answers or none; kill -9 of readers at any
// moment harms nobody.
#include "api/engine.h"
#include "tests/fault_world.h"
#include "tests/fault_writer.h"

#ifndef READER_KILLS
#define READER_KILLS 240
#endif

#define READERS 4
#define CROWD   8

// ---- Children -----------------------------------------------------------------------------------

// Opens when asked and tells what came of it; then holds the database.
static int claim_role(const char *path)
{
    const rqc_options o = world_options();
    rqc_db *db = NULL;
    rqc_error err = {.text = ""};
    char what;
    fault_tell(FAULT_READY, 0);
    if (!fault_asked(&what))
        return 0;
    fault_msg m = {.kind = FAULT_TOLD};
    m.code = (int32_t)rqc_open(path, &o, &db, &err);
    snprintf(m.text, sizeof m.text, "%.170s", err.text);
    fault_send(&m);
    if (m.code == RQC_OK && what == 'f') {
        const pid_t pid = fork(); // a child of the owner's own, which outlives it
        if (pid == 0) {
            fault_tell(FAULT_TOLD, (uint64_t)getpid());
            while (fault_go_on(100))
                ;
            _exit(0);
        }
    }
    while (fault_asked(&what))
        ;
    rqc_close(db);
    return 0;
}

typedef struct seen {
    rqc_position position;
    uint64_t sessions, none, numbers[WORK_WRITERS];
} seen;

// One session: everything in it belongs to one position, which is not below an earlier one.
static void look(rqc_read *r, seen *s)
{
    check_text why = {""};
    uint64_t numbers[WORK_WRITERS];
    rqc_err rc = rqc_read_begin(r);
    s->sessions++;
    if (rc == RQC_UNAVAILABLE) {
        s->none++;
        fault_sleep_us(500);
        return;
    }
    if (rc != RQC_OK)
        fault_bad("begin: %s: %.140s", rqc_err_text(rc), rqc_read_error(r));
    const rqc_position p = rqc_read_position(r);
    if (s->position.term != 0 && (p.term != s->position.term || p.seq < s->position.seq))
        fault_bad("from %u:%" PRIu64 " to %u:%" PRIu64, s->position.term, s->position.seq, p.term,
                  p.seq);
    s->position = p;
    for (unsigned who = 0; who < WORK_WRITERS; who++) {
        rc = work_number(r, who, &numbers[who]);
        if (rc == RQC_NOT_FOUND)
            numbers[who] = UINT64_MAX;
        else if (rc != RQC_OK)
            fault_bad("marker: %s", rqc_err_text(rc));
        else if (numbers[who] < s->numbers[who])
            fault_bad("writer %u went from %" PRIu64 " to %" PRIu64, who, s->numbers[who],
                      numbers[who]);
        else
            s->numbers[who] = numbers[who];
    }
    if (!check_model(r, numbers, &why))
        fault_bad("at %" PRIu64 ": %.140s", p.seq, why.text);
    rqc_read_end(r);
}

static rqc_db *attach(const char *path)
{
    const rqc_options o = world_options();
    rqc_db *db = NULL;
    rqc_error err = {.text = ""};
    rqc_err rc;
    // What exists may be in the middle of being made.
    while ((rc = rqc_attach(path, &o, &db, &err)) == RQC_UNAVAILABLE || rc == RQC_NOT_FOUND)
        if (!fault_go_on(1))
            _exit(0);
    if (rc != RQC_OK)
        fault_bad("attach: %.150s", err.text);
    return db;
}

static rqc_read *session(rqc_db *db)
{
    rqc_read *r = NULL;
    rqc_error err = {.text = ""};
    if (rqc_read_new(db, &r, &err) != RQC_OK)
        fault_bad("session: %.150s", err.text);
    return r;
}

// Reads on and on; tells at the end, or when asked, what it saw.
static void read_on(const char *path)
{
    seen s = {.sessions = 0};
    rqc_db *db = attach(path);
    rqc_read *r = session(db);
    fault_tell(FAULT_READY, 0);
    do
        look(r, &s);
    while (fault_go_on(1));
    look(r, &s);
    for (unsigned who = 0; who < WORK_WRITERS; who++)
        if (s.numbers[who] > 0)
            fault_send(&(fault_msg){
                .kind = FAULT_SEEN, .who = who, .n = s.numbers[who], .position = s.position});
    fault_send(
        &(fault_msg){.kind = FAULT_TOLD, .n = s.none, .value = s.sessions, .position = s.position});
    rqc_read_free(r);
    rqc_close(db);
}

// Attaches over and over: most of its time it opens, registers and leaves.
static void come_and_go(const char *path)
{
    fault_tell(FAULT_READY, 0);
    while (fault_go_on(0)) {
        seen s = {.sessions = 0};
        rqc_db *db = attach(path);
        rqc_read *a = session(db), *b = session(db);
        look(a, &s);
        look(b, &s);
        rqc_read_free(a);
        rqc_read_free(b);
        rqc_close(db);
    }
}

// Holds a position until it dies.
static void hold(const char *path)
{
    rqc_db *db = attach(path);
    rqc_read *r = session(db);
    seen s = {.sessions = 0};
    look(r, &s);
    while (rqc_read_begin(r) == RQC_UNAVAILABLE)
        fault_sleep_us(500);
    fault_tell(FAULT_READY, 0);
    while (fault_go_on(1000))
        ;
    rqc_read_free(r);
    rqc_close(db);
}

static const struct reader_mode {
    const char *name;
    void (*run)(const char *path);
} reader_modes[] = {{"read", read_on}, {"come", come_and_go}, {"hold", hold}};

static int reader_role(const char *path, const char *name)
{
    check_moving = true;
    for (size_t i = 0; i < sizeof reader_modes / sizeof *reader_modes; i++)
        if (strcmp(name, reader_modes[i].name) == 0) {
            reader_modes[i].run(path);
            return 0;
        }
    return 2;
}

static rqc_err rebuild(rqc_db *db, rqci_errbuf *err)
{
    uint64_t seq;
    pthread_mutex_lock(&db->apply);
    const rqc_err rc = rqci_view_rebuild(db->view, &db->source, &seq, err);
    pthread_mutex_unlock(&db->apply);
    return rc;
}

// An owner with two writers. "rebuild": it builds the view anew over and over; "bare": the view is
// gone before it opens; "reopen": it opens and closes over and over.
static int owner_role(const char *path, const char *mode)
{
    static writer w[2];
    char view[FAULT_PATH];
    do {
        const rqc_options o = world_options();
        rqc_db *db;
        rqc_error err = {.text = ""};
        rqci_errbuf detail = {""};
        if (strcmp(mode, "bare") == 0 && fault_view_of(path, view))
            fault_remove(view);
        if (rqc_open(path, &o, &db, &err) != RQC_OK)
            fault_bad("open: %.150s", err.text);
        rqc_stats stats = {.size = sizeof stats};
        if (rqc_stats_read(db, &stats, &err) != RQC_OK)
            fault_bad("stats: %.150s", err.text);
        fault_send(&(fault_msg){.kind = FAULT_READY, .position = stats.position});
        for (unsigned i = 0; i < 2; i++) {
            w[i] = (writer){.db = db, .who = i};
            writer_begin(&w[i]);
        }
        for (unsigned step = 0; fault_go_on(0) && (strcmp(mode, "reopen") != 0 || step < 8);
             step++) {
            writer_step(&w[step % 2]);
            if (strcmp(mode, "rebuild") == 0 && rebuild(db, &detail) != RQC_OK)
                fault_bad("rebuild: %.150s", detail.text);
        }
        for (unsigned i = 0; i < 2; i++)
            writer_end(&w[i]);
        rqc_close(db);
    } while (fault_go_on(0));
    return 0;
}

// ---- Two owners ---------------------------------------------------------------------------------

static bool names(const char *text, pid_t pid)
{
    char number[24];
    snprintf(number, sizeof number, " %d (child)", (int)pid);
    return strstr(text, number) != NULL;
}

static rqc_err claim(world *w, rqc_db **ret_db, rqc_error *err)
{
    const rqc_options o = world_options();
    *err->text = 0;
    return rqc_open(w->path, &o, ret_db, err);
}

static void test_two_owners(void)
{
    world *w = world_new("owners", NULL);
    rqc_db *db = NULL, *second = NULL;
    rqc_error err = {.text = ""};
    fault_msg m;
    char link[FAULT_PATH];
    fault_child c = fault_spawn("claim", w->path, NULL, NULL);
    fault_ask(&c, 'o');
    fault_expect(&c, FAULT_TOLD, &m);
    is(m.code, RQC_OK, "a process owns the database: %s", m.text);
    is(claim(w, &db, &err), RQC_BUSY, "another one is refused: %s", err.text);
    ok(names(err.text, c.pid), "and told the holder's process and program");
    if (symlink(w->path, fault_path(link, "%s/other-name.db", fault_disk)) != 0)
        die("symlink: %s", strerror(errno));
    const rqc_options o = world_options();
    is(rqc_open(link, &o, &db, &err), RQC_BUSY, "under another name, too: %s", err.text);
    ok(fault_stop(&c), "it closes");
    is(claim(w, &db, &err), RQC_OK, "then another one succeeds: %s", err.text);
    is(claim(w, &second, &err), RQC_BUSY, "but once in a process: %s", err.text);
    char number[24];
    snprintf(number, sizeof number, " %d (", (int)getpid());
    ok(strstr(err.text, number) != NULL, "which is told that it is itself");
    rqc_close(db);
    is(claim(w, &db, &err), RQC_OK, "the lock is free after close: %s", err.text);
    rqc_close(db);
    unlink(link);
    world_free(w);
}

static void test_dead_owner(uint64_t rounds)
{
    world *w = world_new("dead", NULL);
    rqc_db *db = NULL;
    rqc_error err = {.text = ""};
    fault_msg m;
    uint64_t good = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        fault_child c = fault_spawn("claim", w->path, NULL, NULL);
        const bool forks = i % 2 == 1;
        fault_ask(&c, forks ? 'f' : 'o');
        fault_expect(&c, FAULT_TOLD, &m);
        if (m.code != RQC_OK)
            die("claim: %s", m.text);
        if (forks)
            fault_expect(&c, FAULT_TOLD, NULL);
        // The owner's child goes on until its pipe is closed.
        fault_kill(&c);
        siginfo_t info;
        while (waitid(P_PID, (id_t)c.pid, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR)
            ;
        if (claim(w, &db, &err) != RQC_OK)
            die("after kill -9 of the owner%s: %s", forks ? ", whose child lives" : "", err.text);
        (void)fault_reap(&c);
        rqc_close(db);
        good++;
    }
    is(good, rounds, "after kill -9 of an owner the next one succeeds at once");
    world_free(w);
}

// Many at once: one gets it, and all others are told of that one.
static void test_race(uint64_t rounds)
{
    world *w = NULL;
    uint64_t right = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        if (i % 2 == 0 && w)
            world_free(w);
        if (i % 2 == 0) // one that is to be made, then one that is there
            w = world_new("race", NULL);
        fault_child c[CROWD];
        fault_msg m[CROWD];
        size_t winner = CROWD;
        for (size_t k = 0; k < CROWD; k++)
            c[k] = fault_spawn("claim", w->path, NULL, NULL);
        for (size_t k = 0; k < CROWD; k++)
            fault_expect(&c[k], FAULT_READY, NULL);
        for (size_t k = 0; k < CROWD; k++)
            fault_ask(&c[k], 'o');
        for (size_t k = 0; k < CROWD; k++) {
            fault_expect(&c[k], FAULT_TOLD, &m[k]);
            if (m[k].code == RQC_OK && winner != CROWD)
                die("two owners");
            winner = m[k].code == RQC_OK ? k : winner;
        }
        if (winner == CROWD)
            die("nobody owns it: %s", m[0].text);
        const pid_t owner = c[winner].pid;
        for (size_t k = 0; k < CROWD; k++) {
            if (k != winner && (m[k].code != RQC_BUSY || !names(m[k].text, owner)))
                die("the winner is %d, another is told: %s", (int)owner, m[k].text);
            right += k != winner;
            fault_kill(&c[k]);
            (void)fault_reap(&c[k]);
        }
    }
    is(right, rounds * (CROWD - 1), "of many at once one owns it, the others are told of that one");
    if (w)
        world_free(w);
}

// A file that appears while its path is looked at is no dangling link.
static atomic_bool flicker_stop;

static void *flicker(void *path)
{
    while (!flicker_stop) {
        const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0)
            close(fd);
        (void)unlink(path);
    }
    return NULL;
}

static void test_path_race(uint64_t rounds)
{
    char path[FAULT_PATH], real[RQCI_PATH_MAX];
    rqci_errbuf err = {""};
    pthread_t thread;
    uint64_t good = 0;
    fault_path(path, "%s/flicker.db", fault_disk);
    if (pthread_create(&thread, NULL, flicker, path) != 0)
        die("no thread");
    for (uint64_t i = 0; i < rounds; i++)
        good += rqci_path_of(path, real, &err) == RQC_OK && strcmp(real, path) == 0;
    flicker_stop = true;
    pthread_join(thread, NULL);
    is(good, rounds, "a file that comes and goes always has its path: %s", err.text);
}

// ---- Readers beside owners that die -------------------------------------------------------------

static void check_readers(world *w, fault_child *readers)
{
    uint64_t sessions = 0, none = 0;
    for (size_t i = 0; i < READERS; i++) {
        fault_msg m;
        uint64_t n[WORK_WRITERS] = {0};
        fault_ask(&readers[i], 'e');
        do {
            if (fault_next(&readers[i], FAULT_PATIENCE_MS, &m) != 1)
                die("a reader hung or ended");
            if (m.kind == FAULT_SEEN)
                n[m.who] = m.n;
        } while (m.kind != FAULT_TOLD);
        for (unsigned who = 0; who < WORK_WRITERS; who++)
            if (n[who] > 0 && (w->n[who] == UINT64_MAX || n[who] > w->n[who]))
                die("a reader saw transaction %" PRIu64 " of writer %u, %" PRIu64 " is there",
                    n[who], who, w->n[who]);
        if (m.position.seq != w->top.seq || m.position.term != w->top.term)
            die("a reader ends at %" PRIu64 ", the database at %" PRIu64, m.position.seq,
                w->top.seq);
        sessions += m.value;
        none += m.n;
        if (!fault_stop(&readers[i]))
            die("a reader ended badly");
    }
    ok(sessions > none,
       "%u kills of owners: %" PRIu64 " sessions of readers, %" PRIu64
       " of them found no view, all others were right",
       w->kills, sessions, none);
}

static void test_owners_die(uint64_t kills)
{
    static const char *const owners[] = {"write", "rebuild", "reopen", "bare"};
    world *w = world_new("beside", NULL);
    fault_child readers[READERS];
    check_world(w);
    for (size_t i = 0; i < READERS; i++)
        readers[i] = fault_spawn("reader", w->path, "read", NULL);
    for (size_t i = 0; i < READERS; i++)
        fault_expect(&readers[i], FAULT_READY, NULL);
    while (w->kills < kills || (w->acked == 0 && w->kills < 20 * kills)) {
        fault_child c = fault_spawn("owner", w->path, owners[w->kills % 4], NULL);
        if (w->kills % 3 != 0) {
            fault_msg m;
            fault_expect(&c, FAULT_READY, &m);
        }
        hear(w, &c, (int64_t)fault_rand(40000));
        finish_off(w, &c);
        if (w->kills % 4 == 0)
            check_world(w);
    }
    check_world(w);
    rqc_db *db = open_world(w);
    fault_sleep_us(1200000); // a view whose folder was removed is looked for once a second
    check_readers(w, readers);
    rqc_close(db);
    ok(w->acked > 0, "%" PRIu64 " commits were acknowledged", w->acked);
    world_free(w);
}

// ---- Readers that die ---------------------------------------------------------------------------

static rqc_stats stats_of(rqc_db *db)
{
    rqc_stats s = {.size = sizeof s};
    rqc_error err = {.text = ""};
    if (rqc_stats_read(db, &s, &err) != RQC_OK)
        die("stats: %s", err.text);
    return s;
}

// stats has a session of its own.
static bool alone(rqc_db *db)
{
    for (int i = 0; i < 1000; i++) {
        if (stats_of(db).readers == 1)
            return true;
        fault_sleep_us(10000);
    }
    return false;
}

static void commit_next(world *w, rqc_db *db, rqc_txn **t)
{
    rqc_result res;
    bool refused;
    const rqc_err rc = work_commit(*t, 0, ++w->n[0], &res, &refused);
    if (rc != RQC_OK || (!refused && !res.visible))
        die("commit beside dying readers: %s", rqc_txn_error(*t));
    if (!refused)
        return;
    rqc_txn_free(*t);
    if (rqc_txn_new(db, t, NULL) != RQC_OK)
        die("no transaction");
}

static unsigned generations(const char *path)
{
    char view[FAULT_PATH];
    unsigned n = 0;
    DIR *d = fault_view_of(path, view) ? opendir(view) : NULL;
    for (const struct dirent *e; d && (e = readdir(d));)
        n += strncmp(e->d_name, "gen-", 4) == 0;
    if (d)
        closedir(d);
    return n;
}

static void begin_writer(world *w, rqc_db *db, rqc_txn **ret_txn)
{
    rqc_result res;
    if (work_begin(db, 0, &res) != RQC_OK || rqc_txn_new(db, ret_txn, NULL) != RQC_OK)
        die("cannot begin");
    w->n[0] = 0;
}

static void kill_reader(fault_child *c)
{
    fault_msg m;
    int got;
    fault_kill(c);
    while ((got = fault_next(c, FAULT_PATIENCE_MS, &m)) == 1)
        ;
    const int status = fault_reap(c);
    if (got == 0 || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        die("a reader ended by itself with status %d", status);
}

static void test_readers_die(uint64_t kills)
{
    world *w = world_new("readers", NULL);
    rqc_db *db = open_world(w);
    rqc_txn *t;
    rqci_errbuf detail = {""};
    check_text why = {""};
    uint64_t done = 0;
    begin_writer(w, db, &t);
    while (done < kills) {
        fault_child c[CROWD];
        for (size_t i = 0; i < CROWD; i++)
            c[i] = fault_spawn("reader", w->path, reader_modes[fault_rand(3)].name, NULL);
        for (int64_t until = fault_now_us() + (int64_t)fault_rand(30000); fault_now_us() < until;)
            commit_next(w, db, &t);
        if (fault_rand(3) == 0 && rebuild(db, &detail) != RQC_OK)
            die("rebuild: %s", detail.text);
        for (size_t i = 0; i < CROWD; i++) {
            kill_reader(&c[i]);
            done++;
            if (fault_rand(2) == 0)
                commit_next(w, db, &t);
        }
    }
    ok(alone(db), "%" PRIu64 " readers were killed: none is left in the view", done);
    fault_child c = fault_spawn("reader", w->path, "read", NULL);
    fault_expect(&c, FAULT_READY, NULL);
    for (int i = 0; i < 20; i++)
        commit_next(w, db, &t);
    ok(fault_stop(&c), "a new reader reads");
    is(rebuild(db, &detail), RQC_OK, "the view can be built anew");
    is(generations(w->path), 1, "and no other generation is left");
    ok(check_verify(db, &why) && check_sql(db, w->path, &why), "the view is whole: %s", why.text);
    rqc_txn_free(t);
    rqc_close(db);
    check_world(w);
    world_free(w);
}

// How far the view's file grows in so many commits.
static uint64_t growth(world *w, rqc_db *db, rqc_txn **t, uint64_t commits)
{
    const uint64_t before = stats_of(db).view_bytes;
    for (uint64_t i = 0; i < commits; i++)
        commit_next(w, db, t);
    return stats_of(db).view_bytes - before;
}

static void test_pinned(uint64_t commits)
{
    world *w = world_new("pinned", NULL);
    rqc_db *db = open_world(w);
    rqc_txn *t;
    begin_writer(w, db, &t);
    for (int i = 0; i < 50; i++)
        commit_next(w, db, &t);
    fault_child c = fault_spawn("reader", w->path, "hold", NULL);
    fault_expect(&c, FAULT_READY, NULL);
    is(stats_of(db).readers, 2, "a reader holds a position: it is counted");
    const uint64_t held = growth(w, db, &t, commits);
    kill_reader(&c);
    ok(alone(db), "it is killed: its place is cleared");
    const uint64_t after = growth(w, db, &t, 2 * commits);
    ok(after < held / 4, "the view grew by %" PRIu64 " bytes beside it, by %" PRIu64 " afterwards",
       held, after);
    rqc_txn_free(t);
    rqc_close(db);
    check_world(w);
    world_free(w);
}

int main(int argc, char **argv)
{
    if (argc > 2) {
        fault_child_begin();
        return strcmp(argv[1], "claim") == 0   ? claim_role(argv[2])
               : strcmp(argv[1], "owner") == 0 ? owner_role(argv[2], argv[3])
                                               : reader_role(argv[2], argv[3]);
    }
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1); // nothing here is about a disk
    fault_begin();
    setenv("RQC_TEST_VIEW", fault_memory, 1);
    const uint64_t kills = tap_scaled(READER_KILLS);
    test_two_owners();
    test_dead_owner(kills / 30 + 2);
    test_race(kills / 15 + 1);
    test_path_race(tap_scaled(100000));
    test_owners_die(kills / 8 + 4);
    test_readers_die(kills);
    test_pinned(tap_scaled(500) + 100);
    fault_end();
    return tap_done();
}

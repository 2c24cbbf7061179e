// SPDX-License-Identifier: Apache-2.0
// kill -9 at random moments: of owners that write, open, rebuild, compact, checkpoint and close,
// and of foreign programs that write the same file. Each child tells every commit that was
// acknowledged. Afterwards all of those must be there, each transaction whole or absent, the view
// equal to the database, the position not behind what was told, the term the same, and `changes`
// must tell everything that came after a position.
#include "api/engine.h"
#include "persist/internal.h"
#include "tests/fault_world.h"
#include "tests/fault_writer.h"

#ifndef CRASH_KILLS
#define CRASH_KILLS 54
#endif

#define REOPEN_ROUNDS 3

// ---- Children -----------------------------------------------------------------------------------

static void rebuild(rqc_db *db)
{
    rqci_errbuf err = {""};
    uint64_t seq;
    pthread_mutex_lock(&db->apply);
    const rqc_err rc = rqci_view_rebuild(db->view, &db->source, &seq, &err);
    pthread_mutex_unlock(&db->apply);
    if (rc != RQC_OK)
        fault_bad("rebuild: %s", err.text);
    fault_sleep_us((int64_t)fault_rand(4000)); // the lock is not fair
}

static void compact(rqc_db *db)
{
    rqci_errbuf err = {""};
    bool more;
    const rqc_err rc = rqci_store_compact(db->store, rqci_keeper_needs, db, &more, &err);
    if (rc != RQC_OK && rc != RQC_BUSY)
        fault_bad("compact: %s", err.text);
    fault_sleep_us(more ? 0 : 2000);
}

static rqc_err checkpoint_call(rqci_store *s, void *arg, rqci_errbuf *err)
{
    (void)arg;
    (void)err;
    (void)rqci_checkpoint(s, fault_rand(2) == 1);
    return RQC_OK;
}

static void checkpoint(rqc_db *db)
{
    if (rqci_writer_call(db->store, checkpoint_call, NULL, NULL) != RQC_OK)
        fault_bad("checkpoint");
    fault_sleep_us(3000);
}

static void nothing(rqc_db *db)
{
    (void)db;
    (void)fault_go_on(20);
}

typedef struct mode {
    const char *name;
    void (*also)(rqc_db *db); // what the main thread does over and over while the writers write;
                              // NULL: open and close over and over
    bool bare;                // without the view before each opening
} mode;

static const mode modes[] = {
    {"write", nothing, false},         {"rebuild", rebuild, false}, {"compact", compact, false},
    {"checkpoint", checkpoint, false}, {"reopen", NULL, false},     {"reopen-bare", NULL, true},
};

// Opens, writes and, unless it writes for ever, closes.
static void own(const char *path, const mode *m, unsigned threads)
{
    static writer w[WORK_WRITERS];
    char view[FAULT_PATH];
    rqc_options o = world_options();
    rqc_db *db;
    rqc_error err = {.text = ""};
    rqc_stats stats = {.size = sizeof stats};
    if (m->bare && fault_view_of(path, view))
        fault_remove(view);
    if (rqc_open(path, &o, &db, &err) != RQC_OK)
        fault_bad("open: %.150s", err.text);
    if (rqc_stats_read(db, &stats, &err) != RQC_OK)
        fault_bad("stats: %.150s", err.text);
    fault_send(
        &(fault_msg){.kind = FAULT_READY, .position = stats.position, .value = stats.generation});
    for (unsigned i = 0; i < threads; i++) {
        w[i] = (writer){.db = db, .who = i};
        writer_begin(&w[i]);
    }
    if (m->also) {
        rqci_keeper_stop(db); // compaction is the mode's, not the keeper's
        for (unsigned i = 0; i < threads; i++)
            if (pthread_create(&w[i].thread, NULL, writer_main, &w[i]) != 0)
                fault_bad("no thread");
        while (fault_go_on(0))
            m->also(db);
        writers_stop = true;
        for (unsigned i = 0; i < threads; i++)
            pthread_join(w[i].thread, NULL);
    } else {
        for (unsigned i = 0; i < REOPEN_ROUNDS * threads; i++)
            writer_step(&w[i % threads]);
    }
    for (unsigned i = 0; i < threads; i++)
        writer_end(&w[i]);
    rqc_close(db);
}

static int owner_role(const char *path, const char *name, const char *threads)
{
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i].name, name) == 0) {
            do
                own(path, &modes[i], (unsigned)atoi(threads));
            while (fault_go_on(0));
            return 0;
        }
    return 2;
}

// ---- Killing ------------------------------------------------------------------------------------

static fault_child start_owner(world *w, const char *name, unsigned threads)
{
    char text[8];
    snprintf(text, sizeof text, "%u", threads);
    if (w->retain)
        setenv("RQC_TEST_RETAIN", w->retain, 1);
    else
        unsetenv("RQC_TEST_RETAIN");
    return fault_spawn("owner", w->path, name, text);
}

static fault_child start_foreign(world *w, const char *synchronous)
{
    w->foreign_since = w->top.seq;
    w->foreign_first = UINT64_MAX;
    return fault_spawn("foreign", w->path, synchronous, NULL);
}

// How long a mode's first round takes here, so that kills spread over all of it.
static int64_t typical_us[sizeof modes / sizeof *modes];

static void kill_owner(world *w, size_t m)
{
    const unsigned threads = 1 + (unsigned)fault_rand(8);
    const int64_t begun = fault_now_us();
    fault_child c = start_owner(w, modes[m].name, threads);
    if (typical_us[m] == 0) {
        fault_msg msg;
        fault_expect(&c, FAULT_READY, &msg);
        see(w, &msg);
        typical_us[m] = fault_now_us() - begun;
    }
    const int64_t chance = (int64_t)fault_rand((uint64_t)(2 * typical_us[m] + 30000));
    hear(w, &c, chance);
    finish_off(w, &c);
}

// Few kills on a slow machine may all come before the first commit: then more are needed before the
// test says anything.
static bool want_more(const world *w, uint64_t kills)
{
    return w->kills < kills || (w->acked == 0 && w->kills < 20 * kills);
}

static void test_owners(size_t m, uint64_t kills, const char *retain, const char *name)
{
    world *w = world_new(modes[m].name, retain);
    while (want_more(w, kills)) {
        kill_owner(w, m);
        if (fault_rand(3) > 0) // otherwise the next owner finds what this one left
            check_world(w);
    }
    check_world(w);
    ok(w->acked > 0, "%u kills while owners %s: %" PRIu64 " acknowledged commits kept, %u checks",
       w->kills, name, w->acked, w->checks);
    if (modes[m].also == compact && w->top.seq > 1000)
        ok(w->horizon > 0, "history before %" PRIu64 " of %" PRIu64 " was given up", w->horizon,
           w->top.seq);
    world_free(w);
}

// A database that is being made.
static void test_creation(uint64_t kills)
{
    unsigned done = 0, empty = 0;
    for (uint64_t i = 0; i < kills; i++) {
        world *w = world_new("new", NULL);
        const int64_t begun = fault_now_us();
        fault_child c = start_owner(w, "reopen", 1);
        static int64_t typical;
        if (typical == 0) {
            fault_msg msg;
            fault_expect(&c, FAULT_READY, &msg);
            see(w, &msg);
            typical = fault_now_us() - begun;
        }
        hear(w, &c, (int64_t)fault_rand((uint64_t)(2 * typical)));
        finish_off(w, &c);
        empty += w->top.seq == 0;
        check_world(w);
        done++;
        world_free(w);
    }
    ok(done == kills, "%u kills while a database is made, %u of them before it was", done, empty);
}

// A foreign program dies while an owner, in this process, goes on.
static void test_foreign(uint64_t kills)
{
    static const char *const levels[] = {"OFF", "NORMAL", "FULL"};
    world *w = world_new("foreign", NULL);
    rqc_db *db = open_world(w);
    rqc_result res;
    rqc_error err = {.text = ""};
    rqc_txn *t;
    if (work_begin(db, 0, &res) != RQC_OK || rqc_txn_new(db, &t, &err) != RQC_OK)
        die("cannot begin");
    w->n[0] = 0;
    see_position(w, &res.position, "begun");
    while (want_more(w, kills)) {
        bool refused = true;
        fault_child c = start_foreign(w, levels[fault_rand(3)]);
        fault_msg m;
        fault_expect(&c, FAULT_START, &m);
        see(w, &m);
        for (const int64_t until = fault_now_us() + (int64_t)fault_rand(60000);
             refused || fault_now_us() < until;) {
            const rqc_err rc = work_commit(t, 0, w->n[0] + 1, &res, &refused);
            if (rc != RQC_OK)
                die("beside a foreign program: %s", rqc_txn_error(t));
            see(w, &(fault_msg){.kind = refused ? FAULT_REFUSED : FAULT_ACK,
                                .who = 0,
                                .n = w->n[0] + 1,
                                .position = res.position});
            if (refused) {
                rqc_txn_free(t);
                if (rqc_txn_new(db, &t, NULL) != RQC_OK)
                    die("no transaction");
            }
            hear(w, &c, 1000);
        }
        finish_off(w, &c);
        w->cut[0] = false; // this writer was not killed
        if (rqc_sync(db, &err) != RQC_OK)
            die("sync after the death of a foreign program: %s", err.text);
        check_open(w, db);
    }
    rqc_txn_free(t);
    rqc_close(db);
    check_world(w);
    ok(w->acked > 0,
       "%u kills of a foreign program beside an owner: %" PRIu64 " commits kept, %u checks",
       w->kills, w->acked, w->checks);
    world_free(w);
}

// The owner dies while a foreign program goes on, and then that dies, too. The first position is
// the one before the foreign program began.
static void test_owner_beside_foreign(uint64_t kills)
{
    world *w = world_new("beside", NULL);
    fault_msg m;
    check_world(w);
    while (want_more(w, kills)) {
        fault_child c = start_owner(w, "write", 2), f;
        fault_expect(&c, FAULT_READY, &m);
        see(w, &m);
        f = start_foreign(w, "NORMAL");
        hear(w, &c, (int64_t)fault_rand(20000));
        finish_off(w, &c);
        w->cut[WORK_FOREIGN] = false;
        if (!hear(w, &f, (int64_t)fault_rand(40000)))
            die("the foreign program ended by itself");
        if (fault_rand(2)) { // a new owner comes while it writes
            c = start_owner(w, "write", 2);
            hear(w, &c, (int64_t)fault_rand(40000));
            hear(w, &f, 1000);
            finish_off(w, &c);
            w->cut[WORK_FOREIGN] = false;
        }
        finish_off(w, &f);
        check_world(w);
    }
    ok(w->acked > 0,
       "%u kills of owners and of a foreign program that outlives them: %" PRIu64 " commits kept",
       w->kills, w->acked);
    world_free(w);
}

int main(int argc, char **argv)
{
    if (argc > 2) {
        fault_child_begin();
        return strcmp(argv[1], "owner") == 0 ? owner_role(argv[2], argv[3], argv[4])
                                             : foreign_role(argv[2], argv[3]);
    }
    fault_begin();
    setenv("RQC_TEST_VIEW", fault_memory, 1);
    const uint64_t kills = tap_scaled(CRASH_KILLS), part = kills / 9 + 1;
    test_owners(0, part, NULL, "write");
    test_owners(1, part, NULL, "write and rebuild the view");
    test_owners(2, part, "400", "write and compact the log");
    test_owners(3, part, NULL, "write and checkpoint");
    test_owners(4, part, NULL, "open, write and close");
    test_owners(5, part, "400", "open without a view, write and close");
    test_creation(part);
    test_foreign(part);
    test_owner_beside_foreign(part);
    fault_end();
    return tap_done();
}

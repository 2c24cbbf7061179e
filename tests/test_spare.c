// SPDX-License-Identifier: Apache-2.0
// The spare view, from which the owner reads while the shared one has no room. Here the shared view
// is only kept from following; tests/test_full.c fills the file system that it is in.
#include "api/engine.h"
#include "tests/store_db.h"

#include <poll.h>
#include <sqlite3.h>

#define LONG_MS 60000u

static char spare[160];

static void lag(rqc_db *db)
{
    pthread_mutex_lock(&db->apply);
    db->lag_code = RQC_NO_SPACE;
    db->lag_until_ms = INT64_MAX;
    atomic_store(&db->no_room, true);
    atomic_store(&db->lagging, true);
    pthread_mutex_unlock(&db->apply);
}

static void comes_back(rqc_db *db)
{
    pthread_mutex_lock(&db->apply);
    db->lag_until_ms = 0;
    pthread_mutex_unlock(&db->apply);
    // Not while another thread is at the spare view.
    for (int i = 0; i < 1000 && atomic_load(&db->lagging); i++) {
        (void)rqci_committed(db, 0, &db->source, false);
        sdb_pause_ms(1);
    }
    ok(!atomic_load(&db->lagging), "the shared view follows again");
}

static rqc_result commit(rqc_db *db, uint64_t n)
{
    rqc_result r = {.visible = 0};
    if (sdb_commit_one(db, n, &r) != RQC_OK)
        bail("commit %d", (int)n);
    return r;
}

static bool sees(rqc_read *r, uint64_t n)
{
    uint8_t id[16];
    const rqc_record *rec;
    sdb_id(id, 9, n);
    return rqc_get(r, RQC_HTTP, id, &rec) == RQC_OK && rqc_record_updated(rec) == (int64_t)n;
}

static void begin(rqc_read *r)
{
    if (rqc_read_begin(r) != RQC_OK)
        bail("no session: %s", rqc_read_error(r));
}

static bool reads_spare(rqc_db *db)
{
    rqc_stats s = {.size = sizeof s};
    rqc_error e = {RQC_OK, ""};
    if (rqc_stats_read(db, &s, &e) != RQC_OK)
        bail("stats: %s", e.text);
    return s.spare != 0;
}

// ---- The view ----------------------------------------------------------------------------------

// A view that was given up and made again is another one for whoever looks at its control page
// alone.
static void test_given_up(void)
{
    rqc_db *db = sdb_open();
    rqci_mirror *m = NULL;
    rqci_reader *x = NULL, *late = NULL;
    lag(db);
    uint64_t seq = commit(db, 30).position.seq;
    rqc_read *r = sdb_read(db);
    if (rqci_mirror_open(spare, NULL, &m, NULL) != RQC_OK ||
        rqci_reader_new(m, &x, NULL) != RQC_OK || rqci_reader_new(m, &late, NULL) != RQC_OK)
        bail("no mirror of %s", spare);
    is(rqci_reader_begin(x, 0, NULL), RQC_OK, "a reader of the spare view");
    is(rqci_reader_state(x)->seq, seq, "at its position");
    rqci_reader_end(x);
    rqc_read_end(r);
    comes_back(db);
    is(rqci_reader_begin(late, 0, NULL), RQC_UNAVAILABLE, "one that was given up is none");
    lag(db);
    seq = commit(db, 31).position.seq;
    begin(r);
    is(rqci_reader_begin(x, 0, NULL), RQC_OK, "one that was made again");
    is(rqci_reader_state(x)->seq, seq, "is read, not the one before");
    rqci_reader_end(x);
    rqci_reader_free(x);
    rqci_reader_free(late);
    rqci_mirror_close(m);
    rqc_read_free(r);
    comes_back(db);
    rqc_close(db);
}

// ---- Sessions -----------------------------------------------------------------------------------

static void test_sessions(void)
{
    rqc_db *db = sdb_open();
    rqc_result r = commit(db, 1);
    ok(r.visible, "a commit is visible");
    rqc_read *old = sdb_read(db), *one = sdb_read(db);
    rqc_read_end(one);
    lag(db);
    ok(!reads_spare(db), "a spare view is made when somebody reads");
    r = commit(db, 2);
    ok(!r.visible, "a commit that the shared view cannot show");
    rqc_watch *w = NULL;
    is(rqc_watch_new(db, &w, NULL), RQC_OK, "watched");
    rqc_watch_clear(w);
    begin(one);
    is(rqc_read_position(one).seq, r.position.seq, "a session stands at its position");
    ok(sees(one, 1) && sees(one, 2), "and sees it");
    ok(reads_spare(db), "in the spare view");
    struct pollfd p = {.fd = rqc_watch_fd(w), .events = POLLIN};
    is(poll(&p, 1, (int)LONG_MS), 1, "who watches is told");
    is(rqc_watch_clear(w).seq, r.position.seq, "the position");
    const rqc_result next = commit(db, 3);
    is(poll(&p, 1, (int)LONG_MS), 1, "and of the next commit, without a session");
    is(rqc_watch_clear(w).seq, next.position.seq, "its position");
    is(rqc_wait(db, &next.position, LONG_MS, NULL, NULL), RQC_OK, "which can be waited for");
    ok(!sees(one, 3) && rqc_read_position(one).seq == r.position.seq, "a session does not move");
    ok(!sees(old, 2), "nor does one of the shared view");
    rqc_read_end(old);
    begin(old);
    ok(sees(old, 3), "until it begins again");
    comes_back(db);
    ok(!reads_spare(db), "the spare view is given up");
    ok(sees(one, 2) && sees(old, 3), "sessions that have it keep it");
    rqc_read_end(old);
    begin(old);
    ok(sees(old, 3), "and go on in the shared one");
    // Again, for a session that was not in the shared view since.
    lag(db);
    (void)commit(db, 4);
    rqc_read_end(one);
    begin(one);
    ok(sees(one, 4) && reads_spare(db), "a second spare view is another one");
    rqc_watch_free(w);
    rqc_read_free(one);
    rqc_read_free(old);
    rqc_close(db);
    ok(access(spare, F_OK) != 0, "closed while it lags: nothing is left of the spare view");
    db = sdb_open();
    one = sdb_read(db);
    ok(sees(one, 4), "opened again: nothing is lost");
    rqc_read_free(one);
    rqc_close(db);
}

// What another program writes is shown once it is durable.
static void test_foreign(void)
{
    sqlite3 *other = NULL;
    rqc_db *db = sdb_open();
    lag(db);
    const rqc_result before = commit(db, 10);
    rqc_read *r = sdb_read(db);
    rqc_read_end(r);
    if (sqlite3_open(sdb_path, &other) != SQLITE_OK ||
        sqlite3_exec(other, "PRAGMA synchronous = OFF; UPDATE http SET updated_at = 11", NULL, NULL,
                     NULL) != SQLITE_OK)
        bail("sqlite3: %s", sqlite3_errmsg(other));
    sqlite3_close(other);
    begin(r);
    ok(rqc_read_position(r).seq > before.position.seq, "what another program wrote is seen");
    uint8_t id[16];
    const rqc_record *rec = NULL;
    sdb_id(id, 9, 10);
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "the row");
    is(rec ? rqc_record_updated(rec) : 0, 11, "as it wrote it");
    is(rqc_verify(db, 0, NULL, NULL, NULL, NULL), RQC_OK, "the shared view can be verified");
    comes_back(db);
    rqc_read_free(r);
    rqc_close(db);
}

// ---- No spare view either -----------------------------------------------------------------------

static char said[512];

static void keep_log(void *ctx, int level, const char *text)
{
    (void)ctx;
    if (level >= RQCI_WARN && strstr(text, "spare"))
        snprintf(said, sizeof said, "%s", text);
}

static void test_refused(void)
{
    rqc_options o = sdb_options();
    rqc_error e = {RQC_OK, ""};
    rqc_db *db = NULL;
    o.log = keep_log;
    if (rqc_open(sdb_path, &o, &db, &e) != RQC_OK)
        bail("open: %s", e.text);
    const rqc_result before = commit(db, 20);
    FILE *f = fopen(spare, "w"); // where its directory would be
    if (!f)
        bail("%s: %s", spare, strerror(errno));
    fclose(f);
    lag(db);
    const rqc_result r = commit(db, 21);
    rqc_read *s = sdb_read(db);
    is(rqc_read_position(s).seq, before.position.seq, "no spare view: the last whole position");
    ok(sees(s, 20) && !sees(s, 21) && !reads_spare(db), "and stats tell");
    ok(strstr(said, spare) != NULL, "so does the log: %s", said);
    is(rqc_wait(db, &r.position, 10, NULL, NULL), RQC_TIMEOUT, "a wait ends in time");
    rqc_read_end(s);
    (void)unlink(spare);
    pthread_mutex_lock(&db->spare.lock);
    db->spare.again_ms = 0;
    pthread_mutex_unlock(&db->spare.lock);
    begin(s);
    ok(sees(s, 21) && reads_spare(db), "once it can be made it is");
    rqc_read_free(s);
    comes_back(db);
    rqc_close(db);
}

// What an owner left that died.
static void test_left(void)
{
    char gen[200], data[220];
    snprintf(gen, sizeof gen, "%s/gen-3", spare);
    snprintf(data, sizeof data, "%s/data.mdb", gen);
    FILE *f = mkdir(spare, 0750) == 0 && mkdir(gen, 0750) == 0 ? fopen(data, "w") : NULL;
    if (!f)
        bail("%s: %s", data, strerror(errno));
    fclose(f);
    rqc_db *db = sdb_open();
    ok(access(spare, F_OK) != 0, "a spare view that was left is removed at open");
    rqc_close(db);
}

// ---- Many threads -------------------------------------------------------------------------------

#define READERS 3

typedef struct crowd {
    rqc_db *db;
    _Atomic uint64_t acknowledged;
    _Atomic bool stop;
    _Atomic unsigned failed, begun;
} crowd;

// What was acknowledged before a session begins is in it, and positions never go back.
static void *read_on(void *arg)
{
    crowd *c = arg;
    rqc_read *r = NULL;
    uint64_t last = 0;
    if (rqc_read_new(c->db, &r, NULL) != RQC_OK)
        atomic_fetch_add(&c->failed, 1);
    while (r && !atomic_load(&c->stop)) {
        const uint64_t least = atomic_load(&c->acknowledged);
        const rqc_err rc = rqc_read_begin(r);
        const uint64_t seq = rqc_read_position(r).seq;
        if (rc != RQC_OK || seq < least || seq < last || rqc_position_now(c->db).seq == 0) {
            atomic_fetch_add(&c->failed, 1);
            tap_note("%d at %llu, acknowledged %llu, seen %llu: %s", (int)rc,
                     (unsigned long long)seq, (unsigned long long)least, (unsigned long long)last,
                     rqc_read_error(r));
        }
        last = seq;
        rqc_read_end(r);
        atomic_fetch_add(&c->begun, 1);
    }
    rqc_read_free(r);
    return NULL;
}

// Another program: nothing tells of what it writes.
static void *write_on(void *arg)
{
    crowd *c = arg;
    sqlite3 *other = NULL;
    if (sqlite3_open(sdb_path, &other) != SQLITE_OK)
        atomic_fetch_add(&c->failed, 1);
    sqlite3_busy_timeout(other, 10000);
    while (!atomic_load(&c->stop))
        if (sqlite3_exec(other, "PRAGMA synchronous = OFF; UPDATE workspaces SET name = name", NULL,
                         NULL, NULL) != SQLITE_OK)
            atomic_fetch_add(&c->failed, 1);
        else
            sdb_pause_ms(1);
    sqlite3_close(other);
    return NULL;
}

static void test_threads(void)
{
    crowd c = {.db = sdb_open()};
    pthread_t threads[READERS], foreign;
    pthread_create(&foreign, NULL, write_on, &c);
    unsigned in_spare = 0;
    const uint64_t rounds = tap_scaled(20);
    for (int i = 0; i < READERS; i++)
        pthread_create(&threads[i], NULL, read_on, &c);
    for (uint64_t round = 0; round < rounds; round++) {
        lag(c.db);
        for (uint64_t n = 0; n < 4; n++) {
            atomic_store(&c.acknowledged, commit(c.db, 100 + 8 * round + n).position.seq);
            sdb_pause_ms(1);
        }
        // The next session of a reader goes there, whenever the scheduler lets it.
        for (int i = 0; i < 10000 && !reads_spare(c.db); i++)
            sdb_pause_ms(1);
        in_spare += reads_spare(c.db);
        comes_back(c.db);
        for (uint64_t n = 4; n < 6; n++)
            atomic_store(&c.acknowledged, commit(c.db, 100 + 8 * round + n).position.seq);
    }
    atomic_store(&c.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    pthread_join(foreign, NULL);
    is(atomic_load(&c.failed), 0, "%u sessions saw what was acknowledged, and never less",
       atomic_load(&c.begun));
    is((uint64_t)in_spare, rounds, "in a spare view each time");
    rqc_verified v = {.differences = 1};
    is(rqc_verify(c.db, 0, NULL, NULL, &v, NULL), RQC_OK, "verify");
    is(v.differences, 0, "finds no difference");
    rqc_close(c.db);
}

int main(void)
{
    sdb_begin("spare");
    snprintf(spare, sizeof spare, "%s.rqc-spare", sdb_path);
    test_given_up();
    test_sessions();
    test_foreign();
    test_refused();
    test_left();
    test_threads();
    sdb_end();
    return tap_done();
}

// SPDX-License-Identifier: Apache-2.0
// Many writes at once: eight threads, the order in which jobs are done and told, and groups in
// which some fail and their neighbours do not.
#include "persist/internal.h"
#include "tests/store_filled.h"

// ---- Threads ------------------------------------------------------------------------------------

enum { THREADS = 8, ROUNDS = 60 };

typedef struct worker {
    rqci_store *s;
    unsigned number, good, refused, other, not_unique;
    uint64_t last;
} worker;

// Thread 0 writes what cannot be; the others must not notice. Each job has two rows, the second of
// thread 0's violates a foreign key.
static void *work(void *arg)
{
    worker *k = arg;
    rqc_value a[RQCI_FIELD_MAX], b[RQCI_FIELD_MAX];
    for (unsigned i = 0; i < ROUNDS; i++) {
        const unsigned n = 1000 + k->number * ROUNDS + i;
        uint8_t id[2][16]; // fix_id is not for threads
        memset(id, (int)(100 + k->number), sizeof id);
        memcpy(id[0], &n, sizeof n);
        memcpy(id[1] + 8, &n, sizeof n);
        static const uint8_t first[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1},
                             none[16] = {7};
        fix_http_row(a, first, "a");
        fix_http_row(b, k->number == 0 ? none : first, "b");
        const rqci_write list[] = {fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, id[0], a),
                                   fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, id[1], b)};
        rqci_job j;
        const rqc_err e = fix_run(k->s, list, 2, &j);
        if (e == RQC_OK) {
            k->good++;
            k->not_unique += j.seq <= k->last;
            k->last = j.seq;
        } else if (e == RQC_CONSTRAINT && j.failed == 1) {
            k->refused++;
        } else {
            k->other++;
        }
    }
    return NULL;
}

static void test_threads(void)
{
    char path[FIX_PATH];
    rqci_store *s = filled("threads.db", path);
    worker k[THREADS];
    pthread_t t[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        k[i] = (worker){.s = s, .number = i};
        pthread_create(&t[i], NULL, work, &k[i]);
    }
    unsigned good = 0, other = 0, order = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        good += k[i].good;
        other += k[i].other;
        order += k[i].not_unique;
    }
    is(k[0].refused, (unsigned)ROUNDS,
       "every job of the failing thread failed at its second write");
    is(good, (unsigned)((THREADS - 1) * ROUNDS), "every job of the others succeeded");
    is(other, 0u, "no other error");
    is(order, 0u, "positions rise");
    const rqci_store_stats st = fix_stats(s);
    ok(st.groups < st.jobs, "jobs shared commits (%llu jobs in %llu groups)",
       (unsigned long long)st.jobs, (unsigned long long)st.groups);
    sqlite3 *db = fix_foreign(path);
    is(fix_int(db, "SELECT count(*) FROM http"), 2 + 2 * good, "exactly their rows are there");
    is(fix_int(db, "SELECT count(*) FROM change_log"), 5 + 2 * good, "and logged once each");
    is(fix_text(db, "PRAGMA integrity_check"), "ok", "the database is sound");
    sqlite3_close(db);
    rqci_store_close(s);
}

// ---- A transaction that ends too early ----

static struct {
    rqci_store *store;
    int calls, undone, prepared;
} early;

static bool ends_it(void *ctx, const rqci_source *source)
{
    (void)ctx;
    (void)source;
    early.calls++;
    fix_exec(early.store->db, "ROLLBACK");
    return true;
}

static void undone(void *ctx)
{
    (void)ctx;
    early.undone++;
}

static rqc_err after_it(void *ctx, uint64_t head, const rqci_source *source, bool prepared)
{
    (void)ctx;
    (void)head;
    (void)source;
    early.prepared += prepared;
    return RQC_OK;
}

// Whatever ended it while the view's next state was made: the job is done again, without that.
static void test_ends_early(void)
{
    char path[FIX_PATH];
    rqci_store_close(filled("early.db", path));
    rqci_store_options opt = fix_options();
    rqc_value w[RQCI_FIELD_MAX];
    rqci_job j;
    opt.prepare = ends_it;
    opt.undone = undone;
    opt.committed = after_it;
    early.store = fix_open_with(path, &opt);
    fix_start(early.store);
    fix_workspace_row(w, "early");
    is(fix_one(early.store, RQCI_WRITE_PUT, RQCI_WORKSPACES, W(98), w, &j), RQC_OK,
       "a transaction that ends before its commit is made again: %s", j.detail.text);
    ok(early.calls == 1 && early.undone == 1 && early.prepared == 0,
       "and what was prepared is given up, once");
    sqlite3 *db = fix_foreign(path);
    is(fix_int(db, "SELECT count(*) FROM workspaces WHERE name = 'early'"), 1, "it is there");
    sqlite3_close(db);
    rqci_store_close(early.store);
}

// ---- Order, callbacks, closing ------------------------------------------------------------------

static struct {
    pthread_mutex_t mu;
    uint64_t head, calls, done, done_before_committed, unseen;
    rqc_err answer;
} seen = {.mu = PTHREAD_MUTEX_INITIALIZER};

static rqc_err committed(void *ctx, uint64_t head, const rqci_source *source, bool prepared)
{
    (void)ctx;
    (void)prepared;
    rqci_source_state state = {0};
    const rqc_err began = source->begin(source->ctx, &state, NULL);
    if (!began)
        source->end(source->ctx);
    pthread_mutex_lock(&seen.mu);
    seen.unseen += began != RQC_OK || state.head < head;
    seen.head = head;
    seen.calls++;
    const rqc_err e = seen.answer;
    pthread_mutex_unlock(&seen.mu);
    return e;
}

static void done(rqci_job *job)
{
    pthread_mutex_lock(&seen.mu);
    seen.done++;
    seen.done_before_committed += job->err == RQC_OK && seen.head < job->seq;
    pthread_mutex_unlock(&seen.mu);
}

static void test_callbacks(void)
{
    char path[FIX_PATH];
    rqci_store_close(filled("callbacks.db", path));
    rqci_store_options opt = fix_options();
    opt.committed = committed;
    rqci_store *s = fix_open_with(path, &opt);
    enum { N = 200 };
    static rqci_job jobs[N];
    static rqci_write writes[N];
    rqc_value w[RQCI_FIELD_MAX];
    fix_workspace_row(w, "w");
    for (unsigned i = 0; i < N; i++) {
        writes[i] = fix_write_of(RQCI_WRITE_PUT, RQCI_WORKSPACES, W(100 + i), w);
        jobs[i] = (rqci_job){.writes = &writes[i], .nwrites = 1, .done = done};
        if (rqci_store_submit(s, &jobs[i]))
            bail("submit");
    }
    is(seen.done, 0u, "nothing runs before the start");
    fix_start(s);
    is(rqci_store_start(s, NULL), RQC_INTERNAL, "no second start");
    rqci_job j;
    seen.answer = RQC_UNAVAILABLE;
    is(fix_one(s, RQCI_WRITE_PUT, RQCI_WORKSPACES, W(99), w, &j), RQC_OK,
       "a view that lags is no error");
    ok(!j.visible, "and is told");
    is(seen.done, (uint64_t)N, "jobs are done in order");
    is(seen.done_before_committed, 0u, "none before the view was called");
    is(seen.unseen, 0u, "and each was seen through the writer's source");
    is(fix_stats(s).groups <= 2, true, "the jobs that waited made one group");
    rqci_errbuf err = {{0}};
    is(rqci_store_sync(s, &err), RQC_UNAVAILABLE, "sync gives the view's answer");
    seen.answer = RQC_OK;
    sqlite3 *db = fix_foreign(path);
    fix_exec(db, "UPDATE workspaces SET name = 'foreign'");
    is(rqci_store_sync(s, &err), RQC_OK, "sync");
    is(seen.head, (uint64_t)fix_int(db, "SELECT max(seq) FROM change_log"),
       "shows foreign commits");
    sqlite3_close(db);
    rqci_store_close(s);

    // Jobs of a store that never started are not lost without a word.
    s = fix_open_with(path, &opt);
    jobs[0].done = done;
    rqci_store_submit(s, &jobs[0]);
    is(rqci_store_sync(s, &err), RQC_CLOSED, "no sync before the start");
    seen.done = 0;
    rqci_store_close(s);
    is(seen.done, 1u, "a job is answered when the store closes");
    is(jobs[0].err, RQC_CLOSED, "with RQC_CLOSED");
}

// ---- Groups -------------------------------------------------------------------------------------

// One group with everything in it: good jobs, one that fails in the middle, one that fails at the
// commit.
static void test_mixed_group(void)
{
    char path[FIX_PATH];
    rqci_store_close(filled("mixed.db", path));
    sqlite3 *db = fix_foreign(path);
    fix_exec(db,
             "CREATE TABLE late (w BLOB REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED);"
             "INSERT INTO late VALUES (%s)",
             fix_hex(W(2)));
    for (int deferred = 0; deferred < 2; deferred++) {
        rqci_store *s = fix_open(path);
        rqc_value w[RQCI_FIELD_MAX], h[RQCI_FIELD_MAX];
        fix_workspace_row(w, "w");
        fix_http_row(h, W(77), "");
        rqci_write writes[4] = {fix_write_of(RQCI_WRITE_PUT, RQCI_WORKSPACES,
                                             W(10 + (unsigned)deferred * 10), w),
                                fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, H(50), h),
                                fix_write_of(RQCI_WRITE_PUT, RQCI_WORKSPACES,
                                             W(11 + (unsigned)deferred * 10), w),
                                fix_write_of(RQCI_WRITE_DELETE, RQCI_WORKSPACES, W(2), NULL)};
        rqci_job jobs[4];
        const size_t n = deferred ? 4 : 3;
        for (size_t i = 0; i < n; i++) {
            jobs[i] = (rqci_job){.writes = &writes[i], .nwrites = 1, .done = done};
            rqci_store_submit(s, &jobs[i]);
        }
        fix_start(s);
        rqci_store_close(s);
        const char *what = deferred ? "failing commit" : "failing write";
        is(jobs[0].err, RQC_OK, "%s: the neighbour before", what);
        is(jobs[1].err, RQC_CONSTRAINT, "%s: the one to blame", what);
        is(jobs[2].err, RQC_OK, "%s: the neighbour after", what);
        ok(jobs[0].seq < jobs[2].seq, "%s: positions in order", what);
        if (deferred)
            is(jobs[3].err, RQC_CONSTRAINT, "%s: the one that the commit refused", what);
        is(fix_int(db, "SELECT count(*) FROM workspaces WHERE id IN (%s, %s)",
                   fix_hex(writes[0].id), fix_hex(writes[2].id)),
           2, "%s: the neighbours' rows are there", what);
    }
    sqlite3_close(db);
}

// In a group each job answers for itself, also for references.
static void test_references_group(void)
{
    char path[FIX_PATH];
    rqci_store_close(filled("refs_group.db", path));
    rqci_store *s = fix_open(path);
    rqc_value w[RQCI_FIELD_MAX], h[RQCI_FIELD_MAX];
    uint8_t ws[16];
    memcpy(ws, W(40), 16);
    fix_workspace_row(w, "w");
    fix_http_row(h, ws, "");
    rqci_write writes[4] = {fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, H(40), h),
                            fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, H(41), h),
                            fix_write_of(RQCI_WRITE_PUT, RQCI_WORKSPACES, ws, w),
                            fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, H(42), h)};
    static rqci_job jobs[3];
    jobs[0] = (rqci_job){.writes = writes, .nwrites = 1, .done = done};
    jobs[1] = (rqci_job){.writes = writes + 1, .nwrites = 2, .done = done};
    jobs[2] = (rqci_job){.writes = writes + 3, .nwrites = 1, .done = done};
    for (int i = 0; i < 3; i++)
        rqci_store_submit(s, &jobs[i]);
    fix_start(s);
    rqci_store_close(s);
    is(jobs[0].err, RQC_CONSTRAINT, "a parent in the neighbour's job is none");
    is(jobs[1].err, RQC_OK, "the neighbour: %s", jobs[1].detail.text);
    is(jobs[2].err, RQC_OK, "the one behind it: %s", jobs[2].detail.text);
    sqlite3 *db = fix_foreign(path);
    is(fix_int(db, "SELECT count(*) FROM http WHERE workspace_id = %s", fix_hex(ws)), 2,
       "exactly their rows");
    is(fix_text(db, "PRAGMA foreign_key_check"), "(none)", "no orphan was made");
    sqlite3_close(db);
}

int main(void)
{
    fix_begin();
    test_threads();
    test_callbacks();
    test_ends_early();
    test_mixed_group();
    test_references_group();
    return tap_done();
}

// SPDX-License-Identifier: Apache-2.0
// Writes through the store: what each kind does, what is logged and counted, conditions, errors
// that hit one job and not its neighbours, and eight threads at once.
#include "tests/store_fixture.h"

static const uint8_t *W(unsigned n)
{
    return fix_id(RQCI_WORKSPACES, n);
}

static const uint8_t *H(unsigned n)
{
    return fix_id(RQCI_HTTP, n);
}

static const uint8_t *X(unsigned n)
{
    return fix_id(RQCI_HTTP_HEADER, n);
}

static rqci_store *filled(const char *name, char ret_path[FIX_PATH])
{
    rqci_store *s = fix_started(fix_path(ret_path, "%s", name));
    rqc_value w[RQCI_FIELD_MAX], h[RQCI_FIELD_MAX];
    fix_workspace_row(w, "w");
    fix_http_row(h, W(1), "https://svc.test/");
    rqci_write list[] = {fix_write_of(RQCI_WRITE_PUT, RQCI_WORKSPACES, W(1), w),
                         fix_write_of(RQCI_WRITE_PUT, RQCI_WORKSPACES, W(2), w),
                         fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, H(1), h),
                         fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, H(2), h)};
    rqci_job j;
    if (fix_run(s, list, 4, &j) || j.seq != 5)
        bail("filling: %d %s", j.err, j.detail.text);
    return s;
}

// The ops and last id bytes of the log after a position.
static const char *log_after(sqlite3 *db, uint64_t seq)
{
    return fix_text(db,
                    "SELECT coalesce(group_concat(entity || ':' || op || ':' ||"
                    " substr(hex(id), 31), ' '), '') FROM (SELECT * FROM change_log WHERE seq > "
                    "%lld ORDER BY seq)",
                    (long long)seq);
}

static void test_kinds(void)
{
    char path[FIX_PATH];
    rqci_store *s = filled("kinds.db", path);
    sqlite3 *db = fix_foreign(path);
    rqc_value h[RQCI_FIELD_MAX], x[RQCI_FIELD_MAX];
    rqci_job j;

    fix_http_row(h, W(1), "https://svc.test/new");
    is(fix_one(s, RQCI_WRITE_PUT, RQCI_HTTP, H(1), h, &j), RQC_OK, "put of a row that is there");
    is(log_after(db, 5), "3:2:01", "an update logs one row");
    is(j.seq, 6u, "its position");
    is(j.written, 1u, "one row written");
    ok(j.visible, "without a view everything is visible");
    is(fix_text(db,
                "SELECT url || ' ' || body_kind || ' ' || (abs(updated_at - unixepoch()) < 60) "
                "FROM http WHERE id = %s",
                fix_hex(H(1))),
       "https://svc.test/new 2 1", "values and defaults");

    is(fix_one(s, RQCI_WRITE_PUT, RQCI_HTTP, H(3), h, &j), RQC_OK, "put of a new row");
    is(log_after(db, 6), "3:1:03", "an insert logs one row");

    is(fix_one(s, RQCI_WRITE_ADD, RQCI_HTTP, H(3), h, &j), RQC_OK, "add of a row that is there");
    is(j.skipped, 1u, "is skipped");
    is(j.seq, 7u, "and changes nothing");
    is(fix_one(s, RQCI_WRITE_ADD, RQCI_HTTP, H(4), h, &j), RQC_OK, "add of a new row");
    is(j.written, 1u, "is written");

    memset(h, 0, sizeof h);
    h[RQCI_HTTP_METHOD] = rows_text("POST");
    h[RQCI_HTTP_DELTA_BODY_KIND] = rows_int(0);
    is(fix_one(s, RQCI_WRITE_PATCH, RQCI_HTTP, H(1), h, &j), RQC_OK, "patch");
    is(fix_text(db, "SELECT method || ' ' || url || ' ' || delta_body_kind FROM http WHERE id = %s",
                fix_hex(H(1))),
       "POST https://svc.test/new 0", "a patch leaves the other columns");
    h[RQCI_HTTP_DELTA_BODY_KIND] = rows_null();
    is(fix_one(s, RQCI_WRITE_PATCH, RQCI_HTTP, H(1), h, &j), RQC_OK, "patch to NULL");
    is(fix_text(db, "SELECT delta_body_kind IS NULL FROM http WHERE id = %s", fix_hex(H(1))), "1",
       "is NULL");
    is(fix_one(s, RQCI_WRITE_PATCH, RQCI_HTTP, H(99), h, &j), RQC_NOT_FOUND, "patch of no row");
    is(j.failed, 0u, "names the write");
    memset(h, 0, sizeof h);
    h[RQCI_HTTP_WORKSPACE_ID] = rows_id(W(2));
    const uint64_t before = fix_stats(s).head;
    is(fix_one(s, RQCI_WRITE_PATCH, RQCI_HTTP, H(1), h, &j), RQC_OK, "patch of the owner");
    is(log_after(db, before), "3:3:01 3:4:01", "is logged as a move");

    fix_header_row(x, H(1), "v");
    is(fix_one(s, RQCI_WRITE_PUT, RQCI_HTTP_HEADER, X(1), x, &j), RQC_OK, "header");
    is(fix_one(s, RQCI_WRITE_PUT, RQCI_HTTP_HEADER, X(2), x, &j), RQC_OK, "header");
    is(fix_one(s, RQCI_WRITE_DELETE, RQCI_HTTP, H(1), NULL, &j), RQC_OK, "delete");
    is(j.deleted, 3u, "cascades are counted");
    is(fix_one(s, RQCI_WRITE_DELETE, RQCI_HTTP, H(1), NULL, &j), RQC_NOT_FOUND, "delete again");
    is(fix_run(s, NULL, 0, &j), RQC_OK, "an empty job");
    is(j.seq, fix_stats(s).head, "has the head as its position");
    sqlite3_close(db);
    rqci_store_close(s);
}

static void test_values(void)
{
    char path[FIX_PATH];
    rqci_store *s = filled("values.db", path);
    sqlite3 *db = fix_foreign(path);
    rqc_value b[RQCI_FIELD_MAX] = {0}, r[RQCI_FIELD_MAX] = {0};
    rqci_job j;
    char *large = malloc(300000);
    memset(large, 'l', 300000);
    b[RQCI_HTTP_BODY_RAW_HTTP_ID] = rows_id(H(1));
    b[RQCI_HTTP_BODY_RAW_RAW_DATA] = rows_bytes(large, 300000);
    b[RQCI_HTTP_BODY_RAW_DELTA_RAW_DATA] = rows_bytes(NULL, 0);
    is(fix_one(s, RQCI_WRITE_PUT, RQCI_HTTP_BODY_RAW, fix_id(8, 1), b, &j), RQC_OK, "large body");
    is(fix_text(db, "SELECT typeof(raw_data) || length(raw_data) || typeof(delta_raw_data) || "
                    "length(delta_raw_data) || typeof(delta_compression_type)"
                    " FROM http_body_raw"),
       "blob300000blob0null", "bytes, no bytes and NULL are three things");
    r[RQCI_HTTP_RESPONSE_HTTP_ID] = rows_id(H(1));
    r[RQCI_HTTP_RESPONSE_STATUS] = rows_int(200);
    r[RQCI_HTTP_RESPONSE_DURATION] = r[RQCI_HTTP_RESPONSE_SIZE] = rows_int(INT64_MAX);
    r[RQCI_HTTP_RESPONSE_TIME] = rows_text("");
    is(fix_one(s, RQCI_WRITE_PUT, RQCI_HTTP_RESPONSE, fix_id(11, 1), r, &j), RQC_OK, "response");
    is(fix_text(db, "SELECT typeof(time) || length(time) || duration FROM http_response"),
       "text09223372036854775807", "empty text, large number");
    r[RQCI_HTTP_RESPONSE_TIME] = (rqc_value){.type = RQC_LARGE, .n = 16, .p = H(1), .u.length = 5};
    is(fix_one(s, RQCI_WRITE_PUT, RQCI_HTTP_RESPONSE, fix_id(11, 1), r, &j), RQC_INVALID,
       "a value by its hash");

    rqci_buf out = {0};
    rqci_errbuf err = {{0}};
    is(rqci_store_value(s, RQCI_HTTP_BODY_RAW, fix_id(8, 1), RQCI_HTTP_BODY_RAW_RAW_DATA, &out,
                        &err),
       RQC_OK, "value");
    ok(out.len == 300000 && memcmp(out.data, large, out.len) == 0, "its bytes");
    is(rqci_store_value(s, RQCI_HTTP_BODY_RAW, fix_id(8, 2), RQCI_HTTP_BODY_RAW_RAW_DATA, &out,
                        &err),
       RQC_NOT_FOUND, "no row");
    is(rqci_store_value(s, RQCI_HTTP_BODY_RAW, fix_id(8, 1),
                        RQCI_HTTP_BODY_RAW_DELTA_COMPRESSION_TYPE, &out, &err),
       RQC_NOT_FOUND, "NULL");
    is(rqci_store_value(s, RQCI_HTTP_BODY_RAW, fix_id(8, 1), 99, &out, &err), RQC_INVALID,
       "no such field");
    is(rqci_store_value(s, 99, fix_id(8, 1), 0, &out, &err), RQC_INVALID, "no such entity");
    rqci_buf_free(&out);
    free(large);
    sqlite3_close(db);
    rqci_store_close(s);
}

static void test_conditions(void)
{
    char path[FIX_PATH];
    rqci_store *s = filled("conditions.db", path);
    sqlite3 *db = fix_foreign(path);
    rqc_value h[RQCI_FIELD_MAX] = {0};
    h[RQCI_HTTP_NAME] = rows_text("n");
    rqci_job j;
    rqci_write w = fix_write_of(RQCI_WRITE_PATCH, RQCI_HTTP, H(1), h);
    w.if_seq = true;
    w.seq = 4;
    is(fix_run(s, &w, 1, &j), RQC_OK, "the row is at the expected position");
    is(fix_run(s, &w, 1, &j), RQC_CHANGED, "it changed since");
    is(j.detail.text, "http: changed at position 6", "and where");
    w.seq = j.seq;
    is(j.seq, 6u, "a failed job tells the head");
    fix_exec(db, "UPDATE http SET name = 'foreign' WHERE id = %s", fix_hex(H(1)));
    is(fix_run(s, &w, 1, &j), RQC_CHANGED, "a foreign commit that nobody has picked up counts");
    w.seq = 7;
    rqci_write twice[2] = {w, w};
    is(fix_run(s, twice, 2, &j), RQC_OK, "changes of the job itself do not");
    rqci_write mixed[2] = {fix_write_of(RQCI_WRITE_PATCH, RQCI_HTTP, H(2), h), w};
    is(fix_run(s, mixed, 2, &j), RQC_CHANGED, "one condition fails a job");
    is(j.failed, 1u, "and is named");
    is(fix_text(db, "SELECT name FROM http WHERE id = %s", fix_hex(H(2))), "name",
       "nothing of the job is there");
    is(j.written, 0u, "nothing is counted");
    sqlite3_close(db);
    rqci_store_close(s);
}

static void test_errors(void)
{
    char path[FIX_PATH];
    rqci_store *s = filled("errors.db", path);
    rqc_value h[RQCI_FIELD_MAX];
    rqci_job j;
    fix_http_row(h, W(9), "");
    is(fix_one(s, RQCI_WRITE_PUT, RQCI_HTTP, H(5), h, &j), RQC_CONSTRAINT, "unknown workspace");
    ok(strstr(j.detail.text, "FOREIGN KEY"), "says so: %s", j.detail.text);
    fix_http_row(h, W(1), "");
    h[RQCI_HTTP_IS_DELTA] = rows_bool(true);
    is(fix_one(s, RQCI_WRITE_PUT, RQCI_HTTP, H(5), h, &j), RQC_CONSTRAINT, "delta without parent");
    is(fix_one(s, 9, RQCI_HTTP, H(5), h, &j), RQC_INVALID, "unknown kind");
    is(fix_one(s, RQCI_WRITE_PUT, 99, H(5), h, &j), RQC_INVALID, "unknown entity");
    is(fix_one(s, RQCI_WRITE_PUT, RQCI_HTTP, H(5), NULL, &j), RQC_INVALID, "put without row");
    const rqci_job huge = {.nwrites = RQCI_JOB_WRITES_MAX + 1};
    j = huge;
    is(rqci_store_run(s, &j), RQC_TOO_LARGE, "too many writes");
    is(fix_stats(s).head, 5u, "nothing of all this is in the log");
    is(fix_stats(s).jobs_failed, 5u, "failed jobs are counted");

    // Another program holds the write lock for longer than we wait.
    rqci_store_close(s);
    rqci_store_options opt = fix_options();
    opt.busy_ms = 50;
    s = fix_open_with(path, &opt);
    fix_start(s);
    sqlite3 *db = fix_foreign(path);
    fix_exec(db, "BEGIN IMMEDIATE");
    fix_workspace_row(h, "w");
    is(fix_one(s, RQCI_WRITE_PUT, RQCI_WORKSPACES, W(7), h, &j), RQC_BUSY,
       "locked by another program");
    fix_exec(db, "COMMIT");
    is(fix_one(s, RQCI_WRITE_PUT, RQCI_WORKSPACES, W(7), h, &j), RQC_OK, "not any more");
    // A constraint that is looked at only when the transaction ends.
    fix_exec(db,
             "CREATE TABLE late (w BLOB REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED);"
             "INSERT INTO late VALUES (%s)",
             fix_hex(W(7)));
    is(fix_one(s, RQCI_WRITE_DELETE, RQCI_WORKSPACES, W(7), NULL, &j), RQC_CONSTRAINT,
       "a deferred constraint fails the commit");
    is(fix_one(s, RQCI_WRITE_DELETE, RQCI_WORKSPACES, W(2), NULL, &j), RQC_OK, "and nothing else");
    sqlite3_close(db);
    rqci_store_close(s);
}

static void done(rqci_job *job);

// ---- References ---------------------------------------------------------------------------------

// What is written in one transaction may come in any order; a row that points to nothing is named.
static void test_references(void)
{
    char path[FIX_PATH];
    rqci_store *s = filled("refs.db", path);
    rqc_value w[RQCI_FIELD_MAX], h[RQCI_FIELD_MAX], k[RQCI_FIELD_MAX], d[RQCI_FIELD_MAX];
    uint8_t ws[16], base[16], delta[16], head[16], none[16];
    memcpy(ws, W(20), 16);
    memcpy(base, H(20), 16);
    memcpy(delta, H(21), 16);
    memcpy(head, fix_id(4, 20), 16);
    memcpy(none, H(99), 16);
    fix_workspace_row(w, "late");
    fix_http_row(h, ws, "");
    fix_http_row(d, ws, "");
    d[RQCI_HTTP_IS_DELTA] = rows_bool(true);
    d[RQCI_HTTP_PARENT_HTTP_ID] = rows_id(base);
    fix_header_row(k, base, "");
    rqci_write all[4] = {fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP_HEADER, head, k),
                         fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, delta, d),
                         fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, base, h),
                         fix_write_of(RQCI_WRITE_PUT, RQCI_WORKSPACES, ws, w)};
    rqci_job j;
    is(fix_run(s, all, 4, &j), RQC_OK, "children before their parents: %s", j.detail.text);
    is(fix_run(s, all, 4, &j), RQC_OK, "and once more, over what is there");

    // An orphan from before: the parent that comes for it must not pay for another row's.
    sqlite3 *db = fix_foreign(path);
    fix_exec(db,
             "INSERT INTO http_header (id, http_id, header_key, header_value) VALUES"
             " (%s, %s, '', '')",
             fix_hex(fix_id(4, 30)), fix_hex(H(30)));
    rqc_value bad[RQCI_FIELD_MAX];
    fix_header_row(bad, none, "");
    rqci_write mixed[2] = {fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP_HEADER, fix_id(4, 31), bad),
                           fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, H(30), h)};
    is(fix_run(s, mixed, 2, &j), RQC_CONSTRAINT, "one that points to nothing is refused");
    is(j.failed, 0u, "and named");
    ok(strstr(j.detail.text, "http_header.http_id"), "with its column: %s", j.detail.text);
    is(fix_int(db, "SELECT count(*) FROM http WHERE id = %s", fix_hex(H(30))), 0,
       "nothing of it was stored");

    // A reference without ON DELETE, from a table that is not ours.
    fix_exec(db, "CREATE TABLE guest (h BLOB REFERENCES http (id)); INSERT INTO guest VALUES (%s)",
             fix_hex(base));
    is(fix_one(s, RQCI_WRITE_DELETE, RQCI_HTTP, base, NULL, &j), RQC_CONSTRAINT,
       "what others point to stays");
    ok(strstr(j.detail.text, "FOREIGN KEY"), "and why: %s", j.detail.text);
    is(fix_int(db, "SELECT count(*) FROM http WHERE id = %s", fix_hex(base)), 1, "it is there");
    rqci_write swap[2] = {fix_write_of(RQCI_WRITE_DELETE, RQCI_HTTP, base, NULL),
                          fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, base, h)};
    is(fix_run(s, swap, 2, &j), RQC_OK, "unless it comes again in the same transaction");
    sqlite3_close(db);
    rqci_store_close(s);
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

// ---- Groups -------------------------------------------------------------------------------------

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

// ---- Order, callbacks, closing ------------------------------------------------------------------

static struct {
    pthread_mutex_t mu;
    uint64_t head, calls, done, done_before_committed, unseen;
    rqc_err answer;
} seen = {.mu = PTHREAD_MUTEX_INITIALIZER};

static rqc_err committed(void *ctx, uint64_t head, const rqci_source *source)
{
    (void)ctx;
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

// ---- Forks and readers --------------------------------------------------------------------------

static void test_fork(void)
{
    char path[FIX_PATH];
    rqci_store *s = filled("fork.db", path);
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        rqci_job j = {0};
        rqci_buf out = {0};
        rqci_source src;
        rqci_source_state st;
        rqci_store_source(s, &src);
        int bad = rqci_store_run(s, &j) != RQC_CLOSED;
        bad |= (rqci_store_sync(s, NULL) != RQC_CLOSED) << 1;
        bad |= (rqci_store_value(s, RQCI_HTTP, H(1), 1, &out, NULL) != RQC_CLOSED) << 2;
        bad |= (src.begin(src.ctx, &st, NULL) != RQC_CLOSED) << 3;
        rqci_store *other = NULL;
        const rqci_store_options opt = fix_options();
        bad |= (rqci_store_open(path, &opt, &other, NULL) != RQC_BUSY) << 4;
        rqci_store_close(s);
        _exit(bad);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a forked child is no owner (%d)", status);
    rqc_value w[RQCI_FIELD_MAX];
    fix_workspace_row(w, "w");
    rqci_job j;
    is(fix_one(s, RQCI_WRITE_PUT, RQCI_WORKSPACES, W(3), w, &j), RQC_OK, "the parent goes on");
    rqci_store *other = NULL;
    const rqci_store_options opt = fix_options();
    is(rqci_store_open(path, &opt, &other, NULL), RQC_BUSY, "and still holds the lock");
    rqci_store_close(s);

    // The lock goes with the parent, even while a child lives.
    int ready[2], hold[2];
    if (pipe(ready) != 0 || pipe(hold) != 0)
        bail("pipe");
    const pid_t owner = fork();
    if (owner == 0) {
        (void)fix_open(path);
        if (fork() == 0) { // the grandchild waits until the test closes the pipe
            char c;
            close(hold[1]);
            _exit(write(ready[1], "x", 1) != 1 || read(hold[0], &c, 1) != 0);
        }
        _exit(0);
    }
    char c;
    ok(read(ready[0], &c, 1) == 1, "an owner with a child");
    waitpid(owner, &status, 0);
    s = NULL;
    is(rqci_store_open(path, &opt, &s, NULL), RQC_OK, "the lock does not outlive the owner");
    rqci_store_close(s);
    close(hold[0]);
    close(hold[1]);
    close(ready[0]);
    close(ready[1]);
}

static void test_read_only(void)
{
    char path[FIX_PATH];
    rqci_store *s = filled("readonly.db", path);
    rqci_store_options opt = fix_options();
    opt.read_only = true;
    rqci_store *r = NULL;
    rqci_errbuf err = {{0}};
    is(rqci_store_open(path, &opt, &r, &err), RQC_OK, "a reader beside the owner %s", err.text);
    rqci_job j = {0};
    is(rqci_store_run(r, &j), RQC_READ_ONLY, "cannot write");
    is(rqci_store_sync(r, &err), RQC_READ_ONLY, "cannot sync");
    is(rqci_store_start(r, &err), RQC_READ_ONLY, "cannot start");
    bool more;
    is(rqci_store_compact(r, NULL, NULL, &more, &err), RQC_READ_ONLY, "cannot compact");
    rqci_buf out = {0};
    is(rqci_store_value(r, RQCI_HTTP, H(1), RQCI_HTTP_URL, &out, &err), RQC_OK, "can read a value");
    ok(out.len == 17 && memcmp(out.data, "https://svc.test/", 17) == 0, "the right one");
    rqci_source src;
    rqci_source_state st;
    rqci_store_source(r, &src);
    is(src.begin(src.ctx, &st, &err), RQC_OK, "can be a source");
    is(st.head, 5u, "at the head");
    src.end(src.ctx);
    rqci_buf_free(&out);
    is(fix_stats(r).head, 5u, "has numbers");
    rqci_store_close(r);
    fix_path(path, "missing.db");
    is(rqci_store_open(path, &opt, &r, &err), RQC_NOT_FOUND, "a reader makes no file");
    ok(access(path, F_OK) != 0, "there is none");
    rqci_store_close(s);
}

// ---- Checkpoints --------------------------------------------------------------------------------

static void test_checkpoints(void)
{
    char path[FIX_PATH];
    rqci_store *s = filled("checkpoint.db", path);
    rqc_value b[RQCI_FIELD_MAX] = {0};
    rqci_job j;
    const size_t size = 1 << 20;
    char *bytes = malloc(size);
    uint8_t owner[16]; // fix_id's own memory is used again by then
    memcpy(owner, H(1), sizeof owner);
    memset(bytes, 7, size);
    b[RQCI_HTTP_BODY_RAW_HTTP_ID] = rows_id(owner);
    b[RQCI_HTTP_BODY_RAW_RAW_DATA] = rows_bytes(bytes, (uint32_t)size);
    unsigned bad = 0;
    uint64_t largest = 0;
    for (int i = 0; i < 40; i++) {
        bytes[0] = (char)i;
        bad += fix_one(s, RQCI_WRITE_PUT, RQCI_HTTP_BODY_RAW, fix_id(8, 1), b, &j) != RQC_OK;
        const uint64_t wal = fix_stats(s).wal_bytes;
        largest = wal > largest ? wal : largest;
    }
    is(bad, 0u, "40 MiB written");
    ok(largest < (20u << 20), "the -wal stays small (%llu bytes)", (unsigned long long)largest);
    ok(fix_stats(s).checkpoints >= 2, "it was emptied");

    // A reader of another program keeps it from being emptied; writers go on, and it is made up
    // for.
    sqlite3 *db = fix_foreign(path);
    fix_exec(db, "BEGIN");
    (void)fix_int(db, "SELECT count(*) FROM http");
    for (int i = 0; i < 24; i++)
        bad += fix_one(s, RQCI_WRITE_PUT, RQCI_HTTP_BODY_RAW, fix_id(8, 1), b, &j) != RQC_OK;
    is(bad, 0u, "writers do not mind a reader");
    const uint64_t blocked = fix_stats(s).wal_bytes;
    ok(blocked > (16u << 20), "which keeps the -wal (%llu bytes)", (unsigned long long)blocked);
    const uint64_t before = fix_stats(s).checkpoints;
    fix_exec(db, "COMMIT");
    for (int i = 0; i < 24 && fix_stats(s).checkpoints == before; i++)
        bad += fix_one(s, RQCI_WRITE_PUT, RQCI_HTTP_BODY_RAW, fix_id(8, 1), b, &j) != RQC_OK;
    ok(fix_stats(s).checkpoints > before, "until it ends");
    ok(fix_stats(s).wal_bytes < (20u << 20), "then it is not longer than before");
    sqlite3_close(db);
    for (int i = 0; i < 500 && fix_stats(s).wal_bytes > 0; i++)
        usleep(20000);
    is(fix_stats(s).wal_bytes, 0u, "without work it is emptied");
    rqci_store_close(s);
    char wal[FIX_PATH + 8];
    snprintf(wal, sizeof wal, "%s-wal", path);
    ok(access(wal, F_OK) != 0, "and removed by the close");
    free(bytes);
}

int main(void)
{
    fix_begin();
    test_kinds();
    test_values();
    test_conditions();
    test_errors();
    test_references();
    test_threads();
    test_callbacks();
    test_mixed_group();
    test_references_group();
    test_fork();
    test_read_only();
    test_checkpoints();
    return tap_done();
}

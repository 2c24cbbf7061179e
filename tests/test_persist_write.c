// SPDX-License-Identifier: Apache-2.0
// Writes through the store: what each kind does, what is logged and counted, conditions, errors,
// references; forks, readers, checkpoints.
#include "tests/store_filled.h"

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

// Orphans wait: SQLite takes each parent that comes for one off its count of open references, and a
// new row that points to nothing must not pass for that.
static void test_orphans_wait(void)
{
    char path[FIX_PATH];
    rqci_store *s = filled("wait.db", path);
    rqc_value h[RQCI_FIELD_MAX], lost[RQCI_FIELD_MAX], k[RQCI_FIELD_MAX], bad[RQCI_FIELD_MAX],
        again[RQCI_FIELD_MAX];
    rqci_job j;
    sqlite3 *db = fix_foreign(path);
    for (unsigned n = 40; n < 44; n++)
        fix_exec(db,
                 "INSERT INTO http_header (id, http_id, header_key, header_value) VALUES"
                 " (%s, %s, '', '')",
                 fix_hex(fix_id(4, n)), fix_hex(H(n)));
    fix_http_row(h, W(1), "");
    fix_http_row(lost, W(77), "");
    fix_header_row(k, H(42), "");
    fix_header_row(bad, H(88), "");
    for (int i = 0; i < RQCI_FIELD_MAX; i++)
        again[i] = (rqc_value){.type = RQC_ABSENT};
    again[RQCI_HTTP_HEADER_HEADER_VALUE] = rows_text("again");
    is(fix_one(s, RQCI_WRITE_PUT, RQCI_HTTP, H(40), lost, &j), RQC_CONSTRAINT,
       "a request that is waited for, and points to nothing itself");
    ok(strstr(j.detail.text, "http.workspace_id"), "%s", j.detail.text);
    rqci_write first[2] = {fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, H(40), h),
                           fix_write_of(RQCI_WRITE_ADD, RQCI_HTTP_HEADER, fix_id(4, 50), bad)};
    is(fix_run(s, first, 2, &j), RQC_CONSTRAINT, "a request that is waited for before such a row");
    is(j.failed, 1u, "which is named");
    rqci_write both[2] = {fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, H(41), h),
                          fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, H(60), lost)};
    is(fix_run(s, both, 2, &j), RQC_CONSTRAINT, "both in one statement");
    is(j.failed, 1u, "the one of them");
    rqci_write mixed[3] = {fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, H(41), h),
                           fix_write_of(RQCI_WRITE_PATCH, RQCI_HTTP, H(1), h),
                           fix_write_of(RQCI_WRITE_ADD, RQCI_HTTP_HEADER, fix_id(4, 51), bad)};
    is(fix_run(s, mixed, 3, &j), RQC_CONSTRAINT, "and beside a change");
    is(j.failed, 2u, "the last of three");
    is(fix_int(db, "SELECT count(*) FROM http WHERE id IN (%s, %s, %s)", fix_hex(H(40)),
               fix_hex(H(41)), fix_hex(H(60))),
       0, "nothing of them was stored");
    rqci_write well[3] = {fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, H(42), h),
                          fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP_HEADER, fix_id(4, 52), k),
                          fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP_HEADER, fix_id(4, 53), k)};
    is(fix_run(s, well, 3, &j), RQC_OK, "one that is waited for, with more: %s", j.detail.text);
    is(fix_one(s, RQCI_WRITE_PATCH, RQCI_HTTP_HEADER, fix_id(4, 43), again, &j), RQC_OK,
       "an orphan that is there may be changed: %s", j.detail.text);
    sqlite3_close(db);
    rqci_store_close(s);
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
    test_orphans_wait();
    test_fork();
    test_read_only();
    test_checkpoints();
    return tap_done();
}

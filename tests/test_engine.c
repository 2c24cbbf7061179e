// SPDX-License-Identifier: Apache-2.0
// The public API against a real file: opening, transactions, sessions, other processes.
#include "api/reqcast.h"

#include "tests/tap.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char folder[64], path[128], views[128], other_views[128];
static uint8_t workspace[16] = {1, 2, 3};

// ---- Helpers ----

static void pause_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static rqc_options options(void)
{
    rqc_options o = RQC_OPTIONS_INIT;
    o.create = 1;
    o.view_dir = views;
    return o;
}

static rqc_db *open_db(void)
{
    const rqc_options o = options();
    rqc_error e = {RQC_OK, ""};
    rqc_db *db = NULL;
    const rqc_err rc = rqc_open(path, &o, &db, &e);
    if (rc != RQC_OK)
        bail("cannot open %s: %d %s", path, (int)rc, e.text);
    return db;
}

static void number_id(uint8_t id[16], uint8_t kind, uint64_t n)
{
    memset(id, 0, 16);
    id[0] = 1;
    id[1] = kind;
    for (int i = 0; i < 8; i++)
        id[8 + i] = (uint8_t)(n >> (56 - 8 * i));
}

static rqc_err put_workspace(rqc_txn *t)
{
    rqc_value row[RQC_WORKSPACES_NFIELDS] = {{0}};
    row[RQC_WORKSPACES_NAME] = rqc_text("w");
    return rqc_put(t, RQC_WORKSPACES, workspace, row);
}

static rqc_err put_http(rqc_txn *t, const uint8_t id[16], const char *name, int64_t updated)
{
    rqc_value row[RQC_HTTP_NFIELDS] = {{0}};
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(workspace);
    row[RQC_HTTP_NAME] = rqc_text(name);
    row[RQC_HTTP_URL] = rqc_text("https://example.com/");
    row[RQC_HTTP_METHOD] = rqc_text("GET");
    row[RQC_HTTP_UPDATED_AT] = rqc_int(updated);
    return rqc_put(t, RQC_HTTP, id, row);
}

static rqc_err put_header(rqc_txn *t, const uint8_t id[16], const uint8_t http[16],
                          const char *value)
{
    rqc_value row[RQC_HTTP_HEADER_NFIELDS] = {{0}};
    row[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(http);
    row[RQC_HTTP_HEADER_HEADER_KEY] = rqc_text("k");
    row[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_text(value);
    return rqc_put(t, RQC_HTTP_HEADER, id, row);
}

static rqc_txn *txn_new(rqc_db *db)
{
    rqc_txn *t = NULL;
    if (rqc_txn_new(db, &t, NULL) != RQC_OK)
        bail("no transaction");
    return t;
}

static rqc_read *read_begin(rqc_db *db)
{
    rqc_read *r = NULL;
    rqc_error e = {RQC_OK, ""};
    if (rqc_read_new(db, &r, &e) != RQC_OK || rqc_read_begin(r) != RQC_OK)
        bail("no session: %s %s", e.text, r ? rqc_read_error(r) : "");
    return r;
}

static bool text_is(const rqc_record *r, int field, const char *want)
{
    const rqc_value v = rqc_field(r, field);
    return v.type == RQC_TEXT && v.n == strlen(want) && memcmp(v.p, want, v.n) == 0;
}

static int remove_entry(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(name);
}

static void remove_all(const char *name)
{
    (void)nftw(name, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

// ---- An owner in another process, told what to do through a socket ----

typedef struct other {
    pid_t pid;
    int fd;
} other;

static char command(char c, rqc_db **db, uint64_t *n)
{
    rqc_options o = options();
    uint8_t id[16];
    rqc_txn *t;
    if (c == 'o' || c == 'O') {
        o.view_dir = c == 'O' ? other_views : views;
        return (char)rqc_open(path, &o, db, NULL);
    }
    if (c == 'w' || c == 'b') {
        rqc_err rc = rqc_txn_new(*db, &t, NULL);
        for (int i = 0; i < (c == 'b' ? 1000 : 1) && rc == RQC_OK; i++) {
            number_id(id, 9, (*n)++);
            rc = put_workspace(t);
            if (rc == RQC_OK)
                rc = put_http(t, id, "other", 5);
        }
        if (rc == RQC_OK)
            rc = rqc_commit(t, NULL);
        rqc_txn_free(t);
        return (char)rc;
    }
    rqc_close(*db);
    *db = NULL;
    return RQC_OK;
}

static other other_start(void)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0)
        bail("socketpair: %s", strerror(errno));
    const pid_t pid = fork();
    if (pid < 0)
        bail("fork: %s", strerror(errno));
    if (pid == 0) {
        rqc_db *db = NULL;
        uint64_t n = (uint64_t)getpid() << 20; // requests of its own
        close(fds[0]);
        for (char c; read(fds[1], &c, 1) == 1;) {
            const char answer = command(c, &db, &n);
            if (write(fds[1], &answer, 1) != 1)
                break;
        }
        _exit(0);
    }
    close(fds[1]);
    return (other){pid, fds[0]};
}

static rqc_err tell(const other *p, char c)
{
    char answer = RQC_INTERNAL;
    if (write(p->fd, &c, 1) != 1 || read(p->fd, &answer, 1) != 1)
        return RQC_INTERNAL;
    return (rqc_err)answer;
}

static void other_stop(other *p, int sig)
{
    kill(p->pid, sig);
    waitpid(p->pid, NULL, 0);
    close(p->fd);
}

// ---- Tests ----

static void test_open(other *p)
{
    rqc_options o = RQC_OPTIONS_INIT;
    rqc_db *db = NULL, *second = NULL;
    rqc_error e = {RQC_OK, ""};
    o.view_dir = views;
    is(rqc_open(path, &o, &db, &e), RQC_NOT_FOUND,
       "a file that is not there is not made without create");
    ok(strstr(e.text, "test.db") != NULL, "the error names the file: %s", e.text);
    is(e.code, RQC_NOT_FOUND, "the error holds the code");
    is(rqc_open(folder, &o, &db, &e), RQC_INVALID, "a directory is no database: %s", e.text);
    is(rqc_open("", &o, &db, &e), RQC_INVALID, "an empty path is refused");
    is(rqc_attach(path, &o, &db, &e), RQC_NOT_FOUND, "nothing to attach to");
    o.size = 1;
    is(rqc_open(path, &o, &db, &e), RQC_INVALID, "options without their size are refused");
    ok(db == NULL, "results are untouched when a call fails");
    db = open_db();
    o = options();
    is(rqc_open(path, &o, &second, &e), RQC_BUSY, "one owner in a process: %s", e.text);
    is(tell(p, 'o'), RQC_BUSY, "one owner among processes");
    rqc_close(db);
    is(tell(p, 'o'), RQC_OK, "the next owner, when the first has closed");
    is(rqc_open(path, &o, &db, &e), RQC_BUSY, "and the other way round: %s", e.text);
    is(tell(p, 'c'), RQC_OK, "closed");
    rqc_close(NULL);
    rqc_read_free(NULL);
    rqc_read_end(NULL);
    rqc_txn_free(NULL);
    rqc_list_free(NULL);
    rqc_changes_free(NULL);
    rqc_resolved_free(NULL);
    pass("destructors accept NULL");
}

static void test_reopen(void)
{
    uint8_t id[16];
    number_id(id, 1, 1);
    rqc_db *db = open_db();
    rqc_txn *t = txn_new(db);
    rqc_result result;
    is(put_workspace(t), RQC_OK, "a workspace is put");
    is(put_http(t, id, "first", 10), RQC_OK, "a request is put");
    is(rqc_commit(t, &result), RQC_OK, "committed");
    is(result.written, 2, "two rows were written");
    is(result.visible, 1, "and can be seen");
    rqc_read *r = read_begin(db);
    const rqc_record *rec = NULL;
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "a new session sees it");
    const rqc_position here = rqc_read_position(r);
    ok(here.seq >= result.position.seq && here.term == result.position.term,
       "at the position of the commit");
    is_mem(here.store_id, result.position.store_id, 16, "of the same history");
    is(rqc_record_seq(rec) <= here.seq, 1, "the record's seq is not beyond it");
    rqc_read_free(r);
    rqc_txn_free(t);
    rqc_stats before = {.size = sizeof before}, after = {.size = sizeof after};
    is(rqc_stats_read(db, &before, NULL), RQC_OK, "stats");
    is(before.owner, 1, "of the owner");
    is(before.records, 2, "two records");
    rqc_close(db);
    db = open_db();
    is(rqc_stats_read(db, &after, NULL), RQC_OK, "stats after opening again");
    is(after.generation, before.generation, "the view that was closed cleanly is used as it is");
    is(after.position.term, before.position.term, "the history is the same");
    r = read_begin(db);
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "the record is there");
    ok(text_is(rec, RQC_HTTP_NAME, "first"), "and as it was");
    rqc_read_free(r);
    rqc_close(db);
    remove_all(views);
    mkdir(views, 0750);
    db = open_db();
    r = read_begin(db);
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "a view that was lost is built from the database");
    is(rqc_read_position(r).seq, here.seq, "at the same position");
    rqc_read_free(r);
    after.size = 0;
    is(rqc_stats_read(db, &after, NULL), RQC_INVALID, "stats without their size are refused");
    rqc_close(db);
}

static void test_transactions(void)
{
    uint8_t id[16], child[16], nobody[16];
    number_id(id, 2, 1);
    number_id(child, 2, 2);
    number_id(nobody, 2, 3);
    rqc_db *db = open_db();
    rqc_txn *t = txn_new(db);
    rqc_result result;
    rqc_value row[RQC_FIELD_MAX] = {{0}};
    is(rqc_put(t, RQC_HTTP, id, row), RQC_INVALID,
       "a row without what it needs is refused at once: %s", rqc_txn_error(t));
    is(rqc_put(t, (rqc_entity)99, id, row), RQC_INVALID, "so is an unknown entity");
    is(put_http(t, id, "a\xff", 1), RQC_INVALID, "and text that is not UTF-8: %s",
       rqc_txn_error(t));
    is(put_http(t, id, "txn", 1), RQC_OK, "a good row after refused ones");
    is(put_header(t, child, nobody, "x"), RQC_OK, "a header of nobody can be given");
    is(rqc_commit(t, &result), RQC_CONSTRAINT, "but not stored: %s", rqc_txn_error(t));
    rqc_read *r = read_begin(db);
    const rqc_record *rec = NULL;
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_NOT_FOUND, "nothing of the transaction was stored");
    rqc_read_end(r);
    is(put_http(t, nobody, "txn", 1), RQC_OK, "the transaction goes on");
    is(rqc_commit(t, &result), RQC_OK,
       "with its writes still in it: the parent may come after its child");
    is(rqc_delete(t, RQC_HTTP, nobody, 0), RQC_OK, "what it stored");
    is(rqc_delete(t, RQC_HTTP, id, 0), RQC_OK, "can be deleted");
    is(rqc_commit(t, &result), RQC_OK, "again");
    rqc_txn_free(t);
    t = txn_new(db);
    is(put_http(t, id, "txn", 1), RQC_OK, "once more");
    is(put_header(t, child, id, "x"), RQC_OK, "with a header of it");
    is(rqc_commit(t, &result), RQC_OK, "is stored");
    const uint64_t seq = result.position.seq;
    is(put_http(t, id, "other", 1), RQC_OK, "put again");
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(workspace);
    row[RQC_HTTP_NAME] = row[RQC_HTTP_URL] = row[RQC_HTTP_METHOD] = rqc_text("added");
    is(rqc_add(t, RQC_HTTP, id, row), RQC_OK, "added over it");
    is(rqc_commit(t, &result), RQC_OK, "both");
    is(result.written, 1, "one was written");
    is(result.skipped, 1, "the other was there");
    memset(row, 0, sizeof row);
    row[RQC_HTTP_DESCRIPTION] = rqc_text("patched");
    is(rqc_patch(t, RQC_HTTP, id, row, seq), RQC_OK, "a patch on condition");
    is(rqc_commit(t, &result), RQC_CHANGED, "of a record that changed: %s", rqc_txn_error(t));
    rqc_txn_free(t);
    t = txn_new(db);
    is(rqc_patch(t, RQC_HTTP, nobody, row, 0), RQC_OK, "a patch of nobody");
    is(rqc_commit(t, &result), RQC_NOT_FOUND, "finds nobody: %s", rqc_txn_error(t));
    rqc_txn_free(t);
    t = txn_new(db);
    is(rqc_patch(t, RQC_HTTP, id, row, result.position.seq), RQC_OK,
       "a patch at the newest position");
    is(rqc_commit(t, &result), RQC_OK, "is done");
    is(rqc_read_begin(r), RQC_OK, "a session");
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "the record");
    ok(text_is(rec, RQC_HTTP_NAME, "other") && text_is(rec, RQC_HTTP_DESCRIPTION, "patched"),
       "has the patched field and the others");
    ok(rqc_record_updated(rec) > 1700000000, "and the time of the patch");
    rqc_read_end(r);
    is(rqc_delete(t, RQC_HTTP, id, 0), RQC_OK, "a delete");
    is(rqc_commit(t, &result), RQC_OK, "is done");
    is(result.deleted, 2, "with what hung on it");
    is(rqc_commit(t, &result), RQC_OK, "an empty transaction is no failure");
    is(result.written + result.deleted + result.skipped, 0, "and does nothing");
    rqc_txn_free(t);
    rqc_read_free(r);
    rqc_close(db);
}

static void test_sessions(void)
{
    uint8_t id[16];
    const rqc_record *rec = NULL;
    rqc_list list = RQC_LIST_INIT;
    rqc_page_cursor cursor = RQC_PAGE_CURSOR_INIT;
    rqc_changes_list changes = RQC_CHANGES_INIT;
    rqc_cursor at = RQC_CURSOR_INIT(0);
    int up_to_date = -1;
    number_id(id, 1, 1);
    rqc_options o = options();
    o.max_age_ms = 200;
    rqc_db *db = NULL;
    if (rqc_open(path, &o, &db, NULL) != RQC_OK)
        bail("open");
    rqc_read *r = NULL;
    is(rqc_read_new(db, &r, NULL), RQC_OK, "a session");
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_INVALID, "that was not begun reads nothing");
    is(rqc_read_position(r).seq, 0, "and has no position");
    is(rqc_read_begin(r), RQC_OK, "begun");
    is(rqc_read_begin(r), RQC_INVALID, "twice is a mistake: %s", rqc_read_error(r));
    is(rqc_get(r, (rqc_entity)0, id, &rec), RQC_INVALID, "entity 0");
    is(rqc_get(r, (rqc_entity)14, id, &rec), RQC_INVALID, "entity 14");
    is(rqc_page(r, workspace, RQC_ANY_TIME, NULL, RQC_PAGE_MAX + 1, &cursor, &list), RQC_INVALID,
       "a page too large");
    cursor.state = 3;
    is(rqc_page(r, workspace, RQC_ANY_TIME, NULL, 1, &cursor, &list), RQC_INVALID,
       "a cursor that no page gave");
    is(rqc_children(r, RQC_HTTP, NULL, 0, RQC_ANY_TIME, 1, &list), RQC_INVALID,
       "requests are nobody's children");
    is(rqc_children(r, RQC_HTTP_HEADER, NULL, 1, RQC_ANY_TIME, 1, &list), RQC_INVALID,
       "no ids where one was promised");
    is(rqc_changes(r, workspace, &at, 0, &changes, &up_to_date), RQC_INVALID,
       "changes without a limit");
    at.seq = UINT64_MAX;
    is(rqc_changes(r, workspace, &at, 1, &changes, &up_to_date), RQC_FUTURE,
       "changes from the future");
    is(up_to_date, -1, "results are untouched");
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "after all these mistakes the session still reads");
    pause_ms(400);
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_EXPIRED, "but not for ever: %s", rqc_read_error(r));
    rqc_read_end(r);
    rqc_read_end(r);
    is(rqc_read_begin(r), RQC_OK, "begun anew");
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "it reads again");
    rqc_read_free(r);
    rqc_list_free(&list);
    rqc_changes_free(&changes);
    rqc_close(db);
}

static void test_large(void)
{
    enum { SIZE = 200000 };
    static uint8_t body[SIZE];
    uint8_t http[16], id[16];
    number_id(http, 1, 1);
    number_id(id, 3, 1);
    for (size_t i = 0; i < SIZE; i++)
        body[i] = (uint8_t)(i * 7 + i / 256);
    rqc_db *db = open_db();
    rqc_txn *t = txn_new(db);
    rqc_value row[RQC_HTTP_BODY_RAW_NFIELDS] = {{0}};
    row[RQC_HTTP_BODY_RAW_HTTP_ID] = rqc_id(http);
    row[RQC_HTTP_BODY_RAW_RAW_DATA] = rqc_bytes(body, SIZE);
    is(rqc_put(t, RQC_HTTP_BODY_RAW, id, row), RQC_OK, "a large body");
    is(rqc_commit(t, NULL), RQC_OK, "is stored");
    rqc_read *r = read_begin(db);
    const rqc_record *rec = NULL;
    is(rqc_get(r, RQC_HTTP_BODY_RAW, id, &rec), RQC_OK, "its record is in the view");
    const rqc_value v = rqc_field(rec, RQC_HTTP_BODY_RAW_RAW_DATA);
    is(v.type, RQC_LARGE, "its bytes are not");
    is(v.u.length, SIZE, "but their length is");
    void *bytes = NULL;
    size_t n = 0;
    is(rqc_large(r, rec, RQC_HTTP_BODY_RAW_RAW_DATA, &bytes, &n), RQC_OK,
       "the bytes come on request");
    is(n, SIZE, "all of them");
    is_mem(bytes, body, SIZE, "as they were");
    free(bytes);
    is(rqc_large(r, rec, RQC_HTTP_BODY_RAW_HTTP_ID, &bytes, &n), RQC_INVALID,
       "an id is no large value");
    memset(row, 0, sizeof row);
    body[5]++;
    row[RQC_HTTP_BODY_RAW_RAW_DATA] = rqc_bytes(body, SIZE);
    is(rqc_patch(t, RQC_HTTP_BODY_RAW, id, row, 0), RQC_OK, "the body changes");
    is(rqc_commit(t, NULL), RQC_OK, "under the session");
    is(rqc_large(r, rec, RQC_HTTP_BODY_RAW_RAW_DATA, &bytes, &n), RQC_CHANGED, "which is told: %s",
       rqc_read_error(r));
    rqc_read_free(r);
    rqc_txn_free(t);
    rqc_close(db);
}

// What the child finds is its exit status: 0, or the number of the check that failed.
static int in_child(rqc_db *db, rqc_read *r, rqc_txn *t)
{
    const rqc_record *rec;
    uint8_t id[16];
    rqc_read *fresh;
    rqc_txn *other_txn;
    number_id(id, 1, 1);
    rqc_read_end(r);
    if (rqc_read_begin(r) == RQC_OK)
        return 1;
    if (rqc_commit(t, NULL) != RQC_CLOSED)
        return 2;
    if (rqc_read_new(db, &fresh, NULL) != RQC_CLOSED ||
        rqc_txn_new(db, &other_txn, NULL) != RQC_CLOSED)
        return 3;
    if (rqc_sync(db, NULL) != RQC_CLOSED || rqc_verify(db, 0, NULL, NULL, NULL, NULL) != RQC_CLOSED)
        return 4;
    (void)rec;
    rqc_read_free(r);
    rqc_close(db);
    return 0;
}

static void test_fork(void)
{
    uint8_t id[16];
    number_id(id, 4, 1);
    rqc_db *db = open_db();
    rqc_read *r = read_begin(db);
    rqc_txn *t = txn_new(db);
    put_http(t, id, "fork", 1);
    const pid_t pid = fork();
    if (pid == 0)
        _exit(in_child(db, r, t));
    int status = -1;
    waitpid(pid, &status, 0);
    is(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0,
       "a child gets RQC_CLOSED for what it inherited");
    is(rqc_commit(t, NULL), RQC_OK, "the parent goes on writing");
    rqc_read_end(r);
    const rqc_record *rec = NULL;
    is(rqc_read_begin(r), RQC_OK, "and reading");
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "what it wrote");
    rqc_read_free(r);
    rqc_txn_free(t);
    rqc_close(db);
}

static uint64_t count_now(rqc_read *r)
{
    uint64_t n = UINT64_MAX;
    rqc_read_end(r);
    // The owner may be just switching.
    for (int i = 0; i < 100 && rqc_read_begin(r) != RQC_OK; i++)
        pause_ms(20);
    if (rqc_count(r, workspace, RQC_ANY_TIME, &n) != RQC_OK)
        return UINT64_MAX;
    return n;
}

// Waits until the attached session counts this many: commits are visible at once, a moved view
// within seconds.
static bool comes_to(rqc_read *r, uint64_t want)
{
    for (int i = 0; i < 500; i++) {
        if (count_now(r) == want)
            return true;
        pause_ms(20);
    }
    return false;
}

static void test_attach(other *p)
{
    is(tell(p, 'o'), RQC_OK, "another process owns the database");
    const rqc_options o = options();
    rqc_db *db = NULL;
    rqc_error e = {RQC_OK, ""};
    is(rqc_attach(path, &o, &db, &e), RQC_OK, "attached: %s", e.text);
    rqc_txn *t = NULL;
    is(rqc_txn_new(db, &t, &e), RQC_READ_ONLY, "an attached handle cannot write");
    is(rqc_sync(db, &e), RQC_READ_ONLY, "nor sync");
    is(rqc_verify(db, 1, NULL, NULL, NULL, &e), RQC_READ_ONLY, "nor repair");
    rqc_read *r = NULL;
    is(rqc_read_new(db, &r, NULL), RQC_OK, "a session");
    const uint64_t before = count_now(r);
    ok(before != UINT64_MAX && before > 0, "that sees the requests");
    is(tell(p, 'w'), RQC_OK, "the owner writes");
    is(count_now(r), before + 1, "a session that begins after it sees it");
    rqc_verified v = {0};
    is(rqc_verify(db, 0, NULL, NULL, &v, &e), RQC_OK, "verify through an attached handle: %s",
       e.text);
    is(v.differences, 0, "without a difference");
    ok(v.records > before, "over all records");
    rqc_stats s = {.size = sizeof s};
    is(rqc_stats_read(db, &s, &e), RQC_OK, "stats");
    is(s.owner, 0, "of no owner");
    // A session that is held sees its position while the owner goes on.
    rqc_read_end(r);
    rqc_read_begin(r);
    is(tell(p, 'b'), RQC_OK, "the owner writes 1,000 more");
    uint64_t n = 0;
    rqc_count(r, workspace, RQC_ANY_TIME, &n);
    is(n, before + 1, "a session that was begun before sees nothing of it");
    is(count_now(r), before + 1001, "the next one sees all");
    other_stop(p, SIGKILL);
    is(count_now(r), before + 1001, "the owner was killed: the view can still be read");
    *p = other_start();
    is(tell(p, 'o'), RQC_OK, "a new owner takes over");
    is(count_now(r), before + 1001, "the attached session sees the same");
    is(tell(p, 'w'), RQC_OK, "the new owner writes");
    is(count_now(r), before + 1002, "and is seen");
    is(tell(p, 'c'), RQC_OK, "the owner closes");
    is(tell(p, 'O'), RQC_OK, "and comes back with the view in another place");
    is(tell(p, 'b'), RQC_OK, "writes");
    ok(comes_to(r, before + 2002), "the session finds the new place by itself");
    rqc_read *fresh = NULL;
    is(rqc_read_new(db, &fresh, NULL), RQC_OK, "a new session");
    is(count_now(fresh), before + 2002, "is there too");
    rqc_read_free(fresh);
    rqc_read_free(r);
    rqc_close(db);
    is(tell(p, 'c'), RQC_OK, "closed");
}

// One process that was attached becomes the owner, and stays attached.
static void test_both(other *p)
{
    uint8_t id[16];
    number_id(id, 7, 1);
    const rqc_options o = options();
    rqc_db *attached = NULL;
    rqc_read *r = NULL;
    is(tell(p, 'o'), RQC_OK, "another process owns the database");
    is(rqc_attach(path, &o, &attached, NULL), RQC_OK, "this one attaches");
    is(rqc_read_new(attached, &r, NULL), RQC_OK, "with a session");
    const uint64_t before = count_now(r);
    is(tell(p, 'c'), RQC_OK, "the other one closes");
    rqc_db *db = open_db();
    rqc_txn *t = txn_new(db);
    rqc_result result = {.visible = 0};
    put_http(t, id, "both", 1);
    is(rqc_commit(t, &result), RQC_OK, "this one owns it now, and writes");
    is(result.visible, 1, "visibly");
    ok(comes_to(r, before + 1), "the attached session sees it");
    rqc_txn_free(t);
    rqc_close(db);
    is(count_now(r), before + 1, "also when the owner has closed");
    db = open_db();
    rqc_read_free(r);
    rqc_close(attached);
    r = read_begin(db);
    is(count_now(r), before + 1, "the next owner goes on when the attached handle is closed");
    rqc_read_free(r);
    rqc_close(db);
    is(tell(p, 'o'), RQC_OK, "and another process can own it again");
    is(tell(p, 'c'), RQC_OK, "closed");
}

// ---- Threads: every transaction is a request with three headers of one value; nobody may ever see
// another number ----

typedef struct crowd {
    rqc_db *db;
    uint64_t rounds;
    _Atomic uint64_t written, seen;
    _Atomic int faults;
    _Atomic bool stop;
    _Atomic uint64_t next;
} crowd;

static void *write_thread(void *arg)
{
    crowd *c = arg;
    rqc_txn *t = txn_new(c->db);
    for (uint64_t i = 0; i < c->rounds; i++) {
        uint8_t http[16], header[16];
        char value[32];
        const uint64_t n = atomic_fetch_add(&c->next, 1);
        rqc_result result;
        snprintf(value, sizeof value, "%" PRIu64, n);
        number_id(http, 5, n % 50);
        rqc_err rc = put_http(t, http, value, (int64_t)(n % 7));
        for (uint64_t k = 0; k < 3 && rc == RQC_OK; k++) {
            number_id(header, 6, n % 50 * 3 + k);
            rc = put_header(t, header, http, value);
        }
        if (rc == RQC_OK)
            rc = rqc_commit(t, &result);
        if (rc != RQC_OK || !result.visible)
            atomic_fetch_add(&c->faults, 1);
        else
            atomic_fetch_add(&c->written, 1);
    }
    rqc_txn_free(t);
    return NULL;
}

static bool consistent(rqc_read *r, const rqc_record *http, rqc_list *headers)
{
    uint8_t id[1][16];
    memcpy(id, rqc_record_id(http), 16);
    const rqc_value name = rqc_field(http, RQC_HTTP_NAME);
    if (rqc_children(r, RQC_HTTP_HEADER, (const uint8_t(*)[16])id, 1, RQC_ANY_TIME, 1, headers) !=
            RQC_OK ||
        headers->n != 3)
        return false;
    for (size_t i = 0; i < 3; i++) {
        const rqc_value v = rqc_field(headers->items[i], RQC_HTTP_HEADER_HEADER_VALUE);
        if (v.n != name.n || memcmp(v.p, name.p, v.n) != 0)
            return false;
    }
    return true;
}

static void *read_thread(void *arg)
{
    crowd *c = arg;
    rqc_list page = RQC_LIST_INIT, headers = RQC_LIST_INIT;
    rqc_read *r = NULL;
    uint64_t last = 0;
    if (rqc_read_new(c->db, &r, NULL) != RQC_OK)
        atomic_fetch_add(&c->faults, 1);
    while (r && !atomic_load(&c->stop)) {
        if (rqc_read_begin(r) != RQC_OK ||
            rqc_page(r, workspace, RQC_ANY_TIME, NULL, 200, NULL, &page) != RQC_OK) {
            atomic_fetch_add(&c->faults, 1);
            break;
        }
        const uint64_t seq = rqc_read_position(r).seq;
        if (seq < last)
            atomic_fetch_add(&c->faults, 1);
        last = seq;
        for (size_t i = 0; i < page.n; i++)
            if (rqc_record_id(page.items[i])[1] == 5 && !consistent(r, page.items[i], &headers))
                atomic_fetch_add(&c->faults, 1);
        atomic_fetch_add(&c->seen, 1);
        rqc_read_end(r);
    }
    rqc_list_free(&page);
    rqc_list_free(&headers);
    rqc_read_free(r);
    return NULL;
}

static void test_threads(void)
{
    crowd c = {.db = open_db(), .rounds = tap_scaled(300)};
    pthread_t readers[3], writers[3];
    for (size_t i = 0; i < 3; i++)
        pthread_create(&readers[i], NULL, read_thread, &c);
    for (size_t i = 0; i < 3; i++)
        pthread_create(&writers[i], NULL, write_thread, &c);
    for (size_t i = 0; i < 3; i++)
        pthread_join(writers[i], NULL);
    atomic_store(&c.stop, true);
    for (size_t i = 0; i < 3; i++)
        pthread_join(readers[i], NULL);
    is(atomic_load(&c.faults), 0, "whole transactions only, and positions never go back");
    is(atomic_load(&c.written), 3 * c.rounds, "every commit succeeded and could be seen");
    ok(atomic_load(&c.seen) > 0, "readers read meanwhile (%" PRIu64 " pages)",
       atomic_load(&c.seen));
    rqc_verified v = {0};
    is(rqc_verify(c.db, 0, NULL, NULL, &v, NULL), RQC_OK, "verify afterwards");
    is(v.differences, 0, "finds no difference");
    rqc_close(c.db);
}

// ---- Other programs, and a view that differs ----

static void sql(sqlite3 *s, const char *text)
{
    char *error = NULL;
    if (sqlite3_exec(s, text, NULL, NULL, &error) != SQLITE_OK)
        bail("%s: %s", text, error);
}

typedef struct found {
    int records, others;
} found;

static void note_difference(void *ctx, const rqc_difference *d)
{
    found *f = ctx;
    if (d->entity == RQC_HTTP && strcmp(d->what, "different") == 0)
        f->records++;
    else
        f->others++;
}

static void test_foreign(void)
{
    uint8_t id[16];
    number_id(id, 1, 1);
    rqc_db *db = open_db();
    sqlite3 *s = NULL;
    if (sqlite3_open(path, &s) != SQLITE_OK)
        bail("sqlite3_open");
    sqlite3_busy_timeout(s, 5000);
    sql(s, "UPDATE http SET name = 'foreign' WHERE hex(id) = '01010000000000000000000000000001'");
    is(rqc_sync(db, NULL), RQC_OK, "sync");
    rqc_read *r = read_begin(db);
    const rqc_record *rec = NULL;
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "the record");
    ok(text_is(rec, RQC_HTTP_NAME, "foreign"), "shows what another program wrote");
    rqc_read_end(r);
    // A change whose trace was wiped out: nothing tells the view.
    sql(s,
        "BEGIN; UPDATE http SET name = 'hidden' WHERE hex(id) = '01010000000000000000000000000001';"
        "DELETE FROM change_log WHERE seq = (SELECT max(seq) FROM change_log); COMMIT");
    rqc_verified v = {0};
    found f = {0, 0};
    rqc_error e = {RQC_OK, ""};
    is(rqc_verify(db, 0, note_difference, &f, &v, &e), RQC_OK, "verify: %s", e.text);
    is(f.records, 1, "finds the record that differs");
    is(f.others, 1, "and the digest of its workspace");
    is(v.differences, 2, "and counts them");
    is(rqc_verify(db, 1, NULL, NULL, &v, &e), RQC_OK, "repair: %s", e.text);
    is(rqc_verify(db, 0, NULL, NULL, &v, &e), RQC_OK, "verify again");
    is(v.differences, 0, "finds none any more");
    rqc_read_begin(r);
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "the record");
    ok(text_is(rec, RQC_HTTP_NAME, "hidden"), "is what the database has");
    rqc_read_free(r);
    sqlite3_close(s);
    rqc_close(db);
}

// ---- History is kept for a while, then the log is compacted ----

static int64_t number_of(sqlite3 *s, const char *text)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(s, text, -1, &st, NULL) != SQLITE_OK || sqlite3_step(st) != SQLITE_ROW)
        bail("%s: %s", text, sqlite3_errmsg(s));
    const int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}

static void test_compaction(void)
{
    char other_path[150];
    uint8_t id[16];
    rqc_options o = options();
    rqc_db *db = NULL;
    sqlite3 *s = NULL;
    snprintf(other_path, sizeof other_path, "%s/compact.db", folder);
    o.retain = 100;
    if (rqc_open(other_path, &o, &db, NULL) != RQC_OK || sqlite3_open(other_path, &s) != SQLITE_OK)
        bail("open");
    sqlite3_busy_timeout(s, 5000);
    rqc_txn *t = txn_new(db);
    put_workspace(t);
    for (uint64_t i = 0; i < 1000; i++) {
        number_id(id, 8, i % 10);
        put_http(t, id, "again", (int64_t)i);
    }
    is(rqc_commit(t, NULL), RQC_OK, "ten requests, written a hundred times each");
    int64_t rows = number_of(s, "SELECT count(*) FROM change_log");
    ok(rows > 1000, "are %" PRId64 " rows of the log", rows);
    // Rows of records that change again above the horizon are kept, so that a view can be built as
    // of the horizon.
    for (uint64_t i = 0; i < 150; i++) {
        number_id(id, 9, i);
        put_http(t, id, "later", (int64_t)i);
    }
    is(rqc_commit(t, NULL), RQC_OK, "others are written after them");
    for (int i = 0; i < 500 && rows > 300; i++) {
        pause_ms(20);
        rows = number_of(s, "SELECT count(*) FROM change_log");
    }
    ok(rows <= 300, "which is compacted by itself, to %" PRId64, rows);
    number_id(id, 8, 0);
    put_http(t, id, "after", 1);
    is(rqc_commit(t, NULL), RQC_OK, "after it, writes go on");
    rqc_stats st = {.size = sizeof st};
    is(rqc_stats_read(db, &st, NULL), RQC_OK, "stats");
    ok(st.horizon > 0 && st.horizon <= st.head - 100, "the horizon is %" PRIu64 " of %" PRIu64,
       st.horizon, st.head);
    rqc_read *r = read_begin(db);
    rqc_changes_list list = RQC_CHANGES_INIT;
    int up_to_date = 0;
    rqc_cursor at = RQC_CURSOR_INIT(1);
    is(rqc_changes(r, workspace, &at, 100, &list, &up_to_date), RQC_TOO_OLD,
       "a cursor behind it is too old");
    at = (rqc_cursor)RQC_CURSOR_INIT(0);
    is(rqc_changes(r, workspace, &at, 1000, &list, &up_to_date), RQC_OK,
       "from 0 there is everything");
    is(list.n, 161, "each record once");
    is(up_to_date, 1, "up to date");
    rqc_verified v = {0};
    is(rqc_verify(db, 0, NULL, NULL, &v, NULL), RQC_OK, "verify");
    is(v.differences, 0, "no difference");
    rqc_changes_free(&list);
    rqc_read_free(r);
    rqc_txn_free(t);
    sqlite3_close(s);
    rqc_close(db);
}

// ---- The note that leads to the view ----

static void test_note(void)
{
    char note[200], kept[200];
    const rqc_options o = options();
    rqc_db *db = NULL;
    rqc_error e = {RQC_OK, ""};
    snprintf(note, sizeof note, "%s.rqc-view-path", path);
    snprintf(kept, sizeof kept, "%s/kept", folder);
    rename(note, kept);
    is(rqc_attach(path, &o, &db, &e), RQC_UNAVAILABLE, "no note, no view: %s", e.text);
    if (symlink(kept, note) != 0)
        bail("symlink");
    ok(rqc_attach(path, &o, &db, &e) != RQC_OK, "a symbolic link is not followed: %s", e.text);
    unlink(note);
    FILE *f = fopen(note, "w");
    fputs("/nowhere/at/all\n", f);
    fclose(f);
    is(rqc_attach(path, &o, &db, &e), RQC_UNAVAILABLE, "a note of a view that is gone: %s", e.text);
    f = fopen(note, "w");
    fputs("relative\n", f);
    fclose(f);
    is(rqc_attach(path, &o, &db, &e), RQC_UNAVAILABLE, "a note that holds no path: %s", e.text);
    rename(kept, note);
    is(rqc_attach(path, &o, &db, &e), RQC_OK, "the real one: %s", e.text);
    rqc_close(db);
    // The parent of views that others may write to, or that is no directory, is not used.
    char open_dir[200];
    snprintf(open_dir, sizeof open_dir, "%s/open", folder);
    mkdir(open_dir, 0750);
    char parent[300];
    snprintf(parent, sizeof parent, "%s/reqcast-%lu", open_dir, (unsigned long)geteuid());
    mkdir(parent, 0750);
    chmod(parent, 0777);
    rqc_options bad = options();
    bad.view_dir = open_dir;
    is(rqc_open(path, &bad, &db, &e), RQC_IO, "a directory that others may write to: %s", e.text);
    rmdir(parent);
    if (symlink(views, parent) != 0)
        bail("symlink");
    is(rqc_open(path, &bad, &db, &e), RQC_IO, "a symbolic link: %s", e.text);
}

static void test_values(void)
{
    const rqc_position p = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
                            7,
                            123456789012345};
    rqc_position back = {{0}, 0, 0};
    char text[RQC_POSITION_TEXT];
    rqc_position_format(&p, text);
    is(rqc_position_parse(text, NULL, &back), RQC_OK, "a position reads back: %s", text);
    ok(back.term == p.term && back.seq == p.seq && memcmp(back.store_id, p.store_id, 16) == 0,
       "as it was");
    is(rqc_position_parse("42", &p, &back), RQC_OK, "a bare seq");
    ok(back.seq == 42 && back.term == 7, "takes its history from here");
    static const char *const wrong[] = {"",
                                        "x",
                                        "1@",
                                        "1@2",
                                        "1@00000000000000000000000000",
                                        "1@00000000000000000000000000:",
                                        "-1",
                                        "1 ",
                                        "99999999999999999999",
                                        "4294967296@00000000000000000000000000:1",
                                        "18446744073709551616",
                                        "1@00000000000000000000000000:1x"};
    size_t refused = 0;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        refused += rqc_position_parse(wrong[i], &p, &back) == RQC_INVALID;
    is(refused, sizeof wrong / sizeof *wrong, "what is no position is refused");
    is(rqc_position_parse("42", NULL, &back), RQC_INVALID, "a bare seq needs a history");
    const rqc_position most = {{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
                                255, 255, 255},
                               UINT32_MAX,
                               UINT64_MAX};
    rqc_position_format(&most, text);
    is(rqc_position_parse(text, NULL, &back), RQC_OK, "the greatest position fits: %s", text);
    is(rqc_entity_number("http_header"), RQC_HTTP_HEADER, "entities by name");
    is(rqc_entity_number("nothing"), 0, "unknown ones are 0");
    is(rqc_entity_name(RQC_FILES), "files", "and back");
    ok(rqc_entity_name((rqc_entity)99) == NULL && rqc_entity_name((rqc_entity)-1) == NULL,
       "NULL for unknown codes");
    is(rqc_field_number(RQC_HTTP, "delta_url"), RQC_HTTP_DELTA_URL, "fields by name");
    is(rqc_field_number(RQC_HTTP, "nothing"), -1, "unknown ones are -1");
    is(rqc_field_name(RQC_HTTP, RQC_HTTP_METHOD), "method", "and back");
    ok(rqc_field_name(RQC_HTTP, 99) == NULL && rqc_field_name(RQC_HTTP, -1) == NULL,
       "NULL for unknown numbers");
    is(rqc_err_text(RQC_OK), "ok", "texts of codes");
    ok(rqc_err_text((rqc_err)999) != NULL, "of unknown ones too");
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    snprintf(folder, sizeof folder, "/tmp/rqc-engine-XXXXXX");
    if (!mkdtemp(folder))
        bail("mkdtemp: %s", strerror(errno));
    snprintf(path, sizeof path, "%s/test.db", folder);
    snprintf(views, sizeof views, "%s/views", folder);
    snprintf(other_views, sizeof other_views, "%s/other", folder);
    mkdir(views, 0750);
    mkdir(other_views, 0750);
    other p = other_start(); // before there are threads
    test_values();
    test_open(&p);
    test_reopen();
    test_transactions();
    test_sessions();
    test_large();
    test_fork();
    test_attach(&p);
    test_both(&p);
    test_threads();
    test_foreign();
    test_compaction();
    test_note();
    other_stop(&p, SIGTERM);
    remove_all(folder);
    return tap_done();
}

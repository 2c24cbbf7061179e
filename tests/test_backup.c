// SPDX-License-Identifier: Apache-2.0
// Backup while everybody writes, restore over whatever is there.
#include "api/reqcast.h"
#include "base/hash.h"
#include "tests/store_fixture.h"

#define BODY  60000u
#define FIRST 200u // bodies: enough for several steps of a copy

static char db_path[FIX_PATH], views[FIX_PATH];

static rqc_db *open_db(void)
{
    rqc_options o = RQC_OPTIONS_INIT;
    rqc_error e;
    rqc_db *db = NULL;
    o.create = 1;
    o.view_dir = views;
    if (rqc_open(db_path, &o, &db, &e) != RQC_OK)
        bail("open: %s", e.text);
    return db;
}

static void put_request(rqc_txn *t, unsigned n)
{
    static char body[BODY];
    rqc_value row[RQC_FIELD_MAX] = {{0}};
    uint8_t id[16], raw[16];
    memcpy(id, fix_id(3, n), 16);
    memcpy(raw, fix_id(8, n), 16);
    memset(body, 'a' + (int)(n % 26), sizeof body);
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(fix_id(1, 1));
    row[RQC_HTTP_NAME] = row[RQC_HTTP_URL] = row[RQC_HTTP_METHOD] = rqc_text("x");
    bool bad = rqc_put(t, RQC_HTTP, id, row) != RQC_OK;
    memset(row, 0, sizeof row);
    row[RQC_HTTP_BODY_RAW_HTTP_ID] = rqc_id(id);
    row[RQC_HTTP_BODY_RAW_RAW_DATA] = rqc_bytes(body, BODY);
    bad = bad || rqc_put(t, RQC_HTTP_BODY_RAW, raw, row) != RQC_OK;
    if (bad)
        bail("put: %s", rqc_txn_error(t));
}

static rqc_txn *txn_new(rqc_db *db)
{
    rqc_txn *t;
    if (rqc_txn_new(db, &t, NULL) != RQC_OK)
        bail("no transaction");
    return t;
}

static rqc_position commit(rqc_txn *t)
{
    rqc_result r;
    if (rqc_commit(t, &r) != RQC_OK)
        bail("commit: %s", rqc_txn_error(t));
    return r.position;
}

static void fill(rqc_db *db)
{
    rqc_txn *t = txn_new(db);
    rqc_value row[RQC_FIELD_MAX] = {{0}};
    row[RQC_WORKSPACES_NAME] = rqc_text("w");
    rqc_put(t, RQC_WORKSPACES, fix_id(1, 1), row);
    for (unsigned n = 0; n < FIRST; n++)
        put_request(t, n);
    commit(t);
    rqc_txn_free(t);
}

static uint64_t records(const char *path, const char *table)
{
    sqlite3 *db = fix_foreign(path);
    const int64_t n = fix_int(db, "SELECT count(*) FROM %s", table);
    sqlite3_close(db);
    return (uint64_t)n;
}

// ---- Backup -------------------------------------------------------------------------------------

// Between two steps of the copy: the owner and a foreign program each write a transaction.
typedef struct during {
    rqc_db *db;
    sqlite3 *foreign;
    unsigned calls, own, other;
    uint64_t done, total;
} during;

static void write_meanwhile(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    during *d = ctx;
    is(what, "copying", "progress says what it is about");
    ok(done >= d->done && done <= total, "and how far it is");
    d->done = done;
    d->total = total;
    if (d->calls++ >= 4)
        return;
    rqc_txn *t = txn_new(d->db);
    put_request(t, FIRST + d->calls);
    commit(t);
    rqc_txn_free(t);
    d->own++;
    d->other += fix_try(d->foreign, "INSERT INTO workspaces (id, name) VALUES (%s, 'foreign')",
                        fix_hex(fix_id(1, 100 + d->calls))) == SQLITE_OK;
}

static void test_hot(rqc_db *db)
{
    char to[FIX_PATH];
    fix_path(to, "hot.db");
    during d = {.db = db, .foreign = fix_foreign(db_path)};
    rqc_copied c;
    rqc_error e = {RQC_OK, ""};
    const int64_t before = fix_int(d.foreign, "SELECT max(seq) FROM change_log");
    is(rqc_backup(db, to, 0, write_meanwhile, &d, &c, &e), RQC_OK, "a copy while others write: %s",
       e.text);
    ok(d.calls > 1 && d.done == d.total, "in %u steps", d.calls);
    is(d.own, d.calls < 4 ? d.calls : 4, "the owner's writes did not wait for it");
    is(d.other, d.own, "nor did the foreign program's");
    is(c.position.seq, (uint64_t)before, "it is of the position at which it began");
    sqlite3_close(d.foreign);
    sqlite3 *copy = fix_foreign(to);
    is(fix_text(copy, "PRAGMA integrity_check"), "ok", "it is sound");
    is(fix_int(copy, "SELECT max(seq) FROM change_log"), before, "the log is of that position");
    is(fix_int(copy, "SELECT count(*) FROM http"), FIRST, "and so are the rows");
    is(fix_int(copy, "SELECT count(*) FROM http_body_raw WHERE length(raw_data) = %d", (int)BODY),
       FIRST, "whole ones");
    sqlite3_close(copy);
    struct stat st, db_st;
    stat(to, &st);
    stat(db_path, &db_st);
    is(st.st_mode, db_st.st_mode, "it can be read by whoever can read the database");
    ok(c.bytes == (uint64_t)st.st_size, "its size is told");
    rqc_verified v;
    is(rqc_sync(db, NULL), RQC_OK, "sync");
    is(rqc_verify(db, 0, NULL, NULL, &v, &e), RQC_OK, "verify");
    is(v.differences, 0u, "the view followed meanwhile");
}

static void test_refusals(rqc_db *db)
{
    char to[FIX_PATH], other[FIX_PATH + 8];
    rqc_error e = {RQC_OK, ""};
    fix_path(to, "hot.db");
    is(rqc_backup(db, to, 0, NULL, NULL, NULL, &e), RQC_INVALID, "no file is overwritten: %s",
       e.text);
    is(records(to, "http"), FIRST, "it is as it was");
    is(rqc_backup(db, to, 1, NULL, NULL, NULL, &e), RQC_OK, "unless that is asked for");
    ok(records(to, "http") > FIRST, "it is newer now");
    is(rqc_backup(db, db_path, 1, NULL, NULL, NULL, &e), RQC_INVALID,
       "the database itself is no place for it: %s", e.text);
    fix_path(to, "alias.db");
    if (symlink(db_path, to) != 0)
        bail("symlink");
    is(rqc_backup(db, to, 1, NULL, NULL, NULL, &e), RQC_INVALID, "nor by another name");
    unlink(to);
    snprintf(other, sizeof other, "%s-wal", to);
    fix_write(other, "x", 1);
    is(rqc_backup(db, to, 1, NULL, NULL, NULL, &e), RQC_INVALID,
       "nor a name with a log beside it that SQLite would replay: %s", e.text);
    unlink(other);
    fix_path(to, "missing/x.db");
    is(rqc_backup(db, to, 0, NULL, NULL, NULL, &e), RQC_NOT_FOUND, "a folder that is not: %s",
       e.text);

    // A temporary file that a crash left, and one that another process is writing.
    fix_path(to, "second.db");
    snprintf(other, sizeof other, "%s.rqc-tmp", to);
    fix_write(other, "what a crash left", 17);
    const int fd = open(other, O_RDWR);
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    if (fcntl(fd, F_OFD_SETLK, &fl) != 0)
        bail("lock");
    is(rqc_backup(db, to, 0, NULL, NULL, NULL, &e), RQC_BUSY, "two at a time: %s", e.text);
    is(access(to, F_OK), -1, "nothing of this name");
    is(access(other, F_OK), 0, "the other's file is left alone");
    close(fd);
    is(rqc_backup(db, to, 0, NULL, NULL, NULL, &e), RQC_OK, "what a crash left is used again");
    is(access(other, F_OK), -1, "and gone then");
}

// ---- Restore ------------------------------------------------------------------------------------

static void remember(char ret[65536])
{
    size_t n;
    char *p = fix_read(db_path, &n);
    snprintf(ret, 65536, "%zu %016llx", n, (unsigned long long)rqci_xxh64(p, n));
    free(p);
}

static rqc_err restore(const char *from, rqc_copied *ret, rqc_error *e)
{
    *e = (rqc_error){RQC_OK, ""};
    return rqc_restore(db_path, from, NULL, NULL, ret, e);
}

static void refused(const char *from, rqc_err want, const char *why)
{
    static char before[65536], after[65536];
    rqc_copied c;
    rqc_error e;
    remember(before);
    is(restore(from, &c, &e), want, "%s: %s", why, e.text);
    remember(after);
    is(after, before, "and the database is as it was");
}

static void test_bad_backups(void)
{
    char good[FIX_PATH], bad[FIX_PATH];
    size_t n;
    fix_path(good, "second.db");
    fix_path(bad, "bad.db");
    refused(fix_path(bad, "nowhere.db"), RQC_NOT_FOUND, "no such file");
    refused(fix_dir, RQC_INVALID, "a folder");
    refused(db_path, RQC_INVALID, "the database itself");
    fix_path(bad, "bad.db");
    fix_write(bad, "no database", 11);
    refused(bad, RQC_CORRUPT, "a file that is no database");
    unlink(bad);
    sqlite3 *db = fix_foreign(bad);
    fix_exec(db, "CREATE TABLE t (a)");
    sqlite3_close(db);
    refused(bad, RQC_INVALID, "another program's");
    char *p = fix_read(good, &n);
    fix_write(bad, p, n / 2);
    refused(bad, RQC_CORRUPT, "half a backup");
    memset(p + n / 2 / 4096 * 4096, 0x55, 3 * 4096);
    fix_write(bad, p, n);
    refused(bad, RQC_CORRUPT, "a damaged one");
    free(p);
    fix_copy(good, bad);
    db = fix_foreign(bad);
    fix_exec(db, "UPDATE reqcast_meta SET value = 999 WHERE key = 'format'");
    sqlite3_close(db);
    refused(bad, RQC_VERSION, "one of a newer version");
    db = fix_foreign(bad);
    fix_exec(db, "UPDATE reqcast_meta SET value = 0 WHERE key = 'format'");
    sqlite3_close(db);
    refused(bad, RQC_CORRUPT, "one of a version that never was");
    db = fix_foreign(bad);
    fix_exec(db, "DELETE FROM reqcast_meta WHERE key = 'nonce'");
    fix_exec(db, "UPDATE reqcast_meta SET value = 1 WHERE key = 'format'");
    sqlite3_close(db);
    refused(bad, RQC_CORRUPT, "one without its facts");
    char name[FIX_PATH];
    is(access(fix_path(name, "test.db.rqc-tmp"), F_OK), -1, "nothing is left behind");
    is(access(fix_path(name, "test.db.before-restore"), F_OK), -1, "nothing was put aside");
}

static void test_in_use(const char *from)
{
    rqc_copied c;
    rqc_error e;
    rqc_db *db = open_db();
    is(restore(from, &c, &e), RQC_BUSY, "not while an owner lives: %s", e.text);
    rqc_close(db);
    sqlite3 *foreign = fix_foreign(db_path);
    const int64_t head = fix_int(foreign, "SELECT max(seq) FROM change_log");
    is(restore(from, &c, &e), RQC_BUSY, "nor while another program has it open: %s", e.text);
    is(fix_int(foreign, "SELECT max(seq) FROM change_log"), head, "which reads on");
    is(fix_text(foreign, "PRAGMA journal_mode"), "wal", "from a database that is as it was");
    sqlite3_close(foreign);
}

static rqc_position position_of(rqc_db *db)
{
    rqc_stats s = {.size = sizeof s};
    rqc_error e;
    if (rqc_stats_read(db, &s, &e) != RQC_OK)
        bail("stats: %s", e.text);
    return s.position;
}

static void test_restore(const char *from)
{
    rqc_db *db = open_db();
    rqc_txn *t = txn_new(db);
    put_request(t, 5000);
    const rqc_position old = commit(t);
    rqc_txn_free(t);
    rqc_close(db);
    const uint64_t had = records(db_path, "http"), gets = records(from, "http");
    rqc_copied c;
    rqc_error e;
    is(restore(from, &c, &e), RQC_OK, "restored: %s", e.text);
    is(records(db_path, "http"), gets, "the backup's rows are there");
    is(records(c.kept, "http"), had, "the old file is kept");
    db = open_db();
    const rqc_position now = position_of(db);
    ok(memcmp(now.store_id, old.store_id, 16) == 0 && now.term == old.term + 1,
       "a new term begins (%u after %u)", now.term, old.term);
    is(now.seq, c.position.seq, "at the backup's position");
    rqc_verified v;
    is(rqc_verify(db, 0, NULL, NULL, &v, &e), RQC_OK, "verify: %s", e.text);
    is(v.differences, 0u, "the view was built anew");
    rqc_close(db);
    sqlite3 *s = fix_foreign(db_path);
    is(fix_int(s, "SELECT value FROM reqcast_meta WHERE key = 'forked_at'"), (int64_t)now.seq,
       "where it forked is noted");
    sqlite3_close(s);

    // The highest term counts, wherever it is known from: side file and backup do not have it.
    char side[FIX_PATH];
    unlink(fix_path(side, "test.db.rqc-state"));
    is(restore(from, &c, &e), RQC_OK, "once more, without a side file");
    db = open_db();
    ok(position_of(db).term > now.term, "no term is given twice");
    rqc_close(db);
}

// The old file's log holds commits of a process that died. It must not be replayed over the new.
static void test_after_death(const char *from)
{
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        sqlite3 *s = fix_foreign(db_path);
        fix_exec(s, "DELETE FROM http; INSERT INTO workspaces (id, name) VALUES (%s, 'dead')",
                 fix_hex(fix_id(1, 77)));
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    char wal[FIX_PATH + 8];
    struct stat st;
    snprintf(wal, sizeof wal, "%s-wal", db_path);
    ok(stat(wal, &st) == 0 && st.st_size > 0, "a log of somebody who died");
    rqc_copied c;
    rqc_error e;
    is(restore(from, &c, &e), RQC_OK, "restored: %s", e.text);
    is(records(db_path, "workspaces WHERE name = 'dead'"), 0u, "its log is not replayed");
    is(records(db_path, "http"), records(from, "http"), "the rows are the backup's");
    is(records(c.kept, "workspaces WHERE name = 'dead'"), 1u, "what it wrote is kept, too");
}

static void test_over_damage(const char *from)
{
    char wal[FIX_PATH + 8];
    snprintf(wal, sizeof wal, "%s-wal", db_path);
    fix_write(db_path, "what was a database, once upon a time", 37);
    fix_write(wal, "its log", 7);
    rqc_copied c;
    rqc_error e;
    is(restore(from, &c, &e), RQC_OK, "a damaged database is replaced: %s", e.text);
    is(records(db_path, "http"), records(from, "http"), "the rows are the backup's");
    size_t n;
    char *p = fix_read(c.kept, &n);
    ok(p && n == 37, "the damaged one is kept");
    free(p);
    // A cut between the second name and the rename: the old file has both names.
    char again[FIX_PATH];
    fix_path(again, "test.db.before-restore");
    unlink(again);
    if (link(db_path, again) != 0)
        bail("link");
    is(restore(from, &c, &e), RQC_OK, "after a cut: %s", e.text);
    is(c.kept, again, "its second name is used again");
    unlink(db_path);
    fix_write(wal, "of a file that is gone", 22);
    is(restore(from, &c, &e), RQC_OK, "where no database is: %s", e.text);
    is(c.kept, "", "nothing was kept");
    is(access(wal, F_OK), -1, "a log of what is gone is out of the way");
    is(records(db_path, "http"), records(from, "http"), "the rows are the backup's");
}

int main(void)
{
    char from[FIX_PATH];
    fix_begin();
    fix_path(db_path, "test.db");
    if (mkdir(fix_path(views, "views"), 0700) != 0)
        bail("mkdir");
    rqc_db *db = open_db();
    fill(db);
    test_hot(db);
    test_refusals(db);
    rqc_close(db);
    fix_path(from, "second.db");
    test_bad_backups();
    test_in_use(from);
    test_restore(from);
    test_after_death(from);
    test_over_damage(from);
    return tap_done();
}

// SPDX-License-Identifier: Apache-2.0
// Opening: by whom, how often, what is found again, the note that leads to the view, and what a
// child of fork has of it.
#include "api/reqcast.h"

#include "tests/store_db.h"

#include <sqlite3.h>

// The other process: o opens, c closes.
static char command(char c)
{
    static rqc_db *db;
    if (c == 'o') {
        const rqc_options o = sdb_options();
        return (char)rqc_open(sdb_path, &o, &db, NULL);
    }
    rqc_close(db);
    return RQC_OK;
}

static void test_open(sdb_other *p)
{
    rqc_options o = RQC_OPTIONS_INIT;
    rqc_db *db = NULL, *second = NULL;
    rqc_error e = {RQC_OK, ""};
    o.view_dir = sdb_views;
    is(rqc_open(sdb_path, &o, &db, &e), RQC_NOT_FOUND,
       "a file that is not there is not made without create");
    ok(strstr(e.text, "test.db") != NULL, "the error names the file: %s", e.text);
    is(e.code, RQC_NOT_FOUND, "the error holds the code");
    is(rqc_open(sdb_folder, &o, &db, &e), RQC_INVALID, "a directory is no database: %s", e.text);
    is(rqc_open("", &o, &db, &e), RQC_INVALID, "an empty path is refused");
    is(rqc_attach(sdb_path, &o, &db, &e), RQC_NOT_FOUND, "nothing to attach to");
    o.size = 1;
    is(rqc_open(sdb_path, &o, &db, &e), RQC_INVALID, "options without their size are refused");
    ok(db == NULL, "results are untouched when a call fails");
    db = sdb_open();
    o = sdb_options();
    is(rqc_open(sdb_path, &o, &second, &e), RQC_BUSY, "one owner in a process: %s", e.text);
    is(sdb_ask(p, 'o'), RQC_BUSY, "one owner among processes");
    rqc_close(db);
    is(sdb_ask(p, 'o'), RQC_OK, "the next owner, when the first has closed");
    is(rqc_open(sdb_path, &o, &db, &e), RQC_BUSY, "and the other way round: %s", e.text);
    is(sdb_ask(p, 'c'), RQC_OK, "closed");
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
    sdb_id(id, 1, 1);
    rqc_db *db = sdb_open();
    rqc_txn *t = sdb_txn(db);
    rqc_result result;
    is(sdb_put_workspace(t), RQC_OK, "a workspace is put");
    is(sdb_put_http(t, id, "first", 10), RQC_OK, "a request is put");
    is(rqc_commit(t, &result), RQC_OK, "committed");
    is(result.written, 2, "two rows were written");
    is(result.visible, 1, "and can be seen");
    rqc_read *r = sdb_read(db);
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
    db = sdb_open();
    is(rqc_stats_read(db, &after, NULL), RQC_OK, "stats after opening again");
    is(after.generation, before.generation, "the view that was closed cleanly is used as it is");
    is(after.position.term, before.position.term, "the history is the same");
    r = sdb_read(db);
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "the record is there");
    ok(sdb_text_is(rec, RQC_HTTP_NAME, "first"), "and as it was");
    rqc_read_free(r);
    rqc_close(db);
    sdb_remove_all(sdb_views);
    mkdir(sdb_views, 0750);
    db = sdb_open();
    r = sdb_read(db);
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "a view that was lost is built from the database");
    is(rqc_read_position(r).seq, here.seq, "at the same position");
    rqc_read_free(r);
    after.size = 0;
    is(rqc_stats_read(db, &after, NULL), RQC_INVALID, "stats without their size are refused");
    rqc_close(db);
}

// An application may set it to 0, which also is what a connection knows that read no table yet.
static void test_schema_version_0(void)
{
    uint8_t id[16];
    sqlite3 *sql = NULL;
    sqlite3_stmt *st = NULL;
    rqc_result result;
    const rqc_record *rec = NULL;
    sdb_id(id, 5, 1);
    if (sqlite3_open(sdb_path, &sql) != SQLITE_OK ||
        sqlite3_exec(sql, "PRAGMA schema_version = 0", NULL, NULL, NULL) != SQLITE_OK)
        bail("schema_version: %s", sqlite3_errmsg(sql));
    rqc_db *db = sdb_open();
    if (sqlite3_prepare_v2(sql, "PRAGMA schema_version", -1, &st, NULL) != SQLITE_OK ||
        sqlite3_step(st) != SQLITE_ROW)
        bail("schema_version: %s", sqlite3_errmsg(sql));
    is(sqlite3_column_int(st, 0), 0, "a database of schema version 0 is opened as it is");
    sqlite3_finalize(st);
    sqlite3_close(sql);
    rqc_txn *t = sdb_txn(db);
    is(sdb_put_http(t, id, "of version 0", 10), RQC_OK, "a request is put");
    is(rqc_commit(t, &result), RQC_OK, "committed");
    is(result.visible, 1, "and can be seen");
    rqc_read *r = sdb_read(db);
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "a session sees it");
    ok(rec && sdb_text_is(rec, RQC_HTTP_NAME, "of version 0"), "as it was written");
    rqc_read_free(r);
    rqc_txn_free(t);
    rqc_verified v;
    rqc_error e = {RQC_OK, ""};
    is(rqc_verify(db, 0, NULL, NULL, &v, &e), RQC_OK, "verify: %s", e.text);
    is(v.differences, 0, "the view has what the database has");
    rqc_close(db);
}

// What the child finds is its exit status: 0, or the number of the check that failed.
static int in_child(rqc_db *db, rqc_read *r, rqc_txn *t)
{
    rqc_read *fresh;
    rqc_txn *other_txn;
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
    rqc_read_free(r);
    rqc_close(db);
    return 0;
}

static void test_fork(void)
{
    uint8_t id[16];
    sdb_id(id, 4, 1);
    rqc_db *db = sdb_open();
    rqc_read *r = sdb_read(db);
    rqc_txn *t = sdb_txn(db);
    sdb_put_http(t, id, "fork", 1);
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

// ---- The note that leads to the view ----

static void test_note(void)
{
    char note[200], kept[200];
    const rqc_options o = sdb_options();
    rqc_db *db = NULL;
    rqc_error e = {RQC_OK, ""};
    snprintf(note, sizeof note, "%s.rqc-view-path", sdb_path);
    snprintf(kept, sizeof kept, "%s/kept", sdb_folder);
    rename(note, kept);
    is(rqc_attach(sdb_path, &o, &db, &e), RQC_UNAVAILABLE, "no note, no view: %s", e.text);
    if (symlink(kept, note) != 0)
        bail("symlink");
    ok(rqc_attach(sdb_path, &o, &db, &e) != RQC_OK, "a symbolic link is not followed: %s", e.text);
    unlink(note);
    FILE *f = fopen(note, "w");
    fputs("/nowhere/at/all\n", f);
    fclose(f);
    is(rqc_attach(sdb_path, &o, &db, &e), RQC_UNAVAILABLE, "a note of a view that is gone: %s",
       e.text);
    f = fopen(note, "w");
    fputs("relative\n", f);
    fclose(f);
    is(rqc_attach(sdb_path, &o, &db, &e), RQC_UNAVAILABLE, "a note that holds no path: %s", e.text);
    rename(kept, note);
    is(rqc_attach(sdb_path, &o, &db, &e), RQC_OK, "the real one: %s", e.text);
    rqc_close(db);
    // The parent of views that others may write to, or that is no directory, is not used.
    char open_dir[200];
    snprintf(open_dir, sizeof open_dir, "%s/open", sdb_folder);
    mkdir(open_dir, 0750);
    char parent[300];
    snprintf(parent, sizeof parent, "%s/reqcast-%lu", open_dir, (unsigned long)geteuid());
    mkdir(parent, 0750);
    chmod(parent, 0777);
    rqc_options bad = sdb_options();
    bad.view_dir = open_dir;
    is(rqc_open(sdb_path, &bad, &db, &e), RQC_IO, "a directory that others may write to: %s",
       e.text);
    rmdir(parent);
    if (symlink(sdb_views, parent) != 0)
        bail("symlink");
    is(rqc_open(sdb_path, &bad, &db, &e), RQC_IO, "a symbolic link: %s", e.text);
}

int main(void)
{
    sdb_begin("open");
    sdb_other p = sdb_other_start(command); // before there are threads
    test_open(&p);
    test_reopen();
    test_schema_version_0();
    test_fork();
    test_note();
    sdb_other_stop(&p, SIGTERM);
    sdb_end();
    return tap_done();
}

// SPDX-License-Identifier: Apache-2.0
// A limit of the file size (RLIMIT_FSIZE) makes calls fail, and never ends the program by SIGXFSZ:
// at a commit, a backup, the close and the open. What was acknowledged is there afterwards. And the
// caller's progress function is not called any more once rqc_open has returned.
#include "api/reqcast.h"

#include "tests/store_db.h"

#include <sqlite3.h>
#include <sys/resource.h>

static void limit(rlim_t bytes)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_FSIZE, &r) != 0)
        bail("getrlimit: %s", strerror(errno));
    r.rlim_cur = bytes;
    if (setrlimit(RLIMIT_FSIZE, &r) != 0)
        bail("setrlimit: %s", strerror(errno));
}

static unsigned progressed;

static void progress(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    (void)ctx;
    (void)what;
    (void)done;
    (void)total;
    progressed++;
}

int main(void)
{
    char backup[160];
    uint64_t n = 0, stored = 0;
    sdb_begin("limit-signal");
    snprintf(backup, sizeof backup, "%s/backup.db", sdb_folder);
    rqc_options o = sdb_options();
    o.progress = progress;
    rqc_db *db;
    if (rqc_open(sdb_path, &o, &db, NULL) != RQC_OK)
        bail("cannot open");
    ok(progressed > 0, "a view that is built tells how far it is");
    for (; stored < 50; stored++)
        if (sdb_commit_one(db, stored, NULL) != RQC_OK)
            bail("commit");

    limit(100000);
    rqc_err rc = RQC_OK;
    for (; rc == RQC_OK && stored < 1000; stored += rc == RQC_OK)
        rc = sdb_commit_one(db, stored, NULL);
    ok(rc != RQC_OK, "commits fail at the limit: %s", rqc_err_text(rc));
    ok(rqc_backup(db, backup, 0, NULL, NULL, NULL, NULL) != RQC_OK, "a backup fails at the limit");
    rqc_close(db);
    rc = rqc_open(sdb_path, &o, &db, NULL);
    ok(true, "the program lives after the close and another open: %s", rqc_err_text(rc));
    if (rc == RQC_OK)
        rqc_close(db);

    limit(RLIM_INFINITY);
    if (rqc_open(sdb_path, &o, &db, NULL) != RQC_OK)
        bail("cannot open without the limit");
    rqc_read *r = sdb_read(db);
    is(rqc_count(r, sdb_workspace, RQC_ANY_TIME, &n), RQC_OK, "count");
    is(n, stored, "all that was acknowledged is there, and no more");
    rqc_read_free(r);

    // A trigger less: the history is not whole, a new term begins, and the view is built anew.
    const unsigned before = progressed;
    sqlite3 *s = NULL;
    if (sqlite3_open(sdb_path, &s) != SQLITE_OK ||
        sqlite3_exec(s, "DROP TRIGGER reqcast_http_ai", NULL, NULL, NULL) != SQLITE_OK)
        bail("foreign: %s", sqlite3_errmsg(s));
    sqlite3_close(s);
    const uint32_t term = rqc_position_now(db).term;
    is(rqc_sync(db, NULL), RQC_OK, "sync");
    ok(rqc_position_now(db).term > term, "a new term");
    is(progressed, before, "nothing is told after rqc_open");
    rqc_close(db);
    sdb_end();
    return tap_done();
}

// SPDX-License-Identifier: Apache-2.0
// Somebody deletes the view's files while their owner lives: the owner notices, says so and builds
// the view again, for itself and for other processes.
#include "api/reqcast.h"

#include "tests/store_db.h"

#include <dirent.h>

// The other process: a attaches and counts the requests, d lets go. The answer is the count.
static char command(char c)
{
    static rqc_db *db;
    rqc_read *r = NULL;
    uint64_t n = 0;
    if (c == 'd') {
        rqc_close(db);
        return 0;
    }
    if (!db)
        db = sdb_attach();
    if (rqc_read_new(db, &r, NULL) != RQC_OK)
        return 100;
    const rqc_err rc = rqc_read_begin(r);
    if (rc == RQC_OK)
        (void)rqc_count(r, sdb_workspace, RQC_ANY_TIME, &n);
    rqc_read_free(r);
    return rc == RQC_OK ? (char)n : 101;
}

static void remove_in(const char *folder, bool all)
{
    DIR *d = opendir(folder);
    if (!d)
        bail("%s: %s", folder, strerror(errno));
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            (all || strncmp(e->d_name, "gen-", 4) == 0))
            (void)nftw(path, sdb_remove, 16, FTW_DEPTH | FTW_PHYS);
    }
    closedir(d);
}

// The folder of the view: where the control page is.
static char view_folder[256];

static int find_page(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    if (type == FTW_F && strcmp(name + ftw->base, "control") == 0)
        snprintf(view_folder, sizeof view_folder, "%.*s", ftw->base - 1, name);
    return 0;
}

static bool comes_to(rqc_db *db, uint64_t want)
{
    for (int i = 0; i < 1000; i++) {
        rqc_read *r = NULL;
        uint64_t n = 0;
        if (rqc_read_new(db, &r, NULL) == RQC_OK && rqc_read_begin(r) == RQC_OK)
            (void)rqc_count(r, sdb_workspace, RQC_ANY_TIME, &n);
        rqc_read_free(r);
        if (n == want)
            return true;
        sdb_pause_ms(20);
    }
    return false;
}

static bool other_comes_to(const sdb_other *p, char want)
{
    for (int i = 0; i < 1000; i++) {
        if ((char)sdb_ask(p, 'a') == want)
            return true;
        sdb_pause_ms(20);
    }
    return false;
}

int main(void)
{
    uint64_t n = 0;
    sdb_begin("view-lost");
    sdb_other p = sdb_other_start(command);
    rqc_db *db = sdb_open();
    is(sdb_commit_one(db, ++n, NULL), RQC_OK, "a request");
    if (nftw(sdb_views, find_page, 16, FTW_PHYS) != 0 || !*view_folder)
        bail("no control page below %s", sdb_views);
    ok(comes_to(db, n) && other_comes_to(&p, (char)n), "is seen");
    static const char *const what[] = {"the generations are", "everything is", "the folders are"};
    for (int round = 0; round < 3; round++) {
        if (round < 2)
            remove_in(view_folder, round > 0);
        else
            remove_in(sdb_views, true);
        is(sdb_commit_one(db, ++n, NULL), RQC_OK, "%s gone: another request", what[round]);
        ok(comes_to(db, n), "which the owner sees");
        ok(other_comes_to(&p, (char)n), "and the other process");
        rqc_verified v;
        is(rqc_verify(db, 0, NULL, NULL, &v, NULL), RQC_OK, "verify");
        is(v.differences, (uint64_t)0, "no difference");
    }
    (void)sdb_ask(&p, 'd');
    sdb_other_stop(&p, SIGKILL);
    rqc_close(db);
    sdb_end();
    return tap_done();
}

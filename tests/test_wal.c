// SPDX-License-Identifier: Apache-2.0
// The -wal stays small, also when others write or when nothing but questions comes; and a thread
// that is cancelled while it waits for a commit leaves everything in order.
#include "api/reqcast.h"

#include "tests/store_db.h"

#include <pthread.h>
#include <sqlite3.h>

static sqlite3 *foreign_open(void)
{
    sqlite3 *s = NULL;
    if (sqlite3_open(sdb_path, &s) != SQLITE_OK ||
        sqlite3_exec(s, "PRAGMA busy_timeout = 5000; PRAGMA wal_autocheckpoint = 0;", NULL, NULL,
                     NULL) != SQLITE_OK)
        bail("foreign: %s", sqlite3_errmsg(s));
    return s;
}

static void foreign(sqlite3 *s, const char *sql)
{
    if (sqlite3_exec(s, sql, NULL, NULL, NULL) != SQLITE_OK)
        bail("foreign: %s", sqlite3_errmsg(s));
}

static uint64_t wal_bytes(void)
{
    char path[160];
    struct stat st;
    snprintf(path, sizeof path, "%s-wal", sdb_path);
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void test_foreign(rqc_db *db)
{
    sqlite3 *s = foreign_open();
    uint64_t largest = 0;
    foreign(s, "CREATE TABLE app (a)");
    for (int i = 0; i < 60; i++) {
        foreign(s, "INSERT INTO app VALUES (randomblob(524288))");
        (void)rqc_sync(db, NULL);
        sdb_pause_ms(5);
        largest = wal_bytes() > largest ? wal_bytes() : largest;
    }
    foreign(s, "DROP TABLE app");
    sqlite3_close(s);
    ok(largest < (18u << 20), "others' commits are moved on, too: %llu bytes at most",
       (unsigned long long)largest);
}

static void test_idle(rqc_db *db)
{
    is(sdb_commit_one(db, 1, NULL), RQC_OK, "a commit");
    ok(wal_bytes() > 0, "stands in the -wal");
    for (int i = 0; i < 600 && wal_bytes() > 0; i++) {
        (void)rqc_sync(db, NULL);
        sdb_pause_ms(20);
    }
    is(wal_bytes(), (uint64_t)0, "which is emptied though somebody asks all the time");
}

// ---- Cancelled ----

static _Atomic int began;

typedef struct task {
    rqc_db *db;
    uint64_t n;
    rqc_err rc;
} task;

static void *commit_thread(void *arg)
{
    task *t = arg;
    began++;
    t->rc = sdb_commit_one(t->db, t->n, NULL);
    return NULL;
}

static void *sync_thread(void *arg)
{
    task *t = arg;
    began++;
    t->rc = rqc_sync(t->db, NULL);
    return NULL;
}

static void test_cancel(rqc_db *db)
{
    pthread_t thread[3];
    task tasks[3] = {{db, 10, RQC_INTERNAL}, {db, 11, RQC_INTERNAL}, {db, 12, RQC_INTERNAL}};
    sqlite3 *s = foreign_open();
    alarm(60);
    foreign(s, "BEGIN IMMEDIATE");
    for (int i = 0; i < 3; i++) {
        if (pthread_create(&thread[i], NULL, i == 2 ? sync_thread : commit_thread, &tasks[i]) != 0)
            bail("no thread");
        while (began <= i)
            sdb_pause_ms(1);
        sdb_pause_ms(50);
    }
    // The first one waits for the lock; the others wait for their turn.
    pthread_cancel(thread[1]);
    pthread_cancel(thread[2]);
    sdb_pause_ms(50);
    foreign(s, "COMMIT");
    sqlite3_close(s);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    is(tasks[0].rc, RQC_OK, "the commit that nobody cancelled");
    is(sdb_commit_one(db, 13, NULL), RQC_OK, "and another one");
    rqc_read *r = sdb_read(db);
    uint64_t n = 0;
    is(rqc_count(r, sdb_workspace, RQC_ANY_TIME, &n), RQC_OK, "count");
    is(n, (uint64_t)4, "what was begun before the cancellation is there");
    rqc_read_free(r);
    alarm(0);
}

int main(void)
{
    sdb_begin("wal");
    rqc_db *db = sdb_open();
    test_foreign(db);
    test_idle(db);
    test_cancel(db);
    rqc_close(db);
    sdb_end();
    return tap_done();
}

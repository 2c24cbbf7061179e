// SPDX-License-Identifier: Apache-2.0
// What another program committed without waiting for the disk is not acknowledged, nor shown,
// before both files were synced: also when the commit of ours that meets it writes nothing, and
// when the attempt before failed. The functions that wait for the disk are this program's own and
// count.
#include "api/engine.h"

#include "tests/store_db.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static _Atomic unsigned syncs;

int fdatasync(int fd)
{
    atomic_fetch_add(&syncs, 1);
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    atomic_fetch_add(&syncs, 1);
    return (int)syscall(SYS_fsync, fd);
}

static void foreign(const char *sql)
{
    sqlite3 *s = NULL;
    if (sqlite3_open(sdb_path, &s) != SQLITE_OK ||
        sqlite3_exec(s, "PRAGMA busy_timeout = 5000; PRAGMA wal_autocheckpoint = 0", NULL, NULL,
                     NULL) != SQLITE_OK ||
        sqlite3_exec(s, sql, NULL, NULL, NULL) != SQLITE_OK)
        bail("foreign: %s", sqlite3_errmsg(s));
    sqlite3_close(s);
}

static const uint8_t mine[16] = {1, 1}, nobody[16] = {1, 2};

static rqc_err add(rqc_db *db, int *ret_visible)
{
    rqc_value row[RQC_WORKSPACES_NFIELDS] = {{0}};
    rqc_txn *t = sdb_txn(db);
    rqc_result result = {.visible = 0};
    row[RQC_WORKSPACES_NAME] = rqc_text("mine");
    rqc_err rc = rqc_add(t, RQC_WORKSPACES, mine, row);
    if (rc == RQC_OK)
        rc = rqc_commit(t, &result);
    *ret_visible = result.visible;
    rqc_txn_free(t);
    return rc;
}

static rqc_err patch_nobody(rqc_db *db)
{
    rqc_value row[RQC_WORKSPACES_NFIELDS] = {{0}};
    rqc_txn *t = sdb_txn(db);
    row[RQC_WORKSPACES_NAME] = rqc_text("nobody");
    rqc_err rc = rqc_patch(t, RQC_WORKSPACES, nobody, row, 0);
    if (rc == RQC_OK)
        rc = rqc_commit(t, NULL);
    rqc_txn_free(t);
    return rc;
}

#define INSERT "INSERT INTO workspaces (id, name) VALUES (randomblob(16), 'x');"

int main(void)
{
    int visible;
    sdb_begin("foreign-sync");
    rqc_db *db = sdb_open();
    is(add(db, &visible), RQC_OK, "a row");

    foreign("PRAGMA synchronous = NORMAL;" INSERT);
    unsigned before = syncs;
    is(add(db, &visible), RQC_OK, "the same again writes nothing");
    ok(visible && syncs - before >= 1, "but waits for the disk: %u", syncs - before);

    foreign("PRAGMA synchronous = NORMAL;" INSERT);
    is(patch_nobody(db), RQC_NOT_FOUND, "a transaction that fails");
    before = syncs;
    is(add(db, &visible), RQC_OK, "one that writes nothing");
    ok(visible && syncs - before >= 1, "waits for the disk: %u", syncs - before);

    foreign("PRAGMA synchronous = NORMAL; CREATE TABLE app (a);" INSERT);
    before = syncs;
    is(rqc_sync(db, NULL), RQC_OK, "another schema, and a row");
    ok(syncs - before >= 1, "is not shown before the disk has it: %u", syncs - before);

    foreign("PRAGMA synchronous = OFF;" INSERT "PRAGMA wal_checkpoint(TRUNCATE)");
    is(patch_nobody(db), RQC_NOT_FOUND, "a row that was moved into the database unsynced");
    before = syncs;
    is(add(db, &visible), RQC_OK, "one that writes nothing");
    ok(visible && syncs - before >= 2, "syncs both files: %u", syncs - before);

    rqc_txn *t = sdb_txn(db);
    sdb_put_keyed(t, 1, "name", "key");
    is(rqc_commit(t, NULL), RQC_OK, "a commit with a key");
    rqc_txn_free(t);
    foreign("PRAGMA synchronous = OFF;" INSERT "PRAGMA wal_checkpoint(TRUNCATE)");
    bool more;
    before = syncs;
    is(rqci_store_forget_keys(db->store, time(NULL) + 2 * RQCI_KEYS_SECONDS, &more, NULL), RQC_OK,
       "the key is forgotten");
    ok(syncs - before >= 4, "which syncs both files beside its own commit: %u", syncs - before);

    // A commit that comes in between one of ours and the view's look.
    foreign("PRAGMA synchronous = OFF;" INSERT);
    rqci_source_state state;
    pthread_mutex_lock(&db->apply);
    before = syncs;
    is(db->source.begin(db->source.ctx, &state, NULL), RQC_OK, "the view looks");
    ok(syncs - before >= 1, "at nothing that may be lost: %u", syncs - before);
    db->source.end(db->source.ctx);
    pthread_mutex_unlock(&db->apply);

    rqc_close(db);
    sdb_end();
    return tap_done();
}

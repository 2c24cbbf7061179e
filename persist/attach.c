// SPDX-License-Identifier: Apache-2.0
// What we add to a database of an application, told before it is done; and taking all of it out.
#include "persist/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const tables[] = {"change_log", "reqcast_meta", "reqcast_keys", "reqcast_terms"};

// ---- Telling ----

typedef struct teller {
    void (*fn)(void *ctx, const rqci_part *p);
    void *ctx;
} teller;

static void tell(teller *t, const char *kind, const char *name, const char *table, bool there)
{
    const rqci_part p = {.kind = kind, .name = name, .table = table, .there = there};
    if (t->fn)
        t->fn(t->ctx, &p);
}

static void tell_trigger(void *ctx, const char *name, const char *table, bool there)
{
    tell(ctx, "trigger", name, table, there);
}

static rqc_err tell_all(sqlite3 *db, teller *t, rqci_errbuf *err)
{
    char mode[12];
    rqci_shape shape;
    rqc_err e = rqci_shape_read(db, NULL, &shape, err);
    if (!e)
        e = rqci_db_mode(db, NULL, mode, err);
    if (e)
        return e;
    for (size_t i = 0; !e && i < sizeof tables / sizeof *tables; i++) {
        bool there;
        e = rqci_db_has_table(db, tables[i], &there, err);
        if (!e)
            tell(t, "table", tables[i], NULL, there);
    }
    if (!e)
        e = rqci_capture_each(db, &shape, tell_trigger, t, err);
    if (!e)
        tell(t, "setting", "journal_mode=wal", NULL, strcmp(mode, "wal") == 0);
    return e;
}

rqc_err rqci_store_plan(const char *path, void (*fn)(void *ctx, const rqci_part *p), void *ctx,
                        rqci_errbuf *err)
{
    teller t = {fn, ctx};
    char *real = NULL;
    bool there;
    sqlite3 *db = NULL;
    rqc_err e = rqci_path_canonical(path, false, &real, &there, err);
    if (!e)
        e = rqci_check_file(real, NULL, err);
    if (!e)
        e = rqci_db_open_look(real, &db, err);
    if (!e)
        e = rqci_history_look(db, real, false, err);
    if (!e)
        e = tell_all(db, &t, err);
    sqlite3_close_v2(db);
    free(real);
    return e;
}

// ---- Taking out ----

// One more table of ours that is there; RQC_NOT_FOUND when there is none. A table change_log that
// is not ours stays.
static rqc_err next_table(sqlite3 *db, bool log, char ret_name[128], rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    rqc_err e = rqci_db_prepare(db,
                                "SELECT name FROM sqlite_master WHERE type = 'table' AND"
                                " (substr(name, 1, 8) = 'reqcast_' OR (?1 AND name = 'change_log'))"
                                " AND length(name) < 120 ORDER BY rowid LIMIT 1",
                                false, &st, err);
    if (e)
        return e;
    sqlite3_bind_int(st, 1, log);
    const int rc = sqlite3_step(st);
    const char *name;
    if (rc == SQLITE_ROW) {
        e = rqci_db_text(st, 0, &name, err);
        if (!e)
            snprintf(ret_name, 128, "%s", name);
    } else
        e = rc == SQLITE_DONE ? RQC_NOT_FOUND : rqci_sqlite_err(db, rc, "sqlite_master", err);
    sqlite3_finalize(st);
    return e;
}

static rqc_err drop_tables(sqlite3 *db, teller *t, rqci_errbuf *err)
{
    char name[128];
    rqc_err e = rqci_log_check(db, err);
    const bool log = !e;
    if (e && e != RQC_INVALID)
        return e;
    while (!(e = next_table(db, log, name, err))) {
        char *sql = sqlite3_mprintf("DROP TABLE \"%w\"", name);
        e = sql ? rqci_db_exec(db, sql, err) : RQC_NO_MEMORY;
        sqlite3_free(sql);
        if (e)
            return e;
        tell(t, "table", name, NULL, true);
    }
    return e == RQC_NOT_FOUND ? RQC_OK : e;
}

static rqc_err take_out(sqlite3 *db, teller *t, rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    rqci_facts f;
    char mode[12] = "";
    memset(&f, 0, sizeof f);
    rqc_err e = rqci_facts_read(db, &st, &f, err);
    sqlite3_finalize(st);
    if (e && e != RQC_NOT_FOUND && e != RQC_CORRUPT)
        return e;
    e = rqci_db_exec(db, "BEGIN IMMEDIATE", err);
    if (!e)
        e = rqci_capture_drop(db, tell_trigger, t, err);
    if (!e)
        e = drop_tables(db, t, err);
    if (!e)
        e = rqci_db_exec(db, "COMMIT", err);
    if (e || !f.journal[0] || strcmp(f.journal, "wal") == 0)
        return e;
    // Another program may have it open, and then it stays: that is no fault of the rest.
    (void)rqci_db_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL);
    if (!rqci_db_mode(db, f.journal, mode, NULL) && strcmp(mode, f.journal) == 0)
        tell(t, "setting", "journal_mode=wal", NULL, true);
    return RQC_OK;
}

static void remove_side_files(const char *path)
{
    static const char *const suffixes[] = {".rqc-state", ".rqc-state.tmp", ".rqc-tmp"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char *name;
        if (asprintf(&name, "%s%s", path, suffixes[i]) < 0)
            continue;
        (void)unlink(name);
        free(name);
    }
}

rqc_err rqci_store_detach(const char *path, void (*fn)(void *ctx, const rqci_part *p), void *ctx,
                          void (*gone)(const char *path), rqci_errbuf *err)
{
    teller t = {fn, ctx};
    rqci_lock lock = {.fd = -1};
    char *real = NULL;
    bool there;
    sqlite3 *db = NULL;
    rqc_err e = rqci_path_canonical(path, false, &real, &there, err);
    if (!e)
        e = rqci_check_file(real, NULL, err);
    if (!e)
        e = rqci_lock_take(real, &lock, err);
    if (!e)
        e = rqci_db_open(real, RQCI_DB_WRITE, RQCI_BUSY_MS_DEFAULT, &db, err);
    if (!e)
        e = take_out(db, &t, err);
    sqlite3_close_v2(db);
    if (!e) {
        if (gone)
            gone(real);
        remove_side_files(real);
        rqci_lock_remove(real, &lock);
    }
    rqci_lock_release(&lock);
    free(real);
    return e;
}

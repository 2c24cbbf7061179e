// SPDX-License-Identifier: Apache-2.0
// reqcast_meta (what the store knows of itself) and change_log (what happened).
#include "persist/internal.h"

#include <stdio.h>
#include <string.h>

// Half of what an i64 holds: beyond it the log was tampered with, and adding to it could not go on
// for long.
#define HEAD_MAX ((int64_t)1 << 62)

enum {
    K_BASELINE,
    K_CAPTURE,
    K_FORKED_AT,
    K_FORMAT,
    K_HORIZON,
    K_JOURNAL, // optional
    K_NONCE,
    K_RETAIN,
    K_STORE_ID,
    K_TERM,
    K_COUNT
};
static const char *const keys[K_COUNT] = {"baseline", "capture", "forked_at", "format",   "horizon",
                                          "journal",  "nonce",   "retain",    "store_id", "term"};

static int key_of(const char *name)
{
    for (int k = 0; name && k < K_COUNT; k++) {
        if (strcmp(name, keys[k]) == 0)
            return k;
    }
    return -1;
}

// One row of reqcast_meta. False when the value is of another kind than it has to be.
static bool take(rqci_facts *f, int64_t *format, int key, sqlite3_stmt *st)
{
    if (key == K_NONCE || key == K_STORE_ID) {
        if (sqlite3_column_type(st, 1) != SQLITE_BLOB || sqlite3_column_bytes(st, 1) != 16)
            return false;
        memcpy(key == K_NONCE ? f->nonce : f->store_id, sqlite3_column_blob(st, 1), 16);
        return true;
    }
    if (key == K_JOURNAL) {
        const char *mode = (const char *)sqlite3_column_text(st, 1); // see rqci_db_text
        snprintf(f->journal, sizeof f->journal, "%s", mode ? mode : "");
        return true;
    }
    if (sqlite3_column_type(st, 1) != SQLITE_INTEGER)
        return false;
    const int64_t v = sqlite3_column_int64(st, 1);
    switch (key) {
    case K_BASELINE: f->baseline = (uint64_t)v; break;
    case K_CAPTURE: f->capture = (uint64_t)v; return true;
    case K_FORKED_AT: f->forked_at = (uint64_t)v; break;
    case K_FORMAT: *format = v; break;
    case K_HORIZON: f->horizon = (uint64_t)v; break;
    case K_RETAIN: f->retain = (uint64_t)v; break;
    case K_TERM: f->term = (uint32_t)v; return v >= 1 && v <= UINT32_MAX;
    default: return false;
    }
    return v >= 0 && v <= HEAD_MAX;
}

rqc_err rqci_facts_read(sqlite3 *db, sqlite3_stmt **stmt, rqci_facts *ret_facts, rqci_errbuf *err)
{
    if (!*stmt) {
        bool there;
        rqc_err e = rqci_db_has_table(db, "reqcast_meta", &there, err);
        if (!e && !there)
            e = rqci_fail(err, RQC_NOT_FOUND, "the database has no capture of changes");
        if (!e)
            e = rqci_db_prepare(db, "SELECT key, value FROM reqcast_meta", true, stmt, err);
        if (e)
            return e;
    }
    rqci_facts f;
    memset(&f, 0, sizeof f);
    int64_t format = 0;
    unsigned seen = 0;
    int bad = -1;
    int rc;
    while ((rc = sqlite3_step(*stmt)) == SQLITE_ROW) {
        const int key = key_of((const char *)sqlite3_column_text(*stmt, 0));
        if (key < 0)
            continue;
        seen |= 1u << key;
        if (!take(&f, &format, key, *stmt))
            bad = key;
    }
    const rqc_err e = rc == SQLITE_DONE ? RQC_OK : rqci_sqlite_err(db, rc, "reqcast_meta", err);
    sqlite3_reset(*stmt);
    if (e)
        return e;
    if (bad != K_FORMAT && format > RQCI_STORE_FORMAT)
        return rqci_fail(err, RQC_VERSION,
                         "the capture of changes has format %lld, this version knows %d",
                         (long long)format, RQCI_STORE_FORMAT);
    if (bad >= 0)
        return rqci_fail(err, RQC_CORRUPT, "reqcast_meta: %s has a value that cannot be",
                         keys[bad]);
    for (int k = 0; k < K_COUNT; k++) {
        if (k != K_JOURNAL && !(seen >> k & 1u))
            return rqci_fail(err, RQC_CORRUPT, "reqcast_meta: %s is missing", keys[k]);
    }
    if (f.retain == 0 || format < 1)
        return rqci_fail(err, RQC_CORRUPT, "reqcast_meta: %s has a value that cannot be",
                         f.retain == 0 ? "retain" : "format");
    f.format = (int)format;
    *ret_facts = f;
    return RQC_OK;
}

static rqc_err put(sqlite3 *db, sqlite3_stmt *st, int key, const void *blob, int64_t number,
                   rqci_errbuf *err)
{
    rqc_err e = rqci_db_bind_text(st, 1, keys[key], err);
    if (!e && key == K_JOURNAL)
        e = rqci_db_bind_text(st, 2, blob, err);
    else if (!e && blob)
        sqlite3_bind_blob(st, 2, blob, 16, SQLITE_STATIC);
    else if (!e)
        sqlite3_bind_int64(st, 2, number);
    const int rc = e ? SQLITE_DONE : sqlite3_step(st);
    if (rc != SQLITE_DONE)
        e = rqci_sqlite_err(db, rc, "reqcast_meta", err);
    sqlite3_reset(st);
    return e;
}

#define PUT_SQL                                              \
    "INSERT INTO reqcast_meta (key, value) VALUES (?1, ?2) " \
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value"

rqc_err rqci_facts_write(sqlite3 *db, const rqci_facts *f, rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    rqc_err e = rqci_db_prepare(db, PUT_SQL, false, &st, err);
    if (e)
        return e;
    const int64_t numbers[K_COUNT] = {[K_BASELINE] = (int64_t)f->baseline,
                                      [K_CAPTURE] = (int64_t)f->capture,
                                      [K_FORKED_AT] = (int64_t)f->forked_at,
                                      [K_FORMAT] = RQCI_STORE_FORMAT,
                                      [K_HORIZON] = (int64_t)f->horizon,
                                      [K_RETAIN] = (int64_t)f->retain,
                                      [K_TERM] = (int64_t)f->term};
    for (int k = 0; !e && k < K_COUNT; k++)
        e = put(db, st, k,
                k == K_NONCE      ? (const void *)f->nonce
                : k == K_STORE_ID ? (const void *)f->store_id
                : k == K_JOURNAL  ? (const void *)f->journal
                                  : NULL,
                numbers[k], err);
    sqlite3_finalize(st);
    return e;
}

rqc_err rqci_facts_set_horizon(sqlite3 *db, uint64_t horizon, rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    rqc_err e = rqci_db_prepare(db, PUT_SQL, false, &st, err);
    if (e)
        return e;
    e = put(db, st, K_HORIZON, NULL, (int64_t)horizon, err);
    sqlite3_finalize(st);
    return e;
}

rqc_err rqci_facts_add_term(sqlite3 *db, const rqci_facts *f, const char *reason, rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    rqc_err e = rqci_db_prepare(db,
                                "INSERT OR REPLACE INTO reqcast_terms (term, forked_at, begun, "
                                "reason) VALUES (?1, ?2, strftime('%s', 'now') + 0, ?3)",
                                false, &st, err);
    if (e)
        return e;
    sqlite3_bind_int64(st, 1, f->term);
    sqlite3_bind_int64(st, 2, (int64_t)f->forked_at);
    e = rqci_db_bind_text(st, 3, reason, err);
    const int rc = e ? SQLITE_DONE : sqlite3_step(st);
    if (rc != SQLITE_DONE)
        e = rqci_sqlite_err(db, rc, "reqcast_terms", err);
    sqlite3_finalize(st);
    return e;
}

// Refuses a table that only has our name: it would be the application's, and we never write into
// those.
rqc_err rqci_log_check(sqlite3 *db, rqci_errbuf *err)
{
    static const char sql[] = "SELECT group_concat(lower(name) || ' ' || pk || ' ' || hidden, ',') "
                              "FROM pragma_table_xinfo('change_log')";
    sqlite3_stmt *st = NULL;
    rqc_err e = rqci_db_prepare(db, sql, false, &st, err);
    if (e)
        return e;
    const int rc = sqlite3_step(st);
    const char *text = NULL;
    e = rc == SQLITE_ROW ? rqci_db_text(st, 0, &text, err)
                         : rqci_sqlite_err(db, rc, "change_log", err);
    if (!e && (!text || strcmp(text, "seq 1 0,entity 0 0,op 0 0,id 0 0,owner 0 0") != 0))
        e = rqci_fail(err, RQC_INVALID, "the database has a table change_log that is not ours");
    sqlite3_finalize(st);
    return e;
}

rqc_err rqci_facts_tables(sqlite3 *db, rqci_errbuf *err)
{
    // Without AUTOINCREMENT, because its table sqlite_sequence could never be dropped again;
    // without further indexes, because every write pays for them.
    const rqc_err e = rqci_db_exec(
        db,
        "CREATE TABLE IF NOT EXISTS change_log (seq INTEGER PRIMARY KEY, entity INT, op INT,"
        " id BLOB, owner BLOB);"
        "CREATE TABLE IF NOT EXISTS reqcast_meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
        "CREATE TABLE IF NOT EXISTS reqcast_terms (term INTEGER PRIMARY KEY, forked_at INT,"
        " begun INT, reason TEXT);",
        err);
    if (e)
        return e;
    const rqc_err log = rqci_log_check(db, err);
    return log ? log : rqci_keys_table(db, err);
}

rqc_err rqci_head_read(sqlite3 *db, sqlite3_stmt **stmt, uint64_t baseline, uint64_t *ret_head,
                       rqci_errbuf *err)
{
    int64_t head;
    const rqc_err e = rqci_db_int_kept(db, "SELECT max(seq) FROM change_log", stmt, &head, err);
    if (e == RQC_NOT_FOUND) {
        *ret_head = baseline;
        return RQC_OK;
    }
    if (e)
        return e;
    if (head < 1 || head > HEAD_MAX)
        return rqci_fail(err, RQC_CORRUPT, "change_log: position %lld cannot be", (long long)head);
    *ret_head = (uint64_t)head;
    return RQC_OK;
}

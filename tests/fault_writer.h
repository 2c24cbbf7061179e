// SPDX-License-Identifier: Apache-2.0
// Writers for the children of tests that kill: threads of an owner, and a program that knows
// nothing of reqcast. They tell every commit that was acknowledged.
#ifndef RQC_TESTS_FAULT_WRITER_H
#define RQC_TESTS_FAULT_WRITER_H

#include "tests/fault_work.h"

typedef struct writer {
    rqc_db *db;
    unsigned who;
    uint64_t n; // last attempt
    rqc_txn *txn;
    rqc_read *read;
    pthread_t thread;
} writer;

static _Atomic bool writers_stop;

static inline void writer_begin(writer *w)
{
    rqc_error err;
    if (rqc_txn_new(w->db, &w->txn, &err) != RQC_OK ||
        rqc_read_new(w->db, &w->read, &err) != RQC_OK)
        fault_bad("writer %u: %s", w->who, err.text);
    rqc_err rc = rqc_read_begin(w->read);
    if (rc != RQC_OK)
        fault_bad("writer %u: begin: %s", w->who, rqc_read_error(w->read));
    rc = work_number(w->read, w->who, &w->n);
    rqc_read_end(w->read);
    if (rc == RQC_NOT_FOUND) {
        w->n = 0;
        rc = work_begin(w->db, w->who, NULL);
    }
    if (rc != RQC_OK)
        fault_bad("writer %u cannot begin: %s", w->who, rqc_err_text(rc));
    fault_send(&(fault_msg){.kind = FAULT_START, .who = w->who, .n = w->n});
}

static inline void writer_end(writer *w)
{
    rqc_txn_free(w->txn);
    rqc_read_free(w->read);
}

// What was acknowledged as visible must be what the next session sees.
static inline void read_own_write(writer *w, uint64_t seq)
{
    uint64_t seen = 0;
    const rqc_err rc = rqc_read_begin(w->read);
    if (rc != RQC_OK)
        fault_bad("writer %u: begin: %s", w->who, rqc_read_error(w->read));
    if (rqc_read_position(w->read).seq < seq || work_number(w->read, w->who, &seen) != RQC_OK ||
        seen != w->n)
        fault_bad("writer %u: %" PRIu64 " was acknowledged as visible at %" PRIu64
                  ", a session at %" PRIu64 " sees %" PRIu64,
                  w->who, w->n, seq, rqc_read_position(w->read).seq, seen);
    rqc_read_end(w->read);
}

static inline void writer_step(writer *w)
{
    rqc_result res = {.visible = 0};
    bool refused;
    w->n++;
    const rqc_err rc = work_commit(w->txn, w->who, w->n, &res, &refused);
    if (rc != RQC_OK)
        fault_bad("writer %u: commit %" PRIu64 ": %s: %s", w->who, w->n, rqc_err_text(rc),
                  rqc_txn_error(w->txn));
    fault_send(&(fault_msg){.kind = refused ? FAULT_REFUSED : FAULT_ACK,
                            .who = w->who,
                            .n = w->n,
                            .position = res.position});
    if (refused) { // a transaction keeps its writes when it fails
        rqc_txn_free(w->txn);
        if (rqc_txn_new(w->db, &w->txn, NULL) != RQC_OK)
            fault_bad("no transaction");
    } else if (!res.visible) {
        fault_bad("writer %u: %" PRIu64 " is not visible", w->who, w->n);
    } else if (fault_mix(w->n, w->who) % 4 == 0) {
        read_own_write(w, res.position.seq);
    }
}

static inline void *writer_main(void *arg)
{
    writer *w = arg;
    while (!writers_stop)
        writer_step(w);
    return NULL;
}

// A program that knows nothing of reqcast.
static inline int foreign_role(const char *path, const char *synchronous)
{
    char sql[64];
    sqlite3 *db = work_sql_open(path);
    snprintf(sql, sizeof sql, "PRAGMA synchronous=%s", synchronous);
    // SQLite before 3.51.3 can damage the file when two connections checkpoint it; that is no
    // matter of this test.
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(db, "PRAGMA wal_autocheckpoint=0", NULL, NULL, NULL) != SQLITE_OK)
        fault_bad("foreign: %s", sqlite3_errmsg(db));
    uint64_t n = work_sql_number(db, WORK_FOREIGN);
    if (n == UINT64_MAX) {
        static const unsigned parts[] = {WORK_WORKSPACE, WORK_WORKSPACE, WORK_MARKER};
        work_row row;
        int rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
        n = 0;
        for (unsigned i = 0; i < 3 && rc == SQLITE_OK; i++) {
            work_make(parts[i], i == 0 ? 0 : WORK_FOREIGN, 0, &row);
            rc = work_sql_put(db, &row);
        }
        if (rc != SQLITE_OK || sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
            fault_bad("foreign: %s", sqlite3_errmsg(db));
    }
    fault_send(&(fault_msg){.kind = FAULT_START, .who = WORK_FOREIGN, .n = n});
    while (fault_go_on(0)) {
        n++;
        if (work_sql_commit(db, n) != SQLITE_OK)
            fault_bad("foreign: commit %" PRIu64 ": %s", n, sqlite3_errmsg(db));
        fault_send(&(fault_msg){.kind = FAULT_ACK, .who = WORK_FOREIGN, .n = n});
        fault_sleep_us((int64_t)fault_rand(3000)); // or SQLite's unfair lock starves the owner
    }
    sqlite3_close(db);
    return 0;
}

#endif

// SPDX-License-Identifier: Apache-2.0
// Work whose outcome can be told: transaction `n` of writer `who` writes a fixed set of records
// whose content follows from (who, n) alone. So the number in a writer's marker says all that must
// be in the database, and nothing else may be.
//
// Transaction n of a writer:   its marker gets n
//                              its slot n % 8 (a request) gets n, and moves to the shared workspace
//                              or back; so do the slot's 3 headers a fresh request with a parameter
//                              and a raw body appears, some bodies being large values the fresh
//                              request of transaction n - 5 is deleted
// Some transactions end with the patch of a record that is not there: they must be refused, and
// nothing of them may be seen.
#ifndef RQC_TESTS_FAULT_WORK_H
#define RQC_TESTS_FAULT_WORK_H

#include "tests/fault.h"

#include <sqlite3.h>

#define WORK_WRITERS  9 // 8 threads of the owner, and one foreign program
#define WORK_FOREIGN  8
#define WORK_SLOTS    8u
#define WORK_LIFE     5u // a fresh request lives for so many transactions
#define WORK_PARTS    8
#define WORK_TEXT_MAX 70000u

enum {
    WORK_MARKER,
    WORK_SLOT,
    WORK_HEADER_1,
    WORK_HEADER_2,
    WORK_HEADER_3,
    WORK_FRESH,
    WORK_PARAM,
    WORK_RAW,
    WORK_WORKSPACE
};

static const rqc_entity work_entity[WORK_PARTS + 1] = {
    RQC_HTTP,        RQC_HTTP, RQC_HTTP_HEADER,       RQC_HTTP_HEADER,
    RQC_HTTP_HEADER, RQC_HTTP, RQC_HTTP_SEARCH_PARAM, RQC_HTTP_BODY_RAW,
    RQC_WORKSPACES};

typedef struct work_row {
    rqc_entity entity;
    uint8_t id[16], owner[16];
    char name[32];
    rqc_value v[RQC_FIELD_MAX];
} work_row;

static inline bool work_refused(unsigned who, uint64_t n)
{
    return n > 0 && who != WORK_FOREIGN && fault_mix(who + 100, n) % 16 == 3;
}

// The newest number at or below n that was not refused; 0 is the beginning.
static inline uint64_t work_done(unsigned who, uint64_t n)
{
    while (work_refused(who, n))
        n--;
    return n;
}

static inline void work_id(unsigned part, unsigned who, uint64_t n, uint8_t ret[16])
{
    memset(ret, 0, 16);
    if (part == WORK_SLOT || (part >= WORK_HEADER_1 && part <= WORK_HEADER_3))
        n %= WORK_SLOTS;
    else if (part == WORK_MARKER || part == WORK_WORKSPACE)
        n = 0;
    ret[0] = (uint8_t)(part + 1);
    ret[1] = (uint8_t)(who + 1);
    for (int i = 0; i < 8; i++)
        ret[8 + i] = (uint8_t)(n >> (56 - 8 * i));
}

static char work_text_bytes[WORK_TEXT_MAX + 1000];

static inline void work_text_fill(void)
{
    size_t i = 0;
    while (i < sizeof work_text_bytes - 8)
        i += (size_t)snprintf(work_text_bytes + i, 8, "%zu ", i);
}

// Many different texts: the bytes from this offset on.
static inline const char *work_text(uint64_t from)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, work_text_fill);
    return work_text_bytes + from % 1000;
}

static inline uint32_t work_raw_size(unsigned who, uint64_t n)
{
    const uint64_t chance = fault_mix(who, n) % 64;
    return (uint32_t)(chance == 0 ? 60000 : chance < 8 ? 20000 : 1 + fault_mix(n, who) % 200);
}

// One record of a transaction. Its texts point into `row` or into static memory.
static inline void work_make(unsigned part, unsigned who, uint64_t n, work_row *row)
{
    const uint64_t chance = fault_mix(who + 1000, n);
    memset(row, 0, sizeof *row);
    row->entity = work_entity[part];
    work_id(part, who, n, row->id);
    snprintf(row->name, sizeof row->name, "%" PRIu64, n);
    rqc_value *v = row->v;
    const rqc_value name = rqc_text(row->name),
                    some = rqc_textn(work_text(chance), (uint32_t)(chance % 300));
    v[0] = rqc_id(row->id);
    switch (part) {
    case WORK_MARKER:
    case WORK_SLOT:
    case WORK_FRESH:
        // Slots move between the writer's own workspace and the first one.
        work_id(WORK_WORKSPACE, part == WORK_SLOT && chance % 3 == 0 ? 0 : who, 0, row->owner);
        v[RQC_HTTP_WORKSPACE_ID] = rqc_id(row->owner);
        v[RQC_HTTP_NAME] = name;
        v[RQC_HTTP_URL] = some;
        v[RQC_HTTP_METHOD] = rqc_text(chance % 2 ? "GET" : "POST");
        v[RQC_HTTP_BODY_KIND] = rqc_int(2);
        v[RQC_HTTP_DESCRIPTION] = name;
        v[RQC_HTTP_CREATED_AT] = rqc_int(1);
        v[RQC_HTTP_UPDATED_AT] = rqc_int((int64_t)(chance % 1000));
        break;
    case WORK_PARAM:
        work_id(WORK_FRESH, who, n, row->owner);
        v[RQC_HTTP_SEARCH_PARAM_HTTP_ID] = rqc_id(row->owner);
        v[RQC_HTTP_SEARCH_PARAM_KEY] = name;
        v[RQC_HTTP_SEARCH_PARAM_VALUE] = some;
        v[RQC_HTTP_SEARCH_PARAM_CREATED_AT] = v[RQC_HTTP_SEARCH_PARAM_UPDATED_AT] =
            rqc_int((int64_t)n);
        break;
    case WORK_RAW:
        work_id(WORK_FRESH, who, n, row->owner);
        v[RQC_HTTP_BODY_RAW_HTTP_ID] = rqc_id(row->owner);
        v[RQC_HTTP_BODY_RAW_RAW_DATA] = rqc_bytes(work_text(chance), work_raw_size(who, n));
        v[RQC_HTTP_BODY_RAW_COMPRESSION_TYPE] = rqc_int(0);
        v[RQC_HTTP_BODY_RAW_CREATED_AT] = v[RQC_HTTP_BODY_RAW_UPDATED_AT] = rqc_int((int64_t)n);
        break;
    case WORK_WORKSPACE:
        v[RQC_WORKSPACES_NAME] = rqc_text("work");
        v[RQC_WORKSPACES_UPDATED] = rqc_int(1);
        break;
    default: // headers
        work_id(WORK_SLOT, who, n, row->owner);
        v[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(row->owner);
        v[RQC_HTTP_HEADER_HEADER_KEY] = name;
        v[RQC_HTTP_HEADER_HEADER_VALUE] = some;
        v[RQC_HTTP_HEADER_ENABLED] = rqc_bool(part != WORK_HEADER_3);
        v[RQC_HTTP_HEADER_CREATED_AT] = v[RQC_HTTP_HEADER_UPDATED_AT] = rqc_int((int64_t)n);
        break;
    }
}

// True when transaction n deletes the fresh request of n - WORK_LIFE, which must have been made.
static inline bool work_deletes(unsigned who, uint64_t n)
{
    return n > WORK_LIFE && !work_refused(who, n - WORK_LIFE);
}

// ---- Through the library ------------------------------------------------------------------------

// Builds and commits transaction n. RQC_OK also when it was refused as it should be (*ret_result is
// then left alone).
static inline rqc_err work_commit(rqc_txn *t, unsigned who, uint64_t n, rqc_result *ret_result,
                                  bool *ret_refused)
{
    static const rqc_value nothing[RQC_FIELD_MAX];
    work_row row;
    rqc_err rc = RQC_OK;
    for (unsigned part = 0; part < WORK_PARTS && rc == RQC_OK; part++) {
        work_make(part, who, n, &row);
        rc = rqc_put(t, row.entity, row.id, row.v);
    }
    if (rc == RQC_OK && work_deletes(who, n)) {
        work_id(WORK_FRESH, who, n - WORK_LIFE, row.id);
        rc = rqc_delete(t, RQC_HTTP, row.id, 0);
    }
    if (rc == RQC_OK && work_refused(who, n)) {
        memset(row.id, 0xee, 16);
        rc = rqc_patch(t, RQC_HTTP, row.id, nothing, 0);
    }
    if (rc != RQC_OK)
        return rc;
    *ret_refused = work_refused(who, n);
    rc = rqc_commit(t, ret_result);
    if (!*ret_refused)
        return rc;
    return rc == RQC_NOT_FOUND ? RQC_OK : rc == RQC_OK ? RQC_INTERNAL : rc;
}

// The writer's workspace and its marker with number 0, when they are not there.
static inline rqc_err work_begin(rqc_db *db, unsigned who, rqc_result *ret_result)
{
    rqc_txn *t;
    work_row row;
    rqc_err rc = rqc_txn_new(db, &t, NULL);
    if (rc != RQC_OK)
        return rc;
    static const unsigned parts[] = {WORK_WORKSPACE, WORK_WORKSPACE, WORK_MARKER};
    for (size_t i = 0; i < 3 && rc == RQC_OK; i++) {
        work_make(parts[i], i == 0 ? 0 : who, 0, &row);
        rc = rqc_add(t, row.entity, row.id, row.v);
    }
    if (rc == RQC_OK)
        rc = rqc_commit(t, ret_result);
    rqc_txn_free(t);
    return rc;
}

// The number in a writer's marker as a session sees it. RQC_NOT_FOUND before work_begin.
static inline rqc_err work_number(rqc_read *r, unsigned who, uint64_t *ret_n)
{
    uint8_t id[16];
    const rqc_record *rec;
    char text[32] = "";
    work_id(WORK_MARKER, who, 0, id);
    const rqc_err rc = rqc_get(r, RQC_HTTP, id, &rec);
    if (rc != RQC_OK)
        return rc;
    const rqc_value v = rqc_field(rec, RQC_HTTP_NAME);
    if (v.type == RQC_TEXT && v.n < sizeof text)
        memcpy(text, v.p, v.n);
    *ret_n = strtoull(text, NULL, 10);
    return RQC_OK;
}

// ---- Through plain SQL
// ----------------------------------------------------------------------------

static inline sqlite3 *work_sql_open(const char *path)
{
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        bail("%s: %s", path, sqlite3_errmsg(db));
    sqlite3_busy_timeout(db, 20000);
    return db;
}

static inline int work_bind(sqlite3_stmt *q, int at, const rqc_value *v)
{
    switch (v->type) {
    case RQC_INT:
    case RQC_BOOL: return sqlite3_bind_int64(q, at, v->u.i);
    case RQC_REAL: return sqlite3_bind_double(q, at, v->u.d);
    case RQC_TEXT: return sqlite3_bind_text(q, at, v->n > 0 ? v->p : "", (int)v->n, SQLITE_STATIC);
    case RQC_BYTES:
    case RQC_ID: return sqlite3_bind_blob(q, at, v->n > 0 ? v->p : "", (int)v->n, SQLITE_STATIC);
    default: return sqlite3_bind_null(q, at);
    }
}

// INSERT OR REPLACE of the fields that are given, as another program could write it.
static inline int work_sql_put(sqlite3 *db, const work_row *row)
{
    char sql[2048], marks[128] = "";
    int n = snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO %s (", rqc_entity_name(row->entity)),
        count = 0;
    for (int i = 0; i < RQC_FIELD_MAX && rqc_field_name(row->entity, i); i++)
        if (row->v[i].type != RQC_ABSENT) {
            n += snprintf(sql + n, sizeof sql - (size_t)n, "%s%s", count > 0 ? ", " : "",
                          rqc_field_name(row->entity, i));
            strcat(marks, count++ > 0 ? ", ?" : "?");
        }
    snprintf(sql + n, sizeof sql - (size_t)n, ") VALUES (%s)", marks);
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &q, NULL);
    count = 0;
    for (int i = 0; rc == SQLITE_OK && i < RQC_FIELD_MAX && rqc_field_name(row->entity, i); i++)
        if (row->v[i].type != RQC_ABSENT)
            rc = work_bind(q, ++count, &row->v[i]);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(q) == SQLITE_DONE ? SQLITE_OK : sqlite3_errcode(db);
    sqlite3_finalize(q);
    return rc;
}

static inline int work_sql_delete(sqlite3 *db, const char *table, const char *column,
                                  const uint8_t id[16])
{
    char sql[128];
    sqlite3_stmt *q = NULL;
    snprintf(sql, sizeof sql, "DELETE FROM %s WHERE %s = ?", table, column);
    int rc = sqlite3_prepare_v2(db, sql, -1, &q, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_blob(q, 1, id, 16, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(q) == SQLITE_DONE ? SQLITE_OK : sqlite3_errcode(db);
    sqlite3_finalize(q);
    return rc;
}

// Transaction n of the foreign program, which knows nothing of reqcast and has foreign keys off: it
// deletes children by itself.
static inline int work_sql_commit(sqlite3 *db, uint64_t n)
{
    work_row row;
    int rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        return rc;
    for (unsigned part = 0; part < WORK_PARTS && rc == SQLITE_OK; part++) {
        work_make(part, WORK_FOREIGN, n, &row);
        rc = work_sql_put(db, &row);
    }
    if (rc == SQLITE_OK && work_deletes(WORK_FOREIGN, n)) {
        static const unsigned parts[] = {WORK_PARAM, WORK_RAW, WORK_FRESH};
        for (size_t i = 0; i < 3 && rc == SQLITE_OK; i++) {
            work_id(parts[i], WORK_FOREIGN, n - WORK_LIFE, row.id);
            rc = work_sql_delete(db, rqc_entity_name(work_entity[parts[i]]), "id", row.id);
        }
    }
    return sqlite3_exec(db, rc == SQLITE_OK ? "COMMIT" : "ROLLBACK", NULL, NULL, NULL) == SQLITE_OK
               ? rc
               : SQLITE_ERROR;
}

static inline uint64_t work_sql_number(sqlite3 *db, unsigned who)
{
    uint8_t id[16];
    sqlite3_stmt *q = NULL;
    uint64_t n = UINT64_MAX;
    work_id(WORK_MARKER, who, 0, id);
    if (sqlite3_prepare_v2(db, "SELECT name FROM http WHERE id = ?", -1, &q, NULL) == SQLITE_OK &&
        sqlite3_bind_blob(q, 1, id, 16, SQLITE_STATIC) == SQLITE_OK &&
        sqlite3_step(q) == SQLITE_ROW)
        n = strtoull((const char *)sqlite3_column_text(q, 0), NULL, 10);
    sqlite3_finalize(q);
    return n;
}

#endif

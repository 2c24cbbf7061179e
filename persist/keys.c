// SPDX-License-Identifier: Apache-2.0
// Idempotency keys: reqcast_keys holds what was asked for under a key and what was answered,
// written in the transaction that did it. So whoever asks again, after whatever happened to the
// answer, gets the same one. docs/format.md has the table.
#include "base/bytes.h"
#include "base/hash.h"
#include "persist/internal.h"

#include <string.h>

#define REPLY_BYTES (16 + 4 + 4 * 8)
#define CHUNK       2000

// ---- The table ----

rqc_err rqci_keys_table(sqlite3 *db, rqci_errbuf *err)
{
    static const char columns[] = "SELECT group_concat(lower(name) || ' ' || pk, ',')"
                                  " FROM pragma_table_info('reqcast_keys')";
    rqc_err e = rqci_db_exec(db,
                             "CREATE TABLE IF NOT EXISTS reqcast_keys (n INTEGER PRIMARY KEY,"
                             " at INT, key BLOB UNIQUE, request BLOB, reply BLOB)",
                             err);
    if (e)
        return e;
    sqlite3_stmt *st = NULL;
    e = rqci_db_prepare(db, columns, false, &st, err);
    if (e)
        return e;
    const int rc = sqlite3_step(st);
    const char *text = NULL;
    e = rc == SQLITE_ROW ? rqci_db_text(st, 0, &text, err)
                         : rqci_sqlite_err(db, rc, "reqcast_keys", err);
    if (!e && (!text || strcmp(text, "n 1,at 0,key 0,request 0,reply 0") != 0))
        e = rqci_fail(err, RQC_INVALID, "the database has a table reqcast_keys that is not ours");
    sqlite3_finalize(st);
    return e;
}

// ---- What was asked for ----

static void add_number(rqci_hasher *h, uint64_t v)
{
    uint8_t bytes[8];
    rqci_put64(bytes, v);
    rqci_hasher_add(h, bytes, sizeof bytes);
}

static void add_value(rqci_hasher *h, const rqc_value *v)
{
    const uint8_t type = (uint8_t)v->type;
    uint64_t bits;
    rqci_hasher_add(h, &type, 1);
    switch (v->type) {
    case RQC_INT:
    case RQC_BOOL: add_number(h, (uint64_t)v->u.i); break;
    case RQC_REAL:
        memcpy(&bits, &v->u.d, sizeof bits);
        add_number(h, bits);
        break;
    case RQC_TEXT:
    case RQC_BYTES:
    case RQC_ID:
        add_number(h, v->n);
        rqci_hasher_add(h, v->p, v->n);
        break;
    case RQC_ABSENT:
    case RQC_NULL:
    case RQC_LARGE: break;
    }
}

void rqci_writes_hash(const rqci_write *writes, size_t n, uint8_t ret_hash[16])
{
    rqci_hasher h;
    rqci_hasher_init(&h);
    for (size_t i = 0; i < n; i++) {
        const rqci_write *w = &writes[i];
        const rqci_entity *e = rqci_entity_of(w->entity);
        const uint8_t head[3] = {w->kind, w->entity, w->if_seq};
        rqci_hasher_add(&h, head, sizeof head);
        add_number(&h, w->if_seq ? w->seq : 0);
        rqci_hasher_add(&h, w->id, 16);
        for (int f = 1; e && w->row && f < e->nfields; f++)
            add_value(&h, &w->row[f]);
    }
    const rqci_hash128 hash = rqci_hasher_end128(&h);
    rqci_put64be(ret_hash, hash.hi);
    rqci_put64be(ret_hash + 8, hash.lo);
}

// ---- What was answered ----

static void pack_reply(const rqci_job *job, uint8_t p[REPLY_BYTES])
{
    memcpy(p, job->store_id, 16);
    rqci_put32(p + 16, job->term);
    rqci_put64(p + 20, job->seq);
    rqci_put64(p + 28, job->written);
    rqci_put64(p + 36, job->skipped);
    rqci_put64(p + 44, job->deleted);
}

static void take_reply(rqci_job *job, const uint8_t *p)
{
    memcpy(job->store_id, p, 16);
    job->term = rqci_get32(p + 16);
    job->seq = rqci_get64(p + 20);
    job->written = rqci_get64(p + 28);
    job->skipped = rqci_get64(p + 36);
    job->deleted = rqci_get64(p + 44);
    job->replayed = true;
}

static rqc_err compare(rqci_job *job, sqlite3_stmt *st)
{
    if (sqlite3_column_bytes(st, 0) != 16 || sqlite3_column_bytes(st, 1) != REPLY_BYTES)
        return rqci_fail(&job->detail, RQC_CORRUPT, "reqcast_keys: a row that cannot be");
    if (memcmp(sqlite3_column_blob(st, 0), job->request, 16) != 0)
        return rqci_fail(&job->detail, RQC_CONFLICT, "the key was used for another request");
    take_reply(job, sqlite3_column_blob(st, 1));
    return RQC_OK;
}

rqc_err rqci_keys_find(rqci_store *s, rqci_job *job, bool *ret_found)
{
    rqc_err e = RQC_OK;
    *ret_found = false;
    if (!s->key_find)
        e = rqci_db_prepare(s->db, "SELECT request, reply FROM reqcast_keys WHERE key = ?1", true,
                            &s->key_find, &job->detail);
    if (e)
        return e;
    sqlite3_bind_blob64(s->key_find, 1, job->key, job->key_len, SQLITE_STATIC);
    const int rc = sqlite3_step(s->key_find);
    if (rc == SQLITE_ROW)
        e = compare(job, s->key_find);
    else if (rc != SQLITE_DONE)
        e = rqci_sqlite_err(s->db, rc, "reqcast_keys", &job->detail);
    *ret_found = rc == SQLITE_ROW && !e;
    sqlite3_reset(s->key_find);
    sqlite3_clear_bindings(s->key_find);
    return e;
}

rqc_err rqci_keys_add(rqci_store *s, rqci_job *job, int64_t now)
{
    uint8_t reply[REPLY_BYTES];
    pack_reply(job, reply);
    rqc_err e = RQC_OK;
    if (!s->key_add)
        e = rqci_db_prepare(s->db,
                            "INSERT OR FAIL INTO reqcast_keys (at, key, request, reply)"
                            " VALUES (?1, ?2, ?3, ?4)",
                            true, &s->key_add, &job->detail);
    if (e)
        return e;
    sqlite3_bind_int64(s->key_add, 1, now);
    sqlite3_bind_blob64(s->key_add, 2, job->key, job->key_len, SQLITE_STATIC);
    sqlite3_bind_blob(s->key_add, 3, job->request, 16, SQLITE_STATIC);
    sqlite3_bind_blob(s->key_add, 4, reply, sizeof reply, SQLITE_STATIC);
    const int rc = sqlite3_step(s->key_add);
    if (rc != SQLITE_DONE)
        e = rqci_sqlite_err(s->db, rc, "reqcast_keys", &job->detail);
    sqlite3_reset(s->key_add);
    sqlite3_clear_bindings(s->key_add);
    return e;
}

// ---- Forgetting ----

// The oldest keys that are old enough, or too many: up to which n. They are in order of their
// commits; a clock that was ahead then keeps nothing for longer than the retention after now.
static rqc_err find_old(rqci_store *s, int64_t now, int64_t *ret_upto, bool *ret_more,
                        rqci_errbuf *err)
{
    static const char sql[] = "SELECT n, at, (SELECT max(n) FROM reqcast_keys) FROM reqcast_keys"
                              " WHERE n > 0"
                              " ORDER BY n LIMIT ?1";
    sqlite3_stmt *st = NULL;
    rqc_err e = rqci_db_prepare(s->value_db, sql, false, &st, err);
    if (e)
        return e;
    sqlite3_bind_int(st, 1, CHUNK);
    int64_t upto = INT64_MIN, n = 0;
    int rc = SQLITE_DONE;
    bool old = true;
    while (old && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        const int64_t key = sqlite3_column_int64(st, 0), at = sqlite3_column_int64(st, 1);
        old = at < now - RQCI_KEYS_SECONDS || at > now + RQCI_KEYS_SECONDS ||
              key <= sqlite3_column_int64(st, 2) - RQCI_KEYS_MAX;
        if (old)
            upto = key;
        n += old;
    }
    if (old && rc != SQLITE_DONE)
        e = rqci_sqlite_err(s->value_db, rc, "reqcast_keys", err);
    sqlite3_finalize(st);
    *ret_upto = upto;
    *ret_more = n == CHUNK;
    return e;
}

static rqc_err delete_call(rqci_store *s, void *arg, rqci_errbuf *err)
{
    const int64_t *upto = arg;
    uint64_t head;
    sqlite3_stmt *st = NULL;
    rqc_err e = rqci_history_begin(s, &head, err);
    if (e)
        return e;
    e = rqci_db_prepare(s->db, "DELETE FROM reqcast_keys WHERE n <= ?1", false, &st, err);
    if (!e) {
        sqlite3_bind_int64(st, 1, *upto);
        const int rc = sqlite3_step(st);
        e = rc == SQLITE_DONE ? RQC_OK : rqci_sqlite_err(s->db, rc, "reqcast_keys", err);
        sqlite3_finalize(st);
    }
    return rqci_history_end(s, e, head, err);
}

rqc_err rqci_store_forget_keys(rqci_store *s, int64_t now, bool *ret_more, rqci_errbuf *err)
{
    int64_t upto = INT64_MIN;
    bool more = false;
    pthread_mutex_lock(&s->value_mu);
    rqc_err e = find_old(s, now, &upto, &more, err);
    pthread_mutex_unlock(&s->value_mu);
    if (!e && upto != INT64_MIN)
        e = rqci_writer_call(s, delete_call, &upto, err);
    if (!e)
        *ret_more = more;
    return e;
}

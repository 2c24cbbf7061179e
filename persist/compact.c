// SPDX-License-Identifier: Apache-2.0
// Old rows of change_log go. Which ones is for the caller (the view) to say; this walks them, a
// chunk at a time, and never takes the highest row, from which the next position is made.
#include "persist/internal.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK 2000

typedef struct chunk {
    uint64_t horizon;
    bool move_horizon;
    uint64_t after, end; // examined: after < seq ≤ end
    size_t examined, n, doomed;
    rqci_change rows[CHUNK]; // the caller decides
    uint64_t seqs[CHUNK];    // to be deleted
} chunk;

uint64_t rqci_horizon(uint64_t head, uint64_t retain)
{
    if (head < retain)
        return 0;
    const uint64_t part = retain >= 4 ? retain / 4 : 1;
    return (head - retain) / part * part;
}

// Rows that say nothing (the marker, ids that are none) go without asking; those of an entity that
// only a later version knows stay.
static void sort_row(chunk *c, sqlite3_stmt *st)
{
    const uint64_t seq = (uint64_t)sqlite3_column_int64(st, 0);
    const int64_t entity = sqlite3_column_int64(st, 1);
    c->end = seq;
    c->examined++;
    if (entity > RQCI_ENTITY_MAX)
        return;
    if (entity < 1 || sqlite3_column_type(st, 3) != SQLITE_BLOB ||
        sqlite3_column_bytes(st, 3) != 16) {
        c->seqs[c->doomed++] = seq;
        return;
    }
    rqci_change *r = &c->rows[c->n++];
    memset(r, 0, sizeof *r);
    r->seq = seq;
    r->entity = (uint8_t)entity;
    r->op = (uint8_t)sqlite3_column_int(st, 2);
    memcpy(r->id, sqlite3_column_blob(st, 3), 16);
    if (sqlite3_column_type(st, 4) == SQLITE_BLOB && sqlite3_column_bytes(st, 4) == 16)
        memcpy(r->owner, sqlite3_column_blob(st, 4), 16);
}

static rqc_err read_chunk(rqci_store *s, sqlite3_stmt *st, chunk *c, rqci_errbuf *err)
{
    sqlite3_bind_int64(st, 1, (int64_t)c->after);
    sqlite3_bind_int64(st, 2, (int64_t)c->horizon);
    int rc = SQLITE_ROW;
    while (c->examined < CHUNK && (rc = sqlite3_step(st)) == SQLITE_ROW)
        sort_row(c, st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE
               ? RQC_OK
               : rqci_sqlite_err(s->value_db, rc, "change_log", err);
}

static rqc_err delete_call(rqci_store *s, void *arg, rqci_errbuf *err)
{
    chunk *c = arg;
    uint64_t head;
    rqc_err e = rqci_history_begin(s, &head, err);
    if (e)
        return e;
    sqlite3_stmt *st = NULL;
    if (c->move_horizon)
        e = rqci_facts_set_horizon(s->db, c->horizon, err);
    if (!e)
        e = rqci_db_prepare(s->db, "DELETE FROM change_log WHERE seq = ?1", false, &st, err);
    for (size_t i = 0; !e && i < c->doomed; i++) {
        if (c->seqs[i] >= head)
            continue;
        sqlite3_bind_int64(st, 1, (int64_t)c->seqs[i]);
        const int rc = sqlite3_step(st);
        e = rc == SQLITE_DONE ? RQC_OK : rqci_sqlite_err(s->db, rc, "change_log", err);
        sqlite3_reset(st);
    }
    sqlite3_finalize(st);
    e = rqci_history_end(s, e, head, err);
    if (!e && c->move_horizon) {
        pthread_mutex_lock(&s->mu);
        s->facts.horizon = c->horizon;
        pthread_mutex_unlock(&s->mu);
    }
    return e;
}

// The horizon moves before the first row behind it goes, and only forward.
static rqc_err compact(rqci_store *s, chunk *c, bool (*keep)(void *ctx, const rqci_change *c),
                       void *ctx, bool *ret_more, rqci_errbuf *err)
{
    pthread_mutex_lock(&s->mu);
    const uint64_t stored = s->facts.horizon;
    const uint64_t wanted = rqci_horizon(s->head, s->facts.retain);
    pthread_mutex_unlock(&s->mu);
    c->horizon = wanted > stored ? wanted : stored;
    c->move_horizon = wanted > stored;
    if (c->move_horizon)
        s->compact_next = 0; // rows kept then may have newer ones now
    c->after = s->compact_next;
    sqlite3_stmt *st = NULL;
    pthread_mutex_lock(&s->value_mu);
    rqc_err e = rqci_db_prepare(s->value_db,
                                "SELECT seq, entity, op, id, owner FROM change_log WHERE seq > ?1 "
                                "AND seq <= ?2 ORDER BY seq",
                                false, &st, err);
    if (!e)
        e = read_chunk(s, st, c, err);
    sqlite3_finalize(st);
    pthread_mutex_unlock(&s->value_mu);
    for (size_t i = 0; !e && i < c->n; i++) {
        if (!keep(ctx, &c->rows[i]))
            c->seqs[c->doomed++] = c->rows[i].seq;
    }
    if (!e && (c->doomed > 0 || c->move_horizon))
        e = rqci_writer_call(s, delete_call, c, err);
    if (e)
        return e;
    const bool more = c->examined == CHUNK;
    s->compact_next = more ? c->end : c->horizon;
    *ret_more = more;
    return RQC_OK;
}

rqc_err rqci_store_compact(rqci_store *s, bool (*keep)(void *ctx, const rqci_change *c), void *ctx,
                           bool *ret_more, rqci_errbuf *err)
{
    if (s->read_only)
        return rqci_fail(err, RQC_READ_ONLY, "%s was opened read-only", s->path);
    chunk *c = calloc(1, sizeof *c);
    if (!c)
        return RQC_NO_MEMORY;
    pthread_mutex_lock(&s->compact_mu);
    const rqc_err e = compact(s, c, keep, ctx, ret_more, err);
    pthread_mutex_unlock(&s->compact_mu);
    free(c);
    return e;
}

// SPDX-License-Identifier: Apache-2.0
// Which snapshots of runs are old.
#include "persist/internal.h"

#include <string.h>

// Seconds and milliseconds stand in one column; a number this large counts milliseconds.
#define MILLISECONDS "100000000000"

// Snapshots of one request compete for its places; the version with the snapshot's id tells the
// request. Those whose version is gone, with their request, compete with each other.
static char *select_sql(const rqci_shape *shape)
{
    const rqci_table *version = &shape->t[RQCI_HTTP_VERSION];
    const bool versions = version->there && (version->columns >> RQCI_HTTP_VERSION_HTTP_ID & 1u);
    const bool times = shape->t[RQCI_HTTP].columns >> RQCI_HTTP_CREATED_AT & 1u;
    return sqlite3_mprintf(
        "SELECT id, version FROM (SELECT id, version, t, row_number() OVER"
        " (PARTITION BY request ORDER BY t DESC, id DESC) AS place FROM (SELECT h.id AS id,"
        " %s AS version, %s AS request, %s AS t FROM http AS h %s"
        " WHERE h.workspace_id = ?1 AND h.is_snapshot AND typeof(h.id) = 'blob'"
        " AND length(h.id) = 16)) WHERE place > ?2 AND (?3 IS NULL OR (t > 0 AND t < ?3))"
        " ORDER BY id",
        versions ? "v.id IS NOT NULL" : "0", versions ? "v.http_id" : "NULL",
        times ? "CASE WHEN CAST(h.created_at AS INT) > " MILLISECONDS
                " THEN CAST(h.created_at AS INT) / 1000 ELSE CAST(h.created_at AS INT) END"
              : "0",
        versions ? "LEFT JOIN http_version AS v ON v.id = h.id" : "");
}

static rqc_err collect(sqlite3 *db, sqlite3_stmt *st, rqci_buf *out, rqci_errbuf *err)
{
    rqc_err e = RQC_OK;
    int rc = SQLITE_DONE;
    while (!e && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        rqci_snapshot_ref ref = {.version = sqlite3_column_int(st, 1) != 0};
        const void *id = sqlite3_column_blob(st, 0);
        if (!id)
            return RQC_NO_MEMORY;
        memcpy(ref.id, id, 16);
        e = rqci_buf_add(out, &ref, sizeof ref);
    }
    return e || rc == SQLITE_DONE ? e : rqci_sqlite_err(db, rc, "http", err);
}

rqc_err rqci_store_old_snapshots(rqci_store *s, const uint8_t workspace[16], int64_t keep,
                                 int64_t before, rqci_buf *out, rqci_errbuf *err)
{
    rqci_shape shape;
    sqlite3_stmt *st = NULL;
    if (atomic_load(&s->lock.forked))
        return rqci_fail(err, RQC_CLOSED, "%s was opened before fork", s->path);
    pthread_mutex_lock(&s->value_mu);
    rqc_err e = rqci_shape_read(s->value_db, NULL, &shape, err);
    if (!e && shape.t[RQCI_HTTP].there &&
        (shape.t[RQCI_HTTP].columns >> RQCI_HTTP_IS_SNAPSHOT & 1u)) {
        char *sql = select_sql(&shape);
        e = sql ? rqci_db_prepare(s->value_db, sql, false, &st, err) : RQC_NO_MEMORY;
        sqlite3_free(sql);
    }
    if (!e && st) {
        sqlite3_bind_blob(st, 1, workspace, 16, SQLITE_STATIC);
        sqlite3_bind_int64(st, 2, keep);
        if (before != INT64_MAX)
            sqlite3_bind_int64(st, 3, before);
        e = collect(s->value_db, st, out, err);
    }
    sqlite3_finalize(st);
    pthread_mutex_unlock(&s->value_mu);
    return e;
}

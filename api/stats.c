// SPDX-License-Identifier: Apache-2.0
#include "api/engine.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static uint64_t file_bytes(const char *path, const char *suffix)
{
    char name[RQCI_PATH_MAX + 8];
    struct stat st;
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return stat(name, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
}

// What the pinned shared view tells.
static void of_view(rqci_reader *r, rqc_stats *s)
{
    const rqci_view_state *v = rqci_reader_state(r);
    rqci_view_sizes sizes;
    rqci_reader_sizes(r, &sizes);
    memcpy(s->position.store_id, v->store_id, 16);
    s->position.term = v->term;
    s->position.seq = v->seq;
    s->head = v->seq;
    s->horizon = v->horizon;
    s->records = v->records;
    s->workspaces = v->workspaces;
    s->tombstones = v->tombstones;
    s->generation = v->generation;
    s->view_bytes = sizes.used_bytes;
    s->view_map_bytes = sizes.map_bytes;
    s->readers = sizes.readers;
}

// Of an attached handle, which looks for the view first.
static rqc_err read_attached(rqc_db *db, rqc_stats *s, rqci_errbuf *detail)
{
    rqc_read *r;
    rqc_error e;
    rqc_err rc = rqc_read_new(db, &r, &e);
    if (rc != RQC_OK)
        return rqci_fail(detail, rc, "%s", e.text);
    rc = rqc_read_begin(r);
    if (rc == RQC_OK)
        of_view(r->reader, s);
    else
        rqci_fail(detail, rc, "%s", r->err.text);
    rqc_read_end(r);
    rqc_read_free(r);
    return rc;
}

// Of the owner: sessions may read elsewhere.
static rqc_err read_owner(rqc_db *db, rqc_stats *s, rqci_errbuf *detail)
{
    rqci_reader *r = NULL;
    rqci_mirror_ref *ref = rqci_mirror_ref_shared(db);
    rqc_err rc = rqci_reader_new(ref->mirror, &r, detail);
    if (rc == RQC_OK)
        rc = rqci_reader_begin(r, rqci_now_ms(), detail);
    if (rc == RQC_OK) {
        of_view(r, s);
        rqci_reader_end(r);
    }
    rqci_reader_free(r);
    rqci_mirror_ref_drop(db, ref);
    pthread_mutex_lock(&db->lock);
    s->spare = db->reads->spare && !atomic_load(&db->spare.behind);
    pthread_mutex_unlock(&db->lock);
    return rc;
}

rqc_err rqc_stats_read(rqc_db *db, rqc_stats *ret_stats, rqc_error *err)
{
    rqci_errbuf detail = {""};
    rqc_stats s = {.size = ret_stats->size};
    if (s.size < sizeof s.size || s.size > 4096)
        return rqci_report(err, RQC_INVALID, NULL);
    if (rqci_forked(db))
        return rqci_report(err, RQC_CLOSED, NULL);
    rqc_err rc = db->owner ? read_owner(db, &s, &detail) : read_attached(db, &s, &detail);
    s.db_bytes = file_bytes(db->path, "");
    s.wal_bytes = file_bytes(db->path, "-wal");
    s.owner = db->owner;
    s.view_lagging = atomic_load(&db->lagging);
    rqci_store_stats store;
    if (rc == RQC_OK && db->owner) {
        rc = rqci_store_stats_read(db->store, &store, &detail);
        if (rc == RQC_OK) {
            s.head = store.head;
            s.horizon = store.horizon;
            s.unmirrored = store.unmirrored;
        }
    }
    if (rc != RQC_OK)
        return rqci_report(err, rc, &detail);
    memcpy(ret_stats, &s, s.size < sizeof s ? s.size : sizeof s);
    return RQC_OK;
}

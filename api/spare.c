// SPDX-License-Identifier: Apache-2.0
// A spare view. When the shared view has no room to follow, what was acknowledged must be readable
// all the same: the owner makes another view of SQLite's rows, beside the database and for its own
// sessions alone, brings it to the newest position whenever one of them begins, and gives it up
// when the shared view follows again. So all reads are what they always are, with the same order,
// limits and cursors.
//
// Locks: whoever holds `apply` only tries spare.lock, because writers must not wait while the spare
// is built; spare.lock → lock.
#include "api/engine.h"

#define AGAIN_MS 10000 // between attempts that fail

static bool wanted(const rqc_db *db)
{
    return atomic_load(&db->lagging) && atomic_load(&db->no_room);
}

// What is missing of it: a connection, the view in its directory, a mirror.
static rqc_err make(rqc_db *db, rqci_errbuf *err)
{
    rqci_spare *s = &db->spare;
    const rqci_store_options o = {.read_only = true, .of = db->store, .log = db->log};
    char dir[RQCI_PATH_MAX];
    rqci_source_state state;
    if (!s->store) {
        const rqc_err rc = rqci_store_open(db->path, &o, &s->store, err);
        if (rc != RQC_OK)
            return rc;
        rqci_store_source(s->store, &s->source);
    }
    if (s->ref)
        return RQC_OK;
    rqc_err rc = rqci_spare_dir(db->path, dir, err);
    if (rc == RQC_OK && !s->view) {
        rc = s->source.begin(s->source.ctx, &state, err);
        if (rc != RQC_OK)
            return rc;
        s->source.end(s->source.ctx);
        const rqci_view_options v = {.dir = dir, .log = db->log};
        rc = rqci_view_open(&v, &state, &s->view, err);
    }
    rqci_mirror_ref *ref;
    if (rc == RQC_OK)
        rc = rqci_mirror_ref_open(db, dir, &ref, err);
    if (rc != RQC_OK)
        return rc;
    ref->spare = true;
    s->ref = ref;
    return RQC_OK;
}

static void show(rqc_db *db)
{
    pthread_mutex_lock(&db->lock);
    const bool now = db->reads != db->spare.ref;
    if (now) {
        rqci_read_from(db, db->spare.ref);
        rqci_mirror_wake(db->mirror->mirror);
    }
    pthread_mutex_unlock(&db->lock);
    if (now)
        rqci_logf(&db->log, RQCI_WARN,
                  "%s: sessions of this process read here until the view follows again",
                  db->spare.ref->dir);
}

static void follow(rqc_db *db)
{
    rqci_spare *s = &db->spare;
    rqci_errbuf err = {""};
    uint64_t seq;
    rqc_err rc = make(db, &err);
    if (rc == RQC_OK)
        rc = rqci_view_apply(s->view, &s->source, &seq, &err);
    if (rc != RQC_OK) {
        if (rc != s->code)
            rqci_logf(&db->log, RQCI_WARN, "reads show an older position: the spare view: %s",
                      *err.text ? err.text : rqci_err_text(rc));
        s->again_ms = rqci_now_ms() + AGAIN_MS;
    }
    s->code = rc;
    atomic_store(&s->behind, rc != RQC_OK);
    if (rc == RQC_OK)
        show(db);
}

void rqci_spare_follow(rqc_db *db, bool wait)
{
    rqci_spare *s = &db->spare;
    if (!wanted(db))
        return;
    if (wait)
        pthread_mutex_lock(&s->lock);
    else if (pthread_mutex_trylock(&s->lock) != 0)
        return;
    const bool there = s->ref && s->code == RQC_OK;
    if (wanted(db) && !s->closed && (wait || there) &&
        (s->code == RQC_OK || rqci_now_ms() >= s->again_ms))
        follow(db);
    pthread_mutex_unlock(&s->lock);
}

bool rqci_spare_leave(rqc_db *db, uint64_t seq)
{
    rqci_spare *s = &db->spare;
    rqci_shown shown = {.generation = 0};
    if (pthread_mutex_trylock(&s->lock) != 0)
        return false;
    if (s->ref)
        rqci_mirror_shown(s->ref->mirror, &shown);
    // Whoever saw a position there must not fall behind it.
    const bool leave = shown.generation == 0 || shown.seq <= seq;
    if (leave) {
        pthread_mutex_lock(&db->lock);
        if (db->reads != db->mirror)
            rqci_read_from(db, db->mirror);
        pthread_mutex_unlock(&db->lock);
        if (s->view)
            rqci_view_drop(s->view);
        rqci_store_close(s->store);
        s->store = NULL;
        s->code = RQC_OK;
        atomic_store(&s->behind, false);
        atomic_store(&db->no_room, false);
        atomic_store(&db->lagging, false); // last: then nothing is left of it
    }
    pthread_mutex_unlock(&s->lock);
    return leave;
}

void rqci_spare_close(rqc_db *db)
{
    rqci_spare *s = &db->spare;
    char dir[RQCI_PATH_MAX];
    pthread_mutex_lock(&s->lock);
    s->closed = true;
    if (s->ref) {
        pthread_mutex_lock(&db->lock);
        if (db->reads == s->ref)
            rqci_read_from(db, db->mirror);
        pthread_mutex_unlock(&db->lock);
        rqci_mirror_ref_drop(db, s->ref);
        s->ref = NULL;
    }
    if (s->view) {
        rqci_view_close(s->view);
        s->view = NULL;
        if (rqci_spare_dir(db->path, dir, NULL) == RQC_OK)
            rqci_view_remove(dir);
    }
    rqci_store_close(s->store);
    s->store = NULL;
    pthread_mutex_unlock(&s->lock);
}

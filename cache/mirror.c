// SPDX-License-Identifier: Apache-2.0
// The reader's side: sessions that find the current generation by themselves.
#include "base/clock.h"
#include "cache/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define LOOK_EVERY_MS 1000
#define MOVE_TRIES    8

static rqc_err control_stat(const char *dir, struct stat *ret_st, rqci_errbuf *err)
{
    char path[4096];
    const int n = snprintf(path, sizeof path, "%s/control", dir);
    if (n < 0 || (size_t)n >= sizeof path)
        return rqci_fail(err, RQC_INVALID, "%s: path is too long", dir);
    if (stat(path, ret_st) != 0)
        return rqci_fail(err,
                         errno == ENOENT || errno == ENOTDIR || errno == EACCES ? RQC_UNAVAILABLE
                                                                                : RQC_IO,
                         "%s: no view: %s", path, strerror(errno));
    return RQC_OK;
}

rqc_err rqci_mirror_open(const char *dir, const rqci_log *log, rqci_mirror **ret_mirror,
                         rqci_errbuf *err)
{
    struct stat st;
    rqci_control *c = NULL;
    rqc_err rc = control_stat(dir, &st, err);
    if (rc == RQC_OK)
        rc = rqci_control_map(dir, false, &c, err);
    if (rc != RQC_OK)
        return rc;
    rqci_mirror *m = calloc(1, sizeof *m);
    if (m == NULL || (m->dir = strdup(dir)) == NULL) {
        rqci_control_unmap(c);
        free(m);
        return RQC_NO_MEMORY;
    }
    if (log != NULL)
        m->log = *log;
    rc = rqci_boot_id(m->boot, err);
    if (rc != RQC_OK) {
        rqci_control_unmap(c);
        free(m->dir);
        free(m);
        return rc;
    }
    pthread_mutex_init(&m->lock, NULL);
    m->dev = st.st_dev;
    m->ino = st.st_ino;
    atomic_store(&m->control, c);
    atomic_store(&m->next_look_ms, rqci_now_ms() + LOOK_EVERY_MS);
    *ret_mirror = m;
    return RQC_OK;
}

void rqci_mirror_close(rqci_mirror *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->nold; i++)
        rqci_control_unmap(m->old[i]);
    free(m->old);
    rqci_control_unmap(atomic_load(&m->control));
    pthread_mutex_destroy(&m->lock);
    free(m->dir);
    free(m);
}

static void replace_control(rqci_mirror *m, const struct stat *st)
{
    rqci_control *c;
    rqci_control **old = realloc(m->old, (m->nold + 1) * sizeof *old);
    if (old == NULL)
        return;
    m->old = old;
    if (rqci_control_map(m->dir, false, &c, NULL) != RQC_OK)
        return;
    m->old[m->nold++] = atomic_load(&m->control);
    m->dev = st->st_dev;
    m->ino = st->st_ino;
    atomic_store(&m->control, c);
}

// The control page is another file when somebody removed the view's directory and the owner made it
// again. Once a second is often enough.
static void look_again(rqci_mirror *m)
{
    struct stat st;
    pthread_mutex_lock(&m->lock);
    if (control_stat(m->dir, &st, NULL) == RQC_OK && (st.st_dev != m->dev || st.st_ino != m->ino))
        replace_control(m, &st);
    atomic_store(&m->next_look_ms, rqci_now_ms() + LOOK_EVERY_MS);
    pthread_mutex_unlock(&m->lock);
}

void rqci_mirror_shown(rqci_mirror *m, rqci_shown *ret_shown)
{
    if (rqci_now_ms() >= atomic_load_explicit(&m->next_look_ms, memory_order_relaxed))
        look_again(m);
    const rqci_control *c = atomic_load_explicit(&m->control, memory_order_acquire);
    rqci_control_look(c, ret_shown);
    if (memcmp(c->boot, m->boot, sizeof c->boot) != 0)
        ret_shown->generation = 0;
}

void rqci_mirror_sleep(rqci_mirror *m, uint32_t turn, int64_t ms)
{
    const rqci_control *c = atomic_load_explicit(&m->control, memory_order_acquire);
    rqci_control_sleep(c, turn, ms < LOOK_EVERY_MS ? ms : LOOK_EVERY_MS);
}

void rqci_mirror_wake(rqci_mirror *m)
{
    rqci_control_wake(atomic_load_explicit(&m->control, memory_order_acquire));
}

rqc_err rqci_reader_new(rqci_mirror *m, rqci_reader **ret_reader, rqci_errbuf *err)
{
    rqci_reader *r = calloc(1, sizeof *r);
    if (r == NULL)
        return rqci_fail(err, RQC_NO_MEMORY, "no memory for a session");
    r->mirror = m;
    *ret_reader = r;
    return RQC_OK;
}

static void leave_env(rqci_reader *r)
{
    for (int i = 0; i < RQCI_DB_COUNT; i++) {
        if (r->cur[i] != NULL)
            mdb_cursor_close(r->cur[i]);
        r->cur[i] = NULL;
    }
    for (int i = 0; i < 2; i++) {
        if (r->lane[i] != NULL)
            mdb_cursor_close(r->lane[i]);
        r->lane[i] = NULL;
    }
    if (r->txn != NULL)
        mdb_txn_abort(r->txn);
    rqci_env_close(r->env);
    r->txn = NULL;
    r->env = NULL;
    r->generation = 0;
    memset(r->ws, 0, sizeof r->ws);
}

void rqci_reader_free(rqci_reader *r)
{
    if (r == NULL)
        return;
    leave_env(r);
    rqci_buf_free(&r->scratch);
    free(r);
}

// Moves to the generation that the control page names. The owner may switch while we open: then the
// files are gone, and we look again.
static rqc_err move(rqci_reader *r, rqci_errbuf *err)
{
    leave_env(r);
    rqc_err rc = RQC_UNAVAILABLE;
    for (int i = 0; i < MOVE_TRIES && rc == RQC_UNAVAILABLE; i++) {
        const rqci_control *c = atomic_load_explicit(&r->mirror->control, memory_order_acquire);
        const uint64_t generation = atomic_load_explicit(&c->generation, memory_order_acquire);
        if (generation == 0 && i == 0) {
            look_again(r->mirror); // the owner may have made the page anew
            continue;
        }
        if (generation == 0) {
            rc = rqci_fail(err, RQC_UNAVAILABLE, "%s: the view is being built", r->mirror->dir);
            break;
        }
        // What a crash of the machine left on a disk may be torn: the owner builds it anew.
        if (memcmp(c->boot, r->mirror->boot, sizeof c->boot) != 0) {
            rc = rqci_fail(err, RQC_UNAVAILABLE, "%s: the view is from another boot of the machine",
                           r->mirror->dir);
            break;
        }
        char path[4096];
        const int n = snprintf(path, sizeof path, "%s/gen-%llu", r->mirror->dir,
                               (unsigned long long)generation);
        if (n < 0 || (size_t)n >= sizeof path)
            return rqci_fail(err, RQC_INVALID, "%s: path is too long", r->mirror->dir);
        rc = rqci_env_open(path, false, false, 0, &r->env, err);
        if (rc == RQC_OK) {
            r->control = c;
            r->generation = generation;
        } else if (i > 0) {
            look_again(r->mirror);
        }
    }
    if (rc == RQC_OK) {
        const int got = mdb_txn_begin(r->env->env, NULL, MDB_RDONLY, &r->txn);
        if (got != 0) {
            leave_env(r);
            return rqci_lmdb_err(got, "begin", err);
        }
        r->state_known = false;
        rc = rqci_state(r, err); // one without a state is no view
        if (rc != RQC_OK)
            leave_env(r);
    }
    return rc;
}

static rqc_err pin(rqci_reader *r, rqci_errbuf *err)
{
    const rqci_control *c = atomic_load_explicit(&r->mirror->control, memory_order_acquire);
    if (r->env == NULL || c != r->control ||
        atomic_load_explicit(&c->generation, memory_order_acquire) != r->generation)
        return move(r, err);
    const int rc = mdb_txn_renew(r->txn);
    if (rc == MDB_MAP_RESIZED || rc == MDB_PANIC)
        return move(r, err);
    return rqci_lmdb_err(rc, "begin", err);
}

rqc_err rqci_reader_begin(rqci_reader *r, int64_t now, rqci_errbuf *err)
{
    if (r->begun)
        return rqci_fail(err, RQC_INVALID, "the session was begun already");
    if (now >= atomic_load_explicit(&r->mirror->next_look_ms, memory_order_relaxed))
        look_again(r->mirror);
    rqc_err rc = pin(r, err);
    if (rc != RQC_OK)
        return rc;
    // Nothing is kept from the transaction before: an equal mdb_txn_id() does not prove the same
    // snapshot, because LMDB reads the id and the page that belongs to it in two steps.
    r->state_known = false;
    memset(r->fresh, 0, sizeof r->fresh);
    memset(r->lane_fresh, 0, sizeof r->lane_fresh);
    r->begun = true;
    return RQC_OK;
}

void rqci_reader_end(rqci_reader *r)
{
    if (r->begun)
        mdb_txn_reset(r->txn);
    r->begun = false;
}

rqc_err rqci_state(rqci_reader *r, rqci_errbuf *err)
{
    if (r->state_known)
        return RQC_OK;
    rqci_meta m;
    const rqc_err rc = rqci_meta_get(r->txn, r->env, &m, err);
    memset(&r->state, 0, sizeof r->state);
    if (rc != RQC_OK)
        return rc;
    rqci_view_state *s = &r->state;
    memcpy(s->store_id, m.store_id, 16);
    s->term = m.term;
    s->seq = m.seq;
    s->horizon = m.horizon;
    s->baseline = m.baseline;
    s->records = m.records;
    s->tombstones = m.tombstones;
    s->workspaces = m.workspaces;
    s->generation = r->generation;
    r->state_known = true;
    return RQC_OK;
}

const rqci_view_state *rqci_reader_state(rqci_reader *r)
{
    (void)rqci_state(r, NULL);
    return &r->state;
}

static rqc_err renew(rqci_reader *r, enum rqci_dbi db, MDB_cursor **c, bool *fresh)
{
    const int rc =
        *c == NULL ? mdb_cursor_open(r->txn, r->env->dbi[db], c) : mdb_cursor_renew(r->txn, *c);
    *fresh = rc == 0;
    return rqci_lmdb_err(rc, "cursor", NULL);
}

rqc_err rqci_cursor(rqci_reader *r, enum rqci_dbi db, MDB_cursor **ret_cursor)
{
    const rqc_err rc = r->fresh[db] ? RQC_OK : renew(r, db, &r->cur[db], &r->fresh[db]);
    *ret_cursor = r->cur[db];
    return rc;
}

rqc_err rqci_lane_cursor(rqci_reader *r, int which, MDB_cursor **ret_cursor)
{
    const rqc_err rc = r->lane_fresh[which]
                           ? RQC_OK
                           : renew(r, RQCI_DB_HTTP, &r->lane[which], &r->lane_fresh[which]);
    *ret_cursor = r->lane[which];
    return rc;
}

// One line for each session, below a title.
static int count_line(const char *line, void *count)
{
    (void)line;
    ++*(uint32_t *)count;
    return 0;
}

void rqci_reader_sizes(rqci_reader *r, rqci_view_sizes *ret_sizes)
{
    MDB_envinfo info = {0};
    memset(ret_sizes, 0, sizeof *ret_sizes);
    if (r->env == NULL || mdb_env_info(r->env->env, &info) != 0)
        return;
    ret_sizes->used_bytes = ((uint64_t)info.me_last_pgno + 1) * 4096;
    ret_sizes->map_bytes = (uint64_t)info.me_mapsize;
    // me_numreaders is how many there were at once at most.
    uint32_t lines = 0;
    (void)mdb_reader_list(r->env->env, count_line, &lines);
    ret_sizes->readers = lines > 0 ? lines - 1 : 0;
}

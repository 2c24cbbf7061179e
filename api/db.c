// SPDX-License-Identifier: Apache-2.0
// Opening, attaching, closing.
#include "api/engine.h"

#include "base/xfsz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define MAX_AGE_MS    60000u
#define LOOK_EVERY_MS 1000
#define RETAIN_MAX    (UINT64_C(1) << 62) // no position is beyond it

// ---- Small things -------------------------------------------------------------------------------

_Atomic unsigned rqci_fork_count;

static void count_fork(void)
{
    atomic_fetch_add(&rqci_fork_count, 1);
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, count_fork);
}

rqc_err rqci_report(rqc_error *err, rqc_err code, const rqci_errbuf *detail)
{
    if (!err)
        return code;
    err->code = code;
    const char *text = detail && *detail->text ? detail->text : rqci_err_text(code);
    size_t n = strlen(text);
    n = n < sizeof err->text ? n : sizeof err->text - 1;
    memcpy(err->text, text, n);
    err->text[n] = 0;
    return code;
}

// ---- Mirrors ------------------------------------------------------------------------------------

rqc_err rqci_mirror_ref_open(rqc_db *db, const char *dir, rqci_mirror_ref **ret_ref,
                             rqci_errbuf *err)
{
    rqci_mirror_ref *ref = calloc(1, sizeof *ref);
    if (!ref || !(ref->dir = strdup(dir))) {
        free(ref);
        return RQC_NO_MEMORY;
    }
    const rqc_err rc = rqci_mirror_open(dir, &db->log, &ref->mirror, err);
    if (rc != RQC_OK) {
        free(ref->dir);
        free(ref);
        return rc;
    }
    ref->refs = 1;
    *ret_ref = ref;
    return RQC_OK;
}

void rqci_read_from(rqc_db *db, rqci_mirror_ref *ref)
{
    db->reads = ref;
    atomic_store(&db->shown, ref->mirror);
    atomic_fetch_add(&db->mirrors, 1);
}

// The shared view is in `dir` from now on.
static rqc_err mirror_ref_new(rqc_db *db, const char *dir, rqci_errbuf *err)
{
    rqci_mirror_ref *ref;
    const rqc_err rc = rqci_mirror_ref_open(db, dir, &ref, err);
    if (rc != RQC_OK)
        return rc;
    pthread_mutex_lock(&db->lock);
    ref->past = db->mirror;
    db->mirror = ref;
    rqci_read_from(db, ref);
    pthread_mutex_unlock(&db->lock);
    return RQC_OK;
}

void rqci_mirror_ref_drop(rqc_db *db, rqci_mirror_ref *ref)
{
    if (!ref)
        return;
    pthread_mutex_lock(&db->lock);
    const bool last = --ref->refs == 0;
    pthread_mutex_unlock(&db->lock);
    if (!last)
        return;
    rqci_mirror_close(ref->mirror);
    free(ref->dir);
    free(ref);
}

rqci_mirror_ref *rqci_mirror_ref_take(rqc_db *db, uint64_t *ret_mirrors)
{
    pthread_mutex_lock(&db->lock);
    rqci_mirror_ref *ref = db->reads;
    ref->refs++;
    *ret_mirrors = atomic_load(&db->mirrors);
    pthread_mutex_unlock(&db->lock);
    return ref;
}

rqci_mirror_ref *rqci_mirror_ref_shared(rqc_db *db)
{
    pthread_mutex_lock(&db->lock);
    rqci_mirror_ref *ref = db->mirror;
    ref->refs++;
    pthread_mutex_unlock(&db->lock);
    return ref;
}

rqc_err rqci_mirror_find(rqc_db *db, rqci_errbuf *err)
{
    char dir[RQCI_PATH_MAX];
    atomic_store(&db->next_look_ms, rqci_now_ms() + LOOK_EVERY_MS);
    const rqc_err rc = rqci_note_read(db->path, dir, err);
    if (rc != RQC_OK)
        return rc;
    pthread_mutex_lock(&db->lock);
    const bool same = db->mirror && strcmp(db->mirror->dir, dir) == 0;
    pthread_mutex_unlock(&db->lock);
    return same ? RQC_OK : mirror_ref_new(db, dir, err);
}

rqc_err rqci_reading_store(rqc_db *db, rqci_store **ret_store, rqci_errbuf *err)
{
    rqc_err rc = RQC_OK;
    pthread_mutex_lock(&db->lock);
    if (!db->store) {
        const rqci_store_options o = {.read_only = true, .log = db->log};
        rc = rqci_store_open(db->path, &o, &db->store, err);
    }
    if (rc == RQC_OK)
        *ret_store = db->store;
    pthread_mutex_unlock(&db->lock);
    return rc;
}

// ---- Open ---------------------------------------------------------------------------------------

static rqc_err options_of(const rqc_options *given, rqc_options *ret, rqci_errbuf *err)
{
    *ret = (rqc_options)RQC_OPTIONS_INIT;
    if (!given)
        return RQC_OK;
    if (given->size < offsetof(rqc_options, create) || given->size > 4096)
        return rqci_fail(err, RQC_INVALID, "rqc_options.size is %zu: start with RQC_OPTIONS_INIT",
                         given->size);
    memcpy(ret, given, given->size < sizeof *ret ? given->size : sizeof *ret);
    ret->size = sizeof *ret;
    if (ret->retain > RETAIN_MAX)
        return rqci_fail(err, RQC_INVALID, "rqc_options.retain is more than 2^62");
    return RQC_OK;
}

static rqc_err db_new(const char *path, const rqc_options *o, bool owner, rqc_db **ret_db,
                      rqci_errbuf *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    char real[RQCI_PATH_MAX];
    const rqc_err rc = rqci_path_of(path, real, err);
    if (rc != RQC_OK)
        return rc;
    rqc_db *db = calloc(1, sizeof *db);
    if (!db || !(db->path = strdup(real))) {
        free(db);
        return RQC_NO_MEMORY;
    }
    db->owner = owner;
    db->forks = atomic_load(&rqci_fork_count);
    db->max_age_ms = o->max_age_ms ? o->max_age_ms : MAX_AGE_MS;
    db->log = (rqci_log){o->log, o->log_ctx};
    pthread_mutex_init(&db->apply, NULL);
    pthread_mutex_init(&db->lock, NULL);
    pthread_mutex_init(&db->spare.lock, NULL);
    pthread_mutex_init(&db->watching.lock, NULL);
    pthread_mutex_init(&db->completions.lock, NULL);
    pthread_mutex_init(&db->errands.lock, NULL);
    pthread_cond_init(&db->errands.wake, NULL);
    pthread_mutex_init(&db->line.lock, NULL);
    rqci_sp_init(&db->line.sp);
    db->completions.fd = -1;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&db->wake, &attr);
    pthread_condattr_destroy(&attr);
    *ret_db = db;
    return RQC_OK;
}

static rqc_err view_in(rqc_db *db, const rqc_options *o, bool beside, char dir[RQCI_PATH_MAX],
                       rqci_errbuf *err)
{
    rqc_err rc = rqci_view_dir(db->path, o->view_dir, beside, &db->log, dir, err);
    if (rc != RQC_OK)
        return rc;
    const rqci_view_options v = {.dir = dir,
                                 .map_bytes = o->view_map_bytes,
                                 .log = db->log,
                                 .progress = o->progress,
                                 .progress_ctx = o->progress_ctx};
    uint64_t seq;
    rc = rqci_view_open(&v, &db->state, &db->view, err);
    if (rc == RQC_OK)
        rc = rqci_view_apply(db->view, &db->source, &seq, err);
    if (rc == RQC_OK)
        return RQC_OK;
    rqci_view_close(db->view);
    db->view = NULL;
    return rc;
}

static rqc_err open_view(rqc_db *db, const rqc_options *o, rqci_errbuf *err)
{
    char dir[RQCI_PATH_MAX];
    rqci_source_state state;
    rqci_store_source(db->store, &db->source);
    rqc_err rc = db->source.begin(db->source.ctx, &state, err);
    if (rc != RQC_OK)
        return rc;
    db->source.end(db->source.ctx);
    rc = view_in(db, o, false, dir, err);
    if (rc == RQC_NO_SPACE && !o->view_dir) {
        rqci_logf(&db->log, RQCI_WARN, "%s: the view goes beside the database: %s", db->path,
                  err->text);
        rc = view_in(db, o, true, dir, err);
    }
    if (rc != RQC_OK)
        return rc;
    rqci_views_sweep(dir, &db->log);
    rqci_errbuf detail = {""};
    if (rqci_note_write(db->path, dir, &detail) != RQC_OK)
        rqci_logf(&db->log, RQCI_WARN, "other processes will not find the view: %s", detail.text);
    rqci_views_leave(db->path, dir);
    return mirror_ref_new(db, dir, err);
}

static void seen(void *ctx, const rqci_source_state *state)
{
    rqc_db *db = ctx;
    pthread_mutex_lock(&db->lock);
    db->state = *state;
    pthread_mutex_unlock(&db->lock);
}

static rqc_err open_owner(rqc_db *db, const rqc_options *o, rqci_errbuf *err)
{
    const rqci_store_options s = {.create = o->create != 0,
                                  .retain = o->retain,
                                  .log = db->log,
                                  .prepare = rqci_prepare,
                                  .undone = rqci_undone,
                                  .committed = rqci_committed,
                                  .seen = seen,
                                  .ctx = db};
    rqc_err rc = rqci_store_open(db->path, &s, &db->store, err);
    if (rc == RQC_OK)
        rc = open_view(db, o, err);
    if (rc == RQC_OK) {
        rqci_view_no_progress(db->view); // the caller's context is for the time of rqc_open
        rc = rqci_store_start(db->store, err);
    }
    if (rc == RQC_OK)
        rc = rqci_keeper_start(db, err);
    return rc;
}

rqc_err rqc_open(const char *path, const rqc_options *opt, rqc_db **ret_db, rqc_error *err)
{
    rqci_errbuf detail = {""};
    rqc_options o;
    rqc_db *db = NULL;
    rqc_err rc = options_of(opt, &o, &detail);
    if (rc == RQC_OK)
        rc = db_new(path, &o, true, &db, &detail);
    if (rc != RQC_OK)
        return rqci_report(err, rc, &detail);
    const rqci_xfsz limit = rqci_xfsz_hold();
    rc = open_owner(db, &o, &detail);
    if (rc != RQC_OK)
        rqc_close(db);
    rqci_xfsz_drop(&limit);
    if (rc != RQC_OK)
        return rqci_report(err, rc, &detail);
    *ret_db = db;
    return RQC_OK;
}

rqc_err rqc_attach(const char *path, const rqc_options *opt, rqc_db **ret_db, rqc_error *err)
{
    rqci_errbuf detail = {""};
    rqc_options o;
    rqc_db *db = NULL;
    rqc_err rc = options_of(opt, &o, &detail);
    if (rc == RQC_OK)
        rc = db_new(path, &o, false, &db, &detail);
    if (rc != RQC_OK)
        return rqci_report(err, rc, &detail);
    struct stat st;
    if (stat(db->path, &st) != 0)
        rc = rqci_fail(&detail, rqci_absent(errno) ? RQC_NOT_FOUND : RQC_IO, "%s: %s", db->path,
                       strerror(errno));
    else
        rc = rqci_mirror_find(db, &detail);
    if (rc != RQC_OK) {
        rqc_close(db);
        return rqci_report(err, rc, &detail);
    }
    *ret_db = db;
    return RQC_OK;
}

void rqc_close(rqc_db *db)
{
    // The threads and locks of the parent do not exist in a child: all it could do here is harm.
    if (!db || rqci_forked(db))
        return;
    const rqci_xfsz limit = rqci_xfsz_hold();
    rqci_watching_stop(db);
    rqci_keeper_stop(db);
    rqci_errands_end(db);
    rqci_spare_close(db);
    rqci_remote_hang_up(db);
    rqci_store_close(db->store);
    rqci_completions_end(db);
    rqci_view_close(db->view);
    while (db->mirror) {
        rqci_mirror_ref *past = db->mirror->past;
        rqci_mirror_ref_drop(db, db->mirror);
        db->mirror = past;
    }
    pthread_cond_destroy(&db->wake);
    pthread_mutex_destroy(&db->apply);
    pthread_mutex_destroy(&db->lock);
    pthread_mutex_destroy(&db->spare.lock);
    pthread_mutex_destroy(&db->watching.lock);
    pthread_mutex_destroy(&db->completions.lock);
    pthread_mutex_destroy(&db->errands.lock);
    pthread_cond_destroy(&db->errands.wake);
    pthread_mutex_destroy(&db->line.lock);
    free(db->path);
    free(db);
    rqci_xfsz_drop(&limit);
}

rqc_err rqc_sync(rqc_db *db, rqc_error *err)
{
    rqci_errbuf detail = {""};
    if (rqci_forked(db))
        return rqci_report(err, RQC_CLOSED, NULL);
    if (!db->owner)
        return rqci_report(err, RQC_READ_ONLY, NULL);
    const rqc_err rc = rqci_store_sync(db->store, &detail);
    return rc == RQC_OK ? RQC_OK : rqci_report(err, rc, &detail);
}

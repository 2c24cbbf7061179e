// SPDX-License-Identifier: Apache-2.0
// What happens by itself: the view follows commits, and once a second the house is kept.
#include "api/engine.h"

#include <string.h>
#include <time.h>

// Time that one round may spend on compaction: writers wait for a chunk of it at most.
#define COMPACT_MS 200

// A view that lags tries to follow again, each time with all that waits: that takes longer and
// longer, and writers wait for it. So the next attempt comes after so many times the last one.
#define LAG_FACTOR 20
#define LAG_MAX_MS 10000

// Whoever follows the positions is told, also of those that only the spare view shows. Gives up
// `apply`.
static void told(rqc_db *db)
{
    if (db->applied)
        db->applied(db->applied_ctx);
    pthread_mutex_unlock(&db->apply);
    rqci_spare_follow(db, false);
}

bool rqci_prepare(void *ctx, const rqci_source *source)
{
    rqc_db *db = ctx;
    if (pthread_mutex_trylock(&db->apply) != 0)
        return false;
    const bool ready =
        !atomic_load(&db->lagging) && rqci_view_prepare(db->view, source, &db->prepared);
    if (!ready)
        pthread_mutex_unlock(&db->apply);
    return ready;
}

void rqci_undone(void *ctx)
{
    rqc_db *db = ctx;
    rqci_view_undo(db->view);
    pthread_mutex_unlock(&db->apply);
}

// What was prepared is durable now.
static rqc_err reveal(rqc_db *db, uint64_t *ret_seq)
{
    pthread_mutex_lock(&db->lock);
    db->state = db->prepared;
    pthread_mutex_unlock(&db->lock);
    return rqci_view_reveal(db->view, ret_seq, NULL);
}

rqc_err rqci_committed(void *ctx, uint64_t head, const rqci_source *source, bool prepared)
{
    rqc_db *db = ctx;
    uint64_t seq = 0;
    if (prepared && reveal(db, &seq) == RQC_OK) {
        told(db);
        return RQC_OK;
    }
    if (!prepared)
        pthread_mutex_lock(&db->apply);
    const int64_t begun = rqci_now_ms();
    if (atomic_load(&db->lagging) && begun < db->lag_until_ms) {
        const rqc_err code = db->lag_code;
        told(db);
        return code;
    }
    db->lag_why.text[0] = 0;
    rqc_err rc = rqci_view_apply(db->view, source, &seq, &db->lag_why);
    if (rc == RQC_OK && seq < head)
        rc = RQC_UNAVAILABLE;
    if (rc != RQC_OK) {
        const int64_t now = rqci_now_ms(), wait = LAG_FACTOR * (now - begun);
        db->lag_code = rc;
        db->lag_until_ms = now + (wait < LAG_MAX_MS ? wait : LAG_MAX_MS);
    }
    if (rc == RQC_NO_SPACE || rc == RQC_NO_MEMORY)
        atomic_store(&db->no_room, true);
    if (rc != RQC_OK && !atomic_exchange(&db->lagging, true))
        rqci_logf(&db->log, RQCI_WARN, "the view cannot follow, it stays at an older position: %s",
                  *db->lag_why.text ? db->lag_why.text : rqci_err_text(rc));
    if (rc == RQC_OK && atomic_load(&db->lagging)) {
        db->lag_until_ms = begun;
        if (rqci_spare_leave(db, seq))
            rqci_logf(&db->log, RQCI_INFO, "the view follows again");
    }
    told(db);
    return rc;
}

void rqci_watch_applied(rqc_db *db, void (*fn)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&db->apply);
    db->applied = fn;
    db->applied_ctx = ctx;
    pthread_mutex_unlock(&db->apply);
}

bool rqci_keeper_needs(void *ctx, const rqci_change *c)
{
    rqc_db *db = ctx;
    pthread_mutex_lock(&db->apply);
    pthread_mutex_lock(&db->lock);
    const uint64_t horizon = rqci_horizon(db->state.head, db->retain);
    pthread_mutex_unlock(&db->lock);
    const bool needed = rqci_view_needs(db->view, c, horizon);
    pthread_mutex_unlock(&db->apply);
    return needed;
}

static bool stopped(rqc_db *db)
{
    pthread_mutex_lock(&db->lock);
    const bool stop = db->stop;
    pthread_mutex_unlock(&db->lock);
    return stop;
}

// Rows behind the horizon that are no longer the newest of their record go, a little at a time. The
// horizon moves in steps, of a quarter of what is kept; once per step is enough.
static void compact(rqc_db *db)
{
    rqci_errbuf detail = {""};
    pthread_mutex_lock(&db->lock);
    const uint64_t horizon = rqci_horizon(db->state.head, db->retain);
    pthread_mutex_unlock(&db->lock);
    if (horizon <= db->compacted || atomic_load(&db->lagging))
        return;
    bool more = true;
    const int64_t until = rqci_now_ms() + COMPACT_MS;
    rqc_err rc = RQC_OK;
    while (rc == RQC_OK && more && !stopped(db) && rqci_now_ms() < until)
        rc = rqci_store_compact(db->store, rqci_keeper_needs, db, &more, &detail);
    if (rc != RQC_OK && rc != RQC_BUSY)
        rqci_logf(&db->log, RQCI_WARN, "the log could not be compacted: %s", detail.text);
    if (rc != RQC_OK || more)
        return;
    db->compacted = horizon;
    rqci_logf(&db->log, RQCI_DEBUG, "the log was compacted up to %llu",
              (unsigned long long)horizon);
}

static void forget_keys(rqc_db *db)
{
    rqci_errbuf detail = {""};
    bool more = true;
    rqc_err rc = RQC_OK;
    while (rc == RQC_OK && more && !stopped(db))
        rc = rqci_store_forget_keys(db->store, (int64_t)time(NULL), &more, &detail);
    if (rc != RQC_OK && rc != RQC_BUSY)
        rqci_logf(&db->log, RQCI_WARN, "old idempotency keys could not be forgotten: %s",
                  detail.text);
}

// True when somebody took the view's files away, and it has to be built again.
static bool look_after_view(rqc_db *db)
{
    rqci_errbuf detail = {""};
    pthread_mutex_lock(&db->apply);
    rqci_view_tidy(db->view);
    const bool lost = rqci_view_lost(db->view);
    const rqc_err rc = lost ? rqci_view_remake(db->view, &detail) : RQC_OK;
    pthread_mutex_unlock(&db->apply);
    // Said once, not once a second.
    if (lost && rc == RQC_OK)
        rqci_logf(&db->log, RQCI_WARN, "the view's files are gone: it is built again");
    else if (lost && rc != db->lost_code)
        rqci_logf(&db->log, RQCI_ERROR, "the view's files are gone, and cannot be made again: %s",
                  detail.text);
    db->lost_code = rc;
    return lost && rc == RQC_OK;
}

static void *keep_house(void *arg)
{
    rqc_db *db = arg;
    for (;;) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        t.tv_sec++;
        pthread_mutex_lock(&db->lock);
        while (!db->stop && pthread_cond_timedwait(&db->wake, &db->lock, &t) == 0)
            ;
        const bool stop = db->stop;
        pthread_mutex_unlock(&db->lock);
        if (stop)
            return NULL;
        if (look_after_view(db) || atomic_load(&db->lagging))
            (void)rqci_committed(db, 0, &db->source, false);
        compact(db);
        forget_keys(db);
    }
}

rqc_err rqci_keeper_start(rqc_db *db, rqci_errbuf *err)
{
    rqci_store_stats s;
    const rqc_err got = rqci_store_stats_read(db->store, &s, err);
    if (got != RQC_OK)
        return got;
    db->retain = s.retain;
    const int rc = rqci_thread_start(&db->keeper, keep_house, db);
    if (rc != 0)
        return rqci_fail(err, RQC_NO_MEMORY, "no thread for housekeeping: %s", strerror(rc));
    db->keeper_runs = true;
    return RQC_OK;
}

void rqci_keeper_stop(rqc_db *db)
{
    if (!db->keeper_runs)
        return;
    pthread_mutex_lock(&db->lock);
    db->stop = true;
    pthread_cond_signal(&db->wake);
    pthread_mutex_unlock(&db->lock);
    pthread_join(db->keeper, NULL);
    db->keeper_runs = false;
}

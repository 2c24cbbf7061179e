// SPDX-License-Identifier: Apache-2.0
// Who writes, and when. Everything that writes the database is done by whoever has the turn: a
// caller that finds nobody at work does its own job at once, which spares two changes of threads;
// otherwise the writer thread, which takes all jobs that wait (group.c makes one transaction of
// them).
#include "base/xfsz.h"
#include "persist/internal.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define GROUP_WRITES \
    50000u           // more than this do not go into one transaction, unless one job alone has more
#define IDLE_MS 1000 // without work for so long: empty the -wal

// ---- Calls of other threads ----

// Picks up what others committed. Reads only, unless the history is not the known one any more.
static rqc_err sync_call(rqci_store *s, void *arg, rqci_errbuf *err)
{
    (void)arg;
    bool known;
    uint64_t head;
    const bool foreign = rqci_foreign_commits(s);
    rqc_err e = rqci_history_check(s, &known, &head, err);
    if (!e && !known) {
        e = rqci_history_begin(s, &head, err);
        rqci_store_rollback(s);
    }
    if (!e && head > atomic_load(&s->durable_head)) {
        e = rqci_db_sync(s->db, err);
        s->unsynced = s->unsynced && e;
    }
    if (e)
        return e;
    rqci_history_reached(s, head);
    if (foreign)
        rqci_wal_touched(s);
    return rqci_view_follows(s, head, false);
}

rqc_err rqci_store_sync(rqci_store *s, rqci_errbuf *err)
{
    return rqci_writer_call(s, sync_call, NULL, err);
}

rqc_err rqci_writer_call(rqci_store *s, rqc_err (*fn)(rqci_store *s, void *arg, rqci_errbuf *err),
                         void *arg, rqci_errbuf *err)
{
    if (s->read_only)
        return rqci_fail(err, RQC_READ_ONLY, "%s was opened read-only", s->path);
    if (atomic_load(&s->lock.forked))
        return rqci_fail(err, RQC_CLOSED, "%s was opened before fork", s->path);
    rqci_call call = {.fn = fn, .arg = arg, .err = err};
    pthread_mutex_lock(&s->mu);
    if (!s->started || s->closing) {
        pthread_mutex_unlock(&s->mu);
        return rqci_fail(err, RQC_CLOSED, "%s: the writer is not running", s->path);
    }
    if (s->calls_last)
        s->calls_last->next = &call;
    else
        s->calls = &call;
    s->calls_last = &call;
    pthread_cond_signal(&s->wake);
    int cancel;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    while (!call.done)
        pthread_cond_wait(&s->called, &s->mu);
    pthread_mutex_unlock(&s->mu);
    pthread_setcancelstate(cancel, &cancel);
    return call.result;
}

// ---- The thread ----

static struct timespec idle_end(void)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_MS / 1000;
    until.tv_nsec += IDLE_MS % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    return until;
}

static bool has_work(const rqci_store *s)
{
    return s->first || s->calls || s->closing || s->ckpt_wanted;
}

// Waits for work and the turn; with something in the -wal not for ever. False when nobody wrote for
// IDLE_MS, whatever else was asked for meanwhile.
static bool wait_for_work(rqci_store *s)
{
    while (s->turn_taken || !has_work(s)) {
        if (s->idle_touched != s->n_touched) {
            s->idle_touched = s->n_touched;
            s->idle_until = idle_end();
        }
        // A transaction that could not be undone keeps others from writing.
        const bool open = !s->turn_taken && !sqlite3_get_autocommit(s->db);
        s->sleeps_long = !s->wal_used && !open;
        if (s->sleeps_long)
            pthread_cond_wait(&s->wake, &s->mu);
        else if (pthread_cond_timedwait(&s->wake, &s->mu, &s->idle_until) == ETIMEDOUT &&
                 !s->turn_taken && !has_work(s) && s->idle_touched == s->n_touched)
            return false;
    }
    return true;
}

static rqci_job *take_group(rqci_store *s)
{
    rqci_job *first = s->first, *end = first;
    size_t writes = first->nwrites;
    while (end->next && writes + end->next->nwrites <= GROUP_WRITES) {
        end = end->next;
        writes += end->nwrites;
    }
    s->first = end->next;
    if (!s->first)
        s->last = NULL;
    end->next = NULL;
    return first;
}

static void run_calls(rqci_store *s, rqci_call *calls)
{
    while (calls) {
        rqci_call *next = calls->next; // the caller's memory, gone once it is done
        const rqc_err e = calls->fn(s, calls->arg, calls->err);
        pthread_mutex_lock(&s->mu);
        calls->result = e;
        calls->done = true;
        pthread_cond_broadcast(&s->called);
        pthread_mutex_unlock(&s->mu);
        calls = next;
    }
}

void *rqci_writer_main(void *store)
{
    rqci_store *s = store;
    pthread_mutex_lock(&s->mu);
    for (;;) {
        const bool work = wait_for_work(s), large = s->ckpt_wanted;
        s->turn_taken = true;
        s->ckpt_wanted = false;
        rqci_call *calls = s->calls;
        s->calls = s->calls_last = NULL;
        rqci_job *group = s->first ? take_group(s) : NULL;
        const bool end = s->closing && !calls && !group;
        pthread_mutex_unlock(&s->mu);
        if (end)
            return NULL;
        rqci_store_rollback(s);
        if (!sqlite3_get_autocommit(s->db) || (!work && !rqci_checkpoint(s, false)))
            rqci_wal_touched(s); // again in a while; a reader may be in the checkpoint's way
        else if (!work)
            s->wal_used = false;
        run_calls(s, calls);
        if (group)
            rqci_group_run(s, group);
        if ((large || calls || group) && rqci_checkpoint_due(s))
            rqci_checkpoint(s, true);
        pthread_mutex_lock(&s->mu);
        s->turn_taken = false;
    }
}

// ---- Callers ----

rqc_err rqci_store_submit(rqci_store *s, rqci_job *job)
{
    if (s->read_only)
        return RQC_READ_ONLY;
    if (atomic_load(&s->lock.forked))
        return RQC_CLOSED;
    if (job->nwrites > RQCI_JOB_WRITES_MAX)
        return RQC_TOO_LARGE;
    job->next = NULL;
    rqci_job_clear(job);
    pthread_mutex_lock(&s->mu);
    const bool closing = s->closing;
    if (!closing) {
        if (s->last)
            s->last->next = job;
        else
            s->first = job;
        s->last = job;
        pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->mu);
    return closing ? RQC_CLOSED : RQC_OK;
}

typedef struct waiter {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool done;
} waiter;

static void waiter_done(rqci_job *job)
{
    waiter *w = job->ctx;
    pthread_mutex_lock(&w->mu);
    w->done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mu);
}

static bool take_turn(rqci_store *s)
{
    pthread_mutex_lock(&s->mu);
    const bool mine = s->started && !s->turn_taken && !has_work(s);
    s->turn_taken = s->turn_taken || mine;
    pthread_mutex_unlock(&s->mu);
    return mine;
}

// The writer thread is woken only when there is something for it.
static void end_turn(rqci_store *s)
{
    const bool large = rqci_checkpoint_due(s), open = !sqlite3_get_autocommit(s->db);
    pthread_mutex_lock(&s->mu);
    s->turn_taken = false;
    s->ckpt_wanted = s->ckpt_wanted || large;
    if (has_work(s) || (s->sleeps_long && (s->wal_used || open)))
        pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mu);
}

static void nobody_waits(rqci_job *job)
{
    (void)job;
}

// The job by the calling thread, when nobody else writes.
static bool run_here(rqci_store *s, rqci_job *job)
{
    int cancel;
    if (s->read_only || atomic_load(&s->lock.forked) || job->nwrites > RQCI_JOB_WRITES_MAX ||
        !take_turn(s))
        return false;
    // A thread that is cancelled in here would keep the turn.
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    const rqci_xfsz limit = rqci_xfsz_hold();
    job->next = NULL;
    rqci_job_clear(job);
    job->done = nobody_waits;
    rqci_group_run(s, job);
    end_turn(s);
    rqci_xfsz_drop(&limit);
    pthread_setcancelstate(cancel, &cancel);
    return true;
}

static rqc_err run(rqci_store *s, rqci_job *job)
{
    if (run_here(s, job))
        return job->err;
    waiter w = {.mu = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    job->done = waiter_done;
    job->ctx = &w;
    const rqc_err e = rqci_store_submit(s, job);
    pthread_mutex_lock(&w.mu);
    while (!e && !w.done)
        pthread_cond_wait(&w.cond, &w.mu);
    pthread_mutex_unlock(&w.mu);
    pthread_cond_destroy(&w.cond);
    pthread_mutex_destroy(&w.mu);
    job->ctx = NULL;
    return e ? e : job->err;
}

rqc_err rqci_store_run(rqci_store *s, rqci_job *job)
{
    int cancel;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    const rqc_err e = run(s, job);
    pthread_setcancelstate(cancel, &cancel);
    return e;
}

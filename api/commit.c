// SPDX-License-Identifier: Apache-2.0
// Transactions on their way to the store: waited for, told to a callback, or fetched from a queue.
#include "api/txn.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

// Which write was refused, in words: the sidecar's answer has them already.
static void name_failed(rqc_txn *t)
{
    const rqci_job *job = &t->job;
    char id[27];
    t->failed = job->failed < t->n ? job->failed : SIZE_MAX;
    t->err = job->detail;
    if (!*t->err.text)
        rqci_fail(&t->err, job->err, "%s", rqci_err_text(job->err));
    if (job->failed >= t->n || !t->db->owner)
        return;
    const rqci_write *w = &t->writes[job->failed];
    const rqci_entity *e = rqci_entity_of(w->entity);
    rqc_id_format(w->id, id);
    rqci_fail_within(&t->err, job->err, "write %zu (%s %s)", job->failed + 1, e ? e->table : "?",
                     id);
}

static void fill(rqc_txn *t)
{
    t->job = (rqci_job){.writes = t->writes,
                        .nwrites = t->n,
                        .failed = SIZE_MAX,
                        .key = t->key,
                        .key_len = t->key_len};
    if (t->key_len > 0)
        rqci_writes_hash(t->writes, t->n, t->job.request);
    t->err.text[0] = 0;
    t->failed = SIZE_MAX;
}

// What became of the job.
static rqc_err settle(rqc_txn *t, rqc_result *ret_result)
{
    const rqci_job *job = &t->job;
    if (job->err != RQC_OK) {
        name_failed(t);
        return job->err;
    }
    rqc_result result = {.written = job->written,
                         .skipped = job->skipped,
                         .deleted = job->deleted,
                         .visible = job->visible,
                         .replayed = job->replayed,
                         .position = {.term = job->term, .seq = job->seq}};
    memcpy(result.position.store_id, job->store_id, 16);
    if (ret_result)
        *ret_result = result;
    rqci_txn_empty(t);
    return RQC_OK;
}

rqc_err rqc_commit(rqc_txn *t, rqc_result *ret_result)
{
    if (rqci_txn_mine(t) != RQC_OK)
        return RQC_INVALID;
    if (rqci_forked(t->db))
        return rqci_fail(&t->err, RQC_CLOSED, "the handle belongs to the parent process");
    fill(t);
    t->job.err =
        t->db->owner ? rqci_store_run(t->db->store, &t->job) : rqci_remote_run(t->db, &t->job);
    return settle(t, ret_result);
}

// ---- Without waiting ----------------------------------------------------------------------------

// The transaction is the caller's again; false when the caller has let it go, and it is gone.
static bool give_back(rqc_txn *t)
{
    int state = RQCI_TXN_IN_FLIGHT;
    atomic_fetch_sub(&t->db->completions.in_flight, 1);
    if (atomic_compare_exchange_strong(&t->state, &state, RQCI_TXN_IDLE))
        return true;
    rqci_txn_delete(t);
    return false;
}

// With the lock held.
static rqc_txn *take_first(rqci_completions *q)
{
    eventfd_t n;
    rqc_txn *t = q->first;
    if (t)
        q->first = t->next;
    if (t && !q->first) {
        q->last = NULL;
        if (q->fd >= 0)
            (void)eventfd_read(q->fd, &n);
    }
    return t;
}

// With the lock held. What was let go has no completion: the first one of the queue never is such
// a transaction.
static void drop_let_go(rqci_completions *q)
{
    while (q->first && atomic_load(&q->first->state) == RQCI_TXN_ABANDONED)
        (void)give_back(take_first(q));
}

static void enqueue(rqc_txn *t)
{
    rqci_completions *q = &t->db->completions;
    pthread_mutex_lock(&q->lock);
    t->next = NULL;
    if (q->last)
        q->last->next = t;
    else
        q->first = t;
    if (!q->last && q->fd >= 0)
        (void)eventfd_write(q->fd, 1);
    q->last = t;
    drop_let_go(q);
    pthread_mutex_unlock(&q->lock);
}

static rqc_txn *dequeue(rqci_completions *q)
{
    pthread_mutex_lock(&q->lock);
    rqc_txn *t = take_first(q);
    drop_let_go(q);
    pthread_mutex_unlock(&q->lock);
    return t;
}

static bool abandon(rqc_txn *t)
{
    int state = RQCI_TXN_IN_FLIGHT;
    return atomic_compare_exchange_strong(&t->state, &state, RQCI_TXN_ABANDONED);
}

// It may be gone as soon as it is abandoned.
bool rqci_txn_let_go(rqc_txn *t)
{
    if (atomic_load(&t->state) != RQCI_TXN_IN_FLIGHT)
        return false;
    if (t->completed)
        return abandon(t);
    rqci_completions *q = &t->db->completions;
    pthread_mutex_lock(&q->lock);
    const bool gone = abandon(t);
    drop_let_go(q);
    pthread_mutex_unlock(&q->lock);
    return gone;
}

// On the store's thread, or that of the errands.
static void completed(rqci_job *job)
{
    rqc_txn *t = job->ctx;
    t->completion.code = settle(t, &t->completion.result);
    if (!t->completed) {
        enqueue(t);
        return;
    }
    const rqc_completion c = t->completion;
    rqc_completed_fn *const fn = t->completed;
    if (give_back(t))
        fn(&c);
}

rqc_err rqc_commit_async(rqc_txn *t, rqc_completed_fn *fn, void *ctx)
{
    if (rqci_txn_mine(t) != RQC_OK)
        return RQC_INVALID;
    if (rqci_forked(t->db))
        return rqci_fail(&t->err, RQC_CLOSED, "the handle belongs to the parent process");
    fill(t);
    t->completed = fn;
    t->completion = (rqc_completion){.txn = t, .ctx = ctx};
    t->job.done = completed;
    t->job.ctx = t;
    rqc_err rc = RQC_OK;
    if (atomic_fetch_add(&t->db->completions.in_flight, 1) >= RQC_IN_FLIGHT_MAX)
        rc = rqci_fail(&t->err, RQC_BUSY, "%u transactions are in flight", RQC_IN_FLIGHT_MAX);
    if (rc == RQC_OK) {
        atomic_store(&t->state, RQCI_TXN_IN_FLIGHT);
        rqci_errbuf detail = {""};
        rc = t->db->owner ? rqci_store_submit(t->db->store, &t->job)
                          : rqci_errand(t->db, &t->job, &detail);
        if (rc == RQC_OK)
            return RQC_OK; // t may be gone
        atomic_store(&t->state, RQCI_TXN_IDLE);
        (void)rqci_fail(&t->err, rc, "%s", *detail.text ? detail.text : rqci_err_text(rc));
    }
    atomic_fetch_sub(&t->db->completions.in_flight, 1);
    return rc;
}

rqc_err rqc_completions_next(rqc_db *db, rqc_completion *ret_completion)
{
    if (rqci_forked(db))
        return RQC_CLOSED;
    for (rqc_txn *t; (t = dequeue(&db->completions));) {
        const rqc_completion c = t->completion;
        if (give_back(t)) {
            *ret_completion = c;
            return RQC_OK;
        }
    }
    return RQC_NOT_FOUND;
}

rqc_err rqc_completions_fd(rqc_db *db, int *ret_fd, rqc_error *err)
{
    rqci_completions *q = &db->completions;
    rqci_errbuf detail = {""};
    rqc_err rc = RQC_OK;
    if (rqci_forked(db))
        return rqci_report(err, RQC_CLOSED, NULL);
    pthread_mutex_lock(&q->lock);
    if (q->fd < 0)
        q->fd = eventfd(q->first != NULL, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->fd < 0)
        rc = rqci_fail(&detail, RQC_NO_MEMORY, "no descriptor: %s", strerror(errno));
    else
        *ret_fd = q->fd;
    pthread_mutex_unlock(&q->lock);
    return rc == RQC_OK ? RQC_OK : rqci_report(err, rc, &detail);
}

void rqci_completions_end(rqc_db *db)
{
    for (rqc_txn *t; (t = dequeue(&db->completions));)
        rqci_txn_delete(t);
    if (db->completions.fd >= 0)
        close(db->completions.fd);
    db->completions.fd = -1;
}

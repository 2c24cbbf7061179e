// SPDX-License-Identifier: Apache-2.0
// Asynchronous commits of an attached handle, on their way to the sidecar.
#include "api/engine.h"

#include <string.h>

// Takes the oldest one; NULL: there is none, and none will come.
static rqci_job *await(rqci_errands *q, bool *ret_ending)
{
    pthread_mutex_lock(&q->lock);
    while (!q->first && !q->stop)
        pthread_cond_wait(&q->wake, &q->lock);
    rqci_job *job = q->first;
    if (job) {
        q->first = job->next;
        if (!q->first)
            q->last = NULL;
    }
    *ret_ending = q->stop;
    pthread_mutex_unlock(&q->lock);
    return job;
}

static void *run_all(void *arg)
{
    rqc_db *db = arg;
    rqci_errbuf why = {""};
    rqc_err gone = RQC_OK;
    bool ending;
    for (rqci_job *job; (job = await(&db->errands, &ending));) {
        // A handle that is being closed does not wait again and again for a sidecar that is not
        // there.
        if (ending && gone != RQC_OK) {
            job->err = gone;
            job->detail = why;
        } else {
            const rqc_err rc = rqci_remote_run(db, job);
            gone = RQC_OK;
            if (rc == RQC_UNAVAILABLE || rc == RQC_TIMEOUT)
                gone = rqci_fail(&why, RQC_UNAVAILABLE,
                                 "not sent: the reqcastd did not answer the one before");
        }
        job->done(job);
    }
    return NULL;
}

// With the lock held. The application's signals are for its own threads.
static rqc_err start(rqc_db *db, rqci_errbuf *err)
{
    rqci_errands *q = &db->errands;
    if (q->runs)
        return RQC_OK;
    const int rc = rqci_thread_start(&q->thread, run_all, db);
    q->runs = rc == 0;
    return q->runs ? RQC_OK
                   : rqci_fail(err, RQC_NO_MEMORY, "no thread to commit with: %s", strerror(rc));
}

rqc_err rqci_errand(rqc_db *db, rqci_job *job, rqci_errbuf *err)
{
    rqci_errands *q = &db->errands;
    pthread_mutex_lock(&q->lock);
    const rqc_err rc = q->stop ? RQC_CLOSED : start(db, err);
    if (rc == RQC_OK) {
        job->next = NULL;
        if (q->last)
            q->last->next = job;
        else
            q->first = job;
        q->last = job;
        pthread_cond_signal(&q->wake);
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

void rqci_errands_end(rqc_db *db)
{
    rqci_errands *q = &db->errands;
    pthread_mutex_lock(&q->lock);
    q->stop = true;
    const bool runs = q->runs;
    pthread_cond_signal(&q->wake);
    pthread_mutex_unlock(&q->lock);
    if (runs)
        pthread_join(q->thread, NULL);
}

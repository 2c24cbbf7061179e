// SPDX-License-Identifier: Apache-2.0
// Transactions on their way to the store: waited for, told to a callback, or fetched from a queue.
#include "api/txn.h"

#include <string.h>

// Which write the store refused, in words.
static void name_failed(rqc_txn *t)
{
    const rqci_job *job = &t->job;
    char id[27];
    t->failed = job->failed < t->n ? job->failed : SIZE_MAX;
    t->err = job->detail;
    if (!*t->err.text)
        rqci_fail(&t->err, job->err, "%s", rqci_err_text(job->err));
    if (job->failed >= t->n)
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
    t->job.err = rqci_store_run(t->db->store, &t->job);
    return settle(t, ret_result);
}

// SPDX-License-Identifier: Apache-2.0
// One transaction for all jobs that wait, so that one wait for the disk serves all: each job within
// it as if it were alone, the view's next state, the commit.
#include "base/clock.h"
#include "persist/internal.h"

#include <string.h>
#include <time.h>

#define ALONE_MS 10000 // without a commit of others for so long: nobody waits for us

typedef enum outcome {
    DONE,
    FAILED,
    ALONE
} outcome; // ALONE: each job for itself, so that none fails for another's sake

typedef struct commit_set {
    rqci_job *first;
    bool singly;   // row by row
    bool prepare;  // the view's next state is made before the commit
    uint64_t head; // durable, when it is DONE
    bool prepared; // and committed() must be told
} commit_set;

// ---- Transactions ----

rqc_err rqci_store_rollback_ready(rqci_store *s, rqci_errbuf *err)
{
    return s->rollback ? RQC_OK : rqci_db_prepare(s->db, "ROLLBACK", true, &s->rollback, err);
}

void rqci_store_rollback(rqci_store *s)
{
    if (!s->db || sqlite3_get_autocommit(s->db))
        return;
    if (rqci_store_rollback_ready(s, NULL))
        return;
    (void)sqlite3_step(s->rollback);
    sqlite3_reset(s->rollback);
}

bool rqci_foreign_commits(rqci_store *s)
{
    int64_t v;
    if (rqci_db_int_kept(s->db, "PRAGMA data_version", &s->data_version, &v, NULL))
        return s->unsynced = s->wal_foreign = true;
    const bool changed = v != s->seen_data_version;
    s->seen_data_version = v;
    if (changed)
        s->foreign_ms = rqci_now_ms();
    s->unsynced = s->unsynced || changed;
    s->wal_foreign = s->wal_foreign || changed;
    return changed;
}

void rqci_sync_foreign(rqci_store *s)
{
    rqci_errbuf err = {{0}};
    if (!s->unsynced)
        return;
    s->unsynced = rqci_db_sync(s->db, &err) != RQC_OK;
    if (s->unsynced)
        rqci_logf(&s->log, RQCI_ERROR, "%s: %s", s->path, err.text);
}

void rqci_wal_touched(rqci_store *s)
{
    s->wal_used = true;
    pthread_mutex_lock(&s->mu);
    s->n_touched++;
    pthread_mutex_unlock(&s->mu);
}

// ---- One group ----

static void fail_job(rqci_job *job, rqc_err code, const rqci_errbuf *detail)
{
    job->err = code;
    job->seq = 0;
    job->written = job->skipped = job->deleted = 0;
    job->visible = job->replayed = false;
    if (detail && detail != &job->detail)
        job->detail = *detail;
}

void rqci_job_clear(rqci_job *job)
{
    fail_job(job, RQC_OK, NULL);
    job->detail.text[0] = '\0';
    job->failed = job->nwrites;
}

// *ret_open: a reference to a row that was not there was open at some time.
static rqc_err apply_writes(rqci_store *s, rqci_job *job, uint64_t base, int64_t now, bool singly,
                            bool *ret_open)
{
    for (size_t i = 0; i < job->nwrites;) {
        size_t done = 0;
        rqc_err e = RQC_OK;
        if (!singly)
            e = rqci_sql_apply_rows(&s->sql, &job->writes[i], job->nwrites - i, now, job, &done);
        if (!e && done == 0) {
            e = rqci_sql_apply(&s->sql, &job->writes[i], base, now, job);
            done = 1;
        }
        if (e) {
            job->failed = i;
            return e;
        }
        *ret_open = *ret_open || rqci_refs_open(s->db);
        i += done;
    }
    return RQC_OK;
}

static rqc_err apply_job(rqci_store *s, rqci_job *job, bool singly, uint64_t *head)
{
    const int64_t now = (int64_t)time(NULL);
    bool found = false, open = false;
    const rqc_err looked = job->key_len > 0 ? rqci_keys_find(s, job, &found) : RQC_OK;
    if (looked || found)
        return looked;
    uint64_t after;
    rqc_err e = rqci_sql_begin(&s->sql, job, &job->detail);
    if (!e)
        e = apply_writes(s, job, *head, now, singly, &open);
    if (!e)
        e = rqci_refs_check(&s->sql, job, open);
    if (!e)
        e = rqci_head_read(s->db, &s->head_stmt, s->facts.baseline, &after, &job->detail);
    if (e)
        return e;
    job->seq = after;
    job->term = s->facts.term;
    memcpy(job->store_id, s->facts.store_id, 16);
    if (job->key_len > 0)
        e = rqci_keys_add(s, job, now);
    if (!e)
        *head = after;
    return e;
}

// Undoes several rows that failed together and does the job again one by one.
static rqc_err again_singly(rqci_store *s, rqci_job *job, uint64_t *head)
{
    s->sql.rows_failed = false;
    const rqc_err e =
        rqci_db_step_kept(s->db, "ROLLBACK TO reqcast_job", &s->rollback_to, &job->detail);
    if (e)
        return e;
    rqci_job_clear(job);
    return apply_job(s, job, true, head);
}

// RQC_OK when the transaction lives on, whatever became of the job.
static rqc_err guarded_job(rqci_store *s, rqci_job *job, bool savepoint, bool singly,
                           uint64_t *head)
{
    rqc_err e = savepoint
                    ? rqci_db_step_kept(s->db, "SAVEPOINT reqcast_job", &s->savepoint, &job->detail)
                    : RQC_OK;
    if (e)
        return e;
    e = apply_job(s, job, singly, head);
    if (e && savepoint && s->sql.rows_failed && !sqlite3_get_autocommit(s->db))
        e = again_singly(s, job, head);
    if (e)
        fail_job(job, e, NULL);
    if (!e)
        return savepoint
                   ? rqci_db_step_kept(s->db, "RELEASE reqcast_job", &s->release, &job->detail)
                   : RQC_OK;
    // Some errors (full disk, I/O, memory) end the whole transaction.
    if (sqlite3_get_autocommit(s->db) || !savepoint)
        return e;
    rqc_err undone = rqci_db_step_kept(s->db, "ROLLBACK TO reqcast_job", &s->rollback_to, NULL);
    if (!undone)
        undone = rqci_db_step_kept(s->db, "RELEASE reqcast_job", &s->release, NULL);
    return undone;
}

static void fail_all(rqci_job *first, rqc_err code, const rqci_errbuf *detail)
{
    for (rqci_job *j = first; j; j = j->next)
        fail_job(j, code, detail);
}

// The view may do its part of the work before the wait for the disk; not while others write, who
// find the database free for the shorter the more is done in here.
static bool view_prepares(rqci_store *s, uint64_t head)
{
    if (!s->prepare || (s->foreign_ms != 0 && rqci_now_ms() - s->foreign_ms < ALONE_MS))
        return false;
    const rqci_source source = rqci_reader_source(&s->after);
    s->after.within = true;
    s->after.within_head = head;
    s->after.within_unmirrored = 0;
    const bool prepared = s->prepare(s->ctx, &source);
    s->after.within = false;
    return prepared;
}

static rqc_err commit_group(rqci_store *s, commit_set *g, rqci_errbuf *err)
{
    const rqc_err e = rqci_db_step_kept(s->db, "COMMIT", &s->commit, err);
    if (e)
        rqci_store_rollback(s);
    if (e && g->prepared)
        s->undone(s->ctx);
    g->prepared = g->prepared && !e;
    if (g->prepared)
        atomic_fetch_add(&s->unmirrored, s->after.within_unmirrored);
    return e;
}

// One transaction for a list of jobs. On DONE each job has its result and g->head is durable; on
// FAILED each has its error.
static outcome try_group(rqci_store *s, commit_set *g)
{
    const bool several = g->first->next != NULL;
    rqci_errbuf err = {{0}};
    uint64_t head;
    rqc_err e = rqci_history_begin(s, &head, &err);
    if (!e)
        e = rqci_refs_defer(s->db, &err);
    if (e) {
        rqci_store_rollback(s);
        fail_all(g->first, e, &err);
        return FAILED;
    }
    (void)rqci_foreign_commits(s);
    s->sql.rows_failed = false;
    for (rqci_job *j = g->first; j; j = j->next) {
        rqci_job_clear(j);
        e = guarded_job(s, j, several, g->singly, &head);
        if (e && several) {
            rqci_store_rollback(s);
            return ALONE;
        }
        if (e) {
            rqci_store_rollback(s);
            if (s->sql.rows_failed) {
                g->singly = true;
                return try_group(s, g);
            }
            fail_job(j, e, NULL);
            return FAILED;
        }
    }
    g->prepared = g->prepare && view_prepares(s, head);
    if (g->prepare && sqlite3_get_autocommit(s->db)) {
        // A read that fails (memory, I/O) may end the transaction, which must not be lost for that.
        if (g->prepared)
            s->undone(s->ctx);
        g->prepare = g->prepared = false;
        return try_group(s, g);
    }
    e = commit_group(s, g, &err);
    if (e) {
        // One job may be to blame, not all.
        if (several && (e == RQC_CONSTRAINT || e == RQC_NO_SPACE))
            return ALONE;
        fail_all(g->first, e, &err);
        return FAILED;
    }
    // Our FULL commit made all of the -wal durable. What another connection moved into the database
    // file before may not be.
    rqci_sync_foreign(s);
    rqci_history_reached(s, head);
    g->head = head;
    return DONE;
}

static void finish(rqci_store *s, rqci_job *first, bool visible)
{
    uint64_t jobs = 0, failed = 0;
    for (rqci_job *j = first; j; j = j->next) {
        jobs++;
        failed += j->err != RQC_OK;
        if (j->err == RQC_NO_SPACE || j->err == RQC_IO) // whoever reads it must find the disk
            (void)rqci_fail_within(&j->detail, j->err, "%s", s->path);
        if (j->err)
            j->seq = s->head;
        else
            j->visible = visible;
    }
    pthread_mutex_lock(&s->mu);
    s->n_groups++;
    s->n_jobs += jobs;
    s->n_failed += failed;
    pthread_mutex_unlock(&s->mu);
    while (first) {
        rqci_job *next = first->next; // done() may free the job
        first->next = NULL;
        first->done(first);
        first = next;
    }
}

rqc_err rqci_view_follows(rqci_store *s, uint64_t head, bool prepared)
{
    if (!s->committed)
        return RQC_OK;
    const rqci_source source = rqci_reader_source(&s->after);
    return s->committed(s->ctx, head, &source, prepared);
}

void rqci_group_run(rqci_store *s, rqci_job *first)
{
    commit_set g = {.first = first, .prepare = true};
    const outcome all = try_group(s, &g);
    bool any = all == DONE;
    if (all == ALONE) {
        for (rqci_job *j = first; j; j = j->next) {
            rqci_job *rest = j->next;
            commit_set one = {.first = j};
            j->next = NULL;
            if (try_group(s, &one) == DONE) {
                any = true;
                g.head = one.head;
            }
            j->next = rest;
        }
    }
    bool visible = false;
    if (any) {
        rqci_wal_touched(s);
        visible = rqci_view_follows(s, g.head, g.prepared) == RQC_OK;
    }
    finish(s, first, visible);
}

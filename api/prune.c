// SPDX-License-Identifier: Apache-2.0
// Snapshots of runs grow for ever unless somebody removes the old ones.
#include "api/engine.h"

#include <string.h>
#include <time.h>

#define AT_ONCE 100 // snapshots in one transaction, with their children: writers wait for it
#define TRIES   10  // when others delete at the same time

static rqc_err options_of(const rqc_prune_options *given, rqc_prune_options *ret, rqci_errbuf *err)
{
    *ret = (rqc_prune_options)RQC_PRUNE_OPTIONS_INIT;
    if (!given || given->size < sizeof given->size || given->size > 4096)
        return rqci_fail(err, RQC_INVALID,
                         "prune needs options that began as RQC_PRUNE_OPTIONS_INIT");
    memcpy(ret, given, given->size < sizeof *ret ? given->size : sizeof *ret);
    if (ret->keep < 0 && ret->older_than_s < 0)
        return rqci_fail(err, RQC_INVALID, "prune needs a number to keep, or an age");
    if (ret->older_than_s > RQC_AGE_MAX_S)
        return rqci_fail(err, RQC_INVALID, "an age is at most %lld seconds",
                         (long long)RQC_AGE_MAX_S);
    return RQC_OK;
}

// One transaction. RQC_NOT_FOUND when one of them has gone meanwhile.
static rqc_err delete_some(rqc_db *db, const rqci_snapshot_ref *refs, size_t n, rqc_pruned *sum,
                           rqci_errbuf *err)
{
    rqci_write writes[2 * AT_ONCE];
    rqci_job job = {.writes = writes};
    uint64_t versions = 0;
    for (size_t i = 0; i < n; i++) {
        rqci_write w = {.kind = RQCI_WRITE_DELETE, .entity = RQC_HTTP_VERSION};
        memcpy(w.id, refs[i].id, 16);
        if (refs[i].version)
            writes[job.nwrites++] = w;
        versions += refs[i].version;
        w.entity = RQC_HTTP;
        writes[job.nwrites++] = w;
    }
    const rqc_err rc = rqci_store_run(db->store, &job);
    if (rc != RQC_OK) {
        (void)rqci_fail(err, rc, "%s", *job.detail.text ? job.detail.text : rqci_err_text(rc));
        return rc;
    }
    sum->snapshots += n;
    sum->versions += versions;
    sum->deleted += job.deleted;
    sum->position.seq = job.seq;
    sum->position.term = job.term;
    memcpy(sum->position.store_id, job.store_id, 16);
    return RQC_OK;
}

static rqc_err prune(rqc_db *db, const uint8_t workspace[16], const rqc_prune_options *o,
                     rqc_pruned *sum, rqci_errbuf *err)
{
    const int64_t before = o->older_than_s < 0 ? INT64_MAX : (int64_t)time(NULL) - o->older_than_s;
    rqc_err rc = RQC_NOT_FOUND;
    rqci_buf refs = {0};
    for (int i = 0; i < TRIES && rc == RQC_NOT_FOUND; i++) {
        refs.len = 0;
        rc = rqci_store_old_snapshots(db->store, workspace, o->keep, before, &refs, err);
        const rqci_snapshot_ref *list = (const void *)refs.data;
        const size_t n = refs.len / sizeof *list;
        for (size_t at = 0; at < n && rc == RQC_OK; at += AT_ONCE)
            rc = delete_some(db, list + at, n - at < AT_ONCE ? n - at : AT_ONCE, sum, err);
    }
    rqci_buf_free(&refs);
    return rc == RQC_NOT_FOUND ? RQC_BUSY : rc;
}

rqc_err rqc_prune(rqc_db *db, const uint8_t workspace[16], const rqc_prune_options *opt,
                  rqc_pruned *ret_pruned, rqc_error *err)
{
    rqci_errbuf detail = {""};
    rqc_prune_options o;
    rqc_pruned sum = {.snapshots = 0};
    if (rqci_forked(db))
        return rqci_report(err, RQC_CLOSED, NULL);
    if (!db->owner)
        return rqci_report(err, RQC_READ_ONLY, NULL);
    rqc_err rc = options_of(opt, &o, &detail);
    if (rc == RQC_OK && !workspace)
        rc = rqci_fail(&detail, RQC_INVALID, "no workspace");
    sum.position = rqc_position_now(db);
    if (rc == RQC_OK)
        rc = prune(db, workspace, &o, &sum, &detail);
    if (rc != RQC_OK)
        return rqci_report(err, rc, &detail);
    if (ret_pruned)
        *ret_pruned = sum;
    return RQC_OK;
}

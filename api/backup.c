// SPDX-License-Identifier: Apache-2.0
// Backup and restore.
#include "api/engine.h"

#include "base/xfsz.h"

#include <stdio.h>
#include <string.h>

static void to_public(const rqci_copied *c, rqc_copied *ret)
{
    memset(ret, 0, sizeof *ret);
    memcpy(ret->position.store_id, c->at.store_id, 16);
    ret->position.term = c->at.term;
    ret->position.seq = c->at.seq;
    ret->bytes = c->bytes;
    snprintf(ret->kept, sizeof ret->kept, "%s", c->kept);
}

rqc_err rqc_backup(rqc_db *db, const char *path, int replace,
                   void (*progress)(void *ctx, const char *what, uint64_t done, uint64_t total),
                   void *ctx, rqc_copied *ret_copied, rqc_error *err)
{
    rqci_errbuf detail = {""};
    if (rqci_forked(db))
        return rqci_report(err, RQC_CLOSED, NULL);
    const rqci_progress p = {progress, ctx};
    rqci_copied c;
    const rqci_xfsz limit = rqci_xfsz_hold();
    const rqc_err rc = rqci_store_backup(db->path, !db->owner, path, replace != 0, &p, &c, &detail);
    rqci_xfsz_drop(&limit);
    if (rc != RQC_OK)
        return rqci_report(err, rc, &detail);
    if (ret_copied)
        to_public(&c, ret_copied);
    return RQC_OK;
}

rqc_err rqc_restore(const char *path, const char *from,
                    void (*progress)(void *ctx, const char *what, uint64_t done, uint64_t total),
                    void *ctx, rqc_copied *ret_copied, rqc_error *err)
{
    rqci_errbuf detail = {""};
    const rqci_progress p = {progress, ctx};
    rqci_copied c;
    const rqci_xfsz limit = rqci_xfsz_hold();
    const rqc_err rc = rqci_store_restore(path, from, &p, &c, &detail);
    rqci_xfsz_drop(&limit);
    if (rc != RQC_OK)
        return rqci_report(err, rc, &detail);
    if (ret_copied)
        to_public(&c, ret_copied);
    return RQC_OK;
}

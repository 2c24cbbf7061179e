// SPDX-License-Identifier: Apache-2.0
// What is ours in a database of an application.
#include "api/engine.h"

#include "base/xfsz.h"

typedef struct listener {
    void (*fn)(void *ctx, const rqc_part *p);
    void *ctx;
} listener;

static void pass_on(void *ctx, const rqci_part *p)
{
    const listener *l = ctx;
    const rqc_part part = {p->kind, p->name, p->table, p->there};
    if (l->fn)
        l->fn(l->ctx, &part);
}

rqc_err rqc_capture_plan(const char *path, void (*fn)(void *ctx, const rqc_part *p), void *ctx,
                         rqc_error *err)
{
    rqci_errbuf detail = {""};
    listener l = {fn, ctx};
    const rqc_err rc = rqci_store_plan(path, pass_on, &l, &detail);
    return rc == RQC_OK ? RQC_OK : rqci_report(err, rc, &detail);
}

rqc_err rqc_capture_remove(const char *path, void (*fn)(void *ctx, const rqc_part *p), void *ctx,
                           rqc_error *err)
{
    rqci_errbuf detail = {""};
    listener l = {fn, ctx};
    const rqci_xfsz limit = rqci_xfsz_hold();
    const rqc_err rc = rqci_store_detach(path, pass_on, &l, rqci_view_forget, &detail);
    rqci_xfsz_drop(&limit);
    return rc == RQC_OK ? RQC_OK : rqci_report(err, rc, &detail);
}

// SPDX-License-Identifier: Apache-2.0
// The effective request: a base with at most one delta and all their children, at one position.
#include "api/engine.h"

#include <stdlib.h>
#include <string.h>

// What an rqc_resolved is made in, kept from call to call.
typedef struct rqci_resolving {
    rqci_list base, delta;
    rqci_items items[5];
    const rqc_record *http_over[1];
} rqci_resolving;

static const struct {
    uint8_t entity;
    size_t offset; // of the list in rqc_resolved
} kinds[] = {
    {RQC_HTTP_HEADER, offsetof(rqc_resolved, headers)},
    {RQC_HTTP_SEARCH_PARAM, offsetof(rqc_resolved, params)},
    {RQC_HTTP_BODY_FORM, offsetof(rqc_resolved, form)},
    {RQC_HTTP_BODY_URLENCODED, offsetof(rqc_resolved, urlencoded)},
    {RQC_HTTP_ASSERT, offsetof(rqc_resolved, asserts)},
};
_Static_assert(sizeof kinds / sizeof *kinds ==
                   sizeof((rqci_resolving *)0)->items / sizeof(rqci_items),
               "a list for each kind");

void rqc_resolved_free(rqc_resolved *m)
{
    if (!m)
        return;
    rqci_resolving *w = m->memory;
    if (w) {
        rqci_list_free(&w->base);
        rqci_list_free(&w->delta);
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            rqci_items_free(&w->items[i]);
        free(w);
    }
    *m = (rqc_resolved)RQC_RESOLVED_INIT;
}

// Both lists of children of one entity. delta may be NULL.
static rqc_err children(rqci_reader *r, rqci_resolving *w, uint8_t entity, const uint8_t *base,
                        const uint8_t *delta)
{
    w->base.n = 0;
    w->delta.n = 0;
    const rqc_err rc = rqci_children_of(r, entity, base, &w->base);
    return rc == RQC_OK && delta ? rqci_children_of(r, entity, delta, &w->delta) : rc;
}

static rqc_err resolve_raw(rqci_reader *r, rqci_resolving *w, const uint8_t *base,
                           const uint8_t *delta, rqc_resolved *ret)
{
    const rqc_err rc = children(r, w, RQC_HTTP_BODY_RAW, base, delta);
    if (rc != RQC_OK)
        return rc;
    rqci_body b;
    rqci_merge_body(w->base.n > 0 ? w->base.items[0] : NULL,
                    w->delta.n > 0 ? w->delta.items[0] : NULL, &b);
    ret->raw.present = b.record != NULL;
    ret->raw.id = b.id;
    ret->raw.bytes = b.bytes;
    ret->raw.compression = b.compression;
    ret->raw.source = b.source;
    ret->raw.source_field = b.source_field;
    ret->raw.origin = b.origin;
    return RQC_OK;
}

static rqc_err resolve(rqci_reader *r, const rqc_record *base, const rqc_record *delta,
                       rqc_resolved *m)
{
    rqci_resolving *w = m->memory;
    const uint8_t *base_id = rqci_rec_id(base), *delta_id = delta ? rqci_rec_id(delta) : NULL;
    w->http_over[0] = delta;
    m->http = (rqc_item){base, delta ? w->http_over : NULL, delta != NULL,
                         delta ? RQC_ORIGIN_OVERRIDE : RQC_ORIGIN_BASE};
    rqc_err rc = RQC_OK;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && rc == RQC_OK; i++) {
        rc = children(r, w, kinds[i].entity, base_id, delta_id);
        if (rc == RQC_OK)
            rc = rqci_merge_children(rqci_entity_of(kinds[i].entity), &w->base, &w->delta,
                                     &w->items[i]);
        rqc_items *out = (rqc_items *)(void *)((char *)m + kinds[i].offset);
        if (rc == RQC_OK)
            *out = (rqc_items){w->items[i].items, w->items[i].n};
    }
    return rc == RQC_OK ? resolve_raw(r, w, base_id, delta_id, m) : rc;
}

rqc_err rqc_resolve(rqc_read *r, const uint8_t base[16], const uint8_t *delta,
                    rqc_resolved *ret_resolved)
{
    const rqc_record *b, *d = NULL;
    rqc_err rc = rqc_get(r, RQC_HTTP, base, &b);
    if (rc == RQC_NOT_FOUND)
        return rqci_fail(&r->err, rc, "there is no request with the base's id");
    if (rc == RQC_OK && delta)
        rc = rqc_get(r, RQC_HTTP, delta, &d);
    if (rc == RQC_NOT_FOUND)
        return rqci_fail(&r->err, rc, "there is no request with the delta's id");
    if (rc != RQC_OK)
        return rc;
    const uint8_t *parent = d ? rqci_rec_id_field(d, RQC_HTTP_PARENT_HTTP_ID) : NULL;
    if (d && (!rqci_rec_bool(d, RQC_HTTP_IS_DELTA) || !parent || memcmp(parent, base, 16) != 0))
        return rqci_fail(&r->err, RQC_INVALID,
                         "the request given as delta is not a delta of this base");
    void *memory = ret_resolved->memory ? ret_resolved->memory : calloc(1, sizeof(rqci_resolving));
    if (!memory)
        return rqci_fail(&r->err, RQC_NO_MEMORY, "no memory for a resolved request");
    *ret_resolved = (rqc_resolved)RQC_RESOLVED_INIT;
    ret_resolved->memory = memory;
    rc = resolve(r->reader, b, d, ret_resolved);
    if (rc == RQC_OK)
        return RQC_OK;
    *ret_resolved = (rqc_resolved)RQC_RESOLVED_INIT;
    ret_resolved->memory = memory;
    return rqci_fail(&r->err, rc, "%s", rqci_err_text(rc));
}

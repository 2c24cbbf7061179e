// SPDX-License-Identifier: Apache-2.0
// The effective request: a base with at most one delta and all their children, at one position.
#include "api/engine.h"

#include <stdlib.h>
#include <string.h>

// The children that are merged: entities next to each other.
enum { FIRST = RQC_HTTP_HEADER, END = RQC_HTTP_ASSERT + 1, KINDS = END - FIRST };

// What an rqc_resolved is made in, kept from call to call. Lists by entity, less FIRST.
typedef struct rqci_resolving {
    rqci_list base[KINDS], delta[KINDS];
    rqci_items items[KINDS];
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
_Static_assert(sizeof kinds / sizeof *kinds + 1 == KINDS, "a list for each kind, and the body");

void rqc_resolved_free(rqc_resolved *m)
{
    if (!m)
        return;
    rqci_resolving *w = m->memory;
    if (w) {
        for (size_t i = 0; i < KINDS; i++) {
            rqci_list_free(&w->base[i]);
            rqci_list_free(&w->delta[i]);
            rqci_items_free(&w->items[i]);
        }
        free(w);
    }
    *m = (rqc_resolved)RQC_RESOLVED_INIT;
}

static void resolve_raw(const rqci_resolving *w, rqc_resolved *ret)
{
    const rqci_list *base = &w->base[RQC_HTTP_BODY_RAW - FIRST];
    const rqci_list *delta = &w->delta[RQC_HTTP_BODY_RAW - FIRST];
    rqci_body b;
    rqci_merge_body(base->n > 0 ? base->items[0] : NULL, delta->n > 0 ? delta->items[0] : NULL, &b);
    ret->raw.present = b.record != NULL;
    ret->raw.id = b.id;
    ret->raw.bytes = b.bytes;
    ret->raw.compression = b.compression;
    ret->raw.source = b.source;
    ret->raw.source_field = b.source_field;
    ret->raw.origin = b.origin;
}

static rqc_err resolve(rqci_reader *r, const rqc_record *base, const rqc_record *delta,
                       rqc_resolved *m)
{
    rqci_resolving *w = m->memory;
    const uint8_t *base_id = rqci_rec_id(base), *delta_id = delta ? rqci_rec_id(delta) : NULL;
    w->http_over[0] = delta;
    m->http = (rqc_item){base, delta ? w->http_over : NULL, delta != NULL,
                         delta ? RQC_ORIGIN_OVERRIDE : RQC_ORIGIN_BASE};
    for (size_t i = 0; i < KINDS; i++)
        w->base[i].n = w->delta[i].n = 0;
    rqc_err rc = rqci_children_of(r, base_id, FIRST, END, w->base);
    if (rc == RQC_OK && delta)
        rc = rqci_children_of(r, delta_id, FIRST, END, w->delta);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && rc == RQC_OK; i++) {
        const unsigned at = kinds[i].entity - FIRST;
        rqci_items *merged = &w->items[at];
        rc = rqci_merge_children(rqci_entity_of(kinds[i].entity), &w->base[at], &w->delta[at],
                                 merged);
        *(rqc_items *)(void *)((char *)m + kinds[i].offset) = (rqc_items){merged->items, merged->n};
    }
    if (rc == RQC_OK)
        resolve_raw(w, m);
    return rc;
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

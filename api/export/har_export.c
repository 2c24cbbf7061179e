// SPDX-License-Identifier: Apache-2.0
#include "api/export/har_export.h"

#include "api/export/har_row.h"
#include "base/version.h"

#include <stdlib.h>
#include <string.h>

#define BATCH 256u

// ---- Children -----------------------------------------------------------------------------------

static const uint8_t *owner_of(const rqc_record *r)
{
    static const uint8_t none[16];
    const rqc_value v = rqc_field(r, rqci_entities[rqc_record_entity(r)].owner);
    return v.type == RQC_ID ? v.p : none;
}

static int by_order(const void *a, const void *b)
{
    const rqc_record *p = *(const rqc_record *const *)a, *q = *(const rqc_record *const *)b;
    const int owner = memcmp(owner_of(p), owner_of(q), 16);
    const int field = rqci_entities[rqc_record_entity(p)].order;
    if (owner != 0 || field < 0)
        return owner ? owner : memcmp(rqc_record_id(p), rqc_record_id(q), 16);
    const rqc_value x = rqc_field(p, field), y = rqc_field(q, field);
    const double dx = x.type == RQC_REAL ? x.u.d : 0, dy = y.type == RQC_REAL ? y.u.d : 0;
    return dx < dy ? -1 : dx > dy ? 1 : memcmp(rqc_record_id(p), rqc_record_id(q), 16);
}

// The newest first: it becomes the entry's.
static int by_age(const void *a, const void *b)
{
    const rqc_record *p = *(const rqc_record *const *)a, *q = *(const rqc_record *const *)b;
    const int owner = memcmp(owner_of(p), owner_of(q), 16);
    const int64_t x = rqci_int_of(p, RQC_HTTP_RESPONSE_CREATED_AT, 0);
    const int64_t y = rqci_int_of(q, RQC_HTTP_RESPONSE_CREATED_AT, 0);
    if (owner != 0)
        return owner;
    return x > y ? -1 : x < y ? 1 : memcmp(rqc_record_id(q), rqc_record_id(p), 16);
}

static rqc_err read_kids(rqci_export *x, rqci_export_kids *kids, rqc_entity entity,
                         const uint8_t (*ids)[16], size_t n)
{
    kids->entity = entity;
    const rqc_err rc = rqc_children(x->read, entity, ids, n, RQC_ANY_TIME, 1, &kids->list);
    if (rc == RQC_OK && kids->list.n > 1)
        qsort(kids->list.items, kids->list.n, sizeof *kids->list.items,
              entity == RQC_HTTP_RESPONSE ? by_age : by_order);
    return rc;
}

size_t rqci_kids_of(const rqci_export_kids *kids, const uint8_t owner[16],
                    const rqc_record *const **ret_first)
{
    size_t low = 0, high = kids->list.n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (memcmp(owner_of(kids->list.items[middle]), owner, 16) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    size_t n = 0;
    while (low + n < kids->list.n && memcmp(owner_of(kids->list.items[low + n]), owner, 16) == 0)
        n++;
    *ret_first = n > 0 ? (const rqc_record *const *)kids->list.items + low : NULL;
    return n;
}

// How many children of an entity that HAR cannot carry there are.
static rqc_err count_kids(rqci_export *x, rqc_entity entity, const uint8_t (*ids)[16], size_t n,
                          uint64_t *count)
{
    rqc_list list = RQC_LIST_INIT;
    const rqc_err rc = rqc_children(x->read, entity, ids, n, RQC_ANY_TIME, 1, &list);
    if (rc == RQC_OK)
        *count += list.n;
    rqc_list_free(&list);
    return rc;
}

static rqc_err read_responses(rqci_export *x)
{
    const size_t n = x->responses.list.n;
    uint8_t(*ids)[16] = calloc(n ? n : 1, sizeof *ids);
    if (!ids)
        return RQC_NO_MEMORY;
    for (size_t i = 0; i < n; i++)
        memcpy(ids[i], rqc_record_id(x->responses.list.items[i]), 16);
    const uint8_t(*all)[16] = (const uint8_t(*)[16])ids;
    rqc_err rc = read_kids(x, &x->response_headers, RQC_HTTP_RESPONSE_HEADER, all, n);
    if (rc == RQC_OK)
        rc = count_kids(x, RQC_HTTP_RESPONSE_ASSERT, all, n, &x->counts.response_asserts);
    free(ids);
    return rc;
}

static rqc_err read_batch(rqci_export *x, const uint8_t (*ids)[16], size_t n)
{
    rqc_err rc = read_kids(x, &x->headers, RQC_HTTP_HEADER, ids, n);
    if (rc == RQC_OK)
        rc = read_kids(x, &x->params, RQC_HTTP_SEARCH_PARAM, ids, n);
    if (rc == RQC_OK)
        rc = read_kids(x, &x->form, RQC_HTTP_BODY_FORM, ids, n);
    if (rc == RQC_OK)
        rc = read_kids(x, &x->urlencoded, RQC_HTTP_BODY_URLENCODED, ids, n);
    if (rc == RQC_OK)
        rc = read_kids(x, &x->raw, RQC_HTTP_BODY_RAW, ids, n);
    if (rc == RQC_OK)
        rc = read_kids(x, &x->responses, RQC_HTTP_RESPONSE, ids, n);
    if (rc == RQC_OK)
        rc = read_responses(x);
    if (rc == RQC_OK)
        rc = count_kids(x, RQC_HTTP_ASSERT, ids, n, &x->counts.asserts);
    return rc == RQC_OK ? count_kids(x, RQC_HTTP_VERSION, ids, n, &x->counts.versions) : rc;
}

// ---- The file -----------------------------------------------------------------------------------

static rqc_err flush(rqci_export *x)
{
    if (x->failed != RQC_OK)
        return x->failed;
    const rqc_err rc = x->sink->write(x->sink->ctx, x->out.data, x->out.len);
    x->out.len = 0;
    return rc;
}

static void begin(rqci_export *x, const uint8_t workspace[16])
{
    const rqc_record *record;
    rqci_put_open(x, '{');
    rqci_put_key(x, "log");
    rqci_put_open(x, '{');
    rqci_put_key(x, "version");
    rqci_put_literal(x, "1.2");
    rqci_put_key(x, "creator");
    rqci_put_open(x, '{');
    rqci_put_key(x, "name");
    rqci_put_literal(x, "reqcast");
    rqci_put_key(x, "version");
    rqci_put_literal(x, rqci_version());
    rqci_put_close(x, '}');
    rqci_put_key(x, "_reqcast");
    rqci_put_open(x, '{');
    rqci_put_key(x, "workspace");
    rqci_put_open(x, '{');
    rqci_put_key(x, "id");
    rqci_put_id(x, workspace);
    const rqc_err rc = rqc_get(x->read, RQC_WORKSPACES, workspace, &record);
    if (rc == RQC_OK) {
        rqci_put_key(x, "name");
        rqci_put_field(x, record, RQC_WORKSPACES_NAME);
    } else if (rc != RQC_NOT_FOUND && x->failed == RQC_OK) {
        x->failed = rc;
    }
    rqci_put_close(x, '}');
    rqci_put_close(x, '}');
    rqci_put_key(x, "entries");
    rqci_put_open(x, '[');
}

static rqc_err put_batch(rqci_export *x, const rqc_list *list, uint64_t total)
{
    uint8_t ids[BATCH][16];
    size_t n = 0;
    for (size_t i = 0; i < list->n; i++)
        if (rqci_int_of(list->items[i], RQC_HTTP_IS_DELTA, 0))
            x->counts.deltas++;
        else
            memcpy(ids[n++], rqc_record_id(list->items[i]), 16);
    rqc_err rc = read_batch(x, (const uint8_t(*)[16])ids, n);
    for (size_t i = 0; i < list->n && rc == RQC_OK; i++) {
        if (rqci_int_of(list->items[i], RQC_HTTP_IS_DELTA, 0))
            continue;
        if (!x->sink->one_line && x->failed == RQC_OK && x->counts.requests > 0) {
            x->failed = rqci_buf_add(&x->out, ",\n", 2);
            x->comma = false;
        }
        rqci_put_entry(x, list->items[i]);
        rc = flush(x);
        if (x->sink->progress)
            x->sink->progress(x->sink->ctx, x->counts.requests, total);
    }
    return rc;
}

static rqc_err put_all(rqci_export *x, const uint8_t workspace[16], rqc_list *list)
{
    rqc_metrics metrics;
    rqc_page_cursor cursor = RQC_PAGE_CURSOR_INIT;
    rqc_err rc = rqc_metrics_read(x->read, workspace, 0, &metrics);
    if (rc != RQC_OK)
        return rc;
    begin(x, workspace);
    while (rc == RQC_OK && cursor.state != 2) {
        rc = rqc_updates(x->read, workspace, INT64_MIN, RQC_ANY_TIME, NULL, BATCH, &cursor, list);
        if (rc == RQC_OK)
            rc = put_batch(x, list, metrics.total - metrics.delta);
    }
    x->counts.snapshots = metrics.total - x->counts.requests - x->counts.deltas;
    rqci_put_close(x, ']');
    rqci_put_close(x, '}');
    rqci_put_close(x, '}');
    if (x->failed == RQC_OK)
        x->failed = rqci_buf_add(&x->out, "\n", 1);
    if (rc == RQC_OK && x->sink->progress)
        x->sink->progress(x->sink->ctx, 1, 1);
    return rc == RQC_OK ? flush(x) : rc;
}

rqc_err rqci_har_export(rqc_read *r, const uint8_t workspace[16], const rqci_har_sink *sink,
                        rqci_har_counts *ret_counts, rqci_errbuf *err)
{
    rqci_export x = {.read = r, .sink = sink, .err = err};
    rqc_list list = RQC_LIST_INIT;
    const rqc_err rc = put_all(&x, workspace, &list);
    if (rc == RQC_OK)
        *ret_counts = x.counts;
    else if (err && !*err->text)
        rqci_fail(err, rc, "%s", rqc_read_error(r));
    rqc_list_free(&list);
    rqci_export_kids *kids[] = {&x.headers,   &x.params,          &x.form, &x.urlencoded, &x.raw,
                                &x.responses, &x.response_headers};
    for (size_t i = 0; i < sizeof kids / sizeof *kids; i++)
        rqc_list_free(&kids[i]->list);
    rqci_buf_free(&x.out);
    rqci_buf_free(&x.clean);
    return rc;
}

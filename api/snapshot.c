// SPDX-License-Identifier: Apache-2.0
// The snapshot of a run: a resolved request with its children and the response, frozen under an id
// that its version shares.
#include "api/txn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct snapshot {
    rqc_txn *txn;
    rqc_read *read;
    const rqc_run *run;
    uint8_t id[16];
    int64_t at;
    void *large[RQC_FIELD_MAX]; // values of the row that is being made, fetched from SQLite
    size_t nlarge;
} snapshot;

static rqc_err put(snapshot *s, uint8_t entity, const uint8_t id[16], const rqc_value *row)
{
    const rqc_err rc = rqc_put(s->txn, (rqc_entity)entity, id, row);
    while (s->nlarge > 0)
        free(s->large[--s->nlarge]);
    return rc;
}

static rqc_err fetch(snapshot *s, const rqc_record *record, int field, rqc_value *v)
{
    void *bytes;
    size_t n;
    const bool text = rqci_entity_of(rqc_record_entity(record))->fields[field].type == RQCI_T_TEXT;
    const rqc_err rc = rqc_large(s->read, record, field, &bytes, &n);
    if (rc != RQC_OK)
        return rqci_fail(&s->txn->err, rc, "%s", rqc_read_error(s->read));
    s->large[s->nlarge++] = bytes;
    if (n > UINT32_MAX)
        return rqci_fail(&s->txn->err, RQC_TOO_LARGE, "a value of %zu bytes", n);
    *v = text ? rqc_textn(bytes, (uint32_t)n) : rqc_bytes(bytes, (uint32_t)n);
    return RQC_OK;
}

// A field of an item as a value to be stored. A large one lies in the record that it comes from.
static rqc_err take(snapshot *s, const rqc_item *item, int field, rqc_value *ret)
{
    *ret = rqc_item_field(item, field);
    if (ret->type != RQC_LARGE)
        return RQC_OK;
    const rqci_field_place at = rqci_item_place(item, field);
    return fetch(s, at.record, at.field, ret);
}

// Everything but key, owner, parent, override columns and times.
static rqc_err copy_item(snapshot *s, const rqci_entity *e, const rqc_item *item, rqc_value *row)
{
    rqc_err rc = RQC_OK;
    for (int i = 1; i < e->nfields && rc == RQC_OK; i++) {
        const rqci_role role = e->fields[i].role;
        if (e->fields[i].partner < 0 && (role == RQCI_R_PLAIN || role == RQCI_R_ENABLED))
            rc = take(s, item, i, &row[i]);
        else if (role == RQCI_R_CREATED || role == RQCI_R_UPDATED)
            row[i] = rqc_int(s->at);
    }
    return rc;
}

static rqc_err put_request(snapshot *s, const rqc_item *http)
{
    rqc_value row[RQC_FIELD_MAX] = {{0}};
    rqc_err rc = copy_item(s, rqci_entity_of(RQC_HTTP), http, row);
    row[RQC_HTTP_WORKSPACE_ID] = rqc_field(http->record, RQC_HTTP_WORKSPACE_ID);
    row[RQC_HTTP_FOLDER_ID] = row[RQC_HTTP_CONTENT_HASH] = row[RQC_HTTP_LAST_RUN_AT] = rqc_null();
    row[RQC_HTTP_IS_SNAPSHOT] = rqc_bool(1);
    return rc == RQC_OK ? put(s, RQC_HTTP, s->id, row) : rc;
}

// In their effective order, which is made to be that of their display_order.
static rqc_err put_children(snapshot *s, uint8_t entity, const rqc_items *list)
{
    const rqci_entity *e = rqci_entity_of(entity);
    rqc_err rc = RQC_OK;
    for (size_t i = 0; i < list->n && rc == RQC_OK; i++) {
        rqc_value row[RQC_FIELD_MAX] = {{0}};
        uint8_t id[16];
        rc = rqc_id_new(id);
        if (rc == RQC_OK)
            rc = copy_item(s, e, &list->items[i], row);
        row[e->owner] = rqc_id(s->id);
        row[e->order] = rqc_real((double)i + 1);
        if (rc == RQC_OK)
            rc = put(s, entity, id, row);
    }
    return rc;
}

static rqc_err put_body(snapshot *s, const rqc_resolved *m)
{
    rqc_value row[RQC_HTTP_BODY_RAW_NFIELDS] = {{0}};
    uint8_t id[16];
    if (!m->raw.present)
        return RQC_OK;
    rqc_err rc = rqc_id_new(id);
    row[RQC_HTTP_BODY_RAW_HTTP_ID] = rqc_id(s->id);
    row[RQC_HTTP_BODY_RAW_RAW_DATA] = m->raw.bytes;
    row[RQC_HTTP_BODY_RAW_COMPRESSION_TYPE] = rqc_int(m->raw.compression);
    row[RQC_HTTP_BODY_RAW_CREATED_AT] = row[RQC_HTTP_BODY_RAW_UPDATED_AT] = rqc_int(s->at);
    if (rc == RQC_OK && m->raw.bytes.type == RQC_LARGE)
        rc = fetch(s, m->raw.source, m->raw.source_field, &row[RQC_HTTP_BODY_RAW_RAW_DATA]);
    return rc == RQC_OK ? put(s, RQC_HTTP_BODY_RAW, id, row) : rc;
}

static rqc_err put_version(snapshot *s, const uint8_t request[16])
{
    char name[32];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(name, sizeof name, "v%lld%09ld", (long long)now.tv_sec, now.tv_nsec);
    rqc_value row[RQC_HTTP_VERSION_NFIELDS] = {{0}};
    row[RQC_HTTP_VERSION_HTTP_ID] = rqc_id(request);
    row[RQC_HTTP_VERSION_VERSION_NAME] =
        rqc_text(s->run->version_name ? s->run->version_name : name);
    if (s->run->description)
        row[RQC_HTTP_VERSION_VERSION_DESCRIPTION] = rqc_text(s->run->description);
    row[RQC_HTTP_VERSION_IS_ACTIVE] = rqc_bool(1);
    row[RQC_HTTP_VERSION_CREATED_AT] = rqc_int(s->at);
    if (s->run->created_by)
        row[RQC_HTTP_VERSION_CREATED_BY] = rqc_id(s->run->created_by);
    return put(s, RQC_HTTP_VERSION, s->id, row);
}

// A row that the caller gave, with its owner, under a new id.
static rqc_err put_given(snapshot *s, uint8_t entity, const rqc_value *given,
                         const uint8_t owner[16], uint8_t ret_id[16])
{
    const rqci_entity *e = rqci_entity_of(entity);
    rqc_value row[RQC_FIELD_MAX];
    memcpy(row, given, e->nfields * sizeof *row);
    row[e->owner] = rqc_id(owner);
    if (row[e->created].type == RQC_ABSENT)
        row[e->created] = rqc_int(s->at);
    const rqc_err rc = rqc_id_new(ret_id);
    return rc == RQC_OK ? put(s, entity, ret_id, row) : rc;
}

static rqc_err put_response(snapshot *s)
{
    uint8_t response[16], id[16];
    const rqc_run *run = s->run;
    if (!run->response)
        return run->nheaders + run->nasserts == 0
                   ? RQC_OK
                   : rqci_fail(&s->txn->err, RQC_INVALID, "no response to hang its rows on");
    rqc_err rc = put_given(s, RQC_HTTP_RESPONSE, run->response, s->id, response);
    for (size_t i = 0; i < run->nheaders && rc == RQC_OK; i++)
        rc = put_given(s, RQC_HTTP_RESPONSE_HEADER, run->headers[i], response, id);
    for (size_t i = 0; i < run->nasserts && rc == RQC_OK; i++)
        rc = put_given(s, RQC_HTTP_RESPONSE_ASSERT, run->asserts[i], response, id);
    return rc;
}

static rqc_err put_all(snapshot *s, const uint8_t request[16], const rqc_resolved *m)
{
    const struct {
        uint8_t entity;
        const rqc_items *list;
    } kinds[] = {
        {RQC_HTTP_HEADER, &m->headers}, {RQC_HTTP_SEARCH_PARAM, &m->params},
        {RQC_HTTP_BODY_FORM, &m->form}, {RQC_HTTP_BODY_URLENCODED, &m->urlencoded},
        {RQC_HTTP_ASSERT, &m->asserts},
    };
    rqc_err rc = put_request(s, &m->http);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && rc == RQC_OK; i++)
        rc = put_children(s, kinds[i].entity, kinds[i].list);
    if (rc == RQC_OK)
        rc = put_body(s, m);
    if (rc == RQC_OK)
        rc = put_version(s, request);
    return rc == RQC_OK ? put_response(s) : rc;
}

static rqc_err run_of(rqc_txn *t, const rqc_run *given, rqc_run *ret)
{
    *ret = (rqc_run)RQC_RUN_INIT;
    if (!given)
        return RQC_OK;
    if (given->size < sizeof given->size || given->size > 4096)
        return rqci_fail(&t->err, RQC_INVALID, "rqc_run begins as RQC_RUN_INIT");
    memcpy(ret, given, given->size < sizeof *ret ? given->size : sizeof *ret);
    if ((ret->nheaders > 0 && !ret->headers) || (ret->nasserts > 0 && !ret->asserts))
        return rqci_fail(&t->err, RQC_INVALID, "rqc_run counts rows that are not there");
    return RQC_OK;
}

rqc_err rqc_snapshot(rqc_txn *t, rqc_read *r, const uint8_t base[16], const uint8_t *delta,
                     const rqc_run *run, uint8_t ret_version[16])
{
    rqc_resolved m = RQC_RESOLVED_INIT;
    rqc_run given;
    snapshot s = {.txn = t, .read = r, .run = &given};
    if (rqci_txn_mine(t) != RQC_OK)
        return RQC_INVALID;
    rqc_err rc = run_of(t, run, &given);
    if (rc == RQC_OK && (!r || !base || r->db != t->db))
        rc = rqci_fail(&t->err, RQC_INVALID, "no request, or no session of the same handle");
    if (rc != RQC_OK)
        return rc;
    rc = rqc_resolve(r, base, delta, &m);
    if (rc != RQC_OK) {
        rqc_resolved_free(&m);
        return rqci_fail(&t->err, rc, "%s", rqc_read_error(r));
    }
    const size_t before = t->n;
    s.at = given.at != 0 ? given.at : (int64_t)time(NULL);
    rc = rqc_id_new(s.id);
    if (rc == RQC_OK)
        rc = put_all(&s, delta ? delta : base, &m);
    while (s.nlarge > 0)
        free(s.large[--s.nlarge]);
    rqc_resolved_free(&m);
    if (rc == RQC_OK)
        memcpy(ret_version, s.id, 16);
    else
        t->n = before; // their memory goes with the transaction
    return rc;
}

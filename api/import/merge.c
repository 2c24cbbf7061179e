// SPDX-License-Identifier: Apache-2.0
#include "api/import/merge.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "record/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COPIES_MAX 1000u

// `there`: a record of this id, `differs`: from the file, `moved`: it belongs to another owner.
typedef struct rqci_merge_row {
    rqc_entity entity;
    uint8_t id[16];
    rqc_value *row; // owned, with all it points to
    bool there, differs, moved;
} rqci_merge_row;

static rqc_err failed(rqci_merge *m, rqc_err rc, const char *text)
{
    snprintf(m->error, sizeof m->error, "%s", text && *text ? text : rqc_err_text(rc));
    return rc;
}

// With room for every field that an entity may have.
static rqc_value *copy_of(const rqc_value *row, int nfields)
{
    const size_t fixed = RQC_FIELD_MAX * sizeof *row;
    rqc_value *out = calloc(1, fixed + rqci_row_bytes(row, nfields));
    if (out)
        rqci_row_copy(out, (char *)out + fixed, row, nfields);
    return out;
}

static void clear(rqci_merge *m)
{
    for (size_t i = 0; i < m->n; i++)
        free(m->rows[i].row);
    m->n = 0;
}

void rqci_merge_free(rqci_merge *m)
{
    clear(m);
    free(m->rows);
    m->rows = NULL;
    m->cap = 0;
}

// ---- What is there ------------------------------------------------------------------------------

static bool same(const rqc_value *given, const rqc_value *stored)
{
    if (stored->type == RQC_LARGE && rqci_has_bytes(given)) {
        uint8_t hash[16];
        if (given->n != stored->u.length)
            return false;
        rqci_xxh128_bytes(given->p, given->n, hash);
        return memcmp(hash, stored->p, 16) == 0;
    }
    if (rqci_has_bytes(given))
        return stored->type == given->type && stored->n == given->n &&
               (given->n == 0 || memcmp(stored->p, given->p, given->n) == 0);
    if (given->type == RQC_REAL)
        return stored->type == RQC_REAL && !(stored->u.d < given->u.d) &&
               !(stored->u.d > given->u.d);
    if (given->type == RQC_INT || given->type == RQC_BOOL)
        return (stored->type == RQC_INT || stored->type == RQC_BOOL) && stored->u.i == given->u.i;
    return given->type == stored->type;
}

// Times do not count: where a file has none they are those of the import.
static bool compared(const rqci_entity *e, int field)
{
    return field > 0 && field != e->created && field != e->updated &&
           !(e->code == RQC_HTTP_RESPONSE && field == RQC_HTTP_RESPONSE_TIME);
}

static rqc_err get(rqci_merge *m, const rqci_merge_row *r, const rqc_record **ret)
{
    rqc_err rc = rqc_get(m->read, r->entity, r->id, ret);
    if (rc == RQC_EXPIRED) {
        rqc_read_end(m->read);
        rc = rqc_read_begin(m->read);
        if (rc == RQC_OK)
            rc = rqc_get(m->read, r->entity, r->id, ret);
    }
    return rc;
}

static rqc_err look(rqci_merge *m, rqci_merge_row *r)
{
    const rqci_entity *e = &rqci_entities[r->entity];
    const rqc_record *record;
    const rqc_err rc = get(m, r, &record);
    r->there = r->differs = r->moved = false;
    if (rc == RQC_NOT_FOUND)
        return RQC_OK;
    if (rc != RQC_OK)
        return failed(m, rc, rqc_read_error(m->read));
    r->there = true;
    for (int i = 0; i < e->nfields; i++) {
        if (r->row[i].type == RQC_ABSENT || !compared(e, i))
            continue;
        const rqc_value stored = rqc_field(record, i);
        if (same(&r->row[i], &stored))
            continue;
        r->differs = true;
        r->moved = r->moved || i == e->owner;
    }
    return RQC_OK;
}

static rqc_err look_all(rqci_merge *m, size_t *ret_differ)
{
    *ret_differ = 0;
    for (size_t i = 0; i < m->n; i++) {
        const rqc_err rc = look(m, &m->rows[i]);
        if (rc != RQC_OK)
            return rc;
        *ret_differ += m->rows[i].differs;
    }
    return RQC_OK;
}

// ---- Copies -------------------------------------------------------------------------------------

// The last bytes stay, because siblings are sorted by them.
static void copy_id(const uint8_t id[16], uint32_t copy, uint8_t ret_id[16])
{
    uint8_t in[17], hash[16];
    memcpy(in, id, 13);
    rqci_put32(in + 13, copy);
    rqci_xxh128_bytes(in, sizeof in, hash);
    memcpy(ret_id, id, 16);
    memcpy(ret_id + 6, hash, 7);
}

static int name_field(rqc_entity entity)
{
    return entity == RQC_HTTP ? RQC_HTTP_NAME : entity == RQC_FILES ? RQC_FILES_NAME : -1;
}

// Is it the id of a row of this request? Siblings ask for the same owner, which *owner remembers.
static bool of_group(const rqci_merge *m, const uint8_t id[16], size_t *owner)
{
    if (memcmp(m->rows[*owner].id, id, 16) == 0)
        return true;
    for (size_t i = 0; i < m->n; i++)
        if (memcmp(m->rows[i].id, id, 16) == 0) {
            *owner = i;
            return true;
        }
    return false;
}

// One row of the file as the copy's; its name says that it is one.
static rqc_err copy_row(const rqci_merge *m, const rqci_merge_row *from, uint32_t copy,
                        size_t *owner, rqci_merge_row *to)
{
    const rqci_entity *e = &rqci_entities[from->entity];
    uint8_t ids[RQC_FIELD_MAX][16];
    rqc_value row[RQC_FIELD_MAX] = {0};
    char suffix[32], *name = NULL;
    memcpy(row, from->row, e->nfields * sizeof *row);
    for (int i = 1; i < e->nfields; i++) {
        if (row[i].type != RQC_ID || !of_group(m, row[i].p, owner))
            continue;
        copy_id(row[i].p, copy, ids[i]);
        row[i] = rqc_id(ids[i]);
    }
    const int field = name_field(from->entity);
    if (field >= 0) {
        const int n = copy == 1 ? snprintf(suffix, sizeof suffix, " (copy)")
                                : snprintf(suffix, sizeof suffix, " (copy %u)", copy);
        name = malloc(row[field].n + (size_t)n);
        if (!name)
            return RQC_NO_MEMORY;
        memcpy(name, row[field].p, row[field].n);
        memcpy(name + row[field].n, suffix, (size_t)n);
        row[field] = rqc_textn(name, row[field].n + (uint32_t)n);
    }
    *to = (rqci_merge_row){.entity = from->entity, .row = copy_of(row, e->nfields)};
    copy_id(from->id, copy, to->id);
    free(name);
    return to->row ? RQC_OK : RQC_NO_MEMORY;
}

// The rows of the group as those of the copy-th copy. The group must be freed by the caller.
static rqc_err copy_group(const rqci_merge *m, uint32_t copy, rqci_merge *ret)
{
    *ret = *m;
    ret->n = 0;
    ret->cap = m->n;
    ret->rows = calloc(m->n, sizeof *ret->rows);
    if (!ret->rows)
        return RQC_NO_MEMORY;
    rqc_err rc = RQC_OK;
    size_t owner = 0;
    while (ret->n < m->n && rc == RQC_OK) {
        rc = copy_row(m, &m->rows[ret->n], copy, &owner, &ret->rows[ret->n]);
        ret->n += rc == RQC_OK;
    }
    return rc;
}

// ---- The transaction ----------------------------------------------------------------------------

// What the file is told to overwrite: its own fields, but never to whom the record belongs.
static rqc_err replace(rqci_merge *m, const rqci_merge_row *r)
{
    const rqci_entity *e = &rqci_entities[r->entity];
    rqc_value row[RQC_FIELD_MAX] = {0};
    for (int i = 1; i < e->nfields; i++)
        if (compared(e, i) && i != e->owner)
            row[i] = r->row[i];
    const rqc_err rc = rqc_patch(m->txn, r->entity, r->id, row, 0);
    m->given += rc == RQC_OK;
    return rc;
}

static rqc_err note_added(rqci_merge *m, const rqci_merge_row *r)
{
    const uint8_t entity = (uint8_t)r->entity;
    const rqc_err rc = rqci_buf_add(m->added, &entity, 1);
    return rc == RQC_OK ? rqci_buf_add(m->added, r->id, 16) : rc;
}

static rqc_err write_row(rqci_merge *m, const rqci_merge_row *r)
{
    rqc_err rc;
    if (r->differs && !r->moved && m->how == RQCI_EDITED_REPLACE) {
        rc = replace(m, r);
    } else {
        rc = rqc_add(m->txn, r->entity, r->id, r->row);
        m->given += rc == RQC_OK;
        m->there += rc == RQC_OK && r->there;
        if (rc == RQC_OK && !r->there && m->added)
            rc = note_added(m, r);
        if (rc == RQC_NO_MEMORY)
            return failed(m, rc, "");
    }
    return rc == RQC_OK ? rc : failed(m, rc, rqc_txn_error(m->txn));
}

static rqc_err write_all(rqci_merge *m)
{
    for (size_t i = 0; i < m->n; i++) {
        const rqc_err rc = write_row(m, &m->rows[i]);
        if (rc != RQC_OK)
            return rc;
    }
    return RQC_OK;
}

static void say(rqci_merge *m, size_t differ, const char *what)
{
    char text[1024];
    const rqci_merge_row *r = &m->rows[0];
    const rqc_value none = rqc_text("");
    const int field = name_field(r->entity);
    const rqc_value *name = field < 0 ? &none : &r->row[field];
    const rqc_value *url = r->entity == RQC_HTTP ? &r->row[RQC_HTTP_URL] : &none;
    char list[200] = "";
    size_t used = 0;
    unsigned seen = 0;
    for (size_t i = 0; i < m->n; i++) {
        if (!m->rows[i].differs || (seen >> m->rows[i].entity & 1))
            continue;
        seen |= 1u << m->rows[i].entity;
        const int n = snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "",
                               rqc_entity_name(m->rows[i].entity));
        used += n > 0 && (size_t)n < sizeof list - used ? (size_t)n : 0;
    }
    snprintf(text, sizeof text, "%.*s%s%.*s%s: %zu %s (%s): %s", name->n > 120 ? 120 : (int)name->n,
             (const char *)name->p, url->n ? " (" : "", url->n > 200 ? 200 : (int)url->n,
             (const char *)url->p, url->n ? ")" : "", differ,
             differ == 1 ? "record differs from the file" : "records differ from the file", list,
             what);
    if (m->say)
        m->say(m->ctx, text);
}

// Stores the file's request beside the one that differs: under the first ids that are free, or
// where it is already.
static rqc_err store_copy(rqci_merge *m, size_t differ)
{
    for (uint32_t copy = 1; copy <= COPIES_MAX; copy++) {
        rqci_merge other;
        size_t edited = 0;
        rqc_err rc = copy_group(m, copy, &other);
        if (rc == RQC_OK)
            rc = look_all(&other, &edited);
        if (rc == RQC_OK && edited == 0)
            rc = write_all(&other);
        m->given = other.given;
        m->there = other.there;
        const bool done = rc != RQC_OK || edited == 0;
        if (rc != RQC_OK)
            snprintf(m->error, sizeof m->error, "%s", other.error);
        if (rc == RQC_OK && edited == 0)
            say(m, differ, other.rows[0].there ? "its copy is there" : "stored again as a copy");
        rqci_merge_free(&other);
        if (done)
            return rc;
    }
    say(m, differ, "kept, because there are too many copies");
    return RQC_OK;
}

static rqc_err flush(rqci_merge *m)
{
    size_t differ = 0;
    if (m->n == 0)
        return RQC_OK;
    rqc_err rc = look_all(m, &differ);
    const rqci_merge_row *first = &m->rows[0];
    m->edited += differ;
    if (rc == RQC_OK && first->moved) {
        // What hangs on it would land in the other workspace.
        m->there += m->n;
        m->given += m->n;
        say(m, differ, "it was moved to another workspace; kept");
        clear(m);
        return RQC_OK;
    }
    if (rc == RQC_OK && differ > 0 && m->how == RQCI_EDITED_COPY && first->entity == RQC_HTTP) {
        rc = store_copy(m, differ);
    } else if (rc == RQC_OK) {
        if (differ > 0)
            say(m, differ, m->how == RQCI_EDITED_REPLACE ? "replaced" : "kept");
        rc = write_all(m);
    }
    clear(m);
    return rc;
}

rqc_err rqci_merge_add(void *ctx, rqc_entity entity, const uint8_t id[16], const rqc_value *row)
{
    rqci_merge *m = ctx;
    // A request's file hangs on it, a folder stands alone.
    const bool begins = entity == RQC_HTTP || entity == RQC_WORKSPACES ||
                        (entity == RQC_FILES && row[RQC_FILES_CONTENT_ID].type != RQC_ID);
    if (begins) {
        const rqc_err rc = flush(m);
        if (rc != RQC_OK)
            return rc;
    }
    if (m->n == m->cap) {
        const size_t cap = m->cap ? m->cap * 2 : 64;
        rqci_merge_row *rows = realloc(m->rows, cap * sizeof *rows);
        if (!rows)
            return RQC_NO_MEMORY;
        m->rows = rows;
        m->cap = cap;
    }
    rqci_merge_row r = {.entity = entity, .row = copy_of(row, rqci_entities[entity].nfields)};
    if (!r.row)
        return RQC_NO_MEMORY;
    memcpy(r.id, id, 16);
    m->rows[m->n++] = r;
    return RQC_OK;
}

rqc_err rqci_merge_end(rqci_merge *m)
{
    return flush(m);
}

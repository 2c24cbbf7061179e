// SPDX-License-Identifier: Apache-2.0
// What a put or a patch may store.
#include "base/utf8.h"
#include "record/schema.h"

#include <math.h>
#include <string.h>

static const char *const type_names[] = {
    [RQCI_T_ID] = "an id",
    [RQCI_T_TEXT] = "a text",
    [RQCI_T_BYTES] = "bytes",
    [RQCI_T_INT] = "an integer",
    [RQCI_T_BOOL] = "true or false",
    [RQCI_T_REAL] = "a number",
    [RQCI_T_ANY] = "an integer, a number, a text or bytes",
};

static rqc_err wrong(const rqci_entity *e, int field, const char *what, rqci_errbuf *err)
{
    return rqci_fail(err, RQC_INVALID, "%s.%s: %s", e->table, e->fields[field].name, what);
}

static rqc_err check_text(const rqci_entity *e, int field, const rqc_value *v, rqci_errbuf *err)
{
    if (v->n > 0 && !v->p)
        return wrong(e, field, "a length without bytes", err);
    if (v->type != RQC_TEXT || v->n == 0)
        return RQC_OK;
    if (memchr(v->p, 0, v->n))
        return wrong(e, field, "text with a zero byte", err);
    const size_t good = rqci_utf8_span(v->p, v->n);
    if (good < v->n)
        return rqci_fail(err, RQC_INVALID, "%s.%s: not UTF-8 at byte %zu", e->table,
                         e->fields[field].name, good);
    return RQC_OK;
}

static bool convert(rqci_ftype type, rqc_value *v)
{
    if (type == RQCI_T_BOOL && v->type == RQC_INT && (v->u.i == 0 || v->u.i == 1))
        v->type = RQC_BOOL;
    else if (type == RQCI_T_REAL && v->type == RQC_INT)
        *v = (rqc_value){.type = RQC_REAL, .u.d = (double)v->u.i};
    switch (type) {
    case RQCI_T_ID: return v->type == RQC_ID && v->p && v->n == 16;
    case RQCI_T_TEXT: return v->type == RQC_TEXT;
    case RQCI_T_BYTES: return v->type == RQC_BYTES;
    case RQCI_T_INT: return v->type == RQC_INT;
    case RQCI_T_BOOL: return v->type == RQC_BOOL && (v->u.i == 0 || v->u.i == 1);
    case RQCI_T_REAL: return v->type == RQC_REAL;
    case RQCI_T_ANY:
        return v->type == RQC_INT || v->type == RQC_REAL || v->type == RQC_TEXT ||
               v->type == RQC_BYTES;
    }
    return false;
}

static rqc_err check_value(const rqci_entity *e, int field, rqc_value *v, bool patch,
                           rqci_errbuf *err)
{
    const rqci_field *f = &e->fields[field];
    if (v->type == RQC_ABSENT) {
        if (!patch && !f->null && f->def == RQCI_D_NONE)
            return wrong(e, field, "is required", err);
        return RQC_OK;
    }
    if (v->type == RQC_NULL)
        return f->null ? RQC_OK : wrong(e, field, "may not be null", err);
    if (!convert(f->type, v))
        return rqci_fail(err, RQC_INVALID, "%s.%s: not %s", e->table, f->name, type_names[f->type]);
    if (v->type == RQC_REAL && isnan(v->u.d))
        return wrong(e, field, "not a number", err);
    if (v->type == RQC_TEXT || v->type == RQC_BYTES)
        return check_text(e, field, v, err);
    return RQC_OK;
}

static bool is_true(const rqc_value *row, int field)
{
    return field >= 0 && row[field].type == RQC_BOOL && row[field].u.i != 0;
}

// CHECK constraints of the tables. Parameters and form fields have none about parents.
static rqc_err check_rules(const rqci_entity *e, const rqc_value *row, bool patch, rqci_errbuf *err)
{
    const bool needs_parent =
        e->parent >= 0 && e->code != RQCI_HTTP_SEARCH_PARAM && e->code != RQCI_HTTP_BODY_FORM;
    if (needs_parent && is_true(row, e->is_delta)) {
        const rqc_type parent = row[e->parent].type;
        if (parent == RQC_NULL || (parent == RQC_ABSENT && !patch))
            return wrong(e, e->parent, "a delta has a parent", err);
    }
    if (is_true(row, e->is_delta) && is_true(row, e->is_snapshot))
        return wrong(e, e->is_snapshot, "a delta is no snapshot", err);
    if (e->code == RQCI_FILES) {
        const rqc_value *kind = &row[RQCI_FILES_CONTENT_KIND];
        if (kind->type == RQC_INT && (kind->u.i < 0 || kind->u.i > 7))
            return wrong(e, RQCI_FILES_CONTENT_KIND, "not in 0 to 7", err);
    }
    return RQC_OK;
}

rqc_err rqci_row_check(const rqci_entity *e, rqc_value *row, bool patch, rqci_errbuf *err)
{
    for (int i = 1; i < e->nfields; i++) {
        const rqc_err rc = check_value(e, i, &row[i], patch, err);
        if (rc != RQC_OK)
            return rc;
    }
    return check_rules(e, row, patch, err);
}

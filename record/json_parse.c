// SPDX-License-Identifier: Apache-2.0
// Rows from JSON. What is not exactly as json.h says is refused, so that a slip of the pen never
// becomes a default value.
#include "base/base64.h"
#include "base/id.h"
#include "base/number.h"
#include "record/json.h"
#include "record/json_load.h"

#include <math.h>
#include <stdlib.h>

#define DEPTH_MAX 32

// What a row points into.
struct doc {
    json_t *root;
    rqci_buf bytes; // decoded bytes; as large as the text from the start, so that it never moves
};

// ---- One value ----

static rqc_err not_a(const rqci_entity *e, int field, const char *what, rqci_errbuf *err)
{
    return rqci_fail(err, RQC_INVALID, "%s.%s: %s", e->table, e->fields[field].name, what);
}

static void text_value(const json_t *j, rqc_value *ret_value)
{
    *ret_value = (rqc_value){.type = RQC_TEXT,
                             .n = (uint32_t)json_string_length(j),
                             .p = json_string_value(j)};
}

static bool parse_id(const json_t *j, struct doc *d, rqc_value *ret_value)
{
    uint8_t id[16];
    if (!json_is_string(j) ||
        rqci_id_parse(json_string_value(j), json_string_length(j), id) != RQC_OK)
        return false;
    const uint8_t *p = d->bytes.data + d->bytes.len;
    if (rqci_buf_add(&d->bytes, id, sizeof id) != RQC_OK)
        return false;
    *ret_value = (rqc_value){.type = RQC_ID, .n = 16, .p = p};
    return true;
}

// {"$base64": "…"} with or without "$text": true, and nothing else.
static bool parse_base64(const json_t *j, struct doc *d, rqc_value *ret_value)
{
    const json_t *text = json_object_get(j, "$base64");
    const json_t *flag = json_object_get(j, "$text");
    if (!json_is_string(text) || (flag && !json_is_boolean(flag)) ||
        json_object_size(j) != (flag ? 2 : 1))
        return false;
    const size_t at = d->bytes.len;
    if (rqci_base64_decode(&d->bytes, json_string_value(text), json_string_length(text)) != RQC_OK)
        return false;
    *ret_value = (rqc_value){.type = json_is_true(flag) ? RQC_TEXT : RQC_BYTES,
                             .n = (uint32_t)(d->bytes.len - at),
                             .p = d->bytes.data + at};
    return true;
}

static bool parse_infinity(const json_t *j, rqc_value *ret_value)
{
    const char *text = json_string_value(json_object_get(j, "$real"));
    if (!text || json_object_size(j) != 1 ||
        (strcmp(text, "inf") != 0 && strcmp(text, "-inf") != 0))
        return false;
    *ret_value =
        (rqc_value){.type = RQC_REAL, .u.d = text[0] == '-' ? -(double)INFINITY : (double)INFINITY};
    return true;
}

// An integer or a number; false for everything else.
static bool parse_number(const json_t *j, rqc_value *ret_value)
{
    if (json_is_integer(j))
        *ret_value = (rqc_value){.type = RQC_INT, .u.i = json_integer_value(j)};
    else if (json_is_real(j))
        *ret_value = (rqc_value){.type = RQC_REAL, .u.d = json_real_value(j)};
    else
        return parse_infinity(j, ret_value);
    return true;
}

static bool parse_bool(const json_t *j, rqc_value *ret_value)
{
    const bool number =
        json_is_integer(j) && (json_integer_value(j) == 0 || json_integer_value(j) == 1);
    if (!number && !json_is_boolean(j))
        return false;
    *ret_value =
        (rqc_value){.type = RQC_BOOL, .u.i = number ? json_integer_value(j) : json_is_true(j)};
    return true;
}

static bool parse_bytes(const json_t *j, struct doc *d, rqc_value *ret_value)
{
    if (!json_is_string(j))
        return parse_base64(j, d, ret_value);
    text_value(j, ret_value);
    return true;
}

static rqc_err parse_value(const rqci_entity *e, int field, const json_t *j, struct doc *d,
                           rqc_value *ret_value, rqci_errbuf *err)
{
    rqc_value v = {.type = RQC_NULL};
    if (json_is_null(j)) {
        *ret_value = v;
        return RQC_OK;
    }
    if (json_object_get(j, "$large"))
        return not_a(e, field,
                     "a large value has only its length and hash here: its bytes are needed", err);
    bool good = false;
    const char *want = NULL;
    switch ((rqci_ftype)e->types[field]) {
    case RQCI_T_ID:
        want = "not an id (26 characters or 32 hex digits)";
        good = parse_id(j, d, &v);
        break;
    case RQCI_T_TEXT:
        want = "not a text";
        good = parse_bytes(j, d, &v) && v.type == RQC_TEXT;
        break;
    case RQCI_T_BYTES:
        want = "not bytes: {\"$base64\": \"…\"}";
        good = parse_bytes(j, d, &v) && v.type == RQC_BYTES;
        break;
    case RQCI_T_INT:
        want = "not an integer";
        good = parse_number(j, &v) && v.type == RQC_INT;
        break;
    case RQCI_T_BOOL:
        want = "not true or false";
        good = parse_bool(j, &v);
        break;
    case RQCI_T_REAL:
        want = "not a number";
        good = parse_number(j, &v);
        if (v.type == RQC_INT)
            v = (rqc_value){.type = RQC_REAL, .u.d = (double)v.u.i};
        break;
    case RQCI_T_ANY:
        want = "not an integer, a number, a text or bytes";
        good = parse_number(j, &v) || parse_bytes(j, d, &v);
        break;
    }
    if (!good)
        return not_a(e, field, want, err);
    *ret_value = v;
    return RQC_OK;
}

// ---- The object ----

// The parser's own limit is far higher; this one makes deep input cheap to refuse, with its place.
static rqc_err check_depth(const char *text, size_t len, rqci_errbuf *err)
{
    int depth = 0;
    bool string = false;
    for (size_t i = 0; i < len; i++) {
        const char c = text[i];
        if (string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                string = false;
        } else if (c == '"') {
            string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > DEPTH_MAX)
                return rqci_fail(err, RQC_INVALID, "JSON: byte %zu: deeper than %d levels", i + 1,
                                 DEPTH_MAX);
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return RQC_OK;
}

static rqc_err load(const char *text, size_t len, struct doc *d, rqci_errbuf *err)
{
    if (len > UINT32_MAX)
        return rqci_fail(err, RQC_TOO_LARGE, "JSON: longer than 4 GiB");
    rqc_err rc = check_depth(text, len, err);
    if (rc != RQC_OK)
        return rc;
    json_error_t e;
    rc = rqci_json_load(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &d->root, &e);
    if (rc == RQC_NO_MEMORY)
        return rqci_fail(err, rc, "JSON: no memory");
    if (rc != RQC_OK) {
        // A record mostly is a line, and its number is better known to who read it.
        return e.line > 1 ? rqci_fail(err, RQC_INVALID, "JSON: line %d, column %d: %s", e.line,
                                      e.column, e.text)
                          : rqci_fail(err, RQC_INVALID, "JSON: column %d: %s", e.column, e.text);
    }
    if (!json_is_object(d->root))
        return rqci_fail(err, RQC_INVALID, "JSON: a record is an object");
    return rqci_buf_reserve(&d->bytes, len);
}

static rqc_err find_entity(const json_t *root, const rqci_entity **ret_entity, rqci_errbuf *err)
{
    const json_t *name = json_object_get(root, "entity");
    if (!json_is_string(name))
        return rqci_fail(err, RQC_INVALID, "JSON: \"entity\" is missing");
    const rqci_entity *e = rqci_entity_named(json_string_value(name), json_string_length(name));
    if (!e)
        return rqci_fail(err, RQC_INVALID, "JSON: unknown entity \"%s\"", json_string_value(name));
    *ret_entity = e;
    return RQC_OK;
}

static bool is_one_of(const char *word, const char *const *words)
{
    while (*words && strcmp(word, *words) != 0)
        words++;
    return *words != NULL;
}

// Keys of our own answers that are no columns; what `op` and `origin` say besides.
static const char *const meta[] = {"entity", "seq", "position", "op", "origin", NULL};
static const char *const origins[] = {"base", "override", "addition", NULL};

static rqc_err check_meta(const json_t *root, rqci_errbuf *err)
{
    const json_t *op = json_object_get(root, "op"), *origin = json_object_get(root, "origin");
    if (op && (!json_is_string(op) || strcmp(json_string_value(op), "upsert") != 0))
        return rqci_fail(err, RQC_INVALID, "JSON: \"op\" is \"upsert\" or \"delete\"");
    if (origin && (!json_is_string(origin) || !is_one_of(json_string_value(origin), origins)))
        return rqci_fail(err, RQC_INVALID,
                         "JSON: \"origin\" is \"base\", \"override\" or \"addition\"");
    return RQC_OK;
}

// Lines of our own answers that hold no record, with all their keys: a slip of the pen is none.
static rqci_json_kind kind_of(const json_t *root)
{
    static const char *const end[] = {"next", "head", "up_to_date", "seq", "position", NULL};
    static const char *const deletion[] = {"op", "entity", "id", "seq", NULL};
    const char *op = json_string_value(json_object_get(root, "op")), *key;
    json_t *value;
    const bool deleted = op && strcmp(op, "delete") == 0;
    if (!deleted && !json_object_get(root, "next"))
        return RQCI_JSON_RECORD;
    json_object_foreach((json_t *)(uintptr_t)root, key, value)
    {
        if (!is_one_of(key, deleted ? deletion : end))
            return RQCI_JSON_RECORD;
    }
    return deleted ? RQCI_JSON_DELETION : RQCI_JSON_END;
}

static rqc_err parse_fields(struct doc *d, rqci_json_row *row, rqci_errbuf *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(d->root, key, value)
    {
        if (is_one_of(key, meta))
            continue;
        const int field = rqci_field_named(row->entity, key, strlen(key));
        if (field < 0)
            return rqci_fail(err, RQC_INVALID, "%s: unknown column \"%s\"", row->entity->table,
                             key);
        const rqc_err rc = parse_value(row->entity, field, value, d, &row->row[field], err);
        if (rc != RQC_OK)
            return rc;
    }
    if (row->row[0].type == RQC_NULL)
        return not_a(row->entity, 0, "may not be null", err);
    row->has_id = row->row[0].type == RQC_ID;
    if (row->has_id)
        memcpy(row->id, row->row[0].p, sizeof row->id);
    return RQC_OK;
}

static void doc_free(struct doc *d)
{
    if (!d)
        return;
    json_decref(d->root);
    rqci_buf_free(&d->bytes);
    free(d);
}

rqc_err rqci_json_parse_row(const char *text, size_t len, rqci_json_row *ret_row, rqci_errbuf *err)
{
    struct doc *d = calloc(1, sizeof *d);
    if (!d)
        return rqci_fail(err, RQC_NO_MEMORY, "JSON");
    rqci_json_row row = {.doc = d};
    rqc_err rc = load(text, len, d, err);
    if (rc == RQC_OK)
        row.kind = kind_of(d->root);
    if (rc == RQC_OK && row.kind != RQCI_JSON_END)
        rc = find_entity(d->root, &row.entity, err);
    if (rc == RQC_OK && row.kind == RQCI_JSON_RECORD)
        rc = check_meta(d->root, err);
    if (rc == RQC_OK && row.kind == RQCI_JSON_RECORD)
        rc = parse_fields(d, &row, err);
    if (rc != RQC_OK) {
        doc_free(d);
        return rc;
    }
    *ret_row = row;
    return RQC_OK;
}

void rqci_json_row_free(rqci_json_row *r)
{
    if (!r)
        return;
    doc_free(r->doc);
    *r = (rqci_json_row){0};
}

// ---- Text of the command line ----

static bool text_int(const char *text, size_t len, rqc_value *ret_value)
{
    size_t used;
    bool clamped;
    const int64_t i = rqci_int_prefix(text, len, &used, &clamped);
    if (used != len || clamped || text[0] < '+')
        return false;
    *ret_value = (rqc_value){.type = RQC_INT, .u.i = i};
    return true;
}

static bool same(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(text, word, len) == 0;
}

static bool text_real(const char *text, size_t len, rqc_value *ret_value)
{
    const bool infinite = same(text, len, "inf") || same(text, len, "-inf");
    size_t used = 0;
    double d = rqci_real_prefix(text, len, &used);
    if (infinite)
        d = text[0] == '-' ? -(double)INFINITY : (double)INFINITY;
    else if (used != len || text[0] < '+' || isinf(d))
        return false;
    *ret_value = (rqc_value){.type = RQC_REAL, .u.d = d};
    return true;
}

static bool text_bool(const char *text, size_t len, rqc_value *ret_value)
{
    const bool yes = same(text, len, "true") || same(text, len, "1");
    if (!yes && !same(text, len, "false") && !same(text, len, "0"))
        return false;
    *ret_value = (rqc_value){.type = RQC_BOOL, .u.i = yes};
    return true;
}

rqc_err rqci_text_field(const rqci_entity *e, int field, const char *text, size_t len,
                        rqci_buf *scratch, rqc_value *ret_value, rqci_errbuf *err)
{
    if (len > UINT32_MAX)
        return rqci_fail(err, RQC_TOO_LARGE, "%s.%s", e->table, e->fields[field].name);
    rqc_value v = {.type = RQC_TEXT, .n = (uint32_t)len, .p = text};
    const char *want = NULL;
    switch ((rqci_ftype)e->types[field]) {
    case RQCI_T_INT:
        if (len == 0 || !text_int(text, len, &v))
            want = "not an integer";
        break;
    case RQCI_T_REAL:
        if (len == 0 || !text_real(text, len, &v))
            want = "not a number";
        break;
    case RQCI_T_BOOL:
        if (!text_bool(text, len, &v))
            want = "not true, false, 1 or 0";
        break;
    case RQCI_T_ID: {
        uint8_t id[16];
        if (rqci_id_parse(text, len, id) != RQC_OK) {
            want = "not an id (26 characters or 32 hex digits)";
            break;
        }
        scratch->len = 0;
        const rqc_err rc = rqci_buf_add(scratch, id, sizeof id);
        if (rc != RQC_OK)
            return rqci_fail(err, rc, "%s.%s", e->table, e->fields[field].name);
        v = (rqc_value){.type = RQC_ID, .n = 16, .p = scratch->data};
        break;
    }
    case RQCI_T_BYTES: v.type = RQC_BYTES; break;
    case RQCI_T_TEXT:
    case RQCI_T_ANY: break;
    }
    if (want)
        return not_a(e, field, want, err);
    *ret_value = v;
    return RQC_OK;
}

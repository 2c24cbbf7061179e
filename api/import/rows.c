// SPDX-License-Identifier: Apache-2.0
#include "api/import/rows.h"

#include "api/import/har_text.h"
#include "base/base64.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/number.h"
#include "base/utf8.h"
#include "record/json_load.h"
#include "record/schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define WARNING_BYTES 2048

void rqci_piece(rqci_pieces *p, const char *text, size_t len)
{
    if (p->err == RQC_OK)
        p->err = rqci_buf_add(p->out, text, len);
}

void rqci_piece_text(rqci_pieces *p, const char *text)
{
    rqci_piece(p, text, strlen(text));
}

// ---- Rows ---------------------------------------------------------------------------------------

void rqci_rows_init(rqci_rows *r, const uint8_t workspace[16], int64_t now,
                    const rqci_import_sink *sink, rqci_errbuf *err)
{
    *r = (rqci_rows){.sink = sink, .now = now, .err = err};
    memcpy(r->workspace, workspace, 16);
}

void rqci_rows_free(rqci_rows *r)
{
    for (size_t i = 0; i < RQCI_ROWS_TEXTS; i++)
        rqci_buf_free(&r->texts[i]);
    rqci_buf_free(&r->place);
    free(r->seen);
    r->seen = NULL;
    r->nseen = r->seen_cap = 0;
}

rqc_err rqci_rows_place(rqci_rows *r, const char *fmt, ...)
{
    r->place.len = 0;
    if (!fmt)
        return RQC_OK;
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return rqci_buf_add(&r->place, text, strlen(text) + 1);
}

// Control characters would break the line or the terminal; what is cut within a character must not
// stay half.
static void one_line(char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = ' ';
    for (size_t good = rqci_utf8_span(text, len); good < len;
         good += 1 + rqci_utf8_span(text + good + 1, len - good - 1))
        text[good] = '?';
}

void rqci_rows_warn(rqci_rows *r, const char *fmt, ...)
{
    r->counts.warnings++;
    if (!r->sink->warn)
        return;
    char text[WARNING_BYTES];
    int n = 0;
    if (r->place.len > 0)
        n = snprintf(text, sizeof text, "%s: ", (const char *)r->place.data);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text + n, sizeof text - (size_t)n, fmt, ap);
    va_end(ap);
    one_line(text);
    r->sink->warn(r->sink->ctx, text);
}

void rqci_rows_start(rqci_rows *r, rqc_value ret_row[RQC_FIELD_MAX])
{
    r->used = 0;
    memset(ret_row, 0, RQC_FIELD_MAX * sizeof *ret_row);
}

rqc_err rqci_rows_add(rqci_rows *r, rqc_entity entity, const uint8_t id[16], const rqc_value *row)
{
    r->counts.records++;
    return r->sink->add(r->sink->ctx, entity, id, row);
}

rqci_buf *rqci_rows_scratch(rqci_rows *r)
{
    rqci_buf *b = &r->texts[r->used++];
    b->len = 0;
    return b;
}

// ---- Texts --------------------------------------------------------------------------------------

static rqc_err too_large(rqci_rows *r, size_t len)
{
    return rqci_fail(r->err, RQC_TOO_LARGE, "%s%sa text of %zu bytes",
                     r->place.len ? (const char *)r->place.data : "", r->place.len ? ": " : "",
                     len);
}

// Appends the text with U+FFFD for NUL and for what is no UTF-8.
static rqc_err clean(const char *text, size_t len, rqci_buf *out)
{
    rqci_pieces p = {out, RQC_OK};
    for (size_t at = 0; at < len && p.err == RQC_OK; at++) {
        size_t good = rqci_utf8_span(text + at, len - at);
        const char *nul = good ? memchr(text + at, 0, good) : NULL;
        good = nul ? (size_t)(nul - text) - at : good;
        rqci_piece(&p, text + at, good);
        at += good;
        if (at < len)
            rqci_piece_text(&p, "\xef\xbf\xbd");
    }
    return p.err;
}

rqc_err rqci_rows_textn(rqci_rows *r, const char *text, size_t len, rqc_value *ret_value)
{
    if (len > UINT32_MAX / 4)
        return too_large(r, len);
    if (len == 0 || (rqci_utf8_valid(text, len) && !memchr(text, 0, len))) {
        *ret_value = rqc_textn(len ? text : "", (uint32_t)len);
        return RQC_OK;
    }
    rqci_buf *out = rqci_rows_scratch(r);
    const rqc_err rc = clean(text, len, out);
    if (rc != RQC_OK)
        return rc;
    rqci_rows_warn(r, "a text holds bytes that no text can hold: replaced by U+FFFD");
    *ret_value = rqc_textn((const char *)out->data, (uint32_t)out->len);
    return RQC_OK;
}

// What is no string, as text. Appended to out.
static rqc_err scalar(const json_t *v, rqci_buf *out)
{
    char text[40] = "";
    if (json_is_integer(v)) {
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    } else if (json_is_real(v)) {
        const double d = json_real_value(v);
        if (d > -1e15 && d < 1e15 && d == (double)(int64_t)d)
            snprintf(text, sizeof text, "%.0f", d);
        else
            rqci_real_format(d, 0, text);
    } else if (json_is_boolean(v)) {
        snprintf(text, sizeof text, json_is_true(v) ? "true" : "false");
    } else if (json_is_array(v) || json_is_object(v)) {
        char *dump = json_dumps(v, JSON_COMPACT);
        if (!dump)
            return RQC_NO_MEMORY;
        const rqc_err rc = rqci_buf_add(out, dump, strlen(dump));
        free(dump);
        return rc;
    }
    return rqci_buf_add(out, text, strlen(text));
}

rqc_err rqci_rows_text(rqci_rows *r, const json_t *v, rqc_value *ret_value)
{
    if (json_is_string(v))
        return rqci_rows_textn(r, json_string_value(v), json_string_length(v), ret_value);
    if (!v || json_is_null(v)) {
        *ret_value = rqc_textn("", 0);
        return RQC_OK;
    }
    rqci_buf *out = rqci_rows_scratch(r);
    const rqc_err rc = scalar(v, out);
    if (rc != RQC_OK)
        return rc;
    if (out->len > UINT32_MAX / 4)
        return too_large(r, out->len);
    *ret_value = rqc_textn((const char *)out->data, (uint32_t)out->len);
    return RQC_OK;
}

rqc_err rqci_rows_keep(rqci_rows *r, const json_t *v, rqci_buf *store, rqc_value *ret_value)
{
    store->len = 0;
    const char *text = json_is_string(v) ? json_string_value(v) : "";
    const size_t len = json_is_string(v) ? json_string_length(v) : 0;
    rqc_err rc = RQC_OK;
    if (len > UINT32_MAX / 4)
        return too_large(r, len);
    if (json_is_string(v) && rqci_utf8_valid(text, len) && !memchr(text, 0, len)) {
        rc = rqci_buf_add(store, text, len);
    } else if (json_is_string(v)) {
        rc = clean(text, len, store);
        rqci_rows_warn(r, "a text holds bytes that no text can hold: replaced by U+FFFD");
    } else {
        rc = scalar(v, store);
    }
    if (rc == RQC_OK)
        *ret_value = rqc_textn(store->len ? (const char *)store->data : "", (uint32_t)store->len);
    return rc;
}

rqc_err rqci_rows_bytes(rqci_rows *r, const void *p, size_t len, rqc_value *ret_value)
{
    if (len > UINT32_MAX / 4)
        return too_large(r, len);
    *ret_value = rqc_bytes(len ? p : "", (uint32_t)len);
    return RQC_OK;
}

// ---- Ids ----------------------------------------------------------------------------------------

typedef struct rqci_rows_seen {
    uint8_t hash[16];
    uint32_t count; // 0: the slot is free
} rqci_rows_seen;

static rqci_rows_seen *seen_slot(rqci_rows_seen *table, size_t cap, const uint8_t hash[16])
{
    size_t i = rqci_get64(hash) & (cap - 1);
    while (table[i].count && memcmp(table[i].hash, hash, 16) != 0)
        i = (i + 1) & (cap - 1);
    return &table[i];
}

rqc_err rqci_rows_ordinal(rqci_rows *r, const uint8_t hash[16], uint32_t *ret_ordinal)
{
    if (r->nseen * 2 >= r->seen_cap) {
        const size_t cap = r->seen_cap ? r->seen_cap * 2 : 1024;
        rqci_rows_seen *table = calloc(cap, sizeof *table);
        if (!table)
            return RQC_NO_MEMORY;
        for (size_t i = 0; i < r->seen_cap; i++)
            if (r->seen[i].count)
                *seen_slot(table, cap, r->seen[i].hash) = r->seen[i];
        free(r->seen);
        r->seen = table;
        r->seen_cap = cap;
    }
    rqci_rows_seen *s = seen_slot(r->seen, r->seen_cap, hash);
    if (!s->count) {
        memcpy(s->hash, hash, 16);
        r->nseen++;
    }
    *ret_ordinal = s->count++;
    return RQC_OK;
}

void rqci_rows_child_id(const uint8_t owner[16], rqc_entity entity, uint32_t n, uint8_t ret_id[16])
{
    uint8_t in[17], hash[16];
    memcpy(in, owner, 16);
    in[16] = (uint8_t)entity;
    rqci_xxh128_bytes(in, sizeof in, hash);
    memcpy(ret_id, owner, 6);
    memcpy(ret_id + 6, hash, 7);
    ret_id[13] = (uint8_t)(n >> 16);
    ret_id[14] = (uint8_t)(n >> 8);
    ret_id[15] = (uint8_t)n;
}

void rqci_rows_time_prefix(int64_t ms, uint8_t id[16])
{
    const uint64_t t = ms < 0                         ? 0
                       : ms > INT64_C(0xffffffffffff) ? UINT64_C(0xffffffffffff)
                                                      : (uint64_t)ms;
    for (int i = 0; i < 6; i++)
        id[i] = (uint8_t)(t >> (40 - 8 * i));
}

// ---- Rows that all importers make ---------------------------------------------------------------

// Which fields of an entity hold a name, its value and what is said about it; -1: the entity has no
// such field.
static const struct pair_fields {
    rqc_entity entity;
    int key, value, description;
} pair_fields[] = {
    {RQC_HTTP_HEADER, RQC_HTTP_HEADER_HEADER_KEY, RQC_HTTP_HEADER_HEADER_VALUE,
     RQC_HTTP_HEADER_DESCRIPTION},
    {RQC_HTTP_SEARCH_PARAM, RQC_HTTP_SEARCH_PARAM_KEY, RQC_HTTP_SEARCH_PARAM_VALUE,
     RQC_HTTP_SEARCH_PARAM_DESCRIPTION},
    {RQC_HTTP_BODY_FORM, RQC_HTTP_BODY_FORM_KEY, RQC_HTTP_BODY_FORM_VALUE,
     RQC_HTTP_BODY_FORM_DESCRIPTION},
    {RQC_HTTP_BODY_URLENCODED, RQC_HTTP_BODY_URLENCODED_KEY, RQC_HTTP_BODY_URLENCODED_VALUE,
     RQC_HTTP_BODY_URLENCODED_DESCRIPTION},
    {RQC_HTTP_RESPONSE_HEADER, RQC_HTTP_RESPONSE_HEADER_KEY, RQC_HTTP_RESPONSE_HEADER_VALUE, -1},
};

rqc_err rqci_rows_pair_add(rqci_rows *r, rqc_entity entity, const uint8_t owner[16], uint32_t n,
                           const rqci_rows_pair *pair)
{
    const struct pair_fields *f = pair_fields;
    while (f->entity != entity)
        f++;
    const rqci_entity *e = &rqci_entities[entity];
    rqc_value row[RQC_FIELD_MAX] = {0};
    row[e->owner] = rqc_id(owner);
    row[f->key] = pair->key;
    row[f->value] = pair->value;
    if (f->description >= 0)
        row[f->description] = pair->description;
    if (e->enabled >= 0)
        row[e->enabled] = rqc_bool(!pair->disabled);
    if (e->order >= 0)
        row[e->order] = rqc_real(pair->has_order ? pair->order : n);
    row[e->created] = rqc_int(pair->seconds);
    if (e->updated >= 0)
        row[e->updated] = rqc_int(pair->seconds);
    uint8_t id[16];
    rqci_rows_child_id(owner, entity, n, id);
    return rqci_rows_add(r, entity, pair->id ? pair->id : id, row);
}

rqc_err rqci_rows_raw_add(rqci_rows *r, const uint8_t owner[16], const uint8_t *id,
                          const rqci_buf *bytes, int64_t codec, int64_t seconds)
{
    rqc_value row[RQC_FIELD_MAX];
    rqci_rows_start(r, row);
    const rqc_err rc =
        rqci_rows_bytes(r, bytes->data, bytes->len, &row[RQC_HTTP_BODY_RAW_RAW_DATA]);
    if (rc != RQC_OK)
        return rc;
    row[RQC_HTTP_BODY_RAW_HTTP_ID] = rqc_id(owner);
    row[RQC_HTTP_BODY_RAW_COMPRESSION_TYPE] = rqc_int(codec);
    row[RQC_HTTP_BODY_RAW_CREATED_AT] = row[RQC_HTTP_BODY_RAW_UPDATED_AT] = rqc_int(seconds);
    uint8_t made[16];
    rqci_rows_child_id(owner, RQC_HTTP_BODY_RAW, 0, made);
    return rqci_rows_add(r, RQC_HTTP_BODY_RAW, id ? id : made, row);
}

rqc_err rqci_rows_basic(rqci_rows *r, const char *plain, size_t len, bool variable, rqci_buf *out)
{
    const rqc_err rc = rqci_buf_add(out, "Basic ", 6);
    if (rc != RQC_OK)
        return rc;
    if (!variable && !memmem(plain, len, "{{", 2))
        return rqci_base64_encode(out, plain, len);
    rqci_rows_warn(
        r,
        "basic authentication holds a variable: user and password stand in the header as they are, "
        "not as base64");
    return rqci_buf_add(out, plain, len);
}

// ---- Losses -------------------------------------------------------------------------------------

rqc_err rqci_losses_add(rqci_losses *l, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    const size_t len = strlen(text);
    for (size_t i = 0; i < l->n; i++)
        if (l->kinds[i].len == len && memcmp(l->text.data + l->kinds[i].at, text, len) == 0) {
            l->kinds[i].count++;
            return RQC_OK;
        }
    if (l->n == RQCI_LOSSES_MAX) {
        l->others++;
        return RQC_OK;
    }
    const size_t at = l->text.len;
    const rqc_err rc = rqci_buf_add(&l->text, text, len);
    if (rc != RQC_OK)
        return rc;
    l->kinds[l->n].at = at;
    l->kinds[l->n].len = len;
    l->kinds[l->n++].count = 1;
    return RQC_OK;
}

rqc_err rqci_losses_report(rqci_losses *l, rqci_rows *r, const char *intro)
{
    if (l->n == 0)
        return RQC_OK;
    rqci_buf out = {0};
    rqci_pieces p = {&out, RQC_OK};
    char number[48];
    for (size_t i = 0; i < l->n; i++) {
        rqci_piece_text(&p, i > 0 ? ", " : "");
        snprintf(number, sizeof number, "%u \xc3\x97 ", l->kinds[i].count);
        rqci_piece_text(&p, l->kinds[i].count > 1 ? number : "");
        rqci_piece(&p, (const char *)l->text.data + l->kinds[i].at, l->kinds[i].len);
    }
    snprintf(number, sizeof number, " and %u more", l->others);
    rqci_piece_text(&p, l->others > 0 ? number : "");
    rqci_piece(&p, "", 1);
    if (p.err == RQC_OK)
        rqci_rows_warn(r, "%s: %s", intro, (const char *)out.data);
    rqci_buf_free(&out);
    l->text.len = l->n = 0;
    l->others = 0;
    return p.err;
}

void rqci_losses_free(rqci_losses *l)
{
    rqci_buf_free(&l->text);
    l->n = 0;
}

// ---- JSON ---------------------------------------------------------------------------------------

rqc_err rqci_rows_parse(char *text, size_t len, json_t **ret_root, uint64_t *ret_mended,
                        rqci_errbuf *err)
{
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3, len -= 3;
    const uint64_t mended = rqci_har_mend(text, len);
    json_error_t error;
    json_t *root;
    rqc_err rc = rqci_json_load(text, len, JSON_ALLOW_NUL, &root, &error);
    // A number beyond 64 bits is no reason to refuse a file; it is rounded then, with all others.
    if (rc == RQC_INVALID && json_error_code(&error) == json_error_numeric_overflow)
        rc = rqci_json_load(text, len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &root, &error);
    if (rc == RQC_NO_MEMORY)
        return rqci_fail(err, rc, "no memory for %zu bytes of JSON", len);
    if (rc != RQC_OK)
        return rqci_fail(err, RQC_INVALID, "not JSON: line %d, column %d: %s", error.line,
                         error.column, error.text);
    *ret_root = root;
    *ret_mended = mended;
    return RQC_OK;
}

const char *rqci_rows_string(const json_t *object, const char *key, size_t *ret_len)
{
    const json_t *v = json_object_get(object, key);
    *ret_len = json_is_string(v) ? json_string_length(v) : 0;
    return json_string_value(v);
}

bool rqci_rows_number(const json_t *v, double *ret_number)
{
    double d = 0;
    if (json_is_number(v)) {
        d = json_number_value(v);
    } else if (json_is_string(v) && json_string_length(v) > 0) {
        size_t used;
        d = rqci_real_prefix(json_string_value(v), json_string_length(v), &used);
        if (used != json_string_length(v))
            return false;
    } else {
        return false;
    }
    if (!isfinite(d))
        return false;
    *ret_number = d;
    return true;
}

// The largest whole number below which a double has each of them.
#define INTEGER_MAX INT64_C(9007199254740991)

int64_t rqci_rows_integer(const json_t *v, int64_t otherwise)
{
    double d;
    if (!rqci_rows_number(v, &d))
        return otherwise;
    const double most = (double)INTEGER_MAX;
    if (d >= most || d <= -most)
        return (int64_t)(d < 0 ? -most : most);
    return (int64_t)(d < 0 ? d - 0.5 : d + 0.5);
}

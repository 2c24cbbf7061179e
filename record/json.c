// SPDX-License-Identifier: Apache-2.0
// Records as JSON text. Written by hand: the shapes are few, and no value needs to be built in
// memory first.
#include "record/json.h"

#include "base/base64.h"
#include "base/id.h"
#include "base/number.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static rqc_err put(rqci_buf *out, const char *text)
{
    return rqci_buf_add(out, text, strlen(text));
}

// How a byte is written in a string: 0 as it is, 'u' as \u00xx, else behind a backslash.
static char escape_of(uint8_t c)
{
    switch (c) {
    case '"': return '"';
    case '\\': return '\\';
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return c < 0x20 || c == 0x7f ? 'u' : 0;
    }
}

static rqc_err put_string(rqci_buf *out, const uint8_t *p, size_t n)
{
    if (n > SIZE_MAX / 16)
        return RQC_TOO_LARGE;
    const rqc_err rc = rqci_buf_reserve(out, 6 * n + 2);
    if (rc != RQC_OK)
        return rc;
    static const char hex[] = "0123456789abcdef";
    uint8_t *t = out->data + out->len;
    *t++ = '"';
    for (size_t i = 0; i < n; i++) {
        const char e = escape_of(p[i]);
        if (e == 0) {
            *t++ = p[i];
            continue;
        }
        *t++ = '\\';
        *t++ = (uint8_t)e;
        if (e == 'u') {
            *t++ = '0';
            *t++ = '0';
            *t++ = (uint8_t)hex[p[i] >> 4];
            *t++ = (uint8_t)hex[p[i] & 15];
        }
    }
    *t++ = '"';
    out->len = (size_t)(t - out->data);
    return RQC_OK;
}

static rqc_err put_base64(rqci_buf *out, const void *p, size_t n, bool text)
{
    rqc_err rc = put(out, "{\"$base64\":\"");
    if (rc == RQC_OK)
        rc = rqci_base64_encode(out, p, n);
    if (rc == RQC_OK)
        rc = put(out, text ? "\",\"$text\":true}" : "\"}");
    return rc;
}

rqc_err rqci_json_text(rqci_buf *out, const char *p, size_t n)
{
    return rqci_utf8_valid(p, n) ? put_string(out, (const uint8_t *)p, n)
                                 : put_base64(out, p, n, true);
}

static rqc_err put_real(rqci_buf *out, double d)
{
    if (isinf(d))
        return put(out, d < 0 ? "{\"$real\":\"-inf\"}" : "{\"$real\":\"inf\"}");
    if (isnan(d))
        return put(out, "null");
    char text[RQCI_REAL_TEXT];
    const size_t n = rqci_real_format(d, 0, text);
    return rqci_buf_add(out, text, n);
}

static rqc_err put_id(rqci_buf *out, const uint8_t *id)
{
    char text[RQCI_ID_TEXT + 3];
    text[0] = '"';
    rqci_id_format(id, text + 1);
    text[RQCI_ID_TEXT + 1] = '"';
    return rqci_buf_add(out, text, RQCI_ID_TEXT + 2);
}

static rqc_err put_large(rqci_buf *out, const rqc_value *v)
{
    char text[112];
    int n =
        snprintf(text, sizeof text, "{\"$large\":{\"length\":%" PRIu64 ",\"xxh3\":\"", v->u.length);
    for (uint32_t i = 0; i < 16; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%02x", ((const uint8_t *)v->p)[i]);
    n += snprintf(text + n, sizeof text - (size_t)n, "\"}}");
    return rqci_buf_add(out, text, (size_t)n);
}

rqc_err rqci_json_value(rqci_buf *out, const rqc_value *v)
{
    char text[32];
    switch (v->type) {
    case RQC_ABSENT:
    case RQC_NULL: return put(out, "null");
    case RQC_INT: snprintf(text, sizeof text, "%" PRId64, v->u.i); return put(out, text);
    case RQC_REAL: return put_real(out, v->u.d);
    case RQC_BOOL: return put(out, v->u.i ? "true" : "false");
    case RQC_TEXT: return rqci_json_text(out, v->p, v->n);
    case RQC_BYTES: return put_base64(out, v->p, v->n, false);
    case RQC_ID: return put_id(out, v->p);
    case RQC_LARGE: return put_large(out, v);
    }
    return put(out, "null");
}

// A record, an item or a chain: whatever gives a value to each field, and knows where it stands.
typedef struct source {
    void (*get)(const void *of, int field, rqc_value *ret_value);
    rqci_field_place (*place)(const void *of, int field);
    const void *of;
} source;

static rqc_err put_field(rqci_buf *out, const source *s, int field, const rqci_json_whole *whole)
{
    rqc_value v;
    rqc_err rc = RQC_OK;
    s->get(s->of, field, &v);
    if (v.type == RQC_LARGE && whole) {
        const rqci_field_place at = s->place(s->of, field);
        rc = whole->fetch(whole->ctx, at.record, at.field, &v);
    }
    return rc == RQC_OK ? rqci_json_value(out, &v) : rc;
}

static rqc_err put_fields(rqci_buf *out, const rqci_entity *e, uint64_t seq, const source *s,
                          const rqci_json_whole *whole, const char *origin)
{
    char text[128];
    snprintf(text, sizeof text, "{\"entity\":\"%s\",\"seq\":%" PRIu64, e->table, seq);
    rqc_err rc = put(out, text);
    for (int i = 0; rc == RQC_OK && i < e->nfields; i++) {
        snprintf(text, sizeof text, ",\"%s\":", e->fields[i].name);
        rc = put(out, text);
        if (rc == RQC_OK)
            rc = put_field(out, s, i, whole);
    }
    if (rc == RQC_OK && origin) {
        snprintf(text, sizeof text, ",\"origin\":\"%s\"", origin);
        rc = put(out, text);
    }
    return rc == RQC_OK ? put(out, "}") : rc;
}

static void record_field(const void *of, int field, rqc_value *ret_value)
{
    rqci_rec_field(of, field, ret_value);
}

static rqci_field_place record_place(const void *of, int field)
{
    return (rqci_field_place){of, field};
}

rqc_err rqci_json_record(rqci_buf *out, const rqc_record *r, const rqci_json_whole *whole)
{
    const source s = {record_field, record_place, r};
    return put_fields(out, &rqci_entities[rqci_rec_entity(r)], rqci_rec_seq(r), &s, whole, NULL);
}

static void item_field(const void *of, int field, rqc_value *ret_value)
{
    rqci_item_field(of, field, ret_value);
}

static rqci_field_place item_place(const void *of, int field)
{
    return rqci_item_place(of, field);
}

rqc_err rqci_json_item(rqci_buf *out, const rqc_item *m, const rqci_json_whole *whole)
{
    static const char *const origins[] = {[RQC_ORIGIN_BASE] = "base",
                                          [RQC_ORIGIN_OVERRIDE] = "override",
                                          [RQC_ORIGIN_ADDITION] = "addition"};
    uint64_t seq = rqci_rec_seq(m->record);
    for (uint32_t i = 0; i < m->nover; i++)
        seq = rqci_rec_seq(m->over[i]) > seq ? rqci_rec_seq(m->over[i]) : seq;
    const source s = {item_field, item_place, m};
    return put_fields(out, &rqci_entities[rqci_rec_entity(m->record)], seq, &s, whole,
                      origins[m->origin]);
}

struct chain {
    const rqc_record *const *records;
    size_t n;
};

static void chain_field(const void *of, int field, rqc_value *ret_value)
{
    const struct chain *c = of;
    rqci_chain_field(c->records, c->n, field, ret_value);
}

static rqci_field_place chain_place(const void *of, int field)
{
    const struct chain *c = of;
    return rqci_chain_place(c->records, c->n, field);
}

rqc_err rqci_json_chain(rqci_buf *out, const rqc_record *const *chain, size_t n,
                        const rqci_json_whole *whole)
{
    if (n == 0)
        return put(out, "null");
    uint64_t seq = 0;
    for (size_t i = 0; i < n; i++)
        seq = rqci_rec_seq(chain[i]) > seq ? rqci_rec_seq(chain[i]) : seq;
    const struct chain c = {chain, n};
    const source s = {chain_field, chain_place, &c};
    return put_fields(out, &rqci_entities[rqci_rec_entity(chain[0])], seq, &s, whole, NULL);
}

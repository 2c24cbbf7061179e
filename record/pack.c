// SPDX-License-Identifier: Apache-2.0
// From a row of values to its packed form.
#include "base/number.h"
#include "record/record.h"

#include <math.h>
#include <stdio.h>

// A row as it will be packed: every value has its field's type.
struct shaped {
    rqc_value value[RQCI_FIELD_MAX];
    uint8_t scratch[RQCI_FIELD_MAX]
                   [RQCI_REAL_TEXT]; // bytes of converted numbers, hashes of large values
    uint32_t present, zero;
    bool coerced;
};

// ---- Conversion, as SQLite's CAST ----

static bool is_bytes(rqc_type type)
{
    return type == RQC_TEXT || type == RQC_BYTES || type == RQC_ID;
}

static int64_t to_int(const rqc_value *v)
{
    if (v->type == RQC_REAL) {
        // 2^63 and everything above it is not an int64_t; the limits are exact as doubles.
        if (v->u.d >= 0x1p63)
            return INT64_MAX;
        return v->u.d < -0x1p63 ? INT64_MIN : (int64_t)v->u.d;
    }
    if (!is_bytes(v->type))
        return v->u.i;
    size_t used;
    bool clamped;
    return rqci_int_prefix(v->p, v->n, &used, &clamped);
}

static double to_real(const rqc_value *v)
{
    if (v->type == RQC_REAL)
        return v->u.d;
    if (!is_bytes(v->type))
        return (double)v->u.i;
    size_t used;
    return rqci_real_prefix(v->p, v->n, &used);
}

static rqc_value to_bytes(const rqc_value *v, rqc_type type, uint8_t scratch[RQCI_REAL_TEXT])
{
    rqc_value out = {.type = type, .n = v->n, .p = v->p};
    if (!is_bytes(v->type)) {
        char text[RQCI_REAL_TEXT];
        out.n = v->type == RQC_REAL
                    ? (uint32_t)rqci_real_format(v->u.d, 15, text)
                    : (uint32_t)snprintf(text, sizeof text, "%lld", (long long)v->u.i);
        memcpy(scratch, text, out.n);
        out.p = scratch;
    }
    return out;
}

// A conversion counts only where the storage class changes, or a BOOL was neither 0 nor 1.
static rqc_value convert(const rqc_value *v, rqci_ftype type, struct shaped *s, uint8_t *scratch)
{
    const bool number = v->type == RQC_INT || v->type == RQC_BOOL;
    switch (type) {
    case RQCI_T_INT: s->coerced |= !number; return (rqc_value){.type = RQC_INT, .u.i = to_int(v)};
    case RQCI_T_REAL:
        s->coerced |= v->type != RQC_REAL;
        return (rqc_value){.type = RQC_REAL, .u.d = to_real(v)};
    case RQCI_T_BOOL:
        s->coerced |= !number || (v->u.i & ~1) != 0;
        return (rqc_value){.type = RQC_BOOL, .u.i = number ? v->u.i != 0 : to_real(v) != 0.0};
    case RQCI_T_TEXT: s->coerced |= v->type != RQC_TEXT; return to_bytes(v, RQC_TEXT, scratch);
    case RQCI_T_BYTES:
        s->coerced |= v->type != RQC_BYTES && v->type != RQC_ID;
        return to_bytes(v, RQC_BYTES, scratch);
    case RQCI_T_ANY:
    case RQCI_T_ID: break;
    }
    rqc_value out = *v;
    if (v->type == RQC_BOOL)
        out.type = RQC_INT;
    else if (v->type == RQC_ID)
        out.type = RQC_BYTES;
    return out;
}

// The length and hash of a value that is too long to stay.
static rqc_value enlarge(const rqc_value *v, uint8_t scratch[RQCI_REAL_TEXT])
{
    rqci_xxh128_bytes(v->p, v->n, scratch);
    return (rqc_value){.type = RQC_LARGE, .n = 16, .p = scratch, .u.length = v->n};
}

static bool is_zero(const rqc_value *v)
{
    switch (v->type) {
    case RQC_INT:
    case RQC_BOOL: return v->u.i == 0;
    case RQC_REAL: return v->u.d == 0.0 && !signbit(v->u.d);
    case RQC_TEXT:
    case RQC_BYTES: return v->n == 0;
    default: return false;
    }
}

static rqc_err shape_field(const rqci_entity *e, int i, const rqc_value *v, struct shaped *s,
                           rqci_errbuf *err)
{
    const rqci_ftype type = (rqci_ftype)e->types[i];
    rqc_value *out = &s->value[i];
    if (v->type == RQC_ABSENT || v->type == RQC_NULL || (v->type == RQC_REAL && isnan(v->u.d))) {
        out->type = RQC_NULL;
        return RQC_OK;
    }
    if (type == RQCI_T_ID) {
        // Whether a row can be mirrored must be told by its key alone, because that is all the
        // change log has.
        if ((v->type != RQC_ID && v->type != RQC_BYTES) || v->n != 16) {
            if (i == 0)
                return rqci_fail(err, RQC_INVALID, "%s.%s: not 16 bytes", e->table,
                                 e->fields[i].name);
            out->type = RQC_NULL;
            s->coerced = true;
            return RQC_OK;
        }
        *out = (rqc_value){.type = RQC_ID, .n = 16, .p = v->p};
    } else if (v->type == RQC_LARGE) {
        const bool fits = type == RQCI_T_TEXT || type == RQCI_T_BYTES || type == RQCI_T_ANY;
        if (!fits || v->n != 16 || v->u.length <= RQCI_LARGE_BYTES)
            return rqci_fail(err, RQC_INVALID, "%s.%s: no large value", e->table,
                             e->fields[i].name);
        *out = *v;
    } else if (v->type > RQC_LARGE) {
        return rqci_fail(err, RQC_INVALID, "%s.%s: unknown type %d", e->table, e->fields[i].name,
                         (int)v->type);
    } else {
        *out = convert(v, type, s, s->scratch[i]);
        if (is_bytes(out->type) && out->n > RQCI_LARGE_BYTES)
            *out = enlarge(out, s->scratch[i]);
    }
    s->present |= 1u << i;
    if ((e->zero_mask >> i & 1) && is_zero(out))
        s->zero |= 1u << i;
    return RQC_OK;
}

// ---- Layout ----

// Bytes that a value has behind the slots; *ret_aligned: they begin at a multiple of 8.
static uint32_t tail_bytes(const rqci_entity *e, int i, const rqc_value *v, bool *ret_aligned)
{
    *ret_aligned = true;
    if (v->type == RQC_LARGE)
        return 24;
    if (e->types[i] == RQCI_T_ANY)
        return v->type == RQC_INT || v->type == RQC_REAL ? 16 : 8 + v->n;
    *ret_aligned = false;
    return v->type == RQC_TEXT || v->type == RQC_BYTES ? v->n : 0;
}

static uint32_t tail_start(uint32_t tail, bool aligned)
{
    return aligned ? (tail + 7) & ~7u : tail;
}

static void put_number(uint8_t *p, const rqc_value *v)
{
    uint64_t bits = (uint64_t)v->u.i;
    if (v->type == RQC_REAL)
        memcpy(&bits, &v->u.d, sizeof bits);
    rqci_put64(p, bits);
}

static void put_tail(uint8_t *p, bool any, const rqc_value *v)
{
    if (v->type == RQC_LARGE) {
        rqci_put64(p, v->u.length);
        memcpy(p + 8, v->p, 16);
        return;
    }
    if (any) {
        p[0] = (uint8_t)v->type;
        p += 8;
    }
    if (v->type == RQC_INT || v->type == RQC_REAL)
        put_number(p, v);
    else if (v->n > 0)
        memcpy(p, v->p, v->n);
}

static uint32_t slots_of(const rqci_entity *e, const struct shaped *s)
{
    return s->present & ~s->zero & e->slot_mask;
}

static uint32_t size_of(const rqci_entity *e, const struct shaped *s)
{
    const uint32_t slots = slots_of(e, s);
    uint32_t tail = RQCI_REC_HEADER + 8 * rqci_rec_slots(s->present & e->id_mask, slots);
    for (uint32_t left = slots; left != 0; left &= left - 1) {
        const int i = __builtin_ctz(left);
        bool aligned;
        const uint32_t n = tail_bytes(e, i, &s->value[i], &aligned);
        if (n > 0)
            tail = tail_start(tail, aligned) + n;
    }
    return (tail + 7) & ~7u;
}

// Everything behind the header into zeroed memory.
static void put_fields(uint8_t *p, const rqci_entity *e, const struct shaped *s)
{
    uint32_t at = RQCI_REC_HEADER;
    for (uint32_t left = s->present & e->id_mask; left != 0; left &= left - 1, at += 16)
        memcpy(p + at, s->value[__builtin_ctz(left)].p, 16);
    const uint32_t slots = slots_of(e, s);
    uint32_t tail = at + 8 * rqci_rec_slots(0, slots);
    for (uint32_t left = slots; left != 0; left &= left - 1, at += 8) {
        const int i = __builtin_ctz(left);
        const rqc_value *v = &s->value[i];
        bool aligned;
        const uint32_t n = tail_bytes(e, i, v, &aligned);
        if (n == 0) {
            put_number(p + at, v);
            continue;
        }
        tail = tail_start(tail, aligned);
        rqci_put32(p + at, tail);
        rqci_put32(p + at + 4, v->type == RQC_LARGE ? RQCI_REC_LARGE : n);
        put_tail(p + tail, e->types[i] == RQCI_T_ANY, v);
        tail += n;
    }
}

static rqc_err put_record(const rqci_entity *e, const struct shaped *s, uint64_t seq, uint8_t flags,
                          rqci_buf *out)
{
    const uint32_t size = size_of(e, s);
    const rqc_err rc = rqci_buf_reserve(out, size);
    if (rc != RQC_OK)
        return rc;
    uint8_t *p = out->data + out->len;
    memset(p, 0, size);
    rqci_put32(p, size);
    memcpy(p + 16, s->value[0].p, 16);
    if (e->updated >= 0 && s->value[e->updated].type == RQC_INT)
        rqci_put64(p + 32, (uint64_t)s->value[e->updated].u.i);
    rqci_put32(p + 40, s->present | (uint32_t)e->code << 24);
    rqci_put32(p + 44, s->zero | (uint32_t)flags << 24);
    put_fields(p, e, s);
    rqci_rec_set_seq((rqc_record *)p, seq);
    out->len += size;
    return RQC_OK;
}

rqc_err rqci_rec_pack(const rqci_entity *e, const rqc_value *row, uint64_t seq, uint8_t flags,
                      rqci_buf *out, rqci_errbuf *err)
{
    struct shaped s;
    s.present = s.zero = 0;
    s.coerced = false;
    for (int i = 0; i < e->nfields; i++) {
        const rqc_err rc = shape_field(e, i, &row[i], &s, err);
        if (rc != RQC_OK)
            return rc;
    }
    if (!(s.present & 1))
        return rqci_fail(err, RQC_INVALID, "%s.%s: not 16 bytes", e->table, e->fields[0].name);
    if (s.coerced)
        flags |= RQCI_REC_COERCED;
    const rqc_err rc = put_record(e, &s, seq, flags, out);
    return rc == RQC_OK ? rc : rqci_fail(err, rc, "%s: record", e->table);
}

rqc_err rqci_rec_pack_placeholder(const rqci_entity *e, const uint8_t id[16],
                                  const uint8_t owner[16], uint64_t seq, rqci_buf *out)
{
    struct shaped s;
    memset(&s, 0, sizeof s);
    s.present = 1;
    s.value[0] = (rqc_value){.type = RQC_ID, .n = 16, .p = id};
    if (e->owner >= 0 && owner) {
        s.value[e->owner] = (rqc_value){.type = RQC_ID, .n = 16, .p = owner};
        s.present |= 1u << e->owner;
    }
    return put_record(e, &s, seq, RQCI_REC_PLACEHOLDER, out);
}

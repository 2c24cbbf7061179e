// SPDX-License-Identifier: Apache-2.0
// The packed record in place: its fields, and the proof that bytes from elsewhere are one.
#include "record/record.h"

#include <math.h>

static double get_real(const uint8_t *p)
{
    const uint64_t bits = rqci_get64(p);
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

static rqc_value zero_value(const rqc_record *r, uint8_t type)
{
    switch (type) {
    case RQCI_T_BOOL: return (rqc_value){.type = RQC_BOOL};
    case RQCI_T_REAL: return (rqc_value){.type = RQC_REAL, .u.d = 0.0};
    case RQCI_T_TEXT: return (rqc_value){.type = RQC_TEXT, .p = r};
    case RQCI_T_BYTES: return (rqc_value){.type = RQC_BYTES, .p = r};
    default: return (rqc_value){.type = RQC_INT};
    }
}

static rqc_value rare_value(const rqc_record *r, const uint8_t *slot, uint8_t type)
{
    if (type == RQCI_T_REAL)
        return (rqc_value){.type = RQC_REAL, .u.d = get_real(slot)};
    const uint8_t *p = (const uint8_t *)r + rqci_get32(slot);
    const uint32_t len = rqci_get32(slot + 4);
    if (len == RQCI_REC_LARGE)
        return (rqc_value){.type = RQC_LARGE, .n = 16, .p = p + 8, .u.length = rqci_get64(p)};
    if (p[0] == RQC_INT)
        return (rqc_value){.type = RQC_INT, .u.i = (int64_t)rqci_get64(p + 8)};
    if (p[0] == RQC_REAL)
        return (rqc_value){.type = RQC_REAL, .u.d = get_real(p + 8)};
    return (rqc_value){.type = (rqc_type)p[0], .n = len - 8, .p = p + 8};
}

rqc_value rqci_rec_other_value(const rqc_record *r, const rqci_entity *e, int field)
{
    const uint32_t bit = 1u << field;
    const uint8_t type = e->types[field];
    if (!(rqci_rec_present(r) & bit))
        return (rqc_value){.type = RQC_NULL};
    if (type == RQCI_T_ID)
        return (rqc_value){.type = RQC_ID, .n = 16, .p = rqci_rec_id_field(r, field)};
    if (rqci_rec_zero(r) & bit)
        return zero_value(r, type);
    if (type == RQCI_T_BOOL)
        return (rqc_value){.type = RQC_BOOL, .u.i = 1};
    if (field == e->updated)
        return (rqc_value){.type = RQC_INT, .u.i = rqci_rec_updated(r)};
    const uint8_t *slot = rqci_rec_slot(r, e, field);
    if (type == RQCI_T_INT)
        return (rqc_value){.type = RQC_INT, .u.i = (int64_t)rqci_get64(slot)};
    const uint32_t len = rqci_get32(slot + 4);
    if ((type != RQCI_T_TEXT && type != RQCI_T_BYTES) || len == RQCI_REC_LARGE)
        return rare_value(r, slot, type);
    return (rqc_value){.type = type == RQCI_T_TEXT ? RQC_TEXT : RQC_BYTES,
                       .n = len,
                       .p = (const uint8_t *)r + rqci_get32(slot)};
}

void rqci_rec_unpack(const rqc_record *r, rqc_value *ret_row)
{
    const int n = rqci_entities[rqci_rec_entity(r)].nfields;
    for (int i = 0; i < n; i++)
        rqci_rec_field(r, i, &ret_row[i]);
}

static uint32_t check_value(const rqc_record *r)
{
    return (uint32_t)rqci_xxh64((const uint8_t *)r + 8, rqci_rec_size(r) - 8);
}

void rqci_rec_set_seq(rqc_record *r, uint64_t seq)
{
    uint8_t *p = (uint8_t *)r;
    rqci_put64(p + 8, seq);
    rqci_put32(p + 4, check_value(r));
}

bool rqci_rec_same(const rqc_record *a, const rqc_record *b)
{
    const uint8_t *p = (const uint8_t *)a;
    const uint8_t *q = (const uint8_t *)b;
    const uint32_t size = rqci_rec_size(a);
    // A row has one packed form: all bytes but those of seq and flags are equal, or the fields are
    // not.
    return size == rqci_rec_size(b) && memcmp(p + 16, q + 16, 31) == 0 &&
           memcmp(p + RQCI_REC_HEADER, q + RQCI_REC_HEADER, size - RQCI_REC_HEADER) == 0;
}

// ---- Verify ----

static rqc_err bad(rqci_errbuf *err, const char *what, uint32_t at)
{
    return rqci_fail(err, RQC_CORRUPT, "record: %s at byte %u", what, at);
}

static bool all_zero(const uint8_t *p, uint32_t n)
{
    uint8_t any = 0;
    for (uint32_t i = 0; i < n; i++)
        any |= p[i];
    return any == 0;
}

// Header: after it the size, the entity and the two bitmaps can be trusted.
static rqc_err verify_header(const uint8_t *p, size_t avail, rqci_errbuf *err)
{
    const rqc_record *r = (const rqc_record *)p;
    if (avail < RQCI_REC_HEADER)
        return rqci_fail(err, RQC_CORRUPT, "record: only %zu bytes", avail);
    const uint32_t size = rqci_rec_size(r);
    if (size < RQCI_REC_HEADER || size % 8 != 0 || size > RQCI_REC_MAX || size > avail)
        return rqci_fail(err, RQC_CORRUPT, "record: size %u of %zu bytes", size, avail);
    const rqci_entity *e = rqci_entity_of(rqci_rec_entity(r));
    if (!e)
        return bad(err, "unknown entity", 43);
    const uint32_t present = rqci_rec_present(r);
    const uint32_t zero = rqci_rec_zero(r);
    if (!(present & 1) || present >> e->nfields != 0)
        return bad(err, "impossible fields", 40);
    if ((zero & ~(present & e->zero_mask)) != 0)
        return bad(err, "impossible zeros", 44);
    if ((rqci_rec_flags(r) & ~RQCI_REC_FLAGS) != 0)
        return bad(err, "unknown flags", 47);
    const bool timed = e->updated >= 0 && (present >> e->updated & 1);
    const bool time_zero = timed && (zero >> e->updated & 1);
    if ((rqci_rec_updated(r) != 0) != (timed && !time_zero))
        return bad(err, "update time against its bits", 32);
    return RQC_OK;
}

// A value of type ANY, `len` bytes with their prefix.
static bool any_is_good(const uint8_t *p, uint32_t len)
{
    if (len < 8 || !all_zero(p + 1, 7))
        return false;
    switch (p[0]) {
    case RQC_INT: return len == 16;
    case RQC_REAL: return len == 16 && !isnan(get_real(p + 8));
    case RQC_TEXT:
    case RQC_BYTES: return len - 8 <= RQCI_LARGE_BYTES;
    default: return false;
    }
}

// The slot at byte `at`, whose bytes must begin at *tail, or at the next multiple of 8; moves *tail
// behind them.
static rqc_err verify_bytes(const uint8_t *p, uint32_t at, uint8_t type, uint32_t *tail,
                            rqci_errbuf *err)
{
    const uint32_t size = rqci_get32(p);
    const uint32_t offset = rqci_get32(p + at);
    const uint32_t slot_len = rqci_get32(p + at + 4);
    const bool large = slot_len == RQCI_REC_LARGE;
    const uint32_t len = large ? 24 : slot_len;
    const uint32_t start = large || type == RQCI_T_ANY ? (*tail + 7) & ~7u : *tail;
    if (offset != start || start > size || len > size - start)
        return bad(err, "bytes outside their place", at);
    if (!all_zero(p + *tail, start - *tail))
        return bad(err, "padding", *tail);
    bool good;
    if (large)
        good = rqci_get64(p + start) > RQCI_LARGE_BYTES;
    else if (type == RQCI_T_ANY)
        good = any_is_good(p + start, len);
    else
        good = len > 0 && len <= RQCI_LARGE_BYTES;
    if (!good)
        return bad(err, "impossible value", start);
    *tail = start + len;
    return RQC_OK;
}

static rqc_err verify_slots(const uint8_t *p, const rqci_entity *e, rqci_errbuf *err)
{
    const uint32_t size = rqci_get32(p);
    const uint32_t present = rqci_get32(p + 40) & 0xffffff;
    const uint32_t slots = present & ~rqci_get32(p + 44) & e->slot_mask;
    uint32_t at = RQCI_REC_HEADER + 8 * rqci_rec_slots(present & e->id_mask, 0);
    uint32_t tail = at + 8 * rqci_rec_slots(0, slots);
    if (tail > size)
        return bad(err, "cut off", size);
    for (uint32_t left = slots; left != 0; left &= left - 1, at += 8) {
        const uint8_t type = e->types[__builtin_ctz(left)];
        if (type == RQCI_T_INT || type == RQCI_T_REAL) {
            const uint64_t v = rqci_get64(p + at);
            if (v == 0 || (type == RQCI_T_REAL && isnan(get_real(p + at))))
                return bad(err, "impossible number", at);
            continue;
        }
        const rqc_err rc = verify_bytes(p, at, type, &tail, err);
        if (rc != RQC_OK)
            return rc;
    }
    if (size - tail > 7 || !all_zero(p + tail, size - tail))
        return bad(err, "padding", tail);
    return RQC_OK;
}

rqc_err rqci_rec_verify(const void *p, size_t avail, bool deep, rqci_errbuf *err)
{
    rqc_err rc = verify_header(p, avail, err);
    if (rc != RQC_OK)
        return rc;
    const rqc_record *r = p;
    rc = verify_slots(p, &rqci_entities[rqci_rec_entity(r)], err);
    if (rc != RQC_OK)
        return rc;
    if (deep && check_value(r) != rqci_rec_check_value(r))
        return bad(err, "wrong check value", 4);
    return RQC_OK;
}

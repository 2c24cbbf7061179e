// SPDX-License-Identifier: Apache-2.0
// The packed record: one row of one entity as one run of bytes, read in place. docs/format.md is
// the specification.
//
//   0  u32  size in bytes, a multiple of 8, at least 48
//   4  u32  check: low half of XXH3-64 of the record from byte 8 to its end
//   8  u64  seq of the record's last change
//  16  u8[16] id
//  32  i64  updated_at (0 where the entity has none or it is NULL)
//  40  u32  bits 0-23 present: field i is not NULL · bits 24-31 entity code
//  44  u32  bits 0-23 zero: field i is present and its value is 0, 0.0 (not -0.0), false, '' or x''
//  (it has no slot; never set
//           for ID and ANY) · bits 24-31 flags
//  48  16-byte slots of the ID fields that are present, in field order (the key has none)
//      8-byte slots of the other fields that are present and not zero, in field order (BOOL and
//      UPDATED have none):
//        INT i64 · REAL f64 · TEXT, BYTES u32 offset from the record's start, u32 length; bit 31 of
//        the length (0x80000018): a large value, the offset points to 24 bytes: u64 length,
//        XXH3-128 (canonical, big-endian) ANY as TEXT, its bytes begin with one type byte
//        (rqc_type) and 7 zero bytes, then the value (INT and REAL 8 bytes); the length counts all
//        of them. A large ANY is as a large TEXT: its storage class is not kept
//      the bytes of texts and blobs in field order, each at a multiple of 8 for ANY and large
//      values (zeros between), else right behind the one before; zero padding to a multiple of 8
//
// The same row has one packed form only. Everything is little-endian. Because the number of slots
// before a field's is a population count, a field is O(1).
#ifndef RQCI_RECORD_H
#define RQCI_RECORD_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "record/schema.h"

#define RQCI_REC_HEADER 48u
#define RQCI_REC_MAX    (8u << 20) // no record is larger: 24 fields of at most RQCI_LARGE_BYTES

enum {
    RQCI_REC_COERCED =
        1, // a column held another storage class than its declared one; the value was converted
    RQCI_REC_PLACEHOLDER =
        2, // membership only (id and owner): the row is gone again later in the same batch
    RQCI_REC_FLAGS = 3 // all that are known; a record with others is refused
};
#define RQCI_REC_LARGE 0x80000018u // length of a large value in its slot

// Header fields of a record that was checked, or that this process made. O(1), no copies.
static inline uint32_t rqci_rec_size(const rqc_record *r)
{
    return rqci_get32((const uint8_t *)r);
}
static inline uint32_t rqci_rec_check_value(const rqc_record *r)
{
    return rqci_get32((const uint8_t *)r + 4);
}
static inline uint64_t rqci_rec_seq(const rqc_record *r)
{
    return rqci_get64((const uint8_t *)r + 8);
}
static inline const uint8_t *rqci_rec_id(const rqc_record *r)
{
    return (const uint8_t *)r + 16;
}
static inline int64_t rqci_rec_updated(const rqc_record *r)
{
    return (int64_t)rqci_get64((const uint8_t *)r + 32);
}
static inline uint32_t rqci_rec_present(const rqc_record *r)
{
    return rqci_get32((const uint8_t *)r + 40) & 0xffffffu;
}
static inline uint8_t rqci_rec_entity(const rqc_record *r)
{
    return ((const uint8_t *)r)[43];
}
static inline uint32_t rqci_rec_zero(const rqc_record *r)
{
    return rqci_get32((const uint8_t *)r + 44) & 0xffffffu;
}
static inline uint8_t rqci_rec_flags(const rqc_record *r)
{
    return ((const uint8_t *)r)[47];
}

// A BOOL field, false when NULL. O(1).
static inline bool rqci_rec_bool(const rqc_record *r, int field)
{
    return ((rqci_rec_present(r) & ~rqci_rec_zero(r)) >> field) & 1u;
}

// Proves that `avail` bytes at p begin with a well-formed record (known entity, every offset
// inside, padding, canonical form); with `deep` also its check value. After it every accessor is
// safe on any input. RQC_CORRUPT with what and where. The texts' encoding is not looked at: rows
// may hold anything. p may have any alignment.
rqc_err rqci_rec_verify(const void *p, size_t avail, bool deep, rqci_errbuf *err);

// 2 * (number of bits in a) + (number of bits in b), for masks of at most 24 bits: the slots of 8
// bytes in front of a field. By hand, because a processor's own instruction is not in the x86-64
// baseline, and the compiler's substitute is a call.
static inline uint32_t rqci_rec_slots(uint32_t a, uint32_t b)
{
#ifdef __POPCNT__
    return 2 * (uint32_t)__builtin_popcount(a) + (uint32_t)__builtin_popcount(b);
#else
    uint64_t x = (uint64_t)b << 32 | a;
    x -= x >> 1 & UINT64_C(0x5555555555555555);
    x = (x & UINT64_C(0x3333333333333333)) + (x >> 2 & UINT64_C(0x3333333333333333));
    x = (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    // The top byte of the product is the sum of all bytes, those of a counted twice.
    return (uint32_t)(x * UINT64_C(0x0202020201010101) >> 56);
#endif
}

// The 16 bytes of an ID field in place, NULL when NULL. (The key: its id.)
static inline const uint8_t *rqci_rec_id_field(const rqc_record *r, int field)
{
    const uint8_t *p = (const uint8_t *)r;
    if (field == 0)
        return p + 16;
    const uint32_t present = rqci_rec_present(r);
    const uint32_t bit = 1u << field;
    if (!(present & bit))
        return NULL;
    return p + RQCI_REC_HEADER +
           8 * rqci_rec_slots(present & rqci_entities[p[43]].id_mask & (bit - 1), 0);
}

// The 8-byte slot of a field that has one: slot_mask, present, not zero.
static inline const uint8_t *rqci_rec_slot(const rqc_record *r, const rqci_entity *e, int field)
{
    const uint32_t present = rqci_rec_present(r);
    const uint32_t before = present & ~rqci_rec_zero(r) & e->slot_mask & ((1u << field) - 1);
    return (const uint8_t *)r + RQCI_REC_HEADER + 8 * rqci_rec_slots(present & e->id_mask, before);
}

// A REAL field's value, `none` when NULL. O(1).
static inline double rqci_rec_real(const rqc_record *r, const rqci_entity *e, int field,
                                   double none)
{
    double d;
    if (!(rqci_rec_present(r) >> field & 1u))
        return none;
    if (rqci_rec_zero(r) >> field & 1u)
        return 0.0;
    const uint64_t bits = rqci_get64(rqci_rec_slot(r, e, field));
    memcpy(&d, &bits, sizeof d);
    return d;
}

// Any value, as rqci_rec_value(). For what that does not answer itself.
rqc_value rqci_rec_other_value(const rqc_record *r, const rqci_entity *e, int field);

// Field i of a record: type NULL for an absent one; texts and blobs point into the record (p is
// never NULL); ID, TEXT, BYTES, LARGE as in rqc_value. `field` must be below the entity's nfields.
// Works at any alignment of r. Inline, and by value: reading fields is what a reader does most, and
// a value that is built in memory piece by piece and copied as a whole stalls the processor.
static inline rqc_value rqci_rec_value_of(const rqc_record *r, const rqci_entity *e, int field)
{
    const uint32_t bit = 1u << field, present = rqci_rec_present(r), zero = rqci_rec_zero(r);
    const uint8_t type = e->types[field];
    if (type == RQCI_T_TEXT && (present & ~zero & bit)) { // what is read most
        const uint8_t *slot = rqci_rec_slot(r, e, field);
        const uint32_t len = rqci_get32(slot + 4);
        if (len != RQCI_REC_LARGE)
            return (
                rqc_value){.type = RQC_TEXT, .n = len, .p = (const uint8_t *)r + rqci_get32(slot)};
    }
    return rqci_rec_other_value(r, e, field);
}

static inline rqc_value rqci_rec_value(const rqc_record *r, int field)
{
    return rqci_rec_value_of(r, &rqci_entities[rqci_rec_entity(r)], field);
}

static inline void rqci_rec_field(const rqc_record *r, int field, rqc_value *ret_value)
{
    *ret_value = rqci_rec_value(r, field);
}

// All fields, nfields entries.
void rqci_rec_unpack(const rqc_record *r, rqc_value *ret_row);

// Appends the packed form of a row to `out` (out->len stays a multiple of 8 if it was). ABSENT
// counts as NULL. TEXT and BYTES longer than RQCI_LARGE_BYTES become LARGE by themselves. The key
// must be an ID. A value whose type is not the field's is converted as SQLite's CAST does and sets
// RQCI_REC_COERCED (docs/format.md); an ID field that is not 16 bytes (RQC_ID or RQC_BYTES) becomes
// NULL. A key that is not 16 bytes is RQC_INVALID: such a row cannot be mirrored. RQC_LARGE is
// allowed in TEXT, BYTES and ANY fields. NaN becomes NULL, as in SQLite. RQC_INVALID,
// RQC_NO_MEMORY, RQC_TOO_LARGE leave `out` as it was. The values may not point into `out`.
rqc_err rqci_rec_pack(const rqci_entity *e, const rqc_value *row, uint64_t seq, uint8_t flags,
                      rqci_buf *out, rqci_errbuf *err);

// A placeholder: id, and owner where the entity has one (NULL: unknown). Appends to out.
// RQC_NO_MEMORY.
rqc_err rqci_rec_pack_placeholder(const rqci_entity *e, const uint8_t id[16],
                                  const uint8_t owner[16], uint64_t seq, rqci_buf *out);

// Changes the seq of a private copy of a record and its check value with it.
void rqci_rec_set_seq(rqc_record *r, uint64_t seq);

// The record's digest: XXH3-128 of entity, id and its fields in canonical form (docs/format.md):
// independent of seq, flags, layout. As a 128-bit number in two halves.
typedef rqci_hash128 rqci_digest;
void rqci_rec_digest(const rqc_record *r, rqci_digest *ret);

static inline void rqci_digest_add(rqci_digest *a, rqci_digest b)
{
    a->lo += b.lo;
    a->hi += b.hi + (a->lo < b.lo);
}

static inline void rqci_digest_sub(rqci_digest *a, rqci_digest b)
{
    const uint64_t borrow = a->lo < b.lo;
    a->lo -= b.lo;
    a->hi -= b.hi + borrow;
}

// Bucket 0 … 255 of an id: the low 8 bits of XXH3-64 of its 16 bytes.
unsigned rqci_id_bucket(const uint8_t id[16]);

// True when the two records hold the same logical fields (seq and flags do not count).
bool rqci_rec_same(const rqc_record *a, const rqc_record *b);

#endif

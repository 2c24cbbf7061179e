// SPDX-License-Identifier: Apache-2.0
// Packed records from anywhere. What the validator lets pass must be safe to read by every accessor
// at any alignment, and must be the one packed form of what they read: packing it again, or its way
// through JSON, gives the same bytes.
//
// The first byte says what the others are: bytes of a record as they are, or values of a row that
// is packed first and then changed in some places. Size and check value are mostly made right, else
// nothing behind them would be tried.
#include "tests/fuzz/fuzz.h"

#include "record/json.h"
#include "record/record.h"
#include "record/resolve.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODE_ROW = 1, MODE_AS_IT_IS = 2, MODE_BYTE_AFTER = 4, MODE_UNALIGNED = 8 };

#define CHANGES_MAX 8u
#define ROW_MAX     (2u << 20)

static uint64_t sink;

static void read_value(const rqc_value *v)
{
    if (v->type == RQC_TEXT || v->type == RQC_BYTES || v->type == RQC_ID || v->type == RQC_LARGE)
        for (uint32_t i = 0; i < v->n; i++)
            sink += ((const uint8_t *)v->p)[i];
    sink += v->u.length;
}

static bool equal(const rqc_value *a, const rqc_value *b)
{
    if (a->type != b->type)
        return false;
    if (a->type == RQC_NULL)
        return true;
    if (a->n != b->n || (a->n > 0 && memcmp(a->p, b->p, a->n) != 0))
        return false;
    const bool bytes = a->type == RQC_TEXT || a->type == RQC_BYTES || a->type == RQC_ID;
    return bytes || memcmp(&a->u, &b->u, sizeof a->u) == 0;
}

// ---- What must hold of a record that was let pass -----------------------------------------------

static void check_fields(const rqc_record *r, rqc_value *ret_row)
{
    static const int no_fields[] = {-1, INT_MIN, INT_MAX, RQC_FIELD_MAX, RQC_FIELD_MAX + 1};
    const rqc_entity entity = rqc_record_entity(r);
    const rqci_entity *e = rqci_entity_of((unsigned)entity);
    if (!e || memcmp(rqc_record_id(r), rqci_rec_id(r), 16) != 0)
        fuzz_broken("a record without an entity or an id", "");
    sink += rqc_record_seq(r) + (uint64_t)rqc_record_updated(r);
    rqci_rec_unpack(r, ret_row);
    const rqc_record *over[2] = {r, r};
    const rqc_item item = {r, over, 2, RQC_ORIGIN_OVERRIDE};
    rqc_list chain = {over, 2, 2};
    for (int i = 0; i < e->nfields; i++) {
        const rqc_value v = rqc_field(r, i), in_item = rqc_item_field(&item, i),
                        in_chain = rqc_chain_field(&chain, i);
        read_value(&v);
        read_value(&in_item);
        read_value(&in_chain);
        if (!equal(&v, &ret_row[i]))
            fuzz_broken("a field that reads in two ways", e->fields[i].name);
        if (e->types[i] == RQCI_T_BOOL && rqci_rec_bool(r, i) != (v.type == RQC_BOOL && v.u.i))
            fuzz_broken("a truth that reads in two ways", e->fields[i].name);
        if (e->types[i] != RQCI_T_ID)
            continue;
        const uint8_t *id = rqci_rec_id_field(r, i);
        if ((id != NULL) != (v.type == RQC_ID) || (id && memcmp(id, v.p, 16) != 0))
            fuzz_broken("an id that reads in two ways", e->fields[i].name);
    }
    for (size_t i = 0; i < sizeof no_fields / sizeof *no_fields; i++)
        if (rqc_field(r, no_fields[i]).type != RQC_ABSENT)
            fuzz_broken("a field that is none", "");
    if (rqc_field(r, e->nfields).type != RQC_ABSENT)
        fuzz_broken("a field behind the last", "");
}

static void check_same(const rqc_record *r, const rqci_buf *again, const char *how)
{
    const uint32_t size = rqci_rec_size(r);
    if (again->len != size || memcmp(again->data, r, size) != 0)
        fuzz_broken("packed again it differs", how);
    rqci_digest one, two;
    rqci_rec_digest(r, &one);
    rqci_rec_digest((const rqc_record *)again->data, &two);
    if (one.lo != two.lo || one.hi != two.hi || !rqci_rec_same(r, (const rqc_record *)again->data))
        fuzz_broken("the same record is another", how);
}

static void check_json(const rqc_record *r, const rqc_value *row)
{
    const rqci_entity *e = rqci_entity_of(rqci_rec_entity(r));
    rqci_buf text = {0}, again = {0};
    rqci_json_row parsed;
    rqci_errbuf err = {""};
    bool large = false;
    // No row of change_log has such a number, and JSON's integers end here.
    if (rqci_rec_seq(r) > INT64_MAX)
        return;
    for (int i = 0; i < e->nfields; i++)
        large = large || row[i].type == RQC_LARGE;
    if (rqci_json_record(&text, r, NULL) != RQC_OK)
        fuzz_broken("no JSON", "");
    const rqc_err rc = rqci_json_parse_row((const char *)text.data, text.len, &parsed, &err);
    // Of a large value JSON has the hash only.
    if ((rc == RQC_OK) == large)
        fuzz_broken("its own JSON", err.text);
    if (rc == RQC_OK) {
        if (parsed.entity != e || !parsed.has_id ||
            rqci_rec_pack(e, parsed.row, rqci_rec_seq(r), rqci_rec_flags(r), &again, &err) !=
                RQC_OK)
            fuzz_broken("its own JSON", err.text);
        check_same(r, &again, "from JSON");
        rqci_json_row_free(&parsed);
    }
    rqci_buf_free(&text);
    rqci_buf_free(&again);
}

static void check_record(const rqc_record *r, bool sealed)
{
    rqc_value row[RQCI_FIELD_MAX];
    rqci_buf again = {0};
    rqci_errbuf err = {""};
    check_fields(r, row);
    const rqci_entity *e = rqci_entity_of(rqci_rec_entity(r));
    if (rqci_rec_pack(e, row, rqci_rec_seq(r), rqci_rec_flags(r), &again, &err) != RQC_OK)
        fuzz_broken("cannot be packed again", err.text);
    if (!sealed) // checked without its check value
        rqci_put32(again.data + 4, rqci_rec_check_value(r));
    check_same(r, &again, "from its fields");
    rqci_buf_free(&again);
    if (sealed)
        check_json(r, row);
}

// ---- Bytes --------------------------------------------------------------------------------------

static void seal(uint8_t *p, size_t n)
{
    if (n < RQCI_REC_HEADER)
        return;
    rqci_put32(p, (uint32_t)n);
    rqci_put32(p + 4, (uint32_t)rqci_xxh64(p + 8, n - 8));
}

// In memory of exactly this size, so that a sanitizer sees a byte too far.
static void try_bytes(const uint8_t *data, size_t n, uint8_t mode)
{
    const size_t shift = mode & MODE_UNALIGNED ? 1 : 0, after = mode & MODE_BYTE_AFTER ? 1 : 0;
    uint8_t *memory = malloc(shift + n + after > 0 ? shift + n + after : 1);
    if (!memory)
        return;
    uint8_t *p = memory + shift;
    if (n > 0)
        memcpy(p, data, n);
    if (after) // it does not belong to the record
        p[n] = 0xa5;
    if (!(mode & MODE_AS_IT_IS))
        seal(p, n);
    rqci_errbuf err = {""};
    const rqc_err shallow = rqci_rec_verify(p, n + after, false, &err);
    if (shallow != RQC_OK && (shallow != RQC_CORRUPT || !*err.text))
        fuzz_broken("refused without a reason", err.text);
    const rqc_err deep = rqci_rec_verify(p, n + after, true, NULL);
    if (deep == RQC_OK && shallow != RQC_OK)
        fuzz_broken("the deeper look sees less", "");
    if (shallow == RQC_OK)
        check_record((const rqc_record *)p, deep == RQC_OK);
    free(memory);
}

// ---- Rows ---------------------------------------------------------------------------------------

typedef struct source {
    const uint8_t *p;
    size_t n;
    uint8_t *pool; // long values
} source;

static uint64_t take(source *s, size_t bytes)
{
    uint64_t v = 0;
    for (; bytes > 0 && s->n > 0; bytes--, s->n--)
        v = v << 8 | *s->p++;
    return v;
}

static rqc_value take_bytes(source *s, rqc_type type)
{
    const uint8_t kind = (uint8_t)take(s, 1);
    if (kind >= 0xf8) { // around the length from which on values are large
        const uint32_t n = RQCI_LARGE_BYTES - 4 + (kind & 7u);
        return (rqc_value){.type = type, .n = n, .p = s->pool};
    }
    const uint32_t n = kind < s->n ? kind : (uint32_t)s->n;
    const rqc_value v = {.type = type, .n = n, .p = s->p};
    s->p += n;
    s->n -= n;
    return v;
}

static rqc_value take_value(source *s)
{
    rqc_value v = {.type = (rqc_type)(take(s, 1) % (RQC_LARGE + 1))};
    switch (v.type) {
    case RQC_INT: v.u.i = (int64_t)take(s, 1 + take(s, 1) % 8); break;
    case RQC_REAL: v.u.length = take(s, 8); break;
    case RQC_BOOL: v.u.i = (int64_t)take(s, 1); break;
    case RQC_TEXT:
    case RQC_BYTES: return take_bytes(s, v.type);
    case RQC_ID:
        if (s->n < 16)
            return (rqc_value){.type = RQC_NULL};
        v.p = s->p;
        v.n = 16;
        s->p += 16;
        s->n -= 16;
        break;
    case RQC_LARGE:
        v.u.length = take(s, 4);
        v.p = s->pool;
        v.n = 16;
        break;
    default: break;
    }
    return v;
}

// A row of any values: what can be packed passes, and then with some bytes changed.
static void try_row(source *s, uint8_t mode)
{
    rqc_value row[RQCI_FIELD_MAX];
    rqci_buf out = {0};
    const rqci_entity *e = &rqci_entities[1 + take(s, 1) % RQCI_ENTITY_MAX];
    const uint8_t flags = take(s, 1) & RQCI_REC_FLAGS;
    const uint64_t seq = take(s, 8);
    uint16_t at[CHANGES_MAX];
    uint8_t to[CHANGES_MAX];
    const size_t changes = take(s, 1) % (CHANGES_MAX + 1);
    for (size_t i = 0; i < changes; i++) {
        at[i] = (uint16_t)take(s, 2);
        to[i] = (uint8_t)take(s, 1);
    }
    for (int i = 0; i < RQCI_FIELD_MAX; i++)
        row[i] = take_value(s);
    row[0] = (rqc_value){.type = RQC_ID, .n = 16, .p = s->pool};
    const rqc_err rc = rqci_rec_pack(e, row, seq, flags, &out, NULL);
    if (rc != RQC_OK && rc != RQC_INVALID)
        fuzz_broken("a row that cannot be packed", rqc_err_text(rc));
    if (rc == RQC_OK) {
        if (rqci_rec_verify(out.data, out.len, true, NULL) != RQC_OK)
            fuzz_broken("what was packed is not valid", e->table);
        check_record((const rqc_record *)out.data, true);
        for (size_t i = 0; i < changes; i++)
            out.data[at[i] % out.len] = to[i];
        try_bytes(out.data, out.len, mode);
    }
    rqci_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t pool[RQCI_LARGE_BYTES + 16];
    if (size < 1 || size > ROW_MAX)
        return 0;
    if (!pool[0])
        for (size_t i = 0; i < sizeof pool; i++)
            pool[i] = (uint8_t)(i * 7 + 1);
    if (data[0] & MODE_ROW) {
        source s = {data + 1, size - 1, pool};
        try_row(&s, data[0]);
    } else {
        try_bytes(data + 1, size - 1, data[0]);
    }
    return 0;
}

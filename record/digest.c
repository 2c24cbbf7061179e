// SPDX-License-Identifier: Apache-2.0
// The digest of a record: a hash of its logical fields, whatever their layout.
#include "record/record.h"

// Most records fit, and one call on one run of bytes is several times faster than the hasher.
struct sink {
    uint8_t bytes[2048];
    size_t n;
    bool spilled;
    rqci_hasher hasher;
};

static void spill(struct sink *s)
{
    if (!s->spilled)
        rqci_hasher_init(&s->hasher);
    s->spilled = true;
    rqci_hasher_add(&s->hasher, s->bytes, s->n);
    s->n = 0;
}

static uint8_t *room(struct sink *s, size_t n)
{
    if (sizeof s->bytes - s->n < n)
        spill(s);
    uint8_t *p = s->bytes + s->n;
    s->n += n;
    return p;
}

static void add_bytes(struct sink *s, const void *p, uint32_t n)
{
    rqci_put32(room(s, 4), n);
    if (n <= sizeof s->bytes) {
        if (n > 0)
            memcpy(room(s, n), p, n);
        return;
    }
    spill(s);
    rqci_hasher_add(&s->hasher, p, n);
}

static void add_value(struct sink *s, const rqc_value *v)
{
    switch (v->type) {
    case RQC_INT: rqci_put64(room(s, 8), (uint64_t)v->u.i); break;
    case RQC_REAL: {
        uint64_t bits;
        memcpy(&bits, &v->u.d, sizeof bits);
        rqci_put64(room(s, 8), bits);
        break;
    }
    case RQC_BOOL: *room(s, 1) = v->u.i != 0; break;
    case RQC_TEXT:
    case RQC_BYTES: add_bytes(s, v->p, v->n); break;
    case RQC_ID: memcpy(room(s, 16), v->p, 16); break;
    case RQC_LARGE:
        rqci_put64(room(s, 8), v->u.length);
        memcpy(room(s, 16), v->p, 16);
        break;
    case RQC_ABSENT:
    case RQC_NULL: break;
    }
}

void rqci_rec_digest(const rqc_record *r, rqci_digest *ret)
{
    struct sink s;
    s.n = 0;
    s.spilled = false;
    *room(&s, 1) = rqci_rec_entity(r);
    memcpy(room(&s, 16), rqci_rec_id(r), 16);
    for (uint32_t left = rqci_rec_present(r) & ~1u; left != 0; left &= left - 1) {
        const int i = __builtin_ctz(left);
        rqc_value v;
        rqci_rec_field(r, i, &v);
        uint8_t *head = room(&s, 2);
        head[0] = (uint8_t)i;
        head[1] = (uint8_t)v.type;
        add_value(&s, &v);
    }
    if (!s.spilled) {
        *ret = rqci_xxh128(s.bytes, s.n);
        return;
    }
    spill(&s);
    *ret = rqci_hasher_end128(&s.hasher);
}

unsigned rqci_id_bucket(const uint8_t id[16])
{
    return rqci_xxh64(id, 16) & 0xff;
}

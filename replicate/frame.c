// SPDX-License-Identifier: Apache-2.0
#include "replicate/frame.h"

#include "base/id.h"

#define OP_UPSERT 1u
#define OP_DELETE 2u

// ---- Writing ------------------------------------------------------------------------------------

rqc_err rqci_frame_begin(rqci_buf *out, const rqci_frame *h)
{
    const rqc_err rc = rqci_buf_reserve(out, RQCI_FRAME_HEADER);
    if (rc != RQC_OK)
        return rc;
    uint8_t *p = out->data + out->len;
    memset(p, 0, RQCI_FRAME_HEADER);
    rqci_put32(p, RQCI_FRAME_MAGIC);
    rqci_put32(p + 4, RQCI_FRAME_VERSION);
    rqci_put32(p + 20, h->flags);
    memcpy(p + 24, h->epoch.store_id, 16);
    rqci_put32(p + 40, h->epoch.term);
    memcpy(p + 48, h->topic, 16);
    rqci_put64(p + 64, h->prev_seq);
    rqci_put64(p + 72, h->seq);
    rqci_put64(p + 80, h->horizon);
    rqci_put64(p + 88, h->records);
    rqci_put64(p + 96, h->digest.lo);
    rqci_put64(p + 104, h->digest.hi);
    out->len += RQCI_FRAME_HEADER;
    return RQC_OK;
}

size_t rqci_frame_entry_size(const rqc_change *c)
{
    return RQCI_FRAME_ENTRY + (c->op == OP_UPSERT ? rqci_rec_size(c->record) : 0);
}

rqc_err rqci_frame_add(rqci_buf *out, const rqc_change *c)
{
    const size_t n = rqci_frame_entry_size(c);
    if (out->len + n > RQCI_FRAME_MAX)
        return RQC_TOO_LARGE;
    const rqc_err rc = rqci_buf_reserve(out, n);
    if (rc != RQC_OK)
        return rc;
    uint8_t *p = out->data + out->len;
    memset(p, 0, RQCI_FRAME_ENTRY);
    p[0] = c->entity;
    p[1] = c->op;
    rqci_put32(p + 4, (uint32_t)(n - RQCI_FRAME_ENTRY));
    rqci_put64(p + 8, c->seq);
    memcpy(p + 16, c->id, 16);
    if (n > RQCI_FRAME_ENTRY)
        memcpy(p + RQCI_FRAME_ENTRY, c->record, n - RQCI_FRAME_ENTRY);
    out->len += n;
    return RQC_OK;
}

void rqci_frame_end(rqci_buf *out, size_t at, uint32_t count)
{
    uint8_t *p = out->data + at;
    const size_t n = out->len - at;
    rqci_put32(p + 16, (uint32_t)n);
    rqci_put32(p + 44, count);
    rqci_put64(p + 8, rqci_xxh64(p + 16, n - 16));
}

// ---- Reading ------------------------------------------------------------------------------------

static rqc_err bad(rqci_errbuf *err, const char *what)
{
    return rqci_fail(err, RQC_CORRUPT, "frame: %s", what);
}

// Entries stand in order of (seq, entity, id), each once.
static bool behind(const uint8_t *a, const uint8_t *b)
{
    const uint64_t x = rqci_get64(a + 8), y = rqci_get64(b + 8);
    if (x != y)
        return x < y;
    return a[0] != b[0] ? a[0] < b[0] : memcmp(a + 16, b + 16, 16) < 0;
}

static rqc_err check_entry(const rqci_frame *f, const uint8_t *p, size_t avail, size_t *ret_size,
                           rqci_errbuf *err)
{
    if (avail < RQCI_FRAME_ENTRY)
        return bad(err, "an entry is cut");
    const uint32_t n = rqci_get32(p + 4);
    const uint64_t seq = rqci_get64(p + 8);
    if (!rqci_entity_of(p[0]) || (p[1] != OP_UPSERT && p[1] != OP_DELETE) || p[2] || p[3])
        return bad(err, "an entry of no known kind");
    if (n > avail - RQCI_FRAME_ENTRY || n % 8 != 0 || (n == 0) != (p[1] == OP_DELETE))
        return bad(err, "a record's size is wrong");
    // A page may go on inside of a seq.
    if (seq > f->seq || seq < f->prev_seq + !(f->flags & RQCI_FRAME_PAGE))
        return bad(err, "an entry's seq is not the frame's");
    *ret_size = RQCI_FRAME_ENTRY + n;
    if (n == 0)
        return RQC_OK;
    const uint8_t *record = p + RQCI_FRAME_ENTRY;
    const rqc_err rc = rqci_rec_verify(record, n, true, err);
    if (rc != RQC_OK)
        return rc;
    const rqc_record *r = (const rqc_record *)record;
    if (rqci_rec_size(r) != n || rqci_rec_entity(r) != p[0] || rqci_rec_seq(r) != seq ||
        !rqci_id_equal(rqci_rec_id(r), p + 16) || (rqci_rec_flags(r) & RQCI_REC_PLACEHOLDER))
        return bad(err, "a record is not what its entry says");
    return RQC_OK;
}

static rqc_err check_entries(const rqci_frame *f, rqci_errbuf *err)
{
    const uint8_t *before = NULL;
    size_t offset = 0, size = 0;
    for (uint32_t i = 0; i < f->count; i++, offset += size) {
        const uint8_t *p = f->entries + offset;
        const rqc_err rc = check_entry(f, p, f->entry_bytes - offset, &size, err);
        if (rc != RQC_OK)
            return rc;
        if (before && !behind(before, p))
            return bad(err, "entries are not in order");
        before = p;
    }
    return offset == f->entry_bytes ? RQC_OK : bad(err, "bytes behind the last entry");
}

static rqc_err check_header(const rqci_frame *f, rqci_errbuf *err)
{
    const uint32_t kind = f->flags & (RQCI_FRAME_BOOKMARK | RQCI_FRAME_GAP | RQCI_FRAME_PAGE);
    if (f->flags & ~(uint32_t)RQCI_FRAME_FLAGS || (kind & (kind - 1)))
        return bad(err, "flags that do not go together");
    if ((f->flags & RQCI_FRAME_ALL) && !rqci_id_zero(f->topic))
        return bad(err, "a workspace in the topic of all");
    if (f->prev_seq > f->seq || f->seq == UINT64_MAX)
        return bad(err, "prev_seq is behind seq");
    if (f->horizon > f->seq)
        return bad(err, "the horizon is behind seq");
    if ((kind & (RQCI_FRAME_BOOKMARK | RQCI_FRAME_GAP)) && f->entry_bytes > 0)
        return bad(err, "entries where there are none");
    if (!(kind & (RQCI_FRAME_BOOKMARK | RQCI_FRAME_PAGE)) && f->prev_seq == f->seq)
        return bad(err, "nothing between prev_seq and seq");
    if (kind == 0 && f->count == 0)
        return bad(err, "no entries");
    return RQC_OK;
}

rqc_err rqci_frame_decode(const void *bytes, size_t n, rqci_frame *ret_frame, rqci_errbuf *err)
{
    const uint8_t *p = bytes;
    if (n < RQCI_FRAME_HEADER || n > RQCI_FRAME_MAX || n % 8 != 0)
        return bad(err, "its size is none that a frame has");
    if (rqci_get32(p) != RQCI_FRAME_MAGIC)
        return bad(err, "it does not begin like one");
    if (rqci_get32(p + 4) != RQCI_FRAME_VERSION)
        return rqci_fail(err, RQC_VERSION, "frame: version %u, not %u", rqci_get32(p + 4),
                         RQCI_FRAME_VERSION);
    if (rqci_get32(p + 16) != n)
        return bad(err, "it has another size than it says");
    if (rqci_get64(p + 8) != rqci_xxh64(p + 16, n - 16))
        return bad(err, "its check value is wrong");
    rqci_frame f = {.flags = rqci_get32(p + 20),
                    .count = rqci_get32(p + 44),
                    .epoch.term = rqci_get32(p + 40),
                    .prev_seq = rqci_get64(p + 64),
                    .seq = rqci_get64(p + 72),
                    .horizon = rqci_get64(p + 80),
                    .records = rqci_get64(p + 88),
                    .digest = {rqci_get64(p + 96), rqci_get64(p + 104)},
                    .entries = p + RQCI_FRAME_HEADER,
                    .entry_bytes = n - RQCI_FRAME_HEADER};
    memcpy(f.epoch.store_id, p + 24, 16);
    memcpy(f.topic, p + 48, 16);
    rqc_err rc = check_header(&f, err);
    if (rc == RQC_OK)
        rc = check_entries(&f, err);
    if (rc == RQC_OK)
        *ret_frame = f;
    return rc;
}

bool rqci_frame_next(const rqci_frame *f, size_t *offset, rqc_change *ret_change)
{
    if (*offset >= f->entry_bytes)
        return false;
    const uint8_t *p = f->entries + *offset;
    ret_change->entity = p[0];
    ret_change->op = p[1];
    ret_change->seq = rqci_get64(p + 8);
    ret_change->id = p + 16;
    ret_change->record = p[1] == OP_UPSERT ? (const rqc_record *)(p + RQCI_FRAME_ENTRY) : NULL;
    *offset += RQCI_FRAME_ENTRY + rqci_get32(p + 4);
    return true;
}

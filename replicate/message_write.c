// SPDX-License-Identifier: Apache-2.0
// Transactions on their way to a sidecar, and what became of them.
#include "replicate/message_parts.h"

#define WRITE_BYTES        32u
#define WRITE_ANSWER_BYTES 64u

#define WRITE_VISIBLE  1u // flags of an answer
#define WRITE_REPLAYED 2u

// ---- Writing ------------------------------------------------------------------------------------

rqc_err rqci_ask_write_begin(rqci_buf *out, const void *key, size_t key_len)
{
    uint8_t *p;
    if (key_len > RQCI_MSG_KEY)
        return RQC_TOO_LARGE;
    const rqc_err rc = rqci_message_begin(out, RQCI_ASK_MAGIC, RQCI_ASK_WRITE,
                                          RQCI_WRITES_HEADER + rqci_padded(key_len), &p);
    if (rc != RQC_OK)
        return rc;
    rqci_put32(p + 4, (uint32_t)key_len);
    if (key_len > 0)
        memcpy(p + RQCI_WRITES_HEADER, key, key_len);
    return RQC_OK;
}

static bool is_number(rqc_type t)
{
    return t == RQC_INT || t == RQC_REAL || t == RQC_BOOL;
}

static bool has_bytes(rqc_type t)
{
    return t == RQC_TEXT || t == RQC_BYTES || t == RQC_ID;
}

static rqc_err add_field(rqci_buf *out, int field, const rqc_value *v)
{
    uint8_t *p;
    const uint32_t n = is_number(v->type) ? 8 : has_bytes(v->type) ? v->n : 0;
    if (n > RQCI_MSG_MAX)
        return RQC_TOO_LARGE;
    const rqc_err rc = rqci_message_extend(out, 8 + rqci_padded(n), &p);
    if (rc != RQC_OK)
        return rc;
    p[0] = (uint8_t)field;
    p[1] = (uint8_t)v->type;
    rqci_put32(p + 4, n);
    if (is_number(v->type))
        rqci_put64(p + 8, (uint64_t)v->u.i);
    else if (n > 0)
        memcpy(p + 8, v->p, n);
    return RQC_OK;
}

rqc_err rqci_ask_write_add(rqci_buf *out, const rqci_asked_write *w)
{
    const rqci_entity *e = rqci_entity_of(w->entity);
    const size_t at = out->len;
    uint8_t *p, given = 0;
    if (!e)
        return RQC_INVALID;
    rqc_err rc = rqci_message_extend(out, WRITE_BYTES, &p);
    for (int i = 1; rc == RQC_OK && w->kind != RQCI_KIND_DELETE && i < e->nfields; i++) {
        if (w->row[i].type == RQC_ABSENT)
            continue;
        rc = add_field(out, i, &w->row[i]);
        given++;
    }
    if (rc != RQC_OK)
        return rc;
    p = out->data + at;
    p[0] = w->kind;
    p[1] = w->entity;
    p[2] = given;
    rqci_put32(p + 4, (uint32_t)(out->len - at));
    rqci_put64(p + 8, w->if_seq);
    memcpy(p + 16, w->id, 16);
    return RQC_OK;
}

void rqci_ask_write_end(rqci_buf *out, uint32_t count)
{
    rqci_put32(out->data + RQCI_MSG_HEADER, count);
    rqci_message_end(out);
}

rqc_err rqci_answer_write(rqci_buf *out, const rqci_write_answer *a)
{
    uint8_t *p;
    const rqc_err rc = rqci_message_begin(out, RQCI_ANSWER_MAGIC, RQC_OK, WRITE_ANSWER_BYTES, &p);
    if (rc != RQC_OK)
        return rc;
    memcpy(p, a->epoch.store_id, 16);
    rqci_put32(p + 16, a->epoch.term);
    rqci_put32(p + 20, (a->visible ? WRITE_VISIBLE : 0) | (a->replayed ? WRITE_REPLAYED : 0));
    rqci_put64(p + 24, a->seq);
    rqci_put64(p + 32, a->written);
    rqci_put64(p + 40, a->skipped);
    rqci_put64(p + 48, a->deleted);
    rqci_message_end(out);
    return RQC_OK;
}

// ---- Reading ------------------------------------------------------------------------------------

static rqc_err next_field(const uint8_t *p, size_t avail, const rqci_entity *e, rqc_value *row,
                          size_t *ret_size, rqci_errbuf *err)
{
    if (avail < 8)
        return rqci_message_bad(err, "a field is cut");
    const uint8_t field = p[0];
    const rqc_type type = (rqc_type)p[1];
    const uint32_t n = rqci_get32(p + 4);
    if (field == 0 || field >= e->nfields || p[2] || p[3] || row[field].type != RQC_ABSENT)
        return rqci_message_bad(err, "a field that there is not, or twice");
    if (n > avail - 8 || rqci_padded(n) > avail - 8)
        return rqci_message_bad(err, "a value is cut");
    if (is_number(type) ? n != 8 : type == RQC_ID ? n != 16 : !has_bytes(type) && n != 0)
        return rqci_message_bad(err, "a value of another size");
    if (!is_number(type) && !has_bytes(type) && type != RQC_NULL)
        return rqci_message_bad(err, "a value of no known type");
    row[field] = (rqc_value){.type = type};
    if (is_number(type)) {
        row[field].u.i = (int64_t)rqci_get64(p + 8);
    } else {
        row[field].n = n;
        row[field].p = p + 8;
    }
    *ret_size = 8 + rqci_padded(n);
    return RQC_OK;
}

rqc_err rqci_ask_write_key(const rqci_message *m, const uint8_t **ret_key, size_t *ret_len,
                           rqci_errbuf *err)
{
    const size_t n = m->n < RQCI_WRITES_HEADER ? SIZE_MAX : rqci_get32(m->body + 4);
    if (n > RQCI_MSG_KEY || RQCI_WRITES_HEADER + rqci_padded(n) > m->n)
        return rqci_message_bad(err, "no transaction");
    if (!rqci_zeros(m->body + RQCI_WRITES_HEADER + n, rqci_padded(n) - n))
        return rqci_message_bad(err, "bytes behind a key");
    *ret_key = m->body + RQCI_WRITES_HEADER;
    *ret_len = n;
    return RQC_OK;
}

rqc_err rqci_ask_write_next(const rqci_message *m, size_t *offset, rqci_asked_write *ret,
                            rqci_errbuf *err)
{
    const uint8_t *key;
    size_t key_len;
    if (*offset == 0) {
        const rqc_err rc = rqci_ask_write_key(m, &key, &key_len, err);
        if (rc != RQC_OK)
            return rc;
        *offset = RQCI_WRITES_HEADER + rqci_padded(key_len);
    }
    size_t left = m->n - *offset;
    if (left == 0)
        return RQC_NOT_FOUND;
    const uint8_t *p = m->body + *offset;
    const rqci_entity *e = left < WRITE_BYTES ? NULL : rqci_entity_of(p[1]);
    if (!e || p[0] < RQCI_KIND_PUT || p[0] > RQCI_KIND_DELETE || p[3])
        return rqci_message_bad(err, "a write of no known kind");
    const uint32_t size = rqci_get32(p + 4);
    if (size < WRITE_BYTES || size > left || size % 8 != 0)
        return rqci_message_bad(err, "a write is cut");
    memset(ret, 0, sizeof *ret);
    ret->kind = p[0];
    ret->entity = p[1];
    ret->if_seq = rqci_get64(p + 8);
    memcpy(ret->id, p + 16, 16);
    size_t at = WRITE_BYTES, used = 0;
    for (uint8_t i = 0; i < p[2]; i++, at += used) {
        const rqc_err rc = next_field(p + at, size - at, e, ret->row, &used, err);
        if (rc != RQC_OK)
            return rc;
    }
    if (at != size || (ret->kind == RQCI_KIND_DELETE && p[2] != 0))
        return rqci_message_bad(err, "bytes behind a write");
    *offset += size;
    return RQC_OK;
}

rqc_err rqci_write_answer_decode(const rqci_message *m, rqci_write_answer *ret, rqci_errbuf *err)
{
    const uint8_t *p = m->body;
    const uint32_t flags = m->n == WRITE_ANSWER_BYTES ? rqci_get32(p + 20) : UINT32_MAX;
    if (flags & ~(WRITE_VISIBLE | WRITE_REPLAYED))
        return rqci_message_bad(err, "no answer to a transaction");
    memcpy(ret->epoch.store_id, p, 16);
    ret->epoch.term = rqci_get32(p + 16);
    ret->visible = flags & WRITE_VISIBLE;
    ret->replayed = flags & WRITE_REPLAYED;
    ret->seq = rqci_get64(p + 24);
    ret->written = rqci_get64(p + 32);
    ret->skipped = rqci_get64(p + 40);
    ret->deleted = rqci_get64(p + 48);
    return RQC_OK;
}

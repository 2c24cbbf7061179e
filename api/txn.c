// SPDX-License-Identifier: Apache-2.0
// Transactions: rows are checked and copied as they come, and go to the store as one job.
#include "api/txn.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)64 << 10)

// Memory that is given back as a whole.
typedef struct rqci_block {
    struct rqci_block *next;
    size_t used, size;
    max_align_t data[];
} rqci_block;

static void blocks_free(rqci_block *b)
{
    while (b) {
        rqci_block *next = b->next;
        free(b);
        b = next;
    }
}

static void *take(rqc_txn *t, size_t n)
{
    n = (n + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    rqci_block *b = t->blocks;
    if (!b || b->size - b->used < n) {
        const size_t size = n > BLOCK_BYTES / 4 ? n : BLOCK_BYTES;
        b = malloc(sizeof *b + size);
        if (!b)
            return NULL;
        b->used = 0;
        b->size = size;
        // A block of one large value is full at once: it must not hide the room in the block before
        // it.
        if (t->blocks && size != BLOCK_BYTES) {
            b->next = t->blocks->next;
            t->blocks->next = b;
        } else {
            b->next = t->blocks;
            t->blocks = b;
        }
    }
    void *p = (char *)b->data + b->used;
    b->used += n;
    return p;
}

rqc_err rqc_txn_new(rqc_db *db, rqc_txn **ret_txn, rqc_error *err)
{
    if (rqci_forked(db))
        return rqci_report(err, RQC_CLOSED, NULL);
    if (!db->owner && !rqci_remote_there(db))
        return rqci_report(err, RQC_READ_ONLY, NULL);
    rqc_txn *t = calloc(1, sizeof *t);
    if (!t)
        return rqci_report(err, RQC_NO_MEMORY, NULL);
    t->db = db;
    *ret_txn = t;
    return RQC_OK;
}

void rqci_txn_empty(rqc_txn *t)
{
    blocks_free(t->blocks);
    t->blocks = NULL;
    t->n = 0;
    t->key_len = 0;
}

void rqci_txn_delete(rqc_txn *t)
{
    blocks_free(t->blocks);
    free(t->writes);
    free(t);
}

void rqc_txn_free(rqc_txn *t)
{
    if (t && !rqci_txn_let_go(t))
        rqci_txn_delete(t);
}

rqc_err rqci_txn_mine(rqc_txn *t)
{
    return atomic_load_explicit(&t->state, memory_order_acquire) == RQCI_TXN_IDLE ? RQC_OK
                                                                                  : RQC_INVALID;
}

rqc_err rqc_txn_key(rqc_txn *t, const void *key, size_t len)
{
    if (rqci_txn_mine(t) != RQC_OK)
        return RQC_INVALID;
    if (len > RQC_KEY_MAX || (len > 0 && !key))
        return rqci_fail(&t->err, RQC_INVALID, "a key has at most %u bytes", RQC_KEY_MAX);
    if (len > 0)
        memcpy(t->key, key, len);
    t->key_len = len;
    return RQC_OK;
}

size_t rqci_txn_failed(const rqc_txn *t)
{
    return t->failed;
}

const char *rqc_txn_error(const rqc_txn *t)
{
    return t->err.text;
}

// A private copy of a row and of all it points to: one piece of memory.
static rqc_value *copy_row(rqc_txn *t, const rqci_entity *e, const rqc_value *row)
{
    const size_t fixed = e->nfields * sizeof *row;
    rqc_value *out = take(t, fixed + rqci_row_bytes(row, e->nfields));
    if (out)
        rqci_row_copy(out, (char *)out + fixed, row, e->nfields);
    return out;
}

static rqc_err room_for_write(rqc_txn *t)
{
    if (t->n < t->cap)
        return RQC_OK;
    if (t->n >= RQCI_JOB_WRITES_MAX)
        return rqci_fail(&t->err, RQC_TOO_LARGE, "more than %u writes in one transaction",
                         RQCI_JOB_WRITES_MAX);
    const size_t cap = t->cap ? t->cap * 2 : 64;
    rqci_write *writes = realloc(t->writes, cap * sizeof *writes);
    if (!writes)
        return rqci_fail(&t->err, RQC_NO_MEMORY, "no memory for %zu writes", cap);
    t->writes = writes;
    t->cap = cap;
    return RQC_OK;
}

static rqc_err add(rqc_txn *t, uint8_t kind, rqc_entity entity, const uint8_t id[16],
                   const rqc_value *row, uint64_t if_seq)
{
    if (rqci_txn_mine(t) != RQC_OK)
        return RQC_INVALID;
    const rqci_entity *e = (int)entity > 0 ? rqci_entity_of((unsigned)entity) : NULL;
    if (!e || !id || (!row && kind != RQCI_WRITE_DELETE))
        return rqci_fail(&t->err, RQC_INVALID, "no such entity, no id, or no row");
    rqc_err rc = room_for_write(t);
    if (rc != RQC_OK)
        return rc;
    rqci_write w = {.kind = kind, .entity = e->code, .if_seq = if_seq != 0, .seq = if_seq};
    memcpy(w.id, id, 16);
    if (row) {
        rqc_value checked[RQCI_FIELD_MAX];
        memcpy(checked, row, e->nfields * sizeof *row);
        checked[0] = rqc_id(id);
        rc = rqci_row_check(e, checked, kind == RQCI_WRITE_PATCH, &t->err);
        if (rc != RQC_OK)
            return rc;
        w.row = copy_row(t, e, checked);
        if (!w.row)
            return rqci_fail(&t->err, RQC_NO_MEMORY, "no memory for a row of %s", e->table);
    }
    t->writes[t->n++] = w;
    return RQC_OK;
}

rqc_err rqc_put(rqc_txn *t, rqc_entity entity, const uint8_t id[16], const rqc_value *row)
{
    return add(t, RQCI_WRITE_PUT, entity, id, row, 0);
}

rqc_err rqc_add(rqc_txn *t, rqc_entity entity, const uint8_t id[16], const rqc_value *row)
{
    return add(t, RQCI_WRITE_ADD, entity, id, row, 0);
}

rqc_err rqc_patch(rqc_txn *t, rqc_entity entity, const uint8_t id[16], const rqc_value *row,
                  uint64_t if_seq)
{
    return add(t, RQCI_WRITE_PATCH, entity, id, row, if_seq);
}

rqc_err rqc_delete(rqc_txn *t, rqc_entity entity, const uint8_t id[16], uint64_t if_seq)
{
    return add(t, RQCI_WRITE_DELETE, entity, id, NULL, if_seq);
}

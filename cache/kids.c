// SPDX-License-Identifier: Apache-2.0
// Children, stored by owner: the records of one kind of one owner stand back to back in chunks, in
// order of id. A full chunk's key ends with an upper bound of its ids, the last chunk's key sorts
// behind them, so one seek finds the chunk of any id.
#include "cache/internal.h"

// Puts the cursor on the chunk that would hold id. RQC_NOT_FOUND when no chunk of this owner and
// entity has so high ids.
static rqc_err seek_chunk(MDB_cursor *c, const uint8_t owner[16], uint8_t entity,
                          const uint8_t id[16], MDB_val *key, MDB_val *val, rqci_errbuf *err)
{
    uint8_t k[RQCI_KEY_KIDS];
    rqci_key_kids(k, owner, entity, id);
    *key = (MDB_val){sizeof k, k};
    const int rc = mdb_cursor_get(c, key, val, MDB_SET_RANGE);
    if (rc != 0)
        return rqci_lmdb_err(rc, "children", err);
    if (key->mv_size < RQCI_KEY_KIDS_LAST || memcmp(key->mv_data, k, RQCI_KEY_KIDS_PREFIX) != 0)
        return RQC_NOT_FOUND;
    return RQC_OK;
}

// Where id stands, or would stand, in a chunk. *size is 0 when it is not there.
static rqc_err locate(const MDB_val *chunk, const uint8_t id[16], size_t *ret_offset,
                      size_t *ret_size, rqci_errbuf *err)
{
    bool bad = false;
    size_t offset = 0, at = 0;
    *ret_size = 0;
    for (const rqc_record *r; (r = rqci_chunk_next(chunk, &offset, &bad)) != NULL; at = offset) {
        const int order = memcmp(rqci_rec_id(r), id, 16);
        if (order < 0)
            continue;
        if (order == 0)
            *ret_size = rqci_rec_size(r);
        break;
    }
    *ret_offset = at;
    return bad ? rqci_fail(err, RQC_CORRUPT, "view: a chunk of children is damaged") : RQC_OK;
}

rqc_err rqci_kids_find(MDB_cursor *kids, const uint8_t owner[16], uint8_t entity,
                       const uint8_t id[16], MDB_val *ret_chunk, size_t *ret_behind,
                       const rqc_record **ret, rqci_errbuf *err)
{
    MDB_val key;
    size_t offset, size;
    rqc_err rc = seek_chunk(kids, owner, entity, id, &key, ret_chunk, err);
    if (rc == RQC_OK)
        rc = locate(ret_chunk, id, &offset, &size, err);
    if (rc == RQC_OK && size == 0)
        rc = RQC_NOT_FOUND;
    if (rc == RQC_OK) {
        *ret = (const rqc_record *)((const uint8_t *)ret_chunk->mv_data + offset);
        *ret_behind = offset + size;
    }
    return rc;
}

rqc_err rqci_kids_get(MDB_cursor *kids, const uint8_t owner[16], uint8_t entity,
                      const uint8_t id[16], const rqc_record **ret, rqci_errbuf *err)
{
    MDB_val chunk;
    size_t behind;
    return rqci_kids_find(kids, owner, entity, id, &chunk, &behind, ret, err);
}

static rqc_err store(rqci_wtxn *w, const uint8_t *k, size_t klen, const uint8_t *p, size_t n)
{
    MDB_val key = {klen, (void *)(uintptr_t)k}, val = {n, (void *)(uintptr_t)p};
    return rqci_lmdb_err(mdb_cursor_put(w->kids, &key, &val, 0), "children", w->err);
}

// Stores the new content of a chunk under its key, split where it is too large. Pieces before the
// last one get keys of their own highest id.
static rqc_err store_split(rqci_wtxn *w, const uint8_t *key, size_t klen, bool appended)
{
    const uint8_t *p = w->chunk.data;
    size_t left = w->chunk.len;
    const size_t half = left / 2;
    while (left > RQCI_CHUNK_MAX) {
        // An append leaves the full piece as it is; an insert in the middle makes two halves, both
        // with room.
        const size_t want = appended || half > RQCI_CHUNK_MAX ? RQCI_CHUNK_MAX : half;
        size_t take = 0;
        const rqc_record *last = NULL;
        while (take < left) {
            const rqc_record *r = (const rqc_record *)(p + take);
            const size_t size = rqci_rec_size(r);
            if (last != NULL && take + size > want)
                break;
            last = r;
            take += size;
        }
        if (take == left)
            break; // one record larger than a chunk
        uint8_t k[RQCI_KEY_KIDS];
        rqci_key_kids(k, key, key[16], rqci_rec_id(last));
        const rqc_err rc = store(w, k, sizeof k, p, take);
        if (rc != RQC_OK)
            return rc;
        p += take;
        left -= take;
    }
    return store(w, key, klen, p, left);
}

rqc_err rqci_kids_put(rqci_wtxn *w, const uint8_t owner[16], const rqc_record *r)
{
    MDB_val key, val;
    uint8_t k[RQCI_KEY_KIDS];
    const uint8_t entity = rqci_rec_entity(r);
    const size_t size = rqci_rec_size(r);
    rqc_err rc = seek_chunk(w->kids, owner, entity, rqci_rec_id(r), &key, &val, w->err);
    if (rc == RQC_NOT_FOUND) {
        rqci_key_kids(k, owner, entity, rqci_rec_id(r));
        k[17] = RQCI_CHUNK_LAST;
        return store(w, k, RQCI_KEY_KIDS_LAST, (const uint8_t *)r, size);
    }
    if (rc != RQC_OK)
        return rc;
    size_t at, old;
    rc = locate(&val, rqci_rec_id(r), &at, &old, w->err);
    if (rc != RQC_OK)
        return rc;
    const size_t klen = key.mv_size;
    memcpy(k, key.mv_data, klen); // the key's memory moves when we write
    const uint8_t *p = val.mv_data;
    const size_t tail = val.mv_size - at - old;
    w->chunk.len = 0;
    rc = rqci_buf_add(&w->chunk, p, at);
    if (rc == RQC_OK)
        rc = rqci_buf_add(&w->chunk, r, size);
    if (rc == RQC_OK)
        rc = rqci_buf_add(&w->chunk, p + at + old, tail);
    if (rc != RQC_OK)
        return rc;
    if (w->chunk.len <= RQCI_CHUNK_MAX)
        return store(w, k, klen, w->chunk.data, w->chunk.len);
    return store_split(w, k, klen, tail == 0 && k[17] == RQCI_CHUNK_LAST);
}

rqc_err rqci_kids_del(rqci_wtxn *w, const uint8_t owner[16], uint8_t entity, const uint8_t id[16])
{
    MDB_val key, val;
    size_t at, old;
    rqc_err rc = seek_chunk(w->kids, owner, entity, id, &key, &val, w->err);
    if (rc == RQC_OK)
        rc = locate(&val, id, &at, &old, w->err);
    if (rc == RQC_OK && old == 0)
        rc = RQC_NOT_FOUND;
    if (rc != RQC_OK)
        return rc;
    if (old == val.mv_size)
        return rqci_lmdb_err(mdb_cursor_del(w->kids, 0), "children", w->err);
    uint8_t k[RQCI_KEY_KIDS];
    const size_t klen = key.mv_size;
    memcpy(k, key.mv_data, klen);
    const uint8_t *p = val.mv_data;
    w->chunk.len = 0;
    rc = rqci_buf_add(&w->chunk, p, at);
    if (rc == RQC_OK)
        rc = rqci_buf_add(&w->chunk, p + at + old, val.mv_size - at - old);
    return rc != RQC_OK ? rc : store(w, k, klen, w->chunk.data, w->chunk.len);
}

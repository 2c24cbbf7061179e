// SPDX-License-Identifier: Apache-2.0
// Keys and small values of the view's databases. docs/view.md is the specification.
#ifndef RQCI_KEYS_H
#define RQCI_KEYS_H

#include "base/bytes.h"
#include "base/id.h"
#include "record/schema.h"

#include <stdbool.h>

// The databases of an environment, in the order of their handles. docs/view.md has their content.
enum rqci_dbi {
    RQCI_DB_MAIN, // the unnamed one, which holds the roots of the others, too
    RQCI_DB_ID,
    RQCI_DB_REQUEST,
    RQCI_DB_HTTP,
    RQCI_DB_KIDS,
    RQCI_DB_DELTA,
    RQCI_DB_METHOD,
    RQCI_DB_SEQ,
    RQCI_DB_TOMB,
    RQCI_DB_WS,
    RQCI_DB_BUCKET,
    RQCI_DB_COUNT
};

// A time that sorts as unsigned bytes. Keys ascend with time, because LMDB fills its pages only
// when keys are appended; pages are read backwards. The id's complement makes ties come out by id
// ascending then.
static inline uint64_t rqci_ascending(int64_t v)
{
    return (uint64_t)v ^ (UINT64_C(1) << 63);
}
static inline int64_t rqci_from_ascending(uint64_t k)
{
    return (int64_t)(k ^ (UINT64_C(1) << 63));
}

static inline void rqci_key_time(uint8_t k[24], int64_t updated, const uint8_t id[16])
{
    rqci_put64be(k, rqci_ascending(updated));
    for (int i = 0; i < 16; i++)
        k[8 + i] = (uint8_t)~id[i];
}

// A workspace's counters, in the main database: before the names of the others.
#define RQCI_KEY_NUMBERS 5
static inline void rqci_key_numbers(uint8_t k[RQCI_KEY_NUMBERS], uint32_t ws)
{
    k[0] = 'N';
    rqci_put32be(k + 1, ws);
}

#define RQCI_KEY_ID 17
static inline void rqci_key_id(uint8_t k[RQCI_KEY_ID], uint8_t entity, const uint8_t id[16])
{
    memcpy(k, id, 16);
    k[16] = entity;
}

#define RQCI_KEY_HTTP 29
static inline void rqci_key_http(uint8_t k[RQCI_KEY_HTTP], uint32_t ws, uint8_t class,
                                 int64_t updated, const uint8_t id[16])
{
    rqci_put32be(k, ws);
    k[4] = class;
    rqci_key_time(k + 5, updated, id);
}

#define RQCI_KEY_KIDS_PREFIX 17
#define RQCI_KEY_KIDS_LAST   18
#define RQCI_KEY_KIDS        34
#define RQCI_CHUNK_FULL      1
#define RQCI_CHUNK_LAST      2
static inline void rqci_key_kids(uint8_t k[RQCI_KEY_KIDS], const uint8_t owner[16], uint8_t entity,
                                 const uint8_t id[16])
{
    memcpy(k, owner, 16);
    k[16] = entity;
    k[17] = RQCI_CHUNK_FULL;
    memcpy(k + 18, id, 16);
}

#define RQCI_KEY_DELTA 40
static inline void rqci_key_delta(uint8_t k[RQCI_KEY_DELTA], const uint8_t parent[16],
                                  int64_t updated, const uint8_t id[16])
{
    memcpy(k, parent, 16);
    rqci_key_time(k + 16, updated, id);
}

#define RQCI_KEY_METHOD 37
static inline void rqci_key_method(uint8_t k[RQCI_KEY_METHOD], uint32_t ws, uint8_t class,
                                   const char *method, size_t n, int64_t updated,
                                   const uint8_t id[16])
{
    rqci_put32be(k, ws);
    k[4] = class;
    memset(k + 5, 0, 8);
    if (n > 0)
        memcpy(k + 5, method, n < 8 ? n : 8);
    rqci_key_time(k + 13, updated, id);
}

#define RQCI_KEY_SEQ 29
static inline void rqci_key_seq(uint8_t k[RQCI_KEY_SEQ], uint32_t ws, uint64_t seq, uint8_t entity,
                                const uint8_t id[16])
{
    rqci_put32be(k, ws);
    rqci_put64be(k + 4, seq);
    k[12] = entity;
    memcpy(k + 13, id, 16);
}

// The id first: the tombstones that a record left in several workspaces stand side by side.
#define RQCI_KEY_TOMB        21
#define RQCI_KEY_TOMB_PREFIX 17
static inline void rqci_key_tomb(uint8_t k[RQCI_KEY_TOMB], uint32_t ws, uint8_t entity,
                                 const uint8_t id[16])
{
    memcpy(k, id, 16);
    k[16] = entity;
    rqci_put32be(k + 17, ws);
}

// Which database has the place of an entity's records; its keys are RQCI_KEY_ID's or begin so.
static inline enum rqci_dbi rqci_place_db(uint8_t entity)
{
    return entity == RQCI_HTTP ? RQCI_DB_REQUEST : RQCI_DB_ID;
}
static inline size_t rqci_key_place(uint8_t k[RQCI_KEY_ID], uint8_t entity, const uint8_t id[16])
{
    rqci_key_id(k, entity, id);
    return entity == RQCI_HTTP ? 16 : RQCI_KEY_ID;
}

// Places (little-endian): a request's, a response's, another child's.
#define RQCI_PLACE_HTTP \
    24                         // ws u32, class u8, 3 zero bytes, updated_at i64, arrived u64
                               // (and then the record, where both fit into a page of LMDB twice)
#define RQCI_PLACE_RESPONSE 24 // owner u8[16], arrived u64
#define RQCI_PLACE_DELTA    8 // in the delta database: ws u32, class u8, 3 zero bytes; then as above
#define RQCI_PLACE_CHILD    16 // owner u8[16]

// Values of the seq database. An upsert tells where the record lies, so that a scan finds it in one
// step.
#define RQCI_SEQ_HERE 16 // of a request: class u8, 7 zero bytes, updated_at i64; else owner u8[16]
#define RQCI_SEQ_TOMB 24 // tombstone: owner u8[16], 8 zero bytes

// Class of a request: bit 0 delta, bit 1 snapshot.
enum { RQCI_CLASS_BASE = 0, RQCI_CLASS_DELTA = 1, RQCI_CLASS_SNAPSHOT = 2, RQCI_CLASSES = 4 };

#define RQCI_BUCKETS_PER_PART 16u
#define RQCI_BUCKET_PARTS     16u
#define RQCI_KEY_BUCKET       5
static inline void rqci_key_bucket(uint8_t k[RQCI_KEY_BUCKET], uint32_t ws, unsigned part)
{
    rqci_put32be(k, ws);
    k[4] = (uint8_t)part;
}

#endif

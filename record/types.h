// SPDX-License-Identifier: Apache-2.0
// Values and entity codes. The public header spells the same types out; code that includes it first
// uses those.
#ifndef RQCI_TYPES_H
#define RQCI_TYPES_H

#include <stddef.h>
#include <stdint.h>

#define RQCI_ENTITY_MAX 13 // codes 1 to 13
#define RQCI_FIELD_MAX  24 // a record has at most 24 fields (bitmaps of the packed record)

// A text or byte value longer than this is not stored in a record: its length and XXH3-128 are
// (RQC_LARGE). Part of the packed record's and the digest's definition, so it is no option.
#define RQCI_LARGE_BYTES 32768u

#ifndef RQC_REQCAST_H
typedef enum rqc_type {
    RQC_ABSENT = 0, // not given: a put uses the default, a patch leaves the field
    RQC_NULL = 1,   // SQL NULL
    RQC_INT = 2,    // u.i
    RQC_REAL = 3,   // u.d
    RQC_BOOL = 4,   // u.i, 0 or 1
    RQC_TEXT = 5,   // p, n bytes (not NUL-terminated; any bytes that the row had)
    RQC_BYTES = 6,  // p, n bytes
    RQC_ID = 7,     // p, 16 bytes
    RQC_LARGE = 8   // a text or byte value that is not in the view: u.length bytes long, p its
                    // XXH3-128 (n = 16)
} rqc_type;

typedef struct rqc_value {
    rqc_type type;
    uint32_t n; // bytes at p
    const void *p;
    union {
        int64_t i;
        double d;
        uint64_t length;
    } u;
} rqc_value;

// A packed record, in place. Opaque: see record/record.h.
typedef struct rqc_record rqc_record;

// Lists that queries fill; the caller's memory, reused from call to call.
typedef struct rqc_list {
    const rqc_record **items;
    size_t n, cap;
} rqc_list;

typedef struct rqc_page_cursor {
    int64_t updated_at;
    uint8_t id[16];
    uint8_t state; // 0 start, 1 inside, 2 at the end
} rqc_page_cursor;

typedef struct rqc_change {
    uint8_t op; // 1 upsert, 2 delete
    uint8_t entity;
    uint64_t seq;
    const uint8_t *id;
    const rqc_record *record; // NULL for a delete
} rqc_change;

typedef struct rqc_changes_list {
    rqc_change *items;
    size_t n, cap;
} rqc_changes_list;

typedef struct rqc_metrics {
    uint64_t total, base, delta;
    uint64_t recent;
    int64_t latest, earliest;
    int has_times;
} rqc_metrics;

typedef struct rqc_activity {
    int64_t day; // days since 1970-01-01, UTC
    uint64_t changes, deltas, bases;
} rqc_activity;

typedef struct rqc_cursor {
    uint64_t seq;
    uint8_t entity; // 0: everything at seq was seen
    uint8_t id[16];
    uint64_t started; // head when the walk began, 0 for a fresh one
} rqc_cursor;
#endif

#endif

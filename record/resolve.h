// SPDX-License-Identifier: Apache-2.0
// Delta resolution: base + delta = the effective request, without copying a record.
// docs/semantics.md has the rules.
//
// The result refers to the records it was made from; a merged field is looked up when it is read.
#ifndef RQCI_RESOLVE_H
#define RQCI_RESOLVE_H

#include "record/record.h"

#ifndef RQC_REQCAST_H
typedef enum rqc_origin {
    RQC_ORIGIN_BASE = 0,
    RQC_ORIGIN_OVERRIDE = 1,
    RQC_ORIGIN_ADDITION = 2
} rqc_origin;

// One record of a resolved request: `record` overridden by `nover` records, the last first in
// force. Zero-copy.
typedef struct rqc_item {
    const rqc_record *record;
    const rqc_record *const *over; // NULL when nover is 0
    uint32_t nover;
    rqc_origin origin;
} rqc_item;
#endif

// Lists of records grow; items may move when they do.
typedef rqc_list rqci_list;
rqc_err rqci_list_add(rqci_list *l, const rqc_record *r);
void rqci_list_free(rqci_list *l); // NULL-safe, leaves an empty list

// Items of one child entity, and the arrays they point into. Zero-initialise, reuse, free.
typedef struct rqci_items {
    rqc_item *items;
    size_t n, cap;
    const rqc_record **over; // storage of the items' `over`
    size_t over_cap;
    uint32_t *scratch; // of the merge itself
    size_t scratch_cap;
} rqci_items;
void rqci_items_free(rqci_items *m);

// The record and the field that a merged value stands in (to fetch a LARGE one). Without a record:
// the merge itself gives the value.
typedef struct rqci_field_place {
    const rqc_record *record;
    int field;
} rqci_field_place;

// Field of an item: the last override's delta column that is not NULL, else the record's own
// column. An addition's and a base record's delta columns are returned as stored. For an item with
// overrides: delta columns read NULL, is_delta false. delta_display_order is never applied: it does
// not move a row, so it does not change the order that the row shows either.
void rqci_item_field(const rqc_item *m, int field, rqc_value *ret_value);
rqci_field_place rqci_item_place(const rqc_item *m, int field);

// Merges the children of one entity (headers, params, forms, urlencoded, asserts): base rows by
// (display_order, id), overrides matched by parent id, additions (rows without a parent id,
// whatever is_delta says) behind them by (display_order, id). An override of a row that is not in
// `base` is left out. A NULL order is before all others. Sorts the two lists in place. Of several
// overrides of one row the last by (display_order, id) wins whole; for asserts they accumulate.
// `delta` may be NULL or empty. RQC_NO_MEMORY, RQC_TOO_LARGE leave *ret_items empty.
rqc_err rqci_merge_children(const rqci_entity *e, rqci_list *base, rqci_list *delta,
                            rqci_items *ret_items);

// The body: item.record is the base's row (or the delta's when the base has none: then *ret_id is
// NULL). The bytes are the first of delta_raw_data, raw_data of the delta, raw_data of the base
// that is not empty; the codec is the one beside them, and delta_compression_type NULL means not
// compressed. (So an empty override inherits.) All NULL when neither has a row.
typedef struct rqci_body {
    const rqc_record *record; // row that the result is named after, NULL: none at all
    const uint8_t *id;        // base row's id, NULL when the base has no row
    rqc_value bytes;          // BYTES, LARGE or NULL
    const rqc_record *source; // record and field that the bytes come from (to fetch a LARGE one)
    int source_field;
    int64_t compression;
    rqc_origin origin;
} rqci_body;
void rqci_merge_body(const rqc_record *base, const rqc_record *delta, rqci_body *ret_body);

// A chain from a base down to its deepest delta, `n` records: field as the recursive resolution
// gives it: identity columns of the deepest, scalars of the base overridden by each delta in turn,
// content_hash the deepest that is not NULL.
void rqci_chain_field(const rqc_record *const *chain, size_t n, int field, rqc_value *ret_value);
rqci_field_place rqci_chain_place(const rqc_record *const *chain, size_t n, int field); // n > 0

// Orders by (display_order, id) and by (updated_at descending, id). In place; linear on sorted
// input, no allocation, O(n log n) at worst.
void rqci_sort_by_order(const rqci_entity *e, const rqc_record **items, size_t n);
void rqci_sort_newest(const rqc_record **items, size_t n);

#endif

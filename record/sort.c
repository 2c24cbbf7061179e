// SPDX-License-Identifier: Apache-2.0
// The two orders in which lists of records are given. Lists mostly come sorted, or nearly so, out
// of the view.
#include "record/resolve.h"

#include <math.h>

// Below it a heap does not pay.
#define SHORT 24

typedef bool (*before_fn)(const rqci_entity *e, const rqc_record *a, const rqc_record *b);

static double order_of(const rqci_entity *e, const rqc_record *r)
{
    return rqci_rec_real(r, e, e->order, -(double)INFINITY);
}

static bool before_by_id(const rqc_record *a, const rqc_record *b)
{
    return memcmp(rqci_rec_id(a), rqci_rec_id(b), 16) < 0;
}

static bool before_by_order(const rqci_entity *e, const rqc_record *a, const rqc_record *b)
{
    if (e->order >= 0) {
        const double p = order_of(e, a);
        const double q = order_of(e, b);
        if (p < q || p > q)
            return p < q;
    }
    return before_by_id(a, b);
}

static bool before_by_time(const rqci_entity *e, const rqc_record *a, const rqc_record *b)
{
    (void)e;
    const int64_t p = rqci_rec_updated(a);
    const int64_t q = rqci_rec_updated(b);
    return p != q ? p > q : before_by_id(a, b);
}

static void sift(const rqci_entity *e, before_fn before, const rqc_record **items, size_t at,
                 size_t n)
{
    const rqc_record *moved = items[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(e, items[child], items[child + 1]))
            child++;
        if (!before(e, moved, items[child]))
            break;
        items[at] = items[child];
    }
    items[at] = moved;
}

static void heap_sort(const rqci_entity *e, before_fn before, const rqc_record **items, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(e, before, items, i, n);
    while (n-- > 1) {
        const rqc_record *last = items[n];
        items[n] = items[0];
        items[0] = last;
        sift(e, before, items, 0, n);
    }
}

// The first `sorted` items are in order.
static void sort(const rqci_entity *e, before_fn before, const rqc_record **items, size_t n,
                 size_t sorted)
{
    if (sorted >= n)
        return;
    if (n > SHORT) {
        heap_sort(e, before, items, n);
        return;
    }
    for (; sorted < n; sorted++) {
        const rqc_record *r = items[sorted];
        size_t at = sorted;
        for (; at > 0 && before(e, r, items[at - 1]); at--)
            items[at] = items[at - 1];
        items[at] = r;
    }
}

void rqci_sort_by_order(const rqci_entity *e, const rqc_record **items, size_t n)
{
    if (n < 2)
        return;
    size_t sorted = 1;
    if (e->order >= 0) {
        double last = order_of(e, items[0]);
        for (; sorted < n; sorted++) {
            const double next = order_of(e, items[sorted]);
            if (next < last || (next <= last && before_by_id(items[sorted], items[sorted - 1])))
                break;
            last = next;
        }
    }
    sort(e, before_by_order, items, n, sorted);
}

void rqci_sort_newest(const rqc_record **items, size_t n)
{
    size_t sorted = 1;
    while (sorted < n && !before_by_time(NULL, items[sorted], items[sorted - 1]))
        sorted++;
    sort(NULL, before_by_time, items, n, sorted);
}

// SPDX-License-Identifier: Apache-2.0
// For tests of delta resolution: records by hand, and lists of them.
#ifndef RQC_TESTS_RESOLVE_ROWS_H
#define RQC_TESTS_RESOLVE_ROWS_H

#include "record/resolve.h"
#include "tests/rows.h"
#include "tests/tap.h"

struct set {
    int field;
    rqc_value value;
};

// An id for each number below 256, in order.
static inline const uint8_t *id_bytes(unsigned n)
{
    static uint8_t ids[256][16];
    ids[n][15] = (uint8_t)n;
    return ids[n];
}

static inline rqc_value id(unsigned n)
{
    return n ? rows_id(id_bytes(n)) : rows_null();
}

static inline rqc_record *make(unsigned code, unsigned number, const struct set *sets, size_t n)
{
    const rqci_entity *e = rqci_entity_of(code);
    rqc_value row[RQCI_FIELD_MAX] = {0};
    rqci_row_defaults(e, row, 1000);
    row[0] = id(number);
    for (size_t i = 0; i < n; i++)
        row[sets[i].field] = sets[i].value;
    rqci_buf buf = {0};
    rqci_errbuf err = {""};
    if (rqci_rec_pack(e, row, number, 0, &buf, &err) != RQC_OK)
        bail("pack: %s", err.text);
    return (rqc_record *)buf.data;
}

#define MAKE(code, number, ...)                           \
    make(code, number, (const struct set[]){__VA_ARGS__}, \
         sizeof((const struct set[]){__VA_ARGS__}) / sizeof(struct set))

static inline void free_list(rqci_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free((rqc_record *)(uintptr_t)l->items[i]);
    rqci_list_free(l);
}

static inline void add(rqci_list *l, rqc_record *r)
{
    if (rqci_list_add(l, r) != RQC_OK)
        bail("no memory");
}

static inline bool is_text(const rqc_value *v, const char *text)
{
    return text ? v->type == RQC_TEXT && v->n == strlen(text) && memcmp(v->p, text, v->n) == 0
                : v->type == RQC_NULL;
}

static inline bool item_text(const rqc_item *m, int field, const char *text)
{
    rqc_value v;
    rqci_item_field(m, field, &v);
    return is_text(&v, text);
}

#endif

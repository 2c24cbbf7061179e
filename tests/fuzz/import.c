// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/fuzz.h"

#include "base/hash.h"
#include "base/utf8.h"
#include "record/schema.h"

#include <stdlib.h>
#include <string.h>

#define NOW INT64_C(1760000000)

typedef struct reading {
    rqci_hasher hasher;
    uint8_t (*owners)[16]; // ids that later rows may point to
    size_t n, cap;
    uint64_t records, warnings;
} reading;

static void remember(reading *x, const uint8_t id[16])
{
    if (x->n == x->cap) {
        x->cap = x->cap ? x->cap * 2 : 64;
        x->owners = realloc(x->owners, x->cap * sizeof *x->owners);
        if (!x->owners)
            abort();
    }
    memcpy(x->owners[x->n++], id, 16);
}

static bool known(const reading *x, const uint8_t id[16])
{
    // What a row points to mostly came just before.
    for (size_t i = x->n; i-- > 0;)
        if (memcmp(x->owners[i], id, 16) == 0)
            return true;
    return false;
}

static rqc_err add(void *ctx, rqc_entity entity, const uint8_t id[16], const rqc_value *row)
{
    reading *x = ctx;
    const rqci_entity *e = &rqci_entities[entity];
    rqc_value checked[RQC_FIELD_MAX];
    rqci_errbuf err = {""};
    memcpy(checked, row, e->nfields * sizeof *row);
    checked[0] = rqc_id(id);
    if (rqci_row_check(e, checked, false, &err) != RQC_OK)
        fuzz_broken("a row that no table can hold", err.text);
    rqci_hasher_add(&x->hasher, e->table, strlen(e->table));
    rqci_hasher_add(&x->hasher, id, 16);
    for (int i = 1; i < e->nfields; i++) {
        const rqc_value *v = &row[i];
        const uint8_t type = (uint8_t)v->type;
        rqci_hasher_add(&x->hasher, &type, 1);
        if (v->type == RQC_TEXT || v->type == RQC_BYTES || v->type == RQC_ID)
            rqci_hasher_add(&x->hasher, v->p, v->n);
        else if (v->type != RQC_ABSENT && v->type != RQC_NULL)
            rqci_hasher_add(&x->hasher, &v->u, sizeof v->u);
        if (v->type == RQC_ID && i != RQC_FILES_CONTENT_ID && !known(x, v->p))
            fuzz_broken("a row before what it points to", e->fields[i].name);
    }
    if (entity == RQC_FILES || entity == RQC_HTTP || entity == RQC_HTTP_RESPONSE)
        remember(x, id);
    x->records++;
    return RQC_OK;
}

static void warn(void *ctx, const char *text)
{
    reading *x = ctx;
    const size_t n = strlen(text);
    x->warnings++;
    if (n == 0 || !rqci_utf8_valid(text, n))
        fuzz_broken("a warning that is no text", text);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            fuzz_broken("a warning of several lines", text);
}

static rqc_err read_once(const uint8_t *data, size_t size, rqci_import_format format,
                         uint8_t ret_hash[16])
{
    static const uint8_t workspace[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    reading x = {.n = 0};
    rqci_import *m = NULL;
    rqci_import_counts counts = {0};
    rqci_errbuf err = {""};
    char *text = malloc(size ? size : 1), name[64];
    if (!text)
        abort();
    memcpy(text, data, size);
    rqci_hasher_init(&x.hasher);
    remember(&x, workspace);
    rqc_err rc = rqci_import_open(text, size, format, &m, &err);
    if (rc == RQC_OK) {
        const rqci_import_sink sink = {add, warn, NULL, &x};
        rqci_import_name(m, "-", name, sizeof name);
        rc = rqci_import_run(m, workspace, NOW, &sink, &counts, &err);
    }
    if (rc == RQC_OK && (counts.records != x.records || counts.warnings != x.warnings))
        fuzz_broken("counts are wrong", "");
    if (rc != RQC_OK && rc != RQC_INVALID && rc != RQC_TOO_LARGE && rc != RQC_NO_MEMORY)
        fuzz_broken("an error of another kind", rqc_err_text(rc));
    if (rc != RQC_OK && !*err.text && rc != RQC_NO_MEMORY)
        fuzz_broken("an error without a word", rqc_err_text(rc));
    rqci_import_free(m);
    free(text);
    free(x.owners);
    const rqci_hash128 hash = rqci_hasher_end128(&x.hasher);
    memcpy(ret_hash, &hash, 16);
    return rc;
}

void fuzz_import(const uint8_t *data, size_t size, rqci_import_format format)
{
    uint8_t one[16], two[16];
    rqci_errbuf err = {""};
    if (rqci_import_detect((const char *)data, size, &err) == RQCI_IMPORT_UNKNOWN && !*err.text)
        fuzz_broken("an unknown format without a word", "");
    const rqc_err first = read_once(data, size, format, one);
    if (read_once(data, size, format, two) != first || memcmp(one, two, 16) != 0)
        fuzz_broken("a second reading differs", "");
}

// SPDX-License-Identifier: Apache-2.0
// What the command line reads records from: JSON Lines (put), and lines ENTITY.FIELD=VALUE, which
// are the words of patch. What is accepted must be storable exactly as it was given: packed and
// written as JSON it reads as the same record, and so does what is sent to a sidecar.
#include "tests/fuzz/fuzz.h"

#include "record/json.h"
#include "replicate/message.h"

#include <string.h>

#define SEQ UINT64_C(77)
#define NOW INT64_C(1760000000)

static const uint8_t new_id[16] = {1, 2, 3};

static void check_refusal(rqc_err rc, const rqci_errbuf *err)
{
    if (rc != RQC_INVALID && rc != RQC_TOO_LARGE && rc != RQC_NO_MEMORY)
        fuzz_broken("an error of another kind", rqc_err_text(rc));
    if (!*err->text && rc != RQC_NO_MEMORY)
        fuzz_broken("an error without a word", rqc_err_text(rc));
}

// ---- A row that was accepted --------------------------------------------------------------------

// Packed, without any conversion: the row holds the fields' own types.
static void pack(const rqci_entity *e, const rqc_value *row, rqci_buf *out)
{
    rqci_errbuf err = {""};
    if (rqci_rec_pack(e, row, SEQ, 0, out, &err) != RQC_OK)
        fuzz_broken("an accepted row cannot be packed", err.text);
    const rqc_record *r = (const rqc_record *)out->data;
    if (rqci_rec_verify(r, out->len, true, &err) != RQC_OK)
        fuzz_broken("an accepted row is no valid record", err.text);
    if (rqci_rec_flags(r) & RQCI_REC_COERCED)
        fuzz_broken("an accepted row was converted", e->table);
}

static void check_same(const rqci_buf *a, const rqci_buf *b, const char *how)
{
    if (a->len != b->len || memcmp(a->data, b->data, a->len) != 0)
        fuzz_broken("the record became another", how);
}

static void check_json(const rqci_entity *e, const rqci_buf *packed)
{
    rqci_buf text = {0}, again = {0};
    rqci_json_row row;
    rqci_errbuf err = {""};
    rqci_json_lines l;
    const char *line;
    size_t n;
    if (rqci_json_record(&text, (const rqc_record *)packed->data, NULL) != RQC_OK)
        fuzz_broken("no JSON", e->table);
    rqci_json_lines_init(&l, (const char *)text.data, text.len);
    if (!rqci_json_lines_next(&l, &line, &n) || n != text.len)
        fuzz_broken("a record's JSON is not one line", e->table);
    if (rqci_json_parse_row(line, n, &row, &err) != RQC_OK || row.entity != e || !row.has_id)
        fuzz_broken("a record's own JSON", err.text);
    pack(e, row.row, &again);
    check_same(packed, &again, "by JSON");
    rqci_json_row_free(&row);
    rqci_buf_free(&text);
    rqci_buf_free(&again);
}

static void check_message(const rqci_entity *e, const rqc_value *values, const rqci_buf *packed)
{
    rqci_buf message = {0}, again = {0};
    rqci_asked_write w = {.kind = RQCI_KIND_PUT, .entity = e->code}, got;
    rqci_message m;
    rqci_errbuf err = {""};
    size_t offset = 0;
    memcpy(w.id, values[0].p, 16);
    memcpy(w.row, values, e->nfields * sizeof *values);
    if (rqci_ask_write_begin(&message, NULL, 0) != RQC_OK ||
        rqci_ask_write_add(&message, &w) != RQC_OK)
        fuzz_broken("an accepted row cannot be sent", e->table);
    rqci_ask_write_end(&message, 1);
    if (rqci_message_decode(message.data, message.len, RQCI_ASK_MAGIC, &m, &err) != RQC_OK ||
        rqci_ask_write_next(&m, &offset, &got, &err) != RQC_OK || got.entity != e->code ||
        memcmp(got.id, w.id, 16) != 0)
        fuzz_broken("a row that was sent", err.text);
    got.row[0] = values[0];
    pack(e, got.row, &again);
    check_same(packed, &again, "by a message");
    rqci_buf_free(&message);
    rqci_buf_free(&again);
}

static void check_row(const rqci_json_row *row)
{
    const rqci_entity *e = row->entity;
    rqc_value values[RQCI_FIELD_MAX];
    rqci_buf packed = {0};
    rqci_errbuf err = {""};
    memcpy(values, row->row, sizeof values);
    rqc_err rc = rqci_row_check(e, values, true, &err);
    if (rc != RQC_OK)
        check_refusal(rc, &err);
    memcpy(values, row->row, sizeof values);
    err.text[0] = 0;
    rc = rqci_row_check(e, values, false, &err);
    if (rc != RQC_OK) {
        check_refusal(rc, &err);
        return;
    }
    rqci_row_defaults(e, values, NOW);
    values[0] = (rqc_value){.type = RQC_ID, .n = 16, .p = row->has_id ? row->id : new_id};
    pack(e, values, &packed);
    bool large = false;
    for (int i = 0; i < e->nfields; i++) {
        const rqc_value v = rqci_rec_value((const rqc_record *)packed.data, i);
        if (v.type == RQC_NULL && values[i].type != RQC_NULL && values[i].type != RQC_ABSENT)
            fuzz_broken("a value was lost", e->fields[i].name);
        large = large || v.type == RQC_LARGE;
    }
    if (!large)
        check_json(e, &packed);
    check_message(e, values, &packed);
    rqci_buf_free(&packed);
}

// ---- Lines --------------------------------------------------------------------------------------

static void try_json(const char *line, size_t n)
{
    rqci_json_row row;
    rqci_errbuf err = {""};
    const rqc_err rc = rqci_json_parse_row(line, n, &row, &err);
    if (rc != RQC_OK) {
        check_refusal(rc, &err);
        return;
    }
    if (row.kind == RQCI_JSON_RECORD)
        check_row(&row);
    else if ((row.entity != NULL) != (row.kind == RQCI_JSON_DELETION) || row.has_id)
        fuzz_broken("a line that is no record", "");
    rqci_json_row_free(&row);
}

// ENTITY.FIELD=VALUE
static void try_word(const char *line, size_t n)
{
    const char *equals = memchr(line, '=', n);
    const char *dot = equals ? memchr(line, '.', (size_t)(equals - line)) : NULL;
    rqci_buf scratch = {0};
    rqci_errbuf err = {""};
    rqc_value v = {.type = RQC_ABSENT};
    if (!dot)
        return;
    const rqci_entity *e = rqci_entity_named(line, (size_t)(dot - line));
    const int field = e ? rqci_field_named(e, dot + 1, (size_t)(equals - dot - 1)) : -1;
    if (field < 0)
        return;
    const size_t len = (size_t)(line + n - equals - 1);
    const rqc_err rc = rqci_text_field(e, field, equals + 1, len, &scratch, &v, &err);
    if (rc != RQC_OK) {
        check_refusal(rc, &err);
    } else {
        // It has the field's type: a patch refuses it for what it says alone, if at all.
        rqc_value row[RQCI_FIELD_MAX] = {{.type = RQC_ABSENT}}, id = {.n = 16, .p = new_id};
        rqci_buf packed = {0};
        id.type = RQC_ID;
        row[field] = v;
        row[0] = field == 0 ? v : id;
        if (rqci_row_check(e, row, true, &err) == RQC_OK) {
            pack(e, row, &packed);
            rqci_buf_free(&packed);
        }
    }
    rqci_buf_free(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rqci_json_lines l;
    const char *line;
    size_t n;
    uint64_t last = 0, newlines = 1;
    char *text = malloc(size > 0 ? size : 1);
    if (!text)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    for (size_t i = 0; i < size; i++)
        newlines += data[i] == '\n';
    rqci_json_lines_init(&l, text, size);
    while (rqci_json_lines_next(&l, &line, &n)) {
        if (l.number <= last || l.number > newlines || n == 0 || memchr(line, '\n', n))
            fuzz_broken("no line", "");
        last = l.number;
        // Memory of its own: a sanitizer sees a byte too far.
        char *copy = malloc(n);
        if (!copy)
            break;
        memcpy(copy, line, n);
        if (memchr(copy, '{', n))
            try_json(copy, n);
        else
            try_word(copy, n);
        free(copy);
    }
    free(text);
    return 0;
}

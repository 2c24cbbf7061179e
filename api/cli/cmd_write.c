// SPDX-License-Identifier: Apache-2.0
// Commands that write records.
#include "api/cli/cli.h"

#include "api/engine.h"
#include "record/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int begin_txn(cli *c, int how, rqc_txn **ret_txn)
{
    rqc_error e;
    const int status = cli_open(c, how);
    if (status != CLI_OK)
        return status;
    const rqc_err rc = rqc_txn_new(c->db, ret_txn, &e);
    return rc == RQC_OK ? CLI_OK : cli_fail(c, rc, "%s: %s", c->db_path, e.text);
}

static void warn_lag(cli *c, const rqc_result *r)
{
    if (!r->visible)
        cli_note(c, "the write is durable, but the view cannot show it yet; see reqcast stats");
}

// ---- put ----------------------------------------------------------------------------------------

// Which line each write of the transaction came from.
typedef struct put_lines {
    uint64_t *numbers;
    size_t n, cap;
    uint64_t deletions; // lines of `changes` that put passes over
} put_lines;

static bool put_line_add(put_lines *l, uint64_t number)
{
    if (l->n == l->cap) {
        const size_t cap = l->cap ? l->cap * 2 : 1024;
        uint64_t *numbers = realloc(l->numbers, cap * sizeof *numbers);
        if (!numbers)
            return false;
        l->numbers = numbers;
        l->cap = cap;
    }
    l->numbers[l->n++] = number;
    return true;
}

static int put_line(cli *c, rqc_txn *t, put_lines *lines, uint64_t number, const char *text,
                    size_t len)
{
    rqci_json_row row;
    rqci_errbuf err = {""};
    uint8_t id[16];
    rqc_err rc = rqci_json_parse_row(text, len, &row, &err);
    if (rc != RQC_OK)
        return cli_fail(c, rc, "standard input, line %" PRIu64 ": %s; nothing was written", number,
                        *err.text ? err.text : rqc_err_text(rc));
    const rqci_json_kind kind = row.kind;
    if (row.has_id)
        memcpy(id, row.id, 16);
    else if (kind == RQCI_JSON_RECORD)
        rc = rqc_id_new(id);
    if (rc == RQC_OK && kind == RQCI_JSON_RECORD)
        rc = rqc_put(t, (rqc_entity)row.entity->code, id, row.row);
    rqci_json_row_free(&row);
    lines->deletions += kind == RQCI_JSON_DELETION;
    if (rc == RQC_OK && kind == RQCI_JSON_RECORD && !put_line_add(lines, number))
        return cli_fail(c, RQC_NO_MEMORY, "out of memory; nothing was written");
    if (rc == RQC_OK)
        return CLI_OK;
    return cli_fail(c, rc, "standard input, line %" PRIu64 ": %s; nothing was written", number,
                    *rqc_txn_error(t) ? rqc_txn_error(t) : rqc_err_text(rc));
}

#define INPUT_BYTES_MAX ((size_t)4 << 30)

// All of it before the database is opened: whatever writes it may be reading that database.
static int read_input(cli *c, rqci_buf *text)
{
    errno = 0;
    while (!feof(stdin) && !ferror(stdin)) {
        if (rqci_buf_reserve(text, (size_t)1 << 16) != RQC_OK)
            return cli_fail(c, RQC_NO_MEMORY, "standard input: out of memory after %zu bytes",
                            text->len);
        text->len += fread(text->data + text->len, 1, text->cap - text->len, stdin);
        if (text->len > INPUT_BYTES_MAX)
            return cli_fail(c, RQC_TOO_LARGE,
                            "standard input: larger than %zu MiB: split it; nothing was written",
                            INPUT_BYTES_MAX >> 20);
    }
    if (ferror(stdin))
        return cli_fail(c, errno == EISDIR ? RQC_INVALID : RQC_IO,
                        "standard input: %s; nothing was written", strerror(errno));
    return CLI_OK;
}

static int put_all(cli *c, rqc_txn *t, const rqci_buf *input, put_lines *lines)
{
    rqci_json_lines l;
    const char *line;
    size_t n;
    int status = CLI_OK;
    rqci_json_lines_init(&l, (const char *)input->data, input->len);
    while (status == CLI_OK && rqci_json_lines_next(&l, &line, &n))
        status = put_line(c, t, lines, l.number, line, n);
    return status;
}

static int put(cli *c, const cli_args *a)
{
    (void)a;
    rqc_txn *t = NULL;
    rqci_buf input = {0};
    put_lines lines = {0};
    rqc_result r;
    int status = read_input(c, &input);
    if (status == CLI_OK)
        status = begin_txn(c, CLI_CREATE, &t);
    if (status == CLI_OK)
        status = put_all(c, t, &input, &lines);
    rqci_buf_free(&input);
    const rqc_err rc = status == CLI_OK ? rqc_commit(t, &r) : RQC_OK;
    if (rc != RQC_OK) {
        const size_t failed = rqci_txn_failed(t);
        status = failed < lines.n
                     ? cli_fail(c, rc, "standard input, line %" PRIu64 ": %s; nothing was written",
                                lines.numbers[failed], rqc_txn_error(t))
                     : cli_fail(c, rc, "%s: %s; nothing was written", c->db_path, rqc_txn_error(t));
    }
    rqc_txn_free(t);
    free(lines.numbers);
    if (status != CLI_OK)
        return status;
    warn_lag(c, &r);
    if (lines.deletions > 0)
        cli_note(c, "%" PRIu64 " %s passed over: put deletes nothing", lines.deletions,
                 lines.deletions == 1 ? "deletion was" : "deletions were");
    if (c->json) {
        cli_json_begin(c);
        cli_json_uint(c, "written", r.written);
        cli_json_position(c, &r.position);
        cli_json_end(c);
    } else {
        printf("%" PRIu64 " written, position %" PRIu64 "\n", r.written, r.position.seq);
    }
    return CLI_OK;
}

// ---- patch --------------------------------------------------------------------------------------

enum { PATCH_UNSET, PATCH_IF_SEQ };
static const cli_option patch_options[] = {{"unset", 0, "FIELD"},
                                           {"if-seq", 0, "N"},
                                           {NULL, 0, NULL}};

typedef struct patch_args {
    rqc_entity entity;
    uint8_t id[16];
    rqc_value row[RQC_FIELD_MAX];
    rqci_buf scratch[RQC_FIELD_MAX]; // of values that are not as they were written
    uint64_t if_seq;
} patch_args;

static int find_field(cli *c, const char *what, rqc_entity entity, const char *name, int *ret_field)
{
    const int status = cli_parse_field(c, what, entity, name, ret_field);
    if (status != CLI_OK || *ret_field > 0)
        return status;
    return cli_usage(c, "%s: the id of a record cannot be changed", what);
}

static int patch_field(cli *c, patch_args *p, const char *word)
{
    const char *equals = strchr(word, '=');
    char name[64];
    int field;
    rqci_errbuf err = {""};
    if (!equals || equals == word)
        return cli_usage(c, "%s: not FIELD=VALUE", word);
    snprintf(name, sizeof name, "%.*s", (int)(equals - word < 63 ? equals - word : 63), word);
    const int status = find_field(c, "FIELD=VALUE", p->entity, name, &field);
    if (status != CLI_OK)
        return status;
    if (p->row[field].type != RQC_ABSENT)
        return cli_usage(c, "%s: given twice", name);
    p->scratch[field].len = 0;
    const rqc_err rc =
        rqci_text_field(rqci_entity_of(p->entity), field, equals + 1, strlen(equals + 1),
                        &p->scratch[field], &p->row[field], &err);
    return rc == RQC_OK ? CLI_OK
                        : cli_fail(c, rc, "%s: %s", name, *err.text ? err.text : rqc_err_text(rc));
}

static int if_seq_form(cli *c, const char *text, const rqc_position *here, rqc_position *ret)
{
    return rqc_position_parse(text, here, ret) == RQC_OK && ret->seq > 0
               ? CLI_OK
               : cli_usage(c, "--if-seq: %s is no position (SEQ or TERM@STOREID:SEQ)",
                           cli_shown(text));
}

// --if-seq takes a seq or a whole position; one of another history cannot be compared.
static int parse_if_seq(cli *c, const char *text, uint64_t *ret_seq)
{
    rqc_read *r;
    rqc_error e;
    rqc_err rc = rqc_read_new(c->db, &r, &e);
    if (rc != RQC_OK)
        return cli_fail(c, rc, "%s", e.text);
    rc = rqc_read_begin(r);
    const rqc_position here = rqc_read_position(r);
    rqc_read_free(r);
    rqc_position p;
    const int status = if_seq_form(c, text, &here, &p);
    if (status != CLI_OK)
        return status;
    if (rc == RQC_OK && (p.term != here.term || memcmp(p.store_id, here.store_id, 16) != 0))
        return cli_fail(c, RQC_EPOCH_CHANGED,
                        "--if-seq: %s belongs to another history of the database", text);
    *ret_seq = p.seq;
    return CLI_OK;
}

static int patch_parse(cli *c, const cli_args *a, patch_args *p)
{
    int status = cli_parse_entity(c, a->words[0], &p->entity);
    if (status == CLI_OK)
        status = cli_parse_id(c, NULL, a->words[1], p->id);
    for (size_t i = 2; i < a->n && status == CLI_OK; i++)
        status = patch_field(c, p, a->words[i]);
    for (size_t i = 0; i < a->ngiven && status == CLI_OK; i++) {
        int field;
        if (a->given[i].option != PATCH_UNSET)
            continue;
        status = find_field(c, "--unset", p->entity, a->given[i].value, &field);
        if (status == CLI_OK && p->row[field].type != RQC_ABSENT)
            status = cli_usage(c, "%s: given twice", a->given[i].value);
        if (status == CLI_OK)
            p->row[field] = rqc_null();
    }
    if (status == CLI_OK && cli_has(a, PATCH_IF_SEQ)) {
        const rqc_position any = {.term = 0};
        rqc_position seq;
        status = if_seq_form(c, cli_value(a, PATCH_IF_SEQ), &any, &seq);
    }
    if (status == CLI_OK && a->n == 2 && !cli_has(a, PATCH_UNSET))
        status = cli_usage(c, "nothing to change: give FIELD=VALUE or --unset FIELD");
    return status;
}

static int show(cli *c, rqc_entity entity, const uint8_t id[16])
{
    const rqc_record *r;
    const int status = cli_begin(c);
    if (status != CLI_OK)
        return status;
    const rqc_err rc = rqc_get(c->read, entity, id, &r);
    if (rc != RQC_OK)
        return cli_read_failed(c, rc, "the record");
    cli_records(c, &r, 1);
    return CLI_OK;
}

static int patch_commit(cli *c, const cli_args *a, patch_args *p, rqc_txn *t)
{
    rqc_result r;
    rqc_err rc = rqc_patch(t, p->entity, p->id, p->row, p->if_seq);
    if (rc == RQC_OK)
        rc = rqc_commit(t, &r);
    if (rc == RQC_OK) {
        warn_lag(c, &r);
        return show(c, p->entity, p->id);
    }
    if (rc == RQC_NOT_FOUND)
        return cli_fail(c, rc, "%s: no %s has this id", a->words[1], a->words[0]);
    if (rc != RQC_CHANGED)
        return cli_fail(c, rc, "%s: %s; nothing was written", a->words[1], rqc_txn_error(t));
    (void)show(c, p->entity, p->id);
    return cli_fail(c, rc,
                    "%s changed after %" PRIu64
                    "; nothing was written, the record is shown as it is now",
                    a->words[1], p->if_seq);
}

static int patch(cli *c, const cli_args *a)
{
    patch_args p = {.if_seq = 0};
    rqc_txn *t = NULL;
    int status = patch_parse(c, a, &p);
    if (status == CLI_OK)
        status = begin_txn(c, CLI_WRITE, &t);
    if (status == CLI_OK && cli_has(a, PATCH_IF_SEQ))
        status = parse_if_seq(c, cli_value(a, PATCH_IF_SEQ), &p.if_seq);
    if (status == CLI_OK)
        status = patch_commit(c, a, &p, t);
    rqc_txn_free(t);
    for (size_t i = 0; i < RQC_FIELD_MAX; i++)
        rqci_buf_free(&p.scratch[i]);
    return status;
}

// ---- delete -------------------------------------------------------------------------------------

static int delete (cli *c, const cli_args *a)
{
    rqc_entity entity;
    uint8_t(*ids)[16] = NULL;
    size_t n = 0;
    rqc_txn *t = NULL;
    rqc_result r;
    int status = cli_parse_entity(c, a->words[0], &entity);
    if (status == CLI_OK)
        status = cli_parse_ids(c, a, 1, &ids, &n);
    if (status == CLI_OK)
        status = begin_txn(c, CLI_WRITE, &t);
    rqc_err rc = RQC_OK;
    for (size_t i = 0; i < n && status == CLI_OK && rc == RQC_OK; i++)
        rc = rqc_delete(t, entity, ids[i], 0);
    if (status == CLI_OK && rc == RQC_OK)
        rc = rqc_commit(t, &r);
    if (status == CLI_OK && rc == RQC_NOT_FOUND && rqci_txn_failed(t) < n)
        status = cli_fail(c, rc, "%s: no %s has this id; nothing was deleted",
                          a->words[1 + rqci_txn_failed(t)], a->words[0]);
    else if (status == CLI_OK && rc != RQC_OK)
        status = cli_fail(c, rc, "%s; nothing was deleted", rqc_txn_error(t));
    rqc_txn_free(t);
    free(ids);
    if (status != CLI_OK)
        return status;
    warn_lag(c, &r);
    if (c->json) {
        cli_json_begin(c);
        cli_json_uint(c, "deleted", r.deleted);
        cli_json_position(c, &r.position);
        cli_json_end(c);
    } else {
        printf("%" PRIu64 " deleted, position %" PRIu64 "\n", r.deleted, r.position.seq);
    }
    return CLI_OK;
}

const cli_command cli_write_commands[] = {
    {"put", "",
     "store records from standard input, one JSON object a line, all or none\n\n"
     "A record with an id that is there replaces it; one without an id gets a new one. Columns "
     "that are missing take their defaults. Answers of get, page and changes are taken as they "
     "are; "
     "deletions among them are passed over.\n\n"
     "Example: reqcast put < records.jsonl"
     "\n         reqcast --json changes shop --large | reqcast --db copy.db put",
     NULL, 0, 0, put},
    {"patch", "ENTITY ID FIELD=VALUE... [--unset FIELD] [--if-seq N]",
     "change fields of a record\n\n"
     "--unset makes a field NULL; on an override: inherit. With --if-seq a record that changed "
     "after N is refused and shown.\n\n"
     "Example: reqcast patch http 01K742SA9ZQCRRV30NT5JTECS8 name=Items --if-seq 181",
     patch_options, 2, SIZE_MAX, patch},
    {"delete", "ENTITY ID...",
     "delete records, with all that hangs on them\n\n"
     "Example: reqcast delete http 01K742SA9ZQCRRV30NT5JTECS8",
     NULL, 2, SIZE_MAX, delete},
    {NULL, NULL, NULL, NULL, 0, 0, NULL},
};

// SPDX-License-Identifier: Apache-2.0
// Commands that read records.
#include "api/cli/cli.h"
#include "api/cli/cursor.h"

#include "record/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CHANGES_PAGE 1000u

static int parse_until(cli *c, const cli_args *a, int option, int64_t *ret_until)
{
    *ret_until = RQC_ANY_TIME;
    return cli_has(a, option)
               ? cli_parse_int(c, "--until", cli_value(a, option), INT64_MIN, INT64_MAX, ret_until)
               : CLI_OK;
}

// ---- Pages --------------------------------------------------------------------------------------

// A delta is known by what it overrides; its plain columns mean nothing.
static void shown(cli *c, cli_table *t, const rqc_record *r, int field, int override)
{
    const rqc_value delta = rqc_field(r, RQC_HTTP_IS_DELTA), o = rqc_field(r, override);
    const bool overridden = delta.u.i && (o.type == RQC_TEXT || o.type == RQC_LARGE);
    const rqc_value v = cli_whole(c, r, overridden ? override : field);
    cli_cell_value(t, &v);
}

void cli_requests_table(cli *c, const rqc_list *list)
{
    static const cli_column columns[] = {{"UPDATED (UTC)", false, false},
                                         {"METHOD", false, false},
                                         {"NAME", false, true},
                                         {"URL", false, true},
                                         {"ID", false, false},
                                         {NULL, false, false}};
    cli_table t;
    cli_table_init(&t, columns);
    for (size_t i = 0; i < list->n; i++) {
        const rqc_record *r = list->items[i];
        char text[32];
        cli_time_text(rqc_record_updated(r), text);
        cli_cell_text(&t, text);
        shown(c, &t, r, RQC_HTTP_METHOD, RQC_HTTP_DELTA_METHOD);
        shown(c, &t, r, RQC_HTTP_NAME, RQC_HTTP_DELTA_NAME);
        shown(c, &t, r, RQC_HTTP_URL, RQC_HTTP_DELTA_URL);
        rqc_id_format(rqc_record_id(r), text);
        cli_cell_text(&t, text);
    }
    cli_table_print(&t, list->n > 0);
}

enum { PAGE_UNTIL, PAGE_METHOD, PAGE_LIMIT, PAGE_CURSOR, PAGE_LARGE };
static const cli_option page_options[] = {
    {"until", 0, "T"},  {"method", 0, "M"}, {"limit", 0, "N"},
    {"cursor", 0, "C"}, {"large", 0, NULL}, {NULL, 0, NULL},
};

static int page(cli *c, const cli_args *a)
{
    uint8_t workspace[16];
    int64_t until, limit = 50;
    rqc_page_cursor cursor = RQC_PAGE_CURSOR_INIT;
    char next[CLI_PAGE_CURSOR_TEXT];
    const char *method;
    c->large = cli_has(a, PAGE_LARGE);
    int status = parse_until(c, a, PAGE_UNTIL, &until);
    if (status == CLI_OK && cli_has(a, PAGE_LIMIT))
        status = cli_parse_int(c, "--limit", cli_value(a, PAGE_LIMIT), 1, RQC_PAGE_MAX, &limit);
    if (status == CLI_OK && cli_has(a, PAGE_CURSOR) &&
        cli_page_cursor_parse(cli_value(a, PAGE_CURSOR), &cursor) != RQC_OK)
        status = cli_usage(c, "--cursor: %s is not what a page gave as next",
                           cli_shown(cli_value(a, PAGE_CURSOR)));
    if (status == CLI_OK)
        status = cli_parse_method(c, a, PAGE_METHOD, &method);
    if (status == CLI_OK)
        status = cli_begin(c);
    if (status == CLI_OK)
        status = cli_find_workspace(c, a->words[0], workspace, NULL);
    if (status != CLI_OK)
        return status;
    rqc_list list = RQC_LIST_INIT;
    const rqc_err rc = rqc_page(c->read, workspace, until, method, (uint32_t)limit, &cursor, &list);
    if (rc != RQC_OK)
        return cli_read_failed(c, rc, "page");
    cli_page_cursor_format(&cursor, next);
    if (c->json) {
        const rqc_position p = rqc_read_position(c->read);
        cli_records(c, list.items, list.n);
        cli_json_begin(c);
        if (cursor.state == 1)
            cli_json_text(c, "next", next);
        else
            cli_json_null(c, "next");
        cli_json_position(c, &p);
        cli_json_end(c);
    } else {
        cli_requests_table(c, &list);
        if (list.n == 0)
            puts("no requests");
        if (cursor.state == 1)
            printf("more: --cursor %s\n", next);
    }
    rqc_list_free(&list);
    return CLI_OK;
}

static int count(cli *c, const cli_args *a)
{
    uint8_t workspace[16];
    int64_t until;
    uint64_t n;
    int status = parse_until(c, a, 0, &until);
    if (status == CLI_OK)
        status = cli_begin(c);
    if (status == CLI_OK)
        status = cli_find_workspace(c, a->words[0], workspace, NULL);
    if (status != CLI_OK)
        return status;
    const rqc_err rc = rqc_count(c->read, workspace, until, &n);
    if (rc != RQC_OK)
        return cli_read_failed(c, rc, "count");
    if (c->json) {
        cli_json_begin(c);
        cli_json_uint(c, "count", n);
        cli_json_end(c);
    } else {
        printf("%" PRIu64 "\n", n);
    }
    return CLI_OK;
}

// ---- Changes ------------------------------------------------------------------------------------

// Before there is a session only its form is looked at.
static int parse_cursor(cli *c, const char *text, rqc_cursor *ret)
{
    const rqc_position nowhere = {.term = 0}, here = c->read ? rqc_read_position(c->read) : nowhere;
    const rqc_err rc = cli_changes_cursor_parse(text, &here, ret);
    if (rc == RQC_EPOCH_CHANGED && !c->read)
        return CLI_OK;
    if (rc == RQC_EPOCH_CHANGED)
        return cli_fail(
            c, rc,
            "--since: %s belongs to another history of the database; start over with --since 0",
            text);
    if (rc != RQC_OK)
        return cli_usage(
            c, "--since: %s is no position (SEQ, TERM@STOREID:SEQ, or what changes gave as next)",
            cli_shown(text));
    return CLI_OK;
}

static void change_json(cli *c, const rqc_change *change)
{
    cli_json_begin(c);
    cli_json_text(c, "op", change->op == 1 ? "upsert" : "delete");
    if (change->op == 1) {
        // The record's own object follows, its opening brace a comma.
        const size_t at = c->line.len;
        cli_json_made(c, rqci_json_record(&c->line, change->record, cli_json_whole(c)));
        if (c->line.len <= at)
            return;
        c->line.data[at] = ',';
        c->line.len--;
    } else {
        cli_json_text(c, "entity", rqc_entity_name((rqc_entity)change->entity));
        cli_json_id(c, "id", change->id);
        cli_json_uint(c, "seq", change->seq);
    }
    cli_json_end(c);
}

static void change_text(const rqc_change *change)
{
    char id[27];
    rqc_id_format(change->id, id);
    printf("%10" PRIu64 "  %s  %-20s %s\n", change->seq, change->op == 1 ? "upsert" : "delete",
           rqc_entity_name((rqc_entity)change->entity), id);
}

void cli_change(cli *c, const rqc_change *change)
{
    if (c->json)
        change_json(c, change);
    else
        change_text(change);
}

static void changes_end(cli *c, const rqc_cursor *cursor, bool up_to_date)
{
    const rqc_position here = rqc_read_position(c->read);
    char next[CLI_CHANGES_CURSOR_TEXT];
    cli_changes_cursor_format(&here, cursor, next);
    if (!c->json) {
        printf("%s; next: --since %s\n", up_to_date ? "up to date" : "there is more", next);
        return;
    }
    cli_json_begin(c);
    if (cursor->entity)
        cli_json_text(c, "next", next);
    else
        cli_json_uint(c, "next", cursor->seq);
    cli_json_uint(c, "head", here.seq);
    cli_json_bool(c, "up_to_date", up_to_date);
    cli_json_position(c, &here);
    cli_json_end(c);
}

enum { CHANGES_SINCE, CHANGES_LIMIT, CHANGES_LARGE };
static const cli_option changes_options[] = {{"since", 0, "SEQ"},
                                             {"limit", 0, "N"},
                                             {"large", 0, NULL},
                                             {NULL, 0, NULL}};

static int changes(cli *c, const cli_args *a)
{
    uint8_t workspace[16];
    int64_t limit = INT64_MAX;
    rqc_cursor cursor = RQC_CURSOR_INIT(0);
    int status = CLI_OK, up_to_date = 0;
    c->large = cli_has(a, CHANGES_LARGE);
    if (cli_has(a, CHANGES_LIMIT))
        status = cli_parse_int(c, "--limit", cli_value(a, CHANGES_LIMIT), 1, INT64_MAX, &limit);
    if (status == CLI_OK && cli_has(a, CHANGES_SINCE))
        status = parse_cursor(c, cli_value(a, CHANGES_SINCE), &cursor);
    if (status == CLI_OK)
        status = cli_begin(c);
    if (status == CLI_OK && cli_has(a, CHANGES_SINCE))
        status = parse_cursor(c, cli_value(a, CHANGES_SINCE), &cursor);
    if (status == CLI_OK)
        status = cli_find_workspace(c, a->words[0], workspace, NULL);
    if (status != CLI_OK)
        return status;
    rqc_changes_list list = RQC_CHANGES_INIT;
    rqc_err rc = RQC_OK;
    while (rc == RQC_OK && limit > 0 && !up_to_date && !ferror(stdout) && c->unread == CLI_OK) {
        const uint32_t n = limit < CHANGES_PAGE ? (uint32_t)limit : CHANGES_PAGE;
        rc = rqc_changes(c->read, workspace, &cursor, n, &list, &up_to_date);
        for (size_t i = 0; rc == RQC_OK && i < list.n; i++)
            cli_change(c, &list.items[i]);
        limit -= rc == RQC_OK ? (int64_t)list.n : 0;
    }
    rqc_changes_free(&list);
    if (rc != RQC_OK && cursor.seq > rqc_read_position(c->read).seq)
        return cli_fail(c, rc,
                        "--since: %s is beyond the newest position, %" PRIu64
                        ": it belongs to another database or history; start over with --since 0",
                        cli_value(a, CHANGES_SINCE), rqc_read_position(c->read).seq);
    if (rc != RQC_OK)
        return cli_read_failed(c, rc, "changes");
    changes_end(c, &cursor, up_to_date);
    return CLI_OK;
}

// ---- Records ------------------------------------------------------------------------------------

enum { GET_LARGE, GET_FIELD };
static const cli_option get_options[] = {{"large", 0, NULL},
                                         {"field", 0, "FIELD"},
                                         {NULL, 0, NULL}};

static int get_options_of(cli *c, const cli_args *a, rqc_entity entity, int *ret_field)
{
    const char *field = cli_value(a, GET_FIELD);
    c->large = cli_has(a, GET_LARGE);
    *ret_field = -1;
    if (!field)
        return CLI_OK;
    const int status = cli_parse_field(c, "--field", entity, field, ret_field);
    if (status != CLI_OK)
        return status;
    if (a->n > 2)
        return cli_usage(c, "--field %s: of one ID, not of %zu", field, a->n - 1);
    return c->json ? cli_usage(c, "--field %s writes the value itself, not JSON: leave out --json",
                               field)
                   : CLI_OK;
}

static int get(cli *c, const cli_args *a)
{
    rqc_entity entity;
    uint8_t(*ids)[16] = NULL;
    size_t n = 0, missing = 0;
    int field;
    int status = cli_parse_entity(c, a->words[0], &entity);
    if (status == CLI_OK)
        status = get_options_of(c, a, entity, &field);
    if (status == CLI_OK)
        status = cli_parse_ids(c, a, 1, &ids, &n);
    if (status == CLI_OK)
        status = cli_begin(c);
    const char *first = NULL;
    for (size_t i = 0; i < n && status == CLI_OK; i++) {
        const rqc_record *r;
        const rqc_err rc = rqc_get(c->read, entity, ids[i], &r);
        if (rc == RQC_OK && field >= 0)
            status = cli_write_field(c, r, field);
        else if (rc == RQC_OK)
            cli_records(c, &r, 1);
        else if (rc != RQC_NOT_FOUND)
            status = cli_read_failed(c, rc, "get");
        else if (missing++ == 0)
            first = a->words[1 + i];
    }
    free(ids);
    if (status != CLI_OK || missing == 0)
        return status;
    return missing == 1 ? cli_fail(c, RQC_NOT_FOUND, "%s: no %s has this id", first, a->words[0])
                        : cli_fail(c, RQC_NOT_FOUND, "%s and %zu more: no %s has these ids", first,
                                   missing - 1, a->words[0]);
}

// One line per record: the fields that people look for in children.
static void children_table(cli *c, rqc_entity entity, const rqc_list *list)
{
    static const cli_column columns[] = {{"OWNER", false, false}, {"KEY", false, true},
                                         {"VALUE", false, true},  {"UPDATED (UTC)", false, false},
                                         {"ID", false, false},    {NULL, false, false}};
    static const char *const keys[] = {"header_key", "key", "version_name", "status", "success"};
    static const char *const values[] = {"header_value", "value", "raw_data", "version_description",
                                         "size"};
    const int owner = rqc_field_number(entity, "http_id") >= 0
                          ? rqc_field_number(entity, "http_id")
                          : rqc_field_number(entity, "response_id");
    int key = -1, value = -1;
    for (size_t i = 0; i < 5; i++) {
        key = key < 0 ? rqc_field_number(entity, keys[i]) : key;
        value = value < 0 ? rqc_field_number(entity, values[i]) : value;
    }
    cli_table t;
    cli_table_init(&t, columns);
    for (size_t i = 0; i < list->n; i++) {
        const rqc_record *r = list->items[i];
        const int fields[] = {owner, key, value};
        char text[32];
        for (size_t f = 0; f < 3; f++) {
            const rqc_value v = cli_whole(c, r, fields[f]);
            cli_cell_value(&t, &v);
        }
        cli_time_text(rqc_record_updated(r), text);
        cli_cell_text(&t, text);
        rqc_id_format(rqc_record_id(r), text);
        cli_cell_text(&t, text);
    }
    cli_table_print(&t, list->n > 0);
    if (list->n == 0)
        puts("none");
}

enum { CHILDREN_UNTIL, CHILDREN_ALL, CHILDREN_LARGE };
static const cli_option children_options[] = {{"until", 0, "T"},
                                              {"all", 0, NULL},
                                              {"large", 0, NULL},
                                              {NULL, 0, NULL}};

static int children(cli *c, const cli_args *a)
{
    rqc_entity entity;
    int64_t until;
    uint8_t(*ids)[16] = NULL;
    size_t n = 0;
    c->large = cli_has(a, CHILDREN_LARGE);
    int status = parse_until(c, a, CHILDREN_UNTIL, &until);
    if (status == CLI_OK)
        status = cli_parse_entity(c, a->words[0], &entity);
    if (status == CLI_OK && entity <= RQC_HTTP)
        status = cli_usage(
            c, "%s hangs on no request; children are http_header, http_search_param and so on",
            a->words[0]);
    if (status == CLI_OK)
        status = cli_parse_ids(c, a, 1, &ids, &n);
    if (status == CLI_OK)
        status = cli_begin(c);
    rqc_list list = RQC_LIST_INIT;
    if (status == CLI_OK) {
        const rqc_err rc = rqc_children(c->read, entity, (const uint8_t(*)[16])ids, n, until,
                                        cli_has(a, CHILDREN_ALL), &list);
        if (rc != RQC_OK)
            status = cli_read_failed(c, rc, "children");
    }
    if (status == CLI_OK && c->json)
        cli_records(c, list.items, list.n);
    else if (status == CLI_OK)
        children_table(c, entity, &list);
    rqc_list_free(&list);
    free(ids);
    return status;
}

static const cli_option count_options[] = {{"until", 0, "T"}, {NULL, 0, NULL}};

const cli_command cli_read_commands[] = {
    {"page", "WORKSPACE [--until T] [--method M] [--limit 50] [--cursor C] [--large]",
     "base requests of a workspace, newest first\n\n"
     "A WORKSPACE is an id or a unique name. --until takes UNIX seconds. What a page gives as next "
     "goes on with --cursor. " CLI_LARGE_HELP "\n\n"
     "Example: reqcast page shop --method POST --limit 20",
     page_options, 1, 1, page},
    {"count", "WORKSPACE [--until T]",
     "how many base requests a workspace has\n\n"
     "Example: reqcast count shop",
     count_options, 1, 1, count},
    {"changes", "WORKSPACE [--since SEQ] [--limit N] [--large]",
     "each record that changed, once, in order of its last change\n\n"
     "Deletions come as such. --since takes a SEQ, a position, or what changes gave as next; 0 or "
     "none: everything. " CLI_LARGE_HELP "\n\n"
     "Example: reqcast --json changes shop --since 0",
     changes_options, 1, 1, changes},
    {"get", "ENTITY ID... [--large] [--field FIELD]",
     "records by id\n\n" CLI_LARGE_HELP
     " --field writes the value of one field of one record as it is, "
     "large or not, and nothing else.\n\n"
     "Example: reqcast get http 01K742SA9ZQCRRV30NT5JTECS8\n"
     "         reqcast get http_response 01K742SB1QVGB1D3T399TRSCJE --field body >page.html",
     get_options, 2, SIZE_MAX, get},
    {"children", "ENTITY HTTP_ID... [--until T] [--all] [--large]",
     "headers, parameters and so on of requests\n\n"
     "Only enabled ones, unless --all. For http_response_header and http_response_assert the ids "
     "are those of responses. " CLI_LARGE_HELP "\n\n"
     "Example: reqcast children http_header 01K742SA9ZQCRRV30NT5JTECS8 --all",
     children_options, 2, SIZE_MAX, children},
    {NULL, NULL, NULL, NULL, 0, 0, NULL},
};

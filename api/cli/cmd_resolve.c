// SPDX-License-Identifier: Apache-2.0
// Effective requests.
#include "api/cli/cli.h"

#include "record/json.h"
#include "record/resolve.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const origins[] = {"base", "override", "addition"};

static void keep(cli *c, rqc_err rc)
{
    c->lost = c->lost || rc != RQC_OK;
}

static void item_json(cli *c, const rqc_item *m)
{
    cli_json_made(c, rqci_json_item(&c->line, m, cli_json_whole(c)));
}

static void items_json(cli *c, const char *key, const rqc_items *list)
{
    cli_json_key(c, key);
    keep(c, rqci_buf_add(&c->line, "[", 1));
    for (size_t i = 0; i < list->n; i++) {
        if (i > 0)
            keep(c, rqci_buf_add(&c->line, ",", 1));
        item_json(c, &list->items[i]);
    }
    keep(c, rqci_buf_add(&c->line, "]", 1));
}

// The body that is sent: whole where that is wanted.
static rqc_value body_of(cli *c, const rqc_resolved *m)
{
    return m->raw.bytes.type == RQC_LARGE ? cli_whole(c, m->raw.source, m->raw.source_field)
                                          : m->raw.bytes;
}

static void raw_json(cli *c, const rqc_resolved *m)
{
    const rqc_value id = m->raw.id ? rqc_id(m->raw.id) : rqc_null(),
                    codec = rqc_int(m->raw.compression), bytes = body_of(c, m);
    if (!m->raw.present) {
        cli_json_null(c, "raw");
        return;
    }
    const struct {
        const char *key;
        const rqc_value *value;
    } fields[] = {{"{\"id\":", &id},
                  {",\"raw_data\":", &bytes},
                  {",\"compression_type\":", &codec}};
    cli_json_key(c, "raw");
    for (size_t i = 0; i < 3; i++) {
        keep(c, rqci_buf_add(&c->line, fields[i].key, strlen(fields[i].key)));
        keep(c, rqci_json_value(&c->line, fields[i].value));
    }
    const char *origin = origins[m->raw.origin];
    keep(c, rqci_buf_add(&c->line, ",\"origin\":\"", 11));
    keep(c, rqci_buf_add(&c->line, origin, strlen(origin)));
    keep(c, rqci_buf_add(&c->line, "\"}", 2));
}

static void resolved_json(cli *c, const rqc_resolved *m)
{
    const rqc_position p = rqc_read_position(c->read);
    cli_json_begin(c);
    cli_json_key(c, "http");
    item_json(c, &m->http);
    items_json(c, "headers", &m->headers);
    items_json(c, "params", &m->params);
    items_json(c, "form", &m->form);
    items_json(c, "urlencoded", &m->urlencoded);
    items_json(c, "asserts", &m->asserts);
    raw_json(c, m);
    cli_json_position(c, &p);
    cli_json_end(c);
}

// ---- For people ---------------------------------------------------------------------------------

static void print_value(const rqc_value *v, size_t most)
{
    rqci_buf out = {0};
    cli_value_text(&out, v, most);
    if (out.len > 0)
        fwrite(out.data, 1, out.len, stdout);
    rqci_buf_free(&out);
}

static rqc_value item_value(cli *c, const rqc_item *m, int field)
{
    const rqc_value v = rqc_item_field(m, field);
    if (v.type != RQC_LARGE)
        return v;
    const rqci_field_place at = rqci_item_place(m, field);
    return cli_whole(c, at.record, at.field);
}

static void item_cell(cli *c, cli_table *t, const rqc_item *m, int field)
{
    const rqc_value v = item_value(c, m, field);
    cli_cell_value(t, &v);
}

// A block of names and values, marked by where they come from. key_field -1: there is only a value.
static void items_text(cli *c, const char *title, const rqc_items *list, int key_field,
                       int value_field, int enabled_field)
{
    static const cli_column columns[] = {{"", false, false},
                                         {"", false, true},
                                         {"", false, true},
                                         {"", false, false},
                                         {NULL, false, false}};
    if (list->n == 0)
        return;
    printf("\n%s (%zu)\n", title, list->n);
    cli_table t;
    cli_table_init(&t, columns);
    for (size_t i = 0; i < list->n; i++) {
        const rqc_item *m = &list->items[i];
        const rqc_value enabled = rqc_item_field(m, enabled_field);
        const bool off = enabled.type == RQC_BOOL && !enabled.u.i;
        char note[32];
        cli_cell_text(&t, m->origin == RQC_ORIGIN_ADDITION   ? " +"
                          : m->origin == RQC_ORIGIN_OVERRIDE ? " *"
                                                             : "  ");
        if (key_field >= 0)
            item_cell(c, &t, m, key_field);
        else
            cli_cell_text(&t, "");
        item_cell(c, &t, m, value_field);
        snprintf(note, sizeof note, "%s%s%s", m->origin ? origins[m->origin] : "",
                 m->origin && off ? ", " : "", off ? "disabled" : "");
        cli_cell_text(&t, note);
    }
    cli_table_print(&t, false);
}

static void print_item(cli *c, const rqc_item *m, int field, size_t most, char end)
{
    const rqc_value v = item_value(c, m, field);
    print_value(&v, most);
    putchar(end);
}

static void resolved_text(cli *c, const rqc_resolved *m)
{
    const rqc_value text = rqc_item_field(&m->http, RQC_HTTP_DESCRIPTION);
    print_item(c, &m->http, RQC_HTTP_METHOD, 64, ' ');
    print_item(c, &m->http, RQC_HTTP_URL, 8192, '\n');
    print_item(c, &m->http, RQC_HTTP_NAME, 256, '\n');
    if (text.type == RQC_LARGE || (text.type == RQC_TEXT && text.n > 0))
        print_item(c, &m->http, RQC_HTTP_DESCRIPTION, 4096, '\n');
    items_text(c, "Headers", &m->headers, RQC_HTTP_HEADER_HEADER_KEY, RQC_HTTP_HEADER_HEADER_VALUE,
               RQC_HTTP_HEADER_ENABLED);
    items_text(c, "Parameters", &m->params, RQC_HTTP_SEARCH_PARAM_KEY, RQC_HTTP_SEARCH_PARAM_VALUE,
               RQC_HTTP_SEARCH_PARAM_ENABLED);
    items_text(c, "Form", &m->form, RQC_HTTP_BODY_FORM_KEY, RQC_HTTP_BODY_FORM_VALUE,
               RQC_HTTP_BODY_FORM_ENABLED);
    items_text(c, "Urlencoded", &m->urlencoded, RQC_HTTP_BODY_URLENCODED_KEY,
               RQC_HTTP_BODY_URLENCODED_VALUE, RQC_HTTP_BODY_URLENCODED_ENABLED);
    items_text(c, "Asserts", &m->asserts, -1, RQC_HTTP_ASSERT_VALUE, RQC_HTTP_ASSERT_ENABLED);
    if (m->raw.present && m->raw.bytes.type != RQC_NULL) {
        static const char *const codecs[] = {"", ", gzip", ", zstd", ", brotli"};
        const bool known = m->raw.compression >= 0 && m->raw.compression < 4;
        printf("\nBody%s%s%s\n", known ? codecs[m->raw.compression] : ", unknown codec",
               m->raw.origin ? ", " : "", m->raw.origin ? origins[m->raw.origin] : "");
        const rqc_value bytes = body_of(c, m);
        print_value(&bytes, 4096);
        putchar('\n');
    }
}

static int resolve_failed(cli *c, const cli_args *a, rqc_err rc, const uint8_t base[16])
{
    const rqc_record *there;
    const char *delta = cli_value(a, 0);
    if (delta && rc == RQC_INVALID)
        return cli_fail(c, rc, "%s: not a delta of %s", delta, a->words[0]);
    if (delta && rc == RQC_NOT_FOUND && rqc_get(c->read, RQC_HTTP, base, &there) == RQC_OK)
        return cli_fail(c, rc, "%s: there is no request with this id", delta);
    return rc == RQC_NOT_FOUND
               ? cli_fail(c, rc, "%s: there is no request with this id", a->words[0])
               : cli_read_failed(c, rc, a->words[0]);
}

enum { RESOLVE_DELTA, RESOLVE_LARGE };
static const cli_option resolve_options[] = {{"delta", 0, "ID"},
                                             {"large", 0, NULL},
                                             {NULL, 0, NULL}};

static int resolve(cli *c, const cli_args *a)
{
    uint8_t base[16], delta[16];
    const bool has_delta = cli_has(a, RESOLVE_DELTA);
    c->large = cli_has(a, RESOLVE_LARGE);
    int status = cli_parse_id(c, NULL, a->words[0], base);
    if (status == CLI_OK && has_delta)
        status = cli_parse_id(c, "--delta", cli_value(a, RESOLVE_DELTA), delta);
    if (status == CLI_OK)
        status = cli_begin(c);
    if (status != CLI_OK)
        return status;
    rqc_resolved m = RQC_RESOLVED_INIT;
    const rqc_err rc = rqc_resolve(c->read, base, has_delta ? delta : NULL, &m);
    if (rc != RQC_OK)
        status = resolve_failed(c, a, rc, base);
    else if (c->json)
        resolved_json(c, &m);
    else
        resolved_text(c, &m);
    rqc_resolved_free(&m);
    return status;
}

// ---- Chains -------------------------------------------------------------------------------------

enum { CHAIN_UNTIL, CHAIN_LARGE };
static const cli_option chain_options[] = {{"until", 0, "T"}, {"large", 0, NULL}, {NULL, 0, NULL}};

static rqc_value chain_value(cli *c, const rqc_list *chain, int field)
{
    const rqci_field_place at = rqci_chain_place(chain->items, chain->n, field);
    return cli_whole(c, at.record, at.field);
}

static void chain_text(cli *c, const rqc_list *chain)
{
    printf("%zu %s, from the base to the deepest delta\n", chain->n,
           chain->n == 1 ? "request" : "requests");
    for (size_t i = 0; i < chain->n; i++) {
        char id[27];
        const rqc_value name =
            rqc_field(chain->items[i], i == 0 ? RQC_HTTP_NAME : RQC_HTTP_DELTA_NAME);
        rqc_id_format(rqc_record_id(chain->items[i]), id);
        printf("  %s  ", id);
        if (name.type != RQC_NULL)
            print_value(&name, 256);
        putchar('\n');
    }
    static const int fields[] = {RQC_HTTP_NAME, RQC_HTTP_METHOD, RQC_HTTP_URL, RQC_HTTP_BODY_KIND,
                                 RQC_HTTP_DESCRIPTION};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const rqc_value v = chain_value(c, chain, fields[i]);
        printf("%-12s ", rqc_field_name(RQC_HTTP, fields[i]));
        print_value(&v, 8192);
        putchar('\n');
    }
}

static int chain(cli *c, const cli_args *a)
{
    uint8_t base[16];
    int64_t until = RQC_ANY_TIME;
    c->large = cli_has(a, CHAIN_LARGE);
    int status = cli_parse_id(c, NULL, a->words[0], base);
    if (status == CLI_OK && cli_has(a, CHAIN_UNTIL))
        status =
            cli_parse_int(c, "--until", cli_value(a, CHAIN_UNTIL), INT64_MIN, INT64_MAX, &until);
    if (status == CLI_OK)
        status = cli_begin(c);
    if (status != CLI_OK)
        return status;
    rqc_list list = RQC_LIST_INIT;
    const rqc_err rc = rqc_chain(c->read, base, until, &list);
    if (rc != RQC_OK) {
        status = cli_read_failed(c, rc, a->words[0]);
    } else if (list.n == 0) {
        status = cli_fail(c, RQC_NOT_FOUND,
                          "%s: no base request has this id; a chain begins at a base", a->words[0]);
    } else if (c->json) {
        c->line.len = 0;
        cli_json_made(c, rqci_json_chain(&c->line, list.items, list.n, cli_json_whole(c)));
        // The line is ended like every other.
        if (c->line.len > 0)
            c->line.len--;
        cli_json_end(c);
    } else {
        chain_text(c, &list);
    }
    rqc_list_free(&list);
    return status;
}

const cli_command cli_resolve_commands[] = {
    {"resolve", "HTTP_ID [--delta ID] [--large]",
     "the effective request: a base, with one delta laid over it\n\n"
     "Children are marked: * overridden, + added by the delta. " CLI_LARGE_HELP "\n\n"
     "Example: reqcast resolve 01K742SA9ZQCRRV30NT5JTECS8",
     resolve_options, 1, 1, resolve},
    {"chain", "HTTP_ID [--until T] [--large]",
     "a base merged with the deepest of its deltas\n\n"
     "Ties between deltas: the newest, then the highest id. " CLI_LARGE_HELP "\n\n"
     "Example: reqcast chain 01K742SA9ZQCRRV30NT5JTECS8",
     chain_options, 1, 1, chain},
    {NULL, NULL, NULL, NULL, 0, 0, NULL},
};

// SPDX-License-Identifier: Apache-2.0
// Values that are too large for the view, fetched from SQLite where --large asks for them; and the
// value of one field as it is.
#include "api/cli/cli.h"

#include "base/utf8.h"
#include "record/json.h"
#include "record/schema.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// What was fetched is kept until the next one is: no record has to be held whole.
static rqc_err fetch(void *ctx, const rqc_record *r, int field, rqc_value *v)
{
    cli *c = ctx;
    size_t n = 0;
    free(c->whole);
    c->whole = NULL;
    const rqc_entity e = rqc_record_entity(r);
    const rqc_err rc = rqc_large(c->read, r, field, &c->whole, &n);
    if (rc != RQC_OK) {
        char id[27];
        rqc_id_format(rqc_record_id(r), id);
        if (c->unread == CLI_OK)
            c->unread =
                cli_fail(c, rc, "%s %s: %s: %s%s", rqc_entity_name(e), id, rqc_field_name(e, field),
                         rqc_read_error(c->read), rc == RQC_CHANGED ? "; try again" : "");
        return rc;
    }
    // The storage class of a large value in a column of any type is not in the view.
    const rqci_ftype type = rqci_entity_of(e)->fields[field].type;
    const bool text =
        type == RQCI_T_TEXT || (type == RQCI_T_ANY && rqci_utf8_valid((const char *)c->whole, n));
    // SQLite holds no value of 4 GiB.
    *v = text ? rqc_textn(c->whole, (uint32_t)n) : rqc_bytes(c->whole, (uint32_t)n);
    return RQC_OK;
}

const rqci_json_whole *cli_json_whole(cli *c)
{
    c->fetcher = (rqci_json_whole){fetch, c};
    return c->large ? &c->fetcher : NULL;
}

rqc_value cli_whole(cli *c, const rqc_record *r, int field)
{
    rqc_value v = rqc_field(r, field);
    if (v.type == RQC_LARGE && c->large && c->unread == CLI_OK)
        (void)fetch(c, r, field, &v);
    return v;
}

// ---- One field ----------------------------------------------------------------------------------

// For a terminal: what could make it do things is made visible, lines stay lines.
static void show(const char *p, size_t n)
{
    rqci_buf out = {0};
    for (const char *end = p + n; p < end;) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        const char *stop = newline ? newline : end;
        out.len = 0;
        cli_visible(&out, p, (size_t)(stop - p));
        printf("%.*s\n", (int)out.len, out.len ? (const char *)out.data : "");
        p = newline ? stop + 1 : end;
    }
    rqci_buf_free(&out);
}

int cli_write_field(cli *c, const rqc_record *r, int field)
{
    rqci_buf text = {0};
    char id[27];
    c->large = true;
    const rqc_value v = cli_whole(c, r, field);
    const void *p = v.p;
    size_t n = v.n;
    if (c->unread != CLI_OK)
        return c->unread;
    if (v.type == RQC_NULL) {
        rqc_id_format(rqc_record_id(r), id);
        return cli_fail(c, RQC_NOT_FOUND, "%s: %s is NULL", id,
                        rqc_field_name(rqc_record_entity(r), field));
    }
    if (v.type == RQC_ID) {
        rqc_id_format(v.p, id);
        p = id;
        n = strlen(id);
    } else if (v.type != RQC_TEXT && v.type != RQC_BYTES) {
        c->lost = rqci_json_value(&text, &v) != RQC_OK || c->lost;
        p = text.data;
        n = text.len;
    }
    if (isatty(STDOUT_FILENO))
        show(n > 0 ? p : "", n);
    else if (n > 0)
        fwrite(p, 1, n, stdout);
    rqci_buf_free(&text);
    return CLI_OK;
}

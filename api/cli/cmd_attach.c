// SPDX-License-Identifier: Apache-2.0
// Commands that put our tables and triggers into an application's database, and take them out.
#include "api/cli/cli.h"

#include <inttypes.h>
#include <string.h>

typedef struct parts {
    bool all;      // also those that are there
    rqci_buf text; // kind, name and table of each, NUL-terminated
    bool lost;
    uint64_t n;
} parts;

static void note_part(void *ctx, const rqc_part *p)
{
    parts *s = ctx;
    if (p->there && !s->all)
        return;
    const char *const words[] = {p->kind, p->name, p->table ? p->table : ""};
    for (int i = 0; i < 3; i++)
        s->lost = s->lost || rqci_buf_add(&s->text, words[i], strlen(words[i]) + 1) != RQC_OK;
    s->n++;
}

// Shown when it is done, not before.
static int show_parts(cli *c, parts *s, const char *word)
{
    const char *at = (const char *)s->text.data;
    if (s->lost)
        return cli_fail(c, RQC_NO_MEMORY, "out of memory");
    for (uint64_t i = 0; i < s->n; i++) {
        const char *kind = at, *name = kind + strlen(kind) + 1, *table = name + strlen(name) + 1;
        at = table + strlen(table) + 1;
        if (!c->json) {
            printf("%s %s %s%s%s\n", word, kind, name, *table ? " on " : "", table);
            continue;
        }
        cli_json_begin(c);
        cli_json_text(c, "kind", kind);
        cli_json_text(c, "name", name);
        if (*table)
            cli_json_text(c, "table", table);
        else
            cli_json_null(c, "table");
        cli_json_end(c);
    }
    return CLI_OK;
}

static int refused(cli *c, rqc_err rc, const char *text)
{
    if (rc == RQC_NOT_FOUND)
        return cli_fail(c, rc, "%s: there is no database to attach to; reqcast init makes one",
                        c->db_path);
    return cli_fail(c, rc, "%s%s", text, cli_remedy(text));
}

enum { ATTACH_DRY_RUN };
static const cli_option attach_options[] = {{"dry-run", 'n', NULL}, {NULL, 0, NULL}};

static int attach(cli *c, const cli_args *a)
{
    const bool dry = cli_has(a, ATTACH_DRY_RUN);
    parts p = {.all = false};
    rqc_error e;
    rqc_position at = {{0}, 0, 0};
    const rqc_err rc = rqc_capture_plan(c->db_path, note_part, &p, &e);
    int status = rc == RQC_OK ? CLI_OK : refused(c, rc, e.text);
    if (status == CLI_OK && !dry)
        status = cli_open(c, CLI_WRITE);
    if (status == CLI_OK && !dry)
        status = cli_begin(c);
    if (status == CLI_OK && !dry)
        at = rqc_read_position(c->read);
    if (status == CLI_OK)
        status = show_parts(c, &p, dry ? "would add" : "added");
    rqci_buf_free(&p.text);
    if (status != CLI_OK)
        return status;
    if (c->json) {
        cli_json_begin(c);
        cli_json_text(c, "db", c->db_path);
        cli_json_bool(c, "dry_run", dry);
        cli_json_uint(c, "added", p.n);
        if (!dry)
            cli_json_position(c, &at);
        cli_json_end(c);
    } else if (p.n == 0) {
        printf("%s: nothing to add\n", c->db_path);
    }
    return CLI_OK;
}

static int detach(cli *c, const cli_args *a)
{
    (void)a;
    parts p = {.all = true};
    rqc_error e;
    const rqc_err rc = rqc_capture_remove(c->db_path, note_part, &p, &e);
    const int status = rc == RQC_OK ? show_parts(c, &p, "removed")
                                    : cli_fail(c, rc, "%s%s", e.text, cli_remedy(e.text));
    rqci_buf_free(&p.text);
    if (status != CLI_OK)
        return status;
    if (c->json) {
        cli_json_begin(c);
        cli_json_text(c, "db", c->db_path);
        cli_json_uint(c, "removed", p.n);
        cli_json_end(c);
    } else if (p.n == 0) {
        printf("%s: nothing of reqcast\n", c->db_path);
    }
    return CLI_OK;
}

const cli_command cli_attach_commands[] = {
    {"attach", "[--dry-run]",
     "mirror the database of an application\n\n"
     "Adds our own tables and triggers to it, which every other command that opens it would do, "
     "too. No\ntable and no row of the application is altered. With --dry-run what would be added "
     "is listed, and\nnothing is written.\n\n"
     "Example: reqcast --db app.db attach --dry-run",
     attach_options, 0, 0, attach},
    {"detach", "",
     "take everything of reqcast out of a database\n\n"
     "Our tables and triggers go, the files beside the database, and the view. The application's "
     "tables\nand rows stay. Nobody may own the database.\n\n"
     "Example: reqcast --db app.db detach",
     NULL, 0, 0, detach},
    {NULL, NULL, NULL, NULL, 0, 0, NULL},
};

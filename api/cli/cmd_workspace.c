// SPDX-License-Identifier: Apache-2.0
#include "api/cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int create(cli *c, const char *name)
{
    uint8_t id[16];
    bool name_free;
    if (!*name)
        return cli_usage(c, "--create: '' is no name of a workspace");
    int status = cli_open(c, CLI_CREATE);
    if (status == CLI_OK)
        status = cli_begin(c);
    if (status == CLI_OK)
        status = cli_find_workspace(c, name, id, &name_free);
    if (status != CLI_OK)
        return status;
    if (!name_free) {
        char text[27];
        rqc_id_format(id, text);
        return cli_fail(c, RQC_CONSTRAINT,
                        "%s: there is a workspace of this name: %s; nothing was written", name,
                        text);
    }
    rqc_value row[RQC_WORKSPACES_NFIELDS] = {0};
    rqc_txn *t = NULL;
    rqc_error e;
    row[RQC_WORKSPACES_NAME] = rqc_text(name);
    rqc_err rc = rqc_id_new(id);
    if (rc == RQC_OK)
        rc = rqc_txn_new(c->db, &t, &e);
    if (rc == RQC_OK)
        rc = rqc_put(t, RQC_WORKSPACES, id, row);
    if (rc == RQC_OK)
        rc = rqc_commit(t, NULL);
    if (rc != RQC_OK)
        status = cli_fail(c, rc, "%s: %s; nothing was written", name,
                          t && *rqc_txn_error(t) ? rqc_txn_error(t) : rqc_err_text(rc));
    rqc_txn_free(t);
    if (status != CLI_OK)
        return status;
    status = cli_refresh(c);
    const rqc_record *record;
    if (status == CLI_OK && (rc = rqc_get(c->read, RQC_WORKSPACES, id, &record)) != RQC_OK)
        status = cli_read_failed(c, rc, name);
    if (status == CLI_OK)
        cli_records(c, &record, 1);
    return status;
}

static int workspaces(cli *c, const cli_args *a)
{
    static const cli_column columns[] = {{"ID", false, false},
                                         {"NAME", false, true},
                                         {"REQUESTS", true, false},
                                         {"UPDATED (UTC)", false, false},
                                         {NULL, false, false}};
    if (cli_has(a, 0))
        return create(c, cli_value(a, 0));
    int status = cli_begin(c);
    if (status != CLI_OK)
        return status;
    rqc_list all = RQC_LIST_INIT;
    const rqc_err rc = rqc_workspaces(c->read, &all);
    if (rc != RQC_OK)
        return cli_read_failed(c, rc, "workspaces");
    cli_table t;
    cli_table_init(&t, columns);
    for (size_t i = 0; i < all.n; i++) {
        const rqc_record *w = all.items[i];
        const rqc_value name = rqc_field(w, RQC_WORKSPACES_NAME);
        uint64_t n = 0;
        char text[32];
        if (c->json) {
            cli_record_json(c, w);
            continue;
        }
        rqc_id_format(rqc_record_id(w), text);
        cli_cell_text(&t, text);
        cli_cell_value(&t, &name);
        snprintf(text, sizeof text, "%" PRIu64,
                 rqc_count(c->read, rqc_record_id(w), RQC_ANY_TIME, &n) == RQC_OK ? n : 0);
        cli_cell_text(&t, text);
        cli_time_text(rqc_record_updated(w), text);
        cli_cell_text(&t, text);
    }
    if (!c->json && all.n == 0)
        puts("no workspaces; reqcast import FILE makes one");
    cli_table_print(&t, all.n > 0 && !c->json);
    rqc_list_free(&all);
    return CLI_OK;
}

static const cli_option options[] = {{"create", 0, "NAME"}, {NULL, 0, NULL}};

const cli_command cli_workspace_commands[] = {
    {"workspaces", "[--create NAME]",
     "list the workspaces, or make one\n\n"
     "Example: reqcast workspaces --create shop",
     options, 0, 0, workspaces},
    {NULL, NULL, NULL, NULL, 0, 0, NULL},
};

// SPDX-License-Identifier: Apache-2.0
// HAR files into workspaces, all files of one command in one transaction.
#include "api/cli/cli.h"

#include "api/import/har.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WARNINGS_SHOWN 20

typedef struct target {
    uint8_t id[16];
    char name[512];
    bool made; // by this transaction
    rqci_har_counts counts;
    uint64_t there; // records that were there before
} target;

typedef struct importing {
    cli *c;
    rqc_txn *txn;
    const char *file;
    target *targets, *target; // target: of this file
    size_t ntargets;
    uint64_t warnings; // of this file
    rqci_errbuf err;
} importing;

static rqc_err add(void *ctx, rqc_entity entity, const uint8_t id[16], const rqc_value *row)
{
    importing *m = ctx;
    const rqc_record *there;
    const rqc_err rc = rqc_add(m->txn, entity, id, row);
    m->target->there += rqc_get(m->c->read, entity, id, &there) == RQC_OK;
    return rc == RQC_OK ? rc : rqci_fail(&m->err, rc, "%s", rqc_txn_error(m->txn));
}

static void warn(void *ctx, const char *text)
{
    importing *m = ctx;
    if (m->warnings++ < WARNINGS_SHOWN || m->c->verbose)
        cli_note(m->c, "%s: %s", m->file, text);
}

static void progress(void *ctx, uint64_t done, uint64_t total)
{
    importing *m = ctx;
    cli_progress(m->c, m->file, done, total);
}

// The workspace that a file goes to: found, met before in this command, or made by this
// transaction.
static int find_target(importing *m, const char *name, target **ret)
{
    uint8_t id[16];
    bool name_free;
    for (size_t i = 0; i < m->ntargets; i++)
        if (strcmp(m->targets[i].name, name) == 0) {
            *ret = &m->targets[i];
            return CLI_OK;
        }
    const int status = cli_find_workspace(m->c, name, id, &name_free);
    if (status != CLI_OK)
        return status;
    if (name_free) {
        rqc_value row[RQC_WORKSPACES_NFIELDS] = {0};
        row[RQC_WORKSPACES_NAME] = rqc_text(name);
        rqc_err rc = rqc_id_new(id);
        if (rc == RQC_OK)
            rc = rqc_add(m->txn, RQC_WORKSPACES, id, row);
        if (rc != RQC_OK)
            return cli_fail(m->c, rc, "workspace %s: %s; nothing was written", name,
                            rqc_txn_error(m->txn));
    }
    target *t = &m->targets[m->ntargets++];
    memcpy(t->id, id, 16);
    t->made = name_free;
    snprintf(t->name, sizeof t->name, "%s", name);
    *ret = t;
    return CLI_OK;
}

static int import_file(importing *m, const char *path, const char *workspace)
{
    char name[512];
    target *t = NULL;
    rqci_buf text = {0};
    rqci_har_counts counts = {0};
    m->file = path;
    m->warnings = 0;
    m->err.text[0] = 0;
    rqc_err rc = rqci_har_load(path, &text, &m->err);
    if (rc != RQC_OK)
        // A file that is not there is bad input, not a negative answer.
        return cli_fail(m->c, rc == RQC_NOT_FOUND ? RQC_INVALID : rc, "%s; nothing was written",
                        m->err.text);
    rqci_har_workspace_name(path, name, sizeof name);
    const int status = find_target(m, workspace ? workspace : name, &t);
    if (status == CLI_OK) {
        m->target = t;
        const rqci_har_sink sink = {add, warn, progress, m};
        rc = rqci_har_read((char *)text.data, text.len, t->id, (int64_t)time(NULL), &sink, &counts,
                           &m->err);
    }
    rqci_buf_free(&text);
    if (status != CLI_OK)
        return status;
    if (rc != RQC_OK)
        return cli_fail(m->c, rc, "%s: %s; nothing was written", path,
                        *m->err.text ? m->err.text : rqc_err_text(rc));
    if (m->warnings > WARNINGS_SHOWN && !m->c->verbose)
        cli_note(m->c, "%s: and %" PRIu64 " warnings more; --verbose shows all", path,
                 m->warnings - WARNINGS_SHOWN);
    t->counts.requests += counts.requests;
    t->counts.responses += counts.responses;
    t->counts.records += counts.records;
    t->counts.warnings += counts.warnings;
    return CLI_OK;
}

static void summary(cli *c, const target *t, const rqc_result *r, uint64_t written,
                    uint64_t skipped)
{
    char id[27];
    rqc_id_format(t->id, id);
    if (c->json) {
        cli_json_begin(c);
        cli_json_text(c, "workspace_id", id);
        cli_json_text(c, "workspace", t->name);
        cli_json_uint(c, "requests", t->counts.requests);
        cli_json_uint(c, "responses", t->counts.responses);
        cli_json_uint(c, "records", written);
        cli_json_uint(c, "skipped", skipped);
        cli_json_uint(c, "warnings", t->counts.warnings);
        cli_json_position(c, &r->position);
        cli_json_end(c);
        return;
    }
    rqci_buf name = {0};
    cli_visible(&name, t->name, strlen(t->name));
    printf("%.*s (%s): %" PRIu64 " requests, %" PRIu64 " responses; %" PRIu64
           " records written, %" PRIu64 " were there already; %" PRIu64
           " warnings; position %" PRIu64 "\n",
           (int)name.len, (const char *)name.data, id, t->counts.requests, t->counts.responses,
           written, skipped, t->counts.warnings, r->position.seq);
    rqci_buf_free(&name);
}

static int import_all(importing *m, const cli_args *a)
{
    rqc_error e;
    rqc_result r;
    int status = cli_open(m->c, CLI_CREATE);
    if (status == CLI_OK)
        status = cli_begin(m->c);
    if (status != CLI_OK)
        return status;
    rqc_err rc = rqc_txn_new(m->c->db, &m->txn, &e);
    if (rc != RQC_OK)
        return cli_fail(m->c, rc, "%s: %s", m->c->db_path, e.text);
    for (size_t i = 0; i < a->n && status == CLI_OK; i++)
        status = import_file(m, a->words[i], cli_value(a, 0));
    if (status != CLI_OK)
        return status;
    rqc_read_end(m->c->read);
    rc = rqc_commit(m->txn, &r);
    if (rc != RQC_OK)
        return cli_fail(m->c, rc, "%s: %s; nothing was written", m->c->db_path,
                        rqc_txn_error(m->txn));
    if (!r.visible)
        cli_note(m->c, "the import is durable, but the view cannot show it yet; see reqcast stats");
    for (size_t i = 0; i < m->ntargets; i++) {
        const target *t = &m->targets[i];
        // The store's own counts are exact, also when a file was given twice; they cannot be told
        // apart when there are several workspaces.
        if (m->ntargets == 1)
            summary(m->c, t, &r, r.written - t->made, r.skipped);
        else
            summary(m->c, t, &r, t->counts.records - t->there, t->there);
    }
    return CLI_OK;
}

// Looked at before a database is made that a slip of the pen would leave empty.
static int check_files(cli *c, const cli_args *a)
{
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->words[i], "-") != 0 && access(a->words[i], R_OK) != 0)
            return cli_fail(c, RQC_INVALID, "%s: %s; nothing was written", a->words[i],
                            strerror(errno));
    return CLI_OK;
}

static int import(cli *c, const cli_args *a)
{
    if (cli_has(a, 0) && !*cli_value(a, 0))
        return cli_usage(c, "-w needs the name or id of a workspace, not an empty one");
    int status = check_files(c, a);
    if (status != CLI_OK)
        return status;
    importing m = {.c = c, .targets = calloc(a->n, sizeof(target))};
    if (!m.targets)
        return cli_fail(c, RQC_NO_MEMORY, "out of memory");
    status = import_all(&m, a);
    rqc_txn_free(m.txn);
    free(m.targets);
    return status;
}

static const cli_option options[] = {{"workspace", 'w', "WORKSPACE"}, {NULL, 0, NULL}};

const cli_command cli_import_commands[] = {
    {"import", "[-w WORKSPACE] FILE...",
     "read HAR files into a workspace\n\n"
     "WORKSPACE is an id or a name; a new name makes a workspace. Without -w each file has one "
     "named after it. All files of one\n"
     "command are stored in one transaction. Importing a file again changes nothing. FILE may be - "
     "for standard input.\n\n"
     "Example: reqcast import -w shop monday.har tuesday.har",
     options, 1, SIZE_MAX, import},
    {NULL, NULL, NULL, NULL, 0, 0, NULL},
};

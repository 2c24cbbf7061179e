// SPDX-License-Identifier: Apache-2.0
// Files of other programs into workspaces, all files of one command in one transaction.
#include "api/cli/cli.h"

#include "api/import/merge.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MESSAGES_SHOWN     20
#define WORKSPACE_NAME_MAX 511

enum { OPTION_WORKSPACE, OPTION_FORMAT, OPTION_EDITED };

typedef struct target {
    uint8_t id[16];
    char name[WORKSPACE_NAME_MAX + 1];
    bool made; // by this transaction
    rqci_import_counts counts;
    uint64_t given, there, edited; // of the merge
    rqci_buf added;                // by this transaction, where there are several files
} target;

typedef struct importing {
    cli *c;
    rqc_txn *txn;
    const char *file, *shown; // its path, and what messages call it
    target *targets, *target; // target: of this file
    size_t ntargets;
    uint64_t messages; // about this file
    rqci_import_format format;
    rqci_edited edited;
    rqci_errbuf err;
    bool several; // files
} importing;

// The importer's rows go to the merge, its messages to the terminal.
typedef struct merge_sink {
    rqci_merge *merge;
    importing *m;
} merge_sink;

static rqc_err add(void *ctx, rqc_entity entity, const uint8_t id[16], const rqc_value *row)
{
    return rqci_merge_add(((const merge_sink *)ctx)->merge, entity, id, row);
}

static void warn(void *ctx, const char *text)
{
    importing *m = ctx;
    if (m->messages++ < MESSAGES_SHOWN || m->c->verbose)
        cli_note(m->c, "%s: %s", m->shown, text);
}

static void warn_of_file(void *ctx, const char *text)
{
    warn(((const merge_sink *)ctx)->m, text);
}

static void progress(void *ctx, uint64_t done, uint64_t total)
{
    importing *m = ((const merge_sink *)ctx)->m;
    cli_progress(m->c, m->shown, done, total);
}

// Makes a workspace in this transaction: with the id that an own export asks for, where no other
// has it.
static int make_workspace(importing *m, const char *name, const rqci_import *file, uint8_t id[16])
{
    const rqc_record *there;
    rqc_value row[RQC_WORKSPACES_NFIELDS] = {0};
    row[RQC_WORKSPACES_NAME] = rqc_text(name);
    rqc_err rc = RQC_OK;
    bool taken = !rqci_import_workspace_id(file, id) ||
                 rqc_get(m->c->read, RQC_WORKSPACES, id, &there) != RQC_NOT_FOUND;
    for (size_t i = 0; i < m->ntargets; i++)
        taken = taken || memcmp(m->targets[i].id, id, 16) == 0;
    if (taken)
        rc = rqc_id_new(id);
    if (rc == RQC_OK)
        rc = rqc_add(m->txn, RQC_WORKSPACES, id, row);
    return rc == RQC_OK ? CLI_OK
                        : cli_fail(m->c, rc, "workspace %s: %s; nothing was written", name,
                                   rqc_txn_error(m->txn));
}

// The workspace that a file goes to: found, met before in this command, or made by this
// transaction.
static int find_target(importing *m, const char *name, const rqci_import *file, target **ret)
{
    uint8_t id[16];
    bool name_free;
    for (size_t i = 0; i < m->ntargets; i++)
        if (strcmp(m->targets[i].name, name) == 0) {
            *ret = &m->targets[i];
            return CLI_OK;
        }
    int status = cli_find_workspace(m->c, name, id, &name_free);
    if (status == CLI_OK && name_free)
        status = make_workspace(m, name, file, id);
    if (status != CLI_OK)
        return status;
    target *t = &m->targets[m->ntargets++];
    memcpy(t->id, id, 16);
    t->made = name_free;
    snprintf(t->name, sizeof t->name, "%s", name);
    *ret = t;
    return CLI_OK;
}

static int failed(importing *m, rqc_err rc, const char *text)
{
    return cli_fail(m->c, rc, "%s: %s; nothing was written", m->shown,
                    *text ? text : rqc_err_text(rc));
}

// Gives the file's rows to the transaction.
static int run_file(importing *m, rqci_import *file, target *t)
{
    rqci_import_counts counts = {0};
    rqci_merge merge = {.txn = m->txn, .read = m->c->read, .how = m->edited, .say = warn, .ctx = m};
    merge_sink into = {&merge, m};
    merge.added = m->several ? &t->added : NULL;
    const rqci_import_sink sink = {add, warn_of_file, progress, &into};
    rqc_err rc = rqci_import_run(file, t->id, (int64_t)time(NULL), &sink, &counts, &m->err);
    if (rc == RQC_OK)
        rc = rqci_merge_end(&merge);
    rqci_merge_free(&merge);
    if (rc != RQC_OK)
        return failed(m, rc, *m->err.text ? m->err.text : merge.error);
    // What was wrong with it was said; a workspace with nothing in it helps nobody.
    if (merge.given == 0 && counts.warnings > 0)
        return failed(m, RQC_INVALID, "nothing in it can be imported");
    t->counts.requests += counts.requests;
    t->counts.responses += counts.responses;
    t->counts.warnings += counts.warnings;
    t->given += merge.given;
    t->there += merge.there;
    t->edited += merge.edited;
    return CLI_OK;
}

static int import_text(importing *m, rqci_buf *text, const char *workspace)
{
    char name[WORKSPACE_NAME_MAX + 1];
    target *t = NULL;
    rqci_import *file = NULL;
    const rqc_err rc = rqci_import_open((char *)text->data, text->len, m->format, &file, &m->err);
    if (rc != RQC_OK)
        return failed(m, rc, m->err.text);
    rqci_import_name(file, m->file, name, sizeof name);
    int status = find_target(m, workspace ? workspace : name, file, &t);
    if (status == CLI_OK)
        status = run_file(m, file, t);
    rqci_import_free(file);
    if (status == CLI_OK && m->messages > MESSAGES_SHOWN && !m->c->verbose)
        cli_note(m->c, "%s: and %" PRIu64 " message%s more; --verbose shows all", m->shown,
                 m->messages - MESSAGES_SHOWN, cli_plural(m->messages - MESSAGES_SHOWN));
    return status;
}

static int import_file(importing *m, const char *path, const char *workspace)
{
    rqci_buf text = {0};
    m->file = path;
    m->shown = strcmp(path, "-") == 0 ? "standard input" : path;
    m->messages = 0;
    m->err.text[0] = 0;
    const rqc_err rc = rqci_import_load(path, &text, &m->err);
    if (rc != RQC_OK)
        // A file that is not there is bad input, not a negative answer.
        return cli_fail(m->c, rc == RQC_NOT_FOUND ? RQC_INVALID : rc, "%s; nothing was written",
                        m->err.text);
    const int status = import_text(m, &text, workspace);
    rqci_buf_free(&text);
    return status;
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
        cli_json_uint(c, "edited", t->edited);
        cli_json_uint(c, "warnings", t->counts.warnings);
        cli_json_position(c, &r->position);
        cli_json_end(c);
        return;
    }
    rqci_buf name = {0};
    cli_visible(&name, t->name, strlen(t->name));
    const rqci_import_counts *n = &t->counts;
    printf("%.*s (%s): %" PRIu64 " request%s, %" PRIu64 " response%s; %" PRIu64
           " record%s written, %" PRIu64 " %s there already, %" PRIu64 " %s from the file; %" PRIu64
           " warning%s; position %" PRIu64 "\n",
           (int)name.len, (const char *)name.data, id, n->requests, cli_plural(n->requests),
           n->responses, cli_plural(n->responses), written, cli_plural(written), skipped,
           skipped == 1 ? "was" : "were", t->edited, t->edited == 1 ? "differs" : "differ",
           n->warnings, cli_plural(n->warnings), r->position.seq);
    rqci_buf_free(&name);
}

static int compare_added(const void *a, const void *b)
{
    return memcmp(a, b, RQCI_ADDED_BYTES);
}

// Rows that were given to the transaction twice: it keeps the first.
static uint64_t given_again(target *t)
{
    const size_t n = t->added.len / RQCI_ADDED_BYTES;
    uint64_t again = 0;
    if (n > 1)
        qsort(t->added.data, n, RQCI_ADDED_BYTES, compare_added);
    for (size_t i = 1; i < n; i++)
        again += compare_added(t->added.data + (i - 1) * RQCI_ADDED_BYTES,
                               t->added.data + i * RQCI_ADDED_BYTES) == 0;
    return again;
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
        status = import_file(m, a->words[i], cli_value(a, OPTION_WORKSPACE));
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
        target *t = &m->targets[i];
        // The store's own counts cannot be told apart when there are several workspaces.
        const uint64_t again = m->ntargets > 1 ? given_again(t) : 0;
        if (m->ntargets == 1)
            summary(m->c, t, &r, r.written - t->made, r.skipped);
        else
            summary(m->c, t, &r, t->given - t->there - again, t->there + again);
    }
    return CLI_OK;
}

// Looked at before a database is made that a slip of the pen would leave empty.
static int check_files(cli *c, const cli_args *a)
{
    for (size_t i = 0; i < a->n; i++)
        if (cli_parse_file(c, "FILE", a->words[i]) != CLI_OK)
            return CLI_USAGE;
        else if (strcmp(a->words[i], "-") != 0 && access(a->words[i], R_OK) != 0)
            return cli_fail(c, RQC_INVALID, "%s: %s; nothing was written", a->words[i],
                            strerror(errno));
    return CLI_OK;
}

static int read_options(cli *c, const cli_args *a, importing *m)
{
    static const char *const choices[] = {[RQCI_EDITED_KEEP] = "keep",
                                          [RQCI_EDITED_REPLACE] = "replace",
                                          [RQCI_EDITED_COPY] = "copy"};
    const char *workspace = cli_value(a, OPTION_WORKSPACE);
    const char *format = cli_value(a, OPTION_FORMAT), *edited = cli_value(a, OPTION_EDITED);
    if (workspace && !*workspace)
        return cli_usage(c, "-w: '' is no name of a workspace");
    if (format) {
        m->format = rqci_import_format_named(format);
        if (m->format == RQCI_IMPORT_UNKNOWN)
            return cli_usage(c, "--format: %s is none of har, postman, curl", cli_shown(format));
    }
    for (size_t i = 0; edited && i < sizeof choices / sizeof *choices; i++)
        if (strcmp(edited, choices[i]) == 0) {
            m->edited = (rqci_edited)i;
            return CLI_OK;
        }
    return edited ? cli_usage(c, "--edited: %s is none of keep, replace, copy", cli_shown(edited))
                  : CLI_OK;
}

static int import(cli *c, const cli_args *a)
{
    importing m = {.c = c, .several = a->n > 1};
    int status = read_options(c, a, &m);
    if (status == CLI_OK)
        status = check_files(c, a);
    if (status != CLI_OK)
        return status;
    m.targets = calloc(a->n, sizeof(target));
    if (!m.targets)
        return cli_fail(c, RQC_NO_MEMORY, "out of memory");
    status = import_all(&m, a);
    rqc_txn_free(m.txn);
    for (size_t i = 0; i < m.ntargets; i++)
        rqci_buf_free(&m.targets[i].added);
    free(m.targets);
    return status;
}

static const cli_option options[] = {{"workspace", 'w', "WORKSPACE"},
                                     {"format", 0, "FORMAT"},
                                     {"edited", 0, "CHOICE"},
                                     {NULL, 0, NULL}};

const cli_command cli_import_commands[] = {
    {"import", "[-w WORKSPACE] [--format FORMAT] [--edited CHOICE] FILE...",
     "read HAR files, Postman collections, curl commands\n\n"
     "WORKSPACE is an id or a name; a new name makes a workspace. Without -w each file has one "
     "named after what it calls\n"
     "itself, or after the file. All files of one command are stored in one transaction. Importing "
     "a file again changes\n"
     "nothing. FILE may be - for standard input. FORMAT is har, postman or curl; without it each "
     "file is looked at.\n"
     "Records that are told as written are those of the file: the row of a workspace that is made "
     "for it is not one.\n\n"
     "CHOICE says what happens to records that differ from the file, because they were edited "
     "since: keep (without it:\n"
     "they stay), replace (they become what the file has), copy (the file's request is stored "
     "beside the edited one).\n\n"
     "Example: reqcast import -w shop monday.har collection.json\n"
     "         reqcast import --edited replace collection.json\n"
     "         pbpaste | reqcast import -w scratch --format curl -",
     options, 1, SIZE_MAX, import},
    {NULL, NULL, NULL, NULL, 0, 0, NULL},
};

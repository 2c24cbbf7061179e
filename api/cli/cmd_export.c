// SPDX-License-Identifier: Apache-2.0
// A workspace as a file that other programs read.
#include "api/cli/cli.h"

#include "api/export/har_export.h"

#include <inttypes.h>

typedef struct exporting {
    cli *c;
    const char *workspace;
} exporting;

static rqc_err write_out(void *ctx, const void *p, size_t n)
{
    (void)ctx;
    // The end of the output tells why it could not be written.
    return fwrite(p, 1, n, stdout) == n ? RQC_OK : RQC_IO;
}

static void progress(void *ctx, uint64_t done, uint64_t total)
{
    const exporting *e = ctx;
    if (total > 0)
        cli_progress(e->c, e->workspace, done, total);
}

static void list(rqci_buf *out, uint64_t n, const char *what)
{
    char text[96];
    if (n == 0)
        return;
    const int len = snprintf(text, sizeof text, "%s%" PRIu64 " %s", out->len ? ", " : "", n, what);
    (void)rqci_buf_add(out, text, (size_t)len);
}

// What HAR cannot carry is told, not dropped without a word.
static void tell(cli *c, const char *workspace, const rqci_har_counts *n)
{
    rqci_buf out = {0};
    list(&out, n->deltas, "deltas");
    list(&out, n->snapshots, "snapshots of runs");
    list(&out, n->versions, "versions");
    list(&out, n->asserts, "asserts");
    list(&out, n->response_asserts, "results of asserts");
    list(&out, n->folders, "places in folders");
    list(&out, n->bodies, "bodies beside the one that is sent");
    if (out.len > 0)
        cli_note(c, "%s: not in the file, because HAR cannot carry them: %.*s", workspace,
                 (int)out.len, (const char *)out.data);
    if (n->mended > 0)
        cli_note(c, "%s: %" PRIu64 " texts are not UTF-8: what no text can hold became U+FFFD",
                 workspace, n->mended);
    if (c->verbose)
        cli_note(c, "%s: %" PRIu64 " requests, %" PRIu64 " responses written", workspace,
                 n->requests, n->responses);
    rqci_buf_free(&out);
}

static int export(cli *c, const cli_args *a)
{
    uint8_t id[16];
    exporting e = {c, a->words[0]};
    rqci_har_counts counts;
    rqci_errbuf err = {""};
    if (!cli_has(a, 0))
        return cli_usage(c, "in which format? reqcast export %s --har", a->words[0]);
    int status = cli_begin(c);
    if (status == CLI_OK)
        status = cli_find_workspace(c, a->words[0], id, NULL);
    if (status != CLI_OK)
        return status;
    const rqci_har_sink sink = {write_out, progress, &e, c->json};
    const rqc_err rc = rqci_har_export(c->read, id, &sink, &counts, &err);
    if (rc != RQC_OK)
        // What could not be written is told once, at the end of the output.
        return ferror(stdout) ? CLI_OK
                              : cli_fail(c, rc, "%s: %s; the file is not complete", a->words[0],
                                         *err.text ? err.text : rqc_err_text(rc));
    tell(c, a->words[0], &counts);
    return CLI_OK;
}

static const cli_option options[] = {{"har", 0, NULL}, {NULL, 0, NULL}};

const cli_command cli_export_commands[] = {
    {"export", "WORKSPACE --har",
     "write a workspace as a HAR 1.2 file\n\n"
     "Base requests with headers, parameters, the body that is sent, and responses, oldest first. "
     "What HAR has no member\n"
     "for (names, disabled rows, ids) stands in members _reqcast, which other programs pass over "
     "and import takes back.\n"
     "Deltas, asserts, versions, snapshots and folders cannot be carried: they are left out, and "
     "counted on standard error.\n\n"
     "Example: reqcast export shop --har >shop.har",
     options, 1, 1, export},
    {NULL, NULL, NULL, NULL, 0, 0, NULL},
};

// SPDX-License-Identifier: Apache-2.0
// Commands that copy the database, and put a copy in its place.
#include "api/cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static void show(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    if (total > 0)
        cli_progress(ctx, what, done, total);
}

enum { BACKUP_FORCE };
static const cli_option backup_options[] = {{"force", 'f', NULL}, {NULL, 0, NULL}};

static int backup(cli *c, const cli_args *a)
{
    int status = cli_parse_file(c, "FILE", a->words[0]);
    if (status == CLI_OK)
        status = cli_open(c, CLI_READ);
    rqc_copied made;
    rqc_error e;
    if (status != CLI_OK)
        return status;
    const rqc_err rc = rqc_backup(c->db, a->words[0], cli_has(a, BACKUP_FORCE), show, c, &made, &e);
    if (rc != RQC_OK)
        return cli_fail(c, rc == RQC_NOT_FOUND ? RQC_INVALID : rc, "%s%s", e.text,
                        strstr(e.text, strerror(EACCES))
                            ? "; name a FILE in a folder that you may write to"
                            : "");
    if (c->json) {
        cli_json_begin(c);
        cli_json_text(c, "file", a->words[0]);
        cli_json_uint(c, "bytes", made.bytes);
        cli_json_position(c, &made.position);
        cli_json_end(c);
    } else {
        printf("%s: %" PRIu64 " bytes, position %" PRIu64 "\n", a->words[0], made.bytes,
               made.position.seq);
    }
    return CLI_OK;
}

static int restore(cli *c, const cli_args *a)
{
    rqc_copied made;
    rqc_error e;
    int status = cli_parse_file(c, "FILE", a->words[0]);
    if (status != CLI_OK)
        return status;
    const rqc_err rc = rqc_restore(c->db_path, a->words[0], show, c, &made, &e);
    if (rc != RQC_OK)
        return cli_fail(c, rc, "%s; %s is as it was%s", e.text, c->db_path, cli_remedy(e.text));
    // The new term begins, and its view is built, here and now.
    status = cli_open(c, CLI_WRITE);
    if (status == CLI_OK)
        status = cli_begin(c);
    if (status != CLI_OK)
        return status;
    const rqc_position now = rqc_read_position(c->read);
    if (c->json) {
        cli_json_begin(c);
        cli_json_text(c, "db", c->db_path);
        cli_json_text(c, "from", a->words[0]);
        cli_json_uint(c, "forked_at", made.position.seq);
        if (made.kept[0])
            cli_json_text(c, "kept", made.kept);
        else
            cli_json_null(c, "kept");
        cli_json_position(c, &now);
        cli_json_end(c);
    } else {
        printf("%s: restored; term %u begins at position %" PRIu64 "\n", c->db_path,
               (unsigned)now.term, made.position.seq);
        if (made.kept[0])
            printf("the file that was there is %s now\n", made.kept);
    }
    return CLI_OK;
}

const cli_command cli_backup_commands[] = {
    {"backup", "[--force] FILE",
     "copy the database into a file while it is in use\n\n"
     "The copy is of one position, and on the disk when the command ends; one that fails leaves "
     "nothing. A\nfile that is there is replaced only with --force.\n\n"
     "Example: reqcast backup shop-2026-01-31.db",
     backup_options, 1, 1, backup},
    {"restore", "FILE",
     "put a backup in the place of the database\n\n"
     "Nobody may have the database open. The backup is checked first; the old file is kept as\n"
     "DB.before-restore. A new term begins: whoever holds an older position starts over.\n\n"
     "Example: reqcast --db shop.db restore shop-2026-01-31.db",
     NULL, 1, 1, restore},
    {NULL, NULL, NULL, NULL, 0, 0, NULL},
};

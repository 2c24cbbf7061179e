// SPDX-License-Identifier: Apache-2.0
#include "api/cli/cli.h"

#include <inttypes.h>

#define DAY_SECONDS 86400

enum { PRUNE_KEEP, PRUNE_OLDER };
static const cli_option options[] = {{"keep", 0, "N"}, {"older", 0, "DAYS"}, {NULL, 0, NULL}};

static int parse(cli *c, const cli_args *a, rqc_prune_options *o)
{
    int64_t days = -1;
    int status = CLI_OK;
    if (!cli_has(a, PRUNE_KEEP) && !cli_has(a, PRUNE_OLDER))
        return cli_usage(c, "prune needs --keep N or --older DAYS");
    if (cli_has(a, PRUNE_KEEP))
        status = cli_parse_int(c, "--keep", cli_value(a, PRUNE_KEEP), 0, INT32_MAX, &o->keep);
    if (status == CLI_OK && cli_has(a, PRUNE_OLDER))
        status = cli_parse_int(c, "--older", cli_value(a, PRUNE_OLDER), 0,
                               RQC_AGE_MAX_S / DAY_SECONDS, &days);
    if (days >= 0)
        o->older_than_s = days * DAY_SECONDS;
    return status;
}

static int prune(cli *c, const cli_args *a)
{
    rqc_prune_options o = RQC_PRUNE_OPTIONS_INIT;
    rqc_pruned p;
    rqc_error e;
    uint8_t workspace[16];
    int status = parse(c, a, &o);
    if (status == CLI_OK)
        status = cli_open(c, CLI_OWN);
    if (status == CLI_OK)
        status = cli_begin(c);
    if (status == CLI_OK)
        status = cli_find_workspace(c, a->words[0], workspace, NULL);
    if (status != CLI_OK)
        return status;
    const uint64_t before = rqc_position_now(c->db).seq;
    const rqc_err rc = rqc_prune(c->db, workspace, &o, &p, &e);
    if (rc != RQC_OK)
        return cli_fail(c, rc, "%s: %s; %s", a->words[0], e.text,
                        rqc_position_now(c->db).seq == before
                            ? "nothing was removed"
                            : "what was removed before stays removed");
    if (c->json) {
        cli_json_begin(c);
        cli_json_uint(c, "snapshots", p.snapshots);
        cli_json_uint(c, "versions", p.versions);
        cli_json_uint(c, "deleted", p.deleted);
        cli_json_position(c, &p.position);
        cli_json_end(c);
    } else {
        printf("%" PRIu64 " snapshot%s of %s removed, %" PRIu64 " record%s in all\n", p.snapshots,
               cli_plural(p.snapshots), p.snapshots == 1 ? "a run" : "runs", p.deleted,
               cli_plural(p.deleted));
    }
    return CLI_OK;
}

const cli_command cli_prune_commands[] = {
    {"prune", "WORKSPACE [--keep N] [--older DAYS]",
     "remove old snapshots of runs, with their versions and responses\n\n"
     "--keep leaves the newest N of each request, --older those of the last DAYS days; with both "
     "only what is beyond both goes. Snapshots of requests that are gone count together.\n\n"
     "Example: reqcast prune shop --keep 20",
     options, 1, 1, prune},
    {NULL, NULL, NULL, NULL, 0, 0, NULL},
};

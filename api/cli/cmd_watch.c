// SPDX-License-Identifier: Apache-2.0
// Following the stream of a reqcastd.
#include "api/cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { WATCH_ALL, WATCH_SINCE, WATCH_COUNT, WATCH_BOOKMARKS, WATCH_DIGEST, WATCH_URL };
static const cli_option options[] = {
    {"all", 0, NULL},    {"since", 0, "SEQ"}, {"count", 0, "N"}, {"bookmarks", 0, NULL},
    {"digest", 0, NULL}, {"url", 0, "URL"},   {NULL, 0, NULL},
};

// ---- Events -------------------------------------------------------------------------------------

static rqc_position position_of(const rqc_place *place)
{
    rqc_position p = {.term = place->term, .seq = place->cursor.seq};
    memcpy(p.store_id, place->store_id, 16);
    return p;
}

static void hex(const uint8_t *p, char ret_text[33])
{
    for (int i = 0; i < 16; i++)
        snprintf(ret_text + 2 * i, 3, "%02x", p[i]);
}

static void show_bookmark(cli *c, const rqc_event *e)
{
    const rqc_position p = position_of(&e->place);
    char digest[33];
    hex(e->digest, digest);
    if (!c->json) {
        printf("%10" PRIu64 "  bookmark: %" PRIu64 " record%s, digest %s\n", p.seq, e->records,
               cli_plural(e->records), digest);
        return;
    }
    cli_json_begin(c);
    cli_json_text(c, "op", "bookmark");
    cli_json_uint(c, "records", e->records);
    cli_json_text(c, "digest", digest);
    cli_json_position(c, &p);
    cli_json_end(c);
}

static void show_reset(cli *c, const rqc_event *e)
{
    if (!c->json) {
        printf("%10s  starts over: %s\n", "", e->text);
        return;
    }
    cli_json_begin(c);
    cli_json_text(c, "op", "reset");
    cli_json_text(c, "reason", e->text);
    cli_json_end(c);
}

static void show_state(cli *c, const rqc_event *e)
{
    if (e->reason != RQC_OK)
        cli_note(c, "interrupted: %s", e->text);
    else if (c->verbose)
        cli_note(c, "follows");
}

// One event; *left: changes that are still wanted.
static void show(cli *c, const rqc_event *e, int64_t *left)
{
    switch (e->kind) {
    case RQC_EVENT_CHANGES:
        for (size_t i = 0; i<e->n && * left> 0; i++, --*left)
            cli_change(c, &e->items[i]);
        break;
    case RQC_EVENT_BOOKMARK: show_bookmark(c, e); break;
    case RQC_EVENT_RESET: show_reset(c, e); break;
    case RQC_EVENT_STATE: show_state(c, e); break;
    }
    fflush(stdout);
}

// ---- The command --------------------------------------------------------------------------------

static int parse_since(cli *c, const char *text, rqc_sub_options *o)
{
    const rqc_position any = {.term = 0};
    rqc_position p;
    if (rqc_position_parse(text, &any, &p) != RQC_OK)
        return cli_usage(c, "--since: %s is no position (SEQ or TERM@STOREID:SEQ)",
                         cli_shown(text));
    memcpy(o->since.store_id, p.store_id, 16);
    o->since.term = p.term;
    o->since.cursor.seq = p.seq;
    return CLI_OK;
}

// Whose stream it is, and which.
static int find_stream(cli *c, const cli_args *a, uint8_t workspace[16], char url[RQC_URL_TEXT])
{
    rqc_error e;
    const char *given = cli_value(a, WATCH_URL);
    int status = CLI_OK;
    if (given) {
        if (strlen(given) >= RQC_URL_TEXT)
            return cli_usage(c, "--url: longer than %d bytes", RQC_URL_TEXT - 1);
        memcpy(url, given, strlen(given) + 1);
        return a->n == 1 ? cli_parse_id(c, NULL, a->words[0], workspace) : CLI_OK;
    }
    const rqc_err rc = rqc_sidecar_url(c->db_path, url, &e);
    if (rc != RQC_OK)
        return cli_fail(c, rc, "%s: no reqcastd runs for it; start one: reqcastd --db %s",
                        c->db_path, c->db_path);
    if (a->n == 1)
        status = cli_begin(c);
    if (status == CLI_OK && a->n == 1)
        status = cli_find_workspace(c, a->words[0], workspace, NULL);
    cli_close(c);
    return status;
}

// What never was there is not waited for; only what was is expected to come back.
static int nobody(cli *c, bool given, const char *url, const char *why)
{
    // The reason mostly begins with the URL.
    const size_t n = strlen(url);
    const char *rest =
        strncmp(why, url, n) == 0 && strncmp(why + n, ": ", 2) == 0 ? why + n + 2 : why;
    if (given)
        return cli_fail(c, RQC_UNAVAILABLE,
                        "%s: %s; start the reqcastd that listens there, or correct --url", url,
                        rest);
    return cli_fail(c, RQC_UNAVAILABLE,
                    "%s: %s; the reqcastd that listened there is gone: start one: reqcastd --db %s",
                    url, rest, c->db_path);
}

static int watch(cli *c, const cli_args *a)
{
    uint8_t workspace[16];
    char url[RQC_URL_TEXT];
    int64_t left = INT64_MAX;
    rqc_sub_options o = RQC_SUB_OPTIONS_INIT;
    rqc_sub *sub;
    rqc_error e;
    int status = cli_has(a, WATCH_ALL) == (a->n == 1)
                     ? cli_usage(c, "name a workspace, or say --all")
                     : CLI_OK;
    if (status == CLI_OK && cli_has(a, WATCH_COUNT))
        status = cli_parse_int(c, "--count", cli_value(a, WATCH_COUNT), 1, INT64_MAX, &left);
    if (status == CLI_OK && cli_has(a, WATCH_SINCE))
        status = parse_since(c, cli_value(a, WATCH_SINCE), &o);
    if (status == CLI_OK)
        status = find_stream(c, a, workspace, url);
    if (status != CLI_OK)
        return status;
    o.workspace = a->n == 1 ? workspace : NULL;
    o.digest = cli_has(a, WATCH_DIGEST);
    o.from_now = !o.digest && !cli_has(a, WATCH_SINCE);
    o.bookmarks = cli_has(a, WATCH_BOOKMARKS);
    rqc_err rc = rqc_subscribe(url, &o, &sub, &e);
    if (rc == RQC_INVALID && cli_has(a, WATCH_URL))
        return cli_usage(c, "--url: %s%s", *url ? "" : "''", e.text);
    if (rc != RQC_OK)
        return cli_fail(c, rc, "%s", e.text);
    bool followed = false;
    while (rc == RQC_OK && status == CLI_OK && left > 0 && !ferror(stdout)) {
        rqc_event event;
        rc = rqc_sub_next(sub, -1, &event);
        if (rc == RQC_OK && !followed && event.kind == RQC_EVENT_STATE && event.reason != RQC_OK)
            status = nobody(c, cli_has(a, WATCH_URL), url, event.text);
        else if (rc == RQC_OK)
            show(c, &event, &left);
        followed = true;
    }
    rqc_unsubscribe(sub);
    if (status != CLI_OK)
        return status;
    return rc == RQC_OK ? CLI_OK : cli_fail(c, rc, "%s: %s", url, rqc_err_text(rc));
}

const cli_command cli_watch_commands[] = {
    {"watch", "[WORKSPACE] [--all] [--since SEQ] [--count N] [--bookmarks] [--digest] [--url URL]",
     "show changes as they happen, of a workspace or of --all\n\n"
     "A reqcastd must run for the database, or answer at --url (WORKSPACE is an id then). Begins "
     "at the newest position unless --since says where; goes on by itself after every "
     "interruption, and says when it has to start over. Ends after --count changes. --bookmarks "
     "shows a position every second. --digest begins at 0, and proves at each bookmark that "
     "nothing is missing.\n\n"
     "Example: reqcast watch shop --since 181",
     options, 0, 1, watch},
    {NULL, NULL, NULL, NULL, 0, 0, NULL},
};

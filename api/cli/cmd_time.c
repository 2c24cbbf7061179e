// SPDX-License-Identifier: Apache-2.0
// Commands that read requests by time and by id.
#include "api/cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAGE          1000u
#define ACTIVITY_DAYS 30

static int parse_time(cli *c, const cli_args *a, int option, const char *name, int64_t otherwise,
                      int64_t *ret)
{
    *ret = otherwise;
    return cli_has(a, option)
               ? cli_parse_int(c, name, cli_value(a, option), INT64_MIN, INT64_MAX, ret)
               : CLI_OK;
}

static void show(cli *c, const rqc_list *list)
{
    if (c->json)
        cli_records(c, list->items, list->n);
    else
        cli_requests_table(c, list);
}

enum { TIME_SINCE, TIME_UNTIL, TIME_LARGE, TIME_METHOD };
static const cli_option updates_options[] = {
    {"since", 0, "T"}, {"until", 0, "T"}, {"large", 0, NULL}, {"method", 0, "M"}, {NULL, 0, NULL}};
static const cli_option deltas_options[] = {{"since", 0, "T"},
                                            {"until", 0, "T"},
                                            {"large", 0, NULL},
                                            {NULL, 0, NULL}};
static const cli_option since_only[] = {{"since", 0, "T"}, {NULL, 0, NULL}};

static int updates(cli *c, const cli_args *a)
{
    uint8_t workspace[16];
    int64_t since, until;
    const char *method;
    if (!cli_has(a, TIME_SINCE))
        return cli_usage(c, "updates needs --since T");
    c->large = cli_has(a, TIME_LARGE);
    int status = parse_time(c, a, TIME_SINCE, "--since", 0, &since);
    if (status == CLI_OK)
        status = parse_time(c, a, TIME_UNTIL, "--until", RQC_ANY_TIME, &until);
    if (status == CLI_OK)
        status = cli_parse_method(c, a, TIME_METHOD, &method);
    if (status == CLI_OK)
        status = cli_begin(c);
    if (status == CLI_OK)
        status = cli_find_workspace(c, a->words[0], workspace, NULL);
    if (status != CLI_OK)
        return status;
    rqc_list list = RQC_LIST_INIT;
    rqc_page_cursor cursor = RQC_PAGE_CURSOR_INIT;
    rqc_err rc = RQC_OK;
    bool any = false;
    while (rc == RQC_OK && cursor.state != 2 && !ferror(stdout) && c->unread == CLI_OK) {
        rc = rqc_updates(c->read, workspace, since, until, method, PAGE, &cursor, &list);
        if (rc == RQC_OK && list.n > 0)
            show(c, &list);
        any = any || list.n > 0;
    }
    rqc_list_free(&list);
    if (rc != RQC_OK)
        return cli_read_failed(c, rc, "updates");
    if (!any && !c->json)
        puts("no updates");
    return CLI_OK;
}

// batch and deltas: requests that ids lead to.
static int by_ids(cli *c, const cli_args *a, bool deltas, int since_option, int until_option)
{
    uint8_t(*ids)[16] = NULL;
    size_t n = 0;
    int64_t since, until;
    int status = parse_time(c, a, since_option, "--since", INT64_MIN, &since);
    if (status == CLI_OK)
        status = parse_time(c, a, until_option, "--until", RQC_ANY_TIME, &until);
    if (status == CLI_OK)
        status = cli_parse_ids(c, a, 0, &ids, &n);
    if (status == CLI_OK)
        status = cli_begin(c);
    rqc_list list = RQC_LIST_INIT;
    if (status == CLI_OK) {
        const rqc_err rc =
            deltas ? rqc_deltas(c->read, (const uint8_t(*)[16])ids, n, since, until, &list)
                   : rqc_batch(c->read, (const uint8_t(*)[16])ids, n, until, &list);
        if (rc != RQC_OK)
            status = cli_read_failed(c, rc, deltas ? "deltas" : "batch");
        else if (list.n > 0)
            show(c, &list);
        else if (!c->json)
            puts("none");
    }
    rqc_list_free(&list);
    free(ids);
    return status;
}

enum { BATCH_UNTIL, BATCH_LARGE };
static const cli_option batch_options[] = {{"until", 0, "T"}, {"large", 0, NULL}, {NULL, 0, NULL}};

static int batch(cli *c, const cli_args *a)
{
    c->large = cli_has(a, BATCH_LARGE);
    return by_ids(c, a, false, -1, BATCH_UNTIL);
}

static int deltas(cli *c, const cli_args *a)
{
    c->large = cli_has(a, TIME_LARGE);
    return by_ids(c, a, true, TIME_SINCE, TIME_UNTIL);
}

static int begin_since(cli *c, const cli_args *a, uint8_t ret_workspace[16], int64_t otherwise,
                       int64_t *ret_since)
{
    int status = parse_time(c, a, TIME_SINCE, "--since", otherwise, ret_since);
    if (status == CLI_OK)
        status = cli_begin(c);
    return status == CLI_OK ? cli_find_workspace(c, a->words[0], ret_workspace, NULL) : status;
}

static int metrics(cli *c, const cli_args *a)
{
    uint8_t workspace[16];
    int64_t since;
    rqc_metrics m;
    const int status = begin_since(c, a, workspace, INT64_MIN, &since);
    if (status != CLI_OK)
        return status;
    const rqc_err rc = rqc_metrics_read(c->read, workspace, since, &m);
    if (rc != RQC_OK)
        return cli_read_failed(c, rc, "metrics");
    if (c->json) {
        const rqc_position p = rqc_read_position(c->read);
        cli_json_begin(c);
        cli_json_uint(c, "total", m.total);
        cli_json_uint(c, "base", m.base);
        cli_json_uint(c, "delta", m.delta);
        if (m.has_times) {
            cli_json_int(c, "latest", m.latest);
            cli_json_int(c, "earliest", m.earliest);
        } else {
            cli_json_null(c, "latest");
            cli_json_null(c, "earliest");
        }
        cli_json_uint(c, "recent", m.recent);
        cli_json_position(c, &p);
        cli_json_end(c);
        return CLI_OK;
    }
    char latest[32] = "-", earliest[32] = "-";
    if (m.has_times) {
        cli_time_text(m.latest, latest);
        cli_time_text(m.earliest, earliest);
    }
    printf("total     %" PRIu64 "\nbase      %" PRIu64 "\ndelta     %" PRIu64 "\nrecent    %" PRIu64
           "\nlatest    %s\nearliest  %s\n",
           m.total, m.base, m.delta, m.recent, latest, earliest);
    return CLI_OK;
}

static int activity(cli *c, const cli_args *a)
{
    static const cli_column columns[] = {{"DATE", false, false},
                                         {"CHANGES", true, false},
                                         {"DELTAS", true, false},
                                         {"BASES", true, false},
                                         {NULL, false, false}};
    uint8_t workspace[16];
    int64_t since;
    rqc_activity days[ACTIVITY_DAYS];
    size_t n;
    const int status = begin_since(c, a, workspace, INT64_MIN, &since);
    if (status != CLI_OK)
        return status;
    const rqc_err rc = rqc_activity_read(c->read, workspace, since, days, ACTIVITY_DAYS, &n);
    if (rc != RQC_OK)
        return cli_read_failed(c, rc, "activity");
    cli_table t;
    cli_table_init(&t, columns);
    for (size_t i = 0; i < n; i++) {
        const uint64_t counts[] = {days[i].changes, days[i].deltas, days[i].bases};
        static const char *const keys[] = {"changes", "deltas", "bases"};
        char date[32];
        struct tm tm;
        const time_t when = (time_t)(days[i].day * 86400);
        if (!gmtime_r(&when, &tm) || strftime(date, sizeof date, "%Y-%m-%d", &tm) == 0)
            snprintf(date, sizeof date, "day %" PRId64, days[i].day);
        if (c->json) {
            cli_json_begin(c);
            cli_json_text(c, "date", date);
        } else {
            cli_cell_text(&t, date);
        }
        for (size_t k = 0; k < 3; k++) {
            char text[24];
            snprintf(text, sizeof text, "%" PRIu64, counts[k]);
            if (c->json)
                cli_json_uint(c, keys[k], counts[k]);
            else
                cli_cell_text(&t, text);
        }
        if (c->json)
            cli_json_end(c);
    }
    if (n == 0 && !c->json)
        puts("no activity");
    cli_table_print(&t, n > 0 && !c->json);
    return CLI_OK;
}

const cli_command cli_time_commands[] = {
    {"updates", "WORKSPACE --since T [--until T] [--method M] [--large]",
     "bases and deltas that were updated in a time window, oldest first\n\n"
     "The window is since < updated_at <= until, in UNIX seconds. Times are data and may repeat or "
     "step back; changes misses nothing. " CLI_LARGE_HELP "\n\n"
     "Example: reqcast updates shop --since 1760000000",
     updates_options, 1, 1, updates},
    {"batch", "HTTP_ID... [--until T] [--large]",
     "requests by id, newest first\n\n" CLI_LARGE_HELP "\n\n"
     "Example: reqcast batch 01K742SA9ZQCRRV30NT5JTECS8 01K742SB1QVGB1D3T399TRSCJE",
     batch_options, 1, SIZE_MAX, batch},
    {"deltas", "HTTP_ID... [--since T] [--until T] [--large]",
     "the deltas of requests, one level down\n\n" CLI_LARGE_HELP "\n\n"
     "Example: reqcast deltas 01K742SA9ZQCRRV30NT5JTECS8",
     deltas_options, 1, SIZE_MAX, deltas},
    {"metrics", "WORKSPACE [--since T]",
     "how many requests there are, of which kind, how new\n\n"
     "Example: reqcast metrics shop",
     since_only, 1, 1, metrics},
    {"activity", "WORKSPACE [--since T]",
     "requests by UTC day of their last update, 30 days at most\n\n"
     "Example: reqcast activity shop",
     since_only, 1, 1, activity},
    {NULL, NULL, NULL, NULL, 0, 0, NULL},
};

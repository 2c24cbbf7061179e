// SPDX-License-Identifier: Apache-2.0
// Commands about the database as a whole.
#include "api/cli/cli.h"

#include "api/engine.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static int init(cli *c, const cli_args *a)
{
    (void)a;
    const bool there = access(c->db_path, F_OK) == 0;
    int status = cli_open(c, CLI_CREATE);
    if (status == CLI_OK)
        status = cli_begin(c);
    if (status != CLI_OK)
        return status;
    const rqc_position p = rqc_read_position(c->read);
    if (c->json) {
        cli_json_begin(c);
        cli_json_text(c, "db", c->db_path);
        cli_json_bool(c, "created", !there);
        cli_json_position(c, &p);
        cli_json_end(c);
    } else {
        printf("%s: %s\n", c->db_path, there ? "was there already" : "created");
    }
    return CLI_OK;
}

// ---- Verify -------------------------------------------------------------------------------------

static void show_difference(void *ctx, const rqc_difference *d)
{
    cli *c = ctx;
    const char *entity = d->entity ? rqc_entity_name((rqc_entity)d->entity) : NULL;
    char id[27];
    rqc_id_format(d->id, id);
    if (!c->json) {
        printf("%s%s%s%s\n", entity ? entity : "", entity ? " " : "", entity ? id : "view: ", "");
        printf("    %s\n", d->what);
        return;
    }
    cli_json_begin(c);
    if (entity) {
        cli_json_text(c, "entity", entity);
        cli_json_id(c, "id", d->id);
    } else {
        cli_json_null(c, "entity");
        cli_json_null(c, "id");
    }
    cli_json_text(c, "what", d->what);
    cli_json_end(c);
}

static void hex(const uint8_t *p, char ret_text[33])
{
    for (int i = 0; i < 16; i++)
        snprintf(ret_text + 2 * i, 3, "%02x", p[i]);
}

static void show_fault(void *ctx, const char *fault)
{
    cli *c = ctx;
    const rqc_difference d = {.what = fault};
    if (c->json) {
        show_difference(c, &d);
        return;
    }
    rqci_buf line = {0};
    cli_visible(&line, fault, strlen(fault));
    printf("SQLite file:\n    %.*s\n", (int)line.len, (const char *)line.data);
    rqci_buf_free(&line);
}

enum { VERIFY_REPAIR, VERIFY_INTEGRITY };

static void show_verified(cli *c, const cli_args *a, const rqc_verified *v, uint64_t found,
                          uint64_t faults)
{
    const bool repair = cli_has(a, VERIFY_REPAIR);
    char digest[33];
    hex(v->digest, digest);
    if (c->json) {
        cli_json_begin(c);
        cli_json_uint(c, "records", v->records);
        cli_json_text(c, "digest", digest);
        cli_json_uint(c, "differences", found + faults);
        if (cli_has(a, VERIFY_INTEGRITY))
            cli_json_uint(c, "faults", faults);
        if (repair)
            cli_json_bool(c, "repaired", found > 0 && v->differences == 0);
        cli_json_position(c, &v->position);
        cli_json_end(c);
        return;
    }
    printf("%" PRIu64 " record%s compared at position %" PRIu64 ", digest %s: ", v->records,
           cli_plural(v->records), v->position.seq, digest);
    if (found == 0)
        puts("no difference");
    else
        printf("%" PRIu64 " difference%s%s\n", found, cli_plural(found),
               !repair               ? "; reqcast verify --repair builds the view anew"
               : v->differences == 0 ? "; the view was built anew and is right now"
                                     : "");
    if (faults > 0)
        printf("%" PRIu64 " fault%s in the SQLite file; restore a backup\n", faults,
               cli_plural(faults));
    else if (cli_has(a, VERIFY_INTEGRITY))
        puts("the SQLite file is sound");
}

static int verify(cli *c, const cli_args *a)
{
    const bool repair = cli_has(a, VERIFY_REPAIR);
    const int status = cli_open(c, repair ? CLI_OWN : CLI_READ);
    rqc_verified v;
    rqc_error e;
    uint64_t faults = 0;
    if (status != CLI_OK)
        return status;
    rqc_err rc = RQC_OK;
    if (cli_has(a, VERIFY_INTEGRITY))
        rc = rqc_integrity(c->db, 0, show_fault, c, &faults, &e);
    if (rc == RQC_OK)
        rc = rqc_verify(c->db, repair, show_difference, c, &v, &e);
    const uint64_t found = rc == RQC_OK ? v.differences : 0;
    // What a repair has made is believed only when it was looked at again.
    if (rc == RQC_OK && repair && found > 0)
        rc = rqc_verify(c->db, 0, show_difference, c, &v, &e);
    if (rc != RQC_OK)
        return cli_fail(c, rc, "%s: %s", c->db_path, e.text);
    show_verified(c, a, &v, found, faults);
    return v.differences == 0 && faults == 0 ? CLI_OK : CLI_NO;
}

// ---- Stats --------------------------------------------------------------------------------------

static void size_text(uint64_t n, char ret_text[48])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double d = (double)n;
    int unit = 0;
    for (; d >= 1024 && unit < 4; unit++)
        d /= 1024;
    snprintf(ret_text, 48, unit ? "%.1f %s" : "%.0f %s", d, units[unit]);
}

// What the reqcastd of the database says of itself, as it says it; empty without one.
static void sidecar_stats(cli *c, rqci_buf *out)
{
    char url[RQC_URL_TEXT];
    rqci_errbuf err = {""};
    if (!c->attached || rqc_sidecar_url(c->db_path, url, NULL) != RQC_OK)
        return;
    const rqc_err rc = rqci_remote_stats(url, out, &err);
    if (rc != RQC_OK)
        cli_note(c, "%s: %s", url, *err.text ? err.text : rqc_err_text(rc));
}

// Its keys and numbers as rows.
static void sidecar_rows(cli_table *t, const rqci_buf *json)
{
    if (json->len == 0)
        return;
    const char *p = (const char *)json->data, *end = p + json->len;
    while (p < end) {
        const char *key = memchr(p, '"', (size_t)(end - p));
        const char *colon = key ? memchr(key, ':', (size_t)(end - key)) : NULL;
        if (!colon)
            return;
        const char *comma = memchr(colon, ',', (size_t)(end - colon));
        const char *stop = comma ? comma : end - 1;
        rqci_buf name = {0};
        (void)rqci_buf_add(&name, "reqcastd: ", 10);
        (void)rqci_buf_add(&name, key + 1, (size_t)(colon - key - 2));
        cli_cell(t, (const char *)name.data, name.len);
        cli_cell(t, colon + 1, (size_t)(stop - colon - 1));
        rqci_buf_free(&name);
        p = stop + 1;
    }
}

static int stats(cli *c, const cli_args *a)
{
    (void)a;
    int status = cli_open(c, CLI_READ);
    rqc_stats s = {.size = sizeof s};
    rqc_error e;
    if (status != CLI_OK)
        return status;
    const rqc_err rc = rqc_stats_read(c->db, &s, &e);
    if (rc != RQC_OK)
        return cli_fail(c, rc, "%s: %s", c->db_path, e.text);
    const struct {
        const char *key, *name;
        uint64_t n;
        bool bytes;
    } rows[] = {
        {"head", "database is at", s.head, false},
        {"horizon", "history kept behind", s.horizon, false},
        {"records", "records", s.records, false},
        {"workspaces", "workspaces", s.workspaces, false},
        {"tombstones", "tombstones", s.tombstones, false},
        {"db_bytes", "database", s.db_bytes, true},
        {"wal_bytes", "write-ahead log", s.wal_bytes, true},
        {"view_bytes", "view", s.view_bytes, true},
        {"view_map_bytes", "view's address map", s.view_map_bytes, true},
        {"generation", "view's generation", s.generation, false},
        {"readers", "sessions seen", s.readers, false},
        {"unmirrored", "rows left out", s.unmirrored, false},
    };
    const size_t n = sizeof rows / sizeof *rows;
    rqci_buf sidecar = {0};
    sidecar_stats(c, &sidecar);
    if (c->json) {
        cli_json_begin(c);
        cli_json_position(c, &s.position);
        for (size_t i = 0; i < n; i++)
            cli_json_uint(c, rows[i].key, rows[i].n);
        cli_json_bool(c, "owner", s.owner != 0);
        cli_json_bool(c, "view_lagging", s.view_lagging != 0);
        cli_json_bool(c, "spare", s.spare != 0);
        cli_json_key(c, "sidecar");
        c->lost = (sidecar.len > 0 ? rqci_buf_add(&c->line, sidecar.data, sidecar.len)
                                   : rqci_buf_add(&c->line, "null", 4)) != RQC_OK ||
                  c->lost;
        cli_json_end(c);
        rqci_buf_free(&sidecar);
        return CLI_OK;
    }
    static const cli_column columns[] = {{"", false, false},
                                         {"", true, false},
                                         {NULL, false, false}};
    char position[RQC_POSITION_TEXT], text[48];
    rqc_position_format(&s.position, position);
    printf("position %s%s%s\n", position, s.owner ? "" : ", read from the view of another process",
           s.spare          ? ", the view lags behind: reads come from a spare one"
           : s.view_lagging ? ", the view lags behind"
                            : "");
    cli_table t;
    cli_table_init(&t, columns);
    for (size_t i = 0; i < n; i++) {
        cli_cell_text(&t, rows[i].name);
        if (rows[i].bytes)
            size_text(rows[i].n, text);
        else
            snprintf(text, sizeof text, "%" PRIu64, rows[i].n);
        cli_cell_text(&t, text);
    }
    sidecar_rows(&t, &sidecar);
    rqci_buf_free(&sidecar);
    cli_table_print(&t, false);
    return CLI_OK;
}

static const cli_option verify_options[] = {{"repair", 0, NULL},
                                            {"integrity", 0, NULL},
                                            {NULL, 0, NULL}};

const cli_command cli_store_commands[] = {
    {"init", "",
     "create the database, or what it lacks\n\n"
     "Example: reqcast --db shop.db init",
     NULL, 0, 0, init},
    {"verify", "[--repair] [--integrity]",
     "compare every record of the database with the view\n\n"
     "Differences are listed; exit status 1 when there are any. With --repair a view that differs "
     "is built anew. With --integrity SQLite checks its file, too.\n\n"
     "Example: reqcast verify --integrity",
     verify_options, 0, 0, verify},
    {"stats", "",
     "positions, counts and sizes\n\n"
     "Example: reqcast --json stats",
     NULL, 0, 0, stats},
    {NULL, NULL, NULL, NULL, 0, 0, NULL},
};

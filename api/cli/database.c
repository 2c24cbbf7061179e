// SPDX-License-Identifier: Apache-2.0
// Opening the database for a command, and what arguments mean there.
#include "api/cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// Another command may own the database for a moment. A try that waited for SQLite's lock has waited
// longer than this, and is the last.
#define OWNER_WAIT_MS 1000
#define TRY_MS        50
#define MAX_AGE_MS    3600000u

static void show_log(void *ctx, int level, const char *text)
{
    cli *c = ctx;
    if (level >= 2 || c->verbose)
        cli_note(c, "%s", text);
}

static void show_progress(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    if (total > 0)
        cli_progress(ctx, what, done, total);
}

static void pause_ms(long ms)
{
    const struct timespec t = {0, ms * 1000000};
    nanosleep(&t, NULL);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// What another process owns: its view; and, for writing, the reqcastd that owns it.
// RQC_UNAVAILABLE: neither now; without a text where nothing was looked for.
static rqc_err attach(cli *c, const rqc_options *o, int how, rqc_error *err)
{
    char url[RQC_URL_TEXT];
    err->text[0] = 0;
    if (how == CLI_OWN || (how != CLI_READ && rqc_sidecar_url(c->db_path, url, NULL) != RQC_OK))
        return RQC_UNAVAILABLE;
    const rqc_err rc = rqc_attach(c->db_path, o, &c->db, err);
    c->attached = rc == RQC_OK;
    return rc;
}

// Opens or attaches, until there is an answer or the time is over. RQC_BUSY: *why is empty, or says
// what is wrong with the owner's view.
static rqc_err try_open(cli *c, const rqc_options *o, int how, rqc_error *err, rqc_error *why)
{
    const int64_t until = now_ms() + OWNER_WAIT_MS;
    for (;;) {
        why->text[0] = 0;
        const rqc_err rc = rqc_open(c->db_path, o, &c->db, err);
        if (rc != RQC_BUSY)
            return rc;
        const rqc_err attached = attach(c, o, how, why);
        if (attached == RQC_OK)
            return RQC_OK;
        if (attached != RQC_UNAVAILABLE) {
            *err = *why;
            return attached;
        }
        if (now_ms() >= until)
            return RQC_BUSY;
        pause_ms(TRY_MS);
    }
}

// Another process has what the command needs.
static int busy(cli *c, int how, const rqc_error *err, const rqc_error *why)
{
    const char *in_use = strstr(err->text, "in use by process");
    const long locker = in_use ? 0 : cli_lock_holder(c->db_path);
    if (locker)
        return cli_fail(c, RQC_BUSY, "%s: process %ld holds its lock%s; try again when it is done",
                        c->db_path, locker, how == CLI_READ ? "" : "; nothing was written");
    if (how == CLI_READ && *why->text)
        return cli_fail(c, RQC_BUSY, "%s: %s, and its view cannot be read: %s", c->db_path,
                        in_use ? in_use : err->text, why->text);
    if (how == CLI_OWN)
        return cli_fail(c, RQC_BUSY,
                        "%s: %s; nothing was written: no other process may own the database for "
                        "this, so stop it first",
                        c->db_path, in_use ? in_use : err->text);
    if (how != CLI_READ && *why->text)
        return cli_fail(c, RQC_BUSY,
                        "%s: %s, and cannot be written through: %s; nothing was written",
                        c->db_path, in_use ? in_use : err->text, why->text);
    if (how != CLI_READ)
        return cli_fail(c, RQC_BUSY,
                        "%s: %s; nothing was written: write through that process, or try again "
                        "when it has ended",
                        c->db_path, err->text);
    return cli_fail(c, RQC_BUSY, "%s: %s", c->db_path, err->text);
}

const char *cli_remedy(const char *text)
{
    const char *view_dir = getenv("REQCAST_VIEW_DIR");
    if (!strstr(text, strerror(EACCES)) && !strstr(text, "readonly"))
        return "";
    return strstr(text, view_dir && *view_dir ? view_dir : "/dev/shm")
               ? "; name a folder that you may write to with REQCAST_VIEW_DIR"
               : "; you need to be allowed to read and write the database and its folder";
}

int cli_open(cli *c, int how)
{
    const char *view_dir = getenv("REQCAST_VIEW_DIR");
    rqc_options o = RQC_OPTIONS_INIT;
    rqc_error e, why;
    o.create = how == CLI_CREATE;
    o.view_dir = view_dir && *view_dir ? view_dir : NULL;
    o.max_age_ms = MAX_AGE_MS;
    o.log = show_log;
    o.log_ctx = c;
    o.progress = show_progress;
    o.progress_ctx = c;
    cli_lock_note *note = cli_lock_note_begin(c);
    const rqc_err rc = try_open(c, &o, how, &e, &why);
    cli_lock_note_end(note);
    if (rc == RQC_OK)
        return CLI_OK;
    c->db = NULL;
    // What is missing here is the folder: bad input, not a negative answer.
    if (rc == RQC_NOT_FOUND && how == CLI_CREATE)
        return cli_fail(c, RQC_INVALID, "%s: %s; make the folder first, or name another with --db",
                        c->db_path, e.text);
    if (rc == RQC_NOT_FOUND)
        return cli_fail(
            c, rc,
            "%s: there is no such database; make it with reqcast init, or name another with --db",
            c->db_path);
    if (rc == RQC_BUSY)
        return busy(c, how, &e, &why);
    return cli_fail(c, rc, "%s: %s%s", c->db_path, e.text, cli_remedy(e.text));
}

int cli_read_failed(cli *c, rqc_err rc, const char *what)
{
    const char *detail = c->read ? rqc_read_error(c->read) : "";
    return cli_fail(c, rc, "%s: %s", what, *detail ? detail : rqc_err_text(rc));
}

int cli_begin(cli *c)
{
    rqc_error e;
    if (!c->db) {
        const int status = cli_open(c, CLI_READ);
        if (status != CLI_OK)
            return status;
    }
    const rqc_err rc = rqc_read_new(c->db, &c->read, &e);
    if (rc != RQC_OK)
        return cli_fail(c, rc, "%s: %s", c->db_path, e.text);
    return cli_refresh(c);
}

int cli_refresh(cli *c)
{
    rqc_read_end(c->read);
    rqc_err rc = rqc_read_begin(c->read);
    // An owner that builds its view anew needs a moment.
    for (const int64_t until = now_ms() + OWNER_WAIT_MS;
         rc == RQC_UNAVAILABLE && now_ms() < until;) {
        pause_ms(TRY_MS);
        rc = rqc_read_begin(c->read);
    }
    return rc == RQC_OK ? CLI_OK : cli_read_failed(c, rc, c->db_path);
}

void cli_close(cli *c)
{
    rqc_read_free(c->read);
    c->read = NULL;
    rqc_close(c->db);
    c->db = NULL;
    free(c->whole);
    c->whole = NULL;
}

int cli_parse_id(cli *c, const char *what, const char *text, uint8_t ret_id[16])
{
    if (rqc_id_parse(text, ret_id) == RQC_OK)
        return CLI_OK;
    return cli_usage(c, "%s%s%s: not an id; ids are 26 characters (ULID) or 32 hex digits",
                     what ? what : "", what ? ": " : "", cli_shown(text));
}

int cli_parse_ids(cli *c, const cli_args *a, size_t from, uint8_t (**ret_ids)[16], size_t *ret_n)
{
    const size_t n = a->n - from;
    uint8_t(*ids)[16] = calloc(n, sizeof *ids);
    if (!ids)
        return cli_fail(c, RQC_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const int status = cli_parse_id(c, NULL, a->words[from + i], ids[i]);
        if (status != CLI_OK) {
            free(ids);
            return status;
        }
    }
    *ret_ids = ids;
    *ret_n = n;
    return CLI_OK;
}

int cli_parse_entity(cli *c, const char *text, rqc_entity *ret_entity)
{
    const int number = rqc_entity_number(text);
    if (number == 0) {
        rqci_buf names = {0};
        for (int e = 1; rqc_entity_name((rqc_entity)e); e++) {
            const char *name = rqc_entity_name((rqc_entity)e);
            (void)rqci_buf_add(&names, " ", 1);
            (void)rqci_buf_add(&names, name, strlen(name));
        }
        const int status = cli_usage(c, "no entity %s; there are:%.*s", cli_shown(text),
                                     (int)names.len, (const char *)names.data);
        rqci_buf_free(&names);
        return status;
    }
    *ret_entity = (rqc_entity)number;
    return CLI_OK;
}

int cli_parse_field(cli *c, const char *what, rqc_entity entity, const char *text, int *ret_field)
{
    rqci_buf names = {0};
    *ret_field = rqc_field_number(entity, text);
    if (*ret_field >= 0)
        return CLI_OK;
    for (int f = 0; rqc_field_name(entity, f); f++) {
        const char *name = rqc_field_name(entity, f);
        (void)rqci_buf_add(&names, " ", 1);
        (void)rqci_buf_add(&names, name, strlen(name));
    }
    const int status =
        cli_usage(c, "%s: %s has no field %s; there are:%.*s", what, rqc_entity_name(entity),
                  cli_shown(text), (int)names.len, (const char *)names.data);
    rqci_buf_free(&names);
    return status;
}

int cli_parse_int(cli *c, const char *what, const char *text, int64_t least, int64_t most,
                  int64_t *ret_number)
{
    char *end;
    errno = 0;
    const long long n = strtoll(text, &end, 10);
    const bool digits = (text[0] >= '0' && text[0] <= '9') || text[0] == '-' || text[0] == '+';
    if (errno != 0 || *end != 0 || end == text || !digits || n < least || n > most)
        return cli_usage(c, "%s: %s is not a whole number from %lld to %lld", what, cli_shown(text),
                         (long long)least, (long long)most);
    *ret_number = n;
    return CLI_OK;
}

int cli_parse_method(cli *c, const cli_args *a, int option, const char **ret_method)
{
    *ret_method = cli_value(a, option);
    return *ret_method && !**ret_method
               ? cli_usage(c, "--method: '' is no method; leave it out for all of them")
               : CLI_OK;
}

int cli_parse_file(cli *c, const char *what, const char *text)
{
    return *text ? CLI_OK : cli_usage(c, "%s: '' names no file", what);
}

static bool has_name(const rqc_record *w, const char *name)
{
    const rqc_value v = rqc_field(w, RQC_WORKSPACES_NAME);
    return v.type == RQC_TEXT && v.n == strlen(name) && memcmp(v.p, name, v.n) == 0;
}

// The ids of all workspaces of a name, for people to choose from.
static int ambiguous(cli *c, const rqc_list *all, const char *name, size_t n)
{
    rqci_buf ids = {0};
    for (size_t i = 0; i < all->n; i++) {
        char id[27];
        if (!has_name(all->items[i], name))
            continue;
        rqc_id_format(rqc_record_id(all->items[i]), id);
        (void)rqci_buf_add(&ids, " ", 1);
        (void)rqci_buf_add(&ids, id, 26);
    }
    const int status = cli_fail(c, RQC_INVALID, "%s: %zu workspaces have this name; use an id:%.*s",
                                name, n, (int)ids.len, (const char *)ids.data);
    rqci_buf_free(&ids);
    return status;
}

// Rows of a workspace whose own row is missing are found by its id all the same.
static bool has_requests(cli *c, const uint8_t id[16])
{
    uint64_t n = 0;
    return rqc_count(c->read, id, RQC_ANY_TIME, &n) == RQC_OK && n > 0;
}

int cli_find_workspace(cli *c, const char *text, uint8_t ret_id[16], bool *ret_name_free)
{
    uint8_t id[16];
    const rqc_record *record;
    const bool is_id = rqc_id_parse(text, id) == RQC_OK;
    if (ret_name_free)
        *ret_name_free = false;
    if (is_id && (rqc_get(c->read, RQC_WORKSPACES, id, &record) == RQC_OK || has_requests(c, id))) {
        memcpy(ret_id, id, 16);
        return CLI_OK;
    }
    rqc_list all = RQC_LIST_INIT;
    const rqc_err rc = rqc_workspaces(c->read, &all);
    if (rc != RQC_OK)
        return cli_read_failed(c, rc, "workspaces");
    size_t n = 0;
    for (size_t i = 0; i < all.n; i++)
        if (has_name(all.items[i], text) && n++ == 0)
            memcpy(ret_id, rqc_record_id(all.items[i]), 16);
    int status = CLI_OK;
    if (n > 1)
        status = ambiguous(c, &all, text, n);
    else if (n == 0 && ret_name_free && !is_id)
        *ret_name_free = true;
    else if (n == 0)
        status = cli_fail(c, RQC_NOT_FOUND,
                          "%s: no workspace has this name or id; reqcast workspaces lists them",
                          cli_shown(text));
    rqc_list_free(&all);
    return status;
}

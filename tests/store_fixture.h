// SPDX-License-Identifier: Apache-2.0
//
// For tests of persist/: a folder of its own, stores with a log that can be read back, and foreign
// connections, which are plain SQLite as any other program has it.
#ifndef RQC_TESTS_STORE_FIXTURE_H
#define RQC_TESTS_STORE_FIXTURE_H

#include "base/id.h"
#include "persist/sqlite_dep.h"
#include "persist/store.h"
#include "tests/rows.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIX_PATH 512

// Fixtures are header-only; not every test uses all of them.
#define FIX static inline __attribute__((unused))

static char fix_dir[FIX_PATH];
static pid_t fix_owner;

// ---- Files --------------------------------------------------------------------------------------

FIX int fix_remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    return type == FTW_DP ? rmdir(path) : unlink(path);
}

FIX void fix_end(void)
{
    if (fix_dir[0] && getpid() == fix_owner)
        (void)nftw(fix_dir, fix_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

FIX void fix_begin(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(fix_dir, sizeof fix_dir, "%s/rqc-store-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
    if (!mkdtemp(fix_dir))
        bail("no temporary folder: %s", strerror(errno));
    char *real = realpath(fix_dir, NULL);
    if (!real)
        bail("realpath: %s", strerror(errno));
    snprintf(fix_dir, sizeof fix_dir, "%s", real);
    free(real);
    fix_owner = getpid();
    atexit(fix_end);
}

__attribute__((format(printf, 2, 3))) FIX const char *fix_path(char ret[FIX_PATH],
                                                               const char *format, ...)
{
    char name[FIX_PATH / 2];
    va_list ap;
    va_start(ap, format);
    vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    if (snprintf(ret, FIX_PATH, "%s/%s", fix_dir, name) >= FIX_PATH)
        bail("a path is too long");
    return ret;
}

// A file's bytes; free them.
FIX char *fix_read(const char *path, size_t *ret_len)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    const long n = ftell(f);
    rewind(f);
    char *p = malloc((size_t)n + 1);
    if (!p || fread(p, 1, (size_t)n, f) != (size_t)n)
        bail("%s: cannot be read", path);
    p[n] = '\0';
    *ret_len = (size_t)n;
    fclose(f);
    return p;
}

FIX void fix_write(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(p, 1, n, f) != n || fclose(f) != 0)
        bail("%s: cannot be written", path);
}

// Never while the store is open in this process: closing the copy's descriptor drops SQLite's
// locks.
FIX void fix_copy(const char *from, const char *to)
{
    size_t n;
    char *p = fix_read(from, &n);
    if (!p)
        bail("%s: cannot be read", from);
    fix_write(to, p, n);
    free(p);
}

// ---- Stores -------------------------------------------------------------------------------------

static char fix_log[8192];
static pthread_mutex_t fix_log_mu = PTHREAD_MUTEX_INITIALIZER;

FIX void fix_log_line(void *ctx, int level, const char *text)
{
    (void)ctx;
    pthread_mutex_lock(&fix_log_mu);
    const size_t n = strlen(fix_log);
    snprintf(fix_log + n, sizeof fix_log - n, "%d %s\n", level, text);
    pthread_mutex_unlock(&fix_log_mu);
}

FIX void fix_log_clear(void)
{
    pthread_mutex_lock(&fix_log_mu);
    fix_log[0] = '\0';
    pthread_mutex_unlock(&fix_log_mu);
}

FIX bool fix_logged(const char *text)
{
    pthread_mutex_lock(&fix_log_mu);
    const bool found = strstr(fix_log, text) != NULL;
    pthread_mutex_unlock(&fix_log_mu);
    return found;
}

FIX rqci_store_options fix_options(void)
{
    return (rqci_store_options){.create = true, .log = {.fn = fix_log_line}};
}

FIX rqci_store *fix_open_with(const char *path, const rqci_store_options *opt)
{
    rqci_store *s = NULL;
    rqci_errbuf err = {{0}};
    const rqc_err e = rqci_store_open(path, opt, &s, &err);
    if (e)
        bail("open %s: %d %s", path, e, err.text);
    return s;
}

FIX rqci_store *fix_open(const char *path)
{
    const rqci_store_options opt = fix_options();
    return fix_open_with(path, &opt);
}

FIX void fix_start(rqci_store *s)
{
    rqci_errbuf err = {{0}};
    const rqc_err e = rqci_store_start(s, &err);
    if (e)
        bail("start: %d %s", e, err.text);
}

FIX rqci_store *fix_started(const char *path)
{
    rqci_store *s = fix_open(path);
    fix_start(s);
    return s;
}

FIX rqci_store_stats fix_stats(rqci_store *s)
{
    rqci_store_stats t;
    rqci_errbuf err = {{0}};
    const rqc_err e = rqci_store_stats_read(s, &t, &err);
    if (e)
        bail("stats: %d %s", e, err.text);
    return t;
}

// ---- Rows ---------------------------------------------------------------------------------------

FIX rqci_write fix_write_of(uint8_t kind, uint8_t entity, const void *id, const rqc_value *row)
{
    rqci_write w = {.kind = kind, .entity = entity, .row = row};
    memcpy(w.id, id, 16);
    return w;
}

FIX rqc_err fix_run(rqci_store *s, const rqci_write *writes, size_t n, rqci_job *ret_job)
{
    *ret_job = (rqci_job){.writes = writes, .nwrites = n};
    return rqci_store_run(s, ret_job);
}

FIX rqc_err fix_one(rqci_store *s, uint8_t kind, uint8_t entity, const void *id,
                    const rqc_value *row, rqci_job *ret_job)
{
    const rqci_write w = fix_write_of(kind, entity, id, row);
    const rqc_err e = fix_run(s, &w, 1, ret_job);
    ret_job->writes = NULL;
    return e;
}

// An id that tells where it comes from: 15 bytes of `kind` and a number.
FIX const uint8_t *fix_id(uint8_t kind, unsigned number)
{
    static uint8_t ring[64][16];
    static unsigned at;
    uint8_t *id = ring[at++ % 64];
    memset(id, kind, 12);
    id[12] = (uint8_t)(number >> 24);
    id[13] = (uint8_t)(number >> 16);
    id[14] = (uint8_t)(number >> 8);
    id[15] = (uint8_t)number;
    return id;
}

FIX void fix_workspace_row(rqc_value *row, const char *name)
{
    memset(row, 0, RQCI_FIELD_MAX * sizeof *row);
    row[RQCI_WORKSPACES_NAME] = rows_text(name);
}

FIX void fix_http_row(rqc_value *row, const uint8_t *workspace, const char *url)
{
    memset(row, 0, RQCI_FIELD_MAX * sizeof *row);
    row[RQCI_HTTP_WORKSPACE_ID] = rows_id(workspace);
    row[RQCI_HTTP_NAME] = rows_text("name");
    row[RQCI_HTTP_URL] = rows_text(url);
    row[RQCI_HTTP_METHOD] = rows_text("GET");
}

FIX void fix_header_row(rqc_value *row, const uint8_t *http, const char *value)
{
    memset(row, 0, RQCI_FIELD_MAX * sizeof *row);
    row[RQCI_HTTP_HEADER_HTTP_ID] = rows_id(http);
    row[RQCI_HTTP_HEADER_HEADER_KEY] = rows_text("key");
    row[RQCI_HTTP_HEADER_HEADER_VALUE] = rows_text(value);
}

// ---- Foreign connections ------------------------------------------------------------------------

// As SQLite's default is: foreign_keys and recursive_triggers off, synchronous as compiled.
FIX sqlite3 *fix_foreign(const char *path)
{
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK)
        bail("foreign: %s", sqlite3_errmsg(db));
    sqlite3_busy_timeout(db, 20000);
    return db;
}

// Formats are SQLite's: %Q, %w. Returns SQLite's code.
FIX int fix_try(sqlite3 *db, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    char *sql = sqlite3_vmprintf(format, ap);
    va_end(ap);
    const int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    return rc;
}

FIX void fix_exec(sqlite3 *db, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    char *sql = sqlite3_vmprintf(format, ap);
    va_end(ap);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        bail("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_free(sql);
}

// The first column of the first row as text ("" for NULL, "(none)" without a row); valid until the
// next call.
FIX const char *fix_text(sqlite3 *db, const char *format, ...)
{
    static char text[65536];
    va_list ap;
    va_start(ap, format);
    char *sql = sqlite3_vmprintf(format, ap);
    va_end(ap);
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
        bail("%s: %s", sql, sqlite3_errmsg(db));
    const int rc = sqlite3_step(st);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        bail("%s: %s", sql, sqlite3_errmsg(db));
    const char *v = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : "(none)";
    snprintf(text, sizeof text, "%s", v ? v : "");
    sqlite3_finalize(st);
    sqlite3_free(sql);
    return text;
}

FIX int64_t fix_int(sqlite3 *db, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    char *sql = sqlite3_vmprintf(format, ap);
    va_end(ap);
    const int64_t v = strtoll(fix_text(db, "%s", sql), NULL, 10);
    sqlite3_free(sql);
    return v;
}

// An id as SQL: x'…'.
FIX const char *fix_hex(const void *id)
{
    static char ring[16][40];
    static unsigned at;
    char *out = ring[at++ % 16];
    const uint8_t *p = id;
    char *end = out + sprintf(out, "x'");
    for (int i = 0; i < 16; i++)
        end += sprintf(end, "%02x", p[i]);
    sprintf(end, "'");
    return out;
}

#endif

// SPDX-License-Identifier: Apache-2.0
// Opening, closing, and what needs neither the writer nor the source.
#include "base/thread.h"
#include "persist/internal.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// ---- The path ----

rqc_err rqci_path_canonical(const char *path, bool create, char **ret_path, bool *ret_there,
                            rqci_errbuf *err)
{
    if (!path || !path[0])
        return rqci_fail(err, RQC_INVALID, "no file was named");
    char *real = realpath(path, NULL);
    *ret_there = real != NULL;
    if (real) {
        *ret_path = real;
        return RQC_OK;
    }
    if (errno != ENOENT)
        return rqci_fail(err, errno == ENOMEM ? RQC_NO_MEMORY : RQC_IO, "%s: %s", path,
                         strerror(errno));
    if (!create)
        return rqci_fail(err, RQC_NOT_FOUND, "%s: no such file", path);
    char *a = strdup(path), *b = strdup(path);
    rqc_err e = a && b ? RQC_OK : RQC_NO_MEMORY;
    const char *base = !e ? basename(a) : NULL;
    char *dir = !e ? realpath(dirname(b), NULL) : NULL;
    if (!e && (path[strlen(path) - 1] == '/' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0))
        e = rqci_fail(err, RQC_INVALID, "%s is not the name of a file", path);
    if (!e && !dir)
        e = rqci_fail(err,
                      errno == ENOENT   ? RQC_NOT_FOUND
                      : errno == ENOMEM ? RQC_NO_MEMORY
                                        : RQC_IO,
                      "%s: %s", path, strerror(errno));
    if (!e && asprintf(ret_path, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, base) < 0)
        e = RQC_NO_MEMORY;
    free(dir);
    free(a);
    free(b);
    return e;
}

// By stat alone: opening a FIFO would wait, and closing a database would drop other connections'
// locks.
rqc_err rqci_check_file(const char *path, const rqci_log *log, rqci_errbuf *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return rqci_fail(err, RQC_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return rqci_fail(err, RQC_INVALID, "%s is not a regular file", path);
    static const char *const beside[] = {"-journal", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        char name[PATH_MAX + 16];
        struct stat other;
        snprintf(name, sizeof name, "%s%s", path, beside[i]);
        if (lstat(name, &other) == 0 && !S_ISREG(other.st_mode))
            return rqci_fail(err, RQC_IO, "%s is not a regular file", name);
    }
    if (st.st_nlink > 1)
        rqci_logf(log, RQCI_WARN,
                  "%s has other names (hard links): SQLite does not protect it from use under them",
                  path);
    return RQC_OK;
}

// ---- Opening ----

static rqc_err init(const char *path, const rqci_store_options *opt, rqci_store **ret_store)
{
    rqci_store *s = calloc(1, sizeof *s);
    if (!s)
        return RQC_NO_MEMORY;
    s->lock.fd = s->side_fd = -1;
    s->read_only = opt->read_only;
    s->of = opt->of;
    s->busy_ms = opt->busy_ms > 0 ? opt->busy_ms : RQCI_BUSY_MS_DEFAULT;
    s->retain_wanted = opt->retain ? opt->retain : RQCI_RETAIN_DEFAULT;
    s->log = opt->log;
    s->prepare = opt->prepare;
    s->undone = opt->undone;
    s->committed = opt->committed;
    s->seen = opt->seen;
    s->ctx = opt->ctx;
    s->reader.store = s->after.store = s;
    s->after.shape.version = -1; // none that a database can have: its first read looks
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->mu, NULL);
    pthread_mutex_init(&s->value_mu, NULL);
    pthread_mutex_init(&s->compact_mu, NULL);
    pthread_cond_init(&s->wake, &attr);
    pthread_cond_init(&s->called, NULL);
    pthread_condattr_destroy(&attr);
    *ret_store = s;
    s->path = strdup(path);
    if (!s->path || asprintf(&s->wal_path, "%s-wal", path) < 0) {
        s->wal_path = NULL;
        return RQC_NO_MEMORY;
    }
    return RQC_OK;
}

// On a full disk a -wal that was left may be what fills it: then a checkpoint gives room.
static rqc_err start_history(rqci_store *s, bool create, rqci_errbuf *err)
{
    rqc_err e = rqci_history_start(s, create, err);
    if (e == RQC_NO_SPACE && rqci_checkpoint(s, false))
        e = rqci_history_start(s, create, err);
    return e == RQC_NO_SPACE || e == RQC_IO ? rqci_fail_within(err, e, "%s", s->path) : e;
}

static rqc_err open_owner(rqci_store *s, bool there, bool create, rqci_errbuf *err)
{
    rqc_err e = rqci_lock_take(s->path, &s->lock, err);
    if (!e)
        e = rqci_db_open(s->path, RQCI_DB_WRITE | (there ? 0u : (unsigned)RQCI_DB_CREATE),
                         s->busy_ms, &s->db, err);
    if (!e) {
        e = rqci_history_look(s->db, s->path, create, err);
        if (e == RQC_NOT_FOUND || e == RQC_INVALID)
            rqci_lock_remove(s->path, &s->lock);
    }
    if (!e)
        e = rqci_db_wal(s->db, s->journal, err);
    if (!e)
        e = start_history(s, create, err);
    if (!e)
        e = rqci_db_int_kept(s->db, "PRAGMA data_version", &s->data_version, &s->seen_data_version,
                             err);
    int64_t page_bytes = 0;
    if (!e)
        e = rqci_db_int(s->db, "PRAGMA page_size", &page_bytes, err);
    s->frame_bytes = (uint64_t)page_bytes + 24;
    if (!e)
        sqlite3_wal_hook(s->db, rqci_wal_noted, s);
    return e;
}

rqc_err rqci_store_open(const char *path, const rqci_store_options *opt, rqci_store **ret_store,
                        rqci_errbuf *err)
{
    char *real = NULL;
    bool there = false;
    const bool create = opt->create && !opt->read_only;
    rqc_err e = rqci_path_canonical(path, create, &real, &there, err);
    if (!e && there)
        e = rqci_check_file(real, &opt->log, err);
    rqci_store *s = NULL;
    if (!e)
        e = init(real, opt, &s);
    free(real);
    if (!e && !s->read_only)
        e = open_owner(s, there, create, err);
    const unsigned flags = opt->read_only ? RQCI_DB_READ_ONLY : 0;
    if (!e)
        e = rqci_db_open(s->path, flags, s->busy_ms, &s->reader.db, err);
    if (!e)
        e = rqci_db_open(s->path, flags, s->busy_ms, &s->value_db, err);
    if (!e)
        e = rqci_shape_read(s->reader.db, NULL, &s->reader.shape, err);
    if (e) {
        rqci_store_close(s);
        return e;
    }
    s->after.db = s->db;
    s->ready = true;
    *ret_store = s;
    return RQC_OK;
}

rqc_err rqci_store_start(rqci_store *s, rqci_errbuf *err)
{
    if (s->read_only)
        return rqci_fail(err, RQC_READ_ONLY, "%s was opened read-only", s->path);
    pthread_mutex_lock(&s->mu);
    const int rc =
        s->started || s->closing ? EINVAL : rqci_thread_start(&s->thread, rqci_writer_main, s);
    s->started = s->started || rc == 0;
    pthread_mutex_unlock(&s->mu);
    return rc == 0 ? RQC_OK
                   : rqci_fail(err, rc == EAGAIN ? RQC_NO_MEMORY : RQC_INTERNAL,
                               "writer thread: %s", strerror(rc));
}

// ---- Closing ----

static void stop(rqci_store *s)
{
    pthread_mutex_lock(&s->mu);
    s->closing = true;
    pthread_cond_signal(&s->wake);
    const bool started = s->started;
    pthread_mutex_unlock(&s->mu);
    if (started)
        pthread_join(s->thread, NULL);
    rqci_job *job = s->first; // only where the writer never ran
    s->first = s->last = NULL;
    while (job) {
        rqci_job *next = job->next;
        job->err = RQC_CLOSED;
        job->done(job);
        job = next;
    }
}

static void close_writer(rqci_store *s)
{
    if (s->ready) {
        rqci_history_close(s);
        rqci_checkpoint(s, false);
    }
    rqci_reader_close(&s->after);
    rqci_store_rollback(s);
    rqci_sql_clear(&s->sql);
    sqlite3_stmt **const list[] = {&s->begin,   &s->commit,      &s->rollback,   &s->savepoint,
                                   &s->release, &s->rollback_to, &s->version,    &s->data_version,
                                   &s->nonce,   &s->head_stmt,   &s->facts_stmt, &s->key_find,
                                   &s->key_add};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        rqci_db_finalize(list[i]);
    sqlite3_close_v2(s->db);
    s->db = NULL;
}

void rqci_store_close(rqci_store *s)
{
    // SQLite's connections do not survive a fork, and the files belong to the parent: a child
    // leaves everything as it is.
    if (!s || atomic_load(&s->lock.forked))
        return;
    stop(s);
    rqci_reader_close(&s->reader);
    sqlite3_close_v2(s->value_db);
    if (s->db)
        close_writer(s);
    if (s->side_fd >= 0)
        close(s->side_fd);
    rqci_lock_release(&s->lock);
    pthread_cond_destroy(&s->wake);
    pthread_cond_destroy(&s->called);
    pthread_mutex_destroy(&s->mu);
    pthread_mutex_destroy(&s->value_mu);
    pthread_mutex_destroy(&s->compact_mu);
    free(s->wal_path);
    free(s->path);
    free(s);
}

// ---- One value, and the numbers ----

// With the table's name before it, a column that is missing is an error and not a text in double
// quotes.
static int prepare_value(sqlite3 *db, const char *table, const char *column, sqlite3_stmt **stmt)
{
    char *sql = sqlite3_mprintf("SELECT t.\"%w\" FROM \"%w\" AS t WHERE t.id = ?1", column, table);
    const int rc = sql ? sqlite3_prepare_v2(db, sql, -1, stmt, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    return rc;
}

static rqc_err read_value(rqci_store *s, const rqci_entity *e, const uint8_t id[16], int field,
                          rqci_buf *out, rqci_errbuf *err)
{
    sqlite3_stmt *st = NULL;
    int rc = prepare_value(s->value_db, e->table, e->fields[field].name, &st);
    for (unsigned a = 0; rc == SQLITE_ERROR && a < RQCI_ALIASES; a++) {
        if (rqci_aliases[a].entity == e->code && rqci_aliases[a].field == field)
            rc = prepare_value(s->value_db, e->table, rqci_aliases[a].name, &st);
    }
    if (rc == SQLITE_ERROR)
        return rqci_fail(err, RQC_NOT_FOUND, "this database has no column %s.%s", e->table,
                         e->fields[field].name);
    if (rc == SQLITE_OK) {
        sqlite3_bind_blob(st, 1, id, 16, SQLITE_STATIC);
        rc = sqlite3_step(st);
    }
    rqc_err code;
    if (rc == SQLITE_DONE || (rc == SQLITE_ROW && sqlite3_column_type(st, 0) == SQLITE_NULL)) {
        code =
            rqci_fail(err, RQC_NOT_FOUND, "%s.%s: no such value", e->table, e->fields[field].name);
    } else if (rc == SQLITE_ROW) {
        const void *p = sqlite3_column_blob(st, 0);
        const size_t n = (size_t)sqlite3_column_bytes(st, 0);
        code = p || n == 0 ? rqci_buf_add(out, p, n) : RQC_NO_MEMORY;
    } else {
        code = rqci_sqlite_err(s->value_db, rc, e->table, err);
    }
    sqlite3_finalize(st);
    return code;
}

rqc_err rqci_store_value(rqci_store *s, uint8_t entity, const uint8_t id[16], int field,
                         rqci_buf *out, rqci_errbuf *err)
{
    const rqci_entity *e = rqci_entity_of(entity);
    if (!e || field < 0 || field >= e->nfields)
        return rqci_fail(err, RQC_INVALID, "no such field");
    if (atomic_load(&s->lock.forked))
        return rqci_fail(err, RQC_CLOSED, "%s was opened before fork", s->path);
    pthread_mutex_lock(&s->value_mu);
    const rqc_err code = read_value(s, e, id, field, out, err);
    pthread_mutex_unlock(&s->value_mu);
    return code;
}

void rqci_store_head(rqci_store *s, uint32_t *ret_term, uint64_t *ret_head)
{
    pthread_mutex_lock(&s->mu);
    *ret_term = s->facts.term;
    *ret_head = s->head;
    pthread_mutex_unlock(&s->mu);
}

static uint64_t file_bytes(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

rqc_err rqci_store_stats_read(rqci_store *s, rqci_store_stats *ret_stats, rqci_errbuf *err)
{
    if (atomic_load(&s->lock.forked))
        return rqci_fail(err, RQC_CLOSED, "%s was opened before fork", s->path);
    sqlite3_stmt *facts = NULL, *head = NULL;
    rqci_facts f;
    rqci_store_stats out = {.db_bytes = file_bytes(s->path), .wal_bytes = file_bytes(s->wal_path)};
    int64_t rows = 0;
    pthread_mutex_lock(&s->value_mu);
    rqc_err e = rqci_facts_read(s->value_db, &facts, &f, err);
    if (!e)
        e = rqci_head_read(s->value_db, &head, f.baseline, &out.head, err);
    if (!e)
        e = rqci_db_int(s->value_db, "SELECT count(*) FROM change_log", &rows, err);
    sqlite3_finalize(facts);
    sqlite3_finalize(head);
    pthread_mutex_unlock(&s->value_mu);
    if (e)
        return e;
    memcpy(out.store_id, f.store_id, 16);
    out.term = f.term;
    out.horizon = f.horizon;
    out.baseline = f.baseline;
    out.retain = f.retain;
    out.log_rows = (uint64_t)rows;
    out.unmirrored = atomic_load(&s->unmirrored);
    pthread_mutex_lock(&s->mu);
    out.groups = s->n_groups;
    out.jobs = s->n_jobs;
    out.jobs_failed = s->n_failed;
    out.checkpoints = s->n_checkpoints;
    pthread_mutex_unlock(&s->mu);
    *ret_stats = out;
    return RQC_OK;
}

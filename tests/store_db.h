// SPDX-License-Identifier: Apache-2.0
// A database of its own for tests of the public API: a folder, rows, and another process that is
// told what to do through a socket.
#ifndef RQC_TESTS_STORE_DB_H
#define RQC_TESTS_STORE_DB_H

#include "api/reqcast.h"
#include "tests/tap.h"

#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char sdb_folder[64], sdb_path[128], sdb_views[128], sdb_other_views[128];
static const uint8_t sdb_workspace[16] = {1, 2, 3};

// ---- The folder ----

static inline void sdb_begin(const char *name)
{
    signal(SIGPIPE, SIG_IGN);
    snprintf(sdb_folder, sizeof sdb_folder, "/tmp/rqc-%s-XXXXXX", name);
    if (!mkdtemp(sdb_folder))
        bail("mkdtemp: %s", strerror(errno));
    snprintf(sdb_path, sizeof sdb_path, "%s/test.db", sdb_folder);
    snprintf(sdb_views, sizeof sdb_views, "%s/views", sdb_folder);
    snprintf(sdb_other_views, sizeof sdb_other_views, "%s/other", sdb_folder);
    mkdir(sdb_views, 0750);
    mkdir(sdb_other_views, 0750);
}

static inline int sdb_remove(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(name);
}

static inline void sdb_remove_all(const char *name)
{
    (void)nftw(name, sdb_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void sdb_end(void)
{
    sdb_remove_all(sdb_folder);
}

static inline void sdb_pause_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

// Until other threads have counted so far; false after half a minute.
static inline bool sdb_wait_for(const _Atomic uint64_t *n, uint64_t want)
{
    for (int i = 0; i < 30000 && atomic_load(n) < want; i++)
        sdb_pause_ms(1);
    return atomic_load(n) == want;
}

// ---- Handles ----

static inline rqc_options sdb_options(void)
{
    rqc_options o = RQC_OPTIONS_INIT;
    o.create = 1;
    o.view_dir = sdb_views;
    return o;
}

static inline rqc_db *sdb_open(void)
{
    const rqc_options o = sdb_options();
    rqc_error e = {RQC_OK, ""};
    rqc_db *db = NULL;
    const rqc_err rc = rqc_open(sdb_path, &o, &db, &e);
    if (rc != RQC_OK)
        bail("cannot open %s: %d %s", sdb_path, (int)rc, e.text);
    return db;
}

static inline rqc_db *sdb_attach(void)
{
    const rqc_options o = sdb_options();
    rqc_error e = {RQC_OK, ""};
    rqc_db *db = NULL;
    const rqc_err rc = rqc_attach(sdb_path, &o, &db, &e);
    if (rc != RQC_OK)
        bail("cannot attach to %s: %d %s", sdb_path, (int)rc, e.text);
    return db;
}

static inline rqc_txn *sdb_txn(rqc_db *db)
{
    rqc_txn *t = NULL;
    if (rqc_txn_new(db, &t, NULL) != RQC_OK)
        bail("no transaction");
    return t;
}

static inline rqc_read *sdb_read(rqc_db *db)
{
    rqc_read *r = NULL;
    rqc_error e = {RQC_OK, ""};
    if (rqc_read_new(db, &r, &e) != RQC_OK || rqc_read_begin(r) != RQC_OK)
        bail("no session: %s %s", e.text, r ? rqc_read_error(r) : "");
    return r;
}

// ---- Rows ----

static inline void sdb_id(uint8_t id[16], uint8_t kind, uint64_t n)
{
    memset(id, 0, 16);
    id[0] = 1;
    id[1] = kind;
    for (int i = 0; i < 8; i++)
        id[8 + i] = (uint8_t)(n >> (56 - 8 * i));
}

static inline rqc_err sdb_put_workspace(rqc_txn *t)
{
    rqc_value row[RQC_WORKSPACES_NFIELDS] = {{0}};
    row[RQC_WORKSPACES_NAME] = rqc_text("w");
    return rqc_put(t, RQC_WORKSPACES, sdb_workspace, row);
}

static inline rqc_err sdb_put_http(rqc_txn *t, const uint8_t id[16], const char *name,
                                   int64_t updated)
{
    rqc_value row[RQC_HTTP_NFIELDS] = {{0}};
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(sdb_workspace);
    row[RQC_HTTP_NAME] = rqc_text(name);
    row[RQC_HTTP_URL] = rqc_text("https://example.com/");
    row[RQC_HTTP_METHOD] = rqc_text("GET");
    row[RQC_HTTP_UPDATED_AT] = rqc_int(updated);
    return rqc_put(t, RQC_HTTP, id, row);
}

static inline rqc_err sdb_put_header(rqc_txn *t, const uint8_t id[16], const uint8_t http[16],
                                     const char *value)
{
    rqc_value row[RQC_HTTP_HEADER_NFIELDS] = {{0}};
    row[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(http);
    row[RQC_HTTP_HEADER_HEADER_KEY] = rqc_text("k");
    row[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_text(value);
    return rqc_put(t, RQC_HTTP_HEADER, id, row);
}

// A request of two puts, the second with this number and name, under a key.
static inline void sdb_put_keyed(rqc_txn *t, uint64_t n, const char *name, const char *key)
{
    uint8_t id[16];
    sdb_id(id, 9, n);
    if (sdb_put_workspace(t) != RQC_OK || sdb_put_http(t, id, name, 7) != RQC_OK ||
        rqc_txn_key(t, key, strlen(key)) != RQC_OK)
        bail("%s", rqc_txn_error(t));
}

static inline bool sdb_text_is(const rqc_record *r, int field, const char *want)
{
    const rqc_value v = rqc_field(r, field);
    return v.type == RQC_TEXT && v.n == strlen(want) && memcmp(v.p, want, v.n) == 0;
}

// One request with this number, in a transaction of its own.
static inline rqc_err sdb_commit_one(rqc_db *db, uint64_t n, rqc_result *ret_result)
{
    uint8_t id[16];
    sdb_id(id, 9, n);
    rqc_txn *t = sdb_txn(db);
    rqc_err rc = sdb_put_workspace(t);
    if (rc == RQC_OK)
        rc = sdb_put_http(t, id, "one", (int64_t)n);
    if (rc == RQC_OK)
        rc = rqc_commit(t, ret_result);
    rqc_txn_free(t);
    return rc;
}

// A database that nobody has open, with request number 1.
static inline void sdb_make(void)
{
    rqc_db *db = sdb_open();
    const rqc_err rc = sdb_commit_one(db, 1, NULL);
    if (rc != RQC_OK)
        bail("no request: %d", (int)rc);
    rqc_close(db);
}

// The request with this number has this name now.
static inline bool sdb_name_is(rqc_db *db, uint64_t n, const char *name)
{
    uint8_t id[16];
    const rqc_record *rec = NULL;
    sdb_id(id, 9, n);
    rqc_read *r = sdb_read(db);
    const bool is_it =
        rqc_get(r, RQC_HTTP, id, &rec) == RQC_OK && sdb_text_is(rec, RQC_HTTP_NAME, name);
    rqc_read_free(r);
    return is_it;
}

// Of the same commit.
static inline bool sdb_same_result(const rqc_result *a, const rqc_result *b)
{
    return a->position.seq == b->position.seq && a->position.term == b->position.term &&
           memcmp(a->position.store_id, b->position.store_id, 16) == 0 &&
           a->written == b->written && a->skipped == b->skipped && a->deleted == b->deleted;
}

// ---- Another process ----

typedef struct sdb_other {
    pid_t pid;
    int fd;
} sdb_other;

// Each byte that it is told is answered by what `command` returns. Start it before there are
// threads.
static inline sdb_other sdb_other_start(char (*command)(char c))
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        bail("socketpair: %s", strerror(errno));
    const pid_t pid = fork();
    if (pid < 0)
        bail("fork: %s", strerror(errno));
    if (pid == 0) {
        close(fds[0]);
        for (char c; read(fds[1], &c, 1) == 1;) {
            const char answer = command(c);
            if (write(fds[1], &answer, 1) != 1)
                break;
        }
        _exit(0);
    }
    close(fds[1]);
    return (sdb_other){pid, fds[0]};
}

static inline void sdb_tell(const sdb_other *p, char c)
{
    if (write(p->fd, &c, 1) != 1)
        bail("the other process is gone");
}

static inline rqc_err sdb_answer(const sdb_other *p)
{
    char answer = RQC_INTERNAL;
    if (read(p->fd, &answer, 1) != 1)
        bail("the other process is gone");
    return (rqc_err)answer;
}

static inline rqc_err sdb_ask(const sdb_other *p, char c)
{
    sdb_tell(p, c);
    return sdb_answer(p);
}

static inline void sdb_other_stop(sdb_other *p, int sig)
{
    kill(p->pid, sig);
    waitpid(p->pid, NULL, 0);
    close(p->fd);
}

#endif

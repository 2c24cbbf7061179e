// SPDX-License-Identifier: Apache-2.0
//
// How each contestant commits a transaction.
#include "bench/writes.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 4096 };

const char *const writes_names[WRITES_CONTESTANTS] = {"reqcast", "SQLite", "Redis always",
                                                      "Redis everysec", "disk"};

bool writes_can(const struct writes *w, enum writes_who who)
{
    return w->redis != NULL || (who != WRITES_REDIS_ALWAYS && who != WRITES_REDIS_EVERYSEC);
}

void writes_hand_open(struct writes_hand *h, struct writes *w, enum writes_who who)
{
    rqc_error err = {RQC_OK, ""};
    char path[320];

    *h = (struct writes_hand){.w = w, .who = who, .fd = -1};
    switch (who) {
    case WRITES_REQCAST:
        bench_check(rqc_txn_new(w->db, &h->txn, &err), "rqc_txn_new", err.text);
        break;
    case WRITES_SQLITE: bench_sqlite_open(&h->bare, w->bare_path); break;
    case WRITES_REDIS_ALWAYS:
    case WRITES_REDIS_EVERYSEC: h->redis = writes_redis_connect(w->redis, who); break;
    case WRITES_DISK:
    case WRITES_CONTESTANTS:
        snprintf(path, sizeof path, "%s/append", w->disk);
        h->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (h->fd < 0)
            floor_die(path, strerror(errno));
        break;
    }
}

void writes_hand_close(struct writes_hand *h)
{
    rqc_txn_free(h->txn);
    bench_sqlite_close(&h->bare);
    writes_redis_disconnect(h->redis);
    if (h->fd >= 0)
        (void)close(h->fd);
}

static void reqcast(struct writes_hand *h, const struct bench_row *rows, unsigned n)
{
    rqc_result result;

    for (unsigned i = 0; i < n; i++)
        bench_check(rqc_put(h->txn, rows[i].entity, rows[i].id, rows[i].value), "rqc_put",
                    rqc_txn_error(h->txn));
    bench_check(rqc_commit(h->txn, &result), "rqc_commit", rqc_txn_error(h->txn));
    if (result.written != n || !result.visible)
        floor_die("rqc_commit", "not all was written, or the view lags");
}

static void bare(struct bench_sqlite *s, const struct bench_row *rows, unsigned n, bool again)
{
    bench_sqlite_step(s, s->begin);
    for (unsigned i = 0; i < n; i++)
        bench_sqlite_put(s, &rows[i], again);
    bench_sqlite_step(s, s->commit);
}

static void disk(const struct writes_hand *h)
{
    static const char block[BLOCK];

    if (write(h->fd, block, sizeof block) != sizeof block || fdatasync(h->fd) != 0)
        floor_die("fdatasync", strerror(errno));
}

void writes_hand_commit(struct writes_hand *h, const struct bench_row *rows, unsigned n, bool again)
{
    switch (h->who) {
    case WRITES_REQCAST: reqcast(h, rows, n); break;
    case WRITES_SQLITE: bare(&h->bare, rows, n, again); break;
    case WRITES_REDIS_ALWAYS:
    case WRITES_REDIS_EVERYSEC: writes_redis_commit(h->redis, rows, n, again); break;
    case WRITES_DISK:
    case WRITES_CONTESTANTS: disk(h); break;
    }
}

// SPDX-License-Identifier: Apache-2.0
//
// One transaction after the other: reqcast, SQLite with the same tables and nothing else, and the
// disk itself, in turns.
#include "bench/writes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCH_MAX = 1000, WARM = 3, BLOCK = 4096 };
enum { REQCAST, BARE, DISK, CONTESTANTS };

static const char *const names[CONTESTANTS] = {"reqcast", "SQLite", "disk"};

struct txns {
    struct writes *w;
    rqc_txn *txn;
    struct bench_row *rows; // of one transaction
    int fd;
    struct writes_stream stream[CONTESTANTS];
    uint64_t rng[CONTESTANTS];
};

static void make_rows(struct txns *x, int who, unsigned n, bool update)
{
    for (unsigned i = 0; i < n; i++) {
        if (update)
            writes_old_row(x->w, &x->rng[who], &x->rows[i]);
        else
            writes_new_row(x->w, &x->stream[who], &x->rows[i]);
    }
}

static void reqcast(struct txns *x, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct bench_row *r = &x->rows[i];
        bench_check(rqc_put(x->txn, r->entity, r->id, r->value), "rqc_put", rqc_txn_error(x->txn));
    }
    rqc_result result;
    bench_check(rqc_commit(x->txn, &result), "rqc_commit", rqc_txn_error(x->txn));
    if (result.written != n || !result.visible)
        floor_die("rqc_commit", "not all was written, or the view lags");
}

static void bare(struct txns *x, unsigned n, bool update)
{
    struct bench_sqlite *s = &x->w->bare;

    bench_sqlite_step(s, s->begin);
    for (unsigned i = 0; i < n; i++)
        bench_sqlite_put(s, &x->rows[i], update);
    bench_sqlite_step(s, s->commit);
}

static void disk(struct txns *x)
{
    static const char block[BLOCK];

    if (write(x->fd, block, sizeof block) != sizeof block || fdatasync(x->fd) != 0)
        floor_die("fdatasync", strerror(errno));
}

// Seconds of one transaction.
static double sample(struct txns *x, int who, unsigned n, bool update)
{
    if (who != DISK)
        make_rows(x, who, n, update);
    double start = floor_now();
    switch (who) {
    case REQCAST: reqcast(x, n); break;
    case BARE: bare(x, n, update); break;
    default: disk(x); break;
    }
    return floor_now() - start;
}

static void run(struct txns *x, const char *kind, unsigned n, bool update)
{
    static struct bench_samples s[CONTESTANTS];
    double start = floor_now(), p50[CONTESTANTS], p99[CONTESTANTS];
    char name[64];

    snprintf(name, sizeof name, "%s, %u a transaction", kind, n);
    memset(s, 0, sizeof s);
    for (unsigned round = 0; round < WARM; round++) {
        for (int who = 0; who < CONTESTANTS; who++)
            (void)sample(x, who, n, update);
    }
    while (s[0].n < 31 || (s[0].n < BENCH_SAMPLES_MAX && floor_now() - start < x->w->seconds)) {
        for (int who = 0; who < CONTESTANTS; who++)
            bench_sample(&s[who], sample(x, who, n, update) * 1e6);
    }
    printf("%-28s", name);
    for (int who = 0; who < CONTESTANTS; who++) {
        p50[who] = bench_quantile(&s[who], 0.5);
        p99[who] = bench_quantile(&s[who], 0.99);
        printf(" %10.0f %10.0f", p50[who], p99[who]);
        bench_emit(&x->w->report, name, names[who], "us", p50[who], &s[who]);
    }
    printf(" %8.2f %8.2f %5u\n", p50[REQCAST] / p50[BARE], p99[REQCAST] / p99[BARE], s[0].n);
    fflush(stdout);
}

void writes_transactions(struct writes *w)
{
    static const unsigned batches[] = {1, 10, 100, 1000};
    struct txns x = {.w = w};
    rqc_error err = {RQC_OK, ""};
    char path[320];

    snprintf(path, sizeof path, "%s/append", w->disk);
    x.fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (x.fd < 0)
        floor_die(path, strerror(errno));
    for (int who = 0; who < CONTESTANTS; who++)
        x.rng[who] = 5;
    x.rows = floor_alloc(BATCH_MAX, sizeof *x.rows);
    bench_check(rqc_txn_new(w->db, &x.txn, &err), "rqc_txn_new", err.text);
    printf("\nus of a transaction, in turns; disk: write and fdatasync of 4 KiB at a file's end\n"
           "%-28s %10s %10s %10s %10s %10s %10s %8s %8s %5s\n",
           "", "reqcast", "p99", "SQLite", "p99", "disk", "p99", "ratio", "p99", "n");
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++)
        run(&x, "new rows", batches[i], false);
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++)
        run(&x, "rows again", batches[i], true);
    rqc_txn_free(x.txn);
    free(x.rows);
    (void)close(x.fd);
}

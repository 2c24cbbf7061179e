// SPDX-License-Identifier: Apache-2.0
//
// Several writers at once, one new row a transaction: reqcast makes groups of what waits; SQLite's
// connections wait for each other.
#include "bench/writes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 8, ROUNDS = 5 };

struct crowd;

struct writer {
    struct crowd *crowd;
    pthread_t thread;
    struct writes_stream stream;
    struct bench_sqlite bare;
    bool reqcast;
    uint64_t done;
    struct bench_samples *latency;
};

struct crowd {
    struct writes *w;
    atomic_bool stop;
    struct writer writer[THREADS_MAX];
};

static void write_one(struct writer *me, rqc_txn *txn)
{
    struct bench_row row;

    writes_new_row(me->crowd->w, &me->stream, &row);
    double start = floor_now();
    if (me->reqcast) {
        bench_check(rqc_put(txn, row.entity, row.id, row.value), "rqc_put", rqc_txn_error(txn));
        bench_check(rqc_commit(txn, NULL), "rqc_commit", rqc_txn_error(txn));
    } else {
        bench_sqlite_step(&me->bare, me->bare.begin);
        bench_sqlite_put(&me->bare, &row, false);
        bench_sqlite_step(&me->bare, me->bare.commit);
    }
    bench_sample(me->latency, (floor_now() - start) * 1e6);
    me->done++;
}

static void *writer_main(void *arg)
{
    struct writer *me = arg;
    rqc_txn *txn = NULL;
    rqc_error err = {RQC_OK, ""};

    if (me->reqcast)
        bench_check(rqc_txn_new(me->crowd->w->db, &txn, &err), "rqc_txn_new", err.text);
    while (!atomic_load(&me->crowd->stop))
        write_one(me, txn);
    rqc_txn_free(txn);
    return NULL;
}

static void sleep_for(double seconds)
{
    const struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

    (void)nanosleep(&t, NULL);
}

// Transactions a second of `n` threads.
static double round_of(struct crowd *c, unsigned n, bool reqcast)
{
    uint64_t done = 0;

    atomic_store(&c->stop, false);
    double start = floor_now();
    for (unsigned i = 0; i < n; i++) {
        c->writer[i].reqcast = reqcast;
        c->writer[i].done = 0;
        if (pthread_create(&c->writer[i].thread, NULL, writer_main, &c->writer[i]) != 0)
            floor_die("pthread_create", "no thread");
    }
    sleep_for(c->w->seconds / (double)ROUNDS);
    atomic_store(&c->stop, true);
    for (unsigned i = 0; i < n; i++) {
        (void)pthread_join(c->writer[i].thread, NULL);
        done += c->writer[i].done;
    }
    return (double)done / (floor_now() - start);
}

static void merge(struct bench_samples *all, const struct crowd *c, unsigned n)
{
    all->n = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct bench_samples *s = c->writer[i].latency;
        for (unsigned k = i; k < s->n; k += n)
            bench_sample(all, s->v[k]);
    }
}

static void run(struct crowd *c, unsigned n)
{
    static struct bench_samples rate[2], latency[2], of[THREADS_MAX];
    char name[64];

    snprintf(name, sizeof name, "%u writers", n);
    memset(rate, 0, sizeof rate);
    for (int who = 0; who < 2; who++) {
        for (unsigned i = 0; i < THREADS_MAX; i++) {
            of[i].n = 0;
            c->writer[i].latency = &of[i];
            // Far from each other and from all that was stored before.
            c->writer[i].stream.next =
                ((uint64_t)(n * THREADS_MAX + i) << 24) * c->w->data.floor.per_request;
        }
        for (int round = 0; round < ROUNDS; round++)
            bench_sample(&rate[who], round_of(c, n, who == 0));
        merge(&latency[who], c, n);
    }
    double r[2], p50[2], p99[2];
    for (int who = 0; who < 2; who++) {
        const char *by = who == 0 ? "reqcast" : "SQLite";
        r[who] = bench_quantile(&rate[who], 0.5);
        p50[who] = bench_quantile(&latency[who], 0.5);
        p99[who] = bench_quantile(&latency[who], 0.99);
        bench_emit(&c->w->report, name, by, "transactions/s", r[who], &rate[who]);
        bench_emit(&c->w->report, name, by, "us", p50[who], &latency[who]);
    }
    printf("%-28s %10.0f %10.0f %10.0f %10.0f %10.0f %10.0f %8.2f\n", name, r[0], p50[0], p99[0],
           r[1], p50[1], p99[1], r[0] / r[1]);
    fflush(stdout);
}

void writes_threads(struct writes *w)
{
    struct crowd *c = floor_alloc(1, sizeof *c);

    c->w = w;
    for (unsigned i = 0; i < THREADS_MAX; i++) {
        c->writer[i].crowd = c;
        bench_sqlite_open(&c->writer[i].bare, w->bare_path);
    }
    printf("\ntransactions a second of one new row each, and us of one\n"
           "%-28s %10s %10s %10s %10s %10s %10s %8s\n",
           "", "reqcast /s", "p50", "p99", "SQLite /s", "p50", "p99", "ratio");
    run(c, 1);
    run(c, THREADS_MAX);
    for (unsigned i = 0; i < THREADS_MAX; i++)
        bench_sqlite_close(&c->writer[i].bare);
    free(c);
}

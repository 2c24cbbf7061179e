// SPDX-License-Identifier: Apache-2.0
//
// Several writers at once: reqcast makes groups of what waits; SQLite's connections wait for each
// other; Redis syncs once for all that came meanwhile. The contestants take turns.
#include "bench/writes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS_MAX = 8, BATCH_MAX = 1000, ROUNDS = 5, CROWD = WRITES_DISK };

struct crowd;

struct writer {
    struct crowd *crowd;
    pthread_t thread;
    struct writes_stream stream[CROWD];
    struct writes_hand hand[CROWD];
    struct bench_row *rows;
    uint64_t done;
    struct bench_samples latency[CROWD];
};

struct crowd {
    struct writes *w;
    enum writes_who who; // whose turn it is
    unsigned batch;
    atomic_bool stop;
    struct writer writer[THREADS_MAX];
};

static void *writer_main(void *arg)
{
    struct writer *me = arg;
    const struct crowd *c = me->crowd;
    const enum writes_who who = c->who;

    do { // one at least, however short the time
        for (unsigned i = 0; i < c->batch; i++)
            writes_new_row(c->w, &me->stream[who], &me->rows[i]);
        double start = floor_now();
        writes_hand_commit(&me->hand[who], me->rows, c->batch, false);
        bench_sample(&me->latency[who], (floor_now() - start) * 1e6);
        me->done++;
    } while (!atomic_load(&c->stop));
    return NULL;
}

static void sleep_for(double seconds)
{
    const struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

    (void)nanosleep(&t, NULL);
}

// Records a second of `n` threads.
static double round_of(struct crowd *c, unsigned n)
{
    uint64_t done = 0;

    atomic_store(&c->stop, false);
    double start = floor_now();
    for (unsigned i = 0; i < n; i++) {
        c->writer[i].done = 0;
        if (pthread_create(&c->writer[i].thread, NULL, writer_main, &c->writer[i]) != 0)
            floor_die("pthread_create", "no thread");
    }
    sleep_for(c->w->seconds / ROUNDS);
    atomic_store(&c->stop, true);
    for (unsigned i = 0; i < n; i++) {
        (void)pthread_join(c->writer[i].thread, NULL);
        done += c->writer[i].done;
    }
    return (double)done * c->batch / (floor_now() - start);
}

// The samples of all threads, as many of each.
static void merge(struct bench_samples *all, const struct crowd *c, unsigned n, int who)
{
    uint64_t seen = 0;
    double max = 0;

    memset(all, 0, sizeof *all);
    for (unsigned i = 0; i < n; i++) {
        const struct bench_samples *s = &c->writer[i].latency[who];
        for (unsigned k = i; k < s->n; k += n)
            bench_sample(all, s->v[k]);
        seen += s->seen;
        max = s->max > max ? s->max : max;
    }
    all->seen = seen;
    all->max = max;
}

static void report(struct crowd *c, unsigned n, struct bench_samples *rate)
{
    static struct bench_samples latency;
    const double base = bench_quantile(&rate[WRITES_SQLITE], 0.5);
    char name[64];

    snprintf(name, sizeof name, "%u writer%s, %u a transaction", n, n == 1 ? "" : "s", c->batch);
    for (int who = 0; who < CROWD; who++) {
        if (!writes_can(c->w, (enum writes_who)who))
            continue;
        merge(&latency, c, n, who);
        const double r = bench_quantile(&rate[who], 0.5), p50 = bench_quantile(&latency, 0.5);
        printf("%-29s %-15s %10.0f %8.2f %10.0f %10.0f %10.0f\n", who == 0 ? name : "",
               writes_names[who], r, r / base, p50, bench_quantile(&latency, 0.99), latency.max);
        bench_emit(&c->w->report, name, writes_names[who], "records/s", r, &rate[who]);
        bench_emit(&c->w->report, name, writes_names[who], "us", p50, &latency);
    }
    fflush(stdout);
}

static void run(struct crowd *c, unsigned n, unsigned batch)
{
    static struct bench_samples rate[CROWD];

    memset(rate, 0, sizeof rate);
    for (unsigned i = 0; i < n; i++)
        memset(c->writer[i].latency, 0, sizeof c->writer[i].latency);
    c->batch = batch;
    for (int round = 0; round < (c->w->seconds < 1 ? 1 : ROUNDS); round++) {
        for (int who = 0; who < CROWD; who++) {
            c->who = (enum writes_who)who;
            if (writes_can(c->w, c->who))
                bench_sample(&rate[who], round_of(c, n));
        }
    }
    report(c, n, rate);
}

static void writer_open(struct crowd *c, unsigned i)
{
    struct writer *me = &c->writer[i];

    me->crowd = c;
    me->rows = floor_alloc(BATCH_MAX, sizeof *me->rows);
    for (int who = 0; who < CROWD; who++) {
        // Far from each other and from all that was stored before.
        me->stream[who].next = ((uint64_t)(i + 1) << 24) * c->w->data.floor.per_request;
        if (writes_can(c->w, (enum writes_who)who))
            writes_hand_open(&me->hand[who], c->w, (enum writes_who)who);
    }
}

static void writer_close(struct crowd *c, unsigned i)
{
    for (int who = 0; who < CROWD; who++) {
        if (writes_can(c->w, (enum writes_who)who))
            writes_hand_close(&c->writer[i].hand[who]);
    }
    free(c->writer[i].rows);
}

void writes_threads(struct writes *w)
{
    static const unsigned batches[] = {1, 10, 100, 1000};
    struct crowd *c = floor_alloc(1, sizeof *c);

    c->w = w;
    for (unsigned i = 0; i < THREADS_MAX; i++)
        writer_open(c, i);
    printf("\nnew rows by several writers: records a second, and us of a transaction; ratio: to "
           "SQLite\n%-29s %-15s %10s %8s %10s %10s %10s\n",
           "", "", "records/s", "ratio", "p50", "p99", "max");
    run(c, 1, 1);
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++)
        run(c, THREADS_MAX, batches[i]);
    for (unsigned i = 0; i < THREADS_MAX; i++)
        writer_close(c, i);
    free(c);
}

// SPDX-License-Identifier: Apache-2.0
//
// One transaction after the other by one writer, the contestants in turns.
#include "bench/writes.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH_MAX = 1000, WARM = 3 };

struct txns {
    struct writes *w;
    struct bench_row *rows; // of one transaction
    struct writes_hand hand[WRITES_CONTESTANTS];
    struct writes_stream stream[WRITES_CONTESTANTS];
    uint64_t rng[WRITES_CONTESTANTS];
};

static void make_rows(struct txns *x, int who, unsigned n, bool again)
{
    for (unsigned i = 0; i < n; i++) {
        if (again)
            writes_old_row(x->w, &x->rng[who], &x->rows[i]);
        else
            writes_new_row(x->w, &x->stream[who], &x->rows[i]);
    }
}

// Seconds of one transaction.
static double sample(struct txns *x, int who, unsigned n, bool again)
{
    make_rows(x, who, n, again);
    double start = floor_now();
    writes_hand_commit(&x->hand[who], x->rows, n, again);
    return floor_now() - start;
}

static void report(const struct txns *x, const char *name, struct bench_samples *s)
{
    const double base = bench_quantile(&s[WRITES_SQLITE], 0.5);

    for (int who = 0; who < WRITES_CONTESTANTS; who++) {
        if (!writes_can(x->w, (enum writes_who)who))
            continue;
        const double p50 = bench_quantile(&s[who], 0.5);
        printf("%-29s %-15s %10.0f %10.0f %10.0f %8.2f %6llu\n", who == 0 ? name : "",
               writes_names[who], p50, bench_quantile(&s[who], 0.99), s[who].max, p50 / base,
               (unsigned long long)s[who].seen);
        bench_emit(&x->w->report, name, writes_names[who], "us", p50, &s[who]);
    }
    fflush(stdout);
}

static void run(struct txns *x, const char *kind, unsigned n, bool again)
{
    static struct bench_samples s[WRITES_CONTESTANTS];
    char name[64];

    snprintf(name, sizeof name, "%s, %u a transaction", kind, n);
    memset(s, 0, sizeof s);
    for (unsigned round = 0; round < WARM; round++) {
        for (int who = 0; who < WRITES_CONTESTANTS; who++) {
            if (writes_can(x->w, (enum writes_who)who))
                (void)sample(x, who, n, again);
        }
    }
    double start = floor_now();
    while (s[0].n < (x->w->seconds < 1 ? BENCH_ROUNDS_FEW : BENCH_ROUNDS) ||
           (s[0].n < BENCH_SAMPLES_MAX && floor_now() - start < x->w->seconds)) {
        for (int who = 0; who < WRITES_CONTESTANTS; who++) {
            if (writes_can(x->w, (enum writes_who)who))
                bench_sample(&s[who], sample(x, who, n, again) * 1e6);
        }
    }
    report(x, name, s);
}

void writes_transactions(struct writes *w)
{
    static const unsigned batches[] = {1, 10, 100, 1000};
    struct txns *x = floor_alloc(1, sizeof *x);

    x->w = w;
    x->rows = floor_alloc(BATCH_MAX, sizeof *x->rows);
    for (int who = 0; who < WRITES_CONTESTANTS; who++) {
        x->rng[who] = 5;
        if (writes_can(w, (enum writes_who)who))
            writes_hand_open(&x->hand[who], w, (enum writes_who)who);
    }
    printf("\nus of a transaction of one writer, in turns; ratio: to SQLite\n"
           "%-29s %-15s %10s %10s %10s %8s %6s\n",
           "", "", "p50", "p99", "max", "ratio", "n");
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++)
        run(x, "new rows", batches[i], false);
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++)
        run(x, "rows again", batches[i], true);
    for (int who = 0; who < WRITES_CONTESTANTS; who++) {
        if (writes_can(w, (enum writes_who)who))
            writes_hand_close(&x->hand[who]);
    }
    free(x->rows);
    free(x);
}

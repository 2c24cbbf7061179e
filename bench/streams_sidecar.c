// SPDX-License-Identifier: Apache-2.0
//
// The whole way through a reqcastd: an attached process writes, or another program writes into the
// SQLite file; a third process is told.
#include "bench/streams.h"

#include <stdlib.h>

enum { PAUSE_US = 1500, WARM = 20, PATIENCE_US = 1000000 };

struct writer {
    struct streams *s;
    rqc_db *db;
    rqc_txn *txn;
    struct bench_sqlite other;
    uint32_t version;
    unsigned peer;
};

static int64_t seen(const struct writer *w)
{
    for (long us = 0; us < PATIENCE_US; us += 100) {
        const int64_t at = atomic_load(&w->s->shared->seen[w->peer]);
        if (at != 0)
            return at;
        streams_sleep_us(100);
    }
    return 0;
}

static void sample(struct bench_samples *of, int64_t from, int64_t to)
{
    if (to != 0)
        bench_sample(of, (double)(to - from) * 1e-3);
}

static void attached(struct writer *w, struct bench_samples *told, struct bench_samples *returned)
{
    struct bench_row row;

    bench_request_row(&w->s->data, 0, 1, ++w->version, &row);
    bench_check(rqc_put(w->txn, row.entity, row.id, row.value), "rqc_put", rqc_txn_error(w->txn));
    atomic_store(&w->s->shared->seen[w->peer], 0);
    const int64_t call = streams_now();
    bench_check(rqc_commit(w->txn, NULL), "rqc_commit", rqc_txn_error(w->txn));
    const int64_t back = streams_now();
    sample(told, call, seen(w));
    sample(returned, call, back);
}

static void other(struct writer *w, struct bench_samples *told)
{
    struct bench_row row;

    bench_request_row(&w->s->data, 0, 1, ++w->version, &row);
    atomic_store(&w->s->shared->seen[w->peer], 0);
    bench_sqlite_step(&w->other, w->other.begin);
    bench_sqlite_put(&w->other, &row, true);
    bench_sqlite_step(&w->other, w->other.commit);
    const int64_t done = streams_now();
    sample(told, done, seen(w));
}

static void row(struct streams *s, const char *name, struct bench_samples *of)
{
    printf("%-56s %8.1f %8.1f %8.1f\n", name, bench_quantile(of, 0.5), bench_quantile(of, 0.9),
           bench_quantile(of, 0.99));
    bench_emit(&s->report, name, "reqcast", "us", bench_quantile(of, 0.5), of);
}

static void open_all(struct writer *w, const char *path)
{
    struct bench_row first;
    rqc_options o = RQC_OPTIONS_INIT;
    rqc_error err = {RQC_OK, ""};

    o.view_dir = w->s->memory;
    bench_check(rqc_attach(path, &o, &w->db, &err), "rqc_attach", err.text);
    bench_check(rqc_txn_new(w->db, &w->txn, &err), "rqc_txn_new", err.text);
    bench_workspace_row(0, &first);
    bench_check(rqc_put(w->txn, first.entity, first.id, first.value), "rqc_put", NULL);
    for (uint32_t k = 0; k < 2; k++) {
        bench_request_row(&w->s->data, 0, k, 0, &first);
        bench_check(rqc_put(w->txn, first.entity, first.id, first.value), "rqc_put", NULL);
    }
    bench_check(rqc_commit(w->txn, NULL), "rqc_commit", rqc_txn_error(w->txn));
    bench_sqlite_open(&w->other, path);
}

static void measure(struct streams *s, void *arg)
{
    static struct bench_samples told, returned, foreign, warm;
    struct writer w = {.s = s};
    char path[320], url[320];

    (void)arg;
    snprintf(path, sizeof path, "%s/sidecar.db", s->disk);
    snprintf(url, sizeof url, "ipc://%s/sidecar", s->memory);
    const pid_t pid = streams_sidecar(s, path, url);
    w.peer = streams_peer(s, streams_peer_reqcast, url);
    open_all(&w, path);
    streams_await(&s->shared->ready[w.peer], "a subscriber");
    for (uint32_t i = 0; i < WARM + s->samples; i++) {
        attached(&w, i < WARM ? &warm : &told, i < WARM ? &warm : &returned);
        streams_sleep_us(PAUSE_US);
        other(&w, i < WARM ? &warm : &foreign);
        streams_sleep_us(PAUSE_US);
    }
    printf("\nus through reqcastd, with the disk\n%-56s %8s %8s %8s\n", "", "p50", "p90", "p99");
    row(s, "attached: call of rqc_commit to callback", &told);
    row(s, "attached: call of rqc_commit to its return", &returned);
    row(s, "another program: its COMMIT returned to callback", &foreign);
    streams_peers_end(s);
    bench_sqlite_close(&w.other);
    rqc_txn_free(w.txn);
    rqc_close(w.db);
    streams_sidecar_end(pid);
}

void streams_sidecars(struct streams *s)
{
    streams_apart(s, measure, NULL);
}

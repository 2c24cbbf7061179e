// SPDX-License-Identifier: Apache-2.0
//
// A subscriber that begins at the beginning, and what one that never reads costs writers and the
// reqcastd.
#include "bench/streams.h"

#include "replicate/message.h"
#include "replicate/sp.h"

#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 5, MANY_REQUESTS = 91000, PAIRS = 3 };
enum {
    ROWS = 200,
    VALUE = 2000
}; // of a transaction, and bytes: more than is kept for a
   // subscriber in a few seconds

// ---- Catching up --------------------------------------------------------------------------------

struct walker {
    uint64_t changes;
    _Atomic bool done;
};

static void on_event(void *ctx, const rqc_event *e)
{
    struct walker *w = ctx;

    if (e->kind != RQC_EVENT_CHANGES)
        return;
    w->changes += e->n;
    if (!e->more)
        atomic_store(&w->done, true);
}

// Records a second, from the call of rqc_subscribe until the state is whole.
static double catch_up(const char *url, bool digest, uint64_t *ret_changes)
{
    struct walker w = {.changes = 0};
    rqc_sub_options o = RQC_SUB_OPTIONS_INIT;
    rqc_sub *sub;
    rqc_error err = {RQC_OK, ""};

    o.event = on_event;
    o.ctx = &w;
    o.digest = digest;
    const int64_t start = streams_now();
    bench_check(rqc_subscribe(url, &o, &sub, &err), "rqc_subscribe", err.text);
    streams_await(&w.done, "a subscriber");
    const double seconds = (double)(streams_now() - start) * 1e-9;
    rqc_unsubscribe(sub);
    *ret_changes = w.changes;
    return (double)w.changes / seconds;
}

static void one_size(struct streams *s, const char *path, const char *url)
{
    static struct bench_samples of[2];
    uint64_t changes = 0;
    char name[64];
    const pid_t pid = streams_sidecar(s, path, url);

    of[0].n = of[1].n = 0;
    for (int i = 0; i < ROUNDS; i++)
        for (int digest = 0; digest < 2; digest++)
            bench_sample(&of[digest], catch_up(url, digest, &changes));
    for (int digest = 0; digest < 2; digest++) {
        snprintf(name, sizeof name, "catch-up of %llu records%s", (unsigned long long)changes,
                 digest ? ", with digest" : "");
        printf("%-44s %12.0f\n", name, bench_quantile(&of[digest], 0.5));
        bench_emit(&s->report, name, "reqcast", "records/s", bench_quantile(&of[digest], 0.5),
                   &of[digest]);
    }
    fflush(stdout);
    streams_sidecar_end(pid);
}

static void load(struct streams *s, void *arg)
{
    const struct bench_data *d = arg;
    char path[320];

    snprintf(path, sizeof path, "%s/catch-up%u.db", s->disk, d->floor.requests);
    streams_load(s, path, d);
}

static void measure(struct streams *s, void *arg)
{
    const struct bench_data *d = arg;
    char path[320], url[320];

    snprintf(path, sizeof path, "%s/catch-up%u.db", s->disk, d->floor.requests);
    snprintf(url, sizeof url, "ipc://%s/catch-up", s->memory);
    one_size(s, path, url);
}

void streams_catch_up(struct streams *s)
{
    printf("\nrecords a second of a subscriber that catches up\n");
    streams_apart(s, load, &s->data);
    streams_apart(s, measure, &s->data);
    if (s->full) {
        struct bench_data many;
        bench_data_make(&many, MANY_REQUESTS, 100);
        streams_apart(s, load, &many);
        streams_apart(s, measure, &many);
        bench_data_free(&many);
    }
}

// ---- One that never reads -----------------------------------------------------------------------

struct burden {
    double rate; // rows a second
    uint64_t rss;
};

static void write_rows(struct streams *s, rqc_txn *t, pid_t pid, uint32_t *version,
                       struct burden *ret)
{
    static char value[VALUE];
    struct bench_row row;
    uint64_t rows = 0;
    const int64_t start = streams_now(), until = start + s->seconds * INT64_C(1000000000);

    ret->rss = 0;
    while (streams_now() < until) {
        ++*version;
        for (uint32_t i = 0; i < ROWS; i++) {
            bench_request_row(&s->data, i / BENCH_CHILDREN, 1 + i % BENCH_CHILDREN, *version, &row);
            memset(value, 'a' + (int)(*version % 26), sizeof value);
            row.value[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_textn(value, sizeof value);
            bench_check(rqc_put(t, row.entity, row.id, row.value), "rqc_put", rqc_txn_error(t));
        }
        bench_check(rqc_commit(t, NULL), "rqc_commit", rqc_txn_error(t));
        rows += ROWS;
        const uint64_t rss = streams_rss(pid);
        ret->rss = rss > ret->rss ? rss : ret->rss;
    }
    ret->rate = (double)rows / ((double)(streams_now() - start) * 1e-9);
}

// Connected, and no more.
static void connect_deaf(rqci_sp *sp, const char *url)
{
    rqci_sp_addr addr;
    rqci_errbuf err = {""};

    rqci_sp_init(sp);
    bench_check(rqci_sp_resolve(url, &addr, &err), url, err.text);
    bench_check(rqci_sp_open(sp, &addr, RQCI_SP_SUB, RQCI_FRAME_MAX, &err), url, err.text);
    for (int i = 0; i < 1000 && !sp->ready; i++) {
        bench_check(rqci_sp_work(sp, &err), url, err.text);
        streams_sleep_us(1000);
    }
}

static void first_rows(struct streams *s, rqc_txn *t)
{
    struct bench_row row;

    bench_workspace_row(0, &row);
    for (uint32_t ws = 0; ws < s->data.floor.workspaces; ws++) {
        bench_workspace_row(ws, &row);
        bench_check(rqc_put(t, row.entity, row.id, row.value), "rqc_put", rqc_txn_error(t));
    }
    for (uint32_t i = 0; i < ROWS / BENCH_CHILDREN; i++) {
        bench_request_row(&s->data, i, 0, 0, &row);
        bench_check(rqc_put(t, row.entity, row.id, row.value), "rqc_put", rqc_txn_error(t));
    }
    bench_check(rqc_commit(t, NULL), "rqc_commit", rqc_txn_error(t));
}

static void deaf(struct streams *s, void *arg)
{
    static struct bench_samples rate[2], rss[2];
    static const char *const names[] = {"no subscriber", "one that never reads"};
    char path[320], url[320], stream[320];
    rqc_options o = RQC_OPTIONS_INIT;
    rqc_error err = {RQC_OK, ""};
    rqc_db *db;
    rqc_txn *t;
    uint32_t version = 0;

    (void)arg;
    snprintf(path, sizeof path, "%s/deaf.db", s->disk);
    snprintf(url, sizeof url, "ipc://%s/deaf", s->memory);
    snprintf(stream, sizeof stream, "ipc://%s/deaf.all", s->memory);
    const pid_t pid = streams_sidecar(s, path, url);
    o.view_dir = s->memory;
    bench_check(rqc_attach(path, &o, &db, &err), "rqc_attach", err.text);
    bench_check(rqc_txn_new(db, &t, &err), "rqc_txn_new", err.text);
    first_rows(s, t);
    for (int i = 0; i < 2 * PAIRS; i++) {
        struct burden b;
        rqci_sp sp;
        if (i % 2 == 1)
            connect_deaf(&sp, stream);
        write_rows(s, t, pid, &version, &b);
        if (i % 2 == 1)
            rqci_sp_free(&sp);
        bench_sample(&rate[i % 2], b.rate);
        bench_sample(&rss[i % 2], (double)b.rss / 1048576);
    }
    printf("\nwriting through reqcastd, %d rows of %d bytes a transaction\n%-24s %12s %18s\n", ROWS,
           VALUE, "", "rows/s", "reqcastd, MiB most");
    // Memory that was needed once is not given back: the first round had needed none.
    const double most[] = {rss[0].v[0], bench_quantile(&rss[1], 1)};
    for (int k = 0; k < 2; k++) {
        printf("%-24s %12.0f %18.1f\n", names[k], bench_quantile(&rate[k], 0.5), most[k]);
        bench_emit(&s->report, names[k], "reqcast", "rows/s", bench_quantile(&rate[k], 0.5),
                   &rate[k]);
        bench_emit(&s->report, names[k], "reqcast", "MiB", most[k], NULL);
    }
    rqc_txn_free(t);
    rqc_close(db);
    streams_sidecar_end(pid);
}

void streams_deaf(struct streams *s)
{
    streams_apart(s, deaf, NULL);
}

// SPDX-License-Identifier: Apache-2.0
//
// concurrent [--requests N] [--workspaces N] [--seconds S] [--rate N] [--dir DIR] [--json FILE]
//
// One reading thread, then two, on one database: pages of 25 and windows of updates, without a
// writer and with one beside them that commits --rate single records a second. Embedded, attached
// from another process, SQLite with a connection for each thread, and memcpy as a measure of what
// the machine has left for a second thread. All take turns in one run.
#include "bench/concurrent.h"

#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 5, READERS = 2 };
enum { EMBEDDED, ATTACHED, SQLITE, COPY, CONTESTANTS };

static const char *const names[CONTESTANTS] = {"embedded", "attached", "SQLite", "memcpy"};

struct options {
    uint32_t requests, workspaces, rate;
    double seconds;
    const char *dir, *json;
};

struct writer {
    struct concurrent *b;
    bool sqlite;
    pthread_t thread;
    atomic_bool stop;
    rqc_txn *txn;
    struct bench_sqlite bare;
    uint64_t rng, commits;
    double seconds;
};

struct concurrent {
    const struct options *o;
    struct bench_data data;
    struct bench_report report;
    char path[320], bare_path[320];
    rqc_db *db;
    struct writer writer[2];
};

struct cell {
    struct bench_samples rate, commits, us;
};

// ---- the writer ---------------------------------------------------------------------------------

static void write_one(struct writer *w)
{
    const struct bench_data *d = &w->b->data;
    struct bench_row row;

    bench_request_row(d, floor_below(&w->rng, d->floor.requests),
                      floor_below(&w->rng, d->floor.per_request), 1 + floor_below(&w->rng, 1000),
                      &row);
    if (w->sqlite) {
        bench_sqlite_step(&w->bare, w->bare.begin);
        bench_sqlite_put(&w->bare, &row, true);
        bench_sqlite_step(&w->bare, w->bare.commit);
    } else {
        bench_check(rqc_put(w->txn, row.entity, row.id, row.value), "rqc_put",
                    rqc_txn_error(w->txn));
        bench_check(rqc_commit(w->txn, NULL), "rqc_commit", rqc_txn_error(w->txn));
    }
    w->commits++;
}

// At a steady rate; what could not be done in time is not made up for.
static void *writer_main(void *arg)
{
    struct writer *w = arg;
    const double gap = 1.0 / w->b->o->rate, start = floor_now();
    double next = start;

    while (!atomic_load(&w->stop)) {
        write_one(w);
        const double now = floor_now();
        next = next + gap > now ? next + gap : now;
        const long ns = (long)((next - now) * 1e9);
        const struct timespec t = {ns / 1000000000, ns % 1000000000};
        (void)nanosleep(&t, NULL);
    }
    w->seconds = floor_now() - start;
    return NULL;
}

static void writer_start(struct writer *w)
{
    atomic_store(&w->stop, false);
    w->commits = 0;
    if (pthread_create(&w->thread, NULL, writer_main, w) != 0)
        floor_die("pthread_create", "no thread");
}

// Commits a second.
static double writer_stop(struct writer *w)
{
    atomic_store(&w->stop, true);
    (void)pthread_join(w->thread, NULL);
    return (double)w->commits / w->seconds;
}

// ---- one operation ------------------------------------------------------------------------------

static void measure(struct concurrent *b, enum read_op op, int who, unsigned readers, bool writes,
                    struct cell *cell)
{
    static struct crew_result result;
    struct writer *w = &b->writer[who == SQLITE];
    struct crew_order o = {.kind = who == SQLITE ? CREW_SQLITE
                                   : who == COPY ? CREW_MEMCPY
                                                 : CREW_SESSION,
                           .op = op,
                           .readers = readers,
                           .requests = b->o->requests,
                           .workspaces = b->o->workspaces,
                           .seconds = b->o->seconds / ROUNDS};

    snprintf(o.path, sizeof o.path, "%s", who == SQLITE ? b->bare_path : b->path);
    if (writes)
        writer_start(w);
    if (who == ATTACHED)
        crew_run_attached(&o, &result);
    else
        crew_run(&o, b->db, &result);
    if (writes)
        bench_sample(&cell->commits, writer_stop(w));
    bench_sample(&cell->rate, result.per_second);
    for (unsigned i = 0; i < result.us.n; i++)
        bench_sample(&cell->us, result.us.v[i]);
    cell->us.max = result.us.max > cell->us.max ? result.us.max : cell->us.max;
}

static void report(struct concurrent *b, const char *op, int who, bool writes, struct cell *cell)
{
    const char *beside = writes ? "a writer" : "no writer";
    double rate[READERS], p99[READERS];
    char name[96];

    printf("%-22s %-9s %-9s", op, beside, names[who]);
    for (unsigned n = 1; n <= READERS; n++) {
        struct cell *c = &cell[n - 1];
        rate[n - 1] = bench_quantile(&c->rate, 0.5);
        p99[n - 1] = bench_quantile(&c->us, 0.99);
        snprintf(name, sizeof name, "%s, %u reader%s, %s", op, n, n == 1 ? "" : "s", beside);
        bench_emit(&b->report, name, names[who], "operations/s", rate[n - 1], &c->rate);
        bench_emit(&b->report, name, names[who], "us", bench_quantile(&c->us, 0.5), &c->us);
        if (writes)
            bench_emit(&b->report, name, names[who], "commits/s", bench_quantile(&c->commits, 0.5),
                       &c->commits);
        printf(" %10.0f %8.2f %8.2f", rate[n - 1], bench_quantile(&c->us, 0.5), p99[n - 1]);
    }
    snprintf(name, sizeof name, "%s, 2 readers to 1, %s", op, beside);
    bench_emit(&b->report, name, names[who], "times", rate[1] / rate[0], NULL);
    printf(" %8.2f %8.2f %10.0f\n", rate[1] / rate[0], p99[1] / p99[0],
           bench_quantile(&cell[1].commits, 0.5));
    fflush(stdout);
}

static void run(struct concurrent *b, enum read_op op, const char *name, bool writes)
{
    struct cell(*cells)[READERS] = floor_alloc(CONTESTANTS, sizeof *cells);

    for (int round = 0; round < ROUNDS; round++) {
        for (int who = 0; who < CONTESTANTS; who++) {
            for (unsigned n = 1; n <= READERS; n++)
                measure(b, op, who, n, writes, &cells[who][n - 1]);
        }
    }
    for (int who = 0; who < CONTESTANTS; who++)
        report(b, name, who, writes, cells[who]);
    free(cells);
}

// ---- all of it ----------------------------------------------------------------------------------

static void prepare(struct concurrent *b, const char *const *folders)
{
    rqc_error err = {RQC_OK, ""};

    bench_need_disk(folders[0]);
    snprintf(b->path, sizeof b->path, "%s/bench.db", folders[0]);
    snprintf(b->bare_path, sizeof b->bare_path, "%s/bare.db", folders[0]);
    bench_data_make(&b->data, b->o->requests, b->o->workspaces);
    bench_report_open(&b->report, "concurrent", b->o->json, &b->data, folders[0]);
    (void)bench_load_sqlite(&b->data, b->path);
    (void)bench_load_sqlite(&b->data, b->bare_path);
    b->db = bench_open(b->path, folders[1], false);
    for (int i = 0; i < 2; i++) {
        b->writer[i].b = b;
        b->writer[i].sqlite = i == 1;
        b->writer[i].rng = 7;
    }
    bench_check(rqc_txn_new(b->db, &b->writer[0].txn, &err), "rqc_txn_new", err.text);
    bench_sqlite_open(&b->writer[1].bare, b->bare_path);
}

static void bench(void *arg, const char *const *folders)
{
    struct concurrent b = {.o = arg};

    prepare(&b, folders);
    printf("concurrent: %u requests, %u workspaces, %u records; a writer: %u commits a second\n\n"
           "operations a second, and us of one; 2 to 1: throughput, p99\n"
           "%-22s %-9s %-9s %10s %8s %8s %10s %8s %8s %8s %8s %10s\n",
           b.o->requests, b.o->workspaces, b.data.rows, b.o->rate, "", "", "", "1 reader", "p50",
           "p99", "2 readers", "p50", "p99", "2 to 1", "p99", "commits/s");
    for (int writes = 0; writes < 2; writes++) {
        run(&b, OP_PAGE_MIDDLE, "page of 25", writes == 1);
        run(&b, OP_UPDATES, "updates, window of 60", writes == 1);
    }
    rqc_txn_free(b.writer[0].txn);
    bench_sqlite_close(&b.writer[1].bare);
    rqc_close(b.db);
    bench_report_close(&b.report);
    bench_data_free(&b.data);
}

static void parse(struct options *o, int argc, char **argv)
{
    static const struct option table[] = {
        {"requests", required_argument, NULL, 'r'},
        {"workspaces", required_argument, NULL, 'w'},
        {"seconds", required_argument, NULL, 's'},
        {"rate", required_argument, NULL, 'c'},
        {"dir", required_argument, NULL, 'd'},
        {"json", required_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    int c;

    *o = (struct options){.requests = 1000, .workspaces = 1, .seconds = 3, .rate = 200, .dir = "."};
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (c) {
        case 'r': o->requests = floor_number(optarg, 10000000); break;
        case 'w': o->workspaces = floor_number(optarg, 1000000); break;
        case 's': o->seconds = bench_seconds(optarg); break;
        case 'c': o->rate = floor_number(optarg, 100000); break;
        case 'd': o->dir = optarg; break;
        case 'j': o->json = optarg; break;
        default: exit(2);
        }
    }
    if (optind != argc || o->workspaces > o->requests)
        floor_die("usage", "concurrent [--requests N] [--workspaces N] [--seconds S] [--rate N]"
                           " [--dir DIR] [--json FILE]");
}

int main(int argc, char **argv)
{
    struct options o;

    if (argc == 2 && strcmp(argv[1], crew_attached_argument) == 0)
        return crew_attached_main();
    parse(&o, argc, argv);
    const char *parents[] = {o.dir, "/dev/shm", NULL};
    return floor_in_folders(parents, bench, &o);
}

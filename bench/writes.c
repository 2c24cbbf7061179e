// SPDX-License-Identifier: Apache-2.0
//
// writes [--requests N] [--workspaces N] [--seconds S] [--dir DIR] [--json FILE]
//        [--program REQCAST] [--har FILE] [--no-redis]
//        [--only transactions,threads,load,backup,open,import]
//
// What durable transactions cost, beside SQLite with the same tables and the same durability, but
// without log and view, and beside Redis with an append-only file; several writers; loads and
// backups; opening and building; an import by the program.
#include "bench/writes.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

struct options {
    uint32_t requests, workspaces;
    double seconds;
    bool redis;
    const char *dir, *json, *har, *only;
    char program[512];
};

void writes_new_row(const struct writes *w, struct writes_stream *s, struct bench_row *row)
{
    uint64_t first = w->data.floor.requests, n = s->next++, per = w->data.floor.per_request;

    bench_request_row(&w->data, first + n / per, (uint32_t)(n % per), 0, row);
}

void writes_old_row(const struct writes *w, uint64_t *rng, struct bench_row *row)
{
    uint32_t req = floor_below(rng, w->data.floor.requests);
    uint32_t k = floor_below(rng, w->data.floor.per_request);

    bench_request_row(&w->data, req, k, 1 + floor_below(rng, 1000), row);
}

static const struct {
    const char *name;
    void (*run)(struct writes *w);
} parts[] = {
    {"transactions", writes_transactions},
    {"threads", writes_threads},
    {"load", writes_load},
    {"backup", writes_backup},
    {"open", writes_open},
    {"import", writes_import},
};

static void bench(void *arg, const char *const *folders)
{
    const struct options *o = arg;
    struct writes w = {.disk = folders[0],
                       .memory = folders[1],
                       .seconds = o->seconds,
                       .program = o->program,
                       .har = o->har};

    bench_need_disk(w.disk);
    snprintf(w.path, sizeof w.path, "%s/bench.db", w.disk);
    snprintf(w.bare_path, sizeof w.bare_path, "%s/bare.db", w.disk);
    bench_data_make(&w.data, o->requests, o->workspaces);
    bench_report_open(&w.report, "writes", o->json, &w.data, w.disk);
    printf("writes: %u requests, %u workspaces, %u records to begin with\n", o->requests,
           o->workspaces, w.data.rows);
    (void)bench_load_sqlite(&w.data, w.path);
    (void)bench_load_sqlite(&w.data, w.bare_path);
    double start = floor_now();
    w.db = bench_open(w.path, w.memory, false);
    printf("rqc_open of a database it never saw: %.0f ms, %.0f records/s\n",
           (floor_now() - start) * 1e3, w.data.rows / (floor_now() - start));
    if (o->redis)
        w.redis = writes_redis_start(&w, w.disk);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (o->only == NULL || strstr(o->only, parts[i].name) != NULL)
            parts[i].run(&w);
    }
    writes_redis_stop(w.redis);
    rqc_close(w.db);
    bench_report_close(&w.report);
    bench_data_free(&w.data);
}

static void parse(struct options *o, int argc, char **argv)
{
    static const struct option table[] = {
        {"requests", required_argument, NULL, 'r'}, {"workspaces", required_argument, NULL, 'w'},
        {"seconds", required_argument, NULL, 's'},  {"dir", required_argument, NULL, 'd'},
        {"json", required_argument, NULL, 'j'},     {"program", required_argument, NULL, 'p'},
        {"har", required_argument, NULL, 'h'},      {"only", required_argument, NULL, 'o'},
        {"no-redis", no_argument, NULL, 'R'},       {NULL, 0, NULL, 0},
    };
    int c;

    *o = (struct options){
        .requests = 1000, .workspaces = 1, .seconds = 3, .dir = ".", .redis = true};
    floor_program(o->program, sizeof o->program, "/api/cli/reqcast");
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (c) {
        case 'r': o->requests = floor_number(optarg, 10000000); break;
        case 'w': o->workspaces = floor_number(optarg, 1000000); break;
        case 's': o->seconds = bench_seconds(optarg); break;
        case 'd': o->dir = optarg; break;
        case 'j': o->json = optarg; break;
        case 'p': snprintf(o->program, sizeof o->program, "%s", optarg); break;
        case 'o': o->only = optarg; break;
        case 'R': o->redis = false; break;
        case 'h': o->har = optarg; break;
        default: exit(2);
        }
    }
    if (optind != argc || o->workspaces > o->requests)
        floor_die("usage", "writes [--requests N] [--workspaces N] [--seconds S] [--dir DIR]"
                           " [--json FILE] [--program REQCAST] [--har FILE]"
                           " [--no-redis] [--only transactions,threads,load,backup,open,import]");
}

int main(int argc, char **argv)
{
    struct options o;

    parse(&o, argc, argv);
    const char *parents[] = {o.dir, "/dev/shm", NULL};
    return floor_in_folders(parents, bench, &o);
}

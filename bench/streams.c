// SPDX-License-Identifier: Apache-2.0
//
// streams [--samples N] [--seconds S] [--full N] [--dir DIR] [--json FILE] [--program REQCASTD]
//         [--only latency|view|rate|sidecar|door|catch-up|deaf]
//
// How soon and how fast subscribers have what was committed, beside nng PUB/SUB alone and Redis
// pub/sub in the same run, in turns; how fast they catch up; what one that never reads costs.
// --full 1: catches up with a million records, too.
#include "bench/streams.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { REQUESTS = 10000, WORKSPACES = 10 };

struct options {
    uint32_t samples, seconds, full;
    const char *dir, *json, *only;
    char program[512];
};

static const struct {
    const char *name;
    void (*run)(struct streams *s);
} parts[] = {
    {"latency", streams_latency},  {"view", streams_view}, {"rate", streams_rate},
    {"sidecar", streams_sidecars}, {"door", streams_door}, {"catch-up", streams_catch_up},
    {"deaf", streams_deaf},
};

static void bench(void *arg, const char *const *folders)
{
    const struct options *o = arg;
    static struct streams s;

    s = (struct streams){.disk = folders[0],
                         .memory = folders[1],
                         .program = o->program,
                         .samples = o->samples,
                         .seconds = o->seconds,
                         .full = o->full};
    bench_need_disk(s.disk);
    (void)signal(SIGPIPE, SIG_IGN);
    s.shared =
        mmap(NULL, sizeof *s.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s.shared == MAP_FAILED)
        floor_die("mmap", strerror(errno));
    snprintf(s.path, sizeof s.path, "%s/bench.db", s.disk);
    bench_data_make(&s.data, REQUESTS, WORKSPACES);
    bench_report_open(&s.report, "streams", o->json, &s.data, s.disk);
    printf("streams: %u samples, %u records\n", o->samples, s.data.rows);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (o->only == NULL || strcmp(o->only, parts[i].name) == 0)
            parts[i].run(&s);
    bench_report_close(&s.report);
    bench_data_free(&s.data);
}

static void parse(struct options *o, int argc, char **argv)
{
    static const struct option table[] = {
        {"samples", required_argument, NULL, 'n'}, {"seconds", required_argument, NULL, 's'},
        {"full", required_argument, NULL, 'f'},    {"dir", required_argument, NULL, 'd'},
        {"json", required_argument, NULL, 'j'},    {"program", required_argument, NULL, 'p'},
        {"only", required_argument, NULL, 'o'},    {NULL, 0, NULL, 0},
    };
    int c;

    *o = (struct options){.samples = 1000, .seconds = 4, .dir = "."};
    floor_program(o->program, sizeof o->program, "/api/daemon/reqcastd");
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (c) {
        case 'n': o->samples = floor_number(optarg, BENCH_SAMPLES_MAX); break;
        case 's': o->seconds = floor_number(optarg, 3600); break;
        case 'f': o->full = floor_number(optarg, 1); break;
        case 'd': o->dir = optarg; break;
        case 'j': o->json = optarg; break;
        case 'p': snprintf(o->program, sizeof o->program, "%s", optarg); break;
        case 'o': o->only = optarg; break;
        default: exit(2);
        }
    }
    if (optind != argc)
        floor_die("usage", "streams [--samples N] [--seconds S] [--full 1] [--dir DIR]"
                           " [--json FILE] [--program REQCASTD]"
                           " [--only latency|view|rate|sidecar|door|catch-up|deaf]");
}

int main(int argc, char **argv)
{
    struct options o;

    parse(&o, argc, argv);
    const char *parents[] = {o.dir, "/dev/shm", NULL};
    return floor_in_folders(parents, bench, &o);
}

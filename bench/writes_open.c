// SPDX-License-Identifier: Apache-2.0
//
// Opening, building the view, and an import by the program.
#include "bench/writes.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { OPENS = 7, IMPORTS = 5 };

static double timed_open(struct writes *w, rqc_db **db)
{
    double start = floor_now();

    *db = bench_open(w->path, w->memory, false);
    return floor_now() - start;
}

// A view that does not exist, for the price of a build alone.
static void remove_views(const struct writes *w)
{
    char command[400];

    snprintf(command, sizeof command, "rm -rf '%s'/reqcast*", w->memory);
    if (system(command) != 0)
        floor_die(command, "failed");
}

void writes_open(struct writes *w)
{
    struct bench_samples intact = {.n = 0}, build = {.n = 0}, closing = {.n = 0};
    rqc_stats st = {.size = sizeof st};
    rqc_error err = {RQC_OK, ""};

    bench_check(rqc_stats_read(w->db, &st, &err), "rqc_stats_read", err.text);
    double n = (double)st.records;
    for (int i = 0; i < OPENS; i++) {
        double start = floor_now();
        rqc_close(w->db);
        bench_sample(&closing, (floor_now() - start) * 1e3);
        bench_sample(&intact, timed_open(w, &w->db) * 1e3);
    }
    for (int i = 0; i < OPENS; i++) {
        rqc_close(w->db);
        remove_views(w);
        bench_sample(&build, n / timed_open(w, &w->db));
    }
    printf("\nrqc_open, intact view         %10.2f ms   rqc_close %.2f ms\n"
           "rqc_open, no view             %10.0f records/s (%.0f records)\n",
           bench_quantile(&intact, 0.5), bench_quantile(&closing, 0.5), bench_quantile(&build, 0.5),
           n);
    bench_emit(&w->report, "rqc_open, intact view", "reqcast", "ms", bench_quantile(&intact, 0.5),
               &intact);
    bench_emit(&w->report, "rqc_open, no view", "reqcast", "records/s", bench_quantile(&build, 0.5),
               &build);
}

// Seconds of `reqcast --db FILE import HAR`.
static double import(const struct writes *w, int round)
{
    char db[400], word[] = "import", option[] = "--db", json[] = "--json";
    char program[512], har[512];
    char *argv[] = {program, json, option, db, word, har, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;

    snprintf(db, sizeof db, "%s/import-%d.db", w->disk, round);
    snprintf(program, sizeof program, "%s", w->program);
    snprintf(har, sizeof har, "%s", w->har);
    double start = floor_now();
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    int rc = posix_spawn(&pid, program, &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (rc != 0)
        floor_die(program, strerror(rc));
    if (waitpid(pid, &status, 0) < 0 || status != 0)
        floor_die(har, "the import failed");
    return floor_now() - start;
}

void writes_import(struct writes *w)
{
    struct bench_samples s = {.n = 0};

    if (w->har == NULL || access(w->har, R_OK) != 0)
        return;
    for (int i = 0; i < IMPORTS; i++)
        bench_sample(&s, import(w, i));
    printf("\nimport                        %10.3f s (median of %d)\n", bench_quantile(&s, 0.5),
           IMPORTS);
    bench_emit(&w->report, "import", "reqcast", "s", bench_quantile(&s, 0.5), &s);
}

// SPDX-License-Identifier: Apache-2.0
//
// Sampling, the table and the JSON.
#include "bench/floor.h"

#include <stdlib.h>
#include <string.h>

enum { ROUNDS_MIN = 31, ROUNDS_MAX = 301, WARM_ROUNDS = 3, WARM_RUNS = 4, INNER_MAX = 64 };
static const double group_seconds = 2.0;

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void keep(struct floor_bench *b, struct floor_result r)
{
    if (b->n_results == b->cap_results) {
        b->cap_results = b->cap_results * 2 + 64;
        b->results = realloc(b->results, b->cap_results * sizeof *b->results);
        if (b->results == NULL)
            floor_die("results", "out of memory");
    }
    b->results[b->n_results++] = r;
}

void floor_note(struct floor_bench *b, const char *group, const char *name, const char *unit,
                double value)
{
    printf("%-26s %-26s %10.1f %s\n", group, name, value, unit);
    keep(b, (struct floor_result){group, name, unit, value, value, value, 1, 0});
}

static void check_equal(const struct floor_bench *b, const struct floor_group *g)
{
    struct floor_tally first = {0};
    struct floor_target *t = floor_alloc(1, sizeof *t);

    for (unsigned round = 0; round < 8; round++) {
        for (unsigned i = 0; i < g->n; i++) {
            uint64_t rng = round + 100;
            struct floor_tally now = {0};
            g->aim(&b->data, &rng, t);
            g->cases[i].run(&g->cases[i], t, &now);
            if (i == 0)
                first = now;
            if (now.count != first.count || now.ids != first.ids || now.times != first.times ||
                (!g->cases[i].sqlite && now.rest != first.rest))
                floor_die(g->name, "two layouts give different answers");
        }
    }
    free(t);
}

static void aim(const struct floor_bench *b, const struct floor_group *g, uint64_t *rng,
                struct floor_target *targets)
{
    for (unsigned i = 0; i < g->inner; i++)
        g->aim(&b->data, rng, &targets[i]);
}

// One sample: ns of one operation. Targets are made before the clock starts. The case first runs
// for other targets, unmeasured: it shall find the caches as it left them, not as its neighbours
// did, since a process has one layout only.
static double sample(const struct floor_bench *b, const struct floor_group *g,
                     const struct floor_case *c, uint64_t *rng, struct floor_target *targets,
                     struct floor_tally *tally)
{
    struct floor_tally ignored = {0};

    for (unsigned w = 0; w < WARM_RUNS && !g->writes; w++) {
        aim(b, g, rng, targets);
        for (unsigned i = 0; i < g->inner; i++)
            c->run(c, &targets[i], &ignored);
    }
    aim(b, g, rng, targets);
    double start = floor_now();
    for (unsigned i = 0; i < g->inner; i++)
        c->run(c, &targets[i], tally);
    return (floor_now() - start) * 1e9 / g->inner;
}

static void report(struct floor_bench *b, const struct floor_group *g, const char *name, double *v,
                   unsigned n, double items)
{
    qsort(v, n, sizeof *v, compare_doubles);
    double p10 = v[n / 10], median = v[n / 2], p90 = v[n - 1 - n / 10];
    printf("%-26s %-26s %10.2f %10.2f %10.2f", g->name, name, median / 1e3, p10 / 1e3, p90 / 1e3);
    if (items > 0)
        printf(" %8.0f", median / items);
    putchar('\n');
    keep(b, (struct floor_result){g->name, name, "ns", median, p10, p90, n, items});
}

void floor_run_group(struct floor_bench *b, const struct floor_group *g)
{
    static uint64_t seed = 1;
    uint64_t rng = seed += 1000003;
    struct floor_tally tally[FLOOR_GROUP_MAX];
    struct floor_target *targets = floor_alloc(INNER_MAX, sizeof *targets);
    double *v = floor_alloc((size_t)g->n * ROUNDS_MAX, sizeof *v);
    unsigned rounds = 0;

    memset(tally, 0, sizeof tally);
    if (!g->writes)
        check_equal(b, g);
    for (unsigned i = 0; i < WARM_ROUNDS * g->n; i++)
        (void)sample(b, g, &g->cases[i % g->n], &rng, targets, &tally[i % g->n]);
    memset(tally, 0, sizeof tally);
    double start = floor_now();
    while (rounds < ROUNDS_MIN || (rounds < ROUNDS_MAX && floor_now() - start < group_seconds)) {
        for (unsigned i = 0; i < g->n; i++)
            v[i * ROUNDS_MAX + rounds] = sample(b, g, &g->cases[i], &rng, targets, &tally[i]);
        rounds++;
    }
    for (unsigned i = 0; i < g->n; i++)
        report(b, g, g->cases[i].name, v + i * ROUNDS_MAX, rounds,
               (double)tally[i].count / rounds / g->inner);
    fflush(stdout);
    free(v);
    free(targets);
}

void floor_write_json(const struct floor_bench *b, const char *path)
{
    FILE *f = fopen(path, "w");

    if (f == NULL)
        floor_die(path, "cannot be written");
    fprintf(f,
            "{\"bench\":\"floor\",\"requests\":%u,\"workspaces\":%u,\"children\":%u,"
            "\"records\":%u,\"random_ids\":%s,\"results\":[",
            b->data.requests, b->data.workspaces, b->data.children, b->data.records,
            b->data.random_ids ? "true" : "false");
    for (size_t i = 0; i < b->n_results; i++) {
        const struct floor_result *r = &b->results[i];
        fprintf(f,
                "%s\n{\"group\":\"%s\",\"name\":\"%s\",\"unit\":\"%s\",\"median\":%.1f,"
                "\"p10\":%.1f,\"p90\":%.1f,\"samples\":%u,\"records\":%.1f}",
                i > 0 ? "," : "", r->group, r->name, r->unit, r->median, r->p10, r->p90, r->samples,
                r->items);
    }
    fprintf(f, "\n]}\n");
    if (fclose(f) != 0)
        floor_die(path, "cannot be written");
}

// SPDX-License-Identifier: Apache-2.0
//
// floor [--requests N] [--workspaces N] [--children N] [--random-ids] [--no-sqlite] [--json FILE]
//
// Measures what LMDB costs for each candidate layout of the view, and SQLite for the same
// questions.
#include "bench/floor.h"

#include <getopt.h>
#include <stdlib.h>

struct options {
    struct floor_data data;
    const char *json;
    bool no_sqlite;
};

static void parse(struct options *o, int argc, char **argv)
{
    static const struct option table[] = {
        {"requests", required_argument, NULL, 'r'},
        {"workspaces", required_argument, NULL, 'w'},
        {"children", required_argument, NULL, 'c'},
        {"random-ids", no_argument, NULL, 'i'},
        {"json", required_argument, NULL, 'j'},
        {"no-sqlite", no_argument, NULL, 's'},
        {NULL, 0, NULL, 0},
    };
    int c;

    o->data = (struct floor_data){.requests = 1000, .workspaces = 1, .children = 5};
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (c) {
        case 'r': o->data.requests = floor_number(optarg, 10000000); break;
        case 'w': o->data.workspaces = floor_number(optarg, 1000000); break;
        case 'c': o->data.children = floor_number(optarg, FLOOR_CHILDREN_MAX); break;
        case 'i': o->data.random_ids = true; break;
        case 'j': o->json = optarg; break;
        case 's': o->no_sqlite = true; break;
        default: exit(2);
        }
    }
    if (optind != argc || o->data.workspaces > o->data.requests ||
        o->data.requests > UINT32_MAX / (1 + 2 * o->data.children))
        floor_die("usage", "floor [--requests N] [--workspaces N] [--children N] [--random-ids]"
                           " [--no-sqlite] [--json FILE]");
}

static void bench(const struct options *o, const char *root)
{
    struct floor_bench b = {.data = o->data};
    double seconds, start = floor_now();
    uint64_t bytes;

    snprintf(b.root, sizeof b.root, "%s", root);
    floor_data_make(&b.data);
    printf("%u requests, %u workspaces, %u records, %s ids; LMDB %s\n", b.data.requests,
           b.data.workspaces, b.data.records, b.data.random_ids ? "random" : "ULID",
           mdb_version(NULL, NULL, NULL));
    floor_builds(&b);
    if (!o->no_sqlite) {
        b.sqlite = floor_sqlite_make(&b.data, b.root, &seconds, &bytes);
        floor_note(&b, "build, append", "SQLite", "records/s", b.data.records / seconds);
        floor_note(&b, "memory, append", "SQLite", "bytes/record", (double)bytes / b.data.records);
    }
    printf("\n%-26s %-26s %10s %10s %10s %8s\n", "operation", "layout", "median us", "p10", "p90",
           "ns/rec");
    floor_read_groups(&b);
    floor_updates(&b);
    if (o->json != NULL)
        floor_write_json(&b, o->json);
    printf("%.0f s\n", floor_now() - start);
    floor_sqlite_close(b.sqlite);
    for (int l = 0; l < FLOOR_LAYOUTS; l++)
        floor_view_close(&b.view[l], true);
    floor_data_free(&b.data);
    free(b.results);
}

static void run(void *arg, const char *const *dirs)
{
    bench(arg, dirs[0]);
}

int main(int argc, char **argv)
{
    static const char *const parents[] = {"/dev/shm", NULL};
    struct options o = {.json = NULL};

    parse(&o, argc, argv);
    return floor_in_folders(parents, run, &o);
}

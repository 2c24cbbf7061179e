// SPDX-License-Identifier: Apache-2.0
//
// instructions make FOLDER    a database and its view in an empty folder
// instructions read FOLDER    each read OPERATIONS times
//
// The first line names the compiler; then come name, operations and records of each read.
// Reads to be counted, not timed. Under callgrind (--collect-atstart=no) only the reads themselves
// are counted, and there is a dump behind each kind of them. Everything follows from numbers, so
// two runs execute the same. Status 77: built without valgrind's header.
#include "bench/reads.h"

#include <stdlib.h>
#include <string.h>
#ifdef RQC_BENCH_CALLGRIND
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_TOGGLE_COLLECT
#define CALLGRIND_DUMP_STATS_AT(name) (void)(name)
#endif

enum { REQUESTS = 1000, OPERATIONS = 50, WARM = 2, MAP_BYTES = 64 << 20 };

// With a map that valgrind finds room for.
static rqc_db *open_view(const char *folder, const char *path)
{
    rqc_options o = RQC_OPTIONS_INIT;
    rqc_error err = {RQC_OK, ""};
    rqc_db *db = NULL;

    o.view_dir = folder;
    o.view_map_bytes = MAP_BYTES;
    bench_check(rqc_open(path, &o, &db, &err), path, err.text);
    return db;
}

static void make(const struct bench_data *d, const char *folder, const char *path)
{
    (void)bench_load_sqlite(d, path);
    rqc_close(open_view(folder, path));
}

static void run(rqc_db *db, struct reads_session *s, const struct bench_data *d, enum read_op op)
{
    struct read_target *t = floor_alloc(WARM + OPERATIONS, sizeof *t);
    read_tally tally = {0};
    uint64_t rng = (uint64_t)op + 1;

    for (unsigned i = 0; i < WARM + OPERATIONS; i++)
        read_ops[op].aim(d, &rng, &t[i]);
    if (op == OP_CHANGES)
        reads_find_positions(db, t, WARM + OPERATIONS);
    // Lists have the room they need before anything is counted.
    for (unsigned i = 0; i < WARM; i++)
        reads_session_run(s, op, &t[i], &tally);
    memset(&tally, 0, sizeof tally);
    CALLGRIND_TOGGLE_COLLECT;
    for (unsigned i = 0; i < OPERATIONS; i++)
        reads_session_run(s, op, &t[WARM + i], &tally);
    CALLGRIND_TOGGLE_COLLECT;
    CALLGRIND_DUMP_STATS_AT(read_ops[op].name);
    printf("%s\t%d\t%llu\n", read_ops[op].name, OPERATIONS, (unsigned long long)tally.count);
    free(t);
}

static void read_all(const struct bench_data *d, const char *folder, const char *path)
{
#ifdef __clang__
    const char *compiler = "clang";
#else
    const char *compiler = "gcc";
#endif
    rqc_db *db = open_view(folder, path);
    struct reads_session *s = reads_session_new(db);

#ifndef __OPTIMIZE__
    compiler = "none"; // that optimizes
#endif
    printf("compiler\t%s\n", compiler);
    for (int op = 0; op < OP_COUNT_OF_OPS; op++)
        run(db, s, d, (enum read_op)op);
    reads_session_free(s);
    rqc_close(db);
}

int main(int argc, char **argv)
{
    struct bench_data d;
    char path[512];

    if (argc != 3 || (strcmp(argv[1], "make") != 0 && strcmp(argv[1], "read") != 0))
        floor_die("usage", "instructions make|read FOLDER");
#ifndef RQC_BENCH_CALLGRIND
    fprintf(stderr, "instructions: built without valgrind/callgrind.h\n");
    return 77;
#endif
    snprintf(path, sizeof path, "%s/bench.db", argv[2]);
    bench_data_make(&d, REQUESTS, 1);
    if (strcmp(argv[1], "make") == 0)
        make(&d, argv[2], path);
    else
        read_all(&d, argv[2], path);
    bench_data_free(&d);
    return 0;
}

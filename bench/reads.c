// SPDX-License-Identifier: Apache-2.0
//
// reads [--requests N] [--workspaces N] [--load sqlite|add] [--seconds S] [--dir DIR] [--json FILE]
//       [--only NAME] [--no-redis] [--lean]
//
// What reads cost through the public API, embedded and attached from another process, beside LMDB
// by hand, SQLite, Redis, and memcpy of the answer. All take turns in one run.
#include "bench/reads.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum { CHECKS = 16, ALLOCATION_RUNS = 50, CONTESTANTS = 7 };
// Bytes of a record, more than it takes: in the view, in the floor's and in SQLite's cache; for
// those that --lean leaves out.
enum { BYTES_LEAN = 1400, BYTES_REST = 1000, BYTES_SETTLE = 700, ROWS_REQUEST = 12 };
#define SAMPLE_SECONDS 0.01
enum { EMBEDDED, ATTACHED, FLOOR, SQLITE, MEMORY, REDIS, COPY };

struct options {
    uint32_t requests, workspaces;
    double seconds;
    bool add, redis, memory;
    const char *dir, *json, *only;
};

struct reads {
    const struct options *o;
    struct bench_data data;
    struct bench_report report;
    char path[512];
    rqc_db *db;
    struct reads_session *session, *copy;
    struct reads_attached *attached;
    struct reads_floor *floor;
    struct reads_sqlite *sqlite, *memory;
    struct reads_redis *redis;
    struct contestant c[CONTESTANTS];
    struct read_target *targets;
    uint64_t rng;
};

double read_measure(const struct contestant *c, enum read_op op, const struct read_target *t,
                    unsigned warm, unsigned n, read_tally *tally)
{
    read_tally ignored = {0};

    if (c->measure != NULL)
        return c->measure(c, op, t, warm, n, tally);
    for (unsigned i = 0; i < warm; i++)
        c->run(c->self, op, &t[i], &ignored);
    double start = floor_now();
    for (unsigned i = 0; i < n; i++)
        c->run(c->self, op, &t[warm + i], tally);
    return floor_now() - start;
}

static bool can(const struct contestant *c, enum read_op op)
{
    return c->can == NULL || c->can(c->self, op);
}

// ---- targets ------------------------------------------------------------------------------------

static void aim(struct reads *b, enum read_op op, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        read_ops[op].aim(&b->data, &b->rng, &b->targets[i]);
    if (op == OP_CHANGES)
        reads_find_positions(b->db, b->targets, n);
}

// ---- answers and allocations --------------------------------------------------------------------

static void check_equal(struct reads *b, enum read_op op)
{
    for (int round = 0; round < CHECKS; round++) {
        read_tally first = {0};
        aim(b, op, 1);
        for (int i = 0; i < CONTESTANTS; i++) {
            const struct contestant *c = &b->c[i];
            read_tally now = {0};
            if (!can(c, op) || c->silent)
                continue;
            (void)read_measure(c, op, b->targets, 0, 1, &now);
            if (i == EMBEDDED)
                first = now;
            if (now.count != first.count || now.ids != first.ids || now.times != first.times ||
                (c->packed && now.rest != first.rest))
                floor_die(c->name, read_ops[op].name);
        }
        if (first.count == 0 && op != OP_BEGIN)
            floor_die("no records", read_ops[op].name);
    }
}

// Allocations of ALLOCATION_RUNS operations; -1 when they are not counted.
static int64_t allocations(struct reads *b, enum read_op op, const struct contestant *c)
{
    read_tally tally = {0};

    aim(b, op, ALLOCATION_RUNS);
    int64_t before = bench_allocations();
    (void)read_measure(c, op, b->targets, 0, ALLOCATION_RUNS, &tally);
    if (before < 0)
        return -1;
    return c == &b->c[ATTACHED] ? reads_attached_allocations(b->attached)
                                : bench_allocations() - before;
}

// ---- one operation ------------------------------------------------------------------------------

static void print_cell(double ns)
{
    if (ns > 0)
        printf(" %9.2f", ns / 1e3);
    else
        printf(" %9s", "-");
}

static void print_ratio(double a, double b)
{
    if (a > 0 && b > 0)
        printf(" %8.2f", a / b);
    else
        printf(" %8s", "-");
}

static void report(struct reads *b, enum read_op op, struct bench_samples *s, double records)
{
    const char *name = read_ops[op].name;
    double ns[CONTESTANTS];
    int64_t embedded = allocations(b, op, &b->c[EMBEDDED]);
    int64_t attached = allocations(b, op, &b->c[ATTACHED]);

    printf("%-22s", name);
    for (int i = 0; i < CONTESTANTS; i++) {
        ns[i] = bench_quantile(&s[i], 0.5);
        if (s[i].n > 0)
            bench_emit(&b->report, name, b->c[i].name, "ns", ns[i], &s[i]);
        print_cell(ns[i]);
    }
    print_ratio(ns[EMBEDDED], ns[FLOOR]);
    print_ratio(ns[ATTACHED], ns[FLOOR]);
    print_ratio(ns[SQLITE], ns[EMBEDDED]);
    print_ratio(ns[REDIS], ns[EMBEDDED]);
    printf(" %7.0f %5lld %5lld %4u\n", records, (long long)embedded, (long long)attached,
           s[EMBEDDED].n);
    fflush(stdout);
    bench_emit(&b->report, name, "allocations", "per 50", (double)embedded, NULL);
    bench_emit(&b->report, name, "allocations attached", "per 50", (double)attached, NULL);
}

// How many operations a sample has of one that took `seconds` for `n` of them: those that take
// milliseconds do fewer.
static unsigned fewer(unsigned n, double seconds)
{
    const double most = n * SAMPLE_SECONDS / seconds;

    return most >= n ? n : most < 1 ? 1 : (unsigned)most;
}

static void run_op(struct reads *b, enum read_op op)
{
    static struct bench_samples s[CONTESTANTS];
    unsigned n = read_ops[op].inner, rounds = 0, of[CONTESTANTS];
    double start = floor_now();
    read_tally tally = {0};

    check_equal(b, op);
    memset(s, 0, sizeof s);
    for (int i = 0; i < CONTESTANTS; i++)
        of[i] = n;
    while (rounds < (b->o->seconds < 1 ? BENCH_ROUNDS_FEW : BENCH_ROUNDS) ||
           (rounds < BENCH_SAMPLES_MAX && floor_now() - start < b->o->seconds)) {
        for (int i = 0; i < CONTESTANTS; i++) {
            read_tally ignored = {0};
            if (!can(&b->c[i], op))
                continue;
            aim(b, op, (READ_WARM + 1) * of[i]);
            double seconds = read_measure(&b->c[i], op, b->targets, READ_WARM * of[i], of[i],
                                          i == EMBEDDED ? &tally : &ignored);
            bench_sample(&s[i], seconds * 1e9 / of[i]);
            if (i != EMBEDDED && rounds == 0)
                of[i] = fewer(n, seconds);
        }
        rounds++;
    }
    report(b, op, s, (double)tally.count / rounds / n);
}

// ---- all of it ----------------------------------------------------------------------------------

static void load(struct reads *b, const char *view)
{
    double seconds, n = b->data.rows;
    const char *how = b->o->add ? "rqc_add, 20,000 a transaction" : "SQLite, then rqc_open";

    if (b->o->add) {
        b->db = bench_open(b->path, view, true);
        seconds = bench_load_add(&b->data, b->db);
        printf("rqc_add: %.1f s, %.0f rows/s\n", seconds, n / seconds);
        bench_emit(&b->report, "load", "rqc_add", "rows/s", n / seconds, NULL);
    } else {
        seconds = bench_load_sqlite(&b->data, b->path);
        printf("SQLite: %.1f s, %.0f rows/s\n", seconds, n / seconds);
        double start = floor_now();
        b->db = bench_open(b->path, view, false);
        seconds = floor_now() - start;
        printf("rqc_open of a database it never saw: %.2f s, %.0f records/s\n", seconds,
               n / seconds);
        bench_emit(&b->report, "rqc_open, new", "reqcast", "records/s", n / seconds, NULL);
    }
    rqc_stats st = {.size = sizeof st};
    rqc_error err = {RQC_OK, ""};
    bench_check(rqc_stats_read(b->db, &st, &err), "rqc_stats_read", err.text);
    if (st.records != b->data.rows)
        floor_die(how, "the view has another number of records");
    printf("view %.1f bytes/record, database %.1f bytes/record\n", (double)st.view_bytes / n,
           (double)(st.db_bytes + st.wal_bytes) / n);
    bench_emit(&b->report, "view", "reqcast", "bytes/record", (double)st.view_bytes / n, NULL);
    bench_emit(&b->report, "database", "SQLite", "bytes/record",
               (double)(st.db_bytes + st.wal_bytes) / n, NULL);
}

static void start_redis(struct reads *b, const char *dir)
{
    double start = floor_now();

    b->redis = reads_redis_start(&b->data, dir);
    if (b->redis == NULL)
        return;
    reads_redis_version(b->redis, b->report.redis, sizeof b->report.redis);
    const double bytes = (double)reads_redis_bytes(b->redis) / b->data.rows;
    printf("Redis %.1f bytes/record, filled in %.1f s\n", bytes, floor_now() - start);
    bench_emit(&b->report, "Redis", "Redis", "bytes/record", bytes, NULL);
}

static void contestants(struct reads *b)
{
    b->c[EMBEDDED] = (struct contestant){.name = "embedded",
                                         .self = b->session,
                                         .run = reads_session_run,
                                         .packed = true};
    b->c[ATTACHED] = (struct contestant){.name = "attached",
                                         .self = b->attached,
                                         .measure = reads_attached_measure,
                                         .packed = true};
    b->c[FLOOR] = (struct contestant){.name = "floor",
                                      .self = b->floor,
                                      .run = reads_floor_run,
                                      .packed = true};
    b->c[SQLITE] = (struct contestant){.name = "SQLite",
                                       .self = b->sqlite,
                                       .run = reads_sqlite_run,
                                       .can = reads_sqlite_can};
    b->c[MEMORY] = (struct contestant){.name = "SQLite :memory:",
                                       .self = b->memory,
                                       .run = reads_sqlite_run,
                                       .can = reads_sqlite_can};
    b->c[REDIS] = (struct contestant){.name = "Redis",
                                      .self = b->redis,
                                      .run = reads_redis_run,
                                      .can = reads_redis_can};
    b->c[COPY] = (struct contestant){.name = "memcpy",
                                     .self = b->copy,
                                     .measure = reads_copy,
                                     .can = reads_copy_can,
                                     .silent = true};
}

// Better no figures than a machine without memory: the view, the floor and Redis cannot be swapped.
static void need_memory(const struct reads *b)
{
    const uint64_t each = BYTES_LEAN + (b->o->redis || b->o->memory ? BYTES_REST : 0);
    const uint64_t need = each * ROWS_REQUEST * b->o->requests;
    uint64_t kb = 0;
    char line[128], text[160];
    FILE *f = fopen("/proc/meminfo", "re");

    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "MemAvailable:", 13) == 0)
            kb = strtoull(line + 13, NULL, 10);
    }
    if (f != NULL)
        (void)fclose(f);
    snprintf(text, sizeof text,
             "%.1f GiB needed, %.1f available; --lean leaves out Redis and"
             " SQLite's :memory:",
             (double)need / 0x1p30, (double)kb / 0x1p20);
    if (kb != 0 && need > kb * 1024)
        floor_die("memory", text);
}

static void bench(void *arg, const char *const *folders)
{
    struct reads b = {.o = arg, .rng = 1};

    need_memory(&b);
    b.attached = reads_attached_start();
    b.targets = floor_alloc(READ_TARGETS, sizeof *b.targets);
    snprintf(b.path, sizeof b.path, "%s/bench.db", folders[0]);
    bench_data_make(&b.data, b.o->requests, b.o->workspaces);
    bench_report_open(&b.report, "reads", b.o->json, &b.data, folders[0]);
    printf("reads: %u requests, %u workspaces, %u records\n", b.o->requests, b.o->workspaces,
           b.data.rows);
    floor_settle_memory(folders[1], (uint64_t)b.data.rows * BYTES_SETTLE);
    load(&b, folders[1]);
    b.session = reads_session_new(b.db);
    b.copy = reads_session_new(b.db);
    b.floor = reads_floor_make(&b.data, b.db, folders[1]);
    b.sqlite = reads_sqlite_open(&b.data, b.path, false);
    if (b.o->memory)
        b.memory = reads_sqlite_open(&b.data, b.path, true);
    if (b.o->redis)
        start_redis(&b, folders[1]);
    reads_attached_open(b.attached, b.path);
    contestants(&b);
    printf("\nmedians in us of one operation%*s%s\n%-22s %9s %9s %9s %9s %9s %9s %9s %8s %8s"
           " %8s %8s %7s %11s %4s\n",
           70, "", "ratios; allocations of 50", "operation", "embedded", "attached", "floor",
           "SQLite", ":memory:", "Redis", "memcpy", "emb/flr", "att/flr", "SQL/emb", "Red/emb",
           "records", "alloc  att", "n");
    for (int op = 0; op < OP_COUNT_OF_OPS; op++) {
        if (b.o->only == NULL || strstr(read_ops[op].name, b.o->only) != NULL)
            run_op(&b, (enum read_op)op);
    }
    reads_attached_stop(b.attached);
    reads_redis_stop(b.redis);
    reads_sqlite_close(b.memory);
    reads_sqlite_close(b.sqlite);
    reads_floor_free(b.floor);
    reads_session_free(b.copy);
    reads_session_free(b.session);
    rqc_close(b.db);
    bench_report_close(&b.report);
    bench_data_free(&b.data);
    free(b.targets);
}

static void parse(struct options *o, int argc, char **argv)
{
    static const struct option table[] = {
        {"requests", required_argument, NULL, 'r'}, {"workspaces", required_argument, NULL, 'w'},
        {"load", required_argument, NULL, 'l'},     {"seconds", required_argument, NULL, 's'},
        {"dir", required_argument, NULL, 'd'},      {"json", required_argument, NULL, 'j'},
        {"only", required_argument, NULL, 'o'},     {"no-redis", no_argument, NULL, 'R'},
        {"lean", no_argument, NULL, 'L'},           {NULL, 0, NULL, 0},
    };
    int c;

    *o = (struct options){
        .requests = 1000, .workspaces = 1, .seconds = 2, .dir = ".", .redis = true, .memory = true};
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (c) {
        case 'r': o->requests = floor_number(optarg, 10000000); break;
        case 'w': o->workspaces = floor_number(optarg, 1000000); break;
        case 'l': o->add = strcmp(optarg, "add") == 0; break;
        case 's': o->seconds = bench_seconds(optarg); break;
        case 'd': o->dir = optarg; break;
        case 'j': o->json = optarg; break;
        case 'o': o->only = optarg; break;
        case 'R': o->redis = false; break;
        case 'L': o->redis = o->memory = false; break;
        default: exit(2);
        }
    }
    if (optind != argc || o->requests < READ_REQUESTS_MIN || o->workspaces > o->requests)
        floor_die("usage", "reads [--requests N (at least 50)] [--workspaces N]"
                           " [--load sqlite|add] [--seconds S] [--dir DIR] [--json FILE] [--only "
                           "NAME] [--no-redis] [--lean]");
}

int main(int argc, char **argv)
{
    struct options o;

    if (argc == 2 && strcmp(argv[1], reads_attached_argument) == 0)
        return reads_attached_main();
    parse(&o, argc, argv);
    const char *parents[] = {o.dir, "/dev/shm", NULL};
    return floor_in_folders(parents, bench, &o);
}

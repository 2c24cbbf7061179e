// SPDX-License-Identifier: Apache-2.0
//
// Shared by the benchmarks of the public API, bench/reads*.c and bench/writes*.c.
#ifndef RQC_BENCH_H
#define RQC_BENCH_H

#include "api/reqcast.h"
#include "bench/floor.h"

#include <sqlite3.h>

enum {
    BENCH_CHILDREN = 5,   // headers of a request, and as many params
    BENCH_DELTAS = 10,    // deltas of a family
    BENCH_DELTA_ROWS = 5, // rows of a sibling delta: itself, three headers, one param
    BENCH_TEXT = 160,     // bytes of text of one row
    BENCH_SAMPLES_MAX = 2000,
    BENCH_ROUNDS = 31, // at least, of what is measured in turns
    BENCH_ROUNDS_FEW = 3,
};

// ---- rows (bench_rows.c) ------------------------------------------------------------------------

// Requests with their headers and params have ids, workspaces and times from floor_data. Some of
// them are bases of families: even families are ten deltas of the base, with children of their
// own; odd families are a chain of ten, each the delta of the one before.
struct bench_data {
    struct floor_data floor;
    uint32_t families;
    uint32_t rows; // all, with workspaces and deltas
};

struct bench_row {
    rqc_entity entity;
    uint8_t id[16], owner[16], parent[16];
    rqc_value value[RQC_FIELD_MAX];
    char text[BENCH_TEXT]; // what the values point to
};

void bench_data_make(struct bench_data *d, uint32_t requests, uint32_t workspaces);
void bench_data_free(struct bench_data *d);
void bench_workspace_id(uint32_t ws, uint8_t id[16]);
uint32_t bench_family_base(const struct bench_data *d, uint32_t family); // number of the request
void bench_delta_id(const struct bench_data *d, uint32_t family, uint32_t k, uint8_t id[16]);

void bench_workspace_row(uint32_t ws, struct bench_row *row);
// Row `k` (0 itself, then headers, then params) of request number `req`, which need not be one of
// the data's: the numbers behind them make new rows. `version` changes texts, not their length.
void bench_request_row(const struct bench_data *d, uint64_t req, uint32_t k, uint32_t version,
                       struct bench_row *row);
// All rows, owners first, requests in order of their numbers.
void bench_each_row(const struct bench_data *d, void (*fn)(void *ctx, const struct bench_row *row),
                    void *ctx);

// ---- databases (bench_db.c) ---------------------------------------------------------------------

// A plain SQLite connection, as an application has it: WAL, synchronous=FULL, foreign keys.
struct bench_sqlite {
    sqlite3 *db;
    sqlite3_stmt *begin, *commit;
    sqlite3_stmt *insert[16], *update[16]; // by entity
};
void bench_sqlite_open(struct bench_sqlite *s, const char *path);
void bench_sqlite_close(struct bench_sqlite *s);
void bench_sqlite_check(struct bench_sqlite *s, int rc, const char *what);
void bench_sqlite_run(struct bench_sqlite *s, const char *sql);
sqlite3_stmt *bench_sqlite_prepare(struct bench_sqlite *s, const char *sql);
void bench_sqlite_step(struct bench_sqlite *s, sqlite3_stmt *st); // one that gives no rows
void bench_sqlite_put(struct bench_sqlite *s, const struct bench_row *row, bool update);

// Makes a database with the schema and all rows, without a trace of reqcast. Returns seconds.
double bench_load_sqlite(const struct bench_data *d, const char *path);
// The same as an application does it that may lose nothing: synchronous=FULL, this many rows a
// transaction. Returns seconds, without making the tables.
double bench_load_durable(const struct bench_data *d, const char *path, uint32_t rows);
// Adds all rows through rqc_add in large transactions. Returns seconds.
double bench_load_add(const struct bench_data *d, rqc_db *db);

void bench_check(rqc_err rc, const char *what, const char *detail);
rqc_db *bench_open(const char *path, const char *view_dir, bool create);

// ---- results (bench_report.c) -------------------------------------------------------------------

struct bench_report {
    FILE *json; // NULL: none
    const char *program;
    const struct bench_data *data;
    const char *dir;
    char redis[32]; // version; "": not there
};

// All zeros to begin with.
struct bench_samples {
    double v[BENCH_SAMPLES_MAX];
    unsigned n;
    uint64_t seen;
    double max; // of all that were seen
};

// Beyond BENCH_SAMPLES_MAX, each one seen has the same chance to be among those kept.
void bench_sample(struct bench_samples *s, double v);
// Sorts; q from 0 to 1.
double bench_quantile(struct bench_samples *s, double q);

void bench_report_open(struct bench_report *r, const char *program, const char *json,
                       const struct bench_data *data, const char *dir);
// One line of JSON: value, and the quantiles when there are samples.
void bench_emit(const struct bench_report *r, const char *name, const char *contestant,
                const char *unit, double value, struct bench_samples *s);
void bench_report_close(struct bench_report *r);
// How long to measure, 0.01 to 3600 seconds; else the program ends. Below one second there are
// BENCH_ROUNDS_FEW rounds at least, which show that all works, and nothing else.
double bench_seconds(const char *text);
// Ends the program where files would be in memory.
void bench_need_disk(const char *dir);

// ---- allocations (bench_allocs.c) ---------------------------------------------------------------

// Calls of malloc, calloc, realloc and the like of this thread so far; -1 when they are not
// counted.
int64_t bench_allocations(void);

#endif

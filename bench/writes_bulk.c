// SPDX-License-Identifier: Apache-2.0
//
// Much at once: all records into an empty database, in transactions of 20,000; and a copy of a
// database while it is open.
#include "bench/writes.h"

#include <string.h>
#include <unistd.h>

enum { ROUNDS = 3, LOAD_ROWS = 20000 };

static void print(const char *what, struct bench_samples *reqcast, struct bench_samples *sqlite)
{
    const double a = bench_quantile(reqcast, 0.5), b = bench_quantile(sqlite, 0.5);

    printf("%-28s  reqcast %10.0f   SQLite %10.0f   ratio %.2f\n", what, a, b, a / b);
    fflush(stdout);
}

static double load_reqcast(struct writes *w, int round)
{
    char path[400], folder[400];

    snprintf(path, sizeof path, "%s/load-%d.db", w->disk, round);
    snprintf(folder, sizeof folder, "%s", w->memory);
    rqc_db *db = bench_open(path, folder, true);
    double seconds = bench_load_add(&w->data, db);
    rqc_close(db);
    return seconds;
}

static double load_sqlite(struct writes *w, int round)
{
    char path[400];

    snprintf(path, sizeof path, "%s/load-bare-%d.db", w->disk, round);
    return bench_load_durable(&w->data, path, LOAD_ROWS);
}

void writes_load(struct writes *w)
{
    struct bench_samples reqcast = {.n = 0}, sqlite = {.n = 0};
    const double n = w->data.rows;

    for (int i = 0; i < ROUNDS; i++) {
        bench_sample(&reqcast, n / load_reqcast(w, i));
        bench_sample(&sqlite, n / load_sqlite(w, i));
    }
    printf("\nrecords a second, medians of %d\n", ROUNDS);
    print("load, 20,000 a transaction", &reqcast, &sqlite);
    bench_emit(&w->report, "load, 20,000 a transaction", "reqcast", "records/s",
               bench_quantile(&reqcast, 0.5), &reqcast);
    bench_emit(&w->report, "load, 20,000 a transaction", "SQLite", "records/s",
               bench_quantile(&sqlite, 0.5), &sqlite);
}

static double backup_reqcast(struct writes *w, int round)
{
    rqc_copied copied;
    rqc_error err = {RQC_OK, ""};
    char path[400];

    snprintf(path, sizeof path, "%s/backup-%d.db", w->disk, round);
    double start = floor_now();
    bench_check(rqc_backup(w->db, path, 0, NULL, NULL, &copied, &err), "rqc_backup", err.text);
    double seconds = floor_now() - start;
    (void)unlink(path);
    return seconds;
}

// What an application does that needs a copy: SQLite's backup in one step.
static double backup_sqlite(struct bench_sqlite *s, const struct writes *w, int round)
{
    sqlite3 *to = NULL;
    char path[400];

    snprintf(path, sizeof path, "%s/backup-bare-%d.db", w->disk, round);
    double start = floor_now();
    if (sqlite3_open(path, &to) != SQLITE_OK)
        floor_die(path, "sqlite3_open failed");
    sqlite3_backup *b = sqlite3_backup_init(to, "main", s->db, "main");
    if (b == NULL || sqlite3_backup_step(b, -1) != SQLITE_DONE ||
        sqlite3_backup_finish(b) != SQLITE_OK)
        floor_die(path, sqlite3_errmsg(to));
    (void)sqlite3_close(to);
    double seconds = floor_now() - start;
    (void)unlink(path);
    return seconds;
}

void writes_backup(struct writes *w)
{
    struct bench_samples reqcast = {.n = 0}, sqlite = {.n = 0};
    rqc_stats st = {.size = sizeof st};
    rqc_error err = {RQC_OK, ""};
    struct bench_sqlite s;

    bench_sqlite_open(&s, w->path);
    bench_check(rqc_stats_read(w->db, &st, &err), "rqc_stats_read", err.text);
    const double n = (double)st.records;
    for (int i = 0; i < ROUNDS; i++) {
        bench_sample(&reqcast, n / backup_reqcast(w, i));
        bench_sample(&sqlite, n / backup_sqlite(&s, w, i));
    }
    bench_sqlite_close(&s);
    print("backup", &reqcast, &sqlite);
    bench_emit(&w->report, "backup", "reqcast", "records/s", bench_quantile(&reqcast, 0.5),
               &reqcast);
    bench_emit(&w->report, "backup", "SQLite", "records/s", bench_quantile(&sqlite, 0.5), &sqlite);
}

// SPDX-License-Identifier: Apache-2.0
//
// Shared by bench/writes*.c.
#ifndef RQC_BENCH_WRITES_H
#define RQC_BENCH_WRITES_H

#include "bench/bench.h"

// Rows that were never stored before, request after request: the number of the next one.
struct writes_stream {
    uint64_t next;
};

struct writes {
    struct bench_data data;
    struct bench_report report;
    const char *disk, *memory; // folders
    char path[320], bare_path[320];
    rqc_db *db;
    struct bench_sqlite bare;
    uint32_t seconds;
    const char *program, *har; // of the import; NULL: none
};

// Makes the next row of a stream, or another version of a row that was there from the start.
void writes_new_row(const struct writes *w, struct writes_stream *s, struct bench_row *row);
void writes_old_row(const struct writes *w, uint64_t *rng, struct bench_row *row);

// Each prints its table.
void writes_transactions(struct writes *w); // writes_txn.c
void writes_threads(struct writes *w);      // writes_threads.c
void writes_open(struct writes *w);         // writes_open.c
void writes_import(struct writes *w);       // writes_open.c

#endif

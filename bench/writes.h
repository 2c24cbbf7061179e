// SPDX-License-Identifier: Apache-2.0
//
// Shared by bench/writes*.c.
#ifndef RQC_BENCH_WRITES_H
#define RQC_BENCH_WRITES_H

#include "bench/bench.h"

enum writes_who {
    WRITES_REQCAST,
    WRITES_SQLITE,         // the same tables and indexes, synchronous=FULL, nothing else
    WRITES_REDIS_ALWAYS,   // appendfsync always: as durable as the two above
    WRITES_REDIS_EVERYSEC, // appendfsync everysec: a second of writes may be lost
    WRITES_DISK,           // write and fdatasync of 4 KiB at a file's end
    WRITES_CONTESTANTS,
};
extern const char *const writes_names[WRITES_CONTESTANTS];

// Rows that were never stored before, request after request: the number of the next one.
struct writes_stream {
    uint64_t next;
};

struct writes_redis; // both servers

struct writes {
    struct bench_data data;
    struct bench_report report;
    const char *disk, *memory; // folders
    char path[320], bare_path[320];
    rqc_db *db;
    struct writes_redis *redis; // NULL: there is none
    double seconds;
    const char *program, *har; // of the import; NULL: none
};

// Makes the next row of a stream, or another version of a row that was there from the start.
void writes_new_row(const struct writes *w, struct writes_stream *s, struct bench_row *row);
void writes_old_row(const struct writes *w, uint64_t *rng, struct bench_row *row);

// ---- one who writes (writes_hand.c) -------------------------------------------------------------

// A connection of a contestant. One thread at a time.
struct writes_hand {
    struct writes *w;
    enum writes_who who;
    rqc_txn *txn;
    struct bench_sqlite bare;
    struct redis_client *redis;
    int fd;
};

bool writes_can(const struct writes *w, enum writes_who who);
void writes_hand_open(struct writes_hand *h, struct writes *w, enum writes_who who);
void writes_hand_close(struct writes_hand *h);
// One transaction; returns when it is acknowledged. `again`: the rows were there before.
void writes_hand_commit(struct writes_hand *h, const struct bench_row *rows, unsigned n,
                        bool again);

// ---- Redis (writes_redis.c) ---------------------------------------------------------------------

struct redis_client;
// Starts two servers of our own, with an append-only file in a folder of `dir` each, and fills
// them. NULL, and why, where they do not start.
struct writes_redis *writes_redis_start(struct writes *w, const char *dir);
void writes_redis_stop(struct writes_redis *r);
struct redis_client *writes_redis_connect(struct writes_redis *r, enum writes_who who);
void writes_redis_disconnect(struct redis_client *c);
void writes_redis_commit(struct redis_client *c, const struct bench_row *rows, unsigned n,
                         bool again);

// ---- what is measured ---------------------------------------------------------------------------

// Each prints its table.
void writes_transactions(struct writes *w); // writes_txn.c
void writes_threads(struct writes *w);      // writes_threads.c
void writes_load(struct writes *w);         // writes_bulk.c
void writes_backup(struct writes *w);       // writes_bulk.c
void writes_open(struct writes *w);         // writes_open.c
void writes_import(struct writes *w);       // writes_open.c

#endif

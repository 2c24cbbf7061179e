// SPDX-License-Identifier: Apache-2.0
//
// Shared by bench/concurrent*.c: several threads that read as fast as they can.
#ifndef RQC_BENCH_CONCURRENT_H
#define RQC_BENCH_CONCURRENT_H

#include "bench/reads.h"

enum { CREW_READERS_MAX = 8, CREW_PAGE = 25 };

enum crew_kind {
    CREW_SESSION, // rqc_read, embedded or attached
    CREW_SQLITE,  // a connection for each thread
    CREW_MEMCPY,  // as many bytes as an answer has: what the machine allows
};

struct crew_order {
    char path[512]; // of the database
    enum crew_kind kind;
    enum read_op op;
    unsigned readers;
    uint32_t requests, workspaces;
    double seconds;
};

struct crew_result {
    double per_second; // operations of all threads
    uint64_t records;  // of all answers
    struct bench_samples us;
};

// Blocks until all threads are done. `db` is for CREW_SESSION.
void crew_run(const struct crew_order *o, rqc_db *db, struct crew_result *ret);

// The same by another process, which attaches.
void crew_run_attached(const struct crew_order *o, struct crew_result *ret);
extern const char crew_attached_argument[];
int crew_attached_main(void); // what that process does

#endif

// SPDX-License-Identifier: Apache-2.0
//
// Shared by bench/reads*.c: the operations, what they are about, and who does them.
#ifndef RQC_BENCH_READS_H
#define RQC_BENCH_READS_H

#include "bench/bench.h"

enum read_op {
    OP_BEGIN, // a session without a question
    OP_GET,
    OP_PAGE_FIRST,
    OP_PAGE_MIDDLE,
    OP_COUNT,
    OP_HEADERS_NEWEST, // of the newest 100 requests of a workspace, as a page gives them
    OP_HEADERS_RANDOM, // of 100 requests of any workspace
    OP_CHILDREN,       // headers and params of one request
    OP_CHANGES,
    OP_RESOLVE, // a base, one of its ten deltas, the children of both
    OP_CHAIN,   // a chain of ten
    OP_UPDATES, // of a window with about 60 requests
    OP_DELTAS,  // of a base with ten, in a window that holds all
    OP_METRICS, // of a workspace; about an hour of it is recent
    OP_COUNT_OF_OPS,
};

enum {
    READ_IDS = 100,
    READ_REQUESTS_MIN = 50, // of the data: there is something to aim at
    READ_PAGE = 50,
    READ_CHANGES = 1000,
    READ_INNER_MAX = 128, // operations of a sample
    READ_WARM = 4,        // as many samples before a measured one
    READ_TARGETS = (READ_WARM + 1) * READ_INNER_MAX,
};

// What one operation is about; made before the clock starts.
struct read_target {
    uint8_t ws_id[16];
    uint32_t ws; // its number, for those who need not look it up
    uint32_t n;
    int64_t since, until;
    rqc_cursor cursor;
    uint8_t id[READ_IDS][16]; // [0] the record, request or base; [1] the delta
};

struct read_op_info {
    const char *name;
    unsigned inner;
    void (*aim)(const struct bench_data *d, uint64_t *rng, struct read_target *t);
};
extern const struct read_op_info read_ops[OP_COUNT_OF_OPS];

// What the records of an answer say. All contestants must agree on count, ids and times; those that
// hold packed records on `rest` (a text of each) as well.
typedef struct floor_tally read_tally;

struct contestant {
    const char *name;
    void *self;
    // NULL where `measure` does all.
    void (*run)(void *self, enum read_op op, const struct read_target *t, read_tally *tally);
    // Runs the first `warm` targets, then the other `n`. Returns the seconds of those, and tallies
    // them.
    double (*measure)(const struct contestant *c, enum read_op op, const struct read_target *t,
                      unsigned warm, unsigned n, read_tally *tally);
    bool (*can)(void *self, enum read_op op);
    bool packed; // `rest` counts
    bool silent; // does not know what it copies: no tally
};

double read_measure(const struct contestant *c, enum read_op op, const struct read_target *t,
                    unsigned warm, unsigned n, read_tally *tally);

// The text field that is read of each record of an entity.
int read_text_field(unsigned entity);

// ---- reqcast (reads_reqcast.c) ------------------------------------------------------------------

struct reads_session;
struct reads_session *reads_session_new(rqc_db *db);
void reads_session_free(struct reads_session *s);
void reads_session_limit(struct reads_session *s, uint32_t n); // records of a page; READ_PAGE
void reads_session_run(void *session, enum read_op op, const struct read_target *t,
                       read_tally *tally);
// Cursors behind the records that were aimed at, for OP_CHANGES.
void reads_find_positions(rqc_db *db, struct read_target *targets, unsigned n);
// memcpy of the answer, which is fetched before the clock starts.
double reads_copy(const struct contestant *c, enum read_op op, const struct read_target *t,
                  unsigned warm, unsigned n, read_tally *tally);
bool reads_copy_can(void *session, enum read_op op);

// ---- reqcast in another process (reads_attached.c) ----------------------------------------------

struct reads_attached;
struct reads_attached *reads_attached_start(void); // before anything is opened
void reads_attached_open(struct reads_attached *a, const char *path);
void reads_attached_stop(struct reads_attached *a);
double reads_attached_measure(const struct contestant *c, enum read_op op,
                              const struct read_target *t, unsigned warm, unsigned n,
                              read_tally *tally);
// Allocations of the last measured operations there.
int64_t reads_attached_allocations(const struct reads_attached *a);
// What the started program does.
extern const char reads_attached_argument[];
int reads_attached_main(void);

// ---- LMDB by hand (reads_floor.c) ---------------------------------------------------------------

struct reads_floor;
// Takes the records out of the view.
struct reads_floor *reads_floor_make(const struct bench_data *d, rqc_db *db, const char *root);
void reads_floor_free(struct reads_floor *f);
void reads_floor_run(void *floor, enum read_op op, const struct read_target *t, read_tally *tally);

// ---- SQLite (reads_sqlite.c) --------------------------------------------------------------------

struct reads_sqlite;
// With `memory` a copy of the file in a database that is in memory.
struct reads_sqlite *reads_sqlite_open(const struct bench_data *d, const char *path, bool memory);
void reads_sqlite_close(struct reads_sqlite *s);
void reads_sqlite_limit(struct reads_sqlite *s, uint32_t n); // rows of a page; READ_PAGE
void reads_sqlite_run(void *sqlite, enum read_op op, const struct read_target *t,
                      read_tally *tally);
bool reads_sqlite_can(void *sqlite, enum read_op op);

// ---- Redis (reads_redis.c) ----------------------------------------------------------------------

struct reads_redis;
// Starts a server of its own behind a unix socket and fills it: a hash for each record, sorted sets
// for what is asked by time, lists of children. NULL, and why, where there is no server.
struct reads_redis *reads_redis_start(const struct bench_data *d, const char *dir);
void reads_redis_stop(struct reads_redis *r);
uint64_t reads_redis_bytes(struct reads_redis *r); // that its data takes
void reads_redis_version(struct reads_redis *r, char *text, size_t size);
void reads_redis_run(void *redis, enum read_op op, const struct read_target *t, read_tally *tally);
bool reads_redis_can(void *redis, enum read_op op);

#endif

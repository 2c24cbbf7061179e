// SPDX-License-Identifier: Apache-2.0
//
// The floor: what LMDB itself costs for each way to lay out a view of HTTP request records, with
// nothing of this project above it. Shared by the files bench/floor*.c only.
#ifndef RQC_BENCH_FLOOR_H
#define RQC_BENCH_FLOOR_H

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    FLOOR_ID = 16,            // bytes of an id
    FLOOR_BATCH = 100,        // requests of a batch read, updates of a large transaction
    FLOOR_PAGE = 50,          // rows of a page
    FLOOR_CHANGES = 1000,     // records of a changes page
    FLOOR_CHUNK_LIMIT = 1900, // bytes; a larger value would become an overflow page (limit 2,038)
    FLOOR_RECORD_MAX = 512,   // bytes, an upper bound of one packed record
    FLOOR_KEY_MAX = 64,
    FLOOR_CHILDREN_MAX = 64,
    FLOOR_WHOLE_MAX = (2 + 2 * FLOOR_CHILDREN_MAX) * FLOOR_RECORD_MAX,
    FLOOR_GROUP_MAX = 16,
};

enum floor_entity { FLOOR_HTTP = 0, FLOOR_HEADER = 1, FLOOR_PARAM = 2 };

// The head of each packed record. Read with memcpy: LMDB aligns values to two bytes at most.
struct floor_head {
    uint8_t id[FLOOR_ID];
    uint64_t seq;
    int64_t updated_at;
    uint32_t len; // whole record, a multiple of 8
    uint16_t flags;
    uint8_t entity;
    uint8_t zero;
};

// What was read: compared between the layouts, so that none of them can be fast by being wrong.
struct floor_tally {
    uint64_t count;
    uint64_t ids;
    uint64_t times;
    uint64_t rest; // fields that SQLite's rows do not have: seq, flags, length
    const void *last[64];
};

// ---- data (floor_data.c) ----------------------------------------------------------------------

// Record number: request * per_request + {0 http, 1..children headers, then params}.
struct floor_data {
    uint32_t requests;
    uint32_t workspaces; // request i belongs to workspace number i % workspaces
    uint32_t children;   // headers of a request, and as many search params
    uint32_t per_request;
    uint32_t records;
    bool random_ids;
    uint8_t (*ids)[FLOOR_ID]; // by record number
    uint32_t *by_id;          // requests, ascending id
    uint32_t *by_ws_id;       // requests, ascending (workspace, id)
    uint32_t *by_ws_oldest;   // requests, workspace ascending, then oldest first
    uint32_t *by_ws_newest;   // requests, workspace ascending, then newest first
    uint32_t *shuffled;       // requests, random order
    uint32_t *records_by_id;  // records, ascending (entity, id)
    uint32_t *seq_of;         // by record number
    uint32_t *records_by_seq; // records, ascending (workspace, seq)
};

void floor_data_make(struct floor_data *d);
void floor_data_free(struct floor_data *d);
uint32_t floor_ws(const struct floor_data *d, uint32_t req);
int64_t floor_updated_at(uint32_t req);
enum floor_entity floor_entity_of(const struct floor_data *d, uint32_t rec);
// Number of the request's k-th child of this kind, in the order of their ids.
uint32_t floor_child(const struct floor_data *d, uint32_t req, enum floor_entity e, uint32_t k);
// Packs a record into buf (FLOOR_RECORD_MAX bytes) and returns its length. Versions of a record
// differ in flags and text, never in length or position.
uint32_t floor_record(const struct floor_data *d, uint32_t rec, uint32_t version, uint8_t *buf);
// Where the variable text of a packed record begins.
size_t floor_text_offset(enum floor_entity e);

uint64_t floor_mix(uint64_t x);
uint64_t floor_next(uint64_t *rng);
uint32_t floor_below(uint64_t *rng, uint32_t n);

// ---- views (floor_view.c, floor_index.c) --------------------------------------------------------

enum floor_layout {
    FLOOR_ADJ_WS,   // A: ws | http id | entity | child id, one node a child
    FLOOR_ADJ,      // B: http id | entity | child id
    FLOOR_CHUNK,    // C: http id | entity | marker, one value for all children of a kind
    FLOOR_CHUNK_WS, // D: ws | http id | entity | marker
    FLOOR_WHOLE,    // F: http id, one value for the request and all its children
    FLOOR_LAYOUTS,
};

enum floor_db {
    DB_CHILD, // the layout itself
    DB_ID,    // entity | id -> ws, then (http: class, ~updated_at) or (child: owner id)
    DB_P1,    // ws | class | ~updated_at | id -> record
    DB_P2,    // ws | class | ~updated_at | id -> nothing
    DB_P1_UP, // ws | class | updated_at | ~id -> record: the same order, walked backwards
    DB_HTTP,  // entity | id -> http record
    DB_ID_UP, // id | entity -> as in DB_ID; built by arrival only
    DB_SEQ,   // ws | seq | entity | id -> nothing
    DB_SEQV,  // ws | seq | entity | id -> as in DB_ID, without ws
    DB_INDEXES,
    DB_DELTA = DB_INDEXES, // parent | updated_at | ~id -> ws, class; these two only where reads.c
                           // asks for them
    DB_NUMBER,             // ws -> how many requests
    DB_COUNT,
};

struct floor_view {
    enum floor_layout layout;
    char dir[256];
    MDB_env *env;
    MDB_dbi dbi[DB_COUNT];
    bool has[DB_COUNT];
    MDB_txn *txn;              // the one read transaction, reset between operations
    MDB_cursor *cur[DB_COUNT]; // renewed with it
};

enum floor_order {
    FLOOR_SORTED,   // by key, MDB_APPEND
    FLOOR_ARRIVAL,  // as requests arrive, child by child
    FLOOR_SHUFFLED, // requests in random order, child by child
    FLOOR_ORDERS,
};

extern const char *const floor_layout_name[FLOOR_LAYOUTS];
extern const char *const floor_db_name[DB_COUNT];

void floor_view_open(struct floor_view *v, enum floor_layout layout, const char *root,
                     const char *name);
// The mapping is new, so that each page is touched for the first time again.
void floor_view_reopen(struct floor_view *v);
void floor_view_close(struct floor_view *v, bool remove_files);
MDB_dbi floor_view_db(struct floor_view *v, enum floor_db db);
void floor_view_reader(struct floor_view *v);
void floor_view_begin(struct floor_view *v, enum floor_db a, enum floor_db b, enum floor_db c);
void floor_view_end(struct floor_view *v);
// All return seconds.
double floor_build(struct floor_view *v, const struct floor_data *d, enum floor_order order);
double floor_build_index(struct floor_view *v, const struct floor_data *d, enum floor_db db,
                         enum floor_order order);
// Puts one version of one child, in an open write transaction.
void floor_upsert(struct floor_view *v, const struct floor_data *d, MDB_cursor *cur, uint32_t rec,
                  uint32_t version);
bool floor_index_is_full(enum floor_db db); // holds all records, not requests only
// Touches every record of a database. Returns seconds.
double floor_walk(struct floor_view *v, enum floor_db db, struct floor_tally *t);
uint64_t floor_db_pages(struct floor_view *v, enum floor_db db);
uint64_t floor_env_pages(struct floor_view *v);

// Key builders return the length.
size_t floor_key_children(enum floor_layout l, uint8_t *k, uint32_t ws, const uint8_t *http,
                          enum floor_entity e);
size_t floor_key_id(uint8_t *k, enum floor_entity e, const uint8_t *id);
size_t floor_key_page(uint8_t *k, uint32_t ws, int64_t updated_at, const uint8_t *id);
size_t floor_key_page_up(uint8_t *k, uint32_t ws, int64_t updated_at, const uint8_t *id);
size_t floor_key_seq(uint8_t *k, uint32_t ws, uint64_t seq, enum floor_entity e, const uint8_t *id);
uint32_t floor_get_be32(const uint8_t *p);
uint64_t floor_get_be64(const uint8_t *p);
void floor_put_be32(uint8_t *p, uint32_t x);
void floor_put_be64(uint8_t *p, uint64_t x);

enum { FLOOR_MARK_FULL = 1, FLOOR_MARK_LAST = 2 };

// The value of layout WHOLE begins with where each part starts; off[3] is its length.
struct floor_whole {
    uint32_t off[4];
};

// ---- reads (floor_read.c) -----------------------------------------------------------------------

// What one operation is about; made before the clock starts.
struct floor_target {
    uint32_t ws;
    int64_t until;
    uint64_t since;
    uint32_t n;
    uint32_t rec[FLOOR_BATCH];
    uint32_t ws_of[FLOOR_BATCH];
    uint8_t id[FLOOR_BATCH][FLOOR_ID];
};

struct floor_bench;
struct floor_case;
typedef void floor_aim_fn(const struct floor_data *d, uint64_t *rng, struct floor_target *t);
typedef void floor_run_fn(const struct floor_case *c, const struct floor_target *t,
                          struct floor_tally *tally);

struct floor_case {
    const char *name;
    floor_run_fn *run;
    struct floor_view *view;
    const struct floor_data *data;
    void *self;
    bool sqlite; // its tally has no `rest`
};

struct floor_group {
    const char *name;
    floor_aim_fn *aim;
    unsigned inner; // operations of one sample
    bool writes;    // no comparison of tallies
    unsigned n;
    struct floor_case cases[FLOOR_GROUP_MAX];
};

void floor_touch(struct floor_tally *t, const void *rec);
const uint8_t *floor_chunk_find(const MDB_val *chunk, const uint8_t *id);
void floor_touch_chunk(struct floor_tally *t, const void *data, size_t size);
void floor_read_groups(struct floor_bench *b);

// ---- SQLite (floor_sqlite.c) --------------------------------------------------------------------

struct floor_sqlite;
struct floor_sqlite *floor_sqlite_make(const struct floor_data *d, const char *root,
                                       double *ret_seconds, uint64_t *ret_bytes);
void floor_sqlite_close(struct floor_sqlite *s);
floor_run_fn floor_sqlite_page, floor_sqlite_headers, floor_sqlite_both, floor_sqlite_get;

// ---- bench (floor.c, floor_write.c, floor_report.c) ---------------------------------------------

struct floor_result {
    const char *group;
    const char *name;
    const char *unit;
    double median, p10, p90;
    unsigned samples;
    double items; // records of one operation
};

struct floor_bench {
    struct floor_data data;
    char root[192];
    struct floor_view view[FLOOR_LAYOUTS];
    struct floor_sqlite *sqlite;
    struct floor_tally children; // what every layout must hold
    struct floor_result *results;
    size_t n_results, cap_results;
};

void floor_run_group(struct floor_bench *b, const struct floor_group *g);
void floor_note(struct floor_bench *b, const char *group, const char *name, const char *unit,
                double value);
void floor_write_json(const struct floor_bench *b, const char *path);
void floor_builds(struct floor_bench *b);
void floor_updates(struct floor_bench *b);

// ---- for all benchmarks (floor_util.c) ---------------------------------------------------------

enum { FLOOR_FOLDERS = 2 };

double floor_now(void); // seconds, monotonic
void floor_die(const char *what, const char *why) __attribute__((noreturn));
void floor_mdb(int rc, const char *what);
void *floor_alloc(size_t n, size_t size); // zeroed
uint32_t floor_number(const char *text, uint32_t max);
// The program at this place of the build that the benchmark is of.
void floor_program(char *ret_path, size_t size, const char *place);
void floor_remove_tree(const char *dir);
void floor_settle_memory(const char *root, uint64_t bytes);
// Makes a folder in each of `parents` (NULL behind the last), does the work in a child process,
// removes the folders. Returns the exit status.
int floor_in_folders(const char *const *parents,
                     void (*work)(void *arg, const char *const *folders), void *arg);

#endif

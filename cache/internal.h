// SPDX-License-Identifier: Apache-2.0
// What the files of this room share.
#ifndef RQCI_CACHE_INTERNAL_H
#define RQCI_CACHE_INTERNAL_H

#include "cache/keys.h"
#include "cache/lmdb_dep.h"
#include "cache/view.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

// ---- Environments (env.c) ----
extern const char *const rqci_db_names[RQCI_DB_COUNT]; // NULL: the main one

// One LMDB environment may be opened only once in a process, so all handles of the process share it
// by device and inode.
typedef struct rqci_env {
    MDB_env *env;
    MDB_dbi dbi[RQCI_DB_COUNT];
    dev_t dev;
    ino_t ino;
    bool write; // opened for writing too
    unsigned refs;
    struct rqci_env *next;
} rqci_env;

// Opens gen directory `path`; `create` makes a new environment with a map of map_bytes (halved
// while the address space refuses it, 0: default). Without create an existing environment is
// opened, for reading unless `write` (its map is made map_bytes large when that is not 0). An
// environment that this process has open is shared.
rqc_err rqci_env_open(const char *path, bool create, bool write, uint64_t map_bytes,
                      rqci_env **ret_env, rqci_errbuf *err);
// Makes the file as long as the newest transaction says, so that readers can tell one that was cut.
// The writer calls it after each commit.
rqc_err rqci_env_fill(const rqci_env *e, rqci_errbuf *err);
void rqci_env_close(rqci_env *e); // NULL-safe

// ---- State of an environment ----
typedef struct rqci_meta {
    uint32_t layout;
    uint32_t term;
    uint64_t schema_hash;
    uint8_t store_id[16];
    uint64_t seq, horizon, baseline;
    uint64_t records, tombstones;
    uint32_t workspaces; // highest number given
    uint32_t zero;
} rqci_meta;
#define RQCI_META_BYTES 96u
// An entry of the main database that is ours, not the root of another one.
bool rqci_main_entry(const MDB_val *key);
rqc_err rqci_meta_get(MDB_txn *txn, const rqci_env *e, rqci_meta *ret_meta, rqci_errbuf *err);
rqc_err rqci_meta_put(MDB_txn *txn, const rqci_env *e, const rqci_meta *meta, rqci_errbuf *err);

// ---- Control page (control.c) ----
#define RQCI_CONTROL_MAGIC UINT64_C(0x31777663716572ff) // the bytes ff "reqcvw1"
enum { RQCI_CONTROL_NONE = 0, RQCI_CONTROL_OPEN = 1, RQCI_CONTROL_CLEAN = 2 };
typedef struct rqci_control {
    uint64_t magic;
    uint32_t layout;
    _Atomic uint32_t state;
    uint8_t boot[16];
    _Atomic uint64_t generation; // 0: no view
    _Atomic uint64_t seq;        // position of that generation
    uint64_t clean_size;         // bytes of data.mdb when it was closed cleanly
    uint64_t clean_txn;          // LMDB's last transaction then
    // Changes with everything that the page shows; odd while it shows half of it. Sleepers wait on
    // it.
    _Atomic uint32_t turn;
    _Atomic uint32_t term; // history of that generation
    _Atomic uint64_t store_id[2];
} rqci_control;
#define RQCI_CONTROL_BYTES 4096u

// LMDB's map is full: the owner answers it with a larger generation. Never leaves this room.
#define RQCI_MAP_FULL ((rqc_err)1000)

// Maps dir/control; `write` creates it when missing or of another size or magic (atomically: a new
// file renamed over it).
rqc_err rqci_control_map(const char *dir, bool write, rqci_control **ret_control, rqci_errbuf *err);
void rqci_control_unmap(rqci_control *c);
rqc_err rqci_boot_id(uint8_t ret_boot[16], rqci_errbuf *err);
// The owner's: shows another generation (turn is not looked at), or a new position of the same one,
// and wakes whoever sleeps. Never waits.
void rqci_control_show(rqci_control *c, const rqci_shown *s);
void rqci_control_advance(rqci_control *c, uint64_t seq);
// Any process. generation 0 also when the owner died while it was changing the page.
void rqci_control_look(const rqci_control *c, rqci_shown *ret_shown);
void rqci_control_sleep(const rqci_control *c, uint32_t turn, int64_t ms);
void rqci_control_wake(const rqci_control *c);

// ---- Workspace counters while a transaction is written (wscache.c) ----
typedef struct rqci_wsent {
    uint32_t number;
    bool dirty;
    uint16_t parts_loaded, parts_dirty; // bit per part of the buckets
    uint64_t tombs;
    rqci_ws_state state;
    rqci_digest buckets[256];
} rqci_wsent;

// Requests by UTC day (metrics.c): what the transaction adds to a day's counts, by class; modulo
// 2^64.
typedef struct rqci_day {
    bool used;
    uint32_t ws;
    int64_t day;
    uint64_t more[RQCI_CLASSES];
} rqci_day;
#define RQCI_DAY_SECONDS 86400
#define RQCI_DAY_FIRST   (-719528) // 0000-01-01
#define RQCI_DAY_LAST    2932896   // 9999-12-31
static inline int64_t rqci_day_of(int64_t seconds)
{
    return seconds / RQCI_DAY_SECONDS - (seconds % RQCI_DAY_SECONDS < 0);
}
// The first second of a day, at the ends of the number range cut to it.
static inline int64_t rqci_day_start(int64_t day)
{
    int64_t s;
    return __builtin_mul_overflow(day, (int64_t)RQCI_DAY_SECONDS, &s)
               ? (day < 0 ? INT64_MIN : INT64_MAX)
               : s;
}

#define RQCI_WS_BYTES (16 + 16 + 8 + 8 + (RQCI_ENTITY_MAX + 1) * 8 + 4 * 8)
void rqci_ws_decode(const uint8_t *p, rqci_ws_state *ret_state, uint64_t *ret_tombs);

// ---- A write transaction on the view (apply.c, put.c, kids.c, wscache.c) ----
typedef struct rqci_wtxn {
    rqci_env *env;
    MDB_txn *txn;
    MDB_cursor *kids; // cursor of the kids database
    rqci_meta meta;
    rqci_wsent **ws; // loaded workspaces, open addressing by number
    size_t ws_cap, ws_n;
    rqci_wsent *last_ws;
    uint8_t last_ws_id[16]; // memo of id → number
    uint32_t last_ws_number;
    bool last_ws_valid;
    rqci_day *days; // open addressing
    size_t days_cap, days_n;
    bool bulk;        // building: owners come before what they own, nothing can be there yet
    uint64_t arrived; // building: the newest arrival of what is put next
    bool bounded;     // RQC_TOO_LARGE when `left` is not enough
    uint64_t left;    // records, or KiB of them, that may still be touched
    rqci_buf chunk, rec, place, seat[2];
    rqci_errbuf *err;
} rqci_wtxn;

rqc_err rqci_wtxn_begin(rqci_wtxn *w, rqci_env *e,
                        rqci_errbuf *err); // reads meta; *w zeroed by the caller at first
rqc_err rqci_wtxn_commit(rqci_wtxn *w);    // writes meta and counters
void rqci_wtxn_abort(rqci_wtxn *w);
void rqci_wtxn_free(rqci_wtxn *w); // memory; aborts what is open
// One entry. rqci_wtxn_get gives LMDB's code; to delete what is not there is RQC_CORRUPT, for the
// indexes would disagree.
int rqci_wtxn_get(const rqci_wtxn *w, enum rqci_dbi db, const void *k, size_t klen, MDB_val *val);
rqc_err rqci_wtxn_put(rqci_wtxn *w, enum rqci_dbi db, const void *k, size_t klen, const void *v,
                      size_t vlen);
rqc_err rqci_wtxn_del(rqci_wtxn *w, enum rqci_dbi db, const void *k, size_t klen);

rqc_err rqci_ws_number(rqci_wtxn *w, const uint8_t id[16],
                       uint32_t *ret_number); // gives a new number when unknown
rqc_err rqci_ws_load(rqci_wtxn *w, uint32_t number, rqci_wsent **ret_ws);
rqc_err rqci_ws_count(rqci_wtxn *w, uint32_t number, const rqc_record *r,
                      int sign); // counters and digests for one record
rqc_err rqci_ws_flush(rqci_wtxn *w);
void rqci_ws_drop(rqci_wtxn *w);
rqc_err rqci_day_count(rqci_wtxn *w, uint32_t ws, int64_t updated, uint8_t class, int sign);
rqc_err rqci_days_flush(rqci_wtxn *w);
void rqci_days_drop(rqci_wtxn *w);
// Counts of one day; false when there is no entry.
bool rqci_day_get(MDB_txn *txn, const rqci_env *e, uint32_t ws, int64_t day,
                  uint64_t ret_counts[RQCI_CLASSES]);

// A value of at most so many bytes stays in its page of LMDB, with the longest key that we have.
#define RQCI_VALUE_INSIDE 1992u
// Whether a request's record of this size stands behind its place, too.
static inline bool rqci_place_has_record(size_t size)
{
    return RQCI_PLACE_HTTP + size <= RQCI_VALUE_INSIDE;
}

// Chunks of children (kids.c)
#define RQCI_CHUNK_MAX RQCI_VALUE_INSIDE
rqc_err rqci_kids_put(rqci_wtxn *w, const uint8_t owner[16], const rqc_record *r);
rqc_err rqci_kids_del(rqci_wtxn *w, const uint8_t owner[16], uint8_t entity, const uint8_t id[16]);
// The record in place, valid until the next write. RQC_NOT_FOUND.
rqc_err rqci_kids_get(MDB_cursor *kids, const uint8_t owner[16], uint8_t entity,
                      const uint8_t id[16], const rqc_record **ret, rqci_errbuf *err);
// The same, with its chunk and the offset of what stands behind it there.
rqc_err rqci_kids_find(MDB_cursor *kids, const uint8_t owner[16], uint8_t entity,
                       const uint8_t id[16], MDB_val *ret_chunk, size_t *ret_behind,
                       const rqc_record **ret, rqci_errbuf *err);
// The next record of a chunk, NULL at its end, or when the bytes are no record (*bad is set).
static inline const rqc_record *rqci_chunk_next(const MDB_val *chunk, size_t *offset, bool *bad)
{
    const size_t left = chunk->mv_size - *offset;
    if (left == 0)
        return NULL;
    const rqc_record *r = (const rqc_record *)((const uint8_t *)chunk->mv_data + *offset);
    if (left < RQCI_REC_HEADER || rqci_rec_size(r) < RQCI_REC_HEADER || rqci_rec_size(r) > left) {
        *bad = true;
        return NULL;
    }
    *offset += rqci_rec_size(r);
    return r;
}

// Membership (put.c). `arrives`: the log says INSERT or MOVE.
rqc_err rqci_put(rqci_wtxn *w, rqc_record *r, bool arrives);
rqc_err rqci_del(rqci_wtxn *w, uint8_t entity, const uint8_t id[16], uint64_t seq);
rqc_err rqci_arrive(rqci_wtxn *w, uint8_t entity, const uint8_t id[16], uint64_t seq);
// Owner of a record as the view has it. RQC_NOT_FOUND.
rqc_err rqci_owner_of(MDB_txn *txn, const rqci_env *e, uint8_t entity, const uint8_t id[16],
                      uint8_t ret_owner[16], rqci_errbuf *err);
// Number of the workspace in which a record of `entity` with this id and owner lives; 0 for an
// unknown one.
rqc_err rqci_home_number(rqci_wtxn *w, uint8_t entity, const uint8_t id[16],
                         const uint8_t owner[16], uint32_t *ret_number);

// The order of changes (seqs.c).
rqc_err rqci_seq_put(rqci_wtxn *w, uint32_t ws, uint64_t seq, uint8_t entity, const uint8_t id[16],
                     const uint8_t *v, size_t vlen);
rqc_err rqci_seq_del(rqci_wtxn *w, uint32_t ws, uint64_t seq, uint8_t entity, const uint8_t id[16]);
// The tombstone of a record in a workspace goes away: the record is back, or a newer tombstone
// replaces it.
rqc_err rqci_tomb_drop(rqci_wtxn *w, uint32_t ws, uint8_t entity, const uint8_t id[16]);
// A record leaves a workspace at `seq`; behind the horizon without a trace.
rqc_err rqci_tomb_put(rqci_wtxn *w, uint32_t ws, uint64_t seq, uint8_t entity, const uint8_t id[16],
                      const uint8_t owner[16]);
// Those with from < seq ≤ to.
rqc_err rqci_prune_tombs(rqci_wtxn *w, uint64_t from, uint64_t to);

// Replay (apply.c): the log rows in `log` in order, contents from src.
typedef struct rqci_log_rows {
    rqci_change *rows;
    uint32_t *next; // index + 1 of the next row with the same key, 0: none
    size_t n, cap;
    uint32_t *table; // open addressing: index + 1 of the key's first row
    size_t table_cap;
} rqci_log_rows;
rqc_err rqci_log_load(rqci_log_rows *l, const rqci_source *src, uint64_t after, uint64_t upto,
                      size_t max, rqci_errbuf *err);
const rqci_change *rqci_log_first(const rqci_log_rows *l, uint8_t entity, const uint8_t id[16]);
void rqci_log_free(rqci_log_rows *l);
rqc_err rqci_replay(rqci_wtxn *w, const rqci_source *src, const rqci_log_rows *log,
                    rqc_err (*tick)(void *ctx), void *ctx);

// A scan of the source by a thread of its own, which is joined before it returns; fn runs on the
// caller's. The source must not be used by fn. Without a thread the caller does it all.
rqc_err rqci_scan_ahead(const rqci_source *src, uint8_t entity,
                        rqc_err (*fn)(void *arg, rqc_record *r), void *arg, rqci_errbuf *err);
// Builds a complete environment from an open source snapshot (rebuild.c).
rqc_err rqci_build(rqci_env *e, const rqci_source *src, const rqci_source_state *state,
                   const rqci_view_options *opt, rqci_errbuf *err);

// Copies a whole environment, which nobody writes, into an empty one with full pages (repack.c).
rqc_err rqci_repack(const rqci_env *from, rqci_env *to, const rqci_view_options *opt,
                    rqci_errbuf *err);

// Walks a whole environment at one transaction: every record's check value and form, every index
// against the records, counters, digests.
rqc_err rqci_check_txn(MDB_txn *txn, const rqci_env *e, rqci_errbuf *err);
// LMDB's own pages of a generation that nobody writes: every page, node, key order and count.
// RQC_CORRUPT with the first fault.
rqc_err rqci_check_pages(const char *gen_path, rqci_errbuf *err);
// Both in a child process, for files that may be damaged in ways that kill the reader. True
// when the child found no fault.
bool rqci_check_in_child(const char *gen_path, const rqci_log *log);

// ---- Reading ----
struct rqci_mirror {
    char *dir;
    rqci_log log;
    uint8_t boot[16]; // of the machine
    _Atomic(rqci_control *) control;
    _Atomic int64_t next_look_ms; // when the control file is next compared with the mapped one
    pthread_mutex_t lock;         // guards what follows
    dev_t dev;
    ino_t ino;
    rqci_control **old; // replaced pages, kept mapped until close: sessions may still look at them
    size_t nold;
};

typedef struct rqci_ws_known {
    bool known;
    uint32_t number;
    uint8_t id[16];
} rqci_ws_known;

struct rqci_reader {
    rqci_mirror *mirror;
    rqci_env *env;
    MDB_txn *txn;
    MDB_cursor *cur[RQCI_DB_COUNT];
    MDB_cursor *lane[2];       // two more on the http database, for merges
    bool fresh[RQCI_DB_COUNT]; // the cursor belongs to the pinned transaction
    bool lane_fresh[2];
    bool begun;
    const rqci_control *control; // page and generation that env belongs to
    uint64_t generation;
    bool state_known; // of the pinned transaction; read when it is asked for
    rqci_view_state state;
    // Workspaces whose numbers were looked up in this environment, by their ids' last byte; they
    // keep them as long as there are views of this generation.
    rqci_ws_known ws[256];
    rqci_buf scratch;
};
rqc_err rqci_state(rqci_reader *r, rqci_errbuf *err); // makes `state` known
rqc_err rqci_cursor(rqci_reader *r, enum rqci_dbi db, MDB_cursor **ret_cursor);
rqc_err rqci_lane_cursor(rqci_reader *r, int which, MDB_cursor **ret_cursor);
// The ids in ascending order: as given when they are, else a sorted copy in the reader's scratch
// memory.
rqc_err rqci_sorted_ids(rqci_reader *r, const uint8_t (**ids)[16], size_t n);
rqc_err rqci_read_ws_number(rqci_reader *r, const uint8_t id[16],
                            uint32_t *ret_number); // RQC_NOT_FOUND
// Number of a workspace's requests of one class.
rqc_err rqci_ws_class(rqci_reader *r, const uint8_t workspace[16], uint8_t class,
                      uint64_t *ret_count);
rqc_err rqci_list_fit(rqci_list *l, size_t more);
// The record of an entry of the delta database.
rqc_err rqci_delta_record(rqci_reader *r, const MDB_val *key, const MDB_val *val,
                          const rqc_record **ret_record);

#endif

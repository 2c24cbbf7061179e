// SPDX-License-Identifier: Apache-2.0
// Test vectors played through the public header: rows come in through a foreign SQLite connection,
// answers through rqc_ calls. What the parts of test_vectors.c share; vectors/README.md describes
// the files.
#ifndef RQC_TESTS_VECTORS_H
#define RQC_TESTS_VECTORS_H

#include "api/reqcast.h"
#include "tests/tap.h"

#include <jansson.h>
#include <sqlite3.h>

#define VEC_PATH 512

// A vector in play: a database of its own, and the first thing that was wrong with it.
typedef struct play {
    json_t *v;    // the vector
    json_t *args; // never NULL
    bool own;     // writes go through rqc_ calls instead of the foreign connection
    char path[VEC_PATH + 16], views[VEC_PATH + 16];
    rqc_db *db;
    rqc_read *read; // begun, at the newest position
    uint64_t mark;  // position that the next `changes` query starts at
    sqlite3 *foreign;
    char fault[700]; // "" while all is well
} play;

// Notes a fault unless there is one already; always false.
bool wrong(play *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Says where the fault that there is was found; always false.
bool wrong_in(play *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

// ---- The database (vectors_db.c) ----

void play_open(play *p, const char *folder); // an empty one
void play_reopen(play *p);                   // with a view that is built anew
void play_close(play *p);
void play_end(void);
bool play_sync(play *p);   // picks up foreign changes and reads at the newest position
bool play_verify(play *p); // the view holds what the file holds
uint64_t play_seq(const play *p);

bool foreign_fill(play *p); // the vector's tables, in one transaction
int foreign_insert(play *p, const char *table, json_t *row); // SQLITE_OK, SQLITE_CONSTRAINT
bool foreign_update(play *p, const char *table, const char *id, json_t *set);
bool foreign_delete(play *p, const char *table, const char *id);
int64_t foreign_count(play *p, const char *table, const char *id); // id NULL: all rows
bool own_delete(play *p, int entity, const uint8_t id[16], uint64_t *ret_deleted);
rqc_err own_insert(play *p, int entity, json_t *row);

// ---- Values (vectors_values.c) ----

typedef struct bytes {
    uint8_t *p; // free it
    size_t n;
} bytes;
bytes bytes_of(json_t *v);                 // of hex digits, or {"$hex": …, "times": …}
bool id_of(json_t *v, uint8_t ret_id[16]); // false unless it stands for 16 bytes
json_t *hex_json(const uint8_t id[16]);    // new reference
json_t *value_json(play *p, const rqc_record *r, int field, rqc_value v); // new reference
bool same_value(play *p, const char *what, json_t *got, json_t *want);    // steals got
bool same_json(play *p, const char *what, json_t *got, json_t *want);     // steals got
bool only_keys(play *p, json_t *object, const char *const *keys);         // ends with NULL
json_t *sorted(json_t *strings);                                          // new reference
int64_t arg_time(json_t *args, const char *key);                          // missing: RQC_ANY_TIME
const char *text_at(json_t *object, const char *key);                     // "" when missing
bool refused(play *p, rqc_err rc, json_t *expect); // the call failed as `error` says

// ---- Operations ----

typedef bool play_fn(play *p, json_t *args, json_t *expect);
play_fn play_overlay, play_chain;
play_fn play_page, play_walk, play_count, play_incremental, play_incremental_walk;
play_fn play_deltas, play_batch, play_headers, play_params, play_forms, play_children;
play_fn play_metrics, play_activity, play_changes, play_get;
bool play_cascade(play *p, json_t *expect);
bool play_insert(play *p, json_t *expect);
bool play_scenario(play *p);
play_fn *query_named(const char *op); // NULL: unknown

// ---- What is decided where a vector leaves it open (vectors_decided.c) ----

typedef enum outcome {
    AS_EXPECTED,
    AS_RECOMMENDED, // expect_recommended holds
    CHOSEN,         // the row of `one_of` whose id is `ours`
    DIFFERENT       // `ours` is expected instead
} outcome;
typedef struct decision {
    const char *id;
    outcome outcome;
    const char *ours; // JSON, or an id
    const char *why;  // by which line of docs/semantics.md
} decision;
const decision *decision_of(const char *id); // NULL: none
const decision *decision_at(size_t i);       // NULL: no more
const char *not_here(const char *op); // why an operation is none of this layer, NULL if it is

#endif

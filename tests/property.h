// SPDX-License-Identifier: Apache-2.0
// The property test: random transactions on one database, ours and foreign ones, and after each of
// them every read of the public header against plain SQL on the same file. What its parts share;
// test_property.c tells the story.
//
// All ids come from one small universe that all tables share, so that rows collide, are replaced,
// lose their owners and find others.
#ifndef RQC_TESTS_PROPERTY_H
#define RQC_TESTS_PROPERTY_H

#include "api/reqcast.h"
#include "tests/tap.h"

#include <sqlite3.h>
#include <xxhash.h>

#define NIDS      16u // ids that rows may have
#define NENTITIES 14u // by entity code; 0 is unused
#define NWS       5u  // workspaces that most requests and files live in
#define NTOPICS   (NWS + 3u)
#define NO_ID     (-1)

// ---- Tables as this test knows them, apart from the library's own description ----

// What a column holds; the generator and the oracle go by it.
//   i key · o owner · P overridden record · F folder · X any id · V user
//   t text · e text '' · T text or NULL · v version name · H path hash · m, M method
//   n int 0 · q int · w int 2 · k kind 0…7 · N int or NULL · c, u times
//   z bool 0 · b bool 1 · s bool · B bool or NULL · r real 0 · R real or NULL · d bytes or NULL · a
//   anything
typedef struct prop_column {
    char name[32];
    char kind;
    char type; // U id, T text, Y bytes, I int, B bool, R real, A any
    int field; // its number in the public header
} prop_column;

typedef struct prop_table {
    int entity;
    const char *name, *spec;
    int owner_entity;
    int n;
    prop_column col[RQC_FIELD_MAX];
    int owner, parent, updated, enabled, order, is_delta; // columns, -1: none
} prop_table;

// property_tables.c
extern prop_table prop_tables[NENTITIES];
void prop_tables_init(void);
int prop_column_of(const prop_table *t, const char *name); // must exist

// ---- Rows as SQL tells them ----

// A row in canonical form: per column a type byte and the value, as the public header would give
// it.
typedef struct prop_row {
    bool live;
    int owner; // number of the owner's id, NO_ID: none, or not of the universe
    uint8_t owner_id[16];
    uint8_t home[16]; // workspace it lives in, zero: unknown owner
    int64_t updated;
    bool enabled;
    size_t at, len; // its form in prop_state.bytes
    XXH128_hash_t hash;
} prop_row;

typedef struct prop_state {
    prop_row rows[NENTITIES][NIDS];
    uint8_t *bytes;
    size_t len, cap;
    uint64_t head;  // highest seq of change_log
    uint64_t total; // rows of all mirrored tables, also those that cannot be mirrored
} prop_state;

// ---- The run ----

enum {
    C_GET,
    C_LARGE,
    C_WORKSPACES,
    C_PAGE,
    C_UPDATES,
    C_COUNT,
    C_BATCH,
    C_DELTAS,
    C_METRICS,
    C_ACTIVITY,
    C_CHILDREN,
    C_CHAIN,
    C_RESOLVE,
    C_ORDER,
    C_MODEL,
    C_CURSOR,
    C_TOUCHED,
    C_POSITION,
    C_OWN,
    C_PINNED,
    C_VERIFY,
    C_REBUILD,
    C_SPARE,
    C_KINDS
};

typedef struct prop_cover { // what the generator made happen
    uint64_t statements, refused, own_ok, own_failed, invalid, orphans, homecomings, moves,
        replaced_keys, unmirrored, large, too_old, future, tombstones, compacted, reopened,
        rolled_back, child, deep_chains, overrides, same_second;
} prop_cover;

#define STORY_MAX 64
typedef struct prop_test {
    uint64_t seed, random;
    unsigned round;
    char dir[128], path[160], views[160];
    uint64_t retain;
    bool hostile;   // values of other storage classes than declared, checks ignored
    bool short_ids; // ids that are not 16 bytes
    bool dangling;  // most foreign transactions run without foreign keys
    bool zero_used; // the zero id is one of the universe
    bool lagging;   // the shared view is kept from following
    uint8_t ids[NIDS][16];
    uint8_t ws[NWS]; // numbers of the ids of workspaces
    uint8_t topics[NTOPICS][16];
    sqlite3 *oracle, *foreign;
    rqc_db *db, *attached;
    rqc_read *read[2]; // of db, of attached
    rqc_read *pinned;  // held across a transaction
    prop_state state[3];
    prop_state *now, *before, *spare;
    rqc_position position; // newest one seen
    uint64_t horizon;      // of the view: the store's when the view last followed it
    uint64_t checks[C_KINDS];
    prop_cover cover;
} prop_test;
extern prop_test g;

// splitmix64
uint64_t prop_random(void);
uint32_t below(uint32_t n);
static inline bool chance(unsigned percent)
{
    return below(100) < percent;
}

// Where history ends at this head, by the rule: a multiple of a quarter of `retain`, at least
// `retain` behind the head.
uint64_t horizon_of(uint64_t head);

int id_number(const uint8_t *id);       // NO_ID when it is not of the universe
const char *id_name(const uint8_t *id); // static storage, a few at a time

// The check failed: tells the statements, cleans up and ends the program.
_Noreturn void broken(int check, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define CHECK(check, cond, ...)         \
    do {                                \
        g.checks[check]++;              \
        if (!(cond))                    \
            broken(check, __VA_ARGS__); \
    } while (0)

// ---- Databases (property_database.c) ----
void start_database(uint64_t seed); // a new one, open
void end_database(void);            // closed, and nothing is left of it
void open_database(void);           // and attaches, with sessions
void close_database(void);
void lose_views(void);      // as if somebody had removed their folder
void remove_database(void); // its files, as they are

// ---- Story (property_story.c): what was done, for the one who looks for the fault ----
void story_begin(const char *what); // a transaction begins
void story_add(const char *text);
void story_blame(int number); // the id that a check failed for
void story_tell(void);
void story_forget(void); // a new database

// ---- A growing text ----
typedef struct text {
    char *p;
    size_t len, cap;
} text;
void text_add(text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_bytes(text *t, const void *p, size_t n);
void text_free(text *t);

// ---- Oracle (property_oracle.c) ----
void oracle_open(void);
void oracle_close(void);
sqlite3_stmt *oracle_sql(const char *sql); // prepared once, reset; valid until oracle_close
int64_t oracle_number(const char *sql);
void oracle_load(prop_state *s);
void state_free(prop_state *s);
// The canonical form of a record as the public header tells it, appended; and of one value.
void form_record(text *t, const rqc_record *r);
void form_value(text *t, const rqc_value *v);
// Where two forms differ first, in words; static storage.
const char *form_difference(const prop_table *t, const uint8_t *got, size_t ngot,
                            const uint8_t *want, size_t nwant);
// Column of a row's form.
const uint8_t *form_column(const uint8_t *form, size_t len, int column, size_t *ret_len);

// ---- Foreign transactions (property_foreign.c, property_sql.c) ----
// SQL of one transaction of another program, as statements with a NUL behind each; returns how
// many.
unsigned sql_transaction(text *t);
void foreign_open(void);
void foreign_close(void);
void foreign_run(const char *statements, size_t len, bool in_child);
int foreign_child_main(const char *path);
bool foreign_exec(sqlite3 *db, const char *statements, size_t len, uint64_t *refused,
                  char fault[256]);
void sql_values(text *t, const prop_table *tab, int column);
void sql_setup(void); // users, tables, rows that were there before

// ---- Own transactions (property_own.c) ----
void own_transaction(void);

// ---- Reads (property_reads.c, property_resolve.c) ----
void check_gets(rqc_read *r, const prop_state *s, int check);
void check_reads(rqc_read *r, unsigned effort);
void check_resolve(rqc_read *r);
int64_t some_time(void);
const char *some_method(void);
void some_bytes(const rqc_read *r);

// ---- Changes (property_changes.c) ----
void subscribers_init(void);
void subscribers_follow(rqc_read *r, bool all);
void check_cursors(rqc_read *r);
void check_walks(rqc_read *r);
void check_touched(rqc_read *r, uint64_t since);
// Everything that `changes` says, from every cursor; compared with a later one.
typedef struct prop_history prop_history;
prop_history *history_take(rqc_read *r, uint64_t horizon);
void history_compare(const prop_history *a, const prop_history *b, const char *what);
void history_free(prop_history *h);

// ---- What only the inside can do (property_engine.c) ----
void engine_hush(rqc_db *db);    // no housekeeping at times of its own
void engine_compact(rqc_db *db); // the log, up to the horizon
void engine_rebuild(rqc_db *db); // the view, in place
// As if the shared view had no room to follow, and had room again.
void engine_lag(rqc_db *db, bool lag);
const char *engine_schema(void); // the tables, as SQL
size_t engine_record_size(const rqc_record *r);
void engine_mark_unclean(const char *views); // as if the owner had died

#endif

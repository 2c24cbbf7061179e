// SPDX-License-Identifier: Apache-2.0
// reqcast: a replicated in-memory cache of HTTP request records, with SQLite as the durable truth.
//
// The one installed header. Rules for all of it:
// - Functions return rqc_err; RQC_OK is 0. Results come last, are called ret_…, and are untouched
// when a call fails.
// - Destructors accept NULL.
// - A const rqc_record * points into shared memory. It is owned by the database and valid until the
// read session that gave it is
//   ended with rqc_read_end. Nothing is copied.
// - Times (updated_at, since, until) are what the rows hold, normally UNIX seconds, compared raw.
// - Ids are 16 bytes (ULIDs), compared as unsigned bytes.
// - A process that forks must not use its handles in the child.
#ifndef RQC_REQCAST_H
#define RQC_REQCAST_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RQC_API __attribute__((visibility("default")))
#else
#define RQC_API
#endif

// ---- Errors
// -------------------------------------------------------------------------------------------------------

typedef enum rqc_err {
    RQC_OK = 0,
    RQC_NOT_FOUND = 1,  // no such record, workspace or file
    RQC_CHANGED = 2,    // the record changed since the position that was expected
    RQC_DIFFERENT = 3,  // verify found a difference
    RQC_INVALID = 4,    // an argument or input is wrong; nothing was written
    RQC_CONSTRAINT = 5, // the database refused the row; nothing was written
    RQC_TOO_LARGE = 6,  // beyond a documented limit
    RQC_CONFLICT = 7,   // the idempotency key was used for another request
    RQC_BUSY = 8,       // another process owns the database or holds its lock
    RQC_TIMEOUT = 9,
    RQC_UNAVAILABLE = 10,   // no view to read now; try again
    RQC_TOO_OLD = 11,       // the cursor is behind the kept history: start over from 0
    RQC_EPOCH_CHANGED = 12, // the position belongs to another history: start over from 0
    RQC_FUTURE = 13,        // the position is beyond the head
    RQC_EXPIRED = 14,       // the read session was held longer than its max_age
    RQC_READ_ONLY = 15,     // attached handles write through a reqcastd only
    RQC_NO_MEMORY = 16,
    RQC_NO_SPACE = 17, // disk or shared memory is full; nothing acknowledged is lost
    RQC_IO = 18,
    RQC_CORRUPT = 19,
    RQC_VERSION = 20, // a format or schema version that this library does not understand
    RQC_CLOSED = 21,
    RQC_INTERNAL = 22
} rqc_err;

// Text of a code; static storage, never NULL.
RQC_API const char *rqc_err_text(rqc_err code);

// What went wrong, with its context (file, field, holder …). Owned by the caller; every function
// that takes one accepts NULL.
typedef struct rqc_error {
    rqc_err code;
    char text[508];
} rqc_error;

// ---- Records
// ------------------------------------------------------------------------------------------------------

typedef enum rqc_entity {
    RQC_WORKSPACES = 1,
    RQC_FILES = 2,
    RQC_HTTP = 3,
    RQC_HTTP_HEADER = 4,
    RQC_HTTP_SEARCH_PARAM = 5,
    RQC_HTTP_BODY_FORM = 6,
    RQC_HTTP_BODY_URLENCODED = 7,
    RQC_HTTP_BODY_RAW = 8,
    RQC_HTTP_ASSERT = 9,
    RQC_HTTP_VERSION = 10,
    RQC_HTTP_RESPONSE = 11,
    RQC_HTTP_RESPONSE_HEADER = 12,
    RQC_HTTP_RESPONSE_ASSERT = 13
} rqc_entity;

// Fields by entity. The numbers are those of the packed record; new ones are only appended.
enum {
    RQC_WORKSPACES_ID,
    RQC_WORKSPACES_NAME,
    RQC_WORKSPACES_UPDATED,
    RQC_WORKSPACES_COLLECTION_COUNT,
    RQC_WORKSPACES_FLOW_COUNT,
    RQC_WORKSPACES_ACTIVE_ENV,
    RQC_WORKSPACES_GLOBAL_ENV,
    RQC_WORKSPACES_DISPLAY_ORDER,
    RQC_WORKSPACES_NFIELDS
};
enum {
    RQC_FILES_ID,
    RQC_FILES_WORKSPACE_ID,
    RQC_FILES_PARENT_ID,
    RQC_FILES_CONTENT_ID,
    RQC_FILES_CONTENT_KIND,
    RQC_FILES_NAME,
    RQC_FILES_DISPLAY_ORDER,
    RQC_FILES_PATH_HASH,
    RQC_FILES_UPDATED_AT,
    RQC_FILES_NFIELDS
};
enum {
    RQC_HTTP_ID,
    RQC_HTTP_WORKSPACE_ID,
    RQC_HTTP_FOLDER_ID,
    RQC_HTTP_NAME,
    RQC_HTTP_URL,
    RQC_HTTP_METHOD,
    RQC_HTTP_BODY_KIND,
    RQC_HTTP_DESCRIPTION,
    RQC_HTTP_CONTENT_HASH,
    RQC_HTTP_PARENT_HTTP_ID,
    RQC_HTTP_IS_DELTA,
    RQC_HTTP_IS_SNAPSHOT,
    RQC_HTTP_DELTA_NAME,
    RQC_HTTP_DELTA_URL,
    RQC_HTTP_DELTA_METHOD,
    RQC_HTTP_DELTA_BODY_KIND,
    RQC_HTTP_DELTA_DESCRIPTION,
    RQC_HTTP_LAST_RUN_AT,
    RQC_HTTP_CREATED_AT,
    RQC_HTTP_UPDATED_AT,
    RQC_HTTP_NFIELDS
};
enum {
    RQC_HTTP_HEADER_ID,
    RQC_HTTP_HEADER_HTTP_ID,
    RQC_HTTP_HEADER_HEADER_KEY,
    RQC_HTTP_HEADER_HEADER_VALUE,
    RQC_HTTP_HEADER_DESCRIPTION,
    RQC_HTTP_HEADER_ENABLED,
    RQC_HTTP_HEADER_PARENT_HEADER_ID,
    RQC_HTTP_HEADER_IS_DELTA,
    RQC_HTTP_HEADER_DELTA_HEADER_KEY,
    RQC_HTTP_HEADER_DELTA_HEADER_VALUE,
    RQC_HTTP_HEADER_DELTA_DESCRIPTION,
    RQC_HTTP_HEADER_DELTA_ENABLED,
    RQC_HTTP_HEADER_DELTA_DISPLAY_ORDER,
    RQC_HTTP_HEADER_DISPLAY_ORDER,
    RQC_HTTP_HEADER_CREATED_AT,
    RQC_HTTP_HEADER_UPDATED_AT,
    RQC_HTTP_HEADER_NFIELDS
};
enum {
    RQC_HTTP_SEARCH_PARAM_ID,
    RQC_HTTP_SEARCH_PARAM_HTTP_ID,
    RQC_HTTP_SEARCH_PARAM_KEY,
    RQC_HTTP_SEARCH_PARAM_VALUE,
    RQC_HTTP_SEARCH_PARAM_ENABLED,
    RQC_HTTP_SEARCH_PARAM_DESCRIPTION,
    RQC_HTTP_SEARCH_PARAM_DISPLAY_ORDER,
    RQC_HTTP_SEARCH_PARAM_PARENT_HTTP_SEARCH_PARAM_ID,
    RQC_HTTP_SEARCH_PARAM_IS_DELTA,
    RQC_HTTP_SEARCH_PARAM_DELTA_KEY,
    RQC_HTTP_SEARCH_PARAM_DELTA_VALUE,
    RQC_HTTP_SEARCH_PARAM_DELTA_ENABLED,
    RQC_HTTP_SEARCH_PARAM_DELTA_DESCRIPTION,
    RQC_HTTP_SEARCH_PARAM_DELTA_DISPLAY_ORDER,
    RQC_HTTP_SEARCH_PARAM_CREATED_AT,
    RQC_HTTP_SEARCH_PARAM_UPDATED_AT,
    RQC_HTTP_SEARCH_PARAM_NFIELDS
};
enum {
    RQC_HTTP_BODY_FORM_ID,
    RQC_HTTP_BODY_FORM_HTTP_ID,
    RQC_HTTP_BODY_FORM_KEY,
    RQC_HTTP_BODY_FORM_VALUE,
    RQC_HTTP_BODY_FORM_ENABLED,
    RQC_HTTP_BODY_FORM_DESCRIPTION,
    RQC_HTTP_BODY_FORM_DISPLAY_ORDER,
    RQC_HTTP_BODY_FORM_PARENT_HTTP_BODY_FORM_ID,
    RQC_HTTP_BODY_FORM_IS_DELTA,
    RQC_HTTP_BODY_FORM_DELTA_KEY,
    RQC_HTTP_BODY_FORM_DELTA_VALUE,
    RQC_HTTP_BODY_FORM_DELTA_ENABLED,
    RQC_HTTP_BODY_FORM_DELTA_DESCRIPTION,
    RQC_HTTP_BODY_FORM_DELTA_DISPLAY_ORDER,
    RQC_HTTP_BODY_FORM_CREATED_AT,
    RQC_HTTP_BODY_FORM_UPDATED_AT,
    RQC_HTTP_BODY_FORM_NFIELDS
};
enum {
    RQC_HTTP_BODY_URLENCODED_ID,
    RQC_HTTP_BODY_URLENCODED_HTTP_ID,
    RQC_HTTP_BODY_URLENCODED_KEY,
    RQC_HTTP_BODY_URLENCODED_VALUE,
    RQC_HTTP_BODY_URLENCODED_ENABLED,
    RQC_HTTP_BODY_URLENCODED_DESCRIPTION,
    RQC_HTTP_BODY_URLENCODED_DISPLAY_ORDER,
    RQC_HTTP_BODY_URLENCODED_PARENT_HTTP_BODY_URLENCODED_ID,
    RQC_HTTP_BODY_URLENCODED_IS_DELTA,
    RQC_HTTP_BODY_URLENCODED_DELTA_KEY,
    RQC_HTTP_BODY_URLENCODED_DELTA_VALUE,
    RQC_HTTP_BODY_URLENCODED_DELTA_ENABLED,
    RQC_HTTP_BODY_URLENCODED_DELTA_DESCRIPTION,
    RQC_HTTP_BODY_URLENCODED_DELTA_DISPLAY_ORDER,
    RQC_HTTP_BODY_URLENCODED_CREATED_AT,
    RQC_HTTP_BODY_URLENCODED_UPDATED_AT,
    RQC_HTTP_BODY_URLENCODED_NFIELDS
};
enum {
    RQC_HTTP_BODY_RAW_ID,
    RQC_HTTP_BODY_RAW_HTTP_ID,
    RQC_HTTP_BODY_RAW_RAW_DATA,
    RQC_HTTP_BODY_RAW_COMPRESSION_TYPE,
    RQC_HTTP_BODY_RAW_PARENT_BODY_RAW_ID,
    RQC_HTTP_BODY_RAW_IS_DELTA,
    RQC_HTTP_BODY_RAW_DELTA_RAW_DATA,
    RQC_HTTP_BODY_RAW_DELTA_COMPRESSION_TYPE,
    RQC_HTTP_BODY_RAW_CREATED_AT,
    RQC_HTTP_BODY_RAW_UPDATED_AT,
    RQC_HTTP_BODY_RAW_NFIELDS
};
enum {
    RQC_HTTP_ASSERT_ID,
    RQC_HTTP_ASSERT_HTTP_ID,
    RQC_HTTP_ASSERT_VALUE,
    RQC_HTTP_ASSERT_ENABLED,
    RQC_HTTP_ASSERT_DESCRIPTION,
    RQC_HTTP_ASSERT_DISPLAY_ORDER,
    RQC_HTTP_ASSERT_PARENT_HTTP_ASSERT_ID,
    RQC_HTTP_ASSERT_IS_DELTA,
    RQC_HTTP_ASSERT_DELTA_VALUE,
    RQC_HTTP_ASSERT_DELTA_ENABLED,
    RQC_HTTP_ASSERT_DELTA_DESCRIPTION,
    RQC_HTTP_ASSERT_DELTA_DISPLAY_ORDER,
    RQC_HTTP_ASSERT_CREATED_AT,
    RQC_HTTP_ASSERT_UPDATED_AT,
    RQC_HTTP_ASSERT_NFIELDS
};
enum {
    RQC_HTTP_VERSION_ID,
    RQC_HTTP_VERSION_HTTP_ID,
    RQC_HTTP_VERSION_VERSION_NAME,
    RQC_HTTP_VERSION_VERSION_DESCRIPTION,
    RQC_HTTP_VERSION_IS_ACTIVE,
    RQC_HTTP_VERSION_CREATED_AT,
    RQC_HTTP_VERSION_CREATED_BY,
    RQC_HTTP_VERSION_NFIELDS
};
enum {
    RQC_HTTP_RESPONSE_ID,
    RQC_HTTP_RESPONSE_HTTP_ID,
    RQC_HTTP_RESPONSE_STATUS,
    RQC_HTTP_RESPONSE_BODY,
    RQC_HTTP_RESPONSE_TIME,
    RQC_HTTP_RESPONSE_DURATION,
    RQC_HTTP_RESPONSE_SIZE,
    RQC_HTTP_RESPONSE_CREATED_AT,
    RQC_HTTP_RESPONSE_NFIELDS
};
enum {
    RQC_HTTP_RESPONSE_HEADER_ID,
    RQC_HTTP_RESPONSE_HEADER_RESPONSE_ID,
    RQC_HTTP_RESPONSE_HEADER_KEY,
    RQC_HTTP_RESPONSE_HEADER_VALUE,
    RQC_HTTP_RESPONSE_HEADER_CREATED_AT,
    RQC_HTTP_RESPONSE_HEADER_NFIELDS
};
enum {
    RQC_HTTP_RESPONSE_ASSERT_ID,
    RQC_HTTP_RESPONSE_ASSERT_RESPONSE_ID,
    RQC_HTTP_RESPONSE_ASSERT_VALUE,
    RQC_HTTP_RESPONSE_ASSERT_SUCCESS,
    RQC_HTTP_RESPONSE_ASSERT_CREATED_AT,
    RQC_HTTP_RESPONSE_ASSERT_NFIELDS
};

#define RQC_FIELD_MAX   24    // no entity has more fields
#define RQC_LARGE_BYTES 32768 // longer texts and blobs are not in the view: RQC_LARGE

typedef enum rqc_type {
    RQC_ABSENT = 0, // not given: a put uses the column's default, a patch leaves the field
    RQC_NULL = 1,   // SQL NULL; on an override field: inherit
    RQC_INT = 2,    // u.i
    RQC_REAL = 3,   // u.d
    RQC_BOOL = 4,   // u.i, 0 or 1
    RQC_TEXT = 5,   // p, n bytes, not NUL-terminated
    RQC_BYTES = 6,  // p, n bytes
    RQC_ID = 7,     // p, 16 bytes
    RQC_LARGE = 8   // only its length (u.length) and XXH3-128 (p, 16 bytes) are in the view:
                    // rqc_large fetches it
} rqc_type;

typedef struct rqc_value {
    rqc_type type;
    uint32_t n;
    const void *p;
    union {
        int64_t i;
        double d;
        uint64_t length;
    } u;
} rqc_value;

// Values for rqc_put and rqc_patch. The bytes are copied by those calls. `text` is NUL-terminated;
// rqc_textn and rqc_bytes take n bytes.
RQC_API rqc_value rqc_null(void);
RQC_API rqc_value rqc_int(int64_t i);
RQC_API rqc_value rqc_real(double d);
RQC_API rqc_value rqc_bool(int b);
RQC_API rqc_value rqc_text(const char *text);
RQC_API rqc_value rqc_textn(const char *p, uint32_t n);
RQC_API rqc_value rqc_bytes(const void *p, uint32_t n);
RQC_API rqc_value rqc_id(const uint8_t id[16]);

// A record in place.
typedef struct rqc_record rqc_record;

// Inline where the compiler wants, and symbols of the library for other languages. The bytes are
// those of docs/format.md.
#ifdef __cplusplus
#define RQC_BYTES_OF(record) reinterpret_cast<const uint8_t *>(record)
#define RQC_AS(type, value)  static_cast<type>(value)
#else
#define RQC_BYTES_OF(record) ((const uint8_t *)(record))
#define RQC_AS(type, value)  ((type)(value))
#endif
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define RQC_LITTLE_ENDIAN(word) __builtin_bswap64(word)
#else
#define RQC_LITTLE_ENDIAN(word) (word)
#endif

RQC_API inline rqc_entity rqc_record_entity(const rqc_record *r)
{
    return RQC_AS(rqc_entity, RQC_BYTES_OF(r)[43]);
}
// 16 bytes in place.
RQC_API inline const uint8_t *rqc_record_id(const rqc_record *r)
{
    return RQC_BYTES_OF(r) + 16;
}
// Position of its last change.
RQC_API inline uint64_t rqc_record_seq(const rqc_record *r)
{
    uint64_t word;
    memcpy(&word, RQC_BYTES_OF(r) + 8, sizeof word);
    return RQC_LITTLE_ENDIAN(word);
}
// Its update time as the row holds it, 0 without one.
RQC_API inline int64_t rqc_record_updated(const rqc_record *r)
{
    uint64_t word;
    memcpy(&word, RQC_BYTES_OF(r) + 32, sizeof word);
    return RQC_AS(int64_t, RQC_LITTLE_ENDIAN(word));
}

// Field `field` (RQC_HTTP_URL …) in O(1). Texts and blobs point into the record. An unknown field
// number gives RQC_ABSENT.
RQC_API rqc_value rqc_field(const rqc_record *r, int field);

// Name of an entity's table or of a column (static storage), NULL for unknown codes; and back, 0 or
// -1 for unknown names.
RQC_API const char *rqc_entity_name(rqc_entity e);
RQC_API const char *rqc_field_name(rqc_entity e, int field);
RQC_API int rqc_entity_number(const char *name);
RQC_API int rqc_field_number(rqc_entity e, const char *name);

// A new id, greater than all this process made before; any thread. RQC_IO when the system gives no
// randomness.
RQC_API rqc_err rqc_id_new(uint8_t ret_id[16]);
// 26 characters and a NUL; and back, from ULID text or 32 hex digits (RQC_INVALID).
RQC_API void rqc_id_format(const uint8_t id[16], char ret_text[27]);
RQC_API rqc_err rqc_id_parse(const char *text, uint8_t ret_id[16]);

// A growing list of records, reused from call to call: start with RQC_LIST_INIT, end with
// rqc_list_free. Every query that takes one empties it first. Its memory is the caller's; the
// records are the session's. After the first few calls no query allocates.
typedef struct rqc_list {
    const rqc_record **items;
    size_t n;
    size_t cap;
} rqc_list;
#define RQC_LIST_INIT \
    {                 \
        NULL, 0, 0    \
    }
RQC_API void rqc_list_free(rqc_list *l);

// ---- Positions
// ----------------------------------------------------------------------------------------------------

// {epoch, seq}: where in which history. As text TERM@STOREID:SEQ.
typedef struct rqc_position {
    uint8_t store_id[16];
    uint32_t term;
    uint64_t seq;
} rqc_position;

#define RQC_POSITION_TEXT 64
RQC_API void rqc_position_format(const rqc_position *p, char ret_text[RQC_POSITION_TEXT]);
// Reads TERM@STOREID:SEQ, or a bare SEQ that takes its epoch from `here`. RQC_INVALID.
RQC_API rqc_err rqc_position_parse(const char *text, const rqc_position *here,
                                   rqc_position *ret_position);

// ---- Open and close
// -----------------------------------------------------------------------------------------------

typedef struct rqc_db rqc_db; // any number of threads may use it at the same time

typedef struct rqc_options {
    size_t size;             // sizeof(rqc_options), set by RQC_OPTIONS_INIT
    int create;              // make the file and its tables when missing
    const char *view_dir;    // parent directory of the view; NULL: /dev/shm, or beside the database
                             // where that is too small
    uint64_t view_map_bytes; // size of the view's sparse address map, which grows by itself; 0: 256
                             // GiB, less where limits say so
    uint64_t retain; // positions of history kept for cursors; used when the database is created; 0:
                     // 131,072; at most 2^62
    uint32_t max_age_ms; // longest life of a pinned read session; 0: 60,000
    void (*log)(void *ctx, int level,
                const char *text); // level 0 debug … 3 error; any thread; must not call back
    void *log_ctx;
    void (*progress)(void *ctx, const char *what, uint64_t done,
                     uint64_t total); // during rqc_open; total 0: unknown
    void *progress_ctx;
} rqc_options;
#define RQC_OPTIONS_INIT                                              \
    {                                                                 \
        sizeof(rqc_options), 0, NULL, 0, 0, 0, NULL, NULL, NULL, NULL \
    }

// Opens as the owner: reads and writes. One owner per database; a second one gets RQC_BUSY with the
// holder's name in err. Brings the view up to date or builds it anew before it returns. Changes of
// other programs are picked up here and by rqc_sync. RQC_NOT_FOUND, RQC_BUSY, RQC_CORRUPT,
// RQC_VERSION, RQC_NO_SPACE, RQC_IO, RQC_INVALID. opt may be NULL.
RQC_API rqc_err rqc_open(const char *path, const rqc_options *opt, rqc_db **ret_db, rqc_error *err);

// Opens the shared view of a database that another process owns: reads are no call to that
// process; writes go through it where it is a reqcastd, and are RQC_READ_ONLY where not. It
// survives the owner's death, restart and rebuilds: while there is no view, sessions get
// RQC_UNAVAILABLE. Here: RQC_NOT_FOUND (no database), RQC_UNAVAILABLE (no view yet).
RQC_API rqc_err rqc_attach(const char *path, const rqc_options *opt, rqc_db **ret_db,
                           rqc_error *err);

// Ends all; every session and transaction of it must have been freed. Queued writes are finished
// first.
RQC_API void rqc_close(rqc_db *db);

// Picks up what other programs committed in the SQLite file; returns when the view shows it.
// RQC_READ_ONLY when attached.
RQC_API rqc_err rqc_sync(rqc_db *db, rqc_error *err);

// ---- Waiting
// ------------------------------------------------------------------------------------------------------
// For owners and for attached handles alike. Writers never wait for whoever waits or watches.

// The position that the view shows now, without a session and without a lock: a few loads from
// shared memory, fit for a loop. A session that begins afterwards sees at least this. All zero
// where there is no view now. Any thread.
RQC_API rqc_position rqc_position_now(rqc_db *db);

#define RQC_WAIT_MS_MAX 3600000u // longest time to wait: an hour

// Returns when the view shows `position` or more: what a write returned in another process, or
// {seq + 1} for the next change. A position with term 0 counts by its seq alone. *ret_position (may
// be NULL) is what the view shows then. timeout_ms 0 only looks. Any number of threads; no session
// is held.
// RQC_TIMEOUT: the view does not show it yet. RQC_FUTURE: nor has the database come so far (only
// the owner knows that; an attached handle says RQC_TIMEOUT). RQC_EPOCH_CHANGED, at once: it
// belongs to another history. RQC_INVALID: no position, or a time beyond RQC_WAIT_MS_MAX.
RQC_API rqc_err rqc_wait(rqc_db *db, const rqc_position *position, uint32_t timeout_ms,
                         rqc_position *ret_position, rqc_error *err);

// For event loops: a file descriptor that becomes readable when the view's position moves, when its
// history changes, and when a view goes or comes. Moves that come close together are one. It may be
// readable without a move. One thread at a time per watch.
typedef struct rqc_watch rqc_watch;
#define RQC_WATCH_MAX 1024u // watches of one handle

// What moves after this call makes it readable. The first watch of a handle starts a thread that
// sleeps until the view moves. RQC_TOO_LARGE (too many), RQC_NO_MEMORY (also of descriptors or
// threads).
RQC_API rqc_err rqc_watch_new(rqc_db *db, rqc_watch **ret_watch, rqc_error *err);
// Before rqc_close; closes the descriptor.
RQC_API void rqc_watch_free(rqc_watch *w);
// For poll, select and epoll alone: it must be neither read nor closed. Valid until rqc_watch_free.
RQC_API int rqc_watch_fd(const rqc_watch *w);
// Makes it quiet until the next move, and returns the position after that.
RQC_API rqc_position rqc_watch_clear(rqc_watch *w);

// ---- Reads
// --------------------------------------------------------------------------------------------------------

// A session sees one position. One thread at a time per session; any number of sessions, and they
// take no locks.
typedef struct rqc_read rqc_read;
RQC_API rqc_err rqc_read_new(rqc_db *db, rqc_read **ret_read, rqc_error *err);
RQC_API void rqc_read_free(rqc_read *r);
// Pins the newest position. While the shared view has no room to follow, the owner's sessions pin
// that of a spare view, which the first of them builds from the database, beside it; where there is
// no room for that either, the last position that was complete (rqc_stats tells). RQC_UNAVAILABLE
// when there is no view now; RQC_INVALID when it was begun already.
RQC_API rqc_err rqc_read_begin(rqc_read *r);
// Lets it go: every record of this session becomes invalid. Calling it twice is harmless.
RQC_API void rqc_read_end(rqc_read *r);
RQC_API rqc_position
rqc_read_position(const rqc_read *r); // of the pinned view; zero when not begun
RQC_API const char *
rqc_read_error(const rqc_read *r); // detail of this session's last failure, "" if none

#define RQC_ANY_TIME INT64_MAX // `until` without a limit
#define RQC_PAGE_MAX 100000u   // highest limit of a page, also of changes
#define RQC_IDS_MAX  1000000u  // most ids in one call

// All of these: RQC_INVALID for bad arguments (nothing changed), RQC_EXPIRED after max_age,
// RQC_NO_MEMORY, RQC_CORRUPT.

// One record. RQC_NOT_FOUND.
RQC_API rqc_err rqc_get(rqc_read *r, rqc_entity entity, const uint8_t id[16],
                        const rqc_record **ret_record);

// All workspaces in order of id.
RQC_API rqc_err rqc_workspaces(rqc_read *r, rqc_list *ret_list);

// A place in a page walk; start with RQC_PAGE_CURSOR_INIT. Fixed size, no pointers: it may be
// stored.
typedef struct rqc_page_cursor {
    int64_t updated_at;
    uint8_t id[16];
    uint8_t state; // 0 start, 1 inside, 2 at the end
} rqc_page_cursor;
#define RQC_PAGE_CURSOR_INIT \
    {                        \
        0, {0}, 0            \
    }

// Base requests (no deltas, no snapshots) of a workspace with updated_at <= until, newest first,
// ties by id ascending. method NULL: all. Continues behind *cursor and moves it (state 2: nothing
// more); cursor NULL: the first page. An unknown workspace is empty. limit 0 gives none.
RQC_API rqc_err rqc_page(rqc_read *r, const uint8_t workspace[16], int64_t until,
                         const char *method, uint32_t limit, rqc_page_cursor *cursor,
                         rqc_list *ret_list);
// Bases and deltas (no snapshots) of a workspace with since < updated_at <= until, oldest first,
// ties by id ascending; method, limit and cursor as in rqc_page. Times are data: what is written
// later in the second of the last answer is not seen by asking for times behind it. rqc_changes
// misses nothing.
RQC_API rqc_err rqc_updates(rqc_read *r, const uint8_t workspace[16], int64_t since, int64_t until,
                            const char *method, uint32_t limit, rqc_page_cursor *cursor,
                            rqc_list *ret_list);

// Requests by id (bases, deltas and snapshots of any workspace) with updated_at <= until, newest
// first, ties by id. Repeated and unknown ids count once and nothing.
RQC_API rqc_err rqc_batch(rqc_read *r, const uint8_t (*ids)[16], size_t n, int64_t until,
                          rqc_list *ret_list);
// The deltas of many parents, one level down, with since < updated_at <= until: by parent
// ascending, oldest first, ties by id.
RQC_API rqc_err rqc_deltas(rqc_read *r, const uint8_t (*parents)[16], size_t n, int64_t since,
                           int64_t until, rqc_list *ret_list);

// Numbers of a workspace's requests. Snapshots count as bases (rqc_count leaves them out).
typedef struct rqc_metrics {
    uint64_t total, base, delta;
    uint64_t recent;          // updated_at > since
    int64_t latest, earliest; // of updated_at
    int has_times;            // 0: there are no requests, and neither latest nor earliest
} rqc_metrics;
RQC_API rqc_err rqc_metrics_read(rqc_read *r, const uint8_t workspace[16], int64_t since,
                                 rqc_metrics *ret_metrics);

// Requests by UTC day of their updated_at, where it is >= since: newest day first, days without any
// left out. At most max (30 is what an API client shows).
typedef struct rqc_activity {
    int64_t day; // days since 1970-01-01
    uint64_t changes, deltas, bases;
} rqc_activity;
RQC_API rqc_err rqc_activity_read(rqc_read *r, const uint8_t workspace[16], int64_t since,
                                  rqc_activity *ret_days, size_t max, size_t *ret_n);

// How many requests a page walk finds.
RQC_API rqc_err rqc_count(rqc_read *r, const uint8_t workspace[16], int64_t until,
                          uint64_t *ret_count);

// Children of `entity` (headers …) of many requests (responses, for their headers and asserts), by
// owner id ascending, newest first, ties by id. Repeated and unknown ids count once and nothing.
// Unless `all`, only those whose own `enabled` is true (entities without it: all).
RQC_API rqc_err rqc_children(rqc_read *r, rqc_entity entity, const uint8_t (*ids)[16], size_t n,
                             int64_t until, int all, rqc_list *ret_list);

// One change: op 1 upsert (record set) or 2 delete (record NULL).
typedef struct rqc_change {
    uint8_t op;
    uint8_t entity;
    uint64_t seq;
    const uint8_t *id; // 16 bytes, valid as long as a record
    const rqc_record *record;
} rqc_change;
typedef struct rqc_changes_list {
    rqc_change *items;
    size_t n, cap;
} rqc_changes_list;
#define RQC_CHANGES_INIT \
    {                    \
        NULL, 0, 0       \
    }
RQC_API void rqc_changes_free(rqc_changes_list *l);

// A cursor of changes: the position of the scan, and the whole key of the last record. `since`
// alone: {since, 0, {0}, 0}. May be stored.
typedef struct rqc_cursor {
    uint64_t seq;
    uint8_t entity; // 0: everything at seq was seen
    uint8_t id[16];
    uint64_t started; // head when the walk began, 0 for a fresh one: a walk from 0 stays valid
                      // while history behind `started` is kept
} rqc_cursor;
#define RQC_CURSOR_INIT(since) \
    {                          \
        (since), 0, {0}, 0     \
    }

// Each record that changed behind *cursor once, at the seq of its last change, deletions as
// tombstones; in order of (seq, entity, id). workspace NULL: of all workspaces. Moves *cursor.
// *ret_up_to_date is 1 when the session's position is reached; then cursor->seq is that position.
// RQC_TOO_OLD, RQC_FUTURE: start over with RQC_CURSOR_INIT(0).
RQC_API rqc_err rqc_changes(rqc_read *r, const uint8_t *workspace, rqc_cursor *cursor,
                            uint32_t limit, rqc_changes_list *ret_list, int *ret_up_to_date);

// ---- Resolution
// ---------------------------------------------------------------------------------------------------

typedef enum rqc_origin {
    RQC_ORIGIN_BASE = 0,
    RQC_ORIGIN_OVERRIDE = 1,
    RQC_ORIGIN_ADDITION = 2
} rqc_origin;

// One record of a resolved request: `record` overridden by `nover` records, the last first in
// force. Read it with rqc_item_field.
typedef struct rqc_item {
    const rqc_record *record;
    const rqc_record *const *over;
    uint32_t nover;
    rqc_origin origin;
} rqc_item;

typedef struct rqc_items {
    rqc_item *items;
    size_t n;
} rqc_items;

// The effective request. Reused from call to call: RQC_RESOLVED_INIT, rqc_resolved_free. Records
// live as long as the session's.
typedef struct rqc_resolved {
    rqc_item http;
    rqc_items headers, params, form, urlencoded, asserts; // in effective order
    struct {
        int present;              // 0: neither the base nor the delta has a raw body
        const uint8_t *id;        // id of the base's row, NULL when only the delta has one
        rqc_value bytes;          // BYTES, LARGE or NULL
        int64_t compression;      // codec of bytes: 0 none, 1 gzip, 2 zstd, 3 brotli
        const rqc_record *source; // record and field that the bytes come from
        int source_field;
        rqc_origin origin;
    } raw;
    void *memory; // internal
} rqc_resolved;
#define RQC_RESOLVED_INIT                                                                        \
    {                                                                                            \
        {NULL, NULL, 0, RQC_ORIGIN_BASE}, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, \
            {0, NULL, {RQC_ABSENT, 0, NULL, {0}}, 0, NULL, 0, RQC_ORIGIN_BASE}, NULL             \
    }
RQC_API void rqc_resolved_free(rqc_resolved *m);

// A field of a resolved record: the override where one is set, else the record's own.
RQC_API rqc_value rqc_item_field(const rqc_item *m, int field);

// Overlay: the base with at most one delta and all children. delta NULL: the base itself.
// RQC_NOT_FOUND (base or delta), RQC_INVALID when the delta's parent is not this base.
RQC_API rqc_err rqc_resolve(rqc_read *r, const uint8_t base[16], const uint8_t *delta,
                            rqc_resolved *ret_resolved);

// The deepest delta of a base's chain with updated_at <= until at every step, ties by newest
// updated_at, then highest id. The list runs from the base to the deepest. Empty (RQC_OK) when the
// id is unknown or a delta. Read it with rqc_chain_field.
RQC_API rqc_err rqc_chain(rqc_read *r, const uint8_t base[16], int64_t until, rqc_list *ret_chain);
RQC_API rqc_value rqc_chain_field(const rqc_list *chain, int field);

// The bytes of a large value, from the SQLite file, checked against the record's hash. Free
// *ret_bytes with free(). RQC_CHANGED when the row changed since.
RQC_API rqc_err rqc_large(rqc_read *r, const rqc_record *record, int field, void **ret_bytes,
                          size_t *ret_n);

// ---- Writes
// -------------------------------------------------------------------------------------------------------

// A transaction under construction: one thread at a time. All of it is stored, or nothing.
typedef struct rqc_txn rqc_txn;
RQC_API rqc_err rqc_txn_new(rqc_db *db, rqc_txn **ret_txn, rqc_error *err);
RQC_API void rqc_txn_free(rqc_txn *t);               // without commit: nothing happened
RQC_API const char *rqc_txn_error(const rqc_txn *t); // detail of its last failure, "" if none

// row has one value per field (RQC_HTTP_NFIELDS …); the key entry is ignored. Checked and copied at
// once; RQC_INVALID leaves the transaction as it was. Put: inserts, or replaces every column of the
// row with this id. Add: leaves a row that is there alone.
RQC_API rqc_err rqc_put(rqc_txn *t, rqc_entity entity, const uint8_t id[16], const rqc_value *row);
RQC_API rqc_err rqc_add(rqc_txn *t, rqc_entity entity, const uint8_t id[16], const rqc_value *row);
// Patch: changes the fields that are not RQC_ABSENT; sets updated_at to the time of the commit
// unless given. The commit fails with RQC_NOT_FOUND when there is no such row, and with RQC_CHANGED
// when if_seq is not 0 and the row changed after it.
RQC_API rqc_err rqc_patch(rqc_txn *t, rqc_entity entity, const uint8_t id[16], const rqc_value *row,
                          uint64_t if_seq);
// Delete: with everything that hangs on it. The commit fails with RQC_NOT_FOUND when there is no
// such row.
RQC_API rqc_err rqc_delete(rqc_txn *t, rqc_entity entity, const uint8_t id[16], uint64_t if_seq);

// Idempotency: a request that may be sent twice. With a key the commit also stores, in the same
// transaction, what was asked for (a hash of the writes, in their order, as they were given: ids,
// fields and if_seq) and the result. A commit with a key that was used returns the stored result
// and writes nothing, where the writes are the same (rqc_result.replayed); else RQC_CONFLICT.
// Failed commits leave no key. len 1 to RQC_KEY_MAX bytes of any value, copied; len 0 takes the key
// away again. A commit that succeeds takes it away, too. RQC_INVALID. A key is kept for
// RQC_KEY_SECONDS, across restarts and crashes, unless RQC_KEYS_MAX newer ones were used; after
// that it is as if it was never used. Attached: it holds across restarts of the reqcastd, too. A
// commit that fails because its answer was lost may be tried again with the same key and writes.
#define RQC_KEY_MAX     255u
#define RQC_KEY_SECONDS 86400u
#define RQC_KEYS_MAX    100000u
RQC_API rqc_err rqc_txn_key(rqc_txn *t, const void *key, size_t len);

typedef struct rqc_result {
    rqc_position position; // everything of this transaction is at or below it
    uint64_t written;      // rows inserted or changed
    uint64_t skipped;      // adds whose id was there
    uint64_t deleted;      // rows deleted, cascades counted
    int visible;           // 0: durable, but the shared view lags and will show it later; the
                           // owner's sessions see it all the same, unless rqc_stats says otherwise
    int replayed;          // 1: the rest is what a commit with the same key returned before
} rqc_result;

// Returns when the transaction is durable and, normally, visible. On success the transaction is
// empty again. On failure it keeps its writes. Any thread, with 256 KiB of stack: where nobody else
// commits at the moment the work is done on it, otherwise together with what others commit on a
// thread of the handle's. It is no cancellation point.
RQC_API rqc_err rqc_commit(rqc_txn *t, rqc_result *ret_result);

// A commit that nobody waits for. Between rqc_commit_async and its completion the transaction is in
// flight: it belongs to the library, and every call on it but rqc_txn_free is refused with
// RQC_INVALID.
typedef struct rqc_completion {
    rqc_txn *txn; // the caller's again: empty when code is RQC_OK, else with its writes
    void *ctx;
    rqc_err code;      // what rqc_commit would have returned; rqc_txn_error has the detail
    rqc_result result; // valid with RQC_OK
} rqc_completion;
typedef void rqc_completed_fn(const rqc_completion *c);

#define RQC_IN_FLIGHT_MAX 65536u // transactions in flight of one handle

// Submits the transaction. When that succeeds there is exactly one completion, in the order of the
// calls: `completed` is called with it on an internal thread, where all commits wait for it: it
// must not block and not call rqc_commit, rqc_sync, rqc_verify, rqc_prune or rqc_close, but may
// free the transaction, fill it and submit it again. With completed NULL it is fetched by
// rqc_completions_next. Freeing a transaction in flight lets it go: it is stored all the same, and
// there is no completion (of one with a callback, unless that runs already). RQC_BUSY (too many in
// flight), RQC_CLOSED, RQC_INVALID, RQC_TOO_LARGE: nothing was submitted.
// rqc_close waits until all of them are stored, and calls the callbacks; completions that were not
// fetched are then given up with their transactions. Attached: a thread of the handle sends them to
// the reqcastd, one after the other; what it does not answer for fails with RQC_UNAVAILABLE or
// RQC_TIMEOUT, as in rqc_commit.
RQC_API rqc_err rqc_commit_async(rqc_txn *t, rqc_completed_fn *completed, void *ctx);

// The oldest completion that was not fetched; RQC_NOT_FOUND when there is none now. Any thread.
RQC_API rqc_err rqc_completions_next(rqc_db *db, rqc_completion *ret_completion);
// A descriptor that is readable while there is one, for poll, select and epoll alone. It is the
// handle's, until rqc_close. RQC_NO_MEMORY (no descriptors).
RQC_API rqc_err rqc_completions_fd(rqc_db *db, int *ret_fd, rqc_error *err);

// ---- Runs
// ---------------------------------------------------------------------------------------------------------

// What is known of a run besides the request. Rows are as for rqc_put; the fields that name their
// owner are set by rqc_snapshot, created_at too unless it is given.
typedef struct rqc_run {
    size_t size;               // sizeof(rqc_run), set by RQC_RUN_INIT
    const char *version_name;  // one of its kind for the request; NULL: "v" and UNIX nanoseconds
    const char *description;   // of the version; NULL: empty
    const uint8_t *created_by; // 16 bytes, a row of users; NULL: nobody
    int64_t at;                // UNIX seconds, created_at and updated_at of all rows; 0: now
    const rqc_value *response; // RQC_HTTP_RESPONSE_NFIELDS values; NULL: none
    const rqc_value (*headers)[RQC_HTTP_RESPONSE_HEADER_NFIELDS]; // of the response
    size_t nheaders;
    const rqc_value (*asserts)[RQC_HTTP_RESPONSE_ASSERT_NFIELDS]; // what they came to
    size_t nasserts;
} rqc_run;
#define RQC_RUN_INIT                                                 \
    {                                                                \
        sizeof(rqc_run), NULL, NULL, NULL, 0, NULL, NULL, 0, NULL, 0 \
    }

// Adds the snapshot of a run to a transaction: a copy of the request as it resolves at the
// session's position (base with at most one delta, NULL: the base itself) and of its children in
// their effective order, disabled ones too, under new ids; a version of the request that was run
// (delta, or base) with the snapshot's id, *ret_version; and the response, owned by the snapshot.
// Large values are read from SQLite: RQC_CHANGED when the session's are gone. The session is of the
// same handle and begun; nothing is written before rqc_commit. run may be NULL. On failure the
// transaction is as it was. RQC_NOT_FOUND (base or delta), RQC_INVALID, RQC_EXPIRED, and what
// rqc_put returns.
RQC_API rqc_err rqc_snapshot(rqc_txn *t, rqc_read *r, const uint8_t base[16], const uint8_t *delta,
                             const rqc_run *run, uint8_t ret_version[16]);

typedef struct rqc_prune_options {
    size_t size;          // sizeof(rqc_prune_options), set by RQC_PRUNE_OPTIONS_INIT
    int64_t keep;         // the newest so many snapshots of each request stay; -1: none for that
    int64_t older_than_s; // only what was made longer ago goes, in seconds; -1: whatever its age
} rqc_prune_options;
#define RQC_PRUNE_OPTIONS_INIT            \
    {                                     \
        sizeof(rqc_prune_options), -1, -1 \
    }
#define RQC_AGE_MAX_S INT64_C(4000000000) // longest age

typedef struct rqc_pruned {
    uint64_t snapshots;    // of runs that were removed
    uint64_t versions;     // that named them
    uint64_t deleted;      // rows in all: these, children, responses
    rqc_position position; // after it
} rqc_pruned;

// Removes old snapshots of runs (requests with is_snapshot) from a workspace, with their children
// and responses and the versions that name them. Where both limits are given, only what is beyond
// both goes. In many transactions, so that other writers wait shortly only: what was removed before
// a failure stays removed. ret_pruned may be NULL. RQC_INVALID (neither limit is given …), RQC_BUSY
// (others delete the same all the time), RQC_READ_ONLY.
RQC_API rqc_err rqc_prune(rqc_db *db, const uint8_t workspace[16], const rqc_prune_options *opt,
                          rqc_pruned *ret_pruned, rqc_error *err);
// ---- Databases of an application
// ----------------------------------------------------------------------------------------

// Something that rqc_open adds to a database that an application made. None of the application's
// tables and rows is altered.
typedef struct rqc_part {
    const char *kind;  // "table", "trigger" or "setting"
    const char *name;  // valid during the call
    const char *table; // of a trigger, else NULL
    int there;         // it is there already
} rqc_part;

// Tells what rqc_open would add, and adds nothing. RQC_NOT_FOUND (no file, or an empty one),
// RQC_INVALID (none of its tables holds records), RQC_CORRUPT, RQC_VERSION, RQC_READ_ONLY, RQC_IO.
RQC_API rqc_err rqc_capture_plan(const char *path, void (*fn)(void *ctx, const rqc_part *p),
                                 void *ctx, rqc_error *err);

// Takes all of it out again: tables and triggers in one transaction, then the journal mode (it
// stays while another program has the database open), the view and the files beside the database.
// fn (may be NULL) is told what was there. Positions end with it. RQC_NOT_FOUND, RQC_BUSY (an owner
// lives), RQC_VERSION, RQC_IO.
RQC_API rqc_err rqc_capture_remove(const char *path, void (*fn)(void *ctx, const rqc_part *p),
                                   void *ctx, rqc_error *err);

// ---- Backup and restore
// ----------------------------------------------------------------------------------------------

typedef struct rqc_copied {
    rqc_position position; // of what was copied
    uint64_t bytes;
    char kept[4096]; // restore: where the file that was replaced is now; "" when there was none
} rqc_copied;

// Copies the SQLite file, at one position, while everybody reads and writes on; attached handles
// may, too. Complete and durable under its name when it returns, else there is nothing. A file that
// is there is replaced only with `replace`. progress (may be NULL) is told pages, on this thread.
// RQC_INVALID, RQC_BUSY (another process makes the same file), RQC_NO_SPACE, RQC_IO.
RQC_API rqc_err rqc_backup(rqc_db *db, const char *path, int replace,
                           void (*progress)(void *ctx, const char *what, uint64_t done,
                                            uint64_t total),
                           void *ctx, rqc_copied *ret_copied, rqc_error *err);

// Puts a backup in the place of a database that no process has open. The backup is copied and
// checked first (RQC_INVALID, RQC_CORRUPT, RQC_VERSION: the database is as it was); the old file is
// kept beside the new one. The next rqc_open begins a new term at ret_copied->position.seq and
// builds the view anew: positions of before get RQC_EPOCH_CHANGED. RQC_BUSY, RQC_NO_SPACE, RQC_IO.
RQC_API rqc_err rqc_restore(const char *path, const char *from,
                            void (*progress)(void *ctx, const char *what, uint64_t done,
                                             uint64_t total),
                            void *ctx, rqc_copied *ret_copied, rqc_error *err);

// ---- Verify and stats
// ---------------------------------------------------------------------------------------------

typedef struct rqc_difference {
    uint8_t entity;
    uint8_t id[16];
    const char *what; // "missing in the view", "not in the database", "different", "damaged",
                      // "workspace digest" …
} rqc_difference;

typedef struct rqc_verified {
    uint64_t records;
    uint64_t differences;
    uint8_t digest[16]; // of the whole store, big-endian
    rqc_position position;
} rqc_verified;

// Compares every row of the SQLite file with the view, at one position, and the digests with the
// records. fn (may be NULL) is told each difference. RQC_OK also when there are differences. With
// `repair` a view that differs is built anew. RQC_READ_ONLY for repair when attached.
RQC_API rqc_err rqc_verify(rqc_db *db, int repair, void (*fn)(void *ctx, const rqc_difference *d),
                           void *ctx, rqc_verified *ret_verified, rqc_error *err);

// SQLite's own check of the file, while others read and write: pages, indexes, constraints. fn (may
// be NULL) is told each fault, at most 100; *ret_faults counts them. RQC_OK also when there are
// some. `quick` leaves out whether indexes agree with their tables. RQC_CORRUPT when the file
// cannot be read at all.
RQC_API rqc_err rqc_integrity(rqc_db *db, int quick, void (*fn)(void *ctx, const char *fault),
                              void *ctx, uint64_t *ret_faults, rqc_error *err);

typedef struct rqc_stats {
    size_t size;           // sizeof(rqc_stats), set by the caller
    rqc_position position; // of the view
    uint64_t head;         // of the database; attached: as far as the owner applied it
    uint64_t horizon;
    uint64_t records; // in the view
    uint64_t workspaces;
    uint64_t tombstones;
    uint64_t db_bytes, wal_bytes, view_bytes, view_map_bytes;
    uint64_t generation; // of the view; counts rebuilds
    uint32_t readers;    // sessions of all processes
    int owner;           // 1: this handle owns the database
    int view_lagging; // 1: the view could not follow (no space …) and stands at an older position
    uint64_t unmirrored; // rows that cannot be mirrored (ids that are not 16 bytes)
    int spare; // 1: the owner's sessions read a spare view meanwhile, at the newest position
} rqc_stats;
RQC_API rqc_err rqc_stats_read(rqc_db *db, rqc_stats *ret_stats, rqc_error *err);

// ---- Streams
// ------------------------------------------------------------------------------------------------------

// A subscriber follows the changes of one workspace, or of all, that a reqcastd streams: in order,
// whole transactions, none left out. It connects by itself, again after every interruption, notices
// what it missed and asks for it. One thread at a time per subscriber; rqc_unsubscribe never hangs.
typedef struct rqc_sub rqc_sub;

// Where a subscriber stands. Fixed size, no pointers: the application stores it with its own data
// and goes on from there. All zeros: the beginning. term 0: a position of whatever history there
// is.
typedef struct rqc_place {
    uint8_t store_id[16];
    uint32_t term;
    rqc_cursor cursor; // entity 0: everything up to seq was told; else inside of a catch-up
} rqc_place;

typedef enum rqc_event_kind {
    RQC_EVENT_CHANGES = 1,  // items
    RQC_EVENT_BOOKMARK = 2, // nothing changed up to place
    RQC_EVENT_RESET = 3, // everything that was told is void: all there is follows, in CHANGES; what
                         // is not among it when one without `more` came is gone
    RQC_EVENT_STATE = 4  // reason 0: it follows; else why it does not now. It goes on by itself
} rqc_event_kind;

// Valid until the next call for this subscriber, or the callback's return.
typedef struct rqc_event {
    rqc_event_kind kind;
    int more; // CHANGES: a part of a catch-up. Keep it apart: the state is whole, and true at one
              // position, only when one without `more` was applied, too
    rqc_err reason;   // RESET: RQC_TOO_OLD, RQC_EPOCH_CHANGED, RQC_FUTURE, RQC_DIFFERENT; STATE
    const char *text; // of the reason, never NULL
    rqc_place place;  // where the application stands when it has applied this
    uint64_t head;    // newest position that is known
    const rqc_change *items; // each record at most once; in order of (seq, entity, id), but for
    size_t n;                // deletes after a RESET or RQC_DIFFERENT
    uint64_t records;        // BOOKMARK: of the topic, and its digest, big-endian
    uint8_t digest[16];
} rqc_event;

typedef struct rqc_sub_options {
    size_t size;              // sizeof(rqc_sub_options), set by RQC_SUB_OPTIONS_INIT
    const uint8_t *workspace; // 16 bytes; NULL: all, with transactions whole across workspaces
    rqc_place since;
    int from_now;  // 1: from the newest position on, whatever `since` says
    int bookmarks; // 1: tells them: once a second, so that a stored place never gets too old
    int digest; // 1: keeps 48 to 192 bytes per record, proves at each bookmark that what was told
                // is all there is, and tells after a RESET what is gone as deletes. Where it is
                // not, STATE tells RQC_DIFFERENT, and CHANGES with `more` put right the 256th
                // parts of the records that differ; only when that did not help it is a RESET.
                // Only from the beginning
    void (*event)(void *ctx, const rqc_event *e); // on a thread of the subscriber's own; may take
                                                  // its time; must not call back for this
                                                  // subscriber. NULL: rqc_sub_next is called
    void *ctx;
} rqc_sub_options;
#define RQC_SUB_OPTIONS_INIT                                                         \
    {                                                                                \
        sizeof(rqc_sub_options), NULL, {{0}, 0, {0, 0, {0}, 0}}, 0, 0, 0, NULL, NULL \
    }

// url: where the reqcastd answers, ipc://PATH or tcp://HOST:PORT (a name is looked up here).
// Memory stays bounded however slow the application is: it gets each record once, then, at its
// latest state. RQC_INVALID, RQC_NOT_FOUND (the host), RQC_NO_MEMORY, RQC_IO.
RQC_API rqc_err rqc_subscribe(const char *url, const rqc_sub_options *opt, rqc_sub **ret_sub,
                              rqc_error *err);
RQC_API void rqc_unsubscribe(rqc_sub *sub);
// Without a callback: the next event; waits for at most timeout_ms (-1: for ever), and a tenth of a
// second more where a sidecar does not answer. RQC_TIMEOUT: none came. RQC_CLOSED: in a child.
RQC_API rqc_err rqc_sub_next(rqc_sub *sub, int timeout_ms, rqc_event *ret_event);
// Without a callback: readable when rqc_sub_next has something to do. Call that with timeout 0
// until it gives RQC_TIMEOUT. Never read from it or close it.
RQC_API int rqc_sub_fd(const rqc_sub *sub);

typedef struct rqc_sub_stats {
    size_t size;                         // sizeof(rqc_sub_stats), set by the caller
    uint64_t frames, changes, bookmarks; // that were applied
    uint64_t gaps;                       // that were noticed, and repaired
    uint64_t duplicates;                 // frames that held nothing new
    uint64_t damaged;                    // frames and answers that were no such
    uint64_t pages;                      // of catch-ups
    uint64_t connects, resets;
    uint64_t compared, different; // digests
    uint64_t mends;               // times that only the buckets were fetched that differed
    uint64_t buckets;             // how many, of 256 each time
} rqc_sub_stats;
RQC_API rqc_err rqc_sub_stats_read(rqc_sub *sub, rqc_sub_stats *ret_stats);

// The URL of the reqcastd that owns the database at path. RQC_UNAVAILABLE: there is none;
// RQC_NOT_FOUND.
#define RQC_URL_TEXT 256
RQC_API rqc_err rqc_sidecar_url(const char *path, char ret_url[RQC_URL_TEXT], rqc_error *err);

#ifdef __cplusplus
}
#endif
#endif
